/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* The path of a signature, and both Merkle proofs: any index, size and path. A path that is taken has the one length that index and size
 * call for; nothing verifies by luck. Input: u8 algorithm, u64 index, u64 size, leaf, path. */
#include "proto/crypto/sign.h"
#include "proto/evidence/merkle.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint8_t public_key[32] = {0x58, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66,
                                           0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66};
    struct cursor c = cursor_of(span_of(data, size));
    uint64_t algorithm, index, tree_size;
    struct span leaf_bytes;
    struct hash leaf, root;
    uint8_t signature[64] = {0};
    if (cursor_take_be(&c, 1, &algorithm) != EHIS_OK || cursor_take_be(&c, 8, &index) != EHIS_OK || cursor_take_be(&c, 8, &tree_size) != EHIS_OK ||
        cursor_take(&c, HASH_BYTES, &leaf_bytes) != EHIS_OK || crypto_init(NULL) != EHIS_OK)
        return 0;
    struct span path = span_of(c.p, cursor_left(&c));
    memcpy(leaf.b, leaf_bytes.p, HASH_BYTES);
    ehis_err err = tree_root_of_path(&leaf, index, tree_size, path, &root);
    bool fits = index < tree_size && path.len == tree_path_length(index, tree_size) * HASH_BYTES;
    EHIS_ASSERT(err == (fits ? EHIS_OK : EHIS_E_SIGNATURE_PATH));
    struct hash run[8], of_run;
    run[0] = leaf; /* a run of one is a leaf with its path */
    EHIS_ASSERT(tree_run_root(run, 1, index, tree_size, path, &of_run) == err && (!fits || memcmp(of_run.b, root.b, HASH_BYTES) == 0));
    for (size_t count = 2; count <= 8; count++) {
        for (size_t i = 0; i < count; i++)
            run[i] = leaf;
        (void)!tree_run_root(run, count, index, tree_size, path, &of_run);
    }
    if (fits && tree_size <= MERKLE_MAX_SIZE)
        EHIS_ASSERT(merkle_verify_inclusion(&leaf, index, tree_size, path, &root) == EHIS_OK);
    /* One root for both sizes: only where they are equal, or the old tree is the empty one. */
    if (merkle_verify_consistency(index, tree_size, &leaf, &leaf, path) == EHIS_OK)
        EHIS_ASSERT((index == tree_size || index == 0) && path.len == 0);
    memcpy(signature, leaf.b, HASH_BYTES);
    struct leaf_signature s = {(uint32_t)algorithm, leaf, (uint32_t)tree_size, (uint32_t)index, path, signature};
    EHIS_ASSERT(sign_verify_leaf(&leaf, &s, public_key, NULL) != EHIS_OK);
    return 0;
}
