/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* Between threads: orders to the I/O thread, jobs to the application's handlers. */
#include "adapters/sdk/ehis_priv.h"
#include <errno.h>
#include <sys/eventfd.h>
#include <unistd.h>

static void on_posted(void *arg) { work_run_orders(arg); }

bool work_post(struct ehis *e, struct order *o)
{
    pthread_mutex_lock(&e->lock);
    bool is_open = !e->is_stopped;
    if (is_open) {
        o->next = NULL;
        *e->orders_end = o;
        e->orders_end = &o->next;
        if (!e->is_posted)
            loop_post(e->loop, on_posted, e);
        e->is_posted = true;
    }
    pthread_mutex_unlock(&e->lock);
    return is_open;
}

void work_run_orders(struct ehis *e)
{
    pthread_mutex_lock(&e->lock);
    struct order *o = e->orders;
    e->orders = NULL;
    e->orders_end = &e->orders;
    e->is_posted = false;
    pthread_mutex_unlock(&e->lock);
    while (o) {
        struct order *next = o->next;
        o->run(e, o);
        o = next;
    }
    if (!e->is_stopped)
        turn_soon(e);
}

void work_job(struct ehis *e, struct job *j)
{
    pthread_mutex_lock(&e->lock);
    bool is_open = !e->is_worker_done;
    if (is_open) {
        j->next = NULL;
        *e->jobs_end = j;
        e->jobs_end = &j->next;
        e->job_count++;
        if (e->is_dispatched) {
            uint64_t one = 1;
            ssize_t ignored = write(e->event_fd, &one, sizeof one); /* can only fail when it is readable already */
            (void)ignored;
        } else {
            pthread_cond_signal(&e->work);
        }
    }
    pthread_mutex_unlock(&e->lock);
    if (!is_open)
        j->drop(e, j);
}

/* With the lock held, which is given back while the job runs. */
static bool run_one(struct ehis *e)
{
    struct job *j = e->is_closing ? NULL : e->jobs;
    if (!j)
        return false;
    e->jobs = j->next;
    if (!e->jobs)
        e->jobs_end = &e->jobs;
    e->job_count--;
    e->running++;
    pthread_mutex_unlock(&e->lock);
    j->run(e, j);
    pthread_mutex_lock(&e->lock);
    if (--e->running == 0 && e->is_closing)
        pthread_cond_broadcast(&e->changed);
    return true;
}

static void *worker_main(void *arg)
{
    struct ehis *e = arg;
    pthread_mutex_lock(&e->lock);
    while (!e->is_closing)
        if (!run_one(e))
            pthread_cond_wait(&e->work, &e->lock);
    ehis_release(e);
    return NULL;
}

ehis_err work_start(struct ehis *e)
{
    e->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (e->event_fd < 0)
        return EHIS_E_IO;
    if (e->is_dispatched)
        return EHIS_OK;
    e->refs++;
    if (pthread_create(&e->worker, NULL, worker_main, e) != 0) {
        e->refs--;
        return EHIS_E_NO_MEMORY;
    }
    pthread_detach(e->worker);
    return EHIS_OK;
}

int work_dispatch(struct ehis *e, int max)
{
    uint64_t count;
    int ran = 0;
    if (!e->is_dispatched) /* the worker runs them: one at a time */
        return 0;
    pthread_mutex_lock(&e->lock);
    size_t due = e->job_count;
    ssize_t ignored = read(e->event_fd, &count, sizeof count);
    (void)ignored;
    while ((max <= 0 ? (size_t)ran < due : ran < max) && run_one(e))
        ran++;
    if (e->job_count > 0) { /* level-triggered */
        uint64_t one = 1;
        ignored = write(e->event_fd, &one, sizeof one);
        (void)ignored;
    }
    pthread_mutex_unlock(&e->lock);
    return ran;
}

bool work_finish(struct ehis *e, int64_t deadline_us)
{
    struct timespec until = {.tv_sec = deadline_us / 1000000, .tv_nsec = deadline_us % 1000000 * 1000};
    pthread_mutex_lock(&e->lock);
    e->is_closing = true;
    pthread_cond_broadcast(&e->work);
    pthread_cond_broadcast(&e->changed);
    while (e->running > 0 && pthread_cond_timedwait(&e->changed, &e->lock, &until) != ETIMEDOUT)
        ;
    bool is_idle = e->running == 0;
    e->is_worker_done = true;
    struct job *j = e->jobs;
    e->jobs = NULL;
    e->jobs_end = &e->jobs;
    e->job_count = 0;
    pthread_mutex_unlock(&e->lock);
    while (j) {
        struct job *next = j->next;
        j->drop(e, j);
        j = next;
    }
    return is_idle;
}
