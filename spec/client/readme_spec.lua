--- The README's session with a live node, typed again: the node, the client, the terminal are real.
local client = require "spec.support.client"
local node = require "spec.support.node"
local process = require "door.process"

local function read(path)
  local file <close> = assert(io.open(path))
  return file:read "a"
end

--- The fenced block of that kind whose first line has `sign` in it.
local function block(text, kind, sign)
  for body in text:gmatch("```" .. kind .. "\n(.-\n)```") do
    if body:match("^[^\n]*"):find(sign, 1, true) then return body end
  end
  error("the README has no block with " .. sign)
end

--- What differs from run to run: sizes, times, versions, numbers of processes.
local function normal(line)
  line = line:gsub("os pid %d+", "os pid N"):gsub("%f[%w]%x%x%x%x%x%x%x%x%f[%W]", "VERSION")
  line = line:gsub("%f[%d]%d[%d.]*[KM]%f[%W]", "SIZE"):gsub("%f[%d]%d[%d.hm]*m?[us]%f[%W]", "TIME")
  return (line:gsub(" +", " "))
end

local function normal_lines(lines)
  local out = {}
  for _, line in ipairs(lines) do
    if line ~= "" then out[#out + 1] = normal(line) end
  end
  return out
end

describe("the README's session", function()
  it("shows what the program shows", function()
    local text = read "README.md"
    local script, session = block(text, "lua", "counter.lua"), block(text, "text", "throng repl shop")
    local dir = process.mkdtemp()
    local shop = node.start {files = {["counter.lua"] = script}, main = "counter.lua", options = {"--name", "shop"},
                             env = {THRONG_RUN_DIR = dir}}
    shop:read_until("counter is here", 10)

    local expected, got, c = {}, {}, nil
    local function leave()
      if not c then return end
      c:type "\4"
      assert.equal(0, c:wait().code)
      local lines = c:screen()
      for i, line in ipairs(lines) do
        if not (i == #lines and line == "") and not line:find "^shop[^ ]*>$" then got[#got + 1] = line end
      end
      c = nil
    end
    for line in session:gmatch "[^\n]+" do
      local command, typed = line:match "^%$ ./throng (.*)", line:match "^[%w:.]+> (.*)"
      if command == "repl shop" then
        c = client.start {command = {"repl", "shop"}, run_dir = dir, pty = {columns = 100, rows = 60}}
        c:shows(function(lines) return lines[#lines]:find "^shop>$" end, "the prompt")
        c.row = 2
      elseif command then
        leave()
        local pipe <close> = assert(io.popen(("cd %s; THRONG_RUN_DIR=%s %s/%s %s 2>&1"):format(dir, dir, process.getcwd(),
          (os.getenv "THRONG" or "throng"):gsub("^%./", ""), command)))
        for each in pipe:lines() do got[#got + 1] = each end
      else
        if typed then
          c:type(typed .. "\r")
          c:shows(function(lines, row)
            if row <= c.row or not lines[#lines]:find "^[%w:.]+>$" then return false end
            c.row = row
            return true
          end, "the prompt")
        end
        expected[#expected + 1] = line
      end
    end
    leave()
    assert.same(normal_lines(expected), normal_lines(got))
    process.remove_all(dir)
  end)
end)
