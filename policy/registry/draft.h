/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* Making documents: leaves are collected in a draft, built into an unsigned document that continues the previous one, and signed.
 * One thread an object. */
#pragma once
#include "policy/registry/registry.h"

#define REGISTRY_DOCUMENT_MAX_BYTES (16 * 1024 * 1024)
#define REGISTRY_LEAVES_MAX 65536
#define REGISTRY_EARLIER_MAX 4096
#define REGISTRY_KEYS_MAX 16

/* A rule as it is written; lists are borrowed for the call. */
struct registry_rule_text {
    struct span id, approval;
    bool is_forbid;
    const struct span *consumers, *operations, *purposes, *legal_bases;
    size_t consumer_count, operation_count, purpose_count, legal_basis_count;
    int64_t valid_from_ms, valid_until_ms;
};
struct registry_term_text { struct span code, label_en, label_az; };

struct registry_draft;
ehis_err registry_draft_new(struct registry_draft **out) EHIS_MUST_USE;
void registry_draft_free(struct registry_draft *d);
/* Each appends one leaf, in the order of the document. Contents are judged when the document is read. NO_MEMORY, TOO_LARGE. */
ehis_err registry_draft_terms(struct registry_draft *d, const struct registry_term_text *purposes, size_t purpose_count,
                              const struct registry_term_text *legal_bases, size_t legal_basis_count) EHIS_MUST_USE;
ehis_err registry_draft_agency(struct registry_draft *d, struct span id, struct span name) EHIS_MUST_USE;
/* A system or a gateway; contact is of systems alone. */
ehis_err registry_draft_owner(struct registry_draft *d, const struct registry_owner *o, struct span contact) EHIS_MUST_USE;
ehis_err registry_draft_service(struct registry_draft *d, const struct registry_service *s) EHIS_MUST_USE;
ehis_err registry_draft_rules(struct registry_draft *d, struct span service, const struct registry_rule_text *rules, size_t count) EHIS_MUST_USE;

struct registry_validity { /* of a statement */
    struct span instance;
    int64_t not_before_ms, not_after_ms;
    uint64_t grace_ms;
    int64_t keep_after_ms; /* earlier statements that were in force after this time stay in the chain */
};
/* Appends an unsigned document of version previous + 1 (1 where previous is NULL). previous must be signed; its statement and chain are
 * carried on. The result has been read back: REGISTRY_CONTENT with the place. */
ehis_err registry_build(const struct registry_draft *d, const struct registry_validity *of, const struct registry *previous, struct buf *out,
                        struct ehis_why *why) EHIS_MUST_USE;
/* Appends the document with the operator's signature put in; a signature that stands there is replaced. */
ehis_err registry_sign(struct span document, const struct sign_key *operator_key, struct buf *out, struct ehis_why *why) EHIS_MUST_USE;

/* For tools: reads a whole document without looking at its signature or time. Never for deciding anything about a peer. */
ehis_err registry_from_unverified(struct span document, struct registry **out, struct ehis_why *why) EHIS_MUST_USE;
/* What stands in the statement beside what registry.h gives. */
struct registry_statement {
    struct span instance;
    int64_t not_before_ms, not_after_ms;
    uint64_t grace_ms, leaf_count;
    struct span operator_key_id; /* empty: not signed */
    size_t earlier_count;
};
void registry_statement(const struct registry *r, struct registry_statement *out);
/* Name and contact as people read them; empty where not given. */
struct span registry_contact(const struct registry *r, struct span system);
struct span registry_agency_at(const struct registry *r, size_t i, struct span *name); /* empty at the end */
