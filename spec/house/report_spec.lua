local process = require "door.process"
local node = require "spec.support.node"
local cjson = require "cjson"

local HEADER <const> = {
  machine = {cpu = "Abacus 9000", cores = 2, memory_bytes = 8 << 30, kernel = "6.1.0-18", os = "Debian GNU/Linux 12",
             load = 0.3, cache_line_ns = 85},
  commit = "abc1234", dirty = false, date = "2026-11-24T17:00:00Z", version = "0.1.0",
}

--- A variant as `throng bench --save` writes it, with other fields or without some (false takes one away).
local function variant(changes)
  local record = {
    bench = "tick", variant = "guys=1000", workers = 2, repeats = 5, messages = 1000000, seconds = 0.13, rate = 7500000,
    rates = {7500000, 7400000, 7600000}, rate_min = 7400000, rate_max = 7600000, spread = 0.027, unit = "msg/s",
    latency_of = "round", p50_ns = 130000, p90_ns = 150000, p99_ns = 210000, p999_ns = 900000, max_ns = 4200000,
    cpu_seconds = 0.24, peak_rss_bytes = 48 << 20, verified = true, sizes = {guys = 1000, rounds = 1000}}
  for name, value in pairs(changes or {}) do record[name] = value or nil end
  if changes and changes.verified == false then record.verified = false end
  return record
end

local function lines(records)
  local parts = {}
  for i, record in ipairs(records) do parts[i] = type(record) == "table" and cjson.encode(record) or record end
  return table.concat(parts, "\n") .. "\n"
end

--- A row of PEERS.json: ours = rate or table, peers = {{"erlang", rate, more fields}, ...}.
local function row(o)
  local peers = {}
  for i, peer in ipairs(o.peers or {}) do
    peers[i] = {peer = peer[1], rate = peer[2], schedulers = 2}
    for name, value in pairs(peer[3] or {}) do peers[i][name] = value end
  end
  local ours = type(o.ours) == "table" and o.ours or {rate = o.ours, workers = 2}
  return {bench = o.bench or "tick", variant = o.variant or "guys=1000", unit = o.unit or "msg/s", ours = ours,
          peers = peers}
end

local function peers_file(rows) return cjson.encode {machine = HEADER.machine, cache_line_ns = 91, rows = rows} end

--- Runs tools/bench/report in a folder with these files. The result, and the page if there is one.
local function run(files, ...)
  local n = node.start {program = "lua5.4", files = files, command = {process.getcwd() .. "/tools/bench/report", ...}}
  local result = n:wait()
  local file <close> = io.open(n.dir .. "/report.html", "rb")
  return result, file and file:read("a")
end

--- The page of these records (and peers' rows), which must be made without a word.
local function page(records, rows)
  local files = {["bench.json"] = lines(records), ["peers.json"] = rows and peers_file(rows)}
  local r, html = run(files, "report.html", "bench.json", rows and "peers.json" or nil)
  assert.are.equal("", r.err .. r.out)
  assert.are.equal(0, r.code)
  return html
end

local ENTITIES <const> = {amp = "&", lt = "<", gt = ">", quot = '"', ["#39"] = "'"}

--- What a reader sees of some HTML: its words, each space a plain one.
local function words(html)
  return (html:gsub("<style>.-</style>", " "):gsub("<title[^>]*>.-</title>", " "):gsub("<desc.->.-</desc>", " ")
    :gsub("</?td[^>]*>", " "):gsub("</?th[^>]*>", " "):gsub("<[^>]*>", ""):gsub("\u{202F}", " "):gsub("\u{A0}", " ")
    :gsub("%s+", " "):gsub("&(#?%w+);", ENTITIES))
end

local function section(html, id)
  return assert(html:match('<section id="' .. id .. '">(.-)\n</section>'), "no section " .. id)
end

local function has(expected, text) assert(text:find(expected, 1, true), ("no %q in: %s"):format(expected, text)) end
local function lacks(unwanted, text) assert(not text:find(unwanted, 1, true), ("%q in: %s"):format(unwanted, text)) end

local function count(text, pattern)
  local _, times = text:gsub(pattern, "")
  return times
end

describe("tools/bench/report makes a page that", function()
  it("needs no other file and no script", function()
    local html = page({HEADER, variant()}, {row {ours = 4e6, peers = {{"erlang", 2e6}, {"caf", 8e6}}}})
    for _, foreign in ipairs {"https?:", "//[%w]+%.", "src=", "<script", "<link", "<img", "<iframe", "@import", "url%("} do
      assert.is_nil(html:lower():find(foreign), foreign)
    end
    for target in html:gmatch('href="([^"]*)"') do
      local id = target:match("^#(.+)$")
      assert(id, target)
      has(('id="%s"'):format(id), html)
    end
  end)

  it("tells what was measured, when and on what", function()
    local text = words(page {HEADER, variant()})
    for _, fact in ipairs {"Version 0.1.0, commit abc1234, on 2026-11-24, 17:00 UTC", "Abacus 9000, 2 cores", "8.00 GiB",
                           "6.1.0-18", "Debian GNU/Linux 12", "85 ns for a cache line", "Each variant ran 5 times"} do
      has(fact, text)
    end
    lacks("uncommitted", text)
    has("commit abc1234, with uncommitted changes", words(page {{commit = "abc1234", dirty = true}, variant()}))
  end)

  it("shows every variant, in the table and with its bench", function()
    local records = {HEADER}
    for _, bench in ipairs {"tick", "pingpong", "ask", "ring", "fanin", "payload", "spawn", "tree", "fair", "timers"} do
      for i = 1, 3 do records[#records + 1] = variant {bench = bench, variant = bench .. "=" .. i} end
    end
    table.insert(records, 3, variant {bench = "codec", variant = "codec=1", unit = "ns", rate = 82, rates = {80, 82, 90}})
    local html = page(records)
    local all, details = section(html, "variants"), html:match('<section id="details">.*')
    for i = 2, #records do
      has(("%s %s "):format(records[i].bench, records[i].variant), words(all))
      has(records[i].variant .. " guys=1000 rounds=1000", words(details))
    end
    assert.are.equal(#records - 1, count(all, '<th scope="row">'))
    assert.are.equal(11, count(details, "<h3>"))
  end)

  it("writes figures for people", function()
    local text = words(section(page {HEADER, variant()}, "variants"))
    has("tick guys=1000 7.50 M msg/s 2.7 % 240 ms 48.0 MiB round 130 µs 150 µs 210 µs 900 µs 4.20 ms", text)
    text = words(section(page {HEADER, variant {rate = 999.6, peak_rss_bytes = 1000, p50_ns = 999.7, max_ns = 61e9}},
                         "variants"))
    has("1.00 k msg/s 2.7 % 240 ms 1000 B round 1.00 µs 150 µs 210 µs 900 µs 61.0 s", text)
  end)

  it("says of what less is better", function()
    local html = page {HEADER, variant {bench = "codec", variant = "small", unit = "ns", rate = 396, lower = true,
                                          rates = {390, 1400}, sizes = false, messages = false, seconds = false},
                       variant {bench = "codec", variant = "ns", unit = "ns", ns = 41, rate = false, rates = false},
                       variant {bench = "idle", variant = "still", unit = "% CPU", rate = 0, lower = true, rates = {0}},
                       variant {bench = "idle", variant = "calm", unit = "% CPU", rate = 0.15, lower = true,
                                rates = {0.1, 0.15, 0.2}, sizes = false, messages = false, seconds = false}}
    local text = words(section(html, "variants"))
    has("codec small 396 ns ↓", text)
    has("codec ns 41 ns ↓", text)
    has("idle still 0 % CPU ↓", text)
    local details = words(html:match('<section id="details">.*'))
    has("— 2 — — 0.10, 0.15, 0.20 holds", details)
    has("— 2 — — 390 ns, 1.40 µs holds", details)
  end)

  it("lists with the bench what only that bench measures", function()
    local text = words(page {HEADER, variant {bench = "spawn", bytes_per_actor = 7340, stop_rate = 340000, bytes = 18,
                                             before_p99_ns = 51000, slowdown = 0.082}})
    has("Before p99 Bytes Bytes per actor Slowdown Stop rate", text)
    has("51.0 µs 18 B 7.17 KiB 8.2 % 340 k/s", text)
  end)

  it("tells every picture to those who can't see it", function()
    local html = page({HEADER, variant(), variant {variant = "guys=9"}}, {row {ours = 4e6, peers = {{"caf", 8e6}}}})
    local pictures = count(html, '<svg class="')
    assert.are.equal(2 + 1 + 1 + 2, pictures) -- two whiskers, a group of peers, the latency, bars and latency of tick
    assert.are.equal(pictures, count(html, '<svg class="[^"]*" role="img" aria%-labelledby="t(%d+) d%1"'))
    assert.are.equal(pictures, count(html, '<title id="t(%d+)">[^<]+</title><desc id="d%1">[^<]+</desc>'))
    has("<desc id=\"d4\">tick guys=1000, round: 50 % 130\u{202F}µs", html)
  end)

  it("draws a line of each bench that has a latency, its slowest variant", function()
    local html = section(page {HEADER, variant {p99_ns = 1}, variant {variant = "slow"}, variant {variant = "fast", p99_ns = 2},
                               variant {bench = "ask", variant = "a", p50_ns = false, p999_ns = false},
                               variant {bench = "ring", p50_ns = false, p90_ns = false, p99_ns = false, p999_ns = false,
                                        max_ns = false},
                               variant {bench = "fair", variant = "zero", p50_ns = 0}}, "latency")
    local text = words(html)
    has("tick slow, round", text)
    has("ask a, round", text)
    has("fair zero, round", text)
    lacks("ring", text)
    assert.are.equal(3, count(html, 'class="lead"'))
    assert.are.equal(4 + 2 + 4, count(html, "stroke%-dasharray"))
  end)

  it("takes what `throng bench` saves", function()
    local n = node.start {command = {"bench", "codec", "--only", "integer", "--scale", "0.001", "--repeat", "2",
                                     "--save", "bench.json"}}
    assert.are.equal(0, n:wait(60).code)
    local file <close> = assert(io.open(n.dir .. "/bench.json"))
    local r, html = run({["bench.json"] = file:read("a")}, "report.html", "bench.json")
    assert.are.equal("", r.err)
    has("codec integer", words(section(html, "variants")))
  end)
end)

describe("whatever tools/bench/report reads", function()
  local HOSTILE <const> = "</style></title><script>alert(1)</script><img src=x onerror='x'>\" onload=\"x&amp;{1}%s"

  it("never becomes markup", function()
    local bad = variant {bench = HOSTILE, variant = HOSTILE, unit = HOSTILE, latency_of = HOSTILE, about = HOSTILE,
                         workers = HOSTILE, sizes = {[HOSTILE] = HOSTILE}, [HOSTILE] = HOSTILE, rate_of = {HOSTILE}}
    local failed = variant {bench = HOSTILE .. "2", variant = HOSTILE, verified = false, error = HOSTILE}
    local header = {machine = {}, commit = HOSTILE, date = HOSTILE, version = HOSTILE}
    for name in pairs(HEADER.machine) do header.machine[name] = HOSTILE end
    header.machine.cores = 2
    local rows = {row {bench = HOSTILE, variant = HOSTILE, unit = HOSTILE, ours = 4e6, peers = {
      {HOSTILE, 2e6, {variant = HOSTILE}}, {"caf", 2e6, {error = HOSTILE}}}}}
    local html = page({header, bad, bad, failed}, rows)
    for tag in html:gmatch("<([%a!][^%s>]*)") do
      assert(not (tag == "script" or tag == "img"), tag)
    end
    assert.are.equal(1, count(html, "</style>"))
    assert.are.equal(0, count(html:gsub('="[^"]*"', ""), "<[^>]+ on%w+="))
    assert(count(html, "&lt;script&gt;alert%(1%)&lt;/script&gt;&lt;img src=x onerror=&#39;x&#39;&gt;"
      .. "&quot; onload=&quot;x&amp;amp;{1}%%s") > 20)
  end)

  it("comes out as UTF-8, without control bytes and not without end", function()
    local html = page {HEADER, variant {verified = false, error = "\xff\xc3(\xed\xa0\x80\0\27[2Jé→" .. ("x"):rep(100000)}}
    assert(utf8.len(html))
    assert.is_nil(html:find("[\0-\8\11-\31\127]"))
    has("\u{FFFD}[2Jé→xxx", html)
    assert(#html < 100000)
    local long = variant {variant = ("\x80"):rep(50)}
    html = page({HEADER, long, long}, {row {ours = 1, peers = {{("é"):rep(50), 2}}}})
    has(("\u{FFFD}"):rep(20) .. "…", html)
    has(("é"):rep(24) .. "…", html)
  end)

  it("may be missing: then there is a dash", function()
    local html = page {{bench = "tick"}}
    has("tick — — — — — — — — — — —", words(section(html, "variants")))
    has("Version —, —, on —", words(html))
    has("No bench has measured a latency", words(html))
    lacks("nan", html:lower())
  end)

  it("counts as missing where it is not what it should be", function()
    local names = {}
    for name in pairs(variant()) do names[#names + 1] = name end
    for _, rubbish in ipairs {"much", true, {{}}, -1, 1e300, cjson.null, cjson.empty_array or {}} do
      local record = {bench = "tick"}
      for _, name in ipairs(names) do record[name] = name ~= "bench" and rubbish or "tick" end
      local html = page({{machine = {cpu = rubbish, cores = rubbish, memory_bytes = rubbish, cache_line_ns = rubbish},
                          commit = rubbish, date = rubbish, version = rubbish}, record, record},
                        {{bench = "tick", unit = rubbish, ours = rubbish, peers = {rubbish, {peer = rubbish, rate = rubbish}}},
                         {bench = "ask", peers = rubbish}})
      local figures = html:gsub("<style>.-</style>", "")
      assert.is_nil(figures:find("[^%a]inf[^%a]") or figures:find("nan[^%a]"))
    end
  end)

  it("may be very large or very small", function()
    local html = page({HEADER, variant {rate = 1e17, rates = {1e-9, 1e17}, p50_ns = 1, max_ns = 9e17},
                       variant {variant = "small", rate = 1e-9, p50_ns = 0, p90_ns = 0, p99_ns = 0, p999_ns = 0, max_ns = 0}},
                      {row {ours = 1e-9, peers = {{"erlang", 9e17}}}})
    local figures = html:gsub("<style>.-</style>", "")
    assert.is_nil(figures:find("[^%a]inf[^%a]") or figures:find("nan[^%a]"))
    has("100000 T msg/s", words(html))
    for height in html:gmatch('<svg class="plot"[^>]- height="([%d.]+)"') do assert(tonumber(height) < 700, height) end
  end)
end)

describe("a variant that failed", function()
  it("is red, says why, and is in no plot", function()
    local html = page {HEADER, variant(), {bench = "tree", variant = "leaves=9", verified = false, error = "8 & not 9"},
                       variant {bench = "ask", verified = false}}
    has("2 of 3 variants failed: tree leaves=9, ask guys=1000", words(html))
    local all = section(html, "variants")
    assert.are.equal(2, count(all, '<tr class="failed">'))
    has("tree leaves=9 failed: 8 & not 9", words(all))
    has("ask guys=1000 failed: its own check did not hold, and it does not say why", words(all))
    lacks("ask", words(section(html, "latency")))
    has("svg .failed { fill: var(--failed); }", html)
    has("tr.failed th, tr.failed td, .failed { color: var(--failed); }", html)
  end)

  it("is not told of where none did", function()
    local html = page {HEADER, variant()}
    has("1 variant of 1 bench, none failed.", words(html))
    assert.are.equal(0, count(html, 'class="failed"'))
  end)
end)

describe("the page beside peers", function()
  local function text(...) return words(section(page({HEADER, variant()}, {...}), "peers")) end

  it("tells how many times as fast as the best of each peer Throng is", function()
    local found = text(row {ours = 4e6, peers = {{"erlang", 1e6, {variant = "on_heap"}}, {"erlang", 2e6}, {"caf", 8e6}}},
                       row {bench = "ask", ours = 3e6, peers = {{"erlang", 9.1e6}, {"caf", 0.1e6}, {"caf", 9e6, {error = "no"}}}})
    has("tick guys=1000 msg/s 2.00× Erlang 0.50× CAF", found)
    has("ask guys=1000 msg/s 0.33× Erlang 30.0× CAF", found)
    has("a cache line taking 91 ns from core to core", found)
  end)

  it("turns the ratio where less is better, so that over 1 is faster", function()
    has("10.0× Erlang", text(row {unit = "ns", ours = 10, peers = {{"erlang", 100}}}))
    local idle = row {unit = "% CPU", ours = {rate = 2}, peers = {{"erlang", 1}}}
    idle.lower = true
    has("less is better 0.50× Erlang", text(idle))
  end)

  it("writes the figures on the bars, the fastest one the longest", function()
    local html = section(page({HEADER, variant()}, {row {
      ours = {rate = 4e6, workers = 2, peak_rss_bytes = 1 << 20}, peers = {{"erlang", 2e6, {variant = "off_heap"}}}}}), "peers")
    local found = words(html)
    has("Throng ×2 4.00 M msg/s · 1.00 MiB", found)
    has("Erlang off_heap ×2 2.00 M msg/s", found)
    local ours, theirs = html:match('bar ours" x="29.00%%" y="[%d.]+" width="([%d.]+)%%".*bar erlang".-width="([%d.]+)%%"')
    assert.are.equal("46.00 23.00", ours .. " " .. theirs)
  end)

  it("says where the runs leave open who is faster", function()
    local near = row {ours = {rate = 100, rates = {95, 100, 105}}, peers = {{"erlang", 108, {rates = {104, 108, 112}}},
                                                                           {"caf", 120, {rates = {115, 120, 125}}}}}
    has("0.93× Erlang (runs overlap) 0.83× CAF", text(near))
    lacks("CAF (runs", text(near))
  end)

  it("shows who failed, and has no ratio to him", function()
    local found = text(row {ours = 4e6, peers = {{"erlang", nil, {error = "ended by signal 11"}}}},
                       row {bench = "ask", ours = {rate = 1e6, error = "timed out"}, peers = {{"erlang", 1e6}, {"akka", 1e6}}})
    has("tick guys=1000 msg/s — Erlang — akka", found)
    has("Erlang ×2failed: ended by signal 11", found:gsub("×2 ", "×2"))
    has("ask guys=1000 msg/s — Erlang — akka", found)
    has("failed: timed out", found)
  end)

  it("says how to measure them if nobody has", function()
    has("make bench-peers", words(section(page {HEADER, variant()}, "peers")))
    lacks("make bench-peers", text(row {ours = 4e6, peers = {{"erlang", 2e6}}}))
  end)
end)

describe("bad input to tools/bench/report is one line and exit code 1:", function()
  local GOOD <const> = lines {HEADER, variant()}
  local function refuses(name, bench, peers, expected)
    it(name, function()
      local files = {["bench.json"] = bench, ["peers.json"] = peers}
      local r, html = run(files, "report.html", "bench.json", expected:find("peers") and "peers.json" or nil)
      assert.are.equal(expected .. "\n", (r.err:gsub("not JSON: [^;\n]+;", "not JSON;"))) -- cjson's words are its own
      assert.are.equal(1, r.code)
      assert.are.equal("", r.out)
      assert.is_nil(html)
    end)
  end
  local BENCH <const>, PEERS <const> = "`throng bench --save FILE` writes it", "`make bench-peers` writes it"

  refuses("no file", nil, nil, "report: cannot read bench.json: No such file or directory; " .. BENCH)
  refuses("nothing in it", "", nil, "report: bench.json: not one record of a bench in it; " .. BENCH)
  refuses("a machine, and nothing measured", lines {HEADER}, nil,
          "report: bench.json: not one record of a bench in it; " .. BENCH)
  refuses("half a line", lines {HEADER} .. '{"bench":"ti', nil,
          "report: bench.json:2: not JSON; it must have one object a line, as " .. BENCH)
  refuses("no JSON", lines {HEADER, "\27[2J7", variant()}, nil,
          "report: bench.json:2: not JSON; it must have one object a line, as " .. BENCH)
  refuses("a number", "7\n" .. GOOD, nil,
          "report: bench.json:1: not a JSON object; it must have one object a line, as " .. BENCH)
  refuses("infinity, which JSON has not", '{"bench":"tick","rate":Infinity}', nil,
          "report: bench.json:1: not JSON; it must have one object a line, as " .. BENCH)
  refuses("something else", lines {HEADER, {other = 1}, variant()}, nil,
          'report: bench.json:2: neither a "machine" nor a "bench" in this object; ' .. BENCH)
  refuses("two runs", GOOD .. "\n" .. GOOD, nil, "report: bench.json:4: the machine a second time: give one run a report")
  refuses("no peers", GOOD, nil, "report: cannot read peers.json: No such file or directory; " .. PEERS)
  refuses("broken peers", GOOD, "{", "report: peers.json: not JSON; " .. PEERS)
  refuses("peers without rows", GOOD, '{"machine":{},"rows":[]}', 'report: peers.json: no "rows" in it; ' .. PEERS)
  refuses("a row of nothing", GOOD, '{"rows":[{"bench":"tick"},{"ours":{}}]}',
          'report: peers.json: row 2 names no "bench"; ' .. PEERS)

  it("a folder", function()
    local r = run({["bench.json/x"] = ""}, "report.html", "bench.json")
    assert.are.equal("report: cannot read bench.json: Is a directory; " .. BENCH .. "\n", r.err)
    assert.are.equal(1, r.code)
  end)

  it("no place for the page", function()
    local r = run({["bench.json"] = GOOD}, "nowhere/report.html", "bench.json")
    assert.are.equal("report: cannot write nowhere/report.html: No such file or directory; "
      .. "name a file in a folder that is there\n", r.err)
    assert.are.equal(1, r.code)
  end)

  it("a name with a line break in it", function()
    local r = run({}, "report.html", "a\nb")
    assert.are.equal("report: cannot read a?b: No such file or directory; " .. BENCH .. "\n", r.err)
  end)
end)

describe("tools/bench/report used wrongly ends with exit code 2:", function()
  local USAGE <const> = "usage: tools/bench/report OUTPUT.html BENCH.json [PEERS.json]"
  local function misused(name, why, ...)
    local words_ = {...}
    it(name, function()
      local bench = lines {HEADER, variant()}
      local r = run({["bench.json"] = bench}, table.unpack(words_))
      assert.are.equal(("report: %s; %s\n"):format(why, USAGE), r.err)
      assert.are.equal(2, r.code)
    end)
  end
  misused("no words", "it needs OUTPUT.html and BENCH.json")
  misused("one word", "it needs OUTPUT.html and BENCH.json", "report.html")
  misused("four words", "three files are the most", "report.html", "bench.json", "peers.json", "more.json")
  misused("a page over the results", "OUTPUT.html would replace what it is made of", "bench.json", "bench.json")

  it("but --help is no misuse", function()
    local r = run({}, "--help")
    assert.are.equal(USAGE .. "\n", r.out)
    assert.are.equal(0, r.code)
  end)
end)
