/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* The verbs that write the folder: init, add, key, keygen. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/disk.h"
#include "base/secret.h"
#include "pki/join.h"
#include "pki/keyfile.h"
#include "policy/registry/author.h"
#include "policy/tool/tool.h"
#include "proto/wire/identifier.h"

static ehis_err make_folder(const char *path, struct ehis_why *why)
{
    return mkdir(path, 0755) == 0 || errno == EEXIST ? EHIS_OK : ehis_fail(why, EHIS_E_IO, "%s: %m", path);
}

ehis_err run_init(struct cli *c, struct ehis_why *why)
{
    const char *instance = cli_get(c, "instance"), *dir = cli_get(c, "dir");
    char path[TOOL_PATH_BYTES];
    struct buf text;
    EHIS_TRY(identifier_part_check(span_str(instance), why));
    EHIS_TRY(tool_path(c, "registry.yaml", path, why));
    if (access(path, F_OK) == 0)
        return ehis_fail(why, EHIS_E_EXISTS, "%s", path);
    if (cli_has(c, "dry-run"))
        return EHIS_OK;
    if (dir)
        EHIS_TRY(make_folder(dir, why));
    for (unsigned kind = AUTHOR_AGENCY; kind < AUTHOR_KINDS; kind++) {
        char folder[TOOL_PATH_BYTES];
        EHIS_TRY(tool_path(c, author_folders[kind], folder, why));
        EHIS_TRY(make_folder(folder, why));
    }
    buf_init(&text, 4096);
    ehis_err err = buf_printf(&text,
                              "instance: %s\nvalidity:\n  days: 30\n  grace_hours: 72\n"
                              "# The closed lists that rules and calls draw from: {code: tax.assessment, en: Tax assessment, az: ...}\n"
                              "terms:\n  purposes: []\n  legal_bases: []\n",
                              instance);
    if (err == EHIS_OK)
        err = file_write(path, buf_span(&text), 0644, why);
    buf_fini(&text);
    return err == EHIS_OK ? tool_print(c, json_pack("{s:s}", "made", path)) : err;
}

/* "/" is written ".." in a file's name, as in a topic's. */
static ehis_err path_of(struct cli *c, enum author_kind kind, struct span id, char out[TOOL_PATH_BYTES], struct ehis_why *why)
{
    char name[512];
    size_t n = (size_t)snprintf(name, sizeof name, "%s/", author_folders[kind]);
    for (size_t i = 0; i < id.len && n + 8 < sizeof name; i++)
        n += (size_t)snprintf(name + n, 3, id.p[i] == '/' ? ".." : "%c", id.p[i]);
    snprintf(name + n, sizeof name - n, ".yaml");
    return tool_path(c, name, out, why);
}

static ehis_err add_agency(struct cli *c, struct ehis_why *why)
{
    struct span id = span_str(cli_word(c, 0));
    const char *name = cli_get(c, "name");
    char path[TOOL_PATH_BYTES];
    struct buf text;
    EHIS_TRY(identifier_check(id, IDENTIFIER_AGENCY, why));
    EHIS_TRY(path_of(c, AUTHOR_AGENCY, id, path, why));
    if (access(path, F_OK) == 0)
        return ehis_fail(why, EHIS_E_EXISTS, "%s", path);
    buf_init(&text, 1024);
    json_t *quoted = json_string(name ? name : ""); /* JSON's quoting is YAML's */
    char *dumped = quoted ? json_dumps(quoted, JSON_ENCODE_ANY) : NULL;
    ehis_err err = dumped ? buf_printf(&text, "agency: %.*s\n%s%s%s", SPAN_SHOW(id), name ? "name: " : "", name ? dumped : "", name ? "\n" : "")
                          : ehis_fail(why, EHIS_E_USAGE, "--name is not UTF-8");
    if (err == EHIS_OK)
        err = cli_write(c, path, buf_span(&text), 0644, why);
    free(dumped);
    json_decref(quoted);
    buf_fini(&text);
    return err == EHIS_OK ? tool_print(c, json_pack("{s:s, s:s}", "agency", cli_word(c, 0), "file", path)) : err;
}

/* The owner's file where there is one; the sheet is the caller's to free. */
static ehis_err read_owner(const char *path, bool is_gateway, struct author_owner *o, struct sheet **sheet, struct ehis_why *why)
{
    struct sheet_report report;
    struct buf text;
    buf_init(&text, AUTHOR_FILE_BYTES);
    sheet_report_init(&report);
    ehis_err err = file_read(path, AUTHOR_FILE_BYTES, &text, why);
    if (err == EHIS_OK) {
        *sheet = sheet_parse(path, buf_span(&text), AUTHOR_FILE_BYTES, &report);
        if (!*sheet || !author_owner_read(&report, *sheet, is_gateway, o))
            err = ehis_fail(why, EHIS_E_REGISTRY_FORM, "%.*s", SPAN_SHOW(buf_span(&report.text)));
    }
    sheet_report_fini(&report);
    buf_fini(&text);
    return err;
}

static ehis_err write_owner(struct cli *c, const char *path, const struct author_owner *o, struct ehis_why *why)
{
    struct buf text;
    buf_init(&text, 64 * 1024);
    ehis_err err = author_owner_write(o, &text);
    if (err == EHIS_OK)
        err = cli_write(c, path, buf_span(&text), 0644, why);
    buf_fini(&text);
    return err;
}

static ehis_err add_request(struct cli *c, bool is_gateway, struct author_owner *o, struct span bytes, struct ehis_why *why)
{
    struct pki_join join;
    struct sheet *sheet = NULL;
    char path[TOOL_PATH_BYTES];
    const char *contact = cli_get(c, "contact");
    size_t added = 0;
    EHIS_TRY(pki_join_read(bytes, &join, why));
    if ((join.kind == PKI_GATEWAY) != is_gateway)
        return ehis_fail(why, EHIS_E_USAGE, "the request is a %s's", pki_kind_name(join.kind));
    EHIS_TRY(path_of(c, is_gateway ? AUTHOR_GATEWAY : AUTHOR_SYSTEM, join.id, path, why));
    ehis_err err = access(path, F_OK) == 0 ? read_owner(path, is_gateway, o, &sheet, why) : EHIS_OK;
    o->owner.is_gateway = is_gateway;
    o->owner.id = join.id;
    if (contact)
        o->contact = span_str(contact);
    if (contact && (!utf8_is_valid(o->contact, NULL) || o->contact.len > 200))
        err = ehis_fail(why, EHIS_E_USAGE, "--contact must be UTF-8 of at most 200 bytes");
    for (size_t i = 0; err == EHIS_OK && i < join.key_count; i++) {
        const struct pki_join_key *k = &join.keys[i];
        err = author_owner_add_key(o, &(struct registry_key){k->id, k->use, k->algorithm, k->public_key, k->not_before_ms, 0, 0});
        added += err == EHIS_OK;
        if (err == EHIS_E_EXISTS) /* taken in before */
            err = EHIS_OK;
        else if (err == EHIS_E_TOO_LARGE)
            ehis_fail(why, err, "%.*s has %d keys already; take out old ones", SPAN_SHOW(join.id), REGISTRY_KEYS_MAX);
    }
    if (err == EHIS_OK)
        err = write_owner(c, path, o, why);
    if (err == EHIS_OK)
        err = tool_print(c, json_pack("{s:o, s:I, s:I, s:s}", is_gateway ? "gateway" : "system", tool_text(join.id), "keys_added",
                                      (json_int_t)added, "keys", (json_int_t)o->owner.key_count, "file", path));
    sheet_free(sheet);
    return err;
}

ehis_err run_add(struct cli *c, struct ehis_why *why)
{
    enum { AGENCY, SYSTEM, GATEWAY } as = (int)cli_number(c, "as");
    struct buf bytes;
    if (as == AGENCY)
        return add_agency(c, why);
    struct author_owner *o = calloc(1, sizeof *o);
    if (!o)
        return EHIS_E_NO_MEMORY;
    buf_init(&bytes, PKI_JOIN_MAX_BYTES);
    ehis_err err = file_read(cli_word(c, 0), PKI_JOIN_MAX_BYTES, &bytes, why);
    if (err == EHIS_OK)
        err = add_request(c, as == GATEWAY, o, buf_span(&bytes), why);
    buf_fini(&bytes);
    free(o);
    return err;
}

/* By id, or the beginning of it; several matches are none. */
static struct registry_key *find_key(struct author_owner *o, const char *which)
{
    struct registry_key *found = NULL;
    char id[2 * HASH_BYTES + 1];
    for (size_t i = 0; i < o->owner.key_count; i++) {
        hex_to_text(o->keys[i].id.b, HASH_BYTES, id);
        if (strlen(which) < 8 || strncmp(id, which, strlen(which)) != 0)
            continue;
        if (found)
            return NULL;
        found = &o->keys[i];
    }
    return found;
}

static ehis_err change_key(struct cli *c, struct author_owner *o, struct ehis_why *why)
{
    bool is_revoke = strcmp(cli_word(c, 0), "revoke") == 0;
    struct span id = span_str(cli_word(c, 1));
    struct sheet *sheet = NULL;
    char path[TOOL_PATH_BYTES];
    unsigned parts;
    int64_t at_ms = cli_time(c, "at");
    if (!is_revoke && strcmp(cli_word(c, 0), "retire") != 0)
        return ehis_fail(why, EHIS_E_USAGE, "the first word must be retire or revoke");
    EHIS_TRY(identifier_parse(id, &parts, why));
    EHIS_TRY(path_of(c, parts == IDENTIFIER_GATEWAY ? AUTHOR_GATEWAY : AUTHOR_SYSTEM, id, path, why));
    ehis_err err = read_owner(path, parts == IDENTIFIER_GATEWAY, o, &sheet, why);
    struct registry_key *k = err == EHIS_OK ? find_key(o, cli_word(c, 2)) : NULL;
    if (err == EHIS_OK && !k)
        err = ehis_fail(why, EHIS_E_NOT_FOUND, "%.*s has no key of this id; give at least 8 digits that only one of its keys begins with",
                        SPAN_SHOW(id));
    if (k)
        *(is_revoke ? &k->revoked_ms : &k->retired_ms) = at_ms;
    if (err == EHIS_OK)
        err = write_owner(c, path, o, why);
    if (err == EHIS_OK)
        err = tool_print(c, json_pack("{s:o, s:s, s:o, s:o, s:s}", "owner", tool_text(id), "use", pki_key_use_name(k->use), "key",
                                      tool_hex(k->id.b, HASH_BYTES), is_revoke ? "revoked" : "retired", tool_time(at_ms), "next",
                                      "ehis-registry build, sign, and hand out the document"));
    sheet_free(sheet);
    return err;
}

ehis_err run_key(struct cli *c, struct ehis_why *why)
{
    struct author_owner *o = calloc(1, sizeof *o);
    ehis_err err = o ? change_key(c, o, why) : EHIS_E_NO_MEMORY;
    free(o);
    return err;
}

ehis_err run_keygen(struct cli *c, struct ehis_why *why)
{
    const char *out = cli_get(c, "out");
    char path[TOOL_PATH_BYTES], hex[65];
    uint8_t key[32];
    struct hash id;
    if (snprintf(path, sizeof path, "%s.pub", out) >= (int)sizeof path)
        return ehis_fail(why, EHIS_E_USAGE, "the path is too long");
    if (access(out, F_OK) == 0 || access(path, F_OK) == 0)
        return ehis_fail(why, EHIS_E_EXISTS, "%s or %s; a key is never overwritten", out, path);
    if (cli_has(c, "dry-run"))
        return EHIS_OK;
    EHIS_TRY(pki_keyfile_make(out, USE_OPERATOR, &random_system, key, why));
    hex_to_text(key, 32, hex);
    hex[64] = '\n';
    EHIS_TRY(file_write(path, span_of(hex, 65), 0644, why));
    crypto_key_id(USE_OPERATOR, ALGORITHM_ED25519, span_of(key, 32), &id);
    return tool_print(c, json_pack("{s:s, s:s, s:o, s:o}", "key_file", out, "public_file", path, "public_key", tool_hex(key, 32), "key_id",
                                   tool_hex(id.b, HASH_BYTES)));
}
