/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* The folder of the journal before there is a gateway: --check looks and makes nothing. */
#include "gateway/app/gateway.h"

#include <dirent.h>
#include <errno.h>
#include <linux/magic.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/vfs.h>
#include <unistd.h>

#ifndef CIFS_SUPER_MAGIC
#define CIFS_SUPER_MAGIC 0xFF534D42
#endif
#define LUSTRE_SUPER_MAGIC 0x0BD00BD0
#define GFS2_SUPER_MAGIC 0x01161970

/* Where a flush says nothing about another machine's disk, or a lock nothing about another machine. What else there is, is not known. */
static bool is_remote(long type)
{
    static const unsigned long remote[] = {NFS_SUPER_MAGIC, SMB_SUPER_MAGIC, SMB2_SUPER_MAGIC, CIFS_SUPER_MAGIC, CEPH_SUPER_MAGIC, AFS_SUPER_MAGIC, AFS_FS_MAGIC,
                                           CODA_SUPER_MAGIC, V9FS_MAGIC, OCFS2_SUPER_MAGIC, LUSTRE_SUPER_MAGIC, GFS2_SUPER_MAGIC};
    for (size_t i = 0; i < sizeof remote / sizeof *remote; i++)
        if ((unsigned long)type == remote[i])
            return true;
    return false;
}

/* The folder itself, or the one that it can be made in. */
static ehis_err usable_folder(const char *dir, char out[4200], struct ehis_why *why)
{
    struct stat st;
    int len = snprintf(out, 4200, "%s", dir);
    bool is_there = stat(dir, &st) == 0;
    if (len < 0 || len >= 4200 || (!is_there && errno != ENOENT))
        return ehis_fail(why, EHIS_E_JOURNAL_FOLDER, "%s: %m", dir);
    if (!is_there) {
        while (len > 1 && out[len - 1] == '/')
            out[--len] = 0;
        char *slash = strrchr(out, '/');
        if (!slash)
            memcpy(out, ".", 2);
        else
            slash[slash == out] = 0;
        if (stat(out, &st) != 0)
            return ehis_fail(why, EHIS_E_JOURNAL_FOLDER, "%s: %m", out);
    }
    if (!S_ISDIR(st.st_mode))
        return ehis_fail(why, EHIS_E_JOURNAL_FOLDER, "%s is no folder", out);
    if (access(out, R_OK | W_OK | X_OK) != 0)
        return ehis_fail(why, EHIS_E_JOURNAL_FOLDER, "%s: %m", out);
    return EHIS_OK;
}

/* Of segments that are there already: pre-written, they are only used again. */
static uint64_t held_bytes(const char *dir)
{
    uint64_t held = 0;
    struct stat st;
    DIR *d = opendir(dir);
    for (struct dirent *e; d && (e = readdir(d));) {
        const char *dot = strrchr(e->d_name, '.');
        if (dot && strcmp(dot, ".seg") == 0 && fstatat(dirfd(d), e->d_name, &st, 0) == 0)
            held += (uint64_t)st.st_blocks * 512;
    }
    if (d)
        closedir(d);
    return held;
}

ehis_err gateway_journal_check(const struct gateway_options *o, struct ehis_why *why)
{
    char folder[4200];
    struct statfs fs;
    struct statvfs space;
    EHIS_TRY(usable_folder(o->journal_dir, folder, why));
    if (statfs(folder, &fs) != 0 || statvfs(folder, &space) != 0)
        return ehis_fail(why, EHIS_E_JOURNAL_FOLDER, "%s: %m", folder);
    if (is_remote((long)fs.f_type))
        return ehis_fail(why, EHIS_E_JOURNAL_NOT_LOCAL, "%s", folder);
    uint64_t free_bytes = (uint64_t)space.f_bavail * space.f_frsize, held = held_bytes(o->journal_dir), wanted = 0;
    if (__builtin_mul_overflow(o->segment_bytes, o->segment_count_max, &wanted) || __builtin_add_overflow(wanted, o->journal_reserve_bytes, &wanted))
        wanted = UINT64_MAX;
    if (wanted > held && wanted - held > free_bytes)
        return ehis_fail(why, EHIS_E_JOURNAL_SPACE, "%s: journal.segments_max of journal.segment_bytes and journal.reserve_bytes need %llu bytes more, %llu are free",
                         folder, (unsigned long long)(wanted - held), (unsigned long long)free_bytes);
    return EHIS_OK;
}
