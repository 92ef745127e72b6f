/* metrics.h - counters of the node. Each thread adds to a line of its own, readers sum them up.
 * Threads: metrics_add from any thread; relaxed atomics, since a sum read while others count is
 * a moment's view anyway. A thread that ends leaves its counts behind. */
#ifndef GROUND_METRICS_H
#define GROUND_METRICS_H
#include <stdint.h>

#define METRICS(X) \
    X(messages, "messages handled by actors") \
    X(sent, "messages that a mailbox took") \
    X(asks, "requests sent") \
    X(skipped, "requests never begun, since the asker had given up or died") \
    X(dropped, "messages that full mailboxes dropped by their policy, or newer ones replaced") \
    X(deadlocks, "asks that failed since they would have closed a circle") \
    X(spawned, "actors created") \
    X(copied, "actors whose VM was copied, not built") \
    X(exited, "actors that ended, for whatever reason") \
    X(crashed, "actors that ended by an error") \
    X(preempted, "slices ended by the watchdog") \
    X(stolen, "tasks a worker took from another") \
    X(slices, "turns of actors on workers") \
    X(dead_pid, "dead letters: no such actor any more") \
    X(dead_full, "dead letters: mailbox full") \
    X(dead_handler, "dead letters: no handler of that name") \
    X(dead_late, "dead letters: an answer, or a request, whose asker had given up") \
    X(dead_unreachable, "dead letters: no way to that node") \
    X(dead_notice, "notices of dead letters and crashes that a subscriber did not take") \
    X(net_sent, "messages sent to other nodes, notices and answers too") \
    X(net_received, "messages that came from other nodes") \
    X(net_bytes_out, "bytes written to other nodes") \
    X(net_bytes_in, "bytes read from other nodes") \
    X(net_unconfirmed, "messages on their way when a connection broke: they may have arrived or not")

typedef enum {
#define X(name, text) METRIC_##name,
    METRICS(X)
#undef X
    METRICS_COUNT
} Metric;

void        metrics_add(Metric which, uint64_t by);
uint64_t    metrics_sum(Metric which);
const char *metrics_name(Metric which); /* "messages" */
const char *metrics_text(Metric which); /* one line for people */

uint64_t metrics_rss(void);      /* resident bytes now */
uint64_t metrics_rss_peak(void); /* the most there ever were */
#endif
