--- One actor's trouble is its own: loops, hunger for memory and crashes leave the others alone.
local scenario = require "spec.support.scenario"

local ECHO <const> = "function Me:on_echo(...) return ... end"

describe("an endless loop", function()
  it("on every worker lets an unrelated pair exchange a thousand asks", function()
    assert.are.same({1000, true}, {scenario.run {[[
      function Me:init()
        for _ = 1, 2 * throng.stats().workers do throng.spawn "loop" end
        local e, count = throng.spawn "echo", 0
        for i = 1, 1000 do count = count + e:ask("echo", 1) end
        done(count, throng.stats().preempted > 0)
      end
    ]], echo = ECHO, loop = "function Me:init() while true do end end",
    options = {"--set", "sched.spares=0"}}}) -- without the spares that stand in for workers stuck in C
  end)

  it("in C that can't be preempted does not stop the rest of the node", function()
    local n = scenario.start {[[
      function Me:init()
        throng.spawn "stuck"
        throng.spawn "stuck"
        throng.sleep(2)
        local e, count = throng.spawn "echo", 0
        for i = 1, 100 do count = count + e:ask("echo", 1) end
        print("answers " .. count)
      end
    ]], echo = ECHO, stuck = "function Me:init() string.find(('a'):rep(40000), ('.-'):rep(4) .. 'b') end",
    options = {"--workers", "2"}}
    assert.are.equal("100", n:read_until "answers (%d+)")
    n:kill() -- the stuck ones would take years
  end)
end)

describe("hunger for memory", function()
  it("ends the hungry one alone, with the code memory, in whatever it fills its memory", function()
    local found = {scenario.run {[[
      function Me:init() self.codes, self.count = {}, 0
        for i = 1, 6 do throng.spawn_with({memory = 4 * 2^20, monitor = true}, "hungry", i) end
        self.e = throng.spawn "echo"
      end
      function Me:on_down(_, reason)
        self.count = self.count + 1
        table.insert(self.codes, reason.code)
        if self.count == 6 then done(self.e:ask("echo", "alive"), table.unpack(self.codes)) end
      end
    ]], echo = ECHO, hungry = [[
      local ways = {
        function() local t = {} while true do t[#t + 1] = {} end end,
        function() local s = "x" while true do s = s .. s end end,
        function() local t = {} while true do t[#t + 1] = coroutine.create(print) end end,
        function() string.rep("x", 2^30) end,
        function() while true do throng.fork(function() throng.sleep(600000) end) end end,
        function() local t = {} while true do t = {t, throng.self()} end end,
      }
      function Me:init(i) ways[i]() end
    ]]}}
    assert.are.same({"alive", "memory", "memory", "memory", "memory", "memory", "memory"}, found)
  end)

  it("that is caught leaves the actor alive", function()
    assert.are.same({"not enough memory", "alive"}, {scenario.run {[[
      function Me:init()
        local p = throng.spawn_with({memory = 4 * 2^20}, "careful")
        done(p:ask "eat", p:ask "ping")
      end
    ]], careful = [[
      function Me:on_eat() return (select(2, pcall(function() local s = "x" while true do s = s .. s end end))) end
      function Me:on_ping() return "alive" end
    ]]}})
  end)

  it("of a message's receiver is the receiver's end, not the sender's", function()
    assert.are.same({"memory", "sender lives"}, {scenario.run {[[
      function Me:init()
        throng.spawn_with({memory = 2^20, monitor = true}, "small"):send("take", ("x"):rep(8 * 2^20))
      end
      function Me:on_down(_, reason) done(reason.code, "sender lives") end
    ]], small = "function Me:on_take() end"}})
  end)
end)

describe("a thousand crashes", function()
  it("are a thousand downs, and nothing else", function()
    assert.are.same({1000, 1000, 1}, {scenario.run {[[
      function Me:init()
        self.count, self.crashed = 0, throng.stats().crashed
        for i = 1, 1000 do throng.spawn_with({monitor = true}, "crash", i) end
      end
      function Me:on_down(_, reason)
        if reason.code ~= "error" then done(reason) end
        self.count = self.count + 1
        if self.count == 1000 then
          local now = throng.stats()
          done(self.count, now.crashed - self.crashed, now.actors)
        end
      end
    ]], crash = "function Me:init(i) error('crash ' .. i) end", options = {"--log", "off"}}})
  end)
end)
