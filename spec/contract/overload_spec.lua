--- Overload: what a full mailbox does is its actor's choice; what it lets go is counted, and nobody else suffers.
local node = require "spec.support.node"
local scenario = require "spec.support.scenario"

local MODULES <const> = {
  box = [[
    Me.on_hold = scene.on_hold
    function Me:init() self.seen = {} end
    function Me:on_letter(n) table.insert(self.seen, n) return n end
    function Me:on_pose(n) table.insert(self.seen, "pose " .. n) end
    function Me:on_tick(n) table.insert(self.seen, "tick " .. n) end
    function Me:on_seen() return self.seen end
    function Me:on_ping() return "pong" end
    function Me:on_monitor(pid) throng.monitor(pid) end
    function Me:on_link(pid) throng.trap_exits(true) throng.link(pid) end
    function Me:on_timer() throng.after(1, "letter", "timer") end
    function Me:on_down(_, reason) table.insert(self.seen, "down " .. reason) end
    function Me:on_exit(_, reason) table.insert(self.seen, "exit " .. reason) end
    function Me:on_ask(pid) table.insert(self.seen, pid:ask "answer") end
    function Me:on_other(name) table.insert(self.seen, name) end
  ]],
  mortal = "function Me:on_die(reason) throng.exit(reason) end",
}

local HELD <const> = [[
  local function held(mailbox)
    local box = throng.spawn_with({mailbox = mailbox, wait = 60000}, "box")
    hold(box)
    return box
  end
]]

local function run(text, more)
  local o = {HELD .. text}
  for key, value in pairs(MODULES) do o[key] = value end
  for key, value in pairs(more or {}) do o[key] = value end
  return scenario.run(o)
end

describe("a full mailbox that refuses, as it does if nothing is said,", function()
  it("says so to the sender, and keeps what it has", function()
    assert.are.same({true, "nil", false, "full", {1, 2}, 3, 0}, {run [[
      function Me:init()
        local box = held {limit = 2}
        local a, x = box:send("letter", 1)
        box:send("letter", 2)
        local c, z = box:send("letter", 3)
        box:send("letter", 4)
        assert(try(throng.ask, box, "letter", 5).code == "full")
        local info = throng.info(box)
        release()
        while self.seen == nil do pcall(function() self.seen = box:ask "seen" end) end
        done(a, x, c, z, self.seen, info.refused, info.dropped)
      end
    ]]})
  end)
end)

describe("a full mailbox that drops the newest", function()
  it("keeps what it has; the sender hears true, for it was the receiver's wish, and that it was dropped", function()
    assert.are.same({true, "nil", true, "dropped", {1, 2}, 3, 3}, {run [[
      function Me:init()
        local box, before = held {limit = 2, full = "drop_newest"}, throng.stats()
        local a, x = box:send("letter", 1)
        box:send("letter", 2)
        local b, y = box:send("letter", "three")
        box:send("letter", 4)
        box:send("letter", 5)
        local dropped = throng.info(box).dropped
        local now = throng.stats()
        assert(now.dropped - before.dropped == 3)
        release()
        while self.seen == nil do pcall(function() self.seen = box:ask "seen" end) end
        done(a, x, b, y, self.seen, dropped, now.dead_full - before.dead_full)
      end
    ]]})
    assert.matches('dead letter: letter("three") from <0.1> to <1.1>: its mailbox is full', scenario.last.err, 1, true)
  end)

  it("fails an ask: each of them ends", function()
    assert.are.equal("full", run [[
      function Me:init()
        local box = held {limit = 1, full = "drop_newest"}
        box:send("letter", 1)
        local code = try(throng.ask, box, "ping").code
        release()
        done(code)
      end
    ]])
  end)

  it("is no addressee that took it, for send_all", function()
    assert.are.equal(1, run [[
      function Me:init()
        local box = held {limit = 1, full = "drop_newest"}
        box:send("letter", 1)
        local took = throng.send_all({box, throng.spawn "box"}, "letter", 2)
        release()
        done(took)
      end
    ]])
  end)
end)

describe("a full mailbox that drops the oldest", function()
  for _, limit in ipairs {1, 2, 10, 1000} do
    it(("keeps the newest, in their order: %d of them"):format(limit), function()
      local taken, seen, dropped, counted, dead = run(([[
        function Me:init()
          local limit, taken = %d, 0
          local box, before = held {limit = limit, full = "drop_oldest"}, throng.stats()
          for n = 1, limit * 7 + 3 do if box:send("letter", n) then taken = taken + 1 end end
          assert(throng.info(box).depth <= 2 * limit)
          release()
          spin(function() return throng.info(box).depth == 0 end)
          local seen, now = box:ask "seen", throng.stats()
          done(taken, seen, throng.info(box).dropped, now.dropped - before.dropped, now.dead_full - before.dead_full)
        end
      ]]):format(limit))
      local all, want = limit * 7 + 3, {}
      for i = 1, limit do want[i] = all - limit + i end
      assert.are.same({all, all - limit, all - limit, all - limit}, {taken, dropped, counted, dead})
      assert.are.same(want, seen)
    end)
  end

  it("tells whoever had asked that it was full", function()
    assert.are.same({"full", {2, 3}}, {run([[
      function Me:init()
        self.box = held {limit = 2, full = "drop_oldest"}
        throng.spawn("asker", self.box, throng.self())
      end
      function Me:on_asks() -- its request comes next, and is the oldest then
        spin(function() return throng.info(self.box).depth == 1 end)
        for n = 1, 3 do self.box:send("letter", n) end
        release()
      end
      function Me:on_told(code) done(code, self.box:ask "seen") end
    ]], {asker = [[
      function Me:init(box, root)
        root:send "asks"
        root:send("told", try(throng.ask, box, "ping").code)
      end
    ]]})})
  end)

  it("never drops a down, an exit, a reply or a timer", function()
    local seen, dropped = run([[
      function Me:init()
        local box = throng.spawn_with({mailbox = {limit = 1, full = "drop_oldest"}, wait = 60000}, "box")
        local a, b = throng.spawn "mortal", throng.spawn "mortal"
        box:ask("monitor", a)
        box:ask("link", b)
        box:ask "timer"
        self.box, self.a, self.b = box, a, b
        box:send("ask", throng.spawn("gate", throng.self()))
      end
      function Me:on_asked(gate)
        local gone_a, gone_b = witness(self.a), witness(self.b)
        self.a:send("die", "a")
        self.b:send("die", "b")
        spin(function() return gone_a() and gone_b() end)
        for n = 1, 100 do self.box:send("letter", n) end
        gate:send "open"
        throng.after(1, "look")
      end
      function Me:on_look()
        if throng.info(self.box).depth > 0 then return throng.after(1, "look") end -- our request would replace it
        local seen = self.box:ask "seen"
        if #seen < 5 then return throng.after(1, "look") end
        done(seen, throng.info(self.box).dropped)
      end
    ]], {gate = [[
      Me.concurrent = true
      function Me:init(root) self.root = root end
      function Me:on_answer()
        self.root:send("asked", throng.self())
        while not self.opened do throng.sleep(1) end
        return "reply"
      end
      function Me:on_open() self.opened = true end
    ]]})
    table.sort(seen, function(x, y) return tostring(x) < tostring(y) end)
    assert.are.same({100, "down a", "exit b", "reply", "timer"}, seen)
    assert.are.equal(99, dropped)
  end)

  it("keeps each sender's order, and loses count of nothing, with many senders under any schedule", function()
    scenario.each_seed(8, function(number, options)
      local wrong, seen, dropped = run([[
        function Me:init()
          self.left = 4
          self.box = throng.spawn_with({mailbox = {limit = 8, full = "drop_oldest"}}, "ordered")
          for i = 1, 4 do throng.spawn("sender", self.box, i, throng.self()) end
        end
        function Me:on_sent()
          self.left = self.left - 1
          if self.left > 0 then return end
          spin(function() return throng.info(self.box).depth == 0 end)
          local wrong, seen = self.box:ask "found"
          done(wrong, seen, throng.info(self.box).dropped)
        end
      ]], {options = {"--workers", tostring(2 + number % 2), table.unpack(options)}, ordered = [[
        function Me:init() self.last, self.wrong, self.seen = {0, 0, 0, 0}, 0, 0 end
        function Me:on_letter(i, n)
          if n <= self.last[i] then self.wrong = self.wrong + 1 end
          self.last[i], self.seen = n, self.seen + 1
          for _ = 1, n % 7 * 30 do end
        end
        function Me:on_found() return self.wrong, self.seen end
      ]], sender = [[
        function Me:init(box, i, root)
          for n = 1, 2000 do assert(box:send("letter", i, n)) end
          root:send "sent"
        end
      ]]})
      assert.are.same({0, 8000}, {wrong, seen + dropped})
    end)
  end)

  it("that is killed while it is flooded leaves nothing behind", function()
    scenario.each_seed(6, function(_, options)
      assert.are.equal("gone", run([[
        function Me:init()
          self.left = 3
          local box = throng.spawn_with({mailbox = {limit = 2, full = "drop_oldest"}}, "box")
          for _ = 1, 3 do throng.spawn("sender", box, throng.self()) end
          for _ = 1, 100 do box:send("letter", 1) end
          throng.kill(box)
        end
        function Me:on_dead()
          self.left = self.left - 1
          if self.left == 0 then done "gone" end
        end
      ]], {options = options, sender = [[
        function Me:init(box, root)
          local good, why
          repeat good, why = box:send("letter", 1) until not good
          assert(why == "dead")
          root:send "dead"
        end
      ]]}))
    end)
  end)

  it("takes no more memory than its bound allows, however long the flood", function()
    local grown = run [[
      function Me:init()
        local box = held {limit = 100, full = "drop_oldest"}
        local text = ("x"):rep(1000)
        for _ = 1, 1000 do box:send("letter", text) end
        local before = throng.stats().rss_bytes
        for _ = 1, 100000 do box:send("letter", text) end
        local grown = throng.stats().rss_bytes - before
        release()
        done(grown)
      end
    ]]
    local kept_by_checkers = node.slow > 1 and 400 or 0 -- what was freed is not used again at once
    assert.is_true(grown < (20 + kept_by_checkers) * 2^20, grown)
  end)
end)

describe("a mailbox that keeps the latest", function()
  it("hands on the newest of each name, where it stands, and counts the others; they are no dead letters", function()
    local seen, dropped, counted, dead = run [[
      function Me:init()
        local box, before = held {full = "latest"}, throng.stats()
        for n = 1, 100 do
          box:send("pose", n)
          box:send("tick", n)
          if n == 50 then box:send("a name of its own") end
        end
        box:send("pose", 101)
        release()
        spin(function() return throng.info(box).depth == 0 end)
        local seen, now = box:ask "seen", throng.stats()
        done(seen, throng.info(box).dropped, now.dropped - before.dropped, now.dead_full - before.dead_full)
      end
    ]]
    assert.are.same({"a name of its own", "tick 100", "pose 101"}, seen)
    assert.are.same({199, 199, 0}, {dropped, counted, dead})
  end)

  it("does so while it works, too: what came in the meantime replaces what waits", function()
    assert.are.same({"pose 9", "tick 1"}, run([[
      function Me:init()
        local box = held {full = "latest"}
        box:send("again", throng.self())
        box:send("pose", 1)
        box:send("tick", 1)
        self.box = box
        release()
      end
      function Me:on_again()
        for n = 2, 9 do self.box:send("pose", n) end
        throng.register "sent"
        local seen = self.box:ask "seen"
        table.sort(seen)
        done(seen)
      end
    ]], {box = MODULES.box .. [[
      function Me:on_again(root)
        root:send "again"
        spin(function() return throng.whereis "sent" end)
      end
    ]]}))
  end)

  it("answers every request", function()
    assert.are.same({20, 1}, {run([[
      function Me:init()
        self.box, self.answers = held {full = "latest"}, 0
        for i = 1, 20 do throng.spawn("asker", self.box, throng.self()) end
        spin(function() return throng.info(self.box).depth == 20 end)
        for n = 1, 50 do self.box:send("pose", n) end
        release()
      end
      function Me:on_answer()
        self.answers = self.answers + 1
        if self.answers == 20 then done(self.answers, #self.box:ask "seen") end
      end
    ]], {asker = "function Me:init(box, root) box:ask 'ping' root:send 'answer' end"})})
  end)

  it("with a bound keeps the newest names when there are too many", function()
    assert.are.same({{"n7", "n8", "n9"}, 7, 1}, {run [[
      function Me:init()
        local box, before = held {limit = 3, full = "latest"}, throng.stats().dead_full
        for i = 1, 8 do box:send("n" .. i) end
        box:send "n8"
        box:send "n9"
        release()
        spin(function() return throng.info(box).depth == 0 end)
        local seen = box:ask "seen"
        done(seen, throng.info(box).dropped, (throng.stats().dead_full - before) // 6)
      end
    ]]})
  end)

  it("never loses the last of a name, under any schedule", function()
    scenario.each_seed(8, function(number, options)
      local wrong, lasts, balance = run([[
        function Me:init()
          self.left = 4
          self.box = throng.spawn_with({mailbox = {limit = 8, full = "latest"}}, "poses")
          for i = 1, 4 do throng.spawn("sender", self.box, "from" .. i, throng.self()) end
        end
        function Me:on_sent()
          self.left = self.left - 1
          if self.left > 0 then return end
          spin(function() return throng.info(self.box).depth == 0 end)
          local wrong, seen, lasts = self.box:ask "found"
          done(wrong, lasts, seen + throng.info(self.box).dropped)
        end
      ]], {options = {"--workers", tostring(2 + number % 2), table.unpack(options)}, poses = [[
        function Me:init() self.last, self.wrong, self.seen = {}, 0, 0 end
        function Me:on_other(name, n)
          if n <= (self.last[name] or 0) then self.wrong = self.wrong + 1 end
          self.last[name], self.seen = n, self.seen + 1
          for _ = 1, n % 7 * 30 do end
        end
        function Me:on_found() return self.wrong, self.seen, self.last end
      ]], sender = [[
        function Me:init(box, name, root)
          for n = 1, 2000 do assert(box:send(name, n)) end
          root:send "sent"
        end
      ]]})
      assert.are.same({0, 8000}, {wrong, balance})
      assert.are.same({from1 = 2000, from2 = 2000, from3 = 2000, from4 = 2000}, lasts)
    end)
  end)
end)

describe("the choice", function()
  it("is the behaviour's, or whoever spawns says otherwise; each part for itself", function()
    assert.are.same({{100000, "refuse"}, {5, "latest"}, {7, "latest"}, {5, "drop_oldest"}, {3, "drop_newest"}}, run([[
      function Me:init()
        local all = {throng.spawn "box", throng.spawn "poses", throng.spawn_with({mailbox = {limit = 7}}, "poses"),
                     throng.spawn_with({mailbox = {full = "drop_oldest"}}, "poses"),
                     throng.spawn_with({mailbox = {limit = 3, full = "drop_newest"}}, "box")}
        for i, pid in ipairs(all) do
          local info = throng.info(pid)
          all[i] = {info.limit, info.full}
        end
        done(all)
      end
    ]], {poses = "Me.mailbox = {limit = 5, full = 'latest'}"}))
  end)

  it("that does not exist is an error which says what there is", function()
    local a, b, c = run([[
      function Me:init()
        done(try(throng.spawn_with, {mailbox = {full = "burst"}}, "box").message,
             try(throng.spawn_with, {mailbox = {full = true}}, "box").message, try(throng.spawn, "wrong").message)
      end
    ]], {wrong = "Me.mailbox = {full = 'burst'}"})
    for _, message in ipairs {a, b, c} do
      assert.matches('mailbox.full\' must be "refuse", "drop_newest", "drop_oldest" or "latest"', message, 1, true)
    end
  end)
end)

describe("throng.info", function()
  it("is nil for the dead, and has the mailbox of the living, also one's own", function()
    assert.are.same({"nil", {depth = 0, limit = 100000, full = "refuse", dropped = 0, refused = 0,
                             behaviour = "main", version = 16}}, {run [[
      function Me:init() throng.kill(throng.spawn_with({monitor = true}, "box")) end
      function Me:on_down(pid)
        local info = throng.info(throng.self())
        info.version = #info.version
        done(throng.info(pid), info)
      end
    ]]})
  end)

  it("tells how long the oldest message has waited, and the node's figures do, for all", function()
    assert.are.same({"nil", 3, true}, {run [[
      function Me:init()
        local box = held {}
        local none = throng.info(box).age_ms
        local start, age = throng.now(), 0
        for n = 1, 3 do box:send("letter", n) end
        spin(function()
          age = throng.info(box).age_ms
          return age > 30
        end)
        local waited, stats = throng.now() - start, throng.stats()
        release()
        spin(function() return throng.info(box).age_ms == nil end) -- a moment's view: it may be again for a moment
        local coarse = 12 -- a tick of the system's coarse clock is at most 10 ms, the unit of the stamp 1
        done(none, stats.waiting, age <= waited + coarse and stats.oldest_ms > 30)
      end
    ]]})
  end)

  it("forgets the figures of whom lived in the same place before", function()
    assert.are.same({2, 0, "nil"}, {run [[
      function Me:init()
        local box = held {limit = 1}
        for n = 1, 3 do box:send("letter", n) end
        self.refused = throng.info(box).refused
        throng.monitor(box)
        throng.kill(box)
        release()
      end
      function Me:on_down()
        local info = throng.info(throng.spawn "box")
        done(self.refused, info.refused, info.waits_for)
      end
    ]]})
  end)
end)

describe("a sender who is far ahead of the receiver", function()
  it("gives way, by send, send_all and publish: the receiver takes some before many more come", function()
    local most = {}
    for i, how in ipairs {"to:send('take')", "throng.send_all({to}, 'take')", "throng.publish('sink', 'take')"} do
      local most_new, refused = scenario.run {([[
        function Me:init()
          local to = throng.spawn "sink"
          to:ask "most"
          for _ = 1, 60000 do %s end
          done(to:ask "most", throng.stats().dead_full)
        end]]):format(how), sink = [[
        function Me:init() self.most, self.last = 0, 0 throng.join "sink" end
        function Me:on_take()
          local depth = throng.info(throng.self()).depth
          self.most, self.last = math.max(self.most, depth - self.last), depth
        end
        function Me:on_most() return self.most end
      ]], options = {"--workers", "1", "--set", "sched.spares=0"}} -- no second thread, which could stand still with it
      assert.are.equal(0, refused)
      -- up to the first mark and one more of 256; on a busy machine a turn of the receiver's may end before it begins
      most[i] = most_new <= 1024 + 5 * 256 or most_new
    end
    assert.are.same({true, true, true}, most)
  end)
end)

describe("a flooded actor", function()
  it("hears its stop and its end, and others are asked and answer meanwhile", function()
    for _, full in ipairs {"refuse", "drop_newest", "drop_oldest", "latest"} do
      assert.are.same({200, "enough"}, {run(([[
        function Me:init()
          self.box = throng.spawn_with({mailbox = {limit = 50, full = "%s"}, monitor = true}, "box")
          self.flood = {}
          for i = 1, 3 do self.flood[i] = throng.spawn("flood", self.box) end
          local other, sum = throng.spawn "box", 0
          for i = 1, 200 do sum = sum + (other:ask "ping" == "pong" and 1 or 0) end
          self.sum = sum
          throng.stop(self.box, "enough")
        end
        function Me:on_down(_, reason)
          for _, pid in ipairs(self.flood) do throng.kill(pid) end
          done(self.sum, reason)
        end
      ]]):format(full), {flood = "function Me:init(box) while true do box:send('letter', 1) end end"})}, full)
    end
  end)
end)
