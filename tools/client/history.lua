--- What was typed, kept for each user: $XDG_STATE_HOME/throng/history, else ~/.local/state/throng/history, for its
--- owner alone. An entry is a line; newlines in it are written as \n, backslashes as \\. Several clients add to it.
local terminal = require "throng.terminal"

local MOST <const> = 1000      -- entries; the file is cut down to them once it has twice as many
local LONGEST <const> = 65536  -- bytes of an entry
local BIGGEST <const> = 8 << 20 -- bytes of the file that are looked at

local history = {}

local function folder()
  local state, home = os.getenv "XDG_STATE_HOME", os.getenv "HOME"
  if state and state:sub(1, 1) == "/" then return state .. "/throng" end
  if home and home:sub(1, 1) == "/" then return home .. "/.local/state/throng" end
end

local function make_folders(path)
  for at in path:gmatch("()/") do
    if at > 1 then terminal.mkdir(path:sub(1, at - 1)) end
  end
  return terminal.mkdir(path)
end

local function encode(entry) return (entry:gsub("\\", "\\\\"):gsub("\n", "\\n")) end
local function decode(line)
  return (line:gsub("\\(.)", function(char) return char == "n" and "\n" or char end))
end

--- The entries, oldest first; none if there is no file, or no place for one.
---@return string[]
function history.load()
  local dir = folder()
  local file = dir and io.open(dir .. "/history", "rb")
  if not file then return {} end
  local size, entries = file:seek("end"), {}
  if size and size > BIGGEST then -- somebody else's doing: the newest will do
    file:seek("end", -BIGGEST)
    file:read "l"
  else
    file:seek "set"
  end
  for line in file:lines() do
    if line ~= "" and #line <= 2 * LONGEST and not line:find("%z") then entries[#entries + 1] = decode(line) end
  end
  file:close()
  if #entries > 2 * MOST then
    entries = table.move(entries, #entries - MOST + 1, #entries, 1, {})
    local lines = {}
    for i, entry in ipairs(entries) do lines[i] = encode(entry) .. "\n" end
    terminal.replace(dir .. "/history", table.concat(lines))
  end
  return entries
end

--- One more. That it can't be kept is no reason to disturb who types.
function history.add(entry)
  local dir = folder()
  if not dir or #entry > LONGEST or entry:find("%z") then return end
  if make_folders(dir) then terminal.append(dir .. "/history", encode(entry) .. "\n") end
end

return history
