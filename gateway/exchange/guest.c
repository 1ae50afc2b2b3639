/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* A guest's life: known by digest and inbox, until the gateway that accepted it has heard how it ended, or its inbox is lost. */
#include "gateway/exchange/exchange_priv.h"

#include <stdlib.h>

/* Not a skip of the same digest: what one gateway has refused another may have accepted. */
struct message *exchange_guest_find(struct exchange *x, const struct hash *digest, const struct system *to)
{
    for (struct table_node *n = *table_head(&x->by_guest, table_hash(&x->by_guest, digest->b, HASH_BYTES)); n; n = n->next) {
        struct message *m = container_of(n, struct message, by_digest);
        if (m->guest->to == to && m->guest->bytes.len && memcmp(m->digest.b, digest->b, HASH_BYTES) == 0)
            return m;
    }
    return NULL;
}

void exchange_guest_drop(struct exchange *x, struct message *m)
{
    struct stream *st = message_is_numbered(m) ? m->stream : NULL;
    if (m->kind == KIND_KEY)
        m->topic->guest_keys--;
    free(m->guest);
    if (st && list_is_empty(&st->messages))
        exchange_stream_drop(x, st);
}

/* Its acknowledgement is borrowed from keys_buf. */
static struct exchange_report report_of(struct exchange *x, const struct message *m)
{
    struct record r;
    struct exchange_report report = {.digest = m->digest, .gateway = exchange_gateway(x), .recipient = name_span(m->guest->to->name),
                                     .state = m->state, .code = m->code};
    buf_clear(&x->keys_buf);
    if (message_is(m, HAS_ACK) && exchange_load(x, m->final, &r, NULL) == EHIS_OK && buf_put_span(&x->keys_buf, r.ack) == EHIS_OK)
        report.ack = buf_span(&x->keys_buf);
    return report;
}

/* The first of its arrivals lends it its bytes. */
void exchange_guest_arrive(struct guest *g, uint32_t place, const struct exchange_arrival *a, struct name *gateway)
{
    g->arrivals[place].handle = a->handle;
    g->arrivals[place].gateway = gateway;
    if (place == g->arrival_count)
        g->arrival_count++;
    if (place > 0)
        return;
    g->bytes = a->bytes;
    g->header = a->envelope.header;
    g->signature_bytes = a->envelope.signature_bytes;
}

/* It has ended and stands here for its skip alone. Where it was accepted here as well, that ends now, too. */
static void again_behind_its_end(struct exchange *x, struct message *m, uint64_t handle)
{
    const struct exchange_report report = report_of(x, m);
    ehis_err err = m->kind == KIND_EVENT ? EHIS_OK : exchange_on_report(x, &report, x->now_ms);
    (void)err; /* no room for the record: it is found as a gap */
    x->ports.bus_done(x->ports.ctx, handle, m->kind == KIND_EVENT ? NULL : &report);
}

/* Of two from one gateway the older stays: so the next owner reads it before what is behind it in its stream. But where its topic is read anew the older
 * one's place is no longer in it, and what is given back at once is not read again. */
void exchange_guest_again(struct exchange *x, struct message *m, const struct exchange_arrival *a, struct name *gateway)
{
    struct guest *g = m->guest;
    uint32_t place = 0;
    if (m->durable > STATE_REPLICATED) {
        again_behind_its_end(x, m, a->handle);
        return;
    }
    while (place < g->arrival_count && g->arrivals[place].gateway != gateway)
        place++;
    uint64_t older = place < g->arrival_count ? g->arrivals[place].handle : 0;
    if (place == GUEST_ARRIVALS_MAX || (older && x->ports.bus_has(x->ports.ctx, older))) {
        x->ports.bus_done(x->ports.ctx, a->handle, NULL);
        return;
    }
    exchange_guest_arrive(g, place, a, gateway);
    if (older)
        x->ports.bus_done(x->ports.ctx, older, NULL);
}

void exchange_guest_done(struct exchange *x, struct message *m, const struct exchange_report *report)
{
    struct guest *g = m->guest;
    for (uint32_t i = 0; i < g->arrival_count; i++)
        x->ports.bus_done(x->ports.ctx, g->arrivals[i].handle, report);
    g->arrival_count = 0;
}

void exchange_guest_ended(struct exchange *x, struct message *m)
{
    const struct exchange_report report = report_of(x, m);
    exchange_guest_done(x, m, m->kind == KIND_EVENT ? NULL : &report); /* its publisher is told no more than that the broker has it */
}

void exchange_guest_answered(struct exchange *x, struct message *request, struct message *response)
{
    if (!request) { /* the inbox was lost meanwhile: one gateway is known, another asks again */
        exchange_to_bus(x, response, NULL);
        return;
    }
    for (uint32_t i = 0; i < request->guest->arrival_count; i++)
        exchange_to_bus(x, response, request->guest->arrivals[i].gateway);
    exchange_guest_done(x, request, NULL);
    exchange_message_drop(x, request);
}

void exchange_guests_forget(struct exchange *x, struct system *to, const struct topic *t)
{
    for (struct node *n = to->guests.next, *next; n != &to->guests; n = next) {
        struct message *m = container_of(n, struct message, in_bus);
        next = n->next;
        if (t && (m->kind != KIND_EVENT || m->topic != t))
            continue;
        m->guest->arrival_count = 0;
        while (m->deliveries)
            exchange_delivery_drop(x, m->deliveries);
        exchange_message_settle(x, m); /* or when its group is durable */
    }
}

void exchange_on_inbox(struct exchange *x, struct span system, bool is_owned, int64_t now_ms)
{
    struct system *s = exchange_system(x, system);
    x->now_ms = now_ms;
    if (!s)
        return;
    s->is_owned = is_owned;
    if (!is_owned)
        exchange_guests_forget(x, s, NULL);
    exchange_pump(x);
}

void exchange_want_inbox(struct exchange *x, struct system *s)
{
    if (x->is_carried)
        x->ports.want_inbox(x->ports.ctx, name_span(s->name), s->stream_session != NULL, exchange_takes_calls(s));
}

size_t exchange_held(const struct exchange *x, struct span system, struct span gateway, struct hash *out, size_t max)
{
    size_t count = 0;
    const struct name *name = exchange_name_find((struct exchange *)(uintptr_t)x, system);
    for (const struct node *n = name && name->system ? name->system->guests.next : NULL; n && n != &name->system->guests && count < max; n = n->next) {
        const struct message *m = container_of(n, struct message, in_bus);
        for (uint32_t i = 0; i < m->guest->arrival_count; i++)
            if (span_eq(name_span(m->guest->arrivals[i].gateway), gateway)) {
                out[count++] = m->digest;
                break;
            }
    }
    return count;
}
