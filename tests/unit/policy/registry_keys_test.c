/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* SPEC 10: which key counts, when, for whom. */
#include "proto/wire/envelope.h"
#include "tests/unit/policy/registry_test.h"

static void a_signing_key_counts_for_its_owner_its_use_and_its_time(void **state)
{
    (void)state;
    struct test_registry *t = make(9);
    struct hash old = *sign_key_id(test_registry_owner(t, TAX)->sign), seal = *seal_key_id(test_registry_owner(t, TAX)->seal);
    test_registry_retire(t, TAX, USE_SIGN, NOW);
    test_registry_new_key(t, TAX, USE_SIGN, NOW - DAY);
    struct hash new = *sign_key_id(test_registry_owner(t, TAX)->sign), revoked = *sign_key_id(test_registry_owner(t, POP)->sign), none = {{1}};
    test_registry_revoke(t, POP, USE_SIGN, NOW + DAY);
    struct registry *r = test_registry_publish(t);
    const struct registry_key *k = NULL;
    struct span tax = span_str(TAX);
    assert_int_equal(registry_signing_key(r, tax, none.b, NOW, NOW, &k), EHIS_E_KEY_UNKNOWN);
    assert_int_equal(registry_signing_key(r, span_str(SCHOOL), new.b, NOW, NOW, &k), EHIS_E_KEY_FOREIGN);
    assert_int_equal(registry_signing_key(r, tax, seal.b, NOW, NOW, &k), EHIS_E_KEY_USE);
    assert_int_equal(registry_signing_key(r, span_str(POP), revoked.b, NOW - 300 * DAY, NOW, &k), EHIS_E_KEY_REVOKED);
    assert_int_equal(registry_signing_key(r, tax, new.b, NOW - DAY - 1, NOW, &k), EHIS_E_KEY_NOT_YET);
    assert_int_equal(registry_signing_key(r, tax, new.b, NOW - DAY, NOW, &k), EHIS_OK);
    assert_memory_equal(k->id.b, new.b, HASH_BYTES);
    /* Both keys overlap; the old one counts for what was created until its retirement, for 14 days. */
    assert_int_equal(registry_signing_key(r, tax, old.b, NOW, NOW, &k), EHIS_OK);
    assert_int_equal(registry_signing_key(r, tax, old.b, NOW + 1, NOW + 1, &k), EHIS_E_KEY_RETIRED);
    assert_int_equal(registry_signing_key(r, tax, old.b, NOW, NOW + 14 * DAY, &k), EHIS_OK);
    assert_int_equal(registry_signing_key(r, tax, old.b, NOW, NOW + 14 * DAY + 1, &k), EHIS_E_KEY_RETIRED);
    assert_int_equal(registry_signing_key(r, tax, old.b, 0, NOW + 1, &k), EHIS_E_KEY_RETIRED);
    assert_int_equal(registry_signing_key(r, tax, new.b, 0, NOW, &k), EHIS_OK);
    assert_int_equal(registry_signing_key(r, span_str("AZ/gw1"), sign_key_id(test_registry_owner(t, "AZ/gw1")->sign)->b, NOW, NOW, &k), EHIS_OK);
    registry_unref(r);
    test_registry_free(t);
}

static void a_word_is_its_owners_where_the_key_counts_and_the_signature_is_right_also_of_a_root_that_is_known(void **state)
{
    (void)state;
    struct test_registry *t = make(12);
    const struct sign_key *key = test_registry_owner(t, TAX)->sign;
    struct registry *r = test_registry_publish(t);
    struct root_cache *roots;
    const struct hash leaf = {{7}}, other = {{8}};
    struct envelope_signature s = {.algorithm = ALGORITHM_ED25519, .size = 1};
    struct registry_word w = {.owner = span_str(TAX), .created_ms = NOW, .signature = &s, .leaf = &leaf, .is_met_again = true};
    memcpy(s.key_id, sign_key_id(key)->b, HASH_BYTES);
    sign_root(key, 1, &leaf, s.signature);
    assert_int_equal(root_cache_new(4, &roots), EHIS_OK);
    for (int again = 0; again < 2; again++) {
        assert_int_equal(registry_verify(r, &w, NOW, roots), EHIS_OK);
        s.signature[40] ^= 1;
        assert_int_equal(registry_verify(r, &w, NOW, roots), EHIS_E_SIGNATURE_BAD);
        s.signature[40] ^= 1;
        w.leaf = &other;
        assert_int_equal(registry_verify(r, &w, NOW, roots), EHIS_E_SIGNATURE_BAD);
        w.leaf = &leaf;
        w.owner = span_str(SCHOOL);
        assert_int_equal(registry_verify(r, &w, NOW, roots), EHIS_E_KEY_FOREIGN);
        w.owner = span_str(TAX);
        s.size = 2;
        assert_int_equal(registry_verify(r, &w, NOW, roots), EHIS_E_SIGNATURE_PATH);
        s.size = 1;
    }
    root_cache_free(roots);
    registry_unref(r);
    test_registry_free(t);
}

static void the_newest_sealing_key_in_force_is_sealed_to(void **state)
{
    (void)state;
    struct test_registry *t = make(10);
    struct hash first = *seal_key_id(test_registry_owner(t, TAX)->seal);
    test_registry_new_key(t, TAX, USE_SEAL, NOW);
    struct hash second = *seal_key_id(test_registry_owner(t, TAX)->seal);
    test_registry_retire(t, SCHOOL, USE_SEAL, NOW);
    test_registry_revoke(t, POP, USE_SEAL, NOW);
    struct registry *r = test_registry_publish(t);
    const struct registry_key *k = NULL;
    assert_int_equal(registry_sealing_key(r, span_str(TAX), NOW - 1, &k), EHIS_OK);
    assert_memory_equal(k->id.b, first.b, HASH_BYTES);
    assert_int_equal(registry_sealing_key(r, span_str(TAX), NOW, &k), EHIS_OK);
    assert_memory_equal(k->id.b, second.b, HASH_BYTES);
    assert_int_equal(registry_sealing_key(r, span_str(SCHOOL), NOW - 1, &k), EHIS_OK);
    assert_int_equal(registry_sealing_key(r, span_str(SCHOOL), NOW, &k), EHIS_E_KEY_UNKNOWN);
    assert_int_equal(registry_sealing_key(r, span_str(POP), NOW, &k), EHIS_E_KEY_UNKNOWN);
    assert_int_equal(registry_sealing_key(r, span_str("AZ/gw1"), NOW, &k), EHIS_E_KEY_UNKNOWN);
    registry_unref(r);
    test_registry_free(t);
}

static void a_pin_is_its_owners_alone_and_in_force(void **state)
{
    (void)state;
    struct test_registry *t = make(11);
    test_registry_retire(t, TAX, USE_TLS, NOW + DAY);
    struct registry *r = test_registry_publish(t);
    struct span gateway = span_str(SPKI), tax = span_str(SPKI " of tax");
    assert_int_equal(registry_check_pin(r, span_str("AZ/gw1"), true, gateway, NOW), EHIS_OK);
    assert_int_equal(registry_check_pin(r, span_str("AZ/gw1"), false, gateway, NOW), EHIS_E_KEY_PIN);
    assert_int_equal(registry_check_pin(r, span_str(TAX), false, gateway, NOW), EHIS_E_KEY_PIN);
    assert_int_equal(registry_check_pin(r, span_str(TAX), false, tax, NOW), EHIS_OK);
    assert_int_equal(registry_check_pin(r, span_str(TAX), false, tax, NOW + DAY), EHIS_E_KEY_PIN);
    assert_int_equal(registry_check_pin(r, span_str(POP), false, tax, NOW), EHIS_E_KEY_PIN);
    assert_int_equal(registry_check_pin(r, span_str(TAX), false, span_str("nobody's key, of thirty-two bytes"), NOW), EHIS_E_KEY_PIN);
    registry_unref(r);
    test_registry_free(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_signing_key_counts_for_its_owner_its_use_and_its_time),
        cmocka_unit_test(a_word_is_its_owners_where_the_key_counts_and_the_signature_is_right_also_of_a_root_that_is_known),
        cmocka_unit_test(the_newest_sealing_key_in_force_is_sealed_to),
        cmocka_unit_test(a_pin_is_its_owners_alone_and_in_force),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
