/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
#include "proto/wire/codec.h"
#include "proto/wire/scan_priv.h"

static ehis_err read_member(const struct codec_member *m, const struct scan_value *v, struct span whole, uint8_t *at, struct ehis_why *why)
{
    switch ((enum codec_kind)m->kind) {
    case CODEC_U32:
        *(uint32_t *)(void *)at = (uint32_t)v->number;
        break;
    case CODEC_U64:
        *(uint64_t *)(void *)at = v->number;
        break;
    case CODEC_BOOL:
        *(bool *)at = v->number != 0;
        break;
    case CODEC_SPAN:
        *(struct span *)(void *)at = v->bytes;
        break;
    case CODEC_FIXED:
        if (v->bytes.len != m->size)
            return ehis_fail(why, EHIS_E_SCAN_LENGTH, "field %u", m->number);
        memcpy(at, v->bytes.p, m->size);
        break;
    case CODEC_NESTED:
        return codec_read(m->sub, v->bytes, m->size, at, why);
    case CODEC_SPANS: {
        struct span *list = (struct span *)(void *)at;
        size_t n = 0, from = 0;
        while (n < m->size && scan_next(whole, m->number, &from, &list[n]))
            n++;
        *(size_t *)(void *)(at - m->offset + m->count_offset) = n;
        break;
    }
    }
    return EHIS_OK;
}

ehis_err codec_read(const struct codec *c, struct span bytes, size_t struct_bytes, void *out, struct ehis_why *why)
{
    struct scan_value values[SCAN_NUMBER_MAX + 1] __attribute__((uninitialized)); /* 2 KiB: scan clears what it fills, no more */
    EHIS_TRY(scan(c->table, bytes, values, (size_t)c->table->top_number + 1, why));
    memset(out, 0, struct_bytes);
    for (size_t i = 0; i < c->count; i++) {
        const struct codec_member *m = &c->members[i];
        if (values[m->number].is_present)
            EHIS_TRY(read_member(m, &values[m->number], bytes, (uint8_t *)out + m->offset, why));
    }
    return EHIS_OK;
}

static size_t varint_bytes(uint64_t v)
{
    size_t n = 1;
    while (v >>= 7)
        n++;
    return n;
}

ehis_err codec_put_varint(struct buf *b, uint64_t v)
{
    uint8_t *p;
    size_t n = 0;
    EHIS_TRY(buf_reserve(b, 10, &p));
    for (; v >= 0x80; v >>= 7)
        p[n++] = (uint8_t)(v | 0x80);
    p[n++] = (uint8_t)v;
    buf_commit(b, n);
    return EHIS_OK;
}

ehis_err codec_put_number(struct buf *b, unsigned field_number, uint64_t v)
{
    if (v == 0)
        return EHIS_OK;
    EHIS_TRY(codec_put_varint(b, (uint64_t)field_number << 3));
    return codec_put_varint(b, v);
}

ehis_err codec_put_head(struct buf *b, unsigned field_number, size_t content_bytes)
{
    EHIS_TRY(codec_put_varint(b, (uint64_t)field_number << 3 | 2));
    return codec_put_varint(b, content_bytes);
}

size_t codec_head_bytes(unsigned field_number, size_t content_bytes)
{
    return varint_bytes((uint64_t)field_number << 3) + varint_bytes(content_bytes);
}

ehis_err codec_put_bytes(struct buf *b, unsigned field_number, struct span s)
{
    if (s.len == 0)
        return EHIS_OK;
    EHIS_TRY(codec_put_head(b, field_number, s.len));
    return buf_put_span(b, s);
}

static bool is_zero(const uint8_t *p, size_t n)
{
    while (n > 0)
        if (p[--n])
            return false;
    return true;
}

/* Zeros stand for an absent array, except where it must be there: then they are its value. */
static bool is_absent(const struct codec *c, const struct codec_member *m, const uint8_t *at)
{
    return is_zero(at, m->size) && !(c->table && c->table->fields[c->table->index[m->number] - 1].is_required);
}

size_t codec_bytes(const struct codec *c, const void *in)
{
    size_t total = 0;
    for (size_t i = 0; i < c->count; i++) {
        const struct codec_member *m = &c->members[i];
        const uint8_t *at = (const uint8_t *)in + m->offset;
        size_t n = 0;
        uint64_t v = 0;
        switch ((enum codec_kind)m->kind) {
        case CODEC_U32: v = *(const uint32_t *)(const void *)at; break;
        case CODEC_U64: v = *(const uint64_t *)(const void *)at; break;
        case CODEC_BOOL: v = *(const bool *)at; break;
        case CODEC_SPAN: n = ((const struct span *)(const void *)at)->len; break;
        case CODEC_FIXED: n = is_absent(c, m, at) ? 0 : m->size; break;
        case CODEC_NESTED: n = codec_bytes(m->sub, at); break;
        case CODEC_SPANS: {
            const struct span *list = (const struct span *)(const void *)at;
            size_t count = *(const size_t *)(const void *)((const uint8_t *)in + m->count_offset);
            for (size_t k = 0; k < count; k++)
                total += codec_head_bytes(m->number, list[k].len) + list[k].len;
            break;
        }
        }
        if (v)
            total += varint_bytes((uint64_t)m->number << 3) + varint_bytes(v);
        if (n)
            total += codec_head_bytes(m->number, n) + n;
    }
    return total;
}

static ehis_err write_member(const struct codec *c, const struct codec_member *m, const uint8_t *in, struct buf *out)
{
    const uint8_t *at = in + m->offset;
    switch ((enum codec_kind)m->kind) {
    case CODEC_U32:
        return codec_put_number(out, m->number, *(const uint32_t *)(const void *)at);
    case CODEC_U64:
        return codec_put_number(out, m->number, *(const uint64_t *)(const void *)at);
    case CODEC_BOOL:
        return codec_put_number(out, m->number, *(const bool *)at);
    case CODEC_SPAN:
        return codec_put_bytes(out, m->number, *(const struct span *)(const void *)at);
    case CODEC_FIXED:
        return is_absent(c, m, at) ? EHIS_OK : codec_put_bytes(out, m->number, span_of(at, m->size));
    case CODEC_NESTED: {
        size_t n = codec_bytes(m->sub, at);
        if (n == 0)
            return EHIS_OK;
        EHIS_TRY(codec_put_head(out, m->number, n));
        return codec_write(m->sub, at, out);
    }
    case CODEC_SPANS: {
        const struct span *list = (const struct span *)(const void *)at;
        size_t count = *(const size_t *)(const void *)(in + m->count_offset);
        for (size_t i = 0; i < count; i++) {
            EHIS_TRY(codec_put_head(out, m->number, list[i].len));
            EHIS_TRY(buf_put_span(out, list[i]));
        }
        return EHIS_OK;
    }
    }
    return EHIS_E_INTERNAL;
}

ehis_err codec_write(const struct codec *c, const void *in, struct buf *out)
{
    for (size_t i = 0; i < c->count; i++)
        EHIS_TRY(write_member(c, &c->members[i], in, out));
    return EHIS_OK;
}
