--- A small table of all sorts goes there and back; both ends build theirs fresh for each trip.
local gauge = require "throng.bench.work.gauge"
local histogram = require "throng.histogram"
local throng = require "throng"

local SAMPLE <const> = 64

local send <const> = throng.send

local Payload = {}

--- Fresh: the number keeps anybody from making it once for all.
local function build(n)
  return {id = n, name = "guy-42", pos = {1.5, 2.5, 3.5}, tags = {"a", "b", "c"}}
end

local function is_good(t, n)
  return t.id == n and t.name == "guy-42" and t.pos[3] == 3.5 and t.tags[3] == "c"
end

function Payload:init(trips, peer)
  if peer then
    self.peer = peer
    return
  end
  self.trips = gauge.sizes(trips).trips
  self.peer = throng.spawn("throng.bench.work.payload", 0, throng.self())
  self.peer:ask("ready")
  self.bad, self.at, self.took, self.watch = 0, throng.now(), histogram.new(), gauge.start()
  self.peer:send("there", build(1))
end

function Payload:on_ready() end

function Payload:on_there(guy)
  send(self.peer, "back", build(guy.id))
end

function Payload:on_back(guy)
  local n = guy.id
  if n % SAMPLE == 0 then self.took:record((throng.now() - self.at) * 1e6) end
  if not is_good(guy, n) then self.bad = self.bad + 1 end
  if n < self.trips then
    if (n + 1) % SAMPLE == 0 then self.at = throng.now() end
    send(self.peer, "there", build(n + 1))
    return
  end
  local result = {messages = n}
  result.seconds, result.cpu_seconds = gauge.stop(self.watch)
  gauge.latency(result, self.took, "round trip")
  gauge.result(result, gauge.differs("the number of broken ones", self.bad, 0))
end

return Payload
