--- The supervisor of a world's Regions: one that dies is started again, alone, and joins the world by itself.
local supervisor = require "throng.supervisor"

--- `nodes`: where they are to live, each in turn; `requires`: what another node must be able to, when one of those is
--- not there any more.
return supervisor.behaviour(function(core, count, settings, nodes, requires)
  local children = {}
  for number = 1, count do
    local name = "region-" .. number
    local mine = {}
    for key, value in pairs(settings) do mine[key] = value end
    children[number] = {id = name, module = "region", args = {number, core, mine}, options = {name = name},
                        node = nodes and nodes[(number - 1) % #nodes + 1], requires = nodes and requires}
  end
  return {
    intensity = {count = settings.restarts, seconds = settings.within},
    backoff = {at_once = 3, least = 5, most = 20},
    children = children,
  }
end)
