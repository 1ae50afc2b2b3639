/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* Settings: a sheet against the table. */
#include "base/settings_priv.h"
#include "base/disk.h"
#include "base/sheet.h"
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define MAX_OPTIONS 256

struct parse {
    const struct settings_table *table;
    struct sheet *sheet;
    struct sheet_report report;
    struct settings *settings;
    void *values;
    uint16_t *seen; /* for each option: bit n = the key of depth n that leads to it first was read */
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

static void take(struct parse *p, const struct sheet_node *n, ehis_err err, const struct ehis_why *why)
{
    if (err == EHIS_E_NO_MEMORY)
        p->report.is_short_of_memory = true;
    else if (err != EHIS_OK)
        sheet_complain(&p->report, p->sheet, n, "%s", why->text);
}

static void read_list(struct parse *p, const struct settings_option *o, const struct sheet_node *list)
{
    struct span items[SETTINGS_LIST_ITEMS];
    struct ehis_why why = {""};
    size_t count = 0;
    for (const struct sheet_node *n = list->first; n; n = n->next) {
        if (n->kind != SHEET_TEXT) {
            sheet_complain(&p->report, p->sheet, n, "\"%s\" must be a list of texts", o->path);
            return;
        }
        if (count == SETTINGS_LIST_ITEMS) {
            sheet_complain(&p->report, p->sheet, n, "\"%s\" has more than %d items", o->path, SETTINGS_LIST_ITEMS);
            return;
        }
        items[count++] = n->text;
    }
    take(p, list, settings_set_list(p->settings, o, items, count, p->values, &why), &why);
}

static void read_option(struct parse *p, const struct settings_option *o, const struct sheet_node *n)
{
    struct ehis_why why = {""};
    if (n->kind == SHEET_LIST && settings_is_list(o))
        read_list(p, o, n);
    else if (n->kind == SHEET_TEXT)
        take(p, n, settings_set(p->settings, o, n->text, n->is_quoted, p->values, &why), &why);
    else
        sheet_complain(&p->report, p->sheet, n, "\"%s\" must be %s", o->path, settings_is_list(o) ? "a list of texts" : "a single value");
}

/* "did you mean": a near key in this mapping, or the same key elsewhere. */
static void complain_unknown(struct parse *p, struct span prefix, const struct sheet_node *n)
{
    char names[MAX_OPTIONS][64];
    const char *list[MAX_OPTIONS], *near = NULL, *elsewhere = NULL;
    struct sheet_node at = sheet_key(n);
    struct span key = n->key;
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
        sheet_complain(&p->report, p->sheet, &at, "unknown key \"%.*s\"; did you mean \"%.*s%s\"?", shown, (const char *)key.p, near ? (int)prefix.len : 0,
                 (const char *)prefix.p, near ? near : elsewhere);
    else
        sheet_complain(&p->report, p->sheet, &at, "unknown key \"%.*s\"", shown, (const char *)key.p);
}

/* Puts n's key behind path (of `used` bytes, its last a dot). The option or section's first option, or count where the key was
 * refused; *used = the path's new length. */
static size_t read_key(struct parse *p, const struct sheet_node *n, char path[SETTINGS_PATH_BYTES], size_t *used, unsigned depth)
{
    size_t at = p->table->count, len = *used + n->key.len;
    struct sheet_node place = sheet_key(n);
    if (n->key.len && len < SETTINGS_PATH_BYTES && !memchr(n->key.p, '.', n->key.len)) {
        memcpy(path + *used, n->key.p, n->key.len);
        at = settings_find(p->table, span_of(path, len));
    }
    if (at == p->table->count) {
        complain_unknown(p, span_of(path, *used), n);
    } else if (p->seen[at] & 1u << depth) {
        sheet_complain(&p->report, p->sheet, &place, "\"%.*s\" stands here twice", (int)len, path);
        at = p->table->count;
    } else {
        p->seen[at] |= (uint16_t)(1u << depth);
        *used = len;
    }
    return at;
}

static void read_map(struct parse *p, const struct sheet_node *map, char path[SETTINGS_PATH_BYTES], size_t used, unsigned depth)
{
    for (const struct sheet_node *n = map->first; n; n = n->next) {
        size_t len = used, at = read_key(p, n, path, &len, depth);
        if (at == p->table->count)
            continue;
        if (p->table->options[at].path[len] == '\0') {
            read_option(p, &p->table->options[at], n);
        } else if (n->kind == SHEET_MAP) {
            EHIS_ASSERT(depth < 15 && len + 1 < SETTINGS_PATH_BYTES);
            path[len] = '.';
            read_map(p, n, path, len + 1, depth + 1);
        } else if (n->kind != SHEET_TEXT || n->is_quoted || n->text.len) { /* a section whose every line is a comment is empty, not wrong */
            sheet_complain(&p->report, p->sheet, n, "\"%.*s\" must hold keys below it", (int)len, path);
        }
    }
}

static void finish_options(struct parse *p)
{
    struct ehis_why why = {""};
    for (size_t i = 0; i < p->table->count; i++) {
        const struct settings_option *o = &p->table->options[i];
        unsigned depth = 0;
        for (const char *c = o->path; *c; c++)
            depth += *c == '.';
        if (p->seen[i] & 1u << depth)
            continue;
        if (o->default_text)
            take(p, NULL, settings_set_default(p->settings, o, p->values, &why), &why);
        else
            sheet_complain(&p->report, p->sheet, NULL, "\"%s\" is missing; it has no default", o->path);
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
    folder = owned_new(&s->owned, room, 1);
    if (folder)
        snprintf(folder, room, "%s%s%.*s", here ? here : "", here && len ? "/" : "", (int)len, file);
    free(here);
    return folder;
}

/* As much as there is room for: the first errors say enough. */
static void put_report(struct span text, struct buf *out)
{
    size_t room = out->max - out->len;
    if (text.len > room)
        text.len = room;
    if (buf_put_span(out, text) != EHIS_OK)
        buf_clear(out);
}

ehis_err settings_parse(const struct settings_table *t, const char *file_name, struct span yaml, void *into, struct settings **out,
                        struct buf *report)
{
    struct parse p = {.table = t};
    char path[SETTINGS_PATH_BYTES] = "";
    EHIS_ASSERT(t->count <= MAX_OPTIONS);
    sheet_report_init(&p.report);
    p.settings = calloc(1, sizeof *p.settings);
    p.values = calloc(1, t->struct_bytes);
    p.seen = calloc(t->count ? t->count : 1, sizeof *p.seen);
    if (!p.settings || !p.values || !p.seen || !(p.settings->folder = folder_of(p.settings, file_name)))
        p.report.is_short_of_memory = true;
    else
        p.sheet = sheet_parse(file_name, yaml, SETTINGS_FILE_BYTES, &p.report);
    if (p.sheet) {
        read_map(&p, p.sheet->root, path, 0, 0);
        finish_options(&p);
    }
    ehis_err err = p.report.is_short_of_memory ? EHIS_E_NO_MEMORY : p.report.errors ? EHIS_E_SETTINGS : EHIS_OK;
    if (report && err == EHIS_E_SETTINGS)
        put_report(buf_span(&p.report.text), report);
    if (err == EHIS_OK) {
        memcpy(into, p.values, t->struct_bytes);
        *out = p.settings;
        p.settings = NULL;
    }
    sheet_free(p.sheet);
    sheet_report_fini(&p.report);
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
