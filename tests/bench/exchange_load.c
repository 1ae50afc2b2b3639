/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* The load of the exchange benchmark: senders and receivers as systems of their own over mutual TLS in a thread or two, which sign, seal, verify
 * and open every message for real. Prints one JSON object.
 *   exchange_load DIR PORT MODE SECONDS PAIRS WINDOW BATCH THREADS SETTLE_MS
 * MODE: stream | call;  BATCH: envelopes under one signature at most;  SETTLE_MS: from all sessions ready to the first message: a bus attaches inboxes
 * DIR (made by the script `exchange`): ca.crt, crl.pem, registry.pb, operator.pub (hex), s<k>/ and r<k>/ with keys and tls.crt. */
#include "base/log.h"
#include "policy/decide/decide.h"
#include "tests/support/party_session.h"
#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>

#define PAIRS_MAX 64
#define WINDOW_MAX 1024
#define BODY_BYTES 1024
#define SAMPLES_MAX 4000000
#define WARMUP_US 1000000

#define MUST(expr)                                                                              \
    do {                                                                                        \
        ehis_err must_err_ = (expr);                                                            \
        if (must_err_ != EHIS_OK) {                                                             \
            fprintf(stderr, "%s:%d: %s: %s: %s\n", __FILE__, __LINE__, #expr, ehis_err_name(must_err_), why.text); \
            exit(1);                                                                            \
        }                                                                                       \
    } while (0)

static struct registry *registry;
static const char *dir;
static int pairs, threads, window, batch_max, seconds, port, settle_ms;
static bool is_call;
static int64_t measured_from_us, measured_until_us = INT64_MAX;
static pthread_barrier_t all_ready;
/* Each thread has a loop and some of the pairs. */
static _Thread_local struct ehis_why why;
static _Thread_local struct loop *loop;
static _Thread_local struct root_cache *receipt_roots; /* the gateway signs one root a group for all sessions: verified once here */

struct item { /* a message in flight */
    struct hash digest;
    int64_t sent_us;
    uint64_t number, expires_ms; /* expires_ms: of a request that is answered; no answer outlives it */
    uint8_t exchange_id[16];
    bool is_used, is_accepted, is_finished;
};
struct end {
    struct party_session s;
    uint64_t next, settled;
    struct item items[WINDOW_MAX];
    int in_flight, room;
    bool is_ready, is_send_due, is_draining;
};
static struct end ends[2 * PAIRS_MAX]; /* a pair: sender at 2k, receiver at 2k + 1 */
static uint32_t *latency_us, *ack_us;
static _Atomic size_t latency_count, ack_count;
static _Atomic uint64_t accepted_total, delivered_total, opened_total;

static int64_t now_us(void) { return clock_mono_us(&clock_system); }
static bool is_measured(int64_t at) { return at >= measured_from_us && at < measured_until_us; }

/* One envelope's header and sealed body into slot i; its digest into the item. */
static void make(struct end *e, size_t i, struct item *t, enum envelope_kind kind, const struct item *request, struct span recipient, struct span request_digest)
{
    uint8_t body[BODY_BYTES] = {0};
    int64_t now = clock_wall_ms(&clock_system);
    struct envelope_header h = {.kind = kind, .recipient = recipient, .operation = span_str("Put"), .content_type = span_str("application/x-protobuf"),
                                .expires_ms = request ? request->expires_ms : (uint64_t)now + 60000};
    if (request)
        memcpy(t->exchange_id, request->exchange_id, 16);
    else
        uuid7_make(t->exchange_id, now, &random_system);
    memcpy(h.exchange_id, t->exchange_id, 16);
    if (kind == KIND_REQUEST) {
        h.purpose = span_str("bench.load");
        h.legal_basis = span_str("Bench 1");
    } else {
        h.status = STATUS_OK;
        h.in_reply_to = request_digest;
    }
    if (!is_call) {
        h.stream = span_of(e->s.stream, 16);
        h.number = t->number;
    }
    memcpy(body, &t->sent_us, sizeof t->sent_us);
    MUST(party_session_make(&e->s, i, &h, span_of(body, sizeof body), &t->digest));
}

/* Signs n envelopes as one tree and sends them. */
static void submit(struct end *e, size_t n)
{
    MUST(party_session_sign(&e->s, n));
    for (size_t i = 0; i < n; i++) {
        MUST(party_session_envelope(&e->s, i, n, &e->s.frame));
        MUST(party_session_send(&e->s, FRAME_SUBMIT, &e->s.frame));
    }
}

static struct item *free_item(struct end *e)
{
    for (int i = 0; i < window; i++)
        if (!e->items[i].is_used)
            return &e->items[i];
    return NULL;
}

static void on_send_due(void *arg)
{
    struct end *e = arg;
    size_t n = 0;
    e->is_send_due = false;
    while (e->in_flight < window && now_us() < measured_until_us) {
        struct item *t = free_item(e);
        *t = (struct item){.is_used = true, .sent_us = now_us(), .number = is_call ? 0 : ++e->next};
        e->in_flight++;
        make(e, n, t, KIND_REQUEST, NULL, span_str(e->s.peer_service), (struct span){0});
        if ((int)++n == batch_max) {
            submit(e, n);
            n = 0;
        }
    }
    if (n)
        submit(e, n);
}

static void want_send(struct end *e)
{
    if (!e->is_send_due && e->is_ready) {
        e->is_send_due = true;
        loop_later(loop, on_send_due, e);
    }
}

static struct item *find_item(struct end *e, const uint8_t digest[32])
{
    for (int i = 0; i < window; i++)
        if (e->items[i].is_used && memcmp(e->items[i].digest.b, digest, 32) == 0)
            return &e->items[i];
    return NULL;
}

static void finish_item(struct end *e, struct item *t)
{
    if (t->is_accepted && t->is_finished) {
        t->is_used = false;
        e->in_flight--;
        want_send(e);
    }
}

static void on_settle(struct end *e)
{
    uint64_t lowest = e->next + 1;
    for (int i = 0; i < window; i++)
        if (e->items[i].is_used && e->items[i].number < lowest)
            lowest = e->items[i].number;
    if (lowest < e->settled + 256)
        return;
    e->settled = lowest;
    MUST(party_session_settle(&e->s, lowest));
}

static void on_receipts(struct end *e, struct span payload)
{
    static _Thread_local struct receipt receipts[STATEMENT_BATCH_MAX];
    size_t count;
    MUST(party_session_receipts(&e->s, payload, receipt_roots, receipts, &count, &why));
    for (size_t i = 0; i < count; i++) {
        struct receipt r = receipts[i];
        struct item *t = find_item(e, r.digest);
        if (!t)
            continue;
        int64_t now = now_us();
        if (r.state == STATE_ACCEPTED) {
            t->is_accepted = true;
            if (is_measured(now) && ack_count < SAMPLES_MAX)
                ack_us[ack_count++] = (uint32_t)(now - t->sent_us);
            accepted_total += is_measured(now);
        } else if (r.state == STATE_DELIVERED) {
            struct acknowledgement a;
            if (r.ack.len)
                MUST(party_verify_ack(&e->s.p, registry, r.ack, identifier_prefix(span_str(e->s.peer_service), IDENTIFIER_SYSTEM), &a, &why));
            t->is_finished = t->is_accepted = true;
            delivered_total += is_measured(now) && !is_call;
        } else if (r.state != STATE_REPLICATED) {
            fprintf(stderr, "%s: %s %u\n", e->s.p.id, state_name(r.state), r.code);
            exit(1);
        }
        finish_item(e, t);
    }
    if (!is_call && e->s.is_sender)
        on_settle(e);
}

static void on_deliver(struct end *e, struct span payload)
{
    struct party_delivery got;
    MUST(party_open_delivery(&e->s.p, registry, payload, &got, &e->s.plain, &why));
    const struct envelope_header h = got.header;
    const struct deliver d = got.deliver;
    const struct hash digest = got.digest;
    if (h.kind == KIND_REQUEST) {
        struct decide_question q = {.what = DECIDE_CALL, .consumer = h.sender, .service = h.recipient, .operation = h.operation, .purpose = h.purpose,
                                    .legal_basis = h.legal_basis, .at_ms = (int64_t)d.accepted_ms};
        struct decide_answer answer;
        decide(registry, &q, &answer);
        MUST(answer.is_permitted ? EHIS_OK : answer.code);
    }
    int64_t sent, now = now_us();
    memcpy(&sent, buf_span(&e->s.plain).p, sizeof sent);
    opened_total += is_measured(now);
    if (h.kind == KIND_RESPONSE) { /* the caller has its answer */
        for (int i = 0; i < window; i++) {
            struct item *t = &e->items[i];
            if (t->is_used && memcmp(t->exchange_id, h.exchange_id, 16) == 0) {
                if (is_measured(now) && latency_count < SAMPLES_MAX)
                    latency_us[latency_count++] = (uint32_t)(now - t->sent_us);
                delivered_total += is_measured(now);
                t->is_finished = t->is_accepted = true;
                finish_item(e, t);
                break;
            }
        }
    } else if (is_call) {
        struct item request = {.expires_ms = h.expires_ms}, t = {.sent_us = sent};
        memcpy(request.exchange_id, h.exchange_id, 16);
        make(e, 0, &t, KIND_RESPONSE, &request, h.sender, span_of(digest.b, 32));
        submit(e, 1);
    } else {
        if (is_measured(now) && latency_count < SAMPLES_MAX)
            latency_us[latency_count++] = (uint32_t)(now - sent);
        MUST(party_session_acknowledge(&e->s, d.delivery, &digest, OUTCOME_DONE, 0));
    }
}

static void on_frame(void *arg, struct link *l, uint8_t type, struct span payload)
{
    struct end *e = arg;
    struct ready ready = {.call_window = 1024, .stream_window_messages = 1024, .stream_window_bytes = 8 << 20};
    (void)l;
    switch (type) {
    case FRAME_HELLO:
        MUST(party_session_welcome(&e->s, payload, &ready, &why));
        break;
    case FRAME_READY_STATE: {
        struct ready_state s;
        MUST(ready_state_read(payload, &s, &why));
        MUST((ehis_err)s.code);
        e->is_ready = true;
        if (e->s.is_sender && !is_call)
            MUST(party_session_open_stream(&e->s, 1));
        break;
    }
    case FRAME_STREAM_STATE:
        break;
    case FRAME_RECEIPTS:
        on_receipts(e, payload);
        break;
    case FRAME_DELIVER:
        on_deliver(e, payload);
        break;
    case FRAME_FLOW: {
        struct flow f;
        MUST(flow_read(payload, &f, &why));
        fprintf(stderr, "%s: flow %u expected %llu\n", e->s.p.id, f.code, (unsigned long long)f.expected);
        exit(1);
    }
    case FRAME_ERROR: {
        struct error x;
        MUST(error_read(payload, &x, &why));
        fprintf(stderr, "%s: error %u %.*s\n", e->s.p.id, x.code, (int)x.text.len, x.text.p);
        exit(1);
    }
    default:
        break;
    }
}

static ehis_err on_peer(void *arg, struct link *l, SSL *ssl, struct ehis_why *w)
{
    return party_hello(&((struct end *)arg)->s.p, registry, l, ssl, w);
}

static void on_end(void *arg, struct link *l, enum link_end end, ehis_err err, const char *detail)
{
    struct end *e = arg;
    (void)l;
    if (!e->is_draining) {
        fprintf(stderr, "%s: link ended: %s %s %s\n", e->s.p.id, link_end_name(end), ehis_err_name(err), detail);
        exit(1);
    }
}

static const struct link_events events = {.on_peer = on_peer, .on_frame = on_frame, .on_end = on_end, .ping_type = FRAME_PING, .pong_type = FRAME_PONG};

static void open_end(struct end *e, bool is_sender, int k)
{
    MUST(party_session_open(&e->s, loop, registry, dir, is_sender, k, &why));
    MUST(party_session_dial(&e->s, port, &events, e));
}

static int by_value(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}
static uint32_t quantile(const uint32_t *v, size_t n, double q) { return n ? v[(size_t)((double)(n - 1) * q)] : 0; }

static bool are_ready(int from, int to)
{
    for (int i = 2 * from; i < 2 * to; i++)
        if (!ends[i].is_ready)
            return false;
    return true;
}

static void wake(void *arg) { loop_timer_set(*(struct loop_timer **)arg, 10000); }

static void mark(const char *what)
{
    printf("{\"mark\":\"%s\"}\n", what);
    fflush(stdout);
}

static void *run(void *arg)
{
    int n = *(int *)arg, from = pairs * n / threads, to = pairs * (n + 1) / threads;
    struct loop_timer *timer;
    MUST(loop_new(&loop));
    MUST(root_cache_new(1024, &receipt_roots));
    MUST(loop_timer_new(loop, wake, &timer, &timer));
    loop_timer_set(timer, 10000);
    for (int k = from; k < to; k++) {
        open_end(&ends[2 * k], true, k);
        open_end(&ends[2 * k + 1], false, k);
    }
    while (!are_ready(from, to))
        loop_run_once(loop, true);
    for (int64_t end = now_us() + settle_ms * INT64_C(1000); now_us() < end;)
        loop_run_once(loop, true);
    if (pthread_barrier_wait(&all_ready) == PTHREAD_BARRIER_SERIAL_THREAD) {
        measured_from_us = now_us() + WARMUP_US;
        measured_until_us = measured_from_us + (int64_t)seconds * 1000000;
    }
    pthread_barrier_wait(&all_ready);
    for (int k = from; k < to; k++)
        want_send(&ends[2 * k]);
    for (bool is_marked = n != 0; now_us() < measured_until_us;) {
        if (!is_marked && now_us() >= measured_from_us) {
            is_marked = true;
            mark("from");
        }
        loop_run_once(loop, true);
    }
    if (n == 0)
        mark("until");
    pthread_barrier_wait(&all_ready);
    return NULL;
}

int main(int argc, char **argv)
{
    int numbers[PAIRS_MAX];
    pthread_t others[PAIRS_MAX];
    struct sigaction ignore = {.sa_handler = SIG_IGN};
    struct rusage usage;
    if (argc != 10) {
        fprintf(stderr, "exchange_load DIR PORT stream|call SECONDS PAIRS WINDOW BATCH THREADS SETTLE_MS\n");
        return 2;
    }
    dir = argv[1];
    port = (int)strtol(argv[2], NULL, 10);
    is_call = strcmp(argv[3], "call") == 0;
    seconds = (int)strtol(argv[4], NULL, 10);
    pairs = (int)strtol(argv[5], NULL, 10);
    window = (int)strtol(argv[6], NULL, 10);
    batch_max = (int)strtol(argv[7], NULL, 10);
    threads = (int)strtol(argv[8], NULL, 10);
    settle_ms = (int)strtol(argv[9], NULL, 10);
    if (pairs < 1 || pairs > PAIRS_MAX || window < 1 || window > WINDOW_MAX || batch_max < 1 || batch_max > BATCH_MAX_LEAVES || threads < 1 || threads > pairs)
        return 2;
    mallopt(M_TRIM_THRESHOLD, 8 << 20);
    MUST(crypto_init(&why));
    MUST(pki_init(&why));
    sigaction(SIGPIPE, &ignore, NULL);
    latency_us = calloc(SAMPLES_MAX + PAIRS_MAX, sizeof *latency_us);
    ack_us = calloc(SAMPLES_MAX + PAIRS_MAX, sizeof *ack_us);
    MUST(party_registry(dir, "operator.pub", &registry, &why));
    pthread_barrier_init(&all_ready, NULL, (unsigned)threads);
    for (int i = 1; i < threads; i++) {
        numbers[i] = i;
        EHIS_ASSERT(pthread_create(&others[i], NULL, run, &numbers[i]) == 0);
    }
    numbers[0] = 0;
    run(&numbers[0]);
    getrusage(RUSAGE_SELF, &usage);
    qsort(latency_us, latency_count, sizeof *latency_us, by_value);
    qsort(ack_us, ack_count, sizeof *ack_us, by_value);
    printf("{\"messages_per_second\":%.0f,\"accepted_per_second\":%.0f,\"opened_per_second\":%.0f,\"p50_us\":%u,\"p99_us\":%u,\"p999_us\":%u,"
           "\"accepted_p50_us\":%u,\"accepted_p99_us\":%u,\"messages\":%llu,\"samples\":%zu,\"load_cpu_s\":%.3f}\n",
           (double)delivered_total / seconds, (double)accepted_total / seconds, (double)opened_total / seconds, quantile(latency_us, latency_count, .5),
           quantile(latency_us, latency_count, .99), quantile(latency_us, latency_count, .999), quantile(ack_us, ack_count, .5), quantile(ack_us, ack_count, .99),
           (unsigned long long)delivered_total, latency_count, (double)usage.ru_utime.tv_sec + (double)usage.ru_stime.tv_sec + (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6);
    fflush(stdout);
    _Exit(0); /* what is in flight stays with the gateway */
}
