/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include "pki/join.h"
#include "pki/keyfile.h"
#include "pki/tls.h"
#include "proto/wire/codec.h"
#include "ehis_scan.h"

#define NOW 1790000000000LL
static char dir[64], file[128];
static struct buf request;

static const char *file_of(const char *name)
{
    snprintf(file, sizeof file, "%s/%s", dir, name);
    return file;
}

static int setup(void **state)
{
    (void)state;
    snprintf(dir, sizeof dir, "/tmp/ehis-join-XXXXXX");
    buf_init(&request, PKI_JOIN_MAX_BYTES);
    return mkdtemp(dir) && pki_init(NULL) == EHIS_OK && crypto_init(NULL) == EHIS_OK ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    static const char *const names[] = {"tls.key", "sign.key", "seal.key", "join.request"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        unlink(file_of(names[i]));
    buf_fini(&request);
    return rmdir(dir);
}

static void make(enum pki_kind kind, const char *id)
{
    assert_int_equal(pki_join_make(dir, kind, span_str(id), NOW, &random_system, &request, NULL), EHIS_OK);
}

static void a_system_asks_with_three_keys_and_proves_them(void **state)
{
    (void)state;
    struct pki_join join;
    struct stat st;
    struct sign_key *sign;
    struct seal_key *seal;
    make(PKI_SYSTEM, "AZ/GOV/STS/tax");
    assert_int_equal(pki_join_read(buf_span(&request), &join, NULL), EHIS_OK);
    assert_int_equal(join.kind, PKI_SYSTEM);
    assert_true(span_eq(join.id, span_str("AZ/GOV/STS/tax")));
    assert_int_equal(join.key_count, 3);
    assert_int_equal(join.created_ms, NOW);
    assert_int_equal(join.keys[0].not_before_ms, NOW - PKI_BACKDATE_MS); /* a reader whose clock is behind takes it, too */
    static const char *const keys[] = {"tls.key", "sign.key", "seal.key"};
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(stat(file_of(keys[i]), &st), 0);
        assert_int_equal(st.st_mode & 0777, 0600);
    }
    assert_int_equal(pki_keyfile_load_sign(file_of("sign.key"), USE_SIGN, &sign, NULL), EHIS_OK);
    assert_int_equal(pki_keyfile_load_seal(file_of("seal.key"), &seal, NULL), EHIS_OK);
    for (size_t i = 0; i < 3; i++) {
        if (join.keys[i].use == USE_SIGN)
            assert_memory_equal(sign_key_id(sign), &join.keys[i].id, sizeof(struct hash));
        if (join.keys[i].use == USE_SEAL)
            assert_memory_equal(seal_key_id(seal), &join.keys[i].id, sizeof(struct hash));
    }
    sign_key_free(sign);
    seal_key_free(seal);
}

static void a_gateway_asks_with_two_keys(void **state)
{
    (void)state;
    struct pki_join join;
    make(PKI_GATEWAY, "AZ/gw1");
    assert_int_equal(pki_join_read(buf_span(&request), &join, NULL), EHIS_OK);
    assert_int_equal(join.kind, PKI_GATEWAY);
    assert_int_equal(join.key_count, 2);
    assert_int_not_equal(access(file_of("seal.key"), F_OK), 0);
}

static void keys_are_never_overwritten(void **state)
{
    (void)state;
    make(PKI_SYSTEM, "AZ/GOV/STS/tax");
    assert_int_equal(pki_join_make(dir, PKI_SYSTEM, span_str("AZ/GOV/STS/tax"), NOW, &random_system, NULL, NULL), EHIS_E_EXISTS);
    unlink(file_of("join.request"));
    unlink(file_of("tls.key"));
    unlink(file_of("seal.key"));
    assert_int_equal(pki_join_make(dir, PKI_SYSTEM, span_str("AZ/GOV/STS/tax"), NOW, &random_system, NULL, NULL), EHIS_E_EXISTS);
    assert_int_not_equal(access(file_of("tls.key"), F_OK), 0); /* nothing was begun */
}

static void a_wrong_name_makes_nothing(void **state)
{
    (void)state;
    assert_int_equal(pki_join_make(dir, PKI_SYSTEM, span_str("AZ/gw1"), NOW, &random_system, NULL, NULL), EHIS_E_IDENTIFIER_INVALID);
    assert_int_equal(pki_join_make(dir, PKI_GATEWAY, span_str("AZ/GOV/STS/tax"), NOW, &random_system, NULL, NULL),
                     EHIS_E_IDENTIFIER_INVALID);
    assert_int_not_equal(access(file_of("sign.key"), F_OK), 0);
}

static void any_bit_that_is_turned_and_any_cut_is_found(void **state)
{
    (void)state;
    struct pki_join join;
    size_t proofs = 0;
    make(PKI_SYSTEM, "AZ/GOV/STS/tax");
    struct span s = buf_span(&request);
    uint8_t copy[PKI_JOIN_MAX_BYTES + 1];
    memcpy(copy, s.p, s.len);
    for (size_t i = 0; i < s.len; i++) {
        copy[i] ^= (uint8_t)(1u << (i % 8));
        ehis_err err = pki_join_read(span_of(copy, s.len), &join, NULL);
        assert_int_not_equal(err, EHIS_OK);
        proofs += err == EHIS_E_JOIN_PROOF;
        copy[i] ^= (uint8_t)(1u << (i % 8));
    }
    assert_true(proofs > 128);
    for (size_t n = 0; n < s.len; n++)
        assert_int_not_equal(pki_join_read(span_of(s.p, n), &join, NULL), EHIS_OK);
    copy[s.len] = 0;
    assert_int_not_equal(pki_join_read(span_of(copy, s.len + 1), &join, NULL), EHIS_OK);
    assert_int_equal(pki_join_read(span_of(copy, PKI_JOIN_MAX_BYTES + 1), &join, NULL), EHIS_E_TOO_LARGE);
}

/* The request anew with its JoinKeys in this order; -1 ends. */
static void reorder(const int *order, struct buf *out)
{
    struct scan_value v[5];
    struct span keys[3], s = buf_span(&request);
    size_t at = 0;
    assert_int_equal(scan(&scan_ehis_v1_join_request, s, v, 5, NULL), EHIS_OK);
    for (size_t i = 0; i < v[2].count; i++)
        assert_true(scan_next(s, 2, &at, &keys[i]));
    assert_int_equal(codec_put_bytes(out, 1, v[1].bytes), EHIS_OK);
    for (; *order >= 0; order++)
        assert_int_equal(codec_put_bytes(out, 2, keys[*order]), EHIS_OK);
    assert_int_equal(codec_put_bytes(out, 3, v[3].bytes), EHIS_OK);
    assert_int_equal(codec_put_number(out, 4, v[4].number), EHIS_OK);
}

static void keys_that_are_missing_doubled_or_moved_are_refused(void **state)
{
    (void)state;
    static const struct {
        int order[5];
        ehis_err err;
    } rows[] = {
        {{0, 1, 2, -1}, EHIS_OK},           {{0, 1, -1}, EHIS_E_JOIN_KEYS},
        {{0, 1, 1, -1}, EHIS_E_JOIN_KEYS},  {{0, 1, 2, 2, -1}, EHIS_E_JOIN_KEYS},
        {{1, 0, 2, -1}, EHIS_E_JOIN_PROOF}, /* another order: other bytes */
    };
    struct pki_join join;
    make(PKI_SYSTEM, "AZ/GOV/STS/tax");
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct buf b;
        buf_init(&b, PKI_JOIN_MAX_BYTES);
        reorder(rows[i].order, &b);
        assert_int_equal(pki_join_read(buf_span(&b), &join, NULL), rows[i].err);
        buf_fini(&b);
    }
}

static void a_request_cannot_be_taken_over_for_another_name(void **state)
{
    (void)state;
    struct pki_join join;
    make(PKI_SYSTEM, "AZ/GOV/STS/tax");
    struct span s = buf_span(&request);
    uint8_t copy[PKI_JOIN_MAX_BYTES];
    memcpy(copy, s.p, s.len);
    copy[2 + 13] = 'y'; /* the last letter of the name: AZ/GOV/STS/tay */
    assert_int_equal(pki_join_read(span_of(copy, s.len), &join, NULL), EHIS_E_JOIN_PROOF);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_system_asks_with_three_keys_and_proves_them, setup, teardown),
        cmocka_unit_test_setup_teardown(a_gateway_asks_with_two_keys, setup, teardown),
        cmocka_unit_test_setup_teardown(keys_are_never_overwritten, setup, teardown),
        cmocka_unit_test_setup_teardown(a_wrong_name_makes_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(any_bit_that_is_turned_and_any_cut_is_found, setup, teardown),
        cmocka_unit_test_setup_teardown(keys_that_are_missing_doubled_or_moved_are_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(a_request_cannot_be_taken_over_for_another_name, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
