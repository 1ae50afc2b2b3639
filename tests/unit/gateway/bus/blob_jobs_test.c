/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* The turns of the thread that waits for the store. */
#include "gateway/bus/blob_jobs.h"

#include <setjmp.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#define ASKED_MAX 60
#define STORE_US 2000 /* longer than the loop takes to ask for the next */

enum { ONE = 1, OTHER, MANY };
static struct loop *loop;
static struct blob_jobs *jobs;
static int asked, ended, many_ended, many_last;

static void on_drop(struct blob_store *s, const struct hash *key)
{
    (void)s, (void)key;
    usleep(STORE_US);
}

static void add(uint64_t owner)
{
    struct blob_job *j = calloc(1, sizeof *j);
    assert_non_null(j);
    j->op = BLOB_DROP;
    j->owner = owner;
    blob_jobs_add(jobs, j);
}

static void on_end(void *ctx, struct blob_job *j)
{
    const uint64_t owner = j->owner;
    (void)ctx;
    blob_job_free(j);
    ended++;
    if (owner == MANY) {
        many_ended++;
        many_last = ended;
    } else if (asked < ASKED_MAX) {
        asked++;
        add(owner);
    }
}

static void who_asks_for_one_at_a_time_and_comes_again_keeps_nobody_waiting(void **state)
{
    struct blob_store store = {.drop = on_drop};
    (void)state;
    assert_int_equal(loop_new(&loop), EHIS_OK);
    assert_int_equal(blob_jobs_new(loop, &store, on_end, NULL, &jobs), EHIS_OK);
    for (int i = 0; i < 3; i++)
        add(MANY);
    add(ONE);
    add(OTHER);
    while (ended < ASKED_MAX + 2 + 3)
        loop_run_once(loop, true);
    assert_int_equal(many_ended, 3);
    assert_in_range(many_last, 3, 3 + 2 * 2 * 3); /* before each of them two of each other at most */
    blob_jobs_free(jobs, blob_job_free);
    loop_free(loop);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(who_asks_for_one_at_a_time_and_comes_again_keeps_nobody_waiting)};
    return cmocka_run_group_tests_name("blob jobs", tests, NULL, NULL);
}
