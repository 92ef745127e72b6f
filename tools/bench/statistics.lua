--- The few statistics that `throng bench` needs to say something about noisy figures.

local statistics = {}

local function sorted(values)
  local copy = table.move(values, 1, #values, 1, {})
  table.sort(copy)
  return copy
end

---@param values number[]  at least one
---@return number
function statistics.median(values)
  local s = sorted(values)
  local middle = #s // 2
  return #s % 2 == 1 and s[middle + 1] or (s[middle] + s[middle + 1]) / 2
end

--- How far apart the values lie: from the least to the most, as a part of the median.
---@param values number[]
---@return number
function statistics.spread(values)
  local s, middle = sorted(values), statistics.median(values)
  return middle == 0 and 0 or (s[#s] - s[1]) / middle
end

--- In how many of all ways to mix m and n values does the rank sum statistic come out as u? (Mann and Whitney 1947)
local function ways(u, m, n, known)
  if u < 0 then return 0 end
  if m == 0 or n == 0 then return u == 0 and 1 or 0 end
  local key = (u * 64 + m) * 64 + n
  local count = known[key]
  if not count then
    count = ways(u - n, m - 1, n, known) + ways(u, m, n - 1, known)
    known[key] = count
  end
  return count
end

--- How likely two sets of measurements, up to 30 each, differ as much as these if nothing but noise is between them:
--- the exact two-sided probability of the Mann-Whitney test (Annals of Mathematical Statistics 18, 1947), which looks
--- at their order alone and so does not mind outliers. Values that are equal count half, and the test errs on the
--- side of noise.
---@param a number[]
---@param b number[]
---@return number  0 to 1
function statistics.noise(a, b)
  if #a == 0 or #b == 0 then return 1 end
  local less = 0
  for _, x in ipairs(a) do
    for _, y in ipairs(b) do
      if x < y then less = less + 1 elseif x == y then less = less + 0.5 end
    end
  end
  local u = math.ceil(math.min(less, #a * #b - less))
  local known, below, all = {}, 0, 0
  for v = 0, #a * #b do
    local count = ways(v, #a, #b, known)
    all = all + count
    if v <= u then below = below + count end
  end
  return math.min(1, 2 * below / all)
end

return statistics
