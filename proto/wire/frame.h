/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* Frames on the stream (SPEC 7): u32 length of what follows, u8 type, payload. Pure; one thread an object. */
#pragma once
#include "base/bytes.h"

#define FRAME_HEAD_BYTES 5
#define FRAME_MAX_BYTES_DEFAULT (1024 * 1024)
#define FRAME_MAX_BYTES_LIMIT (16 * 1024 * 1024)

struct frame {
    uint8_t type;
    struct span payload; /* borrowed from the input */
};
/* Looks at the front of input. *used = 0: not a whole frame yet, and *need = bytes that the whole one takes (5 while the head is
 * missing). Otherwise *used bytes were the frame. FRAME_TOO_LARGE, FRAME_EMPTY as soon as the head tells; max_bytes counts type and payload. */
ehis_err frame_read(struct span input, size_t max_bytes, struct frame *out, size_t *used, size_t *need) EHIS_MUST_USE;
/* Writes a head for a payload of this length. TOO_LARGE beyond max_bytes. */
ehis_err frame_head(uint8_t type, size_t payload_bytes, size_t max_bytes, uint8_t out[FRAME_HEAD_BYTES]) EHIS_MUST_USE;

/* FrameType of session.proto. */
enum frame_type {
    FRAME_HELLO = 1, FRAME_PING, FRAME_PONG, FRAME_ERROR, FRAME_GOODBYE, FRAME_REGISTRY_GET, FRAME_REGISTRY, FRAME_CRL_GET, FRAME_CRL,
    FRAME_READY, FRAME_READY_STATE, FRAME_STREAM_OPEN, FRAME_STREAM_STATE, FRAME_STREAM_SETTLED, FRAME_SUBMIT, FRAME_FLOW, FRAME_RECEIPTS,
    FRAME_DELIVER, FRAME_SKIPS, FRAME_ACK, FRAME_SUBSCRIBE, FRAME_SUBSCRIPTION, FRAME_KEYS_GET, FRAME_KEYS, FRAME_BLOB_PUT, FRAME_BLOB_STATE,
    FRAME_BLOB_GET, FRAME_BLOB_CHUNK,
};
enum frame_from { FRAME_FROM_SYSTEM = 1, FRAME_FROM_GATEWAY = 2, FRAME_FROM_BOTH = 3 };
/* States of a session as both ends see it (SPEC 8.1). */
enum frame_state { FRAME_STATE_HELLO, FRAME_STATE_FETCH, FRAME_STATE_READY, FRAME_STATE_DRAINING, FRAME_STATE_COUNT };
struct frame_rule {
    uint8_t type;
    const char *name; /* "SUBMIT" */
    enum frame_from from;
    unsigned states; /* bits 1 << frame_state in which it may arrive */
    const struct scan_message *table; /* of its payload */
};
/* The row of a type; NULL where unknown. */
const struct frame_rule *frame_rule(uint8_t type);
/* FRAME_UNKNOWN, FRAME_DIRECTION, FRAME_OUT_OF_STATE. */
ehis_err frame_check(uint8_t type, enum frame_from sender, enum frame_state state, const struct frame_rule **rule) EHIS_MUST_USE;
