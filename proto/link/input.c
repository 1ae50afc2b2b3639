/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
#include "proto/link/input.h"
#include <stdlib.h>

#define SHRINK_ABOVE_BYTES (4 * LINK_RECORD_BYTES)

static size_t smaller(size_t a, size_t b) { return a < b ? a : b; }
static size_t larger(size_t a, size_t b) { return a > b ? a : b; }

static void move_to_front(struct link_input *in)
{
    if (in->len && in->start)
        memmove(in->p, in->p + in->start, in->len);
    in->start = 0;
}

static ehis_err resize(struct link_input *in, size_t cap)
{
    uint8_t *p = realloc(in->p, cap);
    if (!p)
        return EHIS_E_NO_MEMORY;
    in->p = p;
    in->cap = cap;
    return EHIS_OK;
}

ehis_err link_input_room(struct link_input *in, size_t frame_max, uint8_t **room, size_t *n)
{
    size_t frame = FRAME_HEAD_BYTES - 1 + frame_max;
    size_t cap_max = frame + (frame > LINK_RECORD_BYTES ? LINK_RECORD_BYTES : 0);
    EHIS_ASSERT(in->len < cap_max); /* a longer one was a frame, or refused */
    size_t wanted = smaller(LINK_RECORD_BYTES, cap_max - in->len);
    size_t need = larger(in->need, FRAME_HEAD_BYTES) + LINK_RECORD_BYTES;
    if (in->cap - in->start - in->len < wanted)
        move_to_front(in);
    if (in->cap - in->start - in->len < wanted) {
        size_t cap = larger(in->len + wanted, smaller(2 * in->cap, need));
        EHIS_TRY(resize(in, smaller(cap_max, larger(cap, 2 * LINK_RECORD_BYTES))));
    } else if (in->cap > SHRINK_ABOVE_BYTES && need < in->cap / 2) {
        move_to_front(in); /* a large frame has gone */
        EHIS_TRY(resize(in, larger(need, 2 * LINK_RECORD_BYTES)));
    }
    *room = in->p + in->start + in->len;
    *n = in->cap - in->start - in->len;
    return EHIS_OK;
}

ehis_err link_input_next(struct link_input *in, size_t frame_max, struct frame *out, bool *is_whole)
{
    size_t used = 0;
    *is_whole = false;
    if (in->len == 0) {
        in->start = in->need = 0;
        return EHIS_OK;
    }
    EHIS_TRY(frame_read(span_of(in->p + in->start, in->len), frame_max, out, &used, &in->need));
    in->start += used;
    in->len -= used;
    *is_whole = used > 0;
    return EHIS_OK;
}

void link_input_clear(struct link_input *in)
{
    free(in->p);
    *in = (struct link_input){0};
}
