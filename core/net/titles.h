/* titles.h - names of actors that count in the whole cluster: those that actors of this node hold or ask for, and those
 * of others as far as we know. Which of them are true is a Directory's to say (directory.h); without one that knows
 * names there are none.
 *
 * A title has one holder in the cluster, and a fence: a number that only grows from holder to holder, so that whatever
 * stands outside can refuse who comes with an older one. Who holds one here does so under this node's lease (lease.h).
 * Every question looks at the clock: when the lease may be over, nobody here holds anything, whatever the tables say;
 * and of others we know nothing either, for we may have missed what became of them. Holders are told then, by a message
 * "name" (on_name(self, name, "lost")), or stopped, if they can't hear it.
 *
 * A holder that dies has given its titles up; it is not answered from the moment its pid is dead.
 * Threads: what is for actors from any; what is for the directory on the loop's thread alone. */
#ifndef NET_TITLES_H
#define NET_TITLES_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* ---- for actors ---- */

/* All: UV_ENOTSUP: there is no directory of titles. Deadlines are clock_now's. */

/* `pid` of this node wants the name. The answer to its request `ref`: true and the fence; or false, and "taken",
 * "unreachable" or "timeout". `hears`: it has on_name. 0 or UV_ENOMEM. */
int titles_claim(const char *name, size_t len, uint64_t pid, uint64_t ref, uint64_t deadline, bool hears);
/* It waits no longer for that answer: if the name comes yet, it is given up again. */
void titles_cancel(const char *name, size_t len, uint64_t pid, uint64_t ref);
/* 0: not its any more, in this moment; UV_ENOENT: it does not hold it. */
int titles_release(const char *name, size_t len, uint64_t pid);
/* 0: who has it, as far as we know. UV_ENOENT: nobody, as far as we know; titles_read asks. UV_EHOSTUNREACH: we can't
 * know. */
int titles_find(const char *name, size_t len, uint64_t *pid, int64_t *fence);
/* Asks the directory itself: the answer to `ref` of `asker` is the pid and its fence, or nil and nil, "timeout" or
 * "unreachable". */
int titles_read(const char *name, size_t len, uint64_t asker, uint64_t ref, uint64_t deadline);
/* The fence, if that actor holds the name at this moment, else 0. */
int64_t titles_fence(const char *name, size_t len, uint64_t pid);
/* All that are held, as far as we know; none while we can't know. `each` is called under the lock: it only takes down
 * what it hears. UV_ENOTSUP, else 0. */
int titles_list(void (*each)(void *context, const char *name, size_t len, uint64_t pid, int64_t fence), void *context);
void titles_ended(uint64_t pid); /* it is dead; cheap if it held nothing */

/* ---- for the directory ---- */

typedef enum {
    TITLE_CLAIMED, /* the directory is asked for it */
    TITLE_HELD,
    TITLE_LEAVING  /* it is given up here; the directory may not know yet */
} TitleStage;

typedef struct Title { /* one of ours */
    struct Title *next;         /* of who waits, or of all that are lost */
    uint64_t pid, ref, deadline;
    uint64_t claim;             /* random: of this claim alone */
    int64_t fence;
    TitleStage stage;
    bool hears, cancelled;
    size_t len;
    char name[];
} Title;

Title *titles_at(const char *name, size_t len); /* ours of that name, or NULL. Gone when one of these is called: */
void titles_won(Title *t, int64_t fence);
void titles_refused(Title *t, const char *why); /* it has not got it */
void titles_unsure(Title *t, const char *why);  /* it may have got it: the directory is made to release it */
void titles_left(Title *t);                     /* released */
void titles_lost(Title *t, const char *why);    /* it was held, and is no more: tells its holder */
void titles_lapse(const char *why);             /* all of them: the lease is over */

void titles_learn(const char *name, size_t len, uint64_t pid, int64_t fence); /* another node's actor has it */
void titles_forget(const char *name, size_t len, int64_t revision); /* nobody has, since that revision */
/* All is told anew in between, as of `revision`: what is not is forgotten, or lost. */
void titles_begin_view(void);
void titles_seen(Title *t);
void titles_end_view(int64_t revision);

void titles_tick(void); /* claims of names that are not free yet here; holders that died */
void titles_answer(uint64_t asker, uint64_t ref, uint64_t pid, int64_t fence, const char *why); /* a titles_read */
void titles_close(void);
#endif
