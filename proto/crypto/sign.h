/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* Signatures, always a tree (SPEC 5). Ed25519 by libsodium alone. One signed form for every statement:
 *   "ehis/batch/v1\0" || u8 algorithm || key id[32] || u32 size || root[32]
 * Leaves: an envelope H(0x00 || D); others H(0x00 || H(label || fields)), so that no statement can pass for another. */
#pragma once
#include "proto/crypto/hash.h"

enum key_use { USE_SIGN = 1, USE_SEAL = 2, USE_TLS = 3, USE_OPERATOR = 4, USE_AUTHORITY = 5, USE_LOG = 6 };
enum key_algorithm { ALGORITHM_ED25519 = 1, ALGORITHM_X25519 = 2, ALGORITHM_SPKI = 3 };

/* Once a process, before anything of crypto: libsodium, the hash; refuses where either does not work. Any thread. */
ehis_err crypto_init(struct ehis_why *why) EHIS_MUST_USE;

/* H("ehis/key/v1\0" || u8 use || u8 algorithm || public key) */
void crypto_key_id(enum key_use use, enum key_algorithm algorithm, struct span public_key, struct hash *out);

struct sign_key; /* private, in the secret slab */
ehis_err sign_key_new(const uint8_t seed[32], enum key_use use, struct sign_key **out) EHIS_MUST_USE;
void sign_key_free(struct sign_key *k);
const struct hash *sign_key_id(const struct sign_key *k);
const uint8_t *sign_key_public(const struct sign_key *k); /* 32 bytes */

/* Signs the root of size leaves. Any thread. ~20 us. */
void sign_root(const struct sign_key *k, uint32_t size, const struct hash *root, uint8_t signature[64]);
/* SIGNATURE_BAD: also keys of small order and malformed points and scalars. ~50 us. */
ehis_err sign_verify_root(const uint8_t public_key[32], const struct hash *key_id, uint32_t size, const struct hash *root,
                          const uint8_t signature[64]) EHIS_MUST_USE;
/* Builds the tree of 1..2^20 leaves (then tree_path gives each its path) and signs its root. Errors of tree_build. */
ehis_err sign_batch(const struct sign_key *k, struct tree *t, const struct hash *leaves, size_t count, uint8_t signature[64]) EHIS_MUST_USE;
/* A plain Ed25519 signature over label (with its NUL) || content, in memory whole: proofs of possession, registry statements. */
void sign_bytes(const struct sign_key *k, const char *label, struct span content, uint8_t signature[64]);
ehis_err sign_verify_bytes(const uint8_t public_key[32], const char *label, struct span content, const uint8_t signature[64]) EHIS_MUST_USE;

/* Verified roots, bounded, the oldest forgotten; dropped whole at a registry load. One thread. */
struct root_cache;
ehis_err root_cache_new(size_t entries, struct root_cache **out) EHIS_MUST_USE;
void root_cache_free(struct root_cache *c);
void root_cache_drop(struct root_cache *c);
/* What was signed here a moment ago, as sign_batch left it: nobody need verify that when it comes back. */
void root_cache_own(struct root_cache *c, const struct sign_key *k, const struct tree *t, const uint8_t signature[64]);

/* A leaf's signature whole: path length, root, then cache or signature. cache may be NULL. SIGNATURE_PATH, SIGNATURE_BAD,
 * SIGNATURE_ALGORITHM. Who owns the key and whether it counts is the caller's question (policy/registry). */
struct leaf_signature {
    uint32_t algorithm;
    struct hash key_id;
    uint32_t size, index;
    struct span path;
    const uint8_t *signature; /* 64 */
};
ehis_err sign_verify_leaf(const struct hash *leaf, const struct leaf_signature *s, const uint8_t public_key[32], struct root_cache *cache) EHIS_MUST_USE;

/* The same for a run of leaves side by side (SPEC 6.4): s->index is the first's, s->path the run's proof. leaves are spent. */
ehis_err sign_verify_run(struct hash *leaves, size_t count, const struct leaf_signature *s, const uint8_t public_key[32], struct root_cache *cache) EHIS_MUST_USE;

/* Leaves of statements (SPEC 6): lp() strings, big-endian integers. */
void leaf_envelope(const struct hash *digest, struct hash *out);
void leaf_ack(const struct hash *digest, uint8_t outcome, uint32_t code, uint64_t time_ms, struct hash *out);
void leaf_receipt(const struct hash *digest, struct span sender, struct span recipient, uint8_t state, uint32_t code, uint64_t time_ms,
                  struct span gateway, struct hash *out);
void leaf_skip(struct span sender, struct span recipient, const uint8_t stream[16], uint64_t number, const struct hash *digest /* zeros if unknown */,
               uint8_t state, struct span gateway, struct hash *out);
/* payload_digest: D of an envelope, H of any other payload, H of nothing where there is none. */
void leaf_parcel(struct span topic, struct span head, const struct hash *payload_digest, struct hash *out);
