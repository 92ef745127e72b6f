--- Runs the console's client in specs, on a terminal or not, beside nodes that are played (support/fake_node) or real.
---
---     local c = client.start {command = {"repl", "world"}, fakes = {fake}, pty = true, run_dir = dir}
---     c:expect "world> "                      -- Lua pattern in what the terminal got since the last expect
---     c:type "1 + 1\r"
---     assert.are.equal("2", c:screen()[2])
local node = require "spec.support.node"
local process = require "door.process"
local screen = require "spec.support.screen"

local TIMEOUT <const> = 10

local client = {}

local Client = {}
Client.__index = Client

--- `o.pty` true, or {columns=, rows=}; `o.env`, `o.stdin` as for node.start.
function client.start(o)
  local env = {THRONG_RUN_DIR = o.run_dir, HOME = o.home or o.run_dir, XDG_STATE_HOME = false, TERM = "xterm",
               NO_COLOR = "1", LC_ALL = "C.UTF-8"}
  for name, value in pairs(o.env or {}) do env[name] = value end
  local pty = o.pty and (type(o.pty) == "table" and o.pty or {columns = 80, rows = 24}) or nil
  local n = node.start {command = o.command, env = env, pty = pty, stdin = o.stdin, open_stdin = o.open_stdin}
  return setmetatable({node = n, fakes = o.fakes or {}, size = pty, seen = 1}, Client)
end

function Client:step(seconds)
  for _, fake in ipairs(self.fakes) do fake:step() end
  return self.node:pump(seconds or 0.002)
end

function Client:type(text) self.node:write(text) end

--- Until `good()` is true.
function Client:until_true(good, what, seconds)
  local deadline = process.now() + (seconds or TIMEOUT) * node.slow
  while true do
    local result = good()
    if result then return result end
    if not self:step() and not good() then error(("it ended without %s\n%s"):format(what, self.node:describe()), 3) end
    if process.now() > deadline then error(("no %s in time\n%s"):format(what, self.node:describe()), 3) end
  end
end

--- Until `pattern` has come on standard output (the terminal) after what was expected before.
function Client:expect(pattern, seconds)
  return self:until_true(function()
    local first, last = self.node.out:find(pattern, self.seen)
    if not first then return nil end
    local found = self.node.out:sub(first, last)
    self.seen = last + 1
    return found
  end, ("%q"):format(pattern), seconds)
end

--- Until `good(lines)` of what the terminal shows.
function Client:shows(good, what, seconds)
  return self:until_true(function() return good(self:screen()) end, what or "that on the screen", seconds)
end

--- Until the last line that is not empty is `text`, exactly.
function Client:last_line(text, seconds)
  return self:until_true(function()
    local lines = self:screen()
    while lines[#lines] == "" do lines[#lines] = nil end
    self.row = #lines
    return lines[#lines] == text
  end, ("the last line %q (the screen: %s)"):format(text, table.concat(self:screen(), "|")), seconds)
end

--- The last `count` lines that are not empty.
function Client:tail(count)
  local lines = self:screen()
  while lines[#lines] == "" do lines[#lines] = nil end
  return table.move(lines, math.max(1, #lines - count + 1), #lines, 1, {})
end

--- Until the last line is `text` on a later row than when this was called before, so that a new prompt is told from
--- the one that stands there still.
function Client:prompt_again(text)
  self:until_true(function()
    local lines = self:screen()
    while lines[#lines] == "" do lines[#lines] = nil end
    if lines[#lines] ~= text or #lines <= (self.row or 0) then return false end
    self.row = #lines
    return true
  end, ("new prompt %q"):format(text))
end

function Client:screen() return screen.of(self.node.out, self.size.columns, self.size.rows) end

--- Until its end.
---@return Result
function Client:wait(seconds)
  self:until_true(function() return self.node.result end, "an end", seconds)
  return self.node:wait(1)
end

--- Runs it to its end.
function client.run(o) return client.start(o):wait() end

--- A module of the client's, in the specs' own Lua.
function client.module(name)
  package.preload["throng.terminal"] = function() return require "door.terminal" end
  table.insert(package.searchers, 2, function(wanted)
    local path = wanted:gsub("^throng%.client%.", "tools/client/") .. ".lua"
    return wanted:find("^throng%.client%.") and loadfile(path) or nil
  end)
  local module = require("throng.client." .. name)
  table.remove(package.searchers, 2)
  return module
end

return client
