--- When what failed is started again: how often is too often, and how long to wait first. For supervisors, and for
--- whoever else has to bring something back. It knows no clock: times are milliseconds that the caller hands in.
---
---@usage
---   local often = restarts.intensity(5, 10)         -- more than 5 within 10 seconds are too many
---   local pause = restarts.backoff {least = 100, most = 5000}
---   if not often:note(throng.now()) then throng.exit("it fails again and again") end
---   throng.after(pause:next(throng.now()), "start")
local restarts = {}

---@class throng.Intensity
---@field count integer
---@field seconds number
---@field times number[]  when the last ones were, oldest first, from `first` to `last`
---@field first integer
---@field last integer
local Intensity = {}
Intensity.__index = Intensity

--- More than `count` restarts within `seconds` are too many; with 0 each is.
---@param count integer
---@param seconds number
---@return throng.Intensity
function restarts.intensity(count, seconds)
  if math.type(count) ~= "integer" or count < 0 then error("intensity: count must be a whole number from 0 on", 2) end
  if not (type(seconds) == "number" and seconds > 0) then error("intensity: seconds must be a number over 0", 2) end
  return setmetatable({count = count, seconds = seconds, times = {}, first = 1, last = 0}, Intensity)
end

--- Counts one restart.
---@param now number
---@return boolean bearable  false: it is one too many
function Intensity:note(now)
  local times, oldest = self.times, now - self.seconds * 1000
  while self.first <= self.last and times[self.first] <= oldest do
    times[self.first] = nil
    self.first = self.first + 1
  end
  if self.last - self.first + 1 >= self.count then return false end
  self.last = self.last + 1
  times[self.last] = now
  return true
end

--- Forgets what it counted.
function Intensity:reset()
  self.times, self.first, self.last = {}, 1, 0
end

---@class throng.BackoffOptions
---@field least? number    the first pause (100 ms)
---@field most? number     and the longest (10000 ms)
---@field factor? number   each is so many times the last (2)
---@field jitter? number   each is up to this part longer or shorter, within least and most (0.2)
---@field quiet? number    who ran so long since the last pause begins anew (as long as `most`, 1000 ms at least)
---@field at_once? integer so many restarts need no pause before the first one does (0)
---@field random? fun(): number  from 0 to 1; math.random

---@class throng.Backoff: throng.BackoffOptions
---@field failures integer  since it began anew
---@field over number       when the last pause is over
local Backoff = {}
Backoff.__index = Backoff

local DEFAULTS <const> = {least = 100, most = 10000, factor = 2, jitter = 0.2, at_once = 0}
local BOUNDS <const> = {least = {0}, most = {0}, factor = {1}, jitter = {0, 1}, quiet = {0}, at_once = {0}}

---@param options? throng.BackoffOptions
---@return throng.Backoff
function restarts.backoff(options)
  local self = setmetatable({failures = 0, over = -math.huge}, Backoff)
  for name, value in pairs(DEFAULTS) do self[name] = value end
  for name, value in pairs(options or {}) do
    local bounds = BOUNDS[name]
    if bounds and not (type(value) == "number" and value >= bounds[1] and value <= (bounds[2] or math.huge)) then
      error(("backoff: %s must be a number from %g%s"):format(name, bounds[1],
            bounds[2] and " to " .. bounds[2] or " on"), 2)
    elseif not bounds and name ~= "random" then
      error(("backoff: unknown option '%s'"):format(tostring(name)), 2)
    end
    self[name] = value
  end
  if self.least > self.most then self.most = options.most and error("backoff: least is over most", 2) or self.least end
  self.quiet = self.quiet or math.max(self.most, 1000)
  return self
end

--- It failed: how long to wait before it is started again.
---@param now number
---@return number milliseconds
function Backoff:next(now)
  if now - self.over >= self.quiet then self.failures = 0 end
  self.failures = self.failures + 1
  local paused, pause = self.failures - 1 - self.at_once, 0
  if paused >= 0 and self.least > 0 then
    pause = math.min(self.most, self.least * self.factor ^ paused)
    pause = pause * (1 + self.jitter * (2 * (self.random or math.random)() - 1))
    pause = math.max(self.least, math.min(self.most, pause))
  end
  self.over = now + pause
  return pause
end

--- The next pause is the first one again.
function Backoff:reset()
  self.failures = 0
end

return restarts
