--- A supervisor starts actors, its children, in order, starts again who fails, and stops them in reversed order.
--- It is an actor itself, so supervisors can be children: a tree. Who fails too often fails his supervisor, which
--- stops its other children, then ends with a reason that its own supervisor sees.
---
---@usage
---   -- shop.lua: throng.spawn_with({name = "shop", link = true}, "shop")
---   return require "throng.supervisor".behaviour {
---     strategy = "rest_for_one",                 -- who fails takes along those started after it
---     intensity = {count = 5, seconds = 10},     -- more restarts than that: give up
---     backoff = {least = 100, most = 5000},      -- wait before a restart, longer each time
---     children = {
---       {module = "stock", options = {name = "stock"}},
---       {module = "till", id = "till-1", args = {1}, restart = "transient", stop_timeout = 1000},
---     },
---   }
---   -- anywhere:
---   supervisor.start_child("shop", {module = "till", id = "till-2", args = {2}})
---   for _, child in ipairs(supervisor.which("shop")) do print(child.id, child.state, child.restarts) end
---
--- Strategies: "one_for_one": who fails is started again, alone. "one_for_all": all are stopped in reversed order and
--- started again. "rest_for_one": those that were started after it are. "dynamic": as one_for_one, for many like
--- children without an order, all made of the template `child`; they are stopped all at once.
---
--- A child may live on another node (`node`, `requires`): when that node ends, is killed or can't be reached, the child
--- has failed, and `requires` finds another place for it.
---
--- An end "normal" or "shutdown" is no failure of a "transient" child; "shutdown" is what the node and supervisors
--- stop with, and brings no restart, but on another node: then that node ends, and not we. A child is up when its init
--- has ended; one that fails in init, or does not end it within `wait`, has failed like any other. Only a first start
--- by start_child is different: its error is the answer, and the child is not kept.
---
--- Requests are answered at once also while children are started, stopped or waited for.
local restarts = require "throng.restarts"
local throng = require "throng"

local supervisor = {}

local STOP_TIMEOUT <const> = 5000
local WAIT <const> = 5000       -- for init
local KILL_WAIT <const> = 5000  -- a killed actor is gone at once, unless it is deep in a C function
local ASK <const> = 60000       -- requests end by themselves: they are bounded by wait and stop_timeout
local COUNT <const>, SECONDS <const> = 5, 10

---@class throng.ChildSpec
---@field module string
---@field id? string|integer     unique in its supervisor; its name or module if not given (dynamic: a number)
---@field args? any[]            init's arguments; `n` if there are nils among them
---@field options? throng.SpawnOptions  but for link, monitor and wait
---@field node? string           where it lives, each time it is started; as the options of these names
---@field requires? table<string, boolean|integer|string>  with both: there if that node is up, else where it can
---@field restart? "permanent"|"transient"|"temporary" always (if not given), after a failure, never
---@field stop_timeout? number   ms that it has to stop before it is killed (5000)
---@field wait? number           ms that its init has (5000); a supervisor's init starts all of its children

---@class throng.SupervisorOptions
---@field strategy? "one_for_one"|"one_for_all"|"rest_for_one"|"dynamic" one_for_one if not given
---@field intensity? {count: integer, seconds: number}  more restarts within that time are too many (5 in 10)
---@field backoff? throng.BackoffOptions  none: at once
---@field children? throng.ChildSpec[]
---@field child? throng.ChildSpec         dynamic: what start_child's specs begin with

---@class throng.Child            what which returns
---@field id string|integer
---@field module string
---@field state "starting"|"running"|"restarting"|"stopping"|"stopped"
---@field pid? pid                while it runs
---@field restarts integer        how often it was started again
---@field reason? any             of its last end by failure
---@field restart string

-- Inside, a child is also: `turn`, which counts its starts and stops, so that who waited sees that he was overtaken;
-- `starting`, the options of a spawn under way (with its pid); `halting`, the pid of one that is told to stop;
-- `failed`: it broke down, and what follows from that is still to be done; `down`: it is to be started.
--
-- A lane is what is restarted by one coroutine after the other, never by two: the whole supervisor, or with
-- one_for_one and dynamic each child by itself. It has a `shift`, as a child has turns; a `phase`: "work", "pause" or
-- nil; `due`: when its pause is over.

local RESTART <const> = {permanent = true, transient = true, temporary = true}
local STRATEGIES <const> = {one_for_one = true, one_for_all = true, rest_for_one = true, dynamic = true}
local FIELDS <const> = {id = true, module = true, args = true, options = true, restart = true, stop_timeout = true,
                        wait = true, node = true, requires = true}
local NOT_YOURS <const> = {link = true, monitor = true, wait = true, pid = true}

local function text_of(reason)
  return type(reason) == "table" and tostring(reason.message or reason.code) or tostring(reason)
end

local function problem(code, format, ...)
  return {code = code, message = format:format(...)}
end

-- ---- making children ----

local function check(good, format, ...)
  if not good then error(format:format(...), 0) end
end

--- A child of a spec; raises a text that says what is wrong with it.
local function make(self, spec)
  check(type(spec) == "table", "a child's spec must be a table, not a %s", type(spec))
  local child = {turn = 0, restarts = 0, state = "starting"}
  for key, value in pairs(self.template or {}) do child[key] = value end
  for key, value in pairs(spec) do
    check(FIELDS[key], "a child has no field '%s'", tostring(key))
    child[key] = value
  end
  child.args, child.options = child.args or {}, child.options or {}
  check(type(child.module) == "string", "a child needs a module, a string")
  check(type(child.args) == "table", "a child's args must be a table")
  check(type(child.options) == "table", "a child's options must be a table")
  for key in pairs(child.options) do
    check(not NOT_YOURS[key], "a child's options can't have '%s': that is the supervisor's", tostring(key))
  end
  child.restart = child.restart or "permanent"
  check(RESTART[child.restart], "restart must be permanent, transient or temporary, not '%s'",
        tostring(child.restart))
  child.stop_timeout, child.wait = child.stop_timeout or STOP_TIMEOUT, child.wait or WAIT
  for _, key in ipairs {"stop_timeout", "wait"} do
    local ms = child[key]
    check(type(ms) == "number" and ms >= 0 and ms <= 1e12, "%s must be milliseconds, 0 or more", key)
  end
  if child.id == nil then
    if self.strategy == "dynamic" then
      self.serial = self.serial + 1
      child.id = self.serial
    else
      child.id = child.options.name or child.module
    end
  end
  check(type(child.id) == "string" or math.type(child.id) == "integer", "a child's id is a string or a whole number")
  return child
end

local function add(self, child)
  child.at = #self.children + 1
  self.children[child.at], self.by_id[child.id] = child, child
  child.lane = self.lane or child
  if child.lane == child then child.members = {child} end
end

local function remove(self, child)
  local children = self.children
  if self.by_id[child.id] ~= child then return end
  self.by_id[child.id] = nil
  if self.strategy == "dynamic" then
    local last = children[#children]
    children[child.at], last.at = last, child.at
    children[#children] = nil
  else
    table.remove(children, child.at)
    for at = child.at, #children do children[at].at = at end
  end
end

-- ---- starting and stopping ----

--- Its pid as soon as there is one.
local function pid_of(child)
  return child.pid or child.halting or child.starting and child.starting.pid
end

--- It is down for good, or until somebody asks for it.
local function retire(self, child, reason)
  child.state, child.failed, child.down = "stopped", false, false
  for watcher in pairs(child.watchers or {}) do throng.send(watcher, "gone", child.id, reason) end
  child.watchers = nil
  if child.restart == "temporary" or self.strategy == "dynamic" then remove(self, child) end
end

--- Waits until a pid that is about to end has ended.
local function bury(child, pid, ms)
  if throng.await(pid, ms) then return end
  throng.log.warn("a child did not end in time: killed", {child = child.id, pid = pid})
  throng.kill(pid)
  if not throng.await(pid, KILL_WAIT) then
    throng.log.error("a killed child does not end", {child = child.id, pid = pid})
  end
end

--- It is being made on another node: until it is, nobody knows its pid.
local function wait_for_pid(child)
  local starting, pause = child.starting, 1
  while starting and child.starting == starting and not starting.pid do
    throng.sleep(pause)
    pause = math.min(2 * pause, 50)
  end
end

--- Stops its actor, if it has one. Who is at starting it has lost his turn.
local function halt(child, ms)
  if not pid_of(child) then wait_for_pid(child) end
  local pid = pid_of(child)
  child.turn = child.turn + 1
  child.pid, child.starting, child.halting = nil, nil, pid
  if not pid then return end
  child.state = "stopping"
  throng.stop(pid, "shutdown")
  bury(child, pid, ms or child.stop_timeout)
  if child.halting == pid then child.halting = nil end
end

--- Starts it and waits for its init. Its pid; or nil and why; or nil alone if it was overtaken.
local function start(self, child)
  local options = {}
  for key, value in pairs(child.options) do options[key] = value end
  options.link, options.wait = true, child.wait
  options.node, options.requires = child.node or options.node, child.requires or options.requires
  if child.restarts > 0 then options.restarts = child.restarts end -- for crash reports
  child.turn = child.turn + 1
  child.state, child.starting, child.down = "starting", options, false
  local turn, args = child.turn, child.args
  local up, result = pcall(throng.spawn_with, options, child.module, table.unpack(args, 1, args.n or #args))
  if child.turn ~= turn then return nil end
  child.starting = nil
  if up then
    child.pid, child.state = result, "running"
    self.by_pid[result] = child
    return result
  end
  local pid = options.pid
  if pid then -- gone before the next is started: so the name is free
    child.halting = pid
    if result.code == "timeout" then throng.kill(pid) end
    bury(child, pid, KILL_WAIT)
    if child.turn ~= turn then return nil end
    child.halting = nil
  end
  if result.code == "down" and result.reason ~= nil then result = result.reason end
  return nil, result
end

--- All of them, the last one first.
local function stop_all(self)
  local children = table.move(self.children, 1, #self.children, 1, {})
  local began = throng.now()
  if self.strategy == "dynamic" then
    for _, child in ipairs(children) do
      local pid = pid_of(child)
      if pid then throng.stop(pid, "shutdown") end
    end
  end
  for at = #children, 1, -1 do
    local child = children[at]
    local ms = child.stop_timeout
    if self.strategy == "dynamic" then ms = math.max(0, began + ms - throng.now()) end
    halt(child, ms)
    retire(self, child, "shutdown")
  end
end

--- It failed too often, or cannot be a supervisor at all.
local function give_up(self, child, reason)
  if self.ending then return end
  self.ending = problem("intensity", "gave up: child '%s' failed, which is more than %d restarts in %g s: %s", child.id,
                        self.often.count, self.often.seconds, text_of(reason))
  self.ending.child, self.ending.reason = child.id, reason
  throng.log.error("gives up", {child = child.id, restarts = self.restarts, reason = text_of(reason)})
  stop_all(self)
  throng.exit(self.ending)
end

-- ---- restarting ----

--- `pid`: whose end it was. One on another node that is told to stop, and not by us, has lost its node.
local function comes_back(child, reason, pid)
  if child.restart == "temporary" then return false end
  if reason == "shutdown" then return pid ~= nil and tostring(pid):find("@", 1, true) ~= nil end
  return child.restart == "permanent" or reason ~= "normal"
end

local function again(child)
  child.restarts = child.restarts + 1
  child.state, child.down = "restarting", true
end

--- It ended, without having been told to. Says whether it is to be started again; may give up, and not return.
local function fail(self, child, reason)
  local pid = child.pid
  child.pid, child.reason = nil, reason
  if not comes_back(child, reason, pid) then
    retire(self, child, reason)
    return false
  end
  local lane, now = child.lane, throng.now()
  self.restarts = self.restarts + 1
  again(child)
  child.failed = true
  if not self.often:note(now) then give_up(self, child, reason) end
  local pause = 0
  if self.backoff then
    lane.pauses = lane.pauses or restarts.backoff(self.backoff)
    pause = lane.pauses:next(now)
  end
  lane.due = now + pause
  throng.log.warn("a child failed", {child = child.id, reason = text_of(reason), restart_in = ("%.0f"):format(pause)})
  return true
end

--- What else must go down because of `cause`: in a lane of its own, nobody.
local function take_along(self, cause)
  cause.failed = false
  if cause.lane == cause then return end
  local first = self.strategy == "one_for_all" and 1 or cause.at
  local group = table.move(self.children, first, #self.children, 1, {})
  for _, child in ipairs(group) do child.doomed = true end -- who ends by himself before his turn is no other failure
  for at = #group, 1, -1 do
    local child = group[at]
    child.doomed = nil
    if pid_of(child) then halt(child) end
    if child.state == "stopping" and not pid_of(child) then -- else somebody else has taken it over meanwhile
      if child.restart == "temporary" then retire(self, child, "shutdown") else again(child) end
    end
  end
end

local function first_with(members, mark)
  for _, child in ipairs(members) do
    if child[mark] then return child end
  end
end

--- Brings a lane back up: takes down what must go down, waits, starts in order what is down, and all over again while
--- something fails.
local function revive(self, lane)
  if lane.phase == "work" then return end -- who is at it sees what is new
  lane.shift = (lane.shift or 0) + 1
  local shift = lane.shift
  while not self.ending do
    lane.phase = "work"
    local cause, down = first_with(lane.members, "failed"), first_with(lane.members, "down")
    local pause = (lane.due or 0) - throng.now()
    if cause then
      take_along(self, cause)
    elseif not down then
      break
    elseif pause > 0 then
      lane.phase = "pause"
      throng.sleep(pause)
      if lane.shift ~= shift then return end
    else
      local pid, reason = start(self, down)
      if not pid and reason and not self.ending then fail(self, down, reason) end
    end
  end
  lane.phase = nil
end

-- ---- the behaviour ----

local Supervisor = {concurrent = true}

local function configure(self, options)
  check(type(options) == "table", "a supervisor's options must be a table, not a %s", type(options))
  self.strategy = options.strategy or "one_for_one"
  check(STRATEGIES[self.strategy], "there is no strategy '%s'", tostring(self.strategy))
  local intensity = options.intensity or {}
  self.often = restarts.intensity(intensity.count or COUNT, intensity.seconds or SECONDS)
  if options.backoff then restarts.backoff(options.backoff) end
  self.backoff = options.backoff
  self.template = self.strategy == "dynamic" and options.child or nil
  self.children, self.by_id, self.by_pid = {}, {}, {}
  self.serial, self.restarts = 0, 0
  if self.strategy == "one_for_all" or self.strategy == "rest_for_one" then self.lane = {members = self.children} end
  for _, spec in ipairs(options.children or {}) do
    local child = make(self, spec)
    check(not self.by_id[child.id], "there are two children '%s'", child.id)
    child.down = true
    add(self, child)
  end
end

--- Whoever stops it while its init starts children leaves none behind: nothing can wait there, so they are told.
local function stop_unwaited(self)
  if self.up then return end
  for at = #self.children, 1, -1 do
    local pid = pid_of(self.children[at])
    if pid then throng.stop(pid, "shutdown") end
  end
end

function Supervisor:init(options)
  throng.trap_exits(true)
  self.parent = throng.parent()
  configure(self, options)
  local _ <close> = setmetatable({}, {__close = function() stop_unwaited(self) end})
  for _, child in ipairs(table.move(self.children, 1, #self.children, 1, {})) do
    if child.down then revive(self, child.lane) end
  end
  self.up = true
end

function Supervisor:terminate()
  for _, child in ipairs(self.children or {}) do -- who was at starting it is no more; it is linked to us, and ends
    if not pid_of(child) then child.starting = nil end
  end
  stop_all(self)
end

function Supervisor:on_exit(pid, reason)
  local child = self.by_pid[pid]
  self.by_pid[pid] = nil
  if child and child.pid == pid then
    if self.ending then
      child.pid = nil
    elseif child.doomed then
      child.pid, child.state, child.reason = nil, "stopping", reason
    elseif fail(self, child, reason) then
      revive(self, child.lane)
    end
  elseif pid == self.parent then
    throng.exit(reason)
  end
end

local function find(self, id)
  local child = self.by_id[id]
  if self.ending then return nil, problem("stopping", "the supervisor is giving up") end
  if not child then return nil, problem("no_child", "there is no child '%s'", tostring(id)) end
  return child
end

function Supervisor:on_start_child(spec)
  if self.ending then return find(self) end
  local good, child = pcall(make, self, spec)
  if not good then return nil, problem("bad_child", "%s", text_of(child)) end
  if self.by_id[child.id] then return nil, problem("exists", "there is a child '%s' already", child.id) end
  add(self, child)
  local pid, reason = start(self, child)
  if pid then return pid, child.id end
  if reason == nil then return nil, problem("overtaken", "child '%s' was stopped while it was started", child.id) end
  remove(self, child)
  return nil, type(reason) == "table" and reason or problem("down", "child '%s': %s", child.id, tostring(reason))
end

--- Stops it, also if somebody starts it meanwhile.
local function take_down(child)
  repeat halt(child) until not pid_of(child)
end

function Supervisor:on_stop_child(id)
  local child, why = find(self, id)
  if not child then return nil, why end
  take_down(child)
  retire(self, child, "shutdown")
  return true
end

function Supervisor:on_remove_child(id)
  local child, why = find(self, id)
  if not child then return nil, why end
  take_down(child)
  retire(self, child, "shutdown")
  remove(self, child)
  return true
end

function Supervisor:on_restart_child(id)
  local child, why = find(self, id)
  if not child then return nil, why end
  take_down(child)
  if self.ending then return find(self) end
  child.restarts = child.restarts + 1
  local pid, reason = start(self, child)
  if pid then return pid end
  if reason == nil then return nil, problem("overtaken", "child '%s' was stopped while it was started", id) end
  child.reason = reason
  retire(self, child, reason)
  return nil, type(reason) == "table" and reason or problem("down", "child '%s': %s", id, tostring(reason))
end

function Supervisor:on_reset(id)
  local child, why = find(self, id)
  if id ~= nil and not child then return nil, why end
  for _, each in ipairs(child and {child} or self.children) do
    if each.lane.pauses then each.lane.pauses:reset() end
  end
  self.often:reset()
  return true
end

function Supervisor:on_child(id)
  local child, why = find(self, id)
  if not child then return nil, why end
  if child.pid then return child.pid end
  return nil, problem(child.state, "child '%s' is %s", id, child.state)
end

function Supervisor:on_which()
  local list = {}
  for at, child in ipairs(self.children) do
    list[at] = {id = child.id, module = child.module, state = child.state, pid = child.pid, restarts = child.restarts,
                reason = child.reason, restart = child.restart}
  end
  return list
end

function Supervisor:on_watch(id)
  local child, why = find(self, id)
  if not child then return nil, why end
  if child.state == "stopped" then return nil, problem("stopped", "child '%s' is stopped", id) end
  child.watchers = child.watchers or {}
  child.watchers[throng.sender() or throng.self()] = true
  return true
end

--- A behaviour that is a supervisor: for a module to return. With a function, the options are what it returns for
--- init's arguments.
---@param options throng.SupervisorOptions|fun(...: any): throng.SupervisorOptions
---@return throng.Behaviour
function supervisor.behaviour(options)
  local behaviour = {}
  for name, value in pairs(Supervisor) do behaviour[name] = value end
  function behaviour:init(...)
    return Supervisor.init(self, type(options) == "function" and options(...) or options)
  end
  return behaviour
end

-- ---- for those who use one ----

local ERROR <const> = {__tostring = function(e) return e.message end}

---@param of pid|string  the supervisor or its name
local function whom(of)
  if type(of) ~= "string" then return of end
  return throng.whereis(of) or error(setmetatable(problem("down", "nobody is named '%s'", of), ERROR), 0)
end

local function ask(of, name, ...)
  return throng.ask_within(ASK, whom(of), name, ...)
end

--- A new child, the last in order. Returns when its init is done.
---@param of pid|string
---@param spec throng.ChildSpec
---@return pid? pid
---@return string|integer|throng.Error id  or why it could not be started
function supervisor.start_child(of, spec) return ask(of, "start_child", spec) end

--- Stops a child; it stays in the list, unless it is temporary or the strategy dynamic.
---@param of pid|string
---@param id string|integer
---@return true? stopped
---@return throng.Error? why
function supervisor.stop_child(of, id) return ask(of, "stop_child", id) end

--- Starts a child again: one that was stopped, waits for its restart, or runs. That counts for no intensity.
---@param of pid|string
---@param id string|integer
---@return pid? pid
---@return throng.Error? why  then it is stopped
function supervisor.restart_child(of, id) return ask(of, "restart_child", id) end

--- Stops a child and forgets it.
---@param of pid|string
---@param id string|integer
---@return true? removed
---@return throng.Error? why
function supervisor.remove_child(of, id) return ask(of, "remove_child", id) end

--- The children, in order.
---@param of pid|string
---@return throng.Child[]
function supervisor.which(of) return ask(of, "which") end

--- The pid of a child that runs.
---@param of pid|string
---@param id string|integer
---@return pid? pid
---@return throng.Error? why  the code is its state, or "no_child"
function supervisor.child(of, id) return ask(of, "child", id) end

--- Asks a child. Ends at once with an error while it does not run: its code is the child's state, such as
--- "restarting"; else as pid:ask.
---@param of pid|string
---@param id string|integer
---@param name string
---@param ... any
---@return any ...
function supervisor.ask(of, id, name, ...)
  local pid, why = supervisor.child(of, id)
  if not pid then error(setmetatable(why, ERROR), 0) end
  return throng.ask(pid, name, ...)
end

--- Forgets past failures: the next pause is the first one again, the next restart too.
---@param of pid|string
---@param id? string|integer  one child; all if not given
---@return true? reset
---@return throng.Error? why
function supervisor.reset(of, id) return ask(of, "reset", id) end

--- Asks for one message `gone` (id, reason) when that child is down to stay: it was stopped or removed, it ended and is
--- not started again, or its supervisor ended. A restart is none; for those, monitor the pid. Who is killed tells
--- nobody: monitor the supervisor, too.
---@param of pid|string
---@param id string|integer
---@return true? watched
---@return throng.Error? why
function supervisor.watch(of, id) return ask(of, "watch", id) end

return supervisor
