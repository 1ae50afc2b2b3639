/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* The verbs that make documents: build, sign. */
#include <stdio.h>
#include <unistd.h>

#include "base/disk.h"
#include "pki/keyfile.h"
#include "policy/registry/author.h"
#include "policy/tool/tool.h"

#define DAY_MS UINT64_C(86400000)
#define HOUR_MS UINT64_C(3600000)
#define SKEW_MS 60000                    /* clocks may differ by as much as envelopes allow */
#define KEEP_MS ((int64_t)(28 * DAY_MS)) /* the longest life of an envelope, and the longest grace of the registry that its sender held */

static ehis_err read_document(const char *path, struct registry **out, struct ehis_why *why)
{
    struct buf bytes;
    buf_init(&bytes, REGISTRY_DOCUMENT_MAX_BYTES);
    ehis_err err = file_read(path, REGISTRY_DOCUMENT_MAX_BYTES, &bytes, why);
    if (err == EHIS_OK)
        err = registry_from_unverified(buf_span(&bytes), out, why);
    buf_fini(&bytes);
    return err;
}

/* --name, or a file of the folder. */
static ehis_err file_option(struct cli *c, const char *name, const char *usual, char out[TOOL_PATH_BYTES], struct ehis_why *why)
{
    const char *given = cli_get(c, name);
    if (!given)
        return tool_path(c, usual, out, why);
    return snprintf(out, TOOL_PATH_BYTES, "%s", given) < TOOL_PATH_BYTES ? EHIS_OK : ehis_fail(why, EHIS_E_USAGE, "the path is too long");
}

static struct registry_validity validity_of(struct cli *c, const struct author_validity *a)
{
    uint64_t days = cli_has(c, "days") ? cli_number(c, "days") : a->days;
    uint64_t hours = cli_has(c, "grace-hours") ? cli_number(c, "grace-hours") : a->grace_hours;
    int64_t now_ms = clock_wall_ms(&clock_system);
    return (struct registry_validity){a->instance, now_ms - SKEW_MS, now_ms + (int64_t)(days * DAY_MS), hours * HOUR_MS, now_ms - KEEP_MS};
}

static ehis_err report_built(struct cli *c, struct span document, const char *path, struct ehis_why *why)
{
    struct registry *r;
    EHIS_TRY(registry_from_unverified(document, &r, why));
    json_t *warnings = json_array();
    ehis_err err = lint(r, clock_wall_ms(&clock_system), warnings);
    if (err == EHIS_OK)
        err = tool_print(c, json_pack("{s:I, s:o, s:I, s:I, s:o, s:s, s:O}", "version", (json_int_t)registry_version(r), "statement_hash",
                                      tool_hex(registry_hash(r)->b, HASH_BYTES), "systems_and_gateways",
                                      (json_int_t)registry_owner_count(r), "services", (json_int_t)registry_service_count(r), "not_after",
                                      tool_time(registry_not_after_ms(r)), "file", path, "warnings", warnings));
    json_decref(warnings);
    registry_unref(r);
    return err;
}

static ehis_err build(struct cli *c, struct author *a, struct buf *out, struct ehis_why *why)
{
    struct registry_draft *d = NULL;
    struct registry *previous = NULL;
    struct author_validity av = {0};
    struct registry_validity v;
    char path[TOOL_PATH_BYTES];
    ehis_err err = author_draft(a, &d, &av);
    if (err == EHIS_E_REGISTRY_FORM) {
        struct span report = author_report(a);
        fwrite(report.p, 1, report.len, stderr);
        return ehis_fail(why, err, "nothing was built");
    }
    if (err == EHIS_OK)
        err = file_option(c, "previous", "registry.pb", path, why);
    if (err == EHIS_OK && (cli_has(c, "previous") || access(path, F_OK) == 0))
        err = read_document(path, &previous, why);
    v = validity_of(c, &av);
    if (err == EHIS_OK)
        err = registry_build(d, &v, previous, out, why);
    registry_unref(previous);
    registry_draft_free(d);
    return err;
}

ehis_err run_build(struct cli *c, struct ehis_why *why)
{
    const char *dir = cli_get(c, "dir");
    char path[TOOL_PATH_BYTES];
    struct author *a = NULL;
    struct buf document;
    EHIS_TRY(file_option(c, "out", "registry.unsigned", path, why));
    EHIS_TRY(author_new(&a));
    buf_init(&document, REGISTRY_DOCUMENT_MAX_BYTES);
    ehis_err err = author_add_folder(a, dir ? dir : ".", why);
    if (err == EHIS_OK)
        err = build(c, a, &document, why);
    if (err == EHIS_OK)
        err = cli_write(c, path, buf_span(&document), 0644, why);
    if (err == EHIS_OK)
        err = report_built(c, buf_span(&document), path, why);
    buf_fini(&document);
    author_free(a);
    return err;
}

/* Signs, and reads the result as a gateway that holds what lies at `to` now would: an operator cannot fork by mistake. */
static ehis_err sign_document(struct cli *c, const struct sign_key *key, const char *from, const char *to, struct buf *out,
                              struct ehis_why *why)
{
    struct registry *r = NULL, *held = NULL, *read = NULL;
    struct registry_statement s;
    uint8_t public_key[1][32];
    memcpy(public_key[0], sign_key_public(key), 32);
    ehis_err err = read_document(from, &r, why);
    if (err == EHIS_OK && access(to, F_OK) == 0)
        err = read_document(to, &held, why);
    if (err == EHIS_OK)
        err = registry_sign(registry_bytes(r), key, out, why);
    if (err == EHIS_OK) {
        registry_statement(r, &s);
        struct registry_trust trust = {(const uint8_t(*)[32])public_key, 1, s.instance};
        err = registry_from_document(buf_span(out), &trust, held, clock_wall_ms(&clock_system), &read, why);
    }
    if (err == EHIS_E_REGISTRY_SAME) /* signed before: the same statement, perhaps another key */
        err = EHIS_OK;
    if (err == EHIS_OK)
        err = cli_write(c, to, buf_span(out), 0644, why);
    if (err == EHIS_OK)
        err = tool_print(c, json_pack("{s:I, s:o, s:o, s:o, s:s}", "version", (json_int_t)registry_version(r), "statement_hash",
                                      tool_hex(registry_hash(r)->b, HASH_BYTES), "signed_by", tool_hex(sign_key_id(key)->b, HASH_BYTES),
                                      "not_after", tool_time(registry_not_after_ms(r)), "file", to));
    registry_unref(read);
    registry_unref(held);
    registry_unref(r);
    return err;
}

ehis_err run_sign(struct cli *c, struct ehis_why *why)
{
    char from[TOOL_PATH_BYTES], to[TOOL_PATH_BYTES];
    struct sign_key *key = NULL;
    struct buf out;
    EHIS_TRY(file_option(c, "in", "registry.unsigned", from, why));
    EHIS_TRY(file_option(c, "out", "registry.pb", to, why));
    EHIS_TRY(pki_keyfile_load_sign(cli_get(c, "key"), USE_OPERATOR, &key, why));
    buf_init(&out, REGISTRY_DOCUMENT_MAX_BYTES);
    ehis_err err = sign_document(c, key, from, to, &out, why);
    buf_fini(&out);
    sign_key_free(key);
    return err;
}
