/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
#include "base/err.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct ehis_err_row rows[] = {
#define EHIS_ERR(name_, number_, class__, text_, hint_) {EHIS_E_##name_, #name_, EHIS_CLASS_##class__, text_, hint_},
#include "ehis_errors.inc"
#undef EHIS_ERR
};
#define ROW_COUNT (sizeof rows / sizeof rows[0])
static const struct ehis_err_row row_ok = {EHIS_OK, "OK", EHIS_CLASS_NONE, "success", ""};
static const struct ehis_err_row row_unknown = {EHIS_OK, "UNKNOWN", EHIS_CLASS_BUG, "an error that is in no table", "report this with the log line"};

/* The parts are joined in ascending order; the unit test holds them to it. */
static const struct ehis_err_row *find(uint32_t number)
{
    size_t low = 0, high = ROW_COUNT;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        if ((uint32_t)rows[mid].err == number)
            return &rows[mid];
        if ((uint32_t)rows[mid].err < number)
            low = mid + 1;
        else
            high = mid;
    }
    return NULL;
}

const struct ehis_err_row *ehis_err_row(ehis_err err)
{
    if (err == EHIS_OK)
        return &row_ok;
    const struct ehis_err_row *row = find((uint32_t)err);
    return row ? row : &row_unknown;
}

const char *ehis_err_name(ehis_err err) { return ehis_err_row(err)->name; }

const struct ehis_err_row *ehis_err_rows(size_t *count)
{
    *count = ROW_COUNT;
    return rows;
}

bool ehis_err_from_number(uint32_t number, ehis_err *err)
{
    const struct ehis_err_row *row = find(number);
    if (row)
        *err = row->err;
    return row != NULL;
}

/* A text that was cut inside a UTF-8 sequence loses the beginning of that sequence too. */
static void trim_cut_sequence(char *text, size_t len)
{
    size_t back = 0;
    while (back < 3 && back < len && ((uint8_t)text[len - 1 - back] & 0xC0) == 0x80)
        back++;
    if (back >= len)
        return;
    uint8_t lead = (uint8_t)text[len - 1 - back];
    size_t want = lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : lead >= 0xC0 ? 2 : 1;
    if (want > back + 1)
        text[len - 1 - back] = '\0';
}

ehis_err ehis_fail(struct ehis_why *why, ehis_err err, const char *fmt, ...)
{
    if (!why)
        return err;
    char text[sizeof why->text]; /* not why itself: its old text may be among the arguments */
    va_list args;
    va_start(args, fmt);
    int n = vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    if (n < 0)
        text[0] = '\0';
    if (n >= (int)sizeof text)
        trim_cut_sequence(text, sizeof text - 1);
    for (char *c = text; *c; c++)
        if ((uint8_t)*c < 0x20 || *c == 0x7F)
            *c = '?';
    memcpy(why->text, text, sizeof text);
    return err;
}

void ehis_assert_failed(const char *cond, const char *file, int line)
{
    fprintf(stderr, "%s:%d: assertion failed: %s\n", file, line, cond);
    abort();
}
