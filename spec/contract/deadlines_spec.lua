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

--- A request that is skipped tells nothing: on a slow machine its time may be over before its handler begins. So the
--- root asks again, with more time, until the handler has begun and told what it found.
local PATIENT <const> = [[
  function Me:init()
    self.asked, self.other, self.ms = throng.spawn("asked", throng.self()), throng.spawn "work", 10
    self:on_again()
  end
  function Me:on_again()
    if self.found then return end
    self.ms = self.ms * 2
    self.outer = try(throng.ask_within, self.ms, self.asked, "go", self.other)
    if not throng.whereis "gave up" then throng.register "gave up" end
    throng.self():send "again"
  end
  function Me:on_found(...)
    if self.found then return end
    self.found = true
    self:finish(...)
  end
  function Me:finish(...) done(self.outer, ...) end
]]

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
    local _, left = run(PATIENT, {asked = [[
      function Me:init(root) self.root = root end
      function Me:on_go()
        spin(function() return throng.whereis "gave up" and throng.deadline() == 0 end)
        self.root:send("found", throng.deadline())
      end
    ]]})
    assert.are.equal(0, left)
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
    local outer, inner, ms = run(PATIENT .. "function Me:finish(inner) done(self.outer, inner, self.ms) end", {asked = [[
      function Me:init(root) self.root = root end
      function Me:on_go(other)
        local e = try(throng.ask, other, "hang")
        if not e.message:find "no time is left" then self.root:send("found", e) end
      end
    ]]})
    assert.are.equal("timeout", outer.code)
    assert.matches(("did not answer 'go' within %d ms"):format(ms), outer.message, 1, true)
    assert.are.equal("timeout", inner.code)
    assert.matches("did not answer 'hang' in the time that was left: our own asker waits no longer", inner.message, 1,
                   true)
  end)

  it("with a longer time of its own has what is left, too", function()
    local _, inner = run(PATIENT, {asked = [[
      function Me:init(root) self.root = root end
      function Me:on_go(other)
        local e = try(throng.ask_within, 600000, other, "hang")
        if not e.message:find "no time is left" then self.root:send("found", e) end
      end
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
    local e, seen = run(PATIENT .. "function Me:finish(e) done(e, #self.other:ask 'done') end", {asked = [[
      function Me:init(root) self.root = root end
      function Me:on_go(other)
        spin(function() return throng.whereis "gave up" and throng.deadline() == 0 end)
        self.root:send("found", try(throng.ask, other, "work", 1))
      end
    ]]})
    assert.are.equal("timeout", e.code)
    assert.matches("no time is left to ask 'work'", e.message)
    assert.are.equal(0, seen)
  end)

  it("in a fork has its own time: nobody waits for a fork", function()
    local _, answer = run(PATIENT .. "function Me:on_question() return 'outlived' end", {asked = [[
      function Me:init(root) self.root = root end
      function Me:on_go()
        throng.fork(function()
          spin(function() return throng.whereis "gave up" end)
          self.root:send("found", self.root:ask "question")
        end)
      end
    ]]})
    assert.are.equal("outlived", answer)
  end)

  it("of a spawn that waits for init ends with the asker's time, too", function()
    local _, e = run(PATIENT, {asked = [[
      function Me:init(root) self.root = root end
      function Me:on_go() self.root:send("found", try(throng.spawn_with, {wait = 600000}, "slow")) end
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
