--- Scripts that are missing, broken or misbehave: one clear error each, where it helps, and the node lives.
local node = require "spec.support.node"
local world = require "spec.robust.world"

--- Lines of standard error that are the program's own last words.
local function last_words(r)
  local words = {}
  for line in r.err:gmatch("[^\n]+") do
    if line:find("^throng: ") then words[#words + 1] = line end
  end
  return words
end

local function fails(o, pattern)
  local r = node.run(o)
  assert.are.equal(1, r.code, r.err)
  local words = last_words(r)
  assert.are.equal(1, #words, r.err)
  assert(words[1]:find(pattern), ("%q has no %q"):format(words[1], pattern))
  return r
end

describe("as the root", function()
  it("a file that is missing is one line and exit 1", function()
    local r = fails({main = "nobody.lua", files = {["other.lua"] = ""}}, "nobody%.lua: no such file")
    assert.are.equal(1, select(2, r.err:gsub("\n", "")), r.err)
  end)

  it("a folder is no script", function()
    fails({main = ".", files = {["other.lua"] = ""}}, "^throng: %.: ")
  end)

  it("a file that does not parse is named with its line", function()
    local r = fails({script = "local x = 1\nlocal = 2\nreturn {}"}, "main%.lua:2: .*'='")
    assert.are.equal(1, select(2, r.err:gsub("\n", "")), r.err)
  end)

  it("an empty file, and whatever returns no table, is no behaviour", function()
    fails({script = ""}, "main%.lua is no behaviour: it returned nothing")
    for value, name in pairs {["42"] = "number", ["'x'"] = "string", ["print"] = "function", ["nil"] = "nothing",
                              ["false"] = "boolean"} do
      fails({script = "return " .. value}, "main%.lua is no behaviour: it returned a? ?" .. name)
    end
  end)

  it("a body that raises tells where", function()
    fails({script = "local x = nil\nx.y = 1\nreturn {}"}, "main%.lua:2: attempt to index a nil value")
  end)

  it("bytecode, also with a shell's first line, is refused", function()
    fails({script = string.dump(load "return {}")}, "main%.lua: .*binary")
    fails({script = "#!/usr/bin/throng\n" .. string.dump(load "return {}")}, "main%.lua:")
  end)

  it("a file of random bytes is refused", function()
    math.randomseed(1)
    local bytes = {}
    for i = 1, 5000 do bytes[i] = string.char(math.random(0, 255)) end
    fails({script = table.concat(bytes)}, "main%.lua:%d+: ")
  end)

  it("an init that raises ends the node with exit 1, reason and traceback", function()
    local r = fails({script = [[
local Root = {}
local function deeper() error "no good" end
function Root:init() deeper() end
return Root]]}, "no good")
    assert(r.err:find("main.lua:2:", 1, true), r.err)
    assert(r.err:find("stack traceback:", 1, true), r.err)
    assert(r.err:find("main.lua:3:", 1, true), r.err)
  end)

  it("an init that raises tells its traceback also when the log is off", function()
    local r = fails({script = "return {init = function()\n error 'no good' end}", options = {"--log", "off"}}, "no good")
    assert(r.err:find("stack traceback:", 1, true), r.err)
  end)

  it("a handler that raises later does the same", function()
    local r = fails({script = [[
local throng = require "throng"
local Root = {}
function Root:init() throng.after(1, "go") end
function Root:on_go() local x = nil; return x.y end
return Root]]}, "attempt to index a nil value")
    assert(r.err:find("main.lua:4:", 1, true), r.err)
    assert(r.err:find("stack traceback:", 1, true), r.err)
  end)

  it("an exit with another reason than normal is exit 1 with the reason", function()
    fails({script = "return {init = function() require 'throng'.exit 'tired' end}"}, "tired")
    assert.are.equal(0, node.run({script = "return {init = function() require 'throng'.exit() end}"}).code)
  end)
end)

describe("spawn", function()
  local files <const> = {
    ["noparse.lua"] = "local x = 1\n\nlocal = 2",
    ["notable.lua"] = "return 5",
    ["bodyraises.lua"] = "local t = nil\nt.x = 1",
    ["bodyloops.lua"] = "while true do end",
    ["bodypcalls.lua"] = "while true do pcall(function() while true do end end) end",
    ["bodycoro.lua"] = "coroutine.wrap(function() coroutine.wrap(function() while true do end end)() end)()",
    ["bodycloses.lua"] = "local x <close> = setmetatable({}, {__close = function() while true do end end})",
    ["bodycoclose.lua"] = "coroutine.wrap(function() local x <close> = setmetatable({}, {__close = function() " ..
      "while true do end end}) while true do end end)()",
    ["bodyhandler.lua"] = "xpcall(function() while true do end end, function() while true do end end)",
    ["bodyasks.lua"] = "require 'throng'.spawn('echo'):ask('echo')",
    ["bodysleeps.lua"] = "require 'throng'.sleep(1)",
    ["bodyyields.lua"] = "coroutine.yield()",
    ["bodyexits.lua"] = "require 'throng'.exit()",
    ["bodyself.lua"] = "require 'throng'.self()",
    ["bodyhog.lua"] = "local t = {} for i = 1, math.huge do t[i] = ('x'):rep(100000) .. i end",
    ["bodyrequires.lua"] = "local x = require 'not_there'\nreturn {}",
    ["bodyrecurses.lua"] = "local function f() return 1 + f() end f()", -- a deep stack: its traceback is short and quick
    ["bodyitself.lua"] = "require 'bodyitself' return {}",
    ["circle_a.lua"] = "require 'circle_b' return {}",
    ["circle_b.lua"] = "require 'circle_a' return {}",
    ["badlimit.lua"] = "return {mailbox = {limit = 0}}",
    ["badconcurrent.lua"] = "return {concurrent = 1}",
    ["initraises.lua"] = "local A = {}\nfunction A:init(how)\n  error(how, 0)\nend\nreturn A",
    ["bodyerror.lua"] = "error({code = 'mine', message = 'my own'})",
    ["bodynil.lua"] = "error(nil)",
    ["sub/init.lua"] = "return {on_x = function() return 'sub' end}",
  }
  local function run(body, more)
    local o = {body = body, files = {}, options = {"--set", "body.timeout=100"}}
    for k, v in pairs(files) do o.files[k] = v end
    for k, v in pairs(more or {}) do o[k] = v end
    return world.run(o)
  end

  it("raises an error with a code for what can be known at once", function()
    run [[
      local function refused(module, pattern)
        for _ = 1, 2 do -- the second time is no different
          local e = check.raises(pattern, throng.spawn, module)
          check.same("spawn", e.code, module)
          check.same("string", type(e.traceback), module)
          e = check.raises(pattern, throng.spawn_with, {wait = 100}, module)
          check.same("spawn", e.code, module)
        end
      end
      refused("nobody", "no module 'nobody'")
      refused("noparse", "noparse%.lua:3: ")
      refused("notable", "notable%.lua is no behaviour: it returned")
      refused("bodyraises", "bodyraises%.lua:2: attempt to index a nil value")
      refused("bodyasks", "throng%.spawn: a module's body runs without an actor")
      refused("bodysleeps", "sleep")
      refused("bodyyields", "yield")
      refused("bodyexits", "exit")
      refused("bodyself", "self")
      refused("bodyrequires", "no module 'not_there'")
      refused("bodyitself", "bodyitself")
      refused("circle_a", "circle")
      refused("badlimit", "mailbox%.limit")
      refused("badconcurrent", "concurrent")
      refused("bodyerror", "my own")
      refused("bodynil", "nil")
      check.same("sub", throng.spawn("sub"):ask("x"))
    ]]
  end)

  it("gives up on a body that does not end", function()
    run [[
      for _, module in ipairs {"bodyloops", "bodypcalls", "bodycoro", "bodycloses"} do
        check.same("spawn", check.raises("body%.timeout", throng.spawn, module).code, module)
      end
    ]]
  end)

  -- A raise out of a hook leaves hooks off until it is caught; and the lock under which bodies are tried is everybody's.
  it("gives up on a body whose way out is a loop again", function()
    for _, module in ipairs {"bodycoclose", "bodyhandler"} do
      run(([[ check.same("spawn", check.raises("", throng.spawn, %q).code) ]]):format(module), {timeout = 20})
    end
  end)

  it("tells of a body that recurses without end", function()
    run([[ check.same("spawn", check.raises("stack overflow", throng.spawn, "bodyrecurses").code) ]],
        {options = {"--set", "body.timeout=60000"}})
  end)

  it("gives up on a body that takes too much memory", function()
    run([[ check.same("spawn", check.raises("memory", throng.spawn, "bodyhog").code) ]],
        {options = {"--set", "body.timeout=60000"}})
  end)

  it("knows names of modules that lead nowhere", function()
    run [[
      for _, name in ipairs {"", ".", "..", "../x", "a..b", ".a", "a.", "a/b", "/etc/passwd", "a b", "echo\0", "\0", "echo.lua",
                             "ä", ("x"):rep(201), ("x"):rep(100000), "a\nb", "%s%n", "throng.nothing", "throng"} do
        local e = check.raises("", throng.spawn, name)
        check.same("spawn", e.code, ("%q"):format(name))
        assert(#e.message < 10000)
        check.raises("", require, name == "throng" and "throng.x" or name)
      end
      local e = check.raises("no zero bytes", require, "echo\0")
    ]]
  end)

  it("gives who waits the error of init, and its traceback; the parent lives", function()
    run [[
      local e = check.raises("broken", throng.spawn_with, {wait = 60000}, "initraises", "broken")
      check.same("error", e.code)
      check.same("initraises", e.behaviour)
      assert(e.traceback:find("initraises.lua:3:", 1, true), e.traceback)
    ]]
  end)

  it("gives who watches the error of init, and its traceback", function()
    run [[
      local e = check.ends("initraises", "broken")
      check.same("broken", e.message)
      check.same("error", e.code)
      assert(e.traceback:find("initraises.lua:3:", 1, true), e.traceback)
    ]]
  end)
end)

describe("load", function()
  it("refuses bytecode, in whatever way it comes", function()
    world.run [[
      local code = "\27Lua\x54\0\x19\x93\r\n\x1a\n" .. ("\0"):rep(50)
      for _, mode in ipairs {"bt", "t", "b"} do
        local f, e = load(code, "x", mode)
        assert(f == nil and type(e) == "string", mode)
      end
      local parts = {code}
      assert(load(function() return table.remove(parts) end) == nil)
      check.raises("", string.dump, print)
      local dumped = string.dump and string.dump(function() return 1 end)
      if dumped then
        local f, e = load(dumped)
        assert(f == nil and e:find("binary"), e)
      end
      check.same(3, load("return ...")(3))
      check.same(7, load("return x", "x", "t", {x = 7})())
      check.same(nil, load("return x", "x", "t", nil) and nil)
      check.raises("reader", load, function() return {} end)
      check.raises("bad argument", load)
      check.raises("bad argument", load, {})
      assert(load("syntax error here") == nil)
    ]]
  end)
end)
