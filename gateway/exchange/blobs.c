/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* Large bodies (SPEC 18): which message has which chunks, and who may get them. The chunks themselves are the bus's. */
#include "gateway/exchange/exchange_priv.h"

#include <stdlib.h>

ehis_err exchange_large_new(struct message *m, const struct envelope_large *l)
{
    if (!l->root.len)
        return EHIS_OK;
    m->large = calloc(1, sizeof *m->large);
    if (!m->large)
        return EHIS_E_NO_MEMORY;
    m->large->bytes = l->bytes;
    memcpy(m->large->root, l->root.p, HASH_BYTES);
    return EHIS_OK;
}

void exchange_large_free(struct message *m)
{
    free(m->large);
    m->large = NULL;
}

void exchange_large_place(struct message *m, uint64_t partition, uint64_t offset)
{
    if (!m->large)
        return;
    m->large->partition = partition;
    m->large->offset = offset;
}

static struct exchange_blob blob_of(const struct message *m)
{
    struct exchange_blob b = {.sender = name_span(m->sender->name), .bytes = m->large->bytes, .partition = m->large->partition, .offset = m->large->offset};
    memcpy(b.root, m->large->root, HASH_BYTES);
    return b;
}

/* Its chunks count as long as they are kept: those of a response to a waiting caller, too. */
void exchange_large_keep(struct exchange *x, struct message *m)
{
    if (!m->large || m->large->is_kept || !x->ports.blob_keep)
        return;
    struct exchange_blob b = blob_of(m);
    m->large->is_kept = true;
    m->sender->stored_bytes += b.bytes;
    x->ports.blob_keep(x->ports.ctx, &b);
}

void exchange_large_let_go(struct exchange *x, struct message *m)
{
    if (!m->large || !m->large->is_kept)
        return;
    struct exchange_blob b = blob_of(m);
    m->large->is_kept = false;
    m->sender->stored_bytes -= b.bytes;
    x->ports.blob_let_go(x->ports.ctx, &b);
}

ehis_err exchange_submitted_blob(struct exchange *x, const struct submission *u, struct exchange_blob *b)
{
    *b = (struct exchange_blob){.sender = u->header.sender, .bytes = u->header.large.bytes};
    if (!u->header.large.root.len)
        return EHIS_OK;
    memcpy(b->root, u->header.large.root.p, HASH_BYTES);
    return x->ports.blob_find(x->ports.ctx, b);
}

/* In flight there; or the answer to a caller of its system, which nobody acknowledges. */
static struct message *under_way(struct exchange *x, const struct session *s, const uint8_t digest[HASH_BYTES], struct delivery **d)
{
    struct hash h;
    memcpy(h.b, digest, HASH_BYTES);
    struct message *m = exchange_guest_find(x, &h, s->system);
    if (!m)
        m = exchange_message_by_digest(x, &h);
    *d = NULL;
    if (!m || !m->large)
        return NULL;
    if (m->kind == KIND_RESPONSE && message_is(m, IS_WAITING))
        return m->to == s->system && m->durable == STATE_ACCEPTED && x->now_ms < m->expires_ms ? m : NULL;
    for (*d = m->deliveries; *d; *d = (*d)->next)
        if ((*d)->session == s && !(*d)->skip)
            return m;
    return NULL;
}

ehis_err exchange_blob(struct exchange *x, session_id id, const uint8_t digest[HASH_BYTES], struct exchange_blob *b, int64_t now_ms)
{
    const struct session *s = exchange_session_find(x, id);
    struct delivery *d;
    x->now_ms = now_ms;
    const struct message *m = s ? under_way(x, s, digest, &d) : NULL;
    if (!m)
        return EHIS_E_EXCHANGE_BLOB_UNKNOWN;
    *b = blob_of(m);
    return EHIS_OK;
}

void exchange_on_blob_bad(struct exchange *x, session_id id, const uint8_t digest[HASH_BYTES], ehis_err code, int64_t now_ms)
{
    struct session *s = exchange_session_find(x, id);
    struct delivery *d;
    x->now_ms = now_ms;
    struct message *m = s ? under_way(x, s, digest, &d) : NULL;
    if (!m || m->large->is_bad)
        return;
    ehis_err err;
    if (d) {
        err = exchange_finish(x, m, d, RECORD_FAILED, code, span_of(NULL, 0), s);
    } else { /* its request has ended by it already: the caller hears of it */
        struct record r = {.kind = RECORD_FAILED, .code = (uint32_t)code, .sender = name_span(m->sender->name), .system = name_span(m->to->name), .session = id};
        memcpy(r.digest, m->digest.b, HASH_BYTES);
        err = exchange_append(x, &r, NULL, 0, false, NULL);
    }
    m->large->is_bad = err == EHIS_OK; /* else the next who asks for a chunk says it again */
    exchange_pump(x);
}

uint64_t exchange_room_bytes(const struct exchange *x, session_id id)
{
    const struct session *s = exchange_session_find(x, id);
    return s && s->system->stored_bytes < x->bounds.stored_bytes_max ? x->bounds.stored_bytes_max - s->system->stored_bytes : 0;
}
