--- What nodes say to each other, as bytes: HMAC, addresses, the handshake, records.
local net = require "door.net"
local seed = require "spec.support.seed"

describe("HMAC-SHA256", function()
  it("gives what RFC 4231 says", function()
    assert.are.equal("b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7", net.hmac(("\x0b"):rep(20), "Hi There"))
    assert.are.equal("5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
                     net.hmac("Jefe", "what do ya want for nothing?"))
    assert.are.equal("60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54",
                     net.hmac(("\xaa"):rep(131), "Test Using Larger Than Block-Size Key - Hash Key First"))
    assert.are.equal("9b09ffa71b942fcb27635fbcd5b0e944bfdc63644f0713938a7f51535c3a35e2",
                     net.hmac(("\xaa"):rep(131), "This is a test using a larger than block-size key and a larger than "
                       .. "block-size data. The key needs to be hashed before being used by the HMAC algorithm."))
  end)
end)

describe("an address", function()
  it("is HOST:PORT, with brackets around IPv6", function()
    assert.are.same({"127.0.0.1", 7101}, {net.address "127.0.0.1:7101"})
    assert.are.same({"::1", 0}, {net.address "[::1]:0"})
    assert.are.same({"host.example", 65535}, {net.address "host.example:65535"})
    for _, text in ipairs {"", ":", ":1", "x", "x:", "x:y", "x:-1", "x:65536", "x:1x", "::1:7", "[]:1", "[x:1", "a b:1",
                           "a,b:1", ("x"):rep(400) .. ":1", "x: 1"} do
      assert.is_nil(net.address(text), text)
    end
  end)

  it("is loopback or is not", function()
    for _, host in ipairs {"127.0.0.1", "127.255.0.9", "::1", "::ffff:127.0.0.1"} do assert.is_true(net.loopback(host)) end
    for _, host in ipairs {"0.0.0.0", "10.0.0.1", "128.0.0.1", "::", "fe80::1", "::ffff:10.0.0.1"} do
      assert.is_false(net.loopback(host))
    end
    assert.is_nil(net.loopback "localhost")
  end)
end)

describe("a HELLO", function()
  local hello = net.hello("throng", "a", "127.0.0.1", 7101)

  it("says who one is", function()
    assert.are.same({"throng", "a", "127.0.0.1", 7101}, {net.read_hello(hello)})
    assert.are.same({"c", "n", "", 0}, {net.read_hello(net.hello("c", "n", "", 0))})
  end)

  it("is waited for until it is whole, and refused when its length says less", function()
    for len = 0, #hello - 1 do
      assert.are.equal("more", select(2, net.read_hello(hello:sub(1, len))))
      if len >= 5 then
        local cut = string.pack("<I4", len) .. hello:sub(5, len)
        assert.are.equal("EPROTO", select(2, net.read_hello(cut)), len)
      end
    end
    assert.are.equal("EPROTO", select(2, net.read_hello(string.pack("<I4", #hello + 1) .. hello:sub(5) .. "x")))
    for _, len in ipairs {0, 4, 1025, 2^31, 2^32 - 1} do
      assert.are.equal("EPROTO", select(2, net.read_hello(string.pack("<I4", math.tointeger(len)) .. hello:sub(5))))
    end
  end)

  it("of another version is told apart, whatever follows", function()
    local other = hello:sub(1, 11) .. "\1\0" .. hello:sub(14)
    assert.are.equal("ENOTSUP", select(2, net.read_hello(other)))
    assert.are.equal("ENOTSUP", select(2, net.read_hello(string.pack("<I4", 13) .. other:sub(5, 13))))
    assert.are.equal("EPROTO", select(2, net.read_hello(hello:sub(1, 5) .. "throng" .. hello:sub(12))))
  end)

  it("has names of visible letters, and one for the node", function()
    assert.are.equal("EPROTO", select(2, net.read_hello(net.hello("throng", "", "", 0))))
    assert.are.equal("EPROTO", select(2, net.read_hello(net.hello("throng", "a\27[2J", "", 0))))
    assert.are.equal("EPROTO", select(2, net.read_hello(net.hello("thr ng", "a", "", 0))))
  end)
end)

describe("a record", function()
  local SEND <const>, ASK <const>, START <const>, REPLY <const>, FAIL <const>, TIMER <const>, DOWN <const>, EXIT <const>,
    KILL <const>, STOP <const>, MONITOR <const> = 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10
  local _, pid = net.pid(1)
  local _, monitor = net.ref(0)
  local _, timer = net.ref(1)
  local _, request = net.ref(2)

  local function good(r) return net.read(net.record(r)) end

  it("is taken when it is what a node may send", function()
    assert.is_true(good {kind = SEND, name = 1, to = pid, payload = ""})
    assert.is_true(good {kind = SEND, name = 1, to = pid, from = pid, argc = 250, payload = "x"})
    assert.is_true(good {kind = SEND, flags = 1, to = pid, from = pid, payload = "x"})
    assert.is_true(good {kind = ASK, name = 65535, flags = 8 + 2, to = pid, from = pid, ref = request, left = 5})
    assert.is_true(good {kind = REPLY, to = pid, from = pid, ref = request, argc = 3, payload = "xyz"})
    assert.is_true(good {kind = FAIL, to = pid, from = pid, ref = request, argc = 1, payload = "x", flags = 2})
    assert.is_true(good {kind = DOWN, to = pid, from = pid, ref = monitor, argc = 1, payload = "x"})
    assert.is_true(good {kind = EXIT, to = pid, from = pid, argc = 1, payload = "x"})
    assert.is_true(good {kind = STOP, to = pid, argc = 1, payload = "x"})
    assert.is_true(good {kind = KILL, to = pid, from = pid})
    assert.is_true(good {kind = MONITOR, to = pid, from = pid, ref = monitor})
    assert.is_true(good {kind = 0x89, to = pid, from = pid, left = 3, payload = ("x"):rep(20)})
    assert.is_true(good {kind = 0x8a, to = 1, from = pid})
  end)

  it("is refused when others would trip over it", function()
    for _, r in ipairs {
      {kind = START, to = pid, from = pid}, {kind = TIMER, to = pid, from = pid, ref = timer}, {kind = 14}, {kind = 0x7f},
      {kind = 0x87}, {kind = 255}, {kind = SEND, to = pid, from = pid}, {kind = SEND, name = 1, flags = 1, to = pid},
      {kind = SEND, name = 1, flags = 4, to = pid}, {kind = SEND, name = 1, flags = 8, to = pid},
      {kind = SEND, name = 1, argc = 251, to = pid}, {kind = SEND, name = 1}, {kind = SEND, name = 1, to = request},
      {kind = SEND, name = 1, to = pid, from = request}, {kind = SEND, name = 1, to = pid, ref = 1},
      {kind = ASK, name = 1, to = pid, from = pid}, {kind = ASK, name = 1, to = pid, from = pid, ref = timer},
      {kind = ASK, name = 1, to = pid, ref = request}, {kind = REPLY, to = pid, from = pid, ref = monitor},
      {kind = REPLY, to = pid, from = pid, ref = request, name = 1}, {kind = FAIL, to = pid, from = pid, ref = request},
      {kind = FAIL, to = pid, from = pid, ref = request, argc = 2}, {kind = DOWN, to = pid, from = pid, argc = 1},
      {kind = DOWN, to = pid, from = pid, ref = monitor}, {kind = EXIT, to = pid, from = pid}, {kind = STOP, to = pid},
      {kind = KILL, to = pid, from = pid, payload = "x"}, {kind = KILL, to = pid}, {kind = MONITOR, to = pid, from = pid},
      {kind = 0x80, name = 0, ref = 1, payload = "a\0"}, {kind = 0x80, name = 2048, ref = 1, payload = "a\0"},
      {kind = 0x80, name = 1, payload = "a\0"}, {kind = 0x81, name = 1}, {kind = 0x81, name = 65536, payload = "x"},
      {kind = 0x81, name = 1, payload = ("x"):rep(101)}, {kind = 0x84, from = pid}, {kind = 0x84, payload = "g"},
      {kind = 0x84, from = pid, payload = ("x"):rep(201)}, {kind = 0x86, from = pid, payload = "n"},
      {kind = 15, to = pid, from = pid, ref = request, argc = 1, payload = "x"}, {kind = 16, to = pid, from = pid},
      {kind = 0x89, from = pid, payload = ("x"):rep(20)}, {kind = 0x89, to = pid, payload = ("x"):rep(20)},
      {kind = 0x89, to = pid, from = pid, payload = "x"}, {kind = 0x89, to = pid, from = pid, payload = ("x"):rep(65537)},
      {kind = 0x8a, to = 2, from = pid}, {kind = 0x8a, to = 1}, {kind = 0x8a, to = 1, from = pid, payload = "x"},
    } do
      assert.is_false(good(r), require "cjson".encode {kind = r.kind, flags = r.flags})
    end
  end)

  it("has the length it says", function()
    local r = net.record {kind = SEND, name = 1, to = pid, payload = "abc"}
    for len = 0, #r - 1 do assert.is_false(net.read(r:sub(1, len))) end
    assert.is_false(net.read(r .. "x"))
  end)

  it("travels in chunks of one of two lanes", function()
    assert.are.same({0, 1}, {net.chunk "\0\1\0\0"})
    assert.are.same({1, 131072}, {net.chunk "\1\0\0\2"})
    for _, head in ipairs {"\2\1\0\0", "\255\1\0\0", "\0\0\0\0", "\1\1\0\2", "\0\255\255\255"} do
      assert.is_nil(net.chunk(head))
    end
  end)
end)

describe("values from another node", function()
  it("have their pids renamed wherever they are, refs and null not", function()
    local one, two, ref = net.pid(1), net.pid(2, 3), net.ref(0)
    local there_one, there_two = net.pid(1, 9), net.pid(2, 9)
    local count, a, t, r = net.adopt(one, {two, {one, x = two}, [one] = {[two] = "deep"}, ref = ref}, ref)
    assert.are.equal(6, count)
    assert.are.equal(there_one, a)
    assert.are.equal(there_two, t[1])
    assert.are.equal(there_one, t[2][1])
    assert.are.equal(there_two, t[2].x)
    assert.are.equal("deep", t[there_one][there_two])
    assert.are.equal(ref, t.ref)
    assert.are.equal(ref, r)
  end)

  it("are refused when a pid has no name here", function()
    assert.is_nil(net.adopt {x = {net.pid(13)}})
    assert.is_nil(net.adopt {[net.pid(13)] = true})
  end)
end)

describe("a queue of bytes", function()
  it("gives what it took, in order", function()
    local steps = {}
    for i = 1, 300 do steps[i] = math.random(-3000, 3000) end
    assert.is_true(net.queue(steps), "seed " .. tostring(seed))
  end)
end)
