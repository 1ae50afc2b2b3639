/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* Acknowledgements go out signed together, one signature a turn; receipts and flows come in and find what they are about. */
#include "adapters/sdk/ehis_priv.h"
#include "base/log.h"
#include "proto/evidence/receipt.h"
#include <stdlib.h>

#define UPLOAD_MS 5000
#define RETRY_MIN_MS 10 /* whatever the gateway says */
#define RETRY_MAX_MS 60000
#define UNTOLD_EVERY_MS 60000

/* Of another session: the delivery comes again, and is acknowledged then. */
void acks_add(struct ehis *e, uint64_t session, uint64_t delivery, const uint8_t digest[32], enum outcome outcome, uint32_t code, uint32_t retry_ms)
{
    struct session *s = session_of(e, session);
    if (!s || !s->is_ready)
        return;
    if (s->ack_count == STATEMENT_BATCH_MAX)
        acks_flush(s);
    struct ack *a = &s->acks[s->ack_count++];
    *a = (struct ack){.delivery = delivery, .outcome = outcome, .code = code, .time_ms = (uint64_t)now_ms(e), .retry_ms = retry_ms};
    memcpy(a->digest, digest, sizeof a->digest);
    turn_soon(e);
}

static ehis_err write_acks(struct session *to)
{
    struct ehis *e = to->e;
    struct batch_signature s = {.algorithm = ALGORITHM_ED25519, .size = (uint32_t)to->ack_count};
    struct hash d;
    for (size_t i = 0; i < to->ack_count; i++) {
        const struct ack *a = &to->acks[i];
        memcpy(d.b, a->digest, HASH_BYTES);
        leaf_ack(&d, (uint8_t)a->outcome, a->code, a->time_ms, &e->leaves[i]);
    }
    EHIS_TRY(sign_batch(e->sign_key, &e->tree, e->leaves, to->ack_count, s.signature));
    memcpy(s.key_id, sign_key_id(e->sign_key)->b, HASH_BYTES);
    buf_clear(&e->frame);
    EHIS_TRY(batch_begin(&s, &e->frame));
    for (size_t i = 0; i < to->ack_count; i++) {
        buf_clear(&e->item);
        EHIS_TRY(ack_write(&to->acks[i], &e->item));
        EHIS_TRY(batch_put(buf_span(&e->item), &e->frame));
    }
    return session_send(to, FRAME_ACK, buf_span(&e->frame));
}

void acks_flush(struct session *s)
{
    if (s->ack_count == 0 || !is_connected(s))
        return;
    ehis_err err = write_acks(s);
    if (err == EHIS_E_LINK_FULL && s->ack_count < STATEMENT_BATCH_MAX)
        return; /* kept until there is room */
    s->ack_count = 0;
    if (err != EHIS_OK && err != EHIS_E_LINK_ENDED)
        session_fail(s, err); /* what is not acknowledged comes again */
}

/* Whether the gateway signed the first count of e->leaves, the statements of its frame; they are spent. Signed when it is sent, maybe with a newer key
 * than at the statement's time. */
ehis_err acks_verify_batch(const struct session *from, const struct batch_signature *b, size_t count)
{
    const struct ehis *e = from->e;
    const struct registry_key *key;
    struct leaf_signature s = {.algorithm = b->algorithm, .size = b->size, .index = b->first, .path = b->proof, .signature = b->signature};
    memcpy(s.key_id.b, b->key_id, HASH_BYTES);
    EHIS_TRY(registry_signing_key(e->registry, span_str(from->peer.leaf.id), b->key_id, 0, now_ms(e), &key));
    return sign_verify_run(e->leaves, count, &s, key->public_key.p, e->roots);
}

/* The recipient's own word beside the gateway's: true where it is there and bears it out. */
static bool is_borne_out(struct ehis *e, const struct receipt *r, const struct evidence_receipt *said)
{
    struct acknowledgement a;
    struct envelope_signature s;
    struct hash leaf;
    unsigned parts;
    if (r->ack.len == 0 || acknowledgement_read(r->ack, &a, NULL) != EHIS_OK || envelope_signature_read(a.signature, &s, NULL) != EHIS_OK)
        return false;
    if (identifier_parse(r->recipient, &parts, NULL) != EHIS_OK || parts < IDENTIFIER_SYSTEM)
        return false;
    struct evidence_ack word = {.outcome = (uint8_t)a.outcome, .code = a.code, .time_ms = a.time_ms};
    memcpy(word.digest.b, a.digest, HASH_BYTES);
    leaf_ack(&word.digest, word.outcome, word.code, word.time_ms, &leaf);
    const struct registry_word w = {.owner = identifier_prefix(r->recipient, IDENTIFIER_SYSTEM), .created_ms = (int64_t)a.time_ms, .signature = &s, .leaf = &leaf,
                                    .is_met_again = true};
    return registry_verify(e->registry, &w, now_ms(e), e->roots) == EHIS_OK && evidence_match_ack(said, &word) == EHIS_OK;
}

/* ---- what the application is told ---- */

struct told {
    struct job job;
    struct order order;
    ehis_receipt receipt;
    bool is_final;
    char gateway[IDENTIFIER_MAX_BYTES + 1];
};

/* Where it is under way still, at the gateway that did not end it: that answer will not find it any more. */
static ehis_err finish(struct ehis *e, struct out_message *m)
{
    bool is_unanswered = m->is_unanswered;
    sending_answered(e, m->stream->session, &is_unanswered, m->len);
    return outbox_finish(e->outbox, m);
}

static void on_told(struct ehis *e, struct order *o)
{
    struct told *t = OWNER_OF(o, struct told, order);
    struct out_message *m = e->is_stopped ? NULL : outbox_by_digest(e->outbox, t->receipt.digest);
    if (m && t->is_final) {
        ehis_err err = finish(e, m);
        if (err != EHIS_OK)
            ehis_fatal(e, err);
    }
    free(t);
}

static void drop_told(struct ehis *e, struct job *j)
{
    (void)e;
    free(OWNER_OF(j, struct told, job));
}

static void run_told(struct ehis *e, struct job *j)
{
    struct told *t = OWNER_OF(j, struct told, job);
    pthread_mutex_lock(&e->lock);
    void (*fn)(void *, const ehis_receipt *) = e->on_receipt;
    void *arg = e->on_receipt_arg;
    pthread_mutex_unlock(&e->lock);
    if (fn)
        fn(arg, &t->receipt);
    t->order.run = on_told;
    if (!work_post(e, &t->order))
        free(t);
}

/* gateway: of whom it is; "": our own word. Of a key nobody hears. m may be gone. */
static ehis_err tell(struct ehis *e, const char *gateway, struct out_message *m, const struct receipt *r, bool is_signed)
{
    struct told *t = m->number ? calloc(1, sizeof *t) : NULL;
    if (!t)
        return m->number ? EHIS_E_NO_MEMORY : finish(e, m);
    t->job = (struct job){NULL, run_told, drop_told};
    memcpy(t->gateway, gateway, strlen(gateway));
    t->receipt = (ehis_receipt){.size = sizeof t->receipt, .state = (int)r->state, .code = (int)r->code, .time_ms = (int64_t)r->time_ms, .gateway = t->gateway,
                                .is_recipient_signed = is_signed, .is_enough = !m->is_held || m->is_final};
    memcpy(t->receipt.exchange_id, m->exchange_id, 16);
    memcpy(t->receipt.digest, r->digest, 32);
    t->is_final = m->is_telling;
    pthread_mutex_lock(&e->lock);
    bool is_wanted = e->on_receipt != NULL;
    pthread_mutex_unlock(&e->lock);
    if (is_wanted) {
        work_job(e, &t->job);
    } else {
        t->order.run = on_told;
        on_told(e, &t->order);
    }
    return EHIS_OK;
}

/* No gateway will say what becomes of it: the application is told so, by us. m may be gone. */
static void give_up(struct ehis *e, struct out_message *m, uint32_t state, ehis_err code)
{
    struct receipt r = {.state = state, .code = (uint32_t)code, .time_ms = (uint64_t)now_ms(e)};
    memcpy(r.digest, m->by_digest.key, HASH_BYTES);
    m->is_final = true;
    if (m->is_telling)
        return;
    m->is_telling = true;
    out_message_ended(m);
    ehis_err err = tell(e, "", m, &r, false);
    if (err != EHIS_OK)
        ehis_fatal(e, err);
}

void acks_give_up(struct ehis *e, struct out_stream *s, ehis_err code)
{
    for (struct out_message *m = s->first, *next; m; m = next) {
        next = m->next;
        give_up(e, m, STATE_FAILED, code);
    }
}

void acks_tick(struct ehis *e)
{
    if (now_ms(e) - e->untold_asked_ms < UNTOLD_EVERY_MS && now_ms(e) >= e->untold_asked_ms)
        return;
    e->untold_asked_ms = now_ms(e);
    for (struct out_stream *s = outbox_streams(e->outbox); s; s = s->next)
        for (struct out_message *m = out_stream_untold(s, NULL, now_ms(e)), *next; m; m = next) {
            next = out_stream_untold(s, m, now_ms(e));
            give_up(e, m, EHIS_UNTOLD, EHIS_E_SDK_UNTOLD);
        }
}

/* An application that does not take its receipts: the session ends, and they come again. */
static bool is_too_slow(struct ehis *e)
{
    pthread_mutex_lock(&e->lock);
    bool is_full = e->job_count >= JOBS_MAX;
    pthread_mutex_unlock(&e->lock);
    return is_full;
}

static ehis_err take_receipt(struct session *from, const struct receipt *r, const struct evidence_receipt *said)
{
    struct ehis *e = from->e;
    struct out_gateway gateway = {from->id, from->slot, from->is_replicating};
    struct out_message *m = outbox_by_digest(e->outbox, r->digest);
    struct call *c = m ? NULL : calls_find(e, r->digest);
    struct served *s = m || c ? NULL : serving_find_response(e, r->digest);
    if (m) {
        ehis_err err;
        bool is_unanswered = m->is_unanswered;
        if (is_too_slow(e))
            return EHIS_E_SDK_BUSY;
        if (m->stream->session == from->id)
            sending_answered(e, from->id, &is_unanswered, m->len);
        if (outbox_on_receipt(e->outbox, m, &gateway, (uint8_t)r->state, &err) && err == EHIS_OK)
            err = tell(e, from->peer.leaf.id, m, r, is_borne_out(e, r, said));
        return err;
    }
    if (c && c->session == from->id) { /* else it has been repeated elsewhere, and that counts */
        sending_answered(e, from->id, &c->is_unanswered, c->len);
        calls_on_receipt(from, c, (uint8_t)r->state, r->code);
    }
    if (s) {
        serving_answered(e, s, from->id);
        s->is_accepted |= r->state != STATE_REFUSED;
        if (r->state == STATE_REFUSED)
            serving_refused(e, s, from->id, r->code);
    }
    return EHIS_OK;
}

static struct evidence_receipt said_by(const struct session *from, const struct receipt *r)
{
    struct evidence_receipt said = {.sender = span_str(from->e->system), .recipient = r->recipient, .state = (uint8_t)r->state, .code = r->code,
                                    .time_ms = r->time_ms, .gateway = span_str(from->peer.leaf.id)};
    memcpy(said.digest.b, r->digest, HASH_BYTES);
    return said;
}

ehis_err acks_on_receipts(struct session *from, struct span payload, struct ehis_why *why)
{
    struct ehis *e = from->e;
    struct batch_signature batch;
    struct span item;
    struct receipt r;
    size_t at = 0, count = 0;
    EHIS_TRY(batch_read(FRAME_RECEIPTS, payload, &batch, why));
    for (; batch_next(payload, &at, &item); count++) {
        EHIS_TRY(receipt_read(item, &r, why));
        const struct evidence_receipt said = said_by(from, &r);
        leaf_receipt(&said.digest, said.sender, said.recipient, said.state, said.code, said.time_ms, said.gateway, &e->leaves[count]);
    }
    ehis_err err = acks_verify_batch(from, &batch, count);
    if (err != EHIS_OK)
        return ehis_fail(why, err, "receipts of %s", from->peer.leaf.id);
    for (at = 0; batch_next(payload, &at, &item);) {
        EHIS_TRY(receipt_read(item, &r, why));
        const struct evidence_receipt said = said_by(from, &r);
        EHIS_TRY(take_receipt(from, &r, &said));
    }
    turn_soon(e);
    return EHIS_OK;
}

/* What stands in the gateway's own way, not in this message's: another one may take it. */
static bool is_gateways_own(uint32_t code)
{
    return code == EHIS_E_CRL_STALE || code == EHIS_E_REGISTRY_EXPIRED || code == EHIS_E_EXCHANGE_REGISTRY_BEHIND || code == EHIS_E_EXCHANGE_DRAINING;
}

ehis_err acks_on_flow(struct session *from, struct span payload, struct ehis_why *why)
{
    struct ehis *e = from->e;
    struct flow f;
    EHIS_TRY(flow_read(payload, &f, why));
    uint32_t pause_ms = f.retry_ms < RETRY_MIN_MS ? RETRY_MIN_MS : f.retry_ms > RETRY_MAX_MS ? RETRY_MAX_MS : f.retry_ms;
    int64_t until = mono_ms(e) + pause_ms;
    bool is_missing = f.code == EHIS_E_EXCHANGE_BLOB_MISSING, is_upload = is_missing && large_out_wanted(from, f.digest);
    if (is_missing)
        until = mono_ms(e) + UPLOAD_MS; /* or as soon as it is whole there */
    if (is_missing && !is_upload)
        log_line(LOG_ERROR, "sdk.large.missing", F_HEX("digest", f.digest, HASH_BYTES));
    struct out_message *m = outbox_by_digest(e->outbox, f.digest);
    struct call *c = m ? NULL : calls_find(e, f.digest);
    struct served *s = m || c ? NULL : serving_find_response(e, f.digest);
    if (m && m->stream->session == from->id) {
        bool is_unanswered = m->is_unanswered;
        struct session *other = session_ready(e, from->id);
        sending_answered(e, from->id, &is_unanswered, m->len);
        out_stream_on_flow(m, f.code == EHIS_E_EXCHANGE_OUT_OF_SEQUENCE ? f.expected : 0, f.code == EHIS_E_EXCHANGE_OUT_OF_SEQUENCE && !f.retry_ms ? 0 : until);
        if (is_gateways_own(f.code) && other && other != from)
            sending_elsewhere(from, m->stream, until);
    }
    if (c && c->session == from->id) {
        sending_answered(e, from->id, &c->is_unanswered, c->len);
        bool is_round = is_upload || (session_of(e, c->avoided) && c->avoided != from->id);
        if (!is_upload)
            c->avoided = from->id;
        calls_repeat(e, c, is_round || session_ready(e, from->id) == from ? until : mono_ms(e) + RETRY_MIN_MS);
    }
    if (s) {
        serving_answered(e, s, from->id);
        serving_repeat(e, s, from->id, until);
    }
    if (f.code == EHIS_E_REGISTRY_STALE || f.code == EHIS_E_CRL_STALE)
        readiness_want_registry(from);
    turn_soon(e);
    return EHIS_OK;
}
