--- A network for specs: places that are network namespaces of their own, and wires between them (spec/door/wire.c) that
--- can be cut, lose, delay, reorder and narrow what travels. Whatever a place runs sees one interface, 10.77.0.PLACE.
---
---     local net <close> = netns.open(3)         -- where that is not allowed the spec is skipped, and says why
---     local n = node.start {netns = net:namespace(1), options = {"--listen", net.address(1) .. ":7100", "--insecure"}}
---     net:between(1, 2, {loss = 0.2})           -- both ways; net:way(1, 2, ...) is one, net:all {...} is every one
---     net:between(1, 2, {cut = true})
---     net:heal()                                -- all wires are perfect again
---     net:counts(1, 2).overtook                 -- see wire.c, there the rules, too
---
--- What is lost, and how late what comes, starts from spec.support.seed.
local busted = require "busted.core"() -- `pending` as a spec's own environment has it: it raises
local seed = require "spec.support.seed"
local wire = require "door.wire"

local netns = {}

local Net = {}
Net.__index = Net

function netns.open(places)
  local w, why = wire.open(places, seed)
  if not w then busted.pending("it wants network namespaces and TUN devices (root, or user namespaces): " .. why) end
  return setmetatable({wire = w, places = places}, Net)
end

function Net.address(place) return "10.77.0." .. place end

function Net:namespace(place) return self.wire:namespace(place) end

function Net:way(from, to, rule) self.wire:rule(from, to, rule) end

function Net:between(a, b, rule)
  self.wire:rule(a, b, rule)
  self.wire:rule(b, a, rule)
end

function Net:all(rule)
  for a = 1, self.places do
    for b = 1, self.places do
      if a ~= b then self.wire:rule(a, b, rule) end
    end
  end
end

--- One place and all others.
function Net:around(place, rule)
  for other = 1, self.places do
    if other ~= place then self:between(place, other, rule) end
  end
end

function Net:heal() self:all {} end

function Net:counts(from, to) return self.wire:counts(from, to) end

--- The same, over all ways.
function Net:total()
  local sum = {}
  for a = 1, self.places do
    for b = 1, self.places do
      for name, n in pairs(self.wire:counts(a, b)) do sum[name] = (sum[name] or 0) + n end
    end
  end
  return sum
end

function Net:close() self.wire:close() end
Net.__close = Net.close

return netns
