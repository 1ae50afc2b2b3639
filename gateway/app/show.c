/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* journal show and verify: what a security team reads. Works on the folder, also while the gateway runs. */
#include "base/cli.h"
#include "gateway/app/gateway.h"
#include "proto/wire/record.h"
#include "proto/wire/statement.h"
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

struct shown {
    bool is_json, is_all, is_verify;
    const char *kind, *exchange, *system;
    uint64_t count, previous_sequence;
    uint64_t kinds[64];
    struct ehis_why *why;
};

static void set_text(json_t *o, const char *name, struct span s)
{
    if (s.len > 0)
        json_object_set_new(o, name, json_stringn((const char *)s.p, s.len));
}

static void set_hex(json_t *o, const char *name, const uint8_t *p, size_t n)
{
    char text[2 * 64 + 1];
    bool is_set = false;
    for (size_t i = 0; i < n; i++)
        is_set |= p[i] != 0;
    if (!is_set)
        return;
    hex_to_text(p, n, text);
    json_object_set_new(o, name, json_string(text));
}

static void set_number(json_t *o, const char *name, uint64_t v)
{
    if (v)
        json_object_set_new(o, name, json_integer((json_int_t)v));
}

static void set_time(json_t *o, const char *name, uint64_t ms)
{
    char text[TIME_TEXT_LEN];
    time_to_text((int64_t)ms, text);
    json_object_set_new(o, name, json_string(text));
}

/* Who, what, purpose, basis: from the envelope's own header. */
static void add_header(json_t *o, const struct envelope_header *h)
{
    static const char *const kinds[] = {"", "request", "response", "event", "key"};
    char id[UUID_TEXT_LEN];
    uuid_to_text(h->exchange_id, id);
    json_object_set_new(o, "exchange", json_string(id));
    json_object_set_new(o, "message", json_string(kinds[h->kind]));
    if (h->status)
        json_object_set_new(o, "status", json_string(h->status == STATUS_OK ? "ok" : "fault"));
    set_text(o, "sender", h->sender);
    set_text(o, "recipient", h->recipient);
    set_text(o, "operation", h->operation);
    set_text(o, "purpose", h->purpose);
    set_text(o, "legal_basis", h->legal_basis);
    set_text(o, "case_ref", h->case_ref);
    set_text(o, "official", h->official);
    set_text(o, "on_behalf_of", h->on_behalf_of);
    if (h->stream.len) {
        set_hex(o, "stream", h->stream.p, h->stream.len);
        set_number(o, "number", h->number);
    }
    set_time(o, "created", h->created_ms);
    set_time(o, "expires", h->expires_ms);
    json_t *subjects = json_array(), *fields = json_array();
    for (size_t i = 0; i < h->subject_count; i++) {
        char token[65];
        hex_to_text(h->subjects[i].p, h->subjects[i].len, token);
        json_array_append_new(subjects, json_string(token));
    }
    for (size_t i = 0; i < h->field_count; i++)
        json_array_append_new(fields, json_stringn((const char *)h->fields[i].p, h->fields[i].len));
    if (h->subject_count)
        json_object_set(o, "subjects", subjects);
    if (h->field_count)
        json_object_set(o, "fields", fields);
    json_decref(subjects);
    json_decref(fields);
}

static json_t *record_json(const struct record *r, const struct envelope_header *h, const struct journal_entry *e, bool is_archived)
{
    json_t *o = json_object();
    json_object_set_new(o, "sequence", json_integer((json_int_t)r->sequence));
    set_time(o, "time", r->time_ms);
    json_object_set_new(o, "kind", json_string(record_kind_name(r->kind)));
    set_hex(o, "digest", r->digest, 32);
    if (h)
        add_header(o, h);
    else
        set_text(o, "sender", r->sender);
    if (r->code) {
        ehis_err code;
        char text[16];
        snprintf(text, sizeof text, "EHIS-%u", r->code);
        json_object_set_new(o, "code", json_string(text));
        if (ehis_err_from_number(r->code, &code))
            json_object_set_new(o, "error", json_string(ehis_err_name(code)));
    }
    set_text(o, "rule", r->rule);
    set_text(o, "system", r->system);
    set_text(o, "address", r->address);
    set_text(o, "text", r->text);
    set_text(o, "service", r->service);
    set_text(o, "event", r->event);
    set_number(o, "session", r->session);
    set_number(o, "count", r->count);
    set_number(o, "attempt", r->attempt);
    set_number(o, "sealed_bytes", r->sealed_bytes);
    set_hex(o, "certificate", r->certificate, 32);
    set_number(o, "registry_version", r->registry_version);
    if (r->state)
        json_object_set_new(o, "state", json_string(state_name(r->state)));
    json_object_set_new(o, "is_recipient_signed", json_boolean(r->ack.len > 0));
    json_object_set_new(o, "segment", json_integer((json_int_t)e->pos.segment));
    json_object_set_new(o, "is_archived", json_boolean(is_archived));
    return o;
}

static void print_line(const json_t *o)
{
    static const char *const shown[] = {"exchange", "message", "sender", "recipient", "operation", "purpose", "legal_basis", "case_ref", "official",
                                        "code", "error", "rule", "system", "number", "text"};
    printf("%8lld  %s  %-15s", json_integer_value(json_object_get(o, "sequence")), json_string_value(json_object_get(o, "time")),
           json_string_value(json_object_get(o, "kind")));
    for (size_t i = 0; i < sizeof shown / sizeof *shown; i++) {
        const json_t *v = json_object_get(o, shown[i]);
        if (json_is_string(v))
            printf("  %s=%s", shown[i], json_string_value(v));
        else if (json_is_integer(v))
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
        return span_eq(r->system, want) || (h && (span_eq(h->sender, want) || span_eq(identifier_prefix(h->recipient, IDENTIFIER_SYSTEM), want)));
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
    if (!is_wanted(s, &r, has_header ? &header : NULL))
        return EHIS_OK;
    json_t *o = record_json(&r, has_header ? &header : NULL, e, is_archived);
    if (s->is_json) {
        json_dumpf(o, stdout, JSON_COMPACT);
        putchar('\n');
    } else {
        print_line(o);
    }
    json_decref(o);
    s->count++;
    return EHIS_OK;
}

static void print_verdict(const struct shown *s, const struct journal_check *check)
{
    char head[65];
    hex_to_text(check->head_hash, 32, head);
    json_t *kinds = json_object();
    for (uint32_t k = 1; k < 64; k++)
        if (s->kinds[k])
            json_object_set_new(kinds, record_kind_name(k), json_integer((json_int_t)s->kinds[k]));
    json_t *o = json_pack("{s:s, s:I, s:I, s:I, s:b, s:s, s:o}", "verdict", "whole", "entries", (json_int_t)check->entries, "groups", (json_int_t)check->groups,
                          "archived_entries", (json_int_t)check->archived_entries, "is_torn", check->is_torn, "head", head, "kinds", kinds);
    if (s->is_json) {
        json_dumpf(o, stdout, JSON_COMPACT);
        putchar('\n');
    } else {
        printf("whole: %llu records in %llu groups (%llu of them archived)%s\nhead: %s\n", (unsigned long long)check->entries, (unsigned long long)check->groups,
               (unsigned long long)check->archived_entries, check->is_torn ? "; the last group is torn: it was never answered for" : "", head);
        const char *name;
        json_t *v;
        json_object_foreach (kinds, name, v)
            printf("%10lld  %s\n", json_integer_value(v), name);
    }
    json_decref(o);
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
    EHIS_TRY(crypto_init(why));
    EHIS_TRY(disk_open_folder(dir, false, &disk, why));
    ehis_err err = journal_walk(disk, on_entry, &s, &check, why);
    disk_free(disk);
    if (err == EHIS_OK && s.is_verify)
        print_verdict(&s, &check);
    if (err == EHIS_E_JOURNAL_CORRUPT && s.is_verify)
        cli_set_exit(c, CLI_UNVERIFIED);
    return err;
}
