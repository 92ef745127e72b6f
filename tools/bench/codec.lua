--- The codec alone, without actors: the time to turn values into bytes and back.
local probe = require "throng.probe"

local codec = {}

local function list(count, make)
  local values = {}
  for i = 1, count do values[i] = make(i) end
  return values
end

local function tree(depth)
  if depth == 0 then return {x = 1.5, y = -2.25, label = "leaf"} end
  return {left = tree(depth - 1), right = tree(depth - 1), depth = depth}
end

local VALUES <const> = {
  integer = function() return 1234567 end,
  small = function() return {x = 1, y = 2.5, name = "guy"} end,
  payload = function() return {id = 42, name = "guy-42", pos = {1.5, 2.5, 3.5}, tags = {"a", "b", "c"}} end,
  nested = function() return tree(5) end,
  large = function()
    return list(1000, function(i) return {id = i, name = "guy-" .. i, pos = {i + 0.5, i + 0.25, i + 0.125}} end)
  end,
}

--- A result as the workloads' nodes print them, or nil and what is wrong.
function codec.run(sizes)
  local make = VALUES[sizes.value or "payload"]
  if not make then return nil, ("codec has no value '%s'"):format(sizes.value) end
  local cpu = os.clock()
  local r = probe.codec(sizes.times, make())
  if not r.verified then return nil, "what was decoded is not what was encoded" end
  return {messages = sizes.times, seconds = (r.encode_ns + r.decode_ns) * sizes.times / 1e9,
          rate = r.encode_ns + r.decode_ns, encode_ns = r.encode_ns, decode_ns = r.decode_ns, bytes = r.bytes,
          cpu_seconds = os.clock() - cpu, verified = true}
end

return codec
