/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* A framed mutual-TLS 1.3 connection on one loop, for both ends (SPEC 7). Owns its descriptor; a pump of its own over struct event:
 * bounded work a turn, absolute deadlines, bounded output, PING, close_notify, truncation told apart. Is given its TLS context and asks
 * for a verdict on the peer. Everything on the loop's thread; no callback from inside a verb. At most 96 KiB before link_set_trusted. */
#pragma once
#include "base/loop.h"
#include <openssl/types.h>
#include <sys/socket.h>

struct link;

enum link_end { /* why it ended: at once log value, metric label and audit code */
    LINK_END_LOCAL,            /* we closed it in order */
    LINK_END_PEER,             /* close_notify from the peer */
    LINK_END_TRUNCATED,        /* the stream ended without close_notify, or inside a frame */
    LINK_END_RESET,            /* network error */
    LINK_END_CONNECT,          /* could not connect */
    LINK_END_HANDSHAKE,        /* TLS refused or failed, by either end; a client may hear of it only after its own on_peer */
    LINK_END_PEER_REFUSED,     /* our verdict on the peer's certificate */
    LINK_END_HANDSHAKE_TIMEOUT,
    LINK_END_FIRST_FRAME_TIMEOUT,
    LINK_END_FRAME_TIMEOUT,    /* a frame took too long to arrive whole */
    LINK_END_PING_TIMEOUT,
    LINK_END_DRAIN_TIMEOUT,    /* the peer did not take our output by its deadline */
    LINK_END_FRAME,            /* a malformed or oversized frame head */
    LINK_END_PROTOCOL,         /* closed by link_fail */
    LINK_END_OUTPUT_FULL,
    LINK_END_RENEGOTIATION,    /* more KeyUpdates or empty records than the budget */
    LINK_END_TLS,              /* after the handshake: an alert from the peer, or a record that does not open */
    LINK_END_COUNT,
};
const char *link_end_name(enum link_end e); /* "handshake_timeout" */

struct link_limits {
    size_t max_frame_bytes;        /* type and payload */
    size_t first_frame_max_bytes;  /* before link_set_trusted: 4 KiB */
    size_t output_max_bytes;       /* what may wait to be sent; beyond it link_send answers LINK_FULL */
    uint32_t handshake_ms, first_frame_ms, frame_ms; /* absolute deadlines; handshake: once more for connecting; first frame: until
                                                        link_set_trusted; frame: from its first byte, however it drips */
    uint32_t drain_ms;             /* what waits to be sent must have gone within this, whatever is queued behind it */
    uint32_t ping_every_ms, ping_timeout_ms; /* 5,000 and 15,000 */
    size_t turn_bytes;             /* work a turn: 160 KiB. What came together stays together: a peer's window of 64 small messages fits */
};
extern const struct link_limits link_limits_default;

struct link_events {
    /* After the handshake: chain verified by the context; the verdict on profile, identity, pin, revocation. May link_send: HELLO, or
     * before an error the ERROR frame. The error ends the link in order (LINK_END_PEER_REFUSED; OpenSSL sends no alerts of ours). */
    ehis_err (*on_peer)(void *arg, struct link *l, SSL *ssl, struct ehis_why *why);
    /* A whole frame; payload borrowed for the call. May call link_send, link_fail, link_close. */
    void (*on_frame)(void *arg, struct link *l, uint8_t type, struct span payload);
    /* The link is about to close for the peer's fault (FRAME, FIRST_FRAME_TIMEOUT, FRAME_TIMEOUT, RENEGOTIATION, PROTOCOL): the place
     * to link_send an ERROR frame. May be NULL. */
    void (*on_fault)(void *arg, struct link *l, enum link_end end, ehis_err err);
    /* Output has fallen below half of its bound after LINK_FULL. */
    void (*on_room)(void *arg, struct link *l);
    /* Exactly once, last; the link is freed after it returns. tls_error: OpenSSL's reason or "". */
    void (*on_end)(void *arg, struct link *l, enum link_end end, ehis_err err, const char *detail);
    /* Types of PING and PONG (ehis.v1.Ping), sent and answered here once the peer is trusted; before that they come as on_frame. A peer
     * that is silent for ping_timeout_ms ends the link. 0: no pings. */
    uint8_t ping_type, pong_type;
};

/* Both return at once and call back later. ctx is referenced. arg is borrowed until on_end. fd is consumed, also on error. */
ehis_err link_accept(struct loop *loop, int fd, SSL_CTX *ctx, const struct link_limits *limits, const struct link_events *events, void *arg,
                     struct link **out) EHIS_MUST_USE;
ehis_err link_dial(struct loop *loop, const struct sockaddr *address, socklen_t address_len, SSL_CTX *ctx, const struct link_limits *limits,
                   const struct link_events *events, void *arg, struct link **out) EHIS_MUST_USE;

/* Queues a frame from parts (copied). Sent at the end of the turn, small frames together. LINK_FULL: nothing was queued. LINK_ENDED. */
ehis_err link_send(struct link *l, uint8_t type, const struct span *parts, size_t count) EHIS_MUST_USE;
size_t link_output_bytes(const struct link *l); /* queued and not yet taken by the kernel */
/* After HELLO: whole frames of max_frame_bytes are allowed from now on, or of the smaller bound given. */
void link_set_trusted(struct link *l, size_t max_frame_bytes);
void link_set_send_max(struct link *l, size_t max_frame_bytes); /* what the peer takes */
/* Sends what is queued, close_notify, then ends (LINK_END_LOCAL) within drain_ms. */
void link_close(struct link *l);
/* The same after a protocol error (LINK_END_PROTOCOL, err). */
void link_fail(struct link *l, ehis_err err);
/* Ends at once, without notice to the peer (LINK_END_LOCAL). */
void link_abort(struct link *l);
SSL *link_ssl(const struct link *l); /* borrowed until on_end returns: for pki_handshake_error there */
const char *link_peer_address(const struct link *l); /* "127.0.0.1:4711", "[::1]:4711" */
struct link_stats { uint64_t bytes_in, bytes_out, frames_in, frames_out, records_in; int64_t last_rtt_us; };
void link_stats(const struct link *l, struct link_stats *out);
