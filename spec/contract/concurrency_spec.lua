--- One message at a time: what waits while a handler waits, what `concurrent = true` and forks change, and preemption.
local scenario = require "spec.support.scenario"

local SLOW <const> = "function Me:on_slow(ms, ...) throng.sleep(ms) return ... end"

local function run(text, more)
  local o = {text, slow = SLOW}
  for key, value in pairs(more or {}) do o[key] = value end
  return scenario.run(o)
end

--- What comes of two messages, the first of which waits.
local function two(concurrent, wait)
  return (run([[
    function Me:init() throng.send_all({(throng.spawn("worker", throng.self()))}, "first") end
    function Me:on_order(order) done(order) end
  ]], {worker = ([[
    Me.concurrent = %s
    function Me:init(root) self.root, self.order, self.slow = root, {}, throng.spawn "slow" end
    function Me:on_first()
      throng.self():send "second"
      table.insert(self.order, "first begins")
      %s
      table.insert(self.order, "first ends")
      if #self.order == 3 then self.root:send("order", self.order) end
    end
    function Me:on_second()
      table.insert(self.order, "second")
      if #self.order == 3 then self.root:send("order", self.order) end
    end
  ]]):format(concurrent, wait)}))
end

describe("a serial behaviour", function()
  it("keeps other messages waiting while a handler asks, sleeps, or starts a child with wait", function()
    for _, wait in ipairs {"self.slow:ask('slow', 5)", "throng.sleep(5)",
                           "throng.spawn_with({wait = 60000}, 'slow')"} do
      assert.are.same({"first begins", "first ends", "second"}, two("nil", wait), wait)
      assert.are.same({"first begins", "first ends", "second"}, two("false", wait), wait)
    end
  end)

  it("keeps downs and trapped exits waiting too: they are messages; but not kills and exits", function()
    assert.are.same({{"begins", "ends", "down"}}, {run [[
      function Me:init()
        self.order = {}
        throng.self():send "first"
      end
      function Me:on_first()
        table.insert(self.order, "begins")
        throng.kill(throng.spawn_with({monitor = true}, "slow"))
        throng.sleep(10)
        table.insert(self.order, "ends")
      end
      function Me:on_down() table.insert(self.order, "down") done(self.order) end
    ]]})
  end)

  it("runs init to its end before anything else", function()
    assert.are.same({{"init", "letter", "timer"}}, {run [[
      function Me:init()
        self.order = {}
        throng.after(30, "timer")
        throng.self():send "letter"
        throng.sleep(5)
        table.insert(self.order, "init")
      end
      function Me:on_letter() table.insert(self.order, "letter") end
      function Me:on_timer() table.insert(self.order, "timer") done(self.order) end
    ]]})
  end)

  it("never runs two handlers at once, though many ask it and it is preempted", function()
    scenario.each_seed(10, function(_, options)
      assert.are.same({200, 0}, {run([[
        function Me:init()
          local worker = throng.spawn "worker"
          self.left = 8
          for i = 1, 8 do throng.spawn("caller", throng.self(), worker) end
          self.worker = worker
        end
        function Me:on_ready()
          self.left = self.left - 1
          if self.left == 0 then done(self.worker:ask "found") end
        end
      ]], {options = options, worker = [[
        function Me:init() self.count, self.overlaps = 0, 0 end
        function Me:on_work(n)
          if self.inside then self.overlaps = self.overlaps + 1 end
          self.inside = true
          for _ = 1, 200 do end
          if n % 10 == 0 then throng.sleep(0) end
          self.inside = false
          self.count = self.count + 1
        end
        function Me:on_found() return self.count, self.overlaps end
      ]], caller = [[
        function Me:init(root, worker)
          for i = 1, 25 do if i % 2 == 0 then worker:ask("work", i) else worker:send("work", i) end end
          worker:ask "found"
          root:send "ready"
        end
      ]]})})
    end)
  end)
end)

describe("a concurrent behaviour", function()
  it("handles others while a handler waits", function()
    for _, wait in ipairs {"self.slow:ask('slow', 20)", "throng.sleep(20)"} do
      assert.are.same({"first begins", "second", "first ends"}, two("true", wait), wait)
    end
  end)

  it("begins its messages in order, and switches only where a handler waits", function()
    assert.are.same({20, 0}, {run([[
      function Me:init()
        local worker = throng.spawn("worker", throng.self())
        for i = 1, 20 do worker:send("work", i) end
      end
      function Me:on_found(...) done(...) end
    ]], {worker = [[
      Me.concurrent = true
      function Me:init(root) self.root, self.begun, self.wrong, self.ended = root, 0, 0, 0 end
      function Me:on_work(i)
        if self.begun ~= i - 1 or self.inside then self.wrong = self.wrong + 1 end
        self.begun, self.inside = i, true
        for _ = 1, 20000 do end
        self.inside = false
        throng.sleep(5 + i % 3)
        self.ended = self.ended + 1
        if self.ended == 20 then self.root:send("found", self.begun, self.wrong) end
      end
    ]]})})
  end)

  it("has as many handlers waiting as come, each with its own answer", function()
    assert.are.same({300, 45150}, {run([[
      Me.concurrent = true
      function Me:init()
        self.count, self.sum = 0, 0
        self.worker = throng.spawn "worker"
        for i = 1, 300 do throng.self():send("go", i) end
      end
      function Me:on_go(i)
        local answer = self.worker:ask("slow", i % 7, i)
        if answer ~= i then done("wrong", i, answer) end
        self.count, self.sum = self.count + 1, self.sum + answer
        if self.count == 300 then done(self.count, self.sum) end
      end
    ]], {worker = "Me.concurrent = true " .. SLOW})})
  end)

  it("answers each asker its own, in whatever order they end", function()
    assert.are.same({{1, 2, 3, 4, 5}}, {run([[
      function Me:init()
        local worker = throng.spawn "worker"
        self.answers, self.count = {}, 0
        for i = 1, 5 do
          throng.fork(function()
            self.answers[i] = worker:ask("slow", 30 - 5 * i, i)
            self.count = self.count + 1
            if self.count == 5 then done(self.answers) end
          end)
        end
      end
    ]], {worker = "Me.concurrent = true " .. SLOW})})
  end)

  it("can ask one that asks back", function()
    assert.are.equal("pong ping", run([[
      Me.concurrent = true
      function Me:init() throng.self():send "go" end
      function Me:on_go() done(throng.spawn "other":ask "ping") end
      function Me:on_back() return "pong" end
    ]], {other = "function Me:on_ping() return throng.sender():ask 'back' .. ' ping' end"}))
  end)

  it("dies as a whole when one handler crashes: all that wait in it are told", function()
    assert.are.same({{"boom", "down", "down"}}, {run([[
      function Me:init()
        self.found = {}
        local worker = throng.spawn "worker"
        for i = 1, 2 do
          throng.fork(function()
            local e = try(throng.ask, worker, "slow", 600000)
            table.insert(self.found, e.code)
            if #self.found == 3 then table.sort(self.found) done(self.found) end
          end)
        end
        throng.fork(function()
          local e = try(throng.ask, worker, "crash")
          table.insert(self.found, e.message)
          if #self.found == 3 then table.sort(self.found) done(self.found) end
        end)
      end
    ]], {worker = "Me.concurrent = true function Me:on_crash() error('boom', 0) end " .. SLOW})})
  end)
end)

describe("fork", function()
  it("runs beside the handlers, with its arguments, after what forked it goes on", function()
    assert.are.same({{"handler", "fork 1 nil 3"}}, {run [[
      function Me:init()
        self.order = {}
        throng.fork(function(...)
          table.insert(self.order, ("fork %s %s %s"):format(...))
          throng.self():send "look"
        end, 1, nil, 3)
        table.insert(self.order, "handler")
      end
      function Me:on_look() done(self.order) end
    ]]})
  end)

  it("lets a serial actor handle messages while the fork waits", function()
    assert.are.same({{"message", "fork"}}, {run [[
      function Me:init()
        self.order = {}
        throng.fork(function()
          throng.spawn "slow":ask("slow", 20)
          table.insert(self.order, "fork")
          throng.self():send "look"
        end)
        throng.self():send "message"
      end
      function Me:on_message() table.insert(self.order, "message") end
      function Me:on_look() done(self.order) end
    ]]})
  end)

  it("a thousand times runs them all; forks may fork", function()
    assert.are.same({1000, 100}, {run [[
      function Me:init()
        self.count, self.deepest = 0, 0
        local function go(depth)
          throng.sleep(depth % 3)
          self.count, self.deepest = self.count + 1, math.max(self.deepest, depth)
          if depth < 100 then throng.fork(go, depth + 1) end
          if self.count == 1000 then done(self.count, self.deepest) end
        end
        for _ = 1, 10 do throng.fork(go, 1) end
      end
    ]]})
  end)

  it("ends with its actor, and keeps no actor from ending", function()
    assert.are.same({"x", "none"}, {run([[
      function Me:init()
        self.heard = "none"
        throng.spawn_with({monitor = true}, "forking", throng.self()):send "go"
      end
      function Me:on_went_on() self.heard = "it went on" end
      function Me:on_down(_, reason) self.reason = reason throng.after(20, "look") end
      function Me:on_look() done(self.reason, self.heard) end
    ]], {forking = [[
      function Me:init(root) self.root = root end
      function Me:on_go()
        throng.fork(function() throng.sleep(5) self.root:send "went_on" end)
        throng.exit "x"
      end
    ]]})})
  end)

  it("wants a function", function()
    assert.are.same({true, true}, {run [[
      function Me:init() done(try(throng.fork) ~= nil, try(throng.fork, "x") ~= nil) end
    ]]})
  end)
end)

describe("preemption", function()
  it("lets others go on, whatever kind of endless loop each worker is in", function()
    assert.are.equal(40, run([[
      function Me:init()
        for i = 1, 6 do throng.spawn("loop", i) end
        local slow = throng.spawn "slow"
        local count = 0
        for i = 1, 40 do count = count + slow:ask("slow", 0, 1) end
        done(count)
      end
    ]], {loop = [[
      local loops = {
        function() while true do end end,
        function() while true do pcall(error) end end,
        function() coroutine.wrap(function() coroutine.wrap(function() while true do end end)() end)() end,
        function() local function f() return f() end f() end,
        function() while true do local t = {} for i = 1, 100 do t[i] = {} end end end,
        function() while true do string.gsub("x", "x", function() for _ = 1, 1e5 do end end) end end,
      }
      function Me:init(i) throng.self():send("go", i) end
      function Me:on_go(i) loops[i]() end
    ]], options = {"--set", "sched.spares=0"}}))
  end)

  it("is not seen by what is preempted: results are exact, in coroutines, pcalls and closures too", function()
    scenario.each_seed(20, function(_, options)
      assert.are.same({true, 0}, {run([[
        function Me:init()
          self.left, self.wrong = 6, 0
          for i = 1, 6 do throng.spawn("sums", throng.self(), i) end
        end
        function Me:on_sum(sum)
          if sum ~= 338350 * 3 + 5050 then self.wrong = self.wrong + 1 end
          self.left = self.left - 1
          if self.left == 0 then done(true, self.wrong) end
        end
      ]], {options = options, sums = [[
        function Me:init(root, i)
          local sum = 0
          local squares = coroutine.wrap(function() for n = 1, 100 do coroutine.yield(n * n) end end)
          for square in squares do sum = sum + square end
          local function deep(n) if n == 0 then return 0 end return n * n + deep(n - 1) end
          sum = sum + deep(100)
          local good, value = pcall(function()
            local t = setmetatable({}, {__index = function(_, n) return n * n end})
            local s = 0
            for n = 1, 100 do s = s + t[n] end
            return s
          end)
          sum = sum + (good and value or 0)
          local list = {}
          for n = 100, 1, -1 do list[#list + 1] = n end
          table.sort(list, function(a, b) return a < b end)
          for n, v in ipairs(list) do if n == v then sum = sum + n end end
          root:send("sum", sum)
        end
      ]]})})
    end)
  end)

  it("counts: who computes long is preempted often", function()
    assert.is_true(run([[
      function Me:init()
        throng.spawn "loop"
        throng.spawn "loop"
        throng.spawn "loop"
        self.slow = throng.spawn "slow"
        throng.self():send "look"
      end
      function Me:on_look()
        self.slow:ask("slow", 0)
        if throng.stats().preempted >= 5 then done(true) else throng.self():send "look" end
      end
    ]], {loop = "function Me:init() while true do end end"}))
  end)
end)
