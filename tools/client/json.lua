--- The protocol's JSON, as the client needs it: integers stay integers, any byte travels (a byte that is no UTF-8 as
--- the code point U+DC80 + byte - 128), and the members of an answer can be had as the node wrote them. A null is
--- json.null in lists and nothing in objects.
local cjson = require("cjson").new()
cjson.encode_number_precision(14)

local DEEPEST <const> = 100
local ESCAPES <const> = {b = "\b", f = "\f", n = "\n", r = "\r", t = "\t", ['"'] = '"', ["\\"] = "\\", ["/"] = "/"}

local json = {null = cjson.null}

--- What a \u escape of four digits stands for: in Lua, a lone surrogate DC80 to DCFF is a byte.
local function character(code)
  if code >= 0xDC80 and code <= 0xDCFF then return string.char(code - 0xDC00) end
  return utf8.char(code)
end

local function decode_string(raw)
  if not raw:find("\\", 1, true) then return raw end
  raw = raw:gsub("(\\+)u([dD][89abAB]%x%x)\\u([dD][c-fC-F]%x%x)", function(run, high, low)
    if #run % 2 == 0 then return nil end -- a backslash, and then the text "ud83d"
    local code = 0x10000 + ((tonumber(high, 16) - 0xD800) << 10) + tonumber(low, 16) - 0xDC00
    return run:sub(2) .. utf8.char(code)
  end)
  local out, at = {}, 1
  while true do
    local slash = raw:find("\\", at, true)
    if not slash then break end
    out[#out + 1] = raw:sub(at, slash - 1)
    local kind = raw:sub(slash + 1, slash + 1)
    if kind == "u" then
      local digits = raw:match("^%x%x%x%x", slash + 2) or error("a bad \\u", 0)
      out[#out + 1] = character(tonumber(digits, 16))
      at = slash + 6
    else
      out[#out + 1] = ESCAPES[kind] or error("a bad escape", 0)
      at = slash + 2
    end
  end
  out[#out + 1] = raw:sub(at)
  return table.concat(out)
end

--- The position after the string that begins at `at`.
local function string_end(text, at)
  local from = at + 1
  while true do
    local quote = text:find('"', from, true) or error("an unfinished string", 0)
    local slashes, back = 0, quote - 1
    while back > at and text:byte(back) == 92 do
      slashes = slashes + 1
      back = back - 1
    end
    if slashes % 2 == 0 then return quote + 1 end
    from = quote + 1
  end
end

local read_value -- (text, at, depth) -> value, the position after it

local function space(text, at) return text:find("[^ \t\r\n]", at) or #text + 1 end

--- Calls `each` at the beginning of each member or element; it returns the position after that.
local function read_list(text, at, close, each)
  at = space(text, at + 1)
  if text:sub(at, at) == close then return at + 1 end
  while true do
    at = space(text, each(at))
    local mark = text:sub(at, at)
    if mark == close then return at + 1 end
    if mark ~= "," then error("a comma is missing", 0) end
    at = space(text, at + 1)
  end
end

local function read_key(text, at)
  if text:sub(at, at) ~= '"' then error("a member's name is missing", 0) end
  local after = string_end(text, at)
  local key = decode_string(text:sub(at + 1, after - 2))
  after = space(text, after)
  if text:sub(after, after) ~= ":" then error("a colon is missing", 0) end
  return key, space(text, after + 1)
end

local WORDS <const> = {["true"] = true, ["false"] = false, null = json.null}

function read_value(text, at, depth)
  if depth > DEEPEST then error("nested too deep", 0) end
  local mark = text:sub(at, at)
  if mark == '"' then
    local after = string_end(text, at)
    return decode_string(text:sub(at + 1, after - 2)), after
  elseif mark == "{" then
    local object = {}
    local after = read_list(text, at, "}", function(from)
      local key, begin = read_key(text, from)
      local value, finish = read_value(text, begin, depth + 1)
      if value ~= json.null then object[key] = value end
      return finish
    end)
    return object, after
  elseif mark == "[" then
    local list = {}
    local after = read_list(text, at, "]", function(from)
      local value, finish = read_value(text, from, depth + 1)
      list[#list + 1] = value
      return finish
    end)
    return list, after
  end
  local word, after = text:match("^([%w.+-]+)()", at)
  if word and WORDS[word] ~= nil then return WORDS[word], after end
  local number = word and not word:find("[xX]") and tonumber(word)
  if not number then error("no value where one should be", 0) end
  return number, after
end

--- The members of the object that a line holds: name to a value; and name to the text of it as it was written.
---@return table? values, table|string raw  nil and what is wrong
function json.members(line)
  local values, raw = {}, {}
  local good, problem = pcall(function()
    local at = space(line, 1)
    if line:sub(at, at) ~= "{" then error("no object", 0) end
    local after = read_list(line, at, "}", function(from)
      local key, begin = read_key(line, from)
      local value, finish = read_value(line, begin, 1)
      values[key], raw[key] = value, line:sub(begin, finish - 1)
      return finish
    end)
    if space(line, after) <= #line then error("more than one object in a line", 0) end
  end)
  if not good then return nil, problem end
  return values, raw
end

--- A line of JSON; what is no UTF-8 in strings is escaped.
---@return string
function json.encode(value)
  local text = cjson.encode(value)
  local at, out = 1, nil
  while true do
    local good, bad = utf8.len(text, at)
    if good then break end
    out = out or {}
    out[#out + 1] = text:sub(at, bad - 1) .. ("\\udc%02x"):format(text:byte(bad))
    at = bad + 1
  end
  if not out then return text end
  out[#out + 1] = text:sub(at)
  return table.concat(out)
end

return json
