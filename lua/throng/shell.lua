--- Where a console's session evaluates what it is told: an actor of its own, which is gone with the session.
--- Who sends it messages finds them in the session's global `received`, the newest of them.
local KEPT <const> = 100

local Shell = {}

function Shell:on_other(name, ...)
  local all = received or {} -- luacheck: ignore 113
  received = all             -- luacheck: ignore 111
  if #all >= KEPT then table.remove(all, 1) end
  all[#all + 1] = {name, ...}
end

return Shell
