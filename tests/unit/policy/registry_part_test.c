/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* SPEC 10: parts, what one system may see. */
#include "tests/unit/policy/registry_test.h"

#include "proto/wire/codec.h"

static void a_part_shows_a_system_what_it_may_see_and_no_more(void **state)
{
    (void)state;
    struct test_registry *t = make(12);
    struct registry *r = test_registry_publish(t);
    size_t rules;
    /* No rights, and a forbidding rule against it: itself and the gateway. Not even the bytes of another's name. */
    struct registry *idle = test_registry_part(t, "AZ/GOV/STS/idle");
    assert_int_equal(registry_owner_count(idle), 2);
    assert_non_null(registry_system(idle, span_str("AZ/GOV/STS/idle")));
    assert_non_null(registry_gateway(idle, span_str("AZ/gw1")));
    assert_int_equal(registry_service_count(idle), 0);
    assert_true(registry_is_term(idle, true, span_str("tax")));
    const char *secrets[] = {"MIA", "EDU", "STS/tax", "person", "POP-", "GetPerson"};
    for (size_t i = 0; i < sizeof secrets / sizeof *secrets; i++)
        assert_null(memmem(registry_bytes(idle).p, registry_bytes(idle).len, secrets[i], strlen(secrets[i])));
    registry_unref(idle);
    /* A consumer: the service and its system, not the rules nor the other consumers. */
    struct registry *tax = test_registry_part(t, TAX);
    assert_non_null(registry_service(tax, span_str(PERSON)));
    assert_non_null(registry_system(tax, span_str(POP)));
    registry_rules(registry_service(tax, span_str(PERSON)), &rules);
    assert_int_equal(rules, 0);
    const char *others[] = {"EDU", "POP-", "idle"};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        assert_null(memmem(registry_bytes(tax).p, registry_bytes(tax).len, others[i], strlen(others[i])));
    assert_non_null(registry_service(tax, span_str(TAX "/debts")));
    registry_unref(tax);
    /* The provider: its rules and everyone that they name. */
    struct registry *pop = test_registry_part(t, POP);
    registry_rules(registry_service(pop, span_str(PERSON)), &rules);
    assert_int_equal(rules, 3);
    assert_non_null(registry_system(pop, span_str(TAX)));
    assert_non_null(registry_system(pop, span_str(SCHOOL)));
    assert_non_null(registry_system(pop, span_str("AZ/GOV/STS/idle")));
    assert_null(registry_service(pop, span_str(TAX "/debts")));
    assert_memory_equal(registry_hash(pop)->b, registry_hash(r)->b, HASH_BYTES);
    registry_unref(pop);
    struct buf b;
    buf_init(&b, 1 << 20);
    assert_int_equal(registry_part(r, span_str("AZ/GOV/MIA/none"), 0, &b, NULL), EHIS_E_NOT_FOUND);
    assert_int_equal(registry_part(r, span_str("AZ/gw1"), 0, &b, NULL), EHIS_E_NOT_FOUND);
    assert_int_equal(b.len, 0);
    b.max = 100;
    assert_int_equal(registry_part(r, span_str(POP), 0, &b, NULL), EHIS_E_TOO_LARGE);
    assert_int_equal(b.len, 0);
    buf_fini(&b);
    registry_unref(r);
    test_registry_free(t);
}

static ehis_err read_part(const struct test_registry *t, struct span bytes, const struct registry *older)
{
    struct registry *r = NULL;
    ehis_err err = registry_from_part(bytes, test_registry_trust(t), older, NOW, &r, NULL);
    registry_unref(r);
    return err;
}

static void a_part_cut_or_changed_anywhere_is_refused(void **state)
{
    (void)state;
    struct test_registry *t = make(13);
    struct registry *r = test_registry_publish(t);
    struct buf b;
    buf_init(&b, 1 << 20);
    assert_int_equal(registry_part(r, span_str(POP), 0, &b, NULL), EHIS_OK);
    uint8_t *p = b.p + b.start;
    size_t leaves = 0, whole = 0, at = 0;
    struct span one;
    while (scan_next(buf_span(&b), 3, &at, &one))
        leaves++;
    assert_int_equal(read_part(t, buf_span(&b), NULL), EHIS_OK);
    for (size_t n = 0; n < b.len; n++) /* whole leaves may be missing: a gateway can always withhold */
        whole += read_part(t, span_of(p, n), NULL) == EHIS_OK;
    assert_true(whole < leaves);
    for (size_t i = 0; i < b.len; i++) {
        p[i] ^= (uint8_t)(1u << (i % 8));
        if (read_part(t, buf_span(&b), NULL) == EHIS_OK)
            fail_msg("byte %zu turned", i);
        p[i] ^= (uint8_t)(1u << (i % 8));
    }
    p[b.len - 1] ^= 1; /* the last byte of the last path */
    assert_int_equal(read_part(t, buf_span(&b), NULL), EHIS_E_REGISTRY_ROOT);
    p[b.len - 1] ^= 1;
    /* The proof of one leaf with the index of another, twice, in the wrong order, without its last step. */
    for (unsigned how = 0; how < 5; how++) {
        struct span proofs[32], statement = {0};
        struct scan_value v[4];
        struct buf out, proof;
        size_t n = 0;
        buf_init(&out, 1 << 20);
        buf_init(&proof, 1 << 20);
        at = 0;
        assert_true(scan_next(buf_span(&b), 1, &at, &statement));
        for (at = 0; scan_next(buf_span(&b), 3, &at, &one);)
            proofs[n++] = one;
        assert_int_equal(codec_put_bytes(&out, 1, statement), EHIS_OK);
        if (how == 2)
            proofs[1] = proofs[0];
        if (how == 3) {
            one = proofs[0];
            proofs[0] = proofs[1];
            proofs[1] = one;
        }
        for (size_t i = 0; i < n; i++) {
            uint64_t index = 0;
            struct span leaf = {0}, path = {0};
            memset(v, 0, sizeof v);
            size_t in = 0;
            assert_true(scan_next(proofs[i], 2, &in, &leaf));
            assert_true(scan_next(proofs[i], 3, &in, &path));
            if (proofs[i].p[0] == 0x08)
                index = proofs[i].p[1];
            if (how == 1 && i == n - 1)
                index ^= 1;
            if (how == 4 && i == n - 1)
                path.len -= 32;
            buf_clear(&proof);
            assert_int_equal(codec_put_number(&proof, 1, index), EHIS_OK);
            assert_int_equal(codec_put_bytes(&proof, 2, leaf), EHIS_OK);
            assert_int_equal(codec_put_bytes(&proof, 3, path), EHIS_OK);
            assert_int_equal(codec_put_bytes(&out, 3, buf_span(&proof)), EHIS_OK);
        }
        static const ehis_err expected[] = {EHIS_OK, EHIS_E_REGISTRY_ROOT, EHIS_E_REGISTRY_CONTENT, EHIS_E_REGISTRY_CONTENT, EHIS_E_REGISTRY_ROOT};
        assert_int_equal(read_part(t, buf_span(&out), NULL), expected[how]);
        buf_fini(&out);
        buf_fini(&proof);
    }
    buf_fini(&b);
    registry_unref(r);
    test_registry_free(t);
}

static void a_part_is_the_same_each_time_and_brings_the_statements_since_a_version(void **state)
{
    (void)state;
    struct test_registry *t = make(14);
    struct registry *views[4];
    for (size_t i = 0; i < 4; i++)
        views[i] = test_registry_publish(t);
    for (uint64_t have = 0; have < 6; have++) {
        struct buf a, b;
        struct registry *part = NULL;
        struct registry_statement s;
        buf_init(&a, 1 << 20);
        buf_init(&b, 1 << 20);
        assert_int_equal(registry_part(views[3], span_str(TAX), have, &a, NULL), EHIS_OK);
        assert_int_equal(registry_part(views[3], span_str(TAX), have, &b, NULL), EHIS_OK);
        assert_true(span_eq(buf_span(&a), buf_span(&b)));
        assert_int_equal(registry_from_part(buf_span(&a), test_registry_trust(t), NULL, NOW, &part, NULL), EHIS_OK);
        registry_statement(part, &s);
        assert_int_equal(s.earlier_count, have <= 1 ? 3 : have >= 4 ? 0 : 4 - have);
        assert_int_equal(registry_check_known(part, 1, registry_hash(views[0])->b), have <= 1 ? EHIS_OK : EHIS_E_REGISTRY_UNKNOWN_VERSION);
        assert_int_equal(read_part(t, buf_span(&a), part), EHIS_E_REGISTRY_SAME);
        assert_int_equal(read_part(t, buf_span(&a), views[3]), EHIS_E_REGISTRY_SAME);
        registry_unref(part);
        buf_fini(&a);
        buf_fini(&b);
    }
    for (size_t i = 0; i < 4; i++)
        registry_unref(views[i]);
    test_registry_free(t);
}

static void a_document_is_no_part_and_a_part_no_document(void **state)
{
    (void)state;
    struct test_registry *t = make(15);
    struct registry *r = test_registry_publish(t), *part = test_registry_part(t, POP);
    assert_int_not_equal(read_part(t, test_registry_bytes(t), NULL), EHIS_OK);
    assert_int_not_equal(read_at(t, registry_bytes(part), NULL, NOW), EHIS_OK);
    registry_unref(r);
    registry_unref(part);
    test_registry_free(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_part_shows_a_system_what_it_may_see_and_no_more),
        cmocka_unit_test(a_part_cut_or_changed_anywhere_is_refused),
        cmocka_unit_test(a_part_is_the_same_each_time_and_brings_the_statements_since_a_version),
        cmocka_unit_test(a_document_is_no_part_and_a_part_no_document),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
