local clock = require "door.clock"
local node = require "spec.support.node"

describe("the coarse clock", function()
  it("stands still until somebody ticks", function()
    local ticked = clock.tick()
    local coarse = clock.coarse()
    assert(coarse >= ticked)
    repeat until clock.now() > coarse + 1000000
    assert.are.equal(coarse, clock.coarse())
    ticked = clock.tick()
    assert(ticked > coarse)
    assert.are.equal(ticked, clock.coarse())
  end)

  it("is never behind a tick that is over, never ahead of time and never back, whoever ticks", function()
    assert.are.equal(0, clock.race(4, 500000 // node.slow))
  end)
end)
