local codec = require "door.codec"
local seed = require "spec.support.seed"
local values = require "spec.support.values"

local same <const>, nested <const> = values.same, values.nested
local INVALID <const> = "EINVAL"

--- Encodes the arguments, decodes them, and returns what arrived.
local function travel(...)
  local msg = codec.new()
  local ok, code, why = msg:encode(...)
  if not ok then error(("%s: %s"):format(code, why), 2) end
  assert.is_true(msg:valid())
  assert.equal(select("#", ...), msg:header().argc)
  return select(2, msg:decode())
end

--- The clear text of a refusal; the message has to be as it was.
local function refusal(...)
  local msg = codec.new()
  msg:encode("before")
  local bytes = msg:bytes()
  local ok, code, why = msg:encode(...)
  assert.is_nil(ok)
  assert.equal(bytes, msg:bytes())
  assert.equal(1, msg:header().argc)
  return why, code
end

local nan, inf = 0 / 0, math.huge
local odd_nan = string.unpack("<d", "\1\2\3\4\5\6\xf8\xff") -- with bits of its own in it

describe("codec", function()
  describe("takes on the way", function()
    local integers = {0, 1, -1, -16, -17, 111, 112, 127, 128, -128, -129, 255, 256, 32767, 32768, -32768, -32769, 65535,
      65536, 2147483647, 2147483648, -2147483648, -2147483649, 2 ^ 53 // 1 | 0, math.maxinteger, math.mininteger}

    it("integers of every width", function()
      for _, n in ipairs(integers) do assert(same(n, travel(n)), n) end
    end)

    it("floats to the bit: negative zero, infinities, NaN with its payload, integers that are floats", function()
      for _, n in ipairs {0.0, -0.0, 1.0, 1.5, 0.1, inf, -inf, nan, -nan, odd_nan, 5e-324, 2.0 ^ 63, math.pi} do
        assert(same(n, travel(n)), n)
      end
    end)

    it("strings of any bytes and of every form of length", function()
      for _, len in ipairs {0, 1, 15, 16, 17, 63, 64, 255, 256, 65535, 65536, 300000} do
        local s = ("\0\xff\n%s"):rep(len // 4 + 1):sub(1, len)
        assert.equal(s, (travel(s)))
      end
    end)

    it("nil, also last and alone, and booleans", function()
      assert.equal(3, select("#", travel(nil, false, nil)))
      assert.same({nil, false, nil, true}, {travel(nil, false, nil, true)})
    end)

    it("nothing at all", function()
      assert.equal(0, select("#", travel()))
    end)

    it("pids and refs, and the null pointer as itself", function()
      for _, bits in ipairs {0, 1, codec.pid_make(12, 1), (codec.ref_make("timer", 7)), -1} do
        local got = travel(codec.pointer(bits))
        assert.equal("userdata", type(got))
        assert.equal(bits, codec.bits(got))
      end
    end)

    it("tables as arrays, as records, as both, empty, and in each other", function()
      for _, t in ipairs {
        {}, {1, 2, 3}, {a = 1}, {1, 2, 3, a = 1, b = {c = {}}}, {{{}}}, {{}, {}, {x = {1.5, 2.5}}},
        {[0] = 0, [-1] = 1, [2] = 2, [1 << 40] = 3, [1.5] = 4, [inf] = 5},
        {[true] = 1, [false] = 2, [""] = 3, ["\0"] = 4, a = 5},
        {[codec.pointer(5)] = 1, [codec.pointer(0)] = 2}, {1, nil, 3}, {nil, nil, 3},
      } do
        assert(same(t, travel(t)))
      end
    end)

    it("tables with more values and pairs than a byte counts", function()
      for _, n in ipairs {255, 256, 257, 1000} do
        local array, record = {}, {}
        for i = 1, n do
          array[i] = i
          record["k" .. i] = -i
        end
        assert(same(array, travel(array)))
        assert(same(record, travel(record)))
        assert(same({array, x = record, "behind"}, travel({array, x = record, "behind"})))
      end
    end)

    it("integer keys wherever Lua keeps them", function()
      local backwards, among, holes = {}, {a = 1, b = 2, c = 3, d = 4, e = 5}, {}
      for i = 100, 1, -1 do backwards[i] = i end
      among.a, among.b, among.c = nil, nil, nil -- leaves places in the hash
      for i = 1, 5 do among[i] = i end
      for i = 1, 100 do holes[i] = i % 3 ~= 0 and i or nil end
      for _, t in ipairs {backwards, among, holes} do
        local got = travel(t)
        assert(same(t, got))
      end
      assert.equal(100, #travel(backwards))
    end)

    it("no metatable, and without asking any", function()
      local called = false
      local function call() called = true end
      local t = setmetatable({1}, {__index = call, __pairs = call, __len = call, __gc = call, __close = call})
      local got = travel(t)
      assert.is_nil(getmetatable(got))
      assert(same({1}, got))
      assert.is_false(called)
    end)

    it("250 arguments and not one more", function()
      local args = {}
      for i = 1, codec.ARGS_MAX do args[i] = i end
      assert.equal(codec.ARGS_MAX, select("#", travel(table.unpack(args))))
      local msg = codec.new()
      local ok, code, why = msg:encode(0, table.unpack(args))
      assert.same({nil, "E2BIG", "more than 250 arguments"}, {ok, code, why})
      assert.is_true(msg:encode(table.unpack(args, 2)))
      assert.equal("E2BIG", (select(2, msg:encode(1, 2))))
      assert.is_true(msg:encode(1))
      assert.equal(codec.ARGS_MAX, (msg:decode()))
    end)

    it("values behind those that are there already", function()
      local msg = codec.new()
      msg:encode(1, "two")
      msg:encode()
      msg:encode({3})
      local count, one, two, three = msg:decode()
      assert.same({3, 1, "two", {3}}, {count, one, two, three})
    end)

    it("100 tables within each other", function()
      local deep = nested(codec.DEPTH_MAX)
      assert(same(deep, travel(deep)))
      deep = nested(codec.DEPTH_MAX, "key")
      assert(same(deep, travel(deep)))
    end)

    it("a hundred thousand tables in one", function()
      local t = {}
      for i = 1, 100000 do t[i] = {i} end
      assert(same(t, travel(t)))
    end)

    it("small things in few bytes", function()
      local function size(...)
        local msg = codec.new()
        msg:encode(...)
        return msg:header().size
      end
      assert.equal(1, size(42))
      assert.equal(1, size(nil))
      assert.equal(7, size("hunger"))
      assert.equal(6, size({1, 2, 3}))
      assert.equal(17, size("tick", 1, {x = 1, y = 2}, true, false))
    end)
  end)

  describe("refuses with the path to the culprit", function()
    it("functions, coroutines and userdata", function()
      assert.equal("argument 1: a function can't be sent", (refusal(print)))
      assert.equal("argument 3: a coroutine can't be sent", (refusal(1, 2, coroutine.create(print))))
      assert.equal("argument 1: a userdata can't be sent", (refusal(io.stdout)))
      local why, code = refusal(1, {name = "guy", pos = {1, 2, {callback = print}}})
      assert.equal("argument 2.pos[3].callback: a function can't be sent", why)
      assert.equal(INVALID, code)
    end)

    it("whatever the keys look like", function()
      assert.equal('argument 1["two words"][1.5][true][-3]: a function can\'t be sent',
                   (refusal({["two words"] = {[1.5] = {[true] = {[-3] = print}}}})))
      assert.equal("argument 1[<12.1>]: a function can't be sent",
                   (refusal({[codec.pointer(codec.pid_make(12, 1))] = print})))
      assert.equal('argument 1["?a??"]: a function can\'t be sent', (refusal({['\n' .. 'a"\0'] = print})))
      assert.equal('argument 1[""]: a function can\'t be sent', (refusal({[""] = print})))
      assert.equal("argument 1.abcdefghijklmnopqrstuvwx...: a function can't be sent",
                   (refusal({abcdefghijklmnopqrstuvwxyz = print})))
    end)

    it("keys that can't travel", function()
      assert.equal("argument 1.a: a table as a key can't be sent", (refusal({a = {[{}] = 1}})))
      assert.equal("argument 1: a function as a key can't be sent", (refusal({[print] = 1})))
      assert.equal("argument 1: a userdata as a key can't be sent", (refusal({[io.stdout] = 1})))
      assert.equal("argument 1: a coroutine as a key can't be sent", (refusal({[coroutine.create(print)] = 1})))
    end)

    it("a table that contains itself", function()
      local t = {}
      t.child = {parent = t}
      assert.equal("argument 1.child.parent: a table that contains itself can't be sent", (refusal(t)))
      assert.equal("argument 1[1].child.parent: a table that contains itself can't be sent", (refusal({t})))
      local itself = {}
      itself[1] = itself
      assert.equal("argument 2[1]: a table that contains itself can't be sent", (refusal({}, itself)))
    end)

    it("a table met twice, in one argument or in two", function()
      local t = {}
      assert.equal("argument 1[2]: a table met twice can't be sent", (refusal({t, t})))
      assert.equal("argument 2: a table met twice can't be sent", (refusal(t, t)))
      assert.equal("argument 2.x: a table met twice can't be sent", (refusal({t}, {x = t})))
    end)

    it("a table met twice among thousands, whichever it is", function()
      for _, count in ipairs {15, 16, 17, 31, 32, 33, 100, 5000} do
        for _, twice in ipairs {1, 2, count // 2, count} do
          local t = {}
          for i = 1, count do t[i] = {} end
          t[count + 1] = t[twice]
          assert.equal(("argument 1[%d]: a table met twice can't be sent"):format(count + 1), (refusal(t)))
          t[count + 1] = {t}
          assert.equal(("argument 1[%d][1]: a table that contains itself can't be sent"):format(count + 1),
                       (refusal(t)))
        end
      end
    end)

    it("101 tables within each other, with a path that names both ends", function()
      local why = refusal(nested(codec.DEPTH_MAX + 1, "key"))
      assert.matches("^argument 1%.key%.key%..*%.%.%.%.key.*%.key: nested deeper than 100 tables$", why)
      assert(#why < 255, #why)
      why = refusal(nested(200))
      assert.matches("^argument 1%[1%]%[1%].*%.%.%.%[1%].*%[1%]: nested deeper than 100 tables$", why)
      why = refusal(nested(200, ("x"):rep(1000)))
      assert.matches("^argument 1%.xxxxx.*: nested deeper than 100 tables$", why)
    end)

    it("and forgets the tables it has met", function()
      local t = {}
      assert.is_string(refusal(t, print))
      assert(same(t, travel(t)))
      local msg = codec.new()
      assert.is_true(msg:encode(t))
      assert.is_true(msg:encode(t)) -- two calls: two tables at the other end
    end)

    it("what is too large, and takes a string of 100 MB", function()
      for _, value in ipairs {1, 1.5, "x", true, {}, codec.pointer(1)} do
        local msg = codec.new()
        assert.same({"the message is larger than 1 GB", "E2BIG", "E2BIG", "E2BIG", "E2BIG", "E2BIG"},
                    {msg:overfull(value)})
        assert.same({0}, {msg:decode()})
      end
      local big = ("x"):rep(100000000)
      assert(big == travel(big))
    end)
  end)

  describe("sends error objects", function()
    local meta = {__tostring = function(e) return "error: " .. e.message end, __name = "error"}
    before_each(function() codec.error_metatable(meta) end)
    after_each(function() codec.error_metatable(nil) end)

    it("with the metatable that the receiver has for them", function()
      local got = travel(setmetatable({code = "late", message = "too late"}, meta))
      assert.equal("error: too late", tostring(got))
      assert.equal("late", got.code)
      local msg = codec.new()
      msg:encode(setmetatable({message = "m"}, meta), {setmetatable({message = "inner"}, meta)})
      local other = {}
      codec.error_metatable(other)
      local _, outer, inner = msg:decode()
      assert.equal(other, getmetatable(outer))
      assert.equal(other, getmetatable(inner[1]))
      codec.error_metatable(nil)
      assert.is_nil(getmetatable((select(2, msg:decode()))))
    end)

    it("and tells them from tables that only look the same", function()
      assert.is_nil(getmetatable(travel({code = "late", message = "too late"})))
      assert.is_nil(getmetatable(travel(setmetatable({message = "m"}, {__tostring = meta.__tostring}))))
    end)

    it("also those with many fields", function()
      local e = setmetatable({message = "m"}, meta)
      for i = 1, 300 do e["k" .. i] = i end
      local got = travel(e)
      assert.equal(meta, getmetatable(got))
      assert.equal(300, got.k300)
    end)
  end)

  describe("trusts no bytes", function()
    --- Decoding and the check without a VM agree; returns whether they accept.
    local function accepts(bytes, argc, flags)
      local msg = codec.from(bytes, argc, flags)
      local count, code = msg:decode()
      assert((count ~= nil) == msg:valid(), seed)
      assert(count or code == INVALID, code)
      msg:show(0, 3, 200) -- these may read anything, and only must not fall
      msg:show(1)
      msg:first_string()
      msg:first_field("message")
      return count ~= nil
    end

    local u32 = function(n) return string.pack("<I4", n) end

    it("and takes whole payloads only", function()
      assert.is_true(accepts("", 0))
      assert.is_true(accepts("\x10\x11", 2))
      assert.is_false(accepts("\x10\x11", 1)) -- something is left
      assert.is_false(accepts("\x10\x11", 3)) -- something is missing
      assert.is_false(accepts("", 1))
      assert.is_false(accepts(("\x10"):rep(251), 251))
    end)

    it("and no tag that there is not", function()
      for tag = 0xd0, 0xff do assert.is_false(accepts(string.char(tag) .. ("\0"):rep(20), 1)) end
    end)

    it("and a name only where it is a string", function()
      assert.is_true(accepts("\x81a\x10", 1, codec.NAMED))
      assert.is_true(accepts("\x81a", 0, codec.NAMED))
      assert.is_false(accepts("\x10\x10", 1, codec.NAMED))
      assert.is_false(accepts("", 0, codec.NAMED))
      assert.is_false(accepts("\xcc\0\0", 0, codec.NAMED))
      assert.same({2, "a", 0}, {codec.from("\x81a\x10", 1, codec.NAMED):decode()})
    end)

    it("and no length or count that the bytes can't hold", function()
      assert.is_false(accepts("\x85abcd", 1))
      assert.is_false(accepts("\xc8\5abcd", 1))
      for _, n in ipairs {5, 0x7fffffff, 0x80000000, 0xffffffff} do
        assert.is_false(accepts("\xc9" .. u32(n) .. "abcd", 1))
        assert.is_false(accepts("\xce" .. u32(n) .. u32(0) .. "\x10\x10\x10\x10", 1))
        assert.is_false(accepts("\xce" .. u32(0) .. u32(n) .. "\x10\x10\x10\x10", 1))
        assert.is_false(accepts("\xcf" .. u32(n) .. u32(n) .. "\x10\x10\x10\x10", 1))
      end
      assert.is_true(accepts("\xce" .. u32(0) .. u32(2) .. "\x10\x10\x11\x10", 1))
      assert.is_false(accepts("\xce" .. u32(0) .. u32(3) .. "\x10\x10\x11\x10\x12", 1))
    end)

    it("and allocates no more than in proportion to them", function()
      local filler = ("\x10"):rep(1000000)
      local hungry = {}
      for i = 1, 99 do hungry[i] = "\xce" .. u32(900000) .. u32(0) end -- each promises nearly all that is left
      collectgarbage()
      collectgarbage("stop")
      local before = collectgarbage("count")
      local ok = accepts(table.concat(hungry) .. filler, 1)
      local used = collectgarbage("count") - before
      collectgarbage("restart")
      assert.is_false(ok)
      assert(used < 40 * 1000, used) -- KB: a slot of 16 bytes for each byte, and not 99 times that
    end)

    it("and no nesting beyond the bound", function()
      local function deep(n) return ("\xcc\1\0"):rep(n - 1) .. "\xcc\0\0" end
      assert.is_true(accepts(deep(100), 1))
      assert.is_false(accepts(deep(101), 1))
      assert.is_false(accepts(deep(100000), 1))
      assert.is_false(accepts(("\xcc\0\1\x10"):rep(100000) .. "\x10", 1))
    end)

    it("and no key that Lua would not take, nor a table", function()
      assert.is_true(accepts("\xcc\0\1\x81a\x10", 1))
      assert.is_false(accepts("\xcc\0\1\xc0\x10", 1))
      assert.is_false(accepts("\xcc\0\1\xc7" .. string.pack("<d", nan) .. "\x10", 1))
      assert.is_true(accepts("\xcc\0\1\xc7" .. string.pack("<d", 1.0) .. "\x10", 1)) -- becomes the key 1
      assert.is_false(accepts("\xcc\0\1\xcc\0\0\x10", 1))
    end)

    describe("made at random", function()
      local function random_string()
        local bytes, len = {}, math.random(0, math.random(3) == 1 and 300 or 8)
        for i = 1, len do bytes[i] = math.random(0, 255) end
        return string.char(table.unpack(bytes))
      end

      local special = {0.0, -0.0, inf, -inf, nan, odd_nan, 5e-324, 1e308}
      local scalars = {
        function() return math.random(-20, 130) end,
        function() return math.random(0) >> math.random(0, 63) end,
        function() return -(math.random(0) >> math.random(1, 63)) end,
        function() return math.random() * 10.0 ^ math.random(-300, 300) end,
        function() return special[math.random(#special)] end,
        random_string,
        function() return math.random(2) == 1 end,
        function() return codec.pointer(math.random(0) >> math.random(0, 63)) end,
        function() return codec.pointer(0) end,
      }
      local function scalar() return scalars[math.random(#scalars)]() end

      local function tree(depth)
        if depth == 0 or math.random(3) > 1 then return scalar() end
        local t = {}
        for i = 1, math.random(0, 6) do t[i] = tree(depth - 1) end
        for _ = 1, math.random(0, 4) do
          local key = scalar()
          if key == key then t[key] = tree(depth - 1) end
        end
        return t
      end

      local function payload()
        local msg = codec.new()
        local args = {n = math.random(0, 5)}
        for i = 1, args.n do args[i] = math.random(8) > 1 and tree(4) or nil end
        assert(msg:encode(table.unpack(args, 1, args.n)))
        return msg, args
      end

      local function why(what, round) return ("%s, round %d, SEED=%d"):format(what, round, seed) end

      it("trees of values come back equal, and again after a second way", function()
        math.randomseed(seed)
        for round = 1, 2000 do
          local msg, args = payload()
          assert(msg:valid(), why("not valid", round))
          local got = table.pack(msg:decode())
          assert.equal(args.n, got[1])
          for i = 1, args.n do assert(same(args[i], got[i + 1]), why("argument " .. i, round)) end
          local again = table.pack(travel(table.unpack(got, 2, got.n)))
          for i = 1, args.n do assert(same(args[i], again[i]), why("second way, argument " .. i, round)) end
        end
      end)

      it("payloads cut short are refused", function()
        math.randomseed(seed)
        for round = 1, 300 do
          local msg = payload()
          local bytes, argc = msg:bytes(), msg:header().argc
          for cut = 0, math.min(#bytes - 1, 400) do
            assert(not accepts(bytes:sub(1, cut), argc), why("cut at " .. cut, round))
          end
        end
      end)

      it("payloads with bytes changed are judged alike, and what is taken can be sent on", function()
        math.randomseed(seed)
        local taken = 0
        for _ = 1, 600 do
          local msg = payload()
          local whole, argc = {msg:bytes():byte(1, 5000)}, msg:header().argc
          for _ = 1, #whole > 0 and 12 or 0 do
            local bytes = table.move(whole, 1, #whole, 1, {})
            for _ = 1, math.random(3) do
              bytes[math.random(#bytes)] = math.random(3) == 1 and math.random(0xc0, 0xd0) or math.random(0, 255)
            end
            local changed = string.char(table.unpack(bytes))
            if accepts(changed, argc) then
              taken = taken + 1
              local got = table.pack(codec.from(changed, argc):decode())
              local again = table.pack(travel(table.unpack(got, 2, got.n)))
              for i = 1, argc do assert(same(got[i + 1], again[i]), seed) end
            end
          end
        end
        assert(taken > 100, taken) -- or the spec looks at nothing
      end)

      it("bytes of no origin are judged alike", function()
        math.randomseed(seed)
        for _ = 1, 20000 do
          local bytes = {}
          for i = 1, math.random(0, 40) do
            bytes[i] = math.random(2) == 1 and math.random(0xc0, 0xd0) or math.random(0, 255)
          end
          accepts(string.char(table.unpack(bytes)), math.random(0, 3), math.random(0, 1))
        end
      end)
    end)
  end)
end)
