/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
#include "policy/decide/decide_priv.h"

/* What may fail of a rule, the gravest for "nearest" first. */
static const struct {
    ehis_err code;
    const char *name;
} conditions[DECIDE_FAILS] = {
    [DECIDE_FAIL_CONSUMER] = {EHIS_E_POLICY_CONSUMER, "consumer"},
    [DECIDE_FAIL_OPERATION] = {EHIS_E_POLICY_OPERATION, "operation"},
    [DECIDE_FAIL_PURPOSE] = {EHIS_E_POLICY_PURPOSE, "purpose"},
    [DECIDE_FAIL_LEGAL_BASIS] = {EHIS_E_POLICY_LEGAL_BASIS, "legal_basis"},
    [DECIDE_FAIL_VALID_FROM] = {EHIS_E_POLICY_NOT_YET_VALID, "valid_from"},
    [DECIDE_FAIL_VALID_UNTIL] = {EHIS_E_POLICY_NO_LONGER_VALID, "valid_until"},
};
const char *decide_fail_name(unsigned condition) { return conditions[condition].name; }

static void deny(struct decide_answer *out, ehis_err code, const char *failed)
{
    out->is_permitted = false;
    out->code = code;
    out->failed = failed;
}

/* The question against the registry, without its rules; false: *out says why not. */
bool decide_prepare(const struct registry *r, const struct decide_question *q, struct decide_facts *f, struct decide_answer *out)
{
    *out = (struct decide_answer){.code = EHIS_OK, .failed = ""};
    if (q->what > DECIDE_PUBLISH || q->at_ms <= 0 || q->consumer.len == 0 || q->service.len == 0 || q->operation.len == 0)
        deny(out, EHIS_E_POLICY_EVALUATION, "question");
    else if (registry_check_time(r, q->at_ms) == EHIS_E_REGISTRY_EXPIRED)
        deny(out, EHIS_E_POLICY_EVALUATION, "registry");
    else if (!(f->service = registry_service(r, q->service)))
        deny(out, EHIS_E_POLICY_UNKNOWN_SERVICE, "service");
    if (out->code != EHIS_OK)
        return false;
    const struct registry_operation *o = registry_operation(f->service, q->operation);
    const struct registry_owner *consumer = registry_system(r, q->consumer);
    f->has_consumer = consumer && !consumer->is_disabled; /* whoever is disabled, or unknown, is named by no rule */
    f->has_operation = o && o->is_event == (q->what != DECIDE_CALL);
    f->operation = f->has_operation ? UINT64_C(1) << (o - f->service->operations) : 0;
    f->is_terms_free = q->what == DECIDE_RECEIVE && q->purpose.len == 0 && q->legal_basis.len == 0;
    f->purpose = registry_term(r, true, q->purpose);
    f->legal_basis = registry_term(r, false, q->legal_basis);
    return true;
}

unsigned decide_failed(const struct decide_facts *f, const struct decide_question *q, const struct registry_rule *rule)
{
    unsigned failed = 0;
    failed |= (unsigned)!(rule->operations & f->operation) << DECIDE_FAIL_OPERATION;
    if (!f->is_terms_free) {
        failed |= (unsigned)!registry_term_in(&rule->purposes, f->purpose) << DECIDE_FAIL_PURPOSE;
        failed |= (unsigned)!registry_term_in(&rule->legal_bases, f->legal_basis) << DECIDE_FAIL_LEGAL_BASIS;
    }
    failed |= (unsigned)(q->at_ms < rule->valid_from_ms) << DECIDE_FAIL_VALID_FROM;
    return failed | (unsigned)(q->at_ms >= rule->valid_until_ms) << DECIDE_FAIL_VALID_UNTIL;
}

/* The permitting rule that lacks least; one for other systems only where none names the consumer. Ties: the first. */
static void explain_denial(const struct decide_facts *f, const struct decide_question *q, struct decide_answer *out)
{
    size_t count, best = SIZE_MAX;
    unsigned best_failed = 0, best_distance = UINT32_MAX;
    const struct registry_rule *rules = registry_rules(f->service, &count);
    for (size_t i = 0; i < count; i++) {
        if (rules[i].is_forbid)
            continue;
        unsigned failed = decide_failed(f, q, &rules[i]);
        if (!f->has_consumer || !decide_names(&rules[i], q->consumer))
            failed |= 1u << DECIDE_FAIL_CONSUMER;
        unsigned distance = (unsigned)__builtin_popcount(failed) + (failed & 1u << DECIDE_FAIL_CONSUMER ? DECIDE_FAILS : 0);
        if (distance < best_distance) {
            best = i;
            best_failed = failed;
            best_distance = distance;
        }
    }
    if (best == SIZE_MAX) {
        deny(out, EHIS_E_POLICY_NO_RULE, "");
        return;
    }
    unsigned first = (unsigned)__builtin_ctz(best_failed);
    bool is_only = (best_failed & (best_failed - 1)) == 0;
    out->rule = rules[best].id;
    deny(out, is_only ? conditions[first].code : EHIS_E_POLICY_NO_RULE, conditions[first].name);
}

void decide(const struct registry *r, const struct decide_question *q, struct decide_answer *out)
{
    struct decide_facts f;
    size_t count, permit = SIZE_MAX, forbid = SIZE_MAX;
    if (!decide_prepare(r, q, &f, out))
        return;
    if (q->what == DECIDE_PUBLISH) { /* a system publishes what it offers; nobody else does */
        const struct registry_owner *owner = registry_system(r, q->consumer);
        out->is_consumer_named = span_eq(f.service->system, q->consumer);
        if (!out->is_consumer_named || !owner || owner->is_disabled)
            deny(out, EHIS_E_POLICY_CONSUMER, "consumer");
        else if (!f.has_operation)
            deny(out, EHIS_E_POLICY_UNKNOWN_OPERATION, "operation");
        else
            out->is_permitted = true;
        return;
    }
    const struct registry_rule *rules = registry_rules(f.service, &count);
    struct registry_rule_cursor c = {0};
    for (size_t i; f.has_consumer && (i = registry_rule_next(r, f.service, q->consumer, &c)) != SIZE_MAX;) {
        size_t *which = rules[i].is_forbid ? &forbid : &permit;
        out->is_consumer_named |= !rules[i].is_forbid;
        if (i < *which && decide_failed(&f, q, &rules[i]) == 0)
            *which = i;
    }
    if (!f.has_operation) {
        deny(out, EHIS_E_POLICY_UNKNOWN_OPERATION, "operation");
    } else if (forbid != SIZE_MAX) {
        out->rule = rules[forbid].id;
        deny(out, EHIS_E_POLICY_FORBIDDEN, "");
    } else if (permit != SIZE_MAX) {
        out->rule = rules[permit].id;
        out->is_permitted = true;
    } else {
        explain_denial(&f, q, out);
    }
}

ehis_err decide_code_for_consumer(const struct decide_answer *a)
{
    return a->is_permitted || a->is_consumer_named ? a->code : EHIS_E_POLICY_NO_RULE;
}

void decide_receivers(const struct registry *r, struct span service, struct span event, int64_t at_ms,
                      void (*each)(void *ctx, const struct registry_owner *system), void *ctx)
{
    size_t n = registry_owner_count(r);
    for (size_t i = 0; i < n; i++) {
        const struct registry_owner *o = registry_owner_at(r, i);
        struct decide_question q = {.what = DECIDE_RECEIVE, .consumer = o->id, .service = service, .operation = event, .at_ms = at_ms};
        struct decide_answer a;
        if (o->is_gateway)
            continue;
        decide(r, &q, &a);
        if (a.is_permitted)
            each(ctx, o);
    }
}
