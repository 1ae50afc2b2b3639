/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* A system as another program than libehis would be one: its keys, its TLS, what it signs, seals, verifies and opens. For the benchmark's load
 * and the fault tests' client, which decide themselves what to do and when. One thread a party. */
#pragma once
#include "pki/tls.h"
#include "policy/registry/registry.h"
#include "proto/crypto/seal.h"
#include "proto/crypto/sign.h"
#include "proto/link/link.h"
#include "proto/wire/session_frames.h"
#include "proto/wire/statement.h"

struct party {
    char id[64];
    uint8_t state_id[16];
    struct sign_key *sign;
    struct seal_key *seal;
    struct seal_context *context;
    struct seal_cache *opened;
    struct root_cache *roots;
    struct pki_trust *trust;
    SSL_CTX *tls;
    struct tree tree;
    struct hash leaves[STATEMENT_BATCH_MAX];
};
/* dir: registry.pb, and the operator's key in hex in key_file. */
ehis_err party_registry(const char *dir, const char *key_file, struct registry **out, struct ehis_why *why) EHIS_MUST_USE;
/* dir: ca.crt, crl.pem, and folder with sign.key, seal.key, tls.key, tls.crt. p is zero. */
ehis_err party_open(struct party *p, const char *dir, const char *folder, const char *id, struct ehis_why *why) EHIS_MUST_USE;
/* For link_events.on_peer: the gateway's certificate is good; says HELLO. */
ehis_err party_hello(const struct party *p, const struct registry *r, struct link *l, SSL *ssl, struct ehis_why *why) EHIS_MUST_USE;

/* h: what the caller decides, expires_ms as a time; sender, registry, seal and created_ms are filled in. Both bufs are cleared first. */
ehis_err party_seal(struct party *p, const struct registry *r, struct envelope_header *h, struct span body, struct buf *header, struct buf *sealed,
                    struct hash *digest) EHIS_MUST_USE;
/* ACK of 1..STATEMENT_BATCH_MAX into out; scratch is used for each. */
ehis_err party_write_acks(struct party *p, const struct ack *acks, size_t count, struct buf *scratch, struct buf *out) EHIS_MUST_USE;

struct party_delivery {
    struct deliver deliver;
    struct envelope envelope;
    struct envelope_header header;
    struct hash digest;
};
/* A DELIVER: read, its sender's signature verified, opened into plain. Borrows payload. */
ehis_err party_open_delivery(struct party *p, const struct registry *r, struct span payload, struct party_delivery *out, struct buf *plain, struct ehis_why *why) EHIS_MUST_USE;
/* An Acknowledgement by this system, verified. */
ehis_err party_verify_ack(struct party *p, const struct registry *r, struct span ack, struct span system, struct acknowledgement *out, struct ehis_why *why) EHIS_MUST_USE;
/* The leaves of a frame of receipts or skips (spent) by this gateway. */
ehis_err party_verify_run(const struct registry *r, const char *gateway, const struct batch_signature *b, struct hash *leaves, size_t count,
                          struct root_cache *roots) EHIS_MUST_USE;
