--- What an actor's VM has and has not, and that pure Lua modules work unchanged in it.
local scenario = require "spec.support.scenario"

--- Runs statements in an actor (not the root) and returns what they return.
local function within(body, more)
  local o = {[[
    function Me:init() done(throng.spawn "subject":ask "go") end
  ]], subject = ("function Me:on_go()\n%s\nend"):format(body)}
  for key, value in pairs(more or {}) do o[key] = value end
  return scenario.run(o)
end

describe("the sandbox", function()
  it("has no io, no way to files, processes, C libraries, the registry, or other actors' code", function()
    assert.are.same({}, within [[
      local wrong = {}
      for _, path in ipairs {"io", "dofile", "loadfile", "loadstring", "os.execute", "os.exit", "os.getenv",
          "os.remove", "os.rename", "os.setlocale", "os.tmpname", "package.loadlib", "package.searchpath",
          "debug.getinfo",
          "debug.getregistry", "debug.sethook", "debug.setmetatable", "debug.getlocal", "debug.setlocal",
          "debug.getupvalue", "debug.setupvalue", "debug.upvaluejoin", "debug.getmetatable", "debug.debug"} do
        local value = _G
        for key in path:gmatch "[^.]+" do value = value and value[key] end
        if value ~= nil then wrong[#wrong + 1] = path end
      end
      for _, name in ipairs {"io", "ffi", "jit"} do if pcall(require, name) then wrong[#wrong + 1] = name end end
      return wrong
    ]])
  end)

  it("has no more of os, debug and package than is said", function()
    local all = within [[
      local all = {}
      for _, lib in ipairs {"os", "debug"} do
        for key in pairs(_G[lib]) do all[#all + 1] = lib .. "." .. key end
      end
      table.sort(all)
      return all
    ]]
    assert.are.same({"debug.traceback", "os.clock", "os.date", "os.difftime", "os.time"}, all)
  end)

  it("has all the rest of Lua 5.4's library", function()
    local expected = {}
    for _, lib in ipairs {"string", "table", "math", "utf8", "coroutine"} do
      for key in pairs(_G[lib]) do expected[lib .. "." .. key] = true end
    end
    for _, key in ipairs {"assert", "collectgarbage", "error", "getmetatable", "ipairs", "load", "next", "pairs",
                          "pcall", "print", "rawequal", "rawget", "rawlen", "rawset", "require", "select",
                          "setmetatable", "tonumber", "tostring", "type", "xpcall", "_VERSION", "_G"} do
      expected[key] = true
    end
    local missing = {scenario.run {[[
      function Me:init(...)
        local missing = {}
        for _, path in ipairs {...} do
          local value = _G
          for key in path:gmatch "[^.]+" do value = value[key] end
          if value == nil then missing[#missing + 1] = path end
        end
        done(table.unpack(missing))
      end
    ]], args = (function()
      local list = {}
      for path in pairs(expected) do list[#list + 1] = path end
      table.sort(list)
      return list
    end)()}}
    for i, path in ipairs(missing) do if path == "string.dump" then table.remove(missing, i) end end
    assert.are.same({}, missing)
  end)

  it("is the same for the root", function()
    assert.are.same({"nil", "nil", "nil", "nil"}, {scenario.run [[
      function Me:init() done(type(io), type(os.execute), type(dofile), type(debug.getinfo)) end
    ]]})
  end)

  it("shows its libraries whole to pairs, next and rawget, though nothing of them was used yet", function()
    assert.are.same({true, true, true, true, true, true}, {within [[
      local seen, strings = {}, {}
      for key in pairs(table) do seen[key] = true end
      for key in next, string do strings[key] = true end
      return seen.concat and seen.sort and true, strings.format and strings.gsub and true, next(math) ~= nil,
             rawget(utf8, "char") ~= nil, rawget(_G, "utf8") == utf8, rawget(_G, "xpcall") ~= nil
    ]]})
  end)

  it("gives the same table for a global, for require and in package.loaded", function()
    assert.are.same({true, true, true, true}, {within [[
      return require "string" == string, require "math" == math, package.loaded.throng == require "throng",
             require "_G" == _G
    ]]})
  end)

  it("lets globals be set and shadowed, in this actor alone", function()
    assert.are.same({"mine", 7, "function"}, {scenario.run {[[
      function Me:init()
        local a, b = throng.spawn "changing", throng.spawn "changing"
        local x, y = a:ask "change"
        done(x, y, b:ask "look")
      end
    ]], changing = [[
      function Me:on_change()
        tostring = function() return "mine" end
        NEW = 7
        return tostring(1), NEW
      end
      function Me:on_look() return NEW == nil and type(tostring) end
    ]]}})
  end)

  it("lets what a script removes stay away, used before or not", function()
    assert.are.same({"nil", "nil", "nil", "nil"}, {within [[
      load, string.upper = nil, nil
      local _ = rawlen
      rawlen, table.concat = nil, nil
      return type(load), type(("x").upper), type(rawlen), type(table.concat)
    ]]})
  end)

  it("protects what actors have in common: strings' and pids' metatables", function()
    assert.are.same({true, "X", true}, {scenario.run {[[
      function Me:init()
        local a = throng.spawn "bad"
        a:ask "spoil"
        local good, up = pcall(string.upper, "x")
        done(good, up, type(a.send) == "function")
      end
    ]], bad = [[
      function Me:on_spoil()
        pcall(function() getmetatable("").__index = function() return "spoiled" end end)
        pcall(function() getmetatable(throng.self()).__index = {} end)
        pcall(function() throng.send = nil throng.self().send = nil end)
      end
    ]]}})
  end)
end)

describe("load", function()
  it("runs text, with an environment, from a function, and tells errors", function()
    assert.are.same({3, "x", 7, "nil", true}, {within [=[
      local f = load "return 1 + 2"
      local g = load("return x", "=chunk", "t", {x = "x"})
      local parts = {"return ", "3", " + 4"}
      local i = 0
      local h = load(function() i = i + 1 return parts[i] end)
      local bad, why = load("x = = 1", "=named")
      return f(), g(), h(), bad, why:find("named:1:", 1, true) ~= nil
    ]=]})
  end)

  it("refuses bytecode", function()
    assert.are.same({"nil", true}, {within [[
      local code = string.dump and string.dump(function() end) or "\27Lua"
      local f, why = load(code)
      return f, type(why) == "string"
    ]]})
  end)
end)

describe("require", function()
  it("loads a module once an actor, with its name and its file as arguments", function()
    assert.are.same({true, "lib.counted", true, 1}, {within([[
      local a, b = require "lib.counted", require "lib.counted"
      return a == b, a.name, a.file:find "lib/counted%.lua$" ~= nil, COUNT
    ]], {["lib/counted.lua"] = [[
      COUNT = (COUNT or 0) + 1
      local name, file = ...
      return {name = name, file = file}
    ]]})})
  end)

  it("gives true for a module that returns nothing, and what it put into package.loaded", function()
    assert.are.same({true, "put"}, {within([[return require "lib.nothing", require "lib.put" ]], {
      ["lib/nothing.lua"] = "x = 1", ["lib/put.lua"] = "package.loaded[...] = 'put'"})})
  end)

  it("uses package.preload and package.loaded as Lua does", function()
    assert.are.same({"preloaded", "given"}, {within [[
      package.preload.mine = function(name) return "preloaded" end
      package.loaded.other = "given"
      return require "mine", require "other"
    ]]})
  end)

  it("says what is missing, and where it looked", function()
    local message = within([[return (select(2, pcall(require, "no.such.module")))]],
                           {options = {"--path", "far/away"}, ["far/away/x.lua"] = ""})
    assert.matches("no.such.module", message, 1, true)
    assert.matches("looked in", message)
    assert.matches("far/away", message, 1, true)
  end)

  it("passes on what a module's body raises, and tries again the next time", function()
    assert.are.same({true, true, "nil"}, {within([[
      local a = select(2, pcall(require, "lib.raises"))
      local b = select(2, pcall(require, "lib.raises"))
      return a:find "lib/raises%.lua:1: no" ~= nil, a == b, package.loaded["lib.raises"]
    ]], {["lib/raises.lua"] = "error 'no'"})})
  end)

  it("has cjson, which keeps to what it can", function()
    assert.are.same({'{"a":[1,2,3]}', 2}, {within [[
      local cjson = require "cjson"
      return cjson.encode({a = {1, 2, 3}}), cjson.decode('[1,{"x":2}]')[2].x
    ]]})
  end)

  it("may be called late, within handlers, coroutines and pcalls", function()
    assert.are.same({"late", "late"}, {within([[
      local a = coroutine.wrap(function() return require "lib.late" end)()
      local good, b = pcall(require, "lib.late")
      return a.x, good and b.x
    ]], {["lib/late.lua"] = "return {x = 'late'}"})})
  end)
end)

describe("pure Lua modules", function()
  -- What rocks do, boiled down: classes, strict mode, inspection, module patterns of old.
  local STRICT <const> = [[
    local mt = getmetatable(_G)
    if mt == nil then
      mt = {}
      setmetatable(_G, mt)
    end
    mt.__declared = {declared = true}
    mt.__newindex = function(t, n, v)
      if not mt.__declared[n] then error("assign to undeclared variable '" .. n .. "'", 2) end
      rawset(t, n, v)
    end
    mt.__index = function(_, n)
      if not mt.__declared[n] then error("variable '" .. n .. "' is not declared", 0) end
    end
    for _, name in ipairs {"print", "string", "table", "math", "pairs", "tostring", "select", "coroutine", "os", "utf8",
                           "require", "next", "load", "debug", "package", "_VERSION"} do
      assert(rawget(_G, name) ~= nil, name)
    end
  ]]

  it("that make globals strict work: a metatable on _G takes nothing away", function()
    assert.are.same({"value", "assign to undeclared variable 'y'", "variable 'x' is not declared", "function", "3", 6},
                    {within([[
      require "lib.strict"
      declared = "value"
      local _, assigned = pcall(function() y = 1 end)
      local _, read = pcall(function() return x end)
      return declared, assigned:match "assign.*", read, type(string.format), tostring(utf8.len "abc"),
             math.max(1, 6)
    ]], {["lib/strict.lua"] = STRICT})})
  end)

  it("that Debian has load and work", function()
    local there = io.open "/usr/share/lua/5.1/dkjson.lua"
    if not there then return pending "lua-dkjson is not installed" end
    there:close()
    assert.are.same({'{"a":[1,2,{"b":null}]}', 2, "parsed"}, {within([[
      local dkjson, argparse = require "dkjson", require "argparse"
      local parser = argparse("name", "description")
      parser:option "--value"
      return dkjson.encode({a = {1, 2, {b = dkjson.null}}}), (dkjson.decode '[1,2]')[2],
             parser:parse({"--value", "parsed"}).value
    ]], {options = {"--path", "/usr/share/lua/5.1"}})})
  end)

  it("that want io are content with what was granted", function()
    local there = io.open "/usr/share/lua/5.1/pl/List.lua"
    if not there then return pending "lua-penlight is not installed" end
    there:close()
    assert.are.same({"a,b,c", 9}, {scenario.run {[[
      function Me:init() done(throng.spawn_with({allow = {"io", "os", "debug"}}, "trusted"):ask "go") end
    ]], trusted = [[
      function Me:on_go()
        local stringx, List = require "pl.stringx", require "pl.List"
        return table.concat(stringx.split("a b c"), ","), List({1, 2, 3}):map(function(x) return x + 1 end):reduce "+"
      end
    ]], options = {"--path", "/usr/share/lua/5.1"}}})
  end)

  it("that define classes by closures and metatables work", function()
    assert.are.same({"Rex says woof", true, "Animal"}, {within([[
      local Dog = require "lib.dog"
      local rex = Dog("Rex")
      return rex:speak(), getmetatable(rex) == Dog, rex.kind
    ]], {["lib/class.lua"] = [[
      return function(parent)
        local class = {}
        class.__index = class
        return setmetatable(class, {__index = parent, __call = function(c, ...)
          local o = setmetatable({}, c)
          if o.new then o:new(...) end
          return o
        end})
      end
    ]], ["lib/dog.lua"] = [[
      local class = require "lib.class"
      local Animal = class()
      Animal.kind = "Animal"
      local Dog = class(Animal)
      function Dog:new(name) self.name = name end
      function Dog:speak() return ("%s says woof"):format(self.name) end
      return Dog
    ]]})})
  end)
end)

describe("finalizers", function()
  it("are refused with the reason and the way out; weak tables are there", function()
    local message, weak = within [[
      local weak = setmetatable({}, {__mode = "k"})
      weak[{}] = true
      collectgarbage()
      return select(2, pcall(setmetatable, {}, {__gc = function() end})), next(weak) == nil
    ]]
    assert.matches("__gc", message)
    assert.matches("terminate", message)
    assert.is_true(weak)
  end)
end)

describe("what was granted", function()
  it("works: io opens files, os has its functions, debug too; os.exit stays away", function()
    assert.are.same({"text", "function", "function", "nil", "nil"}, {scenario.run {[[
      function Me:init()
        done(throng.spawn_with({allow = {"io", "os", "debug"}}, "trusted"):ask "go")
      end
    ]], trusted = [[
      function Me:on_go()
        local f = assert(io.open("file.txt", "w"))
        f:write "text"
        f:close()
        local text
        for line in io.lines "file.txt" do text = line end
        return text, type(os.getenv), type(debug.getinfo), os.exit, os.setlocale
      end
    ]]}})
  end)
end)
