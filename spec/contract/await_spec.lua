--- Await: waiting for another's end. And the pid of a newborn that spawn_with waits for.
local scenario = require "spec.support.scenario"

local MODULES <const> = {
  mortal = [[
    function Me:init(ms) if ms then throng.after(ms, "die", "told to") end end
    function Me:on_die(reason) throng.exit(reason) end
    function Me:on_crash() error "ouch" end
    function Me:on_ping() return "pong" end
    function Me:on_tell(pid, count) for i = 1, count do pid:send("told", i) end throng.exit "told" end
  ]],
}

local function run(text, more)
  local o = {text}
  for key, value in pairs(MODULES) do o[key] = value end
  for key, value in pairs(more or {}) do o[key] = value end
  return scenario.run(o)
end

describe("await", function()
  it("returns true and the reason when that actor is gone, whyever", function()
    assert.are.same({{true, "enough"}, {true, "killed"}, {true, "nil"}, {true, "ouch"}}, {run [[
      function Me:init()
        local list = {}
        for i, how in ipairs {{"die", "enough"}, {"kill"}, {"die", {}}, {"crash"}} do
          local pid = throng.spawn "mortal"
          throng.fork(function() -- runs when we wait
            if how[1] == "kill" then throng.kill(pid) else pid:send(how[1], how[2]) end
          end)
          local gone, reason = throng.await(pid, 60000)
          list[i] = {gone, type(reason) == "table" and tostring(reason.message):match "ouch" or reason}
        end
        list[3][2] = tostring(next(list[3][2]))
        done(table.unpack(list))
      end
    ]]})
  end)

  it("gives errors as the error objects they are", function()
    assert.are.same({"error", "mortal", true}, {run [[
      function Me:init()
        local pid = throng.spawn "mortal"
        throng.fork(function() pid:send "crash" end)
        local _, e = throng.await(pid, 60000)
        done(e.code, e.behaviour, tostring(e) == e.message)
      end
    ]]})
  end)

  it("says noproc at once of one who was gone before", function()
    assert.are.same({true, "noproc"}, {run [[
      function Me:init()
        local pid = throng.spawn "mortal"
        throng.kill(pid)
        throng.await(pid, 60000)
        done(throng.await(pid, 60000))
      end
    ]]})
  end)

  it("says timeout when the time is up, and no down comes later", function()
    assert.are.same({false, "timeout", 0, "nil"}, {run [[
      function Me:on_down() self.downs = self.downs + 1 end
      function Me:init()
        self.downs = 0
        local pid = throng.spawn "mortal"
        self.found = {throng.await(pid, 5)}
        self.found2 = {throng.await(pid, 0)}
        throng.kill(pid)
        throng.await(pid, 60000)
        throng.after(1, "look")
      end
      function Me:on_look() done(self.found[1], self.found2[2], self.downs, nil) end
    ]]})
  end)

  it("takes no down away from a monitor, and none comes for it", function()
    assert.are.same({"x", 1}, {run [[
      function Me:on_down(_, reason) self.downs, self.reason = (self.downs or 0) + 1, reason end
      function Me:init()
        local pid, ref = throng.spawn_with({monitor = true}, "mortal")
        pid:send("die", "x")
        throng.await(pid, 60000)
        throng.after(1, "look")
      end
      function Me:on_look() done(self.reason, self.downs) end
    ]]})
  end)

  it("may be done by many coroutines at once, for the same and for different ones", function()
    assert.are.same({30}, {run [[
      function Me:init()
        local pids, count = {}, 0
        for i = 1, 10 do
          pids[i] = throng.spawn "mortal"
          for _ = 1, 3 do
            throng.fork(function()
              local gone, reason = throng.await(pids[i], 60000)
              if gone and reason == i then count = count + 1 end
              if count == 30 then done(count) end
            end)
          end
        end
        throng.fork(function()
          for i = 10, 1, -1 do pids[i]:send("die", i) end
        end)
      end
    ]]})
  end)

  it("works in terminate", function()
    assert.are.same({true}, {run([[
      function Me:init()
        local pid = throng.spawn("ending", throng.self())
        pid:ask "ping"
        throng.stop(pid)
      end
      function Me:on_found(...) done(...) end
    ]], {ending = [[
      function Me:init(root) self.root = root end
      function Me:on_ping() end
      function Me:terminate()
        local pid = throng.spawn_with({wait = 60000}, "mortal", 20)
        self.root:send("found", (throng.await(pid, 60000)))
      end
    ]]})})
  end)

  it("may return before the last messages of the dead were handled: they still come", function()
    assert.are.same({0, 10}, {run [[
      function Me:init()
        self.told = 0
        local pid = throng.spawn "mortal"
        pid:send("tell", throng.self(), 10)
        throng.await(pid, 60000)
        self.before = self.told
      end
      function Me:on_told(i)
        self.told = self.told + 1
        if i == 10 then done(self.before, self.told) end
      end
    ]]})
  end)

  it("of oneself is an error, and so is one that can't wait", function()
    local own, sorting = run [[
      function Me:init()
        local pid = throng.spawn "mortal"
        done(try(throng.await, throng.self(), 1).message,
             try(table.sort, {1, 2, 3}, function() throng.await(pid, 1) end).message)
      end
    ]]
    assert.matches("an actor can't await its own end", own)
    assert.matches("await: can't wait here", sorting)
  end)

  it("ends with the actor that waits", function()
    assert.are.same({true, "pong"}, {run([[
      function Me:init()
        local mortal = throng.spawn "mortal"
        local pid = throng.spawn("waiting", mortal, throng.self())
        self.mortal, self.pid = mortal, pid
      end
      function Me:on_waits()
        throng.kill(self.pid)
        done((throng.await(self.pid, 60000)), self.mortal:ask "ping")
      end
    ]], {waiting = [[
      function Me:init(mortal, root)
        root:send "waits"
        throng.await(mortal, 1e9)
      end
    ]]})})
  end)
end)

describe("spawn_with{wait}", function()
  it("leaves the pid in its options before it waits, so that the newborn can be ended", function()
    assert.are.same({true, "down", "killed", true}, {run([[
      Me.concurrent = true
      function Me:on_born(pid)
        self.same = self.options.pid == pid
        throng.kill(pid)
      end
      function Me:init()
        self.options = {wait = 1e9}
        local e = try(throng.spawn_with, self.options, "slow", throng.self())
        done(self.same, e.code, e.reason, (throng.await(self.options.pid, 60000)))
      end
    ]], {slow = "function Me:init(root) root:send('born', throng.self()) throng.sleep(1e9) end"})})
  end)

  it("takes options that were used before", function()
    assert.are.same({true, true}, {run [[
      function Me:init()
        local options = {wait = 60000}
        local first = throng.spawn_with(options, "mortal")
        local second = throng.spawn_with(options, "mortal")
        done(first ~= second, options.pid == second)
      end
    ]]})
  end)
end)
