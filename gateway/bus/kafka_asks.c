/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* Committed positions, where partitions begin and end, and whether a broker answers at all: by a thread and a handle of their own, because librdkafka answers only those who wait. The
 * asynchronous Admin API (ListConsumerGroupOffsets) would do, but when the coordinator goes away meanwhile, 2.0.2 ends the process:
 * "rd_kafka_enq_once_del_source_return: Assertion `eonce->refcnt > 0' failed". All that is asked meanwhile goes into one request. */
#include "gateway/bus/kafka_priv.h"

#include <stdlib.h>
#include <unistd.h>
#include "base/log.h"
#include "base/thread.h"

#define ASK_TIMEOUT_MS 8000
#define ASK_STEP_MS 1000 /* between looks whether to stop */
#define MOVING_MS 200    /* the group's coordinator is about to be another */
#define ASKS_A_REQUEST 256
#define PARTITIONS_MAX 256
#define PING_TOPIC "ping" /* need not be there */

struct ask {
    struct ask *next;
    enum { ASK_POSITION, ASK_PING, ASK_OFFSETS, ASK_BEGIN, ASK_NUDGES } what; /* from OFFSETS on: a request of its own */
    uint32_t watch;
    uint64_t token;
    int64_t from_ms;
    struct kafka_range *ranges;
    size_t range_count;
    int32_t partition; /* of OFFSETS and NUDGES all */
    ehis_err err;
    rd_kafka_resp_err_t code;
    int64_t offset;
    size_t metadata_len;
    char *metadata, topic[];
};

struct kafka_asks {
    pthread_t thread;
    bool has_thread;
    pthread_mutex_t lock; /* over the rest */
    pthread_cond_t more;
    struct ask *asked, **asked_end, *answered, **answered_end;
    bool is_stopping;
    int wake_fd;
    struct kafka_retired *retired;
    rd_kafka_t *rk; /* the thread's */
    rd_kafka_t *fresh; /* instead of it, from the next request on */
};

static void put(struct ask ***end, struct ask *a)
{
    a->next = NULL;
    **end = a;
    *end = &a->next;
}

static void asks_free(struct ask *a)
{
    for (struct ask *next; a; a = next) {
        next = a->next;
        free(a->metadata);
        free(a->ranges);
        free(a);
    }
}

static bool is_stopping(struct kafka_asks *q)
{
    pthread_mutex_lock(&q->lock);
    bool is = q->is_stopping;
    pthread_mutex_unlock(&q->lock);
    return is;
}

static rd_kafka_resp_err_t request(struct kafka_asks *q, rd_kafka_topic_partition_list_t *list, bool is_ping)
{
    rd_kafka_resp_err_t code = RD_KAFKA_RESP_ERR__TIMED_OUT;
    for (int left = is_ping ? 2 : ASK_TIMEOUT_MS / ASK_STEP_MS; left > 0 && !is_stopping(q); left--) {
        code = rd_kafka_committed(q->rk, list, ASK_STEP_MS);
        bool is_moving = code == RD_KAFKA_RESP_ERR_NOT_COORDINATOR || code == RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS || code == RD_KAFKA_RESP_ERR_COORDINATOR_NOT_AVAILABLE;
        if (!is_moving && code != RD_KAFKA_RESP_ERR__TIMED_OUT && code != RD_KAFKA_RESP_ERR__WAIT_COORD && code != RD_KAFKA_RESP_ERR__TRANSPORT)
            break;
        if (is_moving)
            rd_kafka_poll(q->rk, MOVING_MS);
    }
    return code;
}

static void fill(struct ask *a, const rd_kafka_topic_partition_list_t *list)
{
    const rd_kafka_topic_partition_t *at = rd_kafka_topic_partition_list_find(list, a->topic, a->partition);
    a->err = at ? kafka_err(at->err) : EHIS_E_BUS_TIMEOUT;
    a->offset = at && at->offset >= 0 ? at->offset : -1;
    if (a->offset < 0 || !at->metadata_size || !(a->metadata = malloc(at->metadata_size)))
        return; /* without its text a position is as good, it costs repetitions */
    memcpy(a->metadata, at->metadata, at->metadata_size);
    a->metadata_len = at->metadata_size;
}

static void answer_all(struct kafka_asks *q, struct ask *asks)
{
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(0);
    bool is_ping = true;
    for (struct ask *a = asks; a; a = a->next) {
        is_ping &= a->what == ASK_PING;
        if (!rd_kafka_topic_partition_list_find(list, a->topic, a->partition))
            rd_kafka_topic_partition_list_add(list, a->topic, a->partition);
    }
    rd_kafka_resp_err_t code = request(q, list, is_ping);
    for (struct ask *a = asks; a; a = a->next) {
        a->code = code;
        a->err = kafka_err(code);
        a->offset = -1;
        if (code == RD_KAFKA_RESP_ERR_NO_ERROR && a->what == ASK_POSITION)
            fill(a, list);
    }
    rd_kafka_topic_partition_list_destroy(list);
}

/* ---- where partitions begin and end ---- */

static rd_kafka_resp_err_t partitions_of(struct kafka_asks *q, const struct ask *a, rd_kafka_topic_partition_list_t *list)
{
    const struct rd_kafka_metadata *m = NULL;
    rd_kafka_topic_t *t = rd_kafka_topic_new(q->rk, a->topic, NULL);
    rd_kafka_resp_err_t code = RD_KAFKA_RESP_ERR__TIMED_OUT;
    for (int left = ASK_TIMEOUT_MS / ASK_STEP_MS; t && left > 0 && code == RD_KAFKA_RESP_ERR__TIMED_OUT && !is_stopping(q); left--)
        code = rd_kafka_metadata(q->rk, 0, t, &m, ASK_STEP_MS);
    if (code == RD_KAFKA_RESP_ERR_NO_ERROR) {
        const struct rd_kafka_metadata_topic *found = m->topic_cnt == 1 ? &m->topics[0] : NULL;
        code = !found ? RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC : found->err;
        for (int i = 0; code == RD_KAFKA_RESP_ERR_NO_ERROR && i < found->partition_cnt && i < PARTITIONS_MAX; i++)
            if (a->what != ASK_BEGIN || i == a->partition)
                rd_kafka_topic_partition_list_add(list, a->topic, i);
    }
    rd_kafka_metadata_destroy(m);
    if (t)
        rd_kafka_topic_destroy(t);
    return code == RD_KAFKA_RESP_ERR_NO_ERROR && list->cnt == 0 ? RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC : code;
}

/* time_ms: or a logical offset, which the request takes in its place. */
static rd_kafka_resp_err_t offsets_at(struct kafka_asks *q, rd_kafka_topic_partition_list_t *list, int64_t time_ms)
{
    rd_kafka_resp_err_t code = RD_KAFKA_RESP_ERR__TIMED_OUT;
    for (int left = ASK_TIMEOUT_MS / ASK_STEP_MS; left > 0 && code == RD_KAFKA_RESP_ERR__TIMED_OUT && !is_stopping(q); left--) {
        for (int i = 0; i < list->cnt; i++)
            list->elems[i].offset = time_ms;
        code = rd_kafka_offsets_for_times(q->rk, list, ASK_STEP_MS);
    }
    for (int i = 0; i < list->cnt && code == RD_KAFKA_RESP_ERR_NO_ERROR; i++)
        code = list->elems[i].err;
    return code;
}

static void answer_offsets(struct kafka_asks *q, struct ask *a)
{
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(0);
    a->code = partitions_of(q, a, list);
    if (a->code == RD_KAFKA_RESP_ERR_NO_ERROR)
        a->code = offsets_at(q, list, RD_KAFKA_OFFSET_END);
    a->ranges = calloc((size_t)list->cnt + 1, sizeof *a->ranges);
    for (int i = 0; i < list->cnt && a->ranges; i++)
        a->ranges[i].end = list->elems[i].offset;
    if (a->code == RD_KAFKA_RESP_ERR_NO_ERROR)
        a->code = offsets_at(q, list, a->from_ms ? a->from_ms : RD_KAFKA_OFFSET_BEGINNING);
    for (int i = 0; i < list->cnt && a->ranges; i++) /* nothing that new: its end */
        a->ranges[i].from = list->elems[i].offset >= 0 ? list->elems[i].offset : a->ranges[i].end;
    a->range_count = (size_t)list->cnt;
    a->err = a->ranges ? kafka_err(a->code) : EHIS_E_NO_MEMORY;
    rd_kafka_topic_partition_list_destroy(list);
}

static void answer(struct kafka_asks *q, struct ask *asks)
{
    if (asks->what >= ASK_OFFSETS)
        answer_offsets(q, asks);
    else
        answer_all(q, asks);
}

static void handle_free(void *rk) { rd_kafka_destroy_flags(rk, RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE); }

static void *run(void *arg)
{
    static const uint64_t one = 1;
    struct kafka_asks *q = arg;
    pthread_mutex_lock(&q->lock);
    while (!q->is_stopping) {
        struct ask *asks = q->asked, **end = &asks;
        if (!asks) {
            pthread_cond_wait(&q->more, &q->lock);
            continue;
        }
        for (size_t i = 0; i < ASKS_A_REQUEST && *end && (i == 0 || !(asks->what >= ASK_OFFSETS || (*end)->what >= ASK_OFFSETS)); i++)
            end = &(*end)->next;
        q->asked = *end;
        *end = NULL;
        if (!q->asked)
            q->asked_end = &q->asked;
        rd_kafka_t *old = q->fresh ? q->rk : NULL;
        q->rk = q->fresh ? q->fresh : q->rk;
        q->fresh = NULL;
        pthread_mutex_unlock(&q->lock);
        kafka_retire(q->retired, handle_free, old);
        answer(q, asks);
        rd_kafka_poll(q->rk, 0);
        pthread_mutex_lock(&q->lock);
        for (struct ask *a = asks, *next; a; a = next) {
            next = a->next;
            put(&q->answered_end, a);
        }
        while (write(q->wake_fd, &one, sizeof one) < 0 && errno == EINTR)
            ;
    }
    pthread_mutex_unlock(&q->lock);
    return NULL;
}

static ehis_err handle_open(struct kafka *k, rd_kafka_t **out, struct ehis_why *why)
{
    char text[256];
    rd_kafka_conf_t *c = NULL;
    EHIS_TRY(kafka_conf(k, &c, why));
    rd_kafka_conf_set_log_cb(c, NULL); /* the others say it all */
    if (rd_kafka_conf_set(c, "enable.auto.commit", "false", text, sizeof text) != RD_KAFKA_CONF_OK ||
        rd_kafka_conf_set(c, "isolation.level", "read_uncommitted", text, sizeof text) != RD_KAFKA_CONF_OK ||
        rd_kafka_conf_set(c, "group.id", k->group, text, sizeof text) != RD_KAFKA_CONF_OK || !(*out = rd_kafka_new(RD_KAFKA_CONSUMER, c, text, sizeof text))) {
        rd_kafka_conf_destroy(c);
        return ehis_fail(why, EHIS_E_BUS_CLIENT, "%s (bus.kafka.ca, certificate or key)", text);
    }
    rd_kafka_poll_set_consumer(*out);
    return EHIS_OK;
}

ehis_err kafka_asks_start(struct kafka *k, struct ehis_why *why)
{
    struct kafka_asks *q = calloc(1, sizeof *q);
    if (!q)
        return EHIS_E_NO_MEMORY;
    k->asks = q;
    pthread_mutex_init(&q->lock, NULL);
    pthread_cond_init(&q->more, NULL);
    q->asked_end = &q->asked;
    q->answered_end = &q->answered;
    q->wake_fd = k->wake_fd;
    q->retired = k->retired;
    EHIS_TRY(handle_open(k, &q->rk, why));
    q->has_thread = thread_start(&q->thread, run, q);
    return q->has_thread ? EHIS_OK : EHIS_E_NO_MEMORY;
}

ehis_err kafka_asks_renew(struct kafka *k)
{
    struct kafka_asks *q = k->asks;
    struct ehis_why why = {""};
    rd_kafka_t *fresh = NULL, *unused;
    ehis_err err = handle_open(k, &fresh, &why);
    if (err != EHIS_OK) {
        log_line(LOG_ERROR, "kafka.rebuild", F_ERR(err), F_STR("text", why.text));
        return err;
    }
    pthread_mutex_lock(&q->lock);
    unused = q->fresh;
    q->fresh = fresh;
    pthread_mutex_unlock(&q->lock);
    kafka_retire(k->retired, handle_free, unused);
    return EHIS_OK;
}

void kafka_asks_stop(struct kafka *k)
{
    struct kafka_asks *q = k->asks;
    if (!q)
        return;
    pthread_mutex_lock(&q->lock);
    q->is_stopping = true;
    pthread_cond_signal(&q->more);
    pthread_mutex_unlock(&q->lock);
    if (q->has_thread)
        pthread_join(q->thread, NULL);
    kafka_retire(k->retired, handle_free, q->rk);
    kafka_retire(k->retired, handle_free, q->fresh);
    asks_free(q->asked);
    asks_free(q->answered);
    pthread_cond_destroy(&q->more);
    pthread_mutex_destroy(&q->lock);
    free(q);
    k->asks = NULL;
}

static ehis_err ask(struct kafka *k, const char *topic, const struct ask *as)
{
    struct kafka_asks *q = k->asks;
    size_t n = strlen(topic) + 1;
    struct ask *a = calloc(1, sizeof *a + n);
    if (!a)
        return EHIS_E_NO_MEMORY;
    *a = *as;
    memcpy(a->topic, topic, n);
    pthread_mutex_lock(&q->lock);
    put(&q->asked_end, a);
    pthread_cond_signal(&q->more);
    pthread_mutex_unlock(&q->lock);
    return EHIS_OK;
}

ehis_err kafka_position_get(struct kafka *k, const char *topic, int32_t partition, uint32_t watch) { return ask(k, topic, &(struct ask){.partition = partition, .watch = watch}); }
ehis_err kafka_offsets_get(struct kafka *k, const char *topic, int64_t from_ms, uint64_t token) { return ask(k, topic, &(struct ask){.what = ASK_OFFSETS, .from_ms = from_ms, .token = token}); }
ehis_err kafka_begin_get(struct kafka *k, const char *topic, int32_t partition, uint32_t watch) { return ask(k, topic, &(struct ask){.what = ASK_BEGIN, .partition = partition, .watch = watch}); }
ehis_err kafka_nudges_get(struct kafka *k) { return ask(k, k->nudge, &(struct ask){.what = ASK_NUDGES}); }
void kafka_ping(struct kafka *k) { k->is_pinging = ask(k, PING_TOPIC, &(struct ask){.what = ASK_PING}) == EHIS_OK; }

void kafka_on_answers(struct kafka *k)
{
    struct kafka_asks *q = k->asks;
    pthread_mutex_lock(&q->lock);
    struct ask *answered = q->answered;
    q->answered = NULL;
    q->answered_end = &q->answered;
    pthread_mutex_unlock(&q->lock);
    for (struct ask *a = answered; a; a = a->next) {
        if (a->code == RD_KAFKA_RESP_ERR_NO_ERROR)
            kafka_heard(k);
        switch (a->what) {
        case ASK_POSITION: k->calls.on_position(k->calls.ctx, a->watch, a->err, &(struct kafka_position){a->offset, span_of(a->metadata, a->metadata_len)}); break;
        case ASK_OFFSETS: k->calls.on_offsets(k->calls.ctx, a->token, a->err, a->ranges, a->range_count); break;
        case ASK_BEGIN: kafka_begin_found(k, a->watch, a->err, a->err == EHIS_OK ? a->ranges[0].from : -1); break;
        case ASK_NUDGES: kafka_nudges_found(k, a->err, a->ranges, a->range_count); break;
        case ASK_PING:
            k->is_pinging = false;
            if (a->err != EHIS_OK)
                kafka_set_state(k, a->err == EHIS_E_BUS_NOT_ALLOWED || a->err == EHIS_E_BUS_TLS ? a->err : EHIS_E_BUS_UNREACHABLE, rd_kafka_err2str(a->code));
            break;
        }
    }
    asks_free(answered);
}
