/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* Long-lived secrets: one locked slab for the process (sodium_malloc, not dumped, wiped), handed out in 64-byte slots.
 * (sodium_malloc for each secret fails after some 16,000 mappings.) Any thread. */
#pragma once
#include "base/bytes.h"

#define SECRET_SLOT_BYTES 64
/* Once, before the first alloc: room for `slots` secrets (a default of 4,096 is made at the first alloc otherwise). */
ehis_err secret_init(size_t slots) EHIS_MUST_USE;
ehis_err secret_alloc(uint8_t **out) EHIS_MUST_USE; /* 64 zeroed bytes; TOO_LARGE when the slab is full */
void secret_free(uint8_t *slot);                    /* wipes; NULL does nothing */
void secret_wipe(void *p, size_t n);                /* for short-lived copies on the stack */
bool secret_eq(const void *a, const void *b, size_t n); /* constant time */
