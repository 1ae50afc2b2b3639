/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* What an operator sees: status as JSON, metrics as Prometheus text. Bounded labels; no exchange, subject or person in any. */
#include "base/tool/result.h"
#include "gateway/app/gateway.h"
#include <stdlib.h>

struct view { /* one look at everything */
    struct exchange_status exchange;
    struct sessions_status sessions;
    struct blobs_status large;
    struct journal_status journal;
    struct relay_status bus;
    struct cluster_watch_status cluster;
    const struct sessions_identity *identity;
    int64_t now_ms;
};

static struct view look(struct gateway *g)
{
    struct view v = {.identity = sessions_get_identity(g->sessions), .now_ms = clock_wall_ms(g->clock)};
    exchange_status(g->exchange, &v.exchange);
    sessions_status(g->sessions, &v.sessions);
    journal_status(g->journal, &v.journal);
    blobs_status(g->blobs, &v.large);
    if (g->relay) {
        relay_status(g->relay, &v.bus);
        cluster_watch_status(g->watch, &v.cluster);
    }
    return v;
}

static void add_inbox(void *ctx, const struct exchange_inbox_status *i)
{
    json_array_append_new(ctx, json_pack("{s:s%, s:o, s:o, s:o, s:o, s:b}", "system", i->system.p, i->system.len, "waiting", tool_count(i->waiting),
                                         "waiting_bytes", tool_count(i->waiting_bytes), "in_flight", tool_count(i->in_flight), "oldest_accepted",
                                         tool_time(i->oldest_accepted_ms), "is_ready", i->is_ready));
}

/* Each number once: its place in the status, its name as a metric, or both. */
#define ROWS_MAX 84
struct row {
    const char *section, *name, *metric, *help; /* without a section: a metric alone; without a metric: in the status alone */
    double value;
};

static size_t rows_of(const struct gateway *g, const struct view *v, struct row rows[ROWS_MAX])
{
    const struct exchange_status *x = &v->exchange;
    const struct sessions_status *s = &v->sessions;
    const struct journal_status *j = &v->journal;
    const struct row all[] = {
        {"sessions", "open", "ehis_sessions", "Connections.", s->sessions},
        {"sessions", "half_open", "ehis_sessions_half_open", "Connections that have not said HELLO.", s->half_open},
        {"sessions", "ready", "ehis_sessions_ready", "Sessions that take part.", s->ready},
        {"sessions", "opened", "ehis_sessions_opened_total", "Sessions opened.", (double)s->opened},
        {"sessions", "refused", "ehis_sessions_refused_total", "Connections turned away.", (double)s->refused},
        {NULL, NULL, "ehis_bytes_received_total", "Bytes from systems, inside TLS.", (double)s->bytes_in},
        {NULL, NULL, "ehis_bytes_sent_total", "Bytes to systems, inside TLS.", (double)s->bytes_out},
        {NULL, NULL, "ehis_statements_signed_total", "Receipts and skips.", (double)s->statements_signed},
        {NULL, NULL, "ehis_signatures_total", "Signatures over them.", (double)s->signatures},
        {"exchange", "accepted", "ehis_messages_accepted_total", "Envelopes accepted.", (double)x->accepted},
        {"exchange", "refused", "ehis_messages_refused_total", "Envelopes refused.", (double)x->refused},
        {"exchange", "delivered", "ehis_messages_delivered_total", "Envelopes taken by their recipient.", (double)x->delivered},
        {"exchange", "failed", "ehis_messages_failed_total", "Envelopes rejected for good or dead-lettered.", (double)x->failed},
        {"exchange", "expired", "ehis_messages_expired_total", "Envelopes that ran out of time.", (double)x->expired},
        {"exchange", "duplicates", "ehis_messages_duplicate_total", "Envelopes that had come before.", (double)x->duplicates},
        {"exchange", "conflicts", "ehis_messages_conflict_total", "Other bytes under an id that was taken.", (double)x->conflicts},
        {"exchange", "busy", "ehis_messages_busy_total", "Envelopes not taken for lack of room.", (double)x->busy},
        {"exchange", "skips", NULL, NULL, (double)x->skips},
        {"exchange", "stored_messages", "ehis_stored_messages", "Envelopes in streams that are unfinished or not settled.", (double)x->stored_messages},
        {"exchange", "stored_bytes", "ehis_stored_bytes", "Sealed bytes of unfinished envelopes.", (double)x->stored_bytes},
        {"exchange", "known_calls", "ehis_known_calls", "Envelopes known by their id: waiting calls, keys, requests whose answer is to come.", (double)x->known_calls},
        {"exchange", "in_flight", "ehis_in_flight_messages", "Delivered and not yet acknowledged.", (double)x->in_flight},
        {"exchange", "streams", "ehis_streams", "Streams known.", (double)x->streams},
        {"exchange", "subscriptions", NULL, NULL, (double)x->subscriptions},
        {"journal", "first_segment", NULL, NULL, (double)j->first_segment},
        {"journal", "last_segment", NULL, NULL, (double)j->last_segment},
        {NULL, NULL, "ehis_journal_segments", "Live segments.", (double)(j->last_segment - j->first_segment + 1)},
        {"journal", "segments_max", "ehis_journal_segments_max", "Live segments at most.", (double)j->segment_count_max},
        {"journal", "groups", "ehis_journal_groups_total", "Groups made durable.", (double)j->groups},
        {"journal", "entries", "ehis_journal_entries_total", "Entries made durable.", (double)j->entries},
        {"journal", "bytes", "ehis_journal_bytes_total", "Bytes made durable.", (double)j->bytes},
        {"journal", "archive_bytes", "ehis_journal_archive_bytes", "Archive of freed segments' records.", (double)j->archive_bytes},
        {NULL, NULL, "ehis_journal_flushes_total", "fdatasync calls.", (double)j->flushes},
        {NULL, NULL, "ehis_journal_last_write_seconds", "The last group's write and flush.", (double)j->last_write_us / 1e6},
        {"registry", "version", "ehis_registry_version", "Version in force.", (double)registry_version(v->identity->registry)},
        {NULL, NULL, "ehis_registry_expiry_seconds", "Until the registry runs out.", (double)(registry_not_after_ms(v->identity->registry) - v->now_ms) / 1e3},
        {NULL, NULL, "ehis_certificate_expiry_seconds", "Until this gateway's certificate runs out.", (double)(g->own_certificate_expiry_ms - v->now_ms) / 1e3},
        {NULL, NULL, "ehis_authority_expiry_seconds", "Until the first authority runs out.", (double)(pki_trust_ca_expiry_ms(v->identity->trust) - v->now_ms) / 1e3},
        {NULL, NULL, "ehis_crl_expiry_seconds", "Until the first revocation list runs out.", (double)(pki_trust_crl_expiry_ms(v->identity->trust) - v->now_ms) / 1e3},
        {"large", "uploads", "ehis_large_uploads", "Large bodies on their way in.", (double)v->large.uploads},
        {"large", "kept", NULL, NULL, (double)v->large.kept},
        {"large", "chunks_in", "ehis_large_chunks_in_total", "Chunks taken from senders.", (double)v->large.chunks_in},
        {"large", "chunks_out", "ehis_large_chunks_out_total", "Chunks given to recipients.", (double)v->large.chunks_out},
        {"large", "failed", "ehis_large_failed_total", "Chunks that could not be written, were lost or altered.", (double)v->large.failed},
        {"reloads", "done", "ehis_reloads_total", "Reloads done.", (double)g->reloads},
        {"reloads", "refused", "ehis_reloads_refused_total", "Reloads refused.", (double)g->reloads_failed},
    };
    const struct relay_status *b = &v->bus;
    const struct row bus[] = {
        {"bus", "gateways", "ehis_bus_gateways", "Gateways that beat.", (double)b->gateways},
        {"bus", "inboxes_owned", "ehis_bus_inboxes", "Inboxes owned here.", (double)b->inboxes_owned},
        {"bus", "claims", NULL, NULL, (double)b->claims},
        {"bus", "waiting", "ehis_bus_waiting_parcels", "Parcels not yet given to the Kafka client.", (double)b->waiting},
        {"bus", "in_flight", "ehis_bus_in_flight_parcels", "Parcels given to it and not confirmed.", (double)b->in_flight},
        {"bus", "held", "ehis_bus_held_records", "Records read and not finished.", (double)b->held},
        {"bus", "held_bytes", "ehis_bus_held_bytes", "Their bytes.", (double)b->held_bytes},
        {"bus", "unaudited_groups", "ehis_bus_unaudited_groups", "Groups of the journal that the audit topic has not yet.", (double)b->unaudited_groups},
        {"bus", "confirmed", "ehis_bus_confirmed_total", "Parcels that the brokers confirmed.", (double)b->kafka.confirmed},
        {"bus", "failed", "ehis_bus_failed_total", "Parcels that they did not, sent again.", (double)b->kafka.failed},
        {"bus", "dead_letters", "ehis_bus_dead_letters_total", "Records written to dlq.", (double)b->dead},
        {"bus", "refused", "ehis_bus_refused_total", "Records that are not what they must be.", (double)b->refused},
        {"bus", "unsafe", "ehis_bus_unsafe_settings", "Settings of the cluster that break a rule of its safety.", (double)v->cluster.count},
        {"bus", "handles_rebuilt", "ehis_bus_handles_rebuilt_total", "Kafka handles made anew.", (double)b->kafka.rebuilt},
        {NULL, NULL, "ehis_bus_certificate_expiry_seconds", "Until the certificate for the brokers runs out.", (double)(g->bus_pair.not_after_ms - v->now_ms) / 1e3},
        {NULL, NULL, "ehis_bus_is_replicating", "What the brokers confirm is called replicated.", v->cluster.is_durable && !g->options.kafka.is_pilot},
        {NULL, NULL, "ehis_bus_looked_seconds", "Since all of the cluster's settings were last looked at, or since the start.", (double)(v->now_ms - (v->cluster.looked_ms ? v->cluster.looked_ms : g->started_ms)) / 1e3},
        {NULL, NULL, "ehis_bus_is_up", "Brokers answer and the leases are read.", b->state == EHIS_OK && b->is_ready},
    };
    _Static_assert((sizeof all + sizeof bus) / sizeof *all <= ROWS_MAX, "the caller's room");
    memcpy(rows, all, sizeof all);
    if (!g->relay)
        return sizeof all / sizeof *all;
    memcpy(rows + sizeof all / sizeof *all, bus, sizeof bus);
    return (sizeof all + sizeof bus) / sizeof *all;
}

static json_t *section_of(json_t *all, const char *name)
{
    if (!json_object_get(all, name))
        json_object_set_new(all, name, json_object());
    return json_object_get(all, name);
}

static void add_cluster(json_t *bus, const struct gateway *g, const struct cluster_watch_status *c)
{
    const struct bus_finding *f = c->first;
    json_object_set_new(bus, "is_replicating", json_boolean(c->is_durable && !g->options.kafka.is_pilot));
    json_object_set_new(bus, "looked_at", tool_time(c->looked_ms));
    if (f)
        json_object_set_new(bus, "first_unsafe", json_pack("{s:o, s:s, s:s, s:s, s:s, s:s}", "code", tool_code(f->code), "name", ehis_err_name(f->code),
                                                           "subject", f->subject, "setting", f->setting, "found", f->found, "wanted", f->wanted));
}

ehis_err gateway_status_json(void *ctx, struct buf *out)
{
    struct gateway *g = ctx;
    const struct view v = look(g);
    const struct registry *registry = v.identity->registry;
    const struct pki_trust *trust = v.identity->trust;
    struct row rows[ROWS_MAX];
    size_t count = rows_of(g, &v, rows);
    json_t *inboxes = json_array();
    exchange_each_inbox(g->exchange, add_inbox, inboxes);
    json_t *all = json_pack("{s:s, s:o, s:b, s:{s:o, s:o}, s:{s:o, s:o, s:o}}", "gateway", g->options.name, "started", tool_time(g->started_ms), "is_stopping", g->is_stopping,
                            "registry", "hash", tool_hex(registry_hash(registry)->b, HASH_BYTES), "not_after", tool_time(registry_not_after_ms(registry)),
                            "expiry", "certificate", tool_time(g->own_certificate_expiry_ms), "authorities", tool_time(pki_trust_ca_expiry_ms(trust)), "crl",
                            tool_time(pki_trust_crl_expiry_ms(trust)));
    for (size_t i = 0; i < count; i++)
        if (rows[i].section)
            json_object_set_new(section_of(all, rows[i].section), rows[i].name, tool_count((uint64_t)rows[i].value));
    json_object_set_new(section_of(all, "journal"), "has_failed", json_boolean(v.journal.has_failed));
    json_object_set_new(section_of(all, "bus"), "kind", json_string(g->options.bus_kind));
    if (g->relay) {
        json_object_set_new(section_of(all, "expiry"), "bus_certificate", tool_time(g->bus_pair.not_after_ms));
        json_object_set_new(section_of(all, "bus"), "state", json_string(v.bus.state == EHIS_OK ? "OK" : ehis_err_name(v.bus.state)));
        json_object_set_new(section_of(all, "bus"), "is_ready", json_boolean(v.bus.is_ready));
        add_cluster(section_of(all, "bus"), g, &v.cluster);
    }
    json_object_set_new(all, "inboxes", inboxes);
    char *text = all ? json_dumps(all, JSON_INDENT(2)) : NULL;
    ehis_err err = text ? buf_printf(out, "%s\n", text) : EHIS_E_NO_MEMORY;
    free(text);
    json_decref(all);
    return err;
}

/* A series for each system that has been here or that something waits for, and that the registry knows: so many, and no more than this. */
#define INBOXES_MAX 4096
struct inboxes {
    struct buf *out;
    const struct view *view;
    size_t which, count;
    ehis_err err;
};
static const struct { const char *name, *help; } inbox_metrics[] = {{"ehis_inbox_messages", "What waits for a system, in flight included."},
                                                                    {"ehis_inbox_bytes", "Its sealed bytes."},
                                                                    {"ehis_inbox_oldest_seconds", "Since the oldest of it was accepted."}};

static void put_inbox(void *ctx, const struct exchange_inbox_status *i)
{
    struct inboxes *b = ctx;
    double oldest = i->oldest_accepted_ms && i->oldest_accepted_ms < b->view->now_ms ? (double)(b->view->now_ms - i->oldest_accepted_ms) / 1e3 : 0;
    double value = b->which == 0 ? (double)i->waiting : b->which == 1 ? (double)i->waiting_bytes : oldest;
    if (b->err == EHIS_OK && registry_system(b->view->identity->registry, i->system) && b->count++ < INBOXES_MAX)
        b->err = buf_printf(b->out, "%s{system=\"%.*s\"} %.17g\n", inbox_metrics[b->which].name, (int)i->system.len, (const char *)i->system.p, value);
}

static ehis_err put_inboxes(const struct gateway *g, const struct view *v, struct buf *out)
{
    for (size_t i = 0; i < sizeof inbox_metrics / sizeof *inbox_metrics; i++) {
        struct inboxes b = {.out = out, .view = v, .which = i, .err = EHIS_OK};
        EHIS_TRY(buf_printf(out, "# HELP %s %s\n# TYPE %s gauge\n", inbox_metrics[i].name, inbox_metrics[i].help, inbox_metrics[i].name));
        exchange_each_inbox(g->exchange, put_inbox, &b);
        EHIS_TRY(b.err);
    }
    return EHIS_OK;
}

static ehis_err put_unsafe(const struct view *v, struct buf *out)
{
    const struct bus_finding *f = v->cluster.first;
    return f ? buf_printf(out, "# HELP ehis_bus_unsafe_info The first of them.\n# TYPE ehis_bus_unsafe_info gauge\nehis_bus_unsafe_info{code=\"EHIS-%u\",subject=\"%s\",setting=\"%s\"} 1\n",
                          (unsigned)f->code, f->subject, f->setting)
             : EHIS_OK;
}

static bool is_total(const char *metric)
{
    size_t len = strlen(metric);
    return len > 6 && strcmp(metric + len - 6, "_total") == 0;
}

ehis_err gateway_metrics(void *ctx, struct buf *out)
{
    struct gateway *g = ctx;
    const struct view v = look(g);
    struct row rows[ROWS_MAX];
    size_t count = rows_of(g, &v, rows);
    for (size_t i = 0; i < count; i++) {
        const char *name = rows[i].metric;
        if (name)
            EHIS_TRY(buf_printf(out, "# HELP %s %s\n# TYPE %s %s\n%s %.17g\n", name, rows[i].help, name, is_total(name) ? "counter" : "gauge", name, rows[i].value));
    }
    EHIS_TRY(put_inboxes(g, &v, out));
    EHIS_TRY(put_unsafe(&v, out));
    EHIS_TRY(buf_printf(out, "# HELP ehis_sessions_ended_total Connections ended, by reason.\n# TYPE ehis_sessions_ended_total counter\n"));
    for (int end = 0; end < LINK_END_COUNT; end++)
        EHIS_TRY(buf_printf(out, "ehis_sessions_ended_total{reason=\"%s\"} %llu\n", link_end_name((enum link_end)end), (unsigned long long)v.sessions.ended[end]));
    return EHIS_OK;
}
