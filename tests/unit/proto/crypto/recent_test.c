/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
#include "proto/crypto/recent.h"

#include <setjmp.h>

#include <cmocka.h>

#include "proto/crypto/sign.h"

enum { KEY = 40, VALUE = 8 };

static const uint8_t *key_number(unsigned n)
{
    static uint8_t key[KEY];
    be_put(key + KEY - 4, n, 4); /* keys that differ in their last bytes alone */
    return key;
}

static struct recent *filled(size_t entries, unsigned keys)
{
    struct recent *r = NULL;
    assert_int_equal(recent_new(entries, KEY, VALUE, &r), EHIS_OK);
    for (unsigned i = 0; i < keys; i++) {
        uint8_t *value = recent_put(r, key_number(i));
        for (size_t b = 0; b < VALUE; b++)
            assert_int_equal(value[b], 0);
        be_put(value, i, VALUE);
    }
    return r;
}

static void the_newest_keys_are_found_with_their_values_and_the_oldest_are_forgotten(void **state)
{
    (void)state;
    static const size_t sizes[] = {1, 2, 3, 7, 8, 100};
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++)
        for (unsigned keys = 0; keys < 250; keys += 3) {
            struct recent *r = filled(sizes[s], keys);
            for (unsigned i = 0; i < keys; i++) {
                const uint8_t *value = recent_find(r, key_number(i));
                assert_int_equal(value != NULL, keys - i <= sizes[s]);
                if (value)
                    assert_int_equal(be_get(value, VALUE), i);
            }
            assert_null(recent_find(r, key_number(keys)));
            recent_free(r);
        }
}

static void a_key_that_differs_in_any_byte_is_another(void **state)
{
    (void)state;
    struct recent *r = filled(4, 1);
    uint8_t key[KEY];
    memcpy(key, key_number(0), KEY);
    for (size_t i = 0; i < KEY; i++) {
        key[i] ^= 1;
        assert_null(recent_find(r, key));
        key[i] ^= 1;
    }
    assert_non_null(recent_find(r, key));
    recent_free(r);
}

static void dropping_forgets_everything_and_it_can_be_filled_again(void **state)
{
    (void)state;
    struct recent *r = filled(5, 12);
    recent_drop(r);
    for (unsigned i = 0; i < 12; i++)
        assert_null(recent_find(r, key_number(i)));
    for (unsigned i = 0; i < 12; i++)
        be_put(recent_put(r, key_number(i)), i, VALUE);
    assert_int_equal(be_get(recent_find(r, key_number(11)), VALUE), 11);
    assert_null(recent_find(r, key_number(6)));
    recent_free(r);
}

static void sizes_without_meaning_are_refused(void **state)
{
    (void)state;
    struct recent *r = NULL;
    assert_int_equal(recent_new(0, KEY, VALUE, &r), EHIS_E_INVALID);
    assert_int_equal(recent_new(((size_t)1 << 20) + 1, KEY, VALUE, &r), EHIS_E_INVALID);
    assert_null(r);
    recent_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_newest_keys_are_found_with_their_values_and_the_oldest_are_forgotten),
        cmocka_unit_test(a_key_that_differs_in_any_byte_is_another),
        cmocka_unit_test(dropping_forgets_everything_and_it_can_be_filled_again),
        cmocka_unit_test(sizes_without_meaning_are_refused),
    };
    if (crypto_init(NULL) != EHIS_OK)
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
