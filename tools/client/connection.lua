--- One connection to a node's console: which node, the frames, who waits for which answer. What comes in is handed out
--- by `pump`, the one place where the client waits.
local json = require "throng.client.json"
local terminal = require "throng.terminal"

local GREETING_WITHIN <const> = 5
local LONGEST <const> = 16 << 20 -- bytes of a line that is taken

local connection = {}

---@class Target
---@field name string  how one calls it
---@field path string  its socket

---@return Target
local function target_of(word, dir)
  if word:find("/", 1, true) then return {name = word:match("([^/]*)$"):gsub("%.sock$", ""), path = word} end
  return {name = word, path = ("%s/%s.sock"):format(dir, word)}
end

--- The nodes that answer.
local function running()
  local names, dir = terminal.nodes()
  local alive = {}
  for _, name in ipairs(names) do
    local socket = terminal.connect(target_of(name, dir).path)
    if socket then
      socket:close()
      alive[#alive + 1] = name
    end
  end
  return alive, dir
end

local function list_of_running()
  local alive, dir = running()
  if #alive == 0 then return ("no node is running (none answers in %s)"):format(dir) end
  return "running: " .. table.concat(alive, ", ")
end

--- Is there a socket, dead or alive, that a word of the command line names?
function connection.names_node(word)
  if word:find("/", 1, true) then return true end
  for _, name in ipairs((terminal.nodes())) do
    if name == word then return true end
  end
  return false
end

--- The node that `word` names, or without one the only one that runs.
---@return Target?, string? problem, integer? code  the exit code that goes with the problem
function connection.find(word)
  if word then
    if word == "" or not (word:find("/", 1, true) or word:find("^[%w_-]+$")) then
      return nil, ("'%s' is no node: a name, or the path of its socket"):format(word), 2
    end
    local _, dir = terminal.nodes()
    return target_of(word, dir)
  end
  local alive, dir = running()
  if #alive == 1 then return target_of(alive[1], dir) end
  if #alive == 0 then return nil, list_of_running() .. ": start one with 'throng run --name NAME FILE'", 1 end
  return nil, "which node? " .. list_of_running(), 2
end

local WHY <const> = {
  ENOENT = function(to) return ("no node '%s' here: no socket %s; %s"):format(to.name, to.path, list_of_running()) end,
  ECONNREFUSED = function(to)
    return ("node '%s' does not run: nobody answers at %s, which was left behind; %s")
      :format(to.name, to.path, list_of_running())
  end,
  EACCES = function(to) return ("%s belongs to somebody else: only that user may enter"):format(to.path) end,
  ENAMETOOLONG = function(to) return ("%s: the path of a socket has at most 107 bytes"):format(to.path) end,
  EAGAIN = function(to) return ("node '%s' is busy: too many wait at its console"):format(to.name) end,
}

---@class Connection
---@field target Target
---@field greeting table?   once it has come
---@field over string?      why it has ended
local Connection = {}
Connection.__index = Connection

--- Begins to connect; the greeting comes later.
---@param quiet? boolean  why it can't does not matter
---@return Connection?, string? problem
function connection.begin(target, quiet)
  local socket, text, code = terminal.connect(target.path)
  if not socket then
    if quiet then return nil end
    return nil, WHY[code] and WHY[code](target) or ("node '%s': %s: %s"):format(target.name, target.path, text)
  end
  return setmetatable({target = target, socket = socket, inbox = {}, outbox = "", sent = 1, last = 0, waiting = {}},
                      Connection)
end

--- Connects, and waits for the greeting. Ctrl-C while waiting is a problem, too.
---@return Connection?, string? problem
function connection.open(target)
  local self, problem = connection.begin(target)
  if not self then return nil, problem end
  local deadline = terminal.now() + GREETING_WITHIN
  while not self.greeting and not self.over do
    local left = deadline - terminal.now()
    if left <= 0 then return nil, ("node '%s' does not answer: no greeting within %d s"):format(target.name,
                                                                                            GREETING_WITHIN) end
    local happened = self:pump(left * 1000)
    if happened.int or happened.term or happened.hup then return nil, "interrupted" end
  end
  if self.over then return nil, ("node '%s' hung up: %s"):format(target.name, self.over) end
  return self
end

--- It is over: everybody who waits hears of it.
function Connection:close(why)
  if self.over then return end
  self.over = why or "closed"
  self.socket:close()
  local waiting = self.waiting
  self.waiting = {}
  for _, who in pairs(waiting) do who.done(nil, nil, {code = "closed", message = "the node went away"}) end
end

local function flush(self)
  if self.over or self.sent > #self.outbox then return end
  local sent, problem = self.socket:write(self.outbox, self.sent)
  if not sent then return self:close(problem) end
  self.sent = self.sent + sent
  if self.sent > #self.outbox then self.outbox, self.sent = "", 1 end
end

--- Where a request goes stands among its arguments as `on`, and travels beside them.
local function frame_of(id, op, args)
  local rest = {}
  for name, value in pairs(args) do rest[name] = value end
  rest.on = nil
  return json.encode {id = id, op = op, on = args.on, args = next(rest) and rest or nil}
end

--- Asks. `more(value, raw)` is called for each piece, `done(value, raw, error)` once; raw is the text of the value.
---@return integer id
function Connection:request(op, args, more, done)
  self.last = self.last + 1
  local id = self.last
  if self.over then
    done(nil, nil, {code = "closed", message = "the node went away"})
    return id
  end
  self.waiting[id] = {more = more, done = done}
  self.outbox = self.outbox:sub(self.sent) .. frame_of(id, op, args) .. "\n"
  self.sent = 1
  flush(self)
  return id
end

local function ignore() end

--- Ends a request; its `done` hears the error `cancelled`, from the node.
function Connection:cancel(id)
  if self.waiting[id] then self:request("cancel", {id = id}, ignore, ignore) end
end

--- Who no longer wants to hear, whatever the node says.
function Connection:forget(id)
  if self.waiting[id] then self.waiting[id] = {more = ignore, done = ignore} end
end

local function take_line(self, line)
  local values, raw = json.members(line)
  if not values then return self:close("it does not speak the console's protocol (" .. raw .. ")") end
  if not self.greeting then
    if type(values.error) == "table" then return self:close(tostring(values.error.message)) end -- as: too many clients
    if not raw.throng or type(values.node) ~= "string" then
      return self:close("it does not speak the console's protocol (no greeting)")
    end
    if values.protocol ~= 1 then
      return self:close(("it speaks protocol %s, and this program 1"):format(raw.protocol))
    end
    self.greeting = values
    return
  end
  local who = self.waiting[values.id]
  if raw.more then
    if who and who.more then who.more(values.more, raw.more) end
    return
  end
  if not who then -- what belongs to no request is the node's complaint about a line of ours
    if raw.error and values.id == nil then self.complaint = values.error end
    return
  end
  self.waiting[values.id] = nil
  if raw.error then
    local problem = type(values.error) == "table" and values.error or {}
    problem.code = tostring(problem.code or "error")
    problem.message = tostring(problem.message or problem.code)
    who.done(nil, raw.error, problem)
  else
    who.done(values.value, raw.value or "null")
  end
end

local function take(self, text)
  local from = 1
  while not self.over do
    local finish = text:find("\n", from, true)
    if not finish then break end
    self.inbox[#self.inbox + 1] = text:sub(from, finish - 1)
    local line = table.concat(self.inbox)
    self.inbox, self.size = {}, 0
    from = finish + 1
    take_line(self, line)
  end
  local rest = text:sub(from)
  if rest == "" then return end
  self.inbox[#self.inbox + 1] = rest
  self.size = (self.size or 0) + #rest
  if self.size > LONGEST then self:close("it sends a line without an end") end
end

--- Waits up to `ms` (negative: for ever) for anything: answers are handed out, the rest is returned (terminal.wait).
--- `input`: wake up when standard input has something, too. Works after the end, when it waits for the rest alone.
function Connection:pump(ms, input)
  flush(self)
  local socket = not self.over and self.socket or nil
  local happened = terminal.wait(ms, socket, self.sent <= #self.outbox, input)
  if happened.writable then flush(self) end
  if happened.readable and not self.over then
    local text, problem = self.socket:read()
    if text then take(self, text) else self:close(problem) end
  end
  return happened
end

return connection
