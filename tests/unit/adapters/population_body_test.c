/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
#include "adapters/registers/population/answers.h"
#include "population_scan.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static const char person_json[] = "{\"pin\":\"000001B\",\"surname\":\"Əliyev\",\"given_name\":\"Çingiz\",\"patronymic\":\"Oqtay oğlu\",\"sex\":\"SEX_MALE\",\"birth_date\":\"1970-01-02\","
                                  "\"address\":{\"region\":\"Bakı\",\"city\":\"Nəsimi\",\"street\":\"Şəhidlər xiyabanı, ev 1\"},\"citizenship\":\"AZE\"}";
static const struct body_type find = {&az__gov__mia__population__v1__find_persons_request__descriptor, &scan_az_gov_mia_population_v1_find_persons_request};
static const struct body_type event = {&az__gov__mia__population__v1__person_changed__descriptor, &scan_az_gov_mia_population_v1_person_changed};
static const struct body_type found = {&az__gov__mia__population__v1__find_persons_response__descriptor, &scan_az_gov_mia_population_v1_find_persons_response};

static int make_arena(void **state)
{
    struct arena *a = malloc(sizeof *a);
    *state = a;
    return a && arena_init(a, arena_bytes_for(BODY_MAX_BYTES)) == EHIS_OK ? 0 : -1;
}

static int free_arena(void **state)
{
    arena_fini(*state);
    free(*state);
    return 0;
}

static void a_message_keeps_its_content_from_json_to_protobuf_and_back(void **state)
{
    static const struct { const struct body_type *type; const char *json; } cases[] = {
        {&body_person, person_json},
        {&find, "{\"surname_prefix\":\"Məm\",\"birth_year\":1970,\"limit\":100}"},
        {&event, "{\"pin\":\"000001B\",\"sequence\":9007199254740993,\"changed_at\":\"2026-11-26T08:00:00.000Z\",\"fields\":[\"surname\",\"address\"]}"},
        {&found, "{\"persons\":[{\"pin\":\"000001B\"},{\"pin\":\"0000000\",\"sex\":\"SEX_FEMALE\"}],\"has_more\":true}"},
        {&found, "{\"persons\":[]}"},
    };
    struct arena *a = *state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        ProtobufCMessage *m;
        struct buf bytes, json;
        buf_init(&bytes, BODY_MAX_BYTES);
        buf_init(&json, BODY_MAX_BYTES);
        arena_reset(a);
        assert_int_equal(body_read(cases[i].type, BODY_JSON, span_str(cases[i].json), a, &m, NULL), EHIS_OK);
        assert_int_equal(body_write(m, BODY_PROTOBUF, &bytes), EHIS_OK);
        assert_int_equal(body_read(cases[i].type, BODY_PROTOBUF, buf_span(&bytes), a, &m, NULL), EHIS_OK);
        assert_int_equal(body_write(m, BODY_JSON, &json), EHIS_OK);
        assert_true(span_eq(buf_span(&json), span_str(cases[i].json)));
        buf_fini(&bytes);
        buf_fini(&json);
    }
}

static void hostile_json_is_refused_with_its_own_code(void **state)
{
    static const struct { const struct body_type *type; const char *json; ehis_err err; } cases[] = {
        {&body_person, "", EHIS_E_INVALID},
        {&body_person, "[]", EHIS_E_INVALID},
        {&body_person, "\"000001B\"", EHIS_E_INVALID},
        {&body_person, "{}", EHIS_E_SCAN_MISSING},
        {&body_person, "{\"pin\":\"\"}", EHIS_E_SCAN_MISSING},
        {&body_person, "{\"pin\":\"000001B\"} x", EHIS_E_INVALID},
        {&body_person, "{\"pin\":\"000001B\",\"pin\":\"0000000\"}", EHIS_E_INVALID},
        {&body_person, "{\"pin\":\"000001B\",\"Pin\":\"0000000\"}", EHIS_E_INVALID},
        {&body_person, "{\"pin\":\"000001B\",\"is_admin\":true}", EHIS_E_INVALID},
        {&body_person, "{\"pin\":null}", EHIS_E_INVALID},
        {&body_person, "{\"pin\":1}", EHIS_E_INVALID},
        {&body_person, "{\"pin\":[\"000001B\"]}", EHIS_E_INVALID},
        {&body_person, "{\"pin\":\"00001B\"}", EHIS_E_SCAN_LENGTH},
        {&body_person, "{\"pin\":\"0000001B\"}", EHIS_E_SCAN_LENGTH},
        {&body_person, "{\"pin\":\"000\\u0000001\"}", EHIS_E_INVALID},
        {&body_person, "{\"pin\":\"00000\xc3\"}", EHIS_E_INVALID},
        {&body_person, "{\"pin\":\"000001B\",\"sex\":\"SEX_OTHER\"}", EHIS_E_INVALID},
        {&body_person, "{\"pin\":\"000001B\",\"sex\":2}", EHIS_E_INVALID},
        {&body_person, "{\"pin\":\"000001B\",\"address\":\"Bakı\"}", EHIS_E_INVALID},
        {&body_person, "{\"pin\":\"000001B\",\"address\":{\"city\":\"Bakı\",\"zip\":1}}", EHIS_E_INVALID},
        {&body_person, "{\"pin\":\"000001B\",\"address\":{}}", EHIS_E_SCAN_MISSING},
        {&find, "{\"surname_prefix\":\"M\"}", EHIS_E_SCAN_LENGTH},
        {&find, "{\"surname_prefix\":\"Mə\",\"limit\":-1}", EHIS_E_INVALID},
        {&find, "{\"surname_prefix\":\"Mə\",\"limit\":4294967296}", EHIS_E_INVALID},
        {&find, "{\"surname_prefix\":\"Mə\",\"limit\":1.5}", EHIS_E_INVALID},
        {&find, "{\"surname_prefix\":\"Mə\",\"limit\":\"5\"}", EHIS_E_INVALID},
        {&event, "{\"pin\":\"000001B\",\"fields\":\"address\"}", EHIS_E_INVALID},
        {&event, "{\"pin\":\"000001B\",\"fields\":[\"\"]}", EHIS_E_SCAN_LENGTH},
        {&event, "{\"pin\":\"000001B\",\"fields\":[\"1\",\"2\",\"3\",\"4\",\"5\",\"6\",\"7\",\"8\",\"9\"]}", EHIS_E_SCAN_COUNT},
    };
    ProtobufCMessage *m;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct ehis_why why = {""};
        arena_reset(*state);
        ehis_err err = body_read(cases[i].type, BODY_JSON, span_str(cases[i].json), *state, &m, &why);
        if (err != cases[i].err)
            fail_msg("%s: %s (%s), not %s", cases[i].json, ehis_err_name(err), why.text, ehis_err_name(cases[i].err));
    }
}

static void json_cut_at_any_byte_or_nested_deeply_is_refused(void **state)
{
    ProtobufCMessage *m;
    char deep[40001];
    for (size_t n = 0; n + 1 < sizeof person_json - 1; n++) {
        arena_reset(*state);
        assert_int_not_equal(body_read(&body_person, BODY_JSON, span_of(person_json, n), *state, &m, NULL), EHIS_OK);
    }
    memset(deep, '[', sizeof deep - 1);
    deep[sizeof deep - 1] = 0;
    assert_int_equal(body_read(&body_person, BODY_JSON, span_str(deep), *state, &m, NULL), EHIS_E_INVALID);
    memcpy(deep, "{\"pin\":", 7);
    assert_int_equal(body_read(&body_person, BODY_JSON, span_str(deep), *state, &m, NULL), EHIS_E_INVALID);
}

static void protobuf_cut_at_any_byte_or_with_a_tail_is_refused_or_whole(void **state)
{
    ProtobufCMessage *m;
    struct buf bytes;
    buf_init(&bytes, BODY_MAX_BYTES);
    assert_int_equal(body_read(&body_person, BODY_JSON, span_str(person_json), *state, &m, NULL), EHIS_OK);
    assert_int_equal(body_write(m, BODY_PROTOBUF, &bytes), EHIS_OK);
    struct span whole = buf_span(&bytes);
    for (size_t n = 0; n < whole.len; n++) { /* a cut between two fields is a shorter message, and that is all */
        arena_reset(*state);
        ehis_err err = body_read(&body_person, BODY_PROTOBUF, span_of(whole.p, n), *state, &m, NULL);
        assert_true(err != EHIS_OK || protobuf_c_message_get_packed_size(m) == n);
    }
    assert_int_equal(buf_put_u8(&bytes, 0), EHIS_OK);
    assert_int_equal(body_read(&body_person, BODY_PROTOBUF, buf_span(&bytes), *state, &m, NULL), EHIS_E_SCAN_UNKNOWN_FIELD);
    buf_fini(&bytes);
}

static void a_body_may_be_as_long_as_its_bound_and_no_longer(void **state)
{
    static char text[BODY_MAX_BYTES + 1];
    ProtobufCMessage *m;
    memset(text, ' ', sizeof text);
    memcpy(text, "{\"pin\":\"000001B\"}", 17);
    assert_int_equal(body_read(&body_person, BODY_JSON, span_of(text, BODY_MAX_BYTES - 1), *state, &m, NULL), EHIS_OK);
    assert_int_equal(body_read(&body_person, BODY_JSON, span_of(text, BODY_MAX_BYTES), *state, &m, NULL), EHIS_OK);
    assert_int_equal(body_read(&body_person, BODY_JSON, span_of(text, BODY_MAX_BYTES + 1), *state, &m, NULL), EHIS_E_TOO_LARGE);
}

static void content_types_are_the_two_and_no_other(void **state)
{
    enum body_format f;
    (void)state;
    assert_int_equal(body_format_from_text("application/json", &f), EHIS_OK);
    assert_int_equal(f, BODY_JSON);
    assert_int_equal(body_format_from_text("application/x-protobuf", &f), EHIS_OK);
    assert_int_equal(f, BODY_PROTOBUF);
    assert_int_equal(body_format_from_text("text/xml", &f), EHIS_E_UNSUPPORTED);
    assert_int_equal(body_format_from_text("", &f), EHIS_E_UNSUPPORTED);
    assert_int_equal(body_format_from_text(NULL, &f), EHIS_E_UNSUPPORTED);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, make_arena, free_arena)
int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_message_keeps_its_content_from_json_to_protobuf_and_back),
        TEST(hostile_json_is_refused_with_its_own_code),
        TEST(json_cut_at_any_byte_or_nested_deeply_is_refused),
        TEST(protobuf_cut_at_any_byte_or_with_a_tail_is_refused_or_whole),
        TEST(a_body_may_be_as_long_as_its_bound_and_no_longer),
        TEST(content_types_are_the_two_and_no_other),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
