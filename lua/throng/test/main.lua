--- `throng test`: the root actor of a node for specs. Runs busted, which this program carries, over the files it is
--- given; each test is watched over by throng.test.stage.

local testing = require "throng.testing"
local throng = require "throng"
local stage = require "throng.test.stage"

local USAGE <const> = [[
usage: throng test [OPTIONS] [DIR|FILE...]    run the specs there: files whose names hold "_spec"

Without DIR or FILE: what .busted says (ROOT), or the folder spec.
  --filter PATTERN        only tests whose full name matches the Lua pattern; may be given again
  --filter-out PATTERN    not those; may be given again
  --only NAME             only the test of that full name
  --tags A,B              only tests with #A or #B in their names
  --exclude-tags A,B      not those
  --pattern PATTERN       files whose names match (_spec); may be given again
  --list                  only print the names of the tests
  --seed N                the schedule that this seed makes; 0 = not shuffled. Else a random one
  --repeat N              run all N times, each with a new seed, until a test fails
  --shuffle               the files, and the tests in each, in the seed's order
  --timeout MS            that long one test may take, in real time (30000); 0 = for ever
  --real-time             time is not virtual
  --workers K             worker threads (1). With more a seed does not replay everything
  -o, --output NAME       plainTerminal, utfTerminal, TAP, junit, gtest, json, or a file.lua: an output handler
  --json                  the same as --output json
  -v, --verbose           with tracebacks
  --no-keep-going         stop at the first test that fails
  --path DIR              look for modules in DIR, too; may be given again
  --config FILE           instead of .busted; "none" for none
  --run TASK              which one of its tasks: else `throng`, or `default`
  --log LEVEL             debug, info, warn, error or off (the default)
  --set KEY=VALUE         a setting of the node, see throng help

Specs, and the actors they spawn, require modules from --path, the lpath of .busted, the folders of the specs and the
current one. Exit codes: 0 good, 1 a test failed, 2 wrong usage.
]]

local FLAGS <const> = {
  ["--list"] = "list", ["-l"] = "list", ["--shuffle"] = "shuffle", ["--real-time"] = "real_time", ["--json"] = "json",
  ["-v"] = "verbose", ["--verbose"] = "verbose", ["--no-keep-going"] = "stop_early", ["--help"] = "help",
  ["-h"] = "help",
}
local VALUES <const> = {
  ["--filter"] = "filter", ["--filter-out"] = "filter-out", ["--only"] = "only", ["--tags"] = "tags", ["-t"] = "tags",
  ["--exclude-tags"] = "exclude-tags", ["--pattern"] = "pattern", ["-p"] = "pattern", ["--seed"] = "seed",
  ["--repeat"] = "repeat", ["--timeout"] = "timeout", ["-o"] = "output", ["--output"] = "output",
  ["--config"] = "config", ["--run"] = "run", ["-r"] = "run",
}
local LISTS <const> = {filter = true, ["filter-out"] = true, pattern = true, tags = true, ["exclude-tags"] = true}
local NUMBERS <const> = {seed = {0, math.maxinteger}, ["repeat"] = {1, 1000000}, timeout = {0, 86400000}}

local Main = {concurrent = true}
for name, handler in pairs(stage.handlers) do Main[name] = handler end

-- ---- arguments ----

local function wrong(text)
  error({usage = text:gsub("%c", "?")}, 0)
end

local function number(key, text)
  local least, most = NUMBERS[key][1], NUMBERS[key][2]
  local n = text:find("^%d+$") and math.tointeger(tonumber(text))
  if not n or n < least or n > most then
    wrong(("--%s '%s': a whole number from %d to %d"):format(key, text, least, most))
  end
  return n
end

local function parse(args)
  local options = {roots = {}, given = {}}
  local i, plain = 1, false
  while i <= #args do
    local arg = args[i]
    local key, value = arg:match("^(%-%-[%w-]+)=(.*)$")
    key = key or arg
    if plain or not arg:find("^%-.") then
      table.insert(options.roots, arg)
    elseif arg == "--" then
      plain = true
    elseif FLAGS[arg] then
      options[FLAGS[arg]] = true
    elseif VALUES[key] then
      local name = VALUES[key]
      if not value then
        i = i + 1
        value = args[i]
        if not value then wrong(("option '%s' wants a value"):format(key)) end
      end
      if NUMBERS[name] then value = number(name, value) end
      if LISTS[name] then
        options[name] = options[name] or {}
        if name:find("tags") then
          for tag in value:gmatch("[^,]+") do table.insert(options[name], tag) end
        else
          table.insert(options[name], value)
        end
      else
        options[name] = value
      end
    else
      wrong(("test: unknown option '%s'"):format(arg))
    end
    i = i + 1
  end
  for _, name in ipairs {"filter", "filter-out", "pattern"} do
    for _, pattern in ipairs(options[name] or {}) do
      if not pcall(string.find, "", pattern) then wrong(("--%s '%s': no Lua pattern"):format(name, pattern)) end
    end
  end
  return options
end

local function read(path)
  local file, why = io.open(path, "rb")
  if not file then return nil, why end
  local text = file:read("a")
  file:close()
  return text
end

--- As Lua's own, which actors do not have.
local function load_file(path, _, env)
  local text, why = read(path)
  if not text then return nil, "cannot open " .. tostring(why) end
  return load((text:gsub("^#[^\n]*", "", 1)), "@" .. path, "t", env or _G)
end

local function as_list(value)
  if value == nil then return nil end
  return type(value) == "table" and value or {value}
end

--- What .busted says, where the command line says nothing.
local function configure(options)
  local path = options.config or ".busted"
  if options.config == "none" or (not options.config and testing.kind_of(path) ~= "file") then return options end
  local chunk, why = load_file(path)
  if not chunk then wrong(why) end
  local ok, tasks = pcall(chunk)
  if not ok or type(tasks) ~= "table" then
    wrong(("%s: %s"):format(path, ok and "returns no table" or tostring(tasks)))
  end
  local task = tasks[options.run or "throng"]
  if options.run and type(task) ~= "table" then wrong(("%s has no task '%s'"):format(path, options.run)) end
  task = type(task) == "table" and task or type(tasks.default) == "table" and tasks.default or {}
  local all = type(tasks._all) == "table" and tasks._all or {}
  local function said(key)
    if task[key] ~= nil then return task[key] end
    return all[key]
  end
  if #options.roots == 0 then options.roots = as_list(said("ROOT")) or {} end
  for key in pairs(LISTS) do options[key] = options[key] or as_list(said(key)) end
  for _, key in ipairs {"output", "helper", "verbose", "shuffle", "seed", "timeout"} do
    if options[key] == nil then options[key] = said(key) end
  end
  if said("keep-going") == false then options.stop_early = true end
  for folder in (said("lpath") or ""):gmatch("([^;]+)/%?%.lua") do testing.add_path(folder) end
  return options
end

-- ---- files ----

local function folder_of(path) return path:match("^(.*)/[^/]*$") or "." end

local function is_spec(name, patterns)
  if name:find("^%.") or not name:find("%.lua$") then return false end
  for _, pattern in ipairs(patterns) do
    if name:find(pattern) then return true end
  end
  return false
end

local function walk(folder, patterns, files)
  local names, why = testing.list(folder)
  if not names then wrong(("%s: %s"):format(folder, why)) end
  table.sort(names)
  for _, name in ipairs(names) do
    local path = folder:gsub("/+$", "") .. "/" .. name
    local kind = testing.kind_of(path)
    if kind == "directory" and not name:find("^%.") then walk(path, patterns, files)
    elseif kind == "file" and is_spec(name, patterns) then files[#files + 1] = path end
  end
end

local function find_files(options)
  local files, patterns = {}, options.pattern or {"_spec"}
  local roots = #options.roots > 0 and options.roots or {"spec"}
  for _, root in ipairs(roots) do
    local kind, why = testing.kind_of(root)
    if kind == "file" then files[#files + 1] = root
    elseif kind == "directory" then walk(root, patterns, files)
    else wrong(("%s: %s"):format(root, why or "is neither a file nor a folder")) end
  end
  if #files == 0 then
    wrong(("no specs in %s: none of the files there matches '%s'"):format(table.concat(roots, ", "),
          table.concat(patterns, "', '")))
  end
  return files
end

-- ---- busted ----

local function full_name(busted, element)
  local names, parent = {element.name or element.descriptor}, busted.context.parent(element)
  while parent and (parent.name or parent.descriptor) and parent.descriptor ~= "file" do
    table.insert(names, 1, parent.name or parent.descriptor)
    parent = busted.context.parent(parent)
  end
  return table.concat(names, " ")
end

local function file_of(busted, element)
  while element and element.descriptor ~= "file" do element = busted.context.parent(element) end
  return element and element.name or "?"
end

local function place(element)
  local trace = element.trace
  return trace and trace.short_src and ("%s:%d: "):format(trace.short_src, trace.currentline) or ""
end

local SUPPORT <const> = {before_each = true, after_each = true, strict_setup = false, strict_teardown = false,
                         lazy_setup = false, lazy_teardown = false}

--- What surrounds tests has the same limit as they. A before_each and an after_each begin with the schedule as the seed
--- has it, not where busted's own work, which is not always the same, has left it.
local function watch_support(busted, run)
  local safe = busted.safe
  function busted.safe(descriptor, body, element)
    local sows = SUPPORT[descriptor]
    if sows == nil then return safe(descriptor, body, element) end
    local results = table.pack(safe(descriptor, function(...)
      testing.limit(run.timeout, body)
      if sows then stage.sow() end
      return body(...)
    end, element))
    testing.limit(0)
    return table.unpack(results, 1, results.n)
  end
end

--- A test begins before its before_each and ends behind its after_each: busted's own events lie within.
local function watch_tests(busted, run)
  local new_block = require "busted.block"
  package.loaded["busted.block"] = function(...)
    local block = new_block(...)
    local exec_all, dexec_all = block.execAll, block.dexecAll
    local depth = 0
    function block.execAll(descriptor, current, propagate, ...)
      if descriptor ~= "before_each" or depth > 0 then return exec_all(descriptor, current, propagate, ...) end
      run.element = busted.context.get()
      stage.begin(full_name(busted, run.element), run.seed)
      depth = 1
      local passed, ancestor = exec_all(descriptor, current, propagate, ...)
      depth = 0
      return passed, ancestor
    end
    function block.dexecAll(descriptor, current, propagate, ...)
      if descriptor ~= "after_each" or depth > 0 then return dexec_all(descriptor, current, propagate, ...) end
      depth = 1
      local passed = dexec_all(descriptor, current, propagate, ...)
      depth = 0
      local element, complaint = run.element, stage.finish()
      if complaint then
        busted.publish({"error", element.descriptor}, element, busted.context.parent(element),
                       place(element) .. complaint, element.trace)
      end
      run.element = nil
      return passed
    end
    return block
  end
end

--- The body of a test, and then what it did not expect.
local function watched(busted, element, body, timeout)
  return function()
    testing.limit(timeout, body)
    stage.sow()
    body()
    testing.advance(0)
    local trouble = stage.trouble()
    if trouble then busted.fail(place(element) .. trouble, 0) end
  end
end

local function subscribe(busted, run)
  local bodies = setmetatable({}, {__mode = "k"})
  busted.subscribe({"test", "start"}, function(element)
    if element.descriptor == "it" then
      bodies[element] = bodies[element] or element.run
      element.run = watched(busted, element, bodies[element], run.timeout)
    end
    return nil, true
  end)
  local function failed()
    run.failures = run.failures + 1
    busted.skipAll = busted.skipAll or run.stop_early
    local element = run.element
    if element and not run.failed[element] then
      run.failed[element] = true
      table.insert(run.replays, {file = file_of(busted, element), name = full_name(busted, element)})
    end
    return nil, true
  end
  busted.subscribe({"failure"}, failed)
  busted.subscribe({"error"}, failed)
  busted.subscribe({"file", "end"}, function()
    stage.clear()
    return nil, true
  end)
end

local function quote(text)
  return text:find("^[%w_./:=-]+$") and text or "'" .. text:gsub("'", "'\\''") .. "'"
end

--- How to have it again.
local function tell_replays(run)
  if run.failures == 0 then return end
  io.flush()
  io.stderr:write(("throng: seed %d; again:\n"):format(run.seed))
  local shared = run.again ~= "" and run.again .. " " or ""
  for i, replay in ipairs(run.replays) do
    if i > 10 then
      io.stderr:write(("  ... and %d more\n"):format(#run.replays - 10))
      break
    end
    io.stderr:write(("  throng test --seed %d %s--only %s %s\n"):format(run.seed, shared, quote(replay.name),
                    quote(replay.file)))
  end
  if #run.replays == 0 then io.stderr:write(("  throng test --seed %d %s\n"):format(run.seed, shared)) end
end

local function escaped(text) return (text:gsub("%p", "%%%0")) end

local function load_files(busted, files)
  for _, path in ipairs(files) do
    local chunk, why = load_file(path)
    if chunk then
      local file = setmetatable({
        getTrace = function(_, info)
          local index = info.traceback:find("\n%s*%[C]")
          info.traceback = info.traceback:sub(1, index)
          return info
        end,
      }, {__call = chunk})
      busted.executors.file(path, file)
    else
      busted.publish({"error", "file"}, {descriptor = "file", name = path}, nil, why, {})
    end
  end
end

local function random_seed()
  local bytes = assert(io.open("/dev/urandom", "rb"))
  local seed = ("I4"):unpack(bytes:read(4)) | 1
  bytes:close()
  return seed
end

--- What else has to be said again to have the same.
local function again(options, args)
  local parts = {}
  for _, name in ipairs {"real_time"} do
    if options[name] then parts[#parts + 1] = "--" .. name:gsub("_", "-") end
  end
  for i, arg in ipairs(args) do
    if arg == "--config" or arg == "--run" or arg == "-r" then parts[#parts + 1] = arg .. " " .. quote(args[i + 1]) end
    if arg:find("^%-%-config=") or arg:find("^%-%-run=") then parts[#parts + 1] = quote(arg) end
  end
  for _, path in ipairs(options.paths or {}) do parts[#parts + 1] = "--path " .. quote(path) end
  return table.concat(parts, " ")
end

local function run_all(options, args)
  local bundle = require "throng.test.bundle"
  local busted = bundle.load()
  local run = {seed = options.seed or random_seed(), timeout = options.timeout or 30000,
               stop_early = options.stop_early, failures = 0, failed = {}, replays = {}, again = again(options, args)}
  stage.real = options.real_time or false
  testing.real_time(stage.real)
  watch_tests(busted, run)
  watch_support(busted, run)
  require "busted"(busted)
  require "throng.testkit" -- before a file is: so all of them have the same
  stage.install()
  _G.loadfile = load_file
  _G.dofile = function(path) return assert(load_file(path))() end

  local output = options.output or (testing.is_terminal() and "utfTerminal" or "plainTerminal")
  if options.json then output = "json" end
  if not output:find("%.lua$") and not package.preload["busted.outputHandlers." .. output] then
    wrong(("--output '%s': one of plainTerminal, utfTerminal, TAP, junit, gtest, json, or a file.lua"):format(output))
  end
  if output:find("%.lua$") and testing.kind_of(output) ~= "file" then
    wrong(("--output '%s': no such file"):format(output))
  end
  local files = find_files(options)
  testing.add_path(".")
  for _, path in ipairs(files) do testing.add_path(folder_of(path)) end
  for _, root in ipairs(options.roots) do
    if testing.kind_of(root) == "directory" then testing.add_path(root) end
  end

  busted.randomize = options.shuffle
  busted.randomseed = run.seed
  subscribe(busted, run)
  require "busted.modules.output_handler_loader"()(busted, output, {
    defaultOutput = "plainTerminal", verbose = options.verbose, language = "en", arguments = {},
  })
  bundle.hide()
  if options.helper then dofile(options.helper) end
  local filter = options.filter or {}
  if options.only then filter[#filter + 1] = "^" .. escaped(options.only) .. "$" end
  require "busted.modules.filter_loader"()(busted, {
    tags = options.tags or {}, excludeTags = options["exclude-tags"] or {}, filter = filter,
    filterOut = options["filter-out"] or {}, list = options.list, nokeepgoing = options.stop_early,
  })
  load_files(busted, files)

  local runs = options["repeat"] or 1
  busted.subscribe({"suite", "reset"}, function()
    if run.failures > 0 then busted.skipAll = true -- that is the seed we looked for
    else run.seed = random_seed() end
    return nil, true
  end)
  require "busted.execute"(busted)(runs, {seed = run.seed, shuffle = options.shuffle})
  busted.publish({"exit"})
  tell_replays(run)
  return run.failures == 0 and 0 or 1
end

-- ---- the actor ----

function Main:init(...)
  testing.be_runner()
  throng.send(throng.self(), "run", ...)
end

function Main:on_run(...)
  local args = {...}
  local ok, result = xpcall(function()
    local options = parse(args)
    if options.help then
      io.write(USAGE)
      return 0
    end
    return run_all(configure(options), args)
  end, function(failure)
    if type(failure) == "table" and failure.usage then return failure end
    return debug.traceback(tostring(failure), 2)
  end)
  io.flush()
  testing.limit(0)
  testing.real_time(true)
  if ok then return testing.shutdown(result) end
  if type(result) == "table" then
    io.stderr:write("throng: ", result.usage, " ('throng test --help' shows what there is)\n")
    return testing.shutdown(2)
  end
  io.stderr:write("throng: ", result, "\n")
  testing.shutdown(1)
end

return Main
