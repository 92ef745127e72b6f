--- Asks that wait for each other in a circle: the one that would close it fails at once, and its error names them all.
--- Asks end after a minute here: a circle that was not found shows as a red spec.
local scenario = require "spec.support.scenario"

local MODULES <const> = {
  -- Asks on along a list of pids or names; raises what came of it, or tells the last one's word.
  hop = [[
    Me.on_hold = scene.on_hold
    function Me:on_go(way)
      local to = table.remove(way, 1)
      if not to then return "the end" end
      return throng.ask(type(to) == "string" and throng.whereis(to) or to, "go", way)
    end
    function Me:on_echo(...) return ... end
    function Me:on_try(pid, ...)
      local e = try(throng.ask, pid, ...)
      throng.parent():send("tried", e and e.code or "answered", e and e.message)
    end
    function Me:on_ask_and_tell(pid, ...) return throng.ask(pid, ...) end
  ]],
}

local function run(text, more)
  local o = {text}
  for key, value in pairs(MODULES) do o[key] = value end
  for key, value in pairs(more or {}) do o[key] = value end
  return scenario.run(o)
end

describe("a circle of asks", function()
  it("of two fails with the code deadlock; the message shows who asks what of whom; it is counted", function()
    local code, message, counted = run [[
      function Me:init()
        local a, b, before = throng.spawn "hop", throng.spawn "hop", throng.stats().deadlocks
        local e = try(throng.ask, a, "go", {b, a})
        done(e.code, e.message, throng.stats().deadlocks - before)
      end
    ]]
    assert.are.equal("deadlock", code)
    assert.matches("<2.1> 'go' -> <1.1> 'go' -> <2.1>", message, 1, true)
    assert.are.equal(1, counted)
  end)

  it("goes through the root, too, while its init asks", function()
    local e = run [[
      function Me:init() done(try(throng.ask, throng.spawn "hop", "go", {throng.self()})) end
    ]]
    assert.are.equal("deadlock", e.code)
    assert.matches("<1.1> 'go' -> <0.1> 'go' -> <1.1>", e.message, 1, true)
  end)

  it("of three, asked by their names, shows the names", function()
    local e = run [[
      function Me:init()
        for _, name in ipairs {"ann", "bob", "cid"} do throng.spawn_with({name = name, wait = 60000}, "hop") end
        done(try(throng.ask, throng.whereis "ann", "go", {"bob", "cid", "ann"}))
      end
    ]]
    assert.are.equal("deadlock", e.code)
    assert.matches("cid <3.1> 'go' -> ann <1.1> 'go' -> bob <2.1> 'go' -> cid <3.1>", e.message, 1, true)
  end)

  it("does not count who only waits for one in it", function()
    local e = run [[
      function Me:init()
        local a, b, c, d = throng.spawn "hop", throng.spawn "hop", throng.spawn "hop", throng.spawn "hop"
        done(try(throng.ask, a, "go", {b, c, d, c}))
      end
    ]]
    assert.are.equal("deadlock", e.code)
    assert.matches(": <4.1> 'go' -> <3.1> 'go' -> <4.1>", e.message, 1, true)
  end)

  it("of a hundred is found, and shown shortened", function()
    local e = run [[
      function Me:init()
        local hops = {}
        for i = 1, 100 do hops[i] = throng.spawn "hop" end
        local first = table.remove(hops, 1)
        table.insert(hops, first)
        done(try(throng.ask, first, "go", hops))
      end
    ]]
    assert.are.equal("deadlock", e.code)
    assert.matches("they would wait for each other for ever: <100.1> 'go' -> <1.1> 'go' -> <2.1>", e.message, 1, true)
    assert.matches("-> ... 83 more ... ->", e.message, 1, true)
    assert.matches("'go' -> <99.1> 'go' -> <100.1>", e.message, 1, true)
  end)

  it("closes also where the request waits in the mailbox of one who asks for reasons of his own", function()
    assert.are.same({"deadlock", "answered"}, {run([[
      function Me:init()
        self.tried = {}
        self.a, self.b = throng.spawn "hop", throng.spawn "hop"
        hold(self.b)
        self.b:send("try", self.a, "echo", 1)
        self.a:send("try", self.b, "echo", 2) -- waits behind b's own
        throng.spawn("until_it_waits", self.a, self.b, throng.self())
      end
      function Me:on_waits() release() end
      function Me:on_tried(code)
        table.insert(self.tried, code)
        if #self.tried == 2 then done(table.unpack(self.tried)) end
      end
    ]], {until_it_waits = [[
      function Me:init(a, b, root)
        spin(function() return throng.info(a).waits_for == b end)
        root:send "waits"
      end
    ]]})})
  end)

  it("leaves all in it alive and free: they go on as if nothing had been asked", function()
    assert.are.same({"deadlock", 1, 2, "the end"}, {run([[
      function Me:init()
        local a, b = throng.spawn "careful", throng.spawn "careful"
        local code = a:ask("go", {b, a})
        done(code, a:ask("echo", 1), b:ask("echo", 2), a:ask("go", {b}))
      end
    ]], {careful = [[
      function Me:on_echo(...) return ... end
      function Me:on_go(way)
        local to = table.remove(way, 1)
        if not to then return "the end" end
        local good, answer = pcall(throng.ask, to, "go", way)
        return good and answer or answer.code
      end
    ]]})})
  end)

  it("closed by a spawn that waits for an init which asks its spawner fails in either of them", function()
    local e = run([[
      function Me:init()
        for _ = 1, 50 do
          local e = try(throng.spawn_with, {wait = 60000}, "child")
          assert(e.code == "deadlock", e.message)
          self.e = e
        end
        done(self.e)
      end
    ]], {child = "function Me:init() throng.parent():ask('anything') end"})
    assert.matches("<0.1> 'init' %-> <%d+.%d+>", e.message)
  end)

  it("is found in terminate, too: then no message is begun", function()
    local e = run([[
      function Me:init()
        local hop = throng.spawn "hop"
        throng.stop(throng.spawn_with({monitor = true, wait = 60000}, "last", hop, throng.self()))
      end
      function Me:on_told(e) done(e) end
      function Me:on_down() end
    ]], {last = [[
      Me.concurrent = true
      function Me:init(hop, root) self.hop, self.root = hop, root end
      function Me:terminate() self.root:send("told", try(throng.ask, self.hop, "go", {throng.self()})) end
    ]]})
    assert.are.equal("deadlock", e.code)
  end)

  it("closed by the handler of a concurrent actor whose own answer is waited for is found", function()
    local e = run([[
      function Me:init()
        local hop, c = throng.spawn "hop", throng.spawn "concurrent"
        done(try(throng.ask, hop, "ask_and_tell", c, "ask", hop))
      end
    ]], {concurrent = [[
      Me.concurrent = true
      function Me:on_ask(pid) return pid:ask("echo", 1) end
    ]]})
    assert.are.equal("deadlock", e.code)
    assert.matches("<2.1> 'echo' -> <1.1> 'ask' -> <2.1>", e.message, 1, true)
  end)

  it("closed by two at the same moment is heard by one of them at least, under any schedule", function()
    scenario.each_seed(8, function(_, options)
      local rounds, heard, others = run([[
        function Me:init()
          self.a, self.b, self.rounds, self.heard, self.others = throng.spawn "hop", throng.spawn "hop", 0, 0, 0
          self:round()
        end
        function Me:round()
          self.tried, self.dead = 0, 0
          self.a:send("try", self.b, "echo", 1)
          self.b:send("try", self.a, "echo", 2)
        end
        function Me:on_tried(code)
          self.tried = self.tried + 1
          if code == "deadlock" then self.dead = 1 elseif code ~= "answered" then self.others = self.others + 1 end
          if self.tried < 2 then return end
          self.rounds, self.heard = self.rounds + 1, self.heard + self.dead
          if self.rounds == 300 then done(self.rounds, self.heard, self.others) else self:round() end
        end
      ]], {options = options})
      assert.are.same({300, 0}, {rounds, others})
      assert.is_true(heard > 0 and heard <= 300)
    end)
  end)

  it("of many that ask each other at random is never waited out", function()
    scenario.each_seed(6, function(number, options)
      local counts, left = run([[
        function Me:init(seed)
          self.all, self.left, self.counts = {}, 20, {}
          for i = 1, 20 do self.all[i] = throng.spawn("asking", seed + i) end
          for _, pid in ipairs(self.all) do pid:send("all", self.all, throng.self()) end
        end
        function Me:on_finished(counts)
          for code, n in pairs(counts) do self.counts[code] = (self.counts[code] or 0) + n end
          self.left = self.left - 1
          if self.left == 0 then done(self.counts, throng.stats().actors) end
        end
      ]], {args = {tostring(number)}, options = options, asking = [[
        function Me:init(seed) math.randomseed(seed) self.counts, self.n = {answered = 0}, 0 end
        function Me:on_all(all, root) self.all, self.root = all, root self:on_next() end
        function Me:ask_one()
          local pid
          repeat pid = self.all[math.random(#self.all)] until pid ~= throng.self()
          local good, e = pcall(throng.ask, pid, "question", math.random(3))
          local code = good and "answered" or e.code
          self.counts[code] = (self.counts[code] or 0) + 1
        end
        function Me:on_next()
          self:ask_one()
          self.n = self.n + 1
          if self.n == 50 then self.root:send("finished", self.counts)
          else throng.self():send "next" end
        end
        -- a question may come before "all": order is not transitive
        function Me:on_question(more) if more == 1 and self.all then self:ask_one() end return true end
      ]]})
      assert.is_nil(counts.timeout)
      assert.is_true(counts.answered > 0)
      assert.are.equal(21, left)
    end)
  end)
end)

describe("no circle", function()
  it("is an ask to oneself: that has an error of its own", function()
    assert.matches("itself", run "function Me:init() done(try(throng.ask, throng.self(), 'x').message) end")
  end)

  it("is one who has answered and asks back, though the answer was not read yet", function()
    for _, workers in ipairs {1, 2} do
      assert.are.same({200, 0}, {run([[
        function Me:init()
          self.rounds, self.wrong = 0, 0
          self.b = throng.spawn("b", throng.self())
          self:on_go()
        end
        function Me:on_go() self.b:ask "question" end -- it answers, and in the same turn asks us
        function Me:on_back() return true end
        function Me:on_came(code)
          self.rounds = self.rounds + 1
          if code then self.wrong = self.wrong + 1 end
          if self.rounds == 200 then done(self.rounds, self.wrong) else self:on_go() end
        end
      ]], {options = {"--workers", tostring(workers)}, b = [[
        function Me:init(root) self.root = root end
        function Me:on_question()
          throng.self():send "after"
          return 1
        end
        function Me:on_after()
          local e = try(throng.ask, self.root, "back")
          self.root:send("came", e and e.code)
        end
      ]]})}, workers)
    end
  end)

  it("is a concurrent actor, which answers while it asks", function()
    assert.are.equal("the end", run([[
      function Me:init()
        local c = throng.spawn "concurrent"
        done(c:ask("go", {throng.spawn "hop", c}))
      end
    ]], {concurrent = "Me.concurrent = true\n" .. MODULES.hop}))
  end)

  it("is one that asks in a fork, and answers meanwhile", function()
    assert.are.equal("answered", run([[
      function Me:init()
        local hop, me = throng.spawn "hop", throng.self()
        throng.fork(function() done(hop:ask("ask_and_tell", me, "question")) end)
      end
      function Me:on_question() return "answered" end
    ]]))
  end)

  it("is one who gave up: after its timeout it can be asked by whom it had asked", function()
    assert.are.same({"timeout", "the end"}, {run([[
      function Me:init()
        local hop = throng.spawn "hop"
        hold(hop)
        local e = try(throng.ask_within, 5, hop, "go", {})
        release()
        throng.fork(function() done(e.code, hop:ask("go", {throng.self()})) end)
      end
      function Me:on_go() return "the end" end
    ]])})
  end)

  it("is one who slept, or asked and was told that the asked is dead", function()
    assert.are.same({"down", "the end"}, {run([[
      function Me:init()
        local hop, dead = throng.spawn "hop", throng.spawn "hop"
        local gone = witness(dead)
        throng.kill(dead)
        spin(gone)
        local e = try(throng.ask, dead, "go", {})
        throng.fork(function() done(e.code, hop:ask("go", {throng.self()})) end)
        throng.sleep(1)
      end
      function Me:on_go() return "the end" end
    ]])})
  end)
end)
