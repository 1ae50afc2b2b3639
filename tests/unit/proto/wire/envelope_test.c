/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
#include <stdio.h>
#include <stdlib.h>

#include "tests/unit/proto/wire/wire_build.h"

#include "ehis/v1/envelope.pb-c.h"
#include "ehis_scan.h"
#include "proto/wire/envelope.h"
#include "proto/wire/scan.h"

#define MINUTE_MS 60000ull
#define DAY_MS (1440 * MINUTE_MS)
static const uint8_t bytes[512] = {1, 2, 3, 4, 5, 6, 7, 8, 9};
#define B(n) span_of(bytes, n)

/* Every field that this kind may have. */
static struct envelope_header full(enum envelope_kind kind)
{
    struct envelope_header h = {
        .exchange_id = {1, 0x90, 3, 4, 5, 6, 0x70, 8, 0x80, 10}, .kind = kind, .sender = span_str("AZ/GOV/STS/tax"),
        .recipient = span_str(kind == KIND_REQUEST ? "AZ/GOV/MIA/population/person" : kind == KIND_RESPONSE ? "AZ/GOV/MIA/population" : "AZ/GOV/STS/tax/payers"),
        .operation = span_str("GetPerson"), .created_ms = 1700000000000, .expires_ms = 1700000000000 + MINUTE_MS, .registry_version = 7,
        .registry_hash = B(32), .trace_id = B(16),
    };
    if (kind != KIND_KEY)
        h.stream = B(16), h.number = 1, h.schema = span_str("az.Person"), h.content_type = span_str("application/json"), h.seal.commitment = B(32);
    if (kind == KIND_REQUEST || kind == KIND_RESPONSE)
        h.seal.recipient_key_id = B(32), h.seal.ephemeral = B(32);
    else
        h.seal.epoch = B(16);
    if (kind == KIND_REQUEST || kind == KIND_EVENT) {
        h.purpose = span_str("tax.assessment"), h.legal_basis = span_str("Tax Code 23.1"), h.case_ref = span_str("2026/17"), h.official = span_str("AA1234567");
        h.subjects[0] = B(16), h.subjects[1] = B(32), h.subject_count = 2;
    }
    if (kind == KIND_REQUEST)
        h.max_response_bytes = 65536, h.on_behalf_of = span_str("AZ/GOV/STS");
    if (kind == KIND_RESPONSE)
        h.status = STATUS_FAULT, h.in_reply_to = B(32);
    if (kind == KIND_RESPONSE || kind == KIND_EVENT)
        h.fields[0] = span_str("name"), h.fields[1] = span_str("address.city"), h.field_count = 2;
    return h;
}

static ehis_err write_read(const struct envelope_header *h, struct envelope_header *out, struct ehis_why *why)
{
    static struct buf b;
    if (!b.max)
        buf_init(&b, 1 << 20);
    buf_clear(&b);
    OK(envelope_header_write(h, &b));
    return envelope_header_read(buf_span(&b), out, why);
}

static void each_kind_reads_back_and_protobuf_c_writes_the_same(void **s)
{
    (void)s;
    for (enum envelope_kind kind = KIND_REQUEST; kind <= KIND_KEY; kind++) {
        struct envelope_header h = full(kind), back;
        struct buf b, again;
        struct arena a;
        ProtobufCMessage *m;
        struct ehis_why why = {""};
        buf_init(&b, 1 << 16), buf_init(&again, 1 << 16);
        OK(envelope_header_write(&h, &b));
        ehis_err err = envelope_header_read(buf_span(&b), &back, &why);
        if (err)
            print_error("%s\n", why.text);
        OK(err);
        assert_int_equal(back.kind, kind);
        assert_int_equal(back.subject_count, h.subject_count);
        assert_int_equal(back.field_count, h.field_count);
        assert_true(span_eq(back.trace_id, h.trace_id) && span_eq(back.seal.epoch, h.seal.epoch) && back.expires_ms == h.expires_ms);
        OK(envelope_header_write(&back, &again));
        assert_true(span_eq(buf_span(&b), buf_span(&again)));
        OK(arena_init(&a, arena_bytes_for(b.len)));
        OK(scan_unpack(&scan_ehis_v1_header, &ehis__v1__header__descriptor, buf_span(&b), &a, &m, NULL));
        again.len = 0;
        OK(scan_pack(m, &again));
        assert_true(span_eq(buf_span(&b), buf_span(&again)));
        for (size_t n = 0; n < b.len; n++) {
            uint8_t *copy = malloc(n ? n : 1);
            memcpy(copy, buf_span(&b).p, n);
            err = envelope_header_read(span_of(copy, n), &back, NULL);
            assert_true(err != EHIS_OK || n == b.len - 19); /* without trace_id, the last one, it is whole */
            free(copy);
        }
        arena_fini(&a);
        buf_fini(&b), buf_fini(&again);
    }
}

/* SPEC 4.3 once more, written out: R response, Q request, E event, K key; upper case must, lower case may. */
static const struct {
    const char *name, *kinds;
} places[] = {
    {"status", "R"}, {"in_reply_to", "R"}, {"stream", "qrE"}, {"max_response_bytes", "q"}, {"purpose", "Qe"}, {"legal_basis", "Qe"},
    {"case_ref", "qe"}, {"official", "qe"}, {"on_behalf_of", "q"}, {"subject_tokens", "qe"}, {"fields", "re"}, {"seal.recipient_key_id", "QR"},
    {"seal.ephemeral", "QR"}, {"seal.commitment", "QRE"}, {"seal.epoch", "EK"}, {"schema", "qre"}, {"content_type", "qre"},
};

static void set_place(struct envelope_header *h, size_t place, bool is_there)
{
    struct span text = is_there ? span_str("AZ/GOV/STS") : (struct span){0}, b32 = is_there ? B(32) : (struct span){0};
    switch (place) {
    case 0: h->status = is_there ? STATUS_OK : 0; break;
    case 1: h->in_reply_to = b32; break;
    case 2: h->stream = is_there ? B(16) : (struct span){0}, h->number = is_there; break;
    case 3: h->max_response_bytes = is_there; break;
    case 4: h->purpose = text; break;
    case 5: h->legal_basis = text; break;
    case 6: h->case_ref = text; break;
    case 7: h->official = text; break;
    case 8: h->on_behalf_of = text; break;
    case 9: h->subjects[0] = b32, h->subject_count = is_there; break;
    case 10: h->fields[0] = text, h->field_count = is_there; break;
    case 11: h->seal.recipient_key_id = b32; break;
    case 12: h->seal.ephemeral = b32; break;
    case 13: h->seal.commitment = b32; break;
    case 14: h->seal.epoch = is_there ? B(16) : (struct span){0}; break;
    case 15: h->schema = text; break;
    case 16: h->content_type = text; break;
    default: fail();
    }
}

static void each_field_has_its_place_in_each_kind(void **s)
{
    (void)s;
    static const char letters[] = "?QREK";
    for (enum envelope_kind kind = KIND_REQUEST; kind <= KIND_KEY; kind++)
        for (size_t place = 0; place < sizeof places / sizeof *places; place++) {
            bool must = strchr(places[place].kinds, letters[kind]) != NULL;
            bool may = must || strchr(places[place].kinds, ascii_lower((uint8_t)letters[kind])) != NULL;
            struct envelope_header h = full(kind), back;
            struct ehis_why why = {""};
            char want[64];
            set_place(&h, place, true);
            ehis_err err = write_read(&h, &back, &why);
            assert_string_equal(ehis_err_name(err), may ? "OK" : "HEADER_FIELDS");
            snprintf(want, sizeof want, "%s has no place in this kind", places[place].name);
            if (!may)
                assert_string_equal(why.text, want);
            set_place(&h, place, false);
            if (kind == KIND_KEY && place == 14) { /* an empty seal is none */
                FAILS(write_read(&h, &back, &why), SCAN_MISSING);
                continue;
            }
            err = write_read(&h, &back, &why);
            assert_string_equal(ehis_err_name(err), must ? "HEADER_FIELDS" : "OK");
            snprintf(want, sizeof want, "%s is missing", places[place].name);
            if (must)
                assert_string_equal(why.text, want);
        }
}

static void stream_and_number_go_together(void **s)
{
    (void)s;
    struct envelope_header h = full(KIND_REQUEST), back;
    h.number = 0;
    FAILS(write_read(&h, &back, NULL), HEADER_FIELDS);
    h.number = 1, h.stream = (struct span){0};
    FAILS(write_read(&h, &back, NULL), HEADER_FIELDS);
    h.number = UINT64_MAX, h.stream = B(16);
    OK(write_read(&h, &back, NULL));
}

static void the_exchange_id_is_a_uuid_of_version_7(void **s)
{
    (void)s;
    for (unsigned v = 0; v < 256; v++) {
        struct envelope_header h = full(KIND_REQUEST), back;
        h.exchange_id[6] = (uint8_t)v;
        assert_int_equal(write_read(&h, &back, NULL) == EHIS_OK, v >> 4 == 7);
        h = full(KIND_REQUEST);
        h.exchange_id[8] = (uint8_t)v;
        assert_int_equal(write_read(&h, &back, NULL) == EHIS_OK, v >> 6 == 2);
    }
}

static void names_have_the_parts_of_their_kind(void **s)
{
    (void)s;
    static const char *const names[] = {"AZ/gw1", "AZ/GOV/STS", "AZ/GOV/STS/tax", "AZ/GOV/STS/tax/payers"};
    for (enum envelope_kind kind = KIND_REQUEST; kind <= KIND_KEY; kind++)
        for (unsigned i = 0; i < 4; i++) {
            struct envelope_header h = full(kind), back;
            h.sender = span_str(names[i]);
            assert_string_equal(ehis_err_name(write_read(&h, &back, NULL)), i == 2 ? "OK" : "IDENTIFIER_INVALID");
            h = full(kind);
            h.recipient = span_str(names[i]);
            assert_string_equal(ehis_err_name(write_read(&h, &back, NULL)), i == (kind == KIND_RESPONSE ? 2 : 3) ? "OK" : "IDENTIFIER_INVALID");
        }
    struct envelope_header h = full(KIND_EVENT), back;
    h.recipient = span_str("AZ/GOV/MIA/population/person");
    FAILS(write_read(&h, &back, NULL), HEADER_FIELDS);
    h = full(KIND_KEY), h.recipient = span_str("AZ/GOV/STS/taxi/payers");
    FAILS(write_read(&h, &back, NULL), HEADER_FIELDS);
    h = full(KIND_REQUEST), h.operation = span_str("Get/Person");
    FAILS(write_read(&h, &back, NULL), IDENTIFIER_INVALID);
    for (unsigned i = 0; i < 4; i++) {
        h = full(KIND_REQUEST), h.on_behalf_of = span_str(names[i]);
        assert_string_equal(ehis_err_name(write_read(&h, &back, NULL)), i == 1 || i == 2 ? "OK" : "HEADER_FIELDS");
    }
}

static ehis_err lifetime(enum envelope_kind kind, bool is_stream, uint64_t created, uint64_t expires)
{
    struct envelope_header h = full(kind), back;
    set_place(&h, 2, is_stream);
    h.created_ms = created, h.expires_ms = expires;
    return write_read(&h, &back, NULL);
}

static void lifetimes_have_their_bounds(void **s)
{
    (void)s;
    const uint64_t t = 1700000000000;
    const struct { enum envelope_kind kind; bool is_stream; uint64_t most; } rows[] = {
        {KIND_REQUEST, false, 5 * MINUTE_MS}, {KIND_RESPONSE, false, 5 * MINUTE_MS}, {KIND_REQUEST, true, 14 * DAY_MS},
        {KIND_RESPONSE, true, 14 * DAY_MS},   {KIND_EVENT, true, 14 * DAY_MS},       {KIND_KEY, false, 14 * DAY_MS + 60 * MINUTE_MS}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        OK(lifetime(rows[i].kind, rows[i].is_stream, t, t + 1));
        OK(lifetime(rows[i].kind, rows[i].is_stream, t, t + rows[i].most - 1));
        OK(lifetime(rows[i].kind, rows[i].is_stream, t, t + rows[i].most));
        FAILS(lifetime(rows[i].kind, rows[i].is_stream, t, t + rows[i].most + 1), HEADER_LIFETIME);
        FAILS(lifetime(rows[i].kind, rows[i].is_stream, t, t), HEADER_LIFETIME);
        FAILS(lifetime(rows[i].kind, rows[i].is_stream, t, t - 1), HEADER_LIFETIME);
        FAILS(lifetime(rows[i].kind, rows[i].is_stream, UINT64_MAX - 1, UINT64_MAX), HEADER_LIFETIME);
        FAILS(lifetime(rows[i].kind, rows[i].is_stream, 1, UINT64_MAX), HEADER_LIFETIME);
    }
}

static void a_header_has_at_most_8_kib(void **s)
{
    (void)s;
    struct envelope_header h = full(KIND_EVENT), back;
    static char long_names[ENVELOPE_FIELDS_MAX][128];
    struct buf b;
    buf_init(&b, 1 << 16);
    memset(long_names, 'x', sizeof long_names);
    h.field_count = ENVELOPE_FIELDS_MAX;
    for (size_t i = 0; i < h.field_count; i++)
        h.fields[i] = span_of(long_names[i], 128);
    OK(envelope_header_write(&h, &b));
    OK(envelope_header_read(buf_span(&b), &back, NULL)); /* the bounds of the fields keep it under 8 KiB */
    assert_int_equal(back.field_count, ENVELOPE_FIELDS_MAX);
    uint8_t *room;
    OK(buf_reserve(&b, ENVELOPE_HEADER_MAX_BYTES + 1, &room));
    memset(room, 0, ENVELOPE_HEADER_MAX_BYTES + 1);
    FAILS(envelope_header_read(span_of(room, ENVELOPE_HEADER_MAX_BYTES + 1), &back, NULL), HEADER_TOO_LARGE);
    FAILS(envelope_header_read(span_of(room, ENVELOPE_HEADER_MAX_BYTES), &back, NULL), SCAN_UNKNOWN_FIELD);
    static uint8_t big[ENVELOPE_HEADER_MAX_BYTES];
    h.case_ref = span_of(big, sizeof big);
    b.len = 0;
    FAILS(envelope_header_write(&h, &b), HEADER_TOO_LARGE);
    buf_fini(&b);
}

static struct envelope_signature signature(uint32_t size, uint32_t index, size_t path_hashes)
{
    return (struct envelope_signature){.algorithm = 1, .key_id = {5}, .size = size, .index = index, .path = B(path_hashes * 32), .signature = {6}};
}

static ehis_err signature_write_read(const struct envelope_signature *in)
{
    struct buf b;
    struct envelope_signature out;
    buf_init(&b, 4096);
    OK(envelope_signature_write(in, &b));
    ehis_err err = envelope_signature_read(buf_span(&b), &out, NULL);
    if (err == EHIS_OK) {
        assert_int_equal(out.size, in->size);
        assert_int_equal(out.index, in->index);
        assert_true(span_eq(out.path, in->path));
        assert_memory_equal(out.signature, in->signature, 64);
    }
    buf_fini(&b);
    return err;
}

static void a_signature_has_1_to_1024_leaves_and_an_index_below(void **s)
{
    (void)s;
    struct envelope_signature one = signature(1, 0, 0), top = signature(1024, 1023, 10), above = signature(1025, 0, 10), at = signature(4, 4, 2), none = signature(0, 0, 0),
                              cut = signature(4, 3, 2);
    OK(signature_write_read(&one));
    OK(signature_write_read(&top));
    FAILS(signature_write_read(&above), SIGNATURE_PATH);
    FAILS(signature_write_read(&at), SIGNATURE_PATH);
    FAILS(signature_write_read(&none), SCAN_MISSING);
    cut.path.len = 63;
    FAILS(signature_write_read(&cut), SIGNATURE_PATH);
    cut.path.len = 11 * 32;
    FAILS(signature_write_read(&cut), SCAN_LENGTH);
}

static void an_envelope_is_written_in_the_bytes_that_were_told_and_reads_back(void **s)
{
    (void)s;
    static const size_t sealed_sizes[] = {1, 127, 128, 300, 16383, 16384, 70000};
    static uint8_t sealed[70000];
    for (size_t i = 0; i < 7; i++)
        for (uint32_t index = 0; index < 1024; index += 341) {
            struct envelope e = {.header = B(300), .sealed = span_of(sealed, sealed_sizes[i]), .signature = signature(1024, index, 10)}, back;
            struct buf b, again;
            struct arena a;
            ProtobufCMessage *m;
            buf_init(&b, 1 << 20), buf_init(&again, 1 << 20);
            OK(envelope_write(&e, &b));
            assert_int_equal(b.len, envelope_bytes(&e));
            OK(envelope_read(buf_span(&b), &back, NULL));
            assert_true(span_eq(back.header, e.header) && span_eq(back.sealed, e.sealed));
            assert_int_equal(back.signature.index, index);
            OK(arena_init(&a, arena_bytes_for(b.len)));
            OK(scan_unpack(&scan_ehis_v1_envelope, &ehis__v1__envelope__descriptor, buf_span(&b), &a, &m, NULL));
            OK(scan_pack(m, &again));
            assert_true(span_eq(buf_span(&b), buf_span(&again)));
            OK(buf_put_u8(&b, 0));
            assert_int_not_equal(envelope_read(buf_span(&b), &back, NULL), EHIS_OK);
            b.len--;
            for (size_t n = 0; n < b.len; n += n < 400 || n + 500 > b.len ? 1 : 997)
                assert_int_not_equal(envelope_read(span_of(buf_span(&b).p, n), &back, NULL), EHIS_OK);
            arena_fini(&a);
            buf_fini(&b), buf_fini(&again);
        }
}

static void only_calls_without_a_stream_have_a_caller_that_waits(void **s)
{
    (void)s;
    for (enum envelope_kind kind = KIND_REQUEST; kind <= KIND_KEY; kind++) {
        struct envelope_header h = full(kind);
        if (h.stream.len)
            assert_false(envelope_is_waiting(&h));
        h.stream = (struct span){0};
        assert_int_equal(envelope_is_waiting(&h), kind <= KIND_RESPONSE);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_kind_reads_back_and_protobuf_c_writes_the_same),
        cmocka_unit_test(each_field_has_its_place_in_each_kind),
        cmocka_unit_test(stream_and_number_go_together),
        cmocka_unit_test(the_exchange_id_is_a_uuid_of_version_7),
        cmocka_unit_test(names_have_the_parts_of_their_kind),
        cmocka_unit_test(lifetimes_have_their_bounds),
        cmocka_unit_test(a_header_has_at_most_8_kib),
        cmocka_unit_test(a_signature_has_1_to_1024_leaves_and_an_index_below),
        cmocka_unit_test(an_envelope_is_written_in_the_bytes_that_were_told_and_reads_back),
        cmocka_unit_test(only_calls_without_a_stream_have_a_caller_that_waits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
