/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
#include "pki/tls.h"
#include "base/disk.h"
#include "pki/keyfile.h"
#include "pki/trust_priv.h"
#include <openssl/err.h>
#include <pthread.h>
#include <stdlib.h>

#define SUITES "TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256:TLS_AES_128_GCM_SHA256"
#define GROUPS "X25519:P-256:P-384"
/* The last three are for signatures inside certificates alone: TLS 1.3 does not take them elsewhere. */
#define SIGALGS                                                                                                                            \
    "ed25519:ecdsa_secp256r1_sha256:ecdsa_secp384r1_sha384:rsa_pss_rsae_sha256:rsa_pss_rsae_sha384:rsa_pss_rsae_sha512:"                   \
    "rsa_pkcs1_sha256:rsa_pkcs1_sha384:rsa_pkcs1_sha512"

struct bond { /* what a context verifies with, for its life */
    struct pki_trust *trust;
    const struct clock *clock;
    enum pki_kind peer_kind;
};
struct verdict { /* on one peer, from its handshake until pki_peer_check */
    ehis_err err;
    struct ehis_why why;
    struct pki_peer peer;
};
static pthread_once_t once = PTHREAD_ONCE_INIT;
static int bond_index = -1, verdict_index = -1;

static void bond_free(void *parent, void *p, CRYPTO_EX_DATA *ad, int index, long argl, void *argp)
{
    (void)parent, (void)ad, (void)index, (void)argl, (void)argp;
    struct bond *b = p;
    if (b)
        pki_trust_unref(b->trust);
    free(b);
}

static void verdict_free(void *parent, void *p, CRYPTO_EX_DATA *ad, int index, long argl, void *argp)
{
    (void)parent, (void)ad, (void)index, (void)argl, (void)argp;
    free(p);
}

static void init_once(void)
{
    if (OPENSSL_init_ssl(OPENSSL_INIT_NO_LOAD_CONFIG | OPENSSL_INIT_LOAD_SSL_STRINGS, NULL) != 1)
        return;
    bond_index = SSL_CTX_get_ex_new_index(0, NULL, NULL, NULL, bond_free);
    verdict_index = SSL_get_ex_new_index(0, NULL, NULL, NULL, verdict_free);
}

ehis_err pki_init(struct ehis_why *why)
{
    EHIS_TRY(crypto_init(why));
    if (pthread_once(&once, init_once) != 0 || bond_index < 0 || verdict_index < 0)
        return ehis_fail(why, EHIS_E_TLS_SETUP, "the library does not start");
    return EHIS_OK;
}

/* Our own lists are out of date: the peer is not told that its certificate is (which alert the library would send), but internal_error. */
static void own_fault(X509_STORE_CTX *ctx, ehis_err err)
{
    if (err == EHIS_E_CRL_EXPIRED || err == EHIS_E_CRL_MISSING)
        X509_STORE_CTX_set_error(ctx, X509_V_ERR_STORE_LOOKUP);
}

/* In the place of X509_verify_cert: sets the time, verifies, and then looks at what was built more closely. It can only refuse more. */
static int on_verify(X509_STORE_CTX *ctx, void *arg)
{
    const struct bond *b = arg;
    SSL *ssl = X509_STORE_CTX_get_ex_data(ctx, SSL_get_ex_data_X509_STORE_CTX_idx());
    struct verdict *v = calloc(1, sizeof *v), *old = SSL_get_ex_data(ssl, verdict_index);
    if (!v || SSL_set_ex_data(ssl, verdict_index, v) != 1) {
        free(v);
        X509_STORE_CTX_set_error(ctx, X509_V_ERR_OUT_OF_MEM);
        return 0;
    }
    free(old);
    int64_t now_ms = clock_wall_ms(b->clock);
    pki_trust_prepare(b->trust, ctx, now_ms);
    if (X509_verify_cert(ctx) != 1) {
        v->err = pki_verify_error(X509_STORE_CTX_get_error(ctx), X509_STORE_CTX_get_error_depth(ctx), X509_STORE_CTX_get_current_cert(ctx),
                                  b->peer_kind, now_ms, &v->why);
        own_fault(ctx, v->err);
        return 0;
    }
    v->err = pki_trust_accept(b->trust, X509_STORE_CTX_get0_chain(ctx), b->peer_kind, now_ms, &v->peer, &v->why);
    if (v->err != EHIS_OK)
        X509_STORE_CTX_set_error(ctx, X509_V_ERR_APPLICATION_VERIFICATION);
    own_fault(ctx, v->err);
    return v->err == EHIS_OK;
}

static bool set_protocol(SSL_CTX *ctx, enum pki_kind peer_kind, const struct pki_trust *trust)
{
    static const uint8_t id_context[] = "ehis";
    SSL_CTX_set_options(ctx, SSL_OP_NO_TICKET | SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION | SSL_OP_CIPHER_SERVER_PREFERENCE);
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_security_level(ctx, 2);
    SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_NO_AUTO_CHAIN);
    SSL_CTX_clear_mode(ctx, SSL_MODE_AUTO_RETRY);
    SSL_CTX_set_max_cert_list(ctx, PKI_CHAIN_MAX_BYTES);
    SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
    SSL_CTX_set_verify_depth(ctx, PKI_CHAIN_MAX - 2);
    return SSL_CTX_set_min_proto_version(ctx, TLS1_3_VERSION) == 1 && SSL_CTX_set_max_proto_version(ctx, TLS1_3_VERSION) == 1 &&
           SSL_CTX_set_num_tickets(ctx, 0) == 1 && SSL_CTX_set_max_early_data(ctx, 0) == 1 &&
           SSL_CTX_set_recv_max_early_data(ctx, 0) == 1 && SSL_CTX_set_session_id_context(ctx, id_context, sizeof id_context - 1) == 1 &&
           SSL_CTX_set_ciphersuites(ctx, SUITES) == 1 && SSL_CTX_set1_groups_list(ctx, GROUPS) == 1 &&
           SSL_CTX_set1_sigalgs_list(ctx, SIGALGS) == 1 && SSL_CTX_set_purpose(ctx, pki_purpose(peer_kind)) == 1 &&
           SSL_CTX_set1_verify_cert_store(ctx, pki_trust_store(trust)) == 1;
}

/* Binds trust and clock to the context. */
static ehis_err set_bond(SSL_CTX *ctx, const struct pki_tls_options *o, enum pki_kind peer_kind)
{
    struct bond *b = calloc(1, sizeof *b);
    if (!b)
        return EHIS_E_NO_MEMORY;
    *b = (struct bond){.trust = pki_trust_ref(o->trust), .clock = o->clock, .peer_kind = peer_kind};
    if (SSL_CTX_set_ex_data(ctx, bond_index, b) != 1) {
        bond_free(NULL, b, NULL, 0, 0, NULL);
        return EHIS_E_NO_MEMORY;
    }
    SSL_CTX_set_cert_verify_callback(ctx, on_verify, b);
    return EHIS_OK;
}

/* Key and chain into the context, once it is sure that a peer with our trust would accept them. */
static ehis_err set_identity(SSL_CTX *ctx, const struct pki_tls_options *o, struct pki_peer *own, struct ehis_why *why)
{
    struct buf pem;
    STACK_OF(X509) *chain = NULL;
    EVP_PKEY *key = NULL;
    X509 *leaf = NULL;
    buf_init(&pem, 2 * PKI_CHAIN_MAX_BYTES);
    ehis_err err = file_read(o->chain_file, 2 * PKI_CHAIN_MAX_BYTES, &pem, why);
    if (err == EHIS_OK)
        err = pki_chain_from_pem(buf_span(&pem), &chain, why);
    if (err == EHIS_OK)
        err = pki_tlskey_load(o->key_file, &key, why);
    if (err != EHIS_OK)
        goto out;
    leaf = sk_X509_shift(chain);
    if (X509_check_private_key(leaf, key) != 1) {
        err = ehis_fail(why, EHIS_E_KEY_MISMATCH, "%s, %s", o->key_file, o->chain_file);
        goto out;
    }
    err = pki_trust_verify(o->trust, leaf, chain, o->own_kind, clock_wall_ms(o->clock), own, why);
    if (err == EHIS_OK && SSL_CTX_use_cert_and_key(ctx, leaf, key, chain, 1) != 1)
        err = ehis_fail(why, EHIS_E_TLS_SETUP, "%s is not accepted", o->chain_file);
out:
    X509_free(leaf);
    EVP_PKEY_free(key);
    pki_chain_free(chain);
    buf_fini(&pem);
    ERR_clear_error();
    return err;
}

static ehis_err pair_leads(const struct pki_pair *p, X509 *leaf, STACK_OF(X509) * chain, int64_t now_ms, struct ehis_why *why)
{
    X509_STORE *store = X509_STORE_new();
    X509_STORE_CTX *ctx = X509_STORE_CTX_new();
    ehis_err err = EHIS_OK;
    if (!store || !ctx)
        err = EHIS_E_NO_MEMORY;
    else if (X509_STORE_load_locations(store, p->ca_file, NULL) != 1 || X509_STORE_CTX_init(ctx, store, leaf, chain) != 1)
        err = ehis_fail(why, EHIS_E_PEM_MALFORMED, "%s", p->ca_file);
    if (err == EHIS_OK) {
        X509_STORE_CTX_set_time(ctx, 0, now_ms / 1000);
        if (X509_verify_cert(ctx) != 1) {
            struct ehis_why inner = {""};
            err = pki_verify_error(X509_STORE_CTX_get_error(ctx), X509_STORE_CTX_get_error_depth(ctx), X509_STORE_CTX_get_current_cert(ctx), PKI_BUS, now_ms, &inner);
            (void)ehis_fail(why, err, "%s: %s", p->chain_file, inner.text);
        }
    }
    X509_STORE_CTX_free(ctx);
    X509_STORE_free(store);
    return err;
}

ehis_err pki_pair_load(struct pki_pair *p, int64_t now_ms, struct ehis_why *why)
{
    struct buf files[3];
    struct span spans[3];
    const char *const paths[3] = {p->chain_file, p->key_file, p->ca_file};
    STACK_OF(X509) *chain = NULL;
    EVP_PKEY *key = NULL;
    X509 *leaf = NULL;
    ehis_err err = pki_init(why);
    ERR_clear_error();
    for (size_t i = 0; i < 3; i++) {
        buf_init(&files[i], PKI_CA_FILE_MAX_BYTES);
        files[i].is_secret = true;
        if (err == EHIS_OK)
            err = file_read(paths[i], PKI_CA_FILE_MAX_BYTES, &files[i], why);
        spans[i] = buf_span(&files[i]);
    }
    hash_spans(spans, 3, &p->files);
    if (err == EHIS_OK)
        err = pki_tlskey_load(p->key_file, &key, why);
    if (err == EHIS_OK)
        err = pki_chain_from_pem(spans[0], &chain, why);
    if (err == EHIS_OK) {
        leaf = sk_X509_shift(chain);
        err = pki_time_ms(X509_get0_notAfter(leaf), &p->not_after_ms);
    }
    if (err == EHIS_OK && X509_check_private_key(leaf, key) != 1)
        err = ehis_fail(why, EHIS_E_KEY_MISMATCH, "%s, %s", p->key_file, p->chain_file);
    if (err == EHIS_OK)
        err = pair_leads(p, leaf, chain, now_ms, why);
    X509_free(leaf);
    EVP_PKEY_free(key);
    pki_chain_free(chain);
    for (size_t i = 0; i < 3; i++)
        buf_fini(&files[i]);
    ERR_clear_error();
    return err;
}

ehis_err pki_tls_new(const struct pki_tls_options *o, SSL_CTX **out, struct pki_peer *own, struct ehis_why *why)
{
    EHIS_TRY(pki_init(why));
    ERR_clear_error();
    bool is_server = o->own_kind == PKI_GATEWAY;
    enum pki_kind peer_kind = is_server ? PKI_SYSTEM : PKI_GATEWAY;
    struct pki_peer self;
    SSL_CTX *ctx = SSL_CTX_new(is_server ? TLS_server_method() : TLS_client_method());
    if (!ctx || !set_protocol(ctx, peer_kind, o->trust)) {
        SSL_CTX_free(ctx);
        ERR_clear_error();
        return ehis_fail(why, EHIS_E_TLS_SETUP, "the protocol's settings");
    }
    ehis_err err = set_bond(ctx, o, peer_kind);
    if (err == EHIS_OK)
        err = set_identity(ctx, o, &self, why);
    if (err != EHIS_OK) {
        SSL_CTX_free(ctx);
        return err;
    }
    *out = ctx;
    if (own)
        *own = self;
    return EHIS_OK;
}

ehis_err pki_peer_check(SSL *ssl, int64_t now_ms, struct pki_peer *out, struct ehis_why *why)
{
    const struct bond *b = SSL_CTX_get_ex_data(SSL_get_SSL_CTX(ssl), bond_index);
    struct verdict *v = SSL_get_ex_data(ssl, verdict_index);
    EHIS_ASSERT(b);
    if (SSL_version(ssl) != TLS1_3_VERSION)
        return ehis_fail(why, EHIS_E_TLS_VERSION, "%s", SSL_get_version(ssl));
    if (SSL_session_reused(ssl))
        return ehis_fail(why, EHIS_E_TLS_RESUMED, "%s", SSL_get_version(ssl));
    if (!SSL_get0_peer_certificate(ssl) || !v)
        return ehis_fail(why, EHIS_E_PEER_ANONYMOUS, "no certificate");
    if (v->err != EHIS_OK)
        return ehis_fail(why, v->err, "%s", v->why.text);
    if (SSL_get_verify_result(ssl) != X509_V_OK)
        return ehis_fail(why, EHIS_E_CHAIN_REFUSED, "%s", X509_verify_cert_error_string(SSL_get_verify_result(ssl)));
    struct pki_peer peer = v->peer;
    SSL_set_ex_data(ssl, verdict_index, NULL); /* 2 KiB less for a session that may live for weeks */
    free(v);
    EHIS_TRY(pki_trust_recheck(b->trust, &peer, now_ms, &peer.is_stale, why));
    *out = peer;
    return EHIS_OK;
}

ehis_err pki_handshake_error(SSL *ssl, struct ehis_why *why)
{
    const struct verdict *v = verdict_index >= 0 ? SSL_get_ex_data(ssl, verdict_index) : NULL;
    return v && v->err != EHIS_OK ? ehis_fail(why, v->err, "%s", v->why.text) : EHIS_OK;
}
