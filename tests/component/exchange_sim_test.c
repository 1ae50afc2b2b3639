/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* The real core driven by one seed: systems that call, send streams, publish, acknowledge, refuse to read, die and come back; a gateway that is
 * killed and replays its journal, carries segments ahead and runs out of room. The model of each system is what libehis promises; what is
 * checked is the contract:
 *   R1 what was accepted is never lost        R2 in a stream each is handed over once and in order
 *   R3 nothing goes out before it is durable  R4 a receipt says only what has happened, and the same each time
 * and that records are numbered without a gap, bounds hold, and a replay gives the state that was. */
#include <stdio.h>
#include <stdlib.h>

#include "tests/support/sim_exchange.h"

#define SYSTEMS 3
#define STREAMS 7
#define SVC "AZ/GOV/b/two/svc"
#define CHECK(cond) ((cond) ? (void)0 : failed(#cond, __LINE__))
#define MUST(expr) CHECK((expr) == EHIS_OK)
#define BELOW(n) sim_random_below(&w.random, (n))
#define KNOWN_SLOTS ((size_t)1 << 16)

static const char *const names[SYSTEMS] = {"AZ/GOV/a/one", "AZ/GOV/b/two", "AZ/GOV/c/three"};
enum { A, B, C };

struct one {
    struct buf bytes;
    struct hash digest;
    uint8_t id[16], final, told; /* states of receipts */
    uint32_t code;
    int64_t told_ms, expires_ms;
    size_t from, stream; /* STREAMS: a call */
    uint64_t number;
    uint64_t accepted_group, final_group, refused_group; /* of its records; 0 = none */
    uint64_t ended_group[SYSTEMS];                       /* of an event, for each subscriber */
    unsigned handled[SYSTEMS], rejected[SYSTEMS], runs;
    bool is_get, is_short, is_done, is_crowded[SYSTEMS];
    struct one *request, *response; /* of a call, of an asynchronous Get */
};

struct stream { /* as its sender keeps it */
    size_t from;
    const char *recipient, *event, *operation;
    uint8_t id[16];
    struct one *sent[4096];
    uint64_t count, next, lowest, settled;
    bool is_open;
    int64_t not_before_ms;
};
struct arrival { struct one *m; bool is_skip; uint64_t delivery; struct hash named; };
struct inbox { /* of one stream at one recipient */
    uint64_t watermark, highest;
    bool has_begun;
    struct arrival waiting[4096]; /* by number % 4096 */
};
static struct {
    uint64_t seed, random, step;
    struct sim_house *h;
    session_id session[SYSTEMS];
    uint8_t state[SYSTEMS][16];
    bool is_deaf[SYSTEMS]; /* its output takes nothing */
    struct stream streams[STREAMS];
    struct inbox inboxes[SYSTEMS][STREAMS];
    struct one *calls[8192];
    size_t call_count, first_call;
    struct one *known[KNOWN_SLOTS];
    struct { struct one *m; uint64_t delivery; } todo[1024]; /* calls at their provider */
    size_t todo_count;
    size_t scanned; /* entries of the journal */
    uint64_t sequence;
    bool is_calm;
    unsigned restarts, releases, deaths, skips, responses, duplicates, shares;
} w;

static void failed(const char *what, int line)
{
    fprintf(stderr, "seed %llu, step %llu, line %d: %s\n", (unsigned long long)w.seed, (unsigned long long)w.step, line, what);
    abort();
}

/* ---- what is known of a message ---- */

static struct one *find(const struct hash *digest)
{
    size_t at = (size_t)be_get(digest->b, 8) % KNOWN_SLOTS;
    while (w.known[at] && memcmp(w.known[at]->digest.b, digest->b, 32) != 0)
        at = (at + 1) % KNOWN_SLOTS;
    return w.known[at];
}

static struct one *make(size_t from, const struct sim_message *m)
{
    struct one *o = calloc(1, sizeof *o);
    CHECK(o);
    buf_init(&o->bytes, 1 << 20);
    sim_envelope(w.h, m, &o->bytes, &o->digest, o->id);
    o->from = from;
    o->stream = STREAMS;
    struct envelope e;
    struct envelope_header header;
    MUST(envelope_read(buf_span(&o->bytes), &e, NULL));
    MUST(envelope_header_read(e.header, &header, NULL));
    o->expires_ms = (int64_t)header.expires_ms;
    size_t at = (size_t)be_get(o->digest.b, 8) % KNOWN_SLOTS;
    while (w.known[at])
        at = (at + 1) % KNOWN_SLOTS;
    w.known[at] = o;
    return o;
}

/* New records: numbered without a gap, and which group each message's state stands in. */
static void read_journal(void)
{
    struct record r;
    for (; w.scanned < w.h->count; w.scanned++) {
        const struct sim_entry *e = &w.h->entries[w.scanned];
        MUST(record_read(buf_span(&e->record), &r, NULL));
        CHECK(r.sequence == ++w.sequence);
        struct hash d;
        memcpy(d.b, r.digest, 32);
        struct one *m = find(&d);
        if (m && r.kind == RECORD_ACCEPTED) {
            CHECK(!m->accepted_group);
            m->accepted_group = e->group;
        }
        if (m && r.kind == RECORD_REFUSED && !m->refused_group) /* what is not remembered may be refused again */
            m->refused_group = e->group;
        if (m && (r.kind == RECORD_DELIVERED || r.kind == RECORD_FAILED || r.kind == RECORD_EXPIRED))
            m->final_group = e->group;
        for (size_t i = 0; m && r.code == EHIS_E_EXCHANGE_INBOX_FULL && i < SYSTEMS; i++)
            m->is_crowded[i] |= span_eq(r.system, span_str(names[i]));
        for (size_t i = 0; m && m->final_group == e->group && i < SYSTEMS; i++)
            if (!m->ended_group[i] && (r.system.len == 0 || span_eq(r.system, span_str(names[i]))))
                m->ended_group[i] = e->group;
    }
}

static bool is_durable(uint64_t group) { return group && group < w.h->open_group; }

static bool is_deaf(void *ctx, session_id s)
{
    (void)ctx;
    for (size_t i = 0; i < SYSTEMS; i++)
        if (w.session[i] == s)
            return w.is_deaf[i];
    return false;
}

/* ---- sessions ---- */

static void open_streams(size_t sys)
{
    for (size_t i = 0; i < STREAMS; i++) {
        struct stream *st = &w.streams[i];
        if (st->from != sys)
            continue;
        st->is_open = false;
        MUST(sim_stream_open(w.h, w.session[sys], st->id, st->recipient, st->event, st->lowest));
    }
}

static void forget_arrivals(size_t sys)
{
    for (size_t i = 0; i < STREAMS; i++) {
        memset(w.inboxes[sys][i].waiting, 0, sizeof w.inboxes[sys][i].waiting);
        w.inboxes[sys][i].highest = w.inboxes[sys][i].watermark;
    }
    for (size_t i = 0; i < w.todo_count;)
        if (sys == B)
            w.todo[i] = w.todo[--w.todo_count];
        else
            i++;
}

static void connect(size_t sys)
{
    w.session[sys] = sim_open_state(w.h, names[sys], w.state[sys]);
    w.is_deaf[sys] = false;
    forget_arrivals(sys);
    MUST(sim_set_ready(w.h, w.session[sys], 16, 1 + (uint32_t)BELOW(32), 20000));
    open_streams(sys);
    if (sys != B)
        MUST(sim_subscribe(w.h, w.session[sys], SVC, "Changed", false));
}

static void die(size_t sys)
{
    if (!w.session[sys])
        return;
    sim_end(w.h, w.session[sys]);
    w.session[sys] = 0;
    for (size_t i = 0; i < STREAMS; i++)
        if (w.streams[i].from == sys)
            w.streams[i].is_open = false;
    forget_arrivals(sys);
    w.deaths++;
}

/* ---- sending ---- */

static struct one *append_to(struct stream *st, size_t index, struct sim_message *m)
{
    m->stream = st->id;
    m->number = ++st->count;
    struct one *o = make(st->from, m);
    o->stream = index;
    o->number = st->count;
    st->sent[st->count] = o;
    return o;
}

static void write_one(size_t index)
{
    struct stream *st = &w.streams[index];
    if (st->count + 1 >= 2000)
        return;
    struct sim_message m = {.kind = st->event ? KIND_EVENT : KIND_REQUEST, .sender = names[st->from], .recipient = st->event ? SVC : st->from == B ? "AZ/GOV/a/one/svc" : SVC,
                            .operation = st->operation, .body_bytes = 64 + (uint32_t)BELOW(1000)};
    if (!st->event && BELOW(12) == 0)
        m.purpose = "nosing"; /* will be refused */
    bool is_short = !st->event && BELOW(25) == 0;
    if (is_short)
        m.lifetime_ms = 5000;
    bool is_get = st->from != B && !st->event && BELOW(4) == 0;
    if (is_get)
        m.operation = "Get";
    struct one *o = append_to(st, index, &m);
    o->is_short = is_short;
    o->is_get = is_get;
}

static void push(size_t index)
{
    struct stream *st = &w.streams[index];
    session_id s = w.session[st->from];
    if (!s || !st->is_open || st->next > st->count || w.h->clock.wall_ms < st->not_before_ms)
        return;
    MUST(sim_submit_bytes(w.h, s, buf_span(&st->sent[st->next]->bytes)));
    st->next++;
}

static void call(void)
{
    size_t sys = BELOW(2) ? A : C;
    if (!w.session[sys] || w.call_count >= 8000)
        return;
    struct sim_message m = {.kind = KIND_REQUEST, .sender = names[sys], .recipient = SVC, .operation = "Get", .max_response_bytes = 4096};
    struct one *o = w.calls[w.call_count++] = make(sys, &m);
    MUST(sim_submit_bytes(w.h, w.session[sys], buf_span(&o->bytes)));
}

static void call_again(void)
{
    while (w.first_call < w.call_count && w.calls[w.first_call]->is_done)
        w.first_call++;
    if (w.first_call == w.call_count)
        return;
    size_t at = w.first_call + BELOW(w.call_count - w.first_call);
    while (w.is_calm && at < w.call_count && w.calls[at]->is_done)
        at++;
    struct one *o = w.calls[at < w.call_count ? at : w.first_call];
    if (!o->is_done && w.session[o->from])
        MUST(sim_submit_bytes(w.h, w.session[o->from], buf_span(&o->bytes)));
}

/* The provider runs a call once, and answers with the same bytes each time it is asked. */
static void serve(void)
{
    if (w.todo_count == 0 || !w.session[B])
        return;
    size_t at = BELOW(w.todo_count);
    struct one *q = w.todo[at].m;
    w.todo[at] = w.todo[--w.todo_count];
    if (!q->response) {
        if (q->expires_ms <= w.h->clock.wall_ms)
            return;
        q->runs++;
        struct sim_message m = {.kind = KIND_RESPONSE, .sender = names[B], .recipient = names[q->from], .operation = "Get", .in_reply_to = &q->digest,
                                .exchange_id = q->id, .body_bytes = 64 + (uint32_t)BELOW(500),
                                .lifetime_ms = q->expires_ms - w.h->clock.wall_ms};
        q->response = make(B, &m);
        q->response->request = q;
    }
    MUST(sim_submit_bytes(w.h, w.session[B], buf_span(&q->response->bytes)));
}

/* ---- receiving ---- */

static size_t stream_of(const uint8_t id[16])
{
    for (size_t i = 0; i < STREAMS; i++)
        if (memcmp(w.streams[i].id, id, 16) == 0)
            return i;
    CHECK(false && "an unknown stream");
    return 0;
}

/* Numbers arrive without a gap: each is the next, or one that came before. */
static void arrive(size_t sys, const struct sim_out *o, struct one *m)
{
    size_t index = stream_of(o->stream);
    struct inbox *in = &w.inboxes[sys][index];
    if (!in->has_begun && w.streams[index].event) /* a subscriber begins where it joined */
        in->watermark = in->highest = o->number - 1;
    in->has_begun = true;
    while (w.streams[index].event && in->highest + 1 < o->number && w.streams[index].sent[in->highest + 1]->is_crowded[sys])
        in->highest++; /* its queue was full: recorded, and for it a gap */
    CHECK(o->number <= in->highest + 1);
    if (o->number > in->highest)
        in->highest = o->number;
    struct arrival *a = &in->waiting[o->number % 4096];
    *a = (struct arrival){.m = m, .is_skip = o->what == SIM_SKIP, .delivery = o->delivery, .named = o->digest};
    if (a->is_skip)
        sim_skip_leaf(o, &a->named);
}

/* Acknowledges some of what has arrived: in order within each stream; what was handled before is acknowledged again. */
static void acknowledge(size_t sys)
{
    struct sim_ack acks[64];
    size_t count = 0;
    if (!w.session[sys])
        return;
    for (size_t i = 0; i < STREAMS; i++) {
        struct inbox *in = &w.inboxes[sys][i];
        while (in->watermark < in->highest && w.streams[i].event && w.streams[i].sent[in->watermark + 1]->is_crowded[sys])
            in->watermark++;
        for (uint64_t n = in->watermark < 100 ? 1 : in->watermark - 99; n <= in->highest && count < 64; n++) {
            struct arrival *a = &in->waiting[n % 4096];
            if (!a->delivery || (n > in->watermark + 1) || (!w.is_calm && BELOW(4) == 0 && n > in->watermark))
                continue;
            enum outcome outcome = OUTCOME_DONE;
            if (n == in->watermark + 1) {
                uint64_t dice = w.is_calm ? 99 : BELOW(100);
                if (!a->is_skip && dice < 8)
                    outcome = OUTCOME_RETRY;
                else if (!a->is_skip && dice < 11)
                    outcome = OUTCOME_REJECTED;
                if (outcome != OUTCOME_RETRY) {
                    in->watermark = n;
                    if (!a->is_skip) {
                        CHECK(a->m->handled[sys]++ == 0);
                        a->m->rejected[sys] += outcome == OUTCOME_REJECTED;
                    }
                    w.skips += a->is_skip;
                }
            } else {
                w.duplicates++;
                if (!a->is_skip && a->m->rejected[sys])
                    outcome = OUTCOME_REJECTED;
            }
            acks[count++] = (struct sim_ack){a->delivery, a->named, outcome, 0, 0};
            if (outcome == OUTCOME_DONE && !a->is_skip && a->m->is_get && !a->m->response && sys == B && a->m->expires_ms > w.h->clock.wall_ms) {
                size_t back = a->m->from == A ? 5 : 6;
                struct sim_message m = {.kind = KIND_RESPONSE, .sender = names[B], .recipient = names[a->m->from], .operation = "Get",
                                        .in_reply_to = &a->m->digest, .exchange_id = a->m->id, .lifetime_ms = a->m->expires_ms - w.h->clock.wall_ms};
                a->m->response = append_to(&w.streams[back], back, &m);
                a->m->response->request = a->m;
                a->m->response->is_short = a->m->is_short;
            }
            a->delivery = 0;
        }
    }
    if (count)
        MUST(sim_ack(w.h, w.session[sys], names[sys], acks, count));
}

static void take_receipt(size_t sys, const struct sim_out *o)
{
    struct one *m = find(&o->digest);
    CHECK(m && m->from == sys);
    if (o->state == STATE_ACCEPTED)
        CHECK(is_durable(m->accepted_group));
    else if (o->state == STATE_REFUSED)
        CHECK(is_durable(m->refused_group) || (m->stream == STREAMS && sim_record_count(w.h, RECORD_REFUSALS)));
    else
        CHECK(is_durable(m->final_group) || m->response);
    if (m->final) /* R4: the same again */
        CHECK(m->final == o->state && m->code == o->code && m->told_ms == o->time_ms);
    if (o->state == STATE_DELIVERED && m->stream < STREAMS) {
        struct acknowledgement ack;
        MUST(acknowledgement_read(buf_span(&o->bytes), &ack, NULL));
        CHECK(memcmp(ack.digest, m->digest.b, 32) == 0 && ack.outcome == OUTCOME_DONE);
        CHECK(m->handled[A] + m->handled[B] + m->handled[C] == 1);
    }
    m->told = o->state;
    bool is_event = m->stream < STREAMS && w.streams[m->stream].event;
    if (o->state > STATE_REPLICATED || is_event) {
        m->final = o->state;
        m->code = o->code;
        m->told_ms = o->time_ms;
    }
    if (m->stream == STREAMS && o->state > STATE_REPLICATED)
        m->is_done = true;
    if (m->stream == STREAMS)
        return;
    struct stream *st = &w.streams[m->stream];
    while (st->lowest <= st->count && st->sent[st->lowest]->final)
        st->lowest++;
}

static void take_frame(size_t sys, const struct sim_out *o)
{
    struct stream_state state;
    if (o->type == FRAME_STREAM_STATE) {
        MUST(stream_state_read(buf_span(&o->bytes), &state, NULL));
        struct stream *st = &w.streams[stream_of(state.stream)];
        CHECK(state.code == 0 && st->from == sys && state.expected >= st->lowest && state.expected <= st->count + 1);
        st->next = state.expected;
        st->is_open = true;
    }
    if (o->type == FRAME_SUBSCRIPTION) {
        struct subscription sub;
        MUST(subscription_read(buf_span(&o->bytes), &sub, NULL));
        CHECK(sub.code == 0);
    }
}

/* How much of an inbox its sender has, as far as its own streams say. */
static size_t held_by(size_t from, const char *recipient)
{
    size_t held = 0;
    for (size_t i = 0; i < STREAMS; i++) {
        const struct stream *st = &w.streams[i];
        for (uint64_t n = st->lowest; st->from == from && !st->event && strcmp(st->recipient, recipient) == 0 && n <= st->count; n++)
            held += st->sent[n]->accepted_group && !st->sent[n]->final_group;
    }
    return held;
}

/* Whoever has nothing in an inbox gets in, and one sender's share is half of it at most. */
static void check_share(const struct one *m)
{
    if (m->stream == STREAMS) /* calls: bounds of their own */
        return;
    size_t held = held_by(m->from, w.streams[m->stream].recipient);
    CHECK(held > 0 && held <= (w.h->bounds.stored_messages_max + 1) / 2);
    w.shares++;
}

static void take_flow(const struct sim_out *o)
{
    struct one *m = find(&o->digest);
    CHECK(m);
    if (o->code == EHIS_E_EXCHANGE_SHARE_FULL)
        check_share(m);
    if (m->stream == STREAMS)
        return;
    struct stream *st = &w.streams[m->stream];
    if (o->code == EHIS_E_EXCHANGE_OUT_OF_SEQUENCE) {
        CHECK(o->expected >= st->lowest && o->expected <= st->count + 1);
        st->next = o->expected;
    } else if (m->number < st->next) {
        st->next = m->number;
        st->not_before_ms = w.h->clock.wall_ms + o->retry_ms;
    }
}

static void take_delivery(size_t sys, const struct sim_out *o)
{
    static const uint8_t none[16];
    struct one *m = find(&o->digest);
    CHECK(m && is_durable(m->accepted_group)); /* R3 */
    CHECK(span_eq(buf_span(&o->bytes), buf_span(&m->bytes)));
    if (memcmp(o->stream, none, 16) != 0) {
        arrive(sys, o, m);
    } else if (m->request) { /* a call's response */
        CHECK(sys == m->request->from && m->request->response == m);
        m->request->is_done = true;
        w.responses++;
    } else {
        CHECK(sys == B);
        if (w.todo_count < 1024) {
            w.todo[w.todo_count].m = m;
            w.todo[w.todo_count++].delivery = o->delivery;
        }
    }
}

static void take_outputs(void)
{
    read_journal();
    for (struct sim_out *o; (o = sim_take(w.h, 0, 0));) {
        size_t sys = 0;
        while (sys < SYSTEMS && w.session[sys] != o->session)
            sys++;
        if (sys == SYSTEMS)
            continue; /* was on its way when the session died */
        switch (o->what) {
        case SIM_RECEIPT:
            take_receipt(sys, o);
            break;
        case SIM_FLOW:
            take_flow(o);
            break;
        case SIM_DELIVERY:
            take_delivery(sys, o);
            break;
        case SIM_SKIP:
            CHECK(find(&o->digest) && (is_durable(find(&o->digest)->refused_group) || is_durable(find(&o->digest)->ended_group[sys])));
            arrive(sys, o, find(&o->digest));
            break;
        case SIM_FRAME:
            take_frame(sys, o);
            break;
        default:
            CHECK(false && "the core ended a session");
        }
    }
}

static void settle(size_t index)
{
    struct stream *st = &w.streams[index];
    if (!st->is_open || st->lowest <= st->settled || !w.session[st->from])
        return;
    MUST(sim_settled(w.h, w.session[st->from], st->id, st->lowest));
    st->settled = st->lowest;
}

/* ---- the gateway's troubles ---- */

static void restart(void)
{
    bool keeps = BELOW(2);
    take_outputs();
    if (!keeps)
        for (size_t i = 0; i < KNOWN_SLOTS; i++) { /* what was not durable never happened */
            struct one *m = w.known[i];
            if (!m)
                continue;
            m->accepted_group = m->accepted_group == w.h->open_group ? 0 : m->accepted_group;
            m->refused_group = m->refused_group == w.h->open_group ? 0 : m->refused_group;
            m->final_group = m->final_group == w.h->open_group ? 0 : m->final_group;
            for (size_t j = 0; j < SYSTEMS; j++)
                m->ended_group[j] = m->ended_group[j] == w.h->open_group ? 0 : m->ended_group[j];
        }
    sim_restart(w.h, keeps);
    sim_forget(w.h);
    if (w.scanned > w.h->count)
        w.scanned = w.h->count;
    struct record r;
    w.sequence = 0;
    size_t last = w.scanned;
    if (last > w.h->first) {
        MUST(record_read(buf_span(&w.h->entries[last - 1].record), &r, NULL));
        w.sequence = r.sequence;
    }
    for (size_t sys = 0; sys < SYSTEMS; sys++) {
        w.session[sys] = 0;
        forget_arrivals(sys);
        for (size_t i = 0; i < STREAMS; i++)
            if (w.streams[i].from == sys)
                w.streams[i].is_open = false;
    }
    sim_pass(w.h, 1); /* what time had made forgotten goes again */
    w.restarts++;
}

static uint64_t waiting_sum;
static void add_waiting(void *ctx, const struct exchange_inbox_status *i)
{
    (void)ctx;
    waiting_sum += i->waiting * 1000003 + i->waiting_bytes;
}

/* A replay of what the journal holds gives what is in memory. */
static void compare_replay(void)
{
    struct exchange *other;
    struct exchange_status s, t;
    sim_durable(w.h);
    take_outputs();
    exchange_status(w.h->x, &s);
    waiting_sum = 0;
    exchange_each_inbox(w.h->x, add_waiting, NULL);
    uint64_t sum = waiting_sum;
    MUST(sim_replay_into(w.h, &other));
    exchange_status(other, &t);
    waiting_sum = 0;
    exchange_each_inbox(other, add_waiting, NULL);
    CHECK(s.stored_bytes == t.stored_bytes);
    CHECK(s.streams == t.streams && s.subscriptions == t.subscriptions && s.next_sequence == t.next_sequence);
    CHECK(t.stored_messages >= s.stored_messages && t.known_calls >= s.known_calls);
    if (w.is_calm)
        CHECK(sum == waiting_sum);
    exchange_free(other);
}

static void check_bounds(void)
{
    struct exchange_status s;
    exchange_status(w.h->x, &s);
    CHECK(s.stored_messages <= SYSTEMS * w.h->bounds.stored_messages_max);
    CHECK(s.in_flight <= SYSTEMS * (16 + 32));
}

static void step(void)
{
    size_t sys = BELOW(SYSTEMS), index = BELOW(5);
    switch (BELOW(40)) {
    case 0: case 1: case 2: case 3: case 4: case 5: case 6:
        write_one(index);
        break;
    case 7: case 8: case 9: case 10: case 11: case 12: case 13: case 14:
        for (size_t n = BELOW(12); n-- > 0;)
            push(BELOW(STREAMS));
        break;
    case 15: case 16: case 17:
        call();
        break;
    case 18:
        call_again();
        break;
    case 19: case 20: case 21:
        serve();
        break;
    case 22: case 23: case 24: case 25:
        acknowledge(sys);
        break;
    case 26:
        if (w.session[sys])
            w.is_deaf[sys] = BELOW(2);
        break;
    case 27: case 28:
        if (w.session[sys]) {
            w.is_deaf[sys] = false;
            exchange_session_room(w.h->x, w.session[sys], w.h->clock.wall_ms);
        } else {
            connect(sys);
        }
        break;
    case 29:
        if (BELOW(4) == 0)
            die(sys);
        break;
    case 30:
        sim_pass(w.h, 50 + (int64_t)BELOW(3000));
        break;
    case 31:
        settle(BELOW(STREAMS));
        break;
    case 32:
        if (BELOW(8) == 0)
            restart();
        break;
    case 33:
        if (BELOW(4) == 0) {
            sim_release(w.h);
            w.releases++;
        }
        break;
    case 34:
        if (w.h->entries[w.h->first].segment < w.h->segment) /* carried in part, then perhaps killed */
            exchange_carry(w.h->x, w.h->entries[w.h->first].segment, BELOW(5), w.h->clock.wall_ms);
        break;
    case 35:
        w.h->room_bytes = BELOW(4) ? UINT64_C(1) << 40 : 50000;
        break;
    default:
        sim_durable(w.h);
    }
    take_outputs();
    check_bounds();
}

/* Everything comes back and is read: all must end. */
static void calm_down(void)
{
    w.is_calm = true;
    w.h->room_bytes = UINT64_C(1) << 40;
    for (size_t i = 0; i < SYSTEMS; i++) {
        die(i);
        connect(i);
    }
    for (int round = 0; round < 4000; round++) {
        for (size_t i = 0; i < STREAMS; i++) {
            settle(i);
            for (int n = 0; n < 4; n++)
                push(i);
        }
        for (size_t i = 0; i < SYSTEMS; i++)
            acknowledge(i);
        serve();
        call_again();
        sim_durable(w.h);
        take_outputs();
        if (round % 10 == 0)
            sim_pass(w.h, 1000);
        take_outputs();
        w.step++;
    }
    sim_pass(w.h, 40000);
    sim_durable(w.h);
    take_outputs();
    compare_replay();
}

static void check_end(void)
{
    for (size_t i = 0; i < STREAMS; i++) {
        struct stream *st = &w.streams[i];
        if (st->lowest != st->count + 1)
            fprintf(stderr, "stream %zu ends at %llu of %llu, next %llu\n", i, (unsigned long long)st->lowest, (unsigned long long)st->count, (unsigned long long)st->next);
        CHECK(st->lowest == st->count + 1); /* each has its final receipt */
        for (uint64_t n = 1; n <= st->count; n++) {
            const struct one *m = st->sent[n];
            unsigned handled = m->handled[A] + m->handled[B] + m->handled[C], rejected = m->rejected[A] + m->rejected[B] + m->rejected[C];
            if (st->event) {
                CHECK(m->final != STATE_ACCEPTED || handled >= 1 || m->final_group); /* dead-lettered, or nobody was there yet */
                continue;
            }
            if (m->final == STATE_DELIVERED)
                CHECK(handled == 1 && rejected == 0);
            else if (m->final == STATE_REFUSED)
                CHECK(handled == 0);
            else if (m->final == STATE_FAILED)
                CHECK(rejected == handled || m->code == EHIS_E_EXCHANGE_DEAD_LETTER);
            else
                CHECK(m->final == STATE_EXPIRED && m->is_short);
        }
    }
    for (size_t i = 0; i < w.call_count; i++) {
        CHECK(w.calls[i]->runs <= 1);
        CHECK(w.calls[i]->is_done);
    }
    sim_pass(w.h, 120000);
    sim_durable(w.h);
    struct exchange_status s;
    exchange_status(w.h->x, &s);
    CHECK(s.stored_bytes == 0 && s.in_flight == 0);
}

static unsigned all_shares;
static void run(uint64_t seed, uint64_t steps)
{
    static const struct { size_t from; const char *recipient, *event, *operation; } plan[STREAMS] = {
        {A, "AZ/GOV/b/two", NULL, "Put"}, {A, "AZ/GOV/b/two", NULL, "Put"}, {C, "AZ/GOV/b/two", NULL, "Put"}, {B, "AZ/GOV/a/one", NULL, "Get"},
        {B, SVC, "Changed", "Changed"}, {B, "AZ/GOV/a/one", NULL, "Get"}, {B, "AZ/GOV/c/three", NULL, "Get"}};
    memset(&w, 0, sizeof w);
    w.seed = w.random = seed;
    w.h = sim_house_new(seed);
    w.h->is_full = is_deaf;
    w.h->segment_entries = 40 + BELOW(200);
    w.h->bounds.stored_messages_max = 150;
    w.h->bounds.attempts_max = 3;
    sim_restart(w.h, true);
    w.sequence = w.h->count;
    w.scanned = w.h->count;
    for (size_t i = 0; i < STREAMS; i++) {
        struct stream *st = &w.streams[i];
        st->from = plan[i].from;
        st->recipient = plan[i].recipient;
        st->event = plan[i].event;
        st->operation = plan[i].operation;
        st->next = st->lowest = st->settled = 1;
        random_fill(&w.h->clock.random, st->id, 16);
    }
    for (size_t i = 0; i < SYSTEMS; i++) {
        random_fill(&w.h->clock.random, w.state[i], 16);
        connect(i);
    }
    for (w.step = 0; w.step < steps; w.step++) {
        step();
        if (w.step % 1500 == 1499)
            compare_replay();
    }
    calm_down();
    check_end();
    struct exchange_status s;
    exchange_status(w.h->x, &s);
    uint64_t sent = 0;
    for (size_t i = 0; i < STREAMS; i++)
        sent += w.streams[i].count;
    printf("seed %llu: %llu in streams, %zu calls, %u responses, %u skips, %u duplicates, %u restarts, %u releases, %u deaths, %u beyond a share\n", (unsigned long long)seed,
           (unsigned long long)sent, w.call_count, w.responses, w.skips, w.duplicates, w.restarts, w.releases, w.deaths, w.shares);
    fflush(stdout);
    all_shares += w.shares;
    for (size_t i = 0; i < KNOWN_SLOTS; i++)
        if (w.known[i]) {
            buf_fini(&w.known[i]->bytes);
            free(w.known[i]);
        }
    sim_house_free(w.h);
}

/* exchange_sim_test [seed [steps]] */
int main(int argc, char **argv)
{
    uint64_t seed = argc > 1 ? strtoull(argv[1], NULL, 10) : 0, steps = argc > 2 ? strtoull(argv[2], NULL, 10) : 5000;
    if (argc > 1) {
        run(seed, steps);
        return 0;
    }
    for (seed = 1; seed <= 12; seed++)
        run(seed, steps);
    CHECK(all_shares > 0);
    return 0;
}
