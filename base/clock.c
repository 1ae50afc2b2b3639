/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
#include "base/clock.h"
#include <errno.h>
#include <stdio.h>
#include <sys/random.h>
#include <time.h>

#define DAY_MS INT64_C(86400000)
#define LAST_MS INT64_C(253402300799999) /* 9999-12-31T23:59:59.999Z */

static int64_t system_mono_us(void *ctx)
{
    struct timespec t;
    (void)ctx;
    EHIS_ASSERT(clock_gettime(CLOCK_MONOTONIC, &t) == 0);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

static int64_t system_wall_ms(void *ctx)
{
    struct timespec t;
    (void)ctx;
    EHIS_ASSERT(clock_gettime(CLOCK_REALTIME, &t) == 0);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

const struct clock clock_system = {system_mono_us, system_wall_ms, NULL};

static void system_fill(void *ctx, uint8_t *out, size_t n)
{
    (void)ctx;
    while (n) {
        ssize_t got = getrandom(out, n, 0);
        if (got < 0 && errno == EINTR)
            continue;
        EHIS_ASSERT(got > 0); /* nothing can be trusted without randomness */
        out += got;
        n -= (size_t)got;
    }
}

const struct random random_system = {system_fill, NULL};

/* Days since 1970-01-01 in the proleptic Gregorian calendar; a year begins in March, so that the leap day is its last. */
static int64_t days_from_date(int64_t year, int64_t month, int64_t day)
{
    year -= month <= 2;
    int64_t era = year / 400, of_era = year % 400;
    int64_t of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
    return era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719468;
}

static void date_from_days(int64_t days, int *year, int *month, int *day)
{
    days += 719468;
    int64_t era = days / 146097, of_era = days % 146097;
    int64_t y = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
    int64_t of_year = of_era - (365 * y + y / 4 - y / 100);
    int64_t m = (5 * of_year + 2) / 153;
    *day = (int)(of_year - (153 * m + 2) / 5 + 1);
    *month = (int)(m < 10 ? m + 3 : m - 9);
    *year = (int)(y + era * 400 + (*month <= 2));
}

void time_to_text(int64_t unix_ms, char out[TIME_TEXT_LEN])
{
    int year, month, day;
    unix_ms = unix_ms < 0 ? 0 : unix_ms > LAST_MS ? LAST_MS : unix_ms;
    date_from_days(unix_ms / DAY_MS, &year, &month, &day);
    unsigned in_day = (unsigned)(unix_ms % DAY_MS);
    char text[96];
    snprintf(text, sizeof text, "%04d-%02d-%02dT%02u:%02u:%02u.%03uZ", year, month, day, in_day / 3600000, in_day / 60000 % 60,
             in_day / 1000 % 60, in_day % 1000);
    memcpy(out, text, TIME_TEXT_LEN);
}

static bool take_digits(struct cursor *c, unsigned count, int64_t low, int64_t high, int64_t *out)
{
    int64_t v = 0;
    if (cursor_left(c) < count)
        return false;
    for (; count; count--, c->p++) {
        if (!ascii_is_digit(*c->p))
            return false;
        v = v * 10 + (*c->p - '0');
    }
    *out = v;
    return v >= low && v <= high;
}

static bool take_char(struct cursor *c, uint8_t lower)
{
    if (cursor_left(c) == 0 || ascii_lower(*c->p) != lower)
        return false;
    c->p++;
    return true;
}

static bool take_date(struct cursor *c, int64_t *ms)
{
    static const int8_t month_days[] = {31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    int64_t year, month, day;
    if (!take_digits(c, 4, 1970, 9999, &year) || !take_char(c, '-') || !take_digits(c, 2, 1, 12, &month) || !take_char(c, '-') ||
        !take_digits(c, 2, 1, month_days[month - 1], &day))
        return false;
    bool is_leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    *ms = days_from_date(year, month, day) * DAY_MS;
    return month != 2 || day != 29 || is_leap;
}

static bool take_fraction(struct cursor *c, int64_t *ms)
{
    unsigned digits = 0;
    *ms = 0;
    if (!take_char(c, '.'))
        return true;
    for (int64_t unit = 100; cursor_left(c) && ascii_is_digit(*c->p); c->p++, digits++, unit /= 10)
        *ms += unit * (*c->p - '0');
    return digits >= 1 && digits <= 9;
}

static bool take_offset(struct cursor *c, int64_t *ms)
{
    int64_t hours, minutes;
    *ms = 0;
    if (take_char(c, 'z'))
        return true;
    bool is_west = take_char(c, '-');
    if ((!is_west && !take_char(c, '+')) || !take_digits(c, 2, 0, 23, &hours) || !take_char(c, ':') || !take_digits(c, 2, 0, 59, &minutes))
        return false;
    *ms = (hours * 60 + minutes) * 60000 * (is_west ? -1 : 1);
    return true;
}

ehis_err time_from_text(struct span text, int64_t *unix_ms)
{
    struct cursor c = cursor_of(text);
    int64_t date, hour = 0, minute = 0, second = 0, fraction = 0, offset = 0;
    if (!take_date(&c, &date))
        return EHIS_E_INVALID;
    if (cursor_left(&c) && (!take_char(&c, 't') || !take_digits(&c, 2, 0, 23, &hour) || !take_char(&c, ':') ||
                            !take_digits(&c, 2, 0, 59, &minute) || !take_char(&c, ':') || !take_digits(&c, 2, 0, 59, &second) ||
                            !take_fraction(&c, &fraction) || !take_offset(&c, &offset)))
        return EHIS_E_INVALID;
    int64_t ms = date + hour * 3600000 + minute * 60000 + second * 1000 + fraction - offset;
    if (cursor_left(&c) || ms < 0 || ms > LAST_MS)
        return EHIS_E_INVALID;
    *unix_ms = ms;
    return EHIS_OK;
}

void uuid7_make(uint8_t out[16], int64_t unix_ms, const struct random *r)
{
    random_fill(r, out, 16);
    be_put(out, (uint64_t)unix_ms, 6);
    out[6] = (uint8_t)(0x70 | (out[6] & 0x0F));
    out[8] = (uint8_t)(0x80 | (out[8] & 0x3F));
}

void uuid_to_text(const uint8_t id[16], char out[UUID_TEXT_LEN])
{
    static const uint8_t parts[] = {4, 2, 2, 2, 6};
    for (size_t i = 0; i < sizeof parts; i++) {
        hex_to_text(id, parts[i], out);
        id += parts[i];
        out += 2 * parts[i];
        *out++ = i + 1 < sizeof parts ? '-' : '\0';
    }
}
