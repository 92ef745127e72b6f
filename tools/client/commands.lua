--- The commands: what each takes, which request it makes, and how its answer is shown. The same ones are typed in the
--- REPL and given to the program (`throng ps NODE`).
local show = require "throng.client.show"
local value = require "throng.client.value"

---@class Word
---@field [1] string        the argument of the request
---@field optional? boolean
---@field rest? boolean     takes all the rest of the line as it is
---@field words? boolean    the rest is words, with options among them, and not Lua
---@field number? boolean
---@field title? string     how usage calls it

---@class Command
---@field name string
---@field words Word[]
---@field options table<string, string>  option to kind: "number", "size", "text", "flag"
---@field help string
---@field op? string        the request, if it is called otherwise
---@field live? boolean     goes on until it is cancelled, or --limit
---@field list? boolean     its pieces are what is asked for, its value is about them
---@field args? fun(args: table): table?, string?  changes what is asked; nil and why not
---@field all? boolean     it may be asked of all nodes: --all
---@field leads? boolean   of all nodes it has one answer, not one of each
---@field begin? fun(view: View): table  makes what shows the answer: {more = fun(piece), done = fun(value)}

---@class View              how and where something is shown
---@field out fun(line: string)
---@field paint fun(colour: string, text: string): string
---@field width integer?    of the terminal; nil: it is none
---@field args table?       what was asked

local commands = {list = {}, by_name = {}}

local SIZES <const> = {memory = show.size, rss = show.size, peak = show.size, before = show.size, after = show.size,
                       bytes = show.size, heap = show.size, pool = show.size, memory_limit = show.size}
local TIMES <const> = {uptime = show.time, oldest = show.time, took = show.time, since = show.time, left = show.time,
                       age = show.time, p99 = show.time}
local FORMATS <const> = {}
for _, from in ipairs {SIZES, TIMES} do
  for name, format in pairs(from) do FORMATS[name] = format end
end

-- ---- shapes of answers ----

local function nothing() end

--- Of all nodes: which one a row is of.
local NODE <const> = {"NODE", "on", colour = "cyan"}

--- The rows of all nodes together: node by node, or by what they are sorted by, and no more than were asked for.
---@return table columns, table rows, table about
local function merged(columns, rows, about, args)
  local place, order, sums, known = {}, {}, {count = 0, shown = 0}, false
  for i, node in ipairs(about.nodes) do
    place[node.on] = i
    local its = type(node.value) == "table" and node.value or {}
    known = known or its.count ~= nil
    sums.count = sums.count + (tonumber(its.count) or 0)
    sums.shown = sums.shown + (tonumber(its.shown) or tonumber(its.count) or 0)
  end
  for i, row in ipairs(rows) do order[row] = i end
  local key = args.sort
  table.sort(rows, function(a, b)
    local x, y = key and tonumber(a[key]) or 0, key and tonumber(b[key]) or 0
    if x ~= y then return x > y end
    local p, q = place[a.on] or 0, place[b.on] or 0
    if p ~= q then return p < q end
    return order[a] < order[b]
  end)
  local limit = tonumber(args.limit)
  if limit and #rows > limit then
    for i = #rows, limit + 1, -1 do rows[i] = nil end
    sums.shown = limit
  end
  return table.move(columns, 1, #columns, 2, {NODE}), rows, known and sums or nil
end

local function table_of(columns, footer)
  return function(view)
    local rows = {}
    return {
      all = true,
      more = function(row) rows[#rows + 1] = row end,
      done = function(about)
        local columns, rows = columns, rows -- luacheck: ignore
        if type(about) == "table" and about.nodes then
          columns, rows, about = merged(columns, rows, about, view.args or {})
        end
        for _, line in ipairs(show.table(columns, rows, view.width, view.paint)) do view.out(line) end
        local last = footer and footer(about, rows)
        if last then view.out(view.paint("dim", last)) end
      end,
    }
  end
end

local function counted(one, many)
  return function(about, rows)
    local count = type(about) == "table" and tonumber(about.count) or #rows
    local shown = type(about) == "table" and tonumber(about.shown) or #rows
    local text = ("%d %s"):format(count, count == 1 and one or many)
    if shown < count then text = ("%s, %d shown (--limit shows more)"):format(text, shown) end
    return text
  end
end

--- The pieces line by line, as they come.
local function line_of(text_of)
  return function(view)
    return {all = true, done = nothing, more = function(piece)
      view.out((piece.on and view.paint("cyan", show.clean(piece.on)) .. " " or "") .. text_of(piece, view))
    end}
  end
end

local function sorted(object)
  local keys = {}
  for key in pairs(object) do keys[#keys + 1] = tostring(key) end
  table.sort(keys)
  return keys
end

--- A piece whose shape is not known: its fields in one line.
local function fields(piece)
  if type(piece) ~= "table" then return show.clean(tostring(piece)) end
  local parts = {}
  for _, key in ipairs(sorted(piece)) do
    local text = piece[key]
    if type(text) == "table" then
      local inner = {}
      for k, v in pairs(text) do
        if type(v) ~= "table" then
          inner[#inner + 1] = type(k) == "number" and show.clean(tostring(v)) or
            show.clean(("%s=%s"):format(k, v))
        end
      end
      table.sort(inner)
      text = "{" .. table.concat(inner, ", ") .. "}"
    else
      text = FORMATS[key] and type(text) == "number" and FORMATS[key](text) or show.clean(tostring(text))
    end
    parts[#parts + 1] = ("%s=%s"):format(show.clean(key), text)
  end
  return table.concat(parts, " ")
end

--- Whatever comes: pieces as lines, an object as names and values.
local function anything(first)
  return function(view)
    return {
      more = function(piece) view.out(fields(piece)) end,
      done = function(about)
        if type(about) == "table" and next(about) then
          for _, line in ipairs(show.object(about, FORMATS, first, view.paint)) do view.out(line) end
        elseif about == true then
          view.out(view.paint("dim", "done"))
        elseif about ~= nil and type(about) ~= "table" then
          view.out(show.clean(tostring(about)))
        end
      end,
    }
  end
end

local function show_value(about, view)
  if type(about) ~= "table" then return view.out(show.clean(tostring(about))) end
  for _, line in ipairs(value.lines(about.text or "", view.width, view.paint)) do view.out(line) end
  if about.cut then view.out(view.paint("dim", "(cut: --depth and --limit show more)")) end
end

local function text_value(view)
  return {more = nothing, done = function(about) show_value(about, view) end}
end

--- What a node can, as it was started with.
local function able(can)
  if type(can) ~= "table" then return nil end
  local parts = {}
  for _, key in ipairs(sorted(can)) do parts[#parts + 1] = ("%s=%s"):format(key, tostring(can[key])) end
  return #parts > 0 and table.concat(parts, ",") or nil
end

local function done_word(word)
  return function(view)
    return {more = nothing, done = function() view.out(view.paint("dim", word)) end}
  end
end

-- ---- rows ----

local function who(row)
  if row.name and row.name ~= "" then return row.name end
  return nil
end

--- With the node that its code came from, if that is another.
local function behaviour(row)
  return row.origin and ("%s@%s"):format(row.behaviour, row.origin) or row.behaviour
end

local PS <const> = {
  {"PID", "pid", colour = "yellow"}, {"NAME", who, least = 8, colour = "bold"},
  {"BEHAVIOUR", behaviour, least = 8},
  {"VERSION", function(row) return row.version and tostring(row.version):sub(1, 8) end},
  {"STATE", "state"}, {"HANDLER", "handler", least = 8},
  {"DEPTH", "depth", show.count, right = true}, {"OLDEST", "oldest", show.time, right = true},
  {"MEMORY", "memory", show.size, right = true}, {"MESSAGES", "messages", show.count, right = true},
  {"UPTIME", "uptime", show.time, right = true},
}

local TREE <const> = {
  {"ACTOR", function(row)
    return ("  "):rep(math.min(tonumber(row.level) or 0, 40)) .. (who(row) or row.behaviour or "?")
  end, least = 20, colour = "bold"},
  {"PID", "pid", colour = "yellow"}, {"BEHAVIOUR", behaviour, least = 8}, {"STATE", "state"},
  {"DEPTH", "depth", show.count, right = true}, {"MEMORY", "memory", show.size, right = true},
  {"UPTIME", "uptime", show.time, right = true},
}

local WAY_COLOURS <const> = {["in"] = "green", out = "blue"}

local function trace_line(event, view)
  if event.dropped and not event.way then
    return view.paint("red", ("... %s events were too many and are not shown"):format(show.count(event.dropped)))
  end
  local way = tostring(event.way or "?")
  local parts = {show.clock(event.at), view.paint("yellow", show.clean(event.pid or "?")),
                 view.paint(WAY_COLOURS[way] or "dim", ("%-4s"):format(show.clean(way))),
                 view.paint("bold", show.clean(event.name or ""))}
  local text = show.clean(event.text or "")
  if event.name and text:sub(1, #event.name + 1) == event.name .. "(" then parts[#parts], text = text, "" end
  if text ~= "" then parts[#parts + 1] = "(" .. text .. ")" end
  if event.ask then parts[#parts + 1] = "asked" end
  if event.from then parts[#parts + 1] = "from " .. show.clean(event.from) end
  if event.to then parts[#parts + 1] = "to " .. show.clean(event.to) end
  if event.took then parts[#parts + 1] = view.paint("dim", "took " .. show.time(event.took)) end
  if event.waited then parts[#parts + 1] = view.paint("dim", ("(%s of it waiting)"):format(show.time(event.waited))) end
  if event["end"] then parts[#parts + 1] = view.paint("red", show.clean(event["end"])) end
  return table.concat(parts, " ")
end

local LEVEL_COLOURS <const> = {error = "red", warn = "yellow", debug = "dim"}

--- A piece that says what the node had to leave out.
local function lost_line(piece, view)
  return piece.lost and view.paint("red", ("... %s more than could be sent"):format(show.count(piece.lost)))
end

local function log_line(line, view)
  local lost = lost_line(line, view)
  if lost then return lost end
  local level = show.clean(line.level or "?")
  local parts = {show.clock(line.at), view.paint(LEVEL_COLOURS[level] or "green", ("%-5s"):format(level))}
  if line.actor and line.actor ~= "" then parts[#parts + 1] = view.paint("yellow", show.clean(line.actor)) end
  parts[#parts + 1] = show.clean(line.text or "")
  return table.concat(parts, " ")
end

local function task(view)
  local count = 0
  return {
    more = function(row)
      count = count + 1
      local parts = {view.paint("bold", show.clean(row.task or count))}
      if row.handler then parts[#parts + 1] = show.clean(row.handler) end
      if row.from then parts[#parts + 1] = "from " .. show.clean(row.from) end
      parts[#parts + 1] = show.clean(row.state or "")
      if row.waits then parts[#parts + 1] = "for " .. show.clean(row.waits) end
      if row["for"] then parts[#parts + 1] = "of " .. show.clean(row["for"]) end
      if row.left then parts[#parts + 1] = view.paint("dim", ("(%s left)"):format(show.time(row.left))) end
      view.out(table.concat(parts, " "))
      for line in tostring(row.traceback or ""):gmatch("[^\n]+") do
        view.out(view.paint("dim", "  " .. show.clean((line:gsub("^%s+", "")))))
      end
    end,
    done = function()
      if count == 0 then view.out(view.paint("dim", "nothing waits in it")) end
    end,
  }
end

local function inbox(view)
  return {more = nothing, done = function(about)
    local rows = type(about) == "table" and about.messages or {}
    local columns = {{"KIND", "kind"}, {"NAME", "name", colour = "bold"}, {"FROM", "from", colour = "yellow"},
                     {"CONTENT", "text"}}
    for _, line in ipairs(show.table(columns, rows, view.width, view.paint)) do view.out(line) end
    local depth = tonumber(type(about) == "table" and about.depth) or #rows
    local text = depth == 1 and "1 message waits" or ("%d messages wait"):format(depth)
    if depth > #rows then text = ("%s, %d shown"):format(text, #rows) end
    view.out(view.paint("dim", text))
  end}
end

local function why(view)
  return {more = nothing, done = function(about)
    about = type(about) == "table" and about or {}
    for i, link in ipairs(about.chain or {}) do
      local called = show.clean(link.pid or "?")
      if link.name and link.name ~= "" then called = called .. " " .. view.paint("bold", show.clean(link.name)) end
      local parts = {("  "):rep(i - 1) .. called}
      if link.handler then parts[#parts + 1] = ("in %s"):format(show.clean(link.handler)) end
      if link.waits and link.waits ~= "" then parts[#parts + 1] = "waits: " .. show.clean(link.waits) end
      if link["for"] and link["for"] ~= "" then parts[#parts + 1] = show.clean(link["for"]) end
      if link.question then parts[#parts + 1] = show.clean(link.question) end
      if link.since then parts[#parts + 1] = view.paint("dim", "since " .. show.time(link.since)) end
      if link.left then parts[#parts + 1] = view.paint("dim", ("(%s left)"):format(show.time(link.left))) end
      view.out(table.concat(parts, " "))
    end
    if about["end"] then view.out(show.clean(about["end"])) end
  end}
end

local function group_row(row)
  local members = row.members
  if type(members) ~= "table" then return members ~= nil and tostring(members) or nil end
  local parts = {}
  for i, member in ipairs(members) do
    if i > 20 then
      parts[i] = ("... %d more"):format(#members - 20)
      break
    end
    parts[i] = tostring(member)
  end
  return table.concat(parts, " ")
end

--- The first piece counts, those that follow are letters.
local function dead_letters(view)
  local counted_of = {}
  return {all = true, done = nothing, more = function(piece)
    local on = piece.on and view.paint("cyan", show.clean(piece.on)) .. " " or ""
    local first = not counted_of[piece.on or ""]
    counted_of[piece.on or ""] = true
    if first and type(piece.counts) == "table" then
      local parts = {}
      for _, reason in ipairs(sorted(piece.counts)) do
        local count = tonumber(piece.counts[reason])
        if count and count > 0 then parts[#parts + 1] = ("%s %s"):format(show.count(count), show.clean(reason)) end
      end
      view.out(on .. view.paint("dim", "so far: " .. (#parts > 0 and table.concat(parts, ", ") or "none")))
    elseif not piece.reason then
      view.out(lost_line(piece, view) or fields(piece))
    else
      local parts = {on .. show.clock(piece.at), view.paint("red", show.clean(piece.reason or "?")),
                     view.paint("bold", show.clean(piece.name or ""))}
      if piece.text and piece.text ~= "" then parts[#parts + 1] = "(" .. show.clean(piece.text) .. ")" end
      if piece.from then parts[#parts + 1] = "from " .. show.clean(piece.from) end
      if piece.to then parts[#parts + 1] = "to " .. show.clean(piece.to) end
      view.out(table.concat(parts, " "))
    end
  end}
end

local function changed_size(view)
  return {more = nothing, done = function(about)
    about = type(about) == "table" and about or {}
    local before, after = tonumber(about.before) or 0, tonumber(about.after) or 0
    view.out(("%s before, %s after: %s given back"):format(show.size(before), show.size(after),
                                                           show.size(math.max(0, before - after))))
  end}
end

local function set_done(view)
  return {more = nothing, done = function(about)
    about = type(about) == "table" and about or {}
    local old, new = show.clean(about.old or "nil"), show.clean(about.new or "nil")
    view.out(("%s %s %s"):format(old, view.paint("dim", "->"), new))
  end}
end

local function short(version) return version and tostring(version):sub(1, 8) or nil end

--- What was taken in: a line, which versions became which, what to know.
local function reloaded(view)
  return {more = nothing, done = function(about)
    about = type(about) == "table" and about or {}
    if about.text then view.out(show.clean(about.text)) end
    if about.canary then view.out(show.clean(about.canary)) end
    local columns = {{"BEHAVIOUR", "name", least = 8, colour = "bold"},
                     {"FROM", function(row) return short(row.from) end}, {"TO", function(row) return short(row.to) end},
                     {"ACTORS", "actors", show.count, right = true}}
    local rows = type(about.behaviours) == "table" and about.behaviours or {}
    if type(about.nodes) == "table" then
      table.insert(columns, 1, NODE)
      for _, node in ipairs(about.nodes) do
        if node.canary then view.out(show.clean(node.on .. ": " .. node.canary)) end
        for _, row in ipairs(type(node.behaviours) == "table" and node.behaviours or {}) do
          row.on = node.on
          rows[#rows + 1] = row
        end
        for _, warning in ipairs(type(node.warnings) == "table" and node.warnings or {}) do
          view.out(view.paint("yellow", ("warning: %s: %s"):format(show.clean(node.on), show.clean(warning))))
        end
      end
    end
    for _, line in ipairs(show.table(columns, rows, view.width, view.paint)) do view.out(line) end
    for _, warning in ipairs(type(about.warnings) == "table" and about.warnings or {}) do
      view.out(view.paint("yellow", "warning: " .. show.clean(warning)))
    end
  end}
end

--- "trace bob tick limit 5": what is no pid may be a name or a behaviour; the node is asked for both in turn.
local function trace_args(args)
  for _, name in ipairs {"handler", "word", "number"} do
    if args[name] == "limit" then
      local after = name == "handler" and "word" or "number"
      local limit = math.tointeger(tonumber(args[after] or ""))
      if name == "number" or not limit then return nil, "limit wants a number after it" end
      if name == "handler" and args.number then return nil, ("'%s': unexpected after the limit"):format(args.number) end
      args[name], args[after], args.limit = nil, nil, limit
      break
    end
  end
  if args.word or args.number then return nil, ("'%s': unexpected"):format(args.word or args.number) end
  return args
end

-- ---- the list ----

local RELOAD <const> = {in_flight = "text", drain = "number", canary = "text", watch = "number", force = "flag",
                        mode = "text", within = "number"}
local ROLLBACK <const> = {in_flight = "text", drain = "number", canary = "text", watch = "number", mode = "text",
                          within = "number"}
local PID <const> = {"pid"}
local PID_OR_NOT <const> = {"pid", optional = true}
local LIMIT <const> = {limit = "number"}
local WITHIN <const> = {within = "number"}

local ALL <const> = {}
for _, name in ipairs {"ps", "top", "tree", "names", "groups", "node", "nodes", "memory", "gc", "reload", "rollback",
                       "versions", "log", "trace", "deadletters", "slow"} do ALL[name] = true end

local function add(group, name, words, help, more)
  local command = more or {}
  command.group, command.name, command.words, command.help = group, name, words, help
  command.options = command.options or {}
  command.all = ALL[name] or false
  commands.list[#commands.list + 1] = command
  commands.by_name[name] = command
end

add("look", "ps", {{"pattern", optional = true}}, "the actors whose name or behaviour has PATTERN in it",
    {list = true, options = {sort = "text", limit = "number"}, begin = table_of(PS, counted("actor", "actors"))})
add("look", "top", {}, "who is busy, again and again; keys: m d a c r p sort, q quits",
    {list = true, live = true, options = {sort = "text", limit = "number", every = "number", count = "number"}})
add("look", "tree", {PID_OR_NOT}, "supervisors and their children",
    {list = true, options = LIMIT, begin = table_of(TREE, counted("actor", "actors"))})
add("look", "info", {PID}, "all that is known of one actor",
    {options = WITHIN, begin = anything {"pid", "name", "behaviour", "version", "state", "handler", "parent"}})
add("look", "state", {PID, {"path", optional = true}}, "its self, or what PATH (a.b[3]) finds in it",
    {options = {depth = "number", limit = "number", within = "number"}, begin = text_value})
add("look", "inbox", {PID}, "the messages that wait for it; none is taken",
    {options = {limit = "number", within = "number"}, begin = inbox})
add("look", "tasks", {PID}, "its coroutines that wait, with their stacks",
    {list = true, options = WITHIN, begin = task})
add("look", "why", {PID}, "what it waits for, through asks, to the end of the chain", {options = WITHIN, begin = why})
add("look", "names", {{"pattern", optional = true}}, "registered names; --scope cluster: those of the whole cluster",
    {list = true, options = {limit = "number", scope = "text"},
     begin = table_of({{"NAME", "name", least = 8, colour = "bold"}, {"PID", "pid", colour = "yellow"}},
                      counted("name", "names"))})
add("look", "groups", {{"pattern", optional = true}}, "groups and their members",
    {list = true, options = LIMIT, begin = table_of({{"GROUP", "group", least = 8, colour = "bold"},
                                                     {"MEMBERS", group_row}}, counted("group", "groups"))})
add("look", "node", {}, "the node: version, uptime, workers, settings, counters",
    {begin = anything {"name", "version", "uptime", "os_pid", "workers"}})
add("look", "nodes", {}, "the members this node knows",
    {list = true, begin = table_of({{"NAME", "name", least = 8, colour = "bold"},
                                    {"ACTORS", "actors", show.count, right = true},
                                    {"CAN", function(row) return able(row.can) end, least = 8},
                                    {"", function(row) return row.own and "this one" or nil end}},
                                   counted("node", "nodes"))})
add("look", "memory", {}, "where the node's memory is", {begin = anything {"rss", "peak", "actors"}})

add("change", "send", {PID, {"name"}, {"args", rest = true, optional = true, title = "LUA"}},
    "sends a message; LUA are expressions: send bob eat 3, {x = 1}", {begin = done_word "sent"})
add("change", "ask", {PID, {"name"}, {"args", rest = true, optional = true, title = "LUA"}},
    "asks, and shows the reply", {options = WITHIN, begin = text_value})
add("change", "spawn", {{"module"}, {"args", rest = true, optional = true, title = "LUA"}},
    "a new actor; --name gives it one", {options = {name = "text"}, begin = function(view)
      return {more = nothing, done = function(about)
        view.out(view.paint("yellow", show.clean(type(about) == "table" and about.pid or tostring(about))))
      end}
    end})
add("change", "set", {PID, {"path"}, {"value", rest = true, title = "LUA"}},
    "puts the value of a Lua expression into its self", {options = WITHIN, begin = set_done})
add("change", "stop", {PID, {"reason", rest = true, words = true, optional = true}}, "ends it in order: terminate runs",
    {begin = done_word "told to stop"})
add("change", "kill", {PID}, "ends it at once", {begin = done_word "killed"})
add("change", "gc", {PID_OR_NOT}, "collects the garbage of one actor, or of all",
    {options = WITHIN, begin = changed_size})
add("change", "reload", {{"module", rest = true, words = true, optional = true, title = "MODULE..."}},
    "takes changed scripts into running actors", {options = RELOAD, leads = true, begin = reloaded})
add("change", "rollback", {{"module", rest = true, words = true, title = "MODULE..."}}, "the version before",
    {options = ROLLBACK, leads = true, begin = reloaded})
add("change", "versions", {{"module", optional = true}}, "versions of behaviours, and who runs them",
    {list = true, begin = table_of({{"NAME", "name", least = 8, colour = "bold"},
                                    {"VERSION", function(row) return short(row.version) end},
                                    {"CURRENT", function(row) return row.current and "yes" or nil end},
                                    {"ACTORS", "actors", show.count, right = true},
                                    {"BEFORE", function(row) return short(row.before) end},
                                    {"FILE", "file", least = 8}}, counted("version", "versions"))})

add("follow", "log", {{"level", optional = true}}, "the log as it is written, of LEVEL and worse",
    {list = true, live = true, options = LIMIT, begin = line_of(log_line)})
add("follow", "trace", {{"pid", title = "PID|BEHAVIOUR"}, {"handler", optional = true},
                        {"word", optional = true, title = "limit"}, {"number", optional = true, title = "N"}},
    "messages in and out of an actor, or of all of a behaviour, and the time they took",
    {list = true, live = true, options = LIMIT, args = trace_args, begin = line_of(trace_line), either = true})
add("follow", "deadletters", {}, "messages that nobody took, as they happen",
    {list = true, live = true, options = LIMIT, begin = dead_letters})
add("follow", "slow", {}, "the slowest handlers so far",
    {list = true, options = LIMIT,
     begin = table_of {{"TOOK", "took", show.time, right = true},
                       {"BEHAVIOUR", "behaviour", least = 8, colour = "bold"},
                       {"HANDLER", "handler", least = 8}, {"PID", "pid", colour = "yellow"},
                       {"P99", "p99", show.time, right = true}, {"TIMES", "times", show.count, right = true},
                       {"AT", "at", show.clock}, {"", function(row) return row.running and "runs still" or nil end}}})
add("follow", "prof", {{"seconds", number = true}, PID_OR_NOT},
    "samples Lua stacks; writes FILE.folded and FILE.svg, a flame graph (--out FILE, prof if nothing is said)",
    {options = {out = "text", rate = "number"}, file = true})

--- How it is written: "state PID [PATH] [--depth N]".
---@return string
function commands.usage(command)
  local parts = {command.name}
  for _, word in ipairs(command.words) do
    local title = word.title or word[1]:upper()
    if word.title ~= "limit" and word.title ~= "N" then
      parts[#parts + 1] = word.optional and "[" .. title .. "]" or title
    end
  end
  local names = {}
  for name in pairs(command.options) do names[#names + 1] = name end
  table.sort(names)
  for _, name in ipairs(names) do
    local kind = command.options[name]
    local takes = kind == "flag" and "" or kind == "number" and " N" or kind == "size" and " SIZE" or " X"
    parts[#parts + 1] = ("[--%s%s]"):format(name:gsub("_", "-"), takes)
  end
  parts[#parts + 1] = command.all and "[--on NODE|--all]" or "[--on NODE]"
  return table.concat(parts, " ")
end

-- ---- reading what was typed ----

local SCALE <const> = {[""] = 1, k = 1024, m = 1 << 20, g = 1 << 30}

local function option_value(name, kind, text)
  if kind == "text" then return text end
  local digits, unit = text:lower():match(kind == "size" and "^(%d+)([kmg]?)$" or "^(%d+%.?%d*)()$")
  local number = digits and tonumber(digits)
  if not number then return nil, ("--%s '%s': a number is wanted"):format(name, show.clean(text)) end
  if kind == "size" then return math.tointeger(number) * SCALE[unit] end
  return math.tointeger(number) or number
end

--- Takes the option at words[at], if it is one: the number of words it takes; 0: none; nil and what is wrong. In the
--- rest of a line, which is Lua, what is none of our options is a comment.
local function take_option(command, words, at, options, in_rest)
  local name, equals, text = words[at]:match("^%-%-([%a][%w_-]*)(=?)(.*)$")
  if not name or (equals == "" and text ~= "") then return 0 end
  if name == "json" and equals == "" then
    options.json = true
    return 1
  end
  local known = name:gsub("-", "_")
  if known == "all" and command.all then
    if equals == "=" then return nil, "--all takes no value" end
    options.on = "*"
    return 1
  end
  local kind = known == "on" and "text" or command.options[known]
  if not kind then
    if in_rest then return 0 end
    return nil, ("%s has no option --%s"):format(command.name, show.clean(name))
  end
  if kind == "flag" then
    if equals == "=" then return nil, ("--%s takes no value"):format(name) end
    options[known] = true
    return 1
  end
  if equals == "" then text = words[at + 1] end
  if not text then return nil, ("--%s wants a value"):format(name) end
  local result, problem = option_value(name, kind, text)
  if result == nil then return nil, problem end
  options[known] = result
  return equals == "" and 2 or 1
end

--- The rest of a shell's words, with the options among them.
local function take_rest(command, words, at, options)
  local kept = {}
  while at <= #words do
    local took, problem = take_option(command, words, at, options, true)
    if not took then return nil, problem end
    if took == 0 then kept[#kept + 1] = words[at] end
    at = at + math.max(took, 1)
  end
  return table.concat(kept, " ")
end

--- From words to what is asked. In a line that was typed, options stand before its rest begins, --json also behind it;
--- among a shell's words anywhere.
---@param rest_of? fun(index: integer): string  the rest of the line from that word on, as it was typed
---@return table? args, table|string options  nil and what is wrong
function commands.parse(command, words, rest_of)
  local args, options, at, place = {}, {}, 1, 1
  while at <= #words do
    local took, problem = take_option(command, words, at, options)
    if not took then return nil, problem end
    at = at + took
    if took == 0 then
      local word = command.words[place]
      if not word then return nil, ("%s: '%s' is too much"):format(command.name, show.clean(words[at])) end
      place = place + 1
      if word.rest then
        local text, trouble
        if rest_of and not word.words then
          text = rest_of(at)
          if words[#words] == "--json" then
            options.json, text = true, text:gsub("%s*%-%-json$", "")
          end
        else
          text, trouble = take_rest(command, words, at, options)
          if not text then return nil, trouble end
        end
        args[word[1]] = text
        break
      end
      local given = words[at]
      if word.number then
        given = tonumber(given)
        if not given or given <= 0 or given - given ~= 0 then
          return nil, ("%s: %s must be a number, not '%s'"):format(command.name, word[1]:upper(), show.clean(words[at]))
        end
      end
      args[word[1]] = given
      at = at + 1
    end
  end
  local missing = command.words[place]
  if missing and not missing.optional then
    return nil, ("%s: which %s? usage: %s"):format(command.name, missing.title or missing[1]:upper(),
                                                   commands.usage(command))
  end
  if command.args then
    local changed, problem = command.args(args)
    if not changed then return nil, ("%s: %s"):format(command.name, problem) end
    args = changed
  end
  for name, given in pairs(options) do
    if name ~= "json" and name ~= "out" then args[name] = given end
  end
  return args, options
end

return commands
