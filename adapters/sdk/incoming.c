/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* A message with the application: what it sees of it, its way to the handler, its end by whatever thread. */
#include "adapters/sdk/ehis_priv.h"
#include "base/log.h"

#define UNMADE_RETRY_MS 5000
#define COMMIT_US 2000 /* what handlers have finished waits so long at most for more of it */

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

static const struct handler *handler_find(const struct ehis *e, int kind, struct span service, struct span operation)
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
    if (h && !is_expired && fill_info(in) == EHIS_OK) {
        in->fn = h->fn;
        in->arg = h->arg;
        in->job = (struct job){NULL, run_handler, drop_handler};
        in->is_with_application = true;
        e->handling_count += in->item.stream != NULL;
        work_job(e, &in->job);
        return;
    }
    in->code = is_expired ? EHIS_E_EXCHANGE_EXPIRED : EHIS_E_SDK_NO_HANDLER;
    in->outcome = !in->item.stream || is_expired ? OUTCOME_REJECTED : OUTCOME_RETRY; /* a caller waits: it is told */
    in->retry_ms = NO_HANDLER_RETRY_MS;
    incoming_end(e, in);
}

/* ---- the end of a message ---- */

void incoming_acknowledge(struct ehis *e, const struct ehis_incoming *in)
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
        incoming_acknowledge(e, in);
    receiving_free(in);
}

/* That it is finished may have been decided in this group, of another delivery of it. */
void incoming_acknowledge_recorded(struct ehis *e, struct ehis_incoming *in) { after_commit(e, &in->committed, on_finished); }

void incoming_finish(struct ehis *e, struct ehis_incoming *in)
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
    incoming_acknowledge_recorded(e, in);
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
        err = drafts_keep(e, d, envelope);
    in->answer = NULL;
    draft_free(d);
    if (err == EHIS_OK) {
        incoming_finish(e, in);
        return;
    }
    log_line(LOG_WARN, "sdk.answer.unmade", F_ERR(err), F_STR("why", why ? why->text : ""));
    in->outcome = OUTCOME_RETRY;
    in->code = err;
    in->retry_ms = UNMADE_RETRY_MS;
    incoming_end(e, in);
}

void incoming_end(struct ehis *e, struct ehis_incoming *in)
{
    e->handling_count -= in->is_with_application && in->item.stream;
    in->is_with_application = false;
    if (in->answer) {
        in->answer->owner = in;
        in->answer->on_made = on_answer_made;
        drafts_add(e, in->answer);
        in->answer = NULL; /* the draft's now; on_answer_made frees it */
        return;
    }
    if (in->served) {
        serving_end(e, in->served, (ehis_err)in->code, in->outcome == OUTCOME_RETRY ? in->retry_ms : 0);
        receiving_free(in);
        return;
    }
    if (in->item.stream && in->outcome != OUTCOME_RETRY) {
        incoming_finish(e, in);
        return;
    } else if (in->item.stream && in->fn) {
        inbox_give_back(e->inbox, &in->item);
    } else if (in->item.stream) {
        inbox_stop(e->inbox, &in->item);
    }
    incoming_acknowledge(e, in);
    receiving_free(in);
}

/* ---- from the application's threads ---- */

const ehis_info *ehis_incoming_info(const ehis_incoming *in) { return &in->info; }

const void *ehis_incoming_body(const ehis_incoming *in, size_t *bytes) { return in_body_all(&((ehis_incoming *)(uintptr_t)in)->body, bytes); }
uint64_t ehis_incoming_body_bytes(const ehis_incoming *in) { return in_body_bytes(&in->body); }
int64_t ehis_incoming_read(ehis_incoming *in, void *into, size_t max) { return in_body_read(&in->body, into, max); }

static void on_end_order(struct ehis *e, struct order *o)
{
    if (!e->is_stopped)
        incoming_end(e, OWNER_OF(o, struct ehis_incoming, end)); /* else it goes with everything */
}

static void end(struct ehis_incoming *in, enum outcome outcome, uint32_t code, uint32_t retry_ms)
{
    bool is_altered = in->body.large && in->body.large->failed == EHIS_E_LARGE_ALTERED; /* nobody makes anything of that */
    if (is_altered) {
        draft_free(in->answer);
        in->answer = NULL;
    }
    in->outcome = is_altered ? OUTCOME_REJECTED : outcome;
    in->code = is_altered ? EHIS_E_LARGE_ALTERED : code;
    in->retry_ms = is_altered ? 0 : retry_ms;
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

static ehis_err answer_check(const struct ehis_incoming *in, const char *content_type, const char *const *fields, size_t field_count,
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
    return EHIS_OK;
}

/* Consumes d where it does not fit. */
static ehis_err check_size(const struct ehis_incoming *in, struct draft *d, struct ehis_why *why)
{
    uint64_t bytes = seal_sealed_bytes(d->body.len) + d->header.large.bytes;
    if (bytes == 0 || (in->max_response_bytes && bytes > in->max_response_bytes)) {
        draft_free(d);
        return ehis_fail(why, EHIS_E_SDK_RESPONSE_TOO_LARGE, "%llu bytes sealed, the request allows %u", (unsigned long long)bytes, in->max_response_bytes);
    }
    return EHIS_OK;
}

static int answer(ehis_incoming *in, int is_fault, const char *content_type, struct body_source *from, const char *const *fields, size_t field_count, char *why_text)
{
    struct ehis_why why = {""};
    const struct envelope_header *q = &in->header;
    ehis_err err = answer_check(in, content_type, fields, field_count, &why);
    if (err == EHIS_OK) {
        struct envelope_header h = {.kind = KIND_RESPONSE, .status = is_fault ? STATUS_FAULT : STATUS_OK, .recipient = q->sender, .operation = q->operation,
                                    .in_reply_to = span_of(in->digest.b, HASH_BYTES), .expires_ms = q->expires_ms,
                                    .content_type = content_type ? span_str(content_type) : q->content_type, .trace_id = q->trace_id,
                                    .field_count = field_count};
        memcpy(h.exchange_id, q->exchange_id, 16);
        for (size_t i = 0; i < field_count; i++)
            h.fields[i] = span_str(fields[i]);
        struct draft *d;
        err = large_draft(in->e, &h, from, &d, &why);
        if (err == EHIS_OK)
            err = check_size(in, d, &why);
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
    return ehis_tell(why_text, err, &why);
}

int ehis_answer(ehis_incoming *in, int is_fault, const char *content_type, const void *body, size_t bytes, const char *const *fields, size_t field_count, char *why)
{
    struct body_source from = {.memory = span_of(body, bytes)};
    return answer(in, is_fault, content_type, &from, fields, field_count, why);
}

int ehis_answer_from(ehis_incoming *in, int is_fault, const char *content_type, int64_t (*read)(void *arg, void *into, size_t max), void *read_arg,
                     const char *const *fields, size_t field_count, char *why)
{
    struct body_source from = {.read = read, .arg = read_arg};
    return answer(in, is_fault, content_type, &from, fields, field_count, why);
}
