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
#include "tests/fault/stream_client.h"
#include <signal.h>
#include <stdarg.h>

struct load load;
static uint64_t rng = 88172645463325252u;

int64_t load_now_us(void) { return clock_mono_us(&clock_system); }
static uint64_t roll(void)
{
    rng ^= rng << 13;
    rng ^= rng >> 7;
    return rng ^= rng << 17;
}

void load_note(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fprintf(load.out, "%" PRId64 " ", load_now_us());
    vfprintf(load.out, format, args);
    fputc('\n', load.out);
    va_end(args);
}

struct hex load_hex(const uint8_t *p, size_t n)
{
    struct hex h;
    hex_to_text(p, n, h.text);
    return h;
}

void load_send(struct end *e, uint8_t type, const struct buf *b)
{
    MUST_SEND(party_session_send(&e->s, type, b));
}

/* ---- the session ---- */

static const struct ready windows = {.call_window = 256, .stream_window_messages = 256, .stream_window_bytes = 4 << 20};

static void on_ready_state(struct end *e, struct span payload)
{
    struct ready_state s;
    MUST(ready_state_read(payload, &s, &load.why));
    if (s.code) {
        load_note("F %s ready %u 0", e->s.p.id, s.code);
        MUST_SEND(party_session_ready(&e->s, &windows));
        return;
    }
    if (e->is_ready)
        return; /* streams moved */
    e->is_ready = true;
    load_note("U %s", e->s.p.id);
    if (load.is_churn) {
        link_abort(e->s.link);
        return;
    }
    if (e->s.is_sender)
        load_open_stream(e);
    for (size_t i = 0; i < KEPT_MAX; i++)
        e->kept[i].again_us = 0; /* who waits asks again */
    load_want_send(e);
}

static void on_frame(void *arg, struct link *l, uint8_t type, struct span payload)
{
    struct end *e = arg;
    (void)l;
    switch (type) {
    case FRAME_HELLO:
        MUST_SEND(party_session_welcome(&e->s, payload, &windows, &load.why));
        break;
    case FRAME_READY_STATE:
        on_ready_state(e, payload);
        break;
    case FRAME_STREAM_STATE:
        load_on_stream_state(e, payload);
        break;
    case FRAME_RECEIPTS:
        load_on_receipts(e, payload);
        break;
    case FRAME_DELIVER:
        load_on_deliver(e, payload);
        break;
    case FRAME_SKIPS:
        load_on_skips(e, payload);
        break;
    case FRAME_FLOW:
        load_on_flow(e, payload);
        break;
    case FRAME_ERROR: {
        struct error x;
        MUST(error_read(payload, &x, &load.why));
        load_note("E %s error %u", e->s.p.id, x.code);
        break;
    }
    default: /* GOODBYE, REGISTRY, CRL: the end of the link says the rest */
        break;
    }
}

static ehis_err on_peer(void *arg, struct link *l, SSL *ssl, struct ehis_why *w)
{
    return party_hello(&((struct end *)arg)->s.p, load.registry, l, ssl, w);
}

static void on_end(void *arg, struct link *l, enum link_end reason, ehis_err err, const char *detail)
{
    struct end *e = arg;
    (void)l, (void)detail;
    if (reason != LINK_END_CONNECT)
        load_note("E %s %s %u", e->s.p.id, link_end_name(reason), (unsigned)err);
    party_session_ended(&e->s);
    e->is_ready = false;
    e->dial_us = load_now_us() + REDIAL_US + (int64_t)(roll() % REDIAL_US);
}

static const struct link_events events = {.on_peer = on_peer, .on_frame = on_frame, .on_end = on_end, .ping_type = FRAME_PING, .pong_type = FRAME_PONG};

static void dial(struct end *e)
{
    e->dial_us = INT64_MAX;
    MUST(party_session_dial(&e->s, load.port, &events, e));
}

static void init_end(struct end *e, const char *dir, bool is_sender, int k)
{
    MUST(party_session_open(&e->s, load.loop, load.registry, dir, is_sender, k, &load.why));
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
    if (load_is_time_left())
        return false;
    for (int i = 0; i < 2 * load.pairs; i++) {
        if (load.ends[i].s.is_sender && load.ends[i].lowest <= load.ends[i].next)
            return false;
        for (int k = 0; k < CALLS_MAX; k++)
            if (load.ends[i].call[k].is_used)
                return false;
    }
    return true;
}

static void on_tick(void *arg)
{
    for (int i = 0; i < 2 * load.pairs; i++) {
        struct end *e = &load.ends[i];
        bool is_wanted = e->s.is_sender ? !load.is_churn : !load.is_senders;
        if (is_wanted && !e->s.link && load_now_us() >= e->dial_us)
            dial(e);
        load_want_send(e);
    }
    loop_timer_set(*(struct loop_timer **)arg, TICK_US);
}

static void on_signal(void *arg, int number)
{
    (void)arg, (void)number;
    load.until_us = load_now_us();
}

int main(int argc, char **argv)
{
    struct loop_timer *timer;
    if (argc < 11 || !(load.out = fopen(argv[3], "a"))) {
        fprintf(stderr, "stream_client DIR PORT LOG SECONDS PAIRS WINDOW BATCH BODY_BYTES RATE CALLS [DRAIN_SECONDS [all|senders|churn]]\n");
        return 2;
    }
    setvbuf(load.out, NULL, _IOLBF, 0);
    load.port = (int)strtol(argv[2], NULL, 10);
    load.pairs = (int)strtol(argv[5], NULL, 10);
    load.window = (int)strtol(argv[6], NULL, 10);
    load.batch_max = (int)strtol(argv[7], NULL, 10);
    load.body_bytes = (size_t)strtol(argv[8], NULL, 10);
    load.rate = (int)strtol(argv[9], NULL, 10);
    load.calls = (int)strtol(argv[10], NULL, 10);
    if (load.pairs < 1 || load.pairs > PAIRS_MAX || load.window < 1 || load.window > WINDOW_MAX || load.batch_max < 1 || load.batch_max > WINDOW_MAX || load.body_bytes > 1 << 19 || load.calls > CALLS_MAX)
        return 2;
    MUST(crypto_init(&load.why));
    MUST(pki_init(&load.why));
    MUST(loop_new(&load.loop));
    struct sigaction ignore = {.sa_handler = SIG_IGN};
    sigaction(SIGPIPE, &ignore, NULL);
    MUST(loop_on_signal(load.loop, SIGTERM, on_signal, NULL));
    MUST(party_registry(argv[1], "operator.hex", &load.registry, &load.why));
    for (int i = 0; i < 2 * load.pairs; i++)
        init_end(&load.ends[i], argv[1], i < load.pairs, i % load.pairs);
    load.started_us = load_now_us();
    load.until_us = load.started_us + strtol(argv[4], NULL, 10) * 1000000;
    load.drain_us = (argc > 11 ? strtol(argv[11], NULL, 10) : 60) * 1000000;
    load.is_senders = argc > 12 && strcmp(argv[12], "senders") == 0;
    load.is_churn = argc > 12 && strcmp(argv[12], "churn") == 0;
    MUST(loop_timer_new(load.loop, on_tick, &timer, &timer));
    loop_timer_set(timer, 0);
    while (!is_done() && load_now_us() < load.until_us + load.drain_us)
        loop_run_once(load.loop, true);
    load_note("Z sent=%" PRIu64 " accepted=%" PRIu64 " delivered=%" PRIu64 " handed=%" PRIu64 " answered=%" PRIu64, load.sent_count, load.accepted_count, load.delivered_count,
         load.handed_count, load.answered_count);
    fclose(load.out);
    _Exit(is_done() ? 0 : 3); /* keys and buffers go with the process */
}
