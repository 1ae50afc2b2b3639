/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* The registry's part and the revocation lists on their way to a session that asks, and after a reload to all: a few in each turn of the loop, for a part is
 * made for each system, and calls go on meanwhile. Who has not heard yet names its older registry, and fetches it where it needs the new one. */
#include "gateway/session/sessions_priv.h"
#include "proto/wire/session_frames.h"

#define PUSH_TURN_MS 2

static ehis_err make_part(struct sessions *s, struct span system, uint64_t have, struct ehis_why *why)
{
    struct registry *r = s->identity.registry;
    if (span_eq(s->part.system, system) && s->part.version == registry_version(r) && s->part.have == have && s->part.bytes.len)
        return EHIS_OK;
    buf_clear(&s->part.bytes);
    s->part.system = (struct span){0};
    EHIS_TRY(registry_part(r, system, have, &s->part.bytes, why));
    const struct registry_owner *owner = registry_system(r, system);
    s->part.system = owner ? owner->id : (struct span){0};
    s->part.version = registry_version(r);
    s->part.have = have;
    return EHIS_OK;
}

void session_push_registry(struct session *x, uint64_t have_version)
{
    struct sessions *s = x->all;
    struct ehis_why why = {""};
    ehis_err err = make_part(s, span_str(x->peer.leaf.id), have_version, &why);
    if (err == EHIS_OK) {
        struct span whole = buf_span(&s->part.bytes);
        err = link_send(x->link, FRAME_REGISTRY, &whole, 1);
    }
    if (err == EHIS_OK)
        x->registry_version = registry_version(s->identity.registry);
    else
        session_fail(x, err, FRAME_REGISTRY_GET, &why);
}

void session_push_crl(struct session *x)
{
    struct crl frame = {.der = pki_trust_crl_bundle(x->all->identity.trust)};
    buf_clear(&x->all->payload);
    x->owes_crl = false;
    ehis_err err = crl_write(&frame, &x->all->payload);
    if (err == EHIS_OK) {
        struct span whole = buf_span(&x->all->payload);
        err = link_send(x->link, FRAME_CRL, &whole, 1);
    }
    if (err != EHIS_OK)
        session_fail(x, err, FRAME_CRL_GET, NULL);
}

/* Both again where a reload came before all had heard of the last: none is given less than it lacks. */
void session_push_owed(struct session *x)
{
    const uint64_t version = registry_version(x->all->identity.registry);
    if (x->owes_registry && x->registry_version != version && !x->is_closing)
        session_push_registry(x, x->registry_version ? x->registry_version : x->all->pushed_from);
    if (x->owes_crl && !x->is_closing)
        session_push_crl(x);
    x->owes_registry = x->owes_crl = false;
}

static void on_push(void *arg)
{
    struct sessions *s = arg;
    const int64_t until_ms = clock_mono_ms(s->clock) + PUSH_TURN_MS;
    while (s->push_next && clock_mono_ms(s->clock) < until_ms) {
        struct session *x = s->push_next;
        s->push_next = x->next;
        session_push_owed(x);
    }
    if (s->push_next)
        loop_timer_set(s->push_turn, 0);
}

ehis_err sessions_push_init(struct sessions *s) { return loop_timer_new(s->loop, on_push, s, &s->push_turn); }

void sessions_push_all(struct sessions *s, uint64_t from_version, bool registry, bool crl)
{
    if (!s->push_next)
        s->pushed_from = from_version;
    for (struct session *x = s->live; x; x = x->next) {
        x->owes_registry |= registry && x->id != 0;
        x->owes_crl |= crl && x->id != 0;
    }
    s->push_next = s->live; /* who comes now comes before it, and hears it in HELLO */
    loop_timer_set(s->push_turn, 0);
}

void session_push_leaves(const struct session *x)
{
    if (x->all->push_next == x)
        x->all->push_next = x->next;
}
