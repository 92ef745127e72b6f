--- What nodes can (core/net/able), and what they say to each other about actors to be made (core/net/spawn), as bytes.
local able = require "door.able"
local net = require "door.net"
local seed = require "spec.support.seed"

describe("what a node can", function()
  it("is true, false, whole numbers and strings", function()
    local set = able.add("", "gpu=true,old=false,cores=8,cold=-3,zone=eu,path=/a=b,ssd")
    assert.is_true(able.is(set, "gpu", true))
    assert.is_false(able.is(set, "gpu", false))
    assert.is_false(able.is(set, "gpu", "true"))
    assert.is_true(able.is(set, "old", false))
    assert.is_true(able.is(set, "cores", 8))
    assert.is_false(able.is(set, "cores", "8"))
    assert.is_true(able.is(set, "cold", -3))
    assert.is_true(able.is(set, "zone", "eu"))
    assert.is_false(able.is(set, "zone", "e"))
    assert.is_true(able.is(set, "path", "/a=b"))
    assert.is_true(able.is(set, "ssd", true))
  end)

  it("not what is not said: false is so, too, and nothing else", function()
    assert.is_true(able.is("zone=eu", "gpu", false))
    assert.is_true(able.is("", "gpu", false))
    assert.is_false(able.is("gpus=true", "gpu", true))
    assert.is_false(able.is("", "gpu", 0))
  end)

  it("may be said bit by bit", function()
    assert.are.equal("a=1,b=2,c=x", able.add(able.add(able.add("", "a=1"), "b=2"), "c=x"))
  end)

  it("is refused with a line that says what is wrong", function()
    local function why(set, text) return select(2, able.add(set, text)) end
    for _, text in ipairs {"", ",", "a,", ",a", "=1", "a=1,,b=2"} do
      assert.matches("KEY=VALUE", why("", text))
    end
    assert.matches("'a=': a key without a value", why("", "a="))
    assert.matches("spaces", why("", "a=b c"))
    assert.matches("spaces", why("", "a=\27[2J"))
    assert.matches("quotes", why("", "a=\"b\""))
    assert.matches("a key has letters", why("", "a/b=1"))
    assert.matches("twice", why("a=1", "a=2"))
    assert.matches("more than 32", why("", "k" .. table.concat({1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14,
      15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31, 32, 33}, ",k")))
    assert.matches("512 bytes", why("", "a=" .. ("x"):rep(600)))
    assert.matches("KEY=VALUE", why("", ("k"):rep(65) .. "=1"))
  end)

  it("comes with the handshake, and is none if it is no such text", function()
    assert.is_true(able.good "")
    assert.is_true(able.good "gpu=true,zone=eu")
    for _, set in ipairs {",", "a=", "a b", "a,a", "a\n"} do assert.is_false(able.good(set)) end
  end)
end)

describe("an order for an actor", function()
  local _, asker = net.pid(5)
  local _, monitor = net.ref(0)
  local _, request = net.ref(2)

  local function order(more)
    local o = {asker = asker, module = "guy", code = 0, files = {{"guy", "a/guy.lua", -7, 100}, {"help", "h.lua", 8, 1}},
               name = "bob\0x", args = "\1\2", argc = 2}
    for key, value in pairs(more or {}) do o[key] = value end
    return able.order(o)
  end

  it("says what is wanted", function()
    assert.are.same({asker = asker, name = "bob\0x", module = "guy", origin = "", args = "\1\2",
                     files = {{"guy", "a/guy.lua", -7, 100}, {"help", "h.lua", 8, 1}}}, able.read_order(order()))
    assert.are.equal("c", able.read_order(order {origin = "c"}).origin)
    assert.is_table(able.read_order(order {code = 1, files = {}}))
    assert.is_table(able.read_order(order {code = 2, files = {}, monitor = monitor, wait = request, name = ""}))
  end)

  it("is refused when others would trip over it", function()
    for _, more in ipairs {
      {asker = 0}, {asker = monitor}, {asker = select(2, net.pid(5, 3))}, {monitor = request}, {wait = monitor},
      {monitor = 7}, {module = ""}, {module = ("m"):rep(201)}, {origin = ("o"):rep(65)}, {code = 3}, {code = 1},
      {files = {}}, {link = 2}, {name = ("n"):rep(201)}, {argc = 251}, {flags = 1}, {flags = 8},
      {files = {{"guy", "", 1, 1}}}, {files = {{"", "p", 1, 1}}}, {files = {{"guy", "p\27[2J", 1, 1}}}, {origin = "a\n"},
    } do
      assert.is_nil(able.read_order(order(more)), next(more))
    end
  end)

  it("is not believed where it is cut, and nothing is read past its end", function()
    local whole, head = order(), #order {args = "", argc = 0}
    for len = 0, head - 1 do assert.is_nil(able.read_order(whole:sub(1, len)), len) end
    math.randomseed(seed)
    for _ = 1, 2000 do
      local at = math.random(#whole)
      able.read_order(whole:sub(1, at - 1) .. string.char(math.random(0, 255)) .. whole:sub(at + 1))
    end
  end)

  it("of more than a call takes is told apart", function()
    assert.are.same({nil, "E2BIG"}, {order {args = ("x"):rep(1 << 20)}})
  end)

  it("is answered with a pid, or with why not", function()
    assert.are.same({asker, "", ""}, {able.read_answer(able.answer(asker))})
    assert.are.same({0, "spawn", "no module"}, {able.read_answer(able.answer(0, "spawn", "no module"))})
    for _, bytes in ipairs {"", "\1", able.answer(monitor), able.answer(select(2, net.pid(1, 4))), able.answer(0, ""),
                            able.answer(asker) .. "x", able.answer(0, "spawn", "x"):sub(1, -2)} do
      assert.is_nil(able.read_answer(bytes))
    end
  end)
end)
