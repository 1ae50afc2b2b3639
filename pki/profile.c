/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
#include "pki/profile_priv.h"
#include "base/clock.h"
#include "pki/der.h"
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/x509v3.h>

const char *pki_kind_name(enum pki_kind kind)
{
    return kind == PKI_BUS ? "bus" : kind == PKI_GATEWAY ? "gateway" : "system";
}

ehis_err pki_time_ms(const ASN1_TIME *t, int64_t *unix_ms)
{
    struct tm tm;
    if (!t || ASN1_TIME_to_tm(t, &tm) != 1)
        return EHIS_E_CERT_MALFORMED;
    time_t s = timegm(&tm);
    if (s == (time_t)-1 && tm.tm_year != 69)
        return EHIS_E_CERT_MALFORMED;
    *unix_ms = (int64_t)s * 1000;
    return EHIS_OK;
}

ehis_err pki_cert_from_der(struct span der, X509 **out, struct ehis_why *why)
{
    if (der.len > PKI_CERT_MAX_BYTES)
        return ehis_fail(why, EHIS_E_CERT_TOO_LARGE, "%zu bytes", der.len);
    ehis_err err = EHIS_E_CERT_MALFORMED;
    const uint8_t *p = der.p;
    uint8_t *again = NULL;
    ERR_clear_error();
    X509 *x = der.len ? d2i_X509(NULL, &p, (long)der.len) : NULL;
    if (!x) {
        ehis_fail(why, err, "it does not parse");
        goto out;
    }
    /* The cached encoding would hide a difference: have the inner part encoded anew first. */
    if (p != der.p + der.len || i2d_re_X509_tbs(x, NULL) <= 0) {
        ehis_fail(why, err, "bytes follow it");
        goto out;
    }
    int n = i2d_X509(x, &again);
    if (n < 0 || !span_eq(span_of(again, (size_t)n), der) || !pki_der_is_strict(der)) {
        ehis_fail(why, err, "it is not in its one canonical encoding");
        goto out;
    }
    *out = x;
    x = NULL;
    err = EHIS_OK;
out:
    OPENSSL_free(again);
    X509_free(x);
    ERR_clear_error();
    return err;
}

/* A certificate that came in a handshake was parsed already: its inner part must equal its own re-encoding. (Parsing the bytes again would
 * tell the same, at ten times the price: OpenSSL decodes the key each time.) */
static ehis_err check_canonical(X509 *x, struct ehis_why *why)
{
    uint8_t *came = NULL, *again = NULL;
    int came_len = i2d_X509(x, &came);
    int again_len = i2d_re_X509_tbs(x, NULL) > 0 ? i2d_X509(x, &again) : -1;
    bool is_small = came_len <= PKI_CERT_MAX_BYTES;
    bool is_same = came_len > 0 && again_len > 0 && span_eq(span_of(came, (size_t)came_len), span_of(again, (size_t)again_len)) &&
                   pki_der_is_strict(span_of(came, (size_t)came_len));
    OPENSSL_free(came);
    OPENSSL_free(again);
    ERR_clear_error();
    if (!is_small)
        return ehis_fail(why, EHIS_E_CERT_TOO_LARGE, "%d bytes", came_len);
    return is_same ? EHIS_OK : ehis_fail(why, EHIS_E_CERT_MALFORMED, "it is not in its one canonical encoding");
}

static ehis_err check_version_and_serial(X509 *x, struct ehis_why *why)
{
    if (X509_get_version(x) != X509_VERSION_3)
        return ehis_fail(why, EHIS_E_CERT_VERSION, "version %ld", X509_get_version(x) + 1);
    const ASN1_INTEGER *serial = X509_get0_serialNumber(x);
    if (ASN1_STRING_type(serial) == V_ASN1_NEG_INTEGER || ASN1_STRING_length(serial) > 20 ||
        (ASN1_STRING_length(serial) == 20 && ASN1_STRING_get0_data(serial)[0] & 0x80))
        return ehis_fail(why, EHIS_E_CERT_SERIAL, "negative or over 20 bytes");
    if (ASN1_STRING_length(serial) == 0 || (ASN1_STRING_length(serial) == 1 && ASN1_STRING_get0_data(serial)[0] == 0))
        return ehis_fail(why, EHIS_E_CERT_SERIAL, "zero");
    return EHIS_OK;
}

bool pki_signature_is_allowed(int nid)
{
    static const int allowed[] = {NID_ecdsa_with_SHA256,       NID_ecdsa_with_SHA384,       NID_ecdsa_with_SHA512,      NID_ED25519,
                                  NID_sha256WithRSAEncryption, NID_sha384WithRSAEncryption, NID_sha512WithRSAEncryption};
    for (size_t i = 0; i < sizeof allowed / sizeof allowed[0]; i++)
        if (nid == allowed[i])
            return true;
    return false;
}

static ehis_err check_signature_algorithm(X509 *x, struct ehis_why *why)
{
    const X509_ALGOR *outer;
    X509_get0_signature(NULL, &outer, x);
    if (X509_ALGOR_cmp(outer, X509_get0_tbs_sigalg(x)) != 0)
        return ehis_fail(why, EHIS_E_CERT_SIGNATURE_ALGORITHM, "the algorithm named inside differs from the one outside");
    int nid = X509_get_signature_nid(x);
    if (pki_signature_is_allowed(nid))
        return EHIS_OK;
    return ehis_fail(why, EHIS_E_CERT_SIGNATURE_ALGORITHM, "%s", OBJ_nid2ln(nid));
}

ehis_err pki_key_check(EVP_PKEY *k, struct ehis_why *why)
{
    if (!k)
        return ehis_fail(why, EHIS_E_CERT_KEY_WEAK, "the key cannot be read");
    int id = EVP_PKEY_get_base_id(k);
    if (id == EVP_PKEY_ED25519)
        return EHIS_OK;
    if (id == EVP_PKEY_EC) {
        char group[32] = "";
        size_t n;
        int is_explicit = 0;
        if (EVP_PKEY_get_int_param(k, OSSL_PKEY_PARAM_EC_DECODED_FROM_EXPLICIT_PARAMS, &is_explicit) == 1 && is_explicit)
            return ehis_fail(why, EHIS_E_CERT_KEY_WEAK, "a curve given by its parameters");
        if (EVP_PKEY_get_group_name(k, group, sizeof group, &n) == 1 &&
            (strcmp(group, "prime256v1") == 0 || strcmp(group, "secp384r1") == 0))
            return EHIS_OK;
        return ehis_fail(why, EHIS_E_CERT_KEY_WEAK, "curve %s", group[0] ? group : "of its own");
    }
    if (id != EVP_PKEY_RSA)
        return ehis_fail(why, EHIS_E_CERT_KEY_WEAK, "%s", OBJ_nid2ln(id));
    BIGNUM *e = NULL;
    bool is_usual = EVP_PKEY_get_bn_param(k, OSSL_PKEY_PARAM_RSA_E, &e) == 1 && BN_is_word(e, 65537);
    BN_free(e);
    int bits = EVP_PKEY_get_bits(k);
    if (bits < 3072 || bits > 4096 || !is_usual)
        return ehis_fail(why, EHIS_E_CERT_KEY_WEAK, "RSA of %d bits, exponent %s", bits, is_usual ? "65537" : "other");
    return EHIS_OK;
}

/* An extension that is understood here must be whole and canonical inside its wrapping, which the re-encoding of the certificate
 * does not see. */
static ehis_err check_extension_content(X509_EXTENSION *e, const X509V3_EXT_METHOD *m, struct ehis_why *why)
{
    const ASN1_OCTET_STRING *wrapped = X509_EXTENSION_get_data(e);
    struct span content = span_of(ASN1_STRING_get0_data(wrapped), (size_t)ASN1_STRING_length(wrapped));
    const uint8_t *p = content.p;
    uint8_t *again = NULL;
    ASN1_VALUE *v = ASN1_item_d2i(NULL, &p, (long)content.len, ASN1_ITEM_ptr(m->it));
    int n = v ? ASN1_item_i2d(v, &again, ASN1_ITEM_ptr(m->it)) : -1;
    bool is_same = n >= 0 && span_eq(span_of(again, (size_t)n), content) && pki_der_is_strict(content);
    OPENSSL_free(again);
    ASN1_item_free(v, ASN1_ITEM_ptr(m->it));
    ERR_clear_error();
    return is_same ? EHIS_OK : ehis_fail(why, EHIS_E_CERT_EXTENSION, "%s is malformed", OBJ_nid2ln(m->ext_nid));
}

static ehis_err check_extensions(X509 *x, struct ehis_why *why)
{
    static const int known[] = {NID_basic_constraints,      NID_key_usage,
                                NID_ext_key_usage,          NID_subject_alt_name,
                                NID_subject_key_identifier, NID_authority_key_identifier};
    static const int forbidden[] = {NID_name_constraints, NID_policy_mappings, NID_policy_constraints, NID_inhibit_any_policy,
                                    NID_issuer_alt_name};
    for (int i = 0; i < X509_get_ext_count(x); i++) {
        X509_EXTENSION *e = X509_get_ext(x, i);
        int nid = OBJ_obj2nid(X509_EXTENSION_get_object(e));
        bool is_known = false;
        for (size_t j = 0; j < sizeof known / sizeof known[0]; j++)
            is_known |= nid == known[j];
        for (size_t j = 0; j < sizeof forbidden / sizeof forbidden[0]; j++)
            if (nid == forbidden[j])
                return ehis_fail(why, EHIS_E_CERT_EXTENSION, "%s is not allowed", OBJ_nid2ln(nid));
        if (!is_known && X509_EXTENSION_get_critical(e))
            return ehis_fail(why, EHIS_E_CERT_EXTENSION_CRITICAL, "%s", nid ? OBJ_nid2ln(nid) : "an unknown one");
        if (X509_get_ext_by_OBJ(x, X509_EXTENSION_get_object(e), i) >= 0)
            return ehis_fail(why, EHIS_E_CERT_EXTENSION, "%s stands twice", nid ? OBJ_nid2ln(nid) : "an extension");
        if (is_known)
            EHIS_TRY(check_extension_content(e, X509V3_EXT_get(e), why));
    }
    if (X509_get_extension_flags(x) & EXFLAG_INVALID)
        return ehis_fail(why, EHIS_E_CERT_EXTENSION, "the extensions contradict each other");
    return EHIS_OK;
}

static ehis_err check_validity(X509 *x, int64_t now_ms, int64_t max_days, int64_t *from, int64_t *until, struct ehis_why *why)
{
    if (pki_time_ms(X509_get0_notBefore(x), from) != EHIS_OK || pki_time_ms(X509_get0_notAfter(x), until) != EHIS_OK)
        return ehis_fail(why, EHIS_E_CERT_MALFORMED, "its times cannot be read");
    char text[TIME_TEXT_LEN];
    if (*until <= *from || *until - *from > max_days * 86400000)
        return ehis_fail(why, EHIS_E_CERT_LIFETIME, "%lld days", (long long)((*until - *from) / 86400000));
    if (now_ms < *from) {
        time_to_text(*from, text);
        return ehis_fail(why, EHIS_E_CERT_NOT_YET_VALID, "it is valid from %s", text);
    }
    if (now_ms >= *until) {
        time_to_text(*until, text);
        return ehis_fail(why, EHIS_E_CERT_EXPIRED, "it was valid until %s", text);
    }
    return EHIS_OK;
}

/* What holds for every certificate. */
static ehis_err check_any(X509 *x, struct ehis_why *why)
{
    EHIS_TRY(check_version_and_serial(x, why));
    EHIS_TRY(check_signature_algorithm(x, why));
    EHIS_TRY(pki_key_check(X509_get0_pubkey(x), why));
    EHIS_TRY(check_extensions(x, why));
    if (!X509_get0_subject_key_id(x))
        return ehis_fail(why, EHIS_E_CERT_KEY_IDENTIFIER, "no subject key identifier");
    return EHIS_OK;
}

/* "ehis:AZ/GOV/MIA/population" or "ehis-gw:AZ/gw1", checked. */
static ehis_err name_from_uri(struct span uri, enum pki_kind *kind, struct span *id, struct ehis_why *why)
{
    static const struct {
        const char *scheme;
        enum pki_kind kind;
        enum identifier_parts parts;
    } forms[] = {{"ehis:", PKI_SYSTEM, IDENTIFIER_SYSTEM}, {"ehis-gw:", PKI_GATEWAY, IDENTIFIER_GATEWAY}};
    for (size_t i = 0; i < sizeof forms / sizeof forms[0]; i++) {
        size_t n = strlen(forms[i].scheme);
        if (uri.len <= n || memcmp(uri.p, forms[i].scheme, n) != 0)
            continue;
        struct span rest = span_of(uri.p + n, uri.len - n);
        struct ehis_why inner = {""};
        if (identifier_check(rest, forms[i].parts, &inner) != EHIS_OK)
            return ehis_fail(why, EHIS_E_CERT_NAME_FORM, "%s", inner.text);
        *kind = forms[i].kind;
        *id = rest;
        return EHIS_OK;
    }
    return ehis_fail(why, EHIS_E_CERT_NAME_FORM, "it begins with neither ehis: nor ehis-gw:");
}

static ehis_err read_name(X509 *x, struct pki_leaf *out, struct ehis_why *why)
{
    GENERAL_NAMES *names = X509_get_ext_d2i(x, NID_subject_alt_name, NULL, NULL);
    if (!names)
        return X509_NAME_get_index_by_NID(X509_get_subject_name(x), NID_commonName, -1) >= 0
                   ? ehis_fail(why, EHIS_E_CERT_NAME_IN_CN, "CN alone")
                   : ehis_fail(why, EHIS_E_CERT_NAME_MISSING, "none");
    ehis_err err = EHIS_OK;
    int type;
    if (sk_GENERAL_NAME_num(names) != 1) {
        err = sk_GENERAL_NAME_num(names) == 0 ? ehis_fail(why, EHIS_E_CERT_NAME_MISSING, "an empty list")
                                              : ehis_fail(why, EHIS_E_CERT_NAME_SEVERAL, "%d names", sk_GENERAL_NAME_num(names));
        goto out;
    }
    const ASN1_IA5STRING *uri = GENERAL_NAME_get0_value(sk_GENERAL_NAME_value(names, 0), &type);
    if (type != GEN_URI) {
        err = ehis_fail(why, EHIS_E_CERT_NAME_TYPE, "kind %d", type);
        goto out;
    }
    struct span id;
    err = name_from_uri(span_of(ASN1_STRING_get0_data(uri), (size_t)ASN1_STRING_length(uri)), &out->kind, &id, why);
    if (err != EHIS_OK)
        goto out;
    EHIS_ASSERT(id.len < sizeof out->id);
    memcpy(out->id, id.p, id.len);
    out->id[id.len] = '\0';
out:
    GENERAL_NAMES_free(names);
    return err;
}

static ehis_err check_leaf_usage(X509 *x, enum pki_kind kind, struct ehis_why *why)
{
    uint32_t flags = X509_get_extension_flags(x);
    if (flags & EXFLAG_CA || (flags & EXFLAG_KUSAGE && X509_get_key_usage(x) & KU_KEY_CERT_SIGN))
        return ehis_fail(why, EHIS_E_CERT_IS_CA, "CA:TRUE or keyCertSign");
    if (!(flags & EXFLAG_KUSAGE) || !(X509_get_key_usage(x) & KU_DIGITAL_SIGNATURE))
        return ehis_fail(why, EHIS_E_CERT_KEY_USAGE, "no digitalSignature");
    EXTENDED_KEY_USAGE *uses = X509_get_ext_d2i(x, NID_ext_key_usage, NULL, NULL);
    int wanted = kind == PKI_GATEWAY ? NID_server_auth : NID_client_auth;
    bool is_exact = uses && sk_ASN1_OBJECT_num(uses) == 1 && OBJ_obj2nid(sk_ASN1_OBJECT_value(uses, 0)) == wanted;
    EXTENDED_KEY_USAGE_free(uses);
    return is_exact ? EHIS_OK
                    : ehis_fail(why, EHIS_E_CERT_EXTENDED_USAGE, "a %s must have exactly %s", pki_kind_name(kind), OBJ_nid2ln(wanted));
}

/* Key, pin, fingerprint, serial number. */
static ehis_err read_facts(X509 *x, struct pki_leaf *out, struct ehis_why *why)
{
    uint8_t *der = NULL;
    int n = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(x), &der);
    if (n <= 0 || (size_t)n > sizeof out->spki) {
        OPENSSL_free(der);
        return ehis_fail(why, EHIS_E_CERT_KEY_WEAK, "a key of %d bytes", n);
    }
    memcpy(out->spki, der, (size_t)n);
    out->spki_len = (size_t)n;
    OPENSSL_free(der);
    crypto_key_id(USE_TLS, ALGORITHM_SPKI, span_of(out->spki, out->spki_len), &out->key_id);
    der = NULL;
    n = i2d_X509(x, &der);
    if (n <= 0)
        return ehis_fail(why, EHIS_E_NO_MEMORY, "certificate");
    hash_span(span_of(der, (size_t)n), &out->fingerprint);
    OPENSSL_free(der);
    const ASN1_INTEGER *serial = X509_get0_serialNumber(x);
    out->serial_len = (size_t)ASN1_STRING_length(serial);
    memcpy(out->serial, ASN1_STRING_get0_data(serial), out->serial_len);
    return EHIS_OK;
}

ehis_err pki_profile_leaf(X509 *x, int64_t now_ms, struct pki_leaf *out, struct ehis_why *why)
{
    struct pki_leaf leaf = {0};
    EHIS_TRY(check_canonical(x, why));
    EHIS_TRY(check_any(x, why));
    EHIS_TRY(read_name(x, &leaf, why));
    EHIS_TRY(check_leaf_usage(x, leaf.kind, why));
    if (!X509_get0_authority_key_id(x))
        return ehis_fail(why, EHIS_E_CERT_KEY_IDENTIFIER, "no authority key identifier");
    EHIS_TRY(check_validity(x, now_ms, PKI_LEAF_DAYS_MAX, &leaf.not_before_ms, &leaf.not_after_ms, why));
    EHIS_TRY(read_facts(x, &leaf, why));
    if (out)
        *out = leaf;
    return EHIS_OK;
}

/* Beside the one URI only hosts; *host_count of them. */
static ehis_err read_bus_names(X509 *x, struct pki_leaf *out, int *host_count, struct ehis_why *why)
{
    static const char scheme[] = "ehis-bus:";
    GENERAL_NAMES *names = X509_get_ext_d2i(x, NID_subject_alt_name, NULL, NULL);
    ehis_err err = names ? EHIS_OK : ehis_fail(why, EHIS_E_CERT_NAME_MISSING, "none");
    for (int i = 0; names && i < sk_GENERAL_NAME_num(names) && err == EHIS_OK; i++) {
        int type;
        const ASN1_STRING *v = GENERAL_NAME_get0_value(sk_GENERAL_NAME_value(names, i), &type);
        if (type == GEN_DNS || type == GEN_IPADD) {
            ++*host_count;
            continue;
        }
        struct span uri = type == GEN_URI ? span_of(ASN1_STRING_get0_data(v), (size_t)ASN1_STRING_length(v)) : span_str("");
        struct span id = uri.len >= sizeof scheme ? span_of(uri.p + sizeof scheme - 1, uri.len - (sizeof scheme - 1)) : span_str("");
        if (id.len == 0 || memcmp(uri.p, scheme, sizeof scheme - 1) != 0 || identifier_check(id, IDENTIFIER_GATEWAY, NULL) != EHIS_OK || out->id[0])
            err = ehis_fail(why, EHIS_E_CERT_NAME_FORM, "a certificate of the bus has one URI ehis-bus:INSTANCE/NAME, and hosts");
        else
            memcpy(out->id, id.p, id.len);
    }
    GENERAL_NAMES_free(names);
    if (err == EHIS_OK && !out->id[0])
        err = ehis_fail(why, EHIS_E_CERT_NAME_MISSING, "no URI ehis-bus:");
    return err;
}

ehis_err pki_profile_bus(X509 *x, int64_t now_ms, struct pki_leaf *out, struct ehis_why *why)
{
    struct pki_leaf leaf = {.kind = PKI_BUS};
    int host_count = 0;
    EHIS_TRY(check_canonical(x, why));
    EHIS_TRY(check_any(x, why));
    EHIS_TRY(read_bus_names(x, &leaf, &host_count, why));
    uint32_t flags = X509_get_extension_flags(x), wanted = XKU_SSL_CLIENT | (host_count ? XKU_SSL_SERVER : 0u);
    if (flags & EXFLAG_CA || !(flags & EXFLAG_KUSAGE) || X509_get_key_usage(x) != KU_DIGITAL_SIGNATURE || X509_get_extended_key_usage(x) != wanted)
        return ehis_fail(why, EHIS_E_CERT_EXTENDED_USAGE, "it must be for digitalSignature, clientAuth, and with hosts serverAuth");
    if (EVP_PKEY_get_base_id(X509_get0_pubkey(x)) == EVP_PKEY_ED25519)
        return ehis_fail(why, EHIS_E_CERT_KEY_WEAK, "Kafka takes no Ed25519");
    EHIS_TRY(check_validity(x, now_ms, PKI_LEAF_DAYS_MAX, &leaf.not_before_ms, &leaf.not_after_ms, why));
    EHIS_TRY(read_facts(x, &leaf, why));
    if (out)
        *out = leaf;
    return EHIS_OK;
}

ehis_err pki_profile_authority(X509 *x, int64_t now_ms, struct ehis_why *why)
{
    int64_t from, until;
    EHIS_TRY(check_any(x, why));
    int critical;
    BASIC_CONSTRAINTS *bc = X509_get_ext_d2i(x, NID_basic_constraints, &critical, NULL);
    bool is_ca = bc && critical == 1 && bc->ca && (bc->pathlen || X509_get_extension_flags(x) & EXFLAG_SS);
    BASIC_CONSTRAINTS_free(bc);
    ASN1_BIT_STRING *usage = X509_get_ext_d2i(x, NID_key_usage, &critical, NULL);
    bool is_usage = usage && critical == 1;
    ASN1_BIT_STRING_free(usage);
    uint32_t needed = KU_KEY_CERT_SIGN | KU_CRL_SIGN;
    if (!is_ca || !is_usage || (X509_get_key_usage(x) & needed) != needed)
        return ehis_fail(why, EHIS_E_CERT_AUTHORITY, "%s", !is_ca ? "basic constraints" : "key usage");
    return check_validity(x, now_ms, 30 * 366, &from, &until, why);
}

ehis_err pki_profile_chain(const STACK_OF(X509) * chain, enum pki_kind kind, int64_t now_ms, struct pki_leaf *out, struct ehis_why *why)
{
    int n = sk_X509_num(chain);
    if (n > PKI_CHAIN_MAX)
        return ehis_fail(why, EHIS_E_CHAIN_TOO_LONG, "%d certificates", n);
    if (n < 2)
        return ehis_fail(why, EHIS_E_CHAIN_UNTRUSTED, "%d certificates", n);
    struct pki_leaf leaf;
    EHIS_TRY(pki_profile_leaf(sk_X509_value(chain, 0), now_ms, &leaf, why));
    if (leaf.kind != kind)
        return ehis_fail(why, EHIS_E_CERT_KIND, "%s is a %s", leaf.id, pki_kind_name(leaf.kind));
    for (int i = 1; i < n - 1; i++) /* the root is ours, and shared with other threads */
        EHIS_TRY(check_canonical(sk_X509_value(chain, i), why));
    for (int i = 1; i < n; i++)
        EHIS_TRY(pki_profile_authority(sk_X509_value(chain, i), now_ms, why));
    if (out)
        *out = leaf;
    return EHIS_OK;
}
