/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* With a bus that carries (SPEC 17): what it brings to the inboxes that are owned here, and to callers who wait here; how it ended, told to the gateway
 * that accepted it; what of ours is on its way, confirmed, lost. Nothing that a broker says is believed: it is checked, or asked again. */
#include "gateway/exchange/exchange_priv.h"

#include <stdlib.h>

#define BAD_A_SECOND 50      /* records of what may not be; beyond, the bus's own line in the operator's log */
#define KEYS_OF_TOPIC_MAX 1024
#define PROBE_AFTER_MS 10000 /* on its way for so long: its recipient's gateway is asked */

/* ---- guests ---- */

struct message *exchange_guest_find(struct exchange *x, const struct hash *digest, const struct system *to)
{
    for (struct table_node *n = *table_head(&x->by_guest, table_hash(&x->by_guest, digest->b, HASH_BYTES)); n; n = n->next) {
        struct message *m = container_of(n, struct message, by_digest);
        if (m->guest->to == to && memcmp(m->digest.b, digest->b, HASH_BYTES) == 0)
            return m;
    }
    return NULL;
}

void exchange_guest_drop(struct exchange *x, struct message *m)
{
    struct stream *st = message_is_numbered(m) ? m->stream : NULL;
    if (m->kind == KIND_KEY)
        m->topic->guest_keys--;
    free(m->guest);
    if (st && list_is_empty(&st->messages))
        exchange_stream_drop(x, st);
}

/* The same again, from this gateway or from another that accepted it as well. */
static void arrived_again(struct exchange *x, struct message *m, uint64_t handle, struct name *gateway)
{
    struct guest *g = m->guest;
    bool is_told = g->arrival_count == GUEST_ARRIVALS_MAX;
    for (uint32_t i = 0; i < g->arrival_count; i++)
        is_told |= g->arrivals[i].gateway == gateway;
    if (is_told) {
        x->ports.bus_done(x->ports.ctx, handle, NULL);
        return;
    }
    g->arrivals[g->arrival_count].handle = handle;
    g->arrivals[g->arrival_count++].gateway = gateway;
}

static void done(struct exchange *x, struct message *m, const struct exchange_report *report)
{
    struct guest *g = m->guest;
    for (uint32_t i = 0; i < g->arrival_count; i++) {
        bool is_own = span_eq(name_span(g->arrivals[i].gateway), exchange_gateway(x));
        x->ports.bus_done(x->ports.ctx, g->arrivals[i].handle, is_own ? NULL : report);
    }
    g->arrival_count = 0;
}

void exchange_guest_ended(struct exchange *x, struct message *m)
{
    struct record r;
    struct exchange_report report = {.digest = m->digest, .gateway = exchange_gateway(x), .recipient = name_span(m->guest->to->name),
                                     .state = m->state, .code = m->code};
    if (message_is(m, HAS_ACK) && exchange_load(x, m->final, &r, NULL) == EHIS_OK)
        report.ack = r.ack;
    done(x, m, m->kind == KIND_EVENT ? NULL : &report); /* its publisher is told no more than that the broker has it */
}

void exchange_guest_answered(struct exchange *x, struct message *request, struct message *response)
{
    if (!request) { /* the inbox was lost meanwhile: one gateway is known, another asks again */
        exchange_to_bus(x, response, NULL);
        return;
    }
    for (uint32_t i = 0; i < request->guest->arrival_count; i++)
        exchange_to_bus(x, response, request->guest->arrivals[i].gateway);
    done(x, request, NULL);
    exchange_message_drop(x, request);
}

/* ---- what the bus brings ---- */

struct visit {
    const struct exchange_arrival *a;
    struct submission u; /* what entry's checks look at */
    struct system *to;
    struct name *gateway;
};

/* Recorded, up to a number a second: a broker may bring what it likes for ever. */
static ehis_err bad(struct exchange *x, const struct visit *v, ehis_err code)
{
    struct record r = {.kind = RECORD_REFUSED, .code = (uint32_t)code, .text = span_str(v->u.why.text), .gateway = v->a->gateway, .system = v->a->inbox};
    if (ehis_err_row(code)->class_ == EHIS_CLASS_ENVIRONMENT || ehis_err_row(code)->class_ == EHIS_CLASS_BUG || code == EHIS_E_EXCHANGE_REGISTRY_BEHIND)
        return code;
    if (x->now_ms < x->bad_since_ms || x->now_ms >= x->bad_since_ms + 1000) {
        x->bad_since_ms = x->now_ms;
        x->bad_count = 0;
    }
    if (x->bad_count++ >= BAD_A_SECOND)
        return code;
    memcpy(r.digest, v->a->digest.b, HASH_BYTES);
    if (v->u.header.sender.len) {
        r.header = v->a->envelope.header;
        r.sealed_bytes = v->a->envelope.sealed.len;
        memcpy(r.sealed_hash, v->a->sealed_hash.b, HASH_BYTES);
    }
    ehis_err err = exchange_append(x, &r, NULL, 0, false, NULL);
    x->status.refused += err == EHIS_OK;
    return err == EHIS_OK ? code : err;
}

/* What was accepted here is known to be true: the same digest, the same bytes. */
static ehis_err check(struct exchange *x, struct visit *v)
{
    EHIS_TRY(exchange_check_registry(x, &v->u));
    if (v->a->registry_version > registry_version(x->registry))
        return EHIS_E_EXCHANGE_REGISTRY_BEHIND;
    if (v->u.header.created_ms > (uint64_t)x->now_ms + CLOCK_SKEW_MS)
        return EHIS_E_EXCHANGE_FROM_FUTURE;
    return exchange_message_by_digest(x, &v->a->digest) ? EHIS_OK : exchange_verify(x, &v->u);
}

static ehis_err lay(struct exchange *x, struct visit *v, struct message **out)
{
    const struct exchange_arrival *a = v->a;
    struct guest *g = calloc(1, sizeof *g);
    if (!g)
        return EHIS_E_NO_MEMORY;
    g->to = v->to;
    g->bytes = a->bytes;
    g->header = a->envelope.header;
    g->signature_bytes = a->envelope.signature_bytes;
    g->sealed_hash = a->sealed_hash;
    g->arrival_count = 1;
    g->arrivals[0].handle = a->handle;
    g->arrivals[0].gateway = v->gateway;
    struct message *m = exchange_message_new(x, &v->u.header, &a->digest, a->envelope.sealed.len, false, g);
    if (!m) {
        free(g);
        return EHIS_E_NO_MEMORY;
    }
    list_add(&v->to->guests, &m->in_bus);
    m->state = m->durable = a->skip ? a->skip->state : STATE_ACCEPTED;
    m->since_ms = a->accepted_ms;
    m->registry_version = a->registry_version;
    m->flags |= IS_SENT | IS_ARRIVED;
    struct lane *l = message_is_numbered(m) ? exchange_lane(x, m->stream, v->to) : NULL;
    struct delivery *d = message_is_numbered(m) && !l ? NULL : exchange_delivery_new(x, m, v->to, l);
    if (!d) {
        exchange_message_drop(x, m);
        return EHIS_E_NO_MEMORY;
    }
    if (l)
        l->has_relation = true; /* its gateway has seen to that */
    *out = m;
    return EHIS_OK;
}

static ehis_err skip_arrived(struct exchange *x, struct visit *v)
{
    const struct exchange_skip *k = v->a->skip;
    struct message *m;
    v->u.header = (struct envelope_header){.kind = KIND_REQUEST, .sender = k->sender, .recipient = k->recipient, .stream = span_of(k->stream, STREAM_BYTES),
                                           .number = k->number, .expires_ms = (uint64_t)x->now_ms};
    if (!span_eq(k->recipient, v->a->inbox) || !registry_system(x->registry, k->sender))
        return EHIS_E_BUS_WRONG_INBOX;
    EHIS_TRY(lay(x, v, &m));
    exchange_delivery_skip(x, m->deliveries, k->state, 0);
    done(x, m, NULL); /* lost with this process, it is found as a gap */
    exchange_message_schedule(x, m);
    return EHIS_OK;
}

/* For whoever here gets events of its epoch, now or later: a copy of its own, until it expires. */
static ehis_err key_arrived(struct exchange *x, struct visit *v)
{
    const struct exchange_arrival *a = v->a;
    if (!span_eq(identifier_prefix(v->u.header.recipient, IDENTIFIER_SYSTEM), v->u.header.sender))
        return EHIS_E_EXCHANGE_SENDER_MISMATCH;
    EHIS_TRY(check(x, v));
    if (!exchange_message_by_digest(x, &a->digest) && !exchange_guest_find(x, &a->digest, NULL)) {
        struct topic *t = exchange_topic(x, v->u.header.recipient, v->u.header.operation, true);
        struct guest *g = calloc(1, sizeof *g + a->bytes.len);
        if (!t || !g) {
            free(g);
            return EHIS_E_NO_MEMORY;
        }
        memcpy(g->copy, a->bytes.p, a->bytes.len);
        g->bytes = span_of(g->copy, a->bytes.len);
        g->header = span_of(g->copy + (a->envelope.header.p - a->bytes.p), a->envelope.header.len);
        if (t->guest_keys >= KEYS_OF_TOPIC_MAX) /* of the oldest epoch; it can be read again */
            for (struct node *n = t->keys.next; n != &t->keys; n = n->next)
                if (message_of_stream(n)->guest) {
                    exchange_message_drop(x, message_of_stream(n));
                    break;
                }
        struct message *m = exchange_message_new(x, &v->u.header, &a->digest, a->envelope.sealed.len, false, g);
        if (!m) {
            free(g);
            return EHIS_E_NO_MEMORY;
        }
        t->guest_keys++;
        m->state = m->durable = STATE_ACCEPTED;
        m->since_ms = a->accepted_ms;
        m->flags |= IS_SENT | IS_ARRIVED;
        exchange_message_schedule(x, m);
    }
    x->ports.bus_done(x->ports.ctx, a->handle, NULL);
    return EHIS_OK;
}

static bool is_for(struct exchange *x, const struct visit *v)
{
    const struct envelope_header *h = &v->u.header;
    if (h->kind == KIND_EVENT) {
        const struct topic *t = exchange_topic(x, h->recipient, h->operation, false);
        return t && exchange_subscriber(t, v->to) && span_eq(identifier_prefix(h->recipient, IDENTIFIER_SYSTEM), h->sender);
    }
    return (h->kind == KIND_REQUEST || h->stream.len) && span_eq(identifier_prefix(h->recipient, IDENTIFIER_SYSTEM), v->a->inbox);
}

static ehis_err inbox_arrived(struct exchange *x, struct visit *v)
{
    const struct envelope_header *h = &v->u.header;
    struct message *m;
    bool is_call = envelope_is_waiting(h);
    if (h->kind == KIND_KEY)
        return key_arrived(x, v);
    if (!is_for(x, v))
        return EHIS_E_BUS_WRONG_INBOX;
    EHIS_TRY(check(x, v));
    m = exchange_guest_find(x, &v->a->digest, v->to);
    if (m) {
        arrived_again(x, m, v->a->handle, v->gateway);
        return EHIS_OK;
    }
    EHIS_TRY(lay(x, v, &m));
    m->largest_bytes = h->kind == KIND_REQUEST ? exchange_largest_response(x, h, &(bool){false}) : 0;
    exchange_message_open(x, m);
    exchange_message_schedule(x, m);
    if (is_call && !exchange_takes_calls(v->to))
        return exchange_finish(x, m, m->deliveries, RECORD_FAILED, EHIS_E_EXCHANGE_NO_SESSION, span_of(NULL, 0), NULL);
    exchange_delivery_queue(x, m->deliveries);
    return EHIS_OK;
}

/* The response to a caller who waits here: journaled like one that was submitted, so that it can be given again. */
static ehis_err keep_response(struct exchange *x, struct visit *v, struct message *request)
{
    struct record r = {.kind = RECORD_ACCEPTED, .gateway = span_eq(v->a->gateway, exchange_gateway(x)) ? span_of(NULL, 0) : v->a->gateway};
    struct journal_pos pos;
    struct message *m = exchange_message_new(x, &v->u.header, &v->a->digest, v->a->envelope.sealed.len, false, NULL);
    if (!m)
        return EHIS_E_NO_MEMORY;
    v->u.session = NULL;
    exchange_submission_record(x, &v->u, &r);
    r.system = v->u.header.sender;
    ehis_err err = exchange_append(x, &r, &v->a->envelope.sealed, 1, false, &pos);
    if (err != EHIS_OK) {
        exchange_message_drop(x, m);
        return err;
    }
    m->state = STATE_ACCEPTED;
    m->since_ms = x->now_ms;
    m->registry_version = registry_version(x->registry);
    m->sequence = r.sequence;
    m->flags |= IS_SENT;
    exchange_message_stand(x, m, &pos);
    exchange_message_answer(x, request, m);
    exchange_message_schedule(x, m);
    exchange_pend(x, m, STATE_ACCEPTED);
    return EHIS_OK;
}

static ehis_err reply_arrived(struct exchange *x, struct visit *v)
{
    const struct envelope_header *h = &v->u.header;
    struct message *own, *request;
    struct hash asked;
    if (h->kind != KIND_RESPONSE || !envelope_is_waiting(h))
        return EHIS_E_BUS_WRONG_INBOX;
    memcpy(asked.b, h->in_reply_to.p, HASH_BYTES);
    request = exchange_message_by_digest(x, &asked);
    bool is_its = request && request->kind == KIND_REQUEST && message_is(request, IS_WAITING) && span_eq(name_span(request->to->name), h->sender) &&
                  span_eq(name_span(request->sender->name), h->recipient) && memcmp(request->id, h->exchange_id, 16) == 0;
    if (!is_its)
        return EHIS_E_EXCHANGE_NOT_A_REPLY;
    EHIS_TRY(check(x, v));
    own = exchange_message_by_digest(x, &v->a->digest);
    bool is_late = request->state != STATE_ACCEPTED || message_is(request, IS_REPLIED);
    if (own && own->durable == STATE_ACCEPTED && !is_late) { /* it was accepted here: its record stands */
        exchange_message_answer(x, request, own);
        request->durable = request->state;
        exchange_respond(x, own);
    } else if (own && request->peer == own && own->durable == STATE_ACCEPTED) {
        exchange_respond(x, own);
    } else if (!own && !is_late) {
        if (v->a->envelope.sealed.len > request->largest_bytes)
            return EHIS_E_EXCHANGE_RESPONSE_TOO_LARGE;
        EHIS_TRY(keep_response(x, v, request));
    }
    x->ports.bus_done(x->ports.ctx, v->a->handle, NULL); /* lost with this process, its caller asks again */
    return EHIS_OK;
}

ehis_err exchange_on_arrival(struct exchange *x, const struct exchange_arrival *a, int64_t now_ms)
{
    struct visit v = {.a = a, .u = {.envelope = a->envelope, .digest = a->digest, .sealed_hash = a->sealed_hash}};
    x->now_ms = now_ms;
    EHIS_ASSERT(x->is_carried && a->handle != 0);
    if (!x->registry)
        return EHIS_E_EXCHANGE_REGISTRY_BEHIND;
    EHIS_TRY(exchange_halted(x)); /* offered again */
    v.gateway = exchange_name(x, a->gateway);
    v.to = a->inbox.len ? exchange_system(x, a->inbox) : NULL;
    if (!v.gateway || (a->inbox.len && !v.to))
        return EHIS_E_NO_MEMORY;
    ehis_err err = a->inbox.len && !v.to->is_owned ? EHIS_E_NOT_FOUND : EHIS_OK;
    if (err == EHIS_OK && !a->skip)
        err = envelope_header_read(a->envelope.header, &v.u.header, &v.u.why);
    if (err != EHIS_OK) {
        v.u.header = (struct envelope_header){0};
        return bad(x, &v, err);
    }
    err = a->skip ? skip_arrived(x, &v) : a->inbox.len ? inbox_arrived(x, &v) : reply_arrived(x, &v);
    exchange_pump(x);
    return err == EHIS_OK ? EHIS_OK : bad(x, &v, err);
}

void exchange_guests_forget(struct exchange *x, struct system *to, const struct topic *t)
{
    for (struct node *n = to->guests.next, *next; n != &to->guests; n = next) {
        struct message *m = container_of(n, struct message, in_bus);
        next = n->next;
        if (t && (m->kind != KIND_EVENT || m->topic != t))
            continue;
        m->guest->arrival_count = 0;
        while (m->deliveries)
            exchange_delivery_drop(x, m->deliveries);
        exchange_message_settle(x, m); /* or when its group is durable */
    }
}

void exchange_on_inbox(struct exchange *x, struct span system, bool is_owned, int64_t now_ms)
{
    struct system *s = exchange_system(x, system);
    x->now_ms = now_ms;
    if (!s)
        return;
    s->is_owned = is_owned;
    if (!is_owned)
        exchange_guests_forget(x, s, NULL);
    exchange_pump(x);
}

void exchange_want_inbox(struct exchange *x, struct system *s)
{
    if (x->is_carried)
        x->ports.want_inbox(x->ports.ctx, name_span(s->name), s->stream_session != NULL, exchange_takes_calls(s));
}

bool exchange_may_answer(struct exchange *x, const struct system *provider, const struct envelope_header *response)
{
    for (size_t i = 0; x->registry && i < registry_service_count(x->registry); i++) {
        const struct registry_service *service = registry_service_at(x->registry, i);
        struct decide_question q = {.what = DECIDE_CALL, .consumer = response->recipient, .service = service->id, .operation = response->operation,
                                     .at_ms = x->now_ms};
        struct decide_answer a;
        if (!span_eq(service->system, name_span(provider->name)))
            continue;
        decide(x->registry, &q, &a);
        if (a.is_consumer_named)
            return true;
    }
    return false;
}

/* ---- ours, on its way ---- */

void exchange_unsent_add(struct exchange *x, struct message *m)
{
    bool is_answer = m->kind == KIND_RESPONSE && message_is(m, IS_WAITING);
    if (!x->is_carried || (is_answer ? !m->gateway : !message_is(m, IS_OPEN)))
        return;
    if (!message_is(m, IS_CARRIED))
        node_move(&x->unsent, &m->in_bus);
    else if (m->to && !is_answer)
        node_move(&m->to->outgoing, &m->in_bus);
}

static void confirmed(struct exchange *x, struct message *m, bool is_replicated)
{
    x->is_replicated = is_replicated;
    m->flags |= IS_SENT | IS_CARRIED | (is_replicated ? IS_REPLICATED : 0);
    m->carried_ms = x->now_ms;
    node_remove(&m->in_bus);
    exchange_unsent_add(x, m);
}

/* Events are the broker's from then on. */
void exchange_on_carried(struct exchange *x, const struct hash *digest, bool is_replicated, int64_t now_ms)
{
    struct message *m = exchange_message_by_digest(x, digest);
    x->now_ms = now_ms;
    if (!m || m->state != STATE_ACCEPTED || message_is(m, IS_CARRIED))
        return;
    confirmed(x, m, is_replicated);
    if (m->kind == KIND_EVENT)
        exchange_message_close(x, m);
    if (is_replicated && message_is_numbered(m))
        exchange_owe(x, m);
    exchange_message_schedule(x, m);
    exchange_message_settle(x, m);
}

static void again(struct exchange *x, struct message *m)
{
    m->flags &= (uint16_t)~(IS_SENT | IS_CARRIED);
    node_remove(&m->in_bus);
    exchange_unsent_add(x, m);
    exchange_to_bus(x, m, NULL);
}

void exchange_on_lost(struct exchange *x, const struct hash *digest, int64_t now_ms)
{
    struct message *m = exchange_message_by_digest(x, digest);
    x->now_ms = now_ms;
    if (m && (m->state == STATE_ACCEPTED || m->state == STATE_REFUSED) && m->durable == m->state && !message_is(m, IS_CARRIED))
        again(x, m);
}

void exchange_send_unsent(struct exchange *x)
{
    for (struct node *n = x->unsent.next, *next; n != &x->unsent; n = next) {
        struct message *m = container_of(n, struct message, in_bus);
        next = n->next;
        if (m->kind == KIND_REQUEST && message_is(m, IS_WAITING))
            m->flags |= IS_SENT; /* its caller asks again, or has gone */
        else
            exchange_to_bus(x, m, NULL);
    }
}

void exchange_replay_replicated(struct exchange *x, uint64_t up_to, bool is_replicated)
{
    while (!list_is_empty(&x->unsent)) {
        struct message *m = container_of(x->unsent.next, struct message, in_bus);
        if (m->sequence > up_to)
            break;
        confirmed(x, m, is_replicated);
        if (m->kind == KIND_EVENT)
            exchange_message_close(x, m);
    }
    x->carried_sequence = up_to;
}

void exchange_note_replicated(struct exchange *x)
{
    bool is_all = list_is_empty(&x->unsent);
    uint64_t up_to = is_all ? x->next_sequence - 1 : container_of(x->unsent.next, struct message, in_bus)->sequence - 1;
    up_to = up_to < x->audited_sequence ? up_to : x->audited_sequence;
    struct record r = {.kind = RECORD_REPLICATED, .count = up_to, .state = x->is_replicated ? STATE_REPLICATED : STATE_ACCEPTED};
    if (up_to <= x->carried_sequence + is_all) /* its own record moves it by one */
        return;
    if (exchange_append(x, &r, NULL, 0, true, NULL) == EHIS_OK)
        x->carried_sequence = up_to;
}

void exchange_on_audited(struct exchange *x, uint64_t sequence) { x->audited_sequence = sequence; }

ehis_err exchange_on_report(struct exchange *x, const struct exchange_report *r, int64_t now_ms)
{
    struct message *m = exchange_message_by_digest(x, &r->digest);
    struct ack a;
    x->now_ms = now_ms;
    if (!m || m->state != STATE_ACCEPTED || !message_is(m, IS_OPEN) || m->kind == KIND_EVENT)
        return EHIS_OK; /* ended already, by this gateway or another */
    if (!m->to || !span_eq(name_span(m->to->name), r->recipient))
        return EHIS_E_BUS_WRONG_INBOX;
    if (r->state == STATE_DELIVERED && message_is(m, IS_WAITING))
        return EHIS_E_BUS_PARCEL; /* its response says so */
    if (r->ack.len || r->state == STATE_DELIVERED)
        EHIS_TRY(exchange_verify_acknowledgement(x, m->to, &m->digest, r->ack, &a));
    if (r->ack.len && (a.outcome == OUTCOME_DONE) != (r->state == STATE_DELIVERED))
        return EHIS_E_BUS_PARCEL;
    uint32_t kind = r->state == STATE_DELIVERED ? RECORD_DELIVERED : r->state == STATE_EXPIRED ? RECORD_EXPIRED : RECORD_FAILED;
    return exchange_finish_by(x, m, kind, r);
}

void exchange_on_unreachable(struct exchange *x, struct span system, int64_t now_ms)
{
    struct name *name = exchange_name_find(x, system);
    struct system *s = name ? name->system : NULL;
    x->now_ms = now_ms;
    if (!s)
        return;
    struct node *lists[] = {&s->outgoing, &x->unsent};
    for (size_t i = 0; i < 2; i++)
        for (struct node *n = lists[i]->next, *next; n != lists[i]; n = next) {
            struct message *m = container_of(n, struct message, in_bus);
            next = n->next;
            if (m->to != s || m->kind != KIND_REQUEST || !message_is(m, IS_WAITING) || m->durable != STATE_ACCEPTED || m->state != STATE_ACCEPTED)
                continue;
            ehis_err err = exchange_finish(x, m, NULL, RECORD_FAILED, EHIS_E_EXCHANGE_PROVIDER_GONE, span_of(NULL, 0), NULL);
            (void)err; /* it expires */
        }
}

/* ---- lost? ---- */

void exchange_probe(struct exchange *x)
{
    for (struct node *n = x->systems.next; n != &x->systems; n = n->next) {
        struct system *s = container_of(n, struct system, in_all);
        if (list_is_empty(&s->outgoing) || (s->probed_ms && x->now_ms >= s->probed_ms && x->now_ms - s->probed_ms < PROBE_AFTER_MS))
            continue;
        const struct message *oldest = container_of(s->outgoing.next, struct message, in_bus);
        if (x->now_ms - oldest->carried_ms < PROBE_AFTER_MS)
            continue;
        s->probed_ms = x->now_ms;
        x->ports.probe(x->ports.ctx, name_span(s->name));
    }
}

static int compare(const void *a, const void *b) { return memcmp(a, b, HASH_BYTES); }

void exchange_on_probed(struct exchange *x, struct span system, int64_t asked_ms, const struct hash *held, size_t count, int64_t now_ms)
{
    struct name *name = exchange_name_find(x, system);
    struct system *s = name ? name->system : NULL;
    struct hash *sorted = s && count ? malloc(count * sizeof *sorted) : NULL;
    x->now_ms = now_ms;
    if (!s || (count && !sorted))
        return;
    if (count) {
        memcpy(sorted, held, count * sizeof *sorted);
        qsort(sorted, count, sizeof *sorted, compare);
    }
    struct node *last = s->outgoing.prev;
    for (struct node *n = s->outgoing.next, *next; n != &s->outgoing; n = next) {
        struct message *m = container_of(n, struct message, in_bus);
        bool is_last = n == last; /* what is sent again goes behind it */
        next = n->next;
        if (m->carried_ms < asked_ms && message_is_numbered(m) && !(count && bsearch(&m->digest, sorted, count, sizeof *sorted, compare))) {
            struct record r = {.kind = RECORD_LOST, .system = name_span(s->name), .sender = name_span(m->sender->name)};
            memcpy(r.digest, m->digest.b, HASH_BYTES);
            if (exchange_append(x, &r, NULL, 0, true, NULL) == EHIS_OK)
                again(x, m);
        }
        if (is_last)
            break;
    }
    free(sorted);
}

size_t exchange_held(const struct exchange *x, struct span system, struct span gateway, struct hash *out, size_t max)
{
    size_t count = 0;
    const struct name *name = exchange_name_find((struct exchange *)(uintptr_t)x, system);
    for (const struct node *n = name && name->system ? name->system->guests.next : NULL; n && n != &name->system->guests && count < max; n = n->next) {
        const struct message *m = container_of(n, struct message, in_bus);
        for (uint32_t i = 0; i < m->guest->arrival_count; i++)
            if (span_eq(name_span(m->guest->arrivals[i].gateway), gateway)) {
                out[count++] = m->digest;
                break;
            }
    }
    return count;
}
