/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* Compiled rules of a service, for policy/decide and the tools. Borrowed from the view; any thread. Operations are bits in the order
 * of registry_service.operations (at most 64), terms are bits in the order of the registry's lists (at most 512). */
#pragma once
#include "policy/registry/registry.h"

#define REGISTRY_TERM_WORDS 8 /* 512 terms of a kind */
#define REGISTRY_RULES_MAX 512
#define REGISTRY_TERM_NONE SIZE_MAX

struct registry_term_set {
    uint64_t bits[REGISTRY_TERM_WORDS];
    bool is_any; /* a forbidding rule that names none */
};
struct registry_rule {
    struct span id, approval;
    bool is_forbid;
    uint64_t operations;
    int64_t valid_from_ms, valid_until_ms; /* until is exclusive */
    struct registry_term_set purposes, legal_bases;
    const struct span *consumers; /* systems; a final "*" in the last part stands for any rest of it */
    size_t consumer_count;
};
/* A service's rules in document order; none in a part of a system that does not own the service. */
const struct registry_rule *registry_rules(const struct registry_service *s, size_t *count);

/* Iterates the rules that name this system as consumer, hashed: about one step for each. Zero the cursor; the rule's number, or
 * SIZE_MAX at the end. In groups of equal consumer texts, not in document order; never one rule twice from one text. */
struct registry_rule_cursor {
    uint32_t next;         /* entry + 1 */
    unsigned length;       /* of the consumer texts still to be looked up, + 1 */
    bool is_begun;
};
size_t registry_rule_next(const struct registry *r, const struct registry_service *s, struct span consumer, struct registry_rule_cursor *c);
/* Does this text of a rule name this system? */
bool registry_consumer_matches(struct span consumer, struct span system);
/* The form of such a text: a system, or one whose last part ends in "*" (or is it). IDENTIFIER_INVALID. */
ehis_err registry_consumer_check(struct span text, struct ehis_why *why) EHIS_MUST_USE;

/* REGISTRY_TERM_NONE where there is no such term. */
size_t registry_term(const struct registry *r, bool is_purpose, struct span code);
/* Iterates a list: false at its end. */
bool registry_term_at(const struct registry *r, bool is_purpose, size_t i, struct span *code);
static inline bool registry_term_in(const struct registry_term_set *set, size_t term)
{
    return set->is_any || (term != REGISTRY_TERM_NONE && (set->bits[term / 64] >> (term % 64) & 1) != 0);
}
