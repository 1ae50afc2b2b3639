/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* The verbs that read documents: show, check. */
#include <stdio.h>

#include "pki/keyfile.h"
#include "policy/tool/tool.h"

static json_t *owner_of(const struct registry *r, const struct registry_owner *o)
{
    json_t *keys = json_array();
    for (size_t i = 0; i < o->key_count; i++) {
        const struct registry_key *k = &o->keys[i];
        json_array_append_new(keys, json_pack("{s:s, s:o, s:o, s:o, s:o}", "use", pki_key_use_name(k->use), "id",
                                              tool_hex(k->id.b, HASH_BYTES), "not_before", tool_time(k->not_before_ms), "retired",
                                              tool_time(k->retired_ms), "revoked", tool_time(k->revoked_ms)));
    }
    json_t *v = json_pack("{s:o, s:o}", "id", tool_text(o->id), "keys", keys);
    if (o->is_disabled)
        json_object_set_new(v, "disabled", json_true());
    if (registry_contact(r, o->id).len)
        json_object_set_new(v, "contact", tool_text(registry_contact(r, o->id)));
    return v;
}

static json_t *service_of(const struct registry *r, const struct registry_service *s)
{
    json_t *operations = json_array(), *rules = json_array();
    size_t count;
    const struct registry_rule *all = registry_rules(s, &count);
    for (size_t i = 0; i < s->operation_count; i++) {
        const struct registry_operation *o = &s->operations[i];
        json_array_append_new(operations,
                              json_pack("{s:o, s:s, s:o, s:o, s:I}", "name", tool_text(o->name), "kind", o->is_event ? "event" : "request",
                                        "schema", tool_text(o->request_schema), "response_schema", tool_text(o->response_schema),
                                        "max_response_bytes", (json_int_t)o->max_response_bytes));
    }
    for (size_t i = 0; i < count; i++)
        json_array_append_new(rules, tool_rule(r, s, &all[i]));
    return json_pack("{s:o, s:o, s:o}", "id", tool_text(s->id), "operations", operations, "rules", rules);
}

static json_t *terms_of(const struct registry *r, bool is_purpose)
{
    json_t *list = json_array();
    struct span code;
    for (size_t i = 0; registry_term_at(r, is_purpose, i, &code); i++)
        json_array_append_new(list, tool_text(code));
    return list;
}

static json_t *statement_of(const struct registry *r, bool is_verified)
{
    struct registry_statement s;
    registry_statement(r, &s);
    return json_pack("{s:o, s:I, s:o, s:o, s:o, s:o, s:b, s:I, s:I}", "instance", tool_text(s.instance), "version",
                     (json_int_t)registry_version(r), "statement_hash", tool_hex(registry_hash(r)->b, HASH_BYTES), "not_before",
                     tool_time(s.not_before_ms), "not_after", tool_time(s.not_after_ms), "signed_by",
                     s.operator_key_id.len ? tool_hex(s.operator_key_id.p, HASH_BYTES) : json_null(), "is_verified", is_verified, "parts",
                     (json_int_t)s.leaf_count, "earlier_statements", (json_int_t)s.earlier_count);
}

static ehis_err load(struct cli *c, int64_t now_ms, struct registry **out, bool *is_verified, struct ehis_why *why)
{
    char path[TOOL_PATH_BYTES];
    EHIS_TRY(tool_path(c, "registry.pb", path, why));
    return tool_load(c, cli_word(c, 0) ? cli_word(c, 0) : path, now_ms, out, is_verified, why);
}

ehis_err run_show(struct cli *c, struct ehis_why *why)
{
    struct registry *r;
    struct span name;
    bool is_verified;
    EHIS_TRY(load(c, clock_wall_ms(&clock_system), &r, &is_verified, why));
    json_t *v = statement_of(r, is_verified), *agencies = json_array(), *systems = json_array(), *gateways = json_array(),
           *services = json_array();
    for (size_t i = 0; registry_agency_at(r, i, &name).len; i++)
        json_array_append_new(agencies, json_pack("{s:o, s:o}", "id", tool_text(registry_agency_at(r, i, &name)), "name", tool_text(name)));
    for (size_t i = 0; i < registry_owner_count(r); i++) {
        const struct registry_owner *o = registry_owner_at(r, i);
        json_array_append_new(o->is_gateway ? gateways : systems, owner_of(r, o));
    }
    for (size_t i = 0; i < registry_service_count(r); i++)
        json_array_append_new(services, service_of(r, registry_service_at(r, i)));
    json_object_update_new(v, json_pack("{s:o, s:o, s:o, s:o, s:o, s:o}", "purposes", terms_of(r, true), "legal_bases", terms_of(r, false),
                                        "agencies", agencies, "gateways", gateways, "systems", systems, "services", services));
    registry_unref(r);
    return tool_print(c, v);
}

ehis_err run_check(struct cli *c, struct ehis_why *why)
{
    struct registry *r;
    int64_t now_ms = cli_time(c, "at");
    bool is_verified;
    EHIS_TRY(load(c, now_ms, &r, &is_verified, why));
    json_t *v = statement_of(r, is_verified), *warnings = json_array();
    ehis_err err = lint(r, now_ms, warnings);
    registry_unref(r);
    if (json_array_size(warnings) && cli_has(c, "strict"))
        cli_set_exit(c, CLI_FAILURE);
    if (err == EHIS_OK && json_object_set_new(v, "warnings", warnings) == 0)
        return tool_print(c, v);
    json_decref(v);
    return err == EHIS_OK ? EHIS_E_NO_MEMORY : err;
}
