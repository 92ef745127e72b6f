--- Actors in a ring, one message goes round and counts its hops.
local gauge = require "throng.bench.work.gauge"
local throng = require "throng"

local Ring = {}

function Ring:init(...)
  self.sizes = gauge.sizes(...)
  local nodes, sum = {}, 0
  for i = 1, self.sizes.actors do nodes[i] = throng.spawn("throng.bench.work.ring_node") end
  for i, node in ipairs(nodes) do sum = sum + node:ask("join", nodes[i % #nodes + 1], i) end
  self.nodes, self.watch = nodes, gauge.start()
  nodes[1]:send("hop", self.sizes.hops)
end

--- Who got the last hop tells his number.
function Ring:on_done(number)
  local result, actors = {messages = self.sizes.hops}, self.sizes.actors
  result.seconds, result.cpu_seconds = gauge.stop(self.watch)
  local hops = 0
  for _, node in ipairs(self.nodes) do hops = hops + node:ask("hops") end
  gauge.result(result, gauge.differs("the last one's number", number, (self.sizes.hops - 1) % actors + 1)
    or gauge.differs("the sum of hops", hops, self.sizes.hops))
end

return Ring
