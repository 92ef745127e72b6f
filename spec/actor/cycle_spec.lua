local cycle = require "door.cycle"
local node = require "spec.support.node"

local ROUNDS <const> = 10000 // node.slow

describe("a circle of asks", function()
  it("closed by all at the same moment is heard of, each time, by one at least", function()
    for _, askers in ipairs {2, 3, 5} do
      local missed, heard = cycle.closed(askers, ROUNDS)
      assert.equal(0, missed, askers)
      assert(heard >= ROUNDS)
    end
  end)

  it("that never is whole is never heard of, however fast its parts come and go", function()
    for _, askers in ipairs {2, 3, 5} do
      local wrong = 0
      for _ = 1, 5 do wrong = wrong + cycle.open(askers, ROUNDS) end
      assert.equal(0, wrong, askers)
    end
  end)

  it("is broken by the answer to the very request that is waited for, by no other", function()
    assert.same({true, false, true}, {cycle.answered()})
  end)
end)
