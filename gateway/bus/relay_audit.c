/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* The records of every group on the audit topic (SPEC 17.10). Of a group only the places of its records are kept: while no broker is there they wait in
 * the journal, whose segments stay until then (relay_needs). A message is carried when it is confirmed itself and its group's frame is. */
#include "base/log.h"
#include "gateway/bus/relay_priv.h"
#include "proto/wire/record.h"

#include <stdlib.h>

#define PART_MAX_BYTES 900000
#define IN_FLIGHT_MAX_BYTES (16 * 1024 * 1024)

static struct audit_group *group_of(struct node *n) { return container_of(n, struct audit_group, in_list); }

static void group_free(struct relay *r, struct audit_group *g)
{
    node_remove(&g->in_list);
    r->group_count--;
    free(g->pos);
    free(g);
}

static struct audit_group *group_get(struct relay *r, uint64_t group)
{
    struct audit_group *g = list_is_empty(&r->groups) ? NULL : group_of(r->groups.prev);
    if (g && g->group == group)
        return g;
    g = calloc(1, sizeof *g);
    if (!g)
        return NULL;
    g->group = group;
    node_init(&g->waiting);
    list_add(&r->groups, &g->in_list);
    r->group_count++;
    return g;
}

static ehis_err note(struct relay *r, uint64_t group, uint64_t sequence, const struct journal_pos *pos)
{
    struct audit_group *g = group_get(r, group);
    if (!g)
        return EHIS_E_NO_MEMORY;
    if (g->count == g->cap) {
        size_t cap = g->cap ? g->cap * 2 : 4;
        struct journal_pos *more = reallocarray(g->pos, cap, sizeof *more);
        if (!more)
            return EHIS_E_NO_MEMORY;
        g->pos = more;
        g->cap = cap;
    }
    g->pos[g->count++] = *pos;
    g->last_sequence = sequence;
    return EHIS_OK;
}

/* Aborts without memory, as the loop does: a record that is not told would be a hole in the log that nobody sees. */
void relay_note(struct relay *r, uint64_t group, uint64_t sequence, const struct journal_pos *pos) { EHIS_ASSERT(note(r, group, sequence, pos) == EHIS_OK); }

/* What was told already: groups whose last record is not above. */
static void forget(struct relay *r, uint64_t up_to)
{
    while (!list_is_empty(&r->groups) && group_of(r->groups.next)->last_sequence <= up_to)
        group_free(r, group_of(r->groups.next));
    r->replayed_up_to = up_to;
}

ehis_err relay_replay(struct relay *r, const struct journal_entry *e)
{
    struct record record;
    EHIS_TRY(record_read(e->record, &record, NULL));
    EHIS_TRY(note(r, e->group, record.sequence, &e->pos));
    if (record.kind == RECORD_REPLICATED)
        forget(r, record.count);
    return EHIS_OK;
}

void relay_recovered(struct relay *r)
{
    for (struct node *n = r->groups.next; n != &r->groups; n = n->next)
        group_of(n)->is_durable = true;
    exchange_on_audited(r->exchange, r->replayed_up_to);
    relay_audit_pump(r);
}

void relay_on_durable(struct relay *r, uint64_t group)
{
    for (struct node *n = r->groups.prev; n != &r->groups && !group_of(n)->is_durable; n = n->prev)
        group_of(n)->is_durable = group_of(n)->group <= group;
    relay_audit_pump(r);
}

bool relay_needs(const struct relay *r, uint64_t segment)
{
    const struct audit_group *first = list_is_empty(&r->groups) ? NULL : container_of(r->groups.next, struct audit_group, in_list);
    return first && first->pos[0].segment <= segment;
}

/* ---- frames ---- */

/* Records from *at on that fit one part. */
static size_t part_end(const struct audit_group *g, size_t at, size_t *bytes)
{
    *bytes = 0;
    for (; at < g->count && (*bytes == 0 || *bytes + 4 + g->pos[at].record_bytes <= PART_MAX_BYTES); at++)
        *bytes += 4 + g->pos[at].record_bytes;
    return at;
}

static ehis_err put_part(struct relay *r, struct audit_group *g, size_t from, size_t to, size_t bytes, struct parcel_head *h)
{
    struct journal_entry e;
    struct hash digest;
    struct out *o = NULL;
    uint8_t *payload = malloc(bytes), *p = payload;
    struct out_place at = {.topic = TOPIC_AUDIT, .lane = KAFKA_BULK, .partition = -1, .key = relay_name(r)};
    ehis_err err = payload ? EHIS_OK : EHIS_E_NO_MEMORY;
    for (size_t i = from; err == EHIS_OK && i < to; i++) {
        struct journal_pos pos = g->pos[i];
        err = r->config.read(r->config.ctx, &pos, &r->entry, &e);
        if (err != EHIS_OK)
            break;
        be_put(p, e.record.len, 4);
        memcpy(p + 4, e.record.p, e.record.len);
        p += 4 + e.record.len;
    }
    if (err == EHIS_OK) {
        hash_span(span_of(payload, bytes), &digest);
        err = relay_put(r, OUT_AUDIT, &at, h, &digest, &o);
    }
    if (err != EHIS_OK) {
        free(payload);
        return err;
    }
    o->payload = payload;
    o->payload_len = bytes;
    o->group = g;
    g->parts_open++;
    r->audit_in_flight += bytes;
    return EHIS_OK;
}

static ehis_err put_group(struct relay *r, struct audit_group *g)
{
    struct parcel_head h = {.kind = PARCEL_AUDIT, .group = g->group};
    size_t bytes, to;
    for (size_t at = 0; at < g->count; at = to, h.part_count++)
        to = part_end(g, at, &bytes);
    g->is_sent = true;
    for (size_t at = 0; at < g->count; at = to, h.part++) {
        to = part_end(g, at, &bytes);
        EHIS_TRY(put_part(r, g, at, to, bytes, &h));
    }
    return EHIS_OK;
}

void relay_audit_pump(struct relay *r)
{
    for (struct node *n = r->groups.next; n != &r->groups && r->audit_in_flight < IN_FLIGHT_MAX_BYTES; n = n->next) {
        struct audit_group *g = group_of(n);
        if (!g->is_durable)
            return;
        if (g->is_sent || g->is_done)
            continue;
        ehis_err err = put_group(r, g);
        if (err == EHIS_OK)
            continue;
        log_line(LOG_ERROR, "bus.audit", F_ERR(err), F_U64("group", g->group));
        g->has_failed = g->is_sent = g->parts_open > 0; /* else again at the next tick */
        return;
    }
}

static void tell_done(struct relay *r)
{
    uint64_t last = 0;
    while (!list_is_empty(&r->groups) && group_of(r->groups.next)->is_done) {
        last = group_of(r->groups.next)->last_sequence;
        group_free(r, group_of(r->groups.next));
    }
    if (last)
        exchange_on_audited(r->exchange, last);
    relay_audit_pump(r);
}

/* By the time when it was given, or by now, the brokers may lose it. */
static bool is_unsure(const struct relay *r, const struct out *o) { return r->is_unsafe || o->epoch != r->epoch; }

void relay_audit_sent(struct relay *r, struct out *o, ehis_err err)
{
    struct audit_group *g = o->group;
    r->audit_in_flight -= o->payload_len;
    g->has_failed |= err != EHIS_OK;
    g->is_unsure |= is_unsure(r, o);
    if (--g->parts_open > 0)
        return;
    if (g->has_failed || (g->is_unsure && !r->is_unsafe)) {
        g->has_failed = g->is_unsure = g->is_sent = false; /* the tick sends all of it again */
        return;
    }
    g->is_done = !g->is_unsure;
    while (!list_is_empty(&g->waiting))
        relay_carried(r, container_of(g->waiting.next, struct out, in_list));
    tell_done(r);
}

void relay_audit_safe(struct relay *r)
{
    for (struct node *n = r->groups.next; n != &r->groups; n = n->next)
        if (group_of(n)->is_unsure && group_of(n)->parts_open == 0)
            group_of(n)->is_unsure = group_of(n)->is_sent = false;
}

/* ---- envelopes ---- */

void relay_carried(struct relay *r, struct out *o)
{
    struct hash digest = o->digest;
    bool is_held_back = is_unsure(r, o);
    r->sent_count--;
    node_remove(&o->in_list);
    free(o);
    r->has_unsure |= is_held_back;
    if (is_held_back)
        exchange_on_unsure(r->exchange, &digest, relay_wall_ms(r));
    else
        exchange_on_carried(r->exchange, &digest, !r->config.options->is_pilot, relay_wall_ms(r));
}

/* An unsafe cluster has its frame: nothing more comes of it until the cluster is safe. */
static bool is_stuck(const struct relay *r, const struct audit_group *g) { return r->is_unsafe && g->is_unsure && g->parts_open == 0; }

void relay_audit_wait(struct relay *r, struct out *o)
{
    struct node *n = r->groups.prev;
    while (n != &r->groups && group_of(n)->group > o->group_number)
        n = n->prev;
    struct audit_group *g = n != &r->groups && group_of(n)->group == o->group_number ? group_of(n) : NULL;
    if (g && !g->is_done && !is_stuck(r, g))
        node_move(&g->waiting, &o->in_list);
    else
        relay_carried(r, o);
}

void relay_audit_fini(struct relay *r)
{
    while (!list_is_empty(&r->groups)) {
        struct audit_group *g = group_of(r->groups.next);
        while (!list_is_empty(&g->waiting)) {
            struct out *o = container_of(g->waiting.next, struct out, in_list);
            node_remove(&o->in_list);
            free(o);
        }
        group_free(r, g);
    }
}
