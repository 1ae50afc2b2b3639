/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* Deliveries: vetted, held where a registry or a key is missing, brought into their streams' order, handed to the application, and ended. */
#include "adapters/sdk/ehis_priv.h"
#include "base/log.h"
#include "base/secret.h"
#include <stdlib.h>

#define INCOMING_MAX_BYTES (256u * 1024 * 1024)
#define NO_HANDLER_RETRY_MS 5000
#define COMMIT_US 2000 /* what handlers have finished waits so long at most for more of it */
#define BUSY_RETRY_MS 250

static struct ehis_incoming *incoming_new(struct ehis *e)
{
    struct ehis_incoming *in = calloc(1, sizeof *in);
    if (!in)
        return NULL;
    in->e = e;
    buf_init(&in->body, FRAME_MAX_BYTES_LIMIT);
    in->body.is_secret = true;
    buf_init(&in->texts, 2 * ENVELOPE_HEADER_MAX_BYTES);
    buf_init(&in->rule, 64);
    in->next = e->incoming;
    if (e->incoming)
        e->incoming->prev = in;
    e->incoming = in;
    e->incoming_count++;
    return in;
}

void receiving_free(struct ehis_incoming *in)
{
    struct ehis *e = in->e;
    *(in->prev ? &in->prev->next : &e->incoming) = in->next;
    if (in->next)
        in->next->prev = in->prev;
    e->incoming_count--;
    e->incoming_bytes -= in->envelope_bytes;
    if (in->item.also)
        receiving_free(OWNER_OF(in->item.also, struct ehis_incoming, item));
    draft_free(in->answer);
    buf_fini(&in->body);
    buf_fini(&in->texts);
    buf_fini(&in->rule);
    free(in->envelope);
    free(in);
}

/* ---- what the application sees ---- */

static const char *put_text(struct buf *b, struct span s)
{
    uint8_t *room;
    if (buf_reserve(b, s.len + 1, &room) != EHIS_OK)
        return ""; /* room for all was reserved at first */
    if (s.len)
        memcpy(room, s.p, s.len);
    room[s.len] = 0;
    buf_commit(b, s.len + 1);
    return (const char *)room;
}

static ehis_err fill_info(struct ehis_incoming *in)
{
    const struct envelope_header *h = &in->header;
    uint8_t *room;
    EHIS_TRY(buf_reserve(&in->texts, in->parts.header.len + 128, &room));
    in->info = (ehis_info){.size = sizeof in->info,
                           .sender = put_text(&in->texts, h->sender),
                           .service = put_text(&in->texts, h->recipient),
                           .operation = put_text(&in->texts, h->operation),
                           .purpose = put_text(&in->texts, h->purpose),
                           .legal_basis = put_text(&in->texts, h->legal_basis),
                           .case_ref = put_text(&in->texts, h->case_ref),
                           .official = put_text(&in->texts, h->official),
                           .on_behalf_of = put_text(&in->texts, h->on_behalf_of),
                           .content_type = put_text(&in->texts, h->content_type),
                           .schema = put_text(&in->texts, h->schema),
                           .rule = put_text(&in->texts, buf_span(&in->rule)),
                           .is_stream = h->stream.len > 0,
                           .number = h->number,
                           .is_repeated = in->item.is_repeated,
                           .is_late = in->item.is_late,
                           .is_fault = h->status == STATUS_FAULT,
                           .is_response = h->kind == KIND_RESPONSE,
                           .created_ms = (int64_t)h->created_ms,
                           .expires_ms = (int64_t)h->expires_ms,
                           .accepted_ms = in->accepted_ms};
    memcpy(in->info.exchange_id, h->exchange_id, 16);
    memcpy(in->info.digest, in->digest.b, HASH_BYTES);
    if (h->stream.len)
        memcpy(in->info.stream, h->stream.p, 16);
    if (h->in_reply_to.len)
        memcpy(in->info.in_reply_to, h->in_reply_to.p, HASH_BYTES);
    return EHIS_OK;
}

const struct handler *handler_find(const struct ehis *e, int kind, struct span service, struct span operation)
{
    for (const struct handler *h = e->handlers; h; h = h->next)
        if (h->fn && (int)h->kind == kind && (!h->service || span_eq(span_str(h->service), service)) &&
            (!h->operation || span_eq(span_str(h->operation), operation)))
            return h;
    return NULL;
}

static void run_handler(struct ehis *e, struct job *j)
{
    struct ehis_incoming *in = OWNER_OF(j, struct ehis_incoming, job);
    (void)e;
    in->fn(in->arg, in);
}

static void drop_handler(struct ehis *e, struct job *j)
{
    (void)e;
    (void)j; /* freed with everything: it was not handed over */
}

void incoming_hand_over(struct ehis *e, struct ehis_incoming *in)
{
    static const int kinds[] = {[KIND_REQUEST] = HANDLER_SERVE, [KIND_RESPONSE] = HANDLER_RESPONSE, [KIND_EVENT] = HANDLER_SUBSCRIBE};
    const struct handler *h = handler_find(e, kinds[in->header.kind], in->header.recipient, in->header.operation);
    bool is_expired = in->item.stream && (int64_t)in->header.expires_ms <= now_ms(e);
    if (in->is_parked)
        e->parked_count--;
    in->is_parked = false;
    if (h && !is_expired && fill_info(in) == EHIS_OK) {
        in->fn = h->fn;
        in->arg = h->arg;
        in->job = (struct job){NULL, run_handler, drop_handler};
        in->is_with_application = true;
        if (in->item.stream) {
            in->item.stream->is_stopped = false;
            e->handling_count++;
        }
        work_job(e, &in->job);
        return;
    }
    in->code = is_expired ? EHIS_E_EXCHANGE_EXPIRED : EHIS_E_SDK_NO_HANDLER;
    if (!in->item.stream || is_expired) { /* a caller waits: it is told */
        in->outcome = OUTCOME_REJECTED;
    } else if (e->parked_count <= e->stream_window / 2) { /* held until there is a handler; the window is left to others */
        in->is_parked = true;
        e->parked_count++;
        inbox_stop(e->inbox, &in->item);
        return;
    } else {
        in->outcome = OUTCOME_RETRY;
        in->retry_ms = NO_HANDLER_RETRY_MS;
    }
    incoming_end(e, in);
}

/* ---- the end of a message ---- */

static void acknowledge(struct ehis *e, const struct ehis_incoming *in)
{
    if (!in->item.stream)
        acks_add(e, in->session, in->delivery, in->item.digest, (enum outcome)in->outcome, in->code, in->retry_ms);
    for (const struct in_item *i = &in->item; in->item.stream && i; i = i->also)
        acks_add(e, i->session, i->delivery, i->digest, (enum outcome)in->outcome, in->code, in->retry_ms);
}

static void on_finished(struct ehis *e, struct committed *c)
{
    struct ehis_incoming *in = OWNER_OF(c, struct ehis_incoming, committed);
    if (e->failed == EHIS_OK)
        acknowledge(e, in);
    receiving_free(in);
}

static void finish_in_stream(struct ehis *e, struct ehis_incoming *in)
{
    size_t before = store_group_bytes(e->store);
    ehis_err err = inbox_finish(e->inbox, &in->item, in->outcome == OUTCOME_REJECTED, now_ms(e));
    if (err != EHIS_OK)
        ehis_fatal(e, err);
    if (e->finished_bytes == 0) {
        e->commit_by_us = clock_mono_us(e->clock) + COMMIT_US;
        loop_timer_set(e->commit_timer, COMMIT_US);
    }
    e->finished_bytes += store_group_bytes(e->store) - before;
    after_commit(e, &in->committed, on_finished);
}

static void on_answer_made(struct ehis *e, struct draft *d, ehis_err err, const struct ehis_why *why, struct span envelope)
{
    struct ehis_incoming *in = d->owner;
    if (in->served) {
        serving_made(e, in->served, err, &d->digest, envelope);
        in->answer = NULL;
        draft_free(d);
        receiving_free(in);
        return;
    }
    if (err == EHIS_OK)
        err = sending_keep(e, d, envelope);
    in->answer = NULL;
    draft_free(d);
    if (err == EHIS_OK) {
        finish_in_stream(e, in);
        return;
    }
    log_line(LOG_WARN, "sdk.answer.unmade", F_ERR(err), F_STR("why", why ? why->text : ""));
    in->outcome = OUTCOME_RETRY;
    in->code = err;
    in->retry_ms = NO_HANDLER_RETRY_MS;
    incoming_end(e, in);
}

void incoming_end(struct ehis *e, struct ehis_incoming *in)
{
    e->handling_count -= in->is_with_application && in->item.stream;
    in->is_with_application = false;
    if (in->answer) {
        in->answer->owner = in;
        in->answer->on_made = on_answer_made;
        sending_add(e, in->answer);
        in->answer = NULL; /* the draft's now; on_answer_made frees it */
        return;
    }
    if (in->served) {
        serving_end(e, in->served, (ehis_err)in->code, in->outcome == OUTCOME_RETRY ? in->retry_ms : 0);
        receiving_free(in);
        return;
    }
    if (in->item.stream && in->outcome != OUTCOME_RETRY) {
        finish_in_stream(e, in);
        return;
    } else if (in->item.stream && in->fn) {
        inbox_give_back(&in->item);
    } else if (in->item.stream) {
        inbox_put_back(&in->item);
    }
    acknowledge(e, in);
    receiving_free(in);
}

/* ---- deliveries ---- */

static void refuse(struct ehis *e, struct ehis_incoming *in, ehis_err code, uint32_t retry_ms)
{
    in->outcome = retry_ms ? OUTCOME_RETRY : OUTCOME_REJECTED;
    in->code = code;
    in->retry_ms = retry_ms;
    acknowledge(e, in);
    receiving_free(in);
}

static void into_stream(struct ehis *e, struct ehis_incoming *in, struct span sender, const uint8_t *stream)
{
    if (in->refused) /* its number is passed over; should the true message come for it, it is handed over late */
        in->item.skip_state = STATE_FAILED;
    enum inbox_verdict v = inbox_offer(e->inbox, sender, stream, &in->item, now_ms(e));
    switch (v) {
    case INBOX_TAKEN:
        turn_soon(e);
        return;
    case INBOX_JOINED:
        return;
    case INBOX_ATTACHED:
        receiving_free(in);
        return;
    case INBOX_DONE:
    case INBOX_REJECTED:
        if (v == INBOX_DONE && !in->refused) {
            in->outcome = OUTCOME_DONE;
            acknowledge(e, in);
            receiving_free(in);
            return;
        }
        refuse(e, in, in->refused ? in->refused : EHIS_E_SDK_REJECTED, 0);
        return;
    case INBOX_CONFLICT:
        refuse(e, in, EHIS_E_STREAM_CONFLICT, 0);
        return;
    case INBOX_AHEAD:
        refuse(e, in, EHIS_E_STREAM_AHEAD, BUSY_RETRY_MS);
        return;
    case INBOX_STOPPED:
        refuse(e, in, EHIS_E_SDK_NO_HANDLER, NO_HANDLER_RETRY_MS);
        return;
    }
}

static void take(struct ehis *e, struct ehis_incoming *in)
{
    struct ehis_why why = {""};
    const struct envelope_header *h = &in->header;
    ehis_err err = incoming_vet(e, in, &why);
    bool needs_registry = err == EHIS_E_REGISTRY_NEWER || err == EHIS_E_REGISTRY_EXPIRED;
    if (needs_registry || err == EHIS_E_TOPIC_KEY_MISSING) {
        if (now_ms(e) >= in->held_until_ms) {
            refuse(e, in, err, 1000);
            return;
        }
        struct session *from = session_of(e, in->session); /* it has what it names */
        if (from && needs_registry)
            session_want_registry(from);
        else if (from && !in->is_held)
            events_want_key(from, h);
        in->is_held = true;
        return;
    }
    in->is_held = false;
    in->refused = err;
    if (err != EHIS_OK)
        log_line(LOG_WARN, "sdk.delivery.refused", F_ERR(err), F_SPAN("sender", h->sender), F_SPAN("recipient", h->recipient),
                 F_HEX("exchange", h->exchange_id, 16), F_STR("why", why.text));
    if (h->stream.len) {
        into_stream(e, in, h->sender, h->stream.p);
    } else if (err != EHIS_OK) {
        refuse(e, in, err, 0);
    } else if (h->kind == KIND_REQUEST) {
        serving_take(e, in);
    } else {
        calls_on_response(e, in); /* needs no acknowledgement (SPEC 8.6.4) */
        receiving_free(in);
    }
}

ehis_err receiving_on_deliver(struct session *from, struct span payload, struct ehis_why *why)
{
    struct ehis *e = from->e;
    struct deliver d;
    struct hash sealed;
    EHIS_TRY(deliver_read(payload, &d, why));
    if (e->incoming_count >= (2 * (e->call_window + e->stream_window) + INBOX_WINDOW) * e->session_count)
        return EHIS_E_GATEWAY_WINDOW;
    struct ehis_incoming *in = incoming_new(e);
    if (!in)
        return EHIS_E_NO_MEMORY;
    in->envelope = malloc(d.envelope.len);
    ehis_err err = in->envelope ? EHIS_OK : EHIS_E_NO_MEMORY;
    if (err == EHIS_OK) {
        memcpy(in->envelope, d.envelope.p, d.envelope.len);
        in->envelope_bytes = d.envelope.len;
        e->incoming_bytes += in->envelope_bytes;
        err = envelope_read(span_of(in->envelope, d.envelope.len), &in->parts, why);
    }
    if (err == EHIS_OK)
        err = envelope_header_read(in->parts.header, &in->header, why);
    if (err != EHIS_OK) {
        receiving_free(in);
        return err;
    }
    hash_span(in->parts.sealed, &sealed);
    hash_envelope(in->parts.header, in->parts.sealed.len, &sealed, &in->digest);
    memcpy(in->item.digest, in->digest.b, HASH_BYTES);
    in->item.number = in->header.number;
    in->item.delivery = in->delivery = d.delivery;
    in->item.session = in->session = from->id;
    in->accepted_ms = d.accepted_ms > INT64_MAX ? INT64_MAX : (int64_t)d.accepted_ms;
    in->named_version = d.registry_version;
    in->held_until_ms = now_ms(e) + HELD_MS;
    if (e->incoming_bytes > INCOMING_MAX_BYTES)
        refuse(e, in, EHIS_E_SDK_BUSY, BUSY_RETRY_MS);
    else
        take(e, in);
    return EHIS_OK;
}

static ehis_err take_skip(struct session *from, const struct batch_signature *b, const struct skip *k, struct ehis_why *why)
{
    struct ehis *e = from->e;
    const struct registry_key *key;
    struct hash leaf, digest;
    struct leaf_signature s = {.algorithm = b->algorithm, .size = b->size, .index = k->index, .path = k->path, .signature = b->signature};
    memcpy(s.key_id.b, b->key_id, HASH_BYTES);
    memcpy(digest.b, k->digest, HASH_BYTES);
    leaf_skip(k->sender, k->recipient, k->stream, k->number, &digest, (uint8_t)k->state, span_str(from->peer.leaf.id), &leaf);
    ehis_err err = acks_gateway_key(from, b, 0, &key);
    if (err == EHIS_OK)
        err = sign_verify_leaf(&leaf, &s, key->public_key.p, e->roots);
    if (err != EHIS_OK)
        return ehis_fail(why, err, "a skip of %s", from->peer.leaf.id);
    struct ehis_incoming *in = incoming_new(e);
    if (!in)
        return EHIS_E_NO_MEMORY;
    in->is_skip = true;
    in->item.skip_state = (uint8_t)k->state;
    in->item.number = k->number;
    in->item.delivery = in->delivery = k->delivery;
    in->item.session = in->session = from->id;
    memcpy(in->item.digest, leaf.b, HASH_BYTES);
    into_stream(e, in, k->sender, k->stream);
    return EHIS_OK;
}

ehis_err receiving_on_skips(struct session *from, struct span payload, struct ehis_why *why)
{
    const struct ehis *e = from->e;
    struct batch_signature b;
    struct span item;
    size_t at = 0;
    EHIS_TRY(batch_read(FRAME_SKIPS, payload, &b, why));
    while (batch_next(payload, &at, &item)) {
        struct skip k;
        EHIS_TRY(skip_read(item, &k, why));
        if (k.delivery == 0 || k.number == 0)
            return ehis_fail(why, EHIS_E_GATEWAY_UNASKED, "a skip without delivery or number");
        if (e->incoming_count >= (2 * (e->call_window + e->stream_window) + 2 * INBOX_WINDOW) * e->session_count)
            return EHIS_E_GATEWAY_WINDOW;
        EHIS_TRY(take_skip(from, &b, &k, why));
    }
    return EHIS_OK;
}

void receiving_again(struct ehis *e)
{
    for (struct ehis_incoming *in = e->incoming, *next; in; in = next) {
        next = in->next;
        if (in->is_held && e->registry)
            take(e, in);
        else if (in->is_parked)
            incoming_hand_over(e, in);
    }
}

/* ---- streams ---- */

struct passed {
    struct job job;
    ehis_passed passed;
    char sender[IDENTIFIER_MAX_BYTES + 1];
};

static void run_passed(struct ehis *e, struct job *j)
{
    struct passed *p = OWNER_OF(j, struct passed, job);
    pthread_mutex_lock(&e->lock);
    void (*fn)(void *, const ehis_passed *) = e->on_passed;
    void *arg = e->on_passed_arg;
    pthread_mutex_unlock(&e->lock);
    if (fn)
        fn(arg, &p->passed);
    free(p);
}

static void drop_passed(struct ehis *e, struct job *j)
{
    (void)e;
    free(OWNER_OF(j, struct passed, job));
}

static void tell_passed(struct ehis *e, const struct in_stream *s, uint64_t number, int state)
{
    struct passed *p = calloc(1, sizeof *p);
    log_line(LOG_WARN, "sdk.stream.passed", F_STR("sender", s->sender), F_HEX("stream", s->id, 16), F_U64("number", number), F_STR("state", state ? state_name((uint32_t)state) : "gap"));
    if (!p)
        return;
    memcpy(p->sender, s->sender, strlen(s->sender));
    p->passed = (ehis_passed){.size = sizeof p->passed, .sender = p->sender, .number = number, .state = state};
    memcpy(p->passed.stream, s->id, 16);
    p->job = (struct job){NULL, run_passed, drop_passed};
    work_job(e, &p->job);
}

void incoming_on_gap(void *e, const struct in_stream *s, uint64_t number) { tell_passed(e, s, number, 0); }

void incoming_on_dropped(void *e, struct in_item *item)
{
    struct ehis_incoming *in = OWNER_OF(item, struct ehis_incoming, item);
    if (item->stream->is_stopped)
        refuse(e, in, EHIS_E_SDK_NO_HANDLER, NO_HANDLER_RETRY_MS);
    else
        receiving_free(in);
}

void receiving_streams(struct ehis *e)
{
    struct in_stream *s;
    while ((s = inbox_touched(e->inbox))) {
        struct in_item *item = inbox_next(e->inbox, s, now_ms(e));
        if (!item)
            continue;
        struct ehis_incoming *in = OWNER_OF(item, struct ehis_incoming, item);
        if (!in->is_skip && !in->refused) {
            incoming_hand_over(e, in);
            continue;
        }
        tell_passed(e, s, item->number, item->skip_state);
        in->outcome = in->refused ? OUTCOME_REJECTED : OUTCOME_DONE;
        in->code = in->refused;
        finish_in_stream(e, in);
    }
}

void receiving_session_ended(struct ehis *e, uint64_t session)
{
    inbox_session_ended(e->inbox, session);
    for (struct ehis_incoming *in = e->incoming, *next; in; in = next) {
        next = in->next;
        if (in->is_held && in->session == session)
            receiving_free(in); /* it comes again */
    }
}

void receiving_fini(struct ehis *e)
{
    for (struct ehis_incoming *in = e->incoming; in; in = in->next)
        in->item.also = NULL;
    while (e->incoming)
        receiving_free(e->incoming);
}

/* ---- from the application's threads ---- */

const ehis_info *ehis_incoming_info(const ehis_incoming *in) { return &in->info; }

const void *ehis_incoming_body(const ehis_incoming *in, size_t *bytes)
{
    *bytes = in->body.len;
    return in->body.len ? buf_span(&in->body).p : (const uint8_t *)"";
}

static void on_end_order(struct ehis *e, struct order *o)
{
    if (!e->is_stopped)
        incoming_end(e, OWNER_OF(o, struct ehis_incoming, end)); /* else it goes with everything */
}

static void end(struct ehis_incoming *in, enum outcome outcome, uint32_t code, uint32_t retry_ms)
{
    in->outcome = outcome;
    in->code = code;
    in->retry_ms = retry_ms;
    in->end.run = on_end_order;
    (void)!work_post(in->e, &in->end); /* closed: it comes again, marked */
}

void ehis_done(ehis_incoming *in)
{
    if (!atomic_exchange(&in->is_finished, true)) {
        if (in->header.kind == KIND_REQUEST)
            end(in, OUTCOME_REJECTED, EHIS_E_SDK_REJECTED, 0); /* a request wants an answer */
        else
            end(in, OUTCOME_DONE, 0, 0);
    }
}

void ehis_reject(ehis_incoming *in, int code)
{
    if (!atomic_exchange(&in->is_finished, true))
        end(in, OUTCOME_REJECTED, code > 0 ? (uint32_t)code : EHIS_E_SDK_REJECTED, 0);
}

void ehis_retry(ehis_incoming *in, uint32_t delay_ms)
{
    if (!atomic_exchange(&in->is_finished, true))
        end(in, OUTCOME_RETRY, EHIS_E_SDK_BUSY, delay_ms ? delay_ms : 1);
}

static ehis_err answer_check(const struct ehis_incoming *in, const char *content_type, size_t bytes, const char *const *fields, size_t field_count,
                             struct ehis_why *why)
{
    if (in->header.kind != KIND_REQUEST)
        return ehis_fail(why, EHIS_E_SDK_MESSAGE, "only a request is answered");
    if (content_type && (content_type[0] == 0 || strlen(content_type) > 64))
        return ehis_fail(why, EHIS_E_SDK_MESSAGE, "content_type must have 1 to 64 bytes");
    if (field_count > ENVELOPE_FIELDS_MAX)
        return ehis_fail(why, EHIS_E_SDK_MESSAGE, "at most %d fields", ENVELOPE_FIELDS_MAX);
    for (size_t i = 0; i < field_count; i++)
        if (fields[i][0] == 0 || strlen(fields[i]) > 128 || !utf8_is_valid(span_str(fields[i]), NULL))
            return ehis_fail(why, EHIS_E_SDK_MESSAGE, "a field's name must be UTF-8 of 1 to 128 bytes");
    if (bytes > BODY_MAX_BYTES || (in->max_response_bytes && seal_sealed_bytes(bytes) > in->max_response_bytes))
        return ehis_fail(why, EHIS_E_SDK_RESPONSE_TOO_LARGE, "%zu bytes sealed, the request allows %u", seal_sealed_bytes(bytes), in->max_response_bytes);
    return EHIS_OK;
}

int ehis_answer(ehis_incoming *in, int is_fault, const char *content_type, const void *body, size_t bytes, const char *const *fields, size_t field_count,
                char *why_text)
{
    struct ehis_why why = {""};
    const struct envelope_header *q = &in->header;
    ehis_err err = answer_check(in, content_type, bytes, fields, field_count, &why);
    if (err == EHIS_OK) {
        struct envelope_header h = {.kind = KIND_RESPONSE, .status = is_fault ? STATUS_FAULT : STATUS_OK, .recipient = q->sender, .operation = q->operation,
                                    .in_reply_to = span_of(in->digest.b, HASH_BYTES), .expires_ms = q->expires_ms,
                                    .content_type = content_type ? span_str(content_type) : q->content_type, .trace_id = q->trace_id,
                                    .field_count = field_count};
        memcpy(h.exchange_id, q->exchange_id, 16);
        for (size_t i = 0; i < field_count; i++)
            h.fields[i] = span_str(fields[i]);
        struct draft *d;
        err = draft_new(&h, span_of(body, bytes), &d);
        if (err == EHIS_OK) {
            d->class_ = q->stream.len ? OUT_RESPONSES : 0;
            if (atomic_exchange(&in->is_finished, true)) {
                draft_free(d);
                err = EHIS_E_SDK_FINISHED;
            } else {
                in->answer = d;
                end(in, OUTCOME_DONE, 0, 0);
            }
        }
    }
    if (why_text && err != EHIS_OK)
        memcpy(why_text, why.text[0] ? why.text : ehis_err_row(err)->text, strnlen(why.text[0] ? why.text : ehis_err_row(err)->text, EHIS_WHY_BYTES - 1) + 1);
    return (int)err;
}
