/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
#include "gateway/bus/blob_list.h"

#include <stdlib.h>

ehis_err blob_list_check(const uint8_t *entries, const struct large_manifest *manifest)
{
    uint32_t count = large_chunk_count(manifest->bytes);
    struct hash *leaves = calloc(count, sizeof *leaves), top;
    struct tree t;
    if (!leaves)
        return EHIS_E_NO_MEMORY;
    for (uint32_t i = 0; i < count; i++)
        memcpy(leaves[i].b, entries + (size_t)i * BLOB_ENTRY_BYTES, HASH_BYTES);
    tree_init(&t);
    ehis_err err = tree_build(&t, leaves, count);
    if (err == EHIS_OK)
        tree_root(&t, &top);
    tree_fini(&t);
    free(leaves);
    return err != EHIS_OK ? err : memcmp(top.b, manifest->root.b, HASH_BYTES) == 0 ? EHIS_OK : EHIS_E_EXCHANGE_BLOB_ALTERED;
}

static ehis_err list_of(struct blob_lists *l, struct blob_store *store, const struct hash *key, const struct large_manifest *manifest, const struct blob_place *place,
                        const uint8_t **out)
{
    size_t oldest = 0, bytes = (size_t)large_chunk_count(manifest->bytes) * BLOB_ENTRY_BYTES;
    for (size_t i = 0; i < BLOB_LISTS_KEPT; i++) {
        /* The place: a body that was sent again, because its chunks were lost, has its list and its chunks elsewhere. */
        if (l->all[i].entries && memcmp(&l->all[i].key, key, sizeof *key) == 0 && memcmp(&l->all[i].root, &manifest->root, sizeof manifest->root) == 0 &&
            l->all[i].place.partition == place->partition && l->all[i].place.offset == place->offset) {
            l->all[i].used = ++l->uses;
            *out = l->all[i].entries;
            return EHIS_OK;
        }
        if (l->all[i].used < l->all[oldest].used)
            oldest = i;
    }
    uint8_t *entries = malloc(bytes);
    ehis_err err = entries ? store->read(store, key, place, entries, bytes) : EHIS_E_NO_MEMORY;
    if (err == EHIS_OK)
        err = blob_list_check(entries, manifest);
    if (err != EHIS_OK) {
        free(entries);
        return err;
    }
    free(l->all[oldest].entries);
    l->all[oldest].key = *key;
    l->all[oldest].root = manifest->root;
    l->all[oldest].place = *place;
    l->all[oldest].entries = entries;
    l->all[oldest].used = ++l->uses;
    *out = entries;
    return EHIS_OK;
}

ehis_err blob_lists_read(struct blob_lists *l, struct blob_store *store, const struct hash *key, const struct large_manifest *manifest, const struct blob_place *place,
                         uint32_t index, uint8_t *out)
{
    const uint8_t *entry;
    struct hash leaf;
    size_t len = large_chunk_bytes(manifest->bytes, index);
    EHIS_TRY(list_of(l, store, key, manifest, place, &entry));
    entry += (size_t)index * BLOB_ENTRY_BYTES;
    const struct blob_place at = {place->partition, be_get(entry + HASH_BYTES, 8)};
    EHIS_TRY(store->read(store, key, &at, out, len));
    large_leaf(span_of(out, len), &leaf);
    return memcmp(leaf.b, entry, HASH_BYTES) == 0 ? EHIS_OK : EHIS_E_EXCHANGE_BLOB_ALTERED;
}

void blob_lists_forget(struct blob_lists *l, const struct hash *key)
{
    for (size_t i = 0; i < BLOB_LISTS_KEPT; i++)
        if (!key || memcmp(&l->all[i].key, key, sizeof *key) == 0) {
            free(l->all[i].entries);
            l->all[i].entries = NULL;
            l->all[i].used = 0;
        }
}
