/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* Chunks on the topic `blob` (SPEC 18.6), by two handles that the blob thread alone uses and waits for: no inbox stands behind a large body. A record is
 * found by its offset; whether it is the right one, its leaf says. */
#include "gateway/bus/blob.h"

#include <librdkafka/rdkafka.h>
#include <stdatomic.h>
#include <stdlib.h>
#include "base/log.h"
#include "gateway/bus/cluster.h"
#include "gateway/bus/kafka_priv.h"

#define WAIT_MS 10000
#define POLL_MS 100
/* So long a partition must say, whenever it is asked, that what is asked for is not there: a leader that is new learns how far its followers are when they
 * fetch, or leave the in-sync replicas (replica.lag.time.max.ms, 30 s). */
#define LOST_MS 40000
#define ASKED_AGAIN_MS 10000 /* else what it said before says nothing */
#define PARTITIONS_SEEN 64   /* of which that is remembered, by their number's remainder */
#define TELL_EVERY_MS 10000
#define AHEAD_MAX 16  /* records that are read over rather than sought: what is fetched ahead anyway (4 MiB) */

struct missing { int32_t partition; int64_t offset, since_ms, last_ms; }; /* nothing from offset on; since_ms 0: not so */

struct kafka_store {
    struct blob_store store;
    rd_kafka_t *producer, *consumer;
    _Atomic(rd_kafka_t *) fresh_producer, fresh_consumer; /* instead of them, from the next verb on */
    struct kafka_retired *retired;
    const struct bus_kafka_options *options;
    char *gateway, group[BUS_PREFIX_MAX_BYTES + 8];
    int32_t partition; /* that the consumer stands in; -1: in none */
    int64_t next, asked_ms, told_ms;
    bool is_anew; /* assigned since it was asked */
    struct missing missing[PARTITIONS_SEEN];
    char topic[BUS_TOPIC_NAME_MAX_BYTES + 1];
};
struct sent { bool is_done; rd_kafka_resp_err_t err; int32_t partition; int64_t offset; };

static struct kafka_store *store_of(struct blob_store *s) { return (struct kafka_store *)s; }

static int64_t now_ms(void) { return clock_mono_ms(&clock_system); }

static void on_sent(rd_kafka_t *rk, const rd_kafka_message_t *m, void *arg)
{
    struct sent *s = m->_private;
    (void)rk;
    (void)arg;
    *s = (struct sent){true, m->err, m->partition, m->offset};
}

static void handle_free(void *arg)
{
    rd_kafka_t *rk = arg;
    if (rd_kafka_type(rk) == RD_KAFKA_CONSUMER) /* there is no group to leave */
        rd_kafka_destroy_flags(rk, RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE);
    else
        rd_kafka_destroy(rk);
}

static void retire(struct kafka_store *s, rd_kafka_t *rk) { kafka_retire(s->retired, handle_free, rk); }

static bool refresh(struct kafka_store *s, rd_kafka_t **rk, _Atomic(rd_kafka_t *) *fresh)
{
    rd_kafka_t *now = atomic_exchange(fresh, NULL);
    if (!now)
        return false;
    retire(s, *rk);
    *rk = now;
    return true;
}

/* What is wrong with brokers the relay's handles say; of this topic nobody else does. */
static void tell(struct kafka_store *s, rd_kafka_resp_err_t code)
{
    ehis_err err = kafka_err(code);
    if ((err != EHIS_E_BUS_NO_TOPIC && err != EHIS_E_BUS_NOT_ALLOWED && err != EHIS_E_BUS_MESSAGE_BYTES) || (s->told_ms && now_ms() < s->told_ms + TELL_EVERY_MS))
        return;
    s->told_ms = now_ms();
    log_line(LOG_WARN, "bus.topic", F_ERR(err), F_STR("topic", s->topic));
}

static ehis_err on_write(struct blob_store *store, const struct hash *key, bool is_first, struct span bytes, struct blob_place *place)
{
    struct kafka_store *s = store_of(store);
    struct sent sent = {false, RD_KAFKA_RESP_ERR_NO_ERROR, 0, 0};
    (void)is_first;
    (void)refresh(s, &s->producer, &s->fresh_producer);
    rd_kafka_resp_err_t err = rd_kafka_producev(s->producer, RD_KAFKA_V_TOPIC(s->topic), RD_KAFKA_V_PARTITION(RD_KAFKA_PARTITION_UA), RD_KAFKA_V_KEY(key->b, HASH_BYTES),
                                                RD_KAFKA_V_VALUE((void *)(uintptr_t)bytes.p, bytes.len), RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY),
                                                RD_KAFKA_V_OPAQUE(&sent), RD_KAFKA_V_END);
    tell(s, err);
    if (err != RD_KAFKA_RESP_ERR_NO_ERROR)
        return EHIS_E_EXCHANGE_BUSY;
    while (!sent.is_done) /* message.timeout.ms ends it */
        rd_kafka_poll(s->producer, POLL_MS);
    tell(s, sent.err);
    if (sent.err != RD_KAFKA_RESP_ERR_NO_ERROR || sent.offset < 0)
        return EHIS_E_EXCHANGE_BUSY;
    *place = (struct blob_place){(uint64_t)sent.partition, (uint64_t)sent.offset};
    return EHIS_OK;
}

/* Assigned anew where it stands elsewhere: seeking has bugs of its own before 2.4.0 (kafka_consumer.c). */
static bool stand(struct kafka_store *s, int32_t partition, int64_t offset)
{
    if (s->partition == partition && offset >= s->next && offset - s->next <= AHEAD_MAX)
        return true;
    rd_kafka_topic_partition_list_t *l = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_list_add(l, s->topic, partition)->offset = offset;
    (void)rd_kafka_assign(s->consumer, NULL); /* what was fetched before does not come out any more */
    bool is_there = rd_kafka_assign(s->consumer, l) == RD_KAFKA_RESP_ERR_NO_ERROR;
    rd_kafka_topic_partition_list_destroy(l);
    s->partition = is_there ? partition : -1;
    s->next = offset;
    return is_there;
}

static struct missing *missing_of(struct kafka_store *s) { return &s->missing[s->partition % PARTITIONS_SEEN]; }

/* Partition says that what is asked for is not there. True: that is the answer, and *err whether it is final. */
static bool is_missing(struct kafka_store *s, int32_t partition, int64_t offset, ehis_err *err)
{
    if (partition < 0 || partition != s->partition) /* of where it stood before */
        return false;
    if (!s->is_anew) { /* it may be an end of long ago that nobody had taken */
        s->partition = -1;
        s->is_anew = stand(s, partition, offset);
        return false;
    }
    struct missing *m = missing_of(s);
    int64_t now = now_ms();
    if (!m->since_ms || m->partition != partition || offset < m->offset || now - m->last_ms > ASKED_AGAIN_MS)
        *m = (struct missing){partition, offset, now, now};
    m->last_ms = now;
    *err = now - m->since_ms >= LOST_MS ? EHIS_E_EXCHANGE_BLOB_LOST : EHIS_E_EXCHANGE_BUSY;
    return true;
}

/* True: *err is the answer. */
static bool look(struct kafka_store *s, const rd_kafka_message_t *m, const struct hash *key, int64_t offset, uint8_t *out, size_t bytes, ehis_err *err)
{
    switch (m->err) {
    case RD_KAFKA_RESP_ERR_NO_ERROR:
        break;
    case RD_KAFKA_RESP_ERR__PARTITION_EOF: /* behind the end */
        return m->offset <= offset && is_missing(s, m->partition, offset, err);
    case RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET:
    case RD_KAFKA_RESP_ERR_OFFSET_OUT_OF_RANGE:
    case RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION:
        return is_missing(s, m->partition, offset, err);
    default:
        return false; /* of a connection, or a topic that is being made anew: until the time is up */
    }
    if (m->partition != s->partition || m->offset < offset) {
        if (m->partition == s->partition)
            s->next = m->offset + 1;
        return false;
    }
    s->next = m->offset + 1;
    if (missing_of(s)->offset <= m->offset)
        missing_of(s)->since_ms = 0;
    bool is_it = m->offset == offset && m->key_len == HASH_BYTES && memcmp(m->key, key->b, HASH_BYTES) == 0 && m->len == bytes;
    *err = is_it ? EHIS_OK : EHIS_E_EXCHANGE_BLOB_LOST;
    if (is_it)
        memcpy(out, m->payload, bytes);
    return true;
}

static ehis_err on_read(struct blob_store *store, const struct hash *key, const struct blob_place *place, uint8_t *out, size_t bytes)
{
    struct kafka_store *s = store_of(store);
    ehis_err err = EHIS_E_EXCHANGE_BUSY;
    bool is_found = false;
    if (place->partition > INT32_MAX || place->offset > INT64_MAX) /* nobody wrote that */
        return EHIS_E_EXCHANGE_BLOB_LOST;
    if (refresh(s, &s->consumer, &s->fresh_consumer))
        s->partition = -1;
    if (!stand(s, (int32_t)place->partition, (int64_t)place->offset))
        return EHIS_E_EXCHANGE_BUSY;
    s->asked_ms = now_ms();
    s->is_anew = false;
    while (!is_found && now_ms() - s->asked_ms < WAIT_MS) {
        rd_kafka_message_t *m = rd_kafka_consumer_poll(s->consumer, POLL_MS);
        if (!m)
            continue;
        tell(s, m->err);
        is_found = look(s, m, key, (int64_t)place->offset, out, bytes, &err);
        rd_kafka_message_destroy(m);
    }
    if (!is_found)
        err = EHIS_E_EXCHANGE_BUSY;
    if (err != EHIS_OK)
        s->partition = -1;
    return err;
}

static void on_free(struct blob_store *store)
{
    struct kafka_store *s = store_of(store);
    retire(s, s->producer);
    retire(s, s->consumer);
    retire(s, s->fresh_producer);
    retire(s, s->fresh_consumer);
    (void)kafka_retired_free(s->retired);
    free(s->gateway);
    free(s);
}

static ehis_err open_handle(const struct bus_kafka_options *o, const char *gateway, bool is_producer, const char *group, rd_kafka_t **out, struct ehis_why *why)
{
    const char *const rows[][2] = {
        {"socket.timeout.ms", "10000"},
        {"socket.connection.setup.timeout.ms", "5000"},
        {"log.connection.close", "false"},
        {"message.max.bytes", "1048588"},
        {is_producer ? "acks" : "group.id", is_producer ? "all" : group}, /* nobody joins it, nothing is committed */
        {is_producer ? "linger.ms" : "enable.auto.commit", is_producer ? "0" : "false"},
        {is_producer ? "message.timeout.ms" : "enable.auto.offset.store", is_producer ? "8000" : "false"},
        /* Not idempotent: written twice does no harm, and no fatal error ends the handle. */
        {is_producer ? "partitioner" : "auto.offset.reset", is_producer ? "murmur2_random" : "error"},
        {is_producer ? "compression.codec" : "enable.partition.eof", is_producer ? BUS_CODEC : "true"},
        {is_producer ? "request.timeout.ms" : "fetch.message.max.bytes", is_producer ? "5000" : "1048576"},
        {is_producer ? "queue.buffering.max.messages" : "fetch.max.bytes", is_producer ? "16" : "2097152"},
        {is_producer ? "queue.buffering.max.kbytes" : "queued.max.messages.kbytes", is_producer ? "8192" : "4096"},
        {is_producer ? "client.id" : "allow.auto.create.topics", is_producer ? gateway : "false"},
        {is_producer ? "client.id" : "isolation.level", is_producer ? gateway : "read_uncommitted"},
    };
    rd_kafka_conf_t *conf;
    char text[256] = "";
    ehis_err err = bus_kafka_conf(o, gateway, &conf, why);
    EHIS_TRY(err);
    for (size_t i = 0; i < sizeof rows / sizeof *rows && err == EHIS_OK; i++)
        if (rd_kafka_conf_set(conf, rows[i][0], rows[i][1], text, sizeof text) != RD_KAFKA_CONF_OK)
            err = ehis_fail(why, EHIS_E_BUS_CLIENT, "%s: %s", rows[i][0], text);
    rd_kafka_conf_set_log_cb(conf, NULL); /* the relay's handles say what is wrong with the brokers */
    if (is_producer)
        rd_kafka_conf_set_dr_msg_cb(conf, on_sent);
    *out = err == EHIS_OK ? rd_kafka_new(is_producer ? RD_KAFKA_PRODUCER : RD_KAFKA_CONSUMER, conf, text, sizeof text) : NULL;
    if (*out)
        return EHIS_OK;
    rd_kafka_conf_destroy(conf);
    return err != EHIS_OK ? err : ehis_fail(why, EHIS_E_BUS_CLIENT, "%s", text);
}

static ehis_err open_both(const struct kafka_store *s, rd_kafka_t **producer, rd_kafka_t **consumer, struct ehis_why *why)
{
    *producer = *consumer = NULL;
    EHIS_TRY(open_handle(s->options, s->gateway, true, s->group, producer, why));
    EHIS_TRY(open_handle(s->options, s->gateway, false, s->group, consumer, why));
    (void)rd_kafka_poll_set_consumer(*consumer);
    return EHIS_OK;
}

static ehis_err on_renew(struct blob_store *store)
{
    struct kafka_store *s = store_of(store);
    struct ehis_why why = {""};
    rd_kafka_t *producer, *consumer;
    ehis_err err = open_both(s, &producer, &consumer, &why);
    if (err != EHIS_OK) {
        log_line(LOG_ERROR, "kafka.rebuild", F_ERR(err), F_STR("text", why.text));
        retire(s, producer);
        return err;
    }
    retire(s, atomic_exchange(&s->fresh_producer, producer));
    retire(s, atomic_exchange(&s->fresh_consumer, consumer));
    return EHIS_OK;
}

ehis_err blob_kafka_new(const struct bus_kafka_options *options, const char *gateway, struct blob_store **out, struct ehis_why *why)
{
    struct kafka_store *s = calloc(1, sizeof *s);
    if (!s)
        return EHIS_E_NO_MEMORY;
    s->store = (struct blob_store){.write = on_write, .read = on_read, .renew = on_renew, .free = on_free};
    s->partition = -1;
    s->options = options;
    s->gateway = strdup(gateway);
    bus_group_name(options->prefix, s->group);
    bus_topic_name(options->prefix, TOPIC_BLOB, span_of(NULL, 0), span_of(NULL, 0), s->topic);
    ehis_err err = kafka_retired_new(&s->retired);
    if (err == EHIS_OK)
        err = s->gateway ? open_both(s, &s->producer, &s->consumer, why) : EHIS_E_NO_MEMORY;
    if (err != EHIS_OK)
        on_free(&s->store);
    else
        *out = &s->store;
    return err;
}
