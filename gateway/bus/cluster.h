/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* The Kafka cluster as the deployment must have made it: which topics there are, with which settings, who may use them. Creates what is
 * missing, and refuses what breaks the rules (SPEC 17.1.3). Every call blocks up to its deadline, holds a client of its own and
 * nothing else: any thread but a loop's. */
#pragma once
#include "base/settings.h"
#include "gateway/bus/topic.h"
#include "policy/registry/registry.h"

#define BUS_CODEC "snappy" /* of every topic, and of what a gateway writes: what has another a broker packs again */
#define BUS_NUDGE_PARTITIONS 6 /* of control.registry: their leaders are the brokers whose fetches a nudge ends (kafka.c) */

/* The settings below bus.kafka. */
struct bus_kafka_options {
    struct settings_list brokers;          /* host:port */
    const char *ca, *certificate, *key;    /* the brokers' authority; this gateway's own certificate and key for them */
    const char *prefix;                    /* of the topics' names */
    bool is_pilot;                         /* one broker, one replica: never called replicated */
    uint64_t replication;                  /* replicas of a topic, unless a pilot */
    uint64_t partitions;                   /* of event, audit, dlq and blob topics */
    uint64_t event_retention_ms, audit_retention_ms;
    uint64_t check_every_ms;               /* between two looks while the gateway runs (cluster_watch.h) */
};
/* What is there must be given, and fit: BUS_OPTIONS, BUS_PREFIX. Reads no file. */
ehis_err bus_kafka_options_check(const struct bus_kafka_options *o, struct ehis_why *why) EHIS_MUST_USE;

/* librdkafka would take a key that everybody can read: what pki_tlskey_load says of it. */
ehis_err bus_kafka_key_check(const struct bus_kafka_options *o, struct ehis_why *why) EHIS_MUST_USE;

/* What librdkafka is told for every handle: where, mutual TLS, the traps that are turned off. The handle is the caller's to set further. BUS_CLIENT. */
struct rd_kafka_conf_s;
ehis_err bus_kafka_conf(const struct bus_kafka_options *o, const char *client_id, struct rd_kafka_conf_s **out, struct ehis_why *why) EHIS_MUST_USE;

/* One thing that is not as it must be, or was made. */
struct bus_finding {
    ehis_err code;                              /* OK: made (or, dry, would be) */
    char subject[BUS_TOPIC_NAME_MAX_BYTES + 1]; /* the topic; "broker 1", "cluster"; a principal */
    const char *setting;                        /* "min.insync.replicas", "partitions", "right", ...; "" = the subject itself; lives for ever */
    char found[64], wanted[64];
};
typedef void (*bus_on_finding)(void *ctx, const struct bus_finding *f);

/* Everything that this registry calls for, looked at; each finding is told (on_finding may be NULL), the first one's code is the answer,
 * its words in why. BUS_UNREACHABLE (after 30 s at most) and BUS_TLS (at once): nothing could be looked at; the brokers may be down, try again. Anything else is a refusal:
 * do not use this cluster. */
ehis_err bus_cluster_check(const struct bus_kafka_options *o, const struct registry *r, uint64_t timeout_ms, bus_on_finding on_finding,
                           void *ctx, struct ehis_why *why) EHIS_MUST_USE;
/* The same, but OK says that everything was looked at, whatever was found. Anything else: why not; what was told before that holds. */
ehis_err bus_cluster_look(const struct bus_kafka_options *o, const struct registry *r, uint64_t timeout_ms, bus_on_finding on_finding,
                          void *ctx, struct ehis_why *why) EHIS_MUST_USE;
/* Makes the topics that are missing, and gives each gateway of the registry its rights, and takes them from those that have left it. The options' certificate
 * must be that of an administrator of the cluster. What exists is left as it is: check afterwards. is_dry: only tells. OK: every broker knows the topics.
 * BUS_UNSEEN: in timeout_ms one did not learn of a topic. */
ehis_err bus_cluster_create(const struct bus_kafka_options *o, const struct registry *r, uint64_t timeout_ms, bool is_dry,
                            bus_on_finding on_finding, void *ctx, struct ehis_why *why) EHIS_MUST_USE;
