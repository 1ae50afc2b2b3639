/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* What librdkafka alone reaches on the gateway's topics, with the gateway's settings of handles, acks and TLS: the bench's yardstick.
 *   kafka_raw BROKERS CA CERTIFICATE KEY stream BYTES SECONDS IN_FLIGHT TOPIC...     one handle each way, partition 0 of each topic in turn
 *   kafka_raw BROKERS CA CERTIFICATE KEY call BYTES SECONDS 1 TOPIC TOPIC            there on the first, back on the second: two hops, linger 0
 * The topics' prefix is raw: that is the group it has a right to. Prints one JSON object. One second of warm-up is not counted. */
#include "base/clock.h"
#include <librdkafka/rdkafka.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#define TOPICS_MAX 128
#define BYTES_MAX 1000000
#define SAMPLES_MAX 1000000
#define BATCH 1000
#define TIMEOUT_MS 10000

static rd_kafka_t *producer, *consumer;
static rd_kafka_topic_t *topics[TOPICS_MAX];
static int64_t from_us, until_us;
static _Atomic uint64_t made, got, counted;
static uint32_t sample_us[SAMPLES_MAX];
static size_t sample_count;

static int64_t now_us(void) { return clock_mono_us(&clock_system); }

static void fail(const char *what, const char *why)
{
    fprintf(stderr, "kafka_raw: %s: %s\n", what, why);
    exit(1);
}

static rd_kafka_t *handle(char **argv, rd_kafka_type_t type, const char *linger)
{
    const char *const rows[][2] = {
        {"bootstrap.servers", argv[1]}, {"ssl.ca.location", argv[2]}, {"ssl.certificate.location", argv[3]}, {"ssl.key.location", argv[4]},
        {"security.protocol", "ssl"}, {"ssl.endpoint.identification.algorithm", "https"}, {"socket.nagle.disable", "true"},
        {"enable.idempotence", "true"}, {"compression.codec", "snappy"}, {"linger.ms", linger}, {"queue.buffering.max.messages", "1000000"},
        {"group.id", "raw..gw"}, {"enable.auto.commit", "false"}, {"check.crcs", "true"}, {"fetch.message.max.bytes", "524288"}, {"fetch.max.bytes", "8388608"},
        {"queued.max.messages.kbytes", "16384"}, {"queued.min.messages", "1000"}, {"fetch.wait.max.ms", "10"},
    };
    const size_t for_producers = 11, for_both = 7;
    char text[512];
    rd_kafka_conf_t *c = rd_kafka_conf_new();
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        bool is_its = i < for_both || (i < for_producers) == (type == RD_KAFKA_PRODUCER);
        if (is_its && rd_kafka_conf_set(c, rows[i][0], rows[i][1], text, sizeof text) != RD_KAFKA_CONF_OK)
            fail(rows[i][0], text);
    }
    if (type == RD_KAFKA_PRODUCER)
        rd_kafka_conf_set_events(c, RD_KAFKA_EVENT_DR);
    rd_kafka_t *rk = rd_kafka_new(type, c, text, sizeof text);
    if (!rk)
        fail("rd_kafka_new", text);
    return rk;
}

static void assign(char **names, int count)
{
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(count);
    rd_kafka_poll_set_consumer(consumer);
    for (int i = 0; i < count; i++) {
        int64_t low, high;
        rd_kafka_resp_err_t err = rd_kafka_query_watermark_offsets(consumer, names[i], 0, &low, &high, TIMEOUT_MS);
        if (err)
            fail(names[i], rd_kafka_err2str(err));
        rd_kafka_topic_partition_list_add(list, names[i], 0)->offset = high;
        topics[i] = rd_kafka_topic_new(producer, names[i], NULL);
    }
    rd_kafka_resp_err_t err = rd_kafka_assign(consumer, list);
    if (err)
        fail("assign", rd_kafka_err2str(err));
    rd_kafka_topic_partition_list_destroy(list);
}

/* Reports of the producer; an error ends it all. */
static void reports(int timeout_ms)
{
    static rd_kafka_queue_t *queue;
    if (!queue)
        queue = rd_kafka_queue_get_main(producer);
    rd_kafka_event_t *e = rd_kafka_queue_poll(queue, timeout_ms);
    const rd_kafka_message_t *m;
    while (e && rd_kafka_event_type(e) == RD_KAFKA_EVENT_DR && (m = rd_kafka_event_message_next(e)))
        if (m->err)
            fail("delivery", rd_kafka_err2str(m->err));
    if (e)
        rd_kafka_event_destroy(e);
}

static void *take(void *arg)
{
    static rd_kafka_message_t *batch[BATCH];
    rd_kafka_queue_t *queue = rd_kafka_queue_get_consumer(consumer);
    (void)arg;
    while (now_us() < until_us) {
        ssize_t n = rd_kafka_consume_batch_queue(queue, 20, batch, BATCH);
        int64_t now = now_us();
        for (ssize_t i = 0; i < n; i++) {
            if (batch[i]->err)
                fail("consume", rd_kafka_message_errstr(batch[i]));
            got++;
            counted += now >= from_us && now < until_us;
            rd_kafka_message_destroy(batch[i]);
        }
    }
    rd_kafka_queue_destroy(queue);
    return NULL;
}

static void stream(const char *body, size_t bytes, uint64_t in_flight, size_t count)
{
    pthread_t taker;
    if (pthread_create(&taker, NULL, take, NULL) != 0)
        fail("thread", "none");
    while (now_us() < until_us) {
        if (made - got >= in_flight || rd_kafka_produce(topics[made % count], 0, RD_KAFKA_MSG_F_COPY, (void *)(uintptr_t)body, bytes, NULL, 0, NULL) != 0) {
            reports(1);
            continue;
        }
        made++;
        if (made % 256 == 0)
            reports(0);
    }
    pthread_join(taker, NULL);
}

static void hop(size_t topic, const char *body, size_t bytes)
{
    if (rd_kafka_produce(topics[topic], 0, RD_KAFKA_MSG_F_COPY, (void *)(uintptr_t)body, bytes, NULL, 0, NULL) != 0)
        fail("produce", rd_kafka_err2str(rd_kafka_last_error()));
    for (;;) {
        rd_kafka_message_t *m = rd_kafka_consumer_poll(consumer, TIMEOUT_MS);
        if (!m || m->err)
            fail("consume", m ? rd_kafka_message_errstr(m) : "nothing came");
        rd_kafka_message_destroy(m);
        break;
    }
    reports(0);
}

static void call(const char *body, size_t bytes)
{
    while (now_us() < until_us) {
        int64_t at = now_us();
        hop(0, body, bytes);
        hop(1, body, bytes);
        if (at >= from_us && sample_count < SAMPLES_MAX)
            sample_us[sample_count++] = (uint32_t)(now_us() - at);
    }
    counted = sample_count;
}

static int by_value(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

static double cpu_s(void)
{
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) + (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

int main(int argc, char **argv)
{
    static char body[BYTES_MAX];
    if (argc < 10 || argc - 9 > TOPICS_MAX) {
        fprintf(stderr, "kafka_raw BROKERS CA CERTIFICATE KEY stream|call BYTES SECONDS IN_FLIGHT TOPIC...\n");
        return 2;
    }
    bool is_call = strcmp(argv[5], "call") == 0;
    size_t bytes = strtoul(argv[6], NULL, 10), count = (size_t)argc - 9;
    int64_t seconds = strtol(argv[7], NULL, 10);
    uint64_t in_flight = strtoul(argv[8], NULL, 10);
    if (bytes < 1 || bytes > BYTES_MAX || seconds < 1 || in_flight < 1 || (is_call && count != 2))
        return 2;
    for (size_t i = 0; i < bytes; i++)
        body[i] = (char)(i * 131);
    producer = handle(argv, RD_KAFKA_PRODUCER, is_call ? "0" : "1");
    consumer = handle(argv, RD_KAFKA_CONSUMER, NULL);
    assign(argv + 9, (int)count);
    from_us = now_us() + 1000000;
    until_us = from_us + seconds * 1000000;
    double before = cpu_s();
    if (is_call)
        call(body, bytes);
    else
        stream(body, bytes, in_flight, count);
    double cpu = cpu_s() - before;
    qsort(sample_us, sample_count, sizeof *sample_us, by_value);
    printf("{\"messages_per_second\":%.0f,\"messages\":%llu,\"cpu_us\":%.2f,\"p50_us\":%u,\"p99_us\":%u}\n", (double)counted / (double)seconds, (unsigned long long)counted,
           cpu * 1e6 / (double)(is_call ? counted + !counted : got + !got), sample_count ? sample_us[sample_count / 2] : 0, sample_count ? sample_us[sample_count * 99 / 100] : 0);
    fflush(stdout);
    _Exit(0); /* nobody reads what is left */
}
