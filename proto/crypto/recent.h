/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* The last n keys with their values: a ring, the oldest forgotten, and a keyed hash index beside it, so that who chooses keys cannot
 * make chains. Keys are compared whole. Rows with a value hold secrets: locked where the system lets us, wiped when forgotten. One thread. */
#pragma once
#include "base/bytes.h"

struct recent;
/* entries 1..2^20 (INVALID); all memory is taken at once (NO_MEMORY). value_bytes may be 0. */
ehis_err recent_new(size_t entries, size_t key_bytes, size_t value_bytes, struct recent **out) EHIS_MUST_USE;
void recent_free(struct recent *r);
/* The value of this key; NULL where it is not there. Valid until the next put or drop. */
uint8_t *recent_find(const struct recent *r, const uint8_t *key);
/* Adds a key that is not there; returns its value, zeroed, for the caller to fill. */
uint8_t *recent_put(struct recent *r, const uint8_t *key);
void recent_drop(struct recent *r); /* forgets all */
