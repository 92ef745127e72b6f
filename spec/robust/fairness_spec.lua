--- What is promised of time: a loop delays nobody else, a loop goes on too, who has nothing to do takes nothing, and
--- being interrupted changes no result.
local node = require "spec.support.node"
local seed = require "spec.support.seed"
local world = require "spec.robust.world"

--- A text that measures: asks `n` times, returns the seconds and the times in ms, sorted.
local ASKS <const> = [[
  local function asks(n)
    local times, began = {}, throng.now()
    for i = 1, n do
      local start = throng.now()
      check.same(i, echo:ask("echo", i))
      times[i] = throng.now() - start
    end
    table.sort(times)
    return (throng.now() - began) / 1000, times
  end
]]

describe("an endless loop on every worker", function()
  local loop <const> = [[
    local throng = require "throng"
    return {init = function(self) self.count = 0 end, on_go = function(self, counter)
      while true do
        for _ = 1, 100000 do end
        counter:send("add")
      end
    end}]]

  for _, workers in ipairs {1, 2, 4} do
    it(("leaves an unrelated pair its turns, and goes on itself: %d of each"):format(workers), function()
      local r = world.run {timeout = 100, options = {"--workers", tostring(workers), "--set", "stop.timeout=50"},
        files = {["loop.lua"] = loop}, body = ASKS .. ([[
        local counters = {}
        asks(1000)
        local quiet, quiet_times = asks(2000)
        for i = 1, %d do
          counters[i] = throng.spawn("echo")
          throng.spawn("loop"):send("go", counters[i])
        end
        asks(200)
        local before = {}
        for i, counter in ipairs(counters) do before[i] = counter:ask("sum") end
        local busy, times = asks(2000)
        local p50, p99 = times[1000], times[1980]
        print(("p50 %%.3f ms, p99 %%.3f ms, quiet p99 %%.3f ms, %%.2f s, quiet %%.2f s"):format(p50, p99, quiet_times[1980], busy, quiet))
        -- The promise is a p99 under 5 ms on an idle machine; here others may be at work, so the bounds are wide: a pair that
        -- had to wait for loops would need minutes.
        assert(p50 < 20, p50) assert(p99 < 200, p99)
        for i, counter in ipairs(counters) do
          local after
          repeat after = counter:ask("sum") until after > before[i] + 3 -- goes on: else it is the deadline that fails
        end
      ]]):format(workers)}
      assert(r.out:find("p99"), r.out)
    end)
  end

  it("lets a pair do as much, within a factor, as a pair beside busy but yielding actors", function()
    local function seconds(hog)
      local r = world.run {timeout = 100, options = {"--workers", "2", "--set", "stop.timeout=50"}, files = {["hog.lua"] = hog}, body = ASKS .. [[
        for _ = 1, 2 do throng.spawn("hog"):send("go") end
        asks(100)
        print("seconds", (asks(1000)))
      ]]}
      return tonumber(r.out:match("seconds\t(%S+)"))
    end
    local yielding = seconds "local throng = require 'throng' return {on_go = function() for _ = 1, 1000 do end throng.self():send('go') end}"
    local looping = seconds "return {on_go = function() while true do end end}"
    assert(looping < 50 * yielding + 2, ("%g s beside loops, %g s beside those who yield"):format(looping, yielding))
  end)

  it("does not hold up timers, spawns, kills, monitors and the log", function()
    world.run {timeout = 100, options = {"--workers", "2", "--set", "stop.timeout=50"}, files = {
      ["loop.lua"] = loop, ["loop_sort.lua"] = "return {on_go = function() table.sort({1, 2, 3}, function() while true do end end) end}"}, body = [[
      for _, name in ipairs {"loop", "loop", "loop_sort"} do throng.spawn(name):send("go", throng.spawn("echo")) end
      for i = 1, 50 do
        throng.sleep(1)
        local pid = check.begin({wait = 60000, name = "n" .. i}, "echo")
        check.same(pid, throng.whereis("n" .. i))
        check.kill {pid}
        check.same(nil, throng.whereis("n" .. i))
        throng.log.info("still here", {i = i})
      end
    ]]}
  end)
end)

describe("an idle node", function()
  it("takes no processor time", function()
    world.run [[
      local pids = {}
      for i = 1, 100 do pids[i] = throng.spawn("echo") end
      for _, pid in ipairs(pids) do pid:ask("echo") end
      local least = math.huge
      for _ = 1, 3 do -- what is left from the start may still be at work the first time
        local began, cpu = throng.now(), throng.stats().cpu_ns
        throng.sleep(500)
        least = math.min(least, (throng.stats().cpu_ns - cpu) / 1e6 / (throng.now() - began))
      end
      assert(least < 0.05, least)
    ]]
  end)

  it("takes none either after loops were killed, or while a far timer waits", function()
    world.run {files = {["loop.lua"] = "return {on_go = function() while true do end end}"}, body = [[
      throng.every(3600e3, "x")
      local pids = {}
      for i = 1, 4 do pids[i] = check.begin({}, "loop") pids[i]:send("go") end
      check.alive()
      check.kill(pids)
      local least = math.huge
      for _ = 1, 3 do
        local began, cpu = throng.now(), throng.stats().cpu_ns
        throng.sleep(500)
        least = math.min(least, (throng.stats().cpu_ns - cpu) / 1e6 / (throng.now() - began))
      end
      assert(least < 0.05, least)
    ]]}
  end)
end)

describe("being interrupted", function()
  --- Something of everything that an interrupt could fall into. Returns a text.
  local work <const> = [[
    local Work = {}
    local function mix(h, n) return (h * 31 + n) % 1000000007 end
    local function fib(n) if n < 2 then return n end return fib(n - 1) + fib(n - 2) end
    local function each(n) return coroutine.wrap(function() for i = 1, n do coroutine.yield(i) end end) end
    function Work:on_go(scale)
      local h, closed = 7, 0
      h = mix(h, fib(16 + scale))
      for i in each(2000 * scale) do h = mix(h, i) end
      for i = 1, 200 * scale do
        local co = coroutine.wrap(function(a)
          local inner = coroutine.wrap(function(b) for k = 1, 5 do b = b + coroutine.yield(b * k) end return b end)
          for _ = 1, 5 do a = a + inner(a) end
          return a
        end)
        h = mix(h, co(i) % 1000003)
      end
      for i = 1, 50 * scale do
        local t = {}
        for k = 1, 50 do t[k] = (k * 7919 + i) % 101 end
        table.sort(t, function(a, b) return a > b end)
        h = mix(h, t[1] * 1000 + t[50])
        h = mix(h, #(("abc"):rep(20):gsub("b", function(c) return c .. i end)))
      end
      for i = 1, 300 * scale do
        local good, e = pcall(function()
          local x <close> = setmetatable({}, {__close = function() for _ = 1, 10 do closed = closed + 1 end end})
          if i % 3 == 0 then error({i}) end
          return i
        end)
        h = mix(h, good and e or e[1] * 2)
      end
      local t = setmetatable({}, {__index = function(_, k) return k * 2 end, __add = function(_, n) local s = 0 for k = 1, n do s = s + k end return s end,
        __lt = function() return true end, __concat = function(_, s) return "c" .. s end, __len = function() return 5 end, __call = function(_, ...) return select("#", ...) end})
      for i = 1, 500 * scale do h = mix(h, t[i] + (t + i % 20) + #t + t(i, i, i) + #(t .. i) + (t < t and 1 or 0)) end
      local parts = {}
      for i = 1, 300 * scale do parts[#parts + 1] = ("%d:%s"):format(i, ("x"):rep(i % 7)) end
      for w in table.concat(parts, ","):gmatch("%d+") do h = mix(h, tonumber(w)) end
      for i = 1, 100 * scale do h = mix(h, load("local n = 0 for k = 1, " .. i % 10 .. " do n = n + k end return n")()) end
      return ("%d %d"):format(h, closed)
    end
    return Work]]

  local function result(options, scale, others)
    local r = world.run {timeout = 100, options = options, files = {["work.lua"] = work}, body = ([[
      local scale, pids, first = %d, {}, nil
      for i = 1, %d do pids[i] = throng.spawn("work") end
      for _, pid in ipairs(pids) do throng.fork(function() pid:ask("go", scale) end) end -- they take each other's time
      for _, pid in ipairs(pids) do
        local got = pid:ask("go", scale)
        first = first or got
        check.same(first, got)
      end
      print("result " .. first .. " preempted " .. throng.stats().preempted)
    ]]):format(scale, others)}
    return r.out:match("result (%d+ %d+) preempted (%d+)")
  end

  it("leaves the result of a long computation as it is", function()
    local alone = result({"--workers", "1"}, 4, 1)
    local crowded, preempted = result({"--workers", "1"}, 4, 6)
    assert.are.equal(alone, crowded)
    assert(tonumber(preempted) > 5, preempted)
  end)

  it("at random instructions leaves results as they are", function()
    local alone = result({"--workers", "1"}, 1, 1)
    for i = 0, 5 do
      local shuffled = result({"--workers", tostring(1 + i % 3), "--set", "sched.seed=" .. seed + i}, 1, 3)
      assert(alone == shuffled, ("seed %d: %s is not %s"):format(seed + i, shuffled, alone))
    end
  end)
end)

describe("more workers than cores", function()
  it("and many of them start and end", function()
    for _, workers in ipairs {1, 3, 64, 300} do
      local r = node.run(world.options {options = {"--workers", tostring(workers)}, body = "check.same(" .. workers .. ", throng.stats().workers)"})
      assert.are.equal(0, r.code, r.err)
    end
  end)
end)
