/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
#include "proto/evidence/receipt.h"

#include <setjmp.h>

#include <cmocka.h>

static struct sign_key *key_of(uint8_t seed_byte, enum key_use use)
{
    uint8_t seed[32];
    struct sign_key *k = NULL;
    memset(seed, seed_byte, sizeof seed);
    assert_int_equal(sign_key_new(seed, use, &k), EHIS_OK);
    return k;
}

/* The leaf under test as number 2 of 5. */
static struct leaf_signature sign_among_others(const struct sign_key *k, const struct hash *leaf)
{
    static struct hash path[20];
    static uint8_t signature[64];
    struct hash all[5] = {{{1}}, {{2}}, *leaf, {{4}}, {{5}}};
    struct tree t;
    tree_init(&t);
    assert_int_equal(sign_batch(k, &t, all, 5, signature), EHIS_OK);
    size_t n = tree_path(&t, 2, path);
    tree_fini(&t);
    return (struct leaf_signature){ALGORITHM_ED25519, *sign_key_id(k), 5, 2, span_of(path, n * HASH_BYTES), signature};
}

static const struct evidence_receipt receipt = {
    .digest = {{7}},
    .sender = {(const uint8_t *)"AZ/GOV/TAX/portal", 17},
    .recipient = {(const uint8_t *)"AZ/GOV/MIA/population", 21},
    .state = 3,
    .code = 0,
    .time_ms = 1767225600000,
    .gateway = {(const uint8_t *)"AZ/gw1", 6},
};

static void a_receipt_verifies_and_every_field_is_under_the_signature(void **state)
{
    (void)state;
    struct sign_key *gateway = key_of(1, USE_SIGN);
    struct hash leaf;
    leaf_receipt(&receipt.digest, receipt.sender, receipt.recipient, receipt.state, receipt.code, receipt.time_ms, receipt.gateway, &leaf);
    struct leaf_signature s = sign_among_others(gateway, &leaf);
    const uint8_t *key = sign_key_public(gateway);
    assert_int_equal(evidence_verify_receipt(&receipt, &s, key), EHIS_OK);
    struct evidence_receipt r[8];
    for (size_t i = 0; i < 8; i++)
        r[i] = receipt;
    r[0].digest.b[31] = 1;
    r[1].sender.len--;
    r[2].recipient.len--;
    r[3].state = 2;
    r[4].code = 1;
    r[5].time_ms++;
    r[6].gateway.len--;
    r[7].recipient.len = 0;
    for (size_t i = 0; i < 8; i++)
        assert_int_equal(evidence_verify_receipt(&r[i], &s, key), EHIS_E_SIGNATURE_BAD);
    s.path.len -= HASH_BYTES;
    assert_int_equal(evidence_verify_receipt(&receipt, &s, key), EHIS_E_SIGNATURE_PATH);
    s.path.len += HASH_BYTES;
    s.algorithm = 2;
    assert_int_equal(evidence_verify_receipt(&receipt, &s, key), EHIS_E_SIGNATURE_ALGORITHM);
    sign_key_free(gateway);
}

static void another_key_or_a_key_of_another_use_does_not_count(void **state)
{
    (void)state;
    struct sign_key *gateway = key_of(1, USE_SIGN), *other = key_of(2, USE_SIGN), *operator_key = key_of(1, USE_OPERATOR);
    struct hash leaf;
    leaf_receipt(&receipt.digest, receipt.sender, receipt.recipient, receipt.state, receipt.code, receipt.time_ms, receipt.gateway, &leaf);
    struct leaf_signature s = sign_among_others(gateway, &leaf);
    assert_int_equal(evidence_verify_receipt(&receipt, &s, sign_key_public(other)), EHIS_E_SIGNATURE_BAD);
    s = sign_among_others(operator_key, &leaf);
    assert_int_equal(evidence_verify_receipt(&receipt, &s, sign_key_public(operator_key)), EHIS_E_SIGNATURE_BAD);
    sign_key_free(gateway);
    sign_key_free(other);
    sign_key_free(operator_key);
}

static void acknowledgements_and_skips_verify_and_every_field_is_under_the_signature(void **state)
{
    (void)state;
    struct sign_key *k = key_of(3, USE_SIGN);
    const uint8_t *key = sign_key_public(k);
    struct hash leaf;
    const struct evidence_ack ack = {{{7}}, 1, 0, 99};
    leaf_ack(&ack.digest, ack.outcome, ack.code, ack.time_ms, &leaf);
    struct leaf_signature s = sign_among_others(k, &leaf);
    assert_int_equal(evidence_verify_ack(&ack, &s, key), EHIS_OK);
    struct evidence_ack a[4] = {ack, ack, ack, ack};
    a[0].digest.b[0]++;
    a[1].outcome++;
    a[2].code++;
    a[3].time_ms++;
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(evidence_verify_ack(&a[i], &s, key), EHIS_E_SIGNATURE_BAD);

    const struct evidence_skip skip_ = {receipt.sender, receipt.recipient, {5}, 17, {{0}}, 6, receipt.gateway};
    leaf_skip(skip_.sender, skip_.recipient, skip_.stream, skip_.number, &skip_.digest, skip_.state, skip_.gateway, &leaf);
    s = sign_among_others(k, &leaf);
    assert_int_equal(evidence_verify_skip(&skip_, &s, key), EHIS_OK);
    struct evidence_skip b[7] = {skip_, skip_, skip_, skip_, skip_, skip_, skip_};
    b[0].sender.len--;
    b[1].recipient.len--;
    b[2].stream[15]++;
    b[3].number++;
    b[4].digest.b[31]++;
    b[5].state++;
    b[6].gateway.len--;
    for (size_t i = 0; i < 7; i++)
        assert_int_equal(evidence_verify_skip(&b[i], &s, key), EHIS_E_SIGNATURE_BAD);
    sign_key_free(k);
}

static void an_envelope_proves_itself_and_gives_its_digest(void **state)
{
    (void)state;
    struct sign_key *k = key_of(4, USE_SIGN);
    struct span header = span_str("header bytes"), sealed = span_str("sealed body");
    struct hash h, d, leaf, got = {{0}};
    hash_span(sealed, &h);
    hash_envelope(header, sealed.len, &h, &d);
    leaf_envelope(&d, &leaf);
    struct leaf_signature s = sign_among_others(k, &leaf);
    assert_int_equal(evidence_verify_envelope(header, sealed, &s, sign_key_public(k), &got), EHIS_OK);
    assert_memory_equal(got.b, d.b, HASH_BYTES);
    assert_int_equal(evidence_verify_envelope(header, span_str("sealed bodY"), &s, sign_key_public(k), NULL), EHIS_E_SIGNATURE_BAD);
    assert_int_equal(evidence_verify_envelope(span_str("header byteS"), sealed, &s, sign_key_public(k), NULL), EHIS_E_SIGNATURE_BAD);
    /* one byte moved from the header to the body */
    assert_int_equal(evidence_verify_envelope(span_str("header byte"), span_str("ssealed body"), &s, sign_key_public(k), NULL), EHIS_E_SIGNATURE_BAD);
    sign_key_free(k);
}

static void an_acknowledgement_must_be_about_the_same_message_and_say_the_same(void **state)
{
    (void)state;
    for (uint8_t state_ = 0; state_ < 8; state_++)
        for (uint8_t outcome = 0; outcome < 5; outcome++) {
            struct evidence_receipt r = receipt;
            struct evidence_ack a = {receipt.digest, outcome, 0, 1};
            r.state = state_;
            bool agrees = (state_ == 3 && outcome == 1) || (state_ == 4 && outcome == 2);
            assert_int_equal(evidence_match_ack(&r, &a), agrees ? EHIS_OK : EHIS_E_PROOF_MISMATCH);
            a.digest.b[9]++;
            assert_int_equal(evidence_match_ack(&r, &a), EHIS_E_PROOF_MISMATCH);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_receipt_verifies_and_every_field_is_under_the_signature),
        cmocka_unit_test(another_key_or_a_key_of_another_use_does_not_count),
        cmocka_unit_test(acknowledgements_and_skips_verify_and_every_field_is_under_the_signature),
        cmocka_unit_test(an_envelope_proves_itself_and_gives_its_digest),
        cmocka_unit_test(an_acknowledgement_must_be_about_the_same_message_and_say_the_same),
    };
    if (crypto_init(NULL) != EHIS_OK)
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
