--- Regions tick their Guys. Timed from the first round until the last Guy has said how hungry he is, which he does
--- after all his ticks.
local gauge = require "throng.bench.work.gauge"
local histogram = require "throng.histogram"
local throng = require "throng"

local Tick = {}

function Tick:init(...)
  self.sizes = gauge.sizes(...)
  local s, regions = self.sizes, {}
  for i = 1, s.regions do
    regions[i] = throng.spawn("throng.bench.work.region", s.guys, s.rounds, s.all == 1)
  end
  for _, region in ipairs(regions) do throng.ask_within(60000, region, "ready") end
  self.left, self.sum, self.took = s.regions, 0, histogram.new()
  self.watch = gauge.start()
  throng.send_all(regions, "go")
end

function Tick:on_done(hunger, took)
  self.left, self.sum = self.left - 1, self.sum + hunger
  self.took:merge(took)
  if self.left > 0 then return end
  local s = self.sizes
  local result = {messages = s.regions * s.guys * s.rounds}
  result.seconds, result.cpu_seconds = gauge.stop(self.watch)
  gauge.latency(result, self.took, "round")
  gauge.result(result, gauge.differs("the sum of hunger", self.sum, result.messages))
end

return Tick
