--- Members and names in etcd: real etcds, real nodes, and what goes wrong between them.
local cluster = require "spec.support.cluster"
local etcd = require "spec.support.etcd"
local node = require "spec.support.node"
local process = require "door.process"
local relay = require "door.relay"

--- Says who holds the name, as this node knows.
local CLERK <const> = [[
  local ALL = {scope = "cluster"}
  function Me:start() throng.watch_nodes(true) throng.every(20, "read") end
  function Me:on_node(name, state) print("node " .. name .. " " .. state) end
  function Me:on_name(name, what) print(name .. " " .. what) end
  function Me:on_read()
    local pid, fence = throng.whereis("lobby", ALL)
    local text = "lobby: " .. tostring(pid) .. " " .. tostring(fence)
    if text ~= self.text then self.text = text print(text) end
  end
]]

local HOLDER <const> = CLERK .. [[
  local start = Me.start
  function Me:start()
    start(self)
    print("registered", throng.register("lobby", ALL))
  end
]]

--- Evaluates it there, until what comes of it has the pattern; returns what that finds.
local function eval(n, lua, pattern)
  local deadline = process.now() + 20 * node.slow
  while true do
    local r = node.run {command = {"eval", n.name, lua}, env = {THRONG_RUN_DIR = cluster.dir()}}
    local found = r.out:match(pattern)
    if found then return found end
    if process.now() > deadline then error(("%s says %q"):format(lua, r.out .. r.err), 2) end
  end
end

--- Takes in what the nodes say until the condition holds.
local function until_true(nodes, what, condition)
  local deadline = process.now() + 30 * node.slow
  repeat
    for _, n in ipairs(nodes) do n:pump(0.01) end
    if process.now() > deadline then error("it does not come: " .. what, 2) end
  until condition()
end

describe("nodes with --etcd", function()
  it("find each other, and those that come later", function()
    local e = etcd.start()
    local a = etcd.node(e, "a", CLERK)
    local b = etcd.node(e, "b", CLERK)
    a:read_until "node b up"
    b:read_until "node a up"
    local c = etcd.node(e, "c", CLERK)
    until_true({c}, "all are known", function() return c.out:find "node a up" and c.out:find "node b up" end)
    a:read_until "node c up"
    assert.are.equal(a.address, e:get("nodes/a").address)
  end)

  it("hold names that all know, with a fence that grows", function()
    local e = etcd.start()
    local a = etcd.node(e, "a", HOLDER)
    local fence = tonumber(a.out:match "registered%s+true%s+(%d+)")
    local _, revision = e:get "names/lobby"
    assert.are.equal(revision, fence)
    local b = etcd.node(e, "b", CLERK)
    assert.are.equal(fence, tonumber(b:read_until "lobby: <%d+%.%d+@a> (%d+)"))
    eval(b, "throng.register('lobby', {scope = 'cluster'})", "taken")
    local list = node.run {command = {"names", "b", "--scope", "cluster", "--json"}, env = {THRONG_RUN_DIR = cluster.dir()}}
    assert.are.same({"lobby", fence}, {list.json.name, list.json.fence}, list.out .. list.err)
    a:signal "TERM"
    a:wait()
    b:read_until "lobby: nil"
    local after = tonumber(eval(b, "throng.register('lobby', {scope = 'cluster'})", "true, (%d+)"))
    assert.is_true(after > fence)
  end)

  it("free a name at once when its holder gives it up or dies, though the lease goes on for a minute", function()
    local e = etcd.start()
    local a = etcd.node(e, "a", [[
      function Me:start() self.child = throng.spawn_with({wait = 60000}, "child") end
      function Me:on_free(how) if how == "kill" then throng.kill(self.child) else self.child:ask("free") end end
    ]], {"--set", "etcd.ttl=60000"}, {child = [[
      function Me:init() print("child", throng.register("lobby", {scope = "cluster"})) end
      function Me:on_free()
        print("freed", throng.unregister("lobby", {scope = "cluster"}), throng.fence "lobby")
        print("child", throng.register("lobby", {scope = "cluster"}))
      end
    ]]})
    local first = tonumber(a.out:match "child%s+true%s+(%d+)")
    local b = etcd.node(e, "b", CLERK, {"--set", "etcd.ttl=60000"})
    b:read_until("lobby: <%d+%.%d+@a> " .. first)
    eval(a, "throng.whereis('root'):send('free')", "true")
    a:read_until "freed%s+true%s+nil"
    local second = tonumber(a:read_until "child%s+true%s+(%d+)")
    assert.is_true(second > first)
    b:read_until("lobby: <%d+%.%d+@a> " .. second)
    eval(a, "throng.whereis('root'):send('free', 'kill')", "true")
    b:read_until "lobby: nil"
  end)

  it("let one of many that want a name have it", function()
    local e, nodes = etcd.start(), {}
    for i = 1, 6 do nodes[i] = etcd.node(e, "n" .. i, etcd.CLAIMANT) end
    until_true(nodes, "a holder", function() return #etcd.history(nodes) > 0 end)
    local holder = etcd.history(nodes)[1].node
    for _, n in ipairs(nodes) do
      if n.name == holder then
        n:signal "TERM"
        n:wait()
      end
    end
    until_true(nodes, "another", function() return #etcd.history(nodes) > 1 end)
  end)

  it("refuse to start under a name that another has", function()
    local e = etcd.start()
    local a = etcd.node(e, "a", CLERK)
    local r = node.run {script = "return {}", options = {"--name", "a", "--listen", "127.0.0.1:0", "--etcd", e.url,
      "--set", "etcd.ttl=2000"}, env = {THRONG_RUN_DIR = cluster.dir()}}
    assert.are.equal(1, r.code)
    assert.truthy(r.err:find("throng: --name a: another node of the cluster throng holds that name in etcd, at "
      .. a.address .. ": nodes need names of their own\n", 1, true), r.err)
  end)

  it("take their own name again after a kill -9, when the lease of the one before is over", function()
    local e = etcd.start()
    local a = etcd.node(e, "a", CLERK)
    a:kill()
    local again = etcd.node(e, "a", CLERK)
    again:read_until "another process has the name a"
    assert.are.equal(again.address, e:get("nodes/a").address)
  end)

  it("stop an actor that loses its name and has no on_name", function()
    local e = etcd.start()
    local a = etcd.node(e, "a", [[
      function Me:start() throng.monitor(throng.spawn "deaf") end
      function Me:on_down(_, reason) print("down: " .. tostring(reason)) end
    ]], nil, {deaf = "function Me:init() print('deaf', throng.register('lobby', {scope = 'cluster'})) end"})
    a:read_until "deaf%s+true"
    e:delete "names/lobby"
    a:read_until "down: name lost"
  end)

  it("put their own key back when somebody deletes it, and take no notice of what is none of theirs", function()
    local e = etcd.start()
    local a = etcd.node(e, "a", HOLDER)
    local one = '"incarnation":"0000000000000001"'
    for _, rubbish in ipairs {"", "{", "[]", '{"incarnation":"x"}', ("x"):rep(5000),
                              "{" .. one .. ',"address":"nowhere"}',
                              "{" .. one .. ',"node":"a b","pid":"0000000001000000","claim":"0000000000000001"}'} do
      e:put("nodes/rubbish", rubbish)
      e:put("nodes/" .. ("r"):rep(300), rubbish)
      e:put("names/rubbish", rubbish)
      e:put("rubbish", rubbish)
    end
    e:delete "nodes/a"
    a:read_until "node a is known there again"
    e:delete "names/lobby"
    a:read_until "lobby lost"
    a:read_until "lobby: nil"
  end)
end)

describe("etcd by https", function()
  it("is used with certificates on both sides, and none that another authority has signed", function()
    local made, other = node.start {command = {"certs", "certs", "localhost", "a"}},
                        node.start {command = {"certs", "certs", "localhost", "a"}}
    assert.are.same({0, 0}, {made:wait().code, other:wait().code})
    local function options(dir)
      return {"--etcd-ca", dir .. "/ca.pem", "--etcd-cert", dir .. "/a.pem", "--etcd-key", dir .. "/a.key"}
    end
    local certs, foreign = made.dir .. "/certs", other.dir .. "/certs"
    local e = etcd.start(1, certs)
    local b = etcd.node(e, "b", CLERK, options(foreign))
    b:read_until "etcd does not answer %(https://localhost:%d+: SSL"
    local c = etcd.node(e, "c", CLERK)
    c:read_until "etcd does not answer %(https://localhost:%d+: SSL"
    local a = etcd.node(e, "a", HOLDER, options(certs))
    assert.matches("registered%s+true", a.out)
  end)
end)

describe("etcd away", function()
  it("at the start: nodes run, say so once, and are members when it comes", function()
    local e = etcd.start()
    e[1]:kill()
    local a = etcd.node(e, "a", etcd.CLAIMANT)
    a:read_until "etcd does not answer %(http://127%.0%.0%.1:%d+: .-%)"
    e:again(1)
    a:read_until "etcd answers"
    a:read_until "this is node a of the cluster throng"
    a:read_until "held %d+"
    local _, times = a.err:gsub("etcd does not answer", "")
    assert.are.equal(1, times)
  end)

  local function away(what, begin)
    it(what, function()
      local e = etcd.start()
      local a = etcd.node(e, "a", etcd.CLAIMANT)
      a:read_until "held %d+"
      local b = etcd.node(e, "b", etcd.CLAIMANT)
      b:read_until "node a up"
      local go_on = begin(e)
      a:read_until "lobby lost"
      a:read_until "etcd does not answer"
      b:read_until "the lease in etcd is over" -- whose lease is over knows nothing of others' names
      eval(b, "throng.whereis('lobby', {scope = 'cluster'})", "unreachable")
      eval(b, "throng.register('lobby', {scope = 'cluster'})", "unreachable")
      assert.are.equal("17", eval(b, "throng.whereis('root', 'a'):ask('say', 17)", "%d+"))
      go_on()
      a:read_until "known there again"
      b:read_until "known there again"
      until_true({a, b}, "a holder", function() return #etcd.history {a, b} > 1 end)
      assert.falsy((a.err .. b.err):find "node %w is down")
    end)
  end

  away("for a while, as it stands still: what is joined goes on, names are given up, and taken anew", function(e)
    e[1]:freeze()
    return function() e[1]:signal "CONT" end
  end)

  away("for a while, as it was killed: what is joined goes on, names are given up, and taken anew", function(e)
    e[1]:kill()
    return function() e:again(1) end
  end)
end)

describe("three etcds", function()
  it("of which the leader is killed: names are kept, and others find them", function()
    local e = etcd.start(3)
    local a = etcd.node(e, "a", etcd.CLAIMANT, {"--set", "etcd.ttl=8000"})
    a:read_until "held %d+"
    local b = etcd.node(e, "b", CLERK, {"--set", "etcd.ttl=8000"})
    b:read_until "lobby: <%d+%.%d+@a>"
    local leader = e:leader()
    e[leader]:kill()
    e:wait()
    local c = etcd.node(e, "c", CLERK)
    until_true({a, b, c}, "all is known", function()
      return c.out:find "lobby: <%d+%.%d+@a>" and c.out:find "node a up" and c.out:find "node b up"
    end)
    e:again(leader)
    e:wait()
    a:pump(0)
    assert.are.equal(1, #etcd.history {a})
    assert.falsy(a.out:find "lobby lost")
  end)

  it("of which the leader stands still and wakes: never two holders", function()
    local e = etcd.start(3)
    local nodes = {etcd.node(e, "a", etcd.CLAIMANT), etcd.node(e, "b", etcd.CLAIMANT)}
    until_true(nodes, "a holder", function() return #etcd.history(nodes) > 0 end)
    for _ = 1, 3 do
      local leader = e:leader()
      e[leader]:freeze()
      until_true(nodes, "another leader", function()
        local good, now = pcall(e.leader, e)
        return good and now ~= leader
      end)
      e[leader]:signal "CONT"
      e:wait()
      local terms = etcd.history(nodes)
      local last = terms[#terms].to
      until_true(nodes, "a holder", function()
        local now = etcd.history(nodes)
        return now[#now].to > last
      end)
    end
  end)

  it("that have forgotten what a node that stood still has missed: it reads all anew", function()
    local e = etcd.start(3)
    local a = etcd.node(e, "a", HOLDER, {"--set", "etcd.ttl=60000"})
    local b = etcd.node(e, "b", CLERK, {"--set", "etcd.ttl=60000", "--log", "debug"})
    b:read_until "lobby: <%d+%.%d+@a>"
    b:freeze()
    e[1]:kill() -- the one that b watches: what comes now does not wait for b in a socket
    e:delete "names/lobby"
    for i = 1, 10 do e:put("else", tostring(i)) end
    local header = e:call("/v3/kv/range", {key = "AA=="}).header
    e:call("/v3/kv/compaction", {revision = header.revision, physical = true})
    b:signal "CONT"
    b:read_until "etcd has forgotten revision %d+: all is read anew"
    b:read_until "lobby: nil"
    a:read_until "lobby lost"
  end)
end)

describe("a holder", function()
  it("killed with its node: another has the name when the lease is over, and not before", function()
    local e = etcd.start()
    local a = etcd.node(e, "a", etcd.CLAIMANT)
    a:read_until "held %d+"
    local b = etcd.node(e, "b", etcd.CLAIMANT)
    b:read_until "node a up"
    a:kill()
    b:read_until "held %d+"
    local terms = etcd.history {a, b}
    assert.are.same({"a", "b"}, {terms[1].node, terms[2].node})
  end)

  it("that stands still past its lease, and wakes, does not have the name for a single look", function()
    local e = etcd.start()
    local a = etcd.node(e, "a", etcd.CLAIMANT)
    a:read_until "held %d+"
    local b = etcd.node(e, "b", etcd.CLAIMANT)
    b:read_until "node a up"
    a:freeze()
    b:read_until "held %d+"
    a:signal "CONT"
    a:read_until "lobby lost"
    b:read_until "held %d+"
    local terms = etcd.history {a, b}
    assert.are.equal("a", terms[1].node)
    assert.are.equal("b", terms[2].node)
    assert.are.equal(terms[2].fence, tonumber(eval(a, "throng.whereis('lobby', {scope = 'cluster'})", "@b>, (%d+)")))
  end)

  it("cut off from etcd, not from its peers, gives the name up before another has it; messages go on", function()
    local e = etcd.start()
    local way <close> = relay.open(e.ports[1])
    local a = etcd.node("http://127.0.0.1:" .. way:port(), "a", etcd.CLAIMANT)
    a:read_until "held %d+"
    local b = etcd.node(e, "b", etcd.CLAIMANT)
    b:read_until "node a up"
    way:cut(true)
    a:read_until "lobby lost"
    b:read_until "held %d+"
    assert.are.equal("17", eval(b, "throng.whereis('root', 'a'):ask('say', 17)", "%d+"))
    eval(a, "throng.whereis('lobby', {scope = 'cluster'})", "unreachable")
    way:cut(false)
    a:read_until "known there again"
    eval(a, "throng.register('lobby', {scope = 'cluster'})", "taken")
    local terms = etcd.history {a, b}
    assert.are.same({"a", "b"}, {terms[1].node, terms[2].node})
    assert.falsy((a.err .. b.err):find "node %w is down")
  end)

  it("whose claim's answer is lost has the name all the same, and once", function()
    local e = etcd.start()
    local way <close> = relay.open(e.ports[1])
    local a = etcd.node("http://127.0.0.1:" .. way:port(), "a", [[
      function Me:on_go() print "claims" print("registered", throng.register("lobby", {scope = "cluster"})) end
    ]], {"--set", "etcd.ttl=20000"})
    way:cut(true)
    eval(a, "throng.whereis('root'):send('go')", "true")
    a:read_until "claims"
    a:read_until "etcd does not answer" -- the first try is given up, and waits in the wire
    way:cut(false)
    local fence = tonumber(a:read_until "registered%s+true%s+(%d+)")
    local _, revision = e:get "names/lobby"
    assert.are.equal(revision, fence)
  end)
end)
