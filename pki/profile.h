/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* The certificate profile (SPEC 7.2): what a certificate must look like beside being signed by a trusted authority. Applied to every
 * certificate of a built chain, since path validation alone lets far too much pass. Pure; a
 * certificate that is checked as a leaf or in a chain (but its root) belongs to one thread until then. */
#pragma once
#include "proto/crypto/sign.h"
#include "proto/wire/identifier.h"
#include <openssl/x509.h>

#define PKI_LEAF_DAYS_MAX 90
#define PKI_BACKDATE_MS 60000 /* what begins now begins so much earlier: clocks of others may be behind, as far as envelopes allow */
#define PKI_CERT_MAX_BYTES 4096
#define PKI_SPKI_MAX_BYTES 600
#define PKI_CHAIN_MAX 5 /* leaf, at most three authorities, root */

/* BUS: a broker, or a gateway at the brokers. Never a peer of ours: no session takes it, as no broker gives a right to the other two. */
enum pki_kind { PKI_SYSTEM = 1, PKI_GATEWAY = 2, PKI_BUS = 3 };
const char *pki_kind_name(enum pki_kind kind); /* "system", "gateway", "bus" */
static inline enum identifier_parts pki_kind_parts(enum pki_kind kind)
{
    return kind == PKI_SYSTEM ? IDENTIFIER_SYSTEM : IDENTIFIER_GATEWAY;
}

/* What a certificate says about its owner. Plain data. */
struct pki_leaf {
    enum pki_kind kind;
    char id[IDENTIFIER_MAX_BYTES + 1]; /* "AZ/GOV/MIA/population", "AZ/gw1" */
    uint8_t spki[PKI_SPKI_MAX_BYTES];  /* SubjectPublicKeyInfo, DER */
    size_t spki_len;
    struct hash key_id;      /* crypto_key_id(USE_TLS, ALGORITHM_SPKI, spki): the pin of the registry */
    struct hash fingerprint; /* SHA-256 of the certificate */
    uint8_t serial[20];
    size_t serial_len;
    int64_t not_before_ms, not_after_ms;
};

/* One certificate from DER, whole and canonical, at most PKI_CERT_MAX_BYTES. CERT_MALFORMED, CERT_TOO_LARGE. */
ehis_err pki_cert_from_der(struct span der, X509 **out, struct ehis_why *why) EHIS_MUST_USE;
/* A system's or gateway's certificate. now_ms: it must be valid then. CERT_*. out may be NULL. */
ehis_err pki_profile_leaf(X509 *cert, int64_t now_ms, struct pki_leaf *out, struct ehis_why *why) EHIS_MUST_USE;
/* A certificate of the bus: CN, OU=ehis-bus and O in its subject, as brokers read it, a URI ehis-bus:INSTANCE/NAME, and the hosts of a
 * broker. CERT_*. out may be NULL. */
ehis_err pki_profile_bus(X509 *cert, int64_t now_ms, struct pki_leaf *out, struct ehis_why *why) EHIS_MUST_USE;
/* A root's or an intermediate's certificate, but not its encoding (pki_cert_from_der and pki_profile_chain see to that). CERT_*. */
ehis_err pki_profile_authority(X509 *cert, int64_t now_ms, struct ehis_why *why) EHIS_MUST_USE;
/* A built chain, leaf first, root last; the leaf must be of this kind (CERT_KIND). CHAIN_TOO_LONG, CERT_*. */
ehis_err pki_profile_chain(const STACK_OF(X509) * chain, enum pki_kind kind, int64_t now_ms, struct pki_leaf *out,
                           struct ehis_why *why) EHIS_MUST_USE;

/* Unix time of a certificate's or list's time; CERT_MALFORMED. */
ehis_err pki_time_ms(const ASN1_TIME *t, int64_t *unix_ms) EHIS_MUST_USE;
