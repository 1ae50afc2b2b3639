/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
#include "tests/support/sim_clock.h"

static int64_t mono_us(void *ctx) { return ((struct sim_clock *)ctx)->mono_us; }
static int64_t wall_ms(void *ctx) { return ((struct sim_clock *)ctx)->wall_ms; }

static void fill(void *ctx, uint8_t *out, size_t n)
{
    for (uint64_t v = 0; n; n--, v >>= 8) {
        if (v == 0)
            v = sim_random_next(&((struct sim_clock *)ctx)->state);
        *out++ = (uint8_t)v;
    }
}

void sim_clock_init(struct sim_clock *c, uint64_t seed)
{
    *c = (struct sim_clock){.mono_us = 1000000000, .wall_ms = INT64_C(1795676400000), .state = seed};
    c->clock = (struct clock){mono_us, wall_ms, c};
    c->random = (struct random){fill, c};
}

void sim_clock_advance_us(struct sim_clock *c, int64_t us)
{
    EHIS_ASSERT(us >= 0);
    c->wall_ms += (c->mono_us + us) / 1000 - c->mono_us / 1000;
    c->mono_us += us;
}

void sim_clock_advance_ms(struct sim_clock *c, int64_t ms) { sim_clock_advance_us(c, ms * 1000); }
void sim_clock_jump_wall_ms(struct sim_clock *c, int64_t ms) { c->wall_ms += ms; }

uint64_t sim_random_next(uint64_t *state)
{
    uint64_t z = (*state += UINT64_C(0x9E3779B97F4A7C15));
    z = (z ^ z >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ z >> 27) * UINT64_C(0x94D049BB133111EB);
    return z ^ z >> 31;
}

uint64_t sim_random_below(uint64_t *state, uint64_t n)
{
    EHIS_ASSERT(n > 0);
    return sim_random_next(state) % n;
}
