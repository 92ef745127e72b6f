/* sweep.h - what the loop does for links again and again, while there is reason to: it writes what nobody else wrote,
 * goes on where a full mailbox has stopped it, and looks out for more instead of sleeping.
 * Threads: sweep_stir from any; the rest on the loop's alone. */
#ifndef NET_SWEEP_H
#define NET_SWEEP_H
#include <stdbool.h>
#include <stddef.h>
#include "net/link.h"

void sweep_open(bool tls);    /* tls: answers take longer, so they are looked out for twice as long */
void sweep_close(void);
void sweep_stir(void);       /* LinkCalls.stir: bytes were put down; perhaps nobody flushes */
void sweep_paused(Link *l);  /* LinkCalls.paused: link_resume in a millisecond */
void sweep_busy(size_t len); /* ConnCalls.busy: so many bytes came; more may come soon */
void sweep_links(void);      /* all are flushed, now */
#endif
