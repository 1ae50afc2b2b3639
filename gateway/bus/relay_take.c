/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* What a record says. Nothing that a broker brings is believed: every parcel must be signed, for this topic, by a gateway of the registry. What fails goes to dlq
 * with its code and is finished: it stops nothing. An offset is finished when the core is done with it and, where another gateway is told, when
 * the broker has that report. */
#include "base/log.h"
#include "gateway/bus/relay_priv.h"

/* ---- finished ---- */

static void dead(struct held *h, ehis_err code, const struct hash *digest)
{
    struct reading *g = h->reading;
    struct relay *r = g->relay;
    int64_t now = relay_mono_ms(r);
    struct hash payload;
    struct out *o = NULL;
    struct parcel_head head = {.kind = PARCEL_DEAD, .code = (uint32_t)code};
    struct out_place at = {.topic = TOPIC_DLQ, .lane = KAFKA_BULK, .partition = -1, .key = span_str(g->topic)};
    if (now - g->second_ms >= 1000) {
        g->second_ms = now;
        g->dead_in_second = 0;
    }
    if (g->dead_in_second++ < RELAY_DEAD_A_SECOND && r->dead_count < RELAY_DEAD_MAX) {
        log_line(LOG_WARN, "bus.refused", F_ERR(code), F_STR("topic", g->topic), F_I64("offset", h->offset));
        if (digest)
            memcpy(head.digest, digest->b, HASH_BYTES);
        relay_held_dead(h);
        size_t len = h->value.len < PARCEL_MAX_BYTES - 2048 ? h->value.len : PARCEL_MAX_BYTES - 2048;
        hash_span(span_of(h->value.p, len), &payload);
        if (relay_put(r, OUT_DEAD, &at, &head, &payload, &o) == EHIS_OK) {
            o->payload_len = len;
            o->held = h;
            h->out = o;
            node_move(&g->held, &h->in_list);
            return;
        }
    }
    relay_held_finish(h);
}

/* Told where it was accepted; the offset is finished when the broker has that. If this process dies before, it comes again, and so does the report. */
void relay_done(struct bus *b, uint64_t handle, const struct exchange_report *report)
{
    struct relay *r = container_of(b, struct relay, bus);
    struct held *h = (struct held *)(uintptr_t)handle;
    struct out *o = NULL;
    struct out_place at = {.topic = TOPIC_REPLY, .lane = KAFKA_BULK, .owner = span_of(h->gateway, h->gateway_len)};
    if (report && !span_eq(at.owner, relay_name(r))) {
        struct parcel_head head = {.kind = PARCEL_REPORT, .system = report->recipient, .state = report->state, .code = report->code, .ack = report->ack};
        memcpy(head.digest, report->digest.b, HASH_BYTES);
        if (relay_put(r, OUT_REPORT, &at, &head, NULL, &o) == EHIS_OK && report->code != EHIS_E_EXCHANGE_DEAD_LETTER) {
            o->held = h;
            h->out = o;
            return;
        }
    }
    if (report && report->code == EHIS_E_EXCHANGE_DEAD_LETTER)
        dead(h, EHIS_E_EXCHANGE_DEAD_LETTER, &report->digest);
    else
        relay_held_finish(h);
}

bool relay_has(struct bus *b, uint64_t handle)
{
    (void)b;
    return ((const struct held *)(uintptr_t)handle)->offset >= 0;
}

/* ---- what came ---- */

static ehis_err verify(struct relay *r, const struct parcel *p)
{
    const struct registry_owner *gateway = registry_gateway(r->registry, p->head.gateway);
    const struct registry_key *key;
    if (!gateway || gateway->is_disabled)
        return EHIS_E_BUS_GATEWAY;
    if (registry_signing_key(r->registry, p->head.gateway, p->signature.key_id.b, 0, relay_wall_ms(r), &key) != EHIS_OK)
        return EHIS_E_BUS_GATEWAY;
    return parcel_verify(p, key->public_key.p, r->roots);
}

static ehis_err take_envelope(struct held *h, const struct parcel *p)
{
    const struct parcel_head *d = &p->head;
    struct reading *g = h->reading;
    struct exchange_skip skip = {.sender = d->sender, .recipient = d->system, .stream = d->stream.p, .number = d->number, .state = (uint8_t)d->state};
    struct exchange_arrival a = {.handle = (uint64_t)(uintptr_t)h, .gateway = span_of(h->gateway, h->gateway_len), .accepted_ms = (int64_t)d->accepted_ms,
                                 .is_key = g->kind == READ_KEY, .registry_version = d->registry_version, .blob_partition = d->blob_partition, .blob_offset = d->blob_offset,
                                 .bytes = p->payload, .envelope = p->envelope, .digest = p->digest, .sealed_hash = p->sealed_hash};
    if (g->inbox)
        a.inbox = span_of(g->inbox->name, g->inbox->name_len);
    if (g->kind == READ_EVENT) /* its writer knows no subscriber */
        skip.recipient = a.inbox;
    if (d->kind == PARCEL_SKIP) {
        memcpy(skip.digest.b, d->digest, HASH_BYTES);
        a.skip = &skip;
        a.digest = skip.digest;
    }
    return exchange_on_arrival(g->relay->exchange, &a, relay_wall_ms(g->relay)); /* h may be gone where that is OK */
}

static ehis_err take_probe(struct held *h, const struct parcel *p)
{
    struct relay *r = h->reading->relay;
    struct out_place at = {.topic = TOPIC_REPLY, .lane = KAFKA_BULK, .owner = p->head.gateway};
    size_t count = exchange_held(r->exchange, p->head.system, p->head.gateway, r->probed, PARCEL_HELD_MAX);
    struct parcel_head answer = {.kind = PARCEL_PROBED, .system = p->head.system, .token = p->head.token, .held = span_of(r->probed, count * HASH_BYTES)};
    return relay_put(r, OUT_ANSWER, &at, &answer, NULL, NULL);
}

static void take_probed(struct relay *r, const struct parcel *p)
{
    struct inbox *inbox = relay_inbox(r, p->head.system, false);
    size_t count = 0, at = 0;
    if (!inbox || !inbox->probe_token || inbox->probe_token != p->head.token)
        return; /* a later one was asked */
    while (count < PARCEL_HELD_MAX && parcel_held_next(p, &at, &r->probed[count]))
        count++;
    inbox->probe_token = 0;
    size_t lost = 0;
    if (count < PARCEL_HELD_MAX) /* more than can be said: nothing is said of the others */
        lost = exchange_on_probed(r->exchange, p->head.system, inbox->probed_ms, r->probed, count, relay_wall_ms(r));
    if (lost)
        log_line(LOG_WARN, "bus.lost", F_ERR(EHIS_E_BUS_LOST), F_SPAN("system", p->head.system), F_U64("messages", lost));
}

static bool is_allowed(const struct reading *g, const struct parcel *p)
{
    static const uint32_t kinds[] = {[READ_LEASE] = 1u << PARCEL_BEAT | 1u << PARCEL_CLAIM, [READ_REPLY] = 1u << PARCEL_ENVELOPE | 1u << PARCEL_REPORT | 1u << PARCEL_PROBED,
                                     [READ_CALL] = 1u << PARCEL_ENVELOPE | 1u << PARCEL_PROBE, [READ_INBOX] = 1u << PARCEL_ENVELOPE | 1u << PARCEL_SKIP | 1u << PARCEL_PROBE,
                                     [READ_CURSOR] = 1u << PARCEL_CURSOR, [READ_KEY] = 1u << PARCEL_ENVELOPE, [READ_EVENT] = 1u << PARCEL_ENVELOPE | 1u << PARCEL_SKIP};
    if (g->kind == READ_EVENT && p->head.kind == PARCEL_SKIP)
        return span_eq(p->head.system, p->head.sender) && span_eq(p->head.system, identifier_prefix(g->event->service, IDENTIFIER_SYSTEM));
    return p->head.kind < 32 && (kinds[g->kind] >> p->head.kind & 1) && (!g->inbox || p->head.kind == PARCEL_ENVELOPE || span_eq(p->head.system, span_of(g->inbox->name, g->inbox->name_len)));
}

struct taking {
    struct ehis_why why;
    struct hash digest;
    struct span inbox, gateway; /* where they are known */
    bool is_done, is_recorded;  /* its offset is finished at once, else h may be gone already; by the core */
};

static ehis_err take(struct held *h, struct taking *t)
{
    struct relay *r = h->reading->relay;
    struct parcel p;
    struct exchange_report report;
    if (h->reading->inbox)
        t->inbox = span_of(h->reading->inbox->name, h->reading->inbox->name_len);
    EHIS_TRY(parcel_read(span_str(h->reading->topic), h->value, &p, &t->why));
    EHIS_TRY(verify(r, &p));
    t->digest = p.digest;
    t->gateway = p.head.gateway;
    if (!is_allowed(h->reading, &p))
        return EHIS_E_BUS_WRONG_INBOX;
    memcpy(h->gateway, p.head.gateway.p, p.head.gateway.len);
    h->gateway_len = p.head.gateway.len;
    t->is_done = true;
    switch (p.head.kind) {
    case PARCEL_ENVELOPE:
    case PARCEL_SKIP:
        t->is_done = false;
        t->is_recorded = true;
        if (h->reading->kind == READ_KEY)
            relay_event_key(h->reading);
        return take_envelope(h, &p);
    case PARCEL_REPORT:
        report = (struct exchange_report){.gateway = p.head.gateway, .recipient = p.head.system, .state = (uint8_t)p.head.state, .code = p.head.code, .ack = p.head.ack};
        memcpy(report.digest.b, p.head.digest, HASH_BYTES);
        return exchange_on_report(r->exchange, &report, relay_wall_ms(r));
    case PARCEL_PROBE: return take_probe(h, &p);
    case PARCEL_PROBED: take_probed(r, &p); return EHIS_OK;
    case PARCEL_CURSOR: return relay_on_cursor(r, &p);
    default: return relay_on_lease(r, &p, h->offset, h->broker_ms);
    }
}

static bool is_later(ehis_err err)
{
    enum ehis_err_class c = ehis_err_row(err)->class_;
    return c == EHIS_CLASS_ENVIRONMENT || c == EHIS_CLASS_FLOW || err == EHIS_E_EXCHANGE_REGISTRY_BEHIND;
}

bool relay_offer(struct held *h)
{
    struct reading *g = h->reading;
    struct taking t = {0};
    node_move(&g->held, &h->in_list); /* before: it may be finished during the call */
    ehis_err err = take(h, &t);
    if (err == EHIS_OK) {
        if (t.is_done)
            relay_held_finish(h);
        return true;
    }
    if (is_later(err)) {
        node_remove(&h->in_list);
        node_insert_after(&g->later, &h->in_list);
        return false;
    }
    g->relay->refused++;
    if (g->kind == READ_LEASE) /* compaction would leave it in place of what counts */
        relay_claim_again(g->relay, h->key);
    if (g->kind == READ_CURSOR)
        relay_cursor_again(g->relay, h->key);
    if (!t.is_recorded)
        exchange_on_junk(g->relay->exchange, t.inbox, t.gateway, err, t.why.text, relay_wall_ms(g->relay));
    dead(h, err, &t.digest);
    return true;
}
