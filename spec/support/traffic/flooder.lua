--- Sends another node's sink all that its way there takes, for some time, then says what became of it.
local throng = require "throng"
local cjson = require "cjson"

local Flooder = {}

function Flooder:init(node, size, ms)
  local sink = throng.whereis("sink", node)
  local text, ends = ("x"):rep(size), throng.now() + ms
  local before = throng.stats().rss_bytes
  local r = {sent = 0, taken = 0, grew = 0, full_asks = 0, whys = {}}
  while throng.now() < ends do
    r.sent = r.sent + 1
    local taken, why = sink:send("drop", r.sent, text)
    if taken then
      r.taken = r.taken + 1
    else
      r.whys[why] = (r.whys[why] or 0) + 1
      r.sent = r.sent - 1 -- and again
      throng.sleep(1)
    end
    if r.sent % 1000 == 0 then r.grew = math.max(r.grew, throng.stats().rss_bytes - before) end
  end
  local good
  repeat -- its mailbox may be full for some time yet
    good, r.heard, r.full = pcall(throng.ask_within, 60000, sink, "count")
    if not good then
      -- Not those refused here already, because it is known here that the mailbox there is full.
      if not tostring(r.heard):find("or the way there", 1, true) then r.full_asks = r.full_asks + 1 end
      throng.sleep(20)
    end
  until good
  print("flooder " .. cjson.encode(r))
end

return Flooder
