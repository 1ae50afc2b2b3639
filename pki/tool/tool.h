/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* ehis-pki: its verbs, and what they share. */
#pragma once
#include "base/clock.h"
#include "base/tool/result.h"
#include "pki/join.h"
#include "pki/profile.h"

ehis_err run_init(struct cli *c, struct ehis_why *why);
ehis_err run_keygen(struct cli *c, struct ehis_why *why);
ehis_err run_issue(struct cli *c, struct ehis_why *why);
ehis_err run_sign_csr(struct cli *c, struct ehis_why *why);
ehis_err run_revoke(struct cli *c, struct ehis_why *why);
ehis_err run_crl(struct cli *c, struct ehis_why *why);
ehis_err run_show(struct cli *c, struct ehis_why *why);
ehis_err run_verify(struct cli *c, struct ehis_why *why);

json_t *tool_keys(const struct pki_join *join);  /* use and id of each */
json_t *tool_leaf(const struct pki_leaf *leaf); /* kind, id, serial, validity, pin, fingerprint */
