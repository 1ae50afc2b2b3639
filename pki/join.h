/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* A wish to join (SPEC 11): a system's or gateway's public keys in one JoinRequest, with proof that its maker holds them.
 * Core = the canonical JoinRequest in which every JoinKey has its key but no proof. Proofs:
 *   SIGN  Ed25519 by the SIGN key over "ehis/join/v1\0" || core
 *   SEAL  Ed25519 by the SIGN key over "ehis/join/seal/v1\0" || core (an X25519 key cannot sign; the SIGN key answers for it)
 *   TLS   ECDSA with SHA-256, DER, by the TLS key over "ehis/join/v1\0" || core; the CSR inside is signed by it as well
 * A system has one key of each use, a gateway TLS and SIGN. */
#pragma once
#include "base/clock.h"
#include "pki/profile.h"

#define PKI_JOIN_MAX_BYTES 8192

struct pki_join_key {
    enum key_use use;
    enum key_algorithm algorithm;
    struct hash id;
    struct span public_key; /* 32 bytes, or the SPKI */
    int64_t not_before_ms;
};
/* Borrowed from the bytes that were read. */
struct pki_join {
    enum pki_kind kind;
    struct span id;
    struct pki_join_key keys[3];
    size_t key_count;
    struct span csr; /* PKCS#10 DER of the TLS key */
    int64_t created_ms;
};
/* Everything is checked: form, key ids, one key of each use, all proofs, CSR against TLS key and name. SCAN_*, JOIN_*, CSR_*. Pure. */
ehis_err pki_join_read(struct span bytes, struct pki_join *out, struct ehis_why *why) EHIS_MUST_USE;

/* Makes keys in dir (made 0700 where absent): tls.key, sign.key, for a system seal.key, then join.request. EXISTS where one is there:
 * no key is ever overwritten. The keys count from PKI_BACKDATE_MS before now_ms. Appends the request to *request as well where it is not NULL. */
ehis_err pki_join_make(const char *dir, enum pki_kind kind, struct span id, int64_t now_ms, const struct random *r, struct buf *request,
                       struct ehis_why *why) EHIS_MUST_USE;
