--- core/ops/eval.c, commands.c, show.c and actor/guest.c, through the console.
local node = require "spec.support.node"
local console = require "spec.support.console"

local ROOT <const> = [[
local throng = require "throng"
local Root = {}
function Root:init()
  throng.register "root"
  self.hunger, self.pos, self.list = 3, {x = 1}, {10, 20, 30}
  for i = 1, 4 do throng.spawn_with({name = "kid" .. i}, "kid") end
  print "up"
end
function Root:on_get() return self.hunger end
function Root:on_count() self.count = (self.count or 0) + 1 return self.count end
return Root]]
local KID <const> = [[
local throng = require "throng"
return {
  init = function(self) self.seen = 0 end,
  on_spin = function() while true do end end,
  on_nap = function(_, ms) throng.sleep(ms) return "slept" end,
  on_inc = function(self) self.seen = self.seen + 1 return self.seen end,
  on_fail = function() error "on purpose" end,
}]]

describe("an eval", function()
  local n, c

  setup(function()
    n = node.start {script = ROOT, files = {["kid.lua"] = KID}, options = {"--workers", "2"}}
    n:read_until "up"
  end)
  teardown(function()
    n:signal "INT"
    n:wait()
  end)
  before_each(function() c = console.connect(n) end)
  after_each(function() c:close() end)

  local function eval(code, more)
    local args = {code = code}
    for k, v in pairs(more or {}) do args[k] = v end
    return c:ask("eval", args)
  end
  local function fails(code, more)
    local args = {code = code}
    for k, v in pairs(more or {}) do args[k] = v end
    return c:fails("eval", args)
  end
  local function text(code, more) return eval(code, more).text end

  it("takes expressions and statements, shows all values, and keeps the first in _", function()
    assert.same({text = '2, "two", nil', json = {2, "two", console.null}, count = 3}, eval '1 + 1, "two", nil')
    assert.equal("2", text "_")
    assert.same({text = "", json = {}, count = 0}, eval "x = 7")
    assert.equal("14", text "_G.x * 2")
    assert.equal("5", text "local y = 5; return y")
    assert.same({text = "", json = {}, count = 0}, eval "-- nothing")
    assert.equal("<0.1>", text 'pid "root"')
    assert.equal("<0.1>", text 'pid(pid "<0.1>")')
  end)

  it("gives each session globals of its own", function()
    eval "mine = 1"
    local other <const> = console.connect(n)
    assert.equal("nil", other:ask("eval", {code = "mine"}).text)
    other:close()
    assert.equal("1", text "mine")
  end)

  it("says whether more lines could make it right", function()
    for code, incomplete in pairs {["for i = 1, 3 do"] = true, ["x ="] = true, ["f("] = true, ["x y"] = false,
                                   ["= 1"] = false, ["[[long"] = true, ["local t = {"] = true} do
      local e = fails(code)
      assert.equal("syntax", e.code, code)
      assert.equal(incomplete, e.incomplete == true, code .. ": " .. e.message)
    end
  end)

  it("tells errors with their traceback, those of others with theirs", function()
    local e = fails "local function f() error 'boo' end f()"
    assert.equal("error", e.code)
    assert.equal("eval:1: boo", e.message)
    assert.truthy(e.traceback:find("in local 'f'", 1, true), e.traceback)
    e = fails "error {code = 'mine', message = 'so'}"
    assert.equal("so", e.message)
    assert.equal("{1, 2}", fails("error {1, 2}").message)
    e = fails 'throng.spawn("kid"):ask "fail"'
    assert.truthy(e.message:find "on purpose")
    assert.truthy(e.traceback:find("kid.lua:7", 1, true), e.traceback)
    assert.equal("1", text "1") -- and the shell lives
  end)

  it("prints to its client, and later calls of its functions print where others do", function()
    local value, pieces = eval [[print("a", 1, nil) print() function later() print "from later" end return 1]]
    assert.equal("1", value.text)
    local out = ""
    for _, p in ipairs(pieces) do out = out .. p.out end
    assert.equal("a\t1\tnil\n\n", out)
    eval "throng.fork(later)"
    n:read_until "from later"
  end)

  it("asks, sleeps and spawns as any code does", function()
    assert.equal("3", text 'pid "root":ask "get"')
    assert.equal('"kid"', text 'throng.sleep(1) local p = throng.spawn("kid") p:ask "inc" return "kid"')
  end)

  it("shows values: sorted, cut by depth and width, with cycles, pids and bytes of all kinds", function()
    assert.equal('{1, 2, [-1] = "m", [1.5] = 0, a = true, b = {}, ["end"] = 1, [true] = 2}',
      text '{1, 2, b = {}, a = true, [-1] = "m", [1.5] = 0, ["end"] = 1, [true] = 2}')
    assert.equal('{self = {<cycle>}}', text "local t = {} t.self = t return t")
    assert.equal("{a = {b = {...}}}", text("{a = {b = {c = 1}}}", {depth = 2}))
    c:send [[{"id":777,"op":"eval","args":{"code":"'a\\n\"\\\\\\0\\xff\\x7f\\u{e4}'"}}]]
    c:send "\n" -- cjson would not take the lone surrogate of `json`
    local line = c.socket:line(10000)
    assert.truthy(line:find([["text":"\"a\\n\\\"\\\\\\x00\\xff\\x7f]] .. "\u{e4}", 1, true), line)
    assert.truthy(line:find([["json":["a\n\"\\\u0000\udcff\u007f]] .. "\u{e4}", 1, true), line)
    assert.equal("3.0, 1e+100, math.huge, -math.huge, nan, 9223372036854775807, 0.1",
      text "3.0, 1e100, 1/0, -1/0, 0/0, math.maxinteger, 0.1")
    assert.equal("function <eval:1>, function <built in>", text "function() end, print")
    assert.truthy(text("coroutine.create(print)"):find "^coroutine <0x")
    local wide = eval "local t = {} for i = 1, 1000 do t[i] = i end return t"
    assert.is_true(wide.cut)
    assert.truthy(wide.text:find "\n  1, 2, 3")
    for each in wide.text:gmatch "[^\n]+" do assert.truthy(#each <= 78) end
    local long = eval "('x'):rep(100000)"
    assert.truthy(#long.text < 3000)
    assert.equal("{\n  a = \"" .. ("x"):rep(60) .. "\",\n  b = {1, 2}\n}", text "{a = ('x'):rep(60), b = {1, 2}}")
    assert.equal("{}, {x = 1}", text "setmetatable({}, {__index = error, __pairs = error}), {x = 1}")
  end)

  it("ends when its time is up, whatever it has around it, and its actor lives on", function()
    for _, code in ipairs {
      "while true do end",
      "while true do pcall(function() while true do pcall(error) end end) end",
      "local f = coroutine.wrap(function() while true do pcall(coroutine.wrap(function() while true do end end)) end end) f()",
      "table.sort({3, 2, 1}, function() while true do end end)",
      "while true do pcall(table.sort, {3, 2, 1}, function() while true do end end) end",
      "xpcall(function() while true do end end, function() while true do end end)",
      "while true do xpcall(table.sort, function() while true do end end, {2, 1}, function() while true do end end) end",
      "throng.sleep(60000)",
      "while true do throng.sleep(1) end",
      'pid "kid1":ask("nap", 60000)',
      "local t <close> = setmetatable({}, {__close = function() while true do end end}) while true do end",
      "local t <close> = setmetatable({}, {__close = function() while true do end end}) error 'x'",
    } do
      local e = fails(code, {time = 50})
      assert.equal("budget", e.code, code .. ": " .. e.message)
      assert.truthy(e.message:find("more than its 50 ms", 1, true), e.message)
      assert.equal("1", text "1", code)
    end
    local e = fails("seen = self.seen self.seen = 100 while true do end", {pid = "kid2", time = 50})
    assert.equal("budget", e.code)
    assert.equal("101", c:ask("ask", {pid = "kid2", name = "inc"}).text) -- as far as it came
  end)

  it("ends when it holds too much, or prints too much, and its actor lives on", function()
    local e = fails("kept = {} for i = 1, 1e9 do kept[i] = {} end", {memory = 4 << 20, time = 20000, pid = "kid2"})
    assert.equal("budget", e.code)
    assert.truthy(e.message:find "it may use 4 MB")
    eval("kept = nil", {pid = "kid2"})
    e = fails("local t = {} while true do pcall(function() while true do t[#t + 1] = {} end end) end",
      {memory = 1 << 20, time = 200, pid = "kid2"})
    assert.equal("budget", e.code)
    assert.equal("budget", fails("('x'):rep(1 << 30)").code)
    local frame, pieces = c:finish(c:begin("eval", {code = "while true do print(('x'):rep(99)) end", output = 1000}))
    assert.equal("budget", frame.error.code)
    local out = ""
    for _, p in ipairs(pieces) do out = out .. p.out end
    assert.equal(1000, #out)
    assert.truthy(tonumber(c:ask("ask", {pid = "kid2", name = "inc"}).text))
  end)

  it("is stopped by cancel, computing or waiting, and when its client goes", function()
    for _, code in ipairs {"while true do end", "throng.sleep(60000)", "print 'begun' throng.sleep(60000)"} do
      local id = c:begin("eval", {code = code, time = 60000})
      local cancel = c:begin("cancel", {id = id})
      assert.equal("cancelled", c:finish(id).error.code)
      assert.is_true(c:finish(cancel).value)
      assert.equal("1", text "1")
    end
    local other <const> = console.connect(n)
    other:begin("eval", {code = "print 'on' while true do self.seen = -1 end", pid = "kid3", time = 60000})
    assert.equal("on\n", other:frame().more.out)
    other:close()
    assert.equal("0", c:ask("ask", {pid = "kid3", name = "inc", within = 10000}).text)
  end)

  it("goes into an actor's VM between two messages, with self", function()
    assert.equal("3, <0.1>", text("self.hunger, throng.self()", {pid = "root"}))
    eval("self.hunger = self.hunger + 1; note = 'global'", {pid = "root"})
    assert.equal("4, \"global\"", text("self.hunger, note", {pid = "root"}))
    eval("self.hunger = 3", {pid = "root"})
    assert.equal("no_actor", fails("1", {pid = "nobody"}).code)
    assert.equal("no_actor", fails("1", {pid = "<9999.1>"}).code)
  end)

  it("says who is busy with what since when, and does not come later", function()
    local kid = c:ask("spawn", {module = "kid", name = "napper"}).pid
    c:ask("send", {pid = "napper", name = "nap", args = "60000"})
    repeat until c:ask("info", {pid = kid}).handler == "nap" -- an eval that comes before the message would be first
    local e = fails("self.seen = 5", {pid = kid, within = 50})
    assert.equal("busy", e.code)
    assert.truthy(e.message:find("did not come between two messages in 50 ms: it is waiting in on_nap since", 1, true),
      e.message)
    local id = c:begin("eval", {code = "1", pid = kid, within = 60000})
    c:ask("kill", {pid = kid})
    assert.equal("no_actor", c:finish(id).error.code)
  end)

  it("may end its own actor", function()
    local kid = c:ask("spawn", {module = "kid"}).pid
    assert.equal("no_actor", fails("throng.exit()", {pid = kid}).code)
    assert.equal("no_actor", fails("throng.exit()").code)
    assert.equal("1", text "1") -- a new shell
  end)

  it("leaves nothing behind that breaks later messages", function()
    eval("local t = 0 function self.on_hook() t = t + 1 print('hooked') return t end", {pid = "kid4"})
    fails("co = coroutine.create(function() while true do end end) coroutine.resume(co)", {pid = "kid4", time = 30})
    assert.equal('"normal", false, "cannot resume non-suspended coroutine"',
      text("coroutine.status(co), coroutine.resume(co)", {pid = "kid4"}))
    eval("collectgarbage()", {pid = "kid4"})
    assert.equal("1", c:ask("ask", {pid = "kid4", name = "inc"}).text)
  end)

  it("is asked, spawned and set by words of their own", function()
    assert.equal("3", c:ask("ask", {pid = "root", name = "get"}).text)
    assert.equal('"slept"', c:ask("ask", {pid = "kid4", name = "nap", args = "1"}).text)
    assert.equal("timeout", c:fails("ask", {pid = "kid4", name = "nap", args = "60000", within = 20}).code)
    local e = c:fails("ask", {pid = "root", name = "nosuch"})
    assert.truthy(e.message:find "no handler on_nosuch")
    local pid = c:ask("spawn", {module = "kid", name = "newborn"}).pid
    assert.equal(pid, text 'pid "newborn"')
    assert.truthy(c:fails("spawn", {module = "nosuch"}).message:find "no module 'nosuch'")
    assert.same({old = "3", new = "10"}, c:ask("set", {pid = "root", path = "hunger", value = "10"}))
    assert.same({old = "1", new = "{1}"}, c:ask("set", {pid = "root", path = "self.pos.x", value = "{1}"}))
    assert.same({old = "30", new = "30"}, c:ask("set", {pid = "root", path = "list[3]", value = "self.list[3]"}))
    assert.same({old = "nil", new = "1"}, c:ask("set", {pid = "root", path = '["odd key"]', value = "1"}))
    assert.equal("3", c:ask("set", {pid = "root", path = "hunger", value = "3"}).new)
    assert.truthy(c:fails("set", {pid = "root", path = "no.such.place", value = "1"}).message:find "nil value")
    for _, path in ipairs {"", "self", "a..b", "a[", "a[x]", "a[1", ".", "a.", "[1]x", 'a["b]'} do
      assert.equal("bad_request", c:fails("set", {pid = "root", path = path, value = "1"}).code, path)
    end
    assert.equal("syntax", c:fails("set", {pid = "root", path = "a", value = "1 2"}).code)
  end)

  it("is logged with its code", function()
    text "'a mark'"
    n:read_until [[info  console: uid %d+: eval {"code":"'a mark'"}]]
  end)
end)
