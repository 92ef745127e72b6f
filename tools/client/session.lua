--- One conversation with a node: requests that are waited for, Ctrl-C that cancels them, commands and evals, and where
--- their answers go. The REPL, scripts and single commands all work through one of these.
local commands = require "throng.client.commands"
local json = require "throng.client.json"
local show = require "throng.client.show"
local terminal = require "throng.terminal"
local top = require "throng.client.top"
local value = require "throng.client.value"

local CANCEL_WITHIN <const> = 2 -- seconds the node has to end what was cancelled, before it is left alone

local session = {}

---@class Session
---@field conn Connection
---@field paint fun(colour: string, text: string): string
---@field on? string        the node that requests go on to
---@field at? string        the actor that evals go into
---@field at_title? string
---@field leave? integer    an exit code: a signal wants the client to end
---@field background table<integer, table>  what goes on while one types
local Session = {}
Session.__index = Session

---@return Session
function session.new(conn)
  local colour = show.wants_colour()
  terminal.catch()
  return setmetatable({conn = conn, paint = show.painter(colour), colour = colour, background = {},
                       terminal = terminal.is_terminal(1)}, Session)
end

--- Writes to standard output; if nobody reads it any more, nothing is left to do.
function Session:write(text)
  if not terminal.write(text) then os.exit(1, true) end
end

--- Writes a line; nothing once a signal waits, so that a flood ends with it.
function Session:out(line)
  if not terminal.pending() then self:write(line .. "\n") end
end

--- One line of what is wrong, and its traceback.
function Session:complain(problem, prefix)
  local paint = show.painter(self.colour and terminal.is_terminal(2))
  local word = problem.code ~= "error" and problem.code ~= "closed" and problem.code .. ": " or ""
  local message = show.clean(problem.message, true):gsub("%s+$", "")
  io.stderr:write(prefix or "", paint("red", word .. message), "\n")
  if type(problem.traceback) == "string" and problem.traceback ~= "" then
    local trace = show.clean(problem.traceback, true):gsub("%s+$", "")
    io.stderr:write(paint("dim", trace), "\n")
  end
end

--- A line beside the answer, for people.
function Session:remark(text)
  io.stderr:write(show.painter(self.colour and terminal.is_terminal(2))("dim", show.clean(text)), "\n")
end

function Session:view(args)
  local width = self.terminal and terminal.size() or nil
  return {args = args, out = function(line) self:out(line) end, paint = self.paint, width = width}
end

--- Asks and waits. Ctrl-C cancels, and if the node does not take notice, gives up.
---@param more fun(value: any, raw: string): boolean?  true: that was enough
---@param tick? fun(happened: table): boolean?         called after each wait; true: that was enough
---@param every? number                                milliseconds that a wait takes at most
---@return boolean good, any value, string|table raw   false, the error, its text
function Session:perform(op, args, more, tick, every)
  args.on = args.on or self.on
  local answer, deadline, enough, interrupted, id
  local function finish(how)
    if deadline then return end
    if how == "enough" then enough = true else interrupted = true end
    deadline = terminal.now() + CANCEL_WITHIN
    self.conn:cancel(id)
  end
  id = self.conn:request(op, args, function(piece, raw)
    if deadline then return end
    if more(piece, raw) then finish "enough" end
  end, function(result, raw, problem) answer = {result, raw, problem} end)
  while not answer do
    local left = deadline and math.max(0, deadline - terminal.now()) * 1000 or every or -1
    local happened = self.conn:pump(left, every ~= nil and not deadline)
    if happened.int then
      if deadline then left = 0 end -- again: no longer waited for
      finish "interrupt"
    end
    if happened.tstp then (self.suspend or terminal.stop)() end
    if happened.term or happened.hup then
      self.leave = happened.term and 143 or 129
      finish "interrupt"
    end
    if tick and not deadline and tick(happened) then finish "enough" end
    if deadline and not answer and (left == 0 or terminal.now() >= deadline) then
      self.conn:forget(id)
      break
    end
  end
  if enough then return true end
  if interrupted then return false, {code = "cancelled", message = "interrupted"}, nil end
  if answer[3] then return false, answer[3], answer[2] end
  return true, answer[1], answer[2]
end

--- Were all nodes well? Complains of all that were not, but for the last, which is returned.
---@return boolean good, table? problem
function Session:judge(nodes)
  local last
  for _, node in ipairs(nodes) do
    if type(node.error) == "table" then
      if last then self:complain(last) end
      last = node.error
      last.code, last.message = tostring(last.code or "error"), tostring(last.message or last.code)
      if not last.message:find("node " .. node.on .. ":", 1, true) then
        last.message = ("node %s: %s"):format(node.on, last.message)
      end
    end
  end
  return last == nil, last
end

local function json_line(self, raw) self:out(raw:sub(1, 1) == "{" and raw or ('{"value":%s}'):format(raw)) end

local function write_file(path, text)
  local file, problem = io.open(path, "wb")
  if not file then return nil, problem end
  local good, why = file:write(text)
  good = file:close() and good
  if not good then return nil, ("%s: %s"):format(path, why or "could not be written") end
  return true
end

--- What prof answers goes into two files.
local function write_profile(about, out)
  about = type(about) == "table" and about or {}
  local base = (out or "prof"):gsub("%.svg$", ""):gsub("%.folded$", "")
  for _, kind in ipairs {"folded", "svg"} do
    local good, problem = write_file(base .. "." .. kind, tostring(about[kind] or ""))
    if not good then return false, {code = "error", message = problem} end
  end
  return true, ("%d samples: %s.folded, %s.svg"):format(tonumber(about.samples) or 0, base, base), base
end

local function run_json(self, command, args, options)
  local limit, count = command.live and tonumber(args.limit), 0
  local good, result, raw = self:perform(command.op or command.name, args, function(piece, text)
    if type(piece) == "table" and piece.at then count = count + 1 end
    json_line(self, text)
    return command.live and limit and command.name ~= "top" and count >= limit
  end)
  if not good then
    if raw then self:out(('{"error":%s}'):format(raw)) end
    return false, result
  end
  if command.file then
    local written, text, base = write_profile(result, options.out)
    if not written then return false, text end
    self:out(json.encode {samples = result.samples, folded = base .. ".folded", svg = base .. ".svg"})
  elseif raw and (not command.list or args.on == "*") then
    json_line(self, raw)
  end
  if args.on == "*" and not command.leads and type(result) == "table" and type(result.nodes) == "table" then
    return self:judge(result.nodes)
  end
  return true
end

--- What an actor waits for may wait on another node: the chain goes on there, until it ends or comes back.
local function go_on(self, op, args, about)
  local met, good = {}, true
  local next_args = {within = args.within}
  while good and type(about) == "table" and type(about.next) == "string" and not met[about.next] do
    met[about.next] = true
    next_args.pid = about.next
    local found, more = self:perform(op, next_args, function() end)
    good = found and type(more) == "table" and type(more.chain) == "table"
    if good then
      table.move(more.chain, 1, #more.chain, #about.chain + 1, about.chain)
      about["end"], about.next = more["end"], more.next
    end
  end
  if good and type(about) == "table" and about.next then
    about["end"] = ("a circle: it leads back to %s"):format(about.next)
  end
  return about
end

local function run_shown(self, command, args, options)
  if command.name == "top" then return top.run(self, args) end
  if command.file then
    if self.terminal then self:out(self.paint("dim", ("sampling for %s s"):format(args.seconds))) end
    local good, result = self:perform(command.name, args, function() end)
    if not good then return false, result end
    local written, text = write_profile(result, options.out)
    if not written then return false, text end
    self:out(text)
    return true
  end
  local shown = command.begin(self:view(args))
  local limit, count = command.live and tonumber(args.limit), 0
  local good, result = self:perform(command.op or command.name, args, function(piece)
    if type(piece) ~= "table" then return end
    shown.more(piece)
    if piece.at then count = count + 1 end -- not what only tells of others: counts, losses
    return limit and count >= limit
  end)
  if not good then return false, result end
  if command.name == "why" then result = go_on(self, command.name, args, result) end
  if args.on ~= "*" or type(result) ~= "table" or type(result.nodes) ~= "table" or command.leads then
    shown.done(result)
    return true
  end
  if shown.all then shown.done(result) end
  for _, node in ipairs(result.nodes) do
    if not shown.all and node.value ~= nil then
      self:out(self.paint("cyan", show.clean(node.on)))
      command.begin(self:view(args)).done(node.value)
    end
  end
  return self:judge(result.nodes)
end

--- Runs a command that was parsed. What goes on until Ctrl-C ends well with it.
---@return boolean good, table? problem
function Session:run(command, args, options)
  local how = options.json and run_json or run_shown
  if command.either and args.on == "*" and args.pid then -- an actor is one node's
    args.behaviour, args.pid = args.pid, nil
  end
  local good, problem = how(self, command, args, options)
  if not good and command.either and problem.code == "no_actor" and args.pid then
    args.behaviour, args.pid = args.pid, nil
    self:remark(("no actor is named '%s': those of that behaviour are followed"):format(args.behaviour))
    local tried, other = how(self, command, args, options)
    good, problem = tried, other and other.code == "no_actor" and problem or other
  end
  if not good and command.live and problem.code == "cancelled" and not self.leave then return true end
  return good, problem
end

--- Goes on while one types: each piece is handed to `notice`, the end too.
---@return integer number
function Session:follow(command, args, notice)
  local number = 1
  while self.background[number] do number = number + 1 end
  local job = {command = command, number = number}
  local view = self:view(args)
  args.on = args.on or self.on
  view.out = function(line) notice(line) end
  local shown = command.begin(view)
  local limit, count = tonumber(args.limit), 0
  self.background[number] = job
  local function piece_of(piece)
    if job.over or type(piece) ~= "table" then return end
    shown.more(piece)
    if piece.at then count = count + 1 end
    if limit and count >= limit then
      job.over = true
      self.conn:cancel(job.id)
    end
  end
  local ended
  local function begin() job.id = self.conn:request(command.op or command.name, args, piece_of, ended) end
  function ended(_, _, problem)
    if problem and problem.code == "no_actor" and command.either and args.pid then
      args.behaviour, args.pid = args.pid, nil
      return begin()
    end
    self.background[number] = nil
    if not problem or job.over or problem.code == "closed" or problem.code == "cancelled" then
      if problem and problem.code == "closed" then return end
      return notice(self.paint("dim", ("[%d] %s ended"):format(number, command.name)))
    end
    notice(self.paint("red", ("[%d] %s: %s"):format(number, command.name, show.clean(problem.message))))
  end
  begin()
  return number
end

--- Evaluates; prints what it prints, and its values.
---@return boolean good, table? problem
function Session:eval(code, options)
  local all = options.on == "*"
  local at = options.at or not options.on and self.at or nil
  local args = {code = code, on = options.on, pid = at, time = options.time, memory = options.memory,
                output = options.output, depth = options.depth, within = options.within}
  local open_line = false
  local good, result, raw = self:perform("eval", args, function(piece, text)
    if options.json then return json_line(self, text) end
    if type(piece) ~= "table" or piece.out == nil or terminal.pending() then return end
    local out = show.clean(piece.out, true)
    if all then out = show.clean(piece.on) .. ": " .. out end
    if out ~= "" then open_line = out:sub(-1) ~= "\n" end
    self:write(out)
  end)
  if open_line and self.terminal then self:write("\n") end
  if not good and result.code == "no_actor" and args.pid and args.pid == self.at then
    result.message = result.message .. " (at alone leaves it)"
  end
  if not good then
    if options.json and raw then self:out(('{"error":%s}'):format(raw)) end
    return false, result
  end
  if all and type(result) == "table" and type(result.nodes) == "table" then
    if options.json then json_line(self, raw) end
    for _, node in ipairs(options.json and {} or result.nodes) do
      if type(node.value) == "table" then
        local lines = value.lines(tostring(node.value.text or ""), nil, self.paint)
        local name = self.paint("cyan", show.clean(node.on)) .. ": "
        if #lines > 1 then
          self:out(name)
          name = ""
        end
        for _, line in ipairs(lines) do self:out(name .. line) end
        if #lines == 0 then self:out(name) end
      end
    end
    return self:judge(result.nodes)
  end
  if options.json then
    json_line(self, raw)
  elseif type(result) == "table" and (tonumber(result.count) or 1) > 0 then
    local width = self.terminal and terminal.size() or nil
    for _, line in ipairs(value.lines(tostring(result.text or ""), width, self.paint)) do
      self:out(line)
    end
    if result.cut then self:out(self.paint("dim", "(cut)")) end
  end
  return true
end

--- Why a chunk is not finished: Lua's compiler wants more than there is.
function session.unfinished(code)
  if load("return " .. code, "=chunk", "t") then return false end
  local good, problem = load(code .. "\n", "=chunk", "t") -- a string ends with its line, a chunk need not
  return not good and problem:find("<eof>'?$") ~= nil
end

--- A line typed: the command it begins with, its words, and what is left from a word on; nil: it is Lua.
--- The rule: the first word is a command's name, a space or the end follows it, and no "=" after that. A line that
--- begins with a space or "=" is Lua.
function session.command_of(line)
  local name, after = line:match("^([%a]+)()")
  if not name or not line:find("^%s", after) and after <= #line then return nil end
  if line:find("^%s*=", after) then return nil end
  local words, begins = {}, {}
  local at = after
  while true do
    at = line:find("%S", at)
    if not at then break end
    begins[#begins + 1] = at
    local quote = line:sub(at, at)
    local close = (quote == '"' or quote == "'") and line:find(quote, at + 1, true)
    if close and (close == #line or line:find("^%s", close + 1)) then
      words[#words + 1] = line:sub(at + 1, close - 1)
      at = close + 1
    else
      local to = line:find("%s", at) or #line + 1
      words[#words + 1] = line:sub(at, to - 1)
      at = to
    end
  end
  return name, words, function(index) return (line:sub(begins[index]):gsub("%s+$", "")) end
end

session.commands = commands
return session
