--- Two nodes on this machine: round trips by send or ask, one on its way at a time, and messages one way, all received.
local gauge = require "throng.bench.work.gauge"
local histogram = require "throng.histogram"
local throng = require "throng"

local send <const> = throng.send

local Remote = {}

function Remote:init(...)
  self.sizes, self.refused = gauge.sizes(...), 0
  throng.watch_nodes(true)
end

local function finish(self, count, problem)
  -- what a full way refused is a dead letter each time, and was sent again
  local result = {messages = count, refused = self.refused, dead_letters_are_fine = true}
  result.seconds, result.cpu_seconds = gauge.stop(self.watch)
  if self.took then gauge.latency(result, self.took, "round trip") end
  if self.sizes.bytes > 0 then result.mb_per_s = count * self.sizes.bytes / result.seconds / 1e6 end
  gauge.result(result, problem)
end

local function ask(self)
  local peer, took, now = self.peer, self.took, throng.now
  for i = 1, self.sizes.messages do
    local at = now()
    local n = peer:ask("next", i)
    took:record((now() - at) * 1e6)
    if n ~= i + 1 then return finish(self, i, "a wrong answer") end
  end
  finish(self, self.sizes.messages, gauge.differs("the other's count", peer:ask("count"), self.sizes.messages))
end

local function one_way(self)
  local peer, payload = self.peer, self.sizes.bytes > 0 and ("x"):rep(self.sizes.bytes) or 1
  send(peer, "expect", self.sizes.messages)
  for _ = 1, self.sizes.messages do
    while not send(peer, "take", payload) do -- the way is full
      self.refused = self.refused + 1
      throng.sleep(1)
    end
  end
end

function Remote:on_node(name, state)
  if state == "down" then error("node " .. name .. " was lost") end
  repeat self.peer = throng.whereis("peer", name) until self.peer or throng.sleep(1)
  local how <const> = self.sizes.how
  self.took = how ~= "oneway" and histogram.new() or nil
  self.watch = gauge.start()
  if how == "oneway" then return one_way(self) end
  if how == "ask" then return ask(self) end
  self.at = throng.now()
  send(self.peer, "ping", 1)
end

function Remote:on_pong(n)
  self.took:record((throng.now() - self.at) * 1e6)
  if n == self.sizes.messages then
    return finish(self, n, gauge.differs("the other's count", self.peer:ask("count"), n))
  end
  self.at = throng.now()
  send(self.peer, "ping", n + 1)
end

function Remote:on_received(count, bytes)
  finish(self, count, gauge.differs("messages", count, self.sizes.messages) or
    gauge.differs("bytes", bytes, count * self.sizes.bytes))
end

return Remote
