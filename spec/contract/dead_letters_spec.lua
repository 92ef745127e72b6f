--- Nothing is lost in silence: what can't be delivered is counted and logged, and told where it can be known at once.
local scenario = require "spec.support.scenario"

local MODULES <const> = {
  plain = "function Me:on_ping() return 'pong' end function Me:on_slow(ms) throng.sleep(ms) return 'late' end",
}

local function run(text, more)
  local o = {text}
  for key, value in pairs(MODULES) do o[key] = value end
  for key, value in pairs(more or {}) do o[key] = value end
  return scenario.run(o)
end

describe("a dead letter", function()
  it("is a message that nobody has a handler for: counted and logged with name, values, sender and receiver", function()
    assert.are.same({1, "pong"}, {run [[
      function Me:init()
        local p, before = throng.spawn "plain", throng.stats().dead_handler
        p:send("dance", 1, "two", {x = {1, 2}}, nil, 1.5)
        local pong = p:ask "ping"
        done(throng.stats().dead_handler - before, pong)
      end
    ]]})
    assert.matches('warn  dead letter: dance(1, "two", {x = {1, 2}}, nil, 1.5) from <0.1> to <1.1>: '
                   .. 'it has no such handler', scenario.last.err, 1, true)
  end)

  it("is none when the behaviour has on_other, which may also answer", function()
    assert.are.same({"dance", 1, 0}, {run([[
      function Me:init()
        local before = throng.stats()
        local name, n = throng.spawn "other":ask("dance", 1)
        local now = throng.stats()
        done(name, n, now.dead_handler - before.dead_handler)
      end
    ]], {other = "function Me:on_other(...) return ... end"})})
  end)

  it("is an ask too, which is told", function()
    assert.are.same({1, "no_handler"}, {run [[
      function Me:init()
        local p, before = throng.spawn "plain", throng.stats().dead_handler
        local e = try(throng.ask, p, "dance")
        done(throng.stats().dead_handler - before, e.code)
      end
    ]]})
  end)

  it("is a timer's message without a handler, and a down or exit that nobody hears", function()
    assert.are.same({3}, {run([[
      function Me:init()
        self.before = throng.stats().dead_handler
        throng.spawn_with({monitor = true}, "deaf")
        throng.after(1, "look")
      end
      function Me:on_look()
        if throng.stats().dead_handler - self.before < 3 then return throng.after(1, "look") end
        done(throng.stats().dead_handler - self.before)
      end
      function Me:on_down() end
    ]], {deaf = [[
      function Me:init()
        throng.trap_exits(true)
        throng.after(1, "nothing")
        throng.kill(throng.spawn_with({monitor = true, link = true}, "plain"))
      end
    ]]})})
    assert.matches('dead letter: down%("killed"%) from <%d+%.%d+> to <%d+%.%d+>: it has no such handler',
                   scenario.last.err)
    assert.matches('dead letter: exit%("killed"%) from', scenario.last.err)
  end)

  it("is cut short in the log, however large and deep it was", function()
    run [[
      function Me:init()
        local p = throng.spawn "plain"
        local deep = {}
        for i = 1, 50 do deep = {deep} end
        p:send("dance", ("x"):rep(1000000), deep)
        p:ask "ping"
        done()
      end
    ]]
    local line = scenario.last.err:match "[^\n]*dead letter: dance[^\n]*"
    assert.is_true(#line < 500, #line)
  end)

  it("shows no control characters in the log", function()
    run [[
      function Me:init()
        local p = throng.spawn "plain"
        p:send("dance", "a\nb\27[31mc\0d")
        p:ask "ping"
        done()
      end
    ]]
    local line = scenario.last.err:match "[^\n]*dead letter: dance[^\n]*"
    assert.matches("it has no such handler", line, 1, true)
    assert.is_nil(line:find "%c")
  end)

  it("does not flood the log: a storm is counted whole and logged in part", function()
    assert.are.equal(10000, run [[
      function Me:init()
        throng.kill(throng.spawn_with({monitor = true}, "plain"))
      end
      function Me:on_down(p)
        local before = throng.stats().dead_pid
        for i = 1, 10000 do p:send("x", i) end
        done(throng.stats().dead_pid - before)
      end
    ]])
    local lines = select(2, scenario.last.err:gsub("dead letter", ""))
    assert.is_true(lines >= 10 and lines < 500, lines)
  end)
end)

describe("throng.dead_letters", function()
  local HEARS <const> = [[
    function Me:on_dead_letter(letter) note(self, letter) if self.heard then self:heard(letter) end end
  ]]

  it("tells a subscriber of each letter: to whom, from whom, name, values, and why", function()
    local letters, sender = run(HEARS .. [[
      function Me:init()
        self.dead = throng.spawn_with({monitor = true}, "plain")
        throng.kill(self.dead)
      end
      function Me:on_down()
        local p = throng.spawn "busy"
        self.names = {[self.dead] = "dead", [p] = "busy", [throng.self()] = "me"}
        assert(throng.dead_letters(true) == true)
        self.dead:send("one", 1, "two", {x = {1, 2}}, nil, 1.5, nil)
        p:send("dance", p)
        try(throng.ask, p, "sing")
        hold(p)
        try(throng.ask_within, 1, p, "late")
        release()
      end
      function Me:heard(letter)
        self.sender = throng.sender()
        if letter.reason ~= "late" then return end
        for _, noted in ipairs(self.notes) do
          noted[1].to, noted[1].from = self.names[noted[1].to], self.names[noted[1].from]
        end
        done(self.notes, self.sender)
      end
    ]], {busy = "Me.on_hold = scene.on_hold function Me:on_late() return 'late' end", options = {"--log", "off"}})
    assert.are.equal("nil", sender) -- from nobody
    assert.are.equal(4, #letters)
    local values = letters[1][1].values
    assert.are.same({1, "two", {x = {1, 2}}, 1.5, 6}, {values["1"], values["2"], values["3"], values["5"], values.n})
    letters[1][1].values = nil
    assert.are.same({to = "dead", from = "me", name = "one", reason = "dead"}, letters[1][1])
    assert.are.same({"busy", "me", "dance", "no_handler", 1}, {letters[2][1].to, letters[2][1].from, letters[2][1].name,
                                                                letters[2][1].reason, letters[2][1].values.n})
    assert.are.same({"sing", "no_handler"}, {letters[3][1].name, letters[3][1].reason})
    local late = letters[4][1] -- a request that was not begun
    assert.are.same({"busy", "me", "late", "late", 0}, {late.to, late.from, late.name, late.reason, late.values.n})
  end)

  it("tells of what did not fit into a mailbox, of a timer's letter, and of a down nobody hears", function()
    assert.are.same({{{"down", "no_handler", true}, {"full", "full", false}, {"nothing", "no_handler", true}}}, {run(HEARS .. [[
      function Me:init()
        throng.dead_letters(true)
        self.deaf = throng.spawn "deaf"
      end
      function Me:heard()
        if #self.notes == 2 then
          local small = throng.spawn_with({mailbox = {limit = 1}}, "small")
          small:ask "ping"
          hold(small)
          small:send "ping" small:send "full"
          release()
        elseif #self.notes == 3 then
          local found = {}
          for i, noted in ipairs(self.notes) do
            found[i] = {noted[1].name, noted[1].reason, noted[1].to == self.deaf}
          end
          table.sort(found, function(a, b) return a[1] < b[1] end)
          done(found)
        end
      end
    ]], {deaf = [[
      function Me:init()
        throng.after(1, "nothing")
        throng.kill(throng.spawn_with({monitor = true}, "plain"))
      end
    ]], small = "Me.on_hold = scene.on_hold function Me:on_ping() end"})})
  end)

  it("subscribes and unsubscribes oneself or another, each once", function()
    assert.are.same({true, true, 1, true, true, false, 3, 1}, {run([[
      function Me:on_dead_letter(letter) note(self, letter) end
      function Me:init()
        self.dead = throng.spawn_with({monitor = true}, "plain")
        throng.kill(self.dead)
      end
      function Me:on_down()
        local other = throng.spawn "hears"
        local one, two = throng.dead_letters(true), throng.dead_letters(throng.self())
        throng.dead_letters(other)
        self.dead:send "both"
        local mine = other:ask "count"
        local off, other_off, again = throng.dead_letters(false), throng.dead_letters(other, false),
                                      throng.dead_letters(other, false)
        self.dead:send "neither"
        throng.dead_letters(other, true)
        self.dead:send "other" self.dead:send "other"
        self.found = {one, two, mine, off, other_off, again, other:ask "count"}
        throng.send(throng.self(), "look")
      end
      function Me:on_look()
        self.found[8] = #self.notes
        done(table.unpack(self.found))
      end
    ]], {hears = [[
      function Me:on_dead_letter() self.n = (self.n or 0) + 1 end
      function Me:on_count() return self.n end
    ]]})})
  end)

  it("takes 64 subscribers, none that is dead, and nothing else than pids and booleans", function()
    assert.are.same({false, "dead", 64, false, "limit", true, true, true, true}, {run [[
      function Me:init()
        self.dead = throng.spawn_with({monitor = true}, "plain")
        throng.kill(self.dead)
      end
      function Me:on_down()
        local wrong, why = throng.dead_letters(self.dead)
        local count, good, limit = 0, nil, nil
        repeat
          good, limit = throng.dead_letters(throng.spawn "plain")
          if good then count = count + 1 end
        until not good
        done(wrong, why, count, good, limit, try(throng.dead_letters) ~= nil, try(throng.dead_letters, 5) ~= nil,
             try(throng.dead_letters, throng.self(), 5) ~= nil, try(throng.dead_letters, throng.after(1, "x")) ~= nil)
      end
    ]]})
  end)

  it("forgets a subscriber that dies, and tells the others on", function()
    assert.are.same({3, 0}, {run([[
      function Me:on_dead_letter(letter) self.count = (self.count or 0) + 1 end
      function Me:init()
        self.dead = throng.spawn_with({monitor = true}, "plain")
        throng.dead_letters(self.dead)
        throng.dead_letters(true)
        throng.kill(self.dead)
      end
      function Me:on_down()
        local before = throng.stats().dead_notice
        for i = 1, 3 do self.dead:send("x", i) end
        self.lost = throng.stats().dead_notice - before
        throng.send(throng.self(), "look")
      end
      function Me:on_look() done(self.count, self.lost) end
    ]])})
  end)

  it("makes no dead letter of what a subscriber does not take: it is counted", function()
    assert.are.same({10, 9, 0, 1}, {run([[
      function Me:init()
        self.dead = throng.spawn_with({monitor = true}, "plain")
        throng.kill(self.dead)
      end
      function Me:on_down()
        local small = throng.spawn_with({mailbox = {limit = 1}}, "small")
        small:ask "ping"
        hold(small)
        throng.dead_letters(small)
        local before = throng.stats()
        for i = 1, 10 do self.dead:send("x", i) end
        local now = throng.stats()
        throng.dead_letters(small, false)
        release()
        local count
        repeat
          local e = try(function() count = small:ask "ping" end)
        until not e and count > 0
        done(now.dead_pid - before.dead_pid, now.dead_notice - before.dead_notice, now.dead_full - before.dead_full, count)
      end
    ]], {small = [[
      Me.on_hold = scene.on_hold
      function Me:init() self.n = 0 end
      function Me:on_dead_letter() self.n = self.n + 1 end
      function Me:on_ping() return self.n end
    ]]})})
  end)

  it("makes no dead letter of a notice that nobody has a handler for; the log says who is deaf", function()
    assert.are.same({1, 1, 0}, {run [[
      function Me:init()
        self.dead = throng.spawn_with({monitor = true}, "plain")
        throng.kill(self.dead)
      end
      function Me:on_down()
        self.deaf, self.before = throng.spawn "plain", throng.stats()
        throng.dead_letters(self.deaf)
        self.dead:send "x"
        self.deaf:ask "ping"
        local now = throng.stats()
        done(now.dead_pid - self.before.dead_pid, now.dead_notice - self.before.dead_notice,
             now.dead_handler - self.before.dead_handler)
      end
    ]]})
    assert.matches("dead letter: dead_letter%({.*}%) from <nobody> to <%d+%.%d+>: it has no such handler",
                   scenario.last.err)
  end)

  it("does not run wild when subscribers lose letters over the letters they hear of", function()
    local told, lost = run([[
      function Me:init()
        self.dead = throng.spawn_with({monitor = true}, "plain")
        throng.kill(self.dead)
      end
      function Me:on_down()
        for _ = 1, 2 do throng.dead_letters(throng.spawn("careless", self.dead)) end
        self.dead:send "x"
        throng.after(1, "look")
      end
      function Me:on_look() -- two for one: without an end to it, it doubles with each round
        local lost = throng.stats().dead_notice
        if lost == 0 then return throng.after(1, "look") end
        done(throng.stats().dead_pid - lost, lost)
      end
    ]], {careless = [[
      function Me:init(dead) self.dead = dead end
      function Me:on_dead_letter() self.dead:send "echo" end
    ]], options = {"--log", "off"}})
    assert(told >= 1000 and told < 20000, told)
    assert(lost > 0)
  end)

  it("tells a storm whole, to whoever has room for it", function()
    assert.are.same({5000, 5000}, {run([[
      function Me:on_dead_letter(letter)
        self.count = (self.count or 0) + 1
        assert(letter.values[1] == self.count)
        if letter.values[1] == 5000 then done(self.count, throng.stats().dead_pid) end
      end
      function Me:init()
        self.dead = throng.spawn_with({monitor = true}, "plain")
        throng.kill(self.dead)
      end
      function Me:on_down()
        throng.dead_letters(true)
        throng.spawn("storm", self.dead)
      end
    ]], {storm = "function Me:init(dead) for i = 1, 5000 do dead:send('x', i) end end", options = {"--log", "off"}})})
  end)

  it("tells of letters larger and deeper than a subscriber could want, cut", function()
    assert.are.same({"dance", true, 3, true, "{...}", "nil", "nil"}, {run(HEARS .. [[
      function Me:init()
        throng.dead_letters(true)
        local deep = {}
        for i = 1, 99 do deep = {deep} end
        local p = throng.spawn "plain"
        p:send("dance", deep, ("x"):rep(1000000), 3)
        p:send("dance", "small")
      end
      function Me:heard(letter)
        if #self.notes < 2 then return end
        local first, at = self.notes[1][1], self.notes[1][1].values[1]
        while type(at) == "table" do at = at[1] end
        done(first.name, first.cut, first.values.n, #first.values[2] > 3000 and #first.values[2] < 4000, at,
             first.values[3], letter.cut)
      end
    ]])})
  end)
end)

describe("throng.stats", function()
  it("counts what is sent, handled, asked, spawned and ended, exactly", function()
    assert.are.same({sent = 10, asks = 5, spawned = 3, exited = 2, actors = 2}, run [[
      function Me:init()
        local ps = {throng.spawn_with({wait = 60000}, "plain")}
        self.p = ps[1]
        self.before = throng.stats()
        for i = 1, 10 do self.p:send "slow_not" end
        for i = 1, 5 do self.p:ask "ping" end
        local a, b = throng.spawn "plain", throng.spawn "plain"
        throng.spawn_with({wait = 60000}, "plain")
        self.left, self.sent = 2, throng.stats().sent
        throng.monitor(a) throng.monitor(b)
        throng.kill(a) throng.kill(b)
      end
      function Me:on_down()
        self.left = self.left - 1
        if self.left > 0 then return end
        local now, found = throng.stats(), {}
        for _, key in ipairs {"asks", "spawned", "exited"} do found[key] = now[key] - self.before[key] end
        found.sent = self.sent - self.before.sent
        found.actors = now.actors - 1 -- without the root
        done(found)
      end
    ]])
  end)

  it("has whole numbers under the names that are promised", function()
    assert.are.same({}, run [[
      function Me:init()
        local wrong, stats = {}, throng.stats()
        for _, key in ipairs {"messages", "sent", "asks", "spawned", "exited", "crashed", "preempted", "stolen",
                              "slices", "skipped", "deadlocks", "dropped", "waiting", "dead_pid", "dead_full",
                              "dead_handler", "dead_late", "dead_unreachable", "dead_notice",
                              "net_sent", "net_received", "net_bytes_out", "net_bytes_in", "net_unconfirmed",
                              "actors", "workers", "rss_bytes", "rss_peak_bytes", "cpu_ns"} do
          if math.type(stats[key]) ~= "integer" or stats[key] < 0 then wrong[#wrong + 1] = key end
        end
        if stats.rss_bytes > stats.rss_peak_bytes or stats.actors ~= 1 or stats.workers < 1 then
          wrong[#wrong + 1] = "sense"
        end
        done(wrong)
      end
    ]])
  end)
end)

describe("throng.log", function()
  local function lines(text, more)
    local o = {text}
    for key, value in pairs(more or {}) do o[key] = value end
    scenario.run(o)
    local found = {}
    for line in scenario.last.err:gmatch "[^\n]+" do found[#found + 1] = line end
    return found
  end

  it("writes one line with time, level, the actor's name and pid, the message, and the fields in order", function()
    local found = lines [[
      function Me:init()
        throng.log.info("nameless")
        throng.register "core"
        throng.log.info("spawned", {guy = throng.self(), b = "with blanks", a = 1, c = true, d = 1.5, e = 'quo"te',
                                    f = ""})
        throng.log.warn("careful")
        throng.log.error("bad")
        done()
      end
    ]]
    assert.are.equal(4, #found)
    assert.matches("^%d%d%d%d%-%d%d%-%d%dT%d%d:%d%d:%d%d%.%d%d%dZ info  <0%.1> nameless$", found[1])
    assert.matches('info  core <0.1> spawned a=1 b="with blanks" c=true d=1.5 e="quo\\"te" f="" guy=<0.1>',
                   found[2], 1, true)
    assert.matches("warn  core <0.1> careful", found[3], 1, true)
    assert.matches("error core <0.1> bad", found[4], 1, true)
  end)

  it("keeps to the level", function()
    local text = [[
      function Me:init()
        for _, level in ipairs {"debug", "info", "warn", "error"} do throng.log[level]("at " .. level) end
        done()
      end
    ]]
    for level, count in pairs {info = 3, warn = 2, error = 1, off = 0} do
      local found = 0
      for _, line in ipairs(lines(text, {options = {"--log", level}})) do
        if line:find " at " then found = found + 1 end
      end
      assert.are.equal(count, found, level)
    end
    local debugs = table.concat(lines(text, {options = {"--log", "debug"}}), "\n")
    assert.matches("at debug", debugs)
  end)

  it("keeps one message one line, whatever is in it", function()
    local found = lines [[
      function Me:init()
        throng.log.info("two\nlines and \27[31mcolour", {x = "a\nb"})
        throng.log.info(nil)
        throng.log.info({})
        throng.log.info(42, nil)
        done()
      end
    ]]
    local starts = 0
    for _, line in ipairs(found) do
      if line:find "^%d%d%d%d%-" then starts = starts + 1 end
      assert.is_nil(line:find "\27")
    end
    assert.are.equal(4, starts)
  end)

  it("refuses what are no fields, also when the level is off", function()
    assert.are.same({true, true, true}, {run([[
      function Me:init()
        done(try(throng.log.info, "x", 5) ~= nil, try(throng.log.info) ~= nil, try(throng.log.debug, "x", "y") ~= nil)
      end
    ]])})
  end)

  it("does not mix the lines of many actors", function()
    local found = lines([[
      function Me:init()
        self.left = 20
        for i = 1, 20 do throng.spawn("talker", throng.self(), i) end
      end
      function Me:on_ready() self.left = self.left - 1 if self.left == 0 then done() end end
    ]], {talker = [[
      function Me:init(root, i)
        for n = 1, 50 do throng.log.info(("abc"):rep(i), {n = n}) end
        root:send "ready"
      end
    ]]})
    assert.are.equal(1000, #found)
    for _, line in ipairs(found) do
      local text, n = line:match "Z info  <%d+%.%d+> (%a+) n=(%d+)$"
      assert.is_truthy(text and #text % 3 == 0 and tonumber(n) <= 50, line)
    end
  end)

  it("leaves print to standard output, a line at a time", function()
    lines [[
      function Me:init()
        print("a", 1, nil, true)
        print()
        done()
      end
    ]]
    assert.are.equal("a\t1\tnil\ttrue", scenario.last.lines[1])
    assert.are.equal("", scenario.last.lines[2])
  end)
end)
