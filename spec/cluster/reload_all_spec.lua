--- reload --all: every node takes the new code, or none; core/ops/concert.c.
local cluster = require "spec.support.cluster"

local KEEPER <const> = [[
  function Me:start()
    for i = 1, 20 do throng.spawn_with({name = "pet" .. i, wait = 10000}, "pet") end
  end
]]
local READY <const> = "function Me:on_ready() Me.start(self) print 'ready' end"

local function pet(size, more)
  return ("local throng = require 'throng' local Me = {} function Me:on_size() return %s end %s return Me")
    :format(size, more or "")
end

local function write(n, text)
  local file <close> = assert(io.open(n.dir .. "/pet.lua", "w"))
  file:write(text)
end

describe("reload --all", function()
  local a, b, c, door

  --- The size that all pets of each node tell, or "mixed".
  local function sizes()
    local found = {}
    for _, n in ipairs {a, b, c} do
      if not n.result then
        local client, seen = cluster.console(n), nil
        for i = 1, 20 do
          local size = tonumber(client:ask("ask", {pid = "pet" .. i, name = "size", within = 10000}).text)
          seen = (seen == nil or seen == size) and size or "mixed"
        end
        client:close()
        found[n.name] = seen
      end
    end
    return found
  end

  local function reload(args, op) return door:finish(door:begin(op or "reload", args, "*")) end

  local FILES <const> = {["./pet.lua"] = pet(1, "function Me:on_spoil() self.spoiled = true end")}

  before_each(function()
    a, b, c = cluster.three(KEEPER, FILES, {"--log", "debug"})
    door = cluster.console(a)
  end)
  after_each(function()
    for _, n in ipairs {a, b, c} do n:kill() end
  end)

  it("takes what is new in this node's files to all, and goes back with all", function()
    write(a, pet(2))
    local report = assert(reload().value)
    assert.equal(60, report.actors)
    assert.same({a = 2, b = 2, c = 2}, sizes())
    assert.equal(60, reload({module = "pet"}, "rollback").value.actors)
    assert.same({a = 1, b = 1, c = 1}, sizes())
    local failed = reload({module = "pet"}, "rollback").error
    assert.matches("^node %w: 'pet' has no version before this one", failed.message)
    assert.matches("no node has a module named 'nix'", reload({module = "nix"}, "rollback").error.message)
  end)

  it("changes nobody when one node's actors refuse it, and says which and why", function()
    write(a, pet(2, "function Me:check() if throng.node() == 'c' then error 'no room' end end"))
    local failed = reload().error
    assert.matches("^node c: .-pet.lua:1: no room %(the old code runs on, on all nodes%)$", failed.message)
    assert.same({"reload", "c", "check", 1}, {failed.code, failed.on, failed.stage, failed.line})
    assert.matches("^<%d+%.%d+@c>$", failed.actor)
    assert.same({a = 1, b = 1, c = 1}, sizes())
    write(a, pet(3))
    assert.is_true(reload().value.ok)
    assert.same({a = 3, b = 3, c = 3}, sizes())
  end)

  --- c takes its time, so that the others are ready long before it is decided.
  local SLOW <const> = [[
    function Me:check()
      if throng.node() ~= "c" or throng.self() ~= throng.whereis "pet20" then return end
      local till = throng.now() + 800
      while throng.now() < till do end
    end
  ]]

  it("takes all back when one node's actors can't take what they were ready for", function()
    write(a, pet(2, SLOW .. "function Me:migrate() if self.spoiled then error 'spoiled' end end"))
    local id = door:begin("reload", nil, "*")
    b:read_until "all are ready here"
    local other = cluster.console(b)
    other:ask("ask", {pid = "pet7", name = "spoil"})
    other:close()
    local failed = door:finish(id).error
    assert.matches("^node b: .-pet.lua:6: spoiled %(taken back%)$", failed.message)
    assert.same({"b", "migrate", 6}, {failed.on, failed.stage, failed.line})
    assert.same({a = 1, b = 1, c = 1}, sizes())
  end)

  it("refuses a module of the same name that is another one, unless it is named", function()
    write(b, pet(7))
    local own = cluster.console(b)
    own:ask("reload", {module = "pet"})
    write(a, pet(2))
    assert.matches("^node b: its module 'pet' %(./pet.lua%) is not the one that has changed", reload().error.message)
    assert.same({a = 1, b = 7, c = 1}, sizes())
    assert.is_true(reload({module = "pet"}).value.ok)
    assert.same({a = 2, b = 2, c = 2}, sizes())
    own:close()
  end)

  it("is refused by a node that runs its own files only, unless these are the same", function()
    c:kill()
    c = cluster.join(a, "c", READY .. KEEPER, {"--set", "net.timeout=2000", "--own-files"}, FILES)
    c:read_until "ready"
    repeat local _, rows = door:ask "nodes" until #rows == 3
    write(a, pet(2))
    assert.matches("^node c: it runs its own files only %(%-%-own%-files%), and its 'pet' %(./pet.lua%) is another",
                   reload().error.message)
    assert.same({a = 1, b = 1, c = 1}, sizes())
    write(c, pet(2))
    assert.is_true(reload().value.ok)
    assert.same({a = 2, b = 2, c = 2}, sizes())
  end)

  it("changes nobody when a node is killed while it prepares", function()
    write(a, pet(2, "function Me:check() if throng.node() == 'b' then print 'checking' while true do end end end"))
    local id = door:begin("reload", nil, "*")
    b:read_until "checking"
    b:kill()
    local failed = door:finish(id).error
    assert.matches("^node b: it is lost: no link to it is up any more %(the old code runs on, on all nodes%)$",
                   failed.message)
    assert.same({a = 1, c = 1}, sizes())
    write(a, pet(3))
    assert.is_true(reload().value.ok)
    assert.same({a = 3, c = 3}, sizes())
  end)

  it("changes nobody when a node is killed that was ready, while others are not yet", function()
    write(a, pet(2, SLOW))
    local id = door:begin("reload", nil, "*")
    b:read_until "all are ready here"
    b:kill()
    assert.matches("^node b: it is lost: no link to it is up any more %(the old code runs on", door:finish(id).error.message)
    assert.same({a = 1, c = 1}, sizes())
  end)

  it("changes nobody when the node that asks is killed", function()
    write(a, pet(2, "function Me:check() if throng.node() == 'b' then print 'checking' while true do end end end"))
    door:begin("reload", nil, "*")
    b:read_until "checking"
    a:kill()
    c:read_until("which asked for it, is lost: the old code runs on", 30)
    assert.same({b = 1, c = 1}, sizes())
    write(b, pet(5))
    door = cluster.console(b)
    local good
    for _ = 1, 1000 do -- the other one may be busy with giving up still
      local answer = reload()
      good = answer.value
      if good then break end
      assert.matches("another reload is under way", answer.error.message)
    end
    assert.is_true(good.ok)
    assert.same({b = 5, c = 5}, sizes())
  end)

  it("is given up when its client leaves before it is decided", function()
    write(a, pet(2, "function Me:check() if throng.node() == 'b' then print 'checking' while true do end end end"))
    door:begin("reload", nil, "*")
    b:read_until "checking"
    door:close()
    a:read_until "reload on all nodes: it was cancelled"
    assert.same({a = 1, b = 1, c = 1}, sizes())
  end)

  it("says so when a node is lost between being ready and taking it", function()
    write(a, pet(2, SLOW))
    local id = door:begin("reload", nil, "*")
    b:read_until "all are ready here"
    b:freeze()
    local failed = door:finish(id, 60000).error
    assert.matches("^node b: it .-, after it was ready: whether it has taken it is not known here %(the other nodes",
                   failed.message)
    local states = {}
    for _, of in ipairs(failed.nodes) do states[of.on] = of.state end
    assert.same({a = "taken", b = "unknown", c = "taken"}, states)
    b:signal "CONT" -- what is in its socket it hears, and takes; unless the socket was reset: then it keeps the old one
    local now
    local rounds = 0
    repeat
      now, rounds = sizes(), rounds + 1
    until now.b ~= "mixed" or rounds == 100
    assert.truthy(now.b == 1 or now.b == 2)
    assert.same({2, 2}, {now.a, now.c})
  end)
end)
