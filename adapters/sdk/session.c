/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* The session with one gateway: dialled again and again with growing pauses; HELLO, registry and revocation lists, the gateway's pin, READY;
 * and again whenever something changes. There is one of these for each gateway of the list. */
#include "adapters/sdk/ehis_priv.h"
#include "base/log.h"
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>

#define BACKOFF_FIRST_MS 250
#define BACKOFF_MAX_MS 15000
#define SETTLED_MS 5000 /* a session that one side ends sooner counts as a failure: no storm of them */
#define FETCH_MS 15000 /* from HELLO to READY_STATE */

/* ---- the state of it, for the application ---- */

void session_note(struct session *s, ehis_err err, const char *why)
{
    pthread_mutex_lock(&s->e->lock);
    s->e->status.sessions[s->slot].last_error = (int)err;
    pthread_mutex_unlock(&s->e->lock);
    client_note(s->e, err, why);
}

static void set_ready(struct session *s, bool is_ready)
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
    limits.max_frame_bytes = FRAME_MAX_BYTES_LIMIT;
    limits.output_max_bytes = 2 * FRAME_MAX_BYTES_LIMIT;
    if (e->is_ending || e->failed != EHIS_OK || s->link || s->resolving)
        return;
    while (s->addresses.at < s->addresses.count) {
        size_t i = s->addresses.at++;
        ehis_err err = link_dial(e->loop, (struct sockaddr *)&s->addresses.a[i], s->addresses.len[i], e->tls, &limits, &events, s, &s->link);
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

static ehis_err send_hello(struct session *s, struct link *l)
{
    struct hello h = {.version = PROTOCOL_VERSION, .software = span_str(SOFTWARE), .name = span_str(s->e->system), .max_frame_bytes = FRAME_MAX_BYTES_LIMIT,
                      .window_messages = 1024, .window_bytes = 64 * 1024 * 1024, .clock_ms = (uint64_t)now_ms(s->e),
                      .features = {span_str(FEATURE_LARGE)}, .feature_count = 1};
    memcpy(h.state_id, s->e->state_id, sizeof h.state_id);
    if (s->e->registry) {
        h.registry_version = registry_version(s->e->registry);
        memcpy(h.registry_hash, registry_hash(s->e->registry)->b, HASH_BYTES);
    }
    buf_clear(&s->e->item);
    EHIS_TRY(hello_write(&h, &s->e->item));
    struct span whole = buf_span(&s->e->item);
    return link_send(l, FRAME_HELLO, &whole, 1);
}

static ehis_err ask_registry(struct session *s)
{
    struct registry_get f = {.have_version = s->e->registry ? registry_version(s->e->registry) : 0};
    if (s->is_fetching_registry)
        return EHIS_OK;
    buf_clear(&s->e->item);
    EHIS_TRY(registry_get_write(&f, &s->e->item));
    s->is_fetching_registry = true;
    s->registry_asked_ms = now_ms(s->e);
    return session_send(s, FRAME_REGISTRY_GET, buf_span(&s->e->item));
}

static ehis_err ask_crl(struct session *s)
{
    bool is_asked = s->is_fetching_crl;
    s->is_fetching_crl = true;
    return is_asked ? EHIS_OK : session_send(s, FRAME_CRL_GET, (struct span){0});
}

/* A newer registry is named somewhere, or the gateway says that ours is stale: ask, at most once a second. */
void session_want_registry(struct session *s)
{
    if (!s->is_hello || now_ms(s->e) - s->registry_asked_ms < 1000)
        return;
    s->is_ready_sent = false;
    if (ask_registry(s) != EHIS_OK || ask_crl(s) != EHIS_OK)
        session_fail(s, EHIS_E_LINK_FULL);
}

void session_say_ready(struct session *s)
{
    struct ready f = {0};
    for (const struct handler *h = s->e->handlers; h; h = h->next) {
        if (h->fn && h->kind == HANDLER_SERVE)
            f.call_window = s->e->call_window;
        if (h->fn)
            f.stream_window_messages = s->e->stream_window;
    }
    f.stream_window_bytes = f.stream_window_messages ? 64 * 1024 * 1024 : 0;
    if (!is_connected(s) || !s->is_ready_sent)
        return;
    buf_clear(&s->e->item);
    if (ready_write(&f, &s->e->item) != EHIS_OK || session_send(s, FRAME_READY, buf_span(&s->e->item)) != EHIS_OK)
        session_fail(s, EHIS_E_LINK_FULL);
}

/* Everything fetched: is the gateway itself in order by what was fetched? Then READY. */
static ehis_err get_ready(struct session *s, struct ehis_why *why)
{
    bool is_stale = false;
    if (s->is_fetching_registry || s->is_fetching_crl || s->is_ready_sent)
        return EHIS_OK;
    if (!s->e->registry)
        return ehis_fail(why, EHIS_E_SDK_NO_REGISTRY, "the gateway gave none that counts");
    EHIS_TRY(pki_trust_recheck(s->e->trust, &s->peer, now_ms(s->e), &is_stale, why));
    if (is_stale)
        return ehis_fail(why, EHIS_E_CRL_EXPIRED, "the gateway has no newer revocation list either");
    ehis_err err = registry_check_time(s->e->registry, now_ms(s->e));
    if (err != EHIS_OK)
        return ehis_fail(why, err, "version %llu; the gateway has no newer one either", (unsigned long long)registry_version(s->e->registry));
    err = registry_check_pin(s->e->registry, span_str(s->peer.leaf.id), true, span_of(s->peer.leaf.spki, s->peer.leaf.spki_len), now_ms(s->e));
    if (err != EHIS_OK)
        return ehis_fail(why, err, "%s", s->peer.leaf.id);
    s->is_ready_sent = true;
    session_say_ready(s);
    return EHIS_OK;
}

/* ---- frames in ---- */

static ehis_err on_hello(struct session *s, struct span payload, struct ehis_why *why)
{
    struct hello h;
    EHIS_TRY(hello_read(payload, &h, why));
    if (h.version != PROTOCOL_VERSION)
        return ehis_fail(why, EHIS_E_PROTOCOL_VERSION, "%u, not %u", h.version, PROTOCOL_VERSION);
    if (!span_eq(h.name, span_str(s->peer.leaf.id)))
        return EHIS_E_GATEWAY_NAME;
    if (h.max_frame_bytes < 65536 || h.window_messages == 0)
        return ehis_fail(why, EHIS_E_PROTOCOL_HELLO, "max_frame_bytes is below 65536, or no window");
    s->is_hello = true;
    s->state = FRAME_STATE_FETCH;
    s->id = ++s->e->session_last;
    s->is_replicating = s->takes_large = false;
    for (size_t i = 0; i < h.feature_count; i++) {
        s->is_replicating |= span_eq(h.features[i], span_str(FEATURE_REPLICATES));
        s->takes_large |= span_eq(h.features[i], span_str(FEATURE_LARGE));
    }
    s->window_messages = h.window_messages < 65536 ? h.window_messages : 65536;
    s->window_bytes = h.window_bytes;
    s->max_frame_bytes = h.max_frame_bytes < FRAME_MAX_BYTES_LIMIT ? h.max_frame_bytes : FRAME_MAX_BYTES_LIMIT;
    s->gateway_version = h.registry_version;
    if (s->link) {
        link_set_trusted(s->link, FRAME_MAX_BYTES_LIMIT);
        link_set_send_max(s->link, h.max_frame_bytes);
    }
    s->ready_at_ms = clock_mono_ms(s->e->clock) + FETCH_MS;
    if (!s->e->registry || registry_version(s->e->registry) != h.registry_version || memcmp(registry_hash(s->e->registry)->b, h.registry_hash, HASH_BYTES) != 0)
        EHIS_TRY(ask_registry(s));
    if (memcmp(pki_trust_crl_hash(s->e->trust)->b, h.crl_hash, HASH_BYTES) != 0)
        EHIS_TRY(ask_crl(s));
    return get_ready(s, why);
}

/* The other gateways, by the registry that one of them has given. */
static void check_pins(const struct session *but_for)
{
    const struct ehis *e = but_for->e;
    for (size_t i = 0; i < e->session_count; i++) {
        struct session *s = &but_for->e->sessions[i];
        struct span spki = span_of(s->peer.leaf.spki, s->peer.leaf.spki_len);
        ehis_err err = s != but_for && s->is_ready ? registry_check_pin(e->registry, span_str(s->peer.leaf.id), true, spki, now_ms(e)) : EHIS_OK;
        if (err == EHIS_OK)
            continue;
        session_note(s, err, s->peer.leaf.id);
        session_fail(s, err);
    }
}

static ehis_err on_registry(struct session *s, struct span payload, struct ehis_why *why)
{
    ehis_err err = state_take_registry(s->e, payload, why);
    s->is_fetching_registry = false;
    if (err == EHIS_E_REGISTRY_OLDER)
        return ehis_fail(why, EHIS_E_GATEWAY_BEHIND, "%s", s->peer.leaf.id);
    if (err != EHIS_OK && err != EHIS_E_REGISTRY_SAME)
        return err;
    check_pins(s);
    if (s->is_ready) { /* pushed: the gateway must still be one */
        s->is_ready_sent = false;
        EHIS_TRY(get_ready(s, why));
        set_ready(s, true);
    }
    receiving_again(s->e);
    turn_soon(s->e);
    return s->is_ready ? EHIS_OK : get_ready(s, why);
}

static ehis_err on_crl(struct session *s, struct span payload, struct ehis_why *why)
{
    struct crl f;
    EHIS_TRY(crl_read(payload, &f, why));
    ehis_err err = state_take_crl(s->e, f.der, why);
    s->is_fetching_crl = false;
    if (err != EHIS_OK) /* the one that is held counts on; a gateway that is behind is not followed */
        log_line(LOG_WARN, "sdk.crl.refused", F_ERR(err), F_STR("why", why->text));
    EHIS_TRY(pki_trust_recheck(s->e->trust, &s->peer, now_ms(s->e), NULL, why));
    return get_ready(s, why);
}

static ehis_err on_ready_state(struct session *s, struct span payload, struct ehis_why *why)
{
    struct ready_state f;
    EHIS_TRY(ready_state_read(payload, &f, why));
    if (!s->is_ready_sent && !s->is_ready) /* once ready it may come at any time: streams move, or the gateway is out of date */
        return ehis_fail(why, EHIS_E_GATEWAY_UNASKED, "READY_STATE");
    if (f.code != 0) {
        ehis_err code;
        if (!ehis_err_from_number(f.code, &code))
            code = EHIS_E_SDK_NOT_READY;
        s->is_ready_sent = false; /* what is under way still comes */
        session_note(s, code, s->peer.leaf.id);
        return s->gateway_version && s->e->registry && registry_version(s->e->registry) > s->gateway_version ? EHIS_E_GATEWAY_BEHIND : EHIS_OK; /* the tick fetches again */
    }
    bool is_first = !s->is_ready;
    s->state = FRAME_STATE_READY;
    s->has_streams = f.has_streams;
    client_note_streams(s->e);
    s->settled_at_ms = clock_mono_ms(s->e->clock) + SETTLED_MS;
    s->retry_ms = 0;
    set_ready(s, true);
    if (is_first)
        log_line(LOG_INFO, "sdk.session.ready", F_STR("gateway", s->peer.leaf.id), F_BOOL("streams", f.has_streams));
    events_subscribe(s->e);
    receiving_again(s->e);
    turn_soon(s->e);
    return EHIS_OK;
}

static ehis_err on_goodbye(struct session *s, struct span payload, struct ehis_why *why)
{
    struct goodbye f;
    EHIS_TRY(goodbye_read(payload, &f, why));
    s->is_leaving = true;
    s->retry_ms = f.retry_ms < BACKOFF_MAX_MS ? f.retry_ms : BACKOFF_MAX_MS;
    s->ready_at_ms = clock_mono_ms(s->e->clock) + 2000; /* answers under way come first */
    for (struct out_stream *o = session_ready(s->e, s->id) ? outbox_streams(s->e->outbox) : NULL; o; o = o->next)
        if (o->session == s->id)
            out_stream_leave(o); /* it goes on at another gateway at once */
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

static ehis_err on_subscription(struct session *s, struct span payload, struct ehis_why *why)
{
    struct subscription f;
    EHIS_TRY(subscription_read(payload, &f, why));
    ehis_err code = EHIS_OK;
    if (f.code != 0 && !ehis_err_from_number(f.code, &code))
        code = EHIS_E_INTERNAL;
    bool is_stale = code == EHIS_E_CRL_STALE || code == EHIS_E_REGISTRY_EXPIRED;
    for (struct handler *h = s->e->handlers; h && !is_stale; h = h->next) /* it begins anew once, or cannot */
        if (h->kind == HANDLER_SUBSCRIBE && h->from_ms && span_eq(f.service, span_str(h->service)) && span_eq(f.event, span_str(h->operation))) {
            h->from_ms = 0;
            h->told &= ~(code == EHIS_E_EXCHANGE_NO_REPLAY ? 1u << s->slot : 0); /* from now on, then */
        }
    log_line(code == EHIS_OK ? LOG_INFO : LOG_WARN, "sdk.subscription", F_SPAN("service", f.service), F_SPAN("event", f.event), F_ERR(code));
    if (code != EHIS_OK)
        session_note(s, code, "a subscription was refused");
    if (!is_stale) {
        events_subscribe(s->e); /* by way of the other gateways */
        return EHIS_OK;
    }
    for (struct handler *h = s->e->handlers; h; h = h->next) /* the gateway is out of date, not we: again when it is not */
        if (h->kind == HANDLER_SUBSCRIBE && span_eq(f.service, span_str(h->service)) && span_eq(f.event, span_str(h->operation)))
            h->told &= ~(1u << s->slot);
    s->is_ready_sent = false; /* the tick fetches, and then it is ready again */
    return EHIS_OK;
}

ehis_err session_frame(struct session *s, uint8_t type, struct span payload, struct ehis_why *why)
{
    const struct frame_rule *rule;
    EHIS_TRY(frame_check(type, FRAME_FROM_GATEWAY, s->state, &rule));
    if (s->state == FRAME_STATE_READY && !s->e->registry)
        return EHIS_E_SDK_NO_REGISTRY;
    switch (type) {
    case FRAME_HELLO: return on_hello(s, payload, why);
    case FRAME_REGISTRY: return on_registry(s, payload, why);
    case FRAME_CRL: return on_crl(s, payload, why);
    case FRAME_READY_STATE: return on_ready_state(s, payload, why);
    case FRAME_GOODBYE: return on_goodbye(s, payload, why);
    case FRAME_ERROR: return on_error(s, payload, why);
    case FRAME_STREAM_STATE: return sending_on_stream_state(s, payload, why);
    case FRAME_FLOW: return acks_on_flow(s, payload, why);
    case FRAME_RECEIPTS: return acks_on_receipts(s, payload, why);
    case FRAME_DELIVER: return receiving_on_deliver(s, payload, why);
    case FRAME_SKIPS: return receiving_on_skips(s, payload, why);
    case FRAME_SUBSCRIPTION: return on_subscription(s, payload, why);
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
        err = send_hello(s, l);
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
    set_ready(s, false);
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
    bool is_settled = clock_mono_ms(s->e->clock) >= s->settled_at_ms;
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

/* Nothing goes on with what has run out or is revoked: the next session fetches first. */
static ehis_err what_ran_out(const struct session *s, struct ehis_why *why)
{
    bool is_stale = false;
    ehis_err err = registry_check_time(s->e->registry, now_ms(s->e));
    if (err != EHIS_OK)
        return ehis_fail(why, err, "version %llu", (unsigned long long)registry_version(s->e->registry));
    EHIS_TRY(pki_trust_recheck(s->e->trust, &s->peer, now_ms(s->e), &is_stale, why));
    return is_stale ? ehis_fail(why, EHIS_E_CRL_EXPIRED, "a list of the gateway's authorities") : EHIS_OK;
}

void session_tick(struct session *s)
{
    struct ehis_why why = {""};
    int64_t now = clock_mono_ms(s->e->clock);
    if (!is_connected(s) || !s->is_hello)
        return;
    if (s->is_leaving && now >= s->ready_at_ms) {
        if (s->link)
            link_close(s->link);
    } else if (!s->is_ready && now >= s->ready_at_ms) {
        session_fail(s, EHIS_E_LINK_TIMEOUT);
    } else if (!s->is_ready_sent && !s->is_fetching_registry && !s->is_fetching_crl && now_ms(s->e) - s->registry_asked_ms >= 1000) {
        ehis_err err = ask_registry(s); /* READY was answered "stale": fetch again */
        if (err == EHIS_OK)
            err = ask_crl(s);
        if (err != EHIS_OK)
            session_fail(s, err);
    }
    ehis_err ran_out = s->is_ready ? what_ran_out(s, &why) : EHIS_OK;
    if (ran_out != EHIS_OK) {
        session_note(s, ran_out, why.text);
        session_fail(s, ran_out);
    }
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
