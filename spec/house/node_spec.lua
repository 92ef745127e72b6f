local node = require "spec.support.node"
local process = require "door.process"

--- A shell stands in for the program: what is tested here is who watches it.
local function shell(script, more)
  local o = {program = "/bin/sh", command = {"-c", script}}
  for key, value in pairs(more or {}) do o[key] = value end
  return o
end

describe("the specs' hold on the program", function()
  it("returns exit code, both streams and their lines", function()
    local r = node.run(shell "echo one; echo oops >&2; printf two; exit 3")
    assert.are.equal(3, r.code)
    assert.is_nil(r.signal)
    assert.are.equal("one\ntwo", r.out)
    assert.are.equal("oops\n", r.err)
    assert.are.same({"one", "two"}, r.lines)
    assert.is_nil(r.json)
  end)

  it("keeps empty lines where they are", function()
    assert.are.same({"", "one", "", "two", ""}, node.run(shell [[printf '\none\n\ntwo\n\n']]).lines)
    assert.are.same({}, node.run(shell "true").lines)
  end)

  it("returns the signal that ended it", function()
    local r = node.run(shell "kill -TERM $$")
    assert.is_nil(r.code)
    assert.are.equal(15, r.signal)
  end)

  it("decodes the last line if it is JSON", function()
    assert.are.equal(15, node.run(shell [[echo '{"a":1}'; echo '{"sum":15}']]).json.sum)
    assert.is_nil(node.run(shell [[echo '{"sum":']]).json)
  end)

  it("takes two large streams at once without a deadlock", function()
    local r = node.run(shell "head -c 3000000 /dev/zero | tee /dev/stderr")
    assert.are.equal(3000000, #r.out)
    assert.are.equal(3000000, #r.err)
  end)

  it("writes files, also in folders, and runs beside them", function()
    local r = node.run(shell("cat a.lua lib/deep/b.lua main.lua", {
      files = {["a.lua"] = "A", ["lib/deep/b.lua"] = "B"}, script = "C"}))
    assert.are.equal("ABC", r.out)
  end)

  it("calls `run` with options before the file and arguments after it", function()
    local r = node.run {program = "/bin/echo", options = {"--workers", 2}, main = "x.lua", args = {"--ticks", "5"}}
    assert.are.equal("run --workers 2 x.lua --ticks 5\n", r.out)
  end)

  it("feeds standard input, much of it, and ends it", function()
    local text = ("0123456789"):rep(50000)
    assert.are.equal(text, node.run(shell("cat", {stdin = text})).out)
    assert.are.equal("", node.run(shell "cat").out)
  end)

  it("survives a program that does not read its input", function()
    local n = node.start(shell("exec <&-; echo closed; exec sleep 1000", {open_stdin = true}))
    n:read_until("closed")
    n:write("nobody reads this")
    n:kill()
    assert.are.equal(0, node.run(shell("exit 0", {stdin = ("x"):rep(1000000)})).code)
  end)

  it("sets and unsets the environment", function()
    local r = node.run(shell("echo $ONE ${HOME-none} ${PATH:+path}", {env = {ONE = "1", HOME = false}}))
    assert.are.equal("1 none path\n", r.out)
  end)

  it("says so when there is no such program", function()
    local ok, why = pcall(node.run, {program = "/no/such/program", command = {}})
    assert.is_false(ok)
    assert.matches("/no/such/program: No such file or directory", why)
  end)

  it("kills what hangs, and shows what it said", function()
    local n = node.start(shell "echo before; exec sleep 1000")
    n:read_until("before")
    local ok, why = pcall(n.wait, n, 0.01)
    assert.is_false(ok)
    assert.matches("hung: killed", why)
    assert.matches("before", why)
    assert.are.equal(9, n.result.signal)
  end)

  it("ends with the program, though a grandchild holds its streams", function()
    local r = node.run(shell "sleep 1000 & echo $!")
    assert.are.equal(0, r.code)
    os.execute("kill " .. r.lines[1])
  end)

  it("reads live output piece by piece, from both streams", function()
    local script = "echo ready 42; read line; echo got $line >&2; read line; echo end"
    local n = node.start(shell(script, {open_stdin = true}))
    assert.are.equal("42", n:read_until("ready (%d+)\n"))
    n:write("hello\n")
    assert.are.equal("got hello", n:read_until("got %a+"))
    n:end_input()
    n:read_until("end")
    assert.are.equal(0, n:wait().code)
  end)

  it("finds the same text only once", function()
    local n = node.start(shell "echo tick 1; echo tick 2")
    assert.are.equal("1", n:read_until("tick (%d)"))
    assert.are.equal("2", n:read_until("tick (%d)"))
    assert.is_false(pcall(n.read_until, n, "tick (%d)"))
  end)

  it("raises when what it waits for does not come", function()
    local n = node.start(shell "echo only this >&2; exit 4")
    local ok, why = pcall(n.read_until, n, "never", 10)
    assert.is_false(ok)
    assert.matches('it ended without "never"', why)
    assert.matches("exit code 4", why)
    assert.matches("only this", why)
  end)

  it("sends signals", function()
    local n = node.start(shell "trap 'echo caught; exit 5' INT; echo ready; while :; do sleep 0.01; done")
    n:read_until("ready")
    n:signal "INT"
    assert.are.equal(5, n:wait().code)
    assert.matches("caught", n.out)
  end)

  it("takes a sanitizer's report for an error, whatever the exit code", function()
    local ok, why = pcall(node.run, shell "echo '==7==ERROR: AddressSanitizer: heap-use-after-free' >&2; exit 1")
    assert.is_false(ok)
    assert.matches("heap%-use%-after%-free", why)
  end)

  it("sweeps: no process and no folder is left", function()
    local mark = node.mark()
    local n = node.start(shell("echo ready; exec sleep 1000", {files = {["a/b/c"] = "x"}}))
    n:read_until("ready")
    node.sweep(mark, false)
    assert.are.equal(9, n.result.signal)
    assert.is_nil(io.open(n.dir .. "/a/b/c"))
    assert.is_falsy(os.execute("test -e " .. n.dir))
    assert.are.equal(mark, node.mark())
  end)

  it("measures processor time and memory of what it ran", function()
    local r = node.run(shell "i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done")
    assert.is_true(r.cpu_seconds > 0 and r.cpu_seconds <= r.seconds * 2)
    assert.is_true(r.max_rss > 100000)
  end)

  it("has a clock that does not run backwards", function()
    local before = process.now()
    assert.is_true(process.now() >= before)
  end)
end)
