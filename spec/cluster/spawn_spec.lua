--- Actors that are born on another node, when something goes wrong meanwhile.
local cluster = require "spec.support.cluster"
local node = require "spec.support.node"

--- How often a node that logs all has fetched that file.
local function fetches(result, name)
  return select(2, result.err:gsub(("fetching [^\n]*%s%%.lua"):format(name), ""))
end

local GUY <const> = "function Me:init(...) self.args = {...} end function Me:on_where() return throng.node() end"

--- Waits until f() is true; for scripts.
local UNTIL <const> = [[
  local function until_(f)
    while true do
      local value = f()
      if value then return value end
      throng.sleep(2)
    end
  end
]]

describe("spawning on another node", function()
  it("ends with an error at once when that node is lost, and the actor is no more when it comes back", function()
    local b = cluster.bare("b")
    local a = cluster.beside(b, "a", [[
      function Me:on_ready()
        throng.trap_exits(true)
        local e = try(throng.spawn_with, {node = "b", wait = 60000, link = true, monitor = true}, "slow")
        print(e.code, e.message)
        local again = try(throng.spawn_with, {node = "b"}, "guy")
        print(again.code, again.message)
      end
    ]], nil, {slow = "function Me:init() throng.register 'slow' throng.sleep(60000) end", guy = GUY})
    local c = cluster.beside(b, "c", UNTIL .. [[
      function Me:on_ready() until_(function() return throng.whereis("slow", "b") end) print "it is born" end]])
    c:read_until "it is born"
    b:signal "KILL"
    a:read_until "down\t.* did not answer: the connection to node b was lost"
    a:read_until "unreachable\tspawn_with: no node 'b' is up; there is only a"
    a:kill()
    c:kill()
  end)

  it("that is not answered in time is an error, and whoever is born after that is killed", function()
    local b = cluster.bare("b", {"--set", "net.timeout=60000"})
    local a = cluster.beside(b, "a", UNTIL .. [[
      Me.concurrent = true
      function Me:on_ready()
        throng.spawn_with({node = "b"}, "guy")
        print "go"
      end
      function Me:on_interrupt()
        if self.went then return end
        self.went = true
        local e = try(throng.spawn_with, {node = "b", wait = 200, name = "late", link = true, monitor = true}, "guy")
        print(e.code, e.message)
        until_(function() return not throng.whereis("late", "b") end)
        print("gone", throng.stats().exited)
      end
      function Me:on_exit() print "an exit" end
      function Me:on_down() print "a down" end
    ]], {"--set", "net.timeout=60000"}, {guy = GUY})
    a:read_until "go"
    b:freeze()
    a:signal "INT"
    a:read_until("timeout\tspawn_with: node b made no actor in time", 20)
    b:signal "CONT"
    a:read_until("gone", 20)
    assert.is_nil(a.out:find("an exit", 1, true))
    assert.is_nil(a.out:find("a down", 1, true))
    a:kill()
    b:signal "INT"
    assert.are.equal(0, b:wait().code)
  end)

  it("waits for an init no longer than it says; then the child may be killed by its pid", function()
    local b = cluster.bare("b")
    local code, gone = cluster.found(b, "a", [[
      function Me:on_ready()
        throng.spawn_with({node = "b"}, "slow") -- so its code is there, whatever else this machine does
        local options = {node = "b", wait = 2000}
        local e = try(throng.spawn_with, options, "slow")
        throng.kill(options.pid)
        done(e.code, (throng.await(options.pid, 60000)))
      end
    ]], nil, {slow = "function Me:init() throng.sleep(60000) end"})
    assert.are.same({"timeout", true}, {code, gone})
    b:kill()
  end)

  it("whose body takes long holds up nobody there, and what two wait for is fetched once", function()
    local b = cluster.bare("b", {"--log", "debug", "--set", "body.timeout=60000"})
    local found = cluster.found(b, "a", [[
      Me.concurrent = true
      function Me:on_ready()
        throng.spawn_with({node = "b", name = "quick"}, "quick")
        self.quick = throng.whereis("quick", "b")
        for _ = 1, 5 do throng.fork(function()
          local pid = throng.spawn_with({node = "b", wait = 60000}, "heavy")
          self.made = (self.made or 0) + 1
          if self.made == 5 then done(self.most) end
        end) end
        self.most = 0
        throng.fork(function()
          while true do
            local began = throng.now()
            self.quick:ask "where"
            self.most = math.max(self.most, throng.now() - began)
            throng.sleep(1)
          end
        end)
      end
    ]], {"--set", "body.timeout=60000"}, {quick = GUY, heavy = "local till = os.clock() + 0.7 while os.clock() < till do end"})
    assert.is_true(found < 500 * node.slow, found)
    b:signal "INT"
    assert.are.equal(1, fetches(b:wait(), "heavy"))
  end)

  it("takes a version that came before from where it is, and a new one from where it was changed", function()
    local b = cluster.bare("b", {"--log", "debug"})
    local a = cluster.beside(b, "a", [[
      function Me:on_ready()
        local old = throng.spawn_with({node = "b"}, "guy")
        throng.spawn_with({node = "b"}, "guy")
        self.old = old
        print("old", old:ask "word")
      end
      function Me:on_interrupt()
        print("reload", throng.reload("guy").ok)
        local new = throng.spawn_with({node = "b"}, "guy")
        print("both", self.old:ask "word", new:ask "word")
      end
    ]], nil, {guy = "function Me:on_word() return 'one' end"})
    a:read_until "old\tone"
    local file <close> = assert(io.open(a.dir .. "/guy.lua", "w"))
    file:write "return {on_word = function() return 'two' end}"
    file:flush()
    a:signal "INT"
    a:read_until "both\tone\ttwo"
    a:kill()
    b:signal "INT"
    assert.are.equal(2, fetches(b:wait(), "guy"))
  end)

  it("is renewed there by a reload of all nodes, and by it alone; other nodes' modules of that name are left", function()
    local b = cluster.bare("b")
    local z = cluster.beside(b, "z", [[
      function Me:on_ready() self.guy = throng.spawn_with({node = "b"}, "guy") print("z", self.guy:ask "word") end
      function Me:on_interrupt() print("z", self.guy:ask "word") end
    ]], nil, {guy = "function Me:on_word() return 'other' end"})
    local a = cluster.beside(b, "a", [[
      function Me:on_ready()
        self.guys = {throng.spawn_with({node = "b"}, "guy"), throng.spawn "guy"}
        print("before", self.guys[1]:ask "word", self.guys[2]:ask "word", self.guys[1]:ask "count")
      end
      function Me:on_interrupt()
        print("after", self.guys[1]:ask "word", self.guys[2]:ask "word", self.guys[1]:ask "count")
        print("new", throng.spawn_with({node = "b"}, "guy"):ask "word")
      end
    ]], nil, {["./help.lua"] = "return {word = 'one'}",
      guy = [[
        local help = require "help"
        function Me:init() self.asked = 0 end
        function Me:on_word() self.asked = self.asked + 1 return help.word end
        function Me:on_count() return self.asked end]]})
    a:read_until "before\tone\tone\t1"
    z:read_until "z\tother"
    local file <close> = assert(io.open(a.dir .. "/help.lua", "w"))
    file:write "return {word = 'two'}"
    file:flush()
    local r = node.run {command = {"reload", "a", "help", "--all"}, env = {THRONG_RUN_DIR = cluster.dir()}}
    assert.are.equal(0, r.code, r.out .. r.err)
    a:signal "INT"
    a:read_until "after\ttwo\ttwo\t2"
    a:read_until "new\ttwo"
    z:signal "INT"
    z:read_until "z\tother"
    a:kill()
    z:kill()
    b:kill()
  end)

  it("is passed on: what came from one node is sent to the next, and its names lead to the first", function()
    local b = cluster.bare("b")
    local c = cluster.bare("c", {"--join", b.address})
    local found = cluster.found(b, "a", UNTIL .. [[
      function Me:on_ready()
        until_(function() return #throng.nodes() == 3 end)
        local one = throng.spawn_with({node = "b"}, "one")
        done {one:ask "go"}
      end
    ]], {"--listen", "127.0.0.1:0"}, {
      one = [[
        function Me:on_go()
          while #throng.nodes() < 3 do throng.sleep(2) end
          local two = throng.spawn_with({node = "c"}, "two")
          return throng.node(), two:ask "go"
        end]],
      two = "function Me:on_go() return throng.node(), throng.spawn('three'):ask 'go' end",
      three = "function Me:on_go() return throng.node() .. ' three' end"})
    assert.are.same({"b", "c", "c three"}, found)
    b:kill()
    c:kill()
  end)

  it("under supervision: a child whose node goes is started where there is room; one that is stopped is not", function()
    local b = cluster.bare("b", {"--can", "work"})
    local c = cluster.bare("c", {"--can", "work", "--join", b.address})
    local a = cluster.beside(b, "a", UNTIL .. [[
      local supervisor = require "throng.supervisor"
      function Me:on_ready()
        until_(function() return #throng.nodes() == 3 end)
        self.top = throng.spawn_with({wait = 20000}, "top")
        print("at", tostring(supervisor.child(self.top, "guy")))
      end
      function Me:on_other_node(name, state)
        if state ~= "down" or name ~= "b" then return end
        local pid = until_(function() return (supervisor.child(self.top, "guy")) end)
        print("then", tostring(pid), pid:ask "where")
        print("stopped", supervisor.stop_child(self.top, "guy"), (throng.await(pid, 20000)))
        print("which", supervisor.which(self.top)[1].state)
        print("again", tostring((supervisor.restart_child(self.top, "guy"))))
      end
    ]], {"--listen", "127.0.0.1:0"}, {guy = GUY,
      ["./top.lua"] = [[return require "throng.supervisor".behaviour {
        children = {{module = "guy", node = "b", requires = {work = true}}}}]]})
    a:read_until "at\t<[%d.]+@b>"
    b:signal "TERM" -- its actors are told to stop: that is no wish of their supervisor
    a:read_until "then\t<[%d.]+@c>\tc"
    a:read_until "stopped\ttrue\ttrue"
    a:read_until "which\tstopped"
    a:read_until "again\t<[%d.]+@c>"
    a:kill()
    c:kill()
  end)

  it("holds no more code of others than net.code", function()
    local b = cluster.bare("b", {"--set", "net.code=20000"})
    local e, still = cluster.found(b, "a", [[
      function Me:on_ready()
        local guy = throng.spawn_with({node = "b"}, "guy")
        local e = try(throng.spawn_with, {node = "b"}, "long")
        done({e.code, e.message}, guy:ask "where")
      end
    ]], nil, {guy = GUY, long = "--" .. ("x"):rep(30000)})
    assert.are.equal("spawn", e[1])
    assert.matches("node b: .*long.lua@a: it holds as much code of other nodes as it may %(net%.code, 20000 bytes%)", e[2])
    assert.are.equal("b", still)
    b:kill()
  end)
end)
