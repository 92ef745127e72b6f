local metrics = require "door.metrics"

local MB <const> = 1 << 20

describe("metrics", function()
  it("adds to the counter that was named, and to no other", function()
    local before = {}
    for _, m in ipairs(metrics.all()) do before[m[1]] = metrics.sum(m[1]) end
    metrics.add("crashed", 7)
    metrics.add("crashed", 35)
    for _, m in ipairs(metrics.all()) do
      assert.equal(m[1] == "crashed" and 42 or 0, metrics.sum(m[1]) - before[m[1]], m[1])
    end
  end)

  it("has a name and a line of text for each counter", function()
    local seen = {}
    for _, m in ipairs(metrics.all()) do
      assert.matches("^[a-z_]+$", m[1])
      assert.matches("^[%C]+$", m[2])
      assert.is_nil(seen[m[1]])
      seen[m[1]] = true
    end
    assert.equal("messages handled by actors", metrics.all()[1][2])
  end)

  it("loses nothing of what threads count at the same time, and never counts down", function()
    local before = metrics.sum("stolen")
    assert.equal(0, metrics.threads("stolen", 8, 300000))
    assert.equal(8 * 300000, metrics.sum("stolen") - before)
  end)

  it("keeps what ended threads counted, also when others take over their places", function()
    local before = metrics.sum("asks")
    for i = 1, 100 do
      metrics.threads("asks", 3, 10)
      assert.equal(i * 30, metrics.sum("asks") - before)
    end
  end)

  it("tells resident memory, and the most there ever was", function()
    local small = metrics.memory()
    local large, peak = metrics.memory(64 * MB)
    assert(small > MB, small)
    assert(large - small > 48 * MB, large - small)
    assert(peak >= large - 2 * MB, peak) -- the kernel counts in batches, and rounds by them
    local now, later = metrics.memory()
    assert(now < large - 48 * MB, now)
    assert(later >= peak - 2 * MB, "the peak went down")
  end)
end)
