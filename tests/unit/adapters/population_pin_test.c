/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
#include "adapters/registers/population/pin.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

static const char alphabet[] = "0123456789ABCDEFGHJKLMNPQRSTUVWXYZ";

static void a_pin_of_a_number_has_its_digits_and_the_check_that_the_rule_gives(void **state)
{
    char pin[PIN_CHARS + 1];
    (void)state;
    pin_from_number(0, pin);
    assert_string_equal(pin, "0000000");
    pin_from_number(1, pin); /* the sixth digit has weight 11: 11 is B */
    assert_string_equal(pin, "000001B");
    pin_from_number(1544804415, pin); /* 33 * (1+3+5+7+9+11) = 1188 = 34 * 34 + 32 */
    assert_string_equal(pin, "ZZZZZZY");
}

static void every_wrong_character_is_found_in_each_place(void **state)
{
    char pin[PIN_CHARS + 1], wrong[PIN_CHARS + 1];
    (void)state;
    for (uint64_t n = 7; n < 1544804416u; n += 15450001) {
        pin_from_number(n, pin);
        assert_true(pin_is_valid(pin));
        for (int i = 0; i < PIN_CHARS; i++)
            for (const char *c = alphabet; *c; c++) {
                memcpy(wrong, pin, sizeof wrong);
                wrong[i] = *c;
                assert_int_equal(pin_is_valid(wrong), *c == pin[i]);
            }
    }
}

static void other_lengths_and_characters_are_no_pins(void **state)
{
    static const char *const bad[] = {"", "000000", "00000000", "000001b", "I000000", "O000000", "00000 0", "Ə00000"};
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_false(pin_is_valid(bad[i]));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_pin_of_a_number_has_its_digits_and_the_check_that_the_rule_gives),
        cmocka_unit_test(every_wrong_character_is_found_in_each_place),
        cmocka_unit_test(other_lengths_and_characters_are_no_pins),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
