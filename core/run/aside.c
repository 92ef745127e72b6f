#include "run/aside.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <uv.h>
#include "run/loop.h"

typedef struct Piece {
    struct Piece *next;
    void (*work)(void *), (*done)(void *);
    void *argument;
} Piece;

static struct {
    pthread_mutex_t lock; /* guards the rest */
    pthread_cond_t changed;
    Piece *first, **end;
    bool started, closing;
    pthread_t thread;
    void (*thread_end)(void);
} aside = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER, .end = &aside.first};

static void hand_back(void *piece) {
    Piece *p = piece;
    p->done(p->argument);
    free(p);
}

static void *work_on(void *unused) {
    (void)unused;
    pthread_mutex_lock(&aside.lock);
    for (;;) {
        while (aside.first == NULL && !aside.closing) pthread_cond_wait(&aside.changed, &aside.lock);
        Piece *p = aside.first;
        if (p == NULL) break;
        if ((aside.first = p->next) == NULL) aside.end = &aside.first;
        bool skip = aside.closing;
        pthread_mutex_unlock(&aside.lock);
        if (!skip) p->work(p->argument);
        if (loop_submit(hand_back, p) < 0) hand_back(p); /* no memory, or no loop any more: nobody else is at it then */
        pthread_mutex_lock(&aside.lock);
    }
    pthread_mutex_unlock(&aside.lock);
    if (aside.thread_end != NULL) aside.thread_end();
    return NULL;
}

int aside_do(void (*work)(void *), void (*done)(void *), void *argument) {
    Piece *p = malloc(sizeof *p);
    int err = p == NULL ? UV_ENOMEM : 0;
    if (err < 0) return err;
    *p = (Piece){NULL, work, done, argument};
    pthread_mutex_lock(&aside.lock);
    if (aside.closing) err = UV_ECANCELED;
    else if (!aside.started && pthread_create(&aside.thread, NULL, work_on, NULL) != 0) err = UV_EAGAIN;
    if (err == 0) {
        aside.started = true;
        *aside.end = p;
        aside.end = &p->next;
        pthread_cond_signal(&aside.changed);
    }
    pthread_mutex_unlock(&aside.lock);
    if (err < 0) free(p);
    return err;
}

void aside_close(void (*thread_end)(void)) {
    pthread_mutex_lock(&aside.lock);
    aside.closing = true;
    aside.thread_end = thread_end;
    bool started = aside.started;
    aside.started = false;
    pthread_cond_signal(&aside.changed);
    pthread_mutex_unlock(&aside.lock);
    if (started) pthread_join(aside.thread, NULL);
    aside.closing = false; /* nobody asks any more: for the next node of this process */
}
