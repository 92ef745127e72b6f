local node = require "spec.support.node"
local console = require "spec.support.console"

local GUY <const> = [[
local Guy = {}
function Guy:init() self.hunger = 0 end
function Guy:on_tick() self.hunger = self.hunger + %d end
%s
return Guy
]]

local ROOT <const> = [[
local throng = require "throng"
local Root = {}
function Root:init()
  for i = 1, 5 do throng.spawn_with({name = "guy " .. i}, "guy") end
  print "ready"
end
return Root
]]

local function write(n, name, text)
  local file <close> = assert(io.open(n.dir .. "/" .. name, "w"))
  file:write(text)
end

describe("the console's reload", function()
  it("takes new scripts in, says what failed and where, goes back, and lists versions", function()
    local n = node.start {files = {["guy.lua"] = GUY:format(1, ""), ["main.lua"] = ROOT}}
    n:read_until "ready"
    local c = console.connect(n)
    write(n, "guy.lua", GUY:format(2, ""))
    local report = c:ask("reload", {module = "guy"})
    assert.is_true(report.ok)
    assert.are.equal(5, report.actors)
    assert.are.equal("guy", report.behaviours[1].name)
    assert.matches("^guy %x+ %-> %x+: 5 actors took it in", report.text)
    write(n, "guy.lua", GUY:format(2, "x = = 1"))
    local err = c:fails("reload", {canary = "20%"})
    assert.are.same({"reload", "compile", "./guy.lua", 4}, {err.code, err.stage, err.file, err.line})
    assert.are.same("./guy.lua:4: unexpected symbol near '='", err.message)
    assert.are.equal("bad_request", c:fails("reload", {canary = "x%"}).code)
    assert.are.equal("bad_request", c:fails("reload", {in_flight = "wait"}).code)
    assert.are.equal("reload", c:fails("rollback", {module = "main"}).code)
    assert.are.equal(5, c:ask("rollback", {module = "guy"}).actors)
    local value, rows = c:ask("versions", {module = "guy"})
    assert.are.same({2, report.behaviours[1].to, false, 0}, {value.count, rows[1].version, rows[1].current, rows[1].actors})
    assert.are.same({report.behaviours[1].from, true, 5}, {rows[2].version, rows[2].current, rows[2].actors})
    write(n, "guy.lua", GUY:format(3, "function Guy:migrate() while true do end end"))
    local id = c:begin("reload", {module = "guy"}) -- takes its second, unless it is cancelled
    c:begin("cancel", {id = id})
    assert.are.equal("cancelled", c:finish(id).error.code)
    for _, row in ipairs(select(2, c:ask("versions", {module = "guy"}))) do
      assert.are.equal(row.current and 5 or 0, row.actors)
    end
    n:signal "TERM"
    n:wait()
  end)
end)

describe("a canary", function()
  it("is measured, and counts its messages as ever", function()
    local n = node.start {files = {["guy.lua"] = GUY:format(1, ""), ["main.lua"] = ROOT}}
    n:read_until "ready"
    local c, other = console.connect(n), console.connect(n)
    write(n, "guy.lua", GUY:format(2, ""))
    local id = c:begin("reload", {module = "guy", canary = 2, watch = 300})
    local taken
    repeat
      for _, row in ipairs(select(2, other:ask("versions", {module = "guy"}))) do
        taken = taken or (row.actors == 2 and row.version)
      end
    until taken
    for _ = 1, 20 do
      for i = 1, 5 do other:ask("send", {pid = "guy " .. i, name = "tick"}) end
    end
    assert.matches("^2 canaries: %d+ messages, 0 crashes", c:finish(id).value.canary)
    for _, row in ipairs(select(2, other:ask("ps", {pattern = "guy "}))) do assert.equal(21, row.messages, row.name) end
    n:signal "TERM"
    n:wait()
  end)
end)

describe("throng run --watch", function()
  it("reloads what is saved, several files as one change, by renaming, and says what came of it", function()
    local n = node.start {options = {"--watch"}, files = {
      ["guy.lua"] = "local shared = require 'shared' local G = {} function G:on_n() return shared end return G",
      ["shared.lua"] = "return 1", ["main.lua"] = ROOT}}
    n:read_until "ready"
    write(n, "shared.lua", "return 2")
    write(n, "guy.lua", "local shared = require 'shared' local G = {} function G:on_n() return -shared end return G")
    n:read_until "reload: guy %x+ %-> %x+: 5 actors took it in [%d.]+ ms\n"
    write(n, "guy.lua", "return nonsense(")
    n:read_until "error reload: compile: ./guy.lua:1: unexpected symbol near <eof> %(the old code runs on%)"
    write(n, "guy.new", "return {on_n = function() return 3 end}")
    assert(os.rename(n.dir .. "/guy.new", n.dir .. "/guy.lua"))
    n:read_until "reload: guy %x+ %-> %x+: 5 actors took it"
    n:signal "TERM"
    local r = n:wait()
    assert.are.equal(3, select(2, r.err:gsub("reload: ", "")))
  end)

  it("shows the README's demo: hunger grows by two", function()
    local readme
    do
      local file <close> = assert(io.open "README.md")
      readme = file:read "a"
    end
    local from, to = readme:match "sed %-i 's/([^/\n]+)/([^/\n]+)/' actors/guy%.lua"
    assert(from, "the README has the demo")
    local files = {}
    for _, name in ipairs {"world", "region", "regions", "guy", "loud_guy", "flock"} do
      local file <close> = assert(io.open("actors/" .. name .. ".lua"))
      files["actors/" .. name .. ".lua"] = file:read "a"
    end
    local n = node.start {options = {"--watch"}, main = "actors/world.lua", files = files, args = {"--rate", "50"}}
    n:read_until "hunger"
    local changed, count = files["actors/guy.lua"]:gsub((from:gsub("%p", "%%%0")), to)
    assert.are.equal(1, count)
    write(n, "actors/guy.lua", changed)
    n:read_until "reload: loud_guy %x+ %-> %x+: 3 actors took it"
    n:read_until "Tick"
    local before = tonumber((n:read_until "guy%-1 <[%d.]+> ticked hunger=(%d+)"))
    assert.are.equal(before + 2, tonumber((n:read_until "guy%-1 <[%d.]+> ticked hunger=(%d+)")))
    n:signal "INT"
    n:wait()
  end)
end)
