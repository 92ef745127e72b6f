--- Faults of all kinds, one upon the other, drawn from the seed: whatever they come to, the contract holds after them.
local netns = require "spec.support.netns"
local seed = require "spec.support.seed"
local traffic = require "spec.support.traffic"

local PLACES <const> = 4
local EVENTS <const> = 30

local function storm(net, t, random)
  local stopped, past = {}, {}
  local function note(...) past[#past + 1] = (...):format(select(2, ...)) end
  local function two()
    local a = random(PLACES)
    return a, (a + random(PLACES - 1) - 1) % PLACES + 1
  end
  local kinds = {
    function() local a, b = two() note("cut %d %d", a, b) net:between(a, b, {cut = true}) end,
    function() local a, b = two() note("cut %d -> %d", a, b) net:way(a, b, {cut = true}) end,
    function() local a = random(PLACES) note("cut off %d", a) net:around(a, {cut = true}) end,
    function() local a, b = two() note("loss %d %d", a, b) net:between(a, b, {loss = random() * 0.4}) end,
    function()
      local a, b = two()
      note("late %d -> %d", a, b)
      net:way(a, b, {delay = random(50), jitter = random(100)})
    end,
    function() local a, b = two() note("narrow %d %d", a, b) net:between(a, b, {rate = random(20000, 200000)}) end,
    function() local a, b = two() note("heal %d %d", a, b) net:between(a, b, {}) end,
    function() note "heal" net:heal() end,
    function() local a = random(PLACES) note("kill %d", a) stopped[a] = nil t[a]:kill() t:launch(a) end,
    function()
      local a = random(PLACES)
      note("%s %d", stopped[a] and "go on" or "stop", a)
      t[a]:signal(stopped[a] and "CONT" or "STOP")
      stopped[a] = not stopped[a]
    end,
  }
  for _ = 1, EVENTS do
    kinds[random(#kinds)]()
    t:go_on(random() * 0.7)
  end
  for place in pairs(stopped) do t[place]:signal "CONT" end
  net:heal()
  return table.concat(past, ", ")
end

describe("a storm of faults", function()
  local function survived(options)
    local net <close> = netns.open(PLACES)
    local t = traffic.start(net, PLACES, options)
    math.randomseed(seed)
    local past = storm(net, t, math.random)
    local good, why = pcall(function()
      t:settle()
      t:go_on(0.3)
      return t:check()
    end)
    if not good then error(("%s\nthe storm was: %s"):format(tostring(why), past), 0) end
  end

  it("ends with all nodes together again, and a history without a flaw", function()
    survived {"--set", "net.timeout=800", "--set", "net.heartbeat=200"}
  end)

  it("does so over TLS, and where some are more patient than others", function()
    survived {"--set", "net.timeout=800", "--set", "net.heartbeat=200", tls = true,
              n2 = {"--set", "net.timeout=5000"}, n3 = {"--set", "net.timeout=2000"}}
  end)
end)
