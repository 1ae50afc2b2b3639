/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* How a session gets ready and stays so: HELLO, registry and revocation lists, the gateway's pin, READY; and again whenever something changes. */
#include "adapters/sdk/ehis_priv.h"
#include "base/log.h"

#define SETTLED_MS 5000 /* a session that one side ends sooner counts as a failure: no storm of them */
#define FETCH_MS 15000 /* from HELLO to READY_STATE */

ehis_err readiness_hello(struct session *s, struct link *l)
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
    s->registry_asked_ms = mono_ms(s->e);
    return session_send(s, FRAME_REGISTRY_GET, buf_span(&s->e->item));
}

static ehis_err ask_crl(struct session *s)
{
    bool is_asked = s->is_fetching_crl;
    s->is_fetching_crl = true;
    return is_asked ? EHIS_OK : session_send(s, FRAME_CRL_GET, (struct span){0});
}

/* A newer registry is named somewhere, or the gateway says that ours is stale: ask, at most once a second. */
void readiness_want_registry(struct session *s)
{
    if (!s->is_hello || mono_ms(s->e) - s->registry_asked_ms < 1000)
        return;
    s->is_ready_sent = false;
    if (ask_registry(s) != EHIS_OK || ask_crl(s) != EHIS_OK)
        session_fail(s, EHIS_E_LINK_FULL);
}

void readiness_say(struct session *s)
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
    readiness_say(s);
    return EHIS_OK;
}

ehis_err readiness_on_hello(struct session *s, struct span payload, struct ehis_why *why)
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
    s->ready_at_ms = mono_ms(s->e) + FETCH_MS;
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

ehis_err readiness_on_registry(struct session *s, struct span payload, struct ehis_why *why)
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
        session_set_ready(s, true);
    }
    receiving_again(s->e);
    turn_soon(s->e);
    return s->is_ready ? EHIS_OK : get_ready(s, why);
}

ehis_err readiness_on_crl(struct session *s, struct span payload, struct ehis_why *why)
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

ehis_err readiness_on_state(struct session *s, struct span payload, struct ehis_why *why)
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
    s->settled_at_ms = mono_ms(s->e) + SETTLED_MS;
    s->retry_ms = 0;
    session_set_ready(s, true);
    if (is_first)
        log_line(LOG_INFO, "sdk.session.ready", F_STR("gateway", s->peer.leaf.id), F_BOOL("streams", f.has_streams));
    events_subscribe(s->e);
    receiving_again(s->e);
    turn_soon(s->e);
    return EHIS_OK;
}

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

void readiness_again(struct session *s)
{
    if (!s->is_ready_sent && !s->is_fetching_registry && !s->is_fetching_crl && mono_ms(s->e) - s->registry_asked_ms >= 1000) {
        ehis_err err = ask_registry(s); /* READY was answered "stale": fetch again */
        if (err == EHIS_OK)
            err = ask_crl(s);
        if (err != EHIS_OK)
            session_fail(s, err);
    }
}

void readiness_check(struct session *s)
{
    struct ehis_why why = {""};
    ehis_err ran_out = s->is_ready ? what_ran_out(s, &why) : EHIS_OK;
    if (ran_out != EHIS_OK) {
        session_note(s, ran_out, why.text);
        session_fail(s, ran_out);
    }
}
