--- Mailboxes: they have a bound, say so when it is reached, and let system messages pass.
local scenario = require "spec.support.scenario"

local MODULES <const> = {
  box = [[
    Me.on_hold = scene.on_hold
    function Me:init(trap) self.letters = {} if trap then throng.trap_exits(true) end end
    function Me:on_letter(n) table.insert(self.letters, n) end
    function Me:on_letters() return self.letters end
    function Me:on_monitor(pid) throng.monitor(pid) end
    function Me:on_link(pid) throng.link(pid) end
    function Me:on_down(_, reason) throng.parent():send("heard", "down", reason, #self.letters) end
    function Me:on_exit(_, reason) throng.parent():send("heard", "exit", reason, #self.letters) end
    function Me:on_ask_and_hold(pid)
      local answer = pid:ask "x"
      throng.parent():send("heard", "reply", answer, #self.letters)
    end
    function Me:on_echo(...) return ... end
  ]],
  mortal = "function Me:on_die(reason) throng.exit(reason) end function Me:on_x() return 'answer' end",
}

local function run(text, more)
  local o = {text}
  for key, value in pairs(MODULES) do o[key] = value end
  for key, value in pairs(more or {}) do o[key] = value end
  return scenario.run(o)
end

describe("a mailbox", function()
  for _, limit in ipairs {1, 2, 10, 1000} do
    it(("with a limit of %d takes as many, then says full, and keeps their order"):format(limit), function()
      assert.are.same({limit, false, "full", limit, true, true}, {run(([[
        function Me:init()
          local b = throng.spawn_with({mailbox = {limit = %d}}, "box")
          b:ask "echo"
          hold(b)
          local took = 0
          local good, why
          while true do
            good, why = b:send("letter", took + 1)
            if not good then break end
            took = took + 1
          end
          release()
          local letters
          repeat letters = try(b.ask, b, "echo") == nil until letters
          letters = b:ask "letters"
          local in_order = true
          for i, n in ipairs(letters) do in_order = in_order and i == n end
          done(took, good, why, #letters, in_order, (b:send("letter", 0)))
        end
      ]]):format(limit))})
    end)
  end

  it("has the limit that the node was given", function()
    assert.are.equal(7, run([[
      function Me:init()
        local b = throng.spawn "box"
        b:ask "echo"
        hold(b)
        local took = 0
        while b:send("letter") do took = took + 1 end
        release()
        done(took)
      end
    ]], {options = {"--set", "mailbox.limit=7"}}))
  end)

  it("counts what waits, not what is being handled, and no timers", function()
    assert.are.same({true, true, 3}, {run([[
      function Me:init()
        self.b = throng.spawn_with({mailbox = {limit = 1}}, "timed")
        self.b:ask "begin"
        throng.after(20, "look")
      end
      function Me:on_look()
        local beats = self.b:ask "beats"
        done(true, beats == 5, 3)
      end
    ]], {timed = [[
      function Me:on_begin() self.beats = 0 for i = 1, 5 do throng.after(i, "beat") end throng.sleep(10) end
      function Me:on_beat() self.beats = self.beats + 1 end
      function Me:on_beats() return self.beats end
    ]]})})
  end)

  it("that is full counts each refusal as a dead letter, and logs it", function()
    local refused, counted = run [[
      function Me:init()
        local b = throng.spawn_with({mailbox = {limit = 1}}, "box")
        b:ask "echo"
        hold(b)
        b:send("letter", 1)
        local before, refused = throng.stats().dead_full, 0
        for i = 1, 100 do if not b:send("letter", "the text", i) then refused = refused + 1 end end
        local counted = throng.stats().dead_full - before
        release()
        done(refused, counted)
      end
    ]]
    assert.are.same({100, 100}, {refused, counted})
    assert.matches('dead letter: letter%("the text", 1%) from <0.1> to <1.1>: its mailbox is full', scenario.last.err)
    local lines = select(2, scenario.last.err:gsub("dead letter: letter", ""))
    assert.is_true(lines >= 10 and lines <= 30, "the log is rated: " .. lines)
  end)

  it("of a dead actor says dead, and counts", function()
    assert.are.same({false, "dead", false, "dead", 2}, {run [[
      function Me:init()
        throng.kill(throng.spawn_with({monitor = true}, "box"))
      end
      function Me:on_down(b)
        local before = throng.stats().dead_pid
        local a, x = b:send "letter"
        local c, y = throng.send(b, "letter")
        done(a, x, c, y, throng.stats().dead_pid - before)
      end
    ]]})
    assert.matches("dead letter: letter%(%) from <0.1> to <1.1>: it is dead", scenario.last.err)
  end)

  it("of an actor that dies gives what waits in it to the dead letters", function()
    assert.are.equal(25, run [[
      function Me:init()
        local b = throng.spawn_with({monitor = true}, "box")
        self.before = throng.stats().dead_pid
        hold(b)
        for i = 1, 25 do b:send("letter", i) end
        throng.kill(b)
      end
      function Me:on_down() done(throng.stats().dead_pid - self.before) end
    ]])
  end)
end)

describe("system messages pass a full mailbox and a long backlog:", function()
  -- What happens to `b`, whose handler computes while its mailbox is full; then it is let go.
  local function full(happens, more)
    return run(([[
      function Me:init()
        local mortal = throng.spawn "mortal"
        local b = throng.spawn_with({mailbox = {limit = 100}, monitor = true}, "box", true)
        self.b = b
        b:ask("monitor", mortal)
        b:ask("link", mortal)
        hold(b)
        while b:send("letter", 1) do end
        %s
      end
      function Me:on_heard(what, reason, letters) if self.wanted[what] then done(what, reason, letters) end end
      function Me:on_down(_, reason) done("down", reason) end
    ]]):format(happens), more)
  end

  it("down", function()
    assert.are.same({"down", "x", 0}, {full [[
      self.wanted = {down = true}
      local gone = witness(mortal)
      mortal:send("die", "x")
      spin(gone)
      release()
    ]]})
  end)

  it("exit", function()
    assert.are.same({"exit", "x", 0}, {full [[
      self.wanted = {exit = true}
      local gone = witness(mortal)
      mortal:send("die", "x")
      spin(gone)
      release()
    ]]})
  end)

  it("kill, which does not even wait for the handler", function()
    assert.are.same({"down", "killed"}, {full "throng.kill(b)"})
  end)

  it("stop, when the handler has ended", function()
    assert.are.same({"down", "enough"}, {full [[throng.stop(b, "enough") release()]]})
  end)

  it("the exit of one that is linked and does not trap", function()
    assert.are.same({"x"}, {run [[
      function Me:init()
        local mortal = throng.spawn "mortal"
        local b = throng.spawn_with({mailbox = {limit = 100}, monitor = true}, "box")
        b:ask("link", mortal)
        hold(b)
        while b:send("letter", 1) do end
        mortal:send("die", "x")
      end
      function Me:on_down(_, reason) done(reason) end
    ]]})
  end)

  it("a reply", function()
    assert.are.same({"reply", "answer", 0}, {run([[
      function Me:init()
        local b = throng.spawn_with({mailbox = {limit = 10}}, "box")
        self.gate = throng.spawn("slow", throng.self())
        b:send("ask_and_hold", self.gate)
        self.b = b
      end
      function Me:on_asked()
        while self.b:send("letter", 1) do end
        self.gate:send "open"
      end
      function Me:on_heard(...) done(...) end
    ]], {slow = [[
      Me.concurrent = true
      function Me:init(root) self.root = root end
      function Me:on_x()
        self.root:send "asked"
        while not self.open do throng.sleep(1) end
        return "answer"
      end
      function Me:on_open() self.open = true end
    ]]})})
  end)

  it("a hundred downs, none of them lost, in a mailbox of one", function()
    assert.are.equal(100, run([[
      function Me:init()
        local w = throng.spawn_with({mailbox = {limit = 1}}, "counter")
        local mortals = {}
        for i = 1, 100 do
          mortals[i] = throng.spawn "mortal"
          w:ask("monitor", mortals[i])
        end
        hold(w)
        throng.send_all(mortals, "die", "x")
        for _, mortal in ipairs(mortals) do spin(function() return ended(mortal) end) end
        release()
      end
      function Me:on_all(count) done(count) end
    ]], {counter = [[
      Me.on_hold = scene.on_hold
      function Me:init() self.count = 0 end
      function Me:on_monitor(pid) throng.monitor(pid) end
      function Me:on_down()
        self.count = self.count + 1
        if self.count == 100 then throng.parent():send("all", self.count) end
      end
    ]]}))
  end)
end)

describe("send_all", function()
  it("returns how many took it, and gives each the same", function()
    assert.are.same({9, 9, 45}, {run([[
      function Me:init()
        local pids = {}
        for i = 1, 10 do pids[i] = throng.spawn "box" end
        throng.kill(pids[10])
        spin(function() return ended(pids[10]) end)
        local took = throng.send_all(pids, "letter", {5})
        local count, sum = 0, 0
        for i = 1, 9 do
          for _, letter in ipairs(pids[i]:ask "letters") do count, sum = count + 1, sum + letter[1] end
        end
        done(took, count, sum)
      end
    ]])})
  end)

  it("to nobody returns 0; one who stands there twice gets it twice", function()
    assert.are.same({0, 2, {"x", "x"}}, {run [[
      function Me:init()
        local b = throng.spawn "box"
        done(throng.send_all({}, "letter", 1), throng.send_all({b, b}, "letter", "x"), b:ask "letters")
      end
    ]]})
  end)

  it("counts as dead letters those that could not take it, a full one too", function()
    assert.are.same({1, 1, 1}, {run [[
      function Me:init()
        local ok, full, dead = throng.spawn "box", throng.spawn_with({mailbox = {limit = 1}}, "box"), throng.spawn "box"
        full:ask "echo"
        hold(full)
        full:send("letter", 1)
        local gone = witness(dead) -- also what was in its mailbox has become dead letters by then
        throng.kill(dead)
        spin(gone)
        local before = throng.stats()
        local took = throng.send_all({full, dead, ok}, "letter", 1)
        local now = throng.stats()
        release()
        done(took, now.dead_full - before.dead_full, now.dead_pid - before.dead_pid)
      end
    ]]})
  end)

  it("sends nothing at all when an argument is wrong", function()
    assert.are.same({true, true, {}}, {run [[
      function Me:init()
        local b = throng.spawn "box"
        local e = try(throng.send_all, {b, "nobody"}, "letter", 1)
        local f = try(throng.send_all, {b, b}, "letter", print)
        done(e.message:find("element 2", 1, true) ~= nil, f.message:find("function", 1, true) ~= nil, b:ask "letters")
      end
    ]]})
  end)
end)
