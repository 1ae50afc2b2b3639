/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
#include "gateway/bus/parcel.h"
#include "proto/wire/statement.h"
#include "tests/support/vectors.h"
#include "tests/unit/proto/wire/wire_build.h"
#include <stdlib.h>

#define TOPIC span_str("inbox.AZ..GOV..MIA..population")
static const uint8_t bytes32[32] = {1, 2, 3};
static struct sign_key *key;
static struct buf out; /* of write() */

static int begin(void **state)
{
    (void)state;
    buf_init(&out, 1 << 21);
    return crypto_init(NULL) != EHIS_OK || sign_key_new(bytes32, USE_SIGN, &key) != EHIS_OK;
}
static int end(void **state)
{
    (void)state;
    buf_fini(&out);
    sign_key_free(key);
    return 0;
}

/* Signs head bytes and payload for TOPIC as the parcel that stands in out. */
static struct span sign(struct span head, struct span payload, const struct hash *digest)
{
    struct hash leaf, h;
    uint8_t signature[64];
    struct buf scratch;
    struct span parts[8];
    size_t count;
    hash_span(payload, &h);
    leaf_parcel(TOPIC, head, digest ? digest : &h, &leaf);
    sign_root(key, 1, &leaf, signature);
    const struct leaf_signature s = {1, *sign_key_id(key), 1, 0, {NULL, 0}, signature};
    buf_init(&scratch, 1 << 20);
    const struct span halves[2] = {span_of(payload.p, payload.len / 2), span_of(payload.p + payload.len / 2, payload.len - payload.len / 2)};
    OK(parcel_parts(head, halves, payload.len ? 2 : 0, &s, &scratch, parts, &count));
    buf_clear(&out);
    for (size_t i = 0; i < count; i++)
        OK(buf_put_span(&out, parts[i]));
    buf_fini(&scratch);
    return buf_span(&out);
}
static struct span write(const struct parcel_head *h, struct span payload)
{
    struct buf head;
    buf_init(&head, 1 << 19);
    OK(parcel_head_write(h, &head));
    const struct span s = sign(buf_span(&head), payload, NULL);
    buf_fini(&head);
    return s;
}
static ehis_err read(struct span bytes)
{
    struct parcel p;
    struct ehis_why why;
    return parcel_read(TOPIC, bytes, &p, &why);
}

static void the_vectors_are_read_verified_and_written_alike(void **state)
{
    json_t *file = vectors_load_own("parcels.json"), *all = json_object_get(json_object_get(file, "parcels"), "parcels");
    const struct span public_key = vectors_hex(json_object_get(file, "parcels"), "public_key");
    (void)state;
    assert_int_equal(json_array_size(all), 2);
    for (size_t i = 0; i < json_array_size(all); i++) {
        const json_t *v = json_array_get(all, i);
        const struct span bytes = vectors_hex(v, "parcel"), topic = span_str(vectors_text(v, "topic")), leaf = vectors_hex(v, "leaf");
        const struct span digest = vectors_hex(v, "payload_digest");
        struct parcel p;
        struct buf head, scratch;
        struct span parts[8];
        size_t count;
        OK(parcel_read(topic, bytes, &p, NULL));
        OK(parcel_verify(&p, public_key.p, NULL));
        assert_memory_equal(p.leaf.b, leaf.p, HASH_BYTES);
        assert_true(span_eq(p.head.gateway, span_str("AZ/gw1")) && p.head.boot == 0xfedcba9876543210 && p.head.time_ms == 1764144001300);
        if (i == 0) {
            assert_memory_equal(p.digest.b, digest.p, HASH_BYTES);
            assert_true(p.head.kind == PARCEL_ENVELOPE && p.head.accepted_ms == 1764144001234 && p.head.registry_version == 7 && p.envelope.sealed.len == 296);
        } else {
            assert_true(p.head.kind == PARCEL_REPORT && p.head.state == 4 && p.head.code == 5068 && p.payload.len == 0);
        }
        FAILS(parcel_verify(&p, bytes32, NULL), SIGNATURE_BAD);
        struct parcel elsewhere;
        OK(parcel_read(span_str("inbox.AZ..GOV..MIA..populatiom"), bytes, &elsewhere, NULL));
        FAILS(parcel_verify(&elsewhere, public_key.p, NULL), SIGNATURE_BAD);
        buf_init(&head, 4096);
        buf_init(&scratch, 4096);
        struct parcel_head h = p.head;
        h.held = span_of(NULL, 0);
        OK(parcel_head_write(&h, &head));
        assert_true(span_eq(buf_span(&head), p.head_bytes));
        OK(parcel_parts(buf_span(&head), &p.payload, 1, &p.signature, &scratch, parts, &count));
        buf_clear(&out);
        for (size_t k = 0; k < count; k++)
            OK(buf_put_span(&out, parts[k]));
        assert_true(span_eq(buf_span(&out), bytes));
        buf_fini(&head);
        buf_fini(&scratch);
        vectors_free(bytes);
        vectors_free(leaf);
        vectors_free(digest);
    }
    vectors_free(public_key);
    json_decref(file);
}

static void nothing_cut_altered_or_added_passes(void **state)
{
    json_t *file = vectors_load_own("parcels.json"), *all = json_object_get(json_object_get(file, "parcels"), "parcels");
    const struct span public_key = vectors_hex(json_object_get(file, "parcels"), "public_key");
    (void)state;
    for (size_t i = 0; i < json_array_size(all); i++) {
        const json_t *v = json_array_get(all, i);
        const struct span bytes = vectors_hex(v, "parcel"), topic = span_str(vectors_text(v, "topic"));
        struct parcel p;
        uint8_t *copy = malloc(bytes.len + 1);
        assert_non_null(copy);
        for (size_t n = 0; n < bytes.len; n++) { /* in memory of just that size, so that a read beyond it is seen */
            uint8_t *cut = malloc(n ? n : 1);
            assert_non_null(cut);
            memcpy(cut, bytes.p, n);
            assert_int_not_equal(parcel_read(topic, span_of(cut, n), &p, NULL), EHIS_OK);
            free(cut);
        }
        for (int garbage = 0; garbage < 256; garbage++) {
            memcpy(copy, bytes.p, bytes.len);
            copy[bytes.len] = (uint8_t)garbage;
            assert_int_not_equal(parcel_read(topic, span_of(copy, bytes.len + 1), &p, NULL), EHIS_OK);
        }
        size_t verified = 0;
        for (size_t n = 0; n < bytes.len; n++) {
            memcpy(copy, bytes.p, bytes.len);
            copy[n] ^= (uint8_t)(1u << (n % 8));
            if (parcel_read(topic, span_of(copy, bytes.len), &p, NULL) != EHIS_OK)
                continue;
            if (parcel_verify(&p, public_key.p, NULL) == EHIS_OK) {
                /* Only the sender's signature inside an envelope may differ: D does not cover it, and the recipient looks at it. */
                assert_true(i == 0 && copy + n >= p.envelope.signature_bytes.p && copy + n < p.envelope.signature_bytes.p + p.envelope.signature_bytes.len);
                verified++;
            }
        }
        assert_true(i == 0 ? verified > 64 : verified == 0);
        free(copy);
        vectors_free(bytes);
    }
    vectors_free(public_key);
    json_decref(file);
}

static struct span acknowledgement(void)
{
    static uint8_t bytes[512];
    struct buf signature, whole;
    const struct envelope_signature s = {.algorithm = 1, .size = 1, .key_id = {1}, .signature = {1}};
    struct acknowledgement a = {.digest = {1}, .outcome = OUTCOME_DONE, .time_ms = 9};
    buf_init(&signature, sizeof bytes);
    buf_init(&whole, sizeof bytes);
    OK(envelope_signature_write(&s, &signature));
    a.signature = buf_span(&signature);
    OK(acknowledgement_write(&a, &whole));
    const size_t n = whole.len;
    memcpy(bytes, buf_span(&whole).p, n);
    buf_fini(&signature);
    buf_fini(&whole);
    return span_of(bytes, n);
}

/* One field of a head at a time, with a value that the scanner takes. */
static void set(struct parcel_head *h, unsigned field)
{
    switch (field) {
    case 2: h->gateway = span_str("AZ/gw1"); break;
    case 3: h->boot = 3; break;
    case 4: h->time_ms = 4; break;
    case 5: h->accepted_ms = 5; break;
    case 6: h->registry_version = 6; break;
    case 7: memcpy(h->digest, bytes32, 32); break;
    case 8: h->sender = span_str("AZ/GOV/STS/tax"); break;
    case 9: h->system = span_str("AZ/GOV/MIA/population"); break;
    case 10: h->stream = span_of(bytes32, 16); break;
    case 11: h->number = 11; break;
    case 12: h->state = 4; break;
    case 13: h->code = 13; break;
    case 14: h->ack = acknowledgement(); break;
    case 15: h->token = 15; break;
    case 16: h->held = span_of(bytes32, 32); break;
    case 17: h->takes_streams = true; break;
    case 18: h->takes_calls = true; break;
    case 19: h->is_leaving = true; break;
    case 20: h->service = span_str("AZ/GOV/MIA/population/person"); break;
    case 21: h->event = span_str("PersonChanged"); break;
    case 22: h->group = 22; break;
    case 23: h->part = 23; break;
    case 24: h->part_count = 24; break;
    default: fail();
    }
}
static struct parcel_head head_of(uint32_t kind, uint32_t fields)
{
    struct parcel_head h = {.kind = kind};
    for (unsigned f = 2; f <= 24; f++)
        if (fields >> f & 1)
            set(&h, f);
    return h;
}

#define F(n) (UINT32_C(1) << (n))
static const struct kind_case { uint32_t kind, must, may; int payload; /* 0 none, 1 may, 2 must */ } cases[] = { /* as SPEC 17.2 has them */
    {PARCEL_ENVELOPE, F(5) | F(6), 0, 2},
    {PARCEL_SKIP, F(8) | F(9) | F(10) | F(11) | F(12), F(7), 0},
    {PARCEL_REPORT, F(7) | F(9) | F(12), F(13) | F(14), 0},
    {PARCEL_PROBE, F(9) | F(15), 0, 0},
    {PARCEL_PROBED, F(9) | F(15), F(16), 0},
    {PARCEL_BEAT, 0, F(19), 0},
    {PARCEL_CLAIM, F(9), F(17) | F(18), 0},
    {PARCEL_CURSOR, F(9) | F(20) | F(21), 0, 1},
    {PARCEL_AUDIT, F(22) | F(24), F(23), 2},
    {PARCEL_DEAD, F(13), F(7) | F(8) | F(9) | F(10) | F(11), 1},
};

static void every_kind_has_its_fields_and_no_other(void **state)
{
    json_t *file = vectors_load_own("parcels.json");
    const struct span envelope = vectors_hex(json_array_get(json_object_get(json_object_get(file, "parcels"), "parcels"), 0), "payload");
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const struct kind_case *c = &cases[i];
        const uint32_t must = F(2) | F(3) | F(4) | c->must;
        const struct span payload = c->payload ? c->kind == PARCEL_ENVELOPE ? envelope : span_str("payload") : span_str("");
        struct parcel_head least = head_of(c->kind, must), most = head_of(c->kind, must | c->may);
        OK(read(write(&least, payload)));
        OK(read(write(&most, payload)));
        for (unsigned f = 2; f <= 24; f++) {
            struct parcel_head h = head_of(c->kind, F(f) & must ? (must | c->may) & ~F(f) : must | F(f));
            ehis_err want = F(f) & must ? (f <= 4 ? EHIS_E_SCAN_MISSING : EHIS_E_BUS_PARCEL) : F(f) & c->may ? EHIS_OK : EHIS_E_BUS_PARCEL;
            if (read(write(&h, payload)) != want)
                fail_msg("kind %u field %u: %s", c->kind, f, ehis_err_name(read(write(&h, payload))));
        }
        assert_int_equal(read(write(&least, span_str(""))), c->payload == 2 ? EHIS_E_BUS_PARCEL : EHIS_OK);
        if (c->payload == 0)
            FAILS(read(write(&least, span_str("x"))), BUS_PARCEL);
    }
    struct parcel_head h = head_of(PARCEL_ENVELOPE, F(2) | F(3) | F(4) | F(5) | F(6));
    assert_int_not_equal(read(write(&h, span_str("payload"))), EHIS_OK); /* no envelope */
    h = head_of(0, F(2) | F(3) | F(4));
    FAILS(read(write(&h, span_str(""))), SCAN_MISSING);
    h = head_of(11, F(2) | F(3) | F(4));
    FAILS(read(write(&h, span_str(""))), SCAN_RANGE);
    vectors_free(envelope);
    json_decref(file);
}

static void values_outside_what_a_kind_can_say_are_refused(void **state)
{
    const uint32_t always = F(2) | F(3) | F(4);
    (void)state;
    for (uint32_t s = 1; s <= 7; s++) {
        struct parcel_head h = head_of(PARCEL_REPORT, always | cases[2].must);
        h.state = s;
        assert_int_equal(read(write(&h, span_str(""))), s == 7 ? EHIS_E_SCAN_RANGE : s == 3 || s == 4 || s == 6 ? EHIS_OK : EHIS_E_BUS_PARCEL);
        h = head_of(PARCEL_SKIP, always | cases[1].must);
        h.state = s;
        assert_int_equal(read(write(&h, span_str(""))), s == 7 ? EHIS_E_SCAN_RANGE : s >= 4 ? EHIS_OK : EHIS_E_BUS_PARCEL);
    }
    for (uint32_t part = 1; part <= 3; part++) {
        struct parcel_head h = head_of(PARCEL_AUDIT, always | cases[8].must);
        h.part = part - 1;
        h.part_count = 2;
        assert_int_equal(read(write(&h, span_str("r"))), part <= 2 ? EHIS_OK : EHIS_E_BUS_PARCEL);
    }
    struct parcel_head h = head_of(PARCEL_BEAT, always);
    h.gateway = span_str("AZ/GOV/MIA/population");
    FAILS(read(write(&h, span_str(""))), IDENTIFIER_INVALID);
    h = head_of(PARCEL_CLAIM, always | F(9));
    h.system = span_str("AZ/GOV/MIA/population/person");
    FAILS(read(write(&h, span_str(""))), IDENTIFIER_INVALID);
    h = head_of(PARCEL_SKIP, always | cases[1].must);
    h.sender = span_str("AZ/gw1");
    FAILS(read(write(&h, span_str(""))), IDENTIFIER_INVALID);
    h = head_of(PARCEL_CURSOR, always | cases[7].must);
    h.service = span_str("AZ/GOV/MIA/population");
    FAILS(read(write(&h, span_str(""))), IDENTIFIER_INVALID);
    h.service = span_str("AZ/GOV/MIA/population/person");
    h.event = span_str("a/b");
    FAILS(read(write(&h, span_str(""))), IDENTIFIER_INVALID);
}

static void held_digests_are_bounded_and_come_back(void **state)
{
    static uint8_t held[(PARCEL_HELD_MAX + 1) * HASH_BYTES];
    (void)state;
    for (size_t i = 0; i < sizeof held; i++)
        held[i] = (uint8_t)(i / HASH_BYTES + i);
    for (size_t n = PARCEL_HELD_MAX - 1; n <= PARCEL_HELD_MAX + 1; n++) {
        struct parcel_head h = head_of(PARCEL_PROBED, F(2) | F(3) | F(4) | F(9) | F(15));
        struct parcel p;
        struct hash d;
        size_t at = 0, count = 0;
        h.held = span_of(held, n * HASH_BYTES);
        const ehis_err err = parcel_read(TOPIC, write(&h, span_str("")), &p, NULL);
        assert_int_equal(err, n > PARCEL_HELD_MAX ? EHIS_E_SCAN_COUNT : EHIS_OK);
        while (err == EHIS_OK && parcel_held_next(&p, &at, &d))
            assert_memory_equal(d.b, held + HASH_BYTES * count++, HASH_BYTES);
        assert_int_equal(count, err == EHIS_OK ? n : 0);
    }
    struct parcel_head h = {.kind = PARCEL_PROBED, .held = span_of(held, 33)};
    FAILS(parcel_head_write(&h, &out), INVALID);
}

static void a_parcel_is_as_large_as_a_record_may_be(void **state)
{
    uint8_t *payload = calloc(1, PARCEL_MAX_BYTES + 1), signature[64] = {0};
    const struct parcel_head h = head_of(PARCEL_AUDIT, F(2) | F(3) | F(4) | F(22) | F(24));
    const struct leaf_signature s = {1, {{1}}, 1, 0, {NULL, 0}, signature};
    struct buf head, scratch;
    struct span parts[8];
    size_t count;
    (void)state;
    assert_non_null(payload);
    buf_init(&head, 1024);
    buf_init(&scratch, 2048);
    OK(parcel_head_write(&h, &head));
    const size_t around = write(&h, span_of(payload, 900000)).len - 900000;
    OK(read(write(&h, span_of(payload, PARCEL_MAX_BYTES - around))));
    assert_int_equal(out.len, PARCEL_MAX_BYTES);
    for (size_t n = PARCEL_MAX_BYTES - around - 1; n <= PARCEL_MAX_BYTES - around + 1; n++) {
        const struct span part = span_of(payload, n);
        assert_int_equal(parcel_parts(buf_span(&head), &part, 1, &s, &scratch, parts, &count), n > PARCEL_MAX_BYTES - around ? EHIS_E_BUS_TOO_LARGE : EHIS_OK);
    }
    const struct span huge[2] = {span_of(payload, SIZE_MAX / 2 + 1), span_of(payload, SIZE_MAX / 2 + 1)};
    FAILS(parcel_parts(buf_span(&head), huge, 2, &s, &scratch, parts, &count), BUS_TOO_LARGE);
    FAILS(read(span_of(payload, PARCEL_MAX_BYTES + 1)), BUS_TOO_LARGE);
    buf_fini(&head);
    buf_fini(&scratch);
    free(payload);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_vectors_are_read_verified_and_written_alike),
        cmocka_unit_test(nothing_cut_altered_or_added_passes),
        cmocka_unit_test(every_kind_has_its_fields_and_no_other),
        cmocka_unit_test(values_outside_what_a_kind_can_say_are_refused),
        cmocka_unit_test(held_digests_are_bounded_and_come_back),
        cmocka_unit_test(a_parcel_is_as_large_as_a_record_may_be),
    };
    return cmocka_run_group_tests(tests, begin, end);
}
