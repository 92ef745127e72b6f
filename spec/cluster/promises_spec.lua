--- What pids promise over nodes, where it wants several of them, or seconds: order and loss over a broken connection,
--- circles of asks over three nodes.
local cluster = require "spec.support.cluster"

local ASKER <const> = [[
  function Me:on_call(pid, ...) return pid:ask(...) end
  function Me:on_say(...) return ... end
]]

describe("promises over nodes:", function()
  it("what is sent over a connection that breaks comes in order, once at most; what does not come is told of", function()
    local keeper = cluster.listen("keeper", [[
      function Me:on_add(n)
        self.orderly = self.orderly ~= false and n > (self.last or 0)
        self.last, self.count = n, (self.count or 0) + 1
      end
      function Me:on_found() return self.orderly, self.count, self.last end
    ]], {"--set", "net.timeout=30000"})
    local sender = cluster.join(keeper, "sender", [[
      function Me:on_ready(root)
        self.root, self.n, self.taken, self.refused, self.lost, self.ups = root, 0, 0, 0, 0, 0
        throng.every(1, "beat")
        print "sends"
      end
      function Me:on_beat()
        for _ = 1, 50 do
          self.n = self.n + 1
          if self.root:send("add", self.n, ("x"):rep(self.n % 100)) then self.taken = self.taken + 1
          else self.refused = self.refused + 1 end
        end
      end
      function Me:on_other_node(name, state, lost)
        print("node " .. state)
        if state == "down" then self.lost = self.lost + lost return end
        self.ups = self.ups + 1
        if self.ups == 2 then throng.after(200, "finish") end
      end
      function Me:on_finish()
        local orderly, count, last = self.root:ask("found")
        local s = throng.stats()
        done {orderly, self.taken - count, self.lost + s.dead_unreachable - self.refused, last > 0, self.lost,
              s.net_unconfirmed}
      end
    ]], {"--set", "net.timeout=400", "--set", "net.heartbeat=50"})
    sender:read_until("sends", 20)
    for _ = 1, 2 do
      keeper:freeze()
      sender:read_until("node down", 20)
      keeper:signal "CONT"
      sender:read_until("node up", 20)
    end
    local found = sender:wait(30).json.results[1]
    keeper:kill()
    local orderly, missing, told, came, lost, unconfirmed = table.unpack(found)
    assert.are.same({true, true}, {orderly, came})
    assert(missing >= 0 and missing <= told, missing .. " are missing, " .. told .. " are told of")
    assert.are.equal(unconfirmed, lost) -- the script hears what the node counts
  end)

  it("a circle of asks over three nodes is found, and its words name all of them", function()
    local x = cluster.listen("x", ASKER)
    local y = cluster.join(x, "y", ASKER .. [[
      function Me:on_ready() throng.register "root" print "ready" end
    ]], {"--listen", "127.0.0.1:0"})
    y:read_until("ready", 20)
    local e = cluster.ask(x, "z", ASKER .. [[
      function Me:on_ready(root)
        local there repeat there = throng.whereis("root", "y") until there or throng.sleep(1)
        local mine = throng.spawn_with({wait = 10000, name = "mine"}, "caller")
        local e = try(throng.ask_within, 60000, mine, "call", root, "call", there, "call", mine, "say")
        done {e.code, e.message}
      end
    ]], nil, {caller = ASKER})
    assert.are.equal("deadlock", e[1])
    assert.matches("mine <%d+%.%d+@?z?>", e[2])
    assert.matches("root <%d+%.%d+@?x?>", e[2])
    assert.matches("root <%d+%.%d+@?y?>", e[2])
    x:kill()
    y:kill()
  end)

  it("hundreds of circles at once are all found, and who only waits long beside them is left alone", function()
    local x = cluster.listen("x", ASKER .. [[
      function Me:on_spawn() return throng.spawn "caller" end
    ]], nil, {caller = ASKER .. "function Me:on_wait(ms) throng.sleep(ms) return 'waited' end"})
    local found = cluster.ask(x, "z", [[
      function Me:on_ready(root)
        local codes, left = {}, 300
        for i = 1, 300 do
          local mine, there = throng.spawn "caller", root:ask "spawn"
          throng.fork(function()
            local e = i % 3 == 0 and throng.ask_within(60000, mine, "call", there, "wait", 1500)
              or try(throng.ask_within, 60000, mine, "call", there, "call", mine, "say").code
            codes[e] = (codes[e] or 0) + 1
            left = left - 1
            if left == 0 then done(codes) end
          end)
        end
      end
    ]], nil, {caller = ASKER})
    assert.are.same({deadlock = 200, waited = 100}, found)
    x:kill()
  end)
end)
