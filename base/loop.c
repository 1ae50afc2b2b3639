/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
#include "base/loop.h"
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>
#include <event2/event.h>
#include <event2/event_struct.h>

#define MAX_DELAY_US (INT64_C(366) * 86400 * 1000000)

struct task {
    void (*fn)(void *arg);
    void *arg;
};

struct tasks {
    struct task *items;
    size_t count, cap;
};

struct signal_hook {
    struct signal_hook *next;
    struct event ev;
    void (*fn)(void *arg, int signal);
    void *arg;
};

struct loop {
    struct event_base *base;
    struct event wake; /* readable: something was posted, or stop */
    int wake_fd;
    atomic_bool is_stopping;
    pthread_mutex_t lock;  /* over posted alone */
    struct tasks posted;   /* by any thread */
    struct tasks later, last; /* by the loop's thread */
    struct tasks running;  /* memory of the list that runs now, kept for the next swap */
    struct signal_hook *hooks;
};

struct loop_timer {
    struct event ev;
    void (*fn)(void *arg);
    void *arg;
};

struct loop_io {
    struct loop *loop;
    struct event ev;
    int fd, want;
    void (*fn)(void *arg, int what);
    void *arg;
};

static void tasks_put(struct tasks *t, void (*fn)(void *arg), void *arg)
{
    if (t->count == t->cap) {
        size_t cap = t->cap ? t->cap * 2 : 16;
        struct task *items = reallocarray(t->items, cap, sizeof *items);
        EHIS_ASSERT(items != NULL);
        t->items = items;
        t->cap = cap;
    }
    t->items[t->count++] = (struct task){fn, arg};
}

/* What is queued while these run is not run with them: a task that queues itself cannot hold the loop. */
static void tasks_run(struct loop *l, struct tasks *from, bool is_shared)
{
    struct tasks now;
    if (is_shared)
        pthread_mutex_lock(&l->lock);
    now = *from;
    *from = l->running;
    if (is_shared)
        pthread_mutex_unlock(&l->lock);
    l->running = (struct tasks){0};
    for (size_t i = 0; i < now.count; i++)
        now.items[i].fn(now.items[i].arg);
    now.count = 0;
    free(l->running.items);
    l->running = now;
}

static void wake_up(struct loop *l)
{
    uint64_t one = 1;
    while (write(l->wake_fd, &one, sizeof one) < 0 && errno == EINTR)
        ; /* EAGAIN: the counter is full, so it is readable already */
}

static void on_wake(evutil_socket_t fd, short what, void *arg)
{
    struct loop *l = arg;
    uint64_t count;
    (void)what;
    while (read(fd, &count, sizeof count) < 0 && errno == EINTR)
        ;
    tasks_run(l, &l->posted, true); /* after the read: a post from now on wakes again */
}

static struct event_base *new_base(void)
{
    struct event_config *config = event_config_new();
    struct event_base *base = NULL;
    /* No cached time: a deadline counts from the call that sets it, not from the beginning of the turn. */
    if (config && event_config_set_flag(config, EVENT_BASE_FLAG_IGNORE_ENV | EVENT_BASE_FLAG_PRECISE_TIMER |
                                                    EVENT_BASE_FLAG_NO_CACHE_TIME | EVENT_BASE_FLAG_NOLOCK) == 0)
        base = event_base_new_with_config(config);
    if (config)
        event_config_free(config);
    return base;
}

ehis_err loop_new(struct loop **out)
{
    struct loop *l = calloc(1, sizeof *l);
    if (!l)
        return EHIS_E_NO_MEMORY;
    pthread_mutex_init(&l->lock, NULL);
    l->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    l->base = l->wake_fd >= 0 ? new_base() : NULL;
    if (!l->base || event_assign(&l->wake, l->base, l->wake_fd, EV_READ | EV_PERSIST, on_wake, l) != 0 || event_add(&l->wake, NULL) != 0) {
        loop_free(l);
        return EHIS_E_IO;
    }
    *out = l;
    return EHIS_OK;
}

void loop_free(struct loop *l)
{
    if (!l)
        return;
    loop_run_later(l);
    for (struct signal_hook *h = l->hooks, *next; h; h = next) {
        next = h->next;
        event_del(&h->ev);
        free(h);
    }
    if (l->base) {
        if (event_initialized(&l->wake))
            event_del(&l->wake);
        event_base_free(l->base);
    }
    if (l->wake_fd >= 0)
        close(l->wake_fd);
    free(l->posted.items);
    free(l->later.items);
    free(l->last.items);
    free(l->running.items);
    pthread_mutex_destroy(&l->lock);
    free(l);
}

struct event_base *loop_base(struct loop *l) { return l->base; }

void loop_run_once(struct loop *l, bool wait)
{
    bool may_wait = wait && l->later.count == 0 && l->last.count == 0 && !atomic_load(&l->is_stopping);
    event_base_loop(l->base, EVLOOP_ONCE | (may_wait ? 0 : EVLOOP_NONBLOCK));
    tasks_run(l, &l->later, false);
    tasks_run(l, &l->last, false);
}

void loop_run(struct loop *l)
{
    while (!atomic_exchange(&l->is_stopping, false))
        loop_run_once(l, true);
}

void loop_stop(struct loop *l)
{
    atomic_store(&l->is_stopping, true);
    wake_up(l);
}

void loop_post(struct loop *l, void (*fn)(void *arg), void *arg)
{
    pthread_mutex_lock(&l->lock);
    bool was_empty = l->posted.count == 0; /* else the one before has woken it */
    tasks_put(&l->posted, fn, arg);
    if (was_empty)
        wake_up(l); /* under the lock: once it is free, the loop may run the task and end itself */
    pthread_mutex_unlock(&l->lock);
}

void loop_later(struct loop *l, void (*fn)(void *arg), void *arg) { tasks_put(&l->later, fn, arg); }

void loop_last(struct loop *l, void (*fn)(void *arg), void *arg) { tasks_put(&l->last, fn, arg); }

void loop_run_later(struct loop *l)
{
    while (l->later.count || l->last.count) {
        tasks_run(l, &l->later, false);
        tasks_run(l, &l->last, false);
    }
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
    struct loop_timer *t = arg;
    (void)fd;
    (void)what;
    t->fn(t->arg); /* may have freed t */
}

ehis_err loop_timer_new(struct loop *l, void (*fn)(void *arg), void *arg, struct loop_timer **out)
{
    struct loop_timer *t = calloc(1, sizeof *t);
    if (!t)
        return EHIS_E_NO_MEMORY;
    t->fn = fn;
    t->arg = arg;
    if (event_assign(&t->ev, l->base, -1, 0, on_timer, t) != 0) {
        free(t);
        return EHIS_E_INTERNAL;
    }
    *out = t;
    return EHIS_OK;
}

void loop_timer_set(struct loop_timer *t, int64_t delay_us)
{
    delay_us = delay_us < 0 ? 0 : delay_us > MAX_DELAY_US ? MAX_DELAY_US : delay_us;
    struct timeval tv = {.tv_sec = delay_us / 1000000, .tv_usec = delay_us % 1000000};
    EHIS_ASSERT(event_add(&t->ev, &tv) == 0); /* fails without memory alone: a deadline may not be lost */
}

void loop_timer_clear(struct loop_timer *t) { event_del(&t->ev); }

void loop_timer_free(struct loop_timer *t)
{
    if (!t)
        return;
    event_del(&t->ev);
    free(t);
}

static void on_signal(evutil_socket_t fd, short what, void *arg)
{
    struct signal_hook *h = arg;
    (void)what;
    h->fn(h->arg, (int)fd);
}

ehis_err loop_on_signal(struct loop *l, int signal, void (*fn)(void *arg, int signal), void *arg)
{
    struct signal_hook *h = calloc(1, sizeof *h);
    if (!h)
        return EHIS_E_NO_MEMORY;
    h->fn = fn;
    h->arg = arg;
    if (evsignal_assign(&h->ev, l->base, signal, on_signal, h) != 0 || event_add(&h->ev, NULL) != 0) {
        free(h);
        return EHIS_E_IO;
    }
    h->next = l->hooks;
    l->hooks = h;
    return EHIS_OK;
}

static void on_io(evutil_socket_t fd, short what, void *arg)
{
    struct loop_io *io = arg;
    (void)fd;
    io->fn(io->arg, (what & EV_READ ? LOOP_READ : 0) | (what & EV_WRITE ? LOOP_WRITE : 0)); /* may have freed io */
}

ehis_err loop_io_new(struct loop *l, int fd, void (*fn)(void *arg, int what), void *arg, struct loop_io **out)
{
    struct loop_io *io = calloc(1, sizeof *io);
    if (!io)
        return EHIS_E_NO_MEMORY;
    *io = (struct loop_io){.loop = l, .fd = fd, .fn = fn, .arg = arg};
    *out = io;
    return EHIS_OK;
}

void loop_io_want(struct loop_io *io, int what)
{
    if (what == io->want)
        return;
    if (io->want)
        event_del(&io->ev);
    io->want = what;
    if (!what)
        return;
    short events = (short)(EV_PERSIST | (what & LOOP_READ ? EV_READ : 0) | (what & LOOP_WRITE ? EV_WRITE : 0));
    EHIS_ASSERT(event_assign(&io->ev, io->loop->base, io->fd, events, on_io, io) == 0);
    EHIS_ASSERT(event_add(&io->ev, NULL) == 0); /* the kernel's or memory's bound of descriptors: a mute connection would be worse */
}

void loop_io_free(struct loop_io *io)
{
    if (!io)
        return;
    loop_io_want(io, 0);
    free(io);
}
