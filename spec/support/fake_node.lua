--- Plays a node's console (core/ops/PROTOCOL.md) for specs of the client: answers as the spec says, also wrongly.
---
---     local fake = fake_node.start(dir, "world", {ps = function(peer, id, args) peer:value(id, {count = 0}) end})
---     fake:step()              -- takes in what came; to be called while the client runs
---     fake.requests            -- all that came: {id=, op=, args=}
local cjson = require "cjson"
local listener = require "door.listener"

local fake_node = {}

local Peer = {}
Peer.__index = Peer

function Peer:raw(text) self.out = self.out .. text end
function Peer:send(object) self:raw(cjson.encode(object) .. "\n") end
function Peer:more(id, piece) self:send {id = id, more = piece} end
function Peer:value(id, value) self:send {id = id, value = value == nil and cjson.null or value} end
function Peer:error(id, problem) self:send {id = id, error = problem} end

local Fake = {}
Fake.__index = Fake

--- Listens as `name` in the folder `dir`. `ops`: op to function(peer, id, args); others are a bad request.
function fake_node.start(dir, name, ops, greeting)
  local path = ("%s/%s.sock"):format(dir, name)
  local self = setmetatable({path = path, ops = ops or {}, peers = {}, requests = {}, name = name}, Fake)
  self.greeting = greeting or cjson.encode {throng = "0.1.0", protocol = 1, node = name, os_pid = 42, uptime = 1} .. "\n"
  self.door = assert(listener.listen(path))
  return self
end

local function answer(self, peer, line)
  local request = cjson.decode(line)
  request.id = math.tointeger(request.id)
  self.requests[#self.requests + 1] = request
  local op = self.ops[request.op]
  if op then return op(peer, request.id, request.args or {}, self) end
  if request.op == "cancel" then
    peer:error(math.tointeger(request.args.id), {code = "cancelled", message = "cancelled"})
    return peer:value(request.id, true)
  end
  peer:error(request.id, {code = "bad_request", message = "no op is called " .. request.op})
end

function Fake:step()
  local come = self.door and self.door:accept()
  if come then
    self.peers[#self.peers + 1] = setmetatable({door = come, inbox = "", out = self.greeting}, Peer)
  end
  for i = #self.peers, 1, -1 do
    local peer = self.peers[i]
    local text = peer.door:read()
    if text then
      peer.inbox = peer.inbox .. text
      while true do
        local line, after = peer.inbox:match("^([^\n]*)\n()")
        if not line then break end
        peer.inbox = peer.inbox:sub(after)
        answer(self, peer, line)
      end
      peer.out = peer.out:sub(peer.door:write(peer.out) + 1)
    end
    if not text or (peer.hang_up and peer.out == "") then
      peer.door:close()
      table.remove(self.peers, i)
    end
  end
end

--- The request of that op that came last.
function Fake:last(op)
  for i = #self.requests, 1, -1 do
    if self.requests[i].op == op then return self.requests[i] end
  end
end

--- Goes away; its socket stays behind unless `clean`.
function Fake:stop(clean)
  for _, peer in ipairs(self.peers) do peer.door:close() end
  self.peers = {}
  if self.door then self.door:close() end
  self.door = nil
  if clean then os.remove(self.path) end
end

return fake_node
