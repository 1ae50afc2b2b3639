/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
#include "gateway/bus/kafka_retired.h"
#include "base/clock.h"
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

static atomic_int ended;
static pthread_mutex_t held = PTHREAD_MUTEX_INITIALIZER;

static void end(void *what)
{
    (void)what;
    atomic_fetch_add(&ended, 1);
}

static void end_when_let(void *what)
{
    pthread_mutex_lock(&held);
    pthread_mutex_unlock(&held);
    end(what);
}

static void all_that_ends_has_ended_before_the_end(void **state)
{
    struct kafka_retired *r;
    (void)state;
    atomic_store(&ended, 0);
    assert_int_equal(kafka_retired_new(&r), EHIS_OK);
    kafka_retire(r, end, NULL); /* nothing */
    for (int i = 0; i < 8; i++)
        kafka_retire(r, end, &ended);
    assert_true(kafka_retired_free(r));
    assert_int_equal(atomic_load(&ended), 8);
    assert_true(kafka_retired_free(NULL));
}

static void what_never_ends_holds_nobody(void **state)
{
    struct kafka_retired *left;
    int64_t before = clock_mono_ms(&clock_system);
    (void)state;
    atomic_store(&ended, 0);
    pthread_mutex_lock(&held);
    assert_int_equal(kafka_retired_new(&left), EHIS_OK);
    kafka_retire(left, end_when_let, &ended);
    assert_true(clock_mono_ms(&clock_system) - before < 5000); /* who gives it up goes on */
    assert_false(kafka_retired_free(left));
    assert_int_equal(atomic_load(&ended), 0); /* and stays so, beyond the end of this program */
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(all_that_ends_has_ended_before_the_end), cmocka_unit_test(what_never_ends_holds_nobody)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
