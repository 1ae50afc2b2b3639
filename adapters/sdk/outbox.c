/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
#include "adapters/sdk/outbox_priv.h"
#include <stdlib.h>

#define STREAMS_MAX 256
#define MESSAGES_MAX 262144 /* held or remembered: each stands in every snapshot */
#define CACHE_MAX_BYTES (16u * 1024 * 1024) /* of bytes in memory that stand on the disk too */

enum { ACCEPTED = 1, REPLICATED = 2, DELIVERED = 3, REFUSED = 5 }; /* states; from DELIVERED on they are final */

ehis_err outbox_new(uint64_t max_bytes, bool is_memory, uint8_t wait_state, struct outbox **out)
{
    struct outbox *o = calloc(1, sizeof *o);
    if (!o)
        return EHIS_E_NO_MEMORY;
    o->max_bytes = max_bytes;
    o->is_memory = is_memory;
    o->wait_state = wait_state;
    asked_init(&o->asked);
    *out = o;
    return EHIS_OK;
}

void outbox_set_store(struct outbox *o, struct store *s)
{
    o->store = s;
    for (const struct out_message *m = o->earliest; m; m = m->later)
        if (m->is_held)
            store_hold(s, &m->place);
}

void outbox_free(struct outbox *o)
{
    if (!o)
        return;
    for (struct out_message *m = o->earliest, *next; m; m = next) {
        next = m->later;
        free(m->bytes);
        free(m);
    }
    for (struct out_stream *s = o->streams, *next; s; s = next) {
        next = s->next;
        out_stream_free(s);
    }
    asked_fini(&o->asked);
    table_fini(&o->by_digest);
    free(o);
}

int64_t outbox_asked_until(const struct outbox *o, const uint8_t digest[32], struct span system)
{
    const struct out_message *m = outbox_by_digest(o, digest);
    uint8_t key[32];
    if (m)
        return m->stream->class_ == OUT_REQUESTS && span_eq(span_str(m->stream->recipient), system) ? m->expires_ms : 0;
    asked_key(digest, system, key);
    return asked_until(&o->asked, key);
}

void outbox_forget_asked(struct outbox *o, int64_t now_ms) { asked_forget(&o->asked, now_ms); }

ehis_err outbox_add_stream(struct outbox *o, const uint8_t id[16], enum out_class c, struct span recipient, struct span event, struct out_stream **out)
{
    EHIS_TRY(out_stream_new(id, c, recipient, event, out));
    (*out)->next = o->streams;
    o->streams = *out;
    o->stream_count++;
    return EHIS_OK;
}

struct out_stream *outbox_find(const struct outbox *o, const uint8_t id[16])
{
    for (struct out_stream *s = o->streams; s; s = s->next)
        if (memcmp(s->id, id, 16) == 0)
            return s;
    return NULL;
}

struct out_stream *outbox_streams(const struct outbox *o) { return o->streams; }

ehis_err outbox_stream(struct outbox *o, enum out_class c, struct span recipient, struct span event, const struct random *r, struct out_stream **out)
{
    uint8_t id[16];
    uint64_t sequence = 0;
    for (struct out_stream *s = o->streams; s; s = s->next) {
        if (s->class_ != c || !span_eq(span_str(s->recipient), recipient) || !span_eq(span_str(s->event), event))
            continue;
        *out = s;
        if (!s->is_broken)
            return EHIS_OK;
        if (s->sequence > sequence)
            sequence = s->sequence;
    }
    if (o->stream_count >= STREAMS_MAX)
        return EHIS_E_SDK_BUSY;
    random_fill(r, id, sizeof id);
    EHIS_TRY(outbox_add_stream(o, id, c, recipient, event, out));
    (*out)->sequence = sequence;
    return outbox_append_stream(o, *out);
}

ehis_err outbox_check_room(const struct outbox *o, size_t bytes)
{
    return o->message_count >= MESSAGES_MAX || o->bytes + bytes > o->max_bytes ? EHIS_E_SDK_BUSY : EHIS_OK;
}

void outbox_link(struct outbox *o, struct out_message *m)
{
    out_stream_add(m);
    m->earlier = o->latest;
    *(o->latest ? &o->latest->later : &o->earliest) = m;
    o->latest = m;
    if (!o->waiting)
        o->waiting = m;
    o->message_count++;
}

static void drop_cached(struct outbox *o, struct out_message *m)
{
    if (!m->bytes || !m->place.bytes)
        return;
    o->cached_bytes -= m->len;
    free(m->bytes);
    m->bytes = NULL;
}

void outbox_drop_bytes(struct outbox *o, struct out_message *m)
{
    if (!m->is_held)
        return;
    m->is_held = false;
    o->bytes -= m->len;
    drop_cached(o, m);
    free(m->bytes); /* in memory alone */
    m->bytes = NULL;
    if (m->place.bytes && o->store)
        store_let_go(o->store, &m->place);
    m->place = (struct store_place){0};
}

void outbox_unlink(struct outbox *o, struct out_message *m)
{
    out_stream_remove(m);
    *(m->earlier ? &m->earlier->later : &o->earliest) = m->later;
    *(m->later ? &m->later->earlier : &o->latest) = m->earlier;
    table_remove(&o->by_digest, &m->by_digest);
    outbox_drop_bytes(o, m);
    if (o->unwritten == m)
        o->unwritten = m->later;
    if (o->waiting == m)
        o->waiting = m->later;
    o->message_count--;
    free(m);
}

ehis_err outbox_add(struct outbox *o, struct out_stream *s, uint64_t number, const uint8_t exchange_id[16], const uint8_t digest[32],
                            struct out_message **out)
{
    struct out_message *m = calloc(1, sizeof *m);
    if (!m)
        return EHIS_E_NO_MEMORY;
    memcpy(m->by_digest.key, digest, 32);
    memcpy(m->exchange_id, exchange_id, 16);
    m->stream = s;
    m->number = number;
    m->ticket = ++o->ticket;
    ehis_err err = table_add(&o->by_digest, &m->by_digest);
    if (err != EHIS_OK)
        free(m);
    else
        *out = m;
    return err;
}

void outbox_committed(struct outbox *o)
{
    struct out_message *m = o->unwritten;
    for (o->unwritten = NULL; m; m = m->later) {
        if (!m->place.bytes)
            continue;
        if (!store_is_written(o->store, &m->place))
            o->unwritten = o->unwritten ? o->unwritten : m;
        else if (o->cached_bytes > CACHE_MAX_BYTES)
            drop_cached(o, m);
    }
}

ehis_err outbox_put(struct outbox *o, const struct out_new *n, struct out_message **out)
{
    struct out_message *m;
    struct span envelope = n->envelope;
    EHIS_TRY(outbox_add(o, n->stream, n->number, n->exchange_id, n->digest, &m));
    m->expires_ms = n->expires_ms;
    m->sequence = n->sequence;
    ehis_err err = EHIS_OK;
    if (o->store && !o->is_memory)
        err = outbox_append_body(o, m, envelope);
    /* Until the commit the disk cannot be read: so the bytes are kept until then at least. */
    m->bytes = err == EHIS_OK ? malloc(envelope.len) : NULL;
    if (!m->bytes) {
        table_remove(&o->by_digest, &m->by_digest);
        if (m->place.bytes)
            store_let_go(o->store, &m->place);
        if (o->unwritten == m)
            o->unwritten = NULL;
        free(m);
        return err == EHIS_OK ? EHIS_E_NO_MEMORY : err;
    }
    memcpy(m->bytes, envelope.p, envelope.len);
    m->len = (uint32_t)envelope.len;
    m->is_held = true;
    o->bytes += m->len;
    if (m->place.bytes)
        o->cached_bytes += m->len;
    outbox_link(o, m);
    *out = m;
    return EHIS_OK;
}

struct out_message *outbox_by_digest(const struct outbox *o, const uint8_t digest[32])
{
    struct entry *e = table_find(&o->by_digest, digest);
    return e ? OWNER_OF(e, struct out_message, by_digest) : NULL;
}

/* ---- the session ---- */

void outbox_session_ended(struct outbox *o, uint64_t session, uint32_t slot)
{
    for (struct out_stream *s = o->streams; s; s = s->next)
        out_stream_session_ended(s, session, slot);
}

ehis_err outbox_opened(struct outbox *o, struct out_stream *s, uint64_t expected)
{
    (void)out_stream_opened(s, expected); /* where not, it is opened again */
    if (expected <= s->next_number)
        return EHIS_OK;
    s->is_broken = true;
    uint64_t next = s->next_number;
    s->next_number = 0; /* marks it in the record */
    ehis_err err = outbox_append_stream(o, s);
    s->next_number = next;
    return err == EHIS_OK ? EHIS_E_STATE_BEHIND : err;
}

ehis_err outbox_bytes(struct outbox *o, struct out_message *m, struct buf *room, struct span *out)
{
    if (!m->bytes) {
        buf_clear(room);
        EHIS_TRY(store_read(o->store, &m->place, room));
        *out = buf_span(room);
        return EHIS_OK;
    }
    *out = span_of(m->bytes, m->len);
    return EHIS_OK;
}

bool outbox_on_receipt(struct outbox *o, struct out_message *m, const struct out_gateway *from, uint8_t state, ehis_err *err)
{
    bool is_once = m->number == 0 || m->stream->class_ == OUT_EVENTS; /* nobody says *delivered* of it */
    *err = EHIS_OK;
    if (m->stream->session == from->session)
        out_stream_answered(m);
    if (state <= REPLICATED && !m->is_final)
        out_message_accepted(m, from->slot);
    bool is_end = state >= DELIVERED || (is_once && (state == REPLICATED || !from->is_replicating));
    /* The end that stands in the store may have been with the application when the process died: told again, it counts. */
    if (m->is_final || (state <= m->state && !is_end))
        return false;
    if (state == REFUSED && m->state >= ACCEPTED && m->state != REFUSED) /* another gateway has taken it before */
        return false;
    m->state = state;
    m->is_final = is_end;
    if (m->is_final)
        out_message_ended(m);
    uint8_t enough = o->wait_state ? o->wait_state : from->is_replicating ? REPLICATED : ACCEPTED;
    if (m->is_final) {
        m->is_telling = true; /* recorded when the application has been told: outbox_finish */
    } else if (state >= enough && m->is_held && m->number != 0) {
        *err = outbox_append_remembered(o, m); /* all of it: the segment with its bytes may go now, and no snapshot has named it */
        outbox_drop_bytes(o, m);
    }
    return m->number != 0 || m->is_final;
}

ehis_err outbox_finish(struct outbox *o, struct out_message *m)
{
    m->is_final = true;
    ehis_err err = outbox_append_state(o, m);
    if (err == EHIS_OK && m->stream->class_ == OUT_REQUESTS && m->state == DELIVERED) {
        uint8_t key[32];
        asked_key(m->by_digest.key, span_str(m->stream->recipient), key);
        err = outbox_append_asked(o, key, m->expires_ms);
        if (err == EHIS_OK)
            err = asked_add(&o->asked, key, m->expires_ms);
    }
    outbox_unlink(o, m);
    return err;
}

uint64_t outbox_ticket(const struct outbox *o) { return o->ticket; }

uint64_t outbox_lowest_ticket(struct outbox *o, bool is_final)
{
    while (o->waiting && !out_message_is_waiting(o->waiting)) /* they do not come back */
        o->waiting = o->waiting->later;
    const struct out_message *m = is_final ? o->earliest : o->waiting;
    return m ? m->ticket : UINT64_MAX;
}

void outbox_count(const struct outbox *o, uint64_t *messages, uint64_t *bytes)
{
    *messages = o->message_count;
    *bytes = o->bytes;
}
