/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* Blocks of a PEM text, or of DER objects one after another. Pure, any thread. */
#pragma once
#include "base/bytes.h"

/* Calls each for every block with this label ("CERTIFICATE", "X509 CRL"), in order, with its DER (borrowed for the call). Blocks of
 * another label, with headers (encrypted), more than max_count of them, broken base64, or DER with bytes left over: PEM_MALFORMED. An
 * empty input calls nothing. An error of each ends it. Secret content is wiped. */
ehis_err pki_pem_each(struct span text, const char *label, size_t max_count,
                      ehis_err (*each)(void *arg, struct span der, struct ehis_why *why), void *arg, struct ehis_why *why) EHIS_MUST_USE;
/* Appends one block. */
ehis_err pki_pem_put(struct buf *out, const char *label, struct span der) EHIS_MUST_USE;
