/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
#include "proto/crypto/seal.h"

#include <stdlib.h>

#include <sodium.h>

#include "base/secret.h"
#include "proto/crypto/hkdf.h"
#include "proto/crypto/recent.h"
#include "proto/crypto/sign.h"

#define KEY_BYTES 32
#define NONCE_BYTES crypto_aead_xchacha20poly1305_ietf_NPUBBYTES
#define TAG_BYTES crypto_aead_xchacha20poly1305_ietf_ABYTES
#define CONTEXT_MAX_AGE_MS (60 * 60 * 1000)
#define CONTEXT_MAX_MESSAGES (1u << 24)
#define PAD_STEP 256
#define PAD_STEPS_UP_TO 4096
_Static_assert(NONCE_BYTES + TAG_BYTES == SEAL_OVERHEAD_BYTES, "overhead");

struct seal_key {
    uint8_t *secret;
    uint8_t public_key[KEY_BYTES];
    struct hash id;
};

struct seal_context {
    uint8_t *prk;
    uint8_t ephemeral[KEY_BYTES];
    int64_t made_ms;
    uint32_t message_count;
};

struct seal_cache { struct recent *prks; };

ehis_err seal_key_new(const uint8_t secret[32], struct seal_key **out)
{
    struct seal_key *k = calloc(1, sizeof *k);
    if (!k)
        return EHIS_E_NO_MEMORY;
    ehis_err err = secret_alloc(&k->secret);
    if (err != EHIS_OK) {
        seal_key_free(k);
        return err;
    }
    memcpy(k->secret, secret, KEY_BYTES);
    crypto_scalarmult_base(k->public_key, k->secret);
    crypto_key_id(USE_SEAL, ALGORITHM_X25519, span_of(k->public_key, KEY_BYTES), &k->id);
    *out = k;
    return EHIS_OK;
}

void seal_key_free(struct seal_key *k)
{
    if (!k)
        return;
    secret_free(k->secret);
    free(k);
}

const struct hash *seal_key_id(const struct seal_key *k) { return &k->id; }
const uint8_t *seal_key_public(const struct seal_key *k) { return k->public_key; }

/* PRK = Extract("ehis/seal/v1", dh || ephemeral || recipient key), dh from either end. */
static ehis_err agree(const uint8_t secret[KEY_BYTES], const uint8_t theirs[KEY_BYTES], const uint8_t ephemeral[KEY_BYTES],
                      const uint8_t recipient[KEY_BYTES], uint8_t prk[KEY_BYTES])
{
    uint8_t dh[KEY_BYTES];
    if (crypto_scalarmult(dh, secret, theirs) != 0) /* all zero: a point of small order */
        return EHIS_E_SEAL_KEY_WEAK;
    hkdf_extract(span_str("ehis/seal/v1"), (struct span[]){{dh, KEY_BYTES}, {ephemeral, KEY_BYTES}, {recipient, KEY_BYTES}}, 3, prk);
    secret_wipe(dh, sizeof dh);
    return EHIS_OK;
}

static void message_key(const uint8_t prk[KEY_BYTES], const struct seal_binding *b, struct seal_message_key *out)
{
    uint8_t head[17] = {b->kind}, sender[2], recipient[2], okm[KEY_BYTES + HASH_BYTES];
    EHIS_ASSERT(b->sender.len <= UINT16_MAX && b->recipient.len <= UINT16_MAX);
    memcpy(head + 1, b->exchange_id, 16);
    be_put(sender, b->sender.len, 2);
    be_put(recipient, b->recipient.len, 2);
    struct span info[] = {{head, sizeof head}, {sender, 2}, b->sender, {recipient, 2}, b->recipient};
    hkdf_expand(prk, info, sizeof info / sizeof *info, okm, sizeof okm);
    memcpy(out->key, okm, KEY_BYTES);
    memcpy(out->commitment.b, okm + KEY_BYTES, HASH_BYTES);
    secret_wipe(okm, sizeof okm);
}

ehis_err seal_context_new(const uint8_t recipient_public[32], int64_t now_ms, const struct random *r, struct seal_context **out)
{
    uint8_t secret[KEY_BYTES];
    struct seal_context *c = calloc(1, sizeof *c);
    if (!c)
        return EHIS_E_NO_MEMORY;
    ehis_err err = secret_alloc(&c->prk);
    if (err == EHIS_OK) {
        random_fill(r, secret, sizeof secret);
        crypto_scalarmult_base(c->ephemeral, secret);
        err = agree(secret, recipient_public, c->ephemeral, recipient_public, c->prk);
        secret_wipe(secret, sizeof secret);
    }
    if (err != EHIS_OK) {
        seal_context_free(c);
        return err;
    }
    c->made_ms = now_ms;
    *out = c;
    return EHIS_OK;
}

void seal_context_free(struct seal_context *c)
{
    if (!c)
        return;
    secret_free(c->prk);
    free(c);
}

const uint8_t *seal_context_ephemeral(const struct seal_context *c) { return c->ephemeral; }

ehis_err seal_context_derive(struct seal_context *c, int64_t now_ms, const struct seal_binding *b, struct seal_message_key *out)
{
    /* A clock that went back makes the difference large: a new context is the safe answer to that too. */
    if ((uint64_t)now_ms - (uint64_t)c->made_ms > CONTEXT_MAX_AGE_MS || c->message_count >= CONTEXT_MAX_MESSAGES)
        return EHIS_E_SEAL_CONTEXT_SPENT;
    c->message_count++;
    message_key(c->prk, b, out);
    return EHIS_OK;
}

ehis_err seal_cache_new(size_t entries, struct seal_cache **out)
{
    struct seal_cache *c = calloc(1, sizeof *c);
    if (!c)
        return EHIS_E_NO_MEMORY;
    ehis_err err = recent_new(entries, KEY_BYTES + HASH_BYTES, KEY_BYTES, &c->prks);
    if (err != EHIS_OK) {
        free(c);
        return err;
    }
    *out = c;
    return EHIS_OK;
}

void seal_cache_free(struct seal_cache *c)
{
    if (!c)
        return;
    recent_free(c->prks);
    free(c);
}

ehis_err seal_derive(struct seal_cache *c, const struct seal_key *k, const uint8_t ephemeral[32], const struct seal_binding *b,
                     struct seal_message_key *out)
{
    uint8_t name[KEY_BYTES + HASH_BYTES], prk[KEY_BYTES];
    memcpy(name, ephemeral, KEY_BYTES);
    memcpy(name + KEY_BYTES, k->id.b, HASH_BYTES);
    uint8_t *known = recent_find(c->prks, name);
    if (!known) {
        EHIS_TRY(agree(k->secret, ephemeral, ephemeral, k->public_key, prk));
        known = recent_put(c->prks, name);
        memcpy(known, prk, KEY_BYTES);
        secret_wipe(prk, sizeof prk);
    }
    message_key(known, b, out);
    return EHIS_OK;
}

void seal_topic_derive(const uint8_t topic_key[32], const struct seal_binding *b, struct seal_message_key *out)
{
    uint8_t prk[KEY_BYTES];
    hkdf_extract(span_str("ehis/topic/v1"), &(struct span){topic_key, KEY_BYTES}, 1, prk);
    message_key(prk, b, out);
    secret_wipe(prk, sizeof prk);
}

/* Length with padding, at least one byte of it: steps of 256 up to 4 KiB, beyond by Padme (Nikitin et al. 2019): of the length's bits
 * all but the highest log2(log2(length)) + 1 are rounded up. 0 on overflow. */
static size_t padded_bytes(size_t plaintext_bytes)
{
    size_t n, mask = PAD_STEP - 1;
    if (!size_add(plaintext_bytes, 1, &n))
        return 0;
    if (n > PAD_STEPS_UP_TO) {
        unsigned e = 63u - (unsigned)__builtin_clzll(n);
        unsigned s = 32u - (unsigned)__builtin_clz(e);
        mask = ((size_t)1 << (e - s)) - 1;
    }
    return size_add(n, mask, &n) ? n & ~mask : 0;
}

size_t seal_sealed_bytes(size_t plaintext_bytes)
{
    size_t n = padded_bytes(plaintext_bytes);
    return n > 0 && size_add(n, SEAL_OVERHEAD_BYTES, &n) ? n : 0;
}

ehis_err seal_close(const struct seal_message_key *k, struct span header, struct span plaintext, const struct random *r, struct buf *out)
{
    uint8_t *room;
    size_t n = seal_sealed_bytes(plaintext.len);
    if (n == 0)
        return EHIS_E_TOO_LARGE;
    EHIS_TRY(buf_reserve(out, n, &room));
    uint8_t *body = room + NONCE_BYTES;
    size_t padded = n - SEAL_OVERHEAD_BYTES;
    random_fill(r, room, NONCE_BYTES);
    if (plaintext.len > 0)
        memcpy(body, plaintext.p, plaintext.len);
    body[plaintext.len] = 0x80;
    memset(body + plaintext.len + 1, 0, padded - plaintext.len - 1);
    crypto_aead_xchacha20poly1305_ietf_encrypt(body, NULL, body, padded, header.p, header.len, NULL, room, k->key);
    buf_commit(out, n);
    return EHIS_OK;
}

/* The plaintext's length inside n padded bytes; false where the padding is not exactly what its length calls for. */
static bool unpad(const uint8_t *p, size_t n, size_t *plaintext_bytes)
{
    size_t at = n;
    while (at > 0 && p[at - 1] == 0)
        at--;
    if (at == 0 || p[at - 1] != 0x80 || padded_bytes(at - 1) != n)
        return false;
    *plaintext_bytes = at - 1;
    return true;
}

ehis_err seal_open(const struct seal_message_key *k, const uint8_t commitment[32], struct span header, struct span sealed, struct buf *out)
{
    uint8_t *room;
    size_t plaintext_bytes;
    if (!secret_eq(k->commitment.b, commitment, HASH_BYTES))
        return EHIS_E_SEAL_COMMITMENT;
    if (sealed.len < SEAL_OVERHEAD_BYTES)
        return EHIS_E_SEAL_OPEN;
    size_t padded = sealed.len - SEAL_OVERHEAD_BYTES;
    EHIS_TRY(buf_reserve(out, padded, &room));
    if (crypto_aead_xchacha20poly1305_ietf_decrypt(room, NULL, NULL, sealed.p + NONCE_BYTES, sealed.len - NONCE_BYTES, header.p, header.len,
                                                   sealed.p, k->key) != 0)
        return EHIS_E_SEAL_OPEN;
    if (!unpad(room, padded, &plaintext_bytes)) {
        secret_wipe(room, padded);
        return EHIS_E_SEAL_PADDING;
    }
    buf_commit(out, plaintext_bytes);
    return EHIS_OK;
}

void seal_wrap_key(const struct seal_message_key *k, struct span header, const uint8_t key[32], const struct random *r, uint8_t out[72])
{
    random_fill(r, out, NONCE_BYTES);
    crypto_aead_xchacha20poly1305_ietf_encrypt(out + NONCE_BYTES, NULL, key, KEY_BYTES, header.p, header.len, NULL, out, k->key);
}

ehis_err seal_unwrap_key(const struct seal_message_key *k, const uint8_t commitment[32], struct span header, const uint8_t wrapped[72], uint8_t key[32])
{
    if (!secret_eq(k->commitment.b, commitment, HASH_BYTES))
        return EHIS_E_SEAL_COMMITMENT;
    if (crypto_aead_xchacha20poly1305_ietf_decrypt(key, NULL, NULL, wrapped + NONCE_BYTES, KEY_BYTES + TAG_BYTES, header.p, header.len, wrapped, k->key) != 0)
        return EHIS_E_SEAL_OPEN;
    return EHIS_OK;
}
