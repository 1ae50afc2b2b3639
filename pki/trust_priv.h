/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* What verification in a handshake (tls.c) and outside of one (trust.c) have in common. */
#pragma once
#include "pki/trust.h"

/* Before X509_verify_cert: the time of verification; OpenSSL's demand for fresh lists is lifted where they are stale and may be (then
 * pki_trust_accept alone looks for what they revoke). */
void pki_trust_prepare(const struct pki_trust *t, X509_STORE_CTX *ctx, int64_t now_ms);
/* After it, for the chain that was built. */
ehis_err pki_trust_accept(const struct pki_trust *t, const STACK_OF(X509) * chain, enum pki_kind kind, int64_t now_ms, struct pki_peer *out,
                          struct ehis_why *why) EHIS_MUST_USE;
/* OpenSSL's verdict as one of ours; never EHIS_OK. bad: the certificate it is about, may be NULL. */
ehis_err pki_verify_error(int x509_error, int depth, X509 *bad, enum pki_kind kind, int64_t now_ms, struct ehis_why *why) EHIS_MUST_USE;
int pki_purpose(enum pki_kind peer); /* X509_PURPOSE_* of a peer of this kind */
