/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
#include "proto/wire/scan.h"
#include "proto/wire/identifier.h"
#include "proto/wire/scan_priv.h"

enum { WIRE_VARINT = 0, WIRE_BYTES = 2 };

static ehis_err fail(struct ehis_why *why, ehis_err err, const struct scan_message *m, const struct scan_field *f)
{
    return ehis_fail(why, err, "%s%s%s", m->name, f ? "." : "", f ? f->name : "");
}

/* Shortest form only, at most 64 bits. */
static inline ehis_err take_varint(const uint8_t **p, const uint8_t *end, uint64_t *out)
{
    uint64_t v = 0;
    if (*p != end && **p < 0x80) { /* nearly always */
        *out = *(*p)++;
        return EHIS_OK;
    }
    for (unsigned i = 0; i < 10; i++) {
        if (*p + i == end)
            return EHIS_E_SCAN_TRUNCATED;
        uint8_t b = (*p)[i];
        if (i == 9 && b > 1)
            return EHIS_E_SCAN_VARINT;
        v |= (uint64_t)(b & 0x7f) << (7 * i);
        if (b < 0x80) {
            if (i > 0 && b == 0)
                return EHIS_E_SCAN_VARINT;
            *p += i + 1;
            *out = v;
            return EHIS_OK;
        }
    }
    return EHIS_E_SCAN_VARINT;
}

static ehis_err check_number(const struct scan_field *f, uint64_t v)
{
    if (v == 0)
        return EHIS_E_SCAN_DEFAULT;
    switch (f->type) {
    case SCAN_U32:
        return v > UINT32_MAX ? EHIS_E_SCAN_RANGE : EHIS_OK;
    case SCAN_BOOL:
        return v != 1 ? EHIS_E_SCAN_RANGE : EHIS_OK;
    case SCAN_ENUM:
        return v > SCAN_NUMBER_MAX || !(f->enum_values >> v & 1) ? EHIS_E_SCAN_RANGE : EHIS_OK;
    default:
        return EHIS_OK;
    }
}

static ehis_err scan_level(const struct scan_message *m, struct span s, struct scan_value *values, size_t value_count, struct ehis_why *why);

static ehis_err check_content(const struct scan_field *f, struct span content, struct ehis_why *why)
{
    if (content.len > f->max_bytes || content.len < f->min_bytes)
        return EHIS_E_SCAN_LENGTH;
    if (f->type == SCAN_STRING) {
        unsigned parts;
        if (f->is_identifier)
            return identifier_parse(content, &parts, why) == EHIS_OK ? EHIS_OK : EHIS_E_IDENTIFIER_INVALID;
        if (!utf8_is_valid(content, NULL))
            return EHIS_E_SCAN_TEXT;
    }
    return EHIS_OK;
}

struct scan_walk { /* one pass over one message */
    const struct scan_message *m;
    const uint8_t *p, *end;
    uint64_t seen; /* bit set of field numbers */
    uint64_t last;
    uint32_t count; /* of the present repeated field */
    bool has_oneof;
};

/* The tag at p: which field, and may it stand here? */
static ehis_err take_tag(struct scan_walk *w, const struct scan_field **field, struct ehis_why *why)
{
    uint64_t tag;
    ehis_err err = take_varint(&w->p, w->end, &tag);
    if (err != EHIS_OK)
        return fail(why, err, w->m, NULL);
    uint64_t number = tag >> 3;
    if (number == 0 || number > w->m->top_number || !w->m->index[number])
        return ehis_fail(why, EHIS_E_SCAN_UNKNOWN_FIELD, "%s: field number %llu", w->m->name, (unsigned long long)number);
    const struct scan_field *f = &w->m->fields[w->m->index[number] - 1];
    bool is_number = f->type <= SCAN_ENUM;
    if ((tag & 7) != (is_number ? WIRE_VARINT : WIRE_BYTES))
        return fail(why, EHIS_E_SCAN_WIRE_TYPE, w->m, f);
    if (number < w->last)
        return fail(why, w->seen >> number & 1 ? EHIS_E_SCAN_DUPLICATE : EHIS_E_SCAN_ORDER, w->m, f);
    if (number == w->last && !f->is_repeated)
        return fail(why, EHIS_E_SCAN_DUPLICATE, w->m, f);
    w->count = number == w->last ? w->count + 1 : 1;
    if (f->is_repeated && w->count > f->max_count)
        return fail(why, EHIS_E_SCAN_COUNT, w->m, f);
    if (f->is_oneof && w->has_oneof)
        return fail(why, EHIS_E_SCAN_DUPLICATE, w->m, f);
    w->has_oneof |= f->is_oneof;
    w->last = number;
    w->seen |= 1ull << number;
    *field = f;
    return EHIS_OK;
}

static ehis_err take_value(struct scan_walk *w, const struct scan_field *f, struct scan_value *into, struct ehis_why *why)
{
    uint64_t n;
    ehis_err err = take_varint(&w->p, w->end, &n);
    if (err != EHIS_OK)
        return fail(why, err, w->m, f);
    struct span content = {0};
    if (f->type <= SCAN_ENUM) {
        err = check_number(f, n);
    } else if (n > (uint64_t)(w->end - w->p)) {
        err = EHIS_E_SCAN_TRUNCATED;
    } else {
        content = span_of(w->p, (size_t)n);
        w->p += n;
        err = check_content(f, content, NULL);
    }
    if (err != EHIS_OK)
        return fail(why, err, w->m, f);
    if (f->type == SCAN_MESSAGE)
        EHIS_TRY(scan_level(f->sub, content, NULL, 0, why));
    if (into) {
        if (!into->is_present) {
            into->is_present = true;
            into->number = f->type <= SCAN_ENUM ? n : 0;
            into->bytes = content;
        }
        into->count++;
    }
    return EHIS_OK;
}

static ehis_err scan_level(const struct scan_message *m, struct span s, struct scan_value *values, size_t value_count, struct ehis_why *why)
{
    struct scan_walk w = {.m = m, .p = s.p, .end = s.len ? s.p + s.len : s.p};
    while (w.p != w.end) {
        const struct scan_field *f;
        EHIS_TRY(take_tag(&w, &f, why));
        EHIS_TRY(take_value(&w, f, f->number < value_count ? &values[f->number] : NULL, why));
    }
    uint64_t missing = m->required & ~w.seen;
    return missing ? fail(why, EHIS_E_SCAN_MISSING, m, &m->fields[m->index[__builtin_ctzll(missing)] - 1]) : EHIS_OK;
}

ehis_err scan(const struct scan_message *table, struct span bytes, struct scan_value *values, size_t value_count, struct ehis_why *why)
{
    if (values)
        memset(values, 0, value_count * sizeof *values);
    return scan_level(table, bytes, values, values ? value_count : 0, why);
}

bool scan_next(struct span scanned, unsigned field_number, size_t *at, struct span *content)
{
    if (*at >= scanned.len)
        return false;
    const uint8_t *p = scanned.p + *at, *end = scanned.p + scanned.len;
    while (p != end) {
        uint64_t tag, n;
        if (take_varint(&p, end, &tag) != EHIS_OK || take_varint(&p, end, &n) != EHIS_OK)
            return false;
        if ((tag & 7) != WIRE_BYTES)
            continue;
        if (n > (uint64_t)(end - p))
            return false;
        struct span here = span_of(p, (size_t)n);
        p += n;
        if (tag >> 3 == field_number) {
            *content = here;
            *at = (size_t)(p - scanned.p);
            return true;
        }
    }
    *at = scanned.len;
    return false;
}
