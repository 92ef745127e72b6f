--- What talkers of other nodes monitor and link to: it lives until its own talker kills it.
local throng = require "throng"

local Mark = {}

function Mark:init() throng.trap_exits(true) end
function Mark:on_exit() end

return Mark
