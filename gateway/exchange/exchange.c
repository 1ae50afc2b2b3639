/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* The core's life, its records, and what everything else is named by. */
#include "gateway/exchange/exchange_priv.h"

#include <stdlib.h>

#define MESSAGE_HEADS ((size_t)1 << 16)
#define DELIVERY_HEADS ((size_t)1 << 13)
#define NAME_HEADS ((size_t)1 << 10)
#define ENTRY_MAX_BYTES ((size_t)17 * 1024 * 1024) /* a record and the largest sealed body */

static ehis_err tables_init(struct exchange *x, const uint8_t seed[16])
{
    EHIS_TRY(table_init(&x->names, NAME_HEADS, seed));
    EHIS_TRY(table_init(&x->topics, NAME_HEADS, seed));
    EHIS_TRY(table_init(&x->sessions, NAME_HEADS, seed));
    EHIS_TRY(table_init(&x->streams, NAME_HEADS, seed));
    EHIS_TRY(table_init(&x->lanes, NAME_HEADS, seed));
    EHIS_TRY(table_init(&x->shares, NAME_HEADS, seed));
    EHIS_TRY(table_init(&x->by_digest, MESSAGE_HEADS, seed));
    EHIS_TRY(table_init(&x->by_key, MESSAGE_HEADS, seed));
    EHIS_TRY(table_init(&x->by_guest, DELIVERY_HEADS, seed));
    EHIS_TRY(table_init(&x->by_epoch, DELIVERY_HEADS, seed));
    return table_init(&x->by_delivery, DELIVERY_HEADS, seed);
}

ehis_err exchange_new(struct span gateway, const struct exchange_bounds *bounds, const struct exchange_ports *ports, struct exchange **out)
{
    EHIS_ASSERT(gateway.len <= IDENTIFIER_MAX_BYTES && bounds->attempts_max > 0);
    struct exchange *x = calloc(1, sizeof *x);
    if (!x)
        return EHIS_E_NO_MEMORY;
    x->bounds = *bounds;
    x->ports = *ports;
    x->next_sequence = 1;
    x->is_replaying = true;
    memcpy(x->gateway, gateway.p, gateway.len);
    x->gateway_bytes = (uint16_t)gateway.len;
    node_init(&x->systems);
    node_init(&x->blocked);
    node_init(&x->refusing);
    node_init(&x->visiting);
    node_init(&x->to_pump);
    node_init(&x->unsettled);
    node_init(&x->unsent);
    x->is_carried = ports->bus_done != NULL;
    x->audited_sequence = UINT64_MAX;
    pool_init(&x->messages, sizeof(struct message));
    pool_init(&x->deliveries, sizeof(struct delivery));
    buf_init(&x->record_buf, ENTRY_MAX_BYTES);
    buf_init(&x->head_buf, 2 * ENVELOPE_HEADER_MAX_BYTES);
    buf_init(&x->text_buf, ENVELOPE_HEADER_MAX_BYTES + 4096 * (IDENTIFIER_MAX_BYTES + 4)); /* CARRIED names its subscribers */
    buf_init(&x->keys_buf, ENTRY_MAX_BYTES);
    tree_init(&x->tree);
    x->wheel = calloc(WHEEL_SLOTS, sizeof *x->wheel);
    x->acks = calloc(STATEMENT_BATCH_MAX, sizeof *x->acks);
    x->leaves = calloc(STATEMENT_BATCH_MAX, sizeof *x->leaves);
    ehis_err err = x->wheel && x->acks && x->leaves ? tables_init(x, ports->seed) : EHIS_E_NO_MEMORY;
    if (err == EHIS_OK)
        err = root_cache_new(4096, &x->roots);
    if (err != EHIS_OK) {
        exchange_free(x);
        return err;
    }
    for (size_t i = 0; i < WHEEL_SLOTS; i++)
        node_init(&x->wheel[i]);
    *out = x;
    return EHIS_OK;
}

/* Messages and deliveries go with their pools; what is allocated beside them is freed here. */
static void free_streams(struct node *streams)
{
    while (!list_is_empty(streams)) {
        struct stream *st = container_of(streams->next, struct stream, in_system);
        while (!list_is_empty(&st->lanes)) {
            struct lane *l = container_of(st->lanes.next, struct lane, in_stream);
            node_remove(&l->in_stream);
            free(l);
        }
        node_remove(&st->in_system);
        free(st);
    }
}

static void free_system(struct system *s)
{
    while (!list_is_empty(&s->sessions)) {
        struct session *e = container_of(s->sessions.next, struct session, in_system);
        node_remove(&e->in_system);
        buf_fini(&e->frames);
        exchange_asked_free(e);
        free(e);
    }
    for (struct node *n = s->guests.next; n != &s->guests; n = n->next) {
        exchange_large_free(container_of(n, struct message, in_bus));
        free(container_of(n, struct message, in_bus)->guest);
    }
    free_streams(&s->streams);
    free_streams(&s->guest_streams);
    while (!list_is_empty(&s->subscriptions)) {
        struct subscriber *sub = container_of(s->subscriptions.next, struct subscriber, in_system);
        node_remove(&sub->in_system);
        free(sub);
    }
    free(s);
}

static void free_tables(struct exchange *x)
{
    for (size_t i = 0; x->by_digest.heads && i < MESSAGE_HEADS; i++)
        for (struct table_node *n = x->by_digest.heads[i]; n; n = n->next) {
            struct message *m = container_of(n, struct message, by_digest);
            exchange_large_free(m);
            if (message_is(m, IS_TRANSIENT))
                free(m->text);
        }
    for (size_t i = 0; x->names.heads && i < NAME_HEADS; i++)
        for (struct table_node *n = x->names.heads[i], *next; n; n = next) {
            struct name *name = container_of(n, struct name, by_text);
            next = n->next;
            if (name->system)
                free_system(name->system);
            free(name);
        }
    for (size_t i = 0; x->topics.heads && i < NAME_HEADS; i++)
        for (struct table_node *n = x->topics.heads[i], *next; n; n = next) {
            struct topic *t = container_of(n, struct topic, by_name);
            next = n->next;
            for (struct node *k = t->keys.next; k != &t->keys; k = k->next)
                free(message_of_stream(k)->guest);
            free(t);
        }
}

void exchange_free(struct exchange *x)
{
    if (!x)
        return;
    free_tables(x);
    exchange_shares_free(x);
    struct table *tables[] = {&x->names, &x->topics, &x->sessions, &x->streams, &x->lanes, &x->by_digest, &x->by_key, &x->by_delivery, &x->by_guest, &x->by_epoch};
    for (size_t i = 0; i < sizeof tables / sizeof *tables; i++)
        table_fini(tables[i]);
    for (size_t i = 0; i < x->pending_count; i++)
        free((void *)(uintptr_t)x->pending[(x->pending_at + i) % x->pending_cap].frame.p);
    for (size_t i = 0; i < x->segment_count; i++)
        free(x->segments[i]);
    pool_fini(&x->messages);
    pool_fini(&x->deliveries);
    buf_fini(&x->record_buf);
    buf_fini(&x->head_buf);
    buf_fini(&x->text_buf);
    buf_fini(&x->keys_buf);
    tree_fini(&x->tree);
    root_cache_free(x->roots);
    registry_unref(x->registry);
    free(x->segments);
    free(x->pending);
    free(x->wheel);
    free(x->acks);
    free(x->leaves);
    free(x);
}

void exchange_set_bounds(struct exchange *x, const struct exchange_bounds *bounds) { x->bounds = *bounds; }

void exchange_set_registry(struct exchange *x, struct registry *r, int64_t now_ms)
{
    x->now_ms = now_ms;
    registry_unref(x->registry);
    x->registry = registry_ref(r);
    root_cache_drop(x->roots);
}

/* ---- records ---- */

ehis_err exchange_append(struct exchange *x, struct record *r, const struct span *attachment, size_t parts, bool is_lazy, struct journal_pos *pos)
{
    struct journal_pos unused;
    EHIS_TRY(exchange_pend_reserve(x, 2));
    r->sequence = x->next_sequence;
    r->time_ms = (uint64_t)x->now_ms;
    EHIS_TRY(x->ports.append(x->ports.ctx, r, attachment, parts, is_lazy, pos ? pos : &unused));
    x->next_sequence++;
    x->append_group = x->ports.open_group(x->ports.ctx);
    return EHIS_OK;
}

ehis_err exchange_note(struct exchange *x, struct record *r, int64_t now_ms)
{
    x->now_ms = now_ms;
    return exchange_append(x, r, NULL, 0, false, NULL);
}

struct place exchange_place(const struct journal_pos *pos)
{
    return (struct place){(uint32_t)pos->segment, pos->offset, pos->record_bytes, pos->attachment_bytes};
}

ehis_err exchange_load(struct exchange *x, struct place place, struct record *r, struct span *attachment)
{
    struct journal_pos pos = {place.segment, place.offset, place.record_bytes, place.attachment_bytes};
    struct journal_entry e;
    EHIS_TRY(x->ports.read(x->ports.ctx, &pos, &x->record_buf, &e));
    EHIS_TRY(record_read(e.record, r, NULL));
    if (attachment)
        *attachment = e.attachment;
    return EHIS_OK;
}

/* Numbers rise, so the place is nearly always the last. */
struct segment *exchange_segment(struct exchange *x, uint64_t number)
{
    size_t at = x->segment_count;
    while (at > 0 && x->segments[at - 1]->number > number)
        at--;
    if (at > 0 && x->segments[at - 1]->number == number)
        return x->segments[at - 1];
    if (x->segment_count == x->segment_cap) {
        size_t cap = x->segment_cap ? 2 * x->segment_cap : 64;
        void *grown = realloc(x->segments, cap * sizeof *x->segments);
        if (!grown)
            return NULL;
        x->segments = grown;
        x->segment_cap = cap;
    }
    struct segment *s = calloc(1, sizeof *s);
    if (!s)
        return NULL;
    s->number = number;
    node_init(&s->messages);
    node_init(&s->streams);
    node_init(&s->subscriptions);
    memmove(x->segments + at + 1, x->segments + at, (x->segment_count - at) * sizeof *x->segments);
    x->segments[at] = s;
    x->segment_count++;
    return s;
}

/* ---- names: only what the registry or a journal of ours holds ---- */

struct name *exchange_name_find(struct exchange *x, struct span text)
{
    EHIS_ASSERT(text.len <= IDENTIFIER_MAX_BYTES);
    for (struct table_node *n = *table_head(&x->names, table_hash(&x->names, text.p, text.len)); n; n = n->next)
        if (span_eq(name_span(container_of(n, struct name, by_text)), text))
            return container_of(n, struct name, by_text);
    return NULL;
}

struct name *exchange_name(struct exchange *x, struct span text)
{
    struct name *name = exchange_name_find(x, text);
    if (!name)
        name = calloc(1, sizeof *name + text.len + 1);
    if (!name || name->len)
        return name;
    name->len = (uint16_t)text.len;
    memcpy(name->text, text.p, text.len);
    table_add(&x->names, table_hash(&x->names, text.p, text.len), &name->by_text);
    return name;
}

struct system *exchange_system(struct exchange *x, struct span id)
{
    struct name *name = exchange_name(x, id);
    if (!name || name->system)
        return name ? name->system : NULL;
    struct system *s = calloc(1, sizeof *s);
    if (!s)
        return NULL;
    s->name = name;
    node_init(&s->sessions);
    node_init(&s->streams);
    node_init(&s->subscriptions);
    node_init(&s->calls);
    node_init(&s->guest_streams);
    node_init(&s->guests);
    node_init(&s->outgoing);
    node_init(&s->lanes);
    for (size_t i = 0; i < REFUSAL_SLOTS; i++)
        node_init(&s->refusals[i].held);
    list_add(&x->systems, &s->in_all);
    return name->system = s;
}

/* ---- looking ---- */

void exchange_status(const struct exchange *x, struct exchange_status *out)
{
    *out = x->status;
    out->next_sequence = x->next_sequence;
    out->streams = x->streams.count;
    out->in_flight = x->by_delivery.count;
    for (const struct node *n = x->systems.next; n != &x->systems; n = n->next) {
        const struct system *s = container_of(n, struct system, in_all);
        out->stored_messages += s->stored_messages;
        out->known_calls += s->known_calls;
        out->stored_bytes += s->stored_bytes;
        out->subscriptions += s->subscription_count;
    }
}

static void look_older(int64_t *oldest, const struct node *list)
{
    const struct delivery *d = list_is_empty(list) ? NULL : container_of(list->next, struct delivery, in_queue);
    if (d && !d->skip && (!*oldest || d->message->since_ms < *oldest))
        *oldest = d->message->since_ms;
}

/* The first of each lane that waits, of the calls, and whatever is in flight. */
static int64_t oldest_of(const struct exchange *x, const struct system *s)
{
    int64_t oldest = 0;
    look_older(&oldest, &s->calls);
    for (const struct node *n = s->lanes.next; n != &s->lanes; n = n->next)
        look_older(&oldest, &container_of(n, struct lane, in_system)->queue);
    for (const struct node *n = x->blocked.next; n != &x->blocked; n = n->next)
        if (container_of(n, struct lane, in_blocked)->to == s)
            look_older(&oldest, &container_of(n, struct lane, in_blocked)->queue);
    for (const struct node *n = s->sessions.next; n != &s->sessions; n = n->next) {
        const struct node *flying = &container_of(n, struct session, in_system)->in_flight;
        for (const struct node *d = flying; d->next != flying; d = d->next)
            look_older(&oldest, d);
    }
    return oldest;
}

void exchange_each_inbox(const struct exchange *x, void (*each)(void *ctx, const struct exchange_inbox_status *i), void *ctx)
{
    for (const struct node *n = x->systems.next; n != &x->systems; n = n->next) {
        const struct system *s = container_of(n, struct system, in_all);
        struct exchange_inbox_status i = {name_span(s->name), s->waiting, s->waiting_bytes, s->in_flight, oldest_of(x, s), false};
        for (const struct node *e = s->sessions.next; e != &s->sessions; e = e->next)
            i.is_ready |= container_of(e, struct session, in_system)->is_ready;
        each(ctx, &i);
    }
}

bool exchange_drain(struct exchange *x)
{
    bool is_done = x->pending_count == 0;
    x->is_draining = true;
    for (const struct node *n = x->systems.next; n != &x->systems && is_done; n = n->next)
        is_done = container_of(n, struct system, in_all)->calls_waiting == 0 && container_of(n, struct system, in_all)->calls_open == 0; /* somebody waits: its answer may still come */
    return is_done;
}
