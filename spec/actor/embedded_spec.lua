local embedded = require "door.embedded"

describe("the embedded files", function()
  it("are all of lua/ but the editors' pages, what lies in tools/bench and tools/client, and busted, byte for byte", function()
    local listing <close> = assert(io.popen("find lua tools/bench tools/client -name '*.lua' -not -path 'lua/meta/*' "
      .. "-not -path '*/peers/*' -not -name 'report*'"))
    local count = 0
    for path in listing:lines() do
      local file <close> = assert(io.open(path, "rb"))
      local module = path:gsub("^tools/(%w+/)", "lua/throng/%1"):match("^lua/(.+)%.lua$"):gsub("/init$", ""):gsub("/", ".")
      local found_path, bytes = embedded.find(module)
      assert.are.equal(path, found_path)
      assert.are.equal(file:read("a"), bytes)
      count = count + 1
    end
    assert.is_true(count > 0)
    local bundle <close> = assert(io.open("lua/throng/test/bundle.lua")) -- which lists what of busted there is
    local list = bundle:read("a"):match("MODULES <const> = (%b{})")
    for name in list:gmatch('"([^"]+)"') do
      local path, bytes = embedded.find("throng.bundled." .. name)
      local file <close> = assert(io.open("/usr/share/lua/5.1/" .. assert(path, name)))
      assert.are.equal(file:read("a"), bytes)
      count = count + 1
    end
    assert.are.equal(count, embedded.count())
  end)

  it("are not found under names that are not there, before, between and after those that are", function()
    for _, name in ipairs {"", "\1", "throng.", "throng.no_such_module", "throng/args", "\xff"} do
      assert.is_nil(embedded.find(name))
    end
  end)
end)
