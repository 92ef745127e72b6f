--- Results for people: one line a variant.
local show = {}

local PREFIXES <const> = {{1e9, "G"}, {1e6, "M"}, {1e3, "k"}}

function show.count(value)
  for _, prefix in ipairs(PREFIXES) do
    if value >= prefix[1] then return ("%.3g %s"):format(value / prefix[1], prefix[2]) end
  end
  return ("%.3g "):format(value)
end

function show.bytes(value)
  if value >= 1 << 30 then return ("%.2f GB"):format(value / (1 << 30)) end
  if value >= 1 << 20 then return ("%.0f MB"):format(value / (1 << 20)) end
  return ("%.1f KB"):format(value / 1024)
end

function show.time(ns)
  if ns >= 1e9 then return ("%.3g s"):format(ns / 1e9) end
  if ns >= 1e6 then return ("%.3g ms"):format(ns / 1e6) end
  if ns >= 1e3 then return ("%.3g us"):format(ns / 1e3) end
  return ("%.0f ns"):format(ns)
end

function show.top(top)
  local m = top.machine
  local line = m.cache_line_ns and (", a cache line handed to the other core costs %.0f ns"):format(m.cache_line_ns)
  print(("throng %s%s, %s, %d cores%s, load %.2f"):format(top.version,
    top.commit ~= "" and (" (%s%s)"):format(top.commit, top.dirty and ", changed" or "") or "", m.cpu, m.cores,
    line or "", m.load))
  print(("%-9s %-22s %22s  %6s  %6s  %7s  %s"):format("bench", "variant", "median", "spread", "CPU", "peak", "more"))
end

local function latency(line)
  if not line.p50_ns then return nil end
  return ("%s: median %s, 99%% %s, most %s"):format(line.latency_of or "latency", show.time(line.p50_ns),
    show.time(line.p99_ns), show.time(line.max_ns or line.p99_ns))
end

--- Figures that only one bench has.
local MORE <const> = {
  {"bytes_per_actor", function(v) return show.bytes(v) .. " an actor" end},
  {"stop_rate", function(v) return show.count(v) .. "stops/s" end},
  {"before_p99_ns", function(v) return "99% before " .. show.time(v) end},
  {"paced_p99_ns", function(v) return "99% if paced " .. show.time(v) end},
  {"slowdown", function(v) return ("loops slower by %.1f %%"):format(v * 100) end},
  {"encode_ns", function(v) return "encode " .. show.time(v) end},
  {"decode_ns", function(v) return "decode " .. show.time(v) end},
  {"bytes", function(v) return ("%d bytes"):format(v) end},
}

function show.line(line)
  if not line.verified then
    print(("%-9s %-22s FAILED: %s"):format(line.bench, line.variant, line.error))
    return
  end
  local more = {latency(line)}
  for _, entry in ipairs(MORE) do
    if line[entry[1]] then more[#more + 1] = entry[2](line[entry[1]]) end
  end
  if line.against then
    local a = line.against
    table.insert(more, 1, ("x %.3f of before: %s (chance %.3f)"):format(a.ratio, a.verdict, a.noise))
  end
  local rate = line.lower and ("%.3g %s"):format(line.rate, line.unit) or show.count(line.rate) .. line.unit
  print(("%-9s %-22s %22s  %5.1f%%  %5.2fs  %7s  %s"):format(line.bench, line.variant, rate, line.spread * 100,
    line.cpu_seconds or 0, line.peak_rss_bytes and show.bytes(line.peak_rss_bytes) or "-", table.concat(more, ", ")))
end

return show
