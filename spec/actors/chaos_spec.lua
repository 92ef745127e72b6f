--- The world under chaos: Guys and Regions are killed at random for thousands of ticks. After it the tree is whole, the
--- sums add up, and memory is back where it was.
local node = require "spec.support.node"
local process = require "door.process"
local scenario = require "spec.support.scenario"

local ACTORS <const> = process.getcwd() .. "/actors"
local REGIONS <const>, GUYS <const> = 4, 25

-- The root: it makes the world, kills for three rounds, waits after each until the world is whole again, and then has
-- it count. It prints the memory after each round.
local CHAOS <const> = [[
  local supervisor = require "throng.supervisor"
  local throng = require "throng"
  local REGIONS, GUYS, KILLS, ROUNDS, TICKS = ...
  local Chaos = {concurrent = true, mailbox = {limit = 250000}}

  local function wait(condition) while not condition() do throng.sleep(1) end end

  local function is_whole()
    if throng.stats().actors ~= 3 + REGIONS + REGIONS * GUYS then return false end
    for _, child in ipairs(supervisor.which("regions")) do
      if child.state ~= "running" or throng.whereis(child.id) ~= child.pid then return false end
    end
    return true
  end

  function Chaos:init(seed, regions, guys, kills, rounds, ticks)
    REGIONS, GUYS, KILLS = math.tointeger(regions), math.tointeger(guys), math.tointeger(kills)
    ROUNDS, TICKS = math.tointeger(rounds), math.tointeger(ticks)
    math.randomseed(math.tointeger(seed))
    throng.register("chaos")
    self.guys, self.killed, self.regions_killed = {}, 0, 0
    throng.spawn("world", "--regions", regions, "--guys", guys, "--rate", "0", "--json", "--restarts", "1000000")
    throng.fork(function() self:run() end)
  end

  function Chaos:on_born(pid) self.guys[#self.guys + 1] = pid end

  function Chaos:kill_one()
    if math.random(25) == 1 then
      local region = throng.whereis("region-" .. math.random(REGIONS))
      if region and throng.kill(region) then self.regions_killed = self.regions_killed + 1 end
    elseif #self.guys > 0 then -- some of them are dead already
      local at = math.random(#self.guys)
      if throng.kill(self.guys[at]) then self.killed = self.killed + 1 end
      self.guys[at] = self.guys[#self.guys]
      self.guys[#self.guys] = nil
    end
  end

  function Chaos:run()
    wait(function() return throng.whereis("regions") and is_whole() end)
    for round = 1, ROUNDS do
      local messages, kills = throng.stats().messages, self.killed + self.regions_killed
      while self.killed + self.regions_killed < kills + KILLS
        or throng.stats().messages < messages + TICKS * 2 * REGIONS * GUYS do
        self:kill_one()
        if math.random(3) == 1 then throng.sleep(math.random() * 3) end
      end
      wait(is_whole)
      throng.sleep(20) -- VMs that are kept for the next ones are given back, or not: a round is like the next
      print(("round %d: %d bytes"):format(round, throng.stats().rss_bytes))
    end
    print(("killed %d guys %d regions"):format(self.killed, self.regions_killed))
    throng.whereis("core"):send("interrupt", "INT")
  end

  return Chaos]]

local GUY <const> = [[
  local throng = require "throng"
  local base = require "real_guy"
  local Guy = setmetatable({}, {__index = base})
  function Guy:init(...)
    base.init(self, ...)
    throng.whereis("chaos"):send("born", throng.self())
  end
  function Guy:on_tick() base.on_tick(self) end
  return Guy]]

describe("the world under chaos", function()
  it("is whole after it, its counts add up, and its memory is back where it was", function()
    scenario.each_seed(3, function(seed, options)
      local kills, ticks = node.slow > 1 and 50 or 200, node.slow > 1 and 100 or 1500
      options[#options + 1] = "--path"
      options[#options + 1] = ACTORS
      table.insert(options, 1, ".")
      table.insert(options, 1, "--path")
      for _, word in ipairs {"--log", "error"} do options[#options + 1] = word end
      local r = node.run {script = CHAOS, options = options, timeout = 60,
        args = {seed, REGIONS, GUYS, kills, 3, ticks},
        files = {["guy.lua"] = GUY, ["real_guy.lua"] = assert(io.open(ACTORS .. "/guy.lua")):read("a")}}
      assert.are.equal(0, r.code) -- the world is whole: all are there, and none lacks a tick he should have
      assert.are.equal("", r.err)
      local all = REGIONS * GUYS
      assert.are.equal(r.json.ticks * all, r.json.hunger_sum + r.json.lost)
      assert.is_true(r.json.ticks >= 3 * ticks / 2, r.out) -- deaths and births are messages, too
      local guys, regions = r.out:match("killed (%d+) guys (%d+) regions\n")
      guys, regions = tonumber(guys), tonumber(regions)
      assert.is_true(guys + regions >= 3 * kills and regions > 0)
      assert.is_true(r.json.restarts > regions and r.json.restarts <= guys + regions, r.out)
      local first, last = r.out:match("round 1: (%d+)"), r.out:match("round 3: (%d+)")
      if node.slow == 1 then -- checkers keep what was freed
        assert.is_true(last - first < 2e6, ("grew from %d to %d bytes"):format(first, last))
      end
    end)
  end)
end)
