/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* The world of one seed: a house, three systems, their streams and calls, and what each of them knows. */
#pragma once
#include "tests/support/sim_exchange.h"

#define SYSTEMS 3
#define STREAMS 7
#define SVC "AZ/GOV/b/two/svc"
#define CHECK(cond) ((cond) ? (void)0 : model_failed(#cond, __FILE__, __LINE__))
#define MUST(expr) CHECK((expr) == EHIS_OK)
#define BELOW(n) sim_random_below(&w.random, (n))
#define KNOWN_SLOTS ((size_t)1 << 16)

static const char *const names[SYSTEMS] = {"AZ/GOV/a/one", "AZ/GOV/b/two", "AZ/GOV/c/three"};
enum { A, B, C };

struct one {
    struct buf bytes;
    struct hash digest;
    uint8_t id[16], final, told; /* states of receipts */
    uint32_t code;
    int64_t told_ms, expires_ms;
    size_t from, stream; /* STREAMS: a call */
    uint64_t number;
    uint64_t accepted_group, final_group, refused_group; /* of its records; 0 = none */
    uint64_t ended_group[SYSTEMS];                       /* of an event, for each subscriber */
    unsigned handled[SYSTEMS], rejected[SYSTEMS], runs;
    bool is_get, is_short, is_done, is_crowded[SYSTEMS];
    struct one *request, *response; /* of a call, of an asynchronous Get */
};

struct stream { /* as its sender keeps it */
    size_t from;
    const char *recipient, *event, *operation;
    uint8_t id[16];
    struct one *sent[4096];
    uint64_t count, next, lowest, settled;
    bool is_open;
    int64_t not_before_ms;
};
struct arrival { struct one *m; bool is_skip; uint64_t delivery; struct hash named; };
struct inbox { /* of one stream at one recipient */
    uint64_t watermark, highest;
    bool has_begun;
    struct arrival waiting[4096]; /* by number % 4096 */
};
struct world {
    uint64_t seed, random, step;
    struct sim_house *h;
    session_id session[SYSTEMS];
    uint8_t state[SYSTEMS][16];
    bool is_deaf[SYSTEMS]; /* its output takes nothing */
    struct stream streams[STREAMS];
    struct inbox inboxes[SYSTEMS][STREAMS];
    struct one *calls[8192];
    size_t call_count, first_call;
    struct one *known[KNOWN_SLOTS];
    struct { struct one *m; uint64_t delivery; } todo[1024]; /* calls at their provider */
    size_t todo_count;
    size_t scanned; /* entries of the journal */
    uint64_t sequence;
    bool is_calm;
    unsigned restarts, releases, deaths, skips, responses, duplicates, shares;
};
extern struct world w;

_Noreturn void model_failed(const char *what, const char *file, int line); /* names seed and step */

/* exchange_sim_systems.c */
struct one *model_find(const struct hash *digest);
void model_connect(size_t sys);
void model_die(size_t sys);
void model_forget_arrivals(size_t sys); /* of its session, which is gone */
struct one *model_append(struct stream *st, size_t index, struct sim_message *m); /* the stream's next */
void model_write(size_t index);
void model_push(size_t index);
void model_settle(size_t index);
void model_call(void);
void model_call_again(void);
void model_serve(void); /* the provider runs a call once, and answers with the same bytes each time it is asked */

/* exchange_sim_receiving.c */
void model_acknowledge(size_t sys); /* some of what has arrived */
void model_take_outputs(void);
