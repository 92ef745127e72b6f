local names = require "door.names"
local seed = require "spec.support.seed"

describe("names", function()
  it("have one holder each", function()
    assert.is_true(names.add("bob", 1))
    assert.are.same({nil, "EEXIST", n = 2}, table.pack(names.add("bob", 2)))
    assert.are.same({nil, "EEXIST", n = 2}, table.pack(names.add("bob", 1)))
    assert.are.equal(1, names.find("bob"))
    assert.are.equal(0, names.find("alice"))
    assert.are.same({nil, "ENOENT", n = 2}, table.pack(names.remove("bob", 2)))
    assert.are.equal(1, names.find("bob"))
    assert.is_true(names.remove("bob", 1))
    assert.are.equal(0, names.find("bob"))
    assert.are.same({nil, "ENOENT", n = 2}, table.pack(names.remove("bob", 1)))
    assert.is_true(names.add("bob", 2))
    assert.is_true(names.remove("bob", 2))
  end)

  it("are found by their holder, too", function()
    local longest = ("x"):rep(names.TEXT_MAX)
    for i = 1, 100 do names.add("name " .. i, i) end
    names.add(longest, 101)
    assert.are.same({"name 1", "name 77", longest, ""}, {names.of(1), names.of(77), names.of(101), names.of(102)})
    for i = 1, 100 do names.remove("name " .. i, i) end
    names.remove(longest, 101)
    assert.are.equal("", names.of(77))
  end)

  it("are any bytes, 1 to 200 of them", function()
    local longest = ("x"):rep(names.TEXT_MAX)
    for i, name in ipairs {"\0", "a", "a\0", "a\0b", "A", "\255", " ", longest, longest:sub(2)} do
      assert.is_true(names.add(name, i))
    end
    for i, name in ipairs {"\0", "a", "a\0", "a\0b", "A", "\255", " ", longest, longest:sub(2)} do
      assert.are.equal(i, names.find(name))
      assert.is_true(names.remove(name, i))
    end
    assert.are.same({nil, "EINVAL", n = 2}, table.pack(names.add("", 1)))
    assert.are.same({nil, "EINVAL", n = 2}, table.pack(names.add(longest .. "x", 1)))
    assert.are.equal(0, names.find(""))
    assert.are.equal(0, names.find(longest .. "x"))
  end)

  it("do as a Lua table would, many of them", function()
    math.randomseed(seed)
    local model = {}
    for _ = 1, 50000 do
      local name, pid = "n" .. math.random(3000), math.random(1, 3)
      local what = math.random(3)
      if what == 1 then
        assert((names.add(name, pid) == true) == (model[name] == nil), "seed " .. seed)
        model[name] = model[name] or pid
      elseif what == 2 then
        assert((names.remove(name, pid) == true) == (model[name] == pid), "seed " .. seed)
        if model[name] == pid then model[name] = nil end
      else
        assert(names.find(name) == (model[name] or 0), "seed " .. seed)
      end
    end
    for name, pid in pairs(model) do assert.is_true(names.remove(name, pid)) end
  end)

  it("never have two holders, while threads want the same ones", function()
    local wrong, won = names.race(4, 20000, seed)
    assert.are.equal(0, wrong, "seed " .. seed)
    assert(won > 0)
  end)
end)
