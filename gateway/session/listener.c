/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
#include "base/log.h"
#include "gateway/session/sessions_priv.h"
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#define ACCEPTS_PER_TURN 50
#define PAUSE_US 100000

/* The network address alone, without the port: what half_open_per_source counts. */
static size_t source_length(const char *address)
{
    const char *colon = strrchr(address, ':');
    return colon ? (size_t)(colon - address) : strlen(address);
}

static bool is_over_half_open(const struct sessions *s, const char *address)
{
    if (s->status.half_open >= s->limits.half_open_max)
        return true;
    uint32_t same = 0;
    size_t n = source_length(address);
    for (const struct session *x = s->live; x; x = x->next) {
        const char *other = x->is_half_open && x->link ? link_peer_address(x->link) : NULL;
        same += other && source_length(other) == n && memcmp(other, address, n) == 0;
    }
    return same > s->limits.half_open_per_source;
}

static void take(struct sessions *s, int fd)
{
    struct session *x = calloc(1, sizeof *x);
    if (!x || !s->identity.tls || s->status.sessions >= s->limits.sessions_max) {
        free(x);
        close(fd);
        s->status.refused++;
        return;
    }
    x->all = s;
    x->held_end = &x->held;
    x->is_half_open = true;
    if (link_accept(s->loop, fd, s->identity.tls, &s->limits.link, &session_events, x, &x->link) != EHIS_OK) {
        free(x);
        s->status.refused++;
        return;
    }
    x->next = s->live;
    if (s->live)
        s->live->prev = x;
    s->live = x;
    s->status.sessions++;
    s->status.half_open++;
    if (is_over_half_open(s, link_peer_address(x->link))) {
        s->status.refused++;
        link_abort(x->link);
    }
}

static void on_again(void *arg)
{
    struct sessions *s = arg;
    for (size_t i = 0; i < s->listener_count && !s->is_draining; i++)
        loop_io_want(s->listeners[i].io, LOOP_READ);
}

/* No descriptors left: live sessions go on, new ones wait; no spinning on a readable listener. */
static void pause_listening(struct sessions *s)
{
    for (size_t i = 0; i < s->listener_count; i++)
        loop_io_want(s->listeners[i].io, 0);
    if (s->accept_again || loop_timer_new(s->loop, on_again, s, &s->accept_again) == EHIS_OK)
        loop_timer_set(s->accept_again, PAUSE_US);
}

static void on_acceptable(void *arg, int what)
{
    struct sessions *s = arg;
    (void)what;
    for (size_t i = 0; i < s->listener_count; i++) {
        for (int n = 0; n < ACCEPTS_PER_TURN; n++) {
            int fd = accept4(s->listeners[i].fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
            if (fd >= 0) {
                take(s, fd);
            } else if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
                log_line(LOG_WARN, "listener.pause", F_STR("reason", strerror(errno)));
                pause_listening(s);
                return;
            } else if (errno != EINTR && errno != ECONNABORTED) {
                break;
            }
        }
    }
}

static ehis_err split_address(const char *address, char host[128], const char **port, struct ehis_why *why)
{
    const char *colon = strrchr(address, ':');
    size_t n = colon ? (size_t)(colon - address) : 0;
    if (!colon || n == 0 || n >= 128)
        return ehis_fail(why, EHIS_E_SETTINGS, "listen: %s is not host:port", address);
    bool is_bracketed = address[0] == '[' && address[n - 1] == ']';
    memcpy(host, address + is_bracketed, n - 2 * is_bracketed);
    host[n - 2 * (size_t)is_bracketed] = '\0';
    *port = colon + 1;
    return EHIS_OK;
}

static ehis_err find_address(const char *address, struct addrinfo **found, struct ehis_why *why)
{
    char host[128];
    const char *port;
    uint64_t number;
    struct addrinfo hints = {.ai_flags = AI_PASSIVE | AI_NUMERICHOST | AI_NUMERICSERV, .ai_socktype = SOCK_STREAM};
    EHIS_TRY(split_address(address, host, &port, why));
    if (decimal_from_text(span_str(port), 65535, &number) != EHIS_OK)
        return ehis_fail(why, EHIS_E_SETTINGS, "listen: %s: the port is not a number up to 65535", address);
    int problem = getaddrinfo(host, port, &hints, found);
    return problem == 0 ? EHIS_OK : ehis_fail(why, EHIS_E_SETTINGS, "listen: %s: %s", address, gai_strerror(problem));
}

ehis_err sessions_check_address(const char *address, struct ehis_why *why)
{
    struct addrinfo *found;
    EHIS_TRY(find_address(address, &found, why));
    freeaddrinfo(found);
    return EHIS_OK;
}

ehis_err sessions_listen(struct sessions *s, const char *address, struct ehis_why *why)
{
    struct addrinfo *found = NULL;
    if (s->listener_count == LISTENERS_MAX)
        return ehis_fail(why, EHIS_E_SETTINGS, "listen: more than %d addresses", LISTENERS_MAX);
    EHIS_TRY(find_address(address, &found, why));
    int fd = socket(found->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), on = 1;
    bool is_up = fd >= 0 && setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) == 0 && bind(fd, found->ai_addr, found->ai_addrlen) == 0 &&
                 listen(fd, 1024) == 0;
    struct sockaddr_storage bound = {0};
    socklen_t bound_len = sizeof bound;
    char bound_port[16] = "";
    if (is_up && getsockname(fd, (struct sockaddr *)&bound, &bound_len) == 0)
        (void)getnameinfo((struct sockaddr *)&bound, bound_len, NULL, 0, bound_port, sizeof bound_port, NI_NUMERICSERV);
    freeaddrinfo(found);
    ehis_err err = is_up ? EHIS_OK : ehis_fail(why, EHIS_E_IO, "listen on %s: %s", address, strerror(errno));
    if (err == EHIS_OK)
        err = loop_io_new(s->loop, fd, on_acceptable, s, &s->listeners[s->listener_count].io);
    if (err != EHIS_OK) {
        if (fd >= 0)
            close(fd);
        return err;
    }
    s->listeners[s->listener_count++].fd = fd;
    loop_io_want(s->listeners[s->listener_count - 1].io, LOOP_READ);
    log_line(LOG_NOTICE, "listener.open", F_STR("address", address), F_STR("port", bound_port));
    return EHIS_OK;
}
