/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* The systems of the seed: what is known of their messages, their sessions, what they send. */
#include <stdio.h>
#include <stdlib.h>

#include "tests/component/exchange_sim.h"

struct world w;

void model_failed(const char *what, const char *file, int line)
{
    fprintf(stderr, "seed %llu, step %llu, %s:%d: %s\n", (unsigned long long)w.seed, (unsigned long long)w.step, file, line, what);
    abort();
}

/* ---- what is known of a message ---- */

struct one *model_find(const struct hash *digest)
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

void model_forget_arrivals(size_t sys)
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

void model_connect(size_t sys)
{
    w.session[sys] = sim_open_state(w.h, names[sys], w.state[sys]);
    w.is_deaf[sys] = false;
    model_forget_arrivals(sys);
    MUST(sim_set_ready(w.h, w.session[sys], 16, 1 + (uint32_t)BELOW(32), 20000));
    open_streams(sys);
    if (sys != B)
        MUST(sim_subscribe(w.h, w.session[sys], SVC, "Changed", false));
}

void model_die(size_t sys)
{
    if (!w.session[sys])
        return;
    sim_end(w.h, w.session[sys]);
    w.session[sys] = 0;
    for (size_t i = 0; i < STREAMS; i++)
        if (w.streams[i].from == sys)
            w.streams[i].is_open = false;
    model_forget_arrivals(sys);
    w.deaths++;
}

/* ---- sending ---- */

struct one *model_append(struct stream *st, size_t index, struct sim_message *m)
{
    m->stream = st->id;
    m->number = ++st->count;
    struct one *o = make(st->from, m);
    o->stream = index;
    o->number = st->count;
    st->sent[st->count] = o;
    return o;
}

void model_write(size_t index)
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
    struct one *o = model_append(st, index, &m);
    o->is_short = is_short;
    o->is_get = is_get;
}

void model_push(size_t index)
{
    struct stream *st = &w.streams[index];
    session_id s = w.session[st->from];
    if (!s || !st->is_open || st->next > st->count || w.h->clock.wall_ms < st->not_before_ms)
        return;
    MUST(sim_submit_bytes(w.h, s, buf_span(&st->sent[st->next]->bytes)));
    st->next++;
}

void model_call(void)
{
    size_t sys = BELOW(2) ? A : C;
    if (!w.session[sys] || w.call_count >= 8000)
        return;
    struct sim_message m = {.kind = KIND_REQUEST, .sender = names[sys], .recipient = SVC, .operation = "Get", .max_response_bytes = 4096};
    struct one *o = w.calls[w.call_count++] = make(sys, &m);
    MUST(sim_submit_bytes(w.h, w.session[sys], buf_span(&o->bytes)));
}

void model_call_again(void)
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

void model_serve(void)
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

void model_settle(size_t index)
{
    struct stream *st = &w.streams[index];
    if (!st->is_open || st->lowest <= st->settled || !w.session[st->from])
        return;
    MUST(sim_settled(w.h, w.session[st->from], st->id, st->lowest));
    st->settled = st->lowest;
}
