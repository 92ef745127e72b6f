--- core/ops/relay.c, away.c: a node's console reaches the other nodes; core/ops/concert.c: reload on all of them.
local cluster = require "spec.support.cluster"
local console = require "spec.support.console"

local COUNTER <const> = [[
  function Me:start() throng.register "counter" self.n = 0 throng.spawn_with({name = "pet", wait = 10000}, "pet") end
  function Me:on_add(n) self.n = self.n + n return self.n end
  function Me:on_spin() while true do end end
]]
local PET <const> = "function Me:on_size() return %s end"

local function pets(size) return {pet = PET:format(size)} end

local function write(n, name, text)
  local file <close> = assert(io.open(n.dir .. "/" .. name, "w"))
  file:write(text)
end

--- As scenario.lua writes them: the module's text with what stands around it.
local function change(n, size)
  local file <close> = assert(io.open(n.dir .. "/pet.lua"))
  write(n, "pet.lua", (file:read("a"):gsub("return [^\n]- end\n", "return " .. size .. " end\n")))
end

describe("a console", function()
  local a, b, c

  setup(function()
    a = cluster.listen("a", COUNTER, nil, pets(1))
    b = cluster.join(a, "b", "function Me:on_ready() Me.start(self) print 'ready' end" .. COUNTER, nil, pets(1))
    b:read_until "ready"
    c = cluster.console(a)
  end)
  teardown(function()
    a:signal "TERM"
    b:signal "TERM"
    a:wait()
    b:wait()
  end)

  it("takes actors of another node, by name and by pid, and writes their pids so", function()
    assert.equal("3", c:ask("ask", {pid = "counter@b", name = "add", args = "3"}).text)
    local info = c:ask("info", {pid = "counter@b"})
    assert.equal("<0.1@b>", info.pid)
    assert.equal("{n = 3, ready = true}", c:ask("state", {pid = "<0.1@b>"}).text)
    assert.equal("{n = 0}", c:ask("state", {pid = "counter@a"}).text)
    assert.same({old = "3", new = "7"}, c:ask("set", {pid = "0.1@b", path = "n", value = "self.n + 4"}))
    local seen = c:ask("eval", {pid = "counter@b", code = "self.n, throng.self(), pid 'counter@b', pid '<0.1@a>'"})
    assert.same({7, "<0.1@b>", "<0.1@b>", "<0.1>"}, seen.json)
    assert.is_true(c:ask("send", {pid = "counter@b", name = "add", args = "1"}))
    assert.matches("is idle", c:ask("why", {pid = "counter@b"})["end"])
    assert.equal(0, c:ask("inbox", {pid = "counter@b"}).depth)
    b:read_until "console: uid %d+ at a: set "
  end)

  it("sends any request to another node, where it has a shell of its own", function()
    local other = cluster.console(a)
    local function on(node, op, args)
      local frame, pieces = other:finish(other:begin(op, args, node))
      return frame.value, pieces, frame.error
    end
    assert.is_nil(on("b", "eval", {code = "x = 5"}).json[1])
    assert.same({5, "b"}, on("b", "eval", {code = "x, throng.node()"}).json)
    assert.equal(console.null, on("a", "eval", {code = "x"}).json[1])
    local _, rows = on("b", "ps", {pattern = "pet"})
    assert.same({"pet"}, console.sorted(rows, "name"))
    assert.matches("@b>$", rows[1].pid)
    assert.equal("no_node", select(3, on("x", "ps")).code)
    assert.equal("bad_request", select(3, on("b", "ps", {nope = 1})).code)
    assert.equal("bad_request", select(3, on("*", "kill", {pid = "pet"})).code)
    local value, pieces = on("*", "eval", {code = "print(throng.node()) return x"})
    assert.same({"a\n", "b\n"}, console.sorted(pieces, "out"))
    assert.same({"a", "b"}, console.sorted(value.nodes, "on"))
    other:close()
  end)

  it("asks all nodes at once, and each row says whose it is", function()
    local frame, rows = c:finish(c:begin("ps", {pattern = "pet"}, "*"))
    assert.same({"a", "b"}, console.sorted(rows, "on"))
    assert.same({"a", "b"}, console.sorted(frame.value.nodes, "on"))
    for _, of in ipairs(frame.value.nodes) do assert.same({count = 1, shown = 1}, of.value) end
  end)

  it("follows what happens there, until it is cancelled", function()
    local id = c:begin("trace", {pid = "counter@b"})
    assert.is_true(c:ask("send", {pid = "counter@b", name = "add", args = "1"}))
    local event = c:frame().more
    assert.same({"in", "add", "<0.1@b>"}, {event.way, event.name, event.pid})
    c:begin("cancel", {id = id})
    assert.equal("cancelled", c:finish(id).error.code)
    assert.equal("no_actor", c:fails("trace", {pid = "nobody@b"}).code)
    assert.equal("no_actor", c:fails("trace", {pid = "counter@nowhere"}).code)
  end)

  it("hands a long answer on no faster than it is read, and whole", function()
    local line = ("x"):rep(1000)
    local id = c:begin("eval", {pid = "counter@b", output = 3 << 20, time = 20000,
      code = ("for i = 1, 2000 do print(i, '%s') end"):format(line)})
    local frame, pieces = c:finish(id)
    local size = 0
    for _, piece in ipairs(pieces) do size = size + #piece.out end
    assert.same({nil, 2000 * 1002 + 9 + 2 * 90 + 3 * 900 + 4 * 1001}, {frame.error, size})
    id = c:begin("eval", {pid = "counter@b", code = ("-- %s"):format(("y"):rep(1024 * 1024 - 200))})
    assert.matches("too large for another node", c:finish(id).error.message)
  end)

  it("completes names of nodes", function()
    assert.same({from = 3, words = {"counter@a", "counter@b"}, cut = false},
                c:ask("complete", {line = "at counter@"}))
    assert.same({from = 3, words = {"@a", "@b"}, cut = false}, c:ask("complete", {line = "at @"}))
    assert.same({from = 8, words = {"a", "b"}, cut = false}, c:ask("complete", {line = "ps --on "}))
  end)

  it("rolls a version over all nodes, and back", function()
    change(a, 2)
    local report = assert(c:finish(c:begin("reload", nil, "*")).value)
    assert.same({true, 2, {"a", "b"}}, {report.ok, report.actors, console.sorted(report.nodes, "on")})
    assert.matches("^pet %x+ %-> %x+: 2 actors on 2 nodes took it in", report.text)
    assert.equal(report.nodes[1].behaviours[1].to, report.nodes[2].behaviours[1].to)
    assert.equal("2", c:ask("ask", {pid = "pet@b", name = "size"}).text)
    assert.equal(2, c:finish(c:begin("rollback", {module = "pet"}, "*")).value.actors)
    assert.equal("1", c:ask("ask", {pid = "pet@b", name = "size"}).text)
  end)

  it("rolls versions over all nodes for scripts", function()
    local function script(code) return c:ask("eval", {time = 20000, depth = 6, code = code}).json[1] end
    change(a, 3)
    local report = script "throng.reload('pet', {all = true})"
    assert.same({true, 2, {"a", "b"}}, {report.ok, report.actors, console.sorted(report.nodes, "on")})
    assert.equal("3", c:ask("ask", {pid = "pet@b", name = "size"}).text)
    change(a, "= 3")
    report = script "throng.reload(nil, {all = true, within = 20000})"
    assert.same({false, "compile", "a", 1}, {report.ok, report.stage, report.on, report.line})
    assert.is_true(script "throng.rollback('pet', {all = true})".ok)
    assert.matches("must be a boolean", c:fails("eval", {code = "throng.reload(nil, {all = 1})"}).message)
    change(a, 4)
    local both = script [[(function()
      local codes = {}
      for i = 1, 2 do
        throng.fork(function()
          local good, e = pcall(throng.reload, nil, {all = true})
          codes[i] = good and tostring(e.ok) or e.code
        end)
      end
      while not (codes[1] and codes[2]) do throng.sleep(1) end
      return codes[1] .. " " .. codes[2]
    end)()]]
    assert.equal("true busy", both)
  end)
end)
