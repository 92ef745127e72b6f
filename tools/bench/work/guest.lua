--- A Guy who says that he is there.
local throng = require "throng"

local Guest = {}

function Guest:init()
  self.hunger, self.sleep = 0, 0
  throng.parent():send("here")
end

function Guest:on_tick()
  self.hunger = self.hunger + 1
  self.sleep = self.sleep + 1
end

function Guest:on_ready()
  return self.hunger
end

return Guest
