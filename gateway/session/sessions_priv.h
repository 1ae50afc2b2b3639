/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* One gateway's sessions, shared by the files of this folder. */
#pragma once
#include "gateway/session/sessions.h"
#include "proto/wire/frame.h"

#define SLOT_BITS 20 /* a session's id: its slot in the low bits, a rising count above */
#define LISTENERS_MAX 8

struct session {
    struct sessions *all;
    struct session *next, *prev; /* of all->live */
    struct link *link;
    session_id id; /* 0: HELLO has not come */
    enum frame_state state;
    bool is_half_open, is_noted, is_closing;
    struct pki_peer peer;
    uint64_t group; /* of the journal that was open at the last SUBMIT */
    struct { uint64_t count, bytes; } in_open, in_sealed; /* SUBMITs of that group, and of the one before it while it is written */
    uint64_t registry_version; /* that the system holds, as far as we know */
    bool owes_registry, owes_crl; /* push.c: since a reload */
    uint32_t fetches; /* REGISTRY_GET and CRL_GET in this second */
    ehis_err end_code;
    uint32_t statements_first, statements_last; /* + 1, in all->statements; 0 = none */
    bool has_skip; /* among them */
    size_t statement_bytes;
    bool takes_large;
    uint32_t blob_puts, blob_gets;          /* without an answer */
    struct held_answer *held, **held_end;   /* chunks.c: that the output had no room for */
};
/* A receipt or skip that waits for its signature. */
struct statement {
    session_id session;
    uint32_t next, index; /* of the same session, + 1; of its leaf */
    bool is_skip;
    uint8_t state;
    uint32_t code;
    int64_t time_ms;
    struct hash digest, leaf;
    uint8_t stream[16];
    uint64_t number, delivery;
    size_t text_at, sender_len, recipient_len, ack_len; /* in all->statement_text */
};
struct sessions {
    struct loop *loop;
    const struct clock *clock;
    char gateway[IDENTIFIER_MAX_BYTES + 1];
    struct sessions_limits limits;
    struct sessions_identity identity;
    struct exchange *exchange;
    const struct journal *journal;
    struct blobs *blobs;
    struct session *live;
    struct session *push_next; /* of those that a reload is still to be told to; NULL: all know */
    uint64_t pushed_from;      /* the registry that they had */
    struct loop_timer *push_turn;
    struct session **slots;
    uint32_t slot_count, slot_next;
    uint64_t id_count;
    struct { int fd; struct loop_io *io; } listeners[LISTENERS_MAX];
    size_t listener_count;
    struct loop_timer *accept_again;
    bool is_draining, is_flush_due;
    struct statement *statements;
    struct hash *leaves;
    size_t statement_count, statement_cap;
    struct buf statement_text, payload, item;
    struct tree tree;
    struct session **touched;
    size_t touched_count, touched_cap;
    struct { struct span system; struct buf bytes; uint64_t version, have; } part; /* the last part made: many sessions of one system */
    int64_t refusals_until_ms;
    uint32_t refusals_left;
    struct sessions_status status;
};

extern const struct link_events session_events;
struct session *session_find(const struct sessions *s, session_id id);
void session_fail(struct session *x, ehis_err err, uint8_t frame_type, const struct ehis_why *why);
void session_recheck(struct session *x);
/* push.c */
void session_push_registry(struct session *x, uint64_t have_version);
void session_push_crl(struct session *x);
void session_push_owed(struct session *x); /* what a reload has left to tell it */
ehis_err sessions_push_init(struct sessions *s) EHIS_MUST_USE;
/* To all that are open, by and by. from_version: of the registry before. */
void sessions_push_all(struct sessions *s, uint64_t from_version, bool registry, bool crl);
void session_push_leaves(const struct session *x); /* out of the list of those that live, next still as it was */
/* chunks.c */
ehis_err session_on_blob_put(struct session *x, struct span payload, struct ehis_why *why) EHIS_MUST_USE;
ehis_err session_on_blob_get(struct session *x, struct span payload, struct ehis_why *why) EHIS_MUST_USE;
void session_answers_room(struct session *x);
void session_answers_free(struct session *x);
