--- TLS between nodes, what takes seconds: floods both ways, strangers in crowds, certificates that change under way.
local cluster = require "spec.support.cluster"
local net = require "door.net"
local process = require "door.process"
local tls = require "door.tls"

local home <const> = process.mkdtemp()
local sets = setmetatable({}, {__gc = function() process.remove_all(home) end})

--- Options of a node with certificates of that set.
local function options(set, who, more)
  local dir = ("%s/%s"):format(home, set)
  if not sets[set] then assert(tls.certs(dir, {"a", "b", "c"}, 100)) sets[set] = dir end
  local o = {"--tls-cert", ("%s/%s.pem"):format(dir, who), "--tls-key", ("%s/%s.key"):format(dir, who), "--tls-ca", dir .. "/ca.pem"}
  for _, word in ipairs(more or {}) do o[#o + 1] = word end
  return o
end

local function context(set, who)
  local o = options(set, who)
  return assert(tls.context(o[2], o[4], o[6], who))
end

local function port_of(n) return tonumber(n.address:match ":(%d+)$") end

describe("a node with TLS", function()
  -- Each sends to the other, numbered, in sizes from a byte to beyond a record, while answers go both ways, too.
  local BUSY <const> = [[
    Me.concurrent = true
    local EACH <const> = 6000
    function Me:flood(to)
      throng.fork(function()
        for i = 1, EACH do
          local text = ("x"):rep(i % 7 == 0 and i * 10 or i % 100)
          while not throng.send(to, "take", i, text) do throng.sleep(1) end
        end
      end)
      throng.fork(function()
        for i = 1, EACH // 10 do assert(throng.ask_within(60000, to, "twice", i) == 2 * i) end
        print "asked"
      end)
    end
    function Me:on_take(i, text)
      self.last = self.last or 0
      assert(i == self.last + 1 and #text == (i % 7 == 0 and i * 10 or i % 100), "out of order or not whole: " .. i)
      self.last = i
      if i == EACH then print "all came" end
    end
    function Me:on_twice(n) return 2 * n end
  ]]

  it("reads and writes at once, from several threads, and nothing is lost or out of order", function()
    local a = cluster.listen("a", BUSY .. "function Me:on_start(to) Me.flood(self, to) end", options("one", "a", {"--workers", "4"}))
    local b = cluster.join(a, "b", BUSY .. [[
      function Me:on_ready(root) root:send("start", throng.self()) Me.flood(self, root) end
    ]], options("one", "b", {"--workers", "4"}))
    for _, n in ipairs {a, b} do
      local seen = n.seen.out
      n:read_until("asked", 60)
      n.seen.out = seen
      n:read_until("all came", 60)
    end
  end)

  it("is open for members though a crowd of strangers holds its door", function()
    local a = cluster.listen("a", "", options("one", "a", {"--set", "net.timeout=1000"}))
    local strangers = {}
    for i = 1, 100 do
      strangers[i] = tls.connect(context("one", "c"), port_of(a))
      if i % 2 == 0 then strangers[i]:start() end -- and never says anything more
    end
    local b = cluster.join(a, "b", [[ function Me:on_ready() print "ready" end ]], options("one", "b"))
    b:read_until("ready", 30)
    for _, stranger in ipairs(strangers) do stranger:close() end
  end)

  it("who is killed is missed at once, stands still is given up, and both come back", function()
    local a = cluster.listen("a", [[
      function Me:start() throng.watch_nodes(true) end
      function Me:on_node(name, state) print(name .. " " .. state) end
    ]], options("one", "a", {"--set", "net.timeout=700"}))
    local function join()
      local b = cluster.join(a, "b", [=[ function Me:on_ready() print "ready" end ]=], options("one", "b", {"--set", "net.timeout=700"}))
      b:read_until "ready"
      return b
    end
    local b = join()
    a:read_until "b up"
    b:kill()
    a:read_until "b down"
    b = join()
    a:read_until("b up", 30)
    b:freeze()
    a:read_until("b down", 30)
    b:signal "CONT"
    a:read_until("b up", 30)
  end)

  it("takes a new certificate without a new start: links stay, further ones show it", function()
    local a = cluster.listen("a", [[
      function Me:start() throng.watch_nodes(true) end
      function Me:on_node(name, state) print(name .. " " .. state) end
    ]], options("one", "a"))
    local before = cluster.join(a, "b", [[
      function Me:on_ready() print "ready" end
      function Me:on_other_node(name, state) print("b sees " .. name .. " " .. state) end
    ]], options("one", "b"))
    before:read_until "ready"
    local old, new = options("one", "a"), options("two", "a")
    for i = 2, 6, 2 do assert(os.execute(("cp -p %s %s.new && mv %s.new %s"):format(new[i], old[i], old[i], old[i]))) end
    local c = cluster.join(a, "c", [[ function Me:on_ready() print "ready" end ]], options("two", "c"))
    c:read_until("ready", 30)
    a:read_until "the files have changed, and were read anew"
    assert.is_nil(before.out:find("down", 1, true))
    before:kill()
  end)

  it("is one of a dozen that start at once and all find each other, each by one connection", function()
    local NODES <const> = 12
    local names = {}
    for i = 1, NODES do names[i] = "n" .. i end
    sets.many = home .. "/many"
    assert(tls.certs(sets.many, names, 100))
    local SEEN <const> = [=[
      function Me:begin() throng.join "all" throng.every(20, "look") end
      function Me:on_look()
        if self.said or #throng.nodes() < 12 or #throng.members "all" < 12 then return end
        self.said = true
        print "all are here"
      end
    ]=]
    local first = cluster.listen("n1", SEEN .. "Me.start = Me.begin", options("many", "n1", {"--workers", "1"}))
    local all = {first}
    for i = 2, NODES do
      all[i] = cluster.join(first, "n" .. i, SEEN .. "Me.on_ready = Me.begin",
        options("many", "n" .. i, {"--listen", "127.0.0.1:0", "--workers", "1"}))
    end
    for _, n in ipairs(all) do n:read_until("all are here", 60) end
    for _, n in ipairs(all) do
      assert.is_nil(n.err:find("is down", 1, true), n.name .. ": " .. n.err)
      assert.are.equal(NODES - 1, select(2, n.err:gsub("is up %([^)]*, TLS%)", "")))
    end
  end)

  it("survives a member's nonsense, cut anywhere", function()
    options("three", "a")
    local a = cluster.listen("a", "", options("three", "a"))
    local hello = net.hello("throng", "b", "", 0)
    for at = 1, #hello, 11 do
      local b = tls.connect(context("three", "b"), port_of(a))
      b:start()
      local _, state = b:hear(10000)
      while state == "" do state = select(2, b:hear(10000)) end
      b:send(hello:sub(1, at) .. (at % 2 == 0 and ("\255"):rep(2000) or ""))
      b:close()
    end
    local b = cluster.join(a, "b", [[ function Me:on_ready() print "ready" end ]], options("three", "b"))
    b:read_until("ready", 30)
  end)
end)
