-- Specs of the test kit in its own terms: spec/lua/testkit_spec.lua runs them with `throng test`.
local testkit = require "throng.testkit"
local throng = require "throng"

describe("time", function()
  it("stands still while nobody waits, and jumps when all do", function()
    local began = throng.now()
    local sum = 0
    for i = 1, 100000 do sum = sum + i end
    assert.are.equal(5000050000, sum)
    assert.are.equal(began, throng.now())
    throng.sleep(3600 * 1000)
    assert.are.equal(began + 3600 * 1000, throng.now())
  end)

  it("steps from timer to timer, in order, and what follows from one comes before the next", function()
    local probe = testkit.probe()
    local began = throng.now()
    testkit.spawn({
      init = function(self, to, start)
        self.to, self.start = to, start
        throng.every(1000, "beat")
        throng.after(2500, "once")
      end,
      on_beat = function(self)
        self.to:send("beat", throng.now() - self.start)
        throng.after(1, "echo")
      end,
      on_echo = function(self) self.to:send("echo", throng.now() - self.start) end,
      on_once = function(self) self.to:send("once", throng.now() - self.start) end,
    }, probe.pid, began)
    testkit.advance(3000)
    for _, wanted in ipairs {{"beat", 1000}, {"echo", 1001}, {"beat", 2000}, {"echo", 2001}, {"once", 2500},
                             {"beat", 3000}} do
      assert.are.equal(wanted[2], probe:expect(wanted[1], 0))
    end
    probe:expect_none()
    testkit.advance(1)
    assert.are.equal(3001, probe:expect("echo", 0))
  end)

  it("is what asks, awaits and sleeps of others go by", function()
    local slow = testkit.spawn {on_wait = function(_, ms) throng.sleep(ms) return throng.now() end}
    local began = throng.now()
    assert.are.equal(began + 4999, slow:ask("wait", 4999))
    local ok, failure = pcall(throng.ask_within, 100, slow, "wait", 101)
    assert.is_false(ok)
    assert.are.equal("timeout", failure.code)
    assert.are.equal(began + 4999 + 100, throng.now())
    assert.are.same({false, "timeout"}, {throng.await(slow, 50)})
    assert.are.equal(began + 4999 + 150, throng.now())
    assert.are.equal("late", testkit.expect_dead_letter({name = "answer"}).reason)
  end)

  it("is what a supervisor's pauses go by", function()
    local supervisor = require "throng.supervisor"
    local beater = testkit.behaviour {on_crash = function() error("out of breath") end}
    local boss = testkit.spawn(([[return require "throng.supervisor".behaviour {
      intensity = {count = 10, seconds = 600}, backoff = {least = 500, most = 2000, jitter = 0},
      children = {{id = "beater", module = %q}}}]]):format(beater))
    local function pid() return supervisor.child(boss, "beater") end
    testkit.allow("crashes")
    for _, pause in ipairs {500, 1000, 2000, 2000} do
      local old = pid()
      old:send("crash")
      testkit.advance(pause - 1)
      assert.are.equal("restarting", supervisor.which(boss)[1].state)
      testkit.advance(1)
      assert.are_not.equal(old, pid())
    end
  end)

  it("can be the real one", function()
    testkit.real_time()
    local began = throng.now()
    testkit.advance(30)
    assert.is_true(throng.now() - began >= 30)
  end)

  it("is virtual again after a test in which it was not", function()
    local began = throng.now()
    testkit.advance(1e7)
    assert.are.equal(began + 1e7, throng.now())
  end)
end)

describe("a probe", function()
  it("gives what comes in its order, with who sent it", function()
    local probe = testkit.probe("me")
    throng.whereis("me"):send("a", 1, nil, "x")
    probe.pid:send("b")
    assert.are.same({1, nil, "x"}, {probe:expect("a")})
    assert.are.equal(throng.self(), probe:sender())
    assert.are.same({}, {probe:expect("b")})
  end)

  it("picks one of many, and leaves the rest", function()
    local probe = testkit.probe()
    probe.pid:send("a", 1)
    probe.pid:send("b", 2)
    probe.pid:send("c", 3)
    assert.are.equal(2, probe:expect_any("b"))
    assert.are.same({"a", 1}, {probe:expect_any {"c", "a"}})
    assert.are.same({"c", 3}, {probe:next()})
    assert.is_nil((probe:next(0)))
  end)

  it("waits for what comes later", function()
    local probe = testkit.probe()
    testkit.spawn({
      init = function(self, to) self.to = to throng.after(700, "go") end,
      on_go = function(self) self.to:send("late") end,
    }, probe.pid)
    local began = throng.now()
    probe:expect_none(699)
    probe:expect("late", 1)
    assert.are.equal(700, throng.now() - began)
  end)

  it("answers requests when the spec does", function()
    local probe = testkit.probe()
    local asker = testkit.spawn {on_go = function(_, to) return to:ask("price", "tea") * 2 end}
    local got
    throng.fork(function() got = asker:ask("go", probe.pid) end)
    assert.are.equal("tea", probe:expect("price"))
    probe:reply(21)
    testkit.settle()
    assert.are.equal(42, got)
  end)

  it("fails requests as who crashes", function()
    local probe = testkit.probe()
    local got
    throng.fork(function() got = {pcall(probe.pid.ask, probe.pid, "price")} end)
    probe:expect("price")
    probe:fail {code = "closed", message = "no shop today"}
    testkit.settle()
    assert.is_false(got[1])
    assert.are.equal("closed", got[2].code)
  end)

  it("sees ends, of whom it watches and of its own linked children", function()
    local probe = testkit.probe()
    local watched = testkit.spawn {on_go = function() throng.exit("gone") end}
    probe:watch(watched)
    watched:send("go")
    assert.are.equal("gone", probe:expect_down(watched))
    local child = probe:spawn_with({link = true}, {init = function(_, parent) assert(throng.parent() == parent) end},
                                   probe.pid)
    throng.kill(child)
    assert.are.same({child, "killed"}, {probe:expect("exit")})
  end)
end)

describe("a stub", function()
  it("stands in under a name, runs functions of the spec, and remembers", function()
    local stock = {tea = 3}
    local shop = testkit.stub {
      name = "shop", on_open = true,
      on_buy = function(_, ware) stock[ware] = stock[ware] - 1 return stock[ware] end,
    }
    local buyer = testkit.spawn {on_go = function(_, ware)
      local pid = throng.whereis("shop")
      assert(pid:ask("open"))
      pid:send("buy", ware)
      return pid:ask("buy", ware)
    end}
    assert.are.equal(1, buyer:ask("go", "tea"))
    assert.are.equal(1, stock.tea)
    assert.are.equal(2, shop:count("buy"))
    assert.are.equal("tea", shop.calls[2][1])
    assert.are.equal(buyer, shop.calls[2].from)
  end)
end)

describe("an inline behaviour", function()
  local function double(n) return n * 2 end
  local FACTOR <const> = 10

  it("is a table of functions, with what they use of the spec", function()
    local words = {greeting = "hi", list = {1, 2}}
    local actor = testkit.spawn {
      on_calc = function(_, n) return double(n) * FACTOR end,
      on_word = function() return words.greeting, words.list[2] end,
      limit = 7,
      on_limit = function(self) return self.limit end,
    }
    assert.are.equal(60, actor:ask("calc", 3))
    assert.are.same({"hi", 2}, {actor:ask("word")})
    assert.are.equal(7, actor:ask("limit"))
  end)

  it("is the text of a module", function()
    local actor = testkit.spawn [[
      local B = {}
      function B:init(n) self.n = n end
      function B:on_n() return self.n end
      return B]]
    assert.is_nil(actor:ask("n"))
  end)

  it("has the spec's own lines in its errors", function()
    local actor = testkit.spawn {on_go = function() error("here") end}
    local line = debug.getinfo(1, "l").currentline - 1
    actor:send("go")
    assert.matches(("kit.lua:%d: here"):format(line), testkit.expect_crash(actor).message, 1, true)
  end)
end)

describe("faults", function()
  local function counter()
    return testkit.spawn {
      init = function(self) self.n = 0 end,
      on_add = function(self, n) self.n = self.n + n return self.n end,
      on_get = function(self) return self.n end,
    }
  end

  it("kill who is about to handle the nth message", function()
    local probe, actor = testkit.probe(), counter()
    probe:watch(actor)
    local fault = testkit.kill_at {to = actor, name = "add", nth = 3}
    assert.are.equal(1, actor:ask("add", 1))
    assert.are.equal(1, actor:ask("get"))
    assert.are.equal(2, actor:ask("add", 1))
    local ok, failure = pcall(actor.ask, actor, "add", 1)
    assert.is_false(ok)
    assert.are.equal("down", failure.code)
    assert.are.equal("killed", probe:expect_down(actor))
    assert.are.same({3, 1}, {fault:count()})
  end)

  it("drop some, from one sender", function()
    local probe = testkit.probe()
    local other = testkit.spawn {on_go = function(_, to) to:send("m", "other") end}
    testkit.drop {from = other, to = probe.pid, nth = 2, times = 1}
    for _ = 1, 3 do
      other:send("go", probe.pid)
      probe.pid:send("m", "own")
    end
    testkit.settle()
    local own, others = 0, 0
    for _ = 1, 5 do
      if probe:expect("m", 0) == "own" then own = own + 1 else others = others + 1 end
    end
    probe:expect_none()
    assert.are.same({3, 2}, {own, others})
  end)

  it("hold some up, until they are off", function()
    local probe = testkit.probe()
    local fault = testkit.delay {to = probe.pid, name = "slow", ms = 250}
    probe.pid:send("slow", 1)
    probe.pid:send("quick")
    probe:expect("quick", 0)
    probe:expect_none(249)
    assert.are.equal(1, probe:expect("slow", 1))
    fault:off()
    probe.pid:send("slow", 2)
    assert.are.equal(2, probe:expect("slow", 0))
  end)

  it("let a request that was lost end by its timeout", function()
    local actor = counter()
    testkit.drop {to = actor, name = "get"}
    local began = throng.now()
    local ok, failure = pcall(throng.ask_within, 300, actor, "get")
    assert.is_false(ok)
    assert.are.equal("timeout", failure.code)
    assert.are.equal(300, throng.now() - began)
  end)

  it("kill in init", function()
    testkit.kill_at {name = "init"}
    local ok, failure = pcall(testkit.spawn, {init = function() end})
    assert.is_false(ok)
    assert.are.equal("down", failure.code)
  end)
end)

describe("between tests", function()
  local before
  setup(function() before = throng.spawn(testkit.behaviour {on_hi = function() return "hi" end}) end)
  local mine

  it("all that was spawned", function()
    mine = testkit.spawn({init = function(_, module)
      throng.spawn_with({link = true, name = "grandchild"}, module)
    end}, testkit.behaviour {on_hi = function() end})
    assert.is_truthy(throng.whereis("grandchild"))
    assert.are.equal("hi", before:ask("hi"))
  end)

  it("is gone, but for what setup has made", function()
    assert.is_nil(throng.whereis("grandchild"))
    assert.is_nil(throng.info(mine))
    assert.are.equal("hi", before:ask("hi"))
  end)

  it("has an init that fails as an error of spawn, and not once more", function()
    local ok, failure = pcall(testkit.spawn, {init = function() error("no start") end})
    assert.is_false(ok)
    assert.matches("no start", failure.message)
  end)

  it("has its shutdowns where they are expected, and the node goes on", function()
    local actor = testkit.spawn {on_end = function() throng.after(50, "now") end,
                                 on_now = function() throng.shutdown(3) end}
    actor:send("end")
    assert.are.same({3, actor}, {testkit.expect_shutdown(50)})
  end)

  it("has its crashes where they are expected", function()
    local actor = testkit.spawn {on_go = function() error({code = "mine", message = "planned"}) end}
    actor:send("go")
    local report = testkit.expect_crash {pid = actor, message = "plan"}
    assert.are.equal("mine", report.code)
    actor:send("again")
    assert.are.equal("dead", testkit.expect_dead_letter(actor).reason)
  end)
end)
