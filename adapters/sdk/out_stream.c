/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
#include "adapters/sdk/out_stream.h"
#include <stdlib.h>

#define REOPEN_MS 1000
#define UNTOLD_MS INT64_C(86400000)

enum { ACCEPTED = 1 };

static char *text_of(struct span s)
{
    char *t = malloc(s.len + 1);
    if (t) {
        if (s.len)
            memcpy(t, s.p, s.len);
        t[s.len] = 0;
    }
    return t;
}

ehis_err out_stream_new(const uint8_t id[16], enum out_class c, struct span recipient, struct span event, struct out_stream **out)
{
    struct out_stream *s = calloc(1, sizeof *s);
    if (s) {
        s->recipient = text_of(recipient);
        s->event = text_of(event);
    }
    if (!s || !s->recipient || !s->event) {
        out_stream_free(s);
        return EHIS_E_NO_MEMORY;
    }
    memcpy(s->id, id, 16);
    s->class_ = c;
    s->next_number = 1;
    *out = s;
    return EHIS_OK;
}

void out_stream_free(struct out_stream *s)
{
    if (!s)
        return;
    free(s->recipient);
    free(s->event);
    free(s);
}

void out_stream_add(struct out_message *m)
{
    struct out_stream *s = m->stream;
    struct out_message *next = NULL; /* after a restart what was carried ahead, or is only remembered, may be read behind what has higher numbers */
    for (struct out_message *p = s->last; m->number && p && (!p->number || p->number > m->number); p = p->prev)
        next = p->number ? p : next;
    m->next = next;
    m->prev = next ? next->prev : s->last;
    *(m->prev ? &m->prev->next : &s->first) = m;
    *(next ? &next->prev : &s->last) = m;
    if (next || !s->cursor)
        s->cursor = next ? s->first : m;
    if (next || !s->waiting)
        s->waiting = next ? s->first : m;
}

void out_stream_remove(struct out_message *m)
{
    struct out_stream *s = m->stream;
    out_stream_answered(m);
    if (s->cursor == m)
        s->cursor = m->next;
    if (s->waiting == m)
        s->waiting = m->next;
    *(m->prev ? &m->prev->next : &s->first) = m->next;
    *(m->next ? &m->next->prev : &s->last) = m->prev;
    out_message_ended(m);
}

static struct out_message *first_waiting(struct out_stream *s)
{
    while (s->waiting && !out_message_is_waiting(s->waiting)) /* they do not come back */
        s->waiting = s->waiting->next;
    return s->waiting;
}

void out_stream_leave(struct out_stream *s, uint32_t slot)
{
    for (struct out_message *m = s->cursor ? s->cursor->prev : s->last; m && s->unanswered > 0; m = m->prev)
        out_stream_answered(m);
    EHIS_ASSERT(s->unanswered == 0);
    s->left |= s->is_open && out_stream_unsettled(s) > s->opened ? 1u << slot : 0;
    s->session = 0;
    s->is_open = s->is_opening = s->is_rewinding = false;
    s->settled = 0;
    s->paused_until_ms = 0;
    s->cursor = first_waiting(s);
}

void out_stream_session_ended(struct out_stream *s, uint64_t session, uint32_t slot)
{
    s->left |= s->heard & 1u << slot;
    s->heard &= ~(1u << slot);
    s->asked[slot] = 0;
    if (s->session == session)
        out_stream_leave(s, slot);
}

/* ---- numbers ---- */

static uint64_t number_from(const struct out_stream *s, const struct out_message *m)
{
    while (m && m->number == 0)
        m = m->next;
    return m ? m->number : s->next_number;
}

uint64_t out_stream_unsettled(const struct out_stream *s) { return number_from(s, s->first); }

uint64_t out_stream_held(struct out_stream *s)
{
    const struct out_message *m = first_waiting(s);
    while (m && (m->number == 0 || !out_message_is_waiting(m)))
        m = m->next;
    return m ? m->number : s->next_number;
}

bool out_stream_opened(struct out_stream *s, uint64_t expected)
{
    s->is_opening = false;
    s->is_open = expected >= out_stream_held(s);
    return s->is_open;
}

/* ---- submitting ---- */

static void rewind_due(struct out_stream *s)
{
    if (!s->is_rewinding || s->unanswered > 0)
        return;
    s->cursor = first_waiting(s); /* what is held below the number that the gateway expects has been taken by it: it comes again, in order */
    s->is_rewinding = false;
}

struct out_message *out_stream_next(struct out_stream *s, int64_t mono_ms)
{
    rewind_due(s);
    if (!s->is_open || s->is_broken || s->is_rewinding || mono_ms < s->paused_until_ms)
        return NULL;
    while (s->cursor && (!out_message_is_waiting(s->cursor) || s->cursor->is_unanswered))
        s->cursor = s->cursor->next;
    return s->cursor && (s->cursor->number == 0 || s->keys_unanswered == 0) ? s->cursor : NULL;
}

void out_stream_submitted(struct out_message *m)
{
    m->is_unanswered = true;
    m->stream->unanswered++;
    m->stream->unanswered_bytes += m->len;
    m->stream->keys_unanswered += m->number == 0;
    m->stream->cursor = m->next;
}

void out_stream_answered(struct out_message *m)
{
    if (!m->is_unanswered)
        return;
    m->is_unanswered = false;
    m->stream->unanswered--;
    m->stream->unanswered_bytes -= m->len;
    m->stream->keys_unanswered -= m->number == 0;
}

void out_stream_on_flow(struct out_message *m, uint64_t expected, int64_t until_ms)
{
    struct out_stream *s = m->stream;
    out_stream_answered(m);
    s->is_rewinding = true;
    if (until_ms > s->paused_until_ms)
        s->paused_until_ms = until_ms;
    if (expected && expected < out_stream_held(s)) { /* another gateway has taken it meanwhile: opened again, from what is held */
        s->is_open = false;
        if (s->paused_until_ms < until_ms + REOPEN_MS)
            s->paused_until_ms = until_ms + REOPEN_MS;
    }
}

/* ---- whose word is wanted ---- */

bool out_stream_is_to_hear(const struct out_stream *s, uint64_t session, uint32_t slot)
{
    return s->session != session && (s->taken[slot] > 0 || s->untraced > 0 || s->left & 1u << slot);
}

void out_message_accepted(struct out_message *m, uint32_t slot)
{
    if (m->accepted_by & 1u << slot)
        return;
    m->stream->untraced -= m->is_untraced;
    m->is_untraced = false;
    m->accepted_by |= (uint16_t)(1u << slot);
    m->stream->taken[slot]++;
}

void out_message_untraced(struct out_message *m)
{
    m->stream->untraced += !m->is_untraced && !m->accepted_by;
    m->is_untraced |= !m->accepted_by;
}

void out_message_ended(struct out_message *m)
{
    for (uint32_t slot = 0; slot < OUT_GATEWAYS_MAX; slot++)
        m->stream->taken[slot] -= m->accepted_by >> slot & 1u;
    m->stream->untraced -= m->is_untraced;
    m->accepted_by = 0;
    m->is_untraced = false;
}

struct out_message *out_stream_untold(const struct out_stream *s, const struct out_message *m, int64_t now_ms)
{
    struct out_message *next = m ? m->next : s->first;
    while (next && (next->number == 0 || next->state < ACCEPTED || next->is_telling || now_ms - next->expires_ms < UNTOLD_MS))
        next = next->next;
    return next;
}
