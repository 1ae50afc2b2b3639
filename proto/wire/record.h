/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* The journal's records (SPEC 11), as a plain struct over borrowed bytes. Pure, any thread. */
#pragma once
#include "proto/wire/envelope.h"

enum record_kind {
    RECORD_ACCEPTED = 1, RECORD_REFUSED = 2, RECORD_DELIVERED = 3, RECORD_FAILED = 4, RECORD_EXPIRED = 5, RECORD_ATTEMPTED = 6,
    RECORD_CONFLICT = 7, RECORD_REFUSALS = 8, RECORD_LOST = 9, RECORD_SESSION_OPENED = 16, RECORD_SESSION_ENDED = 17, RECORD_SESSION_REFUSED = 18,
    RECORD_SUBSCRIBED = 19, RECORD_UNSUBSCRIBED = 20, RECORD_STARTED = 32, RECORD_STOPPED = 33, RECORD_RELOADED = 34,
    RECORD_RELOAD_FAILED = 35, RECORD_STREAM = 48, RECORD_SETTLED = 49, RECORD_CARRIED = 50, RECORD_SUBSCRIPTION = 51, RECORD_REPLICATED = 52,
};
const char *record_kind_name(uint32_t kind); /* "accepted"; "unknown" */

/* Spans of length 0, zeros and zero arrays are absent. */
struct record {
    uint64_t sequence, time_ms;
    uint32_t kind;
    uint8_t digest[32];
    struct span header;
    uint64_t sealed_bytes;
    uint8_t sealed_hash[32];
    struct span signature; /* Signature */
    uint32_t code;
    struct span rule;
    uint64_t registry_version;
    uint8_t registry_hash[32];
    uint64_t session;
    struct span system, address;
    uint8_t certificate[32];
    struct span ack; /* Acknowledgement */
    uint64_t count;
    struct span text;
    struct span stream; /* 16 */
    uint64_t number;
    struct span service, event;
    uint32_t attempt;
    uint64_t accepted_ms;
    uint32_t state;
    struct span sender;
    struct span gateway;
    uint64_t blob_partition, blob_offset;
    struct span pending; /* the raw repeated field: write with record_pending_put, read with record_pending_next */
};
/* pending is written as it stands (already encoded); on reading it is the whole record, for record_pending_next. */
ehis_err record_read(struct span bytes, struct record *out, struct ehis_why *why) EHIS_MUST_USE;
ehis_err record_write(const struct record *r, struct buf *out) EHIS_MUST_USE;
ehis_err record_pending_put(struct span system, struct buf *out) EHIS_MUST_USE;
bool record_pending_next(const struct record *r, size_t *at, struct span *system);
