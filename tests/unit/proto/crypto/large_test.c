/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* Large bodies (SPEC 18.1): what comes back is what went in, and nothing else passes. */
#include "proto/crypto/large.h"

#include <setjmp.h>
#include <stdlib.h>

#include <cmocka.h>

#include "proto/crypto/seal.h"
#include "proto/crypto/sign.h"

#define OK(e) assert_string_equal(ehis_err_name(e), "OK")
#define ALTERED(e) assert_string_equal(ehis_err_name(e), "LARGE_ALTERED")
#define CHUNKS 8

struct sealed {
    struct span chunks[CHUNKS]; /* malloc'ed */
    size_t count;
    struct large_body body;
    struct large_manifest manifest;
};

static uint8_t *plain; /* LARGE_CHUNK_BYTES * 4 bytes, none 0 */

static ehis_err keep(void *arg, struct span chunk)
{
    struct sealed *s = arg;
    uint8_t *copy = malloc(chunk.len);
    memcpy(copy, chunk.p, chunk.len);
    s->chunks[s->count++] = span_of(copy, chunk.len);
    return EHIS_OK;
}

static void seal(size_t n, size_t step, struct sealed *s)
{
    struct large_sealer *sealer;
    *s = (struct sealed){.count = 0};
    OK(large_sealer_new(&random_system, keep, s, &sealer));
    for (size_t at = 0; at < n; at += step)
        OK(large_sealer_put(sealer, span_of(plain + at, step < n - at ? step : n - at)));
    OK(large_sealer_finish(sealer, &s->body, &s->manifest));
    large_sealer_free(sealer);
    assert_int_equal(s->count, large_chunk_count(s->manifest.bytes));
    for (uint32_t i = 0; i < s->count; i++)
        assert_int_equal(s->chunks[i].len, large_chunk_bytes(s->manifest.bytes, i));
}

static void drop(struct sealed *s)
{
    for (size_t i = 0; i < s->count; i++)
        free((void *)(uintptr_t)s->chunks[i].p);
}

/* How many chunks were taken; *err of the last. */
static size_t open_all(const struct sealed *s, struct buf *out, ehis_err *err, bool *is_whole)
{
    struct large_opener *o;
    size_t i = 0;
    *is_whole = false;
    *err = large_opener_new(&s->body, &s->manifest, &o);
    if (*err != EHIS_OK)
        return 0;
    for (; i < s->count && *err == EHIS_OK && !*is_whole; i++)
        *err = large_opener_take(o, s->chunks[i], out, is_whole);
    if (*err != EHIS_OK) { /* and stays so */
        bool whole;
        ALTERED(large_opener_take(o, s->chunks[0], out, &whole));
    }
    large_opener_free(o);
    return i;
}

static void refused(const struct sealed *s, size_t at)
{
    struct buf out;
    ehis_err err;
    bool is_whole;
    buf_init(&out, LARGE_CHUNK_BYTES * CHUNKS);
    size_t n = open_all(s, &out, &err, &is_whole);
    ALTERED(err);
    assert_int_equal(n, at);
    assert_false(is_whole);
    buf_fini(&out);
}

static void every_length_around_a_chunk_comes_back_as_it_was(void **state)
{
    (void)state;
    const size_t piece = LARGE_CHUNK_BYTES - 17;
    const size_t lengths[] = {0, 1, 255, 256, 4096, 100000, piece - 8192, piece - 1, piece, piece + 1, 262144, 600000, 2 * piece, 3 * LARGE_CHUNK_BYTES};
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        struct sealed s;
        struct buf out;
        ehis_err err;
        bool is_whole;
        buf_init(&out, LARGE_CHUNK_BYTES * CHUNKS);
        seal(lengths[i], i % 2 ? 65536 : 9999, &s);
        assert_int_equal(s.body.bytes, lengths[i]);
        size_t padded = seal_sealed_bytes(lengths[i]) - SEAL_OVERHEAD_BYTES;
        assert_int_equal(s.manifest.bytes, padded + 17 * s.count); /* the manifest tells the padded length alone */
        open_all(&s, &out, &err, &is_whole);
        OK(err);
        assert_true(is_whole);
        assert_true(span_eq(buf_span(&out), span_of(plain, lengths[i])));
        buf_fini(&out);
        drop(&s);
    }
}

static void an_altered_chunk_is_found_at_once(void **state)
{
    (void)state;
    for (size_t i = 0; i < 3; i++) {
        struct sealed s;
        seal(600000, 65536, &s);
        ((uint8_t *)(uintptr_t)s.chunks[i].p)[s.chunks[i].len / 2] ^= 1;
        refused(&s, i + 1);
        drop(&s);
    }
}

static void chunks_in_another_order_are_refused(void **state)
{
    (void)state;
    struct sealed s;
    seal(600000, 65536, &s);
    struct span first = s.chunks[0];
    s.chunks[0] = s.chunks[1];
    s.chunks[1] = first;
    refused(&s, 1);
    drop(&s);
}

static void a_chunk_that_is_missing_is_found(void **state)
{
    (void)state;
    struct sealed s;
    seal(600000, 65536, &s);
    struct span middle = s.chunks[1];
    s.chunks[1] = s.chunks[2];
    refused(&s, 2); /* the last one's length is no middle one's */
    s.chunks[1] = middle;
    drop(&s);
}

static void without_its_last_chunk_a_body_is_never_whole(void **state)
{
    (void)state;
    struct sealed s;
    struct buf out;
    ehis_err err;
    bool is_whole;
    seal(600000, 65536, &s);
    buf_init(&out, LARGE_CHUNK_BYTES * CHUNKS);
    s.count--;
    open_all(&s, &out, &err, &is_whole);
    OK(err);
    assert_false(is_whole);
    s.count++;
    buf_fini(&out);
    drop(&s);
}

static void a_stream_that_ends_early_in_a_manifest_that_fits_is_refused(void **state)
{
    (void)state;
    struct sealed s, t; /* the chunks of a body that ends where the other goes on: its tag stands in the wrong place */
    seal(2 * (LARGE_CHUNK_BYTES - 17) - 65536, 65536, &s);
    seal(600000, 65536, &t);
    t.body.bytes = s.body.bytes;
    memcpy(t.body.key, s.body.key, sizeof t.body.key);
    memcpy(t.body.stream_header, s.body.stream_header, sizeof t.body.stream_header);
    refused(&t, 0); /* the manifest's bytes are not what the size comes to */
    t.body.bytes = 600000;
    struct span own = t.chunks[1], first = t.chunks[0];
    t.chunks[0] = s.chunks[0];
    t.chunks[1] = s.chunks[1]; /* FINAL, and shorter */
    refused(&t, 2);
    t.chunks[0] = first;
    t.chunks[1] = own;
    drop(&s);
    drop(&t);
}

static void a_root_that_is_not_the_chunks_is_found_with_the_last(void **state)
{
    (void)state;
    struct sealed s;
    seal(600000, 65536, &s);
    s.manifest.root.b[5] ^= 1;
    refused(&s, 3);
    drop(&s);
}

static void a_size_that_the_manifest_contradicts_is_refused(void **state)
{
    (void)state;
    struct sealed s;
    seal(600000, 65536, &s);
    s.manifest.bytes--;
    refused(&s, 0);
    s.manifest.bytes++;
    s.body.bytes = LARGE_MAX_BYTES;
    refused(&s, 0);
    s.body.bytes = UINT64_MAX;
    refused(&s, 0);
    drop(&s);
}

static void a_size_in_the_same_step_of_padding_is_found_by_the_padding(void **state)
{
    (void)state;
    for (int by = -1; by <= 1; by += 2) {
        struct sealed s;
        seal(600000, 65536, &s);
        s.body.bytes += (uint64_t)by;
        refused(&s, 3);
        drop(&s);
    }
}

static void the_message_s_64_bytes_are_read_whole_or_not(void **state)
{
    (void)state;
    uint8_t bytes[LARGE_BODY_BYTES + 1] = {0};
    struct large_body b = {.bytes = 7, .key = {1}, .stream_header = {2}}, back;
    large_body_write(&b, bytes);
    OK(large_body_read(span_of(bytes, LARGE_BODY_BYTES), &back));
    assert_memory_equal(back.key, b.key, sizeof b.key);
    assert_int_equal(back.bytes, 7);
    for (size_t n = 0; n <= LARGE_BODY_BYTES + 1; n++)
        if (n != LARGE_BODY_BYTES)
            ALTERED(large_body_read(span_of(bytes, n), &back));
}

static ehis_err count_alone(void *arg, struct span chunk)
{
    (void)chunk;
    ++*(uint32_t *)arg;
    return EHIS_OK;
}

static void what_is_beyond_the_bound_is_not_sealed(void **state)
{
    (void)state;
    struct large_sealer *s;
    uint32_t count = 0;
    ehis_err err = EHIS_OK;
    OK(large_sealer_new(&random_system, count_alone, &count, &s));
    for (size_t i = 0; i < LARGE_CHUNKS_MAX + 2 && err == EHIS_OK; i++)
        err = large_sealer_put(s, span_of(plain, LARGE_CHUNK_BYTES));
    assert_string_equal(ehis_err_name(err), "TOO_LARGE");
    assert_int_equal(count, LARGE_CHUNKS_MAX);
    large_sealer_free(s);
}

int main(void)
{
    plain = malloc(LARGE_CHUNK_BYTES * 4);
    for (size_t i = 0; i < LARGE_CHUNK_BYTES * 4; i++)
        plain[i] = (uint8_t)(i % 251 + 1);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_length_around_a_chunk_comes_back_as_it_was),
        cmocka_unit_test(an_altered_chunk_is_found_at_once),
        cmocka_unit_test(chunks_in_another_order_are_refused),
        cmocka_unit_test(a_chunk_that_is_missing_is_found),
        cmocka_unit_test(without_its_last_chunk_a_body_is_never_whole),
        cmocka_unit_test(a_stream_that_ends_early_in_a_manifest_that_fits_is_refused),
        cmocka_unit_test(a_root_that_is_not_the_chunks_is_found_with_the_last),
        cmocka_unit_test(a_size_that_the_manifest_contradicts_is_refused),
        cmocka_unit_test(a_size_in_the_same_step_of_padding_is_found_by_the_padding),
        cmocka_unit_test(the_message_s_64_bytes_are_read_whole_or_not),
        cmocka_unit_test(what_is_beyond_the_bound_is_not_sealed),
    };
    struct ehis_why why;
    if (crypto_init(&why) != EHIS_OK)
        return 1;
    int failed = cmocka_run_group_tests_name("large", tests, NULL, NULL);
    free(plain);
    return failed;
}
