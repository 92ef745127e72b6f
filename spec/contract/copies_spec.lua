--- A newborn's VM is a copy of one in which its behaviour's body has run. Nobody may be able to tell, but by how quick
--- it is; and where a copy would be another thing than a VM built anew, it is built anew.
local scenario = require "spec.support.scenario"
local seed = require "spec.support.seed"

--- Spawns two actors of `body`, calls `get` of both, and returns what they said and how many VMs were copied for them.
local function two(body, more)
  local o = {[[
      function Me:init(module)
        local before = throng.stats().copied
        local a, b = throng.spawn "subject", throng.spawn "subject"
        local first, second = a:ask "get", b:ask "get"
        done(first, second, throng.stats().copied - before)
      end
    ]], subject = body}
  for key, value in pairs(more or {}) do o[key] = value end
  return scenario.run(o)
end

describe("actors of one behaviour", function()
  it("are copies of each other at birth", function()
    local _, _, copied = two "function Me:on_get() return 1 end"
    assert.are.equal(2, copied)
  end)

  it("share nothing that the body made: tables, upvalues of all types, metatables, modules", function()
    local body = [[
      local list, counter, nothing, flag, text, long, number = {1, {2}}, 0, nil, false, "ab", ("long"):rep(30), 0.5
      local class = setmetatable({}, {__index = function(_, key) return key .. counter end})
      local module = require "shared"
      local function bump() counter = counter + 1 nothing = nothing or "was nil" flag = not flag end
      function Me:on_get()
        for _ = 1, 3 do bump() end
        list[2][1] = list[2][1] + 1
        module.value = module.value + 1
        text, number = text .. "c", number * 2
        return {list[2][1], counter, nothing, flag, text, #long, number, class.x, module.value}
      end
    ]]
    local first, second, copied = two(body, {shared = "Me.value = 10"})
    assert.are.same({3, 3, "was nil", true, "abc", 120, 1, "x3", 11}, first)
    assert.are.same(first, second)
    assert.are.equal(2, copied)
  end)

  it("keep locals of the file that have no value yet, or any other, as they are", function()
    local names, set, list = {}, {}, {}
    local values = {"nil", "nil", "false", "1", "0.5", "'text'", "{}", "print"}
    for i = 1, 120 do
      names[i] = "v" .. i
      local value = values[i * 7 % #values + 1]
      if value ~= "nil" then set[#set + 1] = ("v%d = %s"):format(i, value) end
      list[i] = ("type(v%d)"):format(i)
    end
    local body = ("local %s\n%s\n"):format(table.concat(names, ", "), table.concat(set, " "))
    for i = 1, 120, 20 do -- a function can hold on to 255 locals, not to all at once here
      body = body .. ("local function f%d() return %s end\n"):format(i, table.concat(list, " .. ", i, i + 19))
    end
    body = body .. "function Me:on_get() collectgarbage() return f1() .. f21() .. f41() .. f61() .. f81() .. f101() end"
    local first, second, copied = two(body)
    local expected = {}
    for i = 1, 120 do
      local value = values[i * 7 % #values + 1]
      expected[i] = value == "print" and "function" or type(load("return " .. value)())
    end
    assert.are.equal(table.concat(expected), first)
    assert.are.equal(first, second)
    assert.are.equal(2, copied)
  end)

  it("have bodies of any size", function()
    local lines = {}
    for i = 1, 3000 do lines[i] = ("local t%d = {id = %d, name = 'name-%d'} all[%d] = t%d"):format(i % 150, i, i, i, i % 150) end
    local body = "local all = {}\ndo\n" .. table.concat(lines, "\nend do\n") .. [[

      end
      function Me:on_get()
        local sum = 0
        for i, t in ipairs(all) do sum = sum + t.id assert(t.name == "name-" .. i) end
        all[1].id = 100
        return sum
      end]]
    local first, second, copied = two(body)
    assert.are.equal(3000 * 3001 // 2, first)
    assert.are.equal(first, second)
    assert.are.equal(2, copied)
  end)

  it("work on after their garbage was collected again and again", function()
    local first, second = two [[
      local cache = setmetatable({}, {__mode = "v"})
      local keep = {}
      for i = 1, 200 do keep[i] = {i} cache["k" .. i] = keep[i] end
      function Me:on_get()
        for round = 1, 50 do
          for i = 1, 200 do keep[i] = {i + round} cache["k" .. i] = keep[i] end
          collectgarbage()
        end
        local sum = 0
        for i = 1, 200 do sum = sum + cache["k" .. i][1] end
        return sum
      end
    ]]
    assert.are.equal(200 * 201 // 2 + 200 * 50, first)
    assert.are.equal(first, second)
  end)

  local BUILT <const> = {
    ["draws random numbers"] = "local r = math.random(1 << 50) function Me:on_get() return r end",
    ["asks for the time"] = "local r = throng.now() * 1000 function Me:on_get() return r end",
    ["asks for the figures of the node"] = "local r = throng.stats().cpu_ns function Me:on_get() return r end",
  }
  for what, body in pairs(BUILT) do
    it("are built anew when the body " .. what .. ": each has its own", function()
      local first, second, copied = two(body)
      assert.are_not.equal(first, second)
      assert.are.equal(0, copied)
    end)
  end

  it("are built anew when the body writes to the log, holds a coroutine, a userdata, or keys that are objects", function()
    local bodies = {
      log = "throng.log.info('body runs') function Me:on_get() return 1 end",
      coroutine = [[
        local step = coroutine.wrap(function() for i = 1, 10 do coroutine.yield(i) end end)
        step()
        function Me:on_get() return step() - 1 end]],
      table_key = "local k = {} local t = {[k] = 1} function Me:on_get() return t[k] end",
      function_key = "local t = {[print] = 1, [Me] = 2} function Me:on_get() return t[Me] - t[print] end",
      json = "local j = require 'cjson' function Me:on_get() return j.decode('1') end",
    }
    for what, body in pairs(bodies) do
      local first, second, copied = two(body)
      assert.are.equal(1, math.tointeger(first), what)
      assert.are.equal(1, math.tointeger(second), what)
      assert.are.equal(0, copied, what)
    end
  end)

  it("are built anew when they are allowed more than others, for the body may see it", function()
    local open, closed = scenario.run {[[
      function Me:init()
        local a, b = throng.spawn_with({allow = {"io"}}, "subject"), throng.spawn "subject"
        done(a:ask "get", b:ask "get")
      end]], subject = "local has = io ~= nil function Me:on_get() return has end"}
    assert.is_true(open)
    assert.is_false(closed)
  end)

  it("die for want of memory as if they were built: the copy counts", function()
    local code = scenario.run {[[
      function Me:init()
        local _, ref = throng.spawn_with({memory = 65536, monitor = true}, "subject")
      end
      function Me:on_down(_, reason) done(reason.code) end]],
      subject = "local t = {} for i = 1, 20000 do t[i] = i end function Me:on_get() return #t end"}
    assert.are.equal("memory", code)
  end)

  it("hold what random bodies put there", function()
    math.randomseed(seed)
    local function value(depth)
      local kind = math.random(depth > 0 and 9 or 7)
      if kind == 1 then return "nil" end
      if kind == 2 then return math.random(2) == 1 and "true" or "false" end
      if kind == 3 then return tostring(math.random(-1000000, 1000000)) end
      if kind == 4 then return ("%.17g"):format(math.random() * 1e6) end
      if kind == 5 then return ("%q"):format(("x"):rep(math.random(0, 100)) .. math.random(1000)) end
      if kind == 6 then return "(function() return upvalue, " .. math.random(100) .. " end)()" end
      if kind == 7 then return "select(2, pcall(error, 'e" .. math.random(9) .. "', 0))" end
      local items = {}
      for i = 1, math.random(0, 12) do
        local key = math.random(3) == 1 and ("k%d = "):format(i) or ""
        items[i] = key .. "(" .. value(depth - 1) .. ")"
      end
      return "{" .. table.concat(items, ", ") .. "}"
    end
    local o = {[[
      function Me:init()
        local bad = {}
        for i = 1, 20 do
          local name = "random" .. i
          local expected = throng.spawn_with({allow = {"os"}}, name):ask("get") -- built anew
          for _ = 1, 3 do
            if throng.spawn(name):ask("get") ~= expected then bad[#bad + 1] = i end
          end
        end
        done(bad, throng.stats().copied >= 60)
      end]]}
    for i = 1, 20 do
      local lines = {"local upvalue", "local all = {}"}
      for n = 1, math.random(60) do
        lines[#lines + 1] = ("do local v = %s local function get() return v end local function set(x) v = x end all[%d] = {get, set} end")
          :format(value(3), n)
      end
      lines[#lines + 1] = [[
        local function text(v)
          if type(v) ~= "table" then return ("%s:%s"):format(math.type(v) or type(v), tostring(v)) end
          local keys, out = {}, {}
          for k in pairs(v) do keys[#keys + 1] = k end
          table.sort(keys, function(a, b) return tostring(a) < tostring(b) end)
          for n, k in ipairs(keys) do out[n] = tostring(k) .. "=" .. text(v[k]) end
          return "{" .. table.concat(out, ",") .. "}"
        end
        function Me:on_get()
          local out = {}
          for n, pair in ipairs(all) do out[n] = text(pair[1]()) end
          collectgarbage()
          for n, pair in ipairs(all) do pair[2](n) out[#out + 1] = text(pair[1]()) end
          return table.concat(out, ";")
        end]]
      o["random" .. i] = table.concat(lines, "\n")
    end
    local bad, copied = scenario.run(o)
    assert.are.same({}, bad, "seed " .. seed)
    assert.is_true(copied)
  end)
end)
