/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* Subscriptions (SPEC 17.9): a record each in control.cursor, which every gateway reads whole. The log's order decides: the first that begins one counts, an
 * end ends it, and whoever owns the subscriber's inbox says where it stands. A record that does not count, although it is now the newest
 * under its key, is written over by the owner: what compaction leaves is then what counts. */
#include "base/log.h"
#include "gateway/bus/relay_priv.h"
#include "gateway/exchange/exchange.h"

#include <stdio.h>
#include <stdlib.h>

#define OLD_MS 60000 /* behind the newest that counted: no clock is so wrong */
#define WRITE_MS 1000 /* positions, where they have moved; what was asked and did not come through */
#define KEY_MAX_BYTES (16 + 2 * IDENTIFIER_MAX_BYTES + IDENTIFIER_PART_MAX_BYTES)

/* First byte of a record; one that has none ends the subscription. */
enum { BEGINS = 1, STANDS = 2, BEGINS_ANEW = 3 /* also where it is there */ };

static struct follower *follower_of(struct node *n) { return container_of(n, struct follower, in_event); }
static struct span system_of(const struct follower *c) { return span_of(c->inbox->name, c->inbox->name_len); }

static struct span key_of(char key[KEY_MAX_BYTES], struct span system, struct span service, struct span event)
{
    snprintf(key, KEY_MAX_BYTES, "cursor/%.*s/%.*s/%.*s", (int)system.len, (const char *)system.p, (int)service.len, (const char *)service.p, (int)event.len, (const char *)event.p);
    return span_str(key);
}

static struct event *event_get(struct relay *r, struct span service, struct span name)
{
    for (struct node *n = r->events.next; n != &r->events; n = n->next) {
        struct event *e = container_of(n, struct event, in_list);
        if (span_eq(e->service, service) && span_eq(e->name, name))
            return e;
    }
    struct event *e = calloc(1, sizeof *e + service.len + name.len);
    if (!e)
        return NULL;
    memcpy(e->text, service.p, service.len);
    memcpy(e->text + service.len, name.p, name.len);
    e->service = span_of(e->text, service.len);
    e->name = span_of(e->text + service.len, name.len);
    e->keys_end = UNKNOWN;
    node_init(&e->cursors);
    list_add(&r->events, &e->in_list);
    return e;
}

static struct follower *cursor_find(struct relay *r, const struct hash *id)
{
    for (struct table_node *n = *table_head(&r->cursors, table_hash(&r->cursors, id->b, HASH_BYTES)); n; n = n->next)
        if (memcmp(container_of(n, struct follower, by_id)->id.b, id->b, HASH_BYTES) == 0)
            return container_of(n, struct follower, by_id);
    return NULL;
}

static struct follower *cursor_get(struct relay *r, struct span system, struct span service, struct span event)
{
    char key[KEY_MAX_BYTES];
    struct hash id;
    hash_span(key_of(key, system, service, event), &id);
    struct follower *known = cursor_find(r, &id);
    if (known)
        return known;
    struct inbox *i = r->cursors.count < RELAY_CURSORS_MAX ? relay_inbox(r, system, true) : NULL;
    struct event *e = i ? event_get(r, service, event) : NULL;
    struct follower *c = e ? calloc(1, sizeof *c) : NULL;
    if (!c)
        return NULL;
    c->id = id;
    c->inbox = i;
    c->event = e;
    list_add(&e->cursors, &c->in_event);
    list_add(&i->cursors, &c->in_inbox);
    table_add(&r->cursors, table_hash(&r->cursors, id.b, HASH_BYTES), &c->by_id);
    return c;
}

/* ---- written ---- */

/* positions NULL: the end. */
static ehis_err put(struct relay *r, struct follower *c, uint8_t first, const struct buf *positions)
{
    char key[KEY_MAX_BYTES];
    struct hash digest;
    struct out *o = NULL;
    struct parcel_head h = {.kind = PARCEL_CURSOR, .system = system_of(c), .service = c->event->service, .event = c->event->name};
    struct out_place at = {.topic = TOPIC_CONTROL_CURSOR, .lane = KAFKA_FAST, .key = key_of(key, h.system, h.service, h.event)};
    size_t len = positions ? positions->len + 1 : 0;
    uint8_t *payload = len ? malloc(len) : NULL;
    if (len && !payload)
        return EHIS_E_NO_MEMORY;
    if (len)
        payload[0] = first;
    if (len > 1)
        memcpy(payload + 1, buf_span(positions).p, len - 1);
    hash_span(span_of(payload, len), &digest);
    ehis_err err = relay_put(r, OUT_CURSOR, &at, &h, &digest, &o);
    if (err != EHIS_OK) {
        free(payload);
        return err;
    }
    o->payload = payload;
    o->payload_len = len;
    o->cursor = c;
    c->is_writing = true;
    return EHIS_OK;
}

static void put_positions(struct relay *r, struct follower *c, uint8_t first)
{
    struct buf b;
    buf_init(&b, RELAY_POSITIONS_MAX_BYTES);
    c->is_dirty = relay_event_positions(c, &b) != EHIS_OK || put(r, c, first, &b) != EHIS_OK;
    buf_fini(&b);
}

/* Where the partitions end now: what is published after this is in it. Or where they stood at a time. */
static ehis_err put_begin(struct relay *r, struct follower *c, const struct kafka_range *ranges, size_t count)
{
    struct window w;
    struct buf b;
    ehis_err err = EHIS_OK;
    buf_init(&b, RELAY_POSITIONS_MAX_BYTES);
    for (size_t i = 0; i < count && err == EHIS_OK; i++) {
        window_init(&w, c->from_ms ? ranges[i].from : ranges[i].end);
        err = window_put(&w, &b);
    }
    if (err == EHIS_OK)
        err = put(r, c, c->from_ms ? BEGINS_ANEW : BEGINS, &b);
    buf_fini(&b);
    return err;
}

void relay_event_ask(struct relay *r, struct event *e, int64_t from_ms)
{
    char topic[BUS_TOPIC_NAME_MAX_BYTES + 1];
    if (e->is_asked)
        return;
    bus_topic_name(relay_prefix(r), TOPIC_EVENT, e->service, e->name, topic);
    if (kafka_offsets_get(r->kafka, topic, from_ms, (uint64_t)(uintptr_t)e) != EHIS_OK)
        return;
    e->is_asked = true;
    e->asked_ms = relay_mono_ms(r);
    for (struct node *n = e->cursors.next; n != &e->cursors; n = n->next)
        follower_of(n)->is_asked = follower_of(n)->want == WANT_BEGIN && follower_of(n)->from_ms == from_ms;
}

static void go_on(struct relay *r, struct follower *c)
{
    if (c->is_writing)
        return;
    if (c->want == WANT_BEGIN)
        relay_event_ask(r, c->event, c->from_ms);
    else if (c->want == WANT_END && put(r, c, 0, NULL) != EHIS_OK)
        log_line(LOG_DEBUG, "bus.cursor.unsent", F_SPAN("system", system_of(c)));
}

ehis_err relay_subscribe(struct bus *b, struct span system, struct span service, struct span event, bool is_end, int64_t from_ms)
{
    struct relay *r = container_of(b, struct relay, bus);
    struct follower *c = cursor_get(r, system, service, event);
    if (!c)
        return EHIS_E_EXCHANGE_SUBSCRIPTIONS_FULL;
    c->want = is_end ? WANT_END : WANT_BEGIN;
    c->from_ms = from_ms;
    c->is_asked = false;
    go_on(r, c);
    return EHIS_OK;
}

void relay_cursor_sent(struct follower *c, ehis_err err)
{
    c->is_writing = false;
    if (err != EHIS_OK)
        c->is_dirty = true; /* what was asked is asked again at the tick */
}

/* Records of a log that is read whole were deleted: read again; who has written them writes them again. */
static void look(struct relay *r, struct reading *log, int64_t from)
{
    const bool is_first = log->begins_at == UNKNOWN;
    if (from <= log->begins_at)
        return;
    if (!is_first)
        relay_on_watch_error(r, log->watch, EHIS_E_BUS_POSITION, "records were deleted");
    log->begins_at = from;
    if (is_first && from > 0 && log->kind == READ_CURSOR) /* before this start: subscriptions may be gone that nobody knows of */
        log_line(LOG_WARN, "bus.position", F_ERR(EHIS_E_BUS_POSITION), F_STR("topic", log->topic), F_I64("offset", from));
}

/* token: an event, for where its topic ends; the same and 1: its keys; 0: control.cursor; 1: control.lease. Events live as long as the relay. */
void relay_on_offsets(void *ctx, uint64_t token, ehis_err err, const struct kafka_range *ranges, size_t count)
{
    struct relay *r = ctx;
    struct event *e = (struct event *)(uintptr_t)(token & ~UINT64_C(1));
    struct reading *log = e ? NULL : token ? r->lease_log : r->cursor_log;
    int64_t *end_of = !e ? (token ? NULL : &r->cursors_end) : token & 1 ? &e->keys_end : NULL;
    if (log)
        log->is_looking = false;
    if (e && !end_of)
        e->is_asked = false;
    if (err != EHIS_OK) {
        if (end_of)
            *end_of = UNKNOWN;
        if (e)
            log_line(LOG_WARN, "bus.topic", F_ERR(err), F_SPAN("service", e->service), F_SPAN("operation", e->name));
        else
            log_line(LOG_WARN, "bus.topic", F_ERR(err), F_STR("topic", log->topic));
        return; /* the tick asks again */
    }
    if (end_of)
        *end_of = ranges[0].from < ranges[0].end ? ranges[0].end : 0; /* empty: nothing to wait for */
    if (log)
        look(r, log, ranges[0].from);
    if (e && end_of && !e->started)
        e->keys_end = UNKNOWN; /* nobody waits for it any more: old when somebody does */
    else if (e && end_of) {
        e->keys_from = ranges[0].from;
        relay_event_go(r, e);
    }
    if (end_of || log)
        return;
    for (struct node *n = e->cursors.next; n != &e->cursors; n = n->next) {
        struct follower *c = follower_of(n);
        if (c->want == WANT_BEGIN && c->is_asked && !c->is_writing && put_begin(r, c, ranges, count) != EHIS_OK)
            log_line(LOG_DEBUG, "bus.cursor.unsent", F_SPAN("system", system_of(c)));
    }
    relay_event_grow(e, (int32_t)count);
    relay_event_go(r, e);
}

/* ---- read ---- */

static ehis_err keep(struct follower *c, struct span positions)
{
    struct window w;
    size_t at = 0, count = 0;
    while (at < positions.len && count++ < RELAY_PARTITIONS_MAX)
        if (window_get(&w, positions, &at) != EHIS_OK)
            return EHIS_E_BUS_PARCEL;
    if (at < positions.len)
        return EHIS_E_BUS_PARCEL;
    uint8_t *copy = malloc(positions.len + 1);
    if (!copy)
        return EHIS_E_NO_MEMORY;
    if (positions.len)
        memcpy(copy, positions.p, positions.len);
    free(c->positions);
    c->positions = copy;
    c->positions_len = positions.len;
    return EHIS_OK;
}

static void tell(struct relay *r, struct follower *c)
{
    exchange_on_cursor(r->exchange, system_of(c), c->event->service, c->event->name, c->state == CURSOR_THERE, relay_wall_ms(r));
}

static void start(struct relay *r, struct follower *c)
{
    if (c->state == CURSOR_THERE && r->is_cursors_read && c->inbox->is_owned && !c->is_started)
        relay_event_start(r, c);
}

static void ended(struct relay *r, struct follower *c)
{
    c->state = CURSOR_ENDED;
    tell(r, c); /* before: the handles are void then */
    relay_event_stop(c);
    c->is_dirty = false;
}

/* An end from before this beginning, or a beginning from before this end. A time from the future keeps nothing out. */
static bool is_repeated(const struct relay *r, struct follower *c, const struct parcel_head *h, bool is_end)
{
    const uint64_t now_ms = (uint64_t)relay_wall_ms(r), time_ms = h->time_ms < now_ms ? h->time_ms : now_ms;
    if (c->newest_ms > OLD_MS && time_ms < c->newest_ms - OLD_MS)
        return true;
    if (is_end && h->boot == c->end_boot && (h->time_ms <= c->end_ms || h->time_ms == c->end_written_ms))
        return true;
    c->newest_ms = time_ms > c->newest_ms ? time_ms : c->newest_ms;
    if (is_end) {
        c->end_boot = h->boot;
        c->end_written_ms = h->time_ms; /* so it comes again */
        c->end_ms = h->time_ms < now_ms + OLD_MS ? h->time_ms : now_ms;
    }
    return false;
}

ehis_err relay_on_cursor(struct relay *r, const struct parcel *p)
{
    const struct parcel_head *h = &p->head;
    bool is_own = h->boot == r->boot && span_eq(h->gateway, relay_name(r));
    uint8_t first = p->payload.len ? p->payload.p[0] : 0;
    struct follower *c = cursor_get(r, h->system, h->service, h->event);
    if (!c) {
        log_line(LOG_ERROR, "bus.cursor", F_ERR(EHIS_E_EXCHANGE_SUBSCRIPTIONS_FULL), F_SPAN("system", h->system));
        return EHIS_OK;
    }
    if (p->payload.len && first > BEGINS_ANEW)
        return EHIS_E_BUS_PARCEL;
    if (is_repeated(r, c, h, !first)) /* nothing is said of a log that is read, or read again, from its beginning */
        return relay_is_read(r->cursor_log, r->cursors_end) ? EHIS_E_LEASE_REPLAYED : EHIS_OK;
    bool begins = first == BEGINS || first == BEGINS_ANEW;
    if (is_own && c->want == (begins ? WANT_BEGIN : first ? WANT_NOTHING : WANT_END) && (first == BEGINS_ANEW) == (c->from_ms != 0 && begins))
        c->want = WANT_NOTHING;
    if (!first || (first == BEGINS_ANEW && c->state == CURSOR_THERE))
        ended(r, c);
    if (!first)
        return EHIS_OK;
    bool counts = begins ? c->state != CURSOR_THERE : c->state == CURSOR_THERE ? !c->parts : c->state == CURSOR_NEW;
    if (counts) {
        EHIS_TRY(keep(c, span_of(p->payload.p + 1, p->payload.len - 1)));
        bool is_new = c->state != CURSOR_THERE;
        c->state = CURSOR_THERE;
        if (is_new)
            tell(r, c);
        start(r, c);
    } else if (begins) {
        tell(r, c); /* who asked is answered all the same */
        c->is_dirty = c->parts != NULL;
    } else if (is_own && c->state == CURSOR_ENDED) {
        c->want = WANT_END; /* it was on its way when the end came */
        go_on(r, c);
    }
    return EHIS_OK;
}

void relay_cursors_own(struct relay *r, struct inbox *i, bool is_owned)
{
    for (struct node *n = i->cursors.next; n != &i->cursors; n = n->next) {
        struct follower *c = container_of(n, struct follower, in_inbox);
        if (is_owned) {
            start(r, c);
        } else if (c->is_started) {
            bool was_given = c->parts != NULL;
            relay_event_stop(c);
            if (was_given && c->is_dirty) /* the next owner goes on from there */
                put_positions(r, c, STANDS);
        }
    }
}

/* ---- time ---- */

static void each(struct relay *r, void (*what)(struct relay *r, struct follower *c))
{
    for (struct node *m = r->events.next; m != &r->events; m = m->next)
        for (struct node *n = container_of(m, struct event, in_list)->cursors.next; n != &container_of(m, struct event, in_list)->cursors; n = n->next)
            what(r, follower_of(n));
}

static void write_dirty(struct relay *r, struct follower *c)
{
    /* Who does not deliver it only says that it is there: that counts where nobody knows of it any more, also behind an end that is on its way. */
    if (c->is_dirty && !c->is_writing && c->state == CURSOR_THERE && relay_is_read(r->cursor_log, r->cursors_end) && (c->parts || (!c->is_started && c->want == WANT_NOTHING)))
        put_positions(r, c, c->parts && !c->is_overwritten ? STANDS : BEGINS);
    c->is_overwritten &= c->is_dirty;
    go_on(r, c);
}

static void mark(struct relay *r, struct follower *c)
{
    (void)r;
    c->is_dirty |= c->state == CURSOR_THERE;
}

void relay_cursors_anew(struct relay *r) { each(r, mark); }

void relay_cursor_again(struct relay *r, struct span key)
{
    struct hash id;
    hash_span(key, &id);
    struct follower *c = cursor_find(r, &id);
    if (!c)
        return;
    mark(r, c);
    c->is_overwritten = c->is_dirty; /* by an end, it may be: so it is begun, where nobody knows of it */
}

static void ask_where(struct relay *r, struct reading *log, uint64_t token)
{
    if (!log || log->is_looking || relay_mono_ms(r) - log->looked_ms < RELAY_LOOK_MS)
        return;
    log->looked_ms = relay_mono_ms(r);
    log->is_looking = kafka_offsets_get(r->kafka, log->topic, 0, token) == EHIS_OK;
}

void relay_cursors_write(struct relay *r) { each(r, write_dirty); }

void relay_cursors_tick(struct relay *r)
{
    bool is_due = relay_mono_ms(r) - r->cursor_ms >= WRITE_MS;
    ask_where(r, r->lease_log, 1);
    ask_where(r, r->cursor_log, 0);
    if (is_due)
        r->cursor_ms = relay_mono_ms(r);
    if (is_due && r->cursors_end == UNKNOWN && r->cursor_log && kafka_offsets_get(r->kafka, r->cursor_log->topic, 0, 0) == EHIS_OK)
        r->cursors_end = ASKED;
    if (!r->is_cursors_read && r->cursor_log && relay_is_read(r->cursor_log, r->cursors_end)) {
        r->is_cursors_read = true;
        each(r, start);
    }
    for (struct node *n = r->events.next; n != &r->events; n = n->next)
        relay_event_go(r, container_of(n, struct event, in_list));
    if (is_due)
        relay_cursors_write(r);
}

void relay_cursors_fini(struct relay *r)
{
    while (r->events.next && !list_is_empty(&r->events)) {
        struct event *e = container_of(r->events.next, struct event, in_list);
        while (!list_is_empty(&e->cursors)) {
            struct follower *c = follower_of(e->cursors.next);
            node_remove(&c->in_event);
            free(c->positions);
            free(c->parts);
            free(c);
        }
        node_remove(&e->in_list);
        free(e->parts);
        free(e);
    }
}
