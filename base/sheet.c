/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
#include "base/sheet.h"
#include "base/clock.h"
#include <stdio.h>
#include <stdlib.h>
#include <yaml.h>

#define NODES_MAX 65536
#define DEPTH_MAX 8
#define NAMES_MAX 16
#define NAME_MAX_BYTES 64
#define SHOWN(s) ((s).len < 64 ? (int)(s).len : 64), (const char *)(s).p

void sheet_report_init(struct sheet_report *r)
{
    *r = (struct sheet_report){0};
    buf_init(&r->text, 32 * 1024);
}

void sheet_report_fini(struct sheet_report *r) { buf_fini(&r->text); }

void sheet_complain(struct sheet_report *r, const struct sheet *s, const struct sheet_node *node, const char *fmt, ...)
{
    struct ehis_why clean;
    char text[sizeof clean.text];
    va_list args;
    if (++r->errors > SHEET_ERRORS_MAX)
        return;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    ehis_fail(&clean, EHIS_E_SETTINGS, "%s", text);
    if (buf_printf(&r->text, "%s:%u:%u: %s\n", s->file, node ? node->line : 1, node ? node->column : 1, clean.text) != EHIS_OK)
        r->errors = SHEET_ERRORS_MAX; /* full: the first say enough */
}

void sheet_free(struct sheet *s)
{
    if (!s)
        return;
    owned_fini(&s->owned);
    free(s->file);
    free(s);
}

struct walk {
    struct sheet *sheet;
    struct sheet_report *report;
    yaml_parser_t yaml;
    yaml_event_t event;
    struct span source;
    size_t nodes;
};

static struct sheet_node place(yaml_mark_t at)
{
    return (struct sheet_node){.line = (uint32_t)at.line + 1, .column = (uint32_t)at.column + 1};
}

/* Line and column of a byte: what libyaml does not tell of bytes that are not UTF-8. */
static struct sheet_node place_of_byte(struct span text, size_t offset)
{
    struct sheet_node at = {.line = 1, .column = 1};
    for (size_t i = 0; i < offset && i < text.len; i++) {
        at.column = text.p[i] == '\n' ? 1 : at.column + ((text.p[i] & 0xC0) != 0x80);
        at.line += text.p[i] == '\n';
    }
    return at;
}

static bool next(struct walk *w)
{
    yaml_event_delete(&w->event);
    memset(&w->event, 0, sizeof w->event);
    if (yaml_parser_parse(&w->yaml, &w->event))
        return true;
    struct sheet_node at =
        w->yaml.error == YAML_READER_ERROR ? place_of_byte(w->source, w->yaml.problem_offset) : place(w->yaml.problem_mark);
    if (w->yaml.error == YAML_MEMORY_ERROR)
        w->report->is_short_of_memory = true;
    sheet_complain(w->report, w->sheet, &at, "%s%s%s", w->yaml.problem ? w->yaml.problem : "not YAML", w->yaml.context ? ", " : "",
                   w->yaml.context ? w->yaml.context : "");
    return false;
}

static bool refuse(struct walk *w, const char *what)
{
    struct sheet_node at = place(w->event.start_mark);
    sheet_complain(w->report, w->sheet, &at, "%s", what);
    return false;
}

static bool copy_text(struct walk *w, struct span *out)
{
    size_t len = w->event.data.scalar.length;
    uint8_t *p = owned_new(&w->sheet->owned, len + 1, 1);
    if (!p) {
        w->report->is_short_of_memory = true;
        return false;
    }
    memcpy(p, w->event.data.scalar.value, len);
    *out = span_of(p, len);
    if (memchr(p, 0, len))
        return refuse(w, "a NUL in a text");
    return true;
}

/* What a file says stands where it is read. */
static bool is_simple(struct walk *w)
{
    const yaml_event_t *e = &w->event;
    const yaml_char_t *anchor = NULL, *tag = NULL;
    if (e->type == YAML_ALIAS_EVENT)
        return refuse(w, "aliases are not allowed here");
    if (e->type == YAML_SCALAR_EVENT) {
        anchor = e->data.scalar.anchor;
        tag = e->data.scalar.tag;
    } else if (e->type == YAML_MAPPING_START_EVENT) {
        anchor = e->data.mapping_start.anchor;
        tag = e->data.mapping_start.tag;
    } else if (e->type == YAML_SEQUENCE_START_EVENT) {
        anchor = e->data.sequence_start.anchor;
        tag = e->data.sequence_start.tag;
    }
    return !anchor && !tag ? true : refuse(w, anchor ? "anchors are not allowed here" : "tags are not allowed here");
}

/* The node that begins with the current event. */
static struct sheet_node *read_node(struct walk *w, unsigned depth)
{
    if (!is_simple(w))
        return NULL;
    if (depth > DEPTH_MAX || ++w->nodes > NODES_MAX) {
        refuse(w, depth > DEPTH_MAX ? "nested too deep" : "too many values in one file");
        return NULL;
    }
    struct sheet_node *n = owned_new(&w->sheet->owned, 1, sizeof *n), **at;
    if (!n) {
        w->report->is_short_of_memory = true;
        return NULL;
    }
    *n = place(w->event.start_mark);
    if (w->event.type == YAML_SCALAR_EVENT) {
        n->is_quoted = w->event.data.scalar.style != YAML_PLAIN_SCALAR_STYLE;
        return copy_text(w, &n->text) ? n : NULL;
    }
    n->kind = w->event.type == YAML_MAPPING_START_EVENT ? SHEET_MAP : SHEET_LIST;
    for (at = &n->first;; at = &(*at)->next) {
        struct span key = {0};
        if (!next(w))
            return NULL;
        struct sheet_node key_at = place(w->event.start_mark);
        if (w->event.type == YAML_MAPPING_END_EVENT || w->event.type == YAML_SEQUENCE_END_EVENT)
            return n;
        if (n->kind == SHEET_MAP) {
            if (!is_simple(w) || (w->event.type != YAML_SCALAR_EVENT && !refuse(w, "a key must be a word")) || !copy_text(w, &key) ||
                !next(w))
                return NULL;
        }
        *at = read_node(w, depth + 1);
        if (!*at)
            return NULL;
        (*at)->key = key;
        (*at)->key_line = key_at.line;
        (*at)->key_column = key_at.column;
    }
}

static bool read_document(struct walk *w)
{
    if (!next(w) || !next(w)) /* the stream's begin, the document's */
        return false;
    w->sheet->root = &w->sheet->empty;
    if (w->event.type == YAML_STREAM_END_EVENT)
        return true;
    if (!next(w) || !(w->sheet->root = read_node(w, 0)))
        return false;
    if (w->sheet->root->kind == SHEET_TEXT && !w->sheet->root->is_quoted && w->sheet->root->text.len == 0)
        w->sheet->root = &w->sheet->empty;
    if (w->sheet->root->kind != SHEET_MAP) {
        sheet_complain(w->report, w->sheet, w->sheet->root, "the file must hold keys with values");
        return false;
    }
    return next(w) && next(w) && (w->event.type == YAML_STREAM_END_EVENT || refuse(w, "a second document is not allowed"));
}

struct sheet *sheet_parse(const char *file, struct span yaml, size_t max_bytes, struct sheet_report *r)
{
    struct walk w = {.report = r, .source = yaml};
    bool is_read = false;
    size_t bad_at;
    w.sheet = calloc(1, sizeof *w.sheet);
    if (!w.sheet || !(w.sheet->file = strdup(file)) || !yaml_parser_initialize(&w.yaml)) {
        r->is_short_of_memory = true;
        sheet_free(w.sheet);
        return NULL;
    }
    w.sheet->empty = (struct sheet_node){.kind = SHEET_MAP, .line = 1, .column = 1};
    if (yaml.len > max_bytes) {
        sheet_complain(r, w.sheet, NULL, "more than %zu bytes", max_bytes);
    } else if (!utf8_is_valid(yaml, &bad_at)) {
        struct sheet_node at = place_of_byte(yaml, bad_at);
        sheet_complain(r, w.sheet, &at, "not UTF-8 without NUL");
    } else {
        yaml_parser_set_encoding(&w.yaml, YAML_UTF8_ENCODING);
        yaml_parser_set_input_string(&w.yaml, yaml.p ? yaml.p : (const uint8_t *)"", yaml.len);
        is_read = read_document(&w);
    }
    yaml_event_delete(&w.event);
    yaml_parser_delete(&w.yaml);
    if (is_read)
        return w.sheet;
    sheet_free(w.sheet);
    return NULL;
}

/* Does name ("a|b") spell this key? */
static bool spells(const char *name, struct span key)
{
    for (const char *end;; name = end + 1) {
        end = strchr(name, '|');
        size_t len = end ? (size_t)(end - name) : strlen(name);
        if (span_eq(span_of(name, len), key))
            return true;
        if (!end)
            return false;
    }
}

static void complain_unknown(struct sheet_report *r, const struct sheet *s, const struct sheet_node *key_at, struct span key,
                             const char *const *names, size_t count)
{
    char firsts[NAMES_MAX][NAME_MAX_BYTES];
    const char *list[NAMES_MAX];
    for (size_t i = 0; i < count; i++) {
        size_t len = strcspn(names[i], "|");
        EHIS_ASSERT(len < NAME_MAX_BYTES);
        memcpy(firsts[i], names[i], len);
        firsts[i][len] = '\0';
        list[i] = firsts[i];
    }
    const char *near = nearest_name(key, list, count);
    sheet_complain(r, s, key_at, near ? "unknown key \"%.*s\"; did you mean \"%s\"?" : "unknown key \"%.*s\"%s", SHOWN(key),
                   near ? near : "");
}

bool sheet_map(struct sheet_report *r, const struct sheet *s, const struct sheet_node *map, const char *const *names, size_t count,
               unsigned required, const struct sheet_node **values)
{
    unsigned before = r->errors;
    EHIS_ASSERT(count <= NAMES_MAX);
    memset(values, 0, count * sizeof(*values));
    if (map->kind != SHEET_MAP) {
        sheet_complain(r, s, map, "keys with values must stand here");
        return false;
    }
    for (const struct sheet_node *n = map->first; n; n = n->next) {
        struct sheet_node key_at = sheet_key(n);
        size_t i = 0;
        while (i < count && !spells(names[i], n->key))
            i++;
        if (i == count)
            complain_unknown(r, s, &key_at, n->key, names, count);
        else if (values[i])
            sheet_complain(r, s, &key_at, "\"%.*s\" stands here twice", SHOWN(n->key));
        else
            values[i] = n;
    }
    for (size_t i = 0; i < count; i++)
        if (!values[i] && required >> i & 1)
            sheet_complain(r, s, map, "\"%.*s\" is missing", (int)strcspn(names[i], "|"), names[i]);
    return r->errors == before;
}

bool sheet_text(struct sheet_report *r, const struct sheet *s, const struct sheet_node *node, const char *name, size_t max,
                struct span *out)
{
    *out = (struct span){0};
    if (!node)
        return true;
    if (node->kind != SHEET_TEXT || node->text.len == 0 || node->text.len > max) {
        sheet_complain(r, s, node, "\"%s\" must be a text of 1 to %zu bytes", name, max);
        return false;
    }
    *out = node->text;
    return true;
}

bool sheet_list(struct sheet_report *r, const struct sheet *s, const struct sheet_node *node, const char *name, size_t max,
                const struct sheet_node **first, size_t *count)
{
    *first = NULL;
    *count = 0;
    if (!node)
        return true;
    if (node->kind == SHEET_MAP) {
        sheet_complain(r, s, node, "\"%s\" must be a list", name);
        return false;
    }
    *first = node->kind == SHEET_TEXT ? node : node->first;
    for (const struct sheet_node *n = *first; n; n = node->kind == SHEET_TEXT ? NULL : n->next)
        ++*count;
    if (*count > max) {
        sheet_complain(r, s, node, "\"%s\" has more than %zu items", name, max);
        return false;
    }
    return true;
}

bool sheet_number(struct sheet_report *r, const struct sheet *s, const struct sheet_node *node, const char *name, uint64_t max, uint64_t *out)
{
    if (!node || (node->kind == SHEET_TEXT && decimal_from_text(node->text, max, out) == EHIS_OK))
        return true;
    sheet_complain(r, s, node, "\"%s\" must be a number up to %llu", name, (unsigned long long)max);
    return false;
}

bool sheet_time(struct sheet_report *r, const struct sheet *s, const struct sheet_node *node, const char *name, int64_t *unix_ms)
{
    int64_t ms;
    if (node && (node->kind != SHEET_TEXT || time_from_text(node->text, &ms) != EHIS_OK || ms <= 0)) {
        sheet_complain(r, s, node, "\"%s\" must be a date or a time with offset, such as 2026-12-01 or 2026-12-01T08:00:00+04:00", name);
        return false;
    }
    if (node)
        *unix_ms = ms;
    return true;
}

bool sheet_either(struct sheet_report *r, const struct sheet *s, const struct sheet_node *node, const char *name, const char *first, const char *second, bool *is_second)
{
    bool is_either = false;
    if (node && node->kind == SHEET_TEXT) {
        *is_second = span_eq(node->text, span_str(second));
        is_either = *is_second || span_eq(node->text, span_str(first));
    }
    if (node && !is_either)
        sheet_complain(r, s, node, "\"%s\" must be %s or %s", name, first, second);
    return !node || is_either;
}
