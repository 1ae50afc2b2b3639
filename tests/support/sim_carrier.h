/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* A bus that carries between the cores of several houses: a log of parcels, owners of inboxes, and faults on demand. No broker, no signatures of
 * gateways: what gateway/bus does around the core is tested elsewhere. */
#pragma once
#include "tests/support/sim_exchange.h"

struct sim_carrier;

struct sim_carrier *sim_carrier_new(void);
void sim_carrier_free(struct sim_carrier *c); /* after its houses */
void sim_carrier_join(struct sim_carrier *c, struct sim_house *h);
void sim_carrier_ports(struct exchange_ports *ports);
/* Before a house restarts: its inboxes fall to others, what it had unfinished comes again. */
void sim_carrier_leave(struct sim_carrier *c, struct sim_house *h);
/* Everything goes on until nothing does: groups become durable, parcels are confirmed and read. */
void sim_carrier_run(struct sim_carrier *c);
void sim_carrier_pass(struct sim_carrier *c, int64_t ms); /* time passes in all houses, with runs between */

struct sim_faults {
    bool is_down;          /* nothing is taken */
    bool confirms_nothing; /* taken and read, but its writer does not hear of it */
    uint32_t drop;         /* so many parcels are confirmed and lost */
    uint32_t twice;        /* so many are there twice */
    uint32_t alter;        /* of so many one byte of the sealed body is another */
    uint32_t resign;       /* of so many one byte of the signature is another */
    bool is_pilot;
    bool is_unsafe;        /* by its settings it may lose what it confirms */
};
struct sim_faults *sim_carrier_faults(struct sim_carrier *c);
/* The newest parcel once more, into an inbox (NULL: the same); what on_arrival says of it. */
ehis_err sim_carrier_forge(struct sim_carrier *c, struct sim_house *reader, const char *inbox);
/* The topic of this inbox is read anew, at other offsets: what its owner holds counts for none of them, and its bytes are gone once it is finished. */
void sim_carrier_reread(struct sim_carrier *c, const char *inbox);
/* from says of these bytes that it accepted them, into this inbox. */
void sim_carrier_lie(struct sim_carrier *c, struct sim_house *from, const char *inbox, struct span bytes);
size_t sim_carrier_unfinished(const struct sim_carrier *c); /* read of inboxes and in a core's hands: its offsets are not finished */
size_t sim_carrier_refused(const struct sim_carrier *c); /* parcels that a core did not take */
