/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* SIGHUP: a new state whole, or the old one whole (R9). */
#include "base/log.h"
#include "gateway/app/gateway.h"
#include "proto/wire/record.h"

#define REPORT_MAX_BYTES (64 * 1024)
#define WHY_MAX_BYTES 250

static ehis_err load_options(const struct gateway *g, struct gateway_options *out, struct settings **settings, struct ehis_why *why)
{
    struct buf report;
    buf_init(&report, REPORT_MAX_BYTES);
    ehis_err err = settings_load(&gateway_options_table, g->settings_file, out, settings, &report);
    if (err == EHIS_OK)
        err = settings_diff_fixed(&gateway_options_table, &g->options, out, &report);
    if (report.len > 0) {
        char lines[WHY_MAX_BYTES + 1];
        snprintf(lines, sizeof lines, "%.*s", SPAN_SHOW(buf_span(&report)));
        for (char *c = lines; (c = strchr(c, '\n'));)
            *c = c[1] ? ' ' : 0; /* a log line is one */
        err = ehis_fail(why, EHIS_E_RELOAD_REFUSED, "%s%s", err == EHIS_OK ? "needs a restart: " : "", lines);
        settings_free(*settings);
        *settings = NULL;
    }
    buf_fini(&report);
    return err;
}

/* What is as it was has been looked at when it was new, and may have run out since: other things are reloaded all the same. */
static ehis_err load_bus_pair(const struct gateway *g, const struct gateway_options *o, struct pki_pair *out, struct ehis_why *why)
{
    struct ehis_why inner = {""};
    ehis_err err = gateway_bus_pair_load(g, o, out, &inner);
    return err == EHIS_OK || memcmp(&out->files, &g->bus_pair.files, HASH_BYTES) == 0 ? EHIS_OK : ehis_fail(why, err, "bus.kafka: %s", inner.text);
}

static bool renew_bus(struct gateway *g)
{
    ehis_err err = relay_renew(g->relay), of_blobs = blobs_renew(g->blobs);
    if (err == EHIS_OK)
        err = of_blobs;
    log_line(err == EHIS_OK ? LOG_NOTICE : LOG_ERROR, "bus.renewed", F_ERR(err), F_STR("certificate", g->options.kafka.certificate));
    return err == EHIS_OK;
}

static ehis_err reload(struct gateway *g, struct ehis_why *why)
{
    struct gateway_options options;
    struct settings *settings = NULL;
    struct sessions_identity identity = {0};
    struct sessions_limits limits;
    struct exchange_bounds bounds;
    struct pki_pair bus;
    enum log_level level;
    int64_t expiry_ms = 0;
    EHIS_TRY(load_options(g, &options, &settings, why));
    ehis_err err = gateway_options_check(&options, why);
    if (err == EHIS_OK)
        err = load_bus_pair(g, &options, &bus, why);
    if (err == EHIS_OK)
        err = gateway_identity_load(g, &options, sessions_get_identity(g->sessions), &identity, &expiry_ms, why);
    if (err == EHIS_OK)
        err = gateway_registry_keep(g, identity.registry, why);
    if (err != EHIS_OK) {
        gateway_identity_free(&identity);
        settings_free(settings);
        return err;
    }
    /* From here on nothing fails. */
    if (log_level_from_text(span_str(options.log_level), &level) == EHIS_OK)
        log_set_level(level);
    gateway_limits(&options, &limits, &bounds);
    sessions_set_limits(g->sessions, &limits);
    exchange_set_bounds(g->exchange, &bounds);
    exchange_set_registry(g->exchange, identity.registry, clock_wall_ms(g->clock));
    sessions_set_identity(g->sessions, &identity);
    if (g->relay)
        relay_set_identity(g->relay, sessions_get_identity(g->sessions)->registry, sessions_get_identity(g->sessions)->sign_key);
    settings_free(g->settings);
    g->settings = settings;
    g->options = options;
    g->own_certificate_expiry_ms = expiry_ms;
    if (g->relay && memcmp(&bus.files, &g->bus_pair.files, HASH_BYTES) != 0 && !renew_bus(g))
        bus.files = (struct hash){{0}}; /* the next reload tries again */
    g->bus_pair = bus;
    return EHIS_OK;
}

void gateway_reload(struct gateway *g)
{
    struct ehis_why why = {""};
    ehis_err err = reload(g, &why);
    const struct sessions_identity *id = sessions_get_identity(g->sessions);
    struct record r = {.kind = err == EHIS_OK ? RECORD_RELOADED : RECORD_RELOAD_FAILED, .code = (uint32_t)err, .text = span_str(why.text),
                       .registry_version = registry_version(id->registry)};
    memcpy(r.registry_hash, registry_hash(id->registry)->b, HASH_BYTES);
    if (err == EHIS_OK)
        g->reloads++;
    else
        g->reloads_failed++;
    log_line(err == EHIS_OK ? LOG_NOTICE : LOG_ERROR, err == EHIS_OK ? "reload.done" : "reload.refused", F_ERR(err), F_STR("why", why.text),
             F_U64("registry_version", registry_version(id->registry)));
    if (exchange_note(g->exchange, &r, clock_wall_ms(g->clock)) != EHIS_OK)
        log_line(LOG_WARN, "reload.unrecorded", F_U64("registry_version", registry_version(id->registry)));
}
