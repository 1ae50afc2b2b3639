/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* TLS in and out. A turn reads at most turn_bytes and LINK_TURN_RECORDS and writes at most turn_bytes; what is left waits for the next
 * turn, so that every connection gets its own. */
#include "proto/link/link_priv.h"
#include <errno.h>
#include <openssl/err.h>

/* With nothing from the peer for reading to say why, the write error is the reason. */
static void end_broken(struct link *l, int error)
{
    /* TCP_USER_TIMEOUT is the ping timeout, seen by the kernel. */
    link_end_now(l, error == ETIMEDOUT ? LINK_END_PING_TIMEOUT : LINK_END_RESET, EHIS_OK, strerrordesc_np(error));
}

/* What a peer's operator can mend gets a number of its own. */
static ehis_err handshake_error(int reason)
{
    switch (reason) {
    case SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE:
        return EHIS_E_PEER_ANONYMOUS;
    case SSL_R_UNSUPPORTED_PROTOCOL:
        return EHIS_E_TLS_VERSION;
    case SSL_R_TLSV1_ALERT_INTERNAL_ERROR:
        return EHIS_E_LINK_PEER_UNABLE;
    default:
        return EHIS_OK; /* the end's own: LINK_TLS */
    }
}

static void end_tls(struct link *l)
{
    unsigned long code = ERR_peek_error();
    const char *reason = ERR_reason_error_string(code);
    long verdict = SSL_get_verify_result(l->ssl);
    bool is_ours = ERR_GET_LIB(code) == ERR_LIB_SSL;
    if (is_ours && ERR_GET_REASON(code) == SSL_R_CERTIFICATE_VERIFY_FAILED && verdict != X509_V_OK)
        reason = X509_verify_cert_error_string(verdict);
    if (is_ours && ERR_GET_REASON(code) == SSL_R_RECORD_TOO_SMALL) { /* OpenSSL's own bound of empty records in a row */
        link_end_now(l, LINK_END_RENEGOTIATION, EHIS_OK, reason);
    } else { /* in TLS 1.3 a client hears of the server's refusal only after its own handshake is done */
        bool is_early = l->state < LINK_OPEN && l->stats.frames_in == 0;
        ehis_err err = is_early && is_ours ? handshake_error(ERR_GET_REASON(code)) : EHIS_OK;
        link_end_now(l, is_early ? LINK_END_HANDSHAKE : LINK_END_TLS, err, reason ? reason : "");
    }
    ERR_clear_error();
}

static void on_peer_closed(struct link *l)
{
    if (l->in.len) {
        link_end_now(l, LINK_END_TRUNCATED, EHIS_OK, "close_notify inside a frame");
        return;
    }
    if (l->out.len == 0) { /* else a record may be half written */
        ERR_clear_error();
        SSL_shutdown(l->ssl); /* at best: the peer waits for it no longer than it likes */
    }
    link_end_now(l, LINK_END_PEER, EHIS_OK, "");
}

/* TLS gave no result: why? */
static void on_stopped(struct link *l, int result)
{
    int error = SSL_get_error(l->ssl, result);
    if (error == SSL_ERROR_WANT_READ) {
        if (l->bio.write_errno)
            end_broken(l, l->bio.write_errno);
    } else if (error == SSL_ERROR_WANT_WRITE) {
        if (l->bio.write_errno) {
            end_broken(l, l->bio.write_errno);
        } else {
            l->is_again = true;
            link_want_write(l, true);
        }
    } else if (error == SSL_ERROR_ZERO_RETURN) {
        on_peer_closed(l);
    } else if (l->bio.read_errno) {
        end_broken(l, l->bio.read_errno);
    } else if (l->bio.is_eof) {
        link_end_now(l, l->state == LINK_HANDSHAKING ? LINK_END_HANDSHAKE : LINK_END_TRUNCATED, EHIS_OK, "the stream ended without close_notify");
    } else {
        end_tls(l);
    }
}

/* OpenSSL has no bound of its own for KeyUpdates. */
void link_count_message(int is_write, int version, int content_type, const void *p, size_t n, SSL *ssl, void *arg)
{
    struct link *l = arg;
    (void)version;
    (void)p;
    (void)n;
    (void)ssl;
    if (is_write)
        return;
    if (content_type == SSL3_RT_HEADER) {
        l->headers++;
        l->stats.records_in++;
    } else if (content_type == SSL3_RT_HANDSHAKE && l->state > LINK_HANDSHAKING) {
        l->key_updates++; /* tickets too */
    }
}

static bool is_over_budget(struct link *l, bool has_content)
{
    if (has_content && l->headers) { /* one of the records brought it; a later part of one comes without a head */
        l->empty_records += l->headers - 1;
        l->headers = 0;
    }
    /* Of those without content so far, the last may be a record that has not arrived whole. */
    unsigned empty = l->empty_records + (l->headers ? l->headers - 1 : 0);
    return l->key_updates > LINK_KEY_UPDATES_MAX || empty > LINK_EMPTY_RECORDS_MAX;
}

/* What the context must have seen to, and where it did not, nobody comes in. */
static const char *handshake_fault(SSL *ssl)
{
    if (SSL_version(ssl) != TLS1_3_VERSION)
        return "not TLS 1.3";
    if (SSL_session_reused(ssl))
        return "a resumed session";
    if (!SSL_get0_peer_certificate(ssl))
        return "no certificate";
    return SSL_get_verify_result(ssl) == X509_V_OK ? NULL : "a certificate that was not verified";
}

static void shake_hands(struct link *l)
{
    ERR_clear_error();
    int result = SSL_do_handshake(l->ssl);
    if (result != 1) {
        on_stopped(l, result);
        return;
    }
    const char *fault = handshake_fault(l->ssl);
    if (fault) {
        link_end_now(l, LINK_END_HANDSHAKE, EHIS_OK, fault);
        return;
    }
    l->headers = 0;
    link_enter(l, LINK_UNTRUSTED);
    struct ehis_why why = {.text = ""};
    ehis_err err = l->events.on_peer ? l->events.on_peer(l->arg, l, l->ssl, &why) : EHIS_OK;
    if (err)
        link_begin_close(l, LINK_END_PEER_REFUSED, err, why.text);
    else if (l->out.len)
        link_schedule(l);
}

/* Hands over the whole frames that are there. */
static void deliver(struct link *l, int64_t now)
{
    while (link_reads(l)) {
        struct frame f;
        bool is_whole;
        ehis_err err = link_input_next(&l->in, l->frame_max, &f, &is_whole);
        if (err) {
            link_fault(l, LINK_END_FRAME, err);
            return;
        }
        if (!is_whole)
            break;
        l->frame_at = 0;
        l->key_updates = l->empty_records = 0;
        l->stats.frames_in++;
        if (!link_ping_take(l, &f))
            l->events.on_frame(l->arg, l, f.type, f.payload);
    }
    if (l->in.len == 0)
        l->frame_at = 0;
    else if (!l->frame_at) /* from its first byte, whatever drips in later */
        l->frame_at = now + l->limits.frame_ms * INT64_C(1000);
}

static void read_records(struct link *l, int64_t now)
{
    uint64_t records = l->stats.records_in;
    for (size_t taken = 0; link_reads(l);) {
        uint8_t *room;
        size_t n;
        if (taken >= l->limits.turn_bytes || l->stats.records_in - records >= LINK_TURN_RECORDS) {
            l->is_again = SSL_has_pending(l->ssl); /* what the kernel holds makes the descriptor readable by itself */
            return;
        }
        ehis_err err = link_input_room(&l->in, l->frame_max, &room, &n);
        if (err) {
            link_end_now(l, LINK_END_LOCAL, err, "");
            return;
        }
        ERR_clear_error();
        unsigned messages = l->key_updates;
        int got = SSL_read(l->ssl, room, (int)n);
        if (is_over_budget(l, got > 0)) {
            link_fault(l, LINK_END_RENEGOTIATION, EHIS_OK);
            return;
        }
        /* Stopped by a message of TLS itself: newer OpenSSL may hold the next records already, and no event tells of those. */
        if (got <= 0 && l->key_updates != messages && SSL_get_error(l->ssl, got) == SSL_ERROR_WANT_READ)
            continue;
        if (got <= 0) {
            if (l->in.len == 0)
                link_input_clear(&l->in); /* an idle connection holds no buffer */
            on_stopped(l, got);
            return;
        }
        taken += (size_t)got;
        link_input_commit(&l->in, (size_t)got);
        deliver(l, now);
    }
}

/* Closing: what the peer still says is of no interest, but unread it would make the kernel cut off our last words. */
static void discard(struct link *l)
{
    uint8_t scratch[4096];
    for (size_t taken = 0; taken < l->limits.turn_bytes;) {
        ssize_t n = recv(l->bio.fd, scratch, sizeof scratch, 0);
        if (n > 0) {
            taken += (size_t)n;
        } else if (n < 0 && errno == EINTR) {
            continue;
        } else {
            if (n == 0 || errno != EAGAIN)
                link_end_now(l, LINK_END_RESET, EHIS_OK, n == 0 ? "the peer left before it was told all" : strerrordesc_np(errno));
            return;
        }
    }
}

void link_pump_read(struct link *l)
{
    uint64_t bytes = l->bio.bytes_in;
    int64_t now = link_now();
    l->bio.is_dry = false;
    l->is_again = false;
    if (l->state == LINK_HANDSHAKING)
        shake_hands(l);
    if (link_reads(l))
        read_records(l, now);
    else if (l->state == LINK_CLOSING || l->state == LINK_LINGERING)
        discard(l);
    if (l->bio.bytes_in != bytes)
        l->heard_at = now;
}

static void say_goodbye(struct link *l)
{
    ERR_clear_error();
    int result = SSL_shutdown(l->ssl);
    if (result >= 0) {
        shutdown(l->bio.fd, SHUT_WR);
        link_enter(l, LINK_LINGERING);
    } else if (SSL_get_error(l->ssl, result) == SSL_ERROR_WANT_WRITE && !l->bio.write_errno) {
        link_want_write(l, true);
    } else {
        ERR_clear_error();
        link_end_now(l, LINK_END_RESET, EHIS_OK, "");
    }
}

/* Output is watched by a mark: all that waits now must have gone at the deadline, whatever is queued behind it meanwhile. */
static void watch_drain(struct link *l)
{
    if (l->out.len == 0) {
        l->drain_at = 0;
    } else if (!l->drain_at || l->sent_total >= l->drain_mark) {
        l->drain_mark = l->queued_total;
        l->drain_at = link_now() + l->limits.drain_ms * INT64_C(1000);
    }
}

/* What could not be written is of no use any more; reading finds out what the peer said last. */
static void on_write_failed(struct link *l)
{
    link_want_write(l, false);
    l->is_again = link_reads(l);
    if (l->is_again)
        link_schedule(l);
    else
        end_broken(l, l->bio.write_errno);
}

static void write_records(struct link *l)
{
    for (size_t put = 0; l->out.len && put < l->limits.turn_bytes;) {
        struct span front = link_output_front(&l->out);
        ERR_clear_error();
        l->bio.has_more = l->out.len > front.len && put + front.len < l->limits.turn_bytes;
        int n = SSL_write(l->ssl, front.p, (int)front.len);
        l->bio.has_more = false;
        if (n <= 0) {
            int error = SSL_get_error(l->ssl, n);
            if (error == SSL_ERROR_WANT_WRITE || error == SSL_ERROR_WANT_READ)
                break;
            end_tls(l);
            return;
        }
        put += (size_t)n;
        l->sent_total += (size_t)n;
        link_output_drop(&l->out, (size_t)n);
    }
}

void link_pump_write(struct link *l)
{
    if (!link_writes(l) || l->bio.write_errno)
        return;
    write_records(l);
    if (!link_writes(l))
        return;
    if (l->bio.write_errno) {
        on_write_failed(l);
        return;
    }
    link_want_write(l, l->out.len > 0);
    watch_drain(l);
    if (l->is_full && l->out.len < l->limits.output_max_bytes / 2) {
        l->is_full = false;
        if (link_reads(l) && l->events.on_room)
            l->events.on_room(l->arg, l);
    }
    if (l->state == LINK_CLOSING && l->out.len == 0)
        say_goodbye(l);
}
