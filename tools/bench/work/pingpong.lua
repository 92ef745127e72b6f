--- Two actors, one integer there and back, one on its way at a time.
local gauge = require "throng.bench.work.gauge"
local histogram = require "throng.histogram"
local throng = require "throng"

local SAMPLE <const> = 64 -- every so many round trips one is timed

local send <const> = throng.send

local PingPong = {}

function PingPong:init(...)
  self.sizes = gauge.sizes(...)
  self.other = throng.spawn("throng.bench.work.echo")
  self.other:ask("ready")
  self.at, self.took, self.watch = throng.now(), histogram.new(), gauge.start()
  self.other:send("ping", 1)
end

function PingPong:on_pong(n)
  if n % SAMPLE == 0 then
    self.took:record((throng.now() - self.at) * 1e6)
  end
  if n < self.sizes.trips then
    if (n + 1) % SAMPLE == 0 then self.at = throng.now() end
    send(self.other, "ping", n + 1)
    return
  end
  local result = {messages = n}
  result.seconds, result.cpu_seconds = gauge.stop(self.watch)
  gauge.latency(result, self.took, "round trip")
  gauge.result(result, gauge.differs("the other's count", self.other:ask("count"), n))
end

return PingPong
