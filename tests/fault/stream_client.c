/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* The load of the fault tests: senders, receivers and callers as systems of their own over mutual TLS in one thread, which outlive their
 * gateway and do what SPEC 12 asks of a peer: the same bytes again from the lowest number without a final receipt, duplicates not handed
 * over, an answer kept for who asks again. What it did and what it was told goes into a log, a line an event, for the checker to judge.
 *   stream_client DIR PORT LOG SECONDS PAIRS WINDOW BATCH BODY_BYTES RATE CALLS [DRAIN_SECONDS [all|senders|churn]]
 * senders: no receiver connects. churn: receivers alone, which come and go.
 * SIGTERM or SECONDS: no new messages; it ends (0) when all are final, or (3) after DRAIN_SECONDS.
 * DIR (made by tests/support/country.py): ca.crt, crl.pem, registry.pb, operator.hex, s<k>/ and r<k>/ with keys and tls.crt.
 * Lines: microseconds of the monotonic clock, then
 *   S sender digest exchange stream number     first sent            Q sender digest exchange      a call, first sent
 *   R owner digest state code time_ms          a receipt, verified   F owner digest code expected
 *   H receiver digest sender stream number attempt    handed to the application        B the same, suppressed as a duplicate
 *   K receiver digest sender stream number state      a skip, verified
 *   V provider digest exchange                 a call carried out    P caller digest exchange      its answer, opened
 *   U who  ready          E who reason code    a link ended          X who what   a promise broken   Z counts */
#include "base/log.h"
#include "tests/support/party_session.h"
#include <inttypes.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define PAIRS_MAX 16
#define WINDOW_MAX 1024
#define CALLS_MAX 64
#define KEPT_MAX 512
#define TICK_US 10000
#define REDIAL_US 100000
#define CALL_PAUSE_US 200000 /* between the end of a call and the next */
#define OUTPUT_SOFT_BYTES (1u << 20)
#define STREAM_LIFETIME_MS 3600000
#define CALL_LIFETIME_MS 20000 /* so long the journal keeps its answer, and a minute more its record */
#define REFUSE_EVERY 53 /* a purpose that no rule permits */
#define REJECT_EVERY 97 /* the application does not want it */
#define REJECTED 6001

#define MUST(expr)                                                                                                \
    do {                                                                                                          \
        ehis_err must_err_ = (expr);                                                                              \
        if (must_err_ != EHIS_OK) {                                                                               \
            fprintf(stderr, "%s:%d: %s: %s: %s\n", __FILE__, __LINE__, #expr, ehis_err_name(must_err_), why.text); \
            note("X client %s", ehis_err_name(must_err_));                                                        \
            exit(1);                                                                                              \
        }                                                                                                         \
    } while (0)

static struct ehis_why why;
static struct loop *loop;
static struct registry *registry;
static FILE *out;
static int pairs, window, batch_max, port, rate, calls;
static size_t body_bytes;
static int64_t started_us, until_us, drain_us;
static uint64_t rng = 88172645463325252u;

struct item { /* a message of ours: of a stream in the ring at number % WINDOW_MAX, a call in a slot, or an answer that we keep */
    struct hash digest, request; /* request: of an answer, what it answers */
    uint8_t exchange_id[16];
    uint64_t number;
    uint32_t epoch; /* of the sender's rewinds, when last sent */
    bool is_used, is_noted, is_accepted, is_final;
    int64_t again_us; /* to be sent again then; 0: not */
    struct buf frame;
};
struct watermark { uint8_t stream[16]; bool is_used; uint64_t done; };
struct end {
    struct party_session s;
    bool is_ready, is_send_due;
    uint64_t next, lowest, cursor, settled; /* made; without a final receipt; to be sent; told to the gateway */
    uint32_t epoch;
    int64_t dial_us, pause_us;
    struct item ring[WINDOW_MAX], call[CALLS_MAX], kept[KEPT_MAX];
    size_t kept_at;
    struct watermark seen[PAIRS_MAX];
    struct item *making[WINDOW_MAX];
};
static struct end ends[2 * PAIRS_MAX];
static uint64_t sent_count, accepted_count, delivered_count, handed_count, answered_count;

static int64_t now_us(void) { return clock_mono_us(&clock_system); }
static uint64_t roll(void)
{
    rng ^= rng << 13;
    rng ^= rng >> 7;
    return rng ^= rng << 17;
}

static void note(const char *format, ...) __attribute__((format(printf, 1, 2)));
static void note(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fprintf(out, "%" PRId64 " ", now_us());
    vfprintf(out, format, args);
    fputc('\n', out);
    va_end(args);
}

struct hex { char text[65]; };
static struct hex hex(const uint8_t *p, size_t n)
{
    struct hex h;
    hex_to_text(p, n, h.text);
    return h;
}

/* A link that has just ended is heard of. */
#define MUST_SEND(expr)                           \
    do {                                          \
        ehis_err sent_ = (expr);                  \
        if (sent_ != EHIS_E_LINK_ENDED)           \
            MUST(sent_);                          \
    } while (0)

static void send_frame(struct end *e, uint8_t type, const struct buf *b)
{
    MUST_SEND(party_session_send(&e->s, type, b));
}

/* ---- envelopes ---- */

/* Header and sealed body into scratch slot i; the digest into the item. */
static void make(struct end *e, size_t i, struct item *t, enum envelope_kind kind, struct span recipient, int64_t expires_ms)
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
    MUST(party_session_make(&e->s, i, &h, span_of(body, body_bytes), &t->digest));
    e->making[i] = t;
}

/* Signs the n that were made as one tree; each keeps its frame's bytes. */
static void sign_made(struct end *e, size_t n)
{
    if (n == 0)
        return;
    MUST(party_session_sign(&e->s, n));
    for (size_t i = 0; i < n; i++)
        MUST(party_session_envelope(&e->s, i, n, &e->making[i]->frame));
}

/* ---- the sending side ---- */

static void begin(struct item *t, uint64_t number)
{
    struct buf frame = t->frame;
    *t = (struct item){.frame = frame, .is_used = true, .number = number};
    uuid7_make(t->exchange_id, clock_wall_ms(&clock_system), &random_system);
}

static bool is_churn, is_senders;
static bool is_time_left(void) { return now_us() < until_us; }

static void make_new(struct end *e)
{
    size_t n = 0;
    uint64_t allowed = rate ? (uint64_t)((now_us() - started_us) / 1000 * rate / 1000) : UINT64_MAX;
    while (is_time_left() && e->next < allowed && e->next + 1 - e->lowest < (uint64_t)window && n < (size_t)batch_max) {
        struct item *t = &e->ring[++e->next % WINDOW_MAX];
        begin(t, e->next);
        make(e, n++, t, KIND_REQUEST, span_str(e->s.peer_service), clock_wall_ms(&clock_system) + STREAM_LIFETIME_MS);
    }
    sign_made(e, n);
}

static void send_stream(struct end *e)
{
    if (now_us() < e->pause_us)
        return;
    if (e->cursor > e->next)
        make_new(e);
    for (; e->cursor <= e->next && link_output_bytes(e->s.link) < OUTPUT_SOFT_BYTES; e->cursor++) {
        struct item *t = &e->ring[e->cursor % WINDOW_MAX];
        t->epoch = e->epoch;
        if (!t->is_noted) {
            note("S %s %s %s %s %" PRIu64, e->s.p.id, hex(t->digest.b, 32).text, hex(t->exchange_id, 16).text, hex(e->s.stream, 16).text, t->number);
            sent_count++;
        }
        t->is_noted = true;
        send_frame(e, FRAME_SUBMIT, &t->frame);
    }
}

static void send_calls(struct end *e)
{
    for (int i = 0; i < calls; i++) {
        struct item *t = &e->call[i];
        if (!t->is_used && is_time_left() && now_us() >= t->again_us) {
            begin(t, 0);
            make(e, 0, t, KIND_REQUEST, span_str(e->s.peer_service), clock_wall_ms(&clock_system) + CALL_LIFETIME_MS);
            sign_made(e, 1);
            note("Q %s %s %s", e->s.p.id, hex(t->digest.b, 32).text, hex(t->exchange_id, 16).text);
            t->again_us = 1;
        }
        if (!t->is_used || !t->again_us || now_us() < t->again_us)
            continue;
        t->again_us = 0;
        send_frame(e, FRAME_SUBMIT, &t->frame);
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
        if (t->is_used && t->again_us && now_us() >= t->again_us) {
            t->again_us = 0;
            send_frame(e, FRAME_SUBMIT, &t->frame);
        }
    }
}

static void want_send(struct end *e)
{
    if (!e->is_send_due && e->is_ready) {
        e->is_send_due = true;
        loop_later(loop, on_send_due, e);
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
    if (!e->is_ready || !e->s.link || (e->lowest < e->settled + 64 && (is_time_left() || e->lowest == e->settled)))
        return;
    e->settled = e->lowest;
    MUST_SEND(party_session_settle(&e->s, e->lowest));
}

/* The recipient's own word stands beside "delivered" and "rejected". */
static void verify_ack(struct end *e, const struct receipt *r)
{
    struct acknowledgement a;
    MUST(party_verify_ack(&e->s.p, registry, r->ack, identifier_prefix(span_str(e->s.peer_service), IDENTIFIER_SYSTEM), &a, &why));
    if (memcmp(a.digest, r->digest, 32) != 0 || a.outcome != (r->state == STATE_DELIVERED ? OUTCOME_DONE : OUTCOME_REJECTED))
        note("X %s acknowledgement-of-another", e->s.p.id);
}

static void on_receipt(struct end *e, const struct receipt *r)
{
    struct item *t = find(e->ring, WINDOW_MAX, r->digest), *call = find(e->call, CALLS_MAX, r->digest);
    bool is_final = r->state == STATE_DELIVERED || r->state == STATE_FAILED || r->state == STATE_REFUSED || r->state == STATE_EXPIRED;
    note("R %s %s %s %u %" PRIu64, e->s.p.id, hex(r->digest, 32).text, state_name(r->state), r->code, r->time_ms);
    if (r->state == STATE_DELIVERED && t && !r->ack.len)
        note("X %s delivered-without-acknowledgement", e->s.p.id);
    if (r->ack.len)
        verify_ack(e, r);
    if (r->state == STATE_ACCEPTED && t && !t->is_accepted)
        accepted_count++;
    if (t) {
        t->is_accepted |= r->state != STATE_REFUSED;
        if (is_final && !t->is_final)
            delivered_count += r->state == STATE_DELIVERED;
        t->is_final |= is_final;
    }
    if (call && is_final) {
        if (r->state == STATE_DELIVERED) { /* we have not seen the answer: ask again */
            call->again_us = 1;
        } else {
            call->is_used = false;
            call->again_us = now_us() + CALL_PAUSE_US;
        }
    }
}

static void on_receipts(struct end *e, struct span payload)
{
    static struct receipt receipts[STATEMENT_BATCH_MAX];
    size_t count;
    MUST(party_session_receipts(&e->s, payload, e->s.p.roots, receipts, &count, &why));
    for (size_t i = 0; i < count; i++)
        on_receipt(e, &receipts[i]);
    if (e->s.is_sender)
        settle(e);
    want_send(e);
}

static void rewind_to(struct end *e, uint64_t number, uint32_t pause_ms)
{
    if (number < e->cursor)
        e->cursor = number;
    e->epoch++;
    e->pause_us = now_us() + (int64_t)pause_ms * 1000;
}

static void on_flow(struct end *e, struct span payload)
{
    struct flow f;
    MUST(flow_read(payload, &f, &why));
    struct item *t = find(e->ring, WINDOW_MAX, f.digest), *other = find(e->call, CALLS_MAX, f.digest);
    note("F %s %s %u %" PRIu64, e->s.p.id, hex(f.digest, 32).text, f.code, f.expected);
    if (!other)
        other = find(e->kept, KEPT_MAX, f.digest);
    if (other)
        other->again_us = now_us() + (int64_t)(f.retry_ms + 1) * 1000;
    if (!t || t->epoch != e->epoch) /* of before the last rewind */
        return;
    bool is_order = f.code == EHIS_E_EXCHANGE_OUT_OF_SEQUENCE && f.expected;
    rewind_to(e, is_order ? f.expected : t->number, f.retry_ms);
}

static void on_stream_state(struct end *e, struct span payload)
{
    struct stream_state s;
    MUST(stream_state_read(payload, &s, &why));
    if (s.code || s.expected > e->next + 1 || s.expected < e->lowest) {
        note("X %s stream-state code=%u expected=%" PRIu64 " lowest=%" PRIu64 " next=%" PRIu64, e->s.p.id, s.code, s.expected, e->lowest, e->next);
        return;
    }
    for (uint64_t n = s.expected; n <= e->next; n++)
        if (e->ring[n % WINDOW_MAX].is_accepted)
            note("X %s accepted-and-forgotten number=%" PRIu64, e->s.p.id, n);
    e->cursor = s.expected;
    e->epoch++;
    want_send(e);
}

static void open_stream(struct end *e)
{
    e->cursor = 0;
    e->settled = e->lowest;
    MUST_SEND(party_session_open_stream(&e->s, e->lowest));
    for (int i = 0; i < CALLS_MAX; i++)
        e->call[i].again_us = 1; /* the same bytes to the gateway that is there now */
}

/* ---- the receiving side ---- */

/* What was before us (another run of this program) is done. */
static struct watermark *watermark(struct end *e, const uint8_t *stream, uint64_t number)
{
    for (int i = 0; i < PAIRS_MAX; i++) {
        struct watermark *w = &e->seen[i];
        if (w->is_used && memcmp(w->stream, stream, 16) == 0)
            return w;
        if (w->is_used)
            continue;
        *w = (struct watermark){.is_used = true, .done = number - 1};
        memcpy(w->stream, stream, 16);
        return w;
    }
    note("X %s too-many-streams", e->s.p.id);
    exit(1);
}

static void answer(struct end *e, const struct envelope_header *h, const struct hash *digest)
{
    for (size_t i = 0; i < KEPT_MAX; i++)
        if (e->kept[i].is_used && memcmp(e->kept[i].request.b, digest->b, 32) == 0) {
            send_frame(e, FRAME_SUBMIT, &e->kept[i].frame);
            return;
        }
    struct item *t = &e->kept[e->kept_at++ % KEPT_MAX];
    begin(t, 0);
    memcpy(t->exchange_id, h->exchange_id, 16);
    t->request = *digest;
    note("V %s %s %s", e->s.p.id, hex(digest->b, 32).text, hex(h->exchange_id, 16).text);
    make(e, 0, t, KIND_RESPONSE, h->sender, (int64_t)h->expires_ms);
    sign_made(e, 1);
    send_frame(e, FRAME_SUBMIT, &t->frame);
}

static void on_response(struct end *e, const struct envelope_header *h)
{
    for (int i = 0; i < CALLS_MAX; i++) {
        struct item *t = &e->call[i];
        if (!t->is_used || memcmp(t->digest.b, h->in_reply_to.p, 32) != 0)
            continue;
        note("P %s %s %s", e->s.p.id, hex(t->digest.b, 32).text, hex(t->exchange_id, 16).text);
        t->is_used = false;
        t->again_us = now_us() + CALL_PAUSE_US;
        answered_count++;
    }
}

static void on_numbered(struct end *e, const struct deliver *d, const struct envelope_header *h, const struct hash *digest)
{
    struct watermark *w = watermark(e, h->stream.p, h->number);
    bool is_again = h->number <= w->done;
    if (h->number > w->done + 1)
        note("X %s out-of-order number=%" PRIu64 " after=%" PRIu64, e->s.p.id, h->number, w->done);
    note("%c %s %s %.*s %s %" PRIu64 " %u", is_again ? 'B' : 'H', e->s.p.id, hex(digest->b, 32).text, (int)h->sender.len, h->sender.p, hex(h->stream.p, 16).text,
         h->number, d->attempt);
    if (!is_again) {
        w->done = h->number;
        handed_count++;
    }
    bool is_rejected = h->number % REJECT_EVERY == 0;
    MUST_SEND(party_session_acknowledge(&e->s, d->delivery, digest, is_rejected ? OUTCOME_REJECTED : OUTCOME_DONE, is_rejected ? REJECTED : 0));
}

static void on_deliver(struct end *e, struct span payload)
{
    struct party_delivery got;
    MUST(party_open_delivery(&e->s.p, registry, payload, &got, &e->s.plain, &why));
    if (got.header.kind == KIND_RESPONSE)
        on_response(e, &got.header);
    else if (envelope_is_waiting(&got.header))
        answer(e, &got.header, &got.digest);
    else
        on_numbered(e, &got.deliver, &got.header, &got.digest);
}

static void on_skips(struct end *e, struct span payload)
{
    struct batch_signature b;
    struct span one;
    static struct hash leaves[STATEMENT_BATCH_MAX], spent[STATEMENT_BATCH_MAX]; /* by the leaf they are acknowledged */
    struct skip k;
    size_t at = 0, count = 0;
    MUST(batch_read(FRAME_SKIPS, payload, &b, &why));
    while (batch_next(payload, &at, &one)) {
        struct hash digest;
        MUST(skip_read(one, &k, &why));
        memcpy(digest.b, k.digest, 32);
        leaf_skip(k.sender, span_str(e->s.p.id), k.stream, k.number, &digest, (uint8_t)k.state, span_str(e->s.gateway), &leaves[count]);
        spent[count] = leaves[count];
        count++;
    }
    MUST(party_verify_run(registry, e->s.gateway, &b, spent, count, e->s.p.roots));
    count = 0;
    for (at = 0; batch_next(payload, &at, &one);) {
        struct hash leaf = leaves[count++];
        MUST(skip_read(one, &k, &why));
        struct watermark *w = watermark(e, k.stream, k.number);
        if (k.number > w->done + 1)
            note("X %s out-of-order skip=%" PRIu64 " after=%" PRIu64, e->s.p.id, k.number, w->done);
        if (k.number > w->done)
            w->done = k.number;
        note("K %s %s %.*s %s %" PRIu64 " %s", e->s.p.id, hex(k.digest, 32).text, (int)k.sender.len, k.sender.p, hex(k.stream, 16).text, k.number, state_name(k.state));
        MUST_SEND(party_session_acknowledge(&e->s, k.delivery, &leaf, OUTCOME_DONE, 0));
    }
}

/* ---- the session ---- */

static const struct ready windows = {.call_window = 256, .stream_window_messages = 256, .stream_window_bytes = 4 << 20};

static void on_ready_state(struct end *e, struct span payload)
{
    struct ready_state s;
    MUST(ready_state_read(payload, &s, &why));
    if (s.code) {
        note("F %s ready %u 0", e->s.p.id, s.code);
        MUST_SEND(party_session_ready(&e->s, &windows));
        return;
    }
    if (e->is_ready)
        return; /* streams moved */
    e->is_ready = true;
    note("U %s", e->s.p.id);
    if (is_churn) {
        link_abort(e->s.link);
        return;
    }
    if (e->s.is_sender)
        open_stream(e);
    for (size_t i = 0; i < KEPT_MAX; i++)
        e->kept[i].again_us = 0; /* who waits asks again */
    want_send(e);
}

static void on_frame(void *arg, struct link *l, uint8_t type, struct span payload)
{
    struct end *e = arg;
    (void)l;
    switch (type) {
    case FRAME_HELLO:
        MUST_SEND(party_session_welcome(&e->s, payload, &windows, &why));
        break;
    case FRAME_READY_STATE:
        on_ready_state(e, payload);
        break;
    case FRAME_STREAM_STATE:
        on_stream_state(e, payload);
        break;
    case FRAME_RECEIPTS:
        on_receipts(e, payload);
        break;
    case FRAME_DELIVER:
        on_deliver(e, payload);
        break;
    case FRAME_SKIPS:
        on_skips(e, payload);
        break;
    case FRAME_FLOW:
        on_flow(e, payload);
        break;
    case FRAME_ERROR: {
        struct error x;
        MUST(error_read(payload, &x, &why));
        note("E %s error %u", e->s.p.id, x.code);
        break;
    }
    default: /* GOODBYE, REGISTRY, CRL: the end of the link says the rest */
        break;
    }
}

static ehis_err on_peer(void *arg, struct link *l, SSL *ssl, struct ehis_why *w)
{
    return party_hello(&((struct end *)arg)->s.p, registry, l, ssl, w);
}

static void on_end(void *arg, struct link *l, enum link_end reason, ehis_err err, const char *detail)
{
    struct end *e = arg;
    (void)l, (void)detail;
    if (reason != LINK_END_CONNECT)
        note("E %s %s %u", e->s.p.id, link_end_name(reason), (unsigned)err);
    party_session_ended(&e->s);
    e->is_ready = false;
    e->dial_us = now_us() + REDIAL_US + (int64_t)(roll() % REDIAL_US);
}

static const struct link_events events = {.on_peer = on_peer, .on_frame = on_frame, .on_end = on_end, .ping_type = FRAME_PING, .pong_type = FRAME_PONG};

static void dial(struct end *e)
{
    e->dial_us = INT64_MAX;
    MUST(party_session_dial(&e->s, port, &events, e));
}

static void init_end(struct end *e, const char *dir, bool is_sender, int k)
{
    MUST(party_session_open(&e->s, loop, registry, dir, is_sender, k, &why));
    e->lowest = e->settled = 1;
    for (int i = 0; i < WINDOW_MAX; i++)
        buf_init(&e->ring[i].frame, 1 << 20);
    for (int i = 0; i < CALLS_MAX; i++)
        buf_init(&e->call[i].frame, 1 << 20);
    for (int i = 0; i < KEPT_MAX; i++)
        buf_init(&e->kept[i].frame, 1 << 20);
}

static bool is_done(void)
{
    if (is_time_left())
        return false;
    for (int i = 0; i < 2 * pairs; i++) {
        if (ends[i].s.is_sender && ends[i].lowest <= ends[i].next)
            return false;
        for (int k = 0; k < CALLS_MAX; k++)
            if (ends[i].call[k].is_used)
                return false;
    }
    return true;
}

static void on_tick(void *arg)
{
    for (int i = 0; i < 2 * pairs; i++) {
        struct end *e = &ends[i];
        bool is_wanted = e->s.is_sender ? !is_churn : !is_senders;
        if (is_wanted && !e->s.link && now_us() >= e->dial_us)
            dial(e);
        want_send(e);
    }
    loop_timer_set(*(struct loop_timer **)arg, TICK_US);
}

static void on_signal(void *arg, int number)
{
    (void)arg, (void)number;
    until_us = now_us();
}

int main(int argc, char **argv)
{
    struct loop_timer *timer;
    if (argc < 11 || !(out = fopen(argv[3], "a"))) {
        fprintf(stderr, "stream_client DIR PORT LOG SECONDS PAIRS WINDOW BATCH BODY_BYTES RATE CALLS [DRAIN_SECONDS [all|senders|churn]]\n");
        return 2;
    }
    setvbuf(out, NULL, _IOLBF, 0);
    port = (int)strtol(argv[2], NULL, 10);
    pairs = (int)strtol(argv[5], NULL, 10);
    window = (int)strtol(argv[6], NULL, 10);
    batch_max = (int)strtol(argv[7], NULL, 10);
    body_bytes = (size_t)strtol(argv[8], NULL, 10);
    rate = (int)strtol(argv[9], NULL, 10);
    calls = (int)strtol(argv[10], NULL, 10);
    if (pairs < 1 || pairs > PAIRS_MAX || window < 1 || window > WINDOW_MAX || batch_max < 1 || batch_max > WINDOW_MAX || body_bytes > 1 << 19 || calls > CALLS_MAX)
        return 2;
    MUST(crypto_init(&why));
    MUST(pki_init(&why));
    MUST(loop_new(&loop));
    struct sigaction ignore = {.sa_handler = SIG_IGN};
    sigaction(SIGPIPE, &ignore, NULL);
    MUST(loop_on_signal(loop, SIGTERM, on_signal, NULL));
    MUST(party_registry(argv[1], "operator.hex", &registry, &why));
    for (int i = 0; i < 2 * pairs; i++)
        init_end(&ends[i], argv[1], i < pairs, i % pairs);
    started_us = now_us();
    until_us = started_us + strtol(argv[4], NULL, 10) * 1000000;
    drain_us = (argc > 11 ? strtol(argv[11], NULL, 10) : 60) * 1000000;
    is_senders = argc > 12 && strcmp(argv[12], "senders") == 0;
    is_churn = argc > 12 && strcmp(argv[12], "churn") == 0;
    MUST(loop_timer_new(loop, on_tick, &timer, &timer));
    loop_timer_set(timer, 0);
    while (!is_done() && now_us() < until_us + drain_us)
        loop_run_once(loop, true);
    note("Z sent=%" PRIu64 " accepted=%" PRIu64 " delivered=%" PRIu64 " handed=%" PRIu64 " answered=%" PRIu64, sent_count, accepted_count, delivered_count,
         handed_count, answered_count);
    fclose(out);
    _Exit(is_done() ? 0 : 3); /* keys and buffers go with the process */
}
