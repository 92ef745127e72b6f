local scheduler = require "door.scheduler"
local seed = require "spec.support.seed"

describe("the scheduler", function()
  it("runs every task until it sleeps, each on one worker at a time", function()
    for _, workers in ipairs {1, 2, 3, 8} do
      local wrong, turns, ended = scheduler.many(workers, 2, 0, 2000)
      assert.are.equal(0, wrong)
      assert.are.equal(2000 * 20, turns)
      assert(ended >= workers)
    end
  end)

  it("does the same on a shuffled schedule", function()
    for i = 1, 8 do
      local wrong, turns = scheduler.many(1 + i % 3, 1, seed + i, 300)
      assert.are.equal(0, wrong, "seed " .. seed + i)
      assert.are.equal(300 * 20, turns, "seed " .. seed + i)
    end
  end)

  it("runs a tree of births to its last leaf", function()
    for _, workers in ipairs {1, 2, 4} do
      assert.are.equal(0, scheduler.tree(workers, 0, 14))
      assert.are.equal(0, scheduler.tree(workers, seed, 10))
    end
  end)

  it("lets pairs wake each other for as long as they like", function()
    for _, workers in ipairs {1, 2, 4} do
      assert.are.equal(0, scheduler.ball(workers, 0, 1))
      assert.are.equal(0, scheduler.ball(workers, 0, 9))
    end
    assert.are.equal(0, scheduler.ball(2, seed, 3))
  end)

  describe("on one worker", function()
    it("runs the ready in the order they became so", function()
      assert.are.same({1, 2, 3, 4, 5}, scheduler.order "rrrrr")
    end)

    it("runs the newest born first, and before the ready", function()
      assert.are.same({5, 3, 2, 1, 4}, scheduler.order "bbbrb")
    end)

    it("runs who wants another turn behind the others", function()
      assert.are.same({1, 2, 3, 1}, scheduler.order "arr")
      assert.are.same({1, 2, 3, 1, 2, 3}, scheduler.order "aaa")
    end)

    it("runs who used up a slice behind those who did not", function()
      assert.are.same({1, 2, 3, 2, 1}, scheduler.order "lar")
    end)

    it("lets births not starve the ready", function()
      local order = scheduler.order("r" .. ("b"):rep(100))
      local at
      for i, number in ipairs(order) do if number == 1 then at = i end end
      assert(at <= 17, at)
    end)
  end)

  it("interrupts long turns while others wait, and when nobody does", function()
    for _, workers in ipairs {1, 2} do
      local wrong, interrupts = scheduler.interrupts(workers, 3, 20)
      assert.are.equal(0, wrong)
      assert(interrupts >= 15, interrupts)
      wrong, interrupts = scheduler.interrupts(workers, 1, 0)
      assert.are.equal(0, wrong)
      assert(interrupts >= 5, interrupts)
    end
  end)

  it("has the loop's thread run the one task there is, and what that makes ready, while all workers sleep", function()
    local wrong, mine = scheduler.help("held", 1)
    assert.are.same({0, {true}}, {wrong, mine})
    wrong, mine = scheduler.help("chain", 1)
    assert.are.same({0, {true, true}}, {wrong, mine})
  end)

  it("wakes workers for several", function()
    local wrong, mine = scheduler.help("held", 3)
    assert.are.same({0, {false, false, false}}, {wrong, mine})
  end)

  it("interrupts a turn of the loop's thread that lasts, and gives what is left to the workers", function()
    local wrong, interrupts, first = scheduler.help_forever()
    assert.are.equal(0, wrong)
    assert(interrupts >= 1)
    assert.is_true(first)
  end)

  it("puts spares in the place of workers who are stuck, so that the others go on", function()
    assert.are.equal(0, scheduler.stuck(1, 1, 1))
    assert.are.equal(0, scheduler.stuck(1, 4, 4))
    assert.are.equal(0, scheduler.stuck(2, 2, 2))
    assert.are.equal(0, scheduler.stuck(2, 1, 2))
  end)

  it("takes tasks from threads that are not its own, and loses none", function()
    for _, workers in ipairs {1, 2, 4} do assert.are.equal(0, scheduler.outsiders(workers, 4, 5000)) end
  end)

  it("wakes up for each task that comes while all sleep or are about to", function()
    assert.are.equal(0, scheduler.bursts(1, 2000))
    assert.are.equal(0, scheduler.bursts(3, 2000))
  end)

  it("opens and closes many times, with work that never ends", function()
    scheduler.cycles(50, 1, 0, 0)
    scheduler.cycles(50, 3, 2, 0)
    scheduler.cycles(50, 2, 1, 100)
    scheduler.cycles(10, 2, 1, 5, true)
  end)

  it("says so when it can't be closed for one who is stuck", function()
    assert.are.equal("ETIMEDOUT", scheduler.stuck_close())
  end)
end)
