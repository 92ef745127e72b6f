--- The client and a real node: every command once, the done-when lines of the console, and the real completion.
local cjson = require "cjson"
local client = require "spec.support.client"
local node = require "spec.support.node"
local process = require "door.process"

local ROOT <const> = [[
local throng = require "throng"
local Root = {}
function Root:init()
  throng.register "lobby"
  for _, name in ipairs {"ann", "bob"} do throng.spawn_with({name = name, wait = 5000}, "guy", name) end
  throng.log.info("all are here")
end
return Root]]

local GUY <const> = [[
local throng = require "throng"
local Guy = {}
function Guy:init(name)
  self.name, self.hunger, self.bag = name, 0, {apple = 2, list = {1, 2}}
  throng.join "guys"
end
function Guy:on_eat(n)
  self.hunger = self.hunger - n
  return self.hunger
end
function Guy:on_log(text) throng.log.warn(text) end
function Guy:on_nap() throng.sleep(60000) end
function Guy:on_call(whom) return throng.ask_within(60000, whom, "eat", 1) end
function Guy:on_spin() while true do end end
return Guy]]

describe("beside a real node, the client", function()
  local dir, world

  setup(function()
    dir = process.mkdtemp()
    world = node.start {files = {["root.lua"] = ROOT, ["guy.lua"] = GUY}, main = "root.lua",
                        options = {"--name", "world", "--workers", "2"}, env = {THRONG_RUN_DIR = dir}}
    world:read_until("all are here", 10)
  end)
  teardown(function()
    world:kill()
    process.remove_all(dir)
  end)

  local function run(...) return client.run {command = {...}, run_dir = dir} end

  local function good(...)
    local r = run(...)
    assert(r.code == 0, table.concat({...}, " ") .. ": " .. r.err .. r.out)
    return r.out
  end

  local function fails(pattern, ...)
    local r = run(...)
    assert(r.code == 1, table.concat({...}, " ") .. ": " .. r.err .. r.out)
    assert.matches(pattern, r.err)
  end

  it("lists", function()
    assert.matches("PID +NAME +BEHAVIOUR.*<0.1> +lobby.*ann +guy.*bob +guy.*3 actors", good("ps", "world"))
    assert.matches("^PID[^\n]*\n[^\n]*ann[^\n]*\n1 actor\n$", good("ps", "ann"))
    assert.equal("lobby", cjson.decode(good("names", "lob", "--json")).name)
    assert.matches("guys", good "groups")
    assert.matches("^name +world\n.*settings.workers +2", good "node")
    assert.matches("rss +%d", good "memory")
    assert.matches("lobby", good "tree")
    assert.matches("name +ann\n", good("info", "ann"))
    assert.equal("2\n", good("state", "ann", "bag.apple"))
    assert.matches('name = "ann"', good("state", "ann"))
    assert.matches("0 messages wait", good("inbox", "ann"))
    assert.matches("nothing waits in it", good("tasks", "ann"))
    fails("^throng: no_actor: ", "info", "nobody")
  end)

  it("evaluates and changes", function()
    assert.equal('3, "x", nil\n', good("eval", "1 + 2, 'x', nil"))
    assert.same({3}, cjson.decode(good("eval", "1 + 2", "--json")).json)
    assert.equal("out\n", good("eval", "print 'out'"))
    assert.equal('"ann"\n', good("eval", "world", "self.name", "--at", "ann"))
    fails("^throng: .*oops.*\nstack traceback:\n", "eval", "error 'oops'")
    fails("^throng: budget: ", "eval", "while true do end", "--time", "50")
    fails("^throng: syntax: ", "eval", "1 +")
    assert.equal("-3\n", good("ask", "ann", "eat", "3"))
    assert.equal("sent\n", good("send", "ann", "eat", "1"))
    assert.equal("2 -> 7\n", good("set", "ann", "bag.apple", "3 + 4"))
    assert.equal("7\n", good("eval", "self.bag.apple", "--at", "ann"))
    local pid = good("spawn", "guy", "'dora'", "--name", "dora"):match "^(<%d+%.%d+>)\n$"
    assert.matches(pid .. " +dora", good("ps", "dora"))
    assert.matches("%d.* before, .* after", good("gc", "dora"))
    assert.equal("told to stop\n", good("stop", "dora"))
    assert.equal("killed\n", good("kill", (good("spawn", "guy", "'eve'"):gsub("\n", ""))))
    fails("no_actor", "kill", "nobody")
  end)

  it("answers within a second while every worker is in an endless loop, and ends the loops", function()
    local pids = {}
    for i = 1, 2 do
      pids[i] = good("spawn", "guy", "'spinner'"):gsub("\n", "")
      good("send", pids[i], "spin")
    end
    local began = process.now()
    assert.matches("spin", good "ps")
    assert(process.now() - began < node.slow, "it took longer than a second")
    for i = 1, 2 do good("kill", pids[i]) end
    local c = client.start {command = {"repl"}, run_dir = dir, open_stdin = true}
    c:until_true(function()
      c:type "ps spinner\n"
      return c.node.out:find "0 actors"
    end, "their end")
    c.node:end_input()
    c:wait()
  end)

  it("talks, completes and goes into an actor on a terminal", function()
    local c = client.start {command = {"repl"}, run_dir = dir, pty = true}
    c:last_line "world>"
    c:type "x = {hungry = 1}\r"
    c:prompt_again "world>"
    c:type "x.hu\t"
    c:last_line "world> x.hungry"
    c:type "\21info an\t"
    c:last_line "world> info ann"
    c:type "\21at bob\r"
    c:prompt_again "world:bob>"
    c:type "self.hun\t"
    c:last_line "world:bob> self.hunger"
    c:type "\r"
    c:prompt_again "world:bob>"
    assert.equal("0", c:tail(2)[1])
    c:type "while true do end\r"
    c:shows(function(lines) return lines[#lines] == "" or not lines[#lines]:find ">$" end, "the loop")
    c:type "\3"
    c:prompt_again "world:bob>"
    c:type "at\r"
    c:prompt_again "world>"
    c:type "20 + 1\r"
    c:prompt_again "world>"
    c:type "_ * 2\r"
    c:prompt_again "world>"
    assert.equal("42", c:tail(2)[1])
    c:type "\4"
    assert.equal(0, c:wait().code)
  end)

  it("tells who is busy, what is waited for, and what takes time", function()
    for _, name in ipairs {"cleo", "carl"} do good("spawn", "--name", name, "guy", "'x'") end
    good("send", "carl", "nap")
    good("send", "cleo", "call", 'pid "carl"')
    local chain
    repeat chain = good("why", "cleo") until chain:find "\n  <" -- both have begun
    assert.matches("^<%d+.%d+> cleo in call waits: ask <%d+.%d+> eat .*\n  <%d+.%d+> carl in nap waits: sleep", chain)
    assert.matches("call.*waiting for %a+ of <", good("tasks", "cleo"))
    assert.matches("^actors %d.*\nPID +NAME .*lobby", good("top", "--count", "1", "--every", "100"))
    assert.matches("HANDLER", good "slow")
    local c = client.start {command = {"trace", "guy", "eat", "limit", "2"}, run_dir = dir}
    local eve = good("spawn", "guy", "'eve'"):gsub("\n", "")
    c:until_true(function()
      good("send", eve, "eat", "1")
      return c.node.result
    end, "the events")
    assert.matches("^%d%d:%d%d:%d%d.%d+ <%d+.%d+> %a+ +eat", c.node.out)
    assert.matches("no actor is named 'guy': those of that behaviour are followed", c.node.err)
    assert.matches("samples: .*/p.folded, .*/p.svg\n$", good("prof", "1", "--out", dir .. "/p"))
    assert.matches("^<svg", assert(io.open(dir .. "/p.svg")):read "a")
    good("kill", "carl") -- cleo hears of it
  end)

  it("follows what happens", function()
    local c = client.start {command = {"log", "warn", "--limit", "1"}, run_dir = dir}
    c:until_true(function() -- until it listens, nobody hears
      good("send", "ann", "log", "'hear me'")
      return c.node.result
    end, "the line")
    assert.matches("warn.*hear me", c.node.out)
    c = client.start {command = {"deadletters", "--limit", "1"}, run_dir = dir}
    c:until_true(function()
      good("send", "ann", "nothing_of_that_name")
      return c.node.result
    end, "the letter")
    assert.matches("nothing_of_that_name", c.node.out)
  end)
end)
