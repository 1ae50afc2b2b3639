/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* Two ends on one loop: links that note what happens to them, and a raw TLS peer that does what no link would. */
#pragma once
#include "proto/link/link.h"
#include "tests/support/test_certs.h"
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

enum { TYPE_HELLO = 1, TYPE_PING = 2, TYPE_PONG = 3, TYPE_ERROR = 4, TYPE_DATA = 15 };

/* One end and all that it has seen. Zeroed, then filled by rig_*. */
struct end {
    struct link *link; /* NULL after its end */
    const char *name;
    size_t frames, bytes, rooms, peers;
    uint8_t last_type;
    uint8_t *last; /* copy of the last payload */
    size_t last_len;
    bool is_ended, is_distrusting; /* distrusting: link_set_trusted is not called at the first frame */
    enum link_end end;
    ehis_err err;
    char detail[160];
    bool is_faulted;
    ehis_err verdict; /* to be given by on_peer */
    bool says_error;  /* sends an ERROR frame before a verdict and on a fault */
    void (*on_frame)(struct end *e, uint8_t type, struct span payload); /* may be NULL */
};

struct rig {
    struct loop *loop;
    struct test_ca ca;
    SSL_CTX *server_ctx, *client_ctx;
    struct link_limits limits;
    struct link_events events;
    int listener;
    uint16_t port;
};
extern struct rig rig;

int rig_start(void **state);
int rig_stop(void **state);
void rig_accept(struct end *e, int fd);
void rig_dial(struct end *e);
/* Dials and accepts; returns when both have had their verdict. */
void rig_pair(struct end *server, struct end *client);
/* The same, trusted on both sides: each has sent a HELLO and taken one. */
void rig_trusted_pair(struct end *server, struct end *client);
void end_send(struct end *e, uint8_t type, const void *p, size_t n); /* must succeed */
void end_fini(struct end *e);                                        /* aborts its link, runs the loop until it has ended */
int64_t now_ms(void);

/* Runs the loop until the condition holds, at most ms. */
void rig_turn(void); /* one turn of at most 2 ms */
#define run_until(cond, ms)                                      \
    do {                                                         \
        int64_t until_ = now_ms() + (ms);                        \
        while (!(cond) && now_ms() < until_)                     \
            rig_turn();                                          \
        if (!(cond))                                             \
            fail_msg("not within %d ms: %s", (int)(ms), #cond);  \
    } while (0)

void expect_end(struct end *e, enum link_end end, ehis_err err, int ms); /* within so long, this one */

/* A client of plain OpenSSL on the other end of a link; non-blocking. */
struct raw {
    int fd;
    SSL *ssl;
};
void raw_open(struct raw *r, struct end *server, SSL_CTX *ctx); /* connected, nothing sent */
bool raw_shake(struct raw *r);  /* runs both; false: refused */
void raw_open_trusted(struct raw *r, struct end *server, SSL_CTX *ctx); /* and HELLO sent and taken */
void raw_write(struct raw *r, const void *p, size_t n); /* whole, running the loop; stops quietly when the link has gone */
size_t raw_frame(uint8_t *out, uint8_t type, size_t payload); /* a frame of `payload` bytes 'x' at out; its length */
int raw_read(struct raw *r, void *p, size_t n);        /* as SSL_read, once */
void raw_close(struct raw *r);                          /* abruptly */
