--- Links and monitors: who hears of whose end, when, how often, and with which reason.
local scenario = require "spec.support.scenario"

local MODULES <const> = {
  mortal = [[
    function Me:on_die(reason) throng.exit(reason) end
    function Me:on_crash(text) error(text) end
    function Me:on_ping() return "pong" end
    function Me:on_link(pid) throng.link(pid) end
    function Me:on_unlink(pid) throng.unlink(pid) end
  ]],
  dying = "function Me:init(reason) throng.exit(reason) end",
  -- Tells its parent what it hears.
  teller = [[
    function Me:init(trap) throng.trap_exits(trap == true) end
    function Me:on_monitor(pid) throng.monitor(pid) end
    function Me:on_link(pid) throng.link(pid) end
    function Me:on_unlink(pid) throng.unlink(pid) end
    function Me:on_die(reason) throng.exit(reason) end
    function Me:on_ping() return "pong" end
    function Me:on_down(pid, reason) throng.parent():send("heard", "down", reason, pid) end
    function Me:on_exit(pid, reason) throng.parent():send("heard", "exit", reason, pid) end
  ]],
}

local function run(text, more)
  local o = {text}
  for key, value in pairs(MODULES) do o[key] = value end
  for key, value in pairs(more or {}) do o[key] = value end
  return scenario.run(o)
end

describe("a monitor", function()
  it("on a dead pid gives one down at once, with the reason noproc", function()
    assert.are.same({true, "noproc", true, 1}, {run [[
      function Me:init()
        self.dead = throng.spawn "mortal"
        throng.kill(self.dead)
        spin(function() return ended(self.dead) end)
        self.ref = throng.monitor(self.dead)
      end
      function Me:on_down(pid, reason, ref)
        note(self, pid == self.dead, reason, ref == self.ref)
        if #self.notes == 1 then throng.after(5, "look") end
      end
      function Me:on_look()
        local n = self.notes[1]
        done(n[1], n[2], n[3], #self.notes)
      end
    ]]})
  end)

  it("tells the reason as exit was given it, normal without one", function()
    assert.are.same({"starved", {why = "hungry", list = {1, 2, 3}}, 42, false, "normal"}, {run [[
      local reasons = {"starved", {why = "hungry", list = {1, 2, 3}}, 42, false, nil}
      function Me:init()
        self.found, self.count = {}, 0
        for i = 1, 5 do
          local _, ref = throng.spawn_with({monitor = true}, "dying", reasons[i])
          self[ref] = i
        end
      end
      function Me:on_down(_, reason, ref)
        self.found[self[ref] ] = reason
        self.count = self.count + 1
        if self.count == 5 then done(table.unpack(self.found, 1, 5)) end
      end
    ]]})
  end)

  it("tells a crash as an error object with message, traceback, actor, behaviour and version", function()
    local reason = run [[
      function Me:init()
        throng.spawn_with({monitor = true}, "mortal"):send("crash", "ouch")
      end
      function Me:on_down(pid, reason)
        done({code = reason.code, message = reason.message, text = tostring(reason), traceback = reason.traceback,
              actor = reason.actor == pid, behaviour = reason.behaviour, version = reason.version})
      end
    ]]
    assert.are.equal("error", reason.code)
    assert.matches("mortal%.lua:2: ouch$", reason.message)
    assert.are.equal(reason.message, reason.text)
    assert.matches("mortal%.lua:2: in ", reason.traceback)
    assert.is_true(reason.actor)
    assert.are.equal("mortal", reason.behaviour)
    assert.matches("^%x+$", reason.version)
  end)

  it("set five times gives five downs, each with its own ref", function()
    assert.are.same({5, 5, 5}, {run [[
      function Me:init()
        self.pid, self.refs, self.downs, self.count = throng.spawn "mortal", {}, {}, 0
        for i = 1, 5 do self.refs[i] = throng.monitor(self.pid) end
        self.pid:send("die", "x")
      end
      function Me:on_down(pid, reason, ref)
        self.count = self.count + 1
        self.downs[ref] = reason == "x" and pid == self.pid or nil
        if self.count == 5 then throng.after(5, "look") end
      end
      function Me:on_look()
        local distinct, mine = 0, 0
        for _ in pairs(self.downs) do distinct = distinct + 1 end
        for _, ref in ipairs(self.refs) do mine = mine + (self.downs[ref] and 1 or 0) end
        done(self.count, distinct, mine)
      end
    ]]})
  end)

  it("by each of a hundred actors gives each its down", function()
    assert.are.same({100, {}}, {run [[
      function Me:init()
        local pid, tellers = throng.spawn "mortal", {}
        for i = 1, 100 do
          tellers[i] = throng.spawn "teller"
          tellers[i]:send("monitor", pid)
        end
        for i = 1, 100 do tellers[i]:ask("ping") end
        self.count, self.others = 0, {}
        throng.kill(pid)
      end
      function Me:on_heard(what, reason)
        self.count = self.count + 1
        if what ~= "down" or reason ~= "killed" then table.insert(self.others, {what, reason}) end
        if self.count == 100 then done(self.count, self.others) end
      end
    ]]})
  end)

  it("taken back is one taken back: the others stay", function()
    assert.are.same({true, false, {1, 3}}, {run [[
      function Me:init()
        local pid = throng.spawn "mortal"
        self.pid, self.numbers, self.heard = pid, {}, {}
        local refs = {throng.monitor(pid), throng.monitor(pid), throng.monitor(pid)}
        for i, ref in ipairs(refs) do self.numbers[ref] = i end
        self.first, self.second = throng.demonitor(refs[2]), throng.demonitor(refs[2])
        pid:send "die"
      end
      function Me:on_down(_, _, ref)
        table.insert(self.heard, self.numbers[ref])
        if #self.heard == 2 then throng.after(5, "look") end
      end
      function Me:on_look()
        table.sort(self.heard)
        done(self.first, self.second, self.heard)
      end
    ]]})
  end)

  it("taken back when its down is already on its way is taken back, in the mailbox or out of it", function()
    for _, wait in ipairs {"", "throng.sleep(0)"} do
      assert.are.same({true, {1, 3}}, {run(([[
        function Me:init()
          local pid = throng.spawn "mortal"
          self.numbers, self.heard = {}, {}
          local refs = {throng.monitor(pid), throng.monitor(pid), throng.monitor(pid)}
          for i, ref in ipairs(refs) do self.numbers[ref] = i end
          local gone = witness(pid)
          pid:send "die"
          spin(gone)
          %s
          self.taken = throng.demonitor(refs[2])
        end
        function Me:on_down(_, _, ref)
          table.insert(self.heard, self.numbers[ref])
          if #self.heard == 2 then throng.after(5, "look") end
        end
        function Me:on_look()
          table.sort(self.heard)
          done(self.taken, self.heard)
        end
      ]]):format(wait))}, wait)
    end
  end)

  it("can't be taken back once its down was heard, nor by another", function()
    assert.are.same({false, false, "x"}, {run([[
      function Me:init()
        self.other = throng.spawn "other"
        self.pid = throng.spawn "mortal"
        local ref = throng.monitor(self.pid)
        self.by_other = self.other:ask("demonitor", ref)
        self.pid:send("die", "x")
      end
      function Me:on_down(_, reason, ref) done(self.by_other, throng.demonitor(ref), reason) end
    ]], {other = "function Me:on_demonitor(ref) return throng.demonitor(ref) end"})})
  end)

  it("is no link: who watches outlives any reason", function()
    assert.are.same({"error"}, {run [[
      function Me:init()
        throng.spawn_with({monitor = true}, "mortal"):send("crash", "x")
      end
      function Me:on_down(_, reason) throng.after(1, "live", reason.code) end
      function Me:on_live(code) done(code) end
    ]]})
  end)

  it("of one that watches back ends with both told", function()
    assert.are.same({"down", "x", "y"}, {run [[
      function Me:init()
        self.a = throng.spawn "teller"
        throng.monitor(self.a)
        self.b = throng.spawn "teller"
        throng.monitor(self.b)
        self.a:send("monitor", self.b)
        self.b:send("monitor", self.a)
        self.a:ask "ping"
        self.b:ask "ping"
        self.b:send("die", "x")
      end
      function Me:on_heard(what, reason)
        self.what, self.reason = what, reason
        self.a:send("die", "y")
      end
      function Me:on_down(pid, reason) if pid == self.a then done(self.what, self.reason, reason) end end
    ]]})
  end)

  it("gives its down after all that the dead had sent before", function()
    scenario.each_seed(10, function(_, options)
      assert.are.same({true, 40}, {run([[
        function Me:init()
          self.letters, self.early = {}, false
          for i = 1, 20 do
            local pid = throng.spawn_with({monitor = true}, "sender", i, throng.self())
            self.letters[pid] = 0
          end
          for _ = 1, 5000 do end
          self.count = 0
        end
        function Me:on_letter(n)
          local pid = throng.sender()
          if self.letters[pid] ~= n - 1 then done("order", n, self.letters[pid]) end
          self.letters[pid] = n
        end
        function Me:on_down(pid, reason)
          if self.letters[pid] ~= 40 then done("early", self.letters[pid]) end
          self.count = self.count + 1
          if self.count == 20 then done(true, self.letters[pid]) end
        end
      ]], {options = options, sender = [[
        function Me:init(i, to)
          for n = 1, 40 do to:send("letter", n) end
          if i % 2 == 0 then error "x" end
          throng.exit "y"
        end
      ]]})})
    end)
  end)

  it("has its down pass other senders' letters, which wait", function()
    assert.are.same({{"x", "letter"}}, {run([[
      function Me:init()
        throng.spawn("sender", throng.self()):ask "sent"
        local pid = throng.spawn_with({monitor = true}, "mortal")
        local gone = witness(pid)
        pid:send("die", "x")
        spin(gone)
        self.order = {}
      end
      function Me:on_down(_, reason) table.insert(self.order, reason) end
      function Me:on_letter()
        table.insert(self.order, "letter")
        done(self.order)
      end
    ]], {sender = [[
      function Me:init(to) to:send "letter" end
      function Me:on_sent() end
    ]]})})
  end)
end)

describe("a link", function()
  it("takes the linked along with any reason but normal, which reads the same further on", function()
    assert.are.same({"x", "x"}, {run [[
      function Me:init()
        self.reasons = {}
        local a, b = throng.spawn_with({monitor = true}, "mortal"), throng.spawn_with({monitor = true}, "mortal")
        a:send("link", b)
        a:send("die", "x")
      end
      function Me:on_down(_, reason)
        table.insert(self.reasons, reason)
        if #self.reasons == 2 then done(table.unpack(self.reasons)) end
      end
    ]]})
  end)

  it("works both ways, whoever made it", function()
    for _, dies in ipairs {"a", "b"} do
      assert.are.same({"x", "x"}, {run(([[
        function Me:init()
          self.reasons = {}
          local a, b = throng.spawn_with({monitor = true}, "mortal"), throng.spawn_with({monitor = true}, "mortal")
          a:send("link", b)
          a:ask "ping" b:ask "ping"
          %s:send("die", "x")
        end
        function Me:on_down(_, reason)
          table.insert(self.reasons, reason)
          if #self.reasons == 2 then done(table.unpack(self.reasons)) end
        end
      ]]):format(dies))})
    end
  end)

  it("goes on through a chain, and a crash arrives with its traceback at the far end", function()
    local code, message, count = run [[
      function Me:init()
        local last
        self.count = 0
        for i = 1, 10 do
          local pid = throng.spawn_with({monitor = true}, "mortal")
          if last then pid:send("link", last) pid:ask "ping" end
          self.first, last = self.first or pid, pid
        end
        last:send("crash", "the far end")
      end
      function Me:on_down(pid, reason)
        self.count = self.count + 1
        if pid == self.first then self.code, self.message = reason.code, reason.message end
        if self.count == 10 then done(self.code, self.message, self.count) end
      end
    ]]
    assert.are.equal("error", code)
    assert.matches("the far end", message)
    assert.are.equal(10, count)
  end)

  it("lets a normal exit pass", function()
    assert.are.same({"pong"}, {run [[
      function Me:init()
        self.b = throng.spawn "mortal"
        local a = throng.spawn_with({monitor = true}, "mortal")
        a:send("link", self.b)
        a:send("die", "normal")
      end
      function Me:on_down() done(self.b:ask "ping") end
    ]]})
  end)

  it("trapped is a message with pid and reason, normal ones too", function()
    assert.are.same({{"exit", "x"}, {"exit", "normal"}, {"exit", "killed"}}, {run [[
      function Me:init()
        self.notes = {}
        throng.trap_exits(true)
        self:next()
      end
      local ways = {{"die", "x"}, {"die"}, {"kill"}}
      function Me:next()
        local way = ways[#self.notes + 1]
        if not way then return done(table.unpack(self.notes)) end
        self.pid = throng.spawn_with({link = true}, "mortal")
        if way[1] == "kill" then throng.kill(self.pid) else self.pid:send(table.unpack(way)) end
      end
      function Me:on_exit(pid, reason)
        note(self, pid == self.pid and "exit" or "whose?", reason)
        self:next()
      end
    ]]})
  end)

  it("made twice is one link: one exit, one unlink", function()
    assert.are.same({1, "pong"}, {run [[
      function Me:init()
        throng.trap_exits(true)
        self.exits = 0
        self.a = throng.spawn "mortal"
        throng.link(self.a)
        throng.link(self.a)
        self.a:ask("link", throng.self())
        self.b = throng.spawn "mortal"
        throng.link(self.b)
        throng.link(self.b)
        throng.unlink(self.b)
        self.b:ask "ping"
        self.a:send("die", "x")
      end
      function Me:on_exit(pid)
        self.exits = self.exits + 1
        if self.exits == 1 then
          self.c = throng.spawn_with({monitor = true}, "mortal")
          self.c:send("link", self.b)
          throng.after(5, "look")
        end
      end
      function Me:on_look() done(self.exits, self.b:ask "ping") end
    ]]})
  end)

  it("to a dead pid is an exit noproc: it kills, or is trapped", function()
    assert.are.same({"noproc", "noproc"}, {run [[
      function Me:init()
        throng.trap_exits(true)
        self.dead = throng.spawn "mortal"
        throng.kill(self.dead)
        spin(function() return ended(self.dead) end)
        throng.link(self.dead)
      end
      function Me:on_exit(pid, reason)
        self.trapped = pid == self.dead and reason
        local a = throng.spawn_with({monitor = true}, "mortal")
        a:send("link", self.dead)
      end
      function Me:on_down(_, reason) done(self.trapped, reason) end
    ]]})
  end)

  it("by spawn leaves no gap: a child that dies in its body or its init is heard", function()
    assert.are.same({100, {}}, {run([[
      function Me:init()
        throng.trap_exits(true)
        self.count, self.others = 0, {}
        for i = 1, 100 do throng.spawn_with({link = true}, i % 2 == 0 and "dying" or "crashing", "x") end
      end
      function Me:on_exit(pid, reason)
        self.count = self.count + 1
        if reason ~= "x" and reason.code ~= "error" then table.insert(self.others, reason) end
        if self.count == 100 then done(self.count, self.others) end
      end
    ]], {crashing = "function Me:init() error 'x' end"})})
  end)

  it("is there for the child before its init, and takes it along when the parent dies meanwhile", function()
    assert.are.same({"x"}, {run([[
      function Me:init()
        self.parent = throng.spawn_with({monitor = true}, "parent")
        throng.register "root"
      end
      function Me:on_child(pid)
        throng.monitor(pid)
        self.child = pid
        self.parent:send("die", "x")
      end
      function Me:on_down(pid, reason) if pid == self.child then done(reason) end end
    ]], {parent = [[
      function Me:init() throng.spawn_with({link = true}, "endless", throng.parent()) end
      function Me:on_die(reason) throng.exit(reason) end
    ]], endless = [[
      function Me:init(root)
        root:send("child", throng.self())
        while true do end
      end
    ]]})})
  end)

  it("taken away leaves both alone", function()
    assert.are.same({"pong"}, {run [[
      function Me:init()
        self.b = throng.spawn "mortal"
        local a = throng.spawn_with({monitor = true}, "mortal")
        a:send("link", self.b)
        a:ask "ping"
        self.b:ask("unlink", a)
        a:send("die", "x")
      end
      function Me:on_down() done(self.b:ask "ping") end
    ]]})
  end)

  it("made and taken away again before the other could look leaves both alone", function()
    assert.are.same({"pong"}, {run([[
      function Me:init()
        self.held = throng.spawn "held"
        hold(self.held)
        throng.spawn_with({monitor = true}, "fickle", self.held)
      end
      function Me:on_down()
        release()
        done(self.held:ask "ping")
      end
    ]], {held = "Me.on_hold = scene.on_hold function Me:on_ping() return 'pong' end", fickle = [[
      function Me:init(pid)
        throng.link(pid)
        throng.unlink(pid)
        throng.exit "x"
      end
    ]]})})
  end)

  it("taken away drops an exit already on its way, in the mailbox or out of it", function()
    for _, wait in ipairs {"", "throng.sleep(0)"} do
      assert.are.same({"none", "pong"}, {run(([[
        function Me:init()
          throng.trap_exits(true)
          self.b = throng.spawn "mortal"
          local a = throng.spawn_with({link = true}, "mortal")
          local gone = witness(a)
          a:send("die", "x")
          spin(gone)
          %s
          throng.unlink(a)
          self.heard = "none"
          throng.after(5, "look")
        end
        function Me:on_exit(_, reason) self.heard = reason end
        function Me:on_look() done(self.heard, self.b:ask "ping") end
      ]]):format(wait))}, wait)
    end
  end)

  it("of two that die at once is one end each, and no notice comes twice", function()
    scenario.each_seed(5, function(_, options)
      assert.are.same({40, 40}, {run([[
        function Me:init()
          self.heard, self.count = {}, 0
          for i = 1, 20 do
            local a, b = throng.spawn_with({monitor = true}, "mortal"), throng.spawn_with({monitor = true}, "mortal")
            a:send("link", b)
            b:send("link", a)
            a:send("die", "x")
            b:send("die", "x")
          end
        end
        function Me:on_down(pid, reason)
          self.count = self.count + 1
          if self.heard[pid] or (reason ~= "x" and reason ~= "noproc") then done(tostring(pid), reason) end
          self.heard[pid] = true
          if self.count == 40 then throng.after(5, "look") end
        end
        function Me:on_look()
          local distinct = 0
          for _ in pairs(self.heard) do distinct = distinct + 1 end
          done(self.count, distinct)
        end
      ]], {options = options})})
    end)
  end)

  it("to oneself is an error", function()
    assert.matches("itself", run [[
      function Me:init() done(try(throng.link, throng.self()).message) end
    ]])
  end)

  it("kills while the linked waits in an ask, sleeps, or computes without end", function()
    assert.are.same({"x", "x", "x"}, {run([[
      function Me:init()
        self.reasons = {}
        self.fuse = throng.spawn "mortal"
        for _, how in ipairs {"asks", "sleeps", "computes"} do
          throng.monitor(throng.spawn("busy", how, self.fuse, throng.self()))
        end
        self.ready = 0
      end
      function Me:on_ready()
        self.ready = self.ready + 1
        if self.ready == 3 then self.fuse:send("die", "x") end
      end
      function Me:on_down(_, reason)
        table.insert(self.reasons, reason)
        if #self.reasons == 3 then done(table.unpack(self.reasons)) end
      end
    ]], {busy = [[
      function Me:init(how, fuse, root)
        throng.link(fuse)
        root:send "ready"
        if how == "asks" then throng.spawn("silent"):ask "x" end
        if how == "sleeps" then throng.sleep(600000) end
        while true do end
      end
    ]], silent = "function Me:on_x() throng.sleep(600000) end"})})
  end)
end)

describe("kill", function()
  it("can't be trapped, and the reason is killed", function()
    assert.are.same({"killed"}, {run [[
      function Me:init()
        local pid = throng.spawn_with({monitor = true}, "teller", true)
        pid:ask "ping"
        throng.kill(pid)
      end
      function Me:on_down(_, reason) done(reason) end
      function Me:on_heard() done "trapped" end
    ]]})
  end)

  it("is killed to those linked, which can be trapped", function()
    assert.are.same({"exit", "killed", "killed"}, {run [[
      function Me:init()
        local victim = throng.spawn "mortal"
        self.linked = throng.spawn_with({monitor = true}, "mortal")
        local trapping = throng.spawn("teller", true)
        self.linked:send("link", victim)
        trapping:send("link", victim)
        self.linked:ask "ping"
        trapping:ask "ping"
        throng.kill(victim)
      end
      function Me:on_heard(what, reason) self.heard = {what, reason} self:look() end
      function Me:on_down(_, reason) self.reason = reason self:look() end
      function Me:look()
        if self.heard and self.reason then done(self.heard[1], self.heard[2], self.reason) end
      end
    ]]})
  end)
end)

describe("trap_exits", function()
  it("returns what was set before", function()
    assert.are.same({false, true, true, false}, {run [[
      function Me:init()
        done(throng.trap_exits(true), throng.trap_exits(true), throng.trap_exits(false), throng.trap_exits(false))
      end
    ]]})
  end)

  it("without on_exit keeps one alive, and the exit is a dead letter", function()
    assert.are.same({"pong", 1}, {run([[
      function Me:init()
        local trapping = throng.spawn "trapping"
        local a = throng.spawn_with({monitor = true}, "mortal")
        trapping:ask("link", a)
        self.trapping = trapping
        self.before = throng.stats().dead_handler
        a:send("die", "x")
      end
      function Me:on_down()
        local answer = self.trapping:ask "ping"
        done(answer, throng.stats().dead_handler - self.before)
      end
    ]], {trapping = [[
      function Me:init() throng.trap_exits(true) end
      function Me:on_link(pid) throng.link(pid) end
      function Me:on_ping() return "pong" end
    ]]})})
  end)
end)
