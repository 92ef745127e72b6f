--- `throng test` from outside: what passes, what fails and with which words, and that a seed brings it back.
local cjson = require "cjson"
local node = require "spec.support.node"
local process = require "door.process"

local HEAD <const> = 'local testkit, throng = require "throng.testkit", require "throng"\n'

--- Runs specs: results by the tests' names, with the last line's sums under "".
local function test(files, ...)
  local all = {}
  for name, text in pairs(files) do all[name] = name:find("_spec") and HEAD .. text or text end
  local r = node.run {files = all, command = {"test", "--json", ...}}
  local results = {}
  for _, line in ipairs(r.lines) do
    local ok, object = pcall(cjson.decode, line)
    if ok then results[object.name or ""] = object end
  end
  return results, r
end

local function usage(...) return node.run {files = {}, command = {"test", ...}} end

describe("throng test", function()
  it("runs the kit's own specs, whatever the seed", function()
    local here = process.getcwd()
    local r = node.run {command = {"test", "--config", "none", "--pattern", "kit", "--repeat", "3",
                                   here .. "/spec/lua/testkit"}}
    assert.are.equal("", r.err)
    assert.are.equal(0, r.code, r.out)
    assert.matches("26 successes / 0 failures / 0 errors", r.out)
  end)

  it("runs the world's specs on two workers, too", function()
    local here = process.getcwd()
    for _, workers in ipairs {"1", "2"} do
      local r = node.run {command = {"test", "--config", "none", "--workers", workers, here .. "/actors"}}
      assert.are.equal(0, r.code, r.out .. r.err)
      assert.matches("9 successes / 0 failures / 0 errors", r.out)
    end
  end)

  describe("fails a test", function()
    local results, r
    setup(function()
      results, r = test({["spec/a_spec.lua"] = [[
        it("wrong", function() assert.are.equal(1, 2) end)
        it("crash", function()
          testkit.spawn({on_go = function() error("bang") end}):send("go")
        end)
        it("grandchild", function()
          testkit.spawn({init = function(_, module) throng.spawn(module) end},
                        testkit.behaviour {init = function() error("deep") end})
        end)
        it("letter", function() testkit.spawn({}):send("nobody hears", 1) end)
        it("leak", function()
          testkit.spawn({init = function(_, module) throng.spawn_with({name = "orphan"}, module) end},
                        testkit.behaviour {})
        end)
        it("order", function()
          local p = testkit.probe()
          p.pid:send("first", 1)
          p.pid:send("second")
          p:expect("second")
        end)
        it("nothing", function() testkit.probe():expect("word", 20) end)
        it("something", function()
          local p = testkit.probe()
          p.pid:send("word", {a = 1})
          p:expect_none()
        end)
        it("stub", function() testkit.stub({}).pid:send("what") end)
        it("stubbed", function()
          local stub = testkit.stub {on_x = function() assert.are.equal(1, 2) end}
          pcall(stub.pid.ask, stub.pid, "x")
        end)
        it("alive", function()
          local p, x = testkit.probe(), testkit.spawn({})
          p:watch(x)
          p:expect_down(x, 10)
        end)
        it("no crash", function() testkit.expect_crash(nil, 10) end)
        it("upvalue", function()
          local p = testkit.probe()
          testkit.spawn({on_go = function() p:expect("x") end})
        end)
        it("terminate", function() testkit.spawn({terminate = function() error("at the end") end}) end)
        it("loop", function() while true do end end)
        it("stubborn", function() while true do pcall(function() while true do end end) end end)
        it("shutdown", function() testkit.spawn {init = function() throng.shutdown(0) end} end)
        it("good", function() end)
      ]]}, "--timeout", "150", "--seed", "77")
    end)

    local function holds(name, status, text)
      local result = results[name]
      assert.is_truthy(result, r.out .. r.err)
      assert.are.equal(status, result.status, name)
      if text then assert.is_truthy(result.message:find(text, 1, true), result.message) end
    end

    it("that is wrong, as busted does, and no other", function()
      holds("wrong", "failure", "spec/a_spec.lua:2: Expected objects to be equal")
      holds("good", "success")
      assert.are.equal(1, r.code)
    end)

    it("in which somebody crashes, also a grandchild, with the report", function()
      holds("crash", "failure", "crashed in handler go() after 0 ms: spec/a_spec.lua:4: bang")
      holds("crash", "failure", "stack traceback")
      holds("grandchild", "failure", "deep")
    end)

    it("in which a message is lost", function()
      holds("letter", "failure", 'dead letter: nobody hears(1) from the spec')
    end)

    it("that leaves somebody behind, or ends somebody who fails at that", function()
      holds("leak", "error", "left behind: orphan <")
      holds("terminate", "error", "at the end")
    end)

    it("whose probe gets something else, and says what", function()
      holds("order", "failure", "expected second: what came next is first(1) from the spec")
      holds("nothing", "failure", "expected word within 20 ms: nothing came")
      holds("something", "failure", "expected nothing: word({a = 1}) from the spec came")
      holds("alive", "failure", "it goes on")
      holds("no crash", "failure", "there was none within 10 ms")
    end)

    it("whose stub is asked for what it has not, or fails", function()
      holds("stub", "failure", "has no on_what for what() from the spec")
      holds("stubbed", "failure", "in a stub: ")
    end)

    it("whose inline behaviour uses what can't go along, by its name", function()
      holds("upvalue", "error", "on_go, its upvalue 'p': a table with a metatable can't go into another actor")
    end)

    it("in which somebody would end the node", function()
      holds("shutdown", "failure", "nobody expected: throng.shutdown(0) by <")
    end)

    it("that does not end, also if it catches errors", function()
      holds("loop", "error", "its time is up (--timeout)")
      holds("stubborn", "error", "its time is up (--timeout)")
    end)

    it("and tells how to have it again", function()
      assert.matches("throng: seed 77; again:\n  throng test --seed 77 --only wrong spec/a_spec.lua\n", r.err, 1, true)
    end)
  end)

  describe("with a seed", function()
    local RACE <const> = [[
      it("others", function() testkit.spawn({}) testkit.advance(100) end)
      it("race", function()
        local probe, words = testkit.probe(), {}
        for i = 1, 5 do
          testkit.spawn({on_go = function(_, to)
            for _ = 1, 6 do to:send("m", i) for j = 1, 20000 do _ = j end end
          end}):send("go", probe.pid)
        end
        for i = 1, 30 do words[i] = probe:expect("m") end
        local luck = testkit.spawn {on_draw = function() return math.random(1000000) end}
        error(("order %s %d %d"):format(table.concat(words), math.random(1000000), luck:ask("draw")))
      end)
    ]]
    local function order(...)
      local results, r = test({["spec/race_spec.lua"] = RACE}, ...)
      local found = results.race and results.race.message:match("order (%d+ %d+ %d+)")
      assert.is_truthy(found, r.out .. r.err)
      return found, found:match("%d+")
    end

    it("does the same again, and with another seed something else", function()
      local first, seen = order("--seed", "1"), {}
      assert.are.equal(first, order("--seed", "1"))
      assert.are.equal(first, order("--seed", "1", "--only", "race"))
      local kinds = 0
      for seed = 2, 6 do
        local _, is = order("--seed", tostring(seed)) -- who came when
        if not seen[is] then kinds = kinds + 1 end
        seen[is] = true
      end
      assert.is_true(kinds >= 4)
    end)

    it("that is 0 runs all in turn, and however long a handler takes it is not interrupted", function()
      for _ = 1, 3 do
        local _, is = order("--seed", "0")
        assert.are.equal("111111222222333333444444555555", is)
      end
    end)

    it("hunts for one that fails, and stops there", function()
      local results, r = test({["spec/hunt_spec.lua"] = [[
        it("rare", function() assert.is_true(math.random(4) > 1) end)
      ]]}, "--repeat", "200")
      assert.are.equal(1, r.code)
      local seed = r.err:match("throng test %-%-seed (%d+) %-%-only rare")
      assert.is_truthy(seed, r.err)
      assert.are.equal("failure", results.rare.status)
      local again = test({["spec/hunt_spec.lua"] = [[
        it("rare", function() assert.is_true(math.random(4) > 1) end)
      ]]}, "--seed", seed)
      assert.are.equal("failure", again.rare.status)
    end)
  end)

  it("sees what goes wrong in setups, ends their actors with the file, and limits them", function()
    local results, r = test({
      ["spec/a_spec.lua"] = [[
        describe("early", function()
          setup(function()
            throng.spawn_with({name = "stays"}, testkit.behaviour {})
            throng.spawn(testkit.behaviour {init = function() error("early bang") end})
          end)
          it("hears of it", function() end)
          it("only once", function() assert.is_truthy(throng.whereis "stays") end)
        end)]],
      ["spec/b_spec.lua"] = [[
        it("is alone", function() assert.is_nil(throng.whereis "stays") end)
        describe("stuck", function()
          before_each(function() while true do end end)
          it("does not begin", function() end)
        end)
        it("has no lfs", function() assert.is_false((pcall(require, "lfs"))) end)]],
    }, "--timeout", "150")
    assert.matches("early bang", results["early hears of it"].message, 1, true)
    assert.are.equal("failure", results["early hears of it"].status)
    for _, name in ipairs {"early only once", "is alone", "has no lfs"} do
      assert.are.equal("success", (results[name] or {}).status, name .. r.out .. r.err)
    end
    assert.matches("its time is up", r.out, 1, true)
  end)

  it("finds specs and modules by .busted, and prefers the task throng", function()
    local results, r = test({
      [".busted"] = [[return {default = {ROOT = {"nowhere"}},
                              throng = {ROOT = {"checks"}, lpath = "./mine/?.lua", pattern = {"_spec"}}}]],
      ["mine/echo.lua"] = "return {on_say = function(_, x) return x end}",
      ["checks/echo_spec.lua"] = [[
        it("first", function() x_global = 1 assert.are.equal(5, testkit.spawn("echo"):ask("say", 5)) end)]],
      ["checks/more_spec.lua"] = [[
        it("has no globals of the file before", function() assert.is_nil(rawget(_G, "x_global")) end)]],
    })
    assert.are.equal("success", (results.first or {}).status, r.out .. r.err)
    assert.are.equal("success", results["has no globals of the file before"].status)
    assert.are.equal(0, r.code)
  end)

  it("has busted's handlers", function()
    local files = {["spec/a_spec.lua"] = 'it("is", function() end)'}
    for output, wanted in pairs {TAP = "^ok 1 %- is\n1..1\n$", junit = "name='is'", gtest = "PASSED",
                                 plainTerminal = "1 success / 0 failures"} do
      local r = node.run {files = files, command = {"test", "-o", output}}
      assert.matches(wanted, r.out)
      assert.are.equal(0, r.code)
    end
  end)

  it("says what is wrong with its arguments, in one line", function()
    for _, case in ipairs {
      {"no specs in spec: none of the files", "spec"}, {"nowhere: No such file", "nowhere"},
      {"--seed 'x': a whole number", "--seed", "x"}, {"unknown option '--frob'", "--frob"},
      {"'--seed' wants a value", "--seed"}, {"--filter '(': no Lua pattern", "--filter", "("},
      {"--output 'nix': one of", "-o", "nix", "spec"}, {"--workers 'many'", "--workers", "many"},
      {"no task 'x'", "--run", "x"}, {"--repeat '0'", "--repeat", "0"},
    } do
      local r = node.run {files = {["spec/none.lua"] = "", [".busted"] = "return {}"},
                          command = {"test", table.unpack(case, 2)}}
      assert.are.equal(2, r.code, case[1])
      assert.is_truthy(r.err:find(case[1], 1, true), r.err)
      assert.are.equal(1, select(2, r.err:gsub("\n", "")), r.err)
    end
    local help = usage("--help")
    assert.are.equal(0, help.code)
    assert.matches("usage: throng test", help.out)
  end)

  it("fails for a file that does not parse, and goes on", function()
    local results, r = test {["spec/a_spec.lua"] = "it(", ["spec/b_spec.lua"] = 'it("is", function() end)'}
    assert.are.equal(1, r.code)
    assert.are.equal("success", results.is.status)
  end)

  it("has a kit whose functions all tell editors what they take", function()
    local lines, count = {}, 0
    for line in io.lines("lua/throng/testkit.lua") do
      lines[#lines + 1] = line
      if line:find("^function [%u]%w+[:.][%l]") and not line:find(":came") or line:find("^function testkit%.") then
        count = count + 1
        assert.matches("^%-%-%-", lines[#lines - 1], line)
        local args = line:match("%b()"):sub(2, -2)
        for arg in args:gmatch("[%w_.]+") do
          local told = arg == "_"
          for i = #lines - 1, 1, -1 do
            if not lines[i]:find("^%-%-%-") then break end
            told = told or lines[i]:find("^%-%-%-@param " .. arg:gsub("%p", "%%%0") .. "%??%s") ~= nil
          end
          assert.is_truthy(told, line .. ": " .. arg)
        end
      end
    end
    assert.is_true(count > 25)
  end)

  it("is where the kit works, and nowhere else", function()
    local r = node.run {script = 'require "throng.testkit"'}
    assert.are.equal(1, r.code)
    assert.matches("throng.testkit is for specs: run them with 'throng test DIR'", r.err)
    r = node.run {script = [[return {init = function()
      print(pcall(require, "busted"))
      require "throng".shutdown()
    end}]]}
    assert.matches("no module 'busted'", r.out)
  end)
end)
