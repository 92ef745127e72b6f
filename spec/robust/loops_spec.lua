--- Handlers that never end: others go on, `kill` ends them, and so does the end of the node.
local node = require "spec.support.node"
local seed = require "spec.support.seed"
local world = require "spec.robust.world"

--- An endless loop whose variable's end is one, too.
local CLOSES <const> = "local x <close> = setmetatable({}, {__close = function() while true do end end}) while true do end"

--- What a loop can be hidden in. Each never returns; `preempted` ones can be interrupted wherever they are.
local LOOPS <const> = {
  plain = "while true do end",
  goto_self = "::again:: goto again",
  allocating = "while true do local t = {} t[1] = 'x' .. tostring(t) end",
  pcall = "while true do pcall(function() while true do end end) end",
  pcall_error = "while true do pcall(error, 'again') end",
  xpcall = "while true do xpcall(function() while true do end end, function(e) return e end) end",
  recursion = "local function f(n) if n > 0 then f(n - 1) end end while true do f(100) end",
  tail_calls = "local function f() return f() end f()",
  recursion_pcall = "local function f() pcall(f) return f() end f()",
  coroutine = "coroutine.wrap(function() while true do end end)()",
  coroutines = "coroutine.wrap(function() coroutine.wrap(function() coroutine.wrap(function() while true do end end)() end)() end)()",
  coroutine_pingpong = "local co = coroutine.wrap(function() while true do coroutine.yield() end end) while true do co() end",
  coroutine_new = "while true do coroutine.wrap(function() end)() end",
  coroutine_pcall = "while true do pcall(coroutine.wrap(function() while true do pcall(function() while true do end end) end end)) end",
  coroutine_resume = "while true do coroutine.resume(coroutine.create(function() while true do end end)) end",
  coroutine_close = "while true do local co = coroutine.create(function() local x <close> = setmetatable({}, {__close = function() while true do end end}) coroutine.yield() end) coroutine.resume(co) coroutine.close(co) end",
  close = "do local x <close> = setmetatable({}, {__close = function() while true do end end}) end",
  close_error = "local x <close> = setmetatable({}, {__close = function() while true do end end}) error 'x'",
  close_again = "local function again() local x <close> = setmetatable({}, {__close = function() while true do pcall(function() while true do end end) end end}) while true do end end again()",
  index = "local t = setmetatable({}, {__index = function() while true do end end}) return t.x",
  newindex = "local t = setmetatable({}, {__newindex = function() while true do end end}) t.x = 1",
  add = "local t = setmetatable({}, {__add = function() while true do end end}) return t + 1",
  eq = "local mt = {__eq = function() while true do end end} return setmetatable({}, mt) == setmetatable({}, mt)",
  concat = "local t = setmetatable({}, {__concat = function() while true do end end}) return t .. 'x'",
  len = "local t = setmetatable({}, {__len = function() while true do end end}) return #t",
  call = "setmetatable({}, {__call = function() while true do end end})()",
  tostring = "tostring(setmetatable({}, {__tostring = function() while true do end end}))",
  pairs = "for _ in pairs(setmetatable({}, {__pairs = function() while true do end end})) do end",
  iterator = "for _ in function() while true do end end do end",
  iterator_itself = "for _ in function() return 1 end do end",
  sort = "table.sort({3, 2, 1}, function() while true do end end)",
  sort_pcall = "while true do pcall(table.sort, {3, 2, 1}, function() while true do pcall(function() while true do end end) end end) end",
  sort_again = "local t = {} for i = 1, 100 do t[i] = i end while true do table.sort(t, function(a, b) return a > b end) end",
  sort_coroutine = "table.sort({3, 2, 1}, function() coroutine.wrap(function() while true do end end)() end)",
  sort_coroutine_pcall = "table.sort({3, 2, 1}, function() while true do pcall(coroutine.wrap(function() while true do end end)) end end)",
  coroutine_sort = "coroutine.wrap(function() table.sort({3, 2, 1}, function() while true do end end) end)()",
  gsub = "('x'):gsub('x', function() while true do end end)",
  gsub_again = "while true do ('xxxx'):gsub('x', function() return 'y' end) end",
  gsub_pcall = "('x'):gsub('x', function() while true do pcall(function() while true do end end) end end)",
  gmatch = "while true do for w in ('a b c'):gmatch('%a') do local _ = w end end",
  load_reader = "load(function() while true do end end)",
  load = "while true do load('return 1')() end",
  metamethod_sort = "table.sort({setmetatable({}, {__lt = function() while true do end end}), setmetatable({}, {__lt = function() while true do end end})})",
  table_insert = "local t = setmetatable({}, {__newindex = function() while true do end end}) table.insert(t, 1)",
  table_concat = "table.concat(setmetatable({}, {__index = function() while true do end end, __len = function() return 5 end}))",
  table_unpack = "table.unpack(setmetatable({}, {__index = function() while true do end end}), 1, 3)",
  print = "print(setmetatable({}, {__tostring = function() while true do end end}))",
  log = "throng.log.info(setmetatable({}, {__tostring = function() while true do end end}))",
  sends = "while true do throng.self():send('nothing') end",
  sleeps = "while true do throng.sleep(0) end",
  asks_dead = "while true do pcall(throng.ask, ..., 'x') end",
  forks = "throng.fork(function() while true do end end)",
  name = "while true do throng.register('n') throng.unregister('n') end",
  timers = "while true do throng.cancel(throng.after(1e6, 'x')) end",
  monitors = "while true do throng.demonitor(throng.monitor(...)) end",
  random = "while true do math.random() end",
  collect = "while true do collectgarbage() end",
  collect_step = "while true do collectgarbage('step') end",
  stats = "while true do throng.stats() end",
}

local function doer(text)
  return ("local throng = require 'throng'\nreturn {on_go = function(_, ...) %s end}"):format(text)
end

local files, names = {}, {}
for name, text in pairs(LOOPS) do
  files["loop_" .. name .. ".lua"] = doer(text)
  names[#names + 1] = name
end
table.sort(names)

--- Names as a Lua table.
local function list(of)
  local quoted = {}
  for i, name in ipairs(of) do quoted[i] = ("%q"):format(name) end
  return "{" .. table.concat(quoted, ", ") .. "}"
end

local AT_ONCE <const> = 16 -- those in C functions each keep a thread busy

--- Begins all loops that are named, in their own actors, and kills them; `between` is done in between.
local function kill_all(of, between, options)
  if #of > AT_ONCE then
    kill_all(table.move(of, AT_ONCE + 1, #of, 1, {}), between, options)
    of = table.move(of, 1, AT_ONCE, 1, {})
  end
  world.run {files = files, timeout = 100, options = {"--log", "error", "--set", "stop.timeout=50", table.unpack(options or {})},
    body = ([[
    local dead, pids = throng.spawn("echo"), {}
    throng.kill(dead)
    for _, name in ipairs %s do
      pids[name] = check.begin({}, "loop_" .. name)
      pids[name]:send("go", dead)
      %s
    end
    %s
    check.kill(pids)
  ]]):format(list(of), between.each or "", between.all or "")}
end

describe("a handler that never ends", function()
  it("ends by a kill, whatever the loop is hidden in", function()
    kill_all(names, {each = "check.alive() check.kill {[name] = pids[name]} pids[name] = nil"})
  end)

  it("ends by a kill that waits already when it begins", function()
    kill_all(names, {}, {"--workers", "1"})
  end)

  it("leaves others their turn, though all of them run at once, and all end by kills", function()
    kill_all(names, {all = "for _ = 1, 20 do check.alive() end"}, {"--workers", "2"})
  end)

  it("ends by a kill on a shuffled schedule, too", function()
    kill_all(names, {each = "check.alive()"}, {"--set", "sched.seed=" .. seed})
  end)

  -- A raise out of a hook leaves hooks off until it is caught: what runs on its way could not be interrupted again.
  for name, text in pairs {
    xpcall_handler = "while true do xpcall(function() while true do end end, function() while true do end end) end",
    xpcall_handler_sort = "table.sort({1, 2}, function() xpcall(function() while true do end end, function() while true do end end) end)",
    error_handler_error = "while true do xpcall(error, function() while true do end end) end",
    close_on_the_way = CLOSES,
    close_on_the_way_pcall = "table.sort({1, 2, 3}, function() pcall(function() " .. CLOSES .. " end) while true do end end)",
    close_in_coroutine = "table.sort({1, 2, 3}, function() coroutine.wrap(function() " .. CLOSES .. " end)() end)",
    close_in_coroutine_sort = "table.sort({1, 2, 3}, function() coroutine.wrap(function() table.sort({1, 2, 3}, function() " ..
      CLOSES .. " end) end)() end)",
  } do
    files["loop_" .. name .. ".lua"] = doer(text)
    it("ends by a kill though its way out is a loop again: " .. name, function()
      kill_all({name}, {each = "check.alive()"})
      kill_all({name}, {})
    end)
  end

  it("ends when the node ends, and the node soon after", function()
    for i = 1, #names, 8 do
      local some = table.move(names, i, math.min(i + 7, #names), 1, {})
      local r = node.run(world.options {files = files, options = {"--log", "error", "--set", "stop.timeout=50", "--workers", "2"},
        body = ([[
        local dead = throng.spawn("echo")
        for _, name in ipairs %s do throng.spawn("loop_" .. name):send("go", dead) end
        check.alive()
      ]]):format(list(some))})
      assert(r.code == 0, table.concat(some, " ") .. ": " .. tostring(r.code) .. r.err)
    end
  end)

  it("as the root ends by the first Ctrl-C, after stop.timeout, and at once by the second", function()
    for _, name in ipairs {"plain", "pcall", "sort_pcall", "coroutine_pcall", "close"} do
      local text = ("local throng = require 'throng'\nreturn {init = function(_, ...) print 'here' %s end}"):format(LOOPS[name])
      local n = node.start {script = text, options = {"--set", "stop.timeout=50"}}
      n:read_until("here")
      n:signal "INT"
      assert.are.equal(130, n:wait().code, name)
      n = node.start {script = text, options = {"--set", "stop.timeout=60000"}}
      n:read_until("here")
      n:signal "INT"
      n:signal "TERM"
      local r = n:wait()
      assert(r.code == 130 or r.code == 143, name)
    end
  end)
end)

describe("a worker stuck in C", function()
  -- string.find with many `.-` and no end: minutes of it, without a single Lua instruction
  local stuck <const> = "return (('a'):rep(400)):find(('.-'):rep(12) .. 'b')"

  it("is replaced by a spare, so that all others go on", function()
    local n = node.start(world.options {options = {"--workers", "2", "--set", "stop.timeout=50"}, files = {["stuck.lua"] = doer(stuck)}, body = [[
      for _ = 1, 4 do throng.spawn("stuck"):send("go") end
      throng.sleep(100)
      for _ = 1, 100 do check.alive() end
      throng.sleep(1)
      print "others went on"
    ]]})
    n:read_until("others went on", 60)
    n:read_until("alive", 60)
    local r = n:wait(30)
    assert.are.equal(0, r.code, r.err) -- the process ends around them
  end)

  it("does not keep Ctrl-C from ending the node, nor a second one at once", function()
    local script = "local throng = require 'throng'\nreturn {init = function() print 'here' " .. stuck .. " end}"
    for _, workers in ipairs {"1", "2"} do
      local n = node.start {script = script, options = {"--workers", workers, "--set", "stop.timeout=50"}}
      n:read_until("here")
      n:signal "INT"
      assert.are.equal(130, n:wait(30).code)
      n = node.start {script = script, options = {"--workers", workers, "--set", "stop.timeout=60000"}}
      n:read_until("here")
      n:signal "INT"
      n:signal "TERM" -- two of one kind could become one on their way
      local r = n:wait(30)
      assert(r.code == 130 or r.code == 143, r.code)
    end
  end)

  it("more often than there are spares leaves the node able to end", function()
    local n = node.start(world.options {options = {"--workers", "1", "--set", "sched.spares=2", "--set", "stop.timeout=50"},
      files = {["stuck.lua"] = doer(stuck)}, body = [[
      for _ = 1, 8 do throng.spawn("stuck"):send("go") end
      print "all sent"
      throng.sleep(1e9)
    ]]})
    n:read_until("all sent", 30)
    n:signal "INT"
    assert.are.equal(130, n:wait(30).code)
  end)
end)
