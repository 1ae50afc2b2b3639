/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
#include "base/loop.h"
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>
#include <cmocka.h>

static int count;
static struct loop *the_loop;

static void add_one(void *arg)
{
    (void)arg;
    count++;
}

static int set_up(void **state)
{
    (void)state;
    count = 0;
    return loop_new(&the_loop) == EHIS_OK ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    loop_free(the_loop);
    return 0;
}

static void later_runs_once_a_turn_and_requeued_items_wait(void **state)
{
    (void)state;
    loop_later(the_loop, add_one, NULL);
    assert_int_equal(count, 0);
    loop_run_once(the_loop, true); /* may not wait: something is queued */
    assert_int_equal(count, 1);
    loop_run_once(the_loop, false);
    assert_int_equal(count, 1);
}

static struct { int left; } chain;

static void chain_step(void *arg)
{
    count++;
    if (--chain.left > 0)
        loop_later(the_loop, chain_step, arg);
}

static void an_item_that_queues_itself_cannot_hold_the_loop(void **state)
{
    (void)state;
    chain.left = 3;
    loop_later(the_loop, chain_step, NULL);
    for (int turn = 1; turn <= 3; turn++) {
        loop_run_once(the_loop, true);
        assert_int_equal(count, turn);
    }
}

static void later_adds_to_the_last_of_its_turn(void *arg) { loop_last(the_loop, add_one, arg); }

static void last_adds_to_later_and_to_last(void *arg)
{
    loop_later(the_loop, add_one, arg);
    loop_last(the_loop, add_one, arg);
}

static void what_is_last_carries_what_came_later_and_what_it_queues_waits_a_turn(void **state)
{
    (void)state;
    loop_later(the_loop, later_adds_to_the_last_of_its_turn, NULL);
    loop_run_once(the_loop, true);
    assert_int_equal(count, 1);
    loop_last(the_loop, last_adds_to_later_and_to_last, NULL);
    loop_run_once(the_loop, true);
    assert_int_equal(count, 1);
    loop_run_once(the_loop, true); /* may not wait: something is queued */
    assert_int_equal(count, 3);
}

static void free_runs_what_later_still_holds(void **state)
{
    (void)state;
    struct loop *l;
    assert_int_equal(loop_new(&l), EHIS_OK);
    loop_later(l, add_one, NULL);
    loop_last(l, add_one, NULL);
    loop_free(l);
    assert_int_equal(count, 2);
}

static void a_post_does_not_run_before_it_returns(void **state)
{
    (void)state;
    loop_post(the_loop, add_one, NULL);
    assert_int_equal(count, 0);
    loop_run_once(the_loop, true);
    assert_int_equal(count, 1);
}

enum { POSTS = 20000 };
struct order { unsigned thread, next[2], wrong; } order;
struct posted { unsigned thread, number; };
static struct posted posted[2][POSTS];

static void on_posted(void *arg)
{
    struct posted *p = arg;
    order.wrong += p->number != order.next[p->thread];
    order.next[p->thread] = p->number + 1;
    if (order.next[0] == POSTS && order.next[1] == POSTS)
        loop_stop(the_loop);
}

static void *post_many(void *arg)
{
    unsigned thread = *(unsigned *)arg;
    for (unsigned i = 0; i < POSTS; i++) {
        posted[thread][i] = (struct posted){thread, i};
        loop_post(the_loop, on_posted, &posted[thread][i]);
    }
    return NULL;
}

static void posts_of_each_thread_arrive_whole_and_in_order(void **state)
{
    (void)state;
    unsigned numbers[2] = {0, 1};
    pthread_t threads[2];
    order = (struct order){0};
    for (int i = 0; i < 2; i++)
        pthread_create(&threads[i], NULL, post_many, &numbers[i]);
    loop_run(the_loop);
    for (int i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(order.wrong, 0);
    assert_int_equal(order.next[0], POSTS);
}

static void stop_before_run_ends_the_run_at_once(void **state)
{
    (void)state;
    loop_stop(the_loop);
    loop_run(the_loop);
}

static struct loop_timer *timer;

static void on_timer_free(void *arg)
{
    (void)arg;
    count++;
    loop_timer_free(timer);
}

static void on_timer_again(void *arg)
{
    (void)arg;
    if (++count < 3)
        loop_timer_set(timer, 0);
    else
        loop_stop(the_loop);
}

static void a_timer_fires_once_not_early_and_can_be_set_again(void **state)
{
    (void)state;
    assert_int_equal(loop_timer_new(the_loop, on_timer_again, NULL, &timer), EHIS_OK);
    usleep(2000);
    int64_t from = clock_mono_us(&clock_system);
    loop_timer_set(timer, 20000);
    loop_run_once(the_loop, true);
    while (count == 0)
        loop_run_once(the_loop, true);
    assert_true(clock_mono_us(&clock_system) - from >= 19999);
    loop_run(the_loop);
    assert_int_equal(count, 3);
    loop_run_once(the_loop, false);
    assert_int_equal(count, 3);
    loop_timer_free(timer);
}

static void a_timer_may_free_itself(void **state)
{
    (void)state;
    assert_int_equal(loop_timer_new(the_loop, on_timer_free, NULL, &timer), EHIS_OK);
    loop_timer_set(timer, -5);
    loop_run_once(the_loop, true);
    assert_int_equal(count, 1);
}

static void a_cleared_or_replaced_timer_does_not_fire_at_the_old_time(void **state)
{
    (void)state;
    assert_int_equal(loop_timer_new(the_loop, add_one, NULL, &timer), EHIS_OK);
    loop_timer_set(timer, 0);
    loop_timer_clear(timer);
    loop_run_once(the_loop, false);
    assert_int_equal(count, 0);
    loop_timer_set(timer, 0);
    loop_timer_set(timer, INT64_MAX);
    loop_run_once(the_loop, false);
    assert_int_equal(count, 0);
    loop_timer_free(timer);
}

static void on_term(void *arg, int signal_number)
{
    *(int *)arg = signal_number;
}

static void signals_reach_the_loop(void **state)
{
    (void)state;
    int got = 0;
    assert_int_equal(loop_on_signal(the_loop, SIGHUP, on_term, &got), EHIS_OK);
    raise(SIGHUP);
    while (!got)
        loop_run_once(the_loop, true);
    assert_int_equal(got, SIGHUP);
}

static int last_what;
static void on_io(void *arg, int what)
{
    (void)arg;
    last_what = what;
}

static void io_reports_only_what_is_wanted(void **state)
{
    (void)state;
    int fds[2];
    struct loop_io *in, *out;
    assert_int_equal(pipe(fds), 0);
    assert_int_equal(loop_io_new(the_loop, fds[0], on_io, NULL, &in), EHIS_OK);
    assert_int_equal(loop_io_new(the_loop, fds[1], on_io, NULL, &out), EHIS_OK);
    loop_io_want(out, LOOP_WRITE);
    loop_run_once(the_loop, true);
    assert_int_equal(last_what, LOOP_WRITE);
    loop_io_want(out, 0);
    assert_int_equal(write(fds[1], "x", 1), 1);
    last_what = 0;
    loop_run_once(the_loop, false);
    assert_int_equal(last_what, 0);
    loop_io_want(in, LOOP_READ);
    loop_run_once(the_loop, true);
    assert_int_equal(last_what, LOOP_READ);
    last_what = 0;
    loop_run_once(the_loop, true); /* level, not edge: still readable */
    assert_int_equal(last_what, LOOP_READ);
    loop_io_free(in);
    loop_io_free(out);
    close(fds[0]);
    close(fds[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(later_runs_once_a_turn_and_requeued_items_wait, set_up, tear_down),
        cmocka_unit_test_setup_teardown(an_item_that_queues_itself_cannot_hold_the_loop, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_is_last_carries_what_came_later_and_what_it_queues_waits_a_turn, set_up, tear_down),
        cmocka_unit_test_setup_teardown(free_runs_what_later_still_holds, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_post_does_not_run_before_it_returns, set_up, tear_down),
        cmocka_unit_test_setup_teardown(posts_of_each_thread_arrive_whole_and_in_order, set_up, tear_down),
        cmocka_unit_test_setup_teardown(stop_before_run_ends_the_run_at_once, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_timer_fires_once_not_early_and_can_be_set_again, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_timer_may_free_itself, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_cleared_or_replaced_timer_does_not_fire_at_the_old_time, set_up, tear_down),
        cmocka_unit_test_setup_teardown(signals_reach_the_loop, set_up, tear_down),
        cmocka_unit_test_setup_teardown(io_reports_only_what_is_wanted, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
