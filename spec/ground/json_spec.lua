--- core/ground/json.c
local json = require "door.json"

describe("json", function()
  it("comes out as it went in", function()
    for _, text in ipairs {
      "null", "true", "false", "0", "-7", "9223372036854775807", "-9223372036854775808", "0.5", "1e+300", "2.0",
      '""', '"a\\nb\\t\\"\\\\"', '"\u{e4}\u{1F600}"', '"\\udcff\\u0000\\u007f"', "[]", "{}", "[1,[2,[3]],{}]",
      '{"a":{"b":[null]},"":1,"a":2}',
    } do
      assert.equal(text, json.parse(text))
      assert.equal(text, json.parse(" \t" .. text .. "\r\n "))
    end
    assert.equal('"/\u{1F600}A"', json.parse '"\\/\\ud83d\\ude00\\u0041"')
    assert.equal("9.2233720368547758e+18", json.parse "9223372036854775808")
    assert.equal("100.0", json.parse "1e2")
  end)

  it("finds the last value of a key", function()
    assert.equal("2", json.get('{"a":1,"b":[{"a":5}],"a":2}', "a"))
    assert.is_nil(json.get('{"b":{"a":5}}', "a"))
    assert.is_nil(json.get('["a",1]', "a"))
    assert.is_nil(json.get("{}", "a"))
  end)

  it("refuses what is none, and says what", function()
    for text, words in pairs {
      [""] = "too early", ["  "] = "too early", ["nul"] = "no JSON", ["nulll"] = "behind", ["01"] = "no JSON",
      ["-"] = "no JSON", ["1."] = "point", ["1e"] = "exponent", [".5"] = "no JSON", ["+1"] = "no JSON",
      ["1e400"] = "too large", ['"'] = "without its end", ['"\\'] = "without its end", ['"\\u12"'] = "hexadecimal",
      ['"\\ud800"'] = "surrogate", ['"\\udc00"'] = "surrogate", ['"\\ud800\\u0041"'] = "surrogate",
      ['"\\q"'] = "escape", ['"\1"'] = "control", ['"\xc3"'] = "UTF-8", ['"\xed\xa0\x80"'] = "UTF-8",
      ['"\xf4\x90\x80\x80"'] = "UTF-8", ['"\xc0\x80"'] = "UTF-8", ["["] = "too early", ["[1"] = "without its end",
      ["[1,]"] = "no JSON", ["[,]"] = "no JSON", ["{"] = "key", ['{"a"}'] = "colon", ['{"a":}'] = "no JSON",
      ['{"a":1,}'] = "key", ["{1:2}"] = "key", ["[1}"] = "without its end", ["1 2"] = "behind",
      [("["):rep(65) .. ("]"):rep(65)] = "too deep", ["[" .. ("0,"):rep(20000) .. "0]"] = "too many",
      [("1"):rep(100)] = "digits", ["nan"] = "no JSON", ["\0"] = "no JSON",
    } do
      local value, why = json.parse(text)
      assert.is_nil(value, text)
      assert.truthy(why:find(words, 1, true), text .. ": " .. why)
    end
    assert.truthy(json.parse(("["):rep(64) .. ("]"):rep(64)))
  end)
end)
