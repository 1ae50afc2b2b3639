/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* A clock that stands still until it is told, and random bytes from a seed: the same seed gives the same run. */
#pragma once
#include "base/clock.h"

struct sim_clock {
    struct clock clock;   /* hand out &c->clock */
    struct random random; /* hand out &c->random */
    int64_t mono_us, wall_ms;
    uint64_t state;
};
/* Begins at 2026-11-26T07:00:00.000Z. c may not move afterwards. */
void sim_clock_init(struct sim_clock *c, uint64_t seed);
void sim_clock_advance_us(struct sim_clock *c, int64_t us);   /* both times; the part of a millisecond is kept */
void sim_clock_advance_ms(struct sim_clock *c, int64_t ms);
void sim_clock_jump_wall_ms(struct sim_clock *c, int64_t ms); /* wall time alone, either way */
/* The next number of a seeded sequence (splitmix64); below n > 0. */
uint64_t sim_random_next(uint64_t *state);
uint64_t sim_random_below(uint64_t *state, uint64_t n);
