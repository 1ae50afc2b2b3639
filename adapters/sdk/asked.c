/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
#include "adapters/sdk/asked.h"
#include "proto/crypto/hash.h"
#include <stdlib.h>

#define ASKED_MAX 262144

void asked_init(struct asked *a)
{
    *a = (struct asked){0};
    a->end = &a->first;
}

static void drop(struct asked *a)
{
    struct asked_entry *e = a->first;
    table_remove(&a->by_key, &e->by_key);
    a->first = e->next;
    if (!a->first)
        a->end = &a->first;
    free(e);
}

void asked_fini(struct asked *a)
{
    while (a->first)
        drop(a);
    table_fini(&a->by_key);
}

void asked_key(const uint8_t digest[32], struct span system, uint8_t out[32])
{
    struct span parts[] = {span_of(digest, 32), system};
    struct hash h;
    hash_spans(parts, 2, &h);
    memcpy(out, h.b, 32);
}

int64_t asked_until(const struct asked *a, const uint8_t key[32])
{
    struct entry *e = table_find(&a->by_key, key);
    return e ? OWNER_OF(e, struct asked_entry, by_key)->expires_ms : 0;
}

ehis_err asked_add(struct asked *a, const uint8_t key[32], int64_t expires_ms)
{
    struct asked_entry *e = calloc(1, sizeof *e);
    if (!e)
        return EHIS_E_NO_MEMORY;
    memcpy(e->by_key.key, key, 32);
    e->expires_ms = expires_ms;
    ehis_err err = table_add(&a->by_key, &e->by_key);
    if (err != EHIS_OK) {
        free(e);
        return err == EHIS_E_EXISTS ? EHIS_OK : err;
    }
    *a->end = e;
    a->end = &e->next;
    if (a->by_key.count > ASKED_MAX)
        drop(a);
    return EHIS_OK;
}

void asked_forget(struct asked *a, int64_t now_ms)
{
    while (a->first && a->first->expires_ms <= now_ms) /* in the order of their ends, which is nearly that of their expiry */
        drop(a);
}
