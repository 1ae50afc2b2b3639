/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
#include "base/tool/result.h"
#include "base/clock.h"
#include <stdio.h>

json_t *tool_text(struct span s)
{
    size_t bad;
    if (utf8_is_valid(s, &bad))
        return json_stringn(s.len ? (const char *)s.p : "", s.len);
    struct buf text;
    json_t *v = NULL;
    buf_init(&text, s.len);
    if (buf_put_span(&text, s) == EHIS_OK) {
        for (; !utf8_is_valid(buf_span(&text), &bad);)
            text.p[text.start + bad] = '?';
        v = tool_text(buf_span(&text));
    }
    buf_fini(&text);
    return v;
}

json_t *tool_hex(const uint8_t *p, size_t n)
{
    char text[2 * 64 + 1];
    bool is_zero = true;
    EHIS_ASSERT(n <= 64);
    for (size_t i = 0; i < n; i++)
        is_zero &= p[i] == 0;
    hex_to_text(p, n, text);
    return is_zero ? json_null() : json_string(text);
}

json_t *tool_base64(struct span s)
{
    struct buf text;
    buf_init(&text, s.len / 3 * 4 + 8);
    json_t *v = base64_put(&text, s) == EHIS_OK ? tool_text(buf_span(&text)) : NULL;
    buf_fini(&text);
    return v;
}

json_t *tool_uuid(const uint8_t id[16])
{
    char text[UUID_TEXT_LEN];
    uuid_to_text(id, text);
    return json_string(text);
}

json_t *tool_time(int64_t unix_ms)
{
    char text[TIME_TEXT_LEN];
    if (!unix_ms)
        return json_null();
    time_to_text(unix_ms, text);
    return json_string(text);
}

json_t *tool_count(uint64_t n) { return json_integer((json_int_t)n); }
json_t *tool_code(unsigned number) { return json_sprintf("EHIS-%u", number); }

void tool_set(json_t *object, const char *name, json_t *value)
{
    bool is_empty = !value || json_is_null(value) || (json_is_string(value) && json_string_length(value) == 0) ||
                    (json_is_array(value) && json_array_size(value) == 0) || (json_is_integer(value) && json_integer_value(value) == 0);
    if (is_empty)
        json_decref(value);
    else
        json_object_set_new(object, name, value);
}

/* A character that moves the cursor, hides, or turns the text around: controls, U+061C, U+200B to U+200F, U+2028 to U+202E, U+2060 to U+206F, U+FEFF. Else 0. */
static unsigned unseen_at(const uint8_t *p, size_t *bytes)
{
    unsigned c = p[0];
    *bytes = 1;
    if (c < 0x20 || c == 0x7F)
        return c;
    if ((c != 0xC2 && c != 0xD8 && c != 0xE2 && c != 0xEF) || (p[1] & 0xC0) != 0x80)
        return 0;
    if (c < 0xE0) {
        c = (c & 0x1F) << 6 | (p[1] & 0x3F);
        *bytes = 2;
        return c < 0xA0 || c == 0x61C ? c : 0;
    }
    if ((p[2] & 0xC0) != 0x80)
        return 0;
    c = (c & 0xF) << 12 | (p[1] & 0x3Fu) << 6 | (p[2] & 0x3F);
    *bytes = 3;
    return (c >= 0x200B && c <= 0x200F) || (c >= 0x2028 && c <= 0x202E) || (c >= 0x2060 && c <= 0x206F) || c == 0xFEFF ? c : 0;
}

void tool_put_text(FILE *out, const char *s, bool is_quoted)
{
    size_t bytes;
    if (is_quoted)
        putc('"', out);
    for (const uint8_t *p = (const uint8_t *)s; *p; p += bytes) {
        const unsigned unseen = unseen_at(p, &bytes);
        if (is_quoted && (*p == '"' || *p == '\\'))
            putc('\\', out);
        if (unseen)
            fprintf(out, "\\u%04x", unseen);
        else
            fwrite(p, 1, bytes, out);
    }
    if (is_quoted)
        putc('"', out);
}

static void print_value(json_t *v, unsigned depth);

static void print_members(json_t *o, unsigned depth)
{
    const char *name;
    json_t *value;
    bool is_first = true;
    json_object_foreach(o, name, value)
    {
        printf("%*s%s:", is_first ? 0 : (int)depth * 2, "", name);
        print_value(value, depth);
        is_first = false;
    }
}

static void print_item(json_t *item, unsigned depth)
{
    printf("%*s-", (int)depth * 2, "");
    if (json_object_size(item) == 0) {
        print_value(item, depth + 1);
        return;
    }
    putchar(' ');
    print_members(item, depth + 1);
}

static void print_value(json_t *v, unsigned depth)
{
    if (json_object_size(v)) {
        printf("\n%*s", (int)(depth + 1) * 2, "");
        print_members(v, depth + 1);
    } else if (json_array_size(v)) {
        putchar('\n');
        for (size_t i = 0; i < json_array_size(v); i++)
            print_item(json_array_get(v, i), depth);
    } else {
        putchar(' ');
        if (json_is_string(v))
            tool_put_text(stdout, json_string_value(v), false);
        else if (!json_is_object(v) && !json_is_array(v))
            json_dumpf(v, stdout, JSON_ENCODE_ANY);
        putchar('\n');
    }
}

ehis_err tool_print(const struct cli *c, json_t *result)
{
    if (!result)
        return EHIS_E_NO_MEMORY;
    if (cli_json(c)) {
        json_dumpf(result, stdout, JSON_INDENT(2));
        putchar('\n');
    } else {
        print_members(result, 0);
    }
    json_decref(result);
    return EHIS_OK;
}

ehis_err tool_line(json_t *result, struct ehis_why *why)
{
    if (!result)
        return EHIS_E_NO_MEMORY;
    bool is_out = json_dumpf(result, stdout, JSON_COMPACT) == 0 && putchar('\n') != EOF && fflush(stdout) == 0;
    json_decref(result);
    return is_out ? EHIS_OK : ehis_fail(why, EHIS_E_IO, "standard output");
}
