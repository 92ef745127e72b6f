--- The client's parts that only turn text into other text.
local client = require "spec.support.client"
local seed = require "spec.support.seed"

local json = client.module "json"
local show = client.module "show"
local value = client.module "value"
local session = client.module "session"
local commands = client.module "commands"

local function paint(_, text) return text end

describe("the client's JSON", function()
  it("keeps integers, and the members as they were written", function()
    local values, raw = json.members('{"id": 7, "value" : {"a":[1,2.5,-3e2,9007199254740993],"b":null,"c":"x"} }')
    assert.equal("integer", math.type(values.id))
    assert.same({a = {1, 2.5, -300.0, 9007199254740993}, c = "x"}, values.value)
    assert.equal('{"a":[1,2.5,-3e2,9007199254740993],"b":null,"c":"x"}', raw.value)
  end)

  it("takes a lone U+DC80 to U+DCFF for a byte, and writes bytes that are no UTF-8 so", function()
    local function text(line) return json.members('{"t":' .. line .. "}").t end
    assert.equal("a\xffb", text [["a\udcffb"]])
    assert.equal("\xF0\x9F\x98\x80", text [["\ud83d\ude00"]])
    assert.equal("\\ud83d\xc3\xa9\n/\"", text [["\\ud83d\u00e9\n\/\""]])
    assert.equal("\\\\udcff", text [["\\\\udcff"]])
    for _, bytes in ipairs {"\xff\xfe", "ab\x80cd\xc3", "\xed\xb2\x80", "ok \xc3\xa9", "\0\1\n\"\\"} do
      assert.equal(bytes, json.members(json.encode {t = bytes}).t)
    end
    assert.equal([["\udcff"]], json.encode("\xff"))
  end)

  it("says what is wrong with a line, whatever it is", function()
    for _, bad in ipairs {"", "x", "[]", "{", "{}}", '{"a"}', '{"a":}', '{"a":1,}', '{"a":01x}', '{"a":"x}', '{"a":"\\u12"}',
                          '{"a":"\\q"}', '{"a":0x10}', '{"a":nul}', '{"a":nan}', '{"a":[1 2]}', "{" .. ("[" ):rep(500)} do
      local values, problem = json.members(bad)
      assert.is_nil(values, bad)
      assert.is_string(problem)
    end
    math.randomseed(seed)
    local good = [=[{"id":12,"more":{"text":"a\\b\"c\udc80","list":[1,-2.5e3,null,true,{}],"deep":{"x":[[]]}}}]=]
    for _ = 1, 2000 do
      local at = math.random(#good)
      local bad = good:sub(1, at - 1) .. string.char(math.random(0, 255)) .. good:sub(at + math.random(0, 3))
      local values, problem = json.members(bad)
      assert(type(values) == "table" or type(problem) == "string", bad)
    end
  end)
end)

describe("what the client shows", function()
  it("holds nothing a terminal would obey", function()
    assert.equal([[\x1B[2J\x07\x7F\n]], show.clean("\27[2J\7\127\n"))
    assert.equal("a\n\tb\\x1B", show.clean("a\n\tb\27", true))
    assert.equal([[é \u{9B}31m \xFF\xC3 \u{202E}x]], show.clean("é \u{9b}31m \xff\xc3 \u{202e}x"))
    assert.equal("plain", show.clean("plain"))
  end)

  it("has sizes, times and counts that can be read", function()
    local function all(f, list)
      local out = {}
      for i, n in ipairs(list) do out[i] = f(n) end
      return table.concat(out, " ")
    end
    assert.equal("0 1023 1.0K 1.5K 10K 1.0M 64M 2.0G", all(show.size, {0, 1023, 1024, 1536, 10240, 1048576, 64 << 20, 2 << 30}))
    assert.equal("0 250us 1ms 1.5ms 12ms 1.5s 59s 1m00s 1m00s 1h01m 2d01h",
                 all(show.time, {0, 0.25, 1, 1.5, 12, 1500, 59000, 59970, 60000, 3660000, 176400000}))
    assert.equal("0 1.5 9999 10.0k 123k 1.2M", all(show.count, {0, 1.5, 9999, 10000, 123456, 1234567}))
    assert.equal("", show.size("x") .. show.time(nil) .. show.time(0 / 0) .. show.count({}))
  end)

  it("aligns tables, leaves empty columns out, and cuts them to the terminal's width", function()
    local columns = {{"PID", "pid"}, {"NAME", "name", least = 4}, {"NONE", "none"}, {"N", "n", right = true}, {"TEXT", "text"}}
    local rows = {{pid = "<1.1>", name = "a", n = 1, text = "x"}, {pid = "<12.1>", name = "quite a long one", n = 1000, text = "yy"}}
    assert.same({"PID     NAME                 N  TEXT", "<1.1>   a                    1  x",
                 "<12.1>  quite a long one  1000  yy"}, show.table(columns, rows, nil, paint))
    for width = 10, 40 do
      for _, line in ipairs(show.table(columns, rows, width, paint)) do assert(#line <= width, width .. ": " .. line) end
    end
    assert.equal("<12.1>  qui~  1000  yy", show.table(columns, rows, 24, paint)[3])
    assert.same({}, show.table(columns, {}, 20, paint))
  end)

  it("lays long values out over lines, and leaves short and odd ones alone", function()
    assert.same({'{a = 1, "x"}, 2'}, value.lines('{a = 1, "x"}, 2', 80, paint))
    assert.same({"{", '  name = "b, {o}b",', "  bag = {1, 2},", "  deep = {", "    long = 1234567890,", "    other = {}", "  }", "}"},
                value.lines('{name = "b, {o}b", bag = {1, 2}, deep = {long = 1234567890, other = {}}}', 22, paint))
    for _, odd in ipairs {"}{", "{{{", '"unfinished', "a,,b", "", "{" .. ("{"):rep(100)} do
      assert.is_string(value.lines(odd, 5, paint)[1])
    end
    assert.same({"}{ \\x1B"}, value.lines("}{ \27", 5, paint))
    assert.same({"{", "  a = 1", "}"}, value.lines("{\n  a = 1\n}", nil, paint))
    assert.same({"{a = function <x, {y.lua:3>, <12.1>}"}, value.lines("{\n  a = function <x, {y.lua:3>,\n  <12.1>\n}", 40, paint))
  end)
end)

describe("a line that was typed", function()
  local function command(line) return (session.command_of(line)) end

  it("is a command when its first word is followed by a space or the end, and not by =", function()
    assert.equal("ps", command "ps")
    assert.equal("ps", command "ps guy")
    assert.equal("send", command "send bob tick 1, {x = 2}")
    for _, lua in ipairs {"ps = 1", "ps=1", "ps(1)", "ps.x", "ps:x()", "ps[1]", "ps,x = 1, 2", " ps", "=ps", "1 + ps", "_"} do
      assert.is_nil(command(lua), lua)
    end
  end)

  it("has words, which quotes keep together, and a rest that stays as it is", function()
    local _, words, rest = session.command_of [[send "two words" 'it"s'  {x = "a  b"}  ]]
    assert.same({"two words", 'it"s', "{x", "=", '"a', 'b"}'}, words)
    assert.equal([[{x = "a  b"}]], rest(3))
  end)

  it("is finished when Lua's compiler wants no more", function()
    for _, more in ipairs {"if x then", "f(", "x =", "return {1,", "[[a", "--[[", "function f()", "local t = {a = function()"} do
      assert.is_true(session.unfinished(more), more)
    end
    for _, whole in ipairs {"x", "1 +* 2", "x = 1", 'print("a', "end", "f()", "return 1", "", "-- x"} do
      assert.is_false(session.unfinished(whole), whole)
    end
  end)

  it("is read into arguments and options, or told what is wrong with it", function()
    local function parse(line)
      local name, words, rest = session.command_of(line)
      local args, options = commands.parse(commands.by_name[name], words, rest)
      return args, options
    end
    assert.same({pattern = "guy", limit = 5, sort = "depth"}, (parse "ps guy --limit 5 --sort=depth"))
    local args, options = parse "ask bob eat {x = 1} -- why --json"
    assert.same({pid = "bob", name = "eat", args = "{x = 1} -- why"}, args)
    assert.is_true(options.json)
    assert.same({pid = "bob", handler = "tick", limit = 3}, (parse "trace bob tick limit 3"))
    assert.same({pid = "bob", limit = 3}, (parse "trace bob limit 3"))
    assert.same({seconds = 0.5, pid = "bob"}, (parse "prof 0.5 bob"))
    local function wrong(line, pattern)
      local none, problem = parse(line)
      assert.is_nil(none, line)
      assert.matches(pattern, problem)
    end
    wrong("info", "which PID%? usage: info PID")
    wrong("info bob bea", "'bea' is too much")
    wrong("ps --limit", "wants a value")
    wrong("ps --limit x", "a number is wanted")
    wrong("ps --fly 1", "no option %-%-fly")
    wrong("prof x", "SECONDS must be a number")
    wrong("prof nan", "SECONDS must be a number")
    wrong("trace bob limit", "limit wants a number")
    wrong("trace bob tick or", "unexpected")
    wrong("set bob hunger", "which LUA")
  end)

  it("has a command for each line of help, with a usage", function()
    for _, each in ipairs(commands.list) do
      assert.is_truthy(commands.usage(each):find(each.name, 1, true))
      assert.is_truthy(each.file or each.name == "top" or each.begin, each.name)
    end
  end)
end)
