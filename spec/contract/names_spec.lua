--- Names: one actor each, free again before anybody hears of its end; a new actor under an old name is another.
local scenario = require "spec.support.scenario"

local MODULES <const> = {
  named = [[
    function Me:on_register(name) return throng.register(name) end
    function Me:on_unregister(name) return throng.unregister(name) end
    function Me:on_die(reason) throng.exit(reason) end
    function Me:on_ping() return "pong" end
  ]],
}

local function run(text, more)
  local o = {text}
  for key, value in pairs(MODULES) do o[key] = value end
  for key, value in pairs(more or {}) do o[key] = value end
  return scenario.run(o)
end

describe("a name", function()
  it("is found by everybody from its registration on, and by nobody after it was given back", function()
    assert.are.same({"nil", true, true, true, "nil", false}, {run [[
      function Me:init()
        local before = throng.whereis "lobby"
        local good = throng.register "lobby"
        local mine = throng.whereis "lobby" == throng.self()
        done(before, good, mine, throng.unregister "lobby", throng.whereis "lobby", throng.unregister "lobby")
      end
    ]]})
  end)

  it("has one owner: the second is told that it is taken, and only the owner gives it back", function()
    assert.are.same({true, false, "taken", false, "taken", false, true}, {run [[
      function Me:init()
        local a, b = throng.spawn "named", throng.spawn "named"
        local one = a:ask("register", "lobby")
        local two, why = b:ask("register", "lobby")
        local again, why2 = a:ask("register", "lobby")
        done(one, two, why, again, why2, b:ask("unregister", "lobby"), throng.whereis "lobby" == a)
      end
    ]]})
  end)

  it("may be one of many that an actor has", function()
    assert.are.same({100, 100, 99}, {run [[
      function Me:init()
        local taken, found, left = 0, 0, 0
        for i = 1, 100 do if throng.register("name " .. i) then taken = taken + 1 end end
        for i = 1, 100 do if throng.whereis("name " .. i) == throng.self() then found = found + 1 end end
        throng.unregister "name 50"
        for i = 1, 100 do if throng.whereis("name " .. i) then left = left + 1 end end
        done(taken, found, left)
      end
    ]]})
  end)

  it("is any text of 1 to 200 bytes", function()
    assert.are.same({true, true, true, true, true, true}, {run [[
      function Me:init()
        local odd = "a\0b \xff\n"
        local good = throng.register(odd) and throng.whereis(odd) == throng.self() and throng.whereis "a" == nil
        done(good, throng.register(("x"):rep(200)), try(throng.register, ("x"):rep(201)) ~= nil,
             try(throng.register, "") ~= nil, try(throng.register, 5) ~= nil, try(throng.whereis, nil) ~= nil)
      end
    ]]})
  end)

  it("can be given at spawn, and is there before init runs and when spawn returns", function()
    assert.are.same({true, true}, {run([[
      function Me:init()
        throng.register "root"
        local pid = throng.spawn_with({name = "lobby"}, "knows")
        self.found = throng.whereis "lobby" == pid
      end
      function Me:on_me(same) done(self.found, same) end
    ]], {knows = [[
      function Me:init() throng.whereis("root"):send("me", throng.whereis "lobby" == throng.self()) end
    ]]})})
  end)

  it("that is taken makes spawn raise name_taken, and nothing was spawned", function()
    local code, message, spawned, links = run [[
      function Me:init()
        throng.spawn_with({name = "lobby"}, "named"):ask "ping"
        local before = throng.stats()
        local e = try(throng.spawn_with, {name = "lobby", link = true, monitor = true}, "named")
        local now = throng.stats()
        self.found = {e.code, e.message, now.spawned - before.spawned, "none"}
        throng.after(5, "look")
      end
      function Me:on_down(_, reason) self.found[4] = reason end
      function Me:on_look() done(table.unpack(self.found)) end
    ]]
    assert.are.equal("name_taken", code)
    assert.matches("'lobby'", message)
    assert.are.same({0, "none"}, {spawned, links})
  end)

  it("is free before the down comes, all of them, whatever the reason", function()
    assert.are.same({60, 0}, {run [[
      function Me:init()
        self.count, self.taken = 0, 0
        for i = 1, 20 do
          local pid = throng.spawn_with({name = "a" .. i, monitor = true}, "named")
          pid:ask("register", "b" .. i)
          self[pid] = i
          if i % 3 == 0 then throng.kill(pid)
          elseif i % 3 == 1 then pid:send "die"
          else pid:send("die", "x") end
        end
      end
      function Me:on_down(pid)
        local i = self[pid]
        self.count = self.count + 3
        if throng.whereis("a" .. i) or throng.whereis("b" .. i) then self.taken = self.taken + 1 end
        if not throng.register("a" .. i) then self.taken = self.taken + 1 end
        if self.count == 60 then done(self.count, self.taken) end
      end
    ]]})
  end)

  it("is free before a trapped exit comes, and before an ask ends with down", function()
    assert.are.same({"nil", "nil"}, {run [[
      function Me:init()
        throng.trap_exits(true)
        local pid = throng.spawn_with({name = "b"}, "named")
        try(throng.ask, pid, "die", "x")
        spin(function() return ended(pid) end)
        self.asked = throng.whereis "b"
        throng.spawn_with({name = "a", link = true}, "named"):send("die", "x")
      end
      function Me:on_exit() done(self.asked, throng.whereis "a") end
    ]]})
  end)

  it("under which a new actor lives leads to the new one; the old pid stays dead", function()
    assert.are.same({true, false, "dead", "pong", "noproc", "down"}, {run [[
      function Me:init()
        self.old = throng.spawn_with({name = "lobby", monitor = true}, "named")
        throng.kill(self.old)
      end
      function Me:on_down(pid, reason)
        if self.new then return done(self.differ, self.good, self.why, self.pong, reason, self.code) end
        self.new = throng.spawn_with({name = "lobby"}, "named")
        self.differ = self.new ~= self.old and throng.whereis "lobby" == self.new
        self.good, self.why = self.old:send "ping"
        self.pong = throng.whereis "lobby":ask "ping"
        self.code = try(throng.ask, self.old, "ping").code
        throng.monitor(self.old)
      end
    ]]})
  end)
end)

describe("a pid", function()
  it("is never used again, though its place is", function()
    assert.are.same({2000, 0, 0}, {run([[
      function Me:init()
        self.seen, self.count, self.twice = {}, 0, 0
        self:next()
      end
      function Me:next()
        local pid = throng.spawn_with({monitor = true}, "brief")
        if self.seen[pid] then self.twice = self.twice + 1 end
        self.seen[pid] = true
      end
      function Me:on_down()
        self.count = self.count + 1
        if self.count < 2000 then return self:next() end
        local alive, heirs = 0, {}
        for i = 1, 50 do heirs[i] = throng.spawn "named" end
        for pid in pairs(self.seen) do if pid:send "x" then alive = alive + 1 end end
        done(self.count, self.twice, alive)
      end
    ]], {brief = "function Me:init() throng.exit() end", options = {"--log", "error"}})})
  end)

  it("is equal to itself after any travel, a key of tables, and readable", function()
    assert.are.same({true, true, true, "userdata", true}, {run([[
      function Me:init()
        local e = throng.spawn "echo"
        local back, within = e:ask("echo", e, {list = {e}, [e] = "key"})
        done(back == e, within.list[1] == e, within[e] == "key", type(e),
             tostring(e):match "^<%d+%.%d+>$" == tostring(e))
      end
    ]], {echo = "function Me:on_echo(...) return ... end"})})
  end)

  it("has the methods send and ask, and nothing else is to be had or set", function()
    assert.are.same({"function", "function", "nil", "nil", true, true, false}, {run [[
      function Me:init()
        local me = throng.self()
        done(type(me.send), type(me.ask), type(me.kill), type(me[1]), try(function() me.x = 1 end) ~= nil,
             try(function() return #me end) ~= nil, getmetatable(me))
      end
    ]]})
  end)

  it("can't be made of other things: wrong arguments are errors that say what was expected", function()
    local texts = {run [[
      function Me:init()
        local texts = {}
        for i, wrong in ipairs {"<1.1>", 42, {}, throng.monitor(throng.self())} do
          texts[i] = try(throng.send, wrong, "x").message
        end
        table.insert(texts, try(throng.kill).message)
        table.insert(texts, try(throng.monitor, false).message)
        done(table.unpack(texts))
      end
    ]]}
    assert.are.equal(6, #texts)
    for _, text in ipairs(texts) do assert.matches("pid expected", text) end
  end)
end)

describe("self, parent and sender", function()
  it("are who they should be, in init, in handlers, asked or sent, in timers and forks", function()
    assert.are.same({"nil", true, true, true, true, true, true}, {run([[
      function Me:init()
        local child = throng.spawn("child", throng.self())
        local self_, parent, sender = child:ask "who"
        self.found = {throng.parent(), self_ == child, parent == throng.self(), sender == throng.self()}
        self.child = child
        child:send "tell"
      end
      function Me:on_told(parents, senders)
        local f = self.found
        done(f[1], f[2], f[3], f[4], throng.sender() == self.child, parents, senders)
      end
    ]], {child = [[
      function Me:init(root) self.parent_in_init = throng.parent() == root end
      function Me:on_who() return throng.self(), throng.parent(), throng.sender() end
      function Me:on_tell()
        self.root = throng.sender()
        throng.after(1, "timer")
      end
      function Me:on_timer()
        local self_sent = throng.sender() == throng.self()
        throng.fork(function()
          self.root:send("told", self.parent_in_init, self_sent and throng.sender() == nil)
        end)
      end
    ]]})})
  end)

  it("keep to the message: sender is the same after an ask in the handler", function()
    assert.are.same({true, true}, {run([[
      function Me:init()
        local child = throng.spawn "child"
        done(child:ask("who", throng.spawn "named"))
      end
    ]], {child = [[
      Me.concurrent = true
      function Me:on_who(other)
        local before = throng.sender()
        throng.self():send "x"
        other:ask "ping"
        return before == throng.parent(), throng.sender() == before
      end
      function Me:on_x() end
    ]]})})
  end)
end)

describe("names of the whole cluster", function()
  it("want a node that was started with --etcd, and say so", function()
    local found = scenario.run [[
      function Me:init()
        local all, heard = {scope = "cluster"}, {}
        for _, f in ipairs {"register", "unregister", "whereis"} do
          local e = try(throng[f], "lobby", all)
          heard[#heard + 1] = e.code .. ": " .. e.message
        end
        heard[#heard + 1] = tostring(throng.fence "lobby")
        done(heard)
      end]]
    local why = "names of the whole cluster are kept in etcd: start this node with --etcd http://HOST:2379"
    assert.are.same({"no_etcd: register: " .. why, "no_etcd: unregister: " .. why, "no_etcd: whereis: " .. why, "nil"}, found)
  end)

  it("are another thing than the node's, which {scope = 'node'} means, too", function()
    local found = scenario.run [[
      function Me:init()
        local here = {scope = "node"}
        done {throng.register("lobby", here), throng.whereis("lobby", here) == throng.self(), throng.whereis "lobby" == throng.self(),
              throng.unregister("lobby", {}), throng.whereis "lobby" == nil,
              try(throng.register, "lobby", {scope = "world"}).message, try(throng.whereis, "lobby", {scope = 1}).message,
              try(throng.unregister, "lobby", {node = "a"}).message}
      end]]
    for i = 1, 5 do assert.is_true(found[i]) end
    assert.matches("register: option 'scope' must be \"node\" or \"cluster\", not world", found[6])
    assert.matches("whereis: option 'scope' must be \"node\" or \"cluster\", not number", found[7])
    assert.matches("unregister: unknown option 'node' %(there is scope%)", found[8])
  end)
end)
