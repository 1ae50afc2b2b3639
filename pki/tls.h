/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* TLS contexts for both ends (SPEC 7): TLS 1.3 alone, mutual, no tickets, resumption, early data or renegotiation; explicit suites,
 * groups and signature algorithms; security level 2; no default authorities; openssl.cnf is ignored. A context is bound to one trust
 * object for its life: make a new one at each reload; connections keep theirs.
 * Verification runs at the time of the clock given here, set for each handshake before the chain is built. There is no callback that
 * could turn a refusal into an acceptance. */
#pragma once
#include "base/clock.h"
#include "pki/trust.h"
#include <openssl/ssl.h>

#define PKI_CHAIN_MAX_BYTES 8192 /* of a peer's certificate message */

struct pki_tls_options {
    enum pki_kind own_kind;    /* PKI_GATEWAY: a server's context, peers are systems; PKI_SYSTEM: a client's, peers are gateways */
    const char *chain_file;    /* PEM: leaf, then intermediates */
    const char *key_file;      /* PKCS#8 PEM, mode 0600 */
    struct pki_trust *trust;   /* referenced */
    const struct clock *clock; /* borrowed for the context's life */
};
/* Loads key and chain, checks that they belong together and that our own trust would accept us (so that a broken reload is found
 * here, R9), and gives a context and, where own is not NULL, who we are. PERMISSION, KEY_*, CERT_*, CHAIN_*, CRL_*, TLS_SETUP. */
ehis_err pki_tls_new(const struct pki_tls_options *o, SSL_CTX **out, struct pki_peer *own, struct ehis_why *why) EHIS_MUST_USE;

/* A client's certificate and key for a library that reads files itself (the brokers' one): they belong together, are in force, and lead to an authority of ca_file, which
 * stands for the peers', too. files: over all three, whatever else is wrong with them. NOT_FOUND, PERMISSION, KEY_*, PEM_MALFORMED, CERT_*, CHAIN_*. */
struct pki_pair { const char *chain_file, *key_file, *ca_file; int64_t not_after_ms; struct hash files; };
ehis_err pki_pair_load(struct pki_pair *p, int64_t now_ms, struct ehis_why *why) EHIS_MUST_USE;

/* The verdict on a peer, for link's on_peer: TLS 1.3, not resumed, a certificate, a verified chain, the profile, the kind that the
 * context expects. The caller then looks up leaf.key_id and leaf.id in the registry. ssl must come from a context of pki_tls_new. */
ehis_err pki_peer_check(SSL *ssl, int64_t now_ms, struct pki_peer *out, struct ehis_why *why) EHIS_MUST_USE;
/* The error and text of a handshake that failed in verification, for logs; EHIS_OK where it failed for another reason. */
ehis_err pki_handshake_error(SSL *ssl, struct ehis_why *why);

/* Once a process, before any other use of OpenSSL: the library without its configuration file. Called by the above. */
ehis_err pki_init(struct ehis_why *why) EHIS_MUST_USE;
