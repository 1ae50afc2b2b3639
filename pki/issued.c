/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
#include "pki/issued.h"
#include <inttypes.h>
#include <stdlib.h>

#define MAGIC "ehis-authority-v1"
#define WORDS_MAX 8

const char *const pki_reason_names[] = {
    "unspecified", "keyCompromise", "cACompromise", "affiliationChanged", "superseded", "cessationOfOperation", NULL};
enum { REASON_COUNT = sizeof pki_reason_names / sizeof pki_reason_names[0] - 1 };

void issued_fini(struct issued_list *l)
{
    free(l->items);
    *l = (struct issued_list){0};
}

ehis_err issued_add(struct issued_list *l, const struct pki_issued *item)
{
    if (l->count == l->cap) {
        size_t cap = l->cap ? 2 * l->cap : 64, bytes;
        struct pki_issued *more = size_mul(cap, sizeof *more, &bytes) ? realloc(l->items, bytes) : NULL;
        if (!more)
            return EHIS_E_NO_MEMORY;
        l->items = more;
        l->cap = cap;
    }
    l->items[l->count++] = *item;
    return EHIS_OK;
}

ehis_err issued_print(const struct issued_list *l, struct buf *out)
{
    EHIS_TRY(buf_printf(out, MAGIC " %s\ncrl %" PRIu64 "\n", l->instance, l->crl_number));
    for (size_t i = 0; i < l->count; i++) {
        const struct pki_issued *c = &l->items[i];
        EHIS_TRY(buf_printf(out, "cert %s %s %s %" PRId64 " %" PRId64 " %s %s\n", c->serial, pki_kind_name(c->kind), c->id, c->not_after_ms,
                            c->revoked_ms, pki_reason_names[c->reason], c->fingerprint));
    }
    return EHIS_OK;
}

/* Splits at single blanks; 0 where there are more words than fit or an empty one. */
static size_t split(struct span line, struct span words[WORDS_MAX])
{
    size_t n = 0;
    for (size_t from = 0, i = 0; i <= line.len; i++) {
        if (i < line.len && line.p[i] != ' ')
            continue;
        if (n == WORDS_MAX || i == from)
            return 0;
        words[n++] = span_of(line.p + from, i - from);
        from = i + 1;
    }
    return n;
}

static bool word_is(struct span w, const char *s)
{
    return span_eq(w, span_str(s));
}

static bool word_copy(struct span w, char *out, size_t room)
{
    if (w.len >= room)
        return false;
    memcpy(out, w.p, w.len);
    out[w.len] = '\0';
    return true;
}

static bool word_time(struct span w, int64_t *out)
{
    uint64_t n;
    if (decimal_from_text(w, INT64_MAX, &n) != EHIS_OK)
        return false;
    *out = (int64_t)n;
    return true;
}

static bool parse_cert(const struct span *w, struct pki_issued *c)
{
    uint8_t bytes[32];
    for (c->kind = PKI_SYSTEM; c->kind < PKI_BUS && !word_is(w[2], pki_kind_name(c->kind));)
        c->kind++;
    for (c->reason = 0; c->reason < REASON_COUNT && !word_is(w[6], pki_reason_names[c->reason]);)
        c->reason++;
    return c->reason < REASON_COUNT && word_is(w[2], pki_kind_name(c->kind)) && w[1].len % 2 == 0 && w[1].len <= 40 &&
           hex_from_text(w[1], bytes, w[1].len / 2) == EHIS_OK && word_copy(w[1], c->serial, sizeof c->serial) &&
           identifier_check(w[3], pki_kind_parts(c->kind), NULL) == EHIS_OK &&
           word_copy(w[3], c->id, sizeof c->id) && word_time(w[4], &c->not_after_ms) && word_time(w[5], &c->revoked_ms) &&
           hex_from_text(w[7], bytes, 32) == EHIS_OK && word_copy(w[7], c->fingerprint, sizeof c->fingerprint);
}

static bool parse_line(size_t number, struct span line, struct issued_list *l, ehis_err *err)
{
    struct span w[WORDS_MAX];
    struct pki_issued c = {0};
    size_t n = split(line, w);
    if (number == 1)
        return n == 2 && word_is(w[0], MAGIC) && identifier_part_check(w[1], NULL) == EHIS_OK &&
               word_copy(w[1], l->instance, sizeof l->instance);
    if (number == 2)
        return n == 2 && word_is(w[0], "crl") && decimal_from_text(w[1], INT64_MAX, &l->crl_number) == EHIS_OK;
    if (n != 8 || !word_is(w[0], "cert") || !parse_cert(w, &c))
        return false;
    return (*err = issued_add(l, &c)) == EHIS_OK;
}

ehis_err issued_parse(struct span text, struct issued_list *out, struct ehis_why *why)
{
    struct issued_list l = {0};
    size_t number = 0;
    while (text.len) {
        ehis_err err = EHIS_E_AUTHORITY_DATABASE;
        const uint8_t *end = memchr(text.p, '\n', text.len);
        size_t n = end ? (size_t)(end - text.p) : 0;
        number++;
        if (!end || !parse_line(number, span_of(text.p, n), &l, &err)) {
            issued_fini(&l);
            return ehis_fail(why, err, "issued.txt, line %zu", number);
        }
        text = span_of(text.p + n + 1, text.len - n - 1);
    }
    if (number < 2) {
        issued_fini(&l);
        return ehis_fail(why, EHIS_E_AUTHORITY_DATABASE, "issued.txt ends after line %zu", number);
    }
    *out = l;
    return EHIS_OK;
}
