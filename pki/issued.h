/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* The authority's memory: what was issued and revoked, as text. First line "ehis-authority-v1 INSTANCE", second "crl NUMBER", then
 * "cert SERIAL KIND ID NOT_AFTER_MS REVOKED_MS REASON FINGERPRINT", one a line, single blanks, in order of issue. Pure. */
#pragma once
#include "pki/authority.h"

#define ISSUED_FILE_MAX_BYTES (32 * 1024 * 1024)

struct issued_list {
    char instance[IDENTIFIER_PART_MAX_BYTES + 1];
    uint64_t crl_number;
    struct pki_issued *items;
    size_t count, cap;
};
void issued_fini(struct issued_list *l);
ehis_err issued_parse(struct span text, struct issued_list *out, struct ehis_why *why) EHIS_MUST_USE; /* AUTHORITY_DATABASE with the line */
ehis_err issued_print(const struct issued_list *l, struct buf *out) EHIS_MUST_USE;
ehis_err issued_add(struct issued_list *l, const struct pki_issued *item) EHIS_MUST_USE;
