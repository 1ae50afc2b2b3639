/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
#include "gateway/session/sessions.h"
#include "base/log.h"
#include "gateway/session/sessions_priv.h"
#include "proto/wire/session_frames.h"
#include <stdlib.h>
#include <unistd.h>

#define PAYLOAD_MAX_BYTES (2 * 1024 * 1024)
#define TEXT_MAX_BYTES (256 * 1024 * 1024)
#define PART_MAX_BYTES (16 * 1024 * 1024)

ehis_err sessions_new(struct loop *loop, const struct clock *clock, const char *gateway, const struct sessions_limits *limits, struct sessions **out)
{
    struct sessions *s = calloc(1, sizeof *s);
    if (!s || strlen(gateway) > IDENTIFIER_MAX_BYTES || limits->sessions_max > 1u << SLOT_BITS) {
        free(s);
        return s ? EHIS_E_TOO_LARGE : EHIS_E_NO_MEMORY;
    }
    s->loop = loop;
    s->clock = clock;
    s->limits = *limits;
    memcpy(s->gateway, gateway, strlen(gateway));
    s->slot_count = limits->sessions_max;
    s->slots = calloc(s->slot_count, sizeof(struct session *));
    buf_init(&s->statement_text, TEXT_MAX_BYTES);
    buf_init(&s->payload, PAYLOAD_MAX_BYTES);
    buf_init(&s->item, PAYLOAD_MAX_BYTES);
    buf_init(&s->part.bytes, PART_MAX_BYTES);
    tree_init(&s->tree);
    if (!s->slots || sessions_push_init(s) != EHIS_OK) {
        sessions_free(s);
        return EHIS_E_NO_MEMORY;
    }
    *out = s;
    return EHIS_OK;
}

static void identity_free(struct sessions_identity *id)
{
    SSL_CTX_free(id->tls);
    pki_trust_unref(id->trust);
    registry_unref(id->registry);
    sign_key_free(id->sign_key);
    *id = (struct sessions_identity){0};
}

static void stop_listening(struct sessions *s)
{
    while (s->listener_count > 0) {
        s->listener_count--;
        loop_io_free(s->listeners[s->listener_count].io);
        close(s->listeners[s->listener_count].fd);
    }
    loop_timer_free(s->accept_again);
    s->accept_again = NULL;
}

void sessions_free(struct sessions *s)
{
    if (!s)
        return;
    EHIS_ASSERT(!s->live);
    stop_listening(s);
    loop_timer_free(s->push_turn);
    identity_free(&s->identity);
    buf_fini(&s->statement_text);
    buf_fini(&s->payload);
    buf_fini(&s->item);
    buf_fini(&s->part.bytes);
    tree_fini(&s->tree);
    free(s->statements);
    free(s->leaves);
    free(s->touched);
    free(s->slots);
    free(s);
}

void sessions_set_exchange(struct sessions *s, struct exchange *x) { s->exchange = x; }
void sessions_set_journal(struct sessions *s, const struct journal *j) { s->journal = j; }

void sessions_set_limits(struct sessions *s, const struct sessions_limits *limits)
{
    uint32_t slots = s->slot_count; /* fixed at the start */
    s->limits = *limits;
    if (s->limits.sessions_max > slots)
        s->limits.sessions_max = slots;
}

struct session *session_find(const struct sessions *s, session_id id)
{
    uint32_t at = id & ((1u << SLOT_BITS) - 1);
    struct session *x = at < s->slot_count ? s->slots[at] : NULL;
    return x && x->id == id && !x->is_closing ? x : NULL;
}

const struct sessions_identity *sessions_get_identity(const struct sessions *s) { return &s->identity; }

/* Past the lists' time nobody's right is known: nothing goes on until there are newer ones. */
static void halt_if_stale(struct sessions *s)
{
    bool is_stale = pki_trust_crl_expiry_ms(s->identity.trust) <= clock_wall_ms(s->clock);
    exchange_halt(s->exchange, is_stale ? EHIS_E_CRL_STALE : EHIS_OK);
}

void sessions_set_identity(struct sessions *s, struct sessions_identity *identity)
{
    struct sessions_identity old = s->identity;
    s->identity = *identity;
    *identity = (struct sessions_identity){0};
    s->part.system = (struct span){0};
    bool is_new_registry = !old.registry || registry_version(old.registry) != registry_version(s->identity.registry);
    bool is_new_crl = !old.trust || memcmp(pki_trust_crl_hash(old.trust), pki_trust_crl_hash(s->identity.trust), HASH_BYTES) != 0;
    for (struct session *x = s->live; x; x = x->next)
        session_recheck(x);
    sessions_push_all(s, old.registry ? registry_version(old.registry) : 0, is_new_registry && old.registry, is_new_crl);
    identity_free(&old);
    halt_if_stale(s);
}

void sessions_tick(struct sessions *s)
{
    halt_if_stale(s);
    for (struct session *x = s->live; x; x = x->next) {
        x->fetches = 0;
        session_recheck(x);
    }
}

static void say_goodbye(struct session *x)
{
    struct goodbye g = {.code = EHIS_E_EXCHANGE_DRAINING, .retry_ms = 1000};
    buf_clear(&x->all->item);
    if (x->id == 0 || goodbye_write(&g, &x->all->item) != EHIS_OK)
        return;
    struct span whole = buf_span(&x->all->item);
    (void)!link_send(x->link, FRAME_GOODBYE, &whole, 1); /* best effort */
}

void sessions_drain(struct sessions *s)
{
    s->is_draining = true;
    stop_listening(s);
    for (struct session *x = s->live; x; x = x->next)
        say_goodbye(x);
}

void sessions_close(struct sessions *s)
{
    for (struct session *x = s->live; x; x = x->next)
        if (!x->is_closing) {
            x->is_closing = true;
            link_close(x->link);
        }
}

void sessions_status(const struct sessions *s, struct sessions_status *out)
{
    *out = s->status;
    for (const struct session *x = s->live; x; x = x->next) {
        struct link_stats live;
        link_stats(x->link, &live);
        out->bytes_in += live.bytes_in;
        out->bytes_out += live.bytes_out;
    }
}

struct end_order {
    struct sessions *sessions;
    session_id id;
    ehis_err code;
};

static void on_end_order(void *arg)
{
    struct end_order *order = arg;
    struct session *x = session_find(order->sessions, order->id);
    if (x)
        session_fail(x, order->code, 0, NULL);
    free(order);
}

/* Later: the core is in the middle of something. */
void sessions_end(struct sessions *s, session_id id, ehis_err code)
{
    struct end_order *order = malloc(sizeof *order);
    EHIS_ASSERT(order);
    *order = (struct end_order){s, id, code};
    loop_later(s->loop, on_end_order, order);
}

void sessions_abort(struct sessions *s)
{
    for (struct session *x = s->live; x; x = x->next)
        link_abort(x->link);
}
