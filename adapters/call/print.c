/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
#include "adapters/call/call.h"
#include <jansson.h>
#include <stdio.h>

const char *print_state(int state)
{
    static const char *const names[] = {"", "accepted", "replicated", "delivered", "failed", "refused", "expired"};
    return state > 0 && state < (int)(sizeof names / sizeof *names) ? names[state] : "unknown";
}

static json_t *uuid(const uint8_t id[16])
{
    char text[UUID_TEXT_LEN];
    uuid_to_text(id, text);
    return json_string(text);
}

static json_t *hex(const uint8_t *p, size_t n)
{
    char text[2 * 32 + 1];
    EHIS_ASSERT(n <= 32);
    hex_to_text(p, n, text);
    return json_string(text);
}

static json_t *time_of(int64_t unix_ms)
{
    char text[TIME_TEXT_LEN];
    time_to_text(unix_ms, text);
    return json_string(text);
}

static bool print_line(json_t *line)
{
    bool is_out = line && json_dumpf(line, stdout, JSON_COMPACT) == 0 && fputc('\n', stdout) != EOF && fflush(stdout) == 0;
    json_decref(line);
    return is_out;
}

/* JSON as it is, other bytes as base64: "body" or "body_base64". */
static void set_body(json_t *line, const char *content_type, const void *body, size_t bytes)
{
    struct buf text;
    json_t *v = strcmp(content_type, "application/json") == 0 ? json_loadb(body, bytes, JSON_DECODE_ANY | JSON_REJECT_DUPLICATES, NULL) : NULL;
    json_object_set_new(line, "content_type", json_string(content_type));
    if (v) {
        json_object_set_new(line, "body", v);
        return;
    }
    buf_init(&text, 2 * BODY_MAX);
    if (base64_put(&text, span_of(body, bytes)) == EHIS_OK)
        json_object_set_new(line, "body_base64", json_stringn((const char *)buf_span(&text).p, text.len));
    buf_fini(&text);
}

bool print_sent(const struct client *k, const uint8_t exchange_id[16])
{
    char id[UUID_TEXT_LEN];
    if (k->is_json)
        return print_line(json_pack("{s:s, s:o}", "state", "sent", "exchange", uuid(exchange_id)));
    uuid_to_text(exchange_id, id);
    return printf("%-10s %s\n", "sent", id) > 0 && fflush(stdout) == 0;
}

bool print_receipt(const struct client *k, const ehis_receipt *r)
{
    char id[UUID_TEXT_LEN], at[TIME_TEXT_LEN], code[32] = "";
    if (r->code)
        snprintf(code, sizeof code, "EHIS-%d", r->code);
    if (k->is_json)
        return print_line(json_pack("{s:s, s:o, s:o, s:o, s:s, s:b, s:s}", "state", print_state(r->state), "exchange", uuid(r->exchange_id), "digest", hex(r->digest, 32), "time",
                                    time_of(r->time_ms), "gateway", r->gateway ? r->gateway : "", "is_recipient_signed", r->is_recipient_signed, "code", code));
    uuid_to_text(r->exchange_id, id);
    time_to_text(r->time_ms, at);
    return printf("%-10s %s %s %s%s%s%s\n", print_state(r->state), id, at, r->gateway ? r->gateway : "", r->is_recipient_signed ? " signed by the recipient" : "", code[0] ? " " : "", code) > 0 &&
           fflush(stdout) == 0;
}

bool print_reply(const struct client *k, const ehis_reply *r)
{
    size_t n;
    const void *body = ehis_reply_body(r, &n);
    const char *type = ehis_reply_content_type(r);
    if (k->is_json) {
        json_t *line = json_pack("{s:o, s:b, s:s}", "exchange", uuid(ehis_reply_exchange_id(r)), "is_fault", ehis_reply_is_fault(r), "schema", ehis_reply_schema(r));
        if (line)
            set_body(line, type, body, n);
        return print_line(line);
    }
    if (ehis_reply_is_fault(r))
        fputs(words_is_az(k->c) ? "ehis-call: xidmət sahibi xəta ilə cavab verdi\n" : "ehis-call: the provider answered with a fault\n", stderr);
    return fwrite(body, 1, n, stdout) == n && (strcmp(type, "application/json") != 0 || fputc('\n', stdout) != EOF) && fflush(stdout) == 0;
}

/* Always JSON: a line is a message. */
bool print_incoming(const struct client *k, const ehis_incoming *in)
{
    size_t n;
    const ehis_info *i = ehis_incoming_info(in);
    const void *body = ehis_incoming_body(in, &n);
    (void)k;
    json_t *line = json_pack("{s:o, s:s, s:s, s:s, s:o, s:I, s:o, s:b, s:b, s:b}", "exchange", uuid(i->exchange_id), "sender", i->sender, "service", i->service, "operation", i->operation,
                             "stream", hex(i->stream, 16), "number", (json_int_t)i->number, "created", time_of(i->created_ms), "is_repeated", i->is_repeated, "is_late", i->is_late,
                             "is_fault", i->is_fault);
    if (line)
        set_body(line, i->content_type, body, n);
    return print_line(line);
}

bool print_status(const struct client *k, const ehis_status *s)
{
    if (k->is_json)
        return print_line(json_pack("{s:b, s:b, s:s, s:s, s:I, s:I, s:I, s:I}", "is_ready", s->is_ready, "has_streams", s->has_streams, "gateway", s->gateway, "address", s->address,
                                    "registry_version", (json_int_t)s->registry_version, "outbox_messages", (json_int_t)s->outbox_messages, "outbox_bytes",
                                    (json_int_t)s->outbox_bytes, "reconnects", (json_int_t)s->reconnects));
    return printf("session with %s%s%s; registry version %llu; %llu messages in the outbox\n", s->gateway, s->address[0] ? " at " : "", s->address, (unsigned long long)s->registry_version,
                  (unsigned long long)s->outbox_messages) > 0 && fflush(stdout) == 0;
}
