--- Exits: how actors end (exit, stop, kill, a crash), what `terminate` sees, and how the node ends.
local node = require "spec.support.node"
local scenario = require "spec.support.scenario"

local MODULES <const> = {
  -- Tells root what its terminate saw.
  ending = [[
    function Me:init(root) self.root = root end
    function Me:on_exit_with(reason) throng.exit(reason) end
    function Me:on_caught(reason) pcall(throng.exit, reason) self.root:send("after") end
    function Me:on_crash() error "ouch" end
    function Me:on_ping() return "pong" end
    function Me:on_link(pid) throng.link(pid) end
    function Me:terminate(reason)
      self.root:send("terminated", type(reason) == "table" and reason.message or reason, throng.self())
    end
  ]],
  plain = [[
    function Me:on_exit_with(reason) throng.exit(reason) end
    function Me:on_ping() return "pong" end
    function Me:on_hang() throng.sleep(600000) end
    function Me:on_compute() while true do end end
  ]],
}

local function run(text, more)
  local o = {text}
  for key, value in pairs(MODULES) do o[key] = value end
  for key, value in pairs(more or {}) do o[key] = value end
  return scenario.run(o)
end

--- Something happens to an `ending` actor; what terminate saw and what its monitor heard.
local function ends(happens)
  return {run(([[
    function Me:init()
      self.pid = throng.spawn_with({monitor = true}, "ending", throng.self())
      self.pid:ask "ping"
      local pid = self.pid
      %s
    end
    function Me:on_terminated(reason) self.terminated = self.terminated or reason end
    function Me:on_after() self.terminated = "it went on after exit" end
    function Me:on_down(_, reason)
      done(self.terminated, type(reason) == "table" and reason.message or reason)
    end
  ]]):format(happens))}
end

describe("exit", function()
  it("ends the handler there, runs terminate with the reason, and tells who watches", function()
    assert.are.same({"tired", "tired"}, ends [[pid:send("exit_with", "tired")]])
    assert.are.same({"normal", "normal"}, ends [[pid:send "exit_with"]])
  end)

  it("can't be caught by pcall", function()
    assert.are.same({"x", "x"}, ends [[pid:send("caught", "x")]])
  end)

  it("works from wherever it is called: coroutines, pcall in them, a sort's comparison, metamethods, forks", function()
    local reasons = {run([[
      function Me:init()
        self.reasons, self.by, self.count = {}, {}, 0
        for i = 1, 7 do
          local _, ref = throng.spawn_with({monitor = true}, "exits", i)
          self.by[ref] = i
        end
      end
      function Me:on_down(_, reason, ref)
        self.reasons[self.by[ref] ] = reason
        self.count = self.count + 1
        if self.count == 7 then done(table.unpack(self.reasons)) end
      end
    ]], {exits = [[
      local ways = {
        function(exit) coroutine.wrap(exit)() end,
        function(exit) coroutine.wrap(function() pcall(coroutine.wrap(function() pcall(exit) end)) end)() end,
        function(exit) table.sort({3, 2, 1}, function() exit() end) end,
        function(exit) return setmetatable({}, {__index = exit}).x end,
        function(exit) throng.fork(function() pcall(exit) end) throng.sleep(600000) end,
        function(exit) for _ in exit do end end,
        function(exit) string.gsub("x", "x", function() pcall(exit) while true do pcall(error) end end) end,
      }
      function Me:init(i)
        ways[i](function() throng.exit("way " .. i) end)
        error "it went on"
      end
    ]]})}
    for i = 1, 7 do assert.are.equal("way " .. i, reasons[i]) end
  end)

  it("in init ends it without terminate; the reason is kept", function()
    assert.are.same({"early", "none"}, {run([[
      function Me:init() self.heard = "none" throng.spawn_with({monitor = true}, "early", throng.self()) end
      function Me:on_terminated() self.heard = "terminate" end
      function Me:on_down(_, reason) done(reason, self.heard) end
    ]], {early = [[
      function Me:init(root) self.root = root throng.exit "early" end
      function Me:terminate() self.root:send "terminated" end
    ]]})})
  end)

  it("with a reason that can't be sent is an error, and the actor lives", function()
    assert.are.same({true, "pong"}, {run([[
      function Me:init()
        local p = throng.spawn "odd"
        done(p:ask "odd", p:ask "ping")
      end
    ]], {odd = [[
      function Me:on_odd() return try(throng.exit, print).message:find "function" ~= nil end
      function Me:on_ping() return "pong" end
    ]]})})
  end)

  it("closes to-be-closed variables of the handler", function()
    assert.are.same({{"inner", "outer", "terminate"}}, {run([[
      function Me:init() throng.spawn_with({monitor = true}, "closing", throng.self()):send "go" self.order = {} end
      function Me:on_closed(what) table.insert(self.order, what) end
      function Me:on_down() done(self.order) end
    ]], {closing = [[
      function Me:init(root) self.root = root end
      local function closer(self, what)
        return setmetatable({}, {__close = function() self.root:send("closed", what) end})
      end
      function Me:on_go()
        local a <close> = closer(self, "outer")
        do
          local b <close> = closer(self, "inner")
          throng.exit "x"
        end
      end
      function Me:terminate() self.root:send("closed", "terminate") end
    ]]})})
  end)
end)

describe("a crash", function()
  it("runs terminate with the error, and is counted", function()
    local terminated, reason = table.unpack(ends [[pid:send "crash"]])
    assert.matches("ending%.lua:4: ouch", terminated)
    assert.are.equal(terminated, reason)
  end)

  it("is logged once, with who, what and the traceback", function()
    run [[
      function Me:init()
        throng.spawn_with({monitor = true, name = "unlucky"}, "ending", throng.self()):send "crash"
      end
      function Me:on_terminated() end
      function Me:on_down() done() end
    ]]
    local err = scenario.last.err
    assert.matches("error %[?unlucky <1%.1>%]?.*crashed in ending.*ouch", err)
    assert.matches("stack traceback:", err, 1, true)
    assert.are.equal(1, select(2, err:gsub("crashed in", "")))
  end)

  it("in terminate ends the actor all the same; the first reason stands", function()
    assert.are.same({"first"}, {run([[
      function Me:init() throng.spawn_with({monitor = true}, "bad"):send "go" end
      function Me:on_down(_, reason) done(reason) end
    ]], {bad = [[
      function Me:on_go() throng.exit "first" end
      function Me:terminate() error "second" end
    ]]})})
  end)

  it("in a fork is the actor's", function()
    local message = run([[
      function Me:init() throng.spawn_with({monitor = true}, "forking"):send "go" end
      function Me:on_down(_, reason) done(reason.message) end
    ]], {forking = [[
      function Me:on_go()
        throng.fork(function() error "in the fork" end)
        throng.sleep(600000)
      end
    ]]})
    assert.matches("forking%.lua:2: in the fork", message)
  end)

  it("is counted among the crashed and the exited; an exit among the exited only", function()
    assert.are.same({1, 2}, {run [[
      function Me:init()
        self.before, self.count = throng.stats(), 0
        throng.spawn_with({monitor = true}, "ending", throng.self()):send "crash"
        throng.spawn_with({monitor = true}, "ending", throng.self()):send "exit_with"
      end
      function Me:on_terminated() end
      function Me:on_down()
        self.count = self.count + 1
        if self.count < 2 then return end
        local now = throng.stats()
        done(now.crashed - self.before.crashed, now.exited - self.before.exited)
      end
    ]]})
  end)
end)

describe("exit within terminate", function()
  it("ends it there; the first reason stands", function()
    assert.are.same({"first"}, {run([[
      function Me:init() throng.spawn_with({monitor = true}, "twice"):send "go" end
      function Me:on_down(_, reason) done(reason) end
    ]], {timeout = 5, twice = [[
      function Me:on_go() throng.exit "first" end
      function Me:terminate() throng.exit "second" end
    ]]})})
  end)
end)

describe("stop", function()
  it("runs terminate with its reason, normal without one, and says whether there was anybody to stop", function()
    assert.are.same({"normal", "normal"}, ends "throng.stop(pid)")
    assert.are.same({"enough", "enough"}, ends [[throng.stop(pid, "enough")]])
    assert.are.same({true, false, "dead"}, {run [[
      function Me:init()
        local p = throng.spawn_with({monitor = true}, "plain")
        self.good = throng.stop(p)
      end
      function Me:on_down(p) done(self.good, throng.stop(p)) end
    ]]})
  end)

  it("lets a handler that computes finish, and its asker gets the answer", function()
    assert.are.same({"finished", "stopped"}, {run([[
      function Me:init()
        throng.register "gate"
        self.pid = throng.spawn_with({monitor = true}, "computing")
        throng.fork(function() self.answer = self.pid:ask "compute" end)
        throng.fork(function()
          spin(function() return throng.whereis "held" end)
          throng.stop(self.pid, "stopped")
          throng.unregister "gate"
        end)
      end
      function Me:on_down(_, reason) throng.after(1, "look", reason) end
      function Me:on_look(reason) done(self.answer, reason) end
    ]], {computing = [[
      function Me:on_compute() scene.on_hold() return "finished" end
    ]]})})
  end)

  it("cancels a handler that waits, which ends with its variables closed; its asker gets down", function()
    assert.are.same({"down", "stopped", {"closed", "terminate"}}, {run([[
      function Me:init()
        self.order = {}
        self.pid = throng.spawn_with({monitor = true}, "waiting", throng.self())
        throng.fork(function() self.e = try(throng.ask, self.pid, "wait") end)
      end
      function Me:on_waits() throng.stop(self.pid, "stopped") end
      function Me:on_closed(what) table.insert(self.order, what) end
      function Me:on_down() throng.after(1, "look") end
      function Me:on_look() done(self.e.code, self.e.reason, self.order) end
    ]], {waiting = [[
      function Me:init(root) self.root = root end
      function Me:on_wait()
        local c <close> = setmetatable({}, {__close = function() self.root:send("closed", "closed") end})
        self.root:send "waits"
        throng.sleep(600000)
        self.root:send("closed", "went on")
      end
      function Me:terminate() self.root:send("closed", "terminate") end
    ]]})})
  end)

  it("comes before the messages that wait, which are dead letters", function()
    assert.are.same({"stopped", 10}, {run([[
      function Me:init()
        local p = throng.spawn_with({monitor = true}, "box")
        p:ask "ping"
        self.before = throng.stats().dead_pid
        hold(p)
        for i = 1, 10 do p:send("letter", i) end
        throng.stop(p, "stopped")
        release()
      end
      function Me:on_down(_, reason) done(reason, throng.stats().dead_pid - self.before) end
    ]], {box = [[
      Me.on_hold = scene.on_hold
      function Me:on_ping() end
      function Me:on_letter() error "a letter was handled" end
    ]]})})
  end)

  it("is no way to trap: one that traps exits stops too", function()
    assert.are.same({"stopped"}, {run([[
      function Me:init()
        local p = throng.spawn_with({monitor = true}, "trapping")
        p:ask "ping"
        throng.stop(p, "stopped")
      end
      function Me:on_down(_, reason) done(reason) end
    ]], {trapping = [[
      function Me:init() throng.trap_exits(true) end
      function Me:on_exit() end
      function Me:on_ping() end
    ]]})})
  end)

  it("of oneself ends after the handler", function()
    assert.are.same({{"after stop", "terminate x"}}, {run([[
      function Me:init() self.order = {} throng.spawn_with({monitor = true}, "own", throng.self()):send "go" end
      function Me:on_told(what) table.insert(self.order, what) end
      function Me:on_down() done(self.order) end
    ]], {own = [[
      function Me:init(root) self.root = root end
      function Me:on_go()
        throng.stop(throng.self(), "x")
        self.root:send("told", "after stop")
      end
      function Me:terminate(reason) self.root:send("told", "terminate " .. reason) end
    ]]})})
  end)

  it("then kill ends even a loop without end", function()
    assert.are.same({"killed"}, {run [[
      function Me:init()
        local p = throng.spawn_with({monitor = true}, "plain")
        p:ask "ping"
        p:send "compute"
        throng.stop(p, "never")
        throng.kill(p)
      end
      function Me:on_down(_, reason) done(reason) end
    ]]})
  end)

  it("runs terminate to its end, though it asks, sleeps and sends", function()
    assert.are.same({"pong", "stopped"}, {run([[
      function Me:init()
        local p = throng.spawn_with({monitor = true}, "thorough", throng.self(), throng.spawn "plain")
        p:ask "ping"
        throng.stop(p, "stopped")
      end
      function Me:on_told(what) self.what = what end
      function Me:on_down(_, reason) done(self.what, reason) end
    ]], {thorough = [[
      function Me:init(root, other) self.root, self.other = root, other end
      function Me:on_ping() end
      function Me:terminate()
        throng.sleep(2)
        self.root:send("told", self.other:ask "ping")
        throng.sleep(1)
      end
    ]]})})
  end)
end)

describe("kill", function()
  it("ends at once, without terminate", function()
    assert.are.same({"nil", "killed"}, ends "throng.kill(pid)")
  end)

  it("ends a loop, a loop of pcalls, coroutines in coroutines, a sort, a sleep, an ask, a terminate", function()
    assert.are.same({7, {killed = 7}}, {run([[
      function Me:init()
        self.reasons, self.count, self.ready = {}, 0, {}
        for i = 1, 7 do throng.spawn_with({monitor = true}, "stubborn", i, throng.self()) end
      end
      function Me:on_ready(pid) throng.kill(pid) end
      function Me:on_down(_, reason)
        self.reasons[reason] = (self.reasons[reason] or 0) + 1
        self.count = self.count + 1
        if self.count == 7 then done(self.count, self.reasons) end
      end
    ]], {stubborn = [[
      local function nest() local f = coroutine.wrap(nest) while true do pcall(f) end end
      local ways = {
        function() while true do end end,
        function() while true do pcall(function() while true do end end) end end,
        function() local function forever() while true do pcall(error) end end
          coroutine.wrap(function() coroutine.wrap(function() pcall(forever) while true do end end)() end)() end,
        function() table.sort({3, 2, 1}, function() while true do pcall(error) end end) end,
        function() while true do pcall(throng.sleep, 600000) end end,
        function() while true do pcall(throng.ask, throng.spawn "plain", "hang") end end,
        function() throng.exit "x" end,
      }
      function Me:init(i, root) self.i, self.root = i, root throng.self():send "go" end
      function Me:on_go()
        if self.i < 7 then self.root:send("ready", throng.self()) end
        ways[self.i]()
      end
      function Me:terminate()
        self.root:send("ready", throng.self())
        while true do end
      end
    ]]})})
  end)

  it("of oneself does not return and can't be caught", function()
    assert.are.same({"killed", "none"}, {run([[
      function Me:init() self.heard = "none" throng.spawn_with({monitor = true}, "own", throng.self()) end
      function Me:on_went_on() self.heard = "it went on" end
      function Me:on_down(_, reason) done(reason, self.heard) end
    ]], {own = [[
      function Me:init(root)
        pcall(function() throng.kill(throng.self()) end)
        root:send "went_on"
      end
    ]]})})
  end)

  it("of a dead one says so", function()
    assert.are.same({true, false, "dead"}, {run [[
      function Me:init()
        self.good = throng.kill(throng.spawn_with({monitor = true}, "plain"))
      end
      function Me:on_down(p) done(self.good, throng.kill(p)) end
    ]]})
  end)
end)

describe("the node", function()
  it("ends with the code that shutdown was given, after every terminate", function()
    local r = scenario.start({[[
      function Me:init()
        for i = 1, 20 do throng.spawn_with({wait = 60000}, "printing", i) end
        throng.shutdown(7)
      end
      function Me:terminate(reason) print("root", reason) end
    ]], printing = [[
      function Me:init(i) self.i = i end
      function Me:terminate(reason) print("ended", reason, self.i) end
    ]]}):wait()
    assert.are.equal(7, r.code)
    assert.are.equal(21, #r.lines)
    table.sort(r.lines)
    assert.matches("^ended\tshutdown\t", r.lines[1])
    assert.are.equal("root\tshutdown", r.lines[21])
  end)

  it("kills at shutdown who does not come to an end within stop.timeout", function()
    local r = scenario.start({[[
      function Me:init()
        throng.spawn_with({wait = 60000}, "stubborn")
        throng.spawn "looping"
        throng.shutdown(3)
      end
    ]], stubborn = "function Me:init() end function Me:terminate() while true do end end",
    looping = "function Me:init() while true do pcall(error) end end",
    options = {"--set", "stop.timeout=20"}}):wait()
    assert.are.equal(3, r.code)
  end)

  it("ends with its root: 0 for normal, 1 and one line for another reason or a crash", function()
    for _, case in ipairs {{"throng.exit()", 0}, {"throng.exit 'normal'", 0},
                           {"throng.exit 'broke'", 1, "^throng: .*broke"}, {"error 'broke'", 1, "^throng: .*broke"},
                           {"throng.kill(throng.self())", 1, "^throng: .*killed"}} do
      local r = scenario.start({([[function Me:init() throng.self():send "go" end
        function Me:on_go() %s end]]):format(case[1]), options = {"--log", "off"}}):wait()
      assert.are.equal(case[2], r.code, case[1])
      if case[3] then assert.matches(case[3], r.err) else assert.are.equal("", r.err) end
    end
  end)

  it("hands a signal to the root that has on_interrupt, which decides", function()
    for name, code in pairs {INT = 11, TERM = 12, HUP = 13} do
      local n = scenario.start [[
        function Me:init() print "ready" end
        function Me:on_interrupt(signal) throng.shutdown(({INT = 11, TERM = 12, HUP = 13})[signal] or 99) end
      ]]
      n:read_until "ready"
      n:signal(name)
      assert.are.equal(code, n:wait().code)
    end
  end)

  it("ends by itself at a signal, in order, when the root has no on_interrupt", function()
    local n = scenario.start [[
      function Me:init() print "ready" end
      function Me:terminate(reason) print("terminated", reason) end
    ]]
    n:read_until "ready"
    n:signal "TERM"
    local r = n:wait()
    assert.are.equal(128 + 15, r.code)
    assert.are.equal("terminated\tshutdown", r.lines[#r.lines])
  end)

  it("ends at once at a second signal", function()
    local n = scenario.start {[[
      function Me:init() print "ready" end
      function Me:terminate() print "first" while true do end end
    ]], options = {"--set", "stop.timeout=600000"}}
    n:read_until "ready"
    n:signal "INT"
    n:read_until "first"
    n:signal "INT"
    local r = n:wait(15)
    assert.are.equal(128 + 2, r.code)
  end)

  it("uses no processor time while nothing happens", function()
    local used = scenario.run {[[
      function Me:init()
        for _ = 1, 100 do throng.spawn "idle" end
        throng.after(20, "first")
      end
      function Me:on_first() self.cpu = throng.stats().cpu_ns throng.after(300, "second") end
      function Me:on_second() done(throng.stats().cpu_ns - self.cpu) end
    ]], idle = ""}
    assert.is_true(used < 30e6 * node.slow, ("%g ms of 300"):format(used / 1e6)) -- a tenth; a spinning worker takes all
  end)
end)
