/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* What was accepted here and is on its way over a bus that carries (SPEC 17): confirmed, reported, lost. */
#include "gateway/exchange/exchange_priv.h"

#include <stdlib.h>

#define PROBE_AFTER_MS 10000 /* on its way for so long: its recipient's gateway is asked */

static bool arrive(struct exchange *x, struct message *m)
{
    if (m->state != STATE_ACCEPTED || m->durable != STATE_ACCEPTED || !message_is(m, IS_OPEN) || message_is(m, IS_ARRIVED))
        return false; /* finished, here already, or not sent yet */
    m->flags |= IS_ARRIVED;
    for (struct delivery *d = m->deliveries; d; d = d->next)
        exchange_delivery_queue(x, d);
    return true;
}

/* A number that its recipient does not get: it is told. */
static bool is_passed(const struct message *m)
{
    bool is_unsent_end = (m->state == STATE_EXPIRED || m->state == STATE_FAILED) && !message_is(m, IS_SENT);
    return message_is_numbered(m) && (m->state == STATE_REFUSED || is_unsent_end);
}

static void wait_for_bus(struct exchange *x, struct message *m)
{
    if (!x->is_carried) {
        exchange_message_schedule(x, m); /* offered again when it is due */
        return;
    }
    x->is_bus_full = true;
    if (!node_is_linked(&m->in_bus)) /* a skip */
        list_add(&x->unsent, &m->in_bus);
}

void exchange_to_bus(struct exchange *x, struct message *m, struct name *gateway)
{
    bool is_here = false, is_skip = is_passed(m);
    struct exchange_item item = {.digest = m->digest, .group = m->group, .stream = message_is_numbered(m) ? m->stream->id : NULL,
                                 .accepted_ms = m->since_ms, .registry_version = m->registry_version};
    struct exchange_skip skip = {.sender = name_span(m->sender->name), .stream = item.stream, .number = m->number, .digest = m->digest, .state = m->state};
    if (is_skip) {
        item.skip = &skip;
        item.recipient = skip.recipient = m->stream->to ? name_span(m->stream->to->name) : stream_recipient(m->stream);
        item.event = stream_event(m->stream);
    } else {
        item.pos = (struct journal_pos){m->home.segment, m->home.offset, m->home.record_bytes, m->home.attachment_bytes};
        item.recipient = name_span(m->to ? m->to->name : m->recipient);
        item.is_key = m->kind == KIND_KEY;
        if (m->large) {
            item.blob_partition = m->large->partition;
            item.blob_offset = m->large->offset;
        }
        if (m->kind == KIND_EVENT || item.is_key)
            item.event = topic_event(m->topic);
        if (gateway || m->gateway)
            item.gateway = name_span(gateway ? gateway : m->gateway);
    }
    if ((x->is_bus_full && item.stream) || x->ports.to_bus(x->ports.ctx, &item, &is_here) != EHIS_OK) {
        wait_for_bus(x, m);
        return;
    }
    m->flags |= IS_SENT;
    if (is_here)
        arrive(x, m);
}

static bool is_skip_to_send(const struct message *m) { return m->state == STATE_REFUSED && !message_is(m, IS_SENT) && !node_is_linked(&m->in_bus); }

/* Refused numbers go over the bus too, once something of their stream was accepted: those before this one first. */
void exchange_skips_to_bus(struct exchange *x, struct message *m)
{
    struct stream *st = m->stream;
    struct node *n = &m->in_stream;
    st->has_relation |= m->state != STATE_REFUSED;
    if (!st->has_relation)
        return;
    while (n->prev != &st->messages && is_skip_to_send(message_of_stream(n->prev)))
        n = n->prev;
    for (; n != &m->in_stream; n = n->next)
        exchange_to_bus(x, message_of_stream(n), NULL);
    if (is_passed(m) && !message_is(m, IS_SENT))
        exchange_to_bus(x, m, NULL);
}

void exchange_unsent_add(struct exchange *x, struct message *m)
{
    bool is_answer = m->kind == KIND_RESPONSE && message_is(m, IS_WAITING);
    if (!x->is_carried || (is_answer ? !m->gateway : !message_is(m, IS_OPEN)))
        return;
    if (!message_is(m, IS_CARRIED))
        node_move(&x->unsent, &m->in_bus);
    else if (m->to && !is_answer)
        node_move(&m->to->outgoing, &m->in_bus);
}

static void confirmed(struct exchange *x, struct message *m, bool is_replicated)
{
    x->is_replicated = is_replicated;
    m->flags |= IS_SENT | IS_CARRIED | (is_replicated ? IS_REPLICATED : 0);
    m->carried_ms = x->now_ms;
    node_remove(&m->in_bus);
    exchange_unsent_add(x, m);
}

/* Events are the broker's from then on. */
void exchange_on_carried(struct exchange *x, const struct hash *digest, bool is_replicated, int64_t now_ms)
{
    struct message *m = exchange_message_by_digest(x, digest);
    x->now_ms = now_ms;
    if (!m || m->state != STATE_ACCEPTED || message_is(m, IS_CARRIED))
        return;
    confirmed(x, m, is_replicated);
    if (m->kind == KIND_EVENT)
        exchange_message_close(x, m);
    if (is_replicated && (message_is_numbered(m) || m->kind == KIND_KEY))
        exchange_owe(x, m);
    exchange_message_schedule(x, m);
    exchange_message_settle(x, m);
}

/* One that was never confirmed keeps its place in unsent: whatever stands before the first of these is noted as replicated. */
static void again(struct exchange *x, struct message *m)
{
    bool was_carried = message_is(m, IS_CARRIED);
    m->flags &= (uint16_t)~(IS_SENT | IS_CARRIED | IS_UNSURE);
    if (was_carried) {
        node_remove(&m->in_bus);
        exchange_unsent_add(x, m);
    }
    exchange_to_bus(x, m, NULL);
}

void exchange_on_lost(struct exchange *x, const struct hash *digest, int64_t now_ms)
{
    struct message *m = exchange_message_by_digest(x, digest);
    x->now_ms = now_ms;
    if (!m || m->durable != m->state || message_is(m, IS_CARRIED))
        return;
    if (m->state == STATE_ACCEPTED || (message_is_numbered(m) && m->state != STATE_DELIVERED)) /* or its skip */
        again(x, m);
}

/* What somebody waits for is never called replicated, and not sent twice. */
void exchange_on_unsure(struct exchange *x, const struct hash *digest, int64_t now_ms)
{
    struct message *m = exchange_message_by_digest(x, digest);
    x->now_ms = now_ms;
    if (!m || m->state != STATE_ACCEPTED || message_is(m, IS_CARRIED | IS_WAITING))
        return;
    m->flags |= IS_UNSURE;
    m->carried_ms = now_ms;
    x->has_unsure = true;
}

void exchange_on_safe(struct exchange *x, int64_t now_ms)
{
    x->now_ms = now_ms;
    x->has_unsure = false;
    for (struct node *n = x->unsent.next; n != &x->unsent; n = n->next) {
        struct message *m = container_of(n, struct message, in_bus);
        if (message_is(m, IS_UNSURE) && m->state == STATE_ACCEPTED && m->durable == STATE_ACCEPTED)
            m->flags &= (uint16_t)~(IS_SENT | IS_UNSURE);
    }
    exchange_send_unsent(x);
}

void exchange_send_unsent(struct exchange *x)
{
    x->is_bus_full = false;
    for (struct node *n = x->unsent.next, *next; n != &x->unsent && !x->is_bus_full; n = next) {
        struct message *m = container_of(n, struct message, in_bus);
        next = n->next;
        if (message_is(m, IS_SENT) || m->durable != m->state)
            continue;
        exchange_to_bus(x, m, NULL);
        if (m->state == STATE_ACCEPTED || !message_is(m, IS_SENT))
            continue;
        node_remove(&m->in_bus); /* a skip */
        exchange_message_settle(x, m);
    }
}

void exchange_replay_replicated(struct exchange *x, uint64_t up_to, bool is_replicated)
{
    while (!list_is_empty(&x->unsent)) {
        struct message *m = container_of(x->unsent.next, struct message, in_bus);
        if (m->sequence > up_to)
            break;
        confirmed(x, m, is_replicated);
        if (m->kind == KIND_EVENT)
            exchange_message_close(x, m);
    }
    x->carried_sequence = up_to;
}

void exchange_note_replicated(struct exchange *x)
{
    const struct node *first = x->unsent.next;
    while (first != &x->unsent && container_of(first, const struct message, in_bus)->state != STATE_ACCEPTED)
        first = first->next;
    bool is_all = first == &x->unsent;
    uint64_t up_to = is_all ? x->next_sequence - 1 : container_of(first, const struct message, in_bus)->sequence - 1;
    up_to = up_to < x->audited_sequence ? up_to : x->audited_sequence;
    struct record r = {.kind = RECORD_REPLICATED, .count = up_to, .state = x->is_replicated ? STATE_REPLICATED : STATE_ACCEPTED};
    if (up_to <= x->carried_sequence + is_all) /* its own record moves it by one */
        return;
    if (exchange_append(x, &r, NULL, 0, true, NULL) == EHIS_OK)
        x->carried_sequence = up_to;
}

void exchange_on_audited(struct exchange *x, uint64_t sequence) { x->audited_sequence = sequence; }

ehis_err exchange_on_report(struct exchange *x, const struct exchange_report *r, int64_t now_ms)
{
    struct message *m = exchange_message_by_digest(x, &r->digest);
    struct ack a;
    x->now_ms = now_ms;
    if (!m || m->state != STATE_ACCEPTED || !message_is(m, IS_OPEN) || m->kind == KIND_EVENT)
        return EHIS_OK; /* ended already, by this gateway or another */
    if (!m->to || !span_eq(name_span(m->to->name), r->recipient))
        return EHIS_E_BUS_WRONG_INBOX;
    if (r->state == STATE_DELIVERED && message_is(m, IS_WAITING))
        return EHIS_E_BUS_PARCEL; /* its response says so */
    if (r->ack.len || r->state == STATE_DELIVERED)
        EHIS_TRY(exchange_verify_acknowledgement(x, m->to, &m->digest, r->ack, &a));
    if (r->ack.len && (a.outcome == OUTCOME_DONE) != (r->state == STATE_DELIVERED))
        return EHIS_E_BUS_PARCEL;
    uint32_t kind = r->state == STATE_DELIVERED ? RECORD_DELIVERED : r->state == STATE_EXPIRED ? RECORD_EXPIRED : RECORD_FAILED;
    return exchange_finish_by(x, m, kind, r);
}

void exchange_on_unreachable(struct exchange *x, struct span system, int64_t now_ms)
{
    struct name *name = exchange_name_find(x, system);
    struct system *s = name ? name->system : NULL;
    x->now_ms = now_ms;
    if (!s)
        return;
    struct node *lists[] = {&s->outgoing, &x->unsent};
    for (size_t i = 0; i < 2; i++)
        for (struct node *n = lists[i]->next, *next; n != lists[i]; n = next) {
            struct message *m = container_of(n, struct message, in_bus);
            next = n->next;
            if (m->to != s || m->kind != KIND_REQUEST || !message_is(m, IS_WAITING) || m->durable != STATE_ACCEPTED || m->state != STATE_ACCEPTED)
                continue;
            ehis_err err = exchange_finish(x, m, NULL, RECORD_FAILED, EHIS_E_EXCHANGE_PROVIDER_GONE, span_of(NULL, 0), NULL);
            (void)err; /* it expires */
        }
}

static void probe_for(struct exchange *x, const struct message *m)
{
    struct system *s = m->to;
    if (x->now_ms - m->carried_ms < PROBE_AFTER_MS || (s->probed_ms && x->now_ms >= s->probed_ms && x->now_ms - s->probed_ms < PROBE_AFTER_MS))
        return;
    s->probed_ms = x->now_ms;
    x->ports.probe(x->ports.ctx, name_span(s->name));
}

static bool is_unsure_of(const struct message *m, const struct system *s) { return message_is(m, IS_UNSURE) && message_is_numbered(m) && m->to == s && m->state == STATE_ACCEPTED; }

void exchange_probe(struct exchange *x)
{
    for (struct node *n = x->systems.next; n != &x->systems; n = n->next) {
        const struct system *s = container_of(n, struct system, in_all);
        if (!list_is_empty(&s->outgoing))
            probe_for(x, container_of(s->outgoing.next, struct message, in_bus));
    }
    for (struct node *n = x->unsent.next; n != &x->unsent && x->has_unsure; n = n->next) {
        const struct message *m = container_of(n, struct message, in_bus);
        if (m->to && is_unsure_of(m, m->to))
            probe_for(x, m);
    }
}

static int compare(const void *a, const void *b) { return memcmp(a, b, HASH_BYTES); }

/* A key that counts no more: whoever reads it refuses it, however often. */
static ehis_err verify_again(struct exchange *x, const struct message *m)
{
    struct submission u = {.digest = m->digest};
    struct record r;
    EHIS_TRY(exchange_load(x, m->home, &r, NULL));
    EHIS_TRY(envelope_header_read(r.header, &u.header, NULL));
    EHIS_TRY(envelope_signature_read(r.signature, &u.envelope.signature, NULL));
    return exchange_verify(x, &u);
}

static bool lose(struct exchange *x, struct message *m)
{
    ehis_err err = verify_again(x, m);
    if (err != EHIS_OK && err != EHIS_E_KEY_NOT_YET && ehis_err_row(err)->class_ == EHIS_CLASS_PEER) {
        if (exchange_finish(x, m, NULL, RECORD_FAILED, (uint32_t)err, span_of(NULL, 0), NULL) == EHIS_OK) /* else at the next probe */
            m->flags &= (uint16_t)~(IS_SENT | IS_CARRIED);                                               /* its skip goes now */
        return false;
    }
    struct record r = {.kind = RECORD_LOST, .system = name_span(m->to->name), .sender = name_span(m->sender->name)};
    memcpy(r.digest, m->digest.b, HASH_BYTES);
    if (exchange_append(x, &r, NULL, 0, true, NULL) != EHIS_OK)
        return false;
    again(x, m);
    return true;
}

/* What the recipient's gateway held when it came to the probe. */
struct probed {
    int64_t asked_ms;
    struct hash *held; /* sorted */
    size_t count;
};

static bool lose_unless_held(struct exchange *x, struct message *m, const struct probed *p)
{
    bool is_held = p->count && bsearch(&m->digest, p->held, p->count, sizeof *p->held, compare);
    return m->carried_ms < p->asked_ms && message_is_numbered(m) && !is_held && lose(x, m);
}

size_t exchange_on_probed(struct exchange *x, struct span system, int64_t asked_ms, const struct hash *held, size_t count, int64_t now_ms)
{
    struct name *name = exchange_name_find(x, system);
    struct system *s = name ? name->system : NULL;
    struct probed p = {.asked_ms = asked_ms, .held = s && count ? malloc(count * sizeof *held) : NULL, .count = count};
    x->now_ms = now_ms;
    size_t lost = 0;
    if (!s || (count && !p.held))
        return 0;
    if (count) {
        memcpy(p.held, held, count * sizeof *held);
        qsort(p.held, count, sizeof *held, compare);
    }
    struct node *last = s->outgoing.prev;
    for (struct node *n = s->outgoing.next, *next; n != &s->outgoing; n = next) {
        bool is_last = n == last; /* what is sent again goes behind it */
        next = n->next;
        lost += lose_unless_held(x, container_of(n, struct message, in_bus), &p);
        if (is_last)
            break;
    }
    for (struct node *n = x->unsent.next, *next; n != &x->unsent && x->has_unsure; n = next) {
        struct message *m = container_of(n, struct message, in_bus);
        next = n->next;
        if (is_unsure_of(m, s))
            lost += lose_unless_held(x, m, &p);
    }
    free(p.held);
    return lost;
}
