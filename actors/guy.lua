--- A guy lives in a region: with every tick he grows hungrier and sleepier.
--- A world has a great many of him, and ticks them without end, so he is kept small: he holds just what he needs.
local throng = require "throng"

local send <const> = throng.send

---@class Guy
---@field region pid
---@field number integer  by which his region knows him
---@field hunger integer
---@field sleep integer
local Guy = {}

--- Being born is taking beat 0; who comes for another who died joins in later.
---@param number integer
---@param later? boolean
function Guy:init(number, later)
  self.region, self.number = throng.parent(), number
  self.hunger, self.sleep = 0, 0
  if not later then send(self.region, "taken", number) end
end

--- The heartbeat. Sent, never asked: nobody waits for a tick; that it was taken is a message of its own.
function Guy:on_tick()
  self.hunger = self.hunger + 1
  self.sleep = self.sleep + 1
  send(self.region, "taken", self.number)
end

---@return integer
function Guy:on_hunger()
  return self.hunger
end

return Guy
