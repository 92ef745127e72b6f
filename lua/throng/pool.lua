--- A pool of like workers: it hands each piece of work to the one that has the least to do, grows while all are busy
--- and shrinks when they are idle, between bounds. It is an actor, and the workers' supervisor: who crashes is started
--- again.
---
---@usage
---   -- tills.lua: throng.spawn_with({name = "tills", link = true}, "tills")
---   return require "throng.pool".behaviour {
---     least = 2, most = 10, idle = 5000,
---     child = {module = "till", args = {"in the hall"}},
---   }
---   -- anywhere; a worker has the handler on_sell:
---   local bill = pool.ask("tills", "sell", "bread")
---   pool.send("tills", "tidy_up")
local router = require "throng.router"
local supervisor = require "throng.supervisor"
local throng = require "throng"

local pool = {}

local PATIENCE <const> = 60000 -- for work that was sent: who waits for none of it can't say how long it may take
local ASK <const> = 5000       -- as ask.timeout is if nobody sets it
local IDLE <const> = 10000

---@class throng.PoolOptions
---@field least integer       workers there are at any time
---@field most integer        and at most
---@field child throng.ChildSpec  what they are; without an id or a name
---@field busy? integer       pieces of work from which on a worker is busy (1); while all are, the pool grows
---@field idle? number        ms (10000) without work after which a worker is let go
---@field intensity? {count: integer, seconds: number}  as of a supervisor
---@field backoff? throng.BackoffOptions

local function check(options)
  local least, most = options.least, options.most
  if math.type(least) ~= "integer" or math.type(most) ~= "integer" or least < 0 or most < 1 or least > most then
    error("a pool needs least and most, whole numbers, least <= most", 0)
  end
end

--- Whom to give work to: the least loaded, or while all are busy and there may be more, a new one.
local function find(self)
  local pid = self.router:pick()
  if pid and (self.router.asked[pid] or 0) < self.busy then return pid end
  if #self.children >= self.most then return pid end
  local new = self:on_start_child({})
  return new or self.router:pick()
end

local Pool = supervisor.behaviour(function(options) return options end)
local init = Pool.init

function Pool:init(options)
  check(options)
  self.least, self.most = options.least, options.most
  self.busy, self.idle = options.busy or 1, options.idle or IDLE
  self.router = router.over(function()
    local pids = {}
    for _, child in ipairs(self.children) do pids[#pids + 1] = child.pid end
    return pids
  end, "least_loaded")
  throng.every(math.max(1, self.idle / 2), "look")
  local children = {}
  for i = 1, self.least do children[i] = {} end
  init(self, {strategy = "dynamic", child = options.child, intensity = options.intensity, backoff = options.backoff,
              children = children})
end

function Pool:on_work(ms, name, ...)
  local asked, pid = self.router.asked, find(self)
  if not pid then return false, {code = "empty", message = "the pool has no worker"} end
  asked[pid] = (asked[pid] or 0) + 1
  local results = table.pack(pcall(throng.ask_within, ms, pid, name, ...))
  asked[pid] = asked[pid] > 1 and asked[pid] - 1 or nil
  local child = self.by_pid[pid]
  if child then child.worked = throng.now() end
  return table.unpack(results, 1, results.n)
end

local function running(self)
  local count = 0
  for _, child in ipairs(self.children) do count = count + (child.pid and 1 or 0) end
  return count
end

--- Lets those go who had no work for long.
function Pool:on_look()
  local now = throng.now()
  for _, child in ipairs(table.move(self.children, 1, #self.children, 1, {})) do
    child.worked = child.worked or now
    local idle = child.pid and not self.router.asked[child.pid] and now - child.worked >= self.idle
    if idle and running(self) > self.least then self:on_stop_child(child.id) end
  end
end

--- A behaviour that is a pool: for a module to return. With a function, the options are what it returns for init's
--- arguments.
---@param options throng.PoolOptions|fun(...: any): throng.PoolOptions
---@return throng.Behaviour
function pool.behaviour(options)
  local behaviour = {}
  for name, value in pairs(Pool) do behaviour[name] = value end
  function behaviour:init(...) return Pool.init(self, type(options) == "function" and options(...) or options) end
  return behaviour
end

-- ---- for those who use one ----

local ERROR <const> = {__tostring = function(e) return tostring(e.message) end}

local function whom(of)
  if type(of) ~= "string" then return of end
  return throng.whereis(of)
    or error(setmetatable({code = "down", message = ("nobody is named '%s'"):format(of)}, ERROR), 0)
end

local function answered(good, ...)
  if good then return ... end
  local e = ...
  if type(e) == "table" and not getmetatable(e) then setmetatable(e, ERROR) end
  error(e, 0)
end

--- Asks a worker; as pid:ask, and raises what that raises, or the code "empty" if there is no worker.
---@param of pid|string  the pool or its name
---@param name string
---@param ... any
---@return any ...
function pool.ask(of, name, ...) return pool.ask_within(ASK, of, name, ...) end

--- The same with a time of its own.
---@param ms number
---@param of pid|string
---@param name string
---@param ... any
---@return any ...
function pool.ask_within(ms, of, name, ...)
  return answered(throng.ask_within(ms, whom(of), "work", ms, name, ...))
end

--- Sends a worker a message; what its handler returns is dropped.
---@param of pid|string
---@param name string
---@param ... any
---@return boolean taken
---@return "full"|"dead"|nil why
function pool.send(of, name, ...)
  return throng.send(whom(of), "work", PATIENCE, name, ...)
end

return pool
