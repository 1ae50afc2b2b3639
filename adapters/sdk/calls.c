/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* Requests whose answer somebody waits for: made once, the same bytes repeated where a gateway was busy or lost, until the lifetime ends. */
#include "adapters/sdk/ehis_priv.h"
#include <stdlib.h>

#define CALL_LIFETIME_MS 30000
#define CALL_LIFETIME_MAX_MS 300000

/* ---- from the application's threads ---- */

static struct span text_or_none(const char *s) { return s ? span_str(s) : (struct span){0}; }

ehis_err message_check(const struct ehis *e, const ehis_message *m, bool is_event, struct ehis_why *why)
{
    const struct { const char *text, *name; size_t max; } texts[] = {
        {m->purpose, "purpose", 64}, {m->legal_basis, "legal_basis", 128}, {m->case_ref, "case_ref", 128}, {m->official, "official", 128},
        {m->content_type, "content_type", 64}, {m->schema, "schema", 128}};
    if (m->size != sizeof *m)
        return ehis_fail(why, EHIS_E_SDK_MESSAGE, "size is not sizeof(ehis_message)");
    if (!m->service || !m->operation)
        return ehis_fail(why, EHIS_E_SDK_MESSAGE, "service and operation are required");
    EHIS_TRY(identifier_check(span_str(m->service), IDENTIFIER_SERVICE, why));
    EHIS_TRY(identifier_part_check(span_str(m->operation), why));
    if (m->on_behalf_of) {
        unsigned parts;
        EHIS_TRY(identifier_parse(span_str(m->on_behalf_of), &parts, why));
        if (parts != IDENTIFIER_AGENCY && parts != IDENTIFIER_SYSTEM)
            return ehis_fail(why, EHIS_E_SDK_MESSAGE, "on_behalf_of is neither an agency nor a system");
    }
    if (!is_event && (!m->purpose || !m->legal_basis))
        return ehis_fail(why, EHIS_E_SDK_MESSAGE, "purpose and legal_basis are required");
    if (is_event && !span_eq(identifier_prefix(span_str(m->service), IDENTIFIER_SYSTEM), span_str(e->system)))
        return ehis_fail(why, EHIS_E_SDK_MESSAGE, "%s is not a service of %s", m->service, e->system);
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        if (texts[i].text && (texts[i].text[0] == 0 || strlen(texts[i].text) > texts[i].max || !utf8_is_valid(span_str(texts[i].text), NULL)))
            return ehis_fail(why, EHIS_E_SDK_MESSAGE, "%s must be UTF-8 of 1 to %zu bytes", texts[i].name, texts[i].max);
    if (m->subject_count > ENVELOPE_SUBJECTS_MAX || (m->subject_count && !m->subjects) || (is_event && m->body_bytes > BODY_MAX_BYTES) || (m->body_bytes && !m->body && !m->read))
        return ehis_fail(why, EHIS_E_SDK_MESSAGE, "at most %d subjects, and of an event a body of %u bytes", ENVELOPE_SUBJECTS_MAX, BODY_MAX_BYTES);
    return EHIS_OK;
}

ehis_err message_draft(struct ehis *e, const ehis_message *m, enum envelope_kind kind, uint64_t lifetime_ms, struct draft **out, struct ehis_why *why)
{
    EHIS_TRY(message_check(e, m, kind == KIND_EVENT, why));
    struct envelope_header h = {.kind = kind,
                                .recipient = span_str(m->service),
                                .operation = span_str(m->operation),
                                .expires_ms = (uint64_t)now_ms(e) + lifetime_ms,
                                .max_response_bytes = kind == KIND_REQUEST ? m->max_response_bytes : 0,
                                .purpose = text_or_none(m->purpose),
                                .legal_basis = text_or_none(m->legal_basis),
                                .case_ref = text_or_none(m->case_ref),
                                .official = text_or_none(m->official),
                                .on_behalf_of = kind == KIND_REQUEST ? text_or_none(m->on_behalf_of) : (struct span){0},
                                .subject_count = m->subject_count,
                                .schema = text_or_none(m->schema),
                                .content_type = span_str(m->content_type ? m->content_type : "application/x-protobuf"),
                                .trace_id = m->trace_id ? span_of(m->trace_id, 16) : (struct span){0}};
    for (size_t i = 0; i < m->subject_count; i++)
        h.subjects[i] = span_of(m->subjects[i], 32);
    h.created_ms = (uint64_t)now_ms(e);
    uuid7_make(h.exchange_id, now_ms(e), e->random);
    struct body_source from = {.memory = span_of(m->body, m->body_bytes), .read = m->read, .arg = m->read_arg};
    return large_draft(e, &h, &from, out, why);
}

static void run_done(struct ehis *e, struct job *j)
{
    struct call *c = OWNER_OF(j, struct call, job);
    if (c->reply_to) {
        *c->reply_to = c->reply;
        c->reply = NULL;
    }
    c->done(c->arg, (int)c->err, c->reply, c->why.text);
    atomic_fetch_sub(&e->calls_open, 1);
    call_free(c);
}

static void drop_done(struct ehis *e, struct job *j)
{
    struct call *c = OWNER_OF(j, struct call, job);
    c->err = EHIS_E_SDK_CLOSED; /* exactly once, also then */
    ehis_reply_free(c->reply);
    c->reply = NULL;
    run_done(e, j);
}

ehis_err call_new(struct ehis *e, const ehis_message *m, struct call **out, struct ehis_why *why)
{
    uint64_t lifetime = m->lifetime_ms ? m->lifetime_ms : CALL_LIFETIME_MS;
    if (lifetime > CALL_LIFETIME_MAX_MS)
        return ehis_fail(why, EHIS_E_SDK_MESSAGE, "a call lives for at most 5 minutes");
    struct call *c = calloc(1, sizeof *c);
    if (!c)
        return EHIS_E_NO_MEMORY;
    ehis_err err = message_draft(e, m, KIND_REQUEST, lifetime, &c->draft, why);
    if (err != EHIS_OK) {
        free(c);
        return err;
    }
    if (atomic_fetch_add(&e->calls_open, 1) >= CALLS_MAX) {
        atomic_fetch_sub(&e->calls_open, 1);
        call_free(c);
        return ehis_fail(why, EHIS_E_SDK_BUSY, "%d calls wait for their answers", CALLS_MAX);
    }
    c->e = e;
    c->job = (struct job){NULL, run_done, drop_done};
    memcpy(c->service, m->service, strlen(m->service));
    memcpy(c->exchange_id, c->draft->exchange_id, 16);
    c->expires_ms = (int64_t)c->draft->header.expires_ms;
    c->deadline_us = clock_mono_us(e->clock) + (int64_t)lifetime * 1000;
    *out = c;
    return EHIS_OK;
}

void call_free(struct call *c)
{
    draft_free(c->draft);
    ehis_reply_free(c->reply);
    free(c->bytes);
    free(c);
}

/* ---- in the I/O thread ---- */

void calls_add(struct ehis *e, struct call *c)
{
    c->next = e->calls;
    if (e->calls)
        e->calls->prev = c;
    e->calls = c;
    e->calls_unmade++;
}

void calls_repeat(struct ehis *e, struct call *c, int64_t at_ms)
{
    c->send_at_ms = at_ms;
    if (c->is_to_send)
        return;
    c->is_to_send = true;
    c->next_due = NULL;
    *e->calls_due_end = c;
    e->calls_due_end = &c->next_due;
}

static void undue(struct ehis *e, struct call *c)
{
    struct call **at = &e->calls_due;
    while (*at && *at != c)
        at = &(*at)->next_due;
    if (*at) {
        *at = c->next_due;
        if (!*at)
            e->calls_due_end = at;
    }
    c->is_to_send = false;
}

static void finish(struct ehis *e, struct call *c, ehis_err err, const char *why)
{
    *(c->prev ? &c->prev->next : &e->calls) = c->next;
    if (c->next)
        c->next->prev = c->prev;
    if (c->is_made)
        table_remove(&e->calls_by_digest, &c->by_digest);
    if (c->is_to_send)
        undue(e, c);
    e->calls_unmade -= c->draft != NULL;
    bool is_unanswered = c->is_unanswered;
    sending_answered(e, c->session, &is_unanswered, c->len);
    c->err = err;
    if (err != EHIS_OK)
        ehis_fail(&c->why, err, "%s", why && why[0] ? why : ehis_err_row(err)->text);
    if (c->reply_to)
        run_done(e, &c->job);
    else
        work_job(e, &c->job);
}

static void on_made(struct ehis *e, struct draft *d, ehis_err err, const struct ehis_why *why, struct span envelope)
{
    struct call *c = d->owner;
    if (err == EHIS_OK) {
        memcpy(c->by_digest.key, d->digest.b, HASH_BYTES);
        c->bytes = malloc(envelope.len);
        err = c->bytes ? table_add(&e->calls_by_digest, &c->by_digest) : EHIS_E_NO_MEMORY;
    }
    c->is_large = d->header.large.root.len > 0;
    draft_free(d);
    if (err != EHIS_OK) {
        finish(e, c, err, why ? why->text : NULL);
        return;
    }
    memcpy(c->bytes, envelope.p, envelope.len);
    c->len = envelope.len;
    c->is_made = true;
    calls_repeat(e, c, 0);
}

/* A call is made when there is a session: its registry is the newest then. */
void calls_make(struct ehis *e)
{
    for (struct call *c = e->calls; c && e->is_ready && e->calls_unmade > 0; c = c->next) {
        struct draft *d = c->draft;
        if (!d)
            continue;
        c->draft = NULL;
        e->calls_unmade--;
        d->owner = c;
        d->on_made = on_made;
        drafts_add(e, d);
    }
}

static bool is_taken_by(const struct session *s, const struct call *c) { return (s->takes_large || !c->is_large) && c->len < s->max_frame_bytes; }

/* One that has not turned it away, and has not just put it off, before others. */
static struct session *to_ask(struct ehis *e, const struct call *c)
{
    struct session *best = NULL;
    int most = -1;
    for (struct session *s = e->sessions; s < e->sessions + e->session_count; s++) {
        int worth = (c->turned_away & 1u << s->slot ? 0 : 2) + (s->id != c->avoided);
        if (s->is_ready && !s->is_leaving && is_taken_by(s, c) && worth > most) {
            best = s;
            most = worth;
        }
    }
    return best;
}

void calls_run(struct ehis *e)
{
    int64_t now = mono_ms(e);
    for (struct call **at = &e->calls_due; *at && e->is_ready;) {
        struct call *c = *at;
        struct session *s = to_ask(e, c);
        if (!s || now < c->send_at_ms) {
            at = &c->next_due;
            continue;
        }
        if (sending_submit(s, span_of(c->bytes, c->len)) != EHIS_OK)
            return;
        c->session = s->id;
        *at = c->next_due;
        if (!*at)
            e->calls_due_end = at;
        c->is_to_send = false;
        c->is_unanswered = true;
    }
}

/* Of one that waits until its deadline for a gateway that takes it. */
static ehis_err why_unsent(const struct ehis *e, const struct call *c, bool is_ready)
{
    bool is_unfit = c->is_to_send && is_ready;
    for (const struct session *s = e->sessions; s < e->sessions + e->session_count; s++)
        is_unfit &= !s->is_ready || !is_taken_by(s, c);
    if (is_unfit)
        return c->is_large ? EHIS_E_EXCHANGE_NO_LARGE : EHIS_E_TOO_LARGE;
    return is_ready || c->is_made ? EHIS_E_EXCHANGE_EXPIRED : EHIS_E_SDK_NOT_READY;
}

void calls_tick(struct ehis *e)
{
    int64_t now_us = clock_mono_us(e->clock);
    struct ehis_why why = {""};
    pthread_mutex_lock(&e->lock);
    bool is_ready = e->status.is_ready;
    ehis_fail(&why, EHIS_OK, "%s", e->status.last_why);
    pthread_mutex_unlock(&e->lock);
    for (struct call *c = e->calls, *next; c; c = next) {
        next = c->next;
        if (now_us >= c->deadline_us && (c->is_made || c->draft))
            finish(e, c, why_unsent(e, c, is_ready), is_ready ? NULL : why.text);
    }
}

void calls_session_ended(struct ehis *e, uint64_t session)
{
    for (struct call *c = e->calls; c; c = c->next) {
        if (!c->is_made || c->session != session)
            continue;
        c->is_unanswered = false;
        c->session = 0;
        calls_repeat(e, c, 0);
    }
}

struct call *calls_find(struct ehis *e, const uint8_t digest[32])
{
    struct entry *x = table_find(&e->calls_by_digest, digest);
    return x ? OWNER_OF(x, struct call, by_digest) : NULL;
}

void calls_on_receipt(struct session *from, struct call *c, uint8_t state, uint32_t code)
{
    ehis_err err;
    if (state < STATE_FAILED)
        return;
    if (!ehis_err_from_number(code, &err) || err == EHIS_OK)
        err = state == STATE_EXPIRED ? EHIS_E_EXCHANGE_EXPIRED : EHIS_E_SDK_REJECTED;
    if (state == STATE_REFUSED && err == EHIS_E_EXCHANGE_NO_SESSION) { /* it was not passed on: another gateway may know better */
        c->turned_away |= 1u << from->slot;
        const struct session *other = to_ask(from->e, c);
        if (other && !(c->turned_away & 1u << other->slot)) {
            calls_repeat(from->e, c, 0);
            return;
        }
    }
    struct ehis_why why;
    ehis_fail(&why, err, "%s by %s", state_name(state), from->peer.leaf.id);
    finish(from->e, c, err, why.text);
}

/* Verified and opened already; of a provider that was asked. */
void calls_on_response(struct ehis *e, struct ehis_incoming *in)
{
    struct call *c = calls_find(e, in->header.in_reply_to.p);
    if (!c || memcmp(c->exchange_id, in->header.exchange_id, 16) != 0 ||
        !span_eq(identifier_prefix(span_str(c->service), IDENTIFIER_SYSTEM), in->header.sender))
        return; /* answered already, or given up */
    struct ehis_reply *r = calloc(1, sizeof *r);
    if (!r) {
        finish(e, c, EHIS_E_NO_MEMORY, NULL);
        return;
    }
    r->is_fault = in->header.status == STATUS_FAULT;
    memcpy(r->exchange_id, c->exchange_id, 16);
    if (in->header.content_type.len)
        memcpy(r->content_type, in->header.content_type.p, in->header.content_type.len);
    if (in->header.schema.len)
        memcpy(r->schema, in->header.schema.p, in->header.schema.len);
    r->body = in->body;
    in->body = (struct in_body){0};
    c->reply = r;
    finish(e, c, EHIS_OK, NULL);
}

void calls_end_all(struct ehis *e, ehis_err err)
{
    for (struct call *c = e->calls, *next; c; c = next) {
        next = c->next;
        if (c->is_made || c->draft)
            finish(e, c, err, NULL);
    }
    if (!e->calls)
        table_fini(&e->calls_by_digest);
}

/* ---- replies ---- */

int ehis_reply_is_fault(const ehis_reply *r) { return r->is_fault; }
const char *ehis_reply_content_type(const ehis_reply *r) { return r->content_type; }
const char *ehis_reply_schema(const ehis_reply *r) { return r->schema; }
const uint8_t *ehis_reply_exchange_id(const ehis_reply *r) { return r->exchange_id; }

/* const for whoever is called back: it is not his to free */
const void *ehis_reply_body(const ehis_reply *r, size_t *bytes) { return in_body_all(&((ehis_reply *)(uintptr_t)r)->body, bytes); }
uint64_t ehis_reply_body_bytes(const ehis_reply *r) { return in_body_bytes(&r->body); }
int64_t ehis_reply_read(const ehis_reply *r, void *into, size_t max) { return in_body_read(&((ehis_reply *)(uintptr_t)r)->body, into, max); }

void ehis_reply_free(ehis_reply *r)
{
    if (!r)
        return;
    in_body_fini(&r->body);
    free(r);
}
