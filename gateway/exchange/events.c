/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* Events: subscriptions, one stored envelope fanned out by references. */
#include "gateway/exchange/exchange_priv.h"

#include <stdlib.h>

#define SUBSCRIBERS_MAX 4096 /* of one event: what a record can name */

struct topic *exchange_topic(struct exchange *x, struct span service, struct span event, bool is_made)
{
    struct name *name = is_made ? exchange_name(x, service) : exchange_name_find(x, service);
    uint8_t key[sizeof name + 64];
    if (!name || event.len > 64)
        return NULL;
    memcpy(key, &name, sizeof name);
    memcpy(key + sizeof name, event.p, event.len);
    uint64_t hash = table_hash(&x->topics, key, sizeof name + event.len);
    for (struct table_node *n = *table_head(&x->topics, hash); n; n = n->next) {
        struct topic *t = container_of(n, struct topic, by_name);
        if (t->service == name && span_eq(topic_event(t), event))
            return t;
    }
    struct topic *t = is_made ? calloc(1, sizeof *t) : NULL;
    if (!t)
        return NULL;
    t->service = name;
    t->event_bytes = (uint8_t)event.len;
    memcpy(t->event, event.p, event.len);
    node_init(&t->subscriptions);
    node_init(&t->keys);
    table_add(&x->topics, hash, &t->by_name);
    return t;
}

/* A system has few subscriptions, a topic may have thousands. */
struct subscriber *exchange_subscriber(const struct topic *t, const struct system *s)
{
    for (struct node *n = s->subscriptions.next; n != &s->subscriptions; n = n->next)
        if (container_of(n, struct subscriber, in_system)->topic == t)
            return container_of(n, struct subscriber, in_system);
    return NULL;
}

size_t exchange_subscriber_count(const struct topic *t)
{
    size_t count = 0;
    for (const struct node *n = t->subscriptions.next; n != &t->subscriptions; n = n->next)
        count++;
    return count;
}

struct delivery *exchange_delivery_of(const struct message *m, const struct system *to)
{
    for (struct delivery *d = m->deliveries; d; d = d->next)
        if (d->to == to)
            return d;
    return NULL;
}

/* Encoded for the record of an event: so a replay does not depend on where the subscriptions stand. */
ehis_err exchange_subscribers(struct exchange *x, const struct topic *t, struct span *out)
{
    buf_clear(&x->text_buf);
    for (struct node *n = t->subscriptions.next; n != &t->subscriptions; n = n->next)
        EHIS_TRY(record_pending_put(name_span(container_of(n, struct subscriber, in_topic)->system->name), &x->text_buf));
    *out = buf_span(&x->text_buf);
    return EHIS_OK;
}

/* Who is subscribed when it is accepted gets it; rights are asked at delivery. */
void exchange_fan_out(struct exchange *x, struct message *m, uint64_t group)
{
    for (struct node *n = m->topic->subscriptions.next; n != &m->topic->subscriptions; n = n->next) {
        struct system *to = container_of(n, struct subscriber, in_topic)->system;
        bool is_crowded = !exchange_share_fits(x, m->sender, to, m->sealed_bytes);
        struct lane *l = exchange_lane(x, m->stream, to);
        struct delivery *d = l ? exchange_delivery_new(x, m, to, l) : NULL;
        if (!d)
            continue; /* without memory this subscriber finds a gap */
        d->group = group;
        d->is_crowded = is_crowded;
    }
    exchange_message_reserve(x, m);
    for (struct delivery *d = m->deliveries, *next; d; d = next) {
        next = d->next;
        ehis_err err = EHIS_OK;
        if (d->is_crowded)
            err = exchange_finish(x, m, d, RECORD_FAILED, EHIS_E_EXCHANGE_INBOX_FULL, span_of(NULL, 0), NULL);
        (void)err; /* kept then, over the bound by what the journal still takes */
    }
    if (!m->deliveries)
        exchange_message_close(x, m);
}

/* ---- subscriptions ---- */

ehis_err exchange_subscribe(struct exchange *x, struct topic *t, struct system *s, uint64_t segment)
{
    struct subscriber *sub = exchange_subscriber(t, s);
    struct segment *at = x->is_carried ? NULL : exchange_segment(x, segment);
    if (!sub) {
        sub = calloc(1, sizeof *sub);
        if (!sub)
            return EHIS_E_NO_MEMORY;
        sub->topic = t;
        sub->system = s;
        list_add(&t->subscriptions, &sub->in_topic);
        list_add(&s->subscriptions, &sub->in_system);
        s->subscription_count++;
    }
    if (x->is_carried)
        return EHIS_OK;
    if (!at)
        return EHIS_E_NO_MEMORY;
    node_move(&at->subscriptions, &sub->in_segment);
    return EHIS_OK;
}

static void forget(struct exchange *x, struct delivery *d)
{
    struct message *m = d->message;
    exchange_delivery_drop(x, d);
    if (!m->deliveries)
        exchange_message_close(x, m);
    exchange_message_settle(x, m);
}

/* What it holds: queued, in flight, or, of what is not durable yet, neither. */
static void forget_lane(struct exchange *x, struct lane *l)
{
    while (!list_is_empty(&l->queue))
        forget(x, container_of(l->queue.next, struct delivery, in_queue));
    for (struct node *s = l->to->sessions.next; s != &l->to->sessions; s = s->next) {
        struct node *flying = &container_of(s, struct session, in_system)->in_flight;
        for (struct node *n = flying->next, *next; n != flying; n = next) {
            next = n->next;
            if (container_of(n, struct delivery, in_queue)->lane == l)
                forget(x, container_of(n, struct delivery, in_queue));
        }
    }
    for (struct node *n = l->stream->messages.next, *next; n != &l->stream->messages; n = next) {
        struct delivery *d = message_is(message_of_stream(n), IS_ARRIVED) ? NULL : exchange_delivery_of(message_of_stream(n), l->to);
        next = n->next;
        if (d)
            forget(x, d);
    }
    exchange_lane_drop(x, l);
}

/* What waited for it goes with it: it does not want it. */
void exchange_unsubscribe(struct exchange *x, struct subscriber *sub)
{
    struct system *s = sub->system, *publisher = exchange_system(x, identifier_prefix(name_span(sub->topic->service), IDENTIFIER_SYSTEM));
    for (struct node *n = publisher ? publisher->streams.next : NULL; n && n != &publisher->streams; n = n->next) {
        struct stream *st = container_of(n, struct stream, in_system);
        struct lane *l = st->topic == sub->topic ? exchange_lane_find(x, st, s) : NULL;
        if (l)
            forget_lane(x, l);
    }
    exchange_guests_forget(x, s, sub->topic);
    node_remove(&sub->in_topic);
    node_remove(&sub->in_system);
    node_remove(&sub->in_segment);
    s->subscription_count--;
    free(sub);
}

static ehis_err answer(struct exchange *x, struct session *s, const struct subscribe *q, uint32_t code, bool is_recorded)
{
    struct subscription out = {.service = q->service, .event = q->event, .code = code};
    struct buf *b = &x->text_buf;
    buf_clear(b);
    EHIS_TRY(subscription_write(&out, b));
    return is_recorded ? exchange_pend_frame(x, s, FRAME_SUBSCRIPTION, buf_span(b)) : exchange_frame(x, s, FRAME_SUBSCRIPTION, buf_span(b));
}

bool exchange_may_receive(struct exchange *x, const struct system *s, struct span service, struct span event, struct decide_answer *a)
{
    struct decide_question q = {.what = DECIDE_RECEIVE, .consumer = name_span(s->name), .service = service, .operation = event, .at_ms = x->now_ms};
    *a = (struct decide_answer){.code = EHIS_E_POLICY_EVALUATION};
    if (x->registry)
        decide(x->registry, &q, a);
    return a->is_permitted;
}

/* ---- subscriptions that a bus keeps for all gateways ---- */

struct asked { struct node in_session; bool is_end; size_t service_bytes, event_bytes; char text[]; };

void exchange_asked_free(struct session *s)
{
    while (!list_is_empty(&s->asked)) {
        struct asked *a = container_of(s->asked.next, struct asked, in_session);
        node_remove(&a->in_session);
        free(a);
    }
}

static ehis_err ask_bus(struct exchange *x, struct session *s, const struct subscribe *q)
{
    ehis_err err = x->ports.subscribe(x->ports.ctx, name_span(s->system->name), q->service, q->event, q->is_end, (int64_t)q->from_ms);
    if (err != EHIS_OK)
        return answer(x, s, q, (uint32_t)err, true);
    struct asked *a = calloc(1, sizeof *a + q->service.len + q->event.len);
    if (!a)
        return EHIS_E_NO_MEMORY;
    a->is_end = q->is_end;
    a->service_bytes = q->service.len;
    a->event_bytes = q->event.len;
    memcpy(a->text, q->service.p, q->service.len);
    memcpy(a->text + q->service.len, q->event.p, q->event.len);
    list_add(&s->asked, &a->in_session);
    return EHIS_OK;
}

static void answer_asked(struct exchange *x, struct session *s, struct span service, struct span event, bool is_there)
{
    for (struct node *n = s->asked.next, *next; n != &s->asked; n = next) {
        struct asked *a = container_of(n, struct asked, in_session);
        struct subscribe q = {.service = span_of(a->text, a->service_bytes), .event = span_of(a->text + a->service_bytes, a->event_bytes), .is_end = a->is_end};
        next = n->next;
        if (a->is_end == is_there || !span_eq(q.service, service) || !span_eq(q.event, event))
            continue;
        if (answer(x, s, &q, 0, false) != EHIS_OK)
            x->ports.end_session(x->ports.ctx, s->id, EHIS_E_LINK_FULL);
        node_remove(n);
        free(a);
    }
}

void exchange_on_cursor(struct exchange *x, struct span system, struct span service, struct span event, bool is_there, int64_t now_ms)
{
    struct system *s = exchange_system(x, system);
    struct topic *t = exchange_topic(x, service, event, is_there);
    struct subscriber *sub = t && s ? exchange_subscriber(t, s) : NULL;
    x->now_ms = now_ms;
    if (!s || (is_there && (!t || exchange_subscribe(x, t, s, 0) != EHIS_OK)))
        return; /* no memory: the next start reads it again */
    if (!is_there && sub)
        exchange_unsubscribe(x, sub);
    for (struct node *n = s->sessions.next; n != &s->sessions; n = n->next)
        answer_asked(x, container_of(n, struct session, in_system), service, event, is_there);
}

ehis_err exchange_on_subscribe(struct exchange *x, session_id id, struct span payload, int64_t now_ms, struct ehis_why *why)
{
    struct subscribe q;
    struct decide_answer a;
    struct journal_pos pos;
    struct session *s = exchange_session_find(x, id);
    x->now_ms = now_ms;
    if (!s)
        return EHIS_E_LINK_ENDED;
    EHIS_TRY(subscribe_read(payload, &q, why));
    EHIS_TRY(identifier_check(q.service, IDENTIFIER_SERVICE, why));
    EHIS_TRY(identifier_part_check(q.event, why));
    if (exchange_halted(x) != EHIS_OK)
        return answer(x, s, &q, (uint32_t)exchange_halted(x), false);
    struct record r = {.session = s->id, .system = name_span(s->system->name), .service = q.service, .event = q.event};
    bool is_permitted = q.is_end || exchange_may_receive(x, s->system, q.service, q.event, &a);
    struct topic *t = is_permitted ? exchange_topic(x, q.service, q.event, !q.is_end) : NULL;
    struct subscriber *sub = t ? exchange_subscriber(t, s->system) : NULL;
    if (q.from_ms && (q.is_end || q.from_ms > (uint64_t)now_ms || !x->is_carried))
        return answer(x, s, &q, EHIS_E_EXCHANGE_NO_REPLAY, false); /* what is delivered is kept nowhere here */
    if (q.is_end ? !sub : sub && !q.from_ms)
        return answer(x, s, &q, 0, false); /* as it is */
    if (!is_permitted) {
        if (!exchange_refusal_fits(x, s->system, (uint32_t)a.code))
            return ehis_fail(why, EHIS_E_EXCHANGE_BUSY, "more refused subscriptions in a second than are recorded");
        r.kind = RECORD_REFUSED;
        r.code = (uint32_t)a.code;
        r.rule = a.rule;
        EHIS_TRY(exchange_append(x, &r, NULL, 0, false, NULL));
        x->status.refused++;
        return answer(x, s, &q, (uint32_t)decide_code_for_consumer(&a), true);
    }
    if (!t)
        return EHIS_E_NO_MEMORY;
    size_t asked = 0;
    for (const struct node *n = s->asked.next; n != &s->asked; n = n->next)
        asked++;
    if (asked >= x->bounds.subscriptions_max) /* that the bus has not answered */
        return answer(x, s, &q, EHIS_E_EXCHANGE_SUBSCRIPTIONS_FULL, false);
    if (!q.is_end && !sub && (s->system->subscription_count >= x->bounds.subscriptions_max || exchange_subscriber_count(t) >= SUBSCRIBERS_MAX))
        return answer(x, s, &q, EHIS_E_EXCHANGE_SUBSCRIPTIONS_FULL, false);
    r.kind = q.is_end ? RECORD_UNSUBSCRIBED : RECORD_SUBSCRIBED;
    if (!q.is_end)
        r.rule = a.rule;
    EHIS_TRY(exchange_append(x, &r, NULL, 0, false, &pos));
    if (x->is_carried)
        return ask_bus(x, s, &q);
    if (q.is_end)
        exchange_unsubscribe(x, sub);
    else
        EHIS_TRY(exchange_subscribe(x, t, s->system, pos.segment));
    exchange_pump(x);
    return answer(x, s, &q, 0, true);
}

ehis_err exchange_envelope(struct exchange *x, const struct message *m, struct span parts[4], struct span *header)
{
    struct record r;
    struct span sealed;
    if (m->guest) {
        parts[0] = m->guest->bytes;
        parts[1] = parts[2] = span_of(NULL, 0);
        if (header)
            *header = m->guest->header;
        return EHIS_OK;
    }
    EHIS_TRY(exchange_load(x, m->home, &r, &sealed));
    if (sealed.len != m->sealed_bytes)
        return EHIS_E_EXCHANGE_REPLAY;
    EHIS_TRY(envelope_parts(r.header, sealed, r.signature, &x->head_buf, parts));
    if (header)
        *header = r.header;
    return EHIS_OK;
}
