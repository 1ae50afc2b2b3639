/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* Receipts and skips wait here until their group is done, then all are leaves of one tree under one signature. */
#include "base/log.h"
#include "gateway/session/sessions_priv.h"
#include "proto/wire/session_frames.h"
#include "proto/wire/statement.h"
#include <stdlib.h>

#define STATEMENTS_MAX (1u << 20)
#define STATEMENT_FRAME_BYTES 700 /* one with its acknowledgement, for the output bound */
#define FRAME_STATEMENTS_BYTES 60000 /* with signature and proof within the smallest frame that a peer may take */
#define STATEMENT_FIXED_BYTES 160    /* of one, besides its texts */

static ehis_err grow(struct sessions *s)
{
    size_t cap = s->statement_cap ? s->statement_cap * 2 : 256;
    if (s->statement_cap >= STATEMENTS_MAX)
        return EHIS_E_LINK_FULL;
    struct statement *more = realloc(s->statements, cap * sizeof *more);
    if (more)
        s->statements = more;
    struct hash *leaves = realloc(s->leaves, cap * sizeof *leaves);
    if (leaves)
        s->leaves = leaves;
    if (!more || !leaves)
        return EHIS_E_NO_MEMORY;
    s->statement_cap = cap;
    return EHIS_OK;
}

static void on_flush_due(void *arg)
{
    struct sessions *s = arg;
    s->is_flush_due = false;
    sessions_flush(s);
}

/* The deliveries of this turn go out first: signing takes longer than sending them. */
static void on_turn_done(void *arg)
{
    struct sessions *s = arg;
    loop_later(s->loop, on_flush_due, s);
}

static ehis_err touch(struct sessions *s, struct session *x)
{
    if (x->statements_first)
        return EHIS_OK;
    if (s->touched_count == s->touched_cap) {
        size_t cap = s->touched_cap ? s->touched_cap * 2 : 64;
        struct session **more = realloc(s->touched, cap * sizeof(struct session *));
        if (!more)
            return EHIS_E_NO_MEMORY;
        s->touched = more;
        s->touched_cap = cap;
    }
    s->touched[s->touched_count++] = x;
    return EHIS_OK;
}

/* Texts are copied: the caller's are borrowed for the call. */
static ehis_err add(struct sessions *s, struct session *x, struct statement *t, struct span sender, struct span recipient, struct span ack)
{
    if (link_output_bytes(x->link) + x->statement_bytes + STATEMENT_FRAME_BYTES > s->limits.link.output_max_bytes)
        return EHIS_E_LINK_FULL;
    if (s->statement_count == s->statement_cap)
        EHIS_TRY(grow(s));
    EHIS_TRY(touch(s, x));
    t->text_at = s->statement_text.len;
    t->sender_len = sender.len;
    t->recipient_len = recipient.len;
    t->ack_len = ack.len;
    EHIS_TRY(buf_put_span(&s->statement_text, sender));
    EHIS_TRY(buf_put_span(&s->statement_text, recipient));
    EHIS_TRY(buf_put_span(&s->statement_text, ack));
    t->session = x->id;
    s->statements[s->statement_count++] = *t;
    uint32_t at = (uint32_t)s->statement_count;
    if (x->statements_first)
        s->statements[x->statements_last - 1].next = at;
    else
        x->statements_first = at;
    x->statements_last = at;
    x->statement_bytes += STATEMENT_FRAME_BYTES;
    if (!s->is_flush_due) {
        s->is_flush_due = true;
        loop_later(s->loop, on_turn_done, s);
    }
    return EHIS_OK;
}

ehis_err sessions_send_receipt(struct sessions *s, session_id id, const struct exchange_receipt *r)
{
    struct session *x = session_find(s, id);
    if (!x)
        return EHIS_E_LINK_ENDED;
    struct statement t = {.state = r->state, .code = r->code, .time_ms = r->time_ms, .digest = r->digest};
    leaf_receipt(&r->digest, span_str(x->peer.leaf.id), r->recipient, r->state, r->code, (uint64_t)r->time_ms, span_str(s->gateway), &t.leaf);
    return add(s, x, &t, (struct span){0}, r->recipient, r->ack);
}

ehis_err sessions_send_skip(struct sessions *s, session_id id, const struct exchange_skip *k)
{
    struct session *x = session_find(s, id);
    if (!x)
        return EHIS_E_LINK_ENDED;
    struct statement t = {.is_skip = true, .state = k->state, .digest = k->digest, .number = k->number, .delivery = k->delivery};
    memcpy(t.stream, k->stream, sizeof t.stream);
    leaf_skip(k->sender, k->recipient, k->stream, k->number, &k->digest, k->state, span_str(s->gateway), &t.leaf);
    EHIS_TRY(add(s, x, &t, k->sender, k->recipient, (struct span){0}));
    x->has_skip = true;
    return EHIS_OK;
}

static ehis_err write_item(struct sessions *s, const struct statement *t)
{
    const uint8_t *text = buf_span(&s->statement_text).p + t->text_at;
    struct span sender = span_of(text, t->sender_len), recipient = span_of(text + t->sender_len, t->recipient_len);
    struct span ack = span_of(text + t->sender_len + t->recipient_len, t->ack_len);
    buf_clear(&s->item);
    if (t->is_skip) {
        struct skip k = {.sender = sender, .recipient = recipient, .number = t->number, .state = t->state, .delivery = t->delivery};
        memcpy(k.stream, t->stream, sizeof k.stream);
        memcpy(k.digest, t->digest.b, sizeof k.digest);
        EHIS_TRY(skip_write(&k, &s->item));
    } else {
        struct receipt r = {.recipient = recipient, .state = t->state, .code = t->code, .time_ms = (uint64_t)t->time_ms, .ack = ack};
        memcpy(r.digest, t->digest.b, sizeof r.digest);
        EHIS_TRY(receipt_write(&r, &s->item));
    }
    return batch_put(buf_span(&s->item), &s->payload);
}

/* How many from here on go into one frame: of one type, not too many, and within its size. */
static size_t run_length(const struct sessions *s, uint32_t at)
{
    const struct statement *first = &s->statements[at - 1];
    size_t count = 0, bytes = 0;
    for (; at && count < STATEMENT_BATCH_MAX && s->statements[at - 1].is_skip == first->is_skip; at = s->statements[at - 1].next, count++) {
        const struct statement *t = &s->statements[at - 1];
        bytes += STATEMENT_FIXED_BYTES + t->sender_len + t->recipient_len + t->ack_len;
        if (count && bytes > FRAME_STATEMENTS_BYTES)
            break;
    }
    return count;
}

/* The statements of one session, in frames of one type each, in order: a frame's leaves stand side by side in the tree. */
static ehis_err send_all(struct sessions *s, struct session *x, struct batch_signature *signature)
{
    struct hash proof[TREE_PROOF_MAX];
    for (uint32_t at = x->statements_first; at;) {
        const struct statement *first = &s->statements[at - 1];
        size_t count = run_length(s, at);
        signature->first = first->index;
        signature->proof = span_of(proof, tree_run_proof(&s->tree, first->index, count, proof) * HASH_BYTES);
        buf_clear(&s->payload);
        EHIS_TRY(batch_begin(signature, &s->payload));
        for (; count; count--, at = s->statements[at - 1].next)
            EHIS_TRY(write_item(s, &s->statements[at - 1]));
        struct span whole = buf_span(&s->payload);
        EHIS_TRY(link_send(x->link, first->is_skip ? FRAME_SKIPS : FRAME_RECEIPTS, &whole, 1));
    }
    return EHIS_OK;
}

/* A session's leaves stand side by side: a frame of them needs one proof. */
static ehis_err sign(struct sessions *s, struct batch_signature *out)
{
    struct hash root;
    uint32_t count = 0;
    for (size_t i = 0; i < s->touched_count; i++)
        for (uint32_t at = s->touched[i] ? s->touched[i]->statements_first : 0; at; at = s->statements[at - 1].next) {
            s->statements[at - 1].index = count;
            s->leaves[count++] = s->statements[at - 1].leaf;
        }
    if (count == 0)
        return EHIS_E_LINK_ENDED;
    EHIS_TRY(tree_build(&s->tree, s->leaves, count));
    tree_root(&s->tree, &root);
    *out = (struct batch_signature){.algorithm = ALGORITHM_ED25519, .size = count};
    memcpy(out->key_id, sign_key_id(s->identity.sign_key)->b, sizeof out->key_id);
    sign_root(s->identity.sign_key, out->size, &root, out->signature);
    s->status.signatures++;
    s->status.statements_signed += count;
    return EHIS_OK;
}

/* A session whose statements cannot be sent is ended: what it is owed is offered again when it comes back. */
void sessions_flush(struct sessions *s)
{
    if (s->statement_count == 0)
        return;
    struct batch_signature signature;
    ehis_err err = sign(s, &signature);
    for (size_t i = 0; i < s->touched_count; i++) {
        struct session *x = s->touched[i];
        if (!x)
            continue;
        ehis_err sent = err == EHIS_OK ? send_all(s, x, &signature) : err;
        x->statements_first = x->statements_last = 0;
        x->has_skip = false;
        x->statement_bytes = 0;
        if (sent != EHIS_OK && sent != EHIS_E_LINK_ENDED)
            session_fail(x, sent, 0, NULL);
    }
    s->statement_count = s->touched_count = 0;
    buf_drop(&s->statement_text, s->statement_text.len); /* the memory stays: the next group fills it again */
}

ehis_err sessions_send_flow(struct sessions *s, session_id id, const struct exchange_flow *f)
{
    struct session *x = session_find(s, id);
    if (!x)
        return EHIS_E_LINK_ENDED;
    struct flow frame = {.code = (uint32_t)f->code, .retry_ms = f->retry_ms, .expected = f->expected};
    if (f->stream)
        frame.stream = span_of(f->stream, 16);
    memcpy(frame.digest, f->digest.b, sizeof frame.digest);
    buf_clear(&x->all->item);
    EHIS_TRY(flow_write(&frame, &x->all->item));
    struct span whole = buf_span(&x->all->item);
    return link_send(x->link, FRAME_FLOW, &whole, 1);
}

ehis_err sessions_send_delivery(struct sessions *s, session_id id, const struct exchange_delivery *d)
{
    struct session *x = session_find(s, id);
    if (x && x->has_skip) /* a stream's order, and the deliveries' numbers */
        sessions_flush(s);
    if (!x || x->is_closing)
        return EHIS_E_LINK_ENDED;
    struct deliver head = {.delivery = d->delivery, .accepted_ms = (uint64_t)d->accepted_ms, .registry_version = d->registry_version,
                           .attempt = d->attempt, .is_late = d->is_late};
    struct span parts[5];
    for (size_t i = 0; i < d->part_count; i++) {
        parts[i + 1] = d->envelope_parts[i];
        head.envelope.len += d->envelope_parts[i].len;
    }
    buf_clear(&x->all->item);
    EHIS_TRY(deliver_write_head(&head, &x->all->item));
    parts[0] = buf_span(&x->all->item);
    return link_send(x->link, FRAME_DELIVER, parts, d->part_count + 1);
}

ehis_err sessions_send_frame(struct sessions *s, session_id id, uint8_t type, struct span payload)
{
    struct session *x = session_find(s, id);
    return x ? link_send(x->link, type, &payload, 1) : EHIS_E_LINK_ENDED;
}
