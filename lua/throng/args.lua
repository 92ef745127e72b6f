--- Command line arguments by declaration: `--key value`, `--key=value` and flags, with types, bounds and defaults.
---
---@usage
---   local options = args.new {
---     command = "throng run shop.lua",
---     about = "A shop with many tills.",
---     {name = "tills", type = "integer", default = 3, least = 1, most = 100, help = "how many tills there are"},
---     {name = "mood", default = "calm", choices = {"calm", "busy"}, help = "how the customers behave"},
---     {name = "json", type = "flag", help = "print the result as JSON"},
---   }
---   local values, err = options:parse(...)   -- {tills = 3, mood = "calm", json = false}, or nil and what is wrong

local INTEGER <const> = "^[-+]?%d+$"
local NUMBERS <const> = {"^[-+]?%d+%.?%d*$", "^[-+]?%.%d+$", "^[-+]?%d+%.?%d*[eE][-+]?%d+$", "^[-+]?%.%d+[eE][-+]?%d+$"}
local HELP <const> = {name = "help", type = "flag", help = "show this", default = false}

---@class throng.Option
---@field name string                    without the dashes
---@field type? "string"|"integer"|"number"|"flag"  "string" if not given
---@field default? any                   value when it is absent; false for a flag, else nil; not checked against bounds
---@field least? number                  bounds of a number, both included
---@field most? number
---@field choices? string[]              all the texts that a string may be
---@field required? boolean              absent is an error
---@field value? string                  how usage calls its value: N for numbers, TEXT for strings if not given
---@field help? string                   one line

---@class throng.Args
---@field command string
---@field about? string
---@field [integer] throng.Option
local Args = {}
Args.__index = Args

local args = {}

local function check(good, option, problem)
  if not good then error(("args.new: option '%s' %s"):format(tostring(option.name), problem), 4) end
end

local function check_option(option)
  local kind = option.type or "string"
  local named = type(option.name) == "string" and option.name:find("^%w[%w-]*$")
  check(named, option, "needs a name of letters, digits and -")
  check(kind == "string" or kind == "integer" or kind == "number" or kind == "flag", option, "has an unknown type")
  local bounded = option.least or option.most
  check(kind == "integer" or kind == "number" or not bounded, option, "has bounds but is no number")
  check(kind == "string" or not option.choices, option, "has choices but is no string")
end

--- Makes a parser. Raises if the declaration itself is wrong.
---@param declaration {command: string, about: string?, [integer]: throng.Option}
---@return throng.Args
function args.new(declaration)
  local self = setmetatable({command = declaration.command, about = declaration.about, by_name = {}}, Args)
  for i, option in ipairs(declaration) do
    check_option(option)
    check(not self.by_name[option.name] and option.name ~= "help", option, "is there twice")
    self[i] = option
    self.by_name[option.name] = option
  end
  self[#self + 1] = HELP
  self.by_name.help = HELP
  return self
end

--- One line whatever was typed, and not too long to read.
local function quoted(text)
  if #text > 60 then text = text:sub(1, 57) .. "..." end
  return "'" .. text:gsub("%c", "?") .. "'"
end

local function bounds(option)
  local function plain(n) return ("%.14g"):format(n) end
  if option.least and option.most then return (" from %s to %s"):format(plain(option.least), plain(option.most)) end
  if option.least then return (", at least %s"):format(plain(option.least)) end
  if option.most then return (", at most %s"):format(plain(option.most)) end
  return ""
end

local function parse_number(option, text)
  local value
  if option.type == "integer" then
    value = text:find(INTEGER) and math.tointeger(tonumber(text))
  else
    for _, pattern in ipairs(NUMBERS) do
      if text:find(pattern) then value = tonumber(text) end
    end
    if value and value - value ~= 0 then value = nil end -- 1e999
  end
  if value and value >= (option.least or value) and value <= (option.most or value) then return value end
  local kind = option.type == "integer" and "a whole number" or "a number"
  return nil, ("--%s must be %s%s, not %s"):format(option.name, kind, bounds(option), quoted(text))
end

local function parse_value(option, text)
  if option.type == "integer" or option.type == "number" then return parse_number(option, text) end
  if not option.choices then return text end
  for _, choice in ipairs(option.choices) do
    if text == choice then return text end
  end
  return nil, ("--%s must be one of %s, not %s"):format(option.name, table.concat(option.choices, ", "), quoted(text))
end

--- How many letters to add, drop or change to get from one text to the other.
local function distance(a, b)
  local row = {}
  for j = 0, #b do row[j] = j end
  for i = 1, #a do
    local diagonal = row[0]
    row[0] = i
    for j = 1, #b do
      local above = row[j]
      local changed = diagonal + (a:byte(i) == b:byte(j) and 0 or 1)
      row[j] = math.min(changed, above + 1, row[j - 1] + 1)
      diagonal = above
    end
  end
  return row[#b]
end

--- The option most like what was typed, if one is.
local function nearest(self, name)
  local best, least
  for _, option in ipairs(self) do
    local d = distance(name:sub(1, 40), option.name)
    if not least or d < least then best, least = option.name, d end
  end
  return least <= math.max(1, #best // 3) and best or nil
end

local function unknown(self, name)
  local guess = nearest(self, name)
  local hint = guess and (", did you mean --%s?"):format(guess) or ""
  return ("there is no option %s%s"):format(quoted("--" .. name), hint)
end

--- Reads the words of a command line. Of an option given twice the last one counts. With --help among them the rest is
--- not looked at: the values are the defaults and `help = true`.
---@param ... string
---@return table<string, any>? values  by option name
---@return string? problem             one line, if values is nil
function Args:parse(...)
  local words, values = {...}, {}
  for _, option in ipairs(self) do
    values[option.name] = option.default
    if option.type == "flag" then values[option.name] = option.default or false end
  end
  for _, word in ipairs(words) do
    if word == "--help" or word == "-h" then
      values.help = true
      return values
    end
  end

  local given, at = {}, 1
  while at <= #words do
    local name, equals, text = words[at]:match("^%-%-([^=]+)(=?)(.*)$")
    if not name then return nil, ("%s is no option: they begin with --"):format(quoted(words[at])) end
    local option = self.by_name[name]
    if not option then return nil, unknown(self, name) end
    if option.type == "flag" then
      if equals == "=" then return nil, ("--%s takes no value"):format(name) end
      values[name] = true
    else
      if equals == "" then
        at = at + 1
        text = words[at]
        if not text then return nil, ("--%s needs a value"):format(name) end
      end
      local value, problem = parse_value(option, text)
      if problem then return nil, problem end
      values[name] = value
    end
    given[name] = true
    at = at + 1
  end

  for _, option in ipairs(self) do
    if option.required and not given[option.name] then return nil, ("--%s must be given"):format(option.name) end
  end
  return values
end

local function left_column(option)
  if option.type == "flag" then return "--" .. option.name end
  local value = option.value or (option.choices and table.concat(option.choices, "|"))
    or ((option.type or "string") == "string" and "TEXT" or "N")
  return ("--%s %s"):format(option.name, value)
end

--- The page that --help shows; ends without a newline.
---@return string
function Args:usage()
  local lines = {("usage: %s [OPTIONS]"):format(self.command)}
  if self.about then lines[#lines + 1] = self.about end
  lines[#lines + 1] = ""
  local width = 0
  for _, option in ipairs(self) do width = math.max(width, #left_column(option)) end
  for _, option in ipairs(self) do
    local words, more = {option.help}, {}
    local range = bounds(option):gsub("^[ ,]+", "")
    if range ~= "" then more[#more + 1] = range end
    if option.required then
      more[#more + 1] = "required"
    elseif option.default ~= nil and option.type ~= "flag" then
      more[#more + 1] = "default " .. tostring(option.default)
    end
    if #more > 0 then words[#words + 1] = ("(%s)"):format(table.concat(more, "; ")) end
    lines[#lines + 1] = ("  %-" .. width .. "s  %s"):format(left_column(option), table.concat(words, " "))
  end
  return table.concat(lines, "\n")
end

return args
