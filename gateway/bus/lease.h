/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* Who owns an inbox (SPEC 17.5): the records of control.lease in the log's order, with the broker's times, give every gateway the same
 * answer. A claim is keyed by inbox, gateway and boot and never rewritten; of those whose gateway still beats the lowest offset owns. A
 * wrong answer costs duplicates, never loss. Pure; one thread. */
#pragma once
#include "base/bytes.h"

#define LEASE_BEAT_MS 500
#define LEASE_VOID_MS 3000

struct lease_table;

struct lease_record {
    struct span gateway;
    uint64_t boot;         /* of its process: a random number */
    int64_t offset;        /* in control.lease */
    int64_t broker_ms;     /* LogAppendTime; what jumps back counts as the highest seen; one far ahead of the beats before it is LEASE_FUTURE */
    struct span system;    /* empty: a beat */
    bool streams, calls;   /* of a claim; neither: released */
    bool is_leaving;       /* of a beat: drained; owns nothing from here on */
};

ehis_err lease_table_new(struct span gateway, uint64_t boot, struct lease_table **out) EHIS_MUST_USE; /* whose table it is */
void lease_table_free(struct lease_table *t);
/* Bounds: gateways 256, claims 65,536 (TOO_LARGE: ignored and reported). mono_ms: the local monotonic time at which it was read: void is
 * judged by broker times, and where nothing is read at all, by the local age of the newest beat. */
ehis_err lease_take(struct lease_table *t, const struct lease_record *r, int64_t mono_ms) EHIS_MUST_USE;
struct lease_owner { struct span gateway; uint64_t boot; bool streams, calls; bool is_me; };
/* False: nobody. */
bool lease_owner_of(const struct lease_table *t, struct span system, int64_t mono_ms, struct lease_owner *out);
bool lease_is_reachable(const struct lease_table *t, struct span system, int64_t mono_ms); /* some living gateway has calls of it */
/* Calls each for every system whose owner or reachability changed since the last call. */
void lease_changes(struct lease_table *t, int64_t mono_ms, void (*each)(void *ctx, struct span system), void *ctx);
size_t lease_gateways(const struct lease_table *t, int64_t mono_ms); /* that beat */
