/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
#include "base/owned.h"
#include "base/bytes.h"
#include <stdlib.h>

struct owned_block {
    struct owned_block *next;
    max_align_t bytes[];
};

void *owned_new(struct owned *o, size_t count, size_t item)
{
    size_t bytes;
    struct owned_block *b;
    if (!size_mul(count, item, &bytes) || !size_add(bytes, sizeof *b, &bytes) || !(b = calloc(1, bytes)))
        return NULL;
    b->next = o->blocks;
    o->blocks = b;
    return b->bytes;
}

void owned_fini(struct owned *o)
{
    for (struct owned_block *b = o->blocks, *next; b; b = next) {
        next = b->next;
        free(b);
    }
    o->blocks = NULL;
}
