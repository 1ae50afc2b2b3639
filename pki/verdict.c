/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* OpenSSL's verdict on a chain as one of our errors; chain files. */
#include "pki/pem.h"
#include "pki/trust_priv.h"
#include <openssl/x509v3.h>

int pki_purpose(enum pki_kind peer)
{
    return peer == PKI_GATEWAY ? X509_PURPOSE_SSL_SERVER : X509_PURPOSE_SSL_CLIENT;
}

/* A certificate for another purpose: is it an honest one of the other kind? */
static ehis_err purpose_error(X509 *bad, enum pki_kind kind, int64_t now_ms, struct ehis_why *why)
{
    struct pki_leaf leaf;
    if (bad && pki_profile_leaf(bad, now_ms, &leaf, NULL) == EHIS_OK && leaf.kind != kind)
        return ehis_fail(why, EHIS_E_CERT_KIND, "%s is a %s", leaf.id, pki_kind_name(leaf.kind));
    return ehis_fail(why, EHIS_E_CERT_EXTENDED_USAGE, "it is not for a %s", pki_kind_name(kind));
}

ehis_err pki_verify_error(int x509_error, int depth, X509 *bad, enum pki_kind kind, int64_t now_ms, struct ehis_why *why)
{
    static const struct {
        int x509;
        ehis_err err;
    } map[] = {
        {X509_V_ERR_CERT_HAS_EXPIRED, EHIS_E_CERT_EXPIRED},
        {X509_V_ERR_CERT_NOT_YET_VALID, EHIS_E_CERT_NOT_YET_VALID},
        {X509_V_ERR_CERT_REVOKED, EHIS_E_CERT_REVOKED},
        {X509_V_ERR_UNABLE_TO_GET_CRL, EHIS_E_CRL_MISSING},
        {X509_V_ERR_UNABLE_TO_GET_CRL_ISSUER, EHIS_E_CRL_FOREIGN},
        {X509_V_ERR_CRL_HAS_EXPIRED, EHIS_E_CRL_EXPIRED},
        {X509_V_ERR_CRL_NOT_YET_VALID, EHIS_E_CRL_NOT_YET_VALID},
        {X509_V_ERR_CRL_SIGNATURE_FAILURE, EHIS_E_CRL_SIGNATURE},
        {X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT, EHIS_E_CHAIN_UNTRUSTED},
        {X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY, EHIS_E_CHAIN_UNTRUSTED},
        {X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE, EHIS_E_CHAIN_UNTRUSTED},
        {X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT, EHIS_E_CHAIN_UNTRUSTED},
        {X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN, EHIS_E_CHAIN_UNTRUSTED},
        {X509_V_ERR_CERT_UNTRUSTED, EHIS_E_CHAIN_UNTRUSTED},
        {X509_V_ERR_CERT_SIGNATURE_FAILURE, EHIS_E_CHAIN_SIGNATURE},
        {X509_V_ERR_CERT_CHAIN_TOO_LONG, EHIS_E_CHAIN_TOO_LONG},
        {X509_V_ERR_PATH_LENGTH_EXCEEDED, EHIS_E_CHAIN_TOO_LONG},
        {X509_V_ERR_INVALID_CA, EHIS_E_CERT_AUTHORITY},
        {X509_V_ERR_CA_BCONS_NOT_CRITICAL, EHIS_E_CERT_AUTHORITY},
        {X509_V_ERR_CA_CERT_MISSING_KEY_USAGE, EHIS_E_CERT_AUTHORITY},
        {X509_V_ERR_KEYUSAGE_NO_CERTSIGN, EHIS_E_CERT_AUTHORITY},
        {X509_V_ERR_UNHANDLED_CRITICAL_EXTENSION, EHIS_E_CERT_EXTENSION_CRITICAL},
        {X509_V_ERR_INVALID_EXTENSION, EHIS_E_CERT_EXTENSION},
        {X509_V_ERR_MISSING_AUTHORITY_KEY_IDENTIFIER, EHIS_E_CERT_KEY_IDENTIFIER},
        {X509_V_ERR_MISSING_SUBJECT_KEY_IDENTIFIER, EHIS_E_CERT_KEY_IDENTIFIER},
        {X509_V_ERR_EE_KEY_TOO_SMALL, EHIS_E_CERT_KEY_WEAK},
        {X509_V_ERR_CA_KEY_TOO_SMALL, EHIS_E_CERT_KEY_WEAK},
        {X509_V_ERR_EC_KEY_EXPLICIT_PARAMS, EHIS_E_CERT_KEY_WEAK},
        {X509_V_ERR_CA_MD_TOO_WEAK, EHIS_E_CERT_SIGNATURE_ALGORITHM},
        {X509_V_ERR_SIGNATURE_ALGORITHM_MISMATCH, EHIS_E_CERT_SIGNATURE_ALGORITHM},
    };
    if (x509_error == X509_V_ERR_INVALID_PURPOSE && depth == 0)
        return purpose_error(bad, kind, now_ms, why);
    ehis_err err = EHIS_E_CHAIN_REFUSED;
    for (size_t i = 0; i < sizeof map / sizeof map[0]; i++)
        if (map[i].x509 == x509_error)
            err = map[i].err;
    char name[128] = "";
    if (bad)
        X509_NAME_oneline(X509_get_subject_name(bad), name, sizeof name);
    return ehis_fail(why, err, "certificate %d %s: %s", depth + 1, name, X509_verify_cert_error_string(x509_error));
}

static ehis_err on_chain(void *arg, struct span der, struct ehis_why *why)
{
    STACK_OF(X509) *chain = arg;
    X509 *x;
    EHIS_TRY(pki_cert_from_der(der, &x, why));
    if (sk_X509_push(chain, x) > 0)
        return EHIS_OK;
    X509_free(x);
    return EHIS_E_NO_MEMORY;
}

ehis_err pki_chain_from_pem(struct span pem, STACK_OF(X509) * *out, struct ehis_why *why)
{
    STACK_OF(X509) *chain = sk_X509_new_null();
    ehis_err err = chain ? pki_pem_each(pem, "CERTIFICATE", PKI_CHAIN_MAX, on_chain, chain, why) : EHIS_E_NO_MEMORY;
    if (err == EHIS_OK && sk_X509_num(chain) == 0)
        err = ehis_fail(why, EHIS_E_PEM_MALFORMED, "no certificate");
    if (err == EHIS_OK)
        *out = chain;
    else
        pki_chain_free(chain);
    return err;
}
