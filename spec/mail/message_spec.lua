local codec = require "door.codec"

describe("message", function()
  it("is all zero but its kind, and fills its block", function()
    local header = codec.new(0):header()
    assert.same({to = 0, from = 0, ref = 0, name = 0, kind = 0, flags = 0, argc = 0, size = 0, room = 16, next = false},
                header)
    for _, room in ipairs {1, 16, 17, 80, 81, 1000, 65536, 100000} do
      local got = codec.new(room):header().room
      assert(got >= room, room)
      assert.equal(0, (got + 48) % 64)
    end
  end)

  it("starts anew in a block that was used", function()
    for _ = 1, 3 do
      local msg = codec.new(0)
      msg:header({to = -1, from = -1, ref = -1, name = -1, kind = 255, flags = 255, argc = 255, next = true})
      msg = nil
      collectgarbage()
      assert.equal(0, codec.new(0):header().ref)
      assert.is_nil(msg)
    end
  end)

  local filled = {to = 1, from = 2, ref = 3, name = 4, kind = 5, flags = 2}

  it("keeps header and payload when it grows", function()
    local msg = codec.new(0)
    msg:encode("payload", 42)
    msg:header(filled)
    local before, bytes = msg:header(), msg:bytes()
    assert.is_true(msg:grow(100000))
    local after = msg:header()
    assert(after.room - after.size >= 100000)
    before.room, after.room = nil, nil
    assert.same(before, after)
    assert.equal(bytes, msg:bytes())
  end)

  it("stays where it is when there is room", function()
    local msg = codec.new(100)
    local room = msg:header().room
    assert.is_true(msg:grow(room))
    assert.equal(room, msg:header().room)
    assert.is_true(msg:grow(room + 1))
    assert(msg:header().room >= 2 * room) -- growing byte by byte copies few times
  end)

  it("is refused beyond the largest size, and the old one is left", function()
    assert.is_nil(codec.new(codec.SIZE_MAX + 1))
    assert.is_nil(codec.new(-1))
    local msg = codec.new(0)
    msg:encode("payload")
    assert.is_false(msg:grow(codec.SIZE_MAX))
    assert.is_false(msg:grow(-1))
    assert.same({1, "payload"}, {msg:decode()})
  end)

  it("is copied without its place in a list", function()
    local msg = codec.new(0)
    msg:encode({"payload"})
    msg:header(filled)
    local want = msg:header()
    msg:header({next = true})
    local copy = msg:copy()
    local got = copy:header()
    want.room, got.room = nil, nil
    assert.same(want, got)
    assert.equal(msg:bytes(), copy:bytes())
    msg:encode("more") -- the two are apart
    assert.are_not.equal(msg:bytes(), copy:bytes())
  end)

  it("has its deadline behind the values, in the same block if there is room, and so has its copy", function()
    for _, case in ipairs {{0, 16}, {7, 16}, {8, 80}, {15, 80}, {60, 80}, {75, 208}} do
      local msg = codec.new(0)
      local text = ("x"):rep(case[1])
      if text ~= "" then msg:put_string(text) end
      local size = msg:header().size
      assert.is_true(msg:limit(-12345678))
      assert.equal(-12345678, msg:deadline())
      assert.equal(case[2], msg:header().room, case[1])
      assert.equal(size, msg:header().size)
      local copy = msg:copy()
      assert.equal(-12345678, copy:deadline())
      assert.equal(msg:bytes(), copy:bytes())
      if text ~= "" then assert.same({1, text}, {copy:decode()}) end
    end
  end)
end)
