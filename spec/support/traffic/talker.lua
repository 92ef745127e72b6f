--- The root of a node under faults (spec/support/traffic.lua): talks with the talkers of all other nodes without end,
--- and keeps a history of what it said, heard and was told. What must never be is printed at once, as a line "WRONG: ...".
---
---     talker.lua ID NODES SEED [BURST]     ID: of this process, not only of its name
---
--- It prints "whole" when it sees all nodes, all their groups and an answer of each, "broken" when it does so no more.
--- Three messages "step" lead it to its end: after the first it says no more ("quiet": all it asked has ended), after
--- the second its mark dies ("dead"), after the third it prints "report {...}".
local throng = require "throng"
local cjson = require "cjson"

local BEAT <const> = 10
local ASKS <const> = 100 -- under way at a time, of one other
local LATE <const> = 3000 -- ms that an ask may end after its deadline on a machine with too much to do

local Talker = {concurrent = true, mailbox = {limit = 250000}}

function Talker:init(id, nodes, seed, burst)
  math.randomseed(tonumber(seed))
  self.id, self.nodes, self.burst = id, tonumber(nodes), tonumber(burst) or 8
  self.others = {}   -- by node's name, those that are there now: {id=, pid=, mark=, said=, refused=, asks=}
  self.all = {}      -- by id, all that ever were
  self.heard = {}    -- by id: {last=, count=, gaps={{from, to}...}}
  self.monitors = {} -- by ref: {of=id, downs=}
  self.links = {}    -- by the mark's pid: {made=, exits=}
  self.lost = {}     -- by node's name: messages that on_node called lost, perhaps
  self.asks = {begun = 0, ended = 0, answered = 0, codes = {}}
  self.mark = throng.spawn "mark"
  self.ledger = throng.spawn_with({wait = 10000}, "ledger")
  throng.trap_exits(true)
  throng.register "talker"
  throng.join "talkers"
  throng.watch_nodes(true)
  throng.every(BEAT, "beat")
  throng.every(50, "look")
end

local function wrong(what, ...)
  print("WRONG: " .. what:format(...))
end

-- ---- meeting others ----

function Talker:on_who() return self.id, self.mark end

function Talker:on_node(name, state, lost)
  self.lost[name] = (self.lost[name] or 0) + (lost or 0)
  self.up = self.up or {}
  self.up[name] = state == "up" and {} or nil -- a table of its own: this time it is up
  if state == "down" then
    if self.others[name] then self.others[name].here = nil end
    return
  end
  throng.fork(self.meet, self, name, self.up[name])
end

--- Until it answers, or is gone again.
function Talker:meet(name, time)
  while self.up[name] == time do
    local pid = throng.whereis("talker", name)
    local good, id, mark = false, nil, nil
    if pid then good, id, mark = pcall(throng.ask_within, 1000, pid, "who") end
    if good and self.up[name] == time then return self:know(name, id, pid, mark) end
    throng.sleep(20)
  end
end

function Talker:know(name, id, pid, mark)
  local other = self.all[id]
  if not other then
    other = {id = id, pid = pid, mark = mark, said = 0, refused = {}, asks = 0}
    self.all[id] = other
  elseif other.pid ~= pid or other.mark ~= mark then
    wrong("%s is %s and %s, and was %s and %s", id, pid, mark, other.pid, other.mark)
  end
  other.here = self.up[name]
  self.others[name] = other
  if self.stopped then return end
  self:watch(other)
end

function Talker:watch(other)
  if other.watched then return end -- its down has not come yet: when it comes
  other.watched = true
  local ref = throng.monitor(other.mark)
  if self.monitors[ref] then wrong("a monitor's ref came twice") end
  self.monitors[ref] = {of = other, downs = 0}
  local link = self.links[other.mark] or {made = 0, exits = 0}
  self.links[other.mark] = link
  if link.made == link.exits then
    link.made = link.made + 1
    throng.link(other.mark)
  end
end

function Talker:on_down(pid, reason, ref)
  local m = self.monitors[ref]
  if not m then return wrong("a down that nobody asked for: %s of %s", tostring(reason), pid) end
  m.downs = m.downs + 1
  m.reason = reason
  if m.downs > 1 then wrong("a second down of %s: %s", m.of.id, tostring(reason)) end
  if pid ~= m.of.mark then wrong("a down of %s instead of %s", pid, m.of.mark) end
  m.of.watched = false
  if reason == "noconnection" and m.of.here and not self.stopped then throng.after(20, "again", m.of.id) end
end

function Talker:on_again(id)
  local other = self.all[id]
  if other.here and not self.stopped then self:watch(other) end
end

function Talker:on_exit(pid, reason)
  if pid == self.mark then return end
  local link = self.links[pid]
  if not link then return wrong("an exit of %s, which is not linked", pid) end
  link.exits, link.reason = link.exits + 1, reason
  if link.exits > link.made then wrong("an exit too much of %s: %s", pid, tostring(reason)) end
end

-- ---- talking ----

function Talker:say(other)
  other.said = other.said + 1
  local size = math.random() < 0.02 and math.random(20000) or math.random(600)
  local taken, why = other.pid:send("count", self.id, other.said, ("x"):rep(size))
  if taken then return end
  local ranges = other.refused
  local last = ranges[#ranges]
  if last and last[2] == other.said - 1 then last[2] = other.said
  else ranges[#ranges + 1] = {other.said, other.said} end
  self.refusals = self.refusals or {}
  self.refusals[why] = (self.refusals[why] or 0) + 1
end

function Talker:on_count(from, number)
  local h = self.heard[from] or {last = 0, count = 0, gaps = {}}
  self.heard[from] = h
  if number <= h.last then
    return wrong("%d of %s came after %d: %s", number, from, h.last, number == h.last and "twice" or "out of order")
  end
  if number > h.last + 1 then h.gaps[#h.gaps + 1] = {h.last + 1, number - 1} end
  h.last, h.count = number, h.count + 1
end

function Talker:ask(other)
  local ms, work, value = math.random(50, 2500), math.random() < 0.1 and math.random(3000) or 0, math.random(1 << 40)
  local asks, began, stood = self.asks, throng.now(), self:stood_still()
  asks.begun, other.asks = asks.begun + 1, other.asks + 1
  local good, answer = pcall(throng.ask_within, ms, other.pid, "echo", value, work)
  asks.ended, other.asks = asks.ended + 1, other.asks - 1
  local took = throng.now() - began - (self:stood_still() - stood)
  if took > ms + LATE then
    wrong("an ask of %s within %d ms ended after %g: %s", other.id, ms, took, tostring(answer))
  end
  if good then
    asks.answered = asks.answered + 1
    other.answered = other.here
    if answer ~= value then wrong("%s answered %s to %s", other.id, answer, value) end
  else
    asks.codes[answer.code] = (asks.codes[answer.code] or 0) + 1
  end
end

--- The time for which this process did nothing at all (SIGSTOP): so many ms since it began, as its timers show.
function Talker:stood_still()
  local now = throng.now()
  local gap = now - (self.looked or now)
  return (self.stood or 0) + (gap > 200 and gap or 0)
end

function Talker:on_echo(value, work)
  if work > 0 then throng.sleep(work) end
  return value
end

function Talker:on_beat()
  if self.stopped then return end
  for _, other in pairs(self.others) do
    for _ = 1, math.random(0, self.burst) do self:say(other) end
    if other.asks < ASKS and math.random() < 0.3 then throng.fork(self.ask, self, other) end
  end
end

-- ---- what it tells ----

function Talker:is_whole()
  if #throng.nodes() ~= self.nodes or #throng.members "talkers" ~= self.nodes then return false end
  local answered = 0
  for _, other in pairs(self.others) do
    if other.here and other.answered == other.here and other.watched then answered = answered + 1 end
  end
  return answered == self.nodes - 1
end

function Talker:on_look()
  self.stood, self.looked = self:stood_still(), throng.now()
  if self.stopped then return end
  local whole = self:is_whole()
  if whole == self.was_whole then return end
  self.was_whole = whole
  print(whole and "whole" or "broken")
end

local function wait_for(condition, ms)
  local ends = throng.now() + ms
  while not condition() and throng.now() < ends do throng.sleep(10) end
  return condition()
end

function Talker:be_quiet()
  for _, other in pairs(self.others) do self:say(other) end -- so that what is missing before shows
  if not wait_for(function() return self.asks.begun == self.asks.ended end, 30000) then
    wrong("%d asks have no end", self.asks.begun - self.asks.ended)
  end
  print "quiet"
end

function Talker:report()
  -- Of those that are here, the marks were killed: each has been told, once.
  wait_for(function()
    for _, m in pairs(self.monitors) do if m.downs == 0 then return false end end
    for _, link in pairs(self.links) do if link.made ~= link.exits then return false end end
    for _, other in pairs(self.others) do
      local h = self.heard[other.id]
      if not h or not h.ends then return false end
    end
    return true
  end, 10000)
  local r = {id = self.id, unconfirmed = throng.stats().net_unconfirmed, asks = self.asks, refusals = self.refusals,
             lost = self.lost, said = {}, told = {}, refused = {}, heard = self.heard, downs = {}, links = {}}
  local told = throng.ask_within(20000, self.ledger, "tell")
  for id, other in pairs(self.all) do
    r.said[id], r.refused[id], r.told[id] = other.said, other.refused, told[other.pid] or {}
  end
  for _, m in pairs(self.monitors) do r.downs[#r.downs + 1] = {of = m.of.id, downs = m.downs, reason = m.reason} end
  for _, link in pairs(self.links) do r.links[#r.links + 1] = link end
  print("report " .. cjson.encode(r))
  throng.shutdown(0)
end

function Talker:on_ends(from)
  self.heard[from] = self.heard[from] or {last = 0, count = 0, gaps = {}}
  self.heard[from].ends = true
end

--- Another actor of this folder, beside us.
function Talker:on_start(module, ...) throng.spawn(module, ...) end

function Talker:on_step()
  self.stopped = (self.stopped or 0) + 1
  if self.stopped == 1 then
    throng.fork(self.be_quiet, self)
  elseif self.stopped == 2 then
    for _, other in pairs(self.others) do other.pid:send("ends", self.id) end
    throng.kill(self.mark)
    print "dead"
  else
    throng.fork(self.report, self)
  end
end

return Talker
