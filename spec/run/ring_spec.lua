local ring = require "door.ring"
local seed = require "spec.support.seed"

describe("a ring", function()
  it("gives in the order of pushing, and nothing when it is empty", function()
    local r = ring.new()
    assert.is_nil(r:take())
    for number = 1, 10 do assert.are.equal(0, r:push(number)) end
    assert.are.equal(10, r:length())
    for number = 1, 10 do assert.are.equal(number, r:take()) end
    assert.is_nil(r:take())
    assert.are.equal(0, r:length())
  end)

  it("grows as needed, wherever its ends are", function()
    for _, start in ipairs {0, 1, 100, 255, 256, 257} do
      local r, last, first = ring.new(), 0, 0
      for _ = 1, start do
        last = last + 1
        r:push(last)
        first = first + 1
        assert.are.equal(first, r:take())
      end
      for _ = 1, 5000 do last = last + 1 r:push(last) end
      assert.are.equal(5000, r:length())
      while first < last do
        first = first + 1
        assert(first == r:take())
      end
      assert.is_nil(r:take())
    end
  end)

  it("gives a thief the older half, at most what he can carry", function()
    local r = ring.new()
    for number = 1, 10 do r:push(number) end
    assert.are.same({1, 2, 3, 4, 5}, r:take_half(100))
    assert.are.same({6, 7}, r:take_half(2))
    assert.are.same({8, 9}, r:take_half(100))
    assert.are.same({10}, r:take_half(100))
    assert.are.same({}, r:take_half(100))
  end)

  it("does as a list would", function()
    math.randomseed(seed)
    local r, model, last = ring.new(), {}, 0
    for _ = 1, 20000 do
      local what = math.random(10)
      if what <= 5 then
        for _ = 1, math.random(what == 1 and 300 or 3) do
          last = last + 1
          r:push(last)
          model[#model + 1] = last
        end
      elseif what <= 8 then
        for _ = 1, math.random(5) do assert(r:take() == table.remove(model, 1), "seed " .. seed) end
      else
        local most = math.random(200)
        local got = r:take_half(most)
        assert(#got == math.min(most, (#model + 1) // 2), "seed " .. seed)
        for _, number in ipairs(got) do assert(number == table.remove(model, 1), "seed " .. seed) end
      end
      assert(r:length() == #model, "seed " .. seed)
      if #model > 2000 then
        while #model > 0 do assert(r:take() == table.remove(model, 1)) end
      end
    end
  end)

  it("loses and doubles nothing, and keeps the order, while thieves take", function()
    for thieves = 1, 4 do
      local wrong, taken, stolen = ring.race(thieves, 100000, seed + thieves)
      assert.are.equal(0, wrong, "seed " .. seed + thieves)
      assert.are.equal(100000, taken)
      assert(stolen > 0)
    end
  end)
end)
