/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* CPU nanoseconds to read an envelope and its header, as the gateway does for each message: bench_wire [rounds]. */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "proto/wire/envelope.h"
#include "proto/wire/record.h"
#include "proto/wire/session_frames.h"
#include "proto/wire/statement.h"

static const uint8_t bytes[1024] = {1, 2, 3};
#define B(n) span_of(bytes, n)
#define MUST(e) EHIS_ASSERT((e) == EHIS_OK)
static size_t rounds = 2000000;

static double cpu_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

#define MEASURE(name, what)                                                                                              \
    do {                                                                                                                 \
        double from = cpu_ns();                                                                                          \
        for (size_t i = 0; i < rounds; i++)                                                                              \
            what;                                                                                                        \
        printf("%-28s %7.1f ns\n", name, (cpu_ns() - from) / (double)rounds);                                             \
    } while (0)

int main(int argc, char **argv)
{
    if (argc > 1 && !(rounds = strtoul(argv[1], NULL, 10)))
        return 2;
    struct envelope_header h = {
        .exchange_id = {1, 0x90, 3, 4, 5, 6, 0x70, 8, 0x80, 10}, .kind = KIND_REQUEST, .sender = span_str("AZ/GOV/STS/tax"),
        .recipient = span_str("AZ/GOV/MIA/population/person"), .operation = span_str("GetPerson"), .stream = B(16), .number = 123456,
        .created_ms = 1700000000000, .expires_ms = 1700000060000, .max_response_bytes = 65536, .purpose = span_str("tax.assessment"),
        .legal_basis = span_str("Tax Code 23.1.2, assessment of a natural person"), .case_ref = span_str("2026/AZ-17/4711"), .official = span_str("AA1234567"),
        .subjects = {B(32)}, .subject_count = 1, .schema = span_str("az.mia.population.GetPersonRequest"), .content_type = span_str("application/x-protobuf"),
        .seal = {B(32), B(32), B(32), {0}}, .registry_version = 1234, .registry_hash = B(32), .trace_id = B(16)};
    struct envelope_signature signature = {.algorithm = 1, .key_id = {1}, .size = 64, .index = 17, .path = B(6 * 32), .signature = {1}};
    struct buf header, whole, scratch;
    buf_init(&header, 1 << 20), buf_init(&whole, 1 << 20), buf_init(&scratch, 1 << 20);
    MUST(envelope_header_write(&h, &header));
    struct envelope e = {.header = buf_span(&header), .sealed = B(1024), .signature = signature}, got;
    MUST(envelope_write(&e, &whole));
    printf("header %zu bytes, envelope %zu bytes, %zu rounds\n", header.len, whole.len, rounds);
    struct envelope_header back;
    MEASURE("envelope_read", MUST(envelope_read(buf_span(&whole), &got, NULL)));
    MEASURE("envelope_header_read", MUST(envelope_header_read(got.header, &back, NULL)));
    MEASURE("envelope_header_write", (scratch.len = 0, MUST(envelope_header_write(&h, &scratch))));
    MEASURE("envelope_write", (scratch.len = 0, MUST(envelope_write(&e, &scratch))));
    struct deliver d = {.delivery = 1, .accepted_ms = 2, .registry_version = 3, .attempt = 1, .envelope = buf_span(&whole)}, d_back;
    struct buf delivery;
    buf_init(&delivery, 1 << 20);
    MUST(deliver_write_head(&d, &delivery));
    MUST(buf_put_span(&delivery, d.envelope));
    MEASURE("deliver_read", MUST(deliver_read(buf_span(&delivery), &d_back, NULL)));
    struct record r = {.sequence = 123456, .time_ms = 1700000000000, .kind = RECORD_ACCEPTED, .digest = {1}, .header = buf_span(&header), .sealed_bytes = 1024,
                       .sealed_hash = {1}, .signature = got.signature_bytes, .rule = span_str("tax-assessment"), .registry_version = 1234, .registry_hash = {1}, .session = 77},
                  r_back;
    MEASURE("record_write", (scratch.len = 0, MUST(record_write(&r, &scratch))));
    MEASURE("record_read", MUST(record_read(buf_span(&scratch), &r_back, NULL)));
    struct receipt t = {.digest = {1}, .recipient = span_str("AZ/GOV/MIA/population/person"), .state = STATE_ACCEPTED, .time_ms = 1700000000000, .index = 3, .path = B(6 * 32)}, t_back;
    MEASURE("receipt_write", (scratch.len = 0, MUST(receipt_write(&t, &scratch))));
    MEASURE("receipt_read", MUST(receipt_read(buf_span(&scratch), &t_back, NULL)));
    buf_fini(&header), buf_fini(&whole), buf_fini(&scratch), buf_fini(&delivery);
    return 0;
}
