local node = require "spec.support.node"
local scenario = require "spec.support.scenario"
local seed = require "spec.support.seed"

local MAIN <const> = [[
  function Me:init() throng.spawn_with({allow = {"io", "reload"}, wait = 60000}, "driver") end
]]

--- What drivers share: a Guy whose file they write.
local KIT <const> = [[
local throng = require "throng"
local kit = {}
function kit.write(name, text)
  local file <close> = assert(io.open(name .. ".lua", "w"))
  file:write(text)
end
local GUY <const> = "local throng = require 'throng'\nlocal Guy = {}\n"
  .. "function Guy:init() self.hunger = 0 end\nfunction Guy:on_hunger() return self.hunger end\n"
--- Line 5 is the first of `more`.
function kit.guy(step, more)
  kit.write("guy", ("%s%s\nfunction Guy:on_tick() self.hunger = self.hunger + %d end\nreturn Guy\n"):format(
    GUY, more or "", step))
end
function kit.reload(...)
  local report = throng.reload("guy", ...)
  return report.ok and report.actors or report.stage, report
end
return kit
]]

local function run(driver, more)
  local o = {MAIN, driver = "local kit = require 'kit'\nlocal write, guy, reload = kit.write, kit.guy, kit.reload\n"
    .. driver, ["kit/init.lua"] = KIT}
  for k, v in pairs(more or {}) do o[k] = v end
  return scenario.run(o)
end

describe("a reload", function()
  it("changes the code of living actors, and keeps state, pid, names, links and what waits", function()
    local before, taken, good, born, report, again, changed, version, versions = run [[
      function Me:init()
        guy(1)
        local pids = {}
        for i = 1, 20 do pids[i] = throng.spawn_with({name = "guy " .. i, link = true}, "guy") end
        for i = 1, 20 do pids[i]:send "tick" end
        local before = pids[1]:ask "hunger"
        guy(2)
        for i = 1, 20 do pids[i]:send "tick" end -- by either version: 4 or 5 in the end
        local taken, report = reload()
        for i = 1, 20 do pids[i]:send "tick" end
        local good = true
        for i = 1, 20 do
          good = good and pids[i]:ask "hunger" // 2 == 2 and throng.whereis("guy " .. i) == pids[i]
        end
        local born = throng.spawn "guy"
        born:send "tick"
        local same = {reload()}
        done(before, taken, good, born:ask "hunger", report, same[1], #same[2].behaviours,
             throng.info(born).version, throng.versions "guy")
      end
    ]]
    assert.are.same({1, 20, true, 2, 0, 0}, {before, taken, good, born, again, changed})
    local row = report.behaviours[1]
    assert.are.same({"guy", 20, version}, {row.name, row.actors, row.to})
    assert.are.same({{version, true, 21, row.from}, {row.from, false, 0}},
                    {{versions[1].version, versions[1].current, versions[1].actors, versions[1].before},
                     {versions[2].version, versions[2].current, versions[2].actors}})
  end)

  it("leaves all as it was when any stage fails, and says which, and where", function()
    local rows, hungers, took = run([[
      local stages = {
        {"local x = = 1"},
        {"error 'no body'"},
        {"local n = 0 function Guy:on_n() n = n + 1 end"},
        {"local n = 0 local function up() n = n + 1 end function Guy:on_n() up() end"},
        {"function Guy:migrate() return self.hunger.no.such end"},
        {"function Guy:migrate() return 5 end"},
        {"function Guy:check() error 'bad' end"},
        {"function Guy:check() return false, 'not good' end"},
        {"function Guy:migrate() self.t = {} for i = 1, 1e9 do self.t[i] = {} end end"},
        {"function Guy:migrate() self.s = ('x'):rep(1e9) end"},
        {"function Guy:migrate() self.hunger = 99 while true do end end"},
        {"function Guy:migrate() self.hunger = 99 while true do pcall(error) end end"},
        {"function Guy:migrate() table.sort({1, 2, 3}, function() while true do end end) end"},
      }
      function Me:init()
        guy(1)
        local pids = {}
        for i = 1, 3 do pids[i] = throng.spawn "guy" end
        local rows, hungers = {}, {}
        for i, stage in ipairs(stages) do
          guy(2, stage[1])
          local what, r = reload()
          rows[i] = {what, r.file, r.line, r.message:match "[^\n]*", #throng.versions "guy" > 0}
          local sum = 0
          for _, pid in ipairs(pids) do pid:send "tick" sum = sum + pid:ask "hunger" end
          hungers[i] = sum
        end
        guy(2)
        done(rows, hungers, reload())
      end
    ]], {options = {"--set", "reload.timeout=" .. 50 * node.slow, "--set", "reload.memory=1m"}})
    local wanted = {
      {"compile", 5, "near"}, {"body", 5, "no body"}, {"static", 5, "assigns 'n'"}, {"static", 5, "assigns 'n'"},
      {"migrate", 5, "hunger"}, {"migrate", nil, "must return a table"}, {"check", 5, "bad"},
      {"check", nil, "not good"}, {"migrate", nil, "reload.memory"}, {"migrate", nil, "reload.memory"},
      {"migrate", nil, "longer than"}, {"migrate", nil, "longer than"},
      {"migrate", nil, "longer than"},
    }
    for i, want in ipairs(wanted) do
      local what = ("stage %d: %s"):format(i, table.concat({tostring(rows[i][1]), tostring(rows[i][4])}, " "))
      assert.are.equal(want[1], rows[i][1], what)
      assert.are.equal("./guy.lua", rows[i][2], what)
      if want[2] then assert.are.equal(want[2], rows[i][3], what) end
      assert.matches(want[3], rows[i][4], 1, true)
      assert.are.equal(3 * i, hungers[i], what)
    end
    assert.are.equal(3, took)
  end)

  it("migrates a copy of the state, checks it, and comes back by downgrade, or with the state as it is", function()
    local r = table.pack(run [[
      function Me:init()
        guy(1)
        local pid = throng.spawn "guy"
        pid:send "tick"
        guy(10, [=[
          function Guy:migrate(from)
            assert(#from == 16 and self:twice() == 2)
            self.old, self.friend.self = self.hunger, self
          end
          function Guy:twice() self.friend = {1, {2}} return 2 * self.hunger end
          function Guy:check() return self.old == self.hunger and self.friend.self == self end
          function Guy:downgrade(to) self.old, self.friend, self.hunger, self.back = nil, nil, self.hunger - 10, to end
          function Guy:on_old() return self.old, self.friend[2][1], self:twice() end]=])
        local first = reload()
        local old, two, twice = pid:ask "old"
        pid:send "tick"
        local hunger = pid:ask "hunger"
        local back = throng.rollback "guy"
        local after = pid:ask "hunger"
        guy(3, "function Guy:migrate() self.hunger = 'many' end")
        reload()
        local as_is = throng.rollback "guy"
        done(first, old, two, twice, hunger, back.downgraded, back.as_is, after, as_is.downgraded, as_is.as_is,
             pid:ask "hunger")
      end
    ]])
    r.n = nil
    assert.are.same({1, 1, 2, 2, 11, 1, 0, 1, 0, 1, "many"}, r)
  end)

  it("waits for handlers that wait, and cancels them when it is asked to, or when time is up", function()
    local r = table.pack(run([[
      function Me:init()
        guy(1, "function Guy:on_nap(ms) throng.sleep(ms) self.hunger = self.hunger + 1 return 'old' end")
        local pid = throng.spawn "guy"
        local nap = "function Guy:on_nap(ms) throng.sleep(ms) return 'new' end"
        local heard = {}
        local function ask(ms)
          throng.fork(function()
            local good, e = pcall(throng.ask, pid, "nap", ms)
            heard[#heard + 1] = good and e or e.code
            throng.register("heard " .. #heard)
          end)
          throng.sleep(1)
        end
        local function wait_for(n) while #heard < n do throng.sleep(1) end end
        ask(60)
        guy(2, nap)
        pid:send "tick" -- behind the nap, and before the swap: the new code's
        local drained, report = reload()
        wait_for(1)
        local hunger = pid:ask "hunger"
        ask(60000)
        guy(3, nap)
        local cancelled, report2 = reload {in_flight = "cancel"}
        wait_for(2)
        ask(60000)
        guy(4, nap)
        local hurried, report3 = reload {drain = 20}
        wait_for(3)
        pid:send "tick"
        done(drained, hunger, cancelled, report2.cancelled, hurried, report3.cancelled, pid:ask "hunger",
             heard[1], heard[2], heard[3])
      end
    ]]))
    r.n = nil
    assert.are.same({1, 3, 1, 1, 1, 1, 7, "old", "reloaded", "reloaded"}, r)
  end)

  it("lets coroutines of the old version finish in its code, and keeps at most two", function()
    local r = table.pack(run [[
      local function text(word, more)
        guy(1, ("Guy.concurrent = true function Guy:word() return '%s' end function Guy:on_word() return self:word() end "
          .. "function Guy:on_wait() self:sign() local a = self:word() throng.sleep(1) "
          .. "while not throng.whereis 'go' do throng.sleep(1) end self.seen = true return a, self:word(), '%s' end "
          .. "function Guy:sign() throng.register('waits ' .. self:word()) end %s")
          :format(word, word, more or ""))
      end
      function Me:init()
        text "one"
        local pid, heard = throng.spawn "guy", {}
        local function ask(word)
          throng.fork(function()
            heard[word] = table.pack(pcall(throng.ask, pid, "wait"))
            if not heard[word][1] then heard[word][2] = heard[word][2].code end
          end)
          while not throng.whereis("waits " .. word) do throng.sleep(1) end
        end
        ask "one"
        text("two", "function Guy:migrate() self.x = 1 end function Guy:on_seen() return self.seen, self.x end")
        reload()
        local two = pid:ask "word"
        ask "two"
        text("three", "function Guy:on_seen() return self.seen, self.x end")
        local _, report = reload()
        local three = pid:ask "word"
        throng.register "go"
        while not (heard.one and heard.two) do throng.sleep(1) end
        local seen, x = pid:ask "seen"
        done(two, three, report.cancelled, heard.one[2], heard.two[2], heard.two[3], heard.two[4], seen, x,
             pid:ask "word")
      end
    ]])
    r.n = nil
    assert.are.same({"two", "three", 1, "reloaded", "two", "two", "two", true, 1, "three"}, r)
  end)

  it("lets timers go on by name; a handler that is gone is a dead letter with the version in it", function()
    local reason, behaviour, right, later = run [[
      function Me:on_dead_letter(letter) self.letter = self.letter or letter end
      function Me:init()
        throng.dead_letters(true)
        guy(1, "function Guy:on_start() throng.every(1, 'beat') throng.every(1, 'tick') end function Guy:on_beat() end")
        self.pid = throng.spawn "guy"
        self.pid:ask "start" -- a reload would overtake what is only sent
        guy(0, "function Guy:migrate() self.hunger = 1000 end "
          .. "function Guy:on_tick() self.hunger = self.hunger + 1 end Guy.on_tock = Guy.on_tick")
        throng.fork(function()
          reload()
          while not self.letter do throng.sleep(1) end
          while self.pid:ask "hunger" < 1000 do throng.sleep(1) end
          done(self.letter.reason, self.letter.behaviour, self.letter.version == throng.info(self.pid).version,
               self.pid:ask "hunger" >= 1000)
        end)
      end
    ]]
    assert.are.same({"no_handler", "guy", true, true}, {reason, behaviour, right, later})
    assert.matches("dead letter: beat%(%) from <%d+%.1> to <%d+%.1>: it has no such handler %(guy, version %x+%)",
                   scenario.last.err)
  end)

  it("reloads all that require a module as one set, or none of them", function()
    local r = table.pack(run [[
      local function shared(n, more) write("shared", ("local m = {n = %d} %s return m"):format(n, more or "")) end
      local function user(name, more)
        write(name, "local shared = require 'shared' local Me = {} function Me:on_n() return shared.n end "
          .. (more or "") .. " return Me")
      end
      function Me:init()
        shared(1) user "one" user "two"
        write("three", "return {on_n = function() return 3 end}")
        local one, two, three = throng.spawn "one", throng.spawn "two", throng.spawn "three"
        local before = one:ask "n" + two:ask "n"
        shared(2)
        local first = throng.reload "shared"
        local after = one:ask "n" * 10 + two:ask "n"
        shared(3) user("two", "function Me:check() return false end")
        local second = throng.reload "one" -- it requires what two requires, too
        local still = one:ask "n" * 10 + two:ask "n"
        user "two"
        local third = throng.reload()
        local born = throng.spawn("one"):ask "n"
        local back = throng.rollback "one"
        done(before, #first.behaviours, first.actors, after, second.ok, second.stage, still, third.actors, born,
             #back.behaviours, one:ask "n" * 10 + two:ask "n", throng.spawn("two"):ask "n")
      end
    ]])
    r.n = nil
    assert.are.same({2, 2, 2, 22, false, "check", 22, 2, 3, 2, 22, 2}, r)
  end)

  it("gives actors a new VM, with the state through the codec", function()
    local r = table.pack(run([[
      function Me:init()
        local odd = "function Guy:on_odd() self.f = print end function Guy:on_even() self.f = nil end "
          .. "function Guy:on_left() local l = left left = 1 return l, self.deep and self.deep[1].x end "
          .. "function Guy:on_beat() throng.every(1, 'tick') end "
          .. "function Guy:on_fork() self.forks = throng.now() throng.fork(function() throng.sleep(60000) end) end "
        guy(1, odd)
        local pids = {}
        for i = 1, 3 do pids[i] = throng.spawn_with({name = "guy " .. i, allow = i == 2 and {"io"} or nil}, "guy") end
        for i = 1, 3 do pids[i]:send "tick" pids[i]:ask "left" end
        local kept = pids[1]:ask "left"
        guy(2, odd .. "function Guy:migrate() self.hunger, self.deep = self.hunger + 10, {{x = 5}} end")
        local taken = reload {mode = "vm"}
        local gone, deep = pids[1]:ask "left"
        local hunger, granted = pids[1]:ask "hunger", pids[2]:ask "hunger"
        pids[3]:ask "odd"
        guy(3, odd)
        local refused, why = reload {mode = "vm"}
        local still = pids[1]:ask "left"
        pids[3]:ask "even"
        guy(3, odd .. "function Guy:migrate() while self.hunger do end end")
        local slow = reload {mode = "vm"}
        guy(3, odd .. "function Guy:check() return false, 'no' end")
        local checked = reload {mode = "vm"}
        pids[1]:ask "beat"
        pids[2]:ask "fork"
        guy(3, odd)
        local last, report = reload {mode = "vm", drain = 20}
        while pids[1]:ask "hunger" < 30 do throng.sleep(1) end
        local again = reload {mode = "vm"}
        pids[2]:send "tick"
        done(kept, taken, gone == nil, deep, hunger, granted, refused, why.message, still, slow, checked, last,
             report.cancelled, again, throng.whereis "guy 3" == pids[3], pids[2]:ask "hunger")
      end
    ]], {options = {"--set", "reload.timeout=" .. 50 * node.slow}}))
    assert.matches("its state can't go to a new VM: self.f: a function can't be sent", table.remove(r, 8))
    r.n = nil
    assert.are.same({1, 3, true, 5, 11, 11, "swap", 1, "migrate", "check", 3, 1, 3, true, 14},
                    {table.unpack(r, 1, 15)})
  end)

  it("tries a share of the actors first, and takes it back if they do worse", function()
    local r = table.pack(run([[
      function Me:init()
        guy(1)
        local pids = {}
        for i = 1, 40 do pids[i] = throng.spawn "guy" end
        local stop
        throng.fork(function() while not stop do throng.send_all(pids, "tick") throng.sleep(1) end end)
        guy(2, "function Guy:on_two() return 2 end")
        local good, report = reload {canary = "10%", watch = 100}
        guy(3, "function Guy:on_tick() error 'dies' end local Guy = setmetatable({}, {__newindex = function(_, k, v) "
          .. "if k ~= 'on_tick' then Guy[k] = v end end, __index = Guy}) do local G = Guy end")
        write("guy", "local Guy = {} function Guy:on_tick() error 'dies' end "
          .. "function Guy:on_hunger() return self.hunger end return Guy")
        local bad, report2 = reload {canary = 3, watch = 30000}
        stop = true
        local alive, two = 0, 0
        for _, pid in ipairs(pids) do
          if throng.info(pid) then alive, two = alive + 1, two + pid:ask "two" end
        end
        done(good, report.canaries, report.canary, bad, report2.canaries, report2.message, alive, two)
      end
    ]], {options = {"--log", "off"}}))
    assert.are.same({40, 4}, {r[1], r[2]})
    assert.matches("4 canaries: %d+ messages, 0 crashes, p99 [%d.]+ us; the rest: %d+ messages, 0 crashes", r[3])
    assert.are.same({"swap", 3}, {r[4], r[5]})
    assert.matches("taken back: 3 canaries.*they crash more often", r[6])
    assert.are.same({37, 74}, {r[7], r[8]})
  end)

  it("is for the root and for whom may, one at a time, and not of who waits for it", function()
    local r = table.pack(scenario.run {[[
      function Me:init()
        local plain = throng.spawn "plain"
        local code = try(plain.ask, plain, "reload").message
        local option = try(throng.reload, "main", {dry = true}).message
        for _, wrong in ipairs {print, 5, true, {5}, {"a\0b"}, {{}}} do assert(try(throng.reload, wrong)) end
        for key, list in pairs {in_flight = {"wait", 5}, drain = {-1, 0, 0/0, "x", 1e300}, watch = {0, {}},
                                mode = {"new"}, canary = {0, "5", "0%", "101%", {}}, force = {1}} do
          for _, v in ipairs(list) do
            assert(try(throng.reload, "main", {[key] = v}).message:find("option '" .. key .. "' must be", 1, true))
          end
        end
        assert(try(throng.versions, {}) and try(throng.rollback))
        local unknown = throng.reload "nobody"
        local own = throng.reload("main", {force = true})
        throng.fork(function()
          local forked = throng.reload("main", {force = true})
          done(code, option, unknown.message, own.message, forked.ok, forked.actors, forked.message)
        end)
      end
    ]], plain = "function Me:on_reload() throng.reload 'plain' end"})
    assert.matches("this actor may not", r[1])
    assert.matches("unknown option 'dry'", r[2])
    assert.matches("no actor's module is named 'nobody'", r[3])
    assert.matches("would wait for itself", r[4])
    assert.are.same({true, 1}, {r[5], r[6]}, r[7])
  end)

  it("takes all back when one that was ready, and has worked since, fails to migrate after all", function()
    local r = table.pack(run [[
      function Me:init()
        guy(1)
        local pids = {}
        for i = 1, 4 do pids[i] = throng.spawn_with({name = i == 4 and "a" or nil}, "guy") end
        for i = 1, 4 do pids[i]:ask "hunger" end -- who is not born yet migrates nothing
        guy(2, "function Guy:migrate() self.hunger = 1000 if throng.self() == throng.whereis 'a' then "
          .. "assert(throng.register 'a is ready', 'not twice') "
          .. "else while not throng.whereis 'a has worked' do end end end")
        throng.fork(function()
          while not throng.whereis "a is ready" do throng.sleep(1) end
          pids[4]:send "tick"
          pids[4]:ask "hunger"
          throng.register "a has worked"
        end)
        local stage, report = reload()
        local sum, born = 0, throng.spawn "guy"
        pids[5] = born
        for _, pid in ipairs(pids) do pid:send "tick" sum = sum + pid:ask "hunger" end
        done(stage, report.message:match "not twice", report.actor == pids[4], report.as_is, sum,
             throng.versions("guy")[2].actors, throng.versions("guy")[2].current)
      end
    ]])
    r.n = nil
    assert.are.same({"migrate", "not twice", true, 0, 6, 5, true}, r)
  end)

  it("goes on without an actor that is killed in the middle, and ends with who asked for it", function()
    local r = table.pack(run([[
      function Me:init()
        guy(1)
        local pids = {}
        for i = 1, 3 do pids[i] = throng.spawn "guy" end
        for i = 1, 3 do pids[i]:ask "hunger" end
        -- in its migrate, the second one waits for a word; killed in there, the others get the version
        guy(2, "function Guy:migrate() if throng.self() == throng.whereis 'second' then throng.register 'inside' "
          .. "while true do end end end")
        local second = throng.spawn_with({name = "second"}, "guy")
        second:ask "hunger"
        throng.fork(function()
          while not throng.whereis 'inside' do throng.sleep(1) end
          throng.kill(second)
        end)
        local taken, report = reload()
        pids[1]:send "tick"
        -- and who asks is killed while all are in it
        guy(3, "function Guy:migrate() pcall(throng.register, 'in three') while true do end end")
        local asker = throng.spawn_with({name = "asker", allow = {"reload"}}, "asker")
        while not throng.whereis "in three" do throng.sleep(1) end
        throng.kill(asker)
        throng.await(asker, 10000)
        local n = 0
        local function ready() n = n + 1 return pcall(throng.reload, "kit") end
        while not ready() do throng.sleep(1) end
        for _, pid in ipairs(pids) do pid:send "tick" end
        local sum = 0
        for _, pid in ipairs(pids) do sum = sum + pid:ask "hunger" end
        local versions, guys = throng.versions "guy", 0
        for _, v in ipairs(versions) do if v.current then guys = v.actors end end
        done(taken, report.gone, sum, guys)
      end
    ]], {asker = "function Me:init() throng.reload 'guy' end", options = {"--set", "reload.timeout=5000"}}))
    r.n = nil
    assert.are.same({3, 1, 8, 3}, r)
  end)

  it("at random moments, of random versions, among thousands of messages, does what the model says", function()
    local good, messages, reloads, fails = run(([[
      math.randomseed(%d)
      local random = math.random
      function Me:init()
        guy(1)
        local pids, model, step = {}, {}, 1
        local function born() return {base = 0, ticks = 0, least = step, most = step} end
        for i = 1, 8 do pids[i], model[i] = throng.spawn "guy", born() end
        local messages, reloads, fails = 0, 0, 0
        -- What was sent and not yet seen may be handled by any version there was meanwhile.
        local function check(i)
          local hunger, m = pids[i]:ask "hunger", model[i]
          local least, most = m.base + m.ticks * m.least, m.base + m.ticks * m.most
          assert(least <= hunger and hunger <= most,
                 ("guy %%d: %%s, and the model says %%s to %%s"):format(i, hunger, least, most))
          m.base, m.ticks, m.least, m.most = hunger, 0, step, step
        end
        while messages < 4000 do
          for _ = 1, random(100) do
            local i = random(#pids)
            if random(50) == 1 then check(i)
            else pids[i]:send "tick" model[i].ticks = model[i].ticks + 1 messages = messages + 1 end
          end
          local choice = random(10)
          if choice <= 5 then
            local new, bump = random(1000), random(9)
            guy(new, choice <= 2 and ("function Guy:migrate() self.hunger = self.hunger + %%d end "
              .. "function Guy:downgrade() self.hunger = self.hunger - %%d end"):format(bump, bump) or "")
            local report = throng.reload("guy", {in_flight = random(2) == 1 and "cancel" or "drain"})
            assert(report.ok, report.message)
            if #report.behaviours > 0 then
              step = new
              for _, m in ipairs(model) do
                m.least, m.most = math.min(m.least, new), math.max(m.most, new)
                if choice <= 2 then m.base = m.base + bump end
              end
              reloads = reloads + 1
            end
          elseif choice <= 7 then
            guy(7, ({"function Guy:migrate() error 'no' end", "error 'no'", "(", "function Guy:check() return false end",
                     "function Guy:migrate() if self.hunger %% 2 == 0 then error 'even' end end"})[random(4)])
            assert(not throng.reload("guy").ok)
            fails = fails + 1
          elseif choice == 8 then
            pids[#pids + 1], model[#model + 1] = throng.spawn "guy", born()
          elseif choice == 9 and #pids > 2 then
            throng.kill(table.remove(pids))
            table.remove(model)
          end
          if random(2) == 1 then for i in ipairs(pids) do check(i) end end
        end
        for i in ipairs(pids) do check(i) end
        done(true, messages, reloads, fails)
      end
    ]]):format(seed), {options = {"--log", "off"}})
    assert.is_true(good, "with SEED=" .. seed)
    assert.is_true(messages >= 4000 and reloads > 5 and fails > 5, "with SEED=" .. seed)
  end)

  it("under load loses no message, and stops no beat for long", function()
    local taken, lost, answers, stall = run([[
      function Me:init()
        guy(1)
        local pids, sent, left = {}, 0, 0
        local count = 2000
        for i = 1, count do pids[i] = throng.spawn "guy" end
        throng.ask(pids[count], "hunger")
        local stop, longest = false, 0
        throng.fork(function()
          while not stop do
            sent = sent + throng.send_all(pids, "tick")
            throng.sleep(1)
          end
        end)
        throng.fork(function()
          while not stop do
            local begun = throng.now()
            throng.ask(pids[count // 2], "hunger")
            longest = math.max(longest, throng.now() - begun)
            throng.sleep(1)
          end
        end)
        throng.sleep(20)
        longest = 0
        guy(1, "function Guy:on_new() return self.hunger, 'new' end")
        local taken = reload()
        throng.sleep(20)
        stop = true
        local sum, new = 0, 0
        for _, pid in ipairs(pids) do
          local hunger, word = pid:ask "new"
          sum, new = sum + hunger, new + (word == "new" and 1 or 0)
        end
        done(taken == count, sent - sum, new == count, longest)
      end
    ]])
    assert.are.same({true, 0, true}, {taken, lost, answers})
    assert.is_true(stall > 0)
  end)
end)
