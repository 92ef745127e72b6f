--- A guy lives in a region: with every tick he grows hungrier and sleepier.
--- A world has a great many of him, so he is kept small: what he does not need is not loaded.
local throng = require "throng"

local send <const> = throng.send

---@class Guy
---@field region pid
---@field number integer  by which his region knows him
---@field hunger integer
---@field sleep integer
---@field loud? boolean   he tells the log how he is
local Guy = {}

function Guy:init(number, loud)
  self.region, self.number = throng.parent(), number
  self.hunger, self.sleep = 0, 0
  if loud then self.loud = true end
  send(self.region, "taken", number) -- being born is taking beat 0
end

--- The heartbeat. Sent, never asked: nobody waits for a tick; that it was taken is a message of its own.
function Guy:on_tick()
  self.hunger = self.hunger + 1
  self.sleep = self.sleep + 1
  if self.loud then throng.log.info("ticked", {hunger = self.hunger, sleep = self.sleep}) end
  send(self.region, "taken", self.number)
end

---@return integer
function Guy:on_hunger()
  return self.hunger
end

return Guy
