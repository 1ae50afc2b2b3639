/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
#include "gateway/journal/writer.h"
#include "base/thread.h"
#include "gateway/journal/journal_priv.h"

#include <stdlib.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#define IDLE_NS 1000000000L /* a look at what space has come back */
/* What the loop writes itself: for a message or two on a disk that has just been quick, waking the thread and being woken by it takes as long
 * as the disk. Beyond, sessions are heard while the disk works. */
#define HERE_BYTES 8192
#define HERE_WRITE_US 1000

struct journal_writer {
    struct journal *j;
    void (*on_durable)(void *arg, uint64_t group);
    void (*on_failed)(void *arg, ehis_err err);
    void *arg;

    /* the loop's thread */
    struct loop_io *io;
    struct loop_timer *timer;
    int64_t lazy_at_us;     /* 0: the timer is not set */
    bool is_wanted;         /* somebody waits for what is open */
    uint64_t told, durable; /* groups: on_durable still has to hear of those behind told */
    bool is_telling;        /* on_durable runs: what it kicks is the thread's */
    bool has_ended;         /* on_failed was called */
    int done_fd;            /* eventfd: the thread has an answer */
    pthread_t thread;

    /* both, under lock */
    pthread_mutex_t lock;
    pthread_cond_t wake;     /* for the thread */
    pthread_cond_t answered; /* for a stop that waits */
    bool has_group, is_answered, is_stopping;
    bool is_busy; /* the thread has the journal */
    ehis_err err; /* of the write, or of a reclaim; stays */
};

static void answer(struct journal_writer *w, ehis_err err, bool is_group)
{
    pthread_mutex_lock(&w->lock);
    if (w->err == EHIS_OK)
        w->err = err;
    if (is_group) {
        w->has_group = false;
        w->is_answered = true;
        pthread_cond_signal(&w->answered);
    }
    pthread_mutex_unlock(&w->lock);
    const uint64_t one = 1;
    EHIS_ASSERT(write(w->done_fd, &one, sizeof one) == (ssize_t)sizeof one);
}

/* Waits for work. A group goes before a piece of reclaiming, but where room is short they take turns: or groups without a pause would
 * run into JOURNAL_FULL. was_group: what was done before. */
static bool next_work(struct journal_writer *w, bool was_group, bool *is_group)
{
    pthread_mutex_lock(&w->lock);
    w->is_busy = false;
    bool has_reclaim = journal_has_reclaim(w->j);
    while (!w->has_group && !w->is_stopping && !has_reclaim) {
        struct timespec until;
        clock_gettime(CLOCK_MONOTONIC, &until);
        until.tv_sec += IDLE_NS / 1000000000L;
        pthread_cond_timedwait(&w->wake, &w->lock, &until);
        has_reclaim = journal_has_reclaim(w->j);
    }
    *is_group = w->has_group && !(was_group && has_reclaim && reclaim_is_urgent(w->j));
    bool is_over = !w->has_group && w->is_stopping;
    w->is_busy = !is_over;
    pthread_mutex_unlock(&w->lock);
    return !is_over;
}

static void *run(void *arg)
{
    struct journal_writer *w = arg;
    for (bool is_group = false; next_work(w, is_group, &is_group);) {
        ehis_err err = is_group ? journal_write(w->j) : journal_reclaim(w->j);
        if (is_group || err != EHIS_OK)
            answer(w, err, is_group);
    }
    return NULL;
}

static void seal(struct journal_writer *w)
{
    journal_seal(w->j);
    w->is_wanted = false;
    loop_timer_clear(w->timer);
    w->lazy_at_us = 0;
}

static void hand_over(struct journal_writer *w)
{
    seal(w);
    pthread_mutex_lock(&w->lock);
    w->has_group = true;
    pthread_cond_signal(&w->wake);
    pthread_mutex_unlock(&w->lock);
}

/* Takes the thread's answer; *is_durable: a group became durable. */
static ehis_err take_answer(struct journal_writer *w, bool *is_durable)
{
    pthread_mutex_lock(&w->lock);
    bool is_answered = w->is_answered;
    ehis_err err = w->err;
    w->is_answered = false;
    pthread_mutex_unlock(&w->lock);
    *is_durable = err == EHIS_OK && is_answered;
    if (*is_durable)
        journal_written(w->j, &w->durable);
    return err;
}

static void tell(struct journal_writer *w)
{
    w->is_telling = true;
    while (w->told < w->durable)
        w->on_durable(w->arg, ++w->told);
    w->is_telling = false;
}

static void end(struct journal_writer *w, ehis_err err)
{
    w->has_ended = true;
    loop_timer_clear(w->timer);
    w->on_failed(w->arg, err);
}

static void on_answer(void *arg, int what)
{
    struct journal_writer *w = arg;
    uint64_t count;
    bool is_durable;
    (void)what;
    if (read(w->done_fd, &count, sizeof count) < 0 || w->has_ended)
        return;
    ehis_err err = take_answer(w, &is_durable);
    if (err != EHIS_OK) {
        end(w, err);
        return;
    }
    if (is_durable && w->is_wanted && journal_open_bytes(w->j))
        hand_over(w);
    tell(w);
}

/* Under the lock, so that the thread does not begin with something meanwhile. False: it is the thread's. */
static bool write_here(struct journal_writer *w)
{
    bool is_small = !w->is_telling && journal_open_bytes(w->j) <= HERE_BYTES && journal_last_write_us(w->j) <= HERE_WRITE_US;
    if (!is_small || pthread_mutex_trylock(&w->lock) != 0)
        return false;
    bool is_mine = !w->is_busy && w->err == EHIS_OK && !journal_has_reclaim(w->j);
    ehis_err err = EHIS_OK;
    if (is_mine) {
        seal(w);
        w->err = err = journal_write(w->j);
    }
    pthread_mutex_unlock(&w->lock);
    if (is_mine && err != EHIS_OK) {
        end(w, err);
    } else if (is_mine) {
        journal_written(w->j, &w->durable);
        tell(w);
    }
    return is_mine;
}

void journal_writer_kick(struct journal_writer *w)
{
    if (w->has_ended)
        return;
    w->is_wanted = journal_open_bytes(w->j) > 0;
    if (w->is_wanted && !journal_is_writing(w->j)) {
        if (!write_here(w))
            hand_over(w);
    } else if (!w->is_wanted && journal_has_reclaim(w->j)) {
        pthread_mutex_lock(&w->lock);
        pthread_cond_signal(&w->wake);
        pthread_mutex_unlock(&w->lock);
    }
}

static void on_lazy(void *arg)
{
    struct journal_writer *w = arg;
    w->lazy_at_us = 0;
    journal_writer_kick(w);
}

void journal_writer_kick_lazily(struct journal_writer *w, int64_t delay_us)
{
    if (w->has_ended || w->is_wanted)
        return;
    int64_t at_us = clock_mono_us(&clock_system) + (delay_us > 0 ? delay_us : 0);
    if (w->lazy_at_us && w->lazy_at_us <= at_us)
        return;
    w->lazy_at_us = at_us;
    loop_timer_set(w->timer, delay_us);
}

static void free_writer(struct journal_writer *w)
{
    loop_io_free(w->io);
    loop_timer_free(w->timer);
    if (w->done_fd >= 0)
        close(w->done_fd);
    pthread_cond_destroy(&w->wake);
    pthread_cond_destroy(&w->answered);
    pthread_mutex_destroy(&w->lock);
    free(w);
}

ehis_err journal_writer_start(struct journal *j, struct loop *loop, void (*on_durable)(void *arg, uint64_t group),
                              void (*on_failed)(void *arg, ehis_err err), void *arg, struct journal_writer **out)
{
    struct journal_writer *w = calloc(1, sizeof *w);
    pthread_condattr_t monotonic;
    if (!w)
        return EHIS_E_NO_MEMORY;
    *w = (struct journal_writer){.j = j, .told = journal_open_group(j) - 1, .on_durable = on_durable, .on_failed = on_failed, .arg = arg};
    pthread_mutex_init(&w->lock, NULL);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&w->wake, &monotonic);
    pthread_cond_init(&w->answered, NULL);
    pthread_condattr_destroy(&monotonic);
    w->done_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    ehis_err err = w->done_fd < 0 ? EHIS_E_IO : loop_io_new(loop, w->done_fd, on_answer, w, &w->io);
    if (err == EHIS_OK)
        err = loop_timer_new(loop, on_lazy, w, &w->timer);
    if (err == EHIS_OK && !thread_start(&w->thread, run, w))
        err = EHIS_E_NO_MEMORY;
    if (err != EHIS_OK) {
        free_writer(w);
        return err;
    }
    loop_io_want(w->io, LOOP_READ);
    *out = w;
    return EHIS_OK;
}

/* Waits for the group that is with the thread. */
static void wait_for_group(struct journal_writer *w)
{
    pthread_mutex_lock(&w->lock);
    while (w->has_group)
        pthread_cond_wait(&w->answered, &w->lock);
    pthread_mutex_unlock(&w->lock);
}

ehis_err journal_writer_make_room(struct journal_writer *w)
{
    bool is_durable;
    wait_for_group(w);
    if (w->has_ended || take_answer(w, &is_durable) != EHIS_OK) /* on_failed comes from the loop */
        return EHIS_E_JOURNAL_FAILED;
    if (journal_open_bytes(w->j))
        hand_over(w);
    return EHIS_OK;
}

static ehis_err finish_group(struct journal_writer *w)
{
    bool is_durable;
    wait_for_group(w);
    ehis_err err = take_answer(w, &is_durable);
    if (err == EHIS_OK)
        tell(w);
    return err;
}

ehis_err journal_writer_stop(struct journal_writer *w)
{
    loop_io_want(w->io, 0);
    ehis_err err = finish_group(w);
    if (err == EHIS_OK && journal_open_bytes(w->j)) {
        if (!journal_is_writing(w->j)) /* on_durable may have kicked */
            hand_over(w);
        err = finish_group(w);
    }
    if (err == EHIS_OK && journal_is_writing(w->j))
        err = finish_group(w);
    pthread_mutex_lock(&w->lock);
    w->is_stopping = true;
    pthread_cond_signal(&w->wake);
    pthread_mutex_unlock(&w->lock);
    pthread_join(w->thread, NULL);
    free_writer(w);
    return err;
}
