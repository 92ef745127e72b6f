--- Spawn Guys until all have answered; look at the memory they take at rest; stop them all.
local gauge = require "throng.bench.work.gauge"
local throng = require "throng"

local Spawn = {mailbox = {limit = 250000}}

function Spawn:init(...)
  self.sizes = gauge.sizes(...)
  self.module = self.sizes.lines > 0 and "throng.bench.work.long_guest" or "throng.bench.work.guest"
  self.guys, self.here, self.gone = {}, 0, 0
  local first = throng.spawn(self.module) -- its module is loaded, once for all
  first:ask("ready")
  self.rss = throng.stats().rss_bytes
  self.here, self.watch = -1, gauge.start()
  for i = 1, self.sizes.guys do self.guys[i] = throng.spawn(self.module) end
end

function Spawn:on_here()
  self.here = self.here + 1
  if self.here < self.sizes.guys then return end
  self.seconds, self.cpu_seconds = gauge.stop(self.watch)
  throng.after(200, "rest") -- time to settle
end

function Spawn:on_rest()
  self.bytes = (throng.stats().rss_bytes - self.rss) / self.sizes.guys
  for _, guy in ipairs(self.guys) do throng.monitor(guy) end
  for _, guy in ipairs(self.guys) do guy:ask("ready") end
  self.watch = gauge.start()
  for _, guy in ipairs(self.guys) do throng.stop(guy) end
end

function Spawn:on_down(_, reason)
  if reason ~= "stop" and reason ~= "normal" then self.odd = reason end
  self.gone = self.gone + 1
  if self.gone < self.sizes.guys then return end
  local result = {messages = self.gone, seconds = self.seconds, cpu_seconds = self.cpu_seconds,
                  bytes_per_actor = self.bytes}
  result.stop_rate = self.gone / gauge.stop(self.watch)
  gauge.result(result, self.odd and ("one ended by " .. tostring(self.odd)))
end

return Spawn
