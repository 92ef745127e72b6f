local node = require "spec.support.node"
local process = require "door.process"
local seed = require "spec.support.seed"

local ACTORS <const> = process.getcwd() .. "/actors"
local WORLD <const> = ACTORS .. "/world.lua"

local function words(text)
  local list = {}
  for word in text:gmatch("%S+") do list[#list + 1] = word end
  return list
end

--- Options of node.start for the world with these arguments; `more` wins.
local function world(arguments, more)
  local o = {main = WORLD, args = words(arguments)}
  for key, value in pairs(more or {}) do o[key] = value end
  return o
end

--- The same with another Guy: his on_tick (and more) is `code`, which may use `base`, the real one.
local function world_of(code, arguments)
  return world(arguments, {options = {"--path", "."}, files = {["guy.lua"] = ([[
    local throng = require "throng"
    local base = assert(require "real_guy")
    local Guy = setmetatable({}, {__index = base})
    function Guy:init(...) base.init(self, ...) end
    function Guy:on_tick() base.on_tick(self) end
    function Guy:on_hunger() return base.on_hunger(self) end
    %s
    return Guy]]):format(code), ["real_guy.lua"] = assert(io.open(ACTORS .. "/guy.lua")):read("a")}})
end

--- A root actor that makes the world, and kills the actor named `who` as soon as there is one named `seen`.
local function world_with_death(who, seen, arguments)
  return {options = {"--path", ACTORS}, args = words(who .. " " .. seen .. " " .. arguments), script = [[
    local throng = require "throng"
    local Root = {}
    function Root:init(who, seen, ...)
      self.who, self.seen = who, seen
      throng.spawn("world", ...)
      throng.every(1, "look")
    end
    function Root:on_look()
      local pid = not self.killed and throng.whereis(self.seen) and throng.whereis(self.who)
      if pid then
        throng.kill(pid)
        self.killed = true
      end
    end
    return Root]]}
end

local function count(text, pattern)
  return select(2, text:gsub(pattern, ""))
end

describe("the world", function()
  it("beats, sums up and ends with 0; the JSON is one line with its keys in order", function()
    local r = node.run(world "--regions 1 --guys 3 --ticks 5 --rate 50 --json")
    assert.are.equal(0, r.code)
    assert.are.equal("", r.err)
    assert.are.equal(1, #r.lines)
    assert.is_truthy(r.out:find('^{"ticks":5,"guys":3,"hunger_sum":15,"messages":%d+,"seconds":%d+%.%d+,'
      .. '"messages_per_second":%d+,"lost":0,"regions":1,"rss_bytes":%d+,"workers":%d+,"tick_p99_us":%d+%.%d}\n$'))
    -- each tick: the core's to the Region, the Region's to its Guys, their answers, the Region's answer
    assert.is_true(r.json.messages >= 5 * (1 + 3 + 3 + 1))
    assert.is_true(r.json.seconds >= 0.08) -- five beats at 50 Hz are four pauses
    assert.is_true(r.json.rss_bytes > 1e6)
    assert.is_true(r.json.tick_p99_us > 0)
  end)

  it("at rate 0 beats again when all have taken the last; Regions share the count", function()
    local r = node.run(world "--regions 4 --guys 25 --ticks 40 --rate 0 --json")
    assert.are.equal(0, r.code)
    assert.are.same({40, 100, 4000, 0, 4}, {r.json.ticks, r.json.guys, r.json.hunger_sum, r.json.lost, r.json.regions})
    local messages = 40 * (4 + 100 + 100 + 4)
    assert.is_true(r.json.messages >= messages and r.json.messages < messages + 20, r.json.messages)
  end)

  it("counts right in any order of events", function()
    for i = 1, 5 do
      local options = {"--workers", "3", "--set", "sched.seed=" .. seed + i}
      local r = node.run(world("--regions 3 --guys 20 --ticks 10 --rate 0 --json", {options = options}))
      assert.are.equal(0, r.code)
      assert.are.equal(600, r.json.hunger_sum)
    end
  end)

  it("logs every tick of everybody, with name and pid, and prints a summary", function()
    local r = node.run(world "--regions 2 --guys 2 --ticks 2 --rate 100")
    assert.are.equal(0, r.code)
    assert.is_truthy(r.out:find("^ticks 2, guys 4, hunger sum 8, messages %d+, .*lost 0,"))
    for region = 1, 2 do
      local name = "region%-" .. region
      for guy = 1, 2 do
        local guy_name = ("%s/guy%%-%d"):format(name, guy)
        local pid = r.err:match(("info  %s <[%%d.]+> spawned guy=%s pid=(<[%%d.]+>)\n"):format(name, guy_name))
        assert.is_truthy(pid)
        for tick = 1, 2 do
          local line = ("info  %s %s ticked hunger=%d sleep=%d\n"):format(guy_name, pid:gsub("%p", "%%%0"), tick, tick)
          assert.are.equal(1, count(r.err, line))
        end
      end
      for tick = 1, 2 do
        assert.are.equal(1, count(r.err, ("info  %s <[%%d.]+> tick beat=%d guys=2\n"):format(name, tick)))
      end
    end
    for tick = 1, 2 do
      assert.are.equal(1, count(r.err, ("info  core <[%%d.]+> Tick%%.%%.%%. beat=%d\n"):format(tick)))
      assert.are.equal(1, count(r.err, ("info  core <[%%d.]+> %%.%%.%%.Tock%%. beat=%d\n"):format(tick)))
    end
    assert.is_nil(r.err:find("warn"))
  end)

  it("logs a beat's Tock after the Guys' own lines", function()
    local r = node.run(world "--guys 3 --ticks 3 --rate 0")
    local tock = r.err:find("...Tock. beat=1", 1, true)
    local last = 0
    for at in r.err:gmatch("()ticked hunger=1 ") do last = math.max(last, at) end
    assert.is_true(last > 0 and last < tock)
  end)

  it("when quiet logs a status line a second, and no beats", function()
    local n = node.start(world "--quiet --rate 200")
    for _ = 1, 2 do
      n:read_until("info  core <[%d.]+> status actors=6 messages=%d+ messages_per_second=%d+ rss_bytes=%d+"
                   .. " tick_p99_us=%d+%.%d ticks=%d+\n")
    end
    n:signal "INT"
    local r = n:wait()
    assert.are.equal(0, r.code)
    assert.are.equal(count(r.err, "\n"), count(r.err, " status "))
    local first, second = r.err:match("ticks=(%d+).-ticks=(%d+)")
    assert.is_true(tonumber(second) > tonumber(first))
  end)

  it("shows its settings with --help", function()
    local r = node.run(world "--help")
    assert.are.equal(0, r.code)
    assert.are.equal("", r.err)
    for _, name in ipairs {"regions", "guys", "ticks", "rate", "quiet", "json", "help"} do
      assert.is_truthy(r.out:find("\n  --" .. name, 1, true))
    end
  end)

  for arguments, line in pairs {
    ["--guys 0"] = "--guys must be a whole number from 1 to 250000, not '0'",
    ["--regions x"] = "--regions must be a whole number from 1 to 10000, not 'x'",
    ["--ticks=-1"] = "--ticks must be a whole number from 0 to 1099511627776, not '-1'",
    ["--rate 2000"] = "--rate must be a number from 0 to 1000, not '2000'",
    ["--rate"] = "--rate needs a value",
    ["--guy 3"] = "there is no option '--guy', did you mean --guys?",
    ["17"] = "'17' is no option: they begin with --",
  } do
    it("says in one line what is wrong with " .. arguments .. ", and exits with 2", function()
      local r = node.run(world(arguments))
      assert.are.equal(2, r.code)
      assert.are.equal("", r.out)
      assert.are.equal(1, count(r.err, "\n"))
      assert.is_truthy(r.err:find(line .. " (--help shows the options)\n", 1, true), r.err)
    end)
  end
end)

describe("the world's end by a signal", function()
  for _, signal in ipairs {"INT", "TERM"} do
    it("is in order: " .. signal .. " stops the beat, hunger is counted, terminate runs, 0", function()
      local n = node.start(world "--guys 4 --rate 100")
      n:read_until("...Tock%. beat=3\n")
      n:signal(signal)
      local r = n:wait()
      assert.are.equal(0, r.code)
      local ticks, sum = r.out:match("^ticks (%d+), guys 4, hunger sum (%d+), .*lost 0,")
      assert.is_true(tonumber(ticks) >= 3)
      assert.are.equal(tonumber(ticks) * 4, tonumber(sum))
      assert.are.equal(tonumber(ticks), count(r.err, "Tick%.%.%."))
      assert.are.equal(tonumber(ticks), count(r.err, "%.%.%.Tock%."))
      assert.is_truthy(r.err:find("core <[%d.]+> ends reason=shutdown\n"))
      assert.is_truthy(r.err:find("region%-1 <[%d.]+> ends reason=shutdown\n"))
    end)
  end

  it("is in order at full speed as well", function()
    local n = node.start(world "--regions 2 --guys 50 --rate 0 --json --quiet")
    n:read_until("status")
    n:signal "INT"
    local r = n:wait()
    assert.are.equal(0, r.code)
    assert.are.equal(r.json.ticks * 100, r.json.hunger_sum)
    assert.are.equal(0, r.json.lost)
  end)

  it("is in order while Guys are still being born", function()
    local n = node.start(world "--guys 2000 --rate 1")
    n:read_until("spawned guy=region%-1/guy%-1 ")
    n:signal "INT"
    local r = n:wait()
    assert.are.equal(0, r.code)
    local ticks, sum = r.out:match("^ticks (%d+), guys 2000, hunger sum (%d+), .*lost 0,")
    assert.are.equal(tonumber(ticks) * 2000, tonumber(sum))
  end)

  it("comes at once by a second one", function()
    local n = node.start(world_of("function Guy:on_tick() while true do end end", "--guys 1 --rate 0"))
    n:read_until("Tick%.%.%. beat=1\n")
    n:signal "INT"
    n:read_until("interrupted signal=INT\n") -- two signals at once would be one
    n:signal "INT"
    local r = n:wait()
    assert.are.equal(130, r.code)
    assert.is_truthy(r.err:find("throng: ended at once by a second signal\n", 1, true))
    assert.are.equal("", r.out)
  end)
end)

describe("the world's losses", function()
  --- What is the same for all: exit 1, and what is missing is said.
  local function assert_missing(r, missing, of, lost, ...)
    assert.are.equal(1, r.code)
    local line = ("the world is not whole lost=%d missing=%d of=%d\n"):format(lost, missing, of)
    assert.is_truthy(r.err:find(line, 1, true), r.err)
    for _, who in ipairs {...} do
      assert.is_truthy(r.err:find('missing who="' .. who, 1, true), r.err)
      if r.json then assert.is_truthy(table.concat(r.json.missing, "\n"):find(who, 1, true)) end
    end
    if r.json then assert.are.equal(missing, r.json.lost) end
  end

  --- What is the same when all were replaced: exit 0, and the sum is that of the ticks since each was born.
  local function assert_replaced(r, restarts, of, ...)
    assert.are.equal(0, r.code)
    assert.are.equal(restarts, r.json.restarts)
    assert.are.equal(of, r.json.hunger_sum + r.json.lost)
    for _, who in ipairs {...} do
      assert.is_truthy(table.concat(r.json.missing, "\n"):find(who, 1, true), r.out)
    end
  end

  it("are made good: a Guy that was killed has a successor of the same name at once; the others live on", function()
    local r = node.run(world_with_death("region-1/guy-2", "region-1/guy-3", "--guys 3 --ticks 30 --rate 100"))
    assert.are.equal(0, r.code)
    local pid, rest = r.err:match("warn  region%-1 <[%d.]+> lost a guy guy=2 pid=(<[%d.]+>) reason=killed\n(.*)")
    local successor = rest:match("^[^\n]*region%-1 <[%d.]+> spawned guy=region%-1/guy%-2 pid=(<[%d.]+>)\n")
    assert.is_truthy(successor and successor ~= pid, r.err)
    local sum, lost, restarts = r.out:match("hunger sum (%d+), .*lost (%d+), .*restarts (%d+)\n")
    assert.are.equal("1", restarts)
    assert.are.equal(90, sum + lost)
    assert.is_true(tonumber(sum) > 60)
    assert.is_truthy(r.err:find(("region-1/guy-2 %s ticked hunger=%d "):format(successor, sum - 60), 1, true))
    assert.are.equal(sum == "90" and 3 or 2, count(r.err, "ticked hunger=30 ")) -- 90: he came before the first beat
  end)

  it("are made good: a Region that was killed; its Guys end with it, new ones come; the other lives on", function()
    local r = node.run(world_with_death("region-2", "region-2/guy-3", "--regions 2 --guys 3 --ticks 30 --rate 100"))
    assert.are.equal(0, r.code)
    local sum, lost, restarts = r.out:match("hunger sum (%d+), .*lost (%d+), .*restarts (%d+)\n")
    assert.are.same({"1", 180}, {restarts, sum + lost})
    assert.is_true(tonumber(sum) > 90 and tonumber(lost) % 3 == 0)
    for guy = 1, 3 do
      assert.are.equal(2, count(r.err, "spawned guy=region%-2/guy%-" .. guy .. " "))
      assert.are.equal(1, count(r.err, ("region%%-2/guy%%-%d <[%%d.]+> ticked hunger=%d "):format(guy, (sum - 90) // 3)))
      assert.are.equal(1, count(r.err, ("region%%-1/guy%%-%d <[%%d.]+> ticked hunger=30 "):format(guy)))
    end
    assert.are.equal(1, count(r.err, "warn  core <[%d.]+> lost a region pid=<[%d.]+> reason=killed region=2\n"))
    assert.is_nil(r.err:find("lost a guy"))
  end)

  it("are made good also when a dead Region's Guys take their time, and have their names still", function()
    local o = world_with_death("region-1", "region-1/guy-3", "--guys 3 --ticks 60 --rate 100")
    local slow = world_of("function Guy:terminate() throng.sleep(200) end", "")
    o.files = slow.files
    o.options = {"--path", ".", "--path", ACTORS}
    local r = node.run(o)
    assert.are.equal(0, r.code)
    assert.is_truthy(r.out:find("restarts 1\n"))
    assert.is_nil(r.err:find("crashed"))
    assert.are.equal(1, count(r.err, "a child failed"))
  end)

  it("are made good in time for the sum: who waits to come back then comes at once", function()
    local r = node.run(world_of([[
      function Guy:on_tick()
        if self.number == 2 then throng.exit("weak") end
        base.on_tick(self)
      end]], "--guys 3 --ticks 30 --rate 0 --json"))
    assert.are.equal(0, r.code)
    assert.are.equal(60, r.json.hunger_sum)
    assert.is_true(r.json.restarts >= 4)
  end)

  it("take the rest along when it is the core", function()
    local r = node.run {options = {"--path", ACTORS}, script = [[
      local throng = require "throng"
      local Root = {}
      function Root:init()
        throng.spawn("world", "--regions", "2", "--rate", "100")
        throng.every(1, "look")
      end
      function Root:on_look()
        self.guy = self.guy or throng.whereis("region-2/guy-3")
        if not self.guy then return end
        if not self.killed then self.killed = throng.kill(throng.whereis("core")) end
        for _, name in ipairs {"core", "region-1", "region-2", "region-1/guy-1", "region-2/guy-3"} do
          if throng.whereis(name) then return end
        end
        throng.shutdown(7)
      end
      return Root]]}
    assert.are.equal(7, r.code)
  end)

  it("are made good: Guys that crash in a tick, on different ones", function()
    local r = node.run(world_of([[
      function Guy:on_tick()
        if self.number % 2 == 0 and self.hunger == self.number then error("no food") end
        base.on_tick(self)
      end]], "--guys 6 --ticks 10 --rate 0 --json"))
    assert_replaced(r, 6, 60, "region-1/guy-2: ", "region-1/guy-4: ", "region-1/guy-6: ")
    assert.are.equal(3 * 10 + 1 + 0 + 3, r.json.hunger_sum) -- born anew at 9, 10 and 7
    assert.is_truthy(r.json.missing[1]:find("guy.lua:%d+: no food"))
    assert.are.equal(10, r.json.ticks)
  end)

  it("are made good: Guys that took a tick and died of it before the others had it", function()
    local r = node.run(world_of([[
      function Guy:on_tick()
        base.on_tick(self)
        if self.number <= 5 and self.hunger == 3 then throng.exit("weary") end
      end]], "--guys 50 --ticks 4 --rate 0 --json"))
    assert_replaced(r, 5, 200, "region-1/guy-1: weary", "region-1/guy-5: weary")
  end)

  it("are told: Guys that are never born, though they are tried again", function()
    local r = node.run(world_of([[
      function Guy:init(number, later)
        if number == 2 then error("stillborn") end
        base.init(self, number, later)
      end]], "--guys 3 --ticks 2 --rate 0 --json"))
    assert.are.equal(4, r.json.hunger_sum)
    assert_missing(r, 2, 6, 1, "region-1/guy-2: ")
    assert.is_true(r.json.restarts >= 1)
  end)

  it("of all Guys, in every tick, are made good, and the world ends all the same", function()
    local r = node.run(world_of([[function Guy:on_tick() throng.exit("gone") end]],
                                "--regions 2 --guys 10 --ticks 3 --rate 0 --json"))
    assert.are.equal(0, r.json.hunger_sum)
    assert.are.equal(10, #r.json.missing) -- of 60, the first are named
    assert_replaced(r, 60, 60)
  end)

  it("too many make a Region give up, and then the world; it ends, and says why", function()
    local r = node.run(world_of([[function Guy:on_tick() throng.exit("gone") end]],
                                "--guys 10 --ticks 1000 --rate 0 --json --restarts 15"))
    assert.are.equal(1, r.code)
    assert.is_truthy(r.err:find("lost more than 15 Guys in 5 s, the last one to: gone", 1, true))
    assert.is_truthy(r.err:find("the Regions' supervisor is gone reason=\"gave up: child 'region-1' failed, which is "
      .. "more than 15 restarts in 5 s", 1, true))
    assert.is_truthy(r.err:find("the world is not whole lost=10 ", 1, true))
    assert.is_true(r.json.ticks < 1000)
  end)

  it("are made good: a Guy in an endless loop holds nobody up for longer than the patience", function()
    local r = node.run(world_of([[
      function Guy:on_tick()
        base.on_tick(self)
        while self.number == 2 and self.hunger == 3 do end
      end
      function Guy:on_look() end]], "--guys 3 --ticks 6 --rate 0 --json --patience " .. 0.3 + node.slow / 10))
    assert_replaced(r, 1, 18, "region-1/guy-2: stuck, did not take beat 4")
    assert.is_true(r.json.hunger_sum >= 12 and r.json.hunger_sum <= 14) -- he was born anew at 4 at the earliest
  end)

  it("are told: a Guy that does not answer when hunger is counted", function()
    local r = node.run(world_of([[
      function Guy:on_hunger()
        while self.number == 2 do end
        return self.hunger
      end]], "--guys 100 --ticks 2 --rate 0 --json --patience " .. 0.3 + node.slow / 10))
    assert.are.equal(198, r.json.hunger_sum)
    assert_missing(r, 2, 200, 1, "region-1/guy-2: ")
    assert.is_truthy(r.json.missing[1]:find("did not answer 'hunger'", 1, true))
  end)

  it("are told: a Guy that dies of the question", function()
    local r = node.run(world_of([[
      function Guy:on_hunger()
        if self.number == 2 then error("none of your business") end
        return self.hunger
      end]], "--guys 3 --ticks 2 --rate 0 --json"))
    assert.are.equal(4, r.json.hunger_sum)
    assert_missing(r, 2, 6, 1, "region-1/guy-2: ")
  end)

  it("are told: a Region that can't make its Guys", function()
    local r = node.run(world("--guys 10 --ticks 2 --rate 0 --json", {options = {"--set", "actors.limit=5"}}))
    assert_missing(r, 0, 0, 10, "region-1: ")
    assert.is_truthy(r.json.missing[1]:find("actors.limit", 1, true))
  end)

  it("are no secret when it is the sum that is wrong", function()
    local r = node.run(world_of([[
      function Guy:on_hunger() return self.hunger + (self.number == 2 and 1 or 0) end]],
                                "--guys 3 --ticks 2 --rate 0 --json"))
    assert.are.equal(1, r.code)
    assert.are.equal(7, r.json.hunger_sum)
    assert.are.equal(-1, r.json.lost)
  end)
end)
