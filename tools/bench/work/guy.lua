--- A Guy that is ticked: the smallest actor that is of any use.
local Guy = {}

function Guy:init()
  self.hunger, self.sleep = 0, 0
end

function Guy:on_tick()
  self.hunger = self.hunger + 1
  self.sleep = self.sleep + 1
end

function Guy:on_hunger()
  return self.hunger
end

return Guy
