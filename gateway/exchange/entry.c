/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* Admission of a submitted envelope: known already, in order, room for it, true, allowed; then its ACCEPTED record. What costs a
 * signature check comes after what costs nothing. */
#include "gateway/exchange/exchange_priv.h"

#define DEFAULT_RESPONSE_BYTES (1024 * 1024)

/* ---- is it true? ---- */

/* The key is the sender's and counts, the signature is right. */
ehis_err exchange_verify(struct exchange *x, struct submission *u)
{
    struct hash leaf;
    const struct registry_word w = {.owner = u->header.sender, .created_ms = (int64_t)u->header.created_ms, .signature = &u->envelope.signature, .leaf = &leaf,
                                    .is_met_again = x->is_carried /* the bus brings it back */};
    leaf_envelope(&u->digest, &leaf);
    EHIS_TRY(registry_verify(x->registry, &w, x->now_ms, x->roots));
    u->is_verified = true;
    return EHIS_OK;
}

/* A newer version than ours is the gateway's fault, not the sender's: EXCHANGE_REGISTRY_BEHIND. */
ehis_err exchange_check_registry(const struct exchange *x, const struct submission *u)
{
    if (!x->registry)
        return EHIS_E_EXCHANGE_REGISTRY_BEHIND;
    ehis_err err = registry_check_known(x->registry, u->header.registry_version, u->header.registry_hash.p);
    return err == EHIS_E_REGISTRY_NEWER ? EHIS_E_EXCHANGE_REGISTRY_BEHIND : err;
}

static ehis_err check_time(const struct exchange *x, const struct submission *u)
{
    if (u->header.created_ms > (uint64_t)x->now_ms + CLOCK_SKEW_MS)
        return EHIS_E_EXCHANGE_FROM_FUTURE;
    /* It was expired, and the clock was set back: what was made after all that is forgotten is new all the same. */
    bool is_forgotten = u->header.kind == KIND_REQUEST && envelope_is_waiting(&u->header) && u->header.expires_ms <= (uint64_t)x->latest_ms &&
                        exchange_id_ms(u->header.exchange_id) <= u->session->system->forgotten_ms;
    return is_forgotten || u->header.expires_ms <= (uint64_t)x->now_ms ? EHIS_E_EXCHANGE_EXPIRED : EHIS_OK;
}

/* ---- is it allowed? ---- */

/* Some rule lets its recipient call some service of the provider's, whose requests of this name are not remembered here for an answer. */
static bool may_answer(struct exchange *x, const struct system *provider, const struct envelope_header *response)
{
    for (size_t i = 0; x->registry && i < registry_service_count(x->registry); i++) {
        const struct registry_service *service = registry_service_at(x->registry, i);
        struct decide_question q = {.what = DECIDE_CALL, .consumer = response->recipient, .service = service->id, .operation = response->operation,
                                     .at_ms = x->now_ms};
        struct decide_answer a;
        if (!span_eq(service->system, name_span(provider->name)))
            continue;
        const struct registry_operation *operation = registry_operation(service, response->operation);
        if (!x->is_carried && (!operation || operation->response_schema.len))
            continue;
        decide(x->registry, &q, &a);
        if (a.is_consumer_named)
            return true;
    }
    return false;
}

/* A response answers a request that its sender got from its recipient, once, in the way it was asked. */
static ehis_err check_response(struct exchange *x, struct submission *u)
{
    struct hash asked;
    memcpy(asked.b, u->header.in_reply_to.p, HASH_BYTES);
    struct message *q = x->is_carried ? exchange_guest_find(x, &asked, u->session->system) : exchange_message_by_digest(x, &asked);
    bool is_waiting = envelope_is_waiting(&u->header);
    if (!q && !is_waiting) /* it may have been handed over by another gateway, or be settled: its caller's libehis knows what it asked */
        return may_answer(x, u->session->system, &u->header) ? EHIS_OK : EHIS_E_EXCHANGE_NOT_A_REPLY;
    if (!q || q->kind != KIND_REQUEST || q->to != u->session->system || !span_eq(name_span(q->sender->name), u->header.recipient))
        return EHIS_E_EXCHANGE_NOT_A_REPLY;
    if (message_is(q, IS_REPLIED) || message_is(q, IS_WAITING) != is_waiting || memcmp(q->id, u->header.exchange_id, 16) != 0)
        return EHIS_E_EXCHANGE_NOT_A_REPLY;
    if (q->state > STATE_DELIVERED || (is_waiting && q->state != STATE_ACCEPTED))
        return EHIS_E_EXCHANGE_NOT_A_REPLY;
    if (u->header.expires_ms > (uint64_t)q->expires_ms)
        return EHIS_E_EXCHANGE_RESPONSE_LATE;
    if (u->envelope.sealed.len + u->header.large.bytes > q->largest_bytes)
        return EHIS_E_EXCHANGE_RESPONSE_TOO_LARGE;
    u->request = q;
    return EHIS_OK;
}

static ehis_err check_policy(struct exchange *x, struct submission *u)
{
    const struct envelope_header *h = &u->header;
    struct decide_answer a;
    struct decide_question q = {.what = h->kind == KIND_REQUEST ? DECIDE_CALL : DECIDE_PUBLISH, .consumer = h->sender, .service = h->recipient,
                                .operation = h->operation, .purpose = h->purpose, .legal_basis = h->legal_basis, .at_ms = x->now_ms};
    decide(x->registry, &q, &a);
    u->rule = a.rule;
    if (!a.is_permitted && !a.rule.len && a.failed)
        u->rule = span_str(a.failed);
    u->told = a.is_permitted ? EHIS_OK : decide_code_for_consumer(&a);
    return a.is_permitted ? EHIS_OK : a.code;
}

/* Somebody is there who takes calls. */
static bool is_reachable(const struct exchange *x, struct span system, const struct system *to)
{
    if (x->is_carried) /* perhaps at another gateway alone: then nothing of it is known here */
        return x->ports.is_reachable(x->ports.ctx, system);
    return exchange_takes_calls(to);
}

bool exchange_takes_calls(const struct system *to)
{
    for (const struct node *n = to ? to->sessions.next : NULL; n && n != &to->sessions; n = n->next) {
        const struct session *s = container_of(n, struct session, in_system);
        if (s->is_ready && !s->is_doomed && s->windows.call_window)
            return true;
    }
    return false;
}

static const struct system *recipient_system(struct exchange *x, const struct envelope_header *h)
{
    const struct name *name = exchange_name_find(x, identifier_prefix(h->recipient, IDENTIFIER_SYSTEM));
    return name ? name->system : NULL;
}

static ehis_err judge(struct exchange *x, struct submission *u)
{
    const struct envelope_header *h = &u->header;
    EHIS_TRY(exchange_check_registry(x, u));
    EHIS_TRY(check_time(x, u));
    EHIS_TRY(exchange_verify(x, u));
    if (u->stream && !exchange_stream_fits(u->stream, h))
        return EHIS_E_EXCHANGE_STREAM_RECIPIENT;
    if (h->large.root.len && !x->ports.blob_find)
        return EHIS_E_EXCHANGE_NO_LARGE;
    if (h->kind == KIND_RESPONSE)
        return check_response(x, u);
    EHIS_TRY(check_policy(x, u));
    if (h->kind == KIND_KEY && !exchange_key_fits(x, h, &u->digest, envelope_bytes(&u->envelope)))
        return EHIS_E_TOO_LARGE;
    if (h->kind == KIND_REQUEST && envelope_is_waiting(h) && !is_reachable(x, identifier_prefix(h->recipient, IDENTIFIER_SYSTEM), recipient_system(x, h)))
        return EHIS_E_EXCHANGE_NO_SESSION;
    return EHIS_OK;
}

/* ---- is there room? ---- */

uint32_t exchange_largest_response(const struct exchange *x, const struct envelope_header *h, bool *needs_reply)
{
    const struct registry_service *service = x->registry ? registry_service(x->registry, h->recipient) : NULL;
    const struct registry_operation *operation = service ? registry_operation(service, h->operation) : NULL;
    uint32_t largest = operation && operation->max_response_bytes ? operation->max_response_bytes : DEFAULT_RESPONSE_BYTES;
    *needs_reply = !operation || operation->response_schema.len;
    return h->max_response_bytes && h->max_response_bytes < largest ? h->max_response_bytes : largest;
}

/* Bounds of the sender and of the journal, in which the end of all that was accepted has its place. A response to a
 * waiting caller takes the room that its request reserved. */
static bool has_room(struct exchange *x, const struct submission *u)
{
    const struct envelope_header *h = &u->header;
    const struct exchange_bounds *b = &x->bounds;
    const struct system *from = u->session->system;
    size_t sealed = u->envelope.sealed.len;
    bool is_waiting = envelope_is_waiting(h), needs_reply;
    uint64_t needed = sealed + ENVELOPE_HEADER_MAX_BYTES + 2 * FINAL_BYTES;
    if (h->kind == KIND_RESPONSE && is_waiting)
        return true;
    if ((!is_waiting && from->stored_messages >= b->stored_messages_max) || from->stored_bytes + sealed + h->large.bytes > b->stored_bytes_max)
        return false;
    uint32_t largest = exchange_largest_response(x, h, &needs_reply);
    bool is_known_long = !h->stream.len || (h->kind == KIND_REQUEST && needs_reply);
    if (is_known_long && from->known_calls >= b->known_calls_max)
        return false;
    if (h->kind == KIND_EVENT) {
        const struct topic *t = exchange_topic(x, h->recipient, h->operation, false);
        needed += t ? exchange_subscriber_count(t) * (FINAL_BYTES + IDENTIFIER_MAX_BYTES) : 0;
    }
    if (is_waiting) {
        needed += response_room(largest) + ENVELOPE_HEADER_MAX_BYTES;
        if (from->calls_open >= b->calls_max)
            return false;
    }
    if (x->ports.live_max_bytes && x->live_bytes + sealed + u->envelope.header.len > x->ports.live_max_bytes(x->ports.ctx))
        return false;
    return x->ports.room_bytes(x->ports.ctx) > x->reserved_bytes + needed;
}

/* Asked last: how full an inbox is, is told to whom may write to it. */
static bool recipient_has_room(struct exchange *x, const struct submission *u)
{
    const struct envelope_header *h = &u->header;
    const struct system *to = h->kind == KIND_EVENT || h->kind == KIND_KEY ? NULL : recipient_system(x, h);
    if (!to || (h->kind == KIND_RESPONSE && envelope_is_waiting(h)))
        return true;
    if (envelope_is_waiting(h))
        return exchange_share_fits_call(x, u->session->system, to);
    return exchange_share_fits(x, u->session->system, to, u->envelope.sealed.len + h->large.bytes);
}

/* ---- accepted ---- */

static struct message *admit(struct exchange *x, const struct submission *u)
{
    struct message *m = exchange_message_new(x, &u->header, &u->digest, u->envelope.sealed.len, false, NULL);
    bool needs_reply;
    if (!m)
        return NULL;
    m->state = STATE_ACCEPTED;
    m->session = u->session->id;
    m->since_ms = x->now_ms;
    m->registry_version = registry_version(x->registry);
    if (m->kind == KIND_REQUEST) {
        m->largest_bytes = exchange_largest_response(x, &u->header, &needs_reply);
        m->flags |= needs_reply && !message_is(m, IS_WAITING) && !x->is_carried ? NEEDS_REPLY : 0;
    }
    return m;
}

void exchange_admitted(struct exchange *x, struct message *m, struct message *request, uint64_t group)
{
    struct lane *l = NULL;
    bool is_answer = m->kind == KIND_RESPONSE && message_is(m, IS_WAITING);
    if (!is_answer)
        exchange_message_open(x, m);
    if (request)
        exchange_message_answer(x, request, m);
    if (m->kind == KIND_EVENT && !x->is_carried) {
        if (!x->is_replaying) /* its record names who gets it */
            exchange_fan_out(x, m, group);
    } else if (m->kind != KIND_KEY && !is_answer && !x->is_carried) {
        l = message_is_numbered(m) ? exchange_lane(x, m->stream, m->to) : NULL;
        struct delivery *d = message_is_numbered(m) && !l ? NULL : exchange_delivery_new(x, m, m->to, l);
        if (d)
            d->group = group;
    }
    exchange_message_schedule(x, m);
}

void exchange_submission_record(struct exchange *x, const struct submission *u, struct record *r)
{
    memcpy(r->digest, u->digest.b, HASH_BYTES);
    r->header = u->envelope.header;
    r->sealed_bytes = u->envelope.sealed.len;
    memcpy(r->sealed_hash, u->sealed_hash.b, HASH_BYTES);
    r->signature = u->envelope.signature_bytes;
    r->rule = u->rule;
    if (u->session) {
        r->session = u->session->id;
        r->system = name_span(u->session->system->name);
    }
    if (!x->registry)
        return;
    r->registry_version = registry_version(x->registry);
    memcpy(r->registry_hash, registry_hash(x->registry)->b, HASH_BYTES);
}

static ehis_err accept(struct exchange *x, struct submission *u, const struct exchange_blob *blob)
{
    struct record r = {.kind = RECORD_ACCEPTED, .blob_partition = blob->partition, .blob_offset = blob->offset};
    struct journal_pos pos;
    uint64_t expected = u->stream ? u->stream->expected : 0;
    struct message *m = admit(x, u);
    if (!m)
        return EHIS_E_NO_MEMORY;
    exchange_submission_record(x, u, &r);
    if (u->request && u->request->guest && message_is(m, IS_WAITING)) /* what travels in a stream goes to its inbox */
        m->gateway = u->request->guest->arrivals[0].gateway;
    if (m->gateway)
        r.gateway = name_span(m->gateway);
    ehis_err err = m->kind == KIND_EVENT && !x->is_carried ? exchange_subscribers(x, m->topic, &r.pending) : EHIS_OK;
    if (err == EHIS_OK)
        err = exchange_append(x, &r, &u->envelope.sealed, 1, false, &pos);
    if (err != EHIS_OK) {
        struct stream *st = u->stream;
        exchange_message_drop(x, m);
        if (st)
            st->expected = expected;
        if (err == EHIS_E_TOO_LARGE) /* for a group of the journal */
            return exchange_refuse(x, u, err);
        return err == EHIS_E_JOURNAL_FULL ? exchange_busy(x, u, EHIS_E_EXCHANGE_BUSY, 4 * BUSY_RETRY_MS) : err;
    }
    exchange_message_stand(x, m, &pos);
    exchange_large_place(m, blob->partition, blob->offset);
    exchange_large_keep(x, m);
    m->sequence = r.sequence;
    m->group = x->append_group;
    exchange_pend(x, m, STATE_ACCEPTED);
    exchange_admitted(x, m, u->request, m->group);
    exchange_unsent_add(x, m);
    x->status.accepted++;
    return EHIS_OK;
}

/* ---- known already ---- */

/* The same bytes: the same receipt; a waiting call is passed on again, or its response is. */
static ehis_err repeat(struct exchange *x, struct submission *u, struct message *m)
{
    x->status.duplicates++;
    m->session = u->session->id;
    if (m->kind == KIND_REQUEST && message_is(m, IS_WAITING)) {
        bool is_idle = m->state == STATE_ACCEPTED && m->durable == STATE_ACCEPTED && !message_is(m, IS_REPLIED);
        if (is_idle && !is_reachable(x, name_span(m->to->name), m->to))
            return exchange_finish(x, m, NULL, RECORD_FAILED, EHIS_E_EXCHANGE_NO_SESSION, span_of(NULL, 0), NULL);
        exchange_call_again(x, m);
        exchange_pump(x);
        return EHIS_OK;
    }
    exchange_owe(x, m);
    if (m->kind != KIND_RESPONSE || !message_is(m, IS_WAITING) || m->durable != STATE_ACCEPTED)
        return EHIS_OK;
    if (!x->is_carried) {
        exchange_respond(x, m);
        return EHIS_OK;
    }
    struct hash asked; /* it was asked again, perhaps by way of another gateway */
    memcpy(asked.b, u->header.in_reply_to.p, HASH_BYTES);
    struct message *q = exchange_guest_find(x, &asked, m->sender);
    if (q)
        exchange_guest_answered(x, q, m);
    return EHIS_OK;
}

static ehis_err known(struct exchange *x, struct submission *u, struct message *m)
{
    if (memcmp(m->digest.b, u->digest.b, HASH_BYTES) == 0)
        return repeat(x, u, m);
    u->stream = NULL; /* the number is taken */
    ehis_err err = exchange_check_registry(x, u);
    if (err == EHIS_E_EXCHANGE_REGISTRY_BEHIND)
        return exchange_busy(x, u, err, 4 * BUSY_RETRY_MS);
    if (err == EHIS_OK)
        err = exchange_verify(x, u);
    u->is_verified = false; /* not remembered: the first one is */
    return exchange_refuse(x, u, err == EHIS_OK ? EHIS_E_EXCHANGE_CONFLICT : err);
}

/* FLOW where it is another number's turn. One that was passed over here (SPEC 12.3) comes late: its sender has not kept what another gateway said of it. */
static ehis_err in_turn(struct exchange *x, struct submission *u, struct stream *st, bool *is_flow, struct ehis_why *why)
{
    if (!st || st->session != u->session)
        return ehis_fail(why, EHIS_E_EXCHANGE_STREAM_CLOSED, "SUBMIT in a stream that this session has not opened");
    bool is_late = u->header.number < st->expected && !exchange_steps_fit(x, st->sender); /* its place is looked for among all that is stored */
    *is_flow = is_late || u->header.number > st->expected || u->header.number < st->settled;
    if (!*is_flow) {
        u->stream = st;
        return EHIS_OK;
    }
    if (is_late)
        return exchange_busy(x, u, EHIS_E_EXCHANGE_BUSY, 4 * BUSY_RETRY_MS);
    struct exchange_flow f = {.digest = u->digest, .code = EHIS_E_EXCHANGE_OUT_OF_SEQUENCE, .stream = st->id, .expected = st->expected};
    return exchange_flow(x, u->session, &f);
}

ehis_err exchange_on_submit(struct exchange *x, session_id id, struct span payload, int64_t now_ms, struct ehis_why *why)
{
    struct submission u = {.session = exchange_session_find(x, id)};
    x->now_ms = now_ms;
    if (!u.session)
        return EHIS_E_LINK_ENDED;
    EHIS_TRY(envelope_read(payload, &u.envelope, why));
    hash_span(u.envelope.sealed, &u.sealed_hash);
    hash_envelope(u.envelope.header, u.envelope.sealed.len, &u.sealed_hash, &u.digest);
    ehis_err err = envelope_header_read(u.envelope.header, &u.header, &u.why);
    if (err != EHIS_OK) {
        u.header = (struct envelope_header){0};
        return exchange_refuse(x, &u, err);
    }
    if (!span_eq(u.header.sender, name_span(u.session->system->name))) {
        u.header.stream = span_of(NULL, 0);
        return exchange_refuse(x, &u, EHIS_E_EXCHANGE_SENDER_MISMATCH);
    }
    if (exchange_halted(x) != EHIS_OK)
        return exchange_busy(x, &u, exchange_halted(x), 4 * BUSY_RETRY_MS);
    struct message *m = exchange_message_by_key(x, u.session->system, &u.header);
    if (m)
        return known(x, &u, m);
    if (u.header.stream.len) {
        bool is_flow = false;
        EHIS_TRY(in_turn(x, &u, exchange_stream_find(x, u.session->system, u.header.stream.p, false), &is_flow, why));
        if (is_flow)
            return EHIS_OK;
    }
    bool is_answer = u.header.kind == KIND_RESPONSE && envelope_is_waiting(&u.header); /* finishes what is in flight */
    if (x->is_draining && !is_answer)
        return exchange_busy(x, &u, EHIS_E_EXCHANGE_DRAINING, 4 * BUSY_RETRY_MS);
    if (x->is_carried && u.header.kind == KIND_REQUEST && envelope_is_waiting(&u.header) && x->ports.bus_state(x->ports.ctx) != EHIS_OK)
        return exchange_busy(x, &u, x->ports.bus_state(x->ports.ctx), 4 * BUSY_RETRY_MS);
    if (!has_room(x, &u))
        return exchange_busy(x, &u, EHIS_E_EXCHANGE_BUSY, BUSY_RETRY_MS);
    err = judge(x, &u);
    if (err == EHIS_E_EXCHANGE_REGISTRY_BEHIND)
        return exchange_busy(x, &u, err, 4 * BUSY_RETRY_MS);
    if (err == EHIS_OK && !recipient_has_room(x, &u))
        return exchange_busy(x, &u, EHIS_E_EXCHANGE_SHARE_FULL, BUSY_RETRY_MS);
    if (err != EHIS_OK)
        return exchange_refuse(x, &u, err);
    struct exchange_blob blob;
    err = exchange_submitted_blob(x, &u, &blob);
    return err == EHIS_OK ? accept(x, &u, &blob) : exchange_busy(x, &u, err, BUSY_RETRY_MS);
}
