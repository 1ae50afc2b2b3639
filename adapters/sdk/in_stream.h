/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* The streams that this system receives: how far each is, by sender. At most 65,536: beyond, the sender that has most of them loses the one that it has not
 * used for longest, so that nobody keeps another out. In memory alone: inbox.h keeps them. One thread. */
#pragma once
#include "adapters/sdk/table.h"

#define INBOX_WINDOW 1024
#define IN_GAPS_MAX 16 /* remembered of a stream: the newest */

struct in_sender;
struct in_gap { uint64_t from, until; }; /* numbers that nothing explained: none of them was handed over */
struct in_stream {
    struct entry by_key;
    struct in_stream *next, *prev;   /* of all, the longest unused first; so they stand in a snapshot, too */
    struct in_stream *older, *newer; /* of its sender's, likewise */
    struct in_stream *next_touched, *next_uncommitted;
    struct in_sender *from;
    const char *sender;
    uint8_t id[16];
    uint64_t expected;
    uint64_t passed[INBOX_WINDOW / 64], rejected[INBOX_WINDOW / 64]; /* of the last numbers below expected */
    struct in_gap gaps[IN_GAPS_MAX]; /* ascending; they outlive the window: what is found lost may be sent again long after */
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
    bool has_kept_bits; /* in the store: passed or rejected, or gaps */
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
/* from < until. Beyond IN_GAPS_MAX the lowest is forgotten: what comes of it counts as handed over. */
void in_stream_add_gap(struct in_stream *s, uint64_t from, uint64_t until);
bool in_stream_is_in_gap(const struct in_stream *s, uint64_t number);
void in_stream_leave_gap(struct in_stream *s, uint64_t number); /* it has come after all */
void in_stream_free(struct in_streams *all, struct in_stream *s); /* not what waits */
void in_streams_fini(struct in_streams *all); /* they have been freed */
