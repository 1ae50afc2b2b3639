/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
#include "tests/support/sim_exchange.h"
#include "tests/support/sim_carrier.h"

#include <stdlib.h>

#define MUST(expr) EHIS_ASSERT((expr) == EHIS_OK)

/* ---- the journal ---- */

/* As ehis-gateway journal verify has it. */
static bool is_whole(const struct record *r)
{
    struct hash sealed, digest;
    memcpy(sealed.b, r->sealed_hash, HASH_BYTES);
    hash_envelope(r->header, r->sealed_bytes, &sealed, &digest);
    return r->header.len == 0 || memcmp(digest.b, r->digest, HASH_BYTES) == 0;
}

static ehis_err on_append(void *ctx, const struct record *r, const struct span *attachment, size_t parts, bool is_lazy, struct journal_pos *pos)
{
    struct sim_house *h = ctx;
    EHIS_ASSERT(is_whole(r));
    if (h->is_journal_full)
        return EHIS_E_JOURNAL_FULL;
    if (h->count == h->cap) {
        h->cap = h->cap ? 2 * h->cap : 1024;
        h->entries = realloc(h->entries, h->cap * sizeof *h->entries);
        EHIS_ASSERT(h->entries);
    }
    if (++h->in_segment > h->segment_entries) {
        h->in_segment = 1;
        h->segment++;
    }
    struct sim_entry *e = &h->entries[h->count];
    *e = (struct sim_entry){.group = h->open_group, .segment = h->segment, .is_lazy = is_lazy};
    buf_init(&e->record, 1 << 20);
    buf_init(&e->attachment, 17 << 20);
    MUST(record_write(r, &e->record));
    for (size_t i = 0; i < parts; i++)
        MUST(buf_put_span(&e->attachment, attachment[i]));
    *pos = (struct journal_pos){h->segment, (uint32_t)h->count, (uint32_t)e->record.len, (uint32_t)e->attachment.len};
    h->count++;
    return EHIS_OK;
}

static uint64_t on_open_group(void *ctx) { return ((struct sim_house *)ctx)->open_group; }
static uint64_t on_room(void *ctx) { return ((struct sim_house *)ctx)->room_bytes; }

static ehis_err on_read(void *ctx, const struct journal_pos *pos, struct buf *into, struct journal_entry *out)
{
    struct sim_house *h = ctx;
    if (pos->offset < h->first || pos->offset >= h->count || h->entries[pos->offset].segment != pos->segment || pos->offset + 1 == h->unreadable)
        return EHIS_E_JOURNAL_CORRUPT; /* a place that was freed */
    const struct sim_entry *e = &h->entries[pos->offset];
    buf_clear(into);
    EHIS_TRY(buf_put_span(into, buf_span(&e->record)));
    EHIS_TRY(buf_put_span(into, buf_span(&e->attachment)));
    struct span all = buf_span(into);
    *out = (struct journal_entry){*pos, span_of(all.p, e->record.len), span_of(all.p + e->record.len, e->attachment.len), 0};
    return EHIS_OK;
}

/* ---- outputs ---- */

static ehis_err new_out(struct sim_house *h, enum sim_what what, session_id s, struct sim_out **out)
{
    if (h->is_full && h->is_full(h->is_full_ctx, s))
        return EHIS_E_LINK_FULL;
    struct sim_out *o = calloc(1, sizeof *o);
    EHIS_ASSERT(o);
    o->what = what;
    o->session = s;
    buf_init(&o->bytes, 17 << 20);
    if (h->last)
        h->last->next = o;
    else
        h->outs = o;
    h->last = o;
    *out = o;
    return EHIS_OK;
}

static void name_to(char out[201], struct span s)
{
    EHIS_ASSERT(s.len <= 200);
    if (s.len)
        memcpy(out, s.p, s.len);
    out[s.len] = 0;
}

static ehis_err on_receipt(void *ctx, session_id s, const struct exchange_receipt *r)
{
    struct sim_house *h = ctx;
    struct sim_out *o;
    h->receipts++;
    if (h->is_quiet)
        return EHIS_OK;
    EHIS_TRY(new_out(h, SIM_RECEIPT, s, &o));
    o->digest = r->digest;
    name_to(o->recipient, r->recipient);
    o->state = r->state;
    o->code = r->code;
    o->time_ms = r->time_ms;
    MUST(buf_put_span(&o->bytes, r->ack));
    return EHIS_OK;
}

static ehis_err on_flow(void *ctx, session_id s, const struct exchange_flow *f)
{
    struct sim_out *o;
    EHIS_TRY(new_out(ctx, SIM_FLOW, s, &o));
    o->digest = f->digest;
    o->code = (uint32_t)f->code;
    o->retry_ms = f->retry_ms;
    o->expected = f->expected;
    if (f->stream)
        memcpy(o->stream, f->stream, 16);
    return EHIS_OK;
}

static ehis_err on_delivery(void *ctx, session_id s, const struct exchange_delivery *d)
{
    struct sim_house *h = ctx;
    struct sim_out *o;
    h->deliveries++;
    h->last_delivery = d->delivery;
    if (h->is_quiet)
        return EHIS_OK;
    EHIS_TRY(new_out(ctx, SIM_DELIVERY, s, &o));
    o->delivery = d->delivery;
    o->attempt = d->attempt;
    o->time_ms = d->accepted_ms;
    for (size_t i = 0; i < d->part_count; i++)
        MUST(buf_put_span(&o->bytes, d->envelope_parts[i]));
    struct envelope e;
    struct envelope_header header;
    struct hash sealed;
    MUST(envelope_read(buf_span(&o->bytes), &e, NULL));
    MUST(envelope_header_read(e.header, &header, NULL));
    hash_span(e.sealed, &sealed);
    hash_envelope(e.header, e.sealed.len, &sealed, &o->digest);
    name_to(o->sender, header.sender);
    name_to(o->recipient, header.recipient);
    o->number = header.number;
    if (header.stream.len)
        memcpy(o->stream, header.stream.p, 16);
    return EHIS_OK;
}

static ehis_err on_skip(void *ctx, session_id s, const struct exchange_skip *k)
{
    struct sim_out *o;
    EHIS_TRY(new_out(ctx, SIM_SKIP, s, &o));
    o->delivery = k->delivery;
    o->digest = k->digest;
    o->number = k->number;
    o->state = k->state;
    memcpy(o->stream, k->stream, 16);
    name_to(o->sender, k->sender);
    name_to(o->recipient, k->recipient);
    return EHIS_OK;
}

static ehis_err on_frame(void *ctx, session_id s, uint8_t type, struct span payload)
{
    struct sim_out *o;
    EHIS_TRY(new_out(ctx, SIM_FRAME, s, &o));
    o->type = type;
    MUST(buf_put_span(&o->bytes, payload));
    return EHIS_OK;
}

static void on_end(void *ctx, session_id s, ehis_err code)
{
    struct sim_house *h = ctx;
    struct sim_out *o;
    bool (*is_full)(void *, session_id) = h->is_full;
    h->is_full = NULL;
    MUST(new_out(h, SIM_END, s, &o));
    h->is_full = is_full;
    o->code = (uint32_t)code;
}

static ehis_err on_bus(void *ctx, const struct exchange_item *item, bool *is_here)
{
    struct sim_house *h = ctx;
    if (h->is_bus_down)
        return EHIS_E_LINK_FULL;
    return h->bus->ops->send(h->bus, item, is_here);
}

/* ---- the house ---- */

static ehis_err on_blob_find(void *ctx, struct exchange_blob *b)
{
    b->partition = 3;
    b->offset = 99;
    return ((struct sim_house *)ctx)->has_chunks ? EHIS_OK : EHIS_E_EXCHANGE_BLOB_MISSING;
}
static void on_blob_keep(void *ctx, const struct exchange_blob *b) { ((struct sim_house *)ctx)->chunks_kept += b->offset == 99; }
static void on_blob_let_go(void *ctx, const struct exchange_blob *b) { ((struct sim_house *)ctx)->chunks_kept -= b->offset == 99; }

static struct exchange *core_new(struct sim_house *h)
{
    struct exchange_ports ports = {.ctx = h, .append = on_append, .open_group = on_open_group, .room_bytes = on_room, .read = on_read,
                                   .send_receipt = on_receipt, .send_flow = on_flow, .send_delivery = on_delivery, .send_skip = on_skip,
                                   .send_frame = on_frame, .end_session = on_end, .to_bus = on_bus,
                                   .blob_find = on_blob_find, .blob_keep = on_blob_keep, .blob_let_go = on_blob_let_go};
    struct exchange *x;
    if (h->carrier)
        sim_carrier_ports(&ports);
    random_fill(&h->clock.random, ports.seed, sizeof ports.seed);
    MUST(exchange_new(span_str(h->gateway), &h->bounds, &ports, &x));
    exchange_set_registry(x, h->registry, h->clock.wall_ms);
    return x;
}

static void furnish(struct sim_house *h)
{
    h->bounds = (struct exchange_bounds){.stored_messages_max = 100000, .stored_bytes_max = 256 << 20, .streams_max = 256, .calls_max = 1024,
                                         .known_calls_max = 100000, .subscriptions_max = 256, .attempts_max = 5};
    h->room_bytes = UINT64_C(1) << 40;
    h->open_group = 1;
    h->segment = h->first_segment = 1;
    h->segment_entries = UINT64_MAX;
    h->next_session = 1;
    MUST(bus_local_new(&h->bus));
    h->x = core_new(h);
    exchange_recovered(h->x, h->clock.wall_ms);
}

struct sim_house *sim_house_new(uint64_t seed)
{
    static const char *const systems[] = {"AZ/GOV/a/one", "AZ/GOV/b/two", "AZ/GOV/c/three", "AZ/GOV/d/four"};
    struct sim_house *h = calloc(1, sizeof *h);
    EHIS_ASSERT(h);
    MUST(crypto_init(NULL));
    sim_clock_init(&h->clock, seed);
    h->random = seed;
    h->gateway = SIM_GATEWAY;
    h->author = test_registry_new(seed, h->clock.wall_ms);
    test_registry_gateway(h->author, SIM_GATEWAY, span_of(NULL, 0));
    test_registry_gateway(h->author, SIM_GATEWAY_2, span_of(NULL, 0));
    for (size_t i = 0; i < sizeof systems / sizeof *systems; i++)
        test_registry_system(h->author, systems[i], span_of(NULL, 0));
    test_registry_service(h->author, "AZ/GOV/b/two/svc", "?Get|Put|!Changed");
    test_registry_rule(h->author, "AZ/GOV/b/two/svc", &(struct test_rule){.id = "B-1", .consumers = "AZ/GOV/a/one|AZ/GOV/c/three",
                       .operations = "Get|Put|Changed", .purposes = "tax", .legal_bases = "Law 1"});
    test_registry_service(h->author, "AZ/GOV/a/one/svc", "?Get");
    test_registry_rule(h->author, "AZ/GOV/a/one/svc", &(struct test_rule){.id = "A-1", .consumers = "AZ/GOV/b/two", .operations = "Get",
                       .purposes = "tax", .legal_bases = "Law 1"});
    h->registry = test_registry_publish(h->author);
    furnish(h);
    return h;
}

void sim_house_carry(struct sim_house *h, struct sim_carrier *carrier)
{
    exchange_free(h->x);
    h->carrier = carrier;
    sim_carrier_join(carrier, h);
    h->x = core_new(h);
    exchange_recovered(h->x, h->clock.wall_ms);
}

struct sim_house *sim_house_beside(struct sim_house *first)
{
    struct sim_house *h = calloc(1, sizeof *h);
    EHIS_ASSERT(h);
    sim_clock_init(&h->clock, first->random + 1);
    h->clock.wall_ms = first->clock.wall_ms;
    h->is_beside = true;
    h->author = first->author;
    h->registry = registry_ref(first->registry);
    h->gateway = SIM_GATEWAY_2;
    furnish(h);
    sim_house_carry(h, first->carrier);
    return h;
}

static void drop_entry(struct sim_entry *e)
{
    buf_fini(&e->record);
    buf_fini(&e->attachment);
}

void sim_house_free(struct sim_house *h)
{
    exchange_free(h->x);
    sim_forget(h);
    for (size_t i = h->first; i < h->count; i++)
        drop_entry(&h->entries[i]);
    free(h->entries);
    bus_free(h->bus);
    registry_unref(h->registry);
    if (!h->is_beside)
        test_registry_free(h->author);
    free(h);
}

void sim_house_publish(struct sim_house *h)
{
    registry_unref(h->registry);
    h->registry = test_registry_publish(h->author);
    exchange_set_registry(h->x, h->registry, h->clock.wall_ms);
}

void sim_durable(struct sim_house *h)
{
    uint64_t group = h->open_group++;
    exchange_on_durable(h->x, group, h->clock.wall_ms);
}

void sim_pass(struct sim_house *h, int64_t ms)
{
    for (int64_t step; ms > 0; ms -= step) {
        step = ms > 60000 ? 30000 : ms > 1000 ? 1000 : ms;
        sim_clock_advance_ms(&h->clock, step);
        for (int i = 0; i < 1000 && exchange_tick(h->x, h->clock.wall_ms) <= 1; i++)
            ;
    }
}

static struct exchange *replayed(struct sim_house *h, ehis_err *err)
{
    struct exchange *x = core_new(h);
    struct ehis_why why = {""};
    *err = EHIS_OK;
    for (size_t i = h->first; i < h->count && *err == EHIS_OK; i++) {
        struct sim_entry *e = &h->entries[i];
        struct journal_entry j = {{e->segment, (uint32_t)i, (uint32_t)e->record.len, (uint32_t)e->attachment.len}, buf_span(&e->record), buf_span(&e->attachment), 0};
        *err = exchange_replay(x, &j, &why);
    }
    return x;
}

ehis_err sim_replay_into(struct sim_house *h, struct exchange **out)
{
    ehis_err err;
    *out = replayed(h, &err);
    return err;
}

void sim_restart(struct sim_house *h, bool keeps_open_group)
{
    ehis_err err;
    exchange_free(h->x);
    while (!keeps_open_group && h->count > h->first && h->entries[h->count - 1].group == h->open_group) {
        drop_entry(&h->entries[--h->count]);
        if (h->in_segment > 1)
            h->in_segment--;
    }
    if (h->count > h->first)
        h->segment = h->entries[h->count - 1].segment;
    h->open_group++;
    h->x = replayed(h, &err);
    MUST(err);
    exchange_recovered(h->x, h->clock.wall_ms);
}

void sim_release(struct sim_house *h)
{
    if (h->count == h->first || h->entries[h->first].segment == h->segment)
        return;
    uint64_t segment = h->entries[h->first].segment;
    while (!exchange_carry(h->x, segment, 16, h->clock.wall_ms))
        sim_durable(h);
    while (h->first < h->count && h->entries[h->first].segment == segment)
        drop_entry(&h->entries[h->first++]);
    h->first_segment = segment + 1;
}

/* ---- looking ---- */

static _Thread_local struct sim_out *taken;

static void drop_out(struct sim_out *o)
{
    if (!o)
        return;
    buf_fini(&o->bytes);
    free(o);
}

struct sim_out *sim_take(struct sim_house *h, enum sim_what what, session_id s)
{
    struct sim_out *before = NULL;
    drop_out(taken);
    taken = NULL;
    for (struct sim_out *o = h->outs; o; before = o, o = o->next) {
        if ((what && o->what != what) || (s && o->session != s))
            continue;
        if (before)
            before->next = o->next;
        else
            h->outs = o->next;
        if (h->last == o)
            h->last = before;
        return taken = o;
    }
    return NULL;
}

size_t sim_count(const struct sim_house *h, enum sim_what what, session_id s)
{
    size_t n = 0;
    for (const struct sim_out *o = h->outs; o; o = o->next)
        n += o->what == what && (!s || o->session == s);
    return n;
}

void sim_forget(struct sim_house *h)
{
    while (sim_take(h, 0, 0))
        ;
}

bool sim_record(struct sim_house *h, uint32_t kind, const struct hash *digest, struct record *out)
{
    for (size_t i = h->count; i-- > h->first;) {
        MUST(record_read(buf_span(&h->entries[i].record), out, NULL));
        if (out->kind == kind && (!digest || memcmp(out->digest, digest->b, 32) == 0))
            return true;
    }
    return false;
}

size_t sim_record_count(const struct sim_house *h, uint32_t kind)
{
    size_t n = 0;
    struct record r;
    for (size_t i = h->first; i < h->count; i++) {
        MUST(record_read(buf_span(&h->entries[i].record), &r, NULL));
        n += r.kind == kind;
    }
    return n;
}
