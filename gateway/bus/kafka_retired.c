/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
#include "gateway/bus/kafka_retired.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>
#include "base/clock.h"
#include "base/thread.h"

#define END_MS 5000

struct end {
    struct end *next;
    pthread_t thread;
    atomic_bool is_done;
    void (*destroy)(void *what);
    void *what;
};
struct kafka_retired {
    pthread_mutex_t lock; /* over the list */
    struct end *ends;
};

ehis_err kafka_retired_new(struct kafka_retired **out)
{
    *out = calloc(1, sizeof **out);
    if (!*out)
        return EHIS_E_NO_MEMORY;
    pthread_mutex_init(&(*out)->lock, NULL);
    return EHIS_OK;
}

static void *run(void *arg)
{
    struct end *e = arg;
    e->destroy(e->what);
    atomic_store(&e->is_done, true);
    return NULL;
}

/* Under the lock, or at the end. True: none is left. */
static bool join_done(struct kafka_retired *r)
{
    for (struct end **at = &r->ends; *at;) {
        struct end *e = *at;
        if (!atomic_load(&e->is_done)) {
            at = &e->next;
            continue;
        }
        pthread_join(e->thread, NULL);
        *at = e->next;
        free(e);
    }
    return !r->ends;
}

void kafka_retire(struct kafka_retired *r, void (*destroy)(void *what), void *what)
{
    struct end *e = what ? calloc(1, sizeof *e) : NULL;
    if (!what)
        return;
    if (e) {
        e->destroy = destroy;
        e->what = what;
        if (thread_start(&e->thread, run, e)) {
            pthread_mutex_lock(&r->lock);
            (void)join_done(r);
            e->next = r->ends;
            r->ends = e;
            pthread_mutex_unlock(&r->lock);
            return;
        }
        free(e);
    }
    destroy(what);
}

bool kafka_retired_free(struct kafka_retired *r)
{
    const struct timespec step = {0, 2000000};
    int64_t until = clock_mono_ms(&clock_system) + END_MS;
    if (!r)
        return true;
    while (!join_done(r) && clock_mono_ms(&clock_system) < until)
        nanosleep(&step, NULL);
    const bool is_all = !r->ends;
    for (const struct end *e = r->ends; e; e = e->next)
        pthread_detach(e->thread);
    pthread_mutex_destroy(&r->lock);
    free(r);
    return is_all;
}
