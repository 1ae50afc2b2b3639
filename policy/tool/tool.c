/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
#include "policy/tool/tool.h"

#include "base/disk.h"

#define OPERATORS_MAX 8

static void print_value(const json_t *v, unsigned depth);

static bool is_nested(const json_t *v) { return json_is_object(v) || json_is_array(v); }

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

static void print_value(const json_t *v, unsigned depth)
{
    if (!is_nested(v) || (json_object_size(v) == 0 && json_array_size(v) == 0)) {
        putchar(' ');
        if (json_is_string(v))
            fputs(json_string_value(v), stdout);
        else if (!is_nested(v))
            json_dumpf(v, stdout, JSON_ENCODE_ANY);
        putchar('\n');
    } else if (json_is_object(v)) {
        printf("\n%*s", (int)(depth + 1) * 2, "");
        print_members((json_t *)(uintptr_t)v, depth + 1);
    } else {
        putchar('\n');
        for (size_t i = 0; i < json_array_size(v); i++) {
            json_t *item = json_array_get(v, i);
            printf("%*s-", (int)depth * 2, "");
            if (json_is_object(item) && json_object_size(item)) {
                putchar(' ');
                print_members(item, depth + 1);
            } else {
                print_value(item, depth + 1);
            }
        }
    }
}

ehis_err tool_print(struct cli *c, json_t *result)
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

json_t *tool_time(int64_t unix_ms)
{
    char text[TIME_TEXT_LEN];
    if (!unix_ms)
        return json_null();
    time_to_text(unix_ms, text);
    return json_string(text);
}

json_t *tool_hex(const uint8_t *p, size_t n)
{
    char text[2 * 64 + 1];
    EHIS_ASSERT(n <= 64);
    hex_to_text(p, n, text);
    return json_string(text);
}

json_t *tool_text(struct span s) { return json_stringn(s.len ? (const char *)s.p : "", s.len); }

json_t *tool_terms(const struct registry *r, bool is_purpose, const struct registry_term_set *set)
{
    json_t *list = json_array();
    struct span code;
    for (size_t i = 0; !set->is_any && registry_term_at(r, is_purpose, i, &code); i++)
        if (registry_term_in(set, i))
            json_array_append_new(list, tool_text(code));
    return list;
}

json_t *tool_rule(const struct registry *r, const struct registry_service *s, const struct registry_rule *rule)
{
    json_t *consumers = json_array(), *operations = json_array();
    for (size_t i = 0; i < rule->consumer_count; i++)
        json_array_append_new(consumers, tool_text(rule->consumers[i]));
    for (size_t i = 0; i < s->operation_count && rule->operations != UINT64_MAX; i++)
        if (rule->operations >> i & 1)
            json_array_append_new(operations, tool_text(s->operations[i].name));
    return json_pack("{s:o, s:s, s:o, s:o, s:o, s:o, s:{s:o, s:o}, s:o}", "id", tool_text(rule->id), "effect",
                     rule->is_forbid ? "forbid" : "permit", "consumers", consumers, "operations", operations, "purposes",
                     tool_terms(r, true, &rule->purposes), "legal_basis", tool_terms(r, false, &rule->legal_bases), "valid", "from",
                     tool_time(rule->valid_from_ms), "until", tool_time(rule->valid_until_ms), "approval", tool_text(rule->approval));
}

ehis_err tool_path(struct cli *c, const char *name, char out[TOOL_PATH_BYTES], struct ehis_why *why)
{
    const char *dir = cli_get(c, "dir");
    if (snprintf(out, TOOL_PATH_BYTES, "%s%s%s", dir ? dir : "", dir ? "/" : "", name) >= TOOL_PATH_BYTES)
        return ehis_fail(why, EHIS_E_USAGE, "the path is too long");
    return EHIS_OK;
}

ehis_err tool_time_option(struct cli *c, const char *name, int64_t *unix_ms, struct ehis_why *why)
{
    const char *text = cli_get(c, name);
    *unix_ms = clock_wall_ms(&clock_system);
    if (text && (time_from_text(span_str(text), unix_ms) != EHIS_OK || *unix_ms <= 0))
        return ehis_fail(why, EHIS_E_USAGE, "--%s must be a date or a time with offset, such as 2026-12-01T08:00:00+04:00", name);
    return EHIS_OK;
}

static ehis_err read_operator(const char *given, uint8_t key[32], struct ehis_why *why)
{
    struct buf text;
    if (hex_from_text(span_str(given), key, 32) == EHIS_OK)
        return EHIS_OK;
    buf_init(&text, 128);
    ehis_err err = file_read(given, 128, &text, why);
    struct span s = buf_span(&text);
    while (s.len && (s.p[s.len - 1] == '\n' || s.p[s.len - 1] == '\r'))
        s.len--;
    if (err == EHIS_OK && hex_from_text(s, key, 32) != EHIS_OK)
        err = ehis_fail(why, EHIS_E_USAGE, "%s is not a public key: 64 hexadecimal digits", given);
    buf_fini(&text);
    return err;
}

ehis_err tool_load(struct cli *c, const char *file, int64_t now_ms, struct registry **out, bool *is_verified, struct ehis_why *why)
{
    uint8_t keys[OPERATORS_MAX][32];
    struct registry_trust trust = {(const uint8_t(*)[32])keys, 0, {0}};
    struct registry_statement s;
    struct registry *r = NULL;
    struct buf bytes;
    for (const char *given; (given = cli_get_nth(c, "operator", trust.count)); trust.count++) {
        if (trust.count == OPERATORS_MAX)
            return ehis_fail(why, EHIS_E_USAGE, "more than %d operators", OPERATORS_MAX);
        EHIS_TRY(read_operator(given, keys[trust.count], why));
    }
    buf_init(&bytes, REGISTRY_DOCUMENT_MAX_BYTES);
    ehis_err err = file_read(file, REGISTRY_DOCUMENT_MAX_BYTES, &bytes, why);
    if (err == EHIS_OK)
        err = registry_from_unverified(buf_span(&bytes), &r, why);
    if (err == EHIS_OK && trust.count) {
        struct registry *verified = NULL;
        registry_statement(r, &s);
        trust.instance = s.instance;
        err = registry_from_document(buf_span(&bytes), &trust, NULL, now_ms, &verified, why);
        registry_unref(r);
        r = verified;
    }
    buf_fini(&bytes);
    if (err == EHIS_OK) {
        *is_verified = trust.count != 0;
        *out = r;
    } else {
        registry_unref(r);
    }
    return err;
}
