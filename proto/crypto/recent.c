/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
#include "proto/crypto/recent.h"

#include <stdlib.h>

#include <sodium.h>

#define MAX_ENTRIES ((size_t)1 << 20)

struct recent {
    size_t entries, key_bytes, row_bytes;
    size_t at, used; /* where the next goes; how many rows hold something */
    uint8_t *rows;   /* key || value */
    uint32_t *next, *heads; /* chains of row + 1; 0 ends one */
    size_t head_mask;
    bool is_secret;
    uint8_t hash_key[crypto_shorthash_KEYBYTES];
};

ehis_err recent_new(size_t entries, size_t key_bytes, size_t value_bytes, struct recent **out)
{
    if (entries == 0 || entries > MAX_ENTRIES)
        return EHIS_E_INVALID;
    struct recent *r = calloc(1, sizeof *r);
    if (!r)
        return EHIS_E_NO_MEMORY;
    size_t heads = 1;
    while (heads < entries)
        heads *= 2;
    *r = (struct recent){.entries = entries, .key_bytes = key_bytes, .row_bytes = key_bytes + value_bytes, .head_mask = heads - 1};
    r->is_secret = value_bytes > 0;
    r->rows = r->is_secret ? sodium_allocarray(entries, r->row_bytes) : calloc(entries, r->row_bytes);
    r->next = calloc(entries, sizeof *r->next);
    r->heads = calloc(heads, sizeof *r->heads);
    if (!r->rows || !r->next || !r->heads) {
        recent_free(r);
        return EHIS_E_NO_MEMORY;
    }
    randombytes_buf(r->hash_key, sizeof r->hash_key);
    *out = r;
    return EHIS_OK;
}

void recent_free(struct recent *r)
{
    if (!r)
        return;
    if (r->is_secret)
        sodium_free(r->rows); /* wipes */
    else
        free(r->rows);
    free(r->next);
    free(r->heads);
    free(r);
}

static uint8_t *row_of(const struct recent *r, size_t i) { return r->rows + i * r->row_bytes; }

static uint32_t *head_of(const struct recent *r, const uint8_t *key)
{
    uint64_t h;
    crypto_shorthash((uint8_t *)&h, key, r->key_bytes, r->hash_key);
    return &r->heads[h & r->head_mask];
}

uint8_t *recent_find(const struct recent *r, const uint8_t *key)
{
    for (uint32_t i = *head_of(r, key); i; i = r->next[i - 1])
        if (memcmp(row_of(r, i - 1), key, r->key_bytes) == 0)
            return row_of(r, i - 1) + r->key_bytes;
    return NULL;
}

uint8_t *recent_put(struct recent *r, const uint8_t *key)
{
    uint32_t id = (uint32_t)r->at + 1;
    uint8_t *row = row_of(r, r->at);
    if (r->used == r->entries) { /* the oldest goes */
        uint32_t *link = head_of(r, row);
        while (*link != id)
            link = &r->next[*link - 1];
        *link = r->next[id - 1];
    } else {
        r->used++;
    }
    sodium_memzero(row, r->row_bytes);
    memcpy(row, key, r->key_bytes);
    uint32_t *head = head_of(r, key);
    r->next[id - 1] = *head;
    *head = id;
    r->at = (r->at + 1) % r->entries;
    return row + r->key_bytes;
}

void recent_drop(struct recent *r)
{
    sodium_memzero(r->rows, r->used * r->row_bytes);
    memset(r->heads, 0, (r->head_mask + 1) * sizeof *r->heads);
    r->at = r->used = 0;
}
