/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
#include "proto/crypto/sign.h"

#include <setjmp.h>
#include <stdlib.h>

#include <cmocka.h>

#include "proto/crypto/sign_priv.h"

static struct sign_key *key_of(uint8_t seed_byte)
{
    uint8_t seed[32];
    struct sign_key *k = NULL;
    memset(seed, seed_byte, sizeof seed);
    assert_int_equal(sign_key_new(seed, USE_SIGN, &k), EHIS_OK);
    return k;
}

static void assert_hex(const uint8_t *p, size_t n, const char *hex)
{
    char text[257];
    hex_to_text(p, n, text);
    assert_string_equal(text, hex);
}

static void bytes_of(const char *hex, uint8_t *out) { assert_int_equal(hex_from_text(span_str(hex), out, strlen(hex) / 2), EHIS_OK); }

static void the_vectors_of_rfc_8032_verify_and_their_seeds_give_their_keys(void **state)
{
    (void)state;
    static const struct { const char *seed, *key, *message, *signature; } vectors[] = {
        {"9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60", "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a", "",
         "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b"},
        {"4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb", "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c", "72",
         "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"},
        {"c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7", "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025", "af82",
         "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a"},
    };
    for (size_t i = 0; i < sizeof vectors / sizeof *vectors; i++) {
        uint8_t seed[32], message[2], signature[64];
        struct sign_key *k = NULL;
        bytes_of(vectors[i].seed, seed);
        bytes_of(vectors[i].message, message);
        bytes_of(vectors[i].signature, signature);
        assert_int_equal(sign_key_new(seed, USE_SIGN, &k), EHIS_OK);
        assert_hex(sign_key_public(k), 32, vectors[i].key);
        struct span m = span_of(message, strlen(vectors[i].message) / 2);
        assert_int_equal(ed25519_verify(sign_key_public(k), m, signature), EHIS_OK);
        signature[i] ^= 1;
        assert_int_equal(ed25519_verify(sign_key_public(k), m, signature), EHIS_E_SIGNATURE_BAD);
        sign_key_free(k);
    }
}

/* Known answers computed with Python's hashlib and another binding of Ed25519: the form may never change. */
static void keys_leaves_and_signatures_have_the_form_that_is_written_down(void **state)
{
    (void)state;
    struct hash d, h;
    uint8_t signature[64], stream[16];
    struct span sender = span_str("AZ/GOV/TAX/portal"), recipient = span_str("AZ/GOV/MIA/population/person"), gateway = span_str("AZ/gw1");
    struct sign_key *k = key_of(7);
    memset(d.b, 0xd1, sizeof d.b);
    memset(stream, 0x5a, sizeof stream);
    assert_hex(sign_key_public(k), 32, "ea4a6c63e29c520abef5507b132ec5f9954776aebebe7b92421eea691446d22c");
    assert_hex(sign_key_id(k)->b, 32, "445126ee5bc185177ac879a2dbab283aa9a3abd243e59890de946495503154bf");
    leaf_ack(&d, 1, 5, 1767225600000, &h);
    assert_hex(h.b, 32, "f3f3e86c1ec741510937062d8f002c100d90f7c262a736b6e81611702bcf6b5f");
    leaf_receipt(&d, sender, recipient, 3, 4711, 1767225600000, gateway, &h);
    assert_hex(h.b, 32, "148861f6cd9746df808a58168de85249beb3ac226b013c38d9b8f3d606c826d5");
    leaf_skip(sender, recipient, stream, 9, &d, 6, gateway, &h);
    assert_hex(h.b, 32, "5530b416fe681f4769bf5641504cc0563652fe42f37c75d337b077add61acfa3");
    leaf_envelope(&d, &h);
    assert_hex(h.b, 32, "7d035bf97443571a1269f6a0310eacf319b0120e627102f8ea9370ef13e2b6a9");
    sign_root(k, 1, &h, signature);
    assert_hex(signature, 64,
               "4d942142fb257a591c7925ee5a9f42fd57d513ae2310be4d419ad7e725398c102eb9bd29ac0724043581c38c054dc3f1ebdb69cb2af9d45047a5bcaedbfa560a");
    sign_bytes(k, "ehis/test/v1", span_str("content"), signature);
    assert_hex(signature, 64,
               "9b4e98da58bf9653b0f9df0ea3456f5297699335bc8632612cdb7e320b95e137ebbed16d194cc643a0a1edf7a3725efe349fc529c981b51ed480678e9895c50c");
    sign_key_free(k);
}

static void one_public_key_has_another_id_for_each_use_and_algorithm(void **state)
{
    (void)state;
    struct hash ids[18];
    uint8_t key[32] = {1};
    size_t n = 0;
    for (int use = USE_SIGN; use <= USE_LOG; use++)
        for (int algorithm = ALGORITHM_ED25519; algorithm <= ALGORITHM_SPKI; algorithm++)
            crypto_key_id(use, algorithm, span_of(key, sizeof key), &ids[n++]);
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < i; j++)
            assert_memory_not_equal(ids[i].b, ids[j].b, HASH_BYTES);
}

/* A batch of size leaves signed by k; the leaf signature of index. */
struct batch {
    struct hash leaves[40], path[20];
    uint8_t signature[64];
    struct tree tree;
    struct leaf_signature s;
};
static void batch_make(struct batch *b, const struct sign_key *k, size_t size, size_t index)
{
    tree_init(&b->tree);
    for (size_t i = 0; i < size; i++) {
        struct hash d = {{(uint8_t)i, 0x55}};
        leaf_envelope(&d, &b->leaves[i]);
    }
    assert_int_equal(sign_batch(k, &b->tree, b->leaves, size, b->signature), EHIS_OK);
    size_t n = tree_path(&b->tree, index, b->path);
    b->s = (struct leaf_signature){ALGORITHM_ED25519, *sign_key_id(k), (uint32_t)size, (uint32_t)index, span_of(b->path, n * HASH_BYTES), b->signature};
    tree_fini(&b->tree);
}

static void every_leaf_of_a_batch_proves_itself_alone(void **state)
{
    (void)state;
    struct sign_key *k = key_of(1);
    struct root_cache *cache = NULL;
    assert_int_equal(root_cache_new(8, &cache), EHIS_OK);
    for (size_t size = 1; size <= 40; size += size < 6 ? 1 : 17)
        for (size_t i = 0; i < size; i++) {
            struct batch b;
            batch_make(&b, k, size, i);
            assert_int_equal(sign_verify_leaf(&b.leaves[i], &b.s, sign_key_public(k), NULL), EHIS_OK);
            assert_int_equal(sign_verify_leaf(&b.leaves[i], &b.s, sign_key_public(k), cache), EHIS_OK);
            assert_int_equal(sign_verify_leaf(&b.leaves[i], &b.s, sign_key_public(k), cache), EHIS_OK);
        }
    root_cache_free(cache);
    sign_key_free(k);
}

/* With a cache that knows the true root as without one: every byte counts. */
static void any_altered_byte_of_a_leaf_signature_is_found(void **state)
{
    (void)state;
    struct sign_key *k = key_of(1);
    struct batch b;
    struct root_cache *cache = NULL;
    uint8_t public_key[32];
    batch_make(&b, k, 13, 6);
    memcpy(public_key, sign_key_public(k), 32);
    assert_int_equal(root_cache_new(2, &cache), EHIS_OK);
    assert_int_equal(sign_verify_leaf(&b.leaves[6], &b.s, public_key, cache), EHIS_OK);
    struct span parts[] = {{b.leaves[6].b, 32}, {b.s.key_id.b, 32}, b.s.path, {b.signature, 64}, {public_key, 32}};
    for (size_t part = 0; part < sizeof parts / sizeof *parts; part++)
        for (size_t i = 0; i < parts[part].len; i++) {
            uint8_t *p = (uint8_t *)(uintptr_t)parts[part].p + i;
            *p ^= (uint8_t)(1u << (i % 8));
            assert_int_equal(sign_verify_leaf(&b.leaves[6], &b.s, public_key, cache), EHIS_E_SIGNATURE_BAD);
            assert_int_equal(sign_verify_leaf(&b.leaves[6], &b.s, public_key, NULL), EHIS_E_SIGNATURE_BAD);
            *p ^= (uint8_t)(1u << (i % 8));
        }
    assert_int_equal(sign_verify_leaf(&b.leaves[6], &b.s, public_key, cache), EHIS_OK);
    root_cache_free(cache);
    sign_key_free(k);
}

/* Told by a signature that would not verify: every byte counts all the same. */
static void what_was_signed_here_is_known_when_it_comes_back(void **state)
{
    (void)state;
    struct sign_key *k = key_of(1), *other = key_of(2);
    struct root_cache *cache = NULL;
    struct batch b;
    struct tree t;
    batch_make(&b, k, 13, 6);
    tree_init(&t);
    assert_int_equal(tree_build(&t, b.leaves, 13), EHIS_OK);
    assert_int_equal(root_cache_new(2, &cache), EHIS_OK);
    b.signature[9] ^= 1;
    root_cache_own(cache, k, &t, b.signature);
    root_cache_own(cache, k, &t, b.signature);
    assert_int_equal(sign_verify_leaf(&b.leaves[6], &b.s, sign_key_public(k), cache), EHIS_OK);
    assert_int_equal(sign_verify_leaf(&b.leaves[5], &b.s, sign_key_public(k), cache), EHIS_E_SIGNATURE_BAD);
    assert_int_equal(sign_verify_leaf(&b.leaves[6], &b.s, sign_key_public(other), cache), EHIS_E_SIGNATURE_BAD);
    b.signature[9] ^= 2;
    assert_int_equal(sign_verify_leaf(&b.leaves[6], &b.s, sign_key_public(k), cache), EHIS_E_SIGNATURE_BAD);
    root_cache_free(cache);
    tree_fini(&t);
    sign_key_free(other);
    sign_key_free(k);
}

/* Whatever leaf was verified before: another of its tree counts with its own true path alone, the part that the first one's path shows included. */
static void a_leaf_beside_a_verified_one_still_needs_its_own_whole_path(void **state)
{
    (void)state;
    struct sign_key *k = key_of(1);
    const uint8_t *public_key = sign_key_public(k);
    for (size_t size = 2; size <= 13; size++)
        for (size_t first = 0; first < size; first++)
            for (size_t second = 0; second < size; second++) {
                struct batch a, b;
                struct root_cache *cache = NULL;
                assert_int_equal(root_cache_new(4, &cache), EHIS_OK);
                batch_make(&a, k, size, first);
                batch_make(&b, k, size, second);
                assert_int_equal(sign_verify_leaf(&a.leaves[first], &a.s, public_key, cache), EHIS_OK);
                for (size_t i = 0; i < b.s.path.len; i += 31) {
                    ((uint8_t *)b.path)[i] ^= 1;
                    assert_int_equal(sign_verify_leaf(&b.leaves[second], &b.s, public_key, cache), EHIS_E_SIGNATURE_BAD);
                    ((uint8_t *)b.path)[i] ^= 1;
                }
                if (first != second)
                    assert_int_not_equal(sign_verify_leaf(&a.leaves[first], &b.s, public_key, cache), EHIS_OK);
                assert_int_equal(sign_verify_leaf(&b.leaves[second], &b.s, public_key, cache), EHIS_OK);
                assert_int_equal(sign_verify_leaf(&a.leaves[first], &a.s, public_key, cache), EHIS_OK);
                root_cache_free(cache);
            }
    sign_key_free(k);
}

static void a_wrong_size_index_path_or_algorithm_is_refused(void **state)
{
    (void)state;
    struct sign_key *k = key_of(1);
    struct batch b;
    struct root_cache *cache = NULL;
    const uint8_t *public_key = sign_key_public(k);
    assert_int_equal(root_cache_new(4, &cache), EHIS_OK);
    batch_make(&b, k, 13, 6);
    const struct leaf_signature good = b.s;
    assert_int_equal(sign_verify_leaf(&b.leaves[6], &good, public_key, cache), EHIS_OK);
    for (uint32_t size = 0; size < 70; size++) {
        b.s.size = size; /* also one whose paths look the same: the size is signed */
        assert_int_equal(sign_verify_leaf(&b.leaves[6], &b.s, public_key, cache) == EHIS_OK, size == 13);
    }
    b.s = good;
    for (uint32_t index = 0; index < 70; index++) {
        b.s.index = index;
        assert_int_equal(sign_verify_leaf(&b.leaves[6], &b.s, public_key, cache) == EHIS_OK, index == 6);
    }
    b.s = good;
    for (size_t n = 0; n <= 10 * HASH_BYTES; n++) {
        b.s.path.len = n;
        assert_int_equal(sign_verify_leaf(&b.leaves[6], &b.s, public_key, cache), n == good.path.len ? EHIS_OK : EHIS_E_SIGNATURE_PATH);
    }
    b.s = good;
    static const uint32_t algorithms[] = {0, 2, 3, 257, UINT32_MAX};
    for (size_t i = 0; i < sizeof algorithms / sizeof *algorithms; i++) {
        b.s.algorithm = algorithms[i];
        assert_int_equal(sign_verify_leaf(&b.leaves[6], &b.s, public_key, cache), EHIS_E_SIGNATURE_ALGORITHM);
    }
    b.s = good;
    b.s.size = (1u << 20) + 1;
    b.s.path = span_of(b.path, 20 * HASH_BYTES);
    assert_int_equal(sign_verify_leaf(&b.leaves[6], &b.s, public_key, cache), EHIS_E_SIGNATURE_PATH);
    root_cache_free(cache);
    sign_key_free(k);
}

static void the_cache_forgets_the_oldest_root_and_all_when_dropped(void **state)
{
    (void)state;
    struct root_cache *cache = NULL;
    struct sign_key *k = key_of(1);
    assert_int_equal(root_cache_new(0, &cache), EHIS_E_INVALID);
    assert_int_equal(root_cache_new(2, &cache), EHIS_OK);
    for (size_t round = 0; round < 3; round++)
        for (size_t size = 1; size <= 5; size++) {
            struct batch b;
            batch_make(&b, k, size, 0);
            assert_int_equal(sign_verify_leaf(&b.leaves[0], &b.s, sign_key_public(k), cache), EHIS_OK);
            root_cache_drop(cache);
            assert_int_equal(sign_verify_leaf(&b.leaves[0], &b.s, sign_key_public(k), cache), EHIS_OK);
        }
    root_cache_free(cache);
    root_cache_free(NULL);
    sign_key_free(k);
}

static void bytes_signed_under_one_label_do_not_verify_under_another(void **state)
{
    (void)state;
    struct sign_key *k = key_of(3), *other = key_of(4);
    uint8_t signature[64];
    struct span content = span_str("some content");
    sign_bytes(k, "ehis/pop/v1", content, signature);
    assert_int_equal(sign_verify_bytes(sign_key_public(k), "ehis/pop/v1", content, signature), EHIS_OK);
    assert_int_equal(sign_verify_bytes(sign_key_public(k), "ehis/pop/v2", content, signature), EHIS_E_SIGNATURE_BAD);
    assert_int_equal(sign_verify_bytes(sign_key_public(k), "ehis/pop/v", content, signature), EHIS_E_SIGNATURE_BAD);
    assert_int_equal(sign_verify_bytes(sign_key_public(k), "ehis/pop/v1", span_str("some contenT"), signature), EHIS_E_SIGNATURE_BAD);
    assert_int_equal(sign_verify_bytes(sign_key_public(k), "ehis/pop/v1", span_of(NULL, 0), signature), EHIS_E_SIGNATURE_BAD);
    assert_int_equal(sign_verify_bytes(sign_key_public(other), "ehis/pop/v1", content, signature), EHIS_E_SIGNATURE_BAD);
    sign_bytes(k, "", span_of(NULL, 0), signature);
    assert_int_equal(sign_verify_bytes(sign_key_public(k), "", span_of(NULL, 0), signature), EHIS_OK);
    sign_key_free(k);
    sign_key_free(other);
    sign_key_free(NULL);
}

static void keys_of_small_or_mixed_order_and_malformed_keys_are_refused(void **state)
{
    (void)state;
    static const char *const keys[] = {
        "0100000000000000000000000000000000000000000000000000000000000000", /* the identity */
        "0000000000000000000000000000000000000000000000000000000000000000", /* order 4 */
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f", /* order 2 */
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05", /* order 8 */
        "9599999999999999999999999999999999999999999999999999999999999999", /* the base point plus order 2 */
        "0200000000000000000000000000000000000000000000000000000000000000", /* not on the curve */
        "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f", /* not reduced */
        "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
    };
    struct hash root = {{1}}, id = {{2}};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        uint8_t key[32], signature[64] = {1}; /* R = identity, s = 0: holds for a key of small order where it is let in */
        bytes_of(keys[i], key);
        for (uint32_t size = 1; size < 20; size++)
            assert_int_equal(sign_verify_root(key, &id, size, &root, signature), EHIS_E_SIGNATURE_BAD);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_vectors_of_rfc_8032_verify_and_their_seeds_give_their_keys),
        cmocka_unit_test(keys_leaves_and_signatures_have_the_form_that_is_written_down),
        cmocka_unit_test(one_public_key_has_another_id_for_each_use_and_algorithm),
        cmocka_unit_test(every_leaf_of_a_batch_proves_itself_alone),
        cmocka_unit_test(any_altered_byte_of_a_leaf_signature_is_found),
        cmocka_unit_test(what_was_signed_here_is_known_when_it_comes_back),
        cmocka_unit_test(a_leaf_beside_a_verified_one_still_needs_its_own_whole_path),
        cmocka_unit_test(a_wrong_size_index_path_or_algorithm_is_refused),
        cmocka_unit_test(the_cache_forgets_the_oldest_root_and_all_when_dropped),
        cmocka_unit_test(bytes_signed_under_one_label_do_not_verify_under_another),
        cmocka_unit_test(keys_of_small_or_mixed_order_and_malformed_keys_are_refused),
    };
    struct ehis_why why = {""};
    if (crypto_init(&why) != EHIS_OK) {
        print_error("%s\n", why.text);
        return 1;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
