/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
#include "proto/crypto/hash.h"

#include <pthread.h>
#include <stdlib.h>

#include <openssl/evp.h>

#define TREE_MAX_LEAVES ((size_t)1 << 20)

/* Fetching the algorithm and making a context cost more than a small hash: once a process, once a thread. */
static EVP_MD *sha256;
static pthread_key_t context_key; /* frees a thread's context at its end */
static pthread_once_t once = PTHREAD_ONCE_INIT;
static _Thread_local EVP_MD_CTX *thread_context;

static void free_context(void *p)
{
    thread_context = NULL;
    EVP_MD_CTX_free(p);
}

static void fetch(void)
{
    sha256 = EVP_MD_fetch(NULL, "SHA256", NULL);
    EHIS_ASSERT(sha256 != NULL);
    EHIS_ASSERT(pthread_key_create(&context_key, free_context) == 0);
}

static EVP_MD_CTX *make_context(void)
{
    pthread_once(&once, fetch);
    EVP_MD_CTX *c = EVP_MD_CTX_new();
    EHIS_ASSERT(c != NULL && pthread_setspecific(context_key, c) == 0);
    return thread_context = c;
}

void hash_spans(const struct span *parts, size_t count, struct hash *out)
{
    EVP_MD_CTX *c = thread_context ? thread_context : make_context();
    bool ok = EVP_DigestInit_ex2(c, sha256, NULL);
    for (size_t i = 0; i < count; i++)
        ok = ok && (parts[i].len == 0 || EVP_DigestUpdate(c, parts[i].p, parts[i].len));
    ok = ok && EVP_DigestFinal_ex(c, out->b, NULL);
    EHIS_ASSERT(ok);
}

void hash_leaf(struct span content, struct hash *out)
{
    static const uint8_t prefix = 0;
    hash_spans((struct span[]){{&prefix, 1}, content}, 2, out);
}

void hash_node(const struct hash *l, const struct hash *r, struct hash *out)
{
    uint8_t b[1 + 2 * HASH_BYTES] = {1};
    memcpy(b + 1, l->b, HASH_BYTES);
    memcpy(b + 1 + HASH_BYTES, r->b, HASH_BYTES);
    hash_span(span_of(b, sizeof b), out);
}

void hash_envelope(struct span header, uint64_t sealed_bytes, const struct hash *sealed_hash, struct hash *out)
{
    static const char label[] = "ehis/env/v1"; /* its NUL belongs to it */
    uint8_t head[sizeof label + 4], tail[8 + HASH_BYTES];
    EHIS_ASSERT(header.len <= UINT32_MAX);
    memcpy(head, label, sizeof label);
    be_put(head + sizeof label, header.len, 4);
    be_put(tail, sealed_bytes, 8);
    memcpy(tail + 8, sealed_hash->b, HASH_BYTES);
    hash_spans((struct span[]){{head, sizeof head}, header, {tail, sizeof tail}}, 3, out);
}

void tree_init(struct tree *t) { *t = (struct tree){0}; }

void tree_fini(struct tree *t)
{
    free(t->nodes);
    tree_init(t);
}

static size_t node_count(size_t leaves)
{
    size_t total = leaves;
    for (size_t n = leaves; n > 1; total += n)
        n = (n + 1) / 2;
    return total;
}

ehis_err tree_build(struct tree *t, const struct hash *leaves, size_t count)
{
    if (count == 0)
        return EHIS_E_INVALID;
    if (count > TREE_MAX_LEAVES)
        return EHIS_E_TOO_LARGE;
    size_t total = node_count(count);
    if (total > t->cap) {
        struct hash *nodes = malloc(total * sizeof *nodes);
        if (!nodes)
            return EHIS_E_NO_MEMORY;
        free(t->nodes);
        t->nodes = nodes;
        t->cap = total;
    }
    memcpy(t->nodes, leaves, count * sizeof *leaves);
    t->leaf_count = count;
    struct hash *level = t->nodes;
    for (size_t n = count; n > 1; n = (n + 1) / 2) {
        struct hash *above = level + n;
        for (size_t i = 0; i + 1 < n; i += 2)
            hash_node(&level[i], &level[i + 1], &above[i / 2]);
        if (n % 2) /* the last one without a sibling rises as it is: the shape of RFC 6962 */
            above[n / 2] = level[n - 1];
        level = above;
    }
    return EHIS_OK;
}

void tree_root(const struct tree *t, struct hash *out)
{
    EHIS_ASSERT(t->leaf_count > 0);
    *out = t->nodes[node_count(t->leaf_count) - 1];
}

size_t tree_path(const struct tree *t, size_t index, struct hash out[20])
{
    EHIS_ASSERT(index < t->leaf_count);
    const struct hash *level = t->nodes;
    size_t count = 0;
    for (size_t n = t->leaf_count; n > 1; level += n, n = (n + 1) / 2, index /= 2)
        if ((index ^ 1) < n)
            out[count++] = level[index ^ 1];
    return count;
}

size_t tree_run_proof(const struct tree *t, size_t first, size_t count, struct hash out[TREE_PROOF_MAX])
{
    EHIS_ASSERT(count && first < t->leaf_count && count <= t->leaf_count - first);
    const struct hash *level = t->nodes;
    size_t hi = first + count - 1, given = 0;
    for (size_t n = t->leaf_count; n > 1; level += n, n = (n + 1) / 2, first /= 2, hi /= 2) {
        if (first % 2)
            out[given++] = level[first - 1];
        if (hi % 2 == 0 && hi + 1 < n)
            out[given++] = level[hi + 1];
    }
    return given;
}

/* The next hash of a proof; false at its end. */
static bool take_hash(struct span *proof, struct hash *out)
{
    if (proof->len < HASH_BYTES)
        return false;
    memcpy(out->b, proof->p, HASH_BYTES);
    *proof = span_of(proof->p + HASH_BYTES, proof->len - HASH_BYTES);
    return true;
}

ehis_err tree_run_root(struct hash *leaves, size_t count, uint64_t first, uint64_t size, struct span proof, struct hash *out)
{
    if (count == 0 || first >= size || count > size - first)
        return EHIS_E_SIGNATURE_PATH;
    uint64_t lo = first, hi = first + count - 1;
    for (uint64_t last = size - 1; last > 0; last >>= 1, lo >>= 1, hi >>= 1) {
        struct hash beside;
        size_t from = 0, to = 0; /* level by level in place: parents are fewer */
        if (lo & 1) {
            if (!take_hash(&proof, &beside))
                return EHIS_E_SIGNATURE_PATH;
            hash_node(&beside, &leaves[from++], &leaves[to++]);
        }
        for (; from + 1 < count; from += 2)
            hash_node(&leaves[from], &leaves[from + 1], &leaves[to++]);
        if (from < count && hi < last) {
            if (!take_hash(&proof, &beside))
                return EHIS_E_SIGNATURE_PATH;
            hash_node(&leaves[from], &beside, &leaves[to++]);
        } else if (from < count) {
            leaves[to++] = leaves[from];
        }
        count = to;
    }
    *out = leaves[0];
    return proof.len == 0 ? EHIS_OK : EHIS_E_SIGNATURE_PATH;
}

size_t tree_path_length(uint64_t index, uint64_t size)
{
    size_t count = 0;
    if (index >= size)
        return 0;
    for (uint64_t last = size - 1; last > 0; last >>= 1, index >>= 1)
        count += (index & 1) || index < last;
    return count;
}

ehis_err tree_root_of_path(const struct hash *leaf, uint64_t index, uint64_t size, struct span path, struct hash *out)
{
    if (index >= size || path.len != tree_path_length(index, size) * HASH_BYTES)
        return EHIS_E_SIGNATURE_PATH;
    struct hash r = *leaf, sibling;
    for (uint64_t last = size - 1; last > 0; last >>= 1, index >>= 1) {
        if (!(index & 1) && index == last)
            continue; /* no sibling on this level */
        memcpy(sibling.b, path.p, HASH_BYTES);
        path.p += HASH_BYTES;
        if (index & 1)
            hash_node(&sibling, &r, &r);
        else
            hash_node(&r, &sibling, &r);
    }
    *out = r;
    return EHIS_OK;
}
