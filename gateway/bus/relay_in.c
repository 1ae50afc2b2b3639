/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* What is read. Nothing that a broker brings is believed: every parcel must be signed, for this topic, by a gateway of the registry. What fails goes to dlq
 * with its code and is finished: it stops nothing. An offset is finished when the core is done with it and, where another gateway is told, when
 * the broker has that report; positions only say where to begin again. */
#include "base/log.h"
#include "gateway/bus/relay_priv.h"

#include <stdlib.h>

static struct held *held_of(struct node *n) { return container_of(n, struct held, in_list); }

/* ---- partitions ---- */

#define SLOT_BITS 18

static bool is_span_full(const struct reading *g) { return g->has_window && g->window.next - g->window.position > WINDOW_OFFSETS_MAX - 1024; }

/* Its positions are nobody's to commit. */
static bool is_whole(const struct reading *g) { return g->kind == READ_LEASE || g->kind == READ_CURSOR || g->kind == READ_KEY || g->kind == READ_FEED; }
static bool is_windowed(const struct reading *g) { return !is_whole(g); }

static void begin(struct reading *g, int64_t from)
{
    struct relay *r = g->relay;
    ehis_err err = kafka_watch(r->kafka, g->lane, g->topic, g->partition, from, g->watch);
    g->is_paused = false;
    g->state = err == EHIS_OK ? READING_READS : READING_RESTS;
    if (err != EHIS_OK)
        log_line(LOG_WARN, "bus.topic", F_ERR(err), F_STR("topic", g->topic));
}

void relay_read_from(struct reading *g, int64_t from)
{
    kafka_unwatch(g->relay->kafka, g->watch);
    g->retry_ms = relay_mono_ms(g->relay) + RELAY_RETRY_MS;
    g->at = from;
    begin(g, from);
}

void relay_read_stop(struct reading *g)
{
    kafka_unwatch(g->relay->kafka, g->watch);
    g->state = READING_IDLE;
}

/* What was read stays read: a watch that broke goes on where it stood. */
static void ask(struct reading *g)
{
    struct relay *r = g->relay;
    g->retry_ms = relay_mono_ms(r) + RELAY_RETRY_MS;
    if (g->kind == READ_EVENT)
        g->state = READING_READS; /* fed */
    else if (g->kind == READ_FEED && g->at < 0)
        g->state = READING_IDLE;
    else if (is_whole(g))
        begin(g, g->at);
    else if (g->has_window)
        begin(g, g->window.next);
    else if (g->at == KAFKA_FROM_BEGIN)
        begin(g, KAFKA_FROM_BEGIN);
    else
        g->state = kafka_position_get(r->kafka, g->topic, 0, g->watch) == EHIS_OK ? READING_ASKS : READING_RESTS;
}

static uint32_t free_watch(struct relay *r)
{
    size_t at = 0;
    while (at < r->reading_cap && r->readings[at])
        at++;
    if (at == r->reading_cap) {
        size_t cap = r->reading_cap ? r->reading_cap * 2 : 64;
        struct reading **more = cap < 1u << SLOT_BITS ? reallocarray(r->readings, cap, sizeof(struct reading *)) : NULL;
        if (!more)
            return 0;
        memset(more + r->reading_cap, 0, (cap - r->reading_cap) * sizeof(struct reading *));
        r->readings = more;
        r->reading_cap = cap;
    }
    return ((uint32_t)at + 1) | ++r->reading_count << SLOT_BITS;
}

static struct reading **place_of(struct relay *r, uint32_t watch) { return &r->readings[(watch & ((1u << SLOT_BITS) - 1)) - 1]; }

static struct reading *reading_of(struct relay *r, uint32_t watch)
{
    struct reading *g = (watch & ((1u << SLOT_BITS) - 1)) <= r->reading_cap ? *place_of(r, watch) : NULL;
    return g && g->watch == watch ? g : NULL;
}

struct reading *relay_read(struct relay *r, const struct reading *as)
{
    static const enum bus_topic_kind topics[] = {TOPIC_CONTROL_LEASE, TOPIC_REPLY, TOPIC_CALL, TOPIC_INBOX, TOPIC_CONTROL_CURSOR, TOPIC_KEY, TOPIC_EVENT, TOPIC_EVENT};
    uint32_t watch = free_watch(r);
    struct reading *g = watch ? calloc(1, sizeof *g) : NULL;
    if (!g)
        return NULL;
    *g = *as;
    g->relay = r;
    g->watch = watch;
    struct span owner = g->event ? g->event->service : g->inbox ? span_of(g->inbox->name, g->inbox->name_len) : g->kind == READ_REPLY ? relay_name(r) : span_of(NULL, 0);
    bus_topic_name(relay_prefix(r), topics[g->kind], owner, g->event ? g->event->name : span_of(NULL, 0), g->topic);
    node_init(&g->held);
    node_init(&g->later);
    *place_of(r, watch) = g;
    ask(g);
    return g;
}

static void held_free(struct held *h)
{
    struct relay *r = h->reading->relay;
    if (h->out)
        h->out->held = NULL;
    h->reading->held_count--;
    h->reading->held_bytes -= h->value.len;
    r->held_count--;
    r->held_bytes -= h->value.len;
    kafka_release(r->kafka, h->hold);
    node_remove(&h->in_list);
    free(h);
}

static void drop_all(struct reading *g)
{
    while (!list_is_empty(&g->held))
        held_free(held_of(g->held.next));
    while (!list_is_empty(&g->later))
        held_free(held_of(g->later.next));
    g->is_paused = false;
}

static void commit(struct reading *g)
{
    struct buf text;
    buf_init(&text, WINDOW_METADATA_MAX);
    g->is_commit_due = false;
    if (g->cursor) { /* the tick writes it */
        g->cursor->is_dirty = true;
        return;
    }
    if (window_to_text(&g->window, &text) == EHIS_OK && kafka_commit(g->relay->kafka, g->topic, 0, window_position(&g->window), buf_span(&text)) != EHIS_OK)
        g->is_commit_due = true;
    buf_fini(&text);
}

void relay_unread(struct reading *g)
{
    if (!g)
        return;
    if (g->is_commit_due)
        commit(g);
    kafka_unwatch(g->relay->kafka, g->watch);
    drop_all(g);
    *place_of(g->relay, g->watch) = NULL;
    free(g);
}

void relay_on_position(void *ctx, uint32_t watch, ehis_err err, const struct kafka_position *p)
{
    struct relay *r = ctx;
    struct reading *g = reading_of(r, watch);
    if (!g || g->state != READING_ASKS)
        return;
    int64_t from = p->offset;
    if (err != EHIS_OK) {
        log_line(LOG_WARN, "bus.topic", F_ERR(err), F_STR("topic", g->topic));
        g->state = READING_RESTS;
        g->retry_ms = relay_mono_ms(r) + RELAY_RETRY_MS;
        return;
    }
    if (from >= 0 && window_from_text(&g->window, from, p->metadata) != EHIS_OK)
        log_line(LOG_WARN, "bus.position", F_ERR(EHIS_E_BUS_POSITION), F_STR("topic", g->topic), F_I64("offset", from));
    g->has_window = from >= 0;
    begin(g, from < 0 ? KAFKA_FROM_BEGIN : from);
}

void relay_forget_offsets(struct reading *g)
{
    for (struct node *n = g->held.next; n != &g->held; n = n->next)
        held_of(n)->offset = -1;
    for (struct node *n = g->later.next; n != &g->later; n = n->next)
        held_of(n)->offset = -1;
}

void relay_on_watch_error(void *ctx, uint32_t watch, ehis_err err, const char *text)
{
    struct relay *r = ctx;
    struct reading *g = reading_of(r, watch);
    if (!g)
        return;
    log_line(LOG_WARN, "bus.watch", F_ERR(err), F_STR("topic", g->topic), F_STR("text", text));
    kafka_unwatch(r->kafka, watch);
    g->state = READING_RESTS;
    g->retry_ms = relay_mono_ms(r) + RELAY_RETRY_MS;
    if (err != EHIS_E_BUS_POSITION)
        return;
    if (g->kind == READ_FEED) {
        relay_feed_reset(g);
        return;
    }
    const bool is_first = g->at != KAFKA_FROM_BEGIN;
    g->at = KAFKA_FROM_BEGIN;
    if (g->kind == READ_LEASE) {
        relay_lease_anew(r);
        return;
    }
    relay_forget_offsets(g); /* it was cut, or made anew */
    g->has_window = g->is_commit_due = false;
    if (is_first) /* else at the tick: not even that helps now */
        begin(g, KAFKA_FROM_BEGIN);
}

/* ---- finished ---- */

static void pace(struct reading *g)
{
    struct relay *r = g->relay;
    bool is_full = g->held_count >= RELAY_HELD_MAX || g->held_bytes >= RELAY_HELD_BYTES || is_span_full(g) || (r->held_bytes > RELAY_BUDGET_BYTES && g->held_count > 0);
    bool has_room = g->held_count <= RELAY_HELD_MAX / 2 && g->held_bytes <= RELAY_HELD_BYTES / 2 && !is_span_full(g);
    if (g->kind == READ_LEASE || (g->is_paused ? !has_room : !is_full))
        return;
    g->is_paused = !g->is_paused;
    if (g->kind == READ_EVENT)
        relay_feed_pace(g->event, g->partition);
    else
        kafka_pause(r->kafka, g->watch, g->is_paused);
}

void relay_held_finish(struct held *h)
{
    struct reading *g = h->reading;
    if (g->has_window && h->offset >= 0) {
        window_finish(&g->window, h->offset);
        g->is_commit_due = true;
    }
    held_free(h);
    pace(g);
}

static void dead(struct held *h, ehis_err code, const struct hash *digest)
{
    struct reading *g = h->reading;
    struct relay *r = g->relay;
    int64_t now = relay_mono_ms(r);
    struct hash payload;
    struct out *o = NULL;
    struct parcel_head head = {.kind = PARCEL_DEAD, .code = (uint32_t)code};
    struct out_place at = {.topic = TOPIC_DLQ, .lane = KAFKA_BULK, .partition = -1, .key = span_str(g->topic)};
    if (now - g->second_ms >= 1000) {
        g->second_ms = now;
        g->dead_in_second = 0;
    }
    if (g->dead_in_second++ < RELAY_DEAD_A_SECOND) {
        size_t len = h->value.len < PARCEL_MAX_BYTES - 2048 ? h->value.len : PARCEL_MAX_BYTES - 2048;
        log_line(LOG_WARN, "bus.refused", F_ERR(code), F_STR("topic", g->topic), F_I64("offset", h->offset));
        if (digest)
            memcpy(head.digest, digest->b, HASH_BYTES);
        hash_span(span_of(h->value.p, len), &payload);
        if (relay_put(r, OUT_DEAD, &at, &head, &payload, &o) == EHIS_OK) {
            o->payload_len = len;
            o->held = h;
            h->out = o;
            node_move(&g->held, &h->in_list);
            return;
        }
    }
    relay_held_finish(h);
}

/* Told where it was accepted; the offset is finished when the broker has that. If this process dies before, it comes again, and so does the report. */
void relay_done(struct bus *b, uint64_t handle, const struct exchange_report *report)
{
    struct relay *r = container_of(b, struct relay, bus);
    struct held *h = (struct held *)(uintptr_t)handle;
    struct out *o = NULL;
    struct out_place at = {.topic = TOPIC_REPLY, .lane = KAFKA_BULK, .owner = span_of(h->gateway, h->gateway_len)};
    if (report && !span_eq(at.owner, relay_name(r))) {
        struct parcel_head head = {.kind = PARCEL_REPORT, .system = report->recipient, .state = report->state, .code = report->code, .ack = report->ack};
        memcpy(head.digest, report->digest.b, HASH_BYTES);
        if (relay_put(r, OUT_REPORT, &at, &head, NULL, &o) == EHIS_OK && report->code != EHIS_E_EXCHANGE_DEAD_LETTER) {
            o->held = h;
            h->out = o;
            return;
        }
    }
    if (report && report->code == EHIS_E_EXCHANGE_DEAD_LETTER)
        dead(h, EHIS_E_EXCHANGE_DEAD_LETTER, &report->digest);
    else
        relay_held_finish(h);
}

/* ---- what came ---- */

static ehis_err verify(struct relay *r, const struct parcel *p)
{
    const struct registry_owner *gateway = registry_gateway(r->registry, p->head.gateway);
    const struct registry_key *key;
    if (!gateway || gateway->is_disabled)
        return EHIS_E_BUS_GATEWAY;
    if (registry_signing_key(r->registry, p->head.gateway, p->signature.key_id.b, 0, relay_wall_ms(r), &key) != EHIS_OK)
        return EHIS_E_BUS_GATEWAY;
    return parcel_verify(p, key->public_key.p, r->roots);
}

static ehis_err take_envelope(struct held *h, const struct parcel *p)
{
    const struct parcel_head *d = &p->head;
    struct reading *g = h->reading;
    struct exchange_skip skip = {.sender = d->sender, .recipient = d->system, .stream = d->stream.p, .number = d->number, .state = (uint8_t)d->state};
    struct exchange_arrival a = {.handle = (uint64_t)(uintptr_t)h, .gateway = span_of(h->gateway, h->gateway_len), .accepted_ms = (int64_t)d->accepted_ms,
                                 .is_key = g->kind == READ_KEY, .registry_version = d->registry_version, .blob_partition = d->blob_partition, .blob_offset = d->blob_offset,
                                 .bytes = p->payload, .envelope = p->envelope, .digest = p->digest, .sealed_hash = p->sealed_hash};
    if (g->inbox)
        a.inbox = span_of(g->inbox->name, g->inbox->name_len);
    if (g->kind == READ_EVENT) /* its writer knows no subscriber */
        skip.recipient = a.inbox;
    if (d->kind == PARCEL_SKIP) {
        memcpy(skip.digest.b, d->digest, HASH_BYTES);
        a.skip = &skip;
        a.digest = skip.digest;
    }
    return exchange_on_arrival(g->relay->exchange, &a, relay_wall_ms(g->relay)); /* h may be gone where that is OK */
}

static ehis_err take_probe(struct held *h, const struct parcel *p)
{
    struct relay *r = h->reading->relay;
    struct out_place at = {.topic = TOPIC_REPLY, .lane = KAFKA_BULK, .owner = p->head.gateway};
    size_t count = exchange_held(r->exchange, p->head.system, p->head.gateway, r->probed, PARCEL_HELD_MAX);
    struct parcel_head answer = {.kind = PARCEL_PROBED, .system = p->head.system, .token = p->head.token, .held = span_of(r->probed, count * HASH_BYTES)};
    return relay_put(r, OUT_ANSWER, &at, &answer, NULL, NULL);
}

static void take_probed(struct relay *r, const struct parcel *p)
{
    struct inbox *inbox = relay_inbox(r, p->head.system, false);
    size_t count = 0, at = 0;
    if (!inbox || !inbox->probe_token || inbox->probe_token != p->head.token)
        return; /* a later one was asked */
    while (count < PARCEL_HELD_MAX && parcel_held_next(p, &at, &r->probed[count]))
        count++;
    inbox->probe_token = 0;
    size_t lost = 0;
    if (count < PARCEL_HELD_MAX) /* more than can be said: nothing is said of the others */
        lost = exchange_on_probed(r->exchange, p->head.system, inbox->probed_ms, r->probed, count, relay_wall_ms(r));
    if (lost)
        log_line(LOG_WARN, "bus.lost", F_ERR(EHIS_E_BUS_LOST), F_SPAN("system", p->head.system), F_U64("messages", lost));
}

static bool is_allowed(const struct reading *g, const struct parcel *p)
{
    static const uint32_t kinds[] = {[READ_LEASE] = 1u << PARCEL_BEAT | 1u << PARCEL_CLAIM, [READ_REPLY] = 1u << PARCEL_ENVELOPE | 1u << PARCEL_REPORT | 1u << PARCEL_PROBED,
                                     [READ_CALL] = 1u << PARCEL_ENVELOPE | 1u << PARCEL_PROBE, [READ_INBOX] = 1u << PARCEL_ENVELOPE | 1u << PARCEL_SKIP | 1u << PARCEL_PROBE,
                                     [READ_CURSOR] = 1u << PARCEL_CURSOR, [READ_KEY] = 1u << PARCEL_ENVELOPE, [READ_EVENT] = 1u << PARCEL_ENVELOPE | 1u << PARCEL_SKIP};
    if (g->kind == READ_EVENT && p->head.kind == PARCEL_SKIP)
        return span_eq(p->head.system, p->head.sender) && span_eq(p->head.system, identifier_prefix(g->event->service, IDENTIFIER_SYSTEM));
    return p->head.kind < 32 && (kinds[g->kind] >> p->head.kind & 1) && (!g->inbox || p->head.kind == PARCEL_ENVELOPE || span_eq(p->head.system, span_of(g->inbox->name, g->inbox->name_len)));
}

struct taking {
    struct ehis_why why;
    struct hash digest;
    struct span inbox, gateway; /* where they are known */
    bool is_done, is_recorded;  /* its offset is finished at once, else h may be gone already; by the core */
};

static ehis_err take(struct held *h, struct taking *t)
{
    struct relay *r = h->reading->relay;
    struct parcel p;
    struct exchange_report report;
    if (h->reading->inbox)
        t->inbox = span_of(h->reading->inbox->name, h->reading->inbox->name_len);
    EHIS_TRY(parcel_read(span_str(h->reading->topic), h->value, &p, &t->why));
    EHIS_TRY(verify(r, &p));
    t->digest = p.digest;
    t->gateway = p.head.gateway;
    if (!is_allowed(h->reading, &p))
        return EHIS_E_BUS_WRONG_INBOX;
    memcpy(h->gateway, p.head.gateway.p, p.head.gateway.len);
    h->gateway_len = p.head.gateway.len;
    t->is_done = true;
    switch (p.head.kind) {
    case PARCEL_ENVELOPE:
    case PARCEL_SKIP:
        t->is_done = false;
        t->is_recorded = true;
        if (h->reading->kind == READ_KEY)
            relay_event_key(h->reading);
        return take_envelope(h, &p);
    case PARCEL_REPORT:
        report = (struct exchange_report){.gateway = p.head.gateway, .recipient = p.head.system, .state = (uint8_t)p.head.state, .code = p.head.code, .ack = p.head.ack};
        memcpy(report.digest.b, p.head.digest, HASH_BYTES);
        return exchange_on_report(r->exchange, &report, relay_wall_ms(r));
    case PARCEL_PROBE: return take_probe(h, &p);
    case PARCEL_PROBED: take_probed(r, &p); return EHIS_OK;
    case PARCEL_CURSOR: return relay_on_cursor(r, &p);
    default: return relay_on_lease(r, &p, h->offset, h->broker_ms);
    }
}

static bool is_later(ehis_err err)
{
    enum ehis_err_class c = ehis_err_row(err)->class_;
    return c == EHIS_CLASS_ENVIRONMENT || c == EHIS_CLASS_FLOW || err == EHIS_E_EXCHANGE_REGISTRY_BEHIND || err == EHIS_E_NO_MEMORY;
}

/* False: the core cannot take it now; nothing behind it is offered before, so that streams and probes keep their order. */
static bool offer(struct held *h)
{
    struct reading *g = h->reading;
    struct taking t = {0};
    node_move(&g->held, &h->in_list); /* before: it may be finished during the call */
    ehis_err err = take(h, &t);
    if (err == EHIS_OK) {
        if (t.is_done)
            relay_held_finish(h);
        return true;
    }
    if (is_later(err)) {
        node_remove(&h->in_list);
        node_insert_after(&g->later, &h->in_list);
        return false;
    }
    g->relay->refused++;
    if (!t.is_recorded)
        exchange_on_junk(g->relay->exchange, t.inbox, t.gateway, err, t.why.text, relay_wall_ms(g->relay));
    dead(h, err, &t.digest);
    return true;
}

/* There is no room for it now. */
static void untaken(struct reading *g, ehis_err err, const char *text)
{
    if (g->kind == READ_EVENT)
        g->is_paused = true; /* it falls behind, and is fed again when it has room */
    else
        relay_on_watch_error(g->relay, g->watch, err, text);
}

void relay_on_record(void *ctx, struct kafka_record *record)
{
    struct relay *r = ctx;
    struct reading *g = reading_of(r, record->watch);
    if (g && g->kind == READ_FEED) {
        relay_feed(g, record);
        return;
    }
    struct held *h = g ? calloc(1, sizeof *h) : NULL;
    bool is_known = false;
    if (!h) {
        kafka_release(r->kafka, record->hold);
        if (g)
            untaken(g, EHIS_E_NO_MEMORY, "");
        return;
    }
    if (!g->has_window && is_windowed(g))
        window_init(&g->window, record->offset);
    g->has_window = is_windowed(g);
    g->at = record->offset + 1;
    ehis_err err = g->has_window ? window_begin(&g->window, record->offset, &is_known) : EHIS_OK;
    if (err != EHIS_OK || is_known || record->is_tombstone) {
        if (err == EHIS_OK && !is_known) {
            window_finish(&g->window, record->offset);
            g->is_commit_due = g->has_window;
        }
        kafka_release(r->kafka, record->hold);
        free(h);
        if (err != EHIS_OK) /* beyond the window: read again when there is room */
            untaken(g, err == EHIS_E_BUS_FULL ? err : EHIS_E_BUS_PARCEL, "an offset beyond the window");
        return;
    }
    *h = (struct held){.reading = g, .offset = record->offset, .broker_ms = record->broker_ms, .value = record->value, .hold = record->hold};
    g->held_count++;
    g->held_bytes += h->value.len;
    r->held_count++;
    r->held_bytes += h->value.len;
    if (list_is_empty(&g->later))
        (void)offer(h);
    else
        list_add(&g->later, &h->in_list);
    pace(g);
}

void relay_in_tick(struct relay *r)
{
    int64_t now = relay_mono_ms(r);
    bool is_commit = now - r->commit_ms >= RELAY_COMMIT_MS;
    if (is_commit)
        r->commit_ms = now;
    for (size_t i = 0; i < r->reading_cap; i++) {
        struct reading *g = r->readings[i];
        if (!g)
            continue;
        if (g->state == READING_RESTS && now >= g->retry_ms && !is_span_full(g))
            ask(g);
        if (is_commit && g->is_commit_due)
            commit(g);
        if (g->kind == READ_EVENT && g->is_paused)
            pace(g);
        if (list_is_empty(&g->later) || now < g->retry_ms)
            continue;
        g->retry_ms = now + RELAY_RETRY_MS;
        while (!list_is_empty(&g->later) && offer(held_of(g->later.next)))
            ;
        pace(g);
    }
}
