local registry = require "door.registry"
local seed = require "spec.support.seed"

local function settle(n)
  local slots = {}
  for i = 1, n do
    local slot, pid = registry.add()
    slots[i] = {slot = slot, pid = pid}
  end
  return slots
end

local function leave(slots)
  for _, s in ipairs(slots) do registry.remove(s.slot) end
end

describe("the registry", function()
  it("finds the living, counts them and walks over them", function()
    assert.are.equal(0, registry.count())
    local slots, pids = settle(5000), {}
    assert.are.equal(5000, registry.count())
    for _, s in ipairs(slots) do
      assert(registry.find(s.pid) == s.slot)
      pids[s.pid] = true
    end
    local living = registry.living()
    assert.are.equal(5000, #living)
    for _, pid in ipairs(living) do assert(pids[pid]) end
    leave(slots)
    assert.are.equal(0, registry.count())
    assert.are.same({}, registry.living())
  end)

  it("does not find the dead, whoever lives in their slot, nor what is no pid", function()
    local old = settle(100)
    leave(old)
    local new = settle(100)
    for _, s in ipairs(old) do assert.is_nil(registry.find(s.pid)) end
    for _, pid in ipairs {0, 1, -1, 1 << 62, 1 << 52 | new[1].pid, 1 << 63 | new[1].pid, math.mininteger, math.maxinteger,
                          registry.make((1 << 24) - 1, 1), registry.make(0, 0)} do
      assert.is_nil(registry.find(pid), pid)
    end
    leave(new)
  end)

  it("uses slots again, each time under another pid", function()
    local seen = {}
    for _ = 1, 2000 do
      local slot, pid = registry.add()
      assert(not seen[pid])
      seen[pid] = true
      registry.remove(slot)
    end
    local slot, pid = registry.add()
    assert(registry.generation(pid) > 1)
    registry.remove(slot)
  end)

  it("never uses a slot again whose pids are used up", function()
    local slot, first = registry.add()
    registry.generation(first, registry.GENERATION_MAX - 1)
    registry.remove(slot)
    local again, pid = registry.add() -- the last freed is the first taken
    assert.are.equal(slot, again)
    assert.are.equal(registry.GENERATION_MAX, (registry.generation(pid)))
    assert(pid > 0)
    registry.remove(again)
    local others = settle(300)
    for _, s in ipairs(others) do assert(s.slot ~= slot) end
    leave(others)
    assert.is_nil(registry.find(pid))
  end)

  it("refuses one more than its limit, and takes it once there is room", function()
    local slots = settle(10)
    assert.are.same({nil, "EAGAIN", n = 2}, table.pack(registry.add(10)))
    assert.are.equal(10, registry.count())
    registry.remove(table.remove(slots).slot)
    local slot, pid = registry.add(10)
    slots[10] = {slot = slot, pid = pid}
    assert.is_nil((registry.add(10)))
    leave(slots)
  end)

  it("gives no pid twice and no dead one a slot, while threads come and go", function()
    local wrong, twice, pids, found = registry.race(4, 20000, seed)
    assert.are.equal(0, wrong, "seed " .. seed)
    assert.are.equal(0, twice, "seed " .. seed)
    assert.are.equal(80000, pids)
    assert(found > 0)
    assert.are.equal(0, registry.count())
  end)
end)
