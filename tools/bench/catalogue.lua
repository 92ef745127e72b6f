--- What `throng bench` measures: each bench, its variants, and the sizes they have by default.
--- A workload is an actor script in work/NAME.lua that gets the sizes as key=value and prints one JSON object.

---@class throng.bench.Variant
---@field [1] string                   what it is called in the results
---@field [2] table<string, integer|string>?  sizes that differ from the bench's

---@class throng.bench.Bench
---@field name string
---@field about string
---@field unit string                  of the rate
---@field lower? boolean               the figure is a time: lower is better
---@field remote? boolean              beside the node that measures runs another, work/remote_peer.lua
---@field sizes table<string, integer|string>
---@field least? table<string, integer> sizes that --scale does not go below (1 if not given)
---@field fixed? table<string, true>    sizes that --scale leaves alone
---@field variants throng.bench.Variant[]

---@type throng.bench.Bench[]
return {
  {name = "tick", unit = "msg/s",
   about = "Regions tick their Guys, round after round; then each Guy is asked his hunger",
   sizes = {regions = 1, guys = 1000, rounds = 1000, all = 0}, fixed = {regions = true, all = true},
   variants = {{"guys=1000"}, {"guys=1000,send_all", {all = 1}},
               {"guys=10000", {guys = 10000, rounds = 100}},
               {"guys=10000,send_all", {guys = 10000, rounds = 100, all = 1}},
               {"regions=4", {regions = 4, rounds = 250}},
               {"regions=4,send_all", {regions = 4, rounds = 250, all = 1}}}},
  {name = "pingpong", unit = "round trips/s", about = "two actors, an integer there and back by send, one on its way",
   sizes = {trips = 500000}, variants = {{"send"}}},
  {name = "ask", unit = "round trips/s", about = "two actors, an integer asked and answered",
   sizes = {trips = 500000}, variants = {{"ask"}}},
  {name = "ring", unit = "hops/s", about = "actors in a ring, one message goes round",
   sizes = {actors = 503, hops = 1000000}, least = {actors = 2}, variants = {{"actors=503"}}},
  {name = "fanin", unit = "msg/s", about = "senders that send integers to one receiver as fast as it takes them",
   sizes = {senders = 8, each = 250000}, fixed = {senders = true}, variants = {{"senders=8"}}},
  {name = "payload", unit = "round trips/s", about = "a small table of all sorts, built fresh, there and back",
   sizes = {trips = 200000}, variants = {{"fresh"}}},
  {name = "spawn", unit = "actors/s", about = "spawn Guys until all have answered, then stop them all",
   sizes = {guys = 100000, lines = 0}, fixed = {lines = true},
   variants = {{"guys=100000"}, {"guys=100000,lines=300", {lines = 300}}}},
  {name = "tree", unit = "leaves/s", about = "each actor spawns ten, six deep; a million leaves return their number",
   sizes = {leaves = 1000000}, variants = {{"leaves=1000000"}}},
  {name = "fair", unit = "round trips/s", about = "an unrelated pair beside an endless loop a worker",
   sizes = {trips = 200000, paced = 300}, variants = {{"pair"}}},
  {name = "timers", unit = "timers/s", about = "timers over ten seconds of scaled time: how late they are, none lost",
   sizes = {timers = 1000000, actors = 100, ms = 10000, speed = 4}, fixed = {ms = true, speed = true},
   variants = {{"timers=1000000"}}},
  {name = "idle", unit = "% CPU", lower = true, about = "a node whose actors have nothing to do",
   sizes = {actors = 100000, ms = 3000}, least = {ms = 500}, variants = {{"actors=100000"}}},
  {name = "remote", unit = "msg/s", remote = true,
   about = "two nodes on this machine: round trips, one on its way; messages one way, all received; ticks there",
   sizes = {messages = 50000, bytes = 0, how = "send", guys = 1000, regions = 1},
   fixed = {bytes = true, guys = true, regions = true},
   variants = {{"trips,send"}, {"trips,ask", {how = "ask"}}, {"oneway", {how = "oneway", messages = 500000}},
               {"oneway,1KB", {how = "oneway", messages = 200000, bytes = 1024}},
               {"oneway,64KB", {how = "oneway", messages = 10000, bytes = 65536}},
               {"tick", {how = "tick", messages = 2000000}},
               {"tick,regions=4", {how = "tick", messages = 2000000, regions = 4}}}},
  {name = "codec", unit = "ns", lower = true, about = "values to bytes and back, the sum of both, in C alone",
   sizes = {times = 200000},
   variants = {{"integer", {value = "integer"}}, {"small", {value = "small"}}, {"payload", {value = "payload"}},
               {"nested", {value = "nested", times = 20000}}, {"large", {value = "large", times = 400}}}},
}
