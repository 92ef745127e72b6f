--- An actor spawns ten, each of those ten, ... the leaves return their number.
local gauge = require "throng.bench.work.gauge"
local throng = require "throng"

local Tree = {}

function Tree:init(...)
  local leaves = gauge.sizes(...).leaves
  self.leaves = 1
  while self.leaves * 10 <= leaves do self.leaves = self.leaves * 10 end
  self.watch = gauge.start()
  throng.spawn("throng.bench.work.tree_node", 0, self.leaves)
end

function Tree:on_sum(sum)
  local result = {messages = self.leaves}
  result.seconds, result.cpu_seconds = gauge.stop(self.watch)
  gauge.result(result, gauge.differs("the sum", sum, self.leaves * (self.leaves - 1) // 2))
end

return Tree
