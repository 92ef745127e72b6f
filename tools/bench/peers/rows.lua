--- What is measured beside its peers: a row for each bench and size. `words` are the sizes the peers are told; ours has
--- them in its catalogue.
---
--- The peers are tuned: what helps a row stands with it, and of several ways the best counts. What was tried:
---   Erlang: +sbt, +sbwt, +swt, +scl and +hmqd, none of which helped beyond the noise; and +hms 16, a smaller first
---   heap, by which actors that are born by the hundred thousand are born nearly twice as fast, and half as large.
---   CAF: another allocator than the C library's, up to 1.4 times as fast, so the runner links it. How many messages an
---   actor handles before others have their turn ("throughput"; no limit if not given): with few, what a Region sends
---   is still in the cache when it is read. Stealing of work (the default) or sharing: a thief walks the whole list of
---   his victim to its end, so with many actors waiting, two schedulers do better when they share.

---@class peers.Tuning
---@field [1] string           the peer's variant
---@field words? string        more words for the peer
---@field flags? string        Erlang's: words for the emulator
---@field schedulers? integer[] {1, 2} if not given
---@field pinned? boolean     it has to do with one core

---@class peers.Row
---@field bench string
---@field ours {[1]: string, shared: boolean?}[]  our variants; a peer's variant `shared` counts beside ours of the kind
---@field words string
---@field erlang peers.Tuning[]
---@field caf? peers.Tuning[]
---@field by? string           the figure that decides which is best, instead of the rate; the least is
---@field also? string[]       figures to show with the rate
---@field tls? boolean         the two talk by TLS 1.3, with certificates on both sides
---@field remote? boolean      two nodes on this machine; ours as they come, and both on one core

local TICK_ERLANG <const> = {{"send"}}
local TICK_CAF <const> = {
  {"send", words = "throughput=20"}, {"send", words = "throughput=20 policy=sharing", schedulers = {2}},
  {"send"}, {"send", words = "policy=sharing", schedulers = {2}},
  {"shared", words = "throughput=20"}, {"shared", words = "throughput=20 policy=sharing", schedulers = {2}},
  {"shared"},
}

---@param variant string
---@param words string
local function tick(variant, words)
  return {bench = "tick", ours = {{variant}, {variant .. ",send_all", shared = true}}, words = words,
          erlang = TICK_ERLANG, caf = TICK_CAF}
end

--- Two nodes. Erlang's as they come; with the long busy wait of its schedulers; and both on one core, where a trip
--- needs no other core to be woken.
---@param ours string
---@param words string
---@param variant string
---@param tls? boolean
local function remote(ours, words, variant, tls)
  local also <const> = (variant == "trips" or variant == "call") and {"p99_ns"} or nil
  return {bench = "remote", ours = {{ours}}, words = words, remote = true, tls = tls, also = also,
          erlang = {{variant, schedulers = {2}}, {variant, flags = "+sbwt very_long", schedulers = {2}},
                    {variant, schedulers = {1}, pinned = true}}}
end

---@type peers.Row[]
return {
  tick("guys=1000", "guys=1000 rounds=1000 regions=1"),
  tick("guys=10000", "guys=10000 rounds=100 regions=1"),
  tick("regions=4", "guys=1000 rounds=250 regions=4"),
  {bench = "pingpong", ours = {{"send"}}, words = "trips=500000", erlang = {{"send"}}, caf = {{"send"}},
   also = {"p99_ns"}},
  {bench = "ask", ours = {{"ask"}}, words = "trips=500000", erlang = {{"gen_server"}}, caf = {{"request"}},
   also = {"p99_ns"}},
  {bench = "ring", ours = {{"actors=503"}}, words = "actors=503 hops=1000000", erlang = {{"send"}}, caf = {{"send"}}},
  {bench = "fanin", ours = {{"senders=8"}}, words = "senders=8 each=250000", erlang = {{"on_heap"}, {"off_heap"}},
   caf = {{"send"}, {"send", words = "policy=sharing throughput=1000", schedulers = {2}}}, also = {"peak_rss_bytes"}},
  {bench = "payload", ours = {{"fresh"}}, words = "trips=200000", erlang = {{"fresh"}}, caf = {{"fresh"}},
   also = {"p99_ns"}},
  {bench = "spawn", ours = {{"guys=100000"}}, words = "guys=100000", erlang = {{"spawn", flags = "+hms 16"}},
   caf = {{"spawn", words = "policy=sharing"}}, also = {"stop_rate", "bytes_per_actor"}},
  {bench = "tree", ours = {{"leaves=1000000"}}, words = "leaves=1000000",
   erlang = {{"spawn", flags = "+P 2000000 +hms 16"}}, caf = {{"spawn"}}, also = {"peak_rss_bytes"}},
  {bench = "fair", ours = {{"pair"}}, words = "trips=200000", erlang = {{"pair"}}, by = "p99_ns",
   also = {"p50_ns", "p99_ns", "p999_ns", "max_ns", "before_p99_ns"}},
  remote("trips,send", "messages=50000", "trips"),
  remote("trips,ask", "messages=50000", "call"),
  remote("oneway", "messages=500000", "oneway"),
  remote("oneway,1KB", "messages=200000 bytes=1024", "oneway"),
  remote("oneway,64KB", "messages=10000 bytes=65536", "oneway"),
  remote("tick", "guys=1000 rounds=2000", "tick"),
  remote("trips,send", "messages=50000", "trips", true),
  remote("oneway", "messages=500000", "oneway", true),
}
