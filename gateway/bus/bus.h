/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* The bus: carries accepted, durable envelopes from entry to the inbox of their recipient (SPEC 12, 17). Entry hands each over once, after its
 * group is durable, and again after a restart for each that is unfinished; the driver brings it to the inbox at least once, those of one
 * stream in order. One thread. */
#pragma once
#include "gateway/exchange/exchange.h"

struct bus;
struct bus_ops { /* as the ports of exchange.h; all but send and free are NULL where the journal is the queue */
    ehis_err (*send)(struct bus *b, const struct exchange_item *item, bool *is_here);
    void (*done)(struct bus *b, uint64_t handle, const struct exchange_report *report);
    bool (*has)(struct bus *b, uint64_t handle);
    void (*want_inbox)(struct bus *b, struct span system, bool streams, bool calls);
    bool (*is_reachable)(struct bus *b, struct span system);
    ehis_err (*state)(struct bus *b);
    void (*probe)(struct bus *b, struct span system);
    ehis_err (*subscribe)(struct bus *b, struct span system, struct span service, struct span event, bool is_end, int64_t from_ms);
    void (*free)(struct bus *b);
};
struct bus { const struct bus_ops *ops; };

/* No broker: the journal itself is the queue, and what is durable in it is in its inbox. Never fails, never waits. */
ehis_err bus_local_new(struct bus **out) EHIS_MUST_USE;
void bus_free(struct bus *b);
