/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* What waits for its group to be durable, in the order of the groups, and what follows then. */
#include "gateway/exchange/exchange_priv.h"

#include <stdlib.h>

static void became_durable(struct exchange *x, struct message *m, uint8_t state)
{
    struct message *copy = m->kind == KIND_KEY && state == STATE_ACCEPTED ? exchange_guest_find(x, &m->digest, NULL) : NULL;
    m->durable = state;
    if (copy) /* by way of another gateway: once is enough */
        exchange_message_drop(x, copy);
    bool is_response = m->kind == KIND_RESPONSE && message_is(m, IS_WAITING);
    if (m->guest) {
        exchange_guest_ended(x, m);
        return;
    }
    if (state == STATE_ACCEPTED && is_response && m->gateway) {
        exchange_guest_answered(x, m->peer, m);
    } else if (state == STATE_ACCEPTED && is_response) {
        if (m->peer) {
            m->peer->durable = m->peer->state;
            exchange_message_settle(x, m->peer);
        }
        exchange_respond(x, m);
    }
    exchange_owe(x, m);
    if (x->is_carried && message_is_numbered(m))
        exchange_skips_to_bus(x, m);
    if (state == STATE_ACCEPTED && message_is(m, IS_OPEN) && (m->kind != KIND_KEY || x->is_carried))
        exchange_to_bus(x, m, NULL);
}

/* Skips may go now. */
static void wake_lanes(struct exchange *x, struct message *m)
{
    for (struct delivery *d = m->deliveries; d; d = d->next)
        if (d->lane)
            exchange_lane_wake(x, d->lane);
}

void exchange_on_durable(struct exchange *x, uint64_t group, int64_t now_ms)
{
    x->now_ms = now_ms;
    if (group > x->durable_group)
        x->durable_group = group;
    while (x->pending_count && x->pending[x->pending_at].group <= group) {
        struct pending p = x->pending[x->pending_at];
        x->pending_at = (x->pending_at + 1) % x->pending_cap;
        x->pending_count--;
        if (p.message) {
            if (p.state)
                became_durable(x, p.message, p.state);
            if (p.state != STATE_ACCEPTED)
                wake_lanes(x, p.message);
            p.message->pending--;
            exchange_message_settle(x, p.message);
            continue;
        }
        struct session *s = exchange_session_find(x, p.session);
        if (s && exchange_frame(x, s, p.frame_type, p.frame) != EHIS_OK)
            x->ports.end_session(x->ports.ctx, s->id, EHIS_E_LINK_FULL);
        free((void *)(uintptr_t)p.frame.p);
    }
    exchange_pump(x);
}

ehis_err exchange_pend_reserve(struct exchange *x, size_t n)
{
    if (x->pending_count + n <= x->pending_cap)
        return EHIS_OK;
    size_t cap = x->pending_cap ? x->pending_cap : 256;
    while (cap < x->pending_count + n)
        cap *= 2;
    struct pending *grown = calloc(cap, sizeof *grown);
    if (!grown)
        return EHIS_E_NO_MEMORY;
    for (size_t i = 0; i < x->pending_count; i++)
        grown[i] = x->pending[(x->pending_at + i) % x->pending_cap];
    free(x->pending);
    x->pending = grown;
    x->pending_at = 0;
    x->pending_cap = cap;
    return EHIS_OK;
}

void exchange_pend(struct exchange *x, struct message *m, uint8_t state)
{
    EHIS_ASSERT(x->pending_count < x->pending_cap && m->pending < UINT16_MAX);
    m->pending++;
    x->pending[(x->pending_at + x->pending_count++) % x->pending_cap] =
        (struct pending){.group = x->ports.open_group(x->ports.ctx), .message = m, .state = state};
}

ehis_err exchange_pend_frame(struct exchange *x, const struct session *s, uint8_t type, struct span frame)
{
    EHIS_TRY(exchange_pend_reserve(x, 1));
    uint8_t *copy = malloc(frame.len + 1);
    if (!copy)
        return EHIS_E_NO_MEMORY;
    memcpy(copy, frame.p, frame.len);
    x->pending[(x->pending_at + x->pending_count++) % x->pending_cap] = (struct pending){
        .group = x->ports.open_group(x->ports.ctx), .session = s->id, .frame_type = type, .frame = span_of(copy, frame.len)};
    return EHIS_OK;
}
