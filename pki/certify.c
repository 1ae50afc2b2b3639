/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
#include "pki/certify.h"
#include "pki/csr.h"
#include <arpa/inet.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <stdio.h>

static bool set_serial(X509 *x)
{
    uint8_t serial[16];
    random_fill(&random_system, serial, sizeof serial);
    serial[0] = (uint8_t)((serial[0] & 0x7f) | 0x40); /* positive, and always as long */
    return ASN1_STRING_set(X509_get_serialNumber(x), serial, sizeof serial) == 1;
}

static bool add_extension(X509 *x, X509V3_CTX *ctx, int nid, const char *text)
{
    X509_EXTENSION *e = X509V3_EXT_conf_nid(NULL, ctx, nid, text);
    bool is_added = e && X509_add_ext(x, e, -1) == 1;
    X509_EXTENSION_free(e);
    return is_added;
}

static bool is_address(const char *host)
{
    uint8_t bytes[16];
    return inet_pton(AF_INET, host, bytes) == 1 || inet_pton(AF_INET6, host, bytes) == 1;
}

static ehis_err check_hosts(const char *const *hosts, size_t count, struct ehis_why *why)
{
    static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-";
    if (count > CERTIFY_HOSTS_MAX)
        return ehis_fail(why, EHIS_E_INVALID, "over %d hosts", CERTIFY_HOSTS_MAX);
    for (size_t i = 0; i < count; i++)
        if (!is_address(hosts[i]) && (!hosts[i][0] || strlen(hosts[i]) > 253 || hosts[i][strspn(hosts[i], allowed)]))
            return ehis_fail(why, EHIS_E_INVALID, "%.64s is no name or address of a host", hosts[i]);
    return EHIS_OK;
}

static bool add_bus_extensions(X509 *x, X509V3_CTX *ctx, const struct certify *c)
{
    char names[CERTIFY_HOSTS_MAX * 260 + 8 + PKI_URI_MAX_BYTES], uri[PKI_URI_MAX_BYTES];
    pki_uri(PKI_BUS, c->id, uri);
    int n = snprintf(names, sizeof names, "URI:%s", uri);
    for (size_t i = 0; i < c->host_count; i++)
        n += snprintf(names + n, sizeof names - (size_t)n, ",%s:%s", is_address(c->hosts[i]) ? "IP" : "DNS", c->hosts[i]);
    return add_extension(x, ctx, NID_ext_key_usage, c->host_count ? "serverAuth,clientAuth" : "clientAuth") &&
           add_extension(x, ctx, NID_subject_alt_name, names);
}

static bool add_extensions(X509 *x, const struct certify *c)
{
    X509V3_CTX ctx;
    X509V3_set_ctx(&ctx, c->issuer ? c->issuer : x, x, NULL, NULL, 0);
    if (!add_extension(x, &ctx, NID_subject_key_identifier, "hash") ||
        !add_extension(x, &ctx, NID_authority_key_identifier, "keyid:always"))
        return false;
    if (c->role == CERTIFY_ROOT || c->role == CERTIFY_INTERMEDIATE)
        return add_extension(x, &ctx, NID_basic_constraints,
                             c->role == CERTIFY_ROOT ? "critical,CA:TRUE,pathlen:1" : "critical,CA:TRUE,pathlen:0") &&
               add_extension(x, &ctx, NID_key_usage, "critical,keyCertSign,cRLSign");
    if (!add_extension(x, &ctx, NID_basic_constraints, "critical,CA:FALSE") || !add_extension(x, &ctx, NID_key_usage, "critical,digitalSignature"))
        return false;
    if (c->role == CERTIFY_BUS)
        return add_bus_extensions(x, &ctx, c);
    enum pki_kind kind = c->role == CERTIFY_GATEWAY ? PKI_GATEWAY : PKI_SYSTEM;
    char uri[PKI_URI_MAX_BYTES], name[4 + PKI_URI_MAX_BYTES];
    pki_uri(kind, c->id, uri);
    snprintf(name, sizeof name, "URI:%s", uri);
    return add_extension(x, &ctx, NID_ext_key_usage, kind == PKI_GATEWAY ? "serverAuth" : "clientAuth") &&
           add_extension(x, &ctx, NID_subject_alt_name, name);
}

ehis_err pki_certify(const struct certify *c, X509 **out, struct ehis_why *why)
{
    ehis_err err = ehis_fail(why, EHIS_E_TLS_SETUP, "the certificate cannot be made");
    if (check_hosts(c->hosts, c->host_count, why) != EHIS_OK)
        return EHIS_E_INVALID;
    X509_NAME *subject = pki_subject(c->id, c->role == CERTIFY_BUS ? PKI_BUS_UNIT : NULL);
    X509 *x = X509_new();
    if (!subject || !x || X509_set_version(x, X509_VERSION_3) != 1 || !set_serial(x) || X509_set_subject_name(x, subject) != 1 ||
        X509_set_issuer_name(x, c->issuer ? X509_get_subject_name(c->issuer) : subject) != 1 || X509_set_pubkey(x, c->key) != 1 ||
        !ASN1_TIME_set(X509_getm_notBefore(x), (time_t)(c->from_ms / 1000)) ||
        !ASN1_TIME_set(X509_getm_notAfter(x), (time_t)(c->until_ms / 1000)) || !add_extensions(x, c) ||
        X509_sign(x, c->issuer_key, EVP_sha256()) <= 0)
        goto out;
    *out = x;
    x = NULL;
    err = EHIS_OK;
out:
    X509_NAME_free(subject);
    X509_free(x);
    ERR_clear_error();
    return err;
}

static bool add_revoked(X509_CRL *crl, const struct certify_revoked *r)
{
    X509_REVOKED *entry = X509_REVOKED_new();
    BIGNUM *n = NULL;
    ASN1_INTEGER *serial = BN_hex2bn(&n, r->serial) > 0 ? BN_to_ASN1_INTEGER(n, NULL) : NULL;
    ASN1_TIME *when = ASN1_TIME_set(NULL, (time_t)(r->revoked_ms / 1000));
    ASN1_ENUMERATED *reason = ASN1_ENUMERATED_new();
    bool is_added = entry && serial && when && reason && X509_REVOKED_set_serialNumber(entry, serial) == 1 &&
                    X509_REVOKED_set_revocationDate(entry, when) == 1 && ASN1_ENUMERATED_set(reason, (long)r->reason) == 1 &&
                    (r->reason == 0 || X509_REVOKED_add1_ext_i2d(entry, NID_crl_reason, reason, 0, 0) == 1) &&
                    X509_CRL_add0_revoked(crl, entry) == 1;
    if (!is_added)
        X509_REVOKED_free(entry);
    BN_free(n);
    ASN1_INTEGER_free(serial);
    ASN1_TIME_free(when);
    ASN1_ENUMERATED_free(reason);
    return is_added;
}

static bool add_crl_extensions(X509_CRL *crl, X509 *issuer, uint64_t number)
{
    X509V3_CTX ctx;
    X509V3_set_ctx(&ctx, issuer, NULL, NULL, crl, 0);
    X509_EXTENSION *e = X509V3_EXT_conf_nid(NULL, &ctx, NID_authority_key_identifier, "keyid:always");
    ASN1_INTEGER *n = ASN1_INTEGER_new();
    bool is_added = e && n && X509_CRL_add_ext(crl, e, -1) == 1 && ASN1_INTEGER_set_uint64(n, number) == 1 &&
                    X509_CRL_add1_ext_i2d(crl, NID_crl_number, n, 0, 0) == 1;
    X509_EXTENSION_free(e);
    ASN1_INTEGER_free(n);
    return is_added;
}

ehis_err pki_certify_crl(X509 *issuer, EVP_PKEY *key, uint64_t number, int64_t from_ms, int64_t until_ms,
                         const struct certify_revoked *revoked, size_t count, struct buf *out, struct ehis_why *why)
{
    ehis_err err = ehis_fail(why, EHIS_E_TLS_SETUP, "the revocation list cannot be made");
    X509_CRL *crl = X509_CRL_new();
    ASN1_TIME *from = ASN1_TIME_set(NULL, (time_t)(from_ms / 1000)), *until = ASN1_TIME_set(NULL, (time_t)(until_ms / 1000));
    uint8_t *der = NULL;
    bool is_made = crl && from && until && X509_CRL_set_version(crl, X509_CRL_VERSION_2) == 1 &&
                   X509_CRL_set_issuer_name(crl, X509_get_subject_name(issuer)) == 1 && X509_CRL_set1_lastUpdate(crl, from) == 1 &&
                   X509_CRL_set1_nextUpdate(crl, until) == 1 && add_crl_extensions(crl, issuer, number);
    for (size_t i = 0; is_made && i < count; i++)
        is_made = add_revoked(crl, &revoked[i]);
    if (is_made && X509_CRL_sort(crl) == 1 && X509_CRL_sign(crl, key, EVP_sha256()) > 0) {
        int n = i2d_X509_CRL(crl, &der);
        err = n > 0 ? buf_put(out, der, (size_t)n) : EHIS_E_NO_MEMORY;
    }
    OPENSSL_free(der);
    ASN1_TIME_free(from);
    ASN1_TIME_free(until);
    X509_CRL_free(crl);
    ERR_clear_error();
    return err;
}
