--- Crash reports: a block in the log for people, the same as a table for subscribers.
local scenario = require "spec.support.scenario"

local VICTIM <const> = [[
function Me:init(...) if ... == "fail in init" then error "no start" end end
function Me:on_crash_now(...)
  local function deeper(text)
    error(text)
  end
  deeper "ouch"
end
function Me:on_object() error({code = "mine", message = "an object", more = {1}}) end
function Me:on_long_code() error({code = ("c"):rep(100000), message = "x"}) end
function Me:on_naked() error(setmetatable({}, {__tostring = function() return "never asked" end})) end
function Me:on_long() error(("x"):rep(100000), 0) end
function Me:on_hog() local t = {} while true do t[#t + 1] = ("y"):rep(1000) .. #t end end
function Me:on_fork() throng.fork(function() error "in the fork" end) throng.sleep(600000) end
function Me:on_wait(...) throng.sleep(1) error "after waiting" end
function Me:on_leave() self.bad_end = true throng.exit "left" end
function Me:on_ping() return "pong" end
function Me:terminate() if self.bad_end then error "in the end" end end
]]

local ROOT <const> = "function Me:on_crash(report) note(self, report) self:heard(report) end "

local function run(text, more)
  local o = {ROOT .. text, victim = VICTIM}
  for key, value in pairs(more or {}) do o[key] = value end
  return scenario.run(o)
end

describe("a crash in the log", function()
  local function block(text, more)
    run("function Me:heard() done() end function Me:init() throng.crash_reports(true) " .. text .. " end", more)
    return (scenario.last.err:gsub("%x%x%x%x%x%x%x%x%x%x%x%x%x%x%x%x", "VERSION"):gsub("%d+%.%d%d%d s", "N s"))
  end

  it("is one block: who, which behaviour and version, the message, its age and the traceback with line numbers", function()
    local err = block [[
      local p = throng.spawn_with({name = "unlucky"}, "victim", "bob")
      p:send("crash_now", 1, "two", {x = {y = {z = {}}}})
    ]]
    local expected = [[
error unlucky <1.1> crashed in victim (VERSION): ./victim.lua:4: ouch
    handling crash_now(1, "two", {x = {y = {...}}}) from <0.1>
    alive for N s
    stack traceback:
    TAB[C]: in global 'error'
    TAB./victim.lua:4: in local 'deeper'
    TAB./victim.lua:6: in function <./victim.lua:2>
]]
    assert.are.equal((expected:gsub("TAB", "\t")), err:match "error .*")
  end)

  it("says how often it was restarted, if it was told", function()
    assert.matches("\n    alive for N s, restarted 7 times\n",
                   block [[throng.spawn_with({restarts = 7}, "victim"):send "crash_now"]])
  end)

  it("says where, if it was in no handler", function()
    assert.matches('\n    handling init("fail in init") from <0.1>\n', block [[throng.spawn("victim", "fail in init")]], 1, true)
    assert.matches("\n    in a fork\n", block [[throng.spawn "victim":send "fork"]])
    assert.matches("\n    in its terminate\n", block [[throng.spawn "victim":send "leave"]])
    assert.matches("\n    in its body\n", block([[throng.spawn "sometimes" throng.register "bad" throng.spawn "sometimes"]], {
      sometimes = "if throng.whereis 'bad' then error 'bad body' end"}))
  end)

  it("is shortened, not lost, when the error's text or the arguments are long", function()
    local err = block [[throng.spawn "victim":send("long", ("z"):rep(100000))]]
    assert(#err < 8000, #err)
    assert.matches("crashed in victim", err, 1, true)
    assert.matches('\n    handling long("zzz', err, 1, true)
    assert.matches("\n    alive for N s", err, 1, true)
  end)
end)

describe("throng.crash_reports", function()
  it("tells a subscriber what, where, handling what, since when", function()
    local report, same, sender, name = run([[
      function Me:init()
        throng.crash_reports(true)
        self.before = throng.now()
        self.p = throng.spawn_with({name = "unlucky", restarts = 3, wait = 60000}, "victim", "bob")
        self.p:send("crash_now", 1, "two", {x = {y = 3}})
      end
      function Me:heard(report)
        local age = throng.now() - self.before
        local sane = report.pid == self.p and report.handling.from == throng.self()
                     and report.uptime >= 0 and report.uptime <= age and math.type(report.uptime) == "float"
        report.pid, report.handling.from, report.uptime = nil, nil, nil
        done(report, sane, throng.sender(), throng.whereis "unlucky")
      end
    ]], {options = {"--log", "off"}})
    assert.is_true(same)
    assert.are.equal("nil", sender)
    assert.matches("^%x%x%x%x%x%x%x%x%x%x%x%x%x%x%x%x$", report.version)
    assert.matches("^stack traceback:.*victim%.lua:4: in local 'deeper'.*victim%.lua:6: in function", report.traceback)
    assert.matches("victim%.lua:4: ouch$", report.message)
    report.version, report.traceback, report.message = nil, nil, nil
    assert.are.same({name = "unlucky", behaviour = "victim", code = "error", during = "handler", restarts = 3,
                     handling = {name = "crash_now", values = {["1"] = 1, ["2"] = "two", ["3"] = {x = {y = 3}}, n = 3}}},
                    report)
    assert.is_string(name) -- the report comes first, the end after
  end)

  it("tells of crashes of every kind, and of no other end", function()
    local found = run([[
      function Me:init()
        throng.crash_reports(true)
        throng.trap_exits(true)
        self.next = {"fail in init", "object", "naked", "hog", "fork", "wait", "leave", "kill", "exit", "stop", "last"}
        self.found = {}
        self:go()
      end
      function Me:go()
        local what = table.remove(self.next, 1)
        if what == "last" then return done(self.found) end
        local p = throng.spawn_with({monitor = true, memory = 1 << 20}, "victim", what)
        if what == "kill" then throng.kill(p)
        elseif what == "stop" then throng.stop(p, "stopped")
        elseif what == "exit" then p:send "plain_exit"
        else p:send(what) end
        if what == "exit" then throng.stop(p) end
      end
      function Me:heard(r)
        self.found[#self.found + 1] = {r.during, r.code, (r.message:gsub("^.-:%d+: ", "")),
                                       r.handling and r.handling.name}
      end
      function Me:on_down() self:go() end
    ]], {options = {"--log", "off"}})
    assert.are.same({{"init", "error", "no start", "init"},
                     {"handler", "mine", "an object", "object"},
                     {"handler", "error", "(the error is a table)", "naked"},
                     {"handler", "memory", "out of memory: its VM may hold 1048576 bytes", "hog"},
                     {"fork", "error", "in the fork"},
                     {"handler", "error", "after waiting", "wait"},
                     {"terminate", "error", "in the end"}}, found)
  end)

  it("cuts a code that is as long as no code should be", function()
    assert.are.same({100}, {run([[
      function Me:init()
        throng.crash_reports(true)
        throng.spawn "victim":send "long_code"
      end
      function Me:heard(r) done(#r.code) end
    ]], {options = {"--log", "off"}})})
  end)

  it("cuts what is long or deep", function()
    assert.are.same({2000, true, true, 2}, {run([[
      function Me:init()
        throng.crash_reports(true)
        local deep = {}
        for _ = 1, 99 do deep = {deep} end
        throng.spawn "victim":send("long", deep, ("z"):rep(100000))
      end
      function Me:heard(r)
        done(#r.message, r.handling.cut, #r.handling.values[2] < 4000, r.handling.values.n)
      end
    ]], {options = {"--log", "off"}})})
  end)

  it("tells also when the log is off, and all who subscribed", function()
    assert.are.same({3}, {run([[
      function Me:init()
        self.count = 0
        for _ = 1, 2 do throng.crash_reports(throng.spawn("hears", throng.self())) end
        throng.crash_reports(true)
        throng.spawn "victim":send "crash_now"
      end
      function Me:heard() self:on_it() end
      function Me:on_it() self.count = self.count + 1 if self.count == 3 then done(3) end end
    ]], {hears = [[
      function Me:init(root) self.root = root end
      function Me:on_crash(report) if report.behaviour == "victim" then self.root:send "it" end end
    ]], options = {"--log", "off"}})})
  end)

  local CLUMSY <const> = "function Me:on_crash() error 'clumsy' end"
  local CLUMSIES <const> = [[
    function Me:init()
      self.left, self.before = %d, throng.stats()
      for _ = 1, self.left do throng.crash_reports((throng.spawn_with({monitor = true}, "clumsy"))) end
      throng.spawn "victim":send "crash_now"
    end
    function Me:heard() end
    function Me:on_down()
      self.left = self.left - 1
      if self.left > 0 then return end
      local now = throng.stats()
      done(now.crashed - self.before.crashed, now.dead_pid + now.dead_handler - self.before.dead_pid, now.dead_notice)
    end
  ]]

  it("tells nobody of his own crash", function()
    assert.are.same({2, 0, 0}, {run(CLUMSIES:format(1), {clumsy = CLUMSY, options = {"--log", "off"}})})
  end)

  it("comes to an end when those who hear of crashes crash over it, and makes no dead letters", function()
    local crashed, dead = run(CLUMSIES:format(5), {clumsy = CLUMSY, options = {"--log", "off"}})
    assert.are.same({6, 0}, {crashed, dead})
  end)

  it("no more after it was unsubscribed", function()
    assert.are.same({true, false, "nil"}, {run([[
      function Me:init()
        throng.crash_reports(true)
        local off, again = throng.crash_reports(false), throng.crash_reports(false)
        self.found = {off, again}
        throng.spawn_with({monitor = true}, "victim"):send "crash_now"
      end
      function Me:heard() self.found[3] = "heard" end
      function Me:on_down() throng.send(throng.self(), "look") end
      function Me:on_look() done(self.found[1], self.found[2], self.found[3]) end
    ]], {options = {"--log", "off"}})})
  end)
end)

describe("spawn_with{restarts}", function()
  it("is a whole number from 0 on", function()
    assert.are.same({true, true, true}, {run [[
      function Me:init()
        done(try(throng.spawn_with, {restarts = -1}, "victim").message:find "'restarts' must be a whole number" ~= nil,
             try(throng.spawn_with, {restarts = 1.5}, "victim") ~= nil,
             try(throng.spawn_with, {restarts = "1"}, "victim") ~= nil)
      end
    ]]})
  end)
end)
