/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* The relay between a client of brokers and a core that both stand in relay_rig.c: what it writes and asks when records are lost, topics are not there, or the
 * journal is damaged. What it writes is read back by it as from a log, with its real signatures. */
#pragma once
#include "gateway/bus/relay_priv.h"
#include "tests/support/sim_clock.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define SYSTEM span_str("AZ/GOV/a/one")
#define SERVICE span_str("AZ/GOV/b/two/svc")
#define EVENT span_str("Changed")
#define SENDS_MAX 4096
#define ASKS_MAX 512
#define WATCHES_MAX 32

struct send { char topic[BUS_TOPIC_NAME_MAX_BYTES + 1]; struct buf bytes; uint64_t token; bool is_confirmed, is_read; };
struct ask { char topic[BUS_TOPIC_NAME_MAX_BYTES + 1]; uint64_t token; bool is_answered; };
struct relay_rig {
    struct sim_clock clock;
    struct loop *loop;
    struct sign_key *key;
    struct bus_kafka_options options;
    struct relay *relay;
    struct kafka_calls calls;
    struct send sends[SENDS_MAX];
    struct ask asks[ASKS_MAX];
    struct { char topic[BUS_TOPIC_NAME_MAX_BYTES + 1]; uint32_t watch; } watches[WATCHES_MAX];
    uint32_t positions[WATCHES_MAX];
    size_t send_count, ask_count, position_count, lost, carried, replicated, unsure, safe, arrivals, junk;
    int64_t offset;
    uint64_t handle; /* of the newest arrival */
    ehis_err read_err, arrival_err;
    bool has_no_calls, has_no_dlq; /* topics */
    bool is_paused, is_junk;
};
extern struct relay_rig w;

int rig_start(void **state); /* ready, its cursors read */
int rig_stop(void **state);
#define RELAY_TEST(f) cmocka_unit_test_setup_teardown(f, rig_start, rig_stop)

bool is_of(const char *topic, enum bus_topic_kind kind);
uint32_t watch_of(enum bus_topic_kind kind); /* 0: not read */
void pass(int64_t ms);
void live(int64_t ms); /* beats for so long, as a gateway that is well */
void sent(enum bus_topic_kind kind, ehis_err err); /* what is on its way to a topic ends so; what was confirmed is read */
size_t answer(enum bus_topic_kind kind, ehis_err err, int64_t end); /* the questions for where a topic ends, since the last time: how many */
void own(bool is_wanted); /* the inbox of SYSTEM */
ehis_err cursor_read(bool is_end, uint64_t time_ms); /* as some gateway has written it, by its own clock */
void subscribed(void);
