/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* SPEC 10: documents and the chain of statements. */
#include "tests/unit/policy/registry_test.h"

#include "base/disk.h"
#include "proto/wire/codec.h"
#include "tests/support/vectors.h"

static void a_document_gives_back_what_was_put_in(void **state)
{
    (void)state;
    struct test_registry *t = make(1);
    struct registry *r = test_registry_publish(t);
    assert_int_equal(registry_version(r), 1);
    assert_int_equal(registry_not_after_ms(r), NOW + 30 * DAY);
    assert_int_equal(registry_owner_count(r), 5);
    assert_true(registry_owner_at(r, 0)->is_gateway);
    assert_int_equal(registry_service_count(r), 2);
    assert_true(span_eq(registry_service_at(r, 0)->id, span_str(PERSON)));
    const struct registry_owner *pop = registry_system(r, span_str(POP));
    assert_non_null(pop);
    assert_int_equal(pop->key_count, 3);
    assert_memory_equal(pop->keys[0].id.b, sign_key_id(test_registry_owner(t, POP)->sign)->b, HASH_BYTES);
    assert_null(registry_gateway(r, span_str(POP)));
    assert_null(registry_system(r, span_str("AZ/gw1")));
    assert_non_null(registry_gateway(r, span_str("AZ/gw1")));
    assert_null(registry_system(r, span_str("AZ/GOV/MIA/populatio")));
    const struct registry_service *s = registry_service(r, span_str(PERSON));
    assert_true(span_eq(s->system, span_str(POP)));
    assert_false(registry_operation(s, span_str("GetPerson"))->is_event);
    assert_true(registry_operation(s, span_str("PersonChanged"))->is_event);
    assert_null(registry_operation(s, span_str("getperson")));
    assert_true(registry_is_term(r, true, span_str("tax")));
    assert_false(registry_is_term(r, false, span_str("tax")));
    assert_true(registry_is_term(r, false, span_str("Law 23")));
    assert_true(span_eq(registry_bytes(r), test_registry_bytes(t)));
    registry_unref(registry_ref(r));
    registry_unref(r);
    test_registry_free(t);
}

static void a_document_cut_at_any_byte_or_with_any_bit_turned_or_with_a_tail_is_refused(void **state)
{
    (void)state;
    struct test_registry *t = make(2);
    registry_unref(test_registry_publish(t));
    struct span whole = test_registry_bytes(t);
    uint8_t *copy = malloc(whole.len + 1);
    assert_non_null(copy);
    for (size_t n = 0; n < whole.len; n++) {
        uint8_t *exact = malloc(n ? n : 1);
        memcpy(exact, whole.p, n);
        if (read_at(t, span_of(exact, n), NULL, NOW) == EHIS_OK)
            fail_msg("cut at %zu", n);
        free(exact);
    }
    memcpy(copy, whole.p, whole.len);
    for (size_t i = 0; i < whole.len; i++) {
        copy[i] ^= (uint8_t)(1u << (i % 8));
        if (read_at(t, span_of(copy, whole.len), NULL, NOW) == EHIS_OK)
            fail_msg("byte %zu turned", i);
        copy[i] ^= (uint8_t)(1u << (i % 8));
    }
    copy[whole.len] = 0;
    assert_int_not_equal(read_at(t, span_of(copy, whole.len + 1), NULL, NOW), EHIS_OK);
    assert_int_equal(read_at(t, span_of(copy, whole.len), NULL, NOW), EHIS_OK);
    free(copy);
    test_registry_free(t);
}

/* The first occurrence of a text, changed. */
static void alter(struct span in, const char *from, const char *to, struct buf *out)
{
    buf_init(out, in.len);
    assert_int_equal(buf_put_span(out, in), EHIS_OK);
    uint8_t *at = memmem(out->p + out->start, out->len, from, strlen(from));
    assert_non_null(at);
    assert_int_equal(strlen(from), strlen(to));
    memcpy(at, to, strlen(to));
}

static void a_changed_dropped_or_swapped_leaf_does_not_lead_to_the_root(void **state)
{
    (void)state;
    struct test_registry *t = make(3);
    struct buf b;
    registry_unref(test_registry_publish(t));
    alter(test_registry_bytes(t), "POP-1", "POP-9", &b);
    assert_int_equal(read_at(t, buf_span(&b), NULL, NOW), EHIS_E_REGISTRY_ROOT);
    for (unsigned how = 0; how < 3; how++) {
        struct span leaves[32], one;
        size_t at = 0, n = 0;
        buf_clear(&b);
        while (scan_next(test_registry_bytes(t), 1, &at, &one))
            assert_int_equal(codec_put_bytes(&b, 1, one), EHIS_OK);
        for (at = 0; scan_next(test_registry_bytes(t), 2, &at, &one);)
            leaves[n++] = one;
        if (how == 1) {
            one = leaves[2];
            leaves[2] = leaves[3];
            leaves[3] = one;
        }
        for (size_t i = 0; i < n - (how == 2); i++)
            assert_int_equal(codec_put_bytes(&b, 2, leaves[i]), EHIS_OK);
        assert_int_equal(read_at(t, buf_span(&b), NULL, NOW), how ? EHIS_E_REGISTRY_ROOT : EHIS_OK);
    }
    buf_fini(&b);
    test_registry_free(t);
}

static void only_a_trusted_operator_of_this_instance_is_believed(void **state)
{
    (void)state;
    struct test_registry *t = make(4), *stranger = make(5);
    struct registry *r = test_registry_publish(t), *out = NULL;
    struct span bytes = test_registry_bytes(t);
    struct registry_trust trust = *test_registry_trust(stranger), both;
    uint8_t keys[2][32];
    struct buf b;
    assert_int_equal(registry_from_document(bytes, &trust, NULL, NOW, &out, NULL), EHIS_E_REGISTRY_SIGNATURE);
    memcpy(keys[0], test_registry_trust(stranger)->operator_keys[0], 32);
    memcpy(keys[1], test_registry_trust(t)->operator_keys[0], 32);
    both = (struct registry_trust){(const uint8_t(*)[32])keys, 2, span_str("AZ")};
    assert_int_equal(registry_from_document(bytes, &both, NULL, NOW, &out, NULL), EHIS_OK);
    registry_unref(out);
    both.instance = span_str("AX");
    assert_int_equal(registry_from_document(bytes, &both, NULL, NOW, &out, NULL), EHIS_E_REGISTRY_INSTANCE);
    both.count = 0;
    assert_int_equal(registry_from_document(bytes, &both, NULL, NOW, &out, NULL), EHIS_E_REGISTRY_SIGNATURE);
    /* A signing key of another use, though of the same bytes, is no operator. */
    uint8_t seed[32] = {9};
    struct sign_key *other;
    assert_int_equal(sign_key_new(seed, USE_SIGN, &other), EHIS_OK);
    memcpy(keys[0], sign_key_public(other), 32);
    both = (struct registry_trust){(const uint8_t(*)[32])keys, 1, span_str("AZ")};
    buf_init(&b, 1 << 20);
    assert_int_equal(registry_sign(bytes, other, &b, NULL), EHIS_OK);
    assert_int_equal(registry_from_document(buf_span(&b), &both, NULL, NOW, &out, NULL), EHIS_E_REGISTRY_SIGNATURE);
    buf_fini(&b);
    sign_key_free(other);
    registry_unref(r);
    test_registry_free(t);
    test_registry_free(stranger);
}

static void an_expired_or_early_document_is_refused_at_the_exact_millisecond(void **state)
{
    (void)state;
    struct test_registry *t = make(6);
    test_registry_validity(t, NOW, NOW + DAY, (uint64_t)HOUR);
    struct registry *r = test_registry_publish(t);
    struct span bytes = test_registry_bytes(t);
    assert_int_equal(read_at(t, bytes, NULL, NOW - 1), EHIS_E_REGISTRY_NOT_YET);
    assert_int_equal(read_at(t, bytes, NULL, NOW), EHIS_OK);
    assert_int_equal(read_at(t, bytes, NULL, NOW + DAY + HOUR), EHIS_OK);
    assert_int_equal(read_at(t, bytes, NULL, NOW + DAY + HOUR + 1), EHIS_E_REGISTRY_EXPIRED);
    assert_int_equal(read_at(t, bytes, NULL, REGISTRY_ANY_TIME), EHIS_OK);
    assert_int_equal(registry_check_time(r, NOW - 1), EHIS_E_REGISTRY_NOT_YET);
    assert_int_equal(registry_check_time(r, NOW + DAY), EHIS_OK);
    assert_int_equal(registry_check_time(r, NOW + DAY + HOUR + 1), EHIS_E_REGISTRY_EXPIRED);
    registry_unref(r);
    test_registry_free(t);
}

static void copy_document(const struct test_registry *t, struct buf *out)
{
    buf_init(out, 1 << 20);
    assert_int_equal(buf_put_span(out, test_registry_bytes(t)), EHIS_OK);
}

static void an_older_version_a_fork_and_the_same_are_told_apart(void **state)
{
    (void)state;
    struct test_registry *t = make(7), *u = make(7);
    struct buf first, second, third;
    struct registry *one = test_registry_publish(t), *other_one = test_registry_publish(u);
    copy_document(t, &first);
    assert_memory_equal(registry_hash(one)->b, registry_hash(other_one)->b, HASH_BYTES);
    registry_unref(other_one);
    struct registry *two = test_registry_publish(t);
    copy_document(t, &second);
    test_registry_disable(u, TAX, true);
    struct registry *other_two = test_registry_publish(u);
    assert_int_equal(registry_version(two), 2);
    assert_int_equal(read_at(t, buf_span(&first), two, NOW), EHIS_E_REGISTRY_OLDER);
    assert_int_equal(read_at(t, buf_span(&second), two, NOW), EHIS_E_REGISTRY_SAME);
    uint8_t *tail = memmem(second.p + second.start, second.len, TAX, strlen(TAX)); /* the same statement over an altered leaf is not the same */
    assert_non_null(tail);
    *tail ^= 1;
    assert_int_equal(read_at(t, buf_span(&second), two, NOW), EHIS_E_REGISTRY_ROOT);
    *tail ^= 1;
    assert_int_equal(read_at(t, test_registry_bytes(u), two, NOW), EHIS_E_REGISTRY_FORK);
    assert_int_equal(read_at(t, test_registry_bytes(u), one, NOW), EHIS_OK);
    struct registry *three = test_registry_publish(t);
    copy_document(t, &third);
    assert_int_equal(read_at(t, buf_span(&third), other_two, NOW), EHIS_E_REGISTRY_FORK); /* its chain has the other version 2 */
    assert_int_equal(read_at(t, buf_span(&third), one, NOW), EHIS_OK);
    assert_int_equal(registry_check_known(three, 3, registry_hash(three)->b), EHIS_OK);
    assert_int_equal(registry_check_known(three, 3, registry_hash(two)->b), EHIS_E_REGISTRY_FORK);
    assert_int_equal(registry_check_known(three, 2, registry_hash(two)->b), EHIS_OK);
    assert_int_equal(registry_check_known(three, 1, registry_hash(one)->b), EHIS_OK);
    assert_int_equal(registry_check_known(three, 2, registry_hash(other_two)->b), EHIS_E_REGISTRY_FORK);
    assert_int_equal(registry_check_known(three, 4, registry_hash(two)->b), EHIS_E_REGISTRY_NEWER);
    assert_int_equal(registry_check_known(three, 0, registry_hash(two)->b), EHIS_E_REGISTRY_UNKNOWN_VERSION);
    /* A chain in which a link is missing, or that ends elsewhere. */
    for (unsigned drop = 0; drop < 3; drop++) {
        struct buf b;
        struct span one_content;
        buf_init(&b, 1 << 20);
        for (unsigned field = 1; field < 4; field++) {
            unsigned n = 0;
            for (size_t at = 0; scan_next(buf_span(&third), field, &at, &one_content); n++)
                if (field != 3 || n != drop)
                    assert_int_equal(codec_put_bytes(&b, field, one_content), EHIS_OK);
        }
        assert_int_equal(read_at(t, buf_span(&b), NULL, NOW), drop == 1 ? EHIS_E_REGISTRY_FORK : EHIS_OK);
        buf_fini(&b);
    }
    registry_unref(one);
    registry_unref(two);
    registry_unref(other_two);
    registry_unref(three);
    buf_fini(&first);
    buf_fini(&second);
    buf_fini(&third);
    test_registry_free(t);
    test_registry_free(u);
}

/* A draft of one agency and one system without keys. */
static struct registry_draft *small(void)
{
    struct registry_draft *d;
    struct registry_term_text purpose = {.code = span_str("p")}, basis = {.code = span_str("b")};
    struct registry_owner system = {.id = span_str("AZ/G/A/s")};
    assert_int_equal(registry_draft_new(&d), EHIS_OK);
    assert_int_equal(registry_draft_terms(d, &purpose, 1, &basis, 1), EHIS_OK);
    assert_int_equal(registry_draft_agency(d, span_str("AZ/G/A"), span_str("")), EHIS_OK);
    assert_int_equal(registry_draft_owner(d, &system, span_str("")), EHIS_OK);
    return d;
}

static struct registry *continue_chain(struct registry_draft *d, const struct sign_key *operator_key, const struct registry *older, int64_t keep_after_ms)
{
    struct registry_validity v = {span_str("AZ"), NOW, NOW + DAY, 0, keep_after_ms};
    struct registry *r;
    struct buf plain, out;
    uint8_t keys[1][32];
    memcpy(keys[0], sign_key_public(operator_key), 32);
    struct registry_trust trust = {(const uint8_t(*)[32])keys, 1, span_str("AZ")};
    buf_init(&plain, 1 << 20);
    buf_init(&out, 1 << 20);
    assert_int_equal(registry_build(d, &v, older, &plain, NULL), EHIS_OK);
    assert_int_equal(registry_from_document(buf_span(&plain), &trust, older, NOW, &r, NULL), EHIS_E_REGISTRY_UNSIGNED);
    assert_int_equal(registry_sign(buf_span(&plain), operator_key, &out, NULL), EHIS_OK);
    assert_int_equal(registry_from_document(buf_span(&out), &trust, older, NOW, &r, NULL), EHIS_OK);
    buf_fini(&plain);
    buf_fini(&out);
    return r;
}

static void what_an_older_view_knew_of_the_chain_stays_known(void **state)
{
    (void)state;
    struct registry_draft *d = small();
    uint8_t seed[32] = {1};
    struct sign_key *key;
    struct registry *all[4];
    struct registry_statement s;
    assert_int_equal(crypto_init(NULL), EHIS_OK);
    assert_int_equal(sign_key_new(seed, USE_OPERATOR, &key), EHIS_OK);
    for (size_t i = 0; i < 4; i++) /* each document itself keeps only the one before it */
        all[i] = continue_chain(d, key, i ? all[i - 1] : NULL, INT64_MAX);
    registry_statement(all[3], &s);
    assert_int_equal(s.earlier_count, 1);
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(registry_check_known(all[3], i + 1, registry_hash(all[i])->b), EHIS_OK);
    for (size_t i = 0; i < 4; i++)
        registry_unref(all[i]);
    sign_key_free(key);
    registry_draft_free(d);
}

static ehis_err build_of(struct registry_draft *d)
{
    struct registry_validity v = {span_str("AZ"), NOW, NOW + DAY, 0, 0};
    struct ehis_why why = {""};
    struct buf out;
    buf_init(&out, 1 << 22);
    ehis_err err = registry_build(d, &v, NULL, &out, &why);
    assert_true(err == EHIS_OK || (why.text[0] && out.len == 0));
    buf_fini(&out);
    registry_draft_free(d);
    return err;
}

static struct registry_key key_of(enum key_use use, enum key_algorithm algorithm, const char *text)
{
    struct registry_key k = {.use = use, .algorithm = algorithm, .public_key = span_str(text), .not_before_ms = NOW};
    crypto_key_id(use, algorithm, k.public_key, &k.id);
    return k;
}

static ehis_err with_owner(const char *id, bool is_gateway, const struct registry_key *keys, size_t count)
{
    struct registry_draft *d = small();
    struct registry_owner o = {span_str(id), is_gateway, false, keys, count};
    assert_int_equal(registry_draft_owner(d, &o, span_str("")), EHIS_OK);
    return build_of(d);
}

static void owners_and_keys_that_contradict_are_refused(void **state)
{
    (void)state;
    const char *raw = "0123456789abcdef0123456789abcdef", *raw2 = "1123456789abcdef0123456789abcdef", *raw3 = "2123456789abcdef0123456789abcdef";
    struct registry_key sign = key_of(USE_SIGN, ALGORITHM_ED25519, raw), seal = key_of(USE_SEAL, ALGORITHM_X25519, raw), wrong = sign;
    struct registry_key tls[3] = {key_of(USE_TLS, ALGORITHM_SPKI, raw), key_of(USE_TLS, ALGORITHM_SPKI, raw2), key_of(USE_TLS, ALGORITHM_SPKI, raw3)};
    struct registry_key twice[2] = {sign, sign}, far = sign, operator_key = key_of(USE_OPERATOR, ALGORITHM_ED25519, raw);
    assert_int_equal(with_owner("AZ/G/A/t", false, &sign, 1), EHIS_OK);
    assert_int_equal(with_owner("AZ/G/A/s", false, &sign, 1), EHIS_E_REGISTRY_CONTENT); /* stands twice */
    assert_int_equal(with_owner("AZ/G/B/t", false, &sign, 1), EHIS_E_REGISTRY_CONTENT); /* no such agency */
    assert_int_equal(with_owner("AX/G/A/t", false, &sign, 1), EHIS_E_REGISTRY_INSTANCE);
    assert_int_equal(with_owner("AZ/G/A", false, &sign, 1), EHIS_E_IDENTIFIER_INVALID);
    assert_int_equal(with_owner("AZ/gw1", true, tls, 2), EHIS_OK);
    assert_int_equal(with_owner("AZ/gw1", true, tls, 3), EHIS_E_REGISTRY_CONTENT);
    tls[1].retired_ms = NOW;
    assert_int_equal(with_owner("AZ/gw1", true, tls, 3), EHIS_OK);
    assert_int_equal(with_owner("AZ/gw1", true, &seal, 1), EHIS_E_REGISTRY_CONTENT);
    assert_int_equal(with_owner("AZ/G/A/t", false, twice, 2), EHIS_E_REGISTRY_CONTENT);
    assert_int_equal(with_owner("AZ/G/A/t", false, &operator_key, 1), EHIS_E_REGISTRY_CONTENT);
    wrong.id.b[31] ^= 1;
    assert_int_equal(with_owner("AZ/G/A/t", false, &wrong, 1), EHIS_E_REGISTRY_CONTENT);
    wrong = key_of(USE_SIGN, ALGORITHM_X25519, raw);
    assert_int_equal(with_owner("AZ/G/A/t", false, &wrong, 1), EHIS_E_REGISTRY_CONTENT);
    wrong = key_of(USE_SIGN, ALGORITHM_ED25519, SPKI);
    assert_int_equal(with_owner("AZ/G/A/t", false, &wrong, 1), EHIS_E_REGISTRY_CONTENT);
    far.not_before_ms = INT64_MAX;
    assert_int_equal(with_owner("AZ/G/A/t", false, &far, 1), EHIS_E_REGISTRY_CONTENT);
}

static ehis_err with_rule(struct registry_rule_text rule, const char *consumers[3], const char *operation, const char *purpose, const char *basis, unsigned copies)
{
    struct registry_draft *d = small();
    struct registry_operation operation_row = {.name = span_str("Get")};
    struct registry_service service = {.id = span_str("AZ/G/A/s/svc"), .operations = &operation_row, .operation_count = 1};
    struct span c[3], o = span_str(operation), p = span_str(purpose), b = span_str(basis);
    while (rule.consumer_count < 3 && consumers[rule.consumer_count]) {
        c[rule.consumer_count] = span_str(consumers[rule.consumer_count]);
        rule.consumer_count++;
    }
    rule.consumers = c;
    rule.operations = &o;
    rule.operation_count = o.len != 0;
    rule.purposes = &p;
    rule.purpose_count = p.len != 0;
    rule.legal_bases = &b;
    rule.legal_basis_count = b.len != 0;
    struct registry_rule_text two[2] = {rule, rule};
    assert_int_equal(registry_draft_rules(d, span_str("AZ/G/A/s/svc"), two, copies), EHIS_OK); /* before its service: the order is free */
    assert_int_equal(registry_draft_service(d, &service), EHIS_OK);
    return build_of(d);
}

static void rules_that_contradict_are_refused(void **state)
{
    (void)state;
    struct registry_rule_text rule = {.id = span_str("R"), .approval = span_str("A"), .valid_from_ms = NOW, .valid_until_ms = NOW + 1}, bad = rule;
    const char *one[3] = {"AZ/G/A/s"}, *none[3] = {0}, *twice[3] = {"AZ/G/A/s", "AZ/G/A/s"}, *star[3] = {"AZ/G/A/*", "AZ/G/A/s*", "AZ/X/Y/z"};
    assert_int_equal(with_rule(rule, one, "Get", "p", "b", 1), EHIS_OK);
    assert_int_equal(with_rule(rule, star, "Get", "p", "b", 1), EHIS_OK);
    assert_int_equal(with_rule(rule, one, "Get", "p", "b", 2), EHIS_E_REGISTRY_CONTENT);
    assert_int_equal(with_rule(rule, none, "Get", "p", "b", 1), EHIS_E_REGISTRY_CONTENT);
    assert_int_equal(with_rule(rule, twice, "Get", "p", "b", 1), EHIS_E_REGISTRY_CONTENT);
    assert_int_equal(with_rule(rule, one, "", "p", "b", 1), EHIS_E_REGISTRY_CONTENT);
    assert_int_equal(with_rule(rule, one, "Get", "", "b", 1), EHIS_E_REGISTRY_CONTENT);
    assert_int_equal(with_rule(rule, one, "Get", "p", "", 1), EHIS_E_REGISTRY_CONTENT);
    assert_int_equal(with_rule(rule, one, "Gett", "p", "b", 1), EHIS_E_REGISTRY_CONTENT);
    assert_int_equal(with_rule(rule, one, "Get", "q", "b", 1), EHIS_E_REGISTRY_CONTENT);
    assert_int_equal(with_rule(rule, one, "Get", "p", "p", 1), EHIS_E_REGISTRY_CONTENT);
    const char *wild[][3] = {{"*"}, {"AZ/*"}, {"AZ/G/*"}, {"AZ/G/A/s*s"}, {"AZ/G/A/s**"}, {"AZ/G/A/s/*"}, {"AZ/G/A"}, {"AZ/G*/A/s"}};
    for (size_t i = 0; i < sizeof wild / sizeof *wild; i++)
        assert_int_equal(with_rule(rule, wild[i], "Get", "p", "b", 1), EHIS_E_IDENTIFIER_INVALID);
    const char *foreign[3] = {"AX/G/A/*"};
    assert_int_equal(with_rule(rule, foreign, "Get", "p", "b", 1), EHIS_E_REGISTRY_INSTANCE);
    bad.valid_until_ms = NOW;
    assert_int_equal(with_rule(bad, one, "Get", "p", "b", 1), EHIS_E_REGISTRY_CONTENT);
    bad = rule;
    bad.approval = span_str("");
    assert_int_equal(with_rule(bad, one, "Get", "p", "b", 1), EHIS_E_SCAN_MISSING);
    bad = rule;
    bad.is_forbid = true;
    assert_int_equal(with_rule(bad, one, "", "", "", 1), EHIS_OK);
    assert_int_equal(with_rule(bad, none, "", "", "", 1), EHIS_E_REGISTRY_CONTENT);
}

static void documents_need_one_list_of_terms_and_every_name_once(void **state)
{
    (void)state;
    struct registry_draft *d;
    struct registry_term_text terms[2] = {{.code = span_str("p")}, {.code = span_str("p")}};
    struct registry_operation operations[2] = {{.name = span_str("Get")}, {.name = span_str("Get")}};
    struct registry_service service = {.id = span_str("AZ/G/A/s/svc"), .operations = operations, .operation_count = 2}, foreign = {.id = span_str("AZ/G/A/t/svc")};
    assert_int_equal(registry_draft_new(&d), EHIS_OK);
    assert_int_equal(build_of(d), EHIS_E_REGISTRY_CONTENT); /* empty */
    assert_int_equal(registry_draft_new(&d), EHIS_OK);
    assert_int_equal(registry_draft_agency(d, span_str("AZ/G/A"), span_str("")), EHIS_OK);
    assert_int_equal(build_of(d), EHIS_E_REGISTRY_CONTENT); /* no terms */
    d = small();
    assert_int_equal(registry_draft_terms(d, terms, 1, NULL, 0), EHIS_OK);
    assert_int_equal(build_of(d), EHIS_E_REGISTRY_CONTENT);
    assert_int_equal(registry_draft_new(&d), EHIS_OK);
    assert_int_equal(registry_draft_terms(d, terms, 2, NULL, 0), EHIS_OK);
    assert_int_equal(build_of(d), EHIS_E_REGISTRY_CONTENT);
    d = small();
    assert_int_equal(registry_draft_agency(d, span_str("AZ/G/A"), span_str("")), EHIS_OK);
    assert_int_equal(build_of(d), EHIS_E_REGISTRY_CONTENT);
    d = small();
    assert_int_equal(registry_draft_service(d, &service), EHIS_OK);
    assert_int_equal(build_of(d), EHIS_E_REGISTRY_CONTENT); /* an operation twice */
    service.operation_count = 1;
    d = small();
    assert_int_equal(registry_draft_service(d, &service), EHIS_OK);
    assert_int_equal(registry_draft_service(d, &service), EHIS_OK);
    assert_int_equal(build_of(d), EHIS_E_REGISTRY_CONTENT);
    d = small();
    assert_int_equal(registry_draft_service(d, &foreign), EHIS_OK);
    assert_int_equal(build_of(d), EHIS_E_REGISTRY_CONTENT); /* no such system */
    d = small();
    assert_int_equal(registry_draft_rules(d, span_str("AZ/G/A/s/svc"), NULL, 0), EHIS_OK);
    assert_int_equal(build_of(d), EHIS_E_REGISTRY_CONTENT); /* rules of no service */
    d = small();
    assert_int_equal(registry_draft_service(d, &service), EHIS_OK);
    assert_int_equal(registry_draft_rules(d, span_str("AZ/G/A/s/svc"), NULL, 0), EHIS_OK);
    assert_int_equal(registry_draft_rules(d, span_str("AZ/G/A/s/svc"), NULL, 0), EHIS_OK);
    assert_int_equal(build_of(d), EHIS_E_REGISTRY_CONTENT); /* rules twice */
}

static void a_document_over_its_size_is_refused_before_it_is_read(void **state)
{
    (void)state;
    struct test_registry *t = make(8);
    uint8_t *big = calloc(1, REGISTRY_DOCUMENT_MAX_BYTES + 1);
    assert_int_equal(read_at(t, span_of(big, REGISTRY_DOCUMENT_MAX_BYTES + 1), NULL, NOW), EHIS_E_TOO_LARGE);
    assert_int_equal(read_at(t, span_of(big, REGISTRY_DOCUMENT_MAX_BYTES), NULL, NOW), EHIS_E_SCAN_UNKNOWN_FIELD);
    free(big);
    test_registry_free(t);
}

static void a_stored_document_is_read_back_as_the_floor_for_the_next(void **state)
{
    (void)state;
    char folder[] = "/tmp/registry_test.XXXXXX", path[64];
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/registry.pb", folder);
    struct test_registry *t = make(16);
    struct registry *one = test_registry_publish(t), *two = test_registry_publish(t), *held = NULL;
    struct buf b;
    buf_init(&b, 1 << 20);
    assert_int_equal(registry_store(two, path, NULL), EHIS_OK);
    assert_int_equal(file_read(path, 1 << 20, &b, NULL), EHIS_OK);
    assert_int_equal(registry_from_document(buf_span(&b), test_registry_trust(t), NULL, NOW, &held, NULL), EHIS_OK);
    assert_int_equal(read_at(t, registry_bytes(one), held, NOW), EHIS_E_REGISTRY_OLDER);
    buf_fini(&b);
    registry_unref(one);
    registry_unref(two);
    registry_unref(held);
    test_registry_free(t);
    unlink(path);
    rmdir(folder);
}

static void a_document_and_a_part_made_from_spec_by_another_program_are_read(void **state)
{
    (void)state;
    json_t *file = vectors_load_own("registry.json"), *row;
    const json_t *j = json_object_get(file, "registry");
    struct span key = vectors_hex(j, "operator_key"), statement = vectors_hex(j, "signed_statement"), hash = vectors_hex(j, "statement_hash");
    uint8_t keys[1][32];
    struct registry_trust trust = {(const uint8_t(*)[32])keys, 1, span_str("AZ")};
    struct buf document, part, proof;
    struct registry *whole = NULL, *cut = NULL, *plain = NULL;
    struct registry_statement s;
    size_t i;
    assert_int_equal(crypto_init(NULL), EHIS_OK);
    memcpy(keys[0], key.p, 32);
    buf_init(&document, 1 << 16);
    buf_init(&part, 1 << 16);
    buf_init(&proof, 1 << 16);
    assert_int_equal(codec_put_bytes(&document, 1, statement), EHIS_OK);
    assert_int_equal(codec_put_bytes(&part, 1, statement), EHIS_OK);
    json_array_foreach(json_object_get(j, "leaves"), i, row)
    {
        struct span leaf = vectors_hex(row, "leaf"), path = vectors_hex(row, "path");
        assert_int_equal(codec_put_bytes(&document, 2, leaf), EHIS_OK);
        buf_clear(&proof);
        assert_int_equal(codec_put_number(&proof, 1, i), EHIS_OK);
        assert_int_equal(codec_put_bytes(&proof, 2, leaf), EHIS_OK);
        assert_int_equal(codec_put_bytes(&proof, 3, path), EHIS_OK);
        assert_int_equal(codec_put_bytes(&part, 3, buf_span(&proof)), EHIS_OK);
        vectors_free(leaf);
        vectors_free(path);
    }
    assert_int_equal(registry_from_unverified(buf_span(&document), &plain, NULL), EHIS_OK);
    registry_statement(plain, &s);
    assert_int_equal(registry_from_document(buf_span(&document), &trust, NULL, s.not_before_ms, &whole, NULL), EHIS_OK);
    assert_int_equal(registry_from_part(buf_span(&part), &trust, NULL, s.not_before_ms, &cut, NULL), EHIS_OK);
    assert_memory_equal(registry_hash(whole)->b, hash.p, HASH_BYTES);
    assert_non_null(registry_system(whole, span_str("AZ/GOV/STS/tax")));
    assert_int_equal(registry_system(cut, span_str("AZ/GOV/STS/tax"))->key_count, 1);
    assert_true(registry_is_term(cut, true, span_str("tax.assessment")));
    registry_unref(plain);
    registry_unref(whole);
    registry_unref(cut);
    buf_fini(&document);
    buf_fini(&part);
    buf_fini(&proof);
    vectors_free(key);
    vectors_free(statement);
    vectors_free(hash);
    json_decref(file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_document_gives_back_what_was_put_in),
        cmocka_unit_test(a_document_cut_at_any_byte_or_with_any_bit_turned_or_with_a_tail_is_refused),
        cmocka_unit_test(a_changed_dropped_or_swapped_leaf_does_not_lead_to_the_root),
        cmocka_unit_test(only_a_trusted_operator_of_this_instance_is_believed),
        cmocka_unit_test(an_expired_or_early_document_is_refused_at_the_exact_millisecond),
        cmocka_unit_test(an_older_version_a_fork_and_the_same_are_told_apart),
        cmocka_unit_test(what_an_older_view_knew_of_the_chain_stays_known),
        cmocka_unit_test(owners_and_keys_that_contradict_are_refused),
        cmocka_unit_test(rules_that_contradict_are_refused),
        cmocka_unit_test(documents_need_one_list_of_terms_and_every_name_once),
        cmocka_unit_test(a_document_over_its_size_is_refused_before_it_is_read),
        cmocka_unit_test(a_stored_document_is_read_back_as_the_floor_for_the_next),
        cmocka_unit_test(a_document_and_a_part_made_from_spec_by_another_program_are_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
