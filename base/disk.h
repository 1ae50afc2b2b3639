/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* The disk behind an interface: everything durable (journal, archive, SDK state) goes through it, so that a simulated disk can
 * lose, tear and refuse. A path is one plain name in the folder that the disk was opened on (no "/", no leading ".": INVALID);
 * a folder below is a disk of its own. Blocking; one thread at a time. Calls go through d->ops and f->ops. */
#pragma once
#include "base/bytes.h"

struct disk;      /* a folder */
struct disk_file; /* an open file */

struct disk_ops {
    /* Opens for reading and writing; create: makes it (0600) where absent, NOT_FOUND otherwise. */
    ehis_err (*open)(struct disk *d, const char *path, bool create, struct disk_file **out);
    void (*close)(struct disk_file *f);
    ehis_err (*read_at)(struct disk_file *f, uint64_t offset, uint8_t *out, size_t n, size_t *got); /* short only at the end */
    ehis_err (*write_at)(struct disk_file *f, uint64_t offset, const uint8_t *p, size_t n);         /* whole or error */
    ehis_err (*sync)(struct disk_file *f); /* fdatasync; an error is final for this file: never retried */
    ehis_err (*size)(struct disk_file *f, uint64_t *bytes);
    ehis_err (*truncate)(struct disk_file *f, uint64_t bytes);
    ehis_err (*rename)(struct disk *d, const char *from, const char *to); /* replaces; durable only after sync_dir */
    ehis_err (*remove)(struct disk *d, const char *path);
    ehis_err (*sync_dir)(struct disk *d);
    ehis_err (*list)(struct disk *d, void (*each)(void *ctx, const char *name), void *ctx); /* any order, no dot files */
    ehis_err (*lock)(struct disk *d, const char *path); /* exclusive, for the life of d, one a disk; LOCKED where another holds it */
    ehis_err (*free_bytes)(struct disk *d, uint64_t *bytes);
    void (*free)(struct disk *d);
};
struct disk { const struct disk_ops *ops; };
struct disk_file { const struct disk_ops *ops; };

/* A real folder; create: makes it (0700) where absent. Errors say the path in why. */
ehis_err disk_open_folder(const char *folder, bool create, struct disk **out, struct ehis_why *why) EHIS_MUST_USE;
void disk_free(struct disk *d);

/* Reads a whole file of at most max bytes from any path: settings, keys, certificates. NOT_FOUND, PERMISSION, TOO_LARGE, IO. */
ehis_err file_read(const char *path, size_t max, struct buf *out, struct ehis_why *why) EHIS_MUST_USE;
/* Writes whole and durably: temporary file beside it (mode), fsync, rename, directory fsync. */
ehis_err file_write(const char *path, struct span content, unsigned mode, struct ehis_why *why) EHIS_MUST_USE;
/* PERMISSION where group or others have any right to the file (secrets). */
ehis_err file_check_private(const char *path, struct ehis_why *why) EHIS_MUST_USE;
