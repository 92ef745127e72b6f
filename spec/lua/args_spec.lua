local args = require "throng.args"

local function shop()
  return args.new {
    command = "shop",
    about = "A shop.",
    {name = "tills", type = "integer", default = 3, least = 1, most = 100, help = "how many tills"},
    {name = "price", type = "number", default = 1.5, least = 0, value = "EUROS", help = "of all there is"},
    {name = "mood", default = "calm", choices = {"calm", "busy"}, help = "of the customers"},
    {name = "owner", help = "who it belongs to"},
    {name = "floor-area", type = "integer", most = 9},
    {name = "json", type = "flag", help = "as JSON"},
  }
end

describe("the argument parser", function()
  it("gives the defaults when nothing is said; flags are false", function()
    assert.are.same({tills = 3, price = 1.5, mood = "calm", json = false, help = false}, (shop():parse()))
  end)

  it("reads --key value, --key=value and flags, in any order", function()
    local values = assert(shop():parse("--json", "--tills", "7", "--owner=Ann=Bea", "--price=2", "--mood", "busy",
                                       "--floor-area", "-4"))
    assert.are.same({tills = 7, price = 2, mood = "busy", owner = "Ann=Bea", json = true, help = false,
                     ["floor-area"] = -4}, values)
    assert.are.equal("integer", math.type(values.tills))
  end)

  it("takes the last of two, and an empty text as a value", function()
    assert.are.equal(9, shop():parse("--tills", "7", "--tills=9").tills)
    assert.are.equal("", shop():parse("--owner=").owner)
    assert.are.equal("--json", shop():parse("--owner", "--json").owner)
  end)

  it("is asked for help by --help or -h, whatever else is wrong", function()
    assert.is_true(shop():parse("--tills", "many", "--help").help)
    assert.is_true(shop():parse("-h").help)
    assert.is_false(shop():parse().help)
  end)

  it("remembers nothing from one parsing to the next", function()
    local options = shop()
    options:parse("--json", "--tills", "7", "--owner", "Ann")
    assert.are.same({tills = 3, price = 1.5, mood = "calm", json = false, help = false}, (options:parse()))
  end)

  local wrong = {
    ["an unknown option, with a guess"] = {{"--till", "3"}, "there is no option '--till', did you mean --tills?"},
    ["an unknown option like none"] = {{"--aubergine=3"}, "there is no option '--aubergine'"},
    ["a word that is no option"] = {{"tills"}, "'tills' is no option: they begin with --"},
    ["dashes alone"] = {{"--"}, "'--' is no option: they begin with --"},
    ["a missing value"] = {{"--tills"}, "--tills needs a value"},
    ["a value for a flag"] = {{"--json=yes"}, "--json takes no value"},
    ["a text where a number should be"] = {{"--tills", "many"},
                                           "--tills must be a whole number from 1 to 100, not 'many'"},
    ["an empty number"] = {{"--tills="}, "--tills must be a whole number from 1 to 100, not ''"},
    ["too little"] = {{"--tills", "0"}, "--tills must be a whole number from 1 to 100, not '0'"},
    ["too much"] = {{"--tills", "101"}, "--tills must be a whole number from 1 to 100, not '101'"},
    ["a fraction for a whole number"] = {{"--tills", "1.5"}, "--tills must be a whole number from 1 to 100, not '1.5'"},
    ["hexadecimal"] = {{"--tills", "0x10"}, "--tills must be a whole number from 1 to 100, not '0x10'"},
    ["a number of more than 64 bits"] = {{"--floor-area", "-99999999999999999999"},
                                         "--floor-area must be a whole number, at most 9, not '-99999999999999999999'"},
    ["an infinite number"] = {{"--price", "1e999"}, "--price must be a number, at least 0, not '1e999'"},
    ["no number"] = {{"--price", "nan"}, "--price must be a number, at least 0, not 'nan'"},
    ["a number below its bound"] = {{"--price=-0.5"}, "--price must be a number, at least 0, not '-0.5'"},
    ["a text that is not one of the choices"] = {{"--mood", "angry"}, "--mood must be one of calm, busy, not 'angry'"},
    ["line ends, in one line"] = {{"--mood", "a\nb"}, "--mood must be one of calm, busy, not 'a?b'"},
    ["what is long, shortened"] = {{("x"):rep(200)}, "'" .. ("x"):rep(57) .. "...' is no option: they begin with --"},
  }
  for what, case in pairs(wrong) do
    it("refuses " .. what, function()
      local values, problem = shop():parse(table.unpack(case[1]))
      assert.is_nil(values)
      assert.are.equal(case[2], problem)
    end)
  end

  it("reads numbers as people write them", function()
    for text, number in pairs {["2"] = 2, ["2.5"] = 2.5, ["2."] = 2, [".5"] = 0.5, ["1e3"] = 1000, ["+1"] = 1} do
      assert.are.equal(number, assert(shop():parse("--price", text)).price)
    end
  end)

  it("wants what is required", function()
    local options = args.new {command = "x", {name = "key", required = true}}
    assert.are.same({nil, "--key must be given"}, {[2] = select(2, options:parse())})
    assert.are.equal("k", options:parse("--key", "k").key)
  end)

  it("shows a page of all options", function()
    assert.are.equal([[
usage: shop [OPTIONS]
A shop.

  --tills N         how many tills (from 1 to 100; default 3)
  --price EUROS     of all there is (at least 0; default 1.5)
  --mood calm|busy  of the customers (default calm)
  --owner TEXT      who it belongs to
  --floor-area N    (at most 9)
  --json            as JSON
  --help            show this]], shop():usage())
  end)

  it("does not take a declaration that is wrong", function()
    local function declare(option) return function() args.new {command = "x", option} end end
    assert.has_error(declare {name = "a b"}, "args.new: option 'a b' needs a name of letters, digits and -")
    assert.has_error(declare {name = "a", type = "date"}, "args.new: option 'a' has an unknown type")
    assert.has_error(declare {name = "a", least = 1}, "args.new: option 'a' has bounds but is no number")
    assert.has_error(declare {name = "a", type = "flag", choices = {}},
                     "args.new: option 'a' has choices but is no string")
    assert.has_error(declare {name = "help"}, "args.new: option 'help' is there twice")
    assert.has_error(function() args.new {command = "x", {name = "a"}, {name = "a"}} end,
                     "args.new: option 'a' is there twice")
  end)
end)
