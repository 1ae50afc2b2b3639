/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* A register of its own for each test, in a new folder. */
#pragma once
#include "adapters/registers/population/answers.h"
#include "adapters/registers/population/pin.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <cmocka.h>

struct rig {
    char dir[64], file[96];
    struct people *people;
    struct arena arena;
    struct answers answers;
};
static char rig_first_pin[8];
static void rig_keep_pin(const char *pin) { snprintf(rig_first_pin, sizeof rig_first_pin, "%s", pin); }

static int rig_make(void **state)
{
    struct rig *r = calloc(1, sizeof *r);
    *state = r;
    snprintf(r->dir, sizeof r->dir, "/tmp/population.XXXXXX");
    assert_non_null(mkdtemp(r->dir));
    snprintf(r->file, sizeof r->file, "%s/people.db", r->dir);
    assert_int_equal(people_open(r->file, true, &r->people, NULL), EHIS_OK);
    assert_int_equal(people_seed(r->people, 500, 7, NULL), EHIS_OK);
    assert_int_equal(people_pins(r->people, 1, rig_keep_pin, NULL), EHIS_OK);
    assert_int_equal(arena_init(&r->arena, 1024 * 1024), EHIS_OK);
    assert_int_equal(answers_init(&r->answers, r->people), EHIS_OK);
    return 0;
}

static int rig_free(void **state)
{
    static const char *const tails[] = {"", "-wal", "-shm"};
    struct rig *r = *state;
    answers_fini(&r->answers);
    arena_fini(&r->arena);
    people_close(r->people);
    for (size_t i = 0; i < 3; i++) {
        char path[128];
        snprintf(path, sizeof path, "%s%s", r->file, tails[i]);
        unlink(path);
    }
    rmdir(r->dir);
    free(r);
    return 0;
}
#define RIG_TEST(name) cmocka_unit_test_setup_teardown(name, rig_make, rig_free)
