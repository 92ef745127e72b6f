--- The promises of the contract, with one of the two on another node.
local cluster = require "spec.support.cluster"
local console = require "spec.support.console"

describe("actors on two nodes", function()
  local a

  setup(function()
    a = cluster.listen("a", [[
      function Me:start() throng.join "early" end
      function Me:on_spawn(module, ...) return throng.spawn_with({wait = 10000}, module, ...) end
      function Me:on_name(pid) return tostring(pid) end
      function Me:on_stats() return throng.stats() end
      function Me:on_members(group) return throng.members(group) end
      function Me:on_publish(...) return throng.publish(...) end
      function Me:on_nodes() return throng.nodes() end
      function Me:on_open(name) return throng.register(name) end
      function Me:on_small(limit) return throng.spawn_with({mailbox = {limit = limit}}, "echo") end
    ]], {"--set", "net.message=3m"}, {
      echo = [[
        function Me:init() self.got, self.heard = {}, {} end
        function Me:on_say(...) return ... end
        function Me:on_add(n) self.got[#self.got + 1] = n end
        function Me:on_got() local got = self.got self.got = {} return got end
        function Me:on_boom(x) error(x) end
        function Me:on_end(reason) throng.exit(reason) end
        function Me:on_who() return throng.self(), throng.sender() end
        function Me:on_left() return throng.deadline() end
        function Me:on_wait(ms) throng.sleep(ms) return "waited" end
        function Me:on_call(pid, ...) return pid:ask(...) end
        function Me:on_send_to(pid, n) for i = 1, n do pid:send("add", i) end end
        function Me:on_trap() throng.trap_exits(true) end
        function Me:on_link(pid) throng.link(pid) end
        function Me:on_unlink(pid) throng.unlink(pid) end
        function Me:on_watch(pid) return throng.monitor(pid) end
        function Me:on_unwatch(ref) return throng.demonitor(ref) end
        function Me:on_down(pid, reason, ref) self.heard[#self.heard + 1] = {"down", pid, reason, ref} end
        function Me:on_exit(pid, reason) self.heard[#self.heard + 1] = {"exit", pid, reason} end
        function Me:on_heard(n) return #self.heard >= n and self.heard or nil end
        function Me:on_block(name) while not throng.whereis(name) do throng.sleep(1) end end
        function Me:on_sum(n) self.sum = (self.sum or 0) + n return self.sum end
        function Me:on_join(group) return throng.join(group) end
        function Me:on_leave(group) return throng.leave(group) end
        function Me:on_other(name, ...) return "other", name, ... end
      ]]})
  end)

  --- Runs the body with `root` and `echo`, a fresh actor on a; `here` is a module with the same behaviour.
  local HERE <const> = [[
    function Me:init(parent) self.parent, self.got = parent, {} end
    function Me:on_say(...) return ... end
    function Me:on_add(n) self.got[#self.got + 1] = n end
    function Me:on_got() local got = self.got self.got = {} return got end
    function Me:on_end(reason) throng.exit(reason) end
    function Me:on_call(pid, ...) return pid:ask(...) end
    function Me:on_join(group) return throng.join(group) end
    function Me:on_trap() throng.trap_exits(true) end
    function Me:on_link(pid) throng.link(pid) end
    function Me:on_exit(pid, reason) self.gone = {pid, reason, #self.got} end
    function Me:on_gone() return self.gone end
    function Me:on_watch(pid) throng.monitor(pid) end
  ]]
  local BUSY <const> = [[
    Me.concurrent = true
    function Me:on_call(pid, ...) return pid:ask(...) end
    function Me:on_beside(pid)
      throng.fork(function() throng.ask_within(60000, pid, "say", 1) end)
      throng.sleep(250)
      return "beside"
    end
  ]]
  local SENDER <const> = [[
    function Me:init(to, me, n)
      for i = 1, n do
        while not to:send("add", {me, i, ("x"):rep(i % 100 == 0 and 20000 or i % 50)}) do throng.sleep(1) end
      end
      throng.exit "normal"
    end
  ]]
  local count = 0

  local function on_b(body, options)
    count = count + 1
    return cluster.ask(a, "b" .. count, ([[
      local function until_(f) -- asks for it until it is there
        while true do
          local value = f()
          if value then return value end
          throng.sleep(1)
        end
      end
      function Me:on_ready(root)
        local echo = root:ask("spawn", "echo")
        %s
      end
      function Me:on_down(pid, reason, ref) if Me.down then Me.down(self, pid, reason, ref) end end
      function Me:on_exit(pid, reason) if Me.exit then Me.exit(self, pid, reason) end end
    ]]):format(body), options, {here = HERE, sender = SENDER, busy = BUSY})
  end

  it("send values of all kinds, and pids arrive as what they are there", function()
    local values, same, mine, theirs, names, sender = on_b [[
      local sent = {nil, true, false, 1, -1, 2^53, 0.1, -0.0, 1/0, "", "text", ("x"):rep(300), "\0\255",
        {1, 2, {three = 3}, [true] = "t", [1.5] = {}}}
      local back = table.pack(echo:ask("say", table.unpack(sent, 1, 14)))
      local good = back.n == 14
      for i = 1, 13 do good = good and back[i] == sent[i] and math.type(back[i]) == math.type(sent[i]) end
      good = good and back[14][3].three == 3 and back[14][true] == "t" and back[14][1.5] and 1/back[8] < 0
      local me = throng.self()
      local e, m, t = echo:ask("say", echo, me, {[me] = echo, list = {echo, me}})
      local who, sender = echo:ask("who")
      done(good, e == echo and m == me and t[me] == echo and t.list[1] == echo and t.list[2] == me, who == echo,
        sender == me, {tostring(echo), tostring(me), root:ask("name", me), root:ask("name", echo)})
    ]]
    assert.is_true(values)
    assert.is_true(same)
    assert.is_true(mine)
    assert.is_true(theirs)
    assert.matches("^<%d+%.%d+@a>$", names[1])
    assert.matches("^<%d+%.%d+>$", names[2])
    assert.matches("^<%d+%.%d+@b%d+>$", names[3])
    assert.matches("^<%d+%.%d+>$", names[4])
    assert.is_nil(sender)
  end)

  it("keep the order of each sender, eight of them, with messages of all sizes", function()
    local found = on_b [[
      local N, senders = 2000, {}
      for i = 1, 8 do senders[i] = throng.spawn("sender", echo, i, N) end
      for i = 1, 8 do throng.await(senders[i], 60000) end
      local last, orderly, all = {}, true, {}
      for _, x in ipairs(echo:ask("got")) do
        local who, n = x[1], x[2]
        orderly = orderly and n == (last[who] or 0) + 1
        last[who] = n
      end
      for i = 1, 8 do all[i] = last[i] end
      done {orderly, all}
    ]]
    assert.are.same({true, {2000, 2000, 2000, 2000, 2000, 2000, 2000, 2000}}, found)
  end)

  it("are asked and sent to from forks, from timers, and awaited from both", function()
    local found = on_b [[
      function Me:on_timed(pid, text)
        self.timed = pid:ask("say", text)
        pid:send("end", "enough")
      end
      local other = root:ask("spawn", "echo")
      throng.fork(function() self.forked = echo:ask("say", "a fork") end)
      throng.fork(function() self.reason = select(2, throng.await(other, 60000)) end)
      throng.after(1, "timed", other, "a timer")
      throng.fork(function()
        while not (self.forked and self.reason) do throng.sleep(1) end
        done {self.forked, self.timed, self.reason}
      end)
    ]]
    assert.are.same({"a fork", "a timer", "enough"}, found)
  end)

  it("raise what a handler raised, with its traceback, and go on", function()
    local e, again = on_b [[
      local e = try(echo.ask, echo, "boom", "ouch")
      local again = root:ask("spawn", "echo")
      local t = try(again.ask, again, "boom", {code = "mine", message = "a table", more = again})
      done({e.code, e.message, e.traceback, e.actor == echo, tostring(e)}, {t.code, t.message, t.more == again})
    ]]
    assert.are.equal("error", e[1])
    assert.matches("ouch", e[2])
    assert.matches("stack traceback.*echo%.lua", e[3])
    assert.is_true(e[4])
    assert.matches("ouch", e[5])
    assert.are.same({"mine", "a table", true}, again)
  end)

  it("hand their deadlines on, and answer late ones to nobody", function()
    local left, timeout, inner = on_b [[
      local left = throng.ask_within(2000, echo, "left")
      local e = try(throng.ask_within, 50, echo, "wait", 300)
      local other = root:ask("spawn", "echo")
      local f = try(throng.ask_within, 100, other, "call", echo, "wait", 2000)
      done(left, e.code, f.code)
    ]]
    assert(left > 100 and left <= 2000, left)
    assert.are.equal("timeout", timeout)
    assert.are.equal("timeout", inner)
  end)

  it("hear of each other's ends: downs, exits, kills, stops; dead ones at once", function()
    local found = on_b [[
      self.downs = {}
      function Me.down(me, pid, reason, ref) me.downs[ref] = {pid, reason} end
      local one, two, three, four = root:ask("spawn", "echo"), root:ask("spawn", "echo"), root:ask("spawn", "echo"), echo
      local r1, r2, r3, r4 = throng.monitor(one), throng.monitor(two), throng.monitor(three), throng.monitor(four)
      local extra = throng.monitor(one)
      throng.demonitor(extra)
      one:send("end", {why = "bored"})
      throng.kill(two)
      throng.stop(three, "enough")
      local function reason(pid)
        throng.await(pid, 10000)
        return select(2, throng.await(pid, 10000)) -- now it is dead for sure
      end
      local reasons = {reason(one), reason(two), reason(three)}
      local e = try(one.ask, one, "say")
      throng.fork(function()
        while not (self.downs[r1] and self.downs[r2] and self.downs[r3]) do throng.sleep(1) end
        done {self.downs[r1][1] == one and self.downs[r1][2].why, self.downs[r2][2], self.downs[r3][2], reasons,
              self.downs[extra] == nil, self.downs[r4] == nil, e.code, {one:send("say")}}
      end)
    ]]
    assert.are.same({"bored", "killed", "enough", {"noproc", "noproc", "noproc"}, true, true, "down", {true}}, found)
  end)

  it("are linked both ways, trap exits or go down together, and can be unlinked", function()
    local found = on_b [[
      local here = throng.spawn_with({wait = 10000}, "here")
      here:ask("trap")
      here:ask("link", echo)
      echo:send("end", "tired")
      local gone = until_(function() return here:ask("gone") end)
      local second, third, fourth = root:ask("spawn", "echo"), root:ask("spawn", "echo"), root:ask("spawn", "echo")
      local mortal = throng.spawn_with({wait = 10000}, "here")
      second:ask("link", mortal)
      second:send("end", "together")
      local _, why = throng.await(mortal, 10000)
      third:ask("trap")
      third:ask("link", here)
      fourth:ask("link", here)
      fourth:ask("unlink", here)
      here:send("end", "last")
      local heard = until_(function() return third:ask("heard", 1) end)
      done {gone[1] == echo, gone[2], why, heard[1][2] == here, heard[1][3], fourth:ask("say", "alive")}
    ]]
    assert.are.same({true, "tired", "together", true, "last", "alive"}, found)
  end)

  it("keep refs of monitors apart, whoever made them", function()
    local found = on_b [[
      local here = throng.spawn_with({wait = 10000}, "here")
      local refs, others = {}, {}
      for i = 1, 5 do others[i] = root:ask("spawn", "echo") refs[i] = others[i]:ask("watch", here) end
      local off = others[5]:ask("unwatch", refs[5])
      here:send("end", "gone")
      local good = {}
      for i = 1, 4 do
        local heard = until_(function() return others[i]:ask("heard", 1) end)
        good[i] = #heard == 1 and heard[1][2] == here and heard[1][3] == "gone" and heard[1][4] == refs[i]
      end
      done {good, off, others[5]:ask("heard", 0)}
    ]]
    assert.are.same({{true, true, true, true}, true, {}}, found)
  end)

  it("hear what somebody sent before the news of his end", function()
    local found = on_b [[
      local good = true
      for round = 1, 5 do
        local here, worker = throng.spawn_with({wait = 10000}, "here"), root:ask("spawn", "echo")
        here:ask("trap")
        here:ask("link", worker)
        worker:send("send_to", here, 500)
        worker:send("end", "done")
        local gone = until_(function() return here:ask("gone") end)
        good = good and gone[3] == 500 and #here:ask("got") == 500
      end
      done(good)
    ]]
    assert.is_true(found)
  end)

  it("answer names of handlers the sender has never heard of, and say which are unknown", function()
    local found = on_b [[
      local e = try(root.ask, root, "no such thing")
      done {{echo:ask("anything", 1, "two")}, e.code}
    ]]
    assert.are.same({{"other", "anything", 1, "two"}, "no_handler"}, found)
  end)

  it("find each other by name, and share groups", function()
    local found = on_b [[
      local here = throng.spawn_with({wait = 10000}, "here")
      local function has(list, pid) for _, p in ipairs(list) do if p == pid then return true end end return false end
      until_(function() return has(throng.members "early", root) end)
      echo:ask("join", "g")
      here:ask("join", "g")
      until_(function() return has(throng.members "g", echo) end)
      until_(function() return has(root:ask("members", "g"), here) end)
      local took = throng.publish("g", "add", "from b") + root:ask("publish", "g", "add", "from a")
      local both = until_(function()
        self.n = (self.n or 0) + #here:ask("got")
        return self.n == 2
      end)
      echo:ask("leave", "g")
      until_(function() return not has(throng.members "g", echo) end)
      here:send("end", "x")
      throng.await(here, 10000)
      until_(function() return not has(root:ask("members", "g"), here) end)
      done {took, both, throng.whereis("root", "a") == root, select("#", throng.whereis("nobody", "a")),
            select(2, throng.whereis("root", "nowhere")), throng.whereis("root", throng.node()) == nil, throng.nodes()[2],
            has(root:ask("nodes"), throng.node())}
    ]]
    assert.are.same({4, true, true, 1, "unreachable", true, "a", true}, found)
  end)

  it("are told when they wait for each other in a circle over nodes, with all of it in words", function()
    local found = on_b [[
      local function fresh() return root:ask("spawn", "echo"), throng.spawn_with({wait = 10000}, "here") end
      local one, here = fresh()
      local e = try(throng.ask_within, 60000, here, "call", one, "call", here, "say")
      local two, three = fresh()
      local four, five = fresh()
      local f = try(throng.ask_within, 60000, three, "call", two, "call", four, "call", five, "call", three, "say")
      local count = throng.stats().deadlocks + root:ask("stats").deadlocks
      -- a long way, which ends at one who is only slow
      local other, last = fresh()
      local g = throng.ask_within(60000, last, "call", echo, "call", other, "wait", 200)
      done {e.code, e.message, f.code, f.message, count, g,
            throng.stats().deadlocks + root:ask("stats").deadlocks - count}
    ]]
    local begin, step, stop = "^they would wait for each other for ever: ", "<%d+%.%d+@?%w*> '%l+' %-> ", "<%d+%.%d+@?%w*>"
    assert.are.equal("deadlock", found[1])
    assert.matches(begin .. step:rep(2) .. stop, found[2])
    assert.are.equal("deadlock", found[3])
    assert.matches(begin .. step:rep(4) .. stop, found[4])
    assert(found[5] >= 2, found[5])
    assert.are.same({"waited", 0}, {found[6], found[7]})
  end)

  it("are told, too, if they are concurrent and it is their own ask that closes the circle", function()
    local found = on_b [[
      local busy = throng.spawn_with({wait = 10000}, "busy")
      -- the same way, but the ask is beside the request that closes it: its actor goes on meanwhile
      local beside = throng.ask_within(60000, echo, "call", busy, "beside", echo)
      local e = try(throng.ask_within, 60000, echo, "call", busy, "call", echo, "say")
      done {e.code, e.message, beside}
    ]]
    assert.are.equal("deadlock", found[1])
    assert.matches("<%d+%.%d+> '%?' %-> <%d+%.%d+@a> 'call' %-> <%d+%.%d+>", found[2])
    assert.are.equal("beside", found[3])
  end)

  it("hear of a full mailbox there, after what was under way: that is dead letters; and when it has room", function()
    local code, took, why, others, letters, after = table.unpack(on_b [[
      local small, before = root:ask("small", 4), root:ask("stats").dead_full
      small:send("block", "one")
      local took, sent, why = 0
      repeat -- what goes before the news comes is taken, and lost
        sent, why = small:send("add", 1)
        took = took + (sent and 1 or 0)
        throng.sleep(1)
      until not sent
      local e = try(small.ask, small, "got")
      local others = echo:send("add", 1)
      local letters = root:ask("stats").dead_full - before
      root:ask("open", "one")
      repeat throng.sleep(1) until small:send("add", "after")
      done {e.code, took, why, others, letters, #small:ask "got"}
    ]])
    assert.are.same({"full", "full", true}, {code, why, others})
    assert(took >= 5 and letters >= 1 and letters <= took - 4, took .. " sent, " .. letters .. " lost")
    assert.are.equal(took - letters + 1, after)
  end)

  it("are shown by their nodes' consoles, as are the nodes", function()
    local n = cluster.join(a, "seen", [[ function Me:on_ready() print "joined" end ]])
    n:read_until "joined"
    local c = console.connect(cluster.dir() .. "/seen.sock")
    local rows = select(2, c:ask "nodes")
    assert.are.same({{"seen", true, {}}, {"a", false, {}}}, {{rows[1].name, rows[1].own, rows[1].can},
                                                            {rows[2].name, rows[2].own, rows[2].can}})
    assert.is_true(rows[1].actors == 1 and rows[2].actors >= 1)
    n:signal "INT"
    n:wait()
  end)

  it("wait a little for one who is far behind, answer for others meanwhile, and lose nothing", function()
    local found = on_b [[
      local other = root:ask("spawn", "echo")
      echo:send("block", "two")
      for i = 1, 90000 do while not echo:send("sum", 1) do throng.sleep(1) end end
      local lively = other:ask("say", "lively")
      root:ask("open", "two")
      done {lively, echo:ask("sum", 0)}
    ]]
    assert.are.same({"lively", 90000}, found)
  end)

  it("send large messages, and say what is too large", function()
    local found = on_b [[
      local large = ("0123456789abcdef"):rep(100000)
      local back = echo:ask("say", large)
      local too = ("x"):rep(3200000)
      local e = try(echo.ask, echo, "say", too)
      done {back == large, {echo:send("say", too)}, e.code}
    ]]
    assert.are.same({true, {false, "too_large"}, "too_large"}, found)
  end)
end)
