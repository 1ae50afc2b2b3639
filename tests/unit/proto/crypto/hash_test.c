/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
#include "proto/crypto/hash.h"
#include "proto/crypto/sign.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdlib.h>

#include <cmocka.h>

static void assert_hash_is(const struct hash *h, const char *hex)
{
    char text[2 * HASH_BYTES + 1];
    hex_to_text(h->b, HASH_BYTES, text);
    assert_string_equal(text, hex);
}

static void assert_hash_equal(const struct hash *a, const struct hash *b) { assert_memory_equal(a->b, b->b, HASH_BYTES); }

static struct hash leaf_number(unsigned n)
{
    struct hash h;
    uint8_t b[4];
    be_put(b, n, 4);
    hash_leaf(span_of(b, 4), &h);
    return h;
}

/* RFC 6962 2.1 as it is written there: the tree's left part is the largest power of two below n. */
static struct hash root_by_definition(const struct hash *leaves, size_t n)
{
    if (n == 1)
        return leaves[0];
    size_t k = 1;
    while (2 * k < n)
        k *= 2;
    struct hash l = root_by_definition(leaves, k), r = root_by_definition(leaves + k, n - k), out;
    hash_node(&l, &r, &out);
    return out;
}

static void sha256_gives_the_known_answers(void **state)
{
    (void)state;
    struct hash h;
    hash_span(span_of(NULL, 0), &h);
    assert_hash_is(&h, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    hash_span(span_str("abc"), &h);
    assert_hash_is(&h, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    hash_spans((struct span[]){span_str("a"), span_of(NULL, 0), span_str("bc")}, 3, &h);
    assert_hash_is(&h, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

static void trees_of_the_certificate_transparency_leaves_have_the_known_roots(void **state)
{
    (void)state;
    static const char *const entries[8] = {"", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"};
    static const char *const roots[8] = {
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d", "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
        "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77", "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4", "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
        "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c", "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328"};
    static const char *const path_5_of_8[3] = {"bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
                                               "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
                                               "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7"};
    struct hash leaves[8], root, path[20];
    struct tree t;
    tree_init(&t);
    for (size_t i = 0; i < 8; i++) {
        uint8_t entry[16];
        size_t n = strlen(entries[i]) / 2;
        assert_int_equal(hex_from_text(span_str(entries[i]), entry, n), EHIS_OK);
        hash_leaf(span_of(entry, n), &leaves[i]);
        assert_int_equal(tree_build(&t, leaves, i + 1), EHIS_OK);
        tree_root(&t, &root);
        assert_hash_is(&root, roots[i]);
    }
    assert_int_equal(tree_path(&t, 5, path), 3);
    for (size_t i = 0; i < 3; i++)
        assert_hash_is(&path[i], path_5_of_8[i]);
    tree_fini(&t);
}

static void every_leaf_of_every_batch_size_up_to_1024_leads_to_the_root(void **state)
{
    (void)state;
    enum { MOST = 1024 };
    struct hash *leaves = calloc(MOST, sizeof *leaves), root, got, path[20];
    struct tree t;
    assert_non_null(leaves);
    tree_init(&t);
    for (unsigned i = 0; i < MOST; i++)
        leaves[i] = leaf_number(i);
    for (size_t size = 1; size <= MOST; size++) {
        assert_int_equal(tree_build(&t, leaves, size), EHIS_OK);
        tree_root(&t, &root);
        if (size <= 130 || size > 1020) {
            struct hash expected = root_by_definition(leaves, size);
            assert_hash_equal(&root, &expected);
        }
        for (size_t i = 0; i < size; i++) {
            size_t n = tree_path(&t, i, path);
            assert_int_equal(n, tree_path_length(i, size));
            assert_int_equal(tree_root_of_path(&leaves[i], i, size, span_of(path, n * HASH_BYTES), &got), EHIS_OK);
            assert_hash_equal(&got, &root);
        }
    }
    tree_fini(&t);
    free(leaves);
}

static void a_run_of_leaves_and_what_stands_beside_it_give_the_root(void **state)
{
    (void)state;
    enum { SIZE = 21 };
    struct hash leaves[SIZE], run[SIZE], root, got, path[20], proof[TREE_PROOF_MAX + 1];
    struct tree t;
    tree_init(&t);
    for (unsigned i = 0; i < SIZE; i++)
        leaves[i] = leaf_number(i);
    for (size_t size = 1; size <= SIZE; size++) {
        assert_int_equal(tree_build(&t, leaves, size), EHIS_OK);
        tree_root(&t, &root);
        for (size_t first = 0; first < size; first++)
            for (size_t count = 1; count <= size - first; count++) {
                size_t n = tree_run_proof(&t, first, count, proof) * HASH_BYTES;
                for (size_t len = 0; len <= n + HASH_BYTES; len++) {
                    memcpy(run, leaves + first, count * sizeof *run);
                    assert_int_equal(tree_run_root(run, count, first, size, span_of(proof, len), &got), len == n ? EHIS_OK : EHIS_E_SIGNATURE_PATH);
                    if (len == n)
                        assert_hash_equal(&got, &root);
                }
                for (size_t at = 0; at < n; at += 13) {
                    ((uint8_t *)proof)[at] ^= 0x10;
                    memcpy(run, leaves + first, count * sizeof *run);
                    assert_int_equal(tree_run_root(run, count, first, size, span_of(proof, n), &got), EHIS_OK);
                    assert_memory_not_equal(got.b, root.b, HASH_BYTES);
                    ((uint8_t *)proof)[at] ^= 0x10;
                }
                memcpy(run, leaves + first, count * sizeof *run);
                assert_int_equal(tree_run_root(run, count, size - count + 1, size, span_of(proof, n), &got), EHIS_E_SIGNATURE_PATH); /* over the end */
                assert_int_equal(tree_run_root(run, 0, first, size, span_of(proof, n), &got), EHIS_E_SIGNATURE_PATH);
            }
        for (size_t i = 0; i < size; i++) { /* a run of one is a leaf with its path */
            size_t n = tree_path(&t, i, path);
            assert_int_equal(tree_run_proof(&t, i, 1, proof), n);
            assert_memory_equal(path, proof, n * HASH_BYTES);
        }
    }
    assert_int_equal(tree_run_root(run, 2, UINT64_MAX - 1, UINT64_MAX, span_of(proof, 0), &got), EHIS_E_SIGNATURE_PATH);
    tree_fini(&t);
}

static void a_path_of_another_length_index_or_size_is_refused_or_leads_elsewhere(void **state)
{
    (void)state;
    struct hash leaves[13], root, got, path[20] = {0};
    struct tree t;
    tree_init(&t);
    for (unsigned i = 0; i < 13; i++)
        leaves[i] = leaf_number(i);
    assert_int_equal(tree_build(&t, leaves, 13), EHIS_OK);
    tree_root(&t, &root);
    for (size_t i = 0; i < 13; i++) {
        size_t n = tree_path(&t, i, path) * HASH_BYTES;
        for (size_t len = 0; len <= sizeof path; len++)
            assert_int_equal(tree_root_of_path(&leaves[i], i, 13, span_of(path, len), &got), len == n ? EHIS_OK : EHIS_E_SIGNATURE_PATH);
        /* Another size may give this path the same shape and so the same root: that is why the size is signed beside it. */
        for (uint64_t index = 0; index < 20; index++) {
            ehis_err err = tree_root_of_path(&leaves[i], index, 13, span_of(path, n), &got);
            if (index >= 13)
                assert_int_equal(err, EHIS_E_SIGNATURE_PATH);
            else if (err == EHIS_OK)
                assert_int_equal(memcmp(got.b, root.b, HASH_BYTES) == 0, index == i);
        }
        for (uint64_t size = 0; size <= i; size++)
            assert_int_equal(tree_root_of_path(&leaves[i], i, size, span_of(path, n), &got), EHIS_E_SIGNATURE_PATH);
        for (size_t at = 0; at < n; at++) {
            ((uint8_t *)path)[at] ^= 0x10;
            assert_int_equal(tree_root_of_path(&leaves[i], i, 13, span_of(path, n), &got), EHIS_OK);
            assert_memory_not_equal(got.b, root.b, HASH_BYTES);
            ((uint8_t *)path)[at] ^= 0x10;
        }
    }
    assert_int_equal(tree_path_length(UINT64_MAX - 1, UINT64_MAX), 63); /* the last leaf, whose lowest level has no sibling */
    assert_int_equal(tree_path_length(0, UINT64_MAX), 64);
    assert_int_equal(tree_path_length(5, 5), 0);
    tree_fini(&t);
}

static void trees_are_bounded_and_keep_what_they_had(void **state)
{
    (void)state;
    struct hash one = leaf_number(1), root;
    struct tree t;
    tree_init(&t);
    assert_int_equal(tree_build(&t, &one, 1), EHIS_OK);
    assert_int_equal(tree_build(&t, &one, 0), EHIS_E_INVALID);
    assert_int_equal(tree_build(&t, &one, ((size_t)1 << 20) + 1), EHIS_E_TOO_LARGE);
    tree_root(&t, &root);
    assert_hash_equal(&root, &one);
    tree_fini(&t);
}

static void an_envelope_digest_is_the_hash_of_its_stated_bytes(void **state)
{
    (void)state;
    struct hash body, d, expected;
    uint8_t flat[12 + 4 + 3 + 8 + 32] = "ehis/env/v1";
    hash_span(span_str("sealed"), &body);
    be_put(flat + 12, 3, 4);
    memcpy(flat + 16, "hdr", 3);
    be_put(flat + 19, 6, 8);
    memcpy(flat + 27, body.b, 32);
    hash_span(span_of(flat, sizeof flat), &expected);
    hash_envelope(span_str("hdr"), 6, &body, &d);
    assert_hash_equal(&d, &expected);
}

static void *hash_many(void *arg)
{
    struct hash h = {{0}};
    for (unsigned i = 0; i < 1000; i++)
        hash_span(span_of(h.b, HASH_BYTES), &h);
    memcpy(arg, &h, sizeof h);
    return NULL;
}

static void threads_hash_without_disturbing_each_other(void **state)
{
    (void)state;
    pthread_t threads[4];
    struct hash results[5];
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, hash_many, &results[i]), 0);
    hash_many(&results[4]);
    for (size_t i = 0; i < 4; i++) {
        pthread_join(threads[i], NULL);
        assert_hash_equal(&results[i], &results[4]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sha256_gives_the_known_answers),
        cmocka_unit_test(trees_of_the_certificate_transparency_leaves_have_the_known_roots),
        cmocka_unit_test(every_leaf_of_every_batch_size_up_to_1024_leads_to_the_root),
        cmocka_unit_test(a_run_of_leaves_and_what_stands_beside_it_give_the_root),
        cmocka_unit_test(a_path_of_another_length_index_or_size_is_refused_or_leads_elsewhere),
        cmocka_unit_test(trees_are_bounded_and_keep_what_they_had),
        cmocka_unit_test(an_envelope_digest_is_the_hash_of_its_stated_bytes),
        cmocka_unit_test(threads_hash_without_disturbing_each_other),
    };
    struct ehis_why why = {""};
    if (crypto_init(&why) != EHIS_OK) {
        print_error("%s\n", why.text);
        return 1;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
