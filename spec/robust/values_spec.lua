--- Values that can't travel, and values that are nearly too much: an error at the sender, with the path to the culprit.
local world = require "spec.robust.world"

describe("a message", function()
  it("with a function, a coroutine or a userdata in it is refused at the sender, with the path", function()
    world.run {options = {}, body = [[
      local ways = {
        function(v) return throng.send(echo, "echo", 1, v) end,
        function(v) return echo:send("echo", 1, v) end,
        function(v) return throng.send_all({echo}, "echo", 1, v) end,
        function(v) return throng.ask(echo, "echo", 1, v) end,
        function(v) return throng.ask_within(100, echo, "echo", 1, v) end,
        function(v) return throng.after(1, "echo", 1, v) end,
        function(v) return throng.every(1000, "echo", 1, v) end,
        function(v) return throng.spawn("echo", 1, v) end,
        function(v) return throng.spawn_with({wait = 100}, "echo", 1, v) end,
      }
      local cycle = {a = {b = {}}}
      cycle.a.b[3] = cycle
      local twice = {}
      for i, way in ipairs(ways) do
        check.raises("argument 2: a function", way, print)
        check.raises("argument 2: a function", way, function() end)
        check.raises("argument 2: a coroutine", way, coroutine.create(print))
        check.raises("argument 2%.x%[2%]%.y: a function", way, {x = {1, {y = print}}})
        check.raises("argument 2", way, {[print] = 1})
        check.raises("argument 2", way, {[{}] = print})
        check.raises("argument 2%.a%.b%[3%]", way, cycle)
        check.raises("argument 2%.%a+: .*twice", way, {one = twice, two = twice})
      end
      check.same(0, echo:ask("sum"))
    ]]}
  end)

  it("with an open file in it is refused", function()
    world.run {files = {["granted.lua"] = [[
      local throng = require "throng"
      return {on_go = function(_, to) return throng.send(to, "x", {io.stdout}) end}
    ]]}, body = [[
      local pid = throng.spawn_with({allow = {"io"}}, "granted")
      check.raises("argument 1%[1%]: a userdata", pid.ask, pid, "go", echo)
    ]]}
  end)

  it("nested deeper than what is allowed is an error, not a C stack overflow; up to that it travels", function()
    world.run [[
      local function nested(depth)
        local t = {}
        for _ = 2, depth do t = {t} end
        return t
      end
      local function depth(t)
        local n = 0
        while t do t, n = t[1], n + 1 end
        return n
      end
      for _, d in ipairs {201, 250, 1000, 200000} do
        check.raises("deep", throng.send, echo, "echo", nested(d))
        check.raises("deep", throng.ask, echo, "echo", nested(d))
      end
      check.same(100, depth(echo:ask("echo", nested(100))))
      local keys = {}
      for _ = 1, 300 do keys = {[keys] = 1} end
      check.raises("", throng.send, echo, "echo", keys)
    ]]
  end)

  it("with a table that has a metatable, or holes, or strange keys, is taken as it lies there, or refused", function()
    world.run [[
      local t = setmetatable({1, nil, 3, x = 4}, {__index = function() error "never" end, __len = function() error "never" end,
        __pairs = function() error "never" end, __newindex = function() error "never" end})
      local good, back = pcall(echo.ask, echo, "echo", t)
      if good then
        check.same(1, back[1]) check.same(nil, back[2]) check.same(3, back[3]) check.same(4, back.x)
        check.same(nil, getmetatable(back))
      end
      local strange = {[1.5] = "a", [-1] = "b", [math.mininteger] = "c", [true] = "d", [""] = "e", ["\0"] = "f", [1 << 53] = "g",
                       [math.huge] = "h", [echo] = "i"}
      local got = echo:ask("echo", strange)
      for k, v in pairs(strange) do check.same(v, got[k], tostring(k)) end
    ]]
  end)

  it("with not-a-number, infinities and the ends of the integers comes exact", function()
    world.run [[
      local nan = echo:ask("echo", 0/0)
      assert(nan ~= nan)
      for _, n in ipairs {math.huge, -math.huge, -0.0, 0.1, 5e-324, 1.7976931348623157e308, math.maxinteger, math.mininteger, 2^53} do
        local got = echo:ask("echo", n)
        check.same(n, got) check.same(math.type(n), math.type(got)) check.same(1 / n, 1 / got)
      end
    ]]
  end)

  it("of 250 values travels, of more is refused", function()
    world.run [[
      check.same(250, select("#", echo:ask("echo", table.unpack({}, 1, 250))))
      for _, n in ipairs {251, 252, 255, 256, 257, 1000, 100000} do
        local values = table.pack(table.unpack({}, 1, n))
        check.raises("250", throng.send, echo, "echo", table.unpack({}, 1, n))
        check.raises("250", throng.ask, echo, "echo", table.unpack({}, 1, n))
        check.raises("250", throng.spawn, "echo", table.unpack({}, 1, n))
        check.raises("250", throng.after, 1, "echo", table.unpack({}, 1, n))
      end
    ]]
  end)

  it("named with nothing, many bytes, or any bytes is refused or a dead letter", function()
    world.run [[
      check.raises("name", throng.send, echo, "")
      check.same(true, echo:send("nothing like it"))
      check.same(true, echo:send(("x"):rep(100000)))
      check.same(true, echo:send("\0\n\27[31m\255"))
      check.same("no_handler", check.raises("", throng.ask, echo, "\0echo").code)
      check.same("no_handler", check.raises("", throng.ask, echo, "echo\0").code)
      check.same("no_handler", check.raises("", throng.ask, echo, ("x"):rep(1000000)).code)
      check.same("no_handler", check.raises("", throng.ask, echo, "init").code)
      check.same("no_handler", check.raises("", throng.ask, echo, "on_echo").code)
      check.same("no_handler", check.raises("", throng.ask, echo, "%s%s%s%n").code)
    ]]
  end)
end)

describe("a string of 100 MB", function()
  it("is refused by the cap where it is made, and the node lives", function()
    world.run {files = {["big.lua"] = "return {on_go = function() return #('x'):rep(100 * 2^20) end}"}, body = [[
      local pid = check.begin({}, "big")
      check.same("memory", check.raises("memory", pid.ask, pid, "go").code)
      check.same("memory", check.fate(pid).code)
    ]]}
  end)

  it("travels where there is room for it", function()
    world.run {options = {"--set", "actor.memory=1g"}, body = [[
      local s = ("0123456789"):rep(10 * 2^20)
      local back = echo:ask("echo", s)
      assert(back == s)
    ]], files = {}}
  end)

  it("kills who can't take it, with code memory; who asked hears that", function()
    world.run {options = {"--set", "actor.memory=1g"}, body = [[
      local pid = check.begin({memory = 2^20}, "echo")
      local e = check.raises("", pid.ask, pid, "echo", ("x"):rep(100 * 2^20))
      check.same("memory", e.code)
      check.same("memory", check.fate(pid).code)
    ]]}
  end)

  it("as a reply that the asker can't take kills the asker, with code memory", function()
    world.run {options = {"--set", "actor.memory=1g"}, files = {["giver.lua"] = [[
      return {on_give = function() return ("x"):rep(100 * 2^20) end}
    ]], ["taker.lua"] = [[
      return {on_take = function(_, from) return #from:ask("give") end}
    ]]}, body = [[
      local giver, taker = throng.spawn("giver"), check.begin({memory = 2^20}, "taker")
      local e = check.raises("", taker.ask, taker, "take", giver)
      check.same("memory", e.code)
      check.same("memory", check.fate(taker).code)
      check.same(100 * 2^20, #giver:ask("give"))
    ]]}
  end)
end)

describe("a message of more than a gigabyte", function()
  it("is refused at the sender", function()
    world.run {options = {"--set", "actor.memory=2g"}, body = [[
      local s, t = ("x"):rep(2^20), {}
      for i = 1, 1100 do t[i] = s end -- one string, many times: cheap here, not in a message
      check.raises("", throng.send, echo, "echo", t)
    ]]}
  end)
end)
