/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* The chunks of large bodies (SPEC 18): uploads until a message has them, what messages have, and chunks for those it is delivered to. Reads and
 * writes wait for a disk or a broker in a thread of its own; everything here is the loop's. Never more than BLOB_JOBS_MAX chunks in memory, of which each
 * system has a share, and its turn. */
#pragma once
#include "base/loop.h"
#include "proto/crypto/large.h"

#define BLOB_JOBS_MAX 64
#define BLOB_UPLOADS_MAX 16 /* of one sender */
#define BLOB_ENTRY_BYTES 40 /* of a list: leaf, u64 offset */

struct blob_place { uint64_t partition, offset; };
/* A body: whose, and its manifest; where the list of its chunks stands, once it is known. */
struct blob_name { struct span sender; struct large_manifest manifest; struct blob_place place; };

/* Where chunks are kept. All but sweep, renew and free on the blob thread; they may wait. */
struct blob_store {
    /* Durable when it returns. place: in, offset is how many bytes were written of it before; out, where this stands: all of one body in one partition, or it is given up. */
    ehis_err (*write)(struct blob_store *s, const struct hash *key, bool is_first, struct span bytes, struct blob_place *place);
    /* EXCHANGE_BLOB_LOST: not there, or not as long. EXCHANGE_BUSY: not now. */
    ehis_err (*read)(struct blob_store *s, const struct hash *key, const struct blob_place *place, uint8_t *out, size_t bytes);
    void (*drop)(struct blob_store *s, const struct hash *key); /* NULL: it deletes by itself, and what messages have need not be known */
    void (*sweep)(struct blob_store *s, bool (*is_kept)(void *arg, const struct hash *key), void *arg);
    ehis_err (*renew)(struct blob_store *s); /* the loop's thread: the files that it was opened with are others now; may be NULL; on error it keeps what it has */
    void (*free)(struct blob_store *s);
};
/* Files in a folder, made where it is missing. reserve_bytes: of the volume stay free: EXCHANGE_BUSY. */
ehis_err blob_local_new(const char *folder, uint64_t reserve_bytes, struct blob_store **out, struct ehis_why *why) EHIS_MUST_USE;
struct bus_kafka_options;
/* The topic `blob`. Handles of its own; connects in the background. options: borrowed until it is freed, and read again by renew. BUS_CLIENT (a setting, a file
 * that is not there), NO_MEMORY. */
ehis_err blob_kafka_new(const struct bus_kafka_options *options, const char *gateway, struct blob_store **out, struct ehis_why *why) EHIS_MUST_USE;

/* A chunk on its way to a session; the session layer's to free. */
struct blob_chunk_out { uint64_t session; uint8_t digest[HASH_BYTES]; uint32_t index; uint8_t *bytes; size_t len; ehis_err code; };

struct blobs;
struct blobs_calls {
    void *ctx;
    void (*on_state)(void *ctx, uint64_t session, const struct hash *root, uint32_t next, ehis_err code); /* answers blobs_put, also during it */
    void (*on_chunk)(void *ctx, struct blob_chunk_out *c);
};
/* Consumes the store, also on error. */
ehis_err blobs_new(struct loop *loop, const struct clock *clock, struct blob_store *store, const uint8_t seed[16], struct blobs **out) EHIS_MUST_USE;
void blobs_free(struct blobs *b); /* waits for the job that runs */
void blobs_set_calls(struct blobs *b, const struct blobs_calls *calls);

/* A chunk, or, empty, the question how far the body is. room_bytes: what its sender may store yet, uploads not counted. Answered by on_state; an error is a
 * violation by the peer. */
ehis_err blobs_put(struct blobs *b, uint64_t session, const struct blob_name *name, uint32_t index, struct span chunk, uint64_t room_bytes) EHIS_MUST_USE;
/* All chunks are here and no message has them: place is filled in. EXCHANGE_BLOB_MISSING. */
ehis_err blobs_find(struct blobs *b, struct blob_name *name) EHIS_MUST_USE;
/* A message has it now: it was found, or stands in the journal; or none has it any more. */
void blobs_keep(struct blobs *b, const struct blob_name *name);
void blobs_let_go(struct blobs *b, const struct blob_name *name);
/* The journal is read: what no message has is deleted. */
void blobs_recovered(struct blobs *b);
struct blob_asker { uint64_t session; struct span system; const uint8_t *digest; /* of its message */ };
/* Reads a chunk and compares it with its leaf; on_chunk comes. EXCHANGE_BUSY. */
ehis_err blobs_get(struct blobs *b, const struct blob_asker *asker, const struct blob_name *name, uint32_t index) EHIS_MUST_USE;
void blob_chunk_free(struct blob_chunk_out *c);

/* The files of the store's options are others now. Errors of blob_kafka_new: it goes on with what it has. */
ehis_err blobs_renew(struct blobs *b) EHIS_MUST_USE;

struct blobs_status { uint64_t uploads, kept, chunks_in, chunks_out, failed; };
void blobs_status(const struct blobs *b, struct blobs_status *out);
