/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* A registry for tests: signed documents made in memory, with the private keys of everybody in them. Aborts where anything fails. Lists
 * are texts joined by '|'. Keys come from the seed: the same seed and order of calls give the same bytes. */
#pragma once
#include "policy/registry/registry.h"
#include "proto/crypto/seal.h"

struct test_registry;
struct test_owner {
    char id[201];
    bool is_gateway;
    struct sign_key *sign; /* owned by the test registry */
    struct seal_key *seal; /* NULL of a gateway */
};
struct test_rule {
    const char *id, *consumers, *operations, *purposes, *legal_bases; /* "POP-1", "AZ/GOV/STS/avis-*|AZ/GOV/X/y", "GetPerson", "tax", "Law 23" */
    bool is_forbid;
    int64_t valid_from_ms, valid_until_ms; /* 0: a year before and after the registry's now */
};

/* Instance "AZ"; statements are valid from now_ms - 1 h for 30 days, grace 3 days. Time does not pass by itself. */
struct test_registry *test_registry_new(uint64_t seed, int64_t now_ms);
void test_registry_free(struct test_registry *t);

/* Adds a system (its agency too) or a gateway with one key of each use; tls_spki may be empty: then there is no TLS pin. Keys are valid
 * from a year before now. The pointer stays good until free. */
const struct test_owner *test_registry_system(struct test_registry *t, const char *id, struct span tls_spki);
const struct test_owner *test_registry_gateway(struct test_registry *t, const char *id, struct span tls_spki);
const struct test_owner *test_registry_owner(struct test_registry *t, const char *id); /* aborts where unknown */
/* Operations joined by '|'; events begin with '!', requests that have a response schema with '?': "GetPerson|?FindPersons|!PersonChanged". */
void test_registry_service(struct test_registry *t, const char *id, const char *operations);
/* Adds a rule; its purposes and legal bases become terms. */
void test_registry_rule(struct test_registry *t, const char *service, const struct test_rule *rule);
void test_registry_drop_rules(struct test_registry *t, const char *service);
/* Changes keys: the newest of this use. 0 = not. The old private keys stay good until free. */
void test_registry_retire(struct test_registry *t, const char *owner, enum key_use use, int64_t at_ms);
void test_registry_revoke(struct test_registry *t, const char *owner, enum key_use use, int64_t at_ms);
void test_registry_new_key(struct test_registry *t, const char *owner, enum key_use use /* SIGN or SEAL */, int64_t not_before_ms);
void test_registry_pin(struct test_registry *t, const char *owner, struct span tls_spki); /* one more TLS key */
void test_registry_disable(struct test_registry *t, const char *system, bool is_disabled);
/* Of the next document. */
void test_registry_validity(struct test_registry *t, int64_t not_before_ms, int64_t not_after_ms, uint64_t grace_ms);

/* Builds and signs the next version (1, 2, ...), which continues the last, and reads it as a gateway does. The caller unrefs. */
struct registry *test_registry_publish(struct test_registry *t);
/* The part of the last document that a system may see, read as an adapter does. The caller unrefs. */
struct registry *test_registry_part(struct test_registry *t, const char *system);
struct span test_registry_bytes(const struct test_registry *t); /* of the last document; good until the next */
const struct registry_trust *test_registry_trust(const struct test_registry *t);
const struct sign_key *test_registry_operator(const struct test_registry *t);
