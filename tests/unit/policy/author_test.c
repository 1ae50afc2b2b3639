/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* The registry as people write it: every error has its place and, where there is one, the nearest name. */
#include "policy/registry/author.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/clock.h"
#include "policy/registry/rule.h"

#define NOW INT64_C(1795680000000)
#define LAW "Vergi M\xC9\x99""c\xC9\x99""ll\xC9\x99si 23"

#define REGISTRY_YAML "instance: AZ\nvalidity: {days: 10, grace_hours: 5}\nterms:\n  purposes:\n  - {code: tax.assessment, en: Tax, az: Vergi}\n  - {code: tax.audit}\n  legal_bases:\n  - {code: \"" LAW "\"}\n"
#define SERVICE_HEAD "service: AZ/GOV/MIA/population/person\noperations:\n- {name: GetPerson, schema: p.v1.Get, max_response_bytes: 4096}\n- {name: PersonChanged, kind: event}\nrules:\n"
#define RULE_YAML "- id: POP-1\n  effect: permit\n  consumers: [AZ/GOV/STS/avis-*, AZ/GOV/MIA/population]\n  operations: [GetPerson]\n  purpose: tax.assessment\n  legal_basis: \"" LAW "\"\n  valid: {from: 2026-12-01, until: 2027-12-01T00:00:00+04:00}\n  approval: Protokol 14/2026\n"

struct files { const char *registry, *agency, *system, *gateway, *service; };
static const struct files good = {REGISTRY_YAML, "agency: AZ/GOV/MIA\nname: Ministry\n", "system: AZ/GOV/MIA/population\ncontact: \"a: b\"\nkeys: []\n", "gateway: AZ/gw1\nkeys: []\n", SERVICE_HEAD RULE_YAML};

static ehis_err read_all(const struct files *f, struct author **a, struct registry_draft **d, struct author_validity *v)
{
    static const char *const names[] = {"registry.yaml", "agency.yaml", "system.yaml", "gateway.yaml", "service.yaml"};
    const char *texts[] = {f->registry, f->agency, f->system, f->gateway, f->service};
    assert_int_equal(author_new(a), EHIS_OK);
    for (unsigned i = 0; i < AUTHOR_KINDS; i++)
        if (texts[i])
            assert_int_equal(author_add(*a, (enum author_kind)i, names[i], span_str(texts[i])), EHIS_OK);
    return author_draft(*a, d, v);
}

static void a_folder_becomes_a_document(void **state)
{
    (void)state;
    struct author *a;
    struct registry_draft *d = NULL;
    struct author_validity av = {0};
    struct registry *r;
    struct buf out;
    size_t count;
    assert_int_equal(crypto_init(NULL), EHIS_OK);
    assert_int_equal(read_all(&good, &a, &d, &av), EHIS_OK);
    assert_int_equal(av.days, 10);
    assert_int_equal(av.grace_hours, 5);
    struct registry_validity v = {av.instance, NOW, NOW + 1, 0, 0};
    buf_init(&out, 1 << 20);
    assert_int_equal(registry_build(d, &v, NULL, &out, NULL), EHIS_OK);
    assert_int_equal(registry_from_unverified(buf_span(&out), &r, NULL), EHIS_OK);
    const struct registry_service *s = registry_service(r, span_str("AZ/GOV/MIA/population/person"));
    assert_non_null(s);
    assert_int_equal(s->operation_count, 2);
    assert_int_equal(s->operations[0].max_response_bytes, 4096);
    assert_true(s->operations[1].is_event);
    const struct registry_rule *rules = registry_rules(s, &count);
    assert_int_equal(count, 1);
    assert_int_equal(rules[0].consumer_count, 2);
    assert_int_equal(rules[0].operations, 1);
    assert_true(registry_term_in(&rules[0].legal_bases, registry_term(r, false, span_str(LAW))));
    int64_t until;
    assert_int_equal(time_from_text(span_str("2027-11-30T20:00:00Z"), &until), EHIS_OK);
    assert_int_equal(rules[0].valid_until_ms, until);
    assert_true(span_eq(registry_contact(r, span_str("AZ/GOV/MIA/population")), span_str("a: b")));
    registry_unref(r);
    registry_draft_free(d);
    buf_fini(&out);
    author_free(a);
}

static void every_error_has_its_place_and_the_nearest_name(void **state)
{
    (void)state;
#define REG(text) {text, good.agency, good.system, good.gateway, good.service}
#define SYS(text) {REGISTRY_YAML, good.agency, text, good.gateway, NULL}
#define SVC(text) {REGISTRY_YAML, good.agency, good.system, good.gateway, text}
#define RULE(text) SVC(SERVICE_HEAD text)
#define TAIL "  valid: {from: 2026-12-01, until: 2027-12-01}\n  approval: A\n"
#define BODY "- id: R\n  effect: permit\n  consumers: AZ/GOV/MIA/population\n  operations: GetPerson\n  purpose: tax.audit\n  legal_basis: \"" LAW "\"\n"
    const struct { struct files files; const char *expected; } all[] = {
        {REG(""), "registry.yaml:1:1: \"instance\" is missing"},
        {REG("- a\n"), "registry.yaml:1:1: the file must hold keys with values"},
        {REG("instance: AZ\n"), "registry.yaml:1:1: \"terms\" is missing"},
        {REG("instance: AZ\ninstence: AZ\nterms: {purposes: [], legal_bases: []}\n"), "registry.yaml:2:1: unknown key \"instence\"; did you mean \"instance\"?"},
        {REG("instance: AZ\ninstance: AZ\nterms: {purposes: [], legal_bases: []}\n"), "registry.yaml:2:1: \"instance\" stands here twice"},
        {REG("instance: A/Z\nterms: {purposes: [], legal_bases: []}\n"), "registry.yaml:1:11: "},
        {REG("instance: AZ\nvalidity: {days: 367}\nterms: {purposes: [], legal_bases: []}\n"), "registry.yaml:2:18: \"days\" must be a number up to 366"},
        {REG("instance: AZ\nterms:\n  purposes: [{code: a}, {code: a}]\n  legal_bases: []\n"), "registry.yaml:3:32: the term \"a\" stands twice"},
        {REG("instance: AZ\nterms: &x\n  purposes: []\n"), "registry.yaml:2:8: anchors are not allowed here"},
        {REG("instance: AZ\nterms: *x\n"), "registry.yaml:2:8: "},
        {REG("instance: !!str AZ\n"), "registry.yaml:1:11: tags are not allowed here"},
        {REG("instance: AZ\n---\ninstance: AZ\n"), "registry.yaml:2:1: a second document is not allowed"},
        {REG("instance: AZ\nterms: [[[[[[[[[[]]]]]]]]]]\n"), "nested too deep"},
        {REG("instance: AZ\n  terms: {\n"), "registry.yaml:2:8: "},
        {REG("# Vergi M\xC9\x99\nterms: \"M\xC9\x99\xFFx\"\n"), "registry.yaml:2:11: not UTF-8"},
        {SYS("system: AZ/GOV/MIA\nkeys: []\n"), "system.yaml:1:9: "},
        {SYS("system: AZ/GOV/MIB/x\nkeys: []\n"), "system.yaml:1:9: the agency \"AZ/GOV/MIB\" is not in agencies/"},
        {SYS("system: AZ/GOV/MIA/x\ndisabled: yes\nkeys: []\n"), "system.yaml:2:11: \"disabled\" must be false or true"},
        {SYS("system: AZ/GOV/MIA/x\nkeys:\n- {use: tsl, id: a, public: a, not_before: 2026-01-01}\n"), "system.yaml:3:9: \"use\" must be sign, tls or seal"},
        {SYS("system: AZ/GOV/MIA/x\nkeys:\n- {use: tls, id: a, public: AAAA, not_before: 2026-01-01}\n"), "system.yaml:3:29: the key's bytes do not give its id"},
        {SYS("system: AZ/GOV/MIA/x\nkeys:\n- {use: tls, id: a, public: AAAA, not_before: yesterday}\n"), "system.yaml:3:47: \"not_before\" must be a date"},
        {SVC("service: AZ/GOV/MIA/popluation/person\noperations: []\n"), "service.yaml:1:10: the system \"AZ/GOV/MIA/popluation\" is not in systems/"},
        {SVC("service: AZ/GOV/MIA/population/person\noperations:\n- {name: A, kind: query}\n"), "service.yaml:3:19: \"kind\" must be request or event"},
        {SVC("service: AZ/GOV/MIA/population/person\noperations: [{name: A}, {name: A}]\n"), "service.yaml:2:32: operation \"A\" stands twice"},
        {RULE("- id: R\n  effect: permitt\n  consumers: AZ/GOV/MIA/population\n" TAIL), "service.yaml:7:11: \"effect\" must be permit or forbid"},
        {RULE("- id: R\n  effect: permit\n  consumers: AZ/GOV/MIA/popul\n  operations: GetPersons\n  purpose: tax.audti\n  legal_basis: Vergi\n" TAIL), "service.yaml:9:15: unknown operation \"GetPersons\"; did you mean \"GetPerson\"?"},
        {RULE("- id: R\n  effect: permit\n  consumers: AZ/GOV/MIA/populatio\n  operations: GetPerson\n  purpose: tax.audti\n  legal_basis: Vergi\n" TAIL), "service.yaml:8:14: unknown consumer \"AZ/GOV/MIA/populatio\"; did you mean \"AZ/GOV/MIA/population\"?"},
        {RULE("- id: R\n  effect: permit\n  consumers: AZ/GOV/MIA/population\n  operations: GetPerson\n  purpose: tax.audti\n  legal_basis: Vergi\n" TAIL), "service.yaml:10:12: unknown purpose \"tax.audti\"; did you mean \"tax.audit\"?"},
        {RULE("- id: R\n  effect: permit\n  consumers: AZ/GOV/*\n  operations: GetPerson\n  purpose: tax.audit\n  legal_basis: \"" LAW "\"\n" TAIL), "service.yaml:8:14: a \"*\" may only end the name of a system"},
        {RULE("- id: R\n  effect: permit\n  consumers: []\n  operations: GetPerson\n  purpose: tax.audit\n  legal_basis: \"" LAW "\"\n" TAIL), "service.yaml:6:3: a permitting rule must name consumers"},
        {RULE(BODY "  valid: {from: 2026-12-01}\n  approval: A\n"), "service.yaml:12:10: \"until\" is missing"},
        {RULE(BODY "  valid: {from: 2027-12-01, until: 2027-12-01}\n  approval: A\n"), "service.yaml:12:10: \"until\" must be after \"from\""},
        {RULE(BODY "  valid: {from: 1.12.2026, until: 2027-12-01}\n  approval: A\n"), "service.yaml:12:17: \"from\" must be a date"},
        {RULE(BODY "  valid: {from: 2026-12-01, until: 2027-12-01}\n"), "service.yaml:6:3: \"approval\" is missing"},
        {RULE(BODY TAIL BODY TAIL), "service.yaml:14:7: rule \"R\" stands twice"},
        {RULE(BODY "  fields: [a]\n" TAIL), "service.yaml:12:3: unknown key \"fields\""},
    };
    unsigned wrong = 0;
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        struct author *a;
        struct registry_draft *d = NULL;
        struct author_validity v;
        ehis_err err = read_all(&all[i].files, &a, &d, &v);
        struct span report = author_report(a);
        if (err != EHIS_E_REGISTRY_FORM || !report.len || !memmem(report.p, report.len, all[i].expected, strlen(all[i].expected)))
            wrong += (unsigned)fprintf(stderr, "%zu: expected \"%s\", got %s \"%.*s\"\n", i, all[i].expected, ehis_err_name(err), (int)report.len, (const char *)report.p);
        registry_draft_free(d);
        author_free(a);
    }
    assert_int_equal(wrong, 0);
}

static void at_most_twenty_errors_of_many_are_told(void **state)
{
    (void)state;
    struct author *a;
    struct registry_draft *d = NULL;
    struct author_validity v;
    struct buf b;
    size_t lines = 0;
    buf_init(&b, 1 << 16);
    for (unsigned i = 0; i < 100; i++)
        assert_int_equal(buf_printf(&b, "key%u: 1\n", i), EHIS_OK);
    assert_int_equal(author_new(&a), EHIS_OK);
    assert_int_equal(author_add(a, AUTHOR_REGISTRY, "r", buf_span(&b)), EHIS_OK);
    assert_int_equal(author_draft(a, &d, &v), EHIS_E_REGISTRY_FORM);
    for (size_t i = 0; i < author_report(a).len; i++)
        lines += author_report(a).p[i] == '\n';
    assert_int_equal(lines, SHEET_ERRORS_MAX);
    author_free(a);
    buf_fini(&b);
}

static void a_file_cut_at_any_byte_is_read_or_refused(void **state)
{
    (void)state;
    size_t whole = strlen(good.service), accepted = 0;
    for (size_t n = 0; n < whole; n++) {
        struct author *a;
        struct registry_draft *d = NULL;
        struct author_validity v;
        struct files f = good;
        char *cut = strndup(good.service, n);
        f.service = cut;
        ehis_err err = read_all(&f, &a, &d, &v);
        assert_true(err == EHIS_OK || (err == EHIS_E_REGISTRY_FORM && author_report(a).len));
        accepted += err == EHIS_OK;
        registry_draft_free(d);
        author_free(a);
        free(cut);
    }
    assert_true(accepted > 0 && accepted < 100); /* a cut approval is an approval; a cut list of rules is a shorter one */
}

static void a_file_over_its_bounds_is_refused(void **state)
{
    (void)state;
    struct sheet_report r;
    char *big = malloc(AUTHOR_FILE_BYTES + 2);
    sheet_report_init(&r);
    assert_non_null(big);
    memset(big, ' ', AUTHOR_FILE_BYTES + 1);
    memcpy(big, "a: b\n#", 6);
    struct sheet *s = sheet_parse("f", span_of(big, AUTHOR_FILE_BYTES), AUTHOR_FILE_BYTES, &r);
    assert_non_null(s);
    sheet_free(s);
    assert_null(sheet_parse("f", span_of(big, AUTHOR_FILE_BYTES + 1), AUTHOR_FILE_BYTES, &r));
    assert_int_equal(r.errors, 1);
    memcpy(big, "a: [", 4);
    for (size_t i = 0; i < 65533 * 2; i += 2)
        memcpy(big + 4 + i, "1,", 2);
    big[4 + 65533 * 2] = ']';
    s = sheet_parse("f", span_of(big, 4 + 65533 * 2 + 1), AUTHOR_FILE_BYTES, &r);
    assert_non_null(s); /* with the map and the list 65,535 nodes */
    sheet_free(s);
    for (size_t i = 0; i < 65536 * 2; i += 2)
        memcpy(big + 4 + i, "1,", 2);
    big[4 + 65536 * 2] = ']';
    assert_null(sheet_parse("f", span_of(big, 4 + 65536 * 2 + 1), AUTHOR_FILE_BYTES, &r));
    sheet_report_fini(&r);
    free(big);
}

static void an_owners_file_is_read_as_it_was_written(void **state)
{
    (void)state;
    struct author_owner *o = calloc(1, sizeof *o), *back = calloc(1, sizeof *back);
    struct registry_key k = {.use = USE_SEAL, .algorithm = ALGORITHM_X25519, .public_key = span_str("0123456789abcdef0123456789abcdef"), .not_before_ms = NOW + 7, .retired_ms = NOW + 8};
    struct sheet_report r;
    struct buf b;
    sheet_report_init(&r);
    buf_init(&b, 1 << 16);
    o->owner = (struct registry_owner){.id = span_str("AZ/GOV/MIA/population"), .is_disabled = true};
    o->contact = span_str("a \"quoted\" \\ \x01 " LAW);
    crypto_key_id(k.use, k.algorithm, k.public_key, &k.id);
    assert_int_equal(author_owner_add_key(o, &k), EHIS_OK);
    assert_int_equal(author_owner_add_key(o, &k), EHIS_E_EXISTS);
    assert_int_equal(author_owner_write(o, &b), EHIS_OK);
    struct sheet *s = sheet_parse("f", buf_span(&b), AUTHOR_FILE_BYTES, &r);
    assert_non_null(s);
    assert_true(author_owner_read(&r, s, false, back));
    assert_true(span_eq(back->contact, o->contact));
    assert_true(back->owner.is_disabled);
    assert_int_equal(back->owner.key_count, 1);
    assert_int_equal(back->keys[0].not_before_ms, NOW + 7);
    assert_int_equal(back->keys[0].retired_ms, NOW + 8);
    assert_int_equal(back->keys[0].revoked_ms, 0);
    assert_true(span_eq(back->keys[0].public_key, k.public_key));
    sheet_free(s);
    sheet_report_fini(&r);
    buf_fini(&b);
    free(o);
    free(back);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_folder_becomes_a_document),
        cmocka_unit_test(every_error_has_its_place_and_the_nearest_name),
        cmocka_unit_test(at_most_twenty_errors_of_many_are_told),
        cmocka_unit_test(a_file_cut_at_any_byte_is_read_or_refused),
        cmocka_unit_test(a_file_over_its_bounds_is_refused),
        cmocka_unit_test(an_owners_file_is_read_as_it_was_written),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
