/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* Deliveries: vetted, held where a registry or a key is missing, brought into their streams' order. */
#include "adapters/sdk/ehis_priv.h"
#include "base/log.h"
#include "base/secret.h"
#include <stdlib.h>

#define INCOMING_MAX_BYTES (256u * 1024 * 1024)
#define BUSY_RETRY_MS 250

static struct ehis_incoming *incoming_new(struct ehis *e)
{
    struct ehis_incoming *in = calloc(1, sizeof *in);
    if (!in)
        return NULL;
    in->e = e;
    buf_init(&in->body.memory, FRAME_MAX_BYTES_LIMIT);
    in->body.memory.is_secret = true;
    buf_init(&in->texts, 2 * ENVELOPE_HEADER_MAX_BYTES);
    buf_init(&in->rule, 64);
    in->next = e->incoming;
    if (e->incoming)
        e->incoming->prev = in;
    e->incoming = in;
    e->incoming_count++;
    return in;
}

void receiving_free(struct ehis_incoming *in)
{
    struct ehis *e = in->e;
    *(in->prev ? &in->prev->next : &e->incoming) = in->next;
    if (in->next)
        in->next->prev = in->prev;
    e->incoming_count--;
    e->incoming_bytes -= in->envelope_bytes;
    if (in->item.also)
        receiving_free(OWNER_OF(in->item.also, struct ehis_incoming, item));
    draft_free(in->answer);
    in_body_fini(&in->body);
    buf_fini(&in->texts);
    buf_fini(&in->rule);
    free(in->envelope);
    free(in);
}

/* ---- deliveries ---- */

static void refuse(struct ehis *e, struct ehis_incoming *in, ehis_err code, uint32_t retry_ms)
{
    in->outcome = retry_ms ? OUTCOME_RETRY : OUTCOME_REJECTED;
    in->code = code;
    in->retry_ms = retry_ms;
    incoming_acknowledge(e, in);
    receiving_free(in);
}

static void into_stream(struct ehis *e, struct ehis_incoming *in, struct span sender, const uint8_t *stream)
{
    if (in->refused) /* its number is passed over; should the true message come for it, it is handed over late */
        in->item.skip_state = STATE_FAILED;
    in->item.is_replayable = !in->refused && in->header.kind == KIND_EVENT && events_is_replayed(e, in->header.recipient, in->header.operation);
    enum inbox_verdict v = inbox_offer(e->inbox, sender, stream, &in->item, now_ms(e));
    switch (v) {
    case INBOX_TAKEN:
        turn_soon(e);
        return;
    case INBOX_JOINED:
        return;
    case INBOX_ATTACHED:
        receiving_free(in);
        return;
    case INBOX_DONE:
    case INBOX_REJECTED:
        in->outcome = v == INBOX_DONE && !in->refused ? OUTCOME_DONE : OUTCOME_REJECTED;
        in->code = in->refused ? in->refused : v == INBOX_DONE ? EHIS_OK : EHIS_E_SDK_REJECTED;
        incoming_acknowledge_recorded(e, in);
        return;
    case INBOX_CONFLICT:
        refuse(e, in, EHIS_E_STREAM_CONFLICT, 0);
        return;
    case INBOX_AHEAD:
        refuse(e, in, EHIS_E_STREAM_AHEAD, BUSY_RETRY_MS);
        return;
    case INBOX_STOPPED:
        refuse(e, in, EHIS_E_SDK_NO_HANDLER, NO_HANDLER_RETRY_MS);
        return;
    }
}

static bool is_for_the_same_key(const struct ehis_incoming *a, const struct ehis_incoming *b)
{
    return a->session == b->session && span_eq(a->header.seal.epoch, b->header.seal.epoch) && span_eq(a->header.recipient, b->header.recipient) &&
           span_eq(a->header.operation, b->header.operation);
}

/* Each key once a second, whoever waits for it and whatever is answered. */
static void want_key(struct ehis *e, struct ehis_incoming *in)
{
    struct session *from = session_of(e, in->session);
    int64_t now = mono_ms(e);
    if (!from || now < in->key_again_ms)
        return;
    for (struct ehis_incoming *other = e->incoming; other; other = other->next) {
        if (other == in || !other->is_without_key || !is_for_the_same_key(other, in))
            continue;
        in->key_again_ms = other->key_again_ms;
        if (now < in->key_again_ms)
            return;
        other->key_again_ms = now + KEYS_AGAIN_MS;
    }
    in->key_again_ms = now + KEYS_AGAIN_MS;
    events_want_key(from, &in->header);
}

static void take(struct ehis *e, struct ehis_incoming *in)
{
    struct ehis_why why = {""};
    const struct envelope_header *h = &in->header;
    ehis_err err = incoming_vet(e, in, &why);
    in->is_without_key = err == EHIS_E_TOPIC_KEY_MISSING;
    in->is_held = in->is_without_key || err == EHIS_E_REGISTRY_NEWER || err == EHIS_E_REGISTRY_EXPIRED;
    if (in->is_held) {
        struct session *from = session_of(e, in->session); /* it has what it names */
        if (mono_ms(e) >= in->held_until_ms)
            refuse(e, in, err, 1000);
        else if (in->is_without_key)
            want_key(e, in);
        else if (from)
            readiness_want_registry(from);
        return;
    }
    in->refused = err;
    if (err != EHIS_OK)
        log_line(LOG_WARN, "sdk.delivery.refused", F_ERR(err), F_SPAN("sender", h->sender), F_SPAN("recipient", h->recipient),
                 F_HEX("exchange", h->exchange_id, 16), F_STR("why", why.text));
    if (h->stream.len) {
        into_stream(e, in, h->sender, h->stream.p);
    } else if (err != EHIS_OK) {
        refuse(e, in, err, 0);
    } else if (h->kind == KIND_REQUEST) {
        serving_take(e, in);
    } else {
        calls_on_response(e, in); /* needs no acknowledgement (SPEC 8.6.4) */
        receiving_free(in);
    }
}

ehis_err receiving_on_deliver(struct session *from, struct span payload, struct ehis_why *why)
{
    struct ehis *e = from->e;
    struct deliver d;
    struct hash sealed;
    EHIS_TRY(deliver_read(payload, &d, why));
    if (e->incoming_count >= (2 * (e->call_window + e->stream_window) + INBOX_WINDOW) * e->session_count)
        return EHIS_E_GATEWAY_WINDOW;
    struct ehis_incoming *in = incoming_new(e);
    if (!in)
        return EHIS_E_NO_MEMORY;
    in->envelope = malloc(d.envelope.len);
    ehis_err err = in->envelope ? EHIS_OK : EHIS_E_NO_MEMORY;
    if (err == EHIS_OK) {
        memcpy(in->envelope, d.envelope.p, d.envelope.len);
        in->envelope_bytes = d.envelope.len;
        e->incoming_bytes += in->envelope_bytes;
        err = envelope_read(span_of(in->envelope, d.envelope.len), &in->parts, why);
    }
    if (err == EHIS_OK)
        err = envelope_header_read(in->parts.header, &in->header, why);
    if (err != EHIS_OK) {
        receiving_free(in);
        return err;
    }
    hash_span(in->parts.sealed, &sealed);
    hash_envelope(in->parts.header, in->parts.sealed.len, &sealed, &in->digest);
    memcpy(in->item.digest, in->digest.b, HASH_BYTES);
    in->item.number = in->header.number;
    in->item.delivery = in->delivery = d.delivery;
    in->item.session = in->session = from->id;
    in->accepted_ms = d.accepted_ms > INT64_MAX ? INT64_MAX : (int64_t)d.accepted_ms;
    in->named_version = d.registry_version;
    in->held_until_ms = mono_ms(e) + HELD_MS;
    if (e->incoming_bytes > INCOMING_MAX_BYTES)
        refuse(e, in, EHIS_E_SDK_BUSY, BUSY_RETRY_MS);
    else
        take(e, in);
    return EHIS_OK;
}

static void skip_leaf(const struct session *from, const struct skip *k, struct hash *out)
{
    struct hash digest;
    memcpy(digest.b, k->digest, HASH_BYTES);
    leaf_skip(k->sender, k->recipient, k->stream, k->number, &digest, (uint8_t)k->state, span_str(from->peer.leaf.id), out);
}

static ehis_err take_skip(struct session *from, const struct skip *k)
{
    struct hash leaf;
    struct ehis_incoming *in = incoming_new(from->e);
    if (!in)
        return EHIS_E_NO_MEMORY;
    skip_leaf(from, k, &leaf);
    in->is_skip = true;
    in->item.skip_state = (uint8_t)k->state;
    in->item.number = k->number;
    in->item.delivery = in->delivery = k->delivery;
    in->item.session = in->session = from->id;
    memcpy(in->item.digest, leaf.b, HASH_BYTES);
    into_stream(from->e, in, k->sender, k->stream);
    return EHIS_OK;
}

ehis_err receiving_on_skips(struct session *from, struct span payload, struct ehis_why *why)
{
    const struct ehis *e = from->e;
    struct batch_signature b;
    struct span item;
    struct skip k;
    size_t at = 0, count = 0;
    EHIS_TRY(batch_read(FRAME_SKIPS, payload, &b, why));
    for (; batch_next(payload, &at, &item); count++) {
        EHIS_TRY(skip_read(item, &k, why));
        if (k.delivery == 0 || k.number == 0)
            return ehis_fail(why, EHIS_E_GATEWAY_UNASKED, "a skip without delivery or number");
        skip_leaf(from, &k, &e->leaves[count]);
    }
    ehis_err err = acks_verify_batch(from, &b, count);
    if (err != EHIS_OK)
        return ehis_fail(why, err, "skips of %s", from->peer.leaf.id);
    for (at = 0; batch_next(payload, &at, &item);) {
        EHIS_TRY(skip_read(item, &k, why));
        if (e->incoming_count >= (2 * (e->call_window + e->stream_window) + 2 * INBOX_WINDOW) * e->session_count)
            return EHIS_E_GATEWAY_WINDOW;
        EHIS_TRY(take_skip(from, &k));
    }
    return EHIS_OK;
}

void receiving_again(struct ehis *e)
{
    for (struct ehis_incoming *in = e->incoming, *next; in; in = next) {
        next = in->next;
        if (in->is_without_key && mono_ms(e) < in->held_until_ms && !events_key(e, in->header.recipient, in->header.seal.epoch))
            want_key(e, in);
        else if (in->is_held && e->registry)
            take(e, in);
    }
}

/* ---- streams ---- */

struct passed {
    struct job job;
    ehis_passed passed;
    char sender[IDENTIFIER_MAX_BYTES + 1];
};

static void run_passed(struct ehis *e, struct job *j)
{
    struct passed *p = OWNER_OF(j, struct passed, job);
    pthread_mutex_lock(&e->lock);
    void (*fn)(void *, const ehis_passed *) = e->on_passed;
    void *arg = e->on_passed_arg;
    pthread_mutex_unlock(&e->lock);
    if (fn)
        fn(arg, &p->passed);
    free(p);
}

static void drop_passed(struct ehis *e, struct job *j)
{
    (void)e;
    free(OWNER_OF(j, struct passed, job));
}

static void tell_passed(struct ehis *e, const struct in_stream *s, uint64_t number, int state)
{
    struct passed *p = calloc(1, sizeof *p);
    log_line(LOG_WARN, "sdk.stream.passed", F_STR("sender", s->sender), F_HEX("stream", s->id, 16), F_U64("number", number), F_STR("state", state ? state_name((uint32_t)state) : "gap"));
    if (!p)
        return;
    memcpy(p->sender, s->sender, strlen(s->sender));
    p->passed = (ehis_passed){.size = sizeof p->passed, .sender = p->sender, .number = number, .state = state};
    memcpy(p->passed.stream, s->id, 16);
    p->job = (struct job){NULL, run_passed, drop_passed};
    work_job(e, &p->job);
}

void incoming_on_gap(void *e, const struct in_stream *s, uint64_t number) { tell_passed(e, s, number, 0); }

void incoming_on_dropped(void *ctx, struct in_item *item)
{
    struct ehis *e = ctx;
    struct ehis_incoming *in = OWNER_OF(item, struct ehis_incoming, item);
    if (e->is_stopped)
        receiving_free(in);
    else if (item->stream->is_stopped)
        refuse(e, in, EHIS_E_SDK_NO_HANDLER, NO_HANDLER_RETRY_MS);
    else
        refuse(e, in, EHIS_E_STREAM_AHEAD, BUSY_RETRY_MS); /* where its session has ended, nobody hears it */
}

void receiving_streams(struct ehis *e)
{
    struct in_stream *s;
    while ((s = inbox_touched(e->inbox))) {
        struct in_item *item = inbox_next(e->inbox, s, mono_ms(e));
        if (!item)
            continue;
        struct ehis_incoming *in = OWNER_OF(item, struct ehis_incoming, item);
        if (!in->is_skip && !in->refused) {
            incoming_hand_over(e, in);
            continue;
        }
        tell_passed(e, s, item->number, item->skip_state);
        in->outcome = in->refused ? OUTCOME_REJECTED : OUTCOME_DONE;
        in->code = in->refused;
        incoming_finish(e, in);
    }
}

void receiving_session_ended(struct ehis *e, uint64_t session)
{
    inbox_session_ended(e->inbox, session);
    for (struct ehis_incoming *in = e->incoming, *next; in; in = next) {
        next = in->next;
        if (in->is_held && in->session == session)
            receiving_free(in); /* it comes again */
    }
}

void receiving_fini(struct ehis *e)
{
    for (struct ehis_incoming *in = e->incoming; in; in = in->next)
        in->item.also = NULL;
    while (e->incoming)
        receiving_free(e->incoming);
}
