--- What a person sees: text of the node's with nothing in it that a terminal would obey, sizes and times one can read,
--- tables as wide as the terminal, values laid out over lines, colours where they are wanted.
local terminal = require "throng.terminal"

local show = {}

-- ---- text ----

--- Code points that change how other text is shown: the C1 controls, the bidirectional ones, separators of lines.
local function unseen(code)
  return code < 0x20 or (code >= 0x7f and code < 0xa0) or (code >= 0x200e and code <= 0x200f)
    or (code >= 0x2028 and code <= 0x202e) or (code >= 0x2066 and code <= 0x2069) or code == 0xfeff
end

local NAMED <const> = {["\n"] = "\\n", ["\t"] = "\\t", ["\r"] = "\\r"}

local function escape_control(char)
  return NAMED[char] or ("\\x%02X"):format(char:byte())
end

local function escape_rest(text) -- what holds more than ASCII
  local out, at = {}, 1
  while at <= #text do
    local good, bad = utf8.len(text, at)
    local stop = good and #text or bad - 1
    for _, code in utf8.codes(text:sub(at, stop)) do
      local char = utf8.char(code)
      out[#out + 1] = code >= 0x80 and unseen(code) and ("\\u{%X}"):format(code) or char
    end
    if bad then out[#out + 1] = ("\\x%02X"):format(text:byte(bad)) end
    at = stop + (bad and 2 or 1)
  end
  return table.concat(out)
end

--- One line, whatever it was; `lines`: newlines and tabs stay as they are.
---@return string
function show.clean(text, lines)
  text = tostring(text)
  if text:find("[\128-\255]") then text = escape_rest(text) end
  return (text:gsub(lines and "[%z\1-\8\11-\31\127]" or "[%z\1-\31\127]", escape_control))
end

local COLOURS <const> = {bold = "1", dim = "2", red = "31", green = "32", yellow = "33", blue = "34", magenta = "35",
                         cyan = "36"}

--- Colours for standard output, if it wants any.
---@return fun(colour: string, text: string): string
function show.painter(wanted)
  if not wanted then return function(_, text) return text end end
  return function(colour, text)
    if text == "" then return text end
    return ("\27[%sm%s\27[0m"):format(COLOURS[colour], text)
  end
end

--- Is standard output a terminal that shows colours to somebody who wants them?
function show.wants_colour()
  local no, term = os.getenv "NO_COLOR", os.getenv "TERM"
  return terminal.is_terminal(1) and (not no or no == "") and term ~= nil and term ~= "" and term ~= "dumb"
end

-- ---- numbers ----

local function plain(n)
  return math.type(n) == "integer" and tostring(n) or ("%.14g"):format(n)
end

--- 1536 -> "1.5K"
function show.size(bytes)
  local n, unit = tonumber(bytes), 0
  if not n then return "" end
  local units <const> = {"K", "M", "G", "T", "P"}
  if math.abs(n) < 1024 then return plain(n) end
  while math.abs(n) >= 1023.95 and unit < #units do n, unit = n / 1024, unit + 1 end
  return (math.abs(n) < 9.95 and "%.1f%s" or "%.0f%s"):format(n, units[unit])
end

--- Milliseconds -> "250us", "12ms", "1.5s", "3m20s", "2h05m", "4d03h"
function show.time(ms)
  local n = tonumber(ms)
  if not n or n ~= n then return "" end
  if n < 0 then return "-" .. show.time(-n) end
  if n == 0 then return "0" end
  if n < 0.9995 then return ("%.3gus"):format(n * 1000) end
  if n < 999.5 then return (n < 9.95 and "%.2gms" or "%.0fms"):format(n) end
  local s = n / 1000
  if s < 9.95 then return ("%.1fs"):format(s) end
  s = math.floor(s + 0.5)
  if s < 60 then return ("%.0fs"):format(s) end
  if s < 3600 then return ("%dm%02ds"):format(s // 60, math.floor(s % 60)) end
  if s < 86400 then return ("%dh%02dm"):format(s // 3600, s % 3600 // 60) end
  return ("%dd%02dh"):format(s // 86400, s % 86400 // 3600)
end

--- 12345 -> "12.3k"
function show.count(n)
  n = tonumber(n)
  if not n then return "" end
  if n < 10000 then return (n < 10 and n % 1 ~= 0 and "%.1f" or "%.0f"):format(n) end
  for _, unit in ipairs {"k", "M", "G"} do
    n = n / 1000
    if n < 999.5 or unit == "G" then return (n < 99.95 and "%.1f%s" or "%.0f%s"):format(n, unit) end
  end
end

--- The time of day, as the node's log has it (UTC), of milliseconds since 1970; a text stays.
function show.clock(at)
  local n = tonumber(at)
  if not n then return at ~= nil and show.clean(tostring(at)) or "" end
  if n - n ~= 0 or n < 0 or n > 4e12 then return "" end
  return os.date("!%H:%M:%S", math.floor(n / 1000)) .. (".%03d"):format(math.floor(n) % 1000)
end

-- ---- tables ----

--- As many whole characters of `text` as fit; with a mark where something is missing.
function show.cut(text, width)
  if width <= 0 then return "" end
  if terminal.width(text) <= width then return text end
  if not text:find("[\128-\255]") then return text:sub(1, width - 1) .. "~" end
  local out, used = {}, 0
  for _, code in utf8.codes(text, true) do
    local char = utf8.char(code)
    local wide = terminal.width(char)
    if used + wide > width - 1 then break end
    out[#out + 1], used = char, used + wide
  end
  return table.concat(out) .. "~"
end

local function pad(text, width, right)
  local spaces = (" "):rep(width - terminal.width(text))
  return right and spaces .. text or text .. spaces
end

---@class Column
---@field [1] string                       its title
---@field [2] string|fun(row: table): any  the row's field, or what makes the text of the row
---@field [3]? fun(value: any): string     makes the text of the field
---@field right? boolean                   numbers
---@field least? integer                   it may be cut down to this width when the terminal is narrow
---@field colour? string

local function cell(column, row)
  local value = column[2]
  if type(value) == "function" then value = value(row) else value = row[value] end
  if value == nil then return "" end
  if column[3] then value = column[3](value) end
  if type(value) == "number" then value = plain(value) end
  return show.clean(value)
end

--- Lines of a table: a line of titles, and one a row. Columns that are empty in all rows are left out.
---@param width integer?  of the terminal; nil: as wide as it is
---@return string[]
function show.table(columns, rows, width, paint)
  local shown, widths = {}, {}
  local cells = {}
  for i = 1, #rows do cells[i] = {} end
  for _, column in ipairs(columns) do
    local widest, texts = 0, {}
    for i, row in ipairs(rows) do
      texts[i] = cell(column, row)
      widest = math.max(widest, terminal.width(texts[i]))
    end
    if widest > 0 then
      shown[#shown + 1] = column
      widths[#shown] = math.max(widest, #column[1])
      for i in ipairs(rows) do cells[i][#shown] = texts[i] end
    end
  end

  local total = 2 * (#shown - 1)
  for _, w in ipairs(widths) do total = total + w end
  while width and total > width do -- the widest of those that may shrink, bit by bit
    local widest
    for i, column in ipairs(shown) do
      if column.least and widths[i] > column.least and (not widest or widths[i] > widths[widest]) then widest = i end
    end
    if not widest then break end
    local step = math.min(total - width, math.max(1, (widths[widest] - shown[widest].least) // 4))
    widths[widest], total = widths[widest] - step, total - step
  end

  local lines = {}
  local function line(texts, colour)
    local parts, used = {}, 0
    for i, column in ipairs(shown) do
      local room = width and math.min(widths[i], width - used) or widths[i]
      if room <= 0 then break end
      local text = show.cut(texts[i], room)
      if i < #shown or column.right then text = pad(text, room, column.right) end
      used = used + widths[i] + 2
      parts[#parts + 1] = colour and paint(colour, text) or column.colour and paint(column.colour, text) or text
    end
    lines[#lines + 1] = (table.concat(parts, "  "):gsub(" +$", ""))
  end
  local titles = {}
  for i, column in ipairs(shown) do titles[i] = column[1] end
  if #shown > 0 then line(titles, "bold") end
  for i in ipairs(rows) do line(cells[i]) end
  return lines
end

-- ---- what has no table of its own ----

local function scalar(value)
  if type(value) == "string" then return show.clean(value) end
  if type(value) == "number" then return plain(value) end
  return tostring(value)
end

local function is_list(value) return type(value) == "table" and (#value > 0 or next(value) == nil) end

--- A list of scalars, or of small objects, in one line; nil if it takes more.
local function inline(value)
  if type(value) ~= "table" then return scalar(value) end
  if next(value) == nil then return "none" end
  local parts = {}
  if is_list(value) then
    for i, each in ipairs(value) do
      if type(each) == "table" then return nil end
      parts[i] = scalar(each)
    end
    return table.concat(parts, ", ")
  end
  return nil
end

local function sorted_keys(object)
  local keys = {}
  for key in pairs(object) do keys[#keys + 1] = key end
  table.sort(keys, function(a, b) return tostring(a) < tostring(b) end)
  return keys
end

--- Lines for any object: names and values, what lies deeper with dots in its name.
---@param formats table<string, fun(value: any): string>  for fields by name
---@param first string[]  names that come first, in this order
function show.object(object, formats, first, paint)
  local rows, widest = {}, 0
  local function add(name, value)
    local text = inline(value)
    local format = formats[name:match("[^.%]]*$")]
    if format and type(value) == "number" then text = format(value) end
    if text then
      rows[#rows + 1] = {name, text}
      widest = math.max(widest, #name)
    elseif is_list(value) then
      for i, each in ipairs(value) do
        if type(each) == "table" and not is_list(each) then
          local parts = {}
          for _, key in ipairs(sorted_keys(each)) do
            local of = formats[key]
            local part = of and type(each[key]) == "number" and of(each[key]) or inline(each[key]) or "..."
            parts[#parts + 1] = ("%s=%s"):format(show.clean(key), part)
          end
          rows[#rows + 1] = {i == 1 and name or "", table.concat(parts, " ")}
        else
          rows[#rows + 1] = {i == 1 and name or "", inline(each) or "..."}
        end
      end
      widest = math.max(widest, #name)
    else
      for _, key in ipairs(sorted_keys(value)) do add(name .. "." .. show.clean(key), value[key]) end
    end
  end
  local done = {}
  for _, name in ipairs(first or {}) do
    if object[name] ~= nil then add(name, object[name]) end
    done[name] = true
  end
  for _, name in ipairs(sorted_keys(object)) do
    if not done[name] then add(show.clean(name), object[name]) end
  end
  local lines = {}
  for i, row in ipairs(rows) do
    lines[i] = paint("cyan", row[1]) .. (" "):rep(widest - #row[1] + 2) .. row[2]
  end
  return lines
end

return show
