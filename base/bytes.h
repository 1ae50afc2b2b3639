/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* Spans (borrowed bytes), bounded growing buffers, big-endian integers, checked sizes, hexadecimal and base64. Any thread. */
#pragma once
#include "base/err.h"
#include <string.h>

/* Borrowed bytes; p may be NULL only when len is 0. */
struct span {
    const uint8_t *p;
    size_t len;
};
static inline struct span span_of(const void *p, size_t len) { return (struct span){p, len}; }
static inline struct span span_str(const char *s) { return (struct span){(const uint8_t *)s, strlen(s)}; }
static inline bool span_eq(struct span a, struct span b) { return a.len == b.len && (a.len == 0 || memcmp(a.p, b.p, a.len) == 0); }
#define SPAN_SHOW(s) (int)(s).len, (const char *)(s).p /* for "%.*s" */
/* Orders bytewise, a prefix first: <0, 0, >0. */
int span_cmp(struct span a, struct span b);

/* A growing buffer with a maximum fixed at its creation. Content is p[start .. start+len). Embedded: init/fini. */
struct buf {
    uint8_t *p;
    size_t start, len, cap, max;
    bool is_secret; /* wiped when it moves or ends */
};
/* max in bytes of content (after buf_drop the memory may be 1/8 more, so that moving stays cheap); nothing is allocated yet. */
void buf_init(struct buf *b, size_t max);
void buf_fini(struct buf *b); /* frees; b can be used again as after init with the same max */
static inline struct span buf_span(const struct buf *b) { return (struct span){b->p ? b->p + b->start : NULL, b->len}; }
/* n writable bytes behind the content (not yet part of it; then buf_commit). TOO_LARGE beyond max, NO_MEMORY; b unchanged then. */
ehis_err buf_reserve(struct buf *b, size_t n, uint8_t **room) EHIS_MUST_USE;
void buf_commit(struct buf *b, size_t n); /* n <= what was reserved */
ehis_err buf_put(struct buf *b, const void *p, size_t n) EHIS_MUST_USE;
ehis_err buf_put_span(struct buf *b, struct span s) EHIS_MUST_USE;
ehis_err buf_put_u8(struct buf *b, uint8_t v) EHIS_MUST_USE;
ehis_err buf_put_be(struct buf *b, uint64_t v, unsigned width_bytes) EHIS_MUST_USE; /* width 1..8 */
ehis_err buf_printf(struct buf *b, const char *fmt, ...) EHIS_PRINTF(2, 3) EHIS_MUST_USE; /* no NUL is counted */
void buf_drop(struct buf *b, size_t n); /* removes n bytes from the front; n <= len. Amortised O(1). */
void buf_clear(struct buf *b);          /* empties; keeps at most 64 KiB of memory */

/* Big-endian, width 1..8 bytes. */
static inline void be_put(uint8_t *p, uint64_t v, unsigned width) { for (unsigned i = width; i-- > 0; v >>= 8) p[i] = (uint8_t)v; }
static inline uint64_t be_get(const uint8_t *p, unsigned width) { uint64_t v = 0; for (unsigned i = 0; i < width; i++) v = v << 8 | p[i]; return v; }

/* A cursor over borrowed bytes; every take fails with TRUNCATED and leaves the cursor when too little is left. */
struct cursor {
    const uint8_t *p, *end;
};
static inline struct cursor cursor_of(struct span s) { return (struct cursor){s.p, s.p ? s.p + s.len : NULL}; }
static inline size_t cursor_left(const struct cursor *c) { return (size_t)(c->end - c->p); }
ehis_err cursor_take(struct cursor *c, size_t n, struct span *out) EHIS_MUST_USE;
ehis_err cursor_take_be(struct cursor *c, unsigned width_bytes, uint64_t *out) EHIS_MUST_USE;

/* Checked sizes: false on overflow, *out untouched. */
static inline bool size_add(size_t a, size_t b, size_t *out) { size_t r; if (__builtin_add_overflow(a, b, &r)) return false; *out = r; return true; }
static inline bool size_mul(size_t a, size_t b, size_t *out) { size_t r; if (__builtin_mul_overflow(a, b, &r)) return false; *out = r; return true; }

/* Lower-case hexadecimal. out holds 2*n+1 bytes, NUL-terminated. */
void hex_to_text(const uint8_t *p, size_t n, char *out);
/* Exactly n bytes from 2*n hexadecimal digits of either case; INVALID otherwise. */
ehis_err hex_from_text(struct span text, uint8_t *out, size_t n) EHIS_MUST_USE;
/* Standard padded base64 (RFC 4648 4), canonical only on reading. */
ehis_err base64_put(struct buf *b, struct span s) EHIS_MUST_USE;
ehis_err base64_get(struct buf *b, struct span text) EHIS_MUST_USE; /* INVALID: not canonical */

/* True where s is well-formed UTF-8 (RFC 3629: no surrogates, no over-long forms) without NUL; *bad_at (may be NULL) = first bad offset. */
bool utf8_is_valid(struct span s, size_t *bad_at);

/* ASCII only, no locale. */
static inline bool ascii_is_digit(uint8_t c) { return c >= '0' && c <= '9'; }
static inline bool ascii_is_alpha(uint8_t c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }
static inline uint8_t ascii_lower(uint8_t c) { return (c >= 'A' && c <= 'Z') ? (uint8_t)(c + 32) : c; }
/* Decimal digits only, no sign, no leading zero unless "0", at most max; INVALID or TOO_LARGE. */
ehis_err decimal_from_text(struct span text, uint64_t max, uint64_t *out) EHIS_MUST_USE;

/* Nearest of n names to text by edit distance (at most 2, or 1/3 of its length); NULL where none is near. For "did you mean". */
const char *nearest_name(struct span text, const char *const *names, size_t n);
