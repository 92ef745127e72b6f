--- A node full of actors that have nothing to do: what does it cost?
local gauge = require "throng.bench.work.gauge"
local throng = require "throng"

local Idle = {}

function Idle:init(...)
  local sizes, guys = gauge.sizes(...), {}
  for i = 1, sizes.actors do guys[i] = throng.spawn("throng.bench.work.guy") end
  for _, guy in ipairs(guys) do throng.ask_within(60000, guy, "hunger") end
  throng.sleep(300)
  local watch, slices = gauge.start(), throng.stats().slices
  throng.sleep(sizes.ms)
  local result = {messages = sizes.actors}
  result.seconds, result.cpu_seconds = gauge.stop(watch)
  result.rate = 100 * result.cpu_seconds / result.seconds
  result.slices = throng.stats().slices - slices
  gauge.result(result, throng.stats().actors < sizes.actors and "actors are missing" or nil)
end

return Idle
