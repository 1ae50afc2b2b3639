/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* What gateways write to one another over a broker that nobody trusts (SPEC 17.2): a head, a payload, and the gateway's signature over both and the
 * topic's name, so that nothing can be forged, altered, or copied into another topic. Leaf of "ehis/parcel/v1" over lp(topic), the head and
 * the payload's digest: D for an envelope, H(payload) else. One signature for all that is written in one turn. Pure; one thread. */
#pragma once
#include "base/bytes.h"
#include "proto/crypto/sign.h"
#include "proto/wire/envelope.h"

#define PARCEL_MAX_BYTES 1000000
#define PARCEL_HELD_MAX 8192

enum parcel_kind { PARCEL_ENVELOPE = 1, PARCEL_SKIP = 2, PARCEL_REPORT = 3, PARCEL_PROBE = 4, PARCEL_PROBED = 5, PARCEL_BEAT = 6, PARCEL_CLAIM = 7,
                   PARCEL_CURSOR = 8, PARCEL_AUDIT = 9, PARCEL_DEAD = 10 };

/* Spans of length 0, zeros and zero arrays are absent; borrowed. */
struct parcel_head {
    uint32_t kind;
    struct span gateway;
    uint64_t boot, time_ms, accepted_ms, registry_version;
    uint8_t digest[HASH_BYTES];
    struct span sender, system, stream;
    uint64_t number;
    uint32_t state, code;
    struct span ack;
    uint64_t token;
    struct span held; /* writing: digests one after another; reading: the raw head for parcel_held_next */
    bool takes_streams, takes_calls, is_leaving;
    struct span service, event;
    uint64_t group; /* AUDIT: of the journal */
    uint32_t part, part_count;
    uint64_t blob_partition, blob_offset; /* ENVELOPE of a large body */
};
struct parcel {
    struct parcel_head head;
    struct span head_bytes, payload;
    struct envelope envelope;    /* ENVELOPE: payload read; its header is not looked at yet */
    struct hash digest;          /* ENVELOPE: D; else zeros */
    struct hash sealed_hash;
    struct leaf_signature signature;
    struct hash leaf;
};

/* Canonical bytes; which fields a kind has, only the reader judges. INVALID: held is no whole number of digests. */
ehis_err parcel_head_write(const struct parcel_head *h, struct buf *out) EHIS_MUST_USE;
bool parcel_held_next(const struct parcel *p, size_t *at, struct hash *out);
/* Scans all, hashes, computes the leaf; does not verify the signature. topic: where it was read. Every field that its kind calls for is there and no
 * other. Errors of the scanner, IDENTIFIER_INVALID, SIGNATURE_PATH; BUS_TOO_LARGE; BUS_PARCEL. */
ehis_err parcel_read(struct span topic, struct span bytes, struct parcel *out, struct ehis_why *why) EHIS_MUST_USE;
/* The signature, by the key of the gateway that the head names: the caller looks that up in the registry. cache may be NULL. */
ehis_err parcel_verify(const struct parcel *p, const uint8_t public_key[32], struct root_cache *cache) EHIS_MUST_USE;
/* The whole as parts for a producer: head and signature are written into scratch (cleared first), payload, at most 6 parts, stays where it is.
 * BUS_TOO_LARGE; TOO_LARGE: scratch. */
ehis_err parcel_parts(struct span head, const struct span *payload, size_t payload_count, const struct leaf_signature *signature, struct buf *scratch,
                      struct span parts[8], size_t *count) EHIS_MUST_USE;
