/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* The register's people in SQLite (WAL, foreign keys). A change and its line in the outbox stand in one transaction. One thread an
 * object; several processes may have the file open, each waits at most 5 s for another's write (BUSY then: LOCKED). */
#pragma once
#include "az/gov/mia/population/v1/person.pb-c.h"
#include "proto/wire/scan.h"

#define PEOPLE_FOUND_MAX 100
#define PEOPLE_NAME_BYTES 64 /* surname, given name, patronymic; region, city */
#define PEOPLE_MAX 10000000

typedef Az__Gov__Mia__Population__V1__Person Person;
typedef Az__Gov__Mia__Population__V1__Address Address;

struct people;
/* is_new: makes the file; EXISTS where people are in it already. Else NOT_FOUND, INVALID where it is no such register. */
ehis_err people_open(const char *file, bool is_new, struct people **out, struct ehis_why *why) EHIS_MUST_USE;
void people_close(struct people *p);
/* Invented people, the same ones for the same seed: all or none. */
ehis_err people_seed(struct people *p, uint64_t count, uint64_t seed, struct ehis_why *why) EHIS_MUST_USE;

/* A person and its texts in the arena. NOT_FOUND. */
ehis_err people_get(struct people *p, const char *pin, struct arena *a, Person **out, struct ehis_why *why) EHIS_MUST_USE;
/* By the beginning of the surname, by surname, given name and PIN; birth_year 0: any. At most limit (<= PEOPLE_FOUND_MAX). */
ehis_err people_find(struct people *p, const char *surname_prefix, uint32_t birth_year, uint32_t limit, struct arena *a, Person **out, size_t *count,
                     bool *has_more, struct ehis_why *why) EHIS_MUST_USE;
/* PINs in their order, from the first. */
ehis_err people_pins(struct people *p, uint64_t count, void (*each)(const char *pin), struct ehis_why *why) EHIS_MUST_USE;

/* changes.c: the surname and the address, where `to` has them, replace what stands; *sequence = 0 where nothing differs. NOT_FOUND. */
ehis_err people_change(struct people *p, const Person *to, int64_t now_ms, uint64_t *sequence, struct ehis_why *why) EHIS_MUST_USE;
struct people_change {
    uint64_t sequence;
    char pin[8], fields[64]; /* names in Person, a space between */
    int64_t at_ms;
};
/* The oldest that is not published yet; NOT_FOUND: none. */
ehis_err people_next_change(struct people *p, struct people_change *out) EHIS_MUST_USE;
ehis_err people_forget_change(struct people *p, uint64_t sequence) EHIS_MUST_USE; /* it is published */
