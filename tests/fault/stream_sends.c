/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* The sending side of the load: what it makes, when it sends that (again), what it is told of it. */
#include "tests/fault/stream_client.h"

/* ---- envelopes ---- */

/* Header and sealed body into scratch slot i; the digest into the item. */
void load_make(struct end *e, size_t i, struct item *t, enum envelope_kind kind, struct span recipient, int64_t expires_ms)
{
    static uint8_t body[1 << 19];
    struct envelope_header h = {.kind = kind, .recipient = recipient, .operation = span_str("Put"), .content_type = span_str("application/x-protobuf"),
                                .expires_ms = (uint64_t)expires_ms};
    memcpy(h.exchange_id, t->exchange_id, 16);
    if (kind == KIND_REQUEST) {
        h.purpose = span_str(t->number && t->number % REFUSE_EVERY == 0 ? "fault.other" : "fault.load");
        h.legal_basis = span_str("Fault 1");
        h.max_response_bytes = t->number ? 0 : 65536;
    } else {
        h.status = STATUS_OK;
        h.in_reply_to = span_of(t->request.b, 32);
    }
    if (t->number) {
        h.stream = span_of(e->s.stream, 16);
        h.number = t->number;
    }
    MUST(party_session_make(&e->s, i, &h, span_of(body, load.body_bytes), &t->digest));
    e->making[i] = t;
}

/* Signs the n that were made as one tree; each keeps its frame's bytes. */
void load_sign(struct end *e, size_t n)
{
    if (n == 0)
        return;
    MUST(party_session_sign(&e->s, n));
    for (size_t i = 0; i < n; i++)
        MUST(party_session_envelope(&e->s, i, n, &e->making[i]->frame));
}

/* ---- the sending side ---- */

void load_begin(struct item *t, uint64_t number)
{
    struct buf frame = t->frame;
    *t = (struct item){.frame = frame, .is_used = true, .number = number};
    uuid7_make(t->exchange_id, clock_wall_ms(&clock_system), &random_system);
}

bool load_is_time_left(void) { return load_now_us() < load.until_us; }

static void make_new(struct end *e)
{
    size_t n = 0;
    uint64_t allowed = load.rate ? (uint64_t)((load_now_us() - load.started_us) / 1000 * load.rate / 1000) : UINT64_MAX;
    while (load_is_time_left() && e->next < allowed && e->next + 1 - e->lowest < (uint64_t)load.window && n < (size_t)load.batch_max) {
        struct item *t = &e->ring[++e->next % WINDOW_MAX];
        load_begin(t, e->next);
        load_make(e, n++, t, KIND_REQUEST, span_str(e->s.peer_service), clock_wall_ms(&clock_system) + STREAM_LIFETIME_MS);
    }
    load_sign(e, n);
}

static void send_stream(struct end *e)
{
    if (load_now_us() < e->pause_us)
        return;
    if (e->cursor > e->next)
        make_new(e);
    for (; e->cursor <= e->next && link_output_bytes(e->s.link) < OUTPUT_SOFT_BYTES; e->cursor++) {
        struct item *t = &e->ring[e->cursor % WINDOW_MAX];
        t->epoch = e->epoch;
        if (!t->is_noted) {
            load_note("S %s %s %s %s %" PRIu64, e->s.p.id, load_hex(t->digest.b, 32).text, load_hex(t->exchange_id, 16).text, load_hex(e->s.stream, 16).text, t->number);
            load.sent_count++;
        }
        t->is_noted = true;
        load_send(e, FRAME_SUBMIT, &t->frame);
    }
}

static void send_calls(struct end *e)
{
    for (int i = 0; i < load.calls; i++) {
        struct item *t = &e->call[i];
        if (!t->is_used && load_is_time_left() && load_now_us() >= t->again_us) {
            load_begin(t, 0);
            load_make(e, 0, t, KIND_REQUEST, span_str(e->s.peer_service), clock_wall_ms(&clock_system) + CALL_LIFETIME_MS);
            load_sign(e, 1);
            load_note("Q %s %s %s", e->s.p.id, load_hex(t->digest.b, 32).text, load_hex(t->exchange_id, 16).text);
            t->again_us = 1;
        }
        if (!t->is_used || !t->again_us || load_now_us() < t->again_us)
            continue;
        t->again_us = 0;
        load_send(e, FRAME_SUBMIT, &t->frame);
    }
}

static void on_send_due(void *arg)
{
    struct end *e = arg;
    e->is_send_due = false;
    if (!e->is_ready || !e->s.link)
        return;
    if (e->s.is_sender && e->cursor) {
        send_stream(e);
        send_calls(e);
    }
    for (size_t i = 0; i < KEPT_MAX; i++) {
        struct item *t = &e->kept[i];
        if (t->is_used && t->again_us && load_now_us() >= t->again_us) {
            t->again_us = 0;
            load_send(e, FRAME_SUBMIT, &t->frame);
        }
    }
}

void load_want_send(struct end *e)
{
    if (!e->is_send_due && e->is_ready) {
        e->is_send_due = true;
        loop_later(load.loop, on_send_due, e);
    }
}

static struct item *find(struct item *items, size_t n, const uint8_t digest[32])
{
    for (size_t i = 0; i < n; i++)
        if (items[i].is_used && memcmp(items[i].digest.b, digest, 32) == 0)
            return &items[i];
    return NULL;
}

static void settle(struct end *e)
{
    while (e->lowest <= e->next && e->ring[e->lowest % WINDOW_MAX].is_final)
        e->ring[e->lowest++ % WINDOW_MAX].is_used = false;
    if (!e->is_ready || !e->s.link || (e->lowest < e->settled + 64 && (load_is_time_left() || e->lowest == e->settled)))
        return;
    e->settled = e->lowest;
    MUST_SEND(party_session_settle(&e->s, e->lowest));
}

/* The recipient's own word stands beside "delivered" and "rejected". */
static void verify_ack(struct end *e, const struct receipt *r)
{
    struct acknowledgement a;
    MUST(party_verify_ack(&e->s.p, load.registry, r->ack, identifier_prefix(span_str(e->s.peer_service), IDENTIFIER_SYSTEM), &a, &load.why));
    if (memcmp(a.digest, r->digest, 32) != 0 || a.outcome != (r->state == STATE_DELIVERED ? OUTCOME_DONE : OUTCOME_REJECTED))
        load_note("X %s acknowledgement-of-another", e->s.p.id);
}

static void on_receipt(struct end *e, const struct receipt *r)
{
    struct item *t = find(e->ring, WINDOW_MAX, r->digest), *call = find(e->call, CALLS_MAX, r->digest);
    bool is_final = r->state == STATE_DELIVERED || r->state == STATE_FAILED || r->state == STATE_REFUSED || r->state == STATE_EXPIRED;
    load_note("R %s %s %s %u %" PRIu64, e->s.p.id, load_hex(r->digest, 32).text, state_name(r->state), r->code, r->time_ms);
    if (r->state == STATE_DELIVERED && t && !r->ack.len)
        load_note("X %s delivered-without-acknowledgement", e->s.p.id);
    if (r->ack.len)
        verify_ack(e, r);
    if (r->state == STATE_ACCEPTED && t && !t->is_accepted)
        load.accepted_count++;
    if (t) {
        t->is_accepted |= r->state != STATE_REFUSED;
        if (is_final && !t->is_final)
            load.delivered_count += r->state == STATE_DELIVERED;
        t->is_final |= is_final;
    }
    if (call && is_final) {
        if (r->state == STATE_DELIVERED) { /* we have not seen the answer: ask again */
            call->again_us = 1;
        } else {
            call->is_used = false;
            call->again_us = load_now_us() + CALL_PAUSE_US;
        }
    }
}

void load_on_receipts(struct end *e, struct span payload)
{
    static struct receipt receipts[STATEMENT_BATCH_MAX];
    size_t count;
    MUST(party_session_receipts(&e->s, payload, e->s.p.roots, receipts, &count, &load.why));
    for (size_t i = 0; i < count; i++)
        on_receipt(e, &receipts[i]);
    if (e->s.is_sender)
        settle(e);
    load_want_send(e);
}

static void rewind_to(struct end *e, uint64_t number, uint32_t pause_ms)
{
    if (number < e->cursor)
        e->cursor = number;
    e->epoch++;
    e->pause_us = load_now_us() + (int64_t)pause_ms * 1000;
}

void load_on_flow(struct end *e, struct span payload)
{
    struct flow f;
    MUST(flow_read(payload, &f, &load.why));
    struct item *t = find(e->ring, WINDOW_MAX, f.digest), *other = find(e->call, CALLS_MAX, f.digest);
    load_note("F %s %s %u %" PRIu64, e->s.p.id, load_hex(f.digest, 32).text, f.code, f.expected);
    if (!other)
        other = find(e->kept, KEPT_MAX, f.digest);
    if (other)
        other->again_us = load_now_us() + (int64_t)(f.retry_ms + 1) * 1000;
    if (!t || t->epoch != e->epoch) /* of before the last rewind */
        return;
    bool is_order = f.code == EHIS_E_EXCHANGE_OUT_OF_SEQUENCE && f.expected;
    rewind_to(e, is_order ? f.expected : t->number, f.retry_ms);
}

void load_on_stream_state(struct end *e, struct span payload)
{
    struct stream_state s;
    MUST(stream_state_read(payload, &s, &load.why));
    if (s.code || s.expected > e->next + 1 || s.expected < e->lowest) {
        load_note("X %s stream-state code=%u expected=%" PRIu64 " lowest=%" PRIu64 " next=%" PRIu64, e->s.p.id, s.code, s.expected, e->lowest, e->next);
        return;
    }
    for (uint64_t n = s.expected; n <= e->next; n++)
        if (e->ring[n % WINDOW_MAX].is_accepted)
            load_note("X %s accepted-and-forgotten number=%" PRIu64, e->s.p.id, n);
    e->cursor = s.expected;
    e->epoch++;
    load_want_send(e);
}

void load_open_stream(struct end *e)
{
    e->cursor = 0;
    e->settled = e->lowest;
    MUST_SEND(party_session_open_stream(&e->s, e->lowest));
    for (int i = 0; i < CALLS_MAX; i++)
        e->call[i].again_us = 1; /* the same bytes to the gateway that is there now */
}
