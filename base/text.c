/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* The text forms of base/bytes.h: hexadecimal, base64, UTF-8, decimal, nearest name. */
#include "base/bytes.h"

#define NAME_MAX_BYTES 64 /* longer texts have no near name */

void hex_to_text(const uint8_t *p, size_t n, char *out)
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < n; i++) {
        *out++ = digits[p[i] >> 4];
        *out++ = digits[p[i] & 15];
    }
    *out = '\0';
}

static int hex_digit(uint8_t c)
{
    if (ascii_is_digit(c))
        return c - '0';
    c = ascii_lower(c);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

ehis_err hex_from_text(struct span text, uint8_t *out, size_t n)
{
    if (text.len % 2 || text.len / 2 != n)
        return EHIS_E_INVALID;
    for (size_t i = 0; i < text.len; i++)
        if (hex_digit(text.p[i]) < 0)
            return EHIS_E_INVALID;
    for (size_t i = 0; i < n; i++)
        out[i] = (uint8_t)(hex_digit(text.p[2 * i]) << 4 | hex_digit(text.p[2 * i + 1]));
    return EHIS_OK;
}

ehis_err base64_put(struct buf *b, struct span s)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    size_t groups = s.len / 3 + (s.len % 3 != 0), chars;
    uint8_t *room;
    if (!size_mul(groups, 4, &chars))
        return EHIS_E_TOO_LARGE;
    EHIS_TRY(buf_reserve(b, chars, &room));
    for (size_t i = 0; i < s.len; i += 3, room += 4) {
        size_t left = s.len - i;
        uint32_t v = (uint32_t)s.p[i] << 16 | (left > 1 ? (uint32_t)s.p[i + 1] << 8 : 0) | (left > 2 ? s.p[i + 2] : 0);
        room[0] = (uint8_t)digits[v >> 18];
        room[1] = (uint8_t)digits[v >> 12 & 63];
        room[2] = left > 1 ? (uint8_t)digits[v >> 6 & 63] : '=';
        room[3] = left > 2 ? (uint8_t)digits[v & 63] : '=';
    }
    buf_commit(b, chars);
    return EHIS_OK;
}

static int base64_digit(uint8_t c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (ascii_is_digit(c))
        return c - '0' + 52;
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

ehis_err base64_get(struct buf *b, struct span text)
{
    if (text.len % 4)
        return EHIS_E_INVALID;
    size_t pad = text.len == 0 || text.p[text.len - 1] != '=' ? 0 : text.p[text.len - 2] != '=' ? 1 : 2;
    size_t bytes = text.len / 4 * 3 - pad, done = 0;
    uint8_t *room;
    EHIS_TRY(buf_reserve(b, bytes, &room));
    uint32_t v = 0;
    for (size_t i = 0; i < text.len; i++) {
        int digit = i < text.len - pad ? base64_digit(text.p[i]) : 0;
        if (digit < 0)
            return EHIS_E_INVALID;
        v = v << 6 | (uint32_t)digit;
        for (unsigned k = 0; i % 4 == 3 && k < 3; k++) {
            uint8_t byte = (uint8_t)(v >> (16 - 8 * k));
            if (done < bytes)
                room[done++] = byte;
            else if (byte) /* bits behind the end: the same bytes would have a second text */
                return EHIS_E_INVALID;
        }
    }
    buf_commit(b, bytes);
    return EHIS_OK;
}

/* Length of the well-formed sequence at p, 0 where there is none. */
static size_t utf8_sequence(const uint8_t *p, size_t left)
{
    uint8_t c = p[0], low = 0x80, high = 0xBF;
    if (c < 0x80)
        return c != 0;
    size_t n = c >= 0xC2 && c <= 0xDF ? 2 : c >= 0xE0 && c <= 0xEF ? 3 : c >= 0xF0 && c <= 0xF4 ? 4 : 0;
    if (n == 0 || n > left)
        return 0;
    if (c == 0xE0)
        low = 0xA0;
    else if (c == 0xED)
        high = 0x9F;
    else if (c == 0xF0)
        low = 0x90;
    else if (c == 0xF4)
        high = 0x8F;
    if (p[1] < low || p[1] > high)
        return 0;
    for (size_t i = 2; i < n; i++)
        if ((p[i] & 0xC0) != 0x80)
            return 0;
    return n;
}

bool utf8_is_valid(struct span s, size_t *bad_at)
{
    for (size_t i = 0; i < s.len;) {
        for (uint64_t w; s.len - i >= sizeof w; i += sizeof w) { /* mostly ASCII: eight bytes at once, none of them 0 or above 0x7F */
            memcpy(&w, s.p + i, sizeof w);
            if (((w | (w - UINT64_C(0x0101010101010101))) & UINT64_C(0x8080808080808080)) != 0)
                break;
        }
        if (i == s.len)
            break;
        size_t n = utf8_sequence(s.p + i, s.len - i);
        if (n == 0) {
            if (bad_at)
                *bad_at = i;
            return false;
        }
        i += n;
    }
    return true;
}

ehis_err decimal_from_text(struct span text, uint64_t max, uint64_t *out)
{
    uint64_t v = 0;
    if (text.len == 0 || (text.len > 1 && text.p[0] == '0'))
        return EHIS_E_INVALID;
    for (size_t i = 0; i < text.len; i++)
        if (!ascii_is_digit(text.p[i]))
            return EHIS_E_INVALID;
    for (size_t i = 0; i < text.len; i++)
        if (__builtin_mul_overflow(v, 10, &v) || __builtin_add_overflow(v, text.p[i] - '0', &v) || v > max)
            return EHIS_E_TOO_LARGE;
    *out = v;
    return EHIS_OK;
}

static size_t edit_distance(struct span a, struct span b)
{
    size_t row[NAME_MAX_BYTES + 1];
    for (size_t j = 0; j <= b.len; j++)
        row[j] = j;
    for (size_t i = 1; i <= a.len; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= b.len; j++) {
            size_t above = row[j], best = diagonal + (ascii_lower(a.p[i - 1]) != ascii_lower(b.p[j - 1]));
            if (above + 1 < best)
                best = above + 1;
            if (row[j - 1] + 1 < best)
                best = row[j - 1] + 1;
            row[j] = best;
            diagonal = above;
        }
    }
    return row[b.len];
}

const char *nearest_name(struct span text, const char *const *names, size_t n)
{
    if (text.len == 0 || text.len > NAME_MAX_BYTES)
        return NULL;
    size_t best = text.len / 3 > 2 ? text.len / 3 : 2;
    if (best >= text.len) /* else any short name would be near */
        best = text.len - 1;
    const char *found = NULL;
    for (size_t i = 0; i < n; i++) {
        struct span name = span_str(names[i]);
        size_t distance = name.len <= NAME_MAX_BYTES ? edit_distance(text, name) : SIZE_MAX;
        if (distance < best || (!found && distance == best)) {
            best = distance;
            found = names[i];
        }
    }
    return found;
}
