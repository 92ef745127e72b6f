--- What Tab does: commands are known here, the rest is asked from the node, and comes while one may type on.
local commands = require "throng.client.commands"
local editor = require "throng.editor"
local show = require "throng.client.show"
local terminal = require "throng.terminal"

local WITHIN <const> = 1   -- seconds in which the answer is still wanted
local MOST <const> = 200   -- words of a list

local complete = {}

local OWN <const> = {"at", "cancel", "exit", "help", "jobs"}

local function command_words(prefix)
  local words = {}
  for _, name in ipairs(OWN) do words[#words + 1] = name end
  for _, command in ipairs(commands.list) do words[#words + 1] = command.name end
  local found = {}
  for _, word in ipairs(words) do
    if word:sub(1, #prefix) == prefix then found[#found + 1] = word end
  end
  return found
end

local function common_prefix(words)
  local common = words[1] or ""
  for _, word in ipairs(words) do
    local i = 0
    while i < #common and common:byte(i + 1) == word:byte(i + 1) do i = i + 1 end
    common = common:sub(1, i)
  end
  while common ~= "" and not utf8.len(common) do common = common:sub(1, -2) end
  return common
end

--- Lines of words in columns.
function complete.columns(words, width)
  local widest = 0
  for _, word in ipairs(words) do widest = math.max(widest, terminal.width(word)) end
  local per_line = math.max(1, (width + 2) // (widest + 2))
  local rows = (#words + per_line - 1) // per_line
  local lines = {}
  for row = 1, rows do
    local parts = {}
    for column = 0, per_line - 1 do
      local word = words[row + column * rows]
      if word then parts[#parts + 1] = word .. (" "):rep(widest - terminal.width(word)) end
    end
    lines[row] = (table.concat(parts, "  "):gsub(" +$", ""))
  end
  return lines
end

--- Puts what the words have in common into the line, or shows them all.
local function apply(repl, line, at, from, words, cut)
  local typed = line:sub(from + 1, at)
  local good, seen = {}, {}
  for _, word in ipairs(words) do
    word = tostring(word)
    if word:sub(1, #typed) == typed and show.clean(word) == word and not seen[word] then
      seen[word] = true
      good[#good + 1] = word
    end
  end
  table.sort(good)
  if #good == 0 then return terminal.write("\7") end
  local more = common_prefix(good):sub(#typed + 1)
  if #good == 1 and commands.by_name[good[1]] and from == 0 then more = more .. " " end
  if more ~= "" then return editor.replace(0, more) end
  if #good == 1 then return end
  local left = #good - MOST
  if left > 0 then good = table.move(good, 1, MOST, 1, {}) end
  local lines = complete.columns(good, (terminal.size()) or 80)
  if left > 0 or cut then lines[#lines + 1] = left > 0 and ("... %d more"):format(left) or "... more" end
  repl:notice(table.concat(lines, "\n"))
end

--- Tab was pressed in `repl`, whose session it asks.
function complete.begin(repl)
  local line, at = editor.line()
  local session = repl.session
  local first = not repl.chunk and line:sub(1, at):match("^%a*$")
  local own = first and command_words(first) or {}
  complete.number = (complete.number or 0) + 1
  local number, deadline = complete.number, terminal.now() + WITHIN
  if session.conn.over or not session.conn.greeting then
    if first then apply(repl, line, at, 0, own) end
    return
  end
  local command = line:match("^(%a+)%s")
  local lua = repl.chunk or not (command and commands.by_name[command] or command == "at")
  local args = {line = line, at = at, pid = lua and session.at or nil, on = lua and session.on or nil}
  session.conn:request("complete", args, function() end,
    function(answer, _, problem)
      if number ~= complete.number or terminal.now() > deadline then return end
      local now, cursor = editor.line()
      if not repl.typing or now ~= line or cursor ~= at then return end -- typed on: no longer wanted
      local from, words = at, {}
      if not problem and type(answer) == "table" then
        from = math.tointeger(tonumber(answer.from)) or at
        words = type(answer.words) == "table" and answer.words or {}
      end
      if from < 0 or from > at then return end
      if #own > 0 then
        if from ~= 0 then words = {} end
        from = 0
        words = table.move(own, 1, #own, #words + 1, words)
      end
      apply(repl, line, at, from, words, type(answer) == "table" and answer.cut)
    end)
end

return complete
