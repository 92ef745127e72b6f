--- `throng repl`: lines typed on a terminal, or chunks read from a pipe.
local commands = require "throng.client.commands"
local complete = require "throng.client.complete"
local connection = require "throng.client.connection"
local editor = require "throng.editor"
local help = require "throng.client.help"
local history = require "throng.client.history"
local session_of = require "throng.client.session"
local show = require "throng.client.show"
local terminal = require "throng.terminal"

local TRY_AGAIN <const> = 0.3 -- seconds between two looks whether the node is back
local GREETING_WITHIN <const> = 2

---@class Repl
---@field session Session
---@field target Target
---@field chunk? string    an unfinished one
---@field typing? boolean  a line is being edited
---@field failed? boolean  something was in vain
local Repl = {}
Repl.__index = Repl

--- A line of news, while somebody may be typing.
function Repl:notice(text)
  if self.typing then editor.hide() end
  terminal.write(text .. "\n")
  if self.typing then editor.show(self:prompt()) end
end

--- What ends a colour may not end the prompt: libedit loses it there.
local function colour_prompt(self, text, colour)
  if not self.session.colour then return text .. "> " end
  return "\1" .. self.session.paint(colour, "\1" .. text .. ">\1") .. "\1 "
end

function Repl:prompt()
  local session = self.session
  local node = session.on and self.target.name .. "@" .. session.on or self.target.name
  local place = show.cut(node .. (session.at and ":" .. session.at_title or ""), 40)
  if self.chunk then return colour_prompt(self, ("."):rep(math.max(2, terminal.width(place))), "dim") end
  if session.conn.over then return colour_prompt(self, place .. " (away)", "red") end
  return colour_prompt(self, place, "cyan")
end

-- ---- what only the REPL has ----

local own = {}

function own.help(self, words)
  if words[1] then
    local lines = help.of(words[1], self.session.paint)
    if not lines then return false, ("no command is called '%s'; help lists them"):format(show.clean(words[1])) end
    self.session:out(table.concat(lines, "\n"))
    return true
  end
  self.session:out(table.concat(help.all(self.session.paint), "\n"))
  return true
end

--- All that follows goes on to that node.
local function at_node(self, name)
  local session = self.session
  local good, about = session:perform("node", {on = name}, function() end)
  if not good then
    if not self.typed then session.leave = session.leave or 1 end
    return false, about
  end
  session.on, session.at, session.at_title = name, nil, nil
  if name == session.conn.greeting.node then session.on = nil end
  return true
end

--- Evals go into that actor, or back into the shell; "@NODE": all goes to that node.
function own.at(self, words)
  local session = self.session
  if #words > 1 then return false, "at: one PID, or @NODE, or nothing" end
  if not words[1] then
    if not session.at then session.on = nil end
    session.at, session.at_title = nil, nil
    return true
  end
  local node = words[1]:match("^@(.+)$")
  if node then return at_node(self, node) end
  local good, about = session:perform("info", {pid = words[1]}, function() end)
  if not good then -- in a script, what follows is meant for that actor and nobody else
    if not self.typed then session.leave = session.leave or 1 end
    return false, about
  end
  local pid = type(about) == "table" and type(about.pid) == "string" and about.pid or words[1]
  local name = type(about) == "table" and type(about.name) == "string" and about.name ~= "" and about.name
  session.at, session.at_title = pid, show.clean(name or pid)
  return true
end

function own.jobs(self)
  local any = false
  for number, job in pairs(self.session.background) do
    any = true
    self.session:out(("[%d] %s"):format(number, job.line))
  end
  if not any then self.session:out(self.session.paint("dim", "nothing goes on (log & would)")) end
  return true
end

function own.cancel(self, words)
  local number = math.tointeger(tonumber(words[1] or ""))
  if words[1] and not (number and self.session.background[number]) then
    return false, ("cancel: no job %s; jobs lists them"):format(show.clean(words[1]))
  end
  for each, job in pairs(self.session.background) do
    if not number or number == each then self.session.conn:cancel(job.id) end
  end
  return true
end

function own.exit(self)
  self.session.leave = self.failed and not self.typed and 1 or 0
  return true
end
own.quit = own.exit

-- ---- one line, one chunk ----

local function run_command(self, name, words, rest_of, line)
  local session = self.session
  if own[name] then return own[name](self, words) end
  local command = commands.by_name[name]
  local background = self.typed and line:match("%s&%s*$")
  if background then
    if not command.live or command.name == "top" then
      return false, name .. ": only log, trace and deadletters can go on behind (&)"
    end
    words[#words] = nil
  end
  local args, options = commands.parse(command, words, rest_of)
  if not args then return false, options end
  if background then
    local number = session:follow(command, args, function(text) self:notice(text) end)
    if session.background[number] then session.background[number].line = line:gsub("%s*&%s*$", "") end
    session:out(session.paint("dim", ("[%d] %s"):format(number, name)))
    return true
  end
  return session:run(command, args, options)
end

local function run_chunk(self, code)
  code = code:gsub("^%s*=", "return ")
  return self.session:eval(code, {})
end

--- Takes a line; false: what it did was in vain, "more": the chunk is not finished.
local function take(self, line)
  if not self.chunk then
    if not line:find("%S") then return true end
    local name, words, rest_of = session_of.command_of(line)
    if name and (own[name] or commands.by_name[name]) then
      local good, problem = run_command(self, name, words, rest_of, line)
      return good, type(problem) == "string" and {code = "error", message = problem} or problem
    end
  end
  local code = self.chunk and self.chunk .. "\n" .. line or line
  if session_of.unfinished((code:gsub("^%s*=", "return "))) then
    self.chunk = code
    return "more"
  end
  self.chunk = nil
  local good, problem = run_chunk(self, code)
  if not good and problem.code == "syntax" and problem.incomplete == true then
    self.chunk = code
    return "more"
  end
  return good, problem
end

--- Runs a line; complains of what was in vain. True: the chunk goes on.
local function work(self, line)
  if self.session.conn.over and self.typed then
    local name = session_of.command_of(line)
    if line:find("%S") and not (name == "help" or name == "exit" or name == "quit") then
      self.session:complain({code = "error", message = ("node '%s' is away"):format(self.target.name)})
      self.chunk = nil
      return false
    end
  end
  local good, problem = take(self, line)
  if good == "more" then return true end
  if not good then
    self.failed = true
    if not (problem.code == "closed" and self.typed) then self.session:complain(problem) end
  end
  return false
end

-- ---- on a terminal ----

local function went_away(self)
  self.away = true
  self.session.at, self.session.at_title, self.session.on, self.session.background = nil, nil, nil, {}
  self:notice(self.session.paint("red", ("node '%s' went away (%s); waiting for it, Ctrl-D leaves")
    :format(self.target.name, show.clean(self.session.conn.over))))
  self.try_at = terminal.now() + TRY_AGAIN
end

--- Looks whether the node is back, without making anybody wait.
local function try_again(self)
  if self.coming then
    if self.coming.greeting then
      self.session.conn, self.coming, self.away = self.coming, nil, false
      self:notice(self.session.paint("green",
        ("node '%s' is back (os pid %s); the session's variables, _ and at are gone")
          :format(self.target.name, show.clean(self.session.conn.greeting.os_pid or "?"))))
      return
    end
    if not self.coming.over and terminal.now() < self.give_up then return end
    self.coming:close()
    self.coming = nil
    self.try_at = terminal.now() + TRY_AGAIN
  elseif terminal.now() >= self.try_at then
    self.coming = connection.begin(self.target, true)
    self.give_up, self.try_at = terminal.now() + GREETING_WITHIN, terminal.now() + TRY_AGAIN
  end
end

local function interrupt(self)
  editor.finish()
  terminal.write("^C\n")
  self.typing, self.chunk, self.entry = false, nil, nil
end

local function suspend(self)
  local text = editor.line()
  editor.finish()
  terminal.write("\n")
  terminal.stop()
  editor.begin(self:prompt())
  editor.replace(0, text)
end

local function remember(self, line)
  self.entry = self.entry and self.entry .. "\n" .. line or line
  if self.chunk then return end
  local entry = self.entry
  self.entry = nil
  if not entry:find("%S") or entry == self.last_entry then return end
  self.last_entry = entry
  editor.remember(entry)
  history.add(entry)
end

--- One key; false: it is time to leave.
local function key(self)
  local event, line = editor.feed()
  if event == "eof" then
    self.typing = false
    terminal.write("\n")
    return false
  elseif event == "tab" then
    local before, at = editor.line()
    if self.chunk and not before:sub(1, at):find("%S") then
      editor.replace(0, "  ") -- an indent, typed or pasted
    else
      complete.begin(self)
    end
  elseif event == "line" then
    self.typing = false
    terminal.write("\n")
    work(self, line)
    remember(self, line)
  end
  return true
end

local function converse(self)
  local greeting = self.session.conn.greeting
  self.typed = true
  for _, entry in ipairs(history.load()) do
    editor.remember(entry)
    self.last_entry = entry
  end
  terminal.write(self.session.paint("dim", ("node %s, throng %s, os pid %s; help lists commands, Ctrl-D leaves")
    :format(show.clean(greeting.node), show.clean(greeting.throng), show.clean(greeting.os_pid or "?"))) .. "\n")
  while not self.session.leave do
    if self.session.conn.over and not self.away then went_away(self) end
    if not self.typing then
      editor.begin(self:prompt())
      self.typing = true
    end
    local conn = self.coming or self.session.conn
    local happened = conn:pump(self.away and TRY_AGAIN * 1000 or -1, true)
    if self.away then try_again(self) end
    if happened.winch then editor.resize() end
    if happened.term or happened.hup then self.session.leave = happened.term and 143 or 129 end
    if happened.int then
      interrupt(self)
    elseif happened.tstp then
      suspend(self)
    elseif happened.input and not key(self) then
      self.session.leave = self.session.leave or 0
    end
  end
  if self.typing then
    editor.finish()
    terminal.write("\n")
  end
  return self.session.leave
end

-- ---- from a pipe ----

local function read_all(self)
  local rest, ended = "", false
  return function()
    while true do
      local line, after = rest:match("^([^\n]*)\n()")
      if line then
        rest = rest:sub(after)
        return (line:gsub("\r$", ""))
      end
      if ended then
        line, rest = rest, ""
        return line ~= "" and line or nil
      end
      local happened = self.session.conn:pump(-1, true)
      if happened.int or happened.term or happened.hup then
        self.session.leave = happened.int and 130 or happened.term and 143 or 129
        return nil
      end
      if happened.input then
        local text = terminal.read()
        if text then rest = rest .. text else ended = true end
      elseif self.session.conn.over then
        return nil
      end
    end
  end
end

local function read_script(self)
  local session = self.session
  for line in read_all(self) do
    work(self, line)
    if session.conn.over or session.leave then break end
  end
  if self.chunk and not session.leave and not session.conn.over then -- the node says what is missing
    local good, problem = run_chunk(self, self.chunk)
    if not good then session:complain(problem) end
    self.failed = self.failed or not good
  end
  if session.leave then return session.leave end
  if session.conn.over then
    session:complain {code = "closed", message = ("throng: node '%s' went away (%s)"):format(self.target.name,
                                                                                       session.conn.over)}
    return 1
  end
  return self.failed and 1 or 0
end

local repl = {}

--- Until its end: the exit code.
---@param on? string  a node that all goes on to
function repl.run(conn, on)
  local self = setmetatable({session = session_of.new(conn), target = conn.target}, Repl)
  self.session.on = on
  if terminal.is_terminal(0) and terminal.is_terminal(1) and editor.open() then return converse(self) end
  return read_script(self)
end

return repl
