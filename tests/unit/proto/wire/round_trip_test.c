/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* Readers and writers of every plain struct against protobuf-c: bytes written from the table alone go in, and must come out of ours and of
 * protobuf-c the same. */
#include <stdlib.h>

#include "tests/unit/proto/wire/wire_build.h"

#include "ehis/v1/envelope.pb-c.h"
#include "ehis/v1/record.pb-c.h"
#include "ehis/v1/session.pb-c.h"
#include "ehis/v1/statement.pb-c.h"
#include "ehis_scan.h"
#include "proto/wire/record.h"
#include "proto/wire/scan_priv.h"
#include "proto/wire/session_frames.h"
#include "proto/wire/statement.h"

typedef ehis_err read_fn(struct span bytes, void *out, struct ehis_why *why);
typedef ehis_err write_fn(const void *in, struct buf *out);
#define ROW(name, table_, descriptor_)                                                                                                         \
    {#name, &scan_ehis_v1_##table_, &ehis__v1__##descriptor_##__descriptor, sizeof(struct name), (read_fn *)(void *)name##_read, (write_fn *)(void *)name##_write}
static const struct row {
    const char *name;
    const struct scan_message *table;
    const ProtobufCMessageDescriptor *descriptor;
    size_t struct_bytes;
    read_fn *read;
    write_fn *write;
} rows[] = {
    ROW(hello, hello, hello), ROW(ping, ping, ping), ROW(error, error, error), ROW(goodbye, goodbye, goodbye),
    ROW(registry_get, registry_get, registry_get), ROW(crl, crl, crl), ROW(ready, ready, ready), ROW(ready_state, ready_state, ready_state),
    ROW(stream_open, stream_open, stream_open), ROW(stream_state, stream_state, stream_state), ROW(stream_settled, stream_settled, stream_settled),
    ROW(flow, flow, flow), ROW(subscribe, subscribe, subscribe), ROW(subscription, subscription, subscription), ROW(keys_get, keys_get, keys_get),
    ROW(blob_put, blob_put, blob_put), ROW(blob_state, blob_state, blob_state), ROW(blob_get, blob_get, blob_get), ROW(blob_chunk, blob_chunk, blob_chunk),
    ROW(acknowledgement, acknowledgement, acknowledgement), ROW(receipt, receipt, receipt), ROW(skip, skip, skip), ROW(ack, ack, ack),
};
#define ROW_COUNT (sizeof rows / sizeof *rows)

enum how { SMALLEST, FULL, TOP };

static void put_sample(struct buf *b, const struct scan_message *m, enum how how)
{
    for (const struct scan_field *f = m->fields; f < m->fields + m->field_count; f++) {
        if (how == SMALLEST && !f->is_required)
            continue;
        for (unsigned i = 0; i < (f->is_repeated && how != SMALLEST ? 3 : 1); i++) {
            struct buf below;
            buf_init(&below, 1 << 20);
            if (f->type == SCAN_ENUM || f->type == SCAN_BOOL)
                put_number(b, f->number, 1);
            else if (f->type <= SCAN_ENUM)
                put_number(b, f->number, how == TOP ? f->type == SCAN_U32 ? UINT32_MAX : UINT64_MAX : 100u + f->number);
            else if (f->sub)
                put_sample(&below, f->sub, how), put_bytes(b, f->number, buf_span(&below));
            else if (f->is_identifier)
                put_bytes(b, f->number, span_str("AZ/GOV/MIA/population"));
            else
                put_filled(b, f->number, (uint8_t)('a' + f->number + i), how == TOP && f->max_bytes < 9000 ? f->max_bytes : f->min_bytes ? f->min_bytes : 1);
            buf_fini(&below);
        }
    }
}

/* protobuf-c over the same bytes. */
static void assert_protobuf_c_agrees(const struct row *r, struct span bytes)
{
    struct arena a;
    struct buf out;
    ProtobufCMessage *m;
    buf_init(&out, 1 << 20);
    OK(arena_init(&a, arena_bytes_for(bytes.len)));
    OK(scan_unpack(r->table, r->descriptor, bytes, &a, &m, NULL));
    OK(scan_pack(m, &out));
    assert_true(span_eq(buf_span(&out), bytes));
    arena_fini(&a);
    buf_fini(&out);
}

static void each_struct_comes_back_as_the_same_bytes(void **s)
{
    (void)s;
    for (const struct row *r = rows; r < rows + ROW_COUNT; r++)
        for (enum how how = SMALLEST; how <= TOP; how++) {
            struct buf in, out;
            struct ehis_why why = {""};
            void *plain = malloc(r->struct_bytes);
            memset(plain, 0xA5, r->struct_bytes);
            buf_init(&in, 1 << 20), buf_init(&out, 1 << 20);
            put_sample(&in, r->table, how);
            assert_protobuf_c_agrees(r, buf_span(&in));
            ehis_err err = r->read(buf_span(&in), plain, &why);
            if (err != EHIS_OK)
                print_error("%s: %s\n", r->name, why.text);
            OK(err);
            OK(r->write(plain, &out));
            assert_true(span_eq(buf_span(&in), buf_span(&out)));
            for (size_t n = 0; n < in.len; n++) { /* cut: never more than what stands whole before the cut */
                uint8_t *copy = malloc(n ? n : 1);
                memcpy(copy, buf_span(&in).p, n);
                out.len = 0;
                if (r->read(span_of(copy, n), plain, NULL) == EHIS_OK) {
                    OK(r->write(plain, &out));
                    assert_true(span_eq(buf_span(&out), span_of(copy, n)));
                }
                free(copy);
            }
            free(plain);
            buf_fini(&in), buf_fini(&out);
        }
}

static void a_required_array_of_zeros_is_written_and_an_optional_one_is_not(void **s)
{
    (void)s;
    struct buf out;
    struct stream_open open = {.recipient = span_str("AZ/GOV/MIA/population"), .lowest = 1}, back;
    struct hello hello = {.version = 1, .name = span_str("AZ/gw1"), .max_frame_bytes = 1, .window_messages = 1, .window_bytes = 1, .clock_ms = 1}, hello_back;
    buf_init(&out, 4096);
    OK(stream_open_write(&open, &out));
    OK(stream_open_read(buf_span(&out), &back, NULL));
    assert_memory_equal(back.stream, open.stream, 16);
    out.len = 0;
    OK(hello_write(&hello, &out));
    OK(hello_read(buf_span(&out), &hello_back, NULL));
    assert_int_equal(out.len, 2 + 2 + 6 + 2 + 2 + 2 + 2);
    buf_fini(&out);
}

static void a_record_comes_back_with_all_its_pending_systems(void **s)
{
    (void)s;
    for (enum how how = SMALLEST; how <= TOP; how++) {
        struct buf in, out, pending;
        struct record r;
        const struct row row = {"record", &scan_ehis_v1_record, &ehis__v1__record__descriptor, 0, NULL, NULL};
        buf_init(&in, 1 << 20), buf_init(&out, 1 << 20), buf_init(&pending, 1 << 20);
        put_sample(&in, row.table, how);
        assert_protobuf_c_agrees(&row, buf_span(&in));
        OK(record_read(buf_span(&in), &r, NULL));
        struct span system;
        size_t count = 0;
        for (size_t at = 0; record_pending_next(&r, &at, &system); count++)
            OK(record_pending_put(system, &pending));
        assert_int_equal(count, how == SMALLEST ? 0 : 3);
        r.pending = buf_span(&pending);
        OK(record_write(&r, &out));
        assert_true(span_eq(buf_span(&in), buf_span(&out)));
        buf_fini(&in), buf_fini(&out), buf_fini(&pending);
    }
    assert_string_equal(record_kind_name(RECORD_SESSION_REFUSED), "session-refused");
    assert_string_equal(record_kind_name(15), "unknown");
}

static void every_kind_of_record_has_a_name_of_its_own(void **s)
{
    (void)s;
    const ProtobufCEnumDescriptor *d = &ehis__v1__record_kind__descriptor;
    for (unsigned i = 1; i < d->n_values; i++) {
        char want[64];
        const char *from = d->values[i].name + strlen("RECORD_KIND_");
        size_t n = 0;
        for (; from[n]; n++)
            want[n] = from[n] == '_' ? '-' : (char)ascii_lower((uint8_t)from[n]);
        want[n] = 0;
        assert_string_equal(record_kind_name((uint32_t)d->values[i].value), want);
    }
    d = &ehis__v1__state__descriptor;
    for (unsigned i = 1; i < d->n_values; i++)
        assert_int_equal(ascii_lower((uint8_t)d->values[i].name[strlen("STATE_")]), state_name((uint32_t)d->values[i].value)[0]);
    assert_string_equal(state_name(7), "unknown");
}

static void batches_carry_a_signature_and_their_items(void **s)
{
    (void)s;
    static const uint8_t types[] = {FRAME_RECEIPTS, FRAME_SKIPS, FRAME_ACK};
    const struct scan_message *const items[] = {&scan_ehis_v1_receipt, &scan_ehis_v1_skip, &scan_ehis_v1_ack};
    const ProtobufCMessageDescriptor *const d[] = {&ehis__v1__receipts__descriptor, &ehis__v1__skips__descriptor, &ehis__v1__acks__descriptor};
    for (unsigned k = 0; k < 3; k++) {
        struct batch_signature signature = {.algorithm = 1, .key_id = {9}, .size = 3, .signature = {8}}, back;
        struct buf item, out;
        struct span got;
        buf_init(&item, 1 << 16), buf_init(&out, 4 << 20);
        put_sample(&item, items[k], FULL);
        static const uint8_t beside[1280] = {7};
        if (types[k] != FRAME_ACK) {
            signature.first = UINT32_MAX;
            signature.proof = span_of(beside, sizeof beside);
        }
        OK(batch_begin(&signature, &out));
        OK(batch_read(types[k], buf_span(&out), &back, NULL)); /* none is not forbidden here: the reader of a session counts */
        for (unsigned i = 0; i < 1024; i++)
            OK(batch_put(buf_span(&item), &out));
        const struct row row = {"batch", frame_rule(types[k])->table, d[k], 0, NULL, NULL};
        assert_protobuf_c_agrees(&row, buf_span(&out));
        OK(batch_read(types[k], buf_span(&out), &back, NULL));
        assert_true(span_eq(back.proof, signature.proof));
        back.proof = signature.proof;
        assert_memory_equal(&back, &signature, sizeof back);
        size_t count = 0;
        for (size_t at = 0; batch_next(buf_span(&out), &at, &got); count++)
            assert_true(span_eq(got, buf_span(&item)));
        assert_int_equal(count, 1024);
        OK(batch_put(buf_span(&item), &out));
        FAILS(batch_read(types[k], buf_span(&out), &back, NULL), SCAN_COUNT);
        out.len = 0;
        OK(batch_put(buf_span(&item), &out));
        FAILS(batch_read(types[k], buf_span(&out), &back, NULL), SCAN_MISSING);
        buf_fini(&item), buf_fini(&out);
    }
}

static void a_delivery_wraps_the_envelope_as_it_came(void **s)
{
    (void)s;
    struct buf in, out, envelope;
    struct deliver d;
    buf_init(&in, 1 << 16), buf_init(&out, 1 << 16), buf_init(&envelope, 1 << 16);
    put_sample(&envelope, &scan_ehis_v1_envelope, FULL);
    put_sample(&in, &scan_ehis_v1_deliver, FULL);
    const struct row row = {"deliver", &scan_ehis_v1_deliver, &ehis__v1__deliver__descriptor, 0, NULL, NULL};
    assert_protobuf_c_agrees(&row, buf_span(&in));
    OK(deliver_read(buf_span(&in), &d, NULL));
    assert_true(d.is_late && d.delivery == 101 && d.attempt == 104 && span_eq(d.envelope, buf_span(&envelope)));
    OK(deliver_write_head(&d, &out));
    OK(buf_put_span(&out, d.envelope));
    assert_true(span_eq(buf_span(&in), buf_span(&out)));
    buf_fini(&in), buf_fini(&out), buf_fini(&envelope);
}

static void keys_and_wraps_are_lists(void **s)
{
    (void)s;
    struct buf out, envelope;
    struct span got;
    uint8_t bytes[72] = {1};
    struct key_wrap wrap = {span_of(bytes, 32), span_of(bytes, 32), span_of(bytes, 32), span_of(bytes, 72)}, back;
    size_t at = 0, count = 0;
    buf_init(&out, 1 << 20), buf_init(&envelope, 1 << 16);
    put_sample(&envelope, &scan_ehis_v1_envelope, FULL);
    for (unsigned i = 0; i < 64; i++)
        OK(keys_put(buf_span(&envelope), &out));
    OK(keys_read(buf_span(&out), NULL));
    for (; keys_next(buf_span(&out), &at, &got); count++)
        assert_true(span_eq(got, buf_span(&envelope)));
    assert_int_equal(count, 64);
    OK(keys_put(buf_span(&envelope), &out));
    FAILS(keys_read(buf_span(&out), NULL), SCAN_COUNT);
    out.len = 0;
    for (unsigned i = 0; i < 256; i++)
        OK(key_wraps_put(&wrap, &out));
    OK(key_wraps_read(buf_span(&out), NULL));
    const struct row row = {"wraps", &scan_ehis_v1_key_wraps, &ehis__v1__key_wraps__descriptor, 0, NULL, NULL};
    assert_protobuf_c_agrees(&row, buf_span(&out));
    for (at = count = 0; key_wraps_next(buf_span(&out), &at, &back); count++)
        assert_true(span_eq(back.wrapped, wrap.wrapped) && span_eq(back.commitment, wrap.commitment));
    assert_int_equal(count, 256);
    OK(key_wraps_put(&wrap, &out));
    FAILS(key_wraps_read(buf_span(&out), NULL), SCAN_COUNT);
    buf_fini(&out), buf_fini(&envelope);
}

static void writers_stop_at_the_bound_of_their_buffer(void **s)
{
    (void)s;
    for (const struct row *r = rows; r < rows + ROW_COUNT; r++) {
        struct buf in;
        void *plain = malloc(r->struct_bytes);
        buf_init(&in, 1 << 20);
        put_sample(&in, r->table, FULL);
        OK(r->read(buf_span(&in), plain, NULL));
        for (size_t max = 0; max < in.len; max++) {
            struct buf out;
            buf_init(&out, max);
            FAILS(r->write(plain, &out), TOO_LARGE);
            buf_fini(&out);
        }
        free(plain);
        buf_fini(&in);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_struct_comes_back_as_the_same_bytes),
        cmocka_unit_test(a_required_array_of_zeros_is_written_and_an_optional_one_is_not),
        cmocka_unit_test(a_record_comes_back_with_all_its_pending_systems),
        cmocka_unit_test(every_kind_of_record_has_a_name_of_its_own),
        cmocka_unit_test(batches_carry_a_signature_and_their_items),
        cmocka_unit_test(a_delivery_wraps_the_envelope_as_it_came),
        cmocka_unit_test(keys_and_wraps_are_lists),
        cmocka_unit_test(writers_stop_at_the_bound_of_their_buffer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
