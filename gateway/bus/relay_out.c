/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* Parcels on their way out. Each has a number; what failed goes back to its place among those that wait, so that a topic gets them in order. At the end of
 * a turn all that wait are leaves of one tree under one signature, and are given to the client. Only the heads are kept here: the
 * envelope is read from the journal when it goes. */
#include "base/log.h"
#include "gateway/bus/relay_priv.h"
#include "proto/wire/identifier.h"
#include "proto/wire/record.h"

#include <stdlib.h>

static struct out *out_of(struct node *n) { return container_of(n, struct out, in_list); }

void relay_flush_soon(struct relay *r) { loop_timer_set(r->flush, 0); }

static uint64_t topic_hash(const struct relay *r, const struct out *o) { return table_hash(&r->stalls, o->bytes, o->topic_len); }
static bool is_for(const struct out *o, const struct stall *s) { return o->topic_len == s->topic_len && memcmp(o->bytes, s->topic, s->topic_len) == 0; }

static struct stall *stall_of(struct relay *r, const struct out *o)
{
    struct table_node *n = r->stalls.count ? *table_head(&r->stalls, topic_hash(r, o)) : NULL;
    while (n && !is_for(o, container_of(n, struct stall, by_topic)))
        n = n->next;
    return n ? container_of(n, struct stall, by_topic) : NULL;
}

/* To its place: mostly the end, or somewhere behind the one that came back just before. */
static void wait_in_order(struct relay *r, struct out *o)
{
    struct stall *s = stall_of(r, o);
    struct node *head = s ? &s->outs : &r->waiting, *n = head->prev;
    if (!s && n != head && out_of(n)->number > o->number && r->insert_at && out_of(r->insert_at)->number < o->number)
        for (n = r->insert_at; out_of(n->next)->number < o->number;)
            n = n->next;
    while (n != head && out_of(n)->number > o->number)
        n = n->prev;
    node_insert_after(n, &o->in_list);
    if (!s)
        r->insert_at = &o->in_list;
    o->is_sent = false;
    r->waiting_count++;
}

static void out_free(struct relay *r, struct out *o)
{
    if (o->is_sent)
        r->sent_count--;
    else if (node_is_linked(&o->in_list))
        r->waiting_count--;
    if (r->insert_at == &o->in_list)
        r->insert_at = NULL;
    node_remove(&o->in_list);
    if (o->held)
        o->held->out = NULL;
    free(o->payload);
    free(o);
}

ehis_err relay_put(struct relay *r, enum out_kind kind, const struct out_place *at, struct parcel_head *h, const struct hash *payload_digest, struct out **out)
{
    char topic[BUS_TOPIC_NAME_MAX_BYTES + 1];
    struct hash nothing;
    bus_topic_name(relay_prefix(r), at->topic, at->owner, at->event, topic);
    h->gateway = relay_name(r);
    h->boot = r->boot;
    h->time_ms = (uint64_t)relay_wall_ms(r);
    if (kind == OUT_BEAT || kind == OUT_CLAIM) /* so that a repetition is known, whatever becomes of the clock */
        h->time_ms = r->lease_time_ms = h->time_ms > r->lease_time_ms ? h->time_ms : r->lease_time_ms + 1;
    buf_clear(&r->head);
    EHIS_TRY(parcel_head_write(h, &r->head));
    struct span head = buf_span(&r->head), name = span_str(topic);
    struct out *o = calloc(1, sizeof *o + name.len + 1 + at->key.len + head.len);
    if (!o)
        return EHIS_E_NO_MEMORY;
    o->number = r->next_number++;
    o->kind = kind;
    o->lane = at->lane;
    o->partition = at->partition;
    o->topic_len = name.len;
    o->key_len = at->key.len;
    o->head_len = head.len;
    memcpy(o->bytes, topic, name.len + 1);
    if (at->key.len)
        memcpy(o->bytes + name.len + 1, at->key.p, at->key.len);
    memcpy(o->bytes + name.len + 1 + at->key.len, head.p, head.len);
    if (!payload_digest)
        hash_span(span_of(NULL, 0), &nothing);
    leaf_parcel(name, head, payload_digest ? payload_digest : &nothing, &o->leaf);
    wait_in_order(r, o);
    relay_flush_soon(r);
    if (out)
        *out = o;
    return EHIS_OK;
}

ehis_err relay_send(struct bus *b, const struct exchange_item *item, bool *is_here)
{
    struct relay *r = container_of(b, struct relay, bus);
    struct out *o = NULL;
    struct parcel_head h = {.kind = PARCEL_ENVELOPE, .accepted_ms = (uint64_t)item->accepted_ms, .registry_version = item->registry_version,
                            .blob_partition = item->blob_partition, .blob_offset = item->blob_offset};
    struct span system = identifier_prefix(item->recipient, IDENTIFIER_SYSTEM);
    struct out_place at = {.topic = TOPIC_CALL, .lane = KAFKA_FAST, .owner = system};
    *is_here = false;
    if (r->waiting_count >= RELAY_WAITING_MAX)
        return EHIS_E_BUS_FULL;
    if (item->is_key)
        at = (struct out_place){.topic = TOPIC_KEY, .lane = KAFKA_FAST, .owner = item->recipient, .event = item->event};
    else if (item->event.len)
        at = (struct out_place){.topic = TOPIC_EVENT, .lane = KAFKA_BULK, .partition = -1, .owner = item->recipient, .event = item->event};
    else if (item->gateway.len)
        at = (struct out_place){.topic = TOPIC_REPLY, .lane = KAFKA_FAST, .owner = item->gateway};
    else if (item->stream)
        at = (struct out_place){.topic = TOPIC_INBOX, .lane = KAFKA_BULK, .owner = system};
    if (item->stream)
        at.key = span_of(item->stream, 16);
    if (item->skip) {
        const struct exchange_skip *k = item->skip;
        h = (struct parcel_head){.kind = PARCEL_SKIP, .sender = k->sender, .system = system, .stream = span_of(k->stream, 16), .number = k->number, .state = k->state};
        memcpy(h.digest, k->digest.b, HASH_BYTES);
    }
    EHIS_TRY(relay_put(r, OUT_ENVELOPE, &at, &h, item->skip ? NULL : &item->digest, &o));
    o->digest = item->digest;
    o->group_number = item->group;
    o->has_pos = !item->skip;
    o->pos = item->pos;
    return EHIS_OK;
}

/* ---- given to the client ---- */

static ehis_err payload_of(struct relay *r, struct out *o, struct span parts[3], size_t *count)
{
    struct journal_entry e;
    struct record record;
    *count = 1;
    if (o->payload)
        parts[0] = span_of(o->payload, o->payload_len);
    else if (o->kind == OUT_DEAD && o->held)
        parts[0] = span_of(o->held->value.p, o->payload_len);
    else if (o->has_pos) {
        EHIS_TRY(r->config.read(r->config.ctx, &o->pos, &r->entry, &e));
        EHIS_TRY(record_read(e.record, &record, NULL));
        EHIS_TRY(envelope_parts(record.header, e.attachment, record.signature, &r->framed, parts));
        *count = 3;
    } else if (o->kind == OUT_DEAD)
        return EHIS_E_NOT_FOUND; /* its inbox was lost: the next owner sets it aside */
    else
        *count = 0;
    return EHIS_OK;
}

static ehis_err give(struct relay *r, struct out *o, const uint8_t signature[64], size_t index)
{
    struct hash path[20];
    struct span payload[3], parts[8];
    size_t payload_count, count;
    const char *key = o->bytes + o->topic_len + 1;
    EHIS_TRY(payload_of(r, o, payload, &payload_count));
    struct leaf_signature s = {.algorithm = ALGORITHM_ED25519, .key_id = *sign_key_id(r->key), .size = (uint32_t)r->tree.leaf_count, .index = (uint32_t)index, .signature = signature};
    s.path = span_of(path, tree_path(&r->tree, index, path) * HASH_BYTES);
    EHIS_TRY(parcel_parts(span_of(key + o->key_len, o->head_len), payload, payload_count, &s, &r->scratch, parts, &count));
    return kafka_send(r->kafka, o->lane, o->bytes, o->partition, span_of(key, o->key_len), parts, count, (uint64_t)(uintptr_t)o);
}

/* It cannot be sent as it is, now or ever. */
static void given_up(struct relay *r, struct out *o, ehis_err err)
{
    struct hash digest = o->digest;
    bool is_lost = o->kind == OUT_ENVELOPE && err != EHIS_E_JOURNAL_CORRUPT; /* that would come back at once: it expires */
    log_line(LOG_WARN, "bus.unsent", F_ERR(err), F_STR("topic", o->bytes));
    if (o->kind == OUT_AUDIT)
        relay_audit_sent(r, o, err == EHIS_E_BUS_TOO_LARGE ? EHIS_OK : err);
    if (o->kind == OUT_CLAIM)
        relay_claim_sent(r, o->inbox, err);
    if (o->kind == OUT_CURSOR)
        relay_cursor_sent(o->cursor, err);
    if (o->kind == OUT_BEAT)
        r->is_beating = false;
    if (o->held)
        relay_held_finish(o->held);
    out_free(r, o);
    if (is_lost) /* carried to another place in the journal meanwhile: the core knows where */
        exchange_on_lost(r->exchange, &digest, relay_wall_ms(r));
}

/* The topic is not there, or not ours: its parcels wait aside, the others go on. False: no memory, all wait for the tick. */
static bool stall(struct relay *r, struct out *o, ehis_err err)
{
    struct stall *s = stall_of(r, o) ? NULL : calloc(1, sizeof *s + o->topic_len);
    if (!s)
        return stall_of(r, o) != NULL;
    log_line(LOG_WARN, "bus.topic", F_ERR(err), F_STR("topic", o->bytes));
    node_init(&s->outs);
    s->topic_len = o->topic_len;
    memcpy(s->topic, o->bytes, o->topic_len);
    /* What is behind one that is too large may stand in the log already, and is written once more with it: not too often. */
    s->until_ms = relay_mono_ms(r) + (err == EHIS_E_BUS_MESSAGE_BYTES ? 5 * RELAY_RETRY_MS : RELAY_RETRY_MS);
    table_add(&r->stalls, topic_hash(r, o), &s->by_topic);
    list_add(&r->stall_list, &s->in_list);
    for (struct node *n = r->waiting.next, *next; n != &r->waiting; n = next) {
        next = n->next;
        if (is_for(out_of(n), s))
            node_move(&s->outs, n);
    }
    r->insert_at = NULL;
    return true;
}

static bool is_of_topic(ehis_err err) { return err == EHIS_E_BUS_NO_TOPIC || err == EHIS_E_BUS_NOT_ALLOWED || err == EHIS_E_BUS_MESSAGE_BYTES; }

/* False: the client takes no more now; the tick goes on. */
static bool send_one(struct relay *r, struct out *o, const uint8_t signature[64], size_t index)
{
    ehis_err err = give(r, o, signature, index);
    if (err == EHIS_OK) {
        if (r->insert_at == &o->in_list)
            r->insert_at = NULL;
        node_move(&r->sent, &o->in_list);
        o->is_sent = true;
        o->epoch = r->epoch;
        r->waiting_count--;
        r->sent_count++;
        free(o->payload); /* a part that fails is made again with its group */
        o->payload = NULL;
        return true;
    }
    if (is_of_topic(err))
        return stall(r, o, err);
    const bool has_gone = err == EHIS_E_NOT_FOUND || err == EHIS_E_JOURNAL_CORRUPT; /* what it was made of: nothing waits behind it */
    if (!has_gone && (err == EHIS_E_BUS_FULL || err == EHIS_E_NO_MEMORY || ehis_err_row(err)->class_ == EHIS_CLASS_ENVIRONMENT))
        return false;
    given_up(r, o, err);
    return true;
}

void relay_flush(struct relay *r)
{
    uint8_t signature[64];
    size_t count = 0, i;
    if (!r->key || !r->exchange)
        return;
    for (struct node *n = r->waiting.next; n != &r->waiting && count < RELAY_BATCH_MAX; n = n->next) {
        r->batch[count] = out_of(n);
        r->leaves[count++] = out_of(n)->leaf;
    }
    if (count == 0 || sign_batch(r->key, &r->tree, r->leaves, count, signature) != EHIS_OK)
        return;
    root_cache_own(r->roots, r->key, &r->tree, signature); /* much of it is read here again */
    for (i = 0; i < count; i++) {
        if (stall_of(r, r->batch[i]))
            continue; /* stalled by one before it */
        if (!send_one(r, r->batch[i], signature, i))
            return;
    }
    if (!list_is_empty(&r->waiting))
        relay_flush_soon(r);
}

/* ---- confirmed or not ---- */

static void confirmed(struct relay *r, struct out *o)
{
    switch (o->kind) {
    case OUT_ENVELOPE: relay_audit_wait(r, o); return;
    case OUT_AUDIT: relay_audit_sent(r, o, EHIS_OK); break;
    case OUT_CLAIM: relay_claim_sent(r, o->inbox, EHIS_OK); break;
    case OUT_CURSOR: relay_cursor_sent(o->cursor, EHIS_OK); break;
    case OUT_BEAT:
        r->is_beating = false;
        r->has_left |= o->is_last;
        break;
    case OUT_DEAD:
    case OUT_REPORT:
        r->dead += o->kind == OUT_DEAD;
        if (o->held)
            relay_held_finish(o->held);
        break;
    case OUT_ANSWER: break;
    }
    out_free(r, o);
}

void relay_on_sent(void *ctx, uint64_t token, ehis_err err, int64_t offset)
{
    struct relay *r = ctx;
    struct out *o = (struct out *)(uintptr_t)token; /* ours, come back once */
    (void)offset;
    if (err == EHIS_OK) {
        confirmed(r, o);
        return;
    }
    const bool is_aside = is_of_topic(err) && stall(r, o, err); /* also what is made anew of it */
    if (o->kind == OUT_AUDIT || o->kind == OUT_BEAT || o->kind == OUT_CLAIM || o->kind == OUT_CURSOR || (o->kind == OUT_DEAD && !o->held)) {
        if (o->kind == OUT_AUDIT)
            relay_audit_sent(r, o, err);
        if (o->kind == OUT_CLAIM)
            relay_claim_sent(r, o->inbox, err);
        if (o->kind == OUT_CURSOR)
            relay_cursor_sent(o->cursor, err);
        r->is_beating &= o->kind != OUT_BEAT;
        out_free(r, o);
        return;
    }
    if (o->kind == OUT_ENVELOPE && o->lane == KAFKA_FAST) { /* of a call: nothing is in order, and it may have ended meanwhile; the core knows */
        struct hash digest = o->digest;
        out_free(r, o);
        exchange_on_lost(r->exchange, &digest, relay_wall_ms(r));
        return;
    }
    r->sent_count--;
    node_remove(&o->in_list);
    wait_in_order(r, o);
    if (is_aside || !is_of_topic(err))
        relay_flush_soon(r);
}

static struct stall *stall_at(struct node *n) { return container_of(n, struct stall, in_list); }

static void stall_remove(struct relay *r, struct stall *s)
{
    table_remove(&r->stalls, table_hash(&r->stalls, s->topic, s->topic_len), &s->by_topic);
    node_remove(&s->in_list);
}

void relay_out_tick(struct relay *r)
{
    size_t count = 0;
    for (struct node *n = r->stall_list.next, *next; n != &r->stall_list && count < RELAY_STALLS_A_TICK; n = next) {
        struct stall *s = stall_at(n);
        next = n->next;
        if (relay_mono_ms(r) < s->until_ms)
            continue;
        count++;
        stall_remove(r, s);
        while (!list_is_empty(&s->outs)) {
            struct out *o = out_of(s->outs.next);
            node_remove(&o->in_list);
            r->waiting_count--;
            wait_in_order(r, o);
        }
        free(s);
    }
    if (!list_is_empty(&r->waiting))
        relay_flush_soon(r);
}

static void free_all(struct node *outs)
{
    while (!list_is_empty(outs)) {
        struct out *o = out_of(outs->next);
        node_remove(&o->in_list);
        if (o->held)
            o->held->out = NULL;
        free(o->payload);
        free(o);
    }
}

void relay_out_fini(struct relay *r)
{
    free_all(&r->waiting);
    free_all(&r->sent);
    while (!list_is_empty(&r->stall_list)) {
        struct stall *s = stall_at(r->stall_list.next);
        stall_remove(r, s);
        free_all(&s->outs);
        free(s);
    }
}
