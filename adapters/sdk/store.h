/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* The state folder's log: records appended in groups, one write and one sync each; in segments, the oldest of which goes when no record
 * that is held stands in it. Each segment begins with a snapshot of everything small, so that what came before it may go. A torn end
 * (never acknowledged) is cut at opening; anything else that does not continue is STATE_CORRUPT. One thread; blocks. */
#pragma once
#include "base/disk.h"

#define STORE_RECORD_MAX_BYTES (17u * 1024 * 1024)

struct store;
struct store_place {
    uint64_t segment, offset; /* of the payload */
    uint32_t bytes;
};
struct store_events {
    void *ctx;
    /* At opening, in order. An error ends it. */
    ehis_err (*replay)(void *ctx, uint8_t type, struct span payload, const struct store_place *at);
    /* A segment begins: append what is small and true now. The first time before store_open returns. */
    ehis_err (*snapshot)(void *ctx, struct store *s);
    /* Append again what is held in this segment: it is to go. */
    ehis_err (*carry)(void *ctx, uint64_t segment);
};

/* Replays what is there and begins a segment: the snapshot is durable when it returns. d is borrowed. segment_bytes 0: 16 MiB. */
ehis_err store_open(struct disk *d, const struct store_events *events, uint64_t segment_bytes, struct store **out, struct ehis_why *why) EHIS_MUST_USE;
void store_free(struct store *s); /* what is not committed is lost */
/* Collected; durable after the commit. at may be NULL. TOO_LARGE, NO_MEMORY: nothing was appended. */
ehis_err store_append(struct store *s, uint8_t type, const struct span *parts, size_t count, struct store_place *at) EHIS_MUST_USE;
/* An error is final: the store answers it for ever. */
ehis_err store_commit(struct store *s) EHIS_MUST_USE;
bool store_is_written(const struct store *s, const struct store_place *at); /* so it can be read */
size_t store_group_bytes(const struct store *s); /* what the next commit makes durable */
/* A record that must stay readable, and its end. */
void store_hold(struct store *s, const struct store_place *at);
void store_let_go(struct store *s, const struct store_place *at);
/* Appends the payload. Of written records alone. */
ehis_err store_read(struct store *s, const struct store_place *at, struct buf *out) EHIS_MUST_USE;
