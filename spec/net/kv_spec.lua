--- What etcd is asked and answers, as JSON; and until when a lease counts.
local cjson = require "cjson"
local kv = require "door.kv"
local random = require "spec.support.seed" and math.random

describe("base64", function()
  it("is RFC 4648's", function()
    local known = {[""] = "", f = "Zg==", fo = "Zm8=", foo = "Zm9v", foob = "Zm9vYg==", fooba = "Zm9vYmE=", foobar = "Zm9vYmFy",
                   ["\255\254\0"] = "//4A", ["\251\240"] = "+/A="}
    for bytes, text in pairs(known) do
      assert.are.equal(text, cjson.decode("[" .. kv.base64(bytes) .. "]")[1])
      assert.are.equal(bytes, kv.unbase64(text))
    end
  end)

  it("comes back as it was, whatever it is", function()
    for _ = 1, 200 do
      local bytes = {}
      for i = 1, random(0, 300) do bytes[i] = string.char(random(0, 255)) end
      local text = table.concat(bytes)
      assert.are.equal(text, kv.unbase64(cjson.decode("[" .. kv.base64(text) .. "]")[1]))
    end
  end)

  it("that is none, or needs more room, is refused", function()
    for _, text in ipairs {"Z", "Zg", "Zg=", "Zm9", "Z===", "====", "Zg==Zg==", "Zm9v!!!!", "Z=g=", "Zm 9", "\0\0\0\0", "Zm9\255"} do
      assert.is_nil(kv.unbase64(text), text)
    end
    assert.are.equal("foo", kv.unbase64("Zm9v", 3))
    assert.are.equal("fo", kv.unbase64("Zm8=", 2))
    assert.is_nil(kv.unbase64("Zm9v", 2))
    assert.is_nil(kv.unbase64("Zm8=", 1))
  end)
end)

describe("a request to etcd", function()
  it("puts a key if it is not there, else reads it", function()
    assert.are.same({
      compare = {{key = "aw==", target = "CREATE", create_revision = "0"}},
      success = {{request_put = {key = "aw==", value = "dg==", lease = "9007199254740993"}}},
      failure = {{request_range = {key = "aw=="}}},
    }, cjson.decode(kv.put("k", "v", 9007199254740993, 0)))
    assert.are.same({key = "aw==", target = "MOD", mod_revision = "7"}, cjson.decode(kv.put("k", "v", 1, 7)).compare[1])
  end)

  it("deletes a key if it has the value", function()
    assert.are.same({
      compare = {{key = "aw==", target = "VALUE", value = "dg=="}},
      success = {{request_delete_range = {key = "aw=="}}},
    }, cjson.decode(kv.delete("k", "v")))
  end)

  it("reads and watches what lies between two keys", function()
    assert.are.same({key = "YQ=="}, cjson.decode(kv.range("a")))
    assert.are.same({key = "YQ==", range_end = "Yg==", limit = "500", revision = "3"}, cjson.decode(kv.range("a", "b", 3)))
    assert.are.same({create_request = {key = "YQ==", range_end = "Yg==", start_revision = "4"}},
                    cjson.decode(kv.watch("a", "b", 4)))
  end)
end)

describe("an answer of etcd", function()
  it("is read: ranges, transactions, events, errors", function()
    local header = '"header":{"revision":"12","raft_term":"3"}'
    local pair = '{"key":"aw==","create_revision":"5","mod_revision":"6","version":"1","value":"dg==","lease":"77"}'
    local wanted = {key = "k", value = "v", created = 5, modified = 6, lease = 77, deleted = false}
    local none = {revision = 12, term = 3, error = 0, words = ""}
    local function with(...) local t = {...} for k, v in pairs(none) do t[k] = v end return t end
    assert.are.same(with(wanted, wanted), kv.read("{" .. header .. ',"kvs":[' .. pair .. "," .. pair .. "]}"))
    assert.are.same(with(wanted), kv.read("{" .. header .. ',"responses":[{"response_range":{"kvs":[' .. pair .. "]}}]}"))
    assert.are.same(with(), kv.read("{" .. header .. ',"succeeded":true,"responses":[{"response_put":{}}]}'))
    assert.are.same(with(wanted, {key = "k", value = "", created = 0, modified = 9, lease = 0, deleted = true}),
      kv.read("{" .. header .. ',"events":[{"kv":' .. pair .. '},{"type":"DELETE","kv":{"key":"aw==","mod_revision":"9"}}]}'))
    local e = kv.read '{"error":"etcdserver: requested lease not found","message":"etcdserver: requested lease not found","code":5}'
    assert.are.same({5, "etcdserver: requested lease not found"}, {e.error, e.words})
    e = kv.read '{"error":{"grpc_code":14,"http_code":503,"message":"no leader","http_status":"Service Unavailable"}}'
    assert.are.same({14, "no leader"}, {e.error, e.words})
    assert.are.equal(2, kv.read('{"error":7}').error)
  end)

  it("of which nothing is as it should be is taken for nothing", function()
    for _, text in ipairs {"[]", "7", '"x"', "{}", '{"kvs":7,"header":[]}', '{"responses":[]}', '{"responses":[7]}',
                           '{"events":{}}', '{"header":{"revision":[],"raft_term":"x"}}'} do
      assert.are.same({revision = 0, term = 0, error = 0, words = ""}, kv.read(text))
    end
    local long = ("QUFB"):rep(400)
    for _, pair in ipairs {"7", "[]", '{"key":7}', '{"key":"!"}', '{"key":"aw==","value":"x"}', '{"key":"' .. long .. '"}',
                           '{"key":"aw==","value":"' .. long .. '"}'} do
      assert.is_false(kv.read('{"kvs":[' .. pair .. "]}")[1])
      assert.is_false(kv.read('{"events":[{"kv":' .. pair .. "}]}")[1])
    end
    assert.is_false(kv.read('{"events":[7]}')[1])
    assert.is_nil(kv.read "{")
  end)
end)

describe("a holder's value", function()
  local inc, pid = '"incarnation":"00000000000000ff"', '"node":"a","pid":"0000000001000002","claim":"8000000000000001"'

  it("comes back as it was written", function()
    local h, again = kv.holder("{" .. inc .. "," .. pid .. "}")
    assert.are.same({incarnation = 255, pid = 0x1000002, claim = 0x8000000000000001, node = "a", address = ""}, h)
    assert.are.same({incarnation = "00000000000000ff", node = "a", pid = "0000000001000002", claim = "8000000000000001"},
                    cjson.decode(again))
    h, again = kv.holder("{" .. inc .. ',"address":"127.0.0.1:7101"}')
    assert.are.same({incarnation = 255, pid = 0, claim = 0, node = "", address = "127.0.0.1:7101"}, h)
    assert.are.same({incarnation = "00000000000000ff", address = "127.0.0.1:7101"}, cjson.decode(again))
  end)

  it("that is none is refused", function()
    for _, value in ipairs {
      "", "{", "[]", "7", "{}", "{" .. inc .. "}", '{"incarnation":255,"address":""}', '{"incarnation":"0000000000000000","address":""}',
      '{"incarnation":"00000000000000FF","address":""}', '{"incarnation":"ff","address":""}', "{" .. inc .. ',"address":7}',
      "{" .. inc .. ',"address":"' .. ("x"):rep(300) .. '"}', "{" .. inc .. ',"address":"a\\u0000b"}',
      "{" .. inc .. ',"pid":"0000000001000002"}', "{" .. inc .. ',"node":"a","pid":"0000000000000000","claim":"8000000000000001"}',
      "{" .. inc .. ',"node":"a","pid":"8000000001000002","claim":"8000000000000001"}', -- a ref
      "{" .. inc .. ',"node":"a","pid":"0010000001000002","claim":"8000000000000001"}', -- of another node, by whose number?
      "{" .. inc .. ',"node":"' .. ("x"):rep(65) .. '","pid":"0000000001000002","claim":"8000000000000001"}', ("x"):rep(2000),
    } do
      assert.is_nil(kv.holder(value), value)
    end
  end)
end)

describe("a lease", function()
  local S <const> = 1000000000
  after_each(kv.drop)

  it("ends for us a fifth before it does for etcd, counted from before it was asked for", function()
    assert.are.equal(100 * S + 4 * S, kv.lease_end(100 * S, 5))
    assert.are.equal(100 * S, kv.lease_end(100 * S, 0))
    assert.are.equal(100 * S, kv.lease_end(100 * S, -1))
    assert.is_true(kv.lease_end(100 * S, math.maxinteger) > 100 * S)
  end)

  it("is renewed while it lasts, never shortened, and never when it is over", function()
    kv.begin(7, 10 * S)
    assert.is_false(kv.renew(8, 20 * S, 5 * S)) -- another one
    assert.is_true(kv.renew(7, 20 * S, 9 * S))
    assert.are.equal(20 * S, (select(2, kv.state())))
    assert.is_true(kv.renew(7, 15 * S, 10 * S)) -- an answer that was overtaken
    assert.are.equal(20 * S, (select(2, kv.state())))
    assert.is_false(kv.renew(7, 40 * S, 20 * S)) -- over, at this moment
    assert.is_false(kv.renew(7, 40 * S, 30 * S)) -- it stood still, and wakes
    assert.is_false(kv.renew(7, 18 * S, 19 * S)) -- an answer that came too late to be worth anything
    kv.drop()
    assert.is_false(kv.renew(7, 40 * S, 5 * S))
    assert.is_false(kv.renew(0, 40 * S, 5 * S))
  end)

  it("is good until its end", function()
    local now = kv.now()
    kv.begin(7, now + 3600 * S)
    assert.is_true((select(3, kv.state())))
    kv.begin(7, now) -- by now that is over
    assert.is_false((select(3, kv.state())))
    kv.drop()
    assert.are.same({0, 0, false}, {kv.state()})
  end)
end)
