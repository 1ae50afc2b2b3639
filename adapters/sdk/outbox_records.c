/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* The outbox in the store: its records, written and read again. */
#include "adapters/sdk/outbox_priv.h"
#include <stdlib.h>

enum { RECORD_STREAM = 1, RECORD_MESSAGE = 2, RECORD_STATE = 3, RECORD_REMEMBERED = 4, RECORD_ASKED = 5 };
enum { ACCEPTED = 1 };

/* ---- writing ---- */

ehis_err outbox_append_asked(struct outbox *o, const uint8_t key[32], int64_t expires_ms)
{
    uint8_t fixed[40];
    memcpy(fixed, key, 32);
    be_put(fixed + 32, (uint64_t)expires_ms, 8);
    struct span whole = span_of(fixed, sizeof fixed);
    return o->store && !o->is_memory ? store_append(o->store, RECORD_ASKED, &whole, 1, NULL) : EHIS_OK;
}

#define STREAM_FIXED_BYTES 35 /* id, class, next number (0: given up), sequence, length of the recipient */
ehis_err outbox_append_stream(struct outbox *o, const struct out_stream *s)
{
    uint8_t fixed[STREAM_FIXED_BYTES];
    memcpy(fixed, s->id, 16);
    fixed[16] = (uint8_t)s->class_;
    be_put(fixed + 17, s->next_number, 8);
    be_put(fixed + 25, s->sequence, 8);
    be_put(fixed + 33, strlen(s->recipient), 2);
    struct span parts[] = {span_of(fixed, sizeof fixed), span_str(s->recipient), span_str(s->event)};
    return o->store && !o->is_memory ? store_append(o->store, RECORD_STREAM, parts, 3, NULL) : EHIS_OK;
}

#define FIXED_BYTES 89 /* stream, number, exchange id, digest, state, expires, sequence */
static void put_fixed(const struct out_message *m, uint8_t out[FIXED_BYTES])
{
    memcpy(out, m->stream->id, 16);
    be_put(out + 16, m->number, 8);
    memcpy(out + 24, m->exchange_id, 16);
    memcpy(out + 40, m->by_digest.key, 32);
    out[72] = m->state;
    be_put(out + 73, (uint64_t)m->expires_ms, 8);
    be_put(out + 81, m->sequence, 8);
}

ehis_err outbox_append_body(struct outbox *o, struct out_message *m, struct span envelope)
{
    uint8_t fixed[FIXED_BYTES];
    struct store_place place;
    put_fixed(m, fixed);
    struct span parts[] = {span_of(fixed, sizeof fixed), envelope};
    EHIS_TRY(store_append(o->store, RECORD_MESSAGE, parts, 2, &place));
    if (m->place.bytes)
        store_let_go(o->store, &m->place);
    place.offset += FIXED_BYTES;
    place.bytes -= FIXED_BYTES;
    m->place = place;
    store_hold(o->store, &m->place);
    if (!o->unwritten || m->ticket < o->unwritten->ticket)
        o->unwritten = m;
    return EHIS_OK;
}

ehis_err outbox_append_remembered(struct outbox *o, const struct out_message *m)
{
    uint8_t fixed[FIXED_BYTES];
    put_fixed(m, fixed);
    struct span whole = span_of(fixed, sizeof fixed);
    return o->store && !o->is_memory ? store_append(o->store, RECORD_REMEMBERED, &whole, 1, NULL) : EHIS_OK;
}

/* It is final. */
ehis_err outbox_append_state(struct outbox *o, const struct out_message *m)
{
    struct span parts[] = {span_of(m->by_digest.key, 32), span_of(&m->state, 1)};
    return o->store && !o->is_memory ? store_append(o->store, RECORD_STATE, parts, 2, NULL) : EHIS_OK;
}

ehis_err outbox_snapshot(struct outbox *o)
{
    for (struct out_stream *s = o->streams; s; s = s->next)
        EHIS_TRY(outbox_append_stream(o, s));
    for (struct out_message *m = o->earliest; m; m = m->later)
        if (!m->is_held)
            EHIS_TRY(outbox_append_remembered(o, m));
    for (const struct asked_entry *a = o->asked.first; a; a = a->next)
        EHIS_TRY(outbox_append_asked(o, a->by_key.key, a->expires_ms));
    return EHIS_OK;
}

ehis_err outbox_carry(struct outbox *o, uint64_t segment)
{
    struct buf room;
    struct span envelope;
    ehis_err err = EHIS_OK;
    buf_init(&room, STORE_RECORD_MAX_BYTES);
    for (struct out_message *m = o->earliest; m && err == EHIS_OK; m = m->later) {
        if (!m->is_held || m->place.bytes == 0 || m->place.segment != segment)
            continue;
        err = outbox_bytes(o, m, &room, &envelope);
        if (err == EHIS_OK)
            err = outbox_append_body(o, m, envelope);
        /* Not readable before the next commit: kept in memory. */
        if (err == EHIS_OK && !m->bytes) {
            m->bytes = malloc(envelope.len);
            if (!m->bytes)
                err = EHIS_E_NO_MEMORY;
            else {
                memcpy(m->bytes, envelope.p, envelope.len);
                o->cached_bytes += m->len;
            }
        }
    }
    buf_fini(&room);
    return err;
}

/* ---- reading ---- */

bool outbox_owns_record(uint8_t type) { return type >= RECORD_STREAM && type <= RECORD_ASKED; }

static ehis_err replay_stream(struct outbox *o, struct span p)
{
    struct cursor in = cursor_of(p);
    struct span fixed, recipient;
    if (cursor_take(&in, STREAM_FIXED_BYTES, &fixed) != EHIS_OK || cursor_take(&in, (size_t)be_get(p.p + 33, 2), &recipient) != EHIS_OK)
        return EHIS_E_STATE_CORRUPT;
    struct out_stream *s = outbox_find(o, p.p);
    if (!s)
        EHIS_TRY(outbox_add_stream(o, p.p, p.p[16], recipient, span_of(in.p, cursor_left(&in)), &s));
    uint64_t next = be_get(p.p + 17, 8), sequence = be_get(p.p + 25, 8);
    if (sequence > s->sequence)
        s->sequence = sequence;
    if (next == 0)
        s->is_broken = true;
    else if (next > s->next_number)
        s->next_number = next;
    return EHIS_OK;
}

static ehis_err replay_message(struct outbox *o, struct span p, const struct store_place *at)
{
    struct out_stream *s = p.len >= FIXED_BYTES ? outbox_find(o, p.p) : NULL;
    if (!s)
        return EHIS_E_STATE_CORRUPT;
    uint64_t number = be_get(p.p + 16, 8);
    struct out_message *m = outbox_by_digest(o, p.p + 40);
    uint64_t sequence = be_get(p.p + 81, 8);
    if (number >= s->next_number)
        s->next_number = number + 1;
    if (sequence > s->sequence)
        s->sequence = sequence;
    bool is_new = !m;
    if (is_new)
        EHIS_TRY(outbox_add(o, s, number, p.p + 24, p.p + 40, &m));
    m->state = p.p[72];
    m->expires_ms = (int64_t)be_get(p.p + 73, 8);
    m->sequence = sequence;
    m->place = (struct store_place){at->segment, at->offset + FIXED_BYTES, at->bytes - FIXED_BYTES}; /* a later copy replaces: held at the end */
    if (is_new) {
        m->is_held = p.len > FIXED_BYTES;
        m->len = m->place.bytes;
        o->bytes += m->is_held ? m->len : 0;
        outbox_link(o, m);
    }
    if (m->state >= ACCEPTED)
        out_message_untraced(m);
    return EHIS_OK;
}

static ehis_err replay_remembered(struct outbox *o, struct span p, const struct store_place *at)
{
    struct store_place none = {at->segment, at->offset, FIXED_BYTES};
    struct out_message *m = p.len == FIXED_BYTES ? outbox_by_digest(o, p.p + 40) : NULL;
    if (!m)
        return p.len == FIXED_BYTES ? replay_message(o, p, &none) : EHIS_E_STATE_CORRUPT;
    m->state = p.p[72];
    out_message_untraced(m);
    outbox_drop_bytes(o, m);
    return EHIS_OK;
}

ehis_err outbox_replay(struct outbox *o, uint8_t type, struct span p, const struct store_place *at)
{
    if (type == RECORD_STREAM)
        return replay_stream(o, p);
    if (type == RECORD_MESSAGE)
        return replay_message(o, p, at);
    if (type == RECORD_REMEMBERED)
        return replay_remembered(o, p, at);
    if (type == RECORD_ASKED)
        return p.len == 40 ? asked_add(&o->asked, p.p, (int64_t)be_get(p.p + 32, 8)) : EHIS_E_STATE_CORRUPT;
    struct out_message *m = p.len == 33 ? outbox_by_digest(o, p.p) : NULL;
    if (!m)
        return p.len == 33 ? EHIS_OK : EHIS_E_STATE_CORRUPT; /* of a message that has gone */
    outbox_unlink(o, m); /* the store is not set while it replays */
    return EHIS_OK;
}
