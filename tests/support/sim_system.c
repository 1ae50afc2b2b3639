/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* What the systems of a house say: their sessions, envelopes, streams and acknowledgements, signed for real. */
#include "tests/support/sim_exchange.h"

#include <stdlib.h>

#define MUST(expr) EHIS_ASSERT((expr) == EHIS_OK)

session_id sim_open_state(struct sim_house *h, const char *system, const uint8_t state[16])
{
    struct exchange_peer p = {.id = h->next_session++, .system = span_str(system), .address = span_str("127.0.0.1:9")};
    memcpy(p.state_id, state, 16);
    p.takes_large = !h->takes_no_large;
    MUST(exchange_session_open(h->x, &p, h->clock.wall_ms));
    return p.id;
}

session_id sim_open(struct sim_house *h, const char *system)
{
    uint8_t state[16];
    random_fill(&h->clock.random, state, sizeof state);
    return sim_open_state(h, system, state);
}

/* A frame of the session's; its bytes end with it. */
static ehis_err say(struct sim_house *h, session_id s, ehis_err (*on_frame)(struct exchange *x, session_id s, struct span payload, int64_t now_ms, struct ehis_why *why), struct buf *b)
{
    ehis_err err = on_frame(h->x, s, buf_span(b), h->clock.wall_ms, NULL);
    buf_fini(b);
    return err;
}

ehis_err sim_set_ready(struct sim_house *h, session_id s, uint32_t calls, uint32_t messages, uint32_t bytes)
{
    struct ready r = {calls, messages, bytes};
    struct buf b;
    buf_init(&b, 4096);
    MUST(ready_write(&r, &b));
    return say(h, s, exchange_on_ready, &b);
}

session_id sim_ready(struct sim_house *h, const char *system, uint32_t calls, uint32_t messages, uint32_t bytes)
{
    session_id s = sim_open(h, system);
    MUST(sim_set_ready(h, s, calls, messages, bytes));
    return s;
}

void sim_end(struct sim_house *h, session_id s) { exchange_session_ended(h->x, s, EHIS_E_LINK_RESET, span_str("test"), h->clock.wall_ms); }

void sim_envelope(struct sim_house *h, const struct sim_message *m, struct buf *out, struct hash *digest, uint8_t exchange_id[16])
{
    static const uint8_t some[32] = {1, 2, 3};
    uint8_t *sealed = malloc(m->body_bytes ? m->body_bytes : 64);
    struct envelope_header header = {.kind = m->kind, .sender = span_str(m->sender), .recipient = span_str(m->recipient), .operation = span_str(m->operation)};
    struct buf header_bytes;
    struct envelope e = {0};
    struct hash sealed_hash, leaf;
    struct tree tree;
    bool is_waiting = !m->stream && (m->kind == KIND_REQUEST || m->kind == KIND_RESPONSE);
    EHIS_ASSERT(sealed);
    memset(sealed, m->fill, m->body_bytes ? m->body_bytes : 64);
    if (m->exchange_id)
        memcpy(header.exchange_id, m->exchange_id, 16);
    else
        uuid7_make(header.exchange_id, h->clock.wall_ms, &h->clock.random);
    header.status = m->kind == KIND_RESPONSE ? STATUS_OK : 0;
    if (m->in_reply_to)
        header.in_reply_to = span_of(m->in_reply_to->b, 32);
    if (m->stream)
        header.stream = span_of(m->stream, 16);
    header.number = m->number;
    header.created_ms = (uint64_t)(m->created_ms ? m->created_ms : h->clock.wall_ms);
    header.expires_ms = header.created_ms + (uint64_t)(m->lifetime_ms ? m->lifetime_ms : is_waiting ? 30000 : 3600000);
    header.max_response_bytes = m->max_response_bytes;
    if (m->large_bytes)
        header.large = (struct envelope_large){m->large_bytes, span_of(some, 32)};
    if (m->kind == KIND_REQUEST) {
        header.purpose = span_str(m->purpose ? m->purpose : "tax");
        header.legal_basis = span_str("Law 1");
    }
    if (m->kind != KIND_KEY) {
        header.schema = span_str("test.Body");
        header.content_type = span_str("application/x-protobuf");
    }
    if (m->kind == KIND_EVENT || m->kind == KIND_KEY)
        header.seal.epoch = span_of(m->epoch ? m->epoch : some, 16);
    if (m->kind == KIND_REQUEST || m->kind == KIND_RESPONSE)
        header.seal.recipient_key_id = header.seal.ephemeral = span_of(some, 32);
    if (m->kind != KIND_KEY)
        header.seal.commitment = span_of(some, 32);
    header.registry_version = registry_version(h->registry);
    header.registry_hash = span_of(registry_hash(h->registry)->b, 32);
    buf_init(&header_bytes, ENVELOPE_HEADER_MAX_BYTES);
    MUST(envelope_header_write(&header, &header_bytes));
    e.header = buf_span(&header_bytes);
    e.sealed = span_of(sealed, m->body_bytes ? m->body_bytes : 64);
    hash_span(e.sealed, &sealed_hash);
    hash_envelope(e.header, e.sealed.len, &sealed_hash, digest);
    leaf_envelope(digest, &leaf);
    tree_init(&tree);
    const struct test_owner *signer = test_registry_owner(h->author, m->signer ? m->signer : m->sender);
    MUST(sign_batch(signer->sign, &tree, &leaf, 1, e.signature.signature));
    tree_fini(&tree);
    e.signature.algorithm = 1;
    e.signature.size = 1;
    memcpy(e.signature.key_id, sign_key_id(signer->sign)->b, 32);
    MUST(envelope_write(&e, out));
    if (exchange_id)
        memcpy(exchange_id, header.exchange_id, 16);
    buf_fini(&header_bytes);
    free(sealed);
}

ehis_err sim_submit_bytes(struct sim_house *h, session_id s, struct span bytes)
{
    return exchange_on_submit(h->x, s, bytes, h->clock.wall_ms, NULL);
}

ehis_err sim_submit(struct sim_house *h, session_id s, const struct sim_message *m, struct hash *digest)
{
    struct buf b;
    struct hash d;
    buf_init(&b, 17 << 20);
    sim_envelope(h, m, &b, digest ? digest : &d, NULL);
    ehis_err err = sim_submit_bytes(h, s, buf_span(&b));
    buf_fini(&b);
    return err;
}

ehis_err sim_stream_open(struct sim_house *h, session_id s, const uint8_t stream[16], const char *recipient, const char *event, uint64_t lowest)
{
    return sim_stream_open_at(h, s, stream, recipient, event, lowest, 0);
}

ehis_err sim_stream_open_at(struct sim_house *h, session_id s, const uint8_t stream[16], const char *recipient, const char *event, uint64_t lowest, uint64_t next)
{
    struct stream_open o = {.recipient = span_str(recipient), .event = span_str(event ? event : ""), .lowest = lowest, .next = next};
    struct buf b;
    memcpy(o.stream, stream, 16);
    buf_init(&b, 4096);
    MUST(stream_open_write(&o, &b));
    return say(h, s, exchange_on_stream_open, &b);
}

ehis_err sim_settled(struct sim_house *h, session_id s, const uint8_t stream[16], uint64_t lowest)
{
    struct stream_settled o = {.lowest = lowest};
    struct buf b;
    memcpy(o.stream, stream, 16);
    buf_init(&b, 4096);
    MUST(stream_settled_write(&o, &b));
    return say(h, s, exchange_on_stream_settled, &b);
}

ehis_err sim_subscribe(struct sim_house *h, session_id s, const char *service, const char *event, bool is_end)
{
    struct subscribe o = {span_str(service), span_str(event), is_end, 0};
    struct buf b;
    buf_init(&b, 4096);
    MUST(subscribe_write(&o, &b));
    return say(h, s, exchange_on_subscribe, &b);
}

ehis_err sim_keys_get(struct sim_house *h, session_id s, const char *service, const char *event, const uint8_t epoch[16])
{
    struct keys_get o = {.service = span_str(service), .event = span_str(event)};
    struct buf b;
    memcpy(o.epoch, epoch, 16);
    buf_init(&b, 4096);
    MUST(keys_get_write(&o, &b));
    return say(h, s, exchange_on_keys_get, &b);
}

ehis_err sim_ack(struct sim_house *h, session_id s, const char *signer, const struct sim_ack *acks, size_t count)
{
    const struct test_owner *owner = test_registry_owner(h->author, signer);
    struct batch_signature sig = {.algorithm = 1, .size = (uint32_t)count};
    struct hash *leaves = calloc(count, sizeof *leaves);
    struct tree tree;
    struct buf frame, item;
    EHIS_ASSERT(leaves);
    buf_init(&frame, 1 << 20);
    buf_init(&item, 4096);
    for (size_t i = 0; i < count; i++)
        leaf_ack(&acks[i].digest, (uint8_t)acks[i].outcome, acks[i].code, (uint64_t)h->clock.wall_ms, &leaves[i]);
    tree_init(&tree);
    MUST(sign_batch(owner->sign, &tree, leaves, count, sig.signature));
    memcpy(sig.key_id, sign_key_id(owner->sign)->b, 32);
    MUST(batch_begin(&sig, &frame));
    for (size_t i = 0; i < count; i++) {
        struct ack a = {.delivery = acks[i].delivery, .outcome = acks[i].outcome, .code = acks[i].code, .time_ms = (uint64_t)h->clock.wall_ms, .retry_ms = acks[i].retry_ms};
        memcpy(a.digest, acks[i].digest.b, 32);
        buf_clear(&item);
        MUST(ack_write(&a, &item));
        MUST(batch_put(buf_span(&item), &frame));
    }
    ehis_err err = exchange_on_acks(h->x, s, buf_span(&frame), h->clock.wall_ms, NULL);
    tree_fini(&tree);
    buf_fini(&frame);
    buf_fini(&item);
    free(leaves);
    return err;
}

void sim_skip_leaf(const struct sim_out *k, struct hash *leaf)
{
    leaf_skip(span_str(k->sender), span_str(k->recipient), k->stream, k->number, &k->digest, k->state, span_str(SIM_GATEWAY), leaf);
}
