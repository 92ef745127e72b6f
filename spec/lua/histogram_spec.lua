local histogram = require "throng.histogram"
local seed = require "spec.support.seed"

local function of(values)
  local h = histogram.new()
  for _, value in ipairs(values) do h:record(value) end
  return h
end

--- Numbers of all magnitudes; the same for the same seed.
local function numbers(count)
  local state, list = seed, {}
  for i = 1, count do
    state = (state * 6364136223846793005 + 1442695040888963407) & math.maxinteger
    list[i] = state >> 1 + state % 61
  end
  return list
end

describe("a histogram", function()
  it("has nothing to say while it is empty", function()
    local h = histogram.new()
    assert.are.equal(0, h:count())
    assert.is_nil(h:percentile(50))
    assert.is_nil(h:min())
    assert.is_nil(h:max())
    assert.is_nil(h:mean())
  end)

  it("is exact for small values", function()
    local list = {}
    for i = 1, 100 do list[i] = 101 - i end
    local h = of(list)
    for _, percent in ipairs {1, 7, 25, 50, 55, 90, 99, 100} do assert.are.equal(percent, h:percentile(percent)) end
    assert.are.equal(1, h:percentile(0))
    assert.are.equal(50, h:percentile(49.5))
    assert.are.equal(100, h:percentile(99.5))
    assert.are.same({100, 1, 100, 50.5}, {h:count(), h:min(), h:max(), h:mean()})
  end)

  it("errs upward only, by 1/64 at most, over the whole range of integers", function()
    local most = math.maxinteger
    for bits = 0, 62 do
      local one = 1 << bits
      for _, value in ipairs {one, one + 1, one + (one >> 1), one - 1 | one} do
        local h = of {value, most}
        local read = h:percentile(50)
        assert.is_true(read >= value, value)
        assert.is_true(read - value <= value / 64, value)
      end
    end
    assert.are.equal(most, of({most, most}):percentile(50))
  end)

  it("agrees with a sorted list, for every percentile", function()
    local list = numbers(1000)
    local h = of(list)
    table.sort(list)
    for percent = 1, 100 do
      local right, read = list[percent * 10], h:percentile(percent)
      assert.is_true(read >= right and read - right <= right / 64,
                     ("seed %d, p%d: %d for %d"):format(seed, percent, read, right))
    end
    assert.are.equal(list[1], h:min())
    assert.are.equal(list[1000], h:max())
  end)

  it("never reads back more than its largest value", function()
    assert.are.equal(1000001, of({1000001}):percentile(1))
    assert.are.equal(1000001, of({1000000, 1000001}):percentile(50))
  end)

  it("counts a value many times at once", function()
    local h = histogram.new()
    h:record(5, 99)
    h:record(100)
    assert.are.equal(100, h:count())
    assert.are.equal(5, h:percentile(99))
    assert.are.equal(100, h:percentile(99.1))
    assert.are.equal(5.95, h:mean())
  end)

  it("drops fractions, and takes what is below 0 for 0", function()
    local h = of {2.9, -7, 1e15 + 0.5}
    assert.are.equal(0, h:min())
    assert.are.equal(2, h:percentile(50))
    assert.are.equal(10 ^ 15 // 1, h:max())
    assert.are.equal("integer", math.type(h:max()))
  end)

  it("refuses what is no number of 63 bits, and percentages that are none", function()
    local h = histogram.new()
    for _, bad in ipairs {0 / 0, 1 / 0, 2.0 ^ 63} do
      assert.has_error(function() h:record(bad) end,
                       "bad argument #1 to 'record' (a number from 0 on that 63 bits hold expected)")
    end
    for _, bad in ipairs {-1, 100.5, 0 / 0} do
      assert.has_error(function() h:percentile(bad) end,
                       "bad argument #1 to 'percentile' (a number from 0 to 100 expected)")
    end
    assert.are.equal(0, h:count())
  end)

  it("merged is what it would be had one recorded all; the other stays", function()
    local list = numbers(300)
    local all, one, two = of(list), histogram.new(), histogram.new()
    for i, value in ipairs(list) do (i % 3 == 0 and one or two):record(value) end
    local before = two:count()
    assert.are.equal(one, one:merge(two))
    assert.are.same(all, one)
    assert.are.equal(before, two:count())
    assert.are.same(all, all:merge(histogram.new()))
    assert.are.same(all, histogram.new():merge(all))
  end)

  it("merges plain data, as it arrives in a message", function()
    local other = of {1, 2, 3}
    local plain = {counts = other.counts, total = other.total, sum = other.sum, least = other.least, most = other.most}
    assert.are.equal(3, of({4}):merge(plain):percentile(75))
  end)

  it("forgets everything when it is reset, and can be used again", function()
    local h = of {1, 2, 3}
    assert.are.same(histogram.new(), h:reset())
    h:record(7)
    assert.are.same(of {7}, h)
  end)
end)
