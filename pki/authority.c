/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
#include "pki/authority.h"
#include "base/disk.h"
#include "pki/certify.h"
#include "pki/csr.h"
#include "pki/issued.h"
#include "pki/keyfile.h"
#include "pki/pem.h"
#include "pki/trust.h"
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define DAY_MS 86400000LL

enum { PATH_CA, PATH_ROOT_KEY, PATH_INTERMEDIATE_KEY, PATH_ISSUED, PATH_COUNT };
static const char *const file_names[PATH_COUNT] = {"ca.crt", "root.key", "intermediate.key", "issued.txt"};

struct pki_authority {
    char paths[PATH_COUNT][4096];
    struct disk *folder; /* holds the lock */
    X509 *root, *intermediate;
    EVP_PKEY *intermediate_key;
    struct issued_list issued;
};

static ehis_err set_paths(char paths[PATH_COUNT][4096], const char *dir, struct ehis_why *why)
{
    for (size_t i = 0; i < PATH_COUNT; i++)
        if (snprintf(paths[i], sizeof paths[i], "%s/%s", dir, file_names[i]) >= (int)sizeof paths[i])
            return ehis_fail(why, EHIS_E_TOO_LARGE, "the path of the folder");
    return EHIS_OK;
}

static ehis_err put_cert(struct buf *out, X509 *x)
{
    uint8_t *der = NULL;
    int n = i2d_X509(x, &der);
    ehis_err err = n > 0 ? pki_pem_put(out, "CERTIFICATE", span_of(der, (size_t)n)) : EHIS_E_NO_MEMORY;
    OPENSSL_free(der);
    return err;
}

static ehis_err save_issued(const char *path, const struct issued_list *l, struct ehis_why *why)
{
    struct buf text;
    buf_init(&text, ISSUED_FILE_MAX_BYTES);
    ehis_err err = issued_print(l, &text);
    if (err == EHIS_OK)
        err = file_write(path, buf_span(&text), 0600, why);
    buf_fini(&text);
    return err;
}

struct founding { /* a new authority's parts, freed whole */
    EVP_PKEY *root_key, *intermediate_key;
    X509 *root, *intermediate;
    struct buf ca;
};

static ehis_err found(struct founding *f, struct span instance, unsigned root_days, unsigned intermediate_days, int64_t now_ms,
                      struct ehis_why *why)
{
    /* A mark of its own in the names, so that a second authority of an instance is not taken for the first. */
    uint8_t mark[4];
    char hex[9], root_id[IDENTIFIER_MAX_BYTES], intermediate_id[IDENTIFIER_MAX_BYTES];
    random_fill(&random_system, mark, sizeof mark);
    hex_to_text(mark, sizeof mark, hex);
    snprintf(root_id, sizeof root_id, "%.*s/EHIS root %s", SPAN_SHOW(instance), hex);
    snprintf(intermediate_id, sizeof intermediate_id, "%.*s/EHIS intermediate %s", SPAN_SHOW(instance), hex);
    struct certify c = {.role = CERTIFY_ROOT,
                        .id = span_str(root_id),
                        .key = f->root_key,
                        .issuer_key = f->root_key,
                        .from_ms = now_ms - PKI_BACKDATE_MS,
                        .until_ms = now_ms + root_days * DAY_MS};
    EHIS_TRY(pki_certify(&c, &f->root, why));
    c.role = CERTIFY_INTERMEDIATE;
    c.id = span_str(intermediate_id);
    c.key = f->intermediate_key;
    c.issuer = f->root;
    c.until_ms = now_ms + intermediate_days * DAY_MS;
    EHIS_TRY(pki_certify(&c, &f->intermediate, why));
    EHIS_TRY(put_cert(&f->ca, f->root));
    return put_cert(&f->ca, f->intermediate);
}

ehis_err pki_authority_init(const char *dir, struct span instance, unsigned root_days, unsigned intermediate_days, int64_t now_ms,
                            struct ehis_why *why)
{
    char paths[PATH_COUNT][4096];
    struct disk *folder = NULL;
    struct founding f = {0};
    struct issued_list issued = {0};
    buf_init(&f.ca, PKI_CA_FILE_MAX_BYTES);
    EHIS_TRY(identifier_part_check(instance, why));
    EHIS_TRY(set_paths(paths, dir, why));
    for (size_t i = 0; i < PATH_COUNT; i++)
        if (access(paths[i], F_OK) == 0)
            return ehis_fail(why, EHIS_E_EXISTS, "%s", paths[i]);
    EHIS_TRY(disk_open_folder(dir, true, &folder, why));
    memcpy(issued.instance, instance.p, instance.len);
    ehis_err err = folder->ops->lock(folder, "lock");
    if (err == EHIS_OK)
        err = pki_tlskey_make(paths[PATH_ROOT_KEY], &f.root_key, why);
    if (err == EHIS_OK)
        err = pki_tlskey_make(paths[PATH_INTERMEDIATE_KEY], &f.intermediate_key, why);
    if (err == EHIS_OK)
        err = found(&f, instance, root_days, intermediate_days, now_ms, why);
    if (err == EHIS_OK)
        err = file_write(paths[PATH_CA], buf_span(&f.ca), 0644, why);
    if (err == EHIS_OK)
        err = save_issued(paths[PATH_ISSUED], &issued, why);
    EVP_PKEY_free(f.root_key);
    EVP_PKEY_free(f.intermediate_key);
    X509_free(f.root);
    X509_free(f.intermediate);
    buf_fini(&f.ca);
    disk_free(folder);
    return err;
}

static ehis_err load_certs(struct pki_authority *a, struct ehis_why *why)
{
    struct buf pem;
    STACK_OF(X509) *certs = NULL;
    buf_init(&pem, PKI_CA_FILE_MAX_BYTES);
    ehis_err err = file_read(a->paths[PATH_CA], PKI_CA_FILE_MAX_BYTES, &pem, why);
    if (err == EHIS_OK)
        err = pki_chain_from_pem(buf_span(&pem), &certs, why);
    if (err == EHIS_OK && sk_X509_num(certs) != 2)
        err = ehis_fail(why, EHIS_E_AUTHORITY_DATABASE, "ca.crt must hold root and intermediate");
    if (err == EHIS_OK) {
        a->root = sk_X509_shift(certs);
        a->intermediate = sk_X509_shift(certs);
    }
    pki_chain_free(certs);
    buf_fini(&pem);
    return err;
}

static ehis_err load(struct pki_authority *a, struct ehis_why *why)
{
    struct buf text;
    EHIS_TRY(load_certs(a, why));
    EHIS_TRY(pki_tlskey_load(a->paths[PATH_INTERMEDIATE_KEY], &a->intermediate_key, why));
    if (X509_check_private_key(a->intermediate, a->intermediate_key) != 1)
        return ehis_fail(why, EHIS_E_KEY_MISMATCH, "%s", a->paths[PATH_INTERMEDIATE_KEY]);
    buf_init(&text, ISSUED_FILE_MAX_BYTES);
    ehis_err err = file_read(a->paths[PATH_ISSUED], ISSUED_FILE_MAX_BYTES, &text, why);
    if (err == EHIS_OK)
        err = issued_parse(buf_span(&text), &a->issued, why);
    buf_fini(&text);
    return err;
}

ehis_err pki_authority_open(const char *dir, struct pki_authority **out, struct ehis_why *why)
{
    struct pki_authority *a = calloc(1, sizeof *a);
    if (!a)
        return EHIS_E_NO_MEMORY;
    ehis_err err = set_paths(a->paths, dir, why);
    if (err == EHIS_OK && access(a->paths[PATH_ISSUED], F_OK) != 0)
        err = ehis_fail(why, EHIS_E_NOT_FOUND, "%s holds no authority; ehis-pki init makes one", dir);
    if (err == EHIS_OK)
        err = disk_open_folder(dir, false, &a->folder, why);
    if (err == EHIS_OK && (err = a->folder->ops->lock(a->folder, "lock")) != EHIS_OK)
        ehis_fail(why, err, "%s/lock", dir);
    if (err == EHIS_OK)
        err = load(a, why);
    if (err == EHIS_OK)
        *out = a;
    else
        pki_authority_close(a);
    return err;
}

void pki_authority_close(struct pki_authority *a)
{
    if (!a)
        return;
    X509_free(a->root);
    X509_free(a->intermediate);
    EVP_PKEY_free(a->intermediate_key);
    issued_fini(&a->issued);
    disk_free(a->folder);
    free(a);
}

const char *pki_authority_instance(const struct pki_authority *a)
{
    return a->issued.instance;
}
size_t pki_authority_issued_count(const struct pki_authority *a)
{
    return a->issued.count;
}
const struct pki_issued *pki_authority_issued(const struct pki_authority *a, size_t index)
{
    return &a->issued.items[index];
}

/* Remembers a certificate before anybody gets it. */
static ehis_err remember(struct pki_authority *a, const struct pki_leaf *leaf, bool is_dry, struct ehis_why *why)
{
    struct pki_issued item = {.kind = leaf->kind, .not_after_ms = leaf->not_after_ms};
    hex_to_text(leaf->serial, leaf->serial_len, item.serial);
    hex_to_text(leaf->fingerprint.b, HASH_BYTES, item.fingerprint);
    memcpy(item.id, leaf->id, sizeof item.id);
    EHIS_TRY(issued_add(&a->issued, &item));
    return is_dry ? EHIS_OK : save_issued(a->paths[PATH_ISSUED], &a->issued, why);
}

struct wish {
    struct span csr, id;
    enum pki_kind kind;
    const char *const *hosts;
    size_t host_count;
    unsigned days;
    int64_t now_ms;
    bool is_dry;
};

static ehis_err issue(struct pki_authority *a, const struct wish *w, struct buf *chain_pem, struct pki_leaf *out, struct ehis_why *why)
{
    static const enum certify_role roles[] = {[PKI_SYSTEM] = CERTIFY_SYSTEM, [PKI_GATEWAY] = CERTIFY_GATEWAY, [PKI_BUS] = CERTIFY_BUS};
    struct span instance = span_str(a->issued.instance);
    int64_t authority_until;
    struct pki_leaf leaf;
    X509_REQ *req = NULL;
    X509 *x = NULL;
    if (w->days < 1 || w->days > PKI_LEAF_DAYS_MAX)
        return ehis_fail(why, EHIS_E_CERT_LIFETIME, "%u days", w->days);
    EHIS_TRY(identifier_check(w->id, pki_kind_parts(w->kind), why));
    if (!span_eq(identifier_prefix(w->id, 1), instance))
        return ehis_fail(why, EHIS_E_AUTHORITY_INSTANCE, "%.*s at the authority of %s", SPAN_SHOW(w->id),
                         a->issued.instance);
    EHIS_TRY(pki_profile_authority(a->intermediate, w->now_ms, why));
    EHIS_TRY(pki_time_ms(X509_get0_notAfter(a->intermediate), &authority_until));
    EHIS_TRY(pki_csr_read(w->csr, w->kind, w->id, &req, why));
    struct certify c = {.role = roles[w->kind],
                        .id = w->id,
                        .key = X509_REQ_get0_pubkey(req),
                        .issuer = a->intermediate,
                        .issuer_key = a->intermediate_key,
                        .from_ms = w->now_ms - PKI_BACKDATE_MS,
                        .until_ms = w->now_ms - PKI_BACKDATE_MS + w->days * DAY_MS,
                        .hosts = w->hosts,
                        .host_count = w->host_count};
    if (c.until_ms > authority_until)
        c.until_ms = authority_until;
    ehis_err err = pki_certify(&c, &x, why);
    if (err == EHIS_OK)
        err = w->kind == PKI_BUS ? pki_profile_bus(x, w->now_ms, &leaf, why) : pki_profile_leaf(x, w->now_ms, &leaf, why);
    if (err == EHIS_OK)
        err = remember(a, &leaf, w->is_dry, why);
    if (err == EHIS_OK)
        err = put_cert(chain_pem, x);
    if (err == EHIS_OK)
        err = put_cert(chain_pem, a->intermediate);
    if (err == EHIS_OK && out)
        *out = leaf;
    X509_free(x);
    X509_REQ_free(req);
    return err;
}

ehis_err pki_authority_issue(struct pki_authority *a, struct span csr, enum pki_kind kind, struct span id, unsigned days, int64_t now_ms,
                             bool is_dry, struct buf *chain_pem, struct pki_leaf *out, struct ehis_why *why)
{
    return issue(a, &(struct wish){.csr = csr, .id = id, .kind = kind, .days = days, .now_ms = now_ms, .is_dry = is_dry}, chain_pem, out, why);
}

ehis_err pki_authority_issue_bus(struct pki_authority *a, struct span csr, struct span id, const char *const *hosts, size_t host_count, unsigned days,
                                 int64_t now_ms, bool is_dry, struct buf *chain_pem, struct pki_leaf *out, struct ehis_why *why)
{
    return issue(a, &(struct wish){csr, id, PKI_BUS, hosts, host_count, days, now_ms, is_dry}, chain_pem, out, why);
}

static ehis_err reason_number(const char *name, unsigned *out, struct ehis_why *why)
{
    for (unsigned i = 0; pki_reason_names[i]; i++) {
        if (strcmp(pki_reason_names[i], name) == 0) {
            *out = i;
            return EHIS_OK;
        }
    }
    return ehis_fail(why, EHIS_E_USAGE,
                     "reason %s; one of unspecified, keyCompromise, affiliationChanged, superseded, cessationOfOperation", name);
}

ehis_err pki_authority_revoke(struct pki_authority *a, const char *which, const char *reason, int64_t now_ms, bool is_dry, size_t *count,
                              struct ehis_why *why)
{
    unsigned number;
    size_t revoked = 0, earlier = 0;
    EHIS_TRY(reason_number(reason, &number, why));
    for (size_t i = 0; i < a->issued.count; i++) {
        struct pki_issued *c = &a->issued.items[i];
        if (strcmp(c->serial, which) != 0 && (strcmp(c->id, which) != 0 || c->not_after_ms <= now_ms))
            continue;
        if (c->revoked_ms) {
            earlier++;
            continue;
        }
        c->revoked_ms = now_ms;
        c->reason = number;
        revoked++;
    }
    if (!revoked)
        return ehis_fail(why, earlier ? EHIS_E_AUTHORITY_REVOKED : EHIS_E_AUTHORITY_SERIAL, "%s", which);
    if (!is_dry)
        EHIS_TRY(save_issued(a->paths[PATH_ISSUED], &a->issued, why));
    *count = revoked;
    return EHIS_OK;
}

/* Entries stay on the list until their certificate has expired by itself. */
static ehis_err collect_revoked(const struct pki_authority *a, int64_t now_ms, struct certify_revoked **out, size_t *count)
{
    struct certify_revoked *r = calloc(a->issued.count + 1, sizeof *r);
    if (!r)
        return EHIS_E_NO_MEMORY;
    size_t n = 0;
    for (size_t i = 0; i < a->issued.count; i++) {
        const struct pki_issued *c = &a->issued.items[i];
        if (c->revoked_ms && c->not_after_ms > now_ms)
            r[n++] = (struct certify_revoked){.serial = c->serial, .revoked_ms = c->revoked_ms, .reason = c->reason};
    }
    *out = r;
    *count = n;
    return EHIS_OK;
}

static ehis_err put_crl(X509 *issuer, EVP_PKEY *key, uint64_t number, int64_t now_ms, unsigned days, const struct certify_revoked *revoked,
                        size_t count, struct buf *pem, struct ehis_why *why)
{
    struct buf der;
    buf_init(&der, PKI_CRL_MAX_BYTES);
    int64_t from = now_ms - PKI_BACKDATE_MS;
    ehis_err err = pki_certify_crl(issuer, key, number, from, from + days * DAY_MS, revoked, count, &der, why);
    if (err == EHIS_OK)
        err = pki_pem_put(pem, "X509 CRL", buf_span(&der));
    buf_fini(&der);
    return err;
}

ehis_err pki_authority_crl(struct pki_authority *a, unsigned days, int64_t now_ms, bool is_dry, struct buf *pem, struct ehis_why *why)
{
    EVP_PKEY *root_key = NULL;
    struct certify_revoked *revoked = NULL;
    size_t count = 0;
    if (days < 1 || days > PKI_CRL_DAYS_MAX)
        return ehis_fail(why, EHIS_E_CRL_LIFETIME, "%u days", days);
    ehis_err err = pki_tlskey_load(a->paths[PATH_ROOT_KEY], &root_key, why);
    if (err == EHIS_OK && X509_check_private_key(a->root, root_key) != 1)
        err = ehis_fail(why, EHIS_E_KEY_MISMATCH, "%s", a->paths[PATH_ROOT_KEY]);
    if (err == EHIS_OK)
        err = collect_revoked(a, now_ms, &revoked, &count);
    a->issued.crl_number++;
    if (err == EHIS_OK && !is_dry)
        err = save_issued(a->paths[PATH_ISSUED], &a->issued, why); /* first: a number is never used twice */
    if (err == EHIS_OK)
        err = put_crl(a->root, root_key, a->issued.crl_number, now_ms, days, NULL, 0, pem, why);
    if (err == EHIS_OK)
        err = put_crl(a->intermediate, a->intermediate_key, a->issued.crl_number, now_ms, days, revoked, count, pem, why);
    EVP_PKEY_free(root_key);
    free(revoked);
    return err;
}
