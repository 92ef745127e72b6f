--- busted's output: dots and failures as busted prints them, then the slowest specs, the seed, and as the last line
--- the totals, alone, for those who count: "12 passed, 0 failed" or "12 passed, 0 failed, 3 skipped".
local busted = require "busted"
local term = require "term"
local seed = require "spec.support.seed"

local SLOW <const> = 0.5 * (tonumber(os.getenv("SPEC_SLOW")) or 1) -- seconds from which on a spec is worth naming
local NAMED <const> = 5

local passed, failed, skipped = 0, 0, 0
local slow = {}

local function name_slowest()
  if #slow == 0 then return end
  table.sort(slow, function(a, b) return a.seconds > b.seconds end)
  print("\nslowest:")
  for i = 1, math.min(NAMED, #slow) do print(("%7.1f s  %s"):format(slow[i].seconds, slow[i].name)) end
end

local function print_totals()
  name_slowest()
  print(("\nseed %d (SEED=%d runs them with the same random numbers)"):format(seed, seed))
  local totals = ("%d passed, %d failed"):format(passed, failed)
  if skipped > 0 then totals = ("%s, %d skipped"):format(totals, skipped) end
  print(totals)
end

return function(options)
  local style = term.isatty(io.stdout) and "utfTerminal" or "plainTerminal"
  local handler = require("busted.outputHandlers." .. style)(options)

  busted.subscribe({"test", "end"}, function(element)
    local seconds = element.duration or 0
    if seconds >= SLOW then slow[#slow + 1] = {seconds = seconds, name = handler.getFullName(element)} end
    return nil, true
  end)
  busted.subscribe({"suite", "end"}, function() -- once a run: --repeat has several
    passed = passed + handler.successesCount
    failed = failed + handler.failuresCount + handler.errorsCount
    skipped = skipped + handler.pendingsCount
    return nil, true
  end)
  busted.subscribe({"exit"}, function()
    print_totals()
    return nil, true
  end)
  return handler
end
