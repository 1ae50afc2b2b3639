/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* The client between two gateways, both played by the test: nothing is lost or done twice, whichever of them goes. */
#include "tests/support/sim_client.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

static struct sim_client c;
static ehis_incoming *got[16];
static size_t got_count;

static void on_message(void *arg, ehis_incoming *in)
{
    (void)arg;
    if (got_count < 16)
        got[got_count++] = in;
}

static ehis_receipt told[16];
static size_t told_count;
static void on_receipt(void *arg, const ehis_receipt *r)
{
    (void)arg;
    if (told_count < 16)
        told[told_count++] = *r;
}

static void begin(const char *system, bool is_replicating)
{
    ehis_config two = {.gateway_count = 2};
    got_count = told_count = 0;
    sim_client_init(&c, system, &two);
    c.is_replicating = is_replicating;
    ehis_on_receipt(c.e, on_receipt, NULL);
    if (strcmp(system, SIM_POPULATION) == 0)
        assert_int_equal(ehis_serve(c.e, SIM_PERSON, "GetPerson", on_message, NULL, NULL), EHIS_OK);
    work_run_orders(c.e);
    for (c.at = 0; c.at < 2; c.at++)
        sim_client_connect(&c);
    c.at = 0;
}

static size_t handed(void)
{
    sim_client_turn(&c);
    ehis_dispatch(c.e, 0);
    work_run_orders(c.e);
    sim_client_turn(&c);
    return got_count;
}

static void on_kept(struct ehis *e, struct draft *d, ehis_err err, const struct ehis_why *why, struct span envelope)
{
    (void)why;
    assert_int_equal(err, EHIS_OK);
    assert_int_equal(drafts_keep(e, d, envelope), EHIS_OK);
    draft_free(d);
}

static ehis_message message(const char *body)
{
    return (ehis_message){.size = sizeof(ehis_message), .service = SIM_PERSON, .operation = "GetPerson", .purpose = "tax", .legal_basis = "Law 23",
                          .body = body, .body_bytes = strlen(body)};
}

static void send_one(void)
{
    ehis_message m = message("x");
    struct draft *d;
    assert_int_equal(message_draft(c.e, &m, KIND_REQUEST, 600000, &d, NULL), EHIS_OK);
    d->class_ = OUT_REQUESTS;
    d->on_made = on_kept;
    drafts_add(c.e, d);
    sim_client_turn(&c);
}

static uint64_t opened_lowest; /* of the newest STREAM_OPEN */

/* Answers a STREAM_OPEN to the gateway that the test is; from where it goes on there, 0: there was none. */
static uint64_t answer_open(uint64_t expected, uint32_t code)
{
    struct sim_frame f;
    struct stream_open o;
    struct buf b;
    if (!sim_client_take(&c, FRAME_STREAM_OPEN, &f))
        return 0;
    assert_int_equal(stream_open_read(span_of(f.p, f.len), &o, NULL), EHIS_OK);
    uint64_t from = o.next > o.lowest ? o.next : o.lowest;
    struct stream_state s = {.expected = code ? 0 : expected > from ? expected : from, .code = code};
    opened_lowest = o.lowest;
    memcpy(s.stream, o.stream, 16);
    buf_init(&b, 64);
    assert_int_equal(stream_state_write(&s, &b), EHIS_OK);
    free(f.p);
    assert_int_equal(sim_client_frame(&c, FRAME_STREAM_STATE, buf_span(&b)), EHIS_OK);
    buf_fini(&b);
    return from;
}

static uint64_t open_stream(uint64_t expected) { return answer_open(expected, 0); }

/* The next SUBMIT to the gateway that the test is: its number, digest, and, where wanted, its bytes. */
static uint64_t submitted(struct hash *digest, struct sim_frame *bytes)
{
    struct sim_frame f;
    struct envelope env;
    struct envelope_header h;
    if (!sim_client_take(&c, FRAME_SUBMIT, &f))
        return UINT64_MAX;
    sim_read_submit(&f, &env, &h, digest);
    uint64_t number = h.number;
    if (bytes)
        *bytes = f;
    else
        free(f.p);
    return number;
}

static void leave(unsigned at)
{
    c.at = at;
    sim_client_disconnect(&c);
}

static void come(unsigned at)
{
    c.at = at;
    sim_client_connect(&c);
}

static void a_stream_lives_at_the_first_gateway_and_goes_on_at_the_other_with_the_same_bytes(void **state)
{
    struct hash d[4], again;
    struct sim_frame first, second;
    (void)state;
    begin(SIM_TAX, true);
    for (int i = 0; i < 3; i++)
        send_one();
    assert_int_equal(open_stream(1), 1);
    assert_int_equal(submitted(&d[1], NULL), 1);
    assert_int_equal(submitted(&d[2], &first), 2);
    assert_int_equal(submitted(&d[3], NULL), 3);
    assert_int_equal(sim_receipt(&c, &d[1], SIM_PERSON, STATE_REPLICATED, 0), EHIS_OK);
    assert_int_equal(sim_receipt(&c, &d[2], SIM_PERSON, STATE_ACCEPTED, 0), EHIS_OK); /* not enough where gateways replicate */
    c.at = 1;
    assert_int_equal(sim_client_count(&c, FRAME_STREAM_OPEN), 0);
    leave(0);
    c.at = 1;
    assert_int_equal(open_stream(1), 2); /* the first lacks its final receipt, but its bytes are gone: this gateway cannot have it */
    assert_int_equal(opened_lowest, 1);
    assert_int_equal(submitted(&again, &second), 2);
    assert_memory_equal(again.b, d[2].b, 32);
    assert_int_equal(second.len, first.len);
    assert_memory_equal(second.p, first.p, first.len);
    assert_int_equal(submitted(&again, NULL), 3);
    come(0); /* the first is back: the stream stays where it is */
    assert_int_equal(sim_client_count(&c, FRAME_SUBMIT), 0);
    send_one();
    assert_int_equal(sim_client_count(&c, FRAME_SUBMIT), 0);
    c.at = 1;
    assert_int_equal(submitted(&again, NULL), 4);
    free(first.p);
    free(second.p);
    sim_client_fini(&c);
}

static void receipts_of_the_gateway_that_accepted_are_heard_when_it_is_back_and_settled_there(void **state)
{
    struct hash d[3];
    (void)state;
    begin(SIM_TAX, true);
    send_one();
    assert_int_equal(open_stream(1), 1);
    assert_int_equal(submitted(&d[1], NULL), 1);
    assert_int_equal(sim_receipt(&c, &d[1], SIM_PERSON, STATE_REPLICATED, 0), EHIS_OK);
    leave(0);
    send_one();
    c.at = 1;
    assert_int_equal(open_stream(1), 2);
    assert_int_equal(submitted(&d[2], NULL), 2);
    assert_int_equal(sim_receipt(&c, &d[2], SIM_PERSON, STATE_REPLICATED, 0), EHIS_OK);
    come(0);
    assert_int_equal(open_stream(2), 1);
    assert_int_equal(sim_client_count(&c, FRAME_SUBMIT), 0);
    handed();
    told_count = 0;
    assert_int_equal(sim_receipt(&c, &d[1], SIM_PERSON, STATE_DELIVERED, 0), EHIS_OK);
    handed();
    assert_int_equal(told_count, 1);
    assert_int_equal(told[0].state, EHIS_DELIVERED);
    sim_client_turn(&c);
    assert_int_equal(sim_client_count(&c, FRAME_STREAM_SETTLED), 1);
    c.at = 1;
    assert_int_equal(sim_receipt(&c, &d[2], SIM_PERSON, STATE_DELIVERED, 0), EHIS_OK);
    handed();
    assert_int_equal(told_count, 2);
    uint64_t messages, bytes;
    outbox_count(c.e->outbox, &messages, &bytes);
    assert_int_equal(messages, 0);
    sim_client_fini(&c);
}

static void who_may_not_be_heard_now_is_asked_again_and_nothing_is_settled_before_it_answers(void **state)
{
    struct hash d;
    (void)state;
    begin(SIM_TAX, true);
    send_one();
    open_stream(1);
    assert_int_equal(submitted(&d, NULL), 1);
    assert_int_equal(sim_receipt(&c, &d, SIM_PERSON, STATE_REPLICATED, 0), EHIS_OK);
    leave(0);
    send_one();
    c.at = 1;
    assert_int_equal(open_stream(1), 2);
    come(0);
    assert_int_equal(answer_open(1, EHIS_E_CRL_STALE), 1);
    sim_client_pass_ms(&c, 4900);
    assert_int_equal(sim_client_count(&c, FRAME_STREAM_OPEN) + sim_client_count(&c, FRAME_STREAM_SETTLED), 0);
    sim_client_pass_ms(&c, 200);
    assert_int_equal(sim_client_count(&c, FRAME_STREAM_OPEN), 1);
    assert_int_equal(sim_receipt(&c, &d, SIM_PERSON, STATE_DELIVERED, 0), EHIS_OK);
    handed();
    sim_client_turn(&c);
    assert_int_equal(sim_client_count(&c, FRAME_STREAM_SETTLED), 0); /* not open as far as is known */
    assert_int_equal(open_stream(1), 1);
    sim_client_turn(&c);
    assert_int_equal(sim_client_count(&c, FRAME_STREAM_SETTLED), 1);
    sim_client_fini(&c);
}

static void what_a_gateway_took_with_it_for_good_is_told_to_be_untold(void **state)
{
    struct hash d[3];
    uint64_t messages, bytes;
    (void)state;
    begin(SIM_TAX, true);
    for (int i = 1; i < 3; i++)
        send_one(); /* for ten minutes */
    open_stream(1);
    assert_int_equal(submitted(&d[1], NULL), 1);
    assert_int_equal(submitted(&d[2], NULL), 2);
    assert_int_equal(sim_receipt(&c, &d[1], SIM_PERSON, STATE_REPLICATED, 0), EHIS_OK);
    assert_int_equal(sim_receipt(&c, &d[2], SIM_PERSON, STATE_DELIVERED, 0), EHIS_OK);
    leave(0);
    handed();
    told_count = 0;
    sim_clock_jump_wall_ms(&c.clock, 600000 + 86400000 - 61000);
    sim_client_pass_ms(&c, 100);
    handed();
    assert_int_equal(told_count, 0);
    sim_clock_jump_wall_ms(&c.clock, 122000);
    sim_client_pass_ms(&c, 100);
    handed();
    assert_int_equal(told_count, 1);
    assert_memory_equal(told[0].digest, d[1].b, 32);
    assert_int_equal(told[0].state, EHIS_UNTOLD);
    assert_int_equal(told[0].code, EHIS_E_SDK_UNTOLD);
    outbox_count(c.e->outbox, &messages, &bytes);
    assert_int_equal(messages, 0);
    sim_client_fini(&c);
}

static void a_refusal_of_one_gateway_does_not_undo_what_another_has_accepted(void **state)
{
    struct hash d;
    (void)state;
    begin(SIM_TAX, true);
    send_one();
    open_stream(1);
    assert_int_equal(submitted(&d, NULL), 1);
    assert_int_equal(sim_receipt(&c, &d, SIM_PERSON, STATE_ACCEPTED, 0), EHIS_OK);
    leave(0);
    c.at = 1;
    assert_int_equal(open_stream(1), 1);
    assert_int_equal(submitted(&d, NULL), 1);
    handed();
    told_count = 0;
    assert_int_equal(sim_receipt(&c, &d, SIM_PERSON, STATE_REFUSED, EHIS_E_POLICY_PURPOSE), EHIS_OK);
    handed();
    assert_int_equal(told_count, 0);
    come(0);
    assert_int_equal(open_stream(2), 1);
    assert_int_equal(sim_receipt(&c, &d, SIM_PERSON, STATE_DELIVERED, 0), EHIS_OK);
    handed();
    assert_int_equal(told_count, 1);
    assert_int_equal(told[0].state, EHIS_DELIVERED);
    sim_client_fini(&c);
}

static void a_gateway_that_leaves_or_is_behind_gives_its_streams_to_the_other_at_once(void **state)
{
    struct goodbye g = {.code = 0};
    struct hash d, again;
    struct buf b;
    (void)state;
    begin(SIM_TAX, false);
    buf_init(&b, 4096);
    send_one();
    open_stream(1);
    assert_int_equal(submitted(&d, NULL), 1);
    assert_int_equal(goodbye_write(&g, &b), EHIS_OK);
    assert_int_equal(sim_client_frame(&c, FRAME_GOODBYE, buf_span(&b)), EHIS_OK);
    c.at = 1;
    assert_int_equal(open_stream(1), 1);
    assert_int_equal(submitted(&again, NULL), 1);
    assert_memory_equal(d.b, again.b, 32);
    c.at = 0;
    sim_client_disconnect(&c);
    come(0);
    c.at = 1;
    struct flow f = {.code = EHIS_E_EXCHANGE_REGISTRY_BEHIND, .retry_ms = 1000, .expected = 1};
    memcpy(f.digest, d.b, 32);
    buf_clear(&b);
    assert_int_equal(flow_write(&f, &b), EHIS_OK);
    assert_int_equal(sim_client_frame(&c, FRAME_FLOW, buf_span(&b)), EHIS_OK);
    c.at = 0;
    assert_int_equal(open_stream(1), 1);
    assert_int_equal(submitted(&again, NULL), 1);
    assert_memory_equal(d.b, again.b, 32);
    buf_fini(&b);
    sim_client_fini(&c);
}

struct ended { int count, err; };
static void on_done(void *arg, int err, const ehis_reply *reply, const char *why)
{
    struct ended *x = arg;
    (void)reply;
    (void)why;
    x->count++;
    x->err = err;
}

static void where_both_gateways_refuse_nothing_goes_round_faster_than_they_say(void **state)
{
    struct ended x = {0};
    ehis_message m = message("pin");
    struct hash d;
    struct buf b;
    unsigned submits = 0;
    (void)state;
    begin(SIM_TAX, false);
    buf_init(&b, 4096);
    send_one();
    assert_int_equal(ehis_call_start(c.e, &m, on_done, &x, NULL, NULL), EHIS_OK);
    work_run_orders(c.e);
    for (int turn = 0; turn < 100; turn++) { /* 10 s */
        sim_client_pass_ms(&c, 100);
        for (c.at = 0; c.at < 2; c.at++) {
            while (open_stream(1))
                ;
            while (submitted(&d, NULL) != UINT64_MAX) {
                struct flow f = {.code = EHIS_E_EXCHANGE_REGISTRY_BEHIND, .retry_ms = 2000, .expected = 1};
                memcpy(f.digest, d.b, 32);
                buf_clear(&b);
                assert_int_equal(flow_write(&f, &b), EHIS_OK);
                assert_int_equal(sim_client_frame(&c, FRAME_FLOW, buf_span(&b)), EHIS_OK);
                submits++;
            }
        }
    }
    assert_true(submits >= 8 && submits <= 16); /* of two messages, one in 2 s, and twice at first */
    c.at = 0;
    buf_fini(&b);
    sim_client_fini(&c);
}

/* ---- a stream across gateways that come and go ---- */

#define NUMBERS 40
struct model { /* a gateway's: what it has, of the one stream */
    uint64_t expected, settled;
    bool has[NUMBERS + 1], is_told[NUMBERS + 1], is_final[NUMBERS + 1];
    bool is_open;
};
static struct hash digests[NUMBERS + 1];
static unsigned finals[NUMBERS + 1];

static void on_final(void *arg, const ehis_receipt *r)
{
    (void)arg;
    for (uint64_t n = 1; n <= NUMBERS && r->state >= EHIS_DELIVERED; n++)
        finals[n] += memcmp(digests[n].b, r->digest, 32) == 0;
}

static void take_submits(struct model *g)
{
    struct hash d;
    for (uint64_t n; (n = submitted(&d, NULL)) != UINT64_MAX;) {
        static const struct hash none;
        assert_true(g->is_open);
        assert_true(n >= 1 && n <= NUMBERS);
        if (memcmp(digests[n].b, none.b, 32) != 0)
            assert_memory_equal(digests[n].b, d.b, 32); /* the same bytes, wherever */
        digests[n] = d;
        if (n > g->expected) { /* another gateway has ended one that was not here yet */
            struct flow f = {.code = EHIS_E_EXCHANGE_OUT_OF_SEQUENCE, .expected = g->expected};
            struct buf b;
            memcpy(f.digest, d.b, 32);
            buf_init(&b, 4096);
            assert_int_equal(flow_write(&f, &b), EHIS_OK);
            assert_int_equal(sim_client_frame(&c, FRAME_FLOW, buf_span(&b)), EHIS_OK);
            buf_fini(&b);
            continue;
        }
        if (g->is_final[n]) { /* known */
            assert_int_equal(sim_receipt(&c, &digests[n], SIM_PERSON, STATE_DELIVERED, 0), EHIS_OK);
            continue;
        }
        g->expected += n == g->expected;
        g->has[n] = true;
    }
}

/* What it has taken: delivered by this gateway at some time, told when the stream is open here, and forgotten when it was settled here. */
static void tell_some(struct model *g, uint64_t *seed)
{
    struct sim_frame f;
    struct stream_settled s;
    while (sim_client_take(&c, FRAME_STREAM_SETTLED, &f)) {
        assert_true(g->is_open);
        assert_int_equal(stream_settled_read(span_of(f.p, f.len), &s, NULL), EHIS_OK);
        g->settled = s.lowest > g->settled ? s.lowest : g->settled;
        g->expected = s.lowest > g->expected ? s.lowest : g->expected;
        free(f.p);
    }
    for (uint64_t n = 1; n <= NUMBERS; n++) {
        g->is_final[n] &= n >= g->settled;
        if (!g->has[n] || sim_random_below(seed, 3) == 0)
            continue;
        if (!g->is_open) { /* its sender hears of it when it is back */
            g->has[n] = sim_random_below(seed, 3) != 0;
            g->is_final[n] = !g->has[n];
            continue;
        }
        uint8_t state = (uint8_t)(g->is_told[n] ? STATE_DELIVERED : STATE_ACCEPTED);
        if (sim_receipt(&c, &digests[n], SIM_PERSON, state, 0) != EHIS_OK)
            fail_msg("%s", c.why.text);
        g->is_told[n] = true;
        g->has[n] = state != STATE_DELIVERED;
        g->is_final[n] = state == STATE_DELIVERED;
    }
}

static void take_opens(struct model *g)
{
    uint64_t from;
    while ((from = open_stream(g->expected))) {
        g->expected = from > g->expected ? from : g->expected;
        g->settled = opened_lowest > g->settled ? opened_lowest : g->settled;
        g->is_open = true;
        for (uint64_t n = g->settled; n <= NUMBERS; n++)
            if (g->is_final[n])
                assert_int_equal(sim_receipt(&c, &digests[n], SIM_PERSON, STATE_DELIVERED, 0), EHIS_OK);
            else if (g->has[n] && g->is_told[n])
                assert_int_equal(sim_receipt(&c, &digests[n], SIM_PERSON, STATE_ACCEPTED, 0), EHIS_OK);
    }
}

static void restart(struct model g[2], const bool is_there[2])
{
    sim_client_restart(&c, true);
    ehis_on_receipt(c.e, on_final, NULL);
    work_run_orders(c.e);
    for (unsigned at = 0; at < 2; at++) {
        g[at].is_open = false;
        if (is_there[at])
            come(at);
    }
}

static void go_and_come(bool is_sender_mortal)
{
    for (uint64_t nth = 1; nth <= 20; nth++) {
        struct model g[2] = {{.expected = 1, .settled = 1}, {.expected = 1, .settled = 1}};
        uint64_t seed = nth, sent = 0, messages = 1, bytes, lives = 1;
        bool is_there[2] = {true, true};
        memset(digests, 0, sizeof digests);
        memset(finals, 0, sizeof finals);
        begin(SIM_TAX, nth % 2);
        ehis_on_receipt(c.e, on_final, NULL);
        for (int turn = 0; turn < 4000 && (messages > 0 || sent < NUMBERS); turn++) {
            unsigned at = (unsigned)sim_random_below(&seed, 2);
            c.at = at;
            if (sent < NUMBERS && sim_random_below(&seed, 3) == 0) {
                send_one();
                sent++;
            }
            if (sim_random_below(&seed, sent < NUMBERS ? 12 : 200) == 0) { /* goes, with all that is under way, or comes */
                if (is_there[at])
                    leave(at);
                else
                    come(at);
                is_there[at] = !is_there[at];
                g[at].is_open = false;
            }
            if (is_sender_mortal && sim_random_below(&seed, 30) == 0 && lives < 30) {
                restart(g, is_there);
                lives++;
            }
            if (sent == NUMBERS && !is_there[at]) {
                come(at);
                is_there[at] = true;
            }
            c.at = at;
            if (is_there[at]) {
                take_opens(&g[at]);
                take_submits(&g[at]);
                tell_some(&g[at], &seed);
            }
            sim_client_pass_ms(&c, 100);
            handed();
            outbox_count(c.e->outbox, &messages, &bytes);
        }
        assert_int_equal(messages, 0);
        for (uint64_t n = 1; n <= NUMBERS; n++)
            assert_true(finals[n] >= 1 && finals[n] <= lives); /* who dies before it has kept an end is told it again */
        sim_client_fini(&c);
    }
}

static void a_stream_across_gateways_that_come_and_go_is_the_same_bytes_in_order_and_each_number_ends_once(void **state)
{
    (void)state;
    go_and_come(false);
}

static void a_sender_that_dies_between_gateways_is_told_every_end(void **state)
{
    (void)state;
    go_and_come(true);
}

static void a_call_whose_gateway_goes_or_is_busy_is_repeated_at_the_other_and_any_answer_ends_it(void **state)
{
    struct ended x = {0}, y = {0};
    ehis_message m = message("pin");
    struct hash d, again, rd;
    struct buf b;
    (void)state;
    begin(SIM_TAX, false);
    buf_init(&b, 1 << 20);
    assert_int_equal(ehis_call_start(c.e, &m, on_done, &x, NULL, NULL), EHIS_OK);
    work_run_orders(c.e);
    sim_client_turn(&c);
    struct sim_frame f;
    struct envelope env;
    struct envelope_header h;
    assert_true(sim_client_take(&c, FRAME_SUBMIT, &f));
    sim_read_submit(&f, &env, &h, &d);
    leave(0);
    c.at = 1;
    submitted(&again, NULL);
    assert_memory_equal(d.b, again.b, 32);
    come(0);
    assert_int_equal(sim_client_count(&c, FRAME_SUBMIT), 0);
    /* The first, back again, has lost its provider; the second has it. */
    assert_int_equal(sim_receipt(&c, &d, SIM_PERSON, STATE_FAILED, EHIS_E_EXCHANGE_PROVIDER_GONE), EHIS_OK);
    handed();
    assert_int_equal(x.count, 0);
    struct envelope_header r = {.kind = KIND_RESPONSE, .status = STATUS_OK, .recipient = span_str(SIM_TAX), .operation = span_str("GetPerson"),
                                .in_reply_to = span_of(d.b, 32)};
    memcpy(r.exchange_id, h.exchange_id, 16);
    r.expires_ms = h.expires_ms;
    sim_envelope(&c, SIM_POPULATION, &r, "found", &b, &rd);
    assert_int_equal(sim_deliver(&c, buf_span(&b), 1, c.clock.wall_ms), EHIS_OK); /* by the first */
    handed();
    assert_int_equal(x.count, 1);
    assert_int_equal(x.err, EHIS_OK);
    free(f.p);
    /* BUSY here: there at once. */
    assert_int_equal(ehis_call_start(c.e, &m, on_done, &y, NULL, NULL), EHIS_OK);
    work_run_orders(c.e);
    sim_client_turn(&c);
    submitted(&d, NULL);
    struct flow flow = {.code = EHIS_E_EXCHANGE_BUSY, .retry_ms = 20000};
    memcpy(flow.digest, d.b, 32);
    buf_clear(&b);
    assert_int_equal(flow_write(&flow, &b), EHIS_OK);
    assert_int_equal(sim_client_frame(&c, FRAME_FLOW, buf_span(&b)), EHIS_OK);
    sim_client_pass_ms(&c, 100);
    c.at = 1;
    submitted(&again, NULL);
    assert_memory_equal(d.b, again.b, 32);
    buf_fini(&b);
    sim_client_fini(&c);
}

static void a_call_that_one_gateway_knows_no_provider_for_is_asked_of_the_other_once(void **state)
{
    struct ended x = {0};
    ehis_message m = message("pin");
    struct hash d, again;
    (void)state;
    begin(SIM_TAX, false);
    assert_int_equal(ehis_call_start(c.e, &m, on_done, &x, NULL, NULL), EHIS_OK);
    work_run_orders(c.e);
    sim_client_turn(&c);
    for (c.at = 0; c.at < 2; c.at++) {
        handed();
        assert_int_equal(x.count, 0);
        assert_int_not_equal(submitted(c.at ? &again : &d, NULL), UINT64_MAX);
        assert_int_equal(sim_receipt(&c, &d, SIM_PERSON, STATE_REFUSED, EHIS_E_EXCHANGE_NO_SESSION), EHIS_OK);
        sim_client_turn(&c);
    }
    assert_memory_equal(d.b, again.b, 32);
    handed();
    assert_int_equal(x.count, 1);
    assert_int_equal(x.err, EHIS_E_EXCHANGE_NO_SESSION);
    for (c.at = 0; c.at < 2; c.at++)
        assert_int_equal(sim_client_count(&c, FRAME_SUBMIT), 0);
    sim_client_fini(&c);
}

static void a_request_that_two_gateways_bring_is_run_once_and_both_get_the_same_bytes(void **state)
{
    struct envelope_header h = {.kind = KIND_REQUEST, .recipient = span_str(SIM_PERSON), .operation = span_str("GetPerson"), .purpose = span_str("tax"),
                                .legal_basis = span_str("Law 23")};
    struct buf e;
    struct hash d, answer;
    struct sim_frame first, second;
    (void)state;
    begin(SIM_POPULATION, false);
    buf_init(&e, 1 << 20);
    sim_envelope(&c, SIM_TAX, &h, "pin", &e, &d);
    assert_int_equal(sim_deliver(&c, buf_span(&e), 1, c.clock.wall_ms), EHIS_OK);
    c.at = 1;
    assert_int_equal(sim_deliver(&c, buf_span(&e), 1, c.clock.wall_ms), EHIS_OK);
    assert_int_equal(handed(), 1);
    assert_int_equal(ehis_answer(got[0], 0, "text/plain", "found", 5, NULL, 0, NULL), EHIS_OK);
    assert_int_equal(handed(), 1);
    submitted(&answer, &second);
    c.at = 0;
    submitted(&answer, &first);
    assert_int_equal(first.len, second.len);
    assert_memory_equal(first.p, second.p, first.len);
    assert_int_equal(sim_client_count(&c, FRAME_SUBMIT), 0);
    free(first.p);
    free(second.p);
    buf_fini(&e);
    sim_client_fini(&c);
}

static uint32_t ack_of(uint64_t delivery)
{
    struct sim_frame f;
    uint32_t outcome = 0;
    while (sim_client_take(&c, FRAME_ACK, &f)) {
        struct batch_signature s;
        struct span item;
        size_t at = 0;
        assert_int_equal(batch_read(FRAME_ACK, span_of(f.p, f.len), &s, NULL), EHIS_OK);
        while (batch_next(span_of(f.p, f.len), &at, &item)) {
            struct ack a;
            assert_int_equal(ack_read(item, &a, NULL), EHIS_OK);
            if (a.delivery == delivery)
                outcome = a.outcome;
        }
        free(f.p);
    }
    return outcome;
}

static void numbered(struct buf *out, uint64_t number)
{
    static const uint8_t stream[16] = {6};
    struct hash d;
    struct envelope_header h = {.kind = KIND_REQUEST, .recipient = span_str(SIM_PERSON), .operation = span_str("GetPerson"), .purpose = span_str("tax"),
                                .legal_basis = span_str("Law 23"), .stream = span_of(stream, 16), .number = number};
    sim_envelope(&c, SIM_TAX, &h, "pin", out, &d);
}

static void what_two_gateways_deliver_is_handed_over_once_and_acknowledged_to_each_that_is_still_there(void **state)
{
    struct buf e;
    (void)state;
    begin(SIM_POPULATION, false);
    buf_init(&e, 1 << 20);
    numbered(&e, 1);
    for (c.at = 0; c.at < 2; c.at++)
        assert_int_equal(sim_deliver(&c, buf_span(&e), 1, c.clock.wall_ms), EHIS_OK);
    assert_int_equal(handed(), 1);
    ehis_reject(got[0], EHIS_E_SDK_REJECTED);
    assert_int_equal(handed(), 1);
    for (c.at = 0; c.at < 2; c.at++)
        assert_int_equal(ack_of(1), OUTCOME_REJECTED);
    /* One that waits for its turn outlives one of its gateways. */
    numbered(&e, 3);
    for (c.at = 0; c.at < 2; c.at++)
        assert_int_equal(sim_deliver(&c, buf_span(&e), 1, c.clock.wall_ms), EHIS_OK);
    leave(0);
    numbered(&e, 2);
    c.at = 1;
    assert_int_equal(sim_deliver(&c, buf_span(&e), 1, c.clock.wall_ms), EHIS_OK);
    assert_int_equal(handed(), 2);
    ehis_reject(got[1], EHIS_E_SDK_REJECTED);
    handed();
    assert_int_equal(handed(), 3);
    assert_int_equal(ehis_incoming_info(got[2])->number, 3);
    ehis_reject(got[2], EHIS_E_SDK_REJECTED);
    handed();
    assert_int_equal(ack_of(2), OUTCOME_REJECTED);
    buf_fini(&e);
    sim_client_fini(&c);
}

/* ---- a stream that two gateways deliver ---- */

static unsigned marked[NUMBERS + 1], unmarked[NUMBERS + 1];
static uint64_t last_handed;

static void on_numbered(void *arg, ehis_incoming *in)
{
    const ehis_info *i = ehis_incoming_info(in);
    (void)arg;
    assert_true(i->number <= last_handed + 1 && !i->is_late);
    last_handed = i->number > last_handed ? i->number : last_handed;
    (i->is_repeated ? marked : unmarked)[i->number]++;
    assert_true(got_count < 16);
    got[got_count++] = in;
}

static void serve(void)
{
    got_count = 0;
    assert_int_equal(ehis_serve(c.e, SIM_PERSON, "GetPerson", on_numbered, NULL, NULL), EHIS_OK);
    work_run_orders(c.e);
}

/* Which of the deliveries of this session were acknowledged for good. */
static void take_acks(const uint64_t numbers[2048], bool is_acked[NUMBERS + 1])
{
    struct sim_frame f;
    while (sim_client_take(&c, FRAME_ACK, &f)) {
        struct batch_signature s;
        struct span item;
        size_t at = 0;
        assert_int_equal(batch_read(FRAME_ACK, span_of(f.p, f.len), &s, NULL), EHIS_OK);
        while (batch_next(span_of(f.p, f.len), &at, &item)) {
            struct ack a;
            assert_int_equal(ack_read(item, &a, NULL), EHIS_OK);
            assert_true(a.delivery < 2048 && numbers[a.delivery]);
            is_acked[numbers[a.delivery]] |= a.outcome != OUTCOME_RETRY;
        }
        free(f.p);
    }
}

static bool is_all(const bool is_acked[NUMBERS + 1])
{
    for (uint64_t n = 1; n <= NUMBERS; n++)
        if (!is_acked[n])
            return false;
    return true;
}

static void what_two_gateways_deliver_again_and_again_is_handed_over_once_in_order_across_sessions_and_crashes(void **state)
{
    struct buf e[NUMBERS + 1];
    (void)state;
    for (uint64_t nth = 1; nth <= 20; nth++) {
        static uint64_t numbers[2][2048];
        bool is_acked[2][NUMBERS + 1] = {{false}}, is_there[2] = {true, true};
        uint64_t seed = nth;
        unsigned crashes = 0;
        memset(numbers, 0, sizeof numbers);
        memset(marked, 0, sizeof marked);
        memset(unmarked, 0, sizeof unmarked);
        last_handed = 0;
        begin(SIM_POPULATION, false);
        serve();
        for (uint64_t n = 1; n <= NUMBERS; n++) {
            buf_init(&e[n], 1 << 16);
            numbered(&e[n], n);
        }
        for (int turn = 0; turn < 3000 && !(is_all(is_acked[0]) && is_all(is_acked[1])); turn++) {
            unsigned at = (unsigned)sim_random_below(&seed, 2);
            c.at = at;
            if (crashes < 3 && sim_random_below(&seed, 100) == 0) {
                crashes++;
                sim_client_restart(&c, true);
                serve();
                is_there[0] = is_there[1] = false;
            }
            if (is_there[at] && sim_random_below(&seed, 50) == 0) {
                leave(at);
                is_there[at] = false;
            } else if (!is_there[at]) {
                come(at);
                is_there[at] = true;
            }
            uint64_t n = 1;
            while (n < NUMBERS && is_acked[at][n])
                n++;
            if (c.delivery[at] > 0) /* the first that it has no acknowledgement of; then about there */
                n += sim_random_below(&seed, 6);
            if (is_there[at] && n <= NUMBERS && !is_acked[at][n] && c.delivery[at] + 1 < 2048) {
                numbers[at][c.delivery[at] + 1] = n;
                assert_int_equal(sim_deliver(&c, buf_span(&e[n]), 1, c.clock.wall_ms), EHIS_OK);
            }
            handed();
            while (got_count > 0 && sim_random_below(&seed, 3)) {
                ehis_incoming *in = got[--got_count];
                if (sim_random_below(&seed, 6) == 0)
                    ehis_retry(in, 50);
                else
                    ehis_reject(in, EHIS_E_SDK_REJECTED);
            }
            handed();
            for (c.at = 0; c.at < 2; c.at++)
                if (is_there[c.at])
                    take_acks(numbers[c.at], is_acked[c.at]);
        }
        assert_true(is_all(is_acked[0]) && is_all(is_acked[1]));
        for (uint64_t n = 1; n <= NUMBERS; n++) {
            assert_true(unmarked[n] <= 1);
            assert_true(unmarked[n] + marked[n] >= 1);
            buf_fini(&e[n]);
        }
        sim_client_fini(&c);
    }
}

static void another_gateway_of_ours_that_gets_the_streams_takes_nothing_over(void **state)
{
    struct buf e, b;
    struct ready_state ready = {.has_streams = true};
    (void)state;
    c.is_without_streams = false;
    begin(SIM_POPULATION, true);
    buf_init(&e, 1 << 20);
    buf_init(&b, 64);
    leave(1);
    c.is_without_streams = true;
    come(1);
    c.at = 0;
    numbered(&e, 1);
    assert_int_equal(sim_deliver(&c, buf_span(&e), 1, c.clock.wall_ms), EHIS_OK);
    assert_int_equal(handed(), 1);
    ehis_reject(got[0], EHIS_E_SDK_REJECTED);
    handed();
    leave(0);
    c.at = 1;
    assert_int_equal(ready_state_write(&ready, &b), EHIS_OK);
    assert_int_equal(sim_client_frame(&c, FRAME_READY_STATE, buf_span(&b)), EHIS_OK);
    numbered(&e, 4);
    assert_int_equal(sim_deliver(&c, buf_span(&e), 1, c.clock.wall_ms), EHIS_OK);
    assert_int_equal(handed(), 1); /* a gap, not a beginning */
    buf_fini(&e);
    buf_fini(&b);
    sim_client_fini(&c);
}

static void a_gateway_with_an_older_registry_ends_its_own_session_alone_and_the_status_says_so(void **state)
{
    struct buf old;
    ehis_status s = {.size = sizeof s};
    (void)state;
    begin(SIM_POPULATION, false);
    buf_init(&old, 1 << 20);
    assert_int_equal(registry_part(c.document, span_str(SIM_POPULATION), 0, &old, NULL), EHIS_OK);
    assert_int_equal(sim_client_registry(&c), EHIS_OK);
    c.at = 1;
    assert_int_equal(sim_client_frame(&c, FRAME_REGISTRY, buf_span(&old)), EHIS_E_GATEWAY_BEHIND);
    ehis_get_status(c.e, &s);
    assert_true(s.is_ready);
    assert_string_equal(s.gateway, SIM_GATEWAY);
    assert_int_equal(s.session_count, 2);
    assert_true(s.sessions[0].is_ready);
    assert_false(s.sessions[1].is_ready);
    assert_string_equal(s.sessions[1].address, "127.0.0.1:2");
    leave(0);
    ehis_get_status(c.e, &s);
    assert_false(s.is_ready);
    buf_fini(&old);
    sim_client_fini(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_stream_lives_at_the_first_gateway_and_goes_on_at_the_other_with_the_same_bytes),
        cmocka_unit_test(receipts_of_the_gateway_that_accepted_are_heard_when_it_is_back_and_settled_there),
        cmocka_unit_test(who_may_not_be_heard_now_is_asked_again_and_nothing_is_settled_before_it_answers),
        cmocka_unit_test(what_a_gateway_took_with_it_for_good_is_told_to_be_untold),
        cmocka_unit_test(a_refusal_of_one_gateway_does_not_undo_what_another_has_accepted),
        cmocka_unit_test(a_gateway_that_leaves_or_is_behind_gives_its_streams_to_the_other_at_once),
        cmocka_unit_test(where_both_gateways_refuse_nothing_goes_round_faster_than_they_say),
        cmocka_unit_test(a_stream_across_gateways_that_come_and_go_is_the_same_bytes_in_order_and_each_number_ends_once),
        cmocka_unit_test(a_sender_that_dies_between_gateways_is_told_every_end),
        cmocka_unit_test(a_call_whose_gateway_goes_or_is_busy_is_repeated_at_the_other_and_any_answer_ends_it),
        cmocka_unit_test(a_call_that_one_gateway_knows_no_provider_for_is_asked_of_the_other_once),
        cmocka_unit_test(a_request_that_two_gateways_bring_is_run_once_and_both_get_the_same_bytes),
        cmocka_unit_test(what_two_gateways_deliver_is_handed_over_once_and_acknowledged_to_each_that_is_still_there),
        cmocka_unit_test(what_two_gateways_deliver_again_and_again_is_handed_over_once_in_order_across_sessions_and_crashes),
        cmocka_unit_test(another_gateway_of_ours_that_gets_the_streams_takes_nothing_over),
        cmocka_unit_test(a_gateway_with_an_older_registry_ends_its_own_session_alone_and_the_status_says_so),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
