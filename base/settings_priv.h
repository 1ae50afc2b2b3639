/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* What the files of settings share: the memory that values live in, and values from and to text. */
#pragma once
#include "base/owned.h"
#include "base/settings.h"

#define SETTINGS_FILE_BYTES (256 * 1024)
#define SETTINGS_TEXT_BYTES 4096 /* of one text */
#define SETTINGS_LIST_ITEMS 256
#define SETTINGS_PATH_BYTES 128 /* of an option's path */

struct settings {
    struct owned owned;
    char *folder; /* that relative paths begin in */
};

static inline bool settings_is_list(const struct settings_option *o) { return o->type == SETTING_LIST || o->type == SETTING_PATHS; }
static inline struct span settings_span_until(const char *s, char end) { const char *e = strchr(s, end); return span_of(s, e ? (size_t)(e - s) : strlen(s)); }

/* The field of o from the text of one scalar, or of the items of a list. INVALID or TOO_LARGE with why; NO_MEMORY. */
ehis_err settings_set(struct settings *s, const struct settings_option *o, struct span text, bool is_quoted, void *values,
                      struct ehis_why *why) EHIS_MUST_USE;
ehis_err settings_set_list(struct settings *s, const struct settings_option *o, const struct span *items, size_t count, void *values,
                           struct ehis_why *why) EHIS_MUST_USE;
ehis_err settings_set_default(struct settings *s, const struct settings_option *o, void *values, struct ehis_why *why) EHIS_MUST_USE;
/* A value as one would write it. */
ehis_err settings_put_value(const struct settings_option *o, const void *values, struct buf *out) EHIS_MUST_USE;
bool settings_value_is_equal(const struct settings_option *o, const void *a, const void *b);
/* Index of the first option whose path is `path` or begins with `path` and a dot; count where there is none. */
size_t settings_find(const struct settings_table *t, struct span path);
