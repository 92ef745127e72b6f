--- Who comes, comes back, or comes twice: connections that cross each other, are late, or half there.
local cluster = require "spec.support.cluster"
local frames = require "door.net"
local netns = require "spec.support.netns"
local node = require "spec.support.node"
local process = require "door.process"
local traffic = require "spec.support.traffic"

-- A frame's length, and its type: the last words of a handshake (core/net/frame.h).
local WELCOME <const>, PROOF <const> = "\x0d\0\0\0\x03", "\x2d\0\0\0\x02"

describe("a node that one side has given up and the other has not", function()
  it("is taken anew", function()
    local net <close> = netns.open(2)
    for patient = 1, 2 do
      local t = traffic.start(net, 2, {"--set", "net.heartbeat=200", "--set", "net.timeout=1000",
                                       ["n" .. patient] = {"--set", "net.timeout=60000"}})
      local hasty = 3 - patient
      net:between(1, 2, {cut = true})
      t[hasty]:read_until(("node n%d is down: not a word"):format(patient))
      assert.is_nil(t[patient].err:match "is down")
      t:go_on(2.2) -- the session is no longer young
      net:heal()
      t[patient]:read_until(("node n%d is down"):format(hasty))
      t:settle()
      t:check()
    end
  end)

  it("does not hear, after what was said to it anew, what was said to it before", function()
    local net <close> = netns.open(2)
    local t = traffic.start(net, 2, {"--set", "net.heartbeat=200", "--set", "net.timeout=1000",
                                     n2 = {"--set", "net.timeout=4000"}})
    -- n1 decides, and begins to talk; n2 does not hear that it may, nor anything else.
    net:between(1, 2, {cut = true})
    t[1]:read_until "node n2 is down: not a word"
    t[2]:read_until "node n1 is down"
    net:heal()
    net:way(1, 2, {without = WELCOME})
    t[1]:read_until "node n2 is up"
    t[1]:read_until "node n2 is down: not a word"
    net:heal() -- the next connection comes to life before TCP tries again to bring what it still has of that one
    t[1]:read_until "node n2 is up"
    t:settle()
    t:go_on(2)
    t:check()
  end)
end)

describe("two nodes that dial each other at the same time", function()
  it("keep the connection they have, however late the other one is", function()
    local net <close> = netns.open(2)
    local hello = frames.hello("throng", "n1", net.address(1), 7100):sub(1, 5)
    net:way(1, 2, {without = hello, port = 7100}) -- n1's own connection has to wait
    net:way(2, 1, {without = PROOF, port = 7100}) -- until n2's is half there, and stays so
    local t = traffic.start(net, 2, {"--set", "net.heartbeat=200", "--set", "net.timeout=20000", meanwhile = function()
      local ends = process.now() + 20 * node.slow
      repeat until net:counts(2, 1).cut > 0 or process.now() > ends
      net:way(1, 2, {})
    end})
    t:go_on(2.2) -- the session is no longer young
    net:heal()
    t:go_on(4) -- TCP tries once more
    for place = 1, 2 do assert.is_nil(t[place].err:match "is down[^\n]*") end
    t:check()
  end)
end)

describe("two nodes of one name that join at the same time", function()
  it("are not both taken", function()
    local net <close> = netns.open(3)
    local dir = process.mkdtemp()
    local function start(place, name, options)
      return node.start {script = "return {}", netns = net:namespace(place), env = {THRONG_RUN_DIR = dir .. "/run"},
        options = {"--name", name, "--insecure", "--set", "net.heartbeat=200", table.unpack(options)}}
    end
    local address = net.address(1) .. ":7100"
    local z = start(1, "z", {"--listen", address})
    z:read_until "listening"
    net:around(1, {delay = 100}) -- time for both to say hello before either is welcome
    local both = {start(2, "a", {"--join", address}), start(3, "a", {"--join", address})}
    local place = tonumber(z:read_until "node a is up %(10.77.0.(%d)")
    both[4 - place]:read_until "not joined at 10.77.0.1:7100: refused by it: \"the name 'a' is held by another node"
    assert.is_nil(z.err:find("node a is up", z.seen.err, true), z.err)
    both[place - 1]:kill()
    z:read_until("node a is up %(10.77.0." .. 5 - place)
    process.remove_all(dir)
  end)
end)

describe("a node that may open no more files", function()
  it("says so once, stays up, and takes who waits as soon as it can", function()
    local dir = process.mkdtemp()
    local program = os.getenv "THRONG" or "throng"
    if program:sub(1, 1) ~= "/" then program = process.getcwd() .. "/" .. program end
    local function start(name, options, limit)
      return node.start {program = "bash", files = {["main.lua"] = "return {}"}, env = {THRONG_RUN_DIR = dir .. "/run"},
        command = {"-c", ("ulimit -n %d; exec %s run --set net.timeout=1000 --name %s %s main.lua"):format(limit or 1024,
          program, name, options)}}
    end
    local a = start("a", "--listen 127.0.0.1:0 --workers 1", 20)
    local join = "--workers 1 --join " .. a:read_until "listening for nodes of the cluster throng on (%S+)"
    local others = {}
    for i = 1, 12 do others[i] = start("n" .. i, join) end
    a:read_until "no connection is taken: too many open files %(ulimit %-n%)"
    local function first(word)
      local ends = process.now() + 20 * node.slow
      while process.now() < ends do
        for _, n in ipairs(others) do
          n:pump(0.01)
          if n.err:find(word) then return n end
        end
      end
      error("nobody says " .. word)
    end
    first "not joined at [^\n]+: no answer in time"
    a:pump(0)
    local _, said = a.err:gsub("no connection is taken", "")
    assert.are.equal(1, said)
    first "node a is up":kill()
    a:read_until "is down"
    a:read_until "is up"
    process.remove_all(dir)
  end)
end)

describe("a node of which others told", function()
  it("is dialed for net.forget after it was lost, found when it is back by then, and given up after that", function()
    local a = cluster.listen("a", "", {"--set", "net.forget=3000"})
    local b = cluster.listen("b", "", {"--join", a.address})
    a:read_until "node b is up"
    b:kill()
    a:read_until "node b is down"
    local again = cluster.listen("b", "", {"--listen", b.address}) -- it joins nobody: it is dialed
    again:read_until "node a is up"
    again:kill()
    a:read_until(b.address:gsub("%p", "%%%0") .. " for 3000 ms: it is not dialed any more %(net.forget%)")
    a:kill()
  end)
end)
