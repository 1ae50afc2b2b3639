/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* The receiving side of the load. */
#include "tests/fault/stream_client.h"

/* What was before us (another run of this program) is done. */
static struct watermark *watermark(struct end *e, const uint8_t *stream, uint64_t number)
{
    for (int i = 0; i < PAIRS_MAX; i++) {
        struct watermark *w = &e->seen[i];
        if (w->is_used && memcmp(w->stream, stream, 16) == 0)
            return w;
        if (w->is_used)
            continue;
        *w = (struct watermark){.is_used = true, .done = number - 1};
        memcpy(w->stream, stream, 16);
        return w;
    }
    load_note("X %s too-many-streams", e->s.p.id);
    exit(1);
}

static void answer(struct end *e, const struct envelope_header *h, const struct hash *digest)
{
    for (size_t i = 0; i < KEPT_MAX; i++)
        if (e->kept[i].is_used && memcmp(e->kept[i].request.b, digest->b, 32) == 0) {
            load_send(e, FRAME_SUBMIT, &e->kept[i].frame);
            return;
        }
    struct item *t = &e->kept[e->kept_at++ % KEPT_MAX];
    load_begin(t, 0);
    memcpy(t->exchange_id, h->exchange_id, 16);
    t->request = *digest;
    load_note("V %s %s %s", e->s.p.id, load_hex(digest->b, 32).text, load_hex(h->exchange_id, 16).text);
    load_make(e, 0, t, KIND_RESPONSE, h->sender, (int64_t)h->expires_ms);
    load_sign(e, 1);
    load_send(e, FRAME_SUBMIT, &t->frame);
}

static void on_response(struct end *e, const struct envelope_header *h)
{
    for (int i = 0; i < CALLS_MAX; i++) {
        struct item *t = &e->call[i];
        if (!t->is_used || memcmp(t->digest.b, h->in_reply_to.p, 32) != 0)
            continue;
        load_note("P %s %s %s", e->s.p.id, load_hex(t->digest.b, 32).text, load_hex(t->exchange_id, 16).text);
        t->is_used = false;
        t->again_us = load_now_us() + CALL_PAUSE_US;
        load.answered_count++;
    }
}

static void on_numbered(struct end *e, const struct deliver *d, const struct envelope_header *h, const struct hash *digest)
{
    struct watermark *w = watermark(e, h->stream.p, h->number);
    bool is_again = h->number <= w->done;
    if (h->number > w->done + 1)
        load_note("X %s out-of-order number=%" PRIu64 " after=%" PRIu64, e->s.p.id, h->number, w->done);
    load_note("%c %s %s %.*s %s %" PRIu64 " %u", is_again ? 'B' : 'H', e->s.p.id, load_hex(digest->b, 32).text, (int)h->sender.len, h->sender.p, load_hex(h->stream.p, 16).text,
         h->number, d->attempt);
    if (!is_again) {
        w->done = h->number;
        load.handed_count++;
    }
    bool is_rejected = h->number % REJECT_EVERY == 0;
    MUST_SEND(party_session_acknowledge(&e->s, d->delivery, digest, is_rejected ? OUTCOME_REJECTED : OUTCOME_DONE, is_rejected ? REJECTED : 0));
}

void load_on_deliver(struct end *e, struct span payload)
{
    struct party_delivery got;
    MUST(party_open_delivery(&e->s.p, load.registry, payload, &got, &e->s.plain, &load.why));
    if (got.header.kind == KIND_RESPONSE)
        on_response(e, &got.header);
    else if (envelope_is_waiting(&got.header))
        answer(e, &got.header, &got.digest);
    else
        on_numbered(e, &got.deliver, &got.header, &got.digest);
}

void load_on_skips(struct end *e, struct span payload)
{
    struct batch_signature b;
    struct span one;
    static struct hash leaves[STATEMENT_BATCH_MAX], spent[STATEMENT_BATCH_MAX]; /* by the leaf they are acknowledged */
    struct skip k;
    size_t at = 0, count = 0;
    MUST(batch_read(FRAME_SKIPS, payload, &b, &load.why));
    while (batch_next(payload, &at, &one)) {
        struct hash digest;
        MUST(skip_read(one, &k, &load.why));
        memcpy(digest.b, k.digest, 32);
        leaf_skip(k.sender, span_str(e->s.p.id), k.stream, k.number, &digest, (uint8_t)k.state, span_str(e->s.gateway), &leaves[count]);
        spent[count] = leaves[count];
        count++;
    }
    MUST(party_verify_run(load.registry, e->s.gateway, &b, spent, count, e->s.p.roots));
    count = 0;
    for (at = 0; batch_next(payload, &at, &one);) {
        struct hash leaf = leaves[count++];
        MUST(skip_read(one, &k, &load.why));
        struct watermark *w = watermark(e, k.stream, k.number);
        if (k.number > w->done + 1)
            load_note("X %s out-of-order skip=%" PRIu64 " after=%" PRIu64, e->s.p.id, k.number, w->done);
        if (k.number > w->done)
            w->done = k.number;
        load_note("K %s %s %.*s %s %" PRIu64 " %s", e->s.p.id, load_hex(k.digest, 32).text, (int)k.sender.len, k.sender.p, load_hex(k.stream, 16).text, k.number, state_name(k.state));
        MUST_SEND(party_session_acknowledge(&e->s, k.delivery, &leaf, OUTCOME_DONE, 0));
    }
}
