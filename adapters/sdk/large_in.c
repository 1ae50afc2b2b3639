/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* Large bodies on their way in (SPEC 18.5): fetched chunk by chunk as the application reads, one ahead of it, and opened in its thread. */
#include "adapters/sdk/ehis_priv.h"
#include "base/secret.h"
#include <stdlib.h>

#define PATIENCE_MS 30000 /* without a chunk */
#define AGAIN_MS 200

ehis_err large_in_new(struct ehis *e, const struct envelope_header *h, const struct hash *digest, uint64_t session, struct span plaintext, struct large_in **out)
{
    struct large_body body = {0};
    struct large_manifest manifest = {.bytes = h->large.bytes};
    struct large_in *l = calloc(1, sizeof *l);
    if (!l)
        return EHIS_E_NO_MEMORY;
    memcpy(manifest.root.b, h->large.root.p, HASH_BYTES);
    ehis_err err = large_body_read(plaintext, &body);
    if (err == EHIS_OK)
        err = large_opener_new(&body, &manifest, &l->opener);
    l->bytes = body.bytes;
    secret_wipe(&body, sizeof body);
    if (err != EHIS_OK) {
        free(l);
        return err;
    }
    l->e = e;
    l->count = large_chunk_count(manifest.bytes);
    l->session = session;
    memcpy(l->digest, digest->b, HASH_BYTES);
    buf_init(&l->plain, LARGE_CHUNK_BYTES);
    l->plain.is_secret = true;
    l->next = e->larges_in;
    e->larges_in = l;
    pthread_mutex_lock(&e->lock);
    e->refs++;
    pthread_mutex_unlock(&e->lock);
    *out = l;
    return EHIS_OK;
}

/* In the I/O thread, or in any where that is no more: therefore with the lock. */
static void drop(struct ehis *e, struct large_in *l)
{
    struct large_in **at = &e->larges_in;
    pthread_mutex_lock(&e->lock);
    while (*at != l)
        at = &(*at)->next;
    *at = l->next;
    large_opener_free(l->opener);
    buf_fini(&l->plain);
    free(l->chunk);
    free(l);
    ehis_release(e);
}

static void on_drop(struct ehis *e, struct order *o) { drop(e, OWNER_OF(o, struct large_in, drop)); }

void large_in_free(struct large_in *l) /* [any], but not beside a read */
{
    if (!l)
        return;
    l->drop.run = on_drop;
    if (!work_post(l->e, &l->drop))
        drop(l->e, l);
}

static void on_pump(struct ehis *e, struct order *o)
{
    (void)e; /* the turn that follows sends */
    free(o);
}

/* With the lock; waits until there is a chunk, or there will be none. */
static ehis_err wait_chunk(struct large_in *l)
{
    struct ehis *e = l->e;
    while (!l->chunk && l->err == EHIS_OK && !e->is_stopped)
        pthread_cond_wait(&e->changed, &e->lock);
    return l->chunk ? EHIS_OK : l->err != EHIS_OK ? l->err : EHIS_E_SDK_CLOSED;
}

static void want(struct ehis *e)
{
    struct order *o = malloc(sizeof *o);
    if (!o)
        return; /* the next tick sends as well */
    *o = (struct order){NULL, on_pump};
    if (!work_post(e, o))
        free(o);
}

static ehis_err next_piece(struct large_in *l)
{
    struct ehis *e = l->e;
    pthread_mutex_lock(&e->lock);
    if (!l->is_wanted) {
        l->is_wanted = true;
        pthread_mutex_unlock(&e->lock);
        want(e);
        pthread_mutex_lock(&e->lock);
    }
    ehis_err err = wait_chunk(l);
    uint8_t *chunk = l->chunk;
    size_t len = l->chunk_len;
    l->chunk = NULL;
    pthread_mutex_unlock(&e->lock);
    EHIS_TRY(err);
    if (++l->taken < l->count)
        want(e); /* the next comes while this one is read */
    buf_clear(&l->plain);
    l->at = 0;
    err = large_opener_take(l->opener, span_of(chunk, len), &l->plain, &l->is_whole);
    free(chunk);
    return err;
}

int64_t large_in_read(struct large_in *l, void *into, size_t max)
{
    while (l->at == l->plain.len) {
        if (l->failed == EHIS_OK && l->is_whole)
            return 0;
        if (l->failed == EHIS_OK)
            l->failed = next_piece(l);
        if (l->failed != EHIS_OK)
            return -(int64_t)l->failed;
    }
    size_t n = l->plain.len - l->at < max ? l->plain.len - l->at : max;
    memcpy(into, buf_span(&l->plain).p + l->at, n);
    l->at += n;
    return (int64_t)n;
}

/* ---- the I/O thread's ---- */

static void tell(struct large_in *l, uint8_t *chunk, size_t len, ehis_err err)
{
    pthread_mutex_lock(&l->e->lock);
    l->chunk = chunk;
    l->chunk_len = len;
    l->err = err;
    pthread_cond_broadcast(&l->e->changed);
    pthread_mutex_unlock(&l->e->lock);
}

static struct session *after(struct ehis *e, uint64_t session)
{
    const struct session *s = session_of(e, session);
    size_t from = s ? s->slot + 1 : 0;
    for (size_t i = 0; i < e->session_count; i++) {
        struct session *next = &e->sessions[(from + i) % e->session_count];
        if (next->is_ready)
            return next;
    }
    return NULL;
}

static void ask(struct ehis *e, struct large_in *l)
{
    int64_t now = mono_ms(e);
    pthread_mutex_lock(&e->lock);
    bool is_wanted = l->is_wanted && !l->chunk && l->err == EHIS_OK;
    pthread_mutex_unlock(&e->lock);
    if (!is_wanted || l->asked == l->count)
        return;
    if (l->since_ms == 0)
        l->since_ms = now;
    if (now - l->since_ms >= PATIENCE_MS) { /* also with a gateway that does not answer */
        l->is_asked = false;
        tell(l, NULL, 0, l->last != EHIS_OK ? l->last : EHIS_E_SDK_NOT_READY);
        return;
    }
    if (l->is_asked || now < l->again_ms)
        return;
    struct session *s = session_of(e, l->session);
    if (!s || !s->is_ready)
        s = after(e, l->session);
    struct blob_get f = {.index = l->asked};
    memcpy(f.digest, l->digest, HASH_BYTES);
    buf_clear(&e->item);
    if (!s || blob_get_write(&f, &e->item) != EHIS_OK || session_send(s, FRAME_BLOB_GET, buf_span(&e->item)) != EHIS_OK)
        return;
    l->session = s->id;
    l->is_asked = true;
}

void large_in_pump(struct ehis *e)
{
    for (struct large_in *l = e->larges_in; l; l = l->next)
        ask(e, l);
}

ehis_err large_in_on_chunk(struct session *s, struct span payload, struct ehis_why *why)
{
    struct ehis *e = s->e;
    struct large_in *l = e->larges_in;
    struct blob_chunk f;
    ehis_err code = EHIS_OK;
    EHIS_TRY(blob_chunk_read(payload, &f, why));
    while (l && (!l->is_asked || l->session != s->id || l->asked != f.index || memcmp(l->digest, f.digest, HASH_BYTES) != 0))
        l = l->next;
    if (!l)
        return EHIS_OK; /* nobody reads it any more */
    l->is_asked = false;
    if (f.code != 0 && (!ehis_err_from_number(f.code, &code) || code == EHIS_OK))
        code = EHIS_E_EXCHANGE_BLOB_UNKNOWN;
    if (code == EHIS_E_EXCHANGE_BUSY || code == EHIS_E_EXCHANGE_BLOB_UNKNOWN) {
        struct session *other = code == EHIS_E_EXCHANGE_BUSY ? NULL : after(e, s->id); /* it may be delivered by another by now */
        l->last = code;
        l->again_ms = mono_ms(e) + AGAIN_MS;
        if (other)
            l->session = other->id;
        return EHIS_OK;
    }
    uint8_t *chunk = code == EHIS_OK ? malloc(f.chunk.len + 1) : NULL;
    if (chunk && f.chunk.len)
        memcpy(chunk, f.chunk.p, f.chunk.len);
    l->asked += chunk != NULL;
    l->since_ms = 0;
    tell(l, chunk, f.chunk.len, code != EHIS_OK ? code : chunk ? EHIS_OK : EHIS_E_NO_MEMORY);
    return EHIS_OK;
}

void large_in_session_ended(struct ehis *e, uint64_t session)
{
    for (struct large_in *l = e->larges_in; l; l = l->next)
        l->is_asked &= l->session != session;
}
