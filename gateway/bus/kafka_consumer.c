/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* Watches: partitions assigned by hand, without a group's membership (no rebalance, no max.poll.interval, none of the bugs of either), and commits.
 * librdkafka's own pause and seek are not used: before 2.4.0 resuming what is not paused jumps back, seeking times out at once (2.1.0), and
 * batch reads skip records beside both (#4486). A watch that pauses is unassigned, and assigned again where it stood: unassigning raises the
 * partition's version before it returns, so that nothing fetched earlier comes out afterwards. What is assigned has a number for its offset: librdkafka's
 * own question where a log begins or ends waits at the broker behind a fetch that is under way, seconds. kafka_asks.c asks it, on a connection that fetches nothing. */
#include "gateway/bus/kafka_priv.h"

#include <stdlib.h>
#include "base/log.h"

#define NUDGES_AGAIN_MS 10000 /* what was not to be had */
#define NUDGED_MS 2500 /* so long after an assignment: where a topic is new to the client, its partitions can be fetched a second later */

struct watch {
    struct table_node by_number, by_name;
    struct node in_list, in_dirty;
    uint32_t number;
    enum kafka_lane lane;
    int32_t partition;
    int64_t next; /* offset, or KAFKA_FROM_BEGIN */
    bool is_assigned, is_paused, is_broken, is_asked; /* is_asked: where it begins */
    size_t name_len;
    char name[];
};

struct hold { size_t count; uint8_t bytes[]; }; /* value and key of a record */

/* ---- handles ---- */

ehis_err kafka_consumer_open(struct kafka *k, enum kafka_lane lane, struct kafka_consumer **out, struct ehis_why *why)
{
    struct kafka_consumer *c = calloc(1, sizeof *c);
    if (!c)
        return EHIS_E_NO_MEMORY;
    node_init(&c->dirty);
    c->drop = rd_kafka_topic_partition_list_new(0);
    ehis_err err = table_init(&c->watches, KAFKA_TABLE_HEADS, k->seed);
    if (err == EHIS_OK)
        err = kafka_handle_open(k, lane, false, &c->handle, why);
    if (err != EHIS_OK) {
        kafka_consumer_free(c);
        return err;
    }
    *out = c;
    return EHIS_OK;
}

void kafka_consumer_free(void *arg)
{
    struct kafka_consumer *c = arg;
    if (!c)
        return;
    if (c->handle.queue)
        rd_kafka_queue_destroy(c->handle.queue);
    if (c->handle.rk) /* there is no group to leave; closing may hang (2.6.1, and LeaveGroup without a coordinator 2.14.2) */
        rd_kafka_destroy_flags(c->handle.rk, RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE);
    rd_kafka_topic_partition_list_destroy(c->drop);
    table_fini(&c->watches);
    free(c);
}

/* ---- watches ---- */

static uint64_t number_hash(struct kafka *k, uint32_t number) { return table_hash(&k->watches, &number, sizeof number); }

static struct watch *find(struct kafka *k, uint32_t number)
{
    for (struct table_node *n = *table_head(&k->watches, number_hash(k, number)); n; n = n->next) {
        struct watch *w = container_of(n, struct watch, by_number);
        if (w->number == number)
            return w;
    }
    return NULL;
}

static struct watch *find_at(struct kafka_consumer *c, const char *topic, int32_t partition)
{
    struct span name = span_str(topic);
    for (struct table_node *n = *table_head(&c->watches, table_hash(&c->watches, name.p, name.len)); n; n = n->next) {
        struct watch *w = container_of(n, struct watch, by_name);
        if (w->partition == partition && span_eq(span_of(w->name, w->name_len), name))
            return w;
    }
    return NULL;
}

static void want(struct kafka *k, struct watch *w)
{
    struct kafka_consumer *c = k->consumers[w->lane];
    if (!c || w->is_assigned || w->is_paused || w->is_broken || w->is_asked || node_is_linked(&w->in_dirty))
        return;
    if (w->next < 0) {
        w->is_asked = kafka_begin_get(k, w->name, w->partition, w->number) == EHIS_OK;
        c->handle.is_broken |= !w->is_asked; /* no memory: made anew, with all watches */
        return;
    }
    list_add(&c->dirty, &w->in_dirty);
    kafka_end_turn(k);
}

static void drop(struct kafka *k, struct watch *w)
{
    struct kafka_consumer *c = k->consumers[w->lane];
    node_remove(&w->in_dirty);
    if (!w->is_assigned)
        return;
    w->is_assigned = false;
    if (c) {
        rd_kafka_topic_partition_list_add(c->drop, w->name, w->partition);
        kafka_end_turn(k);
    }
}

ehis_err kafka_watch(struct kafka *k, enum kafka_lane lane, const char *topic, int32_t partition, int64_t offset, uint32_t number)
{
    struct span name = span_str(topic);
    struct ehis_why why;
    if (lane == KAFKA_LAG && !k->consumers[lane]) {
        EHIS_TRY(kafka_consumer_open(k, lane, &k->consumers[lane], &why));
        kafka_consumer_take_over(k->consumers[lane]);
    }
    struct kafka_consumer *c = k->consumers[lane];
    if (!c)
        return EHIS_E_BUS_FATAL;
    if (find(k, number) || find_at(c, topic, partition))
        return EHIS_E_INVALID;
    struct watch *w = calloc(1, sizeof *w + name.len + 1);
    if (!w)
        return EHIS_E_NO_MEMORY;
    w->number = number;
    w->lane = lane;
    w->partition = partition;
    w->next = offset;
    w->name_len = name.len;
    memcpy(w->name, topic, name.len);
    table_add(&k->watches, number_hash(k, number), &w->by_number);
    table_add(&c->watches, table_hash(&c->watches, name.p, name.len), &w->by_name);
    list_add(&k->watch_list, &w->in_list);
    want(k, w);
    return EHIS_OK;
}

static void watch_free(struct kafka *k, struct watch *w)
{
    table_remove(&k->watches, number_hash(k, w->number), &w->by_number);
    node_remove(&w->in_list);
    node_remove(&w->in_dirty);
    free(w);
}

void kafka_unwatch(struct kafka *k, uint32_t number)
{
    struct watch *w = find(k, number);
    if (!w)
        return;
    struct kafka_consumer *c = k->consumers[w->lane];
    drop(k, w);
    if (c)
        table_remove(&c->watches, table_hash(&c->watches, w->name, w->name_len), &w->by_name);
    watch_free(k, w);
}

void kafka_pause(struct kafka *k, uint32_t number, bool is_paused)
{
    struct watch *w = find(k, number);
    if (!w || w->is_paused == is_paused)
        return;
    w->is_paused = is_paused;
    if (is_paused)
        drop(k, w);
    else
        want(k, w);
}

void kafka_watches_free(struct kafka *k)
{
    while (k->watch_list.next && !list_is_empty(&k->watch_list))
        watch_free(k, container_of(k->watch_list.next, struct watch, in_list));
    table_fini(&k->watches);
}

void kafka_consumer_take_over(struct kafka_consumer *c)
{
    struct kafka *k = c->handle.kafka;
    for (struct node *n = k->watch_list.next; n != &k->watch_list; n = n->next) {
        struct watch *w = container_of(n, struct watch, in_list);
        if (w->lane != c->handle.lane)
            continue;
        node_remove(&w->in_dirty);
        w->is_assigned = false;
        table_add(&c->watches, table_hash(&c->watches, w->name, w->name_len), &w->by_name);
        want(k, w);
    }
}

static void broken(struct kafka *k, struct watch *w, ehis_err err, const char *text)
{
    uint32_t number = w->number;
    drop(k, w);
    w->is_broken = true;
    k->calls.on_watch_error(k->calls.ctx, number, err, text);
}

void kafka_begin_found(struct kafka *k, uint32_t watch, ehis_err err, int64_t offset)
{
    struct watch *w = find(k, watch);
    if (!w || !w->is_asked)
        return;
    w->is_asked = false;
    if (err != EHIS_OK || offset < 0) {
        broken(k, w, err != EHIS_OK ? err : EHIS_E_BUS_TIMEOUT, "where it begins");
        return;
    }
    w->next = offset;
    want(k, w);
}

/* ---- nudges ---- */

void kafka_nudges_found(struct kafka *k, ehis_err err, const struct kafka_range *ranges, size_t count)
{
    k->is_nudge_asked = false;
    k->nudges = err == EHIS_OK ? NUDGES_FOUND : NUDGES_AWAY;
    if (err != EHIS_OK)
        kafka_nudge_failed(k, err);
    for (k->nudge_count = 0; err == EHIS_OK && k->nudge_count < BUS_NUDGE_PARTITIONS && (size_t)k->nudge_count < count; k->nudge_count++)
        k->nudge_ends[k->nudge_count] = ranges[k->nudge_count].end;
    kafka_end_turn(k);
}

void kafka_consumers_tick(struct kafka *k, int64_t now_ms)
{
    if (k->nudges == NUDGES_FOUND || k->is_nudge_asked || (k->nudge_asked_ms && now_ms - k->nudge_asked_ms < NUDGES_AGAIN_MS))
        return;
    k->nudge_asked_ms = now_ms;
    k->is_nudge_asked = kafka_nudges_get(k) == EHIS_OK;
}

/* Made anew, or cut: assigned anew when it is known where it ends. */
static void nudges_lost(struct kafka_consumer *c, ehis_err err)
{
    struct kafka *k = c->handle.kafka;
    kafka_nudge_failed(k, err);
    k->nudges = NUDGES_AWAY;
    k->nudge_asked_ms = err == EHIS_E_BUS_POSITION ? 0 : clock_mono_ms(&clock_system); /* made anew: at once */
    while (c->hears)
        rd_kafka_topic_partition_list_add(c->drop, k->nudge, --c->hears);
    kafka_end_turn(k);
}

/* ---- assignments ---- */

static void handle_failed(struct kafka_consumer *c, rd_kafka_error_t *error)
{
    log_line(LOG_ERROR, "kafka.assign", F_ERR(EHIS_E_BUS_FATAL), F_STR("text", rd_kafka_error_string(error)));
    rd_kafka_error_destroy(error);
    c->handle.is_broken = true; /* what is assigned is not what we think: made anew, with all watches */
}

/* One call for all that changed in a turn: each waits for librdkafka's main thread (microseconds; it never waits for the network). True: some are new. */
static bool assign(struct kafka_consumer *c)
{
    rd_kafka_error_t *error = NULL;
    if (c->drop->cnt) {
        error = rd_kafka_incremental_unassign(c->handle.rk, c->drop);
        rd_kafka_topic_partition_list_destroy(c->drop);
        c->drop = rd_kafka_topic_partition_list_new(0);
    }
    if (error) {
        handle_failed(c, error);
        return false;
    }
    const struct kafka *k = c->handle.kafka;
    const bool is_to_hear = c->watches.count && !c->hears && k->nudges == NUDGES_FOUND;
    if (k->nudges == NUDGES_UNASKED || (list_is_empty(&c->dirty) && !is_to_hear))
        return false;
    rd_kafka_topic_partition_list_t *add = rd_kafka_topic_partition_list_new(0);
    for (; is_to_hear && c->hears < k->nudge_count; c->hears++)
        rd_kafka_topic_partition_list_add(add, k->nudge, c->hears)->offset = k->nudge_ends[c->hears];
    while (!list_is_empty(&c->dirty)) {
        struct watch *w = container_of(c->dirty.next, struct watch, in_dirty);
        node_remove(&w->in_dirty);
        w->is_assigned = true;
        rd_kafka_topic_partition_list_add(add, w->name, w->partition)->offset = w->next;
    }
    error = rd_kafka_incremental_assign(c->handle.rk, add);
    if (error)
        handle_failed(c, error);
    rd_kafka_topic_partition_list_destroy(add);
    return true;
}

/* ---- what comes ---- */

void kafka_on_partition_error(struct kafka_consumer *c, const char *topic, int32_t partition, rd_kafka_resp_err_t code, const char *text)
{
    struct kafka *k = c->handle.kafka;
    struct watch *w = find_at(c, topic, partition);
    ehis_err err = kafka_err(code);
    if (c->hears && strcmp(topic, k->nudge) == 0)
        nudges_lost(c, err);
    if (!w || !w->is_assigned)
        return;
    if (err == EHIS_E_BUS_NO_TOPIC || err == EHIS_E_BUS_NOT_ALLOWED || err == EHIS_E_BUS_POSITION)
        broken(k, w, err, text);
    else /* librdkafka goes on by itself */
        log_line(LOG_WARN, "kafka.partition", F_ERR(err), F_STR("topic", topic), F_STR("text", text));
}

void kafka_on_partition_end(struct kafka_consumer *c, const char *topic, int32_t partition, int64_t offset)
{
    struct watch *w = find_at(c, topic, partition);
    if (!w || !w->is_assigned || c->handle.is_broken || offset < w->next)
        return;
    w->next = offset;
    c->handle.kafka->calls.on_end(c->handle.kafka->calls.ctx, w->number, offset);
}

void kafka_on_message(struct kafka_consumer *c, const rd_kafka_message_t *m)
{
    struct kafka *k = c->handle.kafka;
    const char *topic = m->rkt ? rd_kafka_topic_name(m->rkt) : "";
    rd_kafka_timestamp_type_t type;
    if (m->err != RD_KAFKA_RESP_ERR_NO_ERROR) {
        kafka_on_partition_error(c, topic, m->partition, m->err, rd_kafka_message_errstr(m));
        return;
    }
    struct watch *w = find_at(c, topic, m->partition);
    if (!w || !w->is_assigned || c->handle.is_broken || m->offset < w->next)
        return;
    /* A copy: a record that waits for its acknowledgement would keep the whole batch (up to 1 MiB) that it came in. */
    struct hold *hold = malloc(sizeof *hold + m->len + m->key_len);
    if (!hold) {
        c->handle.is_broken = true; /* the position stands: read again */
        return;
    }
    uint8_t *copy = hold->bytes;
    hold->count = 1;
    w->next = m->offset + 1;
    if (m->len)
        memcpy(copy, m->payload, m->len);
    if (m->key_len)
        memcpy(copy + m->len, m->key, m->key_len);
    int64_t ms = rd_kafka_message_timestamp(m, &type);
    struct kafka_record r = {.watch = w->number, .partition = m->partition, .offset = m->offset, .broker_ms = type == RD_KAFKA_TIMESTAMP_LOG_APPEND_TIME ? ms : -1,
        .key = span_of(copy + m->len, m->key_len), .value = span_of(copy, m->len), .hold = hold};
    k->status.received++;
    k->status.held_records++;
    kafka_heard(k);
    k->calls.on_record(k->calls.ctx, &r);
}

void kafka_hold(struct kafka *k, void *record)
{
    struct hold *hold = record;
    k->status.held_records++;
    hold->count++;
}

void kafka_release(struct kafka *k, void *record)
{
    struct hold *hold = record;
    if (!hold)
        return;
    k->status.held_records--;
    if (--hold->count == 0)
        free(hold);
}

/* ---- commits ---- */

ehis_err kafka_commit(struct kafka *k, const char *topic, int32_t partition, int64_t offset, struct span metadata)
{
    void *copy = metadata.len ? malloc(metadata.len) : NULL; /* librdkafka frees it with the list */
    if (metadata.len && !copy)
        return EHIS_E_NO_MEMORY;
    if (!k->commits)
        k->commits = rd_kafka_topic_partition_list_new(0);
    rd_kafka_topic_partition_t *at = rd_kafka_topic_partition_list_add(k->commits, topic, partition);
    at->offset = offset;
    if (copy) {
        memcpy(copy, metadata.p, metadata.len);
        at->metadata = copy;
        at->metadata_size = metadata.len;
    }
    kafka_end_turn(k);
    return EHIS_OK;
}

void kafka_consumers_apply(struct kafka *k)
{
    struct kafka_consumer *c = k->consumers[KAFKA_BULK];
    bool is_new = false;
    for (int lane = 0; lane < KAFKA_LANES; lane++)
        if (k->consumers[lane] && assign(k->consumers[lane]))
            is_new = true;
    if (is_new) {
        k->nudge_until_ms = clock_mono_ms(&clock_system) + NUDGED_MS;
        kafka_nudge(k);
    }
    if (!k->commits || !c)
        return;
    rd_kafka_resp_err_t err = rd_kafka_commit_queue(c->handle.rk, k->commits, c->handle.queue, NULL, NULL);
    if (err == RD_KAFKA_RESP_ERR_NO_ERROR)
        k->commits_open++;
    else
        log_line(LOG_WARN, "kafka.commit", F_ERR(kafka_err(err)), F_STR("text", rd_kafka_err2str(err)));
    rd_kafka_topic_partition_list_destroy(k->commits);
    k->commits = NULL;
}

void kafka_commits_finish(struct kafka *k)
{
    struct kafka_consumer *c = k->consumers[KAFKA_BULK];
    kafka_consumers_apply(k);
    for (int64_t until = clock_mono_ms(&clock_system) + 300; c && k->commits_open && k->status.state == EHIS_OK && clock_mono_ms(&clock_system) < until;) {
        rd_kafka_event_t *e = rd_kafka_queue_poll(c->handle.queue, 20);
        if (e && rd_kafka_event_type(e) == RD_KAFKA_EVENT_OFFSET_COMMIT)
            k->commits_open--;
        if (e)
            rd_kafka_event_destroy(e);
    }
}
