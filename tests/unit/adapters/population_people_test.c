/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
#include "tests/unit/adapters/population_rig.h"
#include "adapters/registers/population/people_priv.h"

static uint64_t sum;
static size_t counted;
static void add_pin(const char *pin)
{
    assert_true(pin_is_valid(pin));
    for (const char *c = pin; *c; c++)
        sum = sum * 31 + (unsigned char)*c;
    counted++;
}

static void the_same_seed_makes_the_same_people_with_valid_pins(void **state)
{
    struct rig *r = *state, *other;
    void *other_state;
    sum = counted = 0;
    assert_int_equal(people_pins(r->people, 1000, add_pin, NULL), EHIS_OK);
    assert_int_equal(counted, 500);
    uint64_t first = sum;
    rig_make(&other_state);
    other = other_state;
    sum = 0;
    assert_int_equal(people_pins(other->people, 1000, add_pin, NULL), EHIS_OK);
    assert_int_equal(sum, first);
    rig_free(&other_state);
}

static void a_person_is_whole_and_agrees_with_itself(void **state)
{
    struct rig *r = *state;
    Person *p;
    assert_int_equal(people_get(r->people, rig_first_pin, &r->arena, &p, NULL), EHIS_OK);
    assert_string_equal(p->pin, rig_first_pin);
    size_t n = strlen(p->surname);
    bool is_woman = p->surname[n - 1] == 'a';
    assert_int_equal(p->sex, is_woman ? 1 : 2);
    assert_non_null(strstr(p->patronymic, is_woman ? "qızı" : "oğlu"));
    assert_int_equal(strlen(p->birth_date), 10);
    assert_true(p->address->region[0] && p->address->city[0] && p->address->street[0] && p->given_name[0]);
    assert_int_equal(people_get(r->people, "0000000", &r->arena, &p, NULL), EHIS_E_NOT_FOUND);
}

static void people_are_not_seeded_twice_and_nothing_else_is_opened_as_a_register(void **state)
{
    struct rig *r = *state;
    struct people *p = NULL;
    char none[128];
    assert_int_equal(people_seed(r->people, 1, 1, NULL), EHIS_E_EXISTS);
    snprintf(none, sizeof none, "%s/none.db", r->dir);
    assert_int_equal(people_open(none, false, &p, NULL), EHIS_E_NOT_FOUND);
    FILE *f = fopen(none, "w");
    for (int i = 0; i < 100; i++)
        fputs("this is no database; ", f);
    fclose(f);
    assert_int_equal(people_open(none, false, &p, NULL), EHIS_E_INVALID);
    unlink(none);
    assert_null(p);
}

static void surnames_are_found_in_either_case_by_the_rules_of_azerbaijani(void **state)
{
    static const char *const prefixes[] = {"Məmmədov", "MƏMMƏDOV", "məmmədov"};
    struct rig *r = *state;
    Person *found;
    size_t counts[3], n;
    bool has_more;
    for (int i = 0; i < 3; i++) {
        arena_reset(&r->arena);
        assert_int_equal(people_find(r->people, prefixes[i], 0, 100, &r->arena, &found, &counts[i], &has_more, NULL), EHIS_OK);
        for (size_t k = 0; k < counts[i]; k++)
            assert_memory_equal(found[k].surname, "Məmmədov", strlen("Məmmədov"));
    }
    assert_true(counts[0] > 0 && counts[0] == counts[1] && counts[1] == counts[2]);
    assert_int_equal(people_find(r->people, "İSMAYIL", 0, 100, &r->arena, &found, &n, &has_more, NULL), EHIS_OK);
    assert_true(n > 0);
    assert_int_equal(people_find(r->people, "ISMAYIL", 0, 100, &r->arena, &found, &n, &has_more, NULL), EHIS_OK); /* another letter */
    assert_int_equal(n, 0);
    assert_int_equal(people_find(r->people, "IŞIQ", 0, 100, &r->arena, &found, &n, &has_more, NULL), EHIS_OK);
    assert_true(n > 0);
    assert_int_equal(people_find(r->people, "%_*?'\"", 0, 100, &r->arena, &found, &n, &has_more, NULL), EHIS_OK);
    assert_int_equal(n, 0);
}

static void a_search_is_bounded_by_its_limit_and_says_when_there_are_more(void **state)
{
    struct rig *r = *state;
    Person *found;
    size_t all, n;
    bool has_more;
    assert_int_equal(people_find(r->people, "Məm", 0, 100, &r->arena, &found, &all, &has_more, NULL), EHIS_OK);
    assert_true(all > 2 && all < 100);
    assert_false(has_more);
    for (uint32_t limit = (uint32_t)all - 1; limit <= all + 1; limit++) {
        arena_reset(&r->arena);
        assert_int_equal(people_find(r->people, "Məm", 0, limit, &r->arena, &found, &n, &has_more, NULL), EHIS_OK);
        assert_int_equal(n, limit < all ? limit : all);
        assert_int_equal(has_more, limit < all);
    }
    uint32_t year = (uint32_t)strtoul(found[0].birth_date, NULL, 10);
    char first[8];
    snprintf(first, sizeof first, "%s", found[0].pin);
    arena_reset(&r->arena);
    assert_int_equal(people_find(r->people, "Məm", year, 100, &r->arena, &found, &n, &has_more, NULL), EHIS_OK);
    assert_true(n >= 1 && n < all);
    assert_string_equal(found[0].pin, first);
    assert_int_equal(people_find(r->people, "Məm", UINT32_MAX, 100, &r->arena, &found, &n, &has_more, NULL), EHIS_OK);
    assert_int_equal(n, 0);
}

static Person moving(Address *a, const char *street)
{
    Person to;
    az__gov__mia__population__v1__person__init(&to);
    az__gov__mia__population__v1__address__init(a);
    a->region = a->city = (char *)(uintptr_t)"Yeni";
    a->street = (char *)(uintptr_t)street;
    to.pin = rig_first_pin;
    to.address = a;
    return to;
}

static void a_change_and_its_line_in_the_outbox_come_together_in_order_and_leave_once_forgotten(void **state)
{
    struct rig *r = *state;
    struct people_change c;
    struct people *again;
    Address a;
    Person to = moving(&a, "Birinci"), *is;
    uint64_t sequence;
    assert_int_equal(people_next_change(r->people, &c), EHIS_E_NOT_FOUND);
    assert_int_equal(people_change(r->people, &to, 1000, &sequence, NULL), EHIS_OK);
    assert_int_equal(sequence, 1);
    assert_int_equal(people_change(r->people, &to, 1001, &sequence, NULL), EHIS_OK); /* nothing differs: nothing to say */
    assert_int_equal(sequence, 0);
    to = moving(&a, "İkinci");
    to.surname = (char *)(uintptr_t)"Şən";
    assert_int_equal(people_change(r->people, &to, 1002, &sequence, NULL), EHIS_OK);
    assert_int_equal(sequence, 2);
    assert_int_equal(people_get(r->people, rig_first_pin, &r->arena, &is, NULL), EHIS_OK);
    assert_string_equal(is->address->street, "İkinci");
    assert_string_equal(is->surname, "Şən");

    /* Another process reads the outbox, and nothing goes before it is told to. */
    assert_int_equal(people_open(r->file, false, &again, NULL), EHIS_OK);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(people_next_change(again, &c), EHIS_OK);
        assert_int_equal(c.sequence, 1);
    }
    assert_string_equal(c.pin, rig_first_pin);
    assert_string_equal(c.fields, "address");
    assert_int_equal(c.at_ms, 1000);
    assert_int_equal(people_forget_change(again, 1), EHIS_OK);
    assert_int_equal(people_next_change(again, &c), EHIS_OK);
    assert_int_equal(c.sequence, 2);
    assert_string_equal(c.fields, "surname address");
    assert_int_equal(people_forget_change(again, 2), EHIS_OK);
    assert_int_equal(people_next_change(again, &c), EHIS_E_NOT_FOUND);
    people_close(again);
    to = moving(&a, "Üçüncü"); /* a number is never used twice */
    assert_int_equal(people_change(r->people, &to, 1003, &sequence, NULL), EHIS_OK);
    assert_int_equal(sequence, 3);
}

static void a_change_that_fails_leaves_neither_person_nor_outbox_changed(void **state)
{
    struct rig *r = *state;
    struct people_change c;
    Address a;
    Person to = moving(&a, "Heç vaxt"), *is;
    uint64_t sequence = 77;
    to.pin = (char *)(uintptr_t)"0000000";
    assert_int_equal(people_change(r->people, &to, 1, &sequence, NULL), EHIS_E_NOT_FOUND);
    to = moving(&a, "Heç vaxt");
    assert_int_equal(sqlite3_exec(r->people->db, "CREATE TEMP TRIGGER full BEFORE INSERT ON change BEGIN SELECT RAISE(ABORT, 'full'); END", NULL, NULL, NULL), SQLITE_OK);
    assert_int_not_equal(people_change(r->people, &to, 1, &sequence, NULL), EHIS_OK);
    assert_int_equal(sequence, 77);
    assert_int_equal(people_next_change(r->people, &c), EHIS_E_NOT_FOUND);
    assert_int_equal(people_get(r->people, rig_first_pin, &r->arena, &is, NULL), EHIS_OK);
    assert_string_not_equal(is->address->street, "Heç vaxt");
    assert_true(sqlite3_get_autocommit(r->people->db));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        RIG_TEST(the_same_seed_makes_the_same_people_with_valid_pins),
        RIG_TEST(a_person_is_whole_and_agrees_with_itself),
        RIG_TEST(people_are_not_seeded_twice_and_nothing_else_is_opened_as_a_register),
        RIG_TEST(surnames_are_found_in_either_case_by_the_rules_of_azerbaijani),
        RIG_TEST(a_search_is_bounded_by_its_limit_and_says_when_there_are_more),
        RIG_TEST(a_change_and_its_line_in_the_outbox_come_together_in_order_and_leave_once_forgotten),
        RIG_TEST(a_change_that_fails_leaves_neither_person_nor_outbox_changed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
