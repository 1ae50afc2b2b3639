/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* The end-to-end seal (SPEC 9): X25519 contexts, HKDF-SHA-256, XChaCha20-Poly1305 with the header as associated data, key commitment,
 * padding. One thread an object. */
#pragma once
#include "base/clock.h"
#include "proto/crypto/hash.h"

#define SEAL_OVERHEAD_BYTES 40 /* nonce 24, tag 16; padding comes on top */

struct seal_key; /* a recipient's private X25519 key, in the secret slab */
ehis_err seal_key_new(const uint8_t secret[32], struct seal_key **out) EHIS_MUST_USE;
void seal_key_free(struct seal_key *k);
const struct hash *seal_key_id(const struct seal_key *k);
const uint8_t *seal_key_public(const struct seal_key *k);

/* What binds a message key to its message. */
struct seal_binding {
    uint8_t kind;
    uint8_t exchange_id[16];
    struct span sender, recipient; /* as in the header */
};
/* A message key: 32 bytes and the commitment that goes into the header. Wipe with secret_wipe after use. */
struct seal_message_key { uint8_t key[32]; struct hash commitment; };

/* Sender's context to one recipient key; for at most an hour or 2^24 messages: then SEAL_CONTEXT_SPENT and the caller makes another.
 * SEAL_KEY_WEAK for a recipient key whose shared secret is zero. */
struct seal_context;
ehis_err seal_context_new(const uint8_t recipient_public[32], int64_t now_ms, const struct random *r, struct seal_context **out) EHIS_MUST_USE;
void seal_context_free(struct seal_context *c);
const uint8_t *seal_context_ephemeral(const struct seal_context *c); /* 32 bytes, for the header */
ehis_err seal_context_derive(struct seal_context *c, int64_t now_ms, const struct seal_binding *b, struct seal_message_key *out) EHIS_MUST_USE;

/* Recipient's side: shared secrets by (ephemeral, key), bounded, oldest forgotten. */
struct seal_cache;
ehis_err seal_cache_new(size_t entries, struct seal_cache **out) EHIS_MUST_USE;
void seal_cache_free(struct seal_cache *c);
ehis_err seal_derive(struct seal_cache *c, const struct seal_key *k, const uint8_t ephemeral[32], const struct seal_binding *b,
                     struct seal_message_key *out) EHIS_MUST_USE;

/* Topic keys of events (SPEC 9.5): the same derivation from a topic key of 32 bytes. */
void seal_topic_derive(const uint8_t topic_key[32], const struct seal_binding *b, struct seal_message_key *out);

/* Appends nonce || ciphertext of the padded plaintext. header = the exact header bytes, commitment included. */
ehis_err seal_close(const struct seal_message_key *k, struct span header, struct span plaintext, const struct random *r, struct buf *out) EHIS_MUST_USE;
/* Compares the commitment (constant time) before opening. SEAL_COMMITMENT, SEAL_OPEN, SEAL_PADDING. Appends the plaintext. */
ehis_err seal_open(const struct seal_message_key *k, const uint8_t commitment[32], struct span header, struct span sealed, struct buf *out) EHIS_MUST_USE;
/* Bytes of the sealed body for a plaintext of this length (SPEC 9.3); 0 on overflow. */
size_t seal_sealed_bytes(size_t plaintext_bytes);
/* An unpadded 32-byte key for KeyWrap: nonce || encrypted || tag, 72 bytes. */
void seal_wrap_key(const struct seal_message_key *k, struct span header, const uint8_t key[32], const struct random *r, uint8_t out[72]);
ehis_err seal_unwrap_key(const struct seal_message_key *k, const uint8_t commitment[32], struct span header, const uint8_t wrapped[72], uint8_t key[32]) EHIS_MUST_USE;
