--- The console's client: `throng repl`, `throng eval`, `throng ps` and the rest. A client of core/ops/PROTOCOL.md and
--- nothing else: what it can do, any program can.
local commands = require "throng.client.commands"
local connection = require "throng.client.connection"
local help = require "throng.client.help"
local session_of = require "throng.client.session"
local show = require "throng.client.show"
local terminal = require "throng.terminal"

local EVAL <const> = {name = "eval", words = {{"code", rest = true, title = "'LUA'"}},
                      options = {at = "text", time = "number", memory = "size", output = "size", depth = "number",
                      within = "number"}, all = true}
local REPL <const> = {name = "repl", words = {}, options = {}}

local function wrong(text)
  io.stderr:write("throng: ", text, " ('throng help' shows what there is)\n")
  return 2
end

local function failed(text)
  io.stderr:write("throng: ", show.clean(text), "\n")
  return 1
end

--- Takes the node's name off the words: the first, if a node is called so or it is a path, or if there are more words
--- than the command could use otherwise.
local function take_node(command, words)
  local first = words[1]
  if not first or first:find("^%-%-") then return nil end
  local needed, most = 0, 0
  for _, word in ipairs(command.words) do
    if not word.optional then needed = needed + 1 end
    most = word.rest and math.huge or most + 1
  end
  local given, at = 0, 1
  while at <= #words do
    local name, equals = words[at]:match("^%-%-([%a][%w_-]*)(=?)")
    local kind = name and (name == "on" and "text" or command.options[name:gsub("-", "_")])
    if not name then given = given + 1 end
    at = at + (kind and kind ~= "flag" and equals == "" and 2 or 1)
  end
  if command.name == "eval" and given == 1 then return nil end
  if connection.names_node(first) or given > most or (command.name == "eval" and given > 1) then
    return table.remove(words, 1)
  end
  return nil
end

local function single(command, conn, args, options)
  local session = session_of.new(conn)
  local good, problem
  if command == EVAL then
    local code = args.code:gsub("^%s*=", "return ")
    args.code, args.json = nil, options.json
    good, problem = session:eval(code, args)
  else
    good, problem = session:run(command, args, options)
  end
  if session.leave then return session.leave end
  if good then return 0 end
  if problem.code == "cancelled" then return 130 end
  if problem.code == "closed" then
    problem.message = ("node '%s' went away (%s)"):format(conn.target.name, conn.over or "closed")
  end
  session:complain(problem, "throng: ")
  return 1
end

local function ask_for_help(name)
  local lines = help.of(name, show.painter(show.wants_colour()))
  if not lines then return wrong(("unknown command '%s'"):format(show.clean(name))) end
  terminal.write(table.concat(lines, "\n") .. "\n")
  return 0
end

return function(_, name, ...)
  local words = {...}
  if name == "help" then return ask_for_help(words[1]) end
  local command = name == "eval" and EVAL or name == "repl" and REPL or commands.by_name[name]
  if not command then return wrong(("unknown command '%s'"):format(show.clean(name))) end
  for _, word in ipairs(words) do
    if word == "--help" or word == "-h" then return ask_for_help(name) end
    if word == "--" then break end
  end
  local node = take_node(command, words)
  local args, options = commands.parse(command, words)
  if not args then return wrong(options) end
  local target, problem, code = connection.find(node)
  if not target then
    if code == 2 then return wrong(problem) end
    return failed(problem)
  end
  terminal.catch()
  local conn, why = connection.open(target)
  if not conn then
    if why == "interrupted" then return 130 end
    return failed(why)
  end
  if command == REPL then return require("throng.client.repl").run(conn, args.on) end
  return single(command, conn, args, options)
end
