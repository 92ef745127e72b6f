--- core/ops/console.c: the door itself. What ops do is in the other files of this folder.
local node = require "spec.support.node"
local console = require "spec.support.console"
local unix = require "door.unix"
local cjson = require "cjson"

local ROOT <const> = [[
local throng = require "throng"
local Root = {}
function Root:init()
  throng.register "root"
  print "up"
end
function Root:on_spin() while true do end end
return Root]]

local function output(line)
  local pipe <close> = assert(io.popen(line))
  return (pipe:read("a"):gsub("%s+$", ""))
end

local function start(o)
  o = o or {}
  o.script = o.script or ROOT
  local n = node.start(o)
  n:read_until "up\n"
  return n
end

describe("the console", function()
  local n, c

  setup(function() n = start {options = {"--workers", "2", "--name", "door", "--set", "console.clients=20"}} end)
  teardown(function()
    n:signal "INT"
    n:wait()
  end)
  before_each(function() c = console.connect(n, "door") end)
  after_each(function() c:close() end)

  local function lives()
    local other <const> = console.connect(n, "door")
    assert.equal("door", other:ask("node").name)
    other:close()
  end

  it("is a socket for its owner alone, in a directory for its owner alone, and says who it is", function()
    assert.equal("700 600", output(("stat -c %%a %s/run %s/run/door.sock"):format(n.dir, n.dir)):gsub("\n", " "))
    assert.equal("door", c.greeting.node)
    assert.equal(1, c.greeting.protocol)
    assert.equal(n:pid(), c.greeting.os_pid)
  end)

  it("answers several requests that come at once, and half lines when they are whole", function()
    c:send '{"id":1,"op":"node"}\n{"id":2,"op":"names"}\r\n\n{"id":3,"op":"mem'
    local seen = {}
    while not (seen[1] and seen[2]) do
      local f = c:frame()
      if not f.more then seen[f.id] = f end
    end
    c:send 'ory"}\n'
    assert.equal(3, c:frame().id)
  end)

  it("tells what is wrong with a request, and goes on", function()
    local function refused(line, id, words)
      c:send(line .. "\n")
      local f = c:frame()
      assert.equal("bad_request", f.error.code, line)
      assert.equal(id or cjson.null, f.id, line)
      assert.truthy(f.error.message:find(words, 1, true), f.error.message)
    end
    refused('{}', nil, "wants an id")
    refused('{"id":"x","op":"node"}', nil, "wants an id")
    refused('{"id":1.5,"op":"node"}', nil, "wants an id")
    refused('{"id":1}', 1, "wants an op")
    refused('{"id":1,"op":7}', 1, "wants an op")
    refused('{"id":1,"op":"nose"}', 1, "no op 'nose'")
    refused('{"id":1,"op":"ps","args":[1]}', 1, "args must be an object")
    refused('{"id":1,"op":"ps","args":{"limits":1}}', 1, "no argument 'limits' (there are: pattern, sort, limit)")
    refused('{"id":1,"op":"ps","args":{"limit":"1"}}', 1, "limit must be a whole number")
    refused('{"id":1,"op":"ps","args":{"limit":-1}}', 1, "limit must be a whole number")
    refused('{"id":1,"op":"ps","args":{"limit":1.5}}', 1, "limit must be a whole number")
    refused('{"id":1,"op":"ps","args":{"sort":"nose"}}', 1, "sort is one of")
    refused('{"id":1,"op":"kill"}', 1, "pid is missing")
    refused('{"id":1,"op":"kill","args":{"pid":null}}', 1, "pid is missing")
    refused('{"id":1,"op":"kill","args":{"pid":1}}', 1, "pid must be a string")
    assert.equal("door", c:ask("node").name)
  end)

  it("says what is no request at all, and closes", function()
    for line, words in pairs {
      ["hello"] = "no JSON", ["[1,2]"] = "another kind", ["7"] = "another kind", ['{"id":1'] = "without its end",
      ['{"id":1,"op":"node"} x'] = "behind", ['{"id":1,"op":"\\ud800"}'] = "surrogate", ['{"id":01}'] = "no JSON",
      ["{'id':1}"] = "key", ['{"id":1,"a":"\1"}'] = "control", ['{"id":1,"a":"\xff"}'] = "UTF-8",
      [("["):rep(100)] = "too deep", [("[" .. ("1,"):rep(30000)) .. "1]"] = "too many",
      ['{"id":1e999}'] = "too large", ['{"a":"\\x"}'] = "escape", ["\0"] = "no JSON",
    } do
      local other <const> = console.connect(n, "door")
      other:send(line .. "\n")
      local f = other:frame()
      assert.equal("bad_request", f.error.code)
      assert.truthy(f.error.message:find(words, 1, true), words .. ": " .. f.error.message)
      assert.same({nil, "end"}, {other:frame()})
      other:close()
    end
    lives()
  end)

  it("closes on a line that has no end", function()
    c:send(('{"id":1,"op":"%s'):format(("x"):rep(2 << 20)))
    local f = c:frame()
    assert.equal("bad_request", f.error.code)
    assert.truthy(f.error.message:find("more than 1048576 bytes", 1, true))
    local line, why = c.socket:line(10000)
    assert.is_nil(line)
    assert.equal("end", why)
    lives()
  end)

  it("takes names and bytes of all kinds", function()
    local e = c:fails("kill", {pid = "\u{1F600}\\\"\n"})
    assert.equal("no_actor", e.code)
    assert.truthy(e.message:find("\u{1F600}\\\"\n", 1, true))
    c:send '{"id":90,"op":"kill","args":{"pid":"a\\udcff\\ud83d\\ude00"}}\n'
    local line = c.socket:line(10000)
    assert.truthy(line:find("a\\udcff\u{1F600}", 1, true), line)
  end)

  it("does not mind clients that go in the middle", function()
    for _, bytes in ipairs {"", '{"id":1', '{"id":1,"op":"ps"}\n', ('{"id":1,"op":"node"}\n'):rep(50)} do
      local other = console.connect(n, "door")
      other:send(bytes)
      other:close()
    end
    lives()
  end)

  it("answers who closed the sending side, and then closes", function()
    c:send '{"id":1,"op":"node"}\n'
    c.socket:shut()
    assert.equal(1, c:frame().id)
    assert.same({nil, "end"}, {c:frame()})
  end)

  it("drops who never reads, with a line in the log", function()
    local request <const> = ('{"id":1,"op":"node"}\n'):rep(1000)
    local sent
    repeat
      sent = c.socket:send(request, math.ceil(5000 * node.slow))
    until sent < #request
    n:read_until "console: a client of uid %d+ is dropped: it does not read what it asked for"
    lives()
  end)

  it("takes so many clients, and tells others so", function()
    local all, refused = {}, nil
    for _ = 1, 40 do
      local other <const> = assert(unix.connect(console.path(n, "door")))
      all[#all + 1] = other
      local line = other:line(math.ceil(10000 * node.slow))
      if line:find '"error"' then refused = line break end
    end
    assert.truthy(refused:find("20 clients are attached, which is the limit %(console.clients%)"), refused)
    assert.equal(20, #all) -- and `c`
    for _, other in ipairs(all) do other:close() end
    local again
    repeat -- the node hears of the closing in its own time
      again = assert(unix.connect(console.path(n, "door")))
      local line = again:line(math.ceil(10000 * node.slow))
      again:close()
    until line:find '"protocol"'
  end)

  it("takes so many requests of one client", function()
    c:send '{"id":1,"op":"cancel","args":{"id":9}}\n{"id":2,"op":"cancel"}\n{"id":3,"op":"cancel","args":{"id":"x"}}\n'
    assert.is_false(c:frame().value)
    assert.equal("bad_request", c:frame().error.code)
    assert.is_false(c:frame().value)
  end)

  it("logs who changes what", function()
    c:fails("kill", {pid = "nobody"})
    n:read_until('info  console: uid ' .. output "id -u" .. ': kill {"pid":"nobody"}')
  end)
end)

describe("a console's socket", function()
  it("is not taken from a living node; a stale one is; and it goes with its node", function()
    local first = start {}
    local env = {THRONG_RUN_DIR = first.dir .. "/run"}
    local second = start {env = env}
    local path = second:read_until "another node named throng is running; this one's socket is (%S+)"
    assert.equal(("%s/run/throng-%d.sock"):format(first.dir, second:pid()), path)
    assert.equal(first:pid(), console.connect(first).greeting.os_pid)
    assert.equal(second:pid(), console.connect(path).greeting.os_pid)
    second:signal "TERM"
    second:wait()
    assert.is_nil(unix.connect(path))
    assert.equal("throng.sock", output("ls " .. first.dir .. "/run"))
    first:kill() -- leaves its socket
    assert.equal("throng.sock", output("ls " .. first.dir .. "/run"))
    local third = start {env = env}
    assert.equal(third:pid(), console.connect(first).greeting.os_pid)
    assert.falsy(third.err:find "console")
    third:signal "INT"
    third:wait()
    assert.equal("", output("ls " .. first.dir .. "/run"))
  end)

  it("is where --console says, or nowhere; who can't have it says so and does not run", function()
    local at = start {options = {"--console", "here.sock"}}
    assert.equal("throng", console.connect(at.dir .. "/here.sock").greeting.node)
    assert.equal("", output(("ls %s/run 2>/dev/null"):format(at.dir)))
    local r = node.run {script = ROOT, options = {"--console", at.dir .. "/here.sock"}}
    assert.equal(1, r.code)
    assert.truthy(r.err:find("here.sock: another node listens there", 1, true), r.err)
    at:signal "INT"
    at:wait()
    local off = start {options = {"--console=off"}}
    assert.equal("", output(("ls %s/run 2>/dev/null"):format(off.dir)))
    off:signal "INT"
    off:wait()
    r = node.run {script = ROOT, options = {"--console", "no/such/dir.sock"}}
    assert.equal(1, r.code)
    assert.truthy(r.err:find("no console at no/such/dir.sock: no such file or directory", 1, true), r.err)
    r = node.run {script = ROOT, options = {"--console", "main.lua"}}
    assert.truthy(r.err:find("a file that is no socket", 1, true), r.err)
  end)

  it("is done without, with a warning, when the run directory is not to be had", function()
    local n = start {env = {THRONG_RUN_DIR = "/no/such/place"}}
    n:read_until "warn  console: the run directory /no/such/place can't be made"
    n:signal "INT"
    n:wait()
  end)

  it("ends for its clients when the node ends", function()
    local n = start {}
    local c = console.connect(n)
    n:signal "INT"
    assert.same({nil, "end"}, {c:frame()})
    n:wait()
  end)
end)
