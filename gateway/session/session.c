/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* One session: the verdict on its peer, HELLO, READY, frames to the core, its end. */
#include "base/log.h"
#include "gateway/session/sessions_priv.h"
#include "proto/wire/record.h"
#include "proto/wire/scan.h"
#include "proto/wire/session_frames.h"
#include <stdlib.h>

#define SOFTWARE "ehis-gateway/0.1"
#define REFUSALS_PER_SECOND 20
#define CLOCK_NOTED_MS 30000
#define FETCHES_A_SECOND 32 /* each looks at the whole registry */

static void set_state(struct session *x, enum frame_state state)
{
    struct sessions_status *status = &x->all->status;
    status->ready -= x->state == FRAME_STATE_READY;
    status->ready += state == FRAME_STATE_READY;
    x->state = state;
}

/* ERROR, then the end in order. frame_type: the offending one, 0 for none. */
void session_fail(struct session *x, ehis_err err, uint8_t frame_type, const struct ehis_why *why)
{
    if (x->is_closing)
        return;
    x->is_closing = true;
    x->end_code = err;
    struct error frame = {.code = (uint32_t)err, .text = span_str(why ? why->text : ""), .frame_type = frame_type};
    buf_clear(&x->all->item);
    if (error_write(&frame, &x->all->item) == EHIS_OK) {
        struct span whole = buf_span(&x->all->item);
        (void)!link_send(x->link, FRAME_ERROR, &whole, 1); /* best effort: the link closes either way */
    }
    link_fail(x->link, err);
}

/* A peer that showed a good certificate and yet was turned away is on record; floods are cut to so many a second. */
static void note_refused(struct session *x, ehis_err err, const struct ehis_why *why)
{
    struct sessions *s = x->all;
    int64_t now = clock_wall_ms(s->clock);
    if (now >= s->refusals_until_ms || now < s->refusals_until_ms - 1000) {
        s->refusals_until_ms = now + 1000;
        s->refusals_left = REFUSALS_PER_SECOND;
    }
    if (s->refusals_left == 0 || !x->peer.leaf.id[0])
        return;
    s->refusals_left--;
    struct record r = {.kind = RECORD_SESSION_REFUSED, .code = (uint32_t)err, .system = span_str(x->peer.leaf.id),
                       .address = span_str(link_peer_address(x->link)), .text = span_str(why->text)};
    memcpy(r.certificate, x->peer.leaf.fingerprint.b, sizeof r.certificate);
    if (exchange_note(s->exchange, &r, now) != EHIS_OK)
        log_line(LOG_WARN, "session.refused.unrecorded", F_STR("system", x->peer.leaf.id));
}

static ehis_err check_registered(const struct session *x, struct ehis_why *why)
{
    const struct registry *r = x->all->identity.registry;
    struct span id = span_str(x->peer.leaf.id);
    const struct registry_owner *owner = registry_system(r, id);
    if (!owner)
        return ehis_fail(why, EHIS_E_SYSTEM_UNKNOWN, "%s", x->peer.leaf.id);
    if (owner->is_disabled)
        return ehis_fail(why, EHIS_E_SYSTEM_DISABLED, "%s", x->peer.leaf.id);
    ehis_err err = registry_check_pin(r, id, false, span_of(x->peer.leaf.spki, x->peer.leaf.spki_len), clock_wall_ms(x->all->clock));
    return err == EHIS_OK ? EHIS_OK : ehis_fail(why, err, "%s", x->peer.leaf.id);
}

static uint32_t sessions_of(const struct sessions *s, const char *system)
{
    uint32_t n = 0;
    for (const struct session *x = s->live; x; x = x->next)
        n += x->id != 0 && strcmp(x->peer.leaf.id, system) == 0;
    return n;
}

static ehis_err on_peer(void *arg, struct link *l, SSL *ssl, struct ehis_why *why)
{
    struct session *x = arg;
    struct pki_peer peer;
    (void)l;
    ehis_err err = pki_peer_check(ssl, clock_wall_ms(x->all->clock), &peer, why);
    if (err != EHIS_OK) {
        log_line(LOG_WARN, "session.refused", F_ERR(err), F_STR("address", link_peer_address(x->link)), F_STR("why", why->text));
    } else {
        x->peer = peer;
        err = check_registered(x, why);
        if (err == EHIS_OK && sessions_of(x->all, peer.leaf.id) >= x->all->limits.sessions_per_system)
            err = ehis_fail(why, EHIS_E_SESSIONS_FULL, "%s has %u sessions", peer.leaf.id, x->all->limits.sessions_per_system);
        if (err != EHIS_OK) {
            log_line(LOG_WARN, "session.refused", F_ERR(err), F_STR("system", peer.leaf.id), F_STR("address", link_peer_address(x->link)));
            note_refused(x, err, why);
        }
    }
    if (err != EHIS_OK) {
        x->all->status.refused++;
        x->end_code = err;
        struct error frame = {.code = (uint32_t)err, .text = span_str(why->text)};
        buf_clear(&x->all->item);
        if (error_write(&frame, &x->all->item) == EHIS_OK) {
            struct span whole = buf_span(&x->all->item);
            (void)!link_send(x->link, FRAME_ERROR, &whole, 1); /* best effort */
        }
    }
    return err;
}

static ehis_err take_slot(struct session *x)
{
    struct sessions *s = x->all;
    for (uint32_t tried = 0; tried < s->slot_count; tried++) {
        uint32_t at = s->slot_next++ % s->slot_count;
        if (!s->slots[at]) {
            s->slots[at] = x;
            x->id = ++s->id_count << SLOT_BITS | at;
            return EHIS_OK;
        }
    }
    return EHIS_E_SESSIONS_FULL;
}

static ehis_err send_hello(struct session *x)
{
    struct sessions *s = x->all;
    struct hello mine = {.version = PROTOCOL_VERSION,
                         .software = span_str(SOFTWARE),
                         .name = span_str(s->gateway),
                         .max_frame_bytes = (uint32_t)s->limits.link.max_frame_bytes,
                         .window_messages = s->limits.window_messages,
                         .window_bytes = s->limits.window_bytes,
                         .clock_ms = (uint64_t)clock_wall_ms(s->clock),
                         .registry_version = registry_version(s->identity.registry)};
    if (s->limits.is_replicating)
        mine.features[mine.feature_count++] = span_str(FEATURE_REPLICATES);
    if (s->blobs && s->limits.link.max_frame_bytes >= LARGE_FRAME_BYTES)
        mine.features[mine.feature_count++] = span_str(FEATURE_LARGE);
    memcpy(mine.registry_hash, registry_hash(s->identity.registry)->b, HASH_BYTES);
    memcpy(mine.crl_hash, pki_trust_crl_hash(s->identity.trust)->b, HASH_BYTES);
    buf_clear(&s->item);
    EHIS_TRY(hello_write(&mine, &s->item));
    struct span whole = buf_span(&s->item);
    return link_send(x->link, FRAME_HELLO, &whole, 1);
}

static ehis_err on_hello(struct session *x, struct span payload, struct ehis_why *why)
{
    static const uint8_t nobody[16];
    struct sessions *s = x->all;
    struct hello h;
    EHIS_TRY(hello_read(payload, &h, why));
    if (h.version != PROTOCOL_VERSION)
        return ehis_fail(why, EHIS_E_PROTOCOL_VERSION, "%u, not %u", h.version, PROTOCOL_VERSION);
    if (!span_eq(h.name, span_str(x->peer.leaf.id)))
        return ehis_fail(why, EHIS_E_PROTOCOL_HELLO, "the name is not the certificate's");
    if (memcmp(h.state_id, nobody, sizeof nobody) == 0 || h.max_frame_bytes < 65536)
        return ehis_fail(why, EHIS_E_PROTOCOL_HELLO, "state_id is missing, or max_frame_bytes is below 65536");
    if (sessions_of(s, x->peer.leaf.id) >= s->limits.sessions_per_system) /* several shook hands at once */
        return ehis_fail(why, EHIS_E_SESSIONS_FULL, "%s has %u sessions", x->peer.leaf.id, s->limits.sessions_per_system);
    EHIS_TRY(take_slot(x));
    struct exchange_peer peer = {.id = x->id, .system = span_str(x->peer.leaf.id), .address = span_str(link_peer_address(x->link))};
    memcpy(peer.certificate, x->peer.leaf.fingerprint.b, sizeof peer.certificate);
    memcpy(peer.state_id, h.state_id, sizeof peer.state_id);
    for (size_t i = 0; i < h.feature_count; i++)
        peer.takes_large |= span_eq(h.features[i], span_str(FEATURE_LARGE)) && h.max_frame_bytes >= LARGE_FRAME_BYTES;
    x->takes_large = peer.takes_large;
    EHIS_TRY(exchange_session_open(s->exchange, &peer, clock_wall_ms(s->clock)));
    x->is_noted = true;
    s->status.opened++;
    x->is_half_open = false;
    s->status.half_open--;
    link_set_trusted(x->link, s->limits.link.max_frame_bytes);
    link_set_send_max(x->link, h.max_frame_bytes);
    if (h.registry_version == registry_version(s->identity.registry) && memcmp(h.registry_hash, registry_hash(s->identity.registry)->b, HASH_BYTES) == 0)
        x->registry_version = h.registry_version;
    set_state(x, FRAME_STATE_FETCH);
    int64_t ahead_ms = (int64_t)h.clock_ms - clock_wall_ms(s->clock); /* for people: nothing is decided by it */
    if (h.clock_ms && h.clock_ms <= INT64_MAX / 2 && (ahead_ms > CLOCK_NOTED_MS || ahead_ms < -CLOCK_NOTED_MS))
        log_line(LOG_WARN, "session.clock", F_STR("system", x->peer.leaf.id), F_I64("ahead_ms", ahead_ms));
    log_line(LOG_INFO, "session.open", F_U64("session", x->id), F_STR("system", x->peer.leaf.id), F_STR("address", link_peer_address(x->link)),
             F_SPAN("software", h.software));
    EHIS_TRY(send_hello(x));
    if (s->is_draining)
        session_fail(x, EHIS_E_EXCHANGE_DRAINING, 0, NULL);
    return EHIS_OK;
}

/* Ready only with the registry that we hold, and while ours and the lists are in date. */
static ehis_err readiness(const struct session *x)
{
    const struct sessions_identity *id = &x->all->identity;
    int64_t now = clock_wall_ms(x->all->clock);
    if (pki_trust_crl_expiry_ms(id->trust) <= now)
        return EHIS_E_CRL_STALE;
    if (x->registry_version != registry_version(id->registry))
        return EHIS_E_REGISTRY_STALE;
    return registry_check_time(id->registry, now);
}

static ehis_err on_ready(struct session *x, struct span payload, struct ehis_why *why)
{
    session_push_owed(x);
    ehis_err code = readiness(x);
    if (code == EHIS_OK) {
        set_state(x, FRAME_STATE_READY);
        return exchange_on_ready(x->all->exchange, x->id, payload, clock_wall_ms(x->all->clock), why);
    }
    struct ready_state answer = {.code = (uint32_t)code, .retry_ms = 1000};
    buf_clear(&x->all->item);
    EHIS_TRY(ready_state_write(&answer, &x->all->item));
    struct span whole = buf_span(&x->all->item);
    return link_send(x->link, FRAME_READY_STATE, &whole, 1);
}

/* More than the window: not taken, said so, nothing recorded. */
static ehis_err flow_busy(struct session *x, struct span payload, struct ehis_why *why)
{
    struct envelope e;
    struct hash sealed;
    struct flow frame = {.code = EHIS_E_EXCHANGE_BUSY, .retry_ms = 100};
    EHIS_TRY(envelope_read(payload, &e, why));
    hash_span(e.sealed, &sealed);
    struct hash digest;
    hash_envelope(e.header, e.sealed.len, &sealed, &digest);
    memcpy(frame.digest, digest.b, sizeof frame.digest);
    buf_clear(&x->all->item);
    EHIS_TRY(flow_write(&frame, &x->all->item));
    struct span whole = buf_span(&x->all->item);
    return link_send(x->link, FRAME_FLOW, &whole, 1);
}

/* What waits for the disk: all that was submitted in the open group, and in the one that is being written. */
static bool has_window(struct session *x, size_t bytes)
{
    const struct sessions_limits *most = &x->all->limits;
    const struct journal *j = x->all->journal;
    uint64_t group = journal_open_group(j);
    if (group != x->group) {
        x->in_sealed = x->in_open;
        x->in_open.count = x->in_open.bytes = 0;
        x->group = group;
    }
    if (!journal_is_writing(j))
        x->in_sealed.count = x->in_sealed.bytes = 0;
    if (journal_open_bytes(j) == 0) /* what came was answered at once */
        x->in_open.count = x->in_open.bytes = 0;
    return x->in_open.count + x->in_sealed.count < most->window_messages && x->in_open.bytes + x->in_sealed.bytes + bytes <= most->window_bytes;
}

static ehis_err on_submit(struct session *x, struct span payload, struct ehis_why *why)
{
    if (!has_window(x, payload.len))
        return flow_busy(x, payload, why);
    x->in_open.count++;
    x->in_open.bytes += payload.len;
    return exchange_on_submit(x->all->exchange, x->id, payload, clock_wall_ms(x->all->clock), why);
}

static ehis_err count_fetch(struct session *x, struct ehis_why *why)
{
    return x->fetches++ < FETCHES_A_SECOND ? EHIS_OK : ehis_fail(why, EHIS_E_EXCHANGE_BUSY, "more than %d fetches in a second", FETCHES_A_SECOND);
}

static ehis_err dispatch(struct session *x, uint8_t type, struct span payload, struct ehis_why *why)
{
    struct exchange *core = x->all->exchange;
    int64_t now = clock_wall_ms(x->all->clock);
    switch (type) {
    case FRAME_HELLO:
        return on_hello(x, payload, why);
    case FRAME_REGISTRY_GET: {
        struct registry_get get;
        EHIS_TRY(count_fetch(x, why));
        EHIS_TRY(registry_get_read(payload, &get, why));
        session_push_registry(x, get.have_version);
        return EHIS_OK;
    }
    case FRAME_CRL_GET:
        EHIS_TRY(count_fetch(x, why));
        EHIS_TRY(scan(frame_rule(type)->table, payload, NULL, 0, why));
        session_push_crl(x);
        return EHIS_OK;
    case FRAME_READY:
        return on_ready(x, payload, why);
    case FRAME_SUBMIT:
        return on_submit(x, payload, why);
    case FRAME_ACK:
        return exchange_on_acks(core, x->id, payload, now, why);
    case FRAME_STREAM_OPEN:
        return exchange_on_stream_open(core, x->id, payload, now, why);
    case FRAME_STREAM_SETTLED:
        return exchange_on_stream_settled(core, x->id, payload, now, why);
    case FRAME_SUBSCRIBE:
        return exchange_on_subscribe(core, x->id, payload, now, why);
    case FRAME_KEYS_GET:
        return exchange_on_keys_get(core, x->id, payload, now, why);
    case FRAME_BLOB_PUT:
        return session_on_blob_put(x, payload, why);
    case FRAME_BLOB_GET:
        return session_on_blob_get(x, payload, why);
    case FRAME_GOODBYE: {
        struct goodbye g;
        EHIS_TRY(goodbye_read(payload, &g, why));
        set_state(x, FRAME_STATE_DRAINING); /* it closes when it has finished */
        return EHIS_OK;
    }
    case FRAME_ERROR: {
        struct error e;
        EHIS_TRY(error_read(payload, &e, why));
        log_line(LOG_WARN, "session.peer_error", F_U64("session", x->id), F_STR("system", x->peer.leaf.id), F_U64("peer_code", e.code), F_SPAN("why", e.text));
        x->is_closing = true;
        link_close(x->link);
        return EHIS_OK;
    }
    default:
        return EHIS_E_FRAME_OUT_OF_STATE;
    }
}

static void on_frame(void *arg, struct link *l, uint8_t type, struct span payload)
{
    struct session *x = arg;
    const struct frame_rule *rule;
    struct ehis_why why = {""};
    (void)l;
    if (x->is_closing)
        return;
    ehis_err err = frame_check(type, FRAME_FROM_SYSTEM, x->state, &rule);
    if (err == EHIS_OK)
        err = dispatch(x, type, payload, &why);
    if (err == EHIS_OK)
        return;
    log_line(LOG_WARN, "session.violation", F_ERR(err), F_U64("session", x->id), F_STR("system", x->peer.leaf.id), F_U64("frame", type), F_STR("why", why.text));
    if (!x->is_noted)
        note_refused(x, err, &why);
    session_fail(x, err, type, &why);
}

static void on_fault(void *arg, struct link *l, enum link_end end, ehis_err err)
{
    struct session *x = arg;
    (void)end;
    if (x->is_closing)
        return;
    x->end_code = err;
    if (!x->is_noted)
        note_refused(x, err, &(struct ehis_why){""});
    struct error frame = {.code = (uint32_t)err};
    buf_clear(&x->all->item);
    if (error_write(&frame, &x->all->item) == EHIS_OK) {
        struct span whole = buf_span(&x->all->item);
        (void)!link_send(l, FRAME_ERROR, &whole, 1); /* best effort */
    }
}

static void on_room(void *arg, struct link *l)
{
    struct session *x = arg;
    (void)l;
    session_answers_room(x);
    if (x->id)
        exchange_session_room(x->all->exchange, x->id, clock_wall_ms(x->all->clock));
}

static void on_end(void *arg, struct link *l, enum link_end end, ehis_err err, const char *detail)
{
    struct session *x = arg;
    struct sessions *s = x->all;
    struct link_stats stats;
    struct ehis_why why = {""};
    link_stats(l, &stats);
    s->status.ended[end]++;
    s->status.bytes_in += stats.bytes_in;
    s->status.bytes_out += stats.bytes_out;
    ehis_err code = x->end_code != EHIS_OK ? x->end_code : err;
    if (end == LINK_END_HANDSHAKE && pki_handshake_error(link_ssl(l), &why) != EHIS_OK)
        code = pki_handshake_error(link_ssl(l), &why);
    log_line(end == LINK_END_LOCAL || end == LINK_END_PEER ? LOG_INFO : LOG_WARN, "session.end", F_U64("session", x->id), F_STR("system", x->peer.leaf.id),
             F_STR("address", link_peer_address(l)), F_STR("end", link_end_name(end)), F_ERR(code), F_STR("detail", why.text[0] ? why.text : detail));
    if (x->is_noted)
        exchange_session_ended(s->exchange, x->id, code, span_str(link_end_name(end)), clock_wall_ms(s->clock));
    set_state(x, FRAME_STATE_HELLO);
    for (size_t i = 0; i < s->touched_count; i++)
        if (s->touched[i] == x)
            s->touched[i] = NULL;
    if (x->id)
        s->slots[x->id & ((1u << SLOT_BITS) - 1)] = NULL;
    if (x->prev)
        x->prev->next = x->next;
    else
        s->live = x->next;
    session_push_leaves(x);
    if (x->next)
        x->next->prev = x->prev;
    s->status.sessions--;
    s->status.half_open -= x->is_half_open;
    session_answers_free(x);
    free(x);
}

const struct link_events session_events = {.on_peer = on_peer, .on_frame = on_frame, .on_fault = on_fault, .on_room = on_room, .on_end = on_end,
                                           .ping_type = FRAME_PING, .pong_type = FRAME_PONG};

/* After a reload, and as time passes (R10). */
void session_recheck(struct session *x)
{
    struct ehis_why why = {""};
    int64_t now = clock_wall_ms(x->all->clock);
    if (!x->peer.leaf.id[0] || x->is_closing)
        return;
    ehis_err err = pki_trust_recheck(x->all->identity.trust, &x->peer, now, NULL, &why);
    if (err == EHIS_E_CRL_EXPIRED)
        return; /* our own lists ran out: nobody is judged by them, and the core is halted */
    if (err == EHIS_OK)
        err = check_registered(x, &why);
    if (err != EHIS_OK) {
        log_line(LOG_NOTICE, "session.revoked", F_ERR(err), F_U64("session", x->id), F_STR("system", x->peer.leaf.id), F_STR("why", why.text));
        session_fail(x, err, 0, &why);
    }
}
