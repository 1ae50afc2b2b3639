/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* What an operator sees: status as JSON, metrics as Prometheus text. Bounded labels; no exchange, subject or person in any. */
#include "base/tool/result.h"
#include "gateway/app/gateway.h"
#include <stdlib.h>

struct view { /* one look at everything */
    struct exchange_status exchange;
    struct sessions_status sessions;
    struct journal_status journal;
    const struct sessions_identity *identity;
    int64_t now_ms;
};

static struct view look(struct gateway *g)
{
    struct view v = {.identity = sessions_get_identity(g->sessions), .now_ms = clock_wall_ms(g->clock)};
    exchange_status(g->exchange, &v.exchange);
    sessions_status(g->sessions, &v.sessions);
    journal_status(g->journal, &v.journal);
    return v;
}

static void add_inbox(void *ctx, const struct exchange_inbox_status *i)
{
    json_array_append_new(ctx, json_pack("{s:s%, s:o, s:o, s:o, s:o, s:b}", "system", i->system.p, i->system.len, "waiting", tool_count(i->waiting),
                                         "waiting_bytes", tool_count(i->waiting_bytes), "in_flight", tool_count(i->in_flight), "oldest_accepted",
                                         tool_time(i->oldest_accepted_ms), "is_ready", i->is_ready));
}

static json_t *journal_json(const struct view *v)
{
    return json_pack("{s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:b}", "first_segment", tool_count(v->journal.first_segment), "last_segment",
                     tool_count(v->journal.last_segment), "segments_max", tool_count(v->journal.segment_count_max), "groups", tool_count(v->journal.groups),
                     "entries", tool_count(v->journal.entries), "bytes", tool_count(v->journal.bytes), "archive_bytes", tool_count(v->journal.archive_bytes),
                     "has_failed", v->journal.has_failed);
}

static json_t *exchange_json(const struct view *v)
{
    const struct exchange_status *x = &v->exchange;
    return json_pack("{s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "accepted", tool_count(x->accepted), "refused", tool_count(x->refused),
                     "delivered", tool_count(x->delivered), "failed", tool_count(x->failed), "expired", tool_count(x->expired), "duplicates", tool_count(x->duplicates),
                     "conflicts", tool_count(x->conflicts), "busy", tool_count(x->busy), "skips", tool_count(x->skips), "stored_messages", tool_count(x->stored_messages),
                     "stored_bytes", tool_count(x->stored_bytes), "in_flight", tool_count(x->in_flight), "streams", tool_count(x->streams), "subscriptions",
                     tool_count(x->subscriptions));
}

ehis_err gateway_status_json(void *ctx, struct buf *out)
{
    struct gateway *g = ctx;
    struct view v = look(g);
    char hash[2 * HASH_BYTES + 1];
    json_t *inboxes = json_array();
    hex_to_text(registry_hash(v.identity->registry)->b, HASH_BYTES, hash);
    exchange_each_inbox(g->exchange, add_inbox, inboxes);
    json_t *all = json_pack("{s:s, s:o, s:b, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "gateway", g->options.name, "started", tool_time(g->started_ms), "is_stopping",
                            g->is_stopping, "registry",
                            json_pack("{s:o, s:s, s:o}", "version", tool_count(registry_version(v.identity->registry)), "hash", hash, "not_after",
                                      tool_time(registry_not_after_ms(v.identity->registry))),
                            "expiry",
                            json_pack("{s:o, s:o, s:o}", "certificate", tool_time(g->own_certificate_expiry_ms), "authorities",
                                      tool_time(pki_trust_ca_expiry_ms(v.identity->trust)), "crl", tool_time(pki_trust_crl_expiry_ms(v.identity->trust))),
                            "sessions",
                            json_pack("{s:i, s:i, s:i, s:o, s:o}", "open", (int)v.sessions.sessions, "half_open", (int)v.sessions.half_open, "ready",
                                      (int)v.sessions.ready, "opened", tool_count(v.sessions.opened), "refused", tool_count(v.sessions.refused)),
                            "exchange", exchange_json(&v), "journal", journal_json(&v), "inboxes", inboxes, "reloads",
                            json_pack("{s:o, s:o}", "done", tool_count(g->reloads), "refused", tool_count(g->reloads_failed)));
    char *text = all ? json_dumps(all, JSON_INDENT(2)) : NULL;
    ehis_err err = text ? buf_printf(out, "%s\n", text) : EHIS_E_NO_MEMORY;
    free(text);
    json_decref(all);
    return err;
}

static ehis_err metric(struct buf *out, const char *name, const char *type, const char *help, double value)
{
    return buf_printf(out, "# HELP %s %s\n# TYPE %s %s\n%s %.17g\n", name, help, name, type, name, value);
}

ehis_err gateway_metrics(void *ctx, struct buf *out)
{
    struct gateway *g = ctx;
    const struct view v = look(g);
    const struct {
        const char *name, *type, *help;
        double value;
    } rows[] = {
        {"ehis_messages_accepted_total", "counter", "Envelopes accepted.", (double)v.exchange.accepted},
        {"ehis_messages_refused_total", "counter", "Envelopes refused.", (double)v.exchange.refused},
        {"ehis_messages_delivered_total", "counter", "Envelopes taken by their recipient.", (double)v.exchange.delivered},
        {"ehis_messages_failed_total", "counter", "Envelopes rejected for good or dead-lettered.", (double)v.exchange.failed},
        {"ehis_messages_expired_total", "counter", "Envelopes that ran out of time.", (double)v.exchange.expired},
        {"ehis_messages_duplicate_total", "counter", "Envelopes that had come before.", (double)v.exchange.duplicates},
        {"ehis_messages_conflict_total", "counter", "Other bytes under an id that was taken.", (double)v.exchange.conflicts},
        {"ehis_messages_busy_total", "counter", "Envelopes not taken for lack of room.", (double)v.exchange.busy},
        {"ehis_stored_messages", "gauge", "Unfinished envelopes.", (double)v.exchange.stored_messages},
        {"ehis_stored_bytes", "gauge", "Their sealed bytes.", (double)v.exchange.stored_bytes},
        {"ehis_in_flight_messages", "gauge", "Delivered and not yet acknowledged.", (double)v.exchange.in_flight},
        {"ehis_streams", "gauge", "Streams known.", (double)v.exchange.streams},
        {"ehis_sessions", "gauge", "Connections.", v.sessions.sessions},
        {"ehis_sessions_half_open", "gauge", "Connections that have not said HELLO.", v.sessions.half_open},
        {"ehis_sessions_ready", "gauge", "Sessions that take part.", v.sessions.ready},
        {"ehis_sessions_opened_total", "counter", "Sessions opened.", (double)v.sessions.opened},
        {"ehis_sessions_refused_total", "counter", "Connections turned away.", (double)v.sessions.refused},
        {"ehis_bytes_received_total", "counter", "Bytes from systems, inside TLS.", (double)v.sessions.bytes_in},
        {"ehis_bytes_sent_total", "counter", "Bytes to systems, inside TLS.", (double)v.sessions.bytes_out},
        {"ehis_statements_signed_total", "counter", "Receipts and skips.", (double)v.sessions.statements_signed},
        {"ehis_signatures_total", "counter", "Signatures over them.", (double)v.sessions.signatures},
        {"ehis_journal_groups_total", "counter", "Groups made durable.", (double)v.journal.groups},
        {"ehis_journal_entries_total", "counter", "Entries made durable.", (double)v.journal.entries},
        {"ehis_journal_bytes_total", "counter", "Bytes made durable.", (double)v.journal.bytes},
        {"ehis_journal_flushes_total", "counter", "fdatasync calls.", (double)v.journal.flushes},
        {"ehis_journal_last_write_seconds", "gauge", "The last group's write and flush.", (double)v.journal.last_write_us / 1e6},
        {"ehis_journal_segments", "gauge", "Live segments.", (double)(v.journal.last_segment - v.journal.first_segment + 1)},
        {"ehis_journal_segments_max", "gauge", "Live segments at most.", (double)v.journal.segment_count_max},
        {"ehis_journal_archive_bytes", "gauge", "Archive of freed segments' records.", (double)v.journal.archive_bytes},
        {"ehis_registry_version", "gauge", "Version in force.", (double)registry_version(v.identity->registry)},
        {"ehis_registry_expiry_seconds", "gauge", "Until the registry runs out.", (double)(registry_not_after_ms(v.identity->registry) - v.now_ms) / 1e3},
        {"ehis_certificate_expiry_seconds", "gauge", "Until this gateway's certificate runs out.", (double)(g->own_certificate_expiry_ms - v.now_ms) / 1e3},
        {"ehis_authority_expiry_seconds", "gauge", "Until the first authority runs out.", (double)(pki_trust_ca_expiry_ms(v.identity->trust) - v.now_ms) / 1e3},
        {"ehis_crl_expiry_seconds", "gauge", "Until the first revocation list runs out.", (double)(pki_trust_crl_expiry_ms(v.identity->trust) - v.now_ms) / 1e3},
        {"ehis_reloads_total", "counter", "Reloads done.", (double)g->reloads},
        {"ehis_reloads_refused_total", "counter", "Reloads refused.", (double)g->reloads_failed},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        EHIS_TRY(metric(out, rows[i].name, rows[i].type, rows[i].help, rows[i].value));
    EHIS_TRY(buf_printf(out, "# HELP ehis_sessions_ended_total Connections ended, by reason.\n# TYPE ehis_sessions_ended_total counter\n"));
    for (int end = 0; end < LINK_END_COUNT; end++)
        EHIS_TRY(buf_printf(out, "ehis_sessions_ended_total{reason=\"%s\"} %llu\n", link_end_name((enum link_end)end), (unsigned long long)v.sessions.ended[end]));
    return EHIS_OK;
}
