--- Spawn: from a module's name to an actor, and what can be known at once when it does not work.
local scenario = require "spec.support.scenario"

local MODULES <const> = {
  echo = [[
    function Me:init(...) self.args = table.pack(...) end
    function Me:on_args() return table.unpack(self.args, 1, self.args.n) end
    function Me:on_echo(...) return ... end
    function Me:on_die(reason) throng.exit(reason) end
  ]],
  crashing = "function Me:init(text) error(text or 'no good') end",
}

local function run(text, more)
  local o = {text}
  for key, value in pairs(MODULES) do o[key] = value end
  for key, value in pairs(more or {}) do o[key] = value end
  return scenario.run(o)
end

describe("spawn", function()
  it("hands its arguments to init, nils too", function()
    assert.are.same({1, "nil", "x", "nil", 4}, {run [[
      function Me:init()
        local p = throng.spawn("echo", 1, nil, "x", nil)
        local a, b, c, d = p:ask "args"
        done(a, b, c, d, select("#", p:ask "args"))
      end
    ]]})
  end)

  it("returns before init has run, and what is sent at once waits for it", function()
    assert.are.same({"initialized", true}, {run([[
      function Me:init()
        throng.register "gate"
        local p = throng.spawn "slow"
        local sent = p:send "x"
        throng.unregister "gate"
        done(p:ask "state", sent)
      end
    ]], {slow = [[
      function Me:init()
        spin(function() return not throng.whereis "gate" end)
        self.state = "initialized"
      end
      function Me:on_x() self.state = self.state or "too early" end
      function Me:on_state() return self.state end
    ]]})})
  end)

  it("finds modules by require path, below folders and with --path too", function()
    assert.are.same({"deep", "init", "elsewhere"}, {run([[
      function Me:init()
        done(throng.spawn "a.b.deep":ask "name", throng.spawn "pack":ask "name", throng.spawn "far":ask "name")
      end
    ]], {
      ["a/b/deep.lua"] = "return {on_name = function() return 'deep' end}",
      ["pack/init.lua"] = "return {on_name = function() return 'init' end}",
      ["other/place/far.lua"] = "return {on_name = function() return 'elsewhere' end}",
      options = {"--path", "other/place"},
    })})
  end)

  it("gives each actor a state of its own: self, file locals, globals, loaded modules", function()
    assert.are.same({{1, 1, 1, 1}, {1, 1, 1, 1}, {2, 2, 2, 2}}, {run([[
      function Me:init()
        local a, b = throng.spawn "state", throng.spawn "state"
        done({a:ask "count"}, {b:ask "count"}, {a:ask "count"})
      end
    ]], {
      state = [[
        local counted = require "counted"
        local file = 0
        function Me:on_count()
          self.n, file, COUNT, counted.n = (self.n or 0) + 1, file + 1, (COUNT or 0) + 1, counted.n + 1
          return self.n, file, COUNT, counted.n
        end
      ]],
      ["lib/x"] = "", ["counted"] = "Me.n = 0",
    })})
  end)

  it("is cheap to fail: each bad module is its own clear error, at the one who spawns", function()
    local results = {run([[
      function Me:init()
        local found = {}
        for i, name in ipairs {"nowhere", "unparsable", "nothing", "number", "raises", "needs"} do
          local e = try(throng.spawn, name)
          found[i] = {e.code, e.message}
        end
        done(table.unpack(found))
      end
    ]], {
      ["unparsable.lua"] = nil, ["./unparsable.lua"] = "local x = 1\nlocal = 2",
      ["./nothing.lua"] = "local x = 1", ["./number.lua"] = "return 42",
      ["./raises.lua"] = "local function f() error 'bad day' end\nf()\nreturn {}",
      ["./needs.lua"] = "local x = require 'not.there'\nreturn {}",
    })}
    local patterns = {"nowhere", "unparsable%.lua:2:", "nothing%.lua .*returned nothing", "number%.lua .*number",
                      "raises%.lua:1: bad day", "needs%.lua:1: .*not%.there"}
    for i, pattern in ipairs(patterns) do
      assert.are.equal("spawn", results[i][1])
      assert.matches(pattern, results[i][2])
    end
  end)

  it("does not raise what init raises: the new actor dies of it, and the parent lives", function()
    assert.are.same({"error", "parent lives"}, {run [[
      function Me:init() self.pid = throng.spawn_with({monitor = true}, "crashing") end
      function Me:on_down(pid, reason) done(reason.code, pid == self.pid and "parent lives") end
    ]]})
  end)

  it("with arguments that can't be sent raises, with the path, and nobody was spawned", function()
    local message, spawned = run [[
      function Me:init()
        local before = throng.stats().spawned
        local e = try(throng.spawn, "echo", 1, {a = {print}})
        done(e.message, throng.stats().spawned - before)
      end
    ]]
    assert.matches("argument 2%.a%[1%]: a function", message)
    assert.are.equal(0, spawned)
  end)

  it("stops at the limit of actors with the code limit, and goes on once there is room", function()
    local code, message, count = run([[
      function Me:init()
        self.count = 0
        local e
        repeat
          e = try(function() self.last = throng.spawn_with({monitor = true}, "echo") end)
          self.count = self.count + 1
        until e or self.count > 100
        self.e = e
        throng.kill(self.last)
      end
      function Me:on_down() done(self.e.code, self.e.message, throng.spawn "echo":ask("echo", self.count)) end
    ]], {options = {"--set", "actors.limit=10"}})
    assert.are.equal("limit", code)
    assert.matches("10", message)
    assert.matches("actors%.limit", message)
    assert.are.equal(10, count) -- the root and nine others
  end)

  it("of a thousand that spawn further makes them all, and they all end", function()
    assert.are.same({1111, true}, {run([[
      function Me:init() self.count = 0 throng.spawn("tree", throng.self(), 3) end
      function Me:on_grown()
        self.count = self.count + 1
        if self.count == 1111 then throng.after(1, "look") end
      end
      function Me:on_look()
        if throng.stats().actors > 1 then throng.after(1, "look") else done(self.count, true) end
      end
    ]], {tree = [[
      function Me:init(root, depth)
        if depth > 0 then for _ = 1, 10 do throng.spawn("tree", root, depth - 1) end end
        root:send "grown"
        throng.exit()
      end
    ]]})})
  end)
end)

describe("spawn_with", function()
  it("wait returns the pid when init is done", function()
    assert.are.same({"ready", true}, {run([[
      function Me:init()
        local p, ref = throng.spawn_with({wait = 60000, name = "ready"}, "slow")
        done(STATE or throng.whereis "is ready" == p and "ready", ref == nil)
      end
    ]], {slow = [[
      function Me:init()
        throng.sleep(5)
        throng.register "is ready"
      end
    ]]})})
  end)

  it("wait raises the error of init, with its traceback; the monitor hears it too", function()
    local e, reason = run [[
      function Me:init()
        self.e = try(throng.spawn_with, {wait = 60000, monitor = true}, "crashing", "bad start")
      end
      function Me:on_down(_, reason) done(self.e, reason) end
    ]]
    assert.are.equal("error", e.code)
    assert.matches("crashing%.lua:1: bad start", e.message)
    assert.matches("stack traceback", e.traceback)
    assert.are.equal("crashing", e.behaviour)
    assert.are.equal(e.message, reason.message)
  end)

  it("wait ends also when init exits, is killed, or its actor is taken along by a link", function()
    assert.are.same({{"down", "left"}, {"down", "killed"}}, {run([[
      function Me:init()
        local a = try(throng.spawn_with, {wait = 60000}, "dying", "exit")
        local b = try(throng.spawn_with, {wait = 60000}, "dying", "kill")
        done({a.code, a.reason}, {b.code, b.reason})
      end
    ]], {dying = [[
      function Me:init(way)
        if way == "exit" then throng.exit "left" else throng.kill(throng.self()) end
      end
    ]]})})
  end)

  it("wait raises timeout when init takes longer", function()
    assert.are.same({"timeout"}, {run([[
      function Me:init()
        local e = try(throng.spawn_with, {wait = 5}, "endless")
        done(e.code)
      end
    ]], {endless = "function Me:init() throng.sleep(600000) end"})})
  end)

  it("monitor returns the ref of the down as the second value, with and without wait", function()
    assert.are.same({2, "x", "x"}, {run [[
      function Me:init()
        self.refs, self.reasons = {}, {}
        for i, wait in ipairs {false, 60000} do
          local pid, ref = throng.spawn_with({monitor = true, wait = wait or nil}, "echo")
          self.refs[ref] = i
          pid:send("die", "x")
        end
      end
      function Me:on_down(_, reason, ref)
        self.reasons[self.refs[ref] ] = reason
        if #self.reasons == 2 then done(#self.reasons, table.unpack(self.reasons)) end
      end
    ]]})
  end)

  it("memory caps the actor: it dies of memory, the node lives", function()
    assert.are.same({"memory", "alive"}, {run([[
      function Me:init() throng.spawn_with({memory = 2^20, monitor = true}, "hog") end
      function Me:on_down(_, reason) done(reason.code, throng.spawn "echo":ask("echo", "alive")) end
    ]], {hog = [[
      function Me:init()
        local all = {}
        while true do all[#all + 1] = {#all} end
      end
    ]]})})
  end)

  it("memory is enough for what fits: half the cap is at hand", function()
    assert.are.equal(2^20, run([[
      function Me:init() done(throng.spawn_with({memory = 4 * 2^20}, "user"):ask "use") end
    ]], {user = "function Me:on_use() return #('x'):rep(2^20) end"}))
  end)

  it("refuses options that are not there or of the wrong kind, naming them", function()
    local texts = {run [[
      function Me:init()
        local texts = {}
        for i, options in ipairs {{nmae = "x"}, {name = 5}, {name = ""}, {monitor = 1}, {link = "yes"},
                                  {memory = "much"}, {memory = 1}, {mailbox = 5},
                                  {mailbox = {limit = 0}}, {mailbox = {full = "explode"}}, {allow = "io"},
                                  {allow = {"everything"}}, {wait = -1}, {wait = true}} do
          texts[i] = try(throng.spawn_with, options, "echo").message
        end
        done(table.unpack(texts))
      end
    ]]}
    local names = {"nmae", "name", "name", "monitor", "link", "memory", "memory", "mailbox", "mailbox.limit",
                   "mailbox.full", "allow", "allow", "wait", "wait"}
    assert.are.equal(#names, #texts)
    for i, name in ipairs(names) do assert.matches(name, texts[i], 1, true) end
  end)

  it("allow gives libraries to that actor only; what one has not one can't give", function()
    assert.are.same({{"table", "nil", "nil"}, {"nil", "nil", "nil"}, {"nil", "function", "nil"},
                     {"nil", "nil", "function"}, true}, {run([[
      function Me:init()
        local function has(allow) return {throng.spawn_with({allow = allow}, "has"):ask "has"} end
        done(has {"io"}, has {}, has {"os"}, has {"debug"}, throng.spawn "has":ask "give")
      end
    ]], {has = [[
      function Me:on_has() return type(io), type(os.execute), type(debug.getinfo) end
      function Me:on_give() return try(throng.spawn_with, {allow = {"io"}}, "has") ~= nil end
    ]]})})
  end)

  it("allow goes on from who has it to whom it gives", function()
    assert.are.same({"table", true}, {run([[
      function Me:init()
        done(throng.spawn_with({allow = {"io"}}, "has"):ask "give")
      end
    ]], {has = [[
      function Me:on_has() return type(io) end
      function Me:on_give()
        return throng.spawn_with({allow = {"io"}}, "has"):ask "has",
               try(throng.spawn_with, {allow = {"os"}}, "has") ~= nil
      end
    ]]})})
  end)
end)
