/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
#include "pki/csr.h"
#include "pki/profile_priv.h"
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <stdio.h>

void pki_uri(enum pki_kind kind, struct span id, char out[PKI_URI_MAX_BYTES])
{
    snprintf(out, PKI_URI_MAX_BYTES, "%s%.*s", kind == PKI_BUS ? "ehis-bus:" : kind == PKI_GATEWAY ? "ehis-gw:" : "ehis:", SPAN_SHOW(id));
}

X509_NAME *pki_subject(struct span id, const char *unit)
{
    size_t last = id.len, before;
    while (last > 0 && id.p[last - 1] != '/')
        last--;
    for (before = last > 0 ? last - 1 : 0; before > 0 && id.p[before - 1] != '/';)
        before--;
    X509_NAME *n = X509_NAME_new();
    bool is_set = n && last > 0 &&
                  X509_NAME_add_entry_by_NID(n, NID_organizationName, MBSTRING_ASC, id.p + before, (int)(last - 1 - before), -1, 0) == 1 &&
                  (!unit || X509_NAME_add_entry_by_NID(n, NID_organizationalUnitName, MBSTRING_ASC, (const uint8_t *)unit, -1, -1, 0) == 1) &&
                  X509_NAME_add_entry_by_NID(n, NID_commonName, MBSTRING_ASC, id.p + last, (int)(id.len - last), -1, 0) == 1;
    if (is_set)
        return n;
    X509_NAME_free(n);
    return NULL;
}

static X509_EXTENSION *name_extension(enum pki_kind kind, struct span id)
{
    char text[4 + PKI_URI_MAX_BYTES], uri[PKI_URI_MAX_BYTES];
    X509V3_CTX ctx;
    pki_uri(kind, id, uri);
    snprintf(text, sizeof text, "URI:%s", uri);
    X509V3_set_ctx(&ctx, NULL, NULL, NULL, NULL, 0);
    return X509V3_EXT_conf_nid(NULL, &ctx, NID_subject_alt_name, text);
}

ehis_err pki_csr_make(EVP_PKEY *key, enum pki_kind kind, struct span id, struct buf *out, struct ehis_why *why)
{
    ehis_err err = ehis_fail(why, EHIS_E_TLS_SETUP, "the request cannot be made");
    STACK_OF(X509_EXTENSION) *wanted = sk_X509_EXTENSION_new_null();
    X509_EXTENSION *name = name_extension(kind, id);
    X509_NAME *subject = pki_subject(id, kind == PKI_BUS ? PKI_BUS_UNIT : NULL);
    X509_REQ *r = X509_REQ_new();
    uint8_t *der = NULL;
    if (!wanted || !name || sk_X509_EXTENSION_push(wanted, name) <= 0) {
        X509_EXTENSION_free(name);
        goto out;
    }
    if (!subject || !r || X509_REQ_set_version(r, X509_REQ_VERSION_1) != 1 || X509_REQ_set_subject_name(r, subject) != 1 ||
        X509_REQ_set_pubkey(r, key) != 1 || X509_REQ_add_extensions(r, wanted) != 1 || X509_REQ_sign(r, key, EVP_sha256()) <= 0)
        goto out;
    int n = i2d_X509_REQ(r, &der);
    if (n > 0)
        err = buf_put(out, der, (size_t)n);
out:
    OPENSSL_free(der);
    X509_REQ_free(r);
    X509_NAME_free(subject);
    sk_X509_EXTENSION_pop_free(wanted, X509_EXTENSION_free);
    ERR_clear_error();
    return err;
}

/* The names that it asks for are none, or the one that it may have. */
static ehis_err check_names(X509_REQ *r, enum pki_kind kind, struct span id, struct ehis_why *why)
{
    char uri[PKI_URI_MAX_BYTES];
    pki_uri(kind, id, uri);
    STACK_OF(X509_EXTENSION) *wanted = X509_REQ_get_extensions(r);
    int critical = 0;
    GENERAL_NAMES *names = wanted ? X509V3_get_d2i(wanted, NID_subject_alt_name, &critical, NULL) : NULL;
    bool is_ours = !names && critical == -1; /* -1: absent; -2: several; 0, 1 without a value: malformed */
    if (!wanted || sk_X509_EXTENSION_num(wanted) == 0)
        is_ours = true;
    if (names && sk_GENERAL_NAME_num(names) == 1) {
        int type;
        const ASN1_IA5STRING *s = GENERAL_NAME_get0_value(sk_GENERAL_NAME_value(names, 0), &type);
        is_ours = type == GEN_URI && span_eq(span_of(ASN1_STRING_get0_data(s), (size_t)ASN1_STRING_length(s)), span_str(uri));
    }
    GENERAL_NAMES_free(names);
    sk_X509_EXTENSION_pop_free(wanted, X509_EXTENSION_free);
    return is_ours ? EHIS_OK : ehis_fail(why, EHIS_E_CSR_NAME, "it may ask for %s alone", uri);
}

ehis_err pki_csr_read(struct span der, enum pki_kind kind, struct span id, X509_REQ **out, struct ehis_why *why)
{
    if (der.len == 0 || der.len > PKI_CSR_MAX_BYTES)
        return ehis_fail(why, EHIS_E_CSR_MALFORMED, "%zu bytes", der.len);
    const uint8_t *p = der.p;
    ERR_clear_error();
    ehis_err err;
    X509_REQ *r = d2i_X509_REQ(NULL, &p, (long)der.len);
    if (!r || p != der.p + der.len)
        err = ehis_fail(why, EHIS_E_CSR_MALFORMED, "it does not parse");
    else if ((err = pki_key_check(X509_REQ_get0_pubkey(r), why)) != EHIS_OK)
        ;
    else if (X509_REQ_verify(r, X509_REQ_get0_pubkey(r)) != 1)
        err = ehis_fail(why, EHIS_E_CSR_PROOF, "its signature does not verify");
    else
        err = check_names(r, kind, id, why);
    ERR_clear_error();
    if (err == EHIS_OK)
        *out = r;
    else
        X509_REQ_free(r);
    return err;
}
