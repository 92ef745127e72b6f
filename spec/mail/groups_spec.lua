local groups = require "door.groups"
local seed = require "spec.support.seed"

local function members(name)
  return (groups.copy(name, 100000))
end

local function list()
  local _, size = groups.list(0)
  return (groups.list(size))
end

describe("groups", function()
  it("have their members in the order of joining, each once", function()
    assert.is_true(groups.join("room", 3))
    assert.is_true(groups.join("room", 1))
    assert.is_true(groups.join("room", 2))
    assert.are.same({nil, "EEXIST", n = 2}, table.pack(groups.join("room", 1)))
    assert.are.same({3, 1, 2}, members "room")
    assert.is_true(groups.leave("room", 1))
    assert.are.same({nil, "ENOENT", n = 2}, table.pack(groups.leave("room", 1)))
    assert.is_true(groups.join("room", 1))
    assert.are.same({3, 2, 1}, members "room")
    for pid = 1, 3 do assert.is_true(groups.leave("room", pid)) end
    assert.are.same({}, members "room")
    assert.are.same({nil, "ENOENT", n = 2}, table.pack(groups.leave("room", 3)))
  end)

  it("are named by any bytes, 1 to 200 of them", function()
    local longest = ("x"):rep(groups.TEXT_MAX)
    local good = {"\0", "a", "a\0", "a\0b", "A", "\255", " ", longest, longest:sub(2)}
    for i, name in ipairs(good) do assert.is_true(groups.join(name, i)) end
    for i, name in ipairs(good) do
      assert.are.same({i}, members(name))
      assert.is_true(groups.leave(name, i))
    end
    assert.are.same({nil, "EINVAL", n = 2}, table.pack(groups.join("", 1)))
    assert.are.same({nil, "EINVAL", n = 2}, table.pack(groups.join(longest .. "x", 1)))
    assert.are.same({}, members "")
    assert.are.same({nil, "ENOENT", n = 2}, table.pack(groups.leave(longest .. "x", 1)))
  end)

  it("are there while somebody is in them, and the list has all that are", function()
    assert.are.same({}, list())
    local expected = {}
    for i = 1, 500 do
      local name = ("g"):rep(i % 200 + 1) .. i
      name = name:sub(-200)
      expected[name] = i % 3 + 1
      for pid = 1, expected[name] do assert(groups.join(name, pid)) end
    end
    assert.are.same(expected, list())
    local _, size = groups.list(100) -- does not write past the end
    assert(size > 500 * 100)
    for name, count in pairs(expected) do
      for pid = 1, count do assert(groups.leave(name, pid)) end
    end
    assert.are.same({}, list())
  end)

  it("are copied as far as there is room", function()
    for pid = 1, 5 do groups.join("five", pid) end
    assert.are.same({{1, 2, 3}, 5, n = 2}, table.pack(groups.copy("five", 3)))
    assert.are.same({{}, 5, n = 2}, table.pack(groups.copy("five", 0)))
    assert.are.same({{1, 2, 3, 4, 5}, 5, n = 2}, table.pack(groups.copy("five", 6)))
    for pid = 1, 5 do groups.leave("five", pid) end
  end)

  it("give snapshots that later joins and leaves do not change, not even the end of the group", function()
    assert.is_nil(groups.hold "room")
    groups.join("room", 1)
    groups.join("room", 2)
    local two, same = groups.hold "room", groups.hold "room"
    assert.are.equal(two, same) -- one for all, as long as nobody comes or goes
    groups.drop(same)
    groups.join("room", 3)
    local three = groups.hold "room"
    for pid = 1, 3 do groups.leave("room", pid) end
    assert.is_nil(groups.hold "room")
    assert.are.same({1, 2}, groups.held(two))
    assert.are.same({1, 2, 3}, groups.held(three))
    groups.drop(two)
    groups.drop(three)
  end)

  it("do as a Lua table would, with many comings and goings", function()
    math.randomseed(seed)
    local model = {} -- name -> pids in order
    local function at(name, pid)
      for i, other in ipairs(model[name] or {}) do if other == pid then return i end end
    end
    for step = 1, 30000 do
      local name, pid = "m" .. math.random(20), math.random(60)
      local i = at(name, pid)
      if math.random(100) <= (step % 4000 < 2000 and 60 or 40) then
        assert((groups.join(name, pid) == true) == (i == nil), "seed " .. seed)
        model[name] = model[name] or {}
        if not i then table.insert(model[name], pid) end
      else
        assert((groups.leave(name, pid) == true) == (i ~= nil), "seed " .. seed)
        if i then table.remove(model[name], i) end
      end
      if step % 100 == 0 then assert.are.same(model[name] or {}, members(name), "seed " .. seed) end
    end
    for name, pids in pairs(model) do
      assert.are.same(pids, members(name), "seed " .. seed)
      for _, pid in ipairs(pids) do assert.is_true(groups.leave(name, pid)) end
    end
    assert.are.same({}, list())
  end)

  it("show each thread what it did itself, while others come and go", function()
    assert.are.equal(0, groups.crowd(4, 20000, seed), "seed " .. seed)
    assert.are.same({}, list())
  end)

  it("lose a hundred thousand members one by one in no time", function()
    for pid = 1, 100000 do groups.join("crowd", pid) end
    local began = os.clock()
    for pid = 1, 99999 do groups.leave("crowd", pid) end
    assert(os.clock() - began < 5) -- walking to each would take minutes
    assert.are.same({100000}, members "crowd")
    groups.leave("crowd", 100000)
  end)
end)
