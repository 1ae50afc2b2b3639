/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* The scanner over every field of every message: a smallest whole message is written from the table, then one thing in it is made wrong. */
#include <stdlib.h>

#include "tests/unit/proto/wire/wire_build.h"

#include "ehis/v1/registry.pb-c.h"
#include "ehis_scan.h"
#include "proto/wire/frame.h"
#include "proto/wire/scan_priv.h"

#define SAMPLE_MAX (40u << 20)
static const struct scan_message *all[64];
static size_t all_count;

static void add(const struct scan_message *m)
{
    for (size_t i = 0; i < all_count; i++)
        if (all[i] == m)
            return;
    assert_true(all_count < 64);
    all[all_count++] = m;
    for (size_t i = 0; i < m->field_count; i++)
        if (m->fields[i].sub)
            add(m->fields[i].sub);
}

static int gather(void **s)
{
    (void)s;
    for (unsigned type = 1; frame_rule((uint8_t)type); type++)
        add(frame_rule((uint8_t)type)->table);
    add(&scan_ehis_v1_header);
    add(&scan_ehis_v1_record);
    add(&scan_ehis_v1_registry);
    add(&scan_ehis_v1_statement);
    add(&scan_ehis_v1_leaf);
    add(&scan_ehis_v1_join_request);
    add(&scan_ehis_v1_key_wraps);
    return 0;
}

static bool is_number(const struct scan_field *f) { return f->type <= SCAN_ENUM; }
static void put_smallest(struct buf *b, const struct scan_message *m);

/* One occurrence with a good value. */
static void put_good(struct buf *b, const struct scan_field *f)
{
    if (is_number(f)) {
        put_number(b, f->number, 1);
    } else if (f->sub) {
        struct buf below;
        buf_init(&below, SAMPLE_MAX);
        put_smallest(&below, f->sub);
        put_bytes(b, f->number, buf_span(&below));
        buf_fini(&below);
    } else if (f->is_identifier) {
        put_bytes(b, f->number, span_str("AZ/GOV/MIA/population"));
    } else {
        put_filled(b, f->number, 'x', f->min_bytes ? f->min_bytes : 1);
    }
}

static void put_smallest(struct buf *b, const struct scan_message *m)
{
    for (size_t i = 0; i < m->field_count; i++)
        if (m->fields[i].is_required)
            put_good(b, &m->fields[i]);
}

/* The smallest message with this field written by put (NULL: left out). */
static ehis_err scan_with(const struct scan_message *m, const struct scan_field *f, void (*put)(struct buf *, const struct scan_field *))
{
    struct buf b;
    struct ehis_why why;
    buf_init(&b, SAMPLE_MAX);
    for (size_t i = 0; i < m->field_count; i++) {
        const struct scan_field *g = &m->fields[i];
        if (g == f) {
            if (put)
                put(&b, f);
        } else if (g->is_required) {
            put_good(&b, g);
        }
    }
    ehis_err err = scan(m, buf_span(&b), NULL, 0, &why);
    buf_fini(&b);
    return err;
}

static void put_default(struct buf *b, const struct scan_field *f) { put_number(b, f->number, 0); }
static void put_over_u32(struct buf *b, const struct scan_field *f) { put_number(b, f->number, 1ull << 32); }
static void put_top_u32(struct buf *b, const struct scan_field *f) { put_number(b, f->number, UINT32_MAX); }
static void put_top_u64(struct buf *b, const struct scan_field *f) { put_number(b, f->number, UINT64_MAX); }
static void put_two(struct buf *b, const struct scan_field *f) { put_number(b, f->number, 2); }
static void put_63(struct buf *b, const struct scan_field *f) { put_number(b, f->number, 63); }
static void put_64(struct buf *b, const struct scan_field *f) { put_number(b, f->number, 64); }
static void put_twice(struct buf *b, const struct scan_field *f) { put_good(b, f), put_good(b, f); }
static void put_wrong_type(struct buf *b, const struct scan_field *f)
{
    put_tag(b, f->number, is_number(f) ? 2 : 0);
    put_varint(b, 1);
    OK(buf_put_u8(b, 'x'));
}
static unsigned wire_type;
static void put_strange_type(struct buf *b, const struct scan_field *f)
{
    put_tag(b, f->number, wire_type);
    OK(buf_put(b, "12345678", 8));
}
static void put_long_varint(struct buf *b, const struct scan_field *f)
{
    put_tag(b, f->number, 0);
    OK(buf_put(b, "\x81\x00", 2));
}
static void put_long_tag(struct buf *b, const struct scan_field *f)
{
    uint64_t tag = (uint64_t)f->number << 3 | (is_number(f) ? 0 : 2);
    OK(buf_put_u8(b, (uint8_t)(tag | 0x80)));
    OK(tag < 0x80 ? buf_put(b, "\x00", 1) : buf_put(b, "\x83\x00", 2));
}
static size_t length;
static void put_length(struct buf *b, const struct scan_field *f) { put_filled(b, f->number, 'x', length); }
static void put_max_count(struct buf *b, const struct scan_field *f)
{
    for (uint32_t i = 0; i < f->max_count; i++)
        put_good(b, f);
}
static void put_over_count(struct buf *b, const struct scan_field *f)
{
    put_max_count(b, f);
    put_good(b, f);
}
static const char *text;
static size_t text_bytes;
static void put_text(struct buf *b, const struct scan_field *f)
{
    char whole[64];
    size_t n = f->min_bytes > text_bytes ? f->min_bytes : text_bytes;
    memset(whole, 'x', sizeof whole);
    memcpy(whole, text, text_bytes);
    put_bytes(b, f->number, span_of(whole, n));
}

#define EACH_FIELD(m, f)                        \
    for (size_t mi = 0; mi < all_count; mi++)   \
        for (const struct scan_message *m = all[mi]; m; m = NULL) \
            for (const struct scan_field *f = m->fields; f < m->fields + m->field_count; f++)

static void the_smallest_message_and_each_field_in_it_is_taken(void **s)
{
    (void)s;
    EACH_FIELD(m, f)
    {
        OK(scan_with(m, NULL, NULL));
        OK(scan_with(m, f, put_good));
    }
    assert_true(all_count > 40);
}

static void a_required_field_that_is_missing_is_found(void **s)
{
    (void)s;
    EACH_FIELD(m, f)
    assert_string_equal(ehis_err_name(scan_with(m, f, NULL)), f->is_required ? "SCAN_MISSING" : "OK");
}

static void a_field_twice_is_refused_unless_it_is_repeated(void **s)
{
    (void)s;
    EACH_FIELD(m, f)
    assert_string_equal(ehis_err_name(scan_with(m, f, put_twice)), f->is_repeated ? "OK" : "SCAN_DUPLICATE");
}

static void wrong_wire_types_and_groups_are_refused(void **s)
{
    (void)s;
    EACH_FIELD(m, f)
    {
        FAILS(scan_with(m, f, put_wrong_type), SCAN_WIRE_TYPE);
        for (wire_type = 1; wire_type < 8; wire_type++)
            if (wire_type != 2)
                FAILS(scan_with(m, f, put_strange_type), SCAN_WIRE_TYPE);
    }
}

static void numbers_have_ranges_and_no_defaults(void **s)
{
    (void)s;
    EACH_FIELD(m, f)
    {
        if (!is_number(f))
            continue;
        FAILS(scan_with(m, f, put_default), SCAN_DEFAULT);
        FAILS(scan_with(m, f, put_long_varint), SCAN_VARINT);
        assert_string_equal(ehis_err_name(scan_with(m, f, put_over_u32)), f->type == SCAN_U64 ? "OK" : "SCAN_RANGE");
        assert_string_equal(ehis_err_name(scan_with(m, f, put_top_u64)), f->type == SCAN_U64 ? "OK" : "SCAN_RANGE");
        if (f->type == SCAN_U32)
            OK(scan_with(m, f, put_top_u32));
        if (f->type == SCAN_BOOL)
            FAILS(scan_with(m, f, put_two), SCAN_RANGE);
        if (f->type == SCAN_ENUM) {
            OK(scan_with(m, f, put_two));
            FAILS(scan_with(m, f, put_63), SCAN_RANGE);
            FAILS(scan_with(m, f, put_64), SCAN_RANGE);
        }
    }
}

static void a_tag_in_more_bytes_than_it_needs_is_refused(void **s)
{
    (void)s;
    EACH_FIELD(m, f)
    FAILS(scan_with(m, f, put_long_tag), SCAN_VARINT);
}

static void lengths_are_held_to_their_bounds(void **s)
{
    (void)s;
    EACH_FIELD(m, f)
    {
        if (is_number(f))
            continue;
        length = (size_t)f->max_bytes + 1;
        FAILS(scan_with(m, f, put_length), SCAN_LENGTH);
        if (f->min_bytes > 0) {
            length = f->min_bytes - 1;
            FAILS(scan_with(m, f, put_length), SCAN_LENGTH);
        }
        if (f->sub || f->is_identifier)
            continue;
        for (length = f->max_bytes > f->min_bytes ? f->max_bytes - 1 : f->max_bytes; length <= f->max_bytes; length++)
            OK(scan_with(m, f, put_length));
        length = f->min_bytes ? f->min_bytes : 1;
        OK(scan_with(m, f, put_length));
    }
}

static void counts_are_held_to_their_bounds(void **s)
{
    (void)s;
    EACH_FIELD(m, f)
    {
        if (!f->is_repeated)
            continue;
        OK(scan_with(m, f, put_max_count));
        FAILS(scan_with(m, f, put_over_count), SCAN_COUNT);
    }
}

static void texts_are_utf8_without_nul(void **s)
{
    (void)s;
    static const struct { const char *text; size_t n; } bad[] = {
        {"\0", 1}, {"a\0b", 3}, {"\x80", 1}, {"\xc3", 1}, {"\xc3x", 2}, {"\xc0\x80", 2}, {"\xe0\x80\x80", 3}, {"\xed\xa0\x80", 3},
        {"\xf4\x90\x80\x80", 4}, {"\xf8\x88\x80\x80\x80", 5}, {"\xff", 1},
    };
    EACH_FIELD(m, f)
    {
        if (f->type != SCAN_STRING)
            continue;
        for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
            text = bad[i].text, text_bytes = bad[i].n;
            assert_string_equal(ehis_err_name(scan_with(m, f, put_text)), f->is_identifier ? "IDENTIFIER_INVALID" : "SCAN_TEXT");
        }
        text = "\xc9\x99\xf0\x9f\x98\x80", text_bytes = 6; /* two and four bytes */
        if (!f->is_identifier)
            OK(scan_with(m, f, put_text));
    }
}

static void unknown_fields_and_field_number_zero_are_refused(void **s)
{
    (void)s;
    static const uint64_t numbers[] = {0, 64, 127, 128, 1u << 28, (1ull << 61) - 1};
    for (size_t i = 0; i < all_count; i++) {
        struct buf b;
        buf_init(&b, SAMPLE_MAX);
        put_smallest(&b, all[i]);
        size_t before = b.len;
        for (size_t k = 0; k < sizeof numbers / sizeof *numbers; k++) {
            put_varint(&b, numbers[k] << 3);
            put_varint(&b, 1);
            FAILS(scan(all[i], buf_span(&b), NULL, 0, NULL), SCAN_UNKNOWN_FIELD);
            b.len = before;
        }
        put_number(&b, all[i]->top_number + 1u, 1);
        FAILS(scan(all[i], buf_span(&b), NULL, 0, NULL), SCAN_UNKNOWN_FIELD);
        for (unsigned n = 1; n < all[i]->top_number; n++) /* reserved numbers */
            if (!all[i]->index[n]) {
                b.len = 0;
                put_number(&b, n, 1);
                FAILS(scan(all[i], buf_span(&b), NULL, 0, NULL), SCAN_UNKNOWN_FIELD);
            }
        buf_fini(&b);
    }
}

static void fields_come_in_ascending_order(void **s)
{
    (void)s;
    for (size_t i = 0; i < all_count; i++) {
        const struct scan_message *m = all[i];
        struct buf b;
        buf_init(&b, SAMPLE_MAX);
        for (size_t k = 1; k < m->field_count; k++) {
            b.len = 0;
            put_good(&b, &m->fields[k]);
            put_good(&b, &m->fields[k - 1]);
            ehis_err err = scan(m, buf_span(&b), NULL, 0, NULL);
            assert_string_equal(ehis_err_name(err), "SCAN_ORDER");
            put_good(&b, &m->fields[k]);
        }
        if (m->field_count > 1) { /* a, b, a: twice, not only out of order */
            b.len = 0;
            put_good(&b, &m->fields[0]);
            put_good(&b, &m->fields[1]);
            put_good(&b, &m->fields[0]);
            FAILS(scan(m, buf_span(&b), NULL, 0, NULL), SCAN_DUPLICATE);
        }
        buf_fini(&b);
    }
}

static void a_oneof_has_one(void **s)
{
    (void)s;
    const struct scan_message *m = &scan_ehis_v1_leaf;
    struct buf b;
    buf_init(&b, SAMPLE_MAX);
    put_good(&b, &m->fields[0]);
    OK(scan(m, buf_span(&b), NULL, 0, NULL));
    put_good(&b, &m->fields[1]);
    FAILS(scan(m, buf_span(&b), NULL, 0, NULL), SCAN_DUPLICATE);
    buf_fini(&b);
}

static void a_message_cut_anywhere_is_refused_and_nothing_behind_it_is_read(void **s)
{
    (void)s;
    for (size_t i = 0; i < all_count; i++) {
        struct buf b;
        size_t whole = 0; /* where the smallest message is complete */
        buf_init(&b, SAMPLE_MAX);
        for (size_t k = 0; k < all[i]->field_count; k++)
            if (!all[i]->fields[k].is_oneof || k == 0)
                put_good(&b, &all[i]->fields[k]);
        OK(scan(all[i], buf_span(&b), NULL, 0, NULL));
        for (size_t n = 0; n < b.len; n++) {
            uint8_t *copy = malloc(n ? n : 1); /* its own size: the sanitizer sees a read behind it */
            memcpy(copy, buf_span(&b).p, n);
            ehis_err err = scan(all[i], span_of(copy, n), NULL, 0, NULL);
            free(copy);
            if (err == EHIS_OK)
                whole++;
            else
                assert_true(err == EHIS_E_SCAN_TRUNCATED || err == EHIS_E_SCAN_MISSING);
        }
        assert_true(whole <= all[i]->field_count);
        b.len = b.len ? b.len : 0;
        OK(buf_put_u8(&b, 0xff));
        assert_int_not_equal(scan(all[i], buf_span(&b), NULL, 0, NULL), EHIS_OK);
        buf_fini(&b);
    }
}

static void varints_have_at_most_64_bits(void **s)
{
    (void)s;
    const struct scan_message *m = &scan_ehis_v1_ping;
    static const struct { const char *bytes; size_t n; ehis_err err; } rows[] = {
        {"\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 11, EHIS_OK},
        {"\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02", 11, EHIS_E_SCAN_VARINT},
        {"\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x81", 11, EHIS_E_SCAN_VARINT},
        {"\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 12, EHIS_E_SCAN_VARINT},
        {"\x08\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01", 11, EHIS_OK},
        {"\x08\x80\x80\x80\x80\x80\x80\x80\x80\x80\x00", 11, EHIS_E_SCAN_VARINT},
        {"\x08\x80\x00", 3, EHIS_E_SCAN_VARINT},
        {"\x08\x80", 2, EHIS_E_SCAN_TRUNCATED},
        {"\x08", 1, EHIS_E_SCAN_TRUNCATED},
        {"\x88\x00\x01", 3, EHIS_E_SCAN_VARINT},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        assert_int_equal(scan(m, span_of(rows[i].bytes, rows[i].n), NULL, 0, NULL), rows[i].err);
}

static void values_tell_what_stands_in_each_field_and_why_names_the_place(void **s)
{
    (void)s;
    struct scan_value v[4];
    struct ehis_why why = {""};
    struct buf b;
    buf_init(&b, 4096);
    put_number(&b, 1, 7);
    put_bytes(&b, 2, span_str("one"));
    put_bytes(&b, 2, span_str("two"));
    put_bytes(&b, 4, span_str("AZ/GOV/MIA/population"));
    put_number(&b, 5, 1), put_number(&b, 6, 2), put_number(&b, 7, 3), put_number(&b, 8, 4);
    OK(scan(&scan_ehis_v1_hello, buf_span(&b), v, 4, &why));
    assert_true(v[1].is_present && v[1].number == 7 && v[1].count == 1);
    assert_true(v[2].is_present && v[2].count == 2 && span_eq(v[2].bytes, span_str("one")));
    assert_false(v[0].is_present || v[3].is_present);
    struct span content;
    size_t at = 0;
    assert_true(scan_next(buf_span(&b), 2, &at, &content) && span_eq(content, span_str("one")));
    assert_true(scan_next(buf_span(&b), 2, &at, &content) && span_eq(content, span_str("two")));
    assert_false(scan_next(buf_span(&b), 2, &at, &content));
    assert_false(scan_next(buf_span(&b), 2, &at, &content));
    put_number(&b, 8, 4);
    FAILS(scan(&scan_ehis_v1_hello, buf_span(&b), v, 4, &why), SCAN_DUPLICATE);
    assert_string_equal(why.text, "Hello.clock_ms");
    buf_fini(&b);
    OK(scan(&scan_ehis_v1_ping, (struct span){0}, NULL, 0, NULL));
    assert_false(scan_next((struct span){0}, 2, &(size_t){0}, &content));
}

static void a_scanned_message_unpacks_within_the_stated_arena(void **s)
{
    (void)s;
    struct buf b;
    struct arena a;
    ProtobufCMessage *out;
    buf_init(&b, SAMPLE_MAX);
    put_smallest(&b, &scan_ehis_v1_registry);
    for (unsigned i = 0; i < 65536; i++)
        put_bytes(&b, 2, span_str("x")); /* the dearest there is: one byte a piece */
    OK(arena_init(&a, arena_bytes_for(b.len)));
    OK(scan_unpack(&scan_ehis_v1_registry, &ehis__v1__registry__descriptor, buf_span(&b), &a, &out, NULL));
    assert_int_equal(((Ehis__V1__Registry *)(void *)out)->n_leaves, 65536);
    struct buf again;
    buf_init(&again, SAMPLE_MAX);
    OK(scan_pack(out, &again));
    assert_true(span_eq(buf_span(&again), buf_span(&b)));
    size_t used = a.used;
    arena_fini(&a);
    for (size_t cap = 0; cap < used; cap += used / 7) {
        OK(arena_init(&a, cap ? cap : 16));
        FAILS(scan_unpack(&scan_ehis_v1_registry, &ehis__v1__registry__descriptor, buf_span(&b), &a, &out, NULL), ARENA_FULL);
        arena_fini(&a);
    }
    assert_int_equal(arena_bytes_for(SIZE_MAX), 0);
    buf_fini(&b);
    buf_fini(&again);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_smallest_message_and_each_field_in_it_is_taken),
        cmocka_unit_test(a_required_field_that_is_missing_is_found),
        cmocka_unit_test(a_field_twice_is_refused_unless_it_is_repeated),
        cmocka_unit_test(wrong_wire_types_and_groups_are_refused),
        cmocka_unit_test(numbers_have_ranges_and_no_defaults),
        cmocka_unit_test(a_tag_in_more_bytes_than_it_needs_is_refused),
        cmocka_unit_test(lengths_are_held_to_their_bounds),
        cmocka_unit_test(counts_are_held_to_their_bounds),
        cmocka_unit_test(texts_are_utf8_without_nul),
        cmocka_unit_test(unknown_fields_and_field_number_zero_are_refused),
        cmocka_unit_test(fields_come_in_ascending_order),
        cmocka_unit_test(a_oneof_has_one),
        cmocka_unit_test(a_message_cut_anywhere_is_refused_and_nothing_behind_it_is_read),
        cmocka_unit_test(varints_have_at_most_64_bits),
        cmocka_unit_test(values_tell_what_stands_in_each_field_and_why_names_the_place),
        cmocka_unit_test(a_scanned_message_unpacks_within_the_stated_arena),
    };
    return cmocka_run_group_tests(tests, gather, NULL);
}
