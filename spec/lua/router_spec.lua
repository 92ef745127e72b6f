local router = require "throng.router"
local seed = require "spec.support.seed"

local function names(count)
  local list = {}
  for i = 1, count do list[i] = "<" .. i .. ".1>" end
  return list
end

local function picked(r, keys)
  local list = {}
  for i, key in ipairs(keys) do list[i] = r:pick(key) end
  return list
end

describe("round robin", function()
  it("goes through all in turn, again and again", function()
    assert.are.same({"a", "b", "c", "a", "b", "c", "a"}, picked(router.over {"a", "b", "c"}, {1, 1, 1, 1, 1, 1, 1}))
  end)

  it("goes on when members come and go; nobody is no error", function()
    local members = {"a", "b"}
    local r = router.over(function() return members end)
    assert.are.same({"a", "b", "a"}, picked(r, {1, 1, 1}))
    members = {"b", "c", "d"}
    local three = picked(r, {1, 1, 1})
    table.sort(three)
    assert.are.same({"b", "c", "d"}, three)
    members = {}
    assert.is_nil(r:pick())
    members = {"e"}
    assert.are.equal("e", r:pick())
  end)
end)

describe("least loaded", function()
  it("takes who has the least, of equals each in turn", function()
    local load = {a = 3, b = 1, c = 1, d = 2}
    local r = router.over({"a", "b", "c", "d"}, "least_loaded", {load = function(pid) return load[pid] end})
    local seen = {}
    for _ = 1, 8 do
      local pid = r:pick()
      seen[pid] = (seen[pid] or 0) + 1
    end
    assert.is_true(seen.b >= 2 and seen.c >= 2 and seen.b + seen.c == 8)
    load.a = 0
    assert.are.equal("a", r:pick())
  end)
end)

describe("consistent hash", function()
  local function owners(members, count)
    local r, list = router.over(members, "hash"), {}
    for i = 1, count do list[i] = r:pick("key " .. seed .. i) end
    return list
  end

  it("gives a key to the same member always, whatever their order, and whoever asks", function()
    local members = names(10)
    local once = owners(members, 1000)
    for i = 1, 5 do members[i], members[11 - i] = members[11 - i], members[i] end
    assert.are.same(once, owners(members, 1000))
  end)

  it("spreads keys evenly", function()
    local share = {}
    for _, pid in ipairs(owners(names(10), 10000)) do share[pid] = (share[pid] or 0) + 1 end
    for _, pid in ipairs(names(10)) do -- 1000 each; the deviation is 30
      assert.is_true(share[pid] > 800 and share[pid] < 1200, ("seed %d: %s has %d"):format(seed, pid, share[pid]))
    end
  end)

  it("moves the keys of who leaves, and no others; who joins takes his share, and nobody else gets any", function()
    local before, members = owners(names(10), 10000), names(10)
    local gone = table.remove(members, 4)
    for i, pid in ipairs(owners(members, 10000)) do
      assert.is_true(pid == before[i] or before[i] == gone)
    end
    local moved = 0
    for i, pid in ipairs(owners(names(11), 10000)) do
      if pid ~= before[i] then
        moved = moved + 1
        assert.are.equal("<11.1>", pid)
      end
    end
    assert.is_true(moved > 700 and moved < 1120, ("seed %d: %d moved"):format(seed, moved)) -- 909
  end)

  it("takes keys of any kind; 1 and 1.0 are one, 1 and \"1\" are two", function()
    local r, differ = router.over(names(50), "hash"), 0
    for i = 1, 100 do
      assert.are.equal(r:pick(i), r:pick(i + 0.0))
      if r:pick(i) ~= r:pick(tostring(i)) then differ = differ + 1 end
    end
    assert.is_true(differ > 50)
    for _, key in ipairs {true, false, 1.5, ""} do assert.is_string(r:pick(key)) end
    assert.is_string(r:pick(nil))
  end)
end)

it("a router refuses what is no strategy and no list", function()
  assert.matches("there is no strategy 'robin'", select(2, pcall(router.over, {}, "robin")))
  assert.matches("a router needs a list", select(2, pcall(router.over, nil)))
end)
