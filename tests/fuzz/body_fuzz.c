/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* Bodies of the population register: the first byte chooses type and format. What is taken is the same after a way through the other format. */
#include "adapters/registers/population/answers.h"
#include "population_scan.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void round_trip(const struct body_type *t, const ProtobufCMessage *m, enum body_format by, struct arena *a)
{
    struct buf first, middle, last;
    ProtobufCMessage *again;
    buf_init(&first, 16 * BODY_MAX_BYTES);
    buf_init(&middle, 16 * BODY_MAX_BYTES);
    buf_init(&last, 16 * BODY_MAX_BYTES);
    EHIS_ASSERT(body_write(m, BODY_PROTOBUF, &first) == EHIS_OK && body_write(m, by, &middle) == EHIS_OK);
    if (middle.len <= BODY_MAX_BYTES) { /* JSON is longer, and may be too long to be read again */
        EHIS_ASSERT(body_read(t, by, buf_span(&middle), a, &again, NULL) == EHIS_OK);
        EHIS_ASSERT(body_write(again, BODY_PROTOBUF, &last) == EHIS_OK);
        EHIS_ASSERT(span_eq(buf_span(&first), buf_span(&last)));
    }
    buf_fini(&first);
    buf_fini(&middle);
    buf_fini(&last);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct body_type find = {&az__gov__mia__population__v1__find_persons_request__descriptor, &scan_az_gov_mia_population_v1_find_persons_request},
                                  found = {&az__gov__mia__population__v1__find_persons_response__descriptor, &scan_az_gov_mia_population_v1_find_persons_response};
    const struct body_type *const types[] = {&body_person, &find, &found, &body_person_changed};
    static struct arena a, b;
    ProtobufCMessage *m;
    if (size == 0)
        return 0;
    if (!a.p)
        EHIS_ASSERT(arena_init(&a, arena_bytes_for(BODY_MAX_BYTES)) == EHIS_OK && arena_init(&b, arena_bytes_for(BODY_MAX_BYTES)) == EHIS_OK);
    arena_reset(&a);
    arena_reset(&b);
    const struct body_type *t = types[data[0] >> 1 & 3];
    ehis_err err = body_read(t, data[0] & 1 ? BODY_JSON : BODY_PROTOBUF, span_of(data + 1, size - 1), &a, &m, NULL);
    EHIS_ASSERT(err != EHIS_E_ARENA_FULL);
    /* A number above 2^63 has no JSON of ours: sequence counts changes. */
    bool is_huge = t == &body_person_changed && err == EHIS_OK && ((const Az__Gov__Mia__Population__V1__PersonChanged *)(const void *)m)->sequence > INT64_MAX;
    if (err == EHIS_OK && !is_huge)
        round_trip(t, m, data[0] & 1 ? BODY_PROTOBUF : BODY_JSON, &b);
    return 0;
}
