--- core/net/call.c: questions of nodes, beside a node that is played.
local call = require "door.call"
local node = require "spec.support.node"

local DEADLINE <const> = 20 * node.slow
local HEAD <const> = 44
local CALL <const>, ANSWER <const> = 0x87, 0x88

--- A record in a chunk of the system's lane.
local function bytes(kind, name, to, ref, body)
  local record = string.pack("<s4", string.pack("<BBBBI4I8I8I8I8", kind, 0, 0, 0, name, to, 0, ref, 0) .. body)
  return string.pack("<I4", #record << 8) .. record
end

--- The next record the played node gets: kind, name, to, ref, body. Announcements of nodes are passed over.
local function read()
  local length = string.unpack("<I4", call.read(4)) >> 8
  local chunk = call.read(length)
  local kind, _, _, _, name, to, _, ref = string.unpack("<BBBBI4I8I8I8", chunk, 5)
  if kind == 0x80 then
    local first = string.unpack("<I4", chunk) + 4
    if first == #chunk then return read() end
    chunk = chunk:sub(first + 1)
    kind, _, _, _, name, to, _, ref = string.unpack("<BBBBI4I8I8I8", chunk, 5)
  end
  return {kind = kind, name = name, to = to, ref = ref, body = chunk:sub(HEAD + 1)}
end

local function ended(ask) return {call.wait(ask, DEADLINE)} end

describe("a question of one node to another", function()
  before_each(call.open)
  after_each(call.close)

  it("to one's own is answered at once, or later", function()
    assert.are.same({"abc", nil, 1}, ended(call.ask(0, call.ECHO, "abc", 1000)))
    local ask = call.ask(0, call.LATER, "abc", 60000)
    call.answer_kept "done"
    call.answer_kept "again"
    assert.are.same({"done", nil, 1}, ended(ask))
  end)

  it("goes there with its service and body, and the answer to its reference ends it", function()
    local ask = call.ask(1, 9, "what?", 60000)
    local q = read()
    assert.are.same({CALL, 9, "what?"}, {q.kind, q.name, q.body})
    assert.are.equal(0, call.come(bytes(ANSWER, 0, 0, q.ref + 1, "not that")))
    assert.are.equal(0, call.come(bytes(ANSWER, 0, 0, q.ref, "that")))
    assert.are.equal(0, call.come(bytes(ANSWER, 0, 0, q.ref, "too late")))
    assert.are.same({"that", nil, 1}, ended(ask))
  end)

  it("that comes is answered, under its own reference", function()
    assert.are.equal(0, call.come(bytes(CALL, call.ECHO, 0, 5, "say it again")))
    local a = read()
    assert.are.same({ANSWER, 0, 5, "say it again"}, {a.kind, a.to, a.ref, a.body})
  end)

  it("fails with the reason: nobody serves it, too much, no node, no answer in time", function()
    assert.are.same({nil, "ENOTSUP", 1}, ended(call.ask(0, 29, "", 60000)))
    assert.are.same({nil, "E2BIG", 1}, ended(call.ask(0, call.ECHO, ("x"):rep(call.MAX + 1), 60000)))
    assert.are.same({nil, "EHOSTUNREACH", 1}, ended(call.ask(77, call.ECHO, "", 60000)))
    assert.are.same({nil, "ETIMEDOUT", 1}, ended(call.ask(0, call.LATER, "", 1)))
    for status, name in pairs {"ENOTSUP", "E2BIG", "ENOMEM"} do
      local ask = call.ask(1, 9, "", 60000)
      call.come(bytes(ANSWER, 0, status, read().ref, ""))
      assert.are.same({nil, name, 1}, ended(ask))
    end
    call.come(bytes(CALL, 29, 0, 6, "?"))
    local a = read()
    assert.are.same({ANSWER, 1, 6}, {a.kind, a.to, a.ref})
    call.come(bytes(CALL, 77777, 0, 7, "?"))
    assert.are.equal(1, read().to)
  end)

  it("fails at once when the link breaks, and a late answer to the other side is dropped", function()
    local asks = {}
    for i = 1, 20 do asks[i] = call.ask(1, 9, "", 60000) end
    local own = call.ask(0, call.LATER, "", 60000)
    call.break_link()
    for _, ask in ipairs(asks) do assert.are.same({nil, "EHOSTUNREACH", 1}, ended(ask)) end
    assert.are.same({nil, "EHOSTUNREACH", 1}, ended(call.ask(1, 9, "", 60000)))
    call.answer_kept "here it is"
    assert.are.same({"here it is", nil, 1}, ended(own))
  end)

  it("is a fault of the link when its record is none", function()
    assert.are.equal("EPROTO", call.come(bytes(CALL, 0, 0, 5, "no service")))
  end)
end)
