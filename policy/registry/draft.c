/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
#include "policy/registry/draft.h"

#include <stdlib.h>

#include "ehis_scan.h"
#include "policy/registry/view_priv.h"
#include "proto/wire/codec.h"

#define LEAF_MAX_BYTES (1024 * 1024)

struct registry_draft {
    struct buf leaves; /* Registry.leaves fields, one behind the other */
    struct hash *hashes;
    size_t count, cap;
};

ehis_err registry_draft_new(struct registry_draft **out)
{
    struct registry_draft *d = calloc(1, sizeof *d);
    if (!d)
        return EHIS_E_NO_MEMORY;
    buf_init(&d->leaves, REGISTRY_DOCUMENT_MAX_BYTES);
    *out = d;
    return EHIS_OK;
}

void registry_draft_free(struct registry_draft *d)
{
    if (!d)
        return;
    buf_fini(&d->leaves);
    free(d->hashes);
    free(d);
}

/* A message inside another: what was written behind `from` becomes the content of a field. */
static ehis_err wrap(struct buf *b, size_t from, unsigned field)
{
    uint8_t *room;
    size_t len = b->len - from, head = codec_head_bytes(field, len);
    struct buf tag;
    EHIS_TRY(buf_reserve(b, head, &room));
    buf_init(&tag, 16);
    ehis_err err = codec_put_head(&tag, field, len);
    if (err == EHIS_OK) {
        uint8_t *content = b->p + b->start + from;
        memmove(content + head, content, len);
        memcpy(content, buf_span(&tag).p, head);
        buf_commit(b, head);
    }
    buf_fini(&tag);
    return err;
}

/* Ends a leaf that was written into b as the content of kind. b is freed. */
static ehis_err add_leaf(struct registry_draft *d, ehis_err err, struct buf *b, unsigned kind)
{
    if (err == EHIS_OK)
        err = wrap(b, 0, kind);
    if (err == EHIS_OK && d->count == REGISTRY_LEAVES_MAX)
        err = EHIS_E_TOO_LARGE;
    if (err == EHIS_OK && d->count == d->cap) {
        struct hash *more = reallocarray(d->hashes, d->cap ? d->cap * 2 : 64, sizeof *more);
        if (more) {
            d->hashes = more;
            d->cap = d->cap ? d->cap * 2 : 64;
        } else {
            err = EHIS_E_NO_MEMORY;
        }
    }
    if (err == EHIS_OK)
        err = codec_put_bytes(&d->leaves, 2, buf_span(b));
    if (err == EHIS_OK)
        hash_leaf(buf_span(b), &d->hashes[d->count++]);
    buf_fini(b);
    return err;
}

static ehis_err put_terms(struct buf *b, unsigned field, const struct registry_term_text *terms, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        size_t from = b->len;
        EHIS_TRY(codec_put_bytes(b, 1, terms[i].code));
        EHIS_TRY(codec_put_bytes(b, 2, terms[i].label_en));
        EHIS_TRY(codec_put_bytes(b, 3, terms[i].label_az));
        EHIS_TRY(wrap(b, from, field));
    }
    return EHIS_OK;
}

ehis_err registry_draft_terms(struct registry_draft *d, const struct registry_term_text *purposes, size_t purpose_count,
                              const struct registry_term_text *legal_bases, size_t legal_basis_count)
{
    struct buf b;
    buf_init(&b, LEAF_MAX_BYTES);
    ehis_err err = put_terms(&b, 1, purposes, purpose_count);
    if (err == EHIS_OK)
        err = put_terms(&b, 2, legal_bases, legal_basis_count);
    return add_leaf(d, err, &b, 5);
}

ehis_err registry_draft_agency(struct registry_draft *d, struct span id, struct span name)
{
    struct buf b;
    buf_init(&b, LEAF_MAX_BYTES);
    ehis_err err = codec_put_bytes(&b, 1, id);
    if (err == EHIS_OK)
        err = codec_put_bytes(&b, 2, name);
    return add_leaf(d, err, &b, 1);
}

static ehis_err put_key(struct buf *b, const struct registry_key *k)
{
    size_t from = b->len;
    EHIS_TRY(codec_put_bytes(b, 1, span_of(k->id.b, HASH_BYTES)));
    EHIS_TRY(codec_put_number(b, 2, k->use));
    EHIS_TRY(codec_put_number(b, 3, k->algorithm));
    EHIS_TRY(codec_put_bytes(b, 4, k->public_key));
    EHIS_TRY(codec_put_number(b, 5, (uint64_t)k->not_before_ms));
    EHIS_TRY(codec_put_number(b, 6, (uint64_t)k->retired_ms));
    EHIS_TRY(codec_put_number(b, 7, (uint64_t)k->revoked_ms));
    return wrap(b, from, 2);
}

ehis_err registry_draft_owner(struct registry_draft *d, const struct registry_owner *o, struct span contact)
{
    struct buf b;
    buf_init(&b, LEAF_MAX_BYTES);
    ehis_err err = codec_put_bytes(&b, 1, o->id);
    for (size_t i = 0; err == EHIS_OK && i < o->key_count; i++)
        err = put_key(&b, &o->keys[i]);
    if (err == EHIS_OK && !o->is_gateway)
        err = codec_put_number(&b, 3, o->is_disabled);
    if (err == EHIS_OK && !o->is_gateway)
        err = codec_put_bytes(&b, 4, contact);
    return add_leaf(d, err, &b, o->is_gateway ? 3 : 2);
}

static ehis_err put_operation(struct buf *b, const struct registry_operation *o)
{
    size_t from = b->len;
    EHIS_TRY(codec_put_bytes(b, 1, o->name));
    EHIS_TRY(codec_put_number(b, 2, o->is_event ? 2 : 1));
    EHIS_TRY(codec_put_bytes(b, 3, o->request_schema));
    EHIS_TRY(codec_put_bytes(b, 4, o->response_schema));
    EHIS_TRY(codec_put_number(b, 5, o->max_response_bytes));
    return wrap(b, from, 2);
}

ehis_err registry_draft_service(struct registry_draft *d, const struct registry_service *s)
{
    struct buf b;
    buf_init(&b, LEAF_MAX_BYTES);
    ehis_err err = codec_put_bytes(&b, 1, s->id);
    for (size_t i = 0; err == EHIS_OK && i < s->operation_count; i++)
        err = put_operation(&b, &s->operations[i]);
    return add_leaf(d, err, &b, 4);
}

static ehis_err put_list(struct buf *b, unsigned field, const struct span *items, size_t count)
{
    for (size_t i = 0; i < count; i++)
        EHIS_TRY(codec_put_bytes(b, field, items[i]));
    return EHIS_OK;
}

static ehis_err put_rule(struct buf *b, const struct registry_rule_text *t)
{
    size_t from = b->len;
    EHIS_TRY(codec_put_bytes(b, 1, t->id));
    EHIS_TRY(codec_put_number(b, 2, t->is_forbid ? 2 : 1));
    EHIS_TRY(put_list(b, 3, t->consumers, t->consumer_count));
    EHIS_TRY(put_list(b, 4, t->operations, t->operation_count));
    EHIS_TRY(put_list(b, 5, t->purposes, t->purpose_count));
    EHIS_TRY(put_list(b, 6, t->legal_bases, t->legal_basis_count));
    EHIS_TRY(codec_put_number(b, 7, (uint64_t)t->valid_from_ms));
    EHIS_TRY(codec_put_number(b, 8, (uint64_t)t->valid_until_ms));
    EHIS_TRY(codec_put_bytes(b, 9, t->approval));
    return wrap(b, from, 2);
}

ehis_err registry_draft_rules(struct registry_draft *d, struct span service, const struct registry_rule_text *rules, size_t count)
{
    struct buf b;
    buf_init(&b, LEAF_MAX_BYTES);
    ehis_err err = codec_put_bytes(&b, 1, service);
    for (size_t i = 0; err == EHIS_OK && i < count; i++)
        err = put_rule(&b, &rules[i]);
    return add_leaf(d, err, &b, 6);
}

static ehis_err put_signed(struct buf *out, struct span statement, const uint8_t key_id[32], const uint8_t signature[64])
{
    size_t from = out->len;
    EHIS_TRY(codec_put_bytes(out, 1, statement));
    EHIS_TRY(codec_put_number(out, 2, ALGORITHM_ED25519));
    EHIS_TRY(codec_put_bytes(out, 3, span_of(key_id, HASH_BYTES)));
    EHIS_TRY(codec_put_bytes(out, 4, span_of(signature, 64)));
    return wrap(out, from, 1);
}

/* Statements of the chain that are kept: those that counted after keep_after_ms, and always the previous one, whole and without gaps. */
static ehis_err put_earlier(struct buf *out, const struct registry *previous, int64_t keep_after_ms)
{
    size_t first = 0, count = previous->known_count;
    while (first < count && (previous->known[first].not_after_ms < keep_after_ms || previous->known[first].signed_bytes.len == 0 ||
                             count - first >= REGISTRY_EARLIER_MAX))
        first++;
    for (size_t i = first; i < count; i++)
        EHIS_TRY(codec_put_bytes(out, 3, previous->known[i].signed_bytes));
    return codec_put_bytes(out, 3, previous->signed_statement);
}

static ehis_err put_statement(struct buf *b, const struct registry_draft *d, const struct registry_validity *of,
                              const struct registry *previous)
{
    struct tree t;
    struct hash root;
    tree_init(&t);
    ehis_err err = tree_build(&t, d->hashes, d->count);
    if (err == EHIS_OK)
        tree_root(&t, &root);
    tree_fini(&t);
    EHIS_TRY(err);
    EHIS_TRY(codec_put_bytes(b, 1, of->instance));
    EHIS_TRY(codec_put_number(b, 2, previous ? previous->version + 1 : 1));
    if (previous)
        EHIS_TRY(codec_put_bytes(b, 3, span_of(previous->hash.b, HASH_BYTES)));
    EHIS_TRY(codec_put_number(b, 4, (uint64_t)of->not_before_ms));
    EHIS_TRY(codec_put_number(b, 5, (uint64_t)of->not_after_ms));
    EHIS_TRY(codec_put_number(b, 6, of->grace_ms));
    EHIS_TRY(codec_put_number(b, 7, d->count));
    return codec_put_bytes(b, 8, span_of(root.b, HASH_BYTES));
}

ehis_err registry_build(const struct registry_draft *d, const struct registry_validity *of, const struct registry *previous,
                        struct buf *out, struct ehis_why *why)
{
    static const uint8_t none[64]; /* a signature of zeros: unsigned */
    struct registry *readback = NULL;
    struct buf statement;
    size_t before = out->len;
    if (d->count == 0)
        return ehis_fail(why, EHIS_E_REGISTRY_CONTENT, "it is empty");
    if (previous && (previous->is_part || previous->operator_key_id.len == 0))
        return ehis_fail(why, EHIS_E_REGISTRY_UNSIGNED, "the previous document must be a whole and signed one");
    buf_init(&statement, 1024);
    ehis_err err = put_statement(&statement, d, of, previous);
    if (err == EHIS_OK)
        err = put_signed(out, buf_span(&statement), none, none);
    if (err == EHIS_OK)
        err = buf_put_span(out, buf_span(&d->leaves));
    if (err == EHIS_OK && previous)
        err = put_earlier(out, previous, of->keep_after_ms);
    buf_fini(&statement);
    if (err == EHIS_OK)
        err = registry_from_unverified(span_of(out->p + out->start + before, out->len - before), &readback, why);
    registry_unref(readback);
    if (err != EHIS_OK)
        out->len = before;
    return err;
}

ehis_err registry_sign(struct span document, const struct sign_key *operator_key, struct buf *out, struct ehis_why *why)
{
    uint8_t content[REGISTRY_SIGNED_BYTES], signature[64];
    struct scan_value v[2], s[2];
    struct hash hash;
    const struct hash *id = sign_key_id(operator_key);
    EHIS_TRY(scan(&scan_ehis_v1_registry, document, v, 2, why));
    EHIS_TRY(scan(&scan_ehis_v1_signed_statement, v[1].bytes, s, 2, why));
    hash_span(s[1].bytes, &hash);
    registry_signed_content(ALGORITHM_ED25519, span_of(id->b, HASH_BYTES), &hash, content);
    sign_bytes(operator_key, REGISTRY_LABEL, span_of(content, sizeof content), signature);
    size_t before = out->len;
    ehis_err err = put_signed(out, s[1].bytes, id->b, signature);
    if (err == EHIS_OK) { /* what stands behind the statement */
        const uint8_t *rest = v[1].bytes.p + v[1].bytes.len;
        err = buf_put(out, rest, (size_t)(document.p + document.len - rest));
    }
    if (err != EHIS_OK)
        out->len = before;
    return err;
}
