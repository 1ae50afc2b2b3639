/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* Every allocation fails once, for each reader: NO_MEMORY, nothing leaks, nothing is half made. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "policy/registry/author.h"
#include "tests/support/test_registry.h"

#define NOW INT64_C(1795680000000)

/* The linker's --wrap sends our code's allocations here. */
static size_t countdown = SIZE_MAX;
static bool is_failing(void) { return countdown != SIZE_MAX && countdown-- == 0; }
void *__real_malloc(size_t n);
void *__real_calloc(size_t n, size_t m);
void *__real_realloc(void *p, size_t n);
void *__real_reallocarray(void *p, size_t n, size_t m);
void *__wrap_malloc(size_t n);
void *__wrap_calloc(size_t n, size_t m);
void *__wrap_realloc(void *p, size_t n);
void *__wrap_reallocarray(void *p, size_t n, size_t m);
void *__wrap_malloc(size_t n) { return is_failing() ? NULL : __real_malloc(n); }
void *__wrap_calloc(size_t n, size_t m) { return is_failing() ? NULL : __real_calloc(n, m); }
void *__wrap_realloc(void *p, size_t n) { return is_failing() ? NULL : __real_realloc(p, n); }
void *__wrap_reallocarray(void *p, size_t n, size_t m) { return is_failing() ? NULL : __real_reallocarray(p, n, m); }

static struct test_registry *t;
static struct registry *first;
static struct buf second, part;

static ehis_err read_document(void)
{
    struct registry *r = NULL;
    struct ehis_why why;
    ehis_err err = registry_from_document(buf_span(&second), test_registry_trust(t), first, NOW, &r, &why);
    assert_true((r != NULL) == (err == EHIS_OK));
    registry_unref(r);
    return err;
}

static ehis_err read_part(void)
{
    struct registry *r = NULL;
    ehis_err err = registry_from_part(buf_span(&part), test_registry_trust(t), first, NOW, &r, NULL);
    registry_unref(r);
    return err;
}

static ehis_err cut_part(void)
{
    struct buf out;
    buf_init(&out, 1 << 20);
    ehis_err err = registry_part(first, span_str("AZ/GOV/MIA/population"), 0, &out, NULL);
    assert_true(err == EHIS_OK || out.len == 0);
    buf_fini(&out);
    return err;
}

static ehis_err author(void)
{
    static const char *const texts[] = {"instance: AZ\nterms: {purposes: [{code: p}], legal_bases: [{code: l}]}\n", "agency: AZ/G/A\n", "system: AZ/G/A/s\nkeys: []\n", NULL,
                                        "service: AZ/G/A/s/x\noperations: [{name: Get}]\nrules:\n- {id: R, effect: permit, consumer: AZ/G/A/s, operation: Get, purpose: p,"
                                        " legal_basis: l, valid: {from: 2026-01-01, until: 2027-01-01}, approval: A}\n"};
    struct author *a = NULL;
    struct registry_draft *d = NULL;
    struct author_validity v = {0};
    struct buf out;
    buf_init(&out, 1 << 20);
    ehis_err err = author_new(&a);
    for (unsigned i = 0; i < AUTHOR_KINDS && err == EHIS_OK; i++)
        if (texts[i])
            err = author_add(a, (enum author_kind)i, "f", span_str(texts[i]));
    if (err == EHIS_OK)
        err = author_draft(a, &d, &v);
    if (err == EHIS_OK) {
        struct registry_validity of = {v.instance, NOW, NOW + 1, 0, 0};
        err = registry_build(d, &of, NULL, &out, NULL);
    }
    registry_draft_free(d);
    author_free(a);
    buf_fini(&out);
    return err;
}

static void fail_each(const char *name, ehis_err (*run)(void))
{
    for (size_t n = 0;; n++) {
        countdown = n;
        ehis_err err = run();
        bool has_failed = countdown == SIZE_MAX;
        countdown = SIZE_MAX;
        if (err == EHIS_OK && !has_failed) {
            assert_true(n > 3);
            return;
        }
        if (err != EHIS_E_NO_MEMORY)
            fail_msg("%s, allocation %zu: %s", name, n, ehis_err_name(err));
    }
}

static void every_allocation_may_fail(void **state)
{
    (void)state;
    t = test_registry_new(1, NOW);
    test_registry_gateway(t, "AZ/gw1", span_str(""));
    test_registry_system(t, "AZ/GOV/MIA/population", span_str(""));
    test_registry_system(t, "AZ/GOV/STS/tax", span_str(""));
    test_registry_service(t, "AZ/GOV/MIA/population/person", "Get|!Changed");
    test_registry_rule(t, "AZ/GOV/MIA/population/person", &(struct test_rule){.id = "R", .consumers = "AZ/GOV/STS/*|AZ/GOV/STS/tax", .operations = "Get", .purposes = "p", .legal_bases = "l"});
    first = test_registry_publish(t);
    registry_unref(test_registry_publish(t));
    buf_init(&second, 1 << 20);
    buf_init(&part, 1 << 20);
    assert_int_equal(buf_put_span(&second, test_registry_bytes(t)), EHIS_OK);
    struct registry *cut = test_registry_part(t, "AZ/GOV/MIA/population");
    assert_int_equal(buf_put_span(&part, registry_bytes(cut)), EHIS_OK);
    registry_unref(cut);
    fail_each("document", read_document);
    fail_each("part", read_part);
    fail_each("cut", cut_part);
    fail_each("author", author);
    buf_fini(&second);
    buf_fini(&part);
    registry_unref(first);
    test_registry_free(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_allocation_may_fail)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
