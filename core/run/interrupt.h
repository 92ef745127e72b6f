/* interrupt.h - a signal from one thread to another that runs a function there, in the middle of whatever it does.
 * The function must be async-signal-safe. One function a process. */
#ifndef RUN_INTERRUPT_H
#define RUN_INTERRUPT_H
#include <pthread.h>

int  interrupt_open(void (*function)(void)); /* installs it; 0 or a negative libuv error */
void interrupt_send(pthread_t thread);       /* from any thread, to one that is alive */
#endif
