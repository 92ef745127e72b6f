local codec = require "door.codec"

describe("pid", function()
  it("keeps slot and generation apart, up to the largest of each", function()
    for _, slot in ipairs {0, 1, 12, 0xffffff} do
      for _, generation in ipairs {1, 2, 0xfffffff} do
        assert.same({slot, generation, 0, false}, {codec.pid_parts(codec.pid_make(slot, generation))})
      end
    end
  end)

  it("is written with slot and generation, and with the node if it is another", function()
    assert.equal("<12.1>", codec.pid_text(codec.pid_make(12, 1)))
    assert.equal("<0.1>", codec.pid_text(codec.pid_make(0, 1)))
    assert.equal("<16777215.268435455>", codec.pid_text(codec.pid_make(0xffffff, 0xfffffff)))
    assert.equal("<12.1@3>", codec.pid_text(codec.pid_make(12, 1) | 3 << 52))
    assert.equal("<16777215.268435455@2047>", codec.pid_text(math.maxinteger))
  end)

  it("has a text for nobody", function()
    assert.equal("<nobody>", codec.pid_text(0))
  end)

  it("tells refs from pids, and their kinds by name", function()
    for _, kind in ipairs {"monitor", "timer", "request"} do
      local ref, got = codec.ref_make(kind, 7)
      assert.equal(kind, got)
      assert.is_true(select(4, codec.pid_parts(ref)))
      assert.equal("#" .. kind .. "-7", codec.pid_text(ref))
    end
    assert.equal("#request-1152921504606846975", codec.pid_text((codec.ref_make("request", -1))))
    assert.equal("#ref-1152921504606846975", codec.pid_text(-1)) -- of no kind that there is
  end)
end)
