/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <openssl/err.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/disk.h"
#include "tests/support/forge.h"
#include "pki/authority.h"
#include "pki/csr.h"
#include "pki/issued.h"
#include "pki/tls.h"

#define NOW FORGE_NOW_MS
static char dir[64], file[128];
static struct buf csr;
static EVP_PKEY *key;

static int setup(void **state)
{
    (void)state;
    snprintf(dir, sizeof dir, "/tmp/ehis-ca-XXXXXX");
    if (!mkdtemp(dir) || pki_init(NULL) != EHIS_OK || crypto_init(NULL) != EHIS_OK)
        return -1;
    key = forge_key();
    buf_init(&csr, PKI_CSR_MAX_BYTES);
    if (pki_csr_make(key, PKI_SYSTEM, span_str("AZ/GOV/STS/tax"), &csr, NULL) != EHIS_OK)
        return -1;
    return pki_authority_init(dir, span_str("AZ"), 3650, 1825, NOW, NULL) == EHIS_OK ? 0 : -1;
}

static const char *file_of(const char *name)
{
    snprintf(file, sizeof file, "%s/%s", dir, name);
    return file;
}

static int teardown(void **state)
{
    (void)state;
    static const char *const names[] = {"ca.crt", "root.key", "intermediate.key", "issued.txt", "lock"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        unlink(file_of(names[i]));
    EVP_PKEY_free(key);
    buf_fini(&csr);
    return rmdir(dir);
}

static struct pki_authority *open_ca(void)
{
    struct pki_authority *a = NULL;
    assert_int_equal(pki_authority_open(dir, &a, NULL), EHIS_OK);
    return a;
}

static ehis_err issue(struct pki_authority *a, const char *id, enum pki_kind kind, unsigned days, struct buf *pem, struct pki_leaf *out)
{
    return pki_authority_issue(a, buf_span(&csr), kind, span_str(id), days, NOW, false, pem, out, NULL);
}

/* What this authority issues, verified as a peer would with its newest lists. */
static ehis_err verify(struct pki_authority *a, const struct buf *pem, enum pki_kind kind)
{
    struct buf ca, crls;
    struct pki_trust *t = NULL;
    struct pki_peer peer;
    STACK_OF(X509) * chain;
    buf_init(&ca, 65536);
    buf_init(&crls, 1 << 20);
    assert_int_equal(file_read(file_of("ca.crt"), 65536, &ca, NULL), EHIS_OK);
    assert_int_equal(pki_authority_crl(a, 7, NOW, false, &crls, NULL), EHIS_OK);
    assert_int_equal(pki_trust_new(buf_span(&ca), buf_span(&crls), NOW, 0, NULL, &t, NULL), EHIS_OK);
    assert_int_equal(pki_chain_from_pem(buf_span(pem), &chain, NULL), EHIS_OK);
    X509 *leaf = sk_X509_shift(chain);
    ehis_err err = pki_trust_verify(t, leaf, chain, kind, NOW, &peer, NULL);
    X509_free(leaf);
    pki_chain_free(chain);
    pki_trust_unref(t);
    buf_fini(&ca);
    buf_fini(&crls);
    return err;
}

static void keys_are_private_and_an_authority_is_made_once(void **state)
{
    (void)state;
    struct stat st;
    assert_int_equal(stat(file_of("root.key"), &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_int_equal(stat(file_of("intermediate.key"), &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_int_equal(pki_authority_init(dir, span_str("AZ"), 3650, 1825, NOW, NULL), EHIS_E_EXISTS);
    assert_int_equal(pki_authority_init("/tmp/ehis-none", span_str("A/Z"), 3650, 1825, NOW, NULL), EHIS_E_IDENTIFIER_INVALID);
}

static void what_is_issued_is_believed_until_it_is_revoked(void **state)
{
    (void)state;
    struct buf pem;
    struct pki_leaf leaf;
    size_t count;
    struct pki_authority *a = open_ca();
    buf_init(&pem, 65536);
    assert_int_equal(issue(a, "AZ/GOV/STS/tax", PKI_SYSTEM, 90, &pem, &leaf), EHIS_OK);
    assert_string_equal(leaf.id, "AZ/GOV/STS/tax");
    assert_true(leaf.not_after_ms - leaf.not_before_ms == 90 * FORGE_DAY_MS);
    assert_int_equal(verify(a, &pem, PKI_SYSTEM), EHIS_OK);
    char serial[41];
    hex_to_text(leaf.serial, leaf.serial_len, serial);
    assert_int_equal(pki_authority_revoke(a, serial, "keyCompromise", NOW, true, &count, NULL), EHIS_OK);
    pki_authority_close(a); /* it was dry: forgotten */
    a = open_ca();
    assert_int_equal(verify(a, &pem, PKI_SYSTEM), EHIS_OK);
    assert_int_equal(pki_authority_revoke(a, serial, "keyCompromise", NOW, false, &count, NULL), EHIS_OK);
    assert_int_equal(count, 1);
    assert_int_equal(verify(a, &pem, PKI_SYSTEM), EHIS_E_CERT_REVOKED);
    assert_int_equal(pki_authority_revoke(a, serial, "superseded", NOW, false, &count, NULL), EHIS_E_AUTHORITY_REVOKED);
    assert_int_equal(pki_authority_revoke(a, "00", "superseded", NOW, false, &count, NULL), EHIS_E_AUTHORITY_SERIAL);
    assert_int_equal(pki_authority_revoke(a, serial, "boredom", NOW, false, &count, NULL), EHIS_E_USAGE);
    pki_authority_close(a);
    a = open_ca();
    assert_int_equal(pki_authority_issued_count(a), 1);
    assert_int_equal(pki_authority_issued(a, 0)->revoked_ms, NOW);
    assert_int_equal(verify(a, &pem, PKI_SYSTEM), EHIS_E_CERT_REVOKED);
    pki_authority_close(a);
    buf_fini(&pem);
}

static void a_name_revokes_all_its_certificates(void **state)
{
    (void)state;
    struct buf first, second;
    size_t count;
    struct pki_authority *a = open_ca();
    buf_init(&first, 65536);
    buf_init(&second, 65536);
    assert_int_equal(issue(a, "AZ/GOV/STS/tax", PKI_SYSTEM, 30, &first, NULL), EHIS_OK);
    assert_int_equal(issue(a, "AZ/GOV/STS/tax", PKI_SYSTEM, 30, &second, NULL), EHIS_OK);
    assert_int_equal(pki_authority_revoke(a, "AZ/GOV/STS/tax", "cessationOfOperation", NOW, false, &count, NULL), EHIS_OK);
    assert_int_equal(count, 2);
    assert_int_equal(verify(a, &first, PKI_SYSTEM), EHIS_E_CERT_REVOKED);
    assert_int_equal(verify(a, &second, PKI_SYSTEM), EHIS_E_CERT_REVOKED);
    pki_authority_close(a);
    buf_fini(&first);
    buf_fini(&second);
}

static void list_numbers_rise_across_restarts(void **state)
{
    (void)state;
    struct buf ca, crls;
    struct pki_trust *old = NULL, *t;
    buf_init(&ca, 65536);
    buf_init(&crls, 1 << 20);
    assert_int_equal(file_read(file_of("ca.crt"), 65536, &ca, NULL), EHIS_OK);
    for (int i = 0; i < 3; i++) {
        struct pki_authority *a = open_ca();
        buf_clear(&crls);
        assert_int_equal(pki_authority_crl(a, 35, NOW, false, &crls, NULL), EHIS_OK);
        pki_authority_close(a);
        assert_int_equal(pki_trust_new(buf_span(&ca), buf_span(&crls), NOW, 0, old, &t, NULL), EHIS_OK);
        if (old)
            assert_int_equal(pki_trust_new(buf_span(&ca), pki_trust_crl_bundle(old), NOW, 0, t, &old, NULL), EHIS_E_CRL_OLDER);
        pki_trust_unref(old);
        old = t;
    }
    pki_trust_unref(old);
    struct pki_authority *a = open_ca();
    assert_int_equal(pki_authority_crl(a, 0, NOW, false, &crls, NULL), EHIS_E_CRL_LIFETIME);
    assert_int_equal(pki_authority_crl(a, 36, NOW, false, &crls, NULL), EHIS_E_CRL_LIFETIME);
    pki_authority_close(a);
    buf_fini(&ca);
    buf_fini(&crls);
}

static void wrong_names_lives_and_requests_are_not_issued(void **state)
{
    (void)state;
    struct buf pem;
    struct pki_authority *a = open_ca();
    buf_init(&pem, 65536);
    assert_int_equal(issue(a, "EE/GOV/STS/tax", PKI_SYSTEM, 30, &pem, NULL), EHIS_E_AUTHORITY_INSTANCE);
    assert_int_equal(issue(a, "AZ/GOV/STS", PKI_SYSTEM, 30, &pem, NULL), EHIS_E_IDENTIFIER_INVALID);
    assert_int_equal(issue(a, "AZ/GOV/STS/tax", PKI_GATEWAY, 30, &pem, NULL), EHIS_E_IDENTIFIER_INVALID);
    assert_int_equal(issue(a, "AZ/GOV/STS/other", PKI_SYSTEM, 30, &pem, NULL), EHIS_E_CSR_NAME);
    assert_int_equal(issue(a, "AZ/gw1", PKI_GATEWAY, 30, &pem, NULL), EHIS_E_CSR_NAME);
    assert_int_equal(issue(a, "AZ/GOV/STS/tax", PKI_SYSTEM, 0, &pem, NULL), EHIS_E_CERT_LIFETIME);
    assert_int_equal(issue(a, "AZ/GOV/STS/tax", PKI_SYSTEM, 91, &pem, NULL), EHIS_E_CERT_LIFETIME);
    assert_int_equal(pki_authority_issued_count(a), 0);
    assert_int_equal(pem.len, 0);
    pki_authority_close(a);
    buf_fini(&pem);
}

static void a_request_that_is_damaged_or_not_its_keys_own_is_refused(void **state)
{
    (void)state;
    struct span id = span_str("AZ/GOV/STS/tax"), s = buf_span(&csr);
    X509_REQ *r;
    uint8_t copy[PKI_CSR_MAX_BYTES + 1];
    memcpy(copy, s.p, s.len);
    copy[s.len] = 0;
    assert_int_equal(pki_csr_read(span_of(copy, s.len + 1), PKI_SYSTEM, id, &r, NULL), EHIS_E_CSR_MALFORMED);
    assert_int_equal(pki_csr_read(span_of(copy, sizeof copy), PKI_SYSTEM, id, &r, NULL), EHIS_E_CSR_MALFORMED);
    for (size_t n = 0; n < s.len; n++)
        assert_int_equal(pki_csr_read(span_of(s.p, n), PKI_SYSTEM, id, &r, NULL), EHIS_E_CSR_MALFORMED);
    size_t proofs = 0;
    for (size_t i = 0; i < s.len; i++) {
        copy[i] ^= 1;
        ehis_err err = pki_csr_read(span_of(copy, s.len), PKI_SYSTEM, id, &r, NULL);
        assert_int_not_equal(err, EHIS_OK);
        proofs += err == EHIS_E_CSR_PROOF;
        copy[i] ^= 1;
    }
    assert_true(proofs > 64);
    EVP_PKEY *weak = forge_rsa(2048, 65537);
    struct buf other;
    buf_init(&other, PKI_CSR_MAX_BYTES);
    assert_int_equal(pki_csr_make(weak, PKI_SYSTEM, id, &other, NULL), EHIS_OK);
    assert_int_equal(pki_csr_read(buf_span(&other), PKI_SYSTEM, id, &r, NULL), EHIS_E_CERT_KEY_WEAK);
    EVP_PKEY_free(weak);
    buf_fini(&other);
    ERR_clear_error();
}

static void one_process_at_a_time(void **state)
{
    (void)state;
    struct pki_authority *a = open_ca(), *b;
    assert_int_equal(pki_authority_open(dir, &b, NULL), EHIS_E_LOCKED);
    pki_authority_close(a);
    a = open_ca();
    pki_authority_close(a);
    assert_int_equal(pki_authority_open("/tmp", &b, NULL), EHIS_E_NOT_FOUND);
}

static void a_damaged_list_of_certificates_is_refused_with_its_line(void **state)
{
    (void)state;
    static const char head[] = "ehis-authority-v1 AZ\ncrl 3\n";
    static const char good[] = "cert 41aa system AZ/GOV/STS/tax 1790000000000 0 unspecified "
                               "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f\n";
    static const char *const bad[] = {
        "cert 41aa system AZ/GOV/STS/tax 1790000000000 0 unspecified\n",
        "cert 41a system AZ/GOV/STS/tax 1 0 unspecified 000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f\n",
        "cert 41aa gateway AZ/GOV/STS/tax 1 0 unspecified 000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f\n",
        "cert 41aa person AZ/GOV/STS/tax 1 0 unspecified 000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f\n",
        "cert 41aa system AZ/GOV/STS/tax -1 0 unspecified 000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f\n",
        "cert 41aa system AZ/GOV/STS/tax 1 0 bored 000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f\n",
        "cert 41aa  system AZ/GOV/STS/tax 1 0 unspecified 0001\n",
        "\n",
        "cert",
    };
    struct issued_list l;
    struct buf text, again;
    buf_init(&text, 65536);
    buf_init(&again, 65536);
    assert_int_equal(buf_put(&text, head, sizeof head - 1), EHIS_OK);
    assert_int_equal(buf_put(&text, good, sizeof good - 1), EHIS_OK);
    assert_int_equal(issued_parse(buf_span(&text), &l, NULL), EHIS_OK);
    assert_int_equal(l.count, 1);
    assert_int_equal(issued_print(&l, &again), EHIS_OK);
    assert_true(span_eq(buf_span(&text), buf_span(&again)));
    issued_fini(&l);
    for (size_t n = sizeof head; n < text.len; n++) /* cut in the first certificate, or in one after a good one */
        assert_int_equal(issued_parse(span_of(text.p + text.start, n), &l, NULL), EHIS_E_AUTHORITY_DATABASE);
    assert_int_equal(buf_put_u8(&text, 'c'), EHIS_OK);
    assert_int_equal(issued_parse(buf_span(&text), &l, NULL), EHIS_E_AUTHORITY_DATABASE);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct ehis_why why;
        buf_clear(&text);
        assert_int_equal(buf_put(&text, head, sizeof head - 1), EHIS_OK);
        assert_int_equal(buf_put_span(&text, span_str(bad[i])), EHIS_OK);
        assert_int_equal(issued_parse(buf_span(&text), &l, &why), EHIS_E_AUTHORITY_DATABASE);
        assert_non_null(strstr(why.text, "line 3"));
    }
    for (size_t n = 0; n < sizeof head - 1; n++)
        assert_int_equal(issued_parse(span_of(head, n), &l, NULL), EHIS_E_AUTHORITY_DATABASE);
    buf_fini(&text);
    buf_fini(&again);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(keys_are_private_and_an_authority_is_made_once, setup, teardown),
        cmocka_unit_test_setup_teardown(what_is_issued_is_believed_until_it_is_revoked, setup, teardown),
        cmocka_unit_test_setup_teardown(a_name_revokes_all_its_certificates, setup, teardown),
        cmocka_unit_test_setup_teardown(list_numbers_rise_across_restarts, setup, teardown),
        cmocka_unit_test_setup_teardown(wrong_names_lives_and_requests_are_not_issued, setup, teardown),
        cmocka_unit_test_setup_teardown(a_request_that_is_damaged_or_not_its_keys_own_is_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(one_process_at_a_time, setup, teardown),
        cmocka_unit_test_setup_teardown(a_damaged_list_of_certificates_is_refused_with_its_line, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
