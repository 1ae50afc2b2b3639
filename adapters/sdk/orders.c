/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* The calls of the public header on their way to the I/O thread: calls, messages in streams, flushes, handlers. */
#include "adapters/sdk/ehis_priv.h"
#include "base/log.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#define SEND_LIFETIME_MS (24 * UINT64_C(3600000))
#define SEND_LIFETIME_MAX_MS (14 * UINT64_C(86400000))

int ehis_tell(char *out, ehis_err err, const struct ehis_why *why)
{
    if (err != EHIS_OK && out)
        snprintf(out, EHIS_WHY_BYTES, "%s", why->text[0] ? why->text : ehis_err_row(err)->text);
    return (int)err;
}

static bool is_closing(ehis *e)
{
    pthread_mutex_lock(&e->lock);
    bool is = e->is_closing;
    pthread_mutex_unlock(&e->lock);
    return is;
}

/* ---- calls ---- */

struct call_order { struct order order; struct call *call; };

static void on_call_order(struct ehis *e, struct order *o)
{
    struct call_order *c = (struct call_order *)(void *)o;
    calls_add(e, c->call);
    if (e->is_stopped || e->failed != EHIS_OK)
        calls_end_all(e, e->failed != EHIS_OK ? e->failed : EHIS_E_SDK_CLOSED);
    free(c);
}

static ehis_err start_call(ehis *e, const ehis_message *m, ehis_reply **reply_to, void (*done)(void *, int, const ehis_reply *, const char *), void *arg,
                           uint8_t exchange_id[16], struct ehis_why *why)
{
    struct call *c;
    struct call_order *o = calloc(1, sizeof *o);
    if (!o)
        return EHIS_E_NO_MEMORY;
    ehis_err err = is_closing(e) ? EHIS_E_SDK_CLOSED : call_new(e, m, &c, why);
    if (err != EHIS_OK) {
        free(o);
        return err;
    }
    c->done = done;
    c->arg = arg;
    c->reply_to = reply_to;
    if (exchange_id)
        memcpy(exchange_id, c->exchange_id, 16);
    *o = (struct call_order){{NULL, on_call_order}, c};
    if (work_post(e, &o->order))
        return EHIS_OK;
    atomic_fetch_sub(&e->calls_open, 1);
    call_free(c);
    free(o);
    return EHIS_E_SDK_CLOSED;
}

int ehis_call_start(ehis *e, const ehis_message *m, void (*done)(void *arg, int err, const ehis_reply *reply, const char *why), void *arg,
                    uint8_t exchange_id[16], char *why_text)
{
    struct ehis_why why = {""};
    return ehis_tell(why_text, start_call(e, m, NULL, done, arg, exchange_id, &why), &why);
}

struct waiter {
    pthread_mutex_t lock;
    pthread_cond_t done;
    bool is_done;
    ehis_err err;
    struct ehis_reply *reply;
    struct ehis_why why;
};

static void waiter_init(struct waiter *w)
{
    *w = (struct waiter){0};
    pthread_mutex_init(&w->lock, NULL);
    pthread_cond_init(&w->done, NULL);
}

static ehis_err waiter_wait(struct waiter *w)
{
    pthread_mutex_lock(&w->lock);
    while (!w->is_done) /* what it waits for has its own deadline, and ends with the handle */
        pthread_cond_wait(&w->done, &w->lock);
    pthread_mutex_unlock(&w->lock);
    pthread_mutex_destroy(&w->lock);
    pthread_cond_destroy(&w->done);
    return w->err;
}

static void waiter_wake(struct waiter *w, ehis_err err, const struct ehis_why *why)
{
    pthread_mutex_lock(&w->lock);
    w->err = err;
    if (why)
        w->why = *why;
    w->is_done = true;
    pthread_cond_signal(&w->done);
    pthread_mutex_unlock(&w->lock);
}

static void on_call_done(void *arg, int err, const ehis_reply *reply, const char *why)
{
    struct waiter *w = arg;
    struct ehis_why text;
    (void)reply; /* w->reply has it already */
    ehis_fail(&text, EHIS_OK, "%s", why);
    waiter_wake(w, (ehis_err)err, &text);
}

int ehis_call(ehis *e, const ehis_message *m, ehis_reply **out, char *why_text)
{
    struct ehis_why why = {""};
    struct waiter w;
    waiter_init(&w);
    ehis_err err = start_call(e, m, &w.reply, on_call_done, &w, NULL, &why);
    if (err != EHIS_OK)
        waiter_wake(&w, err, &why);
    err = waiter_wait(&w);
    if (err == EHIS_OK)
        *out = w.reply;
    return ehis_tell(why_text, err, &w.why);
}

/* ---- streams ---- */

struct send_order {
    struct order order;
    struct committed committed;
    struct draft *draft;
    struct waiter waiter;
    bool is_kept_before;
};

static void on_send_committed(struct ehis *e, struct committed *c)
{
    struct send_order *s = OWNER_OF(c, struct send_order, committed);
    waiter_wake(&s->waiter, e->failed, NULL);
}

static void on_send_made(struct ehis *e, struct draft *d, ehis_err err, const struct ehis_why *why, struct span envelope)
{
    struct send_order *s = d->owner;
    if (err == EHIS_OK) {
        err = drafts_keep(e, d, envelope);
    } else if (err == EHIS_E_EXISTS) { /* its sequence was kept before */
        s->is_kept_before = true;
        err = EHIS_OK;
    }
    draft_free(d);
    if (err == EHIS_OK)
        after_commit(e, &s->committed, on_send_committed);
    else
        waiter_wake(&s->waiter, err, why);
}

static void on_send_order(struct ehis *e, struct order *o)
{
    struct send_order *s = (struct send_order *)(void *)o;
    s->draft->owner = s;
    s->draft->on_made = on_send_made;
    if (e->is_stopped || e->draft_count >= DRAFTS_MAX) {
        draft_free(s->draft);
        waiter_wake(&s->waiter, e->is_stopped ? EHIS_E_SDK_CLOSED : EHIS_E_SDK_BUSY, NULL);
    } else {
        drafts_add(e, s->draft);
    }
}

static int send_in_stream(ehis *e, const ehis_message *m, enum envelope_kind kind, uint8_t exchange_id[16], char *why_text)
{
    struct ehis_why why = {""};
    struct send_order s = {.order.run = on_send_order};
    uint64_t lifetime = m->lifetime_ms ? m->lifetime_ms : SEND_LIFETIME_MS;
    ehis_err err = is_closing(e) ? EHIS_E_SDK_CLOSED : EHIS_OK;
    if (err == EHIS_OK && lifetime > SEND_LIFETIME_MAX_MS)
        err = ehis_fail(&why, EHIS_E_SDK_MESSAGE, "a message lives for at most 14 days");
    if (err == EHIS_OK)
        err = message_draft(e, m, kind, lifetime, &s.draft, &why);
    if (err != EHIS_OK)
        return ehis_tell(why_text, err, &why);
    s.draft->class_ = kind == KIND_EVENT ? OUT_EVENTS : OUT_REQUESTS;
    s.draft->sequence = m->sequence;
    if (exchange_id)
        memcpy(exchange_id, s.draft->exchange_id, 16);
    waiter_init(&s.waiter);
    if (!work_post(e, &s.order)) {
        draft_free(s.draft);
        waiter_wake(&s.waiter, EHIS_E_SDK_CLOSED, NULL);
    }
    err = waiter_wait(&s.waiter);
    if (exchange_id && s.is_kept_before)
        memset(exchange_id, 0, 16);
    return ehis_tell(why_text, err, &s.waiter.why);
}

int ehis_send(ehis *e, const ehis_message *m, uint8_t exchange_id[16], char *why) { return send_in_stream(e, m, KIND_REQUEST, exchange_id, why); }
int ehis_publish(ehis *e, const ehis_message *m, uint8_t exchange_id[16], char *why) { return send_in_stream(e, m, KIND_EVENT, exchange_id, why); }

static void on_flush_order(struct ehis *e, struct order *o)
{
    struct flush_wait *w = (struct flush_wait *)(void *)o;
    pthread_mutex_lock(&e->lock);
    if (!e->is_stopped) {
        w->ticket = outbox_ticket(e->outbox);
        w->next = e->flushes;
        e->flushes = w;
    } else {
        w->is_done = true;
        w->err = EHIS_E_SDK_CLOSED;
        pthread_cond_broadcast(&e->changed);
    }
    pthread_mutex_unlock(&e->lock);
}

static void on_flush_end(struct ehis *e, struct order *o)
{
    struct flush_wait *w = OWNER_OF(o, struct flush_wait, end);
    pthread_mutex_lock(&e->lock);
    struct flush_wait **at = &e->flushes;
    while (*at && *at != w)
        at = &(*at)->next;
    if (*at)
        *at = w->next;
    pthread_mutex_unlock(&e->lock);
    free(w);
}

int ehis_flush(ehis *e, int until_final, uint32_t timeout_ms, char *why_text)
{
    int64_t until_us = clock_mono_us(&clock_system) + (int64_t)timeout_ms * 1000;
    struct timespec until = {.tv_sec = until_us / 1000000, .tv_nsec = until_us % 1000000 * 1000};
    struct ehis_why why = {""};
    struct flush_wait *w = calloc(1, sizeof *w);
    if (!w)
        return ehis_tell(why_text, EHIS_E_NO_MEMORY, &why);
    w->order.run = on_flush_order;
    w->end.run = on_flush_end;
    w->is_final = until_final;
    if (!work_post(e, &w->order)) {
        free(w);
        return ehis_tell(why_text, EHIS_E_SDK_CLOSED, &why);
    }
    pthread_mutex_lock(&e->lock);
    e->refs++; /* ehis_close waits for nobody here */
    while (!w->is_done && !e->is_closing && pthread_cond_timedwait(&e->changed, &e->lock, &until) != ETIMEDOUT)
        ;
    ehis_err err = w->is_done ? w->err : e->is_closing ? EHIS_E_SDK_CLOSED : EHIS_E_TIMEOUT;
    pthread_mutex_unlock(&e->lock);
    if (!work_post(e, &w->end)) /* no I/O thread */
        on_flush_end(e, &w->end);
    pthread_mutex_lock(&e->lock);
    ehis_release(e);
    return ehis_tell(why_text, err, &why);
}

/* ---- handlers ---- */

struct handler_order { struct order order; struct handler *handler; };

static void on_handler_order(struct ehis *e, struct order *o)
{
    struct handler_order *ho = (struct handler_order *)(void *)o;
    struct handler *h = ho->handler, *old = e->handlers;
    free(ho);
    if (h->from_ms)
        inbox_replays(e->inbox, identifier_prefix(span_str(h->service), IDENTIFIER_SYSTEM));
    while (old && (old->kind != h->kind || (h->service && strcmp(h->service, old->service) != 0) ||
                   (h->operation && old->operation ? strcmp(h->operation, old->operation) != 0 : h->operation != old->operation)))
        old = old->next;
    if (old) {
        old->fn = h->fn;
        old->arg = h->arg;
        old->told = 0;
        old->from_ms = h->from_ms;
        old->is_replayed = h->is_replayed;
        free(h->service);
        free(h->operation);
        free(h);
    } else {
        struct handler **at = &e->handlers; /* those that name an operation stand before those that do not */
        while (*at && (!h->operation || (*at)->operation))
            at = &(*at)->next;
        h->next = *at;
        *at = h;
    }
    if (e->is_stopped)
        return;
    inbox_go_on(e->inbox);
    for (size_t i = 0; i < e->session_count; i++) {
        acks_flush(&e->sessions[i]); /* what nobody took before comes again at READY */
        readiness_say(&e->sessions[i]);
    }
    events_subscribe(e);
}

static ehis_err add_handler(ehis *e, int kind, const char *service, const char *operation, ehis_handler fn, void *arg, int64_t from_ms, struct ehis_why *why)
{
    if (kind != HANDLER_RESPONSE) {
        if (!service || (kind == HANDLER_SUBSCRIBE && !operation))
            return ehis_fail(why, EHIS_E_SDK_MESSAGE, "a service%s is required", kind == HANDLER_SUBSCRIBE ? " and an event" : "");
        EHIS_TRY(identifier_check(span_str(service), IDENTIFIER_SERVICE, why));
    }
    if (operation)
        EHIS_TRY(identifier_part_check(span_str(operation), why));
    if (kind == HANDLER_SERVE && !span_eq(identifier_prefix(span_str(service), IDENTIFIER_SYSTEM), span_str(e->system)))
        return ehis_fail(why, EHIS_E_SDK_MESSAGE, "%s is not a service of %s", service, e->system);
    struct handler *h = calloc(1, sizeof *h);
    struct handler_order *o = calloc(1, sizeof *o);
    if (h && o) {
        h->kind = kind;
        h->service = service ? strdup(service) : NULL;
        h->operation = operation ? strdup(operation) : NULL;
        h->fn = fn;
        h->arg = arg;
        h->from_ms = from_ms;
        h->is_replayed = from_ms != 0;
        *o = (struct handler_order){{NULL, on_handler_order}, h};
        if ((h->service || !service) && (h->operation || !operation) && work_post(e, &o->order))
            return EHIS_OK;
        free(h->service);
        free(h->operation);
    }
    free(h);
    free(o);
    return is_closing(e) ? EHIS_E_SDK_CLOSED : EHIS_E_NO_MEMORY;
}

int ehis_serve(ehis *e, const char *service, const char *operation, ehis_handler handler, void *arg, char *why_text)
{
    struct ehis_why why = {""};
    return ehis_tell(why_text, add_handler(e, HANDLER_SERVE, service, operation, handler, arg, 0, &why), &why);
}

int ehis_subscribe(ehis *e, const char *service, const char *event, ehis_handler handler, void *arg, char *why_text)
{
    struct ehis_why why = {""};
    return ehis_tell(why_text, add_handler(e, HANDLER_SUBSCRIBE, service, event, handler, arg, 0, &why), &why);
}

int ehis_subscribe_from(ehis *e, const char *service, const char *event, int64_t from_unix_ms, ehis_handler handler, void *arg, char *why_text)
{
    struct ehis_why why = {""};
    ehis_err err = from_unix_ms > 0 ? add_handler(e, HANDLER_SUBSCRIBE, service, event, handler, arg, from_unix_ms, &why)
                                    : ehis_fail(&why, EHIS_E_SDK_MESSAGE, "from %lld is no time", (long long)from_unix_ms);
    return ehis_tell(why_text, err, &why);
}

int ehis_unsubscribe(ehis *e, const char *service, const char *event, char *why) { return ehis_subscribe(e, service, event, NULL, NULL, why); }

void ehis_on_response(ehis *e, ehis_handler handler, void *arg)
{
    if (add_handler(e, HANDLER_RESPONSE, NULL, NULL, handler, arg, 0, NULL) != EHIS_OK)
        log_line(LOG_WARN, "sdk.handler.unset");
}

void ehis_on_receipt(ehis *e, void (*handler)(void *arg, const ehis_receipt *r), void *arg)
{
    pthread_mutex_lock(&e->lock);
    e->on_receipt = handler;
    e->on_receipt_arg = arg;
    pthread_mutex_unlock(&e->lock);
}

void ehis_on_passed(ehis *e, void (*handler)(void *arg, const ehis_passed *p), void *arg)
{
    pthread_mutex_lock(&e->lock);
    e->on_passed = handler;
    e->on_passed_arg = arg;
    pthread_mutex_unlock(&e->lock);
}

