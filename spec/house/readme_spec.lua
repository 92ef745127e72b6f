--- What the README shows is typed as it stands there.
local node = require "spec.support.node"

--- The files that the README shows: blocks whose first line names them.
local function files()
  local readme <close> = assert(io.open("README.md"))
  local all = {}
  for block in readme:read("a"):gmatch("```lua\n(.-)```") do
    local name = block:match("^%-%- ([%w_]+%.lua)")
    if name then all[name] = block end
  end
  return all
end

describe("the README", function()
  it("shows a supervised actor and a spec for it, which holds", function()
    local all = files()
    assert.is_truthy(all["tree.lua"] and all["beater.lua"] and all["tree_spec.lua"])
    local r = node.run {files = all, command = {"test", "tree_spec.lua"}}
    assert.are.equal("", r.err, r.out)
    assert.matches("2 successes / 0 failures / 0 errors", r.out)
    assert.are.equal(0, r.code)
  end)

  it("shows a spec that is red for another tree", function()
    local all = files()
    all["tree.lua"] = all["tree.lua"]:gsub(', restart = "temporary"', "")
    local r = node.run {files = all, command = {"test", "tree_spec.lua"}}
    assert.are.equal(1, r.code)
    assert.matches("brings Ann back, and Bea stays away", r.err)
  end)

  it("shows a first actor that greets", function()
    local n = node.start {files = files(), command = {"run", "hello.lua", "Ann", "Bea"}}
    n:read_until("name=Ann", 10)
    n:signal "INT"
    assert.are.equal(130, n:wait(10).code)
  end)
end)
