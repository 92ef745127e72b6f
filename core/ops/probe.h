/* probe.h - measurements of parts that are C, for `throng bench`: the module throng.probe of a command's Lua state.
 *
 * probe.codec(times, ...)      encodes and decodes the values that often: {encode_ns, decode_ns (each a value set),
 *                              bytes (of payload), verified}; raises when a value can't be sent
 * probe.cache_line(times)      what it costs to hand one cache line to another core and back, ns a hand-over (half a
 *                              round trip), median; nil on a machine with a single core
 * probe.clock()                monotonic nanoseconds
 * Threads: main's; cache_line starts two and joins them. */
#ifndef OPS_PROBE_H
#define OPS_PROBE_H
#include <lua.h>

int probe_open(lua_State *L); /* a luaopen function */
#endif
