local vm = require "door.vm"
local node = require "spec.support.node"
local seed = require "spec.support.seed"

local ROUNDS <const> = node.slow > 1 and 2 or 6

describe("an arena", function()
  it("gives blocks that are nobody else's, moves them whole, keeps to its limit, and gets all back", function()
    for i, limit in ipairs {1 << 30, 1 << 20, 1 << 16, 20000, 4000, 1 << 22} do
      for round = 1, ROUNDS do
        local number = seed + i * 100 + round
        local wrong, peak = vm.arena(number, 20000, limit)
        assert(not wrong, ("seed %d, limit %d: %s"):format(number, limit, wrong))
        assert(peak <= limit and peak > limit // 4 or limit > 1 << 20, peak)
      end
    end
  end)

  it("refuses sizes that overflow, and everything when its limit is 0", function()
    assert.is_nil(vm.odd())
  end)
end)
