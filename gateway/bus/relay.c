/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
#include "gateway/bus/relay.h"
#include "base/log.h"
#include "gateway/bus/relay_priv.h"

#include <stdlib.h>

#define QUEUE_MAX_BYTES (64 * 1024 * 1024)
#define QUEUE_MAX_COUNT 100000
#define BULK_LINGER_US 1000
#define ROOTS 1024
#define HEAD_MAX_BYTES (320 * 1024)
#define ENTRY_MAX_BYTES (17 * 1024 * 1024)

/* ---- ports ---- */

static bool is_reachable(struct bus *b, struct span system) { return lease_is_reachable(container_of(b, struct relay, bus)->leases, system); }

static ehis_err state(struct bus *b)
{
    struct relay *r = container_of(b, struct relay, bus);
    struct kafka_status s;
    kafka_status(r->kafka, &s);
    if (s.state != EHIS_OK)
        return s.state;
    return !r->is_ready ? EHIS_E_BUS_UNREACHABLE : r->waiting_count > RELAY_WAITING_MAX / 2 ? EHIS_E_BUS_FULL : EHIS_OK;
}

static void probe(struct bus *b, struct span system)
{
    struct relay *r = container_of(b, struct relay, bus);
    struct inbox *i = relay_inbox(r, system, true);
    struct out_place at = {.topic = TOPIC_INBOX, .lane = KAFKA_BULK, .owner = system};
    struct parcel_head h = {.kind = PARCEL_PROBE, .system = system};
    if (!i)
        return;
    random_fill(&random_system, (uint8_t *)&h.token, sizeof h.token);
    h.token |= 1;
    i->probe_token = h.token;
    i->probed_ms = relay_wall_ms(r);
    if (relay_put(r, OUT_ANSWER, &at, &h, NULL, NULL) != EHIS_OK)
        i->probe_token = 0;
}

/* ---- time ---- */

static void on_state(void *ctx, ehis_err err, const char *text)
{
    (void)ctx;
    log_line(err == EHIS_OK ? LOG_NOTICE : LOG_WARN, "bus.state", F_ERR(err), F_STR("text", text));
}

static void on_flush(void *arg) { relay_flush(arg); }

static void on_tick(void *arg)
{
    struct relay *r = arg;
    loop_timer_set(r->tick, RELAY_TICK_MS * 1000);
    if (!r->exchange || !r->registry)
        return;
    if (!r->readings) {
        r->lease_log = relay_read(r, &(struct reading){.kind = READ_LEASE, .lane = KAFKA_CONTROL, .at = KAFKA_FROM_BEGIN});
        (void)relay_read(r, &(struct reading){.kind = READ_REPLY, .lane = KAFKA_CONTROL});
        r->cursor_log = relay_read(r, &(struct reading){.kind = READ_CURSOR, .lane = KAFKA_CONTROL, .at = KAFKA_FROM_BEGIN});
    }
    relay_lease_tick(r);
    relay_in_tick(r);
    relay_cursors_tick(r);
    relay_audit_pump(r);
    relay_out_tick(r);
    if (r->has_unsure && !r->is_unsafe) {
        r->has_unsure = false;
        exchange_on_safe(r->exchange, relay_wall_ms(r));
    }
}

/* ---- life ---- */

static void unread_all(struct relay *r)
{
    if (r->kafka)
        relay_inboxes_fini(r);
    for (size_t i = 0; i < r->reading_cap; i++)
        relay_unread(r->readings[i]);
}

void relay_leave(struct relay *r)
{
    unread_all(r);
    kafka_leave(r->kafka);
}

static void relay_free(struct bus *b)
{
    struct relay *r = container_of(b, struct relay, bus);
    unread_all(r);
    kafka_free(r->kafka);
    relay_cursors_fini(r);
    relay_out_fini(r);
    relay_audit_fini(r);
    lease_table_free(r->leases);
    root_cache_free(r->roots);
    loop_timer_free(r->tick);
    loop_timer_free(r->flush);
    table_fini(&r->by_name);
    table_fini(&r->cursors);
    table_fini(&r->stalls);
    tree_fini(&r->tree);
    buf_fini(&r->head);
    buf_fini(&r->scratch);
    buf_fini(&r->entry);
    buf_fini(&r->framed);
    free(r->readings);
    free(r->leaves);
    free(r->batch);
    free(r->probed);
    free(r->gateway);
    free(r);
}

void relay_new_boot(struct relay *r)
{
    random_fill(&random_system, (uint8_t *)&r->boot, sizeof r->boot);
    r->boot |= 1; /* never 0 */
}

static ehis_err start(struct relay *r, struct ehis_why *why)
{
    const struct kafka_calls calls = {r, relay_on_sent, relay_on_record, relay_on_watch_error, relay_on_position, on_state, relay_on_offsets, relay_on_end};
    struct kafka_config config = {.options = r->config.options, .client = r->gateway, .is_plain = r->config.is_plain, .queue_max_bytes = QUEUE_MAX_BYTES,
                                  .queue_max_count = QUEUE_MAX_COUNT, .bulk_linger_us = BULK_LINGER_US};
    uint8_t seed[16];
    random_fill(&random_system, seed, sizeof seed);
    relay_new_boot(r);
    if (!r->gateway || !r->leaves || !r->batch || !r->probed)
        return EHIS_E_NO_MEMORY;
    EHIS_TRY(table_init(&r->by_name, RELAY_TABLE_HEADS, seed));
    EHIS_TRY(table_init(&r->cursors, RELAY_TABLE_HEADS, seed));
    EHIS_TRY(table_init(&r->stalls, RELAY_TABLE_HEADS, seed));
    EHIS_TRY(root_cache_new(ROOTS, &r->roots));
    EHIS_TRY(lease_table_new(relay_name(r), r->boot, &r->leases));
    EHIS_TRY(loop_timer_new(r->loop, on_tick, r, &r->tick));
    EHIS_TRY(loop_timer_new(r->loop, on_flush, r, &r->flush));
    EHIS_TRY(kafka_new(r->loop, &config, &calls, &r->kafka, why));
    loop_timer_set(r->tick, 0);
    return EHIS_OK;
}

ehis_err relay_new(struct loop *loop, const struct clock *clock, const struct relay_config *config, struct relay **out, struct ehis_why *why)
{
    static const struct bus_ops ops = {.send = relay_send, .done = relay_done, .has = relay_has, .want_inbox = relay_want, .is_reachable = is_reachable, .state = state, .probe = probe, .subscribe = relay_subscribe, .free = relay_free};
    struct relay *r = calloc(1, sizeof *r);
    if (!r)
        return EHIS_E_NO_MEMORY;
    r->bus.ops = &ops;
    r->loop = loop;
    r->clock = clock;
    r->config = *config;
    r->gateway = strdup(config->gateway);
    r->leaves = calloc(RELAY_BATCH_MAX, sizeof *r->leaves);
    r->batch = calloc(RELAY_BATCH_MAX, sizeof(struct out *));
    r->probed = calloc(PARCEL_HELD_MAX, sizeof *r->probed);
    node_init(&r->waiting);
    node_init(&r->sent);
    node_init(&r->stall_list);
    node_init(&r->groups);
    node_init(&r->inboxes);
    node_init(&r->events);
    r->cursors_end = UNKNOWN;
    tree_init(&r->tree);
    buf_init(&r->head, HEAD_MAX_BYTES);
    buf_init(&r->scratch, HEAD_MAX_BYTES + 4096);
    buf_init(&r->entry, ENTRY_MAX_BYTES);
    buf_init(&r->framed, HEAD_MAX_BYTES);
    ehis_err err = start(r, why);
    if (err != EHIS_OK) {
        relay_free(&r->bus);
        return err;
    }
    *out = r;
    return EHIS_OK;
}

struct bus *relay_bus(struct relay *r) { return &r->bus; }
void relay_set_exchange(struct relay *r, struct exchange *x) { r->exchange = x; }

void relay_set_identity(struct relay *r, const struct registry *registry, const struct sign_key *key)
{
    r->registry = registry;
    r->key = key;
    root_cache_drop(r->roots);
}

void relay_set_unsafe(struct relay *r, bool is_unsafe)
{
    if (r->config.options->is_pilot)
        return;
    log_line(is_unsafe ? LOG_ERROR : LOG_NOTICE, "bus.replicated", F_BOOL("is_said", !is_unsafe));
    r->epoch += r->is_unsafe && !is_unsafe;
    r->is_unsafe = is_unsafe;
    if (!is_unsafe)
        relay_audit_safe(r);
}

ehis_err relay_renew(struct relay *r) { return kafka_renew(r->kafka); }
bool relay_is_ready(const struct relay *r) { return r->is_ready; }

bool relay_is_up(const struct relay *r)
{
    struct kafka_status s;
    kafka_status(r->kafka, &s);
    return s.state == EHIS_OK;
}

bool relay_drain(struct relay *r)
{
    struct kafka_status s;
    kafka_status(r->kafka, &s);
    if (!r->is_leaving) {
        r->is_leaving = true;
        relay_cursors_write(r);
        r->beat_ms = 0; /* at once: who is next begins when it is read, and this gateway ends then, too */
    }
    return s.state != EHIS_OK || (r->has_left && r->waiting_count + r->sent_count == 0 && r->group_count == 0);
}

void relay_status(const struct relay *r, struct relay_status *out)
{
    size_t claims = 0;
    for (const struct node *n = r->inboxes.next; n != &r->inboxes; n = n->next) {
        const struct inbox *i = container_of(n, struct inbox, in_list);
        claims += i->claimed_streams || i->claimed_calls;
    }
    *out = (struct relay_status){.is_ready = r->is_ready, .gateways = lease_gateways(r->leases), .inboxes_owned = r->owned_count, .claims = claims, .waiting = r->waiting_count,
                                 .in_flight = r->sent_count, .held = r->held_count, .held_bytes = r->held_bytes, .unaudited_groups = r->group_count, .dead = r->dead, .refused = r->refused};
    kafka_status(r->kafka, &out->kafka);
    out->state = out->kafka.state;
}
