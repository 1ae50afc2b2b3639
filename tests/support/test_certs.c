/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
#include "tests/support/test_certs.h"
#include <openssl/evp.h>
#include <openssl/x509v3.h>

static EVP_PKEY *new_key(void)
{
    EVP_PKEY *key = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
    EHIS_ASSERT(key != NULL);
    return key;
}

static void add_extension(X509 *cert, X509 *issuer, int nid, const char *value)
{
    X509V3_CTX ctx;
    X509V3_set_ctx(&ctx, issuer, cert, NULL, NULL, 0);
    X509_EXTENSION *e = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
    EHIS_ASSERT(e != NULL && X509_add_ext(cert, e, -1) == 1);
    X509_EXTENSION_free(e);
}

static X509 *new_cert(const char *name, EVP_PKEY *key, int64_t serial)
{
    X509 *cert = X509_new();
    EHIS_ASSERT(cert != NULL && X509_set_version(cert, X509_VERSION_3) == 1);
    EHIS_ASSERT(ASN1_INTEGER_set_int64(X509_get_serialNumber(cert), serial) == 1);
    X509_gmtime_adj(X509_getm_notBefore(cert), -60);
    X509_gmtime_adj(X509_getm_notAfter(cert), 86400);
    X509_NAME *subject = X509_get_subject_name(cert);
    EHIS_ASSERT(X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_UTF8, (const unsigned char *)name, -1, -1, 0) == 1);
    EHIS_ASSERT(X509_set_pubkey(cert, key) == 1);
    return cert;
}

void test_ca_init(struct test_ca *ca, const char *name)
{
    ca->serial = 1;
    ca->key = new_key();
    ca->cert = new_cert(name, ca->key, ca->serial);
    EHIS_ASSERT(X509_set_issuer_name(ca->cert, X509_get_subject_name(ca->cert)) == 1);
    add_extension(ca->cert, ca->cert, NID_basic_constraints, "critical,CA:TRUE");
    add_extension(ca->cert, ca->cert, NID_key_usage, "critical,keyCertSign,cRLSign");
    add_extension(ca->cert, ca->cert, NID_subject_key_identifier, "hash");
    EHIS_ASSERT(X509_sign(ca->cert, ca->key, NULL) > 0);
}

void test_ca_fini(struct test_ca *ca)
{
    X509_free(ca->cert);
    EVP_PKEY_free(ca->key);
}

void test_ca_issue(struct test_ca *ca, const char *uri, bool is_server, X509 **cert, EVP_PKEY **key)
{
    char san[256];
    snprintf(san, sizeof san, "URI:%s", uri);
    *key = new_key();
    *cert = new_cert("leaf", *key, ++ca->serial);
    EHIS_ASSERT(X509_set_issuer_name(*cert, X509_get_subject_name(ca->cert)) == 1);
    add_extension(*cert, ca->cert, NID_basic_constraints, "critical,CA:FALSE");
    add_extension(*cert, ca->cert, NID_key_usage, "critical,digitalSignature");
    add_extension(*cert, ca->cert, NID_ext_key_usage, is_server ? "serverAuth" : "clientAuth");
    add_extension(*cert, ca->cert, NID_subject_key_identifier, "hash");
    add_extension(*cert, ca->cert, NID_authority_key_identifier, "keyid");
    add_extension(*cert, ca->cert, NID_subject_alt_name, san);
    EHIS_ASSERT(X509_sign(*cert, ca->key, NULL) > 0);
}

SSL_CTX *test_ca_context(struct test_ca *ca, const char *uri, bool is_server)
{
    SSL_CTX *ctx = SSL_CTX_new(is_server ? TLS_server_method() : TLS_client_method());
    EHIS_ASSERT(ctx != NULL && SSL_CTX_set_min_proto_version(ctx, TLS1_3_VERSION) == 1);
    EHIS_ASSERT(X509_STORE_add_cert(SSL_CTX_get_cert_store(ctx), ca->cert) == 1);
    SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
    SSL_CTX_set_num_tickets(ctx, 0);
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_max_cert_list(ctx, 8192);
    if (uri) {
        X509 *cert;
        EVP_PKEY *key;
        test_ca_issue(ca, uri, is_server, &cert, &key);
        EHIS_ASSERT(SSL_CTX_use_certificate(ctx, cert) == 1 && SSL_CTX_use_PrivateKey(ctx, key) == 1);
        X509_free(cert);
        EVP_PKEY_free(key);
    }
    return ctx;
}
