/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
#include "base/log.h"
#include "gateway/app/gateway.h"
#include "pki/keyfile.h"
#include <stdlib.h>

#define REGISTRY_MAX_BYTES (16 * 1024 * 1024)
#define REGISTRY_KEPT "registry.kept" /* beside the journal's folder's own files */

static ehis_err kept_path(const struct gateway *g, char *out, size_t n)
{
    int len = snprintf(out, n, "%s/%s", g->options.journal_dir, REGISTRY_KEPT);
    return len > 0 && (size_t)len < n ? EHIS_OK : EHIS_E_TOO_LARGE;
}

ehis_err gateway_registry_keep(const struct gateway *g, struct registry *r, struct ehis_why *why)
{
    char path[4200];
    EHIS_TRY(kept_path(g, path, sizeof path));
    return registry_store(r, path, why);
}

static ehis_err operator_keys(const struct gateway_options *o, uint8_t (**out)[32], struct ehis_why *why)
{
    uint8_t(*keys)[32] = calloc(o->operator_keys.count, sizeof *keys);
    ehis_err err = keys ? EHIS_OK : EHIS_E_NO_MEMORY;
    for (size_t i = 0; i < o->operator_keys.count && err == EHIS_OK; i++)
        if (hex_from_text(span_str(o->operator_keys.items[i]), keys[i], 32) != EHIS_OK)
            err = ehis_fail(why, EHIS_E_SETTINGS, "registry.operator_keys: %s is not 64 hexadecimal digits", o->operator_keys.items[i]);
    if (err != EHIS_OK)
        free(keys);
    else
        *out = keys;
    return err;
}

static ehis_err read_document(const char *path, const struct registry_trust *trust, const struct registry *older, int64_t now_ms, struct registry **out,
                              struct ehis_why *why)
{
    struct buf bytes;
    buf_init(&bytes, REGISTRY_MAX_BYTES);
    ehis_err err = file_read(path, REGISTRY_MAX_BYTES, &bytes, why);
    if (err == EHIS_OK) {
        struct ehis_why inner = {""};
        err = registry_from_document(buf_span(&bytes), trust, older, now_ms, out, &inner);
        if (err != EHIS_OK)
            (void)ehis_fail(why, err, "%s: %s", path, inner.text);
    }
    buf_fini(&bytes);
    return err;
}

ehis_err gateway_registry_load(const struct gateway *g, const struct gateway_options *o, struct registry *held, int64_t now_ms, struct registry **out,
                               struct ehis_why *why)
{
    uint8_t(*keys)[32] = NULL;
    char path[4200];
    struct registry *kept = NULL;
    EHIS_TRY(operator_keys(o, &keys, why));
    struct registry_trust trust = {.operator_keys = (const uint8_t(*)[32])keys, .count = o->operator_keys.count,
                                   .instance = span_of(o->name, strcspn(o->name, "/"))};
    if (!held && kept_path(g, path, sizeof path) == EHIS_OK) {
        ehis_err kept_err = read_document(path, &trust, NULL, REGISTRY_ANY_TIME, &kept, why); /* a floor, also when it has run out */
        if (kept_err != EHIS_OK && kept_err != EHIS_E_NOT_FOUND)
            log_line(LOG_WARN, "registry.kept.unusable", F_ERR(kept_err), F_STR("why", why->text));
    }
    struct registry *older = held ? held : kept;
    ehis_err err = read_document(o->registry, &trust, older, now_ms, out, why);
    if (err == EHIS_E_REGISTRY_SAME) {
        *out = registry_ref(older);
        err = EHIS_OK;
    } else if (err == EHIS_E_REGISTRY_OLDER && kept) {
        log_line(LOG_WARN, "registry.file.older", F_STR("file", o->registry), F_U64("kept_version", registry_version(kept)));
        *out = registry_ref(kept);
        err = EHIS_OK;
    }
    if (err == EHIS_OK && !held && registry_check_time(*out, now_ms) != EHIS_OK) { /* the same as was kept: nobody has looked yet */
        err = ehis_fail(why, registry_check_time(*out, now_ms), "version %llu", (unsigned long long)registry_version(*out));
        registry_unref(*out);
        *out = NULL;
    }
    registry_unref(kept);
    free(keys);
    return err;
}

/* What the table of options cannot say of one alone. */
ehis_err gateway_options_check(const struct gateway_options *o, struct ehis_why *why)
{
    for (size_t i = 0; i < o->listen.count; i++)
        EHIS_TRY(sessions_check_address(o->listen.items[i], why));
    if (o->group_max_bytes > o->segment_bytes / 2)
        return ehis_fail(why, EHIS_E_SETTINGS, "journal.group_max_bytes is over half of journal.segment_bytes");
    if (o->ping_timeout_ms <= o->ping_every_ms)
        return ehis_fail(why, EHIS_E_SETTINGS, "deadlines.ping_timeout must be over deadlines.ping_every");
    if (strcmp(o->bus_kind, "kafka") != 0)
        return EHIS_OK;
    EHIS_TRY(bus_kafka_options_check(&o->kafka, why));
    return bus_kafka_key_check(&o->kafka, why);
}

ehis_err gateway_bus_pair_load(const struct gateway *g, const struct gateway_options *o, struct pki_pair *out, struct ehis_why *why)
{
    *out = (struct pki_pair){.chain_file = o->kafka.certificate, .key_file = o->kafka.key, .ca_file = o->kafka.ca};
    return strcmp(o->bus_kind, "kafka") == 0 ? pki_pair_load(out, clock_wall_ms(g->clock), why) : EHIS_OK;
}

/* Our certificate and our signing key must be those that the registry says: or no adapter would believe us. */
static ehis_err check_own(const struct gateway_options *o, const struct sessions_identity *id, const struct pki_peer *own, int64_t now_ms, struct ehis_why *why)
{
    const struct registry_key *key;
    struct span name = span_str(o->name);
    if (strcmp(own->leaf.id, o->name) != 0)
        return ehis_fail(why, EHIS_E_GATEWAY_KEY, "the certificate is of %s, not of %s", own->leaf.id, o->name);
    if (registry_check_pin(id->registry, name, true, span_of(own->leaf.spki, own->leaf.spki_len), now_ms) != EHIS_OK)
        return ehis_fail(why, EHIS_E_GATEWAY_KEY, "the registry pins no TLS key in force of %s that is this certificate's", o->name);
    if (registry_signing_key(id->registry, name, sign_key_id(id->sign_key)->b, now_ms, now_ms, &key) != EHIS_OK)
        return ehis_fail(why, EHIS_E_GATEWAY_KEY, "the registry has no signing key in force of %s that is this one", o->name);
    return EHIS_OK;
}

void gateway_identity_free(struct sessions_identity *id)
{
    SSL_CTX_free(id->tls);
    pki_trust_unref(id->trust);
    registry_unref(id->registry);
    sign_key_free(id->sign_key);
    *id = (struct sessions_identity){0};
}

ehis_err gateway_identity_load(const struct gateway *g, const struct gateway_options *o, const struct sessions_identity *held, struct sessions_identity *out,
                               int64_t *own_expiry_ms, struct ehis_why *why)
{
    struct sessions_identity id = {0};
    struct pki_peer own;
    int64_t now_ms = clock_wall_ms(g->clock);
    struct ehis_why inner = {""};
    ehis_err err = pki_trust_load(o->ca, o->crls.items, o->crls.count, now_ms, 0, held ? held->trust : NULL, &id.trust, &inner);
    if (err != EHIS_OK)
        (void)ehis_fail(why, err, "tls.ca %s, tls.crls %s%s: %s", o->ca, o->crls.items[0], o->crls.count > 1 ? " and others" : "", inner.text);
    if (err == EHIS_OK) {
        struct pki_tls_options tls = {.own_kind = PKI_GATEWAY, .chain_file = o->tls_chain, .key_file = o->tls_key, .trust = id.trust, .clock = g->clock};
        err = pki_tls_new(&tls, &id.tls, &own, why);
    }
    if (err == EHIS_OK)
        err = pki_keyfile_load_sign(o->sign_key, USE_SIGN, &id.sign_key, why);
    if (err == EHIS_OK)
        err = gateway_registry_load(g, o, held ? held->registry : NULL, now_ms, &id.registry, why);
    if (err == EHIS_OK)
        err = check_own(o, &id, &own, now_ms, why);
    if (err != EHIS_OK) {
        gateway_identity_free(&id);
        return err;
    }
    *own_expiry_ms = own.leaf.not_after_ms;
    *out = id;
    return EHIS_OK;
}

void gateway_limits(const struct gateway_options *o, struct sessions_limits *limits, struct exchange_bounds *bounds)
{
    *limits = (struct sessions_limits){.sessions_max = (uint32_t)o->sessions_max,
                                       .sessions_per_system = (uint32_t)o->sessions_per_system,
                                       .half_open_max = (uint32_t)o->half_open_max,
                                       .half_open_per_source = (uint32_t)o->half_open_per_source,
                                       .window_messages = (uint32_t)o->window_messages, .is_replicating = strcmp(o->bus_kind, "kafka") == 0 && !o->kafka.is_pilot,
                                       .window_bytes = (uint32_t)o->window_bytes,
                                       .link = link_limits_default};
    limits->link.max_frame_bytes = (size_t)o->frame_max_bytes;
    limits->link.output_max_bytes = (size_t)(o->output_max_bytes > 2 * o->frame_max_bytes ? o->output_max_bytes : 2 * o->frame_max_bytes);
    limits->link.handshake_ms = (uint32_t)o->handshake_ms;
    limits->link.first_frame_ms = (uint32_t)o->first_frame_ms;
    limits->link.frame_ms = (uint32_t)o->frame_ms;
    limits->link.drain_ms = (uint32_t)o->drain_output_ms;
    limits->link.ping_every_ms = (uint32_t)o->ping_every_ms;
    limits->link.ping_timeout_ms = (uint32_t)o->ping_timeout_ms;
    *bounds = (struct exchange_bounds){.stored_messages_max = (uint32_t)o->stored_messages_max,
                                       .stored_bytes_max = o->stored_bytes_max,
                                       .streams_max = (uint32_t)o->streams_max,
                                       .calls_max = (uint32_t)o->calls_max,
                                       .known_calls_max = (uint32_t)o->known_calls_max,
                                       .subscriptions_max = (uint32_t)o->subscriptions_max,
                                       .attempts_max = (uint32_t)o->attempts_max};
}
