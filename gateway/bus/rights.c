/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* Makes the topics that are missing, and the rights of gateways: what a gateway needs, and no more; nothing once it has left the registry. It reads the replies to itself alone. */
#include "gateway/bus/cluster_priv.h"
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>

#define RIGHTS_MAX 40
#define IN_FORCE_POLL_MS 50 /* between looks whether brokers have learnt what the controller was told */

static ehis_err topic_new(struct cluster *c, const struct topic_wanted *t, rd_kafka_NewTopic_t **out)
{
    char text[256];
    struct topic_config configs[TOPIC_CONFIGS_MAX];
    rd_kafka_NewTopic_t *n = rd_kafka_NewTopic_new(t->name, topic_partitions(c->options, t->kind), topic_replication(c->options), text, sizeof text);
    if (!n)
        return ehis_fail(c->why, EHIS_E_BUS_CLIENT, "%s: %s", t->name, text);
    size_t count = topic_configs(c->options, t->kind, configs);
    for (size_t i = 0; i < count; i++)
        (void)rd_kafka_NewTopic_set_config(n, configs[i].name, configs[i].value); /* fails where a name is NULL alone */
    *out = n;
    return EHIS_OK;
}

static ehis_err read_made(struct cluster *c, rd_kafka_event_t *event)
{
    size_t n;
    const rd_kafka_topic_result_t **made = rd_kafka_CreateTopics_result_topics(rd_kafka_event_CreateTopics_result(event), &n);
    for (size_t i = 0; i < n; i++) {
        rd_kafka_resp_err_t e = rd_kafka_topic_result_error(made[i]);
        const char *name = rd_kafka_topic_result_name(made[i]), *text = rd_kafka_topic_result_error_string(made[i]);
        if (e == RD_KAFKA_RESP_ERR_INVALID_REPLICATION_FACTOR)
            return ehis_fail(c->why, EHIS_E_BUS_BROKERS, "%s: %s", name, text ? text : "");
        if (e != RD_KAFKA_RESP_ERR_NO_ERROR && e != RD_KAFKA_RESP_ERR_TOPIC_ALREADY_EXISTS)
            return cluster_error(c, e, name);
        if (e == RD_KAFKA_RESP_ERR_NO_ERROR)
            cluster_tell(c, EHIS_OK, name, "topic", "", "");
    }
    return EHIS_OK;
}

static ehis_err create_topics(struct cluster *c, bool is_dry)
{
    ehis_err err = EHIS_OK;
    for (size_t at = 0; at < c->topic_count && err == EHIS_OK;) {
        rd_kafka_NewTopic_t *batch[TOPIC_BATCH];
        rd_kafka_event_t *event = NULL;
        size_t n = 0;
        for (; at < c->topic_count && n < TOPIC_BATCH && err == EHIS_OK; at++) {
            if (c->topics[at].partitions > 0)
                continue;
            if (is_dry)
                cluster_tell(c, EHIS_OK, c->topics[at].name, "topic", "", "");
            else if ((err = topic_new(c, &c->topics[at], &batch[n])) == EHIS_OK)
                n++;
        }
        if (n > 0 && err == EHIS_OK) {
            rd_kafka_AdminOptions_t *options = cluster_options(c, RD_KAFKA_ADMIN_OP_CREATETOPICS);
            rd_kafka_CreateTopics(c->rk, batch, n, options, c->queue);
            rd_kafka_AdminOptions_destroy(options);
            err = cluster_await(c, RD_KAFKA_EVENT_CREATETOPICS_RESULT, &event);
        }
        if (event) {
            err = read_made(c, event);
            rd_kafka_event_destroy(event);
        }
        rd_kafka_NewTopic_destroy_array(batch, n);
    }
    return err;
}

/* The controller has made them; each broker learns of it a moment later, and a gateway may ask any. */
ehis_err cluster_await_topics(struct cluster *c)
{
    for (int b = 0; b < c->metadata->broker_cnt; b++) {
        int32_t broker = c->metadata->brokers[b].id;
        const char *name = ""; /* the last that it did not know: when the time is up the last question may have no answer */
        for (size_t from = 0, unseen = 0; from < c->topic_count; from += unseen ? 0 : TOPIC_BATCH) {
            size_t n = c->topic_count - from < TOPIC_BATCH ? c->topic_count - from : TOPIC_BATCH;
            ehis_err err = cluster_unseen(c, broker, c->topics + from, n, &unseen, &name);
            if (err == EHIS_E_BUS_UNREACHABLE || (err == EHIS_OK && unseen && cluster_left_ms(c) <= 1))
                return ehis_fail(c->why, EHIS_E_BUS_UNSEEN, "broker %" PRId32 ": %s", broker, *name ? name : "no answer");
            EHIS_TRY(err);
            if (unseen)
                poll(NULL, 0, IN_FORCE_POLL_MS);
            else
                name = "";
        }
    }
    return EHIS_OK;
}

struct rights {
    rd_kafka_AclBinding_t *list[RIGHTS_MAX];
    size_t count;
    const char *principal;
    ehis_err err;
};

static void give(struct rights *r, struct cluster *c, rd_kafka_ResourceType_t type, const char *name, bool is_prefix, rd_kafka_AclOperation_t operation)
{
    char text[256];
    EHIS_ASSERT(r->count < RIGHTS_MAX);
    rd_kafka_AclBinding_t *b = rd_kafka_AclBinding_new(type, name, is_prefix ? RD_KAFKA_RESOURCE_PATTERN_PREFIXED : RD_KAFKA_RESOURCE_PATTERN_LITERAL, r->principal,
                                                       "*", operation, RD_KAFKA_ACL_PERMISSION_TYPE_ALLOW, text, sizeof text);
    if (b)
        r->list[r->count++] = b;
    else
        r->err = ehis_fail(c->why, EHIS_E_BUS_CLIENT, "%s: %s", name, text);
}

static void give_all(struct rights *r, struct cluster *c, struct span gateway)
{
    char name[BUS_TOPIC_NAME_MAX_BYTES + 1], group[BUS_PREFIX_MAX_BYTES + 8];
    for (enum bus_topic_kind kind = TOPIC_CALL; kind <= BUS_TOPIC_KINDS; kind++) {
        bool is_prefix = kind <= TOPIC_EVENT, is_read = kind != TOPIC_REPLY && kind != TOPIC_AUDIT && kind != TOPIC_DLQ;
        if (is_prefix)
            snprintf(name, sizeof name, "%s%s%s.", c->options->prefix, *c->options->prefix ? ".." : "", bus_topic_kind_name(kind));
        else
            bus_topic_name(c->options->prefix, kind, span_str(""), span_str(""), name);
        give(r, c, RD_KAFKA_RESOURCE_TOPIC, name, is_prefix, RD_KAFKA_ACL_OPERATION_WRITE);
        give(r, c, RD_KAFKA_RESOURCE_TOPIC, name, is_prefix, RD_KAFKA_ACL_OPERATION_DESCRIBE_CONFIGS);
        if (is_read)
            give(r, c, RD_KAFKA_RESOURCE_TOPIC, name, is_prefix, RD_KAFKA_ACL_OPERATION_READ);
    }
    bus_topic_name(c->options->prefix, TOPIC_REPLY, gateway, span_str(""), name);
    give(r, c, RD_KAFKA_RESOURCE_TOPIC, name, false, RD_KAFKA_ACL_OPERATION_READ);
    bus_group_name(c->options->prefix, group);
    give(r, c, RD_KAFKA_RESOURCE_GROUP, group, false, RD_KAFKA_ACL_OPERATION_READ);
    give(r, c, RD_KAFKA_RESOURCE_BROKER, "kafka-cluster", false, RD_KAFKA_ACL_OPERATION_DESCRIBE_CONFIGS);
}

static ehis_err send_rights(struct cluster *c, struct rights *r)
{
    rd_kafka_event_t *event;
    rd_kafka_AdminOptions_t *options = cluster_options(c, RD_KAFKA_ADMIN_OP_CREATEACLS);
    rd_kafka_CreateAcls(c->rk, r->list, r->count, options, c->queue);
    rd_kafka_AdminOptions_destroy(options);
    EHIS_TRY(cluster_await(c, RD_KAFKA_EVENT_CREATEACLS_RESULT, &event));
    size_t n;
    ehis_err err = EHIS_OK;
    const rd_kafka_acl_result_t **results = rd_kafka_CreateAcls_result_acls(rd_kafka_event_CreateAcls_result(event), &n);
    for (size_t i = 0; i < n && err == EHIS_OK; i++)
        if (rd_kafka_acl_result_error(results[i]))
            err = cluster_error(c, rd_kafka_error_code(rd_kafka_acl_result_error(results[i])), r->principal);
    rd_kafka_event_destroy(event);
    return err;
}

static ehis_err take_rights(struct cluster *c, struct rights *r)
{
    rd_kafka_event_t *event;
    rd_kafka_AdminOptions_t *options = cluster_options(c, RD_KAFKA_ADMIN_OP_DELETEACLS);
    rd_kafka_DeleteAcls(c->rk, r->list, r->count, options, c->queue); /* a right is its own filter */
    rd_kafka_AdminOptions_destroy(options);
    EHIS_TRY(cluster_await(c, RD_KAFKA_EVENT_DELETEACLS_RESULT, &event));
    size_t n;
    ehis_err err = EHIS_OK;
    const rd_kafka_DeleteAcls_result_response_t **results = rd_kafka_DeleteAcls_result_responses(rd_kafka_event_DeleteAcls_result(event), &n);
    for (size_t i = 0; i < n && err == EHIS_OK; i++)
        if (rd_kafka_DeleteAcls_result_response_error(results[i]))
            err = cluster_error(c, rd_kafka_error_code(rd_kafka_DeleteAcls_result_response_error(results[i])), r->principal);
    rd_kafka_event_destroy(event);
    return err;
}

static bool is_same(const rd_kafka_AclBinding_t *a, const rd_kafka_AclBinding_t *b)
{
    return rd_kafka_AclBinding_restype(a) == rd_kafka_AclBinding_restype(b) && strcmp(rd_kafka_AclBinding_name(a), rd_kafka_AclBinding_name(b)) == 0 &&
           rd_kafka_AclBinding_resource_pattern_type(a) == rd_kafka_AclBinding_resource_pattern_type(b) &&
           rd_kafka_AclBinding_operation(a) == rd_kafka_AclBinding_operation(b) &&
           rd_kafka_AclBinding_permission_type(a) == rd_kafka_AclBinding_permission_type(b) && strcmp(rd_kafka_AclBinding_host(a), rd_kafka_AclBinding_host(b)) == 0;
}

/* The rights that a broker acts upon (what the controller was told reaches it a moment later): all of a principal, or all to write here. */
static ehis_err ask_rights(struct cluster *c, const char *principal, const char *written, rd_kafka_event_t **out)
{
    char text[256];
    rd_kafka_AclBindingFilter_t *filter = rd_kafka_AclBindingFilter_new(
        written ? RD_KAFKA_RESOURCE_TOPIC : RD_KAFKA_RESOURCE_ANY, written, written ? RD_KAFKA_RESOURCE_PATTERN_PREFIXED : RD_KAFKA_RESOURCE_PATTERN_ANY, principal,
        NULL, written ? RD_KAFKA_ACL_OPERATION_WRITE : RD_KAFKA_ACL_OPERATION_ANY, RD_KAFKA_ACL_PERMISSION_TYPE_ANY, text, sizeof text);
    if (!filter)
        return ehis_fail(c->why, EHIS_E_BUS_CLIENT, "%s", text);
    rd_kafka_AdminOptions_t *options = cluster_options(c, RD_KAFKA_ADMIN_OP_DESCRIBEACLS);
    rd_kafka_DescribeAcls(c->rk, filter, options, c->queue);
    rd_kafka_AdminOptions_destroy(options);
    rd_kafka_AclBinding_destroy(filter);
    return cluster_await(c, RD_KAFKA_EVENT_DESCRIBEACLS_RESULT, out);
}

static ehis_err count_in_force(struct cluster *c, const struct rights *r, size_t *count)
{
    rd_kafka_event_t *event;
    EHIS_TRY(ask_rights(c, r->principal, NULL, &event));
    size_t n;
    const rd_kafka_AclBinding_t **found = rd_kafka_DescribeAcls_result_acls(rd_kafka_event_DescribeAcls_result(event), &n);
    *count = 0;
    for (size_t i = 0; i < r->count; i++)
        for (size_t j = 0; j < n; j++)
            if (is_same(r->list[i], found[j])) {
                ++*count;
                break;
            }
    rd_kafka_event_destroy(event);
    return EHIS_OK;
}

/* All of them, or none. */
static ehis_err settle(struct cluster *c, struct rights *r, bool is_given, bool is_dry)
{
    size_t count, wanted = is_given ? r->count : 0;
    EHIS_TRY(count_in_force(c, r, &count));
    if (count == wanted)
        return EHIS_OK;
    if (!is_dry)
        EHIS_TRY(is_given ? send_rights(c, r) : take_rights(c, r));
    while (!is_dry && count != wanted) {
        if (cluster_left_ms(c) <= 1)
            return cluster_error(c, RD_KAFKA_RESP_ERR__TIMED_OUT, r->principal);
        poll(NULL, 0, IN_FORCE_POLL_MS);
        EHIS_TRY(count_in_force(c, r, &count));
    }
    cluster_tell(c, EHIS_OK, r->principal + 5, is_given ? "rights" : "rights taken away", "", "");
    return EHIS_OK;
}

/* A gateway's principal is its identifier, as the brokers take it from its certificate (deploy/kafka). */
static ehis_err settle_gateway(struct cluster *c, struct span gateway, bool is_given, bool is_dry)
{
    char principal[8 + IDENTIFIER_MAX_BYTES];
    struct rights r = {.principal = principal};
    snprintf(principal, sizeof principal, "User:%.*s", (int)gateway.len, (const char *)gateway.p);
    give_all(&r, c, gateway);
    ehis_err err = r.err == EHIS_OK ? settle(c, &r, is_given, is_dry) : r.err;
    rd_kafka_AclBinding_destroy_array(r.list, r.count);
    return err;
}

/* Who may write to inboxes, and is no gateway of the registry any more. */
static ehis_err expel(struct cluster *c, const struct registry *reg, bool is_dry)
{
    char name[BUS_PREFIX_MAX_BYTES + 16];
    rd_kafka_event_t *event;
    snprintf(name, sizeof name, "%s%sinbox.", c->options->prefix, *c->options->prefix ? ".." : "");
    EHIS_TRY(ask_rights(c, NULL, name, &event));
    size_t n;
    ehis_err err = EHIS_OK;
    const rd_kafka_AclBinding_t **found = rd_kafka_DescribeAcls_result_acls(rd_kafka_event_DescribeAcls_result(event), &n);
    for (size_t i = 0; i < n && err == EHIS_OK; i++) {
        const char *principal = rd_kafka_AclBinding_principal(found[i]);
        struct span id = span_str(strncmp(principal, "User:", 5) == 0 ? principal + 5 : "");
        if (identifier_check(id, IDENTIFIER_GATEWAY, NULL) == EHIS_OK && !registry_gateway(reg, id))
            err = settle_gateway(c, id, false, is_dry);
    }
    rd_kafka_event_destroy(event);
    return err;
}

static ehis_err give_rights(struct cluster *c, const struct registry *reg, bool is_dry)
{
    ehis_err err = EHIS_OK;
    for (size_t i = 0; i < registry_owner_count(reg) && err == EHIS_OK; i++)
        if (registry_owner_at(reg, i)->is_gateway)
            err = settle_gateway(c, registry_owner_at(reg, i)->id, true, is_dry);
    return err == EHIS_OK ? expel(c, reg, is_dry) : err;
}

ehis_err bus_cluster_create(const struct bus_kafka_options *o, const struct registry *r, uint64_t timeout_ms, bool is_dry,
                            bus_on_finding on_finding, void *ctx, struct ehis_why *why)
{
    struct cluster c;
    ehis_err err = cluster_open(&c, o, r, timeout_ms, on_finding, ctx, why);
    if (err == EHIS_OK && c.metadata->broker_cnt < topic_replication(o))
        err = ehis_fail(why, EHIS_E_BUS_BROKERS, "%d of %d run", c.metadata->broker_cnt, topic_replication(o));
    if (err == EHIS_OK)
        err = create_topics(&c, is_dry);
    if (err == EHIS_OK)
        err = give_rights(&c, r, is_dry);
    if (err == EHIS_OK && !is_dry)
        err = cluster_await_topics(&c);
    cluster_close(&c);
    return err;
}
