/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
#include "policy/registry/author.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/disk.h"
#include "policy/registry/rule.h"
#include "proto/wire/envelope.h"
#include "proto/wire/identifier.h"

#define FILES_MAX 65536
#define RULE_LIST_MAX 256

const char *const author_folders[AUTHOR_KINDS] = {"", "agencies", "systems", "gateways", "services"};

struct names {
    const char **items;
    size_t count, cap;
}; /* texts of nodes, which end in a NUL */
struct author {
    struct sheet *sheets[AUTHOR_KINDS], **ends[AUTHOR_KINDS];
    struct sheet_report report;
    struct names agencies, owners, services, rules, terms[2]; /* terms: legal bases, purposes */
    struct author_owner owner;                                /* the one being read */
};

ehis_err author_new(struct author **out)
{
    struct author *a = calloc(1, sizeof *a);
    if (!a)
        return EHIS_E_NO_MEMORY;
    for (size_t i = 0; i < AUTHOR_KINDS; i++)
        a->ends[i] = &a->sheets[i];
    sheet_report_init(&a->report);
    *out = a;
    return EHIS_OK;
}

void author_free(struct author *a)
{
    if (!a)
        return;
    for (size_t i = 0; i < AUTHOR_KINDS; i++) {
        for (struct sheet *s = a->sheets[i], *next; s; s = next) {
            next = s->next;
            sheet_free(s);
        }
    }
    struct names *all[] = {&a->agencies, &a->owners, &a->services, &a->rules, &a->terms[0], &a->terms[1]};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        free(all[i]->items);
    sheet_report_fini(&a->report);
    free(a);
}

struct span author_report(const struct author *a) { return buf_span(&a->report.text); }

ehis_err author_add(struct author *a, enum author_kind kind, const char *file, struct span yaml)
{
    struct sheet *s = sheet_parse(file, yaml, AUTHOR_FILE_BYTES, &a->report);
    if (s) {
        *a->ends[kind] = s;
        a->ends[kind] = &s->next;
    }
    return a->report.is_short_of_memory ? EHIS_E_NO_MEMORY : EHIS_OK;
}

static int is_yaml(const struct dirent *e)
{
    size_t len = strlen(e->d_name);
    return e->d_name[0] != '.' && len > 5 && strcmp(e->d_name + len - 5, ".yaml") == 0;
}

static int by_bytes(const struct dirent **x, const struct dirent **y) { return strcmp((*x)->d_name, (*y)->d_name); }

static ehis_err add_file(struct author *a, enum author_kind kind, const char *folder, const char *name, struct ehis_why *why)
{
    char path[4096];
    struct buf text;
    if (snprintf(path, sizeof path, "%s/%s%s%s", folder, author_folders[kind], kind == AUTHOR_REGISTRY ? "" : "/", name) >=
        (int)sizeof path)
        return ehis_fail(why, EHIS_E_INVALID, "%s/%s: the path is too long", folder, name);
    buf_init(&text, AUTHOR_FILE_BYTES);
    ehis_err err = file_read(path, AUTHOR_FILE_BYTES, &text, why);
    if (err == EHIS_OK)
        err = author_add(a, kind, path, buf_span(&text));
    buf_fini(&text);
    return err;
}

ehis_err author_add_folder(struct author *a, const char *folder, struct ehis_why *why)
{
    EHIS_TRY(add_file(a, AUTHOR_REGISTRY, folder, "registry.yaml", why));
    for (unsigned kind = AUTHOR_AGENCY; kind < AUTHOR_KINDS; kind++) {
        char path[4096];
        struct dirent **list = NULL;
        ehis_err err = EHIS_OK;
        snprintf(path, sizeof path, "%s/%s", folder, author_folders[kind]);
        int count = scandir(path, &list, is_yaml, by_bytes);
        if (count < 0 && errno != ENOENT)
            return ehis_fail(why, EHIS_E_IO, "%s: %m", path);
        for (int i = 0; i < count; i++) {
            if (err == EHIS_OK && i < FILES_MAX)
                err = add_file(a, (enum author_kind)kind, folder, list[i]->d_name, why);
            free(list[i]);
        }
        free(list);
        EHIS_TRY(err);
    }
    return EHIS_OK;
}

static bool has_name(const struct names *n, struct span name)
{
    for (size_t i = 0; i < n->count; i++)
        if (span_eq(span_str(n->items[i]), name))
            return true;
    return false;
}

static bool add_name(struct author *a, const struct sheet *s, const struct sheet_node *node, struct names *n, const char *what)
{
    if (has_name(n, node->text)) {
        sheet_complain(&a->report, s, node, "%s \"%.*s\" stands twice", what, SPAN_SHOW(node->text));
        return false;
    }
    if (n->count == n->cap) {
        size_t cap = n->cap ? n->cap * 2 : 64;
        const char **more = reallocarray(n->items, cap, sizeof *more);
        if (!more) {
            a->report.is_short_of_memory = true;
            return false;
        }
        n->items = more;
        n->cap = cap;
    }
    n->items[n->count++] = (const char *)node->text.p;
    return true;
}

static void check_name(struct author *a, const struct sheet *s, const struct sheet_node *node, const struct names *n, const char *what)
{
    if (has_name(n, node->text))
        return;
    const char *near = nearest_name(node->text, n->items, n->count);
    sheet_complain(&a->report, s, node, "unknown %s \"%.*s\"%s%s%s", what, SPAN_SHOW(node->text), near ? "; did you mean \"" : "",
                   near ? near : "", near ? "\"?" : "");
}

static void check_id(struct author *a, const struct sheet *s, const struct sheet_node *node, unsigned parts)
{
    struct ehis_why why = {""};
    ehis_err err = parts == 1 ? identifier_part_check(node->text, &why) : identifier_check(node->text, (enum identifier_parts)parts, &why);
    if (err != EHIS_OK)
        sheet_complain(&a->report, s, node, "%s", why.text[0] ? why.text : ehis_err_row(err)->text);
}

static struct registry_term_text *read_terms(struct author *a, const struct sheet *s, const struct sheet_node *node, const char *name,
                                             bool is_purpose, size_t *count)
{
    static const char *const names[] = {"code", "en", "az"};
    const struct sheet_node *n, *v[3];
    struct registry_term_text *terms = calloc(REGISTRY_TERM_WORDS * 64, sizeof *terms);
    size_t given;
    *count = 0;
    if (!terms) {
        a->report.is_short_of_memory = true;
        return NULL;
    }
    if (!sheet_list(&a->report, s, node, name, REGISTRY_TERM_WORDS * 64, &n, &given))
        return terms;
    for (; given > 0; given--, n = n->next) {
        struct registry_term_text *t = &terms[*count];
        if (sheet_map(&a->report, s, n, names, 3, 1, v) && sheet_text(&a->report, s, v[0], "code", is_purpose ? 64 : 128, &t->code) &&
            sheet_text(&a->report, s, v[1], "en", 200, &t->label_en) && sheet_text(&a->report, s, v[2], "az", 200, &t->label_az))
            *count += add_name(a, s, v[0], &a->terms[is_purpose], "the term");
    }
    return terms;
}

static ehis_err draft_registry(struct author *a, struct registry_draft *d, struct author_validity *validity)
{
    static const char *const names[] = {"instance", "validity", "terms"}, *const validity_names[] = {"days", "grace_hours"},
                             *const terms_names[] = {"purposes", "legal_bases"};
    const struct sheet *s = a->sheets[AUTHOR_REGISTRY];
    const struct sheet_node *v[3], *w[2] = {0}, *t[2];
    size_t purposes, legal_bases;
    if (!s || !sheet_map(&a->report, s, s->root, names, 3, 5, v) || !sheet_text(&a->report, s, v[0], "instance", 64, &validity->instance) ||
        (v[1] && !sheet_map(&a->report, s, v[1], validity_names, 2, 0, w)) || !sheet_map(&a->report, s, v[2], terms_names, 2, 3, t))
        return EHIS_OK;
    check_id(a, s, v[0], 1);
    validity->days = 30;
    validity->grace_hours = 72;
    (void)sheet_number(&a->report, s, w[0], "days", 366, &validity->days);
    (void)sheet_number(&a->report, s, w[1], "grace_hours", 24 * 14, &validity->grace_hours);
    struct registry_term_text *p = read_terms(a, s, t[0], "purposes", true, &purposes),
                              *l = read_terms(a, s, t[1], "legal_bases", false, &legal_bases);
    ehis_err err = p && l ? registry_draft_terms(d, p, purposes, l, legal_bases) : EHIS_E_NO_MEMORY;
    free(p);
    free(l);
    return err;
}

static ehis_err draft_agency(struct author *a, const struct sheet *s, struct registry_draft *d)
{
    static const char *const names[] = {"agency", "name"};
    const struct sheet_node *v[2];
    struct span id, name;
    if (!sheet_map(&a->report, s, s->root, names, 2, 1, v) || !sheet_text(&a->report, s, v[0], "agency", IDENTIFIER_MAX_BYTES, &id) ||
        !sheet_text(&a->report, s, v[1], "name", 200, &name))
        return EHIS_OK;
    check_id(a, s, v[0], IDENTIFIER_AGENCY);
    return add_name(a, s, v[0], &a->agencies, "agency") ? registry_draft_agency(d, id, name) : EHIS_OK;
}

static ehis_err draft_owner(struct author *a, const struct sheet *s, bool is_gateway, struct registry_draft *d)
{
    struct author_owner *o = &a->owner;
    if (!author_owner_read(&a->report, s, is_gateway, o))
        return EHIS_OK;
    const struct sheet_node *id = s->root->first;
    while (!span_eq(id->text, o->owner.id) || id->key.len == 0)
        id = id->next;
    struct span agency = identifier_prefix(o->owner.id, IDENTIFIER_AGENCY);
    if (!is_gateway && !has_name(&a->agencies, agency))
        sheet_complain(&a->report, s, id, "the agency \"%.*s\" is not in agencies/ (ehis-registry add --as agency)", SPAN_SHOW(agency));
    return add_name(a, s, id, &a->owners, is_gateway ? "gateway" : "system") ? registry_draft_owner(d, &o->owner, o->contact) : EHIS_OK;
}

static bool read_operation(struct author *a, const struct sheet *s, const struct sheet_node *n, struct names *operations,
                           struct registry_operation *out)
{
    static const char *const names[] = {"name", "kind", "request_schema|schema", "response_schema", "max_response_bytes"};
    const struct sheet_node *v[5];
    uint64_t max_response_bytes = 0;
    if (!sheet_map(&a->report, s, n, names, 5, 1, v) || !sheet_text(&a->report, s, v[0], "name", 64, &out->name) ||
        !sheet_text(&a->report, s, v[2], "schema", 128, &out->request_schema) ||
        !sheet_text(&a->report, s, v[3], "response_schema", 128, &out->response_schema))
        return false;
    (void)sheet_either(&a->report, s, v[1], "kind", "request", "event", &out->is_event);
    (void)sheet_number(&a->report, s, v[4], "max_response_bytes", ENVELOPE_LARGE_MAX_BYTES, &max_response_bytes);
    out->max_response_bytes = (uint32_t)max_response_bytes;
    check_id(a, s, v[0], 1);
    return add_name(a, s, v[0], operations, "operation");
}

/* Items of a rule's list into room for RULE_LIST_MAX, each checked against the names that there are. */
static bool read_list(struct author *a, const struct sheet *s, const struct sheet_node *node, const char *what, size_t max,
                      const struct names *known, struct span *out, size_t *count)
{
    const struct sheet_node *n;
    unsigned before = a->report.errors;
    if (!sheet_list(&a->report, s, node, what, max, &n, count))
        return false;
    for (size_t i = 0; i < *count; i++, n = n->next) {
        if (!sheet_text(&a->report, s, n, what, 201, &out[i]))
            continue;
        if (known != &a->owners || n->text.p[n->text.len - 1] != '*')
            check_name(a, s, n, known, what);
        else if (registry_consumer_check(n->text, NULL) != EHIS_OK)
            sheet_complain(&a->report, s, n, "a \"*\" may only end the name of a system, as in AZ/GOV/STS/avis-*");
        for (size_t k = 0; k < i; k++)
            if (span_eq(out[k], out[i]))
                sheet_complain(&a->report, s, n, "\"%.*s\" stands here twice", SPAN_SHOW(out[i]));
    }
    return a->report.errors == before;
}

static void read_validity(struct author *a, const struct sheet *s, const struct sheet_node *node, struct registry_rule_text *out)
{
    static const char *const names[] = {"from", "until"};
    const struct sheet_node *v[2];
    int64_t *times[] = {&out->valid_from_ms, &out->valid_until_ms};
    if (!sheet_map(&a->report, s, node, names, 2, 3, v))
        return;
    for (size_t i = 0; i < 2; i++)
        (void)sheet_time(&a->report, s, v[i], names[i], times[i]);
    if (out->valid_from_ms >= out->valid_until_ms)
        sheet_complain(&a->report, s, node, "\"until\" must be after \"from\"");
}

static bool read_rule(struct author *a, const struct sheet *s, const struct sheet_node *n, const struct names *operations,
                      struct span *lists, struct registry_rule_text *out)
{
    static const char *const names[] = {
        "id", "effect", "consumers|consumer", "operations|operation", "purposes|purpose", "legal_basis|legal_bases", "valid", "approval"};
    const struct sheet_node *v[8];
    unsigned before = a->report.errors;
    if (!sheet_map(&a->report, s, n, names, 8, 0xC7, v) || !sheet_text(&a->report, s, v[0], "id", 64, &out->id) ||
        !sheet_text(&a->report, s, v[7], "approval", 200, &out->approval))
        return false;
    check_id(a, s, v[0], 1);
    (void)add_name(a, s, v[0], &a->rules, "rule");
    (void)sheet_either(&a->report, s, v[1], "effect", "permit", "forbid", &out->is_forbid);
    out->consumers = lists;
    out->operations = lists + RULE_LIST_MAX;
    out->purposes = lists + 2 * RULE_LIST_MAX;
    out->legal_bases = lists + 3 * RULE_LIST_MAX;
    (void)read_list(a, s, v[2], "consumer", RULE_LIST_MAX, &a->owners, lists, &out->consumer_count);
    (void)read_list(a, s, v[3], "operation", 64, operations, lists + RULE_LIST_MAX, &out->operation_count);
    (void)read_list(a, s, v[4], "purpose", 64, &a->terms[1], lists + 2 * RULE_LIST_MAX, &out->purpose_count);
    (void)read_list(a, s, v[5], "legal basis", 64, &a->terms[0], lists + 3 * RULE_LIST_MAX, &out->legal_basis_count);
    if (out->consumer_count == 0 || (!out->is_forbid && (!out->operation_count || !out->purpose_count || !out->legal_basis_count)))
        sheet_complain(&a->report, s, n,
                       "a permitting rule must name consumers, operations, purposes and a legal basis; a forbidding one consumers");
    read_validity(a, s, v[6], out);
    return a->report.errors == before;
}

static ehis_err draft_rules(struct author *a, const struct sheet *s, const struct sheet_node *node, struct span service,
                            const struct names *operations, struct registry_draft *d)
{
    const struct sheet_node *n;
    size_t count, good = 0;
    if (!sheet_list(&a->report, s, node, "rules", REGISTRY_RULES_MAX, &n, &count) || count == 0)
        return EHIS_OK;
    struct registry_rule_text *rules = calloc(count, sizeof *rules);
    struct span *lists = calloc(count, 4 * RULE_LIST_MAX * sizeof *lists);
    ehis_err err = rules && lists ? EHIS_OK : EHIS_E_NO_MEMORY;
    for (size_t i = 0; err == EHIS_OK && i < count; i++, n = n->next)
        good += read_rule(a, s, n, operations, lists + i * 4 * RULE_LIST_MAX, &rules[i]);
    if (err == EHIS_OK && good == count)
        err = registry_draft_rules(d, service, rules, count);
    free(rules);
    free(lists);
    return err;
}

static ehis_err draft_service(struct author *a, const struct sheet *s, struct registry_draft *d)
{
    static const char *const names[] = {"service", "operations", "rules"};
    const struct sheet_node *v[3], *n;
    struct registry_operation operations[64] = {0};
    struct registry_service service = {.operations = operations};
    struct names known = {0};
    size_t count, good = 0;
    if (!sheet_map(&a->report, s, s->root, names, 3, 3, v) ||
        !sheet_text(&a->report, s, v[0], "service", IDENTIFIER_MAX_BYTES, &service.id) ||
        !sheet_list(&a->report, s, v[1], "operations", 64, &n, &count))
        return EHIS_OK;
    check_id(a, s, v[0], IDENTIFIER_SERVICE);
    struct span system = identifier_prefix(service.id, IDENTIFIER_SYSTEM);
    if (!has_name(&a->owners, system))
        sheet_complain(&a->report, s, v[0], "the system \"%.*s\" is not in systems/ (ehis-registry add --as system)", SPAN_SHOW(system));
    for (; count > 0; count--, n = n->next)
        good += read_operation(a, s, n, &known, &operations[good]);
    service.operation_count = good;
    ehis_err err = add_name(a, s, v[0], &a->services, "service") ? registry_draft_service(d, &service) : EHIS_OK;
    if (err == EHIS_OK)
        err = draft_rules(a, s, v[2], service.id, &known, d);
    free(known.items);
    return err;
}

ehis_err author_draft(struct author *a, struct registry_draft **out, struct author_validity *validity)
{
    struct registry_draft *d = NULL;
    ehis_err err = registry_draft_new(&d);
    if (err == EHIS_OK)
        err = draft_registry(a, d, validity);
    for (unsigned kind = AUTHOR_AGENCY; kind < AUTHOR_KINDS; kind++) {
        for (const struct sheet *s = a->sheets[kind]; s && err == EHIS_OK; s = s->next)
            err = kind == AUTHOR_AGENCY    ? draft_agency(a, s, d)
                  : kind == AUTHOR_SERVICE ? draft_service(a, s, d)
                                           : draft_owner(a, s, kind == AUTHOR_GATEWAY, d);
    }
    if (err == EHIS_OK && a->report.is_short_of_memory)
        err = EHIS_E_NO_MEMORY;
    if (err == EHIS_OK && (a->report.errors || !a->sheets[AUTHOR_REGISTRY]))
        err = EHIS_E_REGISTRY_FORM;
    if (err == EHIS_OK)
        *out = d;
    else
        registry_draft_free(d);
    return err;
}
