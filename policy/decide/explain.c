/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* The same decision, told. For those who may see the owner's rules: operators, owners, auditors. */
#include "base/clock.h"
#include "policy/decide/decide_priv.h"


static ehis_err put_rule(const struct decide_facts *f, const struct decide_question *q, const struct registry_rule *rule, struct buf *out)
{
    char from[TIME_TEXT_LEN], until[TIME_TEXT_LEN];
    unsigned failed = decide_failed(f, q, rule);
    if (!f->has_consumer || !decide_names(rule, q->consumer))
        failed |= 1u << DECIDE_FAIL_CONSUMER;
    EHIS_TRY(buf_printf(out, "  %s %.*s (%s)", failed ? "-" : "+", SPAN_SHOW(rule->id), rule->is_forbid ? "forbids" : "permits"));
    for (unsigned i = 0, said = 0; i < DECIDE_FAILS; i++)
        if (failed >> i & 1)
            EHIS_TRY(buf_printf(out, "%s%s", said++ ? ", " : ": differs in ", decide_fail_name(i)));
    if (failed >> DECIDE_FAIL_VALID_FROM & 3) {
        time_to_text(rule->valid_from_ms, from);
        time_to_text(rule->valid_until_ms, until);
        EHIS_TRY(buf_printf(out, " (%s to %s)", from, until));
    }
    return buf_printf(out, "%s; approved by %.*s\n", failed ? "" : ": holds", SPAN_SHOW(rule->approval));
}

ehis_err decide_explain(const struct registry *r, const struct decide_question *q, struct buf *out)
{
    static const char *const what[] = {[DECIDE_CALL] = "calls", [DECIDE_RECEIVE] = "receives", [DECIDE_PUBLISH] = "publishes"};
    struct decide_answer a, ignored;
    struct decide_facts f;
    size_t count = 0;
    decide(r, q, &a);
    EHIS_TRY(buf_printf(out, "%s%s%s: %.*s %s %.*s %.*s", a.is_permitted ? "PERMIT" : "DENY", a.is_permitted ? "" : " ",
                        a.is_permitted ? "" : ehis_err_name(a.code), SPAN_SHOW(q->consumer), q->what <= DECIDE_PUBLISH ? what[q->what] : "?",
                        SPAN_SHOW(q->service), SPAN_SHOW(q->operation)));
    if (q->purpose.len || q->legal_basis.len)
        EHIS_TRY(buf_printf(out, " for \"%.*s\" under \"%.*s\"", SPAN_SHOW(q->purpose), SPAN_SHOW(q->legal_basis)));
    EHIS_TRY(buf_printf(out, "\n"));
    if (a.rule.len)
        EHIS_TRY(buf_printf(out, "  %s rule: %.*s%s%s\n",
                            a.is_permitted                      ? "permitting"
                            : a.code == EHIS_E_POLICY_FORBIDDEN ? "forbidding"
                                                                : "nearest",
                            SPAN_SHOW(a.rule), a.failed[0] ? ", which differs in " : "", a.failed));
    if (!decide_prepare(r, q, &f, &ignored) || q->what == DECIDE_PUBLISH)
        return a.failed[0] && !a.is_permitted ? buf_printf(out, "  what fails: %s\n", a.failed) : EHIS_OK;
    const struct registry_rule *rules = registry_rules(f.service, &count);
    for (size_t i = 0; i < count; i++)
        EHIS_TRY(put_rule(&f, q, &rules[i], out));
    return buf_printf(out, "  %zu rule%s considered%s\n", count, count == 1 ? "" : "s", a.is_permitted ? "" : "; what no rule permits is denied");
}
