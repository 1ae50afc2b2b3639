/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
#include "gateway/bus/topic.h"
#include "proto/crypto/hash.h"
#include <stdio.h>
#include <string.h>

#define DIGEST_TEXT_BYTES 32
#define MARK "..." /* in no plain name: parts neither begin nor end with a dot, and two dots stand between them */

const char *bus_topic_kind_name(enum bus_topic_kind kind)
{
    static const char *const names[] = {"",    "call", "inbox", "reply",         "key",              "event",         "audit",
                                        "dlq", "blob", "control.lease", "control.registry", "control.cursor"};
    EHIS_ASSERT(kind >= TOPIC_CALL && kind <= BUS_TOPIC_KINDS);
    return names[kind];
}

ehis_err bus_prefix_check(const char *prefix, struct ehis_why *why)
{
    if (strlen(prefix) > BUS_PREFIX_MAX_BYTES || prefix[strspn(prefix, "abcdefghijklmnopqrstuvwxyz0123456789")])
        return ehis_fail(why, EHIS_E_BUS_PREFIX, "\"%.32s\": at most 16 of a to z and 0 to 9", prefix);
    return EHIS_OK;
}

/* Into a text that is longer than any name: prefix, identifier of 200 bytes, event of 64, their separators. */
static size_t put(char *text, size_t n, struct span s)
{
    for (size_t i = 0; i < s.len; i++) {
        text[n++] = s.p[i] == '/' ? '.' : (char)s.p[i];
        if (s.p[i] == '/')
            text[n++] = '.';
    }
    return n;
}

void bus_topic_name(const char *prefix, enum bus_topic_kind kind, struct span owner, struct span event, char out[BUS_TOPIC_NAME_MAX_BYTES + 1])
{
    char text[BUS_PREFIX_MAX_BYTES + 2 * IDENTIFIER_MAX_BYTES + IDENTIFIER_PART_MAX_BYTES + 32];
    EHIS_ASSERT(strlen(prefix) <= BUS_PREFIX_MAX_BYTES && owner.len <= IDENTIFIER_MAX_BYTES && event.len <= IDENTIFIER_PART_MAX_BYTES);
    EHIS_ASSERT((owner.len > 0) == (kind <= TOPIC_EVENT) && (event.len > 0) == (kind == TOPIC_KEY || kind == TOPIC_EVENT));
    size_t n = put(text, 0, span_str(prefix));
    if (n)
        n = put(text, n, span_str(".."));
    n = put(text, n, span_str(bus_topic_kind_name(kind)));
    if (owner.len)
        n = put(text, put(text, n, span_str(".")), owner);
    if (event.len)
        n = put(text, put(text, n, span_str("..")), event);
    if (n <= BUS_TOPIC_NAME_MAX_BYTES && !memchr(text, '_', n)) {
        memcpy(out, text, n);
        out[n] = '\0';
        return;
    }
    struct hash h;
    char hex[DIGEST_TEXT_BYTES + 1];
    hash_span(span_of((const uint8_t *)text, n), &h);
    hex_to_text(h.b, DIGEST_TEXT_BYTES / 2, hex);
    const size_t room = BUS_TOPIC_NAME_MAX_BYTES - DIGEST_TEXT_BYTES - (sizeof MARK - 1);
    snprintf(out, BUS_TOPIC_NAME_MAX_BYTES + 1, "%.*s" MARK "%s", (int)(n < room ? n : room), text, hex);
}

void bus_group_name(const char *prefix, char out[BUS_PREFIX_MAX_BYTES + 8])
{
    snprintf(out, BUS_PREFIX_MAX_BYTES + 8, "%s%sgw", prefix, *prefix ? ".." : "");
}
