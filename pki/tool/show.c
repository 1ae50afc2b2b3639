/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* The verbs that read: show, verify. */
#include "base/disk.h"
#include "pki/authority.h"
#include "pki/join.h"
#include "pki/keyfile.h"
#include "pki/pem.h"
#include "pki/tool/tool.h"
#include "pki/trust.h"
#include <openssl/x509v3.h>

static json_t *name_of(const X509_NAME *name)
{
    char text[256];
    X509_NAME_oneline(name, text, sizeof text);
    return json_string(text);
}

static json_t *time_of(const ASN1_TIME *t)
{
    int64_t ms;
    return t && pki_time_ms(t, &ms) == EHIS_OK ? tool_time(ms) : json_null();
}

/* A leaf as the profile sees it, or what the profile has against it; an authority by name. */
static ehis_err on_cert(void *arg, struct span der, struct ehis_why *why)
{
    X509 *x;
    struct pki_leaf leaf;
    struct ehis_why inner = {""};
    int64_t at;
    EHIS_TRY(pki_cert_from_der(der, &x, why));
    if (pki_time_ms(X509_get0_notBefore(x), &at) != EHIS_OK)
        at = 0;
    ehis_err err = pki_profile_leaf(x, at, &leaf, &inner);
    if (err != EHIS_OK && pki_profile_bus(x, at, &leaf, NULL) == EHIS_OK)
        err = EHIS_OK;
    json_t *o = err == EHIS_OK ? tool_leaf(&leaf)
                               : json_pack("{s:o, s:o, s:o}", "subject", name_of(X509_get_subject_name(x)), "not_before",
                                           time_of(X509_get0_notBefore(x)), "not_after", time_of(X509_get0_notAfter(x)));
    bool is_authority = err != EHIS_OK && pki_profile_authority(x, at, NULL) == EHIS_OK;
    if (is_authority)
        json_object_set_new(o, "kind", json_string("authority"));
    else if (err != EHIS_OK)
        json_object_set_new(o, "refused", json_sprintf("EHIS-%d %s: %s", (int)err, ehis_err_row(err)->text, inner.text));
    json_object_set_new(o, "issuer", name_of(X509_get_issuer_name(x)));
    X509_free(x);
    json_array_append_new(arg, o);
    return EHIS_OK;
}

static ehis_err on_crl(void *arg, struct span der, struct ehis_why *why)
{
    const uint8_t *p = der.p;
    X509_CRL *crl = d2i_X509_CRL(NULL, &p, (long)der.len);
    if (!crl)
        return ehis_fail(why, EHIS_E_CRL_MALFORMED, "it does not parse");
    ASN1_INTEGER *n = X509_CRL_get_ext_d2i(crl, NID_crl_number, NULL, NULL);
    uint64_t number = 0;
    if (n && ASN1_INTEGER_get_uint64(&number, n) != 1)
        number = 0;
    ASN1_INTEGER_free(n);
    int count = sk_X509_REVOKED_num(X509_CRL_get_REVOKED(crl));
    json_array_append_new(arg, json_pack("{s:o, s:I, s:o, s:o, s:i}", "issuer", name_of(X509_CRL_get_issuer(crl)), "number",
                                         (json_int_t)number, "this_update", time_of(X509_CRL_get0_lastUpdate(crl)), "next_update",
                                         time_of(X509_CRL_get0_nextUpdate(crl)), "revoked", count < 0 ? 0 : count));
    X509_CRL_free(crl);
    return EHIS_OK;
}

static ehis_err show_join(struct cli *c, struct span bytes, struct ehis_why *why)
{
    struct pki_join join;
    EHIS_TRY(pki_join_read(bytes, &join, why));
    return tool_print(c, json_pack("{s:s, s:s%, s:o, s:o}", "kind", pki_kind_name(join.kind), "id", (const char *)join.id.p, join.id.len,
                                   "created", tool_time(join.created_ms), "keys", tool_keys(&join)));
}

static ehis_err show_file(struct cli *c, const char *path, struct ehis_why *why)
{
    static const char crl_mark[] = "-----BEGIN X509 CRL-----", cert_mark[] = "-----BEGIN CERTIFICATE-----";
    struct buf text;
    buf_init(&text, PKI_CRL_MAX_BYTES);
    json_t *list = json_array();
    ehis_err err = file_read(path, PKI_CRL_MAX_BYTES, &text, why);
    struct span s = buf_span(&text);
    if (err != EHIS_OK) {
        ;
    } else if (s.len && memmem(s.p, s.len, crl_mark, sizeof crl_mark - 1)) {
        err = pki_pem_each(s, "X509 CRL", PKI_AUTHORITIES_MAX, on_crl, list, why);
        if (err == EHIS_OK)
            err = tool_print(c, json_pack("{s:O}", "crls", list));
    } else if (s.len && memmem(s.p, s.len, cert_mark, sizeof cert_mark - 1)) {
        err = pki_pem_each(s, "CERTIFICATE", PKI_AUTHORITIES_MAX, on_cert, list, why);
        if (err == EHIS_OK)
            err = tool_print(c, json_pack("{s:O}", "certificates", list));
    } else {
        err = show_join(c, s, why);
    }
    json_decref(list);
    buf_fini(&text);
    return err;
}

static ehis_err show_authority(struct cli *c, const char *dir, struct ehis_why *why)
{
    struct pki_authority *a;
    EHIS_TRY(pki_authority_open(dir, &a, why));
    json_t *list = json_array();
    int64_t now_ms = clock_wall_ms(&clock_system);
    for (size_t i = 0; i < pki_authority_issued_count(a); i++) {
        const struct pki_issued *p = pki_authority_issued(a, i);
        json_t *o = json_pack("{s:s, s:s, s:s, s:s, s:o}", "serial", p->serial, "status",
                              p->revoked_ms               ? "revoked"
                              : p->not_after_ms <= now_ms ? "expired"
                                                          : "valid",
                              "kind", pki_kind_name(p->kind), "id", p->id, "not_after", tool_time(p->not_after_ms));
        if (p->revoked_ms)
            json_object_update_new(o,
                                   json_pack("{s:o, s:s}", "revoked_at", tool_time(p->revoked_ms), "reason", pki_reason_names[p->reason]));
        json_array_append_new(list, o);
    }
    ehis_err err = tool_print(c, json_pack("{s:s, s:o}", "instance", pki_authority_instance(a), "issued", list));
    pki_authority_close(a);
    return err;
}

ehis_err run_show(struct cli *c, struct ehis_why *why)
{
    const char *dir = cli_get(c, "ca"), *file = cli_word(c, 0);
    if (!dir == !file)
        return ehis_fail(why, EHIS_E_USAGE, "name either a file or --ca DIR");
    return dir ? show_authority(c, dir, why) : show_file(c, file, why);
}

/* As which kind: the one that was asked for, or the one that the leaf claims. */
static ehis_err wanted_kind(struct cli *c, X509 *leaf, int64_t now_ms, enum pki_kind *kind, struct ehis_why *why)
{
    struct pki_leaf claimed;
    if (!cli_has(c, "kind"))
        EHIS_TRY(pki_profile_leaf(leaf, now_ms, &claimed, why));
    *kind = !cli_has(c, "kind") ? claimed.kind : cli_number(c, "kind") ? PKI_GATEWAY : PKI_SYSTEM;
    return EHIS_OK;
}

ehis_err run_verify(struct cli *c, struct ehis_why *why)
{
    const char *crls[CLI_VALUES_MAX];
    size_t crl_count = cli_get_all(c, "crl", crls);
    int64_t now_ms = cli_time(c, "at");
    enum pki_kind kind;
    struct pki_trust *trust = NULL;
    struct pki_peer peer;
    STACK_OF(X509) *chain = NULL;
    X509 *leaf = NULL;
    struct buf pem;
    buf_init(&pem, PKI_CA_FILE_MAX_BYTES);
    ehis_err err = file_read(cli_word(c, 0), PKI_CA_FILE_MAX_BYTES, &pem, why);
    if (err == EHIS_OK)
        err = pki_chain_from_pem(buf_span(&pem), &chain, why);
    if (err == EHIS_OK) {
        leaf = sk_X509_shift(chain);
        err = wanted_kind(c, leaf, now_ms, &kind, why);
    }
    if (err == EHIS_OK)
        err = pki_trust_load(cli_get(c, "trust"), crls, crl_count, now_ms, 0, NULL, &trust, why);
    if (err == EHIS_OK)
        err = pki_trust_verify(trust, leaf, chain, kind, now_ms, &peer, why);
    if (err == EHIS_OK)
        err = tool_print(c, json_pack("{s:b, s:o}", "verified", true, "certificates", json_pack("[o]", tool_leaf(&peer.leaf))));
    pki_trust_unref(trust);
    X509_free(leaf);
    pki_chain_free(chain);
    buf_fini(&pem);
    return err;
}
