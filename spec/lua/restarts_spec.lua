local restarts = require "throng.restarts"
local seed = require "spec.support.seed"

local function backoff(options)
  options.jitter = options.jitter or 0
  return restarts.backoff(options)
end

describe("the intensity of restarts", function()
  it("bears so many within the time, and not one more", function()
    local often = restarts.intensity(3, 10)
    for at = 1, 3 do assert.is_true(often:note(at * 1000)) end
    assert.is_false(often:note(4000))
    assert.is_false(often:note(10999))
  end)

  it("forgets what is older than the time, one by one", function()
    local often = restarts.intensity(3, 10)
    for at = 1, 3 do often:note(at * 1000) end
    assert.is_true(often:note(11000)) -- the one at 1000 is ten seconds old
    assert.is_false(often:note(11999))
    assert.is_true(often:note(12000))
  end)

  it("bears none when the count is 0, and any number spread over time", function()
    assert.is_false(restarts.intensity(0, 10):note(1))
    local often = restarts.intensity(1, 1)
    for at = 1, 1000 do assert.is_true(often:note(at * 1000)) end
    local kept = 0
    for _ in pairs(often.times) do kept = kept + 1 end
    assert.are.equal(1, kept)
  end)

  it("is reset by hand", function()
    local often = restarts.intensity(1, 10)
    often:note(1)
    often:reset()
    assert.is_true(often:note(2))
    assert.is_false(often:note(3))
  end)

  it("refuses what is no count and no time", function()
    for _, wrong in ipairs {{-1, 1}, {1.5, 1}, {"1", 1}, {1, 0}, {1, "1"}, {}} do
      assert.has_error(function() restarts.intensity(wrong[1], wrong[2]) end)
    end
  end)
end)

describe("the backoff of restarts", function()
  --- Pauses of one that fails as soon as it is started again.
  local function pauses(back, count)
    local list, now = {}, 0
    for i = 1, count do
      list[i] = back:next(now)
      now = now + list[i]
    end
    return list, now
  end

  it("grows by the factor up to its ceiling", function()
    assert.are.same({100, 200, 400, 800, 1000, 1000}, (pauses(backoff {least = 100, most = 1000}, 6)))
    assert.are.same({10, 30, 90, 100}, (pauses(backoff {least = 10, most = 100, factor = 3}, 4)))
  end)

  it("stays at its ceiling for ever, and at 0 if that is the least", function()
    local back = backoff {least = 1, most = 5}
    for now = 1, 3000 do back:next(now) end
    assert.are.equal(5, back:next(3001))
    local none = backoff {least = 0, most = 5}
    for now = 1, 3000 do assert.are.equal(0, none:next(now)) end
  end)

  it("begins after so many restarts at once", function()
    assert.are.same({0, 0, 100, 200}, (pauses(backoff {least = 100, at_once = 2}, 4)))
  end)

  it("begins anew after a quiet time, counted from the end of the last pause", function()
    local back = backoff {least = 100, most = 1000, quiet = 500}
    local _, now = pauses(back, 3)
    assert.are.equal(800, back:next(now + 499))
    assert.are.equal(100, back:next(now + 499 + 800 + 500))
  end)

  it("begins anew when it is reset by hand", function()
    local back = backoff {least = 100}
    local _, now = pauses(back, 3)
    back:reset()
    assert.are.equal(100, back:next(now))
    assert.are.equal(200, back:next(now + 100))
  end)

  it("has jitter that stays within its part, and within least and most", function()
    math.randomseed(seed)
    local seen = {}
    for _ = 1, 1000 do
      local back = backoff {least = 100, most = 1000, jitter = 0.25}
      local list = pauses(back, 5)
      for i, middle in ipairs {100, 200, 400, 800, 1000} do
        local text = ("seed %d: pause %d is %g"):format(seed, i, list[i])
        assert.is_true(list[i] >= math.max(100, middle * 0.75) and list[i] <= math.min(1000, middle * 1.25), text)
      end
      seen[list[2]] = true
    end
    local different = 0
    for _ in pairs(seen) do different = different + 1 end
    assert.is_true(different > 500, "seed " .. seed)
  end)

  it("uses the whole of the jitter", function()
    local low, high = function() return 0 end, function() return 1 end
    assert.are.equal(150, pauses(backoff {jitter = 0.25, random = low}, 2)[2])
    assert.are.equal(250, pauses(backoff {jitter = 0.25, random = high}, 2)[2])
  end)

  it("refuses options that are none", function()
    for text, options in pairs {["least must be"] = {least = -1}, ["factor must be a number from 1 on"] = {factor = 0.5},
                                ["jitter must be a number from 0 to 1"] = {jitter = 2}, ["quiet"] = {quiet = "x"},
                                ["unknown option 'leest'"] = {leest = 1}, ["least is over most"] = {least = 5, most = 1}} do
      assert.has_error(function() restarts.backoff(options) end)
      assert.matches(text, select(2, pcall(restarts.backoff, options)), 1, true)
    end
  end)

  it("takes a least over the usual most", function()
    assert.are.equal(20000, backoff({least = 20000}):next(0))
  end)
end)
