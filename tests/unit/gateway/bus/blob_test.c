/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* Uploads and chunks (SPEC 18.3 to 18.5) over a store in memory that may lie, and over a folder. */
#include "gateway/bus/blob.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/log.h"
#include "proto/crypto/sign.h"
#include "tests/support/sim_clock.h"

#define COUNT 4u
#define ROOM (UINT64_C(1) << 30)

struct memory { struct blob_store store; uint8_t *bytes; size_t len; bool is_refusing, is_anew; int dropped; };

static ehis_err on_write(struct blob_store *s, const struct hash *key, bool is_first, struct span bytes, struct blob_place *place)
{
    struct memory *m = (struct memory *)s;
    (void)key;
    if (is_first)
        m->len = 0;
    if (m->is_refusing)
        return EHIS_E_EXCHANGE_BUSY;
    assert_int_equal(place->offset, m->len);
    memcpy(m->bytes + m->len, bytes.p, bytes.len);
    m->len += bytes.len;
    if (m->is_anew)
        place->offset = 0;
    return EHIS_OK;
}
static ehis_err on_read(struct blob_store *s, const struct hash *key, const struct blob_place *place, uint8_t *out, size_t bytes)
{
    struct memory *m = (struct memory *)s;
    (void)key;
    if (place->offset + bytes > m->len)
        return EHIS_E_EXCHANGE_BLOB_LOST;
    memcpy(out, m->bytes + place->offset, bytes);
    return EHIS_OK;
}
static void on_drop(struct blob_store *s, const struct hash *key)
{
    (void)key;
    ((struct memory *)s)->dropped++;
}
static void on_free(struct blob_store *s) { (void)s; }

static struct memory memory;
static struct sim_clock sim;
static struct loop *loop;
static struct blobs *blobs;
static struct blob_name body;
static uint8_t chunks[COUNT][LARGE_CHUNK_BYTES];
static struct { uint32_t next; ehis_err code; int count; } state;
static struct blob_chunk_out *chunk;

static void on_state(void *ctx, uint64_t session, const struct hash *root, uint32_t next, ehis_err code)
{
    (void)ctx;
    assert_int_equal(session, 7);
    assert_memory_equal(root->b, body.manifest.root.b, HASH_BYTES);
    state.next = next;
    state.code = code;
    state.count++;
}
static void on_chunk(void *ctx, struct blob_chunk_out *c)
{
    (void)ctx;
    chunk = c;
}

static size_t chunk_len(uint32_t i) { return i + 1 < COUNT ? LARGE_CHUNK_BYTES : 1000; }

static int open_all(void **s)
{
    struct hash leaves[COUNT];
    struct tree t;
    static const uint8_t seed[16] = {1};
    const struct blobs_calls calls = {NULL, on_state, on_chunk};
    (void)s;
    memory = (struct memory){.store = {.write = on_write, .read = on_read, .drop = on_drop, .free = on_free}, .bytes = malloc(COUNT * LARGE_CHUNK_BYTES + 65536)};
    body = (struct blob_name){.sender = span_str("AZ/GOV/STS/tax"), .manifest = {.bytes = (COUNT - 1) * LARGE_CHUNK_BYTES + 1000}};
    for (uint32_t i = 0; i < COUNT; i++) {
        memset(chunks[i], (int)i + 1, sizeof chunks[i]);
        large_leaf(span_of(chunks[i], chunk_len(i)), &leaves[i]);
    }
    tree_init(&t);
    assert_int_equal(tree_build(&t, leaves, COUNT), EHIS_OK);
    tree_root(&t, &body.manifest.root);
    tree_fini(&t);
    state.count = 0;
    sim_clock_init(&sim, 1);
    assert_int_equal(loop_new(&loop), EHIS_OK);
    assert_int_equal(blobs_new(loop, &sim.clock, &memory.store, seed, &blobs), EHIS_OK);
    blobs_set_calls(blobs, &calls);
    blobs_recovered(blobs);
    return 0;
}
static int close_all(void **s)
{
    (void)s;
    blobs_free(blobs);
    loop_free(loop);
    free(memory.bytes);
    return 0;
}

static void put(uint32_t i, struct span bytes, uint64_t room)
{
    int before = state.count;
    assert_int_equal(blobs_put(blobs, 7, &body, i, bytes, room), EHIS_OK);
    while (state.count == before)
        loop_run_once(loop, true);
}
static void put_all(void)
{
    for (uint32_t i = 0; i < COUNT; i++) {
        put(i, span_of(chunks[i], chunk_len(i)), ROOM);
        assert_int_equal(state.code, EHIS_OK);
        assert_int_equal(state.next, i + 1);
    }
}
static ehis_err get(uint32_t i)
{
    static const uint8_t digest[HASH_BYTES] = {9};
    chunk = NULL;
    assert_int_equal(blobs_get(blobs, &(struct blob_asker){7, span_str("AZ/GOV/MIA/population"), digest}, &body, i), EHIS_OK);
    while (!chunk)
        loop_run_once(loop, true);
    ehis_err code = chunk->code;
    if (code == EHIS_OK) {
        assert_int_equal(chunk->len, chunk_len(i));
        assert_memory_equal(chunk->bytes, chunks[i], chunk->len);
    } else {
        assert_int_equal(chunk->len, 0);
    }
    assert_int_equal(chunk->index, i);
    blob_chunk_free(chunk);
    return code;
}
#define IS(name, e) assert_string_equal(ehis_err_name(e), #name)

static void chunks_in_order_are_a_body_that_one_message_may_have(void **s)
{
    (void)s;
    IS(EXCHANGE_BLOB_MISSING, blobs_find(blobs, &body));
    put_all();
    IS(OK, blobs_find(blobs, &body));
    assert_int_equal(body.place.offset, body.manifest.bytes);
    for (uint32_t i = 0; i < COUNT; i++) { /* the list, as another gateway reads it */
        const uint8_t *entry = memory.bytes + body.place.offset + i * BLOB_ENTRY_BYTES;
        struct hash leaf;
        large_leaf(span_of(chunks[i], chunk_len(i)), &leaf);
        assert_memory_equal(entry, leaf.b, HASH_BYTES);
        assert_int_equal(be_get(entry + HASH_BYTES, 8), i * LARGE_CHUNK_BYTES);
    }
    blobs_keep(blobs, &body);
    IS(EXCHANGE_BLOB_MISSING, blobs_find(blobs, &body)); /* no second one */
    put(0, span_of(chunks[0], chunk_len(0)), ROOM);
    IS(EXCHANGE_CONFLICT, state.code);
    for (uint32_t i = COUNT; i-- > 0;)
        IS(OK, get(i));
    blobs_let_go(blobs, &body);
    while (!memory.dropped)
        loop_run_once(loop, false);
}

static void a_question_tells_how_far_it_is_and_another_order_is_refused(void **s)
{
    (void)s;
    put(0, span_of(NULL, 0), ROOM);
    assert_int_equal(state.next, 0);
    put(1, span_of(chunks[1], chunk_len(1)), ROOM);
    IS(EXCHANGE_OUT_OF_SEQUENCE, state.code);
    put(0, span_of(chunks[0], chunk_len(0)), ROOM);
    put(0, span_of(NULL, 0), ROOM);
    assert_int_equal(state.next, 1);
    put(3, span_of(chunks[3], chunk_len(3)), ROOM);
    IS(EXCHANGE_OUT_OF_SEQUENCE, state.code);
    assert_int_equal(state.next, 1);
}

static void what_cannot_be_a_chunk_of_it_is_a_violation(void **s)
{
    (void)s;
    IS(PROTOCOL_ORDER, blobs_put(blobs, 7, &body, 0, span_of(chunks[0], chunk_len(0) - 1), ROOM));
    IS(PROTOCOL_ORDER, blobs_put(blobs, 7, &body, COUNT, span_of(chunks[0], chunk_len(0)), ROOM));
    body.manifest.bytes = LARGE_MAX_BYTES + 1;
    IS(PROTOCOL_ORDER, blobs_put(blobs, 7, &body, 0, span_of(chunks[0], chunk_len(0)), UINT64_MAX));
    assert_int_equal(state.count, 0);
}

static void chunks_that_do_not_give_the_root_are_dropped(void **s)
{
    (void)s;
    chunks[2][77] ^= 1;
    for (uint32_t i = 0; i < COUNT; i++)
        put(i, span_of(chunks[i], chunk_len(i)), ROOM);
    IS(EXCHANGE_BLOB_ROOT, state.code);
    IS(EXCHANGE_BLOB_MISSING, blobs_find(blobs, &body));
    chunks[2][77] ^= 1;
    put_all();
}

static void what_the_sender_may_not_store_any_more_is_busy(void **s)
{
    (void)s;
    put(0, span_of(chunks[0], chunk_len(0)), body.manifest.bytes - 1);
    IS(EXCHANGE_BUSY, state.code);
    put(0, span_of(chunks[0], chunk_len(0)), body.manifest.bytes);
    IS(OK, state.code);
    struct blob_name other = body; /* what is being uploaded counts */
    other.manifest.root.b[0] ^= 1;
    struct blob_name own = body;
    body = other;
    put(0, span_of(chunks[0], chunk_len(0)), 2 * body.manifest.bytes - 1);
    IS(EXCHANGE_BUSY, state.code);
    body = own;
}

static void a_store_that_fails_ends_the_upload_and_it_may_begin_anew(void **s)
{
    (void)s;
    put(0, span_of(chunks[0], chunk_len(0)), ROOM);
    memory.is_refusing = true;
    put(1, span_of(chunks[1], chunk_len(1)), ROOM);
    IS(EXCHANGE_BUSY, state.code);
    memory.is_refusing = false;
    put(0, span_of(NULL, 0), ROOM);
    assert_int_equal(state.next, 0);
    put_all();
}

static struct { size_t count; char last[512]; } lines;

static void on_line(void *arg, int level, const char *line)
{
    (void)arg, (void)level;
    lines.count++;
    snprintf(lines.last, sizeof lines.last, "%s", line);
}

/* Who is told BUSY comes again at once, as long as a topic is away. */
static void a_store_that_fails_again_and_again_is_told_once_a_minute(void **s)
{
    (void)s;
    lines.count = 0;
    memory.is_refusing = true;
    log_set_thread_sink(on_line, NULL);
    for (int i = 0; i < 300; i++, sim_clock_advance_ms(&sim, 200))
        put(0, span_of(chunks[0], chunk_len(0)), ROOM);
    assert_int_equal(lines.count, 1);
    assert_non_null(strstr(lines.last, "\"times\":1}"));
    put(0, span_of(chunks[0], chunk_len(0)), ROOM);
    log_set_thread_sink(NULL, NULL);
    assert_int_equal(lines.count, 2);
    assert_non_null(strstr(lines.last, "\"times\":300}"));
    struct blobs_status st;
    blobs_status(blobs, &st);
    assert_int_equal(st.failed, 301);
}

/* As a topic that was deleted and made again: what was written of it before is not there. */
static void a_store_that_was_made_anew_under_an_upload_has_it_begin_anew(void **s)
{
    (void)s;
    for (uint32_t at = 1; at < COUNT; at++) {
        for (uint32_t i = 0; i < at; i++)
            put(i, span_of(chunks[i], chunk_len(i)), ROOM);
        memory.is_anew = true;
        put(at, span_of(chunks[at], chunk_len(at)), ROOM);
        IS(EXCHANGE_BUSY, state.code);
        assert_int_equal(state.next, 0);
        memory.is_anew = false;
    }
    put_all();
    IS(OK, blobs_find(blobs, &body));
}

static void a_chunk_that_differs_from_its_leaf_is_found(void **s)
{
    (void)s;
    put_all();
    IS(OK, blobs_find(blobs, &body));
    memory.bytes[LARGE_CHUNK_BYTES + 5] ^= 1;
    IS(OK, get(0));
    IS(EXCHANGE_BLOB_ALTERED, get(1));
    IS(OK, get(2));
}

static void a_list_that_does_not_give_the_root_is_found_at_every_leaf(void **s)
{
    (void)s;
    put_all();
    IS(OK, blobs_find(blobs, &body));
    for (uint32_t i = 0; i < COUNT; i++) {
        uint8_t *leaf = memory.bytes + body.place.offset + i * BLOB_ENTRY_BYTES;
        *leaf ^= 1;
        IS(EXCHANGE_BLOB_ALTERED, get(0));
        *leaf ^= 1;
    }
    memory.bytes[body.place.offset + HASH_BYTES + 7] ^= 1; /* an offset proves nothing: the chunk there is another */
    IS(EXCHANGE_BLOB_ALTERED, get(0));
}

static void a_body_that_was_sent_again_is_read_where_it_stands_now(void **s)
{
    (void)s;
    put_all();
    IS(OK, blobs_find(blobs, &body));
    IS(OK, get(1));
    /* As on a topic: all of it once more behind the first, which is cut. */
    size_t chunk_bytes = (size_t)body.manifest.bytes, list_bytes = memory.len - chunk_bytes;
    uint8_t *more = realloc(memory.bytes, 2 * memory.len);
    assert_non_null(more);
    memory.bytes = more;
    memcpy(more + memory.len, more, memory.len);
    for (uint32_t i = 0; i < COUNT; i++) {
        uint8_t *offset = more + memory.len + chunk_bytes + (size_t)i * BLOB_ENTRY_BYTES + HASH_BYTES;
        be_put(offset, be_get(offset, 8) + memory.len, 8);
    }
    memset(more, 0, memory.len);
    body.place.offset += memory.len;
    memory.len *= 2;
    assert_int_equal(list_bytes, COUNT * BLOB_ENTRY_BYTES);
    for (uint32_t i = 0; i < COUNT; i++)
        IS(OK, get(i));
}

static void what_is_cut_is_lost(void **s)
{
    (void)s;
    put_all();
    IS(OK, blobs_find(blobs, &body));
    memory.len--;
    IS(EXCHANGE_BLOB_LOST, get(0));
}

static void a_folder_keeps_what_messages_have_and_nothing_else(void **s)
{
    struct blob_store *store;
    struct blobs *b;
    char folder[] = "/tmp/ehis-blob-XXXXXX", path[256], name[2 * HASH_BYTES + 1];
    struct hash key;
    struct ehis_why why;
    struct stat st;
    const struct blobs_calls calls = {NULL, on_state, on_chunk};
    (void)s;
    assert_non_null(mkdtemp(folder));
    for (int is_kept = 1; is_kept >= 0; is_kept--) {
        assert_int_equal(blob_local_new(folder, 0, &store, &why), EHIS_OK);
        assert_int_equal(blobs_new(loop, &clock_system, store, body.manifest.root.b, &b), EHIS_OK);
        blobs_set_calls(b, &calls);
        struct blobs *before = blobs;
        blobs = b;
        large_blob_key(body.sender, body.manifest.root.b, &key);
        hex_to_text(key.b, HASH_BYTES, name);
        snprintf(path, sizeof path, "%s/%s", folder, name);
        if (is_kept) {
            blobs_recovered(b);
            put_all();
            IS(OK, blobs_find(b, &body));
        } else {
            assert_int_equal(stat(path, &st), 0);
            blobs_keep(b, &body); /* as the journal says */
            blobs_recovered(b);
            for (uint32_t i = 0; i < COUNT; i++)
                IS(OK, get(i));
        }
        blobs_free(b);
        blobs = before;
    }
    assert_int_equal(blob_local_new(folder, 0, &store, &why), EHIS_OK);
    assert_int_equal(blobs_new(loop, &clock_system, store, body.manifest.root.b, &b), EHIS_OK);
    blobs_recovered(b);
    assert_int_not_equal(stat(path, &st), 0);
    blobs_free(b);
    assert_int_equal(blob_local_new(folder, UINT64_C(1) << 60, &store, &why), EHIS_OK); /* no space is left to it */
    struct blob_place place = {0, 0};
    IS(EXCHANGE_BUSY, store->write(store, &key, true, span_of("x", 1), &place));
    store->free(store);
    assert_int_equal(rmdir(folder), 0);
}

/* ---- many at once, and a store that takes its time ---- */

#define SLOW_MAX 100
static struct { struct blob_store store; pthread_mutex_t gate; struct hash keys[SLOW_MAX]; size_t written; } slow = {.gate = PTHREAD_MUTEX_INITIALIZER};
static struct { uint64_t session; ehis_err code; } answers[SLOW_MAX];
static size_t answer_count;

static ehis_err on_slow_write(struct blob_store *s, const struct hash *key, bool is_first, struct span bytes, struct blob_place *place)
{
    (void)s, (void)is_first, (void)bytes, (void)place;
    pthread_mutex_lock(&slow.gate); /* the test's while it asks */
    slow.keys[slow.written++] = *key;
    pthread_mutex_unlock(&slow.gate);
    return EHIS_OK;
}
static ehis_err on_slow_read(struct blob_store *s, const struct hash *key, const struct blob_place *place, uint8_t *out, size_t bytes)
{
    (void)s, (void)key, (void)place, (void)out, (void)bytes;
    return EHIS_E_EXCHANGE_BLOB_LOST;
}
static void on_answer(void *ctx, uint64_t session, const struct hash *root, uint32_t next, ehis_err code)
{
    (void)ctx, (void)root, (void)next;
    assert_true(answer_count < SLOW_MAX);
    answers[answer_count].session = session;
    answers[answer_count++].code = code;
}

/* So many chunks of a system, of some bodies in turn; how many of them are not told at once to come later. */
static size_t put_many(struct blobs *b, uint64_t session, const char *system, size_t count)
{
    enum { BODIES = 4 };
    const size_t before = answer_count;
    for (size_t i = 0; i < count; i++) {
        struct blob_name name = {.sender = span_str(system), .manifest = {.bytes = 100 * LARGE_CHUNK_BYTES, .root = {{i % BODIES}}}};
        assert_int_equal(blobs_put(b, session, &name, (uint32_t)(i / BODIES), span_of(chunks[0], LARGE_CHUNK_BYTES), ROOM), EHIS_OK);
    }
    for (size_t i = before; i < answer_count; i++)
        IS(EXCHANGE_BUSY, answers[i].code);
    return count - (answer_count - before);
}

static void who_has_much_to_store_keeps_nobody_out_and_holds_nobody_for_more_than_one_chunk(void **s)
{
    static const uint8_t seed[HASH_BYTES] = {1};
    const struct blobs_calls calls = {NULL, on_answer, on_chunk};
    const struct blob_asker asker = {9, span_str("AZ/GOV/c/three"), seed};
    struct hash second[4];
    struct blobs *b;
    (void)s;
    slow.store = (struct blob_store){.write = on_slow_write, .read = on_slow_read, .free = on_free};
    slow.written = answer_count = 0;
    assert_int_equal(blobs_new(loop, &clock_system, &slow.store, seed, &b), EHIS_OK);
    blobs_set_calls(b, &calls);
    pthread_mutex_lock(&slow.gate);
    assert_int_equal(put_many(b, 7, "AZ/GOV/a/one", BLOB_JOBS_MAX / 2 + 4), BLOB_JOBS_MAX / 2); /* no more than is free */
    assert_int_equal(put_many(b, 8, "AZ/GOV/b/two", 4), 4);
    struct blob_name name = {.sender = span_str("AZ/GOV/b/two"), .manifest = {.bytes = LARGE_CHUNK_BYTES}};
    assert_int_equal(blobs_get(b, &asker, &name, 0), EHIS_OK); /* who fetches has a share of its own, too */
    const size_t asked = answer_count;
    chunk = NULL;
    pthread_mutex_unlock(&slow.gate);
    while (answer_count < asked + BLOB_JOBS_MAX / 2 + 4 || !chunk)
        loop_run_once(loop, true);
    blob_chunk_free(chunk);
    size_t last = 0, count = 0;
    for (size_t k = 0; k < 4; k++)
        large_blob_key(span_str("AZ/GOV/b/two"), (const uint8_t[HASH_BYTES]){(uint8_t)k}, &second[k]);
    for (size_t i = 0; i < slow.written; i++)
        for (size_t k = 0; k < 4; k++)
            if (memcmp(slow.keys[i].b, second[k].b, HASH_BYTES) == 0) {
                last = i;
                count++;
            }
    assert_int_equal(count, 4);
    assert_in_range(last, 0, 2 * 4 + 1); /* in turns with the other's, which all came before */
    blobs_free(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(chunks_in_order_are_a_body_that_one_message_may_have, open_all, close_all),
        cmocka_unit_test_setup_teardown(a_question_tells_how_far_it_is_and_another_order_is_refused, open_all, close_all),
        cmocka_unit_test_setup_teardown(what_cannot_be_a_chunk_of_it_is_a_violation, open_all, close_all),
        cmocka_unit_test_setup_teardown(chunks_that_do_not_give_the_root_are_dropped, open_all, close_all),
        cmocka_unit_test_setup_teardown(what_the_sender_may_not_store_any_more_is_busy, open_all, close_all),
        cmocka_unit_test_setup_teardown(a_store_that_fails_ends_the_upload_and_it_may_begin_anew, open_all, close_all),
        cmocka_unit_test_setup_teardown(a_store_that_fails_again_and_again_is_told_once_a_minute, open_all, close_all),
        cmocka_unit_test_setup_teardown(a_store_that_was_made_anew_under_an_upload_has_it_begin_anew, open_all, close_all),
        cmocka_unit_test_setup_teardown(a_chunk_that_differs_from_its_leaf_is_found, open_all, close_all),
        cmocka_unit_test_setup_teardown(a_list_that_does_not_give_the_root_is_found_at_every_leaf, open_all, close_all),
        cmocka_unit_test_setup_teardown(a_body_that_was_sent_again_is_read_where_it_stands_now, open_all, close_all),
        cmocka_unit_test_setup_teardown(what_is_cut_is_lost, open_all, close_all),
        cmocka_unit_test_setup_teardown(who_has_much_to_store_keeps_nobody_out_and_holds_nobody_for_more_than_one_chunk, open_all, close_all),
        cmocka_unit_test_setup_teardown(a_folder_keeps_what_messages_have_and_nothing_else, open_all, close_all),
    };
    if (crypto_init(NULL) != EHIS_OK)
        return 1;
    return cmocka_run_group_tests_name("blob", tests, NULL, NULL);
}
