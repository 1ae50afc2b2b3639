/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
#include "gateway/bus/cluster_watch.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>
#include "base/log.h"
#include "base/thread.h"

#define LOOK_MS 15000
#define END_MS 2000
#define TEXTS 4 /* of the options, but for the brokers */

struct found {
    size_t count, kept;
    bool is_undurable;
    struct bus_finding items[CLUSTER_FINDINGS_MAX];
};

/* One look: its thread's until is_done. */
struct look {
    pthread_t thread;
    atomic_bool is_done;
    ehis_err (*look)(const struct bus_kafka_options *o, const struct registry *r, uint64_t timeout_ms, bus_on_finding on_finding, void *ctx, struct ehis_why *why);
    struct bus_kafka_options options;
    char **texts; /* the options', of their own: a reload frees the settings' at any time */
    struct registry *registry;
    struct found found;
    bool is_partial; /* something of it was not allowed to be seen */
    ehis_err err;
    struct ehis_why why;
};

struct cluster_watch {
    struct cluster_watch_config config;
    struct look *look; /* under way */
    bool has_begun;
    int64_t begun_ms, looked_ms; /* monotonic; wall clock */
    struct found found;
    ehis_err err; /* of the last look */
};

/* ---- what is found ---- */

/* What was confirmed may be lost, by a machine's end or by the brokers' own doing. */
static bool is_of_durability(ehis_err code)
{
    return code == EHIS_E_BUS_REPLICATION || code == EHIS_E_BUS_MIN_ISR || code == EHIS_E_BUS_UNCLEAN || code == EHIS_E_BUS_CLEANUP ||
           code == EHIS_E_BUS_RETENTION || code == EHIS_E_BUS_BROKERS;
}

static bool has(const struct found *f, const struct bus_finding *what)
{
    for (size_t i = 0; i < f->kept; i++)
        if (f->items[i].code == what->code && strcmp(f->items[i].subject, what->subject) == 0 && strcmp(f->items[i].setting, what->setting) == 0)
            return true;
    return false;
}

static void add(struct found *f, const struct bus_finding *what)
{
    f->is_undurable |= is_of_durability(what->code);
    f->count++;
    if (f->kept < CLUSTER_FINDINGS_MAX)
        f->items[f->kept++] = *what;
}

static void on_finding(void *ctx, const struct bus_finding *f)
{
    struct look *l = ctx;
    l->is_partial |= f->code == EHIS_E_BUS_NOT_ALLOWED;
    if (ehis_err_row(f->code)->class_ == EHIS_CLASS_CONFIG)
        add(&l->found, f);
}

static void tell(const struct found *all, const struct found *known, enum log_level level, const char *event)
{
    for (size_t i = 0; i < all->kept; i++) {
        const struct bus_finding *f = &all->items[i];
        if (!has(known, f))
            log_line(level, event, F_ERR(f->code), F_STR("subject", f->subject), F_STR("setting", f->setting), F_STR("found", f->found), F_STR("wanted", f->wanted),
                     F_U64("findings", all->count));
    }
}

/* What could not be looked at is as it was last known. */
static void take(struct cluster_watch *w, struct look *l)
{
    const bool is_whole = l->err == EHIS_OK && !l->is_partial, was_undurable = w->found.is_undurable;
    if (l->err != EHIS_OK && l->err != w->err)
        log_line(LOG_WARN, "bus.unchecked", F_ERR(l->err), F_STR("why", l->why.text));
    w->err = l->err;
    for (size_t i = 0; i < w->found.kept && !is_whole; i++)
        if (!has(&l->found, &w->found.items[i]))
            add(&l->found, &w->found.items[i]);
    l->found.is_undurable |= !is_whole && was_undurable;
    tell(&l->found, &w->found, LOG_ERROR, "bus.unsafe");
    tell(&w->found, &l->found, LOG_NOTICE, "bus.safe");
    w->found = l->found;
    if (is_whole)
        w->looked_ms = clock_wall_ms(w->config.clock);
    if (w->found.is_undurable != was_undurable)
        w->config.on_durable(w->config.ctx, !w->found.is_undurable);
}

/* ---- looks ---- */

static void look_free(struct look *l)
{
    for (size_t i = 0; l->texts && i < TEXTS + l->options.brokers.count; i++)
        free(l->texts[i]);
    free(l->texts);
    registry_unref(l->registry);
    free(l);
}

static bool copy_options(struct look *l, const struct bus_kafka_options *o)
{
    const char *const own[TEXTS] = {o->ca, o->certificate, o->key, o->prefix};
    bool is_all = (l->texts = calloc(TEXTS + o->brokers.count, sizeof *l->texts));
    l->options = *o;
    for (size_t i = 0; is_all && i < TEXTS + o->brokers.count; i++)
        is_all = (l->texts[i] = strdup(i < TEXTS ? own[i] : o->brokers.items[i - TEXTS]));
    if (!is_all)
        return false;
    l->options.ca = l->texts[0];
    l->options.certificate = l->texts[1];
    l->options.key = l->texts[2];
    l->options.prefix = l->texts[3];
    l->options.brokers.items = (void *)(l->texts + TEXTS);
    return true;
}

static void *run(void *arg)
{
    struct look *l = arg;
    l->err = l->look(&l->options, l->registry, LOOK_MS, on_finding, l, &l->why);
    atomic_store(&l->is_done, true);
    return NULL;
}

/* Without memory or a thread it is begun at the next time. */
static void begin(struct cluster_watch *w, struct registry *r)
{
    struct look *l = calloc(1, sizeof *l);
    if (!l)
        return;
    l->look = w->config.look;
    l->registry = registry_ref(r);
    if (copy_options(l, w->config.options) && thread_start(&l->thread, run, l))
        w->look = l;
    else
        look_free(l);
}

static bool end_done(struct cluster_watch *w)
{
    if (!w->look || !atomic_load(&w->look->is_done))
        return !w->look;
    pthread_join(w->look->thread, NULL);
    return true;
}

void cluster_watch_tick(struct cluster_watch *w, struct registry *r, bool is_up)
{
    const int64_t now_ms = clock_mono_ms(w->config.clock);
    if (!end_done(w))
        return;
    if (w->look) {
        take(w, w->look);
        look_free(w->look);
        w->look = NULL;
    }
    if (!is_up || (w->has_begun && now_ms - w->begun_ms < (int64_t)w->config.options->check_every_ms))
        return;
    w->has_begun = true;
    w->begun_ms = now_ms;
    begin(w, r);
}

/* ---- life ---- */

ehis_err cluster_watch_new(const struct cluster_watch_config *config, bool is_looked_at, struct cluster_watch **out)
{
    struct cluster_watch *w = calloc(1, sizeof *w);
    if (!w)
        return EHIS_E_NO_MEMORY;
    w->config = *config;
    w->has_begun = is_looked_at;
    w->found.is_undurable = !is_looked_at; /* as long as nobody knows */
    w->begun_ms = clock_mono_ms(config->clock);
    w->looked_ms = is_looked_at ? clock_wall_ms(config->clock) : 0;
    if (!is_looked_at)
        config->on_durable(config->ctx, false);
    *out = w;
    return EHIS_OK;
}

bool cluster_watch_free(struct cluster_watch *w)
{
    const struct timespec step = {0, 2000000};
    const int64_t until = clock_mono_ms(&clock_system) + END_MS;
    bool has_ended;
    if (!w)
        return true;
    while (!(has_ended = end_done(w)) && clock_mono_ms(&clock_system) < until)
        nanosleep(&step, NULL);
    if (w->look && has_ended)
        look_free(w->look);
    else if (w->look)
        pthread_detach(w->look->thread);
    free(w);
    return has_ended;
}

void cluster_watch_status(const struct cluster_watch *w, struct cluster_watch_status *out)
{
    *out = (struct cluster_watch_status){.count = w->found.count, .first = w->found.kept ? &w->found.items[0] : NULL, .is_durable = !w->found.is_undurable, .looked_ms = w->looked_ms};
}
