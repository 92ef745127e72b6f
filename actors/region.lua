--- A region of the world: it makes its Guys, and passes each tick on to all of them. A Guy who dies is replaced at once
--- by a new one with the same number and name, who begins with no hunger; who dies again and again is waited for a
--- little longer each time. A Region that has to replace too many gives up, and is started again by its supervisor,
--- with new Guys all of them.
local flock = require "flock"
local restarts = require "throng.restarts"
local throng = require "throng"

local SPAWN_AT_ONCE <const> = 2000 -- then others get a word in
local ASKERS <const> = 64          -- Guys that are asked for their hunger at the same time
local BACKOFF <const> = {at_once = 3, least = 10, most = 5000}

---@class RegionSettings
---@field guys integer
---@field patience number  milliseconds
---@field loud boolean     it tells the log what it does
---@field restarts integer so many Guys are replaced
---@field within number    in these seconds

---@class Region: Leader, RegionSettings
---@field number integer   by which the core knows it
---@field keeper pid       its supervisor
---@field later boolean    it comes for one that died: the world is under way
---@field often throng.Intensity
---@field pauses table<integer, throng.Backoff> of the Guys that died
---@field missed table<integer, integer> the beats that were over when a Guy came for another, by number
---@field awaited table<integer, ref>    timers of Guys that are to come for others
---@field counting boolean the last beat is over
---@field messages_before? integer handled by this node until the first beat; and until the last one was over:
---@field messages_after? integer
---@field asking boolean   and Guys are asked
local Region = flock.led_by {mailbox = {limit = 250000}} -- every Guy's answer may wait there at once

---@param number integer
---@param core pid
---@param settings RegionSettings
function Region:init(number, core, settings)
  for key, value in pairs(settings) do self[key] = value end
  self.number, self.leader, self.keeper = number, core, throng.parent()
  self.often = restarts.intensity(self.restarts, self.within)
  self.pauses, self.missed, self.awaited = {}, {}, {}
  self.counting, self.asking = false, false
  flock.gather(self, self.guys, self.patience)
  throng.send(core, "joined", number, throng.node())
end

--- A Guy, linked to us. One who has his name still is about to end: he was a Guy of the Region before us.
---@return pid
local function make_guy(self, number, later)
  local options = {link = true}
  if not self.loud then return throng.spawn_with(options, "guy", number, later) end
  options.name = ("region-%d/guy-%d"):format(self.number, number)
  local old = throng.whereis(options.name)
  if old then throng.await(old, self.patience) end
  local guy = throng.spawn_with(options, "loud_guy", number, later)
  throng.log.info("spawned", {guy = options.name, pid = guy})
  return guy
end

--- The core knows us, and wants the Guys.
---@param later boolean    the world is under way
---@param from? integer    the first one, when this is a later part
function Region:on_spawn(later, from)
  self.later, from = later, from or 1
  local last = math.min(self.guys, from + SPAWN_AT_ONCE - 1)
  for number = from, last do flock.add(self, make_guy(self, number), number) end
  if last < self.guys then throng.send(throng.self(), "spawn", later, last + 1) end
end

function Region:on_tick(beat)
  self.messages_before = self.messages_before or throng.stats().messages
  if self.loud then throng.log.info("tick", {beat = beat, guys = #self.members}) end
  flock.pass_on(self, "tick")
end

function Region:took(beat)
  throng.send(self.leader, beat == 0 and self.later and "back" or "taken", self.number)
end

function Region:lost(number, pid, reason)
  throng.log.warn("lost a guy", {guy = number, pid = pid, reason = tostring(reason)})
  throng.send(self.leader, "lost_guy", ("region-%d/guy-%d: %s"):format(self.number, number, tostring(reason)))
end

local function bring_back(self, number)
  self.awaited[number] = nil
  local made, guy = pcall(make_guy, self, number, true)
  if not made then
    throng.log.warn("a guy can't be replaced", {guy = number, reason = tostring(guy)})
    return self.counting or self:gone(number, guy)
  end
  flock.rejoin(self, guy, number)
  self.missed[number] = self.beat
  throng.send(self.leader, "replaced")
end

local ask_all

function Region:gone(number, reason)
  if self.asking or reason == "shutdown" then return end
  if self.counting then -- there is no more time to wait in
    bring_back(self, number)
    if not next(self.dying) then ask_all(self) end
    return
  end
  local now = throng.now()
  if not self.often:note(now) then
    throng.exit(("lost more than %d Guys in %g s, the last one to: %s"):format(self.restarts, self.within,
                                                                             tostring(reason)))
  end
  self.pauses[number] = self.pauses[number] or restarts.backoff(BACKOFF)
  local pause = self.pauses[number]:next(now)
  if pause == 0 then return bring_back(self, number) end
  self.awaited[number] = throng.after(pause, "bring_back", number)
end

function Region:on_bring_back(number)
  if self.awaited[number] then bring_back(self, number) end
end

--- Asks every Guy for his hunger, many at a time, and tells the core the sum, and the beats that those who answered had
--- missed before they were born. An ask that follows a tick is answered after it. When nobody has answered for the
--- whole of the patience, nobody else gets another chance.
function ask_all(self)
  self.asking = true
  local guys = table.move(self.members, 1, #self.members, 1, {})
  local asked, sum, missed, answers, askers = 0, 0, 0, 0, math.min(ASKERS, #guys)
  local deadline = throng.now() + self.patience

  local function finish()
    throng.send(self.leader, "counted", self.number, sum, missed, answers, throng.node(), self.messages_before,
                self.messages_after)
    throng.send(self.leader, "taken", self.number)
  end

  local function ask_on()
    while asked < #guys do
      asked = asked + 1
      local guy = guys[asked]
      local number = self.numbers and self.numbers[guy]
      local answered, hunger = pcall(throng.ask_within, math.max(0, deadline - throng.now()), guy, "hunger")
      if answered then
        sum, answers = sum + hunger, answers + 1
        missed = missed + (number and self.missed[number] or 0)
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

--- The last beat is over, and hunger is to be counted, also of those who come for others.
function Region:on_count()
  self.counting = true
  self.messages_after = throng.stats().messages
  for number, timer in pairs(self.awaited) do
    throng.cancel(timer)
    bring_back(self, number)
  end
  if not next(self.dying) then ask_all(self) end
end

function Region:terminate(reason)
  if self.loud then throng.log.info("ends", {reason = tostring(reason)}) end
end

return Region
