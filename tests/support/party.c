/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
#include "tests/support/party.h"

#include "base/disk.h"
#include "pki/keyfile.h"
#include "proto/wire/identifier.h"
#include <stdio.h>

#define PATH_BYTES 640

static int64_t now_ms(void) { return clock_wall_ms(&clock_system); }

ehis_err party_registry(const char *dir, const char *key_file, struct registry **out, struct ehis_why *why)
{
    char path[PATH_BYTES];
    uint8_t key[1][32];
    struct buf b;
    buf_init(&b, 16 << 20);
    snprintf(path, sizeof path, "%s/%s", dir, key_file);
    ehis_err err = file_read(path, 4096, &b, why);
    if (err == EHIS_OK)
        err = b.len < 64 ? EHIS_E_TRUNCATED : hex_from_text(span_of(buf_span(&b).p, 64), key[0], 32);
    buf_clear(&b);
    snprintf(path, sizeof path, "%s/registry.pb", dir);
    if (err == EHIS_OK)
        err = file_read(path, 16 << 20, &b, why);
    struct registry_trust trust = {.operator_keys = (const uint8_t(*)[32])key, .count = 1, .instance = span_str("AZ")};
    if (err == EHIS_OK)
        err = registry_from_document(buf_span(&b), &trust, NULL, now_ms(), out, why);
    buf_fini(&b);
    return err;
}

ehis_err party_open(struct party *p, const char *dir, const char *folder, const char *id, struct ehis_why *why)
{
    char sign[PATH_BYTES], seal[PATH_BYTES], key[PATH_BYTES], chain[PATH_BYTES], ca[PATH_BYTES], crl[PATH_BYTES];
    const char *crls[] = {crl};
    snprintf(p->id, sizeof p->id, "%s", id);
    snprintf(sign, sizeof sign, "%s/%s/sign.key", dir, folder);
    snprintf(seal, sizeof seal, "%s/%s/seal.key", dir, folder);
    snprintf(key, sizeof key, "%s/%s/tls.key", dir, folder);
    snprintf(chain, sizeof chain, "%s/%s/tls.crt", dir, folder);
    snprintf(ca, sizeof ca, "%s/ca.crt", dir);
    snprintf(crl, sizeof crl, "%s/crl.pem", dir);
    EHIS_TRY(pki_keyfile_load_sign(sign, USE_SIGN, &p->sign, why));
    EHIS_TRY(pki_keyfile_load_seal(seal, &p->seal, why));
    EHIS_TRY(pki_trust_load(ca, crls, 1, now_ms(), 0, NULL, &p->trust, why));
    struct pki_tls_options o = {.own_kind = PKI_SYSTEM, .chain_file = chain, .key_file = key, .trust = p->trust, .clock = &clock_system};
    EHIS_TRY(pki_tls_new(&o, &p->tls, NULL, why));
    EHIS_TRY(seal_cache_new(64, &p->opened));
    random_fill(&random_system, p->state_id, sizeof p->state_id);
    tree_init(&p->tree);
    return root_cache_new(4096, &p->roots);
}

ehis_err party_hello(const struct party *p, const struct registry *r, struct link *l, SSL *ssl, struct ehis_why *why)
{
    struct pki_peer peer;
    struct buf b;
    EHIS_TRY(pki_peer_check(ssl, now_ms(), &peer, why));
    struct hello h = {.version = PROTOCOL_VERSION, .name = span_str(p->id), .max_frame_bytes = 1 << 20, .window_messages = 1024, .window_bytes = 8 << 20,
                      .clock_ms = (uint64_t)now_ms(), .registry_version = registry_version(r)};
    memcpy(h.state_id, p->state_id, sizeof h.state_id);
    memcpy(h.registry_hash, registry_hash(r)->b, HASH_BYTES);
    buf_init(&b, 4096);
    ehis_err err = hello_write(&h, &b);
    struct span whole = buf_span(&b);
    if (err == EHIS_OK)
        err = link_send(l, FRAME_HELLO, &whole, 1);
    buf_fini(&b);
    return err;
}

/* ---- out ---- */

static ehis_err derive(struct party *p, const struct registry_key *to, const struct envelope_header *h, struct seal_message_key *out)
{
    struct seal_binding binding = {.kind = (uint8_t)h->kind, .sender = h->sender, .recipient = h->recipient};
    memcpy(binding.exchange_id, h->exchange_id, sizeof binding.exchange_id);
    if (p->context && seal_context_derive(p->context, now_ms(), &binding, out) == EHIS_OK)
        return EHIS_OK;
    seal_context_free(p->context);
    p->context = NULL;
    EHIS_TRY(seal_context_new(to->public_key.p, now_ms(), &random_system, &p->context));
    return seal_context_derive(p->context, now_ms(), &binding, out);
}

ehis_err party_seal(struct party *p, const struct registry *r, struct envelope_header *h, struct span body, struct buf *header, struct buf *sealed,
                    struct hash *digest)
{
    const struct registry_key *to;
    struct seal_message_key key;
    struct hash of_sealed;
    h->sender = span_str(p->id);
    h->created_ms = (uint64_t)now_ms();
    h->registry_version = registry_version(r);
    h->registry_hash = span_of(registry_hash(r)->b, HASH_BYTES);
    EHIS_TRY(registry_sealing_key(r, identifier_prefix(h->recipient, IDENTIFIER_SYSTEM), now_ms(), &to));
    EHIS_TRY(derive(p, to, h, &key));
    h->seal.recipient_key_id = span_of(to->id.b, HASH_BYTES);
    h->seal.ephemeral = span_of(seal_context_ephemeral(p->context), 32);
    h->seal.commitment = span_of(key.commitment.b, HASH_BYTES);
    buf_clear(header);
    buf_clear(sealed);
    EHIS_TRY(envelope_header_write(h, header));
    EHIS_TRY(seal_close(&key, buf_span(header), body, &random_system, sealed));
    hash_span(buf_span(sealed), &of_sealed);
    hash_envelope(buf_span(header), sealed->len, &of_sealed, digest);
    return EHIS_OK;
}

ehis_err party_write_acks(struct party *p, const struct ack *acks, size_t count, struct buf *scratch, struct buf *out)
{
    struct batch_signature b = {.algorithm = ALGORITHM_ED25519, .size = (uint32_t)count};
    for (size_t i = 0; i < count; i++) {
        struct hash digest;
        memcpy(digest.b, acks[i].digest, HASH_BYTES);
        leaf_ack(&digest, (uint8_t)acks[i].outcome, acks[i].code, acks[i].time_ms, &p->leaves[i]);
    }
    EHIS_TRY(sign_batch(p->sign, &p->tree, p->leaves, count, b.signature));
    memcpy(b.key_id, sign_key_id(p->sign)->b, HASH_BYTES);
    buf_clear(out);
    EHIS_TRY(batch_begin(&b, out));
    for (size_t i = 0; i < count; i++) {
        buf_clear(scratch);
        EHIS_TRY(ack_write(&acks[i], scratch));
        EHIS_TRY(batch_put(buf_span(scratch), out));
    }
    return EHIS_OK;
}

/* ---- in ---- */

ehis_err party_open_delivery(struct party *p, const struct registry *r, struct span payload, struct party_delivery *out, struct buf *plain, struct ehis_why *why)
{
    const struct envelope_header *h = &out->header;
    struct hash sealed, leaf;
    struct seal_message_key opened;
    EHIS_TRY(deliver_read(payload, &out->deliver, why));
    EHIS_TRY(envelope_read(out->deliver.envelope, &out->envelope, why));
    EHIS_TRY(envelope_header_read(out->envelope.header, &out->header, why));
    hash_span(out->envelope.sealed, &sealed);
    hash_envelope(out->envelope.header, out->envelope.sealed.len, &sealed, &out->digest);
    leaf_envelope(&out->digest, &leaf);
    const struct registry_word w = {.owner = h->sender, .created_ms = (int64_t)h->created_ms, .signature = &out->envelope.signature, .leaf = &leaf};
    EHIS_TRY(registry_verify(r, &w, now_ms(), p->roots));
    struct seal_binding binding = {.kind = (uint8_t)h->kind, .sender = h->sender, .recipient = h->recipient};
    memcpy(binding.exchange_id, h->exchange_id, sizeof binding.exchange_id);
    EHIS_TRY(seal_derive(p->opened, p->seal, h->seal.ephemeral.p, &binding, &opened));
    buf_clear(plain);
    return seal_open(&opened, h->seal.commitment.p, out->envelope.header, out->envelope.sealed, plain);
}

ehis_err party_verify_ack(struct party *p, const struct registry *r, struct span ack, struct span system, struct acknowledgement *out, struct ehis_why *why)
{
    struct envelope_signature s;
    struct hash digest, leaf;
    const struct registry_word w = {.owner = system, .signature = &s, .leaf = &leaf, .is_met_again = true};
    EHIS_TRY(acknowledgement_read(ack, out, why));
    EHIS_TRY(envelope_signature_read(out->signature, &s, why));
    memcpy(digest.b, out->digest, HASH_BYTES);
    leaf_ack(&digest, (uint8_t)out->outcome, out->code, out->time_ms, &leaf);
    return registry_verify(r, &w, now_ms(), p->roots);
}

ehis_err party_verify_run(const struct registry *r, const char *gateway, const struct batch_signature *b, struct hash *leaves, size_t count,
                          struct root_cache *roots)
{
    const struct registry_key *key;
    struct leaf_signature s = {.algorithm = b->algorithm, .size = b->size, .index = b->first, .path = b->proof, .signature = b->signature};
    memcpy(s.key_id.b, b->key_id, HASH_BYTES);
    EHIS_TRY(registry_signing_key(r, span_str(gateway), b->key_id, 0, now_ms(), &key));
    return sign_verify_run(leaves, count, &s, key->public_key.p, roots);
}
