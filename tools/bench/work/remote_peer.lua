--- The other node of the bench `remote`: answers, counts, and ends when the one that measures does.
local throng = require "throng"

local send <const> = throng.send

local Peer = {}

function Peer:init()
  self.count = 0
  throng.register "peer"
  throng.watch_nodes(true)
end

function Peer:on_ping(n)
  self.count = self.count + 1
  send(throng.sender(), "pong", n)
end

function Peer:on_next(n)
  self.count = self.count + 1
  return n + 1
end

function Peer:on_expect(total)
  self.count, self.bytes, self.total = 0, 0, total
end

function Peer:on_take(payload)
  self.count = self.count + 1
  if type(payload) == "string" then self.bytes = self.bytes + #payload end
  if self.count == self.total then send(throng.sender(), "received", self.count, self.bytes) end
end

function Peer:on_region(guys)
  return throng.spawn("throng.bench.work.region", guys)
end

function Peer:on_count()
  return self.count
end

function Peer:on_node(_, state)
  if state == "down" then throng.shutdown(0) end
end

return Peer
