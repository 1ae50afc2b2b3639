/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* The decision table over a registry: deny by default, forbid beats permit, any evaluation error is a denial with its own code. Used
 * with the same code by the gateway and by the provider's libehis. Pure, any thread. About 20 to 200 ns, no allocation. */
#pragma once
#include "policy/registry/registry.h"

enum decide_what { DECIDE_CALL, DECIDE_RECEIVE /* an event */, DECIDE_PUBLISH };
struct decide_question {
    enum decide_what what;
    struct span consumer;  /* the system that asks or receives; for PUBLISH the publisher */
    struct span service, operation;
    struct span purpose, legal_basis; /* ignored for PUBLISH; for RECEIVE they may be absent: then rules without regard to purpose */
    int64_t at_ms;
};
struct decide_answer {
    bool is_permitted;
    bool is_consumer_named; /* a permitting rule of the service names the consumer: it may know the service */
    ehis_err code;       /* EHIS_OK, or POLICY_*: the one condition that failed of the nearest rule, or POLICY_NO_RULE */
    struct span rule;    /* that permitted, forbade or came nearest; empty for none; borrowed from the registry */
    const char *failed;  /* "purpose", "legal_basis", "operation", "valid_from", "valid_until", "consumer", "" */
};
void decide(const struct registry *r, const struct decide_question *q, struct decide_answer *out);
/* The code that the consumer itself may be told (R5): where no rule names it, POLICY_NO_RULE whatever else is so, for it may not learn which
 * services and rules exist. The journal keeps answer.code. */
ehis_err decide_code_for_consumer(const struct decide_answer *a);
/* All rules considered with what failed of each, as text for people: ehis-policy explain. */
ehis_err decide_explain(const struct registry *r, const struct decide_question *q, struct buf *out) EHIS_MUST_USE;
/* Systems entitled to receive an event now (for key wraps and subscriptions), each once: calls each(). */
void decide_receivers(const struct registry *r, struct span service, struct span event, int64_t at_ms, void (*each)(void *ctx, const struct registry_owner *system), void *ctx);
