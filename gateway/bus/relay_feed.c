/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* Event topics. A partition is read once for all subscribers whose inboxes are owned here: each record is given to those that are next to have it and have
 * room. Who has none falls behind, and holds nobody: its part is read a second time, by another handle, for one that is behind after the
 * other, at most TURN_RECORDS each. So who takes what it is given waits for nobody while it keeps up, and while it does not, for one turn of
 * each other that is behind. Held in memory: what a partition of one subscriber may hold (RELAY_HELD_MAX, RELAY_HELD_BYTES). */
#include "base/log.h"
#include "gateway/bus/relay_priv.h"

#include <stdlib.h>

#define TURN_RECORDS 1024
#define LOOK_MS 60000 /* for partitions that were added */

static struct follower *follower_of(struct node *n) { return container_of(n, struct follower, in_event); }

static struct reading *part_of(struct node *n, int32_t partition)
{
    struct follower *c = follower_of(n);
    return partition < c->count ? c->parts[partition] : NULL;
}

/* ---- one partition ---- */

/* Of those that are behind and have room, the next after one, around. */
static struct reading *behind(struct event *e, int32_t partition, const struct reading *after)
{
    struct node *from = after ? &after->cursor->in_event : &e->cursors, *n = from;
    do {
        n = n->next;
        struct reading *x = n != &e->cursors ? part_of(n, partition) : NULL;
        if (x && !x->is_paused && x->window.next < e->parts[partition].main->at)
            return x;
    } while (n != from);
    return NULL;
}

/* Who is furthest leads. */
static void pace_main(struct event *e, int32_t partition)
{
    struct reading *m = e->parts[partition].main;
    int64_t top = -1;
    bool has_room = false;
    for (struct node *n = e->cursors.next; n != &e->cursors; n = n->next) {
        struct reading *x = part_of(n, partition);
        if (!x || x->window.next < top)
            continue;
        has_room = (x->window.next == top && has_room) || !x->is_paused;
        top = x->window.next;
    }
    if (top >= 0 && top != m->at)
        relay_read_from(m, top);
    if (m->state == READING_READS && m->is_paused == has_room) {
        m->is_paused = !has_room;
        kafka_pause(m->relay->kafka, m->watch, m->is_paused);
    }
}

static void pace_lag(struct event *e, int32_t partition)
{
    struct reading *m = e->parts[partition].main, *l = e->parts[partition].lag, *t = l ? l->turn : NULL;
    if (t && t->window.next < m->at && !t->is_paused && l->turn_count < TURN_RECORDS)
        return;
    struct reading *next = behind(e, partition, t);
    if (!next) {
        if (t)
            relay_read_stop(l);
        if (l)
            l->turn = NULL;
        return;
    }
    if (!l)
        l = e->parts[partition].lag = relay_read(m->relay, &(struct reading){.kind = READ_FEED, .lane = KAFKA_LAG, .event = e, .partition = partition, .at = UNKNOWN});
    if (!l)
        return; /* no memory: again when somebody has room */
    l->turn = next;
    l->turn_count = 0;
    if (l->state != READING_READS || l->at != next->window.next)
        relay_read_from(l, next->window.next);
}

void relay_feed_pace(struct event *e, int32_t partition)
{
    if (e->is_feeding || !e->parts[partition].main)
        return;
    pace_main(e, partition);
    pace_lag(e, partition);
}

void relay_feed(struct reading *f, struct kafka_record *record)
{
    struct event *e = f->event;
    struct kafka *k = f->relay->kafka;
    const struct reading *m = e->parts[f->partition].main;
    bool is_ahead = f != m && record->offset >= m->at; /* from here on the other reads for all */
    e->is_feeding = true;
    for (struct node *n = e->cursors.next; n != &e->cursors && !is_ahead; n = n->next) {
        struct reading *x = part_of(n, f->partition);
        if (!x || x->is_paused || x->window.next < f->at || x->window.next > record->offset)
            continue;
        struct kafka_record copy = *record;
        copy.watch = x->watch;
        kafka_hold(k, record->hold);
        relay_on_record(f->relay, &copy);
    }
    e->is_feeding = false;
    f->at = record->offset + 1;
    f->turn_count++;
    if (is_ahead && f->turn)
        f->turn_count = TURN_RECORDS;
    kafka_release(k, record->hold);
    relay_feed_pace(e, f->partition);
}

void relay_feed_reset(struct reading *f)
{
    struct event *e = f->event;
    const struct reading *m = e->parts[f->partition].main;
    for (struct node *n = e->cursors.next; n != &e->cursors; n = n->next) {
        struct reading *x = part_of(n, f->partition);
        /* Where the log does not hold what the leader is to read next, it holds nothing of what the others are to read either: it was made anew, or cut beyond all. */
        if (!x || (f != m && (x->window.next < f->at || x->window.next >= m->at)))
            continue;
        window_init(&x->window, 0);
        relay_forget_offsets(x);
        x->cursor->is_dirty = true;
    }
    relay_read_from(f, KAFKA_FROM_BEGIN);
    f->at = 0;
}

void relay_feed_gone(struct reading *f)
{
    struct event *e = f->event;
    struct reading *l = e->parts[f->partition].lag;
    for (struct node *n = e->cursors.next; n != &e->cursors; n = n->next) {
        struct reading *x = part_of(n, f->partition);
        if (!x || x->window.next == 0)
            continue;
        window_init(&x->window, 0);
        relay_forget_offsets(x);
        x->cursor->is_dirty = true;
    }
    e->parts[f->partition].main->at = 0;
    if (l) {
        relay_read_stop(l);
        l->turn = NULL;
    }
}

/* ---- an event ---- */

bool relay_is_read(const struct reading *g, int64_t end) { return end >= 0 && (end == 0 || g->at >= end) && list_is_empty(&g->later); }

static ehis_err join(struct relay *r, struct follower *c, size_t *at)
{
    struct event *e = c->event;
    int32_t p = c->count;
    struct reading as = {.kind = READ_FEED, .lane = KAFKA_BULK, .event = e, .partition = p, .at = UNKNOWN};
    if (!e->parts[p].main)
        e->parts[p].main = relay_read(r, &as);
    as = (struct reading){.kind = READ_EVENT, .inbox = c->inbox, .event = e, .cursor = c, .partition = p, .has_window = true};
    struct reading *x = e->parts[p].main ? relay_read(r, &as) : NULL;
    if (!x)
        return EHIS_E_NO_MEMORY;
    if (*at >= c->positions_len || window_get(&x->window, span_of(c->positions, c->positions_len), at) != EHIS_OK)
        window_init(&x->window, 0); /* made after it began */
    c->parts[c->count++] = x;
    return EHIS_OK;
}

/* A part of each partition that there is; also of those that were added. */
static ehis_err reach(struct relay *r, struct follower *c)
{
    struct event *e = c->event;
    struct window skipped;
    size_t at = 0;
    struct reading **more = reallocarray(c->parts, (size_t)e->count, sizeof(struct reading *));
    if (!more)
        return EHIS_E_NO_MEMORY;
    c->parts = more;
    for (int32_t p = 0; p < c->count && at < c->positions_len; p++)
        EHIS_TRY(window_get(&skipped, span_of(c->positions, c->positions_len), &at));
    for (int32_t p = c->count; p < e->count; p++) {
        EHIS_TRY(join(r, c, &at));
        relay_feed_pace(e, p);
    }
    c->is_dirty = true; /* whatever stands in the log: this is from where it is read now */
    return EHIS_OK;
}

void relay_event_grow(struct event *e, int32_t count)
{
    size_t bytes = (size_t)count * sizeof *e->parts;
    void *more = count > e->count ? realloc(e->parts, bytes) : NULL;
    if (!more)
        return;
    e->parts = more;
    memset(e->parts + e->count, 0, (size_t)(count - e->count) * sizeof *e->parts);
    e->count = count;
}

void relay_event_start(struct relay *r, struct follower *c)
{
    c->is_started = true;
    c->event->started++;
    relay_event_go(r, c->event);
}

static void ask_keys(struct relay *r, struct event *e, int64_t now)
{
    char topic[BUS_TOPIC_NAME_MAX_BYTES + 1];
    bus_topic_name(relay_prefix(r), TOPIC_KEY, e->service, e->name, topic);
    if (kafka_offsets_get(r->kafka, topic, 0, (uint64_t)(uintptr_t)e | 1) != EHIS_OK)
        return;
    e->keys_end = ASKED;
    e->keys_asked_ms = now;
}

void relay_event_go(struct relay *r, struct event *e)
{
    int64_t now = relay_mono_ms(r);
    if (!e->started)
        return;
    if (e->keys_end == UNKNOWN && now - e->keys_asked_ms >= RELAY_RETRY_MS)
        ask_keys(r, e, now);
    if (!e->keys && e->keys_end >= 0)
        e->keys = relay_read(r, &(struct reading){.kind = READ_KEY, .lane = KAFKA_BULK, .event = e, .at = e->keys_from});
    if (!e->is_asked && now - e->asked_ms >= (e->count ? LOOK_MS : RELAY_RETRY_MS))
        relay_event_ask(r, e, 0);
    if (!e->keys || !e->count || !relay_is_read(e->keys, e->keys_end))
        return;
    for (struct node *n = e->cursors.next; n != &e->cursors; n = n->next) {
        struct follower *c = follower_of(n);
        if (c->is_started && c->count < e->count && reach(r, c) != EHIS_OK)
            return; /* no memory: at the next tick */
    }
}

ehis_err relay_event_positions(const struct follower *c, struct buf *out)
{
    if (!c->parts)
        return buf_put(out, c->positions, c->positions_len);
    if (c->count < c->event->count)
        return EHIS_E_NO_MEMORY; /* not all are known */
    for (int32_t p = 0; p < c->count; p++)
        EHIS_TRY(window_put(&c->parts[p]->window, out));
    return EHIS_OK;
}

static void keep_positions(struct follower *c)
{
    struct buf b;
    uint8_t *copy;
    buf_init(&b, RELAY_POSITIONS_MAX_BYTES);
    if (c->parts && relay_event_positions(c, &b) == EHIS_OK && (copy = malloc(b.len + 1))) {
        memcpy(copy, buf_span(&b).p, b.len);
        free(c->positions);
        c->positions = copy;
        c->positions_len = b.len;
    }
    buf_fini(&b);
    for (int32_t p = 0; p < c->count; p++)
        c->is_dirty |= c->parts[p]->is_commit_due;
}

static void leave(struct reading *x)
{
    struct reading *l = x->event->parts[x->partition].lag;
    if (l && l->turn == x) {
        relay_read_stop(l);
        l->turn = NULL;
    }
    relay_unread(x);
}

static void close_topic(struct event *e)
{
    for (int32_t p = 0; p < e->count; p++) {
        relay_unread(e->parts[p].main);
        relay_unread(e->parts[p].lag);
        e->parts[p].main = e->parts[p].lag = NULL;
    }
    relay_unread(e->keys);
    e->keys = NULL;
    e->keys_asked_ms = 0; /* who starts next asks at once */
    if (e->keys_end >= 0)
        e->keys_end = UNKNOWN;
}

void relay_event_stop(struct follower *c)
{
    struct event *e = c->event;
    struct reading **parts = c->parts;
    int32_t count = c->count;
    if (!c->is_started)
        return;
    c->is_started = false;
    e->started--;
    keep_positions(c);
    c->parts = NULL;
    c->count = 0;
    for (int32_t p = 0; p < count; p++)
        leave(parts[p]);
    free(parts);
    if (!e->started)
        close_topic(e);
    else
        for (int32_t p = 0; p < e->count; p++)
            relay_feed_pace(e, p);
}

/* Events of its epoch may have come before it. */
void relay_event_key(struct reading *keys)
{
    for (struct node *n = keys->event->cursors.next; n != &keys->event->cursors; n = n->next)
        for (int32_t p = 0; follower_of(n)->parts && p < follower_of(n)->count; p++)
            follower_of(n)->parts[p]->retry_ms = 0;
}
