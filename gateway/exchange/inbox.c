/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* A system's inbox: calls, which never queue behind a backlog, and lanes; windows; what comes back. */
#include "gateway/exchange/exchange_priv.h"

#define DECISION_GOOD_MS 1000 /* the one of its acceptance here, under the same registry */

/* Skips do not count: whoever has no right fills nobody's inbox with them. */
static void count_waiting(struct delivery *d, int by)
{
    uint64_t bytes = message_bytes(d->message);
    uint32_t calls = !d->lane && d->message->kind == KIND_REQUEST;
    d->to->waiting += (uint64_t)by;
    d->to->waiting_bytes += by < 0 ? 0 - bytes : bytes;
    d->to->calls_waiting += by < 0 ? 0 - calls : calls;
    d->share->waiting += (uint64_t)by;
    d->share->waiting_bytes += by < 0 ? 0 - bytes : bytes;
    d->share->calls_waiting += by < 0 ? 0 - calls : calls;
}

struct delivery *exchange_delivery_new(struct exchange *x, struct message *m, struct system *to, struct lane *l)
{
    struct delivery *d = pool_take(&x->deliveries);
    struct share *share = d ? exchange_share(x, m->sender, to) : NULL;
    if (!share) {
        if (d)
            pool_give(&x->deliveries, d);
        return NULL;
    }
    d->share = share;
    d->message = m;
    d->to = to;
    d->lane = l;
    d->next = m->deliveries;
    if (d->next)
        d->next->prev = d;
    m->deliveries = d;
    count_waiting(d, 1);
    if (l && m->state != STATE_REFUSED)
        l->has_relation = true;
    return d;
}

static uint64_t number_hash(const struct exchange *x, const struct session *s, uint64_t number)
{
    uint64_t key[2] = {s->id, number};
    return table_hash(&x->by_delivery, key, sizeof key);
}

struct delivery *exchange_delivery_find(struct exchange *x, const struct session *s, uint64_t number)
{
    for (struct table_node *n = *table_head(&x->by_delivery, number_hash(x, s, number)); n; n = n->next) {
        struct delivery *d = container_of(n, struct delivery, by_number);
        if (d->session == s && d->number == number)
            return d;
    }
    return NULL;
}

void exchange_delivery_detach(struct exchange *x, struct delivery *d)
{
    struct lane *l = d->lane;
    if (d->session) {
        table_remove(&x->by_delivery, number_hash(x, d->session, d->number), &d->by_number);
        if (l) {
            l->in_flight--;
            d->session->streams_in_flight--;
            d->session->in_flight_bytes -= d->message->sealed_bytes;
        } else {
            d->session->calls_in_flight--;
        }
        d->to->in_flight--;
        d->session = NULL;
        exchange_pump_later(x, d->to);
    }
    node_remove(&d->in_queue);
    d->is_queued = false;
    if (l && l->hint == d)
        l->hint = NULL;
    if (l && list_is_empty(&l->queue))
        node_remove(&l->in_system);
}

void exchange_delivery_drop(struct exchange *x, struct delivery *d)
{
    exchange_delivery_detach(x, d);
    if (d->next)
        d->next->prev = d->prev;
    *(d->prev ? &d->prev->next : &d->message->deliveries) = d->next;
    if (!d->skip)
        count_waiting(d, -1);
    exchange_share_unref(x, d->share);
    pool_give(&x->deliveries, d);
}

void exchange_delivery_queue(struct exchange *x, struct delivery *d)
{
    if (d->is_queued || d->session)
        return;
    if (d->lane) {
        exchange_lane_add(x, d->lane, d);
        return;
    }
    list_add(&d->to->calls, &d->in_queue);
    d->is_queued = true;
    exchange_pump_later(x, d->to);
}

/* Skips are owed to who has had something of the stream, or will. They count against their sender alone. */
void exchange_delivery_skip(struct exchange *x, struct delivery *d, uint8_t state, uint64_t group)
{
    if (!d->lane) {
        exchange_delivery_drop(x, d);
        return;
    }
    if (d->skip)
        return;
    exchange_delivery_detach(x, d);
    d->skip = state;
    d->group = group;
    count_waiting(d, -1);
    exchange_lane_add(x, d->lane, d);
}

/* ---- out ---- */

static ehis_err send_skip(struct exchange *x, struct session *s, const struct delivery *d)
{
    const struct message *m = d->message;
    struct exchange_skip k = {.sender = name_span(m->sender->name), .recipient = name_span(d->to->name), .stream = m->stream->id,
                              .number = m->number, .digest = m->digest, .state = d->skip, .delivery = s->next_delivery};
    return x->ports.send_skip(x->ports.ctx, s->id, &k);
}

/* By this gateway, a moment ago: another's word for it is not enough. */
static bool is_decided(struct exchange *x, const struct message *m)
{
    const struct message *own = m->guest ? exchange_message_by_digest(x, &m->digest) : m;
    return m->kind == KIND_REQUEST && own && own->state == STATE_ACCEPTED && own->registry_version == registry_version(x->registry) &&
           x->now_ms - own->since_ms < DECISION_GOOD_MS;
}

/* Rights may have gone since it was accepted (DESIGN 4.9). An answer needs none: its request had them. */
static ehis_err decide_again(struct exchange *x, const struct delivery *d, struct span header, struct decide_answer *a)
{
    const struct message *m = d->message;
    *a = (struct decide_answer){.is_permitted = true};
    if (m->kind == KIND_RESPONSE || !x->registry || is_decided(x, m))
        return EHIS_OK;
    struct envelope_header h;
    EHIS_TRY(envelope_header_read(header, &h, NULL));
    bool is_event = m->kind == KIND_EVENT;
    struct decide_question q = {.what = is_event ? DECIDE_RECEIVE : DECIDE_CALL, .consumer = name_span(is_event ? d->to->name : m->sender->name),
                                .service = h.recipient, .operation = h.operation, .at_ms = x->now_ms};
    if (!is_event) {
        q.purpose = h.purpose;
        q.legal_basis = h.legal_basis;
    }
    decide(x->registry, &q, a);
    return a->is_permitted ? EHIS_OK : a->code;
}

static void fly(struct exchange *x, struct session *s, struct delivery *d)
{
    exchange_delivery_detach(x, d);
    d->session = s;
    d->number = s->next_delivery++;
    d->attempt = (uint8_t)(d->attempt < UINT8_MAX ? d->attempt + 1 : UINT8_MAX);
    table_add(&x->by_delivery, number_hash(x, s, d->number), &d->by_number);
    list_add(&s->in_flight, &d->in_queue);
    d->to->in_flight++;
    if (d->lane) {
        d->lane->in_flight++;
        s->streams_in_flight++;
        s->in_flight_bytes += d->message->sealed_bytes;
    } else {
        s->calls_in_flight++;
    }
}

/* OK also where it was not sent but ended (expired, denied). Errors: the output is full, or the journal. */
static ehis_err deliver(struct exchange *x, struct session *s, struct delivery *d)
{
    struct message *m = d->message;
    struct exchange_delivery out = {.delivery = s->next_delivery, .accepted_ms = m->since_ms, .registry_version = m->registry_version,
                                    .attempt = d->attempt + 1u, .part_count = 3};
    struct decide_answer a = {.is_permitted = true};
    ehis_err err;
    if (d->skip) {
        err = send_skip(x, s, d);
    } else {
        if (x->now_ms >= m->expires_ms)
            return exchange_finish(x, m, NULL, RECORD_EXPIRED, EHIS_E_EXCHANGE_EXPIRED, span_of(NULL, 0), NULL);
        if (m->large && !s->takes_large)
            return exchange_finish(x, m, d, RECORD_FAILED, EHIS_E_EXCHANGE_NO_LARGE, span_of(NULL, 0), s);
        if (m->kind == KIND_EVENT)
            EHIS_TRY(exchange_keys_before(x, s, d));
        struct span header;
        err = exchange_envelope(x, m, out.envelope_parts, &header);
        if (err == EHIS_OK)
            err = decide_again(x, d, header, &a);
        if (err != EHIS_OK)
            return exchange_deny(x, m, d, err, &a);
        err = x->ports.send_delivery(x->ports.ctx, s->id, &out);
    }
    if (!exchange_is_sent(s, err))
        return EHIS_E_LINK_FULL;
    fly(x, s, d);
    return EHIS_OK;
}

static struct delivery *queued(struct node *n) { return container_of(n, struct delivery, in_queue); }

static void pump_calls(struct exchange *x, struct system *to)
{
    while (!list_is_empty(&to->calls)) {
        struct session *s = exchange_call_session(to);
        if (!s || (deliver(x, s, queued(to->calls.next)) != EHIS_OK && !s->is_full))
            return;
    }
}

static bool has_window(const struct session *s, const struct delivery *d)
{
    uint32_t most = s->windows.stream_window_messages < WINDOW_MAX ? s->windows.stream_window_messages : WINDOW_MAX;
    if (s->is_full || s->streams_in_flight >= most)
        return false;
    return s->streams_in_flight == 0 || s->in_flight_bytes + d->message->sealed_bytes <= s->windows.stream_window_bytes;
}

/* One of each lane in turn: a long stream does not keep the others waiting. */
static void pump_lanes(struct exchange *x, struct system *to, struct session *s)
{
    while (!list_is_empty(&to->lanes)) {
        struct lane *l = container_of(to->lanes.next, struct lane, in_system);
        struct delivery *d = list_is_empty(&l->queue) ? NULL : queued(l->queue.next);
        if (!d || d->group > x->durable_group) { /* a skip whose record is not durable yet: woken when it is */
            node_remove(&l->in_system);
            continue;
        }
        if (!has_window(s, d))
            return;
        node_move(&to->lanes, &l->in_system);
        if (deliver(x, s, d) != EHIS_OK)
            return;
    }
}

void exchange_pump_later(struct exchange *x, struct system *to)
{
    if (!node_is_linked(&to->in_pump))
        list_add(&x->to_pump, &to->in_pump);
}

/* Past the registry's or the lists' time nothing is taken and nothing handed out; what waits, waits on. */
ehis_err exchange_halted(const struct exchange *x)
{
    if (x->halted != EHIS_OK)
        return x->halted;
    return x->registry ? registry_check_time(x->registry, x->now_ms) : EHIS_OK;
}

void exchange_halt(struct exchange *x, ehis_err why) { x->halted = why; }

void exchange_pump(struct exchange *x)
{
    struct node round;
    if (x->is_replaying || list_is_empty(&x->to_pump) || exchange_halted(x) != EHIS_OK)
        return;
    node_insert_after(x->to_pump.prev, &round); /* what is added meanwhile comes behind it: the next verb's */
    while (x->to_pump.next != &round) {
        struct system *to = container_of(x->to_pump.next, struct system, in_pump);
        node_remove(&to->in_pump);
        pump_calls(x, to);
        if (to->stream_session)
            pump_lanes(x, to, to->stream_session);
        node_remove(&to->in_pump); /* its own doing */
    }
    node_remove(&round);
}

/* ---- back ---- */

static int64_t backoff_ms(uint8_t strikes)
{
    int64_t ms = INT64_C(1000) << (strikes > 7 ? 6 : strikes ? strikes - 1 : 0);
    return ms < BACKOFF_MAX_MS ? ms : BACKOFF_MAX_MS;
}

ehis_err exchange_give_back(struct exchange *x, struct delivery *d, bool is_strike, bool is_delayed, uint32_t code, uint32_t retry_ms)
{
    struct message *m = d->message;
    uint8_t strikes = (uint8_t)(d->strikes + (is_strike && !d->skip));
    if (strikes >= x->bounds.attempts_max)
        return exchange_finish(x, m, d, RECORD_FAILED, EHIS_E_EXCHANGE_DEAD_LETTER, span_of(NULL, 0), d->session);
    if (is_strike && !d->skip) {
        struct record r = {.kind = RECORD_ATTEMPTED, .session = d->session->id, .system = name_span(d->to->name), .attempt = strikes};
        memcpy(r.digest, m->digest.b, HASH_BYTES);
        EHIS_TRY(exchange_append(x, &r, NULL, 0, true, NULL));
    }
    d->strikes = strikes;
    exchange_delivery_detach(x, d);
    exchange_delivery_queue(x, d);
    if (d->lane && (is_delayed || strikes > 1)) {
        int64_t delay = backoff_ms((uint8_t)(is_delayed ? strikes : strikes - 1));
        if (retry_ms > delay)
            delay = retry_ms < BACKOFF_MAX_MS ? retry_ms : BACKOFF_MAX_MS;
        exchange_lane_block(x, d->lane, x->now_ms + delay);
        d->lane->readies = code == EHIS_E_SDK_NO_HANDLER ? d->to->readies : UINT64_MAX;
    }
    exchange_message_schedule(x, m);
    return EHIS_OK;
}

/* A session ended. Only the first unfinished of each lane can be what ended it, and not where that was given back before: libehis hands number n+1 over
 * when n is finished. */
void exchange_session_gives_back(struct exchange *x, struct session *s)
{
    for (struct node *n = s->in_flight.next; n != &s->in_flight; n = n->next)
        if (queued(n)->lane)
            queued(n)->lane->lowest = list_is_empty(&queued(n)->lane->queue) ? UINT64_MAX : queued(queued(n)->lane->queue.next)->message->number;
    for (struct node *n = s->in_flight.next; n != &s->in_flight; n = n->next) {
        struct delivery *d = queued(n);
        if (d->lane && d->message->number < d->lane->lowest)
            d->lane->lowest = d->message->number;
    }
    while (!list_is_empty(&s->in_flight)) {
        struct delivery *d = queued(s->in_flight.prev);
        struct message *m = d->message;
        ehis_err err = d->lane ? exchange_give_back(x, d, m->number == d->lane->lowest, false, EHIS_OK, 0)
                               : exchange_finish(x, m, d, RECORD_FAILED, EHIS_E_EXCHANGE_PROVIDER_GONE, span_of(NULL, 0), s);
        if (err == EHIS_OK || list_is_empty(&s->in_flight) || queued(s->in_flight.prev) != d)
            continue;
        exchange_delivery_detach(x, d); /* the journal takes no more: the gateway is about to stop; it is in the queue again */
        exchange_delivery_queue(x, d);
    }
}
