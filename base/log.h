/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* Operators' log: one JSON object a line on stderr, typed fields. Never a payload, key, token or certificate. The audit journal
 * is another thing. Any thread; one write(2) a line; a line is at most 4 KiB (longer values are cut and end in "...").
 *   log_line(LOG_INFO, "session.open", F_STR("system", id), F_U64("session", n), F_ERR(err)); */
#pragma once
#include "base/bytes.h"

enum log_level { LOG_DEBUG, LOG_INFO, LOG_NOTICE, LOG_WARN, LOG_ERROR };

struct log_field {
    enum { LOG_F_STR, LOG_F_U64, LOG_F_I64, LOG_F_BOOL, LOG_F_HEX, LOG_F_ERR } type;
    const char *name;
    union { struct span s; uint64_t u; int64_t i; bool b; ehis_err e; };
};
#define F_STR(name_, cstr) ((struct log_field){.type = LOG_F_STR, .name = (name_), .s = span_str(cstr)})
#define F_SPAN(name_, span_) ((struct log_field){.type = LOG_F_STR, .name = (name_), .s = (span_)})
#define F_HEX(name_, p_, n_) ((struct log_field){.type = LOG_F_HEX, .name = (name_), .s = span_of((p_), (n_))})
#define F_U64(name_, v) ((struct log_field){.type = LOG_F_U64, .name = (name_), .u = (v)})
#define F_I64(name_, v) ((struct log_field){.type = LOG_F_I64, .name = (name_), .i = (v)})
#define F_BOOL(name_, v) ((struct log_field){.type = LOG_F_BOOL, .name = (name_), .b = (v)})
#define F_ERR(err_) ((struct log_field){.type = LOG_F_ERR, .name = "code", .e = (err_)}) /* writes "code":"EHIS-1005","error":"IO" */

#define log_line(level, event, ...) \
    log_write((level), (event), (const struct log_field[]){__VA_ARGS__}, sizeof((struct log_field[]){__VA_ARGS__}) / sizeof(struct log_field))
void log_write(enum log_level level, const char *event, const struct log_field *fields, size_t count);

void log_set_level(enum log_level lowest); /* default LOG_INFO */
ehis_err log_level_from_text(struct span text, enum log_level *out) EHIS_MUST_USE; /* debug info notice warn error */
void log_set_fd(int fd); /* default 2; for tests */
/* What this thread logs from now on goes there instead, a line without its newline; NULL: back to the descriptor. */
void log_set_thread_sink(void (*sink)(void *arg, int level, const char *line), void *arg);
