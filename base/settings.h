/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* Settings: YAML by libyaml into one option table, which also yields --check, --print, the sample file and the reference page.
 * Unknown or duplicate key, wrong type or value out of bounds = file:line:column, with the nearest name. Every error of a file is
 * reported, not only the first (at most 20). Anchors, aliases, tags and several documents are refused. */
#pragma once
#include "base/bytes.h"
#include <stdio.h>

enum settings_type {
    SETTING_TEXT,     /* const char * */
    SETTING_PATH,     /* const char *, relative to the file's folder, made absolute */
    SETTING_BOOL,     /* bool: true or false */
    SETTING_COUNT,    /* uint64_t */
    SETTING_BYTES,    /* uint64_t; 64KiB, 1MiB, 2GiB or a plain number */
    SETTING_DURATION, /* uint64_t milliseconds; 500ms, 5s, 10m, 2h, 14d */
    SETTING_CHOICE,   /* const char *, one of choices ("a|b|c") */
    SETTING_LIST,     /* struct settings_list: texts */
    SETTING_PATHS,    /* struct settings_list: paths */
};
struct settings_list {
    size_t count;
    const char **items;
};
struct settings_option {
    const char *path; /* "journal.segment_bytes": nested mappings joined by dots */
    enum settings_type type;
    size_t offset; /* in the caller's struct */
    const char *default_text; /* as one would write it, a list's items with a space between; "" = none (texts, paths, lists: then
                                 empty is allowed whatever min says); NULL = required */
    uint64_t min, max;        /* for counts, bytes, ms; lengths of texts and lists. max 0: none of its own (4,096 bytes, 256 items) */
    const char *choices;      /* SETTING_CHOICE */
    bool is_reloadable;
    const char *sentence; /* one sentence, for the reference page */
};
struct settings_table {
    const char *title;
    const struct settings_option *options;
    size_t count;
    size_t struct_bytes;
};
struct settings; /* owns the strings that the caller's struct points to */

/* Parses a file into `into` (struct_bytes, overwritten whole, only on success). On failure SETTINGS (or what file_read answers, or
 * NO_MEMORY) and, through report (may be NULL), each error as "file:line:column: text" lines. At most 256 KiB, 256 options. */
ehis_err settings_load(const struct settings_table *t, const char *file, void *into, struct settings **out, struct buf *report) EHIS_MUST_USE;
ehis_err settings_parse(const struct settings_table *t, const char *file_name, struct span yaml, void *into, struct settings **out,
                        struct buf *report) EHIS_MUST_USE;
void settings_free(struct settings *s);
/* Options of a new state that differ but cannot be reloaded: their paths, one a line. Empty: the reload may be applied. */
ehis_err settings_diff_fixed(const struct settings_table *t, const void *old_values, const void *new_values, struct buf *out) EHIS_MUST_USE;
ehis_err settings_print(const struct settings_table *t, const void *values, struct buf *out) EHIS_MUST_USE; /* effective values as YAML */
ehis_err settings_sample(const struct settings_table *t, struct buf *out) EHIS_MUST_USE;                    /* commented sample file */
ehis_err settings_reference(const struct settings_table *t, struct buf *out) EHIS_MUST_USE;                 /* Markdown page */

/* One value alone, where it is no member of a file (a command line's options). COUNT, BYTES, DURATION: the number; CHOICE: the index
 * among its choices. INVALID with why. */
ehis_err settings_number(const struct settings_option *o, struct span text, uint64_t *out, struct ehis_why *why) EHIS_MUST_USE;
/* "1MiB to 16MiB", "one of a, b", "at least 3"; "" where there is no bound. */
ehis_err settings_put_bounds(const struct settings_option *o, struct buf *out) EHIS_MUST_USE;
