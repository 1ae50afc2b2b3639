/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* One gateway process: what is wired to what. Private to gateway/app. */
#pragma once
#include "gateway/admin/admin.h"
#include "gateway/app/options.h"
#include "gateway/bus/blob.h"
#include "gateway/bus/cluster_watch.h"
#include "gateway/bus/relay.h"
#include "gateway/journal/writer.h"
#include "gateway/session/sessions.h"

struct gateway {
    const char *settings_file;
    struct settings *settings;
    struct gateway_options options;
    struct loop *loop;
    const struct clock *clock;
    struct disk *disk;
    struct journal *journal;
    struct journal_writer *writer;
    struct exchange *exchange;
    struct bus *bus;
    struct relay *relay; /* the bus, with Kafka; else NULL */
    struct cluster_watch *watch; /* with Kafka */
    struct blobs *blobs;
    struct sessions *sessions;
    struct admin *admin;
    struct loop_timer *tick, *second;
    struct buf record; /* scratch of append */
    bool is_kick_due, is_lazy_kick_due, is_stopping, has_failed;
    int64_t started_ms, stop_by_us, own_certificate_expiry_ms;
    struct pki_pair bus_pair; /* what the bus was opened with */
    uint64_t reloads, reloads_failed;
};

/* ports.c: how the core reaches journal, sessions and bus. */
ehis_err gateway_read_entry(void *g, const struct journal_pos *pos, struct buf *into, struct journal_entry *out) EHIS_MUST_USE;
void gateway_ports(struct gateway *g, struct exchange_ports *ports);
/* identity.c: trust, registry, TLS and signing key from the files of these options, checked against one another; nothing is changed on failure. */
ehis_err gateway_options_check(const struct gateway_options *o, struct ehis_why *why) EHIS_MUST_USE;
ehis_err gateway_identity_load(const struct gateway *g, const struct gateway_options *o, const struct sessions_identity *held,
                               struct sessions_identity *out, int64_t *own_expiry_ms, struct ehis_why *why) EHIS_MUST_USE;
/* The certificate for the brokers, where the bus has one. */
ehis_err gateway_bus_pair_load(const struct gateway *g, const struct gateway_options *o, struct pki_pair *out, struct ehis_why *why) EHIS_MUST_USE;
void gateway_identity_free(struct sessions_identity *id);
void gateway_limits(const struct gateway_options *o, struct sessions_limits *limits, struct exchange_bounds *bounds);
/* The document of the settings; at the start (held NULL) an older one yields to the one that was in force before. */
ehis_err gateway_registry_load(const struct gateway *g, const struct gateway_options *o, struct registry *held, int64_t now_ms, struct registry **out,
                               struct ehis_why *why) EHIS_MUST_USE;
/* Keeps the registry that is in force, so that an older one is never taken after a restart. */
ehis_err gateway_registry_keep(const struct gateway *g, struct registry *r, struct ehis_why *why) EHIS_MUST_USE;
/* run.c. Settings from g->settings_file; every error of the file goes to stderr. */
ehis_err gateway_settings_load(struct gateway *g, struct ehis_why *why) EHIS_MUST_USE;
ehis_err gateway_run(const char *settings_file, struct ehis_why *why) EHIS_MUST_USE;
/* check.c: can the journal live there? Changes nothing. JOURNAL_FOLDER, JOURNAL_SPACE, JOURNAL_NOT_LOCAL. */
ehis_err gateway_journal_check(const struct gateway_options *o, struct ehis_why *why) EHIS_MUST_USE;
/* reload.c: SIGHUP (R9). */
void gateway_reload(struct gateway *g);
/* status.c */
ehis_err gateway_status_json(void *ctx, struct buf *out) EHIS_MUST_USE;
ehis_err gateway_metrics(void *ctx, struct buf *out) EHIS_MUST_USE;
/* topics.c: topics create and check. */
struct cli;
ehis_err gateway_topics_verb(struct cli *c, struct ehis_why *why) EHIS_MUST_USE;
/* show.c: journal show and verify, over a journal's folder. */
ehis_err gateway_journal_verb(struct cli *c, struct ehis_why *why) EHIS_MUST_USE;
