--- Two actors, one integer asked and answered.
local gauge = require "throng.bench.work.gauge"
local histogram = require "throng.histogram"
local throng = require "throng"

local SAMPLE <const> = 64

local Ask = {}

function Ask:init(...)
  local trips, other = gauge.sizes(...).trips, throng.spawn("throng.bench.work.echo")
  other:ask("ready")
  local took, n, watch = histogram.new(), 0, gauge.start()
  while n < trips do
    for _ = 1, math.min(SAMPLE - 1, trips - n - 1) do n = other:ask("next", n) end
    local at = throng.now()
    n = other:ask("next", n)
    took:record((throng.now() - at) * 1e6)
  end
  local result = {messages = trips}
  result.seconds, result.cpu_seconds = gauge.stop(watch)
  gauge.latency(result, took, "round trip")
  gauge.result(result, gauge.differs("the count", n, trips))
end

return Ask
