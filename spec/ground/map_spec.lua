local map = require "door.map"
local seed = require "spec.support.seed"

describe("a map", function()
  it("owns no memory while it is empty, also after it was full", function()
    local m = map.new()
    assert.are.equal(0, m:room())
    for key = 1, 1000 do m:put(key, key) end
    for key = 1, 1000 do m:take(key) end
    assert.are.equal(0, m:room())
    m:put(1, 2)
    m:clear()
    assert.are.equal(0, m:room())
    assert.is_nil(m:get(1))
  end)

  it("answers for keys it does not have, also while it is empty", function()
    local m = map.new()
    assert.is_nil(m:get(5))
    assert.is_nil(m:take(5))
    assert.are.same({}, (m:all()))
    m:put(1, 1)
    assert.is_nil(m:get(5))
    assert.is_nil(m:take(5, true))
  end)

  it("replaces, and takes back once", function()
    local m = map.new()
    m:put(-1, 5)
    m:put(-1, math.mininteger)
    assert.are.equal(1, m:count())
    assert.are.equal(math.mininteger, m:get(-1))
    assert.are.equal(math.mininteger, m:take(-1))
    assert.is_nil(m:take(-1))
    m:put(7, 0)
    assert.are.equal(0, m:get(7))
    assert.are.equal(1, m:take(7, true))
    assert.are.equal(0, m:count())
  end)

  it("is never more than three quarters full, and shrinks when much is taken", function()
    local m, most = map.new(), 0
    for key = 1, 20000 do
      m:put(key * 64, key)
      assert(m:count() * 4 <= m:room() * 3)
      most = math.max(most, m:room())
    end
    for key = 1, 19990 do m:take(key * 64) end
    assert(m:room() <= most // 16, m:room())
    for key = 19991, 20000 do assert.are.equal(key, m:get(key * 64)) end
  end)

  it("does as a Lua table would, whatever is put and taken", function()
    math.randomseed(seed)
    for round = 1, 30 do
      local where = ("seed %d, round %d"):format(seed, round)
      local m, model, count = map.new(), {}, 0
      local spread = ({5, 40, 1000, 1 << 40})[math.random(4)] -- few keys meet often
      local stride = ({1, 16, 1 << 32, 1 << 52})[math.random(4)]
      for step = 1, 2000 do
        local key = math.random(1, spread) * stride
        if key == 0 then key = 1 end
        local what = math.random(step < 1000 and 4 or 8)
        if what <= 2 then
          local value = math.random(0)
          m:put(key, value)
          if model[key] == nil then count = count + 1 end
          model[key] = value
        elseif what == 3 then
          assert(m:get(key) == model[key], where)
        else
          assert(m:take(key) == model[key], where)
          if model[key] ~= nil then count = count - 1 end
          model[key] = nil
        end
        assert(m:count() == count, where)
        if step % 200 == 0 then
          local all, walked = m:all()
          assert(walked == count, where)
          for k, v in pairs(all) do assert(model[k] == v, where) end
          for k, v in pairs(model) do assert(all[k] == v, where) end
        end
      end
    end
  end)
end)
