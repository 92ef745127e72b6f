--- What all workloads share: their sizes, a stopwatch over time and CPU, and the one line a result is.
local cjson = require("cjson").new()
local throng = require "throng"

local gauge = {}

cjson.encode_number_precision(14)

--- "guys=1000", "all=1" ... as a table; numbers where they are whole.
---@param ... string
---@return table<string, integer|string>
function gauge.sizes(...)
  local sizes = {}
  for _, word in ipairs {...} do
    local key, value = word:match("^([^=]+)=(.*)$")
    if not key then error(("'%s' is no size: KEY=VALUE"):format(word)) end
    sizes[key] = math.tointeger(value) or value
  end
  return sizes
end

---@class throng.bench.Watch
---@field at number   throng.now()
---@field cpu integer ns the process had used

---@return throng.bench.Watch
function gauge.start()
  return {cpu = throng.stats().cpu_ns, at = throng.now()}
end

--- Seconds since, and CPU seconds used since.
---@param watch throng.bench.Watch
---@return number seconds
---@return number cpu_seconds
function gauge.stop(watch)
  local seconds = (throng.now() - watch.at) / 1000
  return seconds, (throng.stats().cpu_ns - watch.cpu) / 1e9
end

--- Puts the percentiles of a histogram of nanoseconds into a result.
function gauge.latency(result, histogram, of)
  if histogram:count() == 0 then return end
  result.latency_of = of
  for key, percent in pairs {p50_ns = 50, p90_ns = 90, p99_ns = 99, p999_ns = 99.9} do
    result[key] = histogram:percentile(percent)
  end
  result.max_ns = histogram:max()
end

--- The result of a run: how many messages, trips or actors in how many seconds. `problem`: what is wrong with it.
---@param result table   with messages, seconds, cpu_seconds
---@param problem? string
function gauge.result(result, problem)
  local stats = throng.stats()
  local dead = stats.dead_pid + stats.dead_full + stats.dead_handler + stats.dead_late
  if not problem and not result.dead_letters_are_fine and dead > 0 then problem = dead .. " dead letters" end
  result.dead_letters_are_fine = nil
  result.rate = result.rate or result.messages / result.seconds
  result.workers = stats.workers
  result.peak_rss_bytes = stats.rss_peak_bytes
  result.verified, result.error = not problem, problem
  print(cjson.encode(result))
  throng.shutdown(problem and 1 or 0)
end

--- A problem if two figures that must agree do not.
function gauge.differs(what, is, should_be)
  if is ~= should_be then return ("%s is %s, not %s"):format(what, is, should_be) end
end

return gauge
