/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* The real disk: one folder, reached through its descriptor. */
#include "base/disk.h"
#include "base/file_priv.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

struct folder {
    struct disk disk;
    int fd, lock_fd;
};

struct folder_file {
    struct disk_file file;
    int fd;
    bool is_failed; /* a sync failed: what reached the disk is unknown, and asking again would lie */
};

ehis_err file_err_from_errno(int number)
{
    switch (number) {
    case ENOENT:
    case ENOTDIR:
        return EHIS_E_NOT_FOUND;
    case EACCES:
    case EPERM:
    case EROFS:
        return EHIS_E_PERMISSION;
    case ENOSPC:
    case EDQUOT:
        return EHIS_E_NO_SPACE;
    case EEXIST:
        return EHIS_E_EXISTS;
    case ENOMEM:
        return EHIS_E_NO_MEMORY;
    default:
        return EHIS_E_IO;
    }
}

static struct folder *folder_of(struct disk *d) { return (struct folder *)d; }
static struct folder_file *file_of(struct disk_file *f) { return (struct folder_file *)f; }
static ehis_err result_of(int rc) { return rc == 0 ? EHIS_OK : file_err_from_errno(errno); }
static bool is_plain_name(const char *path) { return path[0] != '\0' && path[0] != '.' && !strchr(path, '/'); }

static ehis_err folder_open(struct disk *d, const char *path, bool create, struct disk_file **out)
{
    if (!is_plain_name(path))
        return EHIS_E_INVALID;
    struct folder_file *f = calloc(1, sizeof *f);
    if (!f)
        return EHIS_E_NO_MEMORY;
    f->file.ops = d->ops;
    f->fd = openat(folder_of(d)->fd, path, O_RDWR | O_CLOEXEC | O_NOFOLLOW | (create ? O_CREAT : 0), 0600);
    if (f->fd < 0) {
        ehis_err err = file_err_from_errno(errno);
        free(f);
        return err;
    }
    *out = &f->file;
    return EHIS_OK;
}

static void folder_close(struct disk_file *f)
{
    if (!f)
        return;
    close(file_of(f)->fd);
    free(file_of(f));
}

static ehis_err folder_read_at(struct disk_file *f, uint64_t offset, uint8_t *out, size_t n, size_t *got)
{
    size_t done = 0;
    while (done < n) {
        ssize_t r = pread(file_of(f)->fd, out + done, n - done, (off_t)(offset + done));
        if (r < 0 && errno == EINTR)
            continue;
        if (r < 0)
            return file_err_from_errno(errno);
        if (r == 0)
            break;
        done += (size_t)r;
    }
    *got = done;
    return EHIS_OK;
}

ehis_err file_write_at(int fd, uint64_t offset, const uint8_t *p, size_t n)
{
    while (n) {
        ssize_t r = pwrite(fd, p, n, (off_t)offset);
        if (r < 0 && errno == EINTR)
            continue;
        if (r <= 0)
            return r < 0 ? file_err_from_errno(errno) : EHIS_E_IO;
        p += r;
        offset += (uint64_t)r;
        n -= (size_t)r;
    }
    return EHIS_OK;
}

static ehis_err folder_write_at(struct disk_file *f, uint64_t offset, const uint8_t *p, size_t n)
{
    return file_of(f)->is_failed ? EHIS_E_IO : file_write_at(file_of(f)->fd, offset, p, n);
}

static ehis_err folder_sync(struct disk_file *f)
{
    if (file_of(f)->is_failed)
        return EHIS_E_IO;
    ehis_err err = result_of(fdatasync(file_of(f)->fd));
    file_of(f)->is_failed = err != EHIS_OK;
    return err;
}

static ehis_err folder_size(struct disk_file *f, uint64_t *bytes)
{
    struct stat st;
    EHIS_TRY(result_of(fstat(file_of(f)->fd, &st)));
    *bytes = (uint64_t)st.st_size;
    return EHIS_OK;
}

static ehis_err folder_truncate(struct disk_file *f, uint64_t bytes)
{
    return file_of(f)->is_failed ? EHIS_E_IO : result_of(ftruncate(file_of(f)->fd, (off_t)bytes));
}

static ehis_err folder_rename(struct disk *d, const char *from, const char *to)
{
    if (!is_plain_name(from) || !is_plain_name(to))
        return EHIS_E_INVALID;
    return result_of(renameat(folder_of(d)->fd, from, folder_of(d)->fd, to));
}

static ehis_err folder_remove(struct disk *d, const char *path)
{
    return is_plain_name(path) ? result_of(unlinkat(folder_of(d)->fd, path, 0)) : EHIS_E_INVALID;
}

static ehis_err folder_sync_dir(struct disk *d) { return result_of(fsync(folder_of(d)->fd)); }

static ehis_err folder_list(struct disk *d, void (*each)(void *ctx, const char *name), void *ctx)
{
    int fd = openat(folder_of(d)->fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
    if (!dir) {
        ehis_err err = file_err_from_errno(errno);
        if (fd >= 0)
            close(fd);
        return err;
    }
    errno = 0;
    for (struct dirent *e; (e = readdir(dir)); errno = 0)
        if (e->d_name[0] != '.')
            each(ctx, e->d_name);
    ehis_err err = errno ? file_err_from_errno(errno) : EHIS_OK;
    closedir(dir);
    return err;
}

static ehis_err folder_lock(struct disk *d, const char *path)
{
    struct folder *folder = folder_of(d);
    if (!is_plain_name(path))
        return EHIS_E_INVALID;
    if (folder->lock_fd >= 0)
        return EHIS_E_EXISTS;
    int fd = openat(folder->fd, path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return file_err_from_errno(errno);
    if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
        ehis_err err = errno == EWOULDBLOCK ? EHIS_E_LOCKED : file_err_from_errno(errno);
        close(fd);
        return err;
    }
    folder->lock_fd = fd;
    return EHIS_OK;
}

static ehis_err folder_free_bytes(struct disk *d, uint64_t *bytes)
{
    struct statvfs st;
    EHIS_TRY(result_of(fstatvfs(folder_of(d)->fd, &st)));
    *bytes = (uint64_t)st.f_bavail * st.f_frsize;
    return EHIS_OK;
}

static void folder_free(struct disk *d)
{
    if (folder_of(d)->lock_fd >= 0)
        close(folder_of(d)->lock_fd);
    close(folder_of(d)->fd);
    free(folder_of(d));
}

static const struct disk_ops folder_ops = {
    .open = folder_open, .close = folder_close, .read_at = folder_read_at, .write_at = folder_write_at, .sync = folder_sync,
    .size = folder_size, .truncate = folder_truncate, .rename = folder_rename, .remove = folder_remove, .sync_dir = folder_sync_dir,
    .list = folder_list, .lock = folder_lock, .free_bytes = folder_free_bytes, .free = folder_free,
};

ehis_err disk_open_folder(const char *folder, bool create, struct disk **out, struct ehis_why *why)
{
    struct folder *d = calloc(1, sizeof *d);
    if (!d)
        return EHIS_E_NO_MEMORY;
    d->disk.ops = &folder_ops;
    d->lock_fd = -1;
    bool is_made = create && mkdir(folder, 0700) == 0;
    bool is_refused = create && !is_made && errno != EEXIST;
    d->fd = is_refused ? -1 : open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    ehis_err err = EHIS_OK;
    if (d->fd < 0)
        err = ehis_fail(why, file_err_from_errno(errno), "%s: %m", folder);
    else if (is_made)
        err = file_sync_parent(folder, why); /* a folder that a crash takes away takes all its files along */
    if (err != EHIS_OK) {
        if (d->fd >= 0)
            close(d->fd);
        free(d);
        return err;
    }
    *out = &d->disk;
    return EHIS_OK;
}

void disk_free(struct disk *d)
{
    if (d)
        d->ops->free(d);
}
