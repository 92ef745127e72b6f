/* clock.h - time. All in nanoseconds; monotonic unless it says wall. From any thread. */
#ifndef GROUND_CLOCK_H
#define GROUND_CLOCK_H
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define CLOCK_NS_PER_MS 1000000ull
#define CLOCK_NS_PER_S 1000000000ull

uint64_t clock_now(void);  /* monotonic: the time that actors live in, clock_real but for tests */
uint64_t clock_real(void); /* CLOCK_MONOTONIC: for what must not wait for a test, such as the watchdog */
uint64_t clock_boot(void); /* CLOCK_BOOTTIME: goes on while the machine sleeps, for leases */
uint64_t clock_wall(void); /* since 1970, CLOCK_REALTIME */
uint64_t clock_cpu(void);  /* CPU time this process has used */

/* The time as it was last read for all: a load, where clock_now is a call. Never ahead of clock_now, never back; some
 * milliseconds behind while any worker is busy (the watchdog ticks). Who wakes from sleep, or acts since a time has
 * come, ticks first: what follows from that, in other threads too, sees that time or a later one. */
extern _Atomic uint64_t clock_ticked; /* clock.c's */
static inline uint64_t clock_coarse(void) { return atomic_load_explicit(&clock_ticked, memory_order_relaxed); }
uint64_t clock_tick(void); /* clock_now, and from now on clock_coarse, too */

/* Virtual time, for `throng test`. Frozen, clock_now stands still, and moves by clock_advance alone; thawed, it runs on
 * from where it is. Never back. Threads: freeze and thaw from one at a time; advance while frozen, by whoever found the
 * node at rest; the rest from any. */
extern _Atomic uint64_t clock_still; /* clock.c's: the time it stands at; 0 = it runs */
static inline bool clock_is_frozen(void) { return atomic_load_explicit(&clock_still, memory_order_relaxed) != 0; }
void clock_freeze(void);
void clock_advance(uint64_t now); /* from then on it is that late, if it is not later already */
void clock_thaw(void);
#endif
