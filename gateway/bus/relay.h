/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* The bus over Kafka (SPEC 17): brings the core's envelopes to the topics and those of the inboxes that are owned here to the core, with the audit frame of
 * every group, leases, positions, reports, probes and dead letters. What it holds can be lost: the journal has it. One thread, the loop's. */
#pragma once
#include "gateway/bus/bus.h"
#include "gateway/bus/kafka.h"

struct sign_key;
struct relay;

struct relay_config {
    const struct bus_kafka_options *options; /* borrowed until bus_free */
    const char *gateway;                     /* copied */
    bool is_plain;                           /* as in kafka_config: tests alone */
    /* The journal, as exchange_ports.read. */
    ehis_err (*read)(void *ctx, const struct journal_pos *pos, struct buf *into, struct journal_entry *out);
    void *ctx;
};

/* Connects in the background. Errors of kafka_new. The bus is freed with bus_free, after the core. */
ehis_err relay_new(struct loop *loop, const struct clock *clock, const struct relay_config *config, struct relay **out, struct ehis_why *why) EHIS_MUST_USE;
struct bus *relay_bus(struct relay *r);
void relay_set_exchange(struct relay *r, struct exchange *x);
/* At the start and after every reload; both borrowed until the next call. */
void relay_set_identity(struct relay *r, const struct registry *registry, const struct sign_key *key);

/* The files of the options are others now: kafka_renew. */
ehis_err relay_renew(struct relay *r) EHIS_MUST_USE;

/* By its settings the cluster may lose what it confirms: nothing is called replicated, and what was confirmed meanwhile is sent again once it is safe, the
 * audit frames too: until then the journal keeps its segments, as while no broker is there. In a pilot nothing changes: it says replicated of nothing. */
void relay_set_unsafe(struct relay *r, bool is_unsafe);

/* Every record of the journal, in order, as it is appended: its audit frame is made from there when the group is durable. */
void relay_note(struct relay *r, uint64_t group, uint64_t sequence, const struct journal_pos *pos);
void relay_on_durable(struct relay *r, uint64_t group);
/* At the start the same of every live entry, then relay_recovered: what was replicated before is not told again. */
ehis_err relay_replay(struct relay *r, const struct journal_entry *e) EHIS_MUST_USE;
void relay_recovered(struct relay *r);
/* The audit topic has not yet what stands in this segment: it may not be released. */
bool relay_needs(const struct relay *r, uint64_t segment);

/* The leases are read and this gateway's own beat has come back. */
bool relay_is_ready(const struct relay *r);
/* The brokers answer. */
bool relay_is_up(const struct relay *r);
/* In place of bus_free, right before _exit: the last positions are committed (kafka_leave). */
void relay_leave(struct relay *r);
/* Gives up all inboxes; true when that and all else is confirmed, or no broker is there. Called again until then. */
bool relay_drain(struct relay *r);

struct relay_status {
    ehis_err state;
    bool is_ready;
    size_t gateways, inboxes_owned, claims;
    uint64_t waiting;       /* parcels not yet given to the client */
    uint64_t in_flight;     /* given, not confirmed */
    uint64_t held, held_bytes; /* read, not finished */
    uint64_t unaudited_groups;
    uint64_t dead, refused; /* dead letters written; parcels that failed the checks, these included */
    struct kafka_status kafka;
};
void relay_status(const struct relay *r, struct relay_status *out);
