local codec = require "door.codec"
local seed = require "spec.support.seed"
local values = require "spec.support.values"

local same <const> = values.same
local inf <const>, nan <const> = math.huge, 0 / 0

describe("payload", function()
  describe("takes values made in C", function()
    it("of every kind", function()
      local msg = codec.new()
      msg:put_nil()
      msg:put_boolean(true)
      msg:put_boolean(false)
      msg:put_integer(math.mininteger)
      msg:put_number(-0.0)
      msg:put_string(("\0x"):rep(200))
      msg:put_pid(codec.pid_make(12, 1))
      msg:put_pid(0)
      assert.is_true(msg:valid())
      local got = table.pack(msg:decode())
      assert.equal(8, got[1])
      assert(same({true, false, math.mininteger, -0.0, ("\0x"):rep(200), codec.pointer(codec.pid_make(12, 1)),
        codec.pointer(0)}, table.move(got, 3, 9, 1, {})))
    end)

    it("and tables, in each other, counted as one argument", function()
      local msg = codec.new()
      msg:put_integer(1)
      local outer = msg:open(false)
      msg:put_string("a")
      local inner = msg:open(false)
      msg:put_integer(5)
      msg:put_boolean(true)
      msg:close(inner, 1)
      msg:put_string("b")
      msg:encode({"from", "Lua"})
      msg:close(outer, 2)
      msg:put_string("end")
      assert.is_true(msg:valid())
      local count, one, t, last = msg:decode()
      assert.same({3, 1, {a = {[5] = true}, b = {"from", "Lua"}}, "end"}, {count, one, t, last})
    end)

    it("and error objects", function()
      local meta = {}
      codec.error_metatable(meta)
      local msg = codec.new()
      local mark = msg:open(true)
      msg:put_string("message")
      msg:put_string("no such actor")
      msg:close(mark, 1)
      local _, e = msg:decode()
      codec.error_metatable(nil)
      assert.equal(meta, getmetatable(e))
      assert.equal("no such actor", e.message)
    end)

    it("no deeper and no more than Lua's", function()
      local msg = codec.new()
      for _ = 1, codec.DEPTH_MAX do assert(msg:open(false)) end
      assert.same({nil, "E2BIG"}, {msg:open(false)})
      assert.equal("EINVAL", (select(2, msg:encode({}))))
      msg = codec.new()
      for i = 1, codec.ARGS_MAX do assert(msg:put_integer(i)) end
      assert.same({nil, "E2BIG"}, {msg:put_nil()})
      assert.same({nil, "E2BIG"}, {msg:open(false)})
      assert.equal(codec.ARGS_MAX, (msg:decode()))
    end)
  end)

  describe("reads without a VM", function()
    local function letter(...)
      local msg = codec.new()
      assert(msg:encode(...))
      return msg
    end

    it("the first string", function()
      assert.equal("normal", letter("normal", "x"):first_string())
      assert.equal("", letter(""):first_string())
      local long = ("\0y"):rep(5000)
      assert.equal(long, letter(long):first_string())
      assert.is_nil(letter(1, "x"):first_string())
      assert.is_nil(letter({"x"}):first_string())
      assert.is_nil(letter():first_string())
    end)

    it("a string field of the first table", function()
      local msg = letter({1, {message = "inner"}, code = "late", message = "too late", n = 1, deep = {{}, {1}}}, {})
      assert.equal("too late", msg:first_field("message"))
      assert.equal("late", msg:first_field("code"))
      assert.is_nil(msg:first_field("n"))
      assert.is_nil(msg:first_field("mess"))
      assert.is_nil(msg:first_field("messages"))
      assert.is_nil(msg:first_field(""))
      assert.is_nil(letter("message", "x"):first_field("message"))
      assert.is_nil(letter():first_field("message"))
    end)

    local function show(value, ...) return (letter(value):show(0, ...)) end

    it("every value as text like Lua's", function()
      for text, value in pairs {["true"] = true, ["-5"] = -5, ["1.0"] = 1.0, ["-0.0"] = -0.0, ["1.5"] = 1.5, inf = inf,
        ["-inf"] = -inf, nan = nan, ["1e+100"] = 1e100, ['"a\\n\\"\\\\\\x00ö"'] = 'a\n"\\\0ö', ["{}"] = {},
        ["{1, 2, 3}"] = {1, 2, 3}, ["{x = 1}"] = {x = 1}, ['{1, ["a b"] = {true}}'] = {1, ["a b"] = {true}},
        ["{[2.5] = {}}"] = {[2.5] = {}}, ["<12.1>"] = codec.pointer(codec.pid_make(12, 1)), null = codec.pointer(0),
        ["#timer-7"] = codec.pointer((codec.ref_make("timer", 7)))} do
        assert.equal(text, show(value))
      end
      assert.equal("nil", (letter(nil):show()))
    end)

    it("the value that was asked for, the name not counted", function()
      local msg = letter(1, {2}, "three")
      assert.equal("{2}", (msg:show(1)))
      assert.equal('"three"', (msg:show(2)))
      assert.equal("", (msg:show(3)))
      assert.equal("", (msg:show(-1)))
      local named = codec.from(letter("tick", 1, 2):bytes(), 2, codec.NAMED)
      assert.equal("1", (named:show(0)))
      assert.equal("2", (named:show(1)))
      assert.equal("", (named:show(2)))
      assert.equal("", (named:show(-1)))
    end)

    it("tables only so deep", function()
      local t = {{1, {2}}, x = {y = {}}, e = {}}
      assert.equal("{...}", show(t, 0))
      assert.matches("^{{%.%.%.}, .*x = {%.%.%.}", show(t, 1))
      assert.matches("e = {}", show(t, 1))
      assert.matches("^{{1, {%.%.%.}}, ", show(t, 2))
    end)

    it("no more than there is room for", function()
      local value = {"abc", 12345, 1.5, {true, x = "\0"}}
      local whole = show(value)
      for cap = 1, #whole + 2 do
        local text, ended = letter(value):show(0, 10, cap)
        assert.is_true(ended)
        assert.equal(whole:sub(1, cap - 1), text)
      end
      assert.same({"", true}, {letter(value):show(0, 10, 0)})
      local wide = {}
      for i = 1, 10000 do wide[i] = {i} end
      assert.equal(show(wide, 10, 100000):sub(1, 99), show(wide, 10, 100))
    end)

    it("of an error object its message", function()
      local meta = {}
      codec.error_metatable(meta)
      local function object(t) return setmetatable(t, meta) end
      assert.equal("too late", show(object({code = "late", message = "too late"})))
      assert.equal("{too late, 2}", show({object({message = "too late"}), 2}))
      assert.equal("too late", show(object({message = "too late"}), 0))
      assert.equal("{message = 1}", show(object({message = 1})))
      codec.error_metatable(nil)
    end)
  end)

  describe("makes an excerpt", function()
    local function excerpt(depth, room, ...)
      local msg = codec.new()
      assert(msg:encode(...))
      local out, cut = msg:excerpt(depth, room)
      assert.is_true(out:valid())
      assert.equal(1, out:header().argc)
      return select(2, out:decode()), cut
    end

    it("that is all of it in one table, when it fits", function()
      local list = {1, "two", {x = {3, {4}}, [true] = 1.5}, false, ("y"):rep(300), {}, codec.pointer(77), -70000, n = 8}
      assert.same({list, false}, {excerpt(4, 1000, table.unpack(list, 1, 8))})
      assert.same({{n = 0}, false}, {excerpt(4, 1000)})
      assert.same({{nil, 2, nil, n = 3}, false}, {excerpt(4, 1000, nil, 2, nil)})
    end)

    it("without the name of a message that carries it", function()
      local msg = codec.new()
      msg:encode("name", 1, 2)
      msg:header {flags = 1, argc = 2}
      assert.same({1, 2, n = 2}, (select(2, msg:excerpt(4, 1000):decode())))
    end)

    it("that keeps error objects what they are", function()
      local meta = {}
      codec.error_metatable(meta)
      local got = excerpt(4, 1000, {setmetatable({code = "late"}, meta)})
      codec.error_metatable(nil)
      assert.equal(meta, getmetatable(got[1][1]))
      assert.equal("late", got[1][1].code)
    end)

    it("with the words {...} for tables that lie too deep, and what comes after them", function()
      local value = {1, {2, {3}}, {}, x = {y = {}}, z = 5}
      assert.same({{{1, "{...}", {}, x = "{...}", z = 5}, "after", n = 2}, true}, {excerpt(1, 1000, value, "after")})
      assert.same({{"{...}", "after", n = 2}, true}, {excerpt(0, 1000, value, "after")})
      assert.same({{value, "after", n = 2}, false}, {excerpt(3, 1000, value, "after")})
    end)

    it("of tables as deep as can be, which would else be too deep to wrap", function()
      local got, cut = excerpt(16, 1000, values.nested(100))
      local depth = 0
      local at = got[1]
      while type(at) == "table" do at, depth = at[1], depth + 1 end
      assert.same({"{...}", 16, true}, {at, depth, cut})
    end)

    it("no larger than it may become: strings are cut, the rest is left out", function()
      local got, cut = excerpt(4, 100, ("x"):rep(1000), "never")
      assert.is_true(cut)
      assert.equal(2, got.n)
      assert.is_nil(got[2])
      assert(#got[1] > 50 and got[1] == ("x"):rep(#got[1]))
      local many = {}
      for i = 1, 10000 do many[i] = "item " .. i end
      got, cut = excerpt(4, 1000, {inner = many}, 5)
      assert.is_true(cut)
      assert.same({2, nil}, {got.n, got[2]})
      local inner = got[1].inner
      assert(#inner > 80 and #inner < 130 and inner[50] == "item 50", #inner)
      local pairs_only = {}
      for i = 1, 10000 do pairs_only["key " .. i] = {i} end
      got, cut = excerpt(4, 1000, pairs_only)
      assert.is_true(cut)
      for key, value in pairs(got[1]) do
        if next(value) then assert.same({tonumber(key:match "%d+")}, value) end -- the last one may be empty
      end
    end)

    it("of whatever bytes come, and it is always whole itself", function()
      math.randomseed(seed)
      for _ = 1, 20000 do
        local bytes = {}
        for i = 1, math.random(0, 60) do
          bytes[i] = math.random(2) == 1 and math.random(0xc0, 0xd0) or math.random(0, 255)
        end
        local msg = codec.from(string.char(table.unpack(bytes)), math.random(0, 3), math.random(0, 1))
        local out, cut = msg:excerpt(math.random(0, 5), math.random(0, 80))
        assert(out:valid(), "seed " .. seed)
        if not cut and msg:valid() then
          local first = msg:header().flags + 2
          local held = table.pack(table.unpack(table.pack(msg:decode()), first, first + msg:header().argc - 1))
          assert(same(held, (select(2, out:decode()))), "seed " .. seed)
        end
      end
    end)
  end)
end)
