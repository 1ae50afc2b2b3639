/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* Submitting within a gateway's window: streams, each at one gateway at a time, one message of each in turn. */
#include "adapters/sdk/ehis_priv.h"
#include "base/log.h"

#define REOPEN_MS 5000

/* A large message goes to no gateway that has not named the feature; its header costs nothing while there is none. */
static bool is_for(const struct session *s, struct span envelope)
{
    struct envelope parts;
    struct envelope_header h;
    return s->takes_large || !s->e->larges_out || envelope_read(envelope, &parts, NULL) != EHIS_OK || envelope_header_read(parts.header, &h, NULL) != EHIS_OK || !h.large.root.len;
}

ehis_err sending_submit(struct session *s, struct span envelope)
{
    if (!s->is_ready || s->e->failed != EHIS_OK || s->unanswered >= s->window_messages ||
        (s->unanswered > 0 && s->unanswered_bytes + envelope.len > s->window_bytes))
        return EHIS_E_SDK_BUSY;
    if (envelope.len >= s->max_frame_bytes) /* made when other gateways were met */
        return EHIS_E_TOO_LARGE;
    if (!is_for(s, envelope))
        return EHIS_E_EXCHANGE_NO_LARGE;
    EHIS_TRY(session_send(s, FRAME_SUBMIT, envelope));
    s->unanswered++;
    s->unanswered_bytes += envelope.len;
    return EHIS_OK;
}

void sending_answered(struct ehis *e, uint64_t session, bool *is_unanswered, size_t envelope_bytes)
{
    struct session *s = session_of(e, session);
    if (*is_unanswered && s && s->unanswered > 0) {
        s->unanswered--;
        s->unanswered_bytes -= envelope_bytes;
    }
    *is_unanswered = false;
}

void sending_leave(struct ehis *e, struct out_stream *s)
{
    struct session *from = session_of(e, s->session);
    if (from) {
        from->unanswered -= s->unanswered;
        from->unanswered_bytes -= s->unanswered_bytes;
    }
    out_stream_leave(s, from ? from->slot : 0);
}

void sending_elsewhere(struct session *from, struct out_stream *s, int64_t at_ms)
{
    struct ehis *e = from->e;
    bool is_round = session_of(e, s->avoided) && s->avoided != from->id; /* the other was no better */
    sending_leave(e, s);
    s->avoided = from->id;
    s->paused_until_ms = is_round || session_ready(e, from->id) == from ? at_ms : 0;
}

static bool open_on(struct session *on, struct out_stream *s, uint64_t lowest, uint64_t next)
{
    struct ehis *e = on->e;
    struct stream_open o = {.recipient = span_str(s->recipient), .event = span_str(s->event), .lowest = lowest, .next = next > lowest ? next : 0};
    memcpy(o.stream, s->id, 16);
    buf_clear(&e->item);
    if (s->asked[on->slot] == UINT8_MAX || stream_open_write(&o, &e->item) != EHIS_OK || session_send(on, FRAME_STREAM_OPEN, buf_span(&e->item)) != EHIS_OK)
        return false;
    s->asked[on->slot]++;
    return true;
}

static bool settle_on(struct session *on, const struct out_stream *s, uint64_t lowest)
{
    struct ehis *e = on->e;
    struct stream_settled f = {.lowest = lowest};
    memcpy(f.stream, s->id, 16);
    buf_clear(&e->item);
    return stream_settled_write(&f, &e->item) == EHIS_OK && session_send(on, FRAME_STREAM_SETTLED, buf_span(&e->item)) == EHIS_OK;
}

/* At one gateway at a time; at those that have accepted of it before for their receipts alone, until they are all there and each knows that they are. */
static void open_stream(struct ehis *e, struct out_stream *s)
{
    struct session *home = session_of(e, s->session);
    uint64_t unsettled = out_stream_unsettled(s);
    if (!s->is_open && !s->is_opening && !s->is_broken && s->first && mono_ms(e) >= s->paused_until_ms) {
        home = session_ready(e, s->avoided);
        if (home && open_on(home, s, unsettled, out_stream_held(s))) {
            s->session = home->id;
            s->is_opening = true;
            s->opened = s->settled = unsettled;
        }
    }
    if (home && s->is_open && unsettled > s->settled && settle_on(home, s, unsettled))
        s->settled = unsettled;
    for (struct session *to = e->sessions; (e->session_count > 1 || !s->first) && to < e->sessions + e->session_count; to++) {
        uint32_t bit = 1u << to->slot;
        bool is_to_hear = to->is_ready && out_stream_is_to_hear(s, to->id, to->slot);
        if (is_to_hear && !(s->heard & bit) && mono_ms(e) >= s->hear_at_ms && open_on(to, s, unsettled, 0))
            s->heard |= bit;
        else if (!is_to_hear && s->heard & bit && s->asked[to->slot] == 0 && (to == home || !to->is_ready || settle_on(to, s, unsettled)))
            s->heard &= ~bit;
    }
}

/* False: nothing of it can go now. */
static bool submit_next(struct ehis *e, struct out_stream *s)
{
    struct out_message *m = out_stream_next(s, mono_ms(e));
    struct session *to = m ? session_of(e, s->session) : NULL;
    struct span bytes;
    if (!to || to->is_leaving)
        return false;
    ehis_err err = outbox_bytes(e->outbox, m, &e->scratch, &bytes);
    if (err != EHIS_OK) {
        ehis_fatal(e, err);
        return false;
    }
    err = sending_submit(to, bytes);
    if (err == EHIS_E_EXCHANGE_NO_LARGE || err == EHIS_E_TOO_LARGE) {
        client_note(e, err, to->peer.leaf.id);
        sending_elsewhere(to, s, mono_ms(e) + REOPEN_MS);
    }
    if (err != EHIS_OK)
        return false;
    out_stream_submitted(m);
    return true;
}

void sending_streams(struct ehis *e)
{
    bool is_more = e->is_ready;
    for (struct out_stream *s = e->is_ready ? outbox_streams(e->outbox) : NULL; s; s = s->next)
        open_stream(e, s);
    while (is_more) { /* one of each stream in turn */
        is_more = false;
        for (struct out_stream *s = outbox_streams(e->outbox); s; s = s->next)
            is_more |= submit_next(e, s);
    }
}

ehis_err sending_on_stream_state(struct session *from, struct span payload, struct ehis_why *why)
{
    struct ehis *e = from->e;
    struct stream_state f;
    EHIS_TRY(stream_state_read(payload, &f, why));
    struct out_stream *s = outbox_find(e->outbox, f.stream);
    if (!s || s->asked[from->slot] == 0)
        return ehis_fail(why, EHIS_E_GATEWAY_UNASKED, "STREAM_STATE");
    turn_soon(e);
    if (f.code == 0)
        s->left &= ~(1u << from->slot);
    if (--s->asked[from->slot] > 0 || s->session != from->id || !s->is_opening) { /* for its receipts alone, or it is open elsewhere by now */
        if (f.code != 0) {
            s->heard &= ~(1u << from->slot);
            s->hear_at_ms = mono_ms(e) + REOPEN_MS;
        }
        return EHIS_OK;
    }
    if (f.code != 0) {
        sending_elsewhere(from, s, mono_ms(e) + REOPEN_MS);
        log_line(LOG_WARN, "sdk.stream.refused", F_U64("peer_code", f.code), F_STR("recipient", s->recipient), F_STR("gateway", from->peer.leaf.id));
        return EHIS_OK;
    }
    ehis_err err = outbox_opened(e->outbox, s, f.expected);
    if (err == EHIS_E_STATE_BEHIND) {
        client_note(e, err, s->recipient);
        acks_give_up(e, s, err);
        return EHIS_OK;
    }
    return err;
}
