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

#define VARINT_MAX_BYTES 10
#define HEAD_MAX_BYTES (2 + VARINT_MAX_BYTES) /* fields are numbered below 2,048 */

static size_t varint_bytes(uint64_t v)
{
    size_t n = 1;
    while (v >>= 7)
        n++;
    return n;
}

static ehis_err put_varint(struct buf *b, uint64_t v)
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
    EHIS_TRY(put_varint(b, (uint64_t)field_number << 3));
    return put_varint(b, v);
}

ehis_err codec_put_head(struct buf *b, unsigned field_number, size_t content_bytes)
{
    EHIS_TRY(put_varint(b, (uint64_t)field_number << 3 | 2));
    return put_varint(b, content_bytes);
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
    return n == 0 || (p[0] == 0 && memcmp(p, p + 1, n - 1) == 0);
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

/* At least what codec_write appends, without looking at contents. */
static size_t codec_bound(const struct codec *c, const void *in)
{
    size_t total = c->count * (HEAD_MAX_BYTES + VARINT_MAX_BYTES);
    for (size_t i = 0; i < c->count; i++) {
        const struct codec_member *m = &c->members[i];
        const uint8_t *at = (const uint8_t *)in + m->offset;
        if (m->kind == CODEC_SPAN) {
            total += ((const struct span *)(const void *)at)->len;
        } else if (m->kind == CODEC_FIXED) {
            total += m->size;
        } else if (m->kind == CODEC_NESTED) {
            total += codec_bound(m->sub, at);
        } else if (m->kind == CODEC_SPANS) {
            const struct span *list = (const struct span *)(const void *)at;
            size_t count = *(const size_t *)(const void *)((const uint8_t *)in + m->count_offset);
            for (size_t k = 0; k < count; k++)
                total += HEAD_MAX_BYTES + list[k].len;
        }
    }
    return total;
}

static inline uint8_t *write_varint(uint8_t *p, uint64_t v)
{
    for (; v >= 0x80; v >>= 7)
        *p++ = (uint8_t)(v | 0x80);
    *p++ = (uint8_t)v;
    return p;
}

static inline uint8_t *write_number(uint8_t *p, unsigned number, uint64_t v)
{
    return v ? write_varint(write_varint(p, (uint64_t)number << 3), v) : p;
}

static inline uint8_t *write_bytes(uint8_t *p, unsigned number, const uint8_t *from, size_t n)
{
    p = write_varint(write_varint(p, (uint64_t)number << 3 | 2), n);
    if (n)
        memcpy(p, from, n);
    return p + n;
}

/* Room for all is there. */
static uint8_t *write_members(const struct codec *c, const uint8_t *in, uint8_t *p)
{
    for (size_t i = 0; i < c->count; i++) {
        const struct codec_member *m = &c->members[i];
        const uint8_t *at = in + m->offset;
        const struct span *list = (const struct span *)(const void *)at;
        switch ((enum codec_kind)m->kind) {
        case CODEC_U32: p = write_number(p, m->number, *(const uint32_t *)(const void *)at); break;
        case CODEC_U64: p = write_number(p, m->number, *(const uint64_t *)(const void *)at); break;
        case CODEC_BOOL: p = write_number(p, m->number, *(const bool *)at); break;
        case CODEC_SPAN: p = list->len ? write_bytes(p, m->number, list->p, list->len) : p; break;
        case CODEC_FIXED: p = is_absent(c, m, at) ? p : write_bytes(p, m->number, at, m->size); break;
        case CODEC_NESTED: {
            size_t n = codec_bytes(m->sub, at);
            if (n)
                p = write_members(m->sub, at, write_varint(write_varint(p, (uint64_t)m->number << 3 | 2), n));
            break;
        }
        case CODEC_SPANS:
            for (size_t k = 0; k < *(const size_t *)(const void *)(in + m->count_offset); k++)
                p = write_bytes(p, m->number, list[k].p, list[k].len);
            break;
        }
    }
    return p;
}

ehis_err codec_write(const struct codec *c, const void *in, struct buf *out)
{
    uint8_t *p;
    size_t n = codec_bound(c, in);
    if (n > out->max - out->len)
        n = codec_bytes(c, in);
    EHIS_TRY(buf_reserve(out, n, &p));
    if (n)
        buf_commit(out, (size_t)(write_members(c, in, p) - p));
    return EHIS_OK;
}
