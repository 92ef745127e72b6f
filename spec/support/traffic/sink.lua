--- Takes its time with each message, so that what a flooder sends piles up.
local throng = require "throng"

local Sink = {mailbox = {limit = 1000}}

function Sink:init(busy)
  self.busy, self.heard, self.last = busy, 0, 0
  throng.register "sink"
end

function Sink:on_drop(number)
  if number <= self.last then print(("WRONG: %d after %d in a flood"):format(number, self.last)) end
  self.heard, self.last = self.heard + 1, number
  local ends = throng.now() + self.busy
  while throng.now() < ends do end
end

function Sink:on_count() return self.heard, throng.stats().dead_full end

return Sink
