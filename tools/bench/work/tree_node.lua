--- A leaf tells its number, a branch spawns ten and tells the sum of theirs.
local throng = require "throng"

local Node = {}

function Node:init(first, leaves)
  if leaves == 1 then
    throng.parent():send("sum", first)
    throng.exit()
  end
  self.sum, self.left = 0, 10
  for i = 0, 9 do throng.spawn("throng.bench.work.tree_node", first + i * leaves // 10, leaves // 10) end
end

function Node:on_sum(sum)
  self.sum, self.left = self.sum + sum, self.left - 1
  if self.left > 0 then return end
  throng.parent():send("sum", self.sum)
  throng.exit()
end

return Node
