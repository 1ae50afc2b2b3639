/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
#include "pki/trust_priv.h"
#include "base/disk.h"
#include "pki/der.h"
#include "pki/pem.h"
#include "pki/profile_priv.h"
#include <openssl/err.h>
#include <openssl/x509_vfy.h>
#include <openssl/x509v3.h>
#include <stdatomic.h>
#include <stdlib.h>

struct authority {
    X509 *cert;
    struct hash id; /* subject and key */
    X509_CRL *crl;
    uint64_t crl_number;
    int64_t crl_expiry_ms;
};
struct pki_trust {
    atomic_uint refs;
    unsigned flags;
    struct authority authorities[PKI_AUTHORITIES_MAX];
    size_t count;
    X509_STORE *store;
    struct buf bundle;
    struct hash bundle_hash;
    int64_t ca_expiry_ms, crl_expiry_ms;
};
struct loading { /* what the callbacks of the file readers need */
    struct pki_trust *t;
    const struct pki_trust *previous;
    int64_t now_ms;
};

static ehis_err authority_id(const X509_NAME *name, const X509_PUBKEY *key, struct hash *out)
{
    uint8_t *n = NULL, *k = NULL;
    int n_len = i2d_X509_NAME(name, &n), k_len = i2d_X509_PUBKEY(key, &k);
    if (n_len > 0 && k_len > 0)
        hash_spans((struct span[]){span_of(n, (size_t)n_len), span_of(k, (size_t)k_len)}, 2, out);
    OPENSSL_free(n);
    OPENSSL_free(k);
    return n_len > 0 && k_len > 0 ? EHIS_OK : EHIS_E_NO_MEMORY;
}

static const struct authority *authority_find(const struct pki_trust *t, const struct hash *id)
{
    for (size_t i = 0; i < t->count; i++)
        if (memcmp(&t->authorities[i].id, id, sizeof *id) == 0)
            return &t->authorities[i];
    return NULL;
}

static void name_text(const X509_NAME *name, char out[128])
{
    X509_NAME_oneline(name, out, 128);
}

static ehis_err on_ca(void *arg, struct span der, struct ehis_why *why)
{
    struct loading *l = arg;
    struct authority *a = &l->t->authorities[l->t->count];
    EHIS_TRY(pki_cert_from_der(der, &a->cert, why));
    l->t->count++;
    EHIS_TRY(pki_profile_authority(a->cert, l->now_ms, why));
    int64_t until;
    EHIS_TRY(pki_time_ms(X509_get0_notAfter(a->cert), &until));
    if (until < l->t->ca_expiry_ms)
        l->t->ca_expiry_ms = until;
    EHIS_TRY(authority_id(X509_get_subject_name(a->cert), X509_get_X509_PUBKEY(a->cert), &a->id));
    if (authority_find(l->t, &a->id) != a)
        return ehis_fail(why, EHIS_E_PEM_MALFORMED, "an authority stands twice");
    bool is_root = X509_self_signed(a->cert, 1) == 1;
    if (is_root && X509_STORE_add_cert(l->t->store, a->cert) != 1)
        return EHIS_E_NO_MEMORY;
    return EHIS_OK;
}

/* The authority that signed a list; several may have one name. */
static ehis_err crl_signer(struct pki_trust *t, X509_CRL *crl, struct authority **out, struct ehis_why *why)
{
    bool is_named = false;
    for (size_t i = 0; i < t->count; i++) {
        struct authority *a = &t->authorities[i];
        if (X509_NAME_cmp(X509_CRL_get_issuer(crl), X509_get_subject_name(a->cert)) != 0)
            continue;
        is_named = true;
        if (X509_CRL_verify(crl, X509_get0_pubkey(a->cert)) == 1) {
            *out = a;
            return EHIS_OK;
        }
    }
    char name[128];
    name_text(X509_CRL_get_issuer(crl), name);
    return ehis_fail(why, is_named ? EHIS_E_CRL_SIGNATURE : EHIS_E_CRL_FOREIGN, "%s", name);
}

/* Version, number, no critical extension anywhere (delta and indirect lists would have one). */
static ehis_err check_crl_form(X509_CRL *crl, uint64_t *number, struct ehis_why *why)
{
    if (X509_CRL_get_version(crl) != X509_CRL_VERSION_2)
        return ehis_fail(why, EHIS_E_CRL_MALFORMED, "not version 2");
    if (!pki_signature_is_allowed(X509_CRL_get_signature_nid(crl)))
        return ehis_fail(why, EHIS_E_CRL_MALFORMED, "signed with %s", OBJ_nid2ln(X509_CRL_get_signature_nid(crl)));
    for (int i = 0; i < X509_CRL_get_ext_count(crl); i++)
        if (X509_EXTENSION_get_critical(X509_CRL_get_ext(crl, i)))
            return ehis_fail(why, EHIS_E_CRL_MALFORMED, "a critical extension");
    const STACK_OF(X509_REVOKED) *entries = X509_CRL_get_REVOKED(crl);
    for (int i = 0; i < sk_X509_REVOKED_num(entries); i++) {
        const X509_REVOKED *r = sk_X509_REVOKED_value(entries, i);
        for (int j = 0; j < X509_REVOKED_get_ext_count(r); j++)
            if (X509_EXTENSION_get_critical(X509_REVOKED_get_ext(r, j)))
                return ehis_fail(why, EHIS_E_CRL_MALFORMED, "a critical extension in entry %d", i + 1);
    }
    ASN1_INTEGER *n = X509_CRL_get_ext_d2i(crl, NID_crl_number, NULL, NULL);
    bool is_number = n && ASN1_INTEGER_get_uint64(number, n) == 1;
    ASN1_INTEGER_free(n);
    ERR_clear_error();
    return is_number ? EHIS_OK : ehis_fail(why, EHIS_E_CRL_MALFORMED, "no number that can be read");
}

static ehis_err check_crl_time(const struct loading *l, X509_CRL *crl, const char *name, int64_t *until, struct ehis_why *why)
{
    int64_t from;
    if (pki_time_ms(X509_CRL_get0_lastUpdate(crl), &from) != EHIS_OK || pki_time_ms(X509_CRL_get0_nextUpdate(crl), until) != EHIS_OK)
        return ehis_fail(why, EHIS_E_CRL_MALFORMED, "%s: thisUpdate and nextUpdate are required", name);
    char text[TIME_TEXT_LEN];
    if (*until <= from || *until - from > (int64_t)PKI_CRL_DAYS_MAX * 86400000)
        return ehis_fail(why, EHIS_E_CRL_LIFETIME, "%s: %lld days", name, (long long)((*until - from) / 86400000));
    time_to_text(from, text);
    if (l->now_ms < from)
        return ehis_fail(why, EHIS_E_CRL_NOT_YET_VALID, "%s: made at %s", name, text);
    time_to_text(*until, text);
    if (l->now_ms >= *until && !(l->t->flags & PKI_TRUST_STALE_ALLOWED))
        return ehis_fail(why, EHIS_E_CRL_EXPIRED, "%s: due at %s", name, text);
    return EHIS_OK;
}

static ehis_err crl_take(struct loading *l, X509_CRL *crl, struct ehis_why *why)
{
    struct authority *a;
    char name[128];
    uint64_t number;
    int64_t until;
    EHIS_TRY(check_crl_form(crl, &number, why));
    EHIS_TRY(crl_signer(l->t, crl, &a, why));
    name_text(X509_CRL_get_issuer(crl), name);
    if (a->crl)
        return ehis_fail(why, EHIS_E_CRL_SEVERAL, "%s", name);
    EHIS_TRY(check_crl_time(l, crl, name, &until, why));
    const struct authority *before = l->previous ? authority_find(l->previous, &a->id) : NULL;
    if (before && (number < before->crl_number || (number == before->crl_number && X509_CRL_match(crl, before->crl) != 0)))
        return ehis_fail(why, EHIS_E_CRL_OLDER, "%s: number %llu after %llu", name, (unsigned long long)number,
                         (unsigned long long)before->crl_number);
    if (X509_STORE_add_crl(l->t->store, crl) != 1 || X509_CRL_up_ref(crl) != 1)
        return EHIS_E_NO_MEMORY;
    a->crl = crl;
    a->crl_number = number;
    a->crl_expiry_ms = until;
    if (until < l->t->crl_expiry_ms)
        l->t->crl_expiry_ms = until;
    return EHIS_OK;
}

static ehis_err on_crl(void *arg, struct span der, struct ehis_why *why)
{
    const uint8_t *p = der.p;
    ERR_clear_error();
    X509_CRL *crl = d2i_X509_CRL(NULL, &p, (long)der.len);
    ehis_err err = crl && p == der.p + der.len && pki_der_is_strict(der)
                       ? crl_take(arg, crl, why)
                       : ehis_fail(why, EHIS_E_CRL_MALFORMED, "it is not well-formed DER");
    X509_CRL_free(crl);
    ERR_clear_error();
    return err;
}

/* Every authority has its list: join them into the bundle. */
static ehis_err finish_lists(struct pki_trust *t, struct ehis_why *why)
{
    for (size_t i = 0; i < t->count; i++) {
        if (!t->authorities[i].crl) {
            char name[128];
            name_text(X509_get_subject_name(t->authorities[i].cert), name);
            return ehis_fail(why, EHIS_E_CRL_MISSING, "%s", name);
        }
        uint8_t *der = NULL;
        int n = i2d_X509_CRL(t->authorities[i].crl, &der);
        ehis_err err = n > 0 ? buf_put(&t->bundle, der, (size_t)n) : EHIS_E_NO_MEMORY;
        OPENSSL_free(der);
        EHIS_TRY(err);
    }
    hash_span(buf_span(&t->bundle), &t->bundle_hash);
    return EHIS_OK;
}

static ehis_err set_params(X509_STORE *store)
{
    X509_VERIFY_PARAM *p = X509_STORE_get0_param(store);
    bool is_set = X509_VERIFY_PARAM_set_flags(p, X509_V_FLAG_CRL_CHECK | X509_V_FLAG_CRL_CHECK_ALL | X509_V_FLAG_X509_STRICT) == 1;
    X509_VERIFY_PARAM_set_depth(p, PKI_CHAIN_MAX - 2);
    X509_VERIFY_PARAM_set_auth_level(p, 2);
    return is_set ? EHIS_OK : EHIS_E_NO_MEMORY;
}

ehis_err pki_trust_new(struct span ca, struct span crls, int64_t now_ms, unsigned flags, const struct pki_trust *previous,
                       struct pki_trust **out, struct ehis_why *why)
{
    if (ca.len > PKI_CA_FILE_MAX_BYTES || crls.len > PKI_CRL_MAX_BYTES)
        return ehis_fail(why, EHIS_E_TOO_LARGE, "authorities of %zu or lists of %zu bytes", ca.len, crls.len);
    struct pki_trust *t = calloc(1, sizeof *t);
    if (!t)
        return EHIS_E_NO_MEMORY;
    ehis_err err = EHIS_E_NO_MEMORY;
    struct loading l = {.t = t, .previous = previous, .now_ms = now_ms};
    atomic_init(&t->refs, 1);
    t->flags = flags;
    t->ca_expiry_ms = t->crl_expiry_ms = INT64_MAX;
    buf_init(&t->bundle, PKI_CRL_MAX_BYTES);
    t->store = X509_STORE_new();
    if (!t->store || (err = set_params(t->store)) != EHIS_OK)
        goto out;
    if ((err = pki_pem_each(ca, "CERTIFICATE", PKI_AUTHORITIES_MAX, on_ca, &l, why)) != EHIS_OK)
        goto out;
    STACK_OF(X509_OBJECT) *roots = X509_STORE_get0_objects(t->store);
    if (sk_X509_OBJECT_num(roots) == 0) {
        err = ehis_fail(why, EHIS_E_TRUST_EMPTY, "%zu certificates, none of a root", t->count);
        goto out;
    }
    if ((err = pki_pem_each(crls, "X509 CRL", PKI_AUTHORITIES_MAX, on_crl, &l, why)) != EHIS_OK || (err = finish_lists(t, why)) != EHIS_OK)
        goto out;
    *out = t;
    t = NULL;
out:
    pki_trust_unref(t);
    ERR_clear_error();
    return err;
}

ehis_err pki_trust_load(const char *ca_file, const char *const *crl_files, size_t crl_file_count, int64_t now_ms, unsigned flags,
                        const struct pki_trust *previous, struct pki_trust **out, struct ehis_why *why)
{
    struct buf ca, crls;
    buf_init(&ca, PKI_CA_FILE_MAX_BYTES);
    buf_init(&crls, PKI_CRL_MAX_BYTES);
    ehis_err err = file_read(ca_file, PKI_CA_FILE_MAX_BYTES, &ca, why);
    for (size_t i = 0; err == EHIS_OK && i < crl_file_count; i++)
        err = file_read(crl_files[i], PKI_CRL_MAX_BYTES - crls.len, &crls, why);
    if (err == EHIS_OK)
        err = pki_trust_new(buf_span(&ca), buf_span(&crls), now_ms, flags, previous, out, why);
    buf_fini(&ca);
    buf_fini(&crls);
    return err;
}

struct pki_trust *pki_trust_ref(struct pki_trust *t)
{
    atomic_fetch_add(&t->refs, 1);
    return t;
}

void pki_trust_unref(struct pki_trust *t)
{
    if (!t || atomic_fetch_sub(&t->refs, 1) != 1)
        return;
    for (size_t i = 0; i < PKI_AUTHORITIES_MAX; i++) {
        X509_free(t->authorities[i].cert);
        X509_CRL_free(t->authorities[i].crl);
    }
    X509_STORE_free(t->store);
    buf_fini(&t->bundle);
    free(t);
}

struct span pki_trust_crl_bundle(const struct pki_trust *t)
{
    return buf_span(&t->bundle);
}
const struct hash *pki_trust_crl_hash(const struct pki_trust *t)
{
    return &t->bundle_hash;
}
int64_t pki_trust_ca_expiry_ms(const struct pki_trust *t)
{
    return t->ca_expiry_ms;
}
int64_t pki_trust_crl_expiry_ms(const struct pki_trust *t)
{
    return t->crl_expiry_ms;
}
X509_STORE *pki_trust_store(const struct pki_trust *t)
{
    return t->store;
}

static bool is_revoked(const struct authority *a, const uint8_t *serial, size_t serial_len)
{
    X509_REVOKED *entry;
    ASN1_INTEGER *n = ASN1_INTEGER_new();
    bool is_bad = !n || ASN1_STRING_set(n, serial, (int)serial_len) != 1 || X509_CRL_get0_by_serial(a->crl, &entry, n) != 0;
    ASN1_INTEGER_free(n);
    return is_bad;
}

ehis_err pki_trust_recheck(const struct pki_trust *t, const struct pki_peer *peer, int64_t now_ms, bool *is_stale, struct ehis_why *why)
{
    bool is_any_stale = false;
    for (size_t i = 0; i < peer->chain_count; i++) {
        const struct authority *a = authority_find(t, &peer->chain[i].issuer);
        if (!a)
            return ehis_fail(why, EHIS_E_CHAIN_UNTRUSTED, "%s: the issuer of certificate %zu is not among the authorities", peer->leaf.id,
                             i + 1);
        if (is_revoked(a, peer->chain[i].serial, peer->chain[i].serial_len))
            return ehis_fail(why, EHIS_E_CERT_REVOKED, "%s: certificate %zu of its chain", peer->leaf.id, i + 1);
        if (now_ms >= peer->chain[i].not_after_ms)
            return ehis_fail(why, EHIS_E_CERT_EXPIRED, "%s: certificate %zu of its chain", peer->leaf.id, i + 1);
        is_any_stale |= now_ms >= a->crl_expiry_ms;
    }
    if (is_any_stale && !(t->flags & PKI_TRUST_STALE_ALLOWED))
        return ehis_fail(why, EHIS_E_CRL_EXPIRED, "a list is out of date");
    if (is_stale)
        *is_stale = is_any_stale;
    return EHIS_OK;
}

void pki_trust_prepare(const struct pki_trust *t, X509_STORE_CTX *ctx, int64_t now_ms)
{
    X509_VERIFY_PARAM *p = X509_STORE_CTX_get0_param(ctx);
    X509_VERIFY_PARAM_set_time(p, (time_t)(now_ms / 1000));
    if (t->flags & PKI_TRUST_STALE_ALLOWED && now_ms >= t->crl_expiry_ms)
        X509_VERIFY_PARAM_clear_flags(p, X509_V_FLAG_CRL_CHECK | X509_V_FLAG_CRL_CHECK_ALL);
}

ehis_err pki_trust_accept(const struct pki_trust *t, const STACK_OF(X509) * chain, enum pki_kind kind, int64_t now_ms, struct pki_peer *out,
                          struct ehis_why *why)
{
    struct pki_peer peer = {0};
    EHIS_TRY(pki_profile_chain(chain, kind, now_ms, &peer.leaf, why));
    peer.chain_count = (size_t)sk_X509_num(chain);
    for (size_t i = 0; i < peer.chain_count; i++) {
        X509 *x = sk_X509_value(chain, (int)i);
        X509 *issuer = i + 1 < peer.chain_count ? sk_X509_value(chain, (int)i + 1) : x;
        EHIS_TRY(authority_id(X509_get_issuer_name(x), X509_get_X509_PUBKEY(issuer), &peer.chain[i].issuer));
        const ASN1_INTEGER *serial = X509_get0_serialNumber(x); /* at most 20 bytes: the profile has seen to it */
        peer.chain[i].serial_len = (size_t)ASN1_STRING_length(serial);
        memcpy(peer.chain[i].serial, ASN1_STRING_get0_data(serial), peer.chain[i].serial_len);
        EHIS_TRY(pki_time_ms(X509_get0_notAfter(x), &peer.chain[i].not_after_ms));
    }
    EHIS_TRY(pki_trust_recheck(t, &peer, now_ms, &peer.is_stale, why));
    *out = peer;
    return EHIS_OK;
}

ehis_err pki_trust_verify(const struct pki_trust *t, X509 *leaf, STACK_OF(X509) * untrusted, enum pki_kind kind, int64_t now_ms,
                          struct pki_peer *out, struct ehis_why *why)
{
    ehis_err err = EHIS_E_NO_MEMORY;
    ERR_clear_error();
    X509_STORE_CTX *ctx = X509_STORE_CTX_new();
    if (!ctx || X509_STORE_CTX_init(ctx, t->store, leaf, untrusted) != 1 || X509_STORE_CTX_set_purpose(ctx, pki_purpose(kind)) != 1)
        goto out;
    pki_trust_prepare(t, ctx, now_ms);
    if (X509_verify_cert(ctx) != 1)
        err = pki_verify_error(X509_STORE_CTX_get_error(ctx), X509_STORE_CTX_get_error_depth(ctx), X509_STORE_CTX_get_current_cert(ctx),
                               kind, now_ms, why);
    else
        err = pki_trust_accept(t, X509_STORE_CTX_get0_chain(ctx), kind, now_ms, out, why);
out:
    X509_STORE_CTX_free(ctx);
    ERR_clear_error();
    return err;
}
