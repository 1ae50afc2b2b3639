/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
#include "tests/support/sim_carrier.h"
#include "proto/wire/identifier.h"

#include <stdlib.h>

#define MUST(expr) EHIS_ASSERT((expr) == EHIS_OK)
#define HOUSES 2
#define INBOXES 8

enum what { ENVELOPE, SKIP, REPORT, PROBE, PROBED };
struct parcel {
    enum what what;
    char to[201], gateway[201], from[201], recipient[201]; /* to: of an inbox; gateway: of a reply */
    struct hash digest;
    int64_t time_ms, accepted_ms;
    uint64_t registry_version, number;
    uint8_t stream[16], state;
    uint32_t code;
    struct buf bytes; /* envelope, acknowledgement, digests */
    bool is_confirmed, is_lost, is_read, is_finished, is_later, is_void; /* is_later: its reader could not take it now; is_void: its offset is no more */
    struct parcel *next;
};
struct inbox { char system[201]; bool wants[HOUSES], calls[HOUSES]; int owner; /* -1 */ bool is_told; bool was_reachable; };
struct sim_carrier {
    struct sim_house *houses[HOUSES];
    size_t count, refused;
    struct parcel *log, **end;
    struct inbox inboxes[INBOXES];
    size_t inbox_count;
    struct { char system[201], service[201], event[201]; bool is_there, is_told; } subs[INBOXES];
    size_t sub_count;
    struct sim_faults faults;
};

struct sim_carrier *sim_carrier_new(void)
{
    struct sim_carrier *c = calloc(1, sizeof *c);
    EHIS_ASSERT(c);
    c->end = &c->log;
    return c;
}

void sim_carrier_free(struct sim_carrier *c)
{
    for (struct parcel *p = c->log, *next; p; p = next) {
        next = p->next;
        buf_fini(&p->bytes);
        free(p);
    }
    free(c);
}

struct sim_faults *sim_carrier_faults(struct sim_carrier *c) { return &c->faults; }
size_t sim_carrier_unfinished(const struct sim_carrier *c)
{
    size_t count = 0;
    for (const struct parcel *p = c->log; p; p = p->next)
        count += p->to[0] && p->is_read && !p->is_finished && !p->is_void;
    return count;
}

size_t sim_carrier_refused(const struct sim_carrier *c) { return c->refused; }

static int at(const struct sim_carrier *c, const struct sim_house *h)
{
    for (size_t i = 0; i < c->count; i++)
        if (c->houses[i] == h)
            return (int)i;
    abort();
}

void sim_carrier_join(struct sim_carrier *c, struct sim_house *h)
{
    EHIS_ASSERT(c->count < HOUSES);
    c->houses[c->count++] = h;
}

static void name_to(char out[201], struct span s)
{
    EHIS_ASSERT(s.len <= 200);
    if (s.len)
        memcpy(out, s.p, s.len);
    out[s.len] = 0;
}

static struct inbox *inbox_of(struct sim_carrier *c, struct span system)
{
    for (size_t i = 0; i < c->inbox_count; i++)
        if (span_eq(span_str(c->inboxes[i].system), system))
            return &c->inboxes[i];
    EHIS_ASSERT(c->inbox_count < INBOXES);
    struct inbox *b = &c->inboxes[c->inbox_count++];
    name_to(b->system, system);
    b->owner = -1;
    return b;
}

static struct parcel *put(struct sim_carrier *c, enum what what, struct sim_house *from)
{
    struct parcel *p = calloc(1, sizeof *p);
    EHIS_ASSERT(p);
    p->what = what;
    p->time_ms = from->clock.wall_ms;
    name_to(p->from, span_str(from->gateway));
    buf_init(&p->bytes, 17 << 20);
    if (what != PROBE && what != PROBED && c->faults.drop) {
        c->faults.drop--;
        p->is_lost = true;
    }
    *c->end = p;
    c->end = &p->next;
    return p;
}

/* ---- ports ---- */

static ehis_err to_bus(void *ctx, const struct exchange_item *item, bool *is_here)
{
    struct sim_house *h = ctx;
    struct sim_carrier *c = h->carrier;
    (void)is_here;
    if (c->faults.is_down)
        return EHIS_E_BUS_FULL;
    if (item->event.len) {
        for (size_t i = 0; i < c->sub_count; i++)
            if (c->subs[i].is_there && span_eq(span_str(c->subs[i].service), item->recipient) && span_eq(span_str(c->subs[i].event), item->event)) {
                struct exchange_item copy = *item;
                copy.event = span_of(NULL, 0);
                copy.recipient = span_str(c->subs[i].system);
                EHIS_TRY(to_bus(ctx, &copy, is_here));
            }
        struct parcel *p = put(c, ENVELOPE, h); /* it is confirmed also where nobody subscribes */
        p->digest = item->digest;
        p->is_read = true;
        return EHIS_OK;
    }
    for (int copies = c->faults.twice ? 2 : 1; copies > 0; copies--) {
        struct parcel *p = put(c, item->skip ? SKIP : ENVELOPE, h);
        p->digest = item->digest;
        p->accepted_ms = item->accepted_ms;
        p->registry_version = item->registry_version;
        name_to(item->gateway.len ? p->gateway : p->to, item->gateway.len ? item->gateway : identifier_prefix(item->recipient, IDENTIFIER_SYSTEM));
        if (item->skip) {
            name_to(p->recipient, item->skip->sender);
            p->number = item->skip->number;
            p->state = item->skip->state;
            memcpy(p->stream, item->skip->stream, 16);
            continue;
        }
        const struct sim_entry *e = &h->entries[item->pos.offset];
        struct record r;
        MUST(record_read(buf_span(&e->record), &r, NULL));
        struct envelope env = {.header = r.header, .sealed = buf_span(&e->attachment)};
        MUST(envelope_signature_read(r.signature, &env.signature, NULL));
        env.signature.signature[40] ^= c->faults.resign != 0;
        c->faults.resign -= c->faults.resign > 0;
        MUST(envelope_write(&env, &p->bytes));
        if (c->faults.alter) {
            c->faults.alter--;
            ((uint8_t *)(uintptr_t)buf_span(&p->bytes).p)[r.header.len + 10] ^= 1;
        }
    }
    c->faults.twice -= c->faults.twice > 0;
    return EHIS_OK;
}

static void bus_done(void *ctx, uint64_t handle, const struct exchange_report *report)
{
    struct sim_house *h = ctx;
    struct parcel *p = (struct parcel *)(uintptr_t)handle;
    EHIS_ASSERT(p->is_read && !p->is_finished);
    p->is_finished = true;
    if (p->is_void)
        buf_fini(&p->bytes);
    if (!report || strcmp(p->from, h->gateway) == 0)
        return;
    struct parcel *told = put(h->carrier, REPORT, h);
    name_to(told->gateway, span_str(p->from));
    name_to(told->recipient, report->recipient);
    told->digest = report->digest;
    told->state = report->state;
    told->code = report->code;
    MUST(buf_put_span(&told->bytes, report->ack));
}

static bool bus_has(void *ctx, uint64_t handle)
{
    (void)ctx;
    return !((const struct parcel *)(uintptr_t)handle)->is_void;
}

static void want_inbox(void *ctx, struct span system, bool streams, bool calls)
{
    struct sim_house *h = ctx;
    struct inbox *b = inbox_of(h->carrier, system);
    b->wants[at(h->carrier, h)] = streams || calls;
    b->calls[at(h->carrier, h)] = calls;
}

static ehis_err subscribe(void *ctx, struct span system, struct span service, struct span event, bool is_end, int64_t from_ms)
{
    (void)from_ms;
    struct sim_carrier *c = ((struct sim_house *)ctx)->carrier;
    size_t i = 0;
    while (i < c->sub_count && !(span_eq(span_str(c->subs[i].system), system) && span_eq(span_str(c->subs[i].service), service) && span_eq(span_str(c->subs[i].event), event)))
        i++;
    EHIS_ASSERT(i < INBOXES);
    c->sub_count += i == c->sub_count;
    name_to(c->subs[i].system, system);
    name_to(c->subs[i].service, service);
    name_to(c->subs[i].event, event);
    c->subs[i].is_there = !is_end;
    c->subs[i].is_told = false;
    return EHIS_OK;
}

static bool reachable(const struct inbox *b)
{
    bool is = false;
    for (size_t i = 0; i < HOUSES; i++)
        is |= b->calls[i];
    return is;
}
static bool is_reachable(void *ctx, struct span system) { return reachable(inbox_of(((struct sim_house *)ctx)->carrier, system)); }
static ehis_err bus_state(void *ctx) { return ((struct sim_house *)ctx)->carrier->faults.is_down ? EHIS_E_BUS_UNREACHABLE : EHIS_OK; }
static void probe(void *ctx, struct span system) { name_to(put(((struct sim_house *)ctx)->carrier, PROBE, ctx)->to, system); }

void sim_carrier_ports(struct exchange_ports *ports)
{
    ports->to_bus = to_bus;
    ports->bus_done = bus_done;
    ports->bus_has = bus_has;
    ports->want_inbox = want_inbox;
    ports->is_reachable = is_reachable;
    ports->bus_state = bus_state;
    ports->probe = probe;
    ports->subscribe = subscribe;
}

/* ---- it goes on ---- */

static void reopen(struct sim_carrier *c, struct inbox *b)
{
    for (struct parcel *p = c->log; p; p = p->next)
        if (strcmp(p->to, b->system) == 0 && !p->is_finished && !p->is_void)
            p->is_read = false;
}

void sim_carrier_leave(struct sim_carrier *c, struct sim_house *h)
{
    int i = at(c, h);
    for (size_t k = 0; k < c->inbox_count; k++) {
        struct inbox *b = &c->inboxes[k];
        b->wants[i] = b->calls[i] = false;
        if (b->owner == i) {
            b->owner = -1;
            reopen(c, b);
        }
    }
}

static bool settle_owners(struct sim_carrier *c)
{
    bool is_new = false;
    for (size_t k = 0; k < c->inbox_count; k++) {
        struct inbox *b = &c->inboxes[k];
        if (b->owner >= 0 && !b->wants[b->owner]) {
            exchange_on_inbox(c->houses[b->owner]->x, span_str(b->system), false, c->houses[b->owner]->clock.wall_ms);
            b->owner = -1;
            reopen(c, b);
            is_new = true;
        }
        for (size_t i = 0; i < c->count && b->owner < 0; i++)
            if (b->wants[i]) {
                b->owner = (int)i;
                exchange_on_inbox(c->houses[i]->x, span_str(b->system), true, c->houses[i]->clock.wall_ms);
                is_new = true;
            }
        bool is_now = reachable(b);
        for (size_t i = 0; i < c->count && b->was_reachable && !is_now; i++)
            exchange_on_unreachable(c->houses[i]->x, span_str(b->system), c->houses[i]->clock.wall_ms);
        b->was_reachable = is_now;
    }
    return is_new;
}

static ehis_err arrive(struct sim_house *h, struct parcel *p, const char *inbox)
{
    struct exchange_skip k = {.sender = span_str(p->recipient), .recipient = span_str(p->to), .stream = p->stream, .number = p->number, .digest = p->digest, .state = p->state};
    struct exchange_arrival a = {.handle = (uint64_t)(uintptr_t)p, .inbox = span_str(inbox), .gateway = span_str(p->from), .accepted_ms = p->accepted_ms,
                                 .registry_version = p->registry_version, .skip = p->what == SKIP ? &k : NULL, .bytes = buf_span(&p->bytes), .digest = p->digest};
    if (p->what == ENVELOPE) {
        EHIS_TRY(envelope_read(a.bytes, &a.envelope, NULL));
        hash_span(a.envelope.sealed, &a.sealed_hash);
        hash_envelope(a.envelope.header, a.envelope.sealed.len, &a.sealed_hash, &a.digest);
    }
    return exchange_on_arrival(h->x, &a, h->clock.wall_ms);
}

static void read_parcel(struct sim_carrier *c, struct parcel *p, struct sim_house *h)
{
    static struct hash held[8192];
    ehis_err err = EHIS_OK;
    p->is_read = true;
    if (p->what == ENVELOPE || p->what == SKIP) {
        err = arrive(h, p, p->to);
    } else if (p->what == REPORT) {
        err = exchange_on_report(h->x, &(struct exchange_report){.digest = p->digest, .gateway = span_str(p->from), .recipient = span_str(p->recipient),
                                 .state = p->state, .code = p->code, .ack = buf_span(&p->bytes)}, h->clock.wall_ms);
        p->is_finished = true;
    } else if (p->what == PROBE) {
        size_t n = exchange_held(h->x, span_str(p->to), span_str(p->from), held, 8192);
        struct parcel *answer = put(c, PROBED, h);
        name_to(answer->gateway, span_str(p->from));
        name_to(answer->recipient, span_str(p->to));
        answer->accepted_ms = p->time_ms;
        MUST(buf_put(&answer->bytes, held, n * sizeof *held));
        p->is_finished = true;
    } else {
        (void)exchange_on_probed(h->x, span_str(p->recipient), p->accepted_ms, (const struct hash *)(const void *)buf_span(&p->bytes).p, p->bytes.len / 32, h->clock.wall_ms);
        p->is_finished = true;
    }
    enum ehis_err_class why = ehis_err_row(err)->class_; /* as the relay judges */
    p->is_later = why == EHIS_CLASS_ENVIRONMENT || why == EHIS_CLASS_FLOW;
    p->is_read = !p->is_later;
    if (err == EHIS_OK || p->is_later)
        return;
    c->refused++;
    p->is_finished = true;
}

static struct sim_house *house_of(struct sim_carrier *c, const char *gateway)
{
    for (size_t i = 0; i < c->count; i++)
        if (strcmp(c->houses[i]->gateway, gateway) == 0)
            return c->houses[i];
    return NULL;
}

void sim_carrier_run(struct sim_carrier *c)
{
    for (bool is_busy = true; is_busy;) {
        is_busy = settle_owners(c);
        for (size_t i = 0; i < c->count; i++)
            sim_durable(c->houses[i]);
        for (size_t k = 0; k < c->sub_count; k++) {
            for (size_t i = 0; i < c->count && !c->subs[k].is_told; i++)
                exchange_on_cursor(c->houses[i]->x, span_str(c->subs[k].system), span_str(c->subs[k].service), span_str(c->subs[k].event), c->subs[k].is_there, c->houses[i]->clock.wall_ms);
            c->subs[k].is_told = true;
        }
        for (struct parcel *p = c->log; p; p = p->next) {
            struct sim_house *writer = house_of(c, p->from);
            if (!p->is_confirmed && !c->faults.confirms_nothing && writer) {
                p->is_confirmed = is_busy = true;
                if (p->what == ENVELOPE && c->faults.is_unsafe)
                    exchange_on_unsure(writer->x, &p->digest, writer->clock.wall_ms);
                else if (p->what == ENVELOPE || p->what == SKIP)
                    exchange_on_carried(writer->x, &p->digest, !c->faults.is_pilot, writer->clock.wall_ms);
            }
            int owner = p->to[0] ? inbox_of(c, span_str(p->to))->owner : -1;
            struct sim_house *reader = p->to[0] ? owner < 0 ? NULL : c->houses[owner] : house_of(c, p->gateway);
            if (p->is_lost || p->is_read || !reader)
                continue;
            read_parcel(c, p, reader);
            is_busy |= p->is_read;
        }
    }
}

void sim_carrier_pass(struct sim_carrier *c, int64_t ms)
{
    for (int64_t left = ms; left > 0; left -= 1000) {
        for (size_t i = 0; i < c->count; i++)
            sim_pass(c->houses[i], left < 1000 ? left : 1000);
        sim_carrier_run(c);
    }
}

/* The same once more, not read yet. */
static struct parcel *put_copy(struct sim_carrier *c, const struct parcel *of)
{
    struct parcel *p = put(c, of->what, house_of(c, of->from));
    struct buf bytes = p->bytes;
    *p = *of;
    p->bytes = bytes;
    p->next = NULL;
    p->is_read = p->is_finished = false;
    MUST(buf_put_span(&p->bytes, buf_span(&of->bytes)));
    return p;
}

ehis_err sim_carrier_forge(struct sim_carrier *c, struct sim_house *reader, const char *inbox)
{
    const struct parcel *newest = NULL;
    for (const struct parcel *p = c->log; p; p = p->next)
        if (p->what == ENVELOPE)
            newest = p;
    EHIS_ASSERT(newest);
    struct parcel *p = put_copy(c, newest);
    p->is_read = p->is_confirmed = true;
    ehis_err err = arrive(reader, p, inbox ? inbox : p->to);
    if (err != EHIS_OK)
        p->is_finished = true;
    return err;
}

void sim_carrier_reread(struct sim_carrier *c, const char *inbox)
{
    for (struct parcel *p = c->log; p; p = p->next) /* the copies are not read */
        if (strcmp(p->to, inbox) == 0 && p->is_read && !p->is_finished) {
            put_copy(c, p);
            p->is_void = true;
        }
}

void sim_carrier_lie(struct sim_carrier *c, struct sim_house *from, const char *inbox, struct span bytes)
{
    struct parcel *p = put(c, ENVELOPE, from);
    p->is_confirmed = true;
    p->accepted_ms = from->clock.wall_ms;
    p->registry_version = registry_version(from->registry);
    name_to(p->to, span_str(inbox));
    MUST(buf_put_span(&p->bytes, bytes));
}
