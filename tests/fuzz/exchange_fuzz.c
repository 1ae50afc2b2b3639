/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* A stateful session: the input is a script of verbs, some with raw bytes as their payload, some well-formed and signed. Whatever it says, the core
 * neither crashes nor breaks its bounds, and in the end a replay of its journal is taken. */
#include "tests/support/sim_exchange.h"

#define SVC "AZ/GOV/b/two/svc"
#define STEPS_MAX 400

static const char *const names[4] = {"AZ/GOV/a/one", "AZ/GOV/b/two", "AZ/GOV/c/three", "AZ/GOV/d/four"};
static struct {
    struct sim_house *h;
    session_id sessions[4];
    struct { struct sim_ack ack; session_id session; size_t system; } seen[64];
    size_t seen_count;
    struct hash last;
    uint8_t last_id[16];
    bool is_deaf;
} f;

static bool deaf(void *ctx, session_id s)
{
    (void)ctx, (void)s;
    return f.is_deaf;
}

static uint64_t take(struct cursor *in, unsigned width)
{
    uint64_t v = 0;
    ehis_err err = cursor_take_be(in, width, &v);
    return err == EHIS_OK ? v : 0;
}

static void raw(struct cursor *in, session_id s)
{
    ehis_err (*const verbs[])(struct exchange *, session_id, struct span, int64_t, struct ehis_why *) = {
        exchange_on_ready, exchange_on_stream_open, exchange_on_stream_settled, exchange_on_submit, exchange_on_acks, exchange_on_subscribe, exchange_on_keys_get};
    size_t which = take(in, 1) % (sizeof verbs / sizeof *verbs), n = take(in, 2);
    struct span payload;
    struct ehis_why why;
    if (cursor_take(in, n < cursor_left(in) ? n : cursor_left(in), &payload) != EHIS_OK)
        return;
    if (verbs[which](f.h->x, s, payload, f.h->clock.wall_ms, &why) != EHIS_OK)
        sim_end(f.h, s);
}

static void submit(struct cursor *in, size_t system, session_id s)
{
    uint8_t stream[16] = {(uint8_t)(take(in, 1) % 3)}, how = (uint8_t)take(in, 1);
    struct sim_message m = {.sender = names[system], .recipient = system == 1 ? "AZ/GOV/a/one/svc" : SVC, .operation = how & 1 ? "Put" : "Get", .body_bytes = 1 + (uint32_t)take(in, 1)};
    m.kind = (enum envelope_kind)(1 + how / 2 % 4);
    m.purpose = how & 128 ? "nosing" : NULL;
    m.number = stream[0] ? take(in, 1) + 1 : 0;
    m.stream = stream[0] || m.kind == KIND_EVENT ? stream : NULL;
    m.number += m.stream && !m.number;
    if (m.kind == KIND_RESPONSE) {
        m.recipient = names[how / 16 % 4];
        m.in_reply_to = &f.last;
        m.exchange_id = f.last_id;
    }
    if (m.kind >= KIND_EVENT) {
        m.recipient = SVC;
        m.operation = "Changed";
    }
    if (m.kind == KIND_KEY) {
        m.stream = NULL;
        m.number = 0;
    }
    struct buf b;
    buf_init(&b, 1 << 20);
    struct hash d;
    uint8_t id[16];
    sim_envelope(f.h, &m, &b, &d, id);
    if (sim_submit_bytes(f.h, s, buf_span(&b)) != EHIS_OK)
        sim_end(f.h, s);
    if (m.kind == KIND_REQUEST) {
        f.last = d;
        memcpy(f.last_id, id, 16);
    }
    buf_fini(&b);
}

static void look(void)
{
    for (struct sim_out *o; (o = sim_take(f.h, 0, 0));) {
        if ((o->what != SIM_DELIVERY && o->what != SIM_SKIP) || f.seen_count == 64)
            continue;
        f.seen[f.seen_count].session = o->session;
        f.seen[f.seen_count].ack = (struct sim_ack){o->delivery, o->digest, OUTCOME_DONE, 0, 0};
        if (o->what == SIM_SKIP)
            sim_skip_leaf(o, &f.seen[f.seen_count].ack.digest);
        for (size_t i = 0; i < 4; i++)
            if (f.sessions[i] == o->session)
                f.seen[f.seen_count].system = i;
        f.seen_count++;
    }
}

static void acknowledge(struct cursor *in)
{
    size_t at = take(in, 1);
    if (f.seen_count == 0)
        return;
    at %= f.seen_count;
    f.seen[at].ack.outcome = (enum outcome)(1 + take(in, 1) % 3);
    ehis_err err = sim_ack(f.h, f.seen[at].session, names[f.seen[at].system], &f.seen[at].ack, 1);
    (void)err;
    f.seen[at] = f.seen[--f.seen_count];
}

static void one(struct cursor *in)
{
    uint8_t op = (uint8_t)take(in, 1), stream[16] = {0};
    size_t system = op / 16 % 4;
    session_id s = f.sessions[system];
    ehis_err err = EHIS_OK;
    switch (op % 16) {
    case 0:
        f.h->is_journal_full = false;
        if (s)
            sim_end(f.h, s);
        f.sessions[system] = sim_ready(f.h, names[system], 8, 8, 4096);
        break;
    case 1: case 2:
        raw(in, s);
        break;
    case 3: case 4: case 5:
        submit(in, system, s);
        break;
    case 6:
        acknowledge(in);
        break;
    case 7:
        stream[0] = (uint8_t)(take(in, 1) % 3);
        err = sim_stream_open(f.h, s, stream, system == 1 && stream[0] < 2 ? SVC : names[(system + 1) % 4], system == 1 && stream[0] < 2 ? "Changed" : NULL, 1 + take(in, 1));
        break;
    case 8:
        stream[0] = (uint8_t)(take(in, 1) % 3);
        err = sim_settled(f.h, s, stream, 1 + take(in, 1));
        break;
    case 9:
        err = sim_subscribe(f.h, s, SVC, "Changed", take(in, 1) & 1);
        break;
    case 10:
        f.is_deaf = take(in, 1) & 1;
        if (!f.is_deaf)
            exchange_session_room(f.h->x, s, f.h->clock.wall_ms);
        break;
    case 11:
        sim_pass(f.h, (int64_t)take(in, 2) * 20);
        break;
    case 12:
        f.is_deaf = false;
        sim_restart(f.h, op & 64);
        memset(f.sessions, 0, sizeof f.sessions);
        f.seen_count = 0;
        break;
    case 13:
        if (!f.h->is_journal_full)
            sim_release(f.h);
        break;
    case 14:
        f.h->is_journal_full = take(in, 1) & 1;
        break;
    default:
        sim_durable(f.h);
    }
    (void)err;
    look();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct cursor in = cursor_of(span_of(data, size));
    struct exchange_status s;
    memset(&f, 0, sizeof f);
    f.h = sim_house_new(3);
    f.h->is_full = deaf;
    f.h->segment_entries = 8;
    f.h->bounds.stored_messages_max = 20;
    f.h->bounds.streams_max = 3;
    sim_restart(f.h, true);
    for (size_t i = 0; i < STEPS_MAX && cursor_left(&in); i++)
        one(&in);
    f.h->is_journal_full = false;
    exchange_status(f.h->x, &s);
    EHIS_ASSERT(s.stored_messages <= 4 * 20 + 20 && s.streams <= 12);
    sim_restart(f.h, true);
    sim_house_free(f.h);
    return 0;
}
