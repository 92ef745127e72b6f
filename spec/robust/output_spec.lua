--- What scripts print and log can't be taken for something else.
local node = require "spec.support.node"
local process = require "door.process"
local world = require "spec.robust.world"

local PROGRAM <const> = (os.getenv("THRONG") or "./throng"):gsub("^%./", process.getcwd() .. "/")

describe("print", function()
  it("writes bytes as they are, one line a call, tabs in between", function()
    local all = {}
    for i = 0, 255 do all[#all + 1] = string.char(i) end
    local r = node.run {script = [[
      local throng = require "throng"
      return {init = function()
        local all = {}
        for i = 0, 255 do all[#all + 1] = string.char(i) end
        print(table.concat(all))
        print(1, nil, true, 1.5, "x\0y", setmetatable({}, {__tostring = function() return "mine" end}))
        print()
        throng.shutdown(0)
      end}]]}
    assert.are.equal(0, r.code, r.err)
    assert.are.equal(table.concat(all) .. "\n1\tnil\ttrue\t1.5\tx\0y\tmine\n\n", r.out)
  end)

  it("of many actors does not mix lines", function()
    local r = node.run {options = {"--workers", "2"}, files = {["talks.lua"] = [[
      return {on_go = function(_, c) for _ = 1, 200 do print(c:rep(300)) end end}]]}, script = [[
      local throng = require "throng"
      return {init = function()
        local pids = {}
        for i = 1, 8 do pids[i] = throng.spawn("talks") pids[i]:send("go", string.char(64 + i)) end
        for _, pid in ipairs(pids) do pcall(pid.ask, pid, "done") end
        throng.shutdown(0)
      end}]]}
    assert.are.equal(0, r.code, r.err)
    assert.are.equal(1600, #r.lines)
    for _, line in ipairs(r.lines) do assert(#line == 300 and line == line:sub(1, 1):rep(300), line) end
  end)

  it("to nobody, or to a full disk, does not end the node", function()
    for _, where in ipairs {"/dev/full", "&-"} do
      local r = node.run {program = "/bin/sh", command = {"-c", '"$THRONG_PROGRAM" run main.lua >' .. where},
        env = {THRONG_PROGRAM = PROGRAM}, script = [[
        local throng = require "throng"
        return {init = function() for _ = 1, 100 do print(("x"):rep(10000)) end throng.shutdown(6) end}]]}
      assert.are.equal(6, r.code, where .. r.err)
    end
  end)

  it("into a pipe that nobody reads any more does not end the node by a signal", function()
    local r = node.run {program = "/bin/sh", command = {"-c", '{ "$THRONG_PROGRAM" run main.lua; echo code $? >&2; } | true'},
      env = {THRONG_PROGRAM = PROGRAM}, script = [[
      local throng = require "throng"
      return {init = function() for _ = 1, 100 do print(("x"):rep(10000)) end throng.shutdown(6) end}]]}
    assert(r.err:find("code 6"), r.err)
  end)
end)

describe("the log", function()
  --- A line of the log starts with a time; what continues one is indented.
  local function records(text)
    local count = 0
    for line in text:gmatch("[^\n]+") do
      if line:find("^%d%d%d%d%-%d%d%-%d%dT") then count = count + 1
      else assert(line:find("^    "), ("%q"):format(line)) end
    end
    return count
  end

  it("lets no message, field, name or key begin a line or write to the terminal", function()
    local r = world.run [[
      local nasty = {"a\nb", "\n2026-01-01T00:00:00.000Z error <9.9> fake", "\r\n2026-01-01T00:00:00.000Z error <9.9> fake", "\27[31mred", "\27]0;title\7",
                     "\0", "\r", "\b\b\b", "\127", "\155", "\194\155", "a\tb", ("x"):rep(100000), "\255\254", "%s%n"}
      for _, text in ipairs(nasty) do
        throng.log.info(text)
        throng.log.info(text, {field = text})
        throng.log.info("message", {[text] = text})
        if #text <= 200 then
          throng.register(text)
          throng.log.info("named")
          throng.unregister(text)
        end
      end
      pcall(throng.ask, echo, "\n2026-01-01T00:00:00.000Z error <9.9> fake")
      throng.send(echo, "\n2026-01-01T00:00:00.000Z error <9.9> fake")
    ]]
    records(r.err)
    assert(not r.err:find("[\0-\8\11-\31\127]"), "control bytes went through")
    for line in r.err:gmatch("[^\n]+") do assert(not line:find("^2026%-01%-01"), line) end
  end)

  it("tells of crashes with nasty errors in the same way", function()
    local r = world.run {files = {["crash.lua"] = "return {init = function(_, text) error(text, 0) end}"}, body = [[
      for _, text in ipairs {"a\n2026-01-01T00:00:00.000Z error <9.9> fake", "\27[31mred", "\0\r\b", ("x"):rep(100000), ("%s"):rep(100)} do
        check.ends("crash", text)
      end
    ]]}
    records(r.err)
    assert(not r.err:find("[\0-\8\11-\31\127]"), "control bytes went through")
    for line in r.err:gmatch("[^\n]+") do assert(not line:find("^2026%-01%-01"), line) end
  end)

  it("as the root's last words is one line for the error, escapes and all", function()
    local r = node.run {script = "return {init = function() error('a\\n\\27[31mred\\0', 0) end}", options = {"--log", "off"}}
    assert.are.equal(1, r.code)
    assert(not r.err:find("[\0-\8\11-\31\127]"), ("%q"):format(r.err))
  end)
end)
