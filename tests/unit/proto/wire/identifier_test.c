/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
#include "tests/unit/proto/wire/wire_build.h"

#include "proto/wire/identifier.h"

static ehis_err parse(const char *text, unsigned *parts) { return identifier_parse(span_str(text), parts, NULL); }

static void an_identifier_has_two_to_five_parts(void **s)
{
    (void)s;
    static const char *const texts[] = {"AZ", "AZ/gw1", "AZ/GOV/MIA", "AZ/GOV/MIA/population", "AZ/GOV/MIA/population/person", "AZ/GOV/MIA/population/person/x"};
    for (unsigned i = 0; i < 6; i++) {
        unsigned parts = 0;
        if (i == 0 || i == 5) {
            FAILS(parse(texts[i], &parts), IDENTIFIER_INVALID);
        } else {
            OK(parse(texts[i], &parts));
            assert_int_equal(parts, i + 1);
        }
    }
}

static void empty_parts_dots_at_the_ends_and_two_dots_are_refused(void **s)
{
    (void)s;
    unsigned parts;
    static const char *const bad[] = {"", "/", "A/", "/B", "A//B", "A/.b", "A/b.", "A/a..b", "A/.", "A/..", "A/b/", "A/b/../c", "A/ü", "A/b c", "A/b%41", "A/b:c", "A/b\n"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        FAILS(parse(bad[i], &parts), IDENTIFIER_INVALID);
    static const char *const good[] = {"A/b", "A/a.b", "A/a.b.c", "A/-", "A/_", "-_/0.9", "a/A"};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        OK(parse(good[i], &parts));
    FAILS(identifier_parse(span_of("A/b\0", 4), &parts, NULL), IDENTIFIER_INVALID);
    FAILS(identifier_parse((struct span){0}, &parts, NULL), IDENTIFIER_INVALID);
}

static void exactly_the_alphabet_is_taken(void **s)
{
    (void)s;
    for (unsigned c = 0; c < 256; c++) {
        char text[5] = {'A', '/', 'x', (char)c, 'x'};
        unsigned parts;
        bool is_good = ascii_is_alpha((uint8_t)c) || ascii_is_digit((uint8_t)c) || c == '.' || c == '_' || c == '-' || c == '/';
        assert_int_equal(identifier_parse(span_of(text, 5), &parts, NULL) == EHIS_OK, is_good);
        assert_int_equal(identifier_part_check(span_of(text + 2, 3), NULL) == EHIS_OK, is_good && c != '/');
    }
}

static void a_part_has_at_most_64_bytes_and_the_whole_at_most_200(void **s)
{
    (void)s;
    char text[256];
    unsigned parts;
    memset(text, 'a', sizeof text);
    text[1] = '/';
    OK(identifier_parse(span_of(text, 2 + 63), &parts, NULL));
    OK(identifier_parse(span_of(text, 2 + 64), &parts, NULL));
    FAILS(identifier_parse(span_of(text, 2 + 65), &parts, NULL), IDENTIFIER_INVALID);
    OK(identifier_part_check(span_of(text + 2, 64), NULL));
    FAILS(identifier_part_check(span_of(text + 2, 65), NULL), IDENTIFIER_INVALID);
    FAILS(identifier_part_check(span_of(text + 2, 0), NULL), IDENTIFIER_INVALID);
    for (size_t i = 49; i < sizeof text; i += 50)
        text[i] = '/';
    text[1] = 'a';
    OK(identifier_parse(span_of(text, 199), &parts, NULL));
    text[199] = 'a';
    text[149] = 'a', text[140] = '/';
    OK(identifier_parse(span_of(text, 200), &parts, NULL));
    FAILS(identifier_parse(span_of(text, 201), &parts, NULL), IDENTIFIER_INVALID);
}

static void names_are_compared_byte_for_byte(void **s)
{
    (void)s;
    struct span service = span_str("AZ/GOV/MIA/population/person");
    assert_true(span_eq(identifier_prefix(service, IDENTIFIER_SYSTEM), span_str("AZ/GOV/MIA/population")));
    assert_true(span_eq(identifier_prefix(service, IDENTIFIER_AGENCY), span_str("AZ/GOV/MIA")));
    assert_true(span_eq(identifier_prefix(service, IDENTIFIER_SERVICE), service));
    assert_true(span_eq(identifier_prefix(span_str("AZ/GOV/MIA"), IDENTIFIER_SYSTEM), span_str("AZ/GOV/MIA")));
    assert_false(span_eq(identifier_prefix(service, IDENTIFIER_AGENCY), span_str("AZ/GOV/mia")));
    struct ehis_why why = {""};
    OK(identifier_check(service, IDENTIFIER_SERVICE, &why));
    FAILS(identifier_check(service, IDENTIFIER_SYSTEM, &why), IDENTIFIER_INVALID);
    assert_string_equal(why.text, "5 parts where 4 are wanted");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_identifier_has_two_to_five_parts),
        cmocka_unit_test(empty_parts_dots_at_the_ends_and_two_dots_are_refused),
        cmocka_unit_test(exactly_the_alphabet_is_taken),
        cmocka_unit_test(a_part_has_at_most_64_bytes_and_the_whole_at_most_200),
        cmocka_unit_test(names_are_compared_byte_for_byte),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
