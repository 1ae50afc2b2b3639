/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* What a document may say, but hardly means. */
#include <stdlib.h>

#include "policy/tool/tool.h"

#define DAY_MS INT64_C(86400000)
#define LONG_RULE_MS (2 * 366 * DAY_MS)
#define SEAL_KEY_MS (30 * DAY_MS) /* the longest use of a sealing key (SPEC 9) */
#define WARNINGS_MAX 1000

static void warn(json_t *out, const char *fmt, ...) EHIS_PRINTF(2, 3);
static void warn(json_t *out, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    if (json_array_size(out) < WARNINGS_MAX)
        json_array_append_new(out, json_vsprintf(fmt, args));
    va_end(args);
}

static void lint_consumers(const struct registry *r, const struct registry_service *s, const struct registry_rule *rule, json_t *out)
{
    for (size_t i = 0; i < rule->consumer_count; i++) {
        struct span c = rule->consumers[i];
        bool is_known = false;
        for (size_t k = 0; k < registry_owner_count(r) && !is_known; k++)
            is_known = !registry_owner_at(r, k)->is_gateway && registry_consumer_matches(c, registry_owner_at(r, k)->id);
        if (!is_known)
            warn(out, "rule %.*s of %.*s: no system is \"%.*s\"", SPAN_SHOW(rule->id), SPAN_SHOW(s->id), SPAN_SHOW(c));
        if (!rule->is_forbid && c.len > 1 && c.p[c.len - 1] == '*' && c.p[c.len - 2] == '/')
            warn(out, "rule %.*s of %.*s permits every system of an agency, present and to come: \"%.*s\"", SPAN_SHOW(rule->id), SPAN_SHOW(s->id),
                 SPAN_SHOW(c));
    }
}

static bool covers_terms(const struct registry_term_set *a, const struct registry_term_set *b)
{
    for (size_t i = 0; i < REGISTRY_TERM_WORDS && !a->is_any; i++)
        if (b->is_any || (b->bits[i] & ~a->bits[i]))
            return false;
    return true;
}

/* Does everything that b covers fall under a? A text with "*" covers the texts that begin as it does. */
static bool covers(const struct registry_rule *a, const struct registry_rule *b)
{
    if ((b->operations & ~a->operations) || !covers_terms(&a->purposes, &b->purposes) || !covers_terms(&a->legal_bases, &b->legal_bases) ||
        b->valid_from_ms < a->valid_from_ms || b->valid_until_ms > a->valid_until_ms)
        return false;
    for (size_t i = 0; i < b->consumer_count; i++) {
        bool is_covered = false;
        for (size_t k = 0; k < a->consumer_count && !is_covered; k++)
            is_covered = span_eq(a->consumers[k], b->consumers[i]) || registry_consumer_matches(a->consumers[k], b->consumers[i]);
        if (!is_covered)
            return false;
    }
    return true;
}

static void lint_rules(const struct registry *r, const struct registry_service *s, int64_t now_ms, json_t *out)
{
    size_t count;
    const struct registry_rule *rules = registry_rules(s, &count);
    if (count == 0)
        warn(out, "%.*s has no rules: nobody may use it", SPAN_SHOW(s->id));
    for (size_t i = 0; i < count; i++) {
        const struct registry_rule *a = &rules[i];
        lint_consumers(r, s, a, out);
        if (a->valid_until_ms <= now_ms)
            warn(out, "rule %.*s of %.*s is over", SPAN_SHOW(a->id), SPAN_SHOW(s->id));
        else if (!a->is_forbid && a->valid_until_ms - a->valid_from_ms > LONG_RULE_MS)
            warn(out, "rule %.*s of %.*s permits for more than two years", SPAN_SHOW(a->id), SPAN_SHOW(s->id));
        for (size_t k = 0; k < count; k++) {
            bool is_same = k != i && covers(&rules[k], a);
            if (is_same && !a->is_forbid && rules[k].is_forbid)
                warn(out, "rule %.*s of %.*s never permits: %.*s forbids all that it covers", SPAN_SHOW(a->id), SPAN_SHOW(s->id), SPAN_SHOW(rules[k].id));
            else if (is_same && a->is_forbid == rules[k].is_forbid && (k < i || !covers(a, &rules[k])))
                warn(out, "rule %.*s of %.*s adds nothing to %.*s", SPAN_SHOW(a->id), SPAN_SHOW(s->id), SPAN_SHOW(rules[k].id));
        }
    }
}

static void lint_owner(const struct registry_owner *o, int64_t now_ms, json_t *out)
{
    static const char *const names[] = {[USE_SIGN] = "signing", [USE_SEAL] = "sealing", [USE_TLS] = "TLS"};
    size_t good[4] = {0};
    for (size_t i = 0; i < o->key_count; i++) {
        const struct registry_key *k = &o->keys[i];
        if (k->revoked_ms || (k->retired_ms && k->retired_ms <= now_ms))
            continue;
        good[k->use]++;
        if (k->use == USE_SEAL && now_ms - k->not_before_ms > SEAL_KEY_MS)
            warn(out, "%.*s: its sealing key is over 30 days old", SPAN_SHOW(o->id));
    }
    for (unsigned use = USE_SIGN; use <= USE_TLS && !o->is_disabled; use++)
        if (!good[use] && !(use == USE_SEAL && o->is_gateway))
            warn(out, "%.*s has no %s key that counts", SPAN_SHOW(o->id), names[use]);
}

static int by_id(const void *x, const void *y) { return span_cmp(*(const struct span *)x, *(const struct span *)y); }

/* Rules of two services under one id: a record that names it would be read wrongly. */
static ehis_err lint_ids(const struct registry *r, json_t *out)
{
    size_t total = 0, n = 0, count;
    for (size_t i = 0; i < registry_service_count(r); i++, total += count)
        registry_rules(registry_service_at(r, i), &count);
    struct span *ids = calloc(total + 1, sizeof *ids);
    if (!ids)
        return EHIS_E_NO_MEMORY;
    for (size_t i = 0; i < registry_service_count(r); i++) {
        const struct registry_rule *rules = registry_rules(registry_service_at(r, i), &count);
        for (size_t k = 0; k < count; k++)
            ids[n++] = rules[k].id;
    }
    qsort(ids, n, sizeof *ids, by_id);
    for (size_t i = 1; i < n; i++)
        if (span_eq(ids[i - 1], ids[i]))
            warn(out, "rule id %.*s stands at two services", SPAN_SHOW(ids[i]));
    free(ids);
    return EHIS_OK;
}

static void lint_terms(const struct registry *r, json_t *out)
{
    struct span code;
    for (unsigned kind = 0; kind < 2; kind++) {
        for (size_t term = 0; registry_term_at(r, kind, term, &code); term++) {
            bool is_used = false;
            for (size_t i = 0; i < registry_service_count(r) && !is_used; i++) {
                size_t count;
                const struct registry_rule *rules = registry_rules(registry_service_at(r, i), &count);
                for (size_t k = 0; k < count && !is_used; k++) {
                    const struct registry_term_set *set = kind ? &rules[k].purposes : &rules[k].legal_bases;
                    is_used = !set->is_any && registry_term_in(set, term);
                }
            }
            if (!is_used)
                warn(out, "the %s \"%.*s\" is in no rule", kind ? "purpose" : "legal basis", SPAN_SHOW(code));
        }
    }
}

ehis_err lint(const struct registry *r, int64_t now_ms, json_t *warnings)
{
    struct registry_statement s;
    registry_statement(r, &s);
    if (s.not_after_ms - now_ms < 7 * DAY_MS)
        warn(warnings, "the document expires in less than 7 days");
    for (size_t i = 0; i < registry_owner_count(r); i++)
        lint_owner(registry_owner_at(r, i), now_ms, warnings);
    for (size_t i = 0; i < registry_service_count(r); i++)
        lint_rules(r, registry_service_at(r, i), now_ms, warnings);
    lint_terms(r, warnings);
    return lint_ids(r, warnings);
}
