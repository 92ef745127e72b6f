--- Sets timers and sees how late each is.
local histogram = require "throng.histogram"
local throng = require "throng"

local Holder = {}

function Holder:on_ready() end

function Holder:on_set(count, ms)
  self.left, self.late = count, histogram.new()
  for _ = 1, count do
    local delay = math.random() * ms
    throng.after(delay, "due", throng.now() + delay)
  end
  if count == 0 then throng.parent():send("done", self.late) end
end

function Holder:on_due(at)
  self.late:record((throng.now() - at) * 1e6)
  self.left = self.left - 1
  if self.left == 0 then throng.parent():send("done", self.late) end
end

return Holder
