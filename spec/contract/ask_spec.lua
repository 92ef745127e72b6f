--- Ask: every one of them ends, with the reply, an error, down or timeout.
local scenario = require "spec.support.scenario"

local MODULES <const> = {
  echo = [[
    function Me:on_echo(...) return ... end
    function Me:on_nothing() end
    function Me:on_raise(e) error(e) end
    function Me:on_raise_plain(e) error(e, 0) end
    function Me:on_function() return {list = {1, {call = print}}} end
    function Me:on_nil_function() return 1, nil, print end
    function Me:on_hang() throng.sleep(600000) end
    function Me:on_compute() while true do end end
    Me.on_hold = scene.on_hold
    function Me:on_late(ms, value) throng.sleep(ms) return value end
    function Me:on_leave(reason) throng.exit(reason) end
    function Me:on_count() self.count = (self.count or 0) + 1 return self.count end
  ]],
  -- Asks for its parent: tells what came of it.
  asker = [[
    Me.concurrent = true -- it answers a ping once its question is asked
    function Me:on_ask(ms, pid, ...)
      local got = table.pack(pcall(throng.ask_within, ms, pid, ...))
      throng.parent():send("got", table.unpack(got, 1, got.n))
    end
    function Me:on_ping() return "pong" end
  ]],
}

local function run(text, more)
  local o = {text}
  for key, value in pairs(MODULES) do o[key] = value end
  for key, value in pairs(more or {}) do o[key] = value end
  return scenario.run(o)
end

describe("ask", function()
  it("returns all that the handler returns, nils and nothing too", function()
    assert.are.same({"3: 1 nil x", "0:", "1: nil", "2: false nil"}, {run [[
      local function show(...)
        local text = select("#", ...) .. ":"
        for i = 1, select("#", ...) do text = text .. " " .. tostring((select(i, ...))) end
        return text
      end
      function Me:init()
        local e = throng.spawn "echo"
        done(show(e:ask("echo", 1, nil, "x")), show(e:ask "nothing"), show(e:ask("echo", nil)),
             show(e:ask("echo", false, nil)))
      end
    ]]})
  end)

  it("exists as a method, as throng.ask, and with a time as throng.ask_within", function()
    assert.are.same({1, 2, 3}, {run [[
      function Me:init()
        local e = throng.spawn "echo"
        done(e:ask("echo", 1), throng.ask(e, "echo", 2), throng.ask_within(60000, e, "echo", 3))
      end
    ]]})
  end)

  it("raises what the handler raised, with the remote traceback; the asked dies of it", function()
    local e, is_echo, reason = run [[
      function Me:init()
        self.echo = throng.spawn_with({monitor = true}, "echo")
        self.e = try(throng.ask, self.echo, "raise", "bad luck")
      end
      function Me:on_down(_, reason) done(self.e, self.e.actor == self.echo, reason) end
    ]]
    assert.are.equal("error", e.code)
    assert.matches("echo%.lua:3: bad luck$", e.message)
    assert.matches("echo%.lua:3: in ", e.traceback)
    assert.are.equal("echo", e.behaviour)
    assert.is_true(is_echo)
    assert.are.equal(e.message, reason.message)
    assert.are.equal(e.traceback, reason.traceback)
  end)

  it("raises the code and the fields of an error table that the handler raised", function()
    local e = run [[
      function Me:init()
        done(try(throng.ask, throng.spawn "echo", "raise", {code = "no_money", message = "too dear", price = 12}))
      end
    ]]
    assert.are.same({"no_money", "too dear", 12}, {e.code, e.message, e.price})
    assert.matches("stack traceback", e.traceback)
  end)

  it("raises something readable whatever was raised", function()
    assert.are.same({"error", "error", "error", "error"}, {run [[
      function Me:init()
        local codes = {}
        for i, raised in ipairs {"text", 42, true, {1, 2}} do
          local e = try(throng.ask, throng.spawn "echo", "raise_plain", raised)
          assert(type(e.message) == "string" and #e.message > 0 and tostring(e) == e.message)
          codes[i] = e.code
        end
        done(table.unpack(codes))
      end
    ]]})
  end)

  it("goes on through hops with the first culprit's message and traceback", function()
    local e = run([[
      function Me:init() done(try(throng.ask, throng.spawn("hop", 3), "go")) end
    ]], {hop = [[
      function Me:init(n) self.n = n end
      function Me:on_go()
        if self.n == 0 then error "at the end" end
        return throng.spawn("hop", self.n - 1):ask "go"
      end
    ]]})
    assert.are.equal("error", e.code)
    assert.matches("hop%.lua:3: at the end", e.message)
    assert.matches("hop%.lua:3: in ", e.traceback)
  end)

  it("of a dead pid is down at once, reason noproc", function()
    assert.are.same({"down", "noproc", true}, {run [[
      function Me:init()
        local e = throng.spawn "echo"
        throng.kill(e)
        spin(function() return ended(e) end)
        local x = try(throng.ask, e, "echo", 1)
        done(x.code, x.reason, x.actor == e)
      end
    ]]})
  end)

  it("ends with down and the reason when the asked dies: by exit, kill, stop, crash, link", function()
    local r = {run([[
      function Me:init()
        self.found = {}
        self.n = 0
        for i, way in ipairs {"exit", "kill", "stop", "crash", "link"} do
          local asked = throng.spawn("asked", way)
          throng.spawn("asker2", i, asked, throng.self())
          self[i] = asked
        end
      end
      function Me:on_got(i, e)
        self.found[i] = {e.code, type(e.reason) == "table" and e.reason.message or e.reason, e.actor == self[i]}
        self.n = self.n + 1
        if self.n == 5 then done(table.unpack(self.found)) end
      end
    ]], {asked = [[
      Me.concurrent = true
      function Me:init(way) self.way = way end
      function Me:on_wait() throng.self():send "go" throng.sleep(600000) end
      function Me:on_go()
        if self.way == "exit" then throng.exit "left"
        elseif self.way == "kill" then throng.kill(throng.self())
        elseif self.way == "stop" then throng.stop(throng.self(), "stopped")
        elseif self.way == "crash" then error("crashed", 0)
        else throng.spawn_with({link = true}, "dying", "linked") end
      end
    ]], dying = "function Me:init(reason) throng.exit(reason) end",
    asker2 = [[
      function Me:init(i, asked, root) root:send("got", i, try(throng.ask, asked, "wait")) end
    ]]})}
    assert.are.same({{"down", "left", true}, {"down", "killed", true}, {"down", "stopped", true},
                     {"down", "crashed", true}, {"down", "linked", true}}, r)
  end)

  it("ends with down for all that wait in the mailbox of the one that dies", function()
    assert.are.same({50, {down = 50}, {killed = 50}}, {run [[
      function Me:init()
        local e = throng.spawn "echo"
        self.codes, self.reasons, self.count = {}, {}, 0
        e:send "compute"
        for i = 1, 50 do
          local asker = throng.spawn "asker"
          asker:send("ask", 60000, e, "echo", i)
          asker:ask "ping"
        end
        throng.kill(e)
      end
      function Me:on_got(good, e)
        self.count = self.count + 1
        self.codes[e.code] = (self.codes[e.code] or 0) + 1
        self.reasons[e.reason] = (self.reasons[e.reason] or 0) + 1
        if self.count == 50 then done(self.count, self.codes, self.reasons) end
      end
    ]]})
  end)

  it("of a handler that exits ends with that reason", function()
    assert.are.same({"down", "fed up", "down", "normal"}, {run [[
      function Me:init()
        local a = try(throng.ask, throng.spawn "echo", "leave", "fed up")
        local b = try(throng.ask, throng.spawn "echo", "leave")
        done(a.code, a.reason, b.code, b.reason)
      end
    ]]})
  end)

  it("of a handler that is not there is no_handler; the asked lives", function()
    local code, message, answer = run [[
      function Me:init()
        local e = throng.spawn "echo"
        local x = try(throng.ask, e, "dance")
        done(x.code, x.message, e:ask("echo", 1))
      end
    ]]
    assert.are.equal("no_handler", code)
    assert.matches("on_dance", message)
    assert.are.equal(1, answer)
  end)

  it("of a full mailbox is full at once", function()
    assert.are.same({"full"}, {run [[
      function Me:init()
        local e = throng.spawn_with({mailbox = {limit = 1}}, "echo")
        hold(e)
        while e:send("echo", 2) do end
        done(try(throng.ask, e, "echo", 3).code)
      end
    ]]})
  end)

  it("times out with the code timeout, naming whom, what and how long", function()
    local code, message, is_asked = run [[
      function Me:init()
        local e = throng.spawn "echo"
        local x = try(throng.ask_within, 5, e, "hang")
        done(x.code, x.message, x.message:find(tostring(e), 1, true) ~= nil)
      end
    ]]
    assert.are.equal("timeout", code)
    assert.matches("'hang'", message)
    assert.matches("5 ms", message)
    assert.is_true(is_asked)
  end)

  it("times out though the asked computes without end, and by the node's setting", function()
    assert.are.same({"timeout", "timeout"}, {run([[
      function Me:init()
        local e = throng.spawn "echo"
        local a = try(throng.ask, e, "compute")
        local b = try(throng.ask, e, "echo")
        done(a.code, b.code)
      end
    ]], {options = {"--set", "ask.timeout=10"}})})
  end)

  it("gives the answer to the ask it belongs to: a late one is a dead letter", function()
    assert.are.same({"timeout", "mine", 1}, {run [[
      function Me:init()
        local slow, e = throng.spawn "echo", throng.spawn "echo"
        local before = throng.stats().dead_late
        local x = try(throng.ask_within, 5, slow, "late", 20, "late")
        local mine = e:ask("late", 30, "mine")
        slow:ask("echo")
        done(x.code, mine, throng.stats().dead_late - before)
      end
    ]]})
    assert.matches("dead letter: answer%(\"late\"%).*the asker had given up", scenario.last.err)
  end)

  it("gives nobody the answer for an asker that died", function()
    assert.are.same({"pong", 1}, {run [[
      function Me:init()
        self.e, self.before = throng.spawn "echo", throng.stats()
        local asker = throng.spawn_with({monitor = true}, "asker")
        asker:send("ask", 60000, self.e, "late", 10, "x")
        asker:ask "ping"
        throng.kill(asker)
      end
      function Me:on_down()
        self.e:ask "echo"
        local now = throng.stats()
        done(throng.spawn("asker"):ask "ping", now.dead_late - self.before.dead_late)
      end
    ]]})
  end)

  it("to oneself is an error at once", function()
    assert.matches("itself", run [[
      function Me:init() done(try(throng.ask, throng.self(), "x").message) end
    ]])
  end)

  it("with a question that can't be sent is an error with the path, and nothing was asked", function()
    local message, count = run [[
      function Me:init()
        local e = throng.spawn "echo"
        local x = try(throng.ask, e, "count", {a = {b = {print}}})
        done(x.message, e:ask "count")
      end
    ]]
    assert.matches("argument 1%.a%.b%[1%]", message)
    assert.matches("function", message)
    assert.are.equal(1, count)
  end)

  it("with a reply that can't be sent is an error with the path; the replier goes on", function()
    local a, b, answer = run [[
      function Me:init()
        local e = throng.spawn "echo"
        local a, b = try(throng.ask, e, "function"), try(throng.ask, e, "nil_function")
        done(a, b, e:ask("echo", "alive"))
      end
    ]]
    assert.are.equal("reply", a.code)
    assert.matches("1%.list%[2%]%.call", a.message)
    assert.matches("function", a.message)
    assert.are.equal("reply", b.code)
    assert.matches("3", b.message)
    assert.are.equal("alive", answer)
  end)

  it("can be caught, retried, and used as any call", function()
    assert.are.same({3, 10, "x"}, {run [[
      function Me:init()
        local e = throng.spawn "echo"
        local tries = 0
        repeat
          tries = tries + 1
          local good = pcall(throng.ask, e, tries < 3 and "dance" or "echo", 1)
        until good
        local sum = 0
        for i = 1, 4 do sum = sum + e:ask("echo", i) end
        local t = setmetatable({}, {__index = function(_, key) return e:ask("echo", key) end})
        done(tries, sum, t.x)
      end
    ]]})
  end)

  it("keeps the order with sends to the same actor", function()
    assert.are.same({{1, 2, 3, 4}}, {run([[
      function Me:init()
        local l = throng.spawn "list"
        l:send("add", 1)
        l:ask("add", 2)
        l:send("add", 3)
        done(l:ask("add", 4))
      end
    ]], {list = [[
      function Me:init() self.list = {} end
      function Me:on_add(n) table.insert(self.list, n) return self.list end
    ]]})})
  end)

  it("counts", function()
    assert.are.equal(7, run [[
      function Me:init()
        local e, before = throng.spawn "echo", throng.stats().asks
        for i = 1, 7 do e:ask "echo" end
        done(throng.stats().asks - before)
      end
    ]])
  end)
end)

describe("nested asks", function()
  local HOP <const> = [[
    function Me:on_go(ms, list)
      local mine = table.remove(list, 1)
      if not mine then
        throng.whereis("root"):send "reached"
        throng.sleep(600000)
      end
      local good, x, code = pcall(throng.ask_within, mine, throng.spawn "hop", "go", nil, list)
      if not good then code = x.code end -- else it was answered by one whose time was up at the same moment
      throng.whereis("root"):send("timed_out", mine, code)
      return mine, code
    end
  ]]

  it("with shorter times inside end from the inside, and the outer get their answers", function()
    assert.are.same({"timeout", 30, {30}}, {run([[
      function Me:init()
        self.order = {}
        throng.register "root"
        throng.fork(function()
          local ms, code = throng.ask_within(60000, throng.spawn "hop", "go", nil, {30})
          self.code, self.ms = code, ms
          throng.self():send "finish"
        end)
      end
      function Me:on_reached() end
      function Me:on_timed_out(ms) table.insert(self.order, ms) end
      function Me:on_finish() done(self.code, self.ms, self.order) end
    ]], {hop = HOP})})
  end)

  it("with longer times inside end with the outermost: its deadline goes with the requests", function()
    assert.are.same({{"timeout", "timeout", "timeout"}}, {run([[
      function Me:init()
        self.codes = {}
        throng.register "root"
        throng.fork(function()
          local ms, outer = 10
          repeat -- until the time was enough for all of them to begin
            ms, self.reached = 2 * ms, false
            local good, x, code = pcall(throng.ask_within, ms, throng.spawn "hop", "go", nil, {60000 + ms, 600000 + ms})
            outer = good and code or x.code
          until self.reached
          while not (self.codes[60000 + ms] and self.codes[600000 + ms]) do throng.sleep(1) end
          done {outer, self.codes[60000 + ms], self.codes[600000 + ms]}
        end)
      end
      function Me:on_reached() self.reached = true end
      function Me:on_timed_out(which, code) self.codes[which] = code end
    ]], {hop = HOP})})
  end)

  it("with different times in one concurrent actor end each at its own, in order of the times", function()
    assert.are.same({{5, 10, 15, 20, 25}}, {run([[
      Me.concurrent = true
      function Me:init()
        self.order = {}
        for _, ms in ipairs {20, 5, 25, 15, 10} do throng.self():send("try", ms) end
      end
      function Me:on_try(ms)
        assert(try(throng.ask_within, ms, throng.spawn "silent", "x").code == "timeout")
        table.insert(self.order, ms)
        if #self.order == 5 then
          table.sort(self.order)
          done(self.order)
        end
      end
    ]], {silent = "function Me:on_x() throng.sleep(600000) end"})})
  end)

  it("a hundred deep give their answer", function()
    assert.are.equal(100, run([[
      function Me:init() done(throng.spawn("deep"):ask("go", 100)) end
    ]], {deep = [[
      function Me:on_go(n) return n == 0 and 0 or 1 + throng.spawn("deep"):ask("go", n - 1) end
    ]]}))
  end)
end)

describe("an ask while the asker gets an end", function()
  it("does not keep it: kill, stop and a link's exit end it at once", function()
    assert.are.same({"killed", "stopped", "x"}, {run([[
      function Me:init()
        self.found, self.by, self.ready = {}, {}, 0
        for i = 1, 3 do
          local pid, ref = throng.spawn_with({monitor = true}, "waiting", throng.self())
          self[i], self.by[ref] = pid, i
        end
      end
      function Me:on_ready()
        self.ready = self.ready + 1
        if self.ready < 3 then return end
        throng.kill(self[1])
        throng.stop(self[2], "stopped")
        self[3]:send "never read, for it waits"
        throng.spawn("breaker", self[3])
      end
      function Me:on_down(pid, reason, ref)
        self.found[self.by[ref] ] = reason
        if #self.found == 3 then done(table.unpack(self.found)) end
      end
    ]], {waiting = [[
      function Me:init(root) root:send "ready" throng.spawn("silent"):ask "x" end
    ]], silent = "function Me:on_x() throng.sleep(600000) end", breaker = [[
      function Me:init(pid)
        throng.link(pid)
        throng.exit "x"
      end
    ]]})})
  end)
end)
