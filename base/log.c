/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
#include "base/log.h"
#include "base/clock.h"
#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <unistd.h>

#define LINE_BYTES 4096
#define VALUE_BYTES 1024 /* of one value on the line, so that a long one leaves room for the others */
#define TAIL_BYTES 8     /* kept free for what ends a cut value and the line: ..."}\n */

static const char *const level_names[] = {"debug", "info", "notice", "warn", "error"};
static atomic_int lowest_level = LOG_INFO;
static atomic_int line_fd = 2;
static _Thread_local void (*thread_sink)(void *arg, int level, const char *line);
static _Thread_local void *thread_sink_arg;

struct line {
    char text[LINE_BYTES];
    size_t len;
};

static size_t room(const struct line *l)
{
    size_t last = sizeof l->text - TAIL_BYTES;
    return l->len < last ? last - l->len : 0;
}

static bool put(struct line *l, const char *s, size_t n)
{
    if (n > room(l))
        return false;
    memcpy(l->text + l->len, s, n);
    l->len += n;
    return true;
}

static bool put_text(struct line *l, const char *s) { return put(l, s, strlen(s)); }

/* The JSON form of the character at p: *from bytes taken, its length returned. Controls (C1 too: terminals obey them) are escaped, what is
 * not UTF-8, and NUL, becomes U+FFFD, so that a peer's text can neither forge a line nor break a reader. */
static size_t json_char(const uint8_t *p, size_t left, char out[8], size_t *from)
{
    uint8_t c = p[0];
    *from = 1;
    if (c == '"' || c == '\\') {
        out[0] = '\\';
        out[1] = (char)c;
        return 2;
    }
    if ((c > 0 && c < 0x20) || c == 0x7F)
        return (size_t)snprintf(out, 8, "\\u%04x", c);
    if (c > 0 && c < 0x80) {
        out[0] = (char)c;
        return 1;
    }
    size_t n = c >= 0xF0 ? 4 : c >= 0xE0 ? 3 : 2;
    if (n > left || !utf8_is_valid(span_of(p, n), NULL)) {
        memcpy(out, "\xEF\xBF\xBD", 3);
        return 3;
    }
    *from = n;
    if (c == 0xC2 && p[1] < 0xA0)
        return (size_t)snprintf(out, 8, "\\u%04x", p[1]);
    memcpy(out, p, n);
    return n;
}

static void put_string(struct line *l, struct span s, bool is_hex)
{
    size_t first = l->len;
    if (!put_text(l, "\""))
        return;
    for (size_t i = 0, from; i < s.len; i += from) {
        char c[8];
        size_t n = 2;
        from = 1;
        if (is_hex)
            hex_to_text(s.p + i, 1, c);
        else
            n = json_char(s.p + i, s.len - i, c, &from);
        if (l->len - first > VALUE_BYTES || !put(l, c, n)) {
            memcpy(l->text + l->len, "...", 3); /* TAIL_BYTES hold it */
            l->len += 3;
            break;
        }
    }
    l->text[l->len++] = '"';
}

static void put_field(struct line *l, const struct log_field *f)
{
    char number[32];
    size_t name_len = strlen(f->name);
    /* A field stands whole up to its value or not at all. */
    if (name_len + 160 > room(l))
        return;
    put_text(l, ",\"");
    put(l, f->name, name_len);
    put_text(l, "\":");
    switch (f->type) {
    case LOG_F_STR:
    case LOG_F_HEX:
        put_string(l, f->s, f->type == LOG_F_HEX);
        break;
    case LOG_F_U64:
    case LOG_F_I64:
        if (f->type == LOG_F_U64)
            snprintf(number, sizeof number, "%llu", (unsigned long long)f->u);
        else
            snprintf(number, sizeof number, "%lld", (long long)f->i);
        put_text(l, number);
        break;
    case LOG_F_BOOL:
        put_text(l, f->b ? "true" : "false");
        break;
    case LOG_F_ERR:
        snprintf(number, sizeof number, "\"EHIS-%u\"", (unsigned)f->e);
        put_text(l, number);
        put_text(l, ",\"error\":");
        put_string(l, span_str(ehis_err_name(f->e)), false);
        break;
    }
}

void log_write(enum log_level level, const char *event, const struct log_field *fields, size_t count)
{
    if ((int)level < atomic_load_explicit(&lowest_level, memory_order_relaxed))
        return;
    int saved = errno;
    struct line l;
    char now[TIME_TEXT_LEN];
    l.len = 0;
    time_to_text(clock_wall_ms(&clock_system), now);
    put_text(&l, "{\"time\":\"");
    put_text(&l, now);
    put_text(&l, "\",\"level\":\"");
    put_text(&l, level_names[level]);
    put_text(&l, "\",\"event\":");
    put_string(&l, span_str(event), false);
    for (size_t i = 0; i < count; i++)
        put_field(&l, &fields[i]);
    if (thread_sink) {
        memcpy(l.text + l.len, "}", 2);
        thread_sink(thread_sink_arg, (int)level, l.text);
        errno = saved;
        return;
    }
    memcpy(l.text + l.len, "}\n", 2);
    /* A log that cannot be written is no reason to stop: the audit journal is another thing. */
    ssize_t ignored = write(atomic_load_explicit(&line_fd, memory_order_relaxed), l.text, l.len + 2);
    (void)ignored;
    errno = saved;
}

void log_set_level(enum log_level lowest) { atomic_store(&lowest_level, (int)lowest); }

ehis_err log_level_from_text(struct span text, enum log_level *out)
{
    for (size_t i = 0; i < sizeof level_names / sizeof level_names[0]; i++)
        if (span_eq(text, span_str(level_names[i]))) {
            *out = (enum log_level)i;
            return EHIS_OK;
        }
    return EHIS_E_INVALID;
}

void log_set_thread_sink(void (*sink)(void *arg, int level, const char *line), void *arg)
{
    thread_sink = sink;
    thread_sink_arg = arg;
}

void log_set_fd(int fd) { atomic_store(&line_fd, fd); }
