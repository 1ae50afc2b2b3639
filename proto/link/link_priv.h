/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* The connection as its own files see it: link.c (life, states, verbs), pump.c (TLS in and out), ping.c (deadlines and PING), bio.c (the
 * descriptor under TLS), input.c and output.c (the two buffers). */
#pragma once
#include "proto/link/link.h"
#include "proto/link/input.h"
#include "proto/link/output.h"
#include <event2/event.h>
#include <event2/event_struct.h>
#include <openssl/ssl.h>

#define LINK_TURN_RECORDS 16         /* TLS records read in a turn */
#define LINK_READ_BYTES (64 * 1024)  /* taken from the kernel at once, once the peer is trusted; given back when it is used up */
#define LINK_KEY_UPDATES_MAX 32      /* messages of TLS itself between two frames */
#define LINK_EMPTY_RECORDS_MAX 64    /* records without content between two frames */
#define LINK_OWN_FRAMES_BYTES 4096   /* of PING and PONG, above the output's bound */
#define LINK_LINGER_MS 2000          /* for the peer to read our last words before the descriptor is closed */

enum link_state {
    LINK_CONNECTING,
    LINK_HANDSHAKING,
    LINK_UNTRUSTED, /* the handshake is done; link_set_trusted has not been called */
    LINK_OPEN,
    LINK_CLOSING,   /* output and close_notify are on their way; input is thrown away */
    LINK_LINGERING, /* all was sent; waits for the peer's end */
    LINK_ENDED,     /* on_end comes at the end of the turn */
    LINK_STATE_COUNT,
};

/* The descriptor as OpenSSL sees it. A failed write looks to OpenSSL like a full one, so that what the peer said before it went
 * (an alert, an ERROR frame) can still be read. */
struct link_bio {
    int fd;
    bool is_dry; /* the kernel had less than was asked for: no read until it is readable again */
    bool is_eof;
    bool has_more; /* what is written now is not the last of this turn: the kernel need not send it yet */
    int read_errno, write_errno;
    uint64_t bytes_in, bytes_out;
};
/* A BIO over b, which must outlive it. NULL without memory. */
BIO *link_bio_new(struct link_bio *b);

struct link {
    struct loop *loop;
    SSL *ssl;
    struct link_bio bio;
    struct link_limits limits;
    struct link_events events;
    void *arg;

    enum link_state state;
    enum link_end end; /* from LINK_CLOSING on */
    ehis_err end_err;
    char detail[160];

    struct link_input in;
    struct link_output out;
    size_t frame_max, send_max;
    uint64_t queued_total, sent_total, drain_mark; /* output bytes; the mark must be reached by drain_at */

    int64_t state_at, frame_at, drain_at, ping_at; /* deadlines in monotonic us; 0 = none */
    int64_t timer_at;                              /* what the timer is set for; never later than the nearest deadline */
    int64_t heard_at, next_ping_at, pinged_at;
    uint64_t ping_token;

    unsigned key_updates, empty_records, headers; /* since the last frame; headers: since the last content */
    bool is_scheduled;       /* on_last is queued or runs */
    bool is_again;       /* input waits inside TLS: read in the next turn without waiting for the descriptor */
    bool is_write_wanted;
    bool is_full;        /* link_send has answered LINK_FULL */

    struct event readable, writable, timer;
    struct link_stats stats;
    char address[64];
};

static inline int64_t link_now(void) { return clock_mono_us(&clock_system); }

/* link.c */
bool link_reads(const struct link *l);  /* in a state that hands over frames */
bool link_writes(const struct link *l); /* in a state that sends output */
void link_enter(struct link *l, enum link_state state);
/* Ends it: no callback but on_end comes any more. err EHIS_OK: the reason's own. In LINK_CLOSING and after, the first reason stands. */
void link_end_now(struct link *l, enum link_end end, ehis_err err, const char *detail);
/* Sends what is queued and close_notify, then ends for this reason. */
void link_begin_close(struct link *l, enum link_end end, ehis_err err, const char *detail);
/* The peer broke a rule: the user may say so in a last frame; then as link_begin_close. From the loop only. */
void link_fault(struct link *l, enum link_end end, ehis_err err);
void link_schedule(struct link *l); /* on_last at the end of this turn */
void link_want_write(struct link *l, bool is_wanted);
ehis_err link_queue(struct link *l, uint8_t type, const struct span *parts, size_t count, size_t bound) EHIS_MUST_USE;

/* pump.c: both may call back and end the link */
void link_pump_read(struct link *l);
void link_pump_write(struct link *l);
void link_count_message(int is_write, int version, int content_type, const void *p, size_t n, SSL *ssl, void *arg);

/* ping.c */
void link_ping_start(struct link *l);
/* Takes a PING or PONG; false: another frame. */
bool link_ping_take(struct link *l, const struct frame *f);
void link_arm(struct link *l); /* sets the timer for the nearest deadline */
void link_on_timer(evutil_socket_t fd, short what, void *arg);
