/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
#include "proto/crypto/sign.h"

#include <stdlib.h>

#include <openssl/crypto.h>
#include <sodium.h>

#include "base/secret.h"
#include "proto/crypto/recent.h"
#include "proto/crypto/sign_priv.h"

#define BATCH_LABEL "ehis/batch/v1" /* with its NUL */
#define SIGNED_BYTES (sizeof BATCH_LABEL + 1 + HASH_BYTES + 4 + HASH_BYTES)
#define SIGNATURE_BYTES 64
#define KEY_BYTES 32
#define TREE_LEVELS_MAX 20
#define BATCH_LEAVES_LIMIT (1u << TREE_LEVELS_MAX)

struct sign_key {
    uint8_t *secret; /* seed || public */
    uint8_t public_key[KEY_BYTES];
    struct hash id;
};

ehis_err crypto_init(struct ehis_why *why)
{
    static const uint8_t abc[4] = {0xba, 0x78, 0x16, 0xbf}; /* how SHA-256("abc") begins */
    uint8_t mixed[KEY_BYTES];                               /* the base point plus the point of order 2 */
    struct hash h;
    if (OPENSSL_init_crypto(OPENSSL_INIT_NO_LOAD_CONFIG, NULL) != 1) /* before the first fetch, which would read openssl.cnf */
        return ehis_fail(why, EHIS_E_UNSUPPORTED, "OpenSSL cannot be started");
    if (sodium_init() < 0)
        return ehis_fail(why, EHIS_E_UNSUPPORTED, "libsodium cannot be started");
    hash_span(span_str("abc"), &h);
    if (memcmp(h.b, abc, sizeof abc) != 0)
        return ehis_fail(why, EHIS_E_UNSUPPORTED, "OpenSSL's SHA-256 gives wrong results");
    memset(mixed, 0x99, sizeof mixed);
    mixed[0] = 0x95;
    if (crypto_core_ed25519_is_valid_point(mixed))
        return ehis_fail(why, EHIS_E_UNSUPPORTED, "libsodium takes points outside the group (CVE-2025-69277): update it");
    return EHIS_OK;
}

void crypto_key_id(enum key_use use, enum key_algorithm algorithm, struct span public_key, struct hash *out)
{
    static const char label[] = "ehis/key/v1";
    uint8_t head[sizeof label + 2];
    memcpy(head, label, sizeof label);
    head[sizeof label] = (uint8_t)use;
    head[sizeof label + 1] = (uint8_t)algorithm;
    hash_spans((struct span[]){{head, sizeof head}, public_key}, 2, out);
}

ehis_err sign_key_new(const uint8_t seed[32], enum key_use use, struct sign_key **out)
{
    struct sign_key *k = calloc(1, sizeof *k);
    if (!k)
        return EHIS_E_NO_MEMORY;
    ehis_err err = secret_alloc(&k->secret);
    if (err != EHIS_OK) {
        sign_key_free(k);
        return err;
    }
    crypto_sign_seed_keypair(k->public_key, k->secret, seed);
    crypto_key_id(use, ALGORITHM_ED25519, span_of(k->public_key, KEY_BYTES), &k->id);
    *out = k;
    return EHIS_OK;
}

void sign_key_free(struct sign_key *k)
{
    if (!k)
        return;
    secret_free(k->secret);
    free(k);
}

const struct hash *sign_key_id(const struct sign_key *k) { return &k->id; }
const uint8_t *sign_key_public(const struct sign_key *k) { return k->public_key; }

/* Whether a key lies in the prime-order group costs nearly as much as a verification: asked once a key and thread, remembered in sets of
 * four. Small order is refused by crypto_sign_verify_detached as well; a component of small order only here. */
static bool is_group_point(const uint8_t public_key[KEY_BYTES])
{
    enum { WAYS = 4 };
    static _Thread_local uint8_t known[256][WAYS][KEY_BYTES]; /* all zero is no point of the group: an empty place */
    static _Thread_local unsigned oldest;
    for (size_t way = 0; way < WAYS; way++)
        if (memcmp(known[public_key[0]][way], public_key, KEY_BYTES) == 0 && !sodium_is_zero(public_key, KEY_BYTES))
            return true;
    if (!crypto_core_ed25519_is_valid_point(public_key))
        return false;
    memcpy(known[public_key[0]][oldest++ % WAYS], public_key, KEY_BYTES);
    return true;
}

ehis_err ed25519_verify(const uint8_t public_key[KEY_BYTES], struct span message, const uint8_t signature[SIGNATURE_BYTES])
{
    if (!is_group_point(public_key) || crypto_sign_verify_detached(signature, message.p, message.len, public_key) != 0)
        return EHIS_E_SIGNATURE_BAD;
    return EHIS_OK;
}

static void signed_bytes(const struct hash *key_id, uint32_t size, const struct hash *root, uint8_t out[SIGNED_BYTES])
{
    memcpy(out, BATCH_LABEL, sizeof BATCH_LABEL);
    out += sizeof BATCH_LABEL;
    *out++ = ALGORITHM_ED25519;
    memcpy(out, key_id->b, HASH_BYTES);
    be_put(out + HASH_BYTES, size, 4);
    memcpy(out + HASH_BYTES + 4, root->b, HASH_BYTES);
}

void sign_root(const struct sign_key *k, uint32_t size, const struct hash *root, uint8_t signature[SIGNATURE_BYTES])
{
    uint8_t m[SIGNED_BYTES];
    signed_bytes(&k->id, size, root, m);
    crypto_sign_detached(signature, NULL, m, sizeof m, k->secret);
}

ehis_err sign_verify_root(const uint8_t public_key[32], const struct hash *key_id, uint32_t size, const struct hash *root,
                          const uint8_t signature[64])
{
    uint8_t m[SIGNED_BYTES];
    signed_bytes(key_id, size, root, m);
    return ed25519_verify(public_key, span_of(m, sizeof m), signature);
}

ehis_err sign_batch(const struct sign_key *k, struct tree *t, const struct hash *leaves, size_t count, uint8_t signature[64])
{
    struct hash root;
    EHIS_TRY(tree_build(t, leaves, count));
    tree_root(t, &root);
    sign_root(k, (uint32_t)count, &root, signature);
    return EHIS_OK;
}

/* Ed25519 takes a message in one piece. */
static ehis_err labelled(const char *label, struct span content, struct buf *out)
{
    buf_init(out, SIZE_MAX / 4);
    EHIS_TRY(buf_put(out, label, strlen(label) + 1));
    return buf_put_span(out, content);
}

void sign_bytes(const struct sign_key *k, const char *label, struct span content, uint8_t signature[64])
{
    struct buf m;
    ehis_err err = labelled(label, content, &m);
    EHIS_ASSERT(err == EHIS_OK); /* only memory can be short */
    crypto_sign_detached(signature, NULL, buf_span(&m).p, m.len, k->secret);
    buf_fini(&m);
}

ehis_err sign_verify_bytes(const uint8_t public_key[32], const char *label, struct span content, const uint8_t signature[64])
{
    struct buf m;
    ehis_err err = labelled(label, content, &m);
    if (err == EHIS_OK)
        err = ed25519_verify(public_key, buf_span(&m), signature);
    buf_fini(&m);
    return err;
}

/* A verified root is known by everything that its verification looked at. */
#define ROOT_KEY_BYTES (SIGNED_BYTES + SIGNATURE_BYTES + KEY_BYTES)

/* From a leaf to a root that was verified: all of its nodes, and their siblings, are as good as the root. Neighbours meet it after a step or
 * two, where each alone would climb to the top. */
struct climb {
    uint32_t size, index;
    size_t levels; /* node[levels]: the root */
    struct hash key_id, node[TREE_LEVELS_MAX + 1];
    uint8_t path[TREE_LEVELS_MAX * HASH_BYTES], signature[SIGNATURE_BYTES], public_key[KEY_BYTES];
};
struct root_cache {
    struct recent *roots;
    struct climb last; /* size 0: none */
};

ehis_err root_cache_new(size_t entries, struct root_cache **out)
{
    struct root_cache *c = calloc(1, sizeof *c);
    if (!c)
        return EHIS_E_NO_MEMORY;
    ehis_err err = recent_new(entries, ROOT_KEY_BYTES, 0, &c->roots);
    if (err != EHIS_OK) {
        free(c);
        return err;
    }
    *out = c;
    return EHIS_OK;
}

void root_cache_free(struct root_cache *c)
{
    if (!c)
        return;
    recent_free(c->roots);
    free(c);
}

void root_cache_drop(struct root_cache *c)
{
    recent_drop(c->roots);
    c->last.size = 0;
}

/* Climbs until it meets a known path, or to the root. The path's length is right. True: it met it, and the rest of the path is the same. */
static bool climb(const struct hash *leaf, const struct leaf_signature *s, const struct climb *known, struct climb *out)
{
    uint32_t i = s->index, j = known ? known->index : 0, last = s->size - 1;
    const uint8_t *mine = s->path.p, *end = mine + s->path.len, *theirs = known ? known->path : NULL;
    size_t level = 0;
    out->node[0] = *leaf;
    for (; last > 0; last >>= 1, i >>= 1, j >>= 1) {
        bool is_same = known && i == j, is_sibling = known && (i ^ 1) == j;
        if (is_same || is_sibling) {
            const uint8_t *below = is_same ? known->node[level].b : theirs;
            size_t skip = is_same ? 0 : HASH_BYTES;
            if (memcmp(out->node[level].b, below, HASH_BYTES) != 0 || (is_sibling && memcmp(mine, known->node[level].b, HASH_BYTES) != 0) ||
                memcmp(mine + skip, theirs + skip, (size_t)(end - mine) - skip) != 0)
                return false;
            memcpy(&out->node[level + 1], &known->node[level + 1], (known->levels - level) * sizeof *out->node);
            out->levels = known->levels;
            return true;
        }
        struct hash sibling;
        out->node[level + 1] = out->node[level];
        if ((i & 1) || i < last) {
            memcpy(sibling.b, mine, HASH_BYTES);
            mine += HASH_BYTES;
            hash_node(i & 1 ? &sibling : &out->node[level], i & 1 ? &out->node[level] : &sibling, &out->node[level + 1]);
        }
        theirs += known && ((j & 1) || j < last) ? HASH_BYTES : 0;
        level++;
    }
    out->levels = level;
    return false;
}

static void remember(struct root_cache *c, const struct leaf_signature *s, const uint8_t public_key[KEY_BYTES], const struct climb *way)
{
    struct climb *k = &c->last;
    memcpy(k->node, way->node, (way->levels + 1) * sizeof *k->node);
    k->levels = way->levels;
    k->index = s->index;
    if (s->path.len)
        memcpy(k->path, s->path.p, s->path.len);
    k->size = s->size;
    k->key_id = s->key_id;
    memcpy(k->signature, s->signature, SIGNATURE_BYTES);
    memcpy(k->public_key, public_key, KEY_BYTES);
}

static bool is_of(const struct climb *k, const struct leaf_signature *s, const uint8_t public_key[KEY_BYTES])
{
    return k->size == s->size && memcmp(k->signature, s->signature, SIGNATURE_BYTES) == 0 && memcmp(k->key_id.b, s->key_id.b, HASH_BYTES) == 0 &&
           memcmp(k->public_key, public_key, KEY_BYTES) == 0;
}

static void root_key(const struct hash *key_id, uint32_t size, const struct hash *root, const uint8_t signature[SIGNATURE_BYTES], const uint8_t public_key[KEY_BYTES],
                     uint8_t out[ROOT_KEY_BYTES])
{
    signed_bytes(key_id, size, root, out);
    memcpy(out + SIGNED_BYTES, signature, SIGNATURE_BYTES);
    memcpy(out + SIGNED_BYTES + SIGNATURE_BYTES, public_key, KEY_BYTES);
}

void root_cache_own(struct root_cache *c, const struct sign_key *k, const struct tree *t, const uint8_t signature[SIGNATURE_BYTES])
{
    uint8_t key[ROOT_KEY_BYTES];
    struct hash root;
    tree_root(t, &root);
    root_key(&k->id, (uint32_t)t->leaf_count, &root, signature, sign_key_public(k), key);
    if (!recent_find(c->roots, key))
        recent_put(c->roots, key);
}

/* The root, from cache or by its signature. */
static ehis_err verify_root(const struct hash *root, const struct leaf_signature *s, const uint8_t public_key[KEY_BYTES], struct root_cache *cache)
{
    uint8_t key[ROOT_KEY_BYTES];
    root_key(&s->key_id, s->size, root, s->signature, public_key, key);
    if (cache && recent_find(cache->roots, key))
        return EHIS_OK;
    EHIS_TRY(ed25519_verify(public_key, span_of(key, SIGNED_BYTES), s->signature));
    if (cache)
        recent_put(cache->roots, key);
    return EHIS_OK;
}

ehis_err sign_verify_leaf(const struct hash *leaf, const struct leaf_signature *s, const uint8_t public_key[32], struct root_cache *cache)
{
    struct climb way __attribute__((uninitialized));
    if (s->algorithm != ALGORITHM_ED25519)
        return EHIS_E_SIGNATURE_ALGORITHM;
    if (s->size > BATCH_LEAVES_LIMIT || s->index >= s->size || s->path.len != tree_path_length(s->index, s->size) * HASH_BYTES)
        return EHIS_E_SIGNATURE_PATH;
    if (!cache || !is_of(&cache->last, s, public_key) || !climb(leaf, s, &cache->last, &way)) {
        climb(leaf, s, NULL, &way);
        EHIS_TRY(verify_root(&way.node[way.levels], s, public_key, cache));
    }
    if (cache)
        remember(cache, s, public_key, &way);
    return EHIS_OK;
}

ehis_err sign_verify_run(struct hash *leaves, size_t count, const struct leaf_signature *s, const uint8_t public_key[32], struct root_cache *cache)
{
    struct hash root;
    if (s->algorithm != ALGORITHM_ED25519)
        return EHIS_E_SIGNATURE_ALGORITHM;
    if (s->size > BATCH_LEAVES_LIMIT)
        return EHIS_E_SIGNATURE_PATH;
    EHIS_TRY(tree_run_root(leaves, count, s->index, s->size, s->path, &root));
    return verify_root(&root, s, public_key, cache);
}
