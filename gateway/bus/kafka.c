/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
#include "gateway/bus/kafka_priv.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>
#include "base/log.h"

#define SAFETY_US 200000      /* librdkafka writes once for empty -> not empty, and some events are drained unseen (rust-rdkafka #665): look again */
#define REBUILD_EVERY_MS 1000
#define PING_EVERY_MS 500     /* while no broker answers */
#define PING_QUIET_MS 5000    /* after so long without any word from one */
#define LINES_EVERY_TICK 4

static int64_t now_ms(void) { return clock_mono_ms(&clock_system); }

ehis_err kafka_err(rd_kafka_resp_err_t err)
{
    switch (err) {
    case RD_KAFKA_RESP_ERR_NO_ERROR: return EHIS_OK;
    case RD_KAFKA_RESP_ERR__SSL:
    case RD_KAFKA_RESP_ERR__AUTHENTICATION: return EHIS_E_BUS_TLS;
    case RD_KAFKA_RESP_ERR__TRANSPORT:
    case RD_KAFKA_RESP_ERR__RESOLVE:
    case RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN:
    case RD_KAFKA_RESP_ERR__WAIT_COORD:
    case RD_KAFKA_RESP_ERR_COORDINATOR_NOT_AVAILABLE:
    case RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE:
    case RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS:
    case RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS_AFTER_APPEND: return EHIS_E_BUS_UNREACHABLE;
    case RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED:
    case RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED:
    case RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED: return EHIS_E_BUS_NOT_ALLOWED;
    case RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC:
    case RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION:
    case RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART: return EHIS_E_BUS_NO_TOPIC;
    case RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE:
    case RD_KAFKA_RESP_ERR_RECORD_LIST_TOO_LARGE: return EHIS_E_BUS_MESSAGE_BYTES; /* what is beyond our own bound is not even tried */
    case RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET:
    case RD_KAFKA_RESP_ERR_OFFSET_OUT_OF_RANGE: return EHIS_E_BUS_POSITION;
    case RD_KAFKA_RESP_ERR__FATAL:
    case RD_KAFKA_RESP_ERR__PURGE_QUEUE:
    case RD_KAFKA_RESP_ERR__PURGE_INFLIGHT:
    case RD_KAFKA_RESP_ERR__DESTROY:
    case RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER: return EHIS_E_BUS_FATAL;
    default: return EHIS_E_BUS_TIMEOUT;
    }
}

/* ---- settings ---- */

static const char *const for_all[][2] = { /* beside what bus_kafka_conf says */
    {"socket.timeout.ms", "10000"}, /* a broker that stands still is left after so long */
    {"socket.connection.setup.timeout.ms", "5000"},
    {"topic.metadata.refresh.interval.ms", "60000"},
    {"topic.metadata.propagation.max.ms", "3000"}, /* a topic that is not there is said so soon */
    {"log.connection.close", "false"},
};
static const char *const for_producers[][2] = {
    /* #3225: until 2.8.0 only the leaf of the certificate file is sent; brokers know the intermediate by themselves (deploy/kafka). */
    {"enable.idempotence", "true"}, /* and with it acks=all, order, at most five requests in flight */
    {"message.max.bytes", "1048588"}, /* the broker's default; 1,000,000 bytes of value fit with key and frame */
    {"partitioner", "murmur2_random"},
    {"request.timeout.ms", "5000"},
};
static const char *const for_consumers[][2] = {
    {"enable.auto.commit", "false"},
    {"enable.auto.offset.store", "false"},
    {"auto.offset.reset", "error"}, /* neither skip nor read again without a word */
    {"allow.auto.create.topics", "false"}, /* a topic is the deployment's to make */
    {"check.crcs", "true"},
    {"fetch.message.max.bytes", "524288"},
    {"fetch.max.bytes", "2097152"}, /* as compressed: 44 MiB may come of it */
    {"queued.max.messages.kbytes", "16384"},
    {"queued.min.messages", "1000"},
    {"isolation.level", "read_uncommitted"}, /* no gateway writes in transactions: one that somebody leaves open would hide all that comes behind it */
};

static ehis_err set(rd_kafka_conf_t *c, const char *name, const char *value, struct ehis_why *why)
{
    char text[256];
    if (rd_kafka_conf_set(c, name, value, text, sizeof text) != RD_KAFKA_CONF_OK)
        return ehis_fail(why, EHIS_E_BUS_CLIENT, "%s: %s", name, text);
    return EHIS_OK;
}

static ehis_err set_number(rd_kafka_conf_t *c, const char *name, uint64_t value, struct ehis_why *why)
{
    char text[24];
    snprintf(text, sizeof text, "%llu", (unsigned long long)value);
    return set(c, name, text, why);
}

static ehis_err set_all(rd_kafka_conf_t *c, const char *const table[][2], size_t count, struct ehis_why *why)
{
    for (size_t i = 0; i < count; i++)
        EHIS_TRY(set(c, table[i][0], table[i][1], why));
    return EHIS_OK;
}

ehis_err kafka_conf(struct kafka *k, rd_kafka_conf_t **out, struct ehis_why *why)
{
    rd_kafka_conf_t *c = NULL;
    EHIS_TRY(bus_kafka_conf(k->config.options, k->client, &c, why));
    ehis_err err = set_all(c, for_all, sizeof for_all / sizeof *for_all, why);
    if (err == EHIS_OK && k->config.is_plain)
        err = set(c, "security.protocol", "plaintext", why);
    if (err != EHIS_OK) {
        rd_kafka_conf_destroy(c);
        return err;
    }
    *out = c;
    return EHIS_OK;
}

static ehis_err conf_fill(struct kafka *k, enum kafka_lane lane, bool is_producer, rd_kafka_conf_t *c, struct ehis_why *why)
{
    char linger[24];
    EHIS_TRY(set(c, "log.queue", "true", why));
    rd_kafka_conf_set_events(c, RD_KAFKA_EVENT_DR | RD_KAFKA_EVENT_FETCH | RD_KAFKA_EVENT_ERROR | RD_KAFKA_EVENT_OFFSET_COMMIT | RD_KAFKA_EVENT_LOG);
    if (!is_producer) {
        EHIS_TRY(set_all(c, for_consumers, sizeof for_consumers / sizeof *for_consumers, why));
        EHIS_TRY(set(c, "group.id", k->group, why));
        EHIS_TRY(set(c, "enable.partition.eof", lane == KAFKA_BULK || lane == KAFKA_CONTROL ? "true" : "false", why)); /* an event a record: not where a caller waits */
        /* Every fetch names every partition, and the answer is a TLS record for each: with a thousand inboxes some 5 ms of CPU here, though nothing
         * comes. A partition that is added waits until the fetch that is under way at its broker returns: kafka_nudge. */
        return set(c, "fetch.wait.max.ms", "2000", why);
    }
    EHIS_TRY(set_all(c, for_producers, sizeof for_producers / sizeof *for_producers, why));
    snprintf(linger, sizeof linger, "%u.%03u", k->config.bulk_linger_us / 1000, k->config.bulk_linger_us % 1000);
    EHIS_TRY(set(c, "linger.ms", lane == KAFKA_FAST ? "0" : linger, why));
    /* What is sealed does not shrink; names, the paths of trees and records of a batch do, to half of all. And what is compressed goes into TLS as one
     * piece, where librdkafka otherwise makes a record of TLS, and a write, of most messages and one more of the few bytes between two. */
    EHIS_TRY(set(c, "compression.codec", BUS_CODEC, why));
    EHIS_TRY(set(c, "message.timeout.ms", lane == KAFKA_FAST ? "8000" : "120000", why));
    EHIS_TRY(set_number(c, "queue.buffering.max.messages", k->config.queue_max_count, why));
    return set_number(c, "queue.buffering.max.kbytes", k->config.queue_max_bytes / 1024 + 1024, why);
}

ehis_err kafka_handle_open(struct kafka *k, enum kafka_lane lane, bool is_producer, struct kafka_handle *h, struct ehis_why *why)
{
    static const uint64_t one = 1;
    char text[256];
    rd_kafka_conf_t *c = NULL;
    EHIS_TRY(kafka_conf(k, &c, why));
    ehis_err err = conf_fill(k, lane, is_producer, c, why);
    if (err == EHIS_OK) {
        h->rk = rd_kafka_new(is_producer ? RD_KAFKA_PRODUCER : RD_KAFKA_CONSUMER, c, text, sizeof text);
        if (!h->rk)
            err = ehis_fail(why, EHIS_E_BUS_CLIENT, "%s (bus.kafka.ca, certificate or key)", text);
    }
    if (err != EHIS_OK) {
        rd_kafka_conf_destroy(c);
        return err;
    }
    h->kafka = k;
    h->lane = lane;
    if (!is_producer)
        rd_kafka_poll_set_consumer(h->rk);
    h->queue = is_producer ? rd_kafka_queue_get_main(h->rk) : rd_kafka_queue_get_consumer(h->rk);
    rd_kafka_set_log_queue(h->rk, h->queue);
    rd_kafka_queue_io_event_enable(h->queue, k->wake_fd, &one, sizeof one);
    return EHIS_OK;
}

/* ---- state ---- */

void kafka_set_state(struct kafka *k, ehis_err state, const char *text)
{
    if (k->status.state == state || (state == EHIS_E_BUS_UNREACHABLE && k->status.state == EHIS_E_BUS_TLS))
        return; /* after a failed handshake "all brokers are down" is no news */
    k->status.state = state;
    k->calls.on_state(k->calls.ctx, state, text);
}

void kafka_heard(struct kafka *k)
{
    k->heard_ms = now_ms();
    kafka_set_state(k, EHIS_OK, "");
}

/* ---- handles that died (#4438: an idempotent producer that lost its sequence can only be made anew) ---- */

static void rebuild_producer(struct kafka *k, enum kafka_lane lane)
{
    struct kafka_producer *old = k->producers[lane];
    struct ehis_why why = {{0}};
    k->producers[lane] = NULL;
    if (kafka_producer_open(k, lane, &k->producers[lane], &why) != EHIS_OK)
        log_line(LOG_ERROR, "kafka.rebuild", F_ERR(EHIS_E_BUS_FATAL), F_STR("text", why.text));
    if (!old)
        return;
    if (k->producers[lane] && old->idle_ticks >= old->idle_max)
        k->producers[lane]->idle_max = old->idle_max < KAFKA_IDLE_TICKS_MAX ? 2 * old->idle_max : old->idle_max;
    kafka_producer_fail_all(old, EHIS_E_BUS_FATAL); /* after the new one is there: what is sent again goes to it */
    kafka_retire(k->retired, kafka_producer_free, old);
}

static void rebuild_consumer(struct kafka *k, enum kafka_lane lane)
{
    struct kafka_consumer *old = k->consumers[lane];
    struct ehis_why why = {{0}};
    k->consumers[lane] = NULL;
    if (lane == KAFKA_BULK)
        k->commits_open = 0;
    kafka_retire(k->retired, kafka_consumer_free, old);
    if (kafka_consumer_open(k, lane, &k->consumers[lane], &why) != EHIS_OK)
        log_line(LOG_ERROR, "kafka.rebuild", F_ERR(EHIS_E_BUS_FATAL), F_STR("text", why.text));
    else
        kafka_consumer_take_over(k->consumers[lane]);
}

static void rebuild(struct kafka *k)
{
    for (int lane = 0; lane < KAFKA_LANES; lane++) {
        bool producer = lane < KAFKA_WRITES && (!k->producers[lane] || k->producers[lane]->handle.is_broken);
        bool consumer = k->consumers[lane] ? k->consumers[lane]->handle.is_broken : lane != KAFKA_LAG;
        if ((!producer && !consumer) || now_ms() - k->rebuilt_ms < REBUILD_EVERY_MS)
            continue;
        k->rebuilt_ms = now_ms();
        k->status.rebuilt++;
        kafka_set_state(k, EHIS_E_BUS_FATAL, "a handle is made anew");
        if (producer)
            rebuild_producer(k, (enum kafka_lane)lane);
        if (consumer)
            rebuild_consumer(k, (enum kafka_lane)lane);
    }
}

ehis_err kafka_renew(struct kafka *k)
{
    for (int lane = 0; lane < KAFKA_LANES; lane++) {
        if (k->producers[lane])
            rebuild_producer(k, (enum kafka_lane)lane);
        if (k->consumers[lane])
            rebuild_consumer(k, (enum kafka_lane)lane);
    }
    k->heard_ms = 0; /* do they answer? */
    return kafka_asks_renew(k); /* the others are tried again by themselves */
}

/* ---- events ---- */

static void on_error(struct kafka_handle *h, struct kafka_consumer *c, rd_kafka_event_t *e)
{
    struct kafka *k = h->kafka;
    rd_kafka_resp_err_t code = rd_kafka_event_error(e);
    const char *text = rd_kafka_event_error_string(e);
    rd_kafka_topic_partition_t *at = rd_kafka_event_topic_partition(e);
    if (rd_kafka_event_error_is_fatal(e)) {
        log_line(LOG_ERROR, "kafka.fatal", F_ERR(EHIS_E_BUS_FATAL), F_STR("text", text));
        h->is_broken = true;
    } else if (at && c && code == RD_KAFKA_RESP_ERR__PARTITION_EOF)
        kafka_on_partition_end(c, at->topic, at->partition, at->offset);
    else if (at && c)
        kafka_on_partition_error(c, at->topic, at->partition, code, text);
    else if (code == RD_KAFKA_RESP_ERR__SSL || (code == RD_KAFKA_RESP_ERR__TRANSPORT && strstr(text, "SSL routines")))
        /* A broker that died looks the same, but for the words (until 2.2.0). Its alert to our certificate comes behind our part of the handshake. */
        kafka_set_state(k, strstr(text, "certificate") || strstr(text, "alert") ? EHIS_E_BUS_TLS : EHIS_E_BUS_UNREACHABLE, text);
    else if (code == RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN) /* of a single broker or topic: those who need it learn it */
        kafka_set_state(k, EHIS_E_BUS_UNREACHABLE, text);
    if (at)
        rd_kafka_topic_partition_destroy(at);
}

static void on_log(struct kafka *k, rd_kafka_event_t *e)
{
    const char *facility, *text;
    int level;
    if (rd_kafka_event_log(e, &facility, &text, &level) != 0 || k->lines_left == 0)
        return;
    k->lines_left--;
    log_line(level <= 4 ? LOG_WARN : LOG_INFO, "kafka.log", F_STR("facility", facility), F_STR("text", text));
}

/* How much of the turn's work it was. */
static size_t on_event(struct kafka_handle *h, struct kafka_producer *p, struct kafka_consumer *c, rd_kafka_event_t *e)
{
    const rd_kafka_message_t *m;
    size_t count = 1;
    switch (rd_kafka_event_type(e)) {
    case RD_KAFKA_EVENT_DR:
        for (count = 0; (m = rd_kafka_event_message_next(e)); count++)
            kafka_on_delivery(p, m);
        break;
    case RD_KAFKA_EVENT_FETCH:
        while ((m = rd_kafka_event_message_next(e)))
            kafka_on_message(c, m);
        break;
    case RD_KAFKA_EVENT_ERROR: on_error(h, c, e); break;
    case RD_KAFKA_EVENT_LOG: on_log(h->kafka, e); break;
    case RD_KAFKA_EVENT_OFFSET_COMMIT:
        if (h->kafka->commits_open)
            h->kafka->commits_open--;
        if (rd_kafka_event_error(e) == RD_KAFKA_RESP_ERR_NO_ERROR)
            kafka_heard(h->kafka);
        else if (rd_kafka_event_error(e) != RD_KAFKA_RESP_ERR__NO_OFFSET)
            log_line(LOG_WARN, "kafka.commit", F_ERR(kafka_err(rd_kafka_event_error(e))), F_STR("text", rd_kafka_event_error_string(e)));
        break;
    default: break;
    }
    rd_kafka_event_destroy(e);
    return count;
}

/* False: more is left than one turn may do. No wake-up comes for it: the queue never became empty. */
static bool drain(struct kafka_handle *h, struct kafka_producer *p, struct kafka_consumer *c)
{
    for (size_t done = 0; done < KAFKA_TURN_EVENTS;) {
        rd_kafka_event_t *e = rd_kafka_queue_poll(h->queue, 0);
        if (!e)
            return true;
        done += on_event(h, p, c, e);
    }
    return false;
}

/* What goes by time, however often it is woken or not. */
static void tick(struct kafka *k, int64_t now)
{
    k->ticked_ms = now;
    k->lines_left = LINES_EVERY_TICK;
    if (now < k->nudge_until_ms)
        kafka_nudge(k);
    kafka_consumers_tick(k, now);
    for (int lane = 0; lane < KAFKA_LANES && now - k->heard_ms < PING_QUIET_MS + PING_EVERY_MS; lane++)
        if (k->producers[lane])
            kafka_producer_tick(k->producers[lane]);
    /* Nothing tells that a broker is back, or that connections died of which nobody asks anything: ask. */
    if (!k->is_pinging && now - k->pinged_ms >= PING_EVERY_MS && (k->status.state != EHIS_OK || now - k->heard_ms >= PING_QUIET_MS)) {
        k->pinged_ms = now;
        kafka_ping(k);
    }
}

static void turn(void *arg)
{
    struct kafka *k = arg;
    bool is_empty = true;
    for (int lane = 0; lane < KAFKA_LANES; lane++) {
        struct kafka_producer *p = k->producers[lane];
        struct kafka_consumer *c = k->consumers[lane];
        if (p)
            is_empty = drain(&p->handle, p, NULL) && is_empty;
        if (c)
            is_empty = drain(&c->handle, NULL, c) && is_empty;
    }
    kafka_on_answers(k);
    if (now_ms() - k->ticked_ms >= SAFETY_US / 1000 - 1)
        tick(k, now_ms());
    rebuild(k);
    loop_timer_set(k->safety, is_empty ? SAFETY_US : 0);
}

static void on_wake(void *arg, int what)
{
    struct kafka *k = arg;
    uint64_t count;
    (void)what;
    while (read(k->wake_fd, &count, sizeof count) < 0 && errno == EINTR)
        ;
    turn(k);
}

static void on_turn_end(void *arg) { kafka_consumers_apply(arg); }
void kafka_end_turn(struct kafka *k) { loop_timer_set(k->turn_end, 0); }

/* ---- life ---- */

static ehis_err start(struct kafka *k, struct ehis_why *why)
{
    k->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (k->wake_fd < 0)
        return EHIS_E_IO;
    random_fill(&random_system, k->seed, sizeof k->seed);
    EHIS_TRY(table_init(&k->watches, KAFKA_TABLE_HEADS, k->seed));
    EHIS_TRY(loop_io_new(k->loop, k->wake_fd, on_wake, k, &k->io));
    EHIS_TRY(loop_timer_new(k->loop, turn, k, &k->safety));
    EHIS_TRY(loop_timer_new(k->loop, on_turn_end, k, &k->turn_end));
    for (int lane = 0; lane < KAFKA_LAG; lane++) {
        if (lane < KAFKA_WRITES)
            EHIS_TRY(kafka_producer_open(k, (enum kafka_lane)lane, &k->producers[lane], why));
        EHIS_TRY(kafka_consumer_open(k, (enum kafka_lane)lane, &k->consumers[lane], why));
    }
    EHIS_TRY(kafka_asks_start(k, why));
    loop_io_want(k->io, LOOP_READ);
    loop_timer_set(k->safety, 0);
    return EHIS_OK;
}

ehis_err kafka_new(struct loop *loop, const struct kafka_config *config, const struct kafka_calls *calls, struct kafka **out, struct ehis_why *why)
{
    struct kafka *k = calloc(1, sizeof *k);
    if (!k)
        return EHIS_E_NO_MEMORY;
    k->loop = loop;
    k->calls = *calls;
    k->wake_fd = -1;
    k->config = *config;
    k->client = strdup(config->client);
    bus_group_name(config->options->prefix, k->group);
    bus_topic_name(config->options->prefix, TOPIC_CONTROL_REGISTRY, span_of(NULL, 0), span_of(NULL, 0), k->nudge);
    k->status.state = EHIS_E_BUS_UNREACHABLE; /* until one answers */
    node_init(&k->watch_list);
    ehis_err err = k->client ? kafka_retired_new(&k->retired) : EHIS_E_NO_MEMORY;
    if (err == EHIS_OK)
        err = start(k, why);
    if (err != EHIS_OK) {
        kafka_free(k);
        return err;
    }
    *out = k;
    return EHIS_OK;
}

void kafka_free(struct kafka *k)
{
    if (!k)
        return;
    kafka_commits_finish(k);
    kafka_asks_stop(k);
    for (int lane = 0; lane < KAFKA_LANES; lane++) {
        kafka_retire(k->retired, kafka_producer_free, k->producers[lane]);
        kafka_retire(k->retired, kafka_consumer_free, k->consumers[lane]);
    }
    bool is_stuck = !kafka_retired_free(k->retired);
    kafka_watches_free(k);
    if (k->commits)
        rd_kafka_topic_partition_list_destroy(k->commits);
    loop_io_free(k->io);
    loop_timer_free(k->safety);
    loop_timer_free(k->turn_end);
    if (k->wake_fd >= 0 && !is_stuck) /* what is stuck may write there */
        close(k->wake_fd);
    free(k->client);
    free(k);
}

void kafka_leave(struct kafka *k) { kafka_commits_finish(k); }

void kafka_status(const struct kafka *k, struct kafka_status *out) { *out = k->status; }
