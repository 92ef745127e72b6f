--- Groups: who is in them, what a message to all of them does, and that the dead have left.
local scenario = require "spec.support.scenario"

local MODULES <const> = {
  guest = [[
    Me.on_hold = scene.on_hold
    function Me:init(...) for _, group in ipairs {...} do throng.join(group) end self.heard = {} end
    function Me:on_join(group) return throng.join(group) end
    function Me:on_leave(group) return throng.leave(group) end
    function Me:on_die(reason) throng.exit(reason) end
    function Me:on_news(...) self.heard[#self.heard + 1] = {...} end
    function Me:on_heard() return self.heard, throng.sender() end
    function Me:on_ping() return "pong" end
  ]],
}

local function run(text, more)
  local o = {text}
  for key, value in pairs(MODULES) do o[key] = value end
  for key, value in pairs(more or {}) do o[key] = value end
  return scenario.run(o)
end

describe("a group", function()
  it("has its members in the order of joining; who left and came back stands last", function()
    assert.are.same({{"abc", "acb", "ac", "c"}}, {run [[
      function Me:init()
        local names, seen = {}, {}
        local function look()
          local text = ""
          for _, pid in ipairs(throng.members "room") do text = text .. names[pid] end
          seen[#seen + 1] = text
        end
        local a, b, c = throng.spawn "guest", throng.spawn "guest", throng.spawn "guest"
        names[a], names[b], names[c] = "a", "b", "c"
        for _, pid in ipairs {a, b, c} do pid:ask("join", "room") end
        look()
        b:ask("leave", "room") b:ask("join", "room")
        look()
        b:ask("leave", "room")
        look()
        a:ask("leave", "room")
        look()
        done(seen)
      end
    ]]})
  end)

  it("is joined once, however often, and left once", function()
    assert.are.same({true, true, 1, true, false, 0}, {run [[
      function Me:init()
        local one, two = throng.join "room", throng.join "room"
        local count = #throng.members "room"
        done(one, two, count, throng.leave "room", throng.leave "room", #throng.members "room")
      end
    ]]})
  end)

  it("is any text of 1 to 200 bytes, and no name of an actor", function()
    assert.are.same({true, 0, true, true, true, true, true, "nil"}, {run [[
      function Me:init()
        local odd = "a\0b \xff\n"
        throng.join(odd)
        done(throng.members(odd)[1] == throng.self(), #throng.members "a", throng.join(("x"):rep(200)),
             try(throng.join, ("x"):rep(201)) ~= nil, try(throng.join, "") ~= nil, try(throng.join, 5) ~= nil,
             try(throng.members) ~= nil, throng.whereis(odd))
      end
    ]]})
  end)

  it("is one of 1000 that an actor may be in; the next is refused, and was never joined", function()
    assert.are.same({1000, false, "limit", 0, true, true, true, 1000}, {run [[
      function Me:init()
        local count = 0
        for i = 1, 1000 do if throng.join("g" .. i) then count = count + 1 end end
        local good, why = throng.join "one too many"
        local again, left, other = throng.join "g7", throng.leave "g7", throng.join "another"
        local all = 0
        for _ in pairs(throng.groups()) do all = all + 1 end
        done(count, good, why, #throng.members "one too many", again, left, other, all)
      end
    ]]})
  end)

  it("is listed with the count of its members, while it has any", function()
    assert.are.same({{}, {red = 2, blue = 1}, {red = 1}}, {run [[
      function Me:init()
        local none = throng.groups()
        local a, b = throng.spawn("guest", "red", "blue"), throng.spawn("guest", "red")
        a:ask "ping" b:ask "ping"
        local three = throng.groups()
        a:ask("leave", "blue") b:ask("leave", "red")
        done(none, three, throng.groups())
      end
    ]]})
  end)
end)

describe("a member that ends", function()
  it("has left before its down comes, whatever the reason", function()
    assert.are.same({30, 0, 0}, {run [[
      function Me:init()
        self.count, self.found = 0, 0
        for i = 1, 30 do
          local pid = throng.spawn_with({monitor = true}, "guest", "room", "room " .. i)
          if i % 3 == 0 then throng.kill(pid)
          elseif i % 3 == 1 then pid:send "die"
          else pid:send("die", "x") end
          self[pid] = i
        end
      end
      function Me:on_down(pid)
        self.count = self.count + 1
        for _, other in ipairs(throng.members "room") do if other == pid then self.found = self.found + 1 end end
        self.found = self.found + #throng.members("room " .. self[pid])
        if self.count == 30 then done(self.count, self.found, #throng.members "room") end
      end
    ]]})
  end)

  it("has left before a trapped exit comes, and before an ask ends with down", function()
    assert.are.same({0, 0}, {run([[
      function Me:init()
        throng.trap_exits(true)
        local a = throng.spawn("guest", "room")
        try(throng.ask, a, "die")
        self.asked = #throng.members "room"
        throng.spawn_with({link = true}, "guest", "other"):send "die"
      end
      function Me:on_exit() done(self.asked, #throng.members "other") end
    ]])})
  end)

  it("leaves nothing behind: an actor that takes its place is in no group", function()
    assert.are.same({0, {}}, {run [[
      function Me:init() throng.spawn_with({monitor = true}, "guest", "room"):send "die" end
      function Me:on_down()
        for _ = 1, 100 do throng.spawn "guest":ask "ping" end
        done(#throng.members "room", throng.groups())
      end
    ]]})
  end)
end)

describe("throng.publish", function()
  it("sends to all members, the publisher too if it is one, and says how many took it", function()
    assert.are.same({3, {{{1, "two", {x = {3}}}}, {{1, "two", {x = {3}}}}}, {1, "two", {x = {3}}}}, {run [[
      function Me:init()
        self.a, self.b = throng.spawn("guest", "room"), throng.spawn("guest", "room")
        self.a:ask "ping" self.b:ask "ping"
        throng.join "room"
        self.count = throng.publish("room", "news", 1, "two", {x = {3}})
      end
      function Me:on_news(...)
        done(self.count, {(self.a:ask "heard"), (self.b:ask "heard")}, {...})
      end
    ]]})
  end)

  it("to an empty group is 0, and no dead letter", function()
    assert.are.same({0, 0, 0}, {run [[
      function Me:init()
        local before = throng.stats()
        local nobody = throng.publish("room", "news", 1)
        throng.join "room" throng.leave "room"
        local gone = throng.publish("room", "news", 1)
        local now, lost = throng.stats(), 0
        for key, value in pairs(now) do if key:find "^dead_" then lost = lost + value - before[key] end end
        done(nobody, gone, lost)
      end
    ]]})
  end)

  it("counts who took it: a full mailbox is none, and a dead letter", function()
    assert.are.same({2, 1, 1}, {run([[
      function Me:init()
        local a = throng.spawn("guest", "room")
        local small = throng.spawn_with({mailbox = {limit = 1}}, "guest", "room")
        a:ask "ping" small:ask "ping"
        hold(small)
        local before = throng.stats().dead_full
        local two, one = throng.publish("room", "news"), throng.publish("room", "news")
        release()
        done(two, one, throng.stats().dead_full - before)
      end
    ]])})
  end)

  it("keeps the order between the publisher and each member, also with what it sends one by one", function()
    assert.are.same({true}, {run [[
      function Me:init()
        local guests, good = {}, true
        for i = 1, 10 do
          guests[i] = throng.spawn("guest", "room")
          guests[i]:ask "ping"
        end
        for n = 1, 200 do
          if n % 2 == 0 then throng.publish("room", "news", n)
          else for _, guest in ipairs(guests) do guest:send("news", n) end end
        end
        for _, guest in ipairs(guests) do
          local heard = guest:ask "heard"
          good = good and #heard == 200
          for n = 1, 200 do good = good and heard[n][1] == n end
        end
        done(good)
      end
    ]]})
  end)

  it("fills a mailbox as send does: all that was taken is there, however many wait", function()
    assert.are.same({5000, 5000, true}, {run [[
      function Me:init()
        local a, took, good = throng.spawn("guest", "room"), 0, true
        a:ask "ping"
        hold(a)
        for n = 1, 5000 do took = took + throng.publish("room", "news", n) end
        release()
        local heard = a:ask "heard"
        for n = 1, 5000 do good = good and heard[n] and heard[n][1] == n end
        done(took, #heard, good)
      end
    ]]})
  end)

  it("raises for what can't be sent, and then nobody got anything", function()
    assert.are.same({true, true, true, 0}, {run [[
      function Me:init()
        local a = throng.spawn("guest", "room")
        a:ask "ping"
        local wrong = try(throng.publish, "room", "news", print)
        done(wrong.message:find("message 'news': argument 1: a function can't be sent", 1, true) ~= nil,
             try(throng.publish, "room") ~= nil, try(throng.publish, "", "news") ~= nil, #a:ask "heard")
      end
    ]]})
  end)

  it("goes on while members come and go all the time", function()
    assert.are.same({true, 0, true}, {run([[
      function Me:init()
        self.left, self.took, self.heard = 400, 0, 0
        for _ = 1, 20 do throng.spawn_with({monitor = true}, "visitor", throng.self()) end
        throng.send(throng.self(), "talk")
      end
      function Me:on_talk()
        self.took = self.took + throng.publish("room", "news")
        if self.left > 0 then throng.send(throng.self(), "talk") end
      end
      function Me:on_heard(count) self.heard = self.heard + count end
      function Me:on_down()
        self.left = self.left - 1
        if self.left >= 20 then throng.spawn_with({monitor = true}, "visitor", throng.self()) end
        if self.left == 0 then done(self.took > 0, #throng.members "room", self.heard <= self.took) end
      end
    ]], {visitor = [[
      function Me:init(root) self.root, self.count = root, 0 throng.join "room" end
      function Me:on_news()
        self.count = self.count + 1
        if self.count == 5 then self.root:send("heard", 5) throng.exit() end
      end
    ]], options = {"--log", "error"}})})
  end)
end)
