/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* The view's insides, shared by its reader (read.c, compile.c), its lookups (view.c) and the cutter of parts (part.c). */
#pragma once
#include <stdatomic.h>

#include "base/owned.h"
#include "policy/registry/draft.h"
#include "policy/registry/index.h"
#include "policy/registry/rule.h"

#define LEAF_NONE UINT32_MAX

struct owner {
    struct registry_owner pub; /* first: pointers to it are handed out */
    struct span contact;
    uint32_t leaf;
};
struct service {
    struct registry_service pub; /* first */
    uint32_t number, leaf, rules_leaf;
    struct registry_rule *rules;
    size_t rule_count;
    uint64_t lengths[4]; /* bit n: a consumer text of n bytes before its "*" */
};
struct agency { struct span id, name; };
struct key_ref { const struct registry_key *key; const struct owner *owner; };
/* One consumer text of one rule; those of one service with the same text are chained in document order. */
struct entry {
    struct span consumer; /* without its "*" */
    bool is_prefix;
    uint32_t service, rule, next /* entry + 1 */, last /* of the first: the chain's end */;
};
struct known { /* a statement of the chain */
    uint64_t version;
    struct hash hash;
    struct span signed_bytes; /* as in the document; empty: carried over from an older view */
    int64_t not_after_ms;
};

struct registry {
    atomic_uint refs;
    bool is_part;
    uint8_t *bytes;
    size_t len;
    struct span instance, signed_statement, operator_key_id;
    uint64_t version, leaf_count;
    struct hash hash, root;
    struct span previous;
    int64_t not_before_ms, not_after_ms;
    uint64_t grace_ms;
    struct known *known; /* ascending, without this one */
    size_t known_count, earlier_count;

    struct span *leaves; /* as they stand */
    size_t leaf_here;    /* how many of them; a part has fewer than leaf_count */
    struct tree tree;    /* of a whole document */

    struct owner *owners;
    struct service *services;
    struct agency *agencies;
    size_t owner_count, service_count, agency_count;
    struct span *terms[2]; /* legal bases, purposes */
    size_t term_count[2];
    uint32_t terms_leaf;
    struct key_ref *keys;
    size_t key_count, key_cap;
    struct entry *entries;
    size_t entry_count, entry_cap;
    struct index owner_index, service_index, agency_index, key_index, entry_index, term_index[2];
    struct owned owned; /* what the compiled leaves point to */
};

/* Leaves into owners, services, rules and their indices. */
ehis_err registry_compile(struct registry *r, struct ehis_why *why) EHIS_MUST_USE;
const struct owner *registry_find_owner(const struct registry *r, struct span id);
const struct service *registry_find_service(const struct registry *r, struct span id);
uint32_t registry_find_agency(const struct registry *r, struct span id);
uint32_t registry_find_entry(const struct registry *r, const struct service *s, struct span consumer, bool is_prefix); /* first of its chain */
uint32_t registry_find_key(const struct registry *r, const uint8_t id[32]);
static inline uint64_t registry_entry_hash(uint32_t service, struct span consumer, bool is_prefix)
{
    return index_hash(consumer) + (2 * (uint64_t)service + is_prefix) * 0x9E3779B97F4A7C15u;
}

#define REGISTRY_LABEL "ehis/registry/v1"
#define REGISTRY_SIGNED_BYTES (1 + 2 * HASH_BYTES)
#define REGISTRY_TIME_MAX_MS INT64_C(253402300799999) /* the year 9999 */
/* What an operator signs under the label: u8 algorithm || key id || H(statement). */
void registry_signed_content(uint8_t algorithm, struct span key_id, const struct hash *statement, uint8_t out[REGISTRY_SIGNED_BYTES]);
