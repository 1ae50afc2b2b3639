/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
#include "base/clock.h"
#include "gateway/bus/cluster_priv.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define ASK_MS 1000
#define CONNECT_MS 30000
#define AUTO_CREATE "auto.create.topics.enable"
#define OFFSETS_RETENTION "offsets.retention.minutes"
#define OFFSETS_KEPT_MINUTES 21600 /* 15 days: a position that is forgotten before its records are read from the beginning again */

int cluster_left_ms(const struct cluster *c)
{
    int64_t left = c->until_ms - clock_mono_ms(&clock_system);
    return left < 1 ? 1 : (int)left;
}

void cluster_tell(struct cluster *c, ehis_err code, const char *subject, const char *setting, const char *found, const char *wanted)
{
    struct bus_finding f = {.code = code, .setting = setting};
    snprintf(f.subject, sizeof f.subject, "%s", subject);
    snprintf(f.found, sizeof f.found, "%s", found);
    snprintf(f.wanted, sizeof f.wanted, "%s", wanted);
    if (code != EHIS_OK && c->first == EHIS_OK)
        c->first = *setting ? ehis_fail(c->why, code, "%s: %s is %s, must be %s", subject, setting, f.found, f.wanted)
                            : ehis_fail(c->why, code, "%s%s%s", subject, *found ? ": " : "", found);
    if (c->on_finding)
        c->on_finding(c->ctx, &f);
}

ehis_err cluster_error(struct cluster *c, rd_kafka_resp_err_t err, const char *what)
{
    switch (err) {
    case RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED:
    case RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED:
    case RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED:
    case RD_KAFKA_RESP_ERR_SECURITY_DISABLED:
        return ehis_fail(c->why, EHIS_E_BUS_NOT_ALLOWED, "%s: %s", what, rd_kafka_err2str(err));
    case RD_KAFKA_RESP_ERR__TRANSPORT:
    case RD_KAFKA_RESP_ERR__TIMED_OUT:
    case RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN:
        return ehis_fail(c->why, c->is_tls_error ? EHIS_E_BUS_TLS : EHIS_E_BUS_UNREACHABLE, "%s",
                         c->last_error[0] ? c->last_error : rd_kafka_err2str(err));
    default:
        return ehis_fail(c->why, EHIS_E_BUS_CLIENT, "%s: %s", what, rd_kafka_err2str(err));
    }
}

/* Served by rd_kafka_poll. An alert that the broker sends after our part of a TLS 1.3 handshake comes as an error of transport. */
static void on_error(rd_kafka_t *rk, int err, const char *reason, void *opaque)
{
    struct cluster *c = opaque;
    (void)rk;
    if (err == RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN)
        return;
    if (err == RD_KAFKA_RESP_ERR__SSL || strstr(reason, "SSL routines") || strstr(reason, "certificate"))
        c->is_tls_error = true;
    snprintf(c->last_error, sizeof c->last_error, "%s", reason);
}

/* In short turns, so that a refused certificate is told at once. */
static ehis_err read_metadata(struct cluster *c)
{
    rd_kafka_resp_err_t err;
    int64_t give_up_ms = clock_mono_ms(&clock_system) + CONNECT_MS;
    do {
        int left = cluster_left_ms(c);
        err = rd_kafka_metadata(c->rk, 1, NULL, &c->metadata, left < ASK_MS ? left : ASK_MS);
        rd_kafka_poll(c->rk, 0);
    } while (err != RD_KAFKA_RESP_ERR_NO_ERROR && !c->is_tls_error && cluster_left_ms(c) > 1 && clock_mono_ms(&clock_system) < give_up_ms);
    if (err != RD_KAFKA_RESP_ERR_NO_ERROR)
        return cluster_error(c, err, "metadata");
    for (int i = 0; i < c->metadata->topic_cnt; i++) {
        struct topic_wanted *t = cluster_topic(c, c->metadata->topics[i].topic);
        if (t)
            t->partitions = c->metadata->topics[i].partition_cnt;
    }
    return EHIS_OK;
}

ehis_err cluster_open(struct cluster *c, const struct bus_kafka_options *o, const struct registry *r, uint64_t timeout_ms, bus_on_finding on_finding,
                      void *ctx, struct ehis_why *why)
{
    char text[256];
    rd_kafka_conf_t *conf;
    *c = (struct cluster){.options = o, .on_finding = on_finding, .ctx = ctx, .why = why};
    c->until_ms = clock_mono_ms(&clock_system) + (int64_t)timeout_ms;
    EHIS_TRY(cluster_want(c, r));
    EHIS_TRY(bus_kafka_key_check(o, why));
    EHIS_TRY(bus_kafka_conf(o, "ehis-gateway-topics", &conf, why));
    rd_kafka_conf_set_opaque(conf, c);
    rd_kafka_conf_set_error_cb(conf, on_error);
    rd_kafka_conf_set_log_cb(conf, NULL); /* errors alone */
    if (!(c->rk = rd_kafka_new(RD_KAFKA_PRODUCER, conf, text, sizeof text))) {
        rd_kafka_conf_destroy(conf);
        return ehis_fail(why, EHIS_E_BUS_CLIENT, "%s", text);
    }
    c->queue = rd_kafka_queue_new(c->rk);
    return read_metadata(c);
}

void cluster_close(struct cluster *c)
{
    if (c->metadata)
        rd_kafka_metadata_destroy(c->metadata);
    if (c->queue)
        rd_kafka_queue_destroy(c->queue);
    if (c->rk)
        rd_kafka_destroy(c->rk);
    free(c->topics);
}

ehis_err cluster_await(struct cluster *c, int event_type, rd_kafka_event_t **out)
{
    rd_kafka_event_t *e = rd_kafka_queue_poll(c->queue, cluster_left_ms(c) + ASK_MS); /* the call's own timeout answers before */
    rd_kafka_poll(c->rk, 0);
    if (!e)
        return cluster_error(c, RD_KAFKA_RESP_ERR__TIMED_OUT, "no answer");
    ehis_err err = rd_kafka_event_error(e) ? cluster_error(c, rd_kafka_event_error(e), rd_kafka_event_error_string(e)) : EHIS_OK;
    if (err == EHIS_OK && rd_kafka_event_type(e) != event_type)
        err = ehis_fail(c->why, EHIS_E_BUS_CLIENT, "another answer than was asked for");
    if (err == EHIS_OK)
        *out = e;
    else
        rd_kafka_event_destroy(e);
    return err;
}

rd_kafka_AdminOptions_t *cluster_options(struct cluster *c, rd_kafka_admin_op_t op)
{
    char text[128];
    rd_kafka_AdminOptions_t *o = rd_kafka_AdminOptions_new(c->rk, op);
    (void)rd_kafka_AdminOptions_set_request_timeout(o, cluster_left_ms(c), text, sizeof text); /* its own default holds otherwise */
    return o;
}

/* One broker at most: then it answers for all, from what it itself knows. */
static ehis_err settings_of(struct cluster *c, rd_kafka_ConfigResource_t **asked, size_t count, rd_kafka_event_t **out)
{
    rd_kafka_AdminOptions_t *options = cluster_options(c, RD_KAFKA_ADMIN_OP_DESCRIBECONFIGS);
    rd_kafka_DescribeConfigs(c->rk, asked, count, options, c->queue);
    rd_kafka_AdminOptions_destroy(options);
    return cluster_await(c, RD_KAFKA_EVENT_DESCRIBECONFIGS_RESULT, out);
}

ehis_err cluster_unseen(struct cluster *c, int32_t broker, const struct topic_wanted *topics, size_t topic_count, size_t *count, const char **name)
{
    rd_kafka_ConfigResource_t *asked[TOPIC_BATCH + 1];
    rd_kafka_event_t *event;
    char id[16];
    snprintf(id, sizeof id, "%" PRId32, broker);
    for (size_t i = 0; i < topic_count; i++)
        asked[i] = rd_kafka_ConfigResource_new(RD_KAFKA_RESOURCE_TOPIC, topics[i].name);
    asked[topic_count] = rd_kafka_ConfigResource_new(RD_KAFKA_RESOURCE_BROKER, id);
    ehis_err err = settings_of(c, asked, topic_count + 1, &event);
    rd_kafka_ConfigResource_destroy_array(asked, topic_count + 1);
    EHIS_TRY(err);
    size_t n;
    const rd_kafka_ConfigResource_t **found = rd_kafka_DescribeConfigs_result_resources(rd_kafka_event_DescribeConfigs_result(event), &n);
    *count = 0;
    for (size_t i = 0; i < n; i++)
        if (rd_kafka_ConfigResource_error(found[i]) == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART) {
            const struct topic_wanted *t = cluster_topic(c, rd_kafka_ConfigResource_name(found[i]));
            *name = t ? t->name : "";
            ++*count;
        }
    rd_kafka_event_destroy(event);
    return EHIS_OK;
}

/* What is amiss is a finding; on_resource for what is there. */
static ehis_err describe(struct cluster *c, rd_kafka_ConfigResource_t **asked, size_t count, void (*on_resource)(struct cluster *, const rd_kafka_ConfigResource_t *))
{
    rd_kafka_event_t *event;
    EHIS_TRY(settings_of(c, asked, count, &event));
    size_t n;
    const rd_kafka_ConfigResource_t **resources = rd_kafka_DescribeConfigs_result_resources(rd_kafka_event_DescribeConfigs_result(event), &n);
    ehis_err err = EHIS_OK;
    for (size_t i = 0; i < n && err == EHIS_OK; i++) {
        rd_kafka_resp_err_t e = rd_kafka_ConfigResource_error(resources[i]);
        if (e == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART)
            cluster_tell(c, EHIS_E_BUS_NO_TOPIC, rd_kafka_ConfigResource_name(resources[i]), "", "", "");
        else if (e == RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED || e == RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED)
            cluster_tell(c, EHIS_E_BUS_NOT_ALLOWED, rd_kafka_ConfigResource_name(resources[i]), "", "", "");
        else if (e)
            err = cluster_error(c, e, rd_kafka_ConfigResource_name(resources[i]));
        else
            on_resource(c, resources[i]);
    }
    rd_kafka_event_destroy(event);
    return err;
}

static const char *config_of(const rd_kafka_ConfigResource_t *r, const char *name)
{
    size_t n;
    const rd_kafka_ConfigEntry_t **entries = rd_kafka_ConfigResource_configs(r, &n);
    for (size_t i = 0; i < n; i++)
        if (strcmp(rd_kafka_ConfigEntry_name(entries[i]), name) == 0 && rd_kafka_ConfigEntry_value(entries[i]))
            return rd_kafka_ConfigEntry_value(entries[i]);
    return "not known";
}

/* A broker's word: a number that is none is not enough. */
static bool is_enough(const char *found, const char *least)
{
    uint64_t have, need;
    return strcmp(found, "-1") == 0 || (decimal_from_text(span_str(found), INT64_MAX, &have) == EHIS_OK &&
                                        decimal_from_text(span_str(least), INT64_MAX, &need) == EHIS_OK && have >= need);
}

static void on_topic(struct cluster *c, const rd_kafka_ConfigResource_t *r)
{
    struct topic_config rules[TOPIC_CONFIGS_MAX];
    char least[48];
    const struct topic_wanted *t = cluster_topic(c, rd_kafka_ConfigResource_name(r));
    if (!t)
        return;
    size_t n = topic_configs(c->options, t->kind, rules);
    for (size_t i = 0; i < n; i++) {
        const char *found = config_of(r, rules[i].name);
        if (rules[i].code == EHIS_OK || (rules[i].is_least ? is_enough(found, rules[i].value) : strcmp(found, rules[i].value) == 0))
            continue;
        snprintf(least, sizeof least, rules[i].is_least ? "%s or more" : "%s", rules[i].value);
        cluster_tell(c, rules[i].code, t->name, rules[i].name, found, least);
    }
}

static void on_broker(struct cluster *c, const rd_kafka_ConfigResource_t *r)
{
    char subject[64], least[32];
    snprintf(subject, sizeof subject, "broker %s", rd_kafka_ConfigResource_name(r));
    const char *found = config_of(r, AUTO_CREATE);
    if (strcmp(found, "false") != 0)
        cluster_tell(c, EHIS_E_BUS_AUTO_CREATE, subject, AUTO_CREATE, found, "false");
    found = config_of(r, OFFSETS_RETENTION);
    snprintf(least, sizeof least, "%d", OFFSETS_KEPT_MINUTES);
    if (!is_enough(found, least))
        cluster_tell(c, EHIS_E_BUS_OFFSETS_RETENTION, subject, OFFSETS_RETENTION, found, "21600 or more");
}

/* Partitions and replicas, from the metadata. The highest number of brokers that anything names counts: one that is down now is still there. */
static void check_placement(struct cluster *c)
{
    char found[24], wanted[24];
    int replication = topic_replication(c->options), broker_count = c->metadata->broker_cnt;
    for (int i = 0; i < c->metadata->topic_cnt; i++) {
        const struct rd_kafka_metadata_topic *m = &c->metadata->topics[i];
        const struct topic_wanted *t = cluster_topic(c, m->topic);
        if (!t)
            continue;
        int least = m->partition_cnt > 0 ? m->partitions[0].replica_cnt : 0;
        for (int p = 0; p < m->partition_cnt; p++)
            least = m->partitions[p].replica_cnt < least ? m->partitions[p].replica_cnt : least;
        broker_count = least > broker_count ? least : broker_count;
        snprintf(found, sizeof found, "%d", m->partition_cnt);
        if (topic_is_single(t->kind) && m->partition_cnt > 1)
            cluster_tell(c, EHIS_E_BUS_PARTITIONS, t->name, "number of partitions", found, "1");
        snprintf(found, sizeof found, "%d", least);
        snprintf(wanted, sizeof wanted, "%d or more", replication);
        if (m->partition_cnt > 0 && least < replication)
            cluster_tell(c, EHIS_E_BUS_REPLICATION, t->name, "number of replicas", found, wanted);
    }
    snprintf(found, sizeof found, "%d", broker_count);
    snprintf(wanted, sizeof wanted, "%d or more", replication);
    if (broker_count < replication)
        cluster_tell(c, EHIS_E_BUS_BROKERS, "cluster", "number of brokers", found, wanted);
}

/* Asked for alone: a topic has some forty settings, and a gateway looks at all topics each minute. */
static void ask_setting(rd_kafka_ConfigResource_t *r, const char *name) { EHIS_ASSERT(rd_kafka_ConfigResource_set_config(r, name, "") == RD_KAFKA_RESP_ERR_NO_ERROR); }

static rd_kafka_ConfigResource_t *asked_topic(const struct cluster *c, const struct topic_wanted *t)
{
    struct topic_config rules[TOPIC_CONFIGS_MAX];
    rd_kafka_ConfigResource_t *r = rd_kafka_ConfigResource_new(RD_KAFKA_RESOURCE_TOPIC, t->name);
    size_t n = topic_configs(c->options, t->kind, rules);
    for (size_t i = 0; i < n; i++)
        ask_setting(r, rules[i].name);
    return r;
}

static ehis_err check_topics(struct cluster *c)
{
    ehis_err err = EHIS_OK;
    for (size_t from = 0; from < c->topic_count && err == EHIS_OK; from += TOPIC_BATCH) {
        rd_kafka_ConfigResource_t *asked[TOPIC_BATCH];
        size_t n = c->topic_count - from < TOPIC_BATCH ? c->topic_count - from : TOPIC_BATCH;
        for (size_t i = 0; i < n; i++)
            asked[i] = asked_topic(c, &c->topics[from + i]);
        err = describe(c, asked, n, on_topic);
        rd_kafka_ConfigResource_destroy_array(asked, n);
    }
    return err;
}

static ehis_err check_brokers(struct cluster *c)
{
    ehis_err err = EHIS_OK;
    for (int i = 0; i < c->metadata->broker_cnt && err == EHIS_OK; i++) { /* each answers for itself alone */
        char id[16];
        snprintf(id, sizeof id, "%" PRId32, c->metadata->brokers[i].id);
        rd_kafka_ConfigResource_t *asked = rd_kafka_ConfigResource_new(RD_KAFKA_RESOURCE_BROKER, id);
        ask_setting(asked, AUTO_CREATE);
        ask_setting(asked, OFFSETS_RETENTION);
        err = describe(c, &asked, 1, on_broker);
        rd_kafka_ConfigResource_destroy(asked);
    }
    return err;
}

static ehis_err look(const struct bus_kafka_options *o, const struct registry *r, uint64_t timeout_ms, bus_on_finding on_finding, void *ctx,
                     ehis_err *first, struct ehis_why *why)
{
    struct cluster c;
    ehis_err err = cluster_open(&c, o, r, timeout_ms, on_finding, ctx, why);
    if (err == EHIS_OK)
        check_placement(&c);
    if (err == EHIS_OK)
        err = check_topics(&c);
    if (err == EHIS_OK)
        err = check_brokers(&c);
    cluster_close(&c);
    *first = c.first;
    return err;
}

ehis_err bus_cluster_check(const struct bus_kafka_options *o, const struct registry *r, uint64_t timeout_ms, bus_on_finding on_finding,
                           void *ctx, struct ehis_why *why)
{
    ehis_err first, err = look(o, r, timeout_ms, on_finding, ctx, &first, why);
    return first != EHIS_OK ? first : err;
}

ehis_err bus_cluster_look(const struct bus_kafka_options *o, const struct registry *r, uint64_t timeout_ms, bus_on_finding on_finding,
                          void *ctx, struct ehis_why *why)
{
    ehis_err first;
    return look(o, r, timeout_ms, on_finding, ctx, &first, why);
}
