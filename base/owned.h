/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* Memory of many sizes that ends at once, with its owner. Embedded: all zero is an empty one. One thread. */
#pragma once
#include <stddef.h>

struct owned {
    struct owned_block *blocks;
};
void *owned_new(struct owned *o, size_t count, size_t item); /* zeroed; NULL without memory */
void owned_fini(struct owned *o);
