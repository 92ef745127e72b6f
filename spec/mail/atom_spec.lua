local atom = require "door.atom"

describe("an atom", function()
  it("is one number for one text, for ever", function()
    local tick, tock = atom.intern "tick", atom.intern "tock"
    assert(tick > 0 and tock > 0 and tick ~= tock)
    assert.are.equal(tick, atom.intern "tick")
    assert.are.equal(tick, atom.find "tick")
    assert.are.equal("tick", atom.text(tick))
    assert.are.equal("tock", atom.text(tock))
  end)

  it("is not made by looking", function()
    assert.are.equal(0, atom.find "never interned by anybody")
    assert.are.equal(0, atom.find "never interned by anybody")
  end)

  it("may have any bytes, also none", function()
    local seen = {}
    for _, text in ipairs {"", "\0", "a\0b", "a", "A", "\255", ("x"):rep(atom.TEXT_MAX)} do
      local id = atom.intern(text)
      assert(id > 0 and not seen[id], text)
      seen[id] = true
      assert.are.equal(text, atom.text(id))
      assert.are.equal(id, atom.find(text))
    end
  end)

  it("is 0 for a text that is too long, and 0 has no text, nor has a number that was not given", function()
    local long = ("x"):rep(atom.TEXT_MAX + 1)
    assert.are.equal(0, atom.intern(long))
    assert.are.equal(0, atom.find(long))
    for _, id in ipairs {0, 65535, 65536, 1 << 31, (1 << 32) - 1} do assert.are.equal("", atom.text(id)) end
  end)

  it("is 0 once the table is full; those that are there stay", function()
    assert.are.equal(0, atom.fill())
  end)

  it("is the same for all threads that intern at once", function()
    assert.are.equal(0, atom.race(4))
  end)
end)
