--- Errors of every shape, deep recursion, and ends in odd places: always one ordinary end, and the node lives.
local world = require "spec.robust.world"
local node = require "spec.support.node"

--- An actor that does `text` (with `self` and the arguments `...`) when it is told to go.
local function doer(text, more)
  return ([[
    local throng = require "throng"
    local Doer = {}
    %s
    function Doer:on_go(...) %s end
    function Doer:on_ping() return "pong" end
    return Doer
  ]]):format(more or "", text)
end

describe("a handler that raises", function()
  it("ends its actor with reason and traceback; the asker gets both", function()
    world.run {files = {["doer.lua"] = doer "local t = nil; return t.x"}, body = [[
      local pid = check.begin({}, "doer")
      local e = check.raises("attempt to index a nil value", pid.ask, pid, "go")
      check.same("error", e.code)
      check.same(pid, e.actor)
      check.same("doer", e.behaviour)
      check.same("string", type(e.version))
      assert(e.traceback:find("doer.lua:", 1, true), e.traceback)
      local reason = check.fate(pid)
      check.same(e.message, reason.message)
      check.same(e.traceback, reason.traceback)
      check.same(1, check.downs(pid))
      check.same("down", check.raises("", pid.ask, pid, "ping").code)
      local sent, why = pid:send("ping")
      check.same(false, sent) check.same("dead", why)
    ]]}
  end)

  it("may raise anything", function()
    local cases <const> = {
      nothing = "error()", empty = "error('')", number = "error(42)", float = "error(0.5)", boolean = "error(false)",
      func = "error(print)", thread = "error(coroutine.create(print))", plain = "error({})",
      code = "error({code = 'mine', message = 'my own', extra = {1, 2}})",
      odd_code = "error({code = 5, message = {}})", functions = "error({code = 'mine', f = print, [print] = 1, ok = 'yes'})",
      cycle = "local t = {code = 'mine'} t.t = t error(t)", keys = "error({[1] = 2, [true] = 3, [{}] = 4, x = 5})",
      raising = "error(setmetatable({}, {__tostring = function() error 'again' end}))",
      looping = "error(setmetatable({}, {__tostring = function() while true do end end}))",
      index = "error(setmetatable({}, {__index = function() error 'again' end, __pairs = function() error 'p' end}))",
      pid = "error(throng.self())", huge = "error(('x'):rep(10 * 2^20))", huge_message = "error({message = ('x'):rep(10 * 2^20)})",
      binary = "error('\\0\\1\\27[31m\\255\\n')", nested = "local t = {} for _ = 1, 1000 do t = {t} end error(t)",
      format = "error('%s%s%n%d')", concat = "error(('x'):rep(100):gsub('x', '%%%%s'))",
      close = "local x <close> = setmetatable({}, {__close = function() error 'in close' end}) error 'first'",
      xpcall_handler = "xpcall(error, function() error 'in handler' end) error 'after'",
      assert_nil = "assert(nil)", assert_table = "assert(false, {code = 'mine'})",
      recursive_handler = "local function h() local x = nil; return x.y end xpcall(error, h) error 'after'",
    }
    local files, names = {}, {}
    for name, text in pairs(cases) do
      files["raise_" .. name .. ".lua"] = doer(text)
      names[#names + 1] = ("%q"):format(name)
    end
    world.run {files = files, options = {"--set", "actor.memory=256m"}, body = ([[
      for _, name in ipairs {%s} do
        local pid = check.begin({}, "raise_" .. name)
        local good, e = pcall(pid.ask, pid, "go")
        check.same(false, good, name)
        check.same("table", type(e), name)
        assert(e.code ~= nil, name)
        check.same("string", type(tostring(e)), name)
        assert(e.traceback, name)
        local reason = check.fate(pid)
        check.same("table", type(reason), name)
        check.same(e.message ~= nil, reason.message ~= nil, name)
        check.same(1, check.downs(pid), name)
      end
    ]]):format(table.concat(names, ","))}
  end)

  it("gives the code and fields of an error table that it raised", function()
    world.run {files = {["doer.lua"] = doer "error({code = 'mine', message = 'my own', extra = {1, 2}, f = print})"}, body = [[
      local pid = throng.spawn("doer")
      local e = check.raises("my own", pid.ask, pid, "go")
      check.same("mine", e.code) check.same(2, e.extra[2]) check.same(nil, e.f)
      check.same("my own", tostring(e))
    ]]}
  end)

  it("as an error in terminate, is logged and ends it all the same", function()
    local r = world.run {files = {["doer.lua"] = doer("", "function Doer:terminate() error 'late' end")}, body = [[
      local pid = check.begin({wait = 600000}, "doer") -- who is stopped before its init is done has no terminate
      throng.stop(pid, "enough")
      check.fate(pid)
      check.same(1, check.downs(pid))
    ]]}
    assert(r.err:find("late"), r.err)
  end)

  it("as an error in on_down, on_exit, on_other or a fork, is an ordinary crash", function()
    world.run {files = {
      ["down.lua"] = doer("throng.monitor(throng.spawn('dies'))", "function Doer:on_down() error 'in down' end"),
      ["exit.lua"] = doer("throng.trap_exits(true) throng.link(throng.spawn('dies'))", "function Doer:on_exit() error 'in exit' end"),
      ["other.lua"] = doer("throng.self():send('what')", "function Doer:on_other() error 'in other' end"),
      ["fork.lua"] = doer("throng.fork(function() error 'in fork' end)"),
      ["timer.lua"] = doer("throng.after(1, 'bang')", "function Doer:on_bang() error 'in timer' end"),
      ["dies.lua"] = "return {init = function() error 'dies' end}",
    }, body = [[
      for _, name in ipairs {"down", "exit", "other", "fork", "timer"} do
        local pid = check.begin({}, name)
        pid:send("go")
        assert(check.fate(pid).message:find("in " .. name), name)
      end
    ]]}
  end)
end)

describe("deep recursion", function()
  it("in Lua, in C and in both is an ordinary crash", function()
    local cases <const> = {
      lua = "local function f() return 1 + f() end return f()",
      lua_in_sort = "local function f() return 1 + f() end table.sort({1, 2, 3}, f)",
      table_index = "local t = setmetatable({}, {}) getmetatable(t).__index = function(t, k) return t[k + 1] end return t[1]",
      index_chain = "local t = {} setmetatable(t, {__index = t}) return t.x.y",
      sort = "local function f() table.sort({1, 2, 3}, f) end f()",
      gsub = "local function f() return (('x'):gsub('x', f)) end f()",
      pcall_chain = "local function f() local ok, e = pcall(f) error(e, 0) end f()",
      tostring = "local mt = {} mt.__tostring = function(t) return tostring(t) end return tostring(setmetatable({}, mt))",
      concat = "local mt = {} mt.__concat = function(a, b) return a .. b end return setmetatable({}, mt) .. 'x'",
      eq = "local mt = {} mt.__eq = function(a, b) return a == b end return setmetatable({}, mt) == setmetatable({}, mt)",
      load = "return load(('('):rep(100000) .. '1' .. (')'):rep(100000)) or error 'too deep'",
      load_blocks = "return load(('do '):rep(100000) .. ('end '):rep(100000)) or error 'too deep'",
      load_functions = "return load(('return function() '):rep(1000) .. ('end '):rep(1000)) or error 'too deep'",
      load_concat = "return load('return ' .. ('\"x\" .. '):rep(100000) .. '\"x\"') or error 'too deep'",
      pattern = "return ('x'):rep(300000):find(('(x)'):rep(33))",
      pattern_deep = "return ('x'):rep(300000):find(('x?'):rep(300000) .. 'y') and 1 or error 'no'",
      unpack = "return table.unpack({}, 1, 1e7)",
      unpack_far = "return table.unpack({}, 1, math.maxinteger)",
      coroutines = "local function f() coroutine.wrap(f)() end f()",
      coroutines_resume = "local function f() assert(coroutine.resume(coroutine.create(f))) end f()",
      closes = [[local function f() local x <close> = setmetatable({}, {__close = f}) end f()]],
      closes_wrap = [[local function f() coroutine.wrap(function() local x <close> = setmetatable({}, {__close = f}) end)() end f()]],
      xpcall_handler = "local function h() xpcall(error, h) end error(select(2, xpcall(error, h)))",
      require_itself = "require 'rec_require_itself' error 'enough'",
    }
    local files, names = {}, {}
    for name, text in pairs(cases) do
      files["rec_" .. name .. ".lua"] = doer(text)
      names[#names + 1] = ("%q"):format(name)
    end
    local r = world.run {files = files, timeout = 120, options = {"--set", "actor.memory=256m"}, body = ([[
      for _, name in ipairs {%s} do
        local pid = check.begin({}, "rec_" .. name)
        local good, e = pcall(pid.ask, pid, "go")
        if good then
          print("no error: " .. name)
          throng.kill(pid)
        else
          check.same("table", type(e), name)
          assert(e.code == "error" or e.code == "memory", name)
          assert(check.fate(pid).message, name)
        end
      end
    ]]):format(table.concat(names, ","))}
    local harmless <const> = {index_chain = true, closes = true, xpcall_handler = true} -- Lua itself finds its way out
    for _, line in ipairs(r.lines) do
      local name = line:match("^no error: (.*)")
      assert(not name or harmless[name], line)
    end
  end)

  it("of thousands of coroutines, one in the other, is an error in the script that it can catch", function()
    world.run {files = {["doer.lua"] = doer [[
      local depth = 0
      local function deeper()
        depth = depth + 1
        local co = coroutine.create(deeper)
        local good, e = coroutine.resume(co)
        if not good then error(e, 0) end
      end
      local good, e = pcall(deeper)
      return good, tostring(e), depth
    ]]}, body = [[
      local pid = throng.spawn("doer")
      for _ = 1, 3 do
        local good, e, depth = pid:ask("go")
        check.same(false, good)
        assert(e:find("C stack overflow"), e)
        assert(depth >= 100, depth)
        check.same("pong", pid:ask("ping"))
      end
    ]]}
  end)
end)

describe("throng.exit", function()
  local places <const> = {
    plainly = "throng.exit(...)",
    pcall = "pcall(throng.exit, ...) while true do end",
    pcall_twice = "pcall(pcall, throng.exit, ...) error 'no'",
    xpcall = "xpcall(throng.exit, print, ...) error 'no'",
    coroutine = "local why = ... coroutine.wrap(function() throng.exit(why) end)() error 'no'",
    resume = "coroutine.resume(coroutine.create(throng.exit), ...) error 'no'",
    nested = "local why = ... coroutine.wrap(function() coroutine.wrap(function() pcall(throng.exit, why) error 'no' end)() end)()",
    sort = "local why = ... pcall(table.sort, {3, 2, 1}, function() throng.exit(why) end) error 'no'",
    sort_coroutine = "local why = ... table.sort({3, 2, 1}, function() coroutine.wrap(function() throng.exit(why) end)() end) error 'no'",
    gsub = "local why = ... ('x'):gsub('x', function() pcall(throng.exit, why) while true do end end) error 'no'",
    close = "local why = ... do local x <close> = setmetatable({}, {__close = function() throng.exit(why) end}) end error 'no'",
    close_coroutine = [[local why = ...
      local co = coroutine.create(function() local x <close> = setmetatable({}, {__close = function() throng.exit(why) end}) coroutine.yield() end)
      coroutine.resume(co) coroutine.close(co) error 'no']],
    close_error = "local why = ... local x <close> = setmetatable({}, {__close = function() throng.exit(why) end}) error 'no'",
    metamethod = "local why = ... local t = setmetatable({}, {__add = function() throng.exit(why) end}) return t + 1",
    tostring = "local why = ... tostring(setmetatable({}, {__tostring = function() throng.exit(why) end})) error 'no'",
    index = "local why = ... local t = setmetatable({}, {__index = function() throng.exit(why) end}) return t.x",
    iterator = "local why = ... for _ in function() throng.exit(why) end do end",
    handler = "local why = ... xpcall(error, function() throng.exit(why) end) error 'no'",
    load_reader = "local why = ... load(function() throng.exit(why) end) error 'no'",
    fork = "throng.fork(throng.exit, ...)",
    fork_wait = "local why = ... throng.fork(function() throng.sleep(1) throng.exit(why) end) throng.sleep(1e9)",
    twice = "local why = ... local x <close> = setmetatable({}, {__close = function() throng.exit 'other' end}) throng.exit(why)",
    sleeping_close = "local why = ... local x <close> = setmetatable({}, {__close = function() throng.sleep(1e9) end}) throng.exit(why)",
    looping_fork = "throng.fork(function() while true do end end) throng.exit(...)",
  }
  it("ends the actor with its reason wherever it is called, and can't be caught", function()
    local files, names = {}, {}
    for name, text in pairs(places) do
      files["exit_" .. name .. ".lua"] = doer(text)
      names[#names + 1] = ("%q"):format(name)
    end
    table.sort(names)
    world.run {files = files, body = ([[
      for _, name in ipairs {%s} do
        print(name)
        local pid = check.begin({}, "exit_" .. name)
        pid:send("go", "reason of " .. name)
        check.same("reason of " .. name, check.fate(pid), name)
        check.same(1, check.downs(pid), name)
      end
    ]]):format(table.concat(names, ","))}
  end)

  it("in init ends the actor, whoever waits for it is told", function()
    world.run {files = {
      ["leaves.lua"] = "return {init = function() require 'throng'.exit('gone') end}",
      ["leaves_later.lua"] = "local throng = require 'throng' return {init = function() throng.sleep(5) throng.exit('gone') end}",
    }, body = [[
      for _, name in ipairs {"leaves", "leaves_later"} do
        check.same("gone", check.ends(name))
        local e = check.raises("", throng.spawn_with, {wait = 60000}, name)
        check.same("down", e.code) check.same("gone", e.reason)
      end
    ]]}
  end)

  it("in terminate, or with a reason that can't be sent, does no harm", function()
    world.run {files = {
      ["ends.lua"] = doer("", "function Doer:terminate() throng.exit 'other' end"),
      ["func.lua"] = doer "throng.exit(print)",
      ["none.lua"] = doer "throng.exit(nil)",
      ["table.lua"] = doer "throng.exit({code = 'mine'})",
    }, body = [[
      local pid = check.begin({}, "ends")
      throng.stop(pid, "first")
      check.same("first", check.fate(pid))
      pid = check.begin({}, "func")
      check.raises("function", pid.ask, pid, "go")
      assert(check.fate(pid).message:find("function"))
      pid = check.begin({}, "none")
      pid:send("go")
      check.same("normal", check.fate(pid))
      pid = check.begin({}, "table")
      pid:send("go")
      check.same("mine", check.fate(pid).code)
    ]]}
  end)
end)

describe("kill", function()
  it("of oneself ends the actor wherever it is called", function()
    local files, names = {}, {}
    for name, text in pairs {
      plainly = "throng.kill(throng.self()) error 'no'", pcall = "pcall(throng.kill, throng.self()) while true do end",
      sort = "pcall(table.sort, {3, 2, 1}, function() throng.kill(throng.self()) end) while true do end",
      coroutine = "coroutine.wrap(throng.kill)(throng.self()) while true do end",
      trapping = "throng.trap_exits(true) throng.kill(throng.self())",
    } do
      files["kill_" .. name .. ".lua"] = doer(text)
      names[#names + 1] = ("%q"):format(name)
    end
    world.run {files = files, body = ([[
      for _, name in ipairs {%s} do
        local pid = check.begin({}, "kill_" .. name)
        pid:send("go")
        check.same("killed", check.fate(pid), name)
      end
    ]]):format(table.concat(names, ","))}
  end)

  it("of the root by another ends the node with 1", function()
    local r = node.run {files = {["killer.lua"] = "return {init = function(_, pid) require 'throng'.kill(pid) end}"},
      script = "local throng = require 'throng' return {init = function() throng.spawn('killer', throng.self()) end}"}
    assert.are.equal(1, r.code)
    assert(r.err:find("throng: .*killed"), r.err)
  end)

  it("and stop end an actor that sleeps for ever in init, or asks there, or loops there", function()
    world.run {files = {
      ["sleeps.lua"] = "return {init = function() require 'throng'.sleep(1e12) end}",
      ["asks.lua"] = "return {init = function(_, pid) require 'throng'.ask_within(1e9, pid, 'never') end}",
      ["loops.lua"] = "return {init = function() while true do end end}",
      ["mute.lua"] = "return {on_never = function() require 'throng'.sleep(1e12) end}",
    }, body = [[
      local mute = throng.spawn("mute")
      for _, name in ipairs {"sleeps", "asks"} do
        local pid = check.begin({}, name, mute)
        check.same(true, throng.stop(pid, "enough"))
        check.same("enough", check.fate(pid), name)
      end
      for _, name in ipairs {"sleeps", "asks", "loops"} do
        local pid = check.begin({}, name, mute)
        check.same(true, throng.kill(pid))
        check.same("killed", check.fate(pid), name)
      end
    ]]}
  end)
end)

describe("shutdown", function()
  it("from several actors at once ends the node once, with a code of one of them", function()
    local r = node.run {files = {["ender.lua"] = "return {init = function(_, code) require 'throng'.shutdown(code) end}"},
      script = [[local throng = require "throng"
      return {init = function() for code = 10, 59 do throng.spawn("ender", code) end end}]]}
    assert(r.code >= 10 and r.code <= 59, r.code)
  end)

  it("in init, in a fork, in terminate, in a coroutine inside sort: ends with the first code", function()
    local function code(text, more)
      return node.run({script = "local throng = require 'throng' local Root = {}\n" ..
        "function Root:init() " .. text .. " end " .. (more or "") .. " return Root"}).code
    end
    assert.are.equal(5, code "throng.shutdown(5) throng.shutdown(6)")
    assert.are.equal(5, code "throng.fork(throng.shutdown, 5)")
    assert.are.equal(5, code "table.sort({1, 2}, coroutine.wrap(function() throng.shutdown(5) return true end))")
    assert.are.equal(5, code("throng.shutdown(5)", "function Root:terminate() require 'throng'.shutdown(9) end"))
    assert.are.equal(5, code "throng.shutdown(5) error 'after'")
    assert.are.equal(5, code "throng.shutdown(5) throng.exit 'after'")
    assert.are.equal(5, code "throng.shutdown(5) throng.kill(throng.self())")
  end)

  it("does not wait for ever for actors that loop, sleep, pcall or spawn", function()
    local r = node.run {options = {"--set", "stop.timeout=200"}, files = {
      ["loops.lua"] = "return {init = function() while true do end end}",
      ["pcalls.lua"] = "return {init = function() while true do pcall(function() while true do end end) end end}",
      ["sleeps.lua"] = "return {init = function() require 'throng'.sleep(1e12) end}",
      ["sorts.lua"] = "return {init = function() table.sort({1,2,3}, function() while true do end end) end}",
      ["spawns.lua"] = "local throng = require 'throng' return {init = function() throng.sleep(1) throng.spawn('spawns') end, terminate = function() throng.spawn('spawns') end}",
      ["terminates.lua"] = "return {terminate = function() while true do end end}",
      ["terminate_sleeps.lua"] = "return {terminate = function() require 'throng'.sleep(1e12) end}",
      ["asks.lua"] = "local throng = require 'throng' return {terminate = function() throng.ask_within(1e9, throng.parent(), 'x') end}",
    }, script = [[local throng = require "throng"
      return {init = function()
        for _, name in ipairs {"loops", "pcalls", "sleeps", "sorts", "spawns", "terminates", "terminate_sleeps", "asks"} do throng.spawn(name) end
        throng.sleep(20)
        throng.shutdown(4)
      end}]]}
    assert.are.equal(4, r.code, r.err)
  end)
end)
