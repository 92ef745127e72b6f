--- Senders that send as fast as they can, one receiver that sums up. A full mailbox says so to the sender, who
--- waits a little and sends again: nothing is lost, and memory stays bounded.
local gauge = require "throng.bench.work.gauge"
local throng = require "throng"

local FanIn = {}

function FanIn:init(...)
  self.sizes = gauge.sizes(...)
  self.count, self.sum, self.left, self.refused = 0, 0, self.sizes.senders, 0
  local senders = {}
  for i = 1, self.sizes.senders do senders[i] = throng.spawn("throng.bench.work.sender") end
  for _, sender in ipairs(senders) do sender:ask("ready") end
  self.watch = gauge.start()
  throng.send_all(senders, "go", self.sizes.each)
end

function FanIn:on_take(n)
  self.count = self.count + 1
  self.sum = self.sum + n
end

function FanIn:on_sent(refused)
  self.left, self.refused = self.left - 1, self.refused + refused
  if self.left > 0 then return end
  local each, senders = self.sizes.each, self.sizes.senders
  local result = {messages = senders * each, refused = self.refused, dead_letters_are_fine = true}
  result.seconds, result.cpu_seconds = gauge.stop(self.watch)
  gauge.result(result, gauge.differs("the count", self.count, senders * each)
    or gauge.differs("the sum", self.sum, senders * each * (each + 1) // 2)
    or gauge.differs("the number of refused ones", throng.stats().dead_full, self.refused))
end

return FanIn
