/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
#include "tests/unit/proto/wire/wire_build.h"

#include "ehis/v1/session.pb-c.h"
#include "proto/wire/frame.h"

static void a_frame_is_whole_only_with_its_last_byte(void **s)
{
    (void)s;
    const uint8_t bytes[] = {0, 0, 0, 4, FRAME_PING, 8, 1, 16, FRAME_HELLO};
    struct frame f = {0};
    size_t used, need;
    for (size_t n = 0; n < 8; n++) {
        OK(frame_read(span_of(bytes, n), 64, &f, &used, &need));
        assert_int_equal(used, 0);
        assert_int_equal(need, n < 4 ? 5 : 8);
    }
    OK(frame_read(span_of(bytes, sizeof bytes), 64, &f, &used, &need));
    assert_int_equal(used, 8); /* what follows is the next frame's */
    assert_int_equal(f.type, FRAME_PING);
    assert_int_equal(f.payload.len, 3);
    assert_ptr_equal(f.payload.p, bytes + 5);
}

static void a_frame_without_a_type_or_over_the_limit_is_refused_by_its_length_alone(void **s)
{
    (void)s;
    struct frame f;
    size_t used, need;
    const uint8_t empty[] = {0, 0, 0, 0}, one[] = {0, 0, 0, 1, 2};
    FAILS(frame_read(span_of(empty, 4), 64, &f, &used, &need), FRAME_EMPTY);
    OK(frame_read(span_of(one, 5), 64, &f, &used, &need));
    assert_int_equal(used, 5);
    assert_int_equal(f.payload.len, 0);
    for (uint32_t length = 63; length <= 65; length++) {
        uint8_t head[4];
        be_put(head, length, 4);
        ehis_err err = frame_read(span_of(head, 4), 64, &f, &used, &need);
        assert_string_equal(ehis_err_name(err), length > 64 ? "FRAME_TOO_LARGE" : "OK");
    }
    const uint8_t huge[] = {0xff, 0xff, 0xff, 0xff};
    FAILS(frame_read(span_of(huge, 4), FRAME_MAX_BYTES_LIMIT, &f, &used, &need), FRAME_TOO_LARGE);
    const uint8_t largest[] = {1, 0, 0, 0};
    OK(frame_read(span_of(largest, 4), FRAME_MAX_BYTES_LIMIT, &f, &used, &need));
    assert_int_equal(need, FRAME_MAX_BYTES_LIMIT + 4);
}

static void a_head_is_written_up_to_the_limit_and_reads_back(void **s)
{
    (void)s;
    uint8_t head[FRAME_HEAD_BYTES + 64] = {0};
    struct frame f;
    size_t used, need;
    OK(frame_head(FRAME_SUBMIT, 63, 64, head));
    OK(frame_read(span_of(head, sizeof head), 64, &f, &used, &need));
    assert_int_equal(used, 4 + 64);
    assert_int_equal(f.type, FRAME_SUBMIT);
    FAILS(frame_head(FRAME_SUBMIT, 64, 64, head), TOO_LARGE);
    FAILS(frame_head(FRAME_SUBMIT, SIZE_MAX, 64, head), TOO_LARGE);
    OK(frame_head(FRAME_SUBMIT, FRAME_MAX_BYTES_LIMIT - 1, FRAME_MAX_BYTES_LIMIT, head));
    FAILS(frame_head(FRAME_SUBMIT, FRAME_MAX_BYTES_LIMIT, SIZE_MAX, head), TOO_LARGE);
}

/* SPEC 8.1 once more, written out: who may send which frame in which state (H, F, R, D). */
static const struct {
    const char *name;
    unsigned from;
    const char *states;
} table[] = {
    {NULL, 0, ""},
    {"HELLO", FRAME_FROM_BOTH, "H"}, {"PING", FRAME_FROM_BOTH, "FRD"}, {"PONG", FRAME_FROM_BOTH, "FRD"}, {"ERROR", FRAME_FROM_BOTH, "HFRD"},
    {"GOODBYE", FRAME_FROM_BOTH, "FRD"}, {"REGISTRY_GET", FRAME_FROM_SYSTEM, "FRD"}, {"REGISTRY", FRAME_FROM_GATEWAY, "FRD"},
    {"CRL_GET", FRAME_FROM_SYSTEM, "FRD"}, {"CRL", FRAME_FROM_GATEWAY, "FRD"}, {"READY", FRAME_FROM_SYSTEM, "FRD"},
    {"READY_STATE", FRAME_FROM_GATEWAY, "FRD"}, {"STREAM_OPEN", FRAME_FROM_SYSTEM, "RD"}, {"STREAM_STATE", FRAME_FROM_GATEWAY, "RD"},
    {"STREAM_SETTLED", FRAME_FROM_SYSTEM, "RD"}, {"SUBMIT", FRAME_FROM_SYSTEM, "RD"}, {"FLOW", FRAME_FROM_GATEWAY, "RD"},
    {"RECEIPTS", FRAME_FROM_GATEWAY, "RD"}, {"DELIVER", FRAME_FROM_GATEWAY, "RD"}, {"SKIPS", FRAME_FROM_GATEWAY, "RD"},
    {"ACK", FRAME_FROM_SYSTEM, "RD"}, {"SUBSCRIBE", FRAME_FROM_SYSTEM, "RD"}, {"SUBSCRIPTION", FRAME_FROM_GATEWAY, "RD"},
    {"KEYS_GET", FRAME_FROM_SYSTEM, "RD"}, {"KEYS", FRAME_FROM_GATEWAY, "RD"}, {"BLOB_PUT", FRAME_FROM_SYSTEM, "RD"}, {"BLOB_STATE", FRAME_FROM_GATEWAY, "RD"},
    {"BLOB_GET", FRAME_FROM_SYSTEM, "RD"}, {"BLOB_CHUNK", FRAME_FROM_GATEWAY, "RD"},
};
static const char state_letters[] = "HFRD";

static void every_type_from_every_side_in_every_state_gets_its_verdict(void **s)
{
    (void)s;
    for (unsigned type = 0; type < 256; type++) {
        bool is_known = type > 0 && type < sizeof table / sizeof *table;
        const struct frame_rule *rule = frame_rule((uint8_t)type), *found = NULL;
        assert_int_equal(rule != NULL, is_known);
        for (unsigned state = 0; state < FRAME_STATE_COUNT; state++)
            for (unsigned from = FRAME_FROM_SYSTEM; from <= FRAME_FROM_GATEWAY; from++) {
                const char *want = !is_known                                          ? "FRAME_UNKNOWN"
                                   : !(table[type].from & from)                       ? "FRAME_DIRECTION"
                                   : !strchr(table[type].states, state_letters[state]) ? "FRAME_OUT_OF_STATE"
                                                                                       : "OK";
                assert_string_equal(ehis_err_name(frame_check((uint8_t)type, from, state, &found)), want);
                if (!strcmp(want, "OK"))
                    assert_ptr_equal(found, rule);
            }
        if (is_known) {
            assert_string_equal(rule->name, table[type].name);
            assert_int_equal(rule->type, type);
            assert_non_null(rule->table);
        }
    }
}

static void the_types_are_those_of_the_proto_file(void **s)
{
    (void)s;
    const ProtobufCEnumDescriptor *d = &ehis__v1__frame_type__descriptor;
    assert_int_equal(d->n_values, sizeof table / sizeof *table);
    for (unsigned i = 1; i < d->n_values; i++) {
        const struct frame_rule *rule = frame_rule((uint8_t)d->values[i].value);
        assert_non_null(rule);
        assert_string_equal(d->values[i].name + strlen("FRAME_"), rule->name);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_frame_is_whole_only_with_its_last_byte),
        cmocka_unit_test(a_frame_without_a_type_or_over_the_limit_is_refused_by_its_length_alone),
        cmocka_unit_test(a_head_is_written_up_to_the_limit_and_reads_back),
        cmocka_unit_test(every_type_from_every_side_in_every_state_gets_its_verdict),
        cmocka_unit_test(the_types_are_those_of_the_proto_file),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
