/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* SPEC 10: deny by default, forbid beats permit, every denial has its code and names what failed. */
#include "policy/decide/decide.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "policy/registry/rule.h"
#include "tests/support/sim_clock.h"
#include "tests/support/test_registry.h"

#define NOW INT64_C(1795680000000)
#define DAY INT64_C(86400000)
#define PERSON "AZ/GOV/MIA/population/person"
#define LAW "Vergi M\xC9\x99""c\xC9\x99""ll\xC9\x99si 23"

static struct test_registry *make(void)
{
    struct test_registry *t = test_registry_new(7, NOW);
    test_registry_gateway(t, "AZ/gw1", span_str(""));
    const char *systems[] = {"AZ/GOV/MIA/population", "AZ/GOV/STS/avis-web", "AZ/GOV/STS/avis-batch", "AZ/GOV/STS/other", "AZ/GOV/EDU/school", "AZ/GOV/STS2/avis-web"};
    for (size_t i = 0; i < sizeof systems / sizeof *systems; i++)
        test_registry_system(t, systems[i], span_str(""));
    test_registry_service(t, PERSON, "GetPerson|FindPersons|!PersonChanged|!PersonDied");
    test_registry_rule(t, PERSON, &(struct test_rule){.id = "POP-1", .consumers = "AZ/GOV/STS/avis-*", .operations = "GetPerson", .purposes = "tax.assessment|tax.refund", .legal_bases = LAW});
    test_registry_rule(t, PERSON, &(struct test_rule){.id = "POP-2", .consumers = "AZ/GOV/STS/avis-web|AZ/GOV/EDU/school", .operations = "GetPerson|PersonChanged", .purposes = "tax.audit", .legal_bases = "Law 1"});
    test_registry_rule(t, PERSON, &(struct test_rule){.id = "POP-3", .consumers = "AZ/GOV/STS/*", .operations = "FindPersons", .purposes = "tax.audit", .legal_bases = "Law 1", .is_forbid = true});
    test_registry_rule(t, PERSON, &(struct test_rule){.id = "POP-4", .consumers = "AZ/GOV/STS/avis-web|AZ/GOV/EDU/school", .operations = "FindPersons", .purposes = "tax.audit|tax.refund", .legal_bases = "Law 1"});
    test_registry_rule(t, PERSON, &(struct test_rule){.id = "POP-5", .consumers = "AZ/GOV/STS/other", .operations = "GetPerson", .purposes = "tax.audit", .legal_bases = "Law 1", .valid_from_ms = NOW + DAY, .valid_until_ms = NOW + 2 * DAY});
    test_registry_service(t, "AZ/GOV/MIA/population/empty", "Ping");
    return t;
}

struct one { enum decide_what what; const char *consumer, *service, *operation, *purpose, *basis; int64_t at_ms; ehis_err code; const char *rule, *failed; bool is_named; };

static void ask(const struct registry *r, const struct one *o)
{
    struct decide_question q = {o->what, span_str(o->consumer), span_str(o->service), span_str(o->operation), span_str(o->purpose), span_str(o->basis), o->at_ms};
    struct decide_answer a;
    decide(r, &q, &a);
    if (a.code != o->code || !span_eq(a.rule, span_str(o->rule)) || strcmp(a.failed, o->failed) != 0 || a.is_consumer_named != o->is_named)
        fail_msg("%s %s for %s: %s, rule \"%.*s\", failed \"%s\", named %d", o->consumer, o->operation, o->purpose, ehis_err_name(a.code), (int)a.rule.len, (const char *)a.rule.p, a.failed, a.is_consumer_named);
    assert_int_equal(a.is_permitted, o->code == EHIS_OK);
    assert_int_equal(decide_code_for_consumer(&a), o->is_named ? o->code : EHIS_E_POLICY_NO_RULE);
}

static void every_denial_has_its_code_and_names_the_one_condition_that_failed(void **state)
{
    (void)state;
    struct test_registry *t = make();
    struct registry *r = test_registry_publish(t);
    static const struct one all[] = {
        {DECIDE_CALL, "AZ/GOV/STS/avis-web", PERSON, "GetPerson", "tax.assessment", LAW, NOW, EHIS_OK, "POP-1", "", true},
        {DECIDE_CALL, "AZ/GOV/STS/avis-batch", PERSON, "GetPerson", "tax.refund", LAW, NOW, EHIS_OK, "POP-1", "", true},
        {DECIDE_CALL, "AZ/GOV/STS/avis-web", PERSON, "GetPerson", "tax.audit", "Law 1", NOW, EHIS_OK, "POP-2", "", true},
        {DECIDE_CALL, "AZ/GOV/STS/avis-batch", PERSON, "GetPerson", "tax.audit", LAW, NOW, EHIS_E_POLICY_PURPOSE, "POP-1", "purpose", true},
        {DECIDE_CALL, "AZ/GOV/STS/avis-batch", PERSON, "GetPerson", "no.such", LAW, NOW, EHIS_E_POLICY_PURPOSE, "POP-1", "purpose", true},
        {DECIDE_CALL, "AZ/GOV/STS/avis-batch", PERSON, "GetPerson", "tax.refund", "Law 1", NOW, EHIS_E_POLICY_LEGAL_BASIS, "POP-1", "legal_basis", true},
        {DECIDE_CALL, "AZ/GOV/STS/avis-batch", PERSON, "GetPerson", "", "", NOW, EHIS_E_POLICY_NO_RULE, "POP-1", "purpose", true},
        {DECIDE_CALL, "AZ/GOV/STS/avis-batch", PERSON, "FindPersons", "tax.refund", LAW, NOW, EHIS_E_POLICY_OPERATION, "POP-1", "operation", true},
        {DECIDE_CALL, "AZ/GOV/STS/other", PERSON, "GetPerson", "tax.audit", "Law 1", NOW, EHIS_E_POLICY_NOT_YET_VALID, "POP-5", "valid_from", true},
        {DECIDE_CALL, "AZ/GOV/STS/other", PERSON, "GetPerson", "tax.audit", "Law 1", NOW + DAY - 1, EHIS_E_POLICY_NOT_YET_VALID, "POP-5", "valid_from", true},
        {DECIDE_CALL, "AZ/GOV/STS/other", PERSON, "GetPerson", "tax.audit", "Law 1", NOW + DAY, EHIS_OK, "POP-5", "", true},
        {DECIDE_CALL, "AZ/GOV/STS/other", PERSON, "GetPerson", "tax.audit", "Law 1", NOW + 2 * DAY - 1, EHIS_OK, "POP-5", "", true},
        {DECIDE_CALL, "AZ/GOV/STS/other", PERSON, "GetPerson", "tax.audit", "Law 1", NOW + 2 * DAY, EHIS_E_POLICY_NO_LONGER_VALID, "POP-5", "valid_until", true},
        {DECIDE_CALL, "AZ/GOV/STS/avis-web", PERSON, "FindPersons", "tax.audit", "Law 1", NOW, EHIS_E_POLICY_FORBIDDEN, "POP-3", "", true},
        {DECIDE_CALL, "AZ/GOV/STS/avis-web", PERSON, "FindPersons", "tax.refund", "Law 1", NOW, EHIS_OK, "POP-4", "", true},
        {DECIDE_CALL, "AZ/GOV/EDU/school", PERSON, "FindPersons", "tax.audit", "Law 1", NOW, EHIS_OK, "POP-4", "", true},
        {DECIDE_CALL, "AZ/GOV/STS2/avis-web", PERSON, "GetPerson", "tax.assessment", LAW, NOW, EHIS_E_POLICY_CONSUMER, "POP-1", "consumer", false},
        {DECIDE_CALL, "AZ/GOV/STS/avis-none", PERSON, "GetPerson", "tax.assessment", LAW, NOW, EHIS_E_POLICY_CONSUMER, "POP-1", "consumer", false},
        {DECIDE_CALL, "AZ/GOV/STS/avis-*", PERSON, "GetPerson", "tax.assessment", LAW, NOW, EHIS_E_POLICY_CONSUMER, "POP-1", "consumer", false},
        {DECIDE_CALL, "AZ/gw1", PERSON, "GetPerson", "tax.assessment", LAW, NOW, EHIS_E_POLICY_CONSUMER, "POP-1", "consumer", false},
        {DECIDE_CALL, "AZ/GOV/EDU/school", "AZ/GOV/MIA/population/empty", "Ping", "tax.audit", "Law 1", NOW, EHIS_E_POLICY_NO_RULE, "", "", false},
        {DECIDE_CALL, "AZ/GOV/EDU/school", "AZ/GOV/MIA/population/nothing", "Ping", "tax.audit", "Law 1", NOW, EHIS_E_POLICY_UNKNOWN_SERVICE, "", "service", false},
        {DECIDE_CALL, "AZ/GOV/EDU/school", PERSON, "Nothing", "tax.audit", "Law 1", NOW, EHIS_E_POLICY_UNKNOWN_OPERATION, "", "operation", true},
        {DECIDE_CALL, "AZ/GOV/EDU/school", PERSON, "PersonChanged", "tax.audit", "Law 1", NOW, EHIS_E_POLICY_UNKNOWN_OPERATION, "", "operation", true},
        {DECIDE_CALL, "AZ/GOV/STS2/avis-web", PERSON, "Nothing", "tax.audit", "Law 1", NOW, EHIS_E_POLICY_UNKNOWN_OPERATION, "", "operation", false},
        {DECIDE_RECEIVE, "AZ/GOV/EDU/school", PERSON, "PersonChanged", "", "", NOW, EHIS_OK, "POP-2", "", true},
        {DECIDE_RECEIVE, "AZ/GOV/EDU/school", PERSON, "PersonChanged", "tax.refund", "Law 1", NOW, EHIS_E_POLICY_PURPOSE, "POP-2", "purpose", true},
        {DECIDE_RECEIVE, "AZ/GOV/EDU/school", PERSON, "GetPerson", "", "", NOW, EHIS_E_POLICY_UNKNOWN_OPERATION, "", "operation", true},
        {DECIDE_RECEIVE, "AZ/GOV/EDU/school", PERSON, "PersonDied", "", "", NOW, EHIS_E_POLICY_OPERATION, "POP-2", "operation", true},
        {DECIDE_PUBLISH, "AZ/GOV/MIA/population", PERSON, "PersonChanged", "", "", NOW, EHIS_OK, "", "", true},
        {DECIDE_PUBLISH, "AZ/GOV/MIA/population", PERSON, "GetPerson", "", "", NOW, EHIS_E_POLICY_UNKNOWN_OPERATION, "", "operation", true},
        {DECIDE_PUBLISH, "AZ/GOV/EDU/school", PERSON, "PersonChanged", "", "", NOW, EHIS_E_POLICY_CONSUMER, "", "consumer", false},
        {DECIDE_CALL, "AZ/GOV/STS/avis-web", PERSON, "GetPerson", "tax.assessment", LAW, 0, EHIS_E_POLICY_EVALUATION, "", "question", false},
        {(enum decide_what)3, "AZ/GOV/STS/avis-web", PERSON, "GetPerson", "tax.assessment", LAW, NOW, EHIS_E_POLICY_EVALUATION, "", "question", false},
        {DECIDE_CALL, "", PERSON, "GetPerson", "tax.assessment", LAW, NOW, EHIS_E_POLICY_EVALUATION, "", "question", false},
        {DECIDE_CALL, "AZ/GOV/STS/avis-web", PERSON, "GetPerson", "tax.assessment", LAW, NOW + 33 * DAY, EHIS_OK, "POP-1", "", true},
        {DECIDE_CALL, "AZ/GOV/STS/avis-web", PERSON, "GetPerson", "tax.assessment", LAW, NOW + 33 * DAY + 1, EHIS_E_POLICY_EVALUATION, "", "registry", false},
    };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        ask(r, &all[i]);
    registry_unref(r);
    test_registry_free(t);
}

static void a_disabled_system_is_named_by_no_rule_and_publishes_nothing(void **state)
{
    (void)state;
    struct test_registry *t = make();
    test_registry_disable(t, "AZ/GOV/STS/avis-web", true);
    test_registry_disable(t, "AZ/GOV/MIA/population", true);
    struct registry *r = test_registry_publish(t);
    ask(r, &(struct one){DECIDE_CALL, "AZ/GOV/STS/avis-web", PERSON, "GetPerson", "tax.assessment", LAW, NOW, EHIS_E_POLICY_CONSUMER, "POP-1", "consumer", false});
    ask(r, &(struct one){DECIDE_PUBLISH, "AZ/GOV/MIA/population", PERSON, "PersonChanged", "", "", NOW, EHIS_E_POLICY_CONSUMER, "", "consumer", true});
    registry_unref(r);
    test_registry_free(t);
}

static void count_each(void *ctx, const struct registry_owner *system)
{
    static const char *const expected[] = {"AZ/GOV/STS/avis-web", "AZ/GOV/EDU/school"};
    size_t *n = ctx;
    assert_true(*n < 2 && span_eq(system->id, span_str(expected[*n])));
    ++*n;
}

static void receivers_of_an_event_come_once_each(void **state)
{
    (void)state;
    struct test_registry *t = make();
    test_registry_rule(t, PERSON, &(struct test_rule){.id = "POP-6", .consumers = "AZ/GOV/EDU/*", .operations = "PersonChanged", .purposes = "tax.refund", .legal_bases = "Law 1"});
    struct registry *r = test_registry_publish(t), *part = test_registry_part(t, "AZ/GOV/MIA/population");
    size_t n = 0;
    decide_receivers(r, span_str(PERSON), span_str("PersonChanged"), NOW, count_each, &n);
    assert_int_equal(n, 2);
    n = 0;
    decide_receivers(part, span_str(PERSON), span_str("PersonChanged"), NOW, count_each, &n);
    assert_int_equal(n, 2);
    decide_receivers(r, span_str(PERSON), span_str("PersonDied"), NOW, count_each, &n);
    assert_int_equal(n, 2);
    registry_unref(r);
    registry_unref(part);
    test_registry_free(t);
}

static void an_explanation_names_every_rule_and_what_failed_of_it(void **state)
{
    (void)state;
    struct test_registry *t = make();
    struct registry *r = test_registry_publish(t);
    struct decide_question q = {DECIDE_CALL, span_str("AZ/GOV/STS/avis-batch"), span_str(PERSON), span_str("GetPerson"), span_str("tax.audit"), span_str(LAW), NOW};
    struct buf b;
    buf_init(&b, 4096);
    assert_int_equal(decide_explain(r, &q, &b), EHIS_OK);
    assert_int_equal(buf_put_u8(&b, 0), EHIS_OK);
    const char *text = (const char *)buf_span(&b).p;
    assert_non_null(strstr(text, "DENY POLICY_PURPOSE"));
    assert_non_null(strstr(text, "nearest rule: POP-1, which differs in purpose"));
    assert_non_null(strstr(text, "- POP-2 (permits): differs in consumer, legal_basis"));
    assert_non_null(strstr(text, "- POP-3 (forbids): differs in operation, legal_basis"));
    assert_non_null(strstr(text, "5 rules considered"));
    buf_fini(&b);
    registry_unref(r);
    test_registry_free(t);
}

/* The plainest reading of the rules as they were written. */
struct written { char id[24], consumers[128], operations[64], purposes[32], bases[32]; bool is_forbid; int64_t from, until; };

static bool lists(const char *list, const char *word, bool is_pattern)
{
    for (const char *p = list, *end; *p; p = *end ? end + 1 : end) {
        end = strchr(p, '|') ? strchr(p, '|') : p + strlen(p);
        size_t n = (size_t)(end - p);
        if (strlen(word) == n && memcmp(p, word, n) == 0)
            return true;
        if (is_pattern && p[n - 1] == '*' && strncmp(p, word, n - 1) == 0 && !strchr(word + n - 1, '/'))
            return true;
    }
    return false;
}

static void pick(uint64_t *seed, const char *const *from, size_t n, char *out, size_t room, bool may_be_empty)
{
    size_t at = 0;
    out[0] = '\0';
    for (size_t i = 0; i < n; i++)
        if (sim_random_below(seed, 2))
            at += (size_t)snprintf(out + at, room - at, "%s%s", at ? "|" : "", from[i]);
    if (at == 0 && !may_be_empty)
        snprintf(out, room, "%s", from[sim_random_below(seed, n)]);
}

static void random_registries_decide_as_their_rules_read_whole_and_in_part(void **state)
{
    static const char *const systems[] = {"AZ/G/A/s", "AZ/G/A/sub", "AZ/G/A/x", "AZ/G/B/s", "AZ/G/P/p"};
    static const char *const consumers[] = {"AZ/G/A/s", "AZ/G/A/s*", "AZ/G/A/*", "AZ/G/B/s", "AZ/G/A/x"};
    static const char *const operations[] = {"Get", "Find", "Changed"}, *const purposes[] = {"a", "b", "c"}, *const bases[] = {"l", "m"};
    (void)state;
    for (uint64_t run = 0; run < 60; run++) {
        uint64_t seed = run;
        struct written rules[6];
        struct test_registry *t = test_registry_new(run, NOW);
        size_t count = sim_random_below(&seed, 7);
        for (size_t i = 0; i < 5; i++)
            test_registry_system(t, systems[i], span_str(""));
        test_registry_service(t, "AZ/G/P/p/svc", "Get|Find|!Changed");
        test_registry_service(t, "AZ/G/A/x/terms", "T"); /* so that all terms exist */
        test_registry_rule(t, "AZ/G/A/x/terms", &(struct test_rule){.id = "T", .consumers = "AZ/G/P/p", .operations = "T", .purposes = "a|b|c", .legal_bases = "l|m"});
        for (size_t i = 0; i < count; i++) {
            struct written *w = &rules[i];
            snprintf(w->id, sizeof w->id, "R%zu", i);
            w->is_forbid = sim_random_below(&seed, 4) == 0;
            pick(&seed, consumers, 5, w->consumers, sizeof w->consumers, false);
            pick(&seed, operations, 3, w->operations, sizeof w->operations, w->is_forbid);
            pick(&seed, purposes, 3, w->purposes, sizeof w->purposes, w->is_forbid);
            pick(&seed, bases, 2, w->bases, sizeof w->bases, w->is_forbid);
            w->from = NOW - 10 + (int64_t)sim_random_below(&seed, 15);
            w->until = w->from + 1 + (int64_t)sim_random_below(&seed, 15);
            test_registry_rule(t, "AZ/G/P/p/svc", &(struct test_rule){w->id, w->consumers, w->operations, w->purposes, w->bases, w->is_forbid, w->from, w->until});
        }
        struct registry *r = test_registry_publish(t), *part = test_registry_part(t, "AZ/G/P/p");
        for (unsigned k = 0; k < 200; k++) {
            const char *c = systems[sim_random_below(&seed, 5)], *o = operations[sim_random_below(&seed, 3)], *p = purposes[sim_random_below(&seed, 3)], *b = bases[sim_random_below(&seed, 2)];
            struct decide_question q = {strcmp(o, "Changed") == 0 ? DECIDE_RECEIVE : DECIDE_CALL, span_str(c), span_str("AZ/G/P/p/svc"), span_str(o), span_str(p), span_str(b), NOW + (int64_t)sim_random_below(&seed, 5)};
            const char *permit = NULL, *forbid = NULL;
            for (size_t i = 0; i < count; i++) {
                const struct written *w = &rules[i];
                bool holds = lists(w->consumers, c, true) && (lists(w->operations, o, false) || !w->operations[0]) && (lists(w->purposes, p, false) || !w->purposes[0]) &&
                             (lists(w->bases, b, false) || !w->bases[0]) && q.at_ms >= w->from && q.at_ms < w->until;
                if (holds && w->is_forbid && !forbid)
                    forbid = w->id;
                else if (holds && !w->is_forbid && !permit)
                    permit = w->id;
            }
            struct decide_answer whole, cut;
            decide(r, &q, &whole);
            decide(part, &q, &cut);
            assert_int_equal(whole.is_permitted, permit && !forbid);
            if (forbid || permit)
                assert_true(span_eq(whole.rule, span_str(forbid ? forbid : permit)));
            assert_int_equal(whole.code, cut.code);
            assert_int_equal(whole.is_consumer_named, cut.is_consumer_named);
            assert_string_equal(whole.failed, cut.failed);
            assert_true(span_eq(whole.rule, cut.rule));
        }
        registry_unref(r);
        registry_unref(part);
        test_registry_free(t);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_denial_has_its_code_and_names_the_one_condition_that_failed),
        cmocka_unit_test(a_disabled_system_is_named_by_no_rule_and_publishes_nothing),
        cmocka_unit_test(receivers_of_an_event_come_once_each),
        cmocka_unit_test(an_explanation_names_every_rule_and_what_failed_of_it),
        cmocka_unit_test(random_registries_decide_as_their_rules_read_whole_and_in_part),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
