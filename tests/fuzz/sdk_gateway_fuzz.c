/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* A hostile gateway: any frames, and good ones with a byte changed, into a client that serves, has a call and a stream under way. It may
 * end the session; it may not crash the client, make it hand over what nobody signed, or hold memory beyond its bounds.
 * Input: commands. u8 verb: below 64 a frame of that type: u16 length, payload; 64 a request of tax, 65 a response, 66 a receipt: u16 place,
 * u8 change (0: none); 67 time passes; 68 the application answers; 69 publishes; 70 calls; 71 the other of two gateways speaks; 72 it comes anew. */
#include "base/log.h"
#include "tests/support/sim_client.h"
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct sim_client c;
static ehis_incoming *got[64];
static size_t got_count;
static struct hash last_submit;
static uint8_t last_id[16];
static uint64_t last_expires_ms;
static bool is_good; /* what was delivered last is as its sender made it */

static void on_message(void *arg, ehis_incoming *in)
{
    (void)arg;
    EHIS_ASSERT(is_good || ehis_incoming_info(in)->is_stream);
    if (got_count < 64)
        got[got_count++] = in;
    else
        ehis_retry(in, 100);
}

static void on_done(void *arg, int err, const ehis_reply *reply, const char *why)
{
    (void)arg;
    (void)err;
    (void)reply;
    (void)why;
}

static void on_published(struct ehis *e, struct draft *d, ehis_err err, const struct ehis_why *why, struct span envelope)
{
    (void)why;
    if (err == EHIS_OK)
        EHIS_ASSERT(drafts_keep(e, d, envelope) == EHIS_OK);
    draft_free(d);
}

static void start(void)
{
    log_set_level(LOG_ERROR);
    ehis_config two = {.gateway_count = 2};
    sim_client_init(&c, SIM_POPULATION, &two);
    EHIS_ASSERT(ehis_serve(c.e, SIM_PERSON, NULL, on_message, NULL, NULL) == 0);
    ehis_on_response(c.e, on_message, NULL);
    work_run_orders(c.e);
}

static void settle(void)
{
    struct sim_frame f;
    sim_client_turn(&c);
    ehis_dispatch(c.e, 0);
    work_run_orders(c.e);
    sim_client_turn(&c);
    while (sim_client_take(&c, FRAME_SUBMIT, &f)) {
        struct envelope env;
        struct envelope_header h;
        sim_read_submit(&f, &env, &h, &last_submit);
        memcpy(last_id, h.exchange_id, 16);
        last_expires_ms = h.expires_ms;
        free(f.p);
    }
    while (c.frame_count > 0)
        free(c.frames[--c.frame_count].p);
}

static void deliver(struct cursor *in, uint8_t kind)
{
    struct envelope_header h = {.kind = kind, .operation = span_str("GetPerson")};
    struct buf e;
    struct hash d;
    uint64_t place = 0, change = 0;
    if (cursor_take_be(in, 2, &place) != EHIS_OK || cursor_take_be(in, 1, &change) != EHIS_OK)
        return;
    if (kind == KIND_REQUEST) {
        h.recipient = span_str(SIM_PERSON);
        h.purpose = span_str("tax");
        h.legal_basis = span_str("Law 23");
    } else {
        h.recipient = span_str(SIM_POPULATION);
        h.status = STATUS_OK;
        h.in_reply_to = span_of(last_submit.b, 32);
        memcpy(h.exchange_id, last_id, 16);
        if ((int64_t)last_expires_ms > c.clock.wall_ms)
            h.expires_ms = last_expires_ms;
    }
    buf_init(&e, 1 << 20);
    sim_envelope(&c, SIM_TAX, &h, "body", &e, &d);
    e.p[place % e.len] ^= (uint8_t)change;
    is_good = change == 0;
    if (sim_deliver(&c, buf_span(&e), 1, c.clock.wall_ms) != EHIS_OK)
        sim_client_connect(&c);
    settle();
    is_good = true;
    buf_fini(&e);
}

static void app(uint8_t verb)
{
    ehis_message m = {.size = sizeof m, .service = SIM_PERSON, .operation = "PersonChanged", .body = "x", .body_bytes = 1};
    if (verb == 68)
        while (got_count > 0)
            (void)!ehis_answer(got[--got_count], 0, NULL, "y", 1, NULL, 0, NULL);
    if (verb == 69) { /* the draft alone: nobody waits for it in this thread */
        struct envelope_header h = {.kind = KIND_EVENT, .recipient = span_str(SIM_PERSON), .operation = span_str("PersonChanged"),
                                    .created_ms = (uint64_t)c.clock.wall_ms, .expires_ms = (uint64_t)c.clock.wall_ms + 60000};
        struct draft *d;
        uuid7_make(h.exchange_id, c.clock.wall_ms, &c.clock.random);
        EHIS_ASSERT(draft_new(&h, span_str("x"), &d) == EHIS_OK);
        d->class_ = OUT_EVENTS;
        d->on_made = on_published;
        drafts_add(c.e, d);
    }
    if (verb == 70) {
        m.operation = "GetPerson";
        m.purpose = "tax";
        m.legal_basis = "Law 23";
        (void)!ehis_call_start(c.e, &m, on_done, NULL, NULL, NULL);
    }
}

static void obey(struct cursor *in)
{
    uint64_t verb = 0, n = 0, state = 0;
    struct span payload;
    if (cursor_take_be(in, 1, &verb) != EHIS_OK)
        return;
    if (verb < 64) {
        if (cursor_take_be(in, 2, &n) != EHIS_OK)
            return;
        n = n < cursor_left(in) ? n : cursor_left(in);
        if (cursor_take(in, (size_t)n, &payload) == EHIS_OK && sim_client_frame(&c, (uint8_t)verb, payload) != EHIS_OK)
            sim_client_connect(&c);
    } else if (verb == 64 || verb == 65) {
        deliver(in, verb == 64 ? KIND_REQUEST : KIND_RESPONSE);
    } else if (verb == 66 && cursor_take_be(in, 1, &state) == EHIS_OK) {
        if (sim_receipt(&c, &last_submit, SIM_PERSON, (uint8_t)(1 + state % 6), (uint32_t)(state << 4)) != EHIS_OK)
            sim_client_connect(&c);
    } else if (verb == 67) {
        sim_client_pass_ms(&c, 300);
    } else if (verb == 71) { /* from now on the other gateway speaks */
        c.at ^= 1;
        if (!c.e->sessions[c.at].is_ready)
            sim_client_connect(&c);
    } else if (verb == 72) {
        sim_client_disconnect(&c);
        sim_client_connect(&c);
    } else {
        app((uint8_t)verb);
    }
    settle();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct cursor in = cursor_of(span_of(data, size));
    static unsigned runs;
    if (!c.e || runs++ % 256 == 255) { /* what it remembers for hours is given up now and then */
        if (c.e)
            sim_client_fini(&c);
        start();
    }
    is_good = true;
    sim_client_connect(&c);
    while (cursor_left(&in) > 0)
        obey(&in);
    while (got_count > 0)
        ehis_reject(got[--got_count], 0);
    settle();
    EHIS_ASSERT(c.e->incoming_count <= 2 * (2 * (c.e->call_window + c.e->stream_window) + 2 * INBOX_WINDOW));
    for (c.at = 0; c.at < 2; c.at++)
        sim_client_disconnect(&c);
    c.at = 0;
    return 0;
}
