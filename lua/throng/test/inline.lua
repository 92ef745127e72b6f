--- Behaviours written in the spec itself: as the text of a module, or as a table of functions.
---
--- Functions go to the new actor as bytecode, with their own lines. What they use of the spec goes along by value:
--- plain data, modules (required again over there), and functions of the same kind. The rest is an error that names it.

local testing = require "throng.testing"

local inline = {}
local serial = 0
local known = setmetatable({}, {__mode = "k"}) -- table -> module, so that one table is one behaviour

-- ---- packing ----

local pack

local function module_name(value)
  for name, loaded in pairs(package.loaded) do
    if loaded == value and type(value) ~= "boolean" then return name end
  end
end

local function refuse(where, what)
  error(("%s: %s can't go into another actor; give it to init as an argument, or require it there"):format(where, what),
        0)
end

local function pack_function(state, value, where)
  local info = debug.getinfo(value, "S")
  if info.what == "C" then return refuse(where, "a function made in C") end
  local number = #state.functions + 1
  local packed = {code = string.dump(value), upvalues = {}}
  state.functions[number], state.number[value] = packed, number
  local i = 1
  while true do
    local name, up = debug.getupvalue(value, i)
    if not name then break end
    if name == "_ENV" then
      packed.upvalues[i] = {kind = "globals"}
    else
      packed.upvalues[i] = pack(state, up, ("%s, its upvalue '%s'"):format(where, name))
    end
    i = i + 1
  end
  return {kind = "function", number = number}
end

function pack(state, value, where)
  local kind = type(value)
  if kind == "function" and state.number[value] then return {kind = "function", number = state.number[value]} end
  local module = (kind == "table" or kind == "function") and module_name(value)
  if module then return {kind = "module", name = module} end
  if kind == "function" then return pack_function(state, value, where) end
  if kind ~= "table" then
    if kind == "userdata" or kind == "thread" then return refuse(where, "a pid, ref or coroutine") end
    return {kind = "value", value = value}
  end
  if value == state.root then return {kind = "behaviour"} end
  if getmetatable(value) then return refuse(where, "a table with a metatable") end
  if state.open[value] then return refuse(where, "a table that is part of itself") end
  state.open[value] = true
  local pairs_ = {}
  for key, field in pairs(value) do
    pairs_[#pairs_ + 1] = {key = pack(state, key, where), value = pack(state, field, where .. "." .. tostring(key))}
  end
  state.open[value] = nil
  return {kind = "table", pairs = pairs_}
end

local function write(value, out)
  if type(value) ~= "table" then
    out[#out + 1] = ("%q"):format(value)
    return
  end
  out[#out + 1] = "{"
  for key, field in pairs(value) do
    out[#out + 1] = "[" .. ("%q"):format(key) .. "]="
    write(field, out)
    out[#out + 1] = ","
  end
  out[#out + 1] = "}"
end

local function text_of(behaviour)
  local state = {functions = {}, number = {}, open = {}, root = behaviour}
  local fields = {}
  for key, value in pairs(behaviour) do
    if type(key) ~= "string" then error("an inline behaviour has fields with names: init, on_...", 0) end
    fields[key] = pack(state, value, key)
  end
  local out = {"return require('throng.test.inline').revive("}
  write({fields = fields, functions = state.functions}, out)
  out[#out + 1] = ")"
  return table.concat(out)
end

-- ---- over there ----

--- In the new actor: the behaviour from what text_of wrote.
function inline.revive(packed)
  local functions, behaviour, unpack_ = {}, {}, nil
  for i, f in ipairs(packed.functions) do functions[i] = testing.undump(f.code) end
  function unpack_(p)
    if p.kind == "function" then return functions[p.number] end
    if p.kind == "module" then return require(p.name) end
    if p.kind == "globals" then return _G end
    if p.kind == "behaviour" then return behaviour end
    if p.kind == "value" then return p.value end
    local t = {}
    for _, pair in ipairs(p.pairs) do t[unpack_(pair.key)] = unpack_(pair.value) end
    return t
  end
  for i, f in ipairs(packed.functions) do
    for n, up in pairs(f.upvalues) do testing.set_upvalue(functions[i], n, unpack_(up)) end
  end
  for key, field in pairs(packed.fields) do behaviour[key] = unpack_(field) end
  return behaviour
end

-- ---- in the spec ----

--- The line of the spec that called the kit.
function inline.place()
  for level = 2, 100 do
    local info = debug.getinfo(level, "Sl")
    if not info then return "?" end
    if info.what ~= "C" and not info.source:find("^@lua/throng/test") and info.currentline > 0 then
      return ("%s:%d"):format(info.short_src, info.currentline)
    end
  end
  return "?"
end

--- The require path of a behaviour: `what` is one already, or the text of a module, or a table of functions.
---@param what string|table
function inline.module(what)
  if type(what) == "string" and not what:find("%s") then return what end
  if type(what) == "table" and known[what] then return known[what] end
  local place = inline.place()
  local text = what
  if type(what) == "table" then
    local ok, packed = pcall(text_of, what)
    if not ok then error(("%s: an inline behaviour: %s"):format(place, packed), 0) end
    text = packed
  elseif type(what) ~= "string" then
    error(("%s: a behaviour is a module's name, a module's text, or a table of functions, not a %s"):format(place,
          type(what)), 0)
  end
  serial = serial + 1
  local file = place:match("([%w_-]+)%.lua:") or "spec"
  local name = ("%s.inline%d"):format(file:sub(1, 100), serial)
  local ok, why = testing.source(name, "inline behaviour at " .. place, text)
  if not ok then error(why, 0) end
  if type(what) == "table" then known[what] = name end
  return name
end

return inline
