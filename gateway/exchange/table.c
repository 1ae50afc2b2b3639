/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
#include "gateway/exchange/table.h"

#include <stdlib.h>

#ifdef __SANITIZE_ADDRESS__ /* what was given back is not to be touched: behind the link of the free chain */
#include <sanitizer/asan_interface.h>
#define POISON(p, n) __asan_poison_memory_region((uint8_t *)(p) + 16, (n) - 16)
#define UNPOISON(p, n) __asan_unpoison_memory_region((uint8_t *)(p) + 16, (n) - 16)
#else
#define POISON(p, n) ((void)0)
#define UNPOISON(p, n) ((void)0)
#endif

#define SLAB_OBJECTS 256

ehis_err table_init(struct table *t, size_t heads, const uint8_t seed[16])
{
    EHIS_ASSERT(heads && (heads & (heads - 1)) == 0);
    *t = (struct table){.heads = calloc(heads, sizeof *t->heads), .mask = heads - 1};
    memcpy(t->key, seed, sizeof t->key);
    return t->heads ? EHIS_OK : EHIS_E_NO_MEMORY;
}

void table_fini(struct table *t)
{
    free(t->heads);
    *t = (struct table){0};
}

static inline uint64_t rotate(uint64_t v, unsigned by) { return v << by | v >> (64 - by); }

static inline void sip_round(uint64_t v[4])
{
    v[0] += v[1];
    v[2] += v[3];
    v[1] = rotate(v[1], 13) ^ v[0];
    v[3] = rotate(v[3], 16) ^ v[2];
    v[0] = rotate(v[0], 32);
    v[2] += v[1];
    v[0] += v[3];
    v[1] = rotate(v[1], 17) ^ v[2];
    v[3] = rotate(v[3], 21) ^ v[0];
    v[2] = rotate(v[2], 32);
}

uint64_t table_hash(const struct table *t, const void *key, size_t n)
{
    uint64_t v[4] = {t->key[0] ^ UINT64_C(0x736f6d6570736575), t->key[1] ^ UINT64_C(0x646f72616e646f6d),
                     t->key[0] ^ UINT64_C(0x6c7967656e657261), t->key[1] ^ UINT64_C(0x7465646279746573)};
    const uint8_t *p = key;
    uint64_t last = (uint64_t)n << 56, word;
    EHIS_ASSERT(n <= 256);
    for (; n >= 8; n -= 8, p += 8) {
        memcpy(&word, p, 8);
        v[3] ^= word;
        sip_round(v);
        v[0] ^= word;
    }
    for (size_t i = 0; i < n; i++)
        last |= (uint64_t)p[i] << (8 * i);
    v[3] ^= last;
    sip_round(v);
    v[0] ^= last;
    v[2] ^= 0xff;
    for (int i = 0; i < 3; i++)
        sip_round(v);
    return v[0] ^ v[1] ^ v[2] ^ v[3];
}

void table_add(struct table *t, uint64_t hash, struct table_node *n)
{
    struct table_node **head = table_head(t, hash);
    n->next = *head;
    *head = n;
    t->count++;
}

void table_remove(struct table *t, uint64_t hash, struct table_node *n)
{
    struct table_node **at = table_head(t, hash);
    while (*at != n) {
        EHIS_ASSERT(*at);
        at = &(*at)->next;
    }
    *at = n->next;
    n->next = NULL;
    t->count--;
}

/* Free objects are chained through their first bytes; slabs through a pointer before their objects. */
struct link { struct link *next; };

void pool_init(struct pool *p, size_t object_bytes) { *p = (struct pool){.object_bytes = (object_bytes + 15) / 16 * 16}; }

void pool_fini(struct pool *p)
{
    for (struct link *slab = p->slabs, *next; slab; slab = next) {
        next = slab->next;
        free(slab);
    }
    pool_init(p, p->object_bytes);
}

void *pool_take(struct pool *p)
{
    if (!p->free) {
        uint8_t *slab = malloc(16 + SLAB_OBJECTS * p->object_bytes);
        if (!slab)
            return NULL;
        ((struct link *)(void *)slab)->next = p->slabs;
        p->slabs = slab;
        for (size_t i = 0; i < SLAB_OBJECTS; i++)
            pool_give(p, slab + 16 + i * p->object_bytes);
    }
    struct link *object = p->free;
    p->free = object->next;
    UNPOISON(object, p->object_bytes);
    memset(object, 0, p->object_bytes);
    return object;
}

void pool_give(struct pool *p, void *object)
{
    struct link *l = object;
    l->next = p->free;
    p->free = l;
    POISON(object, p->object_bytes);
}
