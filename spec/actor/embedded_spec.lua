local embedded = require "door.embedded"

describe("the embedded files", function()
  it("are all of lua/ but the editors' pages, and the workloads of tools/bench, byte for byte", function()
    local listing <close> = assert(io.popen("find lua tools/bench -name '*.lua' -not -path 'lua/meta/*' "
      .. "-not -path '*/peers/*' -not -name 'report*'"))
    local count = 0
    for path in listing:lines() do
      local file <close> = assert(io.open(path, "rb"))
      local module = path:gsub("^tools/bench/", "lua/throng/bench/"):match("^lua/(.+)%.lua$"):gsub("/init$", ""):gsub("/", ".")
      local found_path, bytes = embedded.find(module)
      assert.are.equal(path, found_path)
      assert.are.equal(file:read("a"), bytes)
      count = count + 1
    end
    assert.are.equal(count, embedded.count())
    assert.is_true(count > 0)
  end)

  it("are not found under names that are not there, before, between and after those that are", function()
    for _, name in ipairs {"", "\1", "throng.", "throng.no_such_module", "throng/args", "\xff"} do
      assert.is_nil(embedded.find(name))
    end
  end)
end)
