/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* Hash indices over numbered things, made once and then only read. Their keys come from signed documents, so nobody can aim at collisions. */
#pragma once
#include "base/bytes.h"

#define INDEX_NONE UINT32_MAX

struct index {
    struct index_slot { uint32_t hash, item; } *slots; /* item + 1; 0 = empty */
    uint32_t mask;
};
uint64_t index_hash(struct span text);
ehis_err index_init(struct index *ix, size_t items) EHIS_MUST_USE; /* room for at most this many */
void index_fini(struct index *ix);
void index_add(struct index *ix, uint64_t hash, uint32_t item);
/* Items of this hash one after another (*at begins at 0), INDEX_NONE at the end; whether the key is the same is the caller's question. */
static inline uint32_t index_next(const struct index *ix, uint64_t hash, uint32_t *at)
{
    if (!ix->slots)
        return INDEX_NONE;
    for (;;) {
        const struct index_slot *s = &ix->slots[((uint32_t)hash + (*at)++) & ix->mask];
        if (s->item == 0)
            return INDEX_NONE;
        if (s->hash == (uint32_t)(hash >> 32))
            return s->item - 1;
    }
}
