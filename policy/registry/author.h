/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* The registry as people write it: a folder of YAML files into a draft.
 *   registry.yaml            instance, validity {days, grace_hours}, terms {purposes, legal_bases}: each {code, en, az}
 *   agencies/NAME.yaml       agency, name
 *   systems/NAME.yaml        system, contact, disabled, keys   (written by ehis-registry add and key)
 *   gateways/NAME.yaml       gateway, keys                     (the same)
 *   services/NAME.yaml       service, operations, rules
 * Names are checked against each other here, so that every error has its file:line:column and the nearest name. One thread an object. */
#pragma once
#include "base/sheet.h"
#include "policy/registry/draft.h"

#define AUTHOR_FILE_BYTES (1024 * 1024)

enum author_kind { AUTHOR_REGISTRY, AUTHOR_AGENCY, AUTHOR_SYSTEM, AUTHOR_GATEWAY, AUTHOR_SERVICE, AUTHOR_KINDS };
extern const char *const author_folders[AUTHOR_KINDS]; /* "", "agencies", ... */

struct author;
ehis_err author_new(struct author **out) EHIS_MUST_USE;
void author_free(struct author *a);
/* One file's text. NO_MEMORY; what is wrong in it goes into the report. */
ehis_err author_add(struct author *a, enum author_kind kind, const char *file, struct span yaml) EHIS_MUST_USE;
/* All files of a folder, by name. NOT_FOUND, IO and the like. */
ehis_err author_add_folder(struct author *a, const char *folder, struct ehis_why *why) EHIS_MUST_USE;
struct author_validity { struct span instance; uint64_t days, grace_hours; };
/* REGISTRY_FORM: see the report. validity is borrowed from a. */
ehis_err author_draft(struct author *a, struct registry_draft **out, struct author_validity *validity) EHIS_MUST_USE;
struct span author_report(const struct author *a); /* "file:line:column: text" lines */

/* A system's or gateway's file, which tools rewrite. Big: about 11 KiB. */
struct author_owner {
    struct registry_owner owner; /* keys point below: do not copy */
    struct span contact;         /* and owner.id: borrowed from the sheet or the caller */
    struct registry_key keys[REGISTRY_KEYS_MAX];
    uint8_t bytes[REGISTRY_KEYS_MAX][600];
};
bool author_owner_read(struct sheet_report *r, const struct sheet *s, bool is_gateway, struct author_owner *out);
ehis_err author_owner_write(const struct author_owner *o, struct buf *out) EHIS_MUST_USE;
/* Appends a key; EXISTS, TOO_LARGE. */
ehis_err author_owner_add_key(struct author_owner *o, const struct registry_key *k) EHIS_MUST_USE;
