--- Routers and pools: who gets a message, and what happens when they come, go, hang and die.
local scenario = require "spec.support.scenario"

local MODULES <const> = {
  worker = [[
    function Me:init(root, id, how)
      self.root, self.id, self.count = root, id, 0
      if how == "fails" then error "no worker" end
    end
    function Me:on_job(...) self.count = self.count + 1 return self.id, ... end
    function Me:on_count() return self.count end
    function Me:on_die() throng.exit "died" end
    function Me:on_crash() error "a bad job" end
    function Me:on_tell(what) self.root:send("told", what) end
    Me.on_hold = scene.on_hold
    --- A job that takes until somebody lets it end.
    function Me:on_long(name)
      self.root:send("began", name)
      while not throng.whereis "finish" do throng.sleep(1) end
      return name
    end
  ]],
  pool = [[ Me = require "throng.pool".behaviour(function(options) return options end) ]],
}

local ROOT <const> = [[
  local router, pool, supervisor = require "throng.router", require "throng.pool", require "throng.supervisor"
  Me.concurrent = true
  local began = {}
  function Me:on_began(name) began[#began + 1] = name end
  local function wait(condition) while not condition() do throng.sleep(1) end end
  local function workers(count)
    local list = {}
    for i = 1, count do list[i] = throng.spawn("worker", throng.self(), i) end
    return list
  end
  local function make(options)
    options.child = options.child or {module = "worker", args = {throng.self(), "w"}}
    return throng.spawn_with({wait = 60000, link = true, name = "pool"}, "pool", options)
  end
  local function size()
    local count = 0
    for _, child in ipairs(supervisor.which "pool") do count = count + (child.pid and 1 or 0) end
    return count
  end
]]

local function run(text, more)
  local o = {ROOT .. text}
  for key, value in pairs(MODULES) do o[key] = value end
  for key, value in pairs(more or {}) do o[key] = value end
  return scenario.run(o)
end

describe("a router", function()
  it("asks and sends in turn, with all arguments and results", function()
    assert.are.same({{1, "x", "nil", 3}, {2, "y"}, {3, 2, 1}}, {run [[
      function Me:init()
        local pids = workers(3)
        local r = router.over(pids)
        local first = table.pack(r:ask("job", "x", nil, 3))
        first[3] = tostring(first[3])
        first.n = nil
        local second = {r:ask_within(60000, "job", "y")}
        for _ = 1, 3 do r:send("job") end
        local counts = {}
        for i = 1, 3 do counts[i] = pids[i]:ask "count" end
        table.sort(counts, function(a, b) return a > b end)
        done(first, second, {#pids, counts[1], counts[3]})
      end
    ]]})
  end)

  it("passes over the dead in send, and says when there is nobody", function()
    assert.are.same({{true, true, true, true}, 4, false, "empty", "empty"}, {run [[
      function Me:init()
        local pids = workers(3)
        for i = 1, 2 do throng.kill(pids[i]) throng.await(pids[i], 60000) end
        local r, sent = router.over(pids), {}
        for i = 1, 4 do sent[i] = r:send "job" end
        local count = pids[3]:ask "count"
        throng.kill(pids[3])
        throng.await(pids[3], 60000)
        local taken, why = r:send "job"
        local e = try(r.ask, router.over {}, "job")
        done(sent, count, taken, why, e.code)
      end
    ]]})
  end)

  it("raises what an ask raises", function()
    assert.are.same({"error", "down", "timeout"}, {run [[
      function Me:init()
        local pids = workers(3)
        throng.kill(pids[2])
        throng.await(pids[2], 60000)
        local r = router.over(pids)
        local a, b = try(r.ask, r, "crash"), try(r.ask, r, "job")
        done(a.code, b.code, try(r.ask_within, r, 5, "long", "x").code)
      end
    ]]})
  end)

  it("least loaded, gives nothing to who has not answered yet while another is free", function()
    assert.are.same({{2, 2, 2}}, {run [[
      function Me:init()
        local pids, ids = workers(2), {}
        local r = router.over(pids, "least_loaded")
        throng.fork(function() r:ask("long", "l") end)
        wait(function() return #began == 1 end)
        for i = 1, 3 do ids[i] = r:ask "job" end
        done(ids)
      end
    ]]})
  end)

  it("by hash, gives all of a key to one, the first argument if nothing else is said", function()
    assert.are.same({true, true, true}, {run [[
      function Me:init()
        local pids = workers(5)
        local r = router.over(pids, "hash")
        local by_second = router.over(pids, "hash", {key = function(_, _, second) return second end})
        local same, second, seen, count = true, true, {}, 0
        for i = 1, 50 do
          local id = r:ask("job", "key" .. i, i)
          for j = 1, 3 do same = same and r:ask("job", "key" .. i, j) == id end
          second = second and by_second:ask("job", i, "key" .. i) == id
          seen[id] = true
        end
        for _ in pairs(seen) do count = count + 1 end
        done(same, second, count > 2)
      end
    ]]})
  end)
end)

describe("a pool", function()
  it("has its least, grows while all are busy up to its most, and shrinks to its least when idle", function()
    local found = run [[
      function Me:init()
        make {least = 2, most = 5, idle = 20}
        local least, answers = size(), 0
        for i = 1, 12 do
          throng.fork(function()
            local name = pool.ask_within(60000, "pool", "long", i)
            answers = answers + (name == i and 1 or 0)
          end)
        end
        wait(function() return #began == 5 end)
        local most = size()
        throng.register "finish"
        wait(function() return answers == 12 end)
        throng.unregister "finish"
        wait(function() return size() == 2 end)
        throng.sleep(50)
        done {least = least, most = most, again = size(), answer = pool.ask("pool", "job", 1)}
      end
    ]]
    assert.are.same({least = 2, most = 5, again = 2, answer = "w"}, found)
  end)

  it("does not grow while somebody is free", function()
    assert.are.same({2}, {run [[
      function Me:init()
        make {least = 2, most = 5}
        for i = 1, 50 do pool.ask("pool", "job", i) end
        done(size())
      end
    ]]})
  end)

  it("hands on all arguments and results, and errors as an ask raises them; who crashed is started again", function()
    local found = run [[
      function Me:init()
        make {least = 1, most = 1}
        local results = table.pack(pool.ask("pool", "job", nil, {1, 2}, nil))
        local e = try(pool.ask, "pool", "crash")
        wait(function() return size() == 1 end)
        done {n = results.n, two = results[3][2], code = e.code, message = e.message, trace = e.traceback ~= nil,
              unknown = try(pool.ask, "pool", "no such job").code, after = pool.ask("pool", "job"),
              nobody = try(pool.ask, "nobody", "job").code, restarts = supervisor.which "pool"[1].restarts}
      end
    ]]
    assert.matches("a bad job", found.message)
    found.message = nil
    assert.are.same({n = 4, two = 2, code = "error", trace = true, unknown = "no_handler", after = "w", nobody = "down",
                     restarts = 1}, found)
  end)

  it("says at once that it has no worker, if it can have none", function()
    assert.are.same({"empty"}, {run [[
      function Me:init()
        make {least = 0, most = 2, child = {module = "worker", args = {throng.self(), "w", "fails"}}}
        done(try(pool.ask, "pool", "job").code)
      end
    ]]})
  end)

  it("sends, too", function()
    assert.are.same({true, "hello"}, {run [[
      function Me:on_told(what) done(self.sent, what) end
      function Me:init()
        make {least = 1, most = 2}
        self.sent = pool.send("pool", "tell", "hello")
      end
    ]]})
  end)

  it("lets nobody go who works", function()
    assert.are.same({{"done", "done", "done"}, 1}, {run [[
      function Me:init()
        make {least = 1, most = 3, idle = 2}
        local answers = {}
        for i = 1, 3 do throng.fork(function() answers[i] = pool.ask_within(60000, "pool", "long", "done") end) end
        wait(function() return #began == 3 end)
        throng.sleep(30) -- many looks
        throng.register "finish"
        wait(function() return #answers == 3 end)
        wait(function() return size() == 1 end)
        done(answers, size())
      end
    ]]})
  end)

  it("refuses bounds that are none", function()
    for _, options in ipairs {"{least = 3, most = 2}", "{least = 0, most = 0}", "{most = 2}"} do
      local message = run(("function Me:init() throng.trap_exits(true) done(try(make, %s).message) end")
        :format(options))
      assert.matches("a pool needs least and most", message)
    end
  end)
end)

describe("a router over a group", function()
  it("hands messages to whoever has joined, as they come and go", function()
    local found = {run([[
      function Me:init()
        local r = router.over_group "tills"
        local empty = try(r.ask, r, "job").code
        local pids, turns = {}, {}
        for i = 1, 2 do pids[i] = throng.spawn_with({wait = 60000}, "till", i) end
        for i = 1, 4 do turns[i] = r:ask "job" end
        table.sort(turns)
        throng.kill(pids[1])
        throng.await(pids[1], 60000)
        done(empty, turns, {r:ask "job", r:ask "job"}, {r:send "job", r:send "job"})
      end
    ]], {till = [[
      function Me:init(id) self.id = id throng.join "tills" end
      function Me:on_job() return self.id end
    ]]})}
    assert.are.same({"empty", {1, 1, 2, 2}, {2, 2}, {true, true}}, found)
  end)
end)
