/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
#include "policy/registry/index.h"

#include <stdlib.h>

static uint64_t mix(uint64_t a, uint64_t b)
{
    __extension__ unsigned __int128 m = (unsigned __int128)a * b;
    return (uint64_t)m ^ (uint64_t)(m >> 64);
}

static uint64_t load(const uint8_t *p, size_t n) /* 4 or 8 bytes: a move, not a call */
{
    uint64_t word = 0;
    uint32_t half;
    if (n == 8) {
        memcpy(&word, p, 8);
        return word;
    }
    memcpy(&half, p, 4);
    return half;
}

uint64_t index_hash(struct span text)
{
    uint64_t h = 0x9E3779B97F4A7C15u ^ text.len, tail = 0;
    const uint8_t *p = text.p;
    size_t n = text.len;
    for (; n > 8; n -= 8, p += 8)
        h = mix(h ^ load(p, 8), 0xD6E8FEB86659FD93u);
    if (n == 8)
        tail = load(p, 8);
    else if (n >= 4) /* overlapping halves */
        tail = load(p, 4) << 32 | load(p + n - 4, 4);
    else if (n)
        tail = (uint64_t)p[0] << 16 | (uint64_t)p[n / 2] << 8 | p[n - 1];
    return mix(h ^ tail, 0xA0761D6478BD642Fu);
}

ehis_err index_init(struct index *ix, size_t items)
{
    size_t cap = 8;
    EHIS_ASSERT(items < UINT32_MAX / 4);
    while (cap < items * 2)
        cap *= 2;
    ix->slots = calloc(cap, sizeof *ix->slots);
    ix->mask = (uint32_t)cap - 1;
    return ix->slots ? EHIS_OK : EHIS_E_NO_MEMORY;
}

void index_fini(struct index *ix)
{
    free(ix->slots);
    ix->slots = NULL;
}

void index_add(struct index *ix, uint64_t hash, uint32_t item)
{
    uint32_t at = (uint32_t)hash & ix->mask;
    while (ix->slots[at].item)
        at = (at + 1) & ix->mask;
    ix->slots[at] = (struct index_slot){(uint32_t)(hash >> 32), item + 1};
}
