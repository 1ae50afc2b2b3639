/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* A stream on its way (SPEC 12): what of it goes next, at which gateway, and whose word on its messages is still wanted. In memory alone: outbox.h keeps
 * what it sends. One thread. */
#pragma once
#include "adapters/sdk/store.h"
#include "adapters/sdk/table.h"
#include "base/clock.h"

#define OUT_GATEWAYS_MAX 16
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
    uint16_t accepted_by;                        /* a bit for each slot of a gateway that has said so */
    bool is_untraced;                            /* some gateway has: which one, a restart has forgotten */
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
    struct out_message *first, *last;
    struct out_message *cursor;                /* the next to submit; what is unanswered stands before it */
    struct out_message *waiting;               /* before it none is waiting */
    uint32_t unanswered, keys_unanswered;
    uint64_t unanswered_bytes;
    uint64_t opened, settled; /* that the gateway has been told on this session: when it was opened, and now */
    uint64_t session, avoided; /* where it is open or opening: one at a time. avoided: not there, if there is another */
    uint8_t asked[OUT_GATEWAYS_MAX]; /* by slot: STREAM_OPENs without an answer yet */
    uint32_t taken[OUT_GATEWAYS_MAX], untraced; /* messages that a slot's gateway has accepted, and that nobody knows who has, without their ends */
    uint32_t heard;          /* a bit for each slot of a gateway where it is open for its receipts alone */
    uint32_t left;           /* and of one that may not have heard what is settled: something ended there, and then its session did */
    int64_t paused_until_ms, hear_at_ms;
    bool is_opening, is_open, is_broken;
    bool is_rewinding;       /* all that is held goes again, when everything submitted has its answer */
};

/* To be submitted still, or again: its bytes are here, and its end is not. */
static inline bool out_message_is_waiting(const struct out_message *m) { return m->is_held && !m->is_telling; }

ehis_err out_stream_new(const uint8_t id[16], enum out_class c, struct span recipient, struct span event, struct out_stream **out) EHIS_MUST_USE;
void out_stream_free(struct out_stream *s); /* not its messages */
void out_stream_add(struct out_message *m); /* to its stream, where its number says */
void out_stream_remove(struct out_message *m);

void out_stream_leave(struct out_stream *s, uint32_t slot); /* its gateway, of this slot; it is repeated elsewhere */
void out_stream_session_ended(struct out_stream *s, uint64_t session, uint32_t slot);
uint64_t out_stream_unsettled(const struct out_stream *s); /* all below have final receipts that are kept: `lowest` of STREAM_OPEN and STREAM_SETTLED */
uint64_t out_stream_held(struct out_stream *s);            /* the lowest whose bytes are here to be submitted: `next` of STREAM_OPEN */
/* The gateway expects this number. False: it is one whose bytes were let go meanwhile, so the stream is to be opened again. */
bool out_stream_opened(struct out_stream *s, uint64_t expected);
/* What to submit next; NULL: nothing now. Then out_stream_submitted. */
struct out_message *out_stream_next(struct out_stream *s, int64_t mono_ms);
void out_stream_submitted(struct out_message *m);
void out_stream_answered(struct out_message *m);
/* Not taken: all that is held goes again when what is under way is answered and the time has come. expected: by the gateway, 0: it does not say. */
void out_stream_on_flow(struct out_message *m, uint64_t expected, int64_t until_ms);

/* Has this gateway, or may it have, accepted something of the stream whose end is not known, or whose end it does not know to be kept here, while the
 * stream is open at another, or nowhere? */
bool out_stream_is_to_hear(const struct out_stream *s, uint64_t session, uint32_t slot);
void out_message_accepted(struct out_message *m, uint32_t slot);
void out_message_untraced(struct out_message *m); /* accepted, before a restart */
void out_message_ended(struct out_message *m);    /* or is forgotten: nobody's word on it is wanted */
/* Accepted, and a day past its time without an end: whoever knows it does not come back. The next behind m (NULL: the first); NULL: none. */
struct out_message *out_stream_untold(const struct out_stream *s, const struct out_message *m, int64_t now_ms);
