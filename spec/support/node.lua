--- Runs the real program in specs, in a folder of its own, with a deadline.
---
---     local node = require "spec.support.node"
---     local r = node.run {script = "return {init = function() require 'throng'.shutdown(3) end}"}
---     assert.are.equal(3, r.code)
---
---     local n = node.start {files = {["guy.lua"] = "..."}, main = "guy.lua", options = {"--workers", "2"}}
---     n:read_until("spawned", 5)
---     n:signal "INT"
---     assert.are.equal(0, n:wait(10).code)
---
--- Deadlines are in seconds; a build with sanitizers stretches them by SPEC_SLOW. A deadline missed, or a sanitizer's
--- report on standard error, is an error that shows what the program said. KEEP=1 keeps the folders of red specs.
local process = require "door.process"
local cjson = require "cjson"

local TIMEOUT <const> = 20
local WRAP <const> = os.getenv("THRONG_WRAP") or "" -- words before the program: "valgrind -q ..."
local TAIL <const> = 3000 -- characters of a stream shown when something went wrong
local SANITIZERS <const> = {"ERROR: %w+Sanitizer", "WARNING: ThreadSanitizer", "runtime error: ", "ThreadSanitizer: "}
local SIGNALS <const> = {HUP = 1, INT = 2, QUIT = 3, ABRT = 6, KILL = 9, USR1 = 10, SEGV = 11, USR2 = 12, TERM = 15,
                         CONT = 18, STOP = 19}

local node = {slow = tonumber(os.getenv("SPEC_SLOW")) or 1}
local started = {} -- every node since the start of the file, in order

---@class NodeOptions
---@field files? table<string, string>  written into the folder first: name to text
---@field script? string                text of the root actor: written as `main`
---@field main? string                  file of the root actor, "main.lua" by default
---@field options? string[]             options of `throng run`
---@field args? string[]                arguments of the root actor
---@field command? string[]             all of the command line instead, as {"check", "guy.lua"}
---@field program? string               another program than $THRONG or ./throng
---@field env? table<string, string|false> set (or, false, unset) in the environment
---@field stdin? string                 fed to standard input, then closed; without it there is nothing to read
---@field open_stdin? boolean           keep standard input open, for Node:write and Node:end_input
---@field pty? table                    {columns=, rows=}: its streams are a terminal; what that shows is `out`
---@field timeout? number               seconds that node.run waits

---@class Result            what node.run and Node:wait return
---@field code? integer     exit code, if it ended by itself
---@field signal? integer   what ended it otherwise
---@field out string        all of standard output; `err` likewise
---@field err string
---@field lines string[]    the lines of `out`
---@field json? any         the last line of `out`, if it is JSON
---@field seconds number    how long it ran
---@field cpu_seconds number  user and system time it took
---@field max_rss integer   bytes of memory at its peak

---@class Node
---@field out string        standard output so far; `err` likewise
---@field err string
---@field dir string        its folder, where it runs
---@field result? Result    once it ended
local Node = {}
Node.__index = Node

local function write_file(path, text)
  local file <close> = assert(io.open(path, "wb"))
  file:write(text)
end

local function make_folders(dir, name)
  for at in name:gmatch("()/") do process.mkdir(dir .. "/" .. name:sub(1, at - 1)) end
end

local function absolute(program)
  if program:find("/") and program:sub(1, 1) ~= "/" then
    return process.getcwd() .. "/" .. program:gsub("^%./", "")
  end
  return program
end

local function command_line(o)
  local argv = {}
  local function add(words) for _, word in ipairs(words or {}) do argv[#argv + 1] = tostring(word) end end
  for word in (o.program and "" or WRAP):gmatch("%S+") do argv[#argv + 1] = word end
  add {absolute(o.program or os.getenv("THRONG") or "./throng")}
  if o.command then
    add(o.command)
  else
    add {"run"}
    add(o.options)
    add {o.main or "main.lua"}
    add(o.args)
  end
  return argv
end

--- Starts a program; see NodeOptions.
---@param o NodeOptions
---@return Node
function node.start(o)
  local self = setmetatable({out = "", err = "", seen = {out = 1, err = 1}, dir = process.mkdtemp()}, Node)
  started[#started + 1] = self
  for name, text in pairs(o.files or {}) do
    make_folders(self.dir, name)
    write_file(self.dir .. "/" .. name, text)
  end
  if o.script then write_file(self.dir .. "/" .. (o.main or "main.lua"), o.script) end
  local env = {THRONG_RUN_DIR = self.dir .. "/run"} -- its console's socket is out of others' way
  for name, value in pairs(o.env or {}) do env[name] = value end
  self.argv = command_line(o)
  self.began = process.now()
  self.child = assert(process.start(self.argv, {
    cwd = self.dir, env = env, input = o.stdin, open_input = o.open_stdin, pty = o.pty, netns = o.netns}))
  return self
end

--- Starts a program and waits for its end.
---@param o NodeOptions
---@return Result
function node.run(o)
  return node.start(o):wait(o.timeout)
end

--- Splits into lines; the last needs no newline.
local function split(text)
  local lines = {}
  if text ~= "" and text:sub(-1) ~= "\n" then text = text .. "\n" end
  for line in text:gmatch("([^\n]*)\n") do lines[#lines + 1] = line end
  return lines
end

local function decode(line)
  if not line or not line:find("^[%[{]") then return nil end
  local good, value = pcall(cjson.decode, line)
  return good and value or nil
end

--- One step: takes in what was written, waits for it no longer than `seconds`. False once the program has ended.
function Node:pump(seconds)
  if self.result then return false end
  local out, err, running = self.child:step(math.max(0, math.ceil(seconds * 1000)))
  if out ~= "" then self.out = self.out .. out end
  if err ~= "" then self.err = self.err .. err end
  if running then return true end
  local result = {out = self.out, err = self.err, lines = split(self.out), seconds = process.now() - self.began}
  result.code, result.signal, result.cpu_seconds, result.max_rss = self.child:status()
  result.json = decode(result.lines[#result.lines])
  self.result = result
  return false
end

--- Raises if a checker (a sanitizer, valgrind around the program) has found something.
local function check_checkers(self, level)
  local found = WRAP ~= "" and self.result.code == 99 -- valgrind's --error-exitcode
  for _, sign in ipairs(SANITIZERS) do found = found or self.err:find(sign) end
  if found then error("the program's checker reports:\n" .. self.err, level + 1) end
end

--- Waits for the end. Raises if that takes longer than `seconds` (20), after killing it.
---@param seconds? number
---@return Result
function Node:wait(seconds)
  local limit = (seconds or TIMEOUT) * node.slow
  local deadline = process.now() + limit
  while self:pump(deadline - process.now()) do
    if process.now() >= deadline then
      self:kill()
      error(("hung: killed after %g s\n%s"):format(limit, self:describe()), 2)
    end
  end
  check_checkers(self, 2)
  return self.result
end

--- Waits until `pattern` is found in what was written since the last read_until, on either stream.
---@return string ... the captures, or what matched
function Node:read_until(pattern, seconds)
  local limit = (seconds or TIMEOUT) * node.slow
  local deadline = process.now() + limit
  while true do
    for _, stream in ipairs {"out", "err"} do
      local first, last = self[stream]:find(pattern, self.seen[stream])
      if first then
        local captures = table.pack(self[stream]:match(pattern, self.seen[stream]))
        self.seen[stream] = last + 1
        return table.unpack(captures, 1, captures.n)
      end
    end
    local left = deadline - process.now()
    if self.result or left <= 0 then
      local why = self.result and "it ended" or ("%g s went by"):format(limit)
      error(("%s without %q\n%s"):format(why, pattern, self:describe()), 2)
    end
    self:pump(left)
  end
end

---@param name string|integer "INT", "TERM", 9 ...
function Node:signal(name)
  self.child:signal(SIGNALS[name] or math.tointeger(name) or error("no signal is named " .. tostring(name), 3))
end

--- Stops it as by a debugger, and returns when all of its threads stand still.
function Node:freeze()
  self.child:signal(SIGNALS.STOP)
  local tasks, deadline = ("/proc/%d/task"):format(self.child:pid()), os.time() + TIMEOUT
  repeat
    local moving = false
    local list <close> = assert(io.popen("cat " .. tasks .. "/*/stat"))
    for line in list:lines() do moving = moving or line:match("%) (%a)") ~= "T" end
    assert(os.time() < deadline, "it does not stand still")
  until not moving
end

function Node:write(text) self.child:write(text) end

function Node:end_input() self.child:end_input() end

function Node:pid() return self.child:pid() end

--- Ends it now, and takes in what it had written.
function Node:kill()
  if self.result then return end
  self.child:signal(SIGNALS.KILL)
  while self:pump(1) do end -- ends: nobody outlives a SIGKILL
end

local function tail(name, text)
  if text == "" then return "" end
  local cut = #text > TAIL and ("... (%d more)\n"):format(#text - TAIL) or ""
  return ("--- %s:\n%s%s\n"):format(name, cut, (text:sub(-TAIL):gsub("\n$", "")))
end

--- What it was and what it said, for people.
function Node:describe()
  local ended = self.result
  local fate = not ended and "running"
    or ended.code and "exit code " .. ended.code
    or "ended by signal " .. ended.signal
  return ("$ %s   (%s)\n%s%s"):format(table.concat(self.argv or {}, " "), fate,
                                       tail("standard output", self.out), tail("standard error", self.err))
end

--- A place in the list of nodes started; describe and sweep take those after it.
function node.mark() return #started end

function node.describe(mark)
  local texts = {}
  for i = mark + 1, #started do
    texts[#texts + 1] = started[i]:describe()
    if os.getenv("KEEP") == "1" then texts[#texts + 1] = ("kept: %s\n"):format(started[i].dir) end
  end
  return table.concat(texts)
end

--- Ends what still runs and removes the folders (with `red` and KEEP=1, leaves them).
function node.sweep(mark, red)
  while #started > mark do
    local self = table.remove(started)
    if self.child then self:kill() end
    if not (red and os.getenv("KEEP") == "1") then process.remove_all(self.dir) end
  end
end

return node
