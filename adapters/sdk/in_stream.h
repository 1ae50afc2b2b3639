/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* The streams that this system receives: how far each is, by sender. At most 65,536: beyond, the sender that has most of them loses the one that it has not
 * used for longest, so that nobody keeps another out. In memory alone: inbox.h keeps them. Of a number below the one that is expected next
 * nothing stands here when it was done; bits tell the last 1,024 that were skipped or rejected, gaps what has not been here, however far below. One thread. */
#pragma once
#include "adapters/sdk/table.h"

#define INBOX_WINDOW 1024
#define IN_GAPS_MAX 64   /* beyond, the lowest that was rejected is forgotten, or else the lowest: what comes of it counts as done */
#define IN_GAPS_SPLIT 48 /* into so many pieces what comes late may cut them: the rest is for new ones */

struct in_sender;
struct in_gap {
    uint64_t from, until;
    bool is_rejected; /* they came late, and were; else they are still to come, and would be late */
};
struct in_stream {
    struct entry by_key;
    struct in_stream *next, *prev;   /* of all, the longest unused first; so they stand in a snapshot, too */
    struct in_stream *older, *newer; /* of its sender's, likewise */
    struct in_stream *next_touched, *next_uncommitted;
    struct in_sender *from;
    const char *sender;
    uint8_t id[16];
    uint64_t expected;
    uint64_t skipped[INBOX_WINDOW / 64], rejected[INBOX_WINDOW / 64]; /* of the last numbers below expected */
    struct in_gap *gaps; /* ascending, below expected; NULL: there was none yet */
    uint32_t gap_count;
    int64_t used_ms, gap_since_ms;
    struct in_item *waiting; /* ascending */
    struct in_item *running;
    uint64_t begun_until; /* numbers below may have been handed over before */
    uint32_t uncommitted;
    uint64_t replay_below;   /* events below may come again, to be handed over again */
    uint64_t finished_below; /* before it went back: what does not come again of that is no gap */
    bool is_adopting; /* begins at the next number that comes */
    bool is_unasked;  /* from the store; the application has not said its position yet */
    bool is_touched, is_retrying; /* retrying: the expected number was given back */
    bool is_stopped;  /* nobody was there to take the expected number: until it comes again nothing is taken behind it */
};
struct in_streams {
    struct in_stream *first, *last;
    struct in_sender *senders;
    struct table by_key, by_name;
};

struct in_stream *in_stream_find(const struct in_streams *all, struct span sender, const uint8_t stream[16]);
/* NULL: no memory, or of the largest sender's something is under way in each. */
struct in_stream *in_stream_add(struct in_streams *all, struct span sender, const uint8_t stream[16]);
void in_stream_used(struct in_streams *all, struct in_stream *s, int64_t now_ms);
bool in_stream_is_idle(const struct in_stream *s); /* nothing of it is under way */
/* Above those that are there; does nothing when it is empty. */
ehis_err in_stream_add_gap(struct in_stream *s, uint64_t from, uint64_t until, bool is_rejected) EHIS_MUST_USE;
const struct in_gap *in_stream_gap(const struct in_stream *s, uint64_t number); /* where it stands; NULL: in none */
bool in_stream_can_leave_gap(const struct in_stream *s, uint64_t number); /* what is left of its gap can be remembered */
/* It has come after all, and can leave. */
void in_stream_leave_gap(struct in_stream *s, uint64_t number, bool is_rejected);
void in_stream_cut_gaps(struct in_stream *s, uint64_t until); /* what is above is no gap any more */
void in_stream_free(struct in_streams *all, struct in_stream *s); /* not what waits */
void in_streams_fini(struct in_streams *all); /* they have been freed */
