/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* A body that came, as the application takes it: whole, or piece by piece. */
#include "adapters/sdk/ehis_priv.h"

#define PIECE_BYTES 65536

uint64_t in_body_bytes(const struct in_body *b) { return b->large ? b->large->bytes : b->memory.len; }

int64_t in_body_read(struct in_body *b, void *into, size_t max)
{
    int64_t n;
    if (b->large) {
        n = large_in_read(b->large, into, max);
    } else {
        n = (int64_t)(b->memory.len - b->read_at < max ? b->memory.len - b->read_at : max);
        if (n)
            memcpy(into, buf_span(&b->memory).p + b->read_at, (size_t)n);
    }
    b->read_at += n > 0 ? (size_t)n : 0;
    return n;
}

const void *in_body_all(struct in_body *b, size_t *bytes)
{
    uint8_t *room;
    *bytes = 0;
    if (b->large && (b->read_at > 0 || b->large->bytes > BODY_MAX_BYTES))
        return NULL;
    while (b->large) {
        int64_t n = buf_reserve(&b->memory, PIECE_BYTES, &room) == EHIS_OK ? in_body_read(b, room, PIECE_BYTES) : -1;
        if (n < 0) {
            buf_clear(&b->memory); /* nothing of it is sure to be whole, ever */
            return NULL;
        }
        buf_commit(&b->memory, (size_t)n);
        if (n == 0) { /* from now on as one that came in memory */
            large_in_free(b->large);
            b->large = NULL;
            b->read_at = 0;
        }
    }
    *bytes = b->memory.len;
    return b->memory.len ? buf_span(&b->memory).p : (const uint8_t *)"";
}

void in_body_fini(struct in_body *b)
{
    large_in_free(b->large);
    b->large = NULL;
    buf_fini(&b->memory);
}
