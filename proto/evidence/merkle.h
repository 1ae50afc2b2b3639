/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* Proofs over RFC 6962 trees, for verifiers (RFC 9162 2.1.3.2, 2.1.4.2). Sizes up to 2^63. Paths are 32-byte hashes in a row, as they
 * came from a peer. Pure, any thread. */
#pragma once
#include "proto/crypto/hash.h"

#define MERKLE_MAX_SIZE (UINT64_C(1) << 63)

/* PROOF_INCLUSION: leaf (a leaf hash) is not shown to be number index of the tree of this size and root. */
ehis_err merkle_verify_inclusion(const struct hash *leaf, uint64_t index, uint64_t size, struct span path, const struct hash *root) EHIS_MUST_USE;
/* PROOF_CONSISTENCY: the tree of new_size is not shown to begin with the tree of old_size. An old size of 0 takes an empty path and the
 * empty tree's root; equal sizes an empty path and equal roots. */
ehis_err merkle_verify_consistency(uint64_t old_size, uint64_t new_size, const struct hash *old_root, const struct hash *new_root,
                                   struct span path) EHIS_MUST_USE;
