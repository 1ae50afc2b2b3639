/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
#include "proto/evidence/merkle.h"

static bool hash_eq(const struct hash *a, const struct hash *b) { return memcmp(a->b, b->b, HASH_BYTES) == 0; }

ehis_err merkle_verify_inclusion(const struct hash *leaf, uint64_t index, uint64_t size, struct span path, const struct hash *root)
{
    struct hash r;
    if (size > MERKLE_MAX_SIZE || tree_root_of_path(leaf, index, size, path, &r) != EHIS_OK || !hash_eq(&r, root))
        return EHIS_E_PROOF_INCLUSION;
    return EHIS_OK;
}

/* Walks up from the old tree's last full subtree, building both roots at once. 0 < old_size < new_size. */
static bool is_prefix(uint64_t old_size, uint64_t new_size, const struct hash *old_root, const struct hash *new_root, struct span path)
{
    struct hash first = *old_root, from_old, from_new, c;
    uint64_t node = old_size - 1, last = new_size - 1;
    if ((old_size & (old_size - 1)) != 0) { /* a power of two is a full subtree itself: its root is not repeated in the path */
        if (path.len == 0)
            return false;
        memcpy(first.b, path.p, HASH_BYTES);
        path = span_of(path.p + HASH_BYTES, path.len - HASH_BYTES);
    }
    for (; node & 1; node >>= 1)
        last >>= 1;
    from_old = from_new = first;
    for (; path.len > 0; path = span_of(path.p + HASH_BYTES, path.len - HASH_BYTES)) {
        if (last == 0)
            return false;
        memcpy(c.b, path.p, HASH_BYTES);
        if ((node & 1) || node == last) {
            hash_node(&c, &from_old, &from_old);
            hash_node(&c, &from_new, &from_new);
            for (; !(node & 1) && node != 0; node >>= 1)
                last >>= 1;
        } else {
            hash_node(&from_new, &c, &from_new);
        }
        node >>= 1;
        last >>= 1;
    }
    return last == 0 && hash_eq(&from_old, old_root) && hash_eq(&from_new, new_root);
}

ehis_err merkle_verify_consistency(uint64_t old_size, uint64_t new_size, const struct hash *old_root, const struct hash *new_root, struct span path)
{
    struct hash empty;
    bool ok;
    if (old_size > new_size || new_size > MERKLE_MAX_SIZE || path.len % HASH_BYTES != 0)
        return EHIS_E_PROOF_CONSISTENCY;
    hash_span(span_of(NULL, 0), &empty);
    if (old_size == 0)
        ok = path.len == 0 && hash_eq(old_root, &empty) && (new_size > 0 || hash_eq(new_root, &empty));
    else if (old_size == new_size)
        ok = path.len == 0 && hash_eq(old_root, new_root);
    else
        ok = path.len > 0 && is_prefix(old_size, new_size, old_root, new_root, path);
    return ok ? EHIS_OK : EHIS_E_PROOF_CONSISTENCY;
}
