--- `throng bench`: the workloads run, check themselves, and say what they did.
local cjson = require "cjson"
local node = require "spec.support.node"
local process = require "door.process"
local catalogue = require "tools.bench.catalogue"
local statistics = require "tools.bench.statistics"

local function bench(...)
  return node.run {command = {"bench", ...}, timeout = 120}
end

--- A small run's results, by "bench variant".
local function results(...)
  local r = bench("--json", "--repeat", "1", ...)
  local by_name, first = {}, nil
  for _, text in ipairs(r.lines) do
    local line = cjson.decode(text)
    first = first or line
    by_name[line.bench .. " " .. line.variant] = line
  end
  return by_name, r, first
end

describe("throng bench", function()
  it("runs every workload, and each finds its result right", function()
    local found, r = results("--scale", "0.002")
    assert.are.equal("", r.err)
    assert.are.equal(0, r.code)
    for _, b in ipairs(catalogue) do
      for _, variant in ipairs(b.variants) do
        local line = found[b.name .. " " .. variant[1]]
        assert.is_not_nil(line, b.name .. " " .. variant[1])
        assert.is_true(line.verified)
        assert.are.equal(b.unit, line.unit)
        for _, key in ipairs {"messages", "seconds", "rate", "rate_min", "rate_max", "spread", "cpu_seconds", "repeats"} do
          assert.are.equal("number", type(line[key]), b.name .. "." .. key)
        end
        if b.name ~= "codec" then
          assert.is_true(line.workers >= 1 and line.peak_rss_bytes > 100000, b.name)
        end
      end
    end
  end)

  it("prints one object a variant, of tick the plain one first, with percentiles of its rounds", function()
    local _, r, first = results("tick", "--scale", "0.01", "--workers", "2")
    assert.are.equal(6, #r.lines)
    assert.are.equal("guys=1000", first.variant)
    assert.are.equal(2, first.workers)
    assert.are.equal("msg/s", first.unit)
    assert.are.equal(first.sizes.guys * first.sizes.rounds, first.messages)
    assert.is_true(first.p50_ns > 0 and first.p50_ns <= first.p99_ns and first.p99_ns <= first.max_ns)
  end)

  it("lets two nodes talk by TLS, and leaves no certificates behind", function()
    local tmp = process.mkdtemp()
    local r = node.run {command = {"bench", "remote", "--tls", "--only", "trips,ask", "--scale", "0.002", "--repeat", "1", "--json"},
                        env = {TMPDIR = tmp}, timeout = 120}
    local line = cjson.decode(r.lines[1])
    assert.are.equal("trips,ask,tls", line.variant)
    assert.is_true(line.verified)
    assert.is_nil(io.popen("ls " .. tmp):read "l")
    process.remove_all(tmp)
    r = node.run {command = {"bench", "remote", "--tls"}, env = {TMPDIR = "/nonexistent"}}
    assert.are.equal(2, r.code)
    assert.matches("throng bench: %-%-tls: mktemp %-d gives no folder for certificates", r.err)
  end)

  it("says of spawn what an actor takes at rest, and how fast they stop", function()
    local line = results("spawn", "guys=500")["spawn custom"]
    assert.are.equal(500, line.messages)
    assert.is_true(line.bytes_per_actor > 1000)
    assert.is_true(line.stop_rate > 0)
  end)

  it("takes sizes, and runs one variant alone", function()
    local found, r = results("ring", "actors=7", "hops=100")
    assert.are.equal(1, #r.lines)
    assert.are.same({actors = 7, hops = 100}, found["ring custom"].sizes)
    found, r = results("codec", "--only", "small", "times=10")
    assert.are.equal(1, #r.lines)
    assert.are.equal("small", found["codec custom"].sizes.value)
  end)

  it("fails, and says how, when a result is wrong or none comes", function()
    local r = bench("ring", "actors=1", "hops=10", "--json", "--repeat", "1", "--set", "ask.timeout=1")
    assert.is_true(r.code == 0) -- a ring of one is one, too
    r = bench("tick", "guys=300000", "rounds=1", "--json", "--repeat", "1", "--set", "actors.limit=100")
    assert.are.equal(1, r.code)
    local line = cjson.decode(r.lines[1])
    assert.is_false(line.verified)
    assert.matches("limit", line.error)
    assert.matches("throng bench: 1 of 1 failed", r.err)
    r = bench("pingpong", "--json", "--repeat", "1", "--timeout", "1", "trips=1000000000")
    assert.matches("did not end within 1 s", cjson.decode(r.lines[1]).error)
  end)

  it("shows a line for people", function()
    local r = bench("ask", "--repeat", "3", "--scale", "0.01")
    assert.are.equal(0, r.code)
    assert.matches("^throng %d.*cores", r.lines[1])
    assert.matches("^ask +ask +[%d.]+ [kM]round trips/s.*round trip: median", r.lines[3])
  end)

  it("lists what there is", function()
    local r = bench "--list"
    for _, b in ipairs(catalogue) do assert.matches(b.name .. " +" .. b.about:gsub("%p", "%%%0"), r.out) end
  end)

  it("saves results with the machine, and compares with what was saved", function()
    local dir = os.tmpname()
    local r = bench("codec", "--only", "integer", "times=100000", "--save", dir, "--json", "--repeat", "5")
    assert.are.equal(0, r.code)
    local lines = {}
    for text in io.lines(dir) do lines[#lines + 1] = cjson.decode(text) end
    assert.are.equal("string", type(lines[1].machine.cpu))
    assert.is_true(lines[1].machine.cores >= 1)
    assert.are.equal("codec", lines[2].bench)
    -- as if the saved one had been ten times as slow
    local file = io.open(dir, "w")
    for i, rate in ipairs(lines[2].rates) do lines[2].rates[i] = rate * 10 end
    lines[2].rate = lines[2].rate * 10
    file:write(cjson.encode(lines[1]), "\n", cjson.encode(lines[2]), "\n")
    file:close()
    r = bench("codec", "--only", "integer", "times=100000", "--against", dir, "--json", "--repeat", "5")
    os.remove(dir)
    local against = cjson.decode(r.lines[1]).against
    assert.are.equal("faster", against.verdict) -- of a time: lower is better
    assert.is_true(against.ratio < 1)
    assert.is_true(against.noise < 0.05)
  end)

  it("says in one line what is wrong with what was asked for", function()
    local cases = {
      {{"nothing"}, "there is no bench 'nothing'; there are tick, "},
      {{"tick", "ring"}, "one NAME at a time"},
      {{"tick", "--only", "x"}, "tick has guys=1000  "},
      {{"tick", "size=1"}, "tick has no size 'size'; it has all, guys, regions, rounds"},
      {{"guys=1"}, "sizes want a NAME"},
      {{"--only", "x"}, "%-%-only wants a NAME"},
      {{"--repat", "3"}, "did you mean %-%-repeat"},
      {{"--repeat", "0"}, "%-%-repeat must be a whole number from 1 to 30"},
      {{"tick", "--against", "/no/such/file"}, "can't read '/no/such/file'"},
      {{"tick", "--against", "/etc/passwd"}, "/etc/passwd:1 is no JSON"},
      {{"tick", "--save", "/no/such/dir/x"}, "can't write"},
    }
    for _, case in ipairs(cases) do
      local r = bench(table.unpack(case[1]))
      assert.are.equal(2, r.code, table.concat(case[1], " "))
      assert.are.equal("", r.out)
      assert.matches("^throng bench: .*" .. case[2], r.err)
      assert.are.equal(1, select(2, r.err:gsub("\n", "")))
    end
  end)
end)

describe("the statistics of the bench", function()
  it("know the median and the spread", function()
    assert.are.equal(3, statistics.median {5, 1, 3})
    assert.are.equal(2.5, statistics.median {4, 1, 2, 3})
    assert.are.equal(2, statistics.spread {1, 2, 5})
    assert.are.equal(0, statistics.spread {0, 0})
  end)

  it("tell how likely noise makes such a difference: exactly, as the tables of the Mann-Whitney test have it", function()
    local function near(expected, actual) assert.is_true(math.abs(expected - actual) < 1e-9, actual) end
    near(2 / 252, statistics.noise({1, 2, 3, 4, 5}, {6, 7, 8, 9, 10}))
    near(2 / 252, statistics.noise({6, 7, 8, 9, 10}, {1, 2, 3, 4, 5}))
    near(2 * 2 / 252, statistics.noise({1, 2, 3, 4, 6}, {5, 7, 8, 9, 10}))
    near(2 / 20, statistics.noise({1, 2, 3}, {4, 5, 6}))
    near(1, statistics.noise({1, 4}, {2, 3}))
    near(1, statistics.noise({1, 1, 1}, {1, 1, 1}))
    near(1, statistics.noise({}, {1}))
    assert.is_true(statistics.noise({1, 2, 3, 4, 5}, {5, 6, 7, 8, 9}) < 0.05)
  end)

  it("call equal what comes from one source, nineteen times of twenty", function()
    math.randomseed(42)
    local told = 0
    for _ = 1, 400 do
      local a, b = {}, {}
      for i = 1, 7 do a[i], b[i] = math.random(), math.random() end
      if statistics.noise(a, b) < 0.05 then told = told + 1 end
    end
    assert.is_true(told <= 40, told)
  end)
end)
