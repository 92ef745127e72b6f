#include "run/interrupt.h"

#include <errno.h>
#include <signal.h>
#include <stddef.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <uv.h>

/* SIGURG: ignored by default, unused by libuv and libc, and nobody sends it by accident. */
#define INTERRUPT_SIGNAL SIGURG

static void (*call)(void); /* written before the signal is installed */

#if defined(__SANITIZE_THREAD__)
#define WITH_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define WITH_TSAN 1
#endif
#endif

#if defined(WITH_TSAN) && defined(__x86_64__)
/* ThreadSanitizer holds signals back until the thread enters its runtime, which an endless loop in Lua never does. So
 * the handler goes to the kernel behind its back; it calls nothing that is instrumented. */
struct KernelAction {
    void (*handler)(int);
    unsigned long flags;
    void (*restorer)(void);
    unsigned long mask;
};
void interrupt_return(void);
__asm__(".text\n.globl interrupt_return\n.type interrupt_return,@function\n"
        "interrupt_return:\n\tmov $15, %eax\n\tsyscall\n");

__attribute__((no_sanitize("thread"))) static void handle(int signum) {
    (void)signum;
    int saved = errno;
    call();
    errno = saved;
}

int interrupt_open(void (*function)(void)) {
    struct KernelAction action = {handle, SA_RESTART | 0x04000000 /* SA_RESTORER */, interrupt_return, 0};
    call = function;
    return syscall(SYS_rt_sigaction, INTERRUPT_SIGNAL, &action, NULL, 8) == 0 ? 0 : uv_translate_sys_error(errno);
}
#else
static void handle(int signum) {
    (void)signum;
    int saved = errno;
    call();
    errno = saved;
}

int interrupt_open(void (*function)(void)) {
    struct sigaction action = {.sa_handler = handle, .sa_flags = SA_RESTART};
    call = function;
    sigemptyset(&action.sa_mask);
    return sigaction(INTERRUPT_SIGNAL, &action, NULL) == 0 ? 0 : uv_translate_sys_error(errno);
}
#endif

void interrupt_send(pthread_t thread) { pthread_kill(thread, INTERRUPT_SIGNAL); }
