--- Two nodes on this machine: round trips by send or ask, one on its way at a time; messages one way, all received; and
--- the tick: a beat goes to the Regions over there, each ticks its Guys and says so, then comes the next beat.
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
  if self.took then gauge.latency(result, self.took, self.sizes.how == "tick" and "beat" or "round trip") end
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

local function beat(self)
  self.round, self.left, self.at = self.round + 1, #self.regions, throng.now()
  throng.send_all(self.regions, "beat")
end

local function tick(self)
  local s <const> = self.sizes
  self.round, self.rounds, self.regions = 0, math.max(1, s.messages // (s.guys * s.regions)), {}
  for i = 1, s.regions do self.regions[i] = self.peer:ask("region", s.guys) end
  for _, region in ipairs(self.regions) do throng.ask_within(60000, region, "ready") end
  self.watch = gauge.start()
  beat(self)
end

function Remote:on_beaten()
  self.left = self.left - 1
  if self.left > 0 then return end
  self.took:record((throng.now() - self.at) * 1e6)
  if self.round < self.rounds then return beat(self) end
  local count, sum = self.rounds * self.sizes.guys * self.sizes.regions, 0
  for _, region in ipairs(self.regions) do sum = sum + throng.ask_within(60000, region, "sum") end
  finish(self, count, gauge.differs("the sum of hunger", sum, count))
end

function Remote:on_node(name, state)
  if state == "down" then error("node " .. name .. " was lost") end
  repeat self.peer = throng.whereis("peer", name) until self.peer or throng.sleep(1)
  local how <const> = self.sizes.how
  self.took = how ~= "oneway" and histogram.new() or nil
  self.watch = gauge.start()
  if how == "oneway" then return one_way(self) end
  if how == "ask" then return ask(self) end
  if how == "tick" then return tick(self) end
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
