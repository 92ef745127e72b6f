local mailbox = require "door.mailbox"
local seed = require "spec.support.seed"

local function sends(names)
  local list = {}
  for i, name in ipairs(names) do list[i] = {name = name} end
  return list
end

describe("what stays of too much", function()
  it("is the newest, in order", function()
    assert.are.same({{4, 5}, {}, {1, 2, 3}}, {mailbox.cut(sends {1, 1, 2, 3, 1}, "drop_oldest", 2)})
    assert.are.same({{1, 2}, {}, {}}, {mailbox.cut(sends {1, 1}, "drop_oldest", 2)})
    assert.are.same({{}, {}, {1, 2}}, {mailbox.cut(sends {1, 1}, "drop_oldest", 0)})
    assert.are.same({{}, {}, {}}, {mailbox.cut({}, "drop_oldest", 1)})
  end)

  it("of latest is the newest of each name, whether the name travels as a number or as text", function()
    assert.are.same({{3, 5, 6}, {1, 2, 4}, {}}, {mailbox.cut(sends {1, 2, 1, "x", 2, "x"}, "latest", 10)})
    assert.are.same({{1, 2, 3}, {}, {}}, {mailbox.cut(sends {"x", "y", ""}, "latest", 10)})
  end)

  it("of latest are all requests, and a send does not replace them", function()
    local list = sends {1, 1, 1, 1}
    list[1].ask, list[3].ask = true, true
    assert.are.same({{1, 3, 4}, {2}, {}}, {mailbox.cut(list, "latest", 10)})
    assert.are.same({{3, 4}, {2}, {1}}, {mailbox.cut(list, "latest", 2)})
  end)

  it("of latest is the same as by the plain way, for any list", function()
    math.randomseed(seed)
    for _ = 1, 200 do
      local list, last, want = {}, {}, {}
      for i = 1, math.random(0, 60) do
        list[i] = {name = math.random() < 0.5 and math.random(8) or "n" .. math.random(8)}
        last[list[i].name] = i
      end
      for i, m in ipairs(list) do if last[m.name] == i then want[#want + 1] = i end end
      local kept, replaced, cut = mailbox.cut(list, "latest", 1000)
      assert.are.same({want, {}, #list}, {kept, cut, #kept + #replaced}, "seed " .. seed)
    end
  end)
end)
