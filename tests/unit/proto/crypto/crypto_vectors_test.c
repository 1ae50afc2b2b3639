/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* The vectors of Wycheproof and CCTV: verdicts that no one here wrote. */
#include "proto/crypto/sign.h"

#include <setjmp.h>

#include <cmocka.h>
#include <sodium.h>

#include "proto/crypto/hkdf.h"
#include "proto/crypto/seal.h"
#include "proto/crypto/sign_priv.h"
#include "tests/support/vectors.h"

#define each_test(root, group, test)                                                          \
    for (size_t g_ = 0; g_ < json_array_size(json_object_get(root, "testGroups")); g_++)      \
        for (size_t t_ = 0; (group = json_array_get(json_object_get(root, "testGroups"), g_), \
                             test = json_array_get(json_object_get(group, "tests"), t_)) != NULL; t_++)

static json_t *load_or_skip(const char *path)
{
    json_t *root = vectors_load(path);
    if (!root)
        skip();
    return root;
}

static bool is_valid(const json_t *test) { return strcmp(vectors_text(test, "result"), "valid") == 0; }

static void assert_verdict(const json_t *test, bool got, bool expected)
{
    if (got != expected)
        fail_msg("case %g: %s instead of %s", json_number_value(json_object_get(test, "tcId")), got ? "accepted" : "refused",
                 expected ? "accepted" : "refused");
}

static void wycheproof_ed25519_verdicts_are_ours(void **state)
{
    (void)state;
    json_t *root = load_or_skip("wycheproof/ed25519_test.json"), *group, *test;
    size_t count = 0;
    each_test(root, group, test) {
        struct span key = vectors_hex(json_object_get(group, "publicKey"), "pk"), m = vectors_hex(test, "msg"), s = vectors_hex(test, "sig");
        assert_int_equal(key.len, 32);
        bool ok = s.len == 64 && ed25519_verify(key.p, m, s.p) == EHIS_OK; /* another length cannot reach us: 64 bytes are the type */
        assert_verdict(test, ok, is_valid(test));
        vectors_free(key);
        vectors_free(m);
        vectors_free(s);
        count++;
    }
    assert_int_equal(count, 151);
    json_decref(root);
}

/* libsodium takes 43 of them; their keys have a component of small order, all but one, and we refuse such keys. */
static void cctv_ed25519_verdicts_are_pinned(void **state)
{
    (void)state;
    json_t *root = load_or_skip("cctv/ed25519vectors.json"), *test;
    size_t i, library = 0, ours = 0;
    json_array_foreach(root, i, test) {
        struct span key = vectors_hex(test, "key"), s = vectors_hex(test, "sig"), m = span_str(vectors_text(test, "msg"));
        assert_true(key.len == 32 && s.len == 64);
        bool by_library = crypto_sign_verify_detached(s.p, m.p, m.len, key.p) == 0;
        bool by_us = ed25519_verify(key.p, m, s.p) == EHIS_OK;
        library += by_library;
        ours += by_us;
        assert_true(by_library || !by_us);
        assert_int_equal(by_us, by_library && crypto_core_ed25519_is_valid_point(key.p));
        vectors_free(key);
        vectors_free(s);
    }
    assert_int_equal(i, 914);
    assert_int_equal(library, 43);
    assert_int_equal(ours, 1);
    json_decref(root);
}

/* Through seal_derive: the message key is what the vector's shared secret gives, and a shared secret of zero is refused. */
static void wycheproof_x25519_secrets_are_ours_and_zero_is_refused(void **state)
{
    (void)state;
    json_t *root = load_or_skip("wycheproof/x25519_test.json"), *group, *test;
    const struct seal_binding binding = {.kind = 1, .sender = span_str("s"), .recipient = span_str("r")};
    static const uint8_t info_bytes[] = {1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 's', 0, 1, 'r'};
    struct span info = span_of(info_bytes, sizeof info_bytes);
    struct seal_cache *cache = NULL;
    size_t count = 0, zeros = 0;
    assert_int_equal(seal_cache_new(600, &cache), EHIS_OK);
    each_test(root, group, test) {
        struct span theirs = vectors_hex(test, "public"), secret = vectors_hex(test, "private"), shared = vectors_hex(test, "shared");
        struct seal_key *k = NULL;
        struct seal_message_key m;
        uint8_t prk[32], okm[64];
        assert_true(theirs.len == 32 && secret.len == 32 && shared.len == 32);
        assert_int_equal(seal_key_new(secret.p, &k), EHIS_OK);
        ehis_err err = seal_derive(cache, k, theirs.p, &binding, &m);
        if (sodium_is_zero(shared.p, 32)) {
            assert_int_equal(err, EHIS_E_SEAL_KEY_WEAK);
            zeros++;
        } else {
            assert_int_equal(err, EHIS_OK);
            hkdf_extract(span_str("ehis/seal/v1"), (struct span[]){shared, theirs, span_of(seal_key_public(k), 32)}, 3, prk);
            hkdf_expand(prk, &info, 1, okm, sizeof okm);
            assert_memory_equal(m.key, okm, 32);
            assert_memory_equal(m.commitment.b, okm + 32, 32);
        }
        seal_key_free(k);
        vectors_free(theirs);
        vectors_free(secret);
        vectors_free(shared);
        count++;
    }
    assert_int_equal(count, 518);
    assert_true(zeros > 0);
    seal_cache_free(cache);
    json_decref(root);
}

static void wycheproof_hkdf_outputs_are_ours(void **state)
{
    (void)state;
    json_t *root = load_or_skip("wycheproof/hkdf_sha256_test.json"), *group, *test;
    static uint8_t out[HKDF_MAX_BYTES];
    size_t count = 0, too_large = 0;
    each_test(root, group, test) {
        struct span ikm = vectors_hex(test, "ikm"), salt = vectors_hex(test, "salt"), info = vectors_hex(test, "info"), okm = vectors_hex(test, "okm");
        uint8_t prk[32];
        double size = json_number_value(json_object_get(test, "size"));
        if (size > HKDF_MAX_BYTES) { /* a caller's mistake: asserted */
            assert_false(is_valid(test));
            too_large++;
        } else {
            assert_true(is_valid(test) && (double)okm.len == size);
            hkdf_extract(salt, &ikm, 1, prk);
            hkdf_expand(prk, &info, 1, out, okm.len);
            assert_memory_equal(out, okm.p, okm.len);
            struct span halves[] = {{info.p, info.len / 2}, {info.p + info.len / 2, info.len - info.len / 2}};
            memset(out, 0, okm.len);
            hkdf_expand(prk, halves, 2, out, okm.len);
            assert_memory_equal(out, okm.p, okm.len);
        }
        vectors_free(ikm);
        vectors_free(salt);
        vectors_free(info);
        vectors_free(okm);
        count++;
    }
    assert_int_equal(count, 86);
    assert_int_equal(too_large, 3);
    json_decref(root);
}

/* The library call that seal_open makes: bodies of any length do not pass our padding. */
static void wycheproof_xchacha20_poly1305_verdicts_are_the_librarys(void **state)
{
    (void)state;
    json_t *root = load_or_skip("wycheproof/xchacha20_poly1305_test.json"), *group, *test;
    size_t count = 0;
    each_test(root, group, test) {
        struct span key = vectors_hex(test, "key"), iv = vectors_hex(test, "iv"), aad = vectors_hex(test, "aad"), msg = vectors_hex(test, "msg"),
                    ct = vectors_hex(test, "ct"), tag = vectors_hex(test, "tag");
        bool ok = false;
        if (iv.len == 24 && tag.len == 16) {
            uint8_t *in = malloc(ct.len + 16), *out = malloc(ct.len + 1);
            assert_true(in && out && key.len == 32);
            memcpy(in, ct.p, ct.len);
            memcpy(in + ct.len, tag.p, 16);
            ok = crypto_aead_xchacha20poly1305_ietf_decrypt(out, NULL, NULL, in, ct.len + 16, aad.p, aad.len, iv.p, key.p) == 0;
            if (ok)
                assert_true(span_eq(span_of(out, ct.len), msg));
            free(in);
            free(out);
        }
        assert_verdict(test, ok, is_valid(test));
        struct span all[] = {key, iv, aad, msg, ct, tag};
        for (size_t i = 0; i < 6; i++)
            vectors_free(all[i]);
        count++;
    }
    assert_int_equal(count, 315);
    json_decref(root);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(wycheproof_ed25519_verdicts_are_ours),
        cmocka_unit_test(cctv_ed25519_verdicts_are_pinned),
        cmocka_unit_test(wycheproof_x25519_secrets_are_ours_and_zero_is_refused),
        cmocka_unit_test(wycheproof_hkdf_outputs_are_ours),
        cmocka_unit_test(wycheproof_xchacha20_poly1305_verdicts_are_the_librarys),
    };
    struct ehis_why why = {""};
    if (crypto_init(&why) != EHIS_OK) {
        print_error("%s\n", why.text);
        return 1;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
