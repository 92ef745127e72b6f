--- `throng repl` on a terminal and from a pipe, beside a node that is played. What is compared is what the terminal
--- shows, not which bytes brought it there.
local client = require "spec.support.client"
local fake_node = require "spec.support.fake_node"
local process = require "door.process"

local UP <const>, LEFT <const>, HOME <const> = "\27[A", "\27[D", "\1"
local CTRL_C <const>, CTRL_D <const>, CTRL_K <const>, CTRL_U <const> = "\3", "\4", "\11", "\21"

--- Echoes Lua, completes words of its own, follows a log until it is cancelled.
local function ops()
  return {
    eval = function(peer, id, args)
      if args.code:find "^loop" then return end
      if args.code:find "^error" then
        return peer:error(id, {code = "error", message = "shell:1: oops", traceback = "stack traceback:\n\tshell:1"})
      end
      if args.code:find "^print" then peer:more(id, {out = "printed\n"}) end
      peer:value(id, {text = args.code:gsub("\n", " "), json = {}, count = args.code:find "^print" and 0 or 1})
    end,
    complete = function(peer, id, args, fake)
      if fake.mute then return end
      local from = args.line:sub(1, args.at):match("()[%w_]*$") - 1
      peer:value(id, {from = from, words = fake.words or {"hunger", "hungry"}})
    end,
    info = function(peer, id, args)
      if args.pid ~= "bob" then return peer:error(id, {code = "no_actor", message = "no actor is named 'x'"}) end
      peer:value(id, {pid = "<7.1>", name = "bob"})
    end,
    log = function(peer, id, _, fake) fake.log = {peer, id} end,
    ps = function(peer, id) peer:value(id, {count = 0, shown = 0}) end,
  }
end

describe("the REPL", function()
  local dir, fake, c

  local function start(o)
    o = o or {}
    o.command, o.run_dir, o.fakes = {"repl", "world"}, dir, {fake}
    if o.pty == nil then o.pty = true end
    c = client.start(o)
    if o.pty then c:last_line "world>" end
    return c
  end

  --- Types a line and waits until the prompt is back.
  local function enter(text, prompt)
    c:type(text .. "\r")
    c:prompt_again(prompt or "world>")
  end

  before_each(function()
    dir = process.mkdtemp()
    fake = fake_node.start(dir, "world", ops())
  end)
  after_each(function()
    fake:stop()
    process.remove_all(dir)
  end)

  local function history()
    local file <close> = assert(io.open(dir .. "/.local/state/throng/history"))
    return file:read "a"
  end

  it("edits lines, shows values, and leaves at Ctrl-D", function()
    start()
    c:type "+ 12"
    c:last_line "world> + 12"
    c:type(HOME .. "1 ")
    c:last_line "world> 1 + 12"
    c:type(LEFT .. CTRL_K)
    c:last_line "world> 1"
    c:type(CTRL_U)
    c:last_line "world>"
    enter "1 + äö"
    assert.same({"world> 1 + äö", "1 + äö", "world>"}, c:tail(3))
    enter "print(1)"
    assert.same({"world> print(1)", "printed", "world>"}, c:tail(3))
    enter "error 'x'"
    assert.same({"world> error 'x'", "shell:1: oops", "stack traceback:", "        shell:1", "world>"}, c:tail(5))
    enter "ps"
    assert.same({"world> ps", "0 actors", "world>"}, c:tail(3))
    enter "fly it"
    assert.equal("fly it", fake:last "eval".args.code)
    enter " ps"
    assert.equal(" ps", fake:last "eval".args.code)
    enter "=ps, 1"
    assert.equal("return ps, 1", fake:last "eval".args.code)
    enter "info"
    assert.matches("^info: which PID%?", c:tail(2)[1])
    c:type(CTRL_D)
    assert.equal(0, c:wait().code)
  end)

  it("goes on with an unfinished chunk, keeps it as one entry of the history, and its file to its owner", function()
    start()
    enter("if x then", ".....>")
    c:type "\t"
    c:last_line ".....>"
    c:type(CTRL_U)
    enter("y = [[a\\", ".....>")
    enter("b]]", ".....>")
    enter "end"
    assert.equal("if x then\ny = [[a\\\nb]]\nend", fake:last "eval".args.code)
    c:type(UP)
    c:shows(function(lines) return lines[#lines] == "end" end, "the chunk again")
    enter ""
    assert.equal(2, #fake.requests)
    assert.equal("if x then\ny = [[a\\\nb]]\nend", fake.requests[2].args.code)
    enter("f(", ".....>")
    c:type(CTRL_C)
    c:last_line "world>"
    enter "2"
    assert.equal("2", fake:last "eval".args.code)
    c:type(CTRL_D)
    c:wait()
    assert.equal("if x then\\ny = [[a\\\\\\nb]]\\nend\n2\n", history())
    local pipe <close> = assert(io.popen(("stat -c %%a %s/.local/state/throng %s/.local/state/throng/history"):format(dir, dir)))
    assert.equal("700\n600\n", pipe:read "a")
    start() -- another client has it, too
    c:type(UP .. UP)
    c:shows(function(lines) return lines[#lines] == "end" end, "the chunk again")
    c:type(CTRL_C .. CTRL_D)
    assert.equal(0, c:wait().code)
  end)

  it("completes what the node knows and its own commands, and lists what is ambiguous", function()
    start()
    c:type "self.hu\t"
    c:last_line "world> self.hung"
    c:type "\t"
    c:shows(function(lines) return lines[#lines - 1] == "hunger  hungry" and lines[#lines] == "world> self.hung" end, "the list")
    c:type "e\t"
    c:last_line "world> self.hunger"
    c:type(CTRL_U .. "mem\t")
    c:last_line "world> memory"
    c:type(CTRL_U .. "x = (hu" .. LEFT .. LEFT .. "\t") -- the cursor stands before "hu": all words go in there
    c:until_true(function() return fake:last "complete".args.at == 5 end, "the request")
    fake.words = {"bad\27[2J", "hungarian"}
    c:type(CTRL_U .. "hu\t")
    c:last_line "world> hungarian"
    fake.mute = true -- an answer that does not come holds nobody up
    c:type(CTRL_U .. "hu\tx")
    c:last_line "world> hux"
    fake:stop()
    c:last_line "world (away)> hux"
    c:type(CTRL_U .. "memo\t")
    c:last_line "world (away)> memory"
    c:type(CTRL_U .. CTRL_D)
    assert.equal(0, c:wait().code)
  end)

  it("stops what runs at Ctrl-C and stays; clears a half-typed line", function()
    start()
    c:type "abc"
    c:last_line "world> abc"
    c:type(CTRL_C)
    c:shows(function(lines) return lines[#lines] == "world>" and lines[#lines - 1] == "world> abc^C" end, "a new line")
    c:type "loop\r"
    c:until_true(function() return fake:last "eval" end, "the eval")
    c:type(CTRL_C)
    c:prompt_again "world>"
    assert.matches("cancelled: interrupted$", c:tail(2)[1])
    assert.equal(fake:last "eval".id, fake:last "cancel".args.id)
    enter "1"
    assert.equal("1", c:tail(2)[1])
    c:type(CTRL_D)
    assert.equal(0, c:wait().code)
  end)

  it("stops a long output at Ctrl-C, whoever writes it", function()
    local going
    fake.ops.eval = function(peer, id)
      if going == false then return peer:value(id, {text = "fine", count = 1}) end
      going = function() for _ = 1, 100 do peer:more(id, {out = ("x"):rep(70) .. "\n"}) end end
    end
    fake.ops.cancel = function(peer, id, args)
      going = false
      peer:error(args.id, {code = "cancelled", message = "eval was cancelled"})
      peer:value(id, true)
    end
    start()
    c:type "flood()\r"
    local seen
    c:until_true(function()
      if going and #fake.peers[1].out < 50000 then going() end
      if not seen and #c.node.out > 20000 then
        seen = true
        c:type(CTRL_C)
      end
      return going == false and c.node.out:find("cancelled: interrupted\r\nworld> ", 1, true)
    end, "the prompt")
    c:shows(function(lines) return lines[#lines] == "world>" end, "the prompt")
    c.row = nil
    c:type "1\r"
    c:shows(function(lines) return lines[#lines - 1] == "fine" end, "the next value")
    c:type(CTRL_D)
    assert.equal(0, c:wait().code)
  end)

  it("obeys ~/.editrc, and works on a terminal that can do nothing", function()
    local file <close> = assert(io.open(dir .. "/.editrc", "w"))
    file:write("bind -v\n")
    file:close()
    start()
    c:type "abc\27hx"
    c:last_line "world> ac"
    c:type "A\tx\r"
    c:until_true(function() return fake:last "eval" end, "the eval")
    assert.equal("acx", fake:last "eval".args.code)
    c:last_line "world>"
    c:type(CTRL_D)
    assert.equal(0, c:wait().code)
    os.remove(dir .. "/.editrc")
    start {env = {TERM = "dumb", NO_COLOR = ""}}
    c:type "1\r"
    c:expect "1.*\n1\r?\n.*world> "
    assert.is_nil(c.node.out:find "\27")
    c:type(CTRL_D)
    assert.equal(0, c:wait().code)
  end)

  it("lets what goes on behind print above the line one types", function()
    start()
    enter "log info &"
    c:type("some long text that is wider than the terminal is, so that it takes two rows of it all in all" .. LEFT .. LEFT)
    c:shows(function(lines) return lines[#lines] == "ows of it all in all" end, "the text")
    fake.log[1]:more(fake.log[2], {at = 0, level = "info", actor = "bob", text = "hello\27[2J"})
    c:shows(function(lines)
      return lines[#lines] == "ows of it all in all" and lines[#lines - 2]:find("info  bob hello\\x1B[2J", 1, true)
    end, "the line below the log's")
    c:type "X"
    c:last_line "ows of it all in aXll"
    c:type(CTRL_U)
    c:last_line "world>"
    enter "jobs"
    assert.equal("[1] log info", c:tail(2)[1])
    enter "cancel 1"
    c:shows(function(lines) return lines[#lines - 1] == "[1] log ended" end, "the end")
    assert.equal(fake.log[2], fake:last "cancel".args.id)
    c:type(CTRL_D)
    assert.equal(0, c:wait().code)
  end)

  it("goes into an actor and out again", function()
    start()
    enter("at bob", "world:bob>")
    enter("self", "world:bob>")
    assert.equal("<7.1>", fake:last "eval".args.pid)
    enter("at nobody", "world:bob>")
    enter("at", "world>")
    enter "self"
    assert.is_nil(fake:last "eval".args.pid)
    enter "help at"
    assert.matches("^at alone leaves", c:tail(2)[1])
    enter "help nothing"
    assert.matches("^no command is called 'nothing'", c:tail(2)[1])
    enter "at = 3"
    assert.equal("at = 3", fake:last "eval".args.code)
    c:type "exit\r"
    assert.equal(0, c:wait().code)
  end)

  it("says when the node goes, and takes it up again when it is back", function()
    start()
    enter("at bob", "world:bob>")
    c:type "half"
    c:last_line "world:bob> half"
    fake:stop()
    c:last_line "world (away)> half"
    assert.matches("^node 'world' went away %(closed%); waiting for it", c:tail(2)[1])
    c:type "\r"
    c:last_line "world (away)>"
    assert.equal("node 'world' is away", c:tail(2)[1])
    c:type "typed"
    c:last_line "world (away)> typed"
    fake = fake_node.start(dir, "world", ops())
    c.fakes[1] = fake
    c:last_line "world> typed"
    assert.matches("^node 'world' is back %(os pid 42%); the session's variables", c:tail(2)[1])
    enter ""
    assert.equal("typed", fake:last "eval".args.code)
    assert.is_nil(fake:last "eval".args.pid)
    c:type "loop\r"
    c:until_true(function() return fake:last "eval".args.code == "loop" end, "the eval")
    fake:stop(true)
    c:last_line "world (away)>"
    c:type(CTRL_D)
    assert.equal(0, c:wait().code)
  end)

  it("redraws when the terminal changes, and comes back from Ctrl-Z with its line", function()
    start()
    c:type "half"
    c:last_line "world> half"
    c.size.columns = 40
    c.node.child:resize(40, 24)
    c:type " done"
    c:last_line "world> half done"
    c:type "\26"
    c:until_true(function()
      local file <close> = assert(io.open(("/proc/%d/stat"):format(c.node:pid())))
      return file:read "a":match "%) (%u)" == "T"
    end, "a stop")
    c.node:signal "CONT"
    c:shows(function(lines) return lines[#lines] == "world> half done" and lines[#lines - 1] == "world> half done" end, "it again")
    c.node:signal "TERM"
    assert.equal(143, c:wait().code)
  end)

  it("has colours on a terminal, if they are wanted", function()
    start {env = {NO_COLOR = ""}}
    assert.matches("\27%[36mworld>\27%[0m ", c.node.out)
    enter "{x = 'a', 1, nil, <1.1>}"
    assert.truthy(c.node.out:find("{x = \27[32m'a'\27[0m, \27[36m1\27[0m, \27[35mnil\27[0m, \27[33m<1.1>\27[0m}", 1, true))
    c:type(CTRL_D)
    c:wait()
    start()
    enter "error ''"
    assert.is_nil(c.node.out:find "\27%[%d+m")
    c:type(CTRL_D)
    c:wait()
  end)

  it("shows top in place, sorts it by keys, and leaves no trace of it", function()
    local tops = 0
    fake.ops.top = function(peer, id, args)
      tops = tops + 1
      peer:more(id, {node = {name = "world"}, rows = {{pid = "<1.1>", name = args.sort .. tops}}})
    end
    start()
    c:type "top\r"
    c:shows(function(lines) return table.concat(lines, "|"):find "messages1" end, "a block")
    c:type "r"
    c:shows(function(lines) return table.concat(lines, "|"):find "memory2" end, "another order")
    c:type "q"
    c:until_true(function() return c.node.out:find("\27%[%?1049l.*world> ") end, "the prompt")
    assert.equal(2, tops)
    enter "1"
    c:type(CTRL_D)
    assert.equal(0, c:wait().code)
  end)

  it("from a pipe has no prompt and no colours, runs chunk by chunk, and fails if one failed", function()
    local function run(text)
      return client.run {command = {"repl", "world"}, run_dir = dir, fakes = {fake}, stdin = text, env = {NO_COLOR = ""}}
    end
    local r = run "1\r\nps\nif x then\n\ny()\nend\nprint(1)"
    assert.equal(0, r.code, r.err)
    assert.equal("1\n0 actors\nif x then  y() end\nprinted\n", r.out)
    assert.equal("", r.err)
    r = run "1\nerror 'x'\nat nobody\n2\n"
    assert.equal(1, r.code)
    assert.equal("1\n", r.out) -- what follows was meant for that actor
    assert.equal("shell:1: oops\nstack traceback:\n\tshell:1\nno_actor: no actor is named 'x'\n", r.err)
    fake.ops.eval = function(peer, id) peer:error(id, {code = "syntax", message = "'end' expected", incomplete = true}) end
    r = run "if x then"
    assert.equal("syntax: 'end' expected\n", r.err)
    assert.equal(1, r.code)
    r = run "exit\n1\n"
    assert.equal(0, r.code)
    fake.ops.eval = function(peer) peer.hang_up = true end
    r = run "1\n2\n"
    assert.equal(1, r.code)
    assert.matches("node 'world' went away", r.err)
  end)
end)
