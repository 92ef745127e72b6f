--- Lua itself within actors: nothing of the language is lost, and waiting works wherever Lua can yield.
local scenario = require "spec.support.scenario"

local ECHO <const> = [[
  function Me:on_echo(...) return ... end
  function Me:on_slow(ms, ...) throng.sleep(ms) return ... end
  function Me:on_raise(text) error(text, 0) end
]]

--- Runs statements in a handler, with `e`, an actor that answers, and returns what they return.
local function within(body, more)
  local o = {[[
    function Me:init() done(throng.spawn "subject":ask("go", throng.spawn "echo")) end
  ]], echo = ECHO, subject = ("function Me:on_go(e)\n%s\nend\nfunction Me:on_ping() return 'pong' end"):format(body)}
  for key, value in pairs(more or {}) do o[key] = value end
  return scenario.run(o)
end

describe("the language", function()
  it("has integers and floats as 5.4 has them", function()
    assert.are.same({11, "float", 3, -4, "3.0", "integer", true, 255, "1e+15", true}, {within [[
      return "10" + 1, math.type("10" + 1.5), 7 // 2, -7 // 2, tostring(7 // 2.0), math.type(2^53 | 0),
             math.maxinteger + 1 == math.mininteger, 0xff & ~0, tostring(1e15), "0x10" + 0 == 16
    ]]})
  end)

  it("has string arithmetic, concatenation, comparison and methods", function()
    assert.are.same({12, 6, 2.5, -3, "110", "ab", true, "HELLO", "olleh", 5, "x=1, y=2", "00042"}, {within [[
      return "10" + "2", "2" * 3, "5" / 2, -"3", 1 .. 10, "a" .. "b", "a" < "b", ("hello"):upper(), ("hello"):reverse(),
             #"hello", ("%s=%d, %s=%d"):format("x", 1, "y", 2), ("%05d"):format(42)
    ]]})
  end)

  it("has goto, repeat, numeric and generic for, varargs, multiple assignment, attributes", function()
    assert.are.same({25, 3, "2 3 1", 4, "closed"}, {within [[
      local sum = 0
      for i = 1, 10 do
        if i % 2 == 0 then goto continue end
        sum = sum + i
        ::continue::
      end
      local n = 0
      repeat local last = n; n = n + 1 until last == 2
      local a, b, c = 1, 2, 3
      a, b, c = b, c, a
      local function count(...) return select("#", ...) end
      local state <const> = {}
      do
        local x <close> = setmetatable({}, {__close = function() state.x = "closed" end})
      end
      return sum, n, ("%d %d %d"):format(a, b, c), count(nil, nil, 1, nil), state.x
    ]]})
  end)

  it("has every metamethod", function()
    assert.are.same({"add", "call 1", "index k", 42, "eq", "lt", "concat", "tostring", "unm", "idiv", 3, "band"},
                    {within [[
      local log = {}
      local mt = {}
      local function new() return setmetatable({}, mt) end
      for _, name in ipairs {"add", "unm", "idiv", "band", "concat"} do
        mt["__" .. name] = function() return name end
      end
      mt.__call = function(_, x) return "call " .. x end
      mt.__index = function(_, k) return "index " .. k end
      mt.__newindex = function(t, k, v) rawset(t, k, v * 2) end
      mt.__len = function() return 42 end
      mt.__eq = function() log.eq = "eq" return true end
      mt.__lt = function() log.lt = "lt" return true end
      mt.__tostring = function() return "tostring" end
      mt.__pairs = function() return function(_, k) if not k then return 3 end end end
      local a, b = new(), new()
      local _ = a == b, a < b
      local third
      for k in pairs(a) do third = k end
      return a + 1, a(1), a.k, #a, log.eq, log.lt, a .. "x", tostring(a), -a, a // 1, third, a & 1
    ]]})
  end)

  it("collects garbage, and tells how much there is", function()
    assert.is_true(within [[
      local before = collectgarbage "count"
      local t = {}
      for i = 1, 20000 do t[i] = {i} end
      local full = collectgarbage "count"
      t = nil
      collectgarbage()
      collectgarbage "step"
      return full > before + 500 and collectgarbage "count" < full - 500
    ]])
  end)

  it("has endless recursion as an error: the stack's end or the memory's, whichever is nearer", function()
    assert.are.same({"stack overflow", "not enough memory", "pong"}, {scenario.run {[[
      function Me:init()
        local a = throng.spawn_with({memory = 256 * 2^20}, "recursing")
        local b = throng.spawn_with({memory = 2^20}, "recursing")
        done(a:ask "recurse", b:ask "recurse", b:ask "ping")
      end
    ]], recursing = [[
      local function f() return 1 + f() end
      function Me:on_recurse()
        local _, why = pcall(f)
        return why:match "stack overflow" or why
      end
      function Me:on_ping() return "pong" end
    ]]}})
  end)
end)

describe("waiting", function()
  it("works within pcall and xpcall, and their errors are seen", function()
    assert.are.same({true, 1, false, "no", "handled: no", "down"}, {within [[
      local good, one = pcall(function() return e:ask("slow", 1, 1) end)
      local bad, why = pcall(function() e:ask("echo") error("no", 0) end)
      local _, handled = xpcall(function() throng.sleep(1) error("no", 0) end, function(m) return "handled: " .. m end)
      local _, down = pcall(function() e:ask("raise", "x") end)
      local _, dead = pcall(function() e:ask("echo", "x") end)
      return good, one, bad, why, handled, dead.code
    ]]})
  end)

  it("works within coroutines, nested, between the script's own yields", function()
    assert.are.same({{"a1", "b1", "a2", "b2", "a3", "b3"}}, {within [[
      local log = {}
      local function worker(name)
        return coroutine.create(function()
          for i = 1, 3 do
            local value = coroutine.wrap(function()
              throng.sleep(1)
              return e:ask("slow", 1, name .. i)
            end)()
            log[#log + 1] = value
            coroutine.yield(i)
          end
        end)
      end
      local a, b = worker "a", worker "b"
      for i = 1, 3 do
        local _, x = coroutine.resume(a)
        local _, y = coroutine.resume(b)
        assert(x == i and y == i)
      end
      coroutine.resume(a)
      assert(coroutine.status(a) == "dead" and coroutine.status(b) == "suspended")
      return log
    ]]})
  end)

  it("works within iterators made by coroutine.wrap, and the generic for", function()
    assert.are.same({55, 3}, {within [[
      local function items(n)
        return coroutine.wrap(function() for i = 1, n do coroutine.yield(e:ask("slow", 0, i)) end end)
      end
      local sum, count = 0, 0
      for i in items(10) do sum = sum + i end
      for _ in (function() if count < 3 then count = count + 1 throng.sleep(1) return count end end) do end
      return sum, count
    ]]})
  end)

  it("works within metamethods and to-be-closed variables", function()
    assert.are.same({"k", 3, "closed", true}, {within [[
      local log
      local t = setmetatable({}, {
        __index = function(_, k) return e:ask("echo", k) end,
        __add = function(_, n) return e:ask("echo", n + 1) end,
        __lt = function() return e:ask("echo", true) end,
        __close = function() log = e:ask("slow", 1, "closed") end,
      })
      local k, sum, less = t.k, t + 2, t < t
      do local c <close> = t end
      return k, sum, log, less
    ]]})
  end)

  it("is a clear error in a sort's comparison, a gsub's function or load's reader; who catches it lives", function()
    local texts = {within [[
      local texts = {}
      local function try(f) local good, why = pcall(f) texts[#texts + 1] = good and "waited" or tostring(why) end
      try(function() table.sort({3, 2, 1}, function(a, b) return e:ask("echo", a < b) end) end)
      try(function() string.gsub("abc", ".", function(c) return e:ask("echo", c) end) end)
      try(function() load(function() throng.sleep(1) end) end)
      try(function() table.sort({3, 2, 1}, function(a, b)
        return coroutine.wrap(function() return e:ask("echo", a < b) end)()
      end) end)
      try(function() table.sort({3, 2, 1}, function() throng.spawn_with({wait = 1}, "echo") end) end)
      texts[#texts + 1] = e:ask("echo", "alive")
      return table.unpack(texts)
    ]]}
    assert.are.equal(6, #texts)
    for i = 1, 5 do
      assert.matches("can't wait here", texts[i], 1, true)
      assert.matches("table.sort", texts[i], 1, true)
    end
    assert.matches("ask", texts[1])
    assert.matches("sleep", texts[3])
    assert.are.equal("alive", texts[6])
  end)

  it("leaves sends and forks to who can't wait", function()
    assert.are.same({{1, 2, 3}, true}, {within [[
      local list, asked = {3, 1, 2}, false
      table.sort(list, function(a, b)
        e:send("echo", a)
        if not asked then
          asked = true
          throng.fork(function() self.answer = e:ask("echo", "forked") end)
        end
        return a < b
      end)
      throng.sleep(20)
      return list, self.answer == "forked"
    ]]})
  end)

  it("keeps locals, upvalues, varargs and the stack over many waits", function()
    assert.are.same({5050, 100, "a b c", 1275}, {within [[
      local sum, count = 0, 0
      local function add(...)
        local first, rest = ..., select("#", ...)
        sum = sum + e:ask("echo", first)
        count = count + rest
        return ...
      end
      local results = {}
      for i = 1, 100 do results[i] = add(i) end
      local text = table.concat({e:ask("echo", "a"), e:ask("echo", "b"), (e:ask("echo", "c"))}, " ")
      local function deep(n) if n == 0 then return 0 end return e:ask("echo", n) + deep(n - 1) end
      return sum, count, text, deep(50)
    ]]})
  end)
end)

describe("coroutines", function()
  it("have the states that Lua says they have", function()
    assert.are.same({"suspended", "running", "normal", "dead", false, true, true, false}, {within [[
      local states = {}
      local outer
      local co = coroutine.create(function()
        states.running = coroutine.status(coroutine.running())
        states.outer = coroutine.status(outer)
        states.yieldable = coroutine.isyieldable()
      end)
      states.new = coroutine.status(co)
      outer = coroutine.create(function() coroutine.resume(co) end)
      coroutine.resume(outer)
      local _, main = coroutine.running()
      return states.new, states.running, states.outer, coroutine.status(co), coroutine.isyieldable(), main,
             states.yieldable, (coroutine.resume(co))
    ]]})
  end)

  it("pass values both ways, errors out, and can be closed", function()
    assert.are.same({"1 2", "3", "end", "cannot resume dead coroutine", "boom", true, "closed", "nil", true, "dead"},
                    {within [[
      local co = coroutine.create(function(a, b)
        local c = coroutine.yield(a .. " " .. b)
        coroutine.yield(tostring(c))
        return "end"
      end)
      local _, one = coroutine.resume(co, 1, 2)
      local _, two = coroutine.resume(co, 3)
      local _, three = coroutine.resume(co)
      local _, four = coroutine.resume(co)
      local _, five = pcall(coroutine.wrap(function() error("boom", 0) end))
      local state = "open"
      local open = coroutine.create(function()
        local x <close> = setmetatable({}, {__close = function() state = "closed" end})
        coroutine.yield()
      end)
      coroutine.resume(open)
      local closed, why = coroutine.close(open)
      local bad = coroutine.create(function()
        local x <close> = setmetatable({}, {__close = function() error "late" end})
        coroutine.yield()
      end)
      coroutine.resume(bad)
      return one, two, three, four, five, closed, state, why, coroutine.close(bad) == false, coroutine.status(bad)
    ]]})
  end)

  it("can't yield out of a handler: that is an error", function()
    assert.matches("outside a coroutine", within [[
      return select(2, pcall(coroutine.yield, 1))
    ]])
  end)

  it("wrap a failing function's error with where it happened", function()
    assert.matches("subject%.lua:%d+: .*deep inside", within [[
      local f = coroutine.wrap(function() error "deep inside" end)
      return select(2, pcall(f))
    ]])
  end)

  it("that wait for an answer can't be resumed or closed by a fork, which is told so", function()
    assert.are.same({"normal", false, true, false, "answer"}, {within [[
      local co, found
      throng.fork(function()
        co = coroutine.create(function() return e:ask("slow", 30, "answer") end)
        local _, answer = coroutine.resume(co)
        found.answer = answer
      end)
      found = {}
      throng.sleep(5)
      found.status = coroutine.status(co)
      found.resumed, found.why = coroutine.resume(co, "not the answer")
      found.closed = pcall(coroutine.close, co)
      throng.sleep(60)
      return found.status, found.resumed, tostring(found.why):find "non%-suspended" ~= nil, found.closed, found.answer
    ]]})
  end)

  it("a thousand at once, each waiting in turn, keep apart", function()
    assert.are.same({1000, 500500}, {within [[
      local cos, sum, count = {}, 0, 0
      for i = 1, 1000 do
        cos[i] = coroutine.wrap(function()
          coroutine.yield()
          local x = e:ask("echo", i)
          coroutine.yield(x)
        end)
        cos[i]()
      end
      for i = 1, 1000 do sum, count = sum + cos[i](), count + 1 end
      return count, sum
    ]]})
  end)

  it("deep in each other are preempted and wait as one", function()
    scenario.each_seed(10, function(_, options)
      assert.are.same({"bottom", 100}, {within([[
        local depth = 0
        local function nest(n)
          depth = depth + 1
          for _ = 1, 50 do end
          if n == 0 then throng.sleep(0) return e:ask("echo", "bottom") end
          return coroutine.wrap(function() return nest(n - 1) end)()
        end
        return nest(99), depth
      ]], {options = options})})
    end)
  end)
end)

describe("errors", function()
  it("carry file and line, level and any value", function()
    assert.are.same({true, true, "bare", true, "field"}, {within [[
      local _, a = pcall(function() error "x" end)
      local _, b = pcall(function() local t = nil; return t.x end)
      local _, c = pcall(error, "bare", 0)
      local _, d = pcall(error)
      local _, f = pcall(error, {x = "field"})
      return a:find "subject%.lua:%d+: x" ~= nil, b:find "attempt to index a nil value %(local 't'%)" ~= nil, c,
             d == nil, f.x
    ]]})
  end)

  it("have tracebacks that reach through waits and coroutines", function()
    local traceback = within [[
      local function inner() return debug.traceback "here" end
      throng.sleep(0)
      return inner()
    ]]
    assert.matches("^here\nstack traceback:", traceback)
    assert.matches("subject%.lua:%d+: in ", traceback)
  end)
end)
