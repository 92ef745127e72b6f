--- core/ops/inspect.c, rows.c, tree.c, change.c: what is seen from outside, though every worker is stuck.
local node = require "spec.support.node"
local console = require "spec.support.console"

local ROOT <const> = [[
local throng = require "throng"
local Root = {}
function Root:init()
  throng.register "root"
  throng.join "everybody"
  for i = 1, 3 do self[i] = throng.spawn_with({name = "kid" .. i}, "kid") end
  self[1]:ask "spawn"
  for i = 1, 40 do self[2]:send "hold" end
  print "up"
end
function Root:on_loop() while true do end end
return Root]]
local KID <const> = [[
local throng = require "throng"
return {
  mailbox = {limit = 50},
  on_spawn = function() return throng.spawn_with({name = "grandkid"}, "kid") end,
  on_hold = function() throng.sleep(60000) end,
  on_loop = function() while true do end end,
  on_grow = function(self) self.big = ("x"):rep(1000000) end,
  on_echo = function(_, a, t, x, p) throng.log.info("echo", {a = a, t = t.x, none = x == nil, p = p}) end,
}]]

local function sorted(list, key)
  local out = {}
  for i, row in ipairs(list) do out[i] = row[key] end
  table.sort(out)
  return out
end

describe("the console lists", function()
  local n, c

  setup(function()
    n = node.start {script = ROOT, files = {["kid.lua"] = KID}, options = {"--workers", "2"}}
    n:read_until "up"
    c = console.connect(n)
  end)
  teardown(function()
    n:kill()
  end)

  it("actors with what is known of them", function()
    local value, rows
    local by = {}
    repeat
      value, rows = c:ask("ps")
      for _, row in ipairs(rows) do by[row.name] = row end
    until by.kid2.state == "waiting" and by.kid3.state == "idle" and by.grandkid.state == "idle"
    assert.same({count = 5, shown = 5}, value)
    local kid <const> = by.kid2
    assert.equal("kid", kid.behaviour)
    assert.equal(16, #kid.version)
    assert.equal("waiting", kid.state)
    assert.equal("hold", kid.handler)
    assert.equal(39, kid.depth)
    assert.truthy(kid.oldest >= 0 and kid.memory > 1000 and kid.messages >= 1 and kid.uptime >= 0)
    assert.equal(by.root.pid, kid.parent)
    assert.equal(console.null, by.root.parent)
    assert.equal("idle", by.kid3.state)
    assert.equal(console.null, by.kid3.handler)
    assert.equal(by.kid1.pid, by.grandkid.parent)
  end)

  it("actors by pattern, order and number", function()
    local function names(args)
      local _, rows = c:ask("ps", args)
      local out = {}
      for i, row in ipairs(rows) do out[i] = row.name end
      return out
    end
    assert.same({"grandkid", "kid1", "kid2", "kid3"}, sorted(select(2, c:ask("ps", {pattern = "kid"})), "name"))
    assert.same({"grandkid"}, names {pattern = "g*d"})
    assert.same({}, names {pattern = "nobody"})
    assert.equal("kid2", names({sort = "depth"})[1])
    assert.equal("kid2", names({sort = "oldest", limit = 1})[1])
    assert.same({"root"}, names {sort = "uptime", limit = 1})
    c:ask("send", {pid = "kid3", name = "grow"})
    repeat local _, rows = c:ask("ps", {sort = "memory", limit = 1}) until rows[1].memory > 1000000
    assert.equal("kid3", names({sort = "memory"})[1])
    local value = c:ask("ps", {limit = 2})
    assert.same({count = 5, shown = 2, cut = true}, value)
    assert.same({count = 5, shown = 0, cut = true}, c:ask("ps", {limit = 0}))
  end)

  it("names and groups", function()
    local value, rows = c:ask("names", {pattern = "kid"})
    assert.same({count = 4, shown = 4}, value)
    assert.same({"grandkid", "kid1", "kid2", "kid3"}, {rows[1].name, rows[2].name, rows[3].name, rows[4].name})
    assert.same({{group = "everybody", members = 1}}, (select(2, c:ask("groups"))))
    assert.equal(4, c:ask("names", {pattern = "kid", scope = "node"}).count)
    local e = c:fails("names", {scope = "cluster"})
    assert.same({"refused", "names of the whole cluster are kept in etcd: start the node with --etcd"}, {e.code, e.message})
    assert.equal("bad_request", c:fails("names", {scope = "world"}).code)
  end)

  it("the nodes: this one, that is", function()
    local rows = select(2, c:ask("nodes"))
    assert.is_true(rows[1].actors >= 1)
    rows[1].actors = nil
    assert.same({{name = "throng", own = true, can = {}}}, rows)
  end)

  it("the tree", function()
    local value, rows = c:ask("tree")
    assert.same({count = 5, shown = 5}, value)
    local out = {}
    for i, row in ipairs(rows) do out[i] = ("%d%s"):format(row.level, row.name) end
    assert.same({"0root", "1kid1", "2grandkid", "1kid2", "1kid3"}, out)
    local _, part = c:ask("tree", {pid = "kid1"})
    assert.same({"kid1", "grandkid"}, {part[1].name, part[2].name})
    assert.equal(2, #part)
    assert.is_true(c:ask("tree", {limit = 2}).cut)
    assert.equal("no_actor", c:fails("tree", {pid = "<77.7>"}).code)
  end)

  it("the node and its memory", function()
    local value = c:ask "node"
    assert.equal("throng", value.name)
    assert.equal(2, value.workers)
    assert.equal(100000, value.settings["mailbox.limit"])
    assert.truthy(value.counters.spawned >= 5 and value.uptime > 0)
    assert.truthy(c:ask("memory").rss > 1000000)
  end)

  it("and sends, with values that are Lua's", function()
    c:ask("send", {pid = "kid1", name = "echo", args = "3, {x = 'two'}, nil, pid 'root' -- and so on"})
    n:read_until "echo a=3 none=true p=<0.1> t=two"
    assert.truthy(c:fails("send", {pid = "kid1", name = "echo", args = "3,"}).message:find "unexpected symbol")
    assert.truthy(c:fails("send", {pid = "kid1", name = "echo", args = "f()"}).message:find "nil value")
    assert.truthy(c:fails("send", {pid = "kid1", name = "echo", args = "function() end"}).message:find "can't be sent")
    assert.equal("budget", c:fails("send", {pid = "kid1", name = "echo",
      args = "(function() while true do end end)()"}).code)
    assert.equal("bad_request", c:fails("send", {pid = "kid1", name = ""}).code)
    for _ = 1, 11 do c:ask("send", {pid = "kid2", name = "hold"}) end
    assert.equal("refused", c:fails("send", {pid = "kid2", name = "hold"}).code)
    assert.equal("no_actor", c:fails("send", {pid = "<1.1@5>", name = "hold"}).code)
  end)

  it("while every worker is in an endless loop, and ends the loops", function()
    for _, name in ipairs {"root", "kid1", "kid3", "grandkid"} do c:ask("send", {pid = name, name = "loop"}) end
    local loops
    repeat
      loops = 0
      local _, rows = c:ask("ps", {sort = "busy"})
      for _, row in ipairs(rows) do
        if row.handler == "loop" then loops = loops + 1 end
      end
    until loops == 4
    assert.equal("running", c:ask("info", {pid = "kid3"}).state)
    for _, name in ipairs {"kid1", "kid3", "grandkid"} do c:ask("kill", {pid = name}) end
    repeat until c:ask("ps").count == 2
    assert.equal("no_actor", c:fails("kill", {pid = "kid1"}).code)
    assert.is_true(c:ask("stop", {pid = "kid2", reason = "enough"}))
    repeat until c:ask("ps").count == 1
  end)

  it("thousands of actors in steps, bounded", function()
    local big <const> = node.start {script = [[
      local throng = require "throng"
      return {init = function()
        for i = 1, 3000 do throng.spawn_with({name = "a" .. i}, "kid") end
        throng.register "root"
        print "up"
      end}]], files = {["kid.lua"] = "return {}"}}
    big:read_until("up", 60)
    local b <const> = console.connect(big)
    local value, rows = b:ask("ps", {sort = "memory"})
    assert.same({count = 3001, shown = 1000, cut = true}, value)
    assert.equal(1000, #rows)
    assert.equal(1, b:ask("ps", {pattern = "a277?"}).count // 10)
    local all <const>, every = b:ask("tree", {limit = 100000})
    assert.equal(3001, all.shown)
    assert.equal(3001, #every)
    assert.equal(1000, b:ask("names").shown)
    local slow <const> = b:begin("ps", {limit = 100000}) -- not read for now: it waits for us
    assert.equal("throng", console.connect(big):ask("node").name)
    assert.equal(3001, b:finish(slow).value.shown)
    big:kill()
  end)
end)
