/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* Refusals: recorded before they are answered (R3); a flood of equal ones is recorded as one a second; BUSY is no refusal and no record. */
#include "gateway/exchange/exchange_priv.h"

#include <stdlib.h>

static uint32_t told(const struct submission *u, uint32_t code) { return u->told ? (uint32_t)u->told : code; }

ehis_err exchange_busy(struct exchange *x, const struct submission *u, ehis_err code, uint32_t retry_ms)
{
    struct exchange_flow f = {.digest = u->digest, .code = code, .retry_ms = retry_ms};
    if (u->stream) {
        f.stream = u->stream->id;
        f.expected = u->stream->expected;
    }
    x->status.busy++;
    return exchange_flow(x, u->session, &f);
}

/* This peer's count of this code in this second; NULL where more codes are refused at once than are counted. */
static struct refusals *slot_of(struct exchange *x, struct system *s, uint32_t code)
{
    struct refusals *oldest = NULL;
    for (size_t i = 0; i < REFUSAL_SLOTS; i++) {
        struct refusals *f = &s->refusals[i];
        if (f->code == code) {
            oldest = f;
            break;
        }
        if (list_is_empty(&f->held) && (!oldest || f->since_ms < oldest->since_ms))
            oldest = f;
    }
    if (!oldest)
        return NULL;
    bool is_over = x->now_ms >= oldest->since_ms + 1000 || x->now_ms < oldest->since_ms;
    if (oldest->code != code ? is_over || oldest->count == 0 : is_over && list_is_empty(&oldest->held)) {
        oldest->code = code;
        oldest->count = 0;
        oldest->since_ms = x->now_ms;
    }
    return oldest->code == code ? oldest : NULL;
}

/* Not remembered; lives until its receipt is sent. */
static struct message *transient(struct exchange *x, const struct submission *u, uint32_t code)
{
    struct message *m = pool_take(&x->messages);
    if (!m)
        return NULL;
    m->kind = KIND_REQUEST;
    m->flags = IS_TRANSIENT;
    m->digest = u->digest;
    m->session = u->session->id;
    m->sender = u->session->system;
    m->state = STATE_REFUSED;
    m->code = told(u, code);
    m->since_ms = x->now_ms;
    table_add(&x->by_digest, table_hash(&x->by_digest, m->digest.b, HASH_BYTES), &m->by_digest);
    return m;
}

static ehis_err hold(struct exchange *x, struct submission *u, struct refusals *f, uint32_t code)
{
    if (!f || x->refusals_held >= REFUSALS_HELD_MAX)
        return exchange_busy(x, u, EHIS_E_EXCHANGE_BUSY, 1000);
    struct message *m = transient(x, u, code);
    if (!m)
        return EHIS_E_NO_MEMORY;
    if (u->header.recipient.len)
        m->text = strndup((const char *)u->header.recipient.p, u->header.recipient.len);
    list_add(&f->held, &m->in_segment); /* it stands nowhere else */
    f->count++;
    x->refusals_held++;
    x->status.refused++;
    if (!node_is_linked(&u->session->system->in_refusing))
        list_add(&x->refusing, &u->session->system->in_refusing);
    return EHIS_OK;
}

/* A number that is refused is used up, and goes on as a skip to a recipient that has had something of the stream, or will. */
static void skip_refused(struct exchange *x, struct message *m, uint64_t group)
{
    struct stream *st = m->stream;
    if (x->is_carried)
        return; /* when it is durable */
    if (st->to) {
        struct lane *l = exchange_lane(x, st, st->to);
        struct delivery *d = l ? exchange_delivery_new(x, m, st->to, l) : NULL;
        if (d)
            exchange_delivery_skip(x, d, STATE_REFUSED, group);
        return;
    }
    for (struct node *n = st->lanes.next, *next; n != &st->lanes; n = next) {
        struct lane *l = container_of(n, struct lane, in_stream);
        next = n->next;
        bool is_crowded = l->to->waiting > x->bounds.stored_messages_max / 2; /* it finds a gap */
        struct delivery *d = l->has_relation && !is_crowded ? exchange_delivery_new(x, m, l->to, l) : NULL;
        if (d)
            exchange_delivery_skip(x, d, STATE_REFUSED, group);
    }
}

void exchange_refused(struct exchange *x, struct message *m, uint32_t code, int64_t at_ms, uint64_t group)
{
    m->state = STATE_REFUSED;
    m->code = code;
    m->since_ms = at_ms;
    if (message_is_numbered(m))
        skip_refused(x, m, group);
    exchange_message_schedule(x, m);
}

/* Which refusals are remembered: numbers of streams, and calls that were the sender's own word. A waiting response may be tried again. */
static bool is_remembered(const struct submission *u)
{
    return u->stream || (u->is_verified && u->header.kind != KIND_RESPONSE && !u->header.stream.len);
}

static ehis_err record_refusal(struct exchange *x, struct submission *u, uint32_t code)
{
    struct record r = {.kind = code == EHIS_E_EXCHANGE_CONFLICT ? RECORD_CONFLICT : RECORD_REFUSED, .code = code, .text = span_str(u->why.text)};
    struct journal_pos pos;
    bool is_kept = is_remembered(u);
    uint64_t expected = u->stream ? u->stream->expected : 0;
    struct message *m = is_kept ? exchange_message_new(x, &u->header, &u->digest, u->envelope.sealed.len, true, NULL) : transient(x, u, code);
    if (!m)
        return EHIS_E_NO_MEMORY;
    exchange_submission_record(x, u, &r);
    r.address = span_of(u->session->address, u->session->address_bytes);
    memcpy(r.certificate, u->session->certificate, sizeof r.certificate);
    if (is_kept)
        r.state = STATE_REFUSED; /* for recovery: this one is known from now on */
    r.count = u->told ? (uint64_t)u->told : 0; /* and so is what was answered */
    if (u->stream) {
        r.stream = u->header.stream;
        r.number = u->header.number;
    }
    ehis_err err = exchange_append(x, &r, NULL, 0, false, &pos);
    if (err != EHIS_OK) {
        exchange_message_drop(x, m);
        if (u->stream)
            u->stream->expected = expected;
        return err == EHIS_E_JOURNAL_FULL ? exchange_busy(x, u, EHIS_E_EXCHANGE_BUSY, 1000) : err;
    }
    m->session = u->session->id;
    if (is_kept) {
        exchange_message_stand(x, m, &pos);
        exchange_refused(x, m, told(u, code), x->now_ms, x->ports.open_group(x->ports.ctx));
    }
    m->home = exchange_place(&pos);
    exchange_pend(x, m, STATE_REFUSED);
    x->status.refused++;
    x->status.conflicts += code == EHIS_E_EXCHANGE_CONFLICT;
    return EHIS_OK;
}

ehis_err exchange_refuse(struct exchange *x, struct submission *u, ehis_err err)
{
    uint32_t code = (uint32_t)err;
    if (ehis_err_row(err)->class_ == EHIS_CLASS_ENVIRONMENT || ehis_err_row(err)->class_ == EHIS_CLASS_BUG)
        return err; /* ours, not the peer's */
    struct refusals *f = slot_of(x, u->session->system, code);
    if (u->stream) { /* each number needs a record of its own */
        if (!f || f->count >= REFUSED_NUMBERS_A_SECOND)
            return exchange_busy(x, u, EHIS_E_EXCHANGE_BUSY, 1000);
    } else if (!f || f->count >= REFUSALS_A_SECOND) {
        return hold(x, u, f, code);
    }
    f->count++;
    return record_refusal(x, u, code);
}

bool exchange_refusal_fits(struct exchange *x, struct system *s, uint32_t code)
{
    struct refusals *f = slot_of(x, s, code);
    return f && f->count++ < REFUSED_SUBSCRIPTIONS_A_SECOND;
}

static ehis_err record_aggregate(struct exchange *x, struct system *s, struct refusals *f)
{
    size_t count = 0;
    session_id session = container_of(f->held.next, struct message, in_segment)->session;
    for (struct node *n = f->held.next; n != &f->held; n = n->next)
        count++;
    struct record r = {.kind = RECORD_REFUSALS, .code = f->code, .count = count, .system = name_span(s->name), .session = session};
    EHIS_TRY(exchange_pend_reserve(x, count));
    EHIS_TRY(exchange_append(x, &r, NULL, 0, false, NULL));
    while (!list_is_empty(&f->held)) {
        struct message *m = container_of(f->held.next, struct message, in_segment);
        node_remove(&m->in_segment);
        x->refusals_held--;
        exchange_pend(x, m, STATE_REFUSED);
    }
    return EHIS_OK;
}

void exchange_refusals_due(struct exchange *x, struct system *s)
{
    bool is_left = false;
    for (size_t i = 0; i < REFUSAL_SLOTS; i++) {
        struct refusals *f = &s->refusals[i];
        if (list_is_empty(&f->held))
            continue;
        bool is_due = x->now_ms >= f->since_ms + 1000 || x->now_ms < f->since_ms;
        if (!is_due || record_aggregate(x, s, f) != EHIS_OK) {
            is_left = true;
            continue;
        }
        f->since_ms = x->now_ms;
        f->count = REFUSALS_A_SECOND; /* a flood goes on as aggregates until a second has been quiet */
    }
    if (!is_left)
        node_remove(&s->in_refusing);
}
