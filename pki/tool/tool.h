/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* ehis-pki: its verbs, and what they share. */
#pragma once
#include "base/cli.h"
#include "base/clock.h"
#include "pki/profile.h"
#include <jansson.h>

ehis_err run_init(struct cli *c, struct ehis_why *why);
ehis_err run_keygen(struct cli *c, struct ehis_why *why);
ehis_err run_issue(struct cli *c, struct ehis_why *why);
ehis_err run_sign_csr(struct cli *c, struct ehis_why *why);
ehis_err run_revoke(struct cli *c, struct ehis_why *why);
ehis_err run_crl(struct cli *c, struct ehis_why *why);
ehis_err run_show(struct cli *c, struct ehis_why *why);
ehis_err run_verify(struct cli *c, struct ehis_why *why);

/* Prints a result and frees it: as JSON, or one "name: value" line for each member (lists: one line an object). NO_MEMORY. */
ehis_err tool_print(struct cli *c, json_t *result) EHIS_MUST_USE;
json_t *tool_time(int64_t unix_ms); /* RFC 3339 text */
json_t *tool_hex(const uint8_t *p, size_t n);
json_t *tool_leaf(const struct pki_leaf *leaf); /* kind, id, serial, validity, pin, fingerprint */
