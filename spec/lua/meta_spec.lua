local node = require "spec.support.node"

local PAGE <const> = "lua/meta/throng.lua"

--- The kinds of things that the page describes, with their names: {["throng.send"] = true, ["pid:send"] = true, ...}
local function described()
  local names = {}
  for line in io.lines(PAGE) do
    local name = line:match("^function ([%w_.:]+)%(.*%) end$") or line:match("^(throng%.[%w_]+) = {}$")
    if line:find("^function") then assert.is_truthy(name, line) end
    if name then
      assert.is_nil(names[name], name .. " is there twice")
      names[name] = true
    end
  end
  return names
end

--- What an actor of the running program finds. The metatable of pids is closed, but methods are looked up in a table
--- that a pid knows as __index.
local function offered()
  local r = node.run {script = [[
    local throng = require "throng"
    return {init = function()
      for key, value in pairs(throng) do
        print("throng." .. key)
        if type(value) == "table" then
          for inner in pairs(value) do print("throng." .. key .. "." .. inner) end
        end
      end
      for key in pairs(throng.self().__index) do
        if not key:find("^__") then print("pid:" .. key) end
      end
      throng.shutdown()
    end}]]}
  assert.are.equal(0, r.code)
  local names = {}
  for _, line in ipairs(r.lines) do names[line] = true end
  return names
end

describe("the page for editors", function()
  it("describes what the program offers: no more, no less", function()
    local page, program = described(), offered()
    assert.is_true(page["throng.send"] and page["throng.log.info"] and page["pid:ask"]) -- it was read
    assert.are.same(program, page)
  end)

  it("says of each function what its parameters are, and of no others", function()
    local params = {}
    for line in io.lines(PAGE) do
      local name, list = line:match("^function ([%w_.:]+)%((.*)%) end$")
      if name then
        local wanted = {}
        for parameter in list:gmatch("[^%s,]+") do wanted[#wanted + 1] = parameter end
        assert.are.same(wanted, params, name)
      end
      local parameter = line:match("^%-%-%-@param ([%w_.]+)")
      if parameter then params[#params + 1] = parameter end
      if not line:find("^%-%-") then params = {} end
    end
  end)

  it("is Lua that can be read", function()
    assert(loadfile(PAGE, "t"))
  end)

  it("lists the fields of stats as they are", function()
    local r = node.run {script = [[
      local throng = require "throng"
      return {init = function()
        for key in pairs(throng.stats()) do print(key) end
        throng.shutdown()
      end}]]}
    local page, program, inside = {}, {}, false
    for line in io.lines(PAGE) do
      local field = line:match("^%-%-%-@field ([%w_]+)")
      inside = line:find("^%-%-%-@class throng%.Stats") ~= nil or (inside and field ~= nil)
      if inside and field then page[field] = true end
    end
    for _, line in ipairs(r.lines) do program[line] = true end
    assert.are.same(program, page)
  end)

  it("lists the options of spawn_with as they are", function()
    local r = node.run {script = [[
      local throng = require "throng"
      return {init = function()
        print(select(2, pcall(throng.spawn_with, {no_such_option = 1}, "x")))
        throng.shutdown()
      end}]]}
    local list, program, page, inside = assert(r.out:match("%(there are (.*)%)")), {}, {}, false
    for name in list:gmatch("[%w_]+") do program[name] = true end
    for line in io.lines(PAGE) do
      local field = line:match("^%-%-%-@field ([%w_]+)")
      inside = line:find("^%-%-%-@class throng%.SpawnOptions") ~= nil or (inside and field ~= nil)
      if inside and field then page[field] = true end
    end
    assert.are.same(program, page)
  end)
end)
