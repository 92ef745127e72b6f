--- TLS between nodes: two ends with the wire between them in the spec's hands; then nodes.
local cluster = require "spec.support.cluster"
local net = require "door.net"
local node = require "spec.support.node"
local process = require "door.process"
local tls = require "door.tls"
require "spec.support.seed"

local home <const> = process.mkdtemp()
local made = setmetatable({}, {__gc = function() process.remove_all(home) end})

local function write(path, text, mode)
  local file <close> = assert(io.open(path, "wb"))
  file:write(text)
  if mode then assert(os.execute(("chmod %s %s"):format(mode, path))) end
end

local function read(path)
  local file <close> = assert(io.open(path, "rb"))
  return file:read "a"
end

--- The files of a set of certificates, made once: paths by name.
local function set(name, days)
  local dir = home .. "/" .. name
  if not made[name] then assert(tls.certs(dir, {"a", "b"}, days or 100)) made[name] = true end
  return setmetatable({}, {__index = function(_, file) return dir .. "/" .. file end})
end

local contexts = {}

local function context(who, files, rekey)
  local key = ("%s %s %s"):format(who, files[""], rekey)
  contexts[key] = contexts[key] or assert(tls.context(files[who .. ".pem"], files[who .. ".key"], files["ca.pem"], who, rekey))
  return contexts[key]
end

--- Both ends of a connection.
local function pair(files_a, files_b, rekey, size)
  return tls.one(context("a", files_a or set "good", rekey), true, size), tls.one(context("b", files_b or set "good"), false, size)
end

--- Hands on what travels, in pieces of `most` bytes, until nothing does; what each end said last of its state.
local function relay(a, b, most)
  local state_a, state_b = a:start(), b:start()
  repeat
    local there, back = a:wire(most), b:wire(most)
    if there ~= "" then state_b = select(2, b:take(there)) end
    if back ~= "" then state_a = select(2, a:take(back)) end
  until there == "" and back == ""
  return state_a, state_b
end

local function joined(...)
  local a, b = pair(...)
  assert.are.same({"ready", "ready"}, {relay(a, b)})
  return a, b
end

describe("two ends of TLS", function()
  it("know each other by their certificates, however what they say is cut", function()
    for _, most in ipairs {1, 7, 100, 100000} do
      local a, b = pair()
      assert.are.same({"ready", "ready"}, {relay(a, b, most)})
      assert.is_true(a:names "b")
      assert.is_true(b:names "a")
      assert.are.same({false, "'b'"}, {a:names "a"})
      assert.are.same({false, "'b'"}, {a:names "B"})
      a:send "there"
      assert.are.same({"there", "ready"}, {b:take(a:wire())})
      b:send "and back"
      assert.are.same({"and back", "ready"}, {a:take(b:wire())})
    end
  end)

  it("carry what does not fit the socket at once, each byte once, in order", function()
    local a, b = joined(nil, nil, nil, 4096)
    local parts = {}
    for i = 1, 12 do parts[i] = (string.char(64 + i)):rep(math.random(1, 60000)) end
    local whole, at, got, waited = table.concat(parts), 1, {}, 0
    local heard = 0
    while heard < #whole do
      local n, why = 0, nil
      if at <= #whole then n, why = a:send(whole:sub(at, at + 131071)) end
      if n then at = at + n else waited = waited + 1 assert.are.equal("EAGAIN", why) end
      local bytes = a:wire(math.random(1, 9000))
      if bytes ~= "" then
        got[#got + 1] = b:take(bytes)
        heard = heard + #got[#got]
      end
    end
    assert.are.equal(whole, table.concat(got))
    assert(waited > 10)
    assert.are.equal("", a:wire())
  end)

  it("renew their keys in time, and go on", function()
    local a, b = joined(nil, nil, 3)
    local sizes = {}
    for i = 1, 9 do
      a:send(tostring(i))
      local bytes = a:wire()
      sizes[i] = #bytes
      assert.are.equal(tostring(i), (b:take(bytes)))
      b:send "x"
      assert.are.equal("x", (a:take(b:wire())))
    end
    local plain <const>, renewed <const> = 5 + 1 + 1 + 16, 2 * 5 + 1 + 1 + 16 + 5 + 1 + 16 -- a record; with a KeyUpdate
    assert.are.same({plain, plain, renewed, plain, plain, renewed, plain, plain, renewed}, sizes)
  end)

  it("say that they end", function()
    local a, b = joined()
    a:send "last"
    a:farewell()
    assert.are.same({"last", "eof"}, {b:take(a:wire())})
    assert.are.same({"", "eof"}, {b:take(a:wire())})
  end)

  it("take nothing that was changed, left out or said twice on its way", function()
    for at = 6, 60, 6 do
      local a, b = joined()
      a:send(("x"):rep(40))
      local bytes = a:wire()
      local other = bytes:sub(1, at - 1) .. string.char(bytes:byte(at) ~ 1) .. bytes:sub(at + 1)
      local said, state = b:take(other)
      assert.are.equal("", said)
      assert.matches("^bytes came that are no TLS of this connection", state)
      assert.are.equal("", (b:take(bytes)))
    end
    local a, b = joined()
    a:send "one"
    a:wire()
    a:send "two"
    assert.matches("^bytes came", select(2, b:take(a:wire())))
    a, b = joined()
    a:send "one"
    local one = a:wire()
    assert.are.equal("one", (b:take(one)))
    assert.matches("^bytes came", select(2, b:take(one)))
  end)

  it("are not ready before all of the handshake came, and end at what is none", function()
    local first, second = pair()
    first:start()
    local hello = first:wire()
    for len = 0, #hello - 1, 31 do
      local _, b = pair()
      assert.are.same({"", ""}, {b:take(hello:sub(1, len))})
      assert.are.equal("", b:wire())
    end
    second:take(hello)
    local answer = second:wire()
    for _ = 1, 20 do
      local a = pair()
      a:start()
      a:wire()
      local at = math.random(6, #answer)
      local said, state = a:take(answer:sub(1, at - 1) .. string.char(answer:byte(at) ~ (1 << math.random(0, 7))) .. answer:sub(at + 1))
      assert.are.equal("", said)
      assert.are_not.equal("ready", state)
    end
    for _, bytes in ipairs {"GET / HTTP/1.0\r\n\r\n", net.hello("throng", "x", "", 0), ("\0"):rep(400), "\x16\3\1\xff\xff" .. ("x"):rep(70000),
                            "\x15\3\3\0\2\2\x28", "\x17\3\3\0\5hello", ("\x16\3\1\0\0"):rep(100)} do
      for _, dialed in ipairs {false, true} do
        local one = tls.one(context("a", set "good"), dialed)
        one:start()
        local said, state = one:take(bytes)
        assert.are.equal("", said)
        assert.are_not.equal("ready", state)
        assert.are_not.equal("", state)
      end
    end
  end)

  it("refuse certificates that are of another authority or no longer good, and say so on both sides", function()
    local state_a, state_b = relay(pair(set "good", set "other"))
    assert.are.equal("refused: its certificate is not signed by our --tls-ca", state_a)
    assert.are.equal("refused by it: our certificate is not signed by its --tls-ca", state_b)
  end)
end)

describe("the files of TLS", function()
  local function complaint(cert, key, ca, name)
    local good, why = tls.context(cert, key, ca, name or "a")
    assert.is_nil(good)
    return why
  end

  local good, other = set "good", set "other"
  local cert, key, ca = good["a.pem"], good["a.key"], good["ca.pem"]

  it("are checked one by one, and what is wrong is told with the file's name", function()
    local function has(text, why) assert(why:find(text, 1, true), why) end
    local odd = home .. "/odd"
    has("--tls-cert /nonexistent: no such file", complaint("/nonexistent", key, ca))
    has("--tls-key /nonexistent: no such file", complaint(cert, "/nonexistent", ca))
    has("--tls-ca /nonexistent: no such file", complaint(cert, key, "/nonexistent"))
    has("--tls-ca " .. home .. ": it is no file", complaint(cert, key, home))
    has("--tls-key " .. cert .. ": others may read this key: chmod 600 it", complaint(cert, cert, ca))
    has("--tls-cert " .. key .. ": there is no certificate in it (PEM)", complaint(key, key, ca))
    write(odd, read(cert), "600")
    has("--tls-key " .. odd .. ": there is no private key in it (PEM)", complaint(cert, odd, ca))
    write(odd, read(cert):sub(1, 300) .. read(cert):sub(304))
    has("--tls-cert " .. odd .. ": there is no certificate in it (PEM)", complaint(odd, key, ca))
    write(odd, read(ca) .. "-----BEGIN CERTIFICATE-----\nnonsense\n")
    has("--tls-ca " .. odd .. ": a certificate in it can't be read or used", complaint(cert, key, odd))
    write(odd, ("x"):rep(2^20 + 1))
    has("--tls-ca " .. odd .. ": it is larger than 1 MB", complaint(cert, key, odd))
    write(odd, "")
    has("--tls-ca " .. odd .. ": there is no certificate in it (PEM)", complaint(cert, key, odd))
    has("--tls-key " .. good["b.key"] .. ": it is not the key of the certificate " .. cert, complaint(cert, good["b.key"], ca))
    has("--tls-cert " .. cert .. ": it is not signed by --tls-ca", complaint(cert, key, other["ca.pem"]))
    has("--tls-cert " .. cert .. ": it is for 'a', and this node's name is 'c' (--name)", complaint(cert, key, ca, "c"))
    has("--tls-cert " .. ca .. ": it may not be used on both sides", complaint(ca, good["ca.key"], ca))
    local old = set("old", -1)
    has("--tls-cert " .. old["a.pem"] .. ": it, or one above it, has expired (", complaint(old["a.pem"], old["a.key"], old["ca.pem"]))
  end)

  it("are read anew when they have changed, and as they were when that is no good", function()
    local dir = home .. "/moving"
    process.mkdir(dir)
    local function lay(from)
      for _, name in ipairs {"a.pem", "a.key", "ca.pem"} do
        write(dir .. "/new", read(from[name]), "600")
        assert(os.rename(dir .. "/new", dir .. "/" .. name))
      end
    end
    lay(good)
    local moving = assert(tls.context(dir .. "/a.pem", dir .. "/a.key", dir .. "/ca.pem", "a"))
    local function meets(files)
      return (relay(tls.one(moving, true), tls.one(context("b", files), false)))
    end
    assert.are.equal("ready", meets(good))
    assert.are.equal("refused: its certificate is not signed by our --tls-ca", meets(other))
    lay(other)
    assert.are.equal("ready", meets(other))
    assert.are.equal("refused: its certificate is not signed by our --tls-ca", meets(good))
    write(dir .. "/a.key", "nonsense")
    assert.are.equal("ready", meets(other))
    os.remove(dir .. "/ca.pem")
    assert.are.equal("ready", meets(other))
    lay(good)
    assert.are.equal("ready", meets(good))
  end)
end)

describe("throng certs", function()
  local function certs(...)
    return node.run {command = {"certs", ...}}
  end

  it("makes what nodes need, adds to it, and overwrites nothing", function()
    local dir = home .. "/made"
    local r = certs(dir, "a", "b-1")
    assert.are.equal(0, r.code, r.err)
    assert.matches("ca.pem .*ca.key  made: good for 10 years", r.lines[1])
    assert.matches("a.pem .*a.key  made: good for 825 days", r.lines[2])
    assert(r.out:find(("  throng run --name b-1 --tls-cert %s/b-1.pem --tls-key %s/b-1.key --tls-ca %s/ca.pem ..."):format(dir, dir, dir), 1, true))
    local before = read(dir .. "/a.pem") .. read(dir .. "/ca.pem")
    r = certs("--days", "30", dir, "c", "a")
    assert.matches("ca.key  there already", r.lines[1])
    assert.matches("c.key  made: good for 30 days", r.lines[2])
    assert.matches("a.key  there already", r.lines[3])
    assert.are.equal(before, read(dir .. "/a.pem") .. read(dir .. "/ca.pem"))
    local modes = node.run {program = "bash", command = {"-c", "stat -c %a " .. dir .. " " .. dir .. "/{a,c,ca}.key"}}
    assert.are.same({"700", "600", "600", "600"}, modes.lines)
    local c = assert(tls.context(dir .. "/c.pem", dir .. "/c.key", dir .. "/ca.pem", "c"))
    local b = assert(tls.context(dir .. "/b-1.pem", dir .. "/b-1.key", dir .. "/ca.pem", "b-1"))
    assert.are.same({"ready", "ready"}, {relay(tls.one(c, true), tls.one(b, false))})
  end)

  it("writes nothing when something is in the way", function()
    local dir = home .. "/stopped"
    assert.are.equal(0, certs(dir, "a").code)
    write(dir .. "/x.pem", "mine")
    local r = certs(dir, "b", "x")
    assert.are.equal(1, r.code)
    assert.matches("^throng: certs: .*/x.pem: it is there, but not .*/x.key", r.err)
    assert.is_nil(io.open(dir .. "/b.pem"))
    write(dir .. "/x.key", "mine", "600")
    assert.matches("x.pem is not overwritten, but is of no use", certs(dir, "b", "x").err)
    assert.are.equal("mine", read(dir .. "/x.pem"))
    write(dir .. "/ca.key", read(dir .. "/a.key"), "600")
    assert.matches("ca.key: it is there, but is not the key of ca.pem", certs(dir, "b").err)
    os.remove(dir .. "/ca.key")
    assert.matches("ca.pem: it is there, but not ", certs(dir, "b").err)
    os.remove(dir .. "/ca.pem")
    assert.matches("a.pem: it is there, but no authority that signed it", certs(dir, "a").err)
    assert.is_nil(io.open(dir .. "/ca.pem"))
    assert.is_nil(io.open(dir .. "/b.pem"))
    assert.matches("certs: /nonexistent/x: no such file", certs("/nonexistent/x", "a").err)
  end)

  it("tells what is wrong with its words", function()
    for pattern, words in pairs {["which DIR"] = {home}, ["node 'a b': 1 to 64"] = {home, "a b"}, ["'x' twice"] = {home, "x", "x"},
                                 ["'ca' would be the authority"] = {home, "ca"}, ["%-%-days '0'"] = {"--days", "0", home, "a"},
                                 ["unknown option '%-%-day'"] = {"--day", home, "a"}, ["'%-%-days' wants a value"] = {"--days"}} do
      local r = certs(table.unpack(words))
      assert.are.equal(2, r.code)
      assert.matches(pattern, r.err)
    end
    assert.matches("usage: throng certs", certs("--help").out)
  end)
end)

describe("nodes with TLS", function()
  local good = set "good"
  local function options(who, files, more)
    local o = {"--tls-cert", files[who .. ".pem"], "--tls-key", files[who .. ".key"], "--tls-ca", files["ca.pem"]}
    for _, word in ipairs(more or {}) do o[#o + 1] = word end
    return o
  end

  local SUM <const> = [[
    function Me:on_add(n, text) self.n = (self.n or 0) + n self.size = (self.size or 0) + #text end
    function Me:on_sum() return self.n, self.size end
  ]]

  it("work as others do, want no secret, and listen wherever they are told to", function()
    local dir = process.mkdtemp()
    local env = {env = {THRONG_RUN_DIR = dir .. "/run"}}
    local a = cluster.listen("a", SUM, options("a", good, {"--listen", "0.0.0.0:0"}), env)
    local port = a.address:match ":(%d+)$"
    local sum = cluster.ask({name = "a", address = "127.0.0.1:" .. port}, "b", [[
      function Me:on_ready(root)
        local text = ("x"):rep(3000)
        for _ = 1, 5000 do while not root:send("add", 1, text) do throng.sleep(1) end end
        root:send("add", 1, ("y"):rep(2000000))
        done {root:ask "sum"}
      end
    ]], options("b", good), env)
    assert.are.same({5001, 17000000}, sum)
    a:read_until "node b is up %(127.0.0.1:%d+, TLS%)"
    a:read_until "node b is down: it ended the connection"
    assert.is_nil(io.open(dir .. "/run/cluster.secret"))
    process.remove_all(dir)
  end)

  it("and nodes without it, or of others, tell each other in clear lines", function()
    local a = cluster.listen("a", "", options("a", good))
    local plain = cluster.listen("p", "")
    local function meets(at, theirs, ours, words, env)
      local n = node.start {script = "return {}", env = {THRONG_RUN_DIR = env or cluster.dir()},
        options = {"--name", "b", "--join", at.address, table.unpack(words)}}
      n:read_until("not joined at " .. at.address:gsub("%p", "%%%0") .. ": " .. theirs)
      at:read_until("a connection from 127.0.0.1:%d+ ended: " .. ours)
      n:kill()
    end
    meets(a, 'refused by it: "we speak TLS, you do not', "refused: it speaks no TLS, and we do", {})
    meets(plain, "refused: it speaks no TLS, and we do", "refused: it speaks TLS, and we do not", options("b", good))
    meets(a, "refused: its certificate is not signed by our %-%-tls%-ca", "refused by it: our certificate is not signed by its",
          options("b", set "other"))
    write(home .. "/secret", ("s"):rep(20), "600")
    meets(a, "refused.*your cluster's secret is not ours", "refused.*your cluster's secret", options("b", good,
          {"--secret", home .. "/secret"}))
    meets(a, "refused.*we are of the cluster", "refused.*we are of the cluster", options("b", good, {"--cluster", "other"}))
  end)

  it("refuse who says that he is another one than his certificate does", function()
    local a = cluster.listen("a", "", options("a", good))
    local thief = tls.connect(context("b", good), tonumber(a.address:match ":(%d+)$"))
    thief:start()
    local heard, state = "", ""
    local function hear()
      local text, now = thief:hear(10000)
      heard, state = heard .. (text or ""), now or "gone"
    end
    while state == "" do hear() end
    assert.are.equal("ready", state)
    thief:send(net.hello("throng", "c", "", 0))
    while state == "ready" do hear() end
    assert.matches("the certificate is for 'b', the node says that it is 'c'", heard)
    assert.are.equal("eof", state)
    a:read_until "ended: refused: the certificate is for 'b', the node says that it is 'c'"
  end)

  it("give up on who says nonsense, ends in the middle, or never comes to an end", function()
    local a = cluster.listen("a", "", options("a", good, {"--log", "debug"}))
    local brief = cluster.listen("a", "", options("a", good, {"--log", "debug", "--set", "net.timeout=250"}))
    local function raw(script, at)
      local port = (at or a).address:match ":(%d+)$"
      node.run {program = "bash", command = {"-c", ("exec 3<>/dev/tcp/127.0.0.1/%s; "):format(port) .. script}}
    end
    local hello = tls.one(context("b", good), true)
    hello:start()
    local bytes = hello:wire():gsub(".", function(c) return ("\\x%02x"):format(c:byte()) end)
    raw [[printf 'GET / HTTP/1.0\r\n\r\n' >&3; cat <&3 >/dev/null]]
    a:read_until "ended: it speaks no TLS"
    raw [[head -c 5000 /dev/zero >&3; cat <&3 >/dev/null]]
    a:read_until "ended: it speaks no TLS"
    raw(("printf '%s' >&3"):format(bytes:sub(1, #bytes // 8 * 4)))
    a:read_until "ended: it hung up"
    raw(("printf '%s' >&3; head -c 5 <&3 >/dev/null"):format(bytes))
    a:read_until "ended: "
    raw(("printf '%s' >&3; cat <&3 >/dev/null"):format(bytes), brief) -- says no more
    brief:read_until "ended: no answer in time"
    raw([=[printf '\x16' >&3; cat <&3 >/dev/null]=], brief)
    brief:read_until "ended: no answer in time"
    local b = cluster.join(a, "b", [[ function Me:on_ready() print "ready" end ]], options("b", good))
    b:read_until "ready"
  end)

  it("want all three files", function()
    local r = node.run {script = "return {}", options = {"--tls-cert", "x", "--tls-ca", "y"}}
    assert.are.equal(2, r.code)
    assert.matches("%-%-tls%-key is missing", r.err)
    r = node.run {script = "return {}", options = {"--name", "b", "--listen", "127.0.0.1:0", table.unpack(options("a", good))}}
    assert.are.equal(1, r.code)
    assert.matches("^throng: %-%-tls%-cert .*/a.pem: it is for 'a', and this node's name is 'b'", r.err)
  end)
end)


