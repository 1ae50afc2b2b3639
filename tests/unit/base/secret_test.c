/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
#include "base/secret.h"
#include <setjmp.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#define SLOTS 100
static uint8_t *all[SLOTS];

static void a_slab_is_made_once(void **state)
{
    (void)state;
    assert_int_equal(secret_init(0), EHIS_E_INVALID);
    assert_int_equal(secret_init(SIZE_MAX), EHIS_E_INVALID);
    assert_int_equal(secret_init(SLOTS), EHIS_OK);
    assert_int_equal(secret_init(SLOTS), EHIS_E_EXISTS);
}

static void slots_are_apart_zeroed_and_bounded(void **state)
{
    (void)state;
    uint8_t *over = NULL;
    for (size_t i = 0; i < SLOTS; i++) {
        assert_int_equal(secret_alloc(&all[i]), EHIS_OK);
        for (size_t k = 0; k < SECRET_SLOT_BYTES; k++)
            assert_int_equal(all[i][k], 0);
        memset(all[i], (int)i + 1, SECRET_SLOT_BYTES);
    }
    assert_int_equal(secret_alloc(&over), EHIS_E_TOO_LARGE);
    assert_null(over);
    for (size_t i = 0; i < SLOTS; i++)
        assert_int_equal(all[i][SECRET_SLOT_BYTES - 1], i + 1);
}

static void a_freed_slot_is_wiped_and_given_again(void **state)
{
    (void)state;
    uint8_t *again, *was = all[40];
    secret_free(was);
    for (size_t k = 0; k < SECRET_SLOT_BYTES; k++)
        assert_int_equal(was[k], 0);
    assert_int_equal(secret_alloc(&again), EHIS_OK);
    assert_ptr_equal(again, was);
    for (size_t i = 0; i < SLOTS; i++)
        secret_free(all[i]);
    secret_free(NULL);
}

static bool aborts(uint8_t *slot)
{
    int status = 0;
    pid_t child = fork();
    if (child == 0) {
        sigaction(SIGABRT, &(struct sigaction){.sa_handler = SIG_DFL}, NULL); /* not the test runner's */
        close(2);
        secret_free(slot);
        _exit(0);
    }
    waitpid(child, &status, 0);
    return WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT;
}

static void freeing_twice_or_what_is_no_slot_aborts(void **state)
{
    (void)state;
    uint8_t *slot, stack[64];
    assert_int_equal(secret_alloc(&slot), EHIS_OK);
    assert_false(aborts(slot));
    assert_true(aborts(slot + 1));
    assert_true(aborts(stack));
    secret_free(slot);
    assert_true(aborts(slot));
}

static void comparing_and_wiping(void **state)
{
    (void)state;
    char text[8] = "secret!";
    assert_true(secret_eq("abc", "abc", 3));
    assert_false(secret_eq("abc", "abd", 3));
    assert_true(secret_eq("abc", "xyz", 0));
    secret_wipe(text, sizeof text);
    assert_memory_equal(text, "\0\0\0\0\0\0\0\0", 8);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_slab_is_made_once),
        cmocka_unit_test(slots_are_apart_zeroed_and_bounded),
        cmocka_unit_test(a_freed_slot_is_wiped_and_given_again),
        cmocka_unit_test(freeing_twice_or_what_is_no_slot_aborts),
        cmocka_unit_test(comparing_and_wiping),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
