--- Two builds side by side: what `throng bench --save` wrote of the one, and what the other just measured.
local cjson = require "cjson"
local statistics = require "throng.bench.statistics"

local NOISE <const> = 0.05 -- a difference is told when chance would make it more seldom than this ...
local LEAST <const> = 0.01 -- ... and when it is at least this large

local compare = {}

local function key_of(line) return line.bench .. " " .. line.variant end

--- Reads a file of results. A table by bench and variant, or nil and what is wrong with it.
function compare.load(path)
  local file <close> = io.open(path)
  if not file then return nil, ("--against: can't read '%s'"):format(path) end
  local lines, number = {}, 0
  for text in file:lines() do
    number = number + 1
    local good, line = pcall(cjson.decode, text)
    if not good or type(line) ~= "table" then
      return nil, ("--against: %s:%d is no JSON; it should be a file that --save wrote"):format(path, number)
    end
    if line.bench and type(line.rates) == "table" then lines[key_of(line)] = line end
  end
  if not next(lines) then return nil, ("--against: no results in '%s'"):format(path) end
  return lines
end

--- Adds line.against = {rate, ratio, noise, verdict}: verdict "faster", "slower" or "same" (within the noise).
function compare.mark(line, before)
  local old = before[key_of(line)]
  if not old or not line.verified then return end
  local ratio, noise = line.rate / old.rate, statistics.noise(line.rates, old.rates)
  local better = ratio > 1
  if line.lower then better = not better end
  local verdict = "same"
  if noise < NOISE and math.abs(ratio - 1) >= LEAST then verdict = better and "faster" or "slower" end
  if line.rate == old.rate then ratio = 1 end
  line.against = {rate = old.rate, ratio = ratio, noise = noise, verdict = verdict, repeats = #old.rates}
end

return compare
