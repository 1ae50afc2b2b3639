/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* A message's life: known by digest and by key, counted against its sender's bounds, ended by a record. */
#include "gateway/exchange/exchange_priv.h"

#include <stdlib.h>

/* What makes two envelopes the same one: (sender, stream, number), or (sender, kind, exchange id). The sender is a pointer: one a system. */
static uint64_t key_hash(const struct exchange *x, const struct system *sender, const struct stream *st, uint64_t number, uint8_t kind, const uint8_t *id)
{
    uint8_t key[32] = {0};
    memcpy(key, &sender, sizeof sender);
    if (st) {
        memcpy(key + 8, &st, sizeof st);
        memcpy(key + 16, &number, 8);
    } else {
        key[31] = kind;
        memcpy(key + 8, id, 16);
    }
    return table_hash(&x->by_key, key, sizeof key);
}

static uint64_t key_hash_of(const struct exchange *x, const struct message *m)
{
    bool is_numbered = message_is_numbered(m);
    return key_hash(x, m->sender, is_numbered ? m->stream : NULL, is_numbered ? m->number : 0, m->kind, m->id);
}

static uint64_t digest_hash(const struct exchange *x, const struct hash *digest) { return table_hash(&x->by_digest, digest->b, HASH_BYTES); }

struct message *exchange_message_by_digest(struct exchange *x, const struct hash *digest)
{
    for (struct table_node *n = *table_head(&x->by_digest, digest_hash(x, digest)); n; n = n->next) {
        struct message *m = container_of(n, struct message, by_digest);
        if (memcmp(m->digest.b, digest->b, HASH_BYTES) == 0 && !message_is(m, IS_TRANSIENT))
            return m;
    }
    return NULL;
}

struct message *exchange_message_by_key(struct exchange *x, const struct system *sender, const struct envelope_header *h)
{
    struct stream *st = h->stream.len ? exchange_stream_find(x, sender, h->stream.p, false) : NULL;
    if (h->stream.len && !st)
        return NULL;
    uint64_t hash = key_hash(x, sender, st, h->number, (uint8_t)h->kind, h->exchange_id);
    for (struct table_node *n = *table_head(&x->by_key, hash); n; n = n->next) {
        struct message *m = container_of(n, struct message, by_key);
        if (m->sender != sender)
            continue;
        if (st ? message_is_numbered(m) && m->stream == st && m->number == h->number
               : !message_is_numbered(m) && m->kind == h->kind && memcmp(m->id, h->exchange_id, 16) == 0)
            return m;
    }
    return NULL;
}

/* A refusal's recipient may be anything: it stays in its record. */
static bool name_ends(struct exchange *x, struct message *m, const struct envelope_header *h, bool is_refused)
{
    m->sender = exchange_system(x, h->sender);
    if (is_refused)
        return m->sender;
    m->recipient = exchange_name(x, h->recipient);
    if (h->kind == KIND_EVENT || h->kind == KIND_KEY)
        m->topic = exchange_topic(x, h->recipient, h->operation, true);
    else
        m->to = exchange_system(x, identifier_prefix(h->recipient, IDENTIFIER_SYSTEM));
    return m->sender && m->recipient && (m->to || m->topic);
}

/* A response to a waiting caller counts against nobody: its request does, at the caller; a guest where it was accepted. */
static void count(struct message *m, int by)
{
    if (m->guest)
        return;
    bool is_answer = m->kind == KIND_RESPONSE && message_is(m, IS_WAITING);
    if (!message_is(m, IS_WAITING | IS_PARKED))
        m->sender->stored_messages += (uint32_t)by;
    if (!is_answer && (message_is(m, IS_PARKED) || !message_is_numbered(m)))
        m->sender->known_calls += (uint32_t)by;
}

struct message *exchange_message_new(struct exchange *x, const struct envelope_header *h, const struct hash *digest, uint64_t sealed_bytes, bool is_refused, struct guest *guest)
{
    struct table *by_digest = guest ? &x->by_guest : &x->by_digest;
    uint64_t of_digest = digest_hash(x, digest);
    struct message *m = pool_take(&x->messages);
    if (!m)
        return NULL;
    table_expect(by_digest, of_digest);
    m->kind = (uint8_t)h->kind;
    if (!name_ends(x, m, h, is_refused) || (!is_refused && exchange_large_new(m, &h->large) != EHIS_OK))
        goto out;
    if (h->stream.len) {
        m->stream = exchange_stream_find(x, m->sender, h->stream.p, guest != NULL);
        if (!m->stream)
            m->stream = exchange_stream_of_header(x, m->sender, h, guest != NULL);
        if (!m->stream)
            goto out;
        m->number = h->number;
    }
    m->digest = *digest;
    m->expires_ms = (int64_t)h->expires_ms;
    m->sealed_bytes = (uint32_t)sealed_bytes;
    m->flags = envelope_is_waiting(h) ? IS_WAITING : 0;
    memcpy(m->id, h->exchange_id, 16);
    if (h->kind == KIND_EVENT && h->seal.epoch.len == EPOCH_BYTES)
        memcpy(m->id, h->seal.epoch.p, EPOCH_BYTES);
    if (h->kind == KIND_KEY && h->seal.epoch.len == EPOCH_BYTES)
        memcpy(m->epoch, h->seal.epoch.p, EPOCH_BYTES);
    m->guest = guest;
    table_add(by_digest, of_digest, &m->by_digest);
    if (!guest)
        table_add(&x->by_key, key_hash_of(x, m), &m->by_key);
    if (m->kind == KIND_KEY && m->topic)
        exchange_key_add(x, m);
    if (message_is_numbered(m) && !is_refused) {
        m->stream->to = m->to;
        m->stream->topic = m->kind == KIND_EVENT ? m->topic : NULL;
    }
    if (message_is_numbered(m))
        exchange_stream_add(m->stream, m);
    count(m, 1);
    return m;
out:
    exchange_large_free(m);
    pool_give(&x->messages, m);
    return NULL;
}

void exchange_message_drop(struct exchange *x, struct message *m)
{
    struct table *by_digest = m->guest ? &x->by_guest : &x->by_digest;
    uint64_t of_digest = digest_hash(x, &m->digest), of_key = key_hash_of(x, m);
    EHIS_ASSERT(m->pending == 0);
    table_expect(by_digest, of_digest);
    table_expect(&x->by_key, of_key);
    while (m->deliveries)
        exchange_delivery_drop(x, m->deliveries);
    exchange_message_close(x, m);
    exchange_large_let_go(x, m);
    exchange_large_free(m);
    x->live_bytes -= m->live_bytes;
    node_remove(&m->in_segment);
    node_remove(&m->in_wheel);
    table_remove(by_digest, of_digest, &m->by_digest);
    node_remove(&m->in_bus);
    node_remove(&m->in_owed);
    if (message_is(m, IS_TRANSIENT)) {
        free(m->text);
        pool_give(&x->messages, m);
        return;
    }
    if (!m->guest)
        table_remove(&x->by_key, of_key, &m->by_key);
    if (message_is_numbered(m) && m->stream->hint == m)
        m->stream->hint = NULL;
    if (m->kind == KIND_KEY && m->topic)
        exchange_key_remove(x, m);
    node_remove(&m->in_stream);
    count(m, -1);
    if (m->guest)
        exchange_guest_drop(x, m);
    if ((m->kind == KIND_REQUEST || m->kind == KIND_RESPONSE) && m->peer)
        m->peer->peer = NULL;
    pool_give(&x->messages, m);
}

/* Final for its sender: of an event and a key the acceptance is. */
static bool is_final(const struct exchange *x, const struct message *m)
{
    if (m->durable != m->state)
        return false;
    if (m->state == STATE_ACCEPTED && m->kind == KIND_EVENT)
        return !x->is_carried || message_is(m, IS_CARRIED);
    return m->state > STATE_REPLICATED || (m->state == STATE_ACCEPTED && m->kind == KIND_KEY);
}

void exchange_message_settle(struct exchange *x, struct message *m)
{
    bool is_skip_owed = node_is_linked(&m->in_bus) && m->state > STATE_REPLICATED && !m->guest;
    if (m->large && m->state > STATE_REPLICATED && m->durable == m->state)
        exchange_large_let_go(x, m); /* not before: a start without its end would give it again */
    if (m->pending || m->deliveries || node_is_linked(&m->in_owed) || is_skip_owed)
        return;
    if ((!m->guest || m->kind == KIND_KEY) && !message_is(m, IS_TRANSIENT | IS_FORGOTTEN)) {
        if (!message_is_numbered(m) || m->number >= m->stream->settled || !is_final(x, m))
            return;
        if (message_is(m, NEEDS_REPLY) && !message_is(m, IS_REPLIED) && m->state == STATE_DELIVERED) {
            count(m, -1); /* its answer must find it */
            m->flags |= IS_PARKED;
            count(m, 1);
            return;
        }
    }
    exchange_message_drop(x, m);
}

/* What carrying it ahead would take. */
static void count_live(struct exchange *x, struct message *m)
{
    bool has_body = message_is(m, IS_OPEN) || (m->kind == KIND_RESPONSE && message_is(m, IS_WAITING));
    x->live_bytes -= m->live_bytes;
    m->live_bytes = node_is_linked(&m->in_segment) ? m->home.record_bytes + (has_body ? m->home.attachment_bytes : 0) : 0;
    x->live_bytes += m->live_bytes;
}

void exchange_message_stand(struct exchange *x, struct message *m, const struct journal_pos *home)
{
    struct segment *s = exchange_segment(x, home->segment);
    m->home = exchange_place(home);
    if (s)
        node_move(&s->messages, &m->in_segment);
    count_live(x, m);
}

/* ---- bounds ---- */

static uint64_t reserved_for(const struct message *m)
{
    bool is_call = m->kind == KIND_REQUEST && message_is(m, IS_WAITING);
    if (m->kind == KIND_EVENT)
        return m->largest_bytes;
    return FINAL_BYTES + (is_call ? response_room(m->largest_bytes) + ENVELOPE_HEADER_MAX_BYTES + FINAL_BYTES : 0);
}

void exchange_message_open(struct exchange *x, struct message *m)
{
    EHIS_ASSERT(!message_is(m, IS_OPEN));
    m->flags |= IS_OPEN;
    x->reserved_bytes += reserved_for(m);
    if (m->guest)
        return;
    m->sender->stored_bytes += m->sealed_bytes;
    if (m->kind == KIND_REQUEST && message_is(m, IS_WAITING))
        m->sender->calls_open++;
    count_live(x, m);
}

void exchange_message_reserve(struct exchange *x, struct message *m)
{
    uint32_t count = 0;
    for (const struct delivery *d = m->deliveries; d; d = d->next)
        count++;
    if (message_is(m, IS_OPEN))
        x->reserved_bytes += (uint64_t)count * FINAL_BYTES - m->largest_bytes;
    m->largest_bytes = count * FINAL_BYTES;
}

void exchange_message_close(struct exchange *x, struct message *m)
{
    if (!message_is(m, IS_OPEN))
        return;
    m->flags &= (uint16_t)~IS_OPEN;
    EHIS_ASSERT(x->reserved_bytes >= reserved_for(m));
    x->reserved_bytes -= reserved_for(m);
    if (m->guest)
        return;
    m->sender->stored_bytes -= m->sealed_bytes;
    node_remove(&m->in_bus);
    if (m->kind == KIND_REQUEST && message_is(m, IS_WAITING))
        m->sender->calls_open--;
    count_live(x, m);
}

/* ---- the end ---- */

void exchange_message_answer(struct exchange *x, struct message *request, struct message *response)
{
    request->flags |= IS_REPLIED;
    request->peer = response;
    response->peer = request;
    if (!message_is(request, IS_WAITING)) {
        exchange_message_settle(x, request); /* it may have waited for this alone */
        return;
    }
    if (request->state != STATE_ACCEPTED)
        return;
    while (request->deliveries)
        exchange_delivery_drop(x, request->deliveries);
    x->status.delivered += !x->is_replaying;
    request->state = STATE_DELIVERED;
    request->since_ms = response->since_ms;
    exchange_message_close(x, request);
    exchange_message_schedule(x, request);
}

/* An event whose deliveries are here: it ends with the last of them. On a bus that carries its end here is that the bus has it, or that it expired before. */
bool exchange_ends_by_delivery(const struct exchange *x, const struct message *m) { return m->kind == KIND_EVENT && !m->guest && !x->is_carried; }

void exchange_finished(struct exchange *x, struct message *m, struct delivery *d, uint32_t kind, uint32_t code, int64_t at_ms)
{
    uint8_t state = kind == RECORD_DELIVERED ? STATE_DELIVERED : kind == RECORD_FAILED ? STATE_FAILED : STATE_EXPIRED;
    uint64_t group = x->is_replaying ? 0 : x->ports.open_group(x->ports.ctx);
    bool is_event = exchange_ends_by_delivery(x, m);
    if (!is_event) {
        m->state = state;
        m->code = code;
        m->since_ms = at_ms;
    } else if (state == STATE_EXPIRED) {
        m->flags |= IS_OVER;
    }
    if (!d || !is_event) {
        for (struct delivery *next, *each = m->deliveries; each; each = next) {
            next = each->next;
            if (state == STATE_DELIVERED)
                exchange_delivery_drop(x, each);
            else
                exchange_delivery_skip(x, each, state, group); /* drops what is no stream's */
        }
    } else if (state == STATE_DELIVERED || code == EHIS_E_EXCHANGE_INBOX_FULL) {
        exchange_delivery_drop(x, d);
    } else {
        exchange_delivery_skip(x, d, state, group);
    }
    const struct delivery *wanted = m->deliveries;
    while (wanted && wanted->skip)
        wanted = wanted->next;
    if (!wanted)
        exchange_message_close(x, m);
    exchange_message_schedule(x, m);
}

static void count_end(struct exchange *x, uint32_t kind)
{
    x->status.delivered += kind == RECORD_DELIVERED;
    x->status.failed += kind == RECORD_FAILED;
    x->status.expired += kind == RECORD_EXPIRED;
}

static void end(struct exchange *x, struct message *m, struct delivery *d, const struct record *r, const struct journal_pos *pos)
{
    if (r->ack.len && !exchange_ends_by_delivery(x, m)) {
        m->final = exchange_place(pos);
        m->flags |= HAS_ACK;
    }
    exchange_finished(x, m, d, r->kind, r->count ? (uint32_t)r->count : r->code, x->now_ms);
    exchange_pend(x, m, exchange_ends_by_delivery(x, m) ? 0 : m->state);
}

static ehis_err finish(struct exchange *x, struct message *m, struct delivery *d, const struct record *what)
{
    struct record r = *what;
    uint32_t kind = r.kind;
    struct journal_pos pos;
    const struct system *to = d ? d->to : m->to;
    memcpy(r.digest, m->digest.b, HASH_BYTES);
    r.sender = name_span(m->sender->name);
    if (to)
        r.system = name_span(to->name);
    if (d)
        r.attempt = d->attempt;
    struct message *own = m->guest && m->kind != KIND_EVENT ? exchange_message_by_digest(x, &m->digest) : NULL;
    if (own && (own->state != STATE_ACCEPTED || !message_is(own, IS_OPEN)))
        own = NULL;
    if (m->guest && !own) { /* who and what stands nowhere else in this journal */
        r.header = m->guest->header;
        r.sealed_bytes = m->sealed_bytes;
        memcpy(r.sealed_hash, m->guest->sealed_hash.b, HASH_BYTES);
        r.signature = m->guest->signature_bytes;
        r.gateway = name_span(m->guest->arrivals[0].gateway);
    }
    EHIS_TRY(exchange_append(x, &r, NULL, 0, false, &pos));
    count_end(x, kind);
    end(x, m, d, &r, &pos);
    if (own)
        end(x, own, NULL, &r, &pos);
    return EHIS_OK;
}

ehis_err exchange_finish_by(struct exchange *x, struct message *m, uint32_t kind, const struct exchange_report *by)
{
    struct record r = {.kind = kind, .code = by->code, .ack = by->ack, .gateway = by->gateway};
    return finish(x, m, NULL, &r);
}

ehis_err exchange_finish(struct exchange *x, struct message *m, struct delivery *d, uint32_t kind, uint32_t code, struct span ack, struct session *s)
{
    struct record r = {.kind = kind, .code = code, .ack = ack, .session = s ? s->id : 0};
    struct decide_answer a;
    if (kind == RECORD_DELIVERED && m->kind == KIND_EVENT && exchange_may_receive(x, d->to, name_span(m->topic->service), topic_event(m->topic), &a))
        r.rule = a.rule; /* each receiver by a rule of its own */
    return finish(x, m, d, &r);
}

ehis_err exchange_deny(struct exchange *x, struct message *m, struct delivery *d, ehis_err code, const struct decide_answer *a)
{
    struct record r = {.kind = RECORD_FAILED, .code = (uint32_t)code};
    if (!a->is_permitted) {
        r.count = (uint64_t)decide_code_for_consumer(a); /* what its sender is told */
        r.rule = a->rule.len ? a->rule : span_str(a->failed ? a->failed : "");
        r.registry_version = registry_version(x->registry);
        memcpy(r.registry_hash, registry_hash(x->registry)->b, HASH_BYTES);
    }
    return finish(x, m, d, &r);
}
