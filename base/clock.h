/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* Time and randomness behind an interface, so that one seed can drive everything. Monotonic for deadlines, wall where people or
 * other machines read it. */
#pragma once
#include "base/bytes.h"

struct clock {
    int64_t (*mono_us)(void *ctx); /* microseconds since an arbitrary point, never goes back */
    int64_t (*wall_ms)(void *ctx); /* milliseconds since 1970-01-01T00:00:00Z, may jump */
    void *ctx;
};
extern const struct clock clock_system; /* CLOCK_MONOTONIC, CLOCK_REALTIME */
static inline int64_t clock_mono_us(const struct clock *c) { return c->mono_us(c->ctx); }
static inline int64_t clock_mono_ms(const struct clock *c) { return c->mono_us(c->ctx) / 1000; }
static inline int64_t clock_wall_ms(const struct clock *c) { return c->wall_ms(c->ctx); }

struct random {
    void (*fill)(void *ctx, uint8_t *out, size_t n); /* cannot fail: the system source is checked at start */
    void *ctx;
};
extern const struct random random_system; /* getrandom(2) */
static inline void random_fill(const struct random *r, uint8_t *out, size_t n) { r->fill(r->ctx, out, n); }

/* RFC 3339 in UTC with milliseconds, "2026-11-26T07:00:00.000Z"; out holds TIME_TEXT_LEN. Years 1970..9999, clamped. */
#define TIME_TEXT_LEN 25
void time_to_text(int64_t unix_ms, char out[TIME_TEXT_LEN]);
/* RFC 3339 with offset, or a date alone (midnight UTC), in the years 1970..9999; finer than a millisecond is cut, a leap second
 * (:60) is not taken. INVALID otherwise. */
ehis_err time_from_text(struct span text, int64_t *unix_ms) EHIS_MUST_USE;

/* UUIDv7 (RFC 9562 5.7): 48-bit unix_ms, the rest random. */
void uuid7_make(uint8_t out[16], int64_t unix_ms, const struct random *r);
#define UUID_TEXT_LEN 37
void uuid_to_text(const uint8_t id[16], char out[UUID_TEXT_LEN]);
