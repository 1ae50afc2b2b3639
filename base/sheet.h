/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* One YAML file as nodes that know their places. UTF-8, one document, no anchors, aliases or tags; at most 65,536 nodes, 8 levels.
 * What is wrong goes into a report as "file:line:column: text" lines, at most 20. One thread. */
#pragma once
#include "base/bytes.h"
#include "base/owned.h"

#define SHEET_ERRORS_MAX 20

enum sheet_kind { SHEET_TEXT, SHEET_LIST, SHEET_MAP };
struct sheet_node {
    enum sheet_kind kind;
    struct span text; /* of SHEET_TEXT; a NUL stands behind it */
    struct span key;  /* of a value in a map; a NUL stands behind it */
    bool is_quoted;   /* the text */
    uint32_t line, column, key_line, key_column; /* from 1; columns count characters */
    struct sheet_node *first, *next;
};
struct sheet {
    char *file;
    struct sheet_node *root; /* a map; of an empty file an empty one */
    struct sheet_node empty;
    struct owned owned;
    struct sheet *next; /* for the owner's lists */
};
struct sheet_report {
    struct buf text;
    unsigned errors;
    bool is_short_of_memory;
};
void sheet_report_init(struct sheet_report *r);
void sheet_report_fini(struct sheet_report *r);
/* The place of a value's key. */
static inline struct sheet_node sheet_key(const struct sheet_node *n) { return (struct sheet_node){.line = n->key_line, .column = n->key_column}; }
/* node may be NULL: the file as a whole. */
void sheet_complain(struct sheet_report *r, const struct sheet *s, const struct sheet_node *node, const char *fmt, ...) EHIS_PRINTF(4, 5);

/* NULL where the file is broken, which the report says. */
struct sheet *sheet_parse(const char *file, struct span yaml, size_t max_bytes, struct sheet_report *r);
void sheet_free(struct sheet *s);

/* The values of a map by name; "a|b" is one name with two spellings. Unknown (with the nearest), doubled and missing keys are reported;
 * values[i] is NULL for what is absent. required: bit i. False where something is wrong. */
bool sheet_map(struct sheet_report *r, const struct sheet *s, const struct sheet_node *map, const char *const *names, size_t count, unsigned required,
               const struct sheet_node **values);
/* A single text of 1 to max bytes; reported otherwise. NULL gives an empty span and true. */
bool sheet_text(struct sheet_report *r, const struct sheet *s, const struct sheet_node *node, const char *name, size_t max, struct span *out);
/* A list, or one text in the place of a list of one: its first node and count. */
bool sheet_list(struct sheet_report *r, const struct sheet *s, const struct sheet_node *node, const char *name, size_t max, const struct sheet_node **first,
                size_t *count);
/* A whole number up to max; a date or time, as unix ms over 0. Reported otherwise, or *out untouched where node is NULL; false where reported. */
bool sheet_number(struct sheet_report *r, const struct sheet *s, const struct sheet_node *node, const char *name, uint64_t max, uint64_t *out);
bool sheet_time(struct sheet_report *r, const struct sheet *s, const struct sheet_node *node, const char *name, int64_t *unix_ms);
/* One of two words: *is_second. */
bool sheet_either(struct sheet_report *r, const struct sheet *s, const struct sheet_node *node, const char *name, const char *first, const char *second, bool *is_second);
