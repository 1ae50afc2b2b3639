/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
#include "base/thread.h"
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <unistd.h>
#include <cmocka.h>

static pthread_barrier_t begun, done;

static void *wait_for_the_end(void *mask)
{
    pthread_sigmask(SIG_BLOCK, NULL, mask);
    pthread_barrier_wait(&begun);
    pthread_barrier_wait(&done);
    return mask;
}

/* Of the two threads only the main one may take it, and does when it asks: in the other the signal would end the process. */
static void a_signal_is_the_starters_alone(void **state)
{
    (void)state;
    const struct timespec soon = {5, 0};
    sigset_t usr1, before, after, inside;
    pthread_t thread;
    void *result;
    sigemptyset(&usr1);
    sigaddset(&usr1, SIGUSR1);
    assert_int_equal(pthread_barrier_init(&begun, NULL, 2) + pthread_barrier_init(&done, NULL, 2), 0);
    pthread_sigmask(SIG_BLOCK, NULL, &before);
    assert_true(thread_start(&thread, wait_for_the_end, &inside));
    pthread_sigmask(SIG_BLOCK, &usr1, &after);
    assert_false(sigismember(&before, SIGUSR1));
    assert_false(sigismember(&after, SIGUSR1));
    pthread_barrier_wait(&begun);
    assert_int_equal(kill(getpid(), SIGUSR1), 0);
    assert_int_equal(sigtimedwait(&usr1, NULL, &soon), SIGUSR1);
    pthread_barrier_wait(&done);
    assert_int_equal(pthread_join(thread, &result), 0);
    assert_ptr_equal(result, &inside);
    assert_true(sigismember(&inside, SIGTERM) && sigismember(&inside, SIGHUP));
    assert_false(sigismember(&inside, SIGSEGV)); /* what the thread does wrong is told as anywhere else */
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(a_signal_is_the_starters_alone)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
