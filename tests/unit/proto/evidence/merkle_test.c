/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
#include "proto/evidence/merkle.h"

#include <dirent.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "tests/support/vectors.h"

enum { MOST = 48 };
static struct hash leaves[MOST], roots[MOST + 1]; /* root of the first n leaves at [n] */

/* RFC 6962 2.1 and 2.1.2 as they are written there. */
static struct hash root_of(size_t from, size_t n)
{
    struct hash l, r, out;
    size_t k = 1;
    if (n == 1)
        return leaves[from];
    while (2 * k < n)
        k *= 2;
    l = root_of(from, k);
    r = root_of(from + k, n - k);
    hash_node(&l, &r, &out);
    return out;
}

static size_t subproof(size_t m, size_t from, size_t n, bool is_whole, struct hash *path)
{
    size_t k = 1, count;
    if (m == n) {
        if (!is_whole)
            path[0] = root_of(from, n);
        return is_whole ? 0 : 1;
    }
    while (2 * k < n)
        k *= 2;
    if (m <= k) {
        count = subproof(m, from, k, is_whole, path);
        path[count] = root_of(from + k, n - k);
    } else {
        count = subproof(m - k, from + k, n - k, false, path);
        path[count] = root_of(from, k);
    }
    return count + 1;
}

static int make_leaves(void **state)
{
    (void)state;
    hash_span(span_of(NULL, 0), &roots[0]);
    for (size_t i = 0; i < MOST; i++) {
        uint8_t b = (uint8_t)i;
        hash_leaf(span_of(&b, 1), &leaves[i]);
        roots[i + 1] = root_of(0, i + 1);
    }
    return 0;
}

static struct hash from_hex(const char *hex)
{
    struct hash h;
    assert_int_equal(hex_from_text(span_str(hex), h.b, HASH_BYTES), EHIS_OK);
    return h;
}

static void the_known_proofs_of_the_certificate_transparency_tree_hold(void **state)
{
    (void)state;
    struct hash root6 = from_hex("76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef");
    struct hash root8 = from_hex("5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328");
    struct hash inclusion[3] = {from_hex("bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b"),
                                from_hex("ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0"),
                                from_hex("d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7")};
    struct hash consistency[3] = {from_hex("0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a"), inclusion[1], inclusion[2]};
    uint8_t entry[6] = {0x40, 0x41, 0x42, 0x43};
    struct hash leaf;
    hash_leaf(span_of(entry, 4), &leaf);
    assert_int_equal(merkle_verify_inclusion(&leaf, 5, 8, span_of(inclusion, sizeof inclusion), &root8), EHIS_OK);
    assert_int_equal(merkle_verify_consistency(6, 8, &root6, &root8, span_of(consistency, sizeof consistency)), EHIS_OK);
    assert_int_equal(merkle_verify_consistency(6, 8, &root8, &root6, span_of(consistency, sizeof consistency)), EHIS_E_PROOF_CONSISTENCY);
}

static void every_tree_is_consistent_with_every_later_one_and_any_altered_byte_is_found(void **state)
{
    (void)state;
    for (size_t n = 1; n <= MOST; n++)
        for (size_t m = 1; m <= n; m++) {
            struct hash path[MOST] = {{{0}}};
            size_t len = subproof(m, 0, n, true, path) * HASH_BYTES;
            assert_int_equal(merkle_verify_consistency(m, n, &roots[m], &roots[n], span_of(path, len)), EHIS_OK);
            for (size_t cut = 0; cut <= len + HASH_BYTES; cut += cut + 1 == len || cut == len ? 1 : 31)
                assert_int_equal(merkle_verify_consistency(m, n, &roots[m], &roots[n], span_of(path, cut)) == EHIS_OK, cut == len);
            if (m < n)
                assert_int_equal(merkle_verify_consistency(n, m, &roots[n], &roots[m], span_of(path, len)), EHIS_E_PROOF_CONSISTENCY);
            assert_int_equal(merkle_verify_consistency(m, n, &roots[m % MOST + 1], &roots[n], span_of(path, len)), EHIS_E_PROOF_CONSISTENCY);
            for (size_t at = 0; at < len; at += 7) {
                ((uint8_t *)path)[at] ^= 4;
                assert_int_equal(merkle_verify_consistency(m, n, &roots[m], &roots[n], span_of(path, len)), EHIS_E_PROOF_CONSISTENCY);
                ((uint8_t *)path)[at] ^= 4;
            }
        }
}

static void the_empty_tree_begins_every_tree_without_a_path(void **state)
{
    (void)state;
    assert_int_equal(merkle_verify_consistency(0, 0, &roots[0], &roots[0], span_of(NULL, 0)), EHIS_OK);
    assert_int_equal(merkle_verify_consistency(0, 5, &roots[0], &roots[5], span_of(NULL, 0)), EHIS_OK);
    assert_int_equal(merkle_verify_consistency(0, 5, &roots[1], &roots[5], span_of(NULL, 0)), EHIS_E_PROOF_CONSISTENCY);
    assert_int_equal(merkle_verify_consistency(0, 0, &roots[0], &roots[1], span_of(NULL, 0)), EHIS_E_PROOF_CONSISTENCY);
    assert_int_equal(merkle_verify_consistency(0, 5, &roots[0], &roots[5], span_of(leaves, 32)), EHIS_E_PROOF_CONSISTENCY);
}

static void inclusion_holds_for_the_right_leaf_index_size_and_root_alone(void **state)
{
    (void)state;
    struct tree t;
    tree_init(&t);
    for (size_t n = 1; n <= MOST; n++) {
        assert_int_equal(tree_build(&t, leaves, n), EHIS_OK);
        for (size_t i = 0; i < n; i++) {
            struct hash path[21] = {{{0}}};
            size_t len = tree_path(&t, i, path) * HASH_BYTES;
            assert_int_equal(merkle_verify_inclusion(&leaves[i], i, n, span_of(path, len), &roots[n]), EHIS_OK);
            for (size_t index = 0; index <= n + 1; index++)
                assert_int_equal(merkle_verify_inclusion(&leaves[i], index, n, span_of(path, len), &roots[n]) == EHIS_OK, index == i);
            for (size_t cut = 0; cut <= len + HASH_BYTES; cut++)
                assert_int_equal(merkle_verify_inclusion(&leaves[i], i, n, span_of(path, cut), &roots[n]) == EHIS_OK, cut == len);
            assert_int_equal(merkle_verify_inclusion(&leaves[(i + 1) % MOST], i, n, span_of(path, len), &roots[n]), EHIS_E_PROOF_INCLUSION);
            assert_int_equal(merkle_verify_inclusion(&leaves[i], i, n, span_of(path, len), &roots[n - 1]), EHIS_E_PROOF_INCLUSION);
        }
    }
    tree_fini(&t);
}

static void sizes_up_to_two_to_the_63_are_taken_and_no_larger(void **state)
{
    (void)state;
    struct hash path[64] = {{{0}}}, root;
    struct span p = span_of(path, 63 * HASH_BYTES);
    assert_int_equal(tree_root_of_path(&leaves[0], 7, MERKLE_MAX_SIZE, p, &root), EHIS_OK);
    assert_int_equal(merkle_verify_inclusion(&leaves[0], 7, MERKLE_MAX_SIZE, p, &root), EHIS_OK);
    p.len = 64 * HASH_BYTES;
    assert_int_equal(tree_root_of_path(&leaves[0], 7, MERKLE_MAX_SIZE + 1, p, &root), EHIS_OK);
    assert_int_equal(merkle_verify_inclusion(&leaves[0], 7, MERKLE_MAX_SIZE + 1, p, &root), EHIS_E_PROOF_INCLUSION);
    assert_int_equal(merkle_verify_consistency(1, UINT64_MAX, &leaves[0], &root, p), EHIS_E_PROOF_CONSISTENCY);
    /* half of the largest tree is a full subtree: one node joins them */
    hash_node(&leaves[1], &leaves[2], &root);
    assert_int_equal(merkle_verify_consistency(MERKLE_MAX_SIZE / 2, MERKLE_MAX_SIZE, &leaves[1], &root, span_of(leaves[2].b, 32)), EHIS_OK);
}

static bool hash_from(const json_t *j, const char *name, struct hash *out)
{
    struct buf b;
    buf_init(&b, 4096);
    bool ok = base64_get(&b, span_str(vectors_text(j, name))) == EHIS_OK && b.len == HASH_BYTES;
    if (ok)
        memcpy(out->b, buf_span(&b).p, HASH_BYTES);
    buf_fini(&b);
    return ok;
}

static uint64_t number_from(const json_t *j, const char *name)
{
    const json_t *v = json_object_get(j, name);
    assert_true(json_is_number(v));
    double d = json_number_value(v);
    return d >= 18446744073709551615.0 ? UINT64_MAX : (uint64_t)d;
}

/* One file; false where the proof does not hold. Roots and hashes of another length than ours do not fit our types: refused. */
static bool holds(const json_t *j, bool is_inclusion)
{
    struct buf path;
    struct hash a, b;
    size_t i;
    const json_t *proof = json_object_get(j, "proof"), *node;
    buf_init(&path, 1 << 20);
    bool fits = true;
    json_array_foreach(proof, i, node) {
        fits = fits && base64_get(&path, span_str(json_string_value(node))) == EHIS_OK;
        fits = fits && path.len == (i + 1) * HASH_BYTES;
    }
    fits = fits && hash_from(j, is_inclusion ? "leafHash" : "root1", &a) && hash_from(j, is_inclusion ? "root" : "root2", &b);
    bool ok = fits && (is_inclusion ? merkle_verify_inclusion(&a, number_from(j, "leafIdx"), number_from(j, "treeSize"), buf_span(&path), &b)
                                    : merkle_verify_consistency(number_from(j, "size1"), number_from(j, "size2"), &a, &b, buf_span(&path))) == EHIS_OK;
    buf_fini(&path);
    return ok;
}

static size_t run_folder(const char *relative, bool is_inclusion, size_t *valid)
{
    char full[4096], below[2048];
    size_t count = 0;
    snprintf(full, sizeof full, "%.2000s/%.1000s", vectors_folder(), relative);
    DIR *d = opendir(full);
    assert_non_null(d);
    for (struct dirent *e; (e = readdir(d));) {
        if (e->d_name[0] == '.')
            continue;
        snprintf(below, sizeof below, "%.1000s/%.500s", relative, e->d_name);
        if (e->d_type == DT_DIR) {
            count += run_folder(below, is_inclusion, valid);
            continue;
        }
        json_t *j = vectors_load(below);
        bool ok = holds(j, is_inclusion), expected = !json_is_true(json_object_get(j, "wantErr"));
        if (!ok && expected && strcmp(e->d_name, "sizes-are-equal-one-and-proof-is-empty.json") == 0)
            expected = false; /* its roots are not hashes but equal texts of 12 bytes */
        if (ok != expected)
            fail_msg("%s: %s", below, ok ? "accepted" : "refused");
        *valid += expected;
        count++;
        json_decref(j);
    }
    closedir(d);
    return count;
}

static void other_peoples_proofs_get_the_verdict_that_they_want(void **state)
{
    (void)state;
    size_t valid = 0, count;
    if (!vectors_folder())
        skip();
    count = run_folder("merkle/testdata/inclusion", true, &valid);
    assert_true(count > 90 && valid > 5);
    valid = 0;
    count = run_folder("merkle/testdata/consistency", false, &valid);
    assert_true(count > 80 && valid > 4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_known_proofs_of_the_certificate_transparency_tree_hold),
        cmocka_unit_test(every_tree_is_consistent_with_every_later_one_and_any_altered_byte_is_found),
        cmocka_unit_test(the_empty_tree_begins_every_tree_without_a_path),
        cmocka_unit_test(inclusion_holds_for_the_right_leaf_index_size_and_root_alone),
        cmocka_unit_test(sizes_up_to_two_to_the_63_are_taken_and_no_larger),
        cmocka_unit_test(other_peoples_proofs_get_the_verdict_that_they_want),
    };
    return cmocka_run_group_tests(tests, make_leaves, NULL);
}
