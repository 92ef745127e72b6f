--- Supervisors: who is started again, who is taken along, in which order, how often, and what the world hears of it.
local scenario = require "spec.support.scenario"

local MODULES <const> = {
  -- A child that tells the root what becomes of it.
  worker = [[
    function Me:init(root, id, how)
      self.root, self.id = root, id
      if how == "slow" then throng.sleep(20) end
      if how == "fails" then error(id .. " fails in init") end
      if how == "hangs" then root:send("event", "hangs " .. id, throng.self()) throng.sleep(1e9) end
      if how == "leaves" then throng.exit "normal" end
      if how == "fails later" and throng.whereis "spoiled" then error(id .. " fails now") end
      root:send("event", "up " .. id, throng.self())
    end
    function Me:on_crash(text) error(text or "ouch", 0) end
    function Me:on_leave(reason) throng.exit(reason) end
    function Me:on_ping() return "pong from " .. self.id end
    function Me:on_stubborn() self.stubborn = true end
    function Me:on_slow() self.slow = true end
    function Me:on_link(pid) throng.link(pid) end
    function Me:terminate(reason)
      if self.slow then throng.sleep(30) end
      self.root:send("event", "end " .. self.id, throng.self(), reason)
      while self.stubborn do end
    end
  ]],
  tree = [[ Me = require "throng.supervisor".behaviour(function(options) return options end) ]],
  -- What the root uses. Events are kept as texts, in the order they came.
  kit = [[
    Me.supervisor = require "throng.supervisor"
    function Me.child(id, more)
      local spec = {id = id, module = "worker", args = {throng.self(), id}, options = {name = id}}
      for key, value in pairs(more or {}) do spec[key] = value end
      return spec
    end
    function Me.failing(id, how) return Me.child(id, {args = {throng.self(), id, how}}) end
    function Me.tree(options, more)
      local spawn = {wait = 60000, link = true}
      for key, value in pairs(more or {}) do spawn[key] = value end
      return throng.spawn_with(spawn, "tree", options)
    end
    --- Until the condition holds; the scenario's deadline ends it otherwise.
    function Me.wait(condition) while not condition() do throng.sleep(1) end end
    function Me.states(of)
      local list = {}
      for i, child in ipairs(Me.supervisor.which(of)) do
        list[i] = ("%s %s %d"):format(child.id, child.state, child.restarts)
      end
      return list
    end
  ]],
}

local ROOT <const> = [[
  local kit = require "kit"
  local supervisor, child, failing, tree, wait, states = kit.supervisor, kit.child, kit.failing, kit.tree, kit.wait, kit.states
  Me.concurrent = true
  local events, downs = {}, {}
  function Me:on_event(text) events[#events + 1] = text end
  function Me:on_down(pid, reason, ref) downs[#downs + 1] = {pid = pid, reason = reason, ref = ref} end
  function Me:on_exit(pid, reason) end
  --- The events so far, when there are `count`; then they begin anew.
  local function take(count)
    wait(function() return #events >= count end)
    local taken = events
    events = {}
    return taken
  end
]]

local function run(text, more)
  local o = {ROOT .. text}
  for key, value in pairs(MODULES) do o[key] = value end
  for key, value in pairs(more or {}) do o[key] = value end
  return scenario.run(o)
end

describe("a supervisor", function()
  it("starts its children in order, each when the one before is up, and stops them in reversed order", function()
    local up, states, down, reason = run [[
      function Me:init()
        local pid = tree {children = {failing("a", "slow"), child "b", child "c"}}
        local up, states = take(3), states(pid)
        throng.monitor(pid)
        throng.unlink(pid)
        throng.stop(pid)
        wait(function() return #downs == 1 end)
        done(up, states, events, downs[1].reason)
      end
    ]]
    assert.are.same({"up a", "up b", "up c"}, up)
    assert.are.same({"a running 0", "b running 0", "c running 0"}, states)
    assert.are.same({"end c", "end b", "end a"}, down) -- all of it before its own end
    assert.are.equal("normal", reason)
  end)

  it("stops its children with the reason shutdown", function()
    assert.are.same({"shutdown"}, {run [[
      function Me:on_event(text, _, reason) if text == "end a" then done(reason) end end
      function Me:init() supervisor.stop_child(tree {children = {child "a"}}, "a") end
    ]]})
  end)

  it("starts who crashes again, alone and under its name, with one_for_one", function()
    local found = run [[
      function Me:init()
        local pid = tree {children = {child "a", child "b", child "c"}}
        local a, b, c = throng.whereis "a", throng.whereis "b", throng.whereis "c"
        take(3)
        b:send "crash"
        local list = take(2)
        wait(function() return supervisor.child(pid, "b") end)
        local new = throng.whereis "b"
        done {events = list, others = throng.whereis "a" == a and throng.whereis "c" == c, new = new ~= b,
              old_is_dead = ended(b), same = supervisor.child(pid, "b") == new, answer = new:ask "ping",
              states = states(pid), reason = supervisor.which(pid)[2].reason.message}
      end
    ]]
    assert.are.same({"end b", "up b"}, found.events)
    assert.are.same({"a running 0", "b running 1", "c running 0"}, found.states)
    assert.is_true(found.others and found.new and found.old_is_dead and found.same)
    assert.are.same({"pong from b", "ouch"}, {found.answer, found.reason})
  end)

  it("takes down the others in reversed order and starts all again with one_for_all", function()
    local events, states = run [[
      function Me:init()
        local pid = tree {strategy = "one_for_all", children = {child "a", child "b", child "c"}}
        take(3)
        throng.kill(throng.whereis "b")
        local list = take(5)
        wait(function() return supervisor.child(pid, "c") end)
        done(list, states(pid))
      end
    ]]
    assert.are.same({"end c", "end a", "up a", "up b", "up c"}, events)
    assert.are.same({"a running 1", "b running 1", "c running 1"}, states)
  end)

  it("takes down and starts again those behind who failed with rest_for_one", function()
    local events, states = run [[
      function Me:init()
        local pid = tree {strategy = "rest_for_one", children = {child "a", child "b", child "c", child "d"}}
        take(4)
        throng.kill(throng.whereis "b")
        local list = take(5)
        wait(function() return supervisor.child(pid, "d") end)
        done(list, states(pid))
      end
    ]]
    assert.are.same({"end d", "end c", "up b", "up c", "up d"}, events)
    assert.are.same({"a running 0", "b running 1", "c running 1", "d running 1"}, states)
  end)

  it("restarts a group once when two of it die together", function()
    assert.are.same({{"a running 1", "b running 1", "c running 1"}}, {run [[
      function Me:init()
        local pid = tree {strategy = "one_for_all", intensity = {count = 1, seconds = 3600},
                          children = {child "a", child "b", child "c"}}
        throng.whereis "a":send("link", throng.whereis "c")
        throng.whereis "a":ask "ping"
        throng.whereis "a":send "crash"
        wait(function() return #events >= 6 and supervisor.child(pid, "c") end)
        done(states(pid))
      end
    ]]})
  end)

  it("counts no second failure when one ends by himself while the group is taken down", function()
    assert.are.same({{"a running 1", "b running 1", "c running 1"}}, {run([[
      function Me:init()
        local b = child("b")
        b.module = "last"
        local pid = tree {strategy = "one_for_all", intensity = {count = 1, seconds = 3600}, children = {child "a", b, child "c"}}
        throng.kill(throng.whereis "c")
        wait(function() return #events >= 4 and supervisor.child(pid, "c") end)
        done(states(pid))
      end
    ]], {last = [[
      function Me:terminate()
        local a = throng.whereis "a"
        throng.kill(a)
        throng.await(a, 10000)
        throng.sleep(1)
      end
    ]]})})
  end)

  it("restarts permanent children whyever they ended, transient ones after a failure, temporary ones never", function()
    for strategy, expected in pairs {
      one_for_one = {"permanent running 4", "transient stopped 2"},
      one_for_all = {"permanent running 6", "transient stopped 4"}, -- once stopped, it stays so
    } do
      local states = run(([[
        function Me:init()
          local pid = tree {strategy = %q, intensity = {count = 100, seconds = 1}, children = {
            child("permanent"), child("transient", {restart = "transient"}), child("temporary", {restart = "temporary"})}}
          local function leaves(name, how, ...)
            local old = throng.whereis(name)
            throng.monitor(old)
            if how == "kill" then throng.kill(old) else old:send(how, ...) end
            wait(function() return #downs == 1 end)
            downs = {}
            if name == "temporary" then return end
            wait(function()
              local there, why = supervisor.child(pid, name)
              return there or why.code == "stopped"
            end)
          end
          leaves("temporary", "crash")
          leaves("permanent", "kill")
          leaves("permanent", "crash")
          leaves("transient", "kill")
          leaves("transient", "crash")
          leaves("transient", "leave", "normal")
          leaves("permanent", "leave", "normal")
          leaves("permanent", "leave", "enough")
          wait(function() return supervisor.child(pid, "permanent") end)
          local list = states(pid)
          table.sort(list)
          done(list)
        end
      ]]):format(strategy))
      assert.are.same(expected, states)
    end
  end)

  it("takes an end within init as any other: normal is no failure of a transient child", function()
    assert.are.same({{"a stopped 0", "b running 0"}, "normal"}, {run [[
      function Me:init()
        local spec = failing("a", "leaves")
        spec.restart = "transient"
        local pid = tree {children = {spec, child "b"}}
        done(states(pid), supervisor.which(pid)[1].reason)
      end
    ]]})
  end)

  it("restarts a group in order even if another fails while it is being stopped", function()
    assert.are.same({{"end d", "end b", "up a", "up b", "up c", "up d"},
                     {"a running 1", "b running 1", "c running 1", "d running 1"}}, {run [[
      function Me:init()
        local pid = tree {strategy = "rest_for_one", children = {
          child "a", child "b", child "c", child("d", {stop_timeout = 1e9})}}
        take(4)
        local a, c, d = throng.whereis "a", throng.whereis "c", throng.whereis "d"
        d:send "stubborn"
        d:ask "ping"
        throng.kill(c)
        wait(function() return #events == 1 end)
        throng.kill(a)
        wait(function() return supervisor.which(pid)[1].state == "restarting" end)
        throng.kill(d)
        wait(function() return supervisor.child(pid, "d") end)
        done(events, states(pid))
      end
    ]]})
  end)

  it("never restarts who ended by shutdown: that is the node's or a supervisor's wish", function()
    assert.are.same({{"a stopped 0"}}, {run [[
      function Me:init()
        local pid = tree {children = {child "a"}}
        throng.stop(throng.whereis "a", "shutdown")
        wait(function() return select(2, supervisor.child(pid, "a")) end)
        wait(function() return select(2, supervisor.child(pid, "a")).code == "stopped" end)
        done(states(pid))
      end
    ]]})
  end)

  it("dies with its parent, and its children with it, in order; killed, it takes them along at once", function()
    assert.are.same({{"end b", "end a"}, {true, true}}, {run([[
      function Me:init()
        local middle = throng.spawn_with({wait = 60000}, "middle", {children = {child "a", child "b"}})
        take(2)
        throng.kill(middle)
        local list = take(2)
        local pid = tree {children = {child "c", child "d"}}
        local gone = {throng.whereis "c", throng.whereis "d"}
        throng.unlink(pid)
        throng.kill(pid)
        wait(function() return ended(gone[1]) and ended(gone[2]) end)
        done(list, {true, true})
      end
    ]], {middle = "function Me:init(options) throng.spawn_with({wait = 60000, link = true}, 'tree', options) end"})})
  end)

  it("that is stopped while it starts its children leaves none behind", function()
    assert.are.same({"down", true, true}, {run [[
      function Me:init()
        local options = {wait = 60000}
        throng.fork(function()
          self.e = try(throng.spawn_with, options, "tree", {children = {child "a", failing("b", "hangs"), child "c"}})
        end)
        take(2)
        local a, b = throng.whereis "a", throng.whereis "b"
        throng.stop(options.pid)
        wait(function() return self.e and ended(a) and ended(b) end)
        done(self.e.code, ended(options.pid), throng.whereis "c" == nil)
      end
    ]]})
  end)

  it("says what is wrong with its options, and does not begin", function()
    for text, options in pairs {
      ["there is no strategy 'all'"] = "{strategy = 'all'}",
      ["a child needs a module"] = "{children = {{}}}",
      ["a child has no field 'modul'"] = "{children = {{modul = 'x'}}}",
      ["restart must be permanent, transient or temporary, not 'x'"] = "{children = {child('a', {restart = 'x'})}}",
      ["there are two children 'a'"] = "{children = {child 'a', child 'a'}}",
      ["a child's options can't have 'link'"] = "{children = {child('a', {options = {link = true}})}}",
      ["stop_timeout must be milliseconds"] = "{children = {child('a', {stop_timeout = -1})}}",
      ["intensity: count"] = "{intensity = {count = -1}}",
      ["backoff: unknown option 'x'"] = "{backoff = {x = 1}}",
      ["options must be a table"] = "'what?'",
    } do
      local message = run(("function Me:init() done(try(tree, %s, {link = false}).message) end"):format(options))
      assert.is_truthy(message:find(text, 1, true), message)
    end
  end)
end)

describe("the intensity", function()
  it("exceeded: the others are stopped in reversed order, then it fails itself, and says why", function()
    local events, reason = run [[
      function Me:init()
        throng.trap_exits(true)
        local pid = tree {intensity = {count = 2, seconds = 3600}, children = {child "a", child "b", child "c"}}
        throng.monitor(pid)
        take(3)
        for i = 1, 3 do
          throng.whereis "b":send("crash", "ouch " .. i)
          if i < 3 then
            take(2)
            wait(function() return supervisor.child(pid, "b") end)
          end
        end
        wait(function() return #downs == 1 end)
        done(take(3), downs[1].reason)
      end
    ]]
    assert.are.same({"end b", "end c", "end a"}, events)
    assert.are.same({"intensity", "b", "ouch 3"}, {reason.code, reason.child, reason.reason.message})
    assert.are.equal("gave up: child 'b' failed, which is more than 2 restarts in 3600 s: ouch 3", reason.message)
  end)

  it("exceeded below: the supervisor above sees why, and starts that part of the tree again", function()
    local reason, states = run [[
      function Me:init()
        local inner = {intensity = {count = 0, seconds = 1}, children = {child "a", child "b"}}
        local pid = tree {children = {{id = "inner", module = "tree", args = {inner}, options = {name = "inner"}},
                                      child "c"}}
        take(3)
        throng.whereis "a":send("crash", "deep down")
        wait(function() return #events == 4 and supervisor.child(pid, "inner") end)
        done(supervisor.which(pid)[1].reason, states(pid), states "inner")
      end
    ]]
    assert.are.same({"intensity", "a", "deep down"}, {reason.code, reason.child, reason.reason.message})
    assert.are.same({"inner running 1", "c running 0"}, states)
  end)

  it("counts a child that fails in init; a storm of them ends by it, not by a hot loop", function()
    for _, strategy in ipairs {"one_for_one", "one_for_all", "rest_for_one"} do
      local spawned, code, reason, events = run(([[
        function Me:init()
          local before = throng.stats().spawned
          local e = try(tree, {strategy = %q, intensity = {count = 10, seconds = 3600},
                               children = {child "a", failing("b", "fails"), child "c"}}, {link = false})
          wait(function() -- all was sent before the supervisor ended, and may be heard after
            local _, ups = table.concat(events, ","):gsub("up a", "")
            local _, ends = table.concat(events, ","):gsub("end a", "")
            return ends > 0 and ends == ups and events[#events] == "end a"
          end)
          done(throng.stats().spawned - before, e.reason.code, e.reason.message, events)
        end
      ]]):format(strategy))
      assert.are.equal("intensity", code)
      assert.is_truthy(reason:find("b fails in init"), reason)
      -- the supervisor, b eleven times, a as often as its strategy has it
      assert.are.equal(1 + 11 + (strategy == "one_for_all" and 11 or 1), spawned)
      assert.are.equal("end a", events[#events])
      assert.is_falsy(table.concat(events):find("up c"))
    end
  end)

  it("counts a child whose module is not there, one that exits in init, one whose name is taken", function()
    for text, spec in pairs {["no module 'nobody'"] = "{module = 'nobody'}", ["normal"] = "failing('a', 'leaves')",
                             ["name 'me' is taken"] = "child('me')"} do
      local reason = run(([[
        function Me:init()
          throng.register "me"
          done(try(tree, {intensity = {count = 3, seconds = 3600}, children = {%s}}, {link = false}).reason)
        end
      ]]):format(spec))
      assert.are.equal("intensity", reason.code)
      assert.is_truthy(reason.message:find(text, 1, true), reason.message)
    end
  end)

  it("counts a child that does not end its init in time, which is killed", function()
    local reason, hung, alive = run [[
      local hung = {}
      function Me:on_event(text, pid) if text == "hangs a" then hung[#hung + 1] = pid end end
      function Me:init()
        local spec = failing("a", "hangs")
        spec.wait = 20
        local e = try(tree, {intensity = {count = 2, seconds = 3600}, children = {spec}}, {link = false})
        local alive = 0
        for _, pid in ipairs(hung) do alive = alive + (ended(pid) and 0 or 1) end
        done(e.reason.reason.code, #hung, alive)
      end
    ]]
    assert.are.same({"timeout", 0}, {reason, alive})
    assert.is_true(hung <= 3)
  end)

  it("counts failures of those who are started again, which is tried again until all are up", function()
    for strategy, expected in pairs {one_for_all = {"up a", "up b", "up c"}, rest_for_one = {"end c", "up b", "up c"},
                                     one_for_one = {"up c", "end b", "up b"}} do
      local states, events = run(([[
        function Me:init()
          local pid = tree {strategy = %q, intensity = {count = 1000000, seconds = 1},
                            backoff = {least = 1, most = 2}, children = {child "a", failing("b", "fails later"), child "c"}}
          take(3)
          throng.register "spoiled"
          throng.whereis "b":send "crash"
          wait(function() return supervisor.which(pid)[2].restarts > 3 end)
          throng.unregister "spoiled"
          wait(function() return supervisor.child(pid, "c") and supervisor.child(pid, "b") and supervisor.child(pid, "a") end)
          local up = {"up c"}
          for _, text in ipairs(events) do up[#up + 1] = text end
          done(#states(pid), table.move(up, #up - 2, #up, 1, {}))
        end
      ]]):format(strategy))
      assert.are.equal(3, states)
      assert.are.same(expected, events)
    end
  end)
end)

describe("the backoff", function()
  it("keeps a child down for a while; asks by the supervisor then end at once with an error, and so does its name",
    function()
    local found = run [[
      function Me:init()
        local pid = tree {backoff = {least = 1e9, most = 1e9}, children = {child "a", child "b"}}
        local before = supervisor.ask(pid, "a", "ping")
        throng.whereis "a":send "crash"
        wait(function() return not throng.whereis "a" end)
        wait(function() return not supervisor.child(pid, "a") end)
        local e = try(supervisor.ask, pid, "a", "ping")
        done {before = before, code = e.code, message = tostring(e), name = throng.whereis "a" == nil,
              states = states(pid), other = supervisor.ask(pid, "b", "ping")}
      end
    ]]
    assert.are.same({before = "pong from a", code = "restarting", message = "child 'a' is restarting", name = true,
                     states = {"a restarting 1", "b running 0"}, other = "pong from b"}, found)
  end)

  it("ends early when somebody asks for the child", function()
    assert.are.same({true, {"a running 2"}}, {run [[
      function Me:init()
        local pid = tree {backoff = {least = 1e9, most = 1e9}, children = {child "a"}}
        throng.whereis "a":send "crash"
        wait(function() return not supervisor.child(pid, "a") end)
        local new = supervisor.restart_child(pid, "a")
        done(new == throng.whereis "a", states(pid))
      end
    ]]})
  end)

  it("lets who fails now and then go on at once, until he is reset by hand or has been quiet", function()
    local at_once, paused, after = run [[
      function Me:init()
        local pid = tree {backoff = {least = 1e9, most = 1e9, at_once = 2}, children = {child "a"}}
        local function crash(count)
          throng.whereis "a":send "crash"
          wait(function() return supervisor.which(pid)[1].restarts == count end)
          wait(function() return supervisor.which(pid)[1].state ~= "starting" end)
          return supervisor.which(pid)[1].state
        end
        local at_once = {crash(1), crash(2)}
        supervisor.reset(pid, "a")
        at_once[3], at_once[4] = crash(3), crash(4)
        local paused = crash(5)
        supervisor.reset(pid)
        supervisor.restart_child(pid, "a")
        done(at_once, paused, crash(7))
      end
    ]]
    assert.are.same({"running", "running", "running", "running"}, at_once)
    assert.are.same({"restarting", "running"}, {paused, after})
  end)

  it("of a group holds up the whole of it", function()
    assert.are.same({{"a restarting 1", "b restarting 1"}, {"end b", "end a"}}, {run [[
      function Me:init()
        local pid = tree {strategy = "one_for_all", backoff = {least = 1e9, most = 1e9}, children = {child "a", child "b"}}
        take(2)
        throng.whereis "b":send "crash"
        local list = take(2)
        wait(function() return supervisor.which(pid)[1].state == "restarting" end)
        done(states(pid), list)
      end
    ]]})
  end)
end)

describe("a child that hangs in terminate", function()
  it("is killed after its stop_timeout, and the rest stop in order", function()
    local events, gone = run [[
      function Me:init()
        local pid = tree {children = {child "a", child("b", {stop_timeout = 30}), child "c"}}
        take(3)
        local b = throng.whereis "b"
        b:send "stubborn"
        b:ask "ping"
        throng.monitor(pid)
        throng.monitor(b)
        throng.stop(pid)
        wait(function() return #downs == 2 end)
        done(events, {downs[1].pid == b, downs[1].reason, downs[2].reason})
      end
    ]]
    assert.are.same({"end c", "end b", "end a"}, events)
    assert.are.same({true, "killed", "normal"}, gone)
  end)

  it("holds up nothing else: who fails is started again, requests are answered", function()
    assert.are.same({{"a running 1", "b stopping 0", "c running 0"}, true, {"a running 1", "b stopped 0", "c running 0"}},
      {run [[
      function Me:init()
        local pid = tree {children = {child "a", child("b", {stop_timeout = 1e9}), child "c"}}
        local b = throng.whereis "b"
        b:send "stubborn"
        b:ask "ping"
        throng.fork(function() self.stopped = supervisor.stop_child(pid, "b") end)
        wait(function() return table.concat(events, ","):find "end b" end)
        throng.whereis "a":send "crash"
        wait(function() return supervisor.which(pid)[1].restarts == 1 and supervisor.child(pid, "a") end)
        local during = states(pid)
        throng.kill(b)
        wait(function() return self.stopped end)
        done(during, self.stopped, states(pid))
      end
    ]]})
  end)
end)

describe("requests", function()
  it("are answered while a child is being started", function()
    assert.are.same({{"a running 1", "b starting 0"}, "starting"}, {run [[
      function Me:init()
        local pid = tree {children = {child "a"}}
        throng.fork(function() supervisor.start_child(pid, child("b", {args = {throng.self(), "b", "hangs"}, wait = 1e9})) end)
        wait(function() return table.concat(events, ","):find "hangs b" end)
        throng.whereis "a":send "crash"
        wait(function() return supervisor.which(pid)[1].restarts == 1 and supervisor.child(pid, "a") end)
        done(states(pid), select(2, supervisor.child(pid, "b")).code)
      end
    ]]})
  end)

  it("start_child answers with the pid and the id, or with the error of init, and then there is no such child", function()
    local found = run [[
      function Me:init()
        local pid = tree {intensity = {count = 0, seconds = 1}, children = {child "a"}}
        local b, id = supervisor.start_child(pid, child "b")
        local none, failed = supervisor.start_child(pid, failing("c", "fails"))
        local again = supervisor.start_child(pid, child "c") -- its name is free
        done {good = b == throng.whereis "b", id = id, none = none == nil, failed = failed.message,
              again = again == throng.whereis "c", missing = select(2, supervisor.start_child(pid, {module = "nobody"})).code,
              exists = select(2, supervisor.start_child(pid, child "a")).code,
              bad = select(2, supervisor.start_child(pid, {modul = "x"})).message, states = states(pid)}
      end
    ]]
    assert.matches("c fails in init", found.failed)
    found.failed = nil
    assert.are.same({good = true, id = "b", none = true, again = true, missing = "spawn", exists = "exists",
                     bad = "a child has no field 'modul'", states = {"a running 0", "b running 0", "c running 0"}}, found)
  end)

  it("stop_child, restart_child and remove_child do it, and wait until it is done", function()
    local found = run [[
      function Me:init()
        local pid = tree {strategy = "one_for_all", children = {child "a", child "b"}}
        local old = throng.whereis "a"
        local found = {supervisor.stop_child(pid, "a"), ended(old), states(pid)[1]}
        throng.whereis "b":send "crash"
        wait(function() return supervisor.which(pid)[2].restarts == 1 and supervisor.child(pid, "b") end)
        found[#found + 1] = states(pid)[1] -- a group's restart leaves it stopped
        local new = supervisor.restart_child(pid, "a")
        found[#found + 1] = new == throng.whereis "a" and new ~= old
        local newer = supervisor.restart_child(pid, "a")
        found[#found + 1] = newer ~= new and ended(new)
        found[#found + 1] = supervisor.remove_child(pid, "a")
        found[#found + 1] = ended(newer)
        found[#found + 1] = states(pid)
        found[#found + 1] = select(2, supervisor.stop_child(pid, "a")).code
        found[#found + 1] = select(2, supervisor.child(pid, "zzz")).code
        done(found)
      end
    ]]
    assert.are.same({true, true, "a stopped 0", "a stopped 0", true, true, true, true, {"b running 1"}, "no_child",
                     "no_child"}, found)
  end)

  it("stop_child ends a child that is being started, or waits for its restart", function()
    assert.are.same({true, "overtaken", {"a stopped 1", "b stopped 0"}}, {run [[
      function Me:init()
        local pid = tree {backoff = {least = 1e9, most = 1e9}, children = {child "a"}}
        throng.whereis "a":send "crash"
        wait(function() return not supervisor.child(pid, "a") end)
        throng.fork(function()
          self.why = select(2, supervisor.start_child(pid, child("b", {args = {throng.self(), "b", "hangs"}, wait = 1e9})))
        end)
        wait(function() return table.concat(events, ","):find "hangs b" end)
        local stopped = supervisor.stop_child(pid, "b") and supervisor.stop_child(pid, "a")
        wait(function() return self.why end)
        done(stopped, self.why.code, states(pid))
      end
    ]]})
  end)

  it("go to a supervisor by its name; nobody of that name is an error at once", function()
    assert.are.same({{"a running 0"}, "down"}, {run [[
      function Me:init()
        tree({children = {child "a"}}, {name = "boss"})
        done(states "boss", try(supervisor.which, "nobody").code)
      end
    ]]})
  end)
end)

describe("a dynamic supervisor", function()
  it("starts many like children by ask; who ended and does not come back leaves the list", function()
    local found = run [[
      function Me:init()
        local pid = tree {strategy = "dynamic", intensity = {count = 10, seconds = 1},
                          child = {module = "worker", restart = "transient"}}
        local pids = {}
        for i = 1, 100 do
          local new, id = supervisor.start_child(pid, {args = {throng.self(), "w" .. i}, options = {name = "w" .. i}})
          pids[id] = new
        end
        take(100)
        pids[1]:send "leave"
        pids[2]:send "crash"
        supervisor.stop_child(pid, 3)
        wait(function()
          local new = throng.whereis "w2"
          return not throng.whereis "w1" and new and new ~= pids[2] and supervisor.child(pid, 2) == new
        end)
        wait(function() return #supervisor.which(pid) == 98 end)
        local before, named = throng.stats().actors, {}
        for _, child in ipairs(supervisor.which(pid)) do named[child.id] = child.restarts end
        local _, id = supervisor.start_child(pid, {args = {throng.self(), "new"}})
        supervisor.stop_child(pid, id)
        take(1)
        throng.unlink(pid)
        throng.stop(pid)
        wait(function() return ended(pid) end)
        wait(function() -- they were sent before it ended, and may be heard after
          local ends, count = {}, 0
          for _, text in ipairs(events) do
            if text:find "^end" and not ends[text] then ends[text], count = true, count + 1 end
          end
          return count >= 98
        end)
        done {one = named[1] == nil, two = named[2], three = named[3] == nil, four = named[4], id = id,
              left = throng.stats().actors - before}
      end
    ]]
    assert.are.same({one = true, two = 1, three = true, four = 0, id = 101, left = -99}, found)
  end)

  it("stops all at once: each runs terminate, and those who hang share one stop_timeout", function()
    assert.are.same({true, 40, true}, {run [[
      function Me:init()
        local pid = tree {strategy = "dynamic", child = {module = "worker", stop_timeout = 1000}}
        local pids = {}
        for i = 1, 40 do
          pids[i] = supervisor.start_child(pid, {args = {throng.self(), "w" .. i}})
          pids[i]:send(i > 20 and "stubborn" or "slow")
          pids[i]:ask "ping"
        end
        take(40)
        throng.monitor(pid)
        throng.unlink(pid)
        local began = throng.now()
        throng.stop(pid)
        wait(function() return #downs == 1 end)
        local took, gone = throng.now() - began, true
        for _, each in ipairs(pids) do gone = gone and ended(each) end
        done(gone, #take(40), took < 20 * 1000) -- what it would take, one after the other
      end
    ]]})
  end)
end)

describe("death watch", function()
  it("on a pid gives one down when it dies, and none for its successor, which is a new identity", function()
    local found = run [[
      function Me:init()
        local pid = tree {intensity = {count = 10, seconds = 1}, children = {child "a"}}
        local old = throng.whereis "a"
        throng.monitor(old)
        for i = 1, 3 do
          throng.whereis "a":send "crash"
          wait(function() return supervisor.which(pid)[1].restarts == i and supervisor.child(pid, "a") end)
        end
        done {downs = #downs, whom = downs[1].pid == old, dead = ended(old), sent = {old:send "ping"},
              noproc = (function() throng.monitor(old) wait(function() return #downs == 2 end) return downs[2].reason end)()}
      end
    ]]
    assert.are.same({downs = 1, whom = true, dead = true, sent = {false, "dead"}, noproc = "noproc"}, found)
  end)

  it("on a child's id is silent about restarts, and gives one notice when it is down to stay", function()
    local found = run [[
      function Me:on_gone(id, reason) self.gone[#self.gone + 1] = {id, reason} end
      function Me:init()
        self.gone = {}
        local pid = tree {intensity = {count = 10, seconds = 1},
                          children = {child("a", {restart = "transient"}), child "b", child "c"}}
        for _, id in ipairs {"a", "b", "b", "c"} do supervisor.watch(pid, id) end
        for i = 1, 3 do
          throng.whereis "a":send "crash"
          wait(function() return supervisor.which(pid)[1].restarts == i and supervisor.child(pid, "a") end)
        end
        local none = #self.gone
        throng.whereis "a":send "leave"
        wait(function() return #self.gone == 1 end)
        supervisor.stop_child(pid, "b")
        wait(function() return #self.gone == 2 end)
        throng.unlink(pid)
        throng.stop(pid)
        wait(function() return #self.gone == 3 end)
        local again = select(2, pcall(supervisor.watch, pid, "a")).code
        done(none, self.gone, again)
      end
    ]]
    assert.are.equal(0, found)
    local _, gone, again = table.unpack {run [[
      function Me:on_gone(id, reason) done(id, {id, reason}, select(2, supervisor.watch(self.pid, "a")).code) end
      function Me:init()
        self.pid = tree {children = {child "a"}}
        supervisor.watch(self.pid, "a")
        supervisor.stop_child(self.pid, "a")
      end
    ]]}
    assert.are.same({{"a", "shutdown"}, "stopped"}, {gone, again})
  end)
end)

describe("a tree of supervisors", function()
  it("is whole again after any row of kills, with every seed", function()
    scenario.each_seed(5, function(number, options)
      local found = run(([[
        local NAMES = {"top", "all", "rest", "one"}
        for _, each in ipairs {"all", "rest", "one"} do for i = 1, 3 do NAMES[#NAMES + 1] = each .. i end end
        local function branch(id, strategy)
          local children = {}
          for i = 1, 3 do children[i] = child(id .. i) end
          return {id = id, module = "tree", options = {name = id}, wait = 60000, args = {
            {strategy = strategy, intensity = {count = 3, seconds = 0.05}, children = children}}}
        end
        local function whole()
          for _, name in ipairs(NAMES) do
            local pid = throng.whereis(name)
            if not pid then return false end
            if not name:find "%%d$" then
              local good, list = pcall(supervisor.which, pid)
              if not good then return false end
              for _, each in ipairs(list) do
                if each.state ~= "running" or throng.whereis(each.id) ~= each.pid then return false end
              end
            end
          end
          return true
        end
        function Me:init()
          math.randomseed(%d)
          throng.trap_exits(true)
          tree({intensity = {count = 1000000, seconds = 1}, children = {
            branch("all", "one_for_all"), branch("rest", "rest_for_one"), branch("one", "one_for_one")}}, {name = "top"})
          local before = throng.stats().actors
          for i = 1, 150 do
            local pid = throng.whereis(NAMES[math.random(2, #NAMES)])
            if pid then
              if math.random(2) == 1 then throng.kill(pid) else throng.stop(pid, "stopped") end
            end
            if math.random(3) == 1 then throng.sleep(math.random(3)) end
          end
          wait(whole)
          done(before, throng.stats().actors)
        end
      ]]):format(number), {options = options})
      assert.are.equal(14, found) -- the root, top, three branches, nine leaves
    end)
  end)
end)

describe("the node's end", function()
  it("stops a tree without a restart", function()
    local o = {ROOT .. [[
      function Me:init()
        tree {backoff = {least = 1e9}, children = {child "a", child "b"}}
        print("ready", throng.stats().spawned)
      end
      function Me:on_interrupt() throng.shutdown(3) end
      function Me:terminate() print("spawned", throng.stats().spawned) end
    ]]}
    for key, value in pairs(MODULES) do o[key] = value end
    local n = scenario.start(o)
    local spawned = n:read_until "ready\t(%d+)"
    n:signal "INT"
    local r = n:wait(10)
    assert.are.equal(3, r.code)
    assert.are.equal("spawned\t" .. spawned, r.lines[#r.lines])
    assert.is_nil(r.err:find "a child failed")
  end)
end)
