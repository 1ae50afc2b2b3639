/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdio.h>
#include "pki/der.h"
#include "tests/support/forge.h"

static struct forge_pki p;

static int setup(void **state)
{
    (void)state;
    forge_pki_init(&p, NULL);
    return 0;
}
static int teardown(void **state)
{
    (void)state;
    forge_pki_fini(&p);
    return 0;
}

static struct forge leaf(void)
{
    return forge_leaf(p.mid, p.mid_key);
}

static ehis_err check(const struct forge *f, struct pki_leaf *out)
{
    struct ehis_why why = {""};
    X509 *x = forge_cert(f);
    ehis_err err = pki_profile_leaf(x, FORGE_NOW_MS, out, &why);
    X509_free(x);
    return err;
}
#define assert_refused(f, code) assert_string_equal(ehis_err_name(check((f), NULL)), ehis_err_name(EHIS_E_##code))

static void a_systems_certificate_gives_its_identity(void **state)
{
    (void)state;
    struct forge f = leaf();
    struct pki_leaf l;
    struct hash h;
    f.key = forge_key();
    X509 *x = forge_cert(&f);
    assert_int_equal(pki_profile_leaf(x, FORGE_NOW_MS, &l, NULL), EHIS_OK);
    assert_int_equal(l.kind, PKI_SYSTEM);
    assert_string_equal(l.id, "AZ/GOV/STS/tax");
    assert_int_equal(l.not_after_ms, f.until_ms);
    assert_int_equal(l.not_before_ms, f.from_ms);
    assert_int_equal(l.serial_len, 8);
    uint8_t *spki = NULL;
    int n = i2d_PUBKEY(f.key, &spki);
    assert_int_equal(l.spki_len, n);
    assert_memory_equal(l.spki, spki, (size_t)n);
    crypto_key_id(USE_TLS, ALGORITHM_SPKI, span_of(spki, (size_t)n), &h);
    assert_memory_equal(&h, &l.key_id, sizeof h);
    unsigned char md[32];
    unsigned md_len;
    assert_int_equal(X509_digest(x, EVP_sha256(), md, &md_len), 1);
    assert_memory_equal(md, l.fingerprint.b, 32);
    OPENSSL_free(spki);
    EVP_PKEY_free(f.key);
    X509_free(x);
}

static void a_gateways_certificate_gives_its_identity(void **state)
{
    (void)state;
    struct forge f = leaf();
    struct pki_leaf l;
    f.names = "URI:ehis-gw:AZ/gw1";
    f.extended = "serverAuth";
    assert_int_equal(check(&f, &l), EHIS_OK);
    assert_int_equal(l.kind, PKI_GATEWAY);
    assert_string_equal(l.id, "AZ/gw1");
}

static void names_that_are_missing_several_or_of_another_kind_are_refused(void **state)
{
    (void)state;
    struct forge f = leaf();
    f.names = NULL;
    assert_refused(&f, CERT_NAME_IN_CN);
    f.cn = NULL;
    assert_refused(&f, CERT_NAME_MISSING);
    f = leaf();
    f.names = "URI:ehis:AZ/GOV/STS/tax,URI:ehis:AZ/GOV/MIA/population";
    assert_refused(&f, CERT_NAME_SEVERAL);
    f.names = "URI:ehis:AZ/GOV/STS/tax,DNS:tax.example";
    assert_refused(&f, CERT_NAME_SEVERAL);
    static const char *const types[] = {"DNS:tax.example", "email:a@b.example", "IP:127.0.0.1",
                                        "otherName:1.2.3.4;UTF8:ehis:AZ/GOV/STS/tax", "RID:1.2.3.4"};
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
        f.names = types[i];
        assert_refused(&f, CERT_NAME_TYPE);
    }
    f = leaf();
    f.is_names_twice = true;
    assert_refused(&f, CERT_EXTENSION);
}

static void names_of_another_form_are_refused(void **state)
{
    (void)state;
    static const char *const forms[] = {"URI:ehis:AZ/GOV/STS",
                                        "URI:ehis:AZ/GOV/STS/tax/service",
                                        "URI:EHIS:AZ/GOV/STS/tax",
                                        "URI:ehis:AZ//STS/tax",
                                        "URI:ehis-gw:AZ",
                                        "URI:ehis-gw:AZ/gw/1",
                                        "URI:https://tax.example/",
                                        "URI:ehis:",
                                        "URI:ehis:AZ/GOV/STS/t%41x",
                                        "URI:ehis:AZ/GOV/STS/..",
                                        "URI:ehis: AZ/GOV/STS/tax",
                                        "URI:ehis:AZ/gw1",
                                        "URI:ehis-gw:AZ/GOV/STS/tax"};
    struct forge f = leaf();
    for (size_t i = 0; i < sizeof forms / sizeof forms[0]; i++) {
        f.names = forms[i];
        assert_refused(&f, CERT_NAME_FORM);
    }
    /* a NUL inside: SEQUENCE { [6] "ehis:AZ/GOV/STS/tax\0x" } */
    f.names = NULL;
    f.extra_oid = "2.5.29.17";
    f.extra = "30178615656869733a415a2f474f562f5354532f7461780078";
    assert_refused(&f, CERT_NAME_FORM);
    f.extra = "3000";
    assert_refused(&f, CERT_NAME_MISSING);
    f.extra = "30178615656869733a415a2f474f562f5354532f746178007800"; /* a byte behind it */
    assert_refused(&f, CERT_EXTENSION);
}

static void the_longest_name_passes_and_one_more_does_not(void **state)
{
    (void)state;
    char name[400];
    struct forge f = leaf();
    struct pki_leaf l;
    snprintf(name, sizeof name, "URI:ehis:%.64s/%.64s/%.64s/%.5s", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
             "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb",
             "cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc", "ddddd");
    f.names = name;
    assert_int_equal(check(&f, &l), EHIS_OK);
    assert_int_equal(strlen(l.id), 200);
    strncat(name, "d", 2);
    assert_refused(&f, CERT_NAME_FORM);
}

static void wrong_usages_are_refused(void **state)
{
    (void)state;
    static const char *const wrong[] = {
        NULL, "serverAuth", "clientAuth,serverAuth", "anyExtendedKeyUsage", "clientAuth,emailProtection", "clientAuth,clientAuth"};
    struct forge f = leaf();
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        f.extended = wrong[i];
        assert_refused(&f, CERT_EXTENDED_USAGE);
    }
    f = leaf();
    f.names = "URI:ehis-gw:AZ/gw1"; /* a gateway's name with a system's usage */
    assert_refused(&f, CERT_EXTENDED_USAGE);
    f = leaf();
    f.usage = NULL;
    assert_refused(&f, CERT_KEY_USAGE);
    f.usage = "critical,keyEncipherment";
    assert_refused(&f, CERT_KEY_USAGE);
    f.usage = "critical,digitalSignature,keyCertSign";
    f.basic = "critical,CA:TRUE,pathlen:0";
    assert_refused(&f, CERT_IS_CA);
    f = leaf();
    f.basic = "critical,CA:TRUE";
    assert_refused(&f, CERT_IS_CA);
    f = leaf();
    f.usage = "critical,digitalSignature,keyCertSign";
    f.basic = NULL;
    assert_refused(&f, CERT_IS_CA);
}

static void lifetimes_are_held_to_90_days(void **state)
{
    (void)state;
    struct forge f = leaf();
    f.until_ms = f.from_ms + 90 * FORGE_DAY_MS;
    assert_int_equal(check(&f, NULL), EHIS_OK);
    f.until_ms += 1000;
    assert_refused(&f, CERT_LIFETIME);
    f.until_ms = f.from_ms;
    assert_refused(&f, CERT_LIFETIME);
    f.until_ms = FORGE_NOW_MS;
    assert_refused(&f, CERT_EXPIRED);
    f.until_ms = FORGE_NOW_MS + 1000;
    assert_int_equal(check(&f, NULL), EHIS_OK);
    f.from_ms = FORGE_NOW_MS;
    f.until_ms = FORGE_NOW_MS + FORGE_DAY_MS;
    assert_int_equal(check(&f, NULL), EHIS_OK);
    f.from_ms = FORGE_NOW_MS + 1000;
    assert_refused(&f, CERT_NOT_YET_VALID);
}

static void weak_keys_are_refused_and_the_others_taken(void **state)
{
    (void)state;
    struct {
        EVP_PKEY *key;
        ehis_err err;
    } keys[] = {
        {forge_rsa(2048, 65537), EHIS_E_CERT_KEY_WEAK}, {forge_rsa(3072, 3), EHIS_E_CERT_KEY_WEAK},       {forge_rsa(3072, 65537), EHIS_OK},
        {forge_curve("P-224"), EHIS_E_CERT_KEY_WEAK},   {forge_curve("secp256k1"), EHIS_E_CERT_KEY_WEAK}, {forge_curve("P-384"), EHIS_OK},
        {forge_curve("P-521"), EHIS_E_CERT_KEY_WEAK},   {forge_other("ED448"), EHIS_E_CERT_KEY_WEAK},     {forge_other("ED25519"), EHIS_OK},
    };
    struct forge f = leaf();
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        f.key = keys[i].key;
        assert_int_equal(check(&f, NULL), keys[i].err);
        EVP_PKEY_free(keys[i].key);
    }
}

static void signature_algorithms_outside_the_list_are_refused(void **state)
{
    (void)state;
    struct forge f = leaf();
    f.digest = EVP_sha1();
    assert_refused(&f, CERT_SIGNATURE_ALGORITHM);
    f.digest = EVP_sha512();
    assert_int_equal(check(&f, NULL), EHIS_OK);
    f.issuer_key = forge_other("ED448");
    f.digest = NULL;
    assert_refused(&f, CERT_SIGNATURE_ALGORITHM);
    EVP_PKEY_free(f.issuer_key);
}

static void unknown_critical_and_forbidden_extensions_are_refused(void **state)
{
    (void)state;
    struct forge f = leaf();
    f.extra_oid = "1.2.3.4";
    f.extra = "critical,0500";
    assert_refused(&f, CERT_EXTENSION_CRITICAL);
    f.extra = "0500";
    assert_int_equal(check(&f, NULL), EHIS_OK);
    f = leaf();
    f.constraints = "permitted;DNS:example";
    assert_refused(&f, CERT_EXTENSION);
    f = leaf();
    f.basic = NULL;
    f.extra_oid = "2.5.29.19";
    f.extra = "critical,3003010100"; /* CA FALSE, written out: not DER */
    assert_refused(&f, CERT_EXTENSION);
    f.extra = "critical,3003010101"; /* TRUE, but not as DER writes it */
    assert_refused(&f, CERT_EXTENSION);
    f.extra = "critical,04020500"; /* no basic constraints at all */
    assert_refused(&f, CERT_EXTENSION);
}

static void version_serial_and_key_identifiers_are_required(void **state)
{
    (void)state;
    struct forge f = leaf();
    f.version = X509_VERSION_1;
    assert_refused(&f, CERT_VERSION);
    f = leaf();
    f.serial = "0";
    assert_refused(&f, CERT_SERIAL);
    f.serial = "-1";
    assert_refused(&f, CERT_SERIAL);
    f.serial = "7fffffffffffffffffffffffffffffffffffffff";
    assert_int_equal(check(&f, NULL), EHIS_OK);
    f.serial = "8000000000000000000000000000000000000000";
    assert_refused(&f, CERT_SERIAL);
    f = leaf();
    f.no_ski = true;
    assert_refused(&f, CERT_KEY_IDENTIFIER);
    f = leaf();
    f.no_aki = true;
    assert_refused(&f, CERT_KEY_IDENTIFIER);
}

static void an_authority_must_be_marked_as_one(void **state)
{
    (void)state;
    struct forge f = forge_ca(p.root, p.root_key, "other");
    struct {
        const char *basic, *usage;
        ehis_err err;
    } rows[] = {
        {"critical,CA:TRUE,pathlen:0", "critical,keyCertSign,cRLSign", EHIS_OK},
        {"critical,CA:TRUE", "critical,keyCertSign,cRLSign", EHIS_E_CERT_AUTHORITY}, /* no path length */
        {"CA:TRUE,pathlen:0", "critical,keyCertSign,cRLSign", EHIS_E_CERT_AUTHORITY},
        {"critical,CA:FALSE", "critical,digitalSignature", EHIS_E_CERT_AUTHORITY},
        {NULL, "critical,keyCertSign,cRLSign", EHIS_E_CERT_AUTHORITY},
        {"critical,CA:TRUE,pathlen:0", NULL, EHIS_E_CERT_AUTHORITY},
        {"critical,CA:TRUE,pathlen:0", "keyCertSign,cRLSign", EHIS_E_CERT_AUTHORITY},
        {"critical,CA:TRUE,pathlen:0", "critical,keyCertSign", EHIS_E_CERT_AUTHORITY},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        f.basic = rows[i].basic;
        f.usage = rows[i].usage;
        X509 *x = forge_cert(&f);
        assert_int_equal(pki_profile_authority(x, FORGE_NOW_MS, NULL), rows[i].err);
        X509_free(x);
    }
    assert_int_equal(pki_profile_authority(p.root, FORGE_NOW_MS, NULL), EHIS_OK);
    assert_int_equal(pki_profile_authority(p.root, FORGE_NOW_MS + 1001 * FORGE_DAY_MS, NULL), EHIS_E_CERT_EXPIRED);
}

static void der_must_be_whole_canonical_and_bounded(void **state)
{
    (void)state;
    struct forge f = leaf();
    struct buf der;
    X509 *x = forge_cert(&f), *y;
    buf_init(&der, 65536);
    forge_put_der(&der, x);
    struct span s = buf_span(&der);
    assert_int_equal(pki_cert_from_der(s, &y, NULL), EHIS_OK);
    X509_free(y);
    for (size_t n = 0; n < s.len; n++)
        assert_int_equal(pki_cert_from_der(span_of(s.p, n), &y, NULL), EHIS_E_CERT_MALFORMED);
    assert_int_equal(buf_put_u8(&der, 0), EHIS_OK);
    assert_int_equal(pki_cert_from_der(buf_span(&der), &y, NULL), EHIS_E_CERT_MALFORMED);
    /* the outer length in more bytes than needed */
    s = buf_span(&der);
    assert_int_equal(s.p[1], 0x82);
    uint8_t longer[8192];
    longer[0] = 0x30, longer[1] = 0x83, longer[2] = 0;
    memcpy(longer + 3, s.p + 2, s.len - 3);
    assert_int_equal(pki_cert_from_der(span_of(longer, s.len), &y, NULL), EHIS_E_CERT_MALFORMED);
    assert_int_equal(pki_cert_from_der(span_of(longer, PKI_CERT_MAX_BYTES + 1), &y, NULL), EHIS_E_CERT_TOO_LARGE);
    /* a default written out, inside; also where the bytes were parsed by somebody else, as in a handshake */
    uint8_t *critical = memmem(s.p, s.len - 1, "\x01\x01\xff", 3);
    assert_non_null(critical);
    critical[2] = 1; /* TRUE of another kind */
    assert_int_equal(pki_cert_from_der(span_of(s.p, s.len - 1), &y, NULL), EHIS_E_CERT_MALFORMED);
    critical[2] = 0;
    assert_int_equal(pki_cert_from_der(span_of(s.p, s.len - 1), &y, NULL), EHIS_E_CERT_MALFORMED);
    const uint8_t *at = s.p;
    y = d2i_X509(NULL, &at, (long)s.len - 1);
    assert_non_null(y);
    assert_int_equal(pki_profile_leaf(y, FORGE_NOW_MS, NULL, NULL), EHIS_E_CERT_MALFORMED);
    X509_free(y);
    buf_fini(&der);
    X509_free(x);
}

static void a_chain_has_two_to_five_certificates_and_the_kind_that_is_asked_for(void **state)
{
    (void)state;
    struct forge f = leaf();
    struct pki_leaf l;
    STACK_OF(X509) *chain = sk_X509_new_null();
    X509 *x = forge_cert(&f);
    sk_X509_push(chain, x);
    assert_int_equal(pki_profile_chain(chain, PKI_SYSTEM, FORGE_NOW_MS, &l, NULL), EHIS_E_CHAIN_UNTRUSTED);
    sk_X509_push(chain, p.mid);
    sk_X509_push(chain, p.root);
    assert_int_equal(pki_profile_chain(chain, PKI_SYSTEM, FORGE_NOW_MS, &l, NULL), EHIS_OK);
    assert_int_equal(pki_profile_chain(chain, PKI_GATEWAY, FORGE_NOW_MS, &l, NULL), EHIS_E_CERT_KIND);
    sk_X509_push(chain, p.root);
    sk_X509_push(chain, p.root);
    assert_int_equal(pki_profile_chain(chain, PKI_SYSTEM, FORGE_NOW_MS, &l, NULL), EHIS_OK);
    sk_X509_push(chain, p.root);
    assert_int_equal(pki_profile_chain(chain, PKI_SYSTEM, FORGE_NOW_MS, &l, NULL), EHIS_E_CHAIN_TOO_LONG);
    sk_X509_free(chain);
    X509_free(x);
}

static void strict_der_is_told_from_loose(void **state)
{
    (void)state;
    static const struct {
        const char *hex;
        bool is_strict;
    } rows[] = {
        {"", true},         {"3000", true},     {"30030101ff", true}, {"3003010101", false}, {"3003010100", false}, {"0500", true},
        {"050100", false},  {"020100", true},   {"0200", false},      {"02020001", false},   {"02020080", true},    {"0202ff80", false},
        {"0202ff7f", true}, {"03020780", true}, {"03020781", false},  {"03020880", false},   {"030100", true},      {"030101", false},
        {"0300", false},    {"1000", false},    {"2400", false},      {"308000", false},     {"30810100", false},   {"3082000100", false},
        {"04", false},      {"0402aa", false},  {"1f0100", false},    {"a0020500", true},    {"8001aa", true},      {"3000050001", false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        uint8_t der[32];
        size_t n = strlen(rows[i].hex) / 2;
        assert_int_equal(hex_from_text(span_str(rows[i].hex), der, n), EHIS_OK);
        if (pki_der_is_strict(span_of(der, n)) != rows[i].is_strict)
            fail_msg("%s", rows[i].hex);
    }
    uint8_t deep[2 * 20];
    for (size_t levels = 1; levels <= 20; levels++) {
        for (size_t i = 0; i < levels; i++)
            deep[2 * i] = 0x30, deep[2 * i + 1] = (uint8_t)(2 * (levels - 1 - i));
        assert_int_equal(pki_der_is_strict(span_of(deep, 2 * levels)), levels <= 16);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_systems_certificate_gives_its_identity),
        cmocka_unit_test(a_gateways_certificate_gives_its_identity),
        cmocka_unit_test(names_that_are_missing_several_or_of_another_kind_are_refused),
        cmocka_unit_test(names_of_another_form_are_refused),
        cmocka_unit_test(the_longest_name_passes_and_one_more_does_not),
        cmocka_unit_test(wrong_usages_are_refused),
        cmocka_unit_test(lifetimes_are_held_to_90_days),
        cmocka_unit_test(weak_keys_are_refused_and_the_others_taken),
        cmocka_unit_test(signature_algorithms_outside_the_list_are_refused),
        cmocka_unit_test(unknown_critical_and_forbidden_extensions_are_refused),
        cmocka_unit_test(version_serial_and_key_identifiers_are_required),
        cmocka_unit_test(an_authority_must_be_marked_as_one),
        cmocka_unit_test(strict_der_is_told_from_loose),
        cmocka_unit_test(der_must_be_whole_canonical_and_bounded),
        cmocka_unit_test(a_chain_has_two_to_five_certificates_and_the_kind_that_is_asked_for),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
