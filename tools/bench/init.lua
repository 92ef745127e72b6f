--- `throng bench`: runs workloads, each repeat in a process of its own, so that memory and threads begin alike; checks
--- them, and prints medians. See tools/bench/README.md.
local args = require "throng.args"
local catalogue = require "throng.bench.catalogue"
local codec = require "throng.bench.codec"
local compare = require "throng.bench.compare"
local machine = require "throng.bench.machine"
local show = require "throng.bench.show"
local statistics = require "throng.bench.statistics"

local cjson = require("cjson").new()
cjson.encode_number_precision(14)

local OPTIONS <const> = args.new {
  command = "throng bench [NAME] [KEY=VALUE ...]",
  about = "Measures actors. Without NAME: all of it. KEY=VALUE changes a workload's sizes.",
  {name = "json", type = "flag", help = "print one JSON object a variant"},
  {name = "workers", type = "integer", default = 0, least = 0, most = 1024, help = "worker threads; 0 = one a core"},
  {name = "repeat", type = "integer", default = 5, least = 1, most = 30, help = "how often each is run"},
  {name = "only", value = "VARIANT", help = "one variant of NAME"},
  {name = "scale", type = "number", default = 1, least = 1e-6, most = 100, help = "sizes times this, for a quick look"},
  {name = "set", value = "KEY=VALUE", help = "a setting of the node, as for throng run"},
  {name = "tls", type = "flag", help = "two nodes talk by TLS, with certificates made for it"},
  {name = "timeout", type = "integer", default = 300, least = 1, most = 86400, help = "seconds that one run may take"},
  {name = "save", value = "FILE", help = "write machine and results as JSON lines"},
  {name = "against", value = "FILE", help = "compare with what --save wrote: say what exceeds the noise"},
  {name = "list", type = "flag", help = "the benches and their variants, sizes and units"},
}

local function complain(text)
  io.stderr:write("throng bench: ", text, " ('throng bench --help' shows what there is)\n")
  return 2
end

local function quoted(word) return "'" .. word:gsub("'", "'\\''") .. "'" end

--- What a workload is told: its sizes, scaled or as the command line has them.
local function sizes_of(bench, variant, scale, given)
  local sizes = {}
  for key, value in pairs(bench.sizes) do sizes[key] = value end
  for key, value in pairs(variant[2] or {}) do sizes[key] = value end
  for key, value in pairs(sizes) do
    if math.type(value) and not (bench.fixed and bench.fixed[key]) then
      local least = bench.least and bench.least[key] or 1
      sizes[key] = math.max(least, math.floor(value * scale + 0.5))
    end
  end
  for key, value in pairs(given) do sizes[key] = value end
  return sizes
end

--- Certificates for both nodes, in a folder that is gone when what is returned is closed; or nil and what went wrong.
local function make_certificates(program)
  local pipe = assert(io.popen "mktemp -d 2>/dev/null")
  local dir = pipe:read "l"
  if not pipe:close() or not dir then return nil, "mktemp -d gives no folder for certificates" end
  local folder = setmetatable({dir = quoted(dir)}, {__close = function(self) os.execute("rm -rf " .. self.dir) end})
  local made = assert(io.popen(("%s certs %s here peer 2>&1"):format(quoted(program), folder.dir)))
  local text = made:read "a"
  if made:close() then return folder end
  os.execute("rm -rf " .. folder.dir)
  return nil, text:match "[^\n]*"
end

--- What a node of that name shows, if there are certificates.
local function tls_words(name, certificates)
  local dir = certificates and certificates.dir
  return dir and ("--tls-cert %s/%s.pem --tls-key %s/%s.key --tls-ca %s/ca.pem"):format(dir, name, dir, name, dir) or ""
end

--- The node that the one which measures has a link to: its output, to be closed after that one has ended, and where it
--- listens. Or nil and what went wrong.
local function start_peer(program, options)
  local words = {"timeout -k 5", tostring(options.timeout), quoted(program),
                 "run --name peer --listen 127.0.0.1:0 --workers", tostring(options.workers)}
  if options.set then words[#words + 1] = "--set " .. quoted(options.set) end
  words[#words + 1] = tls_words("peer", options.certificates)
  words[#words + 1] = "-m throng.bench.work.remote_peer 2>&1"
  local pipe = assert(io.popen(table.concat(words, " ")))
  local line = pipe:read "l" or "no word from the other node"
  local address = line:match "listening for nodes .* on (%S+)"
  if address then return pipe, address end
  pipe:close()
  return nil, line
end

--- One run: a node of its own with the workload as its root actor. A result, or nil and what went wrong.
local function run_node(program, bench, sizes, options)
  local words = {quoted(program), "run", "--log", "warn", "--workers", tostring(options.workers)}
  if options.set then words[#words + 1] = "--set " .. quoted(options.set) end
  local pipe, address
  if bench.remote then pipe, address = start_peer(program, options) end
  if bench.remote and not pipe then return nil, address end
  local peer <close> = pipe -- last of all: it ends by itself when its link does
  if peer then
    words[#words + 1] = "--name here --join " .. address .. " " .. tls_words("here", options.certificates)
  end
  words[#words + 1] = "-m throng.bench.work." .. bench.name
  for key, value in pairs(sizes) do words[#words + 1] = quoted(("%s=%s"):format(key, value)) end
  local command = ("timeout -k 5 %d %s 2>&1"):format(options.timeout, table.concat(words, " "))
  local run <close> = assert(io.popen(command))
  local text = run:read("a")
  local good, how, code = run:close()
  local last = text:match("({[^\n]*})%s*$")
  if good and last then
    local parsed, result = pcall(cjson.decode, last)
    if parsed and result.verified then return result end
    return nil, parsed and result.error or "its result is no JSON: " .. last
  end
  if how == "signal" or code > 128 then os.exit(130) end -- somebody pressed Ctrl-C
  if code == 124 then return nil, ("did not end within %d s (--timeout)"):format(options.timeout) end
  return nil, ("ended with exit code %d: %s"):format(code, text:match("([^\n]*)%s*$"))
end

local function run_once(program, bench, sizes, options)
  if bench.name == "codec" then return codec.run(sizes) end
  return run_node(program, bench, sizes, options)
end

--- What the repeats tell together: the median of each figure, and the rates themselves.
local function summary(bench, name, sizes, results)
  local line = {bench = bench.name, variant = name, repeats = #results, unit = bench.unit, verified = true,
                sizes = sizes, rates = {}}
  for key, value in pairs(results[1]) do
    if type(value) == "number" then
      local values = {}
      for i, result in ipairs(results) do values[i] = result[key] end
      line[key] = statistics.median(values)
      if math.type(value) == "integer" or value == math.floor(value) then line[key] = math.floor(line[key] + 0.5) end
    elseif line[key] == nil then
      line[key] = value
    end
  end
  for i, result in ipairs(results) do line.rates[i] = result.rate end
  line.rate_min, line.rate_max = math.min(table.unpack(line.rates)), math.max(table.unpack(line.rates))
  line.spread = statistics.spread(line.rates)
  if bench.lower then line.lower = true end
  return line
end

local function run_variant(program, bench, variant, options, given)
  local sizes, results = sizes_of(bench, variant, options.scale, given), {}
  local name = next(given) and "custom" or variant[1]
  if bench.remote and options.tls then name = name .. ",tls" end
  for i = 1, options["repeat"] do
    local result, problem = run_once(program, bench, sizes, options)
    if not result then
      return {bench = bench.name, variant = name, unit = bench.unit, sizes = sizes, verified = false, error = problem}
    end
    results[i] = result
  end
  return summary(bench, name, sizes, results)
end

--- The variants to run, or nil and what is wrong with what was asked for.
local function chosen(name, options, given)
  local plan, names = {}, {}
  for _, bench in ipairs(catalogue) do
    names[#names + 1] = bench.name
    if not name or bench.name == name then
      for key in pairs(given) do
        if bench.sizes[key] == nil and not (bench.variants[1][2] or {})[key] then
          local keys = {}
          for known in pairs(bench.sizes) do keys[#keys + 1] = known end
          table.sort(keys)
          return nil, ("%s has no size '%s'; it has %s"):format(name, key, table.concat(keys, ", "))
        end
      end
      local variants = {}
      for _, variant in ipairs(bench.variants) do
        if not options.only or variant[1] == options.only then plan[#plan + 1] = {bench, variant} end
        variants[#variants + 1] = variant[1]
        if next(given) and not options.only then break end -- sizes of one's own are a variant of one's own
      end
      if options.only and name and #plan == 0 then
        return nil, ("--only '%s': %s has %s"):format(options.only, name, table.concat(variants, "  "))
      end
    end
  end
  if #plan == 0 and name then
    return nil, ("there is no bench '%s'; there are %s"):format(name, table.concat(names, ", "))
  end
  return plan
end

--- NAME and the KEY=VALUE words are taken out of the words; the rest are options.
local function parse(...)
  local name, given, rest = nil, {}, {}
  local words, at = {...}, 1
  while at <= #words do
    local word = words[at]
    local key, value = word:match("^(%a[%w_]*)=(.*)$")
    if key then
      given[key] = math.tointeger(value) or value
    elseif word:sub(1, 1) ~= "-" then
      if name then return nil, ("one NAME at a time, not '%s' and '%s'"):format(name, word) end
      name = word
    else
      rest[#rest + 1] = word
      local option = OPTIONS.by_name[word:match("^%-%-([^=]+)$")]
      if option and option.type ~= "flag" and words[at + 1] then
        at = at + 1
        rest[#rest + 1] = words[at]
      end
    end
    at = at + 1
  end
  local options, problem = OPTIONS:parse(table.unpack(rest))
  if not options then return nil, problem end
  if next(given) and not name then return nil, "sizes want a NAME, such as: throng bench tick guys=500" end
  if options.only and not name then return nil, "--only wants a NAME, too" end
  return {name = name, given = given, options = options}
end

local function list()
  for _, bench in ipairs(catalogue) do
    local sizes, variants = {}, {}
    for key, value in pairs(bench.sizes) do sizes[#sizes + 1] = ("%s=%s"):format(key, value) end
    for i, variant in ipairs(bench.variants) do variants[i] = variant[1] end
    table.sort(sizes)
    print(("%-9s %s, in %s\n          sizes %s\n          variants %s"):format(bench.name, bench.about, bench.unit,
      table.concat(sizes, " "), table.concat(variants, "  ")))
  end
  return 0
end

return function(about, ...)
  local asked, problem = parse(...)
  if not asked then return complain(problem) end
  local options = asked.options
  if options.help then
    print(OPTIONS:usage())
    return 0
  end
  if options.list then return list() end
  local plan, why = chosen(asked.name, options, asked.given)
  if not plan then return complain(why) end
  local before
  if options.against then
    before, why = compare.load(options.against)
    if not before then return complain(why) end
  end
  if options.tls then options.certificates, why = make_certificates(about.program) end
  if options.tls and not options.certificates then return complain("--tls: " .. why) end
  local certificates <close> = options.certificates -- luacheck: ignore certificates
  local save = options.save and io.open(options.save, "w")
  if options.save and not save then return complain(("--save: can't write '%s'"):format(options.save)) end

  local commit, dirty = machine.commit()
  local top = {machine = machine.describe(), commit = commit, dirty = dirty, version = about.version,
               date = os.date("!%Y-%m-%dT%H:%M:%SZ")}
  if save then save:write(cjson.encode(top), "\n") end
  if not options.json then show.top(top) end
  local failed = 0
  for _, step in ipairs(plan) do
    local line = run_variant(about.program, step[1], step[2], options, asked.given)
    if not line.verified then failed = failed + 1 end
    local json = cjson.encode(line)
    if save then save:write(json, "\n") save:flush() end
    if before then compare.mark(line, before) end
    if options.json then print(before and cjson.encode(line) or json) else show.line(line) end
    io.stdout:flush()
  end
  if save then save:close() end
  if failed > 0 then
    io.stderr:write(("throng bench: %d of %d failed\n"):format(failed, #plan))
    return 1
  end
  return 0
end
