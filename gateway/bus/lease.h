/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* Who owns an inbox (SPEC 17.5): the records of control.lease in the log's order, with the broker's times, give every gateway the same
 * answer. A claim is keyed by inbox, gateway and boot; of those whose gateway still beats the first in the log owns, one that takes streams and
 * calls before one that takes streams alone, that before calls alone. A wrong answer costs duplicates, never loss. Pure; one thread.
 *
 * Time is what passes between one record and the next by the broker's clock, at most LEASE_STEP_MS, never back: so a gap in the log itself is
 * nobody's silence, and a clock that is moved, or a broker that lies, voids nobody at once. A gateway is void when LEASE_VOID_MS have passed
 * since its last record. Where nothing can be read at all, nothing changes: who owned owns on, nobody takes over. */
#pragma once
#include "base/bytes.h"

#define LEASE_BEAT_MS 500
#define LEASE_VOID_MS 3000
#define LEASE_STEP_MS 1000
#define LEASE_FUTURE_MS 60000 /* a record that is further ahead of the one before it is reported */
#define LEASE_GATEWAYS_MAX 256
#define LEASE_CLAIMS_MAX 65536

struct lease_table;

struct lease_record {      /* signed by that gateway, which the caller has checked; names are checked identifiers */
    struct span gateway;
    uint64_t boot;         /* of its process: a random number. Another than before: the claims of the former end */
    int64_t offset;        /* in control.lease */
    int64_t broker_ms;     /* LogAppendTime */
    struct span system;    /* empty: a beat */
    bool streams, calls;   /* of a claim; neither: released */
    bool is_leaving;       /* of a beat: drained; owns nothing from here on */
    uint64_t time_ms;      /* its own: rises from one record of a boot to the next */
};

ehis_err lease_table_new(struct span gateway, uint64_t boot, struct lease_table **out) EHIS_MUST_USE; /* whose table it is */
void lease_table_free(struct lease_table *t);
/* Every record counts as a beat. Offsets rise: what is not above the last changes nothing. LEASE_FUTURE is a report: the record counts all the
 * same. LEASE_REPLAYED: it, or a later one of its boot, was there before; ignored. TOO_LARGE: no room, and nobody void to forget: ignored. */
ehis_err lease_take(struct lease_table *t, const struct lease_record *r) EHIS_MUST_USE;
struct lease_owner { struct span gateway; uint64_t boot; bool streams, calls; bool is_me; }; /* borrowed until the next lease_take */
/* False: nobody. */
bool lease_owner_of(const struct lease_table *t, struct span system, struct lease_owner *out);
bool lease_is_reachable(const struct lease_table *t, struct span system); /* its owner takes calls */
/* A claim of this gateway and boot stands; where it does not and should, it is written again: a table that was full may have dropped it. */
bool lease_is_claimed(const struct lease_table *t, struct span system);
/* Somebody else's records stand for the table's own name, after its own: of another boot (a second process, or a record from long ago), or of its own boot, later than
 * written_ms, which is that of its last, or leaving, which it does not say before it asks no more. is_alive: it beats; time_ms: of its last. */
struct lease_rival { uint64_t boot, time_ms; bool is_alive; };
bool lease_rival(const struct lease_table *t, uint64_t written_ms, struct lease_rival *out);
void lease_set_boot(struct lease_table *t, uint64_t boot); /* its own is this from now on */
/* Calls each for every system whose owner or reachability changed since the last call; each may call the getters. */
void lease_changes(struct lease_table *t, void (*each)(void *ctx, struct span system), void *ctx);
size_t lease_gateways(const struct lease_table *t);                   /* that beat */
