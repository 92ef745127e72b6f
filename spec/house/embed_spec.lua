local node = require "spec.support.node"
local process = require "door.process"

local SHOW <const> = [[
#include <stdio.h>
#include "actor/embedded.h"
int main(void) {
    for (size_t i = 0; i < embedded_count; i++) {
        const EmbeddedFile *f = &embedded_files[i];
        printf("%s %s %zu:", f->module, f->path, f->size);
        fwrite(f->bytes, 1, f->size, stdout);
        if (embedded_find(f->module) != f) printf("NOT FOUND");
    }
    return 0;
}
]]

--- Embeds made-up Lua files, compiles what that gives, and returns what the C program finds in it.
local function embed(files, names)
  local here <const> = process.getcwd()
  local all = {["show.c"] = SHOW}
  for name, text in pairs(files) do all[name] = text end
  local script = ([[lua5.4 %s/tools/embed.lua embedded.c %s &&
    gcc -Wall -Wextra -Werror -I%s/core -o show show.c embedded.c %s/core/actor/embedded.c && ./show]])
    :format(here, names, here, here)
  return node.run {program = "/bin/sh", files = all, command = {"-c", script}, timeout = 60}
end

describe("tools/embed.lua", function()
  it("keeps every byte", function()
    local bytes = {}
    for byte = 0, 255 do bytes[#bytes + 1] = string.char(byte) end
    local text = 'say "hi" \\ ??/ ??=\n\n\r\n1234\0' .. "567" .. table.concat(bytes) .. "\0001"
    local r = embed({["lua/all.lua"] = text}, "lua/all.lua")
    assert.are.equal("", r.err)
    assert.are.equal(("all lua/all.lua %d:"):format(#text) .. text, r.out)
  end)

  it("takes what others wrote under a name of its own, and calls it as they do", function()
    local r = embed({["debian/busted/core.lua"] = "x"}, "debian//busted/core.lua")
    assert.are.equal("", r.err)
    assert.are.equal("throng.bundled.busted.core busted/core.lua 1:x", r.out)
  end)

  it("names modules as require does, and sorts them by name", function()
    local r = embed({["lua/throng/init.lua"] = "a", ["lua/throng/args.lua"] = "b", ["lua/sup_er.lua"] = "",
                     ["lua/Zoo/x.lua"] = "d\n"},
                    "lua/throng/init.lua lua/throng/args.lua lua/sup_er.lua lua/Zoo/x.lua")
    assert.are.equal("", r.err)
    assert.are.equal("Zoo.x lua/Zoo/x.lua 2:d\nsup_er lua/sup_er.lua 0:throng lua/throng/init.lua 1:a"
      .. "throng.args lua/throng/args.lua 1:b", r.out)
  end)

  it("takes tools/bench for a part of throng", function()
    local r = embed({["tools/bench/init.lua"] = "a", ["tools/bench/work/tick.lua"] = "b"},
                    "tools/bench/init.lua tools/bench/work/tick.lua")
    assert.are.equal("", r.err)
    assert.are.equal("throng.bench tools/bench/init.lua 1:athrong.bench.work.tick tools/bench/work/tick.lua 1:b", r.out)
  end)

  it("gives tables of any size in which embedded_find finds each", function()
    local files, names, expected = {}, "", ""
    for i = 1, 9 do
      files[("lua/m%d.lua"):format(i)] = ""
      names = names .. (" lua/m%d.lua"):format(i)
      expected = expected .. ("m%d lua/m%d.lua 0:"):format(i, i)
      local r = embed(files, names)
      assert.are.equal("", r.err)
      assert.are.equal(expected, r.out)
    end
  end)

  it("writes an empty table for no files", function()
    local r = embed({}, "")
    assert.are.equal("", r.err .. r.out)
    assert.are.equal(0, r.code)
  end)

  it("refuses two files for one module", function()
    local r = embed({["lua/a.lua"] = "", ["lua/a/init.lua"] = ""}, "lua/a.lua lua/a/init.lua")
    assert.are.equal("embed: lua/a.lua and lua/a/init.lua are both the module a\n", r.err)
    assert.are_not.equal(0, r.code)
  end)
end)
