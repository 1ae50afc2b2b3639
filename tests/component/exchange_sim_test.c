/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* The real core driven by one seed: systems that call, send streams, publish, acknowledge, refuse to read, die and come back; a gateway that is
 * killed and replays its journal, carries segments ahead and runs out of room. The model of each system is what libehis promises; what is
 * checked is the contract:
 *   R1 what was accepted is never lost        R2 in a stream each is handed over once and in order
 *   R3 nothing goes out before it is durable  R4 a receipt says only what has happened, and the same each time
 * and that records are numbered without a gap, bounds hold, and a replay gives the state that was. */
#include <stdio.h>
#include <stdlib.h>

#include "tests/component/exchange_sim.h"

/* ---- the gateway's troubles ---- */

static void restart(void)
{
    bool keeps = BELOW(2);
    model_take_outputs();
    if (!keeps)
        for (size_t i = 0; i < KNOWN_SLOTS; i++) { /* what was not durable never happened */
            struct one *m = w.known[i];
            if (!m)
                continue;
            m->accepted_group = m->accepted_group == w.h->open_group ? 0 : m->accepted_group;
            m->refused_group = m->refused_group == w.h->open_group ? 0 : m->refused_group;
            m->final_group = m->final_group == w.h->open_group ? 0 : m->final_group;
            for (size_t j = 0; j < SYSTEMS; j++)
                m->ended_group[j] = m->ended_group[j] == w.h->open_group ? 0 : m->ended_group[j];
        }
    sim_restart(w.h, keeps);
    sim_forget(w.h);
    if (w.scanned > w.h->count)
        w.scanned = w.h->count;
    struct record r;
    w.sequence = 0;
    size_t last = w.scanned;
    if (last > w.h->first) {
        MUST(record_read(buf_span(&w.h->entries[last - 1].record), &r, NULL));
        w.sequence = r.sequence;
    }
    for (size_t sys = 0; sys < SYSTEMS; sys++) {
        w.session[sys] = 0;
        model_forget_arrivals(sys);
        for (size_t i = 0; i < STREAMS; i++)
            if (w.streams[i].from == sys)
                w.streams[i].is_open = false;
    }
    sim_pass(w.h, 1); /* what time had made forgotten goes again */
    w.restarts++;
}

static uint64_t waiting_sum;
static void add_waiting(void *ctx, const struct exchange_inbox_status *i)
{
    (void)ctx;
    waiting_sum += i->waiting * 1000003 + i->waiting_bytes;
}

/* A replay of what the journal holds gives what is in memory. */
static void compare_replay(void)
{
    struct exchange *other;
    struct exchange_status s, t;
    sim_durable(w.h);
    model_take_outputs();
    exchange_status(w.h->x, &s);
    waiting_sum = 0;
    exchange_each_inbox(w.h->x, add_waiting, NULL);
    uint64_t sum = waiting_sum;
    MUST(sim_replay_into(w.h, &other));
    exchange_status(other, &t);
    waiting_sum = 0;
    exchange_each_inbox(other, add_waiting, NULL);
    CHECK(s.stored_bytes == t.stored_bytes);
    CHECK(s.streams == t.streams && s.subscriptions == t.subscriptions && s.next_sequence == t.next_sequence);
    CHECK(t.stored_messages >= s.stored_messages && t.known_calls >= s.known_calls);
    if (w.is_calm)
        CHECK(sum == waiting_sum);
    exchange_free(other);
}

static void check_bounds(void)
{
    struct exchange_status s;
    exchange_status(w.h->x, &s);
    CHECK(s.stored_messages <= SYSTEMS * w.h->bounds.stored_messages_max);
    CHECK(s.in_flight <= SYSTEMS * (16 + 32));
}

static void step(void)
{
    size_t sys = BELOW(SYSTEMS), index = BELOW(5);
    switch (BELOW(40)) {
    case 0: case 1: case 2: case 3: case 4: case 5: case 6:
        model_write(index);
        break;
    case 7: case 8: case 9: case 10: case 11: case 12: case 13: case 14:
        for (size_t n = BELOW(12); n-- > 0;)
            model_push(BELOW(STREAMS));
        break;
    case 15: case 16: case 17:
        model_call();
        break;
    case 18:
        model_call_again();
        break;
    case 19: case 20: case 21:
        model_serve();
        break;
    case 22: case 23: case 24: case 25:
        model_acknowledge(sys);
        break;
    case 26:
        if (w.session[sys])
            w.is_deaf[sys] = BELOW(2);
        break;
    case 27: case 28:
        if (w.session[sys]) {
            w.is_deaf[sys] = false;
            exchange_session_room(w.h->x, w.session[sys], w.h->clock.wall_ms);
        } else {
            model_connect(sys);
        }
        break;
    case 29:
        if (BELOW(4) == 0)
            model_die(sys);
        break;
    case 30:
        sim_pass(w.h, 50 + (int64_t)BELOW(3000));
        break;
    case 31:
        model_settle(BELOW(STREAMS));
        break;
    case 32:
        if (BELOW(8) == 0)
            restart();
        break;
    case 33:
        if (BELOW(4) == 0) {
            sim_release(w.h);
            w.releases++;
        }
        break;
    case 34:
        if (w.h->entries[w.h->first].segment < w.h->segment) /* carried in part, then perhaps killed */
            exchange_carry(w.h->x, w.h->entries[w.h->first].segment, BELOW(5), w.h->clock.wall_ms);
        break;
    case 35:
        w.h->room_bytes = BELOW(4) ? UINT64_C(1) << 40 : 50000;
        break;
    default:
        sim_durable(w.h);
    }
    model_take_outputs();
    check_bounds();
}

/* Everything comes back and is read: all must end. */
static void calm_down(void)
{
    w.is_calm = true;
    w.h->room_bytes = UINT64_C(1) << 40;
    for (size_t i = 0; i < SYSTEMS; i++) {
        model_die(i);
        model_connect(i);
    }
    for (int round = 0; round < 4000; round++) {
        for (size_t i = 0; i < STREAMS; i++) {
            model_settle(i);
            for (int n = 0; n < 4; n++)
                model_push(i);
        }
        for (size_t i = 0; i < SYSTEMS; i++)
            model_acknowledge(i);
        model_serve();
        model_call_again();
        sim_durable(w.h);
        model_take_outputs();
        if (round % 10 == 0)
            sim_pass(w.h, 1000);
        model_take_outputs();
        w.step++;
    }
    sim_pass(w.h, 40000);
    sim_durable(w.h);
    model_take_outputs();
    compare_replay();
}

static void check_end(void)
{
    for (size_t i = 0; i < STREAMS; i++) {
        struct stream *st = &w.streams[i];
        if (st->lowest != st->count + 1)
            fprintf(stderr, "stream %zu ends at %llu of %llu, next %llu\n", i, (unsigned long long)st->lowest, (unsigned long long)st->count, (unsigned long long)st->next);
        CHECK(st->lowest == st->count + 1); /* each has its final receipt */
        for (uint64_t n = 1; n <= st->count; n++) {
            const struct one *m = st->sent[n];
            unsigned handled = m->handled[A] + m->handled[B] + m->handled[C], rejected = m->rejected[A] + m->rejected[B] + m->rejected[C];
            if (st->event) {
                CHECK(m->final != STATE_ACCEPTED || handled >= 1 || m->final_group); /* dead-lettered, or nobody was there yet */
                continue;
            }
            if (m->final == STATE_DELIVERED)
                CHECK(handled == 1 && rejected == 0);
            else if (m->final == STATE_REFUSED)
                CHECK(handled == 0);
            else if (m->final == STATE_FAILED)
                CHECK(rejected == handled || m->code == EHIS_E_EXCHANGE_DEAD_LETTER);
            else
                CHECK(m->final == STATE_EXPIRED && m->is_short);
        }
    }
    for (size_t i = 0; i < w.call_count; i++) {
        CHECK(w.calls[i]->runs <= 1);
        CHECK(w.calls[i]->is_done);
    }
    sim_pass(w.h, 120000);
    sim_durable(w.h);
    struct exchange_status s;
    exchange_status(w.h->x, &s);
    CHECK(s.stored_bytes == 0 && s.in_flight == 0);
}

static bool is_deaf(void *ctx, session_id s)
{
    (void)ctx;
    for (size_t i = 0; i < SYSTEMS; i++)
        if (w.session[i] == s)
            return w.is_deaf[i];
    return false;
}

static unsigned all_shares;
static void run(uint64_t seed, uint64_t steps)
{
    static const struct { size_t from; const char *recipient, *event, *operation; } plan[STREAMS] = {
        {A, "AZ/GOV/b/two", NULL, "Put"}, {A, "AZ/GOV/b/two", NULL, "Put"}, {C, "AZ/GOV/b/two", NULL, "Put"}, {B, "AZ/GOV/a/one", NULL, "Get"},
        {B, SVC, "Changed", "Changed"}, {B, "AZ/GOV/a/one", NULL, "Get"}, {B, "AZ/GOV/c/three", NULL, "Get"}};
    memset(&w, 0, sizeof w);
    w.seed = w.random = seed;
    w.h = sim_house_new(seed);
    w.h->is_full = is_deaf;
    w.h->segment_entries = 40 + BELOW(200);
    w.h->bounds.stored_messages_max = 150;
    w.h->bounds.attempts_max = 3;
    sim_restart(w.h, true);
    w.sequence = w.h->count;
    w.scanned = w.h->count;
    for (size_t i = 0; i < STREAMS; i++) {
        struct stream *st = &w.streams[i];
        st->from = plan[i].from;
        st->recipient = plan[i].recipient;
        st->event = plan[i].event;
        st->operation = plan[i].operation;
        st->next = st->lowest = st->settled = 1;
        random_fill(&w.h->clock.random, st->id, 16);
    }
    for (size_t i = 0; i < SYSTEMS; i++) {
        random_fill(&w.h->clock.random, w.state[i], 16);
        model_connect(i);
    }
    for (w.step = 0; w.step < steps; w.step++) {
        step();
        if (w.step % 1500 == 1499)
            compare_replay();
    }
    calm_down();
    check_end();
    struct exchange_status s;
    exchange_status(w.h->x, &s);
    uint64_t sent = 0;
    for (size_t i = 0; i < STREAMS; i++)
        sent += w.streams[i].count;
    printf("seed %llu: %llu in streams, %zu calls, %u responses, %u skips, %u duplicates, %u restarts, %u releases, %u deaths, %u beyond a share\n", (unsigned long long)seed,
           (unsigned long long)sent, w.call_count, w.responses, w.skips, w.duplicates, w.restarts, w.releases, w.deaths, w.shares);
    fflush(stdout);
    all_shares += w.shares;
    for (size_t i = 0; i < KNOWN_SLOTS; i++)
        if (w.known[i]) {
            buf_fini(&w.known[i]->bytes);
            free(w.known[i]);
        }
    sim_house_free(w.h);
}

/* exchange_sim_test [seed [steps]] */
int main(int argc, char **argv)
{
    uint64_t seed = argc > 1 ? strtoull(argv[1], NULL, 10) : 0, steps = argc > 2 ? strtoull(argv[2], NULL, 10) : 5000;
    if (argc > 1) {
        run(seed, steps);
        return 0;
    }
    for (seed = 1; seed <= 12; seed++)
        run(seed, steps);
    CHECK(all_shares > 0);
    return 0;
}
