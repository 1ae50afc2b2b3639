/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
#include "tests/support/sim_application.h"
#include <stdlib.h>

void sim_on_message(void *arg, ehis_incoming *in)
{
    struct sim_client *c = arg;
    if (c->got_count < SIM_KEPT_MAX)
        c->got[c->got_count++] = in;
}

void sim_on_receipt(void *arg, const ehis_receipt *r)
{
    struct sim_client *c = arg;
    if (c->told_count < SIM_KEPT_MAX)
        c->told[c->told_count++] = *r;
}

void sim_provider(struct sim_client *c)
{
    sim_client_init(c, SIM_POPULATION, NULL);
    EHIS_ASSERT(ehis_serve(c->e, SIM_PERSON, "GetPerson", sim_on_message, c, NULL) == EHIS_OK);
    work_run_orders(c->e);
    sim_client_connect(c);
}

void sim_consumer(struct sim_client *c)
{
    sim_client_init(c, SIM_TAX, NULL);
    sim_client_connect(c);
}

size_t sim_handed(struct sim_client *c)
{
    sim_client_turn(c);
    ehis_dispatch(c->e, 0);
    work_run_orders(c->e);
    sim_client_turn(c);
    return c->got_count;
}

void sim_on_done(void *arg, int err, const ehis_reply *reply, const char *why)
{
    struct sim_ended *x = arg;
    (void)why;
    x->count++;
    x->err = err;
    if (reply) {
        size_t n;
        const char *p = ehis_reply_body(reply, &n);
        memcpy(x->body, p, n < 63 ? n : 63);
        x->is_fault = ehis_reply_is_fault(reply);
    }
}

ehis_message sim_message(const char *body)
{
    return (ehis_message){.size = sizeof(ehis_message), .service = SIM_PERSON, .operation = "GetPerson", .purpose = "tax", .legal_basis = "Law 23",
                          .body = body, .body_bytes = strlen(body)};
}

void sim_call(struct sim_client *c, struct sim_ended *x)
{
    ehis_message m = sim_message("pin");
    *x = (struct sim_ended){0};
    EHIS_ASSERT(ehis_call_start(c->e, &m, sim_on_done, x, NULL, NULL) == EHIS_OK);
    work_run_orders(c->e);
    sim_client_turn(c);
}

void sim_on_kept(struct ehis *e, struct draft *d, ehis_err err, const struct ehis_why *why, struct span envelope)
{
    (void)why;
    EHIS_ASSERT(err == EHIS_OK && drafts_keep(e, d, envelope) == EHIS_OK);
    draft_free(d);
}

void sim_numbered(struct sim_client *c, const uint8_t stream[16], uint64_t number, const char *operation, struct buf *out)
{
    struct hash d;
    struct envelope_header h = {.kind = KIND_REQUEST, .recipient = span_str(SIM_PERSON), .operation = span_str(operation), .purpose = span_str("tax"),
                                .legal_basis = span_str("Law 23"), .stream = span_of(stream, 16), .number = number};
    sim_envelope(c, SIM_TAX, &h, "pin", out, &d);
}

uint32_t sim_ack_of(struct sim_client *c, uint64_t delivery, uint32_t *code)
{
    struct sim_frame f;
    uint32_t outcome = 0;
    while (sim_client_take(c, FRAME_ACK, &f)) {
        struct batch_signature s;
        struct span item;
        size_t at = 0;
        EHIS_ASSERT(batch_read(FRAME_ACK, span_of(f.p, f.len), &s, NULL) == EHIS_OK);
        while (batch_next(span_of(f.p, f.len), &at, &item)) {
            struct ack a;
            EHIS_ASSERT(ack_read(item, &a, NULL) == EHIS_OK);
            if (a.delivery == delivery) {
                outcome = a.outcome;
                *code = a.code;
            }
        }
        free(f.p);
    }
    return outcome;
}

/* ---- with two gateways ---- */

void sim_begin_two(struct sim_client *c, const char *system, bool is_replicating)
{
    ehis_config two = {.gateway_count = 2};
    sim_client_init(c, system, &two);
    c->is_replicating = is_replicating;
    ehis_on_receipt(c->e, sim_on_receipt, c);
    if (strcmp(system, SIM_POPULATION) == 0)
        EHIS_ASSERT(ehis_serve(c->e, SIM_PERSON, "GetPerson", sim_on_message, c, NULL) == EHIS_OK);
    work_run_orders(c->e);
    for (c->at = 0; c->at < 2; c->at++)
        sim_client_connect(c);
    c->at = 0;
}

void sim_send_one(struct sim_client *c)
{
    ehis_message m = sim_message("x");
    struct draft *d;
    EHIS_ASSERT(message_draft(c->e, &m, KIND_REQUEST, 600000, &d, NULL) == EHIS_OK);
    d->class_ = OUT_REQUESTS;
    d->on_made = sim_on_kept;
    drafts_add(c->e, d);
    sim_client_turn(c);
}

uint64_t sim_answer_open(struct sim_client *c, uint64_t expected, uint32_t code)
{
    struct sim_frame f;
    struct stream_open o;
    struct buf b;
    if (!sim_client_take(c, FRAME_STREAM_OPEN, &f))
        return 0;
    EHIS_ASSERT(stream_open_read(span_of(f.p, f.len), &o, NULL) == EHIS_OK);
    uint64_t from = o.next > o.lowest ? o.next : o.lowest;
    struct stream_state s = {.expected = code ? 0 : expected > from ? expected : from, .code = code};
    c->opened_lowest = o.lowest;
    memcpy(s.stream, o.stream, 16);
    buf_init(&b, 64);
    EHIS_ASSERT(stream_state_write(&s, &b) == EHIS_OK);
    free(f.p);
    EHIS_ASSERT(sim_client_frame(c, FRAME_STREAM_STATE, buf_span(&b)) == EHIS_OK);
    buf_fini(&b);
    return from;
}

uint64_t sim_open_stream(struct sim_client *c, uint64_t expected) { return sim_answer_open(c, expected, 0); }

uint64_t sim_submitted(struct sim_client *c, struct hash *digest, struct sim_frame *bytes)
{
    struct sim_frame f;
    struct envelope env;
    struct envelope_header h;
    if (!sim_client_take(c, FRAME_SUBMIT, &f))
        return UINT64_MAX;
    sim_read_submit(&f, &env, &h, digest);
    uint64_t number = h.number;
    if (bytes)
        *bytes = f;
    else
        free(f.p);
    return number;
}

void sim_leave(struct sim_client *c, unsigned at)
{
    c->at = at;
    sim_client_disconnect(c);
}

void sim_come(struct sim_client *c, unsigned at)
{
    c->at = at;
    sim_client_connect(c);
}
