/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* The state folder: who it belongs to, its log, the newest registry and revocation lists; nothing older is taken again. */
#include "adapters/sdk/ehis_priv.h"
#include "base/log.h"
#include <stdio.h>

#define RECORD_IDENTITY 32 /* state id, highest registry version and hash, system */
#define PART_MAX_BYTES (16u * 1024 * 1024)

static ehis_err append_identity(struct ehis *e, struct store *s)
{
    uint8_t fixed[56];
    memcpy(fixed, e->state_id, 16);
    be_put(fixed + 16, e->highest_version, 8);
    memcpy(fixed + 24, e->highest_hash, 32);
    struct span parts[] = {span_of(fixed, sizeof fixed), span_str(e->system)};
    return store_append(s, RECORD_IDENTITY, parts, 2, NULL);
}

static ehis_err on_replay(void *ctx, uint8_t type, struct span p, const struct store_place *at)
{
    struct ehis *e = ctx;
    if (outbox_owns_record(type))
        return outbox_replay(e->outbox, type, p, at);
    if (inbox_owns_record(type))
        return inbox_replay(e->inbox, type, p);
    if (type != RECORD_IDENTITY || p.len < 57)
        return EHIS_E_STATE_CORRUPT;
    if (!span_eq(span_of(p.p + 56, p.len - 56), span_str(e->system)))
        return EHIS_E_STATE_FOREIGN;
    memcpy(e->state_id, p.p, 16);
    e->highest_version = be_get(p.p + 16, 8);
    memcpy(e->highest_hash, p.p + 24, 32);
    e->has_identity = true;
    return EHIS_OK;
}

static ehis_err on_snapshot(void *ctx, struct store *s)
{
    struct ehis *e = ctx;
    if (!e->store) { /* the first */
        e->store = s;
        outbox_set_store(e->outbox, s);
        inbox_set_store(e->inbox, s, now_ms(e));
        if (!e->has_identity)
            random_fill(e->random, e->state_id, sizeof e->state_id);
        e->has_identity = true;
    }
    EHIS_TRY(append_identity(e, s));
    EHIS_TRY(outbox_snapshot(e->outbox));
    return inbox_snapshot(e->inbox);
}

static ehis_err on_carry(void *ctx, uint64_t segment)
{
    struct ehis *e = ctx;
    return outbox_carry(e->outbox, segment);
}

static void path_of(const struct ehis *e, const char *name, char *out, size_t bytes) { snprintf(out, bytes, "%s/%s", e->state_dir, name); }

/* What has run out is still what a newer one must follow. What is of other operators, or behind our own record, is fetched again. */
static void load_registry(struct ehis *e)
{
    char path[4096];
    struct buf b;
    struct registry *r = NULL;
    struct ehis_why why = {""};
    path_of(e, "registry", path, sizeof path);
    buf_init(&b, PART_MAX_BYTES);
    ehis_err err = file_read(path, PART_MAX_BYTES, &b, &why);
    if (err == EHIS_OK)
        err = registry_from_part(buf_span(&b), &e->registry_trust, NULL, REGISTRY_ANY_TIME, &r, &why);
    if (err == EHIS_OK && registry_version(r) >= e->highest_version) {
        e->registry = r;
        r = NULL;
    } else if (err != EHIS_E_NOT_FOUND) {
        log_line(LOG_NOTICE, "sdk.registry.stored_unusable", F_ERR(err), F_STR("why", why.text));
    }
    registry_unref(r);
    buf_fini(&b);
}

ehis_err state_open(struct ehis *e, struct ehis_why *why)
{
    struct store_events events = {.ctx = e, .replay = on_replay, .snapshot = on_snapshot, .carry = on_carry};
    struct store *s;
    if (!e->disk)
        EHIS_TRY(disk_open_folder(e->state_dir, true, &e->disk, why));
    ehis_err err = e->disk->ops->lock(e->disk, "lock");
    if (err != EHIS_OK)
        return ehis_fail(why, err, "the state folder %s is in use: each process needs one of its own", e->state_dir);
    err = store_open(e->disk, &events, 0, &s, why);
    if (err != EHIS_OK) {
        e->store = NULL;
        return ehis_fail(why, err, "the state folder %s: %s", e->state_dir, ehis_err_row(err)->text);
    }
    load_registry(e);
    large_out_restore(e);
    return EHIS_OK;
}

static ehis_err make_tls(struct ehis *e, struct pki_trust *trust, struct ehis_why *why)
{
    struct pki_tls_options o = {.own_kind = PKI_SYSTEM, .chain_file = e->chain_file, .key_file = e->key_file, .trust = trust, .clock = e->clock};
    struct pki_peer own;
    SSL_CTX *tls;
    EHIS_TRY(pki_tls_new(&o, &tls, &own, why));
    if (strcmp(own.leaf.id, e->system) != 0) {
        SSL_CTX_free(tls);
        return ehis_fail(why, EHIS_E_SDK_CONFIG, "the certificate is of %s, not of %s", own.leaf.id, e->system);
    }
    SSL_CTX_free(e->tls);
    e->tls = tls;
    e->own_until_ms = own.leaf.not_after_ms;
    return EHIS_OK;
}

ehis_err state_renew_tls(struct ehis *e, struct ehis_why *why)
{
    return now_ms(e) <= e->own_until_ms ? EHIS_OK : make_tls(e, e->trust, why);
}

/* The file of the configuration, or what a gateway has given since, whichever is newer. */
ehis_err state_load_trust(struct ehis *e, const char *ca_file, const char *crl_file, struct ehis_why *why)
{
    char path[4096];
    struct buf b;
    struct pki_trust *newer;
    buf_init(&b, PKI_CRL_MAX_BYTES);
    buf_init(&e->ca, PKI_CA_FILE_MAX_BYTES);
    path_of(e, "crl.der", path, sizeof path);
    ehis_err err = file_read(ca_file, PKI_CA_FILE_MAX_BYTES, &e->ca, why);
    if (err == EHIS_OK)
        err = pki_trust_load(ca_file, &crl_file, 1, now_ms(e), PKI_TRUST_STALE_ALLOWED, NULL, &e->trust, why);
    if (err == EHIS_OK && file_read(path, PKI_CRL_MAX_BYTES, &b, NULL) == EHIS_OK &&
        pki_trust_new(buf_span(&e->ca), buf_span(&b), now_ms(e), PKI_TRUST_STALE_ALLOWED, e->trust, &newer, NULL) == EHIS_OK) {
        pki_trust_unref(e->trust);
        e->trust = newer;
    }
    buf_fini(&b);
    return err == EHIS_OK ? make_tls(e, e->trust, why) : err;
}

ehis_err state_take_crl(struct ehis *e, struct span der, struct ehis_why *why)
{
    char path[4096];
    struct pki_trust *newer;
    path_of(e, "crl.der", path, sizeof path);
    EHIS_TRY(pki_trust_new(buf_span(&e->ca), der, now_ms(e), PKI_TRUST_STALE_ALLOWED, e->trust, &newer, why));
    if (memcmp(pki_trust_crl_hash(newer)->b, pki_trust_crl_hash(e->trust)->b, HASH_BYTES) == 0) {
        pki_trust_unref(newer);
        return EHIS_OK;
    }
    ehis_err err = make_tls(e, newer, why);
    if (err != EHIS_OK) {
        pki_trust_unref(newer);
        return err;
    }
    pki_trust_unref(e->trust);
    e->trust = newer;
    return file_write(path, der, 0600, why);
}

/* REGISTRY_SAME: what is held is what the gateway has. */
ehis_err state_take_registry(struct ehis *e, struct span part, struct ehis_why *why)
{
    char path[4096];
    struct registry *r;
    EHIS_TRY(registry_from_part(part, &e->registry_trust, e->registry, now_ms(e), &r, why));
    uint64_t version = registry_version(r);
    ehis_err err = EHIS_OK;
    if (version < e->highest_version)
        err = EHIS_E_REGISTRY_OLDER;
    else if (version == e->highest_version && memcmp(registry_hash(r)->b, e->highest_hash, 32) != 0)
        err = EHIS_E_REGISTRY_FORK;
    if (err != EHIS_OK) {
        registry_unref(r);
        return ehis_fail(why, err, "version %llu, held %llu", (unsigned long long)version, (unsigned long long)e->highest_version);
    }
    e->highest_version = version;
    memcpy(e->highest_hash, registry_hash(r)->b, 32);
    registry_unref(e->registry);
    e->registry = r;
    root_cache_drop(e->roots);
    path_of(e, "registry", path, sizeof path);
    EHIS_TRY(registry_store(r, path, why));
    log_line(LOG_INFO, "sdk.registry", F_U64("version", version));
    return append_identity(e, e->store);
}

void state_close(struct ehis *e)
{
    store_free(e->store);
    e->store = NULL;
    registry_unref(e->registry);
    pki_trust_unref(e->trust);
    SSL_CTX_free(e->tls);
    buf_fini(&e->ca);
    disk_free(e->disk);
}
