/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* A party's session with a gateway, as far as every such program does the same. Whoever has it decides what is sent and when, and what follows. Its
 * errors are its owner's to die of; LINK_ENDED says that there is no link now. On its loop's thread. */
#pragma once
#include "base/loop.h"
#include "proto/wire/identifier.h"
#include "tests/support/party.h"

#define PARTY_SLOTS 1024 /* envelopes that are made and signed together */

struct party_session {
    struct party p;
    struct loop *loop;
    const struct registry *registry;
    char gateway[IDENTIFIER_MAX_BYTES + 1]; /* once it has said HELLO */
    char peer_service[96];                  /* the service of its pair's receiver */
    bool is_sender, is_ack_due;
    struct link *link;
    uint8_t stream[16];
    struct buf acks; /* struct ack after struct ack */
    size_t ack_count;
    struct buf header[PARTY_SLOTS], sealed[PARTY_SLOTS], frame, plain; /* frame, plain: of whoever needs one now */
    struct hash made[PARTY_SLOTS];
    uint8_t signature[64];
};
/* Of pair k in dir: the sender AZ/GOV/SND/s<k> with its files in s<k>/, or the receiver AZ/GOV/RCV/r<k>, which serves .../inbox. s is zero. */
ehis_err party_session_open(struct party_session *s, struct loop *loop, const struct registry *r, const char *dir, bool is_sender, int k, struct ehis_why *why) EHIS_MUST_USE;
ehis_err party_session_dial(struct party_session *s, int port, const struct link_events *events, void *arg) EHIS_MUST_USE; /* on loopback */
ehis_err party_session_send(struct party_session *s, uint8_t type, const struct buf *b) EHIS_MUST_USE;
ehis_err party_session_welcome(struct party_session *s, struct span hello, const struct ready *ready, struct ehis_why *why) EHIS_MUST_USE; /* HELLO: says READY */
ehis_err party_session_ready(struct party_session *s, const struct ready *ready) EHIS_MUST_USE;

/* Header and sealed body into slot i (party_seal); the first n slots signed as one tree; slot i of n as an Envelope into out, cleared. */
ehis_err party_session_make(struct party_session *s, size_t i, struct envelope_header *h, struct span body, struct hash *digest) EHIS_MUST_USE;
ehis_err party_session_sign(struct party_session *s, size_t n) EHIS_MUST_USE;
ehis_err party_session_envelope(struct party_session *s, size_t i, size_t n, struct buf *out) EHIS_MUST_USE;

ehis_err party_session_open_stream(struct party_session *s, uint64_t lowest) EHIS_MUST_USE;
ehis_err party_session_settle(struct party_session *s, uint64_t lowest) EHIS_MUST_USE;
/* RECEIPTS, verified: up to STATEMENT_BATCH_MAX, borrowed from payload. */
ehis_err party_session_receipts(struct party_session *s, struct span payload, struct root_cache *roots, struct receipt *out, size_t *count, struct ehis_why *why) EHIS_MUST_USE;
/* Goes out with others on the next turn, under one signature. */
ehis_err party_session_acknowledge(struct party_session *s, uint64_t delivery, const struct hash *digest, uint32_t outcome, uint32_t code) EHIS_MUST_USE;
void party_session_ended(struct party_session *s); /* its link has */
