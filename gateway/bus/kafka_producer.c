/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* Sends, in order for each topic, and the positions that were committed: asked on the fast producer's handle, because a consumer answers only by
 * waiting. */
#include "gateway/bus/kafka_priv.h"

#include <stdlib.h>

#define VALUE_MAX_BYTES 1000000
#define ASK_TIMEOUT_MS 8000
#define PING_TIMEOUT_MS 2000
#define PING NULL /* as the opaque of an answer; else watch + 1 */

struct topic {
    struct table_node by_name;
    struct node in_list;
    struct node sends; /* not confirmed, in order */
    rd_kafka_topic_t *rkt;
    size_t name_len;
    char name[];
};

/* Lives until librdkafka gives it back: the value is not copied a second time. */
struct send {
    struct node in_topic; /* or among the orphans */
    uint64_t token;
    size_t bytes;
    bool is_reported;
    uint8_t value[];
};

struct ask { struct node in_asks; uint32_t watch; };

/* ---- topics ---- */

static struct topic *topic_find(struct kafka_producer *p, struct span name)
{
    for (struct table_node *n = *table_head(&p->topics, table_hash(&p->topics, name.p, name.len)); n; n = n->next) {
        struct topic *t = container_of(n, struct topic, by_name);
        if (span_eq(span_of(t->name, t->name_len), name))
            return t;
    }
    return NULL;
}

/* #5032: until 2.10.1 the first message by a topic's name may wait a second for the topic's leader. A topic handle asks for it at once. */
static struct topic *topic_get(struct kafka_producer *p, const char *text)
{
    struct span name = span_str(text);
    struct topic *t = topic_find(p, name);
    if (t || p->topics.count >= KAFKA_TOPICS_MAX)
        return t;
    t = calloc(1, sizeof *t + name.len + 1);
    if (!t)
        return NULL;
    t->rkt = rd_kafka_topic_new(p->handle.rk, text, NULL);
    if (!t->rkt) {
        free(t);
        return NULL;
    }
    memcpy(t->name, text, name.len);
    t->name_len = name.len;
    node_init(&t->sends);
    list_add(&p->topic_list, &t->in_list);
    table_add(&p->topics, table_hash(&p->topics, name.p, name.len), &t->by_name);
    return t;
}

ehis_err kafka_producer_open(struct kafka *k, enum kafka_lane lane, struct kafka_producer **out, struct ehis_why *why)
{
    struct kafka_producer *p = calloc(1, sizeof *p);
    if (!p)
        return EHIS_E_NO_MEMORY;
    node_init(&p->topic_list);
    node_init(&p->orphans);
    ehis_err err = table_init(&p->topics, KAFKA_TABLE_HEADS, k->seed);
    if (err == EHIS_OK)
        err = kafka_handle_open(k, lane, true, &p->handle, why);
    if (err != EHIS_OK) {
        kafka_producer_free(p);
        return err;
    }
    *out = p;
    return EHIS_OK;
}

static void sends_free(struct node *sends)
{
    while (!list_is_empty(sends)) {
        struct node *n = sends->next;
        node_remove(n);
        free(container_of(n, struct send, in_topic));
    }
}

/* Values only after the threads of librdkafka are gone. */
void kafka_producer_free(struct kafka_producer *p)
{
    if (!p)
        return;
    if (p->handle.rk)
        rd_kafka_purge(p->handle.rk, RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT | RD_KAFKA_PURGE_F_NON_BLOCKING);
    for (struct node *n = p->topic_list.next; n != &p->topic_list; n = n->next)
        rd_kafka_topic_destroy(container_of(n, struct topic, in_list)->rkt);
    if (p->handle.queue)
        rd_kafka_queue_destroy(p->handle.queue);
    if (p->handle.rk)
        rd_kafka_destroy(p->handle.rk);
    sends_free(&p->orphans);
    while (!list_is_empty(&p->topic_list)) {
        struct topic *t = container_of(p->topic_list.next, struct topic, in_list);
        node_remove(&t->in_list);
        sends_free(&t->sends);
        free(t);
    }
    table_fini(&p->topics);
    free(p);
}

/* ---- sends ---- */

static ehis_err produce(struct kafka *k, enum kafka_lane lane, const char *topic, int32_t partition, struct span key, struct send *s)
{
    struct kafka_producer *p = k->producers[lane];
    struct topic *t = topic_get(p, topic);
    if (!t)
        return EHIS_E_BUS_FULL;
    if (rd_kafka_produce(t->rkt, partition < 0 ? RD_KAFKA_PARTITION_UA : partition, 0, s->bytes ? s->value : NULL, s->bytes, key.p, key.len, s) != 0) {
        rd_kafka_resp_err_t err = rd_kafka_last_error();
        if (err == RD_KAFKA_RESP_ERR__FATAL)
            p->handle.is_broken = true;
        return err == RD_KAFKA_RESP_ERR__QUEUE_FULL || err == RD_KAFKA_RESP_ERR__FATAL ? EHIS_E_BUS_FULL : kafka_err(err);
    }
    list_add(&t->sends, &s->in_topic);
    k->status.sent++;
    k->status.queued_messages++;
    k->status.queued_bytes += s->bytes;
    return EHIS_OK;
}

ehis_err kafka_send(struct kafka *k, enum kafka_lane lane, const char *topic, int32_t partition, struct span key, const struct span *parts, size_t count,
                    uint64_t token)
{
    size_t bytes = 0, at = 0;
    for (size_t i = 0; i < count; i++)
        if (!size_add(bytes, parts[i].len, &bytes) || bytes > VALUE_MAX_BYTES)
            return EHIS_E_BUS_TOO_LARGE;
    if (!k->producers[lane] || k->status.queued_messages >= k->config.queue_max_count || k->status.queued_bytes + bytes > k->config.queue_max_bytes)
        return EHIS_E_BUS_FULL;
    struct send *s = malloc(sizeof *s + bytes);
    if (!s)
        return EHIS_E_NO_MEMORY;
    *s = (struct send){.token = token, .bytes = bytes};
    for (size_t i = 0; i < count; at += parts[i++].len)
        if (parts[i].len)
            memcpy(s->value + at, parts[i].p, parts[i].len);
    ehis_err err = produce(k, lane, topic, partition, key, s);
    if (err != EHIS_OK)
        free(s);
    return err;
}

ehis_err kafka_forget(struct kafka *k, enum kafka_lane lane, const char *topic, struct span key, uint64_t token)
{
    return kafka_send(k, lane, topic, -1, key, NULL, 0, token);
}

/* All of the list, in order, to be sent again; librdkafka still has the values, but what it says of them counts no more. */
static void report_failed(struct kafka_producer *p, struct node *failed, ehis_err err)
{
    struct kafka *k = p->handle.kafka;
    while (!list_is_empty(failed)) {
        struct send *s = container_of(failed->next, struct send, in_topic);
        node_move(&p->orphans, &s->in_topic);
        s->is_reported = true;
        k->status.failed++;
        k->calls.on_sent(k->calls.ctx, s->token, err, -1);
    }
}

/* Moves from's elements from first on behind those of to. */
static void list_split(struct node *from, struct node *first, struct node *to)
{
    struct node *before = first->prev, *last = from->prev;
    if (first == from)
        return;
    before->next = from;
    from->prev = before;
    first->prev = to->prev;
    to->prev->next = first;
    last->next = to;
    to->prev = last;
}

static void send_done(struct kafka *k, struct send *s)
{
    k->status.queued_messages--;
    k->status.queued_bytes -= s->bytes;
    node_remove(&s->in_topic);
    free(s);
}

void kafka_on_delivery(struct kafka_producer *p, const rd_kafka_message_t *m)
{
    struct kafka *k = p->handle.kafka;
    struct send *s = m->_private;
    struct topic *t;
    struct node failed;
    if (m->err == RD_KAFKA_RESP_ERR_NO_ERROR)
        kafka_heard(k);
    else if (m->err == RD_KAFKA_RESP_ERR__FATAL)
        p->handle.is_broken = true;
    if (!s->is_reported && m->err == RD_KAFKA_RESP_ERR_NO_ERROR) {
        uint64_t token = s->token;
        int64_t offset = m->offset;
        k->status.confirmed++;
        send_done(k, s);
        k->calls.on_sent(k->calls.ctx, token, EHIS_OK, offset);
        return;
    }
    if (!s->is_reported && (t = topic_find(p, span_str(rd_kafka_topic_name(m->rkt))))) {
        node_init(&failed);
        list_split(&t->sends, &s->in_topic, &failed);
        report_failed(p, &failed, kafka_err(m->err));
    }
    send_done(k, s);
}

void kafka_producer_fail_all(struct kafka_producer *p, ehis_err err)
{
    struct kafka *k = p->handle.kafka;
    struct node failed;
    node_init(&failed);
    for (struct node *n = p->topic_list.next; n != &p->topic_list; n = n->next) {
        struct node *sends = &container_of(n, struct topic, in_list)->sends;
        list_split(sends, sends->next, &failed);
    }
    report_failed(p, &failed, err);
    for (struct node *n = p->orphans.next; n != &p->orphans; n = n->next) { /* no report of librdkafka will come: its room is free */
        k->status.queued_messages--;
        k->status.queued_bytes -= container_of(n, struct send, in_topic)->bytes;
    }
}

/* ---- positions ---- */

static ehis_err offsets_ask(struct kafka *k, const char *topic, int32_t partition, int timeout_ms, void *opaque)
{
    struct kafka_producer *p = k->producers[KAFKA_FAST];
    char text[64];
    if (!p)
        return EHIS_E_BUS_FATAL;
    rd_kafka_AdminOptions_t *options = rd_kafka_AdminOptions_new(p->handle.rk, RD_KAFKA_ADMIN_OP_LISTCONSUMERGROUPOFFSETS);
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_list_add(list, topic, partition);
    rd_kafka_ListConsumerGroupOffsets_t *request = rd_kafka_ListConsumerGroupOffsets_new(k->group, list);
    rd_kafka_AdminOptions_set_opaque(options, opaque);
    bool is_set = rd_kafka_AdminOptions_set_request_timeout(options, timeout_ms, text, sizeof text) == RD_KAFKA_RESP_ERR_NO_ERROR;
    if (is_set)
        rd_kafka_ListConsumerGroupOffsets(p->handle.rk, &request, 1, options, p->handle.queue);
    rd_kafka_ListConsumerGroupOffsets_destroy(request);
    rd_kafka_topic_partition_list_destroy(list);
    rd_kafka_AdminOptions_destroy(options);
    return is_set ? EHIS_OK : EHIS_E_INTERNAL;
}

ehis_err kafka_position_get(struct kafka *k, const char *topic, int32_t partition, uint32_t watch)
{
    struct ask *a = calloc(1, sizeof *a);
    if (!a)
        return EHIS_E_NO_MEMORY;
    a->watch = watch;
    ehis_err err = offsets_ask(k, topic, partition, ASK_TIMEOUT_MS, (void *)((uintptr_t)watch + 1));
    if (err != EHIS_OK) {
        free(a);
        return err;
    }
    list_add(&k->asks, &a->in_asks);
    return EHIS_OK;
}

/* Any answer of the group's coordinator will do. The topic need not be there. */
void kafka_ping(struct kafka *k) { k->is_pinging = offsets_ask(k, "ping", 0, PING_TIMEOUT_MS, PING) == EHIS_OK; }

static void answer(struct kafka *k, uint32_t watch, ehis_err err, const struct kafka_position *position)
{
    for (struct node *n = k->asks.next; n != &k->asks; n = n->next) {
        struct ask *a = container_of(n, struct ask, in_asks);
        if (a->watch != watch)
            continue;
        node_remove(n);
        free(a);
        k->calls.on_position(k->calls.ctx, watch, err, position);
        return;
    }
}

void kafka_on_offsets(struct kafka *k, rd_kafka_event_t *e)
{
    void *opaque = rd_kafka_event_opaque(e);
    size_t count = 0;
    struct kafka_position position = {.offset = -1};
    const rd_kafka_group_result_t **groups =
        rd_kafka_ListConsumerGroupOffsets_result_groups(rd_kafka_event_ListConsumerGroupOffsets_result(e), &count);
    rd_kafka_resp_err_t code = rd_kafka_event_error(e);
    const rd_kafka_error_t *group_error = code == RD_KAFKA_RESP_ERR_NO_ERROR && count == 1 ? rd_kafka_group_result_error(groups[0]) : NULL;
    if (group_error)
        code = rd_kafka_error_code(group_error);
    ehis_err err = kafka_err(code);
    if (err == EHIS_OK)
        kafka_heard(k);
    if (opaque == PING) {
        k->is_pinging = false;
        if (err != EHIS_OK)
            kafka_set_state(k, err == EHIS_E_BUS_NOT_ALLOWED || err == EHIS_E_BUS_TLS ? err : EHIS_E_BUS_UNREACHABLE, rd_kafka_err2str(code));
        return;
    }
    const rd_kafka_topic_partition_list_t *list = err == EHIS_OK && count == 1 ? rd_kafka_group_result_partitions(groups[0]) : NULL;
    if (list && list->cnt == 1) {
        const rd_kafka_topic_partition_t *at = &list->elems[0];
        err = kafka_err(at->err);
        if (at->offset >= 0)
            position = (struct kafka_position){at->offset, span_of(at->metadata, at->metadata ? at->metadata_size : 0)};
    } else if (err == EHIS_OK)
        err = EHIS_E_BUS_TIMEOUT;
    answer(k, (uint32_t)((uintptr_t)opaque - 1), err, &position);
}

/* OK: silently, at the end. */
void kafka_asks_fail(struct kafka *k, ehis_err err)
{
    struct node failed;
    node_init(&failed);
    list_split(&k->asks, k->asks.next, &failed);
    while (!list_is_empty(&failed)) {
        struct ask *a = container_of(failed.next, struct ask, in_asks);
        uint32_t watch = a->watch;
        node_remove(&a->in_asks);
        free(a);
        if (err != EHIS_OK)
            k->calls.on_position(k->calls.ctx, watch, err, &(struct kafka_position){.offset = -1});
    }
}
