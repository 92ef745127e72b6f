--- A region of the world: it makes its Guys when it is told to, and passes each tick on to all of them.
local flock = require "flock"
local throng = require "throng"

local SPAWN_AT_ONCE <const> = 2000 -- then others get a word in
local ASKERS <const> = 64          -- Guys that are asked for their hunger at the same time
local LOST_NAMED <const> = 10

---@class Region: Leader
---@field number integer   by which the core knows it
---@field loud boolean     it tells the log what it does
---@field patience number  milliseconds
---@field losses string[]  what became of the first few Guys lost
---@field lost_count integer
local Region = flock.led_by {mailbox = {limit = 250000}} -- every Guy's answer may wait there at once

function Region:init(number, patience, loud)
  self.number, self.patience, self.loud = number, patience, loud
  self.leader = throng.parent()
  self.losses, self.lost_count = {}, 0
end

---@param count integer  Guys
---@param from? integer  the first one, when this is a later part
function Region:on_spawn(count, from)
  if not from then flock.gather(self, count, self.patience) end
  from = from or 1
  local last = math.min(count, from + SPAWN_AT_ONCE - 1)
  local options, module = {link = true}, self.loud and "loud_guy" or "guy"
  for number = from, last do
    if self.loud then options.name = ("region-%d/guy-%d"):format(self.number, number) end
    local guy = throng.spawn_with(options, module, number)
    flock.add(self, guy)
    if self.loud then throng.log.info("spawned", {guy = options.name, pid = guy}) end
  end
  if last < count then throng.send(throng.self(), "spawn", count, last + 1) end
end

function Region:on_tick(beat)
  if self.loud then throng.log.info("tick", {beat = beat, guys = #self.members}) end
  flock.pass_on(self, "tick")
end

function Region:took()
  throng.send(self.leader, "taken", self.number)
end

function Region:lost(number, pid, reason)
  local text = ("region-%d/guy-%d: %s"):format(self.number, number, tostring(reason))
  throng.log.warn("lost a guy", {guy = number, pid = pid, reason = tostring(reason)})
  self.lost_count = self.lost_count + 1
  if #self.losses < LOST_NAMED then self.losses[#self.losses + 1] = text end
end

--- Asks every Guy for his hunger, many at a time, and tells the core the sum. An ask that follows a tick is answered
--- after it. When nobody has answered for the whole of the patience, nobody else gets another chance.
function Region:on_count()
  local guys = table.move(self.members, 1, #self.members, 1, {})
  local asked, sum, askers = 0, 0, math.min(ASKERS, #guys)
  local deadline = throng.now() + self.patience

  local function finish()
    throng.send(self.leader, "counted", sum, self.lost_count, self.losses)
    throng.send(self.leader, "taken", self.number)
  end

  local function ask_on()
    while asked < #guys do
      asked = asked + 1
      local guy = guys[asked]
      local answered, hunger = pcall(throng.ask_within, math.max(0, deadline - throng.now()), guy, "hunger")
      if answered then
        sum = sum + hunger
        deadline = throng.now() + self.patience
      else
        flock.lose(self, guy, hunger)
      end
    end
    askers = askers - 1
    if askers == 0 then finish() end
  end

  if askers == 0 then return finish() end
  for _ = 1, askers do throng.fork(ask_on) end
end

function Region:terminate(reason)
  if self.loud then throng.log.info("ends", {reason = tostring(reason)}) end
end

return Region
