/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
#include "proto/crypto/large.h"

#include <sodium.h>
#include <stdlib.h>
#include "base/secret.h"
#include "proto/crypto/seal.h"

#define TAG_BYTES crypto_secretstream_xchacha20poly1305_ABYTES
#define PIECE_BYTES (LARGE_CHUNK_BYTES - TAG_BYTES)
_Static_assert(TAG_BYTES == 17 && crypto_secretstream_xchacha20poly1305_HEADERBYTES == 24 && crypto_secretstream_xchacha20poly1305_KEYBYTES == 32,
               "SPEC 18.1");

typedef crypto_secretstream_xchacha20poly1305_state stream;

void large_body_write(const struct large_body *b, uint8_t out[LARGE_BODY_BYTES])
{
    be_put(out, b->bytes, 8);
    memcpy(out + 8, b->key, 32);
    memcpy(out + 40, b->stream_header, 24);
}

ehis_err large_body_read(struct span plaintext, struct large_body *out)
{
    if (plaintext.len != LARGE_BODY_BYTES)
        return EHIS_E_LARGE_ALTERED;
    out->bytes = be_get(plaintext.p, 8);
    memcpy(out->key, plaintext.p + 8, 32);
    memcpy(out->stream_header, plaintext.p + 40, 24);
    return EHIS_OK;
}

uint32_t large_chunk_count(uint64_t bytes) { return (uint32_t)((bytes + LARGE_CHUNK_BYTES - 1) / LARGE_CHUNK_BYTES); }

size_t large_chunk_bytes(uint64_t bytes, uint32_t index)
{
    uint64_t left = bytes - (uint64_t)index * LARGE_CHUNK_BYTES;
    return left < LARGE_CHUNK_BYTES ? (size_t)left : LARGE_CHUNK_BYTES;
}

void large_leaf(struct span chunk, struct hash *out)
{
    struct hash h;
    struct span parts[] = {span_of("ehis/chunk/v1", 14), chunk};
    hash_spans(parts, 2, &h);
    hash_leaf(span_of(h.b, HASH_BYTES), out);
}

void large_blob_key(struct span sender, const uint8_t root[HASH_BYTES], struct hash *out)
{
    uint8_t len[2];
    be_put(len, sender.len, 2);
    struct span parts[] = {span_of("ehis/blob/v1", 13), span_of(len, 2), sender, span_of(root, HASH_BYTES)};
    hash_spans(parts, 4, out);
}

/* Leaves, as chunks come; the tree is built when the last is there. */
struct leaves { struct hash *all; uint32_t count, cap; };

static ehis_err leaves_add(struct leaves *l, struct span chunk)
{
    if (l->count >= LARGE_CHUNKS_MAX)
        return EHIS_E_TOO_LARGE;
    if (l->count == l->cap) {
        uint32_t cap = l->cap ? l->cap * 2 : 64;
        struct hash *more = reallocarray(l->all, cap, sizeof *more);
        if (!more)
            return EHIS_E_NO_MEMORY;
        l->all = more;
        l->cap = cap;
    }
    large_leaf(chunk, &l->all[l->count++]);
    return EHIS_OK;
}

static ehis_err leaves_root(const struct leaves *l, struct hash *out)
{
    struct tree t;
    tree_init(&t);
    ehis_err err = tree_build(&t, l->all, l->count);
    if (err == EHIS_OK)
        tree_root(&t, out);
    tree_fini(&t);
    return err;
}

/* ---- sealing ---- */

struct large_sealer {
    stream state;
    struct large_body body;
    uint64_t sealed_bytes;
    struct leaves leaves;
    ehis_err (*write)(void *arg, struct span chunk);
    void *arg;
    size_t len; /* of piece: sealed when more comes, for the last has a tag of its own */
    uint8_t piece[PIECE_BYTES], chunk[LARGE_CHUNK_BYTES];
};

ehis_err large_sealer_new(const struct random *r, ehis_err (*write)(void *arg, struct span chunk), void *arg, struct large_sealer **out)
{
    struct large_sealer *s = calloc(1, sizeof *s);
    if (!s)
        return EHIS_E_NO_MEMORY;
    s->write = write;
    s->arg = arg;
    random_fill(r, s->body.key, sizeof s->body.key);
    random_fill(r, s->body.stream_header, sizeof s->body.stream_header);
    /* init_push would draw the header from libsodium's generator; for a given one the states of both ends are one. */
    if (crypto_secretstream_xchacha20poly1305_init_pull(&s->state, s->body.stream_header, s->body.key) != 0) {
        free(s);
        return EHIS_E_INTERNAL;
    }
    *out = s;
    return EHIS_OK;
}

void large_sealer_free(struct large_sealer *s)
{
    if (!s)
        return;
    free(s->leaves.all);
    secret_wipe(s, sizeof *s);
    free(s);
}

static ehis_err seal_piece(struct large_sealer *s, uint8_t tag)
{
    struct span chunk = span_of(s->chunk, s->len + TAG_BYTES);
    crypto_secretstream_xchacha20poly1305_push(&s->state, s->chunk, NULL, s->piece, s->len, NULL, 0, tag);
    s->len = 0;
    s->sealed_bytes += chunk.len;
    EHIS_TRY(leaves_add(&s->leaves, chunk));
    return s->write(s->arg, chunk);
}

static ehis_err put(struct large_sealer *s, struct span bytes, uint64_t zeros)
{
    uint64_t left = bytes.len ? bytes.len : zeros;
    for (size_t at = 0, n; left > 0; left -= n, at += n) {
        if (s->len == PIECE_BYTES)
            EHIS_TRY(seal_piece(s, crypto_secretstream_xchacha20poly1305_TAG_MESSAGE));
        n = PIECE_BYTES - s->len < left ? PIECE_BYTES - s->len : (size_t)left;
        if (bytes.len)
            memcpy(s->piece + s->len, bytes.p + at, n);
        else
            memset(s->piece + s->len, 0, n);
        s->len += n;
    }
    return EHIS_OK;
}

ehis_err large_sealer_put(struct large_sealer *s, struct span plaintext)
{
    s->body.bytes += plaintext.len;
    return put(s, plaintext, 0);
}

ehis_err large_sealer_finish(struct large_sealer *s, struct large_body *body, struct large_manifest *manifest)
{
    uint64_t n = s->body.bytes, padded = seal_sealed_bytes(n) - SEAL_OVERHEAD_BYTES;
    EHIS_TRY(put(s, span_of("\x80", 1), 0));
    EHIS_TRY(put(s, span_of(NULL, 0), padded - n - 1));
    EHIS_TRY(seal_piece(s, crypto_secretstream_xchacha20poly1305_TAG_FINAL));
    *body = s->body;
    manifest->bytes = s->sealed_bytes;
    return leaves_root(&s->leaves, &manifest->root);
}

/* ---- opening ---- */

struct large_opener {
    stream state;
    uint64_t bytes, at; /* of the body; of it and its padding opened */
    struct large_manifest manifest;
    struct leaves leaves;
    bool is_bad;
    uint8_t piece[PIECE_BYTES];
};

ehis_err large_opener_new(const struct large_body *body, const struct large_manifest *manifest, struct large_opener **out)
{
    uint64_t padded = body->bytes < LARGE_MAX_BYTES ? seal_sealed_bytes(body->bytes) - SEAL_OVERHEAD_BYTES : 0;
    if (padded == 0 || manifest->bytes > LARGE_MAX_BYTES || padded + (padded + PIECE_BYTES - 1) / PIECE_BYTES * TAG_BYTES != manifest->bytes)
        return EHIS_E_LARGE_ALTERED;
    struct large_opener *o = calloc(1, sizeof *o);
    if (!o)
        return EHIS_E_NO_MEMORY;
    o->bytes = body->bytes;
    o->manifest = *manifest;
    if (crypto_secretstream_xchacha20poly1305_init_pull(&o->state, body->stream_header, body->key) != 0) {
        free(o);
        return EHIS_E_LARGE_ALTERED;
    }
    *out = o;
    return EHIS_OK;
}

void large_opener_free(struct large_opener *o)
{
    if (!o)
        return;
    free(o->leaves.all);
    secret_wipe(o, sizeof *o);
    free(o);
}

/* What stands behind the body in this piece is 0x80 and zeros, in their places. */
static bool is_padding(const struct large_opener *o, size_t from, size_t len)
{
    for (size_t i = from; i < len; i++)
        if (o->piece[i] != (o->at + i == o->bytes ? 0x80 : 0))
            return false;
    return true;
}

static ehis_err take(struct large_opener *o, struct span chunk, struct buf *out, bool *is_whole)
{
    uint32_t index = o->leaves.count, count = large_chunk_count(o->manifest.bytes);
    unsigned long long len;
    unsigned char tag;
    struct hash root;
    if (o->is_bad || index >= count || chunk.len != large_chunk_bytes(o->manifest.bytes, index))
        return EHIS_E_LARGE_ALTERED;
    if (crypto_secretstream_xchacha20poly1305_pull(&o->state, o->piece, &len, &tag, chunk.p, chunk.len, NULL, 0) != 0)
        return EHIS_E_LARGE_ALTERED;
    bool is_last = index + 1 == count;
    if (tag != (is_last ? crypto_secretstream_xchacha20poly1305_TAG_FINAL : crypto_secretstream_xchacha20poly1305_TAG_MESSAGE))
        return EHIS_E_LARGE_ALTERED;
    uint64_t left = o->at < o->bytes ? o->bytes - o->at : 0;
    size_t n = left < len ? (size_t)left : (size_t)len;
    if (!is_padding(o, n, (size_t)len))
        return EHIS_E_LARGE_ALTERED;
    EHIS_TRY(leaves_add(&o->leaves, chunk));
    if (is_last) {
        EHIS_TRY(leaves_root(&o->leaves, &root));
        if (memcmp(root.b, o->manifest.root.b, HASH_BYTES) != 0)
            return EHIS_E_LARGE_ALTERED;
    }
    EHIS_TRY(buf_put(out, o->piece, n));
    o->at += len;
    *is_whole = is_last;
    return EHIS_OK;
}

ehis_err large_opener_take(struct large_opener *o, struct span chunk, struct buf *out, bool *is_whole)
{
    *is_whole = false;
    ehis_err err = take(o, chunk, out, is_whole);
    o->is_bad |= err != EHIS_OK;
    return err;
}
