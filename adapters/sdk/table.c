/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
#include "adapters/sdk/table.h"
#include <stdlib.h>

#define SLOTS_FIRST 256

static struct entry **slot_of(const struct table *t, const uint8_t *key) { return &t->slots[be_get(key, 8) & (t->slot_count - 1)]; }

void table_fini(struct table *t)
{
    free(t->slots);
    *t = (struct table){0};
}

struct entry *table_find(const struct table *t, const uint8_t key[32])
{
    for (struct entry *e = t->slot_count ? *slot_of(t, key) : NULL; e; e = e->next)
        if (memcmp(e->key, key, sizeof e->key) == 0)
            return e;
    return NULL;
}

static ehis_err grow(struct table *t)
{
    struct table more = {.slot_count = t->slot_count ? t->slot_count * 2 : SLOTS_FIRST, .count = t->count};
    more.slots = calloc(more.slot_count, sizeof *more.slots);
    if (!more.slots)
        return EHIS_E_NO_MEMORY;
    for (size_t i = 0; i < t->slot_count; i++)
        for (struct entry *e = t->slots[i], *next; e; e = next) {
            next = e->next;
            e->next = *slot_of(&more, e->key);
            *slot_of(&more, e->key) = e;
        }
    free(t->slots);
    *t = more;
    return EHIS_OK;
}

ehis_err table_add(struct table *t, struct entry *e)
{
    if (table_find(t, e->key))
        return EHIS_E_EXISTS;
    if (t->count >= t->slot_count)
        EHIS_TRY(grow(t));
    e->next = *slot_of(t, e->key);
    *slot_of(t, e->key) = e;
    t->count++;
    return EHIS_OK;
}

void table_remove(struct table *t, struct entry *e)
{
    if (t->slot_count == 0)
        return;
    for (struct entry **at = slot_of(t, e->key); *at; at = &(*at)->next)
        if (*at == e) {
            *at = e->next;
            t->count--;
            return;
        }
}
