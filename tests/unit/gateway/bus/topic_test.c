/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
#include "gateway/bus/topic.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#define NONE span_str("")

static const char *name(const char *prefix, enum bus_topic_kind kind, const char *owner, const char *event)
{
    static char out[4][BUS_TOPIC_NAME_MAX_BYTES + 1];
    static unsigned next;
    char *o = out[next++ % 4];
    memset(o, 'x', BUS_TOPIC_NAME_MAX_BYTES + 1);
    bus_topic_name(prefix, kind, span_str(owner), span_str(event), o);
    assert_true(strlen(o) > 0 && strlen(o) <= BUS_TOPIC_NAME_MAX_BYTES);
    assert_int_equal(strlen(o), strspn(o, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-"));
    return o;
}

static void names_are_as_the_specification_has_them(void **state)
{
    (void)state;
    assert_string_equal(name("", TOPIC_CALL, "AZ/GOV/MIA/population", ""), "call.AZ..GOV..MIA..population");
    assert_string_equal(name("", TOPIC_INBOX, "AZ/GOV/MIA/population", ""), "inbox.AZ..GOV..MIA..population");
    assert_string_equal(name("", TOPIC_REPLY, "AZ/gw1", ""), "reply.AZ..gw1");
    assert_string_equal(name("", TOPIC_EVENT, "AZ/GOV/MIA/population/persons", "PersonChanged"), "event.AZ..GOV..MIA..population..persons..PersonChanged");
    assert_string_equal(name("", TOPIC_KEY, "AZ/GOV/MIA/population/persons", "PersonChanged"), "key.AZ..GOV..MIA..population..persons..PersonChanged");
    assert_string_equal(name("", TOPIC_AUDIT, "", ""), "audit");
    assert_string_equal(name("", TOPIC_DLQ, "", ""), "dlq");
    assert_string_equal(name("", TOPIC_BLOB, "", ""), "blob");
    assert_string_equal(name("", TOPIC_CONTROL_LEASE, "", ""), "control.lease");
    assert_string_equal(name("", TOPIC_CONTROL_REGISTRY, "", ""), "control.registry");
    assert_string_equal(name("", TOPIC_CONTROL_CURSOR, "", ""), "control.cursor");
    assert_string_equal(name("p1", TOPIC_CALL, "AZ/GOV/MIA/population", ""), "p1..call.AZ..GOV..MIA..population");
    assert_string_equal(name("p1", TOPIC_AUDIT, "", ""), "p1..audit");
}

/* Kafka refuses a topic that differs from another only in "." against "_". */
static void assert_apart(const char *a, const char *b)
{
    char fa[BUS_TOPIC_NAME_MAX_BYTES + 1], fb[BUS_TOPIC_NAME_MAX_BYTES + 1];
    snprintf(fa, sizeof fa, "%s", a);
    snprintf(fb, sizeof fb, "%s", b);
    for (char *p = fa; *p; p++)
        *p = *p == '.' ? '_' : *p;
    for (char *p = fb; *p; p++)
        *p = *p == '.' ? '_' : *p;
    assert_string_not_equal(fa, fb);
}

static void names_that_kafka_would_take_for_one_are_told_apart(void **state)
{
    (void)state;
    assert_apart(name("", TOPIC_INBOX, "AZ/GOV/MIA/a_b", ""), name("", TOPIC_INBOX, "AZ/GOV/MIA/a.b", ""));
    assert_apart(name("", TOPIC_INBOX, "AZ/GOV/MIA/a_.b", ""), name("", TOPIC_INBOX, "AZ/GOV/MIA/a__b", ""));
    assert_apart(name("", TOPIC_INBOX, "AZ/GOV/MIA__a/b", ""), name("", TOPIC_INBOX, "AZ/GOV/MIA/a__b", ""));
    assert_apart(name("", TOPIC_EVENT, "AZ/GOV/MIA/a/s", "x"), name("", TOPIC_EVENT, "AZ/GOV/MIA/a/s_", "x"));
    assert_apart(name("", TOPIC_INBOX, "AZ/GOV/MIA/a", ""), name("", TOPIC_CALL, "AZ/GOV/MIA/a", ""));
    assert_apart(name("call", TOPIC_CALL, "AZ/GOV/MIA/a", ""), name("", TOPIC_CALL, "call.AZ/GOV/MIA/a", ""));
    assert_apart(name("a", TOPIC_DLQ, "", ""), name("b", TOPIC_DLQ, "", ""));
}

static void long_names_are_cut_and_told_apart_by_a_hash(void **state)
{
    char service[IDENTIFIER_MAX_BYTES + 1], event[IDENTIFIER_PART_MAX_BYTES + 1];
    (void)state;
    memset(event, 'e', 64);
    event[64] = '\0';
    snprintf(service, sizeof service, "AZ/GOV/%064d/%064d/%062d", 1, 2, 3); /* 199 bytes */
    assert_int_equal(strlen(service), 199);
    const char *a = name("", TOPIC_EVENT, service, event);
    assert_int_equal(strlen(a), BUS_TOPIC_NAME_MAX_BYTES);
    assert_non_null(strstr(a, "..."));
    event[63] = 'f';
    assert_apart(a, name("", TOPIC_EVENT, service, event));
    /* At the bound, and one byte beyond it: "event." 199 + 4 dots for slashes, ".." and the event. */
    size_t room = BUS_TOPIC_NAME_MAX_BYTES - 6 - 199 - 4 - 2;
    event[room] = '\0';
    assert_null(strstr(name("", TOPIC_EVENT, service, event), "..."));
    assert_int_equal(strlen(name("", TOPIC_EVENT, service, event)), BUS_TOPIC_NAME_MAX_BYTES);
    event[room] = 'e';
    event[room + 1] = '\0';
    assert_non_null(strstr(name("", TOPIC_EVENT, service, event), "..."));
    assert_non_null(strstr(name("0123456789abcdef", TOPIC_EVENT, service, event), "..."));
}

static void prefixes_are_checked(void **state)
{
    struct ehis_why why;
    char group[BUS_PREFIX_MAX_BYTES + 8];
    (void)state;
    assert_int_equal(bus_prefix_check("", &why), EHIS_OK);
    assert_int_equal(bus_prefix_check("0123456789abcdef", &why), EHIS_OK);
    assert_int_equal(bus_prefix_check("0123456789abcdefg", &why), EHIS_E_BUS_PREFIX);
    static const char *const bad[] = {"a.b", "A", "a_b", "a-b", " ", "\xc9\x99"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(bus_prefix_check(bad[i], &why), EHIS_E_BUS_PREFIX);
    bus_group_name("", group);
    assert_string_equal(group, "gw");
    bus_group_name("0123456789abcdef", group);
    assert_string_equal(group, "0123456789abcdef..gw");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_are_as_the_specification_has_them),
        cmocka_unit_test(names_that_kafka_would_take_for_one_are_told_apart),
        cmocka_unit_test(long_names_are_cut_and_told_apart_by_a_hash),
        cmocka_unit_test(prefixes_are_checked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
