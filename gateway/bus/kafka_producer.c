/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* Sends, in order for each topic. */
#include "gateway/bus/kafka_priv.h"

#include <stdlib.h>
#include "base/log.h"

#define VALUE_MAX_BYTES 1000000
#define NUDGE_SAID_MS 10000 /* not more often */
#define IDLE_TICKS 50          /* 10 s, twice as long after each handle that was as idle as the one before: it may be the broker that takes nothing */

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
    p->idle_max = IDLE_TICKS;
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
void kafka_producer_free(void *arg)
{
    struct kafka_producer *p = arg;
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
    p->unreported++;
    k->status.sent++;
    k->status.queued_messages++;
    k->status.queued_bytes += s->bytes;
    return EHIS_OK;
}

void kafka_nudge_failed(struct kafka *k, ehis_err err)
{
    int64_t now = clock_mono_ms(&clock_system);
    if ((err != EHIS_E_BUS_NO_TOPIC && err != EHIS_E_BUS_NOT_ALLOWED) || now < k->nudge_said_ms + NUDGE_SAID_MS)
        return;
    k->nudge_said_ms = now;
    log_line(LOG_WARN, "bus.topic", F_ERR(err), F_STR("topic", k->nudge));
}

/* Without it the new partitions are fetched a little later. A record for each partition, whose leaders are spread over the brokers; one that is not there costs nothing. */
void kafka_nudge(struct kafka *k)
{
    struct kafka_producer *p = k->producers[KAFKA_FAST];
    struct topic *t = p ? topic_get(p, k->nudge) : NULL;
    for (int partition = 0; t && partition < BUS_NUDGE_PARTITIONS; partition++)
        if (rd_kafka_produce(t->rkt, partition, 0, NULL, 0, k->client, strlen(k->client), NULL) != 0 && partition == 0)
            kafka_nudge_failed(k, kafka_err(rd_kafka_last_error()));
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

/* All of the list, in order, to be sent again; librdkafka still has the values, but what it says of them counts no more. */
static void report_failed(struct kafka_producer *p, struct node *failed, ehis_err err)
{
    struct kafka *k = p->handle.kafka;
    while (!list_is_empty(failed)) {
        struct send *s = container_of(failed->next, struct send, in_topic);
        node_move(&p->orphans, &s->in_topic);
        s->is_reported = true;
        p->unreported--;
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
    if (!s) {
        if (m->partition == 0)
            kafka_nudge_failed(k, kafka_err(m->err));
        return;
    }
    if (!s->is_reported && m->err == RD_KAFKA_RESP_ERR_NO_ERROR) {
        uint64_t token = s->token;
        int64_t offset = m->offset;
        k->status.confirmed++;
        p->unreported--;
        p->idle_ticks = 0;
        p->idle_max = IDLE_TICKS;
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

/* Topics that went and came again, and timeouts, have an idempotent producer wait for ever for requests that nobody will answer (2.0.2, 2.8.0): it reports nothing, or
 * that everything timed out. */
void kafka_producer_tick(struct kafka_producer *p)
{
    if (!p->unreported || p->handle.is_broken || ++p->idle_ticks < p->idle_max)
        return;
    log_line(LOG_WARN, "kafka.idle", F_STR("lane", p->handle.lane == KAFKA_FAST ? "fast" : "bulk"), F_U64("messages", p->unreported));
    p->handle.is_broken = true;
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
