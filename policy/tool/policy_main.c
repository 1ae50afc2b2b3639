/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* ehis-policy: asks a document what the gateway would decide, with the gateway's own code. */
#include <stdio.h>
#include <stdlib.h>

#include "policy/decide/decide.h"
#include "policy/tool/tool.h"
#include "proto/wire/identifier.h"

static ehis_err load(struct cli *c, int64_t at_ms, struct registry **out, bool *is_verified, struct ehis_why *why)
{
    EHIS_TRY(tool_load(c, cli_get(c, "registry"), at_ms, out, is_verified, why));
    if (!*is_verified && !cli_json(c))
        fputs("note: the document's signature was not checked (--operator)\n", stderr);
    return EHIS_OK;
}

static struct span option(struct cli *c, const char *name) { return cli_get(c, name) ? span_str(cli_get(c, name)) : (struct span){0}; }

static struct decide_question question_of(struct cli *c)
{
    static const enum decide_what what[] = {DECIDE_CALL, DECIDE_RECEIVE, DECIDE_PUBLISH};
    return (struct decide_question){what[cli_number(c, "what")], span_str(cli_word(c, 0)), span_str(cli_word(c, 1)), span_str(cli_word(c, 2)),
                                    option(c, "purpose"), option(c, "basis"), cli_time(c, "at")};
}

static json_t *answer_of(const struct decide_answer *a, bool is_verified)
{
    json_t *v = json_pack("{s:s, s:o, s:o, s:s, s:b}", "decision", a->is_permitted ? "permit" : "deny", "code",
                          json_sprintf("EHIS-%04d", (int)a->code), "rule", a->rule.len ? tool_text(a->rule) : json_null(), "failed",
                          a->failed, "is_verified", is_verified);
    if (a->is_permitted)
        json_object_del(v, "code");
    else
        json_object_update_new(v, json_pack("{s:s, s:s, s:s}", "error", ehis_err_name(a->code), "text", ehis_err_row(a->code)->text, "hint",
                                            ehis_err_row(a->code)->hint));
    return v;
}

static ehis_err ask(struct cli *c, bool is_explain, struct ehis_why *why)
{
    struct registry *r;
    struct decide_question q = question_of(c);
    struct decide_answer a;
    struct buf text;
    bool is_verified;
    EHIS_TRY(load(c, q.at_ms, &r, &is_verified, why));
    buf_init(&text, 1024 * 1024);
    decide(r, &q, &a);
    cli_set_exit(c, a.is_permitted ? CLI_OK : CLI_REFUSED);
    ehis_err err = is_explain ? decide_explain(r, &q, &text) : EHIS_OK;
    if (err == EHIS_OK && is_explain && !cli_json(c)) {
        fwrite(buf_span(&text).p, 1, text.len, stdout);
    } else if (err == EHIS_OK) {
        json_t *v = answer_of(&a, is_verified);
        if (is_explain)
            json_object_set_new(v, "explanation", tool_text(buf_span(&text)));
        err = tool_print(c, v);
    }
    buf_fini(&text);
    registry_unref(r);
    return err;
}

static ehis_err run_eval(struct cli *c, struct ehis_why *why) { return ask(c, false, why); }
static ehis_err run_explain(struct cli *c, struct ehis_why *why) { return ask(c, true, why); }

static ehis_err find_service(const struct registry *r, const char *id, const struct registry_service **out, struct ehis_why *why)
{
    *out = registry_service(r, span_str(id));
    if (*out)
        return EHIS_OK;
    size_t n = registry_service_count(r);
    char(*names)[IDENTIFIER_MAX_BYTES + 1] = calloc(n + 1, sizeof *names);
    const char **list = calloc(n + 1, sizeof *list), *near = NULL;
    for (size_t i = 0; names && list && i < n; i++) {
        struct span s = registry_service_at(r, i)->id;
        memcpy(names[i], s.p, s.len);
        list[i] = names[i];
    }
    if (names && list)
        near = nearest_name(span_str(id), list, n);
    ehis_err err =
        ehis_fail(why, EHIS_E_NOT_FOUND, "no service %s%s%s%s", id, near ? "; did you mean " : "", near ? near : "", near ? "?" : "");
    free(names);
    free(list);
    return err;
}

/* The systems that a rule names; of one consumer only that one. */
static json_t *systems_of(const struct registry *r, const struct registry_rule *rule, const char *consumer)
{
    json_t *systems = json_array();
    for (size_t k = 0; k < registry_owner_count(r); k++) {
        const struct registry_owner *w = registry_owner_at(r, k);
        bool is_named = false;
        for (size_t n = 0; n < rule->consumer_count && !w->is_gateway && !is_named; n++)
            is_named = registry_consumer_matches(rule->consumers[n], w->id);
        if (is_named && (!consumer || span_eq(w->id, span_str(consumer))))
            json_array_append_new(systems, tool_text(w->id));
    }
    return systems;
}

/* The permitting rules of a service that hold at the time; of one consumer: all rules that name it. o: only those that cover it. */
static json_t *rules_of(const struct registry *r, const struct registry_service *s, const struct registry_operation *o, const char *consumer, int64_t at_ms)
{
    size_t count;
    json_t *list = json_array();
    const struct registry_rule *rules = registry_rules(s, &count);
    for (size_t i = 0; i < count; i++) {
        const struct registry_rule *rule = &rules[i];
        bool is_in_force = at_ms >= rule->valid_from_ms && at_ms < rule->valid_until_ms;
        if ((o && !(rule->operations >> (o - s->operations) & 1)) || (!consumer && (!is_in_force || rule->is_forbid)))
            continue;
        json_t *systems = systems_of(r, rule, consumer), *v = tool_rule(r, s, rule);
        json_object_update_new(v, json_pack("{s:b, s:O}", "in_force", is_in_force, "systems", systems));
        if (json_array_size(systems))
            json_array_append(list, v);
        json_decref(v);
        json_decref(systems);
    }
    return list;
}

static ehis_err list_rules(struct cli *c, const char *consumer, const char *service_id, const char *operation, struct ehis_why *why)
{
    const struct registry_service *s = NULL;
    struct registry *r;
    int64_t at_ms = cli_time(c, "at");
    bool is_verified;
    EHIS_TRY(load(c, at_ms, &r, &is_verified, why));
    ehis_err err = find_service(r, service_id, &s, why);
    const struct registry_operation *o = s && operation ? registry_operation(s, span_str(operation)) : NULL;
    if (s && operation && !o)
        err = ehis_fail(why, EHIS_E_NOT_FOUND, "%s has no operation %s", service_id, operation);
    if (consumer && err == EHIS_OK && !registry_system(r, span_str(consumer)))
        err = ehis_fail(why, EHIS_E_NOT_FOUND, "no system %s", consumer);
    json_t *list = err == EHIS_OK ? rules_of(r, s, o, consumer, at_ms) : NULL;
    registry_unref(r);
    EHIS_TRY(err);
    if (json_array_size(list) == 0)
        cli_set_exit(c, CLI_REFUSED);
    return tool_print(c, json_pack("{s:s, s:b, s:o}", "service", service_id, "is_verified", is_verified, "rules", list));
}

static ehis_err run_who_can(struct cli *c, struct ehis_why *why) { return list_rules(c, NULL, cli_word(c, 0), cli_word(c, 1), why); }
static ehis_err run_why_can(struct cli *c, struct ehis_why *why)
{
    return list_rules(c, cli_word(c, 0), cli_word(c, 1), cli_word(c, 2), why);
}

#define DOCUMENT CLI_NEEDED("registry", "FILE", "the document"), TOOL_OPERATOR, CLI_TIME("at", "as of this time, now unless given")
static const struct cli_option ask_options[] = {
    DOCUMENT,
    CLI_TEXT("purpose", "CODE", "what it is for"),
    CLI_TEXT("basis", "TEXT", "the legal basis"),
    CLI_CHOICE("what", "call|receive|publish", "call", "what the system wants to do"),
};
static const struct cli_option list_options[] = {DOCUMENT};
static const struct cli_verb verbs[] = {
    {"eval", "CONSUMER SERVICE OPERATION", "Decides one question; exit code 3 for a denial.", 3, 3, CLI_LIST(ask_options), run_eval},
    {"explain", "CONSUMER SERVICE OPERATION", "Decides, and tells of every rule what it lacks.", 3, 3, CLI_LIST(ask_options), run_explain},
    {"who-can", "SERVICE [OPERATION]", "Lists who may use a service now, for what; exit code 3 where nobody may.", 1, 2,
     CLI_LIST(list_options), run_who_can},
    {"why-can", "CONSUMER SERVICE [OPERATION]", "Lists the rules that name a system; exit code 3 where there are none.", 2, 3,
     CLI_LIST(list_options), run_why_can},
};

int main(int argc, char **argv)
{
    static const struct cli_program program = {
        .name = "ehis-policy", .sentence = "what the gateway would decide, and why", CLI_VERBS(verbs), .start = crypto_init};
    return cli_main(&program, argc, argv);
}
