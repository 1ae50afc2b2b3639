/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* What a reload tells to all sessions, turn by turn, between a registry and links that stand in this file. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include "gateway/session/sessions_priv.h"
#include "tests/support/sim_clock.h"

#define COUNT 100u
#define ONE_MS 1 /* to make a part, or a list */

static struct {
    struct sim_clock clock;
    struct loop *loop;
    struct sessions all;
    struct session sessions[COUNT];
    uint64_t version, have[COUNT];
    unsigned registries[COUNT], crls[COUNT], in_turn;
} w;

static struct session *session_at(struct link *l) { return &w.sessions[(uintptr_t)l - 1]; }

ehis_err link_send(struct link *l, uint8_t type, const struct span *parts, size_t count)
{
    const size_t at = (size_t)(session_at(l) - w.sessions);
    assert_int_equal(count, 1);
    if (type == FRAME_REGISTRY) {
        w.registries[at]++;
        w.have[at] = parts->p[0];
    } else {
        assert_int_equal(type, FRAME_CRL);
        w.crls[at]++;
    }
    w.in_turn++;
    return EHIS_OK;
}
void session_fail(struct session *x, ehis_err err, uint8_t type, const struct ehis_why *why)
{
    (void)type, (void)why;
    fail_msg("%s: %s", x->peer.leaf.id, ehis_err_name(err));
}
uint64_t registry_version(const struct registry *r) { return (void)r, w.version; }
const struct registry_owner *registry_system(const struct registry *r, struct span id)
{
    static struct registry_owner owner;
    (void)r;
    owner.id = id;
    return &owner;
}
ehis_err registry_part(const struct registry *r, struct span system, uint64_t have, struct buf *out, struct ehis_why *why)
{
    const uint8_t byte = (uint8_t)have;
    (void)r, (void)system, (void)why;
    sim_clock_advance_ms(&w.clock, ONE_MS);
    return buf_put(out, &byte, 1);
}
struct span pki_trust_crl_bundle(const struct pki_trust *t) { return (void)t, sim_clock_advance_ms(&w.clock, ONE_MS), span_str("crl"); }

static void on_open(struct session *x, uint64_t version)
{
    x->all = &w.all;
    x->id = (session_id)(x - w.sessions) + 1;
    x->link = (struct link *)(uintptr_t)x->id; /* never looked at */
    x->registry_version = version;
    snprintf(x->peer.leaf.id, sizeof x->peer.leaf.id, "AZ/GOV/a/s%u", (unsigned)x->id);
    x->next = w.all.live;
    if (x->next)
        x->next->prev = x;
    w.all.live = x;
}

static int begin(void **state)
{
    (void)state;
    memset(&w, 0, sizeof w);
    sim_clock_init(&w.clock, 1);
    w.version = 1;
    w.all.clock = &w.clock.clock;
    buf_init(&w.all.part.bytes, 1024);
    buf_init(&w.all.payload, 1024);
    if (loop_new(&w.loop) != EHIS_OK)
        return 1;
    w.all.loop = w.loop;
    for (size_t i = 0; i < COUNT; i++)
        on_open(&w.sessions[i], 1);
    return sessions_push_init(&w.all) != EHIS_OK;
}
static int end(void **state)
{
    (void)state;
    loop_timer_free(w.all.push_turn);
    loop_free(w.loop);
    buf_fini(&w.all.part.bytes);
    buf_fini(&w.all.payload);
    return 0;
}
#define PUSH_TEST(f) cmocka_unit_test_setup_teardown(f, begin, end)

static void reload(bool registry, bool crl)
{
    const uint64_t before = w.version;
    w.version += registry;
    sessions_push_all(&w.all, before, registry, crl);
}

static size_t turns(size_t most)
{
    size_t n = 0;
    for (; w.all.push_next && n < most; n++) {
        w.in_turn = 0;
        loop_run_once(w.loop, true);
        assert_in_range(w.in_turn, 0, 3);
    }
    return n;
}

static void all_hear_of_a_reload_a_few_in_a_turn(void **state)
{
    (void)state;
    reload(true, true);
    assert_int_equal(w.in_turn, 0); /* not within the reload itself */
    assert_in_range(turns(SIZE_MAX), COUNT / 2, COUNT + 1);
    for (size_t i = 0; i < COUNT; i++) {
        assert_int_equal(w.registries[i], 1);
        assert_int_equal(w.crls[i], 1);
        assert_int_equal(w.have[i], 1);
        assert_int_equal(w.sessions[i].registry_version, 2);
    }
}

static void a_reload_before_all_have_heard_of_the_last_reaches_all(void **state)
{
    (void)state;
    w.sessions[0].registry_version = w.sessions[COUNT - 1].registry_version = 0; /* what these have is not known */
    reload(true, false);
    turns(10);
    reload(false, true);
    turns(10);
    reload(true, false);
    turns(SIZE_MAX);
    for (size_t i = 0; i < COUNT; i++) {
        assert_in_range(w.registries[i], 1, 2);
        assert_int_equal(w.crls[i], 1);
        assert_int_equal(w.sessions[i].registry_version, 3);
        assert_int_equal(w.have[i], w.registries[i]); /* nothing between is left out */
    }
    assert_int_equal(w.have[0], 1);
}

static void who_ends_comes_or_asks_meanwhile_is_told_nothing_twice(void **state)
{
    (void)state;
    struct session *asks = &w.sessions[1], *is_ready = &w.sessions[2], *comes = &w.sessions[COUNT - 1];
    w.all.live = comes->next; /* not yet there */
    w.all.live->prev = NULL;
    reload(true, true);
    turns(2);
    struct session *ends = w.all.push_next;
    ends->prev->next = ends->next;
    session_push_leaves(ends);
    ends->next->prev = ends->prev;
    session_push_registry(asks, 1);
    session_push_crl(asks);
    session_push_owed(is_ready); /* says READY: told at once, for it may hold the new one from elsewhere */
    assert_int_equal(is_ready->registry_version, 2);
    on_open(comes, 2);
    turns(SIZE_MAX);
    for (size_t i = 0; i < COUNT; i++) {
        assert_int_equal(w.registries[i], &w.sessions[i] != ends && &w.sessions[i] != comes);
        assert_int_equal(w.crls[i], w.registries[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        PUSH_TEST(all_hear_of_a_reload_a_few_in_a_turn),
        PUSH_TEST(a_reload_before_all_have_heard_of_the_last_reaches_all),
        PUSH_TEST(who_ends_comes_or_asks_meanwhile_is_told_nothing_twice),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
