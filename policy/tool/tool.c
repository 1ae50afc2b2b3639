/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
#include "policy/tool/tool.h"

#include "base/disk.h"

static json_t *terms(const struct registry *r, bool is_purpose, const struct registry_term_set *set)
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
                     terms(r, true, &rule->purposes), "legal_basis", terms(r, false, &rule->legal_bases), "valid", "from",
                     tool_time(rule->valid_from_ms), "until", tool_time(rule->valid_until_ms), "approval", tool_text(rule->approval));
}

ehis_err tool_path(struct cli *c, const char *name, char out[TOOL_PATH_BYTES], struct ehis_why *why)
{
    const char *dir = cli_get(c, "dir");
    if (snprintf(out, TOOL_PATH_BYTES, "%s%s%s", dir ? dir : "", dir ? "/" : "", name) >= TOOL_PATH_BYTES)
        return ehis_fail(why, EHIS_E_USAGE, "the path is too long");
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
    uint8_t keys[CLI_VALUES_MAX][32];
    const char *given[CLI_VALUES_MAX];
    struct registry_trust trust = {(const uint8_t(*)[32])keys, 0, {0}};
    struct registry_statement s;
    struct registry *r = NULL;
    struct buf bytes;
    trust.count = cli_get_all(c, "operator", given);
    for (size_t i = 0; i < trust.count; i++)
        EHIS_TRY(read_operator(given[i], keys[i], why));
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
