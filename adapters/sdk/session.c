/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* The session with one gateway: dialled again and again with growing pauses, and its end. There is one of these for each gateway of the list. */
#include "adapters/sdk/ehis_priv.h"
#include "base/log.h"
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>

#define BACKOFF_FIRST_MS 250
#define BACKOFF_MAX_MS 15000

/* ---- the state of it, for the application ---- */

void session_note(struct session *s, ehis_err err, const char *why)
{
    pthread_mutex_lock(&s->e->lock);
    s->e->status.sessions[s->slot].last_error = (int)err;
    pthread_mutex_unlock(&s->e->lock);
    client_note(s->e, err, why);
}

void session_set_ready(struct session *s, bool is_ready)
{
    struct ehis *e = s->e;
    ehis_session_status *own = &e->status.sessions[s->slot];
    s->is_ready = is_ready;
    pthread_mutex_lock(&e->lock);
    own->is_ready = is_ready;
    own->has_streams = s->has_streams;
    memcpy(own->gateway, s->peer.leaf.id, sizeof own->gateway);
    client_set_ready(e);
    pthread_mutex_unlock(&e->lock);
}

struct session *session_ready(struct ehis *e, uint64_t but_for)
{
    struct session *any = NULL;
    for (struct session *s = e->sessions; s < e->sessions + e->session_count; s++) {
        if (!s->is_ready || s->is_leaving)
            continue;
        if (s->id != but_for)
            return s;
        any = s;
    }
    return any;
}

struct session *session_of(struct ehis *e, uint64_t id)
{
    for (struct session *s = e->sessions; id && s < e->sessions + e->session_count; s++)
        if (s->id == id)
            return s->is_hello ? s : NULL;
    return NULL;
}

/* ---- dialling ---- */

static void dial_later(struct session *s, int64_t at_least_ms)
{
    uint64_t random;
    int64_t most = BACKOFF_FIRST_MS;
    for (uint32_t i = 1; i < s->failures && most < BACKOFF_MAX_MS; i++)
        most *= 2;
    random_fill(s->e->random, (uint8_t *)&random, sizeof random);
    int64_t pause = s->failures == 0 ? (int64_t)(random % 100) : most / 2 + (int64_t)(random % (uint64_t)(most / 2 + 1));
    loop_timer_set(s->dial_timer, (pause > at_least_ms ? pause : at_least_ms) * 1000);
}

static const struct link_events events;

/* The next address of the gateway; a pause when all have been tried. */
static void dial(void *arg)
{
    struct session *s = arg;
    struct ehis *e = s->e;
    struct link_limits limits = link_limits_default;
    struct ehis_why why = {""};
    limits.max_frame_bytes = FRAME_MAX_BYTES_LIMIT;
    limits.output_max_bytes = 2 * FRAME_MAX_BYTES_LIMIT;
    if (e->is_ending || e->failed != EHIS_OK || s->link || s->resolving)
        return;
    ehis_err err = state_renew_tls(e, &why);
    if (err != EHIS_OK)
        session_note(s, err, why.text); /* and the gateway will say so, too */
    while (s->addresses.at < s->addresses.count) {
        size_t i = s->addresses.at++;
        err = link_dial(e->loop, (struct sockaddr *)&s->addresses.a[i], s->addresses.len[i], e->tls, &limits, &events, s, &s->link);
        if (err == EHIS_OK)
            return;
        s->link = NULL;
        session_note(s, err, s->address);
    }
    s->failures++;
    dial_later(s, s->retry_ms);
}

static void on_dial_timer(void *arg)
{
    struct session *s = arg;
    if (s->e->failed == EHIS_OK && !s->e->is_ending && !s->resolving && !s->link && resolving_start(s) != EHIS_OK)
        dial_later(s, 1000);
}

void session_resolved(struct session *s, const char *host, const struct addrinfo *found)
{
    s->addresses.count = s->addresses.at = 0;
    for (const struct addrinfo *a = found; a && s->addresses.count < 4; a = a->ai_next) {
        memcpy(&s->addresses.a[s->addresses.count], a->ai_addr, a->ai_addrlen);
        s->addresses.len[s->addresses.count++] = a->ai_addrlen;
    }
    if (s->addresses.count == 0) {
        struct ehis_why why;
        ehis_fail(&why, EHIS_E_LINK_RESET, "%s has no address", host);
        session_note(s, EHIS_E_LINK_RESET, why.text);
    }
    dial(s);
}

ehis_err session_init(struct ehis *e, const char *address)
{
    struct session *s = &e->sessions[e->session_count];
    *s = (struct session){.e = e, .slot = (uint32_t)e->session_count, .max_frame_bytes = FRAME_MAX_BYTES_DEFAULT};
    e->session_count++;
    s->address = strdup(address);
    s->acks = calloc(STATEMENT_BATCH_MAX, sizeof *s->acks);
    if (!s->address || !s->acks)
        return EHIS_E_NO_MEMORY;
    snprintf(e->status.sessions[s->slot].address, sizeof e->status.sessions->address, "%s", address);
    return EHIS_OK;
}

void session_fini(struct session *s)
{
    resolving_cancel(s);
    loop_timer_free(s->dial_timer);
    free(s->address);
    free(s->acks);
}

void session_start(struct session *s)
{
    if (loop_timer_new(s->e->loop, on_dial_timer, s, &s->dial_timer) == EHIS_OK)
        loop_timer_set(s->dial_timer, 0);
}

/* ---- frames out ---- */

ehis_err session_send(struct session *s, uint8_t type, struct span payload)
{
    if (s->tap)
        return s->tap(s->tap_arg, type, payload);
    return s->link ? link_send(s->link, type, &payload, 1) : EHIS_E_LINK_ENDED;
}

void session_fail(struct session *s, ehis_err err)
{
    if (s->link)
        link_fail(s->link, err);
}

/* ---- frames in ---- */

static ehis_err on_goodbye(struct session *s, struct span payload, struct ehis_why *why)
{
    struct goodbye f;
    EHIS_TRY(goodbye_read(payload, &f, why));
    s->is_leaving = true;
    s->retry_ms = f.retry_ms < BACKOFF_MAX_MS ? f.retry_ms : BACKOFF_MAX_MS;
    s->ready_at_ms = mono_ms(s->e) + 2000; /* answers under way come first */
    for (struct out_stream *o = session_ready(s->e, s->id) ? outbox_streams(s->e->outbox) : NULL; o; o = o->next)
        if (o->session == s->id)
            sending_leave(s->e, o); /* it goes on at another gateway at once */
    turn_soon(s->e);
    return EHIS_OK;
}

static ehis_err on_error(struct session *s, struct span payload, struct ehis_why *why)
{
    struct error f;
    ehis_err code;
    EHIS_TRY(error_read(payload, &f, why));
    if (!ehis_err_from_number(f.code, &code))
        code = EHIS_E_LINK_ENDED;
    return ehis_fail(why, code, "%s says: %.*s", s->peer.leaf.id, (int)f.text.len, (const char *)f.text.p);
}

ehis_err session_frame(struct session *s, uint8_t type, struct span payload, struct ehis_why *why)
{
    const struct frame_rule *rule;
    EHIS_TRY(frame_check(type, FRAME_FROM_GATEWAY, s->state, &rule));
    if (s->state == FRAME_STATE_READY && !s->e->registry)
        return EHIS_E_SDK_NO_REGISTRY;
    switch (type) {
    case FRAME_HELLO: return readiness_on_hello(s, payload, why);
    case FRAME_REGISTRY: return readiness_on_registry(s, payload, why);
    case FRAME_CRL: return readiness_on_crl(s, payload, why);
    case FRAME_READY_STATE: return readiness_on_state(s, payload, why);
    case FRAME_GOODBYE: return on_goodbye(s, payload, why);
    case FRAME_ERROR: return on_error(s, payload, why);
    case FRAME_STREAM_STATE: return sending_on_stream_state(s, payload, why);
    case FRAME_FLOW: return acks_on_flow(s, payload, why);
    case FRAME_RECEIPTS: return acks_on_receipts(s, payload, why);
    case FRAME_DELIVER: return receiving_on_deliver(s, payload, why);
    case FRAME_SKIPS: return receiving_on_skips(s, payload, why);
    case FRAME_SUBSCRIPTION: return events_on_subscription(s, payload, why);
    case FRAME_KEYS: return events_on_keys(s->e, payload, why);
    case FRAME_BLOB_STATE: return large_out_on_state(s, payload, why);
    case FRAME_BLOB_CHUNK: return large_in_on_chunk(s, payload, why);
    default: return EHIS_E_FRAME_OUT_OF_STATE;
    }
}

/* ---- the link ---- */

static void on_frame(void *arg, struct link *l, uint8_t type, struct span payload)
{
    struct session *s = arg;
    struct ehis_why why = {""};
    if (s->e->is_ending && type != FRAME_RECEIPTS)
        return;
    ehis_err err = session_frame(s, type, payload, &why);
    if (err == EHIS_OK)
        return;
    session_note(s, err, why.text);
    struct error f = {.code = (uint32_t)err, .text = span_str(why.text), .frame_type = type};
    buf_clear(&s->e->item);
    if (type != FRAME_ERROR && error_write(&f, &s->e->item) == EHIS_OK) {
        struct span whole = buf_span(&s->e->item);
        (void)!link_send(l, FRAME_ERROR, &whole, 1); /* best effort */
    }
    link_fail(l, err);
}

static ehis_err on_peer(void *arg, struct link *l, SSL *ssl, struct ehis_why *why)
{
    struct session *s = arg;
    ehis_err err = pki_peer_check(ssl, now_ms(s->e), &s->peer, why);
    if (err == EHIS_OK && !span_eq(identifier_prefix(span_str(s->peer.leaf.id), 1), span_str(s->e->instance)))
        err = ehis_fail(why, EHIS_E_GATEWAY_NAME, "%s is of another instance", s->peer.leaf.id);
    if (err == EHIS_OK)
        err = readiness_hello(s, l);
    if (err != EHIS_OK)
        session_note(s, err, why->text);
    return err;
}

static void on_fault(void *arg, struct link *l, enum link_end end, ehis_err err)
{
    (void)l;
    session_note(arg, err, link_end_name(end));
}

static void on_room(void *arg, struct link *l)
{
    struct session *s = arg;
    (void)l;
    turn_soon(s->e);
}

void session_ended(struct session *s)
{
    bool was_met = s->is_hello;
    s->link = NULL;
    s->is_hello = s->is_ready_sent = s->is_fetching_registry = s->is_fetching_crl = s->is_leaving = s->has_streams = false;
    s->state = FRAME_STATE_HELLO;
    s->unanswered = 0;
    s->unanswered_bytes = 0;
    s->ack_count = 0;
    s->ready_at_ms = 0;
    session_set_ready(s, false);
    if (!was_met)
        return;
    outbox_session_ended(s->e->outbox, s->id, s->slot);
    calls_session_ended(s->e, s->id);
    serving_session_ended(s->e, s->id);
    receiving_session_ended(s->e, s->id);
    large_in_session_ended(s->e, s->id);
    for (struct handler *h = s->e->handlers; h; h = h->next)
        h->told &= ~(1u << s->slot);
}

static void on_end(void *arg, struct link *l, enum link_end end, ehis_err err, const char *detail)
{
    struct session *s = arg;
    struct ehis_why why = {""};
    bool was_ready = s->is_ready;
    if (end == LINK_END_HANDSHAKE && pki_handshake_error(link_ssl(l), &why) != EHIS_OK)
        err = pki_handshake_error(link_ssl(l), &why);
    if (err != EHIS_OK && end != LINK_END_PROTOCOL && end != LINK_END_PEER_REFUSED) {
        struct ehis_why text;
        ehis_fail(&text, err, "%s: %s %s", s->address, link_end_name(end), why.text[0] ? why.text : detail);
        session_note(s, err, text.text);
    }
    log_line(LOG_INFO, "sdk.session.end", F_STR("gateway", s->address), F_STR("end", link_end_name(end)), F_ERR(err));
    session_ended(s);
    pthread_mutex_lock(&s->e->lock);
    s->e->status.reconnects += was_ready;
    pthread_mutex_unlock(&s->e->lock);
    if (s->e->is_ending) {
        turn_soon(s->e);
        return;
    }
    bool is_settled = mono_ms(s->e) >= s->settled_at_ms;
    if (was_ready && (is_settled || (end != LINK_END_PROTOCOL && end != LINK_END_PEER_REFUSED)))
        s->failures = 0;
    else if (was_ready)
        s->failures++;
    if (!was_ready && end == LINK_END_CONNECT && s->addresses.at < s->addresses.count) {
        loop_later(s->e->loop, dial, s); /* the next address */
        return;
    }
    s->failures += !was_ready;
    dial_later(s, s->retry_ms);
}

static const struct link_events events = {.on_peer = on_peer, .on_frame = on_frame, .on_fault = on_fault, .on_room = on_room, .on_end = on_end,
                                          .ping_type = FRAME_PING, .pong_type = FRAME_PONG};

void session_tick(struct session *s)
{
    int64_t now = mono_ms(s->e);
    if (!is_connected(s) || !s->is_hello)
        return;
    if (s->is_leaving && now >= s->ready_at_ms) {
        if (s->link)
            link_close(s->link);
    } else if (!s->is_ready && now >= s->ready_at_ms) {
        session_fail(s, EHIS_E_LINK_TIMEOUT);
    } else {
        readiness_again(s);
    }
    readiness_check(s);
}

void session_stop(struct session *s)
{
    struct goodbye g = {.code = 0};
    resolving_cancel(s);
    if (s->dial_timer)
        loop_timer_clear(s->dial_timer);
    if (!s->link)
        return;
    buf_clear(&s->e->item);
    if (s->is_hello && goodbye_write(&g, &s->e->item) == EHIS_OK)
        (void)!session_send(s, FRAME_GOODBYE, buf_span(&s->e->item)); /* best effort */
    link_close(s->link);
}
