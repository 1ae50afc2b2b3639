/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* Settings: what the option table yields beside the parser: effective values, sample file, reference page. */
#include "base/settings_priv.h"

enum form { FORM_VALUES, FORM_SAMPLE };

static ehis_err indent(struct buf *out, unsigned depth)
{
    for (; depth; depth--)
        EHIS_TRY(buf_put(out, "  ", 2));
    return EHIS_OK;
}

static ehis_err put_sample_option(const struct settings_option *o, const char *name, unsigned depth, struct buf *out)
{
    struct buf range;
    buf_init(&range, 512);
    ehis_err err = settings_put_bounds(o, &range);
    if (err == EHIS_OK)
        err = indent(out, depth);
    if (err == EHIS_OK)
        err = buf_printf(out, "# %s%s%.*s%s\n", o->sentence, range.len ? " (" : "", (int)range.len, (const char *)buf_span(&range).p,
                         range.len ? ")" : "");
    buf_fini(&range);
    EHIS_TRY(err);
    EHIS_TRY(indent(out, depth));
    if (!o->default_text)
        return buf_printf(out, "%s: # required\n", name);
    if (!settings_is_list(o))
        return buf_printf(out, "# %s: %s\n", name, o->default_text[0] ? o->default_text : "\"\"");
    EHIS_TRY(buf_printf(out, "# %s: [", name));
    for (const char *c = o->default_text; *c; c++)
        EHIS_TRY(*c == ' ' ? buf_put(out, ", ", 2) : buf_put(out, c, 1));
    return buf_printf(out, "]\n");
}

/* The options below a prefix (that ends in a dot), each section where its first option stands. */
static ehis_err put_level(const struct settings_table *t, struct span prefix, unsigned depth, enum form form, const void *values,
                          struct buf *out)
{
    for (size_t i = 0; i < t->count; i++) {
        const struct settings_option *o = &t->options[i];
        if (strncmp(o->path, (const char *)prefix.p, prefix.len) != 0)
            continue;
        struct span name = settings_span_until(o->path + prefix.len, '.');
        struct span path = span_of(o->path, prefix.len + name.len);
        if (settings_find(t, path) != i)
            continue;
        if (o->path[path.len] == '.') {
            EHIS_TRY(indent(out, depth));
            EHIS_TRY(buf_printf(out, "%.*s:\n", SPAN_SHOW(name)));
            EHIS_TRY(put_level(t, span_of(o->path, path.len + 1), depth + 1, form, values, out));
        } else if (form == FORM_SAMPLE) {
            EHIS_TRY(put_sample_option(o, o->path + prefix.len, depth, out));
        } else {
            EHIS_TRY(indent(out, depth));
            EHIS_TRY(buf_printf(out, "%s: ", o->path + prefix.len));
            EHIS_TRY(settings_put_value(o, values, out));
            EHIS_TRY(buf_put_u8(out, '\n'));
        }
    }
    return EHIS_OK;
}

ehis_err settings_print(const struct settings_table *t, const void *values, struct buf *out)
{
    return put_level(t, span_str(""), 0, FORM_VALUES, values, out);
}

ehis_err settings_sample(const struct settings_table *t, struct buf *out)
{
    EHIS_TRY(buf_printf(out, "# %s\n# What is commented out is the default. Relative paths begin in this file's folder.\n", t->title));
    return put_level(t, span_str(""), 0, FORM_SAMPLE, NULL, out);
}

ehis_err settings_diff_fixed(const struct settings_table *t, const void *old_values, const void *new_values, struct buf *out)
{
    for (size_t i = 0; i < t->count; i++)
        if (!t->options[i].is_reloadable && !settings_value_is_equal(&t->options[i], old_values, new_values))
            EHIS_TRY(buf_printf(out, "%s\n", t->options[i].path));
    return EHIS_OK;
}

/* A bar would end the table's cell. */
static ehis_err put_cell(struct buf *out, struct span text)
{
    for (size_t i = 0; i < text.len; i++)
        EHIS_TRY(text.p[i] == '|' ? buf_put(out, "\\|", 2) : buf_put_u8(out, text.p[i]));
    return EHIS_OK;
}

ehis_err settings_reference(const struct settings_table *t, struct buf *out)
{
    static const char *const types[] = {
        [SETTING_TEXT] = "text", [SETTING_PATH] = "path", [SETTING_BOOL] = "truth", [SETTING_COUNT] = "number", [SETTING_BYTES] = "bytes",
        [SETTING_DURATION] = "duration", [SETTING_CHOICE] = "choice", [SETTING_LIST] = "list of texts", [SETTING_PATHS] = "list of paths",
    };
    EHIS_TRY(buf_printf(out, "# %s\n\n| Option | Type | Default | Bounds | Reload | Meaning |\n|---|---|---|---|---|---|\n", t->title));
    for (size_t i = 0; i < t->count; i++) {
        const struct settings_option *o = &t->options[i];
        EHIS_TRY(buf_printf(out, "| `%s` | %s | ", o->path, types[o->type]));
        if (o->default_text && o->default_text[0]) {
            EHIS_TRY(buf_put_u8(out, '`'));
            EHIS_TRY(put_cell(out, span_str(o->default_text)));
            EHIS_TRY(buf_put_u8(out, '`'));
        } else {
            EHIS_TRY(buf_printf(out, o->default_text ? "none" : "required"));
        }
        EHIS_TRY(buf_printf(out, " | "));
        EHIS_TRY(settings_put_bounds(o, out));
        EHIS_TRY(buf_printf(out, " | %s | ", o->is_reloadable ? "yes" : "no"));
        EHIS_TRY(put_cell(out, span_str(o->sentence)));
        EHIS_TRY(buf_printf(out, " |\n"));
    }
    return EHIS_OK;
}
