--- The core of a small world, and its root actor: it has Regions made by a supervisor, tells them to spawn Guys, and
--- beats. In the end it has every Guy asked for his hunger: it must be one for each beat since he was born.
local args = require "throng.args"
local flock = require "flock"
local histogram = require "throng.histogram"
local throng = require "throng"

local UNDER_WAY <const> = 16    -- beats at most that have not been taken by all, at a rate
local MAILBOX <const> = 250000  -- of a Region: answers to those beats must fit in
local LOST_NAMED <const> = 10
local STATUS_MS <const> = 1000
local WITHIN <const> = 5        -- seconds: see --restarts

local settings = args.new {
  command = "throng run actors/world.lua",
  about = "A world in the small: a core beats, Regions pass the tick on, Guys grow hungry and sleepy.",
  {name = "regions", type = "integer", default = 1, least = 1, most = 10000, help = "how many Regions"},
  {name = "guys", type = "integer", default = 3, least = 1, most = MAILBOX, help = "Guys in each Region"},
  {name = "ticks", type = "integer", default = 0, least = 0, most = 1 << 40, help = "beats; 0 = until Ctrl-C"},
  {name = "rate", type = "number", default = 1, least = 0, most = 1000, value = "HZ",
   help = "beats a second; 0 = the next when all have taken the last"},
  {name = "patience", type = "number", least = 0.01, most = 1e6, value = "SECONDS",
   help = "who holds a beat up for longer is lost (10, and more for many Guys)"},
  {name = "restarts", type = "integer", default = 100, least = 0, most = 1000000,
   help = "more deaths within 5 seconds are too many: of Guys for a Region, of Regions for the world"},
  {name = "spread", type = "flag", help = "put the Regions on all nodes of the cluster, in turn"},
  {name = "nodes", type = "integer", default = 2, least = 1, most = 2000,
   help = "with --spread: begin when so many nodes are there, this one too"},
  {name = "requires", value = "KEY=VALUE,...", help = "with --spread: only on nodes that can all of that"},
  {name = "quiet", type = "flag", help = "log a status line a second, nothing else"},
  {name = "json", type = "flag", help = "print the result as one line of JSON; log no beats"},
}

---@class Core: Leader
---@field settings table<string, any>
---@field loud boolean
---@field guys integer        in all Regions
---@field last number         the beat to end with; math.huge: none yet
---@field late boolean        a beat is due, and waits until one under way has been taken
---@field sent_at table<integer, number> milliseconds, for beats under way
---@field latency throng.Histogram       of beats, in ns, since the last status line
---@field all_latency throng.Histogram   before it
---@field keeper? pid         the Regions' supervisor; nil once it is gone
---@field missed table<integer, integer> the beats that were over when a Region came for another, by number
---@field finishing boolean   the last beat is over, but a Region is not there yet to count
---@field forlorn? boolean    at the last look nobody was there to beat for, or to wait for
---@field counting boolean    the Regions count hunger: that is their last beat
---@field hunger integer      counted so far
---@field excused integer     hunger that is not there, and needn't be: of beats before a Guy was born
---@field answers integer     Guys counted
---@field restarts integer    of Guys and Regions
---@field lost_count integer  Guys and Regions
---@field losses string[]     what became of the first few
---@field where table<integer, string>    the node of each Region, by number
---@field causes table<integer, string>   why each was lost last
---@field lost_with table<string, integer> hunger that is gone, by cause
---@field messages_of table<string, {first: integer, last: integer}> handled by other nodes, likewise
---@field began? number       when the first beat was sent
---@field ended? number       when the last beat was taken by all; the messages handled by the node at both moments:
---@field messages_before? integer
---@field messages_after? integer
local Core = flock.led_by {}

---@return number milliseconds
local function patience(values)
  if values.patience then return values.patience * 1000 end
  return 10000 + values.regions * values.guys / 10 -- time to be born for all, if the machine is slow
end

--- "gpu=true,zone=eu" as spawn_with wants it. Nil and what is wrong.
local function wanted_of(text)
  local wanted = {}
  for item in (text or ""):gmatch("[^,]+") do
    local key, value = item:match("^([%w_.-]+)=(.+)$")
    if not key then return nil, ("--requires '%s': KEY=VALUE[,KEY=VALUE...]"):format(text) end
    if value == "true" or value == "false" then wanted[key] = value == "true"
    else wanted[key] = value:find("^-?%d+$") and math.tointeger(tonumber(value)) or value end
  end
  return wanted
end

--- The nodes that are up and can what the Regions require, ours first.
local function places(self)
  local list = {}
  for _, name in ipairs(throng.nodes()) do
    local info, fits = throng.node_info(name), true
    for key, value in pairs(self.wanted) do
      fits = fits and info ~= nil and (info.can[key] == value or (value == false and info.can[key] == nil))
    end
    if info and fits then list[#list + 1] = name end
  end
  return list
end

local function build(self)
  local values = self.settings
  local ms = patience(values)
  local nodes = values.spread and places(self) or nil
  flock.gather(self, values.regions, 3 * ms) -- a Region gets time to lose Guys that are stuck
  self.keeper = throng.spawn_with({name = "regions", link = true}, "regions", throng.self(), values.regions,
    {guys = values.guys, patience = ms, loud = self.loud, restarts = values.restarts, within = WITHIN}, nodes,
    self.wanted)
  if values.quiet then throng.every(STATUS_MS, "status") end
end

--- Builds it as soon as enough nodes are there.
local function spread(self)
  local values, up = self.settings, #throng.nodes()
  if up >= values.nodes and #places(self) > 0 then
    self.waiting = false
    build(self)
  else
    self.waiting = true
    throng.log.info("waiting for nodes", {up = up, wanted = values.nodes, able = #places(self)})
  end
end

function Core:on_node(name, state)
  if self.waiting then
    spread(self)
  elseif state == "down" then
    local regions = 0
    for _, node in pairs(self.where) do regions = regions + (node == name and 1 or 0) end
    throng.log.warn("lost a node", {name = name, regions = regions})
  end
end

function Core:init(...)
  local values, problem = settings:parse(...)
  local wanted
  if values and not values.help then
    wanted, problem = wanted_of(values.requires)
    if not wanted then values = nil end
  end
  if not values then
    throng.log.error(("%s (--help shows the options)"):format(problem))
    throng.shutdown(2)
  elseif values.help then
    print(settings:usage())
    throng.shutdown(0)
  else
    throng.register("core")
    self.settings = values
    self.loud = not (values.quiet or values.json)
    self.guys = values.regions * values.guys
    self.last = values.ticks > 0 and values.ticks or math.huge
    self.late, self.counting, self.finishing = false, false, false
    self.sent_at, self.latency, self.all_latency = {}, histogram.new(), histogram.new()
    self.hunger, self.excused, self.answers, self.restarts = 0, 0, 0, 0
    self.missed, self.lost_count, self.losses = {}, 0, {}
    self.where, self.causes, self.lost_with, self.messages_of = {}, {}, {}, {}
    self.wanted = wanted
    if not values.spread then return build(self) end
    self.waiting = true
    throng.watch_nodes(true)
    spread(self)
  end
end

local function beat(self)
  local number = self.beat + 1
  self.late = false
  if number == 1 then self.began, self.messages_before = throng.now(), throng.stats().messages end
  if self.loud then throng.log.info("Tick...", {beat = number}) end
  self.sent_at[number] = throng.now()
  flock.pass_on(self, "tick", number)
end

--- The last beat has been taken: now hunger is counted, as soon as all are there or nobody can come any more.
local function count(self)
  self.messages_after = self.messages_after or throng.stats().messages
  if not self.finishing and self.keeper and #self.members < self.settings.regions then
    self.finishing = true
    return
  end
  self.counting = true
  self.ticks = self.beat
  flock.pass_on(self, "count")
end

--- Due by the clock.
function Core:on_beat()
  if self.counting or self.beat >= self.last then return end
  local most = math.max(1, math.min(UNDER_WAY, MAILBOX // self.settings.guys))
  if self.beat - self.done < most then beat(self) else self.late = true end
end

local function note_time(self, number)
  self.ended = throng.now()
  if self.settings.rate > 0 then self.messages_after = throng.stats().messages end
  self.latency:record((self.ended - self.sent_at[number]) * 1e6)
  self.sent_at[number] = nil
  if self.loud then throng.log.info("...Tock.", {beat = number}) end
end

local summary

--- Everybody has taken a beat: 0 is that all are born.
function Core:took(number)
  if self.counting then return summary(self) end
  local rate = self.settings.rate
  if number > 0 then
    note_time(self, number)
  elseif rate > 0 then
    throng.every(1000 / rate, "beat")
    self.late = true -- the first one comes at once
  end
  if self.beat >= self.last then
    if number == self.beat then count(self) end
  elseif rate == 0 and #self.members == 0 then
    self.late = true -- until a Region is back
  elseif rate == 0 or self.late then
    beat(self)
  end
end

--- A Region is there, without Guys: one of the first, or one that comes for another.
function Core:on_joined(number, node)
  self.where[number] = node
  local region, first = throng.sender(), self.taken[number] == nil
  throng.link(region)
  if first then flock.add(self, region, number) end
  throng.send(region, "spawn", not first)
end

--- The Guys of a Region that comes for another are born: it beats with us.
function Core:on_back(number)
  local region = throng.sender()
  if self.counting then return end
  local former = flock.member(self, number)
  if former then flock.lose(self, former, "it was replaced") end -- its end is on its way
  flock.rejoin(self, region, number)
  local cause = self.causes[number] or "regions that died"
  local gone = (self.beat - (self.missed[number] or 0)) * self.settings.guys
  self.lost_with[cause] = (self.lost_with[cause] or 0) + gone
  self.missed[number] = self.beat
  self.restarts = self.restarts + 1
  if self.finishing then
    if #self.members == self.settings.regions then count(self) end
  elseif self.late and self.settings.rate == 0 and self.beat < self.last then
    beat(self)
  end
end

--- What a Region knows of its node's messages: until the first beat, and until the last was over.
local function note_messages(self, node, first, last)
  if node == throng.node() or not first then return end
  local seen = self.messages_of[node] or {first = first, last = last}
  self.messages_of[node] = {first = math.min(seen.first, first), last = math.max(seen.last, last)}
end

function Core:on_counted(number, hunger, missed, answers, node, first, last)
  note_messages(self, node, first, last)
  if missed > 0 then self.lost_with["guys that died"] = (self.lost_with["guys that died"] or 0) + missed end
  self.hunger = self.hunger + hunger
  self.excused = self.excused + missed + answers * (self.missed[number] or 0)
  self.answers = self.answers + answers
end

function Core:on_lost_guy(text)
  self.lost_count = self.lost_count + 1
  if #self.losses < LOST_NAMED then self.losses[#self.losses + 1] = text end
end

function Core:on_replaced()
  self.restarts = self.restarts + 1
end

function Core:lost(number, pid, reason)
  local node = self.where[number]
  local with_it = reason == "noconnection" or (reason == "shutdown" and node ~= throng.node())
  self.causes[number] = with_it and "node " .. node or "regions that died"
  throng.log.warn("lost a region", {region = number, pid = pid, reason = tostring(reason)})
  self:on_lost_guy(("region-%d: %s"):format(number, tostring(reason)))
end

function Core:gone() end -- the supervisor sees to it

--- Without the supervisor there is nobody to bring Regions back: the world comes to its end.
function Core:on_exit(pid, reason)
  if pid ~= self.keeper then return flock.ended(self, pid, reason) end
  throng.log.error("the Regions' supervisor is gone", {reason = type(reason) == "table" and reason.message or reason})
  self.keeper, self.last = nil, self.beat
  if self.finishing or (self.done == self.beat and not self.counting) then count(self) end
end

local look = Core.on_look

--- Nobody must be waited for without end.
function Core:on_look()
  look(self)
  local forlorn = not self.counting and (self.finishing or #self.members == 0)
  if forlorn and self.forlorn then
    self.last, self.finishing = self.beat, true
    count(self)
  end
  self.forlorn = forlorn
end

--- Ctrl-C, or another wish that we end: no further beat, but those under way are taken and counted.
function Core:on_interrupt(signal)
  if self.waiting then
    throng.log.error("interrupted before enough nodes were there")
    return throng.shutdown(1)
  end
  if not self.settings or self.counting then return end
  if self.loud then throng.log.info("interrupted", {signal = signal}) end
  self.last = self.beat
  if self.done == self.beat or self.finishing then count(self) end
end

local function p99_us(latency)
  return (latency:percentile(99) or 0) / 1000
end

function Core:on_status()
  local now, messages = throng.now(), throng.stats()
  local before = self.status or {at = now - STATUS_MS, messages = 0}
  throng.log.info("status", {
    ticks = math.max(0, math.min(self.done, self.ticks or self.done)),
    messages = messages.messages,
    messages_per_second = math.floor((messages.messages - before.messages) * 1000 / (now - before.at)),
    actors = messages.actors,
    rss_bytes = messages.rss_bytes,
    tick_p99_us = ("%.1f"):format(p99_us(self.latency)),
  })
  self.status = {at = now, messages = messages.messages}
  self.all_latency:merge(self.latency)
  self.latency:reset()
end

local function result(self)
  local stats = throng.stats()
  local seconds = self.began and self.ended and (self.ended - self.began) / 1000 or 0
  local messages = self.messages_before and self.messages_after - self.messages_before or 0
  for _, seen in pairs(self.messages_of) do messages = messages + seen.last - seen.first end
  return {
    {"ticks", "%d", self.ticks}, {"guys", "%d", self.guys}, {"hunger_sum", "%d", self.hunger},
    {"messages", "%d", messages}, {"seconds", "%.6f", seconds},
    {"messages_per_second", "%.0f", seconds > 0 and messages / seconds or 0},
    {"lost", "%d", self.ticks * self.guys - self.hunger}, {"regions", "%d", self.settings.regions},
    {"rss_bytes", "%d", stats.rss_peak_bytes}, {"workers", "%d", stats.workers},
    {"tick_p99_us", "%.1f", p99_us(self.all_latency:merge(self.latency))},
  }
end

--- How many Regions each node has.
local function regions_of(self)
  local regions = {}
  for _, node in pairs(self.where) do regions[node] = (regions[node] or 0) + 1 end
  return regions
end

local function list(counts, format)
  local names, parts = {}, {}
  for name in pairs(counts) do names[#names + 1] = name end
  table.sort(names)
  for i, name in ipairs(names) do parts[i] = format:format(counts[name], name) end
  return table.concat(parts, ", ")
end

local function as_json(self, fields)
  local parts = {}
  for i, field in ipairs(fields) do parts[i] = ('"%s":' .. field[2]):format(field[1], field[3]) end
  if self.restarts > 0 then parts[#parts + 1] = ('"restarts":%d'):format(self.restarts) end
  if self.settings.spread then parts[#parts + 1] = '"nodes":' .. require("cjson").encode(regions_of(self)) end
  if next(self.lost_with) then parts[#parts + 1] = '"lost_with":' .. require("cjson").encode(self.lost_with) end
  if self.lost_count > 0 then parts[#parts + 1] = '"missing":' .. require("cjson").encode(self.losses) end
  return "{" .. table.concat(parts, ",") .. "}"
end

local function as_text(self, fields)
  local parts = {}
  for i, field in ipairs(fields) do parts[i] = ("%s " .. field[2]):format(field[1]:gsub("_", " "), field[3]) end
  if self.settings.spread then parts[#parts + 1] = "regions " .. list(regions_of(self), "%d on %s") end
  if next(self.lost_with) then parts[#parts + 1] = "of lost " .. list(self.lost_with, "%d with %s") end
  if self.restarts > 0 then parts[#parts + 1] = ("restarts %d"):format(self.restarts) end
  return table.concat(parts, ", ")
end

--- The end: says what the world came to, and what is missing.
function summary(self)
  local fields = result(self)
  print(self.settings.json and as_json(self, fields) or as_text(self, fields))
  local missing, absent = self.ticks * self.guys - self.excused - self.hunger, self.guys - self.answers
  if missing == 0 and absent == 0 then return throng.shutdown(0) end
  for _, text in ipairs(self.losses) do throng.log.error("missing", {who = text}) end
  throng.log.error("the world is not whole", {missing = missing, of = self.ticks * self.guys, lost = absent})
  throng.shutdown(1)
end

function Core:terminate(reason)
  if self.loud then throng.log.info("ends", {reason = tostring(reason)}) end
end

return Core
