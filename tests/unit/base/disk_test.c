/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
#include "base/disk.h"
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

static char folder[64];
static struct disk *d;

static int set_up(void **state)
{
    (void)state;
    snprintf(folder, sizeof folder, "/tmp/ehis-disk-XXXXXX");
    return mkdtemp(folder) && disk_open_folder(folder, false, &d, NULL) == EHIS_OK ? 0 : -1;
}

static void remove_one(void *ctx, const char *name)
{
    assert_int_equal(d->ops->remove(ctx, name), EHIS_OK);
}

static int tear_down(void **state)
{
    (void)state;
    assert_int_equal(d->ops->list(d, remove_one, d), EHIS_OK);
    disk_free(d);
    return rmdir(folder);
}

static struct disk_file *opened(const char *name)
{
    struct disk_file *f = NULL;
    assert_int_equal(d->ops->open(d, name, true, &f), EHIS_OK);
    return f;
}

static void what_is_written_is_read_and_only_short_at_the_end(void **state)
{
    (void)state;
    struct disk_file *f = opened("a");
    uint8_t back[8];
    uint64_t size;
    size_t got;
    assert_int_equal(d->ops->write_at(f, 3, (const uint8_t *)"hello", 5), EHIS_OK);
    assert_int_equal(d->ops->sync(f), EHIS_OK);
    assert_int_equal(d->ops->size(f, &size), EHIS_OK);
    assert_int_equal(size, 8);
    assert_int_equal(d->ops->read_at(f, 0, back, 8, &got), EHIS_OK);
    assert_int_equal(got, 8);
    assert_memory_equal(back, "\0\0\0hello", 8);
    assert_int_equal(d->ops->read_at(f, 6, back, 8, &got), EHIS_OK);
    assert_int_equal(got, 2);
    assert_int_equal(d->ops->read_at(f, 9, back, 8, &got), EHIS_OK);
    assert_int_equal(got, 0);
    assert_int_equal(d->ops->truncate(f, 4), EHIS_OK);
    assert_int_equal(d->ops->size(f, &size), EHIS_OK);
    assert_int_equal(size, 4);
    d->ops->close(f);
}

static void a_file_that_is_absent_is_not_found_unless_created(void **state)
{
    (void)state;
    struct disk_file *f = NULL;
    assert_int_equal(d->ops->open(d, "b", false, &f), EHIS_E_NOT_FOUND);
    assert_null(f);
    d->ops->close(opened("b"));
    assert_int_equal(d->ops->open(d, "b", false, &f), EHIS_OK);
    d->ops->close(f);
    assert_int_equal(d->ops->remove(d, "b"), EHIS_OK);
    assert_int_equal(d->ops->remove(d, "b"), EHIS_E_NOT_FOUND);
}

static void names_that_leave_the_folder_are_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {"", ".", "..", "../x", "/etc/passwd", "a/b", ".hidden"};
    struct disk_file *f;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_int_equal(d->ops->open(d, bad[i], true, &f), EHIS_E_INVALID);
        assert_int_equal(d->ops->remove(d, bad[i]), EHIS_E_INVALID);
        assert_int_equal(d->ops->lock(d, bad[i]), EHIS_E_INVALID);
        assert_int_equal(d->ops->rename(d, bad[i], "x"), EHIS_E_INVALID);
        assert_int_equal(d->ops->rename(d, "x", bad[i]), EHIS_E_INVALID);
    }
}

static void a_symbolic_link_is_not_followed(void **state)
{
    (void)state;
    char path[128];
    struct disk_file *f;
    snprintf(path, sizeof path, "%s/link", folder);
    assert_int_equal(symlink("/etc/hostname", path), 0);
    assert_int_not_equal(d->ops->open(d, "link", false, &f), EHIS_OK);
}

static void rename_replaces(void **state)
{
    (void)state;
    struct disk_file *f = opened("from");
    assert_int_equal(d->ops->write_at(f, 0, (const uint8_t *)"1", 1), EHIS_OK);
    d->ops->close(f);
    d->ops->close(opened("to"));
    assert_int_equal(d->ops->rename(d, "from", "to"), EHIS_OK);
    assert_int_equal(d->ops->sync_dir(d), EHIS_OK);
    uint64_t size;
    f = opened("to");
    assert_int_equal(d->ops->size(f, &size), EHIS_OK);
    assert_int_equal(size, 1);
    d->ops->close(f);
    assert_int_equal(d->ops->open(d, "from", false, &f), EHIS_E_NOT_FOUND);
}

static void a_lock_excludes_a_second_holder_until_its_disk_is_freed(void **state)
{
    (void)state;
    struct disk *second;
    assert_int_equal(disk_open_folder(folder, false, &second, NULL), EHIS_OK);
    assert_int_equal(second->ops->lock(second, "lock"), EHIS_OK);
    assert_int_equal(d->ops->lock(d, "lock"), EHIS_E_LOCKED);
    disk_free(second);
    assert_int_equal(d->ops->lock(d, "lock"), EHIS_OK);
}

static void count_one(void *ctx, const char *name)
{
    assert_true(name[0] != '.');
    ++*(int *)ctx;
}

static void list_names_every_file_once(void **state)
{
    (void)state;
    int n = 0;
    d->ops->close(opened("x"));
    d->ops->close(opened("y"));
    assert_int_equal(d->ops->list(d, count_one, &n), EHIS_OK);
    assert_int_equal(n, 2);
    n = 0;
    assert_int_equal(d->ops->list(d, count_one, &n), EHIS_OK);
    assert_int_equal(n, 2);
    uint64_t bytes = 0;
    assert_int_equal(d->ops->free_bytes(d, &bytes), EHIS_OK);
    assert_true(bytes > 0);
}

static void a_missing_folder_is_named_in_why_or_made_private(void **state)
{
    (void)state;
    struct ehis_why why = {""};
    struct disk *below;
    struct stat st;
    char path[128];
    snprintf(path, sizeof path, "%s/below", folder);
    assert_int_equal(disk_open_folder(path, false, &below, &why), EHIS_E_NOT_FOUND);
    assert_non_null(strstr(why.text, path));
    assert_int_equal(disk_open_folder(path, true, &below, &why), EHIS_OK);
    disk_free(below);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0700);
    assert_int_equal(disk_open_folder(path, true, &below, &why), EHIS_OK);
    disk_free(below);
    assert_int_equal(rmdir(path), 0);
}

static void file_write_replaces_whole_with_the_mode_asked_for(void **state)
{
    (void)state;
    char path[128];
    struct stat st;
    struct buf b;
    int n = 0;
    snprintf(path, sizeof path, "%s/file", folder);
    buf_init(&b, 100);
    assert_int_equal(file_write(path, span_str("first and long"), 0600, NULL), EHIS_OK);
    assert_int_equal(file_write(path, span_str("second"), 0644, NULL), EHIS_OK);
    assert_int_equal(file_read(path, 100, &b, NULL), EHIS_OK);
    assert_true(span_eq(buf_span(&b), span_str("second")));
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0644);
    assert_int_equal(file_check_private(path, NULL), EHIS_E_PERMISSION);
    assert_int_equal(chmod(path, 0600), 0);
    assert_int_equal(file_check_private(path, NULL), EHIS_OK);
    assert_int_equal(d->ops->list(d, count_one, &n), EHIS_OK);
    assert_int_equal(n, 1); /* no temporary file stays */
    buf_fini(&b);
}

static void file_write_fails_whole_where_the_folder_is_absent(void **state)
{
    (void)state;
    char path[128];
    struct ehis_why why = {""};
    snprintf(path, sizeof path, "%s/none/file", folder);
    assert_int_equal(file_write(path, span_str("x"), 0600, &why), EHIS_E_NOT_FOUND);
    assert_non_null(strstr(why.text, path));
}

static void file_read_takes_max_bytes_and_not_one_more(void **state)
{
    (void)state;
    char path[128];
    struct ehis_why why = {""};
    struct buf b, small;
    snprintf(path, sizeof path, "%s/file", folder);
    assert_int_equal(file_write(path, span_str("12345"), 0600, NULL), EHIS_OK);
    buf_init(&b, 100);
    buf_init(&small, 4);
    assert_int_equal(buf_put(&b, "0", 1), EHIS_OK);
    assert_int_equal(file_read(path, 4, &b, &why), EHIS_E_TOO_LARGE);
    assert_true(span_eq(buf_span(&b), span_str("0")));
    assert_int_equal(file_read(path, 5, &b, &why), EHIS_OK);
    assert_true(span_eq(buf_span(&b), span_str("012345")));
    assert_int_equal(file_read(path, 5, &small, &why), EHIS_E_TOO_LARGE);
    assert_int_equal(small.len, 0);
    assert_int_equal(file_read("/nonexistent", 5, &b, &why), EHIS_E_NOT_FOUND);
    assert_non_null(strstr(why.text, "/nonexistent"));
    assert_int_equal(file_read(folder, 5, &b, &why), EHIS_E_IO);
    buf_fini(&b);
    buf_fini(&small);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        T(what_is_written_is_read_and_only_short_at_the_end),
        T(a_file_that_is_absent_is_not_found_unless_created),
        T(names_that_leave_the_folder_are_refused),
        T(a_symbolic_link_is_not_followed),
        T(rename_replaces),
        T(a_lock_excludes_a_second_holder_until_its_disk_is_freed),
        T(list_names_every_file_once),
        T(a_missing_folder_is_named_in_why_or_made_private),
        T(file_write_replaces_whole_with_the_mode_asked_for),
        T(file_write_fails_whole_where_the_folder_is_absent),
        T(file_read_takes_max_bytes_and_not_one_more),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
