--- core/api/delivery.c: code is fetched from the node that asks, which is played here and does not tell the truth.
local able = require "door.able"
local call = require "door.call"
local delivery = require "door.delivery"
local net = require "door.net"
local node = require "spec.support.node"

local DEADLINE <const> = 20 * node.slow
local CALL <const>, ANSWER <const> = 0x87, 0x88
local SPAWN <const>, MODULE <const>, TEXT <const> = 8, 9, 10

--- A record in a chunk of the system's lane.
local function bytes(kind, name, to, ref, body)
  local record = string.pack("<s4", string.pack("<BBBBI4I8I8I8I8", kind, 0, 0, 0, name, to, 0, ref, 0) .. body)
  return string.pack("<I4", #record << 8) .. record
end

local rest = ""

--- The next call or answer the played node gets.
local function read()
  while true do
    if rest == "" then
      local length = string.unpack("<I4", call.read(4)) >> 8
      rest = call.read(length)
    end
    local size = string.unpack("<I4", rest) + 4
    local record = rest:sub(1, size)
    rest = rest:sub(size + 1)
    local kind, _, _, _, name, to, _, ref = string.unpack("<BBBBI4I8I8I8", record, 5)
    if kind == CALL or kind == ANSWER then return {kind = kind, name = name, to = to, ref = ref, body = record:sub(45)} end
  end
end

local function answer(ref, body) assert.are.equal(0, call.come(bytes(ANSWER, 0, 0, ref, body))) end

--- What came of the want of a text whose hash and size are those of `wanted`, and that is answered with `body`.
local function fetched(wanted, body)
  delivery.want("guy", delivery.hash(wanted), #wanted)
  local q = read()
  assert.are.same({CALL, TEXT}, {q.kind, q.name})
  answer(q.ref, body)
  return delivery.wait(DEADLINE)
end

describe("code of another node", function()
  before_each(function()
    rest = ""
    call.open()
    delivery.open()
  end)
  after_each(function()
    delivery.close()
    call.close()
    delivery.forget()
  end)

  it("is not run if it is not what was said: another hash, more, less, or nothing", function()
    local text = "return {}"
    local function refused(body, pattern)
      local code, why, ends = fetched(text, body)
      assert.are.same({"spawn", 1}, {code, ends})
      assert.matches(pattern, why)
    end
    refused("\1return []", "guy%.lua came with another hash than was said")
    refused("\1return {} ", "guy%.lua is not there any more")
    refused("\1return {", "guy%.lua is not there any more")
    refused("\0", "guy%.lua is not there any more")
    refused("", "guy%.lua is not there any more")
  end)

  it("that does not parse is an error that says where", function()
    local code, why = fetched("return +", "\1return +")
    assert.are.equal("spawn", code)
    assert.matches("guy%.lua@there:1: ", why)
  end)

  it("of more than is sent is not asked for", function()
    delivery.want("guy", 7, 1000001)
    assert.are.same({"too_large", 1}, {(delivery.wait(DEADLINE)), (select(3, delivery.wait(DEADLINE)))})
  end)

  it("is given up at once when its node is lost", function()
    delivery.want("guy", 7, 10)
    read()
    call.break_link()
    local code, why = delivery.wait(DEADLINE)
    assert.are.equal("down", code)
    assert.matches("could not be fetched from the node that asked", why)
  end)

  it("under a name that only its node knows is asked for; nonsense in answer is an error", function()
    delivery.want "guy"
    local q = read()
    assert.are.same({CALL, MODULE}, {q.kind, q.name})
    answer(q.ref, "\255\255nonsense")
    local code, why = delivery.wait(DEADLINE)
    assert.are.equal("error", code)
    assert.matches("bytes that make no sense", why)
  end)

  it("is not given when it is not there, and nonsense in questions does no harm", function()
    for _, service in ipairs {MODULE, TEXT} do
      for _, body in ipairs {"", "\0", ("\255"):rep(100), "\1\0x\0\3\0abc"} do
        assert.are.equal(0, call.come(bytes(CALL, service, 0, 5, body)))
      end
    end
    assert.are.equal(0, call.come(bytes(CALL, TEXT, 0, 6, "\0\0\0\3\0guy\0" .. ("\7"):rep(8) .. "\9\0\0\0")))
    local a = read()
    assert.are.same({ANSWER, 6, "\0"}, {a.kind, a.ref, a.body})
  end)

  it("for an actor is an order that makes sense, or it is refused", function()
    local _, asker = net.pid(5)
    local _, foreign = net.pid(5, 9)
    local function refused(body)
      assert.are.equal(0, call.come(bytes(CALL, SPAWN, 0, 7, body)))
      local a = read()
      assert.are.same({ANSWER, 7}, {a.kind, a.ref})
      local pid, code = able.read_answer(a.body)
      assert.are.same({0, "error"}, {pid, code})
    end
    local good = {asker = asker, module = "guy", code = 2, argc = 0}
    local function order(more)
      local o = {}
      for key, value in pairs(good) do o[key] = value end
      for key, value in pairs(more) do o[key] = value end
      return able.order(o)
    end
    refused ""
    refused(("\255"):rep(200))
    refused(order {asker = foreign})
    refused(order {memory = 1})
    refused(order {argc = 1, args = "\255"})
    refused(order {argc = 2, args = "\1"})
    assert.are.equal(0, call.come(bytes(CALL, SPAWN, 0, 8, order {})))
    local pid, code, why = able.read_answer(read().body)
    assert.are.same({0, "spawn"}, {pid, code})
    assert.matches("no module 'guy'", why)
  end)
end)
