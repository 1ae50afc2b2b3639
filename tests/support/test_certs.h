/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* An authority and certificates made at test time, and plain TLS contexts over them. Every failure aborts. */
#pragma once
#include "base/err.h"
#include <openssl/ssl.h>

struct test_ca {
    EVP_PKEY *key;
    X509 *cert;
    int64_t serial; /* of the last certificate issued */
};
void test_ca_init(struct test_ca *ca, const char *name);
void test_ca_fini(struct test_ca *ca);
/* An Ed25519 certificate with this one URI in its SAN, good for a day. The caller frees both. */
void test_ca_issue(struct test_ca *ca, const char *uri, bool is_server, X509 **cert, EVP_PKEY **key);
/* TLS 1.3, mutual, trusting this authority alone, without tickets, certificate list of 8 KiB. uri NULL: no certificate of its own. */
SSL_CTX *test_ca_context(struct test_ca *ca, const char *uri, bool is_server);
