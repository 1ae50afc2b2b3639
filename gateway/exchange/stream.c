/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* Streams: positions, what is settled, and the lanes in which they reach their recipients in order. */
#include "gateway/exchange/exchange_priv.h"

#include <stdlib.h>

static uint64_t stream_hash(const struct exchange *x, const struct system *sender, const uint8_t id[STREAM_BYTES], bool is_guest)
{
    uint8_t key[STREAM_BYTES + sizeof sender + 1];
    memcpy(key, id, STREAM_BYTES);
    memcpy(key + STREAM_BYTES, &sender, sizeof sender);
    key[sizeof key - 1] = is_guest;
    return table_hash(&x->streams, key, sizeof key);
}

struct stream *exchange_stream_find(struct exchange *x, const struct system *sender, const uint8_t id[STREAM_BYTES], bool is_guest)
{
    for (struct table_node *n = *table_head(&x->streams, stream_hash(x, sender, id, is_guest)); n; n = n->next) {
        struct stream *st = container_of(n, struct stream, by_id);
        if (st->sender == sender && st->is_guest == is_guest && memcmp(st->id, id, STREAM_BYTES) == 0)
            return st;
    }
    return NULL;
}

struct stream *exchange_stream_new(struct exchange *x, struct system *sender, const uint8_t id[STREAM_BYTES], struct span recipient, struct span event, bool is_guest)
{
    EHIS_ASSERT(recipient.len <= IDENTIFIER_MAX_BYTES && event.len <= IDENTIFIER_PART_MAX_BYTES);
    struct stream *st = calloc(1, sizeof *st);
    if (!st)
        return NULL;
    if (x->registry && !event.len && registry_system(x->registry, recipient))
        st->to = exchange_system(x, recipient);
    memcpy(st->recipient, recipient.p, recipient.len);
    st->recipient_bytes = (uint8_t)recipient.len;
    if (event.len)
        memcpy(st->event, event.p, event.len);
    st->event_bytes = (uint8_t)event.len;
    memcpy(st->id, id, STREAM_BYTES);
    st->sender = sender;
    st->expected = st->settled = 1;
    node_init(&st->messages);
    node_init(&st->lanes);
    st->is_guest = is_guest;
    table_add(&x->streams, stream_hash(x, sender, id, is_guest), &st->by_id);
    list_add(is_guest ? &sender->guest_streams : &sender->streams, &st->in_system);
    sender->stream_count += !is_guest;
    return st;
}

struct stream *exchange_stream_of_header(struct exchange *x, struct system *sender, const struct envelope_header *h, bool is_guest)
{
    if (h->kind == KIND_EVENT)
        return exchange_stream_new(x, sender, h->stream.p, h->recipient, h->operation, is_guest);
    return exchange_stream_new(x, sender, h->stream.p, identifier_prefix(h->recipient, IDENTIFIER_SYSTEM), span_of(NULL, 0), is_guest);
}

bool exchange_stream_fits(const struct stream *st, const struct envelope_header *h)
{
    if (h->kind == KIND_EVENT)
        return span_eq(h->recipient, stream_recipient(st)) && span_eq(h->operation, stream_event(st));
    return st->event_bytes == 0 && span_eq(identifier_prefix(h->recipient, IDENTIFIER_SYSTEM), stream_recipient(st));
}

void exchange_stream_drop(struct exchange *x, struct stream *st)
{
    while (!list_is_empty(&st->messages))
        exchange_message_drop(x, message_of_stream(st->messages.next));
    while (!list_is_empty(&st->lanes))
        exchange_lane_drop(x, container_of(st->lanes.next, struct lane, in_stream));
    table_remove(&x->streams, stream_hash(x, st->sender, st->id, st->is_guest), &st->by_id);
    node_remove(&st->in_system);
    node_remove(&st->in_segment);
    node_remove(&st->in_unsettled);
    st->sender->stream_count -= !st->is_guest;
    free(st);
}

void exchange_stream_stand(struct exchange *x, struct stream *st, uint64_t segment)
{
    if (st->segment == segment && node_is_linked(&st->in_segment))
        return;
    struct segment *s = exchange_segment(x, segment);
    st->segment = segment;
    if (s)
        node_move(&s->streams, &st->in_segment);
}

bool exchange_steps_fit(const struct exchange *x, struct system *sender)
{
    if (x->now_ms >= sender->steps_ms + 1000 || x->now_ms < sender->steps_ms) {
        sender->steps_ms = x->now_ms;
        sender->steps = 0;
    }
    return sender->steps < STEPS_A_SECOND;
}

/* Behind which node of a list in order a number goes. It nearly always comes last, or beside where the last one went: that is the hint, or NULL. */
static struct node *place_of(struct node *list, struct node *hint, uint64_t (*number_of)(struct node *), uint64_t number, struct system *sender)
{
    struct node *at = list->prev, *first = list->next;
    if (at == list || number_of(at) < number)
        return at;
    uint64_t far = number_of(at) - number, hinted = hint ? number_of(hint) : number;
    if (hint && (hinted < number ? number - hinted : hinted - number) < far) {
        at = hint;
        far = hinted < number ? number - hinted : hinted - number;
    }
    if (number_of(first) > number || number - number_of(first) < far)
        at = first;
    for (; at->next != list && number_of(at->next) < number; at = at->next)
        sender->steps++;
    for (; at != list && number_of(at) > number; at = at->prev)
        sender->steps++;
    return at;
}

static uint64_t stored_number(struct node *n) { return message_of_stream(n)->number; }

void exchange_stream_add(struct stream *st, struct message *m)
{
    node_insert_after(place_of(&st->messages, st->hint ? &st->hint->in_stream : NULL, stored_number, m->number, st->sender), &m->in_stream);
    st->hint = m;
    if (m->number >= st->expected)
        st->expected = m->number + 1;
}

/* Receipts below lowest are kept by the sender: what is final goes; what is not stays until it is. */
void exchange_stream_settle(struct exchange *x, struct stream *st, uint64_t lowest)
{
    if (lowest > st->settled)
        st->settled = lowest;
    if (!x->is_replaying && !exchange_steps_fit(x, st->sender)) { /* at a tick */
        if (!node_is_linked(&st->in_unsettled))
            list_add(&x->unsettled, &st->in_unsettled);
        return;
    }
    node_remove(&st->in_unsettled);
    for (struct node *n = st->messages.next, *next; n != &st->messages && message_of_stream(n)->number < st->settled; n = next) {
        next = n->next;
        exchange_message_settle(x, message_of_stream(n));
        st->sender->steps += next->prev == n; /* it stays */
    }
}

static struct record stream_record(const struct stream *st, uint32_t kind, uint64_t number)
{
    return (struct record){.kind = kind, .sender = name_span(st->sender->name), .stream = span_of(st->id, STREAM_BYTES), .number = number,
                           .service = stream_recipient(st), .event = stream_event(st)};
}

/* With the names of those who are owed its skips. */
ehis_err exchange_stream_record(struct exchange *x, struct stream *st)
{
    struct record r = stream_record(st, RECORD_STREAM, st->expected);
    struct journal_pos pos;
    buf_clear(&x->text_buf);
    for (struct node *n = st->lanes.next; n != &st->lanes; n = n->next) {
        const struct lane *l = container_of(n, struct lane, in_stream);
        if (l->has_relation)
            EHIS_TRY(record_pending_put(name_span(l->to->name), &x->text_buf));
    }
    r.pending = buf_span(&x->text_buf);
    EHIS_TRY(exchange_append(x, &r, NULL, 0, true, &pos));
    if (st->settled > 1) {
        r = stream_record(st, RECORD_SETTLED, st->settled);
        EHIS_TRY(exchange_append(x, &r, NULL, 0, true, NULL));
    }
    exchange_stream_stand(x, st, pos.segment);
    return EHIS_OK;
}

static ehis_err settled_record(struct exchange *x, struct stream *st, uint64_t lowest)
{
    struct record r = stream_record(st, RECORD_SETTLED, lowest);
    struct journal_pos pos;
    EHIS_TRY(exchange_append(x, &r, NULL, 0, true, &pos));
    return EHIS_OK;
}

/* A stream that nobody holds and that waits for nothing makes room: the longest unused, and first one whose receipts are settled. An SDK that
 * still has it opens it again with its own lowest number, which is as good. */
static bool make_room(struct exchange *x, struct system *sender)
{
    struct stream *oldest = NULL;
    for (struct node *n = sender->streams.next; n != &sender->streams; n = n->next) {
        struct stream *st = container_of(n, struct stream, in_system);
        bool is_busy = st->session != NULL;
        for (struct node *e = st->messages.next; e != &st->messages && !is_busy; e = e->next) {
            const struct message *m = message_of_stream(e);
            sender->steps++;
            is_busy = m->pending || m->deliveries || node_is_linked(&m->in_owed) || message_is(m, IS_OPEN);
        }
        if (is_busy)
            continue;
        if (list_is_empty(&st->messages)) {
            exchange_stream_drop(x, st);
            return true;
        }
        if (!oldest)
            oldest = st;
    }
    if (oldest)
        exchange_stream_drop(x, oldest);
    return oldest != NULL;
}

static ehis_err stream_state(struct exchange *x, struct session *s, const uint8_t id[STREAM_BYTES], uint64_t expected, ehis_err code)
{
    struct stream_state state = {.expected = expected, .code = (uint32_t)code};
    memcpy(state.stream, id, STREAM_BYTES);
    buf_clear(&x->text_buf);
    EHIS_TRY(stream_state_write(&state, &x->text_buf));
    return exchange_frame(x, s, FRAME_STREAM_STATE, buf_span(&x->text_buf));
}

static ehis_err open_new(struct exchange *x, struct session *s, const struct stream_open *o, struct stream **out)
{
    if (s->system->stream_count >= x->bounds.streams_max && !make_room(x, s->system))
        return EHIS_E_EXCHANGE_STREAMS_FULL;
    *out = exchange_stream_new(x, s->system, o->stream, o->recipient, o->event, false);
    return *out ? EHIS_OK : EHIS_E_NO_MEMORY;
}

ehis_err exchange_on_stream_open(struct exchange *x, session_id id, struct span payload, int64_t now_ms, struct ehis_why *why)
{
    struct stream_open o;
    struct session *s = exchange_session_find(x, id);
    x->now_ms = now_ms;
    if (!s)
        return EHIS_E_LINK_ENDED;
    EHIS_TRY(stream_open_read(payload, &o, why));
    EHIS_TRY(identifier_check(o.recipient, o.event.len ? IDENTIFIER_SERVICE : IDENTIFIER_SYSTEM, why));
    if (o.event.len)
        EHIS_TRY(identifier_part_check(o.event, why));
    struct stream *st = exchange_stream_find(x, s->system, o.stream, false);
    bool is_new = !st;
    ehis_err err = exchange_halted(x);
    if (err == EHIS_OK && !exchange_steps_fit(x, s->system))
        err = EHIS_E_EXCHANGE_BUSY;
    if (err == EHIS_OK && is_new)
        err = open_new(x, s, &o, &st);
    if (err != EHIS_OK)
        return stream_state(x, s, o.stream, 0, err);
    bool is_same = span_eq(o.recipient, stream_recipient(st)) && span_eq(o.event, stream_event(st));
    if (!is_same)
        return stream_state(x, s, o.stream, 0, EHIS_E_EXCHANGE_STREAM_RECIPIENT);
    uint64_t from = o.next > o.lowest ? o.next : o.lowest;
    bool is_moved = from > st->expected;
    if (is_moved)
        st->expected = from;
    if (!is_new && !is_moved && o.lowest > st->settled)
        EHIS_TRY(settled_record(x, st, o.lowest));
    exchange_stream_settle(x, st, o.lowest);
    if (is_new || is_moved)
        EHIS_TRY(exchange_stream_record(x, st));
    st->session = s;
    node_move(&s->system->streams, &st->in_system);
    EHIS_TRY(stream_state(x, s, st->id, st->expected, EHIS_OK));
    for (struct node *n = st->messages.next, *next; n != &st->messages; n = next) {
        next = n->next;
        s->system->steps++;
        exchange_owe(x, message_of_stream(n));
    }
    return EHIS_OK;
}

ehis_err exchange_on_stream_settled(struct exchange *x, session_id id, struct span payload, int64_t now_ms, struct ehis_why *why)
{
    struct stream_settled settled;
    struct session *s = exchange_session_find(x, id);
    x->now_ms = now_ms;
    if (!s)
        return EHIS_E_LINK_ENDED;
    EHIS_TRY(stream_settled_read(payload, &settled, why));
    struct stream *st = exchange_stream_find(x, s->system, settled.stream, false);
    if (!st || st->session != s)
        return ehis_fail(why, EHIS_E_EXCHANGE_STREAM_CLOSED, "STREAM_SETTLED of a stream that this session has not opened");
    if (settled.lowest <= st->settled)
        return EHIS_OK;
    bool is_moved = settled.lowest > st->expected; /* what stands between was sent by way of other gateways */
    if (is_moved)
        st->expected = settled.lowest;
    else
        EHIS_TRY(settled_record(x, st, settled.lowest));
    exchange_stream_settle(x, st, settled.lowest);
    return is_moved ? exchange_stream_record(x, st) : EHIS_OK;
}

/* ---- lanes ---- */

static uint64_t lane_hash(const struct exchange *x, const struct stream *st, const struct system *to)
{
    const void *key[2] = {st, to};
    return table_hash(&x->lanes, key, sizeof key);
}

struct lane *exchange_lane_find(const struct exchange *x, const struct stream *st, const struct system *to)
{
    for (struct table_node *n = *table_head(&x->lanes, lane_hash(x, st, to)); n; n = n->next) {
        struct lane *l = container_of(n, struct lane, by_ends);
        if (l->stream == st && l->to == to)
            return l;
    }
    return NULL;
}

struct lane *exchange_lane(struct exchange *x, struct stream *st, struct system *to)
{
    struct lane *l = exchange_lane_find(x, st, to);
    if (l)
        return l;
    l = calloc(1, sizeof *l);
    struct share *share = l ? exchange_share(x, st->sender, to) : NULL;
    if (!share) {
        free(l);
        return NULL;
    }
    l->stream = st;
    l->to = to;
    l->share = share;
    node_init(&l->queue);
    list_add(&st->lanes, &l->in_stream);
    table_add(&x->lanes, lane_hash(x, st, to), &l->by_ends);
    return l;
}

static struct delivery *queued(struct node *n) { return container_of(n, struct delivery, in_queue); }

static uint64_t queued_number(struct node *n) { return queued(n)->message->number; }

void exchange_lane_add(struct exchange *x, struct lane *l, struct delivery *d)
{
    struct node *at = place_of(&l->queue, l->hint ? &l->hint->in_queue : NULL, queued_number, d->message->number, l->stream->sender);
    node_insert_after(at, &d->in_queue);
    l->hint = d;
    d->is_queued = true;
    exchange_lane_wake(x, l);
}

void exchange_lane_wake(struct exchange *x, struct lane *l)
{
    if (list_is_empty(&l->queue) || !l->has_relation || node_is_linked(&l->in_blocked) || queued(l->queue.next)->group > x->durable_group)
        return;
    if (!node_is_linked(&l->in_system))
        list_add(&l->to->lanes, &l->in_system);
    exchange_pump_later(x, l->to);
}

void exchange_lane_block(struct exchange *x, struct lane *l, int64_t until_ms)
{
    if (until_ms > l->blocked_until_ms)
        l->blocked_until_ms = until_ms;
    node_remove(&l->in_system);
    node_move(&x->blocked, &l->in_blocked);
}

void exchange_lane_drop(struct exchange *x, struct lane *l)
{
    EHIS_ASSERT(list_is_empty(&l->queue) && l->in_flight == 0);
    node_remove(&l->in_stream);
    node_remove(&l->in_system);
    node_remove(&l->in_blocked);
    table_remove(&x->lanes, lane_hash(x, l->stream, l->to), &l->by_ends);
    exchange_share_unref(x, l->share);
    free(l);
}
