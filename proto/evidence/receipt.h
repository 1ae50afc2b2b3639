/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* Offline verification of what gateways and systems have signed (SPEC 5, 6): given a statement, its place in a signed tree and a public
 * key that the verifier trusts for its signer. Whether that key counted at the time is the registry's question. Errors of all:
 * SIGNATURE_ALGORITHM, SIGNATURE_PATH, SIGNATURE_BAD (another key than the one named included). Pure, any thread. */
#pragma once
#include "proto/crypto/sign.h"

/* As in the protocol's messages; spans borrowed. Inside RECEIPTS sender and gateway are the session's: the caller fills them in. */
struct evidence_ack {
    struct hash digest;
    uint8_t outcome; /* 1 done, 2 rejected, 3 retry */
    uint32_t code;
    uint64_t time_ms;
};
struct evidence_receipt {
    struct hash digest;
    struct span sender, recipient; /* recipient may be empty: no header could be read */
    uint8_t state;                 /* 1 accepted, 2 replicated, 3 delivered, 4 failed, 5 refused, 6 expired */
    uint32_t code;
    uint64_t time_ms;
    struct span gateway;
};
struct evidence_skip {
    struct span sender, recipient;
    uint8_t stream[16];
    uint64_t number;
    struct hash digest; /* zeros if unknown */
    uint8_t state;
    struct span gateway;
};

/* The sender's signature over an envelope's exact header and sealed bytes; its digest into *digest (may be NULL) on success. */
ehis_err evidence_verify_envelope(struct span header, struct span sealed, const struct leaf_signature *s, const uint8_t public_key[32],
                                  struct hash *digest) EHIS_MUST_USE;
ehis_err evidence_verify_ack(const struct evidence_ack *a, const struct leaf_signature *s, const uint8_t public_key[32]) EHIS_MUST_USE;
ehis_err evidence_verify_receipt(const struct evidence_receipt *r, const struct leaf_signature *s, const uint8_t public_key[32]) EHIS_MUST_USE;
ehis_err evidence_verify_skip(const struct evidence_skip *k, const struct leaf_signature *s, const uint8_t public_key[32]) EHIS_MUST_USE;
/* Whether an acknowledgement bears a receipt out: the same message, and done for delivered, rejected for failed. PROOF_MISMATCH.
 * Verify both signatures first. */
ehis_err evidence_match_ack(const struct evidence_receipt *r, const struct evidence_ack *a) EHIS_MUST_USE;
