/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* Shared by the files that look at a cluster and make it. */
#pragma once
#include "gateway/bus/cluster.h"
#include <librdkafka/rdkafka.h>

#define TOPIC_BATCH 200
#define TOPIC_CONFIGS_MAX 9

struct topic_wanted {
    enum bus_topic_kind kind;
    char name[BUS_TOPIC_NAME_MAX_BYTES + 1];
    int partitions; /* found in the metadata; 0: not there */
};
struct topic_config {
    const char *name;
    char value[24];
    bool is_least; /* a number, and a larger one (or -1, unlimited) is as good */
    ehis_err code; /* what to answer where it is otherwise */
};

struct cluster {
    const struct bus_kafka_options *options;
    rd_kafka_t *rk;
    rd_kafka_queue_t *queue;
    const struct rd_kafka_metadata *metadata;
    int64_t until_ms;
    bool is_tls_error;
    char last_error[160]; /* of a connection */
    struct topic_wanted *topics; /* sorted by name */
    size_t topic_count, topic_cap;
    bus_on_finding on_finding;
    void *ctx;
    ehis_err first; /* finding */
    struct ehis_why *why;
};

/* wanted.c: the topics of a registry, and what each must be like. */
ehis_err cluster_want(struct cluster *c, const struct registry *r) EHIS_MUST_USE;
struct topic_wanted *cluster_topic(const struct cluster *c, const char *name);
bool topic_is_single(enum bus_topic_kind kind); /* exactly one partition */
int topic_partitions(const struct bus_kafka_options *o, enum bus_topic_kind kind); /* of one that is made */
int topic_replication(const struct bus_kafka_options *o);
size_t topic_configs(const struct bus_kafka_options *o, enum bus_topic_kind kind, struct topic_config out[TOPIC_CONFIGS_MAX]);

/* cluster.c: connects and reads the metadata. BUS_UNREACHABLE, BUS_TLS, BUS_CLIENT. Closed in any case. */
ehis_err cluster_open(struct cluster *c, const struct bus_kafka_options *o, const struct registry *r, uint64_t timeout_ms, bus_on_finding on_finding,
                      void *ctx, struct ehis_why *why) EHIS_MUST_USE;
void cluster_close(struct cluster *c);
/* The answer of an Admin call of this kind, or BUS_UNREACHABLE, BUS_NOT_ALLOWED, BUS_CLIENT. */
ehis_err cluster_await(struct cluster *c, int event_type, rd_kafka_event_t **out) EHIS_MUST_USE;
/* For one Admin call, with the time that is left; the caller's to destroy. */
rd_kafka_AdminOptions_t *cluster_options(struct cluster *c, rd_kafka_admin_op_t op);
/* How many of at most TOPIC_BATCH topics this broker has not learnt of, and one of them (borrowed from topics). As cluster_await. */
ehis_err cluster_unseen(struct cluster *c, int32_t broker, const struct topic_wanted *topics, size_t topic_count, size_t *count, const char **name) EHIS_MUST_USE;
int cluster_left_ms(const struct cluster *c); /* at least 1 */
ehis_err cluster_error(struct cluster *c, rd_kafka_resp_err_t err, const char *what);
void cluster_tell(struct cluster *c, ehis_err code, const char *subject, const char *setting, const char *found, const char *wanted);

/* rights.c: until every broker has learnt of every topic. BUS_UNSEEN when the time is up; what cluster_await says, but for BUS_UNREACHABLE. */
ehis_err cluster_await_topics(struct cluster *c) EHIS_MUST_USE;
