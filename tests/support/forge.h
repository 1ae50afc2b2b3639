/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* Certificates and lists of any shape, for tests: right by default, wrong where told. Aborts on failure. */
#pragma once
#include "pki/trust.h"
#include <openssl/evp.h>

#define FORGE_NOW_MS 1790000000000LL
#define FORGE_DAY_MS 86400000LL

struct forge {
    EVP_PKEY *key; /* NULL: a fresh P-256 key */
    X509 *issuer;  /* NULL: self-signed */
    EVP_PKEY *issuer_key;
    long version;       /* X509_VERSION_3 */
    const char *serial; /* hexadecimal */
    const char *cn;
    const char *basic, *usage, *extended, *names; /* OpenSSL's texts; NULL: absent */
    const char *extra_oid, *extra;                /* "critical,..." as DER text */
    const char *constraints;                      /* name constraints */
    bool no_ski, no_aki, is_names_twice;
    int64_t from_ms, until_ms;
    const EVP_MD *digest; /* SHA-256; NULL for Ed25519 */
};
/* A system's certificate under this issuer. */
struct forge forge_leaf(X509 *issuer, EVP_PKEY *issuer_key);
struct forge forge_ca(X509 *issuer, EVP_PKEY *issuer_key, const char *cn);
X509 *forge_cert(const struct forge *f);
EVP_PKEY *forge_key(void); /* P-256 */
EVP_PKEY *forge_rsa(unsigned bits, unsigned exponent);
EVP_PKEY *forge_other(const char *algorithm); /* "ED25519", "ED448" */
EVP_PKEY *forge_curve(const char *curve);

struct forge_crl {
    X509 *issuer;
    EVP_PKEY *key;
    const char *issuer_cn;     /* NULL: the issuer's name */
    int64_t from_ms, until_ms; /* until 0: none */
    uint64_t number;           /* 0: none */
    long version;
    X509 *revoked;    /* NULL: none */
    bool is_critical; /* an unknown critical extension */
};
struct forge_crl forge_crl_of(X509 *issuer, EVP_PKEY *key);
X509_CRL *forge_list(const struct forge_crl *f);

/* DER or PEM appended. */
void forge_put_der(struct buf *out, X509 *x);
void forge_put_crl(struct buf *out, const struct forge_crl *f);

/* A small public key infrastructure: root, intermediate, their lists, a trust object over them. */
struct forge_pki {
    EVP_PKEY *root_key, *mid_key;
    X509 *root, *mid;
    struct buf ca, crls; /* PEM, DER */
    struct pki_trust *trust;
};
void forge_pki_init(struct forge_pki *p, X509 *revoked);
void forge_pki_lists(struct forge_pki *p, X509 *revoked, uint64_t number); /* makes crls anew */
void forge_pki_fini(struct forge_pki *p);

/* For fuzz targets, so that no certificate needs to be kept: script is three bytes a step, u16 place and u8: the byte at this place is
 * turned by it, or with 0 everything from there is cut off. */
void forge_mutate(struct buf *b, struct span script);
