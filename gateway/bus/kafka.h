/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* librdkafka behind the loop: a few handles, never one for each agency. Knows topics, partitions, offsets and bytes, nothing of what they mean.
 * Everything comes back on the loop's thread, from queues that are drained to empty at each wake-up and by a safety timer; nothing here ever
 * blocks the loop. Works around what librdkafka 2.0.2 does wrong; each work-around names its issue. */
#pragma once
#include "base/bytes.h"
#include "base/loop.h"
#include "gateway/bus/cluster.h"

struct kafka;

struct kafka_config {
    const struct bus_kafka_options *options; /* borrowed until kafka_free */
    const char *client; /* copied: the gateway's name in the broker's logs */
    bool is_plain;      /* no TLS: for a broker inside a test alone */
    uint64_t queue_max_bytes; /* not confirmed yet; beyond: BUS_FULL */
    uint32_t queue_max_count;
    uint32_t bulk_linger_us;
};
/* How soon: FAST for what somebody waits for (linger 0; own producer, own consumer), BULK for the rest. What is not
 * confirmed ends with BUS_TIMEOUT: after 8 s, after 120 s. */
enum kafka_lane {
    KAFKA_FAST,
    KAFKA_BULK,
    KAFKA_CONTROL, /* reads alone: the few topics in which something always happens; a fetch that they end names no more than them */
    KAFKA_LAG      /* reads alone: what BULK reads as well, further back; its handle is made when it is first needed */
};
enum { KAFKA_FROM_BEGIN = -2 };

struct kafka_record {
    uint32_t watch;      /* as given to kafka_watch */
    int32_t partition;
    int64_t offset, broker_ms; /* -1: no broker time */
    struct span key, value;    /* value empty also where there is none */
    void *hold;          /* kafka_release when value is needed no longer; borrowed bytes live until then */
};
struct kafka_range { int64_t from, end; }; /* of a partition; from == end: nothing */
struct kafka_position { int64_t offset; struct span metadata; }; /* offset < 0: none was committed */

struct kafka_calls { /* on the loop's thread; each may call any verb below but kafka_free */
    void *ctx;
    /* Exactly once for each kafka_send that returned OK (but not by kafka_free). OK: confirmed by all in-sync replicas. Anything else: unknown or
     * not: send again the same bytes. Of one topic and lane, what was sent after one that failed and is not confirmed yet fails with it, in order,
     * so that sending all of it again keeps order; some of it may stand in the log already. */
    void (*on_sent)(void *ctx, uint64_t token, ehis_err err, int64_t offset);
    void (*on_record)(void *ctx, struct kafka_record *r); /* the callee releases it, now or later */
    /* A watch is broken (topic gone, not allowed, position out of range, ...): nothing more comes; kafka_unwatch it,
     * and watch again when that may help. */
    void (*on_watch_error)(void *ctx, uint32_t watch, ehis_err err, const char *text);
    void (*on_position)(void *ctx, uint32_t watch, ehis_err err, const struct kafka_position *p); /* answer to kafka_position_get */
    void (*on_state)(void *ctx, ehis_err state, const char *text); /* OK: brokers are there; else why not (BUS_UNREACHABLE, BUS_TLS, BUS_NOT_ALLOWED, BUS_FATAL) */
    void (*on_offsets)(void *ctx, uint64_t token, ehis_err err, const struct kafka_range *ranges, size_t partitions); /* answer to kafka_offsets_get */
    /* Of BULK and CONTROL: the log ends at offset for now, and its records before were handed over. The end of a transaction is none, and takes an offset too. */
    void (*on_end)(void *ctx, uint32_t watch, int64_t offset);
};

/* Returns at once; connects in the background. BUS_OPTIONS, BUS_PREFIX, BUS_CLIENT (a file or value that librdkafka
 * refuses) with why. */
ehis_err kafka_new(struct loop *loop, const struct kafka_config *config, const struct kafka_calls *calls, struct kafka **out, struct ehis_why *why) EHIS_MUST_USE;
/* The files that the options name are others now: every handle is made anew with them. Watches go on where they stood; what was not confirmed fails, to be sent again.
 * Errors of kafka_new, where one goes on with the old files: call it again. */
ehis_err kafka_renew(struct kafka *k) EHIS_MUST_USE;
/* Destroys the handles; what was not confirmed is not. May take a moment (up to 5 s): only at the end of a process. */
void kafka_free(struct kafka *k);
/* In place of kafka_free, right before _exit: the last commits, within 300 ms, and no handle is destroyed: that may hang (kafka_retired.h), and from 2.4.0 to 2.8.0 crash
 * where a topic was made anew under it (#4964: its cache of topics keeps an entry that is freed). */
void kafka_leave(struct kafka *k);

/* Parts are copied. token comes back in on_sent. partition -1: by key (murmur2 as Java's, so that others can find it). BUS_FULL; BUS_TOO_LARGE
 * (above 1,000,000 bytes); NO_TOPIC, NOT_ALLOWED where that is known already. While no broker is there it waits in the queue. */
ehis_err kafka_send(struct kafka *k, enum kafka_lane lane, const char *topic, int32_t partition, struct span key, const struct span *parts, size_t count,
                    uint64_t token) EHIS_MUST_USE;

/* librdkafka 2.0.2 says nothing of a topic that was never allowed: kafka_position_get does, ask that before; so does what asks for KAFKA_FROM_BEGIN.
 * Reads a partition from offset (or KAFKA_FROM_BEGIN: asked first, on_watch_error within 30 s of its turn) on. watch: a number of the caller's, not in use; one for a lane, topic and partition. A fatal error
 * of a handle is healed inside: all its watches go on where they stood. */
ehis_err kafka_watch(struct kafka *k, enum kafka_lane lane, const char *topic, int32_t partition, int64_t offset, uint32_t watch) EHIS_MUST_USE;
void kafka_unwatch(struct kafka *k, uint32_t watch); /* no on_record for it after this returns; held records stay valid */
void kafka_pause(struct kafka *k, uint32_t watch, bool is_paused); /* from the next turn on; a few records more may come in this one */
void kafka_hold(struct kafka *k, void *hold); /* once more: then it is released once more, too */
void kafka_release(struct kafka *k, void *hold);
/* Of every partition: where it ends now, and from where on it holds what the broker got at from_ms or later (0: where it begins); on_offsets answers, within 30 s
 * of its turn: one question after the other. */
ehis_err kafka_offsets_get(struct kafka *k, const char *topic, int64_t from_ms, uint64_t token) EHIS_MUST_USE;
/* Where the partition was committed under our group; on_position answers within 20 s of its turn. */
ehis_err kafka_position_get(struct kafka *k, const char *topic, int32_t partition, uint32_t watch) EHIS_MUST_USE;
/* Fire and forget: a lost commit is repeated by the next; a refused one is logged. metadata <= 4,000 bytes of text. */
ehis_err kafka_commit(struct kafka *k, const char *topic, int32_t partition, int64_t offset, struct span metadata) EHIS_MUST_USE;

struct kafka_status { uint64_t sent, confirmed, failed, received, queued_messages, queued_bytes, held_records, rebuilt; ehis_err state; };
void kafka_status(const struct kafka *k, struct kafka_status *out);
