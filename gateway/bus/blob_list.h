/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* The lists of chunks (SPEC 18.4): what proves each. The blob thread's. */
#pragma once
#include "gateway/bus/blob.h"

#define BLOB_LISTS_KEPT 16

struct blob_lists { /* those that were read last */
    struct { struct hash key, root; struct blob_place place; uint8_t *entries; uint64_t used; } all[BLOB_LISTS_KEPT];
    uint64_t uses;
};
/* Its leaves give the root, or it is not this body's: EXCHANGE_BLOB_ALTERED. */
ehis_err blob_list_check(const uint8_t *entries, const struct large_manifest *manifest) EHIS_MUST_USE;
/* The chunk, compared with its leaf; the list from place where it is not known. Errors of the store; EXCHANGE_BLOB_ALTERED. */
ehis_err blob_lists_read(struct blob_lists *l, struct blob_store *store, const struct hash *key, const struct large_manifest *manifest, const struct blob_place *place,
                         uint32_t index, uint8_t *out) EHIS_MUST_USE;
void blob_lists_forget(struct blob_lists *l, const struct hash *key); /* NULL: all */
