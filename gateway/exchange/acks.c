/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* Acknowledgements: one signature over all leaves of a frame; each kept so that it proves itself alone. */
#include "gateway/exchange/exchange_priv.h"

struct ack_batch { struct batch_signature signature; size_t count; };

static ehis_err read_batch(struct exchange *x, struct span payload, struct ack_batch *b, struct ehis_why *why)
{
    size_t at = 0;
    struct span item;
    EHIS_TRY(batch_read(FRAME_ACK, payload, &b->signature, why));
    for (b->count = 0; batch_next(payload, &at, &item); b->count++) {
        struct ack *a = &x->acks[b->count];
        struct hash digest;
        EHIS_ASSERT(b->count < STATEMENT_BATCH_MAX);
        EHIS_TRY(ack_read(item, a, why));
        memcpy(digest.b, a->digest, HASH_BYTES);
        leaf_ack(&digest, (uint8_t)a->outcome, a->code, a->time_ms, &x->leaves[b->count]);
    }
    if (b->count == 0 || b->signature.size != b->count || b->signature.first || b->signature.proof.len)
        return ehis_fail(why, EHIS_E_SIGNATURE_PATH, "a batch signed as %u holds %zu acknowledgements", b->signature.size, b->count);
    return EHIS_OK;
}

static ehis_err verify_batch(struct exchange *x, const struct session *s, const struct ack_batch *b, struct ehis_why *why)
{
    const struct registry_key *key;
    struct hash root, key_id;
    if (!x->registry)
        return EHIS_E_EXCHANGE_REGISTRY_BEHIND;
    if (b->signature.algorithm != ALGORITHM_ED25519)
        return EHIS_E_SIGNATURE_ALGORITHM;
    ehis_err err = registry_signing_key(x->registry, name_span(s->system->name), b->signature.key_id, 0, x->now_ms, &key);
    if (err != EHIS_OK)
        return ehis_fail(why, err, "the key of an acknowledgement");
    EHIS_TRY(tree_build(&x->tree, x->leaves, b->count));
    tree_root(&x->tree, &root);
    memcpy(key_id.b, b->signature.key_id, HASH_BYTES);
    return sign_verify_root(key->public_key.p, &key_id, b->signature.size, &root, b->signature.signature);
}

/* Into text_buf: the acknowledgement alone, with its path. */
static ehis_err proof(struct exchange *x, const struct ack_batch *b, size_t i, struct span *out)
{
    struct hash path[20];
    struct envelope_signature s = {.algorithm = b->signature.algorithm, .size = b->signature.size, .index = (uint32_t)i};
    struct acknowledgement a = {.outcome = x->acks[i].outcome, .code = x->acks[i].code, .time_ms = x->acks[i].time_ms};
    s.path = span_of(path, HASH_BYTES * tree_path(&x->tree, i, path));
    memcpy(s.key_id, b->signature.key_id, sizeof s.key_id);
    memcpy(s.signature, b->signature.signature, sizeof s.signature);
    memcpy(a.digest, x->acks[i].digest, sizeof a.digest);
    buf_clear(&x->head_buf);
    EHIS_TRY(envelope_signature_write(&s, &x->head_buf));
    a.signature = buf_span(&x->head_buf);
    buf_clear(&x->text_buf);
    EHIS_TRY(acknowledgement_write(&a, &x->text_buf));
    *out = buf_span(&x->text_buf);
    return EHIS_OK;
}

static bool is_named(const struct exchange *x, const struct delivery *d, const uint8_t digest[HASH_BYTES])
{
    const struct message *m = d->message;
    struct hash leaf = m->digest;
    if (d->skip)
        leaf_skip(name_span(m->sender->name), name_span(d->to->name), m->stream->id, m->number, &m->digest, d->skip, exchange_gateway(x), &leaf);
    return memcmp(leaf.b, digest, HASH_BYTES) == 0;
}

/* The recipient knows that this number was passed over. */
static ehis_err skip_taken(struct exchange *x, struct delivery *d)
{
    struct message *m = d->message;
    struct record r = {.kind = RECORD_STREAM, .sender = name_span(m->sender->name), .stream = span_of(m->stream->id, STREAM_BYTES),
                       .number = m->number, .system = name_span(d->to->name), .state = d->skip};
    memcpy(r.digest, m->digest.b, HASH_BYTES);
    EHIS_TRY(exchange_append(x, &r, NULL, 0, true, NULL));
    x->status.skips++;
    exchange_delivery_drop(x, d);
    exchange_message_settle(x, m);
    return EHIS_OK;
}

static ehis_err take(struct exchange *x, struct session *s, const struct ack_batch *b, size_t i, struct ehis_why *why)
{
    const struct ack *a = &x->acks[i];
    struct delivery *d = exchange_delivery_find(x, s, a->delivery);
    struct span ack;
    if (!d)
        return EHIS_OK; /* given back, expired or finished meanwhile; a response needs none */
    if (!is_named(x, d, a->digest))
        return ehis_fail(why, EHIS_E_EXCHANGE_ACK_MISMATCH, "acknowledgement of delivery %llu", (unsigned long long)a->delivery);
    if (a->outcome == OUTCOME_RETRY)
        return exchange_give_back(x, d, a->code != EHIS_E_SDK_NO_HANDLER && a->code != EHIS_E_STREAM_AHEAD, true, a->code, a->retry_ms);
    if (d->skip)
        return skip_taken(x, d);
    if (a->outcome == OUTCOME_DONE && !d->lane)
        return EHIS_OK; /* a call is acknowledged by its response */
    EHIS_TRY(proof(x, b, i, &ack));
    bool is_done = a->outcome == OUTCOME_DONE;
    return exchange_finish(x, d->message, d, is_done ? RECORD_DELIVERED : RECORD_FAILED, a->code, ack, s);
}

/* Nobody's word counts past the registry's or the lists' time: it is asked for again by a new delivery. */
static ehis_err not_now(struct exchange *x, struct session *s, const struct ack *a)
{
    struct delivery *d = exchange_delivery_find(x, s, a->delivery);
    return d && (d->lane || a->outcome != OUTCOME_DONE) ? exchange_give_back(x, d, false, false, EHIS_OK, 0) : EHIS_OK;
}

ehis_err exchange_verify_acknowledgement(struct exchange *x, const struct system *s, const struct hash *digest, struct span bytes, struct ack *out)
{
    struct acknowledgement a;
    struct envelope_signature e;
    struct hash leaf;
    const struct registry_word w = {.owner = name_span(s->name), .signature = &e, .leaf = &leaf, .is_met_again = true};
    EHIS_TRY(acknowledgement_read(bytes, &a, NULL));
    EHIS_TRY(envelope_signature_read(a.signature, &e, NULL));
    if (memcmp(a.digest, digest->b, HASH_BYTES) != 0)
        return EHIS_E_EXCHANGE_ACK_MISMATCH;
    leaf_ack(digest, (uint8_t)a.outcome, a.code, a.time_ms, &leaf);
    EHIS_TRY(registry_verify(x->registry, &w, x->now_ms, x->roots));
    *out = (struct ack){.outcome = a.outcome, .code = a.code, .time_ms = a.time_ms};
    return EHIS_OK;
}

ehis_err exchange_on_acks(struct exchange *x, session_id id, struct span payload, int64_t now_ms, struct ehis_why *why)
{
    struct ack_batch b;
    struct session *s = exchange_session_find(x, id);
    x->now_ms = now_ms;
    if (!s)
        return EHIS_E_LINK_ENDED;
    EHIS_TRY(read_batch(x, payload, &b, why));
    if (exchange_halted(x) != EHIS_OK) {
        for (size_t i = 0; i < b.count; i++)
            EHIS_TRY(not_now(x, s, &x->acks[i]));
        return exchange_ready_state(x, s, exchange_halted(x));
    }
    EHIS_TRY(verify_batch(x, s, &b, why));
    for (size_t i = 0; i < b.count; i++)
        EHIS_TRY(take(x, s, &b, i, why));
    exchange_pump(x);
    return EHIS_OK;
}
