/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* Shared by kafka.c (settings, queues, state), kafka_producer.c (sends), kafka_asks.c (committed positions, begins and ends of logs) and kafka_consumer.c (watches, commits). */
#pragma once
#include "gateway/bus/kafka.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <librdkafka/rdkafka.h>
#include "gateway/bus/kafka_retired.h"
#include "gateway/exchange/table.h"

#define KAFKA_LANES 4
#define KAFKA_WRITES 2 /* lanes that do: the first */
#define KAFKA_TOPICS_MAX 16384 /* of a handle */
#define KAFKA_TURN_EVENTS 256  /* of a handle in one turn of the loop */
#define KAFKA_TABLE_HEADS 4096
#define KAFKA_IDLE_TICKS_MAX 1600 /* of kafka_producer.idle_max, about: 5 minutes */

/* A librdkafka instance and the queue that everything of it ends in. A queue for each handle, not one for all: a queue belongs to the
 * instance that made it and could not outlive it when that one is made anew. They share the eventfd. */
struct kafka_handle {
    struct kafka *kafka;
    enum kafka_lane lane;
    rd_kafka_t *rk;
    rd_kafka_queue_t *queue;
    bool is_broken; /* to be made anew at the end of this drain */
};

struct kafka_producer {
    struct kafka_handle handle;
    struct table topics;
    struct node topic_list;
    struct node orphans; /* reported as failed, librdkafka has not given them back */
    size_t unreported;
    unsigned idle_ticks, idle_max; /* of 200 ms with something waiting, a broker that answers, and nothing confirmed; then it is broken */
};

struct kafka_consumer {
    struct kafka_handle handle;
    struct table watches; /* by topic and partition */
    struct node dirty;    /* to be assigned at the end of the turn */
    rd_kafka_topic_partition_list_t *drop; /* to be unassigned then, before */
    int hears;            /* so many partitions of nudges */
};

struct kafka {
    struct loop *loop;
    struct kafka_calls calls;
    struct kafka_config config;
    char *client, group[BUS_PREFIX_MAX_BYTES + 8]; /* nobody ever joins the group: positions are committed under it */
    char nudge[BUS_TOPIC_NAME_MAX_BYTES + 1]; /* control.registry: records without a value, one in each partition, end the fetches that are under way */
    int64_t nudge_until_ms, nudge_said_ms; /* at each tick; that it cannot be written */
    enum { NUDGES_UNASKED, NUDGES_FOUND, NUDGES_AWAY } nudges; /* where its partitions end; until that is known or cannot be, nothing is assigned */
    int64_t nudge_ends[BUS_NUDGE_PARTITIONS], nudge_asked_ms;
    int nudge_count;
    bool is_nudge_asked;
    struct kafka_producer *producers[KAFKA_LANES]; /* NULL: could not be made anew yet, or reads alone */
    struct kafka_consumer *consumers[KAFKA_LANES];
    struct kafka_retired *retired;
    struct table watches; /* by number */
    struct node watch_list;
    rd_kafka_topic_partition_list_t *commits; /* at the end of the turn */
    uint32_t commits_open;                    /* not answered */
    struct kafka_asks *asks;
    struct loop_io *io;
    struct loop_timer *safety, *turn_end;
    int wake_fd;
    uint8_t seed[16];
    int64_t ticked_ms, rebuilt_ms, heard_ms, pinged_ms; /* monotonic */
    bool is_pinging;
    uint32_t lines_left; /* of librdkafka's log until the next tick */
    struct kafka_status status;
};

/* kafka.c */
ehis_err kafka_handle_open(struct kafka *k, enum kafka_lane lane, bool is_producer, struct kafka_handle *h, struct ehis_why *why) EHIS_MUST_USE;
ehis_err kafka_conf(struct kafka *k, rd_kafka_conf_t **out, struct ehis_why *why) EHIS_MUST_USE; /* for every handle */
ehis_err kafka_err(rd_kafka_resp_err_t err);
void kafka_set_state(struct kafka *k, ehis_err state, const char *text);
void kafka_heard(struct kafka *k);   /* a broker answered */
void kafka_end_turn(struct kafka *k); /* calls kafka_consumers_apply before the loop sleeps */

/* kafka_producer.c */
ehis_err kafka_producer_open(struct kafka *k, enum kafka_lane lane, struct kafka_producer **out, struct ehis_why *why) EHIS_MUST_USE;
void kafka_producer_free(void *p); /* may block: kafka_retire */
void kafka_producer_fail_all(struct kafka_producer *p, ehis_err err); /* p takes no more */
/* What was assigned goes into the next fetch; the one that is under way would wait for its time. */
void kafka_nudge(struct kafka *k);
void kafka_nudge_failed(struct kafka *k, ehis_err err); /* says what of its topic is wrong */
void kafka_on_delivery(struct kafka_producer *p, const rd_kafka_message_t *m);
void kafka_producer_tick(struct kafka_producer *p); /* while a broker answers */

/* kafka_asks.c */
ehis_err kafka_asks_start(struct kafka *k, struct ehis_why *why) EHIS_MUST_USE;
ehis_err kafka_asks_renew(struct kafka *k) EHIS_MUST_USE; /* on error it keeps what it has */
void kafka_asks_stop(struct kafka *k); /* waits for a second at most */
/* Answers: kafka_begin_found, kafka_nudges_found. */
ehis_err kafka_begin_get(struct kafka *k, const char *topic, int32_t partition, uint32_t watch) EHIS_MUST_USE;
ehis_err kafka_nudges_get(struct kafka *k) EHIS_MUST_USE;
void kafka_ping(struct kafka *k);
void kafka_on_answers(struct kafka *k);

/* kafka_consumer.c */
ehis_err kafka_consumer_open(struct kafka *k, enum kafka_lane lane, struct kafka_consumer **out, struct ehis_why *why) EHIS_MUST_USE;
void kafka_consumer_free(void *c); /* may block: kafka_retire */
void kafka_consumer_take_over(struct kafka_consumer *c); /* all watches of its lane, where they stood */
void kafka_consumers_apply(struct kafka *k);
void kafka_begin_found(struct kafka *k, uint32_t watch, ehis_err err, int64_t offset); /* a watch that is gone, or did not ask: nothing */
void kafka_nudges_found(struct kafka *k, ehis_err err, const struct kafka_range *ranges, size_t count); /* borrows ranges for the call */
void kafka_consumers_tick(struct kafka *k, int64_t now_ms); /* monotonic; asks where the nudges end, at the start and each 10 s while that is not known */
void kafka_on_message(struct kafka_consumer *c, const rd_kafka_message_t *m);
void kafka_on_partition_end(struct kafka_consumer *c, const char *topic, int32_t partition, int64_t offset);
void kafka_on_partition_error(struct kafka_consumer *c, const char *topic, int32_t partition, rd_kafka_resp_err_t err, const char *text);
void kafka_commits_finish(struct kafka *k); /* the last ones, so that little is read twice after a restart; at most 300 ms */
void kafka_watches_free(struct kafka *k);
