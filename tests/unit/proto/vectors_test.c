/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* Every computation of SPEC against vectors that were made from its text by another program in another language. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>

#include "ehis_scan.h"
#include "proto/crypto/hkdf.h"
#include "proto/crypto/large.h"
#include "proto/crypto/seal.h"
#include "proto/crypto/sign.h"
#include "proto/evidence/merkle.h"
#include "proto/wire/envelope.h"
#include "proto/wire/identifier.h"
#include "proto/wire/scan.h"
#include "proto/wire/session_frames.h"
#include "tests/support/vectors.h"

#define OK(e) assert_string_equal(ehis_err_name(e), "OK")
static json_t *file;            /* of the running test */
static struct span taken[4096]; /* hexadecimal members in use; freed with it */
static size_t taken_count;

static const json_t *open_file(const char *path, const char *member)
{
    file = vectors_load_own(path);
    const json_t *j = json_object_get(file, member);
    assert_non_null(j);
    return j;
}

static int close_file(void **s)
{
    (void)s;
    while (taken_count)
        vectors_free(taken[--taken_count]);
    json_decref(file);
    file = NULL;
    return 0;
}

static struct span hex(const json_t *j, const char *name)
{
    assert_true(taken_count < sizeof taken / sizeof *taken);
    return taken[taken_count++] = vectors_hex(j, name);
}
static const uint8_t *hex_of(const json_t *j, const char *name, size_t n)
{
    struct span s = hex(j, name);
    assert_int_equal(s.len, n);
    return s.p;
}
static struct span text(const json_t *j, const char *name) { return span_str(vectors_text(j, name)); }
static uint64_t number(const json_t *j, const char *name)
{
    const json_t *v = json_object_get(j, name);
    uint64_t out = 0;
    if (!json_is_string(v))
        return (uint64_t)json_number_value(v);
    OK(decimal_from_text(span_str(json_string_value(v)), UINT64_MAX, &out)); /* more than a double holds */
    return out;
}
static struct hash hash_at(const json_t *j, const char *name)
{
    struct hash h;
    memcpy(h.b, hex_of(j, name, HASH_BYTES), HASH_BYTES);
    return h;
}
#define SAME(span_, j, name)                     \
    do {                                         \
        struct span want_ = hex(j, name);        \
        assert_int_equal((span_).len, want_.len); \
        assert_memory_equal((span_).p, want_.p, want_.len); \
    } while (0)
#define SAME_BYTES(p, n, j, name) SAME(span_of(p, n), j, name)

static void identifiers(void **s)
{
    (void)s;
    const json_t *rows = open_file("identifiers.json", "identifiers"), *row;
    size_t i;
    json_array_foreach(rows, i, row)
    {
        unsigned parts = 0;
        ehis_err err = identifier_parse(hex(row, "bytes"), &parts, NULL);
        assert_int_equal(err == EHIS_OK ? parts : 0, number(row, "parts"));
    }
    assert_true(i > 20);
}

static void headers_of_every_kind(void **s)
{
    (void)s;
    const json_t *rows = open_file("headers.json", "headers"), *row;
    size_t i;
    json_array_foreach(rows, i, row)
    {
        struct envelope_header h;
        struct ehis_why why = {""};
        struct buf again;
        buf_init(&again, 16384);
        ehis_err err = envelope_header_read(hex(row, "header"), &h, &why);
        if (err)
            print_error("%s\n", why.text);
        OK(err);
        assert_int_equal(h.kind, number(row, "kind"));
        assert_true(span_eq(h.sender, text(row, "sender")) && span_eq(h.recipient, text(row, "recipient")) && span_eq(h.operation, text(row, "operation")));
        OK(envelope_header_write(&h, &again));
        SAME(buf_span(&again), row, "header");
        buf_fini(&again);
    }
    assert_int_equal(i, 4);
}

static void what_the_scanner_takes_and_refuses(void **s)
{
    (void)s;
    static const struct { const char *name; const struct scan_message *table; } tables[] = {
        {"Header", &scan_ehis_v1_header}, {"Ping", &scan_ehis_v1_ping}, {"Flow", &scan_ehis_v1_flow}, {"Error", &scan_ehis_v1_error}, {"Subscribe", &scan_ehis_v1_subscribe}};
    const json_t *rows = open_file("scan.json", "scan"), *row;
    size_t i;
    json_array_foreach(rows, i, row)
    {
        const struct scan_message *table = NULL;
        for (size_t k = 0; k < sizeof tables / sizeof *tables; k++)
            if (!strcmp(tables[k].name, vectors_text(row, "message")))
                table = tables[k].table;
        assert_non_null(table);
        assert_string_equal(ehis_err_name(scan(table, hex(row, "bytes"), NULL, 0, NULL)), vectors_text(row, "result"));
    }
    assert_true(i > 30);
}

static void digests_and_key_ids(void **s)
{
    (void)s;
    const json_t *all = open_file("digests.json", "digests"), *row;
    size_t i;
    struct hash h;
    json_array_foreach(json_object_get(all, "envelopes"), i, row)
    {
        struct span sealed = hex(row, "sealed");
        hash_span(sealed, &h);
        hash_envelope(hex(row, "header"), sealed.len, &h, &h);
        SAME_BYTES(h.b, HASH_BYTES, row, "digest");
    }
    json_array_foreach(json_object_get(all, "keys"), i, row)
    {
        crypto_key_id((enum key_use)number(row, "use"), (enum key_algorithm)number(row, "algorithm"), hex(row, "public_key"), &h);
        SAME_BYTES(h.b, HASH_BYTES, row, "key_id");
    }
    assert_int_equal(i, 6);
}

static void check_batch(const json_t *batch)
{
    const json_t *rows = json_object_get(batch, "leaves"), *row;
    size_t i, count = json_array_size(rows);
    struct hash leaves[16], path[20], top;
    struct sign_key *key;
    struct tree t;
    uint8_t signature[64];
    assert_in_range(count, 1, 16);
    json_array_foreach(rows, i, row)
    leaves[i] = hash_at(row, "leaf");
    OK(sign_key_new(hex_of(batch, "seed", 32), USE_SIGN, &key));
    SAME_BYTES(sign_key_public(key), 32, batch, "public_key");
    SAME_BYTES(sign_key_id(key)->b, 32, batch, "key_id");
    tree_init(&t);
    OK(sign_batch(key, &t, leaves, count, signature));
    tree_root(&t, &top);
    SAME_BYTES(top.b, HASH_BYTES, batch, "root");
    SAME_BYTES(signature, 64, batch, "signature");
    json_array_foreach(rows, i, row)
    {
        struct span theirs = hex(row, "path");
        SAME_BYTES(path, tree_path(&t, i, path) * HASH_BYTES, row, "path");
        struct leaf_signature l = {.algorithm = ALGORITHM_ED25519, .key_id = *sign_key_id(key), .size = (uint32_t)count, .index = (uint32_t)i, .path = theirs, .signature = signature};
        OK(sign_verify_leaf(&leaves[i], &l, sign_key_public(key), NULL));
        if (count > 1) {
            l.index = (uint32_t)(i + 1) % (uint32_t)count;
            assert_int_not_equal(sign_verify_leaf(&leaves[i], &l, sign_key_public(key), NULL), EHIS_OK);
        }
    }
    rows = json_object_get(batch, "runs");
    assert_int_equal(json_array_size(rows), count * (count + 1) / 2);
    json_array_foreach(rows, i, row)
    {
        struct hash proof[TREE_PROOF_MAX], run[16];
        size_t first = (size_t)json_number_value(json_object_get(row, "first")), n = (size_t)json_number_value(json_object_get(row, "count"));
        size_t proof_bytes = tree_run_proof(&t, first, n, proof) * HASH_BYTES;
        SAME_BYTES(proof, proof_bytes, row, "proof");
        memcpy(run, leaves + first, n * sizeof *run);
        struct leaf_signature l = {.algorithm = ALGORITHM_ED25519, .key_id = *sign_key_id(key), .size = (uint32_t)count, .index = (uint32_t)first,
                                   .path = hex(row, "proof"), .signature = signature};
        OK(sign_verify_run(run, n, &l, sign_key_public(key), NULL));
    }
    tree_fini(&t);
    sign_key_free(key);
}

static void batches_of_one_and_more(void **s)
{
    (void)s;
    const json_t *rows = open_file("batches.json", "batches"), *row;
    size_t i;
    json_array_foreach(rows, i, row)
    check_batch(row);
    assert_int_equal(i, 4);
}

/* Randomness that was chosen by the vector: the next bytes of a list. */
struct chosen { struct span parts[4]; size_t at; };
static void chosen_fill(void *ctx, uint8_t *out, size_t n)
{
    struct chosen *c = ctx;
    assert_int_equal(c->parts[c->at].len, n);
    memcpy(out, c->parts[c->at++].p, n);
}

static struct seal_binding binding_of(const json_t *j, uint8_t kind, const uint8_t *exchange_id)
{
    struct seal_binding b = {.kind = kind, .sender = text(j, "sender"), .recipient = text(j, "recipient")};
    memcpy(b.exchange_id, exchange_id, 16);
    return b;
}

static void check_bodies(const json_t *j, const struct seal_message_key *k)
{
    const json_t *row;
    size_t i;
    struct span header = hex(j, "header");
    static uint8_t plain[1 << 17];
    for (size_t n = 0; n < sizeof plain; n += HASH_BYTES) { /* make_vectors.py: filled("plaintext") */
        uint8_t counter[4];
        be_put(counter, n / HASH_BYTES, 4);
        struct hash h;
        hash_spans((struct span[]){span_str("plaintext"), {counter, 4}}, 2, &h);
        memcpy(plain + n, h.b, HASH_BYTES);
    }
    json_array_foreach(json_object_get(j, "bodies"), i, row)
    {
        struct chosen c = {.parts = {hex(j, "nonce")}};
        struct random r = {chosen_fill, &c};
        struct buf out, opened;
        struct hash h;
        size_t n = number(row, "plaintext_bytes");
        buf_init(&out, 1 << 20), buf_init(&opened, 1 << 20);
        OK(seal_close(k, header, span_of(plain, n), &r, &out));
        assert_int_equal(out.len, number(row, "sealed_bytes"));
        assert_int_equal(out.len, seal_sealed_bytes(n));
        hash_span(buf_span(&out), &h);
        SAME_BYTES(h.b, HASH_BYTES, row, "sealed_hash");
        hash_envelope(header, out.len, &h, &h);
        SAME_BYTES(h.b, HASH_BYTES, row, "digest");
        struct span body = json_object_get(row, "sealed") ? hex(row, "sealed") : buf_span(&out);
        OK(seal_open(k, k->commitment.b, header, body, &opened));
        assert_true(span_eq(buf_span(&opened), span_of(plain, n)));
        buf_fini(&out), buf_fini(&opened);
    }
    assert_int_equal(i, 9);
}

static void check_padding(const json_t *rows)
{
    const json_t *row;
    size_t i;
    json_array_foreach(rows, i, row)
    assert_int_equal(seal_sealed_bytes(number(row, "plaintext_bytes")), number(row, "padded_bytes") + SEAL_OVERHEAD_BYTES);
    assert_true(i > 15);
}

static void check_topic(const json_t *j, const uint8_t *exchange_id)
{
    struct seal_binding b = binding_of(j, KIND_EVENT, exchange_id);
    struct seal_message_key k;
    struct buf opened;
    buf_init(&opened, 4096);
    seal_topic_derive(hex_of(j, "topic_key", 32), &b, &k);
    SAME_BYTES(k.key, 32, j, "key");
    SAME_BYTES(k.commitment.b, 32, j, "commitment");
    OK(seal_open(&k, k.commitment.b, hex(j, "header"), hex(j, "sealed"), &opened));
    SAME(buf_span(&opened), j, "plaintext");
    buf_fini(&opened);
}

static void check_wrap(const json_t *j, const json_t *seal, const struct seal_key *key, struct seal_cache *cache, const struct seal_binding *b)
{
    struct seal_message_key k;
    struct key_wrap w;
    size_t at = 0;
    uint8_t topic_key[32];
    const uint8_t *want = hex_of(json_object_get(seal, "topic"), "topic_key", 32);
    struct span sealed = hex(j, "sealed");
    OK(key_wraps_read(sealed, NULL));
    assert_true(key_wraps_next(sealed, &at, &w));
    SAME_BYTES(seal_key_id(key)->b, 32, seal, "recipient_key_id");
    assert_memory_equal(w.recipient_key_id.p, seal_key_id(key)->b, 32);
    SAME(w.wrapped, j, "wrapped");
    OK(seal_derive(cache, key, w.ephemeral.p, b, &k));
    SAME_BYTES(k.key, 32, j, "key");
    OK(seal_unwrap_key(&k, w.commitment.p, hex(j, "header"), w.wrapped.p, topic_key));
    assert_memory_equal(topic_key, want, 32);
}

static void seals(void **s)
{
    (void)s;
    const json_t *j = open_file("seal.json", "seal"), *topic = json_object_get(j, "topic");
    const uint8_t *exchange_id = hex_of(j, "exchange_id", 16);
    struct chosen c = {.parts = {hex(j, "ephemeral_secret")}};
    struct random r = {chosen_fill, &c};
    struct seal_key *key;
    struct seal_cache *cache;
    struct seal_context *context;
    struct seal_message_key ours, theirs;
    struct seal_binding b = binding_of(j, (uint8_t)number(j, "kind"), exchange_id), wrap = binding_of(topic, KIND_KEY, exchange_id);
    uint8_t prk[32];
    hkdf_extract(span_str("ehis/seal/v1"), (struct span[]){hex(j, "dh"), hex(j, "ephemeral_key"), hex(j, "recipient_key")}, 3, prk);
    SAME_BYTES(prk, 32, j, "prk");
    OK(seal_key_new(hex_of(j, "recipient_secret", 32), &key));
    SAME_BYTES(seal_key_public(key), 32, j, "recipient_key");
    OK(seal_cache_new(4, &cache));
    OK(seal_context_new(seal_key_public(key), 0, &r, &context));
    SAME_BYTES(seal_context_ephemeral(context), 32, j, "ephemeral_key");
    OK(seal_context_derive(context, 0, &b, &ours));
    OK(seal_derive(cache, key, hex_of(j, "ephemeral_key", 32), &b, &theirs));
    SAME_BYTES(ours.key, 32, j, "key");
    SAME_BYTES(theirs.key, 32, j, "key");
    SAME_BYTES(ours.commitment.b, 32, j, "commitment");
    check_bodies(j, &ours);
    check_padding(json_object_get(j, "padding"));
    check_topic(topic, exchange_id);
    check_wrap(json_object_get(j, "wrap"), j, key, cache, &wrap);
    seal_context_free(context);
    seal_cache_free(cache);
    seal_key_free(key);
}

static void leaves_of_statements(void **s)
{
    (void)s;
    const json_t *j = open_file("statements.json", "statements"), *row;
    struct hash d, leaf;
    size_t i;
    json_array_foreach(json_object_get(j, "acknowledgements"), i, row)
    {
        d = hash_at(row, "digest");
        leaf_ack(&d, (uint8_t)number(row, "outcome"), (uint32_t)number(row, "code"), number(row, "time_ms"), &leaf);
        SAME_BYTES(leaf.b, HASH_BYTES, row, "leaf");
    }
    json_array_foreach(json_object_get(j, "receipts"), i, row)
    {
        d = hash_at(row, "digest");
        leaf_receipt(&d, text(row, "sender"), text(row, "recipient"), (uint8_t)number(row, "state"), (uint32_t)number(row, "code"), number(row, "time_ms"), text(row, "gateway"), &leaf);
        SAME_BYTES(leaf.b, HASH_BYTES, row, "leaf");
    }
    json_array_foreach(json_object_get(j, "skips"), i, row)
    {
        d = hash_at(row, "digest");
        leaf_skip(text(row, "sender"), text(row, "recipient"), hex_of(row, "stream", 16), number(row, "number"), &d, (uint8_t)number(row, "state"), text(row, "gateway"), &leaf);
        SAME_BYTES(leaf.b, HASH_BYTES, row, "leaf");
    }
    assert_int_equal(i, 3);
    check_batch(json_object_get(j, "batch"));
}

static void the_registry_s_statement_and_leaves(void **s)
{
    (void)s;
    const json_t *j = open_file("registry.json", "registry"), *row;
    struct hash id, h, top = hash_at(j, "root");
    struct span statement = hex(j, "statement"), signature = hex(j, "signature"), key = hex(j, "operator_key");
    uint8_t content[1 + 2 * HASH_BYTES] = {ALGORITHM_ED25519};
    size_t i;
    OK(scan(&scan_ehis_v1_statement, statement, NULL, 0, NULL));
    OK(scan(&scan_ehis_v1_statement, hex(j, "previous_statement"), NULL, 0, NULL));
    OK(scan(&scan_ehis_v1_signed_statement, hex(j, "signed_statement"), NULL, 0, NULL));
    crypto_key_id(USE_OPERATOR, ALGORITHM_ED25519, key, &id);
    SAME_BYTES(id.b, HASH_BYTES, j, "operator_key_id");
    hash_span(statement, &h);
    SAME_BYTES(h.b, HASH_BYTES, j, "statement_hash");
    memcpy(content + 1, id.b, HASH_BYTES);
    memcpy(content + 1 + HASH_BYTES, h.b, HASH_BYTES);
    OK(sign_verify_bytes(key.p, "ehis/registry/v1", span_of(content, sizeof content), signature.p));
    json_array_foreach(json_object_get(j, "leaves"), i, row)
    {
        struct span leaf = hex(row, "leaf");
        OK(scan(&scan_ehis_v1_leaf, leaf, NULL, 0, NULL));
        hash_leaf(leaf, &h);
        SAME_BYTES(h.b, HASH_BYTES, row, "hash");
        OK(merkle_verify_inclusion(&h, i, json_array_size(json_object_get(j, "leaves")), hex(row, "path"), &top));
    }
    assert_int_equal(i, 3);
}

struct large_check { const json_t *j; uint32_t count; size_t last; };
static ehis_err check_chunk(void *arg, struct span chunk)
{
    struct large_check *c = arg;
    struct hash h;
    struct span leaves = hex(c->j, "leaves");
    hash_span(chunk, &h);
    assert_memory_equal(h.b, hex(c->j, "chunk_hashes").p + c->count * HASH_BYTES, HASH_BYTES);
    large_leaf(chunk, &h);
    assert_memory_equal(h.b, leaves.p + c->count++ * HASH_BYTES, HASH_BYTES);
    c->last = chunk.len;
    return EHIS_OK;
}

static ehis_err check_only_chunk(void *arg, struct span chunk)
{
    SAME(chunk, arg, "chunk");
    return EHIS_OK;
}

static void a_large_body_in_chunks(void **s)
{
    (void)s;
    const json_t *j = open_file("large.json", "large");
    struct chosen chosen = {.parts = {hex(j, "key"), hex(j, "stream_header")}};
    const struct random r = {.ctx = &chosen, .fill = chosen_fill};
    struct large_check check = {.j = j};
    struct large_sealer *sealer;
    struct large_body body;
    struct large_manifest manifest;
    struct envelope_header h;
    struct hash key;
    uint8_t bytes[LARGE_BODY_BYTES];
    size_t n = (size_t)number(j, "plaintext_bytes");
    OK(large_sealer_new(&r, check_chunk, &check, &sealer));
    for (uint32_t i = 0; i * HASH_BYTES < n; i++) {
        uint8_t label[13];
        memcpy(label, "plaintext", 9);
        be_put(label + 9, i, 4);
        hash_span(span_of(label, sizeof label), &key);
        OK(large_sealer_put(sealer, span_of(key.b, n - i * HASH_BYTES < HASH_BYTES ? n - i * HASH_BYTES : HASH_BYTES)));
    }
    OK(large_sealer_finish(sealer, &body, &manifest));
    large_sealer_free(sealer);
    large_body_write(&body, bytes);
    SAME_BYTES(bytes, sizeof bytes, j, "body");
    SAME_BYTES(manifest.root.b, HASH_BYTES, j, "root");
    assert_int_equal(manifest.bytes, number(j, "bytes"));
    assert_int_equal(check.last, number(j, "last_chunk_bytes"));
    large_blob_key(text(j, "sender"), manifest.root.b, &key);
    SAME_BYTES(key.b, HASH_BYTES, j, "blob_key");
    OK(envelope_header_read(hex(j, "header"), &h, NULL));
    assert_int_equal(h.large.bytes, manifest.bytes);
    SAME_BYTES(h.large.root.p, h.large.root.len, j, "root");
    json_t *small = json_object_get(j, "small");
    chosen.at = 0;
    OK(large_sealer_new(&r, check_only_chunk, small, &sealer));
    OK(large_sealer_put(sealer, hex(small, "plaintext")));
    OK(large_sealer_finish(sealer, &body, &manifest));
    large_sealer_free(sealer);
    assert_int_equal(manifest.bytes, hex(small, "chunk").len);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(identifiers, close_file),
        cmocka_unit_test_teardown(headers_of_every_kind, close_file),
        cmocka_unit_test_teardown(what_the_scanner_takes_and_refuses, close_file),
        cmocka_unit_test_teardown(digests_and_key_ids, close_file),
        cmocka_unit_test_teardown(batches_of_one_and_more, close_file),
        cmocka_unit_test_teardown(seals, close_file),
        cmocka_unit_test_teardown(leaves_of_statements, close_file),
        cmocka_unit_test_teardown(the_registry_s_statement_and_leaves, close_file),
        cmocka_unit_test_teardown(a_large_body_in_chunks, close_file),
    };
    if (crypto_init(NULL) != EHIS_OK)
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
