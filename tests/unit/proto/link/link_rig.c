/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
#include "tests/unit/proto/link/link_rig.h"
#include "proto/wire/frame.h"
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <unistd.h>
#include <openssl/err.h>

struct rig rig;
static struct loop_timer *tick;
static bool is_in_verb; /* no callback may come then */

int64_t now_ms(void) { return clock_mono_ms(&clock_system); }

static void on_tick(void *arg) { (void)arg; }

void rig_turn(void)
{
    loop_timer_set(tick, 2000);
    loop_run_once(rig.loop, true);
}

static ehis_err on_peer(void *arg, struct link *l, SSL *ssl, struct ehis_why *why)
{
    struct end *e = arg;
    assert_false(is_in_verb);
    assert_non_null(SSL_get0_peer_certificate(ssl));
    e->link = l;
    e->peers++;
    if (!e->verdict)
        return EHIS_OK;
    if (e->says_error)
        end_send(e, TYPE_ERROR, "no", 2);
    return ehis_fail(why, e->verdict, "not this one");
}

static void on_frame(void *arg, struct link *l, uint8_t type, struct span payload)
{
    struct end *e = arg;
    assert_false(is_in_verb);
    assert_false(e->is_ended);
    e->frames++;
    e->bytes += payload.len;
    e->last_type = type;
    free(e->last);
    e->last = malloc(payload.len + 1);
    if (payload.len)
        memcpy(e->last, payload.p, payload.len);
    e->last_len = payload.len;
    if (e->frames == 1 && !e->is_distrusting)
        link_set_trusted(l, rig.limits.max_frame_bytes);
    if (e->on_frame)
        e->on_frame(e, type, payload);
}

static void on_room(void *arg, struct link *l)
{
    struct end *e = arg;
    assert_false(is_in_verb);
    assert_true(link_output_bytes(l) < rig.limits.output_max_bytes / 2);
    e->rooms++;
}

static void on_fault(void *arg, struct link *l, enum link_end end, ehis_err err)
{
    struct end *e = arg;
    (void)l;
    assert_false(is_in_verb);
    e->is_faulted = true;
    e->end = end;
    e->err = err;
    if (e->says_error)
        end_send(e, TYPE_ERROR, "bad", 3);
}

static void on_end(void *arg, struct link *l, enum link_end end, ehis_err err, const char *detail)
{
    struct end *e = arg;
    assert_false(is_in_verb);
    assert_false(e->is_ended);
    assert_non_null(link_ssl(l));
    if (e->is_faulted)
        assert_int_equal(end, e->end);
    e->is_ended = true;
    e->link = NULL;
    e->end = end;
    e->err = err;
    snprintf(e->detail, sizeof e->detail, "%s", detail);
}

static void on_sigpipe(void (*handler)(int))
{
    struct sigaction action = {.sa_handler = handler};
    sigaction(SIGPIPE, &action, NULL);
}

int rig_start(void **state)
{
    (void)state;
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof in;
    on_sigpipe(SIG_DFL); /* the library may not need it ignored */
    EHIS_ASSERT(loop_new(&rig.loop) == EHIS_OK && loop_timer_new(rig.loop, on_tick, NULL, &tick) == EHIS_OK);
    test_ca_init(&rig.ca, "root");
    rig.server_ctx = test_ca_context(&rig.ca, "ehis-gw:AZ/gw1", true);
    rig.client_ctx = test_ca_context(&rig.ca, "ehis:AZ/GOV/TAX/office", false);
    rig.limits = link_limits_default;
    rig.events = (struct link_events){.on_peer = on_peer, .on_frame = on_frame, .on_room = on_room, .on_fault = on_fault, .on_end = on_end,
                                      .ping_type = TYPE_PING, .pong_type = TYPE_PONG};
    rig.listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    EHIS_ASSERT(bind(rig.listener, (struct sockaddr *)&in, len) == 0 && listen(rig.listener, 1024) == 0);
    EHIS_ASSERT(getsockname(rig.listener, (struct sockaddr *)&in, &len) == 0);
    rig.port = ntohs(in.sin_port);
    return 0;
}

int rig_stop(void **state)
{
    (void)state;
    close(rig.listener);
    SSL_CTX_free(rig.server_ctx);
    SSL_CTX_free(rig.client_ctx);
    test_ca_fini(&rig.ca);
    loop_timer_free(tick);
    loop_free(rig.loop);
    return 0;
}

void rig_accept(struct end *e, int fd)
{
    is_in_verb = true;
    assert_int_equal(link_accept(rig.loop, fd, rig.server_ctx, &rig.limits, &rig.events, e, &e->link), EHIS_OK);
    is_in_verb = false;
}

static struct sockaddr_in address(void)
{
    return (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons(rig.port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
}

void rig_dial(struct end *e)
{
    struct sockaddr_in in = address();
    is_in_verb = true;
    assert_int_equal(link_dial(rig.loop, (struct sockaddr *)&in, sizeof in, rig.client_ctx, &rig.limits, &rig.events, e, &e->link), EHIS_OK);
    is_in_verb = false;
}

void rig_pair(struct end *server, struct end *client)
{
    rig_dial(client);
    rig_accept(server, accept4(rig.listener, NULL, NULL, SOCK_CLOEXEC));
    run_until((server->peers || server->is_ended) && (client->peers || client->is_ended), 30000);
}

void rig_trusted_pair(struct end *server, struct end *client)
{
    rig_pair(server, client);
    end_send(client, TYPE_HELLO, "client", 6);
    end_send(server, TYPE_HELLO, "server", 6);
    run_until(server->frames == 1 && client->frames == 1, 10000);
}

void end_send(struct end *e, uint8_t type, const void *p, size_t n)
{
    struct span part = span_of(p, n);
    bool was = is_in_verb;
    is_in_verb = true;
    assert_int_equal(link_send(e->link, type, &part, 1), EHIS_OK);
    is_in_verb = was;
}

void end_fini(struct end *e)
{
    if (e->link) {
        is_in_verb = true;
        link_abort(e->link);
        is_in_verb = false;
        run_until(e->is_ended, 1000);
    }
    free(e->last);
    e->last = NULL;
}

void raw_open(struct raw *r, struct end *server, SSL_CTX *ctx)
{
    struct sockaddr_in in = address();
    r->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(r->fd, (struct sockaddr *)&in, sizeof in), 0);
    assert_int_equal(fcntl(r->fd, F_SETFL, O_NONBLOCK), 0);
    rig_accept(server, accept4(rig.listener, NULL, NULL, SOCK_CLOEXEC));
    r->ssl = SSL_new(ctx);
    SSL_set_fd(r->ssl, r->fd);
    SSL_set_connect_state(r->ssl);
}

bool raw_shake(struct raw *r)
{
    for (int64_t until = now_ms() + 3000; now_ms() < until; rig_turn()) {
        ERR_clear_error();
        int n = SSL_do_handshake(r->ssl);
        if (n == 1)
            return true;
        int error = SSL_get_error(r->ssl, n);
        if (error != SSL_ERROR_WANT_READ && error != SSL_ERROR_WANT_WRITE)
            return false;
    }
    return false;
}

void raw_open_trusted(struct raw *r, struct end *server, SSL_CTX *ctx)
{
    uint8_t hello[64];
    raw_open(r, server, ctx);
    assert_true(raw_shake(r));
    raw_write(r, hello, raw_frame(hello, TYPE_HELLO, 5));
    run_until(server->frames == 1, 10000);
}

void raw_write(struct raw *r, const void *p, size_t n)
{
    const uint8_t *at = p;
    on_sigpipe(SIG_IGN); /* this end is OpenSSL's own */
    for (int64_t until = now_ms() + 5000; n && now_ms() < until;) {
        ERR_clear_error();
        int put = SSL_write(r->ssl, at, (int)(n > 16384 ? 16384 : n));
        if (put > 0) {
            at += put;
            n -= (size_t)put;
        } else if (SSL_get_error(r->ssl, put) != SSL_ERROR_WANT_WRITE) {
            break;
        } else {
            rig_turn();
        }
    }
    on_sigpipe(SIG_DFL);
}

size_t raw_frame(uint8_t *out, uint8_t type, size_t payload)
{
    assert_int_equal(frame_head(type, payload, FRAME_MAX_BYTES_LIMIT, out), EHIS_OK);
    memset(out + FRAME_HEAD_BYTES, 'x', payload);
    return FRAME_HEAD_BYTES + payload;
}

int raw_read(struct raw *r, void *p, size_t n)
{
    ERR_clear_error();
    return SSL_read(r->ssl, p, (int)n);
}

void raw_close(struct raw *r)
{
    SSL_free(r->ssl);
    close(r->fd);
}

void expect_end(struct end *e, enum link_end end, ehis_err err, int ms)
{
    run_until(e->is_ended, ms);
    assert_string_equal(link_end_name(e->end), link_end_name(end));
    assert_int_equal(e->err, err);
}
