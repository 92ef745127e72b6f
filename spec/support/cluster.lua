--- Several real nodes on loopback, in specs. Roots are texts as in spec/support/scenario.lua.
---
---     local cluster = require "spec.support.cluster"
---     local a = cluster.listen("a", [[ function Me:init() throng.register "echo" end ... ]])
---     local found = cluster.ask(a, "b", [[ function Me:on_ready(echo) done(echo:ask("say", 1)) end ]])
---
--- The root of a node that joins gets on_ready(pid of the name "root" on the node it joined), once there is one.
local console = require "spec.support.console"
local node = require "spec.support.node"
local process = require "door.process"
local scenario = require "spec.support.scenario"
local tls = require "door.tls"

local cluster = {}

local dir

--- The run directory of this process's nodes: they share a secret, and none with anybody else.
function cluster.dir()
  if not dir then
    local home = process.mkdtemp()
    dir = home .. "/run"
    cluster.sweeper = setmetatable({}, {__gc = function() process.remove_all(home) end})
  end
  return dir
end

--- CLUSTER_TLS=1 in the environment: nodes that are started here talk by TLS, unless a spec says otherwise.
function cluster.add_tls(words, name)
  if not os.getenv "CLUSTER_TLS" then return end
  local certs = cluster.dir() .. "-certs"
  assert(tls.certs(certs, {name}, 100))
  for _, file in ipairs {"cert", "key", "ca"} do
    words[#words + 1] = "--tls-" .. file
    words[#words + 1] = ("%s/%s.%s"):format(certs, file == "ca" and "ca" or name, file == "key" and "key" or "pem")
  end
end

local function start(name, text, options, more)
  local o = {options = {"--name", name, "--workers", "2"}, env = {THRONG_RUN_DIR = cluster.dir()}}
  cluster.add_tls(o.options, name)
  for k, v in pairs(more or {}) do o[k] = v end
  for _, word in ipairs(options) do o.options[#o.options + 1] = word end
  o[1] = text
  local n = scenario.start(o)
  n.name = name
  return n
end

--- A node that others can join; its root's text has no init of its own, but may have Me:start().
---@return Node with `address`
function cluster.listen(name, text, options, more)
  local words = {"--listen", "127.0.0.1:0"}
  for _, word in ipairs(options or {}) do words[#words + 1] = word end
  local n = start(name, [[
    function Me:init() throng.register "root" if Me.start then Me.start(self) end print "started" end
  ]] .. text, words, more)
  n.address = n:read_until "listening for nodes of the cluster [%w_-]+ on (%S+)"
  n:read_until "started"
  return n
end

--- A node that joins that one.
function cluster.join(other, name, text, options, more)
  local words = {"--join", other.address}
  for _, word in ipairs(options or {}) do words[#words + 1] = word end
  return start(name, [[
    function Me:init() throng.watch_nodes(true) end
    function Me:on_node(name, state, ...)
      if state == "up" and name == "]] .. other.name .. [[" and not self.ready then
        self.ready = true
        Me.on_ready(self, assert(throng.whereis("root", name)))
      elseif Me.on_other_node then
        Me.on_other_node(self, name, state, ...)
      end
    end
  ]] .. text, words, more)
end

--- A node without a script, that others can join.
---@return Node with `address`
function cluster.bare(name, options, more)
  local o = {command = {"run", "--name", name, "--workers", "2", "--listen", "127.0.0.1:0"},
             env = {THRONG_RUN_DIR = cluster.dir()}}
  cluster.add_tls(o.command, name)
  for key, value in pairs(more or {}) do o[key] = value end
  for _, word in ipairs(options or {}) do o.command[#o.command + 1] = word end
  local n = node.start(o)
  n.name = name
  n.address = n:read_until "listening for nodes of the cluster [%w_-]+ on (%S+)"
  return n
end

--- A node that joins that one, which may be bare: its root gets on_ready() when the other one is up.
function cluster.beside(other, name, text, options, more)
  local words = {"--join", other.address}
  for _, word in ipairs(options or {}) do words[#words + 1] = word end
  return start(name, [[
    function Me:init() throng.watch_nodes(true) end
    function Me:on_node(name, state)
      if state == "up" and name == "]] .. other.name .. [[" and not self.ready then
        self.ready = true
        Me.on_ready(self)
      elseif Me.on_other_node then
        Me.on_other_node(self, name, state)
      end
    end
  ]] .. text, words, more)
end

--- A client of that node's console.
function cluster.console(n) return console.connect(cluster.dir() .. "/" .. n.name .. ".sock") end

--- Three that give each other up soon, and whose consoles see all three. Their roots' text has Me:start().
---@param more? string[] further options of b
---@return Node a, Node b, Node c
function cluster.three(text, files, more)
  local ready <const> = "function Me:on_ready() Me.start(self) print 'ready' end " .. text
  local quick = {"--set", "net.timeout=2000"}
  local joins = {"--listen", "127.0.0.1:0", table.unpack(quick)}
  local a = cluster.listen("a", text, quick, files)
  local b = cluster.join(a, "b", ready, table.move(more or {}, 1, #(more or {}), #joins + 1, {table.unpack(joins)}), files)
  local c = cluster.join(a, "c", ready, joins, files)
  b:read_until "ready"
  c:read_until "ready"
  for _, n in ipairs {a, b, c} do
    local client = cluster.console(n)
    repeat local _, rows = client:ask "nodes" until #rows == 3
    client:close()
  end
  return a, b, c
end

local function ended(n)
  local r = n:wait()
  if r.code ~= 0 then error(("exit code %s, signal %s"):format(r.code, r.signal), 3) end
  cluster.last = r
  return table.unpack(r.json and r.json.results or {})
end

--- The same, to its end: what it called done with.
function cluster.found(...) return ended(cluster.beside(...)) end

--- join, to its end: what it called done with.
function cluster.ask(...) return ended(cluster.join(...)) end

cluster.slow = node.slow
return cluster
