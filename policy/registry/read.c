/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* Documents and parts into views. Signature, chain and root are verified before any leaf is looked into: what is compiled was signed by
 * the operator. A view takes at most some 16 times the document's size. */
#include <stdlib.h>

#include "base/clock.h"
#include "ehis_scan.h"
#include "policy/registry/view_priv.h"
#include "proto/wire/scan.h"

struct statement {
    struct span instance, previous, root;
    uint64_t version, grace_ms, leaf_count;
    int64_t not_before_ms, not_after_ms;
    struct hash hash;
};
struct envelope_of {
    struct span statement, key_id, signature;
    uint64_t algorithm;
};

void registry_signed_content(uint8_t algorithm, struct span key_id, const struct hash *statement, uint8_t out[REGISTRY_SIGNED_BYTES])
{
    out[0] = algorithm;
    memcpy(out + 1, key_id.p, HASH_BYTES);
    memcpy(out + 1 + HASH_BYTES, statement->b, HASH_BYTES);
}

static bool is_zero(struct span s)
{
    for (size_t i = 0; i < s.len; i++)
        if (s.p[i])
            return false;
    return true;
}

static ehis_err read_statement(struct span bytes, struct envelope_of *e, struct statement *s, struct ehis_why *why)
{
    struct scan_value v[9];
    EHIS_TRY(scan(&scan_ehis_v1_signed_statement, bytes, v, 5, why));
    *e = (struct envelope_of){v[1].bytes, v[3].bytes, v[4].bytes, v[2].number};
    EHIS_TRY(scan(&scan_ehis_v1_statement, e->statement, v, 9, why));
    if (v[4].number > REGISTRY_TIME_MAX_MS || v[5].number > REGISTRY_TIME_MAX_MS || v[6].number > REGISTRY_TIME_MAX_MS ||
        v[4].number >= v[5].number)
        return ehis_fail(why, EHIS_E_REGISTRY_CONTENT, "statement: the times of its validity");
    if ((v[2].number == 1) == v[3].is_present)
        return ehis_fail(why, EHIS_E_REGISTRY_CONTENT, "statement: every version but the first names the previous one");
    *s = (struct statement){.instance = v[1].bytes,
                            .version = v[2].number,
                            .previous = v[3].bytes,
                            .not_before_ms = (int64_t)v[4].number,
                            .not_after_ms = (int64_t)v[5].number,
                            .grace_ms = v[6].number,
                            .leaf_count = v[7].number,
                            .root = v[8].bytes};
    hash_span(e->statement, &s->hash);
    return EHIS_OK;
}

static ehis_err check_signature(const struct envelope_of *e, const struct statement *s, const struct registry_trust *trust,
                                struct ehis_why *why)
{
    uint8_t content[REGISTRY_SIGNED_BYTES];
    struct hash id;
    if (is_zero(e->signature) && is_zero(e->key_id))
        return ehis_fail(why, EHIS_E_REGISTRY_UNSIGNED, "version %llu", (unsigned long long)s->version);
    if (e->algorithm != ALGORITHM_ED25519)
        return ehis_fail(why, EHIS_E_REGISTRY_SIGNATURE, "unknown algorithm");
    registry_signed_content(ALGORITHM_ED25519, e->key_id, &s->hash, content);
    for (size_t i = 0; i < trust->count; i++) {
        crypto_key_id(USE_OPERATOR, ALGORITHM_ED25519, span_of(trust->operator_keys[i], 32), &id);
        if (memcmp(id.b, e->key_id.p, HASH_BYTES) != 0)
            continue;
        ehis_err err = sign_verify_bytes(trust->operator_keys[i], REGISTRY_LABEL, span_of(content, sizeof content), e->signature.p);
        if (err == EHIS_E_SIGNATURE_BAD)
            return ehis_fail(why, EHIS_E_REGISTRY_SIGNATURE, "version %llu: the signature does not verify", (unsigned long long)s->version);
        return err;
    }
    return ehis_fail(why, EHIS_E_REGISTRY_SIGNATURE, "version %llu: signed by a key that is not trusted here",
                     (unsigned long long)s->version);
}

/* Earlier statements: a chain of hashes that ends in the signed one, so that no signature of theirs needs to be looked at (the keys that
 * made them may be long gone). oldest = the first of the chain. */
static ehis_err read_chain(struct registry *r, unsigned field, size_t count, struct statement *oldest, struct ehis_why *why)
{
    struct span bytes = {r->bytes, r->len}, content;
    struct statement last = {0}, s;
    struct envelope_of e;
    size_t at = 0;
    r->known = calloc(count + 1, sizeof *r->known);
    if (!r->known)
        return EHIS_E_NO_MEMORY;
    while (scan_next(bytes, field, &at, &content)) {
        EHIS_TRY(read_statement(content, &e, &s, why));
        if (!span_eq(s.instance, r->instance))
            return ehis_fail(why, EHIS_E_REGISTRY_INSTANCE, "an earlier statement");
        if (s.version >= r->version ||
            (r->known_count && (s.version <= last.version || !span_eq(s.previous, span_of(last.hash.b, HASH_BYTES)))))
            return ehis_fail(why, EHIS_E_REGISTRY_FORK, "earlier statements: version %llu does not follow", (unsigned long long)s.version);
        if (r->known_count == 0)
            *oldest = s;
        EHIS_ASSERT(r->known_count < count);
        r->known[r->known_count++] = (struct known){s.version, s.hash, content, s.not_after_ms};
        last = s;
    }
    r->earlier_count = r->known_count;
    if (r->known_count && !span_eq(r->previous, span_of(last.hash.b, HASH_BYTES)))
        return ehis_fail(why, EHIS_E_REGISTRY_FORK, "earlier statements do not lead to version %llu", (unsigned long long)r->version);
    return EHIS_OK;
}

/* What the older view knew of the chain stays known, as far as it lies before what came now. */
static ehis_err carry_on(struct registry *r, const struct registry *older, uint64_t oldest)
{
    size_t count = 0;
    while (count < older->known_count && older->known[count].version < oldest)
        count++;
    bool with_older = older->version < oldest;
    size_t total = count + with_older + r->known_count, skip = total > REGISTRY_EARLIER_MAX ? total - REGISTRY_EARLIER_MAX : 0;
    struct known *all = calloc(total + 1, sizeof *all);
    if (!all)
        return EHIS_E_NO_MEMORY;
    size_t n = 0;
    for (size_t i = skip < count ? skip : count; i < count; i++) {
        all[n] = older->known[i];
        all[n++].signed_bytes = (struct span){0};
    }
    if (with_older)
        all[n++] = (struct known){older->version, older->hash, {0}, older->not_after_ms};
    memcpy(all + n, r->known, r->known_count * sizeof *all);
    free(r->known);
    r->known = all;
    r->known_count += n;
    return EHIS_OK;
}

static ehis_err check_older(struct registry *r, const struct registry *older, const struct statement *oldest, struct ehis_why *why)
{
    unsigned long long held = older->version, now = r->version;
    bool is_linked = false;
    if (!span_eq(r->instance, older->instance))
        return ehis_fail(why, EHIS_E_REGISTRY_INSTANCE, "another than the registry that is held");
    if (now < held)
        return ehis_fail(why, EHIS_E_REGISTRY_OLDER, "version %llu, held is %llu", now, held);
    if (now == held && memcmp(r->hash.b, older->hash.b, HASH_BYTES) != 0)
        return ehis_fail(why, EHIS_E_REGISTRY_FORK, "another version %llu than the one that is held", now);
    if (now == held)
        return EHIS_E_REGISTRY_SAME;
    if (oldest->version > held) {
        is_linked = span_eq(oldest->previous, span_of(older->hash.b, HASH_BYTES));
        if (!is_linked && oldest->version == held + 1)
            return ehis_fail(why, EHIS_E_REGISTRY_FORK, "version %llu follows another version %llu than the one that is held", held + 1,
                             held);
    } else {
        for (size_t i = 0; i < r->known_count && !is_linked; i++)
            is_linked = r->known[i].version == held && memcmp(r->known[i].hash.b, older->hash.b, HASH_BYTES) == 0;
        if (!is_linked)
            return ehis_fail(why, EHIS_E_REGISTRY_FORK, "its chain has another version %llu than the one that is held", held);
    }
    return is_linked ? carry_on(r, older, oldest->version) : EHIS_OK;
}

static ehis_err read_leaves(struct registry *r, size_t count, struct ehis_why *why)
{
    struct span content;
    struct hash root, *hashes = calloc(count ? count : 1, sizeof *hashes);
    ehis_err err = EHIS_E_NO_MEMORY;
    size_t at = 0, n = 0;
    r->leaves = calloc(count ? count : 1, sizeof *r->leaves);
    if (!hashes || !r->leaves)
        goto out;
    while (n < count && scan_next(span_of(r->bytes, r->len), 2, &at, &content)) {
        hash_leaf(content, &hashes[n]);
        r->leaves[n++] = content;
    }
    r->leaf_here = n;
    err = n == r->leaf_count
              ? tree_build(&r->tree, hashes, n)
              : ehis_fail(why, EHIS_E_REGISTRY_ROOT, "it has %zu parts, signed are %llu", n, (unsigned long long)r->leaf_count);
    if (err != EHIS_OK)
        goto out;
    tree_root(&r->tree, &root);
    if (memcmp(root.b, r->root.b, HASH_BYTES) != 0)
        err = ehis_fail(why, EHIS_E_REGISTRY_ROOT, "the root over %zu parts differs", n);
out:
    free(hashes);
    return err;
}

static ehis_err read_proofs(struct registry *r, size_t count, struct ehis_why *why)
{
    struct span content;
    struct hash leaf, root;
    size_t at = 0;
    uint64_t least = 0;
    r->leaves = calloc(count ? count : 1, sizeof *r->leaves);
    if (!r->leaves)
        return EHIS_E_NO_MEMORY;
    while (r->leaf_here < count && scan_next(span_of(r->bytes, r->len), 3, &at, &content)) {
        struct scan_value v[4];
        EHIS_TRY(scan(&scan_ehis_v1_leaf_proof, content, v, 4, why));
        unsigned long long index = v[1].number;
        if (index < least)
            return ehis_fail(why, EHIS_E_REGISTRY_CONTENT, "leaf %llu is not in ascending order", index);
        hash_leaf(v[2].bytes, &leaf);
        if (tree_root_of_path(&leaf, index, r->leaf_count, v[3].bytes, &root) != EHIS_OK || memcmp(root.b, r->root.b, HASH_BYTES) != 0)
            return ehis_fail(why, EHIS_E_REGISTRY_ROOT, "the path of leaf %llu", index);
        least = index + 1;
        r->leaves[r->leaf_here++] = v[2].bytes;
    }
    return EHIS_OK;
}

static ehis_err load(struct registry *r, const struct registry_trust *trust, const struct registry *older, int64_t now_ms,
                     struct ehis_why *why)
{
    const struct scan_message *table = r->is_part ? &scan_ehis_v1_registry_part : &scan_ehis_v1_registry;
    unsigned earlier_field = r->is_part ? 2 : 3, leaf_field = r->is_part ? 3 : 2;
    struct scan_value v[4];
    struct envelope_of e;
    struct statement s;
    EHIS_TRY(scan(table, span_of(r->bytes, r->len), v, 4, why));
    r->signed_statement = v[1].bytes;
    EHIS_TRY(read_statement(v[1].bytes, &e, &s, why));
    if (trust)
        EHIS_TRY(check_signature(&e, &s, trust, why));
    if (trust && !span_eq(s.instance, trust->instance))
        return ehis_fail(why, EHIS_E_REGISTRY_INSTANCE, "\"%.*s\", here it is \"%.*s\"", SPAN_SHOW(s.instance),
                         SPAN_SHOW(trust->instance));
    r->instance = s.instance;
    r->version = s.version;
    r->hash = s.hash;
    r->previous = s.previous;
    r->not_before_ms = s.not_before_ms;
    r->not_after_ms = s.not_after_ms;
    r->grace_ms = s.grace_ms;
    r->leaf_count = s.leaf_count;
    r->operator_key_id = is_zero(e.key_id) ? (struct span){0} : e.key_id;
    memcpy(r->root.b, s.root.p, HASH_BYTES);
    struct statement oldest = s;
    EHIS_TRY(read_chain(r, earlier_field, v[earlier_field].count, &oldest, why));
    ehis_err compared = older ? check_older(r, older, &oldest, why) : EHIS_OK;
    if (compared != EHIS_OK && compared != EHIS_E_REGISTRY_SAME)
        return compared;
    ehis_err err = compared == EHIS_OK && trust && now_ms != REGISTRY_ANY_TIME ? registry_check_time(r, now_ms) : EHIS_OK;
    if (err != EHIS_OK) {
        char from[TIME_TEXT_LEN], until[TIME_TEXT_LEN];
        time_to_text(r->not_before_ms, from);
        time_to_text(r->not_after_ms, until);
        return ehis_fail(why, err, "version %llu is valid from %s until %s", (unsigned long long)r->version, from, until);
    }
    EHIS_TRY(r->is_part ? read_proofs(r, v[leaf_field].count, why) : read_leaves(r, v[leaf_field].count, why));
    if (compared != EHIS_OK) /* the same, also in its leaves */
        return ehis_fail(why, compared, "version %llu", (unsigned long long)r->version);
    return registry_compile(r, why);
}

static ehis_err from_bytes(struct span bytes, bool is_part, const struct registry_trust *trust, const struct registry *older,
                           int64_t now_ms, struct registry **out, struct ehis_why *why)
{
    if (bytes.len > REGISTRY_DOCUMENT_MAX_BYTES)
        return ehis_fail(why, EHIS_E_TOO_LARGE, "a registry document of more than %d bytes", REGISTRY_DOCUMENT_MAX_BYTES);
    struct registry *r = calloc(1, sizeof *r);
    if (!r || !(r->bytes = malloc(bytes.len ? bytes.len : 1))) {
        free(r);
        return EHIS_E_NO_MEMORY;
    }
    atomic_init(&r->refs, 1);
    if (bytes.len)
        memcpy(r->bytes, bytes.p, bytes.len);
    r->len = bytes.len;
    r->is_part = is_part;
    ehis_err err = load(r, trust, older, now_ms, why);
    if (err == EHIS_OK)
        *out = r;
    else
        registry_unref(r);
    return err;
}

ehis_err registry_from_document(struct span bytes, const struct registry_trust *trust, const struct registry *older, int64_t now_ms,
                                struct registry **out, struct ehis_why *why)
{
    return from_bytes(bytes, false, trust, older, now_ms, out, why);
}

ehis_err registry_from_part(struct span bytes, const struct registry_trust *trust, const struct registry *older, int64_t now_ms,
                            struct registry **out, struct ehis_why *why)
{
    return from_bytes(bytes, true, trust, older, now_ms, out, why);
}

ehis_err registry_from_unverified(struct span document, struct registry **out, struct ehis_why *why)
{
    return from_bytes(document, false, NULL, NULL, 0, out, why);
}
