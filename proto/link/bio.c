/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
#include "proto/link/link_priv.h"
#include <errno.h>
#include <pthread.h>
#include <openssl/bio.h>

static pthread_once_t once = PTHREAD_ONCE_INIT;
static BIO_METHOD *method; /* for the life of the process */

static bool is_again(int e) { return e == EAGAIN || e == EWOULDBLOCK; }

static int on_read(BIO *bio, char *p, size_t n, size_t *got)
{
    struct link_bio *b = BIO_get_data(bio);
    ssize_t r = 0;
    BIO_clear_retry_flags(bio);
    *got = 0;
    if (b->is_dry) {
        BIO_set_retry_read(bio);
        return 0;
    }
    do
        r = recv(b->fd, p, n, 0);
    while (r < 0 && errno == EINTR);
    if (r > 0) {
        b->is_dry = (size_t)r < n;
        b->bytes_in += (uint64_t)r;
        *got = (size_t)r;
        return 1;
    }
    if (r < 0 && is_again(errno)) {
        b->is_dry = true;
        BIO_set_retry_read(bio);
    } else if (r < 0) {
        b->read_errno = errno;
    } else {
        b->is_eof = true;
    }
    return 0;
}

static int on_write(BIO *bio, const char *p, size_t n, size_t *put)
{
    struct link_bio *b = BIO_get_data(bio);
    ssize_t r = -1;
    BIO_clear_retry_flags(bio);
    *put = 0;
    if (!b->write_errno) {
        do
            r = send(b->fd, p, n, MSG_NOSIGNAL | (b->has_more ? MSG_MORE : 0));
        while (r < 0 && errno == EINTR);
        if (r < 0 && !is_again(errno))
            b->write_errno = errno;
    }
    if (r < 0) {
        BIO_set_retry_write(bio);
        return 0;
    }
    b->bytes_out += (uint64_t)r;
    *put = (size_t)r;
    return 1;
}

static long on_control(BIO *bio, int what, long number, void *p)
{
    const struct link_bio *b = BIO_get_data(bio);
    (void)number;
    (void)p;
    return what == BIO_CTRL_FLUSH ? 1 : what == BIO_CTRL_EOF ? b->is_eof : 0;
}

static void make_method(void)
{
    method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "link");
    if (method && (!BIO_meth_set_read_ex(method, on_read) || !BIO_meth_set_write_ex(method, on_write) || !BIO_meth_set_ctrl(method, on_control))) {
        BIO_meth_free(method);
        method = NULL;
    }
}

BIO *link_bio_new(struct link_bio *b)
{
    pthread_once(&once, make_method);
    BIO *bio = method ? BIO_new(method) : NULL;
    if (bio) {
        BIO_set_data(bio, b);
        BIO_set_init(bio, 1);
    }
    return bio;
}
