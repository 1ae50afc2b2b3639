/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* The names of the topics (SPEC 1.1, 12): which topic is whose. Pure, any thread. */
#pragma once
#include "proto/wire/identifier.h"

#define BUS_TOPIC_NAME_MAX_BYTES 249 /* Kafka's bound */
#define BUS_PREFIX_MAX_BYTES 16

enum bus_topic_kind {
    TOPIC_CALL = 1,         /* of a system: requests that a caller waits for */
    TOPIC_INBOX,            /* of a system: what travels in streams, and receipts that arrive later */
    TOPIC_REPLY,            /* of a gateway: responses to its callers, final states of what it accepted */
    TOPIC_KEY,              /* of a service's event: the keys of its epochs */
    TOPIC_EVENT,            /* of a service's event */
    TOPIC_AUDIT,            /* the rest: one each */
    TOPIC_DLQ,
    TOPIC_BLOB,
    TOPIC_CONTROL_LEASE,
    TOPIC_CONTROL_REGISTRY,
    TOPIC_CONTROL_CURSOR,
};
#define BUS_TOPIC_KINDS 11

/* "call", "control.lease", ... */
const char *bus_topic_kind_name(enum bus_topic_kind kind);
/* Several installations may share a cluster, each with a prefix of its own: at most 16 bytes of [a-z0-9], or "". BUS_PREFIX. */
ehis_err bus_prefix_check(const char *prefix, struct ehis_why *why) EHIS_MUST_USE;
/* The topic of an owner: a system's, gateway's or service's checked identifier, empty where the kind has one topic; event: the event's
 * name with TOPIC_KEY and TOPIC_EVENT, else empty. "call.AZ..GOV..MIA..population", "event.AZ..GOV..MIA..population..persons..PersonChanged", "audit";
 * with a prefix "p1..audit". No two owners share a name, nor two names that Kafka takes for one (it reads "." as "_"): a name that holds
 * "_" or is too long ends in "..." and 32 digits of a hash, which no other can. */
void bus_topic_name(const char *prefix, enum bus_topic_kind kind, struct span owner, struct span event, char out[BUS_TOPIC_NAME_MAX_BYTES + 1]);
/* The consumer group under which offsets are committed (nobody ever joins it): "gw", "p1..gw". */
void bus_group_name(const char *prefix, char out[BUS_PREFIX_MAX_BYTES + 8]);
