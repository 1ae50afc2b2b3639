/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* The exchange core in a house of cards: a journal in memory whose groups become durable when the test says so, a clock that stands, systems of a
 * test registry that sign for real, and everything the core sends kept in order. Aborts where the house itself fails. */
#pragma once
#include "gateway/bus/bus.h"
#include "proto/wire/record.h"
#include "proto/wire/session_frames.h"
#include "proto/wire/statement.h"
#include "tests/support/sim_clock.h"
#include "tests/support/test_registry.h"

#define SIM_GATEWAY "AZ/gw1"
#define SIM_GATEWAY_2 "AZ/gw2"

enum sim_what { SIM_RECEIPT = 1, SIM_FLOW, SIM_DELIVERY, SIM_SKIP, SIM_FRAME, SIM_END };
struct sim_out {
    enum sim_what what;
    session_id session;
    struct hash digest;
    char sender[201], recipient[201];
    uint8_t state, type; /* type: of a frame */
    uint32_t code, retry_ms, attempt;
    int64_t time_ms;
    uint64_t delivery, expected, number;
    uint8_t stream[16];
    struct buf bytes; /* the envelope; a frame's payload; a receipt's acknowledgement */
    struct sim_out *next;
};

struct sim_entry {
    uint64_t group, segment;
    struct buf record, attachment;
    bool is_lazy;
};

struct sim_carrier; /* sim_carrier.h */
struct sim_house {
    const char *gateway;
    struct sim_carrier *carrier; /* NULL: the local bus */
    bool is_beside;              /* author and registry are another house's */
    struct sim_clock clock;
    struct test_registry *author;
    struct registry *registry;
    struct exchange_bounds bounds;
    struct exchange *x;
    struct bus *bus;
    struct sim_entry *entries;
    size_t count, cap, first; /* first: the first live one */
    uint64_t open_group, segment, segment_entries, in_segment, first_segment;
    uint64_t room_bytes;          /* what the journal says it has left */
    bool is_journal_full;         /* append answers JOURNAL_FULL */
    size_t unreadable;            /* + 1: this entry cannot be read; 0: all can */
    bool (*is_full)(void *ctx, session_id s); /* an output that takes no more; NULL: all do */
    void *is_full_ctx;
    bool is_bus_down; /* to_bus fails */
    bool has_chunks, takes_no_large; /* of large bodies: all that are asked for; of sessions that open */
    int chunks_kept;
    struct sim_out *outs, *last;
    session_id next_session;
    uint64_t random;
    bool is_quiet; /* outs are not kept: benchmarks */
    uint64_t receipts, deliveries;
    uint64_t last_delivery;
};

/* Systems A, B, C, D (AZ/GOV/a/one, b/two, c/three, d/four) and gateway; service AZ/GOV/b/two/svc with Get, Put (that nobody answers), event Changed; A and C may
 * call Get and Put for purpose "tax", basis "Law 1", and receive Changed; D may nothing. B may call AZ/GOV/a/one/svc Get likewise. */
struct sim_house *sim_house_new(uint64_t seed);
/* Another gateway of the same registry (SIM_GATEWAY_2), and the first one anew, both with a bus that carries. */
void sim_house_carry(struct sim_house *h, struct sim_carrier *carrier);
struct sim_house *sim_house_beside(struct sim_house *first);
void sim_house_free(struct sim_house *h);
void sim_house_publish(struct sim_house *h); /* the registry as its author stands now */

session_id sim_open(struct sim_house *h, const char *system);                  /* a state folder of its own */
session_id sim_open_state(struct sim_house *h, const char *system, const uint8_t state[16]);
session_id sim_ready(struct sim_house *h, const char *system, uint32_t calls, uint32_t messages, uint32_t bytes); /* opens too */
ehis_err sim_set_ready(struct sim_house *h, session_id s, uint32_t calls, uint32_t messages, uint32_t bytes);
void sim_end(struct sim_house *h, session_id s);

struct sim_message {
    enum envelope_kind kind;
    const char *sender, *recipient, *operation;
    const uint8_t *stream;
    uint64_t number;
    const struct hash *in_reply_to;
    const uint8_t *exchange_id; /* NULL: a new one */
    const uint8_t *epoch;
    const char *purpose;        /* NULL: "tax" */
    const char *signer;         /* NULL: the sender */
    int64_t created_ms, lifetime_ms; /* 0: now; 30 s or 1 h */
    uint32_t body_bytes, max_response_bytes;
    uint64_t large_bytes; /* 0: none */
    uint8_t fill;
};
/* A signed envelope (of a body that nobody can open). */
void sim_envelope(struct sim_house *h, const struct sim_message *m, struct buf *out, struct hash *digest, uint8_t exchange_id[16]);
ehis_err sim_submit(struct sim_house *h, session_id s, const struct sim_message *m, struct hash *digest); /* made, then submitted */
ehis_err sim_submit_bytes(struct sim_house *h, session_id s, struct span bytes);
ehis_err sim_stream_open(struct sim_house *h, session_id s, const uint8_t stream[16], const char *recipient, const char *event, uint64_t lowest);
ehis_err sim_stream_open_at(struct sim_house *h, session_id s, const uint8_t stream[16], const char *recipient, const char *event, uint64_t lowest, uint64_t next);
ehis_err sim_settled(struct sim_house *h, session_id s, const uint8_t stream[16], uint64_t lowest);
ehis_err sim_subscribe(struct sim_house *h, session_id s, const char *service, const char *event, bool is_end);
ehis_err sim_keys_get(struct sim_house *h, session_id s, const char *service, const char *event, const uint8_t epoch[16]);
struct sim_ack { uint64_t delivery; struct hash digest; enum outcome outcome; uint32_t code, retry_ms; };
ehis_err sim_ack(struct sim_house *h, session_id s, const char *signer, const struct sim_ack *acks, size_t count);

void sim_durable(struct sim_house *h);             /* what was appended is durable */
void sim_pass(struct sim_house *h, int64_t ms);    /* time passes, second by second, with ticks */
/* The process dies: groups that were not durable are lost (or kept: only their callbacks never came). A new core replays what is live. */
void sim_restart(struct sim_house *h, bool keeps_open_group);
/* Carries the first segment ahead and frees it. */
void sim_release(struct sim_house *h);
ehis_err sim_replay_into(struct sim_house *h, struct exchange **out); /* another core from the same journal; its ports are this house's */

/* The next output of this sort (session 0: any), taken out of the queue; NULL where there is none. Freed by the next take or the house. */
struct sim_out *sim_take(struct sim_house *h, enum sim_what what, session_id s);
size_t sim_count(const struct sim_house *h, enum sim_what what, session_id s);
void sim_forget(struct sim_house *h);
/* The newest record of this kind for this digest (NULL: any); false where there is none. */
bool sim_record(struct sim_house *h, uint32_t kind, const struct hash *digest, struct record *out);
size_t sim_record_count(const struct sim_house *h, uint32_t kind);
/* The leaf that an acknowledgement of this skip names. */
void sim_skip_leaf(const struct sim_out *skip, struct hash *leaf);
