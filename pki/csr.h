/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* PKCS#10 requests for a certificate. Pure, any thread. */
#pragma once
#include "pki/profile.h"

#define PKI_CSR_MAX_BYTES 4096
#define PKI_URI_MAX_BYTES (8 + IDENTIFIER_MAX_BYTES + 1)

/* "ehis:AZ/GOV/STS/tax", "ehis-gw:AZ/gw1", "ehis-bus:AZ/gw1" */
void pki_uri(enum pki_kind kind, struct span id, char out[PKI_URI_MAX_BYTES]);
/* A request of this key for this name, DER appended. */
ehis_err pki_csr_make(EVP_PKEY *key, enum pki_kind kind, struct span id, struct buf *out, struct ehis_why *why) EHIS_MUST_USE;
/* Parses and checks: whole, signed by its own key (CSR_PROOF), a key of an allowed kind (CERT_KEY_WEAK); where it asks for alternative
 * names, exactly this one (CSR_NAME). CSR_MALFORMED. */
ehis_err pki_csr_read(struct span der, enum pki_kind kind, struct span id, X509_REQ **out, struct ehis_why *why) EHIS_MUST_USE;
/* Subject of a request or certificate: O = the part before the last, OU = unit (NULL: none), CN = the last; each part fits X.520's bound of 64. */
X509_NAME *pki_subject(struct span id, const char *unit);
#define PKI_BUS_UNIT "ehis-bus" /* brokers take their principals from subjects: no other kind has this one */
