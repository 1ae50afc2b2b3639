/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
#include "gateway/admin/admin.h"
#include <errno.h>
#include <event2/buffer.h>
#include <event2/http.h>
#include <event2/listener.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define ANSWER_MAX_BYTES (16 * 1024 * 1024)
#define REQUEST_MAX_BYTES 4096
#define TIMEOUT_S 5
#define PAUSE_US 1000000

struct admin {
    struct evhttp *http;
    struct evconnlistener *listener;
    struct loop_timer *again;
    struct admin_source source;
    char *path;
    dev_t device;
    ino_t inode;
};

static void answer(struct evhttp_request *request, ehis_err (*make)(void *, struct buf *), void *ctx, const char *type)
{
    struct buf body;
    buf_init(&body, ANSWER_MAX_BYTES);
    if (make(ctx, &body) == EHIS_OK) {
        struct span s = buf_span(&body);
        evhttp_add_header(evhttp_request_get_output_headers(request), "Content-Type", type);
        evbuffer_add(evhttp_request_get_output_buffer(request), s.p, s.len);
        evhttp_send_reply(request, HTTP_OK, "OK", NULL);
    } else {
        evhttp_send_error(request, HTTP_INTERNAL, NULL);
    }
    buf_fini(&body);
}

static void on_status(struct evhttp_request *request, void *arg)
{
    struct admin *a = arg;
    answer(request, a->source.status, a->source.ctx, "application/json");
}

static void on_metrics(struct evhttp_request *request, void *arg)
{
    struct admin *a = arg;
    answer(request, a->source.metrics, a->source.ctx, "text/plain; version=0.0.4");
}

/* No descriptors left: who asks waits for the next second; no spinning on a readable listener. */
static void on_accept_failed(struct evconnlistener *listener, void *http)
{
    (void)http;
    evconnlistener_disable(listener);
}

static void on_again(void *arg)
{
    struct admin *a = arg;
    evconnlistener_enable(a->listener);
    loop_timer_set(a->again, PAUSE_US);
}

static ehis_err listen_on(struct admin *a, int fd)
{
    struct evhttp_bound_socket *bound = evhttp_accept_socket_with_handle(a->http, fd);
    if (!bound) {
        close(fd);
        return EHIS_E_IO;
    }
    a->listener = evhttp_bound_socket_get_listener(bound);
    evconnlistener_set_error_cb(a->listener, on_accept_failed);
    loop_timer_set(a->again, PAUSE_US);
    return EHIS_OK;
}

static ehis_err address_of(const char *path, struct sockaddr_un *out, struct ehis_why *why)
{
    *out = (struct sockaddr_un){.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof out->sun_path)
        return ehis_fail(why, EHIS_E_TOO_LARGE, "a socket's path has at most %zu bytes: %s", sizeof out->sun_path - 1, path);
    memcpy(out->sun_path, path, strlen(path));
    return EHIS_OK;
}

static int connect_to(const struct sockaddr_un *address)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd >= 0 && connect(fd, (const struct sockaddr *)address, sizeof *address) == 0)
        return fd;
    const int saved = errno;
    if (fd >= 0)
        close(fd);
    errno = saved;
    return -1;
}

static ehis_err bind_socket(const char *path, int *out, struct ehis_why *why)
{
    struct sockaddr_un address;
    EHIS_TRY(address_of(path, &address, why));
    int other = connect_to(&address);
    if (other >= 0) {
        close(other);
        return ehis_fail(why, EHIS_E_LOCKED, "somebody answers on %s", path);
    }
    struct stat old;
    if (lstat(path, &old) == 0 && S_ISSOCK(old.st_mode))
        unlink(path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    mode_t before = umask(0177);
    bool is_up = fd >= 0 && bind(fd, (const struct sockaddr *)&address, sizeof address) == 0 && listen(fd, 16) == 0;
    umask(before);
    if (!is_up) {
        ehis_err err = ehis_fail(why, EHIS_E_IO, "%s: %s", path, strerror(errno));
        if (fd >= 0)
            close(fd);
        return err;
    }
    *out = fd;
    return EHIS_OK;
}

ehis_err admin_start(struct loop *loop, const char *path, const struct admin_source *source, struct admin **out, struct ehis_why *why)
{
    int fd = -1;
    struct stat st;
    struct admin *a = calloc(1, sizeof *a);
    if (!a)
        return EHIS_E_NO_MEMORY;
    a->source = *source;
    a->http = evhttp_new(loop_base(loop));
    a->path = strdup(path);
    ehis_err err = a->http && a->path ? loop_timer_new(loop, on_again, a, &a->again) : EHIS_E_NO_MEMORY;
    if (err == EHIS_OK)
        err = bind_socket(path, &fd, why);
    if (err != EHIS_OK) {
        if (a->http)
            evhttp_free(a->http);
        loop_timer_free(a->again);
        free(a->path);
        free(a);
        return err;
    }
    if (stat(path, &st) == 0) {
        a->device = st.st_dev;
        a->inode = st.st_ino;
    }
    evhttp_set_allowed_methods(a->http, EVHTTP_REQ_GET);
    evhttp_set_timeout(a->http, TIMEOUT_S);
    evhttp_set_max_headers_size(a->http, REQUEST_MAX_BYTES);
    evhttp_set_max_body_size(a->http, 0);
    evhttp_set_cb(a->http, "/status", on_status, a);
    evhttp_set_cb(a->http, "/metrics", on_metrics, a);
    err = listen_on(a, fd);
    if (err != EHIS_OK) {
        admin_stop(a);
        return err;
    }
    *out = a;
    return EHIS_OK;
}

void admin_stop(struct admin *a)
{
    struct stat now;
    if (!a)
        return;
    evhttp_free(a->http);
    loop_timer_free(a->again);
    if (stat(a->path, &now) == 0 && now.st_dev == a->device && now.st_ino == a->inode)
        unlink(a->path);
    free(a->path);
    free(a);
}

static ehis_err exchange_bytes(int fd, const char *target, struct buf *out)
{
    char request[256];
    int n = snprintf(request, sizeof request, "GET %s HTTP/1.0\r\nHost: localhost\r\n\r\n", target);
    if (n < 0 || (size_t)n >= sizeof request || send(fd, request, (size_t)n, MSG_NOSIGNAL) != n)
        return EHIS_E_LINK_RESET;
    for (;;) {
        uint8_t *room;
        EHIS_TRY(buf_reserve(out, 16384, &room));
        ssize_t got = recv(fd, room, 16384, 0);
        if (got < 0)
            return errno == EAGAIN ? EHIS_E_TIMEOUT : EHIS_E_LINK_RESET;
        if (got == 0)
            return EHIS_OK;
        buf_commit(out, (size_t)got);
    }
}

ehis_err admin_get(const char *path, const char *target, struct buf *out, struct ehis_why *why)
{
    struct sockaddr_un address;
    struct buf answer_bytes;
    struct timeval wait = {.tv_sec = TIMEOUT_S};
    EHIS_TRY(address_of(path, &address, why));
    int fd = connect_to(&address);
    if (fd < 0)
        return errno == EACCES ? ehis_fail(why, EHIS_E_PERMISSION, "%s: only the gateway's own user may ask", path)
                               : ehis_fail(why, EHIS_E_LINK_RESET, "nobody answers on %s: %s", path, strerror(errno));
    buf_init(&answer_bytes, ANSWER_MAX_BYTES);
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof wait);
    ehis_err err = exchange_bytes(fd, target, &answer_bytes);
    close(fd);
    struct span s = buf_span(&answer_bytes);
    const uint8_t *body = err == EHIS_OK && s.len ? memmem(s.p, s.len, "\r\n\r\n", 4) : NULL;
    if (err == EHIS_OK && (!body || s.len < 12 || memcmp(s.p + 9, "200", 3) != 0))
        err = ehis_fail(why, EHIS_E_IO, "an answer that is not HTTP 200");
    if (err == EHIS_OK)
        err = buf_put(out, body + 4, s.len - (size_t)(body + 4 - s.p));
    buf_fini(&answer_bytes);
    return err;
}
