/* aside.h - work that takes too long for the loop's thread and is no actor's: done aside, on one thread of its own, one
 * piece after the other. The thread is started by the first piece.
 * Threads: aside_do on the loop's alone; aside_close from the thread that takes the node down. */
#ifndef RUN_ASIDE_H
#define RUN_ASIDE_H

/* Runs work(argument) aside, and then done(argument) on the loop's thread. 0, UV_ENOMEM, UV_EAGAIN (no thread can be
 * had); UV_ECANCELED while aside_close waits. */
int  aside_do(void (*work)(void *), void (*done)(void *), void *argument);
/* Ends the thread when it has done what it is at. What waits is not worked on: only its `done` is called. */
void aside_close(void (*thread_end)(void));
#endif
