/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* What this system sends in streams (SPEC 12): kept, with the same bytes, until the state that is waited for has come, and remembered
 * until its final receipt. Decides what to submit next; sends nothing itself. One thread. */
#pragma once
#include "adapters/sdk/out_stream.h"

struct outbox;

/* is_memory: nothing goes to the store, nothing survives a restart. wait_state: when bytes are let go: accepted, replicated, or 0:
 * replicated where the gateway says that. */
ehis_err outbox_new(uint64_t max_bytes, bool is_memory, uint8_t wait_state, struct outbox **out) EHIS_MUST_USE;
void outbox_free(struct outbox *o);
void outbox_set_store(struct outbox *o, struct store *s); /* after the replay, before anything else */

/* For store_events. */
bool outbox_owns_record(uint8_t type);
ehis_err outbox_replay(struct outbox *o, uint8_t type, struct span payload, const struct store_place *at) EHIS_MUST_USE;
ehis_err outbox_snapshot(struct outbox *o) EHIS_MUST_USE;
ehis_err outbox_carry(struct outbox *o, uint64_t segment) EHIS_MUST_USE;

/* The stream to this recipient, made where there is none. SDK_BUSY: over 256. */
ehis_err outbox_stream(struct outbox *o, enum out_class c, struct span recipient, struct span event, const struct random *r, struct out_stream **out) EHIS_MUST_USE;
struct out_stream *outbox_find(const struct outbox *o, const uint8_t id[16]);
struct out_stream *outbox_streams(const struct outbox *o); /* the first */
/* Room for one more of this size? SDK_BUSY, also where 262,144 lack their final receipt. */
ehis_err outbox_check_room(const struct outbox *o, size_t bytes) EHIS_MUST_USE;
/* Takes an envelope that was made with this number (next_number - 1 or, of a key, 0). Durable at the store's commit, with its sequence. */
struct out_new {
    struct out_stream *stream;
    uint64_t number, sequence;
    const uint8_t *exchange_id, *digest;
    int64_t expires_ms;
    struct span envelope;
};
ehis_err outbox_put(struct outbox *o, const struct out_new *n, struct out_message **out) EHIS_MUST_USE;
/* When the request of this digest expires that was sent to this system in a stream; 0: none was, or it is forgotten. */
int64_t outbox_asked_until(const struct outbox *o, const uint8_t digest[32], struct span system);
void outbox_forget_asked(struct outbox *o, int64_t now_ms);
struct out_message *outbox_by_digest(const struct outbox *o, const uint8_t digest[32]);

void outbox_committed(struct outbox *o); /* the store is: at most 16 MiB of what stands on the disk stay in memory, too */

/* Sessions. */
struct out_gateway { uint64_t session; uint32_t slot; bool is_replicating; };
void outbox_session_ended(struct outbox *o, uint64_t session, uint32_t slot); /* its streams are repeated elsewhere */
/* As out_stream_opened. STATE_BEHIND: the gateway knows numbers that we do not; the stream is given up. */
ehis_err outbox_opened(struct outbox *o, struct out_stream *s, uint64_t expected) EHIS_MUST_USE;
ehis_err outbox_bytes(struct outbox *o, struct out_message *m, struct buf *room, struct span *out) EHIS_MUST_USE;
/* A receipt of this gateway. False: nothing new. A final one: the caller tells the application, but not of keys, then outbox_finish. */
bool outbox_on_receipt(struct outbox *o, struct out_message *m, const struct out_gateway *from, uint8_t state, ehis_err *err);
ehis_err outbox_finish(struct outbox *o, struct out_message *m) EHIS_MUST_USE; /* m is gone */

/* Tickets: of the newest message, and the lowest of those that are held, or not final; UINT64_MAX: none. */
uint64_t outbox_ticket(const struct outbox *o);
uint64_t outbox_lowest_ticket(struct outbox *o, bool is_final);
void outbox_count(const struct outbox *o, uint64_t *messages, uint64_t *bytes);
