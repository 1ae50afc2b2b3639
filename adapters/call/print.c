/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
#include "adapters/call/call.h"
#include <stdio.h>

const char *print_state(int state)
{
    static const char *const names[] = {"", "accepted", "replicated", "delivered", "failed", "refused", "expired"};
    return state > 0 && state < (int)(sizeof names / sizeof *names) ? names[state] : "unknown";
}

/* JSON as it is, other bytes as base64: "body" or "body_base64". */
static void set_body(json_t *line, const char *content_type, const void *body, size_t bytes)
{
    struct buf text;
    json_t *v = strcmp(content_type, "application/json") == 0 ? json_loadb(body, bytes, JSON_DECODE_ANY | JSON_REJECT_DUPLICATES, NULL) : NULL;
    json_object_set_new(line, "content_type", json_string(content_type));
    buf_init(&text, 2 * BODY_MAX);
    if (v)
        json_object_set_new(line, "body", v);
    else if (base64_put(&text, span_of(body, bytes)) == EHIS_OK)
        json_object_set_new(line, "body_base64", tool_text(buf_span(&text)));
    buf_fini(&text);
}

static ehis_err print_text(struct ehis_why *why, const char *format, ...) EHIS_PRINTF(2, 3);
static ehis_err print_text(struct ehis_why *why, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    bool is_out = vprintf(format, args) >= 0 && fflush(stdout) == 0;
    va_end(args);
    return is_out ? EHIS_OK : ehis_fail(why, EHIS_E_IO, "standard output");
}

ehis_err print_sent(const struct client *k, const uint8_t exchange_id[16], struct ehis_why *why)
{
    char id[UUID_TEXT_LEN];
    if (k->is_json)
        return tool_line(json_pack("{s:s, s:o}", "state", "sent", "exchange", tool_uuid(exchange_id)), why);
    uuid_to_text(exchange_id, id);
    return print_text(why, "%-10s %s\n", "sent", id);
}

ehis_err print_receipt(const struct client *k, const ehis_receipt *r, struct ehis_why *why)
{
    char id[UUID_TEXT_LEN], at[TIME_TEXT_LEN], code[32] = "";
    const char *gateway = r->gateway ? r->gateway : "";
    if (r->code)
        snprintf(code, sizeof code, "EHIS-%d", r->code);
    if (k->is_json)
        return tool_line(json_pack("{s:s, s:o, s:o, s:o, s:s, s:b, s:s}", "state", print_state(r->state), "exchange", tool_uuid(r->exchange_id), "digest", tool_hex(r->digest, 32), "time",
                                   tool_time(r->time_ms), "gateway", gateway, "is_recipient_signed", r->is_recipient_signed, "code", code), why);
    uuid_to_text(r->exchange_id, id);
    time_to_text(r->time_ms, at);
    return print_text(why, "%-10s %s %s %s%s%s%s\n", print_state(r->state), id, at, gateway, r->is_recipient_signed ? " signed by the recipient" : "", code[0] ? " " : "", code);
}

ehis_err print_reply(const struct client *k, const ehis_reply *r, struct ehis_why *why)
{
    size_t n;
    const void *body = ehis_reply_body(r, &n);
    const char *type = ehis_reply_content_type(r);
    if (!body)
        return ehis_fail(why, EHIS_E_TOO_LARGE, "a body of %llu bytes, or it was altered: --output FILE takes one of any size", (unsigned long long)ehis_reply_body_bytes(r));
    if (k->is_json) {
        json_t *line = json_pack("{s:o, s:b, s:s}", "exchange", tool_uuid(ehis_reply_exchange_id(r)), "is_fault", ehis_reply_is_fault(r), "schema", ehis_reply_schema(r));
        set_body(line, type, body, n);
        return tool_line(line, why);
    }
    if (ehis_reply_is_fault(r))
        fputs(words_is_az(k->c) ? "ehis-call: xidmət sahibi xəta ilə cavab verdi\n" : "ehis-call: the provider answered with a fault\n", stderr);
    bool is_out = fwrite(body, 1, n, stdout) == n;
    return is_out ? print_text(why, "%s", strcmp(type, "application/json") == 0 ? "\n" : "") : ehis_fail(why, EHIS_E_IO, "standard output");
}

/* Always JSON: a line is a message. */
ehis_err print_incoming(const ehis_incoming *in, struct ehis_why *why)
{
    size_t n;
    const ehis_info *i = ehis_incoming_info(in);
    const void *body = ehis_incoming_body(in, &n);
    if (!body)
        return ehis_fail(why, EHIS_E_TOO_LARGE, "a body of %llu bytes, or it was altered", (unsigned long long)ehis_incoming_body_bytes(in));
    json_t *line = json_pack("{s:o, s:s, s:s, s:s, s:o, s:I, s:o, s:b, s:b, s:b}", "exchange", tool_uuid(i->exchange_id), "sender", i->sender, "service", i->service, "operation", i->operation,
                             "stream", tool_hex(i->stream, 16), "number", (json_int_t)i->number, "created", tool_time(i->created_ms), "is_repeated", i->is_repeated, "is_late", i->is_late,
                             "is_fault", i->is_fault);
    set_body(line, i->content_type, body, n);
    return tool_line(line, why);
}

static json_t *sessions_of(const ehis_status *s)
{
    json_t *all = json_array();
    for (size_t i = 0; i < s->session_count; i++) {
        const ehis_session_status *one = &s->sessions[i];
        (void)json_array_append_new(all, json_pack("{s:s, s:s, s:b, s:b, s:s?}", "address", one->address, "gateway", one->gateway, "is_ready", one->is_ready, "has_streams",
                                                   one->has_streams, "last_error", one->last_error ? ehis_error_name(one->last_error) : NULL));
    }
    return all;
}

ehis_err print_status(const struct client *k, const ehis_status *s, struct ehis_why *why)
{
    if (k->is_json)
        return tool_line(json_pack("{s:b, s:b, s:s, s:o, s:I, s:I, s:I, s:I}", "is_ready", s->is_ready, "has_streams", s->has_streams, "gateway", s->gateway, "sessions", sessions_of(s),
                                   "registry_version", (json_int_t)s->registry_version, "outbox_messages", (json_int_t)s->outbox_messages, "outbox_bytes",
                                   (json_int_t)s->outbox_bytes, "reconnects", (json_int_t)s->reconnects), why);
    for (size_t i = 0; i < s->session_count; i++)
        EHIS_TRY(print_text(why, "%s: %s%s\n", s->sessions[i].address, s->sessions[i].is_ready ? "session with " : "no session", s->sessions[i].is_ready ? s->sessions[i].gateway : ""));
    return print_text(why, "registry version %llu; %llu messages in the outbox\n", (unsigned long long)s->registry_version, (unsigned long long)s->outbox_messages);
}
