local registry = require "door.registry"
local topic = require "door.topic"

local alive = {} -- pid -> slot

local function living()
  local slot, pid = registry.add()
  alive[pid] = slot
  return pid
end

local function die(pid)
  registry.remove(alive[pid])
  alive[pid] = nil
end

describe("a topic", function()
  after_each(function()
    for _, name in ipairs {"dead_letter", "crash"} do
      for _, pid in ipairs(topic.subscribers(name)) do topic.unsubscribe(name, pid) end
    end
    for pid in pairs(alive) do die(pid) end
  end)

  it("has its subscribers in order, each once, and no other topic's", function()
    local a, b, c = living(), living(), living()
    assert.is_false(topic.wanted "dead_letter")
    for _, pid in ipairs {b, a, b, c} do assert.is_true(topic.subscribe("dead_letter", pid)) end
    assert.is_true(topic.subscribe("crash", c))
    assert.are.same({b, a, c}, topic.subscribers "dead_letter")
    assert.are.same({c}, topic.subscribers "crash")
    assert.is_true(topic.unsubscribe("dead_letter", a))
    assert.are.same({nil, "ENOENT", n = 2}, table.pack(topic.unsubscribe("dead_letter", a)))
    assert.are.same({b, c}, topic.subscribers "dead_letter")
    assert.is_true(topic.has("dead_letter", b))
    assert.is_false(topic.has("dead_letter", a))
    assert.is_true(topic.wanted "dead_letter")
    topic.unsubscribe("dead_letter", b)
    topic.unsubscribe("dead_letter", c)
    assert.is_false(topic.wanted "dead_letter")
    assert.is_true(topic.wanted "crash")
  end)

  it("takes nobody who is dead", function()
    local a = living()
    die(a)
    assert.are.same({nil, "ESRCH", n = 2}, table.pack(topic.subscribe("crash", a)))
    assert.are.same({}, topic.subscribers "crash")
  end)

  it("takes so many, and then those only for whom a dead one makes room", function()
    local all = {}
    for i = 1, topic.MOST do
      all[i] = living()
      assert.is_true(topic.subscribe("crash", all[i]))
    end
    local late, later = living(), living()
    assert.are.same({nil, "EAGAIN", n = 2}, table.pack(topic.subscribe("crash", late)))
    assert.is_true(topic.subscribe("crash", all[5])) -- is one
    die(all[3])
    assert.is_true(topic.subscribe("crash", late))
    table.remove(all, 3)
    all[#all + 1] = late
    assert.are.same(all, topic.subscribers "crash")
    assert.are.same({nil, "EAGAIN", n = 2}, table.pack(topic.subscribe("crash", later)))
  end)

  it("names the message that its subscribers get", function()
    assert.are.same({"dead_letter", "crash"}, {topic.name "dead_letter", topic.name "crash"})
  end)
end)
