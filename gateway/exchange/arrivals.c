/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* What a bus that carries (SPEC 17) brings to the inboxes that are owned here, and to callers who wait here. Nothing that a broker says is believed: it
 * is checked, or asked again. */
#include "gateway/exchange/exchange_priv.h"

#include <stdio.h>
#include <stdlib.h>

#define BAD_A_SECOND 50      /* records of what may not be; beyond, the bus's own line in the operator's log */
#define KEYS_OF_TOPIC_MAX 1024
#define KEY_WAIT_MS 3000         /* so long after its acceptance an event waits for the key of its epoch: it comes by another way */

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
    enum ehis_err_class class_ = ehis_err_row(code)->class_;
    if (class_ == EHIS_CLASS_ENVIRONMENT || class_ == EHIS_CLASS_BUG || class_ == EHIS_CLASS_FLOW) /* not the envelope's fault */
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

void exchange_on_junk(struct exchange *x, struct span inbox, struct span gateway, ehis_err code, const char *why, int64_t now_ms)
{
    const struct exchange_arrival a = {.inbox = inbox, .gateway = gateway};
    struct visit v = {.a = &a};
    x->now_ms = now_ms;
    snprintf(v.u.why.text, sizeof v.u.why.text, "%s", why);
    if (exchange_halted(x) == EHIS_OK)
        (void)!bad(x, &v, code); /* dlq has it as well */
}

/* Also what is known here: its digest does not say that its signature is the same, nor that it was not refused. What was verified a moment ago is among
 * the roots, by all that its verification looked at. */
static ehis_err check(struct exchange *x, struct visit *v)
{
    EHIS_TRY(exchange_check_registry(x, &v->u));
    if (v->a->registry_version > registry_version(x->registry))
        return EHIS_E_EXCHANGE_REGISTRY_BEHIND;
    if (v->u.header.created_ms > (uint64_t)x->now_ms + CLOCK_SKEW_MS)
        return EHIS_E_EXCHANGE_FROM_FUTURE;
    return exchange_verify(x, &v->u);
}

static ehis_err lay(struct exchange *x, struct visit *v, struct message **out)
{
    const struct exchange_arrival *a = v->a;
    struct guest *g = calloc(1, sizeof *g);
    if (!g)
        return EHIS_E_NO_MEMORY;
    g->to = v->to;
    g->sealed_hash = a->sealed_hash;
    exchange_guest_arrive(g, 0, a, v->gateway);
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
    exchange_guest_done(x, m, NULL); /* lost with this process, it is found as a gap */
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
        if (!exchange_key_fits(x, &v->u.header, &a->digest, a->bytes.len))
            return EHIS_E_TOO_LARGE;
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

static bool has_key(struct exchange *x, const struct envelope_header *h)
{
    return exchange_key_next(x, exchange_topic(x, h->recipient, h->operation, false), h->seal.epoch.p, NULL) != NULL;
}

static ehis_err inbox_arrived(struct exchange *x, struct visit *v)
{
    const struct envelope_header *h = &v->u.header;
    struct message *m;
    if (h->kind == KIND_KEY)
        return key_arrived(x, v);
    if (!is_for(x, v))
        return EHIS_E_BUS_WRONG_INBOX;
    EHIS_TRY(check(x, v));
    if (h->kind == KIND_EVENT && x->now_ms - v->a->accepted_ms < KEY_WAIT_MS && !has_key(x, h))
        return EHIS_E_EXCHANGE_BUSY; /* offered again */
    m = exchange_guest_find(x, &v->a->digest, v->to);
    if (m) {
        exchange_guest_again(x, m, v->a, v->gateway);
        return EHIS_OK;
    }
    EHIS_TRY(lay(x, v, &m));
    exchange_large_place(m, v->a->blob_partition, v->a->blob_offset);
    m->largest_bytes = h->kind == KIND_REQUEST ? exchange_largest_response(x, h, &(bool){false}) : 0;
    exchange_message_open(x, m);
    exchange_message_schedule(x, m);
    if (!envelope_is_waiting(h) || exchange_takes_calls(v->to)) {
        exchange_delivery_queue(x, m->deliveries);
        return EHIS_OK;
    }
    ehis_err err = exchange_finish(x, m, m->deliveries, RECORD_FAILED, EHIS_E_EXCHANGE_NO_SESSION, span_of(NULL, 0), NULL);
    if (err != EHIS_OK)
        exchange_message_drop(x, m); /* its handle is the bus's again, which offers it once more */
    return err;
}

/* The response to a caller who waits here: journaled like one that was submitted, so that it can be given again. */
static ehis_err keep_response(struct exchange *x, struct visit *v, struct message *request)
{
    struct record r = {.kind = RECORD_ACCEPTED, .gateway = span_eq(v->a->gateway, exchange_gateway(x)) ? span_of(NULL, 0) : v->a->gateway,
                       .blob_partition = v->a->blob_partition, .blob_offset = v->a->blob_offset};
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
    exchange_large_place(m, v->a->blob_partition, v->a->blob_offset);
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
    bool is_its = request && request->kind == KIND_REQUEST && message_is(request, IS_WAITING) && request->to && /* one that was refused has none */
                  span_eq(name_span(request->to->name), h->sender) &&
                  span_eq(name_span(request->sender->name), h->recipient) && memcmp(request->id, h->exchange_id, 16) == 0;
    if (!is_its)
        return EHIS_E_EXCHANGE_NOT_A_REPLY;
    EHIS_TRY(check(x, v));
    own = exchange_message_by_digest(x, &v->a->digest);
    bool is_late = request->state != STATE_ACCEPTED || message_is(request, IS_REPLIED);
    if (own && own->durable == STATE_ACCEPTED && !is_late) { /* it was accepted here: its record stands */
        exchange_message_answer(x, request, own);
        request->durable = request->state;
        exchange_message_settle(x, request);
        exchange_respond(x, own);
    } else if (own && request->peer == own && own->durable == STATE_ACCEPTED) {
        exchange_respond(x, own);
    } else if (!own && !is_late) {
        if (v->a->envelope.sealed.len + h->large.bytes > request->largest_bytes)
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
    if (a->is_key)
        err = v.u.header.kind == KIND_KEY ? key_arrived(x, &v) : EHIS_E_BUS_WRONG_INBOX;
    else
        err = a->skip ? skip_arrived(x, &v) : a->inbox.len ? inbox_arrived(x, &v) : reply_arrived(x, &v);
    exchange_pump(x);
    return err == EHIS_OK ? EHIS_OK : bad(x, &v, err);
}
