/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* Torn or damaged? What a crash can tear is the one frame that was being written, the last. So a place without a whole frame is the
 * frontier, unless a whole frame of the same writing stands behind it: then something durable was lost, and nobody may go on. */
#include "gateway/journal/scan.h"

#include <stdio.h>
#include <stdlib.h>

#define WINDOW_BYTES (UINT64_C(256) << 10)
#define NUMBER_DIGITS 12

struct segment_name segment_name(uint64_t number, enum segment_kind kind)
{
    struct segment_name n;
    snprintf(n.text, sizeof n.text, "%0*llu.%s", NUMBER_DIGITS, (unsigned long long)number, kind == SEGMENT_LIVE ? "seg" : "rec");
    return n;
}

static void list_add(struct segment_list *l, uint64_t number, uint64_t **items, size_t *count)
{
    uint64_t *grown = (*count & (*count - 1)) == 0 ? reallocarray(*items, *count ? 2 * *count : 1, sizeof **items) : *items;
    if (!grown) {
        l->has_failed = true;
        return;
    }
    *items = grown;
    grown[(*count)++] = number;
}

static void on_name(void *ctx, const char *name)
{
    struct segment_list *l = ctx;
    char *end;
    uint64_t number = ascii_is_digit((uint8_t)name[0]) ? strtoull(name, &end, 10) : 0;
    if (number == 0 || number == UINT64_MAX)
        return;
    if (strcmp(name, segment_name(number, SEGMENT_LIVE).text) == 0)
        list_add(l, number, &l->live, &l->live_count);
    else if (strcmp(name, segment_name(number, SEGMENT_ARCHIVED).text) == 0)
        list_add(l, number, &l->archived, &l->archived_count);
}

static int by_number(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

ehis_err segment_list_read(struct disk *disk, struct segment_list *out)
{
    struct segment_list l = {0};
    ehis_err err = disk->ops->list(disk, on_name, &l);
    if (err == EHIS_OK && l.has_failed)
        err = EHIS_E_NO_MEMORY;
    if (err != EHIS_OK) {
        segment_list_fini(&l);
        return err;
    }
    if (l.live_count)
        qsort(l.live, l.live_count, sizeof *l.live, by_number);
    if (l.archived_count)
        qsort(l.archived, l.archived_count, sizeof *l.archived, by_number);
    *out = l;
    return EHIS_OK;
}

void segment_list_fini(struct segment_list *l)
{
    free(l->live);
    free(l->archived);
    *l = (struct segment_list){0};
}

void scan_init(struct scan *s, struct disk *disk)
{
    *s = (struct scan){.disk = disk, .first_group = 1, .next_group = 1};
}

static void close_file(struct scan *s)
{
    if (s->file)
        s->disk->ops->close(s->file);
    s->file = NULL;
    s->window_len = 0;
}

void scan_fini(struct scan *s)
{
    close_file(s);
    free(s->window);
    s->window = NULL;
}

ehis_err scan_open(struct scan *s, uint64_t number, enum segment_kind kind, struct ehis_why *why)
{
    close_file(s);
    s->number = number;
    s->is_archived = kind == SEGMENT_ARCHIVED;
    s->offset = 0;
    EHIS_TRY(s->disk->ops->open(s->disk, segment_name(number, kind).text, false, &s->file));
    EHIS_TRY(s->disk->ops->size(s->file, &s->file_bytes));
    bool is_cut = !s->is_archived && (s->file_bytes < SEGMENT_MIN_BYTES || s->file_bytes % FRAME_ALIGN_BYTES);
    if (is_cut || s->file_bytes > SEGMENT_MAX_BYTES)
        return ehis_fail(why, EHIS_E_JOURNAL_CORRUPT, "segment %llu: its file of %llu bytes was cut or is none of ours",
                         (unsigned long long)number, (unsigned long long)s->file_bytes);
    return EHIS_OK;
}

/* n bytes at offset, borrowed; *p NULL where the file ends before. */
static ehis_err peek(struct scan *s, uint64_t offset, size_t n, const uint8_t **p)
{
    *p = NULL;
    if (n > s->file_bytes || offset > s->file_bytes - n)
        return EHIS_OK;
    if (offset < s->window_at || offset + n > s->window_at + s->window_len) {
        uint64_t left = s->file_bytes - offset, want = n > WINDOW_BYTES ? n : WINDOW_BYTES;
        want = want < left ? want : left;
        s->window_len = 0;
        if (want > s->window_cap) {
            uint8_t *grown = realloc(s->window, want);
            if (!grown)
                return EHIS_E_NO_MEMORY;
            s->window = grown;
            s->window_cap = want;
        }
        EHIS_TRY(s->disk->ops->read_at(s->file, offset, s->window, want, &s->window_len));
        s->window_at = offset;
        if (s->window_len < n)
            return EHIS_OK;
    }
    *p = s->window + (offset - s->window_at);
    return EHIS_OK;
}

static bool is_zero(const uint8_t *p, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (p[i])
            return false;
    return true;
}

/* A whole frame of this segment at offset, whether or not it goes on where we stand. */
static ehis_err whole_at(struct scan *s, uint64_t offset, struct frame *f, bool *is_whole)
{
    const uint8_t *p;
    struct frame_header h;
    *is_whole = false;
    EHIS_TRY(peek(s, offset, FRAME_HEADER_BYTES, &p));
    if (!p || !journal_frame_header_get(p, &h) || h.segment != s->number)
        return EHIS_OK;
    uint64_t left = s->file_bytes - offset;
    uint32_t stored = s->is_archived ? (h.bytes < left ? h.bytes : (uint32_t)left) : journal_frame_padded(h.bytes);
    EHIS_TRY(peek(s, offset, stored, &p));
    *is_whole = p && journal_frame_check(span_of(p, stored), (uint32_t)offset, s->is_archived, f) &&
                (s->is_archived || is_zero(p + f->stored_bytes, stored - f->stored_bytes));
    return EHIS_OK;
}

static bool goes_on(const struct scan *s, const struct frame *f)
{
    const uint8_t *tag = s->offset ? s->tag : f->h.previous.b;
    if (memcmp(f->h.tag, tag, FRAME_TAG_BYTES) != 0 || (!s->is_archived && f->h.segment_bytes != s->file_bytes))
        return false;
    if (!s->has_anchor)
        return s->number == s->first && (s->number > 1 || (f->h.group == 1 && f->h.first_entry == 0));
    return f->h.group == s->next_group && f->h.first_entry == s->next_entry && memcmp(&f->h.previous, &s->chain, sizeof s->chain) == 0;
}

static uint32_t room_of(const struct frame *f)
{
    return f->is_archived ? f->stored_bytes : journal_frame_padded(f->stored_bytes);
}

ehis_err scan_take(struct scan *s, struct frame *f, bool *is_taken)
{
    EHIS_TRY(whole_at(s, s->offset, f, is_taken));
    *is_taken = *is_taken && goes_on(s, f);
    if (!*is_taken)
        return EHIS_OK;
    memcpy(s->tag, f->h.tag, FRAME_TAG_BYTES);
    s->chain = f->chain;
    if (!s->has_anchor)
        s->first_group = f->h.group;
    s->has_anchor = true;
    s->next_group = f->h.group + 1;
    s->next_entry = f->h.first_entry + f->h.entry_count;
    s->last_segment = s->number;
    s->last_offset = s->offset;
    s->last_bytes = room_of(f);
    s->offset += room_of(f);
    return EHIS_OK;
}

static ehis_err hand_over(const struct frame *f, scan_each each, void *ctx)
{
    struct journal_entry e;
    for (uint32_t at = FRAME_HEADER_BYTES; journal_frame_entry(f, &at, &e);)
        EHIS_TRY(each(ctx, &e, f->is_archived));
    return EHIS_OK;
}

static ehis_err take_all(struct scan *s, scan_each each, void *ctx)
{
    struct frame f;
    for (bool is_taken;;) {
        EHIS_TRY(scan_take(s, &f, &is_taken));
        if (!is_taken)
            return EHIS_OK;
        EHIS_TRY(hand_over(&f, each, ctx));
    }
}

/* Is there a whole frame of this segment at or behind offset? One with another tag (NULL: any) was put there by a peer. */
static ehis_err search(struct scan *s, uint64_t offset, const uint8_t *tag, bool *is_found)
{
    struct frame f;
    for (*is_found = false; !*is_found && offset + FRAME_MIN_BYTES <= s->file_bytes; offset += FRAME_ALIGN_BYTES) {
        EHIS_TRY(whole_at(s, offset, &f, is_found));
        *is_found = *is_found && (!tag || memcmp(f.h.tag, tag, FRAME_TAG_BYTES) == 0);
    }
    return EHIS_OK;
}

/* A recycled file holds frames of lower numbers. Higher ones: somebody exchanged files. */
static ehis_err is_foreign(struct scan *s, bool *is)
{
    const uint8_t *p;
    struct frame_header h;
    EHIS_TRY(peek(s, 0, FRAME_HEADER_BYTES, &p));
    *is = p && journal_frame_header_get(p, &h) && h.segment > s->number;
    return EHIS_OK;
}

/* What stands where the next frame would be: never written, or a part of one? One wrong byte cannot hide it from both looks. */
static ehis_err look_for_remains(struct scan *s)
{
    const uint8_t *p;
    s->window_len = 0;
    EHIS_TRY(peek(s, s->offset, FRAME_HEADER_BYTES, &p));
    s->is_torn = p && ((be_get(p + 8, 8) == s->number && be_get(p + 24, 8) == s->next_group) ||
                       (s->has_anchor && memcmp(p + 52, s->chain.b, HASH_BYTES) == 0));
    return EHIS_OK;
}

/* There is no frame to take. *is_next: the next segment goes on; its first frame is taken and handed over. *is_damaged: a whole frame
 * stands behind. Leaves another file open where not *is_next. */
static ehis_err look_behind(struct scan *s, uint64_t last, scan_each each, void *ctx, bool *is_next, bool *is_damaged, struct ehis_why *why)
{
    uint64_t number = s->number;
    struct frame f;
    EHIS_TRY(search(s, s->offset, s->offset ? s->tag : NULL, is_damaged));
    if (!*is_damaged)
        EHIS_TRY(is_foreign(s, is_damaged));
    for (uint64_t n = number + 1; n <= last && !*is_damaged; n++) {
        ehis_err err = scan_open(s, n, SEGMENT_LIVE, why);
        if (err == EHIS_E_NOT_FOUND)
            break;
        EHIS_TRY(err);
        if (n == number + 1) {
            EHIS_TRY(scan_take(s, &f, is_next));
            if (*is_next)
                return hand_over(&f, each, ctx);
            EHIS_TRY(search(s, FRAME_ALIGN_BYTES, s->chain.b, is_damaged));
        }
        if (!*is_damaged)
            EHIS_TRY(whole_at(s, 0, &f, is_damaged));
        if (!*is_damaged)
            EHIS_TRY(is_foreign(s, is_damaged));
    }
    return EHIS_OK;
}

static ehis_err damaged(const struct scan *s, struct ehis_why *why)
{
    return ehis_fail(why, EHIS_E_JOURNAL_CORRUPT, "segment %llu (%s), offset %llu: no whole frame that continues the chain (group %llu)",
                     (unsigned long long)s->number, segment_name(s->number, s->is_archived ? SEGMENT_ARCHIVED : SEGMENT_LIVE).text,
                     (unsigned long long)s->offset, (unsigned long long)s->next_group);
}

/* The archive first: a segment leaves the live ones only after its archive is there. */
static ehis_err open_any(struct scan *s, uint64_t number, struct ehis_why *why)
{
    static const enum segment_kind kinds[] = {SEGMENT_ARCHIVED, SEGMENT_LIVE, SEGMENT_ARCHIVED};
    ehis_err err = EHIS_E_NOT_FOUND;
    for (size_t i = 0; i < 3 && err == EHIS_E_NOT_FOUND; i++)
        err = scan_open(s, number, kinds[i], why);
    if (err == EHIS_E_NOT_FOUND)
        return ehis_fail(why, EHIS_E_JOURNAL_CORRUPT, "segment %llu is missing", (unsigned long long)number);
    return err;
}

/* Back to where the reading stood. The segment may have been archived and its file recycled meanwhile: then behind the frames of the
 * archive that were taken already. */
static ehis_err reopen(struct scan *s, uint64_t number, uint64_t offset, struct ehis_why *why)
{
    struct frame f;
    EHIS_TRY(open_any(s, number, why));
    if (!s->is_archived)
        s->offset = offset;
    for (bool is_taken = s->is_archived && s->has_anchor; is_taken;) {
        EHIS_TRY(whole_at(s, s->offset, &f, &is_taken));
        is_taken = is_taken && f.h.group < s->next_group;
        if (is_taken)
            s->offset += f.stored_bytes;
    }
    return EHIS_OK;
}

/* One segment, and the live ones behind it that go on. *is_done: the frontier. */
static ehis_err run_segment(struct scan *s, uint64_t last, bool is_shared, scan_each each, void *ctx, bool *is_done, struct ehis_why *why)
{
    for (uint64_t stuck_at = UINT64_MAX;;) {
        EHIS_TRY(take_all(s, each, ctx));
        if (s->is_archived)
            return s->offset == s->file_bytes ? EHIS_OK : damaged(s, why);
        uint64_t number = s->number, offset = s->offset;
        bool is_next = false, is_damaged = offset == 0 && number > 1; /* such a segment holds at least one durable frame */
        if (!is_damaged)
            EHIS_TRY(look_behind(s, last, each, ctx, &is_next, &is_damaged, why));
        if (is_next) {
            stuck_at = UINT64_MAX;
            continue;
        }
        EHIS_TRY(reopen(s, number, offset, why));
        if (s->is_archived)
            continue;
        if (!is_damaged)
            break;
        /* Was the frame being written when we looked, and the one behind it is seen because both are done now? Read it again, once. */
        if (!is_shared || stuck_at == offset)
            return damaged(s, why);
        stuck_at = offset;
    }
    *is_done = true;
    return look_for_remains(s);
}

ehis_err scan_run(struct scan *s, uint64_t first, uint64_t last, bool is_shared, scan_each each, void *ctx, struct ehis_why *why)
{
    bool is_done = false;
    s->first = first;
    for (uint64_t n = first; n <= last && !is_done; n = s->number + 1) {
        EHIS_TRY(open_any(s, n, why));
        EHIS_TRY(run_segment(s, last, is_shared, each, ctx, &is_done, why));
    }
    return EHIS_OK;
}
