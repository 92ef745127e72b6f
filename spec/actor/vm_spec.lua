--- What vm.h leans on that Lua's manual does not promise: the main state can be resumed, yield, fail, be reset, and be
--- used again, for ever.
local vm = require "door.vm"

local MB <const> = 1 << 20

local function new(limit)
  return assert(vm.new(limit or 64 * MB))
end

local function run(v, ...) return table.pack(v:run(...)) end
local function resume(v, ...) return table.pack(v:resume(...)) end

describe("a VM's main state", function()
  it("runs to the end and gives results", function()
    local v = new()
    assert.are.same({"ok", 3, "x", n = 3}, run(v, "local a, b = ... return a + 1, b", 2, "x"))
    assert.are.same({"ok", n = 1}, run(v, ""))
    v:close()
  end)

  it("yields and is resumed, as often as one likes, at any depth", function()
    local v = new()
    assert.are.same({"yield", 1, n = 2}, run(v, [[
      local function deep(n) if n == 0 then return yield(1) end local r = deep(n - 1) return r end
      local sum = deep(100)
      for i = 1, 1000 do sum = sum + yield(i) end
      return sum]]))
    assert.are.same({"yield", 1, n = 2}, resume(v, 1000))
    for i = 2, 1000 do assert(resume(v, i - 1)[2] == i) end
    assert.are.same({"ok", 1000 + 999 * 1000 // 2 + 7, n = 2}, resume(v, 7))
  end)

  it("yields across pcall, metamethods, iterators and coroutines' ends", function()
    local v = new()
    assert.are.same({"yield", "in pcall", n = 2}, run(v, [[
      local good, e = pcall(function() local got = yield "in pcall" error(got) end)
      local t = setmetatable({}, {__index = function(_, k) return yield(k) end, __add = function(_, n) return yield(n) end})
      local a = t.key
      local b = t + 5
      local c
      for x in function() return yield "next" end do c = x break end
      local d = select(2, coroutine.resume(coroutine.create(function(x) return x * 2 end), 21))
      do local closing <close> = setmetatable({}, {__close = function() yield "closing" end}) end
      return good, e, a, b, c, d]]))
    assert.are.same({"yield", "key", n = 2}, resume(v, "raised"))
    assert.are.same({"yield", 5, n = 2}, resume(v, "a"))
    assert.are.same({"yield", "next", n = 2}, resume(v, "b"))
    assert.are.same({"yield", "closing", n = 2}, resume(v, "c"))
    assert.are.same({"ok", false, "text:1: raised", "a", "b", "c", 42, n = 7}, resume(v))
  end)

  it("fails, is reset, and runs again", function()
    local v = new()
    for i = 1, 1000 do
      local got = run(v, "local n = ... local function f() error('number ' .. n, 0) end f()", i)
      assert(got[1] == "error" and got[2] == "number " .. i)
      assert.are.equal("error", (v:reset()))
      assert(run(v, "return ... * 2", i)[2] == 2 * i)
    end
    assert.are.same({"error", "table", n = 2}, run(v, "error {}"))
    v:reset()
    assert.are.same({"error", nil, n = 2}, run(v, "error()"))
    v:reset()
    assert.are.same({"ok", 1, n = 2}, run(v, "return 1"))
  end)

  it("that is suspended is reset, and closes what is to be closed", function()
    local v = new()
    for _ = 1, 1000 do
      assert.are.equal("yield", (v:run [[
        closed = 0
        local a <close> = setmetatable({}, {__close = function() closed = closed + 1 end})
        pcall(function()
          local b <close> = setmetatable({}, {__close = function() closed = closed + 10 end})
          yield()
        end)]]))
      assert.are.equal("ok", (v:reset()))
      assert(run(v, "return closed")[2] == 11)
    end
  end)

  it("whose closing fails is reset all the same, and tells", function()
    local v = new()
    v:run "local a <close> = setmetatable({}, {__close = function() error('late', 0) end}) yield()"
    assert.are.same({"error", "late", n = 2}, table.pack(v:reset()))
    assert.are.same({"ok", 1, n = 2}, run(v, "return 1"))
  end)

  it("survives a stack overflow and memory that ran out, and gives all of it back", function()
    local v = new(2 * MB)
    local before
    for i = 1, 20 do
      local status = v:run "local function f() return 1 + f() end return f()"
      assert(status == "memory" or status == "error", status) -- whichever limit comes first
      v:reset()
      assert.are.equal("memory", (v:run "local t = {} while true do t[#t + 1] = {} end"))
      v:reset()
      assert.are.equal("memory", (v:run "return ('x'):rep(1 << 30)"))
      v:reset()
      assert.are.equal("yield", (v:run "local t = {} for i = 1, 1000 do t[i] = {} end yield()"))
      v:reset()
      local used = v:used()
      if i == 3 then before = used end
      assert(i <= 3 or used <= before + 4096, used)
    end
  end)

  it("is opened in any memory or not at all", function()
    local opened
    for limit = 0, 60000, 500 do
      local v = vm.new(limit)
      if v then
        opened = opened or limit
        pcall(v.run, v, "return 1")
        v:close()
      else
        assert(not opened, limit)
      end
    end
    assert(opened)
  end)

  it("lives beside hundreds of others", function()
    local all = {}
    for i = 1, 300 do
      all[i] = new(MB)
      all[i]:run("mine = ... yield()", i)
    end
    for i = 1, 300 do assert.are.equal("ok", (all[i]:resume())) end
    for i = 1, 300 do assert(run(all[i], "return mine")[2] == i) end
    for i = 1, 300 do all[i]:close() end
  end)
end)

describe("a deadline", function()
  it("ends what loops, however it is wrapped", function()
    for _, text in ipairs {"while true do end", "while true do pcall(function() while true do end end) end",
                           "xpcall(function() while true do end end, function() while true do end end)",
                           "table.sort({3, 2, 1}, function() while true do end end)",
                           "local a <close> = setmetatable({}, {__close = function() while true do end end}) while true do end"} do
      local v = new()
      v:deadline(20)
      local status = v:run(text)
      assert(status ~= "ok" and status ~= "yield", text .. ": " .. status)
      v:close()
    end
  end)

  it("does not touch what ends in time", function()
    local v = new()
    v:deadline(60000)
    assert.are.same({"ok", 500000500000, n = 2}, run(v, "local s = 0 for i = 1, 1000000 do s = s + i end return s"))
  end)
end)

describe("a doomed VM", function()
  it("gets out of everything that catches", function()
    for _, text in ipairs {"doom()", "pcall(doom) return 'caught'", "while true do pcall(doom) end",
                           "xpcall(doom, function() return 'handled' end) return 'caught'",
                           "xpcall(doom, function() while true do end end)",
                           "pcall(pcall, pcall, doom) while true do pcall(error) end",
                           "table.sort({2, 1}, function() pcall(doom) while true do end end)",
                           "local a <close> = setmetatable({}, {__close = function() while true do end end}) doom()"} do
      local v = new()
      local status, what = v:run(text)
      assert(status ~= "ok" and status ~= "yield", text .. ": " .. status)
      assert(what ~= "caught" and what ~= "handled", text)
      assert.is_true(v:doomed())
      v:close()
    end
  end)
end)
