/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* Hash tables over 32-byte keys that are hashes themselves; entries stand inside what they find. One thread. */
#pragma once
#include "base/bytes.h"

struct entry {
    struct entry *next;
    uint8_t key[32];
};
struct table {
    struct entry **slots;
    size_t slot_count, count;
};
#define OWNER_OF(entry_, type_, member_) ((type_ *)(void *)((char *)(entry_)-offsetof(type_, member_)))

void table_fini(struct table *t);
struct entry *table_find(const struct table *t, const uint8_t key[32]);
ehis_err table_add(struct table *t, struct entry *e) EHIS_MUST_USE; /* NO_MEMORY; EXISTS */
void table_remove(struct table *t, struct entry *e);                /* does nothing where e is not in it */
