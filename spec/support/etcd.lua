--- Real etcds on loopback, in specs: one, or several that are one; and nodes that go by them.
---
---     local etcd = require "spec.support.etcd"
---     local e = etcd.start(3)
---     local a = etcd.node(e, "a", text)           -- as cluster.listen, with --etcd; `urls` for other ones
---     e[1]:freeze() e[1]:signal "CONT" e[2]:kill() e:again(2)
---     e:leader()                                  -- the number of the one that leads
---     e:get("names/lobby")                        -- the value under /throng/throng/, nil if there is none
---
--- Where etcd is not installed (Debian: etcd-server; `make test-cluster` does it) the specs are skipped, with a word.
local busted = require "busted"
local cjson = require "cjson"
local cluster = require "spec.support.cluster"
local node = require "spec.support.node"
local process = require "door.process"
local relay = require "door.relay"

local etcd = {}

local Etcds = {}
Etcds.__index = Etcds

local function there(program)
  local list <close> = assert(io.popen("command -v " .. program))
  return list:read "l" ~= nil
end

local function launch(self, i)
  local peer = "http://127.0.0.1:" .. self.peer_ports[i]
  local command = {
    "--name", "e" .. i, "--data-dir", self.home .. "/e" .. i,
    "--listen-client-urls", (self.urls[i]:gsub("localhost", "127.0.0.1")), "--advertise-client-urls", self.urls[i],
    "--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer, "--initial-cluster", self.members,
    "--heartbeat-interval", "50", "--election-timeout", "500", "--log-level", "error"}
  if self.certs then
    table.move({"--cert-file", self.certs .. "/localhost.pem", "--key-file", self.certs .. "/localhost.key",
                "--trusted-ca-file", self.certs .. "/ca.pem", "--client-cert-auth"}, 1, 7, #command + 1, command)
  end
  self[i] = node.start {program = "etcd", command = command}
  return self[i]
end

local function curl(self, url, body)
  local tls = self.certs and ("--cacert %s/ca.pem --cert %s/localhost.pem --key %s/localhost.key"):gsub("%%s", self.certs)
  local command = ("curl -s -m 2 %s %s -d '%s'"):format(tls or "", url, cjson.encode(body))
  local answer <close> = assert(io.popen(command))
  local good, value = pcall(cjson.decode, answer:read "a")
  return good and value or nil
end

local BASE <const> = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"

local function base64(text)
  return (text:gsub("..?.?", function(s)
    local n, out = 0, ""
    for i = 1, 3 do n = n << 8 | (s:byte(i) or 0) end
    for i = 3, 0, -1 do out = out .. BASE:sub((n >> 6 * i & 63) + 1, (n >> 6 * i & 63) + 1) end
    return out:sub(1, #s + 1) .. ("="):rep(3 - #s)
  end))
end

local function unbase64(text)
  return (text:gsub("....", function(s)
    local n = 0
    for c in s:gmatch "." do n = n << 6 | (c == "=" and 0 or BASE:find(c, 1, true) - 1) end
    local pad = #s:match "=*$"
    return string.pack(">I3", n):sub(1, 3 - pad)
  end))
end

--- One etcd, or `count` that are one; returns when they answer. With `certs` by https alone, to who has a certificate:
--- localhost.pem of that folder is etcd's.
---@param count? integer
---@param certs? string
function etcd.start(count, certs)
  if not there "etcd" or not there "curl" then
    error(busted.pending "it wants etcd and curl (Debian: etcd-server, curl)")
  end
  count = count or 1
  local ports = relay.ports(2 * count)
  local self = setmetatable({home = process.mkdtemp(), urls = {}, ports = {}, peer_ports = {}, certs = certs}, Etcds)
  etcd.sweepers = etcd.sweepers or {}
  table.insert(etcd.sweepers, setmetatable({}, {__gc = function() process.remove_all(self.home) end}))
  local members = {}
  for i = 1, count do
    self.ports[i], self.peer_ports[i] = ports[2 * i - 1], ports[2 * i]
    self.urls[i] = (certs and "https://localhost:" or "http://127.0.0.1:") .. self.ports[i]
    members[i] = ("e%d=http://127.0.0.1:%d"):format(i, self.peer_ports[i])
  end
  self.members, self.url = table.concat(members, ","), table.concat(self.urls, ",")
  for i = 1, count do launch(self, i) end
  self:wait()
  return self
end

--- Starts one that was killed, with what it had.
function Etcds:again(i) return launch(self, i) end

--- Until one of them answers what a majority stands behind.
function Etcds:wait()
  local deadline = process.now() + 30 * node.slow
  while true do
    for _, url in ipairs(self.urls) do
      local answer = curl(self, url .. "/v3/kv/range", {key = base64 "/"})
      if answer and answer.header then return url end
    end
    if process.now() > deadline then error("etcd does not answer", 2) end
    for i = 1, #self do self[i]:pump(0.02) end
  end
end

function Etcds:leader()
  for i, url in ipairs(self.urls) do
    local status = curl(self, url .. "/v3/maintenance/status", {})
    if status and status.leader and status.leader == status.header.member_id then return i end
  end
  error("no etcd leads", 2)
end

function Etcds:call(path, body) return curl(self, self:wait() .. path, body) end

function Etcds:get(key)
  local answer = self:call("/v3/kv/range", {key = base64("/throng/throng/" .. key)})
  local pair = answer.kvs and answer.kvs[1]
  return pair and cjson.decode(unbase64(pair.value)), pair and tonumber(pair.mod_revision)
end

function Etcds:put(key, value)
  self:call("/v3/kv/put", {key = base64("/throng/throng/" .. key), value = base64(value)})
end

function Etcds:delete(key) self:call("/v3/kv/deleterange", {key = base64("/throng/throng/" .. key)}) end

--- What CLAIMANT prints, by all nodes, as a history: that no two held the name at one moment, and that fences grew.
--- Returns the terms in order, each {node=, fence=, from=, to=} in ms of the machine's clock.
function etcd.history(nodes)
  local terms, by = {}, {}
  for _, n in ipairs(nodes) do
    for fence, at in n.out:gmatch "held (%d+) ([%d.]+)\n" do
      fence, at = tonumber(fence), tonumber(at)
      local key = fence .. n.name
      local term = by[key]
      if not term then
        term = {node = n.name, fence = fence, from = at, to = at}
        by[key], terms[#terms + 1] = term, term
      end
      term.from, term.to = math.min(term.from, at), math.max(term.to, at)
    end
  end
  table.sort(terms, function(a, b) return a.from < b.from end)
  for i = 2, #terms do
    local a, b = terms[i - 1], terms[i]
    local text = ("%s held it as %d from %.3f to %.3f, %s as %d from %.3f"):format(a.node, a.fence, a.from, a.to, b.node,
                                                                            b.fence, b.from)
    if a.to >= b.from then error("two holders at one moment: " .. text, 2) end
    if a.fence >= b.fence then error("a fence that does not grow: " .. text, 2) end
  end
  return terms
end

--- The root of a node that wants the name "lobby" whenever it does not have it, and says when it has it. The time is
--- read first: what it says to be its own then was so then, or later.
etcd.CLAIMANT = [[
  function Me:start()
    throng.watch_nodes(true)
    throng.every(5, "look")
  end
  function Me:on_node(name, state) print("node " .. name .. " " .. state) end
  function Me:on_look()
    local at, fence = throng.now(), throng.fence "lobby"
    local till = at + 4
    while fence and at < till do -- so that who is stopped is stopped in the middle of this, and wakes there
      self.at = at
      at = throng.now()
      fence = throng.fence "lobby"
    end
    if fence then
      if fence ~= self.fence or at - self.said >= 50 then
        print(("held %d %.3f"):format(fence, at))
        self.said = at
      end
      self.fence, self.at = fence, at
    elseif self.fence then
      print(("held %d %.3f"):format(self.fence, self.at))
      self.fence = nil
    elseif not self.asking and at >= (self.next or 0) then
      self.asking = true
      throng.fork(function()
        throng.register("lobby", {scope = "cluster"})
        self.asking, self.next = false, throng.now() + 100
      end)
    end
  end
  function Me:on_name(name, what) print(name .. " " .. what) end
  function Me:on_say(...) return ... end
]]

--- A node that listens and goes by etcd, with a lease of three seconds if nothing is said.
function etcd.node(e, name, text, options, more)
  local words = {"--etcd", type(e) == "string" and e or e.url, "--set", "etcd.ttl=3000"}
  for _, word in ipairs(options or {}) do words[#words + 1] = word end
  return cluster.listen(name, text, words, more)
end

return etcd
