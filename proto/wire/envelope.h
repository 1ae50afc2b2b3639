/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* Envelopes (SPEC 4): header, sealed body, signature; borrowed views over exact bytes, and their writers. Pure, any thread. */
#pragma once
#include "base/bytes.h"

#define ENVELOPE_HEADER_MAX_BYTES 8192
#define ENVELOPE_SUBJECTS_MAX 16
#define ENVELOPE_FIELDS_MAX 32
#define BATCH_MAX_LEAVES 1024
#define ENVELOPE_LARGE_MAX_BYTES (UINT64_C(1) << 30)

enum envelope_kind { KIND_REQUEST = 1, KIND_RESPONSE = 2, KIND_EVENT = 3, KIND_KEY = 4 };
enum envelope_status { STATUS_OK = 1, STATUS_FAULT = 2 };

struct envelope_seal { struct span recipient_key_id, ephemeral, commitment, epoch; };
struct envelope_large { uint64_t bytes; struct span root; }; /* root 32 bytes; absent: the body is in the envelope (SPEC 18) */
/* Every span is borrowed; len 0 = absent. */
struct envelope_header {
    uint8_t exchange_id[16];
    enum envelope_kind kind;
    enum envelope_status status; /* 0 unless a response */
    struct span sender, recipient, operation;
    struct span in_reply_to;     /* 32 bytes */
    struct span stream;          /* 16 bytes */
    uint64_t number;
    uint64_t created_ms, expires_ms;
    uint32_t max_response_bytes;
    struct span purpose, legal_basis, case_ref, official, on_behalf_of;
    struct span subjects[ENVELOPE_SUBJECTS_MAX];
    size_t subject_count;
    struct span fields[ENVELOPE_FIELDS_MAX];
    size_t field_count;
    struct span schema, content_type;
    struct envelope_seal seal;
    uint64_t registry_version;
    struct span registry_hash; /* 32 bytes */
    struct span trace_id;      /* 16 bytes */
    struct envelope_large large;
};
static inline bool envelope_is_waiting(const struct envelope_header *h) { return h->stream.len == 0 && (h->kind == KIND_REQUEST || h->kind == KIND_RESPONSE); }

/* Scans and reads canonical header bytes, then the rules between fields of SPEC 4.3 (which fields each kind has and lacks, parts of
 * sender and recipient, expiry after creation, lifetimes 5 min and 14 days). SCAN_*, IDENTIFIER_INVALID, HEADER_*. */
ehis_err envelope_header_read(struct span bytes, struct envelope_header *out, struct ehis_why *why) EHIS_MUST_USE;
/* The canonical bytes; HEADER_TOO_LARGE. Checks nothing else: what it writes, the reader judges. */
ehis_err envelope_header_write(const struct envelope_header *h, struct buf *out) EHIS_MUST_USE;

struct envelope_signature {
    uint32_t algorithm; /* 1 = Ed25519 */
    uint8_t key_id[32];
    uint32_t size, index;
    struct span path; /* borrowed, a multiple of 32 */
    uint8_t signature[64];
};
ehis_err envelope_signature_read(struct span bytes, struct envelope_signature *out, struct ehis_why *why) EHIS_MUST_USE;
ehis_err envelope_signature_write(const struct envelope_signature *s, struct buf *out) EHIS_MUST_USE;

struct envelope {
    struct span header, sealed;
    struct span signature_bytes; /* as it came */
    struct envelope_signature signature;
};
/* The payload of SUBMIT. Reads neither header nor body. */
ehis_err envelope_read(struct span bytes, struct envelope *out, struct ehis_why *why) EHIS_MUST_USE;
/* From header, sealed and signature (signature_bytes is ignored). */
ehis_err envelope_write(const struct envelope *e, struct buf *out) EHIS_MUST_USE;
/* The payload of SUBMIT as it came, in three parts: what stands around the sealed body is written into b (cleared first). */
ehis_err envelope_parts(struct span header, struct span sealed, struct span signature_bytes, struct buf *b, struct span parts[3]) EHIS_MUST_USE;
/* Bytes that envelope_write appends. */
size_t envelope_bytes(const struct envelope *e);
