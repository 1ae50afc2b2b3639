/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* A large body that comes (SPEC 18.5), from a gateway that is played by the test and does not always give what was sealed. */
#include "tests/support/sim_application.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <time.h>

#include <cmocka.h>

#define BYTES 600000u
#define CHUNKS 8

static struct sim_client c;
static struct { uint8_t *p; size_t len; } chunks[CHUNKS];
static uint32_t chunk_count;
static uint8_t *plain;

static ehis_err keep(void *arg, struct span chunk)
{
    (void)arg;
    chunks[chunk_count].p = malloc(chunk.len);
    chunks[chunk_count].len = chunk.len;
    memcpy(chunks[chunk_count++].p, chunk.p, chunk.len);
    return EHIS_OK;
}

struct reader { pthread_t thread; ehis_incoming *in; uint8_t *into; size_t len; int64_t end; atomic_bool is_done; };

static void *take_whole(void *arg)
{
    struct reader *r = arg;
    const void *body = ehis_incoming_body(r->in, &r->len);
    r->end = body ? 0 : -1;
    if (body)
        memcpy(r->into, body, r->len);
    r->is_done = true;
    return NULL;
}

static void *read_all(void *arg)
{
    struct reader *r = arg;
    while ((r->end = ehis_incoming_read(r->in, r->into + r->len, 9999)) > 0)
        r->len += (size_t)r->end;
    r->is_done = true;
    return NULL;
}

/* A request with a large body is with the application, and a thread of it reads. */
static void begin(struct reader *r, void *(*how)(void *))
{
    struct large_sealer *s;
    struct large_body body;
    struct large_manifest m;
    uint8_t fixed[LARGE_BODY_BYTES];
    struct buf e;
    struct hash d;
    struct envelope_header h = {.kind = KIND_REQUEST, .recipient = span_str(SIM_PERSON), .operation = span_str("GetPerson"), .purpose = span_str("tax"),
                                .legal_basis = span_str("Law 23")};
    sim_provider(&c);
    chunk_count = 0;
    assert_int_equal(large_sealer_new(&random_system, keep, NULL, &s), EHIS_OK);
    assert_int_equal(large_sealer_put(s, span_of(plain, BYTES)), EHIS_OK);
    assert_int_equal(large_sealer_finish(s, &body, &m), EHIS_OK);
    large_sealer_free(s);
    large_body_write(&body, fixed);
    h.large = (struct envelope_large){m.bytes, span_of(m.root.b, HASH_BYTES)};
    buf_init(&e, 1 << 20);
    sim_envelope(&c, SIM_TAX, &h, (const char *)fixed, &e, &d);
    assert_int_equal(sim_deliver(&c, buf_span(&e), 1, c.clock.wall_ms), EHIS_OK);
    buf_fini(&e);
    assert_int_equal(sim_handed(&c), 1);
    assert_int_equal(ehis_incoming_body_bytes(c.got[0]), BYTES);
    assert_int_equal(sim_client_count(&c, FRAME_BLOB_GET), 0); /* nothing is fetched that nobody reads */
    *r = (struct reader){.in = c.got[0], .into = malloc(BYTES + 9999)};
    assert_int_equal(pthread_create(&r->thread, NULL, how, r), 0);
}

/* Answers what is asked until the reader has its end; altered, code: of the chunk `at`. */
static void give(struct reader *r, uint32_t at, bool is_altered, ehis_err code)
{
    struct sim_frame frame;
    struct blob_get g;
    struct buf b;
    buf_init(&b, 1 << 20);
    while (!r->is_done) {
        static const struct timespec pause = {0, 1000000};
        work_run_orders(c.e);
        sim_client_turn(&c);
        if (!sim_client_take(&c, FRAME_BLOB_GET, &frame)) {
            nanosleep(&pause, NULL);
            continue;
        }
        assert_int_equal(blob_get_read(span_of(frame.p, frame.len), &g, NULL), EHIS_OK);
        free(frame.p);
        assert_true(g.index < chunk_count);
        struct blob_chunk f = {.index = g.index, .chunk = span_of(chunks[g.index].p, chunks[g.index].len)};
        if (g.index == at && is_altered)
            chunks[g.index].p[99] ^= 1;
        if (g.index == at && code != EHIS_OK)
            f = (struct blob_chunk){.index = g.index, .code = (uint32_t)code};
        memcpy(f.digest, g.digest, HASH_BYTES);
        buf_clear(&b);
        assert_int_equal(blob_chunk_write(&f, &b), EHIS_OK);
        assert_int_equal(sim_client_frame(&c, FRAME_BLOB_CHUNK, buf_span(&b)), EHIS_OK);
    }
    pthread_join(r->thread, NULL);
    buf_fini(&b);
}

static void end(struct reader *r)
{
    for (uint32_t i = 0; i < chunk_count; i++)
        free(chunks[i].p);
    free(r->into);
    sim_client_fini(&c);
}

static void it_is_read_to_its_end(void **state)
{
    struct reader r;
    (void)state;
    begin(&r, read_all);
    give(&r, UINT32_MAX, false, EHIS_OK);
    assert_int_equal(r.end, 0);
    assert_int_equal(r.len, BYTES);
    assert_memory_equal(r.into, plain, BYTES);
    assert_int_equal(ehis_answer(r.in, 0, "text/plain", "kept", 4, NULL, 0, NULL), EHIS_OK);
    sim_handed(&c);
    assert_int_equal(sim_client_count(&c, FRAME_SUBMIT), 1);
    end(&r);
}

static void what_a_gateway_alters_is_rejected_whatever_the_application_makes_of_it(void **state)
{
    (void)state;
    for (uint32_t at = 0; at < 3; at++) {
        struct reader r;
        uint32_t code = 0;
        begin(&r, read_all);
        give(&r, at, true, EHIS_OK);
        assert_int_equal(r.end, -(int64_t)EHIS_E_LARGE_ALTERED);
        assert_int_equal(r.len, at * (LARGE_CHUNK_BYTES - 17)); /* of the altered chunk nothing */
        assert_int_equal(ehis_incoming_read(r.in, r.into, 10), -(int64_t)EHIS_E_LARGE_ALTERED);
        assert_int_equal(ehis_answer(r.in, 0, "text/plain", "kept", 4, NULL, 0, NULL), EHIS_OK);
        sim_handed(&c);
        assert_int_equal(sim_client_count(&c, FRAME_SUBMIT), 0);
        assert_int_equal(sim_ack_of(&c, c.delivery[c.at], &code), OUTCOME_REJECTED);
        assert_int_equal(code, EHIS_E_LARGE_ALTERED);
        end(&r);
    }
}

static void what_a_gateway_says_is_lost_ends_the_reading(void **state)
{
    struct reader r;
    (void)state;
    begin(&r, read_all);
    give(&r, 1, false, EHIS_E_EXCHANGE_BLOB_LOST);
    assert_int_equal(r.end, -(int64_t)EHIS_E_EXCHANGE_BLOB_LOST);
    ehis_reject(r.in, 0);
    sim_handed(&c);
    end(&r);
}

static void a_body_that_did_not_come_whole_is_never_taken_for_whole(void **state)
{
    (void)state;
    for (uint32_t at = 0; at < 4; at++) {
        struct reader r;
        size_t n = 99;
        begin(&r, take_whole);
        give(&r, at, at < 3, EHIS_OK);
        assert_int_equal(r.end, at < 3 ? -1 : 0);
        assert_int_equal(r.len, at < 3 ? 0 : BYTES);
        assert_true((ehis_incoming_body(r.in, &n) != NULL) == (at == 3)); /* and the second time */
        assert_int_equal(n, at < 3 ? 0 : BYTES);
        assert_memory_equal(r.into, plain, r.len);
        if (at == 3) { /* and piece by piece, from its beginning */
            r.len = 0;
            read_all(&r);
            assert_int_equal(r.len, BYTES);
            assert_memory_equal(r.into, plain, BYTES);
            assert_int_equal(r.end, 0);
        }
        ehis_reject(r.in, 0);
        sim_handed(&c);
        end(&r);
    }
}

static void what_was_begun_piece_by_piece_is_not_whole(void **state)
{
    struct reader r;
    size_t n = 99;
    (void)state;
    begin(&r, read_all);
    give(&r, UINT32_MAX, false, EHIS_OK);
    assert_int_equal(r.len, BYTES);
    assert_null(ehis_incoming_body(r.in, &n));
    assert_int_equal(n, 0);
    ehis_reject(r.in, 0);
    sim_handed(&c);
    end(&r);
}

static void a_gateway_that_does_not_answer_holds_no_reader(void **state)
{
    static const struct timespec pause = {0, 1000000};
    struct reader r;
    (void)state;
    begin(&r, read_all);
    while (sim_client_count(&c, FRAME_BLOB_GET) == 0) {
        work_run_orders(c.e);
        sim_client_turn(&c);
        nanosleep(&pause, NULL);
    }
    sim_client_pass_ms(&c, 30100);
    pthread_join(r.thread, NULL);
    assert_int_equal(r.end, -(int64_t)EHIS_E_SDK_NOT_READY);
    ehis_reject(r.in, 0);
    sim_handed(&c);
    end(&r);
}

/* ---- on its way out, where no gateway has named `large` ---- */

static void a_large_call_that_no_gateway_takes_holds_no_other_and_is_told_so(void **state)
{
    struct sim_ended large = {0}, small = {0};
    struct hash d;
    ehis_message m = sim_message("pin");
    (void)state;
    sim_consumer(&c);
    m.body = plain;
    m.body_bytes = BYTES;
    assert_int_equal(ehis_call_start(c.e, &m, sim_on_done, &large, NULL, NULL), EHIS_OK);
    work_run_orders(c.e);
    sim_client_turn(&c);
    sim_call(&c, &small);
    assert_int_equal(sim_client_count(&c, FRAME_SUBMIT), 1);
    assert_int_equal(sim_submitted(&c, &d, NULL), 0);
    assert_int_equal(sim_receipt(&c, &d, SIM_PERSON, STATE_FAILED, EHIS_E_EXCHANGE_PROVIDER_GONE), EHIS_OK);
    sim_client_pass_ms(&c, 31000);
    sim_handed(&c);
    assert_int_equal(small.err, EHIS_E_EXCHANGE_PROVIDER_GONE);
    assert_int_equal(large.err, EHIS_E_EXCHANGE_NO_LARGE);
    assert_int_equal(sim_client_count(&c, FRAME_SUBMIT), 0);
    sim_client_fini(&c);
}

/* A request with a large body into the outbox; the current gateway opens its stream. */
static void keep_large(void)
{
    struct draft *draft;
    ehis_message m = sim_message("pin");
    m.body = plain;
    m.body_bytes = BYTES;
    assert_int_equal(message_draft(c.e, &m, KIND_REQUEST, 600000, &draft, NULL), EHIS_OK);
    draft->class_ = OUT_REQUESTS;
    draft->on_made = sim_on_kept;
    drafts_add(c.e, draft);
    sim_client_turn(&c);
    assert_int_equal(sim_open_stream(&c, 1), 1);
}

static void a_stream_goes_to_the_gateway_that_takes_its_large_body(void **state)
{
    struct hash d;
    (void)state;
    sim_begin_two(&c, SIM_TAX, false);
    c.e->sessions[1].takes_large = true;
    keep_large();
    assert_int_equal(sim_submitted(&c, &d, NULL), UINT64_MAX);
    c.at = 1;
    sim_client_pass_ms(&c, 5100);
    assert_int_equal(sim_open_stream(&c, 1), 1);
    assert_int_equal(sim_submitted(&c, &d, NULL), 1);
    sim_client_fini(&c);
}

static void a_large_answer_that_the_gateway_does_not_take_is_told_to_the_caller(void **state)
{
    uint32_t code = 0;
    struct buf e;
    struct hash d;
    struct envelope_header h = {.kind = KIND_REQUEST, .recipient = span_str(SIM_PERSON), .operation = span_str("GetPerson"), .purpose = span_str("tax"),
                                .legal_basis = span_str("Law 23"), .max_response_bytes = 10000000};
    (void)state;
    sim_provider(&c);
    buf_init(&e, 1 << 20);
    sim_envelope(&c, SIM_TAX, &h, "pin", &e, &d);
    assert_int_equal(sim_deliver(&c, buf_span(&e), 1, c.clock.wall_ms), EHIS_OK);
    assert_int_equal(sim_handed(&c), 1);
    assert_int_equal(ehis_answer(c.got[0], 0, NULL, plain, BYTES, NULL, 0, NULL), EHIS_OK);
    sim_handed(&c);
    sim_client_pass_ms(&c, 100);
    assert_int_equal(sim_client_count(&c, FRAME_SUBMIT), 0);
    assert_int_equal(sim_ack_of(&c, c.delivery[c.at], &code), OUTCOME_REJECTED);
    assert_int_equal(code, EHIS_E_EXCHANGE_NO_LARGE);
    buf_fini(&e);
    sim_client_fini(&c);
}

static void its_file_goes_when_the_disk_says_that_it_is_needed_no_more_and_not_before(void **state)
{
    struct hash d;
    (void)state;
    for (int is_durable = 0; is_durable < 2; is_durable++) {
        sim_begin_two(&c, SIM_TAX, false);
        c.e->sessions[0].takes_large = true;
        keep_large();
        assert_int_equal(sim_submitted(&c, &d, NULL), 1);
        if (!is_durable)
            sim_disk_fail(c.disk, SIM_ANY, 1, EHIS_E_IO, true);
        assert_int_equal(sim_receipt(&c, &d, SIM_PERSON, STATE_ACCEPTED, 0), EHIS_OK);
        assert_false(outbox_by_digest(c.e->outbox, d.b)->is_held);
        sim_client_pass_ms(&c, 300);
        sim_client_restart(&c, true);
        assert_int_equal(outbox_by_digest(c.e->outbox, d.b)->is_held, !is_durable);
        assert_int_equal(c.e->larges_out != NULL, !is_durable);
        sim_client_fini(&c);
    }
}

/* Its file has gone, so nobody can ever have it: it is not asked for without end. */
static void a_body_whose_file_has_gone_is_not_submitted_again_and_again(void **state)
{
    unsigned submits = 0;
    struct hash d;
    struct buf b;
    (void)state;
    sim_begin_two(&c, SIM_TAX, false);
    sim_leave(&c, 1);
    c.at = 0;
    c.e->sessions[0].takes_large = true;
    buf_init(&b, 4096);
    keep_large();
    c.e->larges_out->digest[0] ^= 1; /* as after a restart that did not find it */
    for (int turn = 0; turn < 100; turn++, sim_client_pass_ms(&c, 100))
        while (sim_submitted(&c, &d, NULL) != UINT64_MAX) {
            struct flow f = {.code = EHIS_E_EXCHANGE_BLOB_MISSING};
            memcpy(f.digest, d.b, 32);
            buf_clear(&b);
            assert_int_equal(flow_write(&f, &b), EHIS_OK);
            assert_int_equal(sim_client_frame(&c, FRAME_FLOW, buf_span(&b)), EHIS_OK);
            submits++;
        }
    assert_true(submits >= 2 && submits <= 3); /* in 10 s */
    buf_fini(&b);
    sim_client_fini(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_is_read_to_its_end),
        cmocka_unit_test(what_a_gateway_alters_is_rejected_whatever_the_application_makes_of_it),
        cmocka_unit_test(what_a_gateway_says_is_lost_ends_the_reading),
        cmocka_unit_test(a_body_that_did_not_come_whole_is_never_taken_for_whole),
        cmocka_unit_test(what_was_begun_piece_by_piece_is_not_whole),
        cmocka_unit_test(a_gateway_that_does_not_answer_holds_no_reader),
        cmocka_unit_test(a_large_call_that_no_gateway_takes_holds_no_other_and_is_told_so),
        cmocka_unit_test(a_stream_goes_to_the_gateway_that_takes_its_large_body),
        cmocka_unit_test(a_large_answer_that_the_gateway_does_not_take_is_told_to_the_caller),
        cmocka_unit_test(its_file_goes_when_the_disk_says_that_it_is_needed_no_more_and_not_before),
        cmocka_unit_test(a_body_whose_file_has_gone_is_not_submitted_again_and_again),
    };
    plain = malloc(BYTES);
    for (size_t i = 0; i < BYTES; i++)
        plain[i] = (uint8_t)(i % 251 + 1);
    int failed = cmocka_run_group_tests_name("sdk_large", tests, NULL, NULL);
    free(plain);
    return failed;
}
