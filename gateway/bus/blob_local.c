/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* One file for each body, named by its key: the chunks in order, behind them their list (SPEC 18.4). */
#include "gateway/bus/blob.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define NAME_BYTES (2 * HASH_BYTES + 1)

struct local {
    struct blob_store store;
    int folder;
    uint64_t reserve_bytes;
};

static struct local *local_of(struct blob_store *s) { return (struct local *)s; }

static ehis_err write_all(int fd, struct span bytes, uint64_t offset)
{
    while (bytes.len > 0) {
        ssize_t n = pwrite(fd, bytes.p, bytes.len, (off_t)offset);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return EHIS_E_EXCHANGE_BUSY;
        bytes = span_of(bytes.p + n, bytes.len - (size_t)n);
        offset += (uint64_t)n;
    }
    return EHIS_OK;
}

static ehis_err on_write(struct blob_store *s, const struct hash *key, bool is_first, struct span bytes, struct blob_place *place)
{
    struct local *l = local_of(s);
    struct statvfs v;
    char name[NAME_BYTES];
    if (fstatvfs(l->folder, &v) != 0 || (uint64_t)v.f_bavail * v.f_frsize < l->reserve_bytes + bytes.len)
        return EHIS_E_EXCHANGE_BUSY; /* the journal's room is not ours */
    hex_to_text(key->b, HASH_BYTES, name);
    int fd = openat(l->folder, name, O_WRONLY | O_CLOEXEC | O_NOFOLLOW | (is_first ? O_CREAT | O_TRUNC : 0), 0600);
    if (fd < 0)
        return EHIS_E_EXCHANGE_BUSY;
    ehis_err err = write_all(fd, bytes, place->offset);
    /* A failed flush is not tried again: the upload begins anew, in a new file. */
    if (err == EHIS_OK && (fdatasync(fd) != 0 || (is_first && fsync(l->folder) != 0)))
        err = EHIS_E_EXCHANGE_BUSY;
    if (close(fd) != 0)
        err = EHIS_E_EXCHANGE_BUSY;
    return err;
}

static ehis_err on_read(struct blob_store *s, const struct hash *key, const struct blob_place *place, uint8_t *out, size_t bytes)
{
    char name[NAME_BYTES];
    ehis_err err = EHIS_OK;
    hex_to_text(key->b, HASH_BYTES, name);
    int fd = openat(local_of(s)->folder, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return errno == ENOENT ? EHIS_E_EXCHANGE_BLOB_LOST : EHIS_E_EXCHANGE_BUSY;
    for (size_t at = 0; at < bytes && err == EHIS_OK;) {
        ssize_t n = pread(fd, out + at, bytes - at, (off_t)(place->offset + at));
        if (n > 0)
            at += (size_t)n;
        else if (n == 0 || errno != EINTR)
            err = EHIS_E_EXCHANGE_BLOB_LOST;
    }
    (void)!close(fd); /* was only read */
    return err;
}

static void on_drop(struct blob_store *s, const struct hash *key)
{
    char name[NAME_BYTES];
    hex_to_text(key->b, HASH_BYTES, name);
    (void)!unlinkat(local_of(s)->folder, name, 0); /* what stays is swept at the next start */
}

static void on_sweep(struct blob_store *s, bool (*is_kept)(void *arg, const struct hash *key), void *arg)
{
    struct local *l = local_of(s);
    int fd = openat(l->folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *d = fd < 0 ? NULL : fdopendir(fd);
    struct hash key;
    for (struct dirent *e = d ? readdir(d) : NULL; e; e = readdir(d))
        if (hex_from_text(span_str(e->d_name), key.b, HASH_BYTES) == EHIS_OK && !is_kept(arg, &key))
            on_drop(s, &key);
    if (d)
        closedir(d);
    else if (fd >= 0)
        close(fd);
}

static void on_free(struct blob_store *s)
{
    close(local_of(s)->folder);
    free(s);
}

ehis_err blob_local_new(const char *folder, uint64_t reserve_bytes, struct blob_store **out, struct ehis_why *why)
{
    struct local *l = calloc(1, sizeof *l);
    if (!l)
        return EHIS_E_NO_MEMORY;
    l->folder = mkdir(folder, 0700) != 0 && errno != EEXIST ? -1 : open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    if (l->folder < 0) {
        free(l);
        return ehis_fail(why, EHIS_E_JOURNAL_FOLDER, "%s: %s", folder, strerror(errno));
    }
    l->store = (struct blob_store){.write = on_write, .read = on_read, .drop = on_drop, .sweep = on_sweep, .free = on_free};
    l->reserve_bytes = reserve_bytes;
    *out = &l->store;
    return EHIS_OK;
}
