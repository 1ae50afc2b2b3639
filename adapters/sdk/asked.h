/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* Requests of streams that are delivered: until they expire their responses may come. At most 262,144; the oldest goes first. One thread. */
#pragma once
#include "adapters/sdk/table.h"
#include "base/err.h"

struct asked_entry {
    struct entry by_key; /* of digest and recipient */
    struct asked_entry *next;
    int64_t expires_ms;
};
struct asked {
    struct table by_key;
    struct asked_entry *first, **end;
};

void asked_init(struct asked *a);
void asked_fini(struct asked *a);
void asked_key(const uint8_t digest[32], struct span system, uint8_t out[32]);
int64_t asked_until(const struct asked *a, const uint8_t key[32]); /* when it expires; 0: it is not here */
ehis_err asked_add(struct asked *a, const uint8_t key[32], int64_t expires_ms) EHIS_MUST_USE; /* does nothing where it is here */
void asked_forget(struct asked *a, int64_t now_ms); /* what has expired */
