/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* The relay between a client of brokers and a core that both stand in this file: what it writes and asks when records are lost, topics are not there, or the
 * journal is damaged. What it writes is read back by it as from a log, with its real signatures. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include "gateway/bus/relay_priv.h"
#include "tests/support/sim_clock.h"

#define GATEWAY "AZ/gw1"
#define SYSTEM span_str("AZ/GOV/a/one")
#define SERVICE span_str("AZ/GOV/b/two/svc")
#define EVENT span_str("Changed")
#define SENDS_MAX 4096
#define ASKS_MAX 512
#define WATCHES_MAX 32

struct send { char topic[BUS_TOPIC_NAME_MAX_BYTES + 1]; struct buf bytes; uint64_t token; bool is_confirmed, is_read; };
struct ask { char topic[BUS_TOPIC_NAME_MAX_BYTES + 1]; uint64_t token; bool is_answered; };
static struct {
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
} w;

/* ---- the client ---- */

ehis_err kafka_new(struct loop *loop, const struct kafka_config *config, const struct kafka_calls *calls, struct kafka **out, struct ehis_why *why)
{
    (void)loop, (void)config, (void)why;
    w.calls = *calls;
    *out = (struct kafka *)(void *)&w; /* never looked at */
    return EHIS_OK;
}
void kafka_free(struct kafka *k) { (void)k; }
ehis_err kafka_renew(struct kafka *k) { return (void)k, EHIS_OK; }
void kafka_pause(struct kafka *k, uint32_t watch, bool is_paused) { (void)k, (void)watch, w.is_paused = is_paused; }
void kafka_hold(struct kafka *k, void *hold) { (void)k, (void)hold; }
void kafka_release(struct kafka *k, void *hold) { (void)k, (void)hold; }
void kafka_status(const struct kafka *k, struct kafka_status *out) { (void)k, *out = (struct kafka_status){0}; }
ehis_err kafka_position_get(struct kafka *k, const char *topic, int32_t partition, uint32_t watch)
{
    (void)k, (void)topic, (void)partition;
    assert_true(w.position_count < WATCHES_MAX);
    w.positions[w.position_count++] = watch;
    return EHIS_OK;
}
ehis_err kafka_commit(struct kafka *k, const char *topic, int32_t partition, int64_t offset, struct span metadata)
{
    (void)k, (void)topic, (void)partition, (void)offset, (void)metadata;
    return EHIS_OK;
}

ehis_err kafka_send(struct kafka *k, enum kafka_lane lane, const char *topic, int32_t partition, struct span key, const struct span *parts, size_t count, uint64_t token)
{
    (void)k, (void)lane, (void)partition, (void)key;
    if ((w.has_no_calls && strncmp(topic, "call.", 5) == 0) || (w.has_no_dlq && strcmp(topic, "dlq") == 0))
        return EHIS_E_BUS_NO_TOPIC;
    assert_true(w.send_count < SENDS_MAX);
    struct send *s = &w.sends[w.send_count++];
    memcpy(s->topic, topic, strlen(topic) + 1);
    s->token = token;
    buf_init(&s->bytes, PARCEL_MAX_BYTES);
    for (size_t i = 0; i < count; i++)
        assert_int_equal(buf_put_span(&s->bytes, parts[i]), EHIS_OK);
    return EHIS_OK;
}

void kafka_unwatch(struct kafka *k, uint32_t watch)
{
    (void)k;
    for (size_t i = 0; i < WATCHES_MAX; i++)
        if (w.watches[i].watch == watch)
            w.watches[i].watch = 0;
}

ehis_err kafka_watch(struct kafka *k, enum kafka_lane lane, const char *topic, int32_t partition, int64_t offset, uint32_t watch)
{
    size_t i = 0;
    (void)lane, (void)partition, (void)offset;
    kafka_unwatch(k, watch);
    while (w.watches[i].watch)
        assert_true(++i < WATCHES_MAX);
    w.watches[i].watch = watch;
    memcpy(w.watches[i].topic, topic, strlen(topic) + 1);
    return EHIS_OK;
}

ehis_err kafka_offsets_get(struct kafka *k, const char *topic, int64_t from_ms, uint64_t token)
{
    (void)k, (void)from_ms;
    assert_true(w.ask_count < ASKS_MAX);
    struct ask *a = &w.asks[w.ask_count++];
    memcpy(a->topic, topic, strlen(topic) + 1);
    a->token = token;
    return EHIS_OK;
}

/* ---- the core, and who signs ---- */

ehis_err exchange_on_arrival(struct exchange *x, const struct exchange_arrival *a, int64_t now_ms)
{
    (void)x, (void)now_ms;
    w.arrivals++;
    w.handle = a->handle;
    return w.arrival_err;
}
ehis_err exchange_on_report(struct exchange *x, const struct exchange_report *r, int64_t now_ms) { return (void)x, (void)r, (void)now_ms, EHIS_OK; }
size_t exchange_held(const struct exchange *x, struct span system, struct span gateway, struct hash *out, size_t max) { return (void)x, (void)system, (void)gateway, (void)out, (void)max, 0; }
size_t exchange_on_probed(struct exchange *x, struct span system, int64_t asked_ms, const struct hash *held, size_t count, int64_t now_ms)
{
    return (void)x, (void)system, (void)asked_ms, (void)held, (void)count, (void)now_ms, 0;
}
void exchange_on_junk(struct exchange *x, struct span inbox, struct span gateway, ehis_err code, const char *why, int64_t now_ms)
{
    (void)x, (void)inbox, (void)gateway, (void)now_ms;
    w.junk++;
    if (!w.is_junk)
        fail_msg("%s: %s", ehis_err_name(code), why);
}
void exchange_on_cursor(struct exchange *x, struct span system, struct span service, struct span event, bool is_there, int64_t now_ms)
{
    (void)x, (void)system, (void)service, (void)event, (void)is_there, (void)now_ms;
}
void exchange_on_lost(struct exchange *x, const struct hash *digest, int64_t now_ms) { (void)x, (void)digest, (void)now_ms, w.lost++; }
void exchange_on_carried(struct exchange *x, const struct hash *digest, bool is_replicated, int64_t now_ms) { (void)x, (void)digest, (void)now_ms, w.carried++, w.replicated += is_replicated; }
void exchange_on_audited(struct exchange *x, uint64_t sequence) { (void)x, (void)sequence; }
void exchange_on_unsure(struct exchange *x, const struct hash *digest, int64_t now_ms) { (void)x, (void)digest, (void)now_ms, w.unsure++; }
void exchange_on_safe(struct exchange *x, int64_t now_ms) { (void)x, (void)now_ms, w.safe++; }
void exchange_on_inbox(struct exchange *x, struct span system, bool is_owned, int64_t now_ms) { (void)x, (void)system, (void)is_owned, (void)now_ms; }
void exchange_on_unreachable(struct exchange *x, struct span system, int64_t now_ms) { (void)x, (void)system, (void)now_ms; }

const struct registry_owner *registry_gateway(const struct registry *r, struct span id)
{
    static struct registry_owner owner;
    (void)r;
    owner.id = id;
    return &owner;
}
ehis_err registry_signing_key(const struct registry *r, struct span owner, const uint8_t key_id[32], int64_t created_ms, int64_t now_ms, const struct registry_key **out)
{
    static struct registry_key key;
    (void)r, (void)owner, (void)key_id, (void)created_ms, (void)now_ms;
    key.public_key = span_of(sign_key_public(w.key), 32);
    *out = &key;
    return EHIS_OK;
}

static ehis_err read_journal(void *ctx, const struct journal_pos *pos, struct buf *into, struct journal_entry *out)
{
    (void)ctx, (void)pos, (void)into, (void)out;
    return w.read_err;
}

/* ---- what happens ---- */

static bool is_of(const char *topic, enum bus_topic_kind kind)
{
    char name[BUS_TOPIC_NAME_MAX_BYTES + 1];
    struct span owner = kind == TOPIC_KEY || kind == TOPIC_EVENT ? SERVICE : kind == TOPIC_INBOX ? SYSTEM : span_of(NULL, 0);
    bus_topic_name("", kind, owner, kind == TOPIC_KEY || kind == TOPIC_EVENT ? EVENT : span_of(NULL, 0), name);
    return strcmp(topic, name) == 0;
}

static void pass(int64_t ms)
{
    for (; ms > 0; ms -= RELAY_TICK_MS) {
        sim_clock_advance_ms(&w.clock, RELAY_TICK_MS);
        loop_timer_set(w.relay->tick, 0);
        loop_run_once(w.loop, true);
        loop_run_once(w.loop, false); /* what that put is given to the client */
        while (w.position_count)
            w.calls.on_position(w.calls.ctx, w.positions[--w.position_count], EHIS_OK, &(struct kafka_position){.offset = -1});
    }
}

/* What is on its way to a topic ends so; what was confirmed is read. */
static void sent(enum bus_topic_kind kind, ehis_err err)
{
    for (size_t i = 0; i < w.send_count; i++) {
        struct send *s = &w.sends[i];
        if (s->is_confirmed || !is_of(s->topic, kind))
            continue;
        s->is_confirmed = true;
        s->is_read = err != EHIS_OK;
        w.calls.on_sent(w.calls.ctx, s->token, err, err == EHIS_OK ? w.offset : -1);
    }
    for (size_t i = 0; i < w.send_count; i++)
        for (size_t k = 0; k < WATCHES_MAX && is_of(w.sends[i].topic, kind) && w.sends[i].is_confirmed && !w.sends[i].is_read; k++)
            if (w.watches[k].watch && strcmp(w.watches[k].topic, w.sends[i].topic) == 0) {
                w.sends[i].is_read = true;
                w.calls.on_record(w.calls.ctx, &(struct kafka_record){.watch = w.watches[k].watch, .offset = w.offset++, .broker_ms = w.clock.wall_ms, .value = buf_span(&w.sends[i].bytes)});
            }
}

/* The questions for where a topic ends, since the last time. */
static size_t answer(enum bus_topic_kind kind, ehis_err err, int64_t end)
{
    size_t count = 0;
    for (size_t i = 0; i < w.ask_count; i++)
        if (!w.asks[i].is_answered && is_of(w.asks[i].topic, kind)) {
            w.asks[i].is_answered = true;
            w.calls.on_offsets(w.calls.ctx, w.asks[i].token, err, &(struct kafka_range){0, end}, err == EHIS_OK);
            count++;
        }
    return count;
}

static uint32_t watch_of(enum bus_topic_kind kind)
{
    for (size_t i = 0; i < WATCHES_MAX; i++)
        if (w.watches[i].watch && is_of(w.watches[i].topic, kind))
            return w.watches[i].watch;
    return 0;
}

/* Beats for so long, as a gateway that is well. */
static void live(int64_t ms)
{
    for (; ms > 0; ms -= RELAY_TICK_MS) {
        pass(RELAY_TICK_MS);
        sent(TOPIC_CONTROL_LEASE, EHIS_OK);
    }
}

static void own(bool is_wanted)
{
    w.relay->bus.ops->want_inbox(&w.relay->bus, SYSTEM, is_wanted, false);
    live(4000);
    assert_int_equal(watch_of(TOPIC_INBOX) != 0, is_wanted);
}

/* As some gateway has written it, by its own clock. */
static ehis_err cursor_read(bool is_end, uint64_t time_ms)
{
    static const uint8_t begins[] = {1};
    const struct parcel p = {.head = {.kind = PARCEL_CURSOR, .gateway = span_str("AZ/gw2"), .boot = 1, .system = SYSTEM, .service = SERVICE, .event = EVENT, .time_ms = time_ms}, .payload = span_of(begins, !is_end)};
    return relay_on_cursor(w.relay, &p);
}

static void subscribed(void) { assert_int_equal(cursor_read(false, 0), EHIS_OK); }

static int begin(void **state)
{
    static int core;
    const struct relay_config config = {.options = &w.options, .gateway = GATEWAY, .read = read_journal};
    (void)state;
    memset(&w, 0, sizeof w);
    w.options.prefix = "";
    sim_clock_init(&w.clock, 1);
    sim_clock_advance_ms(&w.clock, 100000);
    if (crypto_init(NULL) != EHIS_OK || sign_key_new((const uint8_t[32]){1}, USE_SIGN, &w.key) != EHIS_OK || loop_new(&w.loop) != EHIS_OK)
        return 1;
    if (relay_new(w.loop, &w.clock.clock, &config, &w.relay, NULL) != EHIS_OK)
        return 1;
    relay_set_exchange(w.relay, (struct exchange *)(void *)&core); /* never looked at */
    relay_set_identity(w.relay, (const struct registry *)(const void *)&core, w.key);
    live(200);
    assert_true(relay_is_ready(w.relay));
    answer(TOPIC_CONTROL_CURSOR, EHIS_OK, 0);
    live(200);
    assert_true(w.relay->is_cursors_read);
    return 0;
}

static int end(void **state)
{
    (void)state;
    bus_free(&w.relay->bus);
    loop_free(w.loop);
    sign_key_free(w.key);
    for (size_t i = 0; i < w.send_count; i++)
        buf_fini(&w.sends[i].bytes);
    return 0;
}
#define RELAY_TEST(f) cmocka_unit_test_setup_teardown(f, begin, end)

/* ---- tests ---- */

static void is_ended_once(uint64_t ahead_ms)
{
    const uint64_t begins_ms = (uint64_t)w.clock.wall_ms + ahead_ms;
    assert_int_equal(cursor_read(false, begins_ms), EHIS_OK);
    assert_int_equal(cursor_read(true, begins_ms + 1), EHIS_OK);
    assert_int_equal(cursor_read(false, begins_ms + 2), EHIS_OK);
    assert_int_equal(cursor_read(true, begins_ms + 1), EHIS_E_LEASE_REPLAYED);
    assert_int_equal(cursor_read(true, begins_ms + 3), EHIS_OK);
}

static void an_end_that_is_repeated_does_not_count_though_its_writers_clock_is_ahead(void **state)
{
    (void)state;
    is_ended_once(5000);
    is_ended_once(120000);
    is_ended_once(0); /* set right meanwhile */
}

static void the_end_of_a_subscription_that_did_not_come_through_is_written_again_and_nothing_that_undoes_it(void **state)
{
    size_t ends = 0;
    (void)state;
    subscribed();
    assert_int_equal(w.relay->bus.ops->subscribe(&w.relay->bus, SYSTEM, SERVICE, EVENT, true, 0), EHIS_OK);
    for (int i = 0; i < 3; i++) {
        live(1200);
        sent(TOPIC_CONTROL_CURSOR, EHIS_E_BUS_TIMEOUT); /* it may stand there all the same */
    }
    for (size_t i = 0; i < w.send_count; i++) {
        struct parcel p;
        if (!is_of(w.sends[i].topic, TOPIC_CONTROL_CURSOR))
            continue;
        assert_int_equal(parcel_read(span_str(w.sends[i].topic), buf_span(&w.sends[i].bytes), &p, NULL), EHIS_OK);
        assert_int_equal(p.payload.len, 0);
        ends++;
    }
    assert_in_range(ends, 3, 4);
    live(1200);
    sent(TOPIC_CONTROL_CURSOR, EHIS_OK);
    size_t count = w.send_count;
    live(3000);
    for (; count < w.send_count; count++)
        assert_false(is_of(w.sends[count].topic, TOPIC_CONTROL_CURSOR));
}

static void whose_inbox_was_lost_before_it_was_given_anything_is_given_nothing(void **state)
{
    (void)state;
    subscribed();
    own(true);
    answer(TOPIC_EVENT, EHIS_OK, 0);
    assert_int_equal(watch_of(TOPIC_EVENT), 0); /* its keys are not read yet */
    own(false);
    answer(TOPIC_KEY, EHIS_OK, 0);
    live(2000);
    answer(TOPIC_KEY, EHIS_OK, 0);
    live(200);
    assert_int_equal(watch_of(TOPIC_EVENT), 0);
    assert_int_equal(watch_of(TOPIC_KEY), 0);
    own(true);
    live(1100);
    answer(TOPIC_KEY, EHIS_OK, 0);
    live(100);
    assert_int_not_equal(watch_of(TOPIC_EVENT), 0);
}

static void a_topic_that_is_not_there_is_asked_for_once_a_second(void **state)
{
    size_t keys = 0, events = 0;
    (void)state;
    subscribed();
    own(true);
    (void)answer(TOPIC_KEY, EHIS_E_BUS_NO_TOPIC, 0), (void)answer(TOPIC_EVENT, EHIS_E_BUS_NO_TOPIC, 0);
    for (int i = 0; i < 100; i++) {
        live(50);
        keys += answer(TOPIC_KEY, EHIS_E_BUS_NO_TOPIC, 0);
        events += answer(TOPIC_EVENT, EHIS_E_BUS_NO_TOPIC, 0);
    }
    assert_in_range(keys, 4, 6);
    assert_in_range(events, 4, 6);
    live(1000);
    answer(TOPIC_KEY, EHIS_OK, 0), answer(TOPIC_EVENT, EHIS_OK, 0);
    live(50);
    assert_int_not_equal(watch_of(TOPIC_EVENT), 0);
}

static void where_a_log_that_is_read_whole_ends_is_asked_again_when_it_is_another(void **state)
{
    const ehis_err errs[] = {EHIS_E_BUS_POSITION, EHIS_E_BUS_NO_TOPIC};
    (void)state;
    subscribed();
    own(true);
    answer(TOPIC_EVENT, EHIS_OK, 0);
    answer(TOPIC_KEY, EHIS_OK, 500);
    for (int i = 0; i < 2; i++) {
        w.calls.on_watch_error(w.calls.ctx, watch_of(TOPIC_KEY), errs[i], "");
        live(1100);
        assert_int_equal(answer(TOPIC_KEY, EHIS_OK, i == 0 ? 500 : 0), 1);
        live(100);
        assert_int_equal(watch_of(TOPIC_EVENT) != 0, i == 1); /* nothing of it is read before its keys are */
    }
    w.relay->is_cursors_read = false; /* as at the start */
    w.relay->cursors_end = 500;
    w.calls.on_watch_error(w.calls.ctx, watch_of(TOPIC_CONTROL_CURSOR), EHIS_E_BUS_POSITION, "");
    live(1100);
    answer(TOPIC_CONTROL_CURSOR, EHIS_OK, 0);
    live(100);
    assert_true(w.relay->is_cursors_read);
}

/* As the end of a transaction, which takes an offset and is no record. */
static void a_log_that_ends_in_what_is_no_record_is_read_whole(void **state)
{
    (void)state;
    subscribed();
    own(true);
    answer(TOPIC_EVENT, EHIS_OK, 0);
    answer(TOPIC_KEY, EHIS_OK, 3);
    live(100);
    w.calls.on_end(w.calls.ctx, watch_of(TOPIC_KEY), 2);
    live(100);
    assert_int_equal(watch_of(TOPIC_EVENT), 0);
    w.calls.on_end(w.calls.ctx, watch_of(TOPIC_KEY), 3);
    live(100);
    assert_int_not_equal(watch_of(TOPIC_EVENT), 0);
    w.relay->is_cursors_read = false; /* as at the start */
    w.relay->cursors_end = 500;
    live(100);
    assert_false(w.relay->is_cursors_read);
    w.calls.on_end(w.calls.ctx, watch_of(TOPIC_CONTROL_CURSOR), 500);
    live(100);
    assert_true(w.relay->is_cursors_read);
}

static void a_message_that_the_journal_cannot_give_holds_back_no_other(void **state)
{
    const uint8_t stream[16] = {7};
    const struct exchange_skip skip = {.sender = SYSTEM, .recipient = SYSTEM, .stream = stream, .number = 2, .state = 5};
    const ehis_err errs[] = {EHIS_E_NOT_FOUND, EHIS_E_JOURNAL_CORRUPT, EHIS_E_IO};
    const struct exchange_item gone = {.recipient = SYSTEM, .stream = stream}, behind = {.recipient = SYSTEM, .stream = stream, .skip = &skip};
    bool is_here;
    (void)state;
    for (size_t i = 0; i < 3; i++) {
        size_t count = w.send_count, found = 0;
        w.read_err = errs[i];
        w.lost = 0;
        assert_int_equal(relay_send(&w.relay->bus, &gone, &is_here), EHIS_OK);
        assert_int_equal(relay_send(&w.relay->bus, &behind, &is_here), EHIS_OK);
        live(1000);
        for (; count < w.send_count; count++)
            found += is_of(w.sends[count].topic, TOPIC_INBOX);
        assert_int_equal(found, i < 2); /* another error may pass: order is kept until it does */
        assert_int_equal(w.lost, i == 0); /* it may stand elsewhere by now; what is damaged would only come back */
    }
}

/* All in the order in which they were given, in each topic, once their topics are there. */
static void topics_that_are_not_there_hold_back_no_other_however_many(void **state)
{
    enum { TOPICS = 100 };
    const uint8_t stream[16] = {7};
    char names[TOPICS][32];
    uint64_t number[TOPICS] = {0};
    struct parcel p;
    struct exchange_skip skip = {.sender = SYSTEM, .stream = stream, .state = 5};
    struct exchange_item item = {.skip = &skip};
    bool is_here;
    (void)state;
    w.has_no_calls = true;
    for (skip.number = 1; skip.number <= 3; skip.number++)
        for (size_t i = 0; i < TOPICS; i++) {
            snprintf(names[i], sizeof names[i], "AZ/GOV/a/s%zu", i);
            skip.recipient = item.recipient = span_str(names[i]);
            assert_int_equal(relay_send(&w.relay->bus, &item, &is_here), EHIS_OK);
        }
    live(100);
    skip.recipient = item.recipient = SYSTEM;
    item.stream = stream;
    size_t first = w.send_count;
    assert_int_equal(relay_send(&w.relay->bus, &item, &is_here), EHIS_OK);
    live(100);
    while (first < w.send_count && !is_of(w.sends[first].topic, TOPIC_INBOX))
        first++;
    assert_true(first < w.send_count);
    live(3000);
    w.has_no_calls = false;
    live(2000);
    for (size_t i = 0; i < w.send_count; i++) {
        if (strncmp(w.sends[i].topic, "call.", 5) != 0)
            continue;
        assert_int_equal(parcel_read(span_str(w.sends[i].topic), buf_span(&w.sends[i].bytes), &p, NULL), EHIS_OK);
        assert_int_equal(++number[strtoul(strrchr(w.sends[i].topic, 's') + 1, NULL, 10)], p.head.number);
    }
    for (size_t i = 0; i < TOPICS; i++)
        assert_int_equal(number[i], 3);
    assert_int_equal(w.relay->waiting_count, 0);
}

static void what_the_core_cannot_take_now_is_offered_again_in_order_and_what_it_will_not_is_set_aside(void **state)
{
    const uint8_t stream[16] = {7};
    struct exchange_skip skip = {.sender = SYSTEM, .recipient = SYSTEM, .stream = stream, .number = 1, .state = 5};
    const struct exchange_item item = {.recipient = SYSTEM, .stream = stream, .skip = &skip};
    const struct { ehis_err err; bool is_later; } cases[] = {{EHIS_E_JOURNAL_FULL, true}, {EHIS_E_NO_MEMORY, true}, {EHIS_E_EXCHANGE_BUSY, true}, {EHIS_E_EXCHANGE_REGISTRY_BEHIND, true}, {EHIS_E_BUS_WRONG_INBOX, false}};
    bool is_here;
    (void)state;
    own(true);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const uint64_t refused = w.relay->refused;
        w.arrivals = 0;
        w.arrival_err = cases[i].err;
        assert_int_equal(relay_send(&w.relay->bus, &item, &is_here), EHIS_OK);
        assert_int_equal(relay_send(&w.relay->bus, &item, &is_here), EHIS_OK);
        live(50);
        sent(TOPIC_INBOX, EHIS_OK);
        assert_int_equal(w.arrivals, cases[i].is_later ? 1 : 2); /* not the second before the first */
        w.arrivals = 0;
        w.arrival_err = EHIS_OK;
        live(1500);
        assert_int_equal(w.arrivals, cases[i].is_later ? 2 : 0);
        assert_int_equal(w.relay->refused - refused, cases[i].is_later ? 0 : 2);
    }
}

static void what_is_held_has_no_place_in_a_log_that_was_cut_since(void **state)
{
    const uint8_t stream[16] = {7};
    const struct exchange_skip skip = {.sender = SYSTEM, .recipient = SYSTEM, .stream = stream, .number = 1, .state = 5};
    const struct exchange_item item = {.recipient = SYSTEM, .stream = stream, .skip = &skip};
    bool is_here;
    (void)state;
    own(true);
    assert_int_equal(relay_send(&w.relay->bus, &item, &is_here), EHIS_OK);
    live(50);
    sent(TOPIC_INBOX, EHIS_OK);
    assert_int_equal(w.arrivals, 1);
    assert_true(w.relay->bus.ops->has(&w.relay->bus, w.handle));
    w.calls.on_watch_error(w.calls.ctx, watch_of(TOPIC_INBOX), EHIS_E_BUS_UNREACHABLE, "");
    assert_true(w.relay->bus.ops->has(&w.relay->bus, w.handle)); /* read on from where it was */
    live(2000);
    w.calls.on_watch_error(w.calls.ctx, watch_of(TOPIC_INBOX), EHIS_E_BUS_POSITION, "");
    assert_false(w.relay->bus.ops->has(&w.relay->bus, w.handle));
}

/* So many records that are none come to the inbox. */
static void junk(size_t count, size_t bytes)
{
    static const uint8_t value[900000];
    for (; count; count--)
        w.calls.on_record(w.calls.ctx, &(struct kafka_record){.watch = watch_of(TOPIC_INBOX), .offset = w.offset++, .broker_ms = w.clock.wall_ms, .value = span_of(value, bytes)});
}

static void nothing_that_was_given_to_an_unsafe_cluster_is_called_replicated(void **state)
{
    const uint8_t stream[16] = {7};
    const struct exchange_skip skip = {.sender = SYSTEM, .recipient = SYSTEM, .stream = stream, .number = 2, .state = 5};
    const struct exchange_item item = {.recipient = SYSTEM, .stream = stream, .skip = &skip}; /* needs no journal */
    bool is_here;
    (void)state;
#define SEND() assert_int_equal(relay_send(&w.relay->bus, &item, &is_here), EHIS_OK), pass(100)
#define ASSERT_TOLD(replicated_, unsure_, safe_) \
    assert_int_equal(w.replicated, replicated_), assert_int_equal(w.unsure, unsure_), assert_int_equal(w.safe, safe_)
    SEND();
    sent(TOPIC_INBOX, EHIS_OK);
    ASSERT_TOLD(1, 0, 0);
    SEND();
    relay_set_unsafe(w.relay, true);
    sent(TOPIC_INBOX, EHIS_OK); /* perhaps it was safe still */
    live(2000);
    ASSERT_TOLD(1, 1, 0);
    SEND();
    relay_set_unsafe(w.relay, false);
    live(100);
    ASSERT_TOLD(1, 1, 1);
    sent(TOPIC_INBOX, EHIS_OK); /* perhaps it was confirmed before */
    live(100);
    ASSERT_TOLD(1, 2, 2);
    SEND();
    sent(TOPIC_INBOX, EHIS_OK);
    live(2000);
    ASSERT_TOLD(2, 2, 2);
    w.options.is_pilot = true;
    relay_set_unsafe(w.relay, true);
    SEND();
    sent(TOPIC_INBOX, EHIS_OK);
    ASSERT_TOLD(2, 2, 2);
    assert_int_equal(w.carried, 3);
#undef ASSERT_TOLD
#undef SEND
}

static void while_dlq_is_away_an_inbox_goes_on_as_far_as_its_window_reaches(void **state)
{
    const uint8_t stream[16] = {7};
    struct exchange_skip skip = {.sender = SYSTEM, .recipient = SYSTEM, .stream = stream, .number = 1, .state = 5};
    const struct exchange_item item = {.recipient = SYSTEM, .stream = stream, .skip = &skip};
    bool is_here;
    struct parcel p;
    size_t dead = 0, whole = 0;
    (void)state;
    own(true);
    w.is_junk = w.has_no_dlq = true;
    const int64_t first = w.offset;
    junk(5, 900000); /* more than may be held of what is under way */
    for (size_t s = 0; s < 52; s++) {
        live(1000);
        junk(20, 10);
    }
    assert_int_equal(w.relay->held_count, 5 + 52 * 20);
    assert_false(w.is_paused);
    assert_int_equal(relay_send(&w.relay->bus, &item, &is_here), EHIS_OK);
    live(50);
    sent(TOPIC_INBOX, EHIS_OK);
    assert_int_equal(w.arrivals, 1);
    junk((size_t)(WINDOW_OFFSETS_MAX - 1024 - (w.offset - first)), 10); /* too many a second: they are counted alone */
    assert_false(w.is_paused);
    junk(1, 10);
    assert_true(w.is_paused);
    w.has_no_dlq = false;
    live(3000);
    sent(TOPIC_DLQ, EHIS_OK);
    assert_false(w.is_paused);
    assert_int_equal(w.relay->held_count, 1); /* what arrived is with the core */
    for (size_t i = 0; i < w.send_count; i++)
        if (is_of(w.sends[i].topic, TOPIC_DLQ)) {
            assert_int_equal(parcel_read(span_str("dlq"), buf_span(&w.sends[i].bytes), &p, NULL), EHIS_OK);
            dead++;
            whole += p.payload.len == 900000;
        }
    assert_int_equal(dead, 5 + 52 * 20);
    assert_int_equal(whole, 2); /* all are told of, not all as they were */
}

/* However many inboxes it comes to: what is accepted has room. */
static void while_dlq_is_away_no_more_wait_for_it_than_others_leave_room_for(void **state)
{
    (void)state;
    own(true);
    w.is_junk = w.has_no_dlq = true;
    w.relay->dead_count = RELAY_DEAD_MAX - 1;
    junk(2, 10);
    assert_int_equal(w.relay->held_count, 1);
    assert_int_equal(w.relay->refused, 2);
    assert_int_equal(w.junk, 2);
    w.relay->dead_count = 1;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        RELAY_TEST(an_end_that_is_repeated_does_not_count_though_its_writers_clock_is_ahead),
        RELAY_TEST(the_end_of_a_subscription_that_did_not_come_through_is_written_again_and_nothing_that_undoes_it),
        RELAY_TEST(whose_inbox_was_lost_before_it_was_given_anything_is_given_nothing),
        RELAY_TEST(a_topic_that_is_not_there_is_asked_for_once_a_second),
        RELAY_TEST(where_a_log_that_is_read_whole_ends_is_asked_again_when_it_is_another),
        RELAY_TEST(a_log_that_ends_in_what_is_no_record_is_read_whole),
        RELAY_TEST(topics_that_are_not_there_hold_back_no_other_however_many),
        RELAY_TEST(what_the_core_cannot_take_now_is_offered_again_in_order_and_what_it_will_not_is_set_aside),
        RELAY_TEST(what_is_held_has_no_place_in_a_log_that_was_cut_since),
        RELAY_TEST(a_message_that_the_journal_cannot_give_holds_back_no_other),
        RELAY_TEST(nothing_that_was_given_to_an_unsafe_cluster_is_called_replicated),
        RELAY_TEST(while_dlq_is_away_an_inbox_goes_on_as_far_as_its_window_reaches),
        RELAY_TEST(while_dlq_is_away_no_more_wait_for_it_than_others_leave_room_for),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
