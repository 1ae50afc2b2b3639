/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
#include "base/bytes.h"
#include <stdio.h>
#include <stdlib.h>

#define BUF_FIRST_BYTES 64
#define BUF_KEPT_BYTES (64 * 1024)

int span_cmp(struct span a, struct span b)
{
    size_t n = a.len < b.len ? a.len : b.len;
    int order = n ? memcmp(a.p, b.p, n) : 0;
    return order ? order : (a.len > b.len) - (a.len < b.len);
}

void buf_init(struct buf *b, size_t max) { *b = (struct buf){.max = max}; }

static void wipe(const struct buf *b, size_t from, size_t n)
{
    if (b->is_secret && n)
        explicit_bzero(b->p + from, n);
}

static void release(struct buf *b)
{
    wipe(b, 0, b->cap);
    free(b->p);
    b->p = NULL;
    b->start = b->len = b->cap = 0;
}

void buf_fini(struct buf *b) { release(b); }

static ehis_err grow(struct buf *b, size_t need, size_t limit)
{
    size_t cap = b->cap < BUF_FIRST_BYTES / 2 ? BUF_FIRST_BYTES : b->cap > limit / 2 ? limit : b->cap * 2;
    if (b->start == 0 && cap > b->max)
        cap = b->max;
    if (cap < need)
        cap = need;
    uint8_t *p = malloc(cap);
    if (!p)
        return EHIS_E_NO_MEMORY;
    if (b->len)
        memcpy(p, b->p + b->start, b->len);
    wipe(b, 0, b->cap);
    free(b->p);
    b->p = p;
    b->start = 0;
    b->cap = cap;
    return EHIS_OK;
}

static void compact(struct buf *b)
{
    memmove(b->p, b->p + b->start, b->len);
    wipe(b, b->len, b->start); /* what moved away, behind the new end */
    b->start = 0;
}

/* Content moves down only once an eighth of the memory has been dropped, so that each dropped byte moves at most eight others. The
 * limit is an eighth above max for the same reason: a full buffer that is dropped and filled byte by byte stays cheap. */
ehis_err buf_reserve(struct buf *b, size_t n, uint8_t **room)
{
    size_t need, limit;
    if (!size_add(b->len, n, &need) || need > b->max)
        return EHIS_E_TOO_LARGE;
    if (!size_add(b->max, b->max / 8, &limit))
        limit = b->max;
    if (need > b->cap - b->start) {
        if (need <= b->cap && (b->start >= b->cap / 8 || b->cap >= limit))
            compact(b);
        else
            EHIS_TRY(grow(b, need, limit));
    }
    *room = b->p ? b->p + b->start + b->len : NULL;
    return EHIS_OK;
}

void buf_commit(struct buf *b, size_t n)
{
    EHIS_ASSERT(n <= b->cap - b->start - b->len);
    b->len += n;
}

ehis_err buf_put(struct buf *b, const void *p, size_t n)
{
    uint8_t *room;
    EHIS_TRY(buf_reserve(b, n, &room));
    if (n)
        memcpy(room, p, n);
    buf_commit(b, n);
    return EHIS_OK;
}

ehis_err buf_put_span(struct buf *b, struct span s) { return buf_put(b, s.p, s.len); }
ehis_err buf_put_u8(struct buf *b, uint8_t v) { return buf_put(b, &v, 1); }

ehis_err buf_put_be(struct buf *b, uint64_t v, unsigned width_bytes)
{
    uint8_t bytes[8];
    EHIS_ASSERT(width_bytes >= 1 && width_bytes <= 8);
    be_put(bytes, v, width_bytes);
    return buf_put(b, bytes, width_bytes);
}

ehis_err buf_printf(struct buf *b, const char *fmt, ...)
{
    char small[512], *text = small; /* never in b itself: vsnprintf writes a NUL that max may have no room for */
    va_list args, again;
    va_start(args, fmt);
    va_copy(again, args);
    ehis_err err = EHIS_E_INVALID;
    int n = vsnprintf(small, sizeof small, fmt, args);
    if (n < 0)
        goto out;
    err = EHIS_E_TOO_LARGE;
    if ((size_t)n > b->max - b->len)
        goto out;
    if ((size_t)n >= sizeof small) {
        err = EHIS_E_NO_MEMORY;
        text = malloc((size_t)n + 1);
        if (!text || vsnprintf(text, (size_t)n + 1, fmt, again) != n)
            goto out;
    }
    err = buf_put(b, text, (size_t)n);
out:
    va_end(again);
    va_end(args);
    if (text && b->is_secret)
        explicit_bzero(text, text == small ? sizeof small : (size_t)n + 1);
    if (text != small)
        free(text);
    return err;
}

void buf_drop(struct buf *b, size_t n)
{
    EHIS_ASSERT(n <= b->len);
    wipe(b, b->start, n);
    b->len -= n;
    b->start = b->len ? b->start + n : 0;
}

void buf_clear(struct buf *b)
{
    if (b->cap > BUF_KEPT_BYTES) {
        release(b);
        return;
    }
    wipe(b, 0, b->cap);
    b->start = b->len = 0;
}

ehis_err cursor_take(struct cursor *c, size_t n, struct span *out)
{
    if (n > cursor_left(c))
        return EHIS_E_TRUNCATED;
    *out = (struct span){c->p, n};
    if (n)
        c->p += n;
    return EHIS_OK;
}

ehis_err cursor_take_be(struct cursor *c, unsigned width_bytes, uint64_t *out)
{
    struct span s;
    EHIS_ASSERT(width_bytes >= 1 && width_bytes <= 8);
    EHIS_TRY(cursor_take(c, width_bytes, &s));
    *out = be_get(s.p, width_bytes);
    return EHIS_OK;
}
