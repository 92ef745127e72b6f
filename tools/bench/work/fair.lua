--- An unrelated pair beside an endless loop a worker. Three times: alone; a trip now and then, beside loops that count
--- how far they get (which tells what preemption costs them); and without a pause beside loops that never end.
local gauge = require "throng.bench.work.gauge"
local histogram = require "throng.histogram"
local throng = require "throng"

local BREAK_MS <const> = 2 -- between paced trips

local Fair = {}

local function spinners()
  local loops = {}
  for i = 1, throng.stats().workers do loops[i] = throng.spawn("throng.bench.work.spinner") end
  return loops
end

--- What the pacer measured: its histogram arrives as plain data.
local function measured(pacer, name, ...)
  return histogram.new():merge(throng.ask_within(60000, pacer, name, ...))
end

--- How far all loops get in a millisecond while they spin for that long.
local function spin(loops, ms)
  local turns = 0
  for _, loop in ipairs(loops) do loop:send("spin", ms, throng.self()) end
  for _, loop in ipairs(loops) do turns = turns + throng.ask_within(ms + 60000, loop, "turns") end
  return turns
end

function Fair:init(...)
  local sizes = gauge.sizes(...)
  local pacer, loops = throng.spawn("throng.bench.work.pacer"), spinners()
  local before = measured(pacer, "trips", sizes.trips)
  local ms = sizes.paced * BREAK_MS * 2
  local alone = spin(loops, ms)
  pacer:send("paced", sizes.paced, BREAK_MS)
  local beside = spin(loops, ms)
  local paced = measured(pacer, "took")

  for _, loop in ipairs(loops) do loop:send("spin_for_ever") end
  throng.sleep(20) -- by now each worker has one
  local watch = gauge.start()
  local during = measured(pacer, "trips", sizes.trips)
  local result = {messages = sizes.trips, slowdown = 1 - beside / alone}
  result.seconds, result.cpu_seconds = gauge.stop(watch)
  for _, loop in ipairs(loops) do throng.kill(loop) end
  gauge.latency(result, during, "round trip")
  result.before_p50_ns, result.before_p99_ns = before:percentile(50), before:percentile(99)
  result.paced_p50_ns, result.paced_p99_ns = paced:percentile(50), paced:percentile(99)
  gauge.result(result, gauge.differs("the number of trips", during:count(), sizes.trips)
    or gauge.differs("the number of paced trips", paced:count(), sizes.paced))
end

return Fair
