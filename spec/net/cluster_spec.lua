--- Nodes that find, lose and refuse each other: real programs on loopback.
local cluster = require "spec.support.cluster"
local node = require "spec.support.node"
local process = require "door.process"

local ECHO <const> = [[
  function Me:on_say(...) return ... end
  function Me:on_wait() throng.sleep(600000) end
  function Me:on_add(n) self.n = (self.n or 0) + n end
  function Me:on_sum() return self.n or 0 end
]]

local WATCH <const> = [[
  function Me:on_node(name, state) print("node " .. name .. " " .. state) end
  function Me:start() throng.watch_nodes(true) end
]]

--- Sends bytes, and returns what came until the other side had enough; or, `mute`, hangs up at once.
local function raw(address, bytes, mute)
  local port = address:match ":(%d+)$"
  return node.run {program = "bash", command = {"-c",
    ("exec 3<>/dev/tcp/127.0.0.1/%s; printf '%s' >&3; %s"):format(port, bytes,
      mute and "" or "timeout 5 cat <&3 | tr -c '[:print:]' '.'")}}
end

describe("members of a cluster", function()
  it("learn of each other through any one of them, however many come at once", function()
    local a = cluster.listen("a", WATCH)
    local others = {}
    for i = 1, 4 do
      others[i] = cluster.join(a, "n" .. i, [[
        function Me:on_ready() self.seen = {} throng.every(10, "look") end
        function Me:on_look()
          if #throng.nodes() == 5 and not self.said then self.said = true print "all five" end
        end
      ]], {"--listen", "127.0.0.1:0"})
    end
    for i = 1, 4 do others[i]:read_until("all five", 20) end
  end)

  it("hand on pids of third nodes", function()
    local a = cluster.listen("a", [[
      function Me:on_give() self.from = throng.sender() return self.pid end
      function Me:on_take(pid) self.pid = pid end
    ]])
    local b = cluster.join(a, "b", [[
      function Me:on_ready(root) local echo = throng.spawn("echo") throng.register "mine" root:ask("take", echo) print "given" end
    ]], {"--listen", "127.0.0.1:0"}, {echo = ECHO})
    b:read_until "given"
    local found = cluster.ask(a, "c", [[
      function Me:on_ready(root)
        self.pid = root:ask("give")
        Me.go(self)
      end
      function Me:on_other_node() Me.go(self) end
      function Me:go()
        if not self.pid or #throng.nodes() < 3 or self.went then return end
        self.went = true
        done {self.pid:ask("say", "hello", self.pid) == "hello", tostring(self.pid)}
      end
    ]])
    assert.is_true(found[1])
    assert.matches("@b>$", found[2])
  end)

  it("deliver what was sent before they end in order", function()
    local a = cluster.listen("a", [[
      function Me:on_add(n) self.n = (self.n or 0) + n end
      function Me:on_node(name, state) if state == "down" then print("sum " .. self.n) end end
      function Me:start() throng.watch_nodes(true) end
    ]])
    cluster.ask(a, "b", [[
      function Me:on_ready(root)
        for i = 1, 20000 do while not root:send("add", 1) do throng.sleep(1) end end
        throng.shutdown(0)
      end
    ]])
    assert.are.equal("20000", (a:read_until "sum (%d+)"))
  end)
end)

describe("a node that is lost", function()
  --- Tells what becomes of everything that is tied to it.
  local FOUND <const> = [[
    local function found(name, node) -- it may be up before its actors are
      local pid = throng.whereis(name, node)
      while not pid do throng.sleep(1) pid = throng.whereis(name, node) end
      return pid
    end
  ]]
  local TIED <const> = FOUND .. [[
    function Me:start() throng.watch_nodes(true) throng.trap_exits(true) end
    function Me:on_node(name, state)
      print("node " .. name .. " " .. state)
      if state == "up" then
        local echo = found("echo", name)
        if self.echo and self.echo ~= echo then print("old: " .. tostring(select(2, self.echo:send("say")))) end
        if not self.echo then
          self.echo = echo
          throng.link(echo)
          throng.monitor(echo)
          throng.fork(function()
            local e = try(throng.ask_within, 60000, echo, "wait")
            print("ask: " .. e.code .. " " .. tostring(e.reason) .. ": " .. e.message)
          end)
        end
        print("say: " .. tostring(try(function() return echo:ask("say") end)) .. " same " .. tostring(echo == self.echo))
      else
        print("send: " .. tostring(select(2, self.echo:send("say"))))
        local e = try(self.echo.ask, self.echo, "say")
        print("then: " .. e.code)
        local _, why = throng.await(self.echo, 60000)
        print("await: " .. why)
      end
    end
    function Me:on_down(pid, reason) print("down: " .. reason .. " " .. tostring(pid == self.echo)) end
    function Me:on_exit(pid, reason) print("exit: " .. reason .. " " .. tostring(pid == self.echo)) end
  ]]
  local HELD <const> = [[ function Me:init() throng.register "echo" throng.trap_exits(true) end Me.concurrent = true ]] .. ECHO

  local function lost(n)
    local all = {"ask: down noconnection: <[%d.]+@b> did not answer: the connection to node b was lost",
      "down: noconnection true", "exit: noconnection true", "node b down", "send: unreachable", "then: unreachable",
      "await: noconnection"}
    for _, pattern in ipairs(all) do
      local seen = n.seen.out
      n:read_until(pattern, 20)
      n.seen.out = seen
    end
    n:read_until("await: noconnection", 20)
  end

  it("by kill -9 fails what is tied to it at once; started anew, it is another, and old pids are dead", function()
    local a = cluster.listen("a", TIED .. "Me.concurrent = true ")
    local function start()
      return node.start {files = {["echo.lua"] = "local throng, Me = require 'throng', {} " .. HELD .. " return Me"},
        main = "echo.lua", options = {"--name", "b", "--join", a.address}, env = {THRONG_RUN_DIR = cluster.dir()}}
    end
    local b = start()
    a:read_until "say: nil same true"
    b:kill()
    lost(a)
    start()
    a:read_until "node b up"
    a:read_until "old: dead"
    a:read_until "say: nil same false"
  end)

  it("for a while (SIGSTOP) is given up after net.timeout, and is itself again when it comes back", function()
    local a = cluster.listen("a", TIED .. "Me.concurrent = true ", {"--set", "net.timeout=300"})
    local b = node.start {files = {["echo.lua"] = "local throng, Me = require 'throng', {} " .. HELD .. " return Me"},
      main = "echo.lua", options = {"--name", "b", "--join", a.address}, env = {THRONG_RUN_DIR = cluster.dir()}}
    a:read_until "say: nil same true"
    b:freeze()
    a:read_until("node b is down: not a word for 300 ms", 20)
    lost(a)
    b:signal "CONT"
    b:read_until("node a is down: ", 20)
    b:read_until("node a is up", 20)
    a:read_until("node b up", 20)
    a:read_until("say: nil same true", 20)
    b:kill()
  end)

  it("has perhaps not heard a kill or a stop: those are counted, until it says that they came", function()
    local a = cluster.listen("a", FOUND .. [[
      function Me:start() throng.watch_nodes(true) end
      function Me:on_node(name, state)
        if state == "down" then print("unconfirmed " .. throng.stats().net_unconfirmed) return end
        self.echo = found("echo", name)
        local first = self.echo:ask "victim"
        throng.kill(first)
        throng.await(first, 60000)
        print "killed"
      end
      function Me:on_interrupt()
        for i = 1, 5 do (i < 4 and throng.kill or throng.stop)(self.echo) end
        print "sent"
      end
    ]], {"--set", "net.timeout=300"})
    local function start()
      local b = node.start {main = "echo.lua", options = {"--name", "b", "--join", a.address},
        files = {["echo.lua"] = [[
          local throng, Me = require 'throng', {}
          function Me:init() throng.register "echo" end
          function Me:on_victim() return throng.spawn "victim" end
          return Me]], ["victim.lua"] = "return {}"}, env = {THRONG_RUN_DIR = cluster.dir()}}
      a:read_until "killed"
      return b
    end
    start():signal "TERM"
    assert.are.equal("0", (a:read_until "unconfirmed (%d+)"))
    local b = start()
    b:freeze()
    a:signal "INT"
    a:read_until "sent"
    local unconfirmed = tonumber((a:read_until "unconfirmed (%d+)")) -- of what was sent before, the request and the kill at most
    assert(unconfirmed >= 5 and unconfirmed <= 7, unconfirmed)
    b:kill()
  end)

  it("does not take the memory of who floods it while it stands still, and loses nothing in silence", function()
    local a = cluster.listen("a", FOUND .. [[
      function Me:start() throng.watch_nodes(true) end
      function Me:on_node(name, state)
        if state == "up" then self.echo = found("echo", name) print "ready" return end
        local s = throng.stats()
        print("lost " .. s.dead_unreachable + s.net_unconfirmed - self.before .. " of " .. self.sent)
      end
      function Me:on_flood()
        local text, rss = ("x"):rep(1000), throng.stats().rss_bytes
        local s = throng.stats()
        self.before, self.sent = s.dead_unreachable + s.net_unconfirmed, 0
        local refused = 0
        for i = 1, 50000 do
          local took, why = self.echo:send("add", 1, text)
          if took then self.sent = self.sent + 1 else refused = refused + 1 assert(why == "full") end
        end
        print(("refused %s grew %d"):format(refused > 10000, (throng.stats().rss_bytes - rss) // 2^20))
      end
      function Me:on_interrupt() Me.on_flood(self) end
    ]], {"--set", "net.timeout=700", "--set", "net.buffer=1m"})
    local b = node.start {files = {["echo.lua"] = "local throng, Me = require 'throng', {} " .. HELD .. " return Me"},
      main = "echo.lua", options = {"--name", "b", "--join", a.address}, env = {THRONG_RUN_DIR = cluster.dir()}}
    a:read_until "ready"
    b:freeze()
    a:signal "INT"
    local refused, grew = a:read_until("refused (%a+) grew (%d+)", 20)
    assert.are.equal("true", refused)
    assert(node.slow > 1 or tonumber(grew) < 32, grew)
    local count, of = a:read_until("lost (%d+) of (%d+)", 20)
    assert(tonumber(count) >= tonumber(of), count .. " of " .. of) -- some may be counted that arrived after all
    b:kill()
  end)
end)

describe("a stranger", function()
  it("is refused with a clear line on both sides: wrong cluster, secret, name, version, or no node at all", function()
    local a = cluster.listen("a", WATCH)
    local function refused(name, options, env, theirs, ours)
      local n = node.start {script = "return {}", env = {THRONG_RUN_DIR = env or cluster.dir()},
        options = {"--name", name, "--join", a.address, table.unpack(options)}}
      n:read_until("not joined at " .. a.address:gsub("%p", "%%%0") .. ": " .. theirs)
      if ours then a:read_until("a connection from 127.0.0.1:%d+ ended: " .. ours) end
      n:kill()
    end
    refused("x", {"--cluster", "other"}, nil, ".*cluster.*other", "refused.*cluster 'throng', you of 'other'")
    refused("x", {}, cluster.dir() .. "/other", ".*secret", "refused.*secret")
    refused("a", {}, nil, ".*the name 'a' is ours", "refused.*the name 'a' is ours")
    local b = cluster.join(a, "b", [[ function Me:on_ready() print "up" end ]])
    b:read_until "up"
    refused("b", {}, nil, "refused by it: \"the name 'b' is held by another node that is up\"", nil)
    local r = raw(a.address, [[\x20\0\0\0\x01THRONG\x63\0................1234]])
    assert.matches("we speak version 2 of the protocol between nodes, you version 99", r.out)
    raw(a.address, "GET / HTTP/1.0\\r\\n\\r\\n")
    raw(a.address, [[\xff\xff\xff\xff\xff\xff]])
    a:signal "TERM"
    assert.are.equal(143, a:wait().code)
  end)

  it("can't bring down a node with frames that are cut, too long or in the wrong order", function()
    local a = cluster.listen("a", WATCH)
    for _, bytes in ipairs {[[\x05\0\0\0\x03]], [[\x0d\0\0\0\x03\x01\x02\x03\x04\x05\x06\x07\x08]], [[\x05\0\0\0\x01]],
                            [[\x0b\0\0\0\x01THRONG]], [[\x04\0\0\0]], [[\x06\0\0\0\x04x]]} do
      raw(a.address, bytes, true)
    end
    assert.are.same({"hello"}, cluster.ask(a, "b", [[ function Me:on_ready() done {"hello"} end ]]))
  end)
end)

describe("the options of a cluster", function()
  local function complaint(options, env)
    local r = node.run {script = "return {}", options = options, env = {THRONG_RUN_DIR = env or cluster.dir()}}
    assert.are.equal(1, r.code)
    assert.are.equal("", r.out)
    return r.err
  end

  it("are checked before anything runs", function()
    local a = cluster.listen("a", WATCH)
    assert.matches("^throng: %-%-listen nonsense: HOST:PORT, such as", complaint {"--listen", "nonsense"})
    assert.matches("^throng: %-%-listen 0.0.0.0:0: beyond loopback, .* %-%-insecure allows that", complaint {"--listen", "0.0.0.0:0"})
    assert.matches("^throng: %-%-listen " .. a.address:gsub("%p", "%%%0") .. ": address already in use",
                   complaint {"--listen", a.address})
    assert.matches("^throng: %-%-join x: HOST:PORT", complaint {"--join", "127.0.0.1:1,x"})
    assert.matches("^throng: %-%-join 10.0.0.1:7101: beyond loopback", complaint {"--join", "10.0.0.1:7101"})
    for _, url in ipairs {"127.0.0.1:2379", "http://x", "http://x:1/v3", "ftp://x:1", "http://u@x:1", "http://x:2379,"} do
      assert.matches("^throng: %-%-etcd [^\n]*: http://HOST:PORT%[,http://HOST:PORT%], such as http://127.0.0.1:2379\n$",
                     complaint {"--etcd", url})
    end
    assert.matches("^throng: %-%-etcd%-ca, %-%-etcd%-cert and %-%-etcd%-key are for %-%-etcd https", complaint {"--etcd-ca", "x"})
    assert.matches("^throng: %-%-etcd%-ca /no/ca: no such file",
                   complaint {"--etcd", "https://127.0.0.1:1", "--etcd-ca", "/no/ca"})
    assert.matches("^throng: %-%-etcd%-cert and %-%-etcd%-key: both, or neither",
                   complaint {"--etcd", "https://127.0.0.1:1", "--etcd-key", "main.lua"})
    assert.matches("^throng: .* no such file", complaint {"--listen", "127.0.0.1:0", "--secret", "/nonexistent/file"})
  end)

  it("want a secret that nobody else can read, and make one that is so", function()
    local home = process.mkdtemp()
    local dir = home .. "/run"
    local n = node.start {script = "return {}", options = {"--listen", "127.0.0.1:0"}, env = {THRONG_RUN_DIR = dir}}
    n:read_until "listening"
    local r = node.run {program = "bash", command = {"-c",
      ("stat -c %%a %s/cluster.secret; wc -c < %s/cluster.secret; chmod 644 %s/cluster.secret"):format(dir, dir, dir)}}
    assert.are.same({"600", "65"}, r.lines)
    n:kill()
    assert.matches("others may read it: chmod 600 it", complaint({"--listen", "127.0.0.1:0"}, dir))
    node.run {program = "bash", command = {"-c", ("chmod 600 %s/cluster.secret; echo short > %s/cluster.secret"):format(dir, dir)}}
    assert.matches("shorter than 16 bytes", complaint({"--listen", "127.0.0.1:0"}, dir))
    process.remove_all(home)
  end)
end)

describe("a node that is sent a little while it sleeps", function()
  it("runs whom it is for on the loop's thread, and goes on if that one is stuck in C", function()
    local c = cluster.listen("stuck-here", [[
      function Me:on_spawn() return throng.spawn("stuck") end
      function Me:on_late() throng.sleep(20) return "late" end
      function Me:on_say(x) return x end
    ]], {"--set", "net.timeout=2000"}, {
      stuck = [[ function Me:on_go() return (('a'):rep(400)):find(('.-'):rep(12) .. 'b') end ]]})
    local found = cluster.ask(c, "asker", [[
      function Me:on_ready(root)
        local heard = {}
        for i = 1, 3 do
          local stuck = root:ask "spawn"
          for n = 1, 200 do root:ask("say", n) end -- short turns: the loop's thread takes to helping
          throng.sleep(20) -- all sleep there by then
          stuck:send "go"
          throng.sleep(5) -- it is sent alone
          heard[i] = {root:ask("say", i), root:ask "late"}
        end
        done(heard)
      end
    ]])
    assert.are.same({{1, "late"}, {2, "late"}, {3, "late"}}, found)
    c:signal "KILL"
    c:wait()
  end)
end)
