--- What machine this is, for the top of every result: a figure without its machine says nothing.
local probe = require "throng.probe"

local machine = {}

local function read(path)
  local file <close> = io.open(path)
  return file and file:read("a") or ""
end

local function shell(command)
  local pipe <close> = io.popen(command .. " 2>/dev/null")
  local line = pipe and pipe:read("l")
  return line and line:match("^%s*(.-)%s*$") or ""
end

--- {cpu, cores, memory_bytes, kernel, os, load, cache_line_ns}. cache_line_ns: one cache line handed from core to core,
--- which every message between two workers pays several times; nil with a single core.
function machine.describe()
  local cpu = read("/proc/cpuinfo"):match("model name%s*:%s*([^\n]+)")
  local kilobytes = read("/proc/meminfo"):match("MemTotal:%s*(%d+)")
  return {
    cpu = cpu or shell("uname -m"),
    cores = tonumber(shell("nproc")) or 1,
    memory_bytes = (tonumber(kilobytes) or 0) * 1024,
    kernel = shell("uname -r"),
    os = read("/etc/os-release"):match('PRETTY_NAME="([^"]*)"') or shell("uname -s"),
    load = tonumber(read("/proc/loadavg"):match("^%S+")) or 0,
    cache_line_ns = probe.cache_line(500),
  }
end

--- The commit of the source tree one stands in, "" outside of one; and whether it has changes.
---@return string commit
---@return boolean dirty
function machine.commit()
  local commit = shell("git rev-parse --short=12 HEAD")
  return commit, commit ~= "" and shell("git status --porcelain --untracked-files=no") ~= ""
end

return machine
