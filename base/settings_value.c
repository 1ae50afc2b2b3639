/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* Values of settings: text to field and back. */
#include "base/settings_priv.h"
#include <stdio.h>
#include <stdlib.h>

struct unit {
    const char *suffix;
    uint64_t factor;
};
static const struct unit count_units[] = {{"", 1}};
static const struct unit byte_units[] = {{"", 1}, {"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}, {"TiB", UINT64_C(1) << 40}};
static const struct unit duration_units[] = {{"ms", 1}, {"s", 1000}, {"m", 60000}, {"h", 3600000}, {"d", 86400000}};

void settings_free(struct settings *s)
{
    if (s)
        owned_fini(&s->owned);
    free(s);
}

static const struct unit *units_of(enum settings_type type, size_t *count)
{
    if (type == SETTING_DURATION) {
        *count = sizeof duration_units / sizeof duration_units[0];
        return duration_units;
    }
    *count = type == SETTING_BYTES ? sizeof byte_units / sizeof byte_units[0] : 1;
    return type == SETTING_BYTES ? byte_units : count_units;
}

static ehis_err number_from_text(enum settings_type type, struct span text, uint64_t *out)
{
    size_t digits = 0, count;
    uint64_t v;
    const struct unit *units = units_of(type, &count);
    while (digits < text.len && ascii_is_digit(text.p[digits]))
        digits++;
    EHIS_TRY(decimal_from_text(span_of(text.p, digits), UINT64_MAX, &v));
    struct span suffix = span_of(text.p + digits, text.len - digits);
    if (v == 0 && suffix.len == 0) { /* nothing needs no unit */
        *out = 0;
        return EHIS_OK;
    }
    for (size_t i = 0; i < count; i++)
        if (span_eq(suffix, span_str(units[i].suffix)))
            return __builtin_mul_overflow(v, units[i].factor, out) ? EHIS_E_TOO_LARGE : EHIS_OK;
    return EHIS_E_INVALID;
}

/* In the largest unit that says it exactly. */
static ehis_err put_number(enum settings_type type, uint64_t v, struct buf *out)
{
    size_t i;
    const struct unit *units = units_of(type, &i);
    for (i--; i > 0 && (v == 0 || v % units[i].factor != 0); i--)
        ;
    return buf_printf(out, "%llu%s", (unsigned long long)(v / units[i].factor), units[i].suffix);
}

ehis_err settings_put_bounds(const struct settings_option *o, struct buf *out)
{
    bool is_number = o->type == SETTING_COUNT || o->type == SETTING_BYTES || o->type == SETTING_DURATION;
    const char *unit = is_number ? "" : settings_is_list(o) ? " items" : " bytes";
    enum settings_type type = is_number ? o->type : SETTING_COUNT;
    if (o->type == SETTING_BOOL)
        return buf_printf(out, "true or false");
    if (o->type == SETTING_CHOICE) {
        EHIS_TRY(buf_printf(out, "one of "));
        for (const char *c = o->choices; *c; c++)
            EHIS_TRY(*c == '|' ? buf_put(out, ", ", 2) : buf_put(out, c, 1));
        return EHIS_OK;
    }
    if (o->min == 0 && o->max == 0)
        return EHIS_OK;
    if (o->max == 0)
        EHIS_TRY(buf_printf(out, "at least "));
    EHIS_TRY(put_number(type, o->min, out));
    if (o->max) {
        EHIS_TRY(buf_printf(out, " to "));
        EHIS_TRY(put_number(type, o->max, out));
    }
    return buf_printf(out, "%s", unit);
}

/* INVALID with the allowed range. */
static ehis_err fail_bounds(const struct settings_option *o, struct ehis_why *why)
{
    struct buf range;
    buf_init(&range, sizeof why->text);
    ehis_err err = settings_put_bounds(o, &range);
    if (err == EHIS_OK || err == EHIS_E_TOO_LARGE)
        err = ehis_fail(why, EHIS_E_INVALID, "\"%s\" is out of bounds: %.*s", o->path, (int)range.len, (const char *)buf_span(&range).p);
    buf_fini(&range);
    return err;
}

static bool is_within(const struct settings_option *o, uint64_t v, uint64_t natural_max)
{
    uint64_t max = o->max ? o->max : natural_max;
    return v >= o->min && v <= max;
}

/* No controls and none of the characters that YAML takes for a line's end or refuses: what is printed can be read again. */
static bool is_plain_text(struct span s)
{
    if (!utf8_is_valid(s, NULL))
        return false;
    for (size_t i = 0; i < s.len; i++) {
        uint8_t c = s.p[i], d = i + 1 < s.len ? s.p[i + 1] : 0, e = i + 2 < s.len ? s.p[i + 2] : 0;
        if (c < 0x20 || c == 0x7F || (c == 0xC2 && d < 0xA0) || (c == 0xE2 && d == 0x80 && (e == 0xA8 || e == 0xA9)) ||
            (c == 0xEF && ((d == 0xBB && e == 0xBF) || (d == 0xBF && e >= 0xBE))))
            return false;
    }
    return true;
}

static ehis_err own_text(struct settings *s, const struct settings_option *o, struct span text, const char **out, struct ehis_why *why)
{
    if (text.len > SETTINGS_TEXT_BYTES)
        return ehis_fail(why, EHIS_E_TOO_LARGE, "\"%s\" is longer than %d bytes", o->path, SETTINGS_TEXT_BYTES);
    if (!is_plain_text(text))
        return ehis_fail(why, EHIS_E_INVALID, "\"%s\" contains a control character", o->path);
    bool is_path = o->type == SETTING_PATH || o->type == SETTING_PATHS;
    bool is_relative = is_path && text.len && text.p[0] != '/';
    size_t room = (is_relative ? strlen(s->folder) + 1 : 0) + text.len + 1;
    char *copy = owned_new(&s->owned, room, 1);
    if (!copy)
        return EHIS_E_NO_MEMORY;
    snprintf(copy, room, "%s%s%.*s", is_relative ? s->folder : "", is_relative ? "/" : "", SPAN_SHOW(text));
    *out = copy;
    return EHIS_OK;
}

/* The index of the name among the choices. */
static ehis_err choice_from_text(const struct settings_option *o, struct span text, uint64_t *out, struct ehis_why *why)
{
    char names[16][32];
    const char *list[16], *rest = o->choices;
    size_t n = 0;
    for (bool is_last = false; !is_last && n < 16; n++) {
        struct span name = settings_span_until(rest, '|');
        EHIS_ASSERT(name.len < sizeof names[0]);
        if (span_eq(name, text)) {
            *out = n;
            return EHIS_OK;
        }
        memcpy(names[n], name.p, name.len);
        names[n][name.len] = '\0';
        list[n] = names[n];
        is_last = rest[name.len] == '\0';
        rest += name.len + 1;
    }
    const char *near = nearest_name(text, list, n);
    if (near)
        return ehis_fail(why, EHIS_E_INVALID, "\"%s\" must be one of %s; did you mean \"%s\"?", o->path, o->choices, near);
    return ehis_fail(why, EHIS_E_INVALID, "\"%s\" must be one of %s", o->path, o->choices);
}

ehis_err settings_number(const struct settings_option *o, struct span text, uint64_t *out, struct ehis_why *why)
{
    uint64_t v;
    if (o->type == SETTING_CHOICE)
        return choice_from_text(o, text, out, why);
    ehis_err err = number_from_text(o->type, text, &v);
    if (err == EHIS_E_INVALID)
        return ehis_fail(why, err, "\"%s\" must be %s", o->path,
                         o->type == SETTING_COUNT   ? "a whole number"
                         : o->type == SETTING_BYTES ? "a number of bytes, such as 65536, 64KiB, 1MiB or 2GiB"
                                                    : "a time with its unit, such as 500ms, 5s, 10m, 2h or 14d");
    if (err != EHIS_OK || !is_within(o, v, UINT64_MAX))
        return fail_bounds(o, why);
    *out = v;
    return EHIS_OK;
}

ehis_err settings_set(struct settings *s, const struct settings_option *o, struct span text, bool is_quoted, void *values,
                      struct ehis_why *why)
{
    void *field = (uint8_t *)values + o->offset;
    uint64_t index;
    bool is_text = o->type == SETTING_TEXT || o->type == SETTING_PATH || o->type == SETTING_CHOICE;
    if (!is_quoted && (text.len == 0 || span_eq(text, span_str("~")) || span_eq(text, span_str("null"))))
        return ehis_fail(why, EHIS_E_INVALID, "\"%s\" has no value", o->path);
    if (is_quoted && !is_text)
        return ehis_fail(why, EHIS_E_INVALID, "\"%s\" may not stand in quotes", o->path);
    switch (o->type) {
    case SETTING_TEXT:
    case SETTING_PATH: {
        bool is_unset = text.len == 0 && o->default_text && o->default_text[0] == '\0';
        return is_unset || is_within(o, text.len, SETTINGS_TEXT_BYTES) ? own_text(s, o, text, field, why) : fail_bounds(o, why);
    }
    case SETTING_CHOICE:
        EHIS_TRY(settings_number(o, text, &index, why));
        return own_text(s, o, text, field, why);
    case SETTING_BOOL:
        *(bool *)field = span_eq(text, span_str("true"));
        if (!*(bool *)field && !span_eq(text, span_str("false")))
            return ehis_fail(why, EHIS_E_INVALID, "\"%s\" must be true or false", o->path);
        return EHIS_OK;
    case SETTING_COUNT:
    case SETTING_BYTES:
    case SETTING_DURATION:
        return settings_number(o, text, field, why);
    default:
        return ehis_fail(why, EHIS_E_INVALID, "\"%s\" must be a list", o->path);
    }
}

ehis_err settings_set_list(struct settings *s, const struct settings_option *o, const struct span *items, size_t count, void *values,
                           struct ehis_why *why)
{
    struct settings_list list = {count, owned_new(&s->owned, count, sizeof *list.items)};
    if (!list.items)
        return EHIS_E_NO_MEMORY;
    bool is_unset = count == 0 && o->default_text && o->default_text[0] == '\0';
    if (!is_unset && !is_within(o, count, SETTINGS_LIST_ITEMS))
        return fail_bounds(o, why);
    for (size_t i = 0; i < count; i++) {
        if (items[i].len == 0)
            return ehis_fail(why, EHIS_E_INVALID, "\"%s\" has an empty item", o->path);
        EHIS_TRY(own_text(s, o, items[i], &list.items[i], why));
    }
    memcpy((uint8_t *)values + o->offset, &list, sizeof list);
    return EHIS_OK;
}

ehis_err settings_set_default(struct settings *s, const struct settings_option *o, void *values, struct ehis_why *why)
{
    const char *rest = o->default_text;
    struct span items[16];
    size_t count = 0;
    if (!settings_is_list(o))
        return settings_set(s, o, span_str(rest), o->type == SETTING_TEXT || o->type == SETTING_PATH || o->type == SETTING_CHOICE, values, why);
    while (*rest) {
        EHIS_ASSERT(count < sizeof items / sizeof items[0]);
        items[count] = settings_span_until(rest, ' ');
        rest += items[count++].len;
        rest += *rest == ' ';
    }
    return settings_set_list(s, o, items, count, values, why);
}

static ehis_err put_quoted(const char *text, struct buf *out)
{
    EHIS_TRY(buf_put_u8(out, '"'));
    for (; *text; text++) {
        if (*text == '"' || *text == '\\')
            EHIS_TRY(buf_put_u8(out, '\\'));
        EHIS_TRY(buf_put_u8(out, (uint8_t)*text));
    }
    return buf_put_u8(out, '"');
}

ehis_err settings_put_value(const struct settings_option *o, const void *values, struct buf *out)
{
    const void *field = (const uint8_t *)values + o->offset;
    const struct settings_list *list = field;
    switch (o->type) {
    case SETTING_TEXT:
    case SETTING_PATH:
        return put_quoted(*(const char *const *)field, out);
    case SETTING_CHOICE:
        return buf_printf(out, "%s", *(const char *const *)field);
    case SETTING_BOOL:
        return buf_printf(out, *(const bool *)field ? "true" : "false");
    case SETTING_COUNT:
    case SETTING_BYTES:
    case SETTING_DURATION:
        return put_number(o->type, *(const uint64_t *)field, out);
    case SETTING_LIST:
    case SETTING_PATHS:
        break;
    }
    EHIS_TRY(buf_put_u8(out, '['));
    for (size_t i = 0; i < list->count; i++) {
        EHIS_TRY(i ? buf_put(out, ", ", 2) : EHIS_OK);
        EHIS_TRY(put_quoted(list->items[i], out));
    }
    return buf_put_u8(out, ']');
}

bool settings_value_is_equal(const struct settings_option *o, const void *a, const void *b)
{
    const void *left = (const uint8_t *)a + o->offset, *right = (const uint8_t *)b + o->offset;
    const struct settings_list *l = left, *r = right;
    if (o->type == SETTING_BOOL)
        return *(const bool *)left == *(const bool *)right;
    if (o->type == SETTING_COUNT || o->type == SETTING_BYTES || o->type == SETTING_DURATION)
        return *(const uint64_t *)left == *(const uint64_t *)right;
    if (!settings_is_list(o))
        return strcmp(*(const char *const *)left, *(const char *const *)right) == 0;
    for (size_t i = 0; l->count == r->count && i < l->count; i++)
        if (strcmp(l->items[i], r->items[i]) != 0)
            return false;
    return l->count == r->count;
}
