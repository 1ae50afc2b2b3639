/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* Before anything of a message reaches the application: is it for us, of whom it says, permitted by our own evaluation, and does it open?
 * A gateway alone can therefore not let anyone read. */
#include "adapters/sdk/ehis_priv.h"
#include "base/secret.h"

static ehis_err check_times(const struct ehis *e, const struct ehis_incoming *in)
{
    const struct envelope_header *h = &in->header;
    int64_t now = now_ms(e);
    if ((int64_t)h->created_ms > now + CLOCK_SKEW_MS)
        return EHIS_E_EXCHANGE_FROM_FUTURE;
    if ((int64_t)h->expires_ms <= now)
        return EHIS_E_EXCHANGE_EXPIRED;
    /* The gateway names the time by which the rule is judged: within what the sender has signed. */
    if (in->accepted_ms < (int64_t)h->created_ms - CLOCK_SKEW_MS || in->accepted_ms > now + CLOCK_SKEW_MS || in->accepted_ms > (int64_t)h->expires_ms)
        return EHIS_E_ACCEPTED_TIME;
    return EHIS_OK;
}

static ehis_err check_recipient(struct ehis *e, const struct envelope_header *h)
{
    struct span own = span_str(e->system);
    if (h->kind == KIND_RESPONSE) {
        const struct call *c = h->stream.len ? NULL : calls_find(e, h->in_reply_to.p);
        int64_t until_ms = h->stream.len ? outbox_asked_until(e->outbox, h->in_reply_to.p, h->sender) : c ? c->expires_ms : 0;
        if (until_ms == 0)
            return EHIS_E_EXCHANGE_NOT_A_REPLY;
        if ((int64_t)h->expires_ms > until_ms)
            return EHIS_E_EXCHANGE_RESPONSE_LATE;
    }
    if (h->kind == KIND_KEY || (h->kind != KIND_EVENT && !span_eq(identifier_prefix(h->recipient, IDENTIFIER_SYSTEM), own)))
        return EHIS_E_NOT_FOR_US;
    return EHIS_OK;
}

static ehis_err check_registry(const struct ehis *e, const struct ehis_incoming *in)
{
    const struct envelope_header *h = &in->header;
    ehis_err err = registry_check_known(e->registry, h->registry_version, h->registry_hash.p);
    if (in->named_version > registry_version(e->registry) || err == EHIS_E_REGISTRY_NEWER)
        return EHIS_E_REGISTRY_NEWER;
    return err == EHIS_E_REGISTRY_FORK ? err : EHIS_OK; /* older than what is kept here: contradicts nothing */
}

static ehis_err check_signature(struct ehis *e, const struct ehis_incoming *in)
{
    struct hash leaf;
    const struct registry_word w = {.owner = in->header.sender, .created_ms = (int64_t)in->header.created_ms, .signature = &in->parts.signature, .leaf = &leaf};
    leaf_envelope(&in->digest, &leaf);
    return registry_verify(e->registry, &w, now_ms(e), e->roots);
}

static ehis_err check_policy(const struct ehis *e, struct ehis_incoming *in, struct ehis_why *why)
{
    const struct envelope_header *h = &in->header;
    struct decide_question q = {.what = DECIDE_CALL, .consumer = h->sender, .service = h->recipient, .operation = h->operation, .purpose = h->purpose,
                                .legal_basis = h->legal_basis, .at_ms = in->accepted_ms};
    struct decide_answer a;
    decide(e->registry, &q, &a);
    if (!a.is_permitted)
        return ehis_fail(why, a.code, "%s", a.failed);
    const struct registry_service *service = registry_service(e->registry, h->recipient);
    const struct registry_operation *operation = service ? registry_operation(service, h->operation) : NULL;
    in->max_response_bytes = h->max_response_bytes ? h->max_response_bytes : operation ? operation->max_response_bytes : 0;
    buf_clear(&in->rule);
    return buf_put_span(&in->rule, a.rule);
}

static ehis_err open_body(struct ehis *e, struct ehis_incoming *in)
{
    const struct envelope_header *h = &in->header;
    struct seal_binding b = {.kind = (uint8_t)h->kind, .sender = h->sender, .recipient = h->recipient};
    struct seal_message_key key;
    const struct seal_key *own = NULL;
    memcpy(b.exchange_id, h->exchange_id, 16);
    if (h->kind == KIND_EVENT) {
        const uint8_t *topic_key = events_key(e, h->recipient, h->seal.epoch);
        if (!topic_key)
            return EHIS_E_TOPIC_KEY_MISSING;
        seal_topic_derive(topic_key, &b, &key);
    } else {
        for (size_t i = 0; i < e->seal_key_count && !own; i++)
            if (memcmp(seal_key_id(e->seal_keys[i])->b, h->seal.recipient_key_id.p, HASH_BYTES) == 0)
                own = e->seal_keys[i];
        if (!own)
            return EHIS_E_KEY_UNKNOWN;
        EHIS_TRY(seal_derive(e->opening, own, h->seal.ephemeral.p, &b, &key));
    }
    struct in_body *body = &in->body;
    buf_clear(&body->memory);
    ehis_err err = seal_open(&key, h->seal.commitment.p, in->parts.header, in->parts.sealed, &body->memory);
    secret_wipe(&key, sizeof key);
    if (err == EHIS_OK && h->large.root.len) {
        large_in_free(body->large);
        body->large = NULL;
        err = large_in_new(e, h, &in->digest, in->session, buf_span(&body->memory), &body->large);
        buf_fini(&body->memory);
    }
    return err;
}

ehis_err incoming_vet(struct ehis *e, struct ehis_incoming *in, struct ehis_why *why)
{
    EHIS_TRY(registry_check_time(e->registry, now_ms(e)));
    EHIS_TRY(check_recipient(e, &in->header));
    EHIS_TRY(check_registry(e, in));
    EHIS_TRY(check_signature(e, in));
    EHIS_TRY(check_times(e, in));
    if (in->header.kind == KIND_REQUEST)
        EHIS_TRY(check_policy(e, in, why));
    return open_body(e, in);
}
