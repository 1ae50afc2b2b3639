/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* Changes and their outbox. A line leaves it when libehis has the event durably; after a crash between the two libehis knows
 * its sequence. */
#include "adapters/registers/population/people_priv.h"
#include <stdio.h>

static bool is_address_other(const Address *a, const Address *b)
{
    return strcmp(a->region, b->region) || strcmp(a->city, b->city) || strcmp(a->street, b->street);
}

/* Inside the transaction: what stands, against what shall. */
static ehis_err change(struct people *p, const Person *to, struct arena *a, int64_t now_ms, uint64_t *sequence, struct ehis_why *why)
{
    Person *is;
    char key[PEOPLE_NAME_BYTES + 1];
    EHIS_TRY(people_get(p, to->pin, a, &is, why));
    bool has_surname = to->surname[0] && strcmp(to->surname, is->surname), has_address = to->address && is_address_other(to->address, is->address);
    const char *surname = has_surname ? to->surname : is->surname;
    const Address *at = has_address ? to->address : is->address;
    if (!has_surname && !has_address)
        return EHIS_OK;
    people_fold(surname, key);
    EHIS_TRY(people_run(p, Q_ADD_PLACE, "ss", at->region, at->city));
    EHIS_TRY(people_run(p, Q_UPDATE, "ssssss", to->pin, surname, key, at->region, at->city, at->street));
    EHIS_TRY(people_run(p, Q_ADD_CHANGE, "ssi", to->pin, has_surname && has_address ? "surname address" : has_surname ? "surname" : "address", now_ms));
    *sequence = (uint64_t)sqlite3_last_insert_rowid(p->db);
    return EHIS_OK;
}

ehis_err people_change(struct people *p, const Person *to, int64_t now_ms, uint64_t *sequence, struct ehis_why *why)
{
    struct arena a;
    uint64_t made = 0;
    EHIS_TRY(arena_init(&a, 16 * 1024));
    ehis_err err = people_run(p, Q_BEGIN, "");
    if (err == EHIS_OK)
        err = people_finish(p, change(p, to, &a, now_ms, &made, why));
    arena_fini(&a);
    if (err == EHIS_OK)
        *sequence = made;
    return err == EHIS_OK || err == EHIS_E_NOT_FOUND ? err : people_fail(p, err, why);
}

ehis_err people_next_change(struct people *p, struct people_change *out)
{
    int step;
    sqlite3_stmt *s = p->queries[Q_NEXT_CHANGE];
    ehis_err err = people_query(p, Q_NEXT_CHANGE, &step, "");
    if (err == EHIS_OK && step == SQLITE_ROW) {
        *out = (struct people_change){.sequence = (uint64_t)sqlite3_column_int64(s, 0), .at_ms = sqlite3_column_int64(s, 3)};
        snprintf(out->pin, sizeof out->pin, "%s", (const char *)sqlite3_column_text(s, 1));
        snprintf(out->fields, sizeof out->fields, "%s", (const char *)sqlite3_column_text(s, 2));
    } else if (err == EHIS_OK) {
        err = EHIS_E_NOT_FOUND;
    }
    people_end(p, Q_NEXT_CHANGE);
    return err;
}

ehis_err people_forget_change(struct people *p, uint64_t sequence) { return people_run(p, Q_FORGET, "i", (int64_t)sequence); }
