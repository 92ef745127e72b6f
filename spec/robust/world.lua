--- What the robustness specs share: a node whose root does something bad, and after that still does its work.
---
---     local world = require "spec.robust.world"
---     world.run [[ check.raises("a function", throng.send, echo, "x", print) ]]
---
--- The text runs in the root's init, with `throng`, `check` (below) and `echo` (an actor that answers). When it ends, an
--- actor is spawned and asked, "alive" is printed, and the node is shut down with 0. Any error fails the spec.
local node = require "spec.support.node"

local world = {}

local FILES <const> = {
  ["echo.lua"] = [[
    local Echo = {}
    function Echo:on_echo(...) return ... end
    function Echo:on_add(n) self.sum = (self.sum or 0) + (n or 1) end
    function Echo:on_sum() return self.sum or 0 end
    return Echo
  ]],
  -- Spawns what it is told to, and knows how each of those ended.
  ["watcher.lua"] = [[
    local throng = require "throng"
    local Watcher = {concurrent = true}
    function Watcher:init() self.fates, self.times = {}, {} end
    function Watcher:on_begin(options, module, ...)
      options.monitor = true
      return (throng.spawn_with(options, module, ...))
    end
    function Watcher:on_down(pid, reason)
      self.fates[pid], self.times[pid] = {reason}, (self.times[pid] or 0) + 1
    end
    function Watcher:on_fate(pid)
      while not self.fates[pid] do throng.sleep(1) end
      return self.fates[pid][1]
    end
    function Watcher:on_downs(pid) return self.times[pid] or 0 end
    return Watcher
  ]],
  ["check.lua"] = [[
    local throng = require "throng"
    local check = {patience = PATIENCE} -- milliseconds
    local watcher

    local function text_of(e) return type(e) == "table" and tostring(e.message) or tostring(e) end

    --- f raises an error whose text has `pattern` in it; returns the error.
    function check.raises(pattern, f, ...)
      local good, e = pcall(f, ...)
      if good then error("nothing was raised, expected " .. pattern, 2) end
      if not text_of(e):find(pattern) then error(("raised %q, expected %s"):format(text_of(e), pattern), 2) end
      return e
    end

    function check.same(expected, got, what)
      if expected ~= got then error(("%s: expected %s, got %s"):format(what or "?", tostring(expected), tostring(got)), 2) end
    end

    --- Spawns under a watcher.
    function check.begin(options, module, ...)
      watcher = watcher or throng.spawn("watcher")
      return watcher:ask("begin", options, module, ...)
    end

    --- How it ended, once it has.
    function check.fate(pid, within) return throng.ask_within(within or 600000, watcher, "fate", pid) end
    function check.downs(pid) return watcher:ask("downs", pid) end

    --- Spawns and waits for the end.
    function check.ends(module, ...) return check.fate(check.begin({}, module, ...)) end

    --- Kills them, by name, and waits for their ends.
    function check.kill(pids)
      local survivors = {}
      for _, pid in pairs(pids) do throng.kill(pid) end
      for name, pid in pairs(pids) do
        local good, reason = pcall(check.fate, pid, check.patience)
        if not good then survivors[#survivors + 1] = name
        else
          check.same("killed", reason, name)
          check.same(1, check.downs(pid), name)
        end
      end
      if #survivors > 0 then error("not killed: " .. table.concat(survivors, ", "), 2) end
    end

    function check.alive()
      local pid = throng.spawn("echo")
      check.same(42, throng.ask_within(600000, pid, "echo", 42), "answer")
      check.same(true, throng.kill(pid), "kill")
    end

    return check
  ]],
}

local function options_of(o)
  local options = {"--set", "ask.timeout=600000"}
  for _, word in ipairs(o.options or {}) do options[#options + 1] = word end
  return options
end

--- Options of node.start for a root that does `body`.
---@param o string|table the body, or {body=, files=, options=, ...}
function world.options(o)
  if type(o) == "string" then o = {body = o} end
  local all = {options = options_of(o), timeout = o.timeout or 60, files = {}, args = o.args, env = o.env}
  for name, text in pairs(FILES) do all.files[name] = text:gsub("PATIENCE", tostring(10000 * node.slow)) end
  for name, text in pairs(o.files or {}) do all.files[name] = text end
  all.script = ("local throng, check = require 'throng', require 'check'\n" ..
    "local Root = {}\n" ..
    "function Root:init(...)\n" ..
    "local echo = throng.spawn 'echo' do\n%s\nend\n" ..
    "check.alive() print 'alive' throng.kill(echo) throng.shutdown(0)\n" ..
    "end\nreturn Root\n"):format(o.body)
  return all
end

--- Runs it; the node must end well.
---@return Result
function world.run(o)
  local r = node.run(world.options(o))
  assert(r.code == 0 and r.lines[#r.lines] == "alive", ("exit %s, signal %s\n%s\n%s"):format(
    tostring(r.code), tostring(r.signal), r.out, r.err))
  return r
end

return world
