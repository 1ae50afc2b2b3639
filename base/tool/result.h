/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* What the tools print: one JSON value for each result, shown as JSON or as text. */
#pragma once
#include "base/tool/cli.h"
#include <jansson.h>
#include <stdio.h>

/* Values; NULL without memory (json_pack and tool_set take that). */
json_t *tool_text(struct span s); /* what is not UTF-8 becomes '?' */
json_t *tool_hex(const uint8_t *p, size_t n); /* n <= 64; null where n is 0 or all are zero */
json_t *tool_base64(struct span s);
json_t *tool_uuid(const uint8_t id[16]);
json_t *tool_time(int64_t unix_ms); /* RFC 3339 text; null for 0 */
json_t *tool_count(uint64_t n);
json_t *tool_code(unsigned number); /* "EHIS-4100" */
/* Adds a member, unless it says nothing: NULL, null, "", 0 or an empty list. */
void tool_set(json_t *object, const char *name, json_t *value);

/* Text that somebody else wrote, for a terminal: characters that are not seen and move or turn what is, as \u and four digits; quoted: in quotes, as in JSON. */
void tool_put_text(FILE *out, const char *s, bool is_quoted);
/* Prints a result and frees it: with --json as JSON, else as indented "name: value" lines. NO_MEMORY for NULL. */
ehis_err tool_print(const struct cli *c, json_t *result) EHIS_MUST_USE;
/* One JSON object on one line, flushed, and frees it. NO_MEMORY, IO. */
ehis_err tool_line(json_t *result, struct ehis_why *why) EHIS_MUST_USE;
