/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
#include "gateway/bus/lease.h"
#include "base/clock.h"
#include "gateway/exchange/table.h"
#include "proto/wire/identifier.h"
#include <stdlib.h>

#define FORMER_BOOTS 8 /* of a gateway: a late or repeated record of one of these changes nothing */
#define HEADS 16384

struct gateway {
    char name[IDENTIFIER_MAX_BYTES];
    size_t name_len; /* 0: a free place */
    uint64_t boot, time_ms, former[FORMER_BOOTS];
    unsigned former_next, former_count;
    int64_t beat_ms; /* steady */
    bool is_leaving, was_alive;
    struct node claims;
};
struct system {
    struct table_node table;
    char name[IDENTIFIER_MAX_BYTES];
    size_t name_len;
    struct node claims, dirty;
    const struct gateway *was; /* the owner as lease_changes last told it: a place, that may be another's now, with its boot and rights */
    uint64_t boot;
    bool streams, calls;
};
struct claim {
    struct node of_system, of_gateway;
    struct system *system;
    struct gateway *gateway;
    int64_t offset;
    bool streams, calls;
};
struct lease_table {
    char name[IDENTIFIER_MAX_BYTES];
    size_t name_len;
    uint64_t boot;
    struct gateway gateways[LEASE_GATEWAYS_MAX];
    struct table systems;
    struct pool system_pool, claim_pool;
    struct node dirty;
    size_t claim_count;
    int64_t offset, broker_ms, steady_ms;
    bool is_begun;
};

static struct span name_of(const struct gateway *g) { return span_of(g->name, g->name_len); }
static bool is_alive(const struct lease_table *t, const struct gateway *g)
{
    return g->name_len && !g->is_leaving && t->steady_ms - g->beat_ms < LEASE_VOID_MS;
}

ehis_err lease_table_new(struct span gateway, uint64_t boot, struct lease_table **out)
{
    uint8_t seed[16];
    struct lease_table *t = calloc(1, sizeof *t);
    EHIS_ASSERT(gateway.len <= sizeof t->name);
    if (!t)
        return EHIS_E_NO_MEMORY;
    memcpy(t->name, gateway.p, gateway.len);
    t->name_len = gateway.len;
    t->boot = boot;
    t->offset = -1;
    for (size_t i = 0; i < LEASE_GATEWAYS_MAX; i++)
        node_init(&t->gateways[i].claims);
    node_init(&t->dirty);
    pool_init(&t->system_pool, sizeof(struct system));
    pool_init(&t->claim_pool, sizeof(struct claim));
    random_fill(&random_system, seed, sizeof seed); /* of the hash alone: no answer depends on it */
    ehis_err err = table_init(&t->systems, HEADS, seed);
    if (err != EHIS_OK) {
        lease_table_free(t);
        return err;
    }
    *out = t;
    return EHIS_OK;
}

void lease_table_free(struct lease_table *t)
{
    if (!t)
        return;
    table_fini(&t->systems);
    pool_fini(&t->system_pool);
    pool_fini(&t->claim_pool);
    free(t);
}

static struct system *find_system(const struct lease_table *t, struct span name)
{
    for (struct table_node *n = *table_head(&t->systems, table_hash(&t->systems, name.p, name.len)); n; n = n->next) {
        struct system *s = container_of(n, struct system, table);
        if (span_eq(span_of(s->name, s->name_len), name))
            return s;
    }
    return NULL;
}

static struct system *system_for(struct lease_table *t, struct span name)
{
    struct system *s = find_system(t, name);
    if (s || name.len > sizeof s->name || !(s = pool_take(&t->system_pool)))
        return s;
    memcpy(s->name, name.p, name.len);
    s->name_len = name.len;
    node_init(&s->claims);
    node_init(&s->dirty);
    table_add(&t->systems, table_hash(&t->systems, name.p, name.len), &s->table);
    return s;
}

static void mark(struct lease_table *t, struct system *s)
{
    if (!node_is_linked(&s->dirty))
        list_add(&t->dirty, &s->dirty);
}

/* The system stays, marked, until lease_changes has told that it lost its owner. */
static void drop_claim(struct lease_table *t, struct claim *c)
{
    mark(t, c->system);
    node_remove(&c->of_system);
    node_remove(&c->of_gateway);
    pool_give(&t->claim_pool, c);
    t->claim_count--;
}

static void drop_claims(struct lease_table *t, struct gateway *g)
{
    while (!list_is_empty(&g->claims))
        drop_claim(t, container_of(g->claims.next, struct claim, of_gateway));
}

/* Makes room: forgets the gateway that has been void for longest, or, for a claim, the claims of that one. By what stands in the log alone, so
 * that all forget the same. */
static struct gateway *forget_void(struct lease_table *t, bool has_claims)
{
    struct gateway *oldest = NULL;
    for (size_t i = 0; i < LEASE_GATEWAYS_MAX; i++) {
        struct gateway *g = &t->gateways[i];
        if (g->name_len && !is_alive(t, g) && (!has_claims || !list_is_empty(&g->claims)) && (!oldest || g->beat_ms < oldest->beat_ms))
            oldest = g;
    }
    if (oldest)
        drop_claims(t, oldest);
    return oldest;
}

static struct gateway *gateway_for(struct lease_table *t, struct span name)
{
    struct gateway *empty = NULL;
    for (size_t i = 0; i < LEASE_GATEWAYS_MAX; i++) {
        struct gateway *g = &t->gateways[i];
        if (g->name_len && span_eq(name_of(g), name))
            return g;
        if (!g->name_len && !empty)
            empty = g;
    }
    if (name.len > sizeof empty->name || (!empty && !(empty = forget_void(t, false))))
        return NULL;
    memset(empty, 0, offsetof(struct gateway, claims));
    memcpy(empty->name, name.p, name.len);
    empty->name_len = name.len;
    return empty;
}

/* False: a record of a process that was replaced. */
static bool take_boot(struct lease_table *t, struct gateway *g, uint64_t boot)
{
    if (g->boot == boot)
        return true;
    for (unsigned i = 0; i < g->former_count; i++)
        if (g->former[i] == boot)
            return false;
    if (g->boot) {
        g->former[g->former_next++ % FORMER_BOOTS] = g->boot;
        g->former_count += g->former_count < FORMER_BOOTS;
    }
    drop_claims(t, g);
    g->boot = boot;
    g->time_ms = 0;
    g->is_leaving = false;
    return true;
}

static ehis_err take_claim(struct lease_table *t, struct gateway *g, const struct lease_record *r)
{
    struct system *s = find_system(t, r->system);
    struct claim *c = NULL;
    for (struct node *n = s ? s->claims.next : NULL; n && n != &s->claims && !c; n = n->next)
        if (container_of(n, struct claim, of_system)->gateway == g)
            c = container_of(n, struct claim, of_system);
    if (!r->streams && !r->calls) {
        if (c)
            drop_claim(t, c);
        return EHIS_OK;
    }
    if (!c) {
        if (t->claim_count >= LEASE_CLAIMS_MAX && !forget_void(t, true))
            return EHIS_E_TOO_LARGE;
        if (!(s = system_for(t, r->system)) || !(c = pool_take(&t->claim_pool)))
            return EHIS_E_NO_MEMORY;
        c->system = s;
        c->gateway = g;
        list_add(&s->claims, &c->of_system);
        list_add(&g->claims, &c->of_gateway);
        t->claim_count++;
    }
    c->offset = r->offset; /* of the newest: a compacted log has no other */
    c->streams = r->streams;
    c->calls = r->calls;
    mark(t, s);
    return EHIS_OK;
}

static void pass_time(struct lease_table *t, int64_t broker_ms, bool *is_future)
{
    int64_t step = 0;
    const bool is_ahead = t->is_begun && broker_ms > t->broker_ms;
    if (is_ahead && __builtin_sub_overflow(broker_ms, t->broker_ms, &step))
        step = INT64_MAX;
    *is_future = step > LEASE_FUTURE_MS;
    t->steady_ms += step < LEASE_STEP_MS ? step : LEASE_STEP_MS;
    t->broker_ms = broker_ms;
    t->is_begun = true;
}

ehis_err lease_take(struct lease_table *t, const struct lease_record *r)
{
    bool is_future;
    ehis_err err = EHIS_OK;
    if (r->offset <= t->offset)
        return EHIS_OK;
    t->offset = r->offset;
    pass_time(t, r->broker_ms, &is_future);
    struct gateway *g = gateway_for(t, r->gateway);
    if (!g) {
        err = EHIS_E_TOO_LARGE;
    } else if (take_boot(t, g, r->boot) && r->time_ms <= g->time_ms) {
        err = EHIS_E_LEASE_REPLAYED;
    } else if (g->boot == r->boot) {
        g->time_ms = r->time_ms;
        g->beat_ms = t->steady_ms;
        if (r->is_leaving && r->system.len == 0) {
            drop_claims(t, g);
            g->is_leaving = true;
        }
        if (r->system.len && !g->is_leaving)
            err = take_claim(t, g, r);
    }
    for (size_t i = 0; i < LEASE_GATEWAYS_MAX; i++) {
        g = &t->gateways[i];
        if (g->was_alive == is_alive(t, g))
            continue;
        g->was_alive = !g->was_alive;
        for (struct node *n = g->claims.next; n != &g->claims; n = n->next)
            mark(t, container_of(n, struct claim, of_gateway)->system);
    }
    return err == EHIS_OK && is_future ? EHIS_E_LEASE_FUTURE : err;
}

/* Streams and calls go to one owner. Who takes both serves both; else streams first: they would wait, while a call is told at once. */
static int rank(const struct claim *c) { return c->streams ? (c->calls ? 0 : 1) : 2; }

static const struct claim *owner_of(const struct lease_table *t, const struct system *s)
{
    const struct claim *best = NULL;
    for (struct node *n = s->claims.next; n != &s->claims; n = n->next) {
        const struct claim *c = container_of(n, struct claim, of_system);
        if (is_alive(t, c->gateway) && (!best || rank(c) < rank(best) || (rank(c) == rank(best) && c->offset < best->offset)))
            best = c;
    }
    return best;
}

static bool is_me(const struct lease_table *t, const struct gateway *g)
{
    return g->boot == t->boot && span_eq(name_of(g), span_of(t->name, t->name_len));
}

bool lease_owner_of(const struct lease_table *t, struct span system, struct lease_owner *out)
{
    const struct system *s = find_system(t, system);
    const struct claim *c = s ? owner_of(t, s) : NULL;
    if (c)
        *out = (struct lease_owner){name_of(c->gateway), c->gateway->boot, c->streams, c->calls, is_me(t, c->gateway)};
    return c != NULL;
}

bool lease_is_reachable(const struct lease_table *t, struct span system)
{
    struct lease_owner o;
    return lease_owner_of(t, system, &o) && o.calls;
}

bool lease_is_claimed(const struct lease_table *t, struct span system)
{
    const struct system *s = find_system(t, system);
    for (struct node *n = s ? s->claims.next : NULL; n && n != &s->claims; n = n->next)
        if (is_me(t, container_of(n, struct claim, of_system)->gateway))
            return true;
    return false;
}

bool lease_rival(const struct lease_table *t, uint64_t written_ms, struct lease_rival *out)
{
    for (size_t i = 0; i < LEASE_GATEWAYS_MAX; i++) {
        const struct gateway *g = &t->gateways[i];
        if (!span_eq(name_of(g), span_of(t->name, t->name_len)))
            continue;
        *out = (struct lease_rival){g->boot, g->time_ms, is_alive(t, g)};
        return g->boot != t->boot || g->time_ms > written_ms || g->is_leaving;
    }
    return false;
}

void lease_set_boot(struct lease_table *t, uint64_t boot) { t->boot = boot; }

void lease_changes(struct lease_table *t, void (*each)(void *ctx, struct span system), void *ctx)
{
    while (!list_is_empty(&t->dirty)) {
        struct system *s = container_of(t->dirty.next, struct system, dirty);
        const struct claim *c = owner_of(t, s);
        const struct gateway *g = c ? c->gateway : NULL;
        const bool is_changed = s->was != g || (g && (s->boot != g->boot || s->calls != c->calls || s->streams != c->streams));
        node_remove(&s->dirty);
        s->was = g;
        s->boot = g ? g->boot : 0;
        s->calls = c && c->calls;
        s->streams = c && c->streams;
        if (is_changed)
            each(ctx, span_of(s->name, s->name_len));
        if (list_is_empty(&s->claims)) {
            table_remove(&t->systems, table_hash(&t->systems, s->name, s->name_len), &s->table);
            pool_give(&t->system_pool, s);
        }
    }
}

size_t lease_gateways(const struct lease_table *t)
{
    size_t n = 0;
    for (size_t i = 0; i < LEASE_GATEWAYS_MAX; i++)
        n += is_alive(t, &t->gateways[i]);
    return n;
}
