/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* Topic keys (SPEC 9.5): a new epoch each hour and whenever the circle of receivers changes; its key is wrapped for each of them in KEY
 * envelopes that go before the first event that needs it. As a subscriber: keys by epoch, asked for where they have not come. */
#include "adapters/sdk/ehis_priv.h"
#include "base/log.h"
#include "base/secret.h"
#include <stdlib.h>

#define EPOCH_MS 3600000
#define CHECK_MS 60000
#define RECEIVERS_MAX 4096
#define WRAPS_MAX 256
#define TOPIC_KEYS_MAX 1024

static struct topic *topic_of(struct ehis *e, struct span service, struct span event)
{
    for (struct topic *t = e->topics; t; t = t->next)
        if (span_eq(span_str(t->service), service) && span_eq(span_str(t->event), event))
            return t;
    struct topic *t = calloc(1, sizeof *t);
    if (t) {
        t->service = strndup((const char *)service.p, service.len);
        t->event = strndup((const char *)event.p, event.len);
    }
    if (!t || !t->service || !t->event || secret_alloc(&t->key) != EHIS_OK) {
        if (t) {
            free(t->service);
            free(t->event);
        }
        free(t);
        return NULL;
    }
    t->next = e->topics;
    e->topics = t;
    return t;
}

struct receivers {
    struct ehis *e;
    const struct registry_key *keys[RECEIVERS_MAX];
    size_t count;
    bool is_over;
    struct hash all;
};

static void on_receiver(void *ctx, const struct registry_owner *system)
{
    struct receivers *r = ctx;
    const struct registry_key *key;
    if (registry_sealing_key(r->e->registry, system->id, now_ms(r->e), &key) != EHIS_OK)
        return; /* it cannot read anything */
    r->is_over |= r->count == RECEIVERS_MAX;
    if (r->is_over)
        return;
    r->keys[r->count++] = key;
    struct span parts[] = {span_of(r->all.b, HASH_BYTES), span_of(key->id.b, HASH_BYTES)};
    hash_spans(parts, 2, &r->all);
}

static ehis_err begin_epoch(struct ehis *e, struct topic *t, const struct receivers *r, struct draft **keys)
{
    random_fill(e->random, t->epoch, sizeof t->epoch);
    random_fill(e->random, t->key, 32);
    t->receivers = r->all;
    t->since_ms = now_ms(e);
    for (size_t at = 0; at < r->count; at += WRAPS_MAX) {
        struct draft *d;
        drafts_make_key(e, t, r->keys + at, r->count - at < WRAPS_MAX ? r->count - at : WRAPS_MAX, &d);
        if (!d) {
            t->since_ms = 0;
            return EHIS_E_NO_MEMORY;
        }
        *keys = d;
        keys = &d->next;
    }
    log_line(LOG_INFO, "sdk.epoch", F_STR("service", t->service), F_STR("operation", t->event), F_U64("receivers", r->count));
    return EHIS_OK;
}

ehis_err events_prepare(struct ehis *e, struct draft *d, struct draft **keys)
{
    struct topic *t = topic_of(e, d->header.recipient, d->header.operation);
    int64_t now = now_ms(e);
    if (!t)
        return EHIS_E_NO_MEMORY;
    bool is_old = t->since_ms == 0 || now - t->since_ms >= EPOCH_MS || now < t->since_ms;
    if (is_old || t->checked_version != registry_version(e->registry) || now - t->checked_ms >= CHECK_MS || now < t->checked_ms) {
        struct receivers *r = calloc(1, sizeof *r);
        if (!r)
            return EHIS_E_NO_MEMORY;
        r->e = e;
        decide_receivers(e->registry, d->header.recipient, d->header.operation, now, on_receiver, r);
        t->checked_version = registry_version(e->registry);
        t->checked_ms = now;
        ehis_err err = r->is_over ? EHIS_E_TOO_LARGE : EHIS_OK;
        if (err == EHIS_OK && (is_old || memcmp(r->all.b, t->receivers.b, HASH_BYTES) != 0))
            err = begin_epoch(e, t, r, keys);
        free(r);
        EHIS_TRY(err);
    }
    memcpy(d->epoch, t->epoch, 16);
    memcpy(d->key.key, t->key, 32);
    return EHIS_OK;
}

void events_forget(struct ehis *e, const uint8_t epoch[16])
{
    for (struct topic *t = e->topics; t; t = t->next)
        if (memcmp(t->epoch, epoch, 16) == 0)
            t->since_ms = 0;
}

/* ---- receiving ---- */

static void key_name(struct span service, struct span epoch, uint8_t out[32])
{
    struct span parts[] = {epoch, service};
    struct hash h;
    hash_spans(parts, 2, &h);
    memcpy(out, h.b, 32);
}

const uint8_t *events_key(struct ehis *e, struct span service, struct span epoch)
{
    uint8_t name[32];
    key_name(service, epoch, name);
    return e->topic_keys ? recent_find(e->topic_keys, name) : NULL;
}

void events_want_key(struct session *s, const struct envelope_header *h)
{
    struct ehis *e = s->e;
    struct keys_get f = {.service = h->recipient, .event = h->operation};
    memcpy(f.epoch, h->seal.epoch.p, 16);
    buf_clear(&e->item);
    if (keys_get_write(&f, &e->item) != EHIS_OK || session_send(s, FRAME_KEYS_GET, buf_span(&e->item)) != EHIS_OK)
        log_line(LOG_DEBUG, "sdk.keys_get.unsent", F_SPAN("service", h->recipient));
}

static ehis_err unwrap(struct ehis *e, const struct envelope *env, const struct envelope_header *h, const struct key_wrap *w, const struct seal_key *k)
{
    struct seal_binding b = {.kind = KIND_KEY, .sender = h->sender, .recipient = h->recipient};
    struct seal_message_key key;
    uint8_t topic_key[32], name[32];
    memcpy(b.exchange_id, h->exchange_id, 16);
    EHIS_TRY(seal_derive(e->opening, k, w->ephemeral.p, &b, &key));
    ehis_err err = seal_unwrap_key(&key, w->commitment.p, env->header, w->wrapped.p, topic_key);
    secret_wipe(&key, sizeof key);
    EHIS_TRY(err);
    if (!e->topic_keys)
        EHIS_TRY(recent_new(TOPIC_KEYS_MAX, 32, 32, &e->topic_keys));
    key_name(h->recipient, h->seal.epoch, name);
    if (!recent_find(e->topic_keys, name)) /* the first counts: its publisher alone could sign another */
        memcpy(recent_put(e->topic_keys, name), topic_key, 32);
    secret_wipe(topic_key, sizeof topic_key);
    return EHIS_OK;
}

static ehis_err take_key(struct ehis *e, struct span bytes, struct ehis_why *why)
{
    struct envelope env;
    struct envelope_header h;
    struct hash sealed, digest, leaf;
    struct key_wrap w;
    size_t at = 0;
    EHIS_TRY(envelope_read(bytes, &env, why));
    EHIS_TRY(envelope_header_read(env.header, &h, why));
    if (h.kind != KIND_KEY)
        return ehis_fail(why, EHIS_E_GATEWAY_UNASKED, "not a key");
    hash_span(env.sealed, &sealed);
    hash_envelope(env.header, env.sealed.len, &sealed, &digest);
    leaf_envelope(&digest, &leaf);
    const struct registry_word word = {.owner = h.sender, .created_ms = (int64_t)h.created_ms, .signature = &env.signature, .leaf = &leaf, .is_met_again = true};
    EHIS_TRY(registry_verify(e->registry, &word, now_ms(e), e->roots));
    EHIS_TRY(key_wraps_read(env.sealed, why));
    while (key_wraps_next(env.sealed, &at, &w))
        for (size_t i = 0; i < e->seal_key_count; i++)
            if (memcmp(w.recipient_key_id.p, seal_key_id(e->seal_keys[i])->b, HASH_BYTES) == 0)
                return unwrap(e, &env, &h, &w, e->seal_keys[i]);
    return EHIS_OK; /* for others */
}

/* A key that does not verify is another's doing than the gateway's alone, perhaps: it is left aside. */
ehis_err events_on_keys(struct ehis *e, struct span payload, struct ehis_why *why)
{
    struct span envelope;
    size_t at = 0;
    EHIS_TRY(keys_read(payload, why));
    while (e->registry && keys_next(payload, &at, &envelope)) {
        struct ehis_why reason = {""};
        ehis_err err = take_key(e, envelope, &reason);
        if (err != EHIS_OK)
            log_line(LOG_WARN, "sdk.key.refused", F_ERR(err), F_STR("why", reason.text));
    }
    receiving_again(e);
    return EHIS_OK;
}

bool events_is_replayed(const struct ehis *e, struct span service, struct span event)
{
    const struct handler *h = e->handlers;
    while (h && !(h->is_replayed && span_eq(span_str(h->service), service) && span_eq(span_str(h->operation), event)))
        h = h->next;
    return h != NULL;
}

void events_subscribe(struct ehis *e)
{
    for (struct handler *h = e->handlers; h; h = h->next)
        for (struct session *s = e->sessions; h->kind == HANDLER_SUBSCRIBE && s < e->sessions + e->session_count; s++) {
            struct subscribe f = {.service = span_str(h->service), .event = span_str(h->operation), .is_end = !h->fn};
            if (!s->is_ready || h->told & 1u << s->slot || (h->from_ms && h->told))
                continue;
            f.from_ms = (uint64_t)h->from_ms;
            buf_clear(&e->item);
            if (subscribe_write(&f, &e->item) == EHIS_OK && session_send(s, FRAME_SUBSCRIBE, buf_span(&e->item)) == EHIS_OK)
                h->told |= 1u << s->slot;
        }
}

ehis_err events_on_subscription(struct session *s, struct span payload, struct ehis_why *why)
{
    struct subscription f;
    EHIS_TRY(subscription_read(payload, &f, why));
    ehis_err code = EHIS_OK;
    if (f.code != 0 && !ehis_err_from_number(f.code, &code))
        code = EHIS_E_INTERNAL;
    bool is_stale = code == EHIS_E_CRL_STALE || code == EHIS_E_REGISTRY_EXPIRED;
    for (struct handler *h = s->e->handlers; h && !is_stale; h = h->next) /* it begins anew once, or cannot */
        if (h->kind == HANDLER_SUBSCRIBE && h->from_ms && span_eq(f.service, span_str(h->service)) && span_eq(f.event, span_str(h->operation))) {
            h->from_ms = 0;
            h->is_replayed = code == EHIS_OK;
            h->told &= ~(code == EHIS_E_EXCHANGE_NO_REPLAY ? 1u << s->slot : 0); /* from now on, then */
        }
    log_line(code == EHIS_OK ? LOG_INFO : LOG_WARN, "sdk.subscription", F_SPAN("service", f.service), F_SPAN("operation", f.event), F_ERR(code));
    if (code != EHIS_OK)
        session_note(s, code, "a subscription was refused");
    if (!is_stale) {
        events_subscribe(s->e); /* by way of the other gateways */
        return EHIS_OK;
    }
    for (struct handler *h = s->e->handlers; h; h = h->next) /* the gateway is out of date, not we: again when it is not */
        if (h->kind == HANDLER_SUBSCRIBE && span_eq(f.service, span_str(h->service)) && span_eq(f.event, span_str(h->operation)))
            h->told &= ~(1u << s->slot);
    s->is_ready_sent = false; /* the tick fetches, and then it is ready again */
    return EHIS_OK;
}

void events_fini(struct ehis *e)
{
    while (e->topics) {
        struct topic *t = e->topics;
        e->topics = t->next;
        secret_free(t->key);
        free(t->service);
        free(t->event);
        free(t);
    }
    recent_free(e->topic_keys);
}
