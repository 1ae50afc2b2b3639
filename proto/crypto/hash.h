/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* SHA-256 (OpenSSL, fetched once, context reused per thread) and RFC 6962 trees of at most 2^20 leaves. Pure, any thread. */
#pragma once
#include "base/bytes.h"

#define HASH_BYTES 32
struct hash { uint8_t b[HASH_BYTES]; };

/* Over the parts in order. Aborts where the library cannot hash at all (checked by crypto_init). */
void hash_spans(const struct span *parts, size_t count, struct hash *out);
static inline void hash_span(struct span s, struct hash *out) { hash_spans(&s, 1, out); }
/* HMAC-free domain: the leaf of a 32-byte digest, H(0x00 || d), and the node H(0x01 || l || r). */
void hash_leaf(struct span content, struct hash *out);
void hash_node(const struct hash *l, const struct hash *r, struct hash *out);

/* D = H("ehis/env/v1\0" || u32 len(header) || header || u64 len(sealed) || H(sealed))  (SPEC 2.1) */
void hash_envelope(struct span header, uint64_t sealed_bytes, const struct hash *sealed_hash, struct hash *out);

/* A tree built whole: every node kept, so that each path is a copy. Embedded. */
struct tree {
    struct hash *nodes; /* level after level, leaves first */
    size_t leaf_count, cap;
};
void tree_init(struct tree *t);
void tree_fini(struct tree *t);
/* leaves: leaf hashes (already H(0x00 || ...)); 1..2^20. INVALID for none, TOO_LARGE, NO_MEMORY; t unchanged then. Reuses memory. */
ehis_err tree_build(struct tree *t, const struct hash *leaves, size_t count) EHIS_MUST_USE;
void tree_root(const struct tree *t, struct hash *out);
/* Writes at most 20 hashes, the leaf's sibling first; returns how many. index < leaf_count. */
size_t tree_path(const struct tree *t, size_t index, struct hash out[20]);
/* What a run of leaves side by side lacks to the root (SPEC 6.4): at most 40 hashes; returns how many. A run of one: its path. */
#define TREE_PROOF_MAX 40
size_t tree_run_proof(const struct tree *t, size_t first, size_t count, struct hash out[TREE_PROOF_MAX]);
/* The root that a run and its proof give; leaves are spent. SIGNATURE_PATH where the run is empty or not within size, or the proof is not as long as
 * they call for. */
ehis_err tree_run_root(struct hash *leaves, size_t count, uint64_t first, uint64_t size, struct span proof, struct hash *out) EHIS_MUST_USE;
/* Length that a path must have; 0 for a tree of one. */
size_t tree_path_length(uint64_t index, uint64_t size);
/* The root that leaf and path give. SIGNATURE_PATH where index >= size or the length is not what they call for. */
ehis_err tree_root_of_path(const struct hash *leaf, uint64_t index, uint64_t size, struct span path, struct hash *out) EHIS_MUST_USE;
