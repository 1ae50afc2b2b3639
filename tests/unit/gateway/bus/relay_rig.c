/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
#include "tests/unit/gateway/bus/relay_rig.h"

struct relay_rig w;

/* ---- the client ---- */

ehis_err kafka_new(struct loop *loop, const struct kafka_config *config, const struct kafka_calls *calls, struct kafka **out, struct ehis_why *why)
{
    (void)loop, (void)config, (void)why;
    w.calls = *calls;
    *out = (struct kafka *)(void *)&w; /* never looked at */
    return EHIS_OK;
}
void kafka_free(struct kafka *k) { (void)k; }
void kafka_leave(struct kafka *k) { (void)k; }
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
    (void)ctx, (void)into;
    *out = (struct journal_entry){.pos = *pos, .record = span_str("record")};
    return w.read_err;
}

/* ---- what happens ---- */

bool is_of(const char *topic, enum bus_topic_kind kind)
{
    char name[BUS_TOPIC_NAME_MAX_BYTES + 1];
    struct span owner = kind == TOPIC_KEY || kind == TOPIC_EVENT ? SERVICE : kind == TOPIC_INBOX ? SYSTEM : span_of(NULL, 0);
    bus_topic_name("", kind, owner, kind == TOPIC_KEY || kind == TOPIC_EVENT ? EVENT : span_of(NULL, 0), name);
    return strcmp(topic, name) == 0;
}

void pass(int64_t ms)
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

void sent(enum bus_topic_kind kind, ehis_err err)
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

size_t answer(enum bus_topic_kind kind, ehis_err err, int64_t end)
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

uint32_t watch_of(enum bus_topic_kind kind)
{
    for (size_t i = 0; i < WATCHES_MAX; i++)
        if (w.watches[i].watch && is_of(w.watches[i].topic, kind))
            return w.watches[i].watch;
    return 0;
}

void live(int64_t ms)
{
    for (; ms > 0; ms -= RELAY_TICK_MS) {
        pass(RELAY_TICK_MS);
        sent(TOPIC_CONTROL_LEASE, EHIS_OK);
    }
}

void own(bool is_wanted)
{
    w.relay->bus.ops->want_inbox(&w.relay->bus, SYSTEM, is_wanted, false);
    live(4000);
    assert_int_equal(watch_of(TOPIC_INBOX) != 0, is_wanted);
}

ehis_err cursor_read(bool is_end, uint64_t time_ms)
{
    static const uint8_t begins[] = {1};
    const struct parcel p = {.head = {.kind = PARCEL_CURSOR, .gateway = span_str("AZ/gw2"), .boot = 1, .system = SYSTEM, .service = SERVICE, .event = EVENT, .time_ms = time_ms}, .payload = span_of(begins, !is_end)};
    return relay_on_cursor(w.relay, &p);
}

void subscribed(void) { assert_int_equal(cursor_read(false, 0), EHIS_OK); }

int rig_start(void **state)
{
    static int core;
    const struct relay_config config = {.options = &w.options, .gateway = "AZ/gw1", .read = read_journal};
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

int rig_stop(void **state)
{
    (void)state;
    bus_free(&w.relay->bus);
    loop_free(w.loop);
    sign_key_free(w.key);
    for (size_t i = 0; i < w.send_count; i++)
        buf_fini(&w.sends[i].bytes);
    return 0;
}
