--- One half of the pair: sends, waits for the answer, and takes the time of each trip.
local histogram = require "throng.histogram"
local throng = require "throng"

local Pacer = {}

function Pacer:init()
  self.echo = throng.spawn("throng.bench.work.echo")
  self.echo:ask("ready")
end

local function trip(self, took)
  local at = throng.now()
  throng.ask_within(60000, self.echo, "next", 1)
  took:record((throng.now() - at) * 1e6)
end

function Pacer:on_trips(count)
  local took = histogram.new()
  for _ = 1, count do trip(self, took) end
  return took
end

function Pacer:on_paced(count, ms)
  self.took = histogram.new()
  for _ = 1, count do
    throng.sleep(ms)
    trip(self, self.took)
  end
end

function Pacer:on_took()
  return self.took
end

return Pacer
