/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
#include "gateway/bus/kafka_retired.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>
#include "base/clock.h"
#include "base/thread.h"

#define END_MS 2000

struct kafka_retired { atomic_uint running; };
struct end { struct kafka_retired *of; void (*destroy)(void *what); void *what; };

ehis_err kafka_retired_new(struct kafka_retired **out)
{
    *out = calloc(1, sizeof **out);
    return *out ? EHIS_OK : EHIS_E_NO_MEMORY;
}

static void *run(void *arg)
{
    struct end e = *(struct end *)arg;
    free(arg);
    e.destroy(e.what);
    atomic_fetch_sub(&e.of->running, 1); /* the last that is done to it */
    return NULL;
}

void kafka_retire(struct kafka_retired *r, void (*destroy)(void *what), void *what)
{
    pthread_t thread;
    struct end *e = what ? malloc(sizeof *e) : NULL;
    if (!what)
        return;
    if (e) {
        *e = (struct end){r, destroy, what};
        atomic_fetch_add(&r->running, 1);
        if (thread_start(&thread, run, e)) {
            pthread_detach(thread);
            return;
        }
        atomic_fetch_sub(&r->running, 1);
        free(e);
    }
    destroy(what);
}

bool kafka_retired_free(struct kafka_retired *r)
{
    const struct timespec step = {0, 2000000};
    for (int64_t until = clock_mono_ms(&clock_system) + END_MS; r && atomic_load(&r->running) && clock_mono_ms(&clock_system) < until;)
        nanosleep(&step, NULL);
    bool is_all = !r || atomic_load(&r->running) == 0;
    if (is_all)
        free(r);
    return is_all;
}
