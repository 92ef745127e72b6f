local log = require "door.log"

local STAMP <const> = "^%d%d%d%d%-%d%d%-%d%dT%d%d:%d%d:%d%d%.%d%d%dZ "
local MB <const> = 1 << 20

--- Opens the log on a file, runs `body`, and returns what was written by then: with and without the stamps.
local function logged(level, body)
  local fd = log.file()
  assert.equal("ok", log.open(level, fd))
  body(fd)
  log.close()
  local text = log.text(fd)
  log.close_fd(fd)
  local lines = {}
  for line in text:gmatch("([^\n]*)\n") do
    if line:match(STAMP) then line = line:gsub(STAMP, "") end
    lines[#lines + 1] = line
  end
  return lines, text
end

describe("the log", function()
  after_each(log.close)

  it("writes a line with the time in UTC, level, who and text", function()
    local lines, text = logged("debug", function()
      log.write("info", "guy-1 <12.1>", "spawned guy=<13.1>")
      log.write("debug", "a", "b")
      log.write("warn", "a", "b")
      log.write("error", "a", "b")
      log.write("info", nil, "nobody said this")
      log.write("info", "", "nor this")
    end)
    assert.same({"info  guy-1 <12.1> spawned guy=<13.1>", "debug a b", "warn  a b", "error a b",
                 "info  nobody said this", "info  nor this"}, lines)
    local day, minute = text:match("^(%S+)T(%d%d:%d%d):%d%d%.%d%d%dZ ")
    local now, moment_ago = os.date("!%Y-%m-%d %H:%M"), os.date("!%Y-%m-%d %H:%M", os.time() - 60)
    assert(day .. " " .. minute == now or day .. " " .. minute == moment_ago, text)
  end)

  it("keeps its clock going", function()
    local _, text = logged("info", function()
      log.write("info", nil, "first")
      local second = os.time()
      repeat until os.time() ~= second
      log.write("info", nil, "second")
    end)
    local first, second = text:match("^(%S+)%.%d+Z info  first\n(%S+)%.%d+Z info  second\n$")
    assert(first < second, text)
  end)

  it("leaves out what is below its level, and says beforehand that it would", function()
    local lines = logged("warn", function()
      for _, level in ipairs {"debug", "info", "warn", "error", "off"} do
        local heard = level == "warn" or level == "error"
        assert.equal(heard, log.enabled(level), level)
        log.write(level, nil, level)
      end
      log.set_level("off")
      assert.is_false(log.enabled("error"))
      assert.is_false(log.enabled("off"))
      log.write("error", nil, "not this")
      log.format("error", nil, "nor this")
      log.set_level("debug")
      log.write("debug", nil, "this")
    end)
    assert.same({"warn  warn", "error error", "debug this"}, lines)
  end)

  it("knows its levels by name", function()
    for _, level in ipairs {"debug", "info", "warn", "error", "off"} do assert.equal(level, (log.parse(level))) end
    for _, other in ipairs {"", "INFO", "warning", "inf", "info "} do
      local level, err = log.parse(other)
      assert.is_nil(level)
      assert.equal("EINVAL", err)
    end
  end)

  it("lets no text forge a line or move a cursor", function()
    local lines, text = logged("info", function()
      log.write("info", "a\nb\27[2J", "one\n2026-11-23T11:13:31.123Z error forged\ttab\r\27[2Jx\0y\127")
      log.write("info", nil, "\xc2\x9b31m \x9b31m \xc2\x85 end")
      log.write("info", nil, "last\n")
    end)
    assert.same({
      [[info  a\x0ab\x1b[2J one]],
      "    2026-11-23T11:13:31.123Z error forged\ttab\\x0d\\x1b[2Jx\\x00y\\x7f",
      [[info  \xc2\x9b31m \x9b31m \xc2\x85 end]],
      "info  last",
      "    ",
    }, lines)
    assert.is_nil(text:find("[%z\1-\8\11-\31\127]"))
  end)

  it("lets everything through that is no control byte", function()
    local plain = {}
    for byte = 32, 126 do plain[#plain + 1] = string.char(byte) end
    local line = "\t" .. table.concat(plain) .. " zażółć ✓ 𝄞 \xc2\xa0 \xff\xfe"
    assert.same({"info  " .. line}, (logged("info", function() log.write("info", nil, line) end)))
  end)

  it("leaves errno alone", function()
    logged("info", function() assert.is_true(log.write("info", "a", "b")) end)
  end)

  it("writes a line of 60 KB whole, and cuts one of 70 KB, saying so", function()
    local whole, long = ("x"):rep(60000), ("y"):rep(70000)
    local lines = logged("info", function()
      log.write("info", "a", whole)
      log.write("info", "a", long)
      log.format("info", "a", whole)
      log.format("info", "a", long)
      log.format("info", "a", "short")
    end)
    assert.equal("info  a " .. whole, lines[1])
    assert.equal("info  a " .. whole .. "/42", lines[3])
    assert.equal("info  a short/42", lines[5])
    for i, size in pairs {[2] = 70000, [4] = 70003} do
      local ys, note = lines[i]:match("^info  a (y+) (.*)$")
      assert.equal(("[cut: the text has %d bytes]"):format(size), note)
      assert(#ys > 60000 and #ys <= 65536, #ys)
    end
  end)

  it("cuts between characters and not within one", function()
    for shift = 0, 3 do
      for _, write in ipairs {log.write, log.format} do
        local lines = logged("info", function() write("info", nil, ("x"):rep(shift) .. ("𝄞"):rep(20000)) end)
        local kept = assert(lines[1]:match("^info  (.-) %[cut"))
        assert.truthy(utf8.len(kept))
        assert(#kept > 65000)
      end
    end
  end)

  it("keeps within 64 KB whatever it has to make harmless at the end", function()
    for shift = 0, 9 do
      local lines = logged("info", function()
        log.write("info", nil, ("x"):rep(shift) .. ("\xc2\x9b"):rep(20000) .. ("x"):rep(1000))
      end)
      local kept = lines[1]:match("^info  (.-) %[cut: the text has %d+ bytes%]$")
      assert(#kept > 65536 - 8 and #kept <= 65536, #kept)
    end
  end)

  it("counts what becomes longer by being made harmless", function()
    local lines = logged("info", function()
      log.write("info", nil, ("\1"):rep(65000))
      log.write("info", ("\1"):rep(65000), "text")
      log.write("info", nil, ("\n"):rep(60000))
      for n = 500, 2200 do log.write("info", ("w"):rep(n % 7), ("\n"):rep(n % 450) .. ("\1"):rep(n)) end
    end)
    assert.matches("^info  [\\x01]+ %[cut: the text has 65000 bytes%]$", lines[1])
    assert.matches("^info  [\\x01]+ %[cut: the text has 4 bytes%]$", lines[2])
    local cut = 0
    for i = 3, #lines do if lines[i]:find("cut", 1, true) then cut = cut + 1 end end
    assert.equal(1, cut)
    for i = 3, #lines do assert(#lines[i] < 65536 + 100) end
  end)

  it("has written all lines so far when flush returns", function()
    logged("info", function(fd)
      for i = 1, 200 do
        log.write("info", nil, "line " .. i)
        log.flush()
        assert.matches("line " .. i .. "\n$", log.text(fd))
      end
      log.flush()
    end)
  end)

  it("comes to write without being asked to", function()
    local r, w = log.pipe()
    log.open("info", w)
    for i = 1, 5 do
      local moment = os.clock() + 0.005 -- for the writer to fall asleep, so that it must be woken
      repeat until os.clock() > moment
      log.write("info", nil, "line " .. i)
      local got = ""
      repeat got = got .. log.read(r) until got:find("line " .. i .. "\n")
    end
    log.close()
    log.close_fd(r)
    log.close_fd(w)
  end)

  it("keeps the order of each thread's lines and mixes none, and its stamps never go back", function()
    local last, stamp_before, count = {}, "", 0
    local _, text = logged("info", function() log.threads(4, 3000) end)
    for stamp, who, i in text:gmatch("(%S+) info  t(%d) line (%d+)\n") do
      assert.equal((last[who] or 0) + 1, tonumber(i))
      assert(stamp >= stamp_before, stamp)
      last[who], stamp_before, count = tonumber(i), stamp, count + 1
    end
    assert.equal(12000, count)
  end)

  it("waits for a slow reader when closing, and for one whose pipe does not block", function()
    for _, nonblocking in ipairs {false, true} do
      local r, w = log.pipe(nonblocking)
      log.open("info", w)
      log.flood(1000, 2000) -- 2 MB: more than a pipe holds, less than the log's buffer
      log.drain(r)
      log.close()
      log.close_fd(w)
      local _, lines = log.drained():gsub("x\n", "")
      assert.equal(2000, lines)
      log.close_fd(r)
    end
  end)

  it("drops lines when nobody reads for long, goes on, and says how many it dropped", function()
    local r, w = log.pipe()
    log.open("info", w)
    log.flood(10000, 1500) -- 15 MB into a pipe that nobody reads: only the buffer's share can be kept
    log.drain(r)
    log.flush()
    log.write("info", nil, "after")
    log.close()
    log.close_fd(w)
    local text = log.drained()
    log.close_fd(r)
    local _, lines = text:gsub(" info  flood x+\n", "")
    local dropped, told = 0, 0
    for n in text:gmatch("Z warn  log: (%d+) lines are missing here\n") do dropped, told = dropped + n, told + 1 end
    assert.equal(1500, lines + dropped)
    assert(told >= 1 and #text > 3 * MB and #text < 9 * MB, #text)
    assert.matches("missing here\n[^\n]* info  after\n$", text)
  end)

  it("bears a reader that goes away, and a file descriptor that is none", function()
    local r, w = log.pipe()
    log.open("info", w)
    log.close_fd(r)
    for i = 1, 100 do
      log.write("info", nil, "line " .. i)
      log.flush()
    end
    log.close()
    log.close_fd(w)
    log.open("info", w) -- closed
    log.write("info", nil, "line")
    log.flush()
    log.close()
  end)

  it("tells what could not be written once writing works again", function()
    local fd, r, w = log.file(), log.pipe()
    local function onto(from, to) -- dup2 by way of the standard error
      local saved = log.stderr_to(from)
      assert.equal("ok", log.open("info", 2))
      log.close_fd(r)
      for i = 1, 4 do
        log.write("info", nil, "lost\nin two rows")
        if i ~= 2 then log.flush() end
      end
      log.close_fd(log.stderr_to(to))
      log.write("info", nil, "found")
      log.close()
      log.close_fd(log.stderr_to(saved))
      log.close_fd(saved)
    end
    onto(w, fd)
    local text = log.text(fd)
    assert.matches("^[^\n]+ info  found\n[^\n]+ warn  log: 4 lines are missing here\n$", text)
    log.close_fd(fd)
    log.close_fd(w)
  end)

  it("writes straight to the standard error while it is not open, but nothing if it is off", function()
    log.open("info", 2)
    log.close()
    local fd = log.file()
    local saved = log.stderr_to(fd)
    log.write("info", "a", "one\ntwo\27")
    log.write("debug", "a", "not this")
    log.flush() -- nothing to wait for
    log.set_level("off")
    log.write("error", "a", "nor this")
    log.set_level("info")
    log.close_fd(log.stderr_to(saved))
    log.close_fd(saved)
    assert.matches("^[^\n]+ info  a one\n    two\\x1b\n$", log.text(fd))
    log.close_fd(fd)
  end)

  it("can't be opened twice, but again after it was closed", function()
    local fd = log.file()
    for _ = 1, 3 do
      assert.equal("ok", log.open("info", fd))
      assert.equal("EALREADY", log.open("debug", fd))
      assert.is_false(log.enabled("debug"))
      log.close()
      log.close()
    end
    log.close_fd(fd)
  end)

  it("colours the level on a terminal, and nowhere else", function()
    local master, slave = log.terminal()
    log.open("info", slave)
    log.write("warn", "a", "text")
    log.flush()
    local got = ""
    repeat got = got .. log.read(master) until got:find("\n")
    log.close()
    log.close_fd(slave)
    log.close_fd(master)
    if os.getenv("NO_COLOR") then
      assert.matches("Z warn  a text\r\n$", got)
    else
      assert.matches("Z \27%[33mwarn\27%[0m  a text\r\n$", got)
    end
  end)
end)
