--- The console over the cluster when nodes go away, and when its clients do.
local cluster = require "spec.support.cluster"
local console = require "spec.support.console"

local COUNTER <const> = [[
  function Me:start() throng.register "counter" self.n = 0 throng.every(5, "tick") end
  function Me:on_tick() self.n = self.n + 1 end
]]

describe("a console over three nodes", function()
  local a, b, c, door

  before_each(function()
    a, b, c = cluster.three(COUNTER)
    door = cluster.console(a)
  end)
  after_each(function()
    for _, n in ipairs {a, b, c} do n:kill() end
  end)

  it("names who does not answer, and shows the others", function()
    b:freeze()
    local frame, rows = door:finish(door:begin("ps", {pattern = "counter"}, "*"))
    assert.same({"a", "c"}, console.sorted(rows, "on"))
    local seen = {}
    for _, of in ipairs(frame.value.nodes) do seen[of.on] = of.error and of.error.code or of.value.count end
    assert.same(1, seen.a)
    assert.same(1, seen.c)
    assert.truthy(seen.b == "timeout" or seen.b == "no_node")
    b:signal "CONT"
  end)

  it("ends a stream with an error when its node is killed, and goes on with the others", function()
    local one = door:begin("trace", {pid = "counter@b"})
    local all = door:begin("trace", {behaviour = "main"}, "*")
    local id, seen = nil, {}
    repeat
      local frame = door:frame()
      if frame.id == all and frame.more then seen[frame.more.on] = true end
      if frame.id == one and frame.more then id = one end
    until id and seen.a and seen.b and seen.c
    b:kill()
    local over, later = nil, 0
    repeat
      local frame = door:frame()
      if frame.id == one and frame.error then over = frame.error end
      if over and frame.id == all and frame.more then later = later + 1 end
      assert.is_nil(frame.id == all and frame.error or nil)
    until over and later > 100
    assert.equal("no_node", over.code)
    assert.matches("^node b: there is no link to it", over.message)
    door:begin("cancel", {id = all})
    assert.equal("cancelled", door:finish(all).error.code)
    assert.equal("no_actor", door:fails("info", {pid = "counter@b"}).code)
  end)

  it("ends what a client has begun elsewhere when he leaves, or his node does", function()
    local function eight(client, on) -- all that there may be on one node
      for _ = 1, 8 do client:begin("trace", {behaviour = "main"}, on) end
      local seen, count = {}, 0
      repeat
        local frame = client:frame()
        if frame.error then return false, frame.error end
        if not seen[frame.id] then seen[frame.id], count = true, count + 1 end
      until count == 8
      return true
    end
    local function until_free(client, on)
      for _ = 1, 1000 do
        local good, why = eight(client, on)
        if good then return end
        assert.equal("refused", why.code)
        client:close()
        client = cluster.console(on == "b" and c or b)
      end
      error "the traces of who has left go on"
    end
    assert.is_true(eight(door, "b"))
    door:close()
    until_free(cluster.console(c), "b")
    a:kill()
    until_free(cluster.console(b), "c")
  end)

  it("fetches no more than is read", function()
    door:ask("eval", {pid = "counter@b", time = 60000,
      code = "for i = 1, 20000 do throng.spawn 'throng.shell' end return 1"})
    local ids = {}
    for i = 1, 3 do ids[i] = door:begin("ps", {limit = 100000}, "b") end -- 15 MB in all; 8 that wait end a client
    local other = cluster.console(a)
    for _ = 1, 3 do other:finish(other:begin("ps", {limit = 100000}, "b")) end
    local rows, left = {}, 3
    while left > 0 do
      local frame = assert(door:frame())
      if frame.more then rows[frame.id] = (rows[frame.id] or 0) + 1 else left = left - 1 end
      assert.is_nil(frame.error)
    end
    for _, id in ipairs(ids) do assert.truthy(rows[id] > 20000) end
  end)
end)
