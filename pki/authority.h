/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* The authority: a folder with a root and an intermediate (P-256), which issues, revokes and lists. Files: root.key, intermediate.key
 * (0600), ca.crt (root and intermediate, PEM: what everybody trusts), issued.txt (what was issued and revoked; a text database, always
 * replaced whole), lock. Every file is written atomically. One process at a time (LOCKED); one thread an object. */
#pragma once
#include "base/clock.h"
#include "pki/profile.h"

struct pki_authority;

/* Makes a new one for an instance; EXISTS where the folder has one. Lifetimes in days. */
ehis_err pki_authority_init(const char *dir, struct span instance, unsigned root_days, unsigned intermediate_days, int64_t now_ms,
                            struct ehis_why *why) EHIS_MUST_USE;
/* NOT_FOUND, LOCKED, AUTHORITY_DATABASE. */
ehis_err pki_authority_open(const char *dir, struct pki_authority **out, struct ehis_why *why) EHIS_MUST_USE;
void pki_authority_close(struct pki_authority *a); /* NULL does nothing */
const char *pki_authority_instance(const struct pki_authority *a);

/* Checks the CSR's own signature and key and issues for this name, whatever the CSR's subject says; a CSR that asks for another URI is
 * refused (CSR_NAME). days 1 to 90. Appends leaf and intermediate as PEM. is_dry: everything but writing. */
ehis_err pki_authority_issue(struct pki_authority *a, struct span csr, enum pki_kind kind, struct span id, unsigned days, int64_t now_ms,
                             bool is_dry, struct buf *chain_pem, struct pki_leaf *out, struct ehis_why *why) EHIS_MUST_USE;
/* The same for the bus: a broker's with its hosts, a gateway's own at the brokers without. */
ehis_err pki_authority_issue_bus(struct pki_authority *a, struct span csr, struct span id, const char *const *hosts, size_t host_count, unsigned days,
                                 int64_t now_ms, bool is_dry, struct buf *chain_pem, struct pki_leaf *out, struct ehis_why *why) EHIS_MUST_USE;
/* which: a serial number in hexadecimal, or an identifier (all its certificates that are valid). reason: as X.509 writes it,
 * "keyCompromise", ...; see pki_reason_names. *count = how many. AUTHORITY_SERIAL, AUTHORITY_REVOKED, INVALID. */
ehis_err pki_authority_revoke(struct pki_authority *a, const char *which, const char *reason, int64_t now_ms, bool is_dry, size_t *count,
                              struct ehis_why *why) EHIS_MUST_USE;
extern const char *const pki_reason_names[]; /* NULL at the end */
/* New lists of root and intermediate, PEM appended; their numbers rise. days 1 to PKI_CRL_DAYS_MAX. */
ehis_err pki_authority_crl(struct pki_authority *a, unsigned days, int64_t now_ms, bool is_dry, struct buf *pem,
                           struct ehis_why *why) EHIS_MUST_USE;

struct pki_issued {
    char serial[41]; /* hexadecimal */
    enum pki_kind kind;
    char id[IDENTIFIER_MAX_BYTES + 1];
    int64_t not_after_ms, revoked_ms; /* 0 = not revoked */
    unsigned reason;                  /* index in pki_reason_names */
    char fingerprint[65];
};
size_t pki_authority_issued_count(const struct pki_authority *a);
const struct pki_issued *pki_authority_issued(const struct pki_authority *a, size_t index); /* in order of issue */
