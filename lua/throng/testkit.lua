--- For specs of actors: they run with `throng test DIR`, in busted, inside an actor of a node of their own. Everything
--- of throng works there, and this besides.
---
--- Time is virtual unless --real-time says otherwise: it stands still while anybody works, and jumps to the next timer
--- when all are at rest and the spec waits. After each test all that it has spawned is stopped; a crash, a dead letter
--- or an actor left behind that the test did not expect fails it.
---
---@usage
---   local testkit = require "throng.testkit"
---   it("grows hungry", function()
---     local guy, region = testkit.spawn("guy", "bob"), testkit.probe()
---     region:send(guy, "tick")
---     assert.are.equal(1, guy:ask("eat", 0))
---     testkit.advance(60000)
---     region:expect_none()
---   end)

local found, testing = pcall(require, "throng.testing")
if not found then error("throng.testkit is for specs: run them with 'throng test DIR'", 0) end
local throng = require "throng"
local inline = require "throng.test.inline"
local stage = require "throng.test.stage"

local WITHIN <const> = 1000      -- milliseconds, for whoever says nothing
local SPAWN_WITHIN <const> = 5000

local testkit = {}

--- The test fails, at the line of the spec that called.
local function blame(message)
  local trouble = stage.trouble()
  if trouble then message = message .. "\n" .. trouble end
  return require("busted").fail(inline.place() .. ": " .. message, 0)
end

-- ---- spawning ----

local function spawn_by(spawn_with, options, behaviour, ...)
  if type(options) ~= "table" then error(inline.place() .. ": spawn_with: the options are a table", 0) end
  local own = {wait = SPAWN_WITHIN}
  for key, value in pairs(options) do own[key] = value end
  local result = table.pack(pcall(spawn_with, own, testkit.behaviour(behaviour), ...))
  if result[1] then return table.unpack(result, 2, result.n) end
  testing.advance(0) -- its crash report is there, and the caller has the error: it is no surprise any more
  local failure = result[2]
  local about = own.pid or type(failure) == "table" and failure.actor
  for i = #stage.crashes, 1, -1 do
    if stage.crashes[i].pid == about then table.remove(stage.crashes, i) end
  end
  error(failure, 0)
end

--- As throng.spawn, but returns when init is done, or raises what it raised. A behaviour may also be the text of a
--- module, or a table of functions: what these use of the spec goes along by value.
---@param behaviour string|table
---@param ... any  init's arguments
---@return pid
---@usage
---   local echo = testkit.spawn({on_say = function(_, text) return text end})
function testkit.spawn(behaviour, ...)
  return testkit.spawn_with({}, behaviour, ...)
end

--- The same with throng.spawn_with's options; `wait` is 5000 if not given.
---@param options throng.SpawnOptions
---@param behaviour string|table
---@param ... any
---@return pid, ref?
function testkit.spawn_with(options, behaviour, ...)
  return spawn_by(stage.spawn_with, options, behaviour, ...)
end

--- The require path of an inline behaviour, for child specs of supervisors and the like.
---@param behaviour string|table
---@return string module
function testkit.behaviour(behaviour) return inline.module(behaviour) end

-- ---- time ----

--- Lets time go by: what becomes due meanwhile happens in its order, each time until all are at rest.
---@param ms number
function testkit.advance(ms)
  if not testing.real_time() then return testing.advance(ms) end
  throng.sleep(ms)
  testing.advance(0)
end

--- Until nobody has anything to do any more but wait. No time goes by.
function testkit.settle() testing.advance(0) end

--- For the rest of this test time is the real one.
function testkit.real_time() testing.real_time(true) end

--- Asks find() again whenever something has happened, until it gives something else than nil and false; an error if
--- that does not come within so many milliseconds, a thousand if not given.
---@param find fun(): any
---@param within? number
---@return any
function testkit.eventually(find, within)
  local until_ = throng.now() + (within or WITHIN)
  while true do
    testkit.settle()
    local found_ = find()
    if found_ then return found_ end
    local left = until_ - throng.now()
    if left <= 0 then return blame(("it did not come about within %g ms"):format(within or WITHIN)) end
    testkit.advance(math.min(left, math.max(1, (within or WITHIN) / 100)))
  end
end

-- ---- probes ----

---@class throng.Probe
---@field pid pid
local Probe = {}
Probe.__index = Probe

--- An actor that the spec holds in its hand: it takes all messages, and the spec looks at them one by one.
---@param name? string  to register it by
---@return throng.Probe
function testkit.probe(name)
  if name ~= nil and type(name) ~= "string" then error("probe: its name is a string", 2) end
  return stage.stand_in(setmetatable({queue = {}, ignored = {}}, Probe), name)
end

function Probe:came(message)
  if self.ignored[message.name] and message.kind ~= "down" then return end
  table.insert(self.queue, message)
end

local function show(message)
  local text = stage.show_call(message.name, message.values, message.values.n)
  return ("%s%s from %s"):format(message.kind == "ask" and "request " or "", text, stage.who(message.from))
end

local function check_within(within, level)
  if within == nil then return WITHIN end
  if type(within) ~= "number" or within < 0 then error("within is a number of milliseconds, 0 or more", level + 1) end
  return within
end

local function take(self, message, index)
  table.remove(self.queue, index)
  self.last = message
  return table.unpack(message.values, 1, message.values.n)
end

--- The next message must be `name`: its arguments. Anything else that comes first, or nothing within that time
--- (milliseconds; 1000 if not given), is an error that says what came.
---@param name string
---@param within? number
---@return any ...
function Probe:expect(name, within)
  within = check_within(within, 2)
  if type(name) ~= "string" then error("expect: which message? its name is a string", 2) end
  local message = stage.wait(within, function() return self.queue[1] end)
  if not message then return blame(("expected %s within %g ms: nothing came"):format(name, within)) end
  if message.name ~= name or message.kind == "down" then
    return blame(("expected %s: what came next is %s"):format(name, show(message)))
  end
  return take(self, message, 1)
end

--- The first message that has this name, or one of these: its name if there are several, and its arguments. What came
--- before it stays and is next for whoever looks.
---@param names string|string[]
---@param within? number
---@return any ...
function Probe:expect_any(names, within)
  within = check_within(within, 2)
  local list = type(names) == "table" and names or {names}
  local wanted = {}
  for _, name in ipairs(list) do wanted[name] = true end
  local index = stage.wait(within, function()
    for i, message in ipairs(self.queue) do
      if wanted[message.name] and message.kind ~= "down" then return i end
    end
  end)
  if not index then
    local came = {}
    for i, message in ipairs(self.queue) do came[i] = show(message) end
    return blame(("expected %s within %g ms: %s"):format(table.concat(list, " or "), within,
                 #came == 0 and "nothing came" or "what came is " .. table.concat(came, "; ")))
  end
  local message = self.queue[index]
  if type(names) == "table" then return message.name, take(self, message, index) end
  return take(self, message, index)
end

--- Nothing comes, now and for so many milliseconds (0 if not given: whatever is on its way already).
---@param within? number
function Probe:expect_none(within)
  within = check_within(within or 0, 2)
  local message = stage.wait(within, function() return self.queue[1] end)
  if message then return blame(("expected nothing: %s came"):format(show(message))) end
end

--- The next message, whatever it is: name and arguments; nothing if none comes.
---@param within? number
---@return string? name, any ...
function Probe:next(within)
  within = check_within(within, 2)
  local message = stage.wait(within, function() return self.queue[1] end)
  if message then return message.name, take(self, message, 1) end
end

--- Messages of these names are not looked at, from now on.
---@param ... string
function Probe:ignore(...)
  for _, name in ipairs {...} do self.ignored[name] = true end
  for i = #self.queue, 1, -1 do
    local message = self.queue[i]
    if self.ignored[message.name] and message.kind ~= "down" then table.remove(self.queue, i) end
  end
end

--- Who sent the message that was taken last.
---@return pid?
function Probe:sender() return self.last and self.last.from end

--- Answers the request that was taken last.
---@param ... any
function Probe:reply(...)
  local last = self.last
  if not last or last.kind ~= "ask" or last.answered then
    error("reply: the last message taken was no request that waits for its answer", 2)
  end
  last.answered = true
  throng.send(self.pid, "testkit: answer", last.token, ...)
end

--- Crashes, as an actor that raises an error while it handles the request that was taken last: the asker gets it.
---@param failure any
function Probe:fail(failure)
  local last = self.last
  if not last or last.kind ~= "ask" or last.answered then
    error("fail: the last message taken was no request that waits for its answer", 2)
  end
  last.answered = true
  throng.send(self.pid, "testkit: fail", last.token, failure == nil and "failed" or failure)
end

--- Sends in the probe's place: the message comes from the spec, for the probe has no hands.
---@param pid pid
---@param name string
---@param ... any
function Probe.send(_, pid, name, ...) return throng.send(pid, name, ...) end

--- As testkit.spawn, but the new actor's parent is the probe.
---@param behaviour string|table
---@param ... any
---@return pid
function Probe:spawn(behaviour, ...) return self:spawn_with({}, behaviour, ...) end

--- The same with throng.spawn_with's options. The probe traps exits: that of a linked one is a message
--- exit(pid, reason).
---@param options throng.SpawnOptions
---@param behaviour string|table
---@param ... any
---@return pid, ref?
function Probe:spawn_with(options, behaviour, ...)
  return spawn_by(function(own, module, ...)
    local result = table.pack(throng.ask_within(own.wait + 1000, self.pid, "testkit: spawn", own, module, ...))
    if not result[1] then error(result[2], 0) end
    table.insert(stage.spawned, result[2])
    return table.unpack(result, 2, result.n)
  end, options, behaviour, ...)
end

--- From now on expect_down hears of that actor's end.
---@param pid pid
function Probe:watch(pid)
  if not throng.ask(self.pid, "testkit: watch", pid) then error("watch: that is no pid", 2) end
end

--- That actor, which is watched, ends within so many milliseconds: the reason.
---@param pid pid
---@param within? number
---@return any reason
function Probe:expect_down(pid, within)
  within = check_within(within, 2)
  local index = stage.wait(within, function()
    for i, message in ipairs(self.queue) do
      if message.kind == "down" and message.from == pid then return i end
    end
  end)
  if not index then return blame(("expected the end of %s within %g ms: it goes on"):format(stage.who(pid), within)) end
  return (select(2, "", take(self, self.queue[index], index)))
end

-- ---- stubs ----

---@class throng.Stub
---@field pid pid
---@field calls {name: string, from: pid?, n: integer, [integer]: any}[]  what it got, the oldest first
local Stub = {}
Stub.__index = Stub

--- Stands in for another actor: `on_<name>` is a function, called here in the spec with the stub and the arguments,
--- whose results are the reply; or any other value, which is the reply. `name` is what it is registered by. A message
--- for which it has nothing goes to `on_other`, or fails the test.
---@param handlers table
---@return throng.Stub
---@usage
---   local shop = testkit.stub {name = "shop", on_price = function(_, ware) return ware == "tea" and 3 or 5 end}
function testkit.stub(handlers)
  if type(handlers) ~= "table" then error("stub: a table of handlers", 2) end
  for key in pairs(handlers) do
    if key ~= "name" and not (type(key) == "string" and key:find("^on_.")) then
      error(("stub: '%s' is neither `name` nor a handler, on_<name>"):format(tostring(key)), 2)
    end
  end
  return stage.stand_in(setmetatable({handlers = handlers, calls = {}}, Stub), handlers.name)
end

function Stub:came(message)
  local call = table.pack(table.unpack(message.values, 1, message.values.n))
  call.name, call.from = message.name, message.from
  table.insert(self.calls, call)
  local handler = self.handlers["on_" .. message.name]
  local result
  if handler == nil and self.handlers.on_other then
    result = table.pack(pcall(self.handlers.on_other, self, message.name, table.unpack(call, 1, call.n)))
  elseif type(handler) == "function" then
    result = table.pack(pcall(handler, self, table.unpack(call, 1, call.n)))
  elseif handler ~= nil then
    result = {true, handler, n = 2}
  else
    result = {false, ("the stub %s has no on_%s for %s"):format(stage.who(self.pid), message.name, show(message))}
  end
  if not result[1] then table.insert(stage.problems, "in a stub: " .. tostring(result[2])) end
  if not message.token then return end
  if result[1] then throng.send(self.pid, "testkit: answer", message.token, table.unpack(result, 2, result.n))
  else throng.send(self.pid, "testkit: fail", message.token, tostring(result[2])) end
end

--- How often it got a message of that name.
---@param name string
---@return integer
function Stub:count(name)
  testing.advance(0)
  local count = 0
  for _, call in ipairs(self.calls) do
    if call.name == name then count = count + 1 end
  end
  return count
end

-- ---- what is expected to go wrong ----

local function matches(wanted, thing, fields)
  for key, field in pairs(fields) do
    local value, want = thing[field], wanted[key]
    if want ~= nil and value ~= want and not (key == "message" and tostring(value):find(want)) then return false end
  end
  return true
end

local function claim(what, list, fields, wanted, within)
  wanted = wanted or {}
  within = check_within(within, 3)
  if type(wanted) ~= "table" then wanted = {pid = wanted} end
  for key in pairs(wanted) do
    if not fields[key] then error(("%s: there is no '%s' to look for"):format(what, tostring(key)), 3) end
  end
  local index = stage.wait(within, function()
    for i, thing in ipairs(stage[list]) do
      if matches(wanted, thing, fields) then return i end
    end
  end)
  if index then return table.remove(stage[list], index) end
  return blame(("%s: there was none within %g ms"):format(what, within))
end

local CRASH <const> = {pid = "pid", name = "name", behaviour = "behaviour", message = "message", during = "during"}
local LETTER <const> = {pid = "to", to = "to", from = "from", name = "name", reason = "reason"}

--- An actor has crashed, or does so within that time; that was to be expected. Its report.
--- `message` is a Lua pattern.
---@param which? pid|{pid: pid?, name: string?, behaviour: string?, message: string?, during: string?}
---@param within? number
---@return throng.CrashReport
function testkit.expect_crash(which, within) return claim("expect_crash", "crashes", CRASH, which, within) end

--- A message was lost, or is within that time; that was to be expected.
---@param which? pid|{to: pid?, from: pid?, name: string?, reason: string?}
---@param within? number
---@return throng.DeadLetter
function testkit.expect_dead_letter(which, within)
  return claim("expect_dead_letter", "letters", LETTER, which, within)
end

--- Somebody has called throng.shutdown, or does so within that time; that was to be expected. The node goes on: it is
--- the specs'. The exit code, and who it was.
---@param within? number
---@return integer code, pid from
function testkit.expect_shutdown(within)
  within = check_within(within, 2)
  local found_ = stage.wait(within, function() return table.remove(stage.shutdowns, 1) end)
  if not found_ then return blame(("expected throng.shutdown within %g ms"):format(within)) end
  return found_.code, found_.from
end

--- In this test these do not matter.
---@param ... "crashes"|"dead_letters"|"leaks"
function testkit.allow(...)
  for _, what in ipairs {...} do
    if what ~= "crashes" and what ~= "dead_letters" and what ~= "leaks" then
      error("allow: 'crashes', 'dead_letters' or 'leaks', not '" .. tostring(what) .. "'", 2)
    end
    stage.allowed[what] = true
  end
end

-- ---- faults ----

---@class throng.Fault
local Fault = {}
Fault.__index = Fault

--- How many messages it was about, and how many of those it hit.
---@return integer matched, integer hit
function Fault:count()
  testing.advance(0)
  return testing.fault_count(self.number)
end

--- From now on messages go their way again.
function Fault:off() testing.fault_off(self.number) end

local function fault(kind, what, needs_ms)
  if type(what) ~= "table" then error(kind .. ": which messages? a table with to, from, name, nth, times", 3) end
  local known = {to = true, from = true, name = true, nth = true, times = true, ms = needs_ms}
  for key in pairs(what) do
    if not known[key] then error(("%s: there is no '%s'"):format(kind, tostring(key)), 3) end
  end
  if not (what.to or what.from or what.name) then
    error(kind .. ": of all messages? say which with `to`, `from` or `name`", 3)
  end
  local rule = {fault = kind}
  for key, value in pairs(what) do rule[key] = value end
  local ok, number = pcall(testing.fault, rule)
  if not ok then error(number, 0) end
  return setmetatable({number = number}, Fault)
end

---@class throng.FaultRule
---@field to? pid|string    the receiver, or a name: then whoever has it when the message comes
---@field from? pid|string  the sender
---@field name? string      of the message; "init" for kill
---@field nth? integer      of the messages that match, the first that is hit; 1 if not given
---@field times? integer    how many are hit; all if not given, 1 with kill

--- These messages are lost: nobody hears of it, as on a bad wire.
---@param which throng.FaultRule
---@return throng.Fault
function testkit.drop(which) return fault("drop", which) end

--- These messages are handled `ms` later; others go before them.
---@param which throng.FaultRule|{ms: number}
---@return throng.Fault
function testkit.delay(which) return fault("delay", which, true) end

--- Who is about to handle such a message is killed instead.
---@param which throng.FaultRule
---@return throng.Fault
---@usage
---   testkit.kill_at {name = "tick", to = "bob", nth = 3}
function testkit.kill_at(which)
  local own = {times = 1}
  for key, value in pairs(type(which) == "table" and which or {}) do own[key] = value end
  return fault("kill", type(which) == "table" and own or which)
end

return testkit
