--- Values as a node writes them ("{hunger = 3, bag = {...}}"), laid out again for the width there is, and painted. What
--- is not written as expected stays as it is: the text decides, the layout only moves it.
local show = require "throng.client.show"
local terminal = require "throng.terminal"

local DEEPEST <const> = 60

local value = {}

--- Splits into strings, braces, commas and the rest, which keeps its spaces inside.
local function tokens(text)
  local list, at = {}, 1
  local function add(kind, from, to)
    list[#list + 1] = {kind = kind, text = text:sub(from, to)}
    at = to + 1
  end
  while at <= #text do
    local char = text:sub(at, at)
    if char == '"' or char == "'" then
      local to = at
      repeat to = text:find(char, to + 1, true) or #text
      until to == #text or #text:sub(at, to - 1):match("\\*$") % 2 == 0
      add("string", at, to)
    elseif char == "<" and text:find("^<[^>\n]*>", at) then add("word", at, text:find(">", at, true))
    elseif char == "{" then add("open", at, at)
    elseif char == "}" then add("close", at, at)
    elseif char == "," then add("comma", at, at)
    elseif char:find("%s") then add("space", at, (text:find("%S", at) or #text + 1) - 1)
    else add("word", at, (text:find("[%s{},\"'<]", at + 1) or #text + 1) - 1) end
  end
  return list
end

--- A tree: {items}, each item a list of tokens and trees. nil: braces do not match.
local function tree(list)
  local root = {{}}
  local stack = {root}
  for _, token in ipairs(list) do
    local top = stack[#stack]
    if token.kind == "open" then
      local child = {{}, braces = true}
      top[#top][#top[#top] + 1] = child
      stack[#stack + 1] = child
      if #stack > DEEPEST then return nil end
    elseif token.kind == "close" then
      if #stack == 1 then return nil end
      stack[#stack] = nil
    elseif token.kind == "comma" then
      top[#top + 1] = {}
    elseif token.kind ~= "space" then
      top[#top][#top[#top] + 1] = token
    end
  end
  if #stack > 1 then return nil end
  return root
end

local function paint_token(token, paint)
  local text = show.clean(token.text)
  if token.kind == "string" then return paint("green", text) end
  if text:find("^%-?[%d.]") then return paint("cyan", text) end
  if text == "nil" or text == "true" or text == "false" then return paint("magenta", text) end
  if text:find("^<") then return paint("yellow", text) end
  return text
end

local flat -- (tree, paint) -> text in one line

local function flat_item(item, paint)
  local parts = {}
  for i, part in ipairs(item) do parts[i] = part.kind and paint_token(part, paint) or flat(part, paint) end
  return table.concat(parts, " ")
end

function flat(node, paint)
  local items = {}
  for _, item in ipairs(node) do
    if #item > 0 then items[#items + 1] = flat_item(item, paint) end
  end
  local text = table.concat(items, ", ")
  return node.braces and "{" .. text .. "}" or text
end

local function no_paint(_, text) return text end

local lay -- (tree, indent, width, paint, out): appends to the last line of out, and lines

local function lay_item(item, indent, width, paint, out)
  for i, part in ipairs(item) do
    if i > 1 then out[#out] = out[#out] .. " " end
    if part.kind then
      out[#out] = out[#out] .. paint_token(part, paint)
    else
      lay(part, indent, width, paint, out)
    end
  end
end

function lay(node, indent, width, paint, out)
  local plain = flat(node, no_paint)
  if terminal.width(plain) + indent + 1 <= width then
    out[#out] = out[#out] .. flat(node, paint)
    return
  end
  local inner = node.braces and indent + 2 or indent
  if node.braces then out[#out] = out[#out] .. "{" end
  local first = true
  for i, item in ipairs(node) do
    if #item > 0 then
      if node.braces or not first then out[#out + 1] = (" "):rep(inner) end
      first = false
      lay_item(item, inner, width, paint, out)
      if i < #node and #node[i + 1] > 0 then out[#out] = out[#out] .. "," end
    end
  end
  if node.braces then out[#out + 1] = (" "):rep(indent) .. "}" end
end

--- The lines of a text of values; `width` nil: as the node laid it out.
---@return string[]
function value.lines(text, width, paint)
  local node = width and tree(tokens(text))
  if not node then
    local lines = {}
    for line in (show.clean(text, true) .. "\n"):gmatch("(.-)\n") do lines[#lines + 1] = line end
    return lines
  end
  local out = {""}
  lay(node, 0, width, paint, out)
  return out
end

return value
