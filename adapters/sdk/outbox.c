/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
#include "adapters/sdk/outbox.h"
#include "adapters/sdk/asked.h"
#include <stdlib.h>

#define STREAMS_MAX 256
#define MESSAGES_MAX 262144 /* held or remembered: each stands in every snapshot */
#define CACHE_MAX_BYTES (16u * 1024 * 1024) /* of bytes in memory that stand on the disk too */

enum { RECORD_STREAM = 1, RECORD_MESSAGE = 2, RECORD_STATE = 3, RECORD_REMEMBERED = 4, RECORD_ASKED = 5 };
enum { ACCEPTED = 1, REPLICATED = 2, DELIVERED = 3, REFUSED = 5 }; /* states; from DELIVERED on they are final */

struct outbox {
    struct store *store;
    uint64_t max_bytes, message_count, bytes, cached_bytes, ticket;
    bool is_memory;
    uint8_t wait_state;
    struct out_stream *streams;
    size_t stream_count;
    struct table by_digest;
    struct out_message *earliest, *latest;
    struct out_message *waiting; /* before it none is held and without its end; NULL: nor behind */
    struct out_message *unwritten; /* the earliest that may not stand on the disk yet; NULL: none */
    struct asked asked;
};

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

static ehis_err append_asked(struct outbox *o, const uint8_t key[32], int64_t expires_ms)
{
    uint8_t fixed[40];
    memcpy(fixed, key, 32);
    be_put(fixed + 32, (uint64_t)expires_ms, 8);
    struct span whole = span_of(fixed, sizeof fixed);
    return o->store && !o->is_memory ? store_append(o->store, RECORD_ASKED, &whole, 1, NULL) : EHIS_OK;
}

static ehis_err add_stream(struct outbox *o, const uint8_t id[16], enum out_class c, struct span recipient, struct span event, struct out_stream **out)
{
    EHIS_TRY(out_stream_new(id, c, recipient, event, out));
    (*out)->next = o->streams;
    o->streams = *out;
    o->stream_count++;
    return EHIS_OK;
}

#define STREAM_FIXED_BYTES 35 /* id, class, next number (0: given up), sequence, length of the recipient */
static ehis_err append_stream(struct outbox *o, const struct out_stream *s)
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
    EHIS_TRY(add_stream(o, id, c, recipient, event, out));
    (*out)->sequence = sequence;
    return append_stream(o, *out);
}

ehis_err outbox_check_room(const struct outbox *o, size_t bytes)
{
    return o->message_count >= MESSAGES_MAX || o->bytes + bytes > o->max_bytes ? EHIS_E_SDK_BUSY : EHIS_OK;
}

static void link_message(struct outbox *o, struct out_message *m)
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

static void drop_bytes(struct outbox *o, struct out_message *m)
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

static void unlink_message(struct outbox *o, struct out_message *m)
{
    out_stream_remove(m);
    *(m->earlier ? &m->earlier->later : &o->earliest) = m->later;
    *(m->later ? &m->later->earlier : &o->latest) = m->earlier;
    table_remove(&o->by_digest, &m->by_digest);
    drop_bytes(o, m);
    if (o->unwritten == m)
        o->unwritten = m->later;
    if (o->waiting == m)
        o->waiting = m->later;
    o->message_count--;
    free(m);
}

static ehis_err add_message(struct outbox *o, struct out_stream *s, uint64_t number, const uint8_t exchange_id[16], const uint8_t digest[32],
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

static ehis_err append_body(struct outbox *o, struct out_message *m, struct span envelope)
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
    EHIS_TRY(add_message(o, n->stream, n->number, n->exchange_id, n->digest, &m));
    m->expires_ms = n->expires_ms;
    m->sequence = n->sequence;
    ehis_err err = EHIS_OK;
    if (o->store && !o->is_memory)
        err = append_body(o, m, envelope);
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
    link_message(o, m);
    *out = m;
    return EHIS_OK;
}

struct out_message *outbox_by_digest(const struct outbox *o, const uint8_t digest[32])
{
    struct entry *e = table_find(&o->by_digest, digest);
    return e ? OWNER_OF(e, struct out_message, by_digest) : NULL;
}

/* ---- the store ---- */

bool outbox_owns_record(uint8_t type) { return type >= RECORD_STREAM && type <= RECORD_ASKED; }

static ehis_err replay_stream(struct outbox *o, struct span p)
{
    struct cursor in = cursor_of(p);
    struct span fixed, recipient;
    if (cursor_take(&in, STREAM_FIXED_BYTES, &fixed) != EHIS_OK || cursor_take(&in, (size_t)be_get(p.p + 33, 2), &recipient) != EHIS_OK)
        return EHIS_E_STATE_CORRUPT;
    struct out_stream *s = outbox_find(o, p.p);
    if (!s)
        EHIS_TRY(add_stream(o, p.p, p.p[16], recipient, span_of(in.p, cursor_left(&in)), &s));
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
        EHIS_TRY(add_message(o, s, number, p.p + 24, p.p + 40, &m));
    m->state = p.p[72];
    m->expires_ms = (int64_t)be_get(p.p + 73, 8);
    m->sequence = sequence;
    m->place = (struct store_place){at->segment, at->offset + FIXED_BYTES, at->bytes - FIXED_BYTES}; /* a later copy replaces: held at the end */
    if (is_new) {
        m->is_held = p.len > FIXED_BYTES;
        m->len = m->place.bytes;
        o->bytes += m->is_held ? m->len : 0;
        link_message(o, m);
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
    drop_bytes(o, m);
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
    unlink_message(o, m); /* the store is not set while it replays */
    return EHIS_OK;
}

static ehis_err append_remembered(struct outbox *o, const struct out_message *m)
{
    uint8_t fixed[FIXED_BYTES];
    put_fixed(m, fixed);
    struct span whole = span_of(fixed, sizeof fixed);
    return o->store && !o->is_memory ? store_append(o->store, RECORD_REMEMBERED, &whole, 1, NULL) : EHIS_OK;
}

ehis_err outbox_snapshot(struct outbox *o)
{
    for (struct out_stream *s = o->streams; s; s = s->next)
        EHIS_TRY(append_stream(o, s));
    for (struct out_message *m = o->earliest; m; m = m->later)
        if (!m->is_held)
            EHIS_TRY(append_remembered(o, m));
    for (const struct asked_entry *a = o->asked.first; a; a = a->next)
        EHIS_TRY(append_asked(o, a->by_key.key, a->expires_ms));
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
            err = append_body(o, m, envelope);
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

/* It is final. */
static ehis_err append_state(struct outbox *o, const struct out_message *m)
{
    struct span parts[] = {span_of(m->by_digest.key, 32), span_of(&m->state, 1)};
    return o->store && !o->is_memory ? store_append(o->store, RECORD_STATE, parts, 2, NULL) : EHIS_OK;
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
    ehis_err err = append_stream(o, s);
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
    if (m->is_final && m->number == 0) {
        *err = append_state(o, m);
        unlink_message(o, m);
        return false;
    }
    uint8_t enough = o->wait_state ? o->wait_state : from->is_replicating ? REPLICATED : ACCEPTED;
    if (m->is_final) {
        m->is_telling = true; /* recorded when the application has been told: outbox_finish */
    } else if (state >= enough && m->is_held && m->number != 0) {
        *err = append_remembered(o, m); /* all of it: the segment with its bytes may go now, and no snapshot has named it */
        drop_bytes(o, m);
    }
    return m->number != 0;
}

ehis_err outbox_finish(struct outbox *o, struct out_message *m)
{
    m->is_final = true;
    ehis_err err = append_state(o, m);
    if (err == EHIS_OK && m->stream->class_ == OUT_REQUESTS && m->state == DELIVERED) {
        uint8_t key[32];
        asked_key(m->by_digest.key, span_str(m->stream->recipient), key);
        err = append_asked(o, key, m->expires_ms);
        if (err == EHIS_OK)
            err = asked_add(&o->asked, key, m->expires_ms);
    }
    unlink_message(o, m);
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
