/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* Chunks of large bodies in and out of a session (SPEC 18.3, 18.5). A few at a time, so that what a session costs is bounded. */
#include "gateway/bus/blob.h"
#include "gateway/session/sessions_priv.h"
#include "proto/wire/session_frames.h"

#define UNANSWERED_MAX 4 /* of each sort */
#define RETRY_MS 100

static struct blob_name name_of(struct span sender, const uint8_t root[HASH_BYTES], uint64_t bytes)
{
    struct blob_name n = {.sender = sender, .manifest = {.bytes = bytes}};
    memcpy(n.manifest.root.b, root, HASH_BYTES);
    return n;
}

static void send_state(struct session *x, const struct hash *root, uint32_t next, ehis_err code)
{
    struct blob_state f = {.next = next, .code = (uint32_t)code, .retry_ms = code == EHIS_E_EXCHANGE_BUSY ? RETRY_MS : 0};
    memcpy(f.root, root->b, HASH_BYTES);
    buf_clear(&x->all->item);
    ehis_err err = blob_state_write(&f, &x->all->item);
    struct span whole = buf_span(&x->all->item);
    if (err == EHIS_OK)
        err = link_send(x->link, FRAME_BLOB_STATE, &whole, 1);
    if (err != EHIS_OK)
        session_fail(x, err, FRAME_BLOB_PUT, NULL);
}

static void on_state(void *ctx, uint64_t session, const struct hash *root, uint32_t next, ehis_err code)
{
    struct session *x = session_find(ctx, session);
    if (!x)
        return;
    x->blob_puts--;
    send_state(x, root, next, code);
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
        send_state(x, &name.manifest.root, 0, EHIS_E_EXCHANGE_BUSY);
        return EHIS_OK;
    }
    x->blob_puts++;
    return blobs_put(s->blobs, x->id, &name, f.index, f.chunk, exchange_room_bytes(s->exchange, x->id));
}

/* LINK_FULL: later. */
static ehis_err send_chunk(struct session *x, const struct blob_chunk_out *c)
{
    struct blob_chunk f = {.index = c->index, .chunk = span_of(c->bytes, c->len), .code = (uint32_t)c->code, .retry_ms = c->code == EHIS_E_EXCHANGE_BUSY ? RETRY_MS : 0};
    memcpy(f.digest, c->digest, HASH_BYTES);
    buf_clear(&x->all->payload);
    EHIS_TRY(blob_chunk_write(&f, &x->all->payload));
    struct span whole = buf_span(&x->all->payload);
    return link_send(x->link, FRAME_BLOB_CHUNK, &whole, 1);
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
    *x->chunks_end = c;
    x->chunks_end = &c->next;
    session_chunks_room(x);
}

void session_chunks_room(struct session *x)
{
    while (x->chunks && !x->is_closing) {
        struct blob_chunk_out *c = x->chunks;
        ehis_err err = send_chunk(x, c);
        if (err == EHIS_E_LINK_FULL)
            return; /* on_room comes */
        x->chunks = c->next;
        if (!x->chunks)
            x->chunks_end = &x->chunks;
        x->blob_gets--;
        blob_chunk_free(c);
        if (err != EHIS_OK)
            session_fail(x, err, FRAME_BLOB_GET, NULL);
    }
}

void session_chunks_free(struct session *x)
{
    for (struct blob_chunk_out *c = x->chunks, *next; c; c = next) {
        next = c->next;
        blob_chunk_free(c);
    }
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
    if (err == EHIS_OK && x->blob_gets >= UNANSWERED_MAX)
        err = EHIS_E_EXCHANGE_BUSY;
    if (err == EHIS_OK) {
        struct blob_name name = name_of(b.sender, b.root, b.bytes);
        name.place = (struct blob_place){b.partition, b.offset};
        err = blobs_get(s->blobs, x->id, f.digest, &name, f.index);
    }
    if (err == EHIS_OK) {
        x->blob_gets++;
        return EHIS_OK;
    }
    struct blob_chunk_out none = {.index = f.index, .code = err};
    memcpy(none.digest, f.digest, HASH_BYTES);
    return send_chunk(x, &none);
}

void sessions_set_blobs(struct sessions *s, struct blobs *b)
{
    const struct blobs_calls calls = {s, on_state, on_chunk};
    s->blobs = b;
    blobs_set_calls(b, &calls);
}
