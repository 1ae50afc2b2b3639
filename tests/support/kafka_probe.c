/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* The gateway's Kafka client (gateway/bus/kafka.h) alone against real brokers: does what the lines on standard input say, and answers each with one
 * line. Records are numbers, sent again, the same, when one was not confirmed: each topic must then hold them all, first seen in order.
 *
 *   kafka_probe BROKERS CA CERTIFICATE KEY
 *   create TOPIC PRINCIPAL   (as an administrator)        send fast|bulk TOPIC COUNT BYTES     watch fast|bulk TOPIC OFFSET
 *   commit TOPIC OFFSET TEXT    position TOPIC            wait sent|received|error|state VALUE SECONDS    time TOPIC (one there and back, fast)
 */
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "base/log.h"
#include "gateway/bus/kafka_priv.h"

struct probe {
    struct loop *loop;
    struct kafka *kafka;
    const char *brokers;
    struct bus_kafka_options options;
    char topic[260];
    enum kafka_lane lane;
    size_t bytes;
    uint64_t to_send, sending, confirmed, failed, received, repeated, next_expected, gaps, errors, positions;
    ehis_err state, watch_err, sent_err, position_err;
    int64_t position;
    char metadata[256];
    uint32_t watches;
    uint8_t *filler;
};

/* As much as the client takes; the number is the token. */
static void send_on(struct probe *p)
{
    while (p->sending < p->to_send) {
        uint64_t number = p->sending;
        struct span parts[2] = {span_of(&number, 8), span_of(p->filler, p->bytes - 8)};
        ehis_err err = kafka_send(p->kafka, p->lane, p->topic, 0, span_of(NULL, 0), parts, 2, number);
        if (err != EHIS_OK) {
            p->sent_err = err;
            return;
        }
        p->sending++;
    }
}

static void on_sent(void *ctx, uint64_t token, ehis_err err, int64_t offset)
{
    struct probe *p = ctx;
    (void)offset;
    p->sent_err = err;
    if (err == EHIS_OK)
        p->confirmed++;
    else {
        p->failed++;
        if (token < p->sending)
            p->sending = token; /* from here on again: all behind it failed, too */
    }
}

static void on_record(void *ctx, struct kafka_record *r)
{
    struct probe *p = ctx;
    uint64_t number = 0;
    if (r->value.len >= 8)
        memcpy(&number, r->value.p, 8);
    p->received++;
    if (number < p->next_expected)
        p->repeated++;
    else if (number == p->next_expected)
        p->next_expected++;
    else
        p->gaps++;
    kafka_release(p->kafka, r->hold);
}

static void on_watch_error(void *ctx, uint32_t watch, ehis_err err, const char *text)
{
    struct probe *p = ctx;
    (void)text;
    p->errors++;
    p->watch_err = err;
    kafka_unwatch(p->kafka, watch);
}

static void on_position(void *ctx, uint32_t watch, ehis_err err, const struct kafka_position *position)
{
    struct probe *p = ctx;
    (void)watch;
    p->position_err = err;
    p->position = position->offset;
    snprintf(p->metadata, sizeof p->metadata, "%.*s", (int)position->metadata.len, position->metadata.len ? (const char *)position->metadata.p : "");
    p->positions++;
}

static void on_state(void *ctx, ehis_err state, const char *text)
{
    struct probe *p = ctx;
    (void)text;
    p->state = state;
}

static bool is_reached(struct probe *p, const char *what, const char *value)
{
    uint64_t n = strtoull(value, NULL, 10);
    if (!strcmp(what, "sent"))
        return p->confirmed >= n && p->sending == p->to_send && p->kafka->status.queued_messages == 0;
    if (!strcmp(what, "received"))
        return p->next_expected >= n;
    if (!strcmp(what, "error"))
        return p->watch_err != EHIS_OK && !strcmp(ehis_err_name(p->watch_err), value);
    if (!strcmp(what, "failed"))
        return p->sent_err != EHIS_OK && !strcmp(ehis_err_name(p->sent_err), value);
    return !strcmp(p->state == EHIS_OK ? "OK" : ehis_err_name(p->state), value);
}

static bool run_until(struct probe *p, const char *what, const char *value, int64_t ms)
{
    for (int64_t end = clock_mono_ms(&clock_system) + ms; clock_mono_ms(&clock_system) < end;) {
        send_on(p);
        if (is_reached(p, what, value))
            return true;
        loop_run_once(p->loop, true);
    }
    return is_reached(p, what, value);
}

static void create(struct probe *p, const char *topic, const char *principal)
{
    char text[256];
    rd_kafka_conf_t *c = NULL;
    if (bus_kafka_conf(&p->options, "probe", &c, NULL) != EHIS_OK)
        exit(1);
    rd_kafka_t *rk = rd_kafka_new(RD_KAFKA_PRODUCER, c, text, sizeof text);
    rd_kafka_queue_t *q = rd_kafka_queue_new(rk);
    rd_kafka_NewTopic_t *t = rd_kafka_NewTopic_new(topic, 1, 1, text, sizeof text);
    rd_kafka_NewTopic_set_config(t, "message.timestamp.type", "LogAppendTime");
    rd_kafka_CreateTopics(rk, &t, 1, NULL, q);
    rd_kafka_event_t *e = rd_kafka_queue_poll(q, 30000);
    printf("created %s", e ? rd_kafka_err2name(rd_kafka_event_error(e)) : "late");
    if (e)
        rd_kafka_event_destroy(e);
    rd_kafka_AclBinding_t *acls[2] = {
        rd_kafka_AclBinding_new(RD_KAFKA_RESOURCE_TOPIC, topic, RD_KAFKA_RESOURCE_PATTERN_LITERAL, principal, "*", RD_KAFKA_ACL_OPERATION_ALL, RD_KAFKA_ACL_PERMISSION_TYPE_ALLOW, text, sizeof text),
        rd_kafka_AclBinding_new(RD_KAFKA_RESOURCE_GROUP, "gw", RD_KAFKA_RESOURCE_PATTERN_LITERAL, principal, "*", RD_KAFKA_ACL_OPERATION_READ, RD_KAFKA_ACL_PERMISSION_TYPE_ALLOW, text, sizeof text)};
    rd_kafka_CreateAcls(rk, acls, 2, NULL, q);
    e = rd_kafka_queue_poll(q, 30000);
    printf(" %s\n", e ? rd_kafka_err2name(rd_kafka_event_error(e)) : "late");
    if (e)
        rd_kafka_event_destroy(e);
    rd_kafka_AclBinding_destroy(acls[0]);
    rd_kafka_AclBinding_destroy(acls[1]);
    rd_kafka_NewTopic_destroy(t);
    rd_kafka_queue_destroy(q);
    rd_kafka_destroy(rk);
}

static void there_and_back(struct probe *p, const char *topic)
{
    int64_t best = INT64_MAX, sum = 0;
    snprintf(p->topic, sizeof p->topic, "%s", topic);
    p->lane = KAFKA_FAST;
    p->bytes = 1024;
    for (int i = 0; i < 200; i++) {
        char text[24];
        int64_t began = clock_mono_us(&clock_system);
        p->to_send++;
        snprintf(text, sizeof text, "%" PRIu64, p->to_send);
        if (!run_until(p, "received", text, 10000))
            break;
        int64_t us = clock_mono_us(&clock_system) - began;
        best = us < best ? us : best;
        sum += us;
    }
    printf("time best %" PRId64 " mean %" PRId64 " us\n", best, sum / 200);
}

static void perform(struct probe *p, char *line)
{
    char word[4][260] = {{0}};
    int n = sscanf(line, "%259s %259s %259s %259s %*s", word[0], word[1], word[2], word[3]);
    const char *fifth = n == 4 ? strrchr(line, ' ') : NULL;
    if (!strcmp(word[0], "create"))
        create(p, word[1], word[2]);
    else if (!strcmp(word[0], "send")) {
        p->lane = !strcmp(word[1], "fast") ? KAFKA_FAST : KAFKA_BULK;
        snprintf(p->topic, sizeof p->topic, "%s", word[2]);
        p->bytes = fifth ? strtoull(fifth, NULL, 10) : 100;
        p->to_send += strtoull(word[3], NULL, 10);
        send_on(p);
        printf("sending\n");
    } else if (!strcmp(word[0], "watch")) {
        p->watch_err = EHIS_OK;
        ehis_err err = kafka_watch(p->kafka, !strcmp(word[1], "fast") ? KAFKA_FAST : KAFKA_BULK, word[2], 0, strtoll(word[3], NULL, 10), ++p->watches);
        printf("watching %s\n", ehis_err_name(err));
    } else if (!strcmp(word[0], "commit"))
        printf("committing %s\n", ehis_err_name(kafka_commit(p->kafka, word[1], 0, strtoll(word[2], NULL, 10), span_str(word[3]))));
    else if (!strcmp(word[0], "position")) {
        uint64_t before = p->positions;
        ehis_err err = kafka_position_get(p->kafka, word[1], 0, 1);
        while (err == EHIS_OK && p->positions == before)
            loop_run_once(p->loop, true);
        printf("position %s %" PRId64 " %s\n", ehis_err_name(err ? err : p->position_err), p->position, p->metadata);
    } else if (!strcmp(word[0], "time"))
        there_and_back(p, word[1]);
    else if (!strcmp(word[0], "wait")) {
        int64_t began = clock_mono_ms(&clock_system);
        bool is_ok = run_until(p, word[1], word[2], strtoll(word[3], NULL, 10) * 1000);
        printf("%s confirmed %" PRIu64 " failed %" PRIu64 " received %" PRIu64 " unique %" PRIu64 " gaps %" PRIu64 " state %s error %s sent_error %s ms %" PRId64 "\n", is_ok ? "yes" : "no", p->confirmed,
               p->failed, p->received, p->next_expected, p->gaps, p->state ? ehis_err_name(p->state) : "OK", p->watch_err ? ehis_err_name(p->watch_err) : "-", p->sent_err ? ehis_err_name(p->sent_err) : "-", clock_mono_ms(&clock_system) - began);
    } else
        printf("what?\n");
    fflush(stdout);
}

static void on_end(void *ctx, uint32_t watch, int64_t offset) { (void)ctx, (void)watch, (void)offset; }

int main(int argc, char **argv)
{
    struct probe p = {.state = EHIS_E_BUS_UNREACHABLE, .bytes = 100, .filler = calloc(1, 1000000)};
    struct kafka_calls calls = {&p, on_sent, on_record, on_watch_error, on_position, on_state, NULL, on_end};
    struct ehis_why why = {{0}};
    char line[1200];
    if (argc != 5 || !p.filler)
        return 2;
    p.brokers = argv[1];
    p.options = (struct bus_kafka_options){.brokers = {1, &p.brokers}, .ca = argv[2], .certificate = argv[3], .key = argv[4], .prefix = ""};
    struct kafka_config config = {.options = &p.options, .client = "probe", .queue_max_bytes = 64 << 20, .queue_max_count = 50000, .bulk_linger_us = 500};
    if (loop_new(&p.loop) != EHIS_OK || kafka_new(p.loop, &config, &calls, &p.kafka, &why) != EHIS_OK) {
        fprintf(stderr, "%s\n", why.text);
        return 1;
    }
    while (fgets(line, sizeof line, stdin))
        perform(&p, line);
    kafka_free(p.kafka);
    loop_free(p.loop);
    free(p.filler);
    return 0;
}
