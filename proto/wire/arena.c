/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
#include "proto/wire/scan.h"
#include <stdlib.h>

static void *arena_alloc(void *ctx, size_t n)
{
    struct arena *a = ctx;
    size_t aligned = (n + 15) & ~(size_t)15;
    if (aligned < n || aligned > a->cap - a->used)
        return NULL;
    void *p = a->p + a->used;
    a->used += aligned;
    return p;
}

static void arena_free_one(void *ctx, void *p)
{
    (void)ctx, (void)p; /* freed at once by arena_reset */
}

ehis_err arena_init(struct arena *a, size_t bytes)
{
    *a = (struct arena){.p = malloc(bytes), .cap = bytes};
    a->allocator = (ProtobufCAllocator){.alloc = arena_alloc, .free = arena_free_one, .allocator_data = a};
    return a->p ? EHIS_OK : EHIS_E_NO_MEMORY;
}

size_t arena_bytes_for(size_t n)
{
    size_t out;
    return size_mul(n, 40, &out) && size_add(out, 4096, &out) ? out : 0;
}

void arena_reset(struct arena *a) { a->used = 0; }

void arena_fini(struct arena *a)
{
    free(a->p);
    *a = (struct arena){0};
}

ehis_err scan_unpack(const struct scan_message *table, const ProtobufCMessageDescriptor *type, struct span bytes, struct arena *a,
                     ProtobufCMessage **out, struct ehis_why *why)
{
    EHIS_TRY(scan(table, bytes, NULL, 0, why));
    ProtobufCMessage *m = protobuf_c_message_unpack(type, &a->allocator, bytes.len, bytes.p);
    if (!m)
        return ehis_fail(why, EHIS_E_ARENA_FULL, "%s of %zu bytes in %zu", type->short_name, bytes.len, a->cap);
    *out = m;
    return EHIS_OK;
}

ehis_err scan_pack(const ProtobufCMessage *m, struct buf *out)
{
    uint8_t *room;
    size_t n = protobuf_c_message_get_packed_size(m);
    EHIS_TRY(buf_reserve(out, n, &room));
    EHIS_ASSERT(protobuf_c_message_pack(m, room) == n);
    buf_commit(out, n);
    return EHIS_OK;
}
