/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* Large bodies (SPEC 18): sealed chunk by chunk with libsodium's secretstream, their root, and the 64 bytes that the message itself holds of
 * them. Never more than a chunk and the leaves in memory. One thread an object. */
#pragma once
#include "base/clock.h"
#include "proto/crypto/hash.h"

#define LARGE_CHUNK_BYTES 262144u
#define LARGE_CHUNKS_MAX 4096u
#define LARGE_MAX_BYTES ((uint64_t)LARGE_CHUNKS_MAX * LARGE_CHUNK_BYTES)
#define LARGE_BODY_BYTES 64

struct large_manifest { uint64_t bytes; struct hash root; };             /* the header's */
struct large_body { uint64_t bytes; uint8_t key[32], stream_header[24]; }; /* the sealed plaintext's. Wipe after use */

void large_body_write(const struct large_body *b, uint8_t out[LARGE_BODY_BYTES]);
/* LARGE_ALTERED where it is no such thing. */
ehis_err large_body_read(struct span plaintext, struct large_body *out) EHIS_MUST_USE;
uint32_t large_chunk_count(uint64_t bytes);                /* of a manifest's bytes */
size_t large_chunk_bytes(uint64_t bytes, uint32_t index);  /* index < count */
void large_leaf(struct span chunk, struct hash *out);
/* H("ehis/blob/v1\0" || lp(sender) || root): names a sender's body to gateways. */
void large_blob_key(struct span sender, const uint8_t root[HASH_BYTES], struct hash *out);

struct large_sealer;
/* write gets each chunk, in order, borrowed for the call; its error ends the sealing: nothing but free may follow. */
ehis_err large_sealer_new(const struct random *r, ehis_err (*write)(void *arg, struct span chunk), void *arg, struct large_sealer **out) EHIS_MUST_USE;
void large_sealer_free(struct large_sealer *s);
ehis_err large_sealer_put(struct large_sealer *s, struct span plaintext) EHIS_MUST_USE; /* TOO_LARGE beyond the bound */
ehis_err large_sealer_finish(struct large_sealer *s, struct large_body *body, struct large_manifest *manifest) EHIS_MUST_USE; /* the last chunk; once */

struct large_opener;
/* LARGE_ALTERED where the manifest's bytes are not what this size comes to. */
ehis_err large_opener_new(const struct large_body *body, const struct large_manifest *manifest, struct large_opener **out) EHIS_MUST_USE;
void large_opener_free(struct large_opener *o);
/* The next chunk, in order; appends what it holds of the body. *is_whole: it was the last and all is as signed. LARGE_ALTERED: for good; nothing of this
 * chunk may be used. */
ehis_err large_opener_take(struct large_opener *o, struct span chunk, struct buf *out, bool *is_whole) EHIS_MUST_USE;
