/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
#include "adapters/sdk/inbox.h"
#include <stdlib.h>

#define FORGOTTEN_MS (15 * INT64_C(86400000)) /* a day after the longest life of a message */
#define NUMBERS_END (UINT64_C(1) << 63)       /* who counts from 1 does not come so far */

enum { RECORD_CLOSED = 17, RECORD_STREAM = 18 }; /* 16 was the stream in two other layouts, neither of them released */

struct inbox {
    struct inbox_events events;
    struct store *store;
    struct in_streams streams;
    struct in_stream *touched, *uncommitted;
    size_t gap_count; /* streams that wait for what is missing */
    bool is_closed; /* in order, the last time: while replaying */
    int64_t now_ms;
    ehis_err failed; /* nothing is handed over any more */
};

static void set_bits(struct in_stream *s, uint64_t n, bool is_skipped, bool is_rejected)
{
    uint64_t mask = UINT64_C(1) << (n % 64), *skipped = &s->skipped[n % INBOX_WINDOW / 64], *rejected = &s->rejected[n % INBOX_WINDOW / 64];
    *skipped = is_skipped ? *skipped | mask : *skipped & ~mask;
    *rejected = is_rejected ? *rejected | mask : *rejected & ~mask;
}

static bool is_in_window(const struct in_stream *s, uint64_t n) { return n < s->expected && s->expected - n <= INBOX_WINDOW; }

static bool get_bit(const struct in_stream *s, const uint64_t *bits, uint64_t n)
{
    return is_in_window(s, n) && (bits[n % INBOX_WINDOW / 64] >> (n % 64) & 1);
}

static bool has_bits(const struct in_stream *s)
{
    uint64_t all = 0;
    for (size_t i = 0; i < INBOX_WINDOW / 64; i++)
        all |= s->skipped[i] | s->rejected[i];
    return all != 0;
}

/* Of a number below expected. */
static bool is_passed(const struct in_stream *s, uint64_t n)
{
    const struct in_gap *gap = in_stream_gap(s, n);
    return gap ? !gap->is_rejected : get_bit(s, s->skipped, n);
}

static bool is_rejected(const struct in_stream *s, uint64_t n)
{
    const struct in_gap *gap = in_stream_gap(s, n);
    return gap ? gap->is_rejected : get_bit(s, s->rejected, n);
}

ehis_err inbox_new(const struct inbox_events *events, struct inbox **out)
{
    struct inbox *b = calloc(1, sizeof *b);
    if (!b)
        return EHIS_E_NO_MEMORY;
    b->events = *events;
    b->is_closed = true;
    *out = b;
    return EHIS_OK;
}

static void await_gap(struct inbox *b, struct in_stream *s, int64_t since_ms /* 0: there is none */)
{
    b->gap_count += (since_ms != 0) - (s->gap_since_ms != 0);
    s->gap_since_ms = since_ms;
}

static void drop_waiting(struct inbox *b, struct in_stream *s)
{
    while (s->waiting) {
        struct in_item *item = s->waiting;
        s->waiting = item->next;
        b->events.on_dropped(b->events.ctx, item);
    }
    await_gap(b, s, 0);
}

void inbox_free(struct inbox *b)
{
    if (!b)
        return;
    for (struct in_stream *s; (s = b->streams.first);) {
        drop_waiting(b, s);
        in_stream_free(&b->streams, s);
    }
    in_streams_fini(&b->streams);
    free(b);
}

static void touch(struct inbox *b, struct in_stream *s)
{
    if (s->is_touched)
        return;
    s->is_touched = true;
    s->next_touched = b->touched;
    b->touched = s;
}

struct in_stream *inbox_touched(struct inbox *b)
{
    struct in_stream *s = b->touched;
    if (s) {
        b->touched = s->next_touched;
        s->is_touched = false;
    }
    return s;
}

void inbox_touch_gaps(struct inbox *b)
{
    size_t left = b->gap_count;
    for (struct in_stream *s = b->streams.last; s && left > 0; s = s->prev) /* the last used are the likeliest */
        if (s->gap_since_ms) {
            touch(b, s);
            left--;
        }
}

/* ---- the store ---- */

#define FIXED_BYTES 34 /* stream, expected, used; how many from there may have been handed over, twice, and whether there are bits; how many gaps */
#define GAP_BYTES 17
#define BITS_BYTES (2 * INBOX_WINDOW / 8)

static ehis_err append(struct inbox *b, const struct in_stream *s)
{
    uint8_t fixed[FIXED_BYTES], bits[BITS_BYTES], gaps[IN_GAPS_MAX * GAP_BYTES];
    bool is_with_bits = has_bits(s);
    memcpy(fixed, s->id, 16);
    be_put(fixed + 16, s->expected, 8);
    be_put(fixed + 24, (uint64_t)s->used_ms, 8);
    for (size_t i = 0; i < INBOX_WINDOW / 64; i++) {
        be_put(bits + i * 8, s->skipped[i], 8);
        be_put(bits + BITS_BYTES / 2 + i * 8, s->rejected[i], 8);
    }
    for (size_t i = 0; i < s->gap_count; i++) {
        be_put(gaps + i * GAP_BYTES, s->gaps[i].from, 8);
        be_put(gaps + i * GAP_BYTES + 8, s->gaps[i].until, 8);
        gaps[i * GAP_BYTES + 16] = s->gaps[i].is_rejected;
    }
    uint64_t begun = s->begun_until > s->expected ? s->begun_until - s->expected : 0;
    fixed[32] = (uint8_t)((begun < INBOX_GROUP ? begun : INBOX_GROUP) << 1 | is_with_bits);
    fixed[33] = (uint8_t)s->gap_count;
    struct span parts[] = {span_of(fixed, sizeof fixed), span_of(bits, is_with_bits ? BITS_BYTES : 0), span_of(gaps, s->gap_count * GAP_BYTES), span_str(s->sender)};
    return store_append(b->store, RECORD_STREAM, parts, 4, NULL);
}

/* Where the application keeps the position, only what that does not tell stands here: it must not end in two ways. */
static ehis_err keep(struct inbox *b, const struct in_stream *s)
{
    return b->events.position && s->gap_count == 0 && !has_bits(s) ? EHIS_OK : append(b, s);
}

bool inbox_owns_record(uint8_t type) { return type == RECORD_STREAM || type == RECORD_CLOSED; }

ehis_err inbox_replay(struct inbox *b, uint8_t type, struct span p)
{
    b->is_closed = type == RECORD_CLOSED;
    if (type == RECORD_CLOSED)
        return EHIS_OK;
    size_t bits = p.len > FIXED_BYTES && (p.p[32] & 1) ? BITS_BYTES : 0;
    size_t gap_count = p.len > FIXED_BYTES ? p.p[33] : 0, head = FIXED_BYTES + bits + gap_count * GAP_BYTES;
    if (p.len <= head || gap_count > IN_GAPS_MAX)
        return EHIS_E_STATE_CORRUPT;
    struct span sender = span_of(p.p + head, p.len - head);
    struct in_stream *s = in_stream_find(&b->streams, sender, p.p);
    if (!s)
        s = in_stream_add(&b->streams, sender, p.p);
    if (!s)
        return EHIS_E_NO_MEMORY;
    s->expected = be_get(p.p + 16, 8);
    in_stream_used(&b->streams, s, (int64_t)be_get(p.p + 24, 8));
    s->begun_until = s->expected + (p.p[32] >> 1);
    s->gap_count = 0;
    for (const uint8_t *gap = p.p + FIXED_BYTES + bits; gap < p.p + head; gap += GAP_BYTES)
        EHIS_TRY(in_stream_add_gap(s, be_get(gap, 8), be_get(gap + 8, 8), gap[16] != 0));
    s->is_unasked = b->events.position != NULL;
    for (size_t i = 0; i < INBOX_WINDOW / 64; i++) {
        s->skipped[i] = bits ? be_get(p.p + FIXED_BYTES + i * 8, 8) : 0;
        s->rejected[i] = bits ? be_get(p.p + FIXED_BYTES + BITS_BYTES / 2 + i * 8, 8) : 0;
    }
    return EHIS_OK;
}

/* After a crash the number that was next may have been with the application, and as many behind it as one commit holds. */
void inbox_set_store(struct inbox *b, struct store *s, int64_t now_ms)
{
    b->store = s;
    b->now_ms = now_ms;
    for (struct in_stream *in = b->streams.first; in && !b->is_closed; in = in->next)
        in->begun_until = in->expected + INBOX_GROUP;
}

ehis_err inbox_snapshot(struct inbox *b)
{
    for (struct in_stream *s = b->streams.first, *next; s; s = next) {
        next = s->next;
        if (s->used_ms < b->now_ms - FORGOTTEN_MS && in_stream_is_idle(s))
            in_stream_free(&b->streams, s);
        else
            EHIS_TRY(keep(b, s));
    }
    return EHIS_OK;
}

ehis_err inbox_close(struct inbox *b)
{
    for (struct in_stream *s = b->streams.first; s; s = s->next)
        if (s->running && s->begun_until <= s->expected) {
            s->begun_until = s->expected + 1;
            EHIS_TRY(keep(b, s));
        }
    return b->events.position ? EHIS_OK : store_append(b->store, RECORD_CLOSED, NULL, 0, NULL);
}

/* ---- deliveries ---- */

/* Of the numbers between, the bits say nothing: they are of others, a window or more below. */
static void move_to(struct in_stream *s, uint64_t expected)
{
    uint64_t from = s->expected < expected ? s->expected : expected, until = s->expected < expected ? expected : s->expected;
    for (uint64_t n = from; n < until && n - from < INBOX_WINDOW; n++)
        set_bits(s, n, false, false);
    s->expected = expected;
    in_stream_cut_gaps(s, expected);
}

static void fail_if(struct inbox *b, ehis_err err)
{
    if (b->failed == EHIS_OK)
        b->failed = err;
}

/* The application's position counts: numbers between it and ours are the application's; what was rejected or passed right behind it is finished. */
static void ask_position(struct inbox *b, struct in_stream *s)
{
    uint64_t expected = b->events.position(b->events.position_arg, s->sender, s->id) + 1, kept = s->expected;
    const struct in_gap *gap;
    s->is_unasked = false;
    while ((gap = in_stream_gap(s, expected)) || get_bit(s, s->skipped, expected) || get_bit(s, s->rejected, expected))
        expected = gap ? gap->until : expected + 1;
    move_to(s, expected);
    s->begun_until = expected + 1;
    if (expected < kept) /* else a restart would find again what was passed behind it */
        fail_if(b, append(b, s));
}

/* With what comes first of a stream that another folder has had until now, or nobody. What is below may be on its way by another gateway: it has not been
 * here. */
static ehis_err begin_at(struct in_stream *s, uint64_t number)
{
    EHIS_TRY(in_stream_add_gap(s, s->expected > 1 ? s->expected : 1, number, false));
    move_to(s, number);
    s->begun_until = number + (number > 1 ? INBOX_GROUP : 0);
    return EHIS_OK;
}

static struct in_stream *meet(struct inbox *b, struct span sender, const uint8_t stream[16], struct in_item *item, int64_t now_ms)
{
    struct in_stream *s = in_stream_find(&b->streams, sender, stream);
    if (s && s->is_unasked)
        ask_position(b, s);
    if (s && !s->is_adopting)
        return s;
    if (s) {
        s->is_adopting = false;
        if (item->number <= s->expected || s->running || s->waiting)
            return s;
        fail_if(b, begin_at(s, item->number));
    } else {
        s = in_stream_add(&b->streams, sender, stream);
        if (!s)
            return NULL;
        in_stream_used(&b->streams, s, now_ms); /* else a restart would think it long forgotten */
        if (b->events.position)
            ask_position(b, s);
        else
            fail_if(b, begin_at(s, item->number));
    }
    /* Durable before its first message is handed over, so that after a crash there is something to mark. */
    fail_if(b, keep(b, s));
    return b->failed == EHIS_OK ? s : NULL;
}

void inbox_replays(struct inbox *b, struct span sender)
{
    for (struct in_stream *s = b->streams.first; s; s = s->next)
        if (span_eq(span_str(s->sender), sender))
            s->replay_below = s->expected;
}

/* From here on all comes again, what is being handled now as well: the position goes with it, so that a restart goes on there. */
static void go_back(struct in_stream *s, const struct in_item *item)
{
    s->replay_below = item->number;
    if (s->finished_below < s->expected)
        s->finished_below = s->expected;
    uint64_t begun_until = s->running && s->running->number == s->expected ? s->expected + 1 : s->expected;
    if (s->begun_until < begun_until)
        s->begun_until = begun_until;
    move_to(s, item->number);
}

enum inbox_verdict inbox_offer(struct inbox *b, struct span sender, const uint8_t stream[16], struct in_item *item, int64_t now_ms)
{
    struct in_stream *s = item->number < NUMBERS_END ? meet(b, sender, stream, item, now_ms) : NULL;
    if (!s)
        return INBOX_AHEAD;
    b->now_ms = now_ms;
    in_stream_used(&b->streams, s, now_ms);
    struct in_item **at = &s->waiting;
    while (*at && (*at)->number < item->number)
        at = &(*at)->next;
    struct in_item *here = s->running && s->running->number == item->number ? s->running : *at && (*at)->number == item->number ? *at : NULL;
    if (here) {
        if (here->skip_state != item->skip_state) /* a message that was rejected comes again as a skip; from another gateway perhaps before its end */
            return item->skip_state ? INBOX_DONE : INBOX_AHEAD;
        if (memcmp(here->digest, item->digest, sizeof here->digest) != 0)
            return INBOX_CONFLICT;
        struct in_item *same = here, *lost = NULL;
        for (; same && same->session != item->session; same = same->also)
            if (same->session == 0)
                lost = same;
        if (!same)
            same = lost;
        if (!same) {
            item->stream = s;
            item->also = here->also;
            here->also = item;
            return INBOX_JOINED;
        }
        same->delivery = item->delivery;
        same->session = item->session;
        return INBOX_ATTACHED;
    }
    if (item->is_replayable && item->number < s->expected && item->number < s->replay_below)
        go_back(s, item);
    if (item->number < s->expected && (item->skip_state || !is_passed(s, item->number)))
        return is_rejected(s, item->number) ? INBOX_REJECTED : INBOX_DONE;
    /* Nearer work comes first. Where there is none, all before it is a gap, however wide. */
    bool has_nearer = s->running || (s->waiting && s->waiting->number < s->expected + INBOX_WINDOW);
    if (item->number >= s->expected + INBOX_WINDOW && has_nearer)
        return INBOX_AHEAD;
    s->is_stopped &= item->number > s->expected;
    if (s->is_stopped)
        return INBOX_STOPPED;
    item->is_late = item->number < s->expected;
    if (item->number == s->expected)
        s->is_retrying = false;
    item->stream = s;
    item->next = *at;
    *at = item;
    touch(b, s);
    return INBOX_TAKEN;
}

/* Of a gap wider than the window its first number is told, and those of the window. */
static ehis_err pass_gap(struct inbox *b, struct in_stream *s, uint64_t until)
{
    uint64_t n = s->expected > s->finished_below ? s->expected : s->finished_below;
    EHIS_TRY(in_stream_add_gap(s, s->expected, until, false));
    move_to(s, until);
    await_gap(b, s, 0);
    if (n + INBOX_WINDOW < until) {
        b->events.on_gap(b->events.ctx, s, n);
        n = until - INBOX_WINDOW;
    }
    for (; n < until; n++)
        b->events.on_gap(b->events.ctx, s, n);
    return EHIS_OK;
}

/* Numbers wait, and the one before them neither is here nor was given back. */
static bool is_gap_due(struct inbox *b, struct in_stream *s, int64_t mono_ms)
{
    const struct in_item *above = s->waiting;
    while (above && above->number < s->expected)
        above = above->next;
    if (!above || above->number == s->expected || (s->running && s->running->number == s->expected))
        await_gap(b, s, 0);
    else if (s->gap_since_ms == 0 || s->is_retrying)
        await_gap(b, s, mono_ms);
    return s->gap_since_ms != 0 && mono_ms - s->gap_since_ms >= INBOX_GAP_MS;
}

static void await_commit(struct inbox *b, struct in_stream *s, uint32_t count)
{
    if (s->uncommitted == 0) {
        s->next_uncommitted = b->uncommitted;
        b->uncommitted = s;
    }
    s->uncommitted += count;
}

struct in_item *inbox_next(struct inbox *b, struct in_stream *s, int64_t mono_ms)
{
    struct in_item *item;
    bool is_due = is_gap_due(b, s, mono_ms);
    if (s->running || s->uncommitted >= INBOX_GROUP || b->failed != EHIS_OK)
        return NULL;
    while ((item = s->waiting) && !in_stream_can_leave_gap(s, item->number)) {
        s->waiting = item->next;
        b->events.on_dropped(b->events.ctx, item);
    }
    if (!item || (item->number > s->expected && !is_due))
        return NULL;
    if (item->number > s->expected) {
        fail_if(b, pass_gap(b, s, item->number));
        if (b->events.position) { /* what comes next moves the application's position over the gap: that it was one is durable before */
            fail_if(b, append(b, s));
            await_commit(b, s, INBOX_GROUP);
        }
        if (b->events.position || b->failed != EHIS_OK)
            return NULL;
    }
    s->waiting = item->next;
    item->next = NULL;
    item->is_repeated = item->number < s->begun_until;
    s->running = item;
    return item;
}

ehis_err inbox_finish(struct inbox *b, struct in_item *item, bool is_rejected, int64_t now_ms)
{
    struct in_stream *s = item->stream;
    EHIS_ASSERT(s->running == item);
    b->now_ms = now_ms;
    in_stream_used(&b->streams, s, now_ms);
    bool is_next = item->number == s->expected, is_plain = !is_rejected && item->skip_state == 0;
    s->expected += is_next;
    if (in_stream_gap(s, item->number))
        in_stream_leave_gap(s, item->number, is_rejected);
    else if (is_in_window(s, item->number))
        set_bits(s, item->number, item->skip_state != 0, is_rejected);
    s->running = NULL;
    /* The same of what the application's position does not tell. */
    await_commit(b, s, b->events.position && !is_plain ? INBOX_GROUP : 1);
    touch(b, s);
    if (b->failed != EHIS_OK || (b->events.position && is_next && is_plain))
        return b->failed;
    return append(b, s);
}

ehis_err inbox_committed(struct inbox *b)
{
    for (struct in_stream *s; (s = b->uncommitted);) {
        b->uncommitted = s->next_uncommitted;
        if (s->uncommitted >= INBOX_GROUP)
            touch(b, s);
        s->uncommitted = 0;
    }
    return b->failed;
}

static void put_back(struct inbox *b, struct in_item *item)
{
    struct in_stream *s = item->stream;
    EHIS_ASSERT(s->running == item);
    s->running = NULL;
    s->is_retrying |= item->number == s->expected;
    touch(b, s);
}

void inbox_stop(struct inbox *b, struct in_item *item)
{
    put_back(b, item);
    item->stream->is_stopped = true;
    drop_waiting(b, item->stream);
}

void inbox_go_on(struct inbox *b)
{
    for (struct in_stream *s = b->streams.first; s; s = s->next)
        s->is_stopped = false;
}

void inbox_give_back(struct inbox *b, struct in_item *item)
{
    put_back(b, item);
    /* It may have had its effect in part: the next time it is marked. */
    if (item->number >= item->stream->begun_until)
        item->stream->begun_until = item->number + 1;
}

/* False: no session has it any more. */
static bool lose_session(struct in_item *item, uint64_t session)
{
    bool is_left = false;
    for (; item; item = item->also) {
        if (item->session == session)
            item->session = 0;
        is_left |= item->session != 0;
    }
    return is_left;
}

void inbox_session_ended(struct inbox *b, uint64_t session)
{
    for (struct in_stream *s = b->streams.first; s; s = s->next) {
        lose_session(s->running, session);
        s->is_retrying = false;
        for (struct in_item **at = &s->waiting; *at;) {
            struct in_item *item = *at;
            if (lose_session(item, session)) {
                at = &item->next;
                continue;
            }
            *at = item->next;
            b->events.on_dropped(b->events.ctx, item);
        }
        await_gap(b, s, 0);
        if (s->waiting)
            touch(b, s);
    }
}

void inbox_takeover(struct inbox *b)
{
    for (struct in_stream *s = b->streams.first; s; s = s->next)
        s->is_adopting = true;
}
