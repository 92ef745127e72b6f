--- The other end of a round trip.
local throng = require "throng"

local send <const> = throng.send

local Echo = {}

function Echo:init()
  self.peer, self.count = throng.parent(), 0
end

function Echo:on_ping(n)
  self.count = self.count + 1
  send(self.peer, "pong", n)
end

function Echo:on_next(n)
  return n + 1
end

function Echo:on_ready() end

function Echo:on_count()
  return self.count
end

return Echo
