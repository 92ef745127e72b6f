local loop = require "door.loop"

local MS <const> = 1000000
local PATIENCE <const> = 20 * (tonumber(os.getenv("SPEC_SLOW")) or 1) -- seconds until something is broken
local HUP <const>, TERM <const> = 1, 15

--- Waits for `n` events in all, and returns what there are then.
local function events(n)
  assert(loop.wait(n, PATIENCE), ("%d events did not come, only %d"):format(n, #loop.events()))
  return loop.events()
end

describe("the loop", function()
  after_each(loop.close)

  it("fires a timer on its own thread, and not early", function()
    assert.equal("ok", loop.open())
    local due = loop.now() + 3 * MS
    assert(loop.add(due, 0, 42) > 0)
    local e = events(1)[1]
    assert.equal("timer", e.kind)
    assert.equal(42, e.b)
    assert(e.at >= due, "early")
    assert.not_equal(loop.thread(), e.thread)
    loop.submit(1)
    assert.equal(e.thread, events(2)[2].thread)
  end)

  it("wakes up for a timer that is sooner than the one it sleeps for", function()
    loop.open()
    loop.add(loop.now() + 3600000 * MS, 0, 1)
    loop.submit(0)
    events(1)
    loop.add(loop.now(), 0, 2)
    assert.equal(2, events(2)[2].b)
    loop.add(loop.now() + 2 * MS, 0, 3)
    assert.equal(3, events(3)[3].b)
  end)

  it("fires in the order in which timers are due", function()
    loop.open()
    local now = loop.now()
    for _, ms in ipairs {9, 2, 7, 4, 2} do loop.add(now + ms * MS, 0, ms) end
    local tags = {}
    for i, e in ipairs(events(5)) do
      assert(e.at >= e.a, "early")
      tags[i] = e.b
    end
    assert.same({2, 2, 4, 7, 9}, tags)
  end)

  it("runs a job that is waited for, also when asked by a job", function()
    loop.open()
    assert.equal("ok", loop.call(7))
    local e = loop.events()[1] -- it has run by now
    assert.same({"job", 7}, {e.kind, e.a})
    assert.not_equal(loop.thread(), e.thread)
    assert.equal("ok", loop.call_within(8))
    local seen = loop.events()
    assert.same({"job", 8, "after"}, {seen[2].kind, seen[2].a, seen[3].kind})
    loop.close()
    assert.equal("ECANCELED", loop.call(9))
  end)

  it("beats until cancelled", function()
    loop.open()
    local id = loop.add(loop.now(), MS, 1)
    events(5)
    assert.is_true(loop.cancel(id))
    assert.is_false(loop.cancel(id))
    loop.submit(99)
    loop.close() -- nothing fires later than this
    local seen = loop.events()
    local last = 0
    for i, e in ipairs(seen) do if e.kind == "job" then last = i end end
    local beats_after = 0
    for i = last + 1, #seen do if seen[i].kind == "timer" then beats_after = beats_after + 1 end end
    assert(beats_after <= 1, "it beats on") -- one may have begun when it was cancelled
  end)

  it("runs what is submitted, in the order of each thread", function()
    loop.open()
    assert.equal("ok", loop.threads(4, 5000))
    local last = {0, 0, 0, 0}
    for _, e in ipairs(events(20000)) do
      local thread, i = e.a >> 32, e.a & 0xffffffff
      assert.equal(last[thread] + 1, i)
      last[thread] = i
    end
  end)

  it("wakes up for each job, though it sleeps in between", function()
    loop.open()
    for i = 1, 500 do
      loop.submit(i)
      assert.equal(i, events(i)[i].a)
    end
  end)

  it("runs what a job submits", function()
    loop.open()
    loop.countdown(100)
    local seen = events(101)
    assert.equal(100, seen[1].a)
    assert.equal(0, seen[101].a)
  end)

  it("has run all that was submitted when close returns, and takes nothing more", function()
    for _ = 1, 20 do
      loop.open()
      for i = 1, 100 do assert.equal("ok", loop.submit(i)) end
      loop.close()
      local seen = loop.events()
      assert.equal(101, #seen)
      assert.equal(100, seen[100].a)
      assert.equal("end", seen[101].kind)
      assert.equal("ECANCELED", loop.submit(101))
      assert.equal(101, #loop.events())
    end
  end)

  it("ends though a job submits itself without end", function()
    loop.open()
    loop.countdown(math.maxinteger // 1000000 * 1000000 + 100)
    events(10)
    loop.close()
    local seen = loop.events()
    assert.equal("end", seen[#seen].kind)
    assert.equal("ECANCELED", seen[#seen - 1].kind)
  end)

  it("ends with timers waiting, and fires none of them later", function()
    loop.open()
    local id = loop.add(loop.now() + 3600000 * MS, 0, 1)
    loop.close()
    assert.equal(1, #loop.events())
    loop.cancel(id) -- harmless
  end)

  it("can't be opened twice, but again after it was closed", function()
    for _ = 1, 3 do
      assert.equal("ok", loop.open(true))
      assert.equal("EALREADY", loop.open())
      loop.close()
      loop.close()
    end
  end)

  it("tells signals on its own thread, each by its number", function()
    loop.open(true)
    loop.signal(HUP)
    local e = events(1)[1]
    assert.equal("signal", e.kind)
    assert.equal(HUP, e.a)
    assert.not_equal(loop.thread(), e.thread)
    loop.signal(TERM)
    assert.equal(TERM, events(2)[2].a)
  end)

  it("takes a broken pipe for an error and not for a signal", function()
    loop.open()
    loop.signal(13)
    loop.submit(1)
    assert.equal("job", events(1)[1].kind)
  end)

  it("is not woken by timers that are due after the one it sleeps for", function()
    loop.open()
    loop.add(loop.now() + 3600000 * MS, 0, 1)
    loop.submit(1)
    local thread = events(1)[1].thread
    local function wakeups()
      for line in io.lines(("/proc/self/task/%d/status"):format(thread)) do
        local n = line:match("^voluntary_ctxt_switches:%s*(%d+)")
        if n then return tonumber(n) end
      end
    end
    local before = wakeups()
    for i = 1, 5000 do loop.cancel(loop.add(loop.now() + 7200000 * MS + i * MS, 0, 2)) end
    loop.submit(2)
    events(2)
    assert(wakeups() - before < 500, wakeups() - before)
  end)
end)
