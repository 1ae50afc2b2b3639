/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
#include "tests/unit/adapters/population_rig.h"

static void ask(struct rig *r, const char *operation, const char *type, struct span body, struct answer *out)
{
    assert_int_equal(answers_make(&r->answers, operation, type, body, out), EHIS_OK);
}

static bool has(const struct answer *a, const char *text) { return memmem(buf_span(&a->body).p, a->body.len, text, strlen(text)) != NULL; }

static void a_person_is_answered_in_the_form_of_the_request_with_the_names_of_its_fields(void **state)
{
    struct rig *r = *state;
    struct answer a;
    char json[64], expected[64];
    uint8_t pb[9] = {1 << 3 | 2, 7};
    snprintf(json, sizeof json, "{\"pin\":\"%s\"}", rig_first_pin);
    snprintf(expected, sizeof expected, "{\"person\":{\"pin\":\"%s\",", rig_first_pin);
    ask(r, "GetPerson", "application/json", span_str(json), &a);
    assert_false(a.is_fault);
    assert_string_equal(a.content_type, "application/json");
    assert_true(has(&a, expected));
    assert_int_equal(a.field_count, 8);
    assert_string_equal(a.fields[0], "pin");
    assert_string_equal(a.fields[7], "citizenship");
    buf_fini(&a.body);
    memcpy(pb + 2, rig_first_pin, 7);
    ask(r, "GetPerson", "application/x-protobuf", span_of(pb, sizeof pb), &a);
    assert_false(a.is_fault);
    assert_string_equal(a.content_type, "application/x-protobuf");
    assert_true(memmem(buf_span(&a.body).p, 16, pb, sizeof pb)); /* the person's first field, behind its own tag and length */
    buf_fini(&a.body);
}

static void every_fault_has_its_code_and_gives_away_no_field(void **state)
{
    static const struct { const char *operation, *type, *body, *code; } cases[] = {
        {"GetPerson", "application/json", "{\"pin\":\"0000000\"}", "NOT_FOUND"},
        {"GetPerson", "application/json", "{\"pin\":\"0000001\"}", "BAD_PIN"},
        {"GetPerson", "application/json", "{\"pin\":\"000001b\"}", "BAD_PIN"},
        {"GetPerson", "application/json", "{\"pin\":\"00\"}", "BAD_REQUEST"},
        {"GetPerson", "application/json", "{\"pin\":\"0000000\",\"x\":1}", "BAD_REQUEST"},
        {"GetPerson", "application/x-protobuf", "\xff", "BAD_REQUEST"},
        {"GetPerson", "application/x-protobuf", "", "BAD_REQUEST"},
        {"GetPerson", "text/xml", "<pin/>", "UNSUPPORTED_TYPE"},
        {"DropPersons", "application/json", "{}", "BAD_REQUEST"},
        {"FindPersons", "application/json", "{\"surname_prefix\":\"Mə\",\"limit\":101}", "TOO_MANY"},
        {"FindPersons", "application/json", "{\"surname_prefix\":\"M\"}", "BAD_REQUEST"},
    };
    struct rig *r = *state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct answer a;
        ProtobufCMessage *m;
        enum body_format format;
        ask(r, cases[i].operation, cases[i].type, span_str(cases[i].body), &a);
        assert_true(a.is_fault);
        assert_string_equal(a.code, cases[i].code);
        assert_int_equal(a.field_count, 0);
        assert_int_equal(body_format_from_text(a.content_type, &format), EHIS_OK);
        arena_reset(&r->arena);
        assert_int_equal(body_read(&body_fault, format, buf_span(&a.body), &r->arena, &m, NULL), EHIS_OK); /* as published */
        assert_true(has(&a, cases[i].code));
        buf_fini(&a.body);
    }
}

static void a_hundred_persons_are_the_most_that_are_found(void **state)
{
    struct rig *r = *state;
    struct answer a;
    ask(r, "FindPersons", "application/json", span_str("{\"surname_prefix\":\"Mə\",\"limit\":100}"), &a);
    assert_false(a.is_fault);
    assert_int_equal(a.field_count, 8);
    buf_fini(&a.body);
    ask(r, "FindPersons", "application/json", span_str("{\"surname_prefix\":\"Mə\",\"limit\":1}"), &a);
    assert_true(has(&a, "\"has_more\":true"));
    buf_fini(&a.body);
    ask(r, "FindPersons", "application/json", span_str("{\"surname_prefix\":\"Yoxdur\"}"), &a);
    assert_true(span_eq(buf_span(&a.body), span_str("{\"persons\":[]}")));
    assert_int_equal(a.field_count, 0); /* nothing about anybody was returned */
    buf_fini(&a.body);
}

static void a_register_that_cannot_be_read_says_so_and_no_more(void **state)
{
    struct rig *r = *state;
    struct answer a;
    struct people *kept = r->answers.people;
    char json[64];
    snprintf(json, sizeof json, "{\"pin\":\"%s\"}", rig_first_pin);
    FILE *f = fopen(r->file, "r+");
    uint8_t junk[65536];
    memset(junk, 0xa5, sizeof junk);
    people_close(kept); /* everything goes from the WAL into the file */
    assert_int_equal(people_open(r->file, false, &r->people, NULL), EHIS_OK);
    r->answers.people = r->people;
    fseek(f, 4096, SEEK_SET);
    for (int i = 0; i < 8; i++)
        assert_int_equal(fwrite(junk, 1, sizeof junk, f), sizeof junk);
    fclose(f);
    ask(r, "GetPerson", "application/json", span_str(json), &a);
    assert_true(a.is_fault);
    assert_string_equal(a.code, "UNAVAILABLE");
    assert_false(has(&a, "database"));
    buf_fini(&a.body);
}

static void an_event_names_what_has_changed_and_not_how(void **state)
{
    struct people_change c = {.sequence = 5, .pin = "000001B", .fields = "surname address", .at_ms = 0};
    struct buf out;
    (void)state;
    buf_init(&out, BODY_MAX_BYTES);
    assert_int_equal(answers_event(&c, BODY_JSON, &out), EHIS_OK);
    assert_true(span_eq(buf_span(&out), span_str("{\"pin\":\"000001B\",\"sequence\":5,\"changed_at\":\"1970-01-01T00:00:00.000Z\",\"fields\":[\"surname\",\"address\"]}")));
    buf_fini(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        RIG_TEST(a_person_is_answered_in_the_form_of_the_request_with_the_names_of_its_fields),
        RIG_TEST(every_fault_has_its_code_and_gives_away_no_field),
        RIG_TEST(a_hundred_persons_are_the_most_that_are_found),
        RIG_TEST(a_register_that_cannot_be_read_says_so_and_no_more),
        RIG_TEST(an_event_names_what_has_changed_and_not_how),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
