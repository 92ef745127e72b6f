--- A client of a node's console in specs, with deadlines.
---
---     local c = console.connect(n)                 -- n: a node of spec.support.node
---     local value, rows = c:ask("ps", {limit = 3}) -- raises on an error, as "no_actor: <1.1> is dead"
---     local err = c:fails("kill", {pid = "bob"})   -- {code =, message =}
---     c:send('{"id":1')                            -- raw bytes; c:frame() reads one frame
local unix = require "door.unix"
local cjson = require "cjson"
local node = require "spec.support.node"

local DEADLINE <const> = 10000 -- ms

local console = {null = cjson.null}
local Client = {}
Client.__index = Client

--- The path of the socket of a node, started without another run directory.
function console.path(n, name) return n.dir .. "/run/" .. (name or "throng") .. ".sock" end

--- Connects to a path, or to a node that may be just starting (its console opens before its root is born).
function console.connect(n, name)
  local path = type(n) == "string" and n or console.path(n, name)
  local socket, why = unix.connect(path)
  if not socket then error(("can't connect to %s: %s"):format(path, why), 2) end
  local self = setmetatable({socket = socket, last = 0}, Client)
  self.greeting = self:frame()
  return self
end

function Client:send(bytes) return self.socket:send(bytes, math.ceil(DEADLINE * node.slow)) end

--- The next frame, decoded; nil and "end" when the node closed; raises when none comes.
function Client:frame(ms)
  local line, why = self.socket:line(math.ceil((ms or DEADLINE) * node.slow))
  if why == "timeout" then error("the console did not answer in time", 2) end
  if not line then return nil, why end
  return cjson.decode(line)
end

--- `on`: a node of the cluster that is asked instead, or "*".
function Client:begin(op, args, on)
  self.last = self.last + 1
  self:send(cjson.encode {id = self.last, op = op, args = args, on = on} .. "\n")
  return self.last
end

--- Waits for the end of a request: the last frame, and its pieces.
function Client:finish(id, ms)
  local pieces = {}
  while true do
    local frame, why = self:frame(ms)
    if not frame then error("the console closed: " .. why, 2) end
    if frame.id == id then
      if frame.more == nil then return frame, pieces end
      pieces[#pieces + 1] = frame.more
    end
  end
end

function Client:ask(op, args)
  local frame, pieces = self:finish(self:begin(op, args))
  if frame.error then error(("%s: %s"):format(frame.error.code, frame.error.message), 2) end
  return frame.value, pieces
end

function Client:fails(op, args)
  local frame = self:finish(self:begin(op, args))
  if not frame.error then error(op .. " did not fail", 2) end
  return frame.error
end

--- One field of all rows, in order.
function console.sorted(rows, field)
  local found = {}
  for i, row in ipairs(rows) do found[i] = row[field] end
  table.sort(found)
  return found
end

function Client:close() self.socket:close() end

return console
