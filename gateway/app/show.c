/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* journal show and verify: what a security team reads. Works on the folder, also while the gateway runs. */
#include "base/tool/result.h"
#include "gateway/app/gateway.h"
#include "proto/wire/record.h"
#include "proto/wire/statement.h"
#include <stdio.h>
#include <stdlib.h>

/* An accepted envelope, by its digest: what is said of it later names it by that alone. */
struct told {
    struct told *next;
    uint8_t digest[HASH_BYTES];
    char rule[65];
    size_t header_bytes;
    uint8_t header[];
};
#define TOLD_HEADS 65536

struct shown {
    bool is_json, is_all, is_verify;
    const char *kind, *exchange, *system;
    struct told **told;
    uint64_t previous_sequence;
    uint64_t kinds[64];
    struct ehis_why *why;
};

static struct told *find_told(const struct shown *s, const uint8_t digest[HASH_BYTES])
{
    struct told *t = s->told[be_get(digest, 8) % TOLD_HEADS];
    while (t && memcmp(t->digest, digest, HASH_BYTES) != 0)
        t = t->next;
    return t;
}

static ehis_err remember(struct shown *s, const struct record *r)
{
    if ((r->kind != RECORD_ACCEPTED && r->kind != RECORD_CARRIED) || find_told(s, r->digest))
        return EHIS_OK;
    struct told *t = calloc(1, sizeof *t + r->header.len);
    if (!t)
        return EHIS_E_NO_MEMORY;
    memcpy(t->digest, r->digest, HASH_BYTES);
    if (r->rule.len)
        memcpy(t->rule, r->rule.p, r->rule.len < sizeof t->rule ? r->rule.len : sizeof t->rule - 1);
    t->header_bytes = r->header.len;
    memcpy(t->header, r->header.p, r->header.len);
    struct told **head = &s->told[be_get(t->digest, 8) % TOLD_HEADS];
    t->next = *head;
    *head = t;
    return EHIS_OK;
}

static void forget_all(struct shown *s)
{
    for (size_t i = 0; s->told && i < TOLD_HEADS; i++)
        for (struct told *t = s->told[i], *next; t; t = next) {
            next = t->next;
            free(t);
        }
    free(s->told);
}

/* Why it is asked, and for whom. */
static void add_reason(json_t *o, const struct envelope_header *h)
{
    tool_set(o, "purpose", tool_text(h->purpose));
    tool_set(o, "legal_basis", tool_text(h->legal_basis));
    tool_set(o, "case_ref", tool_text(h->case_ref));
    tool_set(o, "official", tool_text(h->official));
    tool_set(o, "on_behalf_of", tool_text(h->on_behalf_of));
}

/* Who, what, purpose, basis: from the envelope's own header. */
static void add_header(json_t *o, const struct envelope_header *h)
{
    static const char *const kinds[] = {"", "request", "response", "event", "key"};
    json_object_set_new(o, "exchange", tool_uuid(h->exchange_id));
    json_object_set_new(o, "message", json_string(kinds[h->kind]));
    if (h->status)
        json_object_set_new(o, "status", json_string(h->status == STATUS_OK ? "ok" : "fault"));
    tool_set(o, "sender", tool_text(h->sender));
    tool_set(o, "recipient", tool_text(h->recipient));
    tool_set(o, "operation", tool_text(h->operation));
    add_reason(o, h);
    tool_set(o, "in_reply_to", tool_hex(h->in_reply_to.p, h->in_reply_to.len));
    if (h->stream.len) {
        tool_set(o, "stream", tool_hex(h->stream.p, h->stream.len));
        tool_set(o, "number", tool_count(h->number));
    }
    tool_set(o, "schema", tool_text(h->schema));
    tool_set(o, "content_type", tool_text(h->content_type));
    tool_set(o, "created", tool_time((int64_t)h->created_ms));
    tool_set(o, "expires", tool_time((int64_t)h->expires_ms));
    if (h->large.root.len)
        json_object_set_new(o, "large", json_pack("{s:o, s:o}", "bytes", tool_count(h->large.bytes), "root", tool_hex(h->large.root.p, h->large.root.len)));
    json_t *subjects = json_array(), *fields = json_array();
    for (size_t i = 0; i < h->subject_count; i++)
        json_array_append_new(subjects, tool_hex(h->subjects[i].p, h->subjects[i].len));
    for (size_t i = 0; i < h->field_count; i++)
        json_array_append_new(fields, tool_text(h->fields[i]));
    tool_set(o, "subjects", subjects);
    tool_set(o, "fields", fields);
}

/* An answer has no purpose of its own: its request's, and the rule by which that was let through. */
static void add_request(json_t *o, const struct told *request)
{
    struct envelope_header q;
    if (envelope_header_read(span_of(request->header, request->header_bytes), &q, NULL) != EHIS_OK)
        return;
    tool_set(o, "service", tool_text(q.recipient));
    add_reason(o, &q);
    tool_set(o, "rule", tool_text(span_str(request->rule)));
}

/* The recipient's own word. */
static void add_ack(json_t *o, struct span bytes)
{
    struct acknowledgement a;
    if (bytes.len == 0 || acknowledgement_read(bytes, &a, NULL) != EHIS_OK)
        return;
    json_object_set_new(o, "outcome", json_string(a.outcome == OUTCOME_DONE ? "done" : a.outcome == OUTCOME_REJECTED ? "rejected" : "retry"));
    tool_set(o, "acknowledged", tool_time((int64_t)a.time_ms));
}

/* The exact bytes that were signed: with them the record proves itself. */
static void add_evidence(json_t *o, const struct record *r)
{
    tool_set(o, "header", tool_base64(r->header));
    tool_set(o, "signature", tool_base64(r->signature));
    tool_set(o, "ack", tool_base64(r->ack));
}

static json_t *record_json(const struct record *r, const struct envelope_header *h, const struct journal_entry *e, bool is_archived)
{
    bool is_refusal = r->kind == RECORD_REFUSED || r->kind == RECORD_CONFLICT || r->kind == RECORD_FAILED;
    json_t *o = json_object();
    json_object_set_new(o, "sequence", tool_count(r->sequence));
    tool_set(o, "time", tool_time((int64_t)r->time_ms));
    json_object_set_new(o, "kind", json_string(record_kind_name(r->kind)));
    tool_set(o, "digest", tool_hex(r->digest, 32));
    if (h)
        add_header(o, h);
    else
        tool_set(o, "sender", tool_text(r->sender));
    if (r->code) {
        ehis_err code;
        json_object_set_new(o, "code", tool_code(r->code));
        if (ehis_err_from_number(r->code, &code))
            json_object_set_new(o, "error", json_string(ehis_err_name(code)));
    }
    tool_set(o, "rule", tool_text(r->rule));
    tool_set(o, "system", tool_text(r->system));
    tool_set(o, "gateway", tool_text(r->gateway));
    tool_set(o, "address", tool_text(r->address));
    tool_set(o, "text", tool_text(r->text));
    tool_set(o, "service", tool_text(r->service));
    tool_set(o, "event", tool_text(r->event));
    tool_set(o, "session", tool_count(r->session));
    if (is_refusal && r->count && r->count != r->code)
        json_object_set_new(o, "told", tool_code((unsigned)r->count));
    else if (!is_refusal && r->kind < RECORD_STREAM)
        tool_set(o, "count", tool_count(r->count));
    add_ack(o, r->ack);
    tool_set(o, "attempt", tool_count(r->attempt));
    tool_set(o, "sealed_bytes", tool_count(r->sealed_bytes));
    tool_set(o, "certificate", tool_hex(r->certificate, 32));
    tool_set(o, "sealed_hash", tool_hex(r->sealed_hash, 32));
    tool_set(o, "registry_version", tool_count(r->registry_version));
    tool_set(o, "registry_hash", tool_hex(r->registry_hash, 32));
    if (r->state)
        json_object_set_new(o, "state", json_string(state_name(r->state)));
    json_object_set_new(o, "is_recipient_signed", json_boolean(r->ack.len > 0));
    json_object_set_new(o, "segment", tool_count(e->pos.segment));
    json_object_set_new(o, "is_archived", json_boolean(is_archived));
    return o;
}

static bool is_plain(const char *s)
{
    while (*s > ' ' && *s < 0x7F && *s != '"' && *s != '\\')
        s++;
    return *s == 0;
}

/* What a sender wrote is quoted where it could look like another field, and never looks like another record. */
static void print_line(const json_t *o)
{
    static const char *const shown[] = {"exchange", "message", "sender", "recipient", "operation", "purpose", "legal_basis", "case_ref", "official",
                                        "code", "error", "told", "rule", "system", "service", "event", "number", "text"};
    printf("%8lld  %s  %-15s", json_integer_value(json_object_get(o, "sequence")), json_string_value(json_object_get(o, "time")),
           json_string_value(json_object_get(o, "kind")));
    for (size_t i = 0; i < sizeof shown / sizeof *shown; i++) {
        const json_t *v = json_object_get(o, shown[i]);
        if (json_is_string(v)) {
            const char *text = json_string_value(v);
            printf("  %s=", shown[i]);
            tool_put_text(stdout, text, !is_plain(text));
        } else if (json_is_integer(v))
            printf("  %s=%lld", shown[i], json_integer_value(v));
    }
    putchar('\n');
}

static bool is_wanted(const struct shown *s, const struct record *r, const struct envelope_header *h)
{
    char id[UUID_TEXT_LEN] = "";
    if (h)
        uuid_to_text(h->exchange_id, id);
    if (!s->is_all && r->kind >= RECORD_STREAM)
        return false;
    if (s->kind && strcmp(s->kind, record_kind_name(r->kind)) != 0)
        return false;
    if (s->exchange && strcmp(s->exchange, id) != 0)
        return false;
    if (s->system) {
        struct span want = span_str(s->system);
        return span_eq(r->system, want) || span_eq(r->sender, want) || span_eq(r->gateway, want) || (h && (span_eq(h->sender, want) || span_eq(identifier_prefix(h->recipient, IDENTIFIER_SYSTEM), want)));
    }
    return true;
}

static ehis_err on_entry(void *ctx, const struct journal_entry *e, bool is_archived)
{
    struct shown *s = ctx;
    struct record r;
    struct envelope_header header;
    EHIS_TRY(record_read(e->record, &r, s->why));
    if (s->previous_sequence && r.sequence != s->previous_sequence + 1)
        return ehis_fail(s->why, EHIS_E_JOURNAL_CORRUPT, "record %llu follows %llu", (unsigned long long)r.sequence, (unsigned long long)s->previous_sequence);
    s->previous_sequence = r.sequence;
    if (r.kind < 64)
        s->kinds[r.kind]++;
    bool has_header = r.header.len > 0 && envelope_header_read(r.header, &header, NULL) == EHIS_OK;
    if (s->is_verify) {
        if (r.header.len > 0) {
            struct hash sealed, digest;
            memcpy(sealed.b, r.sealed_hash, HASH_BYTES);
            hash_envelope(r.header, r.sealed_bytes, &sealed, &digest);
            if (memcmp(digest.b, r.digest, HASH_BYTES) != 0)
                return ehis_fail(s->why, EHIS_E_JOURNAL_CORRUPT, "record %llu: its digest is not that of its header and body", (unsigned long long)r.sequence);
        }
        return EHIS_OK;
    }
    EHIS_TRY(remember(s, &r));
    const struct told *told = r.header.len ? NULL : find_told(s, r.digest), *request = NULL;
    if (told)
        has_header = envelope_header_read(span_of(told->header, told->header_bytes), &header, NULL) == EHIS_OK;
    if (!is_wanted(s, &r, has_header ? &header : NULL))
        return EHIS_OK;
    json_t *o = record_json(&r, has_header ? &header : NULL, e, is_archived);
    if (told && !r.rule.len)
        tool_set(o, "rule", tool_text(span_str(told->rule)));
    if (has_header && header.in_reply_to.len)
        request = find_told(s, header.in_reply_to.p);
    if (request)
        add_request(o, request);
    if (s->is_json && s->is_all)
        add_evidence(o, &r);
    if (s->is_json)
        return tool_line(o, s->why);
    print_line(o);
    json_decref(o);
    return EHIS_OK;
}

static ehis_err print_verdict(const struct shown *s, const struct journal_check *check)
{
    char head[2 * HASH_BYTES + 1]; /* zeros for an empty journal */
    json_t *kinds = json_object(), *v;
    const char *name;
    hex_to_text(check->head_hash, HASH_BYTES, head);
    for (uint32_t k = 1; k < 64; k++)
        tool_set(kinds, record_kind_name(k), tool_count(s->kinds[k]));
    json_t *o = json_pack("{s:s, s:o, s:o, s:o, s:b, s:s, s:o}", "verdict", "whole", "entries", tool_count(check->entries), "groups", tool_count(check->groups),
                          "archived_entries", tool_count(check->archived_entries), "is_torn", check->is_torn, "head", head, "kinds", kinds);
    if (s->is_json)
        return tool_line(o, s->why);
    printf("whole: %llu records in %llu groups (%llu of them archived)%s\nhead: %s\n", (unsigned long long)check->entries, (unsigned long long)check->groups,
           (unsigned long long)check->archived_entries, check->is_torn ? "; the last group is torn: it was never answered for" : "", head);
    json_object_foreach (kinds, name, v)
        printf("%10lld  %s\n", json_integer_value(v), name);
    json_decref(o);
    return EHIS_OK;
}

/* A filter that nothing can match would look like "nothing happened". */
static ehis_err check_filters(const struct shown *s, struct ehis_why *why)
{
    const char *kinds[sizeof s->kinds / sizeof *s->kinds];
    size_t count = 0, same = 0;
    unsigned parts = 0;
    if (s->is_verify && (s->kind || s->exchange || s->system || s->is_all))
        return ehis_fail(why, EHIS_E_USAGE, "journal verify reads all of it");
    for (uint32_t k = 1; k < sizeof kinds / sizeof *kinds; k++)
        if (strcmp(record_kind_name(k), "unknown") != 0)
            kinds[count++] = record_kind_name(k);
    while (s->kind && same < count && strcmp(s->kind, kinds[same]) != 0)
        same++;
    if (s->kind && same == count)
        return cli_mistyped("unknown kind", s->kind, nearest_name(span_str(s->kind), kinds, count), why);
    if (s->exchange && (strlen(s->exchange) != UUID_TEXT_LEN - 1 || strspn(s->exchange, "0123456789abcdef-") != UUID_TEXT_LEN - 1))
        return ehis_fail(why, EHIS_E_USAGE, "--exchange %s: an exchange's id looks like 018f3c2a-5b7e-7c01-9234-56789abcdef0", s->exchange);
    if (s->system && (identifier_parse(span_str(s->system), &parts, why) != EHIS_OK || (parts != IDENTIFIER_SYSTEM && parts != IDENTIFIER_GATEWAY)))
        return ehis_fail(why, EHIS_E_USAGE, "--system %s: neither a system nor a gateway: AZ/GOV/STS/tax, AZ/gw1", s->system);
    return EHIS_OK;
}

ehis_err gateway_journal_verb(struct cli *c, struct ehis_why *why)
{
    const char *what = cli_word(c, 0), *dir = cli_get(c, "dir");
    struct shown s = {.is_json = cli_json(c), .is_all = cli_has(c, "all"), .is_verify = strcmp(what, "verify") == 0, .kind = cli_get(c, "kind"),
                      .exchange = cli_get(c, "exchange"), .system = cli_get(c, "system"), .why = why};
    struct disk *disk;
    struct journal_check check;
    if (!s.is_verify && strcmp(what, "show") != 0)
        return ehis_fail(why, EHIS_E_USAGE, "journal show, or journal verify");
    EHIS_TRY(check_filters(&s, why));
    EHIS_TRY(disk_open_folder(dir, false, &disk, why));
    s.told = calloc(TOLD_HEADS, sizeof(struct told *));
    ehis_err err = s.told ? journal_walk(disk, on_entry, &s, &check, why) : EHIS_E_NO_MEMORY;
    forget_all(&s);
    disk_free(disk);
    if (err == EHIS_OK && s.is_verify)
        err = print_verdict(&s, &check);
    if (err == EHIS_E_JOURNAL_CORRUPT && s.is_verify)
        cli_set_exit(c, CLI_UNVERIFIED);
    return err;
}
