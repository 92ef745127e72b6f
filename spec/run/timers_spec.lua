local timers = require "door.timers"
local seed = require "spec.support.seed"

local MS <const> = 1000000
local SECOND <const> = 1000 * MS
local HOUR <const> = 3600 * SECOND
local DAY <const> = 24 * HOUR

--- Turns `wheel` to `now`; the tags that fired, in order, and when to come again.
local function turn(wheel, now)
  local fired = {}
  local nxt = wheel:turn(now, function(_, tag) fired[#fired + 1] = tag end)
  return fired, nxt
end

--- What the wheel promises, done the slow way: a list, sorted by slot and then by the order of adding.
local Model = {}
Model.__index = Model

local function model_new(now)
  return setmetatable({slot = now // MS, serial = 0, list = {}}, Model)
end

function Model:place(timer)
  self.serial = self.serial + 1
  timer.serial = self.serial
  timer.slot = math.max((timer.due + MS - 1) // MS, self.slot)
  local at = #self.list + 1
  while at > 1 and self.list[at - 1].slot > timer.slot do at = at - 1 end
  table.insert(self.list, at, timer)
end

function Model:cancel(timer)
  for i, other in ipairs(self.list) do
    if other == timer then
      table.remove(self.list, i)
      return true
    end
  end
  return false
end

function Model:turn(now, fire)
  self.slot = math.max(self.slot, now // MS)
  local due = {}
  while self.list[1] and self.list[1].slot <= now // MS do due[#due + 1] = table.remove(self.list, 1) end
  for _, timer in ipairs(due) do
    if timer.period > 0 then
      local last = math.max(timer.due, now - (now - timer.due) % timer.period)
      timer.due = last + timer.period
      self:place(timer)
    end
    fire(timer)
  end
end

describe("timers", function()
  it("fires what is due and nothing else, with its owner and tag", function()
    local wheel, got = timers.new(0), {}
    wheel:add(5 * MS, 0, 77, 1)
    wheel:add(6 * MS, 0, -1, math.mininteger)
    local function keep(owner, tag) got[#got + 1] = {owner, tag} end
    assert.equal(5 * MS, wheel:turn(4 * MS, keep))
    assert.same({}, got)
    assert.equal(6 * MS, wheel:turn(5 * MS, keep))
    assert.same({{77, 1}}, got)
    assert.is_nil(wheel:turn(6 * MS, keep))
    assert.same({{77, 1}, {-1, math.mininteger}}, got)
    assert.equal(0, wheel:count())
  end)

  it("is never early, not by a nanosecond", function()
    for _, due in ipairs {1, MS - 1, MS, MS + 1, 63 * MS + 1, 64 * MS, 64 * MS + 1, 4096 * MS - 1, DAY + 1} do
      local wheel = timers.new(0)
      wheel:add(due)
      assert.same({}, turn(wheel, due - 1))
      local slot = (due + MS - 1) // MS * MS
      assert.same({}, turn(wheel, slot - 1))
      assert.same({0}, turn(wheel, slot))
    end
  end)

  it("takes the past for now", function()
    local wheel = timers.new(DAY)
    wheel:add(0, 0, 0, 1)
    wheel:add(DAY - 1, 0, 0, 2)
    wheel:add(DAY, 0, 0, 3)
    assert.equal(DAY, wheel:next())
    assert.same({1, 2, 3}, (turn(wheel, DAY)))
    turn(wheel, 2 * DAY)
    wheel:add(2 * DAY - MS, 0, 0, 4)
    wheel:add(DAY, 0, 0, 5)
    assert.same({4, 5}, (turn(wheel, 2 * DAY)))
  end)

  it("keeps the order of adding within a slot, however far away the slot was when each was added", function()
    local wheel, due = timers.new(0), 5000 * MS
    for tag, now in ipairs {0, 0, 63, 64, 900, 904, 4095, 4096, 4990, 4999} do
      turn(wheel, now * MS)
      wheel:add(due - tag % 3, 0, 0, tag)
    end
    assert.same({}, (turn(wheel, due - 1)))
    assert.same({1, 2, 3, 4, 5, 6, 7, 8, 9, 10}, (turn(wheel, due)))
  end)

  it("cancels once: the second time, and after the fire, it is not there", function()
    local wheel = timers.new(0)
    local kept, gone = wheel:add(MS, 0, 0, 1), wheel:add(MS, 0, 0, 2)
    assert.is_true(wheel:cancel(gone))
    assert.is_false(wheel:cancel(gone))
    assert.same({1}, (turn(wheel, MS)))
    assert.is_false(wheel:cancel(kept))
  end)

  it("does not know ids that it never gave", function()
    local wheel = timers.new(0)
    local id = wheel:add(MS)
    local generation <const> = 1 << 28
    for _, other in ipairs {0, 1, 511, 512, 513, 514, -1, math.mininteger, id + 1, id - 1, id + generation,
                            id % generation} do
      assert.is_false(wheel:cancel(other), other)
    end
    assert.equal(1, wheel:count())
    assert.is_true(wheel:cancel(id))
    assert.is_false(wheel:cancel(id + generation)) -- what its place will be called next
    assert.equal(0, wheel:count())
  end)

  it("never gives an id twice, and every id fits the serial number of a ref", function()
    local wheel, seen = timers.new(0), {}
    for i = 1, 20000 do
      local id = wheel:add(i % 50 * MS)
      assert(id > 0 and id < 1 << 60 and not seen[id], id)
      seen[id] = true
      if i % 3 == 0 then wheel:cancel(id) end
      if i % 1000 == 0 then turn(wheel, 100 * MS) end
    end
  end)

  it("does not fire what is cancelled between being due and its turn", function()
    local wheel, ids, fired = timers.new(0), {}, {}
    for tag = 1, 4 do ids[tag] = wheel:add(MS, 0, 0, tag) end
    ids[5] = wheel:add(2 * MS, 0, 0, 5)
    wheel:turn(10 * MS, function(_, tag)
      fired[#fired + 1] = tag
      if tag == 1 then
        assert.is_false(wheel:cancel(ids[1])) -- it has begun
        assert.is_true(wheel:cancel(ids[3]))
        assert.is_true(wheel:cancel(ids[5]))
      end
    end)
    assert.same({1, 2, 4}, fired)
    assert.equal(0, wheel:count())
  end)

  it("ends its turn though every fire adds a timer that is due at once, and asks to come again at once", function()
    local wheel, fired = timers.new(0), 0
    wheel:add(MS)
    wheel:add(MS)
    local nxt = wheel:turn(7 * MS, function()
      fired = fired + 1
      wheel:add(0)
    end)
    assert.equal(2, fired)
    assert(nxt <= 7 * MS)
    assert.same({0, 0}, (turn(wheel, 7 * MS)))
  end)

  describe("with a period", function()
    it("beats on the beat, whenever it is turned", function()
      local wheel, beats = timers.new(0), {}
      wheel:add(3 * MS, 10 * MS)
      for now = 0, 100 * MS, MS // 4 do
        for _ = 1, #turn(wheel, now) do beats[#beats + 1] = now // MS end
      end
      assert.same({3, 13, 23, 33, 43, 53, 63, 73, 83, 93}, beats)
    end)

    it("makes one beat of those it missed, and keeps its phase", function()
      local wheel = timers.new(0)
      wheel:add(3 * MS, 10 * MS)
      assert.same({0}, (turn(wheel, 57 * MS)))
      assert.same({}, (turn(wheel, 63 * MS - 1)))
      assert.same({0}, (turn(wheel, 93 * MS))) -- on a beat: that one counts, the next is a period away
      assert.same({}, (turn(wheel, 103 * MS - 1)))
      assert.same({0}, (turn(wheel, 103 * MS)))
    end)

    it("does not drift by the rounding to slots", function()
      local wheel, beats, period = timers.new(0), 0, MS * 7 // 3
      wheel:add(period, period)
      for now = 0, 7000 * MS, MS do beats = beats + #turn(wheel, now) end
      assert.equal(7000 * MS // period, beats)
    end)

    it("shorter than a slot fires once a slot", function()
      local wheel, beats = timers.new(0), 0
      wheel:add(1, 1)
      for now = 0, 100 * MS, MS do beats = beats + #turn(wheel, now) end
      assert.equal(100, beats)
    end)

    it("can be cancelled by its own beat", function()
      local wheel, beats = timers.new(0), 0
      local id = wheel:add(MS, MS)
      for now = 0, 10 * MS, MS do
        wheel:turn(now, function()
          beats = beats + 1
          if beats == 3 then assert.is_true(wheel:cancel(id)) end
        end)
      end
      assert.equal(3, beats)
      assert.is_nil(wheel:next())
    end)

    it("so long that it ends beyond time fires once and never again", function()
      local wheel = timers.new(0)
      wheel:add(MS, -1) -- the most that 64 bits hold
      assert.same({0}, (turn(wheel, MS)))
      assert.same({}, (turn(wheel, math.maxinteger)))
      assert.equal(1, wheel:count())
    end)
  end)

  describe("says when to come again", function()
    it("at a time before which nothing is due, and gets to each timer in a few steps", function()
      for _, due in ipairs {MS, 63 * MS, 64 * MS, 65 * MS, SECOND, 100 * SECOND + 1, HOUR, 3 * DAY, 40000 * DAY} do
        local wheel, now, steps = timers.new(12345), 12345, 0
        wheel:add(due)
        while true do
          local nxt = wheel:next()
          assert(nxt > now and nxt <= due + MS, nxt)
          local fired, again = turn(wheel, nxt)
          now, steps = nxt, steps + 1
          if #fired == 1 then break end
          assert.equal(wheel:next(), again)
        end
        assert(now >= due and now < due + MS)
        assert(steps <= 8, steps)
      end
    end)

    it("and walks through empty years as fast as through a moment", function()
      local wheel, now = timers.new(0), 0
      for _ = 1, 2000 do -- slot by slot this would take days
        now = now + 100 * DAY
        wheel:add(now, 0, 0, 1)
        assert.same({1}, (turn(wheel, now)))
      end
      wheel:add(now + 2 * DAY, 0, 0, 2)
      wheel:add(now + DAY, 0, 0, 1)
      assert.same({1, 2}, (turn(wheel, now + 100 * DAY)))
    end)

    it("when asked with time standing still or going back, fires nothing twice", function()
      local wheel = timers.new(0)
      wheel:add(5 * MS, 5 * MS)
      assert.same({0}, (turn(wheel, 6 * MS)))
      assert.same({}, (turn(wheel, 6 * MS)))
      assert.same({}, (turn(wheel, 1 * MS)))
      assert.same({0}, (turn(wheel, 10 * MS)))
    end)

    it("when time went back, still fires nothing early", function()
      local wheel = timers.new(0)
      turn(wheel, 64 * MS)
      wheel:add(70 * MS)
      assert.same({}, (turn(wheel, MS)))
      assert.same({}, (turn(wheel, 69 * MS)))
      assert.same({0}, (turn(wheel, 70 * MS)))
    end)
  end)

  describe("asks to be turned sooner", function()
    it("for the first timer, and for one that is due before all others", function()
      local wheel = timers.new(0)
      wheel:add(10 * MS)
      assert.equal(1, wheel:sooner())
      wheel:add(5 * MS)
      assert.equal(2, wheel:sooner())
    end)

    it("but not for one that is due with the first or after it", function()
      local wheel = timers.new(0)
      wheel:add(5 * MS)
      for due = 5, 5000, 7 do wheel:add(due * MS) end
      wheel:add(4 * MS + 1)
      assert.equal(1, wheel:sooner())
    end)

    it("nor during a turn, whose answer counts it in", function()
      local wheel = timers.new(0)
      wheel:add(5 * MS)
      assert.equal(8 * MS, wheel:turn(5 * MS, function() wheel:add(8 * MS) end))
      assert.equal(1, wheel:sooner())
    end)

    it("whenever it is due before what was last announced", function()
      math.randomseed(seed)
      local wheel, now = timers.new(0), 0
      local planned = math.maxinteger
      for _ = 1, 5000 do
        local before = wheel:sooner()
        wheel:add(now + math.random(0, 3000) * MS // 10)
        if wheel:sooner() > before then planned = wheel:next() end
        assert(planned <= (wheel:next() or math.maxinteger), "seed " .. seed)
        if math.random(3) == 1 then
          now = math.max(now, planned)
          local _, nxt = turn(wheel, now)
          planned = nxt or math.maxinteger
        end
      end
    end)
  end)

  it("does as a sorted list would, whatever is added, cancelled and turned", function()
    local jumps <const> = {0, 1, MS // 3, MS, 5 * MS, 64 * MS, 700 * MS, 5 * SECOND, 300 * SECOND, 5 * HOUR, 30 * DAY}
    for round = 1, 10 do
      math.randomseed(seed, round)
      local where = ("seed %d, round %d"):format(seed, round)
      local now = math.random(0, 2 * DAY)
      local wheel, model, timers_by_tag, last = timers.new(now), model_new(now), {}, 0
      local function add()
        local spread = jumps[math.random(#jumps)]
        local due = math.max(0, now + math.random(-20 * MS, spread))
        local period = math.random(4) == 1 and math.random(1, math.max(1, jumps[math.random(2, 7)])) or 0
        last = last + 1
        local timer = {due = due, period = period, tag = last}
        timer.id = wheel:add(due, period, due, last)
        timers_by_tag[last] = timer
        model:place(timer)
      end
      local function cancel()
        if last == 0 then return end
        local timer = timers_by_tag[math.random(last)]
        assert(wheel:cancel(timer.id) == model:cancel(timer), where)
      end
      for _ = 1, 1500 do
        local what = math.random(10)
        if what <= 5 then
          add()
        elseif what <= 7 then
          cancel()
        else
          now = now + math.random(0, jumps[math.random(#jumps - 1)])
          local fired, expected = {}, {}
          local nxt = wheel:turn(now, function(_, tag) fired[#fired + 1] = tag end)
          model:turn(now, function(timer) expected[#expected + 1] = timer.tag end)
          assert(table.concat(fired, " ") == table.concat(expected, " "),
                 ("%s: fired %s, not %s"):format(where, table.concat(fired, " "), table.concat(expected, " ")))
          local first = model.list[1]
          assert((nxt == nil) == (first == nil), where)
          assert(not nxt or nxt <= math.max(first.slot * MS, now), where)
        end
        assert(wheel:count() == #model.list, where)
      end
    end
  end)

  it("holds a quarter of a million timers and loses none", function()
    math.randomseed(seed)
    local wheel, n, fired = timers.new(0), 250000, 0
    local ids = {}
    for i = 1, n do ids[i] = wheel:add(math.random(0, 100000) * MS, 0, 0, i) end
    for i = 1, n, 5 do assert(wheel:cancel(ids[i])) end
    assert.equal(n - n // 5, wheel:count())
    for now = 0, 100000, 1000 do wheel:turn(now * MS, function() fired = fired + 1 end) end
    assert.equal(n - n // 5, fired)
    assert.equal(0, wheel:count())
  end)

  it("ends every timer once, fired or cancelled, while threads add and cancel", function()
    for spread = 1, 4 do -- from a few slots of the lowest level to the third
      local wrong, fired, cancelled, left = timers.race(4, 10000, 10 ^ (spread - 1) * 3 * MS // 1 | 0, seed)
      assert.equal(0, wrong, "seed " .. seed)
      assert.equal(40000, fired + cancelled)
      assert.equal(0, left)
      assert(fired > 0 and cancelled > 0)
    end
  end)
end)
