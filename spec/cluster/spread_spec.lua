--- The world on several nodes, of which all but one have no files.
local cluster = require "spec.support.cluster"
local node = require "spec.support.node"
local process = require "door.process"

local WORLD <const> = process.getcwd() .. "/actors/world.lua"

local function words(text)
  local list = {}
  for word in text:gmatch("%S+") do list[#list + 1] = word end
  return list
end

--- The world on node a, which joins that one; net.timeout is short.
local function world(other, arguments, options)
  local all = {"--name", "a", "--workers", "2", "--join", other.address, "--set", "net.timeout=1000"}
  cluster.add_tls(all, "a")
  for _, word in ipairs(options or {}) do all[#all + 1] = word end
  return node.start {main = WORLD, args = words("--spread " .. arguments), options = all,
                     env = {THRONG_RUN_DIR = cluster.dir()}}
end

--- Its summary, of which the sums are right whatever happened.
local function summary(n, seconds)
  local r = n:wait(seconds or 60)
  assert.are.equal(0, r.code, r.err)
  local sum = 0
  for _, lost in pairs(r.json.lost_with or {}) do sum = sum + lost end
  assert.are.equal(r.json.lost, sum)
  assert.are.equal(r.json.ticks * r.json.guys, r.json.hunger_sum + r.json.lost)
  return r.json, r
end

describe("the world that is spread", function()
  it("has its Regions on all nodes in turn, and counts the messages of all", function()
    local b = cluster.bare("b")
    local c = cluster.bare("c", {"--join", b.address})
    local r = summary(world(b, "--nodes 3 --regions 6 --guys 50 --ticks 40 --rate 0 --json"))
    assert.are.same({a = 2, b = 2, c = 2}, r.nodes)
    assert.are.same({40 * 300, 0, 6}, {r.hunger_sum, r.lost, r.regions})
    assert.is_nil(r.restarts)
    local messages = 40 * (6 + 300 + 300 + 6)
    assert.is_true(r.messages >= messages and r.messages < messages * 1.2, r.messages)
    b:kill()
    c:kill()
  end)

  it("waits until enough nodes are there, and puts nothing on those that can't", function()
    local b = cluster.bare("b", {"--can", "gpu=true,zone=eu"})
    local n = world(b, "--nodes 3 --regions 4 --guys 3 --ticks 5 --rate 100 --requires gpu=true,zone=eu --json",
                    {"--listen", "127.0.0.1:0"})
    n:read_until "waiting for nodes able=1 up=2 wanted=3"
    local c = cluster.bare("c", {"--join", b.address})
    assert.are.same({b = 4}, summary(n).nodes)
    b:kill()
    c:kill()
  end)

  it("interrupted before they are there ends, and says so", function()
    local b = cluster.bare("b")
    local n = world(b, "--nodes 9")
    n:read_until "waiting for nodes able=2 up=2 wanted=9"
    n:signal "INT"
    local r = n:wait()
    assert.are.equal(1, r.code)
    assert.matches("interrupted before enough nodes were there", r.err)
    b:kill()
  end)

  it("wants requirements that it can read", function()
    local r = node.run {main = WORLD, args = {"--spread", "--requires", "gpu"}}
    assert.are.equal(2, r.code)
    assert.matches("%-%-requires 'gpu': KEY=VALUE", r.err)
  end)

  --- A world of six Regions on three nodes, of which b meets its end by `signal` when all of them beat.
  local function with_end(signal)
    local b = cluster.bare("b")
    local c = cluster.bare("c", {"--join", b.address, "--set", "net.timeout=1000"})
    local n = world(b, "--nodes 3 --regions 6 --guys 20 --ticks 60 --rate 25 --patience 60 --json")
    n:read_until "node c is up"
    cluster.found(b, "look", [[
      function Me:on_ready() throng.every(5, "look") end
      function Me:on_look()
        self.count = self.count or throng.spawn_with({node = "b"}, "count")
        if self.count:ask "actors" >= 1 + 1 + 2 + 40 then done() end -- the root, the count, Regions and Guys
      end
    ]], {"--listen", "127.0.0.1:0"}, {count = "function Me:on_actors() return throng.stats().actors end"})
    b:signal(signal)
    local r, whole = summary(n)
    assert.are.equal(2, r.restarts)
    assert.is_nil(r.nodes.b)
    assert.are.equal(6, r.nodes.a + r.nodes.c)
    assert.is_true(r.lost_with["node b"] > 0 and r.lost_with["node b"] <= 60 * 40)
    assert.are.equal(2, #r.missing)
    assert.matches("warn  core <0.1> lost a node name=b regions=%d", whole.err)
    return b, c
  end

  it("goes on when a node is killed: its Regions are started elsewhere, and the sum says what went with it", function()
    local _, c = with_end "KILL"
    c:kill()
  end)

  it("goes on when a node is told to end", function()
    local b, c = with_end "TERM"
    assert.are.equal(0, b:wait().code)
    c:kill()
  end)

  it("goes on when a node stands still, and what wakes there is of no more account", function()
    local b, c = with_end "STOP"
    b:signal "CONT"
    b:read_until("node %w+ is down", 20)
    local left = cluster.found(c, "look2", [[
      function Me:on_ready() throng.every(5, "look") end
      function Me:on_look()
        if #throng.nodes() < 3 then return end -- b is back
        local counter = throng.spawn_with({node = "b"}, "count")
        local actors = counter:ask "actors"
        if actors <= 3 then done(actors) else throng.kill(counter) end -- who woke has heard that he is given up
      end
    ]], {"--listen", "127.0.0.1:0"}, {count = "function Me:on_actors() return throng.stats().actors end"})
    assert.is_true(left <= 3)
    b:kill()
    c:kill()
  end)
end)
