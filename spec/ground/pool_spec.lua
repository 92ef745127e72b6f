local pool = require "door.pool"
local seed = require "spec.support.seed"

local MB <const> = 1024 * 1024
local SLAB <const> = 2 * MB

describe("pool", function()
  before_each(pool.thread_end)

  it("rounds a size up to a multiple of 64 that is at most half as much again, and rounds that to itself", function()
    local last = 0
    for size = 1, pool.largest do
      local got = pool.round(size)
      assert(got >= size and got % 64 == 0 and got >= last, size)
      assert(size <= 64 or got <= 64 + size * 3 // 2, size)
      assert(pool.round(got) == got, size)
      last = got
    end
    assert.equal(pool.largest, pool.round(pool.largest))
    assert.equal(64, pool.round(0))
    assert.equal(65600, pool.round(65537))
    for _, size in ipairs {64, 128, 192, 256, 384, 512, 768, 1024, 1536, 2048, 3072, 4096, 6144, 8192} do
      assert.equal(size, pool.round(size))
    end
  end)

  it("aligns every block to a cache line, the large ones too", function()
    for _, size in ipairs {0, 1, 64, 65, 1000, 4096, 5000, 65536, 65537, 300001} do
      local block = assert(pool.alloc(size))
      assert.equal(0, pool.address(block) % 64)
      pool.fill(block, pool.round(size), 0xa5)
      pool.free(block, size)
    end
  end)

  it("answers nil to more than there can be, and takes nothing for an answer to free", function()
    assert.is_nil(pool.alloc(math.maxinteger))
    assert.is_nil(pool.alloc(-1))
    if pool.has_slabs then assert.is_nil(pool.alloc(1 << 60)) end -- sanitizers end the process at that
    pool.free(nil, 64)
  end)

  it("gives no byte to two owners", function()
    math.randomseed(seed)
    local owned = {}
    for step = 1, 20000 do
      local i = math.random(400)
      local b = owned[i]
      if b then
        if not pool.filled(b.block, b.room, b.mark) then error(("block %d is broken, seed %d"):format(i, seed)) end
        pool.free(b.block, b.size)
      end
      local size = math.random(10) == 1 and math.random(70000) or math.random(600)
      b = {block = assert(pool.alloc(size)), size = size, room = pool.round(size), mark = step % 251}
      pool.fill(b.block, b.room, b.mark)
      owned[i] = b
    end
    for _, b in pairs(owned) do
      assert(pool.filled(b.block, b.room, b.mark), seed)
      pool.free(b.block, b.size)
    end
  end)

  it("lets threads free what others took, and nothing is broken on the way", function()
    local broken, missing = pool.exchange(4, 50000, seed)
    assert.equal(0, broken, "seed " .. seed)
    assert.equal(0, missing)
  end)

  if not pool.has_slabs then return end -- under a sanitizer blocks are malloc's

  it("keeps no more than a few spare slabs when threads are done", function()
    local before = pool.held()
    pool.exchange(3, 20000, seed)
    pool.thread_end()
    assert(pool.held() <= before + 4 * SLAB, pool.held() - before)
  end)

  it("hands out again what was freed last", function()
    local first = pool.alloc(100)
    pool.free(first, 100)
    local second = pool.alloc(128) -- the same class
    assert.equal(pool.address(first), pool.address(second))
    pool.free(second, 128)
  end)

  it("takes no second slab while freed blocks would do", function()
    local blocks = {}
    for i = 1, 20000 do blocks[i] = assert(pool.alloc(256)) end
    local most = pool.held()
    for _ = 1, 5 do
      for i = 1, #blocks do pool.free(blocks[i], 256) end
      for i = 1, #blocks do blocks[i] = assert(pool.alloc(256)) end
      assert.equal(most, pool.held())
    end
    for i = 1, #blocks do pool.free(blocks[i], 256) end
  end)

  it("leaves few free blocks with a thread: what one frees another can take", function()
    local blocks = {}
    for i = 1, 40000 do blocks[i] = assert(pool.alloc(512)) end
    local most = pool.held()
    for i = 1, #blocks do pool.free(blocks[i], 512) end
    local peak = pool.elsewhere(#blocks, 512)
    assert(peak > 0 and peak <= most + 2 * SLAB, ("%d MB more"):format((peak - most) // MB))
  end)

  it("gives slabs back to the system whatever the order in which their blocks come home", function()
    math.randomseed(seed)
    local before, blocks = pool.held(), {}
    for i = 1, 60000 do blocks[i] = assert(pool.alloc(512)) end
    assert(pool.held() >= before + 60000 * 512 - 4 * SLAB)
    for i = #blocks, 2, -1 do
      local j = math.random(i)
      blocks[i], blocks[j] = blocks[j], blocks[i]
    end
    for i = 1, #blocks do pool.free(blocks[i], 512) end
    pool.thread_end()
    assert(pool.held() <= before + 4 * SLAB, ("%d MB more, seed %d"):format((pool.held() - before) // MB, seed))
  end)

  it("leaves pages alone that nobody asked for", function()
    local others, held = {}, pool.held()
    repeat others[#others + 1] = assert(pool.alloc(65536)) until pool.held() > held -- the spares are in use
    local one = assert(pool.alloc(49152))
    assert.equal(held + 2 * SLAB, pool.held())
    assert(pool.resident(one) <= 4, pool.resident(one))
    pool.free(one, 49152)
    for _, block in ipairs(others) do pool.free(block, 65536) end
  end)
end)
