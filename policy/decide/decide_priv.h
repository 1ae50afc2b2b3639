/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* One rule against one question; shared by decide.c and explain.c, so that the explanation is the decision. */
#pragma once
#include "policy/decide/decide.h"
#include "policy/registry/rule.h"

enum { DECIDE_FAIL_CONSUMER, DECIDE_FAIL_OPERATION, DECIDE_FAIL_PURPOSE, DECIDE_FAIL_LEGAL_BASIS, DECIDE_FAIL_VALID_FROM, DECIDE_FAIL_VALID_UNTIL, DECIDE_FAILS };

struct decide_facts { /* the question, looked up */
    const struct registry_service *service;
    bool has_consumer, has_operation, is_terms_free;
    uint64_t operation; /* its bit */
    size_t purpose, legal_basis;
};
bool decide_prepare(const struct registry *r, const struct decide_question *q, struct decide_facts *f, struct decide_answer *out);
/* Bits 1 << DECIDE_FAIL_*, without the consumer's. */
unsigned decide_failed(const struct decide_facts *f, const struct decide_question *q, const struct registry_rule *rule);
const char *decide_fail_name(unsigned condition);
static inline bool decide_names(const struct registry_rule *rule, struct span consumer)
{
    for (size_t i = 0; i < rule->consumer_count; i++)
        if (registry_consumer_matches(rule->consumers[i], consumer))
            return true;
    return false;
}
