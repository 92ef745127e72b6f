local process = require "door.process"
local node = require "spec.support.node"

--- Runs tools/floors on a made-up core/.
local function floors(files)
  return node.run {program = "lua5.4", files = files, command = {process.getcwd() .. "/tools/floors", "core"}}
end

describe("the floors of core/", function()
  it("hold in our own house", function()
    local here = process.getcwd()
    local r = node.run {program = "lua5.4", command = {here .. "/tools/floors", here .. "/core"}}
    assert.are.equal("", r.out)
    assert.are.equal(0, r.code)
  end)

  it("may be walked downward, and within a room", function()
    local r = floors {
      ["core/mail/post.c"] = '#include "mail/post.h"\n#include "mail/message.h"\n#include "ground/log.h"\n',
      ["core/run/loop.c"] = '#include <uv.h>\n',
      ["core/api/send.c"] = '#include "actor/actor.h"\n#include "net/link.h"\n#include "run/loop.h"\n',
      ["core/node.c"] = '#include "node.h"\n#include "ops/console.h"\n',
      ["core/main.c"] = '#include "node.h"\n',
    }
    assert.are.equal("", r.out)
    assert.are.equal(0, r.code)
  end)

  it("show who climbs, with file and line", function()
    local r = floors {["core/ground/log.c"] = '#include "ground/log.h"\n\n  # include "mail/post.h"\n'}
    assert.are.equal(1, r.code)
    assert.are.same({"core/ground/log.c:3: ground may not include mail/post.h: mail is above it"}, r.lines)
  end)

  it("keep neighbours apart, both ways", function()
    local r = floors {
      ["core/mail/post.c"] = '#include "run/loop.h"\n',
      ["core/run/loop.h"] = '#include "mail/post.h"\n',
      ["core/net/link.c"] = '#include "actor/vm.h"\n',
    }
    assert.are.equal(1, r.code)
    assert.are.same({
      "core/mail/post.c:1: mail may not include run/loop.h: run is its neighbour",
      "core/net/link.c:1: net may not include actor/vm.h: actor is its neighbour",
      "core/run/loop.h:1: run may not include mail/post.h: mail is its neighbour",
    }, r.lines)
  end)

  it("let nobody but node.c and main.c look down from the top", function()
    local r = floors {["core/ops/console.c"] = '#include "node.h"\n', ["core/node.c"] = '#include "main.h"\n'}
    assert.are.same({
      "core/node.c:1: node may not include main.h: main is above it",
      "core/ops/console.c:1: ops may not include node.h: node is above it",
    }, r.lines)
  end)

  it("keep Lua's headers where Lua is spoken", function()
    local speaks = '#include <lua.h>\n#include "lauxlib.h"\n'
    local r = floors {
      ["core/mail/codec.c"] = speaks, ["core/mail/codec.h"] = speaks, ["core/ground/config.c"] = speaks,
      ["core/actor/vm.c"] = speaks, ["core/api/send.c"] = speaks, ["core/ops/console.c"] = speaks,
      ["core/mail/post.c"] = speaks, ["core/node.c"] = "#include <lualib.h>\n",
    }
    assert.are.equal(1, r.code)
    assert.are.same({"core/mail/post.c:1:", "core/mail/post.c:2:", "core/node.c:1:"},
                    {r.lines[1]:match("^%S+"), r.lines[2]:match("^%S+"), r.lines[3]:match("^%S+")})
    assert.are.equal(3, #r.lines)
  end)

  it("keep OpenSSL's headers in one place", function()
    local r = floors {["core/net/openssl.h"] = "#include <openssl/ssl.h>\n", ["core/net/tls.c"] = "#include <openssl/err.h>\n"}
    assert.are.same({"core/net/tls.c:1: openssl/err.h stays in net/openssl.h"}, r.lines)
  end)

  it("know every room: a new folder, and a header without its room, are breaches", function()
    local r = floors {["core/attic/box.c"] = "\n", ["core/run/ring.c"] = '#include "ring.h"\n#include "cellar/x.h"\n'}
    assert.are.same({
      "core/attic/box.c:1: no floor is named attic",
      'core/run/ring.c:1: include "ring.h" by its path from core/, below a room',
      'core/run/ring.c:2: include "cellar/x.h" by its path from core/, below a room',
    }, r.lines)
  end)
end)
