/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
#include "adapters/registers/population/people.h"
#include "adapters/registers/population/people_priv.h"
#include <stdio.h>
#include <stdlib.h>

static const char schema[] =
    "CREATE TABLE place(id INTEGER PRIMARY KEY, region TEXT NOT NULL, city TEXT NOT NULL, UNIQUE(region, city)) STRICT;"
    "CREATE TABLE person(pin TEXT PRIMARY KEY CHECK(length(pin) = 7), surname TEXT NOT NULL, surname_key TEXT NOT NULL, given_name TEXT NOT NULL,"
    " patronymic TEXT NOT NULL, sex INTEGER NOT NULL CHECK(sex IN (1, 2)), birth_date TEXT NOT NULL CHECK(length(birth_date) = 10),"
    " citizenship TEXT NOT NULL CHECK(length(citizenship) = 3), place INTEGER NOT NULL REFERENCES place(id), street TEXT NOT NULL) STRICT;"
    "CREATE INDEX person_by_surname ON person(surname_key, given_name, pin);"
    /* The outbox. AUTOINCREMENT: a number is never used twice, also when its line is gone. */
    "CREATE TABLE change(sequence INTEGER PRIMARY KEY AUTOINCREMENT, pin TEXT NOT NULL REFERENCES person(pin), fields TEXT NOT NULL, at_ms INTEGER NOT NULL) STRICT;"
    "PRAGMA user_version = 1; PRAGMA application_id = 0x45484953;";

#define PERSON "SELECT pin, surname, given_name, patronymic, sex, birth_date, region, city, street, citizenship FROM person JOIN place ON place.id = place "
static const char *const texts[Q_QUERIES] = {
    [Q_BEGIN] = "BEGIN IMMEDIATE",
    [Q_COMMIT] = "COMMIT",
    [Q_ROLLBACK] = "ROLLBACK",
    [Q_COUNT] = "SELECT count(*) FROM person",
    [Q_ADD_PERSON] = "INSERT INTO person SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, id, ?11 FROM place WHERE region = ?9 AND city = ?10",
    [Q_ADD_PLACE] = "INSERT INTO place(region, city) VALUES(?1, ?2) ON CONFLICT DO NOTHING",
    [Q_GET] = PERSON "WHERE pin = ?1",
    /* Bytes are compared: U+10FFFF is behind every continuation. */
    [Q_FIND] = PERSON "WHERE surname_key >= ?1 AND surname_key < ?1 || char(0x10FFFF) AND (?2 = '' OR birth_date GLOB ?2) ORDER BY surname_key, given_name, pin LIMIT ?3",
    [Q_PINS] = "SELECT pin FROM person ORDER BY pin LIMIT ?1",
    [Q_UPDATE] = "UPDATE person SET surname = ?2, surname_key = ?3, place = (SELECT id FROM place WHERE region = ?4 AND city = ?5), street = ?6 WHERE pin = ?1",
    [Q_ADD_CHANGE] = "INSERT INTO change(pin, fields, at_ms) VALUES(?1, ?2, ?3)",
    [Q_NEXT_CHANGE] = "SELECT sequence, pin, fields, at_ms FROM change ORDER BY sequence LIMIT 1",
    [Q_FORGET] = "DELETE FROM change WHERE sequence = ?1",
};

ehis_err people_error(struct people *p)
{
    switch (sqlite3_errcode(p->db) & 0xff) {
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return EHIS_E_LOCKED;
    case SQLITE_FULL:
        return EHIS_E_NO_SPACE;
    case SQLITE_NOMEM:
        return EHIS_E_NO_MEMORY;
    case SQLITE_CONSTRAINT:
        return sqlite3_extended_errcode(p->db) == SQLITE_CONSTRAINT_PRIMARYKEY ? EHIS_E_EXISTS : EHIS_E_INVALID;
    case SQLITE_CANTOPEN:
        return EHIS_E_NOT_FOUND;
    case SQLITE_NOTADB:
    case SQLITE_ERROR:
        return EHIS_E_INVALID;
    default:
        return EHIS_E_IO;
    }
}

ehis_err people_fail(struct people *p, ehis_err err, struct ehis_why *why) { return ehis_fail(why, err, "%s", sqlite3_errmsg(p->db)); }

static ehis_err bind_and_step(struct people *p, enum query q, int *step, const char *types, va_list args)
{
    sqlite3_stmt *s = p->queries[q];
    for (int i = 1; *types; i++, types++) {
        int done = *types == 's' ? sqlite3_bind_text(s, i, va_arg(args, const char *), -1, SQLITE_TRANSIENT) : sqlite3_bind_int64(s, i, va_arg(args, int64_t));
        EHIS_ASSERT(done == SQLITE_OK || done == SQLITE_NOMEM);
        if (done != SQLITE_OK)
            return EHIS_E_NO_MEMORY;
    }
    *step = sqlite3_step(s);
    if (*step == SQLITE_ROW || *step == SQLITE_DONE)
        return EHIS_OK;
    ehis_err err = people_error(p);
    sqlite3_reset(s);
    return err;
}

ehis_err people_query(struct people *p, enum query q, int *step, const char *types, ...)
{
    va_list args;
    va_start(args, types);
    ehis_err err = bind_and_step(p, q, step, types, args);
    va_end(args);
    return err;
}

ehis_err people_run(struct people *p, enum query q, const char *types, ...)
{
    va_list args;
    int step;
    va_start(args, types);
    ehis_err err = bind_and_step(p, q, &step, types, args);
    va_end(args);
    people_end(p, q);
    return err;
}

void people_end(struct people *p, enum query q) { sqlite3_reset(p->queries[q]); }

ehis_err people_finish(struct people *p, ehis_err err)
{
    if (err == EHIS_OK)
        err = people_run(p, Q_COMMIT, "");
    if (err != EHIS_OK && !sqlite3_get_autocommit(p->db))
        (void)!people_run(p, Q_ROLLBACK, "");
    return err;
}

static ehis_err one_number(struct people *p, const char *sql, int *out)
{
    sqlite3_stmt *s = NULL;
    ehis_err err = sqlite3_prepare_v2(p->db, sql, -1, &s, NULL) == SQLITE_OK && sqlite3_step(s) == SQLITE_ROW ? EHIS_OK : people_error(p);
    *out = err == EHIS_OK ? sqlite3_column_int(s, 0) : 0;
    sqlite3_finalize(s);
    return err;
}

static ehis_err prepare(struct people *p, const char *file, bool is_new, struct ehis_why *why)
{
    int version;
    ehis_err err = one_number(p, "PRAGMA user_version", &version);
    if (err == EHIS_OK && is_new && version == 0 && sqlite3_exec(p->db, "BEGIN IMMEDIATE", NULL, NULL, NULL) == SQLITE_OK &&
        sqlite3_exec(p->db, schema, NULL, NULL, NULL) == SQLITE_OK && sqlite3_exec(p->db, "COMMIT", NULL, NULL, NULL) == SQLITE_OK)
        version = 1;
    if (err == EHIS_OK && version != 1)
        return ehis_fail(why, EHIS_E_INVALID, "%s is not a population register (ehis-population seed makes one)", file);
    for (size_t i = 0; err == EHIS_OK && i < Q_QUERIES; i++)
        if (sqlite3_prepare_v3(p->db, texts[i], -1, SQLITE_PREPARE_PERSISTENT, &p->queries[i], NULL) != SQLITE_OK)
            err = people_error(p);
    return err == EHIS_OK ? EHIS_OK : ehis_fail(why, err, "%s: %s", file, sqlite3_errmsg(p->db));
}

ehis_err people_open(const char *file, bool is_new, struct people **out, struct ehis_why *why)
{
    struct people *p = calloc(1, sizeof *p);
    ehis_err err;
    if (!p)
        return EHIS_E_NO_MEMORY;
    /* synchronous FULL: a change that was told to be done is there after a power cut. */
    if (sqlite3_open_v2(file, &p->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | (is_new ? SQLITE_OPEN_CREATE : 0), NULL) != SQLITE_OK ||
        sqlite3_busy_timeout(p->db, 5000) != SQLITE_OK || sqlite3_db_config(p->db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL) != SQLITE_OK ||
        sqlite3_exec(p->db, "PRAGMA journal_mode = WAL; PRAGMA foreign_keys = ON; PRAGMA synchronous = FULL; PRAGMA trusted_schema = OFF", NULL, NULL, NULL) != SQLITE_OK)
        err = p->db ? ehis_fail(why, people_error(p), "%s: %s", file, sqlite3_errmsg(p->db)) : EHIS_E_NO_MEMORY;
    else
        err = prepare(p, file, is_new, why);
    if (err == EHIS_OK)
        *out = p;
    else
        people_close(p);
    return err;
}

void people_close(struct people *p)
{
    if (!p)
        return;
    for (size_t i = 0; i < Q_QUERIES; i++)
        sqlite3_finalize(p->queries[i]);
    sqlite3_close(p->db);
    free(p);
}

/* ---- reading ---- */

void people_fold(const char *name, char *out)
{
    static const struct { char upper[3], lower[3]; } pairs[] = {{"İ", "i"}, {"Ə", "ə"}, {"Ö", "ö"}, {"Ü", "ü"}, {"Ğ", "ğ"}, {"Ş", "ş"}, {"Ç", "ç"}};
    size_t n = 0;
    while (*name && n + 2 <= PEOPLE_NAME_BYTES) {
        const char *from = name, *to = NULL;
        size_t taken = 1;
        for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++)
            if (name[1] && memcmp(name, pairs[i].upper, 2) == 0) {
                to = pairs[i].lower;
                taken = 2;
            }
        if (*from == 'I')
            to = "ı";
        name += taken;
        if (to)
            for (; *to; to++)
                out[n++] = *to;
        else
            out[n++] = (char)ascii_lower((uint8_t)*from);
    }
    out[n] = 0;
}

/* A column's text in the arena; NULL when that is full. */
static char *text_of(sqlite3_stmt *s, int column, struct arena *a)
{
    size_t n = (size_t)sqlite3_column_bytes(s, column);
    const unsigned char *from = sqlite3_column_text(s, column);
    char *to = from ? a->allocator.alloc(a, n + 1) : NULL;
    if (to)
        memcpy(to, from, n + 1);
    return to;
}

static ehis_err person_of(sqlite3_stmt *s, struct arena *a, Person *out)
{
    Address *address = a->allocator.alloc(a, sizeof *address);
    if (!address)
        return EHIS_E_ARENA_FULL;
    az__gov__mia__population__v1__person__init(out);
    az__gov__mia__population__v1__address__init(address);
    out->address = address;
    out->sex = (Az__Gov__Mia__Population__V1__Sex)sqlite3_column_int(s, 4);
    char **const into[] = {&out->pin, &out->surname, &out->given_name, &out->patronymic, NULL, &out->birth_date, &address->region, &address->city, &address->street, &out->citizenship};
    for (int i = 0; i < (int)(sizeof into / sizeof *into); i++)
        if (into[i] && !(*into[i] = text_of(s, i, a)))
            return EHIS_E_ARENA_FULL;
    return EHIS_OK;
}

ehis_err people_get(struct people *p, const char *pin, struct arena *a, Person **out, struct ehis_why *why)
{
    int step;
    Person *person = a->allocator.alloc(a, sizeof *person);
    if (!person)
        return EHIS_E_ARENA_FULL;
    ehis_err err = people_query(p, Q_GET, &step, "s", pin);
    if (err == EHIS_OK)
        err = step == SQLITE_ROW ? person_of(p->queries[Q_GET], a, person) : EHIS_E_NOT_FOUND;
    else
        (void)people_fail(p, err, why);
    people_end(p, Q_GET);
    if (err == EHIS_OK)
        *out = person;
    return err;
}

ehis_err people_find(struct people *p, const char *surname_prefix, uint32_t birth_year, uint32_t limit, struct arena *a, Person **out, size_t *count,
                     bool *has_more, struct ehis_why *why)
{
    char key[PEOPLE_NAME_BYTES + 1], year[16] = "";
    int step;
    EHIS_ASSERT(limit <= PEOPLE_FOUND_MAX);
    people_fold(surname_prefix, key);
    if (birth_year)
        snprintf(year, sizeof year, "%04u-*", birth_year);
    Person *found = a->allocator.alloc(a, limit * sizeof *found);
    if (!found)
        return EHIS_E_ARENA_FULL;
    size_t n = 0;
    ehis_err err = people_query(p, Q_FIND, &step, "ssi", key, year, (int64_t)limit + 1);
    for (; err == EHIS_OK && step == SQLITE_ROW && n < limit; n++) {
        err = person_of(p->queries[Q_FIND], a, &found[n]);
        step = sqlite3_step(p->queries[Q_FIND]);
    }
    if (err == EHIS_OK && step != SQLITE_ROW && step != SQLITE_DONE)
        err = people_error(p);
    if (err != EHIS_OK)
        (void)people_fail(p, err, why);
    people_end(p, Q_FIND);
    EHIS_TRY(err);
    *out = found;
    *count = n;
    *has_more = step == SQLITE_ROW;
    return EHIS_OK;
}

ehis_err people_pins(struct people *p, uint64_t count, void (*each)(const char *pin), struct ehis_why *why)
{
    int step;
    ehis_err err = people_query(p, Q_PINS, &step, "i", (int64_t)count);
    for (; err == EHIS_OK && step == SQLITE_ROW; step = sqlite3_step(p->queries[Q_PINS]))
        each((const char *)sqlite3_column_text(p->queries[Q_PINS], 0));
    if (err != EHIS_OK || step != SQLITE_DONE)
        err = people_fail(p, err != EHIS_OK ? err : people_error(p), why);
    people_end(p, Q_PINS);
    return err;
}
