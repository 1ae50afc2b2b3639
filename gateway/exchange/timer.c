/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* Time: a wheel of seconds for messages, so that each second looks at its own slot alone; lanes that wait; aggregates of refusals. */
#include "gateway/exchange/exchange_priv.h"

static bool is_flying(const struct message *m)
{
    for (const struct delivery *d = m->deliveries; d; d = d->next)
        if (d->session && d->lane && !d->skip)
            return true;
    return false;
}

static bool waits_for_bus(const struct exchange *x, const struct message *m)
{
    return !x->is_carried && m->durable == STATE_ACCEPTED && m->kind != KIND_KEY && message_is(m, IS_OPEN) && !(m->flags & (IS_ARRIVED | IS_SENT));
}

/* What is in flight in a stream, or with another gateway, has a minute more: the word that it was taken in time may be on its way. */
static int64_t grace_ms(const struct exchange *x, const struct message *m)
{
    return is_flying(m) || (x->is_carried && !m->guest && message_is(m, IS_SENT)) ? DUPLICATE_MS : 0;
}

/* When something is to be done about it, if nothing happens. */
static int64_t due_ms(const struct exchange *x, const struct message *m)
{
    if (waits_for_bus(x, m))
        return x->now_ms + 1000 < m->expires_ms ? x->now_ms + 1000 : m->expires_ms;
    if (message_is(m, IS_OPEN))
        return m->expires_ms + grace_ms(x, m);
    if (!message_is_numbered(m))
        return m->expires_ms + (message_is(m, IS_WAITING) ? FORGET_MS : DUPLICATE_MS);
    if (message_is(m, NEEDS_REPLY) && !message_is(m, IS_REPLIED))
        return m->expires_ms + DUPLICATE_MS;
    return (m->expires_ms > m->since_ms ? m->expires_ms : m->since_ms) + UNSETTLED_MS;
}

void exchange_message_schedule(struct exchange *x, struct message *m)
{
    if (message_is(m, IS_TRANSIENT))
        return;
    int64_t at_s = due_ms(x, m) / 1000 + 1;
    if (at_s < x->wheel_s)
        at_s = x->wheel_s;
    m->wheel_at_s = at_s < UINT32_MAX ? (uint32_t)at_s : UINT32_MAX;
    node_move(&x->wheel[(uint64_t)at_s % WHEEL_SLOTS], &m->in_wheel);
}

/* Its time has come; may drop it. */
static void due(struct exchange *x, struct message *m)
{
    int64_t late_ms = x->now_ms - m->expires_ms;
    if (late_ms < 0 && waits_for_bus(x, m))
        exchange_to_bus(x, m, NULL);
    if (late_ms >= 0 && message_is(m, IS_OPEN) && m->kind == KIND_KEY) {
        exchange_message_close(x, m);
    } else if (late_ms >= grace_ms(x, m) && m->kind == KIND_EVENT && message_is(m, IS_UNSURE) && message_is(m, IS_OPEN)) {
        exchange_on_carried(x, &m->digest, false, x->now_ms); /* its subscribers may have it: not expired, and never called replicated */
        return;
    } else if (late_ms >= grace_ms(x, m) && message_is(m, IS_OPEN) && !m->pending) {
        ehis_err err = exchange_finish(x, m, NULL, RECORD_EXPIRED, EHIS_E_EXCHANGE_EXPIRED, span_of(NULL, 0), NULL);
        (void)err; /* no room for the record: again in a second */
    } else if (late_ms >= (message_is(m, IS_WAITING) ? FORGET_MS : DUPLICATE_MS) && !message_is(m, IS_OPEN)) {
        m->flags &= (uint16_t)~NEEDS_REPLY;
        if (!message_is_numbered(m) || late_ms >= UNSETTLED_MS) {
            while (m->deliveries) /* skips that nobody fetched */
                exchange_delivery_drop(x, m->deliveries);
            node_remove(&m->in_owed);
            m->flags |= IS_FORGOTTEN;
            if (message_is(m, IS_WAITING) && exchange_id_ms(m->id) > m->sender->forgotten_ms)
                m->sender->forgotten_ms = exchange_id_ms(m->id);
        }
    }
    exchange_message_schedule(x, m);
    exchange_message_settle(x, m);
}

/* The seconds up to now, each slot taken aside whole: what is scheduled meanwhile waits for its own. False: the budget is spent. */
static bool turn_wheel(struct exchange *x)
{
    int64_t now_s = x->now_ms / 1000;
    if (now_s - x->wheel_s > WHEEL_SLOTS) /* once around is all of it; also the first time */
        x->wheel_s = now_s - WHEEL_SLOTS;
    if (now_s + 1 < x->wheel_s) /* the clock was set back */
        x->wheel_s = now_s;
    for (size_t budget = DUE_A_TICK;; budget--) {
        while (list_is_empty(&x->visiting)) {
            if (x->wheel_s > now_s)
                return true;
            struct node *slot = &x->wheel[(uint64_t)x->wheel_s++ % WHEEL_SLOTS];
            if (list_is_empty(slot))
                continue;
            node_insert_after(slot->prev, &x->visiting);
            node_remove(slot);
        }
        if (budget == 0)
            return false;
        struct message *m = container_of(x->visiting.next, struct message, in_wheel);
        if (m->wheel_at_s <= now_s)
            due(x, m);
        else
            node_move(&x->wheel[m->wheel_at_s % WHEEL_SLOTS], &m->in_wheel);
    }
}

static void wake_blocked(struct exchange *x)
{
    for (struct node *n = x->blocked.next, *next; n != &x->blocked; n = next) {
        struct lane *l = container_of(n, struct lane, in_blocked);
        next = n->next;
        bool has_handler = l->readies < l->to->readies; /* maybe: it has said READY since */
        if (!has_handler && x->now_ms < l->blocked_until_ms && l->blocked_until_ms - x->now_ms <= BACKOFF_MAX_MS)
            continue;
        l->blocked_until_ms = 0;
        node_remove(&l->in_blocked);
        exchange_lane_wake(x, l);
    }
}

uint32_t exchange_tick(struct exchange *x, int64_t now_ms)
{
    x->now_ms = now_ms;
    if (now_ms > x->latest_ms || now_ms < x->latest_ms - SET_BACK_MS)
        x->latest_ms = now_ms;
    bool is_done = turn_wheel(x);
    wake_blocked(x);
    for (struct node *n = x->refusing.next, *next; n != &x->refusing; n = next) {
        next = n->next;
        exchange_refusals_due(x, container_of(n, struct system, in_refusing));
    }
    for (struct node *n = x->unsettled.next, *next; n != &x->unsettled; n = next) {
        struct stream *st = container_of(n, struct stream, in_unsettled);
        next = n->next;
        exchange_stream_settle(x, st, st->settled);
    }
    if (x->is_carried) {
        if (x->is_bus_full)
            exchange_send_unsent(x);
        exchange_note_replicated(x);
        exchange_probe(x);
    }
    exchange_pump(x);
    uint32_t rest_ms = (uint32_t)(1000 - now_ms % 1000);
    if (!list_is_empty(&x->refusing) || !list_is_empty(&x->blocked))
        rest_ms = rest_ms < 100 ? rest_ms : 100;
    return is_done ? rest_ms : 1;
}
