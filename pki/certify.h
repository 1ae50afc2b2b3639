/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* Makes certificates and revocation lists of the profile's shape. Pure but for the serial numbers; any thread. */
#pragma once
#include "base/clock.h"
#include "pki/profile.h"

enum certify_role { CERTIFY_ROOT, CERTIFY_INTERMEDIATE, CERTIFY_SYSTEM, CERTIFY_GATEWAY, CERTIFY_BUS };
struct certify {
    enum certify_role role;
    struct span id; /* a system's or gateway's identifier; "INSTANCE/NAME" for an authority: O and CN */
    EVP_PKEY *key;  /* the subject's */
    X509 *issuer;   /* NULL: itself */
    EVP_PKEY *issuer_key;
    int64_t from_ms, until_ms;
    const char *const *hosts; /* of a broker: names and addresses that clients dial; a server's certificate then */
    size_t host_count;
};
#define CERTIFY_HOSTS_MAX 8 /* names of at most 253 bytes, or addresses */
/* A certificate with a random serial number of 127 bits, signed with SHA-256. INVALID: the hosts. */
ehis_err pki_certify(const struct certify *c, X509 **out, struct ehis_why *why) EHIS_MUST_USE;

struct certify_revoked {
    const char *serial; /* hexadecimal */
    int64_t revoked_ms;
    unsigned reason; /* of X.509; 0 is left out */
};
/* A version 2 list, DER appended. */
ehis_err pki_certify_crl(X509 *issuer, EVP_PKEY *key, uint64_t number, int64_t from_ms, int64_t until_ms,
                         const struct certify_revoked *revoked, size_t count, struct buf *out, struct ehis_why *why) EHIS_MUST_USE;
