/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* A cluster that was safe at the start may be made unsafe while the gateway runs: it is looked at again and again, each time by a thread of its own with copies of all
 * that it reads. What is found against the rules is logged when it is new (bus.unsafe) and when it is gone (bus.safe). A right or a topic that is missing is
 * none of it: who needs it says so. Loop's thread; nothing here blocks but cluster_watch_free. */
#pragma once
#include "base/clock.h"
#include "gateway/bus/cluster.h"

#define CLUSTER_FINDINGS_MAX 32 /* kept and told; beyond they are counted */

struct cluster_watch;
struct cluster_watch_config {
    const struct bus_kafka_options *options; /* borrowed; read when a look begins, so a reload may change it */
    const struct clock *clock;
    ehis_err (*look)(const struct bus_kafka_options *o, const struct registry *r, uint64_t timeout_ms, bus_on_finding on_finding, void *ctx,
                     struct ehis_why *why); /* bus_cluster_look */
    void (*on_durable)(void *ctx, bool is_durable); /* when that changes: false: by its settings it may lose what it confirms */
    void *ctx;
};
/* is_looked_at: just now, and it was safe; else it counts as unsafe until a look has found it safe. NO_MEMORY. */
ehis_err cluster_watch_new(const struct cluster_watch_config *config, bool is_looked_at, struct cluster_watch **out) EHIS_MUST_USE;
/* Takes what a look found, and begins the next where it is due; is_up: only then. Once a second. */
void cluster_watch_tick(struct cluster_watch *w, struct registry *r, bool is_up);
/* Waits for a look that is under way, 2 s at most. False: it does not end; it is left behind, with what it holds. */
bool cluster_watch_free(struct cluster_watch *w);

struct cluster_watch_status {
    size_t count;                    /* of findings, those included that are not kept */
    const struct bus_finding *first; /* until the next tick; NULL: none */
    bool is_durable;
    int64_t looked_ms;               /* wall clock: when all of it was last looked at; 0: never */
};
void cluster_watch_status(const struct cluster_watch *w, struct cluster_watch_status *out);
