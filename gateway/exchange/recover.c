/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* The state out of the journal: replay of its records in order, and carrying ahead what is unfinished in a segment that is to be freed. A
 * replay may begin at any segment whose earlier ones were carried; what stands twice, in its old and in its new place, is taken once. */
#include "gateway/exchange/exchange_priv.h"

#include <stdlib.h>

enum { CARRIED_REPLIED = 1, CARRIED_OVER = 2, CARRIED_CONFIRMED = 4, CARRIED_REPLICATED = 8 }; /* in `count` of a CARRIED record */
#define CARRY_BYTES (4 * 1024 * 1024)           /* of messages in one call: so much, and then no more */
#define SKIP_MARK '!'                           /* before a name in `pending`: a skip is owed, no delivery */

static struct hash digest_of(const struct record *r)
{
    struct hash d;
    memcpy(d.b, r->digest, HASH_BYTES);
    return d;
}

static void link_answer(struct exchange *x, struct message *m, const struct envelope_header *h)
{
    struct envelope_header other = {.kind = KIND_RESPONSE};
    if (m->kind == KIND_REQUEST && message_is(m, IS_WAITING) && message_is(m, IS_REPLIED)) {
        memcpy(other.exchange_id, m->id, sizeof other.exchange_id);
        m->peer = exchange_message_by_key(x, m->to, &other);
        if (m->peer)
            m->peer->peer = m;
    }
    if (m->kind == KIND_RESPONSE && h->in_reply_to.len == HASH_BYTES) {
        struct hash asked;
        memcpy(asked.b, h->in_reply_to.p, HASH_BYTES);
        struct message *q = exchange_message_by_digest(x, &asked);
        if (q && q->kind == KIND_REQUEST && !q->peer) {
            q->durable = message_is(q, IS_WAITING) && q->state == STATE_ACCEPTED ? STATE_DELIVERED : q->durable;
            exchange_message_answer(x, q, m); /* may drop it */
        }
    }
}

static struct message *remember(struct exchange *x, const struct journal_entry *e, const struct record *r, struct envelope_header *h, bool is_refused)
{
    struct hash digest = digest_of(r);
    bool needs_reply;
    struct message *old = exchange_message_by_digest(x, &digest);
    if (old)
        exchange_message_drop(x, old); /* its stream was forgotten in between */
    struct message *m = exchange_message_new(x, h, &digest, r->sealed_bytes, is_refused, NULL);
    if (!m)
        return NULL;
    exchange_message_stand(x, m, &e->pos);
    if (e->attachment.len) { /* else its body is needed no longer */
        exchange_large_place(m, r->blob_partition, r->blob_offset);
        exchange_large_keep(x, m);
    } else {
        exchange_large_free(m);
    }
    m->state = m->durable = STATE_ACCEPTED;
    m->registry_version = r->registry_version;
    m->sequence = r->sequence;
    m->gateway = r->gateway.len ? exchange_name(x, r->gateway) : NULL;
    m->since_ms = (int64_t)(r->kind == RECORD_CARRIED ? r->accepted_ms : r->time_ms);
    if (m->kind == KIND_REQUEST && !is_refused) {
        m->largest_bytes = exchange_largest_response(x, h, &needs_reply);
        m->flags |= needs_reply && !message_is(m, IS_WAITING) && !x->is_carried ? NEEDS_REPLY : 0;
    }
    if (message_is_numbered(m) && !node_is_linked(&m->stream->in_segment))
        exchange_stream_stand(x, m->stream, e->pos.segment);
    return m;
}

static ehis_err replay_refused(struct exchange *x, const struct journal_entry *e, const struct record *r, struct ehis_why *why)
{
    struct envelope_header h;
    if (r->state != STATE_REFUSED)
        return EHIS_OK; /* nothing was remembered */
    EHIS_TRY(envelope_header_read(r->header, &h, why));
    struct message *m = remember(x, e, r, &h, true);
    if (!m)
        return EHIS_E_NO_MEMORY;
    exchange_refused(x, m, r->count ? (uint32_t)r->count : r->code, (int64_t)r->time_ms, 0);
    m->durable = m->state;
    return EHIS_OK;
}

/* Deliveries and skips that a carried message still has. */
static ehis_err replay_pending(struct exchange *x, struct message *m, const struct record *r)
{
    struct span name;
    for (size_t at = 0; record_pending_next(r, &at, &name);) {
        bool is_skip = name.len && name.p[0] == SKIP_MARK;
        struct system *to = exchange_system(x, is_skip ? span_of(name.p + 1, name.len - 1) : name);
        struct lane *l = to && message_is_numbered(m) ? exchange_lane(x, m->stream, to) : NULL;
        struct delivery *d = l ? exchange_delivery_new(x, m, to, l) : NULL;
        if (!d)
            return EHIS_E_NO_MEMORY;
        d->strikes = (uint8_t)r->attempt;
        if (is_skip)
            exchange_delivery_skip(x, d, m->state > STATE_REPLICATED ? m->state : message_is(m, IS_OVER) ? STATE_EXPIRED : STATE_FAILED, 0);
    }
    if (m->kind == KIND_EVENT)
        exchange_message_reserve(x, m);
    return EHIS_OK;
}

static ehis_err replay_accepted(struct exchange *x, const struct journal_entry *e, const struct record *r, struct ehis_why *why)
{
    struct envelope_header h;
    EHIS_TRY(envelope_header_read(r->header, &h, why));
    struct message *m = remember(x, e, r, &h, false);
    if (!m)
        return EHIS_E_NO_MEMORY;
    exchange_admitted(x, m, NULL, 0);
    if (message_is_numbered(m))
        m->stream->has_relation = true;
    exchange_unsent_add(x, m);
    link_answer(x, m, &h);
    if (!exchange_ends_by_delivery(x, m))
        return EHIS_OK;
    EHIS_TRY(replay_pending(x, m, r));
    if (!m->deliveries)
        exchange_message_close(x, m);
    return EHIS_OK;
}

static ehis_err replay_carried(struct exchange *x, const struct journal_entry *e, const struct record *r, struct ehis_why *why)
{
    struct envelope_header h;
    struct hash digest = digest_of(r);
    struct message *m = exchange_message_by_digest(x, &digest);
    if (m) { /* its old place is still there */
        exchange_message_stand(x, m, &e->pos);
        if (message_is(m, HAS_ACK))
            m->final = m->home;
        return EHIS_OK;
    }
    EHIS_TRY(envelope_header_read(r->header, &h, why));
    m = remember(x, e, r, &h, r->state == STATE_REFUSED);
    if (!m)
        return EHIS_E_NO_MEMORY;
    m->state = m->durable = (uint8_t)r->state;
    m->code = r->code;
    if (message_is_numbered(m))
        m->stream->has_relation |= m->state != STATE_REFUSED;
    m->flags |= r->count & CARRIED_REPLIED ? IS_REPLIED : 0;
    m->flags |= r->count & CARRIED_OVER ? IS_OVER : 0;
    if (r->ack.len) {
        m->final = m->home;
        m->flags |= HAS_ACK;
    }
    bool is_open = e->attachment.len && m->state == STATE_ACCEPTED && !(m->kind == KIND_RESPONSE && message_is(m, IS_WAITING));
    if (is_open)
        exchange_message_open(x, m);
    m->flags |= r->count & CARRIED_CONFIRMED ? IS_SENT | IS_CARRIED : 0;
    m->flags |= r->count & CARRIED_REPLICATED ? IS_REPLICATED : 0;
    exchange_unsent_add(x, m);
    EHIS_TRY(replay_pending(x, m, r));
    link_answer(x, m, &h);
    exchange_message_schedule(x, m);
    exchange_message_settle(x, m);
    return EHIS_OK;
}

static void replay_end(struct exchange *x, const struct journal_entry *e, const struct record *r)
{
    struct hash digest = digest_of(r);
    struct message *m = exchange_message_by_digest(x, &digest);
    const struct name *to = r->system.len ? exchange_name_find(x, r->system) : NULL;
    struct delivery *d = m && to && to->system ? exchange_delivery_of(m, to->system) : NULL;
    if (!m || m->state != STATE_ACCEPTED || (m->kind == KIND_EVENT && r->system.len && !d))
        return;
    exchange_finished(x, m, d, r->kind, r->count ? (uint32_t)r->count : r->code, (int64_t)r->time_ms);
    m->durable = m->state;
    if (r->gateway.len)
        m->flags |= IS_SENT;
    else if (x->is_carried && r->kind == RECORD_FAILED) /* here: its recipient may not know */
        m->flags &= (uint16_t)~(IS_SENT | IS_CARRIED);
    if (r->ack.len && m->kind != KIND_EVENT) {
        m->final = exchange_place(&e->pos);
        m->flags |= HAS_ACK;
    }
    exchange_message_settle(x, m);
}

/* A delivery was given back; or, in a STREAM record, a skip was taken. */
static void replay_delivery(struct exchange *x, const struct record *r)
{
    struct hash digest = digest_of(r);
    struct message *m = exchange_message_by_digest(x, &digest);
    const struct name *to = exchange_name_find(x, r->system);
    struct delivery *d = m && to && to->system ? exchange_delivery_of(m, to->system) : NULL;
    if (d && r->kind == RECORD_ATTEMPTED)
        d->strikes = (uint8_t)r->attempt;
    if (d && r->kind == RECORD_STREAM && d->skip) {
        exchange_delivery_drop(x, d);
        exchange_message_settle(x, m);
    }
}

static ehis_err replay_stream(struct exchange *x, const struct journal_entry *e, const struct record *r)
{
    if (r->system.len) {
        replay_delivery(x, r);
        return EHIS_OK;
    }
    struct system *sender = exchange_system(x, r->sender);
    if (!sender || r->stream.len != STREAM_BYTES)
        return sender ? EHIS_E_EXCHANGE_REPLAY : EHIS_E_NO_MEMORY;
    struct stream *st = exchange_stream_find(x, sender, r->stream.p, false);
    if (r->kind == RECORD_SETTLED) {
        if (st)
            exchange_stream_settle(x, st, r->number);
        return EHIS_OK;
    }
    if (!st)
        st = exchange_stream_new(x, sender, r->stream.p, r->service, r->event, false);
    if (!st)
        return EHIS_E_NO_MEMORY;
    if (r->number > st->expected)
        st->expected = r->number;
    struct span name;
    for (size_t at = 0; record_pending_next(r, &at, &name);) {
        struct system *to = exchange_system(x, name);
        struct lane *l = to ? exchange_lane(x, st, to) : NULL;
        if (!l)
            return EHIS_E_NO_MEMORY;
        l->has_relation = true;
    }
    exchange_stream_stand(x, st, e->pos.segment);
    return EHIS_OK;
}

static ehis_err replay_subscription(struct exchange *x, const struct journal_entry *e, const struct record *r)
{
    if (x->is_carried)
        return EHIS_OK; /* the bus keeps them */
    struct system *s = exchange_system(x, r->system);
    struct topic *t = exchange_topic(x, r->service, r->event, true);
    if (!s || !t)
        return EHIS_E_NO_MEMORY;
    if (r->kind != RECORD_UNSUBSCRIBED)
        return exchange_subscribe(x, t, s, e->pos.segment);
    struct subscriber *sub = exchange_subscriber(t, s);
    if (sub)
        exchange_unsubscribe(x, sub);
    return EHIS_OK;
}

ehis_err exchange_replay(struct exchange *x, const struct journal_entry *e, struct ehis_why *why)
{
    struct record r;
    EHIS_ASSERT(x->is_replaying);
    EHIS_TRY(record_read(e->record, &r, why));
    if (x->has_replayed && r.sequence != x->next_sequence)
        return ehis_fail(why, EHIS_E_EXCHANGE_REPLAY, "record %llu where %llu should be", (unsigned long long)r.sequence, (unsigned long long)x->next_sequence);
    x->has_replayed = true;
    x->next_sequence = r.sequence + 1;
    if ((int64_t)r.time_ms > x->latest_ms)
        x->latest_ms = (int64_t)r.time_ms;
    switch (r.kind) {
    case RECORD_ACCEPTED:
        return replay_accepted(x, e, &r, why);
    case RECORD_REFUSED:
        return replay_refused(x, e, &r, why);
    case RECORD_CARRIED:
        return replay_carried(x, e, &r, why);
    case RECORD_DELIVERED:
    case RECORD_FAILED:
    case RECORD_EXPIRED:
        replay_end(x, e, &r);
        return EHIS_OK;
    case RECORD_REPLICATED:
        exchange_replay_replicated(x, r.count, r.state == STATE_REPLICATED);
        return EHIS_OK;
    case RECORD_ATTEMPTED:
        replay_delivery(x, &r);
        return EHIS_OK;
    case RECORD_STREAM:
    case RECORD_SETTLED:
        return replay_stream(x, e, &r);
    case RECORD_SUBSCRIBED:
    case RECORD_UNSUBSCRIBED:
    case RECORD_SUBSCRIPTION:
        return replay_subscription(x, e, &r);
    default:
        return EHIS_OK;
    }
}

/* Requests that somebody waits for are not passed on by themselves: their providers' sessions are gone, and the caller asks again. */
void exchange_recovered(struct exchange *x, int64_t now_ms)
{
    x->now_ms = now_ms;
    x->is_replaying = false;
    for (size_t i = 0; i < x->segment_count; i++)
        for (struct node *n = x->segments[i]->messages.next; n != &x->segments[i]->messages; n = n->next) {
            struct message *m = container_of(n, struct message, in_segment);
            if (x->is_carried && message_is_numbered(m))
                exchange_skips_to_bus(x, m); /* whether they were sent is not known */
            if (m->state != STATE_ACCEPTED || !message_is(m, IS_OPEN) || m->kind == KIND_KEY)
                continue;
            if (x->is_carried) {
                m->flags |= m->kind == KIND_REQUEST && message_is(m, IS_WAITING) ? IS_SENT : 0; /* its caller asks again, or has gone */
                continue;
            }
            if (message_is(m, IS_WAITING)) {
                while (m->deliveries)
                    exchange_delivery_drop(x, m->deliveries);
                m->flags |= IS_ARRIVED;
            } else {
                exchange_to_bus(x, m, NULL);
            }
        }
    exchange_send_unsent(x);
    exchange_pump(x);
}

/* ---- carry ---- */

static ehis_err pending_of(struct exchange *x, const struct message *m, struct span *out)
{
    buf_clear(&x->text_buf);
    for (const struct delivery *d = m->deliveries; d; d = d->next) {
        char name[1 + IDENTIFIER_MAX_BYTES];
        size_t at = d->skip ? 1 : 0;
        if (!d->lane)
            continue;
        name[0] = SKIP_MARK;
        memcpy(name + at, d->to->name->text, d->to->name->len);
        EHIS_TRY(record_pending_put(span_of(name, at + d->to->name->len), &x->text_buf));
    }
    *out = buf_span(&x->text_buf);
    return EHIS_OK;
}

static ehis_err carry_message(struct exchange *x, struct message *m)
{
    struct record r;
    struct span sealed, ack = {0};
    struct journal_pos pos;
    buf_clear(&x->keys_buf);
    if (message_is(m, HAS_ACK)) {
        EHIS_TRY(exchange_load(x, m->final, &r, NULL));
        EHIS_TRY(buf_put_span(&x->keys_buf, r.ack));
        ack = buf_span(&x->keys_buf);
    }
    EHIS_TRY(exchange_load(x, m->home, &r, &sealed));
    bool is_answer = m->kind == KIND_RESPONSE && message_is(m, IS_WAITING);
    bool has_body = message_is(m, IS_OPEN) || (is_answer && x->now_ms < m->expires_ms);
    r.kind = RECORD_CARRIED;
    r.state = m->state;
    r.code = m->code;
    r.ack = ack;
    r.accepted_ms = (uint64_t)m->since_ms;
    r.attempt = m->deliveries ? m->deliveries->strikes : 0;
    r.count = (message_is(m, IS_REPLIED) ? CARRIED_REPLIED : 0) | (message_is(m, IS_OVER) ? CARRIED_OVER : 0) |
              (message_is(m, IS_CARRIED) ? CARRIED_CONFIRMED : 0) | (message_is(m, IS_REPLICATED) ? CARRIED_REPLICATED : 0);
    EHIS_TRY(pending_of(x, m, &r.pending));
    EHIS_TRY(exchange_append(x, &r, &sealed, has_body ? 1 : 0, false, &pos));
    exchange_message_stand(x, m, &pos);
    if (message_is(m, HAS_ACK))
        m->final = m->home;
    return EHIS_OK;
}

static ehis_err carry_subscriber(struct exchange *x, struct subscriber *sub)
{
    struct record r = {.kind = RECORD_SUBSCRIPTION, .system = name_span(sub->system->name), .service = name_span(sub->topic->service),
                       .event = topic_event(sub->topic)};
    struct journal_pos pos;
    EHIS_TRY(exchange_append(x, &r, NULL, 0, false, &pos));
    return exchange_subscribe(x, sub->topic, sub->system, pos.segment);
}

static ehis_err carry_next(struct exchange *x, struct segment *s, uint64_t *bytes)
{
    if (!list_is_empty(&s->subscriptions))
        return carry_subscriber(x, container_of(s->subscriptions.next, struct subscriber, in_segment));
    if (!list_is_empty(&s->streams))
        return exchange_stream_record(x, container_of(s->streams.next, struct stream, in_segment));
    struct message *m = container_of(s->messages.next, struct message, in_segment);
    *bytes += m->live_bytes;
    return carry_message(x, m);
}

bool exchange_carry(struct exchange *x, uint64_t segment, size_t budget, int64_t now_ms)
{
    size_t at = 0;
    uint64_t bytes = 0;
    x->now_ms = now_ms;
    while (at < x->segment_count && x->segments[at]->number != segment)
        at++;
    if (at < x->segment_count) {
        struct segment *s = x->segments[at];
        while (!list_is_empty(&s->subscriptions) || !list_is_empty(&s->streams) || !list_is_empty(&s->messages)) {
            if (budget-- == 0 || bytes >= CARRY_BYTES)
                return false;
            if (carry_next(x, s, &bytes) != EHIS_OK)
                return false;
        }
        x->carry_group = x->append_group; /* what moved, and what let go of the rest */
        free(s);
        memmove(x->segments + at, x->segments + at + 1, (x->segment_count - at - 1) * sizeof *x->segments);
        x->segment_count--;
    }
    return x->durable_group >= x->carry_group;
}
