/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* Requests that a caller waits for are run once: the response is kept until the request expires, and the same bytes go to every gateway
 * that asks again. */
#include "adapters/sdk/ehis_priv.h"
#include "base/log.h"
#include <stdlib.h>

static void key_of(const struct envelope_header *h, uint8_t out[32])
{
    struct span parts[] = {span_of(h->exchange_id, 16), h->sender};
    struct hash k;
    hash_spans(parts, 2, &k);
    memcpy(out, k.b, HASH_BYTES);
}

void serving_answered(struct ehis *e, struct served *s, uint64_t session)
{
    for (struct ask *a = s->asks; a < s->asks + ASKS_MAX; a++)
        if (a->session == session)
            sending_answered(e, session, &a->is_unanswered, s->len);
}

void serving_repeat(struct ehis *e, struct served *s, uint64_t session, int64_t at_ms)
{
    for (struct ask *a = s->asks; a < s->asks + ASKS_MAX; a++)
        if (a->session && (session == 0 || a->session == session)) {
            a->is_due = true;
            a->send_at_ms = at_ms;
        }
    if (s->is_to_send)
        return;
    s->is_to_send = true;
    s->next_due = NULL;
    *e->served_due_end = s;
    e->served_due_end = &s->next_due;
}

static void undue(struct ehis *e, struct served **at)
{
    struct served *s = *at;
    *at = s->next_due;
    if (!*at)
        e->served_due_end = at;
    s->is_to_send = false;
}

static void forget(struct ehis *e, struct served *s)
{
    struct served **due = &e->served_due;
    while (s->is_to_send && *due != s)
        due = &(*due)->next_due;
    if (s->is_to_send)
        undue(e, due);
    *(s->prev ? &s->prev->next : &e->served) = s->next;
    *(s->next ? &s->next->prev : &e->served_last) = s->prev;
    table_remove(&e->served_by_request, &s->by_request);
    if (s->is_made)
        table_remove(&e->served_by_response, &s->by_response);
    for (size_t i = 0; i < ASKS_MAX; i++)
        serving_answered(e, s, s->asks[i].session);
    e->served_count--;
    e->served_bytes -= s->len;
    free(s->response);
    free(s);
}

/* The oldest answer that a gateway has taken makes room: it answers for it, as it has it durably. */
static void make_room(struct ehis *e)
{
    struct served *s = e->served;
    for (int i = 0; i < 64 && s && !s->is_accepted; i++)
        s = s->next;
    if (s && s->is_accepted)
        forget(e, s);
}

static struct served *add(struct ehis *e, const struct ehis_incoming *in, const uint8_t key[32])
{
    if (e->served_count >= SERVED_MAX || e->served_bytes >= SERVED_MAX_BYTES)
        make_room(e);
    struct served *s = e->served_count < SERVED_MAX && e->served_bytes < SERVED_MAX_BYTES ? calloc(1, sizeof *s) : NULL;
    if (!s)
        return NULL;
    memcpy(s->by_request.key, key, 32);
    if (table_add(&e->served_by_request, &s->by_request) != EHIS_OK) {
        free(s);
        return NULL;
    }
    s->digest = in->digest;
    s->expires_ms = (int64_t)in->header.expires_ms;
    s->prev = e->served_last;
    *(e->served_last ? &e->served_last->next : &e->served) = s;
    e->served_last = s;
    e->served_count++;
    return s;
}

static void acknowledge(struct ehis *e, struct ehis_incoming *in, ehis_err code, uint32_t retry_ms)
{
    acks_add(e, in->session, in->delivery, in->digest.b, retry_ms ? OUTCOME_RETRY : OUTCOME_REJECTED, code, retry_ms);
    receiving_free(in);
}

static void add_ask(struct ehis *e, struct served *s, const struct ehis_incoming *in)
{
    struct ask *a = s->asks;
    while (a < s->asks + ASKS_MAX && a->session != in->session)
        a++;
    if (a == s->asks + ASKS_MAX) {
        serving_answered(e, s, s->asks[ASKS_MAX - 1].session);
        memmove(s->asks + 1, s->asks, (ASKS_MAX - 1) * sizeof *a);
        a = s->asks;
        *a = (struct ask){.session = in->session};
    }
    a->delivery = in->delivery;
}

void serving_take(struct ehis *e, struct ehis_incoming *in)
{
    uint8_t key[32];
    key_of(&in->header, key);
    struct entry *x = table_find(&e->served_by_request, key);
    struct served *s = x ? OWNER_OF(x, struct served, by_request) : add(e, in, key);
    if (!s) {
        acknowledge(e, in, EHIS_E_SDK_BUSY, 250);
        return;
    }
    if (memcmp(s->digest.b, in->digest.b, HASH_BYTES) != 0) {
        acknowledge(e, in, EHIS_E_EXCHANGE_CONFLICT, 0);
        return;
    }
    add_ask(e, s, in);
    if (!x) {
        in->served = s;
        incoming_hand_over(e, in);
        return;
    }
    if (s->rejected != EHIS_OK) {
        acknowledge(e, in, s->rejected, 0);
        return;
    }
    if (s->is_made) { /* else it runs: its answer is on the way */
        serving_answered(e, s, in->session);
        serving_repeat(e, s, in->session, 0);
        turn_soon(e);
    }
    receiving_free(in);
}

void serving_made(struct ehis *e, struct served *s, ehis_err err, const struct hash *digest, struct span envelope)
{
    if (err == EHIS_OK) {
        memcpy(s->by_response.key, digest->b, HASH_BYTES);
        s->response = malloc(envelope.len);
        err = s->response ? table_add(&e->served_by_response, &s->by_response) : EHIS_E_NO_MEMORY;
    }
    if (err != EHIS_OK) {
        log_line(LOG_WARN, "sdk.answer.unmade", F_ERR(err));
        serving_end(e, s, err, 0);
        return;
    }
    memcpy(s->response, envelope.p, envelope.len);
    s->len = envelope.len;
    e->served_bytes += s->len;
    s->is_made = true;
    serving_repeat(e, s, 0, 0);
}

void serving_end(struct ehis *e, struct served *s, ehis_err code, uint32_t retry_ms)
{
    for (const struct ask *a = s->asks; a < s->asks + ASKS_MAX; a++)
        acks_add(e, a->session, a->delivery, s->digest.b, retry_ms ? OUTCOME_RETRY : OUTCOME_REJECTED, code, retry_ms);
    if (retry_ms)
        forget(e, s);
    else
        s->rejected = code;
}

/* The caller is told at once, instead of waiting for nothing. */
void serving_refused(struct ehis *e, struct served *s, uint64_t session, uint32_t code)
{
    ehis_err err;
    if (!ehis_err_from_number(code, &err) || err == EHIS_OK)
        err = EHIS_E_SDK_REJECTED;
    log_line(LOG_WARN, "sdk.answer.refused", F_ERR(err));
    bool is_only = true;
    for (struct ask *a = s->asks; a < s->asks + ASKS_MAX; a++) {
        if (a->session == session)
            acks_add(e, session, a->delivery, s->digest.b, OUTCOME_REJECTED, code, 0);
        else
            is_only &= a->session == 0;
    }
    if (is_only)
        s->rejected = err;
}

void serving_run(struct ehis *e)
{
    int64_t now = mono_ms(e);
    for (struct served **at = &e->served_due; *at;) {
        struct served *s = *at;
        bool is_left = false;
        for (struct ask *a = s->asks; a < s->asks + ASKS_MAX; a++) {
            if (a->is_due && now < a->send_at_ms) {
                is_left = true;
                continue;
            }
            struct session *to = a->is_due ? session_of(e, a->session) : NULL;
            ehis_err err = to ? sending_submit(to, span_of(s->response, s->len)) : EHIS_E_LINK_ENDED;
            a->is_unanswered |= err == EHIS_OK;
            bool is_not_taken = err == EHIS_E_EXCHANGE_NO_LARGE || err == EHIS_E_TOO_LARGE;
            a->is_due = to && err != EHIS_OK && !is_not_taken;
            is_left |= a->is_due;
            if (is_not_taken)
                serving_refused(e, s, a->session, err);
        }
        if (is_left)
            at = &s->next_due;
        else
            undue(e, at);
    }
}

/* In the order of their coming, which is nearly that of their expiry. */
void serving_tick(struct ehis *e)
{
    int64_t now = now_ms(e);
    for (struct served *s = e->served, *next; s && now >= s->expires_ms; s = next) {
        next = s->next;
        if (s->is_made || s->rejected != EHIS_OK) /* else its handler still runs */
            forget(e, s);
    }
}

/* A gateway that wants the answer asks for it. */
void serving_session_ended(struct ehis *e, uint64_t session)
{
    for (struct served *s = e->served; s; s = s->next)
        for (struct ask *a = s->asks; a < s->asks + ASKS_MAX; a++)
            if (a->session == session)
                *a = (struct ask){0};
}

struct served *serving_find_response(struct ehis *e, const uint8_t digest[32])
{
    struct entry *x = table_find(&e->served_by_response, digest);
    return x ? OWNER_OF(x, struct served, by_response) : NULL;
}

void serving_fini(struct ehis *e)
{
    while (e->served)
        forget(e, e->served);
    table_fini(&e->served_by_request);
    table_fini(&e->served_by_response);
}
