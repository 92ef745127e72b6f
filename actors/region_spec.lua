-- ./throng test actors
local testkit = require "throng.testkit"
local throng = require "throng"

local function settings(more)
  local s = {guys = 3, patience = 1000, loud = true, restarts = 5, within = 60}
  for key, value in pairs(more or {}) do s[key] = value end
  return s
end

describe("a region", function()
  local core

  before_each(function() core = testkit.probe("core") end)

  --- One with its guys, after beat 0.
  local function begin(more)
    local region = core:spawn_with({name = "region-1"}, "region", 1, core.pid, settings(more))
    assert.are.equal(1, core:expect("joined"))
    region:send("spawn", false)
    assert.are.equal(1, core:expect("taken"))
    return region
  end

  it("makes its guys, and passes a tick on to all of them", function()
    local region = begin()
    region:send("tick", 1)
    assert.are.equal(1, core:expect("taken"))
    for number = 1, 3 do assert.are.equal(1, throng.whereis("region-1/guy-" .. number):ask("hunger")) end
    core:expect_none()
  end)

  it("replaces a guy at once, and says so", function()
    begin()
    local old = throng.whereis("region-1/guy-2")
    throng.kill(old)
    assert.are.equal("region-1/guy-2: killed", core:expect("lost_guy"))
    core:expect("replaced")
    local new = throng.whereis("region-1/guy-2")
    assert.are_not.equal(old, new)
    assert.are.equal(0, new:ask("hunger"))
  end)

  it("waits before it replaces one who dies again and again", function()
    begin()
    for death = 1, 4 do
      throng.kill(throng.whereis("region-1/guy-1"))
      core:expect("lost_guy", 0)
      if death <= 3 then core:expect("replaced", 0) end
    end
    core:expect_none(4)
    core:expect("replaced", 5000)
  end)

  it("gives up when it has to replace too many, and its guys go with it", function()
    local region = begin {restarts = 2}
    core:watch(region)
    for _ = 1, 3 do throng.kill(throng.whereis("region-1/guy-1")) testkit.settle() end
    assert.matches("lost more than 2 Guys in 60 s", core:expect_down(region))
    testkit.settle()
    assert.is_nil(throng.whereis("region-1/guy-3"))
  end)

  it("brings back a guy who dies at his third tick, whenever that is", function()
    local region = begin()
    local fault = testkit.kill_at {to = "region-1/guy-2", name = "tick", nth = 3}
    for beat = 1, 4 do
      region:send("tick", beat)
      testkit.settle()
    end
    core:expect_any("lost_guy")
    core:expect_any("replaced")
    assert.are.same({4, 1}, {fault:count()})
    assert.are.equal(1, throng.whereis("region-1/guy-2"):ask("hunger")) -- the fourth tick
  end)
end)

describe("the regions' supervisor", function()
  it("starts a region that dies again, under the same name, and waits longer each time", function()
    local core = testkit.probe("core")
    testkit.spawn("regions", core.pid, 2, settings {loud = false})
    core:expect("joined", 0)
    core:expect("joined", 0)
    for death = 1, 5 do
      local region = throng.whereis("region-2")
      throng.kill(region)
      testkit.settle()
      if death > 3 then
        assert.is_nil(throng.whereis("region-2"))
        testkit.advance(20)
      end
      assert.are.equal(2, core:expect("joined", 0))
      assert.are_not.equal(region, throng.whereis("region-2"))
    end
    core:expect_none()
  end)
end)
