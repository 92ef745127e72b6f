--- Who is busy: pieces of the op `top`, drawn in place on a terminal, with keys, or printed as blocks.
local show = require "throng.client.show"
local terminal = require "throng.terminal"

local top = {}

local KEYS <const> = {m = "messages", d = "depth", a = "oldest", c = "cpu", r = "memory", p = "p99"}
local SORTS <const> = {{"m", "messages/s"}, {"d", "depth"}, {"a", "age"}, {"c", "cpu"}, {"r", "memory"}, {"p", "p99"}}

local function percent(share)
  local n = tonumber(share)
  return n and ("%.1f%%"):format(n * 100) or ""
end

local COLUMNS <const> = {
  {"PID", "pid", colour = "yellow"}, {"NAME", function(row) return row.name ~= "" and row.name or nil end, least = 8,
                                      colour = "bold"},
  {"BEHAVIOUR", "behaviour", least = 8},
  {"VERSION", function(row) return row.version and tostring(row.version):sub(1, 8) end},
  {"MSG/S", "messages", show.count, right = true}, {"DEPTH", "depth", show.count, right = true},
  {"AGE", "oldest", show.time, right = true}, {"CPU", "cpu", percent, right = true},
  {"MEMORY", "memory", show.size, right = true}, {"P99", "p99", show.time, right = true},
  {"LONGEST", "longest", show.time, right = true},
}

local FORMATS <const> = {memory = show.size, rss = show.size, peak = show.size, cpu = percent, uptime = show.time}
local FIRST <const> = {"name", "uptime", "actors", "workers", "messages", "cpu", "rss"}
local LABELS <const> = {messages = "messages/s"}

--- What there is to know of the node, in one line.
local function headline(node, paint)
  local parts, done = {}, {}
  local function add(name)
    local value = node[name]
    if done[name] or value == nil or type(value) == "table" then return end
    done[name] = true
    local text = FORMATS[name] and type(value) == "number" and FORMATS[name](value)
      or type(value) == "number" and show.count(value) or show.clean(tostring(value))
    local label = LABELS[name] or show.clean(name)
    parts[#parts + 1] = name == "name" and paint("bold", text) or ("%s %s"):format(paint("dim", label), text)
  end
  for _, name in ipairs(FIRST) do add(name) end
  local rest = {}
  for name in pairs(node) do rest[#rest + 1] = tostring(name) end
  table.sort(rest)
  for _, name in ipairs(rest) do add(name) end
  return table.concat(parts, "  ")
end

local function block(piece, width, paint)
  piece = type(piece) == "table" and piece or {}
  if not piece.heads then
    local lines = show.table(COLUMNS, piece.rows or {}, width, paint)
    table.insert(lines, 1, headline(piece.node or {}, paint))
    return lines
  end
  local lines = {}
  for i, head in ipairs(piece.heads) do lines[i] = headline(head, paint) end
  local columns = table.move(COLUMNS, 1, #COLUMNS, 2, {{"NODE", "on", colour = "cyan"}})
  for _, line in ipairs(show.table(columns, piece.rows, width, paint)) do lines[#lines + 1] = line end
  return lines
end

--- Of all nodes: the last piece of each, as one. `fresh` says that a round is full: this node has spoken twice.
local function gatherer(args)
  local last, spoken = {}, {}
  local function picture()
    local heads, rows, key = {}, {}, args.sort or "messages"
    for name, piece in pairs(last) do
      local head = {name = name}
      for k, v in pairs(type(piece.node) == "table" and piece.node or {}) do head[k] = v end
      heads[#heads + 1] = head
      for _, row in ipairs(type(piece.rows) == "table" and piece.rows or {}) do
        row.on = name
        rows[#rows + 1] = row
      end
    end
    table.sort(heads, function(a, b) return a.name < b.name end)
    table.sort(rows, function(a, b)
      local x, y = tonumber(a[key]) or -1, tonumber(b[key]) or -1
      if x ~= y then return x > y end
      if a.on ~= b.on then return a.on < b.on end
      return tostring(a.pid) < tostring(b.pid)
    end)
    for i = #rows, (tonumber(args.limit) or 20) + 1, -1 do rows[i] = nil end
    return {heads = heads, rows = rows}
  end
  return function(piece)
    local fresh = spoken[piece.on] and picture()
    if fresh then spoken = {} end
    spoken[piece.on], last[piece.on] = true, piece
    return fresh, picture
  end
end

--- The columns that a line takes: what colours it does not count.
local function cut_line(line, width)
  if terminal.width((line:gsub("\27%[[%d;]*m", ""))) <= width then return line end
  return show.cut((line:gsub("\27%[[%d;]*m", "")), width)
end

local function footer(sort, width, paint)
  local parts = {}
  for _, key in ipairs(SORTS) do
    local text = ("%s %s"):format(key[1], key[2])
    parts[#parts + 1] = sort == KEYS[key[1]] and paint("bold", text) or paint("dim", text)
  end
  parts[#parts + 1] = paint("dim", "q quit")
  return cut_line(table.concat(parts, "  "), width)
end

local function run_live(session, args)
  local again, last, left, problem = true, nil, tonumber(args.count), nil
  args.count = nil
  args.sort = args.sort or KEYS.m
  local function draw()
    local width, height = terminal.size()
    local out = {"\27[H"}
    local lines = last and block(last, width, session.paint) or {"..."}
    for i = 1, math.min(#lines, height - 2) do out[#out + 1] = cut_line(lines[i], width) .. "\27[K\r\n" end
    out[#out + 1] = "\27[K\r\n" .. footer(args.sort, width, session.paint) .. "\27[K\27[J"
    terminal.write(table.concat(out))
  end
  local function enter()
    terminal.raw(true)
    terminal.write("\27[?1049h\27[?25l\27[2J")
  end
  local function leave()
    terminal.write("\27[?25h\27[?1049l")
    terminal.raw(false)
  end
  function session.suspend()
    leave()
    terminal.stop()
    enter()
    draw()
  end
  enter()
  local good, why = pcall(function()
    draw()
    while again do
      again = false
      local gather = args.on == "*" and gatherer(args)
      local fine, trouble = session:perform("top", args, function(piece)
        local picture
        if gather then picture = select(2, gather(piece)) end
        last = picture and picture() or piece
        draw()
        if left and (not gather or piece.on == session.conn.greeting.node) then
          left = left - 1
          return left <= 0
        end
      end, function(happened)
        if happened.winch then draw() end
        if not happened.input then return false end
        local keys = terminal.read()
        if not keys then return true end
        for key in keys:gmatch(".") do
          if key == "q" or key == "\4" then
            again = false
            return true
          end
          if KEYS[key] and KEYS[key] ~= args.sort then
            args.sort, again = KEYS[key], true
          end
        end
        if again then draw() end
        return again
      end, 10000)
      if not fine and trouble.code ~= "cancelled" then problem = trouble end
      if not fine then again = false end
    end
  end)
  session.suspend = nil
  leave()
  if not good then error(why, 0) end
  if problem then return false, problem end
  return true
end

--- `session` asks; on a terminal one sees and steers, else blocks are printed, an empty line between them.
---@return boolean good, table? problem
function top.run(session, args)
  if session.terminal and terminal.is_terminal(0) then return run_live(session, args) end
  local width = session.terminal and terminal.size() or nil
  local left, first = tonumber(args.count), true
  local gather, picture = args.on == "*" and gatherer(args), nil
  local function print_block(piece)
    if not first then session:out("") end
    first = false
    for _, line in ipairs(block(piece, width, session.paint)) do session:out(line) end
  end
  local good, result = session:perform("top", args, function(piece)
    if gather then
      piece, picture = gather(piece)
      if not piece then return false end
    end
    print_block(piece)
    if left then left = left - 1 end
    return left and left <= 0
  end)
  if not good then return false, result end
  if picture and (not left or left > 0) then print_block(picture()) end
  if type(result) == "table" and type(result.nodes) == "table" then return session:judge(result.nodes) end
  return true
end

return top
