/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
#include "tests/support/forge.h"
#include "pki/pem.h"
#include <openssl/x509v3.h>
#include <openssl/core_names.h>
#include <openssl/rsa.h>

#define MUST(x) EHIS_ASSERT(x)

EVP_PKEY *forge_curve(const char *curve)
{
    EVP_PKEY *k = EVP_EC_gen(curve);
    MUST(k);
    return k;
}
EVP_PKEY *forge_key(void)
{
    return forge_curve("P-256");
}
EVP_PKEY *forge_other(const char *algorithm)
{
    EVP_PKEY *k = EVP_PKEY_Q_keygen(NULL, NULL, algorithm);
    MUST(k);
    return k;
}
EVP_PKEY *forge_rsa(unsigned bits, unsigned exponent)
{
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, "RSA", NULL);
    EVP_PKEY *k = NULL;
    BIGNUM *e = BN_new();
    MUST(ctx && e && BN_set_word(e, exponent) == 1 && EVP_PKEY_keygen_init(ctx) == 1 &&
         EVP_PKEY_CTX_set_rsa_keygen_bits(ctx, (int)bits) == 1 && EVP_PKEY_CTX_set1_rsa_keygen_pubexp(ctx, e) == 1 &&
         EVP_PKEY_generate(ctx, &k) == 1);
    EVP_PKEY_CTX_free(ctx);
    BN_free(e);
    return k;
}

struct forge forge_leaf(X509 *issuer, EVP_PKEY *issuer_key)
{
    return (struct forge){.issuer = issuer,
                          .issuer_key = issuer_key,
                          .version = X509_VERSION_3,
                          .serial = "0123456789abcdef",
                          .cn = "tax",
                          .basic = "critical,CA:FALSE",
                          .usage = "critical,digitalSignature",
                          .extended = "clientAuth",
                          .names = "URI:ehis:AZ/GOV/STS/tax",
                          .from_ms = FORGE_NOW_MS - FORGE_DAY_MS,
                          .until_ms = FORGE_NOW_MS + 30 * FORGE_DAY_MS,
                          .digest = EVP_sha256()};
}

struct forge forge_ca(X509 *issuer, EVP_PKEY *issuer_key, const char *cn)
{
    struct forge f = forge_leaf(issuer, issuer_key);
    f.cn = cn;
    f.serial = "42";
    f.basic = issuer ? "critical,CA:TRUE,pathlen:0" : "critical,CA:TRUE";
    f.usage = "critical,keyCertSign,cRLSign";
    f.extended = f.names = NULL;
    f.until_ms = FORGE_NOW_MS + 1000 * FORGE_DAY_MS;
    return f;
}

static void set_time(ASN1_TIME *t, int64_t ms)
{
    MUST(ASN1_TIME_set(t, (time_t)(ms / 1000)));
}

static void extend(X509 *x, X509V3_CTX *ctx, int nid, const char *text)
{
    if (!text)
        return;
    X509_EXTENSION *e = X509V3_EXT_conf_nid(NULL, ctx, nid, text);
    MUST(e && X509_add_ext(x, e, -1) == 1);
    X509_EXTENSION_free(e);
}

/* An extension with raw bytes, so that also what OpenSSL would not write can stand in it. */
static void extend_raw(X509 *x, const char *oid, const char *hex)
{
    bool is_critical = strncmp(hex, "critical,", 9) == 0;
    const char *digits = is_critical ? hex + 9 : hex;
    uint8_t der[256];
    size_t n = strlen(digits) / 2;
    MUST(n <= sizeof der && hex_from_text(span_str(digits), der, n) == EHIS_OK);
    ASN1_OBJECT *o = OBJ_txt2obj(oid, 0);
    ASN1_OCTET_STRING *s = ASN1_OCTET_STRING_new();
    MUST(o && s && ASN1_OCTET_STRING_set(s, der, (int)n) == 1);
    X509_EXTENSION *e = X509_EXTENSION_create_by_OBJ(NULL, o, is_critical, s);
    MUST(e && X509_add_ext(x, e, -1) == 1);
    X509_EXTENSION_free(e);
    ASN1_OCTET_STRING_free(s);
    ASN1_OBJECT_free(o);
}

static X509_NAME *name_of(const char *cn)
{
    X509_NAME *n = X509_NAME_new();
    MUST(n);
    if (cn)
        MUST(X509_NAME_add_entry_by_txt(n, "CN", MBSTRING_ASC, (const unsigned char *)cn, -1, -1, 0) == 1);
    return n;
}

X509 *forge_cert(const struct forge *f)
{
    X509 *x = X509_new();
    EVP_PKEY *key = f->key ? f->key : forge_key();
    X509_NAME *subject = name_of(f->cn);
    BIGNUM *serial = NULL;
    X509V3_CTX ctx;
    MUST(x && X509_set_version(x, f->version) == 1 && BN_hex2bn(&serial, f->serial) > 0);
    MUST(BN_to_ASN1_INTEGER(serial, X509_get_serialNumber(x)) != NULL && X509_set_subject_name(x, subject) == 1);
    MUST(X509_set_issuer_name(x, f->issuer ? X509_get_subject_name(f->issuer) : subject) == 1 && X509_set_pubkey(x, key) == 1);
    set_time(X509_getm_notBefore(x), f->from_ms);
    set_time(X509_getm_notAfter(x), f->until_ms);
    X509V3_set_ctx(&ctx, f->issuer ? f->issuer : x, x, NULL, NULL, 0);
    if (f->version == X509_VERSION_3) {
        extend(x, &ctx, NID_subject_key_identifier, f->no_ski ? NULL : "hash");
        extend(x, &ctx, NID_authority_key_identifier, f->no_aki ? NULL : "keyid:always");
        extend(x, &ctx, NID_basic_constraints, f->basic);
        extend(x, &ctx, NID_key_usage, f->usage);
        extend(x, &ctx, NID_ext_key_usage, f->extended);
        extend(x, &ctx, NID_subject_alt_name, f->names);
        extend(x, &ctx, NID_subject_alt_name, f->is_names_twice ? f->names : NULL);
        extend(x, &ctx, NID_name_constraints, f->constraints);
        if (f->extra)
            extend_raw(x, f->extra_oid, f->extra);
    }
    MUST(X509_sign(x, f->issuer_key ? f->issuer_key : key, f->digest) > 0);
    BN_free(serial);
    X509_NAME_free(subject);
    if (!f->key)
        EVP_PKEY_free(key);
    return x;
}

struct forge_crl forge_crl_of(X509 *issuer, EVP_PKEY *key)
{
    return (struct forge_crl){.issuer = issuer,
                              .key = key,
                              .from_ms = FORGE_NOW_MS - FORGE_DAY_MS,
                              .until_ms = FORGE_NOW_MS + 7 * FORGE_DAY_MS,
                              .number = 5,
                              .version = X509_CRL_VERSION_2};
}

X509_CRL *forge_list(const struct forge_crl *f)
{
    X509_CRL *crl = X509_CRL_new();
    ASN1_TIME *t = ASN1_TIME_new();
    X509_NAME *other = name_of(f->issuer_cn);
    X509V3_CTX ctx;
    MUST(crl && t && X509_CRL_set_issuer_name(crl, f->issuer_cn ? other : X509_get_subject_name(f->issuer)) == 1);
    if (f->version == X509_CRL_VERSION_2)
        MUST(X509_CRL_set_version(crl, f->version) == 1);
    set_time(t, f->from_ms);
    MUST(X509_CRL_set1_lastUpdate(crl, t) == 1);
    set_time(t, f->until_ms);
    if (f->until_ms)
        MUST(X509_CRL_set1_nextUpdate(crl, t) == 1);
    if (f->version == X509_CRL_VERSION_2) {
        X509V3_set_ctx(&ctx, f->issuer, NULL, NULL, crl, 0);
        X509_EXTENSION *e = X509V3_EXT_conf_nid(NULL, &ctx, NID_authority_key_identifier, "keyid:always");
        MUST(e && X509_CRL_add_ext(crl, e, -1) == 1);
        X509_EXTENSION_free(e);
        ASN1_INTEGER *n = ASN1_INTEGER_new();
        MUST(n && ASN1_INTEGER_set_uint64(n, f->number) == 1);
        if (f->number)
            MUST(X509_CRL_add1_ext_i2d(crl, NID_crl_number, n, 0, 0) == 1);
        if (f->is_critical)
            MUST(X509_CRL_add1_ext_i2d(crl, NID_delta_crl, n, 1, 0) == 1);
        ASN1_INTEGER_free(n);
    }
    if (f->revoked) {
        X509_REVOKED *r = X509_REVOKED_new();
        set_time(t, f->from_ms);
        MUST(r && X509_REVOKED_set_serialNumber(r, X509_get_serialNumber(f->revoked)) == 1 && X509_REVOKED_set_revocationDate(r, t) == 1);
        MUST(X509_CRL_add0_revoked(crl, r) == 1);
    }
    MUST(X509_CRL_sign(crl, f->key, EVP_sha256()) > 0);
    ASN1_TIME_free(t);
    X509_NAME_free(other);
    return crl;
}

void forge_put_der(struct buf *out, X509 *x)
{
    uint8_t *der = NULL;
    int n = i2d_X509(x, &der);
    MUST(n > 0 && buf_put(out, der, (size_t)n) == EHIS_OK);
    OPENSSL_free(der);
}

static void put_pem(struct buf *out, X509 *x)
{
    struct buf der;
    buf_init(&der, 65536);
    forge_put_der(&der, x);
    MUST(pki_pem_put(out, "CERTIFICATE", buf_span(&der)) == EHIS_OK);
    buf_fini(&der);
}

void forge_put_crl(struct buf *out, const struct forge_crl *f)
{
    uint8_t *der = NULL;
    X509_CRL *crl = forge_list(f);
    int n = i2d_X509_CRL(crl, &der);
    MUST(n > 0 && buf_put(out, der, (size_t)n) == EHIS_OK);
    OPENSSL_free(der);
    X509_CRL_free(crl);
}

void forge_pki_lists(struct forge_pki *p, X509 *revoked, uint64_t number)
{
    struct forge_crl root = forge_crl_of(p->root, p->root_key), mid = forge_crl_of(p->mid, p->mid_key);
    root.number = mid.number = number;
    mid.revoked = revoked;
    buf_clear(&p->crls);
    forge_put_crl(&p->crls, &root);
    forge_put_crl(&p->crls, &mid);
}

void forge_pki_init(struct forge_pki *p, X509 *revoked)
{
    struct ehis_why why = {""};
    memset(p, 0, sizeof *p);
    buf_init(&p->ca, 1 << 20);
    buf_init(&p->crls, 1 << 21);
    p->root_key = forge_key();
    p->mid_key = forge_key();
    struct forge root = forge_ca(NULL, NULL, "root");
    root.key = p->root_key;
    p->root = forge_cert(&root);
    struct forge mid = forge_ca(p->root, p->root_key, "intermediate");
    mid.key = p->mid_key;
    p->mid = forge_cert(&mid);
    put_pem(&p->ca, p->root);
    put_pem(&p->ca, p->mid);
    forge_pki_lists(p, revoked, 5);
    ehis_err err = pki_trust_new(buf_span(&p->ca), buf_span(&p->crls), FORGE_NOW_MS, 0, NULL, &p->trust, &why);
    if (err != EHIS_OK)
        fprintf(stderr, "%s: %s\n", ehis_err_name(err), why.text);
    MUST(err == EHIS_OK);
}

void forge_pki_fini(struct forge_pki *p)
{
    pki_trust_unref(p->trust);
    X509_free(p->root);
    X509_free(p->mid);
    EVP_PKEY_free(p->root_key);
    EVP_PKEY_free(p->mid_key);
    buf_fini(&p->ca);
    buf_fini(&p->crls);
}

void forge_mutate(struct buf *b, struct span script)
{
    for (; script.len >= 3 && b->len; script = span_of(script.p + 3, script.len - 3)) {
        size_t at = (size_t)be_get(script.p, 2) % b->len;
        if (script.p[2])
            b->p[b->start + at] ^= script.p[2];
        else
            b->len = at;
    }
}
