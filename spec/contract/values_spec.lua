--- Values that travel, exactly; and those that do not, with the path to the culprit.
local scenario = require "spec.support.scenario"

local ECHO <const> = "function Me:on_echo(...) return ... end"

local function run(text, more)
  local o = {text, echo = ECHO}
  for key, value in pairs(more or {}) do o[key] = value end
  return scenario.run(o)
end

--- What `try(throng.send, ...)` says about an expression.
local function refusal(expression, before)
  return run(([[
    function Me:init()
      local e = throng.spawn "echo"
      %s
      done(try(throng.send, e, "echo", %s).message, e:ask("echo", "alive"))
    end
  ]]):format(before or "", expression))
end

describe("a value", function()
  it("arrives as it was: nil, booleans, integers and floats to the last bit, strings of any bytes", function()
    assert.are.same({}, run [[
      function Me:init()
        local wrong, e = {}, throng.spawn "echo"
        local bytes = {}
        for i = 0, 255 do bytes[#bytes + 1] = string.char(i) end
        local values = {true, false, 0, 1, -1, math.maxinteger, math.mininteger, 2^53 // 1 | 0, 127, 128, 255,
          256, -128, -129, 65535, 65536, 1 << 31, 1 << 32, 0.0, -0.0, 0.1, 1 / 3, 1e308, 5e-324,
          -1e-300, 1/0, -1/0, 2^53, 3.0, math.pi, "", "x", "\0", "a\0b",
          table.concat(bytes), ("x"):rep(255), ("x"):rep(256), ("y"):rep(65536), "äöü"}
        for i = 1, #values do
          local v = values[i]
          local w = e:ask("echo", v)
          if w ~= v or math.type(w) ~= math.type(v) or (v == 0 and 1 / w ~= 1 / v) then
            table.insert(wrong, ("%d: %s became %s"):format(i, v, w))
          end
        end
        local nan = e:ask("echo", 0/0)
        if nan == nan then table.insert(wrong, "NaN") end
        if select("#", e:ask("echo", nil)) ~= 1 then table.insert(wrong, "nil") end
        done(wrong)
      end
    ]])
  end)

  it("may be a table of tables with any keys that travel, at both ends of what is an array", function()
    assert.are.equal("same", run [[
      local function same(a, b)
        if type(a) ~= "table" or type(b) ~= "table" then return a == b and math.type(a) == math.type(b) end
        for k, v in pairs(a) do if not same(v, b[k]) then return false end end
        for k in pairs(b) do if a[k] == nil then return false end end
        return true
      end
      function Me:init()
        local e = throng.spawn "echo"
        local big = {}
        for i = 1, 10000 do big[i] = {i, tostring(i)} end
        for i, t in ipairs {{}, {1, 2, 3}, {1, nil, 3}, {x = 1}, {1, 2, x = {y = {z = {}}}}, {[0] = 0, [-1] = -1},
                            {[2^40 | 0] = 1},
                            {[1.5] = "f", [true] = "t", [false] = "f"}, {[throng.self()] = e, e}, {{}, {}, {{}}}, big,
                            {[throng.monitor(e)] = "ref"}} do
          local back = e:ask("echo", t)
          if not same(t, back) then return done("differs: " .. i) end
          if back == t then return done("the same table: " .. i) end
        end
        done "same"
      end
    ]])
  end)

  it("is a copy: neither side sees what the other changes", function()
    assert.are.same({1, {2}}, {run([[
      function Me:init()
        local t = {n = {1}}
        local k = throng.spawn "keeper"
        k:send("keep", t)
        t.n[1] = 3
        local kept = k:ask "kept"
        local first = kept.n[1]
        kept.n[1] = 2
        k:ask "change"
        done(first, kept.n)
      end
    ]], {keeper = [[
      function Me:on_keep(t) self.t = t end
      function Me:on_kept() return self.t end
      function Me:on_change() self.t.n[1] = 99 end
    ]]})})
  end)

  it("may be a pid or a ref, within tables too, equal on arrival and as a key", function()
    assert.are.same({true, true, true, true}, {run [[
      function Me:init()
        local e = throng.spawn "echo"
        local timer, monitor = throng.after(600000, "x"), throng.monitor(e)
        local a, b, c = e:ask("echo", timer, monitor, {[e] = {timer}})
        done(a == timer, b == monitor, c[e][1] == timer, throng.cancel(a))
      end
    ]]})
  end)

  it("may be an error object: it keeps its fields and reads the same after any hops", function()
    assert.are.same({"error", true, "throng.error", true}, {run([[
      function Me:init() throng.spawn_with({monitor = true}, "crash") end
      function Me:on_down(_, reason)
        local back = throng.spawn "echo":ask("echo", {reason})[1]
        done(back.code, tostring(back) == reason.message and back.traceback == reason.traceback,
             getmetatable(back) and getmetatable(back).__name or "throng.error", back ~= reason)
      end
    ]], {crash = "function Me:init() error 'x' end"})})
  end)

  it("comes in numbers: 200 arguments, and 200 results", function()
    assert.are.same({200, 200, 20100}, {run [[
      function Me:init()
        local args = {}
        for i = 1, 200 do args[i] = i end
        local back = table.pack(throng.spawn "echo":ask("echo", table.unpack(args)))
        local sum = 0
        for i = 1, back.n do sum = sum + back[i] end
        done(#args, back.n, sum)
      end
    ]]})
  end)

  it("loses its metatable: a table is data", function()
    assert.are.same({"nil", 1}, {run [[
      function Me:init()
        local t = setmetatable({x = 1}, {__index = function() return "from the metatable" end})
        local back = throng.spawn "echo":ask("echo", t)
        done(back.y, back.x)
      end
    ]]})
  end)

  it("of many megabytes arrives whole", function()
    assert.are.same({20 * 2^20, true}, {run [[
      function Me:init()
        local text = ("0123456789abcdef"):rep(20 * 2^20 // 16)
        local back = throng.spawn "echo":ask("echo", text)
        done(#back, back == text)
      end
    ]]})
  end)
end)

describe("what does not travel", function()
  it("is refused at the sender with its kind and its path, and nothing was sent", function()
    for expression, expected in pairs {
      ["print"] = "argument 1: a function",
      ["1, {2, {x = function() end}}"] = "argument 2[2].x: a function",
      ["coroutine.create(print)"] = "argument 1: a coroutine",
      ["{a = {b = {['odd key'] = coroutine.create(print)}}}"] = 'argument 1.a.b["odd key"]: a coroutine',
      ["{[{}] = 1}"] = "argument 1",
      ["{[print] = 1}"] = "argument 1",
    } do
      local message, alive = refusal(expression)
      assert.matches(expected, message, 1, true)
      assert.matches("'echo'", message, 1, true)
      assert.are.equal("alive", alive)
    end
  end)

  it("may be a table met twice or a cycle: the path says where", function()
    local twice = refusal("{1, t, {t}}", "local t = {}")
    assert.matches("argument 1[3][1]", twice, 1, true)
    local cycle = refusal("t", "local t = {a = {}} t.a.b = t")
    assert.matches("argument 1.a.b", cycle, 1, true)
    assert.matches("argument 2", refusal("t, t", "local t = {}"), 1, true)
  end)

  it("may be nested too deep: an error, not a crash", function()
    local message, alive = refusal("t", "local t = {} for i = 1, 200 do t = {t} end")
    assert.matches("deep", message)
    assert.are.equal("alive", alive)
  end)

  it("is refused in spawn, after, every, exit, stop, send_all and replies alike", function()
    local texts = {run([[
      function Me:init()
        local e = throng.spawn "echo"
        local texts = {}
        for i, call in ipairs {
          function() throng.spawn("echo", {print}) end, function() throng.after(1, "x", {print}) end,
          function() throng.every(1, "x", {print}) end, function() throng.exit({print}) end,
          function() throng.stop(e, {print}) end, function() throng.send_all({e}, "x", {print}) end,
          function() e:ask("function") end,
        } do texts[i] = try(call).message end
        done(table.unpack(texts))
      end
    ]], {echo = "function Me:on_function() return {print} end"})}
    assert.are.equal(7, #texts)
    for _, text in ipairs(texts) do
      assert.matches("1[1]", text, 1, true)
      assert.matches("function", text)
    end
  end)
end)

describe("a message's name", function()
  it("is any text: handlers are found by it, on_other hears the rest with it", function()
    assert.are.same({"one", "other a b 1", "other \1 2", "other terminate 3", "other init 4", "long"}, {run([[
      function Me:init()
        local o = throng.spawn "other"
        done(o:ask "one", o:ask("a b", 1), o:ask("\1", 2), o:ask("terminate", 3), o:ask("init", 4),
             o:ask(("n"):rep(1000)))
      end
    ]], {other = [[
      function Me:on_one() return "one" end
      function Me:on_other(name, n)
        if #name == 1000 then return "long" end
        return ("other %s %d"):format(name, n)
      end
    ]]})})
  end)

  it("that another behaviour has a handler for goes to on_other of one that has not", function()
    assert.are.same({"other echo 1", 1}, {run([[
      function Me:init()
        local e = throng.spawn "echo"
        done(throng.spawn "other":ask("echo", 1), e:ask("echo", 1))
      end
    ]], {other = "function Me:on_other(name, n) return ('other %s %d'):format(name, n) end"})})
  end)

  it("reaches only what begins with on_: helpers, init and terminate can't be called from outside", function()
    assert.are.same({"no_handler", "no_handler", "no_handler"}, {run([[
      function Me:init()
        local p = throng.spawn "private"
        done(try(throng.ask, p, "helper").code, try(throng.ask, p, "init").code, try(throng.ask, p, "terminate").code)
      end
    ]], {private = "function Me:helper() end function Me:init() end function Me:terminate() end"})})
  end)

  it("is wanted", function()
    assert.are.same({true, true, true}, {run [[
      function Me:init()
        local e = throng.spawn "echo"
        done(try(throng.send, e) ~= nil, try(throng.send, e, "") ~= nil, try(throng.send, e, {}) ~= nil)
      end
    ]]})
  end)
end)

describe("self", function()
  it("finds the behaviour's functions, keeps its own fields, and another actor's are not its", function()
    assert.are.same({"helped 1", "helped 2"}, {run([[
      function Me:init()
        local a, b = throng.spawn("own", 1), throng.spawn("own", 2)
        done(a:ask "help", b:ask "help")
      end
    ]], {own = [[
      function Me:init(n) self.n = n end
      function Me:help() return "helped " .. self.n end
      function Me:on_help() return self:help() end
    ]]})})
  end)
end)
