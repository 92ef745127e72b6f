--- core/ops/top.c, trace.c, why.c and what is behind them (actor/gauge, trace, observe): who looks on from outside.
local node = require "spec.support.node"
local console = require "spec.support.console"

local FILES <const> = {
  ["main.lua"] = [[
    local throng = require "throng"
    local Root = {}
    function Root:init()
      throng.register "root"
      for i, module in ipairs {"echo", "asker", "asker", "asker", "waiter", "spinner", "loud", "crowd", "many", "hot", "spinner"} do
        throng.spawn_with({name = module .. i, wait = 20000}, module)
      end
      print "up"
    end
    return Root]],
  ["echo.lua"] = [[
    local Echo = {}
    function Echo:on_say(...) return ... end
    function Echo:on_fail() error "oh" end
    function Echo:on_leave() require "throng".exit "gone" end
    return Echo]],
  ["asker.lua"] = [[
    local throng = require "throng"
    local Asker = {}
    function Asker:on_go(whom, name, ...) return throng.ask_within(60000, throng.whereis(whom), name, ...) end
    function Asker:on_nap(ms) throng.sleep(ms) end
    function Asker:on_await(whom) throng.await(throng.whereis(whom), 60000) end
    return Asker]],
  ["waiter.lua"] = [[
    local throng = require "throng"
    local Waiter = {concurrent = true}
    function Waiter:on_nap(ms) throng.sleep(ms) end
    return Waiter]],
  -- Computes until the name "stop" is there.
  ["spinner.lua"] = [[
    local throng = require "throng"
    local Spinner = {}
    function Spinner:on_spin() while not throng.whereis "stop" do end end
    function Spinner:on_ready() return true end
    return Spinner]],
  ["loud.lua"] = [[
    local throng = require "throng"
    local Loud = {}
    function Loud:on_shout(n, to)
      local pid = throng.whereis(to)
      for i = 1, n do pid:send("say", i) end
    end
    function Loud:on_stop() throng.register "stop" end
    function Loud:on_go_on() throng.unregister "stop" end
    function Loud:on_spawn() return throng.spawn "echo" end
    return Loud]],
  ["many.lua"] = [[
    local throng = require "throng"
    local Many = {concurrent = true}
    local function inner()
      throng.sleep(60000)
    end
    function Many:init()
      self.kept = {gen = coroutine.create(function(n) coroutine.yield(n) end), fresh = coroutine.wrap(inner)}
      coroutine.resume(self.kept.gen, 1)
      throng.fork(function() throng.await(throng.whereis "root", 60000) end)
    end
    function Many:on_deep() coroutine.wrap(inner)() end
    return Many]],
  ["hot.lua"] = [[
    local throng = require "throng"
    local Hot = {}
    local function leaf(n) local x = 0 for i = 1, n do x = x + i % 7 end return x end
    local function gen() while true do leaf(2000) coroutine.yield() end end
    local function less(a, b) return a < b end
    local long = ("x"):rep(500)
    function Hot:on_burn()
      local next = coroutine.wrap(gen)
      while not throng.whereis "stop" do
        for _ = 1, 10 do leaf(1000) next() end
        for _ = 1, 3 do long:find "x-y" end
        local t = {}
        for i = 1, 300 do t[i] = (i * 7919) % 301 end
        table.sort(t, less)
      end
    end
    return Hot]],
  -- Many with nothing to do, and one who is busy with himself until he hears `rest`.
  ["crowd.lua"] = [[
    local throng = require "throng"
    local Crowd = {}
    function Crowd:on_busy()
      if self.rests then return end
      self.done = (self.done or 0) + 1
      throng.self():send "busy"
    end
    function Crowd:on_rest() self.rests = true end
    return Crowd]],
}

describe("who looks on from outside", function()
  local n, c, other

  setup(function()
    n = node.start {files = FILES, options = {"--workers", "2", "--set", "ask.timeout=60000"}}
    n:read_until "up"
  end)
  before_each(function()
    c, other = console.connect(n), console.connect(n)
  end)
  after_each(function()
    c:close()
    other:close()
  end)

  local function send(to, name, args)
    other:ask("send", {pid = to, name = name, args = args and #args > 0 and args or nil})
  end

  local function wait_for(what, f)
    for _ = 1, 2000 do
      local value = f()
      if value then return value end
    end
    error("never: " .. what)
  end

  local function pid_of(name)
    for _, row in ipairs(select(2, other:ask("names"))) do if row.name == name then return row.pid end end
  end

  --- The next pieces of a request that goes on.
  local function pieces(id, count)
    local all = {}
    while #all < count do
      local frame = assert(c:frame())
      assert(frame.more and frame.id == id, "it ended")
      all[#all + 1] = frame.more
    end
    return all
  end

  describe("trace", function()
    it("tells what comes, what goes out, and when it is done", function()
      local id = c:begin("trace", {pid = "loud7", limit = 4})
      other:ask("node") -- the trace is on: requests are begun in order
      send("loud7", "shout", '2, "echo1"')
      local frame, events = c:finish(id)
      assert.equal(4, frame.value.events)
      assert.equal(0, frame.value.dropped)
      assert.equal("limit", frame.value["end"])
      local ways = {}
      for i, e in ipairs(events) do ways[i] = e.way .. " " .. e.name end
      assert.same({"in shout", "out say", "out say", "done shout"}, ways)
      assert.equal('shout(2, "echo1")', events[1].text)
      assert.equal("say(2)", events[3].text)
      assert.equal(pid_of "echo1", events[3].to)
      assert(events[4].took >= 0 and events[4].took < 60000)
    end)

    it("is of a behaviour, and of one handler", function()
      local id = c:begin("trace", {behaviour = "asker", handler = "nap", limit = 4})
      other:ask("node")
      send("asker3", "go", '"echo1", "say", 7')
      send("asker2", "nap", "1")
      send("asker3", "nap", "2")
      local _, events = c:finish(id)
      local seen = {}
      for _, e in ipairs(events) do
        assert.equal("nap", e.name)
        seen[#seen + 1] = e.way
        if e.way == "done" then assert(e.waited > 0 and e.waited <= e.took) end
      end
      table.sort(seen)
      assert.same({"done", "done", "in", "in"}, seen)
    end)

    it("tells of handlers that fail or never end, and ends with the actor", function()
      for name, how in pairs {fail = "failed", leave = "ended"} do
        send("loud7", "spawn")
        local born = wait_for("a newborn", function()
          local _, rows = other:ask("ps", {pattern = "echo", sort = "uptime"})
          local row = rows[1].uptime < rows[#rows].uptime and rows[1] or rows[#rows]
          return row.name == console.null and row.pid
        end)
        local id = c:begin("trace", {pid = born})
        other:ask("node")
        send(born, name)
        local frame, events = c:finish(id)
        assert.equal("dead", frame.value["end"])
        assert.same({"in", "done"}, {events[1].way, events[2].way})
        assert.equal(how, events[2]["end"])
      end
    end)

    it("under a full buffer loses what it counts, in pairs, and nobody waits", function()
      local id = c:begin("trace", {pid = "echo1"})
      other:ask("node")
      local before = select(2, other:ask("ps", {pattern = "echo1"}))[1].messages
      for _ = 1, 5 do send("loud7", "shout", '4000, "echo1"') end
      wait_for("all of them handled", function()
        return select(2, other:ask("ps", {pattern = "echo1"}))[1].messages >= before + 20000
      end)
      send("echo1", "say", '"last"')
      local lost, ins, dones, open = 0, 0, 0, 0
      local told = 0
      while told + lost < 2 * 20001 do -- each of them has an `in` and a `done`
        local e = pieces(id, 1)[1]
        if e.dropped then
          lost = lost + e.dropped
        else
          told = told + 1
          if e.way == "in" then
            ins, open = ins + 1, open + 1
          else
            assert.equal("done", e.way)
            dones, open = dones + 1, open - 1
          end
          assert(open == 0 or open == 1, "an end without its begin, or the other way round")
        end
      end
      assert(lost > 0, "it was never full")
      assert.equal(ins, dones)
      assert.equal(2 * 20001, told + lost)
      send("echo1", "say", '"after"') -- there is room again
      local after <const> = pieces(id, 2)
      assert.equal('say("after")', after[1].text)
      assert.equal("done", after[2].way)
      c:ask("cancel", {id = id})
    end)

    it("ends with its client, and there are so many at most", function()
      local many = {}
      for i = 1, 8 do
        many[i] = console.connect(n)
        many[i]:begin("trace", {pid = "echo1"})
        many[i]:ask("node")
      end
      assert.equal("refused", c:fails("trace", {pid = "echo1"}).code)
      for _, client in ipairs(many) do client:close() end
      wait_for("room for another", function()
        local id = c:begin("trace", {pid = "echo1", limit = 0})
        return not c:finish(id).error
      end)
    end)

    it("says what it can't trace", function()
      assert.truthy(c:fails("trace").message:find "whom")
      assert.truthy(c:fails("trace", {pid = "echo1", behaviour = "echo"}).message:find "whom")
      assert.equal("no_actor", c:fails("trace", {pid = "nobody"}).code)
      assert.truthy(c:fails("trace", {pid = "echo1", handler = "sing_loudly"}).message:find "sing_loudly")
    end)
  end)

  describe("why", function()
    local function chain(pid)
      local value = c:ask("why", {pid = pid})
      local names = {}
      for i, step in ipairs(value.chain) do names[i] = step.name end
      return table.concat(names, " "), value
    end

    it("follows asks to the end of the chain", function()
      send("asker4", "nap", "60000")
      send("asker3", "go", '"asker4", "say"')
      send("asker2", "go", '"asker3", "say"')
      local names, value
      wait_for("they wait", function()
        names, value = chain "asker2"
        return #value.chain == 3 and value.chain[3].waits == "sleep"
      end)
      assert.equal("asker2 asker3 asker4", names)
      assert.equal("ask", value.chain[1].waits)
      assert.equal("say", value.chain[1].question)
      assert.equal("go", value.chain[1].handler)
      assert.equal(value.chain[2].pid, value.chain[1]["for"])
      assert(value.chain[1].left > 0 and value.chain[1].left <= 60000)
      assert(value.chain[3].left > 0 and value.chain[3].left <= 60000)
      assert.truthy(value["end"]:find "waits for time to pass, in its handler 'nap'")
    end)

    it("tells idle ones, concurrent ones, and the dead", function()
      assert.truthy(select(2, chain "echo1")["end"]:find "is idle")
      send("waiter5", "nap", "60000")
      wait_for("it waits", function() return select(2, chain "waiter5")["end"]:find "concurrent" end)
      assert.equal("no_actor", c:fails("why", {pid = "<77.77>"}).code)
    end)

    it("and top find loops though each worker has one", function()
      send("spinner6", "spin")
      send("spinner11", "spin")
      wait_for("it runs", function() return select(2, chain "spinner6")["end"]:find "runs its handler 'spin'" end)
      local id = c:begin("top", {every = 50, sort = "cpu", limit = 3})
      wait_for("top shows both", function()
        local seen = 0
        for _, row in ipairs(pieces(id, 1)[1].rows) do
          if row.behaviour == "spinner" and row.handler == "spin" and row.cpu > 0.2 then seen = seen + 1 end
        end
        return seen == 2
      end)
      c:ask("cancel", {id = id})
      wait_for("an endless handler is slow before it ends", function()
        for _, row in ipairs(select(2, c:ask("slow"))) do
          if row.behaviour == "spinner" then return row.handler == "spin" and row.running and row.took > 1 end
        end
      end)
      send("loud7", "stop")
      wait_for("it ended", function() return select(2, chain "spinner6")["end"]:find "is idle" end)
      send("loud7", "go_on")
      wait_for("its end is known", function()
        for _, row in ipairs(select(2, c:ask("slow"))) do
          if row.behaviour == "spinner" then return not row.running and row.times >= 1 end
        end
      end)
    end)
  end)

  describe("tasks", function()
    it("lists coroutines that wait, where they stand, and those that the script keeps", function()
      send("many9", "deep")
      local tasks = {}
      wait_for("it waits", function()
        tasks = {}
        for _, t in ipairs(select(2, c:ask("tasks", {pid = "many9"}))) do tasks[t.handler or t.path or t.task] = t end
        return tasks.deep and tasks.deep.state == "waiting"
      end)
      assert.equal("sleep", tasks.deep.waits)
      assert(tasks.deep.left > 0 and tasks.deep.left <= 60000)
      assert.truthy(tasks.deep.traceback:find "many.lua:4: in function <.*many.lua:3>.*many.lua:11: in ") -- the inner first
      assert.equal("await", tasks.fork.waits)
      assert.equal(pid_of "root", tasks.fork["for"])
      assert.truthy(tasks.fork.traceback:find("many.lua:9", 1, true))
      assert.equal("suspended", tasks["self.kept.gen"].state)
      assert.truthy(tasks["self.kept.gen"].traceback:find("many.lua:7", 1, true))
      assert.truthy(tasks["self.kept.fresh"].traceback:find("not begun", 1, true))
      assert.same({count = 0}, (c:ask("tasks", {pid = "echo1"})))
      assert.equal("no_actor", c:fails("tasks", {pid = "<77.77>"}).code)
    end)
  end)

  describe("prof", function()
    it("finds functions, coroutines and C functions where they are at work", function()
      send("hot10", "burn")
      local id = c:begin("prof", {seconds = 1, pid = "hot10"})
      other:ask("node")
      assert.truthy(other:fails("prof").message:find "somebody else")
      local found = c:finish(id).value
      local stacks, total = {}, 0
      for line in found.folded:gmatch "[^\n]+" do
        local stack, count = line:match "^(.+) (%d+)$"
        assert.is_nil(stacks[stack])
        stacks[stack], total = tonumber(count), total + tonumber(count)
      end
      assert.equal(found.samples + found.outside, total)
      local burn <const> = "hot:burn;on_burn (hot.lua:7)"
      for _, stack in ipairs {"leaf (hot.lua:3)", "next (C);function (hot.lua:4);leaf (hot.lua:3)", "find (C)", "sort (C)"} do
        assert((stacks[burn .. ";" .. stack] or 0) > 0, stack .. " was not found in\n" .. found.folded)
      end
      assert.truthy(found.svg:find("<title>leaf (hot.lua:3) - ", 1, true))
      assert.truthy(found.svg:find "^<svg .*</svg>\n$")
      send("loud7", "stop")
      wait_for("it ended", function() return c:ask("why", {pid = "hot10"})["end"]:find "is idle" end)
      send("loud7", "go_on")
    end)

    it("ends with its client", function()
      c:begin("prof", {seconds = 600})
      c:close()
      wait_for("another may", function()
        c = console.connect(n)
        local id = c:begin("prof", {seconds = 600})
        other:ask("node")
        local busy = other:fails("prof").message:find "somebody else"
        local frame = c:ask("cancel", {id = id})
        return busy and frame == true
      end)
    end)

    it("says what it can't do", function()
      assert.truthy(c:fails("prof", {seconds = 0}).message:find "seconds are from 1")
      assert.truthy(c:fails("prof", {rate = 5000}).message:find "rate is from 1")
      assert.equal("no_actor", c:fails("prof", {pid = "nobody"}).code)
    end)
  end)

  describe("top", function()
    it("tells rates, and times what is handled while somebody watches", function()
      send("crowd8", "busy")
      local _, pictures = c:ask("top", {count = 3, every = 100, limit = 2})
      send("crowd8", "rest")
      assert.equal(3, #pictures)
      local row = pictures[3].rows[1]
      assert.equal("crowd8", row.name)
      assert.equal("crowd", row.behaviour)
      assert(row.messages > 1000, row.messages)
      assert(row.p99 > 0 and row.p99 < 1000, row.p99)
      assert.equal(2, #pictures[3].rows)
      assert(pictures[3].node.messages >= row.messages / 2)
      assert(pictures[3].node.actors >= 9)
      local _, slow = c:ask("slow")
      for _, s in ipairs(slow) do
        if s.behaviour == "crowd" then
          assert.equal("busy", s.handler)
          assert(s.timed > 0 and s.p99 > 0)
          return
        end
      end
      error "busy was never timed"
    end)

    it("refuses to sort by nonsense", function()
      assert.truthy(c:fails("top", {sort = "beauty"}).message:find "sort is one of")
    end)
  end)
end)
