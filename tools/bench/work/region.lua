--- A Region that ticks its Guys, "round" after "round", and in the end asks each for his hunger.
local histogram = require "throng.histogram"
local throng = require "throng"

local send <const> = throng.send -- what is sent a million times is not looked up each time

local Region = {mailbox = {limit = 250000}}

function Region:init(guys, rounds, all)
  self.guys, self.rounds, self.all = {}, rounds, all
  for i = 1, guys do self.guys[i] = throng.spawn("throng.bench.work.guy") end
end

local function hunger(self)
  local sum = 0
  for _, guy in ipairs(self.guys) do sum = sum + guy:ask("hunger") end
  return sum
end

--- The answer comes when all Guys are there.
function Region:on_ready()
  return hunger(self)
end

function Region:on_go()
  self.round, self.took, self.at = 0, histogram.new(), throng.now()
  throng.self():send("round")
end

local function tick(self)
  if self.all then
    throng.send_all(self.guys, "tick")
  else
    local guys = self.guys
    for i = 1, #guys do send(guys[i], "tick") end
  end
end

--- Of a server core, which may be on another node: it hears when all are ticked.
function Region:on_beat()
  tick(self)
  send(throng.sender(), "beaten")
end

--- How hungry they all are.
function Region:on_sum()
  return hunger(self)
end

function Region:on_round()
  local now = throng.now()
  if self.round > 0 then self.took:record((now - self.at) * 1e6) end
  self.round, self.at = self.round + 1, now
  tick(self)
  if self.round < self.rounds then
    send(throng.self(), "round")
  else
    throng.parent():send("done", hunger(self), self.took)
  end
end

return Region
