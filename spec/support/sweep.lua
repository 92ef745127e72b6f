--- busted's helper: after each spec no node is left running and no folder lying about; of a red spec it tells what
--- its nodes said. What a before_each or a setup started lives until the end of the file.
local busted = require "busted"
local present, node = pcall(require, "spec.support.node") -- absent under plain busted, which has no doors
if not present then return end

local mark = 0

busted.subscribe({"test", "start"}, function()
  mark = node.mark()
  return nil, true
end)

busted.subscribe({"test", "end"}, function(_, _, status)
  local red = status == "failure" or status == "error"
  if red then io.write("\n", node.describe(mark)) end
  node.sweep(mark, red)
  return nil, true
end)

busted.subscribe({"file", "end"}, function()
  node.sweep(0, false)
  return nil, true
end)
