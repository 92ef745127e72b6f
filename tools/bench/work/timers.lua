--- Many timers over some seconds: how late each is; none is lost. Time is scaled: `ms` of it pass `speed` times as
--- fast. All are set before the first is due: whoever is busy setting timers could not hear one.
local gauge = require "throng.bench.work.gauge"
local histogram = require "throng.histogram"
local throng = require "throng"

local LEAD_MS <const> = 20
local LEAD_MS_EACH <const> = 0.003

local Timers = {}

function Timers:init(...)
  self.sizes = gauge.sizes(...)
  local s, holders = self.sizes, {}
  self.left, self.late = s.actors, histogram.new()
  for i = 1, s.actors do holders[i] = throng.spawn("throng.bench.work.timer_holder") end
  for _, holder in ipairs(holders) do holder:ask("ready") end
  self.watch = gauge.start()
  local start = throng.now() + LEAD_MS + s.timers * LEAD_MS_EACH
  for i, holder in ipairs(holders) do
    local from, to = s.timers * (i - 1) // s.actors, s.timers * i // s.actors
    holder:send("set", to - from, start, s.ms / s.speed)
  end
end

function Timers:on_done(late)
  self.left = self.left - 1
  self.late:merge(late)
  if self.left > 0 then return end
  local result = {messages = self.sizes.timers}
  result.seconds, result.cpu_seconds = gauge.stop(self.watch)
  gauge.latency(result, self.late, "lateness")
  gauge.result(result, gauge.differs("the number of timers that went off", self.late:count(), self.sizes.timers))
end

return Timers
