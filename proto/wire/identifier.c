/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
#include "proto/wire/identifier.h"

static const bool is_of_alphabet[256] = {['a' ... 'z'] = true, ['A' ... 'Z'] = true, ['0' ... '9'] = true, ['.'] = true, ['_'] = true, ['-'] = true};

ehis_err identifier_part_check(struct span s, struct ehis_why *why)
{
    if (s.len < 1 || s.len > IDENTIFIER_PART_MAX_BYTES)
        return ehis_fail(why, EHIS_E_IDENTIFIER_INVALID, "a part of %zu bytes (1 to %d)", s.len, IDENTIFIER_PART_MAX_BYTES);
    if (s.p[0] == '.' || s.p[s.len - 1] == '.')
        return ehis_fail(why, EHIS_E_IDENTIFIER_INVALID, "a part that begins or ends with a dot");
    for (size_t i = 0; i < s.len; i++) {
        if (!is_of_alphabet[s.p[i]])
            return ehis_fail(why, EHIS_E_IDENTIFIER_INVALID, "byte 0x%02x at %zu of a part", s.p[i], i);
        if (i > 0 && s.p[i] == '.' && s.p[i - 1] == '.')
            return ehis_fail(why, EHIS_E_IDENTIFIER_INVALID, "two dots in a part");
    }
    return EHIS_OK;
}

ehis_err identifier_parse(struct span text, unsigned *parts, struct ehis_why *why)
{
    if (text.len > IDENTIFIER_MAX_BYTES)
        return ehis_fail(why, EHIS_E_IDENTIFIER_INVALID, "%zu bytes (at most %d)", text.len, IDENTIFIER_MAX_BYTES);
    if (text.len == 0)
        return ehis_fail(why, EHIS_E_IDENTIFIER_INVALID, "no identifier");
    unsigned n = 0;
    for (size_t at = 0;; n++) {
        const uint8_t *slash = at < text.len ? memchr(text.p + at, '/', text.len - at) : NULL;
        size_t end = slash ? (size_t)(slash - text.p) : text.len;
        EHIS_TRY(identifier_part_check(span_of(text.p + at, end - at), why));
        if (!slash)
            break;
        at = end + 1;
    }
    if (++n < IDENTIFIER_GATEWAY || n > IDENTIFIER_SERVICE)
        return ehis_fail(why, EHIS_E_IDENTIFIER_INVALID, "%u parts (2 to 5)", n);
    *parts = n;
    return EHIS_OK;
}

ehis_err identifier_check(struct span text, enum identifier_parts parts, struct ehis_why *why)
{
    unsigned n;
    EHIS_TRY(identifier_parse(text, &n, why));
    return n == (unsigned)parts ? EHIS_OK : ehis_fail(why, EHIS_E_IDENTIFIER_INVALID, "%u parts where %u are wanted", n, (unsigned)parts);
}

struct span identifier_prefix(struct span checked, unsigned parts)
{
    for (size_t i = 0; i < checked.len; i++)
        if (checked.p[i] == '/' && --parts == 0)
            return span_of(checked.p, i);
    return checked;
}
