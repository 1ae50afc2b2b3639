/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* What goes out to a session beside deliveries: small frames, receipts, responses. What does not fit now is kept and offered again when
 * there is room; all of it is bounded: frames by bytes, receipts and responses by the messages that are kept. */
#include "gateway/exchange/exchange_priv.h"

#define FRAME_KEPT_HEAD 5

bool exchange_is_sent(struct session *s, ehis_err err)
{
    if (err != EHIS_OK)
        s->is_full = true; /* or ended: then nothing goes out until it is gone */
    return err == EHIS_OK;
}

/* ---- small frames ---- */

static bool send_now(struct exchange *x, struct session *s, uint8_t type, struct span payload)
{
    if (type == FRAME_KEYS_GET)
        return exchange_keys_answer(x, s, payload) == EHIS_OK;
    return exchange_is_sent(s, x->ports.send_frame(x->ports.ctx, s->id, type, payload));
}

static ehis_err keep_frame(struct session *s, uint8_t type, struct span payload)
{
    EHIS_TRY(buf_put_u8(&s->frames, type));
    EHIS_TRY(buf_put_be(&s->frames, payload.len, 4));
    return buf_put_span(&s->frames, payload);
}

/* A peer that asks and does not read ends at the bound: TOO_LARGE. */
ehis_err exchange_frame(struct exchange *x, struct session *s, uint8_t type, struct span payload)
{
    if (!s->is_full && s->frames.len == 0 && send_now(x, s, type, payload))
        return EHIS_OK;
    return keep_frame(s, type, payload);
}

ehis_err exchange_flow(struct exchange *x, struct session *s, const struct exchange_flow *f)
{
    struct flow kept = {.code = (uint32_t)f->code, .retry_ms = f->retry_ms, .expected = f->expected};
    if (!s->is_full && s->frames.len == 0 && exchange_is_sent(s, x->ports.send_flow(x->ports.ctx, s->id, f)))
        return EHIS_OK;
    memcpy(kept.digest, f->digest.b, HASH_BYTES);
    kept.stream = span_of(f->stream, f->stream ? STREAM_BYTES : 0);
    buf_clear(&x->text_buf);
    EHIS_TRY(flow_write(&kept, &x->text_buf));
    return keep_frame(s, FRAME_FLOW, buf_span(&x->text_buf));
}

static void flush_frames(struct exchange *x, struct session *s)
{
    while (!s->is_full && s->frames.len) {
        struct span kept = buf_span(&s->frames);
        size_t n = (size_t)be_get(kept.p + 1, 4);
        if (!send_now(x, s, kept.p[0], span_of(kept.p + FRAME_KEPT_HEAD, n)))
            return;
        buf_drop(&s->frames, FRAME_KEPT_HEAD + n);
    }
}

/* ---- receipts ---- */

/* A refusal's recipient may be a name that nobody holds: it is read back from its record. */
static struct span recipient_of(struct exchange *x, const struct message *m)
{
    struct record r;
    struct envelope_header h;
    if (m->recipient)
        return name_span(m->recipient);
    if (message_is(m, IS_TRANSIENT) && m->text)
        return span_str(m->text);
    if (m->home.record_bytes == 0 || exchange_load(x, m->home, &r, NULL) != EHIS_OK || envelope_header_read(r.header, &h, NULL) != EHIS_OK)
        return span_of(NULL, 0);
    return h.recipient;
}

/* Borrows from record_buf. An error: its acknowledgement cannot be read now, and without it nothing is said. */
static ehis_err receipt_of(struct exchange *x, const struct message *m, struct exchange_receipt *out)
{
    struct record r;
    *out = (struct exchange_receipt){.digest = m->digest, .state = m->durable, .code = m->code, .time_ms = m->since_ms};
    if (m->durable == STATE_ACCEPTED && message_is(m, IS_REPLICATED)) {
        out->state = STATE_REPLICATED;
        out->time_ms = m->carried_ms;
    }
    out->recipient = recipient_of(x, m);
    if (message_is(m, HAS_ACK)) {
        EHIS_TRY(exchange_load(x, m->final, &r, NULL));
        out->ack = r.ack;
    }
    return EHIS_OK;
}

static void flush_receipts(struct exchange *x, struct session *s)
{
    while (!s->is_full && !list_is_empty(&s->owed)) {
        struct message *m = container_of(s->owed.next, struct message, in_owed);
        struct exchange_receipt out;
        /* Where a newer state is on its way to the disk, its receipt says this one too. */
        if (m->durable == m->state && receipt_of(x, m, &out) == EHIS_OK && !exchange_is_sent(s, x->ports.send_receipt(x->ports.ctx, s->id, &out)))
            return;
        node_remove(&m->in_owed);
        exchange_message_settle(x, m);
    }
}

static void flush_responses(struct exchange *x, struct session *s)
{
    while (!s->is_full && !list_is_empty(&s->responses)) {
        struct delivery *d = container_of(s->responses.next, struct delivery, in_queue);
        struct message *m = d->message;
        struct exchange_delivery out = {.delivery = s->next_delivery, .accepted_ms = m->since_ms, .registry_version = m->registry_version,
                                        .attempt = 1, .part_count = 3};
        if (x->now_ms < m->expires_ms && exchange_envelope(x, m, out.envelope_parts, NULL) == EHIS_OK) {
            if (!exchange_is_sent(s, x->ports.send_delivery(x->ports.ctx, s->id, &out)))
                return;
            s->next_delivery++;
            struct record r = {.kind = RECORD_ATTEMPTED, .session = s->id, .system = name_span(m->to->name), .attempt = 1};
            memcpy(r.digest, m->digest.b, HASH_BYTES);
            ehis_err err = exchange_append(x, &r, NULL, 0, true, NULL);
            (void)err; /* for people: without it the response's own record stands */
        }
        exchange_delivery_drop(x, d);
        exchange_message_settle(x, m);
    }
}

void exchange_session_flush(struct exchange *x, struct session *s)
{
    flush_frames(x, s);
    flush_receipts(x, s);
    flush_responses(x, s);
}

void exchange_owe(struct exchange *x, struct message *m)
{
    struct session *s = message_is_numbered(m) ? m->stream->session : exchange_session_find(x, m->session);
    bool is_answered = m->kind == KIND_REQUEST && message_is(m, IS_WAITING) && m->state == STATE_DELIVERED && m->peer;
    if (!s || m->durable == 0 || m->durable != m->state || is_answered)
        return; /* no session: a stream's are repeated when it is opened again, a caller asks again */
    m->pending++; /* kept over the flush */
    node_move(&s->owed, &m->in_owed);
    exchange_session_flush(x, s);
    m->pending--;
}
