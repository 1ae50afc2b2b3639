/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
#include "proto/link/output.h"
#include "proto/link/input.h"
#include <stdlib.h>

struct link_block {
    struct link_block *next;
    size_t start, end;
    uint8_t p[LINK_RECORD_BYTES];
};

ehis_err link_output_reserve(struct link_output *o, size_t n)
{
    struct link_block **at = o->tail ? &o->tail : &o->head;
    for (size_t room = 0;; at = &(*at)->next) {
        if (!*at) {
            struct link_block *b = malloc(sizeof *b);
            if (!b)
                return EHIS_E_NO_MEMORY; /* what was added is used later, or goes with the rest */
            b->next = NULL;
            b->start = b->end = 0;
            *at = b;
            if (!o->tail)
                o->tail = b;
        }
        room += sizeof (*at)->p - (*at)->end;
        if (room >= n)
            return EHIS_OK;
    }
}

void link_output_put(struct link_output *o, const void *p, size_t n)
{
    const uint8_t *from = p;
    o->len += n;
    while (n) {
        struct link_block *b = o->tail;
        size_t room = sizeof b->p - b->end, part = n < room ? n : room;
        if (part == 0) {
            o->tail = b->next;
            continue;
        }
        memcpy(b->p + b->end, from, part);
        b->end += part;
        from += part;
        n -= part;
    }
}

struct span link_output_front(const struct link_output *o)
{
    return o->len ? span_of(o->head->p + o->head->start, o->head->end - o->head->start) : span_of(NULL, 0);
}

void link_output_drop(struct link_output *o, size_t n)
{
    struct link_block *b = o->head;
    b->start += n;
    o->len -= n;
    if (o->len == 0) {
        link_output_clear(o);
    } else if (b->start == b->end) { /* more is queued, so it stands in a later block */
        o->head = b->next;
        free(b);
    }
}

void link_output_clear(struct link_output *o)
{
    for (struct link_block *b = o->head, *next; b; b = next) {
        next = b->next;
        free(b);
    }
    *o = (struct link_output){0};
}
