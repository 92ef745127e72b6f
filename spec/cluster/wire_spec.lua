--- The network that the other specs here run on.
local netns = require "spec.support.netns"
local node = require "spec.support.node"
local process = require "door.process"

local PACKETS <const> = 400
local SIZE <const> = 128 -- bytes of one packet, its head too

--- Sends datagrams from one place to another, and waits until all have come to the wire. (A write after the answer that
--- nobody listens there fails, and is done again.)
local function send(net, from, to)
  local all = net:counts(from, to).packets + PACKETS
  node.run {program = "bash", netns = net:namespace(from), command = {"-c",
    ("exec 3>/dev/udp/%s/9; for ((i = 0; i < %d; i++)); do until printf '%%%ds' x >&3; do :; done; done"):format(
      net.address(to), PACKETS, SIZE - 28)}}
  local ends = process.now() + 20
  repeat until net:counts(from, to).packets >= all or process.now() > ends
end

local function counts(net, from, to)
  send(net, from, to)
  return net:counts(from, to)
end

describe("a wire between namespaces", function()
  it("hands on, cuts one way alone, and loses as many as it is told", function()
    local net <close> = netns.open(2)
    local perfect = counts(net, 1, 2)
    assert.are.same({PACKETS, PACKETS * SIZE, 0, 0, 0, 0},
      {perfect.packets, perfect.bytes, perfect.cut, perfect.lost, perfect.crowded, perfect.overtook})
    net:way(1, 2, {cut = true})
    assert.are.equal(PACKETS, counts(net, 1, 2).cut)
    assert.are.equal(0, net:counts(2, 1).cut)
    net:way(1, 2, {loss = 0.2})
    local lost = counts(net, 1, 2).lost
    assert(lost > 0.1 * PACKETS and lost < 0.3 * PACKETS, lost)
  end)

  it("drops what a slow one has no room for, and lets late packets be overtaken", function()
    local net <close> = netns.open(3)
    net:way(1, 2, {rate = 1000, queue = 50 * SIZE})
    assert(counts(net, 1, 2).crowded > PACKETS / 2)
    net:way(1, 3, {jitter = 5})
    net:way(2, 3, {delay = 5})
    send(net, 1, 3)
    send(net, 2, 3)
    send(net, 1, 3) -- by then those before have been handed on
    local uneven, even = net:counts(1, 3).overtook, net:counts(2, 3).overtook
    assert(uneven > PACKETS / 4, uneven)
    assert.are.equal(0, even)
  end)

  it("is a world apart: a place sees itself and the others, and nothing else", function()
    local net <close> = netns.open(1)
    local r = node.run {program = "bash", netns = net:namespace(1), command = {"-c", "tail -n +3 /proc/net/dev"}}
    local seen = {}
    for name in r.out:gmatch "(%w+):" do seen[#seen + 1] = name end
    table.sort(seen)
    assert.are.same({"lo", "wire0"}, seen)
  end)
end)
