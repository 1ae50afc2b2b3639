/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* From settings to a running gateway, and down again in order. */
#include "base/log.h"
#include "base/secret.h"
#include "base/tool/cli.h"
#include "gateway/app/gateway.h"
#include "gateway/bus/kafka.h"
#include "proto/wire/record.h"
#include <malloc.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>
#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/lsan_interface.h>
#endif

#define RECORD_MAX_BYTES (1024 * 1024) /* an event's names up to 4,096 subscribers */
#define REPORT_MAX_BYTES (64 * 1024)
#define SECOND_US 1000000
#define CARRY_BUDGET 256
#define CLUSTER_CHECK_MS 15000
#define BUS_WAIT_US (15 * SECOND_US)
#define RIGHTS_WAIT_US (3 * SECOND_US) /* what was allowed a moment ago reaches each broker in its own time */
#define RIGHTS_AGAIN_MS 200
#define CLOSE_US (2 * SECOND_US)
#define HEAP_KEPT_BYTES (8 * 1024 * 1024) /* what every burst frees and the next takes again is not given back to the system */

static int64_t now_ms(const struct gateway *g) { return clock_wall_ms(g->clock); }

static void on_durable(void *arg, uint64_t group)
{
    struct gateway *g = arg;
    exchange_on_durable(g->exchange, group, now_ms(g));
    if (g->relay)
        relay_on_durable(g->relay, group);
}

/* R11: what cannot be logged does not happen. Nothing more is written, answered or forwarded by this process. */
static void on_journal_failed(void *arg, ehis_err err)
{
    struct gateway *g = arg;
    log_line(LOG_ERROR, "journal.failed", F_ERR(err), F_STR("action", "stopping at once; a restart recovers from the disk"));
    g->has_failed = true;
    loop_stop(g->loop);
}

static ehis_err note(struct gateway *g, enum record_kind kind)
{
    const struct registry *registry = sessions_get_identity(g->sessions)->registry;
    struct record r = {.kind = kind, .system = span_str(g->options.name), .registry_version = registry_version(registry)};
    memcpy(r.registry_hash, registry_hash(registry)->b, HASH_BYTES);
    return exchange_note(g->exchange, &r, now_ms(g));
}

static void free_segments(struct gateway *g)
{
    uint64_t segment;
    if (journal_release_wanted(g->journal, &segment) && !(g->relay && relay_needs(g->relay, segment)) && exchange_carry(g->exchange, segment, CARRY_BUDGET, now_ms(g))) {
        journal_release(g->journal, segment);
        journal_writer_kick(g->writer);
    }
}

static void finish(struct gateway *g)
{
    bool is_handed_over = !g->relay || relay_drain(g->relay);
    if ((exchange_drain(g->exchange) && is_handed_over) || clock_mono_us(g->clock) >= g->stop_by_us) {
        log_line(LOG_NOTICE, "gateway.drained", F_I64("after_ms", (clock_mono_us(g->clock) - g->stop_by_us) / 1000 + (int64_t)g->options.stop_ms));
        loop_stop(g->loop);
    }
}

static void on_tick(void *arg)
{
    struct gateway *g = arg;
    uint32_t next_ms = exchange_tick(g->exchange, now_ms(g));
    uint64_t segment;
    free_segments(g);
    if (journal_release_wanted(g->journal, &segment))
        next_ms = 5; /* a budget a tick, so that sessions are heard between */
    if (g->is_stopping) {
        finish(g);
        next_ms = 20;
    }
    loop_timer_set(g->tick, (int64_t)(next_ms > 50 ? 50 : next_ms) * 1000);
}

static void on_second(void *arg)
{
    struct gateway *g = arg;
    sessions_tick(g->sessions);
    if (g->watch && !g->is_stopping)
        cluster_watch_tick(g->watch, sessions_get_identity(g->sessions)->registry, relay_is_up(g->relay));
    loop_timer_set(g->second, SECOND_US);
}

static void on_signal(void *arg, int number)
{
    struct gateway *g = arg;
    if (number == SIGHUP) {
        gateway_reload(g);
    } else if (g->is_stopping) {
        loop_stop(g->loop);
    } else {
        log_line(LOG_NOTICE, "gateway.stopping", F_I64("signal", number));
        g->is_stopping = true;
        g->stop_by_us = clock_mono_us(g->clock) + (int64_t)g->options.stop_ms * 1000;
        sessions_drain(g->sessions);
        (void)exchange_drain(g->exchange);
        loop_timer_set(g->tick, 0);
    }
}

struct replay {
    struct exchange *exchange;
    struct relay *relay;
    struct ehis_why *why;
};

static ehis_err on_entry(void *ctx, const struct journal_entry *e)
{
    struct replay *r = ctx;
    if (r->relay)
        EHIS_TRY(relay_replay(r->relay, e));
    return exchange_replay(r->exchange, e, r->why);
}

static ehis_err open_journal(struct gateway *g, struct ehis_why *why)
{
    struct journal_config config = {.segment_bytes = g->options.segment_bytes,
                                    .segment_count_max = (uint32_t)g->options.segment_count_max,
                                    .group_max_bytes = g->options.group_max_bytes,
                                    .reserve_bytes = g->options.journal_reserve_bytes};
    struct replay replay = {g->exchange, g->relay, why};
    EHIS_TRY(disk_open_folder(g->options.journal_dir, true, &g->disk, why));
    EHIS_TRY(journal_open(g->disk, &config, g->clock, on_entry, &replay, &g->journal, why));
    sessions_set_journal(g->sessions, g->journal);
    EHIS_TRY(journal_writer_start(g->journal, g->loop, on_durable, on_journal_failed, g, &g->writer));
    exchange_recovered(g->exchange, now_ms(g));
    blobs_recovered(g->blobs);
    if (g->relay)
        relay_recovered(g->relay);
    return EHIS_OK;
}

/* R4: a receipt says only what has happened. */
static void on_cluster_durable(void *ctx, bool is_durable)
{
    struct gateway *g = ctx;
    relay_set_unsafe(g->relay, !is_durable);
}

/* A cluster that could lose what it acknowledged is refused. One that is away now is not looked at: what is accepted waits in the journal. */
static ehis_err open_bus(struct gateway *g, const struct registry *registry, struct ehis_why *why)
{
    struct relay_config config = {.options = &g->options.kafka, .gateway = g->options.name, .read = gateway_read_entry, .ctx = g};
    if (strcmp(g->options.bus_kind, "local") == 0)
        return bus_local_new(&g->bus);
    const struct cluster_watch_config watch = {.options = &g->options.kafka, .clock = g->clock, .look = bus_cluster_look, .on_durable = on_cluster_durable, .ctx = g};
    int64_t until = clock_mono_us(g->clock) + RIGHTS_WAIT_US;
    ehis_err err = bus_cluster_check(&g->options.kafka, registry, CLUSTER_CHECK_MS, NULL, NULL, why);
    while (err == EHIS_E_BUS_NOT_ALLOWED && clock_mono_us(g->clock) < until) {
        poll(NULL, 0, RIGHTS_AGAIN_MS);
        err = bus_cluster_check(&g->options.kafka, registry, CLUSTER_CHECK_MS, NULL, NULL, why);
    }
    const bool is_looked_at = err == EHIS_OK;
    if (err == EHIS_E_BUS_UNREACHABLE || err == EHIS_E_BUS_TLS)
        log_line(LOG_WARN, "bus.unchecked", F_ERR(err), F_STR("why", why->text));
    else if (err != EHIS_OK)
        return err;
    struct ehis_why inner = {""};
    err = gateway_bus_pair_load(g, &g->options, &g->bus_pair, &inner);
    if (err != EHIS_OK) /* the brokers decide; what is accepted waits */
        log_line(LOG_WARN, "bus.certificate", F_ERR(err), F_STR("why", inner.text));
    EHIS_TRY(relay_new(g->loop, g->clock, &config, &g->relay, why));
    g->bus = relay_bus(g->relay);
    return cluster_watch_new(&watch, is_looked_at, &g->watch);
}

/* Large bodies: files in the journal's folder, or the topic. */
static ehis_err open_blobs(struct gateway *g, struct ehis_why *why)
{
    struct blob_store *store;
    uint8_t seed[16];
    char folder[4200];
    snprintf(folder, sizeof folder, "%s/blobs", g->options.journal_dir);
    ehis_err err = g->relay ? blob_kafka_new(&g->options.kafka, g->options.name, &store, why) : blob_local_new(folder, g->options.journal_reserve_bytes, &store, why);
    random_fill(&random_system, seed, sizeof seed);
    return err == EHIS_OK ? blobs_new(g->loop, g->clock, store, seed, &g->blobs) : err;
}

/* The others' leases first, so that nobody is told that a system is away who is there. Without a broker the doors open all the same. */
static void wait_for_bus(struct gateway *g)
{
    for (int64_t until = clock_mono_us(g->clock) + BUS_WAIT_US; g->relay && !relay_is_ready(g->relay) && clock_mono_us(g->clock) < until && !g->has_failed && !g->is_stopping;)
        loop_run_once(g->loop, true);
}

static ehis_err open_rooms(struct gateway *g, struct ehis_why *why)
{
    struct sessions_limits limits;
    struct exchange_bounds bounds;
    struct exchange_ports ports;
    struct sessions_identity identity;
    gateway_limits(&g->options, &limits, &bounds);
    /* The journal's folder holds the registry that was in force: it must exist before. */
    struct disk *folder;
    EHIS_TRY(disk_open_folder(g->options.journal_dir, true, &folder, why));
    disk_free(folder);
    EHIS_TRY(gateway_identity_load(g, &g->options, NULL, &identity, &g->own_certificate_expiry_ms, why));
    ehis_err err = open_bus(g, identity.registry, why);
    if (err == EHIS_OK)
        err = open_blobs(g, why);
    if (err == EHIS_OK)
        gateway_ports(g, &ports);
    if (err == EHIS_OK)
        err = exchange_new(span_str(g->options.name), &bounds, &ports, &g->exchange);
    if (err == EHIS_OK)
        err = sessions_new(g->loop, g->clock, g->options.name, &limits, &g->sessions);
    if (err != EHIS_OK) {
        gateway_identity_free(&identity);
        return err;
    }
    exchange_set_registry(g->exchange, identity.registry, now_ms(g));
    sessions_set_exchange(g->sessions, g->exchange);
    sessions_set_blobs(g->sessions, g->blobs);
    sessions_set_identity(g->sessions, &identity);
    if (g->relay) {
        relay_set_exchange(g->relay, g->exchange);
        relay_set_identity(g->relay, sessions_get_identity(g->sessions)->registry, sessions_get_identity(g->sessions)->sign_key);
    }
    EHIS_TRY(open_journal(g, why));
    return gateway_registry_keep(g, sessions_get_identity(g->sessions)->registry, why);
}

/* A SIGHUP that comes before it can be heard waits: by default it would end the process. */
static void hold_reloads(bool is_held)
{
    sigset_t hup;
    sigemptyset(&hup);
    sigaddset(&hup, SIGHUP);
    pthread_sigmask(is_held ? SIG_BLOCK : SIG_UNBLOCK, &hup, NULL);
}

static ehis_err open_doors(struct gateway *g, struct ehis_why *why)
{
    const struct admin_source source = {.status = gateway_status_json, .metrics = gateway_metrics, .ctx = g};
    static const int signals[] = {SIGTERM, SIGINT, SIGHUP};
    for (size_t i = 0; i < sizeof signals / sizeof *signals; i++)
        EHIS_TRY(loop_on_signal(g->loop, signals[i], on_signal, g));
    hold_reloads(false);
    EHIS_TRY(loop_timer_new(g->loop, on_tick, g, &g->tick));
    EHIS_TRY(loop_timer_new(g->loop, on_second, g, &g->second));
    EHIS_TRY(note(g, RECORD_STARTED));
    EHIS_TRY(admin_start(g->loop, g->options.admin_socket, &source, &g->admin, why));
    wait_for_bus(g);
    for (size_t i = 0; i < g->options.listen.count; i++)
        EHIS_TRY(sessions_listen(g->sessions, g->options.listen.items[i], why));
    loop_timer_set(g->tick, 0);
    loop_timer_set(g->second, SECOND_US);
    return EHIS_OK;
}

/* All links close in order; the loop runs until they have, for a moment at most. */
static void close_sessions(struct gateway *g)
{
    struct sessions_status status;
    int64_t until = clock_mono_us(g->clock) + CLOSE_US;
    loop_timer_clear(g->tick); /* it would go on stopping the loop */
    sessions_flush(g->sessions);
    sessions_close(g->sessions);
    loop_timer_set(g->second, 20000);
    for (;;) {
        sessions_status(g->sessions, &status);
        if (status.sessions == 0)
            return;
        if (clock_mono_us(g->clock) >= until)
            sessions_abort(g->sessions);
        loop_run_once(g->loop, true);
        loop_timer_set(g->second, 20000);
    }
}

/* is_orderly: it ran, and was told to stop. */
static ehis_err close_all(struct gateway *g, bool is_orderly)
{
    ehis_err err = g->has_failed ? EHIS_E_JOURNAL_FAILED : EHIS_OK;
    if (g->has_failed)
        _exit(1); /* nothing in memory may be believed to be durable any more */
    if (g->sessions && g->writer && g->second) {
        close_sessions(g);
        if (note(g, RECORD_STOPPED) != EHIS_OK)
            log_line(LOG_WARN, "gateway.stop.unrecorded", F_STR("name", g->options.name));
    }
    if (g->writer)
        err = journal_writer_stop(g->writer);
    g->writer = NULL;
    if (g->loop)
        loop_run_later(g->loop); /* receipts of the last turn, say, whose session has gone: they point to the sessions */
    admin_stop(g->admin);
    if (is_orderly && err == EHIS_OK && g->relay) {
        relay_leave(g->relay);
#ifdef __SANITIZE_ADDRESS__
        __lsan_do_leak_check(); /* an exit handler's work */
#endif
        _exit(0); /* all is on the disk; threads of librdkafka would fall over what exit handlers take away */
    }
    (void)cluster_watch_free(g->watch);
    sessions_free(g->sessions);
    exchange_free(g->exchange);
    blobs_free(g->blobs);
    bus_free(g->bus);
    journal_close(g->journal);
    disk_free(g->disk);
    loop_timer_free(g->tick);
    loop_timer_free(g->second);
    loop_free(g->loop);
    settings_free(g->settings);
    buf_fini(&g->record);
    return err;
}

ehis_err gateway_settings_load(struct gateway *g, struct ehis_why *why)
{
    struct buf report;
    buf_init(&report, REPORT_MAX_BYTES);
    ehis_err err = settings_load(&gateway_options_table, g->settings_file, &g->options, &g->settings, &report);
    if (report.len > 0)
        fprintf(stderr, "%.*s", SPAN_SHOW(buf_span(&report)));
    buf_fini(&report);
    return err == EHIS_OK ? err : ehis_fail(why, err, "%s", g->settings_file);
}

ehis_err gateway_run(const char *settings_file, struct ehis_why *why)
{
    struct gateway g = {.settings_file = settings_file, .clock = &clock_system};
    struct sigaction ignore = {.sa_handler = SIG_IGN};
    enum log_level level;
    sigaction(SIGPIPE, &ignore, NULL);
    hold_reloads(true);
    mallopt(M_TRIM_THRESHOLD, HEAP_KEPT_BYTES);
    buf_init(&g.record, RECORD_MAX_BYTES);
    g.started_ms = now_ms(&g);
    EHIS_TRY(gateway_settings_load(&g, why));
    if (log_level_from_text(span_str(g.options.log_level), &level) == EHIS_OK)
        log_set_level(level);
    /* Before anything that may wait: a broker that is away holds up the check of the cluster. */
    log_line(LOG_NOTICE, "gateway.start", F_STR("name", g.options.name), F_STR("version", EHIS_VERSION), F_STR("bus", g.options.bus_kind), F_U64("pid", (uint64_t)getpid()));
    ehis_err err = gateway_options_check(&g.options, why);
    if (err == EHIS_OK)
        err = loop_new(&g.loop);
    if (err == EHIS_OK)
        err = open_rooms(&g, why);
    if (err == EHIS_OK)
        err = open_doors(&g, why);
    if (err == EHIS_OK) {
        log_line(LOG_NOTICE, "gateway.ready", F_STR("name", g.options.name), F_U64("registry_version", registry_version(sessions_get_identity(g.sessions)->registry)));
        loop_run(g.loop);
    }
    ehis_err closed = close_all(&g, err == EHIS_OK);
    return err != EHIS_OK ? err : closed;
}
