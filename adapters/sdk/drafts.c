/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* Envelopes are made here: sealed to a recipient's key or a topic's epoch, all that wait in one turn signed as one tree. */
#include "adapters/sdk/ehis_priv.h"
#include "base/log.h"
#include "base/secret.h"
#include <stdlib.h>

#define CONTEXTS_MAX (sizeof((struct ehis *)0)->sealings / sizeof *((struct ehis *)0)->sealings)
#define TREE_ROOM 256 /* of the tree, for the KEY envelopes that an event may need before it */
#define KEY_LIFETIME_MS (14 * INT64_C(86400000) + 3600000)

static size_t spans_of(struct envelope_header *h, struct span *out[ENVELOPE_SUBJECTS_MAX + ENVELOPE_FIELDS_MAX + 16])
{
    struct span *all[] = {&h->sender, &h->recipient, &h->operation, &h->in_reply_to, &h->purpose, &h->legal_basis, &h->case_ref, &h->official,
                          &h->on_behalf_of, &h->schema, &h->content_type, &h->trace_id};
    size_t n = sizeof all / sizeof *all;
    memcpy(out, all, sizeof all);
    for (size_t i = 0; i < h->subject_count; i++)
        out[n++] = &h->subjects[i];
    for (size_t i = 0; i < h->field_count; i++)
        out[n++] = &h->fields[i];
    return n;
}

ehis_err draft_new(const struct envelope_header *h, struct span body, struct draft **out)
{
    struct envelope_header copy = *h;
    struct span *spans[ENVELOPE_SUBJECTS_MAX + ENVELOPE_FIELDS_MAX + 16];
    size_t count = spans_of(&copy, spans), bytes = body.len, at = 0;
    for (size_t i = 0; i < count; i++)
        bytes += spans[i]->len;
    struct draft *d = calloc(1, sizeof *d + bytes);
    if (!d)
        return EHIS_E_NO_MEMORY;
    d->header = *h;
    spans_of(&d->header, spans);
    for (size_t i = 0; i <= count; i++) {
        struct span *s = i < count ? spans[i] : &d->body;
        struct span from = i < count ? *s : body;
        if (from.len)
            memcpy(d->text + at, from.p, from.len);
        *s = span_of(d->text + at, from.len);
        at += from.len;
    }
    memcpy(d->exchange_id, h->exchange_id, 16);
    buf_init(&d->header_bytes, ENVELOPE_HEADER_MAX_BYTES + 1024);
    buf_init(&d->sealed, FRAME_MAX_BYTES_LIMIT);
    *out = d;
    return EHIS_OK;
}

void draft_free(struct draft *d)
{
    if (!d)
        return;
    secret_wipe(&d->key, sizeof d->key);
    secret_wipe(d->text, d->body.len ? (size_t)(d->body.p - d->text) + d->body.len : 0);
    if (d->large)
        large_out_free(d->e, d->large);
    buf_fini(&d->header_bytes);
    buf_fini(&d->sealed);
    free(d);
}

void drafts_add(struct ehis *e, struct draft *d)
{
    d->next = NULL;
    *e->drafts_end = d;
    e->drafts_end = &d->next;
    e->draft_count++;
    turn_soon(e);
}

static void failed(struct ehis *e, struct draft *d, ehis_err err, const struct ehis_why *why)
{
    if (d->class_ && d->stream && d->number) { /* numbers of one batch are given and taken back in order: the last one given is this */
        d->stream->next_number--;
        d->stream->sequence = d->sequence_before;
    }
    d->on_made(e, d, err, why, (struct span){0});
}

/* ---- seals ---- */

static ehis_err context_to(struct ehis *e, struct span system, struct seal_context **context, const struct registry_key **key)
{
    struct sealing *oldest = &e->sealings[0], *found = NULL;
    EHIS_TRY(registry_sealing_key(e->registry, system, now_ms(e), key));
    for (size_t i = 0; i < CONTEXTS_MAX && !found; i++) {
        struct sealing *s = &e->sealings[i];
        if (s->context && memcmp(s->key_id.b, (*key)->id.b, HASH_BYTES) == 0)
            found = s;
        if (s->used < oldest->used)
            oldest = s;
    }
    if (!found) {
        seal_context_free(oldest->context);
        oldest->context = NULL;
        EHIS_TRY(seal_context_new((*key)->public_key.p, now_ms(e), e->random, &oldest->context));
        oldest->key_id = (*key)->id;
        found = oldest;
    }
    found->used = ++e->sealing_uses;
    *context = found->context;
    return EHIS_OK;
}

/* A spent context is replaced and asked once more. */
static ehis_err derive(struct ehis *e, struct span system, const struct seal_binding *b, struct seal_context **context, const struct registry_key **key,
                       struct seal_message_key *out)
{
    EHIS_TRY(context_to(e, system, context, key));
    ehis_err err = seal_context_derive(*context, now_ms(e), b, out);
    if (err != EHIS_E_SEAL_CONTEXT_SPENT)
        return err;
    for (size_t i = 0; i < CONTEXTS_MAX; i++)
        if (e->sealings[i].context == *context) {
            seal_context_free(*context);
            e->sealings[i] = (struct sealing){0};
        }
    EHIS_TRY(context_to(e, system, context, key));
    return seal_context_derive(*context, now_ms(e), b, out);
}

static struct seal_binding binding_of(const struct envelope_header *h)
{
    struct seal_binding b = {.kind = (uint8_t)h->kind, .sender = h->sender, .recipient = h->recipient};
    memcpy(b.exchange_id, h->exchange_id, 16);
    return b;
}

static ehis_err choose_key(struct ehis *e, struct draft *d)
{
    struct envelope_header *h = &d->header;
    struct seal_binding b = binding_of(h);
    struct seal_context *context;
    const struct registry_key *key;
    if (h->kind == KIND_EVENT) { /* epoch and key: events_prepare */
        h->seal = (struct envelope_seal){.epoch = span_of(d->epoch, 16)};
        uint8_t topic_key[32];
        memcpy(topic_key, d->key.key, sizeof topic_key);
        seal_topic_derive(topic_key, &b, &d->key);
        secret_wipe(topic_key, sizeof topic_key);
    } else {
        ehis_err err = derive(e, identifier_prefix(h->recipient, IDENTIFIER_SYSTEM), &b, &context, &key, &d->key);
        if (err == EHIS_E_KEY_UNKNOWN && h->kind == KIND_REQUEST) /* the registry shows a system only what it may call */
            err = EHIS_E_POLICY_UNKNOWN_SERVICE;
        EHIS_TRY(err);
        memcpy(d->ephemeral, seal_context_ephemeral(context), 32);
        memcpy(d->recipient_key_id, key->id.b, 32);
        h->seal = (struct envelope_seal){.recipient_key_id = span_of(d->recipient_key_id, 32), .ephemeral = span_of(d->ephemeral, 32)};
    }
    memcpy(d->commitment, d->key.commitment.b, 32);
    h->seal.commitment = span_of(d->commitment, 32);
    return EHIS_OK;
}

static void set_registry(struct ehis *e, struct envelope_header *h)
{
    h->registry_version = registry_version(e->registry);
    h->registry_hash = span_of(registry_hash(e->registry)->b, HASH_BYTES);
}

/* ---- making ---- */

/* What every gateway takes that has been met. */
static size_t max_frame_bytes(const struct ehis *e)
{
    size_t max = SIZE_MAX;
    for (const struct session *s = e->sessions; s < e->sessions + e->session_count; s++)
        if (s->id && s->max_frame_bytes < max)
            max = s->max_frame_bytes;
    return max == SIZE_MAX ? FRAME_MAX_BYTES_DEFAULT : max;
}

static ehis_err fill(struct ehis *e, struct draft *d, struct ehis_why *why)
{
    struct envelope_header *h = &d->header, check;
    h->sender = span_str(e->system);
    if ((int64_t)h->expires_ms <= now_ms(e))
        return EHIS_E_EXCHANGE_EXPIRED;
    if (h->created_ms == 0)
        h->created_ms = (uint64_t)now_ms(e);
    set_registry(e, h);
    if (d->class_) {
        struct span to = d->class_ == OUT_EVENTS ? h->recipient : identifier_prefix(h->recipient, IDENTIFIER_SYSTEM);
        EHIS_TRY(outbox_check_room(e->outbox, d->body.len + ENVELOPE_HEADER_MAX_BYTES + (d->large ? d->large->manifest.bytes + large_out_bytes(e) : 0)));
        EHIS_TRY(outbox_stream(e->outbox, d->class_, to, d->class_ == OUT_EVENTS ? h->operation : (struct span){0}, e->random, &d->stream));
        d->sequence_before = d->stream->sequence;
        if (d->sequence && d->sequence <= d->sequence_before)
            return EHIS_E_EXISTS;
        if (d->sequence)
            d->stream->sequence = d->sequence;
        h->stream = span_of(d->stream->id, 16);
        h->number = d->number = d->stream->next_number++;
    }
    EHIS_TRY(choose_key(e, d));
    EHIS_TRY(envelope_header_write(h, &d->header_bytes));
    EHIS_TRY(envelope_header_read(buf_span(&d->header_bytes), &check, why));
    EHIS_TRY(seal_close(&d->key, buf_span(&d->header_bytes), d->body, e->random, &d->sealed));
    size_t max = max_frame_bytes(e);
    return d->header_bytes.len + d->sealed.len + 1024 > max
               ? ehis_fail(why, EHIS_E_TOO_LARGE, "%zu bytes sealed; the gateways take frames of %zu", d->sealed.len, max)
               : EHIS_OK;
}

/* A KEY envelope whole, ready for the tree: wraps[] for these keys. NULL in *out: none could be made. */
void drafts_make_key(struct ehis *e, const struct topic *t, const struct registry_key *const *keys, size_t count, struct draft **out)
{
    struct envelope_header h = {.kind = KIND_KEY, .sender = span_str(e->system), .recipient = span_str(t->service), .operation = span_str(t->event)};
    struct draft *d;
    uuid7_make(h.exchange_id, now_ms(e), e->random);
    *out = NULL;
    if (draft_new(&h, (struct span){0}, &d) != EHIS_OK)
        return;
    memcpy(d->epoch, t->epoch, 16);
    d->header.created_ms = (uint64_t)now_ms(e);
    d->header.expires_ms = d->header.created_ms + KEY_LIFETIME_MS;
    d->header.seal.epoch = span_of(d->epoch, 16);
    set_registry(e, &d->header);
    struct seal_binding b = binding_of(&d->header);
    ehis_err err = envelope_header_write(&d->header, &d->header_bytes);
    for (size_t i = 0; i < count && err == EHIS_OK; i++) {
        struct seal_context *context = NULL;
        struct seal_message_key key;
        uint8_t wrapped[72];
        err = seal_context_new(keys[i]->public_key.p, now_ms(e), e->random, &context);
        if (err == EHIS_OK)
            err = seal_context_derive(context, now_ms(e), &b, &key);
        if (err == EHIS_OK) {
            seal_wrap_key(&key, buf_span(&d->header_bytes), t->key, e->random, wrapped);
            struct key_wrap w = {span_of(keys[i]->id.b, 32), span_of(seal_context_ephemeral(context), 32), span_of(key.commitment.b, 32), span_of(wrapped, 72)};
            err = key_wraps_put(&w, &d->sealed);
            secret_wipe(&key, sizeof key);
        }
        seal_context_free(context);
    }
    if (err == EHIS_OK)
        *out = d;
    else
        draft_free(d);
}

static void digest_of(struct draft *d, struct hash *leaf)
{
    struct hash sealed;
    hash_span(buf_span(&d->sealed), &sealed);
    hash_envelope(buf_span(&d->header_bytes), d->sealed.len, &sealed, &d->digest);
    leaf_envelope(&d->digest, leaf);
}

ehis_err drafts_keep(struct ehis *e, const struct draft *d, struct span envelope)
{
    struct out_message *m;
    struct out_new n = {d->stream, d->number, d->sequence, d->exchange_id, d->digest.b, (int64_t)d->header.expires_ms, envelope};
    ehis_err err = outbox_put(e->outbox, &n, &m);
    if (err != EHIS_OK)
        ehis_fatal(e, err); /* a number is missing in its stream */
    return err;
}

/* Signs the made drafts (linked by next; a KEY's stream is that of the event behind it) and hands each on. */
static void sign_all(struct ehis *e, struct draft *made, size_t count)
{
    uint8_t signature[64];
    struct hash path[20];
    uint32_t index = 0;
    if (count == 0)
        return;
    ehis_err err = sign_batch(e->sign_key, &e->tree, e->leaves, count, signature);
    for (struct draft *d = made, *next; d; d = next, index++) {
        struct envelope env = {.header = buf_span(&d->header_bytes), .sealed = buf_span(&d->sealed)};
        next = d->next;
        env.signature = (struct envelope_signature){.algorithm = ALGORITHM_ED25519, .size = (uint32_t)count, .index = index};
        memcpy(env.signature.key_id, sign_key_id(e->sign_key)->b, 32);
        memcpy(env.signature.signature, signature, 64);
        buf_clear(&e->scratch);
        if (err == EHIS_OK) {
            env.signature.path = span_of(path, tree_path(&e->tree, index, path) * HASH_BYTES);
            err = envelope_write(&env, &e->scratch);
        }
        ehis_err own = err == EHIS_OK ? large_out_name(e, d) : err;
        if (own != EHIS_OK && d->class_)
            ehis_fatal(e, own); /* a number is missing in its stream */
        if (d->header.kind != KIND_KEY) {
            d->on_made(e, d, own, NULL, buf_span(&e->scratch));
            continue;
        }
        if (err == EHIS_OK)
            (void)!drafts_keep(e, d, buf_span(&e->scratch)); /* fatal, if so */
        draft_free(d);
    }
}

void drafts_flush(struct ehis *e)
{
    struct draft *made = NULL, **end = &made, *keys;
    size_t count = 0, bytes = 0;
    while (e->drafts && count < BATCH_MAX_LEAVES - TREE_ROOM && bytes < DRAFT_TURN_BYTES) {
        struct draft *d = e->drafts;
        struct ehis_why why = {""};
        ehis_err err = e->failed != EHIS_OK ? e->failed : e->registry ? registry_check_time(e->registry, now_ms(e)) : EHIS_E_SDK_NO_REGISTRY;
        e->drafts = d->next;
        if (!e->drafts)
            e->drafts_end = &e->drafts;
        e->draft_count--;
        d->next = keys = NULL;
        if (err == EHIS_OK && d->header.kind == KIND_EVENT)
            err = events_prepare(e, d, &keys);
        if (err == EHIS_OK)
            err = fill(e, d, &why);
        for (struct draft *k = keys, *next; k; k = next) {
            next = k->next;
            k->next = NULL;
            k->stream = d->stream;
            if (!k->stream || count >= BATCH_MAX_LEAVES - 1) {
                events_forget(e, k->epoch);
                draft_free(k);
                continue;
            }
            digest_of(k, &e->leaves[count++]);
            *end = k;
            end = &k->next;
        }
        if (err != EHIS_OK) {
            failed(e, d, err, &why);
            continue;
        }
        digest_of(d, &e->leaves[count++]);
        bytes += d->sealed.len;
        *end = d;
        end = &d->next;
    }
    sign_all(e, made, count);
    if (e->drafts)
        turn_soon(e);
}

void drafts_fini(struct ehis *e)
{
    while (e->drafts) {
        struct draft *d = e->drafts;
        e->drafts = d->next;
        d->on_made(e, d, EHIS_E_SDK_CLOSED, NULL, (struct span){0});
    }
    for (size_t i = 0; i < CONTEXTS_MAX; i++)
        seal_context_free(e->sealings[i].context);
    tree_fini(&e->tree);
    free(e->leaves);
}
