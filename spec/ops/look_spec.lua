--- core/ops/look.c, complete.c, follow.c and core/actor/visit.c: what only an actor itself can tell.
local node = require "spec.support.node"
local console = require "spec.support.console"

local ROOT <const> = [[
local throng = require "throng"
local Root = {}
function Root:init()
  throng.register "root"
  throng.join "all"
  throng.trap_exits(true)
  self.hunger, self.deep, self.list = 3, {a = {b = {c = {d = 1}}}}, {10, 20, {x = "y"}}
  self.kid = throng.spawn_with({name = "kid", link = true}, "kid")
  throng.monitor(throng.spawn_with({name = "other"}, "kid"))
  throng.every(60000, "beat")
  print "up"
end
return Root]]
local KID <const> = [[
local throng = require "throng"
return {
  init = function(self) self.n = 0 end,
  on_loop = function(self) while not self.stop do self.n = self.n + 1 end end,
  on_sum = function(self, upto)
    local sum = 0
    for i = 1, upto do sum = sum + i; self.n = i end
    return sum
  end,
  on_sort = function(self, upto)
    local list = {}
    for i = 1, upto do list[i] = (i * 7919) % 10007 end
    table.sort(list, function(a, b) return a < b end)
    return list[1]
  end,
  on_nap = function(self) throng.sleep(60000) end,
  on_ask = function(self, whom) return whom:ask "nap" end,
  on_fork = function() throng.fork(function() throng.sleep(60000) end) end,
  on_waste = function(self) for i = 1, 1000 do self[i] = {} end for i = 1, 1000 do self[i] = nil end end,
  on_say = function(self, level, text) throng.log[level](text) end,
}]]

describe("a look at an actor", function()
  local n, c

  setup(function()
    n = node.start {script = ROOT, files = {["kid.lua"] = KID}, options = {"--workers", "2"}}
    n:read_until "up"
    c = console.connect(n)
  end)
  teardown(function()
    n:kill()
  end)

  local function spawn(name) return c:ask("spawn", {module = "kid", name = name}).pid end
  local function state(pid, path, more)
    local args = {pid = pid, path = path}
    for k, v in pairs(more or {}) do args[k] = v end
    return c:ask("state", args)
  end

  it("shows its state, or what a path finds", function()
    assert.truthy(state("root").text:find("deep = {a = {b = {...}}}", 1, true))
    assert.is_true(state("root").cut)
    assert.same({text = "3", cut = false}, state("root", "hunger"))
    assert.same({text = "{c = {d = 1}}", cut = false}, state("root", "self.deep.a.b"))
    assert.same({text = "{c = {...}}", cut = true}, state("root", "deep.a.b", {depth = 1}))
    assert.same({text = '"y"', cut = false}, state("root", 'list[3]["x"]'))
    assert.same({text = "nil", cut = false}, state("root", "nothing"))
    assert.truthy(state("root", "list", {limit = 2}).text:find "10, 20, %.%.%.")
    assert.truthy(c:fails("state", {pid = "root", path = "hunger.x"}).message:find("self.hunger is a number", 1, true))
    assert.truthy(c:fails("state", {pid = "root", path = "nix.x"}).message:find("self.nix is a nil", 1, true))
    assert.equal("bad_request", c:fails("state", {pid = "root", path = "a..b"}).code)
    assert.equal("no_actor", c:fails("state", {pid = "nobody"}).code)
  end)

  it("comes in the middle of an endless loop, and of one that must come out right", function()
    local pid = spawn()
    c:ask("send", {pid = pid, name = "loop"})
    c:ask("send", {pid = pid, name = "later", args = "1, 'x'"})
    local first <const> = tonumber(state(pid, "n").text)
    repeat until tonumber(state(pid, "n").text) > first
    assert.same({{kind = "send", name = "later", from = console.null, text = 'later(1, "x")'}},
      c:ask("inbox", {pid = pid}).messages)
    local value, tasks = c:ask("tasks", {pid = pid})
    assert.equal(1, value.count)
    assert.equal("loop", tasks[1].handler)
    assert.equal("running", tasks[1].state)
    assert.truthy(tasks[1].traceback:find "kid.lua:4")
    assert.truthy(c:ask("gc", {pid = pid}).after > 0)
    assert.equal("busy", c:fails("eval", {pid = pid, code = "1", within = 20}).code)
    c:ask("kill", {pid = pid})
    assert.equal("no_actor", c:fails("state", {pid = pid}).code)

    local id = c:begin("eval", {code = [[
      local kid = throng.spawn_with({name = "summer"}, "kid")
      return throng.ask_within(60000, kid, "sum", 3000000), throng.ask_within(60000, kid, "sort", 200000)]],
      time = 60000})
    local other <const>, looks = console.connect(n), 0
    repeat until other:ask("ps", {pattern = "summer"}).count == 1
    repeat
      other:ask("state", {pid = "summer", within = 60000})
      other:ask("gc", {pid = "summer", within = 60000})
      looks = looks + 1
    until other:ask("state", {pid = "summer", path = "n", within = 60000}).text == "3000000"
    for _ = 1, 5 do other:ask("tasks", {pid = "summer", within = 60000}) end
    assert.equal("4500001500000, 0", c:finish(id).value.text)
    assert.truthy(looks >= 1)
    other:close()
  end)

  it("tells what its tasks wait for", function()
    local napper, asker = spawn(), spawn()
    c:ask("send", {pid = napper, name = "fork"})
    c:ask("send", {pid = asker, name = "ask", args = ("pid '%s'"):format(napper)})
    local function tasks_of(pid) return (select(2, c:ask("tasks", {pid = pid}))) end
    local tasks
    repeat tasks = tasks_of(napper) until #tasks == 2
    assert.equal("nap", tasks[1].handler)
    assert.equal(asker, tasks[1].from)
    assert.equal("sleep", tasks[1].waits)
    assert.truthy(tasks[1].traceback:find "on_nap" or tasks[1].traceback:find "kid.lua:16")
    assert.equal("fork", tasks[2].task)
    tasks = tasks_of(asker)
    assert.equal("ask", tasks[1].waits)
    assert.equal(napper, tasks[1]["for"])
    assert.truthy(tasks[1].left > 0 and tasks[1].left <= 5000)
    assert.equal(napper, c:ask("info", {pid = asker}).waits_for)
    c:ask("kill", {pid = napper})
  end)

  it("tells all there is to know", function()
    local info = c:ask("info", {pid = "root"})
    assert.same({"root"}, info.names)
    assert.same({"all"}, info.groups)
    assert.equal(1, #info.links)
    assert.equal(1, #info.monitors)
    assert.equal(1, info.timers)
    assert.is_true(info.traps_exits)
    assert.equal(100000, info.mailbox_limit)
    assert.equal("refuse", info.mailbox_full)
    assert.equal(64 << 20, info.memory_limit)
    assert.equal(1, #c:ask("info", {pid = "other"}).monitored_by)
    assert.same({info.pid}, c:ask("info", {pid = "kid"}).links)
  end)

  it("collects its garbage, or everybody's", function()
    c:ask("ask", {pid = "other", name = "waste"})
    local value = c:ask("gc", {pid = "other"})
    assert.truthy(value.after < value.before)
    value = c:ask "gc"
    assert.equal(c:ask("ps").count, value.count)
  end)

  it("shows what waits without taking it", function()
    local pid = spawn()
    c:ask("send", {pid = pid, name = "nap"})
    for i = 1, 30 do c:ask("send", {pid = pid, name = "m" .. i}) end
    local box = c:ask("inbox", {pid = pid, limit = 3})
    while #box.messages == 3 and box.messages[1].name == "nap" do box = c:ask("inbox", {pid = pid, limit = 3}) end
    assert.equal(30, box.depth)
    assert.same({"m1", "m2", "m3"}, {box.messages[1].name, box.messages[2].name, box.messages[3].name})
    assert.is_true(box.cut)
    assert.equal(30, c:ask("inbox", {pid = pid}).depth)
    c:ask("kill", {pid = pid})
  end)

  it("completes globals, fields, methods and names", function()
    local function words(line, more)
      local args = {line = line}
      for k, v in pairs(more or {}) do args[k] = v end
      local value = c:ask("complete", args)
      return ("%d "):format(value.from) .. table.concat(value.words, " ")
    end
    assert.equal("0 throng", words "thr")
    assert.equal("4 rawequal rawget rawlen rawset", words "x = raw")
    assert.equal("4 rawequal rawget rawlen rawset", words("x = raw()", {at = 7}))
    assert.equal("7 rep reverse", words "string.re")
    assert.equal("11 info", words "throng.log.i")
    assert.equal("5 deep", words("self.de", {pid = "root"}))
    assert.equal("15 b", words("x=#self.deep.a.", {pid = "root"}))
    assert.equal("5 on_loop", words("self:on_l", {pid = "kid"}))
    c:ask("eval", {code = "who = pid 'root' longer_name = 1"})
    assert.equal("4 ask send", words "who:")
    assert.equal("0 longer_name", words "longer")
    assert.equal("5 kid", words "info ki")
    assert.equal("5 root", words "pid('ro")
    assert.equal("15 ", words "who.nothing.at.all")
    assert.equal("0 ", words "no_such_global")
  end)

  it("follows the log from a level on, also what is not written", function()
    local other <const> = console.connect(n)
    local id = other:begin("log", {level = "debug"})
    other:ask "node" -- it is on by now
    c:ask("send", {pid = "other", name = "say", args = "'debug', 'a whisper'"})
    local piece
    repeat piece = other:frame().more until piece.text == "a whisper"
    assert.equal("debug", piece.level)
    assert.truthy(piece.actor:find "^other <")
    assert.equal("cancelled", (function()
      local cancel = other:begin("cancel", {id = id})
      local frame = other:finish(id)
      other:finish(cancel)
      return frame.error.code
    end)())
    assert.falsy(n.err:find "a whisper")
    assert.equal("bad_request", c:fails("log", {level = "loud"}).code)
    other:close()
  end)

  it("follows dead letters", function()
    local id = c:begin("deadletters", {limit = 1})
    local counts = c:frame().more.counts
    assert.truthy(counts.handler >= 0 and counts.full >= 0)
    local other <const> = console.connect(n)
    other:ask("send", {pid = "other", name = "nosuch", args = "1"})
    local frame, pieces = c:finish(id)
    assert.is_true(frame.value)
    assert.equal("no_handler", pieces[1].reason)
    assert.equal("nosuch(1)", pieces[1].text)
    other:close()
  end)

  it("is in vain when the actor dies meanwhile, and no harm when its client goes", function()
    for i = 1, 20 do
      local pid = spawn()
      c:ask("send", {pid = pid, name = i % 2 == 0 and "loop" or "nap"})
      local other <const> = console.connect(n)
      for _, op in ipairs {"state", "tasks", "info", "inbox", "gc", "eval"} do
        other:begin(op, op == "eval" and {pid = pid, code = "1"} or {pid = pid})
      end
      c:ask("kill", {pid = pid})
      if i % 3 == 0 then other:close() end
    end
    assert.equal("throng", c:ask("node").name)
  end)
end)
