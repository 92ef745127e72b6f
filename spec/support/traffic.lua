--- Nodes that talk with each other without end while a spec does things to them, and the reading of their history.
---
---     local t = traffic.start(net, 3)      -- three nodes in three places; all see all when this returns
---     net:between(1, 2, {cut = true})
---     t[1]:read_until "node n2 is down"
---     net:heal()
---     t:settle()                           -- all see all again, by new answers
---     t:check()                            -- ends them; raises if the contract was broken
---
--- What check proves, for every pair of nodes and direction, with messages numbered by their sender:
---   order        no number comes twice or after a higher one
---   loss         each number that did not come was refused at the call, or is a dead letter there, or is one of those
---                that its node counted as unconfirmed; none that was told to be lost came after all
---   asks         each ended once, by its deadline, with its own answer or an error
---   monitors     each of an actor that died, or was cut off, gave one down, and links one exit
--- The actors are in spec/support/traffic/. Their random numbers, as those of the wires, start from spec.support.seed.
local cjson = require "cjson"
local node = require "spec.support.node"
local process = require "door.process"
local seed = require "spec.support.seed"
local tls = require "door.tls"

local FOLDER <const> = "spec/support/traffic/"
local ACTORS <const> = {"talker", "mark", "ledger", "flooder", "sink", "prober"}
local PORT <const> = 7100
local PATIENCE <const> = 40 -- seconds until all see all

local traffic = {}

local Traffic = {}
Traffic.__index = Traffic

local function read(path)
  local file <close> = assert(io.open(path))
  return file:read "a"
end

--- Starts, or starts anew, the node of a place; or `elsewhere`, in a place that has none.
function Traffic:launch(place, elsewhere)
  local name = "n" .. place
  local life = (self.lives[place] or 0) + 1
  self.lives[place] = life
  local at = elsewhere or place
  local address = ("%s:%d"):format(self.net.address(at), PORT)
  local options = {"--name", name, "--workers", "1", "--listen", address}
  -- Everybody joins the first, and that one the second: so whoever was lost finds one who is there.
  local joins = ("%s:%d"):format(self.net.address(place == 1 and 2 or 1), PORT)
  local certs = self.home .. "/certs/"
  local safety = self.options.tls and {"--tls-cert", certs .. name .. ".pem", "--tls-key", certs .. name .. ".key",
                                       "--tls-ca", certs .. "ca.pem"} or {"--insecure"}
  for _, words in ipairs {{"--join", joins}, safety, self.options, self.options[name] or {}} do
    for _, word in ipairs(words) do options[#options + 1] = word end
  end
  local files = {}
  for _, module in ipairs(ACTORS) do files[module .. ".lua"] = read(FOLDER .. module .. ".lua") end
  local n = node.start {
    files = files, main = "talker.lua", options = options, netns = self.net:namespace(at),
    args = {("%s#%d"):format(name, life), self.count, seed * 100 + place * 10 + life, self.burst},
    env = {THRONG_RUN_DIR = self.dir}}
  n.name, n.id, n.place = name, ("%s#%d"):format(name, life), place
  self[place] = n
  self.every[#self.every + 1] = n
  return n
end

---@param net table       of netns.open
---@param count integer   nodes: in places 1 to that
---@param options? string[] more options for each; and, by its name, for one: {"--set", "x=1", n2 = {"--set", "x=2"}};
---  tls = true; meanwhile = function() to call when all were started
---@param burst? integer  messages that each sends each other in 10 ms, at most; 8
function traffic.start(net, count, options, burst)
  local home = process.mkdtemp()
  local self = setmetatable({net = net, count = count, options = options or {}, burst = burst or 8, lives = {},
                             every = {}, home = home, dir = home .. "/run"}, Traffic)
  self.sweeper = setmetatable({}, {__gc = function() process.remove_all(home) end})
  if self.options.tls then
    local names = {}
    for place = 1, count do names[place] = "n" .. place end
    assert(tls.certs(home .. "/certs", names, 1))
  end
  for place = 1, count do
    self:launch(place)
    if place == 1 then self[1]:read_until "listening" end -- the secret is made
  end
  if self.options.meanwhile then self.options.meanwhile() end
  self:settle()
  return self
end

--- What it said last of how much it sees: "whole" or "broken", or nil.
local function sight(n)
  local last
  for word in n.out:gmatch "%f[^\0\n](%l+)\n" do
    if word == "whole" or word == "broken" then last = word end
  end
  return last
end

local function pump_all(self)
  for place = 1, self.count do self[place]:pump(0.01) end
end

--- Takes in what they say for so many seconds: they go on meanwhile.
function Traffic:go_on(seconds)
  local ends = process.now() + seconds
  while process.now() < ends do pump_all(self) end
end

--- Waits until all see all.
function Traffic:settle(seconds)
  local limit = (seconds or PATIENCE) * node.slow
  local ends = process.now() + limit
  while true do
    local missing = {}
    for place = 1, self.count do
      local n = self[place]
      n:pump(0.01)
      if n.result then error(("%s has ended\n%s"):format(n.id, n:describe()), 2) end
      if sight(n) ~= "whole" then missing[#missing + 1] = n.id end
    end
    if #missing == 0 then return end
    if process.now() > ends then
      error(("seed %d: after %g s these do not see all: %s"):format(seed, limit, table.concat(missing, ", ")), 2)
    end
  end
end

local function contains(ranges, number)
  for _, range in ipairs(ranges) do
    if number >= range[1] and number <= range[2] then return true end
  end
  return false
end

--- Adds what one node was told to be lost, as a set of numbers.
local function told_lost(report, id)
  local lost = {}
  for _, range in ipairs(report.refused[id] or {}) do
    for number = range[1], range[2] do lost[number] = true end
  end
  for _, number in ipairs(report.told[id] or {}) do lost[number] = true end
  return lost
end

--- The messages from one to another: how many were lost and not told one by one.
local function check_pair(from, to, problem)
  local said, heard = from.said[to.id] or 0, to.heard[from.id] or {last = 0, count = 0, gaps = {}}
  local lost, unconfirmed = told_lost(from, to.id), 0
  local gaps = {table.unpack(heard.gaps)}
  if heard.last < said then gaps[#gaps + 1] = {heard.last + 1, said} end
  if heard.last > said then problem("%s heard %d of %s, which said %d", to.id, heard.last, from.id, said) end
  for _, gap in ipairs(gaps) do
    for number = gap[1], gap[2] do
      if not lost[number] then unconfirmed = unconfirmed + 1 end
    end
  end
  for number in pairs(lost) do
    if number <= heard.last and not contains(gaps, number) then
      problem("%s was told that %d to %s is lost, and it came", from.id, number, to.id)
    end
  end
  return unconfirmed, said
end

--- A message to a node's talker, by its console.
function Traffic:tell(place, name, ...)
  local values = {}
  for i, value in ipairs {...} do values[i] = ("%q"):format(value) end
  local r = node.run {command = {"send", self[place].name, "talker", name, table.concat(values, ", ")},
    env = {THRONG_RUN_DIR = self.dir}}
  if r.code ~= 0 then error(("no word to %s: %s\n%s"):format(self[place].id, r.err, self[place]:describe()), 2) end
end

--- Ends all, and reads their history: raises with all that is wrong with it. Returns sums: said, lost, unconfirmed ...
function Traffic:check()
  for step, word in ipairs {"quiet", "dead", "report ([^\n]+)"} do
    for place = 1, self.count do self:tell(place, "step") end
    for place = 1, self.count do
      local text = self[place]:read_until("%f[^\0\n]" .. word, 60)
      if step == 3 then self[place].report = cjson.decode(text) end
    end
  end
  local wrong = {}
  local function problem(...) wrong[#wrong + 1] = ("  " .. (...)):format(select(2, ...)) end
  for _, n in ipairs(self.every) do
    for line in n.out:gmatch "WRONG: [^\n]+" do problem("%s: %s", n.id, line) end
    if n == self[n.place] and n:wait(30).code ~= 0 then problem("%s did not end well: %s", n.id, n:describe()) end
    local crash = n.err:match "[^\n]*crashed in[^\n]*"
    if crash then problem("%s: an actor crashed: %s", n.id, crash) end
  end
  local sums = {said = 0, lost = 0, unconfirmed = 0, asks = 0, answered = 0, downs = 0, codes = {}}
  for place = 1, self.count do
    local r = self[place].report
    local unexplained = 0
    for other = 1, self.count do
      if other ~= place then
        local lost, said = check_pair(r, self[other].report, problem)
        unexplained = unexplained + lost
        local told = r.lost[self[other].name] or 0
        if lost > told then
          problem("%s: on_node told that %d to %s are lost: %d were", r.id, told, self[other].name, lost)
        end
        sums.said = sums.said + said
      end
    end
    if unexplained > r.unconfirmed then
      problem("%s: %d messages were lost in silence (unconfirmed: %d)", r.id, unexplained, r.unconfirmed)
    end
    sums.lost, sums.unconfirmed = sums.lost + unexplained, sums.unconfirmed + r.unconfirmed
    sums.asks, sums.answered = sums.asks + r.asks.begun, sums.answered + r.asks.answered
    for code, n in pairs(r.asks.codes) do sums.codes[code] = (sums.codes[code] or 0) + n end
    if r.asks.begun ~= r.asks.ended then problem("%s: %d asks, %d ends", r.id, r.asks.begun, r.asks.ended) end
    for _, m in ipairs(r.downs) do
      sums.downs = sums.downs + 1
      if m.downs ~= 1 then problem("%s: a monitor of %s gave %d downs", r.id, m.of, m.downs) end
    end
    for _, link in ipairs(r.links) do
      if link.made ~= link.exits then problem("%s: %d links, %d exits", r.id, link.made, link.exits) end
    end
  end
  if #wrong > 0 then
    local shown = table.concat(wrong, "\n", 1, math.min(#wrong, 20))
    error(("the contract was broken (SEED=%d):\n%s"):format(seed, shown), 2)
  end
  return sums
end

return traffic
