/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* Signed statements and their batches (SPEC 6): acknowledgements, receipts, skips. Views borrow. Pure, any thread. */
#pragma once
#include "proto/wire/envelope.h"

enum outcome { OUTCOME_DONE = 1, OUTCOME_REJECTED = 2, OUTCOME_RETRY = 3 };
enum state { STATE_ACCEPTED = 1, STATE_REPLICATED = 2, STATE_DELIVERED = 3, STATE_FAILED = 4, STATE_REFUSED = 5, STATE_EXPIRED = 6 };
const char *state_name(uint32_t state); /* "accepted"; "unknown" */
#define STATEMENT_BATCH_MAX 1024 /* statements in one frame */

struct batch_signature {
    uint32_t algorithm;
    uint8_t key_id[32];
    uint32_t size;
    uint8_t signature[64];
    uint32_t first;    /* of the frame's statements in their tree */
    struct span proof; /* tree_run_root */
};
struct acknowledgement { /* proves itself alone */
    uint8_t digest[32];
    uint32_t outcome, code;
    uint64_t time_ms;
    struct span signature; /* Signature */
};
struct receipt {
    uint8_t digest[32];
    struct span sender, recipient;
    uint32_t state, code;
    uint64_t time_ms;
    struct span gateway;
    uint32_t index;
    struct span path;
    struct span ack; /* Acknowledgement */
};
struct skip {
    struct span sender, recipient;
    uint8_t stream[16];
    uint64_t number;
    uint8_t digest[32]; /* zeros if unknown */
    uint32_t state;
    struct span gateway;
    uint32_t index;
    struct span path;
    uint64_t delivery;
};
struct ack { /* inside ACK */
    uint64_t delivery;
    uint8_t digest[32];
    uint32_t outcome, code;
    uint64_t time_ms;
    uint32_t retry_ms;
};
/* RECEIPTS, SKIPS, ACK: the signature, then the items by batch_next on the same payload. The read checks all items too. */
#define STATEMENT_PAIR(name) \
    ehis_err name##_read(struct span bytes, struct name *out, struct ehis_why *why) EHIS_MUST_USE; \
    ehis_err name##_write(const struct name *in, struct buf *out) EHIS_MUST_USE;
STATEMENT_PAIR(acknowledgement)
STATEMENT_PAIR(receipt)
STATEMENT_PAIR(skip)
STATEMENT_PAIR(ack)
/* type: FRAME_RECEIPTS, FRAME_SKIPS or FRAME_ACK. */
ehis_err batch_read(uint8_t type, struct span payload, struct batch_signature *out, struct ehis_why *why) EHIS_MUST_USE;
bool batch_next(struct span payload, size_t *at, struct span *item); /* *at starts at 0 */
/* Begins a payload; then batch_put for each item's bytes. */
ehis_err batch_begin(const struct batch_signature *s, struct buf *out) EHIS_MUST_USE;
ehis_err batch_put(struct span item, struct buf *out) EHIS_MUST_USE;
