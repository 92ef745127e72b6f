local config = require "door.config"

local function fails(assignment, room)
  local before = config.get()
  local ok, name, why = config.set(assignment, room)
  assert.is_nil(ok, assignment)
  assert.equal("EINVAL", name)
  assert.same(before, config.get())
  assert.is_nil(why:find("%c"), "more than one line")
  return why
end

describe("config", function()
  before_each(config.preset)

  it("starts with the defaults of the table, the node's own too", function()
    local got = config.get()
    for _, s in ipairs(config.settings()) do assert.equal(s.preset, got[s.name], s.key) end
    assert.same(got, config.node())
  end)

  it("sets one setting and leaves the rest", function()
    local expected = config.get()
    assert.is_true(config.set("ask.timeout=250"))
    expected.ask_timeout = 250
    assert.same(expected, config.get())
  end)

  it("takes each setting's own bounds and nothing beyond", function()
    for _, s in ipairs(config.settings()) do
      assert.is_true(config.set(("%s=%d"):format(s.key, s.least)))
      assert.equal(s.least, config.get()[s.name])
      assert.is_true(config.set(("%s=%d"):format(s.key, s.most)))
      assert.equal(s.most, config.get()[s.name])
      fails(("%s=%d"):format(s.key, s.least - 1))
      if s.most < math.maxinteger then fails(("%s=%d"):format(s.key, s.most + 1)) end
    end
  end)

  it("knows k, m and g, small or large", function()
    local sizes <const> = {["64k"] = 1 << 16, ["3m"] = 3 << 20, ["2g"] = 1 << 31, ["64K"] = 1 << 16, ["9G"] = 9 << 30}
    for text, bytes in pairs(sizes) do
      assert.is_true(config.set("actor.memory=" .. text))
      assert.equal(bytes, config.get().actor_memory)
    end
  end)

  it("says what is wrong with a value, and what would be right", function()
    assert.equal("workers=1025: must be from 0 to 1024", fails "workers=1025")
    assert.equal("workers=-1: must be from 0 to 1024", fails "workers=-1")
    assert.equal("actor.memory=63k: must be from 64k to 1024g", fails "actor.memory=63k")
    assert.equal("workers=two: not a whole number from 0 to 1024 (k, m or g may follow it)", fails "workers=two")
    assert.equal("workers needs a value: workers=N with N from 0 to 1024", fails "workers=")
    assert.equal("workers needs a value: workers=N with N from 0 to 1024", fails "workers")
  end)

  it("takes no number with something around or inside it", function()
    for _, value in ipairs {" 1", "1 ", "+1", "--1", "-", "1.5", "1e3", "0x10", "1kk", "k", "1kb", "1t", "1,000", "١",
                            "1\n"} do
      assert.matches("not a whole number", fails("workers=" .. value))
    end
  end)

  it("is not fooled by numbers that 64 bits don't hold", function()
    for _, value in ipairs {"18446744073709551617", "9223372036854775808", "9007199254740993g", "17179869184g",
                            "-9223372036854775808", ("9"):rep(400)} do
      assert.matches("must be from 0 to 1024", fails("workers=" .. value))
    end
    assert.is_true(config.set("sched.seed=9223372036854775807"))
    assert.equal(math.maxinteger, config.get().sched_seed)
  end)

  it("names the nearest key when it does not know one", function()
    for typed, meant in pairs {["worker"] = "workers", ["wrokers"] = "workers", ["actor.memry"] = "actor.memory",
                               ["actors_limit"] = "actors.limit", ["mailboxlimit"] = "mailbox.limit",
                               ["ask.timeuot"] = "ask.timeout", ["Sched.Seed"] = "sched.seed", ["WORKERS"] = nil} do
      assert.equal(('no setting is called "%s"; did you mean "%s"?'):format(typed, meant), fails(typed .. "=1"))
    end
    assert.matches("did you mean", fails(("x"):rep(5000) .. "=1"))
    assert.matches("no setting is called", fails "workers =1")
    assert.matches("key=value", fails "=1")
    assert.matches("key=value", fails "")
  end)

  it("keeps its errors to one line, whatever was typed, and to the room there is", function()
    assert.matches('"a%?b%?%[31m"', fails "a\nb\27[31m=1")
    assert.equal("no setti", fails("nothing=1", 9))
    assert.equal("", fails("nothing=1", 1))
  end)

  it("lists every key with its default, text and bounds, one line each", function()
    local lines, settings = config.list(), config.settings()
    assert.equal(#settings, #lines)
    for i, s in ipairs(settings) do
      assert.equal(1, (lines[i]:find(s.key .. "=", 1, true)))
      assert.truthy(lines[i]:find(s.text, 1, true), s.key)
      assert.is_nil(lines[i]:find("\n"))
      assert(#lines[i] <= 110, lines[i])
    end
    assert.matches("^actor.memory=64m +bytes one actor's VM may hold %(64k to 1024g%)$", lines[3])
  end)
end)
