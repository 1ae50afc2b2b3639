/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
#include "proto/evidence/receipt.h"

enum { OUTCOME_DONE = 1, OUTCOME_REJECTED = 2, STATE_DELIVERED = 3, STATE_FAILED = 4 };

static ehis_err verify(const struct hash *leaf, const struct leaf_signature *s, const uint8_t public_key[32])
{
    struct hash id;
    crypto_key_id(USE_SIGN, ALGORITHM_ED25519, span_of(public_key, 32), &id);
    if (s->algorithm == ALGORITHM_ED25519 && memcmp(id.b, s->key_id.b, HASH_BYTES) != 0)
        return EHIS_E_SIGNATURE_BAD; /* another key, or this one for another use */
    return sign_verify_leaf(leaf, s, public_key, NULL);
}

ehis_err evidence_verify_envelope(struct span header, struct span sealed, const struct leaf_signature *s, const uint8_t public_key[32],
                                  struct hash *digest)
{
    struct hash h, d, leaf;
    hash_span(sealed, &h);
    hash_envelope(header, sealed.len, &h, &d);
    leaf_envelope(&d, &leaf);
    EHIS_TRY(verify(&leaf, s, public_key));
    if (digest)
        *digest = d;
    return EHIS_OK;
}

ehis_err evidence_verify_ack(const struct evidence_ack *a, const struct leaf_signature *s, const uint8_t public_key[32])
{
    struct hash leaf;
    leaf_ack(&a->digest, a->outcome, a->code, a->time_ms, &leaf);
    return verify(&leaf, s, public_key);
}

ehis_err evidence_verify_receipt(const struct evidence_receipt *r, const struct leaf_signature *s, const uint8_t public_key[32])
{
    struct hash leaf;
    leaf_receipt(&r->digest, r->sender, r->recipient, r->state, r->code, r->time_ms, r->gateway, &leaf);
    return verify(&leaf, s, public_key);
}

ehis_err evidence_verify_skip(const struct evidence_skip *k, const struct leaf_signature *s, const uint8_t public_key[32])
{
    struct hash leaf;
    leaf_skip(k->sender, k->recipient, k->stream, k->number, &k->digest, k->state, k->gateway, &leaf);
    return verify(&leaf, s, public_key);
}

ehis_err evidence_match_ack(const struct evidence_receipt *r, const struct evidence_ack *a)
{
    bool agrees = (r->state == STATE_DELIVERED && a->outcome == OUTCOME_DONE) || (r->state == STATE_FAILED && a->outcome == OUTCOME_REJECTED);
    if (!agrees || memcmp(r->digest.b, a->digest.b, HASH_BYTES) != 0)
        return EHIS_E_PROOF_MISMATCH;
    return EHIS_OK;
}
