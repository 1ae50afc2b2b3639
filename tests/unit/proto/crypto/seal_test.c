/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
#include "proto/crypto/seal.c" /* its own object is then not linked: the test may set a context's counter */

#include <setjmp.h>

#include <cmocka.h>

static void fill_42(void *ctx, uint8_t *out, size_t n)
{
    (void)ctx;
    memset(out, 0x42, n);
}
static const struct random fixed = {fill_42, NULL};

static const struct seal_binding binding = {
    .kind = 1,
    .exchange_id = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15},
    .sender = {(const uint8_t *)"AZ/GOV/TAX/portal", 17},
    .recipient = {(const uint8_t *)"AZ/GOV/MIA/population/person", 28},
};
static const uint8_t secret_11[32] = {0x11, 0x11, 0x11, 0x11, 0x11, 0x11, 0x11, 0x11, 0x11, 0x11, 0x11, 0x11, 0x11, 0x11, 0x11, 0x11,
                                      0x11, 0x11, 0x11, 0x11, 0x11, 0x11, 0x11, 0x11, 0x11, 0x11, 0x11, 0x11, 0x11, 0x11, 0x11, 0x11};
#define MAX_BYTES (1024 * 1024)

static struct seal_message_key some_key(uint8_t of)
{
    struct seal_message_key k;
    memset(k.key, of, sizeof k.key);
    memset(k.commitment.b, of + 1, sizeof k.commitment.b);
    return k;
}

static void assert_hex(const uint8_t *p, size_t n, const char *hex)
{
    char text[257];
    hex_to_text(p, n, text);
    assert_string_equal(text, hex);
}

/* Known answers computed with Python's hmac and another binding of X25519 and XChaCha20-Poly1305. */
static void a_seal_has_the_form_that_is_written_down(void **state)
{
    (void)state;
    struct seal_key *k = NULL;
    struct seal_context *c = NULL;
    struct seal_message_key m;
    struct hash h;
    struct buf out;
    uint8_t topic[32];
    assert_int_equal(seal_key_new(secret_11, &k), EHIS_OK);
    assert_hex(seal_key_public(k), 32, "7b4e909bbe7ffe44c465a220037d608ee35897d31ef972f07f74892cb0f73f13");
    assert_hex(seal_key_id(k)->b, 32, "f5944a3603d1242674e30c502382a841b0aca6598d45313c54150462bc229ed1");
    assert_int_equal(seal_context_new(seal_key_public(k), 1000, &fixed, &c), EHIS_OK);
    assert_hex(seal_context_ephemeral(c), 32, "132c442be010fbd57e72603328aa76e71fccc1503aae219327d14d9c9993f472");
    assert_int_equal(seal_context_derive(c, 1000, &binding, &m), EHIS_OK);
    assert_hex(m.key, 32, "080bf0944941c09bf83dd5b4577ef04439fa5dbd9e18d6c53ea08d6d2eeefab6");
    assert_hex(m.commitment.b, 32, "3479dfb8e7c9969635525e9e82d0c346eedc3919b11b7ebbd53766dbf1c51c97");
    buf_init(&out, 4096);
    assert_int_equal(seal_close(&m, span_str("header"), span_str("pin=5ABC123"), &fixed, &out), EHIS_OK);
    assert_int_equal(out.len, 296);
    hash_span(buf_span(&out), &h);
    assert_hex(h.b, 32, "43948574cee8b259c253e27e4f52cc618306218a723166392bbb16e91944913e");
    memset(topic, 0x77, sizeof topic);
    seal_topic_derive(topic, &binding, &m);
    assert_hex(m.key, 32, "05ecb1363aa8fc51a3fbbe809f812ef371d65597cc068d2f8b88af2588d041fb");
    assert_hex(m.commitment.b, 32, "934772d3489aa60819f0d188682f9acf179cce29ee333544a5e431a239e16ce0");
    buf_fini(&out);
    seal_context_free(c);
    seal_key_free(k);
}

static void both_ends_derive_the_same_key_also_after_the_cache_forgot_it(void **state)
{
    (void)state;
    struct seal_key *k = NULL;
    struct seal_cache *cache = NULL;
    assert_int_equal(seal_key_new(secret_11, &k), EHIS_OK);
    assert_int_equal(seal_cache_new(0, &cache), EHIS_E_INVALID);
    assert_int_equal(seal_cache_new(2, &cache), EHIS_OK);
    struct seal_context *c[3];
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(seal_context_new(seal_key_public(k), 0, &random_system, &c[i]), EHIS_OK);
    for (size_t round = 0; round < 7; round++) {
        struct seal_message_key a, b;
        struct seal_context *from = c[round % 3];
        assert_int_equal(seal_context_derive(from, 0, &binding, &a), EHIS_OK);
        for (size_t twice = 0; twice < 2; twice++) {
            assert_int_equal(seal_derive(cache, k, seal_context_ephemeral(from), &binding, &b), EHIS_OK);
            assert_memory_equal(a.key, b.key, 32);
            assert_memory_equal(a.commitment.b, b.commitment.b, 32);
        }
    }
    for (size_t i = 0; i < 3; i++)
        seal_context_free(c[i]);
    seal_cache_free(cache);
    seal_key_free(k);
}

static void any_other_binding_gives_another_key_and_commitment(void **state)
{
    (void)state;
    uint8_t topic[32] = {9};
    struct seal_message_key base, k;
    struct seal_binding b[6];
    seal_topic_derive(topic, &binding, &base);
    for (size_t i = 0; i < 6; i++)
        b[i] = binding;
    b[0].kind = 2;
    b[1].exchange_id[15] ^= 1;
    b[2].sender.len--;
    b[3].recipient.len--;
    b[4].sender = binding.recipient;
    b[4].recipient = binding.sender;
    b[5].sender = span_of("AZ/GOV/TAX/portalA", 18); /* the border between the two moves by one */
    b[5].recipient = span_of(binding.recipient.p + 1, binding.recipient.len - 1);
    for (size_t i = 0; i < 6; i++) {
        seal_topic_derive(topic, &b[i], &k);
        assert_memory_not_equal(k.key, base.key, 32);
        assert_memory_not_equal(k.commitment.b, base.commitment.b, 32);
    }
    assert_memory_not_equal(base.key, base.commitment.b, 32);
}

static void keys_that_give_no_shared_secret_are_refused_at_both_ends(void **state)
{
    (void)state;
    static const char *const weak[] = {
        "0000000000000000000000000000000000000000000000000000000000000000", "0100000000000000000000000000000000000000000000000000000000000000",
        "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800", "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f", "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"};
    struct seal_key *k = NULL;
    struct seal_cache *cache = NULL;
    struct seal_context *c = NULL;
    struct seal_message_key m;
    assert_int_equal(seal_key_new(secret_11, &k), EHIS_OK);
    assert_int_equal(seal_cache_new(4, &cache), EHIS_OK);
    for (size_t i = 0; i < sizeof weak / sizeof *weak; i++)
        for (int twice = 0; twice < 2; twice++) {
            uint8_t key[32];
            assert_int_equal(hex_from_text(span_str(weak[i]), key, 32), EHIS_OK);
            assert_int_equal(seal_context_new(key, 0, &random_system, &c), EHIS_E_SEAL_KEY_WEAK);
            assert_null(c);
            assert_int_equal(seal_derive(cache, k, key, &binding, &m), EHIS_E_SEAL_KEY_WEAK);
        }
    seal_cache_free(cache);
    seal_key_free(k);
}

static void a_context_is_spent_after_an_hour_or_two_to_the_24_messages(void **state)
{
    (void)state;
    struct seal_key *k = NULL;
    struct seal_context *c = NULL;
    struct seal_message_key m;
    assert_int_equal(seal_key_new(secret_11, &k), EHIS_OK);
    assert_int_equal(seal_context_new(seal_key_public(k), 5000, &random_system, &c), EHIS_OK);
    assert_int_equal(seal_context_derive(c, 5000 + 3600000, &binding, &m), EHIS_OK);
    assert_int_equal(seal_context_derive(c, 5000 + 3600001, &binding, &m), EHIS_E_SEAL_CONTEXT_SPENT);
    assert_int_equal(seal_context_derive(c, 4999, &binding, &m), EHIS_E_SEAL_CONTEXT_SPENT); /* the clock went back */
    c->message_count = (1u << 24) - 1;
    assert_int_equal(seal_context_derive(c, 5000, &binding, &m), EHIS_OK);
    assert_int_equal(seal_context_derive(c, 5000, &binding, &m), EHIS_E_SEAL_CONTEXT_SPENT);
    seal_context_free(c);
    seal_key_free(k);
    seal_context_free(NULL);
    seal_cache_free(NULL);
    seal_key_free(NULL);
}

static void sealed_sizes_follow_the_padding_rule(void **state)
{
    (void)state;
    static const struct { size_t plain, padded; } sizes[] = {
        {0, 256}, {1, 256}, {254, 256}, {255, 256}, {256, 512}, {257, 512}, {511, 512}, {512, 768}, {1024, 1280},
        {4094, 4096}, {4095, 4096}, {4096, 4352}, {4097, 4352}, {4351, 4352}, {4352, 4608}, {8191, 8192}, {8192, 8704}, {9999, 10240},
        {65535, 65536}, {65536, 67584}, {1048575, 1048576}, {1048576, 1081344},
    };
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        assert_int_equal(seal_sealed_bytes(sizes[i].plain), sizes[i].padded + SEAL_OVERHEAD_BYTES);
    assert_int_equal(seal_sealed_bytes(SIZE_MAX), 0);
    assert_int_equal(seal_sealed_bytes(SIZE_MAX - 1), 0);
    assert_int_equal(seal_sealed_bytes(SIZE_MAX - 4096), 0);
    for (size_t n = 1, last = 0; n < 200000; n++) { /* never less than was needed, at most 12 % more above 4 KiB, rising */
        size_t padded = seal_sealed_bytes(n) - SEAL_OVERHEAD_BYTES;
        assert_true(padded > n && padded >= last && (n < 4096 ? padded - n <= 256 : padded - n <= n / 8));
        last = padded;
    }
}

static void what_is_closed_opens_again_at_every_size(void **state)
{
    (void)state;
    static const size_t sizes[] = {0, 1, 2, 254, 255, 256, 257, 511, 512, 1024, 4094, 4095, 4096, 4097, 4352, 10000, 65536, 300000};
    struct seal_message_key k = some_key(3);
    struct span header = span_str("the header");
    uint8_t *plain = calloc(1, 300000); /* zeros after a 0x80: the padding's own bytes as content */
    assert_non_null(plain);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        for (int content = 0; content < 2; content++) {
            struct buf sealed, opened;
            buf_init(&sealed, MAX_BYTES);
            buf_init(&opened, MAX_BYTES);
            memset(plain, content ? 0x80 : 0, sizes[i]);
            assert_int_equal(buf_put(&sealed, "xy", 2), EHIS_OK); /* both append */
            assert_int_equal(buf_put(&opened, "z", 1), EHIS_OK);
            assert_int_equal(seal_close(&k, header, span_of(plain, sizes[i]), &random_system, &sealed), EHIS_OK);
            buf_drop(&sealed, 2);
            assert_int_equal(sealed.len, seal_sealed_bytes(sizes[i]));
            assert_int_equal(seal_open(&k, k.commitment.b, header, buf_span(&sealed), &opened), EHIS_OK);
            buf_drop(&opened, 1);
            assert_true(span_eq(buf_span(&opened), span_of(plain, sizes[i])));
            buf_fini(&sealed);
            buf_fini(&opened);
        }
    free(plain);
}

static void any_altered_missing_or_added_byte_is_found(void **state)
{
    (void)state;
    struct seal_message_key k = some_key(3), other = some_key(5);
    uint8_t header[] = "the header", commitment[32], sealed[296 + 300] = {0};
    struct buf b, out;
    buf_init(&b, MAX_BYTES);
    buf_init(&out, MAX_BYTES);
    memcpy(commitment, k.commitment.b, 32);
    assert_int_equal(seal_close(&k, span_of(header, sizeof header), span_str("content"), &random_system, &b), EHIS_OK);
    assert_int_equal(b.len, 296);
    memcpy(sealed, buf_span(&b).p, 296);
    for (size_t n = 0; n <= sizeof sealed; n++) {
        ehis_err err = seal_open(&k, commitment, span_of(header, sizeof header), span_of(sealed, n), &out);
        assert_int_equal(err, n == 296 ? EHIS_OK : EHIS_E_SEAL_OPEN);
    }
    buf_clear(&out);
    struct { uint8_t *p; size_t n; ehis_err err; } parts[] = {
        {header, sizeof header, EHIS_E_SEAL_OPEN}, {sealed, 296, EHIS_E_SEAL_OPEN}, {commitment, 32, EHIS_E_SEAL_COMMITMENT}};
    for (size_t part = 0; part < 3; part++)
        for (size_t i = 0; i < parts[part].n; i++) {
            parts[part].p[i] ^= (uint8_t)(1u << (i % 8));
            assert_int_equal(seal_open(&k, commitment, span_of(header, sizeof header), span_of(sealed, 296), &out), parts[part].err);
            parts[part].p[i] ^= (uint8_t)(1u << (i % 8));
        }
    assert_int_equal(seal_open(&k, commitment, span_of(header, sizeof header - 1), span_of(sealed, 296), &out), EHIS_E_SEAL_OPEN);
    assert_int_equal(seal_open(&other, commitment, span_of(header, sizeof header), span_of(sealed, 296), &out), EHIS_E_SEAL_COMMITMENT);
    assert_int_equal(seal_open(&other, other.commitment.b, span_of(header, sizeof header), span_of(sealed, 296), &out), EHIS_E_SEAL_OPEN);
    assert_int_equal(out.len, 0); /* nothing was added by what failed */
    buf_fini(&b);
    buf_fini(&out);
}

/* A sender that seals rightly and pads wrongly. */
static ehis_err open_padded(const uint8_t *padded, size_t n)
{
    struct seal_message_key k = some_key(3);
    uint8_t sealed[8192 + SEAL_OVERHEAD_BYTES] = {7};
    struct buf out;
    buf_init(&out, MAX_BYTES);
    crypto_aead_xchacha20poly1305_ietf_encrypt(sealed + 24, NULL, padded, n, (const uint8_t *)"h", 1, NULL, sealed, k.key);
    ehis_err err = seal_open(&k, k.commitment.b, span_str("h"), span_of(sealed, n + SEAL_OVERHEAD_BYTES), &out);
    if (err != EHIS_OK)
        assert_int_equal(out.len, 0);
    buf_fini(&out);
    return err;
}

static void padding_that_is_not_exactly_what_the_length_calls_for_is_refused(void **state)
{
    (void)state;
    static uint8_t p[8192];
    for (size_t n = 0; n <= 1024; n++) { /* one 0x80 at the front: right at 256 alone */
        memset(p, 0, sizeof p);
        p[0] = 0x80;
        assert_int_equal(open_padded(p, n), n == 256 ? EHIS_OK : EHIS_E_SEAL_PADDING);
    }
    memset(p, 0, sizeof p);
    assert_int_equal(open_padded(p, 256), EHIS_E_SEAL_PADDING); /* no mark at all */
    p[255] = 0x81;
    assert_int_equal(open_padded(p, 256), EHIS_E_SEAL_PADDING);
    p[255] = 0x80;
    assert_int_equal(open_padded(p, 256), EHIS_OK);
    p[255] = 0x01;
    p[200] = 0x80;
    assert_int_equal(open_padded(p, 256), EHIS_E_SEAL_PADDING); /* something after the mark */
    for (size_t n = 4096; n <= 8192; n += 256) { /* above 4 KiB: steps of Padme */
        memset(p, 0, sizeof p);
        p[n - 1] = 0x80;
        assert_int_equal(open_padded(p, n), EHIS_OK);
        p[n - 1] = 0;
        p[n - 257] = 0x80;
        assert_int_equal(open_padded(p, n), EHIS_E_SEAL_PADDING);
    }
}

static void a_body_over_the_bound_of_its_buffer_is_not_opened_or_closed(void **state)
{
    (void)state;
    struct seal_message_key k = some_key(3);
    struct buf sealed, small;
    buf_init(&sealed, 296);
    assert_int_equal(seal_close(&k, span_str("h"), span_of(secret_11, 32), &fixed, &sealed), EHIS_OK);
    for (size_t max = 200; max < 296; max += 8) {
        buf_init(&small, max);
        assert_int_equal(seal_close(&k, span_str("h"), span_of(secret_11, 32), &fixed, &small), EHIS_E_TOO_LARGE);
        assert_int_equal(seal_open(&k, k.commitment.b, span_str("h"), buf_span(&sealed), &small), max < 256 ? EHIS_E_TOO_LARGE : EHIS_OK);
        buf_fini(&small);
    }
    buf_fini(&sealed);
}

static void a_wrapped_key_unwraps_and_any_altered_byte_is_found(void **state)
{
    (void)state;
    struct seal_message_key k = some_key(3);
    uint8_t wrapped[72], key[32];
    seal_wrap_key(&k, span_str("h"), secret_11, &random_system, wrapped);
    assert_int_equal(seal_unwrap_key(&k, k.commitment.b, span_str("h"), wrapped, key), EHIS_OK);
    assert_memory_equal(key, secret_11, 32);
    for (size_t i = 0; i < sizeof wrapped; i++) {
        wrapped[i] ^= 0x20;
        assert_int_equal(seal_unwrap_key(&k, k.commitment.b, span_str("h"), wrapped, key), EHIS_E_SEAL_OPEN);
        wrapped[i] ^= 0x20;
    }
    assert_int_equal(seal_unwrap_key(&k, k.commitment.b, span_str("H"), wrapped, key), EHIS_E_SEAL_OPEN);
    assert_int_equal(seal_unwrap_key(&k, secret_11, span_str("h"), wrapped, key), EHIS_E_SEAL_COMMITMENT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_seal_has_the_form_that_is_written_down),
        cmocka_unit_test(both_ends_derive_the_same_key_also_after_the_cache_forgot_it),
        cmocka_unit_test(any_other_binding_gives_another_key_and_commitment),
        cmocka_unit_test(keys_that_give_no_shared_secret_are_refused_at_both_ends),
        cmocka_unit_test(a_context_is_spent_after_an_hour_or_two_to_the_24_messages),
        cmocka_unit_test(sealed_sizes_follow_the_padding_rule),
        cmocka_unit_test(what_is_closed_opens_again_at_every_size),
        cmocka_unit_test(any_altered_missing_or_added_byte_is_found),
        cmocka_unit_test(padding_that_is_not_exactly_what_the_length_calls_for_is_refused),
        cmocka_unit_test(a_body_over_the_bound_of_its_buffer_is_not_opened_or_closed),
        cmocka_unit_test(a_wrapped_key_unwraps_and_any_altered_byte_is_found),
    };
    struct ehis_why why = {""};
    if (crypto_init(&why) != EHIS_OK) {
        print_error("%s\n", why.text);
        return 1;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
