--- Deadlines travel: the time left goes with a request, what is asked in turn inherits it, and work whose asker is gone
--- is not begun.
local scenario = require "spec.support.scenario"

local MODULES <const> = {
  work = [[
    Me.on_hold = scene.on_hold
    function Me:init() self.done = {} end
    function Me:on_work(what) table.insert(self.done, what) return what end
    function Me:on_done() return self.done end
    function Me:on_left() return throng.deadline() end
    function Me:on_hang() throng.sleep(600000) end
  ]],
  -- Asks for others, with a time or without.
  hop = [[
    function Me:on_ask(...) return throng.ask(...) end
    function Me:on_try(...) return try(throng.ask, ...) end
    function Me:on_try_within(...) return try(throng.ask_within, ...) end
    function Me:on_chain(pids, ...)
      local mine, next_one = throng.deadline(), table.remove(pids, 1)
      if next_one then return mine, next_one:ask("chain", pids) end
      return mine
    end
  ]],
}

local function run(text, more)
  local o = {text}
  for key, value in pairs(MODULES) do o[key] = value end
  for key, value in pairs(more or {}) do o[key] = value end
  return scenario.run(o)
end

describe("throng.deadline", function()
  it("is what is left of the asker's time, in ms", function()
    assert.are.same({true, true}, {run [[
      function Me:init()
        local w = throng.spawn "work"
        local a, b = throng.ask_within(30000, w, "left"), w:ask "left"
        done(a > 0 and a <= 30000, b > 30000 and b <= 60000)
      end
    ]]})
  end)

  it("is nil where nobody waits: in init, sends, timers, forks, and in terminate", function()
    local left = run([[
      function Me:init()
        self.left = {}
        throng.spawn_with({wait = 60000, monitor = true}, "idle", throng.self())
      end
      function Me:on_left(where, left) self.left[where] = left == nil and "nil" or left end
      function Me:on_down() done(self.left) end
    ]], {idle = [[
      function Me:init(root)
        self.root = root
        self:tell "init"
        throng.self():send "sent"
      end
      function Me:tell(where) self.root:send("left", where, throng.deadline()) end
      function Me:on_sent()
        self:tell "send"
        throng.after(1, "timer")
      end
      function Me:on_timer()
        self:tell "timer"
        throng.spawn("hop"):send("ask", throng.self(), "asked")
      end
      function Me:on_asked()
        throng.fork(function()
          self:tell "fork"
          throng.exit "normal"
        end)
        return throng.sleep(600000)
      end
      function Me:terminate() self:tell "terminate" end
    ]]})
    assert.are.same({init = "nil", send = "nil", timer = "nil", fork = "nil", terminate = "nil"}, left)
  end)

  it("is 0 and not less when the time is over", function()
    assert.are.equal(0, run([[
      function Me:init()
        self.late = throng.spawn("late", throng.self())
        try(throng.ask_within, 2, self.late, "wait")
        throng.register "gave up"
      end
      function Me:on_left(left) done(left) end
    ]], {late = [[
      function Me:init(root) self.root = root end
      function Me:on_wait()
        spin(function() return throng.whereis "gave up" end)
        self.root:send("left", throng.deadline())
      end
    ]]}))
  end)

  it("is each handler's own in a concurrent actor", function()
    assert.are.same({true, true, "nil"}, {run([[
      function Me:init()
        self.c, self.got = throng.spawn("concurrent", throng.self()), {}
        throng.fork(function() self.got.long = throng.ask_within(50000, self.c, "wait") self:finish() end)
        throng.fork(function() self.got.short = throng.ask_within(20000, self.c, "wait") self:finish() end)
        throng.fork(function() self.c:send("wait") end)
      end
      function Me:on_ready() self.c:send "go" end
      function Me:on_none(left) self.got.none = left == nil and "nil" or left self:finish() end
      function Me:finish()
        local got = self.got
        if not (got.long and got.short and got.none) then return end
        done(got.long > 20000 and got.long <= 50000, got.short > 0 and got.short <= 20000, got.none)
      end
    ]], {concurrent = [[
      Me.concurrent = true
      function Me:init(root) self.root, self.count = root, 0 end
      function Me:on_wait()
        self.count = self.count + 1
        if self.count == 3 then self.root:send "ready" end
        while not self.go do throng.sleep(1) end
        local left = throng.deadline()
        if not left then self.root:send("none", left) end
        return left
      end
      function Me:on_go() self.go = true end
    ]]})})
  end)
end)

describe("a nested ask", function()
  it("has what is left of its asker's time, though its own would be longer, and its error says so", function()
    local outer, inner = run([[
      function Me:init()
        local hop, work = throng.spawn("telling", throng.self()), throng.spawn "work"
        self.outer = try(throng.ask_within, 20, hop, "try", work, "hang")
        throng.unlink(hop)
      end
      function Me:on_told(inner) done(self.outer, inner) end
    ]], {telling = [[
      function Me:init(root) self.root = root end
      function Me:on_try(...) self.root:send("told", try(throng.ask, ...)) end
    ]]})
    assert.are.equal("timeout", outer.code)
    assert.matches("did not answer 'try' within 20 ms", outer.message, 1, true)
    assert.are.equal("timeout", inner.code)
    assert.matches("did not answer 'hang' in the time that was left: our own asker waits no longer", inner.message, 1,
                   true)
  end)

  it("with a longer time of its own has what is left, too", function()
    local inner = run([[
      function Me:init()
        local hop, work = throng.spawn("telling", throng.self()), throng.spawn "work"
        try(throng.ask_within, 20, hop, "try", work, "hang")
      end
      function Me:on_told(inner) done(inner) end
    ]], {telling = [[
      function Me:init(root) self.root = root end
      function Me:on_try(...) self.root:send("told", try(throng.ask_within, 600000, ...)) end
    ]]})
    assert.are.equal("timeout", inner.code)
    assert.matches("in the time that was left", inner.message)
  end)

  it("with a shorter time of its own keeps that, and the outer one goes on", function()
    local inner = run [[
      function Me:init() done(throng.spawn("hop"):ask("try_within", 5, throng.spawn "work", "hang")) end
    ]]
    assert.are.equal("timeout", inner.code)
    assert.matches("did not answer 'hang' within 5 ms", inner.message, 1, true)
  end)

  it("hands the time on over many hops: it only grows shorter", function()
    local lefts = {run [[
      function Me:init()
        local hops = {}
        for i = 1, 10 do hops[i] = throng.spawn "hop" end
        done(throng.ask_within(30000, throng.spawn "hop", "chain", hops))
      end
    ]]}
    assert.are.equal(11, #lefts)
    local last = 30000
    for i, left in ipairs(lefts) do
      assert.is_true(left > 0 and left <= last, i)
      last = left
    end
  end)

  it("is not even begun when no time is left: it fails at once, and nothing was sent", function()
    local e, seen = run([[
      function Me:init()
        local work = throng.spawn "work"
        self.work = work
        try(throng.ask_within, 2, throng.spawn("late", throng.self()), "go", work)
        throng.register "gave up"
      end
      function Me:on_told(e) done(e, #self.work:ask "done") end
    ]], {late = [[
      function Me:init(root) self.root = root end
      function Me:on_go(work)
        spin(function() return throng.whereis "gave up" end)
        self.root:send("told", try(throng.ask, work, "work", 1))
      end
    ]]})
    assert.are.equal("timeout", e.code)
    assert.matches("no time is left to ask 'work'", e.message)
    assert.are.equal(0, seen)
  end)

  it("in a fork has its own time: nobody waits for a fork", function()
    assert.are.same({"outlived"}, {run([[
      function Me:init()
        local forker = throng.spawn("forker", throng.self())
        assert(try(throng.ask_within, 2, forker, "go", throng.self()).code == "timeout")
        forker:send "x"
        self.may = true
      end
      function Me:on_question() assert(self.may) return "outlived" end
      function Me:on_told(answer) done(answer) end
    ]], {forker = [[
      function Me:init(root) self.root = root end
      function Me:on_go(root)
        throng.fork(function() self.root:send("told", root:ask "question") end)
        throng.sleep(600000)
      end
    ]]})})
  end)

  it("of a spawn that waits for init ends with the asker's time, too", function()
    local e = run([[
      function Me:init() try(throng.ask_within, 10, throng.spawn("maker", throng.self()), "make") end
      function Me:on_told(e) done(e) end
    ]], {maker = [[
      function Me:init(root) self.root = root end
      function Me:on_make() self.root:send("told", try(throng.spawn_with, {wait = 600000}, "slow")) end
    ]], slow = "function Me:init() throng.sleep(600000) end"})
    assert.are.equal("timeout", e.code)
    assert.matches("in the time that was left", e.message)
  end)
end)

describe("a request that waits in a mailbox", function()
  it("is not begun when its asker has given up: it is skipped, counted and a dead letter", function()
    local skipped, late, seen = run [[
      function Me:init()
        local w = throng.spawn "work"
        hold(w)
        local before = throng.stats()
        local e = try(throng.ask_within, 5, w, "work", "in vain")
        assert(e.code == "timeout")
        release()
        local seen = w:ask "done"
        local now = throng.stats()
        done(now.skipped - before.skipped, now.dead_late - before.dead_late, seen)
      end
    ]]
    assert.are.same({1, 1, {}}, {skipped, late, seen})
    assert.matches('dead letter: work%("in vain"%) from <0.1> to <1.1>: the asker had given up', scenario.last.err)
  end)

  it("is not begun when its asker has died", function()
    assert.are.same({1, {"wanted"}}, {run([[
      function Me:init()
        self.w = throng.spawn "work"
        hold(self.w)
        local asker = throng.spawn_with({monitor = true}, "asker", self.w)
        asker:ask "asked"
        self.before = throng.stats().skipped
        throng.kill(asker)
      end
      function Me:on_down()
        self.w:send("work", "wanted")
        release()
        local seen = self.w:ask "done"
        done(throng.stats().skipped - self.before, seen)
      end
    ]], {asker = [[
      Me.concurrent = true
      function Me:init(w) throng.self():send("go", w) end
      function Me:on_go(w) w:ask("work", "in vain") end
      function Me:on_asked() return true end
    ]]})})
  end)

  it("is skipped for each of many who gave up, and the ones behind have their turn", function()
    assert.are.same({50, {"last"}}, {run([[
      function Me:init()
        self.w, self.left = throng.spawn "work", 50
        hold(self.w)
        self.before = throng.stats().skipped
        for i = 1, 50 do throng.spawn("impatient", throng.self(), self.w, i) end
      end
      function Me:on_gave_up()
        self.left = self.left - 1
        if self.left > 0 then return end
        self.w:send("work", "last")
        release()
        local seen = self.w:ask "done"
        done(throng.stats().skipped - self.before, seen)
      end
    ]], {impatient = [[
      function Me:init(root, w, i)
        assert(try(throng.ask_within, i % 7 + 1, w, "work", i).code == "timeout")
        root:send "gave_up"
      end
    ]]})})
  end)

  it("is begun though a send of a dead one: only requests are skipped", function()
    assert.are.same({0, {"sent"}}, {run([[
      function Me:init()
        self.w = throng.spawn "work"
        hold(self.w)
        self.before = throng.stats().skipped
        throng.spawn_with({monitor = true}, "sender", self.w)
      end
      function Me:on_down()
        release()
        local seen = self.w:ask "done"
        done(throng.stats().skipped - self.before, seen)
      end
    ]], {sender = "function Me:init(w) w:send('work', 'sent') throng.exit 'normal' end"})})
  end)
end)
