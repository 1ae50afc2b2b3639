/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* Beats, claims, and whose inbox is whose (SPEC 17.5). The table of gateway/bus/lease.h decides; this writes what it reads, and follows. */
#include "base/log.h"
#include "gateway/bus/relay_priv.h"

#include <stdio.h>
#include <stdlib.h>

#define CHECK_MS 1000
#define OLD_MS 10000 /* behind our own clock: it was written long ago */
#define INBOXES_MAX 65536

struct inbox *relay_inbox(struct relay *r, struct span system, bool is_made)
{
    uint64_t hash = table_hash(&r->by_name, system.p, system.len);
    for (struct table_node *n = *table_head(&r->by_name, hash); n; n = n->next) {
        struct inbox *i = container_of(n, struct inbox, by_name);
        if (span_eq(span_of(i->name, i->name_len), system))
            return i;
    }
    struct inbox *i = is_made && r->inbox_count < INBOXES_MAX && system.len <= IDENTIFIER_MAX_BYTES ? calloc(1, sizeof *i) : NULL;
    if (!i)
        return NULL;
    memcpy(i->name, system.p, system.len);
    i->name_len = system.len;
    node_init(&i->cursors);
    table_add(&r->by_name, hash, &i->by_name);
    list_add(&r->inboxes, &i->in_list);
    r->inbox_count++;
    return i;
}

static struct inbox *inbox_of(struct node *n) { return container_of(n, struct inbox, in_list); }
static struct span name_of(const struct inbox *i) { return span_of(i->name, i->name_len); }

/* ---- written ---- */

static void beat(struct relay *r)
{
    char key[32 + IDENTIFIER_MAX_BYTES];
    struct out *o;
    struct parcel_head h = {.kind = PARCEL_BEAT, .is_leaving = r->is_leaving};
    snprintf(key, sizeof key, "gw/%s/%016llx", r->gateway, (unsigned long long)r->boot);
    struct out_place at = {.topic = TOPIC_CONTROL_LEASE, .lane = KAFKA_FAST, .key = span_str(key)};
    r->is_beating = relay_put(r, OUT_BEAT, &at, &h, NULL, &o) == EHIS_OK;
    if (r->is_beating)
        o->is_last = r->is_leaving;
}

static int claim_key_end(const struct relay *r, char out[32 + IDENTIFIER_MAX_BYTES])
{
    return snprintf(out, 32 + IDENTIFIER_MAX_BYTES, "/%s/%016llx", r->gateway, (unsigned long long)r->boot);
}

void relay_claim_again(struct relay *r, struct span key)
{
    static const char begin[] = "claim/";
    char end[32 + IDENTIFIER_MAX_BYTES];
    const size_t begin_len = sizeof begin - 1, end_len = (size_t)claim_key_end(r, end);
    if (key.len <= begin_len + end_len || memcmp(key.p, begin, begin_len) != 0 || memcmp(key.p + key.len - end_len, end, end_len) != 0)
        return;
    struct inbox *i = relay_inbox(r, span_of(key.p + begin_len, key.len - begin_len - end_len), false);
    if (i)
        i->claimed_streams = i->claimed_calls = false; /* the check writes it */
}

/* One at a time; what is wanted meanwhile is written when it is confirmed. */
static void claim(struct relay *r, struct inbox *i)
{
    char key[64 + 2 * IDENTIFIER_MAX_BYTES], end[32 + IDENTIFIER_MAX_BYTES];
    struct out *o;
    struct parcel_head h = {.kind = PARCEL_CLAIM, .system = name_of(i), .takes_streams = i->wants_streams, .takes_calls = i->wants_calls};
    (void)claim_key_end(r, end);
    snprintf(key, sizeof key, "claim/%.*s%s", (int)i->name_len, i->name, end);
    struct out_place at = {.topic = TOPIC_CONTROL_LEASE, .lane = KAFKA_FAST, .key = span_str(key)};
    if (i->is_claiming || relay_put(r, OUT_CLAIM, &at, &h, NULL, &o) != EHIS_OK)
        return;
    o->inbox = i;
    i->is_claiming = true;
    i->claimed_streams = i->wants_streams;
    i->claimed_calls = i->wants_calls;
}

static bool is_claim_due(const struct relay *r, const struct inbox *i)
{
    bool is_wanted = i->wants_streams || i->wants_calls;
    bool is_otherwise = r->is_ready && is_wanted != lease_is_claimed(r->leases, name_of(i)); /* forgotten, or an old one came again */
    return !i->is_claiming && (i->wants_streams != i->claimed_streams || i->wants_calls != i->claimed_calls || is_otherwise);
}

void relay_want(struct bus *b, struct span system, bool streams, bool calls)
{
    struct relay *r = container_of(b, struct relay, bus);
    struct inbox *i = relay_inbox(r, system, true);
    if (!i)
        return;
    i->wants_streams = streams;
    i->wants_calls = calls;
    if (r->is_ready && !r->is_leaving && (streams != i->claimed_streams || calls != i->claimed_calls))
        claim(r, i);
}

void relay_claim_sent(struct relay *r, struct inbox *i, ehis_err err)
{
    i->is_claiming = false;
    if (err != EHIS_OK)
        i->claimed_streams = i->claimed_calls = false; /* the check writes it again */
    else if (r->is_ready && !r->is_leaving && (i->wants_streams != i->claimed_streams || i->wants_calls != i->claimed_calls))
        claim(r, i);
}

/* ---- read ---- */

static void own(struct relay *r, struct inbox *i, bool is_owned)
{
    i->is_owned = is_owned;
    log_line(LOG_INFO, is_owned ? "inbox.owned" : "inbox.lost", F_SPAN("system", name_of(i)));
    if (is_owned) {
        r->owned_count++;
        exchange_on_inbox(r->exchange, name_of(i), true, relay_wall_ms(r));
        i->call = relay_read(r, &(struct reading){.kind = READ_CALL, .inbox = i});
        i->stream = relay_read(r, &(struct reading){.kind = READ_INBOX, .lane = KAFKA_BULK, .inbox = i});
        relay_cursors_own(r, i, true);
        return;
    }
    r->owned_count--;
    exchange_on_inbox(r->exchange, name_of(i), false, relay_wall_ms(r)); /* its handles are void: then what they stood for goes */
    relay_unread(i->call);
    relay_unread(i->stream);
    i->call = i->stream = NULL;
    relay_cursors_own(r, i, false);
}

static void on_change(void *ctx, struct span system)
{
    struct relay *r = ctx;
    struct lease_owner owner;
    struct inbox *i = relay_inbox(r, system, false);
    bool is_mine = lease_owner_of(r->leases, system, &owner) && owner.is_me && !r->is_leaving;
    if (i && is_mine != i->is_owned)
        own(r, i, is_mine);
    if (!lease_is_reachable(r->leases, system))
        exchange_on_unreachable(r->exchange, system, relay_wall_ms(r));
}

ehis_err relay_on_lease(struct relay *r, const struct parcel *p, int64_t offset, int64_t broker_ms)
{
    const struct parcel_head *h = &p->head;
    struct lease_record record = {.gateway = h->gateway, .boot = h->boot, .offset = offset, .broker_ms = broker_ms, .system = h->kind == PARCEL_CLAIM ? h->system : span_of(NULL, 0),
                                  .streams = h->takes_streams, .calls = h->takes_calls, .is_leaving = h->is_leaving, .time_ms = h->time_ms};
    const bool is_old = !r->is_ready;
    ehis_err err = lease_take(r->leases, &record);
    if (!r->is_ready && h->boot == r->boot && span_eq(h->gateway, relay_name(r))) {
        r->is_ready = true; /* all that stood before our own beat is read */
        log_line(LOG_NOTICE, "bus.ready", F_U64("gateways", lease_gateways(r->leases)));
        r->check_ms = 0;
        for (struct node *n = r->inboxes.next; n != &r->inboxes; n = n->next)
            on_change(r, name_of(inbox_of(n))); /* what was owned by a log that is gone */
    }
    if (r->is_ready)
        lease_changes(r->leases, on_change, r);
    return is_old ? EHIS_OK : err; /* of what was there before, who was there before has said so */
}

void relay_lease_anew(struct relay *r)
{
    struct lease_table *fresh;
    if (lease_table_new(relay_name(r), r->boot, &fresh) != EHIS_OK)
        return; /* noticed again: its offsets do not rise */
    lease_table_free(r->leases);
    r->leases = fresh;
    r->is_ready = false; /* as at the start: who owned owns on until our own beat stands there; then all is claimed again */
}

/* Its records count no more, and its inboxes are nobody's, or the other's. A second process has its way as long as it beats, so that two do not take the name from each
 * other for ever; a record from long ago has not, nor one under our own boot: no process of ours wrote it. */
static void look_for_rival(struct relay *r)
{
    struct lease_rival rival;
    if (!r->is_ready || r->is_leaving || !lease_rival(r->leases, r->lease_time_ms, &rival))
        return;
    const bool is_old = rival.time_ms < r->lease_time_ms && r->lease_time_ms - rival.time_ms > OLD_MS;
    if (rival.boot != r->rival) {
        r->rival = rival.boot;
        log_line(LOG_ERROR, "bus.lease", F_ERR(EHIS_E_LEASE_REPLACED), F_BOOL("is_old", is_old));
    }
    if ((rival.boot != r->boot && rival.is_alive && !is_old) || relay_mono_ms(r) - r->renewed_ms < LEASE_VOID_MS)
        return;
    r->renewed_ms = relay_mono_ms(r); /* its first beat is on its way for a while */
    relay_new_boot(r);
    r->beat_ms = r->check_ms = 0;
    lease_set_boot(r->leases, r->boot);
}

void relay_lease_tick(struct relay *r)
{
    look_for_rival(r);
    int64_t now = relay_mono_ms(r);
    if (!r->is_beating && !r->has_left && now - r->beat_ms >= LEASE_BEAT_MS) {
        r->beat_ms = now;
        beat(r);
    }
    if (!r->is_ready || r->is_leaving || now - r->check_ms < CHECK_MS)
        return;
    r->check_ms = now;
    for (struct node *n = r->inboxes.next; n != &r->inboxes; n = n->next)
        if (is_claim_due(r, inbox_of(n)))
            claim(r, inbox_of(n));
}

void relay_inboxes_fini(struct relay *r)
{
    while (!list_is_empty(&r->inboxes)) {
        struct inbox *i = inbox_of(r->inboxes.next);
        relay_unread(i->call);
        relay_unread(i->stream);
        node_remove(&i->in_list);
        free(i);
    }
}
