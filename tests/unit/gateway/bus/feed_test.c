/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* A partition of an event's topic and its subscribers, with all around relay_feed.c in this file: a log, two readers that stand somewhere in it, and
 * subscribers that have room or not. Who gets what, in which order, and who waits for whom. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include "base/bytes.h"
#include "gateway/bus/relay_priv.h"

#define SUBSCRIBERS 6
#define LOG_START 40

struct sub { struct follower c; struct reading *x; int64_t begin, next; uint32_t room, held; uint32_t watch; };
static struct {
    struct relay relay;
    struct event *event;
    struct sub subs[SUBSCRIBERS];
    size_t count;
    int64_t end, start;      /* of the log */
    struct reading *readers[2];
    int holds;
    uint32_t watches, restarts;
} w;

static const struct bus_kafka_options options = {.prefix = "t"};
static uint64_t random_state;
static uint32_t draw(uint32_t n)
{
    random_state = random_state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(random_state >> 33) % n;
}

/* ---- what it calls ---- */

struct reading *relay_read(struct relay *r, const struct reading *as)
{
    struct reading *g = calloc(1, sizeof *g);
    assert_non_null(g);
    *g = *as;
    g->relay = r;
    g->watch = ++w.watches;
    node_init(&g->held);
    node_init(&g->later);
    g->state = as->kind == READ_FEED && as->at < 0 ? READING_IDLE : READING_READS;
    if (as->kind == READ_KEY)
        g->at = 3; /* read to their end at once */
    if (as->kind == READ_FEED)
        w.readers[as->lane == KAFKA_LAG] = g;
    return g;
}
void relay_read_from(struct reading *g, int64_t from)
{
    g->at = from;
    g->state = READING_READS;
    g->is_paused = false;
    w.restarts++;
}
void relay_read_stop(struct reading *g) { g->state = READING_IDLE; }
void relay_unread(struct reading *g)
{
    for (int i = 0; i < 2; i++)
        if (w.readers[i] == g)
            w.readers[i] = NULL;
    free(g);
}
void relay_forget_offsets(struct reading *g) { (void)g; }
void kafka_hold(struct kafka *k, void *hold) { (void)k, (void)hold, w.holds++; }
void kafka_release(struct kafka *k, void *hold) { (void)k, (void)hold, w.holds--; }
void kafka_pause(struct kafka *k, uint32_t watch, bool is_paused) { (void)k, (void)watch, (void)is_paused; }
ehis_err kafka_offsets_get(struct kafka *k, const char *topic, int64_t from_ms, uint64_t token)
{
    (void)k, (void)topic, (void)from_ms, (void)token; /* answered in add */
    return EHIS_OK;
}
void relay_event_ask(struct relay *r, struct event *e, int64_t from_ms) { (void)r, (void)from_ms, relay_event_grow(e, 1); }

static void pace(struct sub *s)
{
    bool is_full = s->held >= s->room, has_room = s->held <= s->room / 2;
    if (s->x->is_paused ? !has_room : !is_full)
        return;
    s->x->is_paused = !s->x->is_paused;
    relay_feed_pace(w.event, 0);
}

void relay_on_record(void *ctx, struct kafka_record *record)
{
    bool is_known;
    (void)ctx;
    for (size_t i = 0; i < w.count; i++) {
        struct sub *s = &w.subs[i];
        if (!s->x || s->x->watch != record->watch)
            continue;
        assert_int_equal(record->offset, s->next); /* the next, once */
        assert_true(s->held < s->room);
        assert_int_equal(window_begin(&s->x->window, record->offset, &is_known), EHIS_OK);
        assert_false(is_known);
        s->next++;
        s->held++;
        pace(s);
        return;
    }
    fail_msg("watch %u is nobody's", record->watch);
}

/* ---- what happens ---- */

static void finish(struct sub *s)
{
    if (!s->held)
        return;
    window_finish(&s->x->window, s->next - s->held);
    s->held--;
    w.holds--;
    pace(s);
}

static bool step(int lane)
{
    struct reading *f = w.readers[lane];
    if (!f || f->state != READING_READS || f->is_paused || f->at >= w.end)
        return false;
    assert_true(f->at >= w.start);
    w.holds++;
    relay_feed(f, &(struct kafka_record){.offset = f->at});
    return true;
}

static void drop(struct sub *s)
{
    w.holds -= (int)s->held; /* as relay_unread gives them back */
    relay_event_stop(&s->c);
    s->x = NULL;
    s->held = 0;
}

static struct sub *add(int64_t begin, uint32_t room)
{
    struct sub *s = &w.subs[w.count++];
    struct window at;
    struct buf b;
    buf_init(&b, 64);
    window_init(&at, begin);
    assert_int_equal(window_put(&at, &b), EHIS_OK);
    *s = (struct sub){.begin = begin, .next = begin, .room = room};
    s->c.event = w.event;
    s->c.state = CURSOR_THERE;
    s->c.positions = malloc(b.len);
    s->c.positions_len = b.len;
    memcpy(s->c.positions, buf_span(&b).p, b.len);
    list_add(&w.event->cursors, &s->c.in_event);
    relay_event_start(&w.relay, &s->c);
    assert_true(w.count > 1 || !s->c.parts); /* not before the keys are read */
    w.event->keys_end = 3;
    relay_event_go(&w.relay, w.event);
    s->x = s->c.parts[0];
    buf_fini(&b);
    return s;
}

static void begin(int64_t end)
{
    memset(&w, 0, sizeof w);
    w.event = calloc(1, sizeof *w.event);
    w.event->service = span_str("AZ/GOV/MIA/population/person");
    w.event->name = span_str("PersonChanged");
    w.event->keys_end = UNKNOWN;
    w.relay.clock = &clock_system;
    w.relay.config.options = &options;
    node_init(&w.event->cursors);
    w.start = LOG_START;
    w.end = end;
}

static void end(void)
{
    for (size_t i = 0; i < w.count; i++) {
        if (w.subs[i].x)
            drop(&w.subs[i]);
        free(w.subs[i].c.positions);
    }
    assert_int_equal(w.holds, 0);
    assert_null(w.readers[0]); /* nobody is left: nothing is read */
    assert_null(w.readers[1]);
    free(w.event->parts);
    free(w.event);
}

/* ---- tests ---- */

static void each_gets_everything_once_and_in_order_whoever_has_room_when(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 300; seed++) {
        random_state = seed;
        begin(400);
        size_t want = 1 + draw(SUBSCRIBERS);
        for (int turns = 0, idle = 0; idle < 3; turns++) {
            bool is_busy = w.count < want;
            if (is_busy && draw(20) == 0)
                add(LOG_START + draw(300), 1 + draw(40));
            for (int lane = 0; lane < 2; lane++)
                if (draw(2))
                    is_busy |= step(lane);
                else
                    is_busy |= w.readers[lane] && w.readers[lane]->state == READING_READS && !w.readers[lane]->is_paused && w.readers[lane]->at < w.end;
            for (size_t i = 0; i < w.count; i++) {
                is_busy |= w.subs[i].held > 0;
                if (draw((uint32_t)i + 1) == 0)
                    finish(&w.subs[i]);
            }
            idle = is_busy ? 0 : idle + 1;
            if (turns > 200000)
                fail_msg("seed %llu does not come to an end", (unsigned long long)seed);
        }
        for (size_t i = 0; i < w.count; i++)
            if (w.subs[i].next != w.end)
                fail_msg("seed %llu: subscriber %zu stands at %lld", (unsigned long long)seed, i, (long long)w.subs[i].next);
        end();
    }
}

static void one_that_takes_nothing_holds_nobody(void **state)
{
    (void)state;
    begin(10000);
    struct sub *stuck = add(LOG_START, 100), *fast = add(LOG_START, 100);
    for (int64_t n = 0; n < 9960; n++) {
        step(0);
        finish(fast);
    }
    assert_int_equal(fast->next, 10000);
    assert_int_equal(stuck->next, LOG_START + 100);
    assert_false(step(1)); /* it has no room: nothing is read for it */
    for (int i = 0; i < 60; i++)
        finish(stuck);
    assert_true(step(1));
    assert_int_equal(w.restarts, 2);
    end();
}

static void those_who_are_behind_take_turns(void **state)
{
    (void)state;
    begin(100000);
    struct sub *head = add(99990, 100), *a = add(LOG_START, 4000), *b = add(50000, 4000);
    int64_t from_b = b->next;
    for (int i = 0; i < 1024; i++)
        assert_true(step(1));
    assert_int_equal(a->next, LOG_START + 1024);
    assert_int_equal(b->next, from_b);
    for (int i = 0; i < 1024; i++)
        assert_true(step(1));
    assert_int_equal(a->next, LOG_START + 1024);
    assert_int_equal(b->next, from_b + 1024);
    while (step(0))
        finish(head);
    assert_int_equal(head->next, 100000); /* beside them */
    drop(b); /* whose turn it is not, or is */
    assert_true(step(1));
    drop(a);
    assert_false(step(1));
    end();
}

static void who_catches_up_is_fed_with_the_others(void **state)
{
    (void)state;
    begin(300);
    struct sub *head = add(200, 1000), *late = add(100, 1000);
    while (step(1))
        ;
    assert_int_equal(late->next, 200);
    assert_int_equal(head->next, 200);
    while (step(0))
        ;
    assert_int_equal(late->next, 300);
    assert_int_equal(head->next, 300);
    drop(head); /* who is left leads */
    w.end = 310;
    while (step(0))
        ;
    assert_int_equal(late->next, 310);
    end();
}

static void its_positions_are_kept_when_it_stops(void **state)
{
    struct window back;
    size_t at = 0;
    (void)state;
    begin(300);
    struct sub *s = add(100, 10);
    while (step(0))
        ;
    window_finish(&s->x->window, 104);
    for (int i = 0; i < 3; i++)
        finish(s);
    drop(s);
    assert_int_equal(window_get(&back, span_of(s->c.positions, s->c.positions_len), &at), EHIS_OK);
    assert_int_equal(at, s->c.positions_len);
    assert_int_equal(window_position(&back), 103);
    end();
}

/* Who leads, who is behind and who has no room: all begin with the first record of the new topic, and get each of it. */
static void all_begin_anew(void (*anew)(struct reading *))
{
    begin(300);
    struct sub *head = add(200, 1000), *late = add(100, 1000), *full = add(150, 20), *all[] = {head, late, full};
    for (int i = 0; i < 30; i++)
        (void)step(0), (void)step(1);
    w.readers[0]->state = READING_RESTS; /* as relay_on_watch_error leaves it */
    anew(w.readers[0]);
    for (int i = 0; i < 3; i++)
        all[i]->next = 0;
    w.start = 0;
    w.end = 500; /* more than was read of the old one */
    assert_int_equal(w.readers[0]->at, 0);
    w.readers[0]->state = READING_READS; /* the tick */
    for (bool is_more = true; is_more;) {
        is_more = step(0) | step(1);
        for (int i = 0; i < 3; i++)
            while (all[i]->held)
                finish(all[i]);
    }
    for (int i = 0; i < 3; i++)
        assert_int_equal(all[i]->next, 500);
    for (int i = 0; i < 3; i++)
        assert_true(all[i]->c.is_dirty);
    end();
}

static void when_the_topic_has_gone_all_begin_anew_with_the_one_that_is_made_again(void **state)
{
    (void)state;
    all_begin_anew(relay_feed_gone);
}

static void when_the_log_ends_before_what_the_leader_is_to_read_all_begin_anew(void **state)
{
    (void)state;
    all_begin_anew(relay_feed_reset);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_gets_everything_once_and_in_order_whoever_has_room_when),
        cmocka_unit_test(one_that_takes_nothing_holds_nobody),
        cmocka_unit_test(those_who_are_behind_take_turns),
        cmocka_unit_test(who_catches_up_is_fed_with_the_others),
        cmocka_unit_test(its_positions_are_kept_when_it_stops),
        cmocka_unit_test(when_the_topic_has_gone_all_begin_anew_with_the_one_that_is_made_again),
        cmocka_unit_test(when_the_log_ends_before_what_the_leader_is_to_read_all_begin_anew),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
