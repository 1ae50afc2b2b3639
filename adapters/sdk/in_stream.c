/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
#include "adapters/sdk/in_stream.h"
#include "proto/crypto/hash.h"
#include <stdlib.h>

#define STREAMS_MAX 65536

struct in_sender {
    struct entry by_name; /* its hash */
    struct in_sender *next, *prev;
    struct in_stream *oldest, *newest;
    size_t count;
    char name[];
};

static void key_of(struct span sender, struct span stream, uint8_t out[32])
{
    struct span parts[] = {stream, sender};
    struct hash h;
    hash_spans(parts, 2, &h);
    memcpy(out, h.b, 32);
}

struct in_stream *in_stream_find(const struct in_streams *all, struct span sender, const uint8_t stream[16])
{
    uint8_t key[32];
    key_of(sender, span_of(stream, 16), key);
    struct entry *e = table_find(&all->by_key, key);
    return e ? OWNER_OF(e, struct in_stream, by_key) : NULL;
}

static struct in_sender *sender_get(struct in_streams *all, struct span name)
{
    uint8_t key[32];
    key_of(name, (struct span){0}, key);
    struct entry *e = table_find(&all->by_name, key);
    if (e)
        return OWNER_OF(e, struct in_sender, by_name);
    struct in_sender *from = calloc(1, sizeof *from + name.len + 1);
    if (!from)
        return NULL;
    memcpy(from->name, name.p, name.len);
    memcpy(from->by_name.key, key, sizeof key);
    if (table_add(&all->by_name, &from->by_name) != EHIS_OK) {
        free(from);
        return NULL;
    }
    from->next = all->senders;
    if (from->next)
        from->next->prev = from;
    all->senders = from;
    return from;
}

static void sender_let_go(struct in_streams *all, struct in_sender *from)
{
    if (from->count > 0)
        return;
    *(from->prev ? &from->prev->next : &all->senders) = from->next;
    if (from->next)
        from->next->prev = from->prev;
    table_remove(&all->by_name, &from->by_name);
    free(from);
}

static void order(struct in_streams *all, struct in_stream *s)
{
    struct in_sender *from = s->from;
    s->older = from->newest;
    s->prev = all->last;
    s->newer = s->next = NULL;
    *(from->newest ? &from->newest->newer : &from->oldest) = s;
    *(all->last ? &all->last->next : &all->first) = s;
    from->newest = all->last = s;
}

static void unorder(struct in_streams *all, struct in_stream *s)
{
    struct in_sender *from = s->from;
    *(s->older ? &s->older->newer : &from->oldest) = s->newer;
    *(s->newer ? &s->newer->older : &from->newest) = s->older;
    *(s->prev ? &s->prev->next : &all->first) = s->next;
    *(s->next ? &s->next->prev : &all->last) = s->prev;
}

bool in_stream_is_idle(const struct in_stream *s) { return !s->running && !s->waiting && !s->is_touched && !s->uncommitted; }

/* Ascending as they are: without those that are empty, and those of a kind that touch are one. */
static void tidy(struct in_stream *s)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < s->gap_count; i++) {
        struct in_gap gap = s->gaps[i], *below = count ? &s->gaps[count - 1] : NULL;
        if (gap.from >= gap.until)
            continue;
        if (below && below->until == gap.from && below->is_rejected == gap.is_rejected)
            below->until = gap.until;
        else
            s->gaps[count++] = gap;
    }
    s->gap_count = count;
}

static void bound(struct in_stream *s)
{
    tidy(s);
    while (s->gap_count > IN_GAPS_MAX) {
        uint32_t lowest = 0;
        while (lowest < s->gap_count && !s->gaps[lowest].is_rejected)
            lowest++;
        s->gaps[lowest < s->gap_count ? lowest : 0].until = 0;
        tidy(s);
    }
}

ehis_err in_stream_add_gap(struct in_stream *s, uint64_t from, uint64_t until, bool is_rejected)
{
    if (from >= until)
        return EHIS_OK;
    if (!s->gaps)
        s->gaps = calloc(IN_GAPS_MAX + 2, sizeof *s->gaps);
    if (!s->gaps)
        return EHIS_E_NO_MEMORY;
    s->gaps[s->gap_count++] = (struct in_gap){from, until, is_rejected};
    bound(s);
    return EHIS_OK;
}

const struct in_gap *in_stream_gap(const struct in_stream *s, uint64_t number)
{
    for (uint32_t i = 0; i < s->gap_count; i++)
        if (number >= s->gaps[i].from && number < s->gaps[i].until)
            return &s->gaps[i];
    return NULL;
}

bool in_stream_can_leave_gap(const struct in_stream *s, uint64_t number)
{
    const struct in_gap *gap = in_stream_gap(s, number);
    uint32_t open = 0;
    for (uint32_t i = 0; i < s->gap_count; i++)
        open += !s->gaps[i].is_rejected;
    return !gap || number == gap->from || number + 1 == gap->until || open < IN_GAPS_SPLIT;
}

void in_stream_leave_gap(struct in_stream *s, uint64_t number, bool is_rejected)
{
    const struct in_gap *found = in_stream_gap(s, number);
    if (!found)
        return;
    EHIS_ASSERT(in_stream_can_leave_gap(s, number));
    struct in_gap *gap = &s->gaps[found - s->gaps];
    memmove(gap + 3, gap + 1, (size_t)(s->gaps + s->gap_count - gap - 1) * sizeof *gap);
    gap[2] = (struct in_gap){number + 1, gap->until, gap->is_rejected};
    gap[1] = (struct in_gap){number, number + is_rejected, true};
    gap->until = number;
    s->gap_count += 2;
    bound(s);
}

void in_stream_cut_gaps(struct in_stream *s, uint64_t until)
{
    for (uint32_t i = 0; i < s->gap_count; i++)
        if (s->gaps[i].until > until)
            s->gaps[i].until = until;
    tidy(s);
}

static bool make_room(struct in_streams *all)
{
    const struct in_sender *most = all->senders;
    for (const struct in_sender *from = most; from; from = from->next)
        if (from->count > most->count)
            most = from;
    struct in_stream *s = most ? most->oldest : NULL;
    while (s && !in_stream_is_idle(s))
        s = s->newer;
    if (s)
        in_stream_free(all, s);
    return s != NULL;
}

struct in_stream *in_stream_add(struct in_streams *all, struct span sender, const uint8_t stream[16])
{
    if (all->by_key.count >= STREAMS_MAX && !make_room(all))
        return NULL;
    struct in_sender *from = sender_get(all, sender);
    struct in_stream *s = from ? calloc(1, sizeof *s) : NULL;
    if (s)
        key_of(sender, span_of(stream, 16), s->by_key.key);
    if (!s || table_add(&all->by_key, &s->by_key) != EHIS_OK) {
        free(s);
        if (from)
            sender_let_go(all, from);
        return NULL;
    }
    memcpy(s->id, stream, 16);
    s->from = from;
    s->sender = from->name;
    from->count++;
    order(all, s);
    return s;
}

void in_stream_used(struct in_streams *all, struct in_stream *s, int64_t now_ms)
{
    s->used_ms = now_ms;
    if (s->next) {
        unorder(all, s);
        order(all, s);
    }
}

void in_stream_free(struct in_streams *all, struct in_stream *s)
{
    unorder(all, s);
    s->from->count--;
    table_remove(&all->by_key, &s->by_key);
    sender_let_go(all, s->from);
    free(s->gaps);
    free(s);
}

void in_streams_fini(struct in_streams *all)
{
    table_fini(&all->by_key);
    table_fini(&all->by_name);
}
