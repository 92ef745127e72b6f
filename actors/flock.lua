--- A flock: actors that all get every beat, and the account of who has taken which. The core leads a flock of Regions,
--- each Region one of Guys.
---
--- Beats are numbered from 0, which is being born. A member answers each with one message, `taken` with his number in
--- the flock, and takes them in order, so counting his answers is knowing how far he is. When the last one has taken
--- a beat the leader's `took(beat)` is called.
---
--- Members are linked to their leader, who traps exits: who dies is counted off from the beats he owes, and the
--- leader's `lost(number, pid, reason)` is called. So is it for who takes nothing while nobody else does either, for
--- the whole of `patience`: he is killed, for no beat may hang on him for ever. When a member's end has come, and with
--- it his last word, `gone(number, reason)` is called: from then on another may have his number, by `flock.rejoin`.
local throng = require "throng"

local flock = {}

---@class Leader
---@field leader? pid        who leads the leader: they end together
---@field keeper? pid        who supervises him; likewise
---@field dying table<pid, integer> the numbers of those who are lost already, but whose end is still to come
---@field members pid[]      the living, in no lasting order
---@field added integer      how many there ever were
---@field taken table<integer, integer|false> the last beat each has taken, by number; false: he is lost
---@field left table<integer, integer> how many have not taken a beat yet, for beats under way
---@field beat integer       the last one passed on
---@field done integer       the last one that everybody has taken
---@field numbers? table<pid, integer> made when somebody is lost for the first time
---@field places? table<pid, integer>  where in `members`; likewise
---@field seen? integer      the beat that was the oldest under way at the last look
---@field seen_left? integer how many had not taken it then

---@param self Leader
---@param count integer      how many flock.add will add
---@param patience number    milliseconds
function flock.gather(self, count, patience)
  self.members, self.added, self.taken = {}, 0, {}
  self.left = {[0] = count}
  self.beat, self.done, self.dying = 0, -1, {}
  throng.trap_exits(true)
  throng.every(patience, "look")
end

--- Most flocks lose nobody, so who has which number is worked out when it is first asked for.
local function number_all(self)
  self.numbers, self.places = {}, {}
  for place, pid in ipairs(self.members) do self.numbers[pid], self.places[pid] = place, place end
end

--- A new member, linked to us.
---@param self Leader
---@param pid pid
---@param number? integer  self.added + 1 if not given
function flock.add(self, pid, number)
  local place = #self.members + 1
  number = number or self.added + 1
  if number ~= place and not self.numbers then number_all(self) end
  self.added, self.taken[number], self.members[place] = self.added + 1, -1, pid
  if self.numbers then self.numbers[pid], self.places[pid] = number, place end
end

--- A new member, linked to us, with the number of one who is gone. It begins with the next beat.
---@param self Leader
---@param pid pid
---@param number integer
function flock.rejoin(self, pid, number)
  if not self.numbers then number_all(self) end
  local place = #self.members + 1
  self.taken[number], self.members[place] = self.beat, pid
  self.numbers[pid], self.places[pid] = number, place
end

--- The living member of that number; slow.
---@param self Leader
---@param number integer
---@return pid?
function flock.member(self, number)
  if not self.numbers then number_all(self) end
  for pid, its in pairs(self.numbers) do
    if its == number then return pid end
  end
end

local function took_one(self, beat)
  local left = self.left[beat] - 1
  self.left[beat] = left
  if left > 0 then return end
  self.left[beat] = nil
  self.done = beat
  self:took(beat)
end

--- The next beat, a message to everybody.
---@param self Leader
---@param name string
function flock.pass_on(self, name, ...)
  local beat = self.beat + 1
  self.beat, self.left[beat] = beat, #self.members
  throng.send_all(self.members, name, ...)
  if #self.members > 0 then return end
  self.left[beat] = 1
  took_one(self, beat)
end

--- A member is counted off: he died, or is taken for dead. Does nothing the second time.
---@param self Leader
---@param pid pid
function flock.lose(self, pid, reason)
  if not self.numbers then number_all(self) end
  local number = self.numbers[pid]
  if not number then return end
  self.dying[pid] = number
  local place, last = self.places[pid], self.members[#self.members]
  self.members[place], self.places[last] = last, place
  self.members[#self.members] = nil
  self.numbers[pid], self.places[pid] = nil, nil
  local owed = self.taken[number] + 1
  self.taken[number] = false
  self:lost(number, pid, reason)
  for beat = owed, self.beat do took_one(self, beat) end
end

local function lose_the_stuck(self, beat)
  local stuck = {}
  if not self.numbers then number_all(self) end
  for pid, number in pairs(self.numbers) do
    if self.taken[number] < beat then stuck[#stuck + 1] = pid end
  end
  for _, pid in ipairs(stuck) do
    throng.kill(pid)
    flock.lose(self, pid, ("stuck, did not take beat %d"):format(beat))
  end
end

--- The end of a member has come.
---@param self Leader
---@param pid pid
function flock.ended(self, pid, reason)
  flock.lose(self, pid, reason)
  local number = self.dying[pid]
  if not number then return end
  self.dying[pid] = nil
  self:gone(number, reason)
end

local handlers = {}

--- The busiest handler of a world.
function handlers:on_taken(number)
  local beat = self.taken[number]
  if not beat then return end
  beat = beat + 1
  self.taken[number] = beat
  local left = self.left
  local rest = left[beat] - 1
  left[beat] = rest
  if rest > 0 then return end
  left[beat] = nil
  self.done = beat
  self:took(beat)
end

function handlers:on_exit(pid, reason)
  if pid == self.leader or pid == self.keeper then throng.exit(reason) end
  flock.ended(self, pid, reason)
end

--- What has not moved since the last look does not move.
function handlers:on_look()
  local beat = self.done + 1
  local left = self.left[beat]
  if left and beat == self.seen and left == self.seen_left then lose_the_stuck(self, beat) end
  self.seen, self.seen_left = self.done + 1, self.left[self.done + 1]
end

--- Makes a behaviour a leader's: gives it the handlers. It has took, lost and gone itself.
---@generic T
---@param behaviour T
---@return T
function flock.led_by(behaviour)
  for name, handler in pairs(handlers) do behaviour[name] = handler end
  return behaviour
end

return flock
