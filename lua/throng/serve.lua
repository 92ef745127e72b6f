--- The root of a node without a script (`throng run --listen ...` or `--join ...`): it is there for what other nodes
--- spawn on it, until it is told to end.
local throng = require "throng"

local Serve = {}

function Serve:init()
  throng.log.info("ready for what other nodes spawn here")
end

--- Ctrl-C is how it ends: that is no failure.
function Serve:on_interrupt()
  throng.shutdown(0)
end

return Serve
