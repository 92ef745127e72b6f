--- Wrong arguments to every function a script can call: always a Lua error that names the function, never a crash.
local world = require "spec.robust.world"

--- Runs in the node. `right` holds one good list of arguments for each function; each of its arguments is replaced by
--- each wrong value, and what is raised must be about that.
local BODY <const> = [==[
  local function values()
    local deep = {}
    for _ = 1, 300 do deep = {deep} end
    local list = {
      {"nil"}, {"false", false}, {"true", true}, {"0", 0}, {"-1", -1}, {"1", 1}, {"0.5", 0.5}, {"nan", 0/0}, {"inf", math.huge},
      {"-inf", -math.huge}, {"maxint", math.maxinteger}, {"minint", math.mininteger}, {"1e300", 1e300}, {"empty", ""},
      {"text", "text"}, {"zero byte", "\0"}, {"number text", "12"}, {"long", ("x"):rep(100000)}, {"format", "%s%n%d"},
      {"table", {}}, {"odd table", {[1] = print, x = {}}}, {"deep", deep}, {"meta", setmetatable({}, {__index = function() error "index" end,
        __tostring = function() error "tostring" end, __len = function() return 1e9 end, __name = 5})},
      {"function", function() end}, {"cfunction", print}, {"coroutine", coroutine.create(print)},
      {"pid", echo}, {"dead pid", dead}, {"self", throng.self()}, {"timer", timer}, {"monitor", monitor}, {"dead timer", dead_timer},
      {"dead monitor", dead_monitor}, {"pids", {echo, dead}}, {"refs", {timer}}, {"holes", {echo, nil, echo}},
    }
    return list
  end

  local PIDS = {pid = true, ["dead pid"] = true, self = true}
  local TEXTS = {text = true, ["zero byte"] = true, ["number text"] = true, long = true, format = true}
  local function number(from, to) return function(v) v = math.tointeger(v) or v return type(v) == "number" and v >= from and v <= to end end
  local function kind(...)
    local ok = {...}
    return function(v) for _, t in ipairs(ok) do if type(v) == t then return true end end return false end
  end

  local ok_pid = function(_, name) return PIDS[name] end
  local ok_name = function(_, name) return TEXTS[name] and name ~= "long" end
  local ok_text = function(_, name) return TEXTS[name] end
  local ok_ms = function(v) return type(v) == "string" and tonumber(v) or number(0, 1e12)(v) end
  local ok_period = function(v) return type(v) == "string" and tonumber(v) or number(1, 1e12)(v) end
  local ok_who = function(v, name) return type(v) == "boolean" or PIDS[name] end
  local ok_scope = function(v, n) return v == nil or n == "table" or n == "meta" end
  local any = function() return true end

  -- function = {good arguments, which values are right in each place; `false`: none else}
  local WRONG = {
    spawn = {{"echo"}, false}, spawn_with = {{{}, "echo"}, function(_, n) return n == "table" or n == "meta" end, false},
    send = {{echo, "x"}, ok_pid, ok_text}, ask = {{echo, "echo"}, function(_, n) return n == "pid" end, false},
    ask_within = {{1000, echo, "echo"}, ok_ms, function(_, n) return n == "pid" end, false},
    send_all = {{{echo}, "x"}, function(_, n) return n == "table" or n == "pids" or n == "meta" end, ok_text},
    register = {{"name", {}}, ok_name, ok_scope}, unregister = {{"name", {}}, ok_name, ok_scope}, fence = {{"name"}, ok_name},
    whereis = {{"name", "x"}, ok_name, function(v, n) return ok_scope(v, n) or ok_text(v, n) end},
    join = {{"group"}, ok_name}, leave = {{"group"}, ok_name}, members = {{"group"}, ok_name}, groups = {{}},
    publish = {{"group", "x"}, ok_name, ok_text},
    dead_letters = {{echo, true}, ok_who, kind("boolean", "nil")}, crash_reports = {{echo, true}, ok_who, kind("boolean", "nil")},
    watch_nodes = {{echo, true}, ok_who, kind("boolean", "nil")},
    after = {{1e9, "x"}, ok_ms, ok_text}, every = {{1e9, "x"}, ok_period, ok_text},
    cancel = {{timer}, function(_, n) return n == "timer" or n == "dead timer" end}, sleep = {{0}, function(v) return v == 0 or v == 1 or v == 0.5 or v == "12" end},
    fork = {{function() end}, function(v) return type(v) == "function" end},
    monitor = {{echo}, ok_pid}, demonitor = {{monitor}, function(_, n) return n == "monitor" or n == "dead monitor" end},
    await = {{dead, 1}, function(v, n) return PIDS[n] and n ~= "self" end, ok_ms},
    link = {{echo}, function(_, n) return n == "pid" or n == "dead pid" end}, unlink = {{echo}, ok_pid}, trap_exits = {{false}, function(v) return type(v) == "boolean" end},
    kill = {{dead}, ok_pid}, stop = {{dead}, ok_pid, function(v, n)
      return n ~= "odd table" and n ~= "deep" and kind("nil", "number", "boolean", "string", "table", "userdata")(v)
    end},
    self = {{}}, parent = {{}}, sender = {{}}, node = {{}}, nodes = {{}}, now = {{}}, stats = {{}}, deadline = {{}},
    info = {{echo}, ok_pid},
    rollback = {{"nobody", {}}, function(_, n) return n ~= "zero byte" and TEXTS[n] or n == "empty" end,
                function(_, n) return n == "nil" or n == "table" or n == "meta" end},
    reload = {{}}, versions = {{}}, node_info = {{}}, -- all of theirs may be left out: see spec/contract/reload_spec.lua
  }
  local SKIP = {exit = true, shutdown = true, log = true} -- below
  local ENDS_US = {link = {["dead pid"] = true}, kill = {self = true, pid = true}, stop = {self = true, pid = true}}

  local names = {}
  for name in pairs(throng) do names[#names + 1] = name end
  table.sort(names)
  for _, name in ipairs(names) do
    local plan, f = WRONG[name], throng[name]
    assert(plan or SKIP[name], "no plan for throng." .. name)
    if plan then
      local right = plan[1]
      for place = 1, #right do
        for _, case in ipairs(values()) do
          local arguments = table.move(right, 1, #right, 1, {})
          arguments[place] = case[2]
          local ok = plan[place + 1]
          if not (ok and ok(case[2], case[1])) then
            local good, e = pcall(f, table.unpack(arguments, 1, #right))
            local where = ("throng.%s, argument %d = %s"):format(name, place, case[1])
            if good then print("taken: " .. where)
            else
              local text = type(e) == "table" and rawget(e, "message") or e
              if type(e) == "table" and e.code then -- not misuse: what may happen
              elseif type(text) ~= "string" then print("odd error: " .. where .. ": " .. type(text))
              elseif not (text:find(name, 1, true) or text:find("argument", 1, true) or text:find("message ", 1, true)) then
                print("nameless: " .. where .. ": " .. text:sub(1, 100))
              elseif #text > 5000 then print("long: " .. where) end
            end
          elseif not (ENDS_US[name] and ENDS_US[name][case[1]]) then
            local good, e = pcall(f, table.unpack(arguments, 1, #right))
            if not good and case[1] ~= "meta" and not (type(e) == "table" and e.code) then print(("refused: throng.%s, argument %d = %s: %s"):format(name, place, case[1], tostring(e))) end
          end
        end
      end
      if #right > 0 then -- without any
        local good, e = pcall(f)
        if good then print("taken: throng." .. name .. "()") end
        if not good and type(e) ~= "string" then print("odd error: throng." .. name .. "()") end
      end
      pcall(f, table.unpack(right, 1, #right)) -- still right
    end
  end
]==]

describe("wrong arguments", function()
  it("to every function of throng are errors that name the function or the argument", function()
    local r = world.run {options = {"--log", "off"}, timeout = 120, files = {["args.lua"] = [[
      local throng, check = require "throng", require "check"
      local Args = {}
      function Args:on_go()
        local echo, dead = throng.spawn("echo"), throng.spawn("echo")
        local timer, monitor = throng.after(1e9, "x"), throng.monitor(echo)
        local dead_timer, dead_monitor = throng.after(1e9, "x"), throng.monitor(echo)
        throng.cancel(dead_timer) throng.demonitor(dead_monitor)
        throng.kill(dead)
        ]] .. BODY .. [[
        return true
      end
      return Args]]}, body = [[ check.same(true, throng.spawn_with({allow = {"reload"}}, "args"):ask("go")) ]]}
    local complaints = {}
    for _, line in ipairs(r.lines) do
      if line:find("^%a+ ?%a*: ") then complaints[#complaints + 1] = line end
    end
    assert(#complaints == 0, table.concat(complaints, "\n"))
  end)

  it("to exit and shutdown are errors, and do not end anything", function()
    world.run [[
      for _, code in ipairs {-1, 256, 1.5, 0/0, math.huge, "x", {}, true, print, echo, math.maxinteger, math.mininteger} do
        check.raises("argument #1", throng.shutdown, code)
      end
      local cycle = {}
      cycle[1] = cycle
      for _, reason in ipairs {print, {print}, coroutine.create(print), cycle} do check.raises("exit", throng.exit, reason) end
    ]]
  end)

  it("to methods of pids are errors that name them", function()
    world.run [[
      for _, wrong in ipairs {1, "x", {}, print, true} do
        check.raises("pid expected", function() echo.send(wrong, "x") end)
        check.raises("pid expected", function() echo.ask(wrong, "x") end)
        check.raises("", function() return echo:send(wrong ~= "x" and wrong ~= 1 and wrong or nil) end)
      end
      check.raises("'send'.*pid expected", function() echo.send() end)
      check.raises("'ask'.*pid expected", function() echo.ask() end)
      check.raises("", function() return echo.nothing() end)
      check.raises("", function() echo.x = 1 end)
      check.raises("", function() return echo + 1 end)
      check.raises("", function() return #echo end)
      check.raises("", function() return echo() end)
      check.raises("", function() return echo .. "" end)
      check.raises("", function() return echo < echo end)
      check.same(false, getmetatable(echo))
      check.raises("", setmetatable, echo, {})
      local timer = throng.after(1e9, "x")
      check.raises("pid", timer.send, timer, "x")
      check.raises("pid", timer.ask, timer, "x")
      check.same("userdata", type(echo))
      assert(tostring(echo):find("^<%d+%.%d+>$"), tostring(echo))
      assert(tostring(timer):find("^#timer%-%d+$"), tostring(timer))
    ]]
  end)

  it("to spawn_with's options are errors that name the option", function()
    world.run [[
      local function refused(options, pattern) check.raises("spawn_with.*" .. pattern, throng.spawn_with, options, "echo") end
      for _, key in ipairs {"name", "monitor", "link", "memory", "mailbox", "allow", "wait"} do
        local right = {name = "string", monitor = "boolean", link = "boolean", memory = "number", mailbox = "table", allow = "table", wait = "number"}
        for _, v in ipairs {1, "x", true, {}, print, coroutine.create(print), echo} do
          if type(v) ~= right[key] then refused({[key] = v}, key) end
        end
      end
      for _, n in ipairs {0, -1, 1, 65535, 1.5, 0/0, math.huge, -math.huge, 2^41, math.maxinteger, math.mininteger} do refused({memory = n}, "memory") end
      for _, n in ipairs {0, -1, 250001, 1.5, 0/0, math.huge, "x", {}, math.maxinteger, math.mininteger} do refused({mailbox = {limit = n}}, "mailbox%.limit") end
      for _, n in ipairs {-1, 0/0, math.huge, -math.huge, 1e13} do refused({wait = n}, "wait") end
      refused({mailbox = {full = "drop_oldest_"}}, "mailbox%.full") refused({mailbox = {full = 1}}, "mailbox%.full")
      refused({allow = {"everything"}}, "allow") refused({allow = {1}}, "allow") refused({allow = {{}}}, "allow") refused({allow = {"io\0"}}, "allow")
      refused({name = ""}, "name") refused({name = ("x"):rep(201)}, "name") refused({name = ("x"):rep(1e6)}, "name")
      refused({nmae = "x"}, "nmae") refused({[1] = "x"}, "1") refused({[{}] = 1}, "table") refused({[echo] = 1}, "")
      refused({["x\0y"] = 1}, "") refused({["name\0"] = "x"}, "") refused({[("k"):rep(100000)] = 1}, "") refused({["%s%n"] = 1}, "")
      check.same("string", type(tostring(echo)))
      for _, bytes in ipairs {"\0", "a\0b", "\n", "\255", "%s", "a b", ("x"):rep(200)} do
        local pid = throng.spawn_with({name = bytes}, "echo")
        check.same(pid, throng.whereis(bytes))
        check.same("name_taken", check.raises("taken", throng.spawn_with, {name = bytes}, "echo").code)
        throng.kill(pid)
      end
    ]]
  end)

  it("to throng.log are errors, and fields may be anything else", function()
    world.run [[
      for _, level in ipairs {"debug", "info", "warn", "error"} do
        local log = throng.log[level]
        check.raises("bad argument #1", function() throng.log[level]() end)
        check.raises("argument #1", log)
        for _, v in ipairs {1, "x", true, print, echo, coroutine.create(print)} do check.raises("argument #2", log, "message", v) end
        if level ~= "debug" then -- which is not looked at
          check.raises("argument #2", log, "message", {1})
          check.raises("argument #2", log, "message", {[echo] = 1})
        end
        for _, v in ipairs {1, 0/0, true, {}, print, echo} do log(v) log("message", {v = v}) end
        log(nil)
        pcall(log, setmetatable({}, {__tostring = function() error "mine" end}))
        log("", {}) log("\0", {["\0"] = "\0"})
      end
    ]]
  end)

  it("to the safe library's own functions are errors as ever", function()
    world.run [[
      for _, lib in ipairs {"string", "table", "math", "utf8", "coroutine", "os", "debug", "package", "_G"} do
        local names = {}
        for name, f in pairs(lib == "_G" and _G or _G[lib]) do
          if type(f) == "function" and not (lib == "coroutine" and name == "yield") and name ~= "print" then names[#names + 1] = name end
        end
        for _, name in ipairs(names) do
          local f = (lib == "_G" and _G or _G[lib])[name]
          for _, v in ipairs {-1, 0, 1e308, 0/0, math.mininteger, math.maxinteger, "x", "", "%", "[", "%b", "%f", false, {}, print, echo} do
            if not (name == "rep" or name == "collectgarbage" or name == "error") then
              pcall(f, v) pcall(f, v, v) pcall(f, v, v, v) pcall(f, "x", v) pcall(f, "x", v, v) pcall(f, {}, v) pcall(f, {}, v, v)
              pcall(f, print, v)
            end
          end
          pcall(f)
        end
      end
      for _, option in ipairs {"count", "collect", "step", "stop", "restart", "incremental", "generational", "isrunning", "setpause", "x", ""} do
        pcall(collectgarbage, option, 1e9) pcall(collectgarbage, option, -1)
      end
      collectgarbage("restart") collectgarbage("incremental")
      check.raises("io", function() return io.open("x") end)
      for _, name in ipairs {"execute", "exit", "remove", "rename", "tmpname", "getenv", "setlocale"} do check.same(nil, os[name], name) end
      for _, name in ipairs {"dofile", "loadfile", "io"} do check.same(nil, _G[name], name) end
      check.same(nil, package.loadlib)
      for name in pairs(debug) do check.same("traceback", name) end
    ]]
  end)
end)
