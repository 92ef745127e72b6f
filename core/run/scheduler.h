/* scheduler.h - worker threads that run Tasks. It knows no actors.
 *
 * 1. Every worker has queues of its own: `ready` (first in, first out), `late` (tasks that used up a slice; behind the
 *    ready ones, but given a turn every few milliseconds), `newborn` (the newest first, so a tree of spawns stays
 *    shallow).
 * 2. What a task makes ready goes to the worker it runs on: talkers stay together. Other threads hand in through one
 *    shared list.
 * 3. Nobody is woken on the way of a message. A watchdog looks every millisecond: a worker whose queues have not run
 *    dry since the last look has work worth sharing; then an idle worker is woken, and thieves may take half.
 * 4. The watchdog ends slices: one that lasts over a millisecond while others wait (or ten while nobody does) is
 *    interrupted by a signal to its thread. A worker that cannot be interrupted (stuck in C) is replaced by a spare
 *    until it comes back.
 * 5. Workers with nothing to do spin shortly, then sleep; when all sleep, the watchdog does too.
 *
 * 6. With a seed the schedule is shuffled, and everybody steals whatever there is, for tests.
 * 7. With an `at_rest` the node is one for tests. A worker that finds nothing to do while all the others sleep, nobody
 *    is stuck and nothing is queued, calls it, and looks for work again if that is what it has made. Then, and with one
 *    worker, what runs next follows from the seed alone: so the watchdog does not end slices but those that look
 *    endless, and brings no late ones forward.
 * 8. Who waits for an answer from outside pays for two wakes each way: the loop's thread, and a worker. So the loop's
 *    thread can help: what it makes ready while it holds back wakes nobody; then, if that is one task and all workers
 *    sleep, it runs it itself, as one worker more whom others may rob and the watchdog watches. A turn that lasts is
 *    interrupted, and the loop gets another thread meanwhile (run/loop.h). Where turns take long on average it does
 *    not help.
 *
 * Threads: scheduler_ready from any; scheduler_born from a worker; the rest as it says. */
#ifndef RUN_SCHEDULER_H
#define RUN_SCHEDULER_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct Task Task;
struct Task {
    Task *next;  /* the scheduler's, while the task is queued */
    uint64_t id; /* its owner's: what those who look on are told of a running one; not 0 */
};

typedef enum {
    TASK_ASLEEP, /* it has put itself to sleep: the scheduler does not touch it again */
    TASK_AGAIN,  /* queue it again, behind the others */
    TASK_LATE    /* it used up a slice: behind those who did not */
} TaskTurn;

typedef struct SchedulerCalls {
    TaskTurn (*run)(Task *task); /* one slice, on a worker */
    void (*interrupt)(void);     /* in a signal handler on the worker's thread: end the slice soon, or be seen */
    void (*thread_end)(void);    /* last thing on each worker's thread */
    bool (*at_rest)(void);       /* for tests, see 7; true: it has made work. On a worker; nobody else runs. Or NULL */
    /* Or NULL; by the watchdog: it was found running, for so long since the last look. */
    void (*ran)(uint64_t id, uint64_t ns);
} SchedulerCalls;

int  scheduler_open(int workers, int spares, uint64_t seed, SchedulerCalls calls); /* 0 or a negative libuv error */
/* Workers end after their current slice; tasks that are queued are forgotten. UV_ETIMEDOUT: one is stuck in C, its
 * thread still runs, and the process had better end at once. */
int  scheduler_close(void);
/* After a scheduler_close that returned 0, when no thread calls scheduler_ready any more (the loop's is gone, too). */
void scheduler_free(void);

void scheduler_ready(Task *task);
void scheduler_born(Task *task);

/* For the loop's thread, see 8. `hold`: from here on it wakes nobody; not in tests, and not while a helper is at it. */
void scheduler_hold(bool hold);
/* ... and no longer. Is somebody owed a wake? Then scheduler_help follows, when nothing stands in the way of running
 * tasks for some time: it runs what was held back, or wakes a worker. */
bool scheduler_held(void);
void scheduler_help(void);

/* For a running task, on its worker: */
bool scheduler_expired(void); /* the slice is used up */
void scheduler_expire(void);  /* ... from now on */
int  scheduler_whim(int n);   /* with a seed: a random number below n; else -1 */
/* All workers draw from here on as they would have with that seed from the beginning. On a worker. */
void scheduler_reseed(uint64_t seed);
uint64_t scheduler_seed(void); /* 0: the schedule is not shuffled; any thread */
/* When the watchdog first saw this slice (clock_real time), if that was a millisecond ago or more; else 0. */
uint64_t scheduler_slice_since(void);
/* How many samples are wanted of who runs now (scheduler_sample), since this was asked last. Also in the interrupt. */
uint32_t scheduler_sampled(void);

/* From any thread: */
/* Is that task in a slice now? *since: about when it began, as the watchdog saw it. */
bool scheduler_runs(uint64_t id, uint64_t *since);
/* From now on the watchdog interrupts running tasks (only the one of that id, unless 0) `rate` times a second, at most
 * 1000: see scheduler_sampled. 0: no longer. One at a time. */
void scheduler_sample(uint32_t rate, uint64_t id);
uint64_t scheduler_samples(void); /* how many were wanted since it was last turned on */
bool scheduler_asleep(void); /* all workers are, just now; any thread */
int  scheduler_workers(void); /* how many there are (spares not counted); any thread */
#endif
