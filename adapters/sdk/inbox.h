/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* What comes to this system in streams (SPEC 12): each number handed over once and in order; the next when the one before is
 * finished. What is finished is recorded, for many at once, before it is acknowledged. Numbers that a skip explained are remembered for a window, gaps beyond it. One thread. */
#pragma once
#include "adapters/sdk/in_stream.h"
#include "adapters/sdk/store.h"

#define INBOX_GAP_MS 30000
#define INBOX_GROUP 64 /* finished in one stream between two commits: so many may come again after a crash, marked */

/* Stands inside what the caller keeps for a message or a skip. */
struct in_item {
    struct in_item *next, *also; /* also: the same from other gateways, to be acknowledged with it */
    struct in_stream *stream;
    uint64_t number, delivery, session; /* session: whose delivery number it is; 0: none, it is to come again */
    uint8_t digest[32];
    uint8_t skip_state; /* 0: a message */
    bool is_late, is_repeated;
    bool is_replayable; /* an event of which a replay was asked for */
};

struct inbox;
struct inbox_events {
    void *ctx;
    /* NULL: the inbox keeps positions. Else it keeps only what was rejected or passed. */
    uint64_t (*position)(void *position_arg, const char *sender, const uint8_t stream[16]);
    void *position_arg;
    /* A number that nothing explained. */
    void (*on_gap)(void *ctx, const struct in_stream *s, uint64_t number);
    /* The item goes back to its owner: its session has ended before it was handed over, its stream is stopped, or what is left of its gap could not be remembered. */
    void (*on_dropped)(void *ctx, struct in_item *item);
};
ehis_err inbox_new(const struct inbox_events *events, struct inbox **out) EHIS_MUST_USE;
void inbox_free(struct inbox *b); /* items that wait are dropped */
void inbox_set_store(struct inbox *b, struct store *s, int64_t now_ms); /* after the replay */

bool inbox_owns_record(uint8_t type);
ehis_err inbox_replay(struct inbox *b, uint8_t type, struct span payload) EHIS_MUST_USE;
ehis_err inbox_snapshot(struct inbox *b) EHIS_MUST_USE;
ehis_err inbox_close(struct inbox *b) EHIS_MUST_USE; /* in order: what is being handled now, and that alone, may have been handed over */

enum inbox_verdict {
    INBOX_TAKEN,    /* the item waits for its turn */
    INBOX_ATTACHED, /* it is here already: the new delivery takes the old one's place; the item is the caller's */
    INBOX_JOINED,   /* it is here already, from another session too: in the `also` of the one that is here */
    INBOX_DONE, INBOX_REJECTED, /* finished before: acknowledge so, again */
    INBOX_CONFLICT, /* another message under this number */
    INBOX_AHEAD,    /* beyond the window, no room for another stream, a message whose skip is under way, or no number of a stream: later */
    INBOX_STOPPED,
};
/* item: number, digest, delivery, session, skip_state filled in. */
enum inbox_verdict inbox_offer(struct inbox *b, struct span sender, const uint8_t stream[16], struct in_item *item, int64_t now_ms);
/* The next item of a stream to hand over (or to pass: a skip); it runs until inbox_finish or inbox_give_back. NULL: none now, or INBOX_GROUP
 * are finished since the last commit; where the application keeps the position, also when one was rejected or passed since then. A stream's first message is
 * handed over after a commit. */
struct in_item *inbox_next(struct inbox *b, struct in_stream *s, int64_t mono_ms);
/* Done, rejected or passed: recorded, effective at the commit; acknowledge then. */
ehis_err inbox_finish(struct inbox *b, struct in_item *item, bool is_rejected, int64_t now_ms) EHIS_MUST_USE;
void inbox_give_back(struct inbox *b, struct in_item *item); /* to come again; what waits behind it waits on */
/* Nobody is there to take it: it is to come again, not marked for that, and what waits behind it is dropped. */
void inbox_stop(struct inbox *b, struct in_item *item);
void inbox_go_on(struct inbox *b); /* maybe there is somebody now */
ehis_err inbox_committed(struct inbox *b) EHIS_MUST_USE; /* an error: of the store, also where inbox_next met it */
/* Streams where something may be due since the last call: one after another, NULL at the end. */
struct in_stream *inbox_touched(struct inbox *b);
void inbox_touch_gaps(struct inbox *b); /* time has passed */
void inbox_session_ended(struct inbox *b, uint64_t session);
/* Events of this sender come again from somewhere on: each of its streams goes back to where one that is_replayable does. */
void inbox_replays(struct inbox *b, struct span sender);
void inbox_takeover(struct inbox *b); /* another state folder has received the streams until now */
