/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* Who is believed: authorities' certificates and their revocation lists, immutable once loaded; a reload makes a new object. Lists
 * are mandatory and fail hard: without a fresh list of every authority of a chain, the chain is refused.
 * The authorities' file (ca.crt) holds roots and intermediates. Only roots (self-signed) are anchors; an intermediate is there so
 * that its list can be verified when it is loaded. Reference-counted; any thread. */
#pragma once
#include "base/clock.h"
#include "pki/profile.h"

#define PKI_CA_FILE_MAX_BYTES (64 * 1024)
#define PKI_CRL_MAX_BYTES (1024 * 1024) /* all lists together */
#define PKI_AUTHORITIES_MAX 16
#define PKI_CRL_DAYS_MAX 35

struct pki_trust;

/* Flags of loading. */
enum {
    /* For adapters: lists past their nextUpdate are taken, so that a session can be opened that may do nothing but fetch newer ones
     * (SPEC 8.4); peers are then marked is_stale. What the lists revoke stays revoked. Never for a gateway. */
    PKI_TRUST_STALE_ALLOWED = 1,
};
/* ca: PEM or one DER certificate; crls: PEM, or DER lists one after another (the CRL frame). Every authority needs exactly one list, of
 * an authority in ca, verified here; its number must not fall below the one in `previous` (may be NULL). Errors TRUST_EMPTY, PEM_MALFORMED,
 * CERT_*, CRL_*; nothing is replaced then: keep the old object (R9). */
ehis_err pki_trust_new(struct span ca, struct span crls, int64_t now_ms, unsigned flags, const struct pki_trust *previous,
                       struct pki_trust **out, struct ehis_why *why) EHIS_MUST_USE;
/* The same from files; crl_file may be given several times, all are joined. */
ehis_err pki_trust_load(const char *ca_file, const char *const *crl_files, size_t crl_file_count, int64_t now_ms, unsigned flags,
                        const struct pki_trust *previous, struct pki_trust **out, struct ehis_why *why) EHIS_MUST_USE;
struct pki_trust *pki_trust_ref(struct pki_trust *t);
void pki_trust_unref(struct pki_trust *t); /* NULL does nothing */

/* The lists as one DER bundle (the payload of the CRL frame; order of the authorities' file) and its SHA-256. Borrowed from t. */
struct span pki_trust_crl_bundle(const struct pki_trust *t);
const struct hash *pki_trust_crl_hash(const struct pki_trust *t);
/* For monitoring: the earliest notAfter of an authority, the earliest nextUpdate of a list. */
int64_t pki_trust_ca_expiry_ms(const struct pki_trust *t);
int64_t pki_trust_crl_expiry_ms(const struct pki_trust *t);
X509_STORE *pki_trust_store(const struct pki_trust *t); /* borrowed; for TLS contexts */

/* A verified peer: its leaf and what is needed to ask again after a reload. Plain data, about 2 KiB; copy freely. */
struct pki_peer {
    struct pki_leaf leaf;
    bool is_stale; /* lists were out of date: may only fetch newer ones */
    struct {
        struct hash issuer; /* its name and key */
        uint8_t serial[20];
        size_t serial_len;
        int64_t not_after_ms;
    } chain[PKI_CHAIN_MAX];
    size_t chain_count;
};
/* Builds and verifies a chain for a leaf: path, revocation, profile. untrusted: intermediates that came with it; may be NULL. */
ehis_err pki_trust_verify(const struct pki_trust *t, X509 *leaf, STACK_OF(X509) * untrusted, enum pki_kind kind, int64_t now_ms,
                          struct pki_peer *out, struct ehis_why *why) EHIS_MUST_USE;
/* Asks again about a live peer, against a newer trust or a later time: CERT_REVOKED, CERT_EXPIRED, CHAIN_UNTRUSTED, CRL_EXPIRED (not with
 * STALE_ALLOWED: then *is_stale, which may be NULL). About 1 us a certificate. (R10) */
ehis_err pki_trust_recheck(const struct pki_trust *t, const struct pki_peer *peer, int64_t now_ms, bool *is_stale,
                           struct ehis_why *why) EHIS_MUST_USE;

/* A chain file: PEM, leaf first, at most PKI_CHAIN_MAX certificates. Freed with pki_chain_free. */
ehis_err pki_chain_from_pem(struct span pem, STACK_OF(X509) * *out, struct ehis_why *why) EHIS_MUST_USE;
static inline void pki_chain_free(STACK_OF(X509) * chain)
{
    sk_X509_pop_free(chain, X509_free);
}
