--- Many nodes at once: real programs on loopback.
local cluster = require "spec.support.cluster"

local NODES <const> = 20

-- Joins a group, waits until all are members of it and nodes besides, and asks each of them.
local MEMBER <const> = [[
  Me.concurrent = true
  function Me:on_ready() throng.join("all") throng.every(20, "look") end
  function Me:on_look()
    local members = throng.members("all")
    if self.asks or #throng.nodes() < ]] .. NODES .. [[ or #members < ]] .. NODES .. [[ then return end
    self.asks = true
    local total, seen = 0, {}
    for _, pid in ipairs(members) do
      total = total + (pid == throng.self() and 1 or pid:ask("add", 1))
      seen[tostring(pid)] = true
    end
    local different = 0
    for _ in pairs(seen) do different = different + 1 end
    print(("all %d, answers %d"):format(different, total))
  end
  function Me:on_add(n) return n end
]]

describe(NODES .. " nodes that start at once", function()
  it("all find each other, hear of each other's groups, and can ask each", function()
    local first = cluster.listen("n1", MEMBER .. "Me.start = Me.on_ready", {"--workers", "1"})
    local all = {first}
    for i = 2, NODES do
      all[i] = cluster.join(first, "n" .. i, MEMBER, {"--listen", "127.0.0.1:0", "--workers", "1"})
    end
    for _, n in ipairs(all) do n:read_until(("all %d, answers %d"):format(NODES, NODES), 60) end
    for _, n in ipairs(all) do assert.is_nil(n.err:find("is down", 1, true), n.name .. ": " .. n.err) end
    for _, n in ipairs(all) do n:signal "TERM" end
    for _, n in ipairs(all) do assert.are.equal(143, n:wait().code) end
  end)
end)
