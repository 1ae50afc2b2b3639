/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* Key envelopes of epochs: found by their epoch, given before the first event of it, and when they are asked for. */
#include "gateway/exchange/exchange_priv.h"

#define KEY_MAX_BYTES 131072 /* of a whole envelope inside KEYS */
#define KEYS_A_FRAME 64

static uint64_t epoch_hash(const struct exchange *x, const struct topic *t, const uint8_t epoch[EPOCH_BYTES])
{
    uint8_t key[sizeof t + EPOCH_BYTES];
    memcpy(key, &t, sizeof t);
    memcpy(key + sizeof t, epoch, EPOCH_BYTES);
    return table_hash(&x->by_epoch, key, sizeof key);
}

void exchange_key_add(struct exchange *x, struct message *m)
{
    list_add(&m->topic->keys, &m->in_stream);
    table_add(&x->by_epoch, epoch_hash(x, m->topic, m->epoch), &m->by_epoch);
}

void exchange_key_remove(struct exchange *x, struct message *m) { table_remove(&x->by_epoch, epoch_hash(x, m->topic, m->epoch), &m->by_epoch); }

const struct message *exchange_key_next(const struct exchange *x, const struct topic *t, const uint8_t epoch[EPOCH_BYTES], const struct message *behind)
{
    for (const struct table_node *n = behind ? behind->by_epoch.next : *table_head(&x->by_epoch, epoch_hash(x, t, epoch)); n; n = n->next) {
        const struct message *m = container_of(n, const struct message, by_epoch);
        if (m->topic == t && memcmp(m->epoch, epoch, EPOCH_BYTES) == 0)
            return m;
    }
    return NULL;
}

bool exchange_key_fits(struct exchange *x, const struct envelope_header *h, const struct hash *digest, uint64_t bytes)
{
    const struct topic *t = exchange_topic(x, h->recipient, h->operation, false);
    if (bytes > KEY_MAX_BYTES)
        return false;
    for (const struct message *m = t ? exchange_key_next(x, t, h->seal.epoch.p, NULL) : NULL; m; m = exchange_key_next(x, t, h->seal.epoch.p, m)) {
        if (m->guest && (memcmp(m->digest.b, digest->b, HASH_BYTES) == 0 || exchange_message_by_digest(x, &m->digest)))
            continue; /* its publisher has moved, and brings it here as well */
        bytes += m->guest ? m->guest->bytes.len : m->home.record_bytes + m->home.attachment_bytes;
    }
    return bytes <= KEYS_OF_EPOCH_BYTES;
}

static ehis_err put_key(struct exchange *x, const struct message *key)
{
    struct span parts[4];
    EHIS_TRY(exchange_envelope(x, key, parts, NULL));
    buf_clear(&x->text_buf);
    for (size_t i = 0; i < 3; i++)
        EHIS_TRY(buf_put_span(&x->text_buf, parts[i]));
    return keys_put(buf_span(&x->text_buf), &x->keys_buf);
}

static ehis_err send_keys(struct exchange *x, struct session *s)
{
    ehis_err err = x->ports.send_frame(x->ports.ctx, s->id, FRAME_KEYS, buf_span(&x->keys_buf));
    buf_clear(&x->keys_buf);
    return exchange_is_sent(s, err) ? EHIS_OK : EHIS_E_LINK_FULL;
}

/* *count = how many envelopes of this epoch were sent. */
static ehis_err send_epoch(struct exchange *x, struct session *s, const struct topic *t, const uint8_t epoch[EPOCH_BYTES], size_t *count)
{
    size_t in_frame = 0;
    *count = 0;
    buf_clear(&x->keys_buf);
    for (const struct message *key = exchange_key_next(x, t, epoch, NULL); key; key = exchange_key_next(x, t, epoch, key)) {
        if (key->durable != STATE_ACCEPTED || put_key(x, key) != EHIS_OK)
            continue;
        (*count)++;
        if (++in_frame < KEYS_A_FRAME && x->keys_buf.len < KEYS_FRAME_BYTES)
            continue;
        EHIS_TRY(send_keys(x, s));
        in_frame = 0;
    }
    return in_frame ? send_keys(x, s) : EHIS_OK;
}

ehis_err exchange_keys_before(struct exchange *x, struct session *s, const struct delivery *event)
{
    size_t count;
    const struct message *m = event->message;
    struct subscriber *sub = exchange_subscriber(m->topic, event->to);
    if (!sub || (sub->keys_session == s->id && memcmp(sub->keys_epoch, m->id, EPOCH_BYTES) == 0))
        return EHIS_OK;
    EHIS_TRY(send_epoch(x, s, m->topic, m->id, &count));
    if (count) {
        sub->keys_session = s->id;
        memcpy(sub->keys_epoch, m->id, EPOCH_BYTES);
    }
    return EHIS_OK;
}

ehis_err exchange_keys_answer(struct exchange *x, struct session *s, struct span get)
{
    struct keys_get q;
    struct decide_answer a;
    size_t count = 0;
    EHIS_TRY(keys_get_read(get, &q, NULL));
    struct topic *t = exchange_may_receive(x, s->system, q.service, q.event, &a) ? exchange_topic(x, q.service, q.event, false) : NULL;
    if (t)
        EHIS_TRY(send_epoch(x, s, t, q.epoch, &count));
    buf_clear(&x->keys_buf);
    return count ? EHIS_OK : send_keys(x, s); /* none, or none for this system: the same answer */
}

ehis_err exchange_on_keys_get(struct exchange *x, session_id id, struct span payload, int64_t now_ms, struct ehis_why *why)
{
    struct keys_get q;
    struct session *s = exchange_session_find(x, id);
    x->now_ms = now_ms;
    if (!s)
        return EHIS_E_LINK_ENDED;
    EHIS_TRY(keys_get_read(payload, &q, why));
    EHIS_TRY(identifier_check(q.service, IDENTIFIER_SERVICE, why));
    EHIS_TRY(identifier_part_check(q.event, why));
    if (exchange_halted(x) != EHIS_OK)
        return exchange_ready_state(x, s, exchange_halted(x));
    return exchange_frame(x, s, FRAME_KEYS_GET, payload);
}
