--- How often which value came, in little memory: a log-linear histogram, as HDR histograms are.
--- Values are whole numbers from 0 on, for instance nanoseconds. Each doubling of the value is cut into 64 equal
--- parts, so a value read back is at most 1/64 (1.6 %) too large, and never too small; values under 128 are exact.
--- A histogram is plain data: it can be sent in a message, and what arrives can be merged into another one.
---
---@usage
---   local latency = histogram.new()
---   latency:record(1500)
---   latency:percentile(99)   --> 1503

local BITS <const> = 6 -- the parts of a doubling, as a power of two
local LINEAR <const> = 1 << (BITS + 1) -- below it each value has a part of its own

---@class throng.Histogram
---@field counts table<integer, integer> by part; parts where nothing fell are absent
---@field total integer                  how many values
---@field sum number                     of all values
---@field least? integer                 the smallest and the largest value, exactly
---@field most? integer
local Histogram = {}
Histogram.__index = Histogram

local histogram = {}

---@return throng.Histogram
function histogram.new()
  return setmetatable({}, Histogram):reset()
end

--- How many bits a number over 0 has.
local function bit_length(value)
  local bits = 1
  if value >= 1 << 32 then value, bits = value >> 32, bits + 32 end
  if value >= 1 << 16 then value, bits = value >> 16, bits + 16 end
  if value >= 1 << 8 then value, bits = value >> 8, bits + 8 end
  if value >= 1 << 4 then value, bits = value >> 4, bits + 4 end
  if value >= 1 << 2 then value, bits = value >> 2, bits + 2 end
  return value >= 2 and bits + 1 or bits
end

--- Parts are numbered without gaps: first those below LINEAR, then 1 << BITS of them for each doubling.
local function part_of(value)
  if value < LINEAR then return value end
  local shift = bit_length(value) - BITS - 1
  return (shift << BITS) + (value >> shift)
end

--- The largest value that falls into the part.
local function top_of(part)
  if part < LINEAR then return part end
  local shift = (part >> BITS) - 1
  return (((part & ((1 << BITS) - 1)) + (1 << BITS) + 1) << shift) - 1
end

--- Counts a value: a number from 0 on (a part of a whole is dropped), less counts as 0.
---@param value number
---@param times? integer  1 if not given
function Histogram:record(value, times)
  if value < 0 then value = 0 end
  local whole = math.tointeger(value) or math.tointeger(math.floor(value))
  if not whole then error("bad argument #1 to 'record' (a number from 0 on that 63 bits hold expected)", 2) end
  times = times or 1
  local part = part_of(whole)
  self.counts[part] = (self.counts[part] or 0) + times
  self.total = self.total + times
  self.sum = self.sum + whole * times
  if not self.least or whole < self.least then self.least = whole end
  if not self.most or whole > self.most then self.most = whole end
end

--- How many values there are.
---@return integer
function Histogram:count() return self.total end

--- The smallest and the largest value, exact; nil if there are none.
---@return integer?
function Histogram:min() return self.least end
---@return integer?
function Histogram:max() return self.most end

--- The mean, exact; nil if there are no values.
---@return number?
function Histogram:mean()
  if self.total == 0 then return nil end
  return self.sum / self.total
end

--- The value that `percent` of all values do not exceed, for instance 50 for the median; nil if there are none.
---@param percent number  0 to 100
---@return integer?
function Histogram:percentile(percent)
  if not (percent >= 0 and percent <= 100) then
    error("bad argument #1 to 'percentile' (a number from 0 to 100 expected)", 2)
  end
  if self.total == 0 then return nil end
  local rank = math.max(1, math.ceil(self.total * (percent / 100) - 1e-9)) -- 1e-9: of 100, 99 % are 99, not 100
  if rank >= self.total then return self.most end
  local seen = 0
  for part = part_of(self.least), part_of(self.most) do
    seen = seen + (self.counts[part] or 0)
    if seen >= rank then return math.min(top_of(part), self.most) end
  end
  return self.most
end

--- Adds all that another one counted; the other stays as it is.
---@param other throng.Histogram  or what arrived of one in a message
---@return throng.Histogram self
function Histogram:merge(other)
  for part, times in pairs(other.counts) do self.counts[part] = (self.counts[part] or 0) + times end
  self.total = self.total + other.total
  self.sum = self.sum + other.sum
  if other.least and (not self.least or other.least < self.least) then self.least = other.least end
  if other.most and (not self.most or other.most > self.most) then self.most = other.most end
  return self
end

--- Forgets everything.
---@return throng.Histogram self
function Histogram:reset()
  self.counts, self.total, self.sum, self.least, self.most = {}, 0, 0, nil, nil
  return self
end

return histogram
