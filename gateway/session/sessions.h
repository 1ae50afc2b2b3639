/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* The sessions of a gateway: listeners, the handshake's verdict, HELLO and READY, frames in and out of the exchange core, receipts signed
 * once a group, reload and draining (SPEC 7, 8). Translates between links and the core; decides nothing about messages. Loop's thread. */
#pragma once
#include "gateway/exchange/exchange.h"
#include "pki/tls.h"
#include "proto/link/link.h"

struct sessions;

struct sessions_limits {
    uint32_t sessions_max, sessions_per_system, half_open_max, half_open_per_source;
    uint32_t window_messages, window_bytes;
    bool is_replicating; /* the bus does: HELLO says so (SPEC 8.2.3) */
    struct link_limits link;
};
/* What a reload replaces, whole or not at all (R9). sessions_set_identity takes over all four. */
struct sessions_identity {
    SSL_CTX *tls;
    struct pki_trust *trust;
    struct registry *registry;
    struct sign_key *sign_key;
};

ehis_err sessions_new(struct loop *loop, const struct clock *clock, const char *gateway, const struct sessions_limits *limits, struct sessions **out) EHIS_MUST_USE;
void sessions_free(struct sessions *s); /* every session has ended */
/* The core itself, and its way out: the send_* ports of exchange.h. The journal says what of the windows is still to be written. */
void sessions_set_exchange(struct sessions *s, struct exchange *x);
void sessions_set_journal(struct sessions *s, const struct journal *j);
/* Where the chunks of large bodies are, borrowed; before the first session. Without them HELLO does not name the feature. */
struct blobs;
void sessions_set_blobs(struct sessions *s, struct blobs *b);
ehis_err sessions_send_receipt(struct sessions *s, session_id id, const struct exchange_receipt *r) EHIS_MUST_USE;
ehis_err sessions_send_flow(struct sessions *s, session_id id, const struct exchange_flow *f) EHIS_MUST_USE;
ehis_err sessions_send_delivery(struct sessions *s, session_id id, const struct exchange_delivery *d) EHIS_MUST_USE;
ehis_err sessions_send_skip(struct sessions *s, session_id id, const struct exchange_skip *k) EHIS_MUST_USE;
/* Ends a session after ERROR with this code. */
void sessions_end(struct sessions *s, session_id id, ehis_err code);
ehis_err sessions_send_frame(struct sessions *s, session_id id, uint8_t type, struct span payload) EHIS_MUST_USE;
void sessions_set_limits(struct sessions *s, const struct sessions_limits *limits);
/* New handshakes use it at once; live sessions are asked again, those that lost their right end (R10); all hear of the new registry and
 * revocation lists. */
void sessions_set_identity(struct sessions *s, struct sessions_identity *identity);
const struct sessions_identity *sessions_get_identity(const struct sessions *s);

/* "127.0.0.1:7400", "[::1]:7400"; port 0 takes a free one, logged. */
ehis_err sessions_check_address(const char *address, struct ehis_why *why) EHIS_MUST_USE;
ehis_err sessions_listen(struct sessions *s, const char *address, struct ehis_why *why) EHIS_MUST_USE;
/* Signs what receipts and skips were given since the last time and sends them. After each durable group and each turn of input. */
void sessions_flush(struct sessions *s);
/* Once a second: certificates and lists that run out. */
void sessions_tick(struct sessions *s);
/* No new connections; GOODBYE to all. */
void sessions_drain(struct sessions *s);
void sessions_close(struct sessions *s); /* all links close in order */
void sessions_abort(struct sessions *s); /* all links end at once */

struct sessions_status {
    uint32_t sessions, half_open, ready;
    uint64_t opened, ended[LINK_END_COUNT], refused, bytes_in, bytes_out, statements_signed, signatures;
};
void sessions_status(const struct sessions *s, struct sessions_status *out);
