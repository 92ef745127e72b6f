--- Asks another node's talker again and again, for some time, and says how long it had to wait.
local throng = require "throng"
local cjson = require "cjson"

local Prober = {}

function Prober:init(node, ms, limit)
  local talker = throng.whereis("talker", node)
  local ends = throng.now() + ms
  local r = {asked = 0, answered = 0, longest = 0}
  while throng.now() < ends do
    local began = throng.now()
    r.asked = r.asked + 1
    local good, e = pcall(throng.ask_within, limit or 5000, talker, "echo", 1, 0)
    if good then r.answered = r.answered + 1 else r.why = e.message end
    r.longest = math.max(r.longest, throng.now() - began)
    throng.sleep(5)
  end
  print("prober " .. cjson.encode(r))
end

return Prober
