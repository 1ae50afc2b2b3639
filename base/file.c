/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* Whole files at any path. */
#include "base/file_priv.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define READ_STEP_BYTES (16 * 1024)

static ehis_err fail_errno(struct ehis_why *why, const char *path)
{
    return ehis_fail(why, file_err_from_errno(errno), "%s: %m", path);
}

static ehis_err read_all(int fd, const char *path, size_t max, struct buf *out, struct ehis_why *why)
{
    size_t total = 0;
    for (;;) {
        /* One byte more than may come, so that a longer file is found; in out itself only what may stand there. */
        size_t left = max - total < out->max - out->len ? max - total : out->max - out->len;
        size_t step = left < READ_STEP_BYTES ? left : READ_STEP_BYTES;
        uint8_t over, *room = &over;
        if (step)
            EHIS_TRY(buf_reserve(out, step, &room));
        ssize_t got = read(fd, room, step ? step : 1);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return fail_errno(why, path);
        if (got == 0)
            return EHIS_OK;
        if (!step)
            return ehis_fail(why, EHIS_E_TOO_LARGE, "%s: more than %zu bytes", path, total);
        buf_commit(out, (size_t)got);
        total += (size_t)got;
    }
}

ehis_err file_read(const char *path, size_t max, struct buf *out, struct ehis_why *why)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return fail_errno(why, path);
    size_t before = out->len;
    ehis_err err = read_all(fd, path, max, out, why);
    if (err != EHIS_OK) {
        if (out->is_secret && out->len > before)
            explicit_bzero(out->p + out->start + before, out->len - before);
        out->len = before;
    }
    close(fd);
    return err;
}

ehis_err file_sync_parent(const char *path, struct ehis_why *why)
{
    size_t len = strlen(path);
    while (len > 1 && path[len - 1] == '/') /* "a/b/" lies in "a" */
        len--;
    while (len > 0 && path[len - 1] != '/')
        len--;
    while (len > 1 && path[len - 1] == '/')
        len--;
    char *folder = len ? strndup(path, len) : strdup(".");
    if (!folder)
        return EHIS_E_NO_MEMORY;
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    ehis_err err = fd < 0 || fsync(fd) != 0 ? fail_errno(why, folder) : EHIS_OK;
    if (fd >= 0)
        close(fd);
    free(folder);
    return err;
}

ehis_err file_write(const char *path, struct span content, unsigned mode, struct ehis_why *why)
{
    char *temporary = NULL;
    int fd = -1;
    ehis_err err = EHIS_E_NO_MEMORY;
    if (asprintf(&temporary, "%s.XXXXXX", path) < 0) {
        temporary = NULL;
        goto out;
    }
    fd = mkostemp(temporary, O_CLOEXEC); /* 0600 until its content stands */
    if (fd < 0) {
        err = fail_errno(why, path);
        goto out;
    }
    err = file_write_at(fd, 0, content.p, content.len);
    if (err != EHIS_OK) {
        ehis_fail(why, err, "%s: %m", path);
        goto out;
    }
    if (fchmod(fd, mode) != 0 || fsync(fd) != 0 || rename(temporary, path) != 0) {
        err = fail_errno(why, path);
        goto out;
    }
    temporary[0] = '\0'; /* it is path now */
    err = file_sync_parent(path, why);
out:
    if (fd >= 0) {
        close(fd);
        if (temporary[0] != '\0')
            unlink(temporary);
    }
    free(temporary);
    return err;
}

ehis_err file_check_private(const char *path, struct ehis_why *why)
{
    struct stat st;
    if (stat(path, &st) != 0)
        return fail_errno(why, path);
    if (st.st_mode & 077)
        return ehis_fail(why, EHIS_E_PERMISSION, "%s: others than its owner can use it (mode %04o); chmod 600 it", path,
                         (unsigned)(st.st_mode & 07777));
    return EHIS_OK;
}
