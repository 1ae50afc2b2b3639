/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* Settings: the walk over libyaml's events, and the places of errors. */
#include "base/settings_priv.h"
#include "base/disk.h"
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <yaml.h>

#define MAX_ERRORS 20
#define MAX_OPTIONS 256

struct parse {
    const struct settings_table *table;
    const char *file;
    yaml_parser_t yaml;
    yaml_event_t event; /* the current one */
    struct settings *settings;
    void *values;
    uint16_t *seen; /* for each option: bit n = the key of depth n that leads to it first was read */
    unsigned errors;
    ehis_err fatal; /* NO_MEMORY */
    struct buf *report;
};

size_t settings_find(const struct settings_table *t, struct span path)
{
    for (size_t i = 0; i < t->count; i++) {
        const char *name = t->options[i].path;
        if (strncmp(name, (const char *)path.p, path.len) == 0 && (name[path.len] == '\0' || name[path.len] == '.'))
            return i;
    }
    return t->count;
}

static void complain(struct parse *p, yaml_mark_t at, const char *fmt, ...) EHIS_PRINTF(3, 4);
static void complain(struct parse *p, yaml_mark_t at, const char *fmt, ...)
{
    char text[sizeof((struct ehis_why *)0)->text];
    struct ehis_why clean;
    va_list args;
    if (++p->errors > MAX_ERRORS || !p->report)
        return;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    ehis_fail(&clean, EHIS_E_SETTINGS, "%s", text);
    if (buf_printf(p->report, "%s:%zu:%zu: %s\n", p->file, at.line + 1, at.column + 1, clean.text) != EHIS_OK)
        p->report = NULL; /* full: the first errors say enough */
}

/* Line and column (in characters) of a byte. */
static yaml_mark_t mark_of(struct span text, size_t offset)
{
    yaml_mark_t mark = {.index = offset};
    for (size_t i = 0; i < offset && i < text.len; i++) {
        if (text.p[i] == '\n') {
            mark.line++;
            mark.column = 0;
        } else if ((text.p[i] & 0xC0) != 0x80) {
            mark.column++;
        }
    }
    return mark;
}

/* The next event; false where the text is broken, which has been reported. */
static bool next(struct parse *p)
{
    yaml_event_delete(&p->event);
    if (p->fatal == EHIS_OK && yaml_parser_parse(&p->yaml, &p->event))
        return true;
    const char *problem = p->yaml.problem ? p->yaml.problem : "not YAML";
    yaml_mark_t at = p->yaml.problem_mark;
    memset(&p->event, 0, sizeof p->event);
    if (p->yaml.error == YAML_MEMORY_ERROR)
        p->fatal = EHIS_E_NO_MEMORY;
    if (p->fatal == EHIS_OK && p->yaml.error == YAML_READER_ERROR) /* it knows the offset alone */
        at = mark_of(span_of(p->yaml.input.string.start, (size_t)(p->yaml.input.string.end - p->yaml.input.string.start)),
                     p->yaml.problem_offset);
    if (p->fatal == EHIS_OK && p->yaml.context)
        complain(p, at, "%s (%s)", problem, p->yaml.context);
    else if (p->fatal == EHIS_OK)
        complain(p, at, "%s", problem);
    return false;
}

/* Passes over the node whose first event is the current one. */
static bool skip(struct parse *p)
{
    for (size_t depth = 0;;) {
        yaml_event_type_t type = p->event.type;
        depth += type == YAML_MAPPING_START_EVENT || type == YAML_SEQUENCE_START_EVENT;
        depth -= type == YAML_MAPPING_END_EVENT || type == YAML_SEQUENCE_END_EVENT;
        if (depth == 0)
            return true;
        if (!next(p))
            return false;
    }
}

/* Anchors, aliases and tags are refused: what a file says stands where it is read. */
static bool is_simple(struct parse *p)
{
    const yaml_event_t *e = &p->event;
    const yaml_char_t *anchor = NULL, *tag = NULL;
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
    if (e->type == YAML_ALIAS_EVENT || anchor || tag)
        complain(p, e->start_mark, "%s not allowed here", e->type == YAML_ALIAS_EVENT ? "aliases are" : anchor ? "anchors are" : "tags are");
    return e->type != YAML_ALIAS_EVENT && !anchor && !tag;
}

static struct span scalar(const struct parse *p) { return span_of(p->event.data.scalar.value, p->event.data.scalar.length); }
static bool is_plain(const struct parse *p) { return p->event.data.scalar.style == YAML_PLAIN_SCALAR_STYLE; }

static void take(struct parse *p, yaml_mark_t at, ehis_err err, const struct ehis_why *why)
{
    if (err == EHIS_E_NO_MEMORY)
        p->fatal = err;
    else if (err != EHIS_OK)
        complain(p, at, "%s", why->text);
}

static bool read_list(struct parse *p, const struct settings_option *o)
{
    struct span items[SETTINGS_LIST_ITEMS];
    struct ehis_why why = {""};
    yaml_mark_t begin = p->event.start_mark;
    size_t count = 0;
    unsigned before = p->errors;
    for (;;) {
        if (!next(p))
            return false;
        yaml_mark_t at = p->event.start_mark;
        if (p->event.type == YAML_SEQUENCE_END_EVENT)
            break;
        bool is_text = is_simple(p) && p->event.type == YAML_SCALAR_EVENT;
        if (!is_text && before == p->errors)
            complain(p, at, "\"%s\" must be a list of texts", o->path);
        if (is_text && count < SETTINGS_LIST_ITEMS) {
            struct span s = scalar(p);
            char *copy = settings_own(p->settings, s.len + 1); /* the event ends before the list does */
            if (!copy)
                p->fatal = EHIS_E_NO_MEMORY;
            else if (s.len)
                memcpy(copy, s.p, s.len);
            items[count++] = span_of(copy, copy ? s.len : 0);
        } else if (is_text && before == p->errors) {
            complain(p, at, "\"%s\" has more than %d items", o->path, SETTINGS_LIST_ITEMS);
        }
        if (!skip(p))
            return false;
    }
    if (before == p->errors && p->fatal == EHIS_OK)
        take(p, begin, settings_set_list(p->settings, o, items, count, p->values, &why), &why);
    return true;
}

static bool read_option(struct parse *p, const struct settings_option *o)
{
    struct ehis_why why = {""};
    if (!is_simple(p))
        return skip(p);
    if (p->event.type == YAML_SEQUENCE_START_EVENT && settings_is_list(o))
        return read_list(p, o);
    if (p->event.type == YAML_SCALAR_EVENT)
        take(p, p->event.start_mark, settings_set(p->settings, o, scalar(p), !is_plain(p), p->values, &why), &why);
    else
        complain(p, p->event.start_mark, "\"%s\" must be %s", o->path, settings_is_list(o) ? "a list of texts" : "a single value");
    return skip(p);
}

/* "did you mean": a near key in this mapping, or the same key elsewhere. */
static void complain_unknown(struct parse *p, struct span prefix, struct span key)
{
    char names[MAX_OPTIONS][64];
    const char *list[MAX_OPTIONS], *near = NULL, *elsewhere = NULL;
    size_t count = 0;
    for (size_t i = 0; i < p->table->count && i < MAX_OPTIONS; i++) {
        const char *path = p->table->options[i].path, *last = strrchr(path, '.');
        if (last && span_eq(span_str(last + 1), key))
            elsewhere = path;
        if (strncmp(path, (const char *)prefix.p, prefix.len) != 0)
            continue;
        struct span name = settings_span_until(path + prefix.len, '.');
        EHIS_ASSERT(name.len < sizeof names[0]);
        memcpy(names[count], name.p, name.len);
        names[count][name.len] = '\0';
        list[count] = names[count];
        count++;
    }
    near = nearest_name(key, list, count);
    int shown = key.len < 64 ? (int)key.len : 64;
    if (near || elsewhere)
        complain(p, p->event.start_mark, "unknown key \"%.*s\"; did you mean \"%.*s%s\"?", shown, (const char *)key.p, near ? (int)prefix.len : 0,
                 (const char *)prefix.p, near ? near : elsewhere);
    else
        complain(p, p->event.start_mark, "unknown key \"%.*s\"", shown, (const char *)key.p);
}

/* Reads the key that is the current event behind path (of `used` bytes, its last a dot). The option or section's first option, or
 * count where the key was refused; *used = the path's new length. */
static size_t read_key(struct parse *p, char path[SETTINGS_PATH_BYTES], size_t *used, unsigned depth)
{
    const struct settings_table *t = p->table;
    if (!is_simple(p))
        return t->count;
    if (p->event.type != YAML_SCALAR_EVENT) {
        complain(p, p->event.start_mark, "a key must be a word");
        return t->count;
    }
    struct span key = scalar(p);
    size_t at = t->count, len = *used + key.len;
    if (key.len && len < SETTINGS_PATH_BYTES && !memchr(key.p, '.', key.len) && !memchr(key.p, '\0', key.len)) {
        memcpy(path + *used, key.p, key.len);
        at = settings_find(t, span_of(path, len));
    }
    if (at == t->count) {
        complain_unknown(p, span_of(path, *used), key);
    } else if (p->seen[at] & 1u << depth) {
        complain(p, p->event.start_mark, "\"%.*s\" stands here twice", (int)len, path);
        at = t->count;
    } else {
        p->seen[at] |= (uint16_t)(1u << depth);
        *used = len;
    }
    return at;
}

static bool read_mapping(struct parse *p, char path[SETTINGS_PATH_BYTES], size_t used, unsigned depth)
{
    for (;;) {
        if (!next(p))
            return false;
        if (p->event.type == YAML_MAPPING_END_EVENT)
            return true;
        size_t len = used, at = read_key(p, path, &len, depth);
        if (!skip(p) || !next(p))
            return false;
        bool is_ok;
        if (at == p->table->count) {
            is_ok = skip(p);
        } else if (p->table->options[at].path[len] == '\0') {
            is_ok = read_option(p, &p->table->options[at]);
        } else if (!is_simple(p)) {
            is_ok = skip(p);
        } else if (p->event.type == YAML_MAPPING_START_EVENT) {
            EHIS_ASSERT(depth < 15 && len + 1 < SETTINGS_PATH_BYTES);
            path[len] = '.';
            is_ok = read_mapping(p, path, len + 1, depth + 1);
        } else {
            /* A section whose every line is a comment is empty, not wrong. */
            if (p->event.type != YAML_SCALAR_EVENT || !is_plain(p) || scalar(p).len)
                complain(p, p->event.start_mark, "\"%.*s\" must hold keys below it", (int)len, path);
            is_ok = skip(p);
        }
        if (!is_ok)
            return false;
    }
}

static void read_document(struct parse *p)
{
    char path[SETTINGS_PATH_BYTES] = "";
    if (!next(p) || !next(p)) /* the stream's begin, then a document's */
        return;
    if (p->event.type == YAML_STREAM_END_EVENT || !next(p)) /* the first node */
        return;
    if (!is_simple(p) || p->event.type != YAML_MAPPING_START_EVENT) {
        if (p->errors == 0 && (p->event.type != YAML_SCALAR_EVENT || scalar(p).len || !is_plain(p)))
            complain(p, p->event.start_mark, "settings are keys with values");
        if (!skip(p))
            return;
    } else if (!read_mapping(p, path, 0, 0)) {
        return;
    }
    if (next(p) && next(p) && p->event.type != YAML_STREAM_END_EVENT)
        complain(p, p->event.start_mark, "a second document is not allowed");
}

static void finish_options(struct parse *p)
{
    struct ehis_why why = {""};
    yaml_mark_t top = {0};
    for (size_t i = 0; i < p->table->count && p->fatal == EHIS_OK; i++) {
        const struct settings_option *o = &p->table->options[i];
        unsigned depth = 0;
        for (const char *c = o->path; *c; c++)
            depth += *c == '.';
        if (p->seen[i] & 1u << depth)
            continue;
        if (o->default_text)
            take(p, top, settings_set_default(p->settings, o, p->values, &why), &why);
        else
            complain(p, top, "\"%s\" is missing; it has no default", o->path);
    }
}

static char *folder_of(struct settings *s, const char *file)
{
    const char *slash = strrchr(file, '/');
    size_t len = slash ? (size_t)(slash - file) : 0;
    char *here = file[0] == '/' ? NULL : getcwd(NULL, 0), *folder;
    if (file[0] != '/' && !here)
        return NULL;
    size_t room = (here ? strlen(here) : 0) + len + 2;
    folder = settings_own(s, room);
    if (folder)
        snprintf(folder, room, "%s%s%.*s", here ? here : "", here && len ? "/" : "", (int)len, file);
    free(here);
    return folder;
}

ehis_err settings_parse(const struct settings_table *t, const char *file_name, struct span yaml, void *into, struct settings **out,
                        struct buf *report)
{
    struct parse p = {.table = t, .file = file_name, .report = report};
    size_t bad_at;
    ehis_err err = EHIS_E_NO_MEMORY;
    EHIS_ASSERT(t->count <= MAX_OPTIONS);
    p.settings = calloc(1, sizeof *p.settings);
    p.values = calloc(1, t->struct_bytes);
    p.seen = calloc(t->count ? t->count : 1, sizeof *p.seen);
    if (!p.settings || !p.values || !p.seen || !(p.settings->folder = folder_of(p.settings, file_name)) || !yaml_parser_initialize(&p.yaml))
        goto out;
    if (yaml.len > SETTINGS_FILE_BYTES) {
        complain(&p, (yaml_mark_t){0}, "more than %d bytes", SETTINGS_FILE_BYTES);
    } else if (!utf8_is_valid(yaml, &bad_at)) {
        complain(&p, mark_of(yaml, bad_at), "not UTF-8 without NUL");
    } else {
        yaml_parser_set_encoding(&p.yaml, YAML_UTF8_ENCODING);
        yaml_parser_set_input_string(&p.yaml, yaml.p ? yaml.p : (const uint8_t *)"", yaml.len);
        read_document(&p);
        if (p.yaml.error == YAML_NO_ERROR)
            finish_options(&p);
    }
    err = p.fatal != EHIS_OK ? p.fatal : p.errors ? EHIS_E_SETTINGS : EHIS_OK;
    yaml_event_delete(&p.event);
    yaml_parser_delete(&p.yaml);
    if (err == EHIS_OK) {
        memcpy(into, p.values, t->struct_bytes);
        *out = p.settings;
        p.settings = NULL;
    }
out:
    free(p.seen);
    free(p.values);
    settings_free(p.settings);
    return err;
}

ehis_err settings_load(const struct settings_table *t, const char *file, void *into, struct settings **out, struct buf *report)
{
    struct ehis_why why = {""};
    struct buf text;
    buf_init(&text, SETTINGS_FILE_BYTES);
    ehis_err err = file_read(file, SETTINGS_FILE_BYTES, &text, &why);
    if (err == EHIS_OK)
        err = settings_parse(t, file, buf_span(&text), into, out, report);
    else if (report && buf_printf(report, "%s\n", why.text) != EHIS_OK)
        err = EHIS_E_NO_MEMORY;
    buf_fini(&text);
    return err;
}
