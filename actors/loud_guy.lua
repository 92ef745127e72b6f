--- A guy who tells the log how each tick leaves him.
local guy = require "guy"
local throng = require "throng"

---@class LoudGuy: Guy
local LoudGuy = setmetatable({}, {__index = guy})

--- Says it first: when the tick counts as taken, it stands in the log.
function LoudGuy:on_tick()
  throng.log.info("ticked", {hunger = self.hunger + 1, sleep = self.sleep + 1})
  guy.on_tick(self)
end

return LoudGuy
