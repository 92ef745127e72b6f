local mailbox = require "door.mailbox"
local seed = require "spec.support.seed"

local USER <const>, SYSTEM <const> = false, true

describe("a mailbox", function()
  it("gives each lane whole, in the order of pushing", function()
    local box = mailbox.new(10)
    for tag = 1, 4 do box:push(tag, USER) end
    for tag = 11, 13 do box:push(tag, SYSTEM) end
    box:push(5, USER)
    assert.are.same({11, 12, 13}, box:take_system())
    assert.are.same({1, 2, 3, 4, 5}, box:take())
    assert.are.same({}, box:take())
    assert.are.same({}, box:take_system())
  end)

  it("asks only the push that finds it asleep to wake the owner", function()
    local box = mailbox.new(10)
    assert.is_true(box:push(1, USER))
    assert.is_false(box:push(2, USER))
    assert.is_false(box:push(3, SYSTEM))
    box:take()
    assert.is_false(box:push(4, USER)) -- it runs
    box:take()
    box:take_system()
    assert.is_true(box:sleep(false))
    assert.is_true(box:push(5, SYSTEM))
    assert.is_false(box:push(6, SYSTEM))
    assert.is_false(box:push(7, USER))
  end)

  it("that was born awake wakes nobody", function()
    local box = mailbox.new(10, true)
    assert.is_false(box:push(1, USER))
    assert.is_false(box:push(2, SYSTEM))
  end)

  it("lets nobody fall asleep over what is there", function()
    local box = mailbox.new(10, true)
    box:push(1, USER)
    assert.is_false(box:sleep(false))
    box:take()
    box:push(2, SYSTEM)
    assert.is_true(box:has_system())
    assert.is_false(box:sleep(false))
    assert.is_false(box:sleep(true))
    box:take_system()
    assert.is_false(box:has_system())
    assert.is_true(box:sleep(false))
  end)

  describe("that is held", function()
    it("takes user messages in without waking", function()
      local box = mailbox.new(10, true)
      box:push(1, USER)
      assert.is_true(box:sleep(true)) -- though one is there
      assert.is_false(box:push(2, USER))
      assert.are.equal(2, box:depth())
    end)

    it("is woken by system messages, and stays held until a take or another sleep", function()
      local box = mailbox.new(10, true)
      assert.is_true(box:sleep(true))
      assert.is_true(box:push(11, SYSTEM))
      assert.are.same({11}, box:take_system())
      assert.is_true(box:sleep(true))
      assert.is_false(box:push(1, USER))
      assert.is_true(box:push(12, SYSTEM))
      box:take_system()
      assert.are.same({1}, box:take())
      assert.is_true(box:sleep(false))
      assert.is_true(box:push(2, USER))
    end)

    it("and then not held any more is woken by the next user message", function()
      local box = mailbox.new(10, true)
      assert.is_true(box:sleep(true))
      assert.is_true(box:push(11, SYSTEM))
      box:take_system()
      assert.is_true(box:sleep(false))
      assert.is_true(box:push(1, USER))
    end)
  end)

  describe("with a limit", function()
    it("refuses the one too many, which stays its sender's", function()
      for _, limit in ipairs {1, 2, 10} do
        local box = mailbox.new(limit)
        for tag = 1, limit do assert.is_not_nil(box:push(tag, USER)) end
        assert.are.same({nil, "ENOBUFS", n = 2}, table.pack(box:push(99, USER)))
        assert.are.equal(limit, box:depth())
        assert.are.equal(limit, #box:take())
      end
    end)

    it("counts what was taken and not begun", function()
      local box = mailbox.new(3)
      for tag = 1, 3 do box:push(tag, USER) end
      box:take()
      assert.are.equal(3, box:depth())
      assert.is_nil(box:push(4, USER))
      box:begun(1)
      assert.are.equal(2, box:depth())
      assert.is_not_nil(box:push(4, USER))
      assert.is_nil(box:push(5, USER))
      box:begun(2)
      assert.is_not_nil(box:push(5, USER))
      assert.are.same({4, 5}, box:take())
    end)

    it("never refuses a system message", function()
      local box = mailbox.new(1)
      box:push(1, USER)
      for tag = 1, 1000 do assert.is_not_nil(box:push(tag, SYSTEM)) end
      assert.are.equal(1000, #box:take_system())
      assert.are.equal(1, box:depth())
    end)

    it("tells a sender who is far ahead of its owner, once in so many messages", function()
      local box, told = mailbox.new(10000), {}
      for waiting = 0, 1999 do
        local _, crowded = box:push(waiting, USER)
        if crowded then told[#told + 1] = waiting end
      end
      assert.are.same({1024, 1280, 1536, 1792}, told)
      box:take()
      local _, crowded = box:push(2000, USER) -- what was taken and not begun still waits
      assert.is_false(crowded)
      box:begun(2000)
      for tag = 1, 1000 do assert.is_false(select(2, box:push(tag, USER))) end
    end)

    it("can be as large as it says", function()
      local box = mailbox.new(mailbox.LIMIT_MAX)
      for tag = 1, mailbox.LIMIT_MAX do assert(box:push(tag, USER) ~= nil) end
      assert.is_nil(box:push(0, USER))
      assert.are.equal(mailbox.LIMIT_MAX, box:depth())
      local tags = box:take()
      for tag = 1, mailbox.LIMIT_MAX do assert(tags[tag] == tag) end
    end)
  end)

  for _, full in ipairs {"drop_oldest", "latest"} do
    describe("of " .. full, function()
      it("takes twice its limit into the lane, whatever the owner holds", function()
        local box = mailbox.new(3, true, full)
        for tag = 1, 6 do assert.is_false(box:push(tag, USER)) end
        assert.is_nil(box:push(7, USER))
        assert.are.same({1, 2, 3, 4, 5, 6}, box:take())
        for tag = 7, 12 do assert.is_false(box:push(tag, USER)) end
        assert.is_nil(box:push(13, USER))
        assert.are.same({12, 6}, {box:depth(), box:untaken()})
        local large = mailbox.new(mailbox.LIMIT_MAX, true, full)
        for tag = 1, 2 ^ 18 - 1 do assert(large:push(tag, USER) ~= nil) end
        assert.is_nil(large:push(0, USER))
      end)

      it("can be seized when it is full, by one at a time", function()
        local box = mailbox.new(2, true, full)
        for tag = 1, 3 do box:push(tag, USER) end
        assert.is_nil(box:seize())
        box:push(4, USER)
        assert.are.same({4, 3, 2, 1}, box:seize())
        assert.is_nil(box:seize())
        assert.are.same({nil, "ENOBUFS", n = 2}, table.pack(box:push(5, USER)))
        assert.are.equal(4, box:depth())
        assert.is_false(box:restore({4}))
        assert.is_false(box:push(5, USER))
        assert.are.same({4, 5}, box:take())
      end)

      it("is empty to its owner meanwhile, who may sleep and is woken when it is back, but not while held", function()
        for _, held in ipairs {false, true} do
          local box = mailbox.new(1, true, full)
          box:push(1, USER)
          box:push(2, USER)
          box:seize()
          assert.are.same({}, box:take())
          assert.is_true(box:sleep(held))
          assert.are.equal(not held, box:restore({2}))
          assert.is_true(not held or box:push(11, SYSTEM))
          assert.are.same({2}, box:take())
        end
      end)

      it("hears system messages meanwhile; with nothing put back nobody is woken", function()
        local box = mailbox.new(1, true, full)
        box:push(1, USER)
        box:push(2, USER)
        box:seize()
        assert.is_true(box:sleep(false))
        assert.is_true(box:push(11, SYSTEM))
        assert.are.same({11}, box:take_system())
        assert.is_true(box:sleep(false))
        assert.is_false(box:restore({}))
        assert.is_true(box:push(3, USER))
        assert.are.same({3}, box:take())
      end)
    end)
  end

  it("of other kinds can't be seized", function()
    for _, full in ipairs {"refuse", "drop_newest"} do
      local box = mailbox.new(1, true, full)
      box:push(1, USER)
      assert.is_nil(box:push(2, USER))
      assert.is_nil(box:seize())
    end
  end)

  it("knows since when what waits has waited at most", function()
    local box = mailbox.new(10)
    assert(box:age() < 0)
    local start = mailbox.tick()
    box:push(1, USER)
    assert(box:age() >= 0)
    repeat local now = mailbox.tick() until now - start > 5
    assert(box:age() >= 3 and box:age() <= mailbox.tick() - start + 3)
    box:push(2, USER) -- does not make it younger
    box:take()
    assert(box:age() >= 3)
    box:push(3, USER) -- what was taken is older
    assert(box:age() >= 3)
    box:begun(2)
    assert(box:age() < 3, box:age())
    box:take()
    box:begun(1)
    assert(box:age() < 0)
  end)

  describe("that is closed", function()
    it("gives what was left, and takes nothing more", function()
      local box = mailbox.new(10)
      for tag = 1, 3 do box:push(tag, USER) end
      for tag = 11, 12 do box:push(tag, SYSTEM) end
      local user, system = box:close()
      assert.are.same({1, 2, 3}, user)
      assert.are.same({11, 12}, system)
      assert.are.same({nil, "ESRCH", n = 2}, table.pack(box:push(4, USER)))
      assert.are.same({nil, "ESRCH", n = 2}, table.pack(box:push(14, SYSTEM)))
      assert.are.equal(0, box:depth())
    end)

    it("while it was full or held says dead and not full", function()
      local box = mailbox.new(1, true)
      box:push(1, USER)
      box:sleep(true)
      box:close()
      assert.are.equal("ESRCH", select(2, box:push(2, USER)))
    end)
  end)

  it("loses nothing, doubles nothing, keeps each sender's order and one owner at a time, while threads push", function()
    for round, limit in ipairs {250000, 1, 7, 1000} do
      local each = limit == 1 and 2000 or 20000
      local wrong, user, system, turns, full = mailbox.hammer(4, each, limit, seed + round)
      local where = ("seed %d, limit %d"):format(seed + round, limit)
      assert.are.equal(0, wrong, where)
      assert.are.equal(4 * each, user, where)
      assert.are.equal(4 * (each // 16 + 1), system, where)
      assert(turns > 1, where)
      if limit == 250000 then assert.are.equal(0, full, where) end
      if limit == 1 then assert(full > 0, where) end
    end
  end)

  it("does so, too, while pushers seize it and drop the oldest", function()
    for round, limit in ipairs {1, 2, 7, 100, 1000} do
      local wrong, user, system, _, full = mailbox.hammer(4, 20000, limit, seed + round, "drop_oldest")
      local where = ("seed %d, limit %d"):format(seed + round, limit)
      assert.are.equal(0, wrong, where)
      assert.are.equal(80000, user, where)
      assert.are.equal(4 * (20000 // 16 + 1), system, where)
      if limit <= 2 then assert(full > 0, where) end
    end
  end)
end)
