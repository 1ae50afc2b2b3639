/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* What the systems of the seed get: deliveries, receipts, refusals to take; each is checked against what may be said by then. */
#include "tests/component/exchange_sim.h"

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
        struct one *m = model_find(&d);
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
void model_acknowledge(size_t sys)
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
                a->m->response = model_append(&w.streams[back], back, &m);
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
    struct one *m = model_find(&o->digest);
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
    struct one *m = model_find(&o->digest);
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
    struct one *m = model_find(&o->digest);
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

void model_take_outputs(void)
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
            CHECK(model_find(&o->digest) && (is_durable(model_find(&o->digest)->refused_group) || is_durable(model_find(&o->digest)->ended_group[sys])));
            arrive(sys, o, model_find(&o->digest));
            break;
        case SIM_FRAME:
            take_frame(sys, o);
            break;
        default:
            CHECK(false && "the core ended a session");
        }
    }
}
