--- What becomes of nodes that talk when one thing goes wrong between them: a wire, or one of them. After each the
--- contract holds (spec/support/traffic.lua reads the history), all are together again, and new messages flow.
local cjson = require "cjson"
local netns = require "spec.support.netns"
local node = require "spec.support.node"
local traffic = require "spec.support.traffic"

local QUICK <const> = {"--set", "net.timeout=1000", "--set", "net.heartbeat=200"}

--- No node was ever given up, so nothing may be lost at all.
local function undisturbed(t, sums)
  for _, n in ipairs(t.every) do assert.is_nil(n.err:match "node n%d+ is down: not a word[^\n]*", n.id) end
  assert.are.equal(0, sums.lost)
end

describe("a cut", function()
  it("is noticed on both sides, spares the others, and heals", function()
    local net <close> = netns.open(3)
    local t = traffic.start(net, 3, QUICK)
    net:between(1, 2, {cut = true})
    t[1]:read_until "node n2 is down: not a word for 1000 ms"
    t[2]:read_until "node n1 is down: not a word for 1000 ms"
    t:go_on(0.5)
    net:heal()
    t[1]:read_until "node n2 is up"
    t:settle()
    t:go_on(0.3)
    local sums = t:check()
    assert.is_nil(t[3].err:match "is down: not a word")
    assert(sums.codes.unreachable > 0 and sums.codes.down > 0, "asks across the cut failed at once")
    assert(net:counts(1, 2).cut > 0 and net:counts(2, 1).cut > 0)
  end)

  it("that is shorter than net.timeout loses nothing", function()
    local net <close> = netns.open(2)
    local t = traffic.start(net, 2)
    t:go_on(0.2)
    net:between(1, 2, {cut = true})
    t:go_on(1)
    net:heal()
    t:settle()
    undisturbed(t, t:check())
    assert(net:counts(1, 2).cut > 0)
  end)

  it("of one way is a cut of both: one side hears nothing, and says so to the other", function()
    local net <close> = netns.open(3)
    local t = traffic.start(net, 3, QUICK)
    for from = 1, 2 do
      local deaf = 3 - from
      net:way(from, deaf, {cut = true})
      t[deaf]:read_until(("node n%d is down: not a word"):format(from))
      t[from]:read_until(("node n%d is down: "):format(deaf))
      t:go_on(0.5)
      net:heal()
      t[1]:read_until "node n2 is up"
      t[2]:read_until "node n1 is up"
      t:settle()
    end
    t:check()
    assert.is_nil(t[3].err:match "is down: not a word")
  end)

  it("in two halves of six heals, every pair of it", function()
    local net <close> = netns.open(12)
    local t = traffic.start(net, 12, QUICK, 1)
    for a = 1, 6 do
      for b = 7, 12 do net:between(a, b, {cut = true}) end
    end
    for a = 1, 6 do t[a]:read_until(("node n%d is down"):format(a + 6)) end
    for b = 7, 12 do t[b]:read_until(("node n%d is down"):format(b - 6)) end
    t:go_on(0.5)
    net:heal()
    for a = 1, 6 do
      t[a]:read_until(("node n%d is up"):format(a + 6), 40)
      t[a + 6]:read_until(("node n%d is up"):format(a), 40)
    end
    t:settle()
    t:check()
  end)
end)

describe("a bad wire", function()
  it("that is slow fills up, and says so to who sends; answers and heartbeats pass, nothing is lost", function()
    local net <close> = netns.open(3)
    local t = traffic.start(net, 3, {"--set", "net.buffer=128k", "--set", "net.window=64k"}, 20)
    net:between(1, 2, {rate = 100000, queue = 20000})
    t:go_on(4)
    net:heal()
    t:settle()
    local sums = t:check()
    undisturbed(t, sums)
    assert(t[1].report.refusals.full > 100, "it was full")
    assert.is_nil(t[3].report.refusals) -- and no other
  end)

  it("that is slow, and full of messages, brings answers soon: they do not wait in the kernel, either", function()
    local net <close> = netns.open(2)
    local t = traffic.start(net, 2, {"--set", "net.buffer=512k"}, 0)
    net:between(1, 2, {rate = 1000000, delay = 30, queue = 200000}) -- the kernel would take in three seconds of it
    t:tell(2, "start", "sink", 0)
    t:tell(1, "start", "flooder", "n2", 4000, 5000)
    t:go_on(2)
    t:tell(2, "start", "prober", "n1", 3000, math.floor(1500 * node.slow))
    local probe = cjson.decode((t[2]:read_until("prober ({[^\n]+)", 90)))
    assert.are.equal(probe.asked, probe.answered, probe.why)
    t[1]:read_until("flooder {", 90)
    net:heal()
    t:settle()
    undisturbed(t, t:check())
  end)

  it("that loses 20 % of all packets loses no message", function()
    local net <close> = netns.open(3)
    local t = traffic.start(net, 3)
    net:all {loss = 0.2}
    t:go_on(5)
    net:heal()
    t:settle()
    local sums = t:check()
    assert(net:total().lost > 100, "packets were lost")
    for place = 1, 3 do assert.is_nil(t[place].err:match "is down: it sent[^\n]*") end
    if sums.unconfirmed == 0 then undisturbed(t, sums) end -- else TCP itself was silent for too long
  end)

  it("that delays and reorders packets changes the order of no message", function()
    local net <close> = netns.open(3)
    local t = traffic.start(net, 3)
    net:between(1, 2, {delay = 10, jitter = 40})
    net:between(1, 3, {delay = 60, jitter = 5})
    net:way(2, 3, {delay = 1, jitter = 5, loss = 0.01})
    t:go_on(3)
    net:heal()
    t:settle()
    undisturbed(t, t:check())
    assert(net:counts(1, 2).overtook > 100 and net:counts(2, 1).overtook > 100, "packets overtook each other")
  end)
end)

describe("a node", function()
  it("that is killed (-9) and started anew is another, also where nobody saw the first one end", function()
    local net <close> = netns.open(3)
    local t = traffic.start(net, 3, QUICK)
    t[2]:kill()
    t[1]:read_until "node n2 is down"
    t:launch(2)
    t[1]:read_until "node n2 is up"
    t:settle()
    t:check()
  end)

  it("whose machine is gone is started on another: its name is free when the first one is given up", function()
    local net <close> = netns.open(4)
    local t = traffic.start(net, 3, QUICK)
    net:around(2, {cut = true}) -- so nobody sees that its connections end
    t[2]:kill()
    t:launch(2, 4)
    t[2]:read_until "not joined at 10.77.0.1:7100: refused by it: \"the name 'n2' is held by another node that is up\""
    t[1]:read_until "node n2 is down: not a word"
    t[1]:read_until "node n2 is up %(10.77.0.4"
    t[3]:read_until "node n2 is up %(10.77.0.4"
    t:settle()
    t:check()
  end)

  it("that stands still (SIGSTOP) is given up, and is itself again when it wakes", function()
    local net <close> = netns.open(3)
    local t = traffic.start(net, 3, QUICK)
    t[2]:freeze()
    t[1]:read_until "node n2 is down: not a word"
    t[3]:read_until "node n2 is down: not a word"
    t:go_on(0.5)
    t[2]:signal "CONT"
    t[1]:read_until "node n2 is up"
    t[3]:read_until "node n2 is up"
    t:settle()
    t:check()
    assert.are.equal(t[2].id, "n2#1")
  end)

  it("that stands still for less than net.timeout has not been away", function()
    local net <close> = netns.open(3)
    local t = traffic.start(net, 3)
    t[2]:freeze()
    t:go_on(1.5)
    t[2]:signal "CONT"
    t:go_on(0.5)
    t:settle()
    undisturbed(t, t:check())
  end)

  it("that wakes in a network that has lost it finds its way back", function()
    local net <close> = netns.open(3)
    local t = traffic.start(net, 3, QUICK)
    t[2]:freeze()
    net:around(2, {cut = true}) -- so it does not see their ends of the connections close
    t[1]:read_until "node n2 is down: not a word"
    t[3]:read_until "node n2 is down: not a word"
    t[2]:signal "CONT"
    t[2]:read_until "node n1 is down: not a word"
    net:heal()
    t[1]:read_until "node n2 is up"
    t[3]:read_until "node n2 is up"
    t:settle()
    t:check()
  end)
end)


describe("a node that floods another", function()
  it("is told to wait; memory, answers, heartbeats and all others stay as they are", function()
    local net <close> = netns.open(4)
    local t = traffic.start(net, 4, {"--set", "net.buffer=1m", "--set", "net.timeout=2000"}, 1)
    t:tell(2, "start", "sink", 0.2)
    t:tell(1, "start", "flooder", "n2", 2000, 3000)
    t:tell(2, "start", "prober", "n1", 2500) -- the answers come with the flood
    t:tell(3, "start", "prober", "n4", 2500)
    t:tell(3, "start", "prober", "n2", 2500)
    local function result(place, word) return cjson.decode((t[place]:read_until(word .. " ({[^\n]+)", 90))) end
    local flood = result(1, "flooder")
    assert(flood.whys.full > 100, "it was told to wait")
    -- Each is there, or a dead letter of a full mailbox, as may be the question how many there are.
    local told = flood.heard + flood.full
    assert(told >= flood.taken and told <= flood.taken + flood.full_asks, cjson.encode(flood))
    assert(node.slow > 1 or flood.grew < 24 << 20, ("its memory grew by %d bytes"):format(flood.grew))
    for _, place in ipairs {2, 3, 3} do
      local probe = result(place, "prober")
      assert.are.equal(probe.asked, probe.answered, probe.why)
      assert(probe.asked > 10)
    end
    t:settle()
    local sums = t:check()
    undisturbed(t, sums)
    assert.is_nil(t[3].report.refusals)
    assert.is_nil(t[4].report.refusals)
  end)
end)
