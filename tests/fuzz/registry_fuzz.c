/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* Registry documents and parts. First byte: 'D' a document as a tool reads it (no signature, so that the inside is reached), 'P' a part,
 * 'S' a signed document as a gateway does, 'L' leaves (Registry.leaves fields), under a root made here so that they are looked into. What
 * is accepted answers every question, and the parts cut from it are accepted too. */
#include <stdlib.h>

#include "policy/decide/decide.h"
#include "policy/registry/draft.h"
#include "policy/registry/rule.h"
#include "proto/wire/codec.h"

#define NOW INT64_C(1795680000000)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void use(const struct registry *r)
{
    struct buf out;
    buf_init(&out, 1 << 20);
    for (size_t i = 0; i < registry_service_count(r); i++) {
        const struct registry_service *s = registry_service_at(r, i);
        for (size_t k = 0; k < registry_owner_count(r); k++) {
            for (size_t o = 0; o < s->operation_count && o < 4; o++) {
                struct decide_question q = {s->operations[o].is_event ? DECIDE_RECEIVE : DECIDE_CALL,
                                            registry_owner_at(r, k)->id,
                                            s->id,
                                            s->operations[o].name,
                                            {0},
                                            {0},
                                            NOW};
                struct decide_answer a;
                registry_term_at(r, true, 0, &q.purpose);
                registry_term_at(r, false, 0, &q.legal_basis);
                decide(r, &q, &a);
                EHIS_ASSERT(a.is_permitted == (a.code == EHIS_OK) && a.failed);
                EHIS_ASSERT(decide_explain(r, &q, &out) == EHIS_OK || out.len > (1 << 19));
                buf_clear(&out);
            }
        }
    }
    for (size_t k = 0; k < registry_owner_count(r); k++) {
        const struct registry_owner *o = registry_owner_at(r, k);
        const struct registry_key *key;
        EHIS_ASSERT((o->is_gateway ? registry_gateway(r, o->id) : registry_system(r, o->id)) == o);
        for (size_t i = 0; i < o->key_count; i++)
            (void)!registry_signing_key(r, o->id, o->keys[i].id.b, NOW, NOW, &key);
        (void)!registry_sealing_key(r, o->id, NOW, &key);
    }
    buf_fini(&out);
}

/* A document of whatever leaves the input holds. */
static ehis_err document_of_leaves(struct span in, struct buf *out)
{
    static const uint8_t none[64];
    struct hash hashes[64], root = {{0}};
    struct span leaf;
    struct tree t;
    struct buf statement, signed_statement;
    size_t count = 0;
    tree_init(&t);
    buf_init(&statement, 1024);
    buf_init(&signed_statement, 2048);
    for (size_t at = 0; count < 64 && scan_next(in, 2, &at, &leaf);)
        hash_leaf(leaf, &hashes[count++]);
    ehis_err err = tree_build(&t, hashes, count);
    if (err == EHIS_OK)
        tree_root(&t, &root);
    if (err != EHIS_OK || (err = codec_put_bytes(&statement, 1, span_str("AZ"))) != EHIS_OK ||
        (err = codec_put_number(&statement, 2, 1)) != EHIS_OK || (err = codec_put_number(&statement, 4, NOW)) != EHIS_OK ||
        (err = codec_put_number(&statement, 5, NOW + 1)) != EHIS_OK || (err = codec_put_number(&statement, 7, count)) != EHIS_OK ||
        (err = codec_put_bytes(&statement, 8, span_of(root.b, 32))) != EHIS_OK ||
        (err = codec_put_bytes(&signed_statement, 1, buf_span(&statement))) != EHIS_OK ||
        (err = codec_put_number(&signed_statement, 2, 1)) != EHIS_OK ||
        (err = codec_put_bytes(&signed_statement, 3, span_of(none, 32))) != EHIS_OK ||
        (err = codec_put_bytes(&signed_statement, 4, span_of(none, 64))) != EHIS_OK ||
        (err = codec_put_bytes(out, 1, buf_span(&signed_statement))) != EHIS_OK)
        goto out;
    err = buf_put_span(out, in);
out:
    tree_fini(&t);
    buf_fini(&statement);
    buf_fini(&signed_statement);
    return err;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint8_t keys[1][32] = {{0}};
    const struct registry_trust trust = {keys, 1, span_str("AZ")};
    struct registry *r = NULL;
    struct ehis_why why = {""};
    if (size == 0)
        return 0;
    struct span in = span_of(data + 1, size - 1);
    struct buf made;
    buf_init(&made, 1 << 20);
    if (data[0] == 'L' && document_of_leaves(in, &made) == EHIS_OK)
        in = buf_span(&made);
    ehis_err err = data[0] == 'P'   ? registry_from_part(in, &trust, NULL, NOW, &r, &why)
                   : data[0] == 'S' ? registry_from_document(in, &trust, NULL, NOW, &r, &why)
                                    : registry_from_unverified(in, &r, &why);
    EHIS_ASSERT((r != NULL) == (err == EHIS_OK));
    buf_fini(&made); /* a view keeps its own bytes */
    if (!r)
        return 0;
    use(r);
    if (data[0] == 'D' || data[0] == 'L') {
        struct buf part;
        buf_init(&part, REGISTRY_DOCUMENT_MAX_BYTES);
        for (size_t k = 0; k < registry_owner_count(r) && k < 4; k++) {
            if (!registry_owner_at(r, k)->is_gateway)
                EHIS_ASSERT(registry_part(r, registry_owner_at(r, k)->id, 0, &part, &why) == EHIS_OK);
            buf_clear(&part);
        }
        buf_fini(&part);
    }
    registry_unref(r);
    return 0;
}
