/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
#include "tests/support/party_session.h"
#include <arpa/inet.h>
#include <stdio.h>

ehis_err party_session_open(struct party_session *s, struct loop *loop, const struct registry *r, const char *dir, bool is_sender, int k, struct ehis_why *why)
{
    char id[64], folder[16];
    s->loop = loop;
    s->registry = r;
    s->is_sender = is_sender;
    snprintf(id, sizeof id, "AZ/GOV/%s/%c%d", is_sender ? "SND" : "RCV", is_sender ? 's' : 'r', k);
    snprintf(folder, sizeof folder, "%c%d", is_sender ? 's' : 'r', k);
    snprintf(s->peer_service, sizeof s->peer_service, "AZ/GOV/RCV/r%d/inbox", k);
    random_fill(&random_system, s->stream, 16);
    buf_init(&s->acks, 1 << 20);
    buf_init(&s->frame, 4 << 20);
    buf_init(&s->plain, 1 << 20);
    for (int i = 0; i < PARTY_SLOTS; i++) {
        buf_init(&s->header[i], ENVELOPE_HEADER_MAX_BYTES);
        buf_init(&s->sealed[i], 1 << 20);
    }
    return party_open(&s->p, dir, folder, id, why);
}

ehis_err party_session_dial(struct party_session *s, int port, const struct link_events *events, void *arg)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr = {htonl(INADDR_LOOPBACK)}};
    return link_dial(s->loop, (struct sockaddr *)&to, sizeof to, s->p.tls, &link_limits_default, events, arg, &s->link);
}

ehis_err party_session_send(struct party_session *s, uint8_t type, const struct buf *b)
{
    struct span payload = buf_span(b);
    return s->link ? link_send(s->link, type, &payload, 1) : EHIS_E_LINK_ENDED;
}

ehis_err party_session_ready(struct party_session *s, const struct ready *ready)
{
    buf_clear(&s->frame);
    EHIS_TRY(ready_write(ready, &s->frame));
    return party_session_send(s, FRAME_READY, &s->frame);
}

ehis_err party_session_welcome(struct party_session *s, struct span hello, const struct ready *ready, struct ehis_why *why)
{
    struct hello h;
    EHIS_TRY(hello_read(hello, &h, why));
    memcpy(s->gateway, h.name.p, h.name.len);
    s->gateway[h.name.len] = 0;
    link_set_trusted(s->link, 1 << 20);
    link_set_send_max(s->link, 1 << 20);
    return party_session_ready(s, ready);
}

ehis_err party_session_make(struct party_session *s, size_t i, struct envelope_header *h, struct span body, struct hash *digest)
{
    EHIS_TRY(party_seal(&s->p, s->registry, h, body, &s->header[i], &s->sealed[i], digest));
    s->made[i] = *digest;
    return EHIS_OK;
}

ehis_err party_session_sign(struct party_session *s, size_t n)
{
    struct hash leaves[PARTY_SLOTS];
    for (size_t i = 0; i < n; i++)
        leaf_envelope(&s->made[i], &leaves[i]);
    return sign_batch(s->p.sign, &s->p.tree, leaves, n, s->signature);
}

ehis_err party_session_envelope(struct party_session *s, size_t i, size_t n, struct buf *out)
{
    struct hash path[20];
    struct envelope x = {.header = buf_span(&s->header[i]), .sealed = buf_span(&s->sealed[i]),
                         .signature = {.algorithm = ALGORITHM_ED25519, .size = (uint32_t)n, .index = (uint32_t)i,
                                       .path = span_of(path, tree_path(&s->p.tree, i, path) * HASH_BYTES)}};
    memcpy(x.signature.signature, s->signature, sizeof s->signature);
    memcpy(x.signature.key_id, sign_key_id(s->p.sign)->b, HASH_BYTES);
    buf_clear(out);
    return envelope_write(&x, out);
}

ehis_err party_session_open_stream(struct party_session *s, uint64_t lowest)
{
    struct stream_open o = {.recipient = identifier_prefix(span_str(s->peer_service), IDENTIFIER_SYSTEM), .lowest = lowest};
    memcpy(o.stream, s->stream, 16);
    buf_clear(&s->frame);
    EHIS_TRY(stream_open_write(&o, &s->frame));
    return party_session_send(s, FRAME_STREAM_OPEN, &s->frame);
}

ehis_err party_session_settle(struct party_session *s, uint64_t lowest)
{
    struct stream_settled f = {.lowest = lowest};
    memcpy(f.stream, s->stream, 16);
    buf_clear(&s->frame);
    EHIS_TRY(stream_settled_write(&f, &s->frame));
    return party_session_send(s, FRAME_STREAM_SETTLED, &s->frame);
}

ehis_err party_session_receipts(struct party_session *s, struct span payload, struct root_cache *roots, struct receipt *out, size_t *count, struct ehis_why *why)
{
    struct hash leaves[STATEMENT_BATCH_MAX];
    struct batch_signature b;
    struct span one;
    size_t at = 0;
    EHIS_TRY(batch_read(FRAME_RECEIPTS, payload, &b, why));
    for (*count = 0; batch_next(payload, &at, &one); ++*count) {
        struct receipt *r = &out[*count];
        struct hash digest;
        EHIS_TRY(receipt_read(one, r, why));
        memcpy(digest.b, r->digest, HASH_BYTES);
        leaf_receipt(&digest, span_str(s->p.id), r->recipient, (uint8_t)r->state, r->code, r->time_ms, span_str(s->gateway), &leaves[*count]);
    }
    return party_verify_run(s->registry, s->gateway, &b, leaves, *count, roots);
}

static ehis_err send_acks(struct party_session *s)
{
    if (s->ack_count == 0 || !s->link)
        return EHIS_OK;
    EHIS_TRY(party_write_acks(&s->p, (const struct ack *)(const void *)buf_span(&s->acks).p, s->ack_count, &s->plain, &s->frame));
    s->ack_count = 0;
    buf_clear(&s->acks);
    return party_session_send(s, FRAME_ACK, &s->frame);
}

static void on_ack_due(void *arg)
{
    struct party_session *s = arg;
    s->is_ack_due = false;
    ehis_err err = send_acks(s);
    EHIS_ASSERT(err == EHIS_OK || err == EHIS_E_LINK_ENDED);
}

ehis_err party_session_acknowledge(struct party_session *s, uint64_t delivery, const struct hash *digest, uint32_t outcome, uint32_t code)
{
    struct ack a = {.delivery = delivery, .outcome = outcome, .code = code, .time_ms = (uint64_t)clock_wall_ms(&clock_system)};
    memcpy(a.digest, digest->b, HASH_BYTES);
    EHIS_TRY(buf_put(&s->acks, &a, sizeof a));
    if (++s->ack_count == STATEMENT_BATCH_MAX)
        return send_acks(s);
    if (!s->is_ack_due) {
        s->is_ack_due = true;
        loop_later(s->loop, on_ack_due, s);
    }
    return EHIS_OK;
}

void party_session_ended(struct party_session *s)
{
    s->link = NULL;
    s->ack_count = 0;
    buf_clear(&s->acks);
}
