/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* Partitions that are read: where each begins, how much of it is held, which offsets are finished. What a record says is relay_take.c's; positions only say
 * where to begin again. */
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
    g->begins_at = UNKNOWN;
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

static void value_free(struct held *h)
{
    struct relay *r = h->reading->relay;
    h->reading->held_bytes -= h->value.len;
    r->held_bytes -= h->value.len;
    kafka_release(r->kafka, h->hold);
    h->hold = NULL;
    h->value = (struct span){0};
}

static void held_free(struct held *h)
{
    struct reading *g = h->reading;
    if (h->out)
        h->out->held = NULL;
    g->held_count--;
    g->relay->held_count--;
    if (h->is_dead) {
        g->dead_count--;
        g->dead_bytes -= h->value.len;
        g->relay->dead_count--;
    }
    value_free(h);
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
    begin(g, from < 0 ? 0 : from); /* one that was cut says so */
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
    int64_t *end = g->kind == READ_CURSOR ? &r->cursors_end : g->kind == READ_KEY ? &g->event->keys_end : NULL;
    if (end && *end >= 0 && (err == EHIS_E_BUS_POSITION || err == EHIS_E_BUS_NO_TOPIC))
        *end = UNKNOWN; /* it was that of another log */
    if (g->kind == READ_CURSOR && (err == EHIS_E_BUS_POSITION || err == EHIS_E_BUS_NO_TOPIC))
        relay_cursors_anew(r);
    if (g->kind == READ_FEED && err == EHIS_E_BUS_NO_TOPIC)
        relay_feed_gone(g);
    if (g->kind == READ_KEY && err == EHIS_E_BUS_NO_TOPIC)
        g->at = KAFKA_FROM_BEGIN;
    if (err != EHIS_E_BUS_POSITION)
        return;
    g->begins_at = UNKNOWN;
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
    const size_t alive = g->held_count - g->dead_count; /* when the last of them is finished, there is room again */
    bool is_full = alive >= RELAY_HELD_MAX || g->held_bytes >= RELAY_HELD_BYTES || is_span_full(g) || (r->held_bytes > RELAY_BUDGET_BYTES && alive > 0);
    bool has_room = alive <= RELAY_HELD_MAX / 2 && g->held_bytes <= RELAY_HELD_BYTES / 2 && !is_span_full(g);
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

void relay_held_dead(struct held *h)
{
    struct reading *g = h->reading;
    if (g->dead_bytes + h->value.len > RELAY_HELD_BYTES / 2 || g->relay->held_bytes > RELAY_BUDGET_BYTES / 2)
        value_free(h);
    h->is_dead = true;
    g->dead_count++;
    g->dead_bytes += h->value.len;
    g->relay->dead_count++;
    pace(g);
}

/* ---- what came ---- */

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
    if (err != EHIS_OK || is_known) {
        kafka_release(r->kafka, record->hold);
        free(h);
        if (err != EHIS_OK) /* beyond the window: read again when there is room */
            untaken(g, err == EHIS_E_BUS_FULL ? err : EHIS_E_BUS_PARCEL, "an offset beyond the window");
        return;
    }
    *h = (struct held){.reading = g, .offset = record->offset, .broker_ms = record->broker_ms, .value = record->value, .key = record->key, .hold = record->hold};
    g->held_count++;
    g->held_bytes += h->value.len;
    r->held_count++;
    r->held_bytes += h->value.len;
    if (list_is_empty(&g->later))
        (void)relay_offer(h);
    else
        list_add(&g->later, &h->in_list);
    pace(g);
}

/* Whether such a log is read whole is asked by where it ends; of the others, by what is held. */
void relay_on_end(void *ctx, uint32_t watch, int64_t offset)
{
    struct reading *g = reading_of(ctx, watch);
    if (g && (g->kind == READ_CURSOR || g->kind == READ_KEY))
        g->at = offset;
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
        while (!list_is_empty(&g->later) && relay_offer(held_of(g->later.next)))
            ;
        pace(g);
    }
}
