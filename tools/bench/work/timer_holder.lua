--- Sets timers and sees how late each is.
local histogram = require "throng.histogram"
local throng = require "throng"

local Holder = {}

function Holder:on_ready() end

function Holder:on_set(count, start, ms)
  self.left, self.late = count, histogram.new()
  for _ = 1, count do
    local due = start + math.random() * ms
    throng.after(math.max(0, due - throng.now()), "due", due)
  end
  if count == 0 then throng.parent():send("done", self.late) end
end

function Holder:on_due(at)
  self.late:record((throng.now() - at) * 1e6)
  self.left = self.left - 1
  if self.left == 0 then throng.parent():send("done", self.late) end
end

return Holder
