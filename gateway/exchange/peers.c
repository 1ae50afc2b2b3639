/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* Sessions as the core sees them: what they take, and which one of a system's receives the streams. */
#include "gateway/exchange/exchange_priv.h"

#include <stdlib.h>

static uint64_t id_hash(const struct exchange *x, session_id id) { return table_hash(&x->sessions, &id, sizeof id); }

struct session *exchange_session_find(const struct exchange *x, session_id id)
{
    for (struct table_node *n = *table_head(&x->sessions, id_hash(x, id)); n; n = n->next) {
        struct session *s = container_of(n, struct session, by_id);
        if (s->id == id)
            return s->is_doomed ? NULL : s;
    }
    return NULL;
}

static struct session *find_any(const struct exchange *x, session_id id)
{
    for (struct table_node *n = *table_head(&x->sessions, id_hash(x, id)); n; n = n->next)
        if (container_of(n, struct session, by_id)->id == id)
            return container_of(n, struct session, by_id);
    return NULL;
}

/* The newer one is right: the older may be a connection that nobody has told us is dead. */
static void doom_others(struct exchange *x, const struct session *s)
{
    for (struct node *n = s->system->sessions.next; n != &s->system->sessions; n = n->next) {
        struct session *other = container_of(n, struct session, in_system);
        if (other == s || other->is_doomed || memcmp(other->state_id, s->state_id, sizeof s->state_id) != 0)
            continue;
        other->is_doomed = other->is_full = true;
        x->ports.end_session(x->ports.ctx, other->id, EHIS_E_EXCHANGE_STATE_IN_USE);
    }
}

ehis_err exchange_session_open(struct exchange *x, const struct exchange_peer *peer, int64_t now_ms)
{
    x->now_ms = now_ms;
    struct system *system = exchange_system(x, peer->system);
    struct session *s = calloc(1, sizeof *s);
    if (!s || !system) {
        free(s);
        return EHIS_E_NO_MEMORY;
    }
    struct record r = {.kind = RECORD_SESSION_OPENED, .session = peer->id, .system = peer->system, .address = peer->address};
    memcpy(r.certificate, peer->certificate, sizeof r.certificate);
    ehis_err err = exchange_append(x, &r, NULL, 0, true, NULL);
    if (err != EHIS_OK) {
        free(s);
        return err;
    }
    s->system = system;
    s->id = peer->id;
    s->next_delivery = 1;
    s->takes_large = peer->takes_large;
    memcpy(s->certificate, peer->certificate, sizeof s->certificate);
    memcpy(s->state_id, peer->state_id, sizeof s->state_id);
    s->address_bytes = (uint8_t)(peer->address.len < sizeof s->address ? peer->address.len : sizeof s->address);
    memcpy(s->address, peer->address.p, s->address_bytes);
    node_init(&s->in_flight);
    node_init(&s->responses);
    node_init(&s->owed);
    node_init(&s->asked);
    buf_init(&s->frames, FRAMES_HELD_MAX_BYTES);
    table_add(&x->sessions, id_hash(x, s->id), &s->by_id);
    list_add(&system->sessions, &s->in_system);
    doom_others(x, s);
    return EHIS_OK;
}

ehis_err exchange_ready_state(struct exchange *x, struct session *s, ehis_err code)
{
    struct ready_state state = {.code = (uint32_t)code, .retry_ms = code == EHIS_OK ? 0 : 4 * BUSY_RETRY_MS, .has_streams = s->system->stream_session == s};
    buf_clear(&x->text_buf);
    EHIS_TRY(ready_state_write(&state, &x->text_buf));
    return exchange_frame(x, s, FRAME_READY_STATE, buf_span(&x->text_buf));
}

/* The first ready session that takes streams receives them all; when it ends, the next. */
static struct session *choose_for_streams(const struct system *system)
{
    for (struct node *n = system->sessions.next; n != &system->sessions; n = n->next) {
        struct session *s = container_of(n, struct session, in_system);
        if (s->is_ready && !s->is_doomed && s->windows.stream_window_messages)
            return s;
    }
    return NULL;
}

/* Calls that wait for a session of a system that has none left fail at once. */
static void fail_calls(struct exchange *x, struct system *system)
{
    for (struct node *n = system->sessions.next; n != &system->sessions; n = n->next) {
        const struct session *s = container_of(n, struct session, in_system);
        if (s->is_ready && s->windows.call_window)
            return;
    }
    while (!list_is_empty(&system->calls)) {
        struct delivery *d = container_of(system->calls.next, struct delivery, in_queue);
        if (exchange_finish(x, d->message, d, RECORD_FAILED, EHIS_E_EXCHANGE_NO_SESSION, span_of(NULL, 0), NULL) != EHIS_OK)
            return; /* they expire */
    }
}

ehis_err exchange_on_ready(struct exchange *x, session_id id, struct span payload, int64_t now_ms, struct ehis_why *why)
{
    struct session *s = exchange_session_find(x, id);
    x->now_ms = now_ms;
    if (!s)
        return EHIS_E_LINK_ENDED;
    EHIS_TRY(ready_read(payload, &s->windows, why));
    s->is_ready = true;
    s->system->readies++;
    struct session *before = s->system->stream_session;
    if (!before || before == s)
        s->system->stream_session = choose_for_streams(s->system);
    if (before == s && s->system->stream_session && s->system->stream_session != s) /* it takes no streams any more */
        EHIS_TRY(exchange_ready_state(x, s->system->stream_session, EHIS_OK));
    fail_calls(x, s->system);
    exchange_want_inbox(x, s->system);
    EHIS_TRY(exchange_ready_state(x, s, EHIS_OK));
    exchange_pump_later(x, s->system);
    exchange_pump(x);
    return EHIS_OK;
}

static void forget_output(struct exchange *x, struct session *s)
{
    while (!list_is_empty(&s->responses)) {
        struct delivery *d = container_of(s->responses.next, struct delivery, in_queue);
        struct message *m = d->message;
        exchange_delivery_drop(x, d);
        exchange_message_settle(x, m);
    }
    while (!list_is_empty(&s->owed)) {
        struct message *m = container_of(s->owed.next, struct message, in_owed);
        node_remove(&m->in_owed);
        exchange_message_settle(x, m);
    }
    for (struct node *n = s->system->streams.next; n != &s->system->streams; n = n->next)
        if (container_of(n, struct stream, in_system)->session == s)
            container_of(n, struct stream, in_system)->session = NULL;
}

void exchange_session_ended(struct exchange *x, session_id id, ehis_err code, struct span text, int64_t now_ms)
{
    struct session *s = find_any(x, id);
    x->now_ms = now_ms;
    if (!s)
        return;
    struct system *system = s->system;
    struct record r = {.kind = RECORD_SESSION_ENDED, .session = id, .system = name_span(system->name), .code = (uint32_t)code, .text = text};
    ehis_err err = exchange_append(x, &r, NULL, 0, true, NULL);
    (void)err; /* a journal that takes no more stops the gateway by itself */
    node_remove(&s->in_system);
    forget_output(x, s);
    exchange_session_gives_back(x, s);
    table_remove(&x->sessions, id_hash(x, id), &s->by_id);
    bool had_streams = system->stream_session == s;
    buf_fini(&s->frames);
    exchange_asked_free(s);
    free(s);
    if (had_streams) {
        system->stream_session = choose_for_streams(system);
        if (system->stream_session && exchange_ready_state(x, system->stream_session, EHIS_OK) != EHIS_OK)
            x->ports.end_session(x->ports.ctx, system->stream_session->id, EHIS_E_TOO_LARGE);
    }
    fail_calls(x, system);
    exchange_want_inbox(x, system);
    exchange_pump_later(x, system);
    exchange_pump(x);
}

void exchange_session_room(struct exchange *x, session_id id, int64_t now_ms)
{
    struct session *s = exchange_session_find(x, id);
    x->now_ms = now_ms;
    if (!s)
        return;
    s->is_full = false;
    exchange_session_flush(x, s);
    exchange_pump_later(x, s->system);
    exchange_pump(x);
}
