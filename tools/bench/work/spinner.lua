--- An endless loop, or one that ends after a while and knows how far it got.
local throng = require "throng"

local CHUNK <const> = 20000

local Spinner = {}

function Spinner:on_spin(ms)
  local turns, began = 0, throng.now()
  while throng.now() - began < ms do
    for _ = 1, CHUNK do turns = turns + 1 end
  end
  self.turns = turns / (throng.now() - began)
end

--- Turns a millisecond.
function Spinner:on_turns()
  return self.turns
end

function Spinner:on_spin_for_ever()
  while true do self.turns = self.turns + 1 end
end

return Spinner
