/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* Calls that somebody waits for: which session takes a request, and the way back of its response. */
#include "gateway/exchange/exchange_priv.h"

/* The ready session with the most room. */
struct session *exchange_call_session(struct system *to)
{
    struct session *best = NULL;
    uint32_t most = 0;
    for (struct node *n = to->sessions.next; n != &to->sessions; n = n->next) {
        struct session *s = container_of(n, struct session, in_system);
        uint32_t window = s->windows.call_window < WINDOW_MAX ? s->windows.call_window : WINDOW_MAX;
        if (s->is_ready && !s->is_full && !s->is_doomed && window > s->calls_in_flight && window - s->calls_in_flight > most) {
            best = s;
            most = window - s->calls_in_flight;
        }
    }
    return best;
}

static struct session *any_ready(const struct system *of)
{
    for (struct node *n = of->sessions.next; n != &of->sessions; n = n->next) {
        struct session *s = container_of(n, struct session, in_system);
        if (s->is_ready && !s->is_doomed)
            return s;
    }
    return NULL;
}

/* To the session that asked, or to another of its system that is ready; where there is none, the caller asks again. */
void exchange_respond(struct exchange *x, struct message *response)
{
    struct message *request = response->peer;
    if (!request || response->deliveries || x->now_ms >= response->expires_ms)
        return;
    struct session *s = exchange_session_find(x, request->session);
    if (!s || s->system != response->to)
        s = any_ready(response->to);
    if (!s || (response->large && !s->takes_large))
        return;
    struct delivery *d = exchange_delivery_new(x, response, response->to, NULL);
    if (!d)
        return; /* no memory: the caller asks again */
    list_add(&s->responses, &d->in_queue);
    exchange_session_flush(x, s);
}

/* The same request again: it is passed on again, or its response is. */
void exchange_call_again(struct exchange *x, struct message *request)
{
    struct message *response = request->peer;
    if (response) {
        if (response->durable == STATE_ACCEPTED)
            exchange_respond(x, response);
        return;
    }
    if (request->state != STATE_ACCEPTED || request->durable != STATE_ACCEPTED) {
        exchange_owe(x, request);
        return;
    }
    exchange_owe(x, request);
    if (x->is_carried) {
        exchange_to_bus(x, request, NULL);
        return;
    }
    struct delivery *d = request->deliveries;
    if (!d)
        d = exchange_delivery_new(x, request, request->to, NULL);
    if (!d)
        return;
    exchange_delivery_detach(x, d);
    exchange_delivery_queue(x, d);
}
