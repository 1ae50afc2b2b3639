/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* What the files of the store share: its prepared statements. */
#pragma once
#include "adapters/registers/population/people.h"
#include <sqlite3.h>

enum query {
    Q_BEGIN, Q_COMMIT, Q_ROLLBACK, Q_COUNT, Q_ADD_PERSON, Q_ADD_PLACE, Q_GET, Q_FIND, Q_PINS, Q_UPDATE, Q_ADD_CHANGE, Q_NEXT_CHANGE, Q_FORGET, Q_QUERIES
};
struct people {
    sqlite3 *db;
    sqlite3_stmt *queries[Q_QUERIES];
};

/* Binds ("s" const char *, "i" int64_t), and steps once: SQLITE_ROW or SQLITE_DONE in *step. The statement stays open until people_end. */
ehis_err people_query(struct people *p, enum query q, int *step, const char *types, ...) EHIS_MUST_USE;
ehis_err people_run(struct people *p, enum query q, const char *types, ...) EHIS_MUST_USE; /* without rows */
void people_end(struct people *p, enum query q);
ehis_err people_error(struct people *p); /* of SQLite's last failure */
ehis_err people_fail(struct people *p, ehis_err err, struct ehis_why *why);
/* Ends a transaction: commits after EHIS_OK, else rolls back and returns err. */
ehis_err people_finish(struct people *p, ehis_err err) EHIS_MUST_USE;
/* A surname as it is compared: lower case by the rules of Azerbaijani. out: PEOPLE_NAME_BYTES + 1. */
void people_fold(const char *name, char *out);
