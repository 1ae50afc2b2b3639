/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* Nanoseconds a decision, and the time to load a document, by the number of systems. A report, never a test. */
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "policy/decide/decide.h"
#include "tests/support/test_registry.h"

#define NOW INT64_C(1795680000000)
#define ROUNDS 2000000

static void measure(size_t systems)
{
    struct test_registry *t = test_registry_new(1, NOW);
    char id[96], service[96];
    for (size_t i = 0; i < systems; i++) {
        snprintf(id, sizeof id, "AZ/GOV/AGENCY%03zu/system%zu", i / 4, i);
        test_registry_system(t, id, span_str(""));
    }
    for (size_t i = 0; i < systems / 2; i++) {
        snprintf(service, sizeof service, "AZ/GOV/AGENCY%03zu/system%zu/register", i / 4, i);
        test_registry_service(t, service, "Get|Find|!Changed");
        for (size_t k = 0; k < 8; k++) {
            char rule[32], consumers[128];
            snprintf(rule, sizeof rule, "R%zu-%zu", i, k);
            snprintf(consumers, sizeof consumers, "AZ/GOV/AGENCY%03zu/%s", (i + k) % systems / 4, k % 4 ? "*" : "system*");
            test_registry_rule(t, service,
                               &(struct test_rule){.id = rule,
                                                   .consumers = consumers,
                                                   .operations = "Get|Changed",
                                                   .purposes = k % 2 ? "tax" : "school",
                                                   .legal_bases = "Law 1|Law 2"});
        }
    }
    struct registry *r = test_registry_publish(t), *again = NULL;
    int64_t before = clock_mono_us(&clock_system);
    if (registry_from_document(test_registry_bytes(t), test_registry_trust(t), NULL, NOW, &again, NULL) != EHIS_OK)
        abort();
    int64_t load_us = clock_mono_us(&clock_system) - before;
    registry_unref(again);
    const char *purposes[] = {"tax", "pension"};
    for (unsigned deny = 0; deny < 2; deny++) {
        size_t permitted = 0;
        before = clock_mono_us(&clock_system);
        for (size_t i = 0; i < ROUNDS; i++) {
            size_t n = i % (systems / 2);
            struct decide_question q = {DECIDE_CALL,
                                        registry_owner_at(r, (n + 4) % systems)->id,
                                        registry_service_at(r, n)->id,
                                        span_str("Get"),
                                        span_str(purposes[deny]),
                                        span_str("Law 2"),
                                        NOW};
            struct decide_answer a;
            decide(r, &q, &a);
            permitted += a.is_permitted;
        }
        printf("%zu systems, document %zu bytes, loaded in %lld us: %s %.0f ns a decision (%zu permitted)\n", systems,
               test_registry_bytes(t).len, (long long)load_us, deny ? "denials" : "permits",
               (double)(clock_mono_us(&clock_system) - before) * 1000 / ROUNDS, permitted);
    }
    registry_unref(r);
    test_registry_free(t);
}

int main(void)
{
    measure(16);
    measure(400);
    return 0;
}
