--- Runs a small world of actors in the real program, and returns what its root found out.
---
---     local scenario = require "spec.support.scenario"
---     local found = scenario.run {[[
---       function Me:init()
---         done(throng.spawn("echo"):ask("say", 1, "two"))
---       end]],
---       echo = "function Me:on_say(...) return ... end"}
---     assert.are.same({1, "two"}, found)
---
--- The first text is the root; the others are modules by their names (paths with a slash are files, written as they
--- are). Each text is the middle of a behaviour: `Me` is its table, returned at the end, and around are
---   throng
---   done(...)         ends the node; scenario.run returns the values (as cjson carries them; pids as their texts,
---                     errors as tables, nil as the text "nil" except within tables)
---   try(f, ...)       calls f and returns its error, a table with at least `message`, or nil if it raised none
---   spin(condition)   computes until condition() is true: no message is handled meanwhile
---   ended(pid)        true once the actor is dead: it takes no message
---   witness(pid)      watches it; returns a function that is true once its downs and exits were sent
---   note(self, ...)   appends a list of the values to self.notes
---   hold(pid)         returns when pid, which has Me.on_hold = scene.on_hold, is in the middle of a handler that
---   release()         computes until release() is called
--- A node that does not end by itself with the expected code is an error; any red spec shows scripts, log and result.
local node = require "spec.support.node"
local seed = require "spec.support.seed"

local scenario = {}

local HEAD <const> = "local throng, Me, scene = require 'throng', {}, require 'scene' "
  .. "local done, try, spin, ended, note = scene.done, scene.try, scene.spin, scene.ended, scene.note "
  .. "local hold, release, witness = scene.hold, scene.release, scene.witness "

local SCENE <const> = [[
local throng = require "throng"
local scene = {}

local function plain(value, within)
  if value == nil then return "nil" end
  if type(value) == "userdata" then return tostring(value) end
  if type(value) == "function" or type(value) == "thread" then return type(value) end
  if type(value) ~= "table" then return value end
  local copy = {}
  for k, v in pairs(value) do copy[type(k) == "userdata" and tostring(k) or k] = plain(v) end
  return copy
end

function scene.done(...)
  local results = table.pack(...)
  for i = 1, results.n do results[i] = plain(results[i]) end
  results.n = nil
  print(require "cjson".encode({results = results}))
  throng.shutdown(0)
end

function scene.try(f, ...)
  local good, e = pcall(f, ...)
  if good then return nil end
  return type(e) == "table" and e or {message = tostring(e)}
end

function scene.spin(condition)
  while not condition() do end
end

function scene.ended(pid)
  return select(2, pid:send("are you there")) == "dead"
end

local witnesses = 0

function scene.witness(pid)
  witnesses = witnesses + 1
  local name = "witness " .. witnesses
  throng.spawn_with({wait = 60000}, "witness", pid, name)
  return function() return throng.whereis(name) ~= nil end
end

function scene.on_hold()
  throng.register "held"
  scene.spin(function() return not throng.whereis "gate" end)
  throng.unregister "held"
end

function scene.hold(pid)
  throng.register "gate"
  pid:send "hold"
  scene.spin(function() return throng.whereis "held" == pid end)
end

function scene.release() throng.unregister "gate" end

function scene.note(self, ...)
  self.notes = self.notes or {}
  self.notes[#self.notes + 1] = {...}
end

return scene
]]

-- Notices of one end go out together: who heard one of each kind, and then did something else, was not far ahead.
local WITNESS <const> = [[
local throng = require "throng"
local Witness = {}
function Witness:init(pid, name)
  self.heard, self.name = 0, name
  throng.trap_exits(true)
  throng.link(pid)
  for _ = 1, 8 do throng.monitor(pid) end
end
function Witness:hear()
  self.heard = self.heard + 1
  if self.heard < 9 then return end
  throng.spawn_with({wait = 60000}, "witness", throng.self(), "-")
  throng.register(self.name)
end
Witness.on_down, Witness.on_exit = Witness.hear, Witness.hear
return Witness
]]

local RESERVED <const> = {options = true, args = true, code = true, timeout = true, env = true}

local function numbered(text)
  local lines, n = {}, 0
  for line in (text .. "\n"):gmatch("([^\n]*)\n") do
    n = n + 1
    lines[n] = ("%4d  %s"):format(n, line)
  end
  return table.concat(lines, "\n")
end

--- Starts it; see node.start for what can be done with it.
---@param o string|table the root's text, or {text, module = text, ..., options=, args=, env=}
---@return Node
function scenario.start(o)
  if type(o) == "string" then o = {o} end
  local files, shown = {["scene.lua"] = SCENE, ["witness.lua"] = WITNESS}, {}
  local function add(name, text)
    if name:find("/") then files[name] = text
    else files[name .. ".lua"] = HEAD .. text .. "\nreturn Me\n" end
    shown[#shown + 1] = ("--- %s:\n%s\n"):format(name, numbered(text))
  end
  add("main", o[1])
  for name, text in pairs(o) do
    if type(name) == "string" and not RESERVED[name] then add(name, text) end
  end
  local options = {"--set", "ask.timeout=60000", "--set", "stop.timeout=100"}
  for _, word in ipairs(o.options or {}) do options[#options + 1] = word end
  local started = node.start {files = files, options = options, args = o.args, env = o.env}
  local describe = started.describe
  function started:describe() return table.concat(shown) .. describe(self) end
  return started
end

--- Runs it to its end.
---@return any ... what its root called done with, or nothing
function scenario.run(o)
  local started = scenario.start(o)
  local r = started:wait(type(o) == "table" and o.timeout or nil)
  if r.code ~= (type(o) == "table" and o.code or 0) then
    error(("exit code %s, signal %s\n%s"):format(r.code, r.signal, r.err:sub(-2000)), 2)
  end
  local results = r.json and r.json.results or {}
  scenario.last = r
  return table.unpack(results)
end

--- Calls f(seed, options) for `count` seeds (fewer in slow builds); a failure names its seed.
function scenario.each_seed(count, f)
  for i = 1, math.max(3, count // node.slow) do
    local number = seed * 1000 + i
    local good, e = pcall(f, number, {"--set", "sched.seed=" .. number})
    if not good then error(("with sched.seed=%d: %s"):format(number, type(e) == "table" and e.message or e), 0) end
  end
end

return scenario
