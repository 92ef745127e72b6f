--- One of a ring: what comes goes on to the next.
local throng = require "throng"

local send <const> = throng.send

local Node = {}

function Node:on_join(next, number)
  self.next, self.number, self.hops = next, number, 0
  return number
end

function Node:on_hop(left)
  self.hops = self.hops + 1
  if left > 1 then
    send(self.next, "hop", left - 1)
  else
    throng.parent():send("done", self.number)
  end
end

function Node:on_hops()
  return self.hops
end

return Node
