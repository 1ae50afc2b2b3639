/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* One session at a time with one of the gateways: dialled in turn with growing pauses; HELLO, registry and revocation lists, the gateway's
 * pin, READY; and again whenever something changes. */
#include "adapters/sdk/ehis_priv.h"
#include "base/log.h"
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>

#define BACKOFF_FIRST_MS 250
#define BACKOFF_MAX_MS 15000
#define SETTLED_MS 5000 /* a session that one side ends sooner counts as a failure: no storm of them */
#define FETCH_MS 15000 /* from HELLO to READY_STATE */

/* ---- names to addresses, in a thread of its own ---- */

struct resolving {
    struct order order;
    pthread_mutex_t lock;
    struct ehis *e; /* [lock] NULL: nobody waits any more */
    char host[256], port[8];
    struct addrinfo *found;
};

static void resolving_free(struct resolving *r)
{
    if (r->found)
        freeaddrinfo(r->found);
    pthread_mutex_destroy(&r->lock);
    free(r);
}

static void dial(struct ehis *e);

static void on_resolved(struct ehis *e, struct order *o)
{
    struct resolving *r = OWNER_OF(o, struct resolving, order);
    pthread_mutex_lock(&r->lock); /* its thread has let go of it then */
    pthread_mutex_unlock(&r->lock);
    if (e->resolving == r)
        e->resolving = NULL;
    e->addresses.count = e->addresses.at = 0;
    for (const struct addrinfo *a = r->found; a && e->addresses.count < 4; a = a->ai_next) {
        memcpy(&e->addresses.a[e->addresses.count], a->ai_addr, a->ai_addrlen);
        e->addresses.len[e->addresses.count++] = a->ai_addrlen;
    }
    if (e->addresses.count == 0) {
        struct ehis_why why;
        ehis_fail(&why, EHIS_E_LINK_RESET, "%s has no address", r->host);
        connection_note(e, EHIS_E_LINK_RESET, why.text);
        e->addresses.count = e->addresses.at = 1; /* used up: the next gateway */
    }
    resolving_free(r);
    if (!e->is_stopped)
        dial(e);
}

static void *resolve_main(void *arg)
{
    struct resolving *r = arg;
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_ADDRCONFIG | AI_NUMERICSERV}, *found = NULL;
    if (getaddrinfo(r->host, r->port, &hints, &found) != 0 || !found) {
        hints.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV; /* ADDRCONFIG leaves loopback out where there is no network */
        if (getaddrinfo(r->host, r->port, &hints, &found) != 0)
            found = NULL;
    }
    pthread_mutex_lock(&r->lock);
    r->found = found;
    bool is_wanted = r->e != NULL && work_post(r->e, &r->order);
    pthread_mutex_unlock(&r->lock);
    if (!is_wanted)
        resolving_free(r);
    return NULL;
}

static void cancel_resolving(struct ehis *e)
{
    struct resolving *r = e->resolving;
    e->resolving = NULL;
    if (!r)
        return;
    pthread_mutex_lock(&r->lock);
    r->e = NULL;
    pthread_mutex_unlock(&r->lock); /* done: its order is queued, and frees it */
}

static ehis_err resolve(struct ehis *e, const char *gateway)
{
    const char *colon = strrchr(gateway, ':');
    struct resolving *r = calloc(1, sizeof *r);
    pthread_t thread;
    if (!r)
        return EHIS_E_NO_MEMORY;
    size_t host = (size_t)(colon - gateway);
    bool is_bracketed = host > 2 && gateway[0] == '[' && colon[-1] == ']';
    snprintf(r->host, sizeof r->host, "%.*s", (int)(host - (is_bracketed ? 2 : 0)), gateway + is_bracketed);
    snprintf(r->port, sizeof r->port, "%s", colon + 1);
    r->e = e;
    r->order.run = on_resolved;
    pthread_mutex_init(&r->lock, NULL);
    e->resolving = r;
    if (pthread_create(&thread, NULL, resolve_main, r) == 0) {
        pthread_detach(thread);
        return EHIS_OK;
    }
    e->resolving = NULL;
    resolving_free(r);
    return EHIS_E_NO_MEMORY;
}

/* ---- the state of it, for the application ---- */

void connection_note(struct ehis *e, ehis_err err, const char *why)
{
    pthread_mutex_lock(&e->lock);
    e->status.last_error = (int)err;
    snprintf(e->status.last_why, sizeof e->status.last_why, "%s%s%s", ehis_err_row(err)->text, why && why[0] ? ": " : "", why ? why : "");
    pthread_mutex_unlock(&e->lock);
    log_line(LOG_WARN, "sdk.session.trouble", F_ERR(err), F_STR("why", why ? why : ""));
}

static void set_ready(struct ehis *e, bool is_ready)
{
    e->is_ready = is_ready;
    pthread_mutex_lock(&e->lock);
    e->status.is_ready = is_ready;
    e->status.has_streams = is_ready && e->has_streams;
    e->status.registry_version = e->registry ? registry_version(e->registry) : 0;
    memcpy(e->status.gateway, e->peer.leaf.id, sizeof e->status.gateway);
    work_wake_status(e);
    pthread_mutex_unlock(&e->lock);
}

/* ---- dialling ---- */

static void dial_later(struct ehis *e, int64_t at_least_ms)
{
    uint64_t random;
    int64_t most = BACKOFF_FIRST_MS;
    for (uint32_t i = 1; i < e->failures && most < BACKOFF_MAX_MS; i++)
        most *= 2;
    random_fill(e->random, (uint8_t *)&random, sizeof random);
    int64_t pause = e->failures == 0 ? (int64_t)(random % 100) : most / 2 + (int64_t)(random % (uint64_t)(most / 2 + 1));
    loop_timer_set(e->dial_timer, (pause > at_least_ms ? pause : at_least_ms) * 1000);
}

static const struct link_events events;

/* The next address of this gateway, or the next gateway; a pause when all have been tried. */
static void dial(struct ehis *e)
{
    struct link_limits limits = link_limits_default;
    if (e->is_ending || e->failed != EHIS_OK || e->link || e->resolving)
        return;
    limits.max_frame_bytes = FRAME_MAX_BYTES_LIMIT;
    limits.output_max_bytes = 2 * FRAME_MAX_BYTES_LIMIT;
    if (e->addresses.at < e->addresses.count) {
        size_t i = e->addresses.at++;
        ehis_err err = link_dial(e->loop, (struct sockaddr *)&e->addresses.a[i], e->addresses.len[i], e->tls, &limits, &events, e, &e->link);
        if (err == EHIS_OK)
            return;
        e->link = NULL;
        connection_note(e, err, e->gateways[e->gateway_at]);
    }
    if (e->addresses.count > 0 && e->addresses.at >= e->addresses.count) { /* this one's are used up */
        e->addresses.count = e->addresses.at = 0;
        e->gateway_at = (e->gateway_at + 1) % (uint32_t)e->gateway_count;
        e->failures += e->gateway_at == 0 || e->failures > 0;
        dial_later(e, e->failures == 0 ? 0 : e->retry_ms);
        return;
    }
    if (resolve(e, e->gateways[e->gateway_at]) != EHIS_OK)
        dial_later(e, 1000);
}

static void on_dial_again(void *arg) { dial(arg); }

static void on_dial_timer(void *arg)
{
    struct ehis *e = arg;
    if (e->failed == EHIS_OK && e->addresses.count == 0 && !e->resolving && !e->link && resolve(e, e->gateways[e->gateway_at]) != EHIS_OK)
        dial_later(e, 1000);
}

void connection_start(struct ehis *e)
{
    if (loop_timer_new(e->loop, on_dial_timer, e, &e->dial_timer) == EHIS_OK)
        loop_timer_set(e->dial_timer, 0);
}

/* ---- frames out ---- */

ehis_err connection_send(struct ehis *e, uint8_t type, struct span payload)
{
    if (e->tap)
        return e->tap(e->tap_arg, type, payload);
    return e->link ? link_send(e->link, type, &payload, 1) : EHIS_E_LINK_ENDED;
}

void connection_fail(struct ehis *e, ehis_err err)
{
    if (e->link)
        link_fail(e->link, err);
}

static ehis_err send_hello(struct ehis *e, struct link *l)
{
    struct hello h = {.version = PROTOCOL_VERSION, .software = span_str(SOFTWARE), .name = span_str(e->system), .max_frame_bytes = FRAME_MAX_BYTES_LIMIT,
                      .window_messages = 1024, .window_bytes = 64 * 1024 * 1024, .clock_ms = (uint64_t)now_ms(e)};
    memcpy(h.state_id, e->state_id, sizeof h.state_id);
    if (e->registry) {
        h.registry_version = registry_version(e->registry);
        memcpy(h.registry_hash, registry_hash(e->registry)->b, HASH_BYTES);
    }
    buf_clear(&e->item);
    EHIS_TRY(hello_write(&h, &e->item));
    struct span whole = buf_span(&e->item);
    return link_send(l, FRAME_HELLO, &whole, 1);
}

static ehis_err ask_registry(struct ehis *e)
{
    struct registry_get f = {.have_version = e->registry ? registry_version(e->registry) : 0};
    if (e->is_fetching_registry)
        return EHIS_OK;
    buf_clear(&e->item);
    EHIS_TRY(registry_get_write(&f, &e->item));
    e->is_fetching_registry = true;
    e->registry_asked_ms = now_ms(e);
    return connection_send(e, FRAME_REGISTRY_GET, buf_span(&e->item));
}

static ehis_err ask_crl(struct ehis *e)
{
    bool is_asked = e->is_fetching_crl;
    e->is_fetching_crl = true;
    return is_asked ? EHIS_OK : connection_send(e, FRAME_CRL_GET, (struct span){0});
}

/* A newer registry is named somewhere, or the gateway says that ours is stale: ask, at most once a second. */
void connection_want_registry(struct ehis *e)
{
    if (!e->is_hello || now_ms(e) - e->registry_asked_ms < 1000)
        return;
    e->is_ready_sent = false;
    if (ask_registry(e) != EHIS_OK || ask_crl(e) != EHIS_OK)
        connection_fail(e, EHIS_E_LINK_FULL);
}

void connection_say_ready(struct ehis *e)
{
    struct ready f = {0};
    for (const struct handler *h = e->handlers; h; h = h->next) {
        if (h->fn && h->kind == HANDLER_SERVE)
            f.call_window = e->call_window;
        if (h->fn)
            f.stream_window_messages = e->stream_window;
    }
    f.stream_window_bytes = f.stream_window_messages ? 64 * 1024 * 1024 : 0;
    if (!is_connected(e) || !e->is_ready_sent)
        return;
    buf_clear(&e->item);
    if (ready_write(&f, &e->item) != EHIS_OK || connection_send(e, FRAME_READY, buf_span(&e->item)) != EHIS_OK)
        connection_fail(e, EHIS_E_LINK_FULL);
}

/* Everything fetched: is the gateway itself in order by what was fetched? Then READY. */
static ehis_err get_ready(struct ehis *e, struct ehis_why *why)
{
    bool is_stale = false;
    if (e->is_fetching_registry || e->is_fetching_crl || e->is_ready_sent)
        return EHIS_OK;
    if (!e->registry)
        return ehis_fail(why, EHIS_E_SDK_NO_REGISTRY, "the gateway gave none that counts");
    EHIS_TRY(pki_trust_recheck(e->trust, &e->peer, now_ms(e), &is_stale, why));
    if (is_stale)
        return ehis_fail(why, EHIS_E_CRL_EXPIRED, "the gateway has no newer revocation list either");
    ehis_err err = registry_check_time(e->registry, now_ms(e));
    if (err != EHIS_OK)
        return ehis_fail(why, err, "version %llu; the gateway has no newer one either", (unsigned long long)registry_version(e->registry));
    err = registry_check_pin(e->registry, span_str(e->peer.leaf.id), true, span_of(e->peer.leaf.spki, e->peer.leaf.spki_len), now_ms(e));
    if (err != EHIS_OK)
        return ehis_fail(why, err, "%s", e->peer.leaf.id);
    e->is_ready_sent = true;
    connection_say_ready(e);
    return EHIS_OK;
}

/* ---- frames in ---- */

static ehis_err on_hello(struct ehis *e, struct span payload, struct ehis_why *why)
{
    struct hello h;
    EHIS_TRY(hello_read(payload, &h, why));
    if (h.version != PROTOCOL_VERSION)
        return ehis_fail(why, EHIS_E_PROTOCOL_VERSION, "%u, not %u", h.version, PROTOCOL_VERSION);
    if (!span_eq(h.name, span_str(e->peer.leaf.id)))
        return EHIS_E_GATEWAY_NAME;
    if (h.max_frame_bytes < 65536 || h.window_messages == 0)
        return ehis_fail(why, EHIS_E_PROTOCOL_HELLO, "max_frame_bytes is below 65536, or no window");
    e->is_hello = true;
    e->state = FRAME_STATE_FETCH;
    e->session++;
    e->window_messages = h.window_messages < 65536 ? h.window_messages : 65536;
    e->window_bytes = h.window_bytes;
    e->max_frame_bytes = h.max_frame_bytes < FRAME_MAX_BYTES_LIMIT ? h.max_frame_bytes : FRAME_MAX_BYTES_LIMIT;
    e->gateway_version = h.registry_version;
    if (e->link) {
        link_set_trusted(e->link, FRAME_MAX_BYTES_LIMIT);
        link_set_send_max(e->link, h.max_frame_bytes);
    }
    e->ready_at_ms = clock_mono_ms(e->clock) + FETCH_MS;
    if (!e->registry || registry_version(e->registry) != h.registry_version || memcmp(registry_hash(e->registry)->b, h.registry_hash, HASH_BYTES) != 0)
        EHIS_TRY(ask_registry(e));
    if (memcmp(pki_trust_crl_hash(e->trust)->b, h.crl_hash, HASH_BYTES) != 0)
        EHIS_TRY(ask_crl(e));
    return get_ready(e, why);
}

static ehis_err on_registry(struct ehis *e, struct span payload, struct ehis_why *why)
{
    ehis_err err = state_take_registry(e, payload, why);
    e->is_fetching_registry = false;
    if (err == EHIS_E_REGISTRY_OLDER)
        return ehis_fail(why, EHIS_E_GATEWAY_BEHIND, "%s", e->peer.leaf.id);
    if (err != EHIS_OK && err != EHIS_E_REGISTRY_SAME)
        return err;
    if (e->is_ready) { /* pushed: the gateway must still be one */
        e->is_ready_sent = false;
        EHIS_TRY(get_ready(e, why));
        set_ready(e, true);
    }
    receiving_again(e);
    turn_soon(e);
    return e->is_ready ? EHIS_OK : get_ready(e, why);
}

static ehis_err on_crl(struct ehis *e, struct span payload, struct ehis_why *why)
{
    struct crl f;
    EHIS_TRY(crl_read(payload, &f, why));
    ehis_err err = state_take_crl(e, f.der, why);
    e->is_fetching_crl = false;
    if (err != EHIS_OK) /* the one that is held counts on; a gateway that is behind is not followed */
        log_line(LOG_WARN, "sdk.crl.refused", F_ERR(err), F_STR("why", why->text));
    EHIS_TRY(pki_trust_recheck(e->trust, &e->peer, now_ms(e), NULL, why));
    return get_ready(e, why);
}

static ehis_err on_ready_state(struct ehis *e, struct span payload, struct ehis_why *why)
{
    struct ready_state f;
    EHIS_TRY(ready_state_read(payload, &f, why));
    if (!e->is_ready_sent && !e->is_ready) /* once ready it may come at any time: streams move, or the gateway is out of date */
        return ehis_fail(why, EHIS_E_GATEWAY_UNASKED, "READY_STATE");
    if (f.code != 0) {
        ehis_err code;
        if (!ehis_err_from_number(f.code, &code))
            code = EHIS_E_SDK_NOT_READY;
        e->is_ready_sent = false; /* what is under way still comes */
        connection_note(e, code, e->peer.leaf.id);
        return e->gateway_version && e->registry && registry_version(e->registry) > e->gateway_version ? EHIS_E_GATEWAY_BEHIND : EHIS_OK; /* the tick fetches again */
    }
    if (f.has_streams && !e->has_streams && e->is_ready)
        inbox_takeover(e->inbox);
    bool is_first = !e->is_ready;
    e->state = FRAME_STATE_READY;
    e->has_streams = f.has_streams;
    e->settled_at_ms = clock_mono_ms(e->clock) + SETTLED_MS;
    e->retry_ms = 0;
    set_ready(e, true);
    if (is_first)
        log_line(LOG_INFO, "sdk.session.ready", F_STR("gateway", e->peer.leaf.id), F_BOOL("streams", f.has_streams));
    events_subscribe(e);
    receiving_again(e);
    turn_soon(e);
    return EHIS_OK;
}

static ehis_err on_goodbye(struct ehis *e, struct span payload, struct ehis_why *why)
{
    struct goodbye f;
    EHIS_TRY(goodbye_read(payload, &f, why));
    e->is_leaving = true;
    e->retry_ms = f.retry_ms < BACKOFF_MAX_MS ? f.retry_ms : BACKOFF_MAX_MS;
    e->ready_at_ms = clock_mono_ms(e->clock) + 2000; /* answers under way come first; then the next gateway */
    return EHIS_OK;
}

static ehis_err on_error(struct ehis *e, struct span payload, struct ehis_why *why)
{
    struct error f;
    ehis_err code;
    EHIS_TRY(error_read(payload, &f, why));
    if (!ehis_err_from_number(f.code, &code))
        code = EHIS_E_LINK_ENDED;
    return ehis_fail(why, code, "%s says: %.*s", e->peer.leaf.id, (int)f.text.len, (const char *)f.text.p);
}

static ehis_err on_subscription(struct ehis *e, struct span payload, struct ehis_why *why)
{
    struct subscription f;
    EHIS_TRY(subscription_read(payload, &f, why));
    ehis_err code = EHIS_OK;
    if (f.code != 0 && !ehis_err_from_number(f.code, &code))
        code = EHIS_E_INTERNAL;
    log_line(code == EHIS_OK ? LOG_INFO : LOG_WARN, "sdk.subscription", F_SPAN("service", f.service), F_SPAN("event", f.event), F_ERR(code));
    if (code != EHIS_OK)
        connection_note(e, code, "a subscription was refused");
    if (code != EHIS_E_CRL_STALE && code != EHIS_E_REGISTRY_EXPIRED)
        return EHIS_OK;
    for (struct handler *h = e->handlers; h; h = h->next) /* the gateway is out of date, not we: again when it is not */
        h->is_told &= h->kind != HANDLER_SUBSCRIBE || !span_eq(f.service, span_str(h->service)) || !span_eq(f.event, span_str(h->operation));
    e->is_ready_sent = false; /* the tick fetches, and then it is ready again */
    return EHIS_OK;
}

ehis_err connection_frame(struct ehis *e, uint8_t type, struct span payload, struct ehis_why *why)
{
    const struct frame_rule *rule;
    EHIS_TRY(frame_check(type, FRAME_FROM_GATEWAY, e->state, &rule));
    if (e->state == FRAME_STATE_READY && !e->registry)
        return EHIS_E_SDK_NO_REGISTRY;
    switch (type) {
    case FRAME_HELLO: return on_hello(e, payload, why);
    case FRAME_REGISTRY: return on_registry(e, payload, why);
    case FRAME_CRL: return on_crl(e, payload, why);
    case FRAME_READY_STATE: return on_ready_state(e, payload, why);
    case FRAME_GOODBYE: return on_goodbye(e, payload, why);
    case FRAME_ERROR: return on_error(e, payload, why);
    case FRAME_STREAM_STATE: return sending_on_stream_state(e, payload, why);
    case FRAME_FLOW: return acks_on_flow(e, payload, why);
    case FRAME_RECEIPTS: return acks_on_receipts(e, payload, why);
    case FRAME_DELIVER: return receiving_on_deliver(e, payload, why);
    case FRAME_SKIPS: return receiving_on_skips(e, payload, why);
    case FRAME_SUBSCRIPTION: return on_subscription(e, payload, why);
    case FRAME_KEYS: return events_on_keys(e, payload, why);
    default: return EHIS_E_FRAME_OUT_OF_STATE;
    }
}

/* ---- the link ---- */

static void on_frame(void *arg, struct link *l, uint8_t type, struct span payload)
{
    struct ehis *e = arg;
    struct ehis_why why = {""};
    if (e->is_ending && type != FRAME_RECEIPTS)
        return;
    ehis_err err = connection_frame(e, type, payload, &why);
    if (err == EHIS_OK)
        return;
    connection_note(e, err, why.text);
    struct error f = {.code = (uint32_t)err, .text = span_str(why.text), .frame_type = type};
    buf_clear(&e->item);
    if (type != FRAME_ERROR && error_write(&f, &e->item) == EHIS_OK) {
        struct span whole = buf_span(&e->item);
        (void)!link_send(l, FRAME_ERROR, &whole, 1); /* best effort */
    }
    link_fail(l, err);
}

static ehis_err on_peer(void *arg, struct link *l, SSL *ssl, struct ehis_why *why)
{
    struct ehis *e = arg;
    ehis_err err = pki_peer_check(ssl, now_ms(e), &e->peer, why);
    if (err == EHIS_OK && !span_eq(identifier_prefix(span_str(e->peer.leaf.id), 1), span_str(e->instance)))
        err = ehis_fail(why, EHIS_E_GATEWAY_NAME, "%s is of another instance", e->peer.leaf.id);
    if (err == EHIS_OK)
        err = send_hello(e, l);
    if (err != EHIS_OK)
        connection_note(e, err, why->text);
    return err;
}

static void on_fault(void *arg, struct link *l, enum link_end end, ehis_err err)
{
    (void)l;
    connection_note(arg, err, link_end_name(end));
}

static void on_room(void *arg, struct link *l)
{
    (void)l;
    turn_soon(arg);
}

void connection_ended(struct ehis *e)
{
    e->link = NULL;
    e->is_hello = e->is_ready_sent = e->is_fetching_registry = e->is_fetching_crl = e->is_leaving = e->has_streams = false;
    e->state = FRAME_STATE_HELLO;
    e->unanswered = 0;
    e->unanswered_bytes = 0;
    e->ack_count = 0;
    e->ready_at_ms = 0;
    set_ready(e, false);
    outbox_session_ended(e->outbox);
    calls_session_ended(e);
    serving_session_ended(e);
    receiving_session_ended(e);
    for (struct handler *h = e->handlers; h; h = h->next)
        h->is_told = false;
}

static void on_end(void *arg, struct link *l, enum link_end end, ehis_err err, const char *detail)
{
    struct ehis *e = arg;
    struct ehis_why why = {""};
    bool was_ready = e->is_ready;
    if (end == LINK_END_HANDSHAKE && pki_handshake_error(link_ssl(l), &why) != EHIS_OK)
        err = pki_handshake_error(link_ssl(l), &why);
    if (err != EHIS_OK && end != LINK_END_PROTOCOL && end != LINK_END_PEER_REFUSED) {
        struct ehis_why text;
        ehis_fail(&text, err, "%s: %s %s", e->gateways[e->gateway_at], link_end_name(end), why.text[0] ? why.text : detail);
        connection_note(e, err, text.text);
    }
    log_line(LOG_INFO, "sdk.session.end", F_STR("gateway", e->gateways[e->gateway_at]), F_STR("end", link_end_name(end)), F_ERR(err));
    connection_ended(e);
    pthread_mutex_lock(&e->lock);
    e->status.reconnects += was_ready;
    pthread_mutex_unlock(&e->lock);
    if (e->is_ending) {
        turn_soon(e);
        return;
    }
    bool is_settled = clock_mono_ms(e->clock) >= e->settled_at_ms;
    if (was_ready && (is_settled || (end != LINK_END_PROTOCOL && end != LINK_END_PEER_REFUSED)))
        e->failures = 0;
    else if (was_ready)
        e->failures++;
    if (was_ready) { /* the next gateway of the list at once, if there is another */
        e->addresses.count = e->addresses.at = 0;
        e->gateway_at = (e->gateway_at + 1) % (uint32_t)e->gateway_count;
        dial_later(e, e->gateway_count > 1 && e->failures == 0 ? 0 : e->retry_ms);
    } else if (e->addresses.at < e->addresses.count && end == LINK_END_CONNECT) {
        loop_later(e->loop, on_dial_again, e);
    } else {
        e->addresses.at = e->addresses.count;
        if (e->addresses.count == 0)
            e->addresses.count = e->addresses.at = 1;
        loop_later(e->loop, on_dial_again, e);
    }
}

static const struct link_events events = {.on_peer = on_peer, .on_frame = on_frame, .on_fault = on_fault, .on_room = on_room, .on_end = on_end,
                                          .ping_type = FRAME_PING, .pong_type = FRAME_PONG};

/* Nothing goes on with what has run out or is revoked: the next session fetches first. */
static ehis_err what_ran_out(const struct ehis *e, struct ehis_why *why)
{
    bool is_stale = false;
    ehis_err err = registry_check_time(e->registry, now_ms(e));
    if (err != EHIS_OK)
        return ehis_fail(why, err, "version %llu", (unsigned long long)registry_version(e->registry));
    EHIS_TRY(pki_trust_recheck(e->trust, &e->peer, now_ms(e), &is_stale, why));
    return is_stale ? ehis_fail(why, EHIS_E_CRL_EXPIRED, "a list of the gateway's authorities") : EHIS_OK;
}

void connection_tick(struct ehis *e)
{
    struct ehis_why why = {""};
    int64_t now = clock_mono_ms(e->clock);
    if (!is_connected(e) || !e->is_hello)
        return;
    if (e->is_leaving && now >= e->ready_at_ms) {
        if (e->link)
            link_close(e->link);
    } else if (!e->is_ready && now >= e->ready_at_ms) {
        connection_fail(e, EHIS_E_LINK_TIMEOUT);
    } else if (!e->is_ready_sent && !e->is_fetching_registry && !e->is_fetching_crl && now_ms(e) - e->registry_asked_ms >= 1000) {
        ehis_err err = ask_registry(e); /* READY was answered "stale": fetch again */
        if (err == EHIS_OK)
            err = ask_crl(e);
        if (err != EHIS_OK)
            connection_fail(e, err);
    }
    ehis_err ran_out = e->is_ready ? what_ran_out(e, &why) : EHIS_OK;
    if (ran_out != EHIS_OK) {
        connection_note(e, ran_out, why.text);
        connection_fail(e, ran_out);
    }
}

void connection_stop(struct ehis *e)
{
    struct goodbye g = {.code = 0};
    cancel_resolving(e);
    loop_timer_clear(e->dial_timer);
    if (!e->link)
        return;
    buf_clear(&e->item);
    if (e->is_hello && goodbye_write(&g, &e->item) == EHIS_OK)
        (void)!connection_send(e, FRAME_GOODBYE, buf_span(&e->item)); /* best effort */
    link_close(e->link);
}
