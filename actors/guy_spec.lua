-- ./throng test actors
local testkit = require "throng.testkit"

describe("a guy", function()
  local region

  before_each(function() region = testkit.probe() end)

  it("tells his region that he is born, and each tick that he has taken", function()
    local guy = region:spawn("guy", 7)
    assert.are.equal(7, region:expect("taken"))
    guy:send("tick")
    guy:send("tick")
    assert.are.equal(7, region:expect("taken"))
    assert.are.equal(7, region:expect("taken"))
    region:expect_none()
  end)

  it("grows hungrier with every tick, and with time alone does not", function()
    local guy = region:spawn("guy", 7)
    region:ignore("taken")
    for _ = 1, 5 do guy:send("tick") end
    testkit.advance(3600 * 1000)
    assert.are.equal(5, guy:ask("hunger"))
  end)

  it("who comes for another is silent until his first tick", function()
    region:spawn("guy", 7, true)
    region:expect_none(1000)
  end)
end)
