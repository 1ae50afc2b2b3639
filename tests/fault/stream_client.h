/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* What the load's parts share: its ends, what it was asked for, its log. One thread. */
#pragma once
#include "base/log.h"
#include "tests/support/party_session.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define PAIRS_MAX 16
#define WINDOW_MAX 1024
#define CALLS_MAX 64
#define KEPT_MAX 512
#define TICK_US 10000
#define REDIAL_US 100000
#define CALL_PAUSE_US 200000 /* between the end of a call and the next */
#define OUTPUT_SOFT_BYTES (1u << 20)
#define STREAM_LIFETIME_MS 3600000
#define CALL_LIFETIME_MS 20000 /* so long the journal keeps its answer, and a minute more its record */
#define REFUSE_EVERY 53 /* a purpose that no rule permits */
#define REJECT_EVERY 97 /* the application does not want it */
#define REJECTED 6001

#define MUST(expr)                                                                                                \
    do {                                                                                                          \
        ehis_err must_err_ = (expr);                                                                              \
        if (must_err_ != EHIS_OK) {                                                                               \
            fprintf(stderr, "%s:%d: %s: %s: %s\n", __FILE__, __LINE__, #expr, ehis_err_name(must_err_), load.why.text); \
            load_note("X client %s", ehis_err_name(must_err_));                                                   \
            exit(1);                                                                                              \
        }                                                                                                         \
    } while (0)

/* A link that has just ended is heard of. */
#define MUST_SEND(expr)                           \
    do {                                          \
        ehis_err sent_ = (expr);                  \
        if (sent_ != EHIS_E_LINK_ENDED)           \
            MUST(sent_);                          \
    } while (0)

struct item { /* a message of ours: of a stream in the ring at number % WINDOW_MAX, a call in a slot, or an answer that we keep */
    struct hash digest, request; /* request: of an answer, what it answers */
    uint8_t exchange_id[16];
    uint64_t number;
    uint32_t epoch; /* of the sender's rewinds, when last sent */
    bool is_used, is_noted, is_accepted, is_final;
    int64_t again_us; /* to be sent again then; 0: not */
    struct buf frame;
};
struct watermark { uint8_t stream[16]; bool is_used; uint64_t done; };
struct end {
    struct party_session s;
    bool is_ready, is_send_due;
    uint64_t next, lowest, cursor, settled; /* made; without a final receipt; to be sent; told to the gateway */
    uint32_t epoch;
    int64_t dial_us, pause_us;
    struct item ring[WINDOW_MAX], call[CALLS_MAX], kept[KEPT_MAX];
    size_t kept_at;
    struct watermark seen[PAIRS_MAX];
    struct item *making[WINDOW_MAX];
};

struct load {
    struct ehis_why why;
    struct loop *loop;
    struct registry *registry;
    FILE *out;
    int pairs, window, batch_max, port, rate, calls;
    size_t body_bytes;
    int64_t started_us, until_us, drain_us;
    bool is_churn, is_senders;
    uint64_t sent_count, accepted_count, delivered_count, handed_count, answered_count;
    struct end ends[2 * PAIRS_MAX];
};
extern struct load load;

/* stream_client.c */
int64_t load_now_us(void);
bool load_is_time_left(void); /* for new messages */
struct hex { char text[65]; };
struct hex load_hex(const uint8_t *p, size_t n);
void load_note(const char *format, ...) __attribute__((format(printf, 1, 2)));
void load_send(struct end *e, uint8_t type, const struct buf *b);
/* stream_sends.c */
void load_begin(struct item *t, uint64_t number); /* 0: of no stream */
void load_make(struct end *e, size_t i, struct item *t, enum envelope_kind kind, struct span recipient, int64_t expires_ms);
void load_sign(struct end *e, size_t n);
void load_want_send(struct end *e);
void load_open_stream(struct end *e);
void load_on_receipts(struct end *e, struct span payload);
void load_on_flow(struct end *e, struct span payload);
void load_on_stream_state(struct end *e, struct span payload);
/* stream_takes.c */
void load_on_deliver(struct end *e, struct span payload);
void load_on_skips(struct end *e, struct span payload);
