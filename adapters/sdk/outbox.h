/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* What this system sends in streams (SPEC 12): kept, with the same bytes, until the state that is waited for has come, and remembered
 * until its final receipt. Decides what to submit next; sends nothing itself. One thread. */
#pragma once
#include "adapters/sdk/store.h"
#include "adapters/sdk/table.h"
#include "base/clock.h"

#define OUT_GATEWAYS_MAX 16
struct outbox;
enum out_class { OUT_REQUESTS = 1, OUT_RESPONSES = 2, OUT_EVENTS = 3 };

struct out_message {
    struct entry by_digest;
    struct out_message *next, *prev;             /* of its stream by number; a key stands before the events that need it */
    struct out_message *later, *earlier;         /* of all, in the order of sending */
    struct out_stream *stream;
    uint64_t number;                             /* 0: a KEY envelope */
    uint64_t ticket;                             /* rising over all */
    uint8_t exchange_id[16];
    int64_t expires_ms;
    uint64_t sequence;
    struct store_place place;                    /* bytes 0: not on the disk */
    uint8_t *bytes;                              /* NULL: on the disk alone */
    uint32_t len;
    uint8_t state;                               /* STATE_* of the newest receipt; 0: none */
    uint8_t accepted_by;                         /* the gateway's slot and 1; 0: not known */
    bool is_final;                               /* for the application: of an event the acceptance is, or the replication where there is one */
    bool is_held;                                /* its bytes are kept */
    bool is_unanswered;                          /* submitted on its stream's session, no receipt or flow yet */
    bool is_telling;                             /* its final receipt is with the application */
};
struct out_stream {
    struct out_stream *next;
    uint8_t id[16];
    enum out_class class_;
    char *recipient, *event; /* event: "" unless OUT_EVENTS */
    uint64_t next_number;
    uint64_t sequence;       /* the highest that the application has given a message of it; 0: none */
    struct out_message *first, *last, *cursor; /* cursor: the next to submit */
    uint32_t unanswered, keys_unanswered;
    uint64_t rewind_to;      /* 0: none; waits until everything submitted has its answer */
    uint64_t settled;        /* that the gateway has been told on this session */
    uint64_t session, avoided; /* where it is open or opening: one at a time. avoided: not there, if there is another */
    uint8_t asked[OUT_GATEWAYS_MAX]; /* by slot: STREAM_OPENs without an answer yet */
    uint32_t heard;          /* a bit for each slot of a gateway that holds what it accepted before: open there for its receipts alone */
    int64_t paused_until_ms;
    bool is_opening, is_open, is_short /* opened from what is held */, is_broken;
};

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
/* Room for one more of this size? SDK_BUSY. */
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
/* Was this request sent to this system in a stream, and has it not expired? */
int64_t outbox_asked_until(const struct outbox *o, const uint8_t digest[32], struct span system); /* when that request expires; 0: it was not asked */
void outbox_forget_asked(struct outbox *o, int64_t now_ms);
struct out_message *outbox_by_digest(const struct outbox *o, const uint8_t digest[32]);

/* Sessions. */
struct out_gateway { uint64_t session; uint32_t slot; bool is_replicating; };
void outbox_session_ended(struct outbox *o, uint64_t session, uint32_t slot); /* its streams are repeated elsewhere */
void outbox_leave(struct out_stream *s);
/* Does this gateway hold what it has accepted of the stream, and is the stream open at another? */
bool outbox_is_to_hear(const struct out_stream *s, uint64_t session, uint32_t slot);
uint64_t outbox_lowest(const struct out_stream *s);    /* for STREAM_OPEN where it goes on */
uint64_t outbox_unsettled(const struct out_stream *s); /* all below have final receipts that are kept (STREAM_SETTLED) */
/* The gateway expects this number. STATE_BEHIND: it knows numbers that we do not; the stream is given up. */
ehis_err outbox_opened(struct outbox *o, struct out_stream *s, uint64_t expected) EHIS_MUST_USE;
/* What to submit next; NULL: nothing now. Then outbox_submitted. */
struct out_message *outbox_next(struct out_stream *s, int64_t now_ms);
void outbox_submitted(struct out_message *m);
ehis_err outbox_bytes(struct outbox *o, struct out_message *m, struct buf *room, struct span *out) EHIS_MUST_USE;
/* Not taken: repeat from `expected` (0: from m itself) when all that is under way is answered and the time has come. */
void outbox_on_flow(struct outbox *o, struct out_message *m, uint64_t expected, int64_t until_ms);
/* A receipt of this gateway. False: nothing new. A final one: the caller tells the application, then outbox_finish. Keys end by themselves: m may be gone. */
bool outbox_on_receipt(struct outbox *o, struct out_message *m, const struct out_gateway *from, uint8_t state, ehis_err *err);
ehis_err outbox_finish(struct outbox *o, struct out_message *m) EHIS_MUST_USE; /* m is gone */

/* Tickets: of the newest message, and the lowest of those that are held, or not final; UINT64_MAX: none. */
uint64_t outbox_ticket(const struct outbox *o);
uint64_t outbox_lowest_ticket(const struct outbox *o, bool is_final);
void outbox_count(const struct outbox *o, uint64_t *messages, uint64_t *bytes);
