--- A router hands each message to one of many actors: in turn, to the least loaded, or always the same one for a key.
--- It is a table in the actor that uses it, no actor itself. See throng.pool for workers that come and go by need.
---
---@usage
---   local tills = router.over_group("tills", "least_loaded")   -- whoever has joined that group
---   local bill = tills:ask("sell", "bread")
---   local shelves = router.over({a, b, c}, "hash")             -- or over these pids
---   shelves:send("put", "bread", 3)                            -- all of the "bread" comes to the same one
local router = {}

---@class throng.Router
---@field members fun(): pid[]
---@field strategy "round_robin"|"least_loaded"|"hash"
---@field load fun(pid: pid): number
---@field key fun(name: string, ...: any): any
---@field turn integer                how many were picked
---@field asked table<pid, integer>   asks of ours that wait
local Router = {}
Router.__index = Router

---@class throng.RouterOptions
---@field load? fun(pid: pid): number  least_loaded: how busy it is; if not given, how many asks of this router wait
---@field key? fun(name: string, ...: any): any  hash: what decides; the first argument if not given

-- ---- picking ----

local pickers = {}

--- In turn. Who joins or leaves moves the turn, no more.
function pickers.round_robin(self, pids)
  return pids[self.turn % #pids + 1]
end

--- The least loaded; of equals, in turn.
function pickers.least_loaded(self, pids)
  local count, best, least = #pids, nil, math.huge
  for i = 0, count - 1 do
    local pid = pids[(self.turn + i) % count + 1]
    local load = self.load(pid)
    if not best or load < least then best, least = pid, load end
  end
  return best
end

local function hash_text(text)
  local hash = -3750763034362895579 -- FNV-1a
  for i = 1, #text do hash = (hash ~ text:byte(i)) * 1099511628211 end
  return hash
end

local function mixed(hash)
  hash = (hash ~ hash >> 30) * -4658895280553007687
  hash = (hash ~ hash >> 27) * -7723592293110705685
  return hash ~ hash >> 31
end

local function key_text(key)
  if math.type(key) == "float" then key = math.tointeger(key) or key end
  return type(key) .. tostring(key)
end

--- Each member has a number of its own for each key, and the largest wins: who leaves takes along no key but his own,
--- and who joins takes from each of the others his share.
function pickers.hash(_, pids, key)
  local hash, best, most = hash_text(key_text(key)), nil, nil
  for _, pid in ipairs(pids) do
    local number = mixed(hash ~ mixed(hash_text(tostring(pid))))
    if not best or number > most then best, most = pid, number end
  end
  return best
end

-- ---- making ----

--- A router over a list of pids, or over what a function returns whenever it is needed.
---@param members pid[]|fun(): pid[]
---@param strategy? "round_robin"|"least_loaded"|"hash" round_robin if not given
---@param options? throng.RouterOptions
---@return throng.Router
function router.over(members, strategy, options)
  strategy, options = strategy or "round_robin", options or {}
  if not pickers[strategy] then
    error(("there is no strategy '%s': they are round_robin, least_loaded, hash"):format(tostring(strategy)), 2)
  end
  if type(members) ~= "function" and type(members) ~= "table" then
    error("a router needs a list of pids, or a function that returns one", 2)
  end
  local self = setmetatable({strategy = strategy, turn = 0, asked = {}}, Router)
  self.members = type(members) == "function" and members or function() return members end
  self.load = options.load or function(pid) return self.asked[pid] or 0 end
  self.key = options.key or function(_, key) return key end
  return self
end

--- A router over those who have joined a group, at each time.
---@param group string
---@param strategy? "round_robin"|"least_loaded"|"hash"
---@param options? throng.RouterOptions
---@return throng.Router
function router.over_group(group, strategy, options)
  local throng = require "throng"
  return router.over(function() return throng.members(group) end, strategy, options)
end

-- ---- using ----

--- Whose turn it is.
---@param key? any  hash: what decides
---@return pid?     nil: there is nobody
function Router:pick(key)
  local pids = self.members()
  if #pids == 0 then return nil end
  local pid = pickers[self.strategy](self, pids, key)
  self.turn = self.turn + 1
  return pid
end

local function without(pids, pid)
  local others = {}
  for _, other in ipairs(pids) do
    if other ~= pid then others[#others + 1] = other end
  end
  return others
end

--- Sends to one of them; who is dead already is passed over.
---@param name string
---@param ... any
---@return boolean taken
---@return "empty"|"full"|"unreachable"|nil why  empty: there is nobody
function Router:send(name, ...)
  local send, pids, key = require("throng").send, self.members(), self.key(name, ...)
  while #pids > 0 do
    local pid = pickers[self.strategy](self, pids, key)
    self.turn = self.turn + 1
    local taken, why = send(pid, name, ...)
    if taken or why ~= "dead" then return taken, why end
    pids = without(pids, pid)
  end
  return false, "empty"
end

local ERROR <const> = {__tostring = function(e) return e.message end}

--- Calls `f(pid, ...)` with one of them; meanwhile it counts as asked.
local function with_one(self, key, f, ...)
  local pid = self:pick(key)
  if not pid then error(setmetatable({code = "empty", message = "there is nobody to ask"}, ERROR), 0) end
  local asked = self.asked
  asked[pid] = (asked[pid] or 0) + 1
  local results = table.pack(pcall(f, pid, ...))
  asked[pid] = asked[pid] > 1 and asked[pid] - 1 or nil
  if not results[1] then error(results[2], 0) end
  return table.unpack(results, 2, results.n)
end

--- Asks one of them, as pid:ask does. Raises the code "empty" if there is nobody.
---@param name string
---@param ... any
---@return any ...
function Router:ask(name, ...)
  return with_one(self, self.key(name, ...), require("throng").ask, name, ...)
end

--- The same with a time of its own.
---@param ms number
---@param name string
---@param ... any
---@return any ...
function Router:ask_within(ms, name, ...)
  return with_one(self, self.key(name, ...), function(pid, ...) return require("throng").ask_within(ms, pid, ...) end,
                  name, ...)
end

return router
