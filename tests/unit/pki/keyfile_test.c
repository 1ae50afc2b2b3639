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
#include "base/disk.h"
#include "pki/keyfile.h"

static char dir[] = "/tmp/ehis-key-XXXXXX";
static char path[128];

static int setup(void **state)
{
    (void)state;
    if (!mkdtemp(dir) || crypto_init(NULL) != EHIS_OK)
        return -1;
    snprintf(path, sizeof path, "%s/a.key", dir);
    return 0;
}
static int teardown(void **state)
{
    (void)state;
    return rmdir(dir);
}
static int clean(void **state)
{
    (void)state;
    unlink(path);
    return 0;
}

#define HEX "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"

static void a_key_line_gives_use_and_seed(void **state)
{
    (void)state;
    enum key_use use;
    uint8_t seed[32];
    assert_int_equal(pki_keyfile_parse(span_str("ehis-key-v1 sign " HEX "\n"), &use, seed, NULL), EHIS_OK);
    assert_int_equal(use, USE_SIGN);
    for (int i = 0; i < 32; i++)
        assert_int_equal(seed[i], i);
    assert_int_equal(pki_keyfile_parse(span_str("ehis-key-v1 operator " HEX "\n"), &use, seed, NULL), EHIS_OK);
    assert_int_equal(use, USE_OPERATOR);
}

static void anything_else_is_no_key_line(void **state)
{
    (void)state;
    enum key_use use;
    uint8_t seed[32];
    static const char *const bad[] = {
        "",
        "ehis-key-v1 sign " HEX,
        "ehis-key-v1 sign " HEX "\n\n",
        "ehis-key-v1 sign " HEX " \n",
        "ehis-key-v2 sign " HEX "\n",
        "ehis-key-v1 tls " HEX "\n",
        "ehis-key-v1 sign  " HEX "\n",
        " ehis-key-v1 sign " HEX "\n",
        "ehis-key-v1 signs " HEX "\n",
        "ehis-key-v1 sign 0" HEX "\n",
        "ehis-key-v1 sign g00102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f\n",
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_int_equal(pki_keyfile_parse(span_str(bad[i]), &use, seed, NULL), EHIS_E_KEY_FILE);
    const char whole[] = "ehis-key-v1 seal " HEX "\n";
    for (size_t n = 0; n < sizeof whole - 1; n++)
        assert_int_equal(pki_keyfile_parse(span_of(whole, n), &use, seed, NULL), EHIS_E_KEY_FILE);
}

static void a_key_that_was_made_is_loaded_for_its_use_alone(void **state)
{
    (void)state;
    uint8_t public_key[32];
    struct sign_key *k;
    struct seal_key *s;
    struct stat st;
    assert_int_equal(pki_keyfile_make(path, USE_SIGN, &random_system, public_key, NULL), EHIS_OK);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_int_equal(pki_keyfile_load_sign(path, USE_SIGN, &k, NULL), EHIS_OK);
    assert_memory_equal(sign_key_public(k), public_key, 32);
    sign_key_free(k);
    assert_int_equal(pki_keyfile_load_sign(path, USE_OPERATOR, &k, NULL), EHIS_E_KEY_FILE);
    assert_int_equal(pki_keyfile_load_seal(path, &s, NULL), EHIS_E_KEY_FILE);
    assert_int_equal(pki_keyfile_make(path, USE_SIGN, &random_system, public_key, NULL), EHIS_E_EXISTS);
    unlink(path);
    assert_int_equal(pki_keyfile_make(path, USE_SEAL, &random_system, public_key, NULL), EHIS_OK);
    assert_int_equal(pki_keyfile_load_seal(path, &s, NULL), EHIS_OK);
    assert_memory_equal(seal_key_public(s), public_key, 32);
    seal_key_free(s);
}

static void a_key_that_others_can_read_is_refused(void **state)
{
    (void)state;
    uint8_t public_key[32];
    struct sign_key *k;
    static const mode_t modes[] = {0640, 0604, 0620, 0644};
    assert_int_equal(pki_keyfile_load_sign(path, USE_SIGN, &k, NULL), EHIS_E_NOT_FOUND);
    assert_int_equal(pki_keyfile_make(path, USE_SIGN, &random_system, public_key, NULL), EHIS_OK);
    for (size_t i = 0; i < sizeof modes / sizeof modes[0]; i++) {
        assert_int_equal(chmod(path, modes[i]), 0);
        assert_int_equal(pki_keyfile_load_sign(path, USE_SIGN, &k, NULL), EHIS_E_PERMISSION);
    }
}

static void a_tls_key_is_p_256_in_pkcs_8(void **state)
{
    (void)state;
    EVP_PKEY *made, *loaded;
    struct buf pem;
    assert_int_equal(pki_tlskey_make(path, &made, NULL), EHIS_OK);
    assert_int_equal(pki_tlskey_load(path, &loaded, NULL), EHIS_OK);
    assert_int_equal(EVP_PKEY_eq(made, loaded), 1);
    EVP_PKEY_free(loaded);
    assert_int_equal(pki_tlskey_make(path, &loaded, NULL), EHIS_E_EXISTS);
    buf_init(&pem, 8192);
    assert_int_equal(file_read(path, 8192, &pem, NULL), EHIS_OK);
    struct span s = buf_span(&pem);
    assert_non_null(memmem(s.p, s.len, "-----BEGIN PRIVATE KEY-----", 27));
    /* cut short, or twice */
    assert_int_equal(file_write(path, span_of(s.p, s.len / 2), 0600, NULL), EHIS_OK);
    assert_int_equal(pki_tlskey_load(path, &loaded, NULL), EHIS_E_KEY_FILE);
    assert_int_equal(file_write(path, span_str(""), 0600, NULL), EHIS_OK);
    assert_int_equal(pki_tlskey_load(path, &loaded, NULL), EHIS_E_KEY_FILE);
    size_t once = s.len;
    assert_int_equal(buf_put(&pem, pem.p + pem.start, 0), EHIS_OK);
    uint8_t copy[8192];
    memcpy(copy, buf_span(&pem).p, once);
    assert_int_equal(buf_put(&pem, copy, once), EHIS_OK);
    assert_int_equal(file_write(path, buf_span(&pem), 0600, NULL), EHIS_OK);
    assert_int_equal(pki_tlskey_load(path, &loaded, NULL), EHIS_E_KEY_FILE);
    EVP_PKEY_free(made);
    buf_fini(&pem);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(a_key_line_gives_use_and_seed, clean),
        cmocka_unit_test_teardown(anything_else_is_no_key_line, clean),
        cmocka_unit_test_teardown(a_key_that_was_made_is_loaded_for_its_use_alone, clean),
        cmocka_unit_test_teardown(a_key_that_others_can_read_is_refused, clean),
        cmocka_unit_test_teardown(a_tls_key_is_p_256_in_pkcs_8, clean),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
