--- What there is, for people: `help` in the REPL, `throng help COMMAND`.
local commands = require "throng.client.commands"

local help = {}

local GROUPS <const> = {
  {"look", "see"}, {"change", "change"},
  {"follow", "follow (until Ctrl-C; with & behind it, while you type)"},
}

local OWN <const> = {
  {"at [PID]", "evals go into that actor, between two messages, self in scope; alone: back"},
  {"at @NODE", "all that follows goes to that node of the cluster; alone: back"},
  {"jobs, cancel [N]", "what goes on behind (&), and its end"},
  {"help [COMMAND]", "this, or more of one"},
  {"exit", "as Ctrl-D"},
}

local MORE <const> = {
  at = "at [PID|@NODE]\n"
    .. "Evals go into that actor's VM, between two of its messages; self is its self. The prompt shows it.\n"
    .. "PID may be NAME@NODE, or <12.1@NODE>. at @NODE sends all that follows to that node of the cluster.\n"
    .. "at alone leaves.",
  help = "help [COMMAND]",
  jobs = "jobs\nWhat goes on behind: log, trace and deadletters with & behind them print while you type.",
  cancel = "cancel [N]\nEnds job N, or all.",
  exit = "exit\nLeaves, as Ctrl-D does. The node stays.",
  eval = "throng eval [NODE] 'LUA' [--at PID] [--time MS] [--memory SIZE] [--output SIZE] [--depth N]\n"
    .. "                    [--within MS] [--on NODE|--all]\n"
    .. "Evaluates, prints the values; exit code 1 if it fails. --json: as JSON.",
  repl = "throng repl [NODE] [--on NODE]\n"
    .. "A line whose first word is a command, with a space or the line's end behind it and no = next, runs it; all\n"
    .. "else is Lua, as is a line that begins with a space or =. The last value is _. An unfinished chunk goes on.\n"
    .. "From a pipe: chunks are evaluated in turn; exit code 1 if one failed.",
}

local OPTIONS <const> = {
  on = "the node of the cluster that is asked", all = "all nodes: each row says whose it is",
  limit = "how many rows at most", sort = "by which field",
  within = "milliseconds to wait for the actor; of a reload of all nodes, until all are ready",
  depth = "how deep tables are shown", every = "milliseconds between two blocks", count = "blocks, then it ends",
  out = "the files' name, without .svg and .folded", rate = "samples a second", name = "the name it registers",
  in_flight = "drain or cancel: what is half done", drain = "milliseconds for that", mode = "code or vm",
  canary = "how many first, 3 or 5%", watch = "milliseconds they are watched", force = "though it looks wrong",
}

--- Lines on all commands.
function help.all(paint)
  local lines = {"All is Lua, but lines that begin with one of these words (a leading space or = makes them Lua, too)"}
  local widest = 0
  for _, command in ipairs(commands.list) do widest = math.max(widest, #command.name) end
  for _, group in ipairs(GROUPS) do
    lines[#lines + 1] = paint("bold", group[2])
    for _, command in ipairs(commands.list) do
      if command.group == group[1] then
        lines[#lines + 1] = ("  %-" .. widest .. "s  %s"):format(command.name, command.help)
      end
    end
  end
  lines[#lines + 1] = paint("bold", "here")
  for _, line in ipairs(OWN) do lines[#lines + 1] = ("  %-16s  %s"):format(line[1], line[2]) end
  return lines
end

--- Lines on one; nil: there is none.
function help.of(name, paint)
  local command = commands.by_name[name]
  if not command then
    if not MORE[name] then return nil end
    local lines = {}
    for line in MORE[name]:gmatch("[^\n]+") do lines[#lines + 1] = line end
    lines[1] = paint("bold", lines[1])
    return lines
  end
  local lines = {paint("bold", commands.usage(command) .. " [--json]"), command.help}
  local names = {}
  for option in pairs(command.options) do names[#names + 1] = option end
  table.sort(names)
  names[#names + 1] = "on"
  if command.all then names[#names + 1] = "all" end
  for _, option in ipairs(names) do
    if OPTIONS[option] then lines[#lines + 1] = ("  --%-9s %s"):format(option:gsub("_", "-"), OPTIONS[option]) end
  end
  return lines
end

return help
