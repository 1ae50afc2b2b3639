/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
#include "pki/der.h"

#define DEPTH_MAX 16
enum { TAG_BOOLEAN = 1, TAG_INTEGER = 2, TAG_BITS = 3, TAG_NULL = 5, TAG_ENUMERATED = 10, TAG_SEQUENCE = 16, TAG_SET = 17, TAG_LONG = 31 };

/* Takes one tag and length off the front. */
static bool take(struct span *s, uint8_t *tag, struct span *content)
{
    if (s->len < 2 || (s->p[0] & TAG_LONG) == TAG_LONG)
        return false;
    size_t head = 2, n = s->p[1];
    if (n >= 0x80) {
        size_t width = n & 0x7f;
        if (width < 1 || width > 3 || s->len < 2 + width)
            return false;
        n = (size_t)be_get(s->p + 2, (unsigned)width);
        if (n < 0x80 || s->p[2] == 0)
            return false;
        head += width;
    }
    if (n > s->len - head)
        return false;
    *tag = s->p[0];
    *content = span_of(s->p + head, n);
    *s = span_of(s->p + head + n, s->len - head - n);
    return true;
}

static bool primitive_is_strict(uint8_t tag, struct span c)
{
    switch (tag) {
    case TAG_BOOLEAN:
        return c.len == 1 && c.p[0] == 0xff;
    case TAG_INTEGER:
    case TAG_ENUMERATED:
        return c.len == 1 || (c.len > 1 && !(c.p[0] == 0 && !(c.p[1] & 0x80)) && !(c.p[0] == 0xff && c.p[1] & 0x80));
    case TAG_BITS:
        return c.len >= 1 && c.p[0] <= 7 && (c.len > 1 ? !(c.p[c.len - 1] & ((1u << c.p[0]) - 1)) : c.p[0] == 0);
    case TAG_NULL:
        return c.len == 0;
    default:
        return tag != TAG_SEQUENCE && tag != TAG_SET;
    }
}

static bool walk(struct span s, unsigned depth)
{
    while (s.len) {
        uint8_t tag;
        struct span content;
        if (!take(&s, &tag, &content))
            return false;
        bool is_constructed = tag & 0x20, is_universal = !(tag & 0xc0);
        if (is_universal && is_constructed && (tag & 0x1f) != TAG_SEQUENCE && (tag & 0x1f) != TAG_SET)
            return false;
        if (is_constructed ? depth == 0 || !walk(content, depth - 1) : is_universal && !primitive_is_strict(tag, content))
            return false;
    }
    return true;
}

bool pki_der_is_strict(struct span s)
{
    return walk(s, DEPTH_MAX);
}
