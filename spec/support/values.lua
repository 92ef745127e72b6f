--- Values as messages carry them, compared to the bit and built as deep as wanted.
local values = {}

--- Equal in type and value, floats to the bit, tables by what is in them.
---@return boolean
function values.same(a, b)
  if math.type(a) == "float" and math.type(b) == "float" then return string.pack("<d", a) == string.pack("<d", b) end
  if type(a) ~= "table" or type(b) ~= "table" then return math.type(a) == math.type(b) and a == b end
  for k, v in pairs(a) do
    if not values.same(v, b[k]) then return false end
  end
  for k in pairs(b) do
    if a[k] == nil then return false end
  end
  return true
end

--- `depth` tables within each other, each under `key` (1) of the one around it.
---@return table
function values.nested(depth, key)
  local t = {}
  for _ = 2, depth do t = {[key or 1] = t} end
  return t
end

return values
