--- `throng ps` and the rest, single commands, beside a node that is played: answers of all kinds, wrong ones too.
local cjson = require "cjson"
local client = require "spec.support.client"
local fake_node = require "spec.support.fake_node"
local process = require "door.process"

local ROWS <const> = {
  {pid = "<1.1>", name = "lobby", behaviour = "region", version = "0123456789abcdef", state = "idle", depth = 0,
   memory = 10240, messages = 12345, uptime = 61000},
  {pid = "<12.1>", behaviour = "guy", version = "fedcba9876543210", state = "running", handler = "tick", depth = 3,
   oldest = 12.5, memory = 6500, messages = 7, uptime = 1500},
}

describe("a command of the client", function()
  local dir, fakes

  before_each(function() dir, fakes = process.mkdtemp(), {} end)
  after_each(function()
    for _, fake in ipairs(fakes) do fake:stop() end
    process.remove_all(dir)
  end)

  local function fake(name, ops, greeting)
    fakes[#fakes + 1] = fake_node.start(dir, name, ops, greeting)
    return fakes[#fakes]
  end

  local function run(words, o)
    o = o or {}
    o.command, o.run_dir, o.fakes = words, dir, fakes
    return client.run(o)
  end

  --- One line that matches on standard error, and that exit code.
  local function fails(code, words, pattern)
    local r = run(words)
    local shown = table.concat(words, " ")
    assert(r.code == code, ("%s: exit %s: %s%s"):format(shown, r.code, r.out, r.err))
    assert.equal("", r.out, shown)
    assert.matches(pattern, (r.err:gsub("\n$", "")), nil, nil, shown)
    assert.equal(1, select(2, r.err:gsub("\n", "")), r.err)
  end

  local function ps(peer, id)
    for _, row in ipairs(ROWS) do peer:more(id, row) end
    peer:value(id, {count = 5, shown = 2})
  end

  it("finds its node by name, by path, or because it is the only one", function()
    local world = fake("world", {node = function(peer, id) peer:value(id, {name = "world", workers = 2}) end})
    for _, words in ipairs {{"node", "world"}, {"node", world.path}, {"node"}} do
      assert.equal("name     world\nworkers  2\n", run(words).out)
    end
    fake "other"
    fails(2, {"node"}, "^throng: which node%? running: other, world ")
    fails(1, {"node", dir .. "/none.sock"}, "no node 'none' here: no socket .*/none.sock; running: other, world$")
    fakes[2]:stop() -- its socket stays
    fails(1, {"node", "other"}, "node 'other' does not run: nobody answers at .*/other.sock, .*running: world")
    assert.equal(0, run({"node"}).code)
    fakes[1]:stop(true)
    fails(1, {"node"}, "no node is running .*: start one with")
    fails(1, {"node", dir .. "/" .. ("x"):rep(200)}, "at most 107 bytes")
  end)

  it("says with one line what is wrong with a command line", function()
    fake "world"
    fails(2, {"fly"}, "unknown command 'fly'")
    fails(2, {"help", "fly"}, "unknown command 'fly'")
    fails(2, {"info"}, "info: which PID%? usage: info PID")
    fails(2, {"info", "world"}, "info: which PID")
    fails(2, {"info", "world", "a", "b"}, "'b' is too much")
    fails(2, {"ps", "--fly"}, "no option %-%-fly")
    fails(2, {"ps", "--limit", "x"}, "a number is wanted")
    fails(2, {"eval", "world", "1", "--time"}, "wants a value")
    fails(2, {"eval"}, "which 'LUA'")
    fails(2, {"ps", "a b", "c"}, "is no node")
    for _, words in ipairs {{"help", "ps"}, {"ps", "--help"}, {"ps", "world", "-h"}} do
      local r = run(words)
      assert.equal(0, r.code)
      assert.matches("^ps %[PATTERN%]", r.out)
    end
  end)

  it("prints a table, with one JSON object a line instead on demand", function()
    local world = fake("world", {ps = ps})
    local r = run {"ps", "world", "guy", "--limit", "2", "--sort", "depth"}
    assert.equal(0, r.code, r.err)
    assert.same({
      "PID     NAME   BEHAVIOUR  VERSION   STATE    HANDLER  DEPTH  OLDEST  MEMORY  MESSAGES  UPTIME",
      "<1.1>   lobby  region     01234567  idle                  0             10K     12.3k   1m01s",
      "<12.1>         guy        fedcba98  running  tick         3    12ms    6.3K         7    1.5s",
      "5 actors, 2 shown (--limit shows more)"}, r.lines)
    assert.same({pattern = "guy", limit = 2, sort = "depth"}, world:last("ps").args)
    r = run {"ps", "world", "--json"}
    assert.equal(2, #r.lines)
    assert.same(ROWS[2], cjson.decode(r.lines[2]))
  end)

  it("keeps integers and bytes in JSON as the node wrote them", function()
    fake("world", {memory = function(peer, id)
      peer:raw(('{"value":{"rss":9007199254740993,"t":"\\udcff"},"id":%d}\n'):format(id))
    end})
    assert.equal('{"rss":9007199254740993,"t":"\\udcff"}\n', run({"memory", "--json"}).out)
  end)

  it("hands on the rest of the line as Lua, and tells what came of it", function()
    local world = fake("world", {
      send = function(peer, id) peer:value(id, true) end,
      ask = function(peer, id) peer:value(id, {text = "{1, 2}"}) end,
      set = function(peer, id) peer:value(id, {old = "1", new = "2"}) end,
      spawn = function(peer, id) peer:value(id, {pid = "<9.1>"}) end,
      kill = function(peer, id) peer:error(id, {code = "no_actor", message = "no actor is named 'bob'"}) end,
    })
    assert.equal("sent\n", run({"send", "world", "bob", "eat", "3,", "{x = 1}"}).out)
    assert.same({pid = "bob", name = "eat", args = "3, {x = 1}"}, world:last("send").args)
    assert.equal("{1, 2}\n", run({"ask", "bob", "eat", "3"}).out)
    assert.equal('{"value":true}\n', run({"send", "bob", "eat", "--json"}).out)
    assert.equal("1 -> 2\n", run({"set", "bob", "bag.n", "1 + 1"}).out)
    assert.same({pid = "bob", path = "bag.n", value = "1 + 1"}, world:last("set").args)
    assert.equal("<9.1>\n", run({"spawn", "--name", "bea", "guy", "'x'"}).out)
    assert.same({module = "guy", args = "'x'", name = "bea"}, world:last("spawn").args)
    assert.same({pid = "<9.1>"}, run({"spawn", "guy", "'x'", "--json"}).json)
    fails(1, {"kill", "bob"}, "^throng: no_actor: no actor is named 'bob'$")
    local r = run {"kill", "bob", "--json"}
    assert.same({error = {code = "no_actor", message = "no actor is named 'bob'"}}, r.json)
    assert.equal(1, r.code)
  end)

  it("evaluates: output, values, errors with their traceback", function()
    local world = fake("world", {eval = function(peer, id, args)
      if args.code == "bad" then
        return peer:error(id, {code = "error", message = "eval:1: oops", traceback = "stack traceback:\n\tin \27[2Jx"})
      end
      peer:more(id, {out = "a\tb\n\27[2J\n"})
      peer:value(id, {text = args.code, json = {42}, count = 1})
    end})
    local r = run {"eval", "world", "1 +", "2", "--time", "50", "--memory", "1m", "--at", "bob"}
    assert.equal("a\tb\n\\x1B[2J\n1 + 2\n", r.out)
    assert.same({code = "1 + 2", time = 50, memory = 1048576, pid = "bob"}, world:last("eval").args)
    assert.equal("a\tb\n\\x1B[2J\nreturn 7\n", run({"eval", "=7"}).out)
    assert.same({text = "x", json = {42}, count = 1}, run({"eval", "x", "--json"}).json)
    r = run {"eval", "bad"}
    assert.equal(1, r.code)
    assert.equal("throng: eval:1: oops\nstack traceback:\n\tin \\x1B[2Jx\n", r.err)
  end)

  it("follows until the limit, then cancels", function()
    local function flood(peer, id)
      for i = 1, 100 do
        peer:more(id, {at = 1000 * i, level = i == 1 and "warn" or "info", actor = "bob", text = "line " .. i})
      end
    end
    local world = fake("world", {log = flood})
    local r = run {"log", "info", "--limit", "2"}
    assert.equal(0, r.code, r.err)
    assert.equal(2, #r.lines)
    assert.matches("^%d%d:%d%d:%d%d%.000 warn  bob line 1$", r.lines[1])
    assert.truthy(world:last("cancel"))
    assert.equal(3, #run({"log", "--limit", "3", "--json"}).lines)
  end)

  it("reloads, with options among the names of modules", function()
    local world = fake("world", {reload = function(peer, id)
      peer:value(id, {ok = true, text = "2 actors in 3 ms", warnings = {"a global"},
                      behaviours = {{name = "guy", from = "0123456789", to = "abcdef012345", actors = 2}}})
    end})
    local r = run {"reload", "world", "guy", "--in-flight", "cancel", "region", "--force"}
    assert.same({"2 actors in 3 ms", "BEHAVIOUR  FROM      TO        ACTORS", "guy        01234567  abcdef01       2",
                 "warning: a global"}, r.lines)
    assert.same({module = "guy region", in_flight = "cancel", force = true}, world:last("reload").args)
    fails(2, {"reload", "world", "guy", "--force=1"}, "takes no value")
    r = client.run {command = {"repl", "world"}, run_dir = dir, fakes = fakes, stdin = "reload guy --force\n"}
    assert.equal(0, r.code, r.err)
    assert.same({module = "guy", force = true}, world:last("reload").args)
  end)

  it("tells what had to be left out, and what dead letters there were", function()
    fake("world", {deadletters = function(peer, id)
      peer:more(id, {counts = {full = 0, pid = 3, handler = 12000}})
      peer:more(id, {lost = 5})
      peer:more(id, {at = 1000, reason = "pid", name = "tick", text = "1", from = "<1.1>", to = "<2.1>"})
    end})
    assert.same({"so far: 12.0k handler, 3 pid", "... 5 more than could be sent",
                 "00:00:01.000 pid tick (1) from <1.1> to <2.1>"}, run({"deadletters", "--limit", "1"}).lines)
  end)

  it("takes a word for a behaviour when no actor is called so", function()
    local world = fake("world", {trace = function(peer, id, args)
      if args.pid then return peer:error(id, {code = "no_actor", message = "no actor is named 'guy'"}) end
      peer:more(id, {at = 1000, pid = "<1.1>", way = "done", name = "tick", took = 0.25})
      peer:value(id)
    end})
    assert.matches("^%d%d:%d%d:%d%d%.000 <1.1> done tick took 250us\n$", run({"trace", "guy", "tick", "limit", "5"}).out)
    assert.same({behaviour = "guy", handler = "tick", limit = 5}, world:last("trace").args)
  end)

  it("prints top in blocks when nobody looks, and ends after --count", function()
    fake("world", {top = function(peer, id)
      for i = 1, 3 do
        peer:more(id, {node = {name = "world", actors = 2}, rows = {{pid = "<1.1>", messages = i * 1000.0, cpu = 0.5}}})
      end
    end})
    local r = run {"top", "--count", "2"}
    assert.same({"world  actors 2", "PID    MSG/S    CPU", "<1.1>   1000  50.0%", "", "world  actors 2",
                 "PID    MSG/S    CPU", "<1.1>   2000  50.0%"}, r.lines)
    assert.equal(0, r.code)
  end)

  it("writes a profile into two files", function()
    local world = fake("world", {prof = function(peer, id)
      peer:value(id, {folded = "a;b 3\n", svg = "<svg/>", samples = 3})
    end})
    local r = run {"prof", "0.1", "bob", "--out", dir .. "/p.svg"}
    assert.equal(("3 samples: %s/p.folded, %s/p.svg\n"):format(dir, dir), r.out)
    assert.same({seconds = 0.1, pid = "bob"}, world:last("prof").args)
    assert.equal("a;b 3\n", assert(io.open(dir .. "/p.folded")):read "a")
    assert.equal("<svg/>", assert(io.open(dir .. "/p.svg")):read "a")
    fails(1, {"prof", "1", "--out", dir .. "/no/p"}, "no/p.folded: No such file")
  end)

  it("shows what is nobody's table: objects, chains, inboxes, tasks", function()
    fake("world", {
      info = function(peer, id)
        peer:value(id, {pid = "<1.1>", memory = 2048, links = {}, limits = {memory = 1024, mailbox = 5},
                        monitors = {{pid = "<2.1>", ref = 7}}})
      end,
      why = function(peer, id)
        peer:value(id, {chain = {{pid = "<1.1>", name = "bob", waits = "ask", ["for"] = "<2.1>", since = 1500, left = 3500},
                                 {pid = "<2.1>"}}, ["end"] = "<2.1> runs loop"})
      end,
      inbox = function(peer, id)
        peer:value(id, {depth = 30, messages = {{kind = "send", name = "tick", from = "<1.1>", text = "1\27"}}})
      end,
      tasks = function(peer, id)
        peer:more(id, {task = "handler", handler = "nap", state = "waiting", waits = "time", left = 100, traceback = "stack traceback:\n\tguy.lua:3"})
        peer:value(id)
      end,
    })
    assert.same({"pid             <1.1>", "limits.mailbox  5", "limits.memory   1.0K", "links           none",
                 "memory          2.0K", "monitors        pid=<2.1> ref=7"}, run({"info", "bob"}).lines)
    assert.equal("<1.1> bob waits: ask <2.1> since 1.5s (3.5s left)\n  <2.1>\n<2.1> runs loop\n", run({"why", "bob"}).out)
    assert.equal("KIND  NAME  FROM   CONTENT\nsend  tick  <1.1>  1\\x1B\n30 messages wait, 1 shown\n", run({"inbox", "bob"}).out)
    assert.equal("handler nap waiting for time (100ms left)\n  stack traceback:\n  guy.lua:3\n", run({"tasks", "bob"}).out)
  end)

  it("survives a node that speaks otherwise, hangs up, or says nothing", function()
    local function greets(text, pattern)
      fakes = {fake_node.start(dir, "odd", {ps = function(peer) peer.hang_up = true end}, text)}
      fails(1, {"ps", "odd"}, pattern)
      fakes[1]:stop(true)
    end
    greets("HTTP/1.1 400 Bad Request\r\n", "hung up: it does not speak the console's protocol")
    greets('{"throng":"1","protocol":2,"node":"x"}\n', "protocol 2, and this program 1")
    greets('{"id":null,"error":{"code":"refused","message":"1000 clients are attached"}}\n', "1000 clients are attached")
    greets(("x"):rep(100) .. "\27[2J\n", "hung up: it does not speak")
    greets(nil, "^throng: node 'odd' went away %(closed%)$")
    fakes = {fake_node.start(dir, "odd", {ps = function(peer, id)
      peer:raw("\n")
      peer:more(id, {pid = "<1.1>"})
    end})}
    fails(1, {"ps", "odd"}, "went away %(it does not speak the console's protocol")
  end)

  it("ends at Ctrl-C, and cancels what it asked for", function()
    local world = fake("world", {ask = function() end})
    local c = client.start {command = {"ask", "bob", "eat"}, run_dir = dir, fakes = fakes}
    c:until_true(function() return world:last("ask") end, "the request")
    c.node:signal "INT"
    local r = c:wait()
    assert.equal(130, r.code)
    assert.truthy(world:last("cancel"))
    world.ops.cancel = function() end -- it takes no notice
    c = client.start {command = {"ask", "bob", "eat"}, run_dir = dir, fakes = fakes}
    c:until_true(function() return #world.requests == 3 end, "the request")
    c.node:signal "INT"
    c:until_true(function() return #world.requests == 4 end, "the cancel")
    c.node:signal "INT"
    assert.equal(130, c:wait().code)
  end)

  describe("of several nodes", function()
    local function piece(row, on)
      local copy = {on = on}
      for k, v in pairs(row) do copy[k] = v end
      return copy
    end

    it("goes where it is sent, and shows whose each row is", function()
      local world = fake("world", {ps = function(peer, id)
        peer:more(id, piece(ROWS[2], "b"))
        peer:more(id, piece(ROWS[1], "world"))
        peer:value(id, {nodes = {{on = "world", value = {count = 1, shown = 1}}, {on = "b", value = {count = 1, shown = 1}}}})
      end, state = function(peer, id) peer:value(id, {text = "{}"}) end,
      memory = function(peer, id)
        peer:value(id, {nodes = {{on = "world", value = {actors = 1}}, {on = "b", value = {actors = 2}}}})
      end})
      local r = run {"ps", "world", "--all"}
      assert.same({0, ""}, {r.code, r.err})
      assert.matches("^NODE  .*\nworld  <1.1> .*\nb  .*\n2 actors\n$", r.out)
      assert.same({"*"}, {world:last "ps".on})
      assert.matches("^NODE .*\nb .*\nworld .*", run({"ps", "world", "--all", "--sort", "depth"}).out)
      assert.matches("\nworld .*1 shown", run({"ps", "world", "--all", "--sort", "memory", "--limit", "1"}).out)
      assert.equal("world\nactors  1\nb\nactors  2\n", run({"memory", "world", "--all"}).out)
      assert.equal("{}\n", run({"state", "world", "bob", "--on", "b"}).out)
      assert.same({"b", {pid = "bob"}}, {world:last "state".on, world:last "state".args})
    end)

    it("says which did not answer, after all that did, and fails", function()
      fake("world", {ps = function(peer, id)
        peer:more(id, piece(ROWS[1], "world"))
        peer:value(id, {nodes = {{on = "world", value = {count = 1, shown = 1}},
                                 {on = "b", error = {code = "timeout", message = "node b: it does not answer in time"}},
                                 {on = "c", error = {code = "error", message = "no such thing"}}}})
      end})
      local r = run {"ps", "world", "--all"}
      assert.equal(1, r.code)
      assert.matches("\nworld .*\n1 actor\n$", r.out)
      assert.equal("timeout: node b: it does not answer in time\nthrong: node c: no such thing\n", r.err)
      assert.equal(1, run({"ps", "world", "--all", "--json"}).code)
    end)

    it("follows a chain of waiting from node to node", function()
      fake("world", {why = function(peer, id, args)
        local chains = {bob = {chain = {{pid = "<1.1>", waits = "ask", ["for"] = "<2.1@b>"}}, ["end"] = "x", next = "<2.1@b>"},
                        ["<2.1@b>"] = {chain = {{pid = "<2.1@b>", waits = "ask", ["for"] = "<1.1>"}}, ["end"] = "y",
                                       next = "<1.1>"},
                        ["<1.1>"] = {chain = {{pid = "<1.1>"}}, ["end"] = "z", next = "<2.1@b>"}}
        peer:value(id, chains[args.pid])
      end})
      assert.equal("<1.1> waits: ask <2.1@b>\n  <2.1@b> waits: ask <1.1>\n    <1.1>\na circle: it leads back to <2.1@b>\n",
                   run({"why", "bob"}).out)
    end)

    it("can't go to all if it is about one actor", function()
      fake "world"
      fails(2, {"kill", "world", "bob", "--all"}, "^throng: kill has no option %-%-all")
      fails(2, {"ps", "world", "--all=1"}, "^throng: %-%-all takes no value")
    end)
  end)
end)
