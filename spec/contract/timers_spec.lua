--- Timers: messages to oneself, once or again and again, and how they are taken back.
local scenario = require "spec.support.scenario"

describe("after", function()
  it("sends to oneself, by the handler's name, with the arguments; the sender is oneself", function()
    assert.are.same({1, "nil", "x", true, true}, {scenario.run [[
      function Me:init() self.start = throng.now() throng.after(5, "wake", 1, nil, "x") end
      function Me:on_wake(a, b, c) done(a, b, c, throng.sender() == throng.self(), throng.now() - self.start >= 5) end
    ]]})
  end)

  it("goes off once", function()
    assert.are.equal(1, scenario.run [[
      function Me:init() self.count = 0 throng.after(1, "wake") throng.after(20, "look") end
      function Me:on_wake() self.count = self.count + 1 end
      function Me:on_look() done(self.count) end
    ]])
  end)

  it("goes off in the order of the times, and of the calls where they are the same", function()
    -- Time goes by between two calls, on a busy machine a lot of it: each is due between `least` and `most`.
    assert.are.same({16, 0}, {scenario.run [[
      function Me:init()
        self.timers, self.fired = {}, {}
        for i, ms in ipairs {8, 2, 10, 4, 6, 0, 4, 4, 4, 4, 2, 2, 2, 8, 8, 8} do
          local t = {i = i, ms = ms, least = throng.now() + ms}
          throng.after(ms, "wake", i)
          t.most, self.timers[i] = throng.now() + ms, t
        end
      end
      function Me:on_wake(i)
        table.insert(self.fired, self.timers[i])
        if #self.fired < 16 then return end
        local wrong = 0
        for at, late in ipairs(self.fired) do
          for before = 1, at - 1 do
            local early = self.fired[before]
            if (late.i < early.i and late.ms <= early.ms) or late.most + 1 < early.least then wrong = wrong + 1 end
          end
        end
        done(#self.fired, wrong)
      end
    ]]})
  end)

  it("takes fractions of a millisecond and no less than 0", function()
    assert.are.same({true, true, true, true, true}, {scenario.run [[
      function Me:init()
        local a = try(throng.after, -1, "wake")
        local b = try(throng.after, 0/0, "wake")
        local c = try(throng.after, "soon", "wake")
        local d = try(throng.after, 1)
        local e = try(throng.after, 1, "wake", print)
        self.refused = {a ~= nil, b ~= nil, c ~= nil, d ~= nil, e ~= nil}
        throng.after(0.25, "wake")
      end
      function Me:on_wake() done(table.unpack(self.refused)) end
    ]]})
  end)

  it("goes off while the node has nothing else to do, and while others compute", function()
    assert.are.equal("woken", scenario.run {[[
      function Me:init()
        for _ = 1, 4 do throng.spawn "busy" end
        throng.after(10, "wake")
      end
      function Me:on_wake() done "woken" end
    ]], busy = "function Me:init() while true do end end"})
  end)

  it("waits until the handler is done, as any message does", function()
    assert.are.same({{"handler", "woken"}}, {scenario.run [[
      function Me:init()
        self.order = {}
        throng.after(1, "wake")
        throng.sleep(10)
        table.insert(self.order, "handler")
      end
      function Me:on_wake() table.insert(self.order, "woken") done(self.order) end
    ]]})
  end)

  it("keeps the order also of those that fall due while the handler waits or computes", function()
    for _, busy in ipairs {"throng.sleep(30)",
                           "local t = throng.now() spin(function() return throng.now() > t + 30 end)"} do
      assert.are.same({{1, 4, 7, 10, 13}}, {scenario.run(([[
        function Me:init()
          self.order = {}
          for _, ms in ipairs {10, 4, 13, 1, 7} do throng.after(ms, "wake", ms) end
          %s
          throng.after(1, "look")
        end
        function Me:on_wake(ms) table.insert(self.order, ms) end
        function Me:on_look() done(self.order) end
      ]]):format(busy))})
    end
  end)

  it("keeps each of 10,000 timers apart", function()
    assert.are.same({10000, 50005000}, {scenario.run [[
      function Me:init()
        self.count, self.sum = 0, 0
        for i = 1, 10000 do throng.after(i % 50, "wake", i) end
      end
      function Me:on_wake(i)
        self.count, self.sum = self.count + 1, self.sum + i
        if self.count == 10000 then done(self.count, self.sum) end
      end
    ]]})
  end)
end)

describe("cancel", function()
  it("keeps a timer from going off, and says that it did", function()
    assert.are.same({true, false, "none"}, {scenario.run [[
      function Me:init()
        self.heard = "none"
        local t = throng.after(2, "wake")
        self.first, self.second = throng.cancel(t), throng.cancel(t)
        throng.after(20, "look")
      end
      function Me:on_wake() self.heard = "woken" end
      function Me:on_look() done(self.first, self.second, self.heard) end
    ]]})
  end)

  it("works also when it was due and queued", function()
    assert.are.same({true, true, "none"}, {scenario.run [[
      function Me:init()
        self.heard = "none"
        local once, often = throng.after(1, "wake"), throng.every(1, "wake")
        throng.sleep(20) -- both are in the queue
        self.first, self.second = throng.cancel(once), throng.cancel(often)
        throng.after(5, "look")
      end
      function Me:on_wake() self.heard = "woken" end
      function Me:on_look() done(self.first, self.second, self.heard) end
    ]]})
  end)

  it("works from a handler that goes before it in the same queue", function()
    assert.are.same({{"a", true}}, {scenario.run [[
      function Me:init()
        self.heard = {}
        throng.after(1, "a")
        self.b = throng.after(2, "b")
        throng.sleep(20)
        throng.after(1, "look")
      end
      function Me:on_a() table.insert(self.heard, "a") table.insert(self.heard, throng.cancel(self.b)) end
      function Me:on_b() table.insert(self.heard, "b") end
      function Me:on_look() done(self.heard) end
    ]]})
  end)

  it("says false for one that has gone off, and for another actor's", function()
    assert.are.same({false, false, "woken"}, {scenario.run {[[
      function Me:init()
        self.other = throng.spawn "other"
        self.t = throng.after(5, "wake")
        self.by_other = self.other:ask("cancel", self.t)
      end
      function Me:on_wake() done(self.by_other, throng.cancel(self.t), "woken") end
    ]], other = "function Me:on_cancel(t) return throng.cancel(t) end"}})
  end)

  it("stops every, also from within its own beat", function()
    assert.are.equal(3, scenario.run [[
      function Me:init() self.count = 0 self.t = throng.every(1, "beat") end
      function Me:on_beat()
        self.count = self.count + 1
        if self.count == 3 then throng.cancel(self.t) throng.after(15, "look") end
      end
      function Me:on_look() done(self.count) end
    ]])
  end)

  it("refuses what is no timer's ref", function()
    assert.are.same({true, true, true}, {scenario.run [[
      function Me:init()
        done(try(throng.cancel, throng.self()) ~= nil, try(throng.cancel, 1) ~= nil,
             try(throng.cancel, throng.monitor(throng.self())) ~= nil)
      end
    ]]})
  end)
end)

describe("every", function()
  it("beats again and again with its arguments", function()
    assert.are.same({5, "x"}, {scenario.run [[
      function Me:init() self.count = 0 throng.every(1, "beat", "x") end
      function Me:on_beat(x)
        self.count = self.count + 1
        if self.count == 5 then done(self.count, x) end
      end
    ]]})
  end)

  it("keeps its phase: beats lie on multiples of the period after the start, none before its time", function()
    local early, beats = scenario.run [[
      function Me:init()
        self.early, self.count = 0, 0
        self.before = throng.now()
        throng.every(5, "beat")
      end
      function Me:on_beat()
        self.count = self.count + 1
        -- beat n is not before n periods; and being late once does not make the later ones later
        if throng.now() < self.before + self.count * 5 then self.early = self.early + 1 end
        if self.count == 10 then done(self.early, self.count) end
      end
    ]]
    assert.are.same({0, 10}, {early, beats})
  end)

  it("gives a stalled actor one late beat and not a burst, then goes on in phase", function()
    local queued, phase = scenario.run [[
      local PERIOD <const> = 20
      function Me:init()
        self.beats = {}
        self.started = throng.now()
        throng.every(PERIOD, "beat")
        local till = throng.now() + 5.5 * PERIOD
        spin(function() return throng.now() > till end)
        self.stalled_until = throng.now()
        throng.self():send "fence"
      end
      function Me:on_beat()
        table.insert(self.beats, throng.now())
        if #self.beats == 4 then
          -- a burst would bring five beats within less than a period
          local first, last = self.beats[1], self.beats[4]
          done(last - first > 1.5 * PERIOD, (last - self.started) / PERIOD)
        end
      end
      function Me:on_fence() end
    ]]
    assert.is_true(queued)
    assert.is_true(phase >= 8, phase)
  end)

  it("refuses a period under one millisecond", function()
    assert.are.same({true, true}, {scenario.run [[
      function Me:init() done(try(throng.every, 0, "beat") ~= nil, try(throng.every, 0.5, "beat") ~= nil) end
    ]]})
  end)

  it("does not starve the other messages, nor they it", function()
    assert.are.same({true, true}, {scenario.run [[
      function Me:init()
        self.beats, self.letters = 0, 0
        throng.every(1, "beat")
        throng.self():send "letter"
      end
      function Me:on_letter()
        self.letters = self.letters + 1
        throng.self():send "letter"
        self:look()
      end
      function Me:on_beat()
        self.beats = self.beats + 1
        self:look()
      end
      function Me:look()
        if self.beats >= 5 and self.letters >= 100 then done(true, true) end
      end
    ]]})
  end)
end)

describe("a timer of a dead actor", function()
  it("fires nowhere, least of all at the next one in its place", function()
    assert.are.same({0, 0, 0}, {scenario.run {[[
      function Me:init()
        self.left = 200
        self.before = throng.stats()
        throng.register "root"
        self.wrong = 0
        for _ = 1, 200 do throng.spawn_with({monitor = true}, "timed") end
      end
      function Me:on_down()
        throng.spawn "heir"
        self.left = self.left - 1
        if self.left == 0 then throng.after(30, "look") end
      end
      function Me:on_wrong() self.wrong = self.wrong + 1 end
      function Me:on_look()
        local now = throng.stats()
        done(self.wrong, now.dead_pid - self.before.dead_pid, now.dead_handler - self.before.dead_handler)
      end
    ]], timed = [[
      function Me:init()
        throng.after(1, "wake")
        throng.after(5, "wake")
        throng.every(2, "wake")
        throng.exit()
      end
    ]], heir = [[
      function Me:on_other() throng.whereis("root"):send "wrong" end
    ]]}})
  end)

  it("leaves nothing behind when it waited in sleep or ask", function()
    assert.are.same({0, "woken"}, {scenario.run {[[
      function Me:init()
        self.before = throng.stats()
        for _ = 1, 100 do throng.kill(throng.spawn "sleeper") end
        for _ = 1, 100 do throng.spawn "heir" end
        throng.register "root"
        self.wrong = 0
        throng.after(20, "look")
      end
      function Me:on_wrong() self.wrong = self.wrong + 1 end
      function Me:on_look() done(self.wrong, "woken") end
    ]], sleeper = "function Me:init() throng.sleep(5) throng.whereis('root'):send 'wrong' end",
    heir = "function Me:init() throng.sleep(600000) throng.whereis('root'):send 'wrong' end"}})
  end)
end)

describe("sleep", function()
  it("lasts at least as long as it says, and other actors go on", function()
    assert.are.same({true, true}, {scenario.run {[[
      function Me:init()
        local counter = throng.spawn "counter"
        local start = throng.now()
        throng.sleep(10)
        done(throng.now() - start >= 10, counter:ask "count" > 0)
      end
    ]], counter = [[
      function Me:init() self.n = 0 throng.every(1, "beat") end
      function Me:on_beat() self.n = self.n + 1 end
      function Me:on_count() while self.n == 0 do self.n = 1 end return self.n end
    ]]}})
  end)

  it("of 0 comes back; of less, or of no number, is an error", function()
    assert.are.same({"back", true, true}, {scenario.run [[
      function Me:init()
        throng.sleep(0)
        done("back", try(throng.sleep, -1) ~= nil, try(throng.sleep, {}) ~= nil)
      end
    ]]})
  end)
end)

describe("now", function()
  it("never runs backwards", function()
    assert.is_true(scenario.run [[
      function Me:init()
        local last = throng.now()
        for _ = 1, 100000 do
          local t = throng.now()
          if t < last then return done(false) end
          last = t
        end
        done(math.type(last) == "float")
      end
    ]])
  end)
end)
