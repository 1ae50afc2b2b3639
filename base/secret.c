/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
#include "base/secret.h"
#include "base/log.h"
#include <pthread.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sodium.h>

#define DEFAULT_SLOTS 4096
#define MAX_SLOTS (1u << 24)

static struct {
    pthread_mutex_t lock;
    uint8_t *memory;     /* slots * SECRET_SLOT_BYTES, for the life of the process */
    uint32_t *free_slots; /* a stack of the indexes that are free */
    bool *is_used;
    size_t slots, free_count;
} slab = {.lock = PTHREAD_MUTEX_INITIALIZER};

static ehis_err make_slab(size_t slots)
{
    if (slots == 0 || slots > MAX_SLOTS)
        return EHIS_E_INVALID;
    if (sodium_init() < 0)
        return EHIS_E_RANDOM;
    uint8_t *memory = sodium_allocarray(slots, SECRET_SLOT_BYTES);
    uint32_t *free_slots = calloc(slots, sizeof *free_slots);
    bool *is_used = calloc(slots, sizeof *is_used);
    if (!memory || !free_slots || !is_used) {
        sodium_free(memory);
        free(free_slots);
        free(is_used);
        return EHIS_E_NO_MEMORY;
    }
    /* sodium_malloc goes on silently where the limit of locked memory is too low: then secrets may reach the swap. */
    if (mlock(memory, slots * SECRET_SLOT_BYTES) != 0)
        log_line(LOG_WARN, "secret.not_locked", F_U64("bytes", slots * SECRET_SLOT_BYTES), F_STR("hint", "raise LimitMEMLOCK"));
    for (size_t i = 0; i < slots; i++)
        free_slots[i] = (uint32_t)(slots - 1 - i);
    slab.memory = memory;
    slab.free_slots = free_slots;
    slab.is_used = is_used;
    slab.slots = slab.free_count = slots;
    return EHIS_OK;
}

ehis_err secret_init(size_t slots)
{
    pthread_mutex_lock(&slab.lock);
    ehis_err err = slab.memory ? EHIS_E_EXISTS : make_slab(slots);
    pthread_mutex_unlock(&slab.lock);
    return err;
}

ehis_err secret_alloc(uint8_t **out)
{
    pthread_mutex_lock(&slab.lock);
    ehis_err err = slab.memory ? EHIS_OK : make_slab(DEFAULT_SLOTS);
    if (err == EHIS_OK && slab.free_count == 0)
        err = EHIS_E_TOO_LARGE;
    if (err == EHIS_OK) {
        size_t i = slab.free_slots[--slab.free_count];
        slab.is_used[i] = true;
        *out = slab.memory + i * SECRET_SLOT_BYTES;
        memset(*out, 0, SECRET_SLOT_BYTES);
    }
    pthread_mutex_unlock(&slab.lock);
    return err;
}

void secret_free(uint8_t *slot)
{
    if (!slot)
        return;
    pthread_mutex_lock(&slab.lock);
    EHIS_ASSERT(slab.memory && slot >= slab.memory);
    size_t offset = (size_t)(slot - slab.memory), i = offset / SECRET_SLOT_BYTES;
    EHIS_ASSERT(offset % SECRET_SLOT_BYTES == 0 && i < slab.slots && slab.is_used[i]);
    sodium_memzero(slot, SECRET_SLOT_BYTES);
    slab.is_used[i] = false;
    slab.free_slots[slab.free_count++] = (uint32_t)i;
    pthread_mutex_unlock(&slab.lock);
}

void secret_wipe(void *p, size_t n) { sodium_memzero(p, n); }
bool secret_eq(const void *a, const void *b, size_t n) { return sodium_memcmp(a, b, n) == 0; }
