/* targets.h - addresses where a node should be that we have a link to: tried again and again, by name or number.
 *
 * Those given with --join are tried for ever, those that other members told of for `net.forget` after they were last
 * seen (a day: a cut may last, and then both sides know each other by what they were told alone). Between two tries of
 * one address lie 100 ms, then twice as much, up to 2 s; of a learned one, after some ten minutes, 30 s. When there are
 * too many, the learned one that was away the longest is forgotten. What goes wrong is logged once, until something
 * else does. Threads: the loop's alone, but for targets_open and targets_give: before the loop hears of
 * us. */
#ifndef NET_TARGETS_H
#define NET_TARGETS_H
#include <stdbool.h>
#include <stdint.h>
#include "net/link.h"

typedef struct Target Target; /* the context of a Conn that was dialed */

void targets_open(bool far);          /* addresses beyond loopback may be dialed */
int  targets_give(const char *text);  /* HOST:PORT, for ever; UV_ENOMEM, or too many */
void targets_learn(const char *text, Link *l, uint64_t wait_ms); /* where that node is; tried when some time is over */
void targets_try(uint64_t now);       /* dials what is due */
void targets_close(void);

void target_met(Target *t, Link *l);  /* that node is there */
void target_drop(Target *t);          /* not to be tried again */
void target_over(Target *t, bool was_up, const char *why); /* its connection has ended */
#endif
