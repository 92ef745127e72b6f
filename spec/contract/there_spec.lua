--- Actors that are born on another node, whose files they are made of lie here.
local cluster = require "spec.support.cluster"
local console = require "spec.support.console"
local node = require "spec.support.node"

describe("an actor that is spawned on another node", function()
  local b
  local GUY <const> = [[
    local help = require "help"
    function Me:init(...)
      self.args = table.pack(...)
      if self.args[1] == "boom" then error("ouch") end
    end
    function Me:on_args() return table.unpack(self.args, 1, self.args.n) end
    function Me:on_where() return throng.node(), throng.parent(), help.word end
    function Me:on_end(reason) throng.exit(reason) end
    function Me:on_spawn(module, ...) return throng.spawn(module, ...) end
    function Me:on_require(module) return require(module).word end
    function Me:on_try(f, ...) return scene.try(throng[f], ...) end
    function Me:on_boom() error("oops") end
    function Me:on_note(what) scene.note(self, what) end
    function Me:on_notes() return self.notes end
  ]]
  local FILES <const> = {guy = GUY, other = "function Me:on_where() return throng.node(), require('help').word end",
                         ["help.lua"] = "return {word = 'help'}", ["late.lua"] = "return {word = 'late'}",
                         ["a/b.lua"] = "return {word = 'b'}", broken = "this does not parse",
                         bad = "error 'no body'", ["number.lua"] = "return 5"}
  local count = 0

  local function with(files)
    local all = {}
    for name, text in pairs(FILES) do all[name:find("%.lua$") and "./" .. name or name] = text end
    for name, text in pairs(files or {}) do all[name] = text end
    return all
  end

  local function on_a(body, files, options)
    count = count + 1
    return cluster.found(b, "a" .. count, ("function Me:on_ready()\n%s\nend"):format(body) .. [[

      function Me:on_down(...) if Me.down then Me.down(self, ...) end end
      function Me:on_exit(...) if Me.exit then Me.exit(self, ...) end end
      function Me:on_wait_for(...) if Me.wait_for then Me.wait_for(self, ...) end end
    ]], options, with(files))
  end

  setup(function() b = cluster.bare("b", {"--can", "gpu=true,zone=eu", "--can", "cores=4"}) end)

  it("is made of what this node has, gets its arguments, and knows its parent", function()
    local args, where, parent, word, name = on_a [[
      local guy = throng.spawn_with({node = "b"}, "guy", 1, nil, {2, throng.self()})
      local one, two, three, four = guy:ask "args"
      local node, parent, word = guy:ask "where"
      done({one, two == nil, three[1], three[2] == throng.self(), four == nil}, node, parent == throng.self(), word,
        tostring(guy))
    ]]
    assert.are.same({1, true, 2, true, true}, args)
    assert.are.same({"b", true, "help"}, {where, parent, word})
    assert.matches("^<%d+%.%d+@b>$", name)
  end)

  it("spawns and requires what lies on the node it came from", function()
    local where, word, late, again = on_a [[
      local guy = throng.spawn_with({node = "b"}, "guy")
      local other = guy:ask("spawn", "other")
      local node, word = other:ask "where"
      done(node, word, guy:ask("require", "late"), guy:ask("spawn", "other") ~= other)
    ]]
    assert.are.same({"b", "help", "late", true}, {where, word, late, again})
  end)

  it("has all options of spawn_with: name, mailbox, memory, restarts, wait", function()
    local found = on_a([[
      local guy = throng.spawn_with({node = "b", name = "bob", mailbox = {limit = 7}, memory = 2^20 | 0,
        wait = 5000}, "guy")
      local info = throng.spawn_with({node = "b"}, "asker"):ask("info", guy)
      done {throng.whereis("bob", "b") == guy, throng.whereis "bob" == nil, info.limit, info.behaviour}
    ]], {asker = "function Me:on_info(pid) return throng.info(pid) end"})
    assert.are.same({true, true, 7, "guy"}, found)
  end)

  it("is linked, and monitored, without a gap", function()
    local heard, refs = on_a([[
      throng.trap_exits(true)
      self.heard, self.refs = {}, {}
      for i = 1, 20 do
        local _, ref = throng.spawn_with({node = "b", link = true, monitor = true}, "brief", i)
        self.refs[i] = ref
      end
    end
    function Me:hear(what, reason, ref)
      self.heard[#self.heard + 1] = what .. reason
      if ref then for i, r in ipairs(self.refs) do if r == ref then self.refs[i] = "heard" end end end
      if #self.heard == 40 then table.sort(self.heard) done(self.heard, self.refs) end
    end
    function Me:down(pid, reason, ref) Me.hear(self, "down", reason, ref) end
    function Me:exit(pid, reason) Me.hear(self, "exit", reason)
    ]], {brief = "function Me:init(i) throng.exit('brief ' .. i) end"})
    assert.are.equal(40, #heard)
    for i = 1, 20 do assert.are.equal("heard", refs[i]) end
    for i = 1, 20 do
      local seen = 0
      for _, text in ipairs(heard) do seen = seen + ((text == "downbrief " .. i or text == "exitbrief " .. i) and 1 or 0) end
      assert.are.equal(2, seen)
    end
  end)

  it("ends with its spawner if it is linked to it", function()
    local ended = on_a([[
      self.parent = throng.spawn("parent", throng.self())
    end
    function Me:wait_for(child)
      throng.kill(self.parent)
      done((throng.await(child, 60000)))
    ]], {parent = [[
      function Me:init(root)
        root:send("wait_for", throng.spawn_with({node = "b", link = true}, "guy"))
        throng.sleep(60000)
      end]]})
    assert.is_true(ended)
  end)

  it("raises the error of its init, with its traceback, for who waits", function()
    local e, other = on_a [[
      local e = try(throng.spawn_with, {node = "b", wait = 5000}, "guy", "boom")
      local options = {node = "b", wait = 5000}
      try(throng.spawn_with, options, "guy", "boom")
      done({e.code, e.message, e.traceback, e.behaviour, tostring(e.actor)}, tostring(options.pid))
    ]]
    assert.are.equal("error", e[1])
    assert.matches("guy%.lua@a%d+:%d+: ouch", e[2])
    assert.matches("stack traceback.*guy%.lua@a%d+", e[3])
    assert.are.equal("guy", e[4])
    assert.matches("@b>", e[5])
    assert.matches("@b>", other)
  end)

  it("can't be made, and the error says what and where", function()
    local errors = on_a([[
      local function why(options, ...)
        local e = try(throng.spawn_with, options, ...)
        return {e and e.code or "none", e and e.message}
      end
      throng.spawn_with({node = "b", name = "taken"}, "guy")
      done {
        why({node = "nowhere"}, "guy"), why({node = "b"}, "nothing"), why({node = "b"}, "broken"), why({node = "b"}, "bad"),
        why({node = "b", name = "taken"}, "guy"), why({node = "b"}, "big"), why({node = "b"}, "guy", ("x"):rep(2^20)),
        why({node = "b"}, "number"), why({node = 5}, "guy"), why({node = "b"}, "guy", print)}
    ]], {["./big.lua"] = "--" .. ("x"):rep(1000000) .. "\nreturn {}"})
    local function is(at, code, pattern)
      assert.are.equal(code, errors[at][1])
      assert.matches(pattern, errors[at][2])
    end
    is(1, "unreachable", "no node 'nowhere' is up; there are a%d+, b")
    is(2, "spawn", "node b: no module 'nothing'")
    is(3, "spawn", "broken%.lua:%d+:")
    is(4, "spawn", "bad%.lua:%d+: no body")
    is(5, "name_taken", "node b: the name 'taken' is taken there")
    is(6, "too_large", "node b: .*big%.lua has 1000012 bytes, and 1000000 are the most")
    is(7, "too_large", "node b: init's arguments are too large: 10485%d%d bytes")
    is(8, "spawn", "number.lua is no behaviour")
    is(9, "none", "option 'node' must be a string")
    is(10, "none", "spawn_with 'guy': argument 1: a function")
  end)

  it("goes where what it requires is", function()
    local found = on_a([[
      local function where(requires, node) return (throng.spawn_with({requires = requires, node = node}, "guy"):ask "where") end
      local function why(requires)
        local e = try(throng.spawn_with, {requires = requires}, "guy")
        return {e.code or "none", e.message}
      end
      local info = throng.node_info "b"
      done {where {gpu = true, zone = "eu"}, where {cores = 4}, where {gpu = false} == throng.node(),
        where({gpu = true}, "b"), where({tape = true}, "b") == throng.node(), where({}, "gone") ~= nil,
        why {gpu = true, zone = "us"}, why {gpu = 1.5}, why {print}, info.can, info.own, throng.node_info "x" == nil,
        throng.node_info().can}
    ]], nil, {"--can", "tape"})
    assert.are.same({"b", "b", true, "b", true, true}, table.move(found, 1, 6, 1, {}))
    assert.are.equal("no_node", found[7][1])
    assert.matches('no node can do what is required, .*zone="us".* %(a%d+ can: tape=true; b can: gpu=true, zone="eu", cores=4%)',
                   found[7][2])
    assert.matches("'requires.gpu' asks for must be", found[8][2])
    assert.matches("option 'requires' is a table such as", found[9][2])
    assert.are.same({{gpu = true, zone = "eu", cores = 4}, false, true, {tape = true}}, table.move(found, 10, 13, 1, {}))
  end)

  it("goes to the node with the fewest actors", function()
    local here, there = on_a [[
      local here, there = 0, 0
      for i = 1, 200 do throng.spawn "guy" end
      for i = 1, 10 do
        if throng.spawn_with({requires = {}}, "guy"):ask "where" == "b" then there = there + 1 else here = here + 1 end
      end
      done(here, there)
    ]]
    assert.are.same({0, 10}, {here, there})
  end)

  it("stands beside another version of the same module, and the consoles tell them apart", function()
    local a = cluster.beside(b, "versions", "function Me:on_ready() print(throng.spawn_with({node = 'b'}, 'guy')) end",
      nil, with())
    a:read_until "@b>"
    local z = cluster.beside(b, "others", "function Me:on_ready() print(throng.spawn_with({node = 'b'}, 'guy'):ask 'word') end",
      nil, {guy = "function Me:on_word() return 'mine' end"})
    z:read_until "mine"
    local c = console.connect(cluster.dir() .. "/b.sock")
    local seen = {}
    for _, row in ipairs(select(2, c:ask("ps", {pattern = "guy"}))) do seen[row.origin or "b"] = row.version end
    assert.is_truthy(seen.versions and seen.others and seen.versions ~= seen.others)
    local files = {}
    for _, row in ipairs(select(2, c:ask("versions", {module = "guy"}))) do files[row.file] = row.current end
    assert.is_true(files["./guy.lua@versions"] or files["guy.lua@versions"])
    assert.matches("'guy' came from node %w+, its file is there", c:fails("reload", {module = "guy"}).message)
    a:kill()
    z:kill()
  end)

  it("is refused by a node that runs its own files only, unless they are the same", function()
    local own = cluster.bare("own", {"--own-files", "--path", "."}, {files = {["same.lua"] = "return {on_hi = function() return 'hi' end}",
      ["guy.lua"] = "return {}", ["mine.lua"] = "return {on_hi = function() return 'mine' end}"}})
    local found = cluster.found(own, "asker", [[
      function Me:on_ready()
        local function why(...)
          local e = try(throng.spawn_with, ...)
          return {e.code, e.message}
        end
        local same = throng.spawn_with({node = "own"}, "same")
        local mine = throng.spawn_with({node = "own"}, "mine")
        done {same:ask "hi", mine:ask "hi", why({node = "own"}, "guy"), why({node = "own"}, "main")}
      end]], nil, {["./same.lua"] = "return {on_hi = function() return 'hi' end}", guy = GUY, ["./help.lua"] = "return {}"})
    assert.are.same({"hi", "mine"}, {found[1], found[2]})
    assert.are.equal("refused", found[3][1])
    assert.matches("node own: it runs its own files only %(%-%-own%-files%), and has another version of 'guy'", found[3][2])
    assert.matches("and has no 'main'", found[4][2])
    own:signal "INT"
    assert.are.equal(0, own:wait().code)
  end)

  it("without a cluster is made here, or not at all", function()
    local r = node.run {options = {"--can", "gpu"}, script = [[
      local throng = require "throng"
      return {init = function()
        local function why(o) return (select(2, pcall(throng.spawn_with, o, "throng.serve"))) end
        throng.spawn_with({node = throng.node()}, "throng.serve")
        throng.spawn_with({requires = {gpu = true}}, "throng.serve")
        print(why {node = "x"})
        print(why {requires = {gpu = false}})
        throng.shutdown(0)
      end}]]}
    assert.matches("no node 'x' is up; there is only throng", r.lines[1])
    assert.matches("no node can do what is required, gpu=false %(throng can: gpu=true%)", r.lines[2])
  end)

  it("wants options that make sense", function()
    local function complaint(...) return node.run {command = {"run", ...}} end
    local r = complaint("--can", "a b", "x.lua")
    assert.are.same({2, "throng: --can 'a b': no spaces, quotes or letters beyond ASCII ('throng help' shows what there is)\n"},
                    {r.code, r.err})
    assert.matches("%-%-can 'gpu=': a key without a value", complaint("--can", "gpu=", "x.lua").err)
    assert.matches("which FILE%? %(with %-%-listen or %-%-join none is needed", complaint("--can", "gpu").err)
  end)
end)
