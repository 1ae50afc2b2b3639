/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
#include "tests/support/journal_model.h"
#include "gateway/journal/frame.h"

#define is(err, expected) assert_string_equal(ehis_err_name(err), ehis_err_name(expected))
#define ok(err) is(err, EHIS_OK)

static struct model *m;

static int setup(void **state)
{
    (void)state;
    m = calloc(1, sizeof *m);
    model_init(m, 7);
    return m ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    model_fini(m);
    free(m);
    return 0;
}

static void open_model(void)
{
    struct ehis_why why = {""};
    ehis_err err = model_open(m, &why);
    if (err != EHIS_OK)
        fail_msg("%s: %s", ehis_err_name(err), why.text);
}

/* The bytes of a file, to look at and to spoil. */
static struct disk_file *open_file(const char *name)
{
    struct disk_file *f;
    ok(m->disk->ops->open(m->disk, name, false, &f));
    return f;
}

static void flip(struct disk_file *f, uint64_t at, uint8_t bits)
{
    uint8_t b;
    size_t got;
    ok(f->ops->read_at(f, at, &b, 1, &got));
    b ^= bits;
    ok(f->ops->write_at(f, at, &b, 1));
}

static bool exists(const char *name)
{
    struct disk_file *f;
    if (m->disk->ops->open(m->disk, name, false, &f) != EHIS_OK)
        return false;
    f->ops->close(f);
    return true;
}

static ehis_err walk(struct journal_check *check, struct ehis_why *why)
{
    m->expected = 0;
    return journal_walk(m->disk, model_on_walked, m, check, why);
}

static ehis_err reopen(struct ehis_why *why)
{
    m->expected = 0;
    ehis_err err = journal_open(m->disk, &m->config, &m->clock.clock, model_on_entry, m, &m->j, why);
    if (err == EHIS_OK)
        journal_close(m->j);
    m->j = NULL;
    disk_free(m->disk);
    return err;
}

static void read_back(uint64_t n)
{
    struct buf b;
    struct journal_entry e;
    buf_init(&b, 1 << 20);
    ok(journal_read(m->j, &m->pos[n], &b, &e));
    assert_true(model_is(m, &e, n, false));
    assert_int_equal(b.len, e.record.len + e.attachment.len);
    buf_fini(&b);
}

static void an_entry_reads_back_while_open_while_written_and_from_the_file(void **state)
{
    uint64_t group;
    (void)state;
    open_model();
    assert_int_equal(journal_open_group(m->j), 1);
    assert_int_equal(journal_open_bytes(m->j), 0);
    for (int i = 0; i < 10; i++)
        ok(model_append(m));
    for (uint64_t n = 1; n <= 10; n++)
        read_back(n);
    journal_seal(m->j);
    assert_true(journal_is_writing(m->j));
    assert_int_equal(journal_open_group(m->j), 2);
    for (int i = 0; i < 10; i++)
        ok(model_append(m));
    for (uint64_t n = 1; n <= 20; n++)
        read_back(n);
    ok(journal_write(m->j));
    for (uint64_t n = 1; n <= 20; n++)
        read_back(n);
    journal_written(m->j, &group);
    assert_int_equal(group, 1);
    m->sealed = m->durable = 10;
    for (uint64_t n = 1; n <= 20; n++)
        read_back(n);
    ok(model_flush(m));
    for (uint64_t n = 1; n <= 20; n++)
        read_back(n);
    struct journal_status status;
    journal_status(m->j, &status);
    assert_int_equal(status.groups, 2);
    assert_int_equal(status.entries, 20);
    assert_int_equal(status.flushes, 2);
    assert_false(status.has_failed);
}

static void a_read_finds_a_byte_that_rotted_and_a_place_that_is_none(void **state)
{
    struct buf b;
    struct journal_entry e;
    (void)state;
    open_model();
    ok(model_run(m, 40, 5)); /* the last few groups are read from memory */
    struct disk_file *f = open_file("000000000001.seg");
    buf_init(&b, 1 << 20);
    struct journal_pos pos = m->pos[2], other = pos;
    for (uint32_t i = 0; i < FRAME_ENTRY_BYTES + pos.record_bytes + pos.attachment_bytes; i++) {
        flip(f, pos.offset + i, 4);
        is(journal_read(m->j, &pos, &b, &e), EHIS_E_JOURNAL_CORRUPT);
        flip(f, pos.offset + i, 4);
    }
    ok(journal_read(m->j, &pos, &b, &e));
    other.offset++;
    is(journal_read(m->j, &other, &b, &e), EHIS_E_JOURNAL_CORRUPT);
    other = pos;
    other.record_bytes--, other.attachment_bytes++;
    is(journal_read(m->j, &other, &b, &e), EHIS_E_JOURNAL_CORRUPT);
    other.segment = 9;
    is(journal_read(m->j, &other, &b, &e), EHIS_E_NOT_FOUND);
    buf_fini(&b);
    buf_init(&b, pos.record_bytes + pos.attachment_bytes + FRAME_ENTRY_BYTES - 1);
    is(journal_read(m->j, &pos, &b, &e), EHIS_E_TOO_LARGE);
    buf_fini(&b);
    f->ops->close(f);
}

static void a_group_takes_entries_to_its_bound_and_an_entry_alone_fits_it_exactly(void **state)
{
    static uint8_t bytes[1 << 17];
    const size_t room = (128 << 10) - FRAME_HEADER_BYTES - FRAME_ENTRY_BYTES - FRAME_TRAILER_BYTES;
    struct journal_pos pos;
    uint64_t group;
    (void)state;
    open_model();
    struct span s = span_of(bytes, room + 1), half = span_of(bytes, room / 2);
    is(journal_append(m->j, &s, 1, NULL, 0, &pos), EHIS_E_TOO_LARGE);
    assert_int_equal(journal_open_bytes(m->j), 0);
    s.len = SIZE_MAX;
    is(journal_append(m->j, (struct span[]){s, s}, 2, NULL, 0, &pos), EHIS_E_TOO_LARGE);
    s.len = room;
    ok(journal_append(m->j, &s, 1, NULL, 0, &pos));
    assert_int_equal(pos.offset, FRAME_HEADER_BYTES);
    is(journal_append(m->j, NULL, 0, NULL, 0, &pos), EHIS_E_JOURNAL_GROUP_FULL);
    journal_seal(m->j);
    ok(journal_append(m->j, &half, 1, NULL, 0, &pos)); /* the other group, while the first is written */
    half.len = room - room / 2 - FRAME_ENTRY_BYTES + 1;
    is(journal_append(m->j, &half, 1, NULL, 0, &pos), EHIS_E_JOURNAL_GROUP_FULL);
    half.len--;
    ok(journal_append(m->j, NULL, 0, &half, 1, &pos));
    assert_int_equal(pos.record_bytes, 0);
    ok(journal_write(m->j));
    journal_written(m->j, &group);
    journal_seal(m->j);
    ok(journal_write(m->j));
    journal_written(m->j, &group);
    assert_int_equal(group, 2);
    struct journal_check check;
    ok(journal_walk(m->disk, NULL, NULL, &check, NULL));
    assert_int_equal(check.entries, 3);
    assert_int_equal(check.groups, 2);
    assert_false(check.is_torn);
}

static void entries_roll_through_segments_are_archived_and_all_verify(void **state)
{
    struct journal_check check;
    struct journal_status status;
    (void)state;
    open_model();
    ok(model_run(m, 6000, 40));
    journal_status(m->j, &status);
    assert_true(status.first_segment > 2);
    assert_true(status.last_segment - status.first_segment < m->config.segment_count_max);
    assert_true(status.archive_bytes > 0);
    assert_true(exists("000000000001.rec"));
    assert_false(exists("000000000001.seg"));
    model_verify(m, &check);
    assert_true(check.archived_entries > 2000);
    assert_int_equal(check.groups, status.groups);
    for (uint64_t n = m->next - 100; n < m->next; n++)
        read_back(n);
    model_close(m);
    open_model();
    assert_int_equal(m->durable, 6000);
    assert_int_equal(m->first_live, check.archived_entries + 1);
    ok(model_run(m, 9000, 40));
    model_verify(m, &check);
}

static void without_release_the_journal_fills_says_so_and_goes_on_after_it(void **state)
{
    uint64_t segment;
    (void)state;
    open_model();
    ehis_err err = EHIS_OK;
    uint64_t room = journal_room_bytes(m->j), first_room = room;
    assert_true(room > 2 * (1 << 20));
    while (err == EHIS_OK) {
        err = model_append(m);
        if (m->next % 40 == 0 && err == EHIS_OK)
            err = model_flush(m);
        assert_true(journal_room_bytes(m->j) <= room);
        room = journal_room_bytes(m->j);
        while (journal_has_reclaim(m->j))
            ok(journal_reclaim(m->j));
    }
    is(err, EHIS_E_JOURNAL_FULL);
    assert_int_equal(room, 0);
    uint64_t full_at = m->next;
    is(model_append(m), EHIS_E_JOURNAL_FULL);
    ok(model_flush(m));
    for (int i = 0; i < 2; i++) {
        assert_true(journal_release_wanted(m->j, &segment));
        assert_int_equal(segment, i + 1);
        journal_release(m->j, segment);
        assert_false(journal_release_wanted(m->j, &segment));
        while (journal_has_reclaim(m->j))
            ok(journal_reclaim(m->j));
    }
    assert_true(journal_room_bytes(m->j) > 0);
    assert_true(journal_room_bytes(m->j) < first_room);
    ok(model_run(m, full_at + 500, 40));
    struct journal_check check;
    model_verify(m, &check);
}

static void a_released_segment_is_kept_until_what_was_carried_ahead_is_durable(void **state)
{
    uint64_t segment;
    (void)state;
    open_model();
    while (!journal_release_wanted(m->j, &segment)) {
        ok(model_run(m, m->next + 39, 40));
        while (journal_has_reclaim(m->j))
            ok(journal_reclaim(m->j));
    }
    ok(model_append(m));
    journal_release(m->j, segment);
    assert_false(journal_has_reclaim(m->j));
    ok(model_flush(m));
    assert_true(journal_has_reclaim(m->j));
    struct buf b;
    struct journal_entry e;
    buf_init(&b, 4096);
    is(journal_read(m->j, &m->pos[1], &b, &e), EHIS_E_NOT_FOUND);
    buf_fini(&b);
}

static void a_second_opener_is_locked_out_and_a_walk_is_not(void **state)
{
    struct journal *other;
    struct journal_check check;
    (void)state;
    open_model();
    ok(model_run(m, 10, 5));
    is(journal_open(m->disk, &m->config, &m->clock.clock, NULL, NULL, &other, NULL), EHIS_E_LOCKED);
    model_verify(m, &check);
    assert_int_equal(check.entries, 10);
}

static void every_byte_of_a_live_file_that_changes_is_found_and_named(void **state)
{
    struct journal_check check;
    struct ehis_why why;
    (void)state;
    m->record_max = 60, m->attachment_max = 60;
    open_model();
    ok(model_run(m, 11, 4)); /* groups of 3, 4 and 4 */
    model_close(m);
    struct disk_file *f = open_file("000000000001.seg");
    for (uint64_t at = 0; at < 3 * 4096 + 200; at += at < 1200 || at % 4096 < 1200 ? 1 : 97) {
        flip(f, at, (uint8_t)(1u << at % 8));
        ehis_err err = walk(&check, &why);
        char place[64];
        snprintf(place, sizeof place, "segment 1 (000000000001.seg), offset %llu:", (unsigned long long)(at / 4096 * 4096));
        if (at < 2 * 4096) { /* a group stands behind */
            is(err, EHIS_E_JOURNAL_CORRUPT);
            assert_non_null(strstr(why.text, place));
            is(reopen(&why), EHIS_E_JOURNAL_CORRUPT);
            assert_non_null(strstr(why.text, place));
        } else if (at < 3 * 4096) { /* the last group: like a torn one */
            ok(err);
            assert_true(check.is_torn);
            assert_int_equal(check.entries, 7);
        } else {
            ok(err);
            assert_int_equal(check.entries, 11);
        }
        flip(f, at, (uint8_t)(1u << at % 8));
    }
    ok(walk(&check, &why));
    assert_int_equal(check.entries, 11);
    assert_false(check.is_torn);
    f->ops->close(f);
}

static void every_change_of_an_archive_or_between_segments_is_found(void **state)
{
    struct journal_check check;
    struct ehis_why why;
    (void)state;
    open_model();
    ok(model_run(m, 4000, 40));
    model_close(m);
    struct disk_file *f = open_file("000000000002.rec");
    uint64_t bytes;
    ok(f->ops->size(f, &bytes));
    for (uint64_t at = 0; at < bytes; at += at < 300 || at + 300 > bytes ? 1 : bytes / 97) {
        flip(f, at, 0x40);
        is(walk(&check, &why), EHIS_E_JOURNAL_CORRUPT);
        assert_non_null(strstr(why.text, "segment 2 (000000000002.rec)"));
        flip(f, at, 0x40);
    }
    for (uint64_t cut = 1; cut < bytes; cut += cut < 64 ? 1 : bytes / 31) {
        uint8_t *tail = malloc(cut);
        size_t got;
        ok(f->ops->read_at(f, bytes - cut, tail, cut, &got));
        ok(f->ops->truncate(f, bytes - cut));
        is(walk(&check, &why), EHIS_E_JOURNAL_CORRUPT);
        ok(f->ops->write_at(f, bytes - cut, tail, cut));
        free(tail);
    }
    ok(walk(&check, &why));
    f->ops->close(f);
    ok(m->disk->ops->rename(m->disk, "000000000002.rec", "kept")); /* one is missing in between */
    is(walk(&check, &why), EHIS_E_JOURNAL_CORRUPT);
    assert_string_equal(why.text, "segment 2 is missing");
    ok(m->disk->ops->remove(m->disk, "000000000001.rec")); /* the oldest may go */
    ok(walk(&check, &why));
    ok(m->disk->ops->rename(m->disk, "kept", "000000000002.rec"));
    ok(walk(&check, &why));
}

static void a_live_segment_that_is_cut_or_missing_or_exchanged_refuses_to_start(void **state)
{
    struct ehis_why why;
    (void)state;
    open_model();
    ok(model_run(m, 1500, 40));
    model_close(m);
    assert_true(exists("000000000002.seg"));
    struct disk_file *f = open_file("000000000001.seg");
    static uint8_t all[1 << 20];
    size_t got;
    ok(f->ops->read_at(f, 0, all, sizeof all, &got));
    for (uint64_t bytes = 0; bytes < sizeof all; bytes += bytes < 5000 ? 1 : 40961) {
        ok(f->ops->truncate(f, bytes));
        is(reopen(&why), EHIS_E_JOURNAL_CORRUPT);
        assert_non_null(strstr(why.text, "segment 1: its file of"));
    }
    ok(f->ops->write_at(f, 0, all, sizeof all));
    ok(reopen(&why));
    for (int i = 0; i < 2; i++) { /* a frame written twice: over its successor, behind the end */
        uint8_t page[4096];
        struct disk_file *g = open_file("000000000001.seg");
        ok(g->ops->read_at(g, 0, page, sizeof page, &got));
        ok(g->ops->write_at(g, i ? (1 << 20) - 4096 : m->pos[40].offset - FRAME_HEADER_BYTES, page, sizeof page));
        if (i == 0)
            is(reopen(&why), EHIS_E_JOURNAL_CORRUPT);
        ok(g->ops->write_at(g, 0, all, sizeof all));
        g->ops->close(g);
    }
    ok(reopen(&why));
    f->ops->close(f);
    ok(m->disk->ops->rename(m->disk, "000000000001.seg", "kept"));
    ok(m->disk->ops->rename(m->disk, "000000000002.seg", "000000000001.seg"));
    ok(m->disk->ops->rename(m->disk, "kept", "000000000002.seg"));
    is(reopen(&why), EHIS_E_JOURNAL_CORRUPT);
    ok(m->disk->ops->rename(m->disk, "000000000001.seg", "kept"));
    is(reopen(&why), EHIS_E_JOURNAL_CORRUPT);
    ok(m->disk->ops->remove(m->disk, "000000000002.seg"));
    is(reopen(&why), EHIS_E_JOURNAL_CORRUPT); /* 3 without 2 and 1 */
}

static void a_torn_last_group_is_cut_and_written_over(void **state)
{
    struct journal_check check;
    struct ehis_why why;
    static uint8_t all[16384];
    size_t got;
    (void)state;
    open_model();
    ok(model_run(m, 3, 2)); /* 1, then 2 and 3 */
    uint32_t at = m->pos[2].offset - FRAME_HEADER_BYTES;
    model_close(m);
    struct disk_file *f = open_file("000000000001.seg");
    ok(f->ops->read_at(f, at, all, sizeof all, &got));
    uint32_t n = (uint32_t)be_get(all + 44, 4);
    for (uint32_t kept = 0; kept < n; kept += kept < 200 ? 1 : 53) {
        uint8_t torn[16384] = {0};
        memcpy(torn, all, kept);
        ok(f->ops->write_at(f, at, torn, sizeof torn));
        ok(walk(&check, &why));
        assert_int_equal(check.entries, 1);
        assert_int_equal(check.is_torn, kept >= 32);
        m->durable = m->sealed = 1; /* as if the group had never been reported */
        open_model();
        ok(model_run(m, 2, 1));
        model_verify(m, &check);
        ok(model_run(m, 5, 1));
        model_verify(m, &check);
        model_close(m);
        m->durable = m->sealed = 5;
        open_model();
        model_close(m);
        uint8_t zeros[65536] = {0};
        ok(f->ops->write_at(f, at, zeros, sizeof zeros));
    }
    f->ops->close(f);
}

static void an_attachment_that_poses_as_a_later_frame_does_not_stop_a_start(void **state)
{
    static uint8_t fake[3 * 4096];
    struct hash chain;
    struct ehis_why why;
    struct journal_pos pos;
    (void)state;
    open_model();
    struct span r = span_str("record");
    ok(journal_append(m->j, &r, 1, NULL, 0, &pos));
    ok(model_flush(m));
    /* at a multiple of 4 KiB inside the attachment of group 2 stands a whole frame of segment 1, group 3 */
    struct frame_header h = {
        .segment = 1, .group = 3, .first_entry = 3, .segment_bytes = 1 << 20, .bytes = FRAME_MIN_BYTES, .entry_count = 1};
    size_t lead = 4096 - FRAME_HEADER_BYTES - 8 - r.len;
    journal_frame_seal(fake + lead, &h, 2 * 4096, &chain);
    struct frame f;
    assert_true(journal_frame_check(span_of(fake + lead, FRAME_MIN_BYTES), 2 * 4096, false, &f));
    struct span a = span_of(fake, sizeof fake);
    ok(journal_append(m->j, &r, 1, &a, 1, &pos));
    assert_int_equal(pos.offset + 8 + r.len + lead, 2 * 4096);
    ok(model_flush(m));
    journal_close(m->j);
    m->j = NULL;
    disk_free(m->disk);
    struct disk_file *file = open_file("000000000001.seg");
    flip(file, 4096 + 100, 1); /* group 2 is torn */
    file->ops->close(file);
    ok(journal_open(m->disk, &m->config, &m->clock.clock, NULL, NULL, &m->j, &why));
    assert_int_equal(journal_open_group(m->j), 2);
}

static void changed_settings_are_taken_up(void **state)
{
    struct journal_check check;
    struct ehis_why why;
    (void)state;
    open_model();
    ok(model_run(m, 2000, 40));
    model_close(m);
    m->config.segment_bytes = 2 << 20;
    m->config.group_max_bytes = 1 << 20;
    m->config.segment_count_max = 3;
    open_model();
    ok(model_run(m, 9000, 300));
    model_verify(m, &check);
    model_close(m);
    m->config.segment_bytes = 1 << 20;
    m->config.group_max_bytes = 16 << 10;
    open_model();
    ok(model_run(m, 12000, 300));
    model_verify(m, &check);
    model_close(m);
    static const struct journal_config bad[] = {
        {(1 << 20) - 4096, 3, 4096, 0}, {(1u << 30) + 4096, 3, 4096, 0}, {(1 << 20) + 1, 3, 4096, 0},       {1 << 20, 2, 4096, 0},
        {1 << 20, 3, 4095, 0},          {1 << 20, 3, (1 << 19) + 1, 0},  {1u << 30, 3, (64u << 20) + 1, 0},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        is(journal_open(m->disk, &bad[i], &m->clock.clock, NULL, NULL, &m->j, &why), EHIS_E_SETTINGS);
    m->j = NULL;
}

static ehis_err refuse(void *ctx, const struct journal_entry *e)
{
    (void)ctx;
    return be_get(e->record.p, 8) == 3 ? EHIS_E_UNSUPPORTED : EHIS_OK;
}

static void an_owner_that_refuses_an_entry_ends_the_opening(void **state)
{
    (void)state;
    open_model();
    ok(model_run(m, 5, 2));
    model_close(m);
    struct ehis_why why;
    is(journal_open(m->disk, &m->config, &m->clock.clock, refuse, NULL, &m->j, &why), EHIS_E_UNSUPPORTED);
    m->j = NULL;
    assert_true(why.text[0] != '\0');
    disk_free(m->disk);
    open_model();
}

static void without_space_for_the_next_segment_it_runs_on_to_the_last_byte_and_recovers(void **state)
{
    struct journal_check check;
    (void)state;
    m->config.reserve_bytes = 300000;
    sim_disk_set_capacity(m->sim, (2 << 20) + 500000);
    open_model();
    for (int i = 0; i < 10; i++) /* makes one more; a third does not fit */
        if (journal_has_reclaim(m->j))
            ok(journal_reclaim(m->j));
    ehis_err err = EHIS_OK;
    while (err == EHIS_OK) {
        err = model_append(m);
        if (err == EHIS_OK && m->next % 40 == 0)
            err = model_flush(m);
        if (journal_has_reclaim(m->j))
            ok(journal_reclaim(m->j));
    }
    is(err, EHIS_E_JOURNAL_FULL);
    ok(model_flush(m));
    model_verify(m, &check);
    assert_false(journal_has_reclaim(m->j)); /* not before a second has passed */
    sim_disk_set_capacity(m->sim, 64 << 20);
    is(model_append(m), EHIS_E_JOURNAL_FULL);
    sim_clock_advance_ms(&m->clock, 1001);
    while (journal_has_reclaim(m->j))
        ok(journal_reclaim(m->j));
    ok(model_run(m, m->next + 1000, 40));
    model_verify(m, &check);
    uint64_t left;
    ok(m->disk->ops->free_bytes(m->disk, &left));
    assert_true(left >= m->config.reserve_bytes);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(an_entry_reads_back_while_open_while_written_and_from_the_file),
        TEST(a_read_finds_a_byte_that_rotted_and_a_place_that_is_none),
        TEST(a_group_takes_entries_to_its_bound_and_an_entry_alone_fits_it_exactly),
        TEST(entries_roll_through_segments_are_archived_and_all_verify),
        TEST(without_release_the_journal_fills_says_so_and_goes_on_after_it),
        TEST(a_released_segment_is_kept_until_what_was_carried_ahead_is_durable),
        TEST(a_second_opener_is_locked_out_and_a_walk_is_not),
        TEST(every_byte_of_a_live_file_that_changes_is_found_and_named),
        TEST(every_change_of_an_archive_or_between_segments_is_found),
        TEST(a_live_segment_that_is_cut_or_missing_or_exchanged_refuses_to_start),
        TEST(a_torn_last_group_is_cut_and_written_over),
        TEST(an_attachment_that_poses_as_a_later_frame_does_not_stop_a_start),
        TEST(changed_settings_are_taken_up),
        TEST(an_owner_that_refuses_an_entry_ends_the_opening),
        TEST(without_space_for_the_next_segment_it_runs_on_to_the_last_byte_and_recovers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
