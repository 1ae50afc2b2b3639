/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* What the tests of the registry share: one small country. */
#pragma once
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "policy/registry/draft.h"
#include "policy/registry/registry.h"
#include "policy/registry/rule.h"
#include "tests/support/test_registry.h"

#define NOW INT64_C(1795680000000)
#define HOUR INT64_C(3600000)
#define DAY (24 * HOUR)
#define POP "AZ/GOV/MIA/population"
#define PERSON POP "/person"
#define TAX "AZ/GOV/STS/tax"
#define SCHOOL "AZ/GOV/EDU/school"
#define SPKI "an SPKI of more than thirty-two bytes, for the gateway"

static inline struct test_registry *make(uint64_t seed)
{
    struct test_registry *t = test_registry_new(seed, NOW);
    test_registry_gateway(t, "AZ/gw1", span_str(SPKI));
    test_registry_system(t, POP, span_str(SPKI " of population"));
    test_registry_system(t, TAX, span_str(SPKI " of tax"));
    test_registry_system(t, SCHOOL, span_str(""));
    test_registry_system(t, "AZ/GOV/STS/idle", span_str(""));
    test_registry_service(t, PERSON, "GetPerson|!PersonChanged");
    test_registry_rule(t, PERSON, &(struct test_rule){.id = "POP-1", .consumers = TAX, .operations = "GetPerson", .purposes = "tax", .legal_bases = "Law 23"});
    test_registry_rule(t, PERSON, &(struct test_rule){.id = "POP-2", .consumers = "AZ/GOV/EDU/*", .operations = "PersonChanged", .purposes = "school", .legal_bases = "Law 9"});
    test_registry_rule(t, PERSON, &(struct test_rule){.id = "POP-3", .consumers = "AZ/GOV/STS/idle", .is_forbid = true});
    test_registry_service(t, TAX "/debts", "GetDebt");
    return t;
}

static inline ehis_err read_at(const struct test_registry *t, struct span bytes, const struct registry *older, int64_t now_ms)
{
    struct registry *r = NULL;
    ehis_err err = registry_from_document(bytes, test_registry_trust(t), older, now_ms, &r, NULL);
    assert_true((r != NULL) == (err == EHIS_OK));
    registry_unref(r);
    return err;
}
