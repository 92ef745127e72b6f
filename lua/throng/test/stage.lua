--- What is going on in the test that runs: who was there before, who has crashed, what got lost, what probes and stubs
--- have got. One a process, in the actor that runs the specs; throng.testkit is the face of it.

local testing = require "throng.testing"
local throng = require "throng"
local inline = require "throng.test.inline"

local STOP_MS <const> = 10000 -- for those under test, to end in order when their test is over

local stage = {
  stand_ins = {}, -- by number
  crashes = {}, letters = {}, shutdowns = {}, problems = {}, -- of the test that runs, unless expected
  spawned = {},   -- pids, in order
  before = {},    -- who was there before the test, by pid
  tickets = {},   -- of those who wait for something to happen
  allowed = {},
  real = false,   -- real time, by --real-time
}
local serial = 0

-- ---- waiting ----

--- Something happened that somebody may wait for.
function stage.poke()
  local tickets = stage.tickets
  stage.tickets = {}
  for _, ticket in ipairs(tickets) do testing.unpark(ticket) end
end

--- Until find() gives something else than nil, or the time is up: then what it gave, or nothing.
---@param within number milliseconds
---@param find fun(): any
function stage.wait(within, find)
  local until_ = throng.now() + within
  while true do
    local found = find()
    if found ~= nil then return found end
    local left = until_ - throng.now()
    if left <= 0 then
      testing.advance(0) -- what was sent up to now has arrived after that
      return find()
    end
    local ticket = testing.ticket()
    stage.tickets[#stage.tickets + 1] = ticket
    testing.park(ticket, left)
  end
end

-- ---- values as people read them ----

local function show(value, depth)
  if type(value) == "string" then return ("%q"):format(value):gsub("\\\n", "\\n") end
  if type(value) ~= "table" then return tostring(value) end
  if (getmetatable(value) or {}).__tostring then return tostring(value) end
  if depth > 3 then return "{...}" end
  local parts, count = {}, #value
  for i = 1, count do parts[i] = show(value[i], depth + 1) end
  local keys = {}
  for key in pairs(value) do
    if not (math.type(key) == "integer" and key >= 1 and key <= count) then keys[#keys + 1] = key end
  end
  table.sort(keys, function(a, b) return tostring(a) < tostring(b) end)
  for _, key in ipairs(keys) do
    local name = type(key) == "string" and key:find("^[%a_][%w_]*$") and key or "[" .. show(key, depth + 1) .. "]"
    parts[#parts + 1] = name .. " = " .. show(value[key], depth + 1)
  end
  return "{" .. table.concat(parts, ", ") .. "}"
end

--- A message as a call: greet("Ann", 3)
function stage.show_call(name, values, count)
  local parts = {}
  for i = 1, count or #values do parts[i] = show(values[i], 1) end
  return ("%s(%s)"):format(name, table.concat(parts, ", "))
end

local function who(pid)
  if not pid then return "the node" end
  if pid == throng.self() then return "the spec" end
  local name = testing.name_of(pid)
  return name ~= "" and ("%s %s"):format(name, tostring(pid)) or tostring(pid)
end
stage.who = who

function stage.show_crash(report)
  local lines = {("%s%s %s crashed in %s%s after %.0f ms: %s"):format(report.behaviour,
    report.name and " '" .. report.name .. "'" or "", tostring(report.pid), report.during,
    report.handling and " " .. stage.show_call(report.handling.name, report.handling.values, report.handling.values.n)
      or "", report.uptime, report.message)}
  if report.traceback and report.traceback ~= "" then lines[2] = report.traceback end
  return table.concat(lines, "\n")
end

function stage.show_letter(letter)
  return ("dead letter: %s from %s to %s: %s"):format(
    stage.show_call(letter.name, letter.values, letter.values.n), who(letter.from), who(letter.to), letter.reason)
end

--- All that went wrong and that nobody expected, as lines; nil if nothing did.
function stage.trouble()
  local lines = {}
  for _, report in ipairs(stage.crashes) do
    if not stage.allowed.crashes then lines[#lines + 1] = "nobody expected: " .. stage.show_crash(report) end
  end
  for _, letter in ipairs(stage.letters) do
    if not stage.allowed.dead_letters then lines[#lines + 1] = "nobody expected: " .. stage.show_letter(letter) end
  end
  for _, s in ipairs(stage.shutdowns) do
    lines[#lines + 1] = ("nobody expected: throng.shutdown(%d) by %s"):format(s.code, who(s.from))
  end
  for _, problem in ipairs(stage.problems) do lines[#lines + 1] = problem end
  return #lines > 0 and table.concat(lines, "\n") or nil
end

-- ---- stand-ins ----

--- Makes the actor behind a probe or stub.
function stage.stand_in(object, name)
  serial = serial + 1
  stage.stand_ins[serial] = object
  object.id = serial
  object.pid = stage.spawn_with({name = name, wait = STOP_MS}, "throng.test.stand_in", throng.self(), serial)
  return object
end

local function came(_, id, kind, token, from, name, ...)
  local object = stage.stand_ins[id]
  if not object then return end -- of a test that is over
  object:came {kind = kind, token = token, from = from, name = name, values = table.pack(...)}
  stage.poke()
end

-- ---- what the actor that runs the specs hears ----

local handlers = {["on_testkit: came"] = came}
stage.handlers = handlers

local function is_stand_in(pid)
  for _, object in pairs(stage.stand_ins) do
    if object.pid == pid then return true end
  end
  return false
end

function handlers.on_crash(_, report)
  if stage.cleaning then
    stage.late = stage.late or {}
    if not is_stand_in(report.pid) then table.insert(stage.late, report) end
    return
  end
  if is_stand_in(report.pid) then return end -- it was told to, or its function failed: that is a problem already
  table.insert(stage.crashes, report)
  stage.poke()
end

function handlers.on_dead_letter(_, letter)
  if stage.cleaning then return end
  table.insert(stage.letters, letter)
  stage.poke()
end

handlers["on_testkit: shutdown"] = function(_, code)
  if stage.cleaning then return end
  table.insert(stage.shutdowns, {code = code, from = throng.sender()})
  stage.poke()
end

-- ---- spawning ----

local spawn, spawn_with <const> = throng.spawn, throng.spawn_with

local function note(pid, ...)
  table.insert(stage.spawned, pid)
  return pid, ...
end

function stage.spawn_with(options, module, ...)
  return note(spawn_with(options, inline.module(module), ...))
end

--- In this actor throng.spawn is ours, too: so we know whom a spec has made.
function stage.install()
  throng.spawn = function(module, ...) return note(spawn(module, ...)) end
  throng.spawn_with = function(options, module, ...) return note(spawn_with(options, module, ...)) end
  throng.crash_reports(true)
  throng.dead_letters(true)
end

-- ---- a test's beginning and end ----

--- FNV-1a over the text, mixed with the seed: each test has its own, so that it alone can be run again.
local function seed_of(seed, name)
  local hash = 0xcbf29ce484222325 ~ seed * 0x9e3779b97f4a7c15
  for i = 1, #name do hash = (hash ~ name:byte(i)) * 0x100000001b3 end
  return hash & 0x7fffffffffffffff | 1
end

local function living()
  local all = {}
  for _, pid in ipairs(testing.living()) do all[pid] = true end
  return all
end

---@param name string the full name of the test
---@param seed integer 0: the schedule is not shuffled
function stage.begin(name, seed)
  stage.spawned, stage.before = {}, living() -- what went wrong since the test before is this one's trouble
  stage.first_stand_in = serial
  stage.seed = seed ~= 0 and seed_of(seed, name) or 0
  testing.reseed(stage.seed)
  if stage.seed ~= 0 then math.randomseed(stage.seed) end
end

--- From here on, when all are at rest, the schedule is the seed's; a next time in the same test another one.
function stage.sow()
  if stage.seed ~= 0 then stage.seed = seed_of(stage.seed, "") end
  testing.reseed(stage.seed)
  testing.advance(0)
end

--- Those of the test end: in order, the last one made first; then all that is left of it. What is to be complained of,
--- or nil.
function stage.finish()
  stage.cleaning, stage.late = true, nil
  testing.limit(0)
  testing.forget()
  testing.faults_none()
  for i = #stage.spawned, 1, -1 do
    local pid = stage.spawned[i]
    if testing.alive(pid) then
      throng.stop(pid, "shutdown")
      if not throng.await(pid, STOP_MS) then throng.kill(pid) end
    end
  end
  testing.advance(0)
  local left = {}
  for _, pid in ipairs(testing.living()) do
    if not stage.before[pid] then left[#left + 1] = pid end
  end
  local names = {}
  for _, pid in ipairs(left) do
    names[#names + 1] = who(pid)
    throng.kill(pid)
  end
  if #left > 0 then
    testing.advance(0)
    for _, pid in ipairs(left) do throng.await(pid, STOP_MS) end
  end
  for id in pairs(stage.stand_ins) do
    if id > stage.first_stand_in then stage.stand_ins[id] = nil end
  end
  local lines = {}
  if #names > 0 and not stage.allowed.leaks then
    lines[1] = ("left behind: %s: still there after all that the test had spawned were stopped; "):format(
      table.concat(names, ", ")) .. "link them to their parent, or stop them in its terminate"
  end
  for _, report in ipairs(stage.late or {}) do
    if not stage.allowed.crashes then lines[#lines + 1] = "when it was stopped: " .. stage.show_crash(report) end
  end
  stage.crashes, stage.letters, stage.shutdowns, stage.problems, stage.allowed = {}, {}, {}, {}, {}
  stage.spawned, stage.cleaning = {}, false
  testing.real_time(stage.real)
  return #lines > 0 and table.concat(lines, "\n") or nil
end

--- A file is over: nobody stays, not those either that its setups have made.
function stage.clear()
  stage.cleaning = true
  local all = testing.living()
  for i = #all, 1, -1 do
    if all[i] ~= throng.self() and testing.alive(all[i]) then
      throng.stop(all[i], "shutdown")
      if not throng.await(all[i], STOP_MS) then throng.kill(all[i]) end
    end
  end
  testing.advance(0)
  stage.cleaning, stage.stand_ins = false, {}
end

return stage
