--- Wrong command lines: one line that says what is wrong, and exit code 2.
local node = require "spec.support.node"

local function wrong(command, pattern, o)
  o = o or {}
  o.command = command
  local r = node.run(o)
  local shown = table.concat(command, " "):sub(1, 100)
  assert(r.code == 2, ("%s: exit %s, signal %s: %s"):format(shown, r.code, r.signal, r.err))
  assert.are.equal("", r.out, shown)
  assert(r.err:find("^throng: "), shown .. ": " .. r.err)
  assert(r.err:find(pattern), shown .. ": " .. r.err)
  assert.are.equal(1, select(2, r.err:gsub("\n", "")), shown .. ": " .. r.err)
end

describe("a wrong command line", function()
  it("without anything shows the usage", function()
    local r = node.run {command = {}}
    assert.are.equal(2, r.code)
    assert(r.err:find("^usage: throng run"), r.err)
    assert.are.equal("", r.out)
  end)

  it("names an unknown command or option", function()
    wrong({"fly"}, "unknown command 'fly'")
    wrong({""}, "unknown command ''")
    wrong({"--fly"}, "unknown command '%-%-fly'")
    wrong({"run"}, "which FILE")
    wrong({"run", "--"}, "which FILE")
    wrong({"run", "--fly", "x.lua"}, "unknown option '%-%-fly'")
    wrong({"run", "-x", "x.lua"}, "unknown option '%-x'")
    wrong({"run", "--workersx", "2", "x.lua"}, "unknown option '%-%-workersx'")
    wrong({"run", "--", }, "which FILE")
    wrong({"run", "-m"}, "%-m wants a module")
  end)

  it("names an option that wants a value", function()
    for _, option in ipairs {"--name", "--workers", "--path", "--log", "--set"} do
      wrong({"run", option}, ("option '%s' wants a value"):format(option:gsub("%-", "%%-")))
    end
  end)

  it("names a value that is no good", function()
    for _, value in ipairs {"", "a b", "a/b", "ä", "a\nb", ("x"):rep(65)} do wrong({"run", "--name", value, "x.lua"}, "%-%-name") end
    for _, value in ipairs {"", "-1", "x", "1.5", "1e3", "0x10", "9999999", "99999999999999999999", " 1", "1 ", "NaN"} do
      wrong({"run", "--workers", value, "x.lua"}, "%-%-workers")
      wrong({"run", "--workers=" .. value, "x.lua"}, "%-%-workers")
    end
    for _, value in ipairs {"", "loud", "INFO ", "infox"} do wrong({"run", "--log", value, "x.lua"}, "%-%-log") end
    for _, value in ipairs {"", "=", "x", "x=1", "actors.limit", "actors.limit=", "actors.limit=0", "actors.limit=x",
                            "actors.limit=-5", "actors.limit==5", "actors.limit=5 ", "ACTORS.LIMIT=5", "actor.memory=1",
                            "actor.memory=99999999g", "actor.memory=64mm", ("x"):rep(100000), "a\nb=1", "%s%n=1"} do
      wrong({"run", "--set", value, "x.lua"}, "%-%-set")
    end
    wrong({"run", "--set", "actor.limit=5", "x.lua"}, "did you mean \"actors%.limit\"")
  end)

  it("says so of more arguments than an init can take", function()
    local command = {"run", "x.lua"}
    for i = 1, 251 do command[#command + 1] = tostring(i) end
    wrong(command, "250 arguments")
  end)

  it("says so of too many paths", function()
    local command = {"run"}
    for _ = 1, 65 do command[#command + 1] = "--path=." end
    command[#command + 1] = "x.lua"
    wrong(command, "at most 64")
  end)
end)

describe("a right command line", function()
  it("hands 250 arguments to init as they are", function()
    local args = {"", " ", "--workers", "ä", "\n", "\255\254", ("x"):rep(100000)}
    for i = #args + 1, 250 do args[i] = tostring(i) end
    local r = node.run {args = args, script = [[
      local throng = require "throng"
      return {init = function(_, ...)
        for i = 1, select("#", ...) do io = nil; print(#select(i, ...)) end
        throng.shutdown(0)
      end}]]}
    assert.are.equal(0, r.code, r.err)
    assert.are.equal(250, #r.lines)
    for i, line in ipairs(r.lines) do assert.are.equal(tostring(#args[i]), line) end
  end)

  it("prints help and version on standard output", function()
    for _, words in ipairs {{"help"}, {"--help"}, {"-h"}, {"run", "--help"}} do
      local r = node.run {command = words}
      assert.are.equal(0, r.code)
      assert.are.equal("", r.err)
      assert(r.out:find("^usage: throng run"))
      assert(r.out:find("actors%.limit=2000000"))
    end
    local r = node.run {command = {"version"}}
    assert.are.equal(0, r.code)
    assert(r.out:find("^throng %d+%.%d+%.%d+\n$"))
  end)

  it("takes -- before a file whose name looks like an option", function()
    local r = node.run {command = {"run", "--", "--x.lua", "--name"}, files = {["--x.lua"] = [[
      return {init = function(_, ...) print(...) require "throng".shutdown(7) end}]]}}
    assert.are.equal(7, r.code, r.err)
    assert.are.equal("--name\n", r.out)
  end)
end)

describe("throng run -m", function()
  it("runs a module by its require path, from --path or the program, with its arguments", function()
    local script = "local t = require 'throng' local M = {} function M:init(...) print(...) t.shutdown(3) end return M"
    local r = node.run {command = {"run", "--path", "lib", "-m", "shop.till", "a", "--b"},
                        files = {["lib/shop/till.lua"] = script}}
    assert.are.equal("", r.err)
    assert.are.equal("a\t--b\n", r.out)
    assert.are.equal(3, r.code)
    r = node.run {command = {"run", "-m", "till"}, files = {["till.lua"] = script}} -- "." is looked in, too
    assert.are.equal(3, r.code)
  end)

  it("says where it looked for a module that is not there", function()
    local r = node.run {command = {"run", "-m", "no.such"}}
    assert.are.equal(1, r.code)
    assert.matches("^throng: no module 'no.such': looked in", r.err)
  end)
end)
