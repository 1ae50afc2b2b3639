/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* Life of a connection: its states, its ends, and the verbs. */
#include "proto/link/link_priv.h"
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

const struct link_limits link_limits_default = {
    .max_frame_bytes = FRAME_MAX_BYTES_DEFAULT,
    .first_frame_max_bytes = 4096,
    .output_max_bytes = 4 * 1024 * 1024,
    .handshake_ms = 5000,
    .first_frame_ms = 5000,
    .frame_ms = 30000,
    .drain_ms = 15000,
    .ping_every_ms = 5000,
    .ping_timeout_ms = 15000,
    .turn_bytes = 160 * 1024,
};

#define NO_DEADLINE SIZE_MAX
#define MAY(state) (1u << LINK_##state)
static const struct state_row {
    const char *name;
    size_t deadline; /* offset of its milliseconds in the limits */
    unsigned may_enter;
    bool is_reading, is_writing;
} states[LINK_STATE_COUNT] = {
    [LINK_CONNECTING] = {"connecting", offsetof(struct link_limits, handshake_ms), MAY(HANDSHAKING) | MAY(ENDED), false, false},
    [LINK_HANDSHAKING] = {"handshaking", offsetof(struct link_limits, handshake_ms), MAY(UNTRUSTED) | MAY(ENDED), false, false},
    [LINK_UNTRUSTED] = {"untrusted", offsetof(struct link_limits, first_frame_ms), MAY(OPEN) | MAY(CLOSING) | MAY(ENDED), true, true},
    [LINK_OPEN] = {"open", NO_DEADLINE, MAY(CLOSING) | MAY(ENDED), true, true},
    [LINK_CLOSING] = {"closing", offsetof(struct link_limits, drain_ms), MAY(LINGERING) | MAY(ENDED), false, true},
    [LINK_LINGERING] = {"lingering", NO_DEADLINE, MAY(ENDED), false, false},
    [LINK_ENDED] = {"ended", NO_DEADLINE, 0, false, false},
};

static const struct end_row {
    const char *name;
    ehis_err err;
} ends[LINK_END_COUNT] = {
    [LINK_END_LOCAL] = {"local", EHIS_OK},
    [LINK_END_PEER] = {"peer", EHIS_OK},
    [LINK_END_TRUNCATED] = {"truncated", EHIS_E_LINK_TRUNCATED},
    [LINK_END_RESET] = {"reset", EHIS_E_LINK_RESET},
    [LINK_END_CONNECT] = {"connect", EHIS_E_LINK_RESET},
    [LINK_END_HANDSHAKE] = {"handshake", EHIS_E_LINK_TLS},
    [LINK_END_PEER_REFUSED] = {"peer_refused", EHIS_E_LINK_TLS},
    [LINK_END_HANDSHAKE_TIMEOUT] = {"handshake_timeout", EHIS_E_LINK_TIMEOUT},
    [LINK_END_FIRST_FRAME_TIMEOUT] = {"first_frame_timeout", EHIS_E_LINK_TIMEOUT},
    [LINK_END_FRAME_TIMEOUT] = {"frame_timeout", EHIS_E_LINK_TIMEOUT},
    [LINK_END_PING_TIMEOUT] = {"ping_timeout", EHIS_E_LINK_TIMEOUT},
    [LINK_END_DRAIN_TIMEOUT] = {"drain_timeout", EHIS_E_LINK_TIMEOUT},
    [LINK_END_FRAME] = {"frame", EHIS_E_FRAME_TOO_LARGE},
    [LINK_END_PROTOCOL] = {"protocol", EHIS_E_PROTOCOL_ORDER},
    [LINK_END_OUTPUT_FULL] = {"output_full", EHIS_E_LINK_FULL},
    [LINK_END_RENEGOTIATION] = {"renegotiation", EHIS_E_LINK_KEY_UPDATES},
    [LINK_END_TLS] = {"tls", EHIS_E_LINK_TLS},
};

const char *link_end_name(enum link_end e) { return (unsigned)e < LINK_END_COUNT ? ends[e].name : "unknown"; }
bool link_reads(const struct link *l) { return states[l->state].is_reading; }
bool link_writes(const struct link *l) { return states[l->state].is_writing; }

void link_enter(struct link *l, enum link_state state)
{
    EHIS_ASSERT(states[l->state].may_enter & 1u << state);
    l->state = state;
    l->state_at = 0;
    if (states[state].deadline != NO_DEADLINE) {
        uint32_t ms;
        memcpy(&ms, (const char *)&l->limits + states[state].deadline, sizeof ms);
        l->state_at = link_now() + ms * INT64_C(1000);
    } else if (state == LINK_LINGERING) {
        l->state_at = link_now() + LINK_LINGER_MS * INT64_C(1000);
    }
    if (!states[state].is_reading) {
        l->frame_at = l->drain_at = l->ping_at = 0; /* of a running connection alone */
        l->is_again = false;
    }
}

static void set_end(struct link *l, enum link_end end, ehis_err err, const char *detail)
{
    l->end = end;
    l->end_err = err ? err : ends[end].err;
    snprintf(l->detail, sizeof l->detail, "%s", detail ? detail : "");
}

void link_end_now(struct link *l, enum link_end end, ehis_err err, const char *detail)
{
    if (l->state == LINK_ENDED)
        return;
    bool has_reason = l->state == LINK_LINGERING || (l->state == LINK_CLOSING && (l->end != LINK_END_LOCAL || !l->out.len));
    if (!has_reason)
        set_end(l, end, err, detail);
    link_enter(l, LINK_ENDED);
    event_del(&l->readable);
    event_del(&l->writable);
    event_del(&l->timer);
    link_output_clear(&l->out);
    link_schedule(l);
}

void link_begin_close(struct link *l, enum link_end end, ehis_err err, const char *detail)
{
    if (l->state == LINK_CONNECTING || l->state == LINK_HANDSHAKING) {
        link_end_now(l, end, err, detail);
    } else if (link_reads(l)) {
        set_end(l, end, err, detail);
        link_enter(l, LINK_CLOSING);
        link_schedule(l);
    }
}

void link_fault(struct link *l, enum link_end end, ehis_err err)
{
    if (l->events.on_fault && link_reads(l))
        l->events.on_fault(l->arg, l, end, err ? err : ends[end].err);
    link_begin_close(l, end, err, "");
}

static void link_free(struct link *l)
{
    if (!l)
        return;
    if (l->loop) { /* the events are set up */
        event_del(&l->readable);
        event_del(&l->writable);
        event_del(&l->timer);
    }
    SSL_free(l->ssl);
    link_input_clear(&l->in);
    link_output_clear(&l->out);
    uint8_t scratch[4096];
    shutdown(l->bio.fd, SHUT_WR);
    (void)!recv(l->bio.fd, scratch, sizeof scratch, MSG_DONTWAIT); /* left unread it would make the kernel take back our last alert */
    close(l->bio.fd);
    free(l);
}

static void on_last(void *arg)
{
    struct link *l = arg;
    if (l->is_again)
        link_pump_read(l);
    link_pump_write(l);
    if (l->state == LINK_ENDED) {
        l->events.on_end(l->arg, l, l->end, l->end_err, l->detail);
        link_free(l);
        return;
    }
    if (!link_reads(l))
        link_input_clear(&l->in); /* not before: the frame that led here may have been in it */
    l->is_scheduled = false;
    if (l->is_again && !l->is_write_wanted) /* not when TLS waits for the descriptor */
        link_schedule(l);
    else if (l->out.len && !l->is_write_wanted && link_writes(l) && !l->bio.write_errno) /* queued by on_room, say */
        link_schedule(l);
    link_arm(l);
}

void link_schedule(struct link *l)
{
    if (l->is_scheduled)
        return;
    l->is_scheduled = true;
    loop_last(l->loop, on_last, l);
}

void link_want_write(struct link *l, bool is_wanted)
{
    if (l->is_write_wanted == is_wanted)
        return;
    l->is_write_wanted = is_wanted;
    if (is_wanted)
        EHIS_ASSERT(event_add(&l->writable, NULL) == 0);
    else
        event_del(&l->writable);
}

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
    struct link *l = arg;
    (void)fd;
    (void)what;
    link_pump_read(l);
    if (l->is_again && !l->is_write_wanted)
        link_schedule(l);
    link_arm(l);
}

static void on_connected(struct link *l)
{
    int error = 0;
    socklen_t len = sizeof error;
    link_want_write(l, false);
    if (getsockopt(l->bio.fd, SOL_SOCKET, SO_ERROR, &error, &len) != 0)
        error = errno;
    if (error) {
        link_end_now(l, LINK_END_CONNECT, EHIS_OK, strerrordesc_np(error));
        return;
    }
    link_enter(l, LINK_HANDSHAKING);
    EHIS_ASSERT(event_add(&l->readable, NULL) == 0);
    link_pump_read(l);
}

static void on_writable(evutil_socket_t fd, short what, void *arg)
{
    struct link *l = arg;
    (void)fd;
    (void)what;
    if (l->state == LINK_CONNECTING) {
        on_connected(l);
    } else {
        if (l->is_again) { /* TLS wanted to write in order to read */
            link_want_write(l, false);
            link_pump_read(l);
        }
        link_pump_write(l);
    }
    link_arm(l);
}

static void describe(const struct sockaddr *address, socklen_t len, char *out, size_t n)
{
    char ip[INET6_ADDRSTRLEN] = "";
    if (address->sa_family == AF_INET && len >= sizeof(struct sockaddr_in)) {
        struct sockaddr_in in;
        memcpy(&in, address, sizeof in);
        inet_ntop(AF_INET, &in.sin_addr, ip, sizeof ip);
        snprintf(out, n, "%s:%u", ip, ntohs(in.sin_port));
    } else if (address->sa_family == AF_INET6 && len >= sizeof(struct sockaddr_in6)) {
        struct sockaddr_in6 in6;
        memcpy(&in6, address, sizeof in6);
        inet_ntop(AF_INET6, &in6.sin6_addr, ip, sizeof ip);
        snprintf(out, n, "[%s]:%u", ip, ntohs(in6.sin6_port));
    } else {
        snprintf(out, n, "local");
    }
}

static ehis_err set_up_tls(struct link *l, SSL_CTX *ctx, bool is_client)
{
    l->ssl = SSL_new(ctx);
    BIO *bio = l->ssl ? link_bio_new(&l->bio) : NULL;
    if (!bio)
        return EHIS_E_NO_MEMORY;
    SSL_set_bio(l->ssl, bio, bio);
    SSL_clear_mode(l->ssl, SSL_MODE_AUTO_RETRY);
    SSL_set_mode(l->ssl, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_RELEASE_BUFFERS);
    SSL_set_options(l->ssl, SSL_OP_NO_RENEGOTIATION);
    SSL_clear_options(l->ssl, SSL_OP_IGNORE_UNEXPECTED_EOF);
    SSL_set_min_proto_version(l->ssl, TLS1_3_VERSION);
    SSL_set_read_ahead(l->ssl, 1); /* one recv a record instead of two */
    SSL_set_msg_callback(l->ssl, link_count_message);
    SSL_set_msg_callback_arg(l->ssl, l);
    if (is_client)
        SSL_set_connect_state(l->ssl);
    else
        SSL_set_accept_state(l->ssl);
    return EHIS_OK;
}

/* Everything but the connection itself. On success the timer for the first state is set. */
static ehis_err link_new(struct loop *loop, int fd, SSL_CTX *ctx, bool is_client, const struct link_limits *limits,
                         const struct link_events *events, void *arg, struct link **out)
{
    struct event_base *base = loop_base(loop);
    struct link *l = calloc(1, sizeof *l);
    ehis_err err = EHIS_E_NO_MEMORY;
    if (!l) {
        close(fd);
        return err;
    }
    l->bio.fd = fd;
    l->limits = *limits;
    l->events = *events;
    l->arg = arg;
    l->frame_max = limits->first_frame_max_bytes < limits->max_frame_bytes ? limits->first_frame_max_bytes : limits->max_frame_bytes;
    l->send_max = FRAME_MAX_BYTES_LIMIT;
    l->state = is_client ? LINK_CONNECTING : LINK_HANDSHAKING;
    l->state_at = link_now() + limits->handshake_ms * INT64_C(1000);
    int on = 1;
    unsigned timeout_ms = limits->ping_timeout_ms;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on); /* not every descriptor is TCP: the PING is there as well */
    setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &timeout_ms, sizeof timeout_ms);
    int flags = fcntl(fd, F_GETFL);
    if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) != 0 || fcntl(fd, F_SETFD, FD_CLOEXEC) != 0) {
        err = EHIS_E_IO;
        goto out;
    }
    if ((err = set_up_tls(l, ctx, is_client)) != EHIS_OK)
        goto out;
    err = EHIS_E_NO_MEMORY;
    if (event_assign(&l->readable, base, fd, EV_READ | EV_PERSIST, on_readable, l) != 0 ||
        event_assign(&l->writable, base, fd, EV_WRITE | EV_PERSIST, on_writable, l) != 0 ||
        event_assign(&l->timer, base, -1, 0, link_on_timer, l) != 0)
        goto out;
    l->loop = loop;
    if (event_add(is_client ? &l->writable : &l->readable, NULL) != 0)
        goto out;
    l->is_write_wanted = is_client;
    link_arm(l);
    *out = l;
    return EHIS_OK;
out:
    link_free(l);
    return err;
}

ehis_err link_accept(struct loop *loop, int fd, SSL_CTX *ctx, const struct link_limits *limits, const struct link_events *events, void *arg,
                     struct link **out)
{
    struct sockaddr_storage peer = {0};
    socklen_t len = sizeof peer;
    if (getpeername(fd, (struct sockaddr *)&peer, &len) != 0)
        peer.ss_family = AF_UNSPEC; /* gone already: reading will say so */
    EHIS_TRY(link_new(loop, fd, ctx, false, limits, events, arg, out));
    describe((struct sockaddr *)&peer, sizeof peer, (*out)->address, sizeof (*out)->address);
    return EHIS_OK;
}

ehis_err link_dial(struct loop *loop, const struct sockaddr *address, socklen_t address_len, SSL_CTX *ctx, const struct link_limits *limits,
                   const struct link_events *events, void *arg, struct link **out)
{
    int fd = socket(address->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return EHIS_E_IO;
    EHIS_TRY(link_new(loop, fd, ctx, true, limits, events, arg, out));
    describe(address, address_len, (*out)->address, sizeof (*out)->address);
    int error = connect(fd, address, address_len) == 0 ? 0 : errno;
    if (error && error != EINPROGRESS)
        link_end_now(*out, LINK_END_CONNECT, EHIS_OK, strerrordesc_np(error));
    return EHIS_OK;
}

ehis_err link_queue(struct link *l, uint8_t type, const struct span *parts, size_t count, size_t bound)
{
    uint8_t head[FRAME_HEAD_BYTES];
    size_t n = 0, total;
    if (l->state >= LINK_CLOSING)
        return EHIS_E_LINK_ENDED;
    for (size_t i = 0; i < count; i++)
        if (!size_add(n, parts[i].len, &n))
            return EHIS_E_TOO_LARGE;
    EHIS_TRY(frame_head(type, n, l->send_max, head));
    if (!size_add(n, sizeof head, &total) || !size_add(total, l->out.len, &total) || total > bound) {
        l->is_full = true;
        return EHIS_E_LINK_FULL;
    }
    EHIS_TRY(link_output_reserve(&l->out, sizeof head + n));
    link_output_put(&l->out, head, sizeof head);
    for (size_t i = 0; i < count; i++)
        link_output_put(&l->out, parts[i].p, parts[i].len);
    l->queued_total += sizeof head + n;
    l->stats.frames_out++;
    if (!l->is_write_wanted) /* else it goes when the descriptor takes more */
        link_schedule(l);
    return EHIS_OK;
}

ehis_err link_send(struct link *l, uint8_t type, const struct span *parts, size_t count)
{
    return link_queue(l, type, parts, count, l->limits.output_max_bytes);
}

size_t link_output_bytes(const struct link *l) { return l->out.len; }

void link_set_trusted(struct link *l, size_t max_frame_bytes)
{
    if (!link_reads(l))
        return;
    l->frame_max = max_frame_bytes < l->limits.max_frame_bytes ? max_frame_bytes : l->limits.max_frame_bytes;
    if (l->state != LINK_UNTRUSTED)
        return;
    SSL_set_default_read_buffer_len(l->ssl, LINK_READ_BYTES);
    link_enter(l, LINK_OPEN);
    link_ping_start(l);
    link_schedule(l); /* sets the timer */
}

void link_set_send_max(struct link *l, size_t max_frame_bytes) { l->send_max = max_frame_bytes; }
void link_close(struct link *l) { link_begin_close(l, LINK_END_LOCAL, EHIS_OK, ""); }
void link_fail(struct link *l, ehis_err err) { link_begin_close(l, LINK_END_PROTOCOL, err, ""); }
void link_abort(struct link *l) { link_end_now(l, LINK_END_LOCAL, EHIS_OK, ""); }
const char *link_peer_address(const struct link *l) { return l->address; }
SSL *link_ssl(const struct link *l) { return l->ssl; }

void link_stats(const struct link *l, struct link_stats *out)
{
    *out = l->stats;
    out->bytes_in = l->bio.bytes_in;
    out->bytes_out = l->bio.bytes_out;
}
