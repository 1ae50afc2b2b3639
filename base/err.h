/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* The one error enum. Its rows are data beside the part that raises them (PART/errors.def) and are joined by the build.
 * A row: EHIS_ERR(NAME, number, CLASS, "text", "hint"). Numbers are stable for ever: base 1000.., proto 2000.., pki 3000..,
 * policy 4000.., gateway 5000.., adapters 6000..; people see them as EHIS-2104. */
#pragma once
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define EHIS_MUST_USE __attribute__((warn_unused_result))
#define EHIS_PRINTF(fmt_index, args_index) __attribute__((format(printf, fmt_index, args_index)))

enum ehis_err_class {
    EHIS_CLASS_NONE,        /* success */
    EHIS_CLASS_PEER,        /* what a peer sent is wrong; the peer must change something */
    EHIS_CLASS_ENVIRONMENT, /* disk, network, clock, memory */
    EHIS_CLASS_LIMIT,       /* a stated bound was reached */
    EHIS_CLASS_CONFIG,      /* a file that an operator or owner wrote is wrong */
    EHIS_CLASS_FLOW,        /* no fault: busy, out of sequence, not yet; try again as told */
    EHIS_CLASS_BUG,         /* cannot happen */
};

typedef enum ehis_err {
    EHIS_OK = 0,
#define EHIS_ERR(name, number, class_, text, hint) EHIS_E_##name = (number),
#include "ehis_errors.inc" /* joined by the build from every errors.def */
#undef EHIS_ERR
} ehis_err;

struct ehis_err_row {
    ehis_err err;
    const char *name; /* "FRAME_TOO_LARGE" */
    enum ehis_err_class class_;
    const char *text; /* one sentence without a full stop, for people */
    const char *hint; /* what to try; may be "" */
};

/* The row of err; a row of class BUG named "UNKNOWN" for a number that is in no table. Never NULL. Any thread. */
const struct ehis_err_row *ehis_err_row(ehis_err err);
/* "FRAME_TOO_LARGE"; shorthand for ehis_err_row(err)->name. */
const char *ehis_err_name(ehis_err err);
/* All rows in ascending number; count through *count. For reference pages and tests. */
const struct ehis_err_row *ehis_err_rows(size_t *count);
/* The row with this stable number (from another machine); false where there is none. */
bool ehis_err_from_number(uint32_t number, ehis_err *err);

/* What a person is told beside the code: filled by the function that failed, optional everywhere (pass NULL). */
struct ehis_why {
    char text[320];
};

/* Writes the text into why (may be NULL), truncating, and returns err: `return ehis_fail(why, EHIS_E_X, "...", ...)`.
 * Control bytes in the result are replaced by '?', so that peer text cannot forge lines. */
ehis_err ehis_fail(struct ehis_why *why, ehis_err err, const char *fmt, ...) EHIS_PRINTF(3, 4);

/* Assertions stay on in every build. Never on what a peer sent. Prints to stderr and aborts. */
#define EHIS_ASSERT(cond) ((cond) ? (void)0 : ehis_assert_failed(#cond, __FILE__, __LINE__))
void ehis_assert_failed(const char *cond, const char *file, int line) __attribute__((noreturn));

/* Hands an error to the caller: `EHIS_TRY(f(x));` */
#define EHIS_TRY(expr)                             \
    do {                                           \
        ehis_err ehis_try_err_ = (expr);           \
        if (ehis_try_err_ != EHIS_OK)              \
            return ehis_try_err_;                  \
    } while (0)
