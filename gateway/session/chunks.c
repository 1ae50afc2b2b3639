/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* Chunks of large bodies in and out of a session (SPEC 18.3, 18.5). A few at a time, so that what a session costs is bounded. */
#include "gateway/bus/blob.h"
#include "gateway/session/sessions_priv.h"
#include "proto/wire/envelope.h"
#include "proto/wire/session_frames.h"

#include <stdlib.h>

#define UNANSWERED_MAX 4 /* of each sort */
#define RETRY_MS 100

_Static_assert(LARGE_MAX_BYTES == ENVELOPE_LARGE_MAX_BYTES, "SPEC 18.1");

static struct blob_name name_of(struct span sender, const uint8_t root[HASH_BYTES], uint64_t bytes)
{
    struct blob_name n = {.sender = sender, .manifest = {.bytes = bytes}};
    memcpy(n.manifest.root.b, root, HASH_BYTES);
    return n;
}

/* An answer that the output had no room for. */
struct held_answer { struct held_answer *next; uint8_t type; size_t len; uint8_t bytes[]; };

static ehis_err send_answer(struct session *x, uint8_t type, struct span payload)
{
    ehis_err err = link_send(x->link, type, &payload, 1);
    if (err != EHIS_E_LINK_FULL)
        --*(type == FRAME_BLOB_STATE ? &x->blob_puts : &x->blob_gets);
    return err;
}

/* To a question that was counted, and is until this has gone out: so no more than UNANSWERED_MAX of each sort are held. */
static ehis_err answer(struct session *x, uint8_t type, struct span payload)
{
    ehis_err err = x->held ? EHIS_E_LINK_FULL : send_answer(x, type, payload);
    if (err != EHIS_E_LINK_FULL)
        return err;
    struct held_answer *h = malloc(sizeof *h + payload.len);
    if (!h)
        return EHIS_E_NO_MEMORY;
    *h = (struct held_answer){.type = type, .len = payload.len};
    memcpy(h->bytes, payload.p, payload.len);
    *x->held_end = h;
    x->held_end = &h->next;
    return EHIS_OK;
}

void session_answers_room(struct session *x)
{
    while (x->held && !x->is_closing) {
        struct held_answer *h = x->held;
        ehis_err err = send_answer(x, h->type, span_of(h->bytes, h->len));
        if (err == EHIS_E_LINK_FULL)
            return; /* on_room comes */
        x->held = h->next;
        if (!x->held)
            x->held_end = &x->held;
        uint8_t type = h->type == FRAME_BLOB_STATE ? FRAME_BLOB_PUT : FRAME_BLOB_GET;
        free(h);
        if (err != EHIS_OK)
            session_fail(x, err, type, NULL);
    }
}

void session_answers_free(struct session *x)
{
    for (struct held_answer *h = x->held, *next; h; h = next) {
        next = h->next;
        free(h);
    }
}

static ehis_err write_state(struct session *x, const struct hash *root, uint32_t next, ehis_err code)
{
    struct blob_state f = {.next = next, .code = (uint32_t)code, .retry_ms = code == EHIS_E_EXCHANGE_BUSY ? RETRY_MS : 0};
    memcpy(f.root, root->b, HASH_BYTES);
    buf_clear(&x->all->item);
    return blob_state_write(&f, &x->all->item);
}

static void on_state(void *ctx, uint64_t session, const struct hash *root, uint32_t next, ehis_err code)
{
    struct sessions *s = ctx;
    struct session *x = session_find(s, session);
    if (!x)
        return;
    ehis_err err = write_state(x, root, next, code);
    if (err == EHIS_OK)
        err = answer(x, FRAME_BLOB_STATE, buf_span(&s->item));
    if (err != EHIS_OK)
        session_fail(x, err, FRAME_BLOB_PUT, NULL);
}

ehis_err session_on_blob_put(struct session *x, struct span payload, struct ehis_why *why)
{
    struct sessions *s = x->all;
    struct blob_put f;
    EHIS_TRY(blob_put_read(payload, &f, why));
    if (!s->blobs)
        return EHIS_E_FRAME_OUT_OF_STATE;
    struct blob_name name = name_of(span_str(x->peer.leaf.id), f.root, f.bytes);
    if (x->blob_puts >= UNANSWERED_MAX) {
        EHIS_TRY(write_state(x, &name.manifest.root, 0, EHIS_E_EXCHANGE_BUSY));
        struct span whole = buf_span(&s->item);
        return link_send(x->link, FRAME_BLOB_STATE, &whole, 1); /* it asked for more than it may: nothing is held */
    }
    x->blob_puts++;
    return blobs_put(s->blobs, x->id, &name, f.index, f.chunk, exchange_room_bytes(s->exchange, x->id));
}

static ehis_err write_chunk(struct session *x, const struct blob_chunk_out *c)
{
    struct blob_chunk f = {.index = c->index, .chunk = span_of(c->bytes, c->len), .code = (uint32_t)c->code, .retry_ms = c->code == EHIS_E_EXCHANGE_BUSY ? RETRY_MS : 0};
    memcpy(f.digest, c->digest, HASH_BYTES);
    buf_clear(&x->all->payload);
    return blob_chunk_write(&f, &x->all->payload);
}

static void on_chunk(void *ctx, struct blob_chunk_out *c)
{
    struct sessions *s = ctx;
    struct session *x = session_find(s, c->session);
    struct exchange_blob b;
    int64_t now = clock_wall_ms(s->clock);
    if (!x) {
        blob_chunk_free(c);
        return;
    }
    if (c->code == EHIS_E_EXCHANGE_BLOB_LOST || c->code == EHIS_E_EXCHANGE_BLOB_ALTERED)
        exchange_on_blob_bad(s->exchange, x->id, c->digest, c->code, now);
    else if (c->code == EHIS_OK && exchange_blob(s->exchange, x->id, c->digest, &b, now) != EHIS_OK) { /* given back or ended meanwhile: not theirs any more */
        c->code = EHIS_E_EXCHANGE_BLOB_UNKNOWN;
        c->len = 0;
    }
    ehis_err err = write_chunk(x, c);
    blob_chunk_free(c);
    if (err == EHIS_OK)
        err = answer(x, FRAME_BLOB_CHUNK, buf_span(&s->payload));
    if (err != EHIS_OK)
        session_fail(x, err, FRAME_BLOB_GET, NULL);
}

ehis_err session_on_blob_get(struct session *x, struct span payload, struct ehis_why *why)
{
    struct sessions *s = x->all;
    struct blob_get f;
    struct exchange_blob b;
    EHIS_TRY(blob_get_read(payload, &f, why));
    if (!s->blobs || !x->takes_large)
        return EHIS_E_FRAME_OUT_OF_STATE;
    ehis_err err = exchange_blob(s->exchange, x->id, f.digest, &b, clock_wall_ms(s->clock));
    if (err == EHIS_OK && f.index >= large_chunk_count(b.bytes))
        return ehis_fail(why, EHIS_E_PROTOCOL_ORDER, "chunk %u", f.index);
    bool is_over = x->blob_gets >= UNANSWERED_MAX;
    if (err == EHIS_OK && is_over)
        err = EHIS_E_EXCHANGE_BUSY;
    if (err == EHIS_OK) {
        struct blob_name name = name_of(b.sender, b.root, b.bytes);
        name.place = (struct blob_place){b.partition, b.offset};
        err = blobs_get(s->blobs, &(struct blob_asker){x->id, span_str(x->peer.leaf.id), f.digest}, &name, f.index);
    }
    x->blob_gets += !is_over;
    if (err == EHIS_OK)
        return EHIS_OK;
    struct blob_chunk_out none = {.index = f.index, .code = err};
    memcpy(none.digest, f.digest, HASH_BYTES);
    EHIS_TRY(write_chunk(x, &none));
    struct span whole = buf_span(&s->payload);
    return is_over ? link_send(x->link, FRAME_BLOB_CHUNK, &whole, 1) : answer(x, FRAME_BLOB_CHUNK, whole);
}

void sessions_set_blobs(struct sessions *s, struct blobs *b)
{
    const struct blobs_calls calls = {s, on_state, on_chunk};
    s->blobs = b;
    blobs_set_calls(b, &calls);
}
