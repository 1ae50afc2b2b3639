/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
#include "base/err.h"
#include <setjmp.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

static void numbers_rise_and_every_row_is_found_by_its_number(void **state)
{
    (void)state;
    size_t count;
    const struct ehis_err_row *rows = ehis_err_rows(&count);
    assert_true(count > 0);
    for (size_t i = 0; i < count; i++) {
        ehis_err err = EHIS_OK;
        if (i && rows[i - 1].err >= rows[i].err)
            fail_msg("%s (%d) does not stand above %s (%d)", rows[i].name, (int)rows[i].err, rows[i - 1].name, (int)rows[i - 1].err);
        assert_true((int)rows[i].err >= 1000 && (int)rows[i].err < 7000);
        assert_ptr_equal(ehis_err_row(rows[i].err), &rows[i]);
        assert_true(ehis_err_from_number((uint32_t)rows[i].err, &err));
        assert_int_equal(err, rows[i].err);
    }
}

static void names_are_unique_and_texts_are_sentences_without_a_stop(void **state)
{
    (void)state;
    size_t count;
    const struct ehis_err_row *rows = ehis_err_rows(&count);
    for (size_t i = 0; i < count; i++) {
        for (size_t j = 0; j < i; j++)
            assert_string_not_equal(rows[i].name, rows[j].name);
        size_t len = strlen(rows[i].text);
        assert_true(len > 0);
        if (rows[i].text[len - 1] == '.')
            fail_msg("%s ends in a full stop", rows[i].name);
        assert_true(rows[i].class_ > EHIS_CLASS_NONE && rows[i].class_ <= EHIS_CLASS_BUG);
        assert_non_null(rows[i].hint);
    }
}

static void ok_and_unknown_numbers_have_rows(void **state)
{
    (void)state;
    ehis_err err = EHIS_E_IO;
    assert_string_equal(ehis_err_name(EHIS_OK), "OK");
    assert_int_equal(ehis_err_row(EHIS_OK)->class_, EHIS_CLASS_NONE);
    assert_string_equal(ehis_err_name((ehis_err)999999), "UNKNOWN");
    assert_int_equal(ehis_err_row((ehis_err)999999)->class_, EHIS_CLASS_BUG);
    assert_false(ehis_err_from_number(0, &err));
    assert_false(ehis_err_from_number(UINT32_MAX, &err));
    assert_int_equal(err, EHIS_E_IO);
    assert_string_equal(ehis_err_name(EHIS_E_TOO_LARGE), "TOO_LARGE");
}

static void fail_writes_why_and_returns_the_error(void **state)
{
    (void)state;
    struct ehis_why why = {"old"};
    assert_int_equal(ehis_fail(&why, EHIS_E_IO, "%s: %d", "x", 7), EHIS_E_IO);
    assert_string_equal(why.text, "x: 7");
    assert_int_equal(ehis_fail(&why, EHIS_E_IO, "outer: %s", why.text), EHIS_E_IO); /* its own old text as an argument */
    assert_string_equal(why.text, "outer: x: 7");
    assert_int_equal(ehis_fail(NULL, EHIS_E_IO, "x"), EHIS_E_IO);
}

static void fail_lets_no_control_byte_through(void **state)
{
    (void)state;
    struct ehis_why why;
    (void)ehis_fail(&why, EHIS_E_IO, "%s", "a\nb\x1b[2J\x7f\t\xC4\xB1");
    assert_string_equal(why.text, "a?b?[2J??\xC4\xB1");
}

static void fail_cuts_long_text_between_characters(void **state)
{
    (void)state;
    struct ehis_why why;
    char text[600];
    for (size_t lead = 0; lead < 4; lead++) {
        memset(text, 'a', lead);
        for (size_t i = lead; i + 4 < sizeof text; i += 4)
            memcpy(text + i, "\xF0\x9F\x94\x92", 5);
        (void)ehis_fail(&why, EHIS_E_IO, "%s", text);
        size_t len = strlen(why.text);
        assert_int_equal((len - lead) % 4, 0);
        assert_true(len >= sizeof why.text - 5);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_rise_and_every_row_is_found_by_its_number),
        cmocka_unit_test(names_are_unique_and_texts_are_sentences_without_a_stop),
        cmocka_unit_test(ok_and_unknown_numbers_have_rows),
        cmocka_unit_test(fail_writes_why_and_returns_the_error),
        cmocka_unit_test(fail_lets_no_control_byte_through),
        cmocka_unit_test(fail_cuts_long_text_between_characters),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
