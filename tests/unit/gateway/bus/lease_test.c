/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
#include "gateway/bus/lease.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#define OK(e) assert_string_equal(ehis_err_name(e), "OK")
#define FAILS(e, code) assert_string_equal(ehis_err_name(e), #code)
#define TAX "AZ/GOV/STS/tax"
#define POP "AZ/GOV/MIA/population"

static struct lease_table *t;
static int64_t offset, now_ms;
static uint64_t time_ms;

static int begin(void **state)
{
    (void)state;
    offset = 0;
    now_ms = 1000000;
    return lease_table_new(span_str("AZ/gw1"), 11, &t) != EHIS_OK;
}
static int end(void **state)
{
    (void)state;
    lease_table_free(t);
    return 0;
}

static ehis_err put(const char *gateway, uint64_t boot, const char *system, bool streams, bool calls, bool is_leaving)
{
    const struct lease_record r = {span_str(gateway), boot, offset++, now_ms, span_str(system), streams, calls, is_leaving, ++time_ms};
    return lease_take(t, &r);
}
static ehis_err beat(const char *gateway, uint64_t boot) { return put(gateway, boot, "", false, false, false); }
static ehis_err claim(const char *gateway, uint64_t boot, const char *system) { return put(gateway, boot, system, true, true, false); }
static const char *owner(const char *system)
{
    static char out[256];
    struct lease_owner o;
    if (!lease_owner_of(t, span_str(system), &o))
        return "nobody";
    snprintf(out, sizeof out, "%.*s %llu%s", (int)o.gateway.len, (const char *)o.gateway.p, (unsigned long long)o.boot, o.is_me ? " me" : "");
    return out;
}
static void pass(unsigned beats, const char *gateway, uint64_t boot)
{
    for (unsigned i = 0; i < beats; i++) {
        now_ms += LEASE_BEAT_MS;
        OK(beat(gateway, boot));
    }
}
static char changed[4096];
static void note(void *ctx, struct span system)
{
    (void)ctx;
    snprintf(changed + strlen(changed), sizeof changed - strlen(changed), "%.*s;", (int)system.len, (const char *)system.p);
}
static const char *changes(void)
{
    changed[0] = '\0';
    lease_changes(t, note, NULL);
    return changed;
}

static void the_first_claim_of_who_beats_owns(void **state)
{
    (void)state;
    assert_string_equal(owner(TAX), "nobody");
    OK(claim("AZ/gw2", 22, TAX));
    OK(claim("AZ/gw1", 11, TAX));
    OK(claim("AZ/gw1", 11, POP));
    assert_string_equal(owner(TAX), "AZ/gw2 22");
    assert_string_equal(owner(POP), "AZ/gw1 11 me");
    assert_true(lease_is_claimed(t, span_str(TAX)) && lease_is_reachable(t, span_str(TAX)));
    assert_string_equal(changes(), TAX ";" POP ";");
    assert_string_equal(changes(), "");
    pass(5, "AZ/gw1", 11); /* 2.5 s */
    assert_string_equal(owner(TAX), "AZ/gw2 22");
    assert_string_equal(changes(), "");
    now_ms += 499;
    OK(beat("AZ/gw1", 11));
    assert_string_equal(owner(TAX), "AZ/gw2 22"); /* 2,999 ms */
    now_ms++;
    OK(beat("AZ/gw1", 11));
    assert_string_equal(owner(TAX), "AZ/gw1 11 me"); /* 3,000 */
    assert_int_equal(lease_gateways(t), 1);
    assert_string_equal(changes(), TAX ";");
    OK(beat("AZ/gw2", 22)); /* it was only slow: the earlier claim owns again */
    assert_string_equal(owner(TAX), "AZ/gw2 22");
    OK(put("AZ/gw2", 22, TAX, false, false, false));
    assert_string_equal(owner(TAX), "AZ/gw1 11 me");
    OK(put("AZ/gw1", 11, TAX, false, false, false));
    assert_string_equal(owner(TAX), "nobody");
    assert_false(lease_is_claimed(t, span_str(TAX)) || lease_is_reachable(t, span_str(TAX)));
    assert_string_equal(changes(), TAX ";");
    assert_int_equal(lease_gateways(t), 2);
}

static void who_takes_all_goes_before_who_takes_part(void **state)
{
    struct lease_owner o;
    (void)state;
    OK(put("AZ/gw1", 11, TAX, false, true, false));
    assert_true(lease_is_reachable(t, span_str(TAX)));
    OK(put("AZ/gw2", 22, TAX, true, false, false));
    assert_string_equal(owner(TAX), "AZ/gw2 22");
    assert_false(lease_is_reachable(t, span_str(TAX)));
    OK(put("AZ/gw3", 33, TAX, true, true, false));
    assert_true(lease_owner_of(t, span_str(TAX), &o) && o.streams && o.calls && o.boot == 33);
    (void)changes();
    OK(put("AZ/gw3", 33, TAX, false, true, false)); /* the rights of a claim change */
    assert_string_equal(owner(TAX), "AZ/gw2 22");
    assert_string_equal(changes(), TAX ";");
}

static void a_new_process_ends_the_claims_of_the_former(void **state)
{
    (void)state;
    OK(claim("AZ/gw2", 1, TAX));
    OK(claim("AZ/gw1", 11, TAX));
    OK(beat("AZ/gw2", 2));
    assert_string_equal(owner(TAX), "AZ/gw1 11 me");
    OK(beat("AZ/gw2", 1)); /* late, or replayed: it changes nothing, and claims nothing */
    OK(claim("AZ/gw2", 1, POP));
    assert_string_equal(owner(POP), "nobody");
    OK(claim("AZ/gw2", 2, POP));
    assert_string_equal(owner(POP), "AZ/gw2 2");
    for (uint64_t boot = 3; boot < 30; boot++)
        OK(claim("AZ/gw2", boot, POP));
    assert_string_equal(owner(POP), "AZ/gw2 29");
    for (uint64_t boot = 28; boot > 28 - 8; boot--)
        OK(beat("AZ/gw2", boot));
    assert_string_equal(owner(POP), "AZ/gw2 29");
    assert_int_equal(lease_gateways(t), 2);
}

static void who_uses_the_tables_own_name_is_known_until_it_begins_anew(void **state)
{
    (void)state;
    struct lease_rival rival;
    OK(beat("AZ/gw1", 7)); /* the process before this one */
    assert_true(lease_rival(t, time_ms, &rival) && rival.boot == 7 && rival.is_alive);
    OK(claim("AZ/gw1", 11, TAX));
    assert_false(lease_rival(t, time_ms, &rival));
    OK(beat("AZ/gw2", 70));
    assert_false(lease_rival(t, time_ms, &rival));
    OK(claim("AZ/gw1", 5, TAX));
    assert_true(lease_rival(t, time_ms, &rival) && rival.boot == 5 && rival.time_ms == time_ms);
    assert_string_equal(owner(TAX), "AZ/gw1 5");
    OK(beat("AZ/gw1", 11)); /* of one that was replaced */
    assert_true(lease_rival(t, time_ms, &rival) && rival.boot == 5);
    pass(LEASE_VOID_MS / LEASE_BEAT_MS, "AZ/gw2", 70);
    assert_true(lease_rival(t, time_ms, &rival) && !rival.is_alive);
    lease_set_boot(t, 12);
    assert_true(lease_rival(t, time_ms, &rival)); /* until it has written */
    OK(claim("AZ/gw1", 12, TAX));
    assert_false(lease_rival(t, time_ms, &rival));
    assert_string_equal(owner(TAX), "AZ/gw1 12 me");
}

static void what_the_tables_own_process_did_not_write_is_a_rivals(void **state)
{
    (void)state;
    struct lease_rival rival;
    OK(claim("AZ/gw1", 11, TAX));
    const uint64_t written_ms = time_ms;
    assert_false(lease_rival(t, written_ms, &rival));
    OK(beat("AZ/gw1", 11)); /* a millisecond later: under its boot, which stands in the log for all to see */
    assert_true(lease_rival(t, written_ms, &rival) && rival.boot == 11 && rival.is_alive);
    assert_true(lease_rival(t, 0, &rival));
    assert_false(lease_rival(t, time_ms, &rival));
    OK(put("AZ/gw1", 11, "", false, false, true));
    assert_true(lease_rival(t, UINT64_MAX, &rival) && rival.boot == 11 && !rival.is_alive);
    lease_set_boot(t, 12);
    OK(claim("AZ/gw1", 12, TAX));
    assert_false(lease_rival(t, time_ms, &rival));
    assert_string_equal(owner(TAX), "AZ/gw1 12 me");
}

static void who_leaves_owns_nothing_at_once(void **state)
{
    (void)state;
    OK(claim("AZ/gw2", 22, TAX));
    OK(claim("AZ/gw1", 11, TAX));
    (void)changes();
    OK(put("AZ/gw2", 22, "", false, false, true));
    assert_string_equal(owner(TAX), "AZ/gw1 11 me");
    assert_string_equal(changes(), TAX ";");
    OK(claim("AZ/gw2", 22, POP)); /* not any more */
    OK(beat("AZ/gw2", 22));
    assert_string_equal(owner(POP), "nobody");
    OK(claim("AZ/gw2", 23, POP));
    assert_string_equal(owner(POP), "AZ/gw2 23");
}

static void clocks_that_jump_void_nobody(void **state)
{
    (void)state;
    OK(claim("AZ/gw2", 22, TAX));
    OK(claim("AZ/gw1", 11, TAX));
    now_ms += LEASE_FUTURE_MS;
    OK(beat("AZ/gw1", 11));
    now_ms += LEASE_FUTURE_MS + 1;
    FAILS(beat("AZ/gw1", 11), LEASE_FUTURE); /* reported, and no more than a step */
    assert_string_equal(owner(TAX), "AZ/gw2 22");
    now_ms = INT64_MIN;
    OK(beat("AZ/gw1", 11));
    now_ms = INT64_MAX;
    OK(beat("AZ/gw2", 22) == EHIS_E_LEASE_FUTURE ? EHIS_OK : EHIS_E_INVALID);
    assert_string_equal(owner(TAX), "AZ/gw2 22");
    now_ms = 5; /* set back for good: who dies now is void as fast as ever */
    OK(beat("AZ/gw1", 11));
    pass(5, "AZ/gw1", 11);
    assert_string_equal(owner(TAX), "AZ/gw2 22");
    pass(1, "AZ/gw1", 11);
    assert_string_equal(owner(TAX), "AZ/gw1 11 me");
}

static void a_gap_in_the_log_is_nobodys_silence(void **state)
{
    (void)state;
    OK(claim("AZ/gw2", 22, TAX));
    now_ms += 3600 * 1000;
    FAILS(claim("AZ/gw1", 11, TAX), LEASE_FUTURE);
    assert_string_equal(owner(TAX), "AZ/gw2 22");
    assert_int_equal(lease_gateways(t), 2);
}

static void offsets_only_rise(void **state)
{
    (void)state;
    OK(claim("AZ/gw2", 22, TAX));
    offset = 0;
    OK(claim("AZ/gw3", 33, POP));
    assert_string_equal(owner(POP), "nobody");
    offset = INT64_MAX;
    const struct lease_record r = {span_str("AZ/gw3"), 33, INT64_MAX, now_ms, span_str(POP), true, false, false, ++time_ms};
    OK(lease_take(t, &r));
    assert_string_equal(owner(POP), "AZ/gw3 33");
}

static void a_repeated_record_counts_for_nothing(void **state)
{
    (void)state;
    OK(claim("AZ/gw2", 22, TAX));
    OK(beat("AZ/gw2", 22));
    OK(put("AZ/gw2", 22, TAX, false, false, false)); /* given up */
    assert_string_equal(owner(TAX), "nobody");
    time_ms -= 3;
    FAILS(claim("AZ/gw2", 22, TAX), LEASE_REPLAYED);
    FAILS(beat("AZ/gw2", 22), LEASE_REPLAYED);
    FAILS(beat("AZ/gw2", 22), LEASE_REPLAYED); /* the very last, again */
    assert_string_equal(owner(TAX), "nobody");
    OK(claim("AZ/gw2", 22, TAX));
    const uint64_t last = time_ms;
    for (int i = 0; i < 10; i++) { /* who died does not live on by what it once said */
        now_ms += LEASE_BEAT_MS;
        OK(beat("AZ/gw3", 33));
        const uint64_t true_ms = time_ms;
        time_ms = last - 1;
        FAILS(beat("AZ/gw2", 22), LEASE_REPLAYED);
        time_ms = true_ms;
    }
    assert_string_equal(owner(TAX), "nobody");
    time_ms -= 5; /* a new process begins where it likes; of the former nothing counts */
    OK(claim("AZ/gw2", 23, TAX));
    OK(beat("AZ/gw2", 22));
    assert_string_equal(owner(TAX), "AZ/gw2 23");
}

static void tables_are_bounded(void **state)
{
    char name[64];
    (void)state;
    for (int i = 0; i < LEASE_GATEWAYS_MAX; i++) {
        snprintf(name, sizeof name, "AZ/g%d", i);
        OK(beat(name, 1));
    }
    FAILS(beat("AZ/more", 1), TOO_LARGE);
    for (int i = 0; i < LEASE_CLAIMS_MAX; i++) {
        snprintf(name, sizeof name, "AZ/GOV/A/s%d", i);
        OK(claim(i % 2 ? "AZ/g0" : "AZ/g1", 1, name));
    }
    FAILS(claim("AZ/g2", 1, TAX), TOO_LARGE);
    OK(claim("AZ/g1", 1, "AZ/GOV/A/s0")); /* one that stands may change */
    (void)changes();
    pass(6, "AZ/g0", 1); /* the others are void now: the one with claims is forgotten, then one of the rest */
    OK(claim("AZ/g0", 1, TAX));
    assert_string_equal(owner(TAX), "AZ/g0 1");
    OK(beat("AZ/more", 1));
    assert_int_equal(lease_gateways(t), 2);
    assert_string_equal(owner("AZ/GOV/A/s0"), "nobody");
    assert_string_equal(owner("AZ/GOV/A/s1"), "AZ/g0 1");
}

/* ---- any seed: who has read the same prefix says the same, and agrees with a model that reads the whole log anew ---- */

static uint64_t random_state;
static uint32_t draw(uint32_t below)
{
    random_state = random_state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(random_state >> 33) % below;
}
#define G 4
#define SYSTEMS 6
#define RECORDS 400
static const char *const gateways[G] = {"AZ/gw1", "AZ/gw2", "AZ/gw3", "AZ/gw4"};
static char systems[SYSTEMS][32];
struct entry { uint32_t gateway, boot, system; int64_t ms; bool streams, calls, is_leaving; };

static int model_owner(const struct entry *log, int n, uint32_t system)
{
    int64_t steady[RECORDS], last[G] = {0};
    uint32_t boot[G] = {0}, left[G] = {0};
    int at[G], best = -1;
    for (int g = 0; g < G; g++)
        at[g] = -1;
    for (int i = 0; i < n; i++) {
        const struct entry *e = &log[i];
        int64_t step = i ? e->ms - log[i - 1].ms : 0;
        steady[i] = i ? steady[i - 1] + (step < 0 ? 0 : step > LEASE_STEP_MS ? LEASE_STEP_MS : step) : 0;
        if (e->boot < boot[e->gateway]) /* here boots rise; few enough that all former ones are remembered */
            continue;
        if (e->boot > boot[e->gateway])
            at[e->gateway] = -1;
        boot[e->gateway] = e->boot;
        last[e->gateway] = steady[i];
        if (e->is_leaving && e->system == SYSTEMS)
            left[e->gateway] = e->boot;
        if (left[e->gateway] == e->boot)
            at[e->gateway] = -1;
        else if (e->system == system)
            at[e->gateway] = e->streams || e->calls ? i : -1;
    }
    for (int g = 0; g < G; g++) {
        if (at[g] < 0 || steady[n - 1] - last[g] >= LEASE_VOID_MS)
            continue;
        const struct entry *a = &log[at[g]], *b = best < 0 ? NULL : &log[at[best]];
        int ra = a->streams ? !a->calls : 2, rb = !b ? 9 : b->streams ? !b->calls : 2;
        if (ra < rb || (ra == rb && at[g] < at[best]))
            best = g;
    }
    return best;
}

static void all_who_read_the_same_agree_and_one_owns_at_most(void **state)
{
    static struct entry log[RECORDS];
    (void)state;
    unsigned owned = 0, moved = 0;
    for (int s = 0; s < SYSTEMS; s++)
        snprintf(systems[s], sizeof systems[s], "AZ/GOV/A/s%d", s);
    for (uint64_t seed = 1; seed <= 30; seed++) {
        struct lease_table *tables[G];
        uint32_t boot[G] = {1, 1, 1, 1};
        int64_t ms = 1000;
        int before[SYSTEMS];
        random_state = seed;
        for (uint32_t g = 0; g < G; g++)
            OK(lease_table_new(span_str(gateways[g]), boot[g], &tables[g]));
        for (int s = 0; s < SYSTEMS; s++)
            before[s] = -1;
        for (int i = 0; i < RECORDS; i++) {
            const uint32_t g = draw(20) ? draw(G - 1) : G - 1; /* one that is often silent */
            if (draw(60) == 0 && boot[g] < 7)
                boot[g]++;
            const uint32_t jump = draw(50);
            ms += jump == 0 ? 100000 : jump == 1 ? -70000 : (int64_t)draw(400);
            log[i] = (struct entry){g, draw(30) ? boot[g] : 1, draw(3) ? SYSTEMS : draw(SYSTEMS), ms, draw(3) != 0, draw(3) != 0, draw(40) == 0};
            for (uint32_t k = 0; k < G; k++) {
                const struct lease_record r = {span_str(gateways[g]), log[i].boot, i * 3, ms, log[i].system == SYSTEMS ? span_str("") : span_str(systems[log[i].system]),
                                               log[i].streams, log[i].calls, log[i].is_leaving, (uint64_t)i + 1};
                ehis_err err = lease_take(tables[k], &r);
                assert_true(err == EHIS_OK || (err == EHIS_E_LEASE_FUTURE && jump == 0));
            }
            for (uint32_t s = 0; s < SYSTEMS; s++) {
                const int want = model_owner(log, i + 1, s);
                bool must_change = want != before[s];
                for (uint32_t k = 0; k < G; k++) {
                    struct lease_owner o;
                    const bool is_owned = lease_owner_of(tables[k], span_str(systems[s]), &o);
                    if (is_owned != (want >= 0) || (is_owned && !span_eq(o.gateway, span_str(gateways[want]))))
                        fail_msg("seed %llu record %d system %u: the model says %d", (unsigned long long)seed, i, s, want);
                    if (is_owned)
                        assert_int_equal(o.is_me, (int)k == want && o.boot == 1);
                }
                t = tables[0];
                owned += want >= 0;
                moved += must_change;
                before[s] = want;
                if (s == SYSTEMS - 1)
                    for (uint32_t k = 0; k < G; k++) {
                        t = tables[k];
                        const char *c = changes();
                        must_change = must_change && !strstr(c, systems[s]);
                    }
                assert_false(s == SYSTEMS - 1 && must_change);
            }
        }
        for (uint32_t g = 0; g < G; g++)
            lease_table_free(tables[g]);
    }
    t = NULL;
    assert_true(owned > 10000 && moved > 500);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(the_first_claim_of_who_beats_owns, begin, end),
        cmocka_unit_test_setup_teardown(who_takes_all_goes_before_who_takes_part, begin, end),
        cmocka_unit_test_setup_teardown(a_new_process_ends_the_claims_of_the_former, begin, end),
        cmocka_unit_test_setup_teardown(who_uses_the_tables_own_name_is_known_until_it_begins_anew, begin, end),
        cmocka_unit_test_setup_teardown(what_the_tables_own_process_did_not_write_is_a_rivals, begin, end),
        cmocka_unit_test_setup_teardown(who_leaves_owns_nothing_at_once, begin, end),
        cmocka_unit_test_setup_teardown(clocks_that_jump_void_nobody, begin, end),
        cmocka_unit_test_setup_teardown(a_gap_in_the_log_is_nobodys_silence, begin, end),
        cmocka_unit_test_setup_teardown(offsets_only_rise, begin, end),
        cmocka_unit_test_setup_teardown(a_repeated_record_counts_for_nothing, begin, end),
        cmocka_unit_test_setup_teardown(tables_are_bounded, begin, end),
        cmocka_unit_test(all_who_read_the_same_agree_and_one_owns_at_most),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
