/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* The registry (SPEC 10): an immutable, counted view of a verified document (a gateway's, whole) or part (a system's). Everything
 * returned is borrowed for as long as the view is held. Lookups are hashed. Any thread may read; ref and unref are atomic. */
#pragma once
#include "base/bytes.h"
#include "proto/crypto/sign.h"

struct registry;
struct envelope_signature; /* proto/wire/envelope.h */

struct registry_key {
    struct hash id;
    enum key_use use;
    enum key_algorithm algorithm;
    struct span public_key;
    int64_t not_before_ms, retired_ms, revoked_ms; /* 0 = not */
};
struct registry_owner { /* a system or a gateway */
    struct span id;
    bool is_gateway, is_disabled;
    const struct registry_key *keys;
    size_t key_count;
};
struct registry_operation {
    struct span name;
    bool is_event;
    struct span request_schema, response_schema;
    uint32_t max_response_bytes;
};
struct registry_service {
    struct span id, system;
    const struct registry_operation *operations;
    size_t operation_count;
};

/* Operator keys that may sign statements: raw Ed25519 public keys from the settings. */
struct registry_trust {
    const uint8_t (*operator_keys)[32];
    size_t count;
    struct span instance; /* "AZ": a document of another instance is refused */
};
/* As now_ms of the two readers: at whatever time, for what was stored here. It may have expired since, but still names the gateways to fetch
 * a newer one from, and still is the floor below which none is taken. The caller asks registry_check_time before anything else. */
#define REGISTRY_ANY_TIME INT64_MIN

/* Verifies and compiles a whole document: scan, statement signature, root over the leaves, every leaf canonical, names unique and in
 * their agencies, keys' ids right, validity at now. older (may be NULL): the view held; its version must be lower, or equal with the
 * same statement hash (then REGISTRY_SAME), and the chain earlier.. must lead from it where it is given. REGISTRY_* with the place. */
ehis_err registry_from_document(struct span bytes, const struct registry_trust *trust, const struct registry *older, int64_t now_ms,
                                struct registry **out, struct ehis_why *why) EHIS_MUST_USE;
/* The same from a RegistryPart: each leaf by its path. */
ehis_err registry_from_part(struct span bytes, const struct registry_trust *trust, const struct registry *older, int64_t now_ms,
                            struct registry **out, struct ehis_why *why) EHIS_MUST_USE;
struct registry *registry_ref(struct registry *r);
void registry_unref(struct registry *r);

uint64_t registry_version(const struct registry *r);
const struct hash *registry_hash(const struct registry *r); /* of the statement */
int64_t registry_not_after_ms(const struct registry *r);    /* without grace */
/* REGISTRY_EXPIRED past not_after + grace, REGISTRY_NOT_YET before not_before. */
ehis_err registry_check_time(const struct registry *r, int64_t now_ms) EHIS_MUST_USE;
/* Does this version and hash belong to the chain held? REGISTRY_NEWER: not known yet (fetch, or BUSY); REGISTRY_FORK: contradicts it;
 * REGISTRY_UNKNOWN_VERSION: older than what is kept. */
ehis_err registry_check_known(const struct registry *r, uint64_t version, const uint8_t hash[32]) EHIS_MUST_USE;

/* NULL where unknown (or, in a part, not visible). */
const struct registry_owner *registry_system(const struct registry *r, struct span id);
const struct registry_owner *registry_gateway(const struct registry *r, struct span id);
const struct registry_service *registry_service(const struct registry *r, struct span id);
const struct registry_operation *registry_operation(const struct registry_service *s, struct span name);
bool registry_is_term(const struct registry *r, bool is_purpose, struct span code);
/* Iterates systems, gateways, services in document order. */
size_t registry_owner_count(const struct registry *r);
const struct registry_owner *registry_owner_at(const struct registry *r, size_t i);
size_t registry_service_count(const struct registry *r);
const struct registry_service *registry_service_at(const struct registry *r, size_t i);

/* The key that signed something created at created_ms (0: now): KEY_UNKNOWN (no such key), KEY_FOREIGN (another's), KEY_USE,
 * KEY_REVOKED (whatever created says), KEY_RETIRED (created after retirement, or that is over 14 days ago), KEY_NOT_YET. */
ehis_err registry_signing_key(const struct registry *r, struct span owner, const uint8_t key_id[32], int64_t created_ms, int64_t now_ms,
                              const struct registry_key **out) EHIS_MUST_USE;
/* What an owner is said to have signed: an envelope, an acknowledgement. */
struct registry_word {
    struct span owner;
    int64_t created_ms; /* 0: now */
    const struct envelope_signature *signature;
    const struct hash *leaf;
    bool is_met_again; /* by itself; else the root of a tree of one is not kept */
};
/* Errors of registry_signing_key and sign_verify_leaf. */
ehis_err registry_verify(const struct registry *r, const struct registry_word *w, int64_t now_ms, struct root_cache *roots) EHIS_MUST_USE;
/* The key to seal to now: the newest of use SEAL that counts. KEY_UNKNOWN where there is none. */
ehis_err registry_sealing_key(const struct registry *r, struct span system, int64_t now_ms, const struct registry_key **out) EHIS_MUST_USE;
/* Is this SPKI pinned for the owner now? KEY_PIN. */
ehis_err registry_check_pin(const struct registry *r, struct span owner, bool is_gateway, struct span spki_der, int64_t now_ms) EHIS_MUST_USE;

/* What this system may see (R5): itself, the gateways, terms, the services that it may call or receive from with their systems' keys, and for its
 * own services the rules and their consumers' systems. have_version: earlier statements from there on are added. TOO_LARGE. */
ehis_err registry_part(const struct registry *r, struct span system, uint64_t have_version, struct buf *out, struct ehis_why *why) EHIS_MUST_USE;

/* Keeps the highest statement durably (anti-rollback) and the document itself, in a folder: file_write underneath. */
ehis_err registry_store(const struct registry *r, const char *file, struct ehis_why *why) EHIS_MUST_USE;
/* The exact bytes that this view was made from. */
struct span registry_bytes(const struct registry *r);
